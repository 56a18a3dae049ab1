/* Everything in policy/ that is pure numbers: ladder, curve, plan, member, choose, idle, gate, age. */
#include "common/clock.h"
#include "policy/age.h"
#include "policy/choose.h"
#include "policy/gate.h"
#include "policy/idle.h"
#include "policy/member.h"
#include "policy/plan.h"
#include "policy/predict.h"

#include "common/rng.h"
#include "policy/suggest.h"
#include "tests/unit/test.h"

static void test_ladder(void)
{
	uint8_t q[RUNGS_MAX];

	CHECK_INT(ladder_for(100, 2, 95, q), 14);
	CHECK_INT(q[13], 95);
	CHECK_INT(ladder_for(92, 5, 95, q), 13); /* 5 .. 90 and its own 92 */
	CHECK_INT(q[0], 5);
	CHECK_INT(q[12], 92);
	CHECK_INT(ladder_for(50, 2, 95, q), 9);
	CHECK_INT(q[8], 50);
	CHECK_INT(ladder_for(3, 5, 95, q), 1); /* worse than allowed: it stays what it is */
	CHECK_INT(q[0], 3);
	CHECK_INT(ladder_for(95, 75, 75, q), 1);
	CHECK_INT(q[0], 75);
	CHECK_INT(ladder_for(60, 75, 75, q), 1);
	CHECK_INT(q[0], 60);
	CHECK_INT(LADDER[ladder_nearest(58)], 60);
}

static void test_monotone(void)
{
	struct curve c = {.n = 4, .quality = {5, 10, 20, 50}, .kl = {0.4f, 0.1f, 0.3f, 0.0f}};

	curve_make_monotone(&c);
	CHECK_NEAR(c.kl[0], 0.4, 1e-6);
	CHECK_NEAR(c.kl[1], 0.2, 1e-6);
	CHECK_NEAR(c.kl[2], 0.2, 1e-6);
	CHECK_NEAR(c.kl[3], 0.0, 1e-6);
}

/* Against the definition: no hull rung lies above a line between two others, none is dominated. */
static void test_hull(void)
{
	struct rng r;

	rng_init(&r, 1);
	for (int round = 0; round < 2000; round++) {
		int n = 1 + (int)rng_below(&r, RUNGS_MAX), rung[RUNGS_MAX], m;
		uint32_t rate[RUNGS_MAX];
		float harm[RUNGS_MAX];

		for (int i = 0; i < n; i++) {
			rate[i] = 1 + rng_below(&r, 300);
			harm[i] = (float)rng_unit(&r);
		}
		m = hull(rate, harm, n, rung);
		CHECK(m >= 1);
		for (int k = 1; k < m; k++) {
			CHECK(rate[rung[k]] > rate[rung[k - 1]]);
			CHECK(harm[rung[k]] < harm[rung[k - 1]]);
			if (k > 1)
				CHECK(step_price(rate, harm, rung[k - 1], rung[k]) <
					step_price(rate, harm, rung[k - 2], rung[k - 1]));
		}
		for (int i = 0; i < n; i++)
			CHECK(rate[i] >= rate[rung[0]]);
	}
}

static struct curve example(float kl_scale, uint32_t rate_scale)
{
	struct curve c = {.scored = true};

	c.n = ladder_for(100, 2, 95, c.quality);
	for (int i = 0; i < c.n; i++) {
		c.kl[i] = kl_scale / (float)(i + 1) / (float)(i + 1);
		c.rate[i] = rate_scale * (uint32_t)(i + 2);
	}
	return c;
}

static void learn(struct population *p, struct curve *c)
{
	population_init(p);
	for (int i = 0; i < 100; i++)
		population_add(p, c);
}

/* Guesses count until a network has answered, and no longer. */
static void test_guesses(void)
{
	struct curve scored = example(1, 20), guessed = example(0.1f, 20), unknown = example(0, 20);
	struct population p;
	float first;

	guessed.scored = unknown.scored = false;
	guessed.entropy = unknown.entropy = -1;
	scored.entropy = 0.5f;
	population_init(&p);
	first = population_kl(&p, 2);
	CHECK(population_wants_guess(&p, UINT64_MAX));
	population_add(&p, &unknown);
	CHECK_NEAR(population_kl(&p, 2), first, 0);
	for (int i = 0; i < 300; i++)
		population_add(&p, &guessed);
	CHECK_NEAR(population_kl(&p, 2), guessed.kl[0], 1e-4);
	CHECK(!population_wants_guess(&p, UINT64_MAX));
	CHECK(population_wants_guess(&p, 0)); /* one in so many */
	population_new_model(&p);
	population_add(&p, &guessed); /* of a capture that was on its way */
	population_add(&p, &scored);
	CHECK_NEAR(population_kl(&p, 2), scored.kl[0], 1e-4);
	for (int i = 0; i < 300; i++)
		population_add(&p, &guessed);
	CHECK_NEAR(population_kl(&p, 2), scored.kl[0], 1e-4);
	CHECK(!population_wants_guess(&p, 0));
}

