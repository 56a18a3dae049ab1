/*
 * The one place that changes the store: a queue of operations, applied in batches on a thread of
 * libuv's pool so that the loop never waits for a disk. While one batch is on its way the next
 * gathers: under load many captures share one commit, alone a capture is committed at once.
 *
 * A full store is a normal state. The batch goes back to the queue, the owner is asked for relief
 * (operations that free space), and the queue continues when those are applied.
 *
 * Loop thread only, except a task's run().
 */
#pragma once

#include <uv.h>

#include "daemon/store.h"

struct writer;

/* Work on the store outside the queue of operations: model files, shrinking, checking. */
struct task {
	struct task *next;
	void (*run)(struct store *store, struct task *task); /* writer thread */
	void (*done)(struct task *task);		     /* loop thread; owns task */
	void *user;
};

struct writer_events {
	/*
	 * need bytes could not be had: answer with writer_relief(), now or later. hard: relief itself
	 * did not fit and was thrown away; only removals will.
	 */
	void (*full)(void *user, int64_t need, bool hard);
	/* A batch was committed: totals have changed by change; usage is new. */
	void (*changed)(void *user, const struct tally_list *change);
	/* The disk fails: text for people. The queue is tried again after a pause. */
	void (*failing)(void *user, int error, const char *text);
	void *user;
};

struct writer *writer_new(uv_loop_t *loop, struct store *store, const struct writer_events *events);
void writer_free(struct writer *w);

/* Takes the op over; its done() is called after the commit. */
void writer_add(struct writer *w, struct op *op);

/* The answer to full(): a list of ops that free space; NULL: there is nothing to free now. */
void writer_relief(struct writer *w, struct op *ops);

/* The other answer: there is room now. */
void writer_room(struct writer *w);

/* What waits for its turn in the queue gets one between two tasks. */
void writer_task(struct writer *w, struct task *task);

/* Limits for the batches from now on. */
void writer_set_limits(struct writer *w, const struct limits *limits);

/* Where a capture's path begins: a descriptor, and the rest of the path; or a negative errno. On the
 * writer's thread. */
typedef int (*where_fn)(const void *user, const char *path, const char **ret_below);
void writer_set_spools(struct writer *w, where_fn where, const void *user);

/* Try again: something has been freed. */
void writer_kick(struct writer *w);

/* Captures committed whose spool files cannot be removed. */
int writer_unsettled(const struct writer *w);

bool writer_waiting_for_room(const struct writer *w);

/* As of the last batch. */
const struct usage *writer_usage(const struct writer *w);

/* Asks every settled capture's record to be removed by now; then no more than what is queued. */
void writer_flush(struct writer *w);
