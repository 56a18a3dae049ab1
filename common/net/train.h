/*
 * Training and evaluation on a set of pictures in memory: mini-batch SGD with Nesterov momentum, a
 * warm-up and a cosine schedule, random flips and shifts, decoupled from where pictures come from.
 * The trainer process, larder-lab and the tests all train with this.
 *
 * The same seed, data and number of threads give the same model to the last bit; training resumed
 * from a checkpoint with the same data continues as if it had not stopped.
 */
#pragma once

#include "common/net/net.h"
#include "common/net/parallel.h"
#include "common/wire.h"

struct dataset {
	int n, size, classes;
	uint8_t *rgb;  /* [n][size][size][3] */
	int *label;    /* [n] */
	float *weight; /* [n], mean about 1 */
};

struct train_options {
	int epochs, batch;
	double rate;	     /* peak learning rate at a batch of 64; grows with the root of it */
	double momentum, decay; /* decay: L2, on weights and not on biases */
	double clip;	     /* longest gradient, L2 over all parameters, of the batch's mean loss; 0: any */
	bool flip;	     /* mirror left and right */
	int shift;	     /* pixels, in both directions */
	uint64_t seed;
	int64_t max_steps;   /* > 0: ends there whatever epochs says, the schedule fitted to it */
};

/* Batch 64, rate 0.04, momentum 0.9, decay 2e-3, gradients up to 8, flips, shifts of an eighth of the side. */
void train_options_init(struct train_options *o, int size);

struct train;

/* data and team are borrowed. Starts from net_init(seed). NULL when memory is short. */
struct train *train_new(const struct net_shape *s, const struct dataset *data,
	const struct train_options *o, struct team *team);
void train_free(struct train *t);
DEFINE_FREEP(struct train, train_free)

/* Does up to n steps; returns the mean loss of them. */
double train_steps(struct train *t, int n);
int64_t train_step_count(const struct train *t);
int64_t train_steps_total(const struct train *t);
int train_steps_per_epoch(const struct train *t);

/* Pictures that the next step will see: of an epoch's steps, as many or one more. */
int train_next_batch(const struct train *t);
const float *train_params(const struct train *t);

/*
 * State as bytes, and back. When pictures came or went in between, training continues at the same
 * share of its schedule. -EINVAL when the state is of another shape or damaged.
 */
void train_save(const struct train *t, struct buf *b);
int train_restore(struct train *t, const uint8_t *data, size_t len);

/* Whether they are as train_save() made them, of whatever shape. */
bool train_state_whole(const uint8_t *data, size_t len);

struct evaluation {
	int n, correct;
	double loss; /* mean cross-entropy */
};

/* Weights are ignored. -ENOMEM. */
int evaluate(const struct net_shape *s, const float *params, const struct dataset *data,
	struct team *team, struct evaluation *ret);

/*
 * weight[i], mean 1, so that classes count in training as the square roots of how many captures came of each
 * (came[classes]; NULL: as many as are in d, and never fewer), however many of them are in d.
 */
void dataset_balance(struct dataset *d, const int64_t *came);
