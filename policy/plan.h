/*
 * Quantity against fidelity: how many images a budget should hold, and so how many bytes each may
 * take on average. Below that mean nothing is degraded any further; images go instead.
 *
 * The estimate: n images at quality q teach as much as m originals, 1/m = 1/n + BIAS * d(q)^1.5, d being
 * the population's mean divergence at q in nats. The first term is what a finite sample leaves open,
 * the second what compression gets wrong however many images there are: at quality 5 twice the images
 * gained half a point of accuracy where at quality 30 they gained five. One BIAS fits the uniform
 * sweep of eleven settings at two budgets in DESIGN.md within its noise.
 */
#pragma once

#include <stdbool.h>

#include "policy/curve.h"

struct plan {
	int quality;	   /* the LADDER quality that is best when all images share one */
	double mean_bytes; /* stored bytes an image at that quality, overhead not counted */
	double images;	   /* how many fit then */
};

/* How many originals n images of a mean divergence (nats) are worth. */
double plan_worth(double images, double divergence);

/*
 * budget: bytes for images; overhead: bytes of index and framing behind each; offered: images that
 * were there to choose from. Qualities outside [min, max] are not considered.
 */
struct plan plan_make(const struct population *p, double budget, double overhead, double offered,
	int min_quality, int max_quality);

/*
 * How room is made. True: by degrading, because images are larger on average than the plan has them;
 * false: by dropping members. mean_bytes: stored bytes of an image that may be degraded. dropping:
 * members were dropped last; then it takes more to go back, so that the two do not take turns and
 * write everything many times.
 */
bool plan_degrades(const struct plan *p, double mean_bytes, bool dropping);

/* Steps down to take at once for need bytes: few rounds, and prices do not run ahead of the need. */
int plan_steps(double need, double mean_bytes, int max);

/* Images to drop for need bytes, each freeing mean_bytes and overhead. */
int plan_drops(double need, double mean_bytes, double overhead, int max);
