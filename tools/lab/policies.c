/*
 * policies: every way to spend the same bytes, compared.
 *
 * The envelope is the best uniform quality of each budget, chosen by its mean accuracy on the test
 * set over all seeds: an oracle. Its sweep begins in the middle and ends on a side when the first
 * seed's accuracy has been clearly worse than the best twice in a row (once may be an accident, with few
 * pictures), or when the quality above already held every picture. The other seeds are run at the qualities
 * that are not clearly worse than the best by the first.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/log.h"
#include "common/rng.h"
#include "tools/lab/figures.h"
#include "tools/lab/uniform.h"
#include "tools/lab/verbs.h"

#define ENOUGH_WORSE .015
#define SWEEP_USUALLY 7	  /* qualities tried */
#define CLOSE_USUALLY 3	  /* of them with all seeds */
#define SLICES	      20  /* that the device's training is spread over */
#define SPREAD_AT     80  /* quality of uniform-spread: a camera's usual one */
#define AS_CAPTURED 100 /* the quality that stands for "as it came" */

static const uint8_t sweep[] = {2, 5, 10, 15, 20, 30, 50, 75, 95};
#define SWEEP ((int)ARRAY_SIZE(sweep))

enum policy {
	FIFO,
	RESERVOIR,
	UNIFORM_PLAIN,
	UNIFORM_OURS,
	PER_CLASS,
	CONTROL,
	BY_LOSS,
	BY_KL,
	BY_PREDICTOR,
	AT_END,
	SPREAD,
	SHIPPED,
	POLICIES
};

/* Ended by NULL, as --only's names are. */
static const char *const policy_names[POLICIES + 1] = {
	[FIFO] = "fifo",
	[RESERVOIR] = "reservoir",
	[UNIFORM_PLAIN] = "uniform-plain",
	[UNIFORM_OURS] = "uniform-ours",
	[PER_CLASS] = "per-class",
	[CONTROL] = "random-control",
	[BY_LOSS] = "adaptive-loss",
	[BY_KL] = "adaptive-kl",
	[BY_PREDICTOR] = "adaptive-predictor",
	[AT_END] = "adaptive-at-end",
	[SPREAD] = "uniform-spread",
	[SHIPPED] = "adaptive",
};

static const char *const policy_labels[POLICIES] = {
	[FIFO] = "newest originals",
	[RESERVOIR] = "reservoir of originals",
	[UNIFORM_PLAIN] = "best uniform, plain JPEG",
	[UNIFORM_OURS] = "best uniform, our coder",
	[PER_CLASS] = "uniform in each class",
	[CONTROL] = "random, same histogram",
	[BY_LOSS] = "adaptive by loss",
	[BY_KL] = "adaptive by KL",
	[BY_PREDICTOR] = "adaptive by predictor",
	[AT_END] = "adaptive, at the end",
	[SPREAD] = "quality 80, spread",
	[SHIPPED] = "adaptive as shipped",
};

struct result {
	int images, quality; /* quality: of uniform ones; 0 for a mixture */
	double bytes, mean_quality, written;
	double accuracy[2]; /* on original and on stored-form test pictures */
};

struct compare {
	struct lab *l;
	struct rates rates;
	struct result result[BUDGETS_MAX][POLICIES][SEEDS_MAX];
	struct result uniform[2][SWEEP][SEEDS_MAX]; /* of the budget in hand */
	int have[2][SWEEP];			    /* seeds run */
	FILE *csv, *sweep_csv;
};

static bool wanted(const struct lab *l, enum policy p)
{
	return lab_wanted(l, policy_names[p]);
}

static double policies_runs(const struct lab *l)
{
	double runs = 0, sweeps = 0;

	for (int p = 0; p < POLICIES; p++)
		if (p == UNIFORM_PLAIN || p == UNIFORM_OURS)
			sweeps += wanted(l, (enum policy)p);
		else
			runs += wanted(l, (enum policy)p);
	if (wanted(l, SHIPPED) || wanted(l, CONTROL) || wanted(l, PER_CLASS))
		runs += l->n_windows; /* the device's own models */
	sweeps *= SWEEP_USUALLY + CLOSE_USUALLY * (l->seeds - 1);
	return 1 + (runs * l->seeds + sweeps) * l->n_budgets;
}

