/*
 * sensitivity: what compression does to the loss of single pictures (the study's Fig. 5), and five
 * kinds of pictures by their curves (Fig. 6). Both for pictures that the network was trained on and
 * for held-out ones: the daemon meets both.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/codec/input.h"
#include "common/codec/jpeg.h"
#include "common/log.h"
#include "tools/lab/kmeans.h"
#include "tools/lab/figures.h"
#include "tools/lab/uniform.h"
#include "tools/lab/verbs.h"

#define QUALITIES 11
#define CLUSTERS 5
#define RESTARTS 10
#define PICTURES 5000  /* of each kind at most */
#define ROWS 200       /* of the large heat map */
#define LOSS_SHOWN 4.0 /* nats at the end of the colour scale */
#define EXAMPLE_AT 5   /* the quality an example is shown at, beside the original */

static const int at_quality[QUALITIES] = {1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90};

struct losses {
	struct lab *l;
	enum split split;
	const char *name; /* "heldout", "training" */
	int n;
	double *loss;		/* [n][QUALITIES + 1]: at the qualities, then at the original */
	struct net_work **work; /* [threads] */
};

static double sensitivity_runs(const struct lab *l)
{
	(void)l;
	return 1;
}

static int lose(struct lab *l, void *arg, int i, struct scratch *s)
{
	struct losses *o = arg;
	size_t size = (size_t)l->shape.size * (size_t)l->shape.size * 3;
	int k = l->shape.classes, label = l->data.split[o->split].v[i].label, own;
	_cleanup_free_ uint8_t *rgb = malloc((QUALITIES + 1) * size);
	_cleanup_free_ float *logits = malloc((QUALITIES + 1) * (size_t)k * sizeof(float));
	int r = lab_decode(l, o->split, i, &s->original, &own);

	if (r < 0 || !rgb || !logits)
		return r < 0 ? r : -ENOMEM;
	for (int q = 0; r == 0 && q < QUALITIES; q++) {
		struct jpeg_tables t;

		tables_standard(MIN(at_quality[q], own), &t);
		r = coef_requantise(&s->original, &t, &s->rung);
		if (r == 0)
			r = input_from_coef(&s->rung, l->shape.size, rgb + (size_t)q * size);
	}
	if (r == 0)
		r = input_from_coef(&s->original, l->shape.size, rgb + QUALITIES * size);
	if (r < 0)
		return r;
	net_forward(o->work[s->member], rgb, QUALITIES + 1, logits);
	for (int q = 0; q <= QUALITIES; q++) {
		float *row = logits + q * k, own_logit = row[label];

		o->loss[i * (QUALITIES + 1) + q] = (double)(softmax(row, k) - own_logit);
	}
	return 0;
}