/* Quality falls as the price rises; sensitive images keep more; steps walk the same hull. */
static void test_choose(void)
{
	struct curve c = example(1, 20), sensitive = example(3, 20);
	struct population p;
	int last = c.n - 1, at = c.n - 1, to;
	float price, last_price = 0;

	learn(&p, &c);
	for (float x = 1e-7f; x < 1; x *= 2) {
		int rung = curve_choose(&c, &p, x);

		CHECK(rung <= last);
		CHECK(curve_choose(&sensitive, &p, x) >= rung);
		last = rung;
	}
	CHECK_INT(last, 0);
	CHECK_INT(curve_choose(&c, &p, 0), c.n - 1);
	while (curve_next_step(&c, &p, at, &to, &price)) {
		CHECK(to < at);
		CHECK(price >= last_price);
		CHECK(ladder_step_allowed(c.quality[at], c.quality[to]));
		last_price = price;
		at = to;
	}
	CHECK_INT(at, 0);
	CHECK(ladder_step_allowed(95, 80) && !ladder_step_allowed(95, 90) && !ladder_step_allowed(20, 10));
	CHECK(ladder_step_allowed(40, 10) && ladder_step_allowed(10, 2) && ladder_step_allowed(100, 95));
}

/* An image that is hard to compress is not worth less; one of another size is another matter. */
static void test_rates(void)
{
	struct curve c = example(1, 20), busy = example(1, 50), huge = example(1, 2000),
		     tiny = example(1, 1);
	struct population p;
	bool lower = false, higher = false;

	learn(&p, &c);
	for (float x = 1e-6f; x < 1; x *= 1.5f) {
		int rung = curve_choose(&c, &p, x);

		CHECK_INT(curve_choose(&busy, &p, x), rung);
		CHECK(curve_choose(&huge, &p, x) <= rung && curve_choose(&tiny, &p, x) >= rung);
		lower |= curve_choose(&huge, &p, x) < rung;
		higher |= curve_choose(&tiny, &p, x) > rung;
	}
	CHECK(lower && higher);
}

/*
 * At the price of the plan an image like the mean is stored at the plan's quality; and a step leads
 * there at once where it may, one step down where that is too near, and never upwards.
 */
/* Rates that were not counted come from the population, larger or smaller as the counted ones are. */
static void test_fill_rates(void)
{
	struct curve c = example(1, 20), twice, before;
	struct population p;
	int wanted = 0;

	population_init(&p);
	CHECK(population_wants_rates(&p, UINT64_MAX)); /* at first all are */
	for (int i = 0; i < 1000; i++)
		population_add(&p, &c);
	for (uint64_t i = 0; i < 8000; i++)
		wanted += population_wants_rates(&p, i << 32);
	CHECK_INT(wanted, 1000);
	before = twice = c;
	for (int i = 0; i < c.n; i++)
		twice.rate[i] = i % 6 == 3 ? 2 * c.rate[i] : 0;
	before = twice;
	population_fill_rates(&p, &twice);
	for (int i = 0; i < c.n; i++)
		CHECK_NEAR(twice.rate[i], 2.0 * c.rate[i], 2);
	/* It tells nothing about the population's rates, but its divergences do. */
	before.kl[0] = 5;
	for (int i = 0; i < 100; i++)
		population_add(&p, &before);
	CHECK_NEAR(population_rate(&p, c.quality[5]), c.rate[5], 1e-3 * c.rate[5]);
	CHECK(population_kl(&p, c.quality[0]) > c.kl[0] + 0.1f);
	/* Without a population nothing is invented but sizes that can be worked with. */
	population_init(&p);
	twice = before;
	population_fill_rates(&p, &twice);
	for (int i = 0; i < c.n; i++)
		CHECK(twice.rate[i] >= 1);
}

/* Expected rates are as usual, through what is known, and make way for the first image. */
static void test_expected_rates(void)
{
	struct population p;
	struct curve c = {.n = 2, .quality = {10, 50}, .rate = {300, 400}};

	population_init(&p);
	population_expect(&p, 80, 1770);
	CHECK_NEAR(population_rate(&p, 80), 1770, 1);
	CHECK_NEAR(population_rate(&p, 50), 1000, 1);
	CHECK_NEAR(population_rate(&p, 10), 330, 1);
	population_add(&p, &c);
	CHECK_NEAR(population_rate(&p, 10), 300, 1);
	CHECK_NEAR(population_rate(&p, 50), 400, 1);
}

/* Where the highest rungs cost the same, as with a quality beyond the ladder, the next step is below them. */
static void test_step_from_beyond(void)
{
	struct population p;
	struct curve c = {.n = 4, .quality = {10, 50, 95, 100}, .rate = {330, 1000, 4040, 4040}};
	float price;
	int to = -1;

	population_init(&p);
	population_expect(&p, 100, 4040);
	CHECK(curve_next_step(&c, &p, 3, &to, &price) && to < 2 && price > 0);
	CHECK(!curve_next_step(&c, &p, 0, &to, &price));
}

