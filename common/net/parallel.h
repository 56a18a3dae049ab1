/*
 * A fixed team of threads that run the same function together, each with its own number. Made for
 * the data-parallel training step; the caller is member 0 and returns when all are done.
 */
#pragma once

#include "common/macros.h"

struct team;

/* n members, the caller included; NULL when threads cannot be had. n = 1 starts none. */
struct team *team_new(int n);
void team_free(struct team *t);
DEFINE_FREEP(struct team, team_free)

int team_size(const struct team *t);
void team_run(struct team *t, void (*fn)(void *arg, int member), void *arg);
