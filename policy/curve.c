#include "policy/curve.h"

#include <math.h>
#include <string.h>

#include "common/macros.h"

#define HALF_LIFE 20000.0
#define KL_MIN	  1e-5
#define KL_STEP	  0.0563 /* log of the ratio between neighbouring codes: 255 codes to 16 nats */
#define PRICE_MIN 1e-20
#define RATES_FROM 200	/* images whose rates are all counted */
#define RATES_ONE_IN 8	/* of those that follow */
#define GUESSES_FROM 64 /* images whose divergences are guessed while there is no network */
#define GUESS_ONE_IN 256  /* of those that follow */
#define RATE_USUAL 4.0f /* times the population's rates: as much is an image's own affair */

void population_init(struct population *p)
{
	*p = (struct population){.entropy = -1, .own_weight = OWN_WEIGHT, .own_max = OWN_MAX};
	/* A first guess with the right shape: divergence falls as a power of quality. */
	for (int i = 0; i < LADDER_RUNGS; i++)
		p->kl[i] = 1.0f * powf((float)LADDER[i] / 2.0f, -0.95f);
}

static void move_mean(float *mean, double value, double weight)
{
	*mean += (float)((value - (double)*mean) / weight);
}

/* The curve's value at a quality, linear between its rungs and level beyond them. */
static double at_quality(const struct curve *c, const double *v, int quality)
{
	int i = 0;
	double t;

	if (quality <= c->quality[0])
		return v[0];
	if (quality >= c->quality[c->n - 1])
		return v[c->n - 1];
	while (c->quality[i + 1] < quality)
		i++;
	t = (double)(quality - c->quality[i]) / (c->quality[i + 1] - c->quality[i]);
	return v[i] + t * (v[i + 1] - v[i]);
}

bool population_wants_rates(const struct population *p, uint64_t hash)
{
	return p->images < RATES_FROM || (hash >> 32) % RATES_ONE_IN == 0; /* bits that no rank uses */
}

bool population_wants_guess(const struct population *p, uint64_t hash)
{
	return p->entropy < 0 && (p->scored < GUESSES_FROM || (hash >> 32) % GUESS_ONE_IN == 0);
}

/* Log of what the image takes over what the population does; rates unknown on either side: 0. */
static float log_excess(const struct curve *c, const struct population *p, int rung)
{
	float common = population_rate(p, c->quality[rung]);

	return common >= 1 && c->rate[rung] ? logf((float)c->rate[rung] / common) : 0;
}

static uint32_t filled_rate(const struct population *p, int quality, float excess)
{
	float rate = population_rate(p, quality) * expf(excess);

	return (uint32_t)CLAMP(rate, 1, (float)(INT32_MAX / RATE_SCALE));
}

void population_fill_rates(const struct population *p, struct curve *c)
{
	int low = -1;

	for (int high = 0; high < c->n; high++) {
		float a, b;

		if (!c->rate[high])
			continue;
		b = log_excess(c, p, high);
		a = low < 0 ? b : log_excess(c, p, low);
		for (int i = low + 1; i < high; i++) {
			float share = low < 0 ? 0 : (float)(i - low) / (float)(high - low);

			c->rate[i] = filled_rate(p, c->quality[i], a + (b - a) * share);
		}
		low = high;
	}
	if (low < 0)
		return;
	for (int i = low + 1; i < c->n; i++)
		c->rate[i] = filled_rate(p, c->quality[i], log_excess(c, p, low));
}

static bool all_counted(const struct curve *c)
{
	for (int i = 0; i < c->n; i++)
		if (!c->rate[i])
			return false;
	return true;
}

/* The first rung of the ladder that an image's own quality does not exceed, or the last. */
static int rung_above(const struct curve *c)
{
	int i = 0;

	while (i < LADDER_RUNGS - 1 && LADDER[i] < c->quality[c->n - 1])
		i++;
	return i;
}

static float interpolate(const float v[LADDER_RUNGS], int quality)
{
	int i = 0;
	float t;

	if (quality <= LADDER[0])
		return v[0];
	if (quality >= LADDER[LADDER_RUNGS - 1])
		return v[LADDER_RUNGS - 1];
	while (LADDER[i + 1] < quality)
		i++;
	t = (float)(quality - LADDER[i]) / (float)(LADDER[i + 1] - LADDER[i]);
	return v[i] + t * (v[i + 1] - v[i]);
}

/* What photographs take, of what they take at quality 50. */
static const float usual[LADDER_RUNGS] = {
	0.13f, 0.20f, 0.25f, 0.33f, 0.44f, 0.54f, 0.71f, 0.86f, 1, 1.15f, 1.38f, 1.77f, 2.71f, 4.04f};

/*
 * How many times what it takes at rung `own` an image would take at rung i, had it had that quality; as
 * usual until there have been some of it.
 */