static void test_target(void)
{
	struct curve c = example(1, 20);
	struct population p;

	learn(&p, &c);
	for (int i = 0; i < c.n; i++) {
		struct plan plan = {c.quality[i], (double)c.rate[i], 100};
		float price = plan_target_price(&p, &plan);

		CHECK(price > 0);
		CHECK_INT(curve_choose(&c, &p, price), i);
		for (int at = 0; at < c.n; at++) {
			int next, to = -1;
			float first;

			if (!curve_next_step(&c, &p, at, &next, &first)) {
				CHECK(!curve_step_to(&c, &p, at, price, &to));
				continue;
			}
			CHECK(curve_step_to(&c, &p, at, price, &to));
			CHECK(to <= next && ladder_step_allowed(c.quality[at], c.quality[to]));
			if (ladder_step_allowed(c.quality[at], c.quality[i]) && i <= next)
				CHECK(abs(to - i) <= 1);
		}
	}
}

/* Before there is a model everybody gets the same rung, whatever their sizes. */
static void test_cold_start(void)
{
	struct curve small = example(1, 5), large = example(1, 500);
	struct population p;

	small.scored = large.scored = false;
	population_init(&p);
	population_add(&p, &small);
	population_add(&p, &large);
	for (float x = 1e-7f; x < 1; x *= 3)
		CHECK_INT(curve_choose(&small, &p, x), curve_choose(&large, &p, x));
}

/* A population that was saved before knows nothing of qualities that no image had: it learns them at once. */
static void test_old_population(void)
{
	struct curve c = example(0.1f, 3000);
	struct population p;

	c.n = ladder_for(75, 2, 95, c.quality);
	learn(&p, &c);
	for (int i = 0; i < LADDER_RUNGS; i++)
		p.rate[i] = LADDER[i] > 80 ? 0 : p.rate[i];
	population_add(&p, &c);
	for (int i = 1; i < LADDER_RUNGS; i++)
		CHECK(p.rate[i] > p.rate[i - 1]);
}

/*
 * Where large pictures come at middling qualities and small ones at all of them, nothing is given away:
 * without a price each keeps its best, whoever came first; and dearer qualities are dearer for the
 * population, too.
 */
static void test_mixed_sources(void)
{
	for (int first = 0; first < 2; first++) {
		struct curve large = example(0.1f, 3000), small = example(0.1f, 10);
		struct population p;
		float top;

		large.n = ladder_for(75, 2, 95, large.quality);
		large.kl[large.n - 1] = 0;
		large.scored = small.scored = false;
		large.entropy = small.entropy = -1;
		population_init(&p);
		for (int i = 0; i < 40; i++) {
			population_add(&p, i % 2 == first ? &small : &large);
			for (int k = 1; k < LADDER_RUNGS; k++)
				CHECK(p.rate[k] > p.rate[k - 1] && p.kl[k] <= p.kl[k - 1]);
			if (i > 0) {
				CHECK_INT(curve_choose(&small, &p, 0), small.n - 1);
				CHECK_INT(curve_choose(&large, &p, 0), large.n - 1);
			}
		}
		/* One that was degraded does not know what better qualities would have spoilt. */
		top = population_kl(&p, 95);
		large.kl[large.n - 1] = 1;
		for (int i = 0; i < 40; i++)
			population_add_stored(&p, &large);
		CHECK_NEAR(population_kl(&p, 95), top, 0);
		CHECK(population_kl(&p, 75) > population_kl(&p, 95) && p.rate[LADDER_RUNGS - 1] > p.rate[10]);
	}
}

static void test_codes(void)
{
	CHECK_INT(kl_encode(0), 0);
	CHECK_NEAR(kl_decode(0), 0, 0);
	for (float kl = 1e-5f; kl < 15; kl *= 1.3f)
		CHECK_NEAR(kl_decode(kl_encode(kl)), kl, 0.03 * (double)kl);
	for (float x = 1e-15f; x < 1e6f; x *= 1.7f) {
		CHECK(price_encode(x) < price_encode(x * 1.7f));
		CHECK_NEAR(price_decode(price_encode(x)), x, 0.001 * (double)x);
	}
	CHECK_INT(price_encode(0), 0);
}

/* A tighter budget never asks for higher quality; one that holds everything asks for the highest. */
static void test_plan(void)
{
	struct curve c = example(0.5f, 20);
	struct regime r = {1.4, INFINITY, 20000, 0};
	struct population p;
	int last = 100, at_once;

	learn(&p, &c);
	for (double budget = 1e8; budget > 1e4; budget /= 2) {
		struct plan plan = plan_make(&p, &r, budget, 50, 2, 95);

		CHECK(plan.quality <= last);
		CHECK(plan.mean_bytes > 0);
		last = plan.quality;
	}
	CHECK(last < 95);
	/* What training sees as it comes need not all be held: fewer and better. */
	at_once = plan_make(&p, &r, 1e5, 50, 2, 95).quality;
	r.course = 16000;
	CHECK(plan_make(&p, &r, 1e5, 50, 2, 95).quality > at_once);
	r.course = 0;
	r.offered = 1000;
	CHECK_INT(plan_make(&p, &r, 1e12, 50, 2, 95).quality, 95);
	CHECK_INT(plan_make(&p, &r, 1e12, 50, 2, 40).quality, 40);
}