/* Captures after the first window, once for each budget and seed: curves are kept. */
static double policies_scored(const struct lab *l)
{
	bool any = wanted(l, AT_END) || wanted(l, SPREAD) || wanted(l, SHIPPED) || wanted(l, CONTROL) ||
		   wanted(l, PER_CLASS) || wanted(l, BY_LOSS) || wanted(l, BY_KL) ||
		   wanted(l, BY_PREDICTOR);

	return any ? (1 - l->windows[0]) * l->data.split[TRAIN].n * l->n_budgets * l->seeds : 0;
}

static void describe(const uint8_t *quality, int n, struct result *ret)
{
	ret->images = n;
	ret->mean_quality = 0;
	for (int i = 0; i < n; i++)
		ret->mean_quality += quality[i];
	ret->mean_quality /= MAX(n, 1);
}

/* Trains on a choice and fills the result. */
static int run_set(struct compare *c, const struct rates *ours, const struct dataset *d, const uint8_t *quality,
	int n, uint64_t seed, const char *what, struct result *ret)
{
	_cleanup_dataset_ struct dataset stored = {0};
	const struct dataset *eval[] = {&c->l->test, &stored};
	int r = choice_test(c->l, ours, quality, n, seed, &stored);

	if (r == 0)
		r = lab_run(c->l, d, seed, c->l->steps, eval, 2, ret->accuracy, NULL, what);
	describe(quality, n, ret);
	return r;
}

static int run_choice(struct compare *c, struct rates *rates, enum coder coder, const struct choice *v,
	int n, uint64_t seed, const char *what, struct result *ret)
{
	_cleanup_dataset_ struct dataset d = {0};
	_cleanup_free_ uint8_t *quality = malloc((size_t)MAX(n, 1));
	int r = quality ? choice_dataset(c->l, coder == OURS ? rates : NULL, v, n, &d) : -ENOMEM;

	for (int i = 0; r == 0 && i < n; i++)
		quality[i] = (uint8_t)v[i].quality;
	if (r == 0 && n > 0)
		r = run_set(c, coder == OURS ? rates : NULL, &d, quality, n, seed, what, ret);
	ret->written = 1;
	return r < 0 ? r : choice_bytes(rates, coder, v, n, &ret->bytes);
}

/* All pictures in the order in which a bounded uniform sample keeps them. */
static struct choice *by_ranks(const struct lab *l, uint64_t seed, int quality)
{
	size_t n = (size_t)l->data.split[TRAIN].n;
	struct choice *v = malloc(n * sizeof(*v));
	_cleanup_free_ int *rank = malloc(n * sizeof(*rank));
	_cleanup_free_ struct ranked *order = malloc(n * sizeof(*order));

	if (!v || !rank || !order) {
		free(v);
		return NULL;
	}
	stream_ranks(l, seed, rank);
	for (size_t i = 0; i < n; i++)
		order[i] = (struct ranked){rank[i], (int)i};
	qsort(order, n, sizeof(*order), by_rank);
	for (size_t i = 0; i < n; i++)
		v[i] = (struct choice){order[i].index, quality};
	return v;
}

static int run_uniform(struct compare *c, enum coder coder, int quality, int budget, uint64_t seed,
	const char *name, struct result *ret)
{
	_cleanup_free_ struct choice *v = by_ranks(c->l, seed, quality);
	int n, r = v ? rates_at(&c->rates, quality) : -ENOMEM;
	char what[128];

	if (r < 0)
		return r;
	n = fill_budget(&c->rates, coder, c->l->budget[budget], v, c->l->data.split[TRAIN].n);
	if (n < 0)
		return n;
	snprintf(what, sizeof(what), "%s quality %d, %.0f bytes, seed %llu: %d images", name, quality,
		c->l->budget[budget], (unsigned long long)seed, n);
	ret->quality = quality;
	return run_choice(c, &c->rates, coder, v, n, seed, what, ret);
}

