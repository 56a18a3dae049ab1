/*
 * The decision about one image: at which rung it is stored, and what its next step down is. Modes
 * differ only here and in who goes first when room is needed (member.h, plan.h).
 */
#pragma once

#include "common/config.h"
#include "policy/curve.h"

#define VALIDATION_KL 0.05f /* nats: a validation image may lose this much and no more */

struct next_step {
	int step;	 /* order in which steps are taken, cheapest first; -1: none */
	uint8_t to;	 /* quality it leads to; 0: the image is dropped */
};

/* The qualities a mode lets a worker try: uniform and drop leave one. */
void choose_limits(const struct config *c, uint8_t *ret_min, uint8_t *ret_max);

/* Rung of the curve to store an image at, at the current price. */
int choose_rung(enum policy_mode mode, const struct curve *c, const struct population *p, float price,
	bool validation);

/*
 * The step after storing at rung at. sequence: how many captures came before; rank: member.h. Only
 * adaptive steps down; uniform drops in order of arrival, drop in order of rank.
 */
struct next_step choose_next(enum policy_mode mode, const struct curve *c, const struct population *p, int at,
	bool validation, int64_t sequence, int rank);
