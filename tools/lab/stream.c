#include "tools/lab/stream.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/codec/decode.h"
#include "common/codec/input.h"
#include "common/codec/jpeg.h"
#include "common/config.h"
#include "common/digest.h"
#include "common/log.h"
#include "policy/member.h"
#include "tools/lab/curves.h"

#define CHUNK 64	  /* captures scored at a time: what is in flight in the daemon */
#define RELIEF_MAX    256	  /* steps in one round */
#define PRICE_FADES 0.98f
#define TABLES_ON     300 /* captures that tables are fitted to */
#define MIN_PER_CLASS 20

static const int tables_after[] = {100, 4000}; /* captures met */

int stream_ladder(int own_quality, uint8_t ret[RUNGS_MAX])
{
	struct config c;
	uint8_t min, max;

	config_init(&c);
	choose_limits(&c, &min, &max);
	return ladder_for(own_quality, min, max, ret);
}

void stream_done(struct stream *s)
{
	for (int i = 0; i < s->n; i++)
		free(s->v[i].data);
	for (int m = 0; s->scorer && m < s->l->threads; m++)
		scorer_done(&s->scorer[m]);
	free(s->v);
	free(s->params);
	free(s->order);
	free(s->rank);
	free(s->class_bytes);
	free(s->class_images);
	free(s->class_came);
	free(s->class_rank);
	free(s->scorer);
	free(s->scenes);
	free(s->predictor);
	curves_close(s->curves);
	spread_done(&s->training);
	*s = (struct stream){0};
}

static int stream_init(struct stream *s, struct lab *l, const struct stream_options *o)
{
	size_t n = (size_t)l->data.split[TRAIN].n, k = (size_t)l->data.classes + 1;

	s->l = l;
	s->o = *o;
	population_init(&s->population);
	s->population.own_weight = o->own_weight;
	s->population.own_max = o->own_max;
	s->v = calloc(n, sizeof(*s->v));
	s->order = malloc(n * sizeof(*s->order));
	s->rank = malloc(n * sizeof(*s->rank));
	s->class_bytes = calloc(k, sizeof(*s->class_bytes));
	s->class_images = calloc(k, sizeof(*s->class_images));
	s->class_came = calloc(k, sizeof(*s->class_came));
	s->class_rank = calloc(k, sizeof(*s->class_rank));
	s->scorer = calloc((size_t)l->threads, sizeof(*s->scorer));
	s->scenes = calloc(1, sizeof(*s->scenes));
	s->predictor = o->curve == CURVE_PREDICTED ? calloc(1, sizeof(*s->predictor)) : NULL;
	if (!s->v || !s->order || !s->rank || !s->class_bytes || !s->class_images || !s->class_came ||
		!s->class_rank || !s->scorer || !s->scenes ||
		(o->curve == CURVE_PREDICTED && !s->predictor))
		return -ENOMEM;
	stream_order(l, o->seed, s->order);
	stream_ranks(l, o->seed, s->rank);
	for (int m = 0; m < l->threads; m++)
		if (scorer_set_input(&s->scorer[m], l->shape.size) < 0)
			return -ENOMEM;
	return 0;
}

static void use_set(struct stream *s, int set, int change)
{
	if (set < 0)
		return;
	if ((s->used[set] == 0 && change > 0) || (s->used[set] == 1 && change < 0))
		s->bytes += change * s->set_bytes[set];
	s->used[set] += change;
}

static void count_held(struct stream *s, const struct held *h, int sign)
{
	s->bytes += sign * ((double)h->len + FRAME_BYTES);
	s->class_bytes[h->label] += sign * (int64_t)h->len;
	s->class_images[h->label] += sign;
	s->held_at[h->quality] += sign;
	use_set(s, h->set, sign);
	s->most = MAX(s->most, s->bytes);
}

/* One capture between scoring and decision. */
struct arrival {
	int index, label, own_quality, error;
	bool refused, fresh, learn; /* fresh: the network was asked; learn: the predictor may */
	struct curve curve;
	struct features features;
	struct sketch sketch;
};

struct chunk {
	struct stream *s;
	struct arrival a[CHUNK];
};

