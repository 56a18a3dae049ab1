/*
 * Quantity against fidelity: at which price degrading costs more than giving up images does, and
 * how many images a budget will hold then.
 *
 * The estimate: n images at quality q teach as much as m originals,
 *
 *	1/m = 1/D(n) + BIAS * (d(q) / I)^1.5
 *
 * d is the population's mean divergence at q, I the information that the network's answers have
 * about the label, both in nats: an answer that says little can lose little, and a network of a
 * thousand classes more than one of two. The first term is what a finite sample leaves open, the
 * second what compression gets wrong however many images there are: at quality 5 twice the images
 * gained half a point of accuracy where at quality 30 they gained five. One BIAS fits the uniform
 * sweep of eleven settings at two budgets in DESIGN.md within its noise.
 *
 * n are the images that training gets to see, which are more than the store holds at a time when it
 * takes them as they come: a share 1 - exp(-n / t) of those that come in its course, t being a tenth
 * of them. (Slices may follow each other faster; but images that are held for less than that are
 * shown too few times, one after another: DESIGN.md.)
 *
 * D discounts repeats when a training shows a set number of images: n images shown samples / n
 * times are worth n + n R (1 - exp(-(samples / n - 1) / R)) shown once, R = 15 (Muennighoff et al.
 * 2023). D is that over 1 + R, so that it is n when samples are plenty.
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

/* What the network that is trained can do. */
struct regime {
	double information; /* nats; see plan_information() */
	double samples;	    /* images that a training shows; INFINITY: more when there are more */
	double offered;	    /* images there are to choose from */
	double course;	    /* of them come while a training goes on, at most; 0: it is done at once */
};

/*
 * Information of the population's answers about labels that have so many images each: the labels'
 * entropy less the answers' mean entropy (mutual information, when the network is calibrated).
 * Before a network has answered, what a first one typically reaches.
 */
double plan_information(const struct population *p, const double *images, int labels);

/*
 * Whether a training is worth spreading over what comes: when an eighth of what came is gone. Before, one that
 * is done at once sees nearly all of it as often as it likes (DESIGN.md, What was tried).
 */
bool plan_course_pays(double held, double dropped);

/* How many originals n images of a mean divergence (nats) are worth. */
double plan_worth(const struct regime *r, double images, double divergence);

/*
 * budget: bytes for images; overhead: bytes of index and framing behind each. Qualities outside
 * [min, max] are not considered.
 */
struct plan plan_make(const struct population *p, const struct regime *r, double budget,
	double overhead, int min_quality, int max_quality);

/*
 * The price, in nats a byte, at which degrading costs as much as dropping does: a full store of so
 * many images gives up some rather than take a dearer step, and stores what comes at this price.
 * From the estimate's derivatives, by images and by divergence: I n^2 D' / D^2 / (1.5 BIAS
 * sqrt(d / I) budget), D being that of the images seen when n are held.
 */
float plan_price(const struct regime *r, double images, double divergence, double budget);

/*
 * The price, in nats a byte, at which an image like the population's mean is stored at the plan's
 * quality: the middle of those at which it would go one rung up and one down.
 */
float plan_target_price(const struct population *p, const struct plan *plan);

/* Steps down to take at once for need bytes: few rounds, and prices do not run ahead of the need. */
int plan_steps(double need, double mean_bytes, int max);

/* Images to drop for need bytes, each freeing mean_bytes and overhead. */
int plan_drops(double need, double mean_bytes, double overhead, int max);
