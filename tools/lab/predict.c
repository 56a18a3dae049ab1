/*
 * predict: how well the predictor stands in for the network. It learns from pictures that the network
 * has never been trained on, and is asked about others; what it would choose is then charged with what
 * the network says.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "tools/lab/allocate.h"
#include "tools/lab/figures.h"
#include "tools/lab/uniform.h"
#include "tools/lab/verbs.h"

#define LEARN_MAX 4000
#define ASK_MAX 4000
#define TIMED 200 /* pictures, for the cost of each */
#define PRICES 9

struct guess {
	struct curve full, predicted; /* predicted's n is 0 before */
	struct features features;
	int own_quality;
};

struct predict {
	struct lab *l;
	uint32_t *order; /* training pictures mixed: the first half is the network's; owned */
	int first, n;	 /* n: learnt from and asked about, from first on */
	int n_learn;
	struct guess *v;
	float *params;	       /* of the network; owned */
	struct scorer *scorer; /* [threads]; owned */
	struct predictor predictor;
	struct population population;
};

static double predict_runs(const struct lab *l)
{
	(void)l;
	return 1;
}

static double predict_scored(const struct lab *l)
{
	return MIN(l->data.split[TRAIN].n / 2.0, LEARN_MAX + ASK_MAX);
}

static int score_one(struct lab *l, void *arg, int i, struct scratch *s)
{
	struct predict *p = arg;
	struct guess *g = &p->v[i];
	struct scorer *sc = &p->scorer[s->member];
	uint8_t quality[RUNGS_MAX];
	int r = lab_decode(l, TRAIN, (int)p->order[p->first + i], &s->original, &g->own_quality);

	sc->features = &g->features;
	if (r == 0)
		r = score(sc, &s->original, g->own_quality, quality, stream_ladder(g->own_quality, quality),
			-1, NULL, &g->full);
	sc->features = NULL;
	curve_make_monotone(&g->full);
	return r;
}

struct rank {
	double value;
	int index;
};

static int by_value(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;

	return (x->value > y->value) - (x->value < y->value);
}

/* Ranks, ties sharing their mean. */
static int to_ranks(const double *v, int n, double *ret)
{
	_cleanup_free_ struct rank *r = malloc((size_t)MAX(n, 1) * sizeof(*r));

	if (!r)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		r[i] = (struct rank){v[i], i};
	qsort(r, (size_t)n, sizeof(*r), by_value);
	for (int i = 0, to; i < n; i = to) {
		for (to = i; to < n && r[to].value <= r[i].value; to++)
			;
		for (int k = i; k < to; k++)
			ret[r[k].index] = (i + to - 1) / 2.0;
	}
	return 0;
}