/* Index of quality 50 in at_quality. */
static int middle(void)
{
	int i = 0;

	while (at_quality[i] != 50)
		i++;
	return i;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int draw_sorted(const struct losses *o, FILE *claims)
{
	_cleanup_free_ double *v = malloc(3 * (size_t)o->n * sizeof(double)),
			      *x = malloc((size_t)o->n * sizeof(double));
	static const char *const names[] = {"loss at the original", "loss at quality 50", "difference"};
	bool heldout = o->split == TEST;
	struct plot *p = plot_new(heldout ? "Fig. 5: losses, each sorted; held-out pictures"
					  : "Fig. 5: losses, each sorted; pictures trained on",
		"pictures (%)", "cross-entropy (nats)");
	int better = 0, same = 0;
	char file[64], note[160];

	if (!v || !x || !p)
		return -ENOMEM;
	for (int i = 0; i < o->n; i++) {
		const double *row = o->loss + i * (QUALITIES + 1);

		x[i] = 100.0 * i / MAX(o->n - 1, 1);
		v[i] = row[QUALITIES];
		v[o->n + i] = row[middle()];
		v[2 * o->n + i] = row[middle()] - row[QUALITIES];
		better += v[2 * o->n + i] < -0.01;
		same += fabs(v[2 * o->n + i]) <= 0.01;
	}
	for (int k = 0; k < 3; k++) {
		qsort(v + k * o->n, (size_t)o->n, sizeof(double), ascending);
		plot_series(p, names[k], o->n, x, v + k * o->n, NULL);
	}
	snprintf(note, sizeof(note),
		"%.0f %% of the pictures lose less at quality 50 than at the original, %.0f %% the same "
		"within "
		".01, %.0f %% more.",
		100.0 * better / o->n, 100.0 * same / o->n, 100.0 * (o->n - better - same) / o->n);
	plot_note(p, note);
	lab_claim(claims, better > o->n / 20 && better + same < o->n ? REPRODUCED : NOT_REPRODUCED,
		heldout ? "RQ3: pictures differ in sensitivity; some are even classified better when "
			  "compressed (held-out)"
			: "RQ3: pictures differ in sensitivity; some are even classified better when "
			  "compressed (trained on)",
		"%s", note);
	snprintf(file, sizeof(file), "fig5-%s.svg", o->name);
	return plot_save(p, o->l, file);
}

/* What a cluster's mean curve says, in words. */
static void describe(const double *c, double original, char *ret, size_t size)
{
	double at5 = c[1] - original, at50 = c[middle()] - original;

	if (c[1] < original - 0.1)
		snprintf(ret, size, "better when compressed");
	else if (at5 < 0.5 && original < 0.7)
		snprintf(ret, size, "keeps its loss down to quality 5");
	else if (original > 1.5)
		snprintf(ret, size,
			at5 < 0.5 ? "wrong at every quality" : "wrong already, worse when compressed");
	else if (at50 > 0.5)
		snprintf(ret, size, "lost at quality 50 already");
	else
		snprintf(ret, size, "keeps its loss at 50, loses it below");
}

struct clusters {
	int *label;			    /* [n] */
	double centre[CLUSTERS][QUALITIES]; /* mean loss at each quality */
	double original[CLUSTERS];
	int size[CLUSTERS], example[CLUSTERS]; /* example: the picture nearest to the centre */
	char words[CLUSTERS][64];
};

static int find_clusters(const struct losses *o, struct clusters *c)
{
	_cleanup_free_ double *point = malloc((size_t)o->n * QUALITIES * sizeof(double));
	double nearest[CLUSTERS], sum;

	c->label = malloc((size_t)o->n * sizeof(int));
	if (!point || !c->label)
		return -ENOMEM;
	for (int i = 0; i < o->n; i++)
		memcpy(point + i * QUALITIES, o->loss + i * (QUALITIES + 1), QUALITIES * sizeof(double));
	sum = kmeans(point, o->n, QUALITIES, CLUSTERS, RESTARTS, o->l->seed, c->label, &c->centre[0][0]);
	if (sum < 0)
		return (int)sum;
	for (int k = 0; k < CLUSTERS; k++)
		nearest[k] = INFINITY;
	for (int i = 0; i < o->n; i++) {
		int k = c->label[i];
		double d = 0;

		for (int q = 0; q < QUALITIES; q++)
			d += pow(point[i * QUALITIES + q] - c->centre[k][q], 2);
		if (d < nearest[k]) {
			nearest[k] = d;
			c->example[k] = i;
		}
		c->size[k]++;
		c->original[k] += o->loss[i * (QUALITIES + 1) + QUALITIES];
	}
	for (int k = 0; k < CLUSTERS; k++) {
		c->original[k] /= MAX(c->size[k], 1);
		describe(c->centre[k], c->original[k], c->words[k], sizeof(c->words[k]));
	}
	return 0;
}

static void quality_names(char names[QUALITIES][8], const char *ret[QUALITIES])
{
	for (int q = 0; q < QUALITIES; q++) {
		snprintf(names[q], sizeof(names[q]), "%d", at_quality[q]);
		ret[q] = names[q];
	}
}

/* The five mean curves, values written in. */
static int draw_means(const struct losses *o, const struct clusters *c)
{
	char names[QUALITIES][8], row[CLUSTERS][32], file[64], note[160];
	const char *col_name[QUALITIES], *row_name[CLUSTERS];
	struct heat h = {.title = o->split == TEST
					  ? "Fig. 6: mean loss of each cluster; held-out pictures"
					  : "Fig. 6: mean loss of each cluster; pictures trained on",
		.x_label = "quality",
		.y_label = "cluster",
		.unit = "nats",
		.rows = CLUSTERS,
		.cols = QUALITIES,
		.value = &c->centre[0][0],
		.row_name = row_name,
		.col_name = col_name,
		.high = LOSS_SHOWN,
		.with_text = true,
		.note = note};

	quality_names(names, col_name);
	for (int k = 0; k < CLUSTERS; k++) {
		snprintf(row[k], sizeof(row[k]), "%d: %.1f %%", k + 1, 100.0 * c->size[k] / o->n);
		row_name[k] = row[k];
	}
	snprintf(note, sizeof(note),
		"k-means++ with %d restarts on %d curves, ordered by mean loss; percent: share of the "
		"pictures.",
		RESTARTS, o->n);
	snprintf(file, sizeof(file), "fig6-clusters-%s.svg", o->name);
	return heat_save(&h, o->l, file);
}

/* Single pictures, a sample of each cluster in proportion to its size. */
static int draw_pictures(const struct losses *o, const struct clusters *c)
{
	int rows = MIN(o->n, ROWS), at = 0;
	_cleanup_free_ double *value = calloc((size_t)rows * QUALITIES, sizeof(double));
	_cleanup_free_ const char **row_name = calloc((size_t)rows, sizeof(char *));
	char names[QUALITIES][8], label[CLUSTERS][16], file[64];
	const char *col_name[QUALITIES];
	struct heat h = {
		.title = o->split == TEST
				 ? "Fig. 6: loss of single pictures by cluster; held-out pictures"
				 : "Fig. 6: loss of single pictures by cluster; pictures trained on",
		.x_label = "quality",
		.y_label = "pictures",
		.unit = "nats",
		.rows = rows,
		.cols = QUALITIES,
		.value = value,
		.row_name = row_name,
		.col_name = col_name,
		.high = LOSS_SHOWN,
		.note = "Every so many pictures of each cluster; each row is one picture."};

	if (!value || !row_name)
		return -ENOMEM;
	quality_names(names, col_name);
	for (int k = 0, seen = 0; k < CLUSTERS; k++) {
		int first = at;

		for (int i = 0; i < o->n; i++)
			if (c->label[i] == k && (int64_t)seen++ * rows / o->n == at && at < rows)
				memcpy(value + at++ * QUALITIES, o->loss + i * (QUALITIES + 1),
					QUALITIES * sizeof(double));
		snprintf(label[k], sizeof(label[k]), "cluster %d", k + 1);
		if (at > first + 5)
			row_name[(first + at) / 2] = label[k];
	}
	h.rows = at;
	snprintf(file, sizeof(file), "fig6-pictures-%s.svg", o->name);
	return heat_save(&h, o->l, file);
}

static int example_file(const struct losses *o, int i, int quality, struct buf *ret)
{
	_cleanup_coef_ struct coef_image im = {0};
	struct jpeg_tables t;
	int own, r = lab_decode(o->l, o->split, i, &im, &own);

	tables_standard(MIN(quality, own), &t);
	if (r == 0)
		r = coef_requantise(&im, &t, &im);
	return r < 0 ? r : jpeg_write_file(&im, &t, ret);
}

static int draw_examples(const struct losses *o, const struct clusters *c)
{
	struct buf file[2 * CLUSTERS] = {0};
	static const char *const rows[] = {"original", "quality 5"};
	char col[CLUSTERS][96], name[64], cap[CLUSTERS][64];
	const char *col_name[CLUSTERS], *caption[2 * CLUSTERS];
	struct sheet s = {.title = o->split == TEST
					   ? "The picture nearest to each cluster's centre; held-out"
					   : "The picture nearest to each cluster's centre; trained on",
		.rows = 2,
		.cols = CLUSTERS,
		.cell = 128,
		.jpeg = file,
		.row_name = rows,
		.col_name = col_name,
		.caption = caption};
	int r = 0;

	for (int k = 0; r == 0 && k < CLUSTERS; k++) {
		const double *row = o->loss + c->example[k] * (QUALITIES + 1);

		snprintf(col[k], sizeof(col[k]), "%d: %s", k + 1,
			o->l->data.name[o->l->data.split[o->split].v[c->example[k]].label]);
		col_name[k] = col[k];
		snprintf(cap[k], sizeof(cap[k]), "loss %.2f to %.2f", row[QUALITIES], row[1]);
		caption[k] = NULL;
		caption[CLUSTERS + k] = cap[k];
		r = example_file(o, c->example[k], 95, &file[k]);
		if (r == 0)
			r = example_file(o, c->example[k], EXAMPLE_AT, &file[CLUSTERS + k]);
	}
	snprintf(name, sizeof(name), "fig6-examples-%s.svg", o->name);
	if (r == 0)
		r = sheet_save(&s, o->l, name);
	for (int i = 0; i < 2 * CLUSTERS; i++)
		buf_done(&file[i]);
	return r;
}

static int write_clusters(const struct losses *o, const struct clusters *c, FILE *csv, FILE *claims)
{
	char all[400] = "";
	bool keeps = false, better = false;

	for (int k = 0; k < CLUSTERS; k++) {
		fprintf(csv, "%s,%d,%d,%.4f", o->name, k + 1, c->size[k], c->original[k]);
		for (int q = 0; q < QUALITIES; q++)
			fprintf(csv, ",%.4f", c->centre[k][q]);
		fprintf(csv, ",%s\n", c->words[k]);
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%d (%.1f %%): %s", k ? "; " : "",
			k + 1, 100.0 * c->size[k] / o->n, c->words[k]);
		keeps |= !strncmp(c->words[k], "keeps its loss down", 19);
		better |= !strncmp(c->words[k], "better", 6);
	}
	return lab_claim(claims,
		keeps && better ? REPRODUCED
		: keeps		? DIFFERS
				: NOT_REPRODUCED,
		o->split == TEST
			? "RQ3: five kinds, from robust at quality 5 to better when compressed (held-out)"
			: "RQ3: five kinds, from robust at quality 5 to better when compressed (trained "
			  "on)",
		"%s", all);
}

