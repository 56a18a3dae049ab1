/*
 * Keeps the store within its limit.
 *
 * Relief: when the writer has no room, either the cheapest steps down the hulls are taken, or, when
 * they are dearer than giving up images (policy/plan.h), members are dropped. Steps are made by
 * workers from the stored coefficients, gathered, and applied as one batch.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/digest.h"
#include "common/log.h"
#include "daemon/course.h"
#include "daemon/keeper_internal.h"
#include "daemon/salvage.h"

#define SHRINK_PAGES	 64
#define AHEAD_PART	 512 /* one part in so many of the limit is free for captures to come */
#define AHEAD_AGAIN	 (60 * US_PER_SEC) /* where nothing may go for them */
#define DROPS_PART	 128 /* a round drops a batch, or one image in so many, at most */
#define DROPS_MAX	 256 /* of which no more than this */
#define OVERHEAD_GUESS	 250.0 /* bytes of index per image before there are enough to tell */
#define FULL_SAID_EVERY	 (60 * US_PER_SEC)

struct keeper *keeper_new(struct daemon *d)
{
	struct keeper *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->d = d;
	k->drop_step = -1;
	k->beside_packed = OVERHEAD_GUESS;
	k->rescore_after = INT64_MAX;
	uv_timer_init(d->loop, &k->timer);
	k->timer.data = k;
	return k;
}

void keeper_stop(struct keeper *k)
{
	uv_close((uv_handle_t *)&k->timer, NULL);
}

void keeper_free(struct keeper *k)
{
	if (!k)
		return;
	op_free_all(k->ops);
	restep_free(k->restep);
	free(k);
}

void curve_of_row(const struct image_row *row, int min_quality, struct curve *ret)
{
	struct curve c = {.scored = row->flags & IMAGE_SCORED};
	uint8_t quality[RUNGS_MAX];
	/* Codes exist for every LADDER rung below the quality; the curve takes those in the limits. */
	int all = ladder_for(row->quality, 1, 100, quality);

	for (int i = 0; i < all; i++)
		if (quality[i] >= min_quality || i == all - 1) {
			c.quality[c.n] = quality[i];
			c.kl[c.n++] = i < row->n_harm ? kl_decode(row->harm[i]) : 0;
		}
	c.rate[c.n - 1] = row->bytes;
	*ret = c;
}

struct stored_image stored_of_row(const struct image_row *row)
{
	return (struct stored_image){.whole_file = !row->tables,
		.layout = row->layout,
		.quality = row->quality,
		.width = row->width,
		.height = row->height,
		.orientation = row->orientation,
		.tables = row->tables};
}

void row_set_step(struct image_row *row, struct next_step next)
{
	row->step = next.step;
	row->step_to = next.to;
}

void row_set_harm(struct image_row *row, const struct curve *c, int at)
{
	uint8_t quality[RUNGS_MAX];
	int all = ladder_for(c->quality[at], 1, 100, quality), k = 0;

	for (int i = 0; i < all && i < RUNGS_MAX; i++) {
		while (k < at && c->quality[k] < quality[i])
			k++;
		row->harm[i] = c->scored ? kl_encode(c->kl[k]) : 0;
	}
	row->n_harm = c->scored ? all : 0;
}

/* What the index costs an image: everything in it that is not stored bytes, rows as close as they get. */
static double overhead_per_image(const struct daemon *d)
{
	int64_t images = daemon_images(d);

	if (images < 200)
		return OVERHEAD_GUESS;
	return CLAMP(((double)index_beside(d) - compact_gain(d->keeper)) / (double)images, 40.0, 4096.0);
}

/* Bytes that images may take, rows and all. */
static double image_budget(const struct daemon *d)
{
	const struct usage *u = writer_usage(d->writer);

	return (double)(d->limit - models_reserve(d) - (u->total - u->index - u->objects));
}

/*
 * The strata, their bytes with the rows behind them, and what labels have to themselves (MinShare) of the
 * training images' room: of what they take now it would be less whenever some was just made.
 */
static struct stratum *givers(const struct daemon *d, size_t *ret_n)
{
	struct stratum *s = tally_strata(&d->tally, ret_n);
	double room = image_budget(d), overhead = overhead_per_image(d);
	struct share share;

