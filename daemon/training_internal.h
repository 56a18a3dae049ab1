/*
 * What training's two files share: when to train, and the trainer (training.c);
 * models in the store (models.c).
 */
#pragma once

#include "daemon/course.h"
#include "daemon/daemon.h"
#include "daemon/proto.h"

#define WAITERS_MAX	  16
#define TRAINING_RETRY_US (5 * 60 * US_PER_SEC) /* after one failed */

enum training_state { TRAINING_IDLE, TRAINING_WAITING, TRAINING_RUNNING, TRAINING_STORING, TRAINING_STOPPING };

struct waiter {
	void (*fn)(void *user, bool ok, const char *text);
	void *user;
	bool over; /* what was waited for is, but for the trainer's leaving */
};

struct training {
	struct daemon *d;
	enum training_state state;
	bool forced, now, paused; /* forced: asked for; now: without waiting for idle */
	char why[200];
	int64_t last_version;	  /* of a model when the daemon began; it may be lost since */
	int64_t labelled_at_last; /* counter when the last training or slice began */
	struct course course;
	int64_t retry_after_us;
	uint32_t epoch, epochs;
	float loss;
	int64_t started_labelled;
	double share; /* of the steps, to get to */
	uv_timer_t timer;

	bool loaded;	       /* the trainer has all it needs from the store: it may be held */
	int ended_loading;     /* times before that, since one had */
	int64_t held_since_us; /* 0: it is not */
	bool hot;	       /* that is, or was at first, for its heat */
	uv_process_t process;
	uv_pipe_t in, out;
	int held; /* by open handles, and by a model that is being stored */
	uv_write_t write;
	struct buf order, answer, checkpoint;
	bool answered; /* the trainer has said how it ended */
	struct waiter waiter[WAITERS_MAX];
	int n_waiters;
	bool went_well; /* what the last one came to, and what is said of it */
	char outcome[200];
};

void training_set_state(struct training *t, enum training_state to);

/* One of the handles is closed, or the model stored: after the last it is on to what comes next. */
void training_release(struct training *t);

/* Who waits by now is told so, once it is on to what comes next: what they ask for then is not in its way. */
void training_over(struct training *t, bool ok, const char *text);

/* That the next model will have. */
int64_t models_next_version(const struct daemon *d);

/* What training has come to is kept: the last model's version, and where the course stands. */
void models_save_meta(struct daemon *d);

/* The checkpoint is kept in memory, and in the store when that is large enough. */
void models_keep_checkpoint(struct training *t, struct reader *payload);
void models_drop_checkpoint(struct training *t);

/* Stores the model in payload; then it is the current one, and who waits is told. -ENOMEM. */
int models_store_candidate(
	struct training *t, const struct train_result *trained, const struct reader *payload);