/* The newest that fit. */
static int run_fifo(struct compare *c, int budget, uint64_t seed, struct result *ret)
{
	int total = c->l->data.split[TRAIN].n, n, r = rates_at(&c->rates, AS_CAPTURED);
	_cleanup_free_ uint32_t *order = malloc((size_t)total * sizeof(*order));
	_cleanup_free_ struct choice *v = malloc((size_t)total * sizeof(*v));
	char what[128];

	if (r < 0 || !order || !v)
		return r < 0 ? r : -ENOMEM;
	stream_order(c->l, seed, order);
	for (int i = 0; i < total; i++)
		v[i] = (struct choice){(int)order[total - 1 - i], AS_CAPTURED};
	n = fill_budget(&c->rates, OURS, c->l->budget[budget], v, total);
	if (n < 0)
		return n;
	snprintf(what, sizeof(what), "newest originals, %.0f bytes, seed %llu: %d images",
		c->l->budget[budget], (unsigned long long)seed, n);
	ret->quality = AS_CAPTURED;
	return run_choice(c, &c->rates, OURS, v, n, seed, what, ret);
}

static bool holds_all(const struct compare *c, enum coder coder, int i)
{
	return c->uniform[coder][i][0].images == c->l->data.split[TRAIN].n;
}

static double sweep_mean(const struct compare *c, enum coder coder, int i)
{
	double v[SEEDS_MAX];

	for (int s = 0; s < c->have[coder][i]; s++)
		v[s] = c->uniform[coder][i][s].accuracy[0];
	return mean_of(v, c->have[coder][i]);
}

/* The first seeds at one quality of the sweep, those not run yet. */
static int sweep_one(struct compare *c, enum coder coder, int i, int budget, int seeds)
{
	int r = 0;

	for (int s = c->have[coder][i]; r == 0 && s < seeds; s++) {
		struct result *u = &c->uniform[coder][i][s];

		r = run_uniform(c, coder, sweep[i], budget, c->l->seed + (uint64_t)s,
			coder == PLAIN ? "uniform plain" : "uniform ours", u);
		if (r == 0)
			fprintf(c->sweep_csv, "%.0f,%s,%d,%llu,%d,%.0f,%.2f,%.2f\n", c->l->budget[budget],
				coder == PLAIN ? "plain" : "ours", sweep[i],
				(unsigned long long)c->l->seed + (unsigned long long)s, u->images, u->bytes,
				100 * u->accuracy[0], 100 * u->accuracy[1]);
	}
	c->have[coder][i] = MAX(c->have[coder][i], seeds);
	fflush(c->sweep_csv);
	return r;
}

/* By more than the test set's size may make of nothing. */
static bool clearly_worse(const struct compare *c, enum coder coder, int i, int best)
{
	double enough = MAX(ENOUGH_WORSE, 0.5 / sqrt(MAX(c->l->test.n, 1)));

	return sweep_mean(c, coder, i) < sweep_mean(c, coder, best) - enough;
}

/* One side of the sweep, away from the best so far. */
static int sweep_side(struct compare *c, enum coder coder, int from, int direction, int budget, int *best)
{
	int in_a_row = 0;

	for (int i = from + direction; i >= 0 && i < SWEEP && in_a_row < 2; i += direction) {
		int r = 0;

		if (direction < 0 && c->have[coder][i + 1] && holds_all(c, coder, i + 1))
			break; /* lower quality and no picture more */
		if (!c->have[coder][i])
			r = sweep_one(c, coder, i, budget, 1);
		if (r < 0)
			return r;
		if (sweep_mean(c, coder, i) > sweep_mean(c, coder, *best))
			*best = i;
		in_a_row = clearly_worse(c, coder, i, *best) ? in_a_row + 1 : 0;
	}
	return 0;
}