	for (size_t i = 0; s && i < *ret_n; i++) {
		s[i].bytes += (int64_t)(overhead * (double)s[i].images);
		room -= stratum_is_validation(s[i].number) ? (double)s[i].bytes : 0;
	}
	for (int k = 0; s && config_share(&d->config, k, &share); k++) {
		uint32_t label = daemon_label_id(d, share.label);

		for (size_t i = 0; label && i < *ret_n; i++)
			if (s[i].number == stratum_of(label, false))
				s[i].own = (int64_t)(share.percent / 100 * MAX(room, 0));
	}
	return s;
}

/*
 * What the current network's answers tell, of the labels that are trained on; a training goes on
 * for epochs, and may learn from what comes meanwhile. Offered is what was seen, and as much again:
 * nobody knows when a stream ends.
 */
static struct regime regime(const struct daemon *d)
{
	size_t n = 0, labels = 0;
	_cleanup_free_ struct stratum *s = tally_strata(&d->tally, &n);
	_cleanup_free_ double *images = calloc(n + 1, sizeof(*images));

	for (size_t i = 0; images && i < n; i++)
		if (!stratum_is_validation(s[i].number) && stratum_label(s[i].number) > 0)
			images[labels++] = (double)s[i].images;
	return (struct regime){plan_information(&d->population, images, (int)labels), INFINITY,
		MAX(2.0 * (double)(daemon_images(d) + d->counters[COUNT_DROPPED]), 1),
		(double)course_length(d)};
}

struct plan keeper_plan(const struct daemon *d, double budget)
{
	const struct regime r = regime(d);

	return plan_make(&d->population, &r, budget, overhead_per_image(d),
		(int)d->config.policy.min_quality, (int)d->config.policy.max_quality);
}

struct plan keeper_plan_at(
	const struct daemon *d, int64_t limit, double *ret_divergence, double *ret_worth)
{
	const struct regime r = regime(d);
	struct plan plan = keeper_plan(d, MAX(image_budget(d) + (double)(limit - d->limit), 0));

	*ret_divergence = plan.quality ? (double)population_kl(&d->population, plan.quality) : 0;
	*ret_worth = plan.images > 0 ? plan_worth(&r, plan.images, *ret_divergence) : 0;
	return plan;
}

/* Mean divergence of images that may be degraded, by the population's curve, and how many they are.
 */
static double mean_divergence(const struct daemon *d, double *ret_images)
{
	double images = 0, sum = 0;

	for (size_t i = 0; i < d->tally.n; i++) {
		const struct tally *t = &d->tally.v[i];

		if (stratum_is_validation(t->stratum))
			continue;
		images += (double)t->images;
		sum += (double)t->images * (double)population_kl(&d->population, t->quality);
	}
	*ret_images = images;
	return sum / MAX(images, 1);
}

/* Mean stored bytes of images that may be degraded. */
static double mean_bytes(const struct daemon *d)
{
	int64_t images = 0, bytes = 0;

	for (size_t i = 0; i < d->tally.n; i++)
		if (!stratum_is_validation(d->tally.v[i].stratum)) {
			images += d->tally.v[i].images;
			bytes += d->tally.v[i].bytes;
		}
	return images ? (double)bytes / (double)images : 0;
}

static bool rank_of(void *user, const struct image_row *row)
{
	*(int *)user = row->rank;
	return false;
}

/* What the store may grow to by images: beyond is room for models and for relief itself. */
static int64_t images_limit(const struct daemon *d)
{
	return d->limit - models_reserve(d) - store_relief_bytes(d->limit);
}

/* Much more stored than the limit allows: it was lowered, and is taken for that until they fit. */
static void note_lowered(struct keeper *k)
{
	int64_t over = writer_usage(k->d->writer)->total - images_limit(k->d);

	k->lowered = over > 0 && (k->lowered || over > k->d->limit / 16);
}

/* Bytes until images have to go, free pages of the index among them; negative when they do. */
static int64_t room_left(const struct daemon *d)
{
	const struct usage *u = writer_usage(d->writer);

	return images_limit(d) - (u->total - u->index_free);
}

bool keeper_nearly_full(const struct daemon *d)
{
	return room_left(d) <= d->limit / 10;
}

/* Whether the store is as full as it gets and its last rounds dropped images. */
bool keeper_refuses(const struct daemon *d)
{
	return d->keeper->dropping && room_left(d) < d->limit / 50;
}