static bool is_full(const struct stream *s)
{
	return s->dropping && s->bytes > s->o.budget * 0.98;
}

static const struct stratum *strata(
	const struct stream *s, struct stratum v[NET_CLASSES_MAX + 1], bool force)
{
	int none = s->l->data.classes;

	for (int i = 0; i <= none; i++)
		v[i] = (struct stratum){stratum_of(i == none ? 0 : (uint32_t)i + 1, false),
			s->class_images[i], s->class_bytes[i], .came = s->class_came[i]};
	return member_victim(v, (size_t)none + 1, 0, MIN_PER_CLASS, force);
}

/* The label that is next to give, or -1. */
static int victim_class(const struct stream *s, bool force)
{
	struct stratum v[NET_CLASSES_MAX + 1];
	const struct stratum *victim = strata(s, v, force);

	return victim ? (int)(victim - v) : -1;
}

/* Whether it would be the next to go. */
static bool refused_at_door(const struct stream *s, int label, int rank)
{
	struct stratum v[NET_CLASSES_MAX + 1];
	const struct stratum *victim;

	if (!is_full(s) || rank < s->class_rank[label])
		return false;
	victim = strata(s, v, false);
	return member_about_to_give(v, (size_t)s->l->data.classes + 1, victim, v[label].number);
}

/* The curve's network part, of the kind this stream decides by. */
static void settle_curve(const struct stream *s, struct curve *c)
{
	if (s->o.curve == CURVE_LOSS)
		for (int i = 0; i < c->n; i++)
			c->kl[i] = MAX(c->loss[i], 0);
	curve_make_monotone(c);
}

/* The index of a picture's stratum: its class, or one more when it has no label. */
static int label_of(const struct stream *s, int index)
{
	const struct picture *p = &s->l->data.split[TRAIN].v[index];

	return p->unlabelled ? s->l->data.classes : p->label;
}

/* As score() wants it. */
static int klass_of(const struct stream *s, int label)
{
	return label < s->l->data.classes ? label : -1;
}

/* As population_wants_rates() wants it. */
static uint64_t rate_hash(const struct stream *s, int index)
{
	return (uint64_t)(s->rank[index] & (RANK_SPENT - 1)) << 32;
}

/* As scene_repeats() wants it. */
static uint64_t scene_hash(const struct stream *s, int index)
{
	return (uint64_t)s->rank[index] * UINT64_C(0x9e3779b97f4a7c15);
}

static int score_capture(struct stream *s, struct arrival *a, struct scratch *scratch)
{
	struct scorer *sc = &s->scorer[scratch->member];
	const float *params = sc->params;
	const struct curve *known = curves_get(s->curves, a->index);
	bool one = s->o.quality;
	bool predicted = params && s->predictor && s->predictor->ready && a->index % PREDICT_ONE_IN;
	uint8_t quality[RUNGS_MAX];
	int r = lab_decode(s->l, TRAIN, a->index, &scratch->original, &a->own_quality), n;

	if (r < 0)
		return r;
	sketch_of(&scratch->original, &a->sketch);
	n = stream_ladder(a->own_quality, quality);
	if (known || predicted || one)
		sc->params = NULL; /* rates only */
	sc->features = s->predictor ? &a->features : NULL;
	sc->few_rates = !population_wants_rates(&s->population, rate_hash(s, a->index));
	sc->guess = population_wants_guess(&s->population, rate_hash(s, a->index));
	r = score(sc, &scratch->original, a->own_quality, quality, n, klass_of(s, a->label), NULL,
		&a->curve);
	sc->params = params;
	sc->features = NULL;
	sc->few_rates = sc->guess = false;
	if (r < 0)
		return r;
	a->fresh = params && !known && !predicted && !one;
	a->learn = params && !predicted && !one;
	if (predicted) {
		predictor_apply(s->predictor, &a->features, &a->curve);
	} else if (known) {
		memcpy(a->curve.kl, known->kl, sizeof(known->kl));
		memcpy(a->curve.loss, known->loss, sizeof(known->loss));
		a->curve.entropy = known->entropy;
		a->curve.scored = true;
	}
	return 0;
}