static void test_member(void)
{
	struct stratum s[] = {{2, 50, 5000, 0}, {4, 80, 8000, 0}, {5, 3, 100, 0}, {6, 20, 90000, 0}};

	CHECK_INT(member_victim(s, 4, 10, 20, false)->number, 4);
	s[1].pinned = 80; /* all of them pinned */
	CHECK_INT(member_victim(s, 4, 10, 20, false)->number, 2);
	CHECK(member_victim(s, 4, 10, 60, false) == NULL); /* nobody above the floor */
	CHECK_INT(member_victim(s, 4, 10, 60, true)->number, 2);
	s[2].bytes = 50000; /* validation takes more than its share */
	CHECK_INT(member_victim(s, 4, 10, 20, false)->number, 5);
	CHECK_INT(stratum_label(stratum_of(7, true)), 7);
	CHECK(stratum_is_validation(stratum_of(7, true)));
}

/* A stratum gives nothing while it has no more than its own bytes, large as it may be. */
static void test_share(void)
{
	struct stratum s[] = {{2, 60, 600, 0}, {4, 90, 300, 0, 420}, {6, 50, 500, 0}, {7, 20, 50, 0}};

	CHECK_INT(member_victim(s, 4, 10, 20, false)->number, 2);
	CHECK(!member_about_to_give(s, 4, &s[0], 4));
	s[1].bytes = 500;
	CHECK_INT(member_victim(s, 4, 10, 20, false)->number, 4);
	CHECK(member_about_to_give(s, 4, &s[0], 4));
	s[1].bytes = 300;
	CHECK(member_victim(s, 4, 10, 60, false) == NULL);
	CHECK_INT(member_victim(s, 4, 10, 60, true)->number, 4);
	for (int i = 0; i < 60; i++) { /* whoever else there is gives, until it has what is its own */
		struct stratum *v = &s[member_victim(s, 4, 50, 0, false) - s];

		CHECK(v->bytes >= v->own);
		v->bytes -= v->bytes / v->images--;
	}
	CHECK(s[1].images > 70 && s[0].images < 45 && s[2].images < 45);
}

static int ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static int descending(const void *a, const void *b)
{
	return ascending(b, a);
}

/* Slice after slice, what lasts are the lowest ranks of all that was ever shown; fewer when fewer may. */
static void test_lasting(void)
{
	enum { ALL = 2000, SLICE = 100, KEEP = 70 };
	int all[ALL], lasting[KEEP + SLICE], have = 0, gone;
	bool lasts[SLICE];
	struct rng r;

	rng_init(&r, 11);
	for (int i = 0; i < ALL; i++)
		all[i] = (int)rng_below(&r, RANK_SPENT) & ~RANK_FOLLOWS;
	for (int at = 0; at < ALL; at += SLICE) {
		int *shown = all + at;

		qsort(shown, SLICE, sizeof(int), ascending);
		gone = member_choose_lasting(shown, SLICE, lasting, have, have, KEEP, lasts);
		for (int i = gone; i < have; i++)
			lasting[i - gone] = lasting[i];
		have -= gone;
		for (int i = 0; i < SLICE; i++)
			if (lasts[i])
				lasting[have++] = member_rank_spent(shown[i], SLICE_LASTING);
		CHECK_INT(have, MIN(at + SLICE, KEEP));
		qsort(lasting, (size_t)have, sizeof(int), descending);
	}
	qsort(all, ALL, sizeof(int), ascending);
	for (int i = 0; i < KEEP; i++)
		CHECK_INT(lasting[KEEP - 1 - i], all[i] + RANK_SPENT);
	CHECK_INT(member_choose_lasting(all, 0, lasting, KEEP, KEEP, 30, lasts), KEEP - 30);
	CHECK_INT(member_choose_lasting(all, 5, lasting, KEEP, KEEP, 0, lasts), KEEP);
	CHECK(!lasts[0] && !lasts[4]);
	all[1] = member_rank_follows(all[1]);
	all[3] = member_rank_follows(all[3]);
	CHECK_INT(member_choose_lasting(all, 5, lasting, 0, 0, 2, lasts), 0);
	CHECK(lasts[0] && !lasts[1] && lasts[2] && !lasts[3] && !lasts[4]);
}

