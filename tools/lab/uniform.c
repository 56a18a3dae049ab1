#include "tools/lab/uniform.h"

#include <errno.h>
#include <string.h>

#include "common/codec/input.h"
#include "common/codec/jpeg.h"
#include "common/rng.h"

#define MARKERS(planes) (2 + (10 + 3 * (planes)) + (8 + 2 * (planes)) + 2) /* SOI SOF SOS EOI */
#define FIT_ON		1000 /* pictures: more change nothing */
#define LEARN_ON 200
#define COUNT_AT_ONCE	256

void rates_done(struct rates *r)
{
	for (int q = 0; q <= 100; q++)
		for (int c = 0; c < 2; c++)
			free(r->at[q].bytes[c]);
	memset(r->at, 0, sizeof(r->at));
}

/* The picture at a quality, by our coder's steps or (ours NULL) plain, or as it came when that is lower. */
static int picture_at(const struct lab *l, const struct rates *ours, enum split s, int i, int quality,
	struct coef_image *im)
{
	struct jpeg_tables t;
	int own, r = lab_decode(l, s, i, im, &own);

	if (r < 0 || (quality >= own && own < 100))
		return r;
	if (ours)
		return coef_requantise(im, &ours->at[quality].ours, im);
	tables_standard(quality, &t);
	return coef_requantise(im, &t, im);
}

struct fit_job {
	struct rates *r;
	struct pack_counts *sum; /* [threads] */
};

static int measure_one(struct lab *l, void *arg, int i, struct scratch *s)
{
	struct fit_job *job = arg;
	int own, r = lab_decode(l, TRAIN, i, &s->original, &own);

	if (r == 0)
		pack_measure(&s->original, &job->sum[s->member]);
	return r;
}

static int fit_one(struct lab *l, void *arg, int i, struct scratch *s)
{
	struct fit_job *job = arg;
	int own, r = lab_decode(l, TRAIN, i, &s->original, &own);

	for (int q = 0; r == 0 && q < LADDER_RUNGS; q++) {
		r = coef_requantise(&s->original, &job->r->at[LADDER[q]].ours, &s->rung);
		if (r == 0)
			pack_count(&s->rung, &job->r->pack, &job->sum[s->member]);
	}
	return r;
}

/* One model for all qualities, as a device has it, but from more pictures than it needs. */
static int fit_pack(struct rates *r)
{
	int n = MIN(r->l->data.split[TRAIN].n, FIT_ON), e;
	_cleanup_free_ struct pack_counts *sum = calloc((size_t)r->l->threads, sizeof(*sum));
	struct fit_job job = {r, sum};
	struct table_set set = {.made = r->network.images > 0};
	_cleanup_buf_ struct buf b = {0};

	if (!sum)
		return -ENOMEM;
	for (int q = 0; q < LADDER_RUNGS; q++)
		rates_steps(r, LADDER[q]);
	e = lab_parallel(r->l, n, measure_one, &job);
	for (int m = 1; m < r->l->threads; m++)
		pack_counts_add(&sum[0], &sum[m]);
	pack_set_scales(&sum[0], &r->pack);
	memset(sum, 0, (size_t)r->l->threads * sizeof(*sum));
	if (e == 0)
		e = lab_parallel(r->l, n, fit_one, &job);
	for (int m = 1; m < r->l->threads; m++)
		pack_counts_add(&sum[0], &sum[m]);
	pack_fit(&sum[0], &r->pack);
	set.pack = r->pack;
	table_set_write(&set, &b);
	r->table_bytes = (double)b.len;
	return e < 0 ? e : b.failed ? -ENOMEM : 0;
}

struct count_job {
	struct rates *r;
	enum coder coder;
	const struct choice *v;
};

static int count_one(struct lab *l, void *arg, int i, struct scratch *s)
{
	struct count_job *job = arg;
	const struct choice *v = &job->v[i];
	struct rate_column *col = &job->r->at[v->quality];
	uint32_t *bytes = &col->bytes[job->coder][v->index];
	struct symbol_counts c;
	struct jpeg_tables plain;
	_cleanup_buf_ struct buf packed = {0};
	int r;

	if (*bytes)
		return 0;
	r = picture_at(
		l, job->coder == OURS ? job->r : NULL, TRAIN, v->index, v->quality, &s->original);
	if (r < 0)
		return r;
	if (job->coder == PLAIN) {
		coef_count(&s->original, &c);
		tables_standard(v->quality, &plain);
		*bytes = scan_bytes(&c, &plain) + (uint32_t)MARKERS(s->original.n_planes);
		return 0;
	}
	r = pack_write(&s->original, &job->r->pack, 0, &packed);
	*bytes = (uint32_t)packed.len;
	return r;
}

/* Counts the bytes of a choice that are not known yet. No picture may be in it twice. */
static int count(struct rates *r, enum coder c, const struct choice *v, int n)
{
	struct count_job job = {r, c, v};

	return lab_parallel(r->l, n, count_one, &job);
}

void rates_steps(struct rates *r, int quality)
{
	struct jpeg_tables *t = &r->at[quality].ours;

	if (t->quant[0][0])
		return;
	tables_standard(quality, t);
	if (r->network.images > 0 && quality < 100)
		steps_make(&r->network, quality, STEP_POWER, t);
}

int rates_at(struct rates *r, int quality)
{
	struct rate_column *col = &r->at[quality];
	int n = r->l->data.split[TRAIN].n, e = r->table_bytes ? 0 : fit_pack(r);

	if (e < 0 || col->bytes[PLAIN])
		return e;
	rates_steps(r, quality);
	for (int c = 0; c < 2; c++)
		if (!(col->bytes[c] = calloc((size_t)n, sizeof(uint32_t))))
			return -ENOMEM;
	return 0;
}

