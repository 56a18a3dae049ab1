#include "daemon/expire.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "daemon/daemon.h"
#include "policy/age.h"

#define ROUND	 1024 /* images looked for at once */
#define AGAIN_US (10 * 60 * US_PER_SEC) /* after a failure */

/* A look through the index on a thread with its own view, and what it found. */
struct round {
	uv_work_t req;
	struct expire *e;
	char path[CONFIG_PATH_MAX], error[256];
	uint32_t *label; /* owned: with limit_s, copies of what the daemon knows */
	int64_t *limit_s;
	size_t n_labels;
	int64_t others_s;
	int64_t id[ROUND];
	int n, result;
};

struct expire {
	struct daemon *d;
	uv_timer_t timer;
	struct age_clock clock;
	struct round *round; /* owned: under way */
	int outstanding;
	int64_t removed;
};

static int64_t limit_of(void *user, uint32_t stratum)
{
	const struct round *w = user;
	uint32_t label = stratum_label(stratum);
	size_t low = 0, high = w->n_labels;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (w->label[middle] < label)
			low = middle + 1;
		else
			high = middle;
	}
	return low < w->n_labels && w->label[low] == label ? w->limit_s[low] : w->others_s;
}

static bool take(void *user, const struct image_row *row)
{
	struct round *w = user;

	w->id[w->n++] = row->id;
	return w->n < ROUND;
}

static void run_round(uv_work_t *req)
{
	struct round *w = req->data;
	_cleanup_(view_closep) struct store_view *v = NULL;

	w->result = view_open(w->path, &v, w->error);
	if (w->result == 0)
		w->result = view_older(v, -1, limit_of, take, w);
}

static void round_free(struct round *w)
{
	if (!w)
		return;
	free(w->label);
	free(w->limit_s);
	free(w);
}

/* In seconds since 1970: images of that label that were taken before are too old. */
static int64_t limit_for(const struct expire *e, const char *label)
{
	int64_t us = age_limit_us(&e->d->config.store.max_age, label);

	return us ? (clock_wall_us() - us) / US_PER_SEC : INT64_MIN;
}

static struct round *new_round(struct expire *e)
{
	const struct daemon *d = e->d;
	struct round *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->req.data = w;
	w->e = e;
	w->n_labels = d->n_labels;
	w->label = calloc(d->n_labels + 1, sizeof(w->label[0]));
	w->limit_s = calloc(d->n_labels + 1, sizeof(w->limit_s[0]));
	if (!w->label || !w->limit_s) {
		round_free(w);
		return NULL;
	}
	snprintf(w->path, sizeof(w->path), "%s", d->config.store.path);
	w->others_s = limit_for(e, "");
	for (size_t i = 0; i < d->n_labels; i++) {
		w->label[i] = d->labels[i].id;
		w->limit_s[i] = limit_for(e, d->labels[i].name);
	}
	return w;
}

static void on_timer(uv_timer_t *t)
{
	expire_check(t->data);
}

static void again_after(struct expire *e, int64_t us)
{
	if (!e->d->stopping)
		uv_timer_start(&e->timer, on_timer, (uint64_t)(us / US_PER_MS), 0);
}

/* Everything that this round found has gone. */
static void round_over(struct expire *e)
{
	bool more = e->round->n == ROUND;

	round_free(TAKE_PTR(e->round));
	if (more) {
		expire_check(e);
		return;
	}
	if (e->removed)
		log_notice("%" PRId64 " images removed for their age (MaxAge)", e->removed);
	e->removed = 0;
	again_after(e, age_period_us(&e->d->config.store.max_age));
}

static void on_removed(void *user, struct op *op)
{
	struct expire *e = user;

	e->removed += op->result == 0;
	op_free(op);
	if (--e->outstanding == 0 && !e->d->stopping)
		round_over(e);
}

static void on_found(uv_work_t *req, int status)
{
	struct round *w = req->data;
	struct expire *e = w->e;

	(void)status;
	if (e->d->stopping)
		return;
	if (w->result < 0) {
		log_error("cannot look for old images: %s; will try again",
			w->error[0] ? w->error : strerror(-w->result));
		round_free(TAKE_PTR(e->round));
		again_after(e, AGAIN_US);
		return;
	}
	e->outstanding = 1; /* so that none ends the round before all are on their way */
	for (int i = 0; i < w->n; i++) {
		struct op *op = op_new(OP_REMOVE);

		if (!op)
			break;
		op->row.id = w->id[i];
		op->user = e;
		op->done = on_removed;
		e->outstanding++;
		writer_add(e->d->writer, op);
	}
	if (--e->outstanding == 0)
		round_over(e);
}

void expire_check(struct expire *e)
{
	bool trusted = age_clock_trusted(&e->clock, clock_wall_us(), clock_steady_us());

	if (!e->d->config.store.max_age.n || e->round || e->d->stopping)
		return;
	if (!trusted) {
		again_after(e, AGE_TRUST_US);
		return;
	}
	e->round = new_round(e);
	if (!e->round)
		again_after(e, AGAIN_US);
	else
		uv_queue_work(e->d->loop, &e->round->req, run_round, on_found);
}

void expire_stop(struct expire *e)
{
	uv_close((uv_handle_t *)&e->timer, NULL);
}

struct expire *expire_new(struct daemon *d)
{
	struct expire *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->d = d;
	uv_timer_init(d->loop, &e->timer);
	e->timer.data = e;
	expire_check(e);
	return e;
}

void expire_free(struct expire *e)
{
	if (!e)
		return;
	round_free(e->round);
	free(e);
}