static int score_one(struct lab *l, void *arg, int i, struct scratch *scratch)
{
	struct chunk *c = arg;
	struct arrival *a = &c->a[i];

	(void)l;
	if (refused_at_door(c->s, a->label, c->s->rank[a->index])) {
		a->refused = true;
		return 0;
	}
	return score_capture(c->s, a, scratch);
}

/* Encodes im as the daemon's worker does. */
static int encode(struct stream *s, const struct coef_image *im, int own_quality, int quality, struct held *h)
{
	struct scorer *sc = &s->scorer[0];
	_cleanup_buf_ struct buf b = {0};
	struct coded coded;
	int r = rung_encode(sc, im, own_quality, quality, false, &b, &coded);

	if (r < 0 || b.failed)
		return r < 0 ? r : -ENOMEM;
	free(h->data);
	h->data = TAKE_PTR(b.data);
	h->len = (uint32_t)b.len;
	h->set = (int)coded.tables - 1;
	h->quality = (uint8_t)quality;
	h->layout = coef_layout(im);
	h->width = im->width;
	h->height = im->height;
	h->orientation = im->orientation;
	s->written += h->len;
	return 0;
}

static int decode_held(const struct stream *s, const struct held *h, struct coef_image *ret)
{
	struct jpeg_tables t;

	if (h->set < 0)
		return file_decode(h->data, h->len, ret);
	if (!table_set_tables(&s->set[h->set], h->quality, &t))
		return -EBADMSG;
	return packed_decode(h->data, h->len, h->layout, h->width, h->height, h->orientation, &t,
		&s->set[h->set].pack, ret);
}

/* Cuts the curve at the rung held and works out the next step. */
static void held_at(const struct stream *s, struct held *h, struct curve *c, int at)
{
	h->next = choose_next(MODE_ADAPTIVE, c, &s->population, at, false, 0, h->rank);
	h->curve = *c;
	h->curve.n = at + 1;
}

/* One step down, from the stored bytes. Frees what it frees. */
static int take_step(struct stream *s, struct held *h, struct coef_image *im)
{
	struct curve c = h->curve, rates;
	int r = decode_held(s, h, im), to = 0;

	if (r < 0)
		return r;
	s->scorer[0].params = NULL;
	s->scorer[0].few_rates = !population_wants_rates(&s->population, rate_hash(s, h->index));
	r = score(&s->scorer[0], im, h->quality, c.quality, c.n, -1, NULL, &rates);
	s->scorer[0].params = s->params;
	s->scorer[0].few_rates = false;
	population_fill_rates(&s->population, &rates);
	if (r < 0)
		return r;
	memcpy(c.rate, rates.rate, sizeof(c.rate));
	if (!curve_step_to(&c, &s->population, c.n - 1, s->target, &to))
		while (c.quality[to] != h->next.to) /* by the rates as they were */
			to++;
	count_held(s, h, -1);
	r = encode(s, im, h->quality, c.quality[to], h);
	held_at(s, h, &c, to);
	count_held(s, h, 1);
	return r;
}

/* The want cheapest steps, cheapest first; returns how many there are. */
static int cheapest_steps(const struct stream *s, int want, int ret[RELIEF_MAX])
{
	int n = 0;

	for (int i = 0; i < s->n; i++) {
		int step = s->v[i].next.step, at = n;

		if (step < 0 || (n == want && step >= s->v[ret[n - 1]].next.step))
			continue;
		if (n < want)
			n++;
		else
			at = n - 1;
		for (; at > 0 && s->v[ret[at - 1]].next.step > step; at--)
			ret[at] = ret[at - 1];
		ret[at] = i;
	}
	return n;
}

/*
 * What captures may not take: a table set that a step brings into use has to fit too, or a full store
 * could not be relieved.
 */
static double reserve(const struct stream *s)
{
	return s->n_sets ? s->set_bytes[s->n_sets - 1] : 0;
}

/* Whether the newest table set is in use or fits: a step must not exceed what it is to relieve. */
static bool step_fits(const struct stream *s)
{
	int newest = s->n_sets - 1;

	return newest < 0 || s->used[newest] || s->bytes + s->set_bytes[newest] <= s->o.budget;
}

