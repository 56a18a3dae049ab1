#include "tools/lab/uniform.h"

#include <errno.h>
#include <string.h>

#include "common/codec/input.h"
#include "common/codec/jpeg.h"
#include "common/rng.h"

#define MARKERS(planes) (2 + (10 + 3 * (planes)) + (8 + 2 * (planes)) + 2) /* SOI SOF SOS EOI */
#define FIT_ON 4000 /* pictures: more change nothing */

void rates_done(struct rates *r)
{
	for (int q = 0; q <= 100; q++)
		for (int c = 0; c < 2; c++)
			free(r->at[q].bytes[c]);
	memset(r->at, 0, sizeof(r->at));
}

struct count_job {
	struct rates *r;
	int quality;
	bool fitting;
	struct symbol_counts *sum; /* [threads] */
};

/* The picture at a quality, or as it came when that is lower. */
static int picture_at(const struct lab *l, enum split s, int i, int quality, struct coef_image *im)
{
	struct jpeg_tables t;
	int own, r = lab_decode(l, s, i, im, &own);

	if (r < 0 || (quality >= own && own < 100))
		return r;
	tables_standard(quality, &t);
	return coef_requantise(im, &t, im);
}

static int count_one(struct lab *l, void *arg, int i, struct scratch *s)
{
	struct count_job *job = arg;
	struct rate_column *col = &job->r->at[job->quality];
	struct symbol_counts c;
	struct jpeg_tables standard;
	uint32_t file, scan;
	int r = picture_at(l, TRAIN, i, job->quality, &s->original), planes = s->original.n_planes;

	if (r < 0)
		return r;
	coef_count(&s->original, &c);
	if (job->fitting) {
		counts_add(&job->sum[s->member], &c);
		return 0;
	}
	tables_standard(job->quality, &standard);
	col->bytes[PLAIN][i] = scan_bytes(&c, &standard) + (uint32_t)MARKERS(planes);
	scan = scan_bytes(&c, &col->fitted);
	file = scan_bytes_optimal(&c, planes == 1 ? 1 : 2) +
	       jpeg_file_overhead(planes, s->original.orientation);
	col->bytes[OURS][i] = MIN(scan, file);
	return 0;
}

int rates_at(struct rates *r, int quality)
{
	struct rate_column *col = &r->at[quality];
	int n = r->l->data.split[TRAIN].n, e;
	_cleanup_free_ struct symbol_counts *sum = calloc((size_t)r->l->threads, sizeof(*sum));
	struct count_job job = {r, quality, true, sum};
	_cleanup_buf_ struct buf b = {0};

	if (col->bytes[PLAIN])
		return 0;
	if (!sum)
		return -ENOMEM;
	e = lab_parallel(r->l, MIN(n, FIT_ON), count_one, &job);
	if (e < 0)
		return e;
	for (int m = 1; m < r->l->threads; m++)
		counts_add(&sum[0], &sum[m]);
	tables_standard(quality, &col->fitted);
	huffman_fit(&sum[0], &col->fitted);
	tables_write(&col->fitted, &b);
	col->tables[OURS] = (double)b.len;
	for (int c = 0; c < 2; c++)
		if (!(col->bytes[c] = malloc((size_t)n * sizeof(uint32_t))))
			return -ENOMEM;
	job.fitting = false;
	return lab_parallel(r->l, n, count_one, &job);
}

static double frame(enum coder c)
{
	return c == PLAIN ? PLAIN_FRAME_BYTES : FRAME_BYTES;
}

int fill_budget(struct rates *r, enum coder c, double budget, const struct choice *candidate, int n)
{
	bool used[101] = {false};
	double bytes = 0;

	for (int i = 0; i < n; i++) {
		const struct rate_column *col = &r->at[candidate[i].quality];
		bool first = !used[candidate[i].quality];

		bytes +=
			(double)col->bytes[c][candidate[i].index] + frame(c) + (first ? col->tables[c] : 0);
		if (bytes > budget)
			return i;
		used[candidate[i].quality] = true;
	}
	return n;
}

double choice_bytes(struct rates *r, enum coder c, const struct choice *v, int n)
{
	bool used[101] = {false};
	double bytes = 0;

	for (int i = 0; i < n; i++) {
		const struct rate_column *col = &r->at[v[i].quality];

		bytes += (double)col->bytes[c][v[i].index] + frame(c) +
			 (used[v[i].quality] ? 0 : col->tables[c]);
		used[v[i].quality] = true;
	}
	return bytes;
}

static int make_choice(struct lab *l, void *arg, int i, struct scratch *s, uint8_t *rgb, int *label)
{
	const struct choice *v = (const struct choice *)arg + i;
	int r = picture_at(l, TRAIN, v->index, v->quality, &s->original);

	*label = l->data.split[TRAIN].v[v->index].label;
	return r < 0 ? r : input_from_coef(&s->original, l->shape.size, rgb);
}

int choice_dataset(struct lab *l, const struct choice *v, int n, struct dataset *ret)
{
	int r = lab_dataset(l, n, ret);

	if (r == 0)
		r = lab_fill(l, ret, make_choice, (void *)v);
	if (r == 0)
		dataset_balance(ret);
	return r;
}

struct test_job {
	const uint8_t *quality;
	int n;
	uint64_t seed;
};

static int make_test(struct lab *l, void *arg, int i, struct scratch *s, uint8_t *rgb, int *label)
{
	const struct test_job *job = arg;
	struct rng rng;
	int r;

	rng_init(&rng, job->seed * UINT64_C(1000003) + (uint64_t)i);
	r = picture_at(l, TEST, i, job->quality[rng_below(&rng, (uint32_t)job->n)], &s->original);
	*label = l->data.split[TEST].v[i].label;
	return r < 0 ? r : input_from_coef(&s->original, l->shape.size, rgb);
}

int choice_test(struct lab *l, const uint8_t *quality, int n, uint64_t seed, struct dataset *ret)
{
	struct test_job job = {quality, n, seed};
	int r = lab_dataset(l, l->test.n, ret);

	return r < 0 ? r : lab_fill(l, ret, make_test, &job);
}