static int run_envelope(struct compare *c, enum coder coder, int begin, int budget, int *ret_best)
{
	int best = begin, r;
	bool close[SWEEP];

	memset(c->have[coder], 0, sizeof(c->have[coder]));
	r = sweep_one(c, coder, begin, budget, 1);
	if (r == 0)
		r = sweep_side(c, coder, begin, 1, budget, &best);
	if (r == 0)
		r = sweep_side(c, coder, begin, -1, budget, &best);
	if (r < 0)
		return r;
	for (int i = 0; i < SWEEP; i++)
		close[i] = c->have[coder][i] && !clearly_worse(c, coder, i, best);
	for (int i = 0; r == 0 && i < SWEEP; i++)
		if (close[i])
			r = sweep_one(c, coder, i, budget, c->l->seeds);
	for (int i = 0; i < SWEEP; i++)
		if (close[i] && sweep_mean(c, coder, i) > sweep_mean(c, coder, best))
			best = i;
	for (int s = 0; r == 0 && s < c->l->seeds; s++)
		c->result[budget][coder == PLAIN ? UNIFORM_PLAIN : UNIFORM_OURS][s] =
			c->uniform[coder][best][s];
	*ret_best = best;
	return r;
}

/* Evaluates what the stream has trained as it went. d: what it holds in the end. */
static int run_spread(struct compare *c, const struct rates *device, struct stream *s,
	const struct dataset *d, const uint8_t *quality, uint64_t seed, const char *what,
	struct result *ret)
{
	_cleanup_dataset_ struct dataset stored = {0};
	const struct dataset *eval[] = {&c->l->test, &stored};
	int r = choice_test(c->l, device, quality, s->n, seed, &stored);

	if (r == 0)
		r = lab_spread_end(c->l, &s->training, d, eval, 2, ret->accuracy, what);
	describe(quality, s->n, ret);
	return r;
}

static int run_stream_once(struct compare *c, enum policy p, int budget, uint64_t seed, bool again,
	struct stream *s, struct result *ret)
{
	_cleanup_dataset_ struct dataset d = {0};
	struct stream_options o = {.budget = c->l->budget[budget],
		.seed = seed,
		.own_weight = OWN_WEIGHT,
		.own_max = OWN_MAX,
		.slices = p == AT_END ? 0 : SLICES,
		.quality = p == SPREAD ? SPREAD_AT : 0,
		.again = again};
	_cleanup_free_ uint8_t *quality = NULL;
	_cleanup_free_ struct rates *device = calloc(1, sizeof(*device));
	char what[128];
	int r;

	if (!device)
		return -ENOMEM;

	if (p == BY_LOSS || p == BY_KL) {
		o.own_weight = 1;
		o.own_max = 1e6f;
	}
	o.curve = p == BY_LOSS ? CURVE_LOSS : p == BY_PREDICTOR ? CURVE_PREDICTED : CURVE_KL;
	lab_progress(c->l, "%s, %.0f bytes, seed %llu: the stream", policy_names[p], o.budget,
		(unsigned long long)seed);
	r = stream_run(c->l, &o, s);
	if (r == 0)
		r = stream_dataset(s, &d);
	device->l = c->l;
	device->network = s->network;
	quality = malloc((size_t)MAX(s->n, 1));
	if (r < 0 || !quality || !s->n)
		return r < 0 ? r : -ENOMEM;
	for (int i = 0; r == 0 && i < s->n; i++) {
		quality[i] = s->v[i].quality;
		rates_steps(device, quality[i]);
	}
	if (r < 0)
		return r;
	snprintf(what, sizeof(what), "%s, %.0f bytes, seed %llu: %d images", policy_names[p], o.budget,
		(unsigned long long)seed, s->n);
	/* While nearly all that came is there, the device trains at once (daemon/course.h). */
	r = o.slices && plan_course_pays(s->n, (double)s->dropped)
		    ? run_spread(c, device, s, &d, quality, seed, what, ret)
		    : run_set(c, device, &d, quality, s->n, seed, what, ret);
	ret->bytes = s->most;
	ret->written = s->written / MAX(s->bytes, 1);
	return r;
}

static int run_stream(
	struct compare *c, enum policy p, int budget, uint64_t seed, struct stream *s, struct result *ret)
{
	int r = run_stream_once(c, p, budget, seed, false, s, ret);

	if (r != -ESTALE)
		return r;
	stream_done(s);
	return run_stream_once(c, p, budget, seed, true, s, ret);
}