/* Takes the cheapest steps, none dearer than limit. */
static int degrade(struct stream *s, int want, float limit, int *ret_n)
{
	_cleanup_coef_ struct coef_image im = {0};
	int step[RELIEF_MAX], n = cheapest_steps(s, want, step), taken = 0, r = 0;

	for (int i = 0; r == 0 && i < n; i++) {
		struct held *h = &s->v[step[i]];

		if (price_decode(h->next.step) > limit)
			break;
		if (!step_fits(s))
			continue;
		s->price = MAX(s->price, price_decode(h->next.step));
		r = take_step(s, h, &im);
		taken++;
	}
	s->dropping = s->dropping && taken == 0;
	*ret_n = taken;
	return r;
}

void stream_find_highest_rank(struct stream *s, int label)
{
	s->class_rank[label] = -1;
	for (int i = 0; i < s->n; i++)
		if (s->v[i].label == label)
			s->class_rank[label] = MAX(s->class_rank[label], s->v[i].rank);
}

static bool drop_one(struct stream *s)
{
	int label = victim_class(s, false), worst = -1;

	if (label < 0)
		label = victim_class(s, true);
	for (int i = 0; label >= 0 && i < s->n; i++)
		if (s->v[i].label == label && (worst < 0 || s->v[i].rank > s->v[worst].rank))
			worst = i;
	if (worst < 0)
		return false;
	count_held(s, &s->v[worst], -1);
	free(s->v[worst].data);
	s->v[worst] = s->v[--s->n];
	s->dropped++;
	stream_find_highest_rank(s, label);
	return true;
}

/* Of the images held, by the population's curve. */
static double mean_divergence(const struct stream *s)
{
	double sum = 0;

	for (int q = 1; q <= 100; q++)
		if (s->held_at[q])
			sum += s->held_at[q] * (double)population_kl(&s->population, q);
	return sum / MAX(s->n, 1);
}

struct regime stream_regime(const struct stream *s)
{
	double images[NET_CLASSES_MAX];

	for (int k = 0; k < s->l->data.classes; k++)
		images[k] = s->class_images[k];
	/* What was seen, and as much again: nobody knows when a stream ends. */
	return (struct regime){plan_information(&s->population, images, s->l->data.classes),
		64.0 * s->l->steps, MAX(2.0 * (double)(s->n + s->dropped), 1),
		s->o.slices ? (1 - s->l->windows[0]) * s->l->data.split[TRAIN].n : 0};
}

/* As the daemon's keeper relieves the writer. */
static int make_room(struct stream *s, double need)
{
	double mean = 0;
	const struct regime regime = stream_regime(s);
	float limit = plan_price(&regime, s->n, mean_divergence(s), s->o.budget);
	int n = 0, r = 0;

	for (int k = 0; k <= s->l->data.classes; k++)
		mean += (double)s->class_bytes[k];
	mean /= MAX(s->n, 1);
	s->plan = plan_make(&s->population, &regime, s->o.budget, FRAME_BYTES, LADDER[0], 95);
	s->target = plan_target_price(&s->population, &s->plan);
	if (!s->o.quality)
		r = degrade(s, plan_steps(need, mean, RELIEF_MAX), limit, &n);
	if (r < 0 || n)
		return r;
	n = plan_drops(need, mean, FRAME_BYTES, RELIEF_MAX);
	while (n-- > 0)
		if (!drop_one(s))
			return -ENOSPC;
	s->dropping = true;
	s->price = limit;
	return 0;
}

/* The highest rung not above a quality. */
static int rung_below(const struct curve *c, int quality)
{
	int at = c->n - 1;

	while (at > 0 && c->quality[at] > quality)
		at--;
	return at;
}