/* What has been shown ranks behind all that has not, what was shown first last of all. */
static void test_spent(void)
{
	struct stratum s[] = {{2, 100, 0, 0}, {4, 99, 0, 0}, {6, 80, 0, 0}, {7, 500, 0, 0}};

	for (uint64_t hash = 0; hash < UINT64_C(1) << 32; hash += 0x1234567) {
		int rank = member_rank(hash);

		CHECK(rank >= 0 && rank < RANK_SPENT);
		for (int64_t slice = 0; slice < 40000; slice += 1000) {
			int spent = member_rank_spent(rank, slice);

			CHECK(spent >= RANK_LASTING && spent <= RANK_MAX);
			CHECK_INT(spent % RANK_SPENT, rank); /* the order within a slice */
			CHECK_INT(member_rank_spent(spent, slice + 1), spent);
			CHECK(slice + 1 >= RANK_SLICES || member_rank_spent(rank, slice + 1) < spent - rank);
		}
	}
	CHECK_INT(member_rank_spent(0, INT64_MAX), RANK_LASTING);
	/* What lasts goes after all the others, and can be made one of them again. */
	CHECK_INT(member_rank_spent(8, SLICE_LASTING), RANK_SPENT + 8);
	CHECK_INT(member_rank_spent(RANK_SPENT + 8, 3), member_rank_spent(8, 3));
	CHECK_INT(member_rank_spent(member_rank_spent(8, 3), SLICE_LASTING), member_rank_spent(8, 3));
	/* What follows in its scene is as good as the first until it was shown. */
	CHECK_INT(member_rank_follows(8) - member_rank_follows(6), 8 - 6);
	CHECK(member_rank_follows(8) < RANK_SPENT);
	CHECK(member_rank_spent(member_rank_follows(8), 3) > member_rank_spent(RANK_SPENT - 2, 0));
	CHECK(member_rank_spent(member_rank_follows(8), 3) <= RANK_MAX);
	CHECK(member_about_to_give(s, 4, &s[0], 2));
	CHECK(member_about_to_give(s, 4, &s[0], 4)); /* next but one */
	CHECK(!member_about_to_give(s, 4, &s[0], 6));
	CHECK(!member_about_to_give(s, 4, &s[0], 7)); /* validation is another matter */
	CHECK(!member_about_to_give(s, 4, &s[0], 8)); /* nobody yet */
	CHECK(!member_about_to_give(s, 4, NULL, 2));
}

/* Many bad images are worth a bounded number of good ones; steps and drops follow the need. */
static void test_worth(void)
{
	static const double images[3] = {100, 100, 0};
	const struct regime plenty = {1.4, INFINITY, 1e12, 0}, weak = {0.7, INFINITY, 1e12, 0},
			    few = {1.4, 20000, 1e12, 0}, stream = {1.4, INFINITY, 50000, 40000};
	struct population p;

	CHECK_NEAR(plan_worth(&plenty, 1000, 0), 1000, 1e-6);
	CHECK(plan_worth(&plenty, 1e9, 0.5) < 1000);
	CHECK(plan_worth(&plenty, 2000, 0.05) > plan_worth(&plenty, 1000, 0.01));
	CHECK(plan_worth(&plenty, 1e6, 0.05) < plan_worth(&plenty, 1e5, 0.001));
	CHECK(plan_worth(&weak, 1000, 0.05) < plan_worth(&plenty, 1000, 0.05));
	/* A training that shows 20,000 images cannot learn more from 40,000; a hundred it sees
	 * often enough. */
	CHECK_NEAR(plan_worth(&few, 40000, 0), plan_worth(&few, 20000, 0), 1e-6);
	CHECK(plan_worth(&few, 20000, 0) < 1.2 * plan_worth(&few, 5000, 0));
	CHECK_NEAR(plan_worth(&few, 100, 0), 100, 1);
	/* As they come: more are seen than are held, never more than are offered. */
	CHECK(plan_worth(&stream, 1000, 0) > 5 * plan_worth(&plenty, 1000, 0));
	CHECK(plan_worth(&stream, 5000, 0) < 45000);
	CHECK(plan_worth(&stream, 20000, 0) < 50000);
	CHECK_NEAR(plan_worth(&stream, 60000, 0), 60000, 1);
	/* The price is where the estimate's two derivatives meet: bytes moved either way gain nothing. */
	for (int k = 0; k < 4; k++)
		for (double d = 0.02; d < 0.5; d *= 2) {
			const struct regime *r = k == 0	  ? &plenty
						 : k == 1 ? &weak
						 : k == 2 ? &few
							  : &stream;
			double budget = 1e6, mean = 80, n = budget / mean, bytes = 100;
			double price = (double)plan_price(r, n, d, budget);
			double dropped = plan_worth(r, n - bytes / mean, d);
			double degraded = plan_worth(r, n, d + price * bytes / n);

			CHECK_NEAR(dropped / degraded, 1, 1e-4);
		}
	CHECK(plan_price(&plenty, 1e4, 0.1, 1e6) < plan_price(&plenty, 1e3, 0.1, 1e5));
	CHECK(plan_price(&plenty, 1e4, 0.4, 1e6) < plan_price(&plenty, 1e4, 0.1, 1e6));
	CHECK(isfinite(plan_price(&plenty, 0, 0, 0)));
	CHECK(plan_price(&few, 30000, 0.1, 1e6) == 0); /* more than can be shown */
	population_init(&p);
	CHECK(plan_information(&p, images, 3) > 1);
	p.entropy = 0.5f;
	CHECK_NEAR(plan_information(&p, images, 3), log(2) - 0.5, 1e-6);
	p.entropy = 3;
	CHECK(plan_information(&p, images, 3) > 0);
	CHECK_INT(plan_steps(1000, 100, 256), 40);
	CHECK_INT(plan_steps(1, 100, 256), 8);
	CHECK_INT(plan_drops(1000, 90, 10, 256), 10);
	CHECK_INT(plan_drops(1, 0, 0, 256), 1);
}