static int study(struct losses *o, FILE *csv, FILE *claims)
{
	struct clusters c = {0};
	int r;

	o->n = MIN(o->l->data.split[o->split].n, PICTURES);
	if (o->split == TEST)
		o->n = MIN(o->n, o->l->test.n);
	o->loss = calloc((size_t)o->n * (QUALITIES + 1), sizeof(double));
	r = o->loss ? lab_parallel(o->l, o->n, lose, o) : -ENOMEM;
	if (r == 0)
		r = draw_sorted(o, claims);
	if (r == 0)
		r = find_clusters(o, &c);
	if (r == -EINVAL)
		log_error("sensitivity: %d %s pictures, %d at least are needed for the clusters", o->n,
			o->name, CLUSTERS);
	if (r == 0)
		r = draw_means(o, &c);
	if (r == 0)
		r = draw_pictures(o, &c);
	if (r == 0)
		r = draw_examples(o, &c);
	if (r == 0)
		r = write_clusters(o, &c, csv, claims);
	free(c.label);
	free(o->loss);
	o->loss = NULL;
	return r;
}

/* Trains on every training picture as it came. */
static int train_on_originals(struct lab *l, float *params)
{
	int n = l->data.split[TRAIN].n, r;
	_cleanup_free_ struct choice *v = malloc((size_t)n * sizeof(*v));
	_cleanup_dataset_ struct dataset d = {0};
	const struct dataset *eval[] = {&l->test};
	double accuracy;

	if (!v)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		v[i] = (struct choice){i, 100};
	r = choice_dataset(l, NULL, v, n, &d);
	return r < 0 ? r
		     : lab_run(l, &d, l->seed, l->steps, eval, 1, &accuracy, params,
			       "trained on originals");
}