/* Spearman's rank correlation. */
static double rank_correlation(const double *a, const double *b, int n)
{
	_cleanup_free_ double *x = malloc((size_t)MAX(n, 1) * sizeof(*x)),
			      *y = malloc((size_t)MAX(n, 1) * sizeof(*y));
	double xx = 0, yy = 0, xy = 0, mean = (n - 1) / 2.0;

	if (!x || !y || to_ranks(a, n, x) < 0 || to_ranks(b, n, y) < 0)
		return (double)NAN;
	for (int i = 0; i < n; i++) {
		xx += (x[i] - mean) * (x[i] - mean);
		yy += (y[i] - mean) * (y[i] - mean);
		xy += (x[i] - mean) * (y[i] - mean);
	}
	return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

/* Values of all pictures asked about at one LADDER rung, or at all rungs (rung < 0). */
static int collect(const struct predict *p, int rung, double *ret_full, double *ret_predicted)
{
	int n = 0;

	for (int i = p->n_learn; i < p->n; i++)
		for (int k = 0; k < p->v[i].full.n; k++)
			if (rung < 0 || p->v[i].full.quality[k] == LADDER[rung]) {
				ret_full[n] = (double)p->v[i].full.kl[k];
				ret_predicted[n++] = (double)p->v[i].predicted.kl[k];
			}
	return n;
}

enum chooser { BY_FULL, BY_PREDICTED, BY_NOTHING };

/*
 * What the network says the pictures lose, on average, when chooser allocates at the price that brings
 * mean bytes under a limit.
 */
static double harm_at(const struct predict *p, enum chooser who, double mean_bytes)
{
	float low = 1e-9f, high = 1;
	double harm = 0;

	for (int round = 0; round < 50; round++) {
		float price = sqrtf(low * high);
		double bytes = 0;

		harm = 0;
		for (int i = p->n_learn; i < p->n; i++) {
			const struct guess *g = &p->v[i];
			struct population own = p->population;
			struct curve c = who == BY_PREDICTED ? g->predicted : g->full;
			int at;

			own.own_weight = who == BY_NOTHING ? 0 : 1;
			own.own_max = 1e6f;
			c.scored = true;
			at = curve_choose(&c, &own, price);
			bytes += c.rate[at];
			harm += (double)g->full.kl[at];
		}
		if (bytes / (p->n - p->n_learn) > mean_bytes)
			low = price;
		else
			high = price;
	}
	return harm / (p->n - p->n_learn);
}

/* Microseconds a picture on one thread: in full, and by the predictor. */
static int time_both(struct predict *p, double *ret_full, double *ret_predicted)
{
	int n = MIN(TIMED, p->n), r = 0;
	struct scratch s = {0};
	int64_t spent[2] = {0};

	for (int i = 0; r == 0 && i < n; i++) {
		struct scorer *sc = &p->scorer[0];
		const float *params = sc->params;
		uint8_t quality[RUNGS_MAX];
		struct features f;
		struct curve c;
		int own;

		r = lab_decode(p->l, TRAIN, (int)p->order[p->first + i], &s.original, &own);
		for (int k = 0; r == 0 && k < 2; k++) {
			int64_t begin = clock_steady_us();

			sc->params = k ? NULL : params;
			sc->features = k ? &f : NULL;
			r = score(sc, &s.original, own, quality, stream_ladder(own, quality), -1, NULL, &c);
			if (k)
				predictor_apply(&p->predictor, &f, &c);
			spent[k] += clock_steady_us() - begin;
		}
		sc->params = params;
		sc->features = NULL;
	}
	coef_done(&s.original);
	*ret_full = (double)spent[0] / n;
	*ret_predicted = (double)spent[1] / n;
	return r;
}

/* Half of the training pictures are the network's; of the rest some teach the predictor. */
static int prepare(struct predict *p)
{
	struct lab *l = p->l;
	int n = l->data.split[TRAIN].n, own = n / 2, r, rest = n - own;
	_cleanup_free_ struct choice *v = malloc((size_t)n * sizeof(*v));
	_cleanup_dataset_ struct dataset d = {0};
	struct net_layout at;

	net_layout(&l->shape, &at);
	p->params = malloc(at.total * sizeof(float));
	p->order = malloc((size_t)n * sizeof(*p->order));
	if (!p->order || !v || !p->params)
		return -ENOMEM;
	/* Mixed, because folders have their classes one after another. */
	stream_order(l, l->seed, p->order);
	for (int i = 0; i < own; i++)
		v[i] = (struct choice){(int)p->order[i], 100};
	r = choice_dataset(l, NULL, v, own, &d);
	if (r == 0)
		r = lab_run(l, &d, l->seed, l->steps, NULL, 0, NULL, p->params,
			"trained on half of the originals");
	p->first = own;
	p->n = MIN(rest, l->quick ? 1500 : LEARN_MAX + ASK_MAX);
	p->n_learn = p->n / 2;
	p->v = calloc((size_t)p->n, sizeof(*p->v));
	p->scorer = calloc((size_t)l->threads, sizeof(*p->scorer));
	for (int m = 0; r == 0 && p->scorer && m < l->threads; m++)
		r = scorer_set_model(&p->scorer[m], &l->shape, p->params);
	return r < 0 ? r : p->v && p->scorer ? 0 : -ENOMEM;
}

/* The policy's own allocation of these pictures against the linear-programming bound. */
static int write_allocations(struct predict *p, FILE *claims)
{
	int n = p->n - p->n_learn, r = 0;
	_cleanup_free_ struct curve *curve = malloc((size_t)MAX(n, 1) * sizeof(*curve));
	double worst_steps = 1, worst_own = 1;

	if (!curve)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		curve[i] = p->v[p->n_learn + i].full;
	printf("allocation from the top down against the linear-programming bound\n%12s %10s %10s\n",
		"bytes", "as it is", "own rates");
	for (int k = 1; r == 0 && k + 2 < LADDER_RUNGS; k += 2) {
		double budget = (double)p->population.rate[k] * n;
		struct allocations a;

		r = allocate(curve, n, &p->population, budget, &a);
		if (r < 0)
			break;
		printf("%12.0f %9.2f%% %9.2f%%\n", budget, 100 * a.by_steps.share_of_bound,
			100 * a.by_own_rates.share_of_bound);
		worst_own = MIN(worst_own, a.by_own_rates.share_of_bound);
		worst_steps = MIN(worst_steps, a.by_steps.share_of_bound);
	}
	lab_claim(claims,
		worst_steps >= 0.995 ? REPRODUCED
		: worst_own >= 0.995 ? DIFFERS
				     : NOT_REPRODUCED,
		"Ours, not the paper's: allocation reaches 99.5 % of the linear-programming bound",
		"at worst %.2f %% with the population's rates, which decide because more is learnt by "
		"them, "
		"%.2f %% with each image's own",
		100 * worst_steps, 100 * worst_own);
	return r;
}

static int write_results(struct predict *p)
{
	struct lab *l = p->l;
	size_t all = (size_t)(p->n - p->n_learn) * RUNGS_MAX;
	_cleanup_free_ double *a = malloc(all * sizeof(*a)), *b = malloc(all * sizeof(*b));
	FILE *csv = lab_create(l, "predict.csv"), *claims = lab_create(l, "claims-predict.tsv");
	struct plot *plot = plot_new("Regret of the predictor's allocation",
		"mean stored bytes of a picture", "mean divergence, by the network (nats)");
	double x[PRICES], y[3][PRICES], full_us = 0, predicted_us = 0, worst = 0, pooled;
	int r = a && b && csv && claims && plot ? time_both(p, &full_us, &predicted_us) : -ENOMEM;

	if (r < 0)
		return r;
	fputs("quality,rank_correlation,explained_share\n", csv);
	printf("quality  rank correlation  explained\n");
	for (int k = 0; k < LADDER_RUNGS; k++) {
		int n = collect(p, k, a, b);
		double rho = rank_correlation(a, b, n);

		fprintf(csv, "%d,%.4f,%.4f\n", LADDER[k], rho, predictor_explains(&p->predictor, k));
		printf("%7d  %16.3f  %9.3f\n", LADDER[k], rho, predictor_explains(&p->predictor, k));
	}
	pooled = rank_correlation(a, b, collect(p, -1, a, b));
	fprintf(csv, "all,%.4f,\n", pooled);
	for (int i = 0; i < PRICES; i++) {
		int k = i + 1; /* the population's mean rate at a rung is a fair mean to ask for */

		x[i] = (double)p->population.rate[k];
		for (int who = 0; who < 3; who++)
			y[who][i] = harm_at(p, (enum chooser)who, x[i]);
		worst = MAX(worst, (y[1][i] - y[0][i]) / MAX(y[2][i] - y[0][i], 1e-9));
	}
	plot_log_x(plot);
	plot_series(plot, "scored in full", PRICES, x, y[0], NULL);
	plot_series(plot, "by predictor", PRICES, x, y[1], NULL);
	plot_series(plot, "all alike", PRICES, x, y[2], NULL);
	plot_note(plot, "Allocation by unshrunk curves; charged with the network's own divergences on "
			"pictures neither has seen.");
	printf("all rungs together: %.3f; %.0f us in full, %.0f us by predictor (1/%.1f)\n", pooled,
		full_us, predicted_us, full_us / MAX(predicted_us, 1e-3));
	lab_claim(claims,
		pooled >= 0.9 && predicted_us * 20 <= full_us ? REPRODUCED
		: pooled >= 0.9				      ? DIFFERS
							      : NOT_REPRODUCED,
		"Ours, not the paper's: a predictor ranks as the network does (0.9) at a twentieth of its "
		"cost",
		"rank correlation %.3f over all rungs; %.0f us against %.0f us a picture, 1/%.1f; of what "
		"full scoring gains over "
		"treating all alike it loses %.0f %% at worst",
		pooled, predicted_us, full_us, full_us / MAX(predicted_us, 1e-3), 100 * worst);
	r = write_allocations(p, claims);
	if (plot_save(plot, l, "predict.svg") < 0)
		r = -EIO;
	if (lab_close_file(csv, "predict.csv") < 0 || lab_close_file(claims, "claims-predict.tsv") < 0)
		r = -EIO;
	return r;
}

static void predict_free(struct predict *p)
{
	for (int m = 0; p->scorer && m < p->l->threads; m++)
		scorer_done(&p->scorer[m]);
	free(p->params);
	free(p->order);
	free(p->scorer);
	free(p->v);
	free(p);
}

static int predict(struct lab *l)
{
	struct predict *p = calloc(1, sizeof(*p));
	int r = -ENOMEM;

	if (!p)
		return r;
	p->l = l;
	predictor_init(&p->predictor);
	population_init(&p->population);
	r = prepare(p);
	if (r == 0 && p->n_learn < PREDICTOR_MIN) {
		log_warn("predict: passed over: of these pictures %d are left to learn from, "
			 "%d at least are needed",
			p->n_learn, PREDICTOR_MIN);
		predict_free(p);
		return 0;
	}
	if (r == 0)
		lab_progress(l, "scoring %d pictures in full", p->n);
	if (r == 0)
		r = lab_parallel(l, p->n, score_one, p);
	lab_progress_end(l);
	for (int i = 0; r == 0 && i < p->n_learn; i++) {
		predictor_learn(&p->predictor, &p->v[i].features, &p->v[i].full);
		population_add(&p->population, &p->v[i].full);
	}
	for (int i = p->n_learn; r == 0 && i < p->n; i++) {
		p->v[i].predicted = p->v[i].full;
		predictor_apply(&p->predictor, &p->v[i].features, &p->v[i].predicted);
	}
	if (r == 0)
		r = write_results(p);
	predict_free(p);
	return r;
}

const struct verb verb_predict = {"predict",
	"the predictor against full scoring: rank correlation, regret, cost", predict_runs, predict_scored,
	predict};
