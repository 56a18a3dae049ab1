/*
 * What the next steps of stored images mean depends on settings: with Mode=adaptive they are prices, and
 * lead no lower than MinQuality; else they are the order in which images go. When these settings have
 * changed since the steps were worked out all are worked out anew, from what the rows know. Nothing makes
 * way meanwhile: captures wait for the few seconds that it takes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "daemon/keeper_internal.h"
#include "daemon/salvage.h"

#define KEY "steps" /* in the index: the settings that the steps are of */

/* An image, and when it was taken. */
struct dated {
	int64_t taken_s, id;
};

struct restep {
	struct keeper *k;
	struct dated *order; /* owned; Mode=uniform: all images, the oldest first. NULL: by id */
	size_t n, room, at;  /* of order */
	int64_t after;	     /* the last id */
	struct op *ops;	     /* owned; of the next batch */
	int out;	     /* ops with the writer */
	bool failed;
};

struct next_step next_of_row(const struct daemon *d, const struct image_row *row, int64_t sequence)
{
	enum policy_mode mode = (enum policy_mode)d->config.policy.mode;
	struct curve c;

	curve_of_row(row, (int)d->config.policy.min_quality, &c);
	population_fill_rates(&d->population, &c);
	if (mode == MODE_ADAPTIVE)
		return next_of_curve(d, row, &c);
	return choose_next(mode, &c, &d->population, c.n - 1, stratum_is_validation(row->stratum), sequence,
		row->rank);
}

static void settings_of(const struct config *c, char ret[STEPS_FOR_MAX])
{
	enum policy_mode mode = (enum policy_mode)c->policy.mode;

	if (mode == MODE_ADAPTIVE)
		snprintf(ret, STEPS_FOR_MAX, "%s %d", policy_mode_name(mode), (int)c->policy.min_quality);
	else
		snprintf(ret, STEPS_FOR_MAX, "%s", policy_mode_name(mode));
}

static void next_batch(struct restep *r);

static void on_applied(void *user, struct op *op)
{
	struct restep *r = user;

	r->failed = r->failed || op->result == -ENOSPC;
	op_free(op); /* one that changed meanwhile has a step of the new settings, or none */
	if (--r->out == 0)
		next_batch(r);
}

static void put_step(struct restep *r, const struct image_row *row, int64_t sequence)
{
	struct next_step next = next_of_row(r->k->d, row, sequence);
	struct op *op;

	if (next.step == row->step && next.to == row->step_to)
		return;
	op = next_step_op(row, next);
	if (!op) {
		r->failed = true;
		return;
	}
	op->user = r;
	op->done = on_applied;
	op->next = r->ops;
	r->ops = op;
	r->out++;
}

static bool add_dated(void *user, const struct image_row *row)
{
	struct restep *r = user;

	if (r->n == r->room) {
		size_t room = MAX(2 * r->room, (size_t)1024);
		struct dated *all = realloc(r->order, room * sizeof(*all));

		if (!all) {
			r->failed = true;
			return false;
		}
		r->order = all;
		r->room = room;
	}
	r->order[r->n++] = (struct dated){row->taken_s, row->id};
	return true;
}

static int by_time(const void *a, const void *b)
{
	const struct dated *x = a, *y = b;

	return x->taken_s != y->taken_s ? (x->taken_s < y->taken_s ? -1 : 1)
					: (x->id > y->id) - (x->id < y->id);
}

/* All images, the oldest first. */
static void put_in_order(struct restep *r)
{
	int e = view_walk(r->k->d->view, -1, -1, INT32_MAX, add_dated, r);

	salvage_if_damaged(r->k->d, e);
	r->failed = r->failed || e < 0;
	if (r->n)
		qsort(r->order, r->n, sizeof(*r->order), by_time);
}