bool keeper_at_the_door(const struct daemon *d, uint32_t stratum, int rank, int step)
{
	const struct stratum *victim;
	struct stratum *s;
	int highest = RANK_MAX + 1;
	size_t n;

	if (d->config.policy.mode == MODE_UNIFORM || !keeper_refuses(d))
		return false;
	if (d->config.policy.mode == MODE_DROP)
		return step <= d->keeper->drop_step;
	s = givers(d, &n);
	victim = s ? member_victim(s, n, d->config.training.validation_percent,
			d->config.policy.min_per_class, false) : NULL;
	if (member_about_to_give(s, n, victim, stratum))
		salvage_if_damaged(d, view_last_ranks(d->view, stratum, 1, rank_of, &highest));
	free(s);
	return rank >= highest; /* it would be the next to go */
}

static void end_round(struct keeper *k)
{
	struct op *ops = TAKE_PTR(k->ops);

	k->applying += op_count(ops);
	k->relieving = ops;
	if (!ops && k->ahead && !writer_waiting_for_room(k->d->writer)) {
		k->ahead_again_us = clock_steady_us() + AHEAD_AGAIN;
		return;
	}
	k->full = !ops;
	if (!ops && clock_steady_us() - k->full_said_us > FULL_SAID_EVERY) {
		k->full_said_us = clock_steady_us();
		log_warn("the store is full and nothing may be degraded or dropped; captures wait");
	}
	writer_relief(k->d->writer, ops);
}

static void gather(struct keeper *k, struct op *op)
{
	op->next = k->ops;
	k->ops = op;
}

static void on_relieved(void *user, struct op *op)
{
	struct keeper *k = user;

	op_free(op);
	if (--k->applying > 0)
		return;
	k->relieving = false;
	k->cannot_shrink = false;
	if (k->hard_need) /* the writer waits for an answer to this */
		keeper_make_room(k->d, k->hard_need, true);
	keeper_check(k->d);
}

static bool gather_removal(struct keeper *k, const struct image_row *row)
{
	struct op *op = op_new(OP_REMOVE);

	if (!op)
		return false;
	op->row.id = row->id;
	op->user = k;
	op->done = on_relieved;
	gather(k, op);
	return true;
}

struct removal {
	struct keeper *k;
	int n;
};

static bool remove_row(void *user, const struct image_row *row)
{
	struct removal *r = user;

	r->n++;
	r->k->drop_step = row->step;
	return gather_removal(r->k, row);
}

/* Adaptive: the strata that are to give, one image at a time, then the rows behind them. */
static int drop_members(struct keeper *k, int want)
{
	const struct daemon *d = k->d;
	struct removal r = {k, 0};
	size_t n;
	struct stratum *s = givers(d, &n);
	int *give = s ? calloc(n + 1, sizeof(int)) : NULL;

	for (int i = 0; give && i < want; i++) {
		const struct stratum *v = member_victim(s, n, d->config.training.validation_percent,
			d->config.policy.min_per_class, false);

		if (!v)
			v = member_victim(s, n, d->config.training.validation_percent, 0, true);
		if (!v)
			break;
		give[v - s]++;
		s[v - s].bytes -= s[v - s].images ? s[v - s].bytes / s[v - s].images : 0;
		s[v - s].images--;
	}
	for (size_t i = 0; give && i < n; i++)
		if (give[i])
			salvage_if_damaged(
				d, view_last_ranks(d->view, s[i].number, give[i], remove_row, &r));
	free(give);
	free(s);
	k->dropping = true;
	log_debug("dropping %d images", r.n);
	return r.n;
}

static int drop_in_order(struct keeper *k, int want)
{
	struct removal r = {k, 0};

	salvage_if_damaged(k->d, view_cheapest(k->d->view, want, remove_row, &r));
	k->dropping = true;
	return r.n;
}

static void step_done(struct step_job *s)
{
	struct keeper *k = s->k;

	free(s);
	if (--k->outstanding == 0)
		end_round(k);
}

/* Divergences as scored once, rates as the worker has just counted them. False: rates are missing.
 */
static bool step_curve(const struct step_job *s, const struct curve_answer *a, struct curve *ret)
{
	struct curve rates = a->curve;
	int n = 0;

	curve_of_row(&s->row, (int)s->k->d->config.policy.min_quality, ret);
	population_fill_rates(&s->k->d->population, &rates);
	for (int i = 0; i < ret->n; i++)
		for (int j = 0; j < rates.n; j++)
			if (rates.quality[j] == ret->quality[i]) {
				ret->rate[i] = rates.rate[j];
				n++;
			}
	return n == ret->n;
}

