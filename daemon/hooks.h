/*
 * Commands of the administrator's that hear what happened: OnStored and OnTrained. Each gets events as
 * JSON, one a line, on its standard input, as many as gathered while it ran before; one run of a kind at
 * a time, ended after HOOK_SEC. When it is slower than captures come, what it cannot take is counted and
 * said, never waited for.
 *
 * A hook runs as `larderd --hook PROGRAM ARGUMENT...`, which gives up privileges, priority and time before
 * it becomes the program: nobody's when the daemon is root, else the daemon's user; without a shell, in a
 * session of its own, with PATH and LARDER_SOCKET alone in its environment.
 *
 * Loop thread only.
 */
#pragma once

#include <jansson.h>
#include <uv.h>

#include "common/config.h"

#define HOOK_SEC	60
#define HOOK_EVENTS_MAX 1000 /* waiting for the next run */

enum hook_kind { HOOK_STORED, HOOK_TRAINED, HOOKS };

struct hooks;

/* exe: path of larderd; config is read whenever an event comes, so that a reload counts. Both borrowed. */
struct hooks *hooks_new(uv_loop_t *loop, const char *exe, const struct config *config);

/* Whether anybody listens: an event need not be made else. */
bool hooks_wants(const struct hooks *h, enum hook_kind kind);

/* Takes the event over; NULL (memory was short) is none. */
void hooks_tell(struct hooks *h, enum hook_kind kind, json_t *event);

/* Kills what runs. */
void hooks_stop(struct hooks *h);

/* Once every handle is closed. */
void hooks_free(struct hooks *h);

/* The child: argv from PROGRAM on. Returns an exit status when the program cannot be started. */
int hook_main(char **argv);