/* The steps of up to STEPS_MAX more rows; false: there are no more rows. */
static bool put_some(struct restep *r)
{
	struct daemon *d = r->k->d;
	struct candidates *c = calloc(1, sizeof(*c));
	int e;

	if (!c || r->failed) {
		free(c);
		r->failed = true;
		return false;
	}
	c->want = STEPS_MAX;
	if (r->order) {
		for (; r->at < r->n && c->n < c->want; r->at++)
			if (view_row(d->view, r->order[r->at].id, &c->row[c->n]) == 0)
				put_step(r, &c->row[c->n++], (int64_t)r->at);
	} else {
		e = view_walk(d->view, r->after, -1, c->want, collect_row, c);
		salvage_if_damaged(d, e);
		r->failed = e < 0;
		for (int i = 0; i < c->n; i++) {
			r->after = c->row[i].id;
			put_step(r, &c->row[i], 0);
		}
	}
	e = c->n;
	free(c);
	return e > 0;
}

static void remember_settings(const struct keeper *k)
{
	struct op *op = op_new(OP_META);

	if (!op)
		return; /* the next start does it again */
	snprintf(op->key, sizeof(op->key), KEY);
	buf_put(&op->data, k->steps_for, strlen(k->steps_for));
	writer_add(k->d->writer, op);
}

static void finish(struct restep *r)
{
	struct keeper *k = r->k;

	if (!r->failed) {
		remember_settings(k);
		log_notice("all images have steps of Mode and MinQuality as they are now");
	} else {
		log_error(
			"not all images have steps of Mode and MinQuality as they are now; the next start "
			"goes on");
	}
	restep_free(TAKE_PTR(k->restep));
	keeper_resume(k);
}

/* As relief: a queue that waits for room waits for what the steps will be. */
static void next_batch(struct restep *r)
{
	bool more = !r->k->d->stopping;

	while (more && !r->ops)
		more = put_some(r);
	if (r->ops)
		writer_relief(r->k->d->writer, TAKE_PTR(r->ops));
	else if (!r->k->d->stopping)
		finish(r);
}

/* Where captures of these settings begin, as far as what was stored with others tells. */
static void begin_population(struct daemon *d)
{
	double quality;
	int64_t bytes, images = daemon_totals(d, &bytes, &quality);

	population_init(&d->population);
	d->price = 0;
	if (images)
		population_expect(&d->population, (int)(quality + 0.5), (float)bytes / (float)images);
}

void restep_begin(struct keeper *k)
{
	struct daemon *d = k->d;
	struct restep *r = calloc(1, sizeof(*r));
	const char *adaptive = policy_mode_name(MODE_ADAPTIVE);
	bool was_adaptive = !strncmp(k->steps_for, adaptive, strlen(adaptive));
	char was[STEPS_FOR_MAX];

	if (!r)
		return; /* keeper_check() tries again */
	k->restep_due = false;
	k->relieving = true;
	k->restep = r;
	r->k = k;
	r->after = -1;
	memcpy(was, k->steps_for, sizeof(was));
	settings_of(&d->config, k->steps_for);
	log_notice("Mode and MinQuality were '%s' and are '%s': what images give next is worked out anew", was,
		k->steps_for);
	if (d->config.policy.mode == MODE_ADAPTIVE && !was_adaptive)
		begin_population(d);
	if (d->config.policy.mode == MODE_UNIFORM)
		put_in_order(r);
	next_batch(r);
}

void restep_free(struct restep *r)
{
	if (!r)
		return;
	op_free_all(r->ops);
	free(r->order);
	free(r);
}

void keeper_settings(struct daemon *d)
{
	struct keeper *k = d->keeper;
	char now[STEPS_FOR_MAX];

	settings_of(&d->config, now);
	if (!k->steps_for[0]) {
		_cleanup_buf_ struct buf b = {0};

		if (view_meta(d->view, KEY, &b) == 0 && b.len < STEPS_FOR_MAX) {
			memcpy(k->steps_for, b.data, b.len);
		} else { /* a new store, or one of a build that did not say */
			snprintf(k->steps_for, sizeof(k->steps_for), "%s", now);
			remember_settings(k);
		}
	}
	k->restep_due = strcmp(k->steps_for, now) != 0;
	keeper_check(d);
}