struct next_step next_of_curve(const struct daemon *d, const struct image_row *row, const struct curve *c)
{
	bool validation = stratum_is_validation(row->stratum);

	if (row->flags & IMAGE_LOOSE)
		return choose_first_step(c, &d->population, c->n - 1, validation);
	return choose_next(MODE_ADAPTIVE, c, &d->population, c->n - 1, validation, 0, 0);
}

/* Whether packing alone will do: to re-quantise it costs more than bytes will, or cannot be. */
static bool is_only_packed(const struct step_job *s, const struct curve *c)
{
	const struct keeper *k = s->k;
	float price;
	int to;

	return (s->row.flags & IMAGE_LOOSE) &&
	       (!curve_next_step(c, &k->d->population, c->n - 1, &to, &price) || price >= k->target);
}

/*
 * Where the step leads, by rates and prices as they are now, and the row after it: harm cut, next
 * step worked out. Returns the quality; 0: there is none to step to.
 */
static uint8_t fill_step(struct step_job *s, const struct curve_answer *a)
{
	struct daemon *d = s->k->d;
	struct image_row *row = &s->op->row;
	struct curve c;
	bool known = step_curve(s, a, &c);
	int to;

	*row = s->row;
	row->flags &= ~(uint32_t)IMAGE_LOOSE;
	row->quality = s->row.step_to;
	row_set_step(row, (struct next_step){-1, 0});
	if (row->quality < d->config.policy.min_quality)
		return 0; /* which has been raised since */
	if (!known)
		return row->quality;
	if (!stratum_is_validation(row->stratum) && !is_only_packed(s, &c) &&
		curve_step_to(&c, &d->population, c.n - 1, s->k->target, &to))
		row->quality = c.quality[to];
	for (int i = 0; i < c.n; i++)
		if (c.quality[i] == row->quality) {
			c.n = i + 1;
			row_set_step(row, next_of_curve(d, row, &c));
			row_set_harm(row, &c, i);
		}
	return row->quality;
}

static bool step_answer(struct job *job, uint8_t type, struct reader *payload, bool *ret_bad)
{
	struct step_job *s = job->user;
	struct curve_answer a;
	struct coded coded;
	uint8_t quality;

	if (type == MSG_CURVE && get_curve(payload, &a) == 0) {
		op_free(s->op);
		s->op = op_new(OP_STEP);
		quality = s->op ? fill_step(s, &a) : 0;
		if (!quality) {
			op_free(TAKE_PTR(s->op));
			return true;
		}
		put_encode(&job->followup, quality, false);
		return false;
	}
	if (type == MSG_ENCODED && s->op) {
		get_coded(payload, &coded);
		s->op->row.tables = coded.tables;
		if (!payload->failed)
			buf_put(&s->op->data, payload->data, payload->len);
		return true;
	}
	if (type == MSG_REFUSED) {
		op_free(TAKE_PTR(s->op));
		return true;
	}
	*ret_bad = true;
	return false;
}

struct op *next_step_op(const struct image_row *row, struct next_step next)
{
	struct op *op = op_new(OP_RESCORE);

	if (op) {
		op->row = *row;
		row_set_step(&op->row, next);
		op->was_quality = row->quality;
	}
	return op;
}

/* The op that keeps an image from being tried again: no further step. */
static struct op *no_more_steps(const struct image_row *row)
{
	return next_step_op(row, (struct next_step){-1, 0});
}

/* Packing alone made it no smaller, or could not be done: it stays what it is until its next step. */
static bool is_packed_for_nothing(const struct op *step, const struct image_row *row)
{
	return step->row.quality == row->quality && (!step->row.tables || step->data.len >= row->bytes);
}

