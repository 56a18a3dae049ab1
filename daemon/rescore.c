/*
 * Rescoring: after a new model, and only when nothing else is going on, every image's curve is
 * computed again and its next step with it.
 */
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "daemon/keeper_internal.h"
#include "daemon/salvage.h"
#include "policy/idle.h"

#define ROUNDS_MAX 3 /* what is damaged is missed each time */
#define AGAIN_MS   1000

/* Once more over all, which passes those with a score. */
static void start_over(struct keeper *k)
{
	k->rescore_missed = false;
	k->rescore_rounds++;
	k->rescore_after = -1;
}

/* An image was degraded meanwhile, or its worker died. */
static void missed(struct keeper *k)
{
	if (k->rescore_rounds >= ROUNDS_MAX)
		return;
	if (k->rescore_after == INT64_MAX) {
		start_over(k);
		rescore_next(k);
	} else {
		k->rescore_missed = true;
	}
}

static void on_rescored(void *user, struct op *op)
{
	if (op->result < 0)
		missed(user);
	op_free(op);
}

static void rescore_done(struct step_job *s)
{
	struct keeper *k = s->k;

	free(s);
	if (--k->rescore_out == 0) {
		k->rescoring = false;
		rescore_next(k);
	}
}

/* Updates a row's divergences by a new model's, relative to what is stored now. */
static struct op *rescored(struct step_job *s, struct curve_answer *a)
{
	struct daemon *d = s->k->d;
	struct op *op = op_new(OP_RESCORE);
	float paid = s->row.n_harm ? kl_decode(s->row.harm[s->row.n_harm - 1]) : 0;

	if (!op)
		return NULL;
	curve_make_monotone(&a->curve);
	if (s->row.quality >= 60)
		population_add_stored(&d->population, &a->curve);
	population_fill_rates(&d->population, &a->curve);
	for (int i = 0; i < a->curve.n; i++)
		a->curve.kl[i] += paid;
	op->row = s->row;
	row_set_step(&op->row, next_of_curve(d, &s->row, &a->curve));
	op->row.model = s->model;
	if (a->curve.scored)
		op->row.flags |= IMAGE_SCORED;
	row_set_harm(&op->row, &a->curve, a->curve.n - 1);
	op->was_quality = s->row.quality;
	op->user = s->k;
	op->done = on_rescored;
	return op;
}

bool rescore_answer(struct job *job, uint8_t type, struct reader *payload, bool *ret_bad)
{
	struct step_job *s = job->user;
	struct curve_answer a;

	if (type == MSG_REFUSED)
		return true;
	if (type != MSG_CURVE || get_curve(payload, &a) < 0) {
		*ret_bad = true;
		return false;
	}
	op_free(s->op);
	s->op = rescored(s, &a);
	return true;
}

void rescore_finished(struct job *job, const char *why)
{
	struct step_job *s = job->user;

	(void)why; /* it keeps its old score */
	job_done(job);
	free(job);
	if (s->op)
		writer_add(s->k->d->writer, TAKE_PTR(s->op));
	else
		missed(s->k);
	rescore_done(s);
}

static bool may_rescore(const struct keeper *k)
{
	const struct daemon *d = k->d;

	return !k->rescoring && !k->relieving && !d->stopping && d->model.params &&
		d->config.policy.mode == MODE_ADAPTIVE && k->rescore_after != INT64_MAX &&
		intake_in_flight(d->intake) == 0 && !writer_waiting_for_room(d->writer) &&
		clock_steady_us() - d->last_capture_us >= MIN(d->config.idle.quiet_us, 30 * US_PER_SEC);
}

/* Whether the device is idle enough for it, as for training; captures have been looked at. */
static bool device_allows(struct keeper *k)
{
	const struct daemon *d = k->d;
	struct idle_sample s;
	enum idle verdict;
	char why[200];

	probe_idle(d->last_capture_us, k->rescore_working, pool_width_background(d->pool), &s);
	s.quiet_us = INT64_MAX;
	s.cooling_us = k->rescore_hot_us ? clock_steady_us() - k->rescore_hot_us : 0;
	verdict = idle_decide(&s, &d->config, why, sizeof(why));
	if (verdict != IDLE_HOT)
		k->rescore_hot_us = 0;
	else if (!k->rescore_hot_us)
		k->rescore_hot_us = clock_steady_us();
	k->rescore_working = verdict == IDLE_YES;
	return k->rescore_working;
}

static void on_timer(uv_timer_t *t)
{
	struct keeper *k = t->data;

	k->timer_on = false;
	rescore_next(k);
}

static void look_again(struct keeper *k, int64_t ms)
{
	if (!k->timer_on)
		uv_timer_start(&k->timer, on_timer, (uint64_t)ms, 0);
	k->timer_on = true;
}

static void find_unscored(struct keeper *k, struct candidates *c)
{
	salvage_if_damaged(k->d,
		view_walk(k->d->view, k->rescore_after, k->d->model.version, c->want, collect_row, c));
}

/* One more handful of images; looks again later when something else is going on. */
void rescore_next(struct keeper *k)
{
	struct candidates *c;

	if (k->rescore_after == INT64_MAX || k->rescoring || k->d->stopping)
		return;
	if (!may_rescore(k)) {
		k->rescore_working = false;
		look_again(k, AGAIN_MS);
		return;
	}
	if (!device_allows(k)) {
		look_again(k, BUSY_MS);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	c->want = CLAMP(8 * pool_width_background(k->d->pool), 8, STEPS_MAX);
	find_unscored(k, c);
	if (!c->n && k->rescore_missed) {
		start_over(k);
		find_unscored(k, c);
	}
	if (!c->n) {
		log_info("all images are scored by model %lld", (long long)k->d->model.version);
		k->rescore_after = INT64_MAX;
		daemon_save_policy(k->d);
	}
	k->rescoring = c->n > 0;
	k->rescore_out = 1;
	for (int i = 0; i < c->n; i++) {
		k->rescore_after = c->row[i].id;
		submit_stored(k, &c->row[i], true);
	}
	if (--k->rescore_out == 0 && k->rescoring) {
		k->rescoring = false;
		look_again(k, AGAIN_MS);
	}
	free(c);
}

void keeper_rescore(struct daemon *d)
{
	d->keeper->rescore_after = -1;
	d->keeper->rescore_rounds = 0;
	rescore_next(d->keeper);
}

void keeper_new_model(struct daemon *d)
{
	population_new_model(&d->population);
	keeper_rescore(d);
}