/* Random pictures in the same coder, each at a quality drawn from the shipped policy's histogram. */
static int run_control(struct compare *c, struct rates *device, int budget, uint64_t seed,
	const struct stream *shipped, struct result *ret)
{
	int total = c->l->data.split[TRAIN].n, n, r = 0;
	_cleanup_free_ struct choice *v = by_ranks(c->l, seed, 0);
	struct rng rng;
	char what[128];

	if (!v)
		return -ENOMEM;
	rng_init(&rng, seed * 3 + 5);
	for (int i = 0; r == 0 && i < total; i++) {
		v[i].quality = shipped->v[rng_below(&rng, (uint32_t)shipped->n)].quality;
		r = rates_at(device, v[i].quality);
	}
	if (r < 0)
		return r;
	n = fill_budget(device, OURS, c->l->budget[budget], v, total);
	if (n < 0)
		return n;
	snprintf(what, sizeof(what), "random control, %.0f bytes, seed %llu: %d images",
		c->l->budget[budget], (unsigned long long)seed, n);
	return run_choice(c, device, OURS, v, n, seed, what, ret);
}

/*
 * Each class at one quality, by its own mean curve at one price, the price being the one whose
 * balanced quantity the plan values most. Curves: those of the shipped run's images.
 */
static int run_per_class(struct compare *c, struct rates *device, int budget, uint64_t seed,
	const struct stream *shipped, struct result *ret)
{
	int total = c->l->data.split[TRAIN].n, classes = c->l->data.classes, n, r = 0;
	_cleanup_free_ struct choice *v = by_ranks(c->l, seed, 0);
	_cleanup_free_ int *best = calloc((size_t)classes, sizeof(int));
	char what[128];

	if (!v || !best)
		return -ENOMEM;
	r = class_qualities(shipped, c->l->budget[budget], best);
	for (int i = 0; r == 0 && i < total; i++) {
		v[i].quality = best[c->l->data.split[TRAIN].v[v[i].index].label];
		r = rates_at(device, v[i].quality);
	}
	if (r < 0)
		return r;
	n = fill_budget(device, OURS, c->l->budget[budget], v, total);
	if (n < 0)
		return n;
	snprintf(what, sizeof(what), "per class, %.0f bytes, seed %llu: %d images", c->l->budget[budget],
		(unsigned long long)seed, n);
	return run_choice(c, device, OURS, v, n, seed, what, ret);
}

/* The row of one result, at once: a long run can be followed. */
static void put_row(struct compare *c, int budget, enum policy p, int s)
{
	const struct result *r = &c->result[budget][p][s];

	if (!r->images)
		return;
	fprintf(c->csv, "%.0f,%s,%llu,%d,%.0f,%.2f,%.3f,%.2f,%.2f\n", c->l->budget[budget], policy_names[p],
		(unsigned long long)c->l->seed + (unsigned)s, r->images, r->bytes, r->mean_quality,
		r->written, 100 * r->accuracy[0], 100 * r->accuracy[1]);
	fflush(c->csv);
}

static int run_seed(struct compare *c, int budget, int s)
{
	uint64_t seed = c->l->seed + (uint64_t)s;
	struct result(*result)[SEEDS_MAX] = c->result[budget];
	struct stream shipped = {0};
	_cleanup_free_ struct rates *device = calloc(1, sizeof(*device));
	int r = device ? 0 : -ENOMEM;

	if (r < 0)
		return r;
	device->l = c->l;
	if (wanted(c->l, SHIPPED) || wanted(c->l, CONTROL) || wanted(c->l, PER_CLASS))
		r = run_stream(c, SHIPPED, budget, seed, &shipped, &result[SHIPPED][s]);
	device->network = shipped.network;
	if (r == 0 && wanted(c->l, CONTROL))
		r = run_control(c, device, budget, seed, &shipped, &result[CONTROL][s]);
	if (r == 0 && wanted(c->l, PER_CLASS))
		r = run_per_class(c, device, budget, seed, &shipped, &result[PER_CLASS][s]);
	stream_done(&shipped);
	rates_done(device);
	for (int p = BY_LOSS; r == 0 && p < SHIPPED; p++) {
		struct stream st = {0};

		if (!wanted(c->l, (enum policy)p))
			continue;
		r = run_stream(c, (enum policy)p, budget, seed, &st, &result[p][s]);
		stream_done(&st);
	}
	if (r == 0 && wanted(c->l, FIFO))
		r = run_fifo(c, budget, seed, &result[FIFO][s]);
	if (r == 0 && wanted(c->l, RESERVOIR))
		r = run_uniform(
			c, OURS, AS_CAPTURED, budget, seed, "reservoir", &result[RESERVOIR][s]);
	for (int p = 0; r == 0 && p < POLICIES; p++)
		put_row(c, budget, (enum policy)p, s);
	return r;
}