static double growth(const struct population *p, int own, int i)
{
	return p->rate[own] > 0 && p->rate[i] > 0 ? (double)(p->rate[i] / p->rate[own])
						  : (double)(usual[i] / usual[own]);
}

/*
 * Of qualities that a capture never had it says that they are as much dearer as usual, and spoil no more.
 * Were nothing counted of them, their means would be other images': where the small ones have high
 * qualities and the large ones low ones, a high quality would seem the cheaper, and be left for nothing.
 */
static void add(struct population *p, const struct curve *c, bool capture)
{
	double rate[RUNGS_MAX], kl[RUNGS_MAX], cap = HALF_LIFE / M_LN2, more[LADDER_RUNGS];
	bool counted = all_counted(c), judged = c->scored || (p->entropy < 0 && c->kl[0] > 0);
	int own = rung_above(c);

	if (c->scored && c->entropy >= 0 && p->entropy < 0) {
		p->scored = 0; /* guesses are no longer needed */
		p->entropy = c->entropy;
	}
	p->images = MIN(p->images + (counted ? 1 : 0), cap);
	p->scored = MIN(p->scored + (judged ? 1 : 0), cap);
	if (c->scored && c->entropy >= 0)
		move_mean(&p->entropy, (double)c->entropy, p->scored);
	for (int i = 0; i < c->n; i++) {
		rate[i] = c->rate[i];
		kl[i] = (double)c->kl[i];
	}
	for (int i = 0; i < LADDER_RUNGS; i++)
		more[i] = i > own ? growth(p, own, i) : 1;
	for (int i = 0; i < LADDER_RUNGS; i++) {
		double bytes = more[i] * at_quality(c, rate, LADDER[i]);

		if (counted)
			move_mean(&p->rate[i], bytes, p->rate[i] > 0 ? p->images : 1);
		if (judged && (capture || i <= own))
			move_mean(&p->kl[i], at_quality(c, kl, LADDER[i]), p->scored);
	}
}

void population_add(struct population *p, const struct curve *c)
{
	add(p, c, true);
}

void population_add_stored(struct population *p, const struct curve *c)
{
	add(p, c, false);
}

void population_expect(struct population *p, int quality, float bytes)
{
	float at_50 = bytes / interpolate(usual, quality);

	for (int i = 0; i < LADDER_RUNGS; i++)
		p->rate[i] = at_50 * usual[i];
}

void population_new_model(struct population *p)
{
	p->scored = MIN(p->scored, 50);
}

float population_kl(const struct population *p, int quality)
{
	return interpolate(p->kl, quality);
}

float population_rate(const struct population *p, int quality)
{
	return interpolate(p->rate, quality);
}

void curve_make_monotone(struct curve *c)
{
	float mean[RUNGS_MAX];
	int width[RUNGS_MAX], blocks = 0;

	for (int i = 0; i < c->n; i++) {
		mean[blocks] = c->kl[i];
		width[blocks++] = 1;
		while (blocks > 1 && mean[blocks - 1] > mean[blocks - 2]) {
			int a = width[blocks - 2], b = width[blocks - 1];

			mean[blocks - 2] = (mean[blocks - 2] * (float)a + mean[blocks - 1] * (float)b) /
				(float)(a + b);
			width[blocks-- - 2] += b;
		}
	}
	for (int b = 0, i = 0; b < blocks; b++)
		for (int k = 0; k < width[b]; k++)
			c->kl[i++] = mean[b];
}

void curve_harm(const struct curve *c, const struct population *p, float ret_harm[RUNGS_MAX])
{
	for (int i = 0; i < c->n; i++) {
		float common = population_kl(p, c->quality[i]);
		float own = MIN(c->kl[i], p->own_max * common);

		ret_harm[i] = c->scored ? p->own_weight * own + (1 - p->own_weight) * common : common;
	}
}

float step_price(const uint32_t *rate, const float *harm, int a, int b)
{
	return (harm[a] - harm[b]) / ((float)rate[b] - (float)rate[a]);
}

int hull(const uint32_t *rate, const float *harm, int n, int ret_rung[RUNGS_MAX])
{
	int m = 0, cheapest = 0;

	for (int i = 1; i < n; i++)
		if (rate[i] <= rate[cheapest])
			cheapest = i;
	ret_rung[m++] = cheapest;
	for (int i = cheapest + 1; i < n; i++) {
		/* Worth its bytes only when it is dearer than all below and spoils less. */
		if (rate[i] <= rate[ret_rung[m - 1]] || harm[i] >= harm[ret_rung[m - 1]])
			continue;
		while (m > 1 && step_price(rate, harm, ret_rung[m - 1], i) >=
				step_price(rate, harm, ret_rung[m - 2], ret_rung[m - 1]))
			m--;
		ret_rung[m++] = i;
	}
	return m;
}