static int admit(struct stream *s, struct arrival *a, struct coef_image *im)
{
	struct held h = {.index = a->index, .label = a->label, .set = -1};
	uint64_t hash = scene_hash(s, a->index);
	struct scene_seen seen;
	float price = s->bytes > 0.9 * s->o.budget ? MAX(s->price, s->target) : s->price;
	int at = s->o.quality ? rung_below(&a->curve, s->o.quality)
			      : choose_rung(MODE_ADAPTIVE, &a->curve, &s->population, price, false);
	int r, own;
	int quality = a->curve.quality[at];
	double need;

	seen = scenes_meet(s->scenes, (uint32_t)h.label, &a->sketch, 0, hash);
	h.rank = scene_rank(seen, s->rank[h.index], hash);
	if (refused_at_door(s, h.label, h.rank)) {
		s->dropped++;
		return 0;
	}
	r = lab_decode(s->l, TRAIN, a->index, im, &own);
	if (r == 0)
		r = encode(s, im, own, quality, &h);
	need = h.len + FRAME_BYTES;
	if (r == 0 && h.set >= 0 && !s->used[h.set])
		need += s->set_bytes[h.set];
	while (r == 0 && s->bytes + need > s->o.budget - reserve(s) && s->n)
		r = make_room(s, need);
	if (r < 0 || s->bytes + need > s->o.budget - reserve(s) || refused_at_door(s, h.label, h.rank)) {
		free(h.data);
		s->dropped++;
		return r == -ENOSPC ? 0 : r;
	}
	held_at(s, &h, &a->curve, at);
	count_held(s, &h, 1);
	s->v[s->n++] = h;
	s->class_rank[h.label] = MAX(s->class_rank[h.label], h.rank);
	if (s->bytes < 0.9 * s->o.budget)
		s->price *= PRICE_FADES;
	return 0;
}

/* What captures first.. of the stream tell the network's steps and the packer. */
struct look {
	struct stream *s;
	int first;
	struct sensitivity *sum;    /* [threads] */
	struct pack_counts *counts; /* [threads] */
	struct table_set *set;
};

static int look_one(struct lab *l, void *arg, int i, struct scratch *scratch)
{
	struct look *k = arg;
	int own, r = lab_decode(l, TRAIN, (int)k->s->order[k->first + i], &scratch->original, &own);

	return r < 0 ? r
		     : sensitivity_add(&k->s->scorer[scratch->member], &scratch->original,
			       &k->sum[scratch->member]);
}

static int measure_one(struct lab *l, void *arg, int i, struct scratch *scratch)
{
	struct look *k = arg;
	int own, r = lab_decode(l, TRAIN, (int)k->s->order[k->first + i], &scratch->original, &own);

	if (r == 0)
		pack_measure(&scratch->original, &k->counts[scratch->member]);
	return r;
}

static int count_one(struct lab *l, void *arg, int i, struct scratch *scratch)
{
	struct look *k = arg;
	int own, r = lab_decode(l, TRAIN, (int)k->s->order[k->first + i], &scratch->original, &own);

	for (int q = 0; r == 0 && q < LADDER_RUNGS; q++) {
		struct jpeg_tables t;

		table_set_tables(k->set, LADDER[q], &t);
		r = coef_requantise(&scratch->original, &t, &scratch->rung);
		if (r == 0)
			pack_count(&scratch->rung, &k->set->pack, &k->counts[scratch->member]);
	}
	return r;
}

/* The counts of all threads, and none left with them. */
static struct pack_counts *gather(const struct look *k)
{
	for (int m = 1; m < k->s->l->threads; m++) {
		pack_counts_add(&k->counts[0], &k->counts[m]);
		k->counts[m] = (struct pack_counts){0};
	}
	return &k->counts[0];
}

/* A new set of tables, the packer's model from n captures; from now on the one to encode with. */
static int make_tables(struct stream *s, int first, int n)
{
	_cleanup_free_ struct pack_counts *counts = calloc((size_t)s->l->threads, sizeof(*counts));
	struct table_set *set = &s->set[s->n_sets];
	struct look look = {.s = s, .first = first, .counts = counts, .set = set};
	_cleanup_buf_ struct buf b = {0};
	int r;

	if (!counts)
		return -ENOMEM;
	if (s->n_sets == (int)ARRAY_SIZE(s->set))
		return 0;
	set->id = (uint32_t)s->n_sets + 1;
	if (s->network.images > 0)
		steps_make_set(&s->network, STEP_POWER, set);
	else
		table_set_steps(set);
	r = lab_parallel(s->l, n, measure_one, &look);
	pack_set_scales(gather(&look), &set->pack);
	if (r == 0)
		r = lab_parallel(s->l, n, count_one, &look);
	pack_fit(gather(&look), &set->pack);
	table_set_write(set, &b);
	if (r < 0 || b.failed)
		return r < 0 ? r : -ENOMEM;
	s->set_bytes[s->n_sets++] = (double)b.len;
	for (int m = 0; m < s->l->threads; m++) {
		s->scorer[m].shared = *set;
		s->scorer[m].sets = s->set;
		s->scorer[m].n_sets = s->n_sets;
	}
	s->tables_made++;
	return 0;
}