static void step_finished(struct job *job, const char *why)
{
	struct step_job *s = job->user;
	struct keeper *k = s->k;
	struct op *op = TAKE_PTR(s->op);
	bool unable = why && job->unable;
	char id[17];

	job_done(job);
	free(job);
	if (unable) { /* the image is not to blame: it may step another time */
		log_warn("image %s is not degraded now: %s", format_id(s->row.id, id), why);
		op_free(TAKE_PTR(op));
	} else if (!why && op && is_packed_for_nothing(op, &s->row)) {
		struct op *step = op;

		op = next_step_op(&step->row, (struct next_step){step->row.step, step->row.step_to});
		op_free(step);
	} else if (why || !op || !op->data.len || op->data.len > s->row.bytes) {
		if (why)
			log_warn("image %s cannot be degraded: %s", format_id(s->row.id, id), why);
		op_free(op);
		op = no_more_steps(&s->row);
	}
	if (op) {
		op->was_quality = s->row.quality;
		op->row.flags &= ~(uint32_t)IMAGE_FILE;
		if (op->kind == OP_STEP && (int64_t)op->data.len > k->d->config.store.inline_max_bytes)
			op->row.flags |= IMAGE_FILE;
		op->user = k;
		op->done = on_relieved;
		k->round_step = MAX(k->round_step, s->row.step);
		gather(k, op);
	}
	step_done(s);
}

bool collect_row(void *user, const struct image_row *row)
{
	struct candidates *c = user;

	c->row[c->n++] = *row;
	return c->n < c->want;
}

static void step_dropped(void *user)
{
	struct step_job *s = user;

	op_free(s->op);
	free(s);
}

int submit_stored(struct keeper *k, const struct image_row *row, bool rescore)
{
	struct step_job *s = calloc(1, sizeof(*s));
	struct job *job = calloc(1, sizeof(*job));
	struct stored_image image = stored_of_row(row);
	size_t at;
	int r = -ENOMEM;

	image.asked = (rescore ? 0 : ASK_NO_NETWORK) |
		(population_wants_rates(&k->d->population, row->hash) ? 0 : ASK_FEW_RATES);
	image.label = stratum_label(row->stratum);
	if (s && job) {
		s->k = k;
		s->row = *row;
		s->model = k->d->model.version;
		job->user = s;
		job->background = rescore;
		job->answer = rescore ? rescore_answer : step_answer;
		job->finished = rescore ? rescore_finished : step_finished;
		job->dropped = step_dropped;
		at = frame_begin(&job->request, MSG_STORED);
		put_stored(&job->request, &image);
		r = view_data(k->d->view, row, &job->request);
		frame_end(&job->request, at);
	}
	if (r < 0) {
		struct op *op = rescore ? NULL : no_more_steps(row);
		char id[17];

		log_warn("image %s: stored bytes cannot be read: %s", format_id(row->id, id), strerror(-r));
		salvage_if_damaged(k->d, r);
		if (op) { /* so that it is not the cheapest for ever */
			op->user = k;
			op->done = on_relieved;
			gather(k, op);
		}
		if (job)
			job_done(job);
		free(job);
		free(s);
		return r;
	}
	*(rescore ? &k->rescore_out : &k->outstanding) += 1;
	k->round_step = rescore ? k->round_step : MAX(k->round_step, row->step);
	pool_submit(k->d->pool, job);
	return 0;
}

/* Sends the cheapest steps, none dearer than limit, to the workers; 0 when there are none. */
static int degrade(struct keeper *k, int want, float limit)
{
	struct candidates *c = calloc(1, sizeof(*c));
	int n = 0;

	if (!c)
		return 0;
	c->k = k;
	c->want = MIN(want, STEPS_MAX);
	salvage_if_damaged(k->d, view_cheapest(k->d->view, c->want, collect_row, c));
	k->round_step = 0;
	k->outstanding = 1; /* held until all are submitted */
	for (int i = 0; i < c->n && price_decode(c->row[i].step) <= limit; i++)
		n += submit_stored(k, &c->row[i], false) == 0;
	free(c);
	if (n) {
		k->d->price = MAX(k->d->price, price_decode(k->round_step));
		k->dropping = false;
	}
	k->outstanding--;
	return n;
}

float keeper_door_price(const struct daemon *d)
{
	return keeper_nearly_full(d) ? MAX(d->price, d->keeper->target) : d->price;
}

/* Bytes to be freed before captures come that would wait for it; 0: enough is free, or nothing may go. */
static int64_t ahead_lacks(const struct keeper *k)
{
	int64_t want = MAX(k->d->limit / AHEAD_PART, (int64_t)PAGE_BYTES), room = room_left(k->d);

	return room < want / 2 && clock_steady_us() >= k->ahead_again_us ? want - room : 0;
}

