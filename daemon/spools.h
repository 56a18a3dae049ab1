/*
 * All spools: the one of [Spool], and those of [Spool NAME]. A capture's path is relative in the first one
 * and absolute in the others. Loop thread only, but for spools_find().
 */
#pragma once

#include <uv.h>

#include "common/config.h"
#include "daemon/spool.h"

struct spools;

/* Opens (and makes, when missing) the directories and starts watching. error gets a line. */
int spools_open(uv_loop_t *loop, const struct config *c, spool_fn fn, void *user, struct spools **ret,
	char error[256]);
void spools_stop(struct spools *s);
void spools_free(struct spools *s);

/* SettleSec has changed. */
void spools_set_settle(struct spools *s, int64_t settle_us);

/*
 * The directory that a capture's path begins at, as a descriptor that stays, and the rest of the path;
 * -ENOENT when it is in no spool. From any thread.
 */
int spools_find(const struct spools *s, const char *path, const char **ret_below);

/* How far ahead of ours the clock is that a capture is dated by; 0 when it is in no spool. */
int64_t spools_clock_ahead_us(const struct spools *s, const char *path);

/* A capture's label: its sub-directory's name, else its spool's; "": none. Of path, cut at the size. */
void spools_label(const struct spools *s, const char *path, char *ret, size_t size);

/* Room has come: each goes on where there was none, and another one is the first each time. */
void spools_resume(struct spools *s);

/* All are scanned within ms: something there could not be taken now. */
void spools_retry(struct spools *s, int64_t ms);

/* Queue overflows so far; whether inotify works for all. */
int64_t spools_overflows(const struct spools *s);
bool spools_watching(const struct spools *s);

/* Captures in one of them (spool_count()); that of [Spool] is number 0. */
int64_t spools_count(struct spools *s, int number);
