#include "policy/choose.h"

#include "common/macros.h"
#include "policy/member.h"

void choose_limits(const struct config *c, uint8_t *ret_min, uint8_t *ret_max)
{
	switch ((enum policy_mode)c->policy.mode) {
	case MODE_ADAPTIVE:
		*ret_min = (uint8_t)c->policy.min_quality;
		*ret_max = (uint8_t)c->policy.max_quality;
		return;
	case MODE_UNIFORM:
		*ret_min = *ret_max = (uint8_t)c->policy.quality;
		return;
	case MODE_DROP:
		*ret_min = *ret_max = 100;
		return;
	}
}

/* The lowest rung at which the population loses next to nothing. */
static int faithful_rung(const struct curve *c, const struct population *p)
{
	for (int i = 0; i < c->n; i++)
		if (population_kl(p, c->quality[i]) <= VALIDATION_KL)
			return i;
	return c->n - 1;
}

int choose_rung(enum policy_mode mode, const struct curve *c, const struct population *p, float price,
	bool validation)
{
	if (mode != MODE_ADAPTIVE)
		return c->n - 1;
	return validation ? faithful_rung(c, p) : curve_choose(c, p, price);
}

int choose_no_larger(const struct curve *c, const struct population *p, int rung, int64_t bytes)
{
	int faithful = faithful_rung(c, p);

	while (rung > faithful && c->rate[rung] > bytes)
		rung--;
	return rung;
}

bool choose_loose(enum policy_mode mode, uint32_t bytes, bool nearly_full)
{
	return mode == MODE_ADAPTIVE && !nearly_full && bytes >= LOOSE_MIN;
}

struct next_step choose_first_step(const struct curve *c, const struct population *p, int at, bool validation)
{
	return (struct next_step){0, c->quality[validation ? MIN(faithful_rung(c, p), at) : at]};
}

struct next_step choose_next(enum policy_mode mode, const struct curve *c, const struct population *p, int at,
	bool validation, int64_t sequence, int rank)
{
	float price;
	int to;

	switch (mode) {
	case MODE_ADAPTIVE:
		if (validation || !curve_next_step(c, p, at, &to, &price))
			return (struct next_step){-1, 0};
		return (struct next_step){price_encode(price), c->quality[to]};
	case MODE_UNIFORM:
		return (struct next_step){(int)MIN(sequence, INT32_MAX), 0};
	case MODE_DROP:
		return (struct next_step){RANK_MAX - rank, 0};
	}
	return (struct next_step){-1, 0};
}