/* How many times an image is larger than the population is wide, both ways; 1 within that. */
static float beyond_usual(const struct curve *c, const struct population *p)
{
	float sum = 0, ratio;
	int n = 0;

	for (int i = 0; i < c->n; i++) {
		float common = population_rate(p, c->quality[i]);

		if (common < 1 || !c->rate[i])
			continue;
		sum += logf((float)c->rate[i] / common);
		n++;
	}
	ratio = n ? expf(sum / (float)n) : 1;
	return ratio > RATE_USUAL	? ratio / RATE_USUAL
	       : ratio < 1 / RATE_USUAL ? ratio * RATE_USUAL
					: 1;
}

static void deciding_rates(const struct curve *c, const struct population *p, uint32_t ret[RUNGS_MAX])
{
	float beyond =
		c->scored ? beyond_usual(c, p) : 1; /* all unscored images stop at one rung */

	for (int i = 0; i < c->n; i++) {
		float common = population_rate(p, c->quality[i]);

		ret[i] = common >= 1 ? (uint32_t)MAX(common * beyond * RATE_SCALE, 1)
				     : c->rate[i] * RATE_SCALE;
	}
}

int curve_choose(const struct curve *c, const struct population *p, float price)
{
	uint32_t rate[RUNGS_MAX];
	float harm[RUNGS_MAX];
	int rung[RUNGS_MAX], m;

	curve_harm(c, p, harm);
	deciding_rates(c, p, rate);
	m = hull(rate, harm, c->n, rung);
	while (m > 1 && RATE_SCALE * step_price(rate, harm, rung[m - 2], rung[m - 1]) < price)
		m--;
	return rung[m - 1];
}

/* The rungs that may be stepped to from at, and at itself. */
static int reachable(const struct curve *c, int at, int ret_rung[RUNGS_MAX])
{
	int n = 0;

	for (int i = 0; i < at; i++)
		if (ladder_step_allowed(c->quality[at], c->quality[i]))
			ret_rung[n++] = i;
	ret_rung[n++] = at;
	return n;
}

/* The hull of the rungs that may be reached from at, and of at itself: which, their rates and
 * harms. */
struct reach {
	int from[RUNGS_MAX], n; /* rungs; the last is at */
	int hull[RUNGS_MAX], m; /* of those, indices into from */
	uint32_t rate[RUNGS_MAX];
	float harm[RUNGS_MAX];
};

static void reach_from(const struct curve *c, const struct population *p, int at, struct reach *r)
{
	uint32_t rate[RUNGS_MAX];
	float harm[RUNGS_MAX];

	r->n = reachable(c, at, r->from);
	curve_harm(c, p, harm);
	deciding_rates(c, p, rate);
	for (int i = 0; i < r->n; i++) {
		r->rate[i] = rate[r->from[i]];
		r->harm[i] = harm[r->from[i]];
	}
	r->m = hull(r->rate, r->harm, r->n, r->hull);
}

bool curve_next_step(const struct curve *c, const struct population *p, int at, int *ret_to,
	float *ret_price)
{
	struct reach r;
	int m;

	reach_from(c, p, at, &r);
	m = r.m;
	/* To the highest rung of the hull that frees bytes; if at is none of it, that may spoil nothing. */
	while (m > 0 && r.rate[r.hull[m - 1]] >= r.rate[r.n - 1])
		m--;
	if (m == 0)
		return false;
	*ret_to = r.from[r.hull[m - 1]];
	*ret_price = MAX(RATE_SCALE * step_price(r.rate, r.harm, r.hull[m - 1], r.n - 1), 0.0f);
	return true;
}

bool curve_step_to(
	const struct curve *c, const struct population *p, int at, float price, int *ret_to)
{
	struct reach r;
	float first;
	int m, to;

	if (!curve_next_step(c, p, at, &to, &first))
		return false;
	reach_from(c, p, at, &r);
	m = r.m;
	while (m > 1 &&
		(r.from[r.hull[m - 1]] > to ||
			RATE_SCALE * step_price(r.rate, r.harm, r.hull[m - 2], r.hull[m - 1]) <
				price))
		m--;
	*ret_to = r.from[r.hull[m - 1]];
	return true;
}

uint8_t kl_encode(float kl)
{
	double code = kl > 0 ? 1 + log((double)kl / KL_MIN) / KL_STEP : 0;

	return (uint8_t)CLAMP(lround(code), kl > 0 ? 1 : 0, 255);
}

float kl_decode(uint8_t code)
{
	return code ? (float)(KL_MIN * exp((code - 1) * KL_STEP)) : 0;
}

int price_encode(float price)
{
	double code = price > PRICE_MIN ? 512 * log2((double)price / PRICE_MIN) : 0;

	return (int)CLAMP(lround(code), 0, 65535);
}

float price_decode(int code)
{
	return code > 0 ? (float)(PRICE_MIN * exp2(code / 512.0)) : 0;
}