static int sensitivity(struct lab *l)
{
	struct net_layout at;
	_cleanup_free_ float *params = NULL;
	struct losses heldout = {.l = l, .split = TEST, .name = "heldout"},
		      training = {.l = l, .split = TRAIN, .name = "training"};
	_cleanup_free_ struct net_work **work = calloc((size_t)l->threads, sizeof(*work));
	FILE *csv = lab_create(l, "sensitivity.csv"), *claims = lab_create(l, "claims-sensitivity.tsv");
	int r = csv && claims && work ? 0 : -EIO;

	net_layout(&l->shape, &at);
	params = malloc(at.total * sizeof(float));
	for (int m = 0; r == 0 && m < l->threads; m++)
		if (!(work[m] = net_work_new(&l->shape, false)))
			r = -ENOMEM;
	if (r == 0)
		r = params ? train_on_originals(l, params) : -ENOMEM;
	for (int m = 0; r == 0 && m < l->threads; m++)
		net_use(work[m], params);
	heldout.work = training.work = work;
	lab_progress_end(l);
	if (r == 0) {
		fputs("pictures,cluster,size,loss_original_nats", csv);
		for (int q = 0; q < QUALITIES; q++)
			fprintf(csv, ",loss_q%d_nats", at_quality[q]);
		fputs(",description\n", csv);
		r = study(&heldout, csv, claims);
	}
	if (r == 0)
		r = study(&training, csv, claims);
	for (int m = 0; work && m < l->threads; m++)
		net_work_free(work[m]);
	if ((csv && lab_close_file(csv, "sensitivity.csv") < 0) ||
		(claims && lab_close_file(claims, "claims-sensitivity.tsv") < 0))
		r = -EIO;
	return r;
}

const struct verb verb_sensitivity = {"sensitivity",
	"what compression does to single pictures, in five clusters (Fig. 5, 6)", sensitivity_runs, NULL,
	sensitivity};