struct learn_job {
	struct rates *r;
	struct scorer *scorer;	 /* [threads] */
	struct sensitivity *sum; /* [threads] */
};

static int learn_one(struct lab *l, void *arg, int i, struct scratch *s)
{
	struct learn_job *job = arg;
	int n = l->data.split[TRAIN].n, own;
	int r = lab_decode(l, TRAIN, (int)((int64_t)i * n / MIN(LEARN_ON, n)), &s->original, &own);

	return r < 0 ? r : sensitivity_add(&job->scorer[s->member], &s->original, &job->sum[s->member]);
}

int rates_learn(struct rates *rates)
{
	struct lab *l = rates->l;
	int n = l->data.split[TRAIN].n, r;
	_cleanup_free_ struct choice *v = malloc((size_t)n * sizeof(*v));
	_cleanup_free_ struct scorer *scorer = calloc((size_t)l->threads, sizeof(*scorer));
	_cleanup_free_ struct sensitivity *sum = calloc((size_t)l->threads, sizeof(*sum));
	struct learn_job job = {rates, scorer, sum};
	_cleanup_dataset_ struct dataset d = {0};
	_cleanup_free_ float *params = NULL;
	struct net_layout at;

	net_layout(&l->shape, &at);
	params = malloc(at.total * sizeof(float));
	if (!v || !scorer || !sum || !params)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		v[i] = (struct choice){i, 100};
	r = choice_dataset(l, NULL, v, n, &d);
	if (r == 0)
		r = lab_run(
			l, &d, l->seed, l->steps, NULL, 0, NULL, params, "trained on originals, for steps");
	for (int m = 0; r == 0 && m < l->threads; m++)
		r = scorer_set_model(&scorer[m], &l->shape, params);
	if (r == 0)
		r = lab_parallel(l, MIN(LEARN_ON, n), learn_one, &job);
	for (int m = 0; m < l->threads; m++) {
		sensitivity_merge(&rates->network, &sum[m]);
		scorer_done(&scorer[m]);
	}
	return r;
}

static double frame(enum coder c)
{
	return c == PLAIN ? PLAIN_FRAME_BYTES : FRAME_BYTES;
}

int fill_budget(struct rates *r, enum coder c, double budget, const struct choice *candidate, int n)
{
	double bytes = c == OURS ? r->table_bytes : 0;

	for (int i = 0; i < n; i++) {
		int e = i % COUNT_AT_ONCE ? 0
					  : count(r, c, candidate + i, MIN(COUNT_AT_ONCE, n - i));

		if (e < 0)
			return e;
		bytes +=
			(double)r->at[candidate[i].quality].bytes[c][candidate[i].index] + frame(c);
		if (bytes > budget)
			return i;
	}
	return n;
}

int choice_bytes(struct rates *r, enum coder c, const struct choice *v, int n, double *ret)
{
	double bytes = c == OURS ? r->table_bytes : 0;
	int e = count(r, c, v, n);

	if (e < 0)
		return e;
	for (int i = 0; i < n; i++)
		bytes += (double)r->at[v[i].quality].bytes[c][v[i].index] + frame(c);
	*ret = bytes;
	return 0;
}

struct choice_job {
	const struct rates *ours;
	const struct choice *v;
};

static int make_choice(struct lab *l, void *arg, int i, struct scratch *s, uint8_t *rgb, int *label)
{
	const struct choice_job *job = arg;
	const struct choice *v = &job->v[i];
	int r = picture_at(l, job->ours, TRAIN, v->index, v->quality, &s->original);

	*label = l->data.split[TRAIN].v[v->index].label;
	return r < 0 ? r : input_from_coef(&s->original, l->shape.size, rgb);
}

int choice_dataset(
	struct lab *l, const struct rates *ours, const struct choice *v, int n, struct dataset *ret)
{
	_cleanup_free_ struct choice *labelled = malloc((size_t)MAX(n, 1) * sizeof(*labelled));
	struct choice_job job = {ours, labelled};
	int k = 0, r;

	if (!labelled)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		if (!l->data.split[TRAIN].v[v[i].index].unlabelled)
			labelled[k++] = v[i];
	r = lab_dataset(l, k, ret);
	if (r == 0)
		r = lab_fill(l, ret, make_choice, &job);
	if (r == 0)
		dataset_balance(ret, NULL);
	return r;
}

struct test_job {
	const struct rates *ours;
	const uint8_t *quality;
	int n;
	uint64_t seed;
};

static int make_test(struct lab *l, void *arg, int i, struct scratch *s, uint8_t *rgb, int *label)
{
	const struct test_job *job = arg;
	struct rng rng;
	int r, quality;

	rng_init(&rng, job->seed * UINT64_C(1000003) + (uint64_t)i);
	quality = job->quality[rng_below(&rng, (uint32_t)job->n)];
	r = picture_at(l, job->ours, TEST, i, quality, &s->original);
	*label = l->data.split[TEST].v[i].label;
	return r < 0 ? r : input_from_coef(&s->original, l->shape.size, rgb);
}

int choice_test(struct lab *l, const struct rates *ours, const uint8_t *quality, int n, uint64_t seed,
	struct dataset *ret)
{
	struct test_job job = {ours, quality, n, seed};
	int r = lab_dataset(l, l->test.n, ret);

	return r < 0 ? r : lab_fill(l, ret, make_test, &job);
}
