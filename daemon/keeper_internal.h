/*
 * What the keeper's files share: relief (keeper.c), rescoring (rescore.c), tables (shared_tables.c), steps
 * of other settings (restep.c), an index that is half empty (compact.c).
 */
#pragma once

#include "daemon/daemon.h"
#include "daemon/proto.h"

#define STEPS_MAX     256
#define STEPS_FOR_MAX 32

struct keeper {
	struct daemon *d;
	bool relieving;	  /* a round is under way, until its ops are applied */
	bool shrinking, tables_asked;
	bool cannot_shrink; /* the last try gave nothing back: not again before something is freed */
	bool ahead;	  /* the round is for captures to come: nobody waits for it */
	int64_t ahead_again_us; /* not before then: there was nothing to be had */
	int outstanding;  /* jobs of this round */
	int applying;	  /* ops of this round with the writer */
	int64_t hard_need; /* > 0: steps did not fit; drop that much next */
	struct op *ops;	  /* gathered for the round */
	int round_step;	  /* highest price code of the round */
	bool dropping;	  /* the last round dropped */
	bool full;	  /* the last round found nothing */
	int64_t full_said_us;
	float target; /* price that a byte will have when the plan has come true; of the last relief
		       */
	int drop_step;	  /* Mode=drop: order up to which images went */
	int64_t images_met; /* scored since start: when tables are made */
	int tables_made;	  /* times */
	bool refitted;
	int64_t tables_at;	  /* images_met when they were made last */
	struct table_set newest;
	/* rescoring */
	bool rescoring;
	bool rescore_working; /* the device is busy with it, as far as we know */
	int64_t rescore_hot_us; /* when it was too hot to go on; 0: it is not */
	int rescore_out;
	int64_t rescore_after;
	bool rescore_missed; /* an image that was passed has no score of this model yet */
	int rescore_rounds;
	uv_timer_t timer;
	bool timer_on;
	/* steps of other settings */
	char steps_for[STEPS_FOR_MAX]; /* settings that the steps in the index are of, or are about to be */
	bool restep_due;
	struct restep *restep; /* owned: under way */
	/* an index that is half empty */
	bool lowered; /* the limit, by much, and what is stored is not within it yet */
	int64_t compact_again_us; /* not before then: it failed */
	double beside_packed; /* bytes of the index an image beside its own, rows as close as they get */
};

/* A step or a rescore on its way through a worker. */
struct step_job {
	struct keeper *k;
	struct image_row row; /* as stored */
	int64_t model;	      /* that is asked */
	struct op *op;	      /* the result; owned */
};

struct candidates {
	struct keeper *k;
	int n, want;
	struct image_row row[STEPS_MAX];
};

/* A row_fn that fills struct candidates. */
bool collect_row(void *user, const struct image_row *row);

/*
 * Sends a stored image to a worker: for the step its row names, or to be scored again. Counted in
 * outstanding or rescore_out until its job is finished. Negative errno: its bytes cannot be read.
 */
int submit_stored(struct keeper *k, const struct image_row *row, bool rescore);

/* rescore.c */
bool rescore_answer(struct job *job, uint8_t type, struct reader *payload, bool *ret_bad);
void rescore_finished(struct job *job, const char *why);
void rescore_next(struct keeper *k);

/* What took the place of a round of relief is over: what waits for room tries again. */
void keeper_resume(struct keeper *k);

/* The step of an image with that curve, whose last rung is where it is, in Mode=adaptive. */
struct next_step next_of_curve(const struct daemon *d, const struct image_row *row, const struct curve *c);

/* The op that gives an image another next step, if it is what it was by then. */
struct op *next_step_op(const struct image_row *row, struct next_step next);

/*
 * compact.c. Bytes of the index beside what images take of it: rows, indexes, what is lost between them (files'
 * whole blocks are taken for images': it errs by half a block each).
 */
int64_t index_beside(const struct daemon *d);

/*
 * Bytes to be gained by putting the index's rows closer together; 0: not worth it. And the beginning
 * of it, in place of a round of relief; hard_need: what to drop after it, 0 for nothing. False: there is no
 * memory for it.
 */
double compact_gain(const struct keeper *k);
bool compact_begin(struct keeper *k, int64_t hard_need);

/* restep.c: relieving is set meanwhile. */
void restep_begin(struct keeper *k);
void restep_free(struct restep *r);