static int take_chunk(struct stream *s, int first, int n)
{
	_cleanup_free_ struct chunk *c = calloc(1, sizeof(*c));
	_cleanup_coef_ struct coef_image im = {0};
	int r;

	if (!c)
		return -ENOMEM;
	c->s = s;
	for (int i = 0; i < n; i++) {
		c->a[i].index = (int)s->order[first + i];
		c->a[i].label = label_of(s, c->a[i].index);
	}
	r = lab_parallel(s->l, n, score_one, c);
	for (int i = 0; r == 0 && i < n; i++) {
		struct arrival *a = &c->a[i];

		s->met++;
		s->class_came[a->label]++;
		if (a->refused) {
			s->dropped++;
			continue;
		}
		if (a->fresh && s->curves)
			r = curves_put(s->curves, a->index, &a->curve);
		settle_curve(s, &a->curve);
		if (s->predictor && a->learn)
			predictor_learn(s->predictor, &a->features, &a->curve);
		population_add(&s->population, &a->curve);
		population_fill_rates(&s->population, &a->curve);
		if (r == 0)
			r = admit(s, a, &im);
	}
	if (r == 0 && s->tables_made < (int)ARRAY_SIZE(tables_after) &&
		s->met >= tables_after[s->tables_made])
		r = make_tables(s, MAX(0, first + n - TABLES_ON), MIN(first + n, TABLES_ON));
	return r < 0 ? r : s->curves ? curves_flush(s->curves) : 0;
}

static int rescore_one(struct lab *l, void *arg, int i, struct scratch *scratch)
{
	struct stream *s = arg;
	struct held *h = &s->v[i];
	float paid = h->curve.scored ? h->curve.kl[h->curve.n - 1] : 0;
	struct curve c;
	int r = decode_held(s, h, &scratch->original);

	(void)l;
	if (r == 0)
		r = score(&s->scorer[scratch->member], &scratch->original, h->quality,
			h->curve.quality, h->curve.n, klass_of(s, h->label), NULL, &c);
	if (r < 0)
		return r;
	settle_curve(s, &c);
	for (int k = 0; k < c.n; k++)
		c.kl[k] += paid;
	h->curve = c;
	return 0;
}

/* Steps made for the network, from the captures that wait while it was trained. */
static int learn_steps(struct stream *s, int first)
{
	int n = MIN(TABLES_ON, s->l->data.split[TRAIN].n - first), threads = s->l->threads, r;
	_cleanup_free_ struct sensitivity *sum = calloc((size_t)threads, sizeof(*sum));
	struct look look = {.s = s, .first = first, .sum = sum};

	if (!sum)
		return -ENOMEM;
	r = lab_parallel(s->l, MIN(n, SENSITIVITY_IMAGES), look_one, &look);
	s->network = (struct sensitivity){0};
	for (int m = 0; m < threads; m++)
		sensitivity_merge(&s->network, &sum[m]);
	if (r == 0 && n > 0)
		r = make_tables(s, first, n);
	s->tables_made = (int)ARRAY_SIZE(tables_after);
	return r;
}

/* The file of the curves by this model at these steps. */
static int open_curves(struct stream *s, size_t params)
{
	_cleanup_buf_ struct buf b = {0};
	uint8_t digest[SHA256_BYTES];

	buf_put(&b, s->params, params * sizeof(float));
	buf_put(&b, s->scorer[0].shared.quant, sizeof(s->scorer[0].shared.quant));
	if (b.failed)
		return -ENOMEM;
	sha256(b.data, b.len, digest);
	for (int i = 0; i < 16; i++)
		snprintf(s->model_key + 2 * i, 3, "%02x", digest[i]);
	curves_close(s->curves);
	s->curves = curves_open(s->l, s->model_key, s->l->data.split[TRAIN].n);
	return s->curves ? 0 : -EIO;
}

