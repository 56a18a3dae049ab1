/*
 * Worker processes: started on demand, one per core at most, replaced when they die, ended after a
 * quiet minute. Background jobs have workers of their own, half as many, which make way (sandbox.h):
 * neither captures nor other programs wait for them. A job is one conversation with one worker; a job
 * whose worker dies of it or hangs is tried once more on a fresh one and then fails. A worker that is
 * killed, as the kernel does when memory is short, or that ends because it, or the pipe to it, is in
 * trouble of its own says nothing about the job: that is tried again, a second later, some times more.
 *
 * Loop thread only. The caller owns the job until pool_submit, the pool until it calls one of the
 * job's functions for the last time.
 */
#pragma once

#include <uv.h>

#include "common/wire.h"

#define POOL_WORKERS_MAX 64

struct job {
	struct job *next; /* pool's queue */
	struct buf request; /* the first frame, complete; kept for a second try */
	struct buf followup; /* a later frame of the conversation */
	int tries, deaths; /* workers that it was given to; that died of it */
	bool unable;	   /* when it has failed: no worker could be had that works */
	bool background;   /* it has time until nothing else wants the processors */
	void *user;
	/* True: done with the worker. False: followup holds the next frame. *ret_bad: end it. */
	bool (*answer)(struct job *job, uint8_t type, struct reader *payload, bool *ret_bad);
	/* After the last answer, or instead: why is NULL, or what went wrong. Frees the job. */
	void (*finished)(struct job *job, const char *why);
	/* Instead of finished, when the pool stops: releases user. NULL: nothing to release. */
	void (*dropped)(void *user);
};

void job_done(struct job *job);

struct pool;

/* exe: path of larderd. quiet: the last worker has left after a quiet minute. */
struct pool *pool_new(
	uv_loop_t *loop, const char *exe, int workers, void (*quiet)(void *user), void *user);

/* Ends all workers; jobs in flight or waiting are dropped. */
void pool_stop(struct pool *p);

/* Once every handle is closed. */
void pool_free(struct pool *p);

void pool_submit(struct pool *p, struct job *job);

/* Jobs waiting and in flight; workers alive; at most, and of those for background jobs. */
int pool_load(const struct pool *p);
int pool_alive(const struct pool *p);
int pool_width(const struct pool *p);
int pool_width_background(const struct pool *p);

/*
 * Frames that every worker gets before its first job, in this order. A worker's sandbox is made by the
 * limits it began with: new ones are for new workers, and those that live go after the job they have. What
 * else is replaced is sent to those that live. Takes the buffer over.
 */
enum pool_setup { POOL_LIMITS, POOL_TABLES, POOL_MODEL, POOL_SETUPS };
void pool_set_setup(struct pool *p, enum pool_setup kind, struct buf *frames);

/* Adds frames behind those of a kind, not limits, and sends them. */
void pool_add_setup(struct pool *p, enum pool_setup kind, const struct buf *frames);