static void column(const struct compare *c, int budget, enum policy p, int which, double ret[SEEDS_MAX])
{
	for (int s = 0; s < c->l->seeds; s++)
		ret[s] = c->result[budget][p][s].images ? 100 * c->result[budget][p][s].accuracy[which]
							: (double)NAN;
}

/* Accuracy of p minus that of q, seed by seed. */
static void paired(const struct compare *c, int budget, enum policy p, enum policy q, double *ret_mean,
	double *ret_interval)
{
	double a[SEEDS_MAX], b[SEEDS_MAX];

	column(c, budget, p, 0, a);
	column(c, budget, q, 0, b);
	for (int s = 0; s < c->l->seeds; s++)
		a[s] -= b[s];
	*ret_mean = mean_of(a, c->l->seeds);
	*ret_interval = interval_of(a, c->l->seeds);
}

/* A mean and its interval; one seed has none. */
#define PLUS_MINUS_MAX 32
static const char *plus_minus(bool sign, double mean, double interval, char buf[PLUS_MINUS_MAX])
{
	char half[12] = "";

	if (!isnan(interval))
		snprintf(half, sizeof(half), " +-%5.2f", interval);
	if (isnan(mean))
		snprintf(buf, PLUS_MINUS_MAX, "-");
	else if (sign)
		snprintf(buf, PLUS_MINUS_MAX, "%+.2f%s", mean, half);
	else
		snprintf(buf, PLUS_MINUS_MAX, "%.2f%s", mean, half);
	return buf;
}

static void print_table(const struct compare *c, FILE *f)
{
	const struct lab *l = c->l;

	fprintf(f, "accuracy in percent, mean%s over %d seed%s; differences are paired\n\n",
		l->seeds > 1 ? " and 95 % interval" : "", l->seeds, l->seeds > 1 ? "s" : "");
	fprintf(f, "%-10s %-20s %7s %8s %15s %15s %15s %15s\n", "budget", "policy", "images", "quality",
		"originals", "stored form", "- plain env.", "- our env.");
	for (int b = 0; b < l->n_budgets; b++)
		for (int p = 0; p < POLICIES; p++) {
			const struct result *r = &c->result[b][p][0];

			if (!r->images)
				continue;
			double v[SEEDS_MAX], w[SEEDS_MAX], dp, ip, d_o, io, images[SEEDS_MAX], q[SEEDS_MAX];

			for (int s = 0; s < l->seeds; s++) {
				images[s] = r[s].images;
				q[s] = r[s].mean_quality;
			}
			column(c, b, (enum policy)p, 0, v);
			column(c, b, (enum policy)p, 1, w);
			paired(c, b, (enum policy)p, UNIFORM_PLAIN, &dp, &ip);
			paired(c, b, (enum policy)p, UNIFORM_OURS, &d_o, &io);
			char text[4][PLUS_MINUS_MAX];

			fprintf(f, "%-10.0f %-20s %7.0f %8.1f %15s %15s %15s %15s\n", l->budget[b],
				policy_names[p], mean_of(images, l->seeds), mean_of(q, l->seeds),
				plus_minus(false, mean_of(v, l->seeds), interval_of(v, l->seeds), text[0]),
				plus_minus(false, mean_of(w, l->seeds), interval_of(w, l->seeds), text[1]),
				plus_minus(true, dp, ip, text[2]), plus_minus(true, d_o, io, text[3]));
		}
}

