/* quantity-quality: accuracy over how many pictures and how well they are kept (the study's Fig. 1, 2). */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "tools/lab/figures.h"
#include "tools/lab/uniform.h"
#include "tools/lab/verbs.h"

static const int grid_full[] = {5, 10, 20, 30, 50, 75, 100}, grid_quick[] = {5, 20, 50, 100};
#define GRID_MAX ((int)ARRAY_SIZE(grid_full))

struct study {
	struct lab *l;
	struct rates rates;
	const int *grid; /* percent of the pictures, and qualities */
	int n;
	double accuracy[GRID_MAX][GRID_MAX],
		interval[GRID_MAX][GRID_MAX]; /* [quantity][quality], percent */
	double bytes[GRID_MAX][GRID_MAX];
};

static const int *grid_of(const struct lab *l, int *ret_n)
{
	*ret_n = l->quick ? (int)ARRAY_SIZE(grid_quick) : GRID_MAX;
	return l->quick ? grid_quick : grid_full;
}

static double quantity_runs(const struct lab *l)
{
	int n;

	grid_of(l, &n);
	return (double)n * n * l->seeds;
}

static int run_pair(struct study *s, int d, int q, uint64_t seed, double *ret_accuracy, double *ret_bytes)
{
	int total = s->l->data.split[TRAIN].n, n = MAX(total * s->grid[d] / 100, 1), r;
	_cleanup_free_ uint32_t *order = malloc((size_t)total * sizeof(*order));
	_cleanup_free_ struct choice *v = malloc((size_t)n * sizeof(*v));
	_cleanup_dataset_ struct dataset data = {0};
	const struct dataset *eval[] = {&s->l->test};
	char what[128];

	if (!order || !v)
		return -ENOMEM;
	stream_order(s->l, seed, order);
	for (int i = 0; i < n; i++)
		v[i] = (struct choice){(int)order[i], s->grid[q]};
	r = rates_at(&s->rates, s->grid[q]);
	if (r == 0)
		r = choice_dataset(s->l, NULL, v, n, &data);
	snprintf(what, sizeof(what), "%d %% of the pictures at quality %d, seed %llu: %d images",
		s->grid[d], s->grid[q], (unsigned long long)seed, n);
	if (r == 0)
		r = lab_run(s->l, &data, seed, s->l->steps, eval, 1, ret_accuracy, NULL, what);
	return r < 0 ? r : choice_bytes(&s->rates, PLAIN, v, n, ret_bytes);
}

static int run_grid(struct study *s, FILE *csv)
{
	int r = 0;

	for (int d = 0; r == 0 && d < s->n; d++)
		for (int q = 0; r == 0 && q < s->n; q++) {
			double v[SEEDS_MAX], bytes = 0;

			for (int k = 0; r == 0 && k < s->l->seeds; k++) {
				r = run_pair(s, d, q, s->l->seed + (uint64_t)k, &v[k], &bytes);
				v[k] *= 100;
				fprintf(csv, "%d,%d,%llu,%d,%.0f,%.2f\n", s->grid[d], s->grid[q],
					(unsigned long long)s->l->seed + (unsigned)k,
					s->grid[d] * s->grid[q], bytes, v[k]);
			}
			s->accuracy[d][q] = mean_of(v, s->l->seeds);
			s->interval[d][q] = interval_of(v, s->l->seeds);
			s->bytes[d][q] = bytes;
		}
	return r;
}

/* Storage of a pair as the study counts it, in percent, or in real kilobytes. */
static double storage(const struct study *s, int d, int q, bool real)
{
	return real ? s->bytes[d][q] / 1000 : s->grid[d] * s->grid[q] / 100.0;
}

/* The best pair within a storage. */
static bool best_pair(const struct study *s, double limit, bool real, int *ret_d, int *ret_q)
{
	bool found = false;

	for (int d = 0; d < s->n; d++)
		for (int q = 0; q < s->n; q++)
			if (storage(s, d, q, real) <= limit * 1.0001 &&
				(!found || s->accuracy[d][q] > s->accuracy[*ret_d][*ret_q])) {
				*ret_d = d;
				*ret_q = q;
				found = true;
			}
	return found;
}

/* Pairs of settings that D x Q orders one way and real bytes the other, in percent of all pairs. */
static double disagreement(const struct study *s, char *ret_note, size_t size)
{
	int n = s->n * s->n, wrong = 0, all = 0;
	double worst = 1, ratio;

	for (int a = 0; a < n; a++)
		for (int b = 0; b < a; b++) {
			double pa = storage(s, a / s->n, a % s->n, false),
			       pb = storage(s, b / s->n, b % s->n, false);
			double ra = s->bytes[a / s->n][a % s->n], rb = s->bytes[b / s->n][b % s->n];

			if (pa == pb) { /* equal to the study: what are they really? */
				ratio = MAX(ra / rb, rb / ra);
				if (ratio > worst) {
					worst = ratio;
					snprintf(ret_note, size,
						"%d %% at quality %d and %d %% at quality %d are equal by "
						"D x Q; "
						"the first takes %.2f times the real bytes.",
						s->grid[a / s->n], s->grid[a % s->n], s->grid[b / s->n],
						s->grid[b % s->n], ra / rb);
				}
				continue;
			}
			all++;
			wrong += (pa < pb) != (ra < rb);
		}
	return all ? 100.0 * wrong / all : 0;
}