/* Repeatedly taking the victim leaves classes equal. */
static void test_balance(void)
{
	struct stratum s[] = {{2, 900, 900, 0}, {4, 100, 100, 0}, {6, 400, 400, 0}};

	for (int i = 0; i < 1400 - 300; i++) {
		struct stratum *v = (struct stratum *)member_victim(s, 3, 10, 0, false);

		v->images--;
		v->bytes--;
	}
	for (int i = 0; i < 3; i++)
		CHECK_INT(s[i].images, 100);
}

/* Labels keep as the root of what came of them; what has no label as the label most of which came. */
static void test_root(void)
{
	struct stratum s[] = {{2, 900, 900, .came = 90000}, {4, 900, 900, .came = 10000},
		{6, 100, 100, .came = 100}, {0, 900, 900, .came = 1000000}};

	for (int i = 0; i < 1150; i++) {
		struct stratum *v = (struct stratum *)member_victim(s, 4, 10, 0, false);

		v->images--;
		v->bytes--;
	}
	CHECK_NEAR(s[0].images, 698, 3); /* 1650 in 300 : 100 : 10 : 300 */
	CHECK_NEAR(s[1].images, 232, 2);
	CHECK_NEAR(s[2].images, 23, 1);
	CHECK_NEAR(s[3].images, 698, 3);
	CHECK(member_about_to_give(s, 4, &s[0], 4));
	CHECK(member_about_to_give(s, 4, &s[0], 0));
	s[1].images = 220;
	CHECK(!member_about_to_give(s, 4, &s[0], 4));
	for (int i = 0; i < 4; i++) /* an index that did not count yet: as if nothing had gone */
		s[i].came = 0;
	CHECK(member_victim(s, 4, 10, 0, false) == &s[0] || member_victim(s, 4, 10, 0, false) == &s[3]);
	s[2].images = 5000;
	CHECK(member_victim(s, 4, 10, 0, false) == &s[2]);
}

static void test_shares(void)
{
	struct rng r;
	int validation = 0, low = 0;

	rng_init(&r, 3);
	for (int i = 0; i < 20000; i++) {
		uint64_t hash = rng_u64(&r);
		bool v = member_is_validation(hash, 10);

		validation += v;
		low += v && member_rank(hash) < RANK_SPENT / 2; /* independent of rank */
	}
	CHECK_NEAR(validation, 2000, 200);
	CHECK_NEAR(low, validation / 2, 120);
}

static void test_modes(void)
{
	struct curve c = example(1, 20);
	struct population p;
	struct next_step a, b;
	struct config config;
	uint8_t lo, hi;

	learn(&p, &c);
	config_init(&config);
	for (config.policy.mode = 0; config.policy.mode < 3; config.policy.mode++) {
		choose_limits(&config, &lo, &hi);
		CHECK_INT(lo, config.policy.mode == MODE_ADAPTIVE  ? 2
			      : config.policy.mode == MODE_UNIFORM ? 75
								   : 100);
		CHECK_INT(hi, config.policy.mode == MODE_ADAPTIVE ? 95 : lo);
	}
	CHECK_INT(choose_rung(MODE_UNIFORM, &c, &p, 99, false), c.n - 1);
	CHECK_INT(choose_rung(MODE_ADAPTIVE, &c, &p, 99, false), 0);
	CHECK(population_kl(&p, c.quality[choose_rung(MODE_ADAPTIVE, &c, &p, 99, true)]) <= VALIDATION_KL);
	a = choose_next(MODE_UNIFORM, &c, &p, 3, false, 10, 5);
	b = choose_next(MODE_UNIFORM, &c, &p, 3, false, 11, 5);
	CHECK(a.step < b.step && a.to == 0); /* the older goes first, and altogether */
	a = choose_next(MODE_DROP, &c, &p, 3, false, 10, 9000);
	b = choose_next(MODE_DROP, &c, &p, 3, false, 10, 5);
	CHECK(a.step < b.step);
	CHECK(choose_loose(MODE_ADAPTIVE, 20000, false));
	CHECK(!choose_loose(MODE_UNIFORM, 20000, false));
	CHECK(!choose_loose(MODE_ADAPTIVE, 700, false) && !choose_loose(MODE_ADAPTIVE, 20000, true));
	a = choose_first_step(&c, &p, c.n - 1, false);
	CHECK(a.step == 0 && a.to == c.quality[c.n - 1]);
	a = choose_first_step(&c, &p, c.n - 1, true);
	CHECK(a.step == 0 && a.to == c.quality[choose_rung(MODE_ADAPTIVE, &c, &p, 99, true)] && a.to < c.quality[c.n - 1]);
	CHECK_INT(choose_first_step(&c, &p, 0, true).to, c.quality[0]);
	CHECK_INT(choose_next(MODE_ADAPTIVE, &c, &p, 3, true, 0, 0).step, -1);
	CHECK(choose_next(MODE_ADAPTIVE, &c, &p, 3, false, 0, 0).to < c.quality[3]);
}