/* An idle window: a model from what is held, then everything held is scored by it. */
static int train_and_rescore(struct stream *s, int window, int met)
{
	_cleanup_dataset_ struct dataset d = {0};
	struct net_layout at;
	char what[128];
	int r = stream_dataset(s, &d);

	net_layout(&s->l->shape, &at);
	if (!s->params)
		s->params = malloc(at.total * sizeof(float));
	if (r < 0 || !s->params)
		return r < 0 ? r : -ENOMEM;
	snprintf(what, sizeof(what), "the device's own model %d of seed %llu at %.0f bytes", window + 1,
		(unsigned long long)s->o.seed, s->o.budget);
	r = lab_run(
		s->l, &d, s->o.seed * 100 + (uint64_t)window, s->l->steps, NULL, 0, NULL, s->params, what);
	for (int m = 0; r == 0 && m < s->l->threads; m++)
		r = scorer_set_model(&s->scorer[m], &s->l->shape, s->params);
	if (r < 0)
		return r;
	population_new_model(&s->population);
	r = s->o.standard_steps ? 0 : learn_steps(s, met);
	if (r == 0)
		r = open_curves(s, at.total);
	if (r == 0)
		r = lab_parallel(s->l, s->n, rescore_one, s);
	for (int i = 0; r == 0 && i < s->n; i++) {
		if (s->v[i].quality >= 60)
			population_add_stored(&s->population, &s->v[i].curve);
	}
	for (int i = 0; r == 0 && i < s->n; i++)
		held_at(s, &s->v[i], &s->v[i].curve, s->v[i].curve.n - 1);
	return r;
}

/* Captures met before a slice begins. */
static int slice_at(const struct stream *s, int slice)
{
	double first = s->l->windows[0], n = s->l->data.split[TRAIN].n;

	return (int)(n * (first + (1 - first) * (slice + 1) / s->o.slices));
}

int stream_run(struct lab *l, const struct stream_options *o, struct stream *ret)
{
	struct stream *s = ret;
	int n = l->data.split[TRAIN].n, r = stream_init(s, l, o), window = 0, slice = 0, done = 0;

	while (r == 0 && (done < n || slice < o->slices)) {
		int at_window = window < l->n_windows ? (int)(l->windows[window] * n) : n + 1;
		int at_slice = slice < o->slices ? slice_at(s, slice) : n + 1, take;

		if (done >= at_window) {
			r = train_and_rescore(s, window++, done);
			continue;
		}
		if (done >= at_slice) {
			r = stream_slice(s, slice++);
			continue;
		}
		take = MIN(MIN(CHUNK, n - done), MIN(at_window, at_slice) - done);
		r = take_chunk(s, done, take);
		done += take;
	}
	return r;
}

struct held_set {
	struct stream *s;
	int *at; /* [n]: those with a label */
};

static int make_held(struct lab *l, void *arg, int i, struct scratch *scratch, uint8_t *rgb, int *label)
{
	struct held_set *set = arg;
	const struct held *h = &set->s->v[set->at[i]];
	int r = decode_held(set->s, h, &scratch->original);

	*label = h->label;
	return r < 0 ? r : input_from_coef(&scratch->original, l->shape.size, rgb);
}

int stream_dataset(struct stream *s, struct dataset *ret)
{
	_cleanup_free_ int *at = malloc((size_t)MAX(s->n, 1) * sizeof(*at));
	struct held_set set = {s, at};
	int n = 0, r;

	if (!at)
		return -ENOMEM;
	for (int i = 0; i < s->n; i++)
		if (klass_of(s, s->v[i].label) >= 0)
			at[n++] = i;
	r = lab_dataset(s->l, n, ret);
	if (r == 0)
		r = lab_fill(s->l, ret, make_held, &set);
	if (r == 0)
		dataset_balance(ret, s->class_came);
	return r;
}
