/*
 * Quantity against fidelity: at which price degrading costs more than giving up images does, and how
 * many images a budget will hold then.
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

/* What to expect of a budget, for people and for a start. */
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
 * The price, in nats a byte, at which degrading costs as much as dropping does: a full store gives up
 * images rather than take a dearer step, and stores what comes at this price. From the estimate's
 * derivatives, by images and by divergence: 1 / (1.5 BIAS sqrt(d) budget).
 */
float plan_price(double divergence, double budget);

/* Steps down to take at once for need bytes: few rounds, and prices do not run ahead of the need. */
int plan_steps(double need, double mean_bytes, int max);

/* Images to drop for need bytes, each freeing mean_bytes and overhead. */
int plan_drops(double need, double mean_bytes, double overhead, int max);