/* How many images a round may drop: a few of many, then it is asked anew what is to go. */
static int drops_max(const struct daemon *d)
{
	return MAX(store_batch_max(d->store), (int)MIN(daemon_images(d) / DROPS_PART, (int64_t)DROPS_MAX));
}

static void relieve(struct keeper *k, int64_t need, bool hard, bool ahead)
{
	struct daemon *d = k->d;
	int want = store_batch_max(d->store);
	bool adaptive = d->config.policy.mode == MODE_ADAPTIVE;
	double mean = mean_bytes(d), gain;

	if (k->relieving && hard)
		k->hard_need = MAX(need, INT64_C(1)); /* when this round is over */
	if (k->relieving || d->stopping)
		return;
	k->relieving = true;
	k->ahead = ahead;
	k->hard_need = 0;
	note_lowered(k);
	gain = compact_gain(k);
	if (gain > 0 && (!adaptive || (double)room_left(d) + gain >= 0) && compact_begin(k, hard ? need : 0))
		return;
	if (adaptive) {
		const struct regime r = regime(d);
		double images, divergence = mean_divergence(d, &images);
		const struct plan plan = keeper_plan(d, image_budget(d));
		float limit = plan_price(&r, images, divergence, image_budget(d));
		int steps = plan_steps((double)need, mean, want), drops;

		k->target = plan_target_price(&d->population, &plan);
		log_debug("full%s: mean %.0f bytes, price %.3g, limit %.3g", hard ? ", steps did not fit" : "",
			mean, (double)d->price, (double)limit);
		if (!hard && degrade(k, steps, limit) > 0) {
			if (k->outstanding == 0)
				end_round(k);
			return;
		}
		if (gain > 0 && compact_begin(k, hard ? need : 0))
			return;
		drops = plan_drops((double)need, mean, overhead_per_image(d), drops_max(d));
		/* A step that does not fit says nothing about what a byte is worth. */
		if (drop_members(k, drops) > 0 && !hard)
			d->price = limit;
		if (!k->ops && !hard && degrade(k, steps, INFINITY) > 0 && k->outstanding)
			return;
	} else {
		drop_in_order(k, plan_drops((double)need, mean, 0, drops_max(d)));
	}
	end_round(k);
}

void keeper_make_room(struct daemon *d, int64_t need, bool hard)
{
	relieve(d->keeper, need, hard, false);
}

struct shrink_task {
	struct task task;
	struct daemon *d;
	int pages; /* given back, or a negative errno */
};

static void run_shrink(struct store *store, struct task *task)
{
	((struct shrink_task *)task)->pages = store_shrink(store, SHRINK_PAGES);
}

static void shrink_done(struct task *task)
{
	struct shrink_task *t = (struct shrink_task *)task;
	struct daemon *d = t->d;

	d->keeper->shrinking = false;
	d->keeper->cannot_shrink = t->pages <= 0;
	free(task);
	keeper_check(d);
}

/* Gives free pages back to the file system. */
static void shrink(struct keeper *k)
{
	struct shrink_task *t = calloc(1, sizeof(*t));

	if (!t || k->shrinking) {
		free(t);
		return;
	}
	k->shrinking = true;
	t->d = k->d;
	t->task.run = run_shrink;
	t->task.done = shrink_done;
	writer_task(k->d->writer, &t->task);
}

void keeper_resume(struct keeper *k)
{
	k->relieving = k->cannot_shrink = k->full = false;
	if (k->hard_need)
		keeper_make_room(k->d, k->hard_need, true);
	else
		writer_room(k->d->writer);
	keeper_check(k->d);
}

void keeper_check(struct daemon *d)
{
	const struct usage *u = writer_usage(d->writer);
	struct keeper *k = d->keeper;
	int64_t over = u->total - images_limit(d), ahead;

	if (d->stopping)
		return;
	if (k->restep_due && !k->relieving)
		restep_begin(k);
	if (over > 0 && !k->relieving && !k->shrinking) {
		if (u->index_free > 0 && !k->cannot_shrink)
			shrink(k);
		else if (!k->full)
			keeper_make_room(d, over, false);
	} else if (over <= 0 && !k->shrinking && (ahead = ahead_lacks(k)) > 0) {
		relieve(k, ahead, false, true);
	}
	/* With room to spare new images need not pay what scarcity once cost. */
	if (!keeper_nearly_full(d))
		d->price *= 0.98f;
	rescore_next(k);
}
