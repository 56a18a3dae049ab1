#include "policy/score.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/codec/input.h"
#include "common/codec/jpeg.h"

void scorer_done(struct scorer *s)
{
	net_work_free(s->work);
	input_maker_free(s->maker);
	free(s->rgb);
	free(s->logits);
	s->work = NULL;
	s->maker = NULL;
	s->rgb = NULL;
	s->logits = NULL;
	s->params = NULL;
	coef_done(&s->rung);
}

int scorer_set_model(struct scorer *s, const struct net_shape *shape, const float *params)
{
	size_t batch = RUNGS_MAX + 1;

	scorer_done(s);
	if (!params)
		return 0;
	s->shape = *shape;
	s->work = net_work_new(shape, false);
	s->maker = input_maker_new();
	s->rgb = malloc(batch * (size_t)shape->size * (size_t)shape->size * 3);
	s->logits = malloc(batch * (size_t)shape->classes * sizeof(float));
	if (!s->work || !s->maker || !s->rgb || !s->logits) {
		scorer_done(s);
		return -ENOMEM;
	}
	s->params = params;
	return 0;
}

bool rung_is_own(const struct coef_image *im, int own_quality, int quality)
{
	return quality == own_quality && quality < 100 && coef_keepable(im);
}

void rung_tables(const struct scorer *s, const struct coef_image *im, int own_quality, int quality,
	struct jpeg_tables *ret)
{
	if (rung_is_own(im, own_quality, quality))
		coef_tables(im, ret);
	else if (!table_set_tables(&s->shared, quality, ret))
		tables_standard(quality, ret);
}

/* Whether the rung's steps are the shared set's, so that it can be packed. */
static bool fits_shared(const struct table_set *set, const struct coef_image *rung, int quality)
{
	const uint16_t(*quant)[DCT_SIZE2] = set->quant[ladder_nearest(quality)];

	if (!set->id || LADDER[ladder_nearest(quality)] != quality)
		return false;
	for (int i = 0; i < rung->n_planes; i++)
		for (int k = 0; k < DCT_SIZE2; k++)
			if (rung->plane[i].quant[k] != quant[i > 0][JPEG_NATURAL_ORDER[k]])
				return false;
	return true;
}

/* Whether the image at that rung, re-quantised or as captured, can be packed. */
static bool packable(const struct scorer *s, const struct coef_image *rung, int quality, bool own_tables)
{
	return s->shared.id && LADDER[ladder_nearest(quality)] == quality &&
		(!own_tables || fits_shared(&s->shared, rung, quality));
}

uint32_t rung_rate(
	const struct scorer *s, const struct coef_image *rung, int quality, bool own_tables, bool *ret_packed)
{
	struct symbol_counts counts;
	uint32_t bytes;

	*ret_packed = packable(s, rung, quality, own_tables);
	if (*ret_packed) {
		bytes = pack_bytes(rung, &s->shared.pack);
		if (!s->pack_max || bytes <= s->pack_max)
			return bytes;
		*ret_packed = false;
	}
	coef_count_bands(rung, &counts);
	return scan_bytes_optimal(&counts, rung->n_planes == 1 ? 1 : 2) +
	       jpeg_file_overhead(rung->n_planes, rung->orientation);
}

int rung_encode(struct scorer *s, const struct coef_image *im, int own_quality, int quality, struct buf *b,
	bool *ret_packed)
{
	bool own = rung_is_own(im, own_quality, quality);
	const struct coef_image *rung = own ? im : &s->rung;
	struct jpeg_tables t;
	size_t begin = b->len;
	int r;

	rung_tables(s, im, own_quality, quality, &t);
	r = own ? 0 : coef_requantise(im, &t, &s->rung);
	if (r < 0)
		return r;
	*ret_packed = packable(s, rung, quality, own);
	if (*ret_packed) {
		r = pack_write(rung, &s->shared.pack, b);
		if (r < 0 || !s->pack_max || b->len - begin <= s->pack_max)
			return r;
		b->len = begin;
		*ret_packed = false;
	}
	return jpeg_write_file(rung, &t, b);
}

float kl_divergence(const float *p, const float *q, int k)
{
	double sum = 0;

	for (int j = 0; j < k; j++)
		if (p[j] > 1e-12f)
			sum += (double)p[j] * log((double)p[j] / MAX((double)q[j], 1e-12));
	return (float)MAX(sum, 0);
}

/* Distance of the answer from the label's one-hot vector (Paul et al. 2021). */
static float el2n(const float *p, int k, int klass)
{
	float sum = 0;

	for (int j = 0; j < k; j++)
		sum += (p[j] - (j == klass)) * (p[j] - (j == klass));
	return sqrtf(sum);
}

static float entropy(const float *p, int k)
{
	double sum = 0;

	for (int j = 0; j < k; j++)
		if (p[j] > 1e-12f)
			sum -= (double)p[j] * log((double)p[j]);
	return (float)sum;
}

/* Runs the batch and fills kl and loss; input 0 is the capture itself. */
static void judge(struct scorer *s, int n, int klass, struct curve *c)
{
	int k = s->shape.classes;

	net_forward(s->work, s->params, s->rgb, n + 1, s->logits);
	for (int i = 0; i <= n; i++)
		softmax(s->logits + i * k, k);
	c->hardness = klass >= 0 ? el2n(s->logits, k, klass) : -1;
	c->entropy = entropy(s->logits, k);
	for (int i = 0; i < n; i++) {
		const float *rung = s->logits + (i + 1) * k;

		c->kl[i] = kl_divergence(s->logits, rung, k);
		if (klass >= 0)
			c->loss[i] = logf(MAX(s->logits[klass], 1e-12f)) -
				logf(MAX(rung[klass], 1e-12f));
	}
	c->scored = true;
}

int score(struct scorer *s, const struct coef_image *im, int own_quality, const uint8_t *quality,
	int n, int klass, struct pack_lessons *lessons, struct curve *ret)
{
	size_t input = (size_t)s->shape.size * (size_t)s->shape.size * 3;
	struct curve c = {.n = n, .hardness = -1, .entropy = -1};
	int r = s->params ? input_maker_load(s->maker, im, s->shape.size) : 0;
	bool teach = lessons && lessons_want_rungs(lessons, im), packed;

	if (r == 0 && s->params)
		input_make(s->maker, NULL, s->rgb);
	for (int i = 0; r == 0 && i < n; i++) {
		bool own = rung_is_own(im, own_quality, quality[i]);
		const struct coef_image *rung = own ? im : &s->rung;
		struct jpeg_tables t;

		rung_tables(s, im, own_quality, quality[i], &t);
		r = own ? 0 : coef_requantise_bands(im, &t, &s->rung);
		if (r < 0)
			break;
		c.quality[i] = quality[i];
		c.rate[i] = rung_rate(s, rung, quality[i], own, &packed);
		if (s->features)
			band_energy(im, rung, s->features->lost[i]);
		if (teach)
			lessons_count(lessons, rung);
		if (s->params)
			input_make(s->maker, own ? NULL : &t, s->rgb + (size_t)(i + 1) * input);
	}
	if (r < 0)
		return r;
	if (s->features) {
		band_energy(im, NULL, s->features->energy);
		s->features->n = n;
	}
	if (s->params)
		judge(s, n, klass, &c);
	*ret = c;
	return 0;
}