static void test_idle(void)
{
	struct config c;
	struct idle_sample s;
	char why[200];

	config_init(&c);
#define SAMPLE                                                                                     \
	((struct idle_sample){.quiet_us = 60000000, .cpu_pressure = 1, .io_pressure = 1,           \
		.load_per_core = 0.1, .battery = NAN, .celsius = NAN, .minute = 600})
	s = SAMPLE;
	CHECK_INT(idle_decide(&s, &c, why, sizeof(why)), IDLE_YES);
	s.quiet_us = 1000000;
	CHECK(idle_decide(&s, &c, why, sizeof(why)) == IDLE_CAPTURES && strstr(why, "QuietSec"));
	s = SAMPLE;
	s.cpu_pressure = 50;
	CHECK(idle_decide(&s, &c, why, sizeof(why)) == IDLE_NO && strstr(why, "CPU pressure"));
	s.training = true; /* its own pressure does not stop it */
	CHECK_INT(idle_decide(&s, &c, why, sizeof(why)), IDLE_YES);
	s = SAMPLE;
	s.io_pressure = 50;
	CHECK(idle_decide(&s, &c, why, sizeof(why)) == IDLE_NO && strstr(why, "I/O"));
	s.training = true; /* nor does its reading */
	CHECK_INT(idle_decide(&s, &c, why, sizeof(why)), IDLE_YES);
	s = SAMPLE;
	s.load_per_core = 3;
	CHECK(idle_decide(&s, &c, why, sizeof(why)) == IDLE_NO && strstr(why, "load"));
	s = SAMPLE;
	s.celsius = 90;
	CHECK(idle_decide(&s, &c, why, sizeof(why)) == IDLE_HOT && strstr(why, "MaxTemp"));
	s.load_per_core = 3; /* what is against it besides decides */
	CHECK_INT(idle_decide(&s, &c, why, sizeof(why)), IDLE_NO);
	s = SAMPLE;
	s.on_battery = true;
	s.battery = 90;
	CHECK(idle_decide(&s, &c, why, sizeof(why)) == IDLE_NO && strstr(why, "OnBattery"));
	c.idle.on_battery = true;
	CHECK_INT(idle_decide(&s, &c, why, sizeof(why)), IDLE_YES);
	s.battery = 20;
	CHECK(idle_decide(&s, &c, why, sizeof(why)) == IDLE_NO && strstr(why, "MinBattery"));
	s = SAMPLE;
	c.idle.hours = (struct hours){1, {{22 * 60, 6 * 60}}};
	CHECK(idle_decide(&s, &c, why, sizeof(why)) == IDLE_NO && strstr(why, "Hours"));
	s.minute = 23 * 60;
	CHECK_INT(idle_decide(&s, &c, why, sizeof(why)), IDLE_YES);
	s.minute = 6 * 60;
	CHECK_INT(idle_decide(&s, &c, why, sizeof(why)), IDLE_NO);
	s.minute = 5 * 60;
	CHECK_INT(idle_decide(&s, &c, why, sizeof(why)), IDLE_YES);
}

/* What was held goes on when it is cooler by some degrees, or as cool as it gets. */
static void test_heat(void)
{
	const struct {
		double celsius;
		int seconds;
		enum idle verdict;
	} cases[] = {{74, 0, IDLE_YES}, {76, 0, IDLE_HOT}, {74, 1, IDLE_HOT}, {71, 60, IDLE_HOT}, {70, 1, IDLE_YES},
		{74, 180, IDLE_YES}, {76, 180, IDLE_HOT}, {76, 700, IDLE_HOT}, {74, 700, IDLE_YES}, {NAN, 1, IDLE_YES}};
	struct idle_sample s = {
		.quiet_us = 60000000, .load_per_core = NAN, .battery = NAN, .minute = 600, .training = true};
	struct config c;
	char why[200];

	config_init(&c);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		s.celsius = cases[i].celsius;
		s.cooling_us = cases[i].seconds * US_PER_SEC;
		CHECK_INT(idle_decide(&s, &c, why, sizeof(why)), cases[i].verdict);
	}
}

static void test_gate(void)
{
	CHECK(gate_accepts(0.1, false, 0.9, 1000));
	CHECK(gate_accepts(0.9, true, 0.9, 1000));
	CHECK(gate_accepts(0.89, true, 0.895, 1000)); /* within one standard error */
	CHECK(!gate_accepts(0.8, true, 0.9, 1000));
	CHECK(gate_accepts(0.5, true, 0.9, 0)); /* nothing to compare on */
}

