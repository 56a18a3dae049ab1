/*
 * Quantisation steps made for the network instead of for the eye (the idea of DeepN-JPEG, Liu et al.
 * 2018, without its band ranking): what the network does not look at is quantised coarsely.
 *
 * Measured, not derived: each frequency alone is quantised as PROBE_QUALITY would, and the network's
 * divergence is divided by the squared error that it took. Steps are then that sensitivity to the
 * power of -STEP_POWER, scaled so that a quality means about the bytes it always meant.
 */
#pragma once

#include "policy/score.h"

#define PROBE_QUALITY 10
#define SENSITIVITY_IMAGES 60 /* enough for steps_make() */
#define SENSITIVITY_MIN 8     /* with fewer, standard steps are better */

/* Sums over images, that may be added up. k is the zigzag position; plane 0 luma, 1 chroma. */
struct sensitivity {
	double images;
	double kl[2][DCT_SIZE2];	/* divergence from quantising frequency k alone, nats */
	double error[2][DCT_SIZE2];	/* squared error it took, per block */
	double magnitude[2][DCT_SIZE2]; /* mean absolute coefficient */
	double planes[2];		/* images that had such a plane */
};

/* Adds one image, as captured; s must have a model. -ENOMEM. */
int sensitivity_add(struct scorer *s, const struct coef_image *im, struct sensitivity *sum);

void sensitivity_merge(struct sensitivity *to, const struct sensitivity *from);

#define STEP_POWER 0.5 /* what high-rate theory says, and what measures best */

/* Sets the steps for a quality in ret, nothing else of it. power: STEP_POWER but for experiments. */
void steps_make(const struct sensitivity *s, int quality, double power, struct jpeg_tables *ret);

/* The same for every rung of a set. */
void steps_make_set(const struct sensitivity *s, double power, struct table_set *ret);