static int draw(const struct compare *c)
{
	const struct lab *l = c->l;
	struct plot *p = plot_new(
		"Accuracy at equal real bytes", "budget (kB)", "accuracy on original test pictures (%)");
	double x[BUDGETS_MAX], y[BUDGETS_MAX], e[BUDGETS_MAX], v[SEEDS_MAX];

	if (!p)
		return -ENOMEM;
	plot_log_x(p);
	for (int q = 0; q < POLICIES; q++) {
		for (int b = 0; b < l->n_budgets; b++) {
			column(c, b, (enum policy)q, 0, v);
			x[b] = l->budget[b] / 1000;
			y[b] = mean_of(v, l->seeds);
			e[b] = interval_of(v, l->seeds);
		}
		plot_series(p, policy_labels[q], l->n_budgets, x, y, l->seeds > 1 ? e : NULL);
	}
	plot_note(p, "Bars: 95 % interval of the mean over seeds. The envelopes chose their quality by "
		     "test accuracy.");
	return plot_save(p, l, "policies.svg");
}

static int claims(const struct compare *c)
{
	const struct lab *l = c->l;
	FILE *f = lab_create(l, "claims-policies.tsv");

	if (!f)
		return -EIO;
	for (int b = 0; b < l->n_budgets; b++) {
		char text[2][PLUS_MINUS_MAX];
		double d, i, k, ik;

		paired(c, b, SHIPPED, UNIFORM_PLAIN, &d, &i);
		paired(c, b, SHIPPED, CONTROL, &k, &ik);
		if (isnan(d))
			continue; /* not asked for */
		lab_claim(f,
			d - (isnan(i) ? 0 : i) > 0 ? REPRODUCED
			: d > 0			   ? DIFFERS
						   : NOT_REPRODUCED,
			"Ours, not the paper's: adaptive beats the best uniform quality at equal real "
			"bytes",
			"%.0f bytes: %s points over the plain envelope (quality %d), %s over the "
			"random control%s",
			l->budget[b], plus_minus(true, d, i, text[0]),
			c->result[b][UNIFORM_PLAIN][0].quality, plus_minus(true, k, ik, text[1]),
			l->seeds > 1 ? "" : "; one seed");
	}
	return lab_close_file(f, "claims-policies.tsv");
}

static int run_all(struct compare *c)
{
	int begin = 3, r = 0;

	for (int b = 0; r == 0 && b < c->l->n_budgets; b++) {
		if (wanted(c->l, UNIFORM_PLAIN))
			r = run_envelope(c, PLAIN, begin, b, &begin);
		if (r == 0 && wanted(c->l, UNIFORM_OURS))
			r = run_envelope(c, OURS, begin, b, &begin);
		for (int s = 0; r == 0 && s < c->l->seeds; s++)
			r = run_seed(c, b, s);
	}
	return r;
}

static int policies(struct lab *l)
{
	struct compare *c = calloc(1, sizeof(*c));
	FILE *table;
	int r;

	if (!c)
		return -ENOMEM;
	c->l = c->rates.l = l;
	c->csv = lab_create(l, "policies.csv");
	c->sweep_csv = lab_create(l, "policies-sweep.csv");
	r = c->csv && c->sweep_csv ? 0 : -EIO;
	if (r == 0) {
		fputs("budget_bytes,policy,seed,images,most_bytes,mean_quality,bytes_written_per_byte_held,"
		      "accuracy_original_percent,accuracy_stored_form_percent\n",
			c->csv);
		fputs("budget_bytes,coder,quality,seed,images,bytes,accuracy_original_percent,"
		      "accuracy_stored_form_percent\n",
			c->sweep_csv);
		r = rates_learn(&c->rates);
		if (r == 0)
			r = run_all(c);
	}
	lab_progress_end(l);
	if (c->csv && lab_close_file(c->csv, "policies.csv") < 0)
		r = -EIO;
	if (c->sweep_csv && lab_close_file(c->sweep_csv, "policies-sweep.csv") < 0)
		r = -EIO;
	if (r == 0 && (table = lab_create(l, "policies.txt"))) {
		print_table(c, table);
		r = lab_close_file(table, "policies.txt");
		print_table(c, stdout);
	}
	if (r == 0)
		r = draw(c);
	if (r == 0)
		r = claims(c);
	rates_done(&c->rates);
	free(c);
	return r;
}

const struct verb verb_policies = {"policies", "every policy at equal real bytes", policies_runs,
	policies_scored, policies, policy_names};
