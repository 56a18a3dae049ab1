/*
 * A stream of captures through a store of a given budget, as the daemon takes it: one pass, nothing
 * known of what comes, every decision by the functions of policy/ that the daemon calls, every
 * image held in the bytes that the daemon would store (packed with shared tables, degraded from
 * what is stored). What is left out is what a simulation has no need of: disk, processes, time.
 *
 * Bytes are those of pictures, of the table sets in use and FRAME_BYTES for each image. There are
 * no validation images: all policies get to train on all they keep.
 */
#pragma once

#include "policy/choose.h"
#include "policy/member.h"
#include "policy/plan.h"
#include "policy/scene.h"
#include "policy/score.h"
#include "policy/steps.h"
#include "tools/lab/lab.h"

#define FRAME_BYTES 10 /* width, height, layout, quality, length, label */

/* CURVE_PREDICTED: one capture in PREDICT_ONE_IN is scored in full, and learnt from. */
enum curve_kind { CURVE_KL, CURVE_LOSS, CURVE_PREDICTED };
#define PREDICT_ONE_IN 8
#define TABLE_SETS_MAX 12

struct stream_options {
	double budget; /* bytes */
	uint64_t seed; /* of order, ranks and the device's own trainings */
	enum curve_kind curve;
	float own_weight, own_max; /* curve.h */
	bool standard_steps;	   /* the network's are not learnt */
	int quality;		   /* of the ladder, for every image; 0: adaptive */
	int slices; /* of the last training, from the first window to the end; 0: it is done
		       at the end, by the caller */
	bool again; /* it is trained although it seems to be known (lab.h) */
};

struct held {
	int index, label;     /* of the training split */
	int rank;
	struct next_step next;
	uint8_t quality, layout;
	int width, height, orientation, set; /* set: index in stream.set, -1: a whole file */
	struct curve curve;		     /* up to its quality */
	uint8_t *data;			     /* owned */
	uint32_t len;
};

struct stream {
	struct held *v; /* [n] */
	int n;
	double bytes;	/* of the budget, now */
	double written; /* bytes of images ever written */
	double divergence; /* sum over the images held, as the population has it */
	double most;	/* bytes at most */
	int held_at[101]; /* images held at each quality */
	int64_t dropped, met;
	float price, target; /* target: what a byte will cost when the plan has come true */
	struct population population;
	struct scenes *scenes; /* owned */
	struct plan plan;
	struct table_set set[TABLE_SETS_MAX];
	double set_bytes[TABLE_SETS_MAX];
	int n_sets, used[TABLE_SETS_MAX]; /* used: images that name it */
	float *params;	    /* of the last model; owned, NULL: none */
	char model_key[33]; /* names the file of its curves */
	/* private */
	struct lab *l;
	struct stream_options o;
	uint32_t *order;
	int *rank;
	int64_t *class_bytes;
	int64_t *class_came;		/* of the stream so far */
	int *class_images, *class_rank; /* class_rank: highest rank held */
	bool dropping;
	struct scorer *scorer; /* [threads] */
	int tables_made;
	struct sensitivity network;
	struct predictor *predictor; /* of CURVE_PREDICTED; owned */
	struct curve_file *curves;
	struct spread training; /* of slices */
};

/* Runs the whole stream. ret must be zeroed; stream_done() in every case. */
int stream_run(struct lab *l, const struct stream_options *o, struct stream *ret);
void stream_done(struct stream *s);

/* What the plan is made for: the device's network, and a training of the lab's steps. */
struct regime stream_regime(const struct stream *s);

/* The images held as the network is trained on them, weighed as what came. */
int stream_dataset(struct stream *s, struct dataset *ret);

/* The order in which all policies meet the stream, and the ranks by which they draw. [n_train] */
void stream_order(const struct lab *l, uint64_t seed, uint32_t *ret_order);
void stream_ranks(const struct lab *l, uint64_t seed, int *ret_rank);

/* Own-quality ladder of a capture within the daemon's default limits. */
int stream_ladder(int own_quality, uint8_t ret[RUNGS_MAX]);

/* For the parts of the stream: a slice of the training, on what is held now; a class's highest rank. */
int stream_slice(struct stream *s, int slice);
void stream_find_highest_rank(struct stream *s, int label);

/* By rank, then by index. */
struct ranked {
	int rank, index;
};
int by_rank(const void *a, const void *b);
