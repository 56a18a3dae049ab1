/*
 * The decision about one image: at which rung it is stored, and what its next step down is. Modes
 * differ only here and in who goes first when room is needed (member.h, plan.h).
 */
#pragma once

#include "common/config.h"
#include "policy/curve.h"

#define VALIDATION_KL 0.05f /* nats: a validation image may lose this much and no more */
#define LOOSE_MIN     8192  /* bytes, packed: of less most is not packing */

struct next_step {
	int step;	 /* order in which steps are taken, cheapest first; -1: none */
	uint8_t to;	 /* quality it leads to; 0: the image is dropped */
};

/* The qualities a mode lets a worker try: uniform and drop leave one. */
void choose_limits(const struct config *c, uint8_t *ret_min, uint8_t *ret_max);

/* Rung of the curve to store an image at, at the current price; validation: one that spoils next to nothing. */
int choose_rung(enum policy_mode mode, const struct curve *c, const struct population *p, float price,
	bool validation);

/*
 * The rung or one below it: no more bytes than the capture had, as long as there is a lower rung that spoils
 * next to nothing. Drawings are smaller as they come than as good JPEGs, and would take the room of many
 * photographs.
 */
int choose_no_larger(const struct curve *c, const struct population *p, int rung, int64_t bytes);

/*
 * Whether an image is left a complete file as long as the store has room, which packing it makes: a step
 * that costs time alone. Packing a photograph takes as long as all else that is done with it, and of a
 * store that fills most are re-quantised before long. bytes: packed.
 */
bool choose_loose(enum policy_mode mode, uint32_t bytes, bool nearly_full);

/*
 * The step of such an image at rung at, at no price: it is packed, and one for validation, which people may
 * want to look at while there is room, goes to the lowest rung that spoils next to nothing. There it stays.
 */
struct next_step choose_first_step(const struct curve *c, const struct population *p, int at,
	bool validation);

/*
 * The step after storing at rung at. sequence: how many captures came before; rank: member.h. Only
 * adaptive steps down; uniform drops in order of arrival, drop in order of rank.
 */
struct next_step choose_next(enum policy_mode mode, const struct curve *c, const struct population *p, int at,
	bool validation, int64_t sequence, int rank);
