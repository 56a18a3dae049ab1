/*
 * The naive policies: pictures chosen without a look at them, at qualities chosen without a look at
 * them, until the budget is full. Two coders: plain JPEG, as everybody has it (standard tables,
 * abbreviated framing), and ours (steps made for a network that was trained on all originals, the
 * packer's model fitted to a thousand pictures: more than a device can know in one pass).
 */
#pragma once

#include "policy/steps.h"
#include "tools/lab/stream.h"

#define PLAIN_FRAME_BYTES 4 /* length and label; the markers are in the rate */

enum coder { PLAIN, OURS };

/* Rates of training pictures at the qualities asked for, counted when they are needed. */
struct rates {
	struct lab *l;
	struct sensitivity network; /* of OURS; none: standard steps */
	struct pack_model pack;	    /* of OURS */
	double table_bytes;	    /* of OURS, once; 0: not fitted yet */
	struct rate_column {
		uint32_t *bytes[2]; /* [coder][n_train]; owned; frames not counted; 0: not known yet
				     */
		struct jpeg_tables ours;
	} at[101]; /* [quality] */
};

void rates_done(struct rates *r);

/* Trains a network on all originals and measures what it looks at: OURS is made for it from now on. */
int rates_learn(struct rates *r);

/* Our coder's steps at a quality, all that choice_test() needs. */
void rates_steps(struct rates *r, int quality);

/* Makes sure of a quality; 100 stands for the picture as it came (at most its own quality). */
int rates_at(struct rates *r, int quality);

/* A choice: picture index and quality. */
struct choice {
	int index, quality;
};

/* Total bytes with frames and tables; the qualities must be known to r. */
int choice_bytes(struct rates *r, enum coder c, const struct choice *v, int n, double *ret);

/*
 * The first of candidate[0..n) that fit the budget, in that order; their qualities must be known to
 * r, and no picture may be in it twice. Returns how many, or a negative errno.
 */
int fill_budget(struct rates *r, enum coder c, double budget, const struct choice *candidate, int n);

/* The choice as the network is trained on it, weighed as what is in it came. ours NULL: plain JPEG. */
int choice_dataset(
	struct lab *l, const struct rates *ours, const struct choice *v, int n, struct dataset *ret);

/* Test pictures, each at a quality drawn from the choice's. */
int choice_test(struct lab *l, const struct rates *ours, const uint8_t *quality, int n, uint64_t seed,
	struct dataset *ret);