/* Divergences that are a power of what a rung takes away are learnt; a quality between rungs is not one. */
static void test_predictor(void)
{
	static struct predictor p;
	struct curve c = {.n = LADDER_RUNGS, .scored = true}, guess;
	struct features f = {.n = LADDER_RUNGS};
	struct rng r;

	predictor_init(&p);
	rng_init(&r, 3);
	for (int i = 0; i <= 600; i++) {
		for (int b = 0; b < BANDS; b++)
			f.energy[b] = (float)(100 * rng_unit(&r));
		for (int k = 0; k < LADDER_RUNGS; k++) {
			c.quality[k] = LADDER[k];
			c.rate[k] = 20 + 10 * (uint32_t)k;
			for (int b = 0; b < BANDS; b++)
				f.lost[k][b] = (float)((LADDER_RUNGS - k) * 20 * (0.5 + rng_unit(&r)));
			c.kl[k] = 0.001f * powf(1 + f.lost[k][2], 1.5f);
		}
		guess = c;
		if (i < PREDICTOR_MIN)
			CHECK(!predictor_apply(&p, &f, &guess));
		if (i < 600)
			predictor_learn(&p, &f, &c);
	}
	guess = c;
	curve_make_monotone(&c);
	CHECK(predictor_apply(&p, &f, &guess));
	for (int k = 0; k < LADDER_RUNGS; k++) {
		CHECK_NEAR(log((double)(guess.kl[k] / c.kl[k])), 0, 0.3);
		CHECK(predictor_explains(&p, k) > 0.98);
	}
	guess = (struct curve){.n = 2, .quality = {5, 92}, .rate = {30, 200}};
	CHECK(predictor_apply(&p, &f, &guess));
	CHECK_NEAR(guess.kl[1], 0, 0);
}

/* The most doubtful first, and then not ten views of the same doubt. */
static void test_suggest(void)
{
	enum { N = 400, K = 4 };
	float p[N][K];
	int chosen[20], n;
	struct rng r;

	rng_init(&r, 5);
	for (int i = 0; i < N; i++) { /* 300 sure ones, 100 torn between one of three pairs */
		int a = i < 300 ? i % K : 0, b = i < 300 ? a : 1 + i % 3;
		float noise = (float)rng_unit(&r) * .01f;

		for (int k = 0; k < K; k++)
			p[i][k] = .005f;
		p[i][a] += i < 300 ? .98f : .49f - noise;
		p[i][b] += i < 300 ? 0 : .49f + noise;
	}
	n = suggest_choose(&p[0][0], N, K, 6, chosen);
	CHECK_INT(n, 6);
	for (int i = 0; i < n; i++) {
		CHECK(chosen[i] >= 300);
		for (int j = 0; j < i; j++)
			CHECK(chosen[i] != chosen[j]);
	}
	CHECK(chosen[0] % 3 != chosen[1] % 3 && chosen[1] % 3 != chosen[2] % 3 && chosen[0] % 3 != chosen[2] % 3);
	CHECK_INT(suggest_choose(&p[0][0], 3, K, 20, chosen), 3);
	CHECK_INT(suggest_choose(&p[0][0], 0, K, 20, chosen), 0);
	CHECK_INT(suggest_choose(&p[0][0], N, K, 0, chosen), 0);
}

static void test_course(void)
{
	CHECK(!plan_course_pays(100, 0));
	CHECK(!plan_course_pays(0, 0));
	CHECK(!plan_course_pays(700, 100));
	CHECK(plan_course_pays(699, 100));
	CHECK(plan_course_pays(0, 1));
}

static void test_age(void)
{
	const int64_t hour = 3600 * INT64_C(1000000), day = 24 * hour, now = 20000 * day;
	const struct ages ages = {3, {{30 * day, "person"}, {2 * day, "a b"}, {365 * day, "*"}}};
	const struct ages few = {1, {{30 * day, "person"}}};
	struct age_clock c = {0};

	CHECK_INT(age_limit_us(&ages, "person"), 30 * day);
	CHECK_INT(age_limit_us(&ages, "a b"), 2 * day);
	CHECK_INT(age_limit_us(&ages, "fox"), 365 * day);
	CHECK_INT(age_limit_us(&ages, ""), 365 * day);
	CHECK_INT(age_limit_us(&few, "fox"), 0);
	CHECK_INT(age_limit_us(&few, ""), 0);
	CHECK_INT(age_period_us(&(struct ages){0}), 0);
	CHECK_INT(age_period_us(&few), day);
	CHECK_INT(age_period_us(&ages), 48 * hour / 30);

	CHECK(!age_clock_trusted(&c, now, 5));
	CHECK(!age_clock_trusted(&c, now + hour - 9, hour));
	CHECK(age_clock_trusted(&c, now + hour, hour + 5));
	CHECK(age_clock_trusted(&c, now + 50 * day, 50 * day));		       /* asleep for long */
	CHECK(age_clock_trusted(&c, now + 51 * day + hour / 8, 51 * day));     /* a little off */
	CHECK(!age_clock_trusted(&c, now + 90 * day, 51 * day + hour));	       /* set forth */
	CHECK(!age_clock_trusted(&c, now + 90 * day + hour / 2, 51 * day + hour * 3 / 2));
	CHECK(age_clock_trusted(&c, now + 90 * day + hour, 51 * day + 2 * hour));
	CHECK(!age_clock_trusted(&c, now, 51 * day + 3 * hour));	       /* and back */
}

TEST_MAIN(test_expected_rates, test_step_from_beyond, test_course, test_age, test_suggest, test_rates, test_fill_rates,
	test_target, test_ladder, test_monotone, test_hull, test_guesses, test_choose, test_cold_start,
	test_mixed_sources, test_old_population, test_codes, test_plan, test_member, test_share, test_spent,
	test_lasting, test_worth, test_balance, test_root, test_shares, test_modes, test_idle, test_heat,
	test_gate, test_predictor)
