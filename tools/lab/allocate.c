#include "tools/lab/allocate.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/macros.h"

#define BISECTIONS 60

/* One step down a hull, in the order of its price. */
struct step {
	float price;
	int bytes; /* that it frees */
	double harm;
};

static int by_price(const void *a, const void *b)
{
	const struct step *x = a, *y = b;

	return (x->price > y->price) - (x->price < y->price);
}

struct totals {
	double top_bytes, top_harm, low_harm;
};

/* Every hull's steps, from the top down. */
static int collect(
	const struct curve *curve, int n, const struct population *p, struct step *step, struct totals *t)
{
	int steps = 0;

	for (int i = 0; i < n; i++) {
		float harm[RUNGS_MAX];
		int rung[RUNGS_MAX], m;

		curve_harm(&curve[i], p, harm);
		m = hull(curve[i].rate, harm, curve[i].n, rung);
		t->top_bytes += curve[i].rate[rung[m - 1]];
		t->top_harm += (double)harm[rung[m - 1]];
		t->low_harm += (double)harm[rung[0]];
		for (int k = m - 1; k > 0; k--)
			step[steps++] = (struct step){step_price(curve[i].rate, harm, rung[k - 1], rung[k]),
				(int)(curve[i].rate[rung[k]] - curve[i].rate[rung[k - 1]]),
				(double)harm[rung[k - 1]] - (double)harm[rung[k]]};
	}
	return steps;
}

/* The bound: the cheapest steps of all, the last one in part. */
static double bound(struct step *step, int steps, const struct totals *t, double budget)
{
	double bytes = t->top_bytes, harm = t->top_harm;

	qsort(step, (size_t)steps, sizeof(*step), by_price);
	for (int i = 0; i < steps && bytes > budget; i++) {
		double part = MIN((bytes - budget) / step[i].bytes, 1.0);

		bytes -= part * step[i].bytes;
		harm += part * step[i].harm;
	}
	return harm;
}

static void sum_at(
	const struct curve *curve, int n, const struct population *p, const int *at, struct allocation *ret)
{
	*ret = (struct allocation){0};
	for (int i = 0; i < n; i++) {
		float harm[RUNGS_MAX];

		curve_harm(&curve[i], p, harm);
		ret->bytes += curve[i].rate[at[i]];
		ret->harm += (double)harm[at[i]];
	}
}

/* The highest price at which they take more than the budget, to within a float. at: [n], for its use. */
static float too_low(const struct curve *curve, int n, const struct population *p, double budget, int *at)
{
	float low = 1e-12f, high = 1e3f;
	struct allocation sum;

	for (int round = 0; round < BISECTIONS; round++) {
		float price = sqrtf(low * high);

		for (int i = 0; i < n; i++)
			at[i] = curve_choose(&curve[i], p, price);
		sum_at(curve, n, p, at, &sum);
		if (sum.bytes > budget)
			low = price;
		else
			high = price;
	}
	return low;
}

/* As relief does it: the cheapest next step, to the rung that the price asks for, again and again. */
static void by_steps(const struct curve *curve, int n, const struct population *p, double budget, int *at,
	struct next_step *next, struct allocation *ret)
{
	float price = too_low(curve, n, p, budget, at);
	double bytes = 0;

	for (int i = 0; i < n; i++) {
		at[i] = curve_choose(&curve[i], p, 0);
		next[i] = choose_next(MODE_ADAPTIVE, &curve[i], p, at[i], false, 0, 0);
		bytes += curve[i].rate[at[i]];
	}
	while (bytes > budget) {
		int best = -1, to;

		for (int i = 0; i < n; i++)
			if (next[i].step >= 0 && (best < 0 || next[i].step < next[best].step))
				best = i;
		if (best < 0 || !curve_step_to(&curve[best], p, at[best], price, &to))
			break;
		bytes -= curve[best].rate[at[best]] - curve[best].rate[to];
		at[best] = to;
		next[best] = choose_next(MODE_ADAPTIVE, &curve[best], p, to, false, 0, 0);
	}
	sum_at(curve, n, p, at, ret);
}

int allocate(const struct curve *curve, int n, const struct population *p, double budget,
	struct allocations *ret)
{
	_cleanup_free_ struct step *step = malloc((size_t)MAX(n, 1) * RUNGS_MAX * sizeof(*step));
	_cleanup_free_ int *at = malloc((size_t)MAX(n, 1) * sizeof(*at));
	_cleanup_free_ struct next_step *next = malloc((size_t)MAX(n, 1) * sizeof(*next));
	struct totals t = {0};
	struct population own = *p; /* that decides nothing by its rates */
	double saved;
	int steps;

	if (!step || !at || !next)
		return -ENOMEM;
	steps = collect(curve, n, p, step, &t);
	ret->bound_harm = bound(step, steps, &t, budget);
	saved = MAX(t.low_harm - ret->bound_harm, 1e-12);
	memset(own.rate, 0, sizeof(own.rate));
	by_steps(curve, n, p, budget, at, next, &ret->by_steps);
	by_steps(curve, n, &own, budget, at, next, &ret->by_own_rates);
	ret->by_steps.share_of_bound = (t.low_harm - ret->by_steps.harm) / saved;
	ret->by_own_rates.share_of_bound = (t.low_harm - ret->by_own_rates.harm) / saved;
	return 0;
}
