/*
 * How the store and its models came along, for people who look back: samples of what is stored, and
 * every training that ended. Kept in the index as one value of a bounded size, written when a sample
 * is added; nothing wakes up for it.
 *
 * Samples are at least interval_s apart. When there is no room for one more, every second one goes and
 * the interval doubles, so that the whole life is there at a resolution that suits it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/wire.h"

#define HISTORY_SAMPLES	  128
#define HISTORY_TRAININGS 64
#define HISTORY_FIRST_S	  60 /* between samples, at first */

struct history_sample {
	int64_t time_s; /* since 1970 */
	int64_t taken;	/* captures ever */
	int64_t images, bytes, use, limit;
	float mean_quality, price;
};

struct history_training {
	int64_t time_s, version; /* version: of the model after it */
	int32_t images, validation_images;
	float accuracy;		/* the candidate's */
	float accuracy_before;	/* the model's that was there, on the same images; < 0: none */
	bool accepted;
};

struct history {
	int64_t interval_s;
	int n_samples, n_trainings;
	struct history_sample sample[HISTORY_SAMPLES];		/* oldest first */
	struct history_training training[HISTORY_TRAININGS];	/* oldest first; the oldest makes way */
};

void history_init(struct history *h);

/* Whether a sample is due; a clock that was set back makes one due. */
bool history_wants(const struct history *h, int64_t now_s);
void history_add(struct history *h, const struct history_sample *s);
void history_add_training(struct history *h, const struct history_training *t);

void history_put(const struct history *h, struct buf *b);

/* -EBADMSG: damaged; *ret is as after history_init(). */
int history_get(const uint8_t *data, size_t len, struct history *ret);
