#include "policy/score.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/codec/input.h"
#include "common/codec/jpeg.h"

#define COARSE	4      /* rungs from one to the next that are always asked about */
#define COUNTED 6      /* and from one to the next whose bytes are counted when few are, ... */
#define FIRST	3      /* ... from that one on */
#define BRACKET 0.005f /* nats: closer neighbours need nothing between them asked about */
#define GUESS	    3.0	   /* nats, of noise as strong as the picture; see scorer_set_input() */
#define GUESS_POWER 1.25
#define SIGNAL_MIN  64.0 /* variance: a picture that has none can lose none */
#define PACKED_SHARE 0.8  /* of a photograph's file at a high quality */
#define LARGE_APART 8	 /* bands: an estimate then takes less than a tenth of packing */

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
	net_use(s->work, params);
	s->params = params;
	return 0;
}

int scorer_set_input(struct scorer *s, int size)
{
	scorer_done(s);
	s->shape.size = size;
	s->maker = input_maker_new();
	s->rgb = malloc(2 * (size_t)size * (size_t)size * 3);
	if (!s->maker || !s->rgb) {
		scorer_done(s);
		return -ENOMEM;
	}
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

/* Whether the rung's steps are the shared set's; quality is in LADDER. */
static bool fits_shared(const struct table_set *set, const struct coef_image *rung, int quality)
{
	const uint16_t(*quant)[DCT_SIZE2] = set->quant[ladder_nearest(quality)];

	for (int i = 0; i < rung->n_planes; i++)
		for (int k = 0; k < DCT_SIZE2; k++)
			if (rung->plane[i].quant[k] != step_written(quant[i > 0][JPEG_NATURAL_ORDER[k]]))
				return false;
	return true;
}

/* What the image at that rung, re-quantised or as captured, can be packed with; NULL: nothing. */
static const struct table_set *set_to_pack_with(
	const struct scorer *s, const struct coef_image *rung, int quality, bool own_tables)
{
	if (!s->shared.id || !ladder_has(quality))
		return NULL;
	if (!own_tables || fits_shared(&s->shared, rung, quality))
		return &s->shared;
	for (int i = s->n_sets; i-- > 0;)
		if (fits_shared(&s->sets[i], rung, quality))
			return &s->sets[i];
	return NULL;
}

uint32_t rung_rate(
	const struct scorer *s, const struct coef_image *rung, int quality, bool own_tables, bool *ret_packed)
{
	const struct table_set *set = set_to_pack_with(s, rung, quality, own_tables);
	struct symbol_counts counts;
	uint32_t bytes;

	*ret_packed = set != NULL;
	if (set) {
		bytes = pack_bytes(rung, &set->pack);
		if (!s->pack_max || bytes <= s->pack_max)
			return bytes;
		*ret_packed = false;
	}
	coef_count_bands(rung, &counts);
	return scan_bytes_optimal(&counts, rung->n_planes == 1 ? 1 : 2) +
	       jpeg_file_overhead(rung->n_planes, rung->orientation);
}

/* Of large pictures an estimate costs little, and tells when packing them is no use. */
static bool never_fits(const struct scorer *s, const struct coef_image *rung, const struct table_set *set)
{
	return s->pack_max && coef_band_apart(rung) >= LARGE_APART &&
	       pack_bytes(rung, &set->pack) / 2 > s->pack_max;
}

/* Whether a file of so many bytes may well be packed once there is a set. */
static bool waits_for_set(const struct scorer *s, int quality, size_t bytes)
{
	return !s->shared.id && ladder_has(quality) && bytes <= (size_t)s->pack_max;
}

int rung_encode(struct scorer *s, const struct coef_image *im, int own_quality, int quality, bool loose,
	struct buf *b, struct coded *ret)
{
	bool own = rung_is_own(im, own_quality, quality);
	const struct coef_image *rung = own ? im : &s->rung;
	const struct table_set *set;
	struct jpeg_tables t;
	size_t was = b->len;
	int r;

	rung_tables(s, im, own_quality, quality, &t);
	r = own ? 0 : coef_requantise(im, &t, &s->rung);
	if (r < 0)
		return r;
	*ret = (struct coded){0};
	set = set_to_pack_with(s, rung, quality, own);
	if (set && never_fits(s, rung, set))
		set = NULL;
	if (set && !loose) {
		r = pack_write(rung, &set->pack, s->pack_max, b);
		ret->tables = r == -EFBIG ? 0 : set->id;
		if (r != -EFBIG)
			return r;
	}
	if (loose && own && s->file)
		buf_put(b, s->file->data, s->file->len);
	else
		r = jpeg_write_file(rung, &t, b);
	ret->loose = loose && (set || waits_for_set(s, quality, b->len - was));
	return b->failed ? -ENOMEM : r;
}

float kl_divergence(const float *p, const float *q, int k)
{
	double sum = 0;

	for (int j = 0; j < k; j++)
		if (p[j] > 1e-12f)
			sum += (double)p[j] * log((double)p[j] / MAX((double)q[j], 1e-12));
	return (float)MAX(sum, 0);
}

float answer_entropy(const float *p, int k)
{
	double sum = 0;

	for (int j = 0; j < k; j++)
		if (p[j] > 1e-12f)
			sum -= (double)p[j] * log((double)p[j]);
	return (float)sum;
}

/* A ladder on its way through the network. Slot 0 of rgb and logits is the capture's, where it
 * stays. */
struct ladder_run {
	struct scorer *s;
	struct curve *c;
	const struct jpeg_tables *tables; /* [n] */
	int own;			  /* the rung that is the capture itself, or -1 */
	int klass;
	int rung[RUNGS_MAX], n; /* of the batch in hand */
	bool known[RUNGS_MAX];
};

static void ask_for(struct ladder_run *l, int rung)
{
	size_t input = (size_t)l->s->shape.size * (size_t)l->s->shape.size * 3;

	input_make(l->s->maker, rung == l->own ? NULL : &l->tables[rung],
		l->s->rgb + (size_t)(l->n + 1) * input);
	l->rung[l->n++] = rung;
}

/* Runs the batch. The first one brings the capture with it. */
static void run_batch(struct ladder_run *l, bool first)
{
	struct scorer *s = l->s;
	struct curve *c = l->c;
	int k = s->shape.classes, from = first ? 0 : 1, n = l->n + 1 - from;
	size_t input = (size_t)s->shape.size * (size_t)s->shape.size * 3;

	net_forward(s->work, s->rgb + (size_t)from * input, n, s->logits + from * k);
	s->asked += n;
	for (int i = from; i <= l->n; i++)
		softmax(s->logits + i * k, k);
	for (int i = 0; i < l->n; i++) {
		const float *answer = s->logits + (i + 1) * k;
		int rung = l->rung[i];

		c->kl[rung] = kl_divergence(s->logits, answer, k);
		if (l->klass >= 0)
			c->loss[rung] = logf(MAX(s->logits[l->klass], 1e-12f)) -
					logf(MAX(answer[l->klass], 1e-12f));
		l->known[rung] = true;
	}
	l->n = 0;
}

/* Rungs between two that answer alike: what lies between them geometrically, as divergence falls.
 */
static void interpolate(struct ladder_run *l, int low, int high)
{
	struct curve *c = l->c;
	float a = MAX(c->kl[low], 1e-9f), b = MAX(c->kl[high], 1e-9f);

	for (int i = low + 1; i < high; i++) {
		float share = (float)(i - low) / (float)(high - low);

		c->kl[i] = a * powf(b / a, share);
		c->loss[i] = c->loss[low] + (c->loss[high] - c->loss[low]) * share;
		l->known[i] = true;
	}
}

/*
 * Asks for the middle of every gap between known rungs whose divergences differ by more than
 * BRACKET, and fills in the others. False when nothing is left to ask.
 */
static bool refine(struct ladder_run *l)
{
	const struct curve *c = l->c;
	int low = 0;

	for (int high = 1; high < c->n; high++) {
		if (!l->known[high])
			continue;
		if (high - low > 1 && fabsf(c->kl[low] - c->kl[high]) <= BRACKET &&
			!l->s->every_rung)
			interpolate(l, low, high);
		else if (high - low > 1)
			ask_for(l, (low + high) / 2);
		low = high;
	}
	return l->n > 0;
}

/* kl and loss of the whole ladder. */
static void judge(
	struct scorer *s, const struct jpeg_tables *tables, int own, int klass, struct curve *c)
{
	struct ladder_run l = {.s = s, .c = c, .tables = tables, .own = own, .klass = klass};

	input_make(s->maker, NULL, s->rgb);
	for (int i = 0; i < c->n; i += COARSE)
		ask_for(&l, i);
	if ((c->n - 1) % COARSE)
		ask_for(&l, c->n - 1);
	run_batch(&l, true);
	while (refine(&l))
		run_batch(&l, false);
	c->entropy = answer_entropy(s->logits, s->shape.classes);
	c->scored = true;
}

static double variance(const uint8_t *v, size_t n)
{
	double sum = 0, squares = 0;

	for (size_t i = 0; i < n; i++) {
		sum += v[i];
		squares += v[i] * v[i];
	}
	return squares / (double)n - sum / (double)n * (sum / (double)n);
}

static double squared_error(const uint8_t *a, const uint8_t *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (a[i] - b[i]) * (a[i] - b[i]);
	return sum / (double)n;
}

/* kl of the whole ladder, without a network. */
static void guess(struct scorer *s, const struct jpeg_tables *tables, int own, struct curve *c)
{
	size_t n = (size_t)s->shape.size * (size_t)s->shape.size * 3;
	uint8_t *rung = s->rgb + n;
	double signal;

	input_make(s->maker, NULL, s->rgb);
	signal = variance(s->rgb, n) + SIGNAL_MIN;
	for (int i = 0; i < c->n; i++) {
		if (i == own)
			continue;
		input_make(s->maker, &tables[i], rung);
		c->kl[i] =
			(float)(GUESS * pow(MIN(squared_error(s->rgb, rung, n) / signal, 1), GUESS_POWER));
	}
}

/* About what the image takes at its own quality, by the file that it came in. */
static uint32_t rate_as_captured(const struct scorer *s, const struct coef_image *im, int own_quality)
{
	double share = set_to_pack_with(s, im, own_quality, true) ? PACKED_SHARE : 1;

	return (uint32_t)MAX(share * (double)s->file->len, 1);
}

int score(struct scorer *s, const struct coef_image *im, int own_quality, const uint8_t *quality,
	int n, int klass, struct pack_lessons *lessons, struct curve *ret)
{
	struct curve c = {.n = n, .entropy = -1};
	bool teach = lessons && lessons_want_rungs(lessons, im), packed;
	bool every = !s->few_rates || teach || s->features, guesses = s->guess && s->maker && !s->params;
	bool told = !every && !s->params && s->file && rung_is_own(im, own_quality, quality[n - 1]);
	struct jpeg_tables tables[RUNGS_MAX];
	int r = s->params || guesses ? input_maker_load(s->maker, im, s->shape.size) : 0, own_rung = -1;

	for (int i = 0; r == 0 && i < n; i++) {
		bool own = rung_is_own(im, own_quality, quality[i]);
		const struct coef_image *rung = own ? im : &s->rung;

		own_rung = own ? i : own_rung;
		c.quality[i] = quality[i];
		rung_tables(s, im, own_quality, quality[i], &tables[i]);
		if (told || (!every && i % COUNTED != MIN(FIRST, n - 1)))
			continue;
		r = own ? 0 : coef_requantise_bands(im, &tables[i], &s->rung);
		if (r < 0)
			break;
		c.rate[i] = rung_rate(s, rung, quality[i], own, &packed);
		if (s->features)
			band_energy(im, rung, s->features->lost[i]);
		if (teach)
			lessons_count(lessons, rung);
	}
	if (r < 0)
		return r;
	if (told)
		c.rate[n - 1] = rate_as_captured(s, im, own_quality);
	if (s->features) {
		band_energy(im, NULL, s->features->energy);
		s->features->n = n;
	}
	if (s->params)
		judge(s, tables, own_rung, klass, &c);
	else if (guesses)
		guess(s, tables, own_rung, &c);
	*ret = c;
	return 0;
}