static int draw_lines(const struct study *s, bool real, const char *note, const char *file)
{
	struct plot *p = plot_new(real ? "Fig. 1, real bytes: accuracy over storage"
				       : "Fig. 1: accuracy over storage, as D x Q",
		real ? "storage (kB, plain JPEG)" : "storage: share of pictures x quality (%)",
		"accuracy on original test pictures (%)");

	if (!p)
		return -ENOMEM;
	plot_log_x(p);
	for (int d = 0; d < s->n; d++) {
		double x[GRID_MAX];
		char name[32];

		for (int q = 0; q < s->n; q++)
			x[q] = storage(s, d, q, real);
		snprintf(name, sizeof(name), "%d %% of the pictures", s->grid[d]);
		plot_series(p, name, s->n, x, s->accuracy[d], s->l->seeds > 1 ? s->interval[d] : NULL);
	}
	plot_note(p, note);
	return plot_save(p, s->l, file);
}

#define LIMITS 12

static int draw_best(
	const struct study *s, bool real, const char *note, const char *file, int pair[LIMITS][2])
{
	struct plot *p = plot_new(real ? "Fig. 2, real bytes: best pair for a budget"
				       : "Fig. 2: best pair for a budget, as D x Q",
		real ? "budget (kB, plain JPEG)" : "budget: share of pictures x quality (%)",
		"best accuracy (%)");
	double low = storage(s, 0, 0, real), high = storage(s, s->n - 1, s->n - 1, real), x[LIMITS],
	       y[LIMITS];

	if (!p)
		return -ENOMEM;
	plot_log_x(p);
	for (int i = 0; i < LIMITS; i++) {
		x[i] = low * pow(high / low, i / (LIMITS - 1.0));
		best_pair(s, x[i], real, &pair[i][0], &pair[i][1]);
		y[i] = s->accuracy[pair[i][0]][pair[i][1]];
	}
	plot_series(p, "best of the grid", LIMITS, x, y, NULL);
	for (int i = 0; i < LIMITS; i++) {
		char label[32];

		snprintf(label, sizeof(label), "%d%%, q%d", s->grid[pair[i][0]], s->grid[pair[i][1]]);
		if (i == 0 || memcmp(pair[i], pair[i - 1], sizeof(pair[i])) != 0)
			plot_label(p, x[i], y[i], label);
	}
	plot_note(p, "At each point: share of the pictures and quality of the best pair that fits.");
	plot_note(p, note);
	return plot_save(p, s->l, file);
}

static int write_claims(
	const struct study *s, double wrong, const char *note, int paper[LIMITS][2], int real[LIMITS][2])
{
	FILE *f = lab_create(s->l, "claims-quantity-quality.tsv");
	int changes = 0, differ = 0, last = s->n - 1;
	double lost;

	if (!f)
		return -EIO;
	for (int i = 0; i < LIMITS; i++) {
		differ += memcmp(paper[i], real[i], sizeof(paper[i])) != 0;
		changes += i > 0 && memcmp(real[i], real[i - 1], sizeof(real[i])) != 0;
	}
	lab_claim(f, changes >= 2 ? REPRODUCED : NOT_REPRODUCED,
		"RQ1: the best mix of quantity and quality depends on the budget",
		"the best pair in real bytes changes %d times over %d budgets: from %d %% at quality %d to "
		"%d %% at quality %d",
		changes, LIMITS, s->grid[real[0][0]], s->grid[real[0][1]], s->grid[real[LIMITS - 1][0]],
		s->grid[real[LIMITS - 1][1]]);
	lost = s->accuracy[last][last] - s->accuracy[last][s->n / 2];
	lab_claim(f, lost < 3 ? REPRODUCED : NOT_REPRODUCED,
		"RQ2: compressed pictures still teach useful features",
		"all pictures at quality %d: %.1f %%, at quality 100: %.1f %%; at quality %d: %.1f %%",
		s->grid[s->n / 2], s->accuracy[last][s->n / 2], s->accuracy[last][last], s->grid[0],
		s->accuracy[last][0]);
	lab_claim(f, wrong < 1 ? REPRODUCED : DIFFERS,
		"Storage is measured well by share of pictures x quality",
		"%.0f %% of the pairs of settings are ordered otherwise by real bytes; the best pair "
		"differs at %d of %d budgets. %s",
		wrong, differ, LIMITS, note);
	return lab_close_file(f, "claims-quantity-quality.tsv");
}

static int quantity(struct lab *l)
{
	struct study *s = calloc(1, sizeof(*s));
	FILE *csv = lab_create(l, "quantity-quality.csv");
	int r = s && csv ? 0 : -ENOMEM, paper[LIMITS][2], real[LIMITS][2];
	char note[200] = "";
	double wrong;

	if (r == 0) {
		s->l = s->rates.l = l;
		s->grid = grid_of(l, &s->n);
		fputs("pictures_percent,quality,seed,storage_paper_percent_times_quality,bytes,accuracy_"
		      "percent\n",
			csv);
		r = run_grid(s, csv);
	}
	lab_progress_end(l);
	if (csv && lab_close_file(csv, "quantity-quality.csv") < 0)
		r = -EIO;
	if (r == 0) {
		wrong = disagreement(s, note, sizeof(note));
		r = draw_lines(s, false, note, "fig1-paper.svg");
		if (r == 0)
			r = draw_lines(s, true, note, "fig1-bytes.svg");
		if (r == 0)
			r = draw_best(s, false, note, "fig2-paper.svg", paper);
		if (r == 0)
			r = draw_best(s, true, note, "fig2-bytes.svg", real);
		if (r == 0)
			r = write_claims(s, wrong, note, paper, real);
	}
	if (s)
		rates_done(&s->rates);
	free(s);
	return r;
}

const struct verb verb_quantity = {"quantity-quality",
	"accuracy over number of pictures and quality (Fig. 1, 2)", quantity_runs, NULL, quantity};
