/*
 * A curve: what each rung of an image costs (rate, bytes) and what it spoils (divergence, nats). How
 * divergence becomes harm, how a noisy curve is drawn towards the population's, and the convex hull
 * whose slopes are the prices at which the image steps down.
 *
 * Harm is the divergence itself, the image's own share of it bounded by OWN_MAX times the
 * population's, so that one badly judged image cannot buy all the bytes. (A harm that saturates, as
 * 1 - exp(-8 d) does, makes the hull jump from the middle of the ladder to its foot and fills the
 * store with images that teach nothing; see DESIGN.md, Policy.) A step's price is the harm that it
 * adds per byte that it frees.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "policy/ladder.h"

#define OWN_WEIGHT 0.15f /* of an image's own curve against the population's */
#define OWN_MAX	   6.0f
#define RATE_SCALE 16 /* mean rates are no whole bytes: decisions count in sixteenths */

struct curve {
	int n;
	uint8_t quality[RUNGS_MAX]; /* ascending */
	uint32_t rate[RUNGS_MAX];   /* bytes as stored; 0: not counted, but at least one is */
	float kl[RUNGS_MAX]; /* divergence from the answer to the capture itself; unscored: guessed, or 0 */
	float loss[RUNGS_MAX]; /* cross-entropy minus the capture's; 0 without label or model */
	float entropy;		    /* of the answer to the capture, nats; negative: unknown */
	bool scored;		    /* kl comes from a network */
};

/* What the images met so far look like on average, per LADDER rung. */
struct population {
	double images;		  /* whose rates were all counted: the weight behind their means */
	float kl[LADDER_RUNGS];	  /* of scored images; before there is a network, of guesses */
	float rate[LADDER_RUNGS]; /* bytes */
	double scored;		  /* whose divergences these are: the weight behind their means */
	float entropy; /* of the answers; negative: no network has answered yet */
	float own_weight, own_max; /* OWN_WEIGHT and OWN_MAX, but for experiments */
};

/* No image met yet: divergences as a first network typically shows them of 32x32 pictures, no rates. */
void population_init(struct population *p);

/*
 * Before the first image: rates as usual of photographs, if an image of that quality takes so many bytes on
 * average. The first image that is added replaces them.
 */
void population_expect(struct population *p, int quality, float bytes);

/* Adds one image, its rates when all were counted; old images fade with a half-life of about 20,000. */
void population_add(struct population *p, const struct curve *c);

/* The same of an image that may have been degraded: what better qualities would have spoilt is not known. */
void population_add_stored(struct population *p, const struct curve *c);

/*
 * Whether all rates of the next image are to be counted: of the first few hundred, then of one in
 * eight, chosen by its content hash. Decisions look at the population's rates; of the others it is
 * enough to know about how large they are, and counting is most of what a large image costs.
 */
bool population_wants_rates(const struct population *p, uint64_t hash);

/*
 * Whether the next image's divergences are to be guessed (scorer_set_input()): no network has answered yet, and
 * it is one of the first or of the few that follow them.
 */
bool population_wants_guess(const struct population *p, uint64_t hash);

/* Rates not counted, from the population's: larger or smaller as the nearest counted ones are. */
void population_fill_rates(const struct population *p, struct curve *c);

/* Forgets the divergences' weight, not their values: a new model is about to be heard. */
void population_new_model(struct population *p);

/* Mean divergence and rate at any quality, linear between rungs. */
float population_kl(const struct population *p, int quality);
float population_rate(const struct population *p, int quality);

/* Makes kl fall as quality rises, by the nearest such curve (pool adjacent violators). */
void curve_make_monotone(struct curve *c);

/*
 * Harm at each rung, in nats: the image's divergences, bounded, and the population's, mixed. An
 * unscored curve is the population's alone.
 */
void curve_harm(const struct curve *c, const struct population *p, float ret_harm[RUNGS_MAX]);

/*
 * The lower convex hull of (rate, harm): the rungs worth stopping at, ascending, in ret_rung; the
 * first is the cheapest, the last has the least harm. Returns how many.
 */
int hull(const uint32_t *rate, const float *harm, int n, int ret_rung[RUNGS_MAX]);

/* Price of going from hull rung b down to a: harm per byte. */
float step_price(const uint32_t *rate, const float *harm, int a, int b);

/*
 * Rung at a price: from the top of the hull down while the next step is cheaper than price.
 *
 * The rates that decide, here and below, are the population's, not the image's own: an image that
 * is hard to compress is not worth less, and making it pay for its bytes costs accuracy (DESIGN.md,
 * Policy). Only what is beyond four times more or less than usual, a picture of another size,
 * counts.
 */
int curve_choose(const struct curve *c, const struct population *p, float price);

/*
 * The step down from rung at, as the hull of the rungs that may be reached from it (ladder.h) has it:
 * its target and price. False when there is none. Rungs above at are not looked at.
 */
bool curve_next_step(const struct curve *c, const struct population *p, int at, int *ret_to,
	float *ret_price);

/*
 * Where a step from rung at should lead when bytes are expected to cost price before long: the best
 * of the reachable rungs at that price, and at least as far down as curve_next_step() goes.
 * Re-quantising once to where an image will end beats doing it in small steps. False when there is
 * no step.
 */
bool curve_step_to(
	const struct curve *c, const struct population *p, int at, float price, int *ret_to);

/* Divergence in one byte, 1e-5 to 16 nats in steps of 5.8 %; 0 is none. */
uint8_t kl_encode(float kl);
float kl_decode(uint8_t code);

/* Price in 16 bits that sort as prices do, in steps of 0.14 %. */
int price_encode(float price);
float price_decode(int code);
