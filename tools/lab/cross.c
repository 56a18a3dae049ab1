/*
 * cross-quality: models trained at some qualities, tested at every quality (the study's Fig. 4), and ten
 * test pictures at those qualities (Fig. 3).
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/codec/jpeg.h"
#include "tools/lab/figures.h"
#include "tools/lab/uniform.h"
#include "tools/lab/verbs.h"

#define SHEET_PICTURES 10
#define SHEET_CELL 64

static const int test_full[] = {2, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100},
		 test_quick[] = {5, 20, 50, 80, 100};
#define TESTS_MAX ((int)ARRAY_SIZE(test_full))

struct cross {
	struct lab *l;
	const int *test;
	int n_test;
	struct dataset at[TESTS_MAX]; /* test pictures at each quality */
	double mean[QUALITIES_MAX][TESTS_MAX], interval[QUALITIES_MAX][TESTS_MAX]; /* percent */
};

static double cross_runs(const struct lab *l)
{
	return (double)l->n_qualities * l->seeds;
}

static int run_model(struct cross *c, int q, FILE *csv)
{
	struct lab *l = c->l;
	int n = l->data.split[TRAIN].n, r;
	_cleanup_free_ struct choice *v = malloc((size_t)n * sizeof(*v));
	_cleanup_dataset_ struct dataset train = {0};
	const struct dataset *eval[TESTS_MAX];
	double all[TESTS_MAX][SEEDS_MAX], accuracy[TESTS_MAX];
	char what[128];

	if (!v)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		v[i] = (struct choice){i, l->quality[q]};
	for (int t = 0; t < c->n_test; t++)
		eval[t] = &c->at[t];
	r = choice_dataset(l, NULL, v, n, &train);
	for (int s = 0; r == 0 && s < l->seeds; s++) {
		snprintf(what, sizeof(what), "trained at quality %d, seed %llu", l->quality[q],
			(unsigned long long)l->seed + (unsigned)s);
		r = lab_run(
			l, &train, l->seed + (uint64_t)s, l->steps, eval, c->n_test, accuracy, NULL, what);
		for (int t = 0; r == 0 && t < c->n_test; t++) {
			all[t][s] = 100 * accuracy[t];
			fprintf(csv, "%d,%d,%llu,%.2f\n", l->quality[q], c->test[t],
				(unsigned long long)l->seed + (unsigned)s, all[t][s]);
		}
	}
	for (int t = 0; r == 0 && t < c->n_test; t++) {
		c->mean[q][t] = mean_of(all[t], l->seeds);
		c->interval[q][t] = interval_of(all[t], l->seeds);
	}
	return r;
}

static int best_at(const struct cross *c, int t)
{
	int best = 0;

	for (int q = 1; q < c->l->n_qualities; q++)
		if (c->mean[q][t] > c->mean[best][t])
			best = q;
	return best;
}

/* Test qualities that one model is best for: [from, to] in c->test, the model in *ret_best. */
static int region(const struct cross *c, int from, int *ret_best)
{
	int to = from;

	*ret_best = best_at(c, from);
	while (to + 1 < c->n_test && best_at(c, to + 1) == *ret_best)
		to++;
	return to;
}

static int draw_lines(const struct cross *c)
{
	struct plot *p = plot_new("Fig. 4: trained at one quality, tested at every quality",
		"quality of the test pictures", "accuracy (%)");
	double x[TESTS_MAX];

	if (!p)
		return -ENOMEM;
	for (int t = 0; t < c->n_test; t++)
		x[t] = c->test[t];
	for (int q = 0; q < c->l->n_qualities; q++) {
		char name[32];

		snprintf(name, sizeof(name), "trained at %d", c->l->quality[q]);
		plot_series(p, name, c->n_test, x, c->mean[q], c->l->seeds > 1 ? c->interval[q] : NULL);
	}
	for (int t = 0; t < c->n_test;) {
		int best, to = region(c, t, &best);
		double from_x = t == 0 ? x[0] : (x[t - 1] + x[t]) / 2;
		double to_x = to + 1 == c->n_test ? x[to] : (x[to] + x[to + 1]) / 2;
		char name[32];

		snprintf(name, sizeof(name), "%d is best", c->l->quality[best]);
		plot_band(p, from_x, to_x, name);
		t = to + 1;
	}
	plot_note(p, "Shaded: the regions in which one training quality is best.");
	return plot_save(p, c->l, "fig4.svg");
}

/* The picture as a JPEG file at a quality. */
static int picture_file(const struct lab *l, int i, int quality, struct buf *ret)
{
	_cleanup_coef_ struct coef_image im = {0};
	struct jpeg_tables t;
	int own, r = lab_decode(l, TEST, i, &im, &own);

	tables_standard(MIN(quality, own), &t);
	if (r == 0)
		r = coef_requantise(&im, &t, &im);
	return r < 0 ? r : jpeg_write_file(&im, &t, ret);
}

