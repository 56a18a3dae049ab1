/*
 * Quantity against fidelity: how many images a budget should hold, and so how many bytes each may
 * take on average. Below that mean nothing is degraded any further; images go instead.
 *
 * The estimate: with n images at quality q a network trained on them is worth
 * ln(n) - FIDELITY_WEIGHT * d(q), d being the population's mean divergence at q in nats. Learning
 * curves are close to straight in ln(n) over the ranges a device sees (Hestness et al. 2017). The
 * second term was fitted to the uniform sweep in DESIGN.md, where it is straight too: from one rung
 * to the next the weight comes out as 2.1, 2.3 and 2.7.
 */
#pragma once

#include <stdbool.h>

#include "policy/curve.h"

struct plan {
	int quality;	   /* the LADDER quality that is best when all images share one */
	double mean_bytes; /* stored bytes an image at that quality, overhead not counted */
	double images;	   /* how many fit then */
};

/*
 * budget: bytes for images; overhead: bytes of index and framing behind each; offered: images that
 * were there to choose from. Qualities outside [min, max] are not considered.
 */
struct plan plan_make(const struct population *p, double budget, double overhead, double offered,
	int min_quality, int max_quality);

/*
 * How room is made. True: by degrading, because images are larger on average than the plan has them;
 * false: by dropping members. mean_bytes: stored bytes of an image that may be degraded.
 */
bool plan_degrades(const struct plan *p, double mean_bytes);

/* Steps down to take at once for need bytes: few rounds, and prices do not run ahead of the need. */
int plan_steps(double need, double mean_bytes, int max);

/* Images to drop for need bytes, each freeing mean_bytes and overhead. */
int plan_drops(double need, double mean_bytes, double overhead, int max);
