/*
 * The spool: finds captures and says when one is ready. inotify makes it soon; a scan of the whole
 * directory at the start, after an overflow and every now and then makes it sure.
 *
 * Loop thread only, but for spool_path() and spool_dir_fd(), which stay what they are. Paths of captures are
 * relative to the spool directory, or absolute.
 */
#pragma once

#include <uv.h>

#include "common/config.h"

struct spool;

/* A ready capture. The callee copies path. False: not now, stop scanning (there is no room). */
typedef bool (*spool_fn)(void *user, const char *path);

/* Opens (and makes, when missing) the directory and starts watching. error gets a line. */
int spool_open(uv_loop_t *loop, const char *path, bool absolute, int64_t settle_us, spool_fn fn,
	void *user, struct spool **ret, char error[256]);
void spool_stop(struct spool *s);
void spool_free(struct spool *s);

const char *spool_path(const struct spool *s); /* without a slash at its end */
int spool_dir_fd(const struct spool *s);

/* How far ahead of ours the clock is that its files are dated by. */
int64_t spool_clock_ahead_us(const struct spool *s);

/* Scan all of it as soon as the loop is free: something was skipped. */
void spool_rescan(struct spool *s);

/* Room has come: go on where there was none. */
void spool_resume(struct spool *s);

/* Files found by a scan must be quiet for so long from now on. */
void spool_set_settle(struct spool *s, int64_t settle_us);

/* Scan within ms: something there could not be taken now. */
void spool_retry(struct spool *s, int64_t ms);

/* Queue overflows so far; whether inotify tells all that comes. */
int64_t spool_overflows(const struct spool *s);
bool spool_watching(const struct spool *s);

/*
 * Captures in the directory, those being worked on included. Where counting takes long it is spread over calls:
 * until it is through, what was counted last or so far; and a count holds for twenty times as long as it took.
 */
int64_t spool_count(struct spool *s);