/* The first test picture of a class, and the next of the same when there are fewer classes than pictures. */
static int sheet_picture(const struct lab *l, int number)
{
	int label = number % l->data.classes, skip = number / l->data.classes;

	for (int i = 0; i < l->data.split[TEST].n; i++)
		if (l->data.split[TEST].v[i].label == label && skip-- == 0)
			return i;
	return 0;
}

static int draw_sheet(const struct lab *l)
{
	int rows = l->n_qualities, cols = SHEET_PICTURES, r = 0;
	struct buf file[QUALITIES_MAX * SHEET_PICTURES] = {0};
	char row[QUALITIES_MAX][24];
	const char *row_name[QUALITIES_MAX], *col_name[SHEET_PICTURES];
	struct sheet s = {.title = "Fig. 3: what the network is shown",
		.rows = rows,
		.cols = cols,
		.cell = SHEET_CELL,
		.jpeg = file,
		.row_name = row_name,
		.col_name = col_name};

	for (int k = 0; k < cols; k++)
		col_name[k] = l->data.name[l->data.split[TEST].v[sheet_picture(l, k)].label];
	for (int q = 0; r == 0 && q < rows; q++) {
		snprintf(row[q], sizeof(row[q]), "quality %d", l->quality[q]);
		row_name[q] = row[q];
		for (int k = 0; r == 0 && k < cols; k++)
			r = picture_file(l, sheet_picture(l, k), l->quality[q], &file[q * cols + k]);
	}
	if (r == 0)
		r = sheet_save(&s, l, "fig3.svg");
	for (int i = 0; i < rows * cols; i++)
		buf_done(&file[i]);
	return r;
}

static int write_claims(const struct cross *c)
{
	const struct lab *l = c->l;
	FILE *f = lab_create(l, "claims-cross-quality.tsv");
	int regions = 0, best, low = 0, high = l->n_qualities - 1, top = c->n_test - 1;
	bool in_order = true;
	int last_best = -1;
	double own, from_low;
	char found[160] = "";

	if (!f)
		return -EIO;
	for (int t = 0; t < c->n_test; regions++) {
		int to = region(c, t, &best);

		snprintf(found + strlen(found), sizeof(found) - strlen(found), "%s%d is best at %d to %d",
			t ? "; " : "", l->quality[best], c->test[t], c->test[to]);
		in_order &= best > last_best;
		last_best = best;
		t = to + 1;
	}
	lab_claim(f,
		regions == l->n_qualities && in_order ? REPRODUCED
		: regions > 1			      ? DIFFERS
						      : NOT_REPRODUCED,
		"RQ2: test quality falls into three regions, each with its own best training quality",
		"%d regions: %s", regions, found);
	own = c->mean[high][top];
	from_low = c->mean[low][top];
	lab_claim(f, own - c->mean[l->n_qualities / 2][top] < 2 ? REPRODUCED : NOT_REPRODUCED,
		"RQ2: training at middle quality generalises as well as at full quality",
		"on originals: trained at %d %.1f %%, at %d %.1f %%, at %d %.1f %%", l->quality[low],
		from_low, l->quality[l->n_qualities / 2], c->mean[l->n_qualities / 2][top],
		l->quality[high], own);
	return lab_close_file(f, "claims-cross-quality.tsv");
}

static int cross(struct lab *l)
{
	_cleanup_free_ struct cross *c = calloc(1, sizeof(*c));
	FILE *csv = lab_create(l, "cross-quality.csv");
	int r = c && csv ? 0 : -ENOMEM;

	if (r == 0) {
		c->l = l;
		c->test = l->quick ? test_quick : test_full;
		c->n_test = l->quick ? (int)ARRAY_SIZE(test_quick) : TESTS_MAX;
		fputs("training_quality,test_quality,seed,accuracy_percent\n", csv);
	}
	for (int t = 0; r == 0 && t < c->n_test; t++)
		r = lab_test_at(l, c->test[t], &c->at[t]);
	for (int q = 0; r == 0 && q < l->n_qualities; q++)
		r = run_model(c, q, csv);
	lab_progress_end(l);
	for (int t = 0; c && t < c->n_test; t++)
		dataset_done(&c->at[t]);
	if (csv && lab_close_file(csv, "cross-quality.csv") < 0)
		r = -EIO;
	if (r == 0)
		r = draw_lines(c);
	if (r == 0)
		r = draw_sheet(l);
	return r < 0 ? r : write_claims(c);
}

const struct verb verb_cross = {
	"cross-quality", "trained at one quality, tested at every one (Fig. 3, 4)", cross_runs, NULL,
	cross};
