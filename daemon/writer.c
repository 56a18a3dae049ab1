#include "daemon/writer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"

#define RETRY_MS     1000
#define FLUSH_MS     500
#define AGAIN_MS     60000 /* a spool file that cannot be removed is tried again */
#define BATCH_BYTES  (INT64_C(8) << 20) /* at most; and no more than a sixteenth of the limit */
#define REFUSED_MAX  3 /* times, before twice as much is asked for each time */
#define DOUBLED_MAX  16

/* What the thread works on; nothing of it is touched by the loop meanwhile. */
struct batch_job {
	uv_work_t req;
	struct writer *w;
	struct store *store;	/* borrowed; the thread's while it runs */
	struct op *ops;
	bool relief;
	struct limits limits;
	where_fn where;
	const void *spools; /* its user */
	int result;
	char error[256];
	struct tally_list change;
	struct usage usage;
	struct task *task; /* instead of ops */
};

struct writer {
	uv_loop_t *loop;
	struct store *store; /* borrowed */
	struct writer_events events;
	struct op *head, **tail;
	struct op *relief; /* to be applied next */
	struct op *settled, **settled_tail; /* OP_SETTLED waiting for company */
	struct op *unsettled;		    /* OP_SETTLED of files that cannot be removed now */
	int n_unsettled;
	struct task *tasks, **task_tail;
	struct limits limits;
	where_fn where;
	const void *spools; /* its user */
	int batch_max;
	int refused; /* times in a row that the batch at the front did not fit */
	bool busy, wants_room, paused;
	bool had_task, had_relief; /* the last job was */
	struct usage usage;
	uv_timer_t retry, flush, again;
};

static void start(struct writer *w);

static void on_retry(uv_timer_t *t)
{
	struct writer *w = t->data;

	w->paused = false;
	start(w);
}

static void on_flush(uv_timer_t *t)
{
	writer_flush(t->data);
}

static void settle_again(struct writer *w)
{
	uv_timer_stop(&w->again);
	w->n_unsettled = 0;
	for (struct op *op = TAKE_PTR(w->unsettled), *next; op; op = next) {
		next = op->next;
		writer_add(w, op);
	}
}

static void on_again(uv_timer_t *t)
{
	settle_again(t->data);
}

struct writer *writer_new(uv_loop_t *loop, struct store *store, const struct writer_events *events)
{
	struct writer *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->loop = loop;
	w->store = store;
	w->events = *events;
	w->tail = &w->head;
	w->settled_tail = &w->settled;
	w->task_tail = &w->tasks;
	w->batch_max = store_batch_max(store);
	store_usage(store, &w->usage);
	uv_timer_init(loop, &w->retry);
	uv_timer_init(loop, &w->flush);
	uv_timer_init(loop, &w->again);
	w->retry.data = w->flush.data = w->again.data = w;
	return w;
}

void writer_free(struct writer *w)
{
	if (!w)
		return;
	op_free_all(w->head);
	op_free_all(w->relief);
	op_free_all(w->settled);
	op_free_all(w->unsettled);
	free(w);
}

/* Releases the batch's captures from the spool: those committed with it, or those to be tried again. */
static void settle(struct batch_job *j, bool again)
{
	for (struct op *op = j->ops; op; op = op->next) {
		const char *below;
		int r, fd;

		if (again ? op->kind != OP_SETTLED || !op->file.path[0]
			  : op->kind == OP_SETTLED || !op->taken_id)
			continue;
		fd = j->where(j->spools, op->file.path, &below);
		r = fd < 0 ? 0 : store_settle(j->store, fd, below, &op->file, op->row.id, op->text);
		if (r < 0 && !again)
			log_warn("spool file '%s' cannot be removed: %s; tried again every minute",
				op->file.path, strerror(-r));
		op->unsettled = r < 0;
	}
}

static void run_job(uv_work_t *req)
{
	struct batch_job *j = req->data;

	store_set_limits(j->store, &j->limits);
	if (j->task) {
		j->task->run(j->store, j->task);
	} else {
		settle(j, true);
		j->result = store_apply(j->store, j->ops, j->relief, &j->change);
		if (j->result == 0)
			settle(j, false);
		else
			snprintf(j->error, sizeof(j->error), "%s", store_error(j->store));
	}
	store_usage(j->store, &j->usage);
}

/* The record of this capture stays until its spool file can be removed. */
static void keep_unsettled(struct writer *w, const struct op *from)
{
	struct op *op = op_new(OP_SETTLED);

	if (!op)
		return; /* the next start finds the record */
	op->taken_id = from->taken_id;
	op->file = from->file;
	op->row.id = from->row.id;
	snprintf(op->text, sizeof(op->text), "%s", from->text);
	op->next = w->unsettled;
	w->unsettled = op;
	w->n_unsettled++;
	if (!uv_is_active((uv_handle_t *)&w->again))
		uv_timer_start(&w->again, on_again, AGAIN_MS, 0);
}

/* One more record of a capture that is gone from the spool, to go with a later batch. */
static void queue_settled(struct writer *w, int64_t taken_id)
{
	struct op *op = op_new(OP_SETTLED);

	if (!op)
		return; /* the next start finds the record and no file */
	op->taken_id = taken_id;
	*w->settled_tail = op;
	w->settled_tail = &op->next;
	if (!uv_is_active((uv_handle_t *)&w->flush))
		uv_timer_start(&w->flush, on_flush, FLUSH_MS, 0);
}

static void finish_ops(struct writer *w, struct batch_job *j)
{
	struct op *op = TAKE_PTR(j->ops);

	while (op) {
		struct op *next = op->next;

		op->next = NULL;
		if (op->unsettled)
			keep_unsettled(w, op);
		else if (op->taken_id && op->kind != OP_SETTLED)
			queue_settled(w, op->taken_id);
		if (op->done)
			op->done(op->user, op);
		else
			op_free(op);
		op = next;
	}
}

/* Puts a batch that did not go through back to the front of its queue. */
static void put_back(struct writer *w, struct batch_job *j)
{
	struct op **last = &j->ops;

	while (*last)
		last = &(*last)->next;
	if (j->relief) {
		*last = w->relief;
		w->relief = TAKE_PTR(j->ops);
		return;
	}
	if (!w->head)
		w->tail = last;
	*last = w->head;
	w->head = TAKE_PTR(j->ops);
}

static int64_t bytes_in(const struct op *op)
{
	int64_t n = 0;

	for (; op; op = op->next)
		n += (int64_t)op->data.len + (op->kind == OP_QUARANTINE ? op->file.size : 0);
	return n;
}

/*
 * What is to be freed for a batch: the pages of its bytes, and when that was in vain a few times twice as much
 * each time. Small images are rows of pages that they share: one that goes seldom frees a page, nor makes room
 * in the one that a new row belongs to, and by their bytes it took hundreds of rounds until one did.
 */
static int64_t bytes_to_free(struct writer *w, int64_t bytes)
{
	w->refused++;
	return ROUND_UP(bytes, (int64_t)PAGE_BYTES) << CLAMP(w->refused - REFUSED_MAX, 0, DOUBLED_MAX);
}

static void pause_queue(struct writer *w)
{
	w->paused = true;
	uv_timer_start(&w->retry, on_retry, RETRY_MS, 0);
}

/* Relief that does not fit in one may in two: what the first frees the second can use. */
static void on_failure(struct writer *w, struct batch_job *j)
{
	int64_t bytes = bytes_in(j->ops);
	int n = op_count(j->ops);

	if (j->result == -ENOSPC && j->relief && n == 1) {
		j->ops->result = j->result;
		w->events.full(w->events.user, bytes, true);
		finish_ops(w, j);
		return;
	}
	put_back(w, j);
	if (n > 1 && (j->result == -E2BIG || (j->result == -ENOSPC && j->relief))) {
		w->batch_max = n / 2;
	} else if (j->result == -ENOSPC) {
		w->wants_room = true;
		w->events.full(w->events.user, bytes_to_free(w, bytes), false);
	} else {
		w->events.failing(w->events.user, j->result, j->error);
		pause_queue(w);
	}
}

static void on_job_done(uv_work_t *req, int status)
{
	struct batch_job *j = req->data;
	struct writer *w = j->w;

	(void)status;
	w->busy = false;
	w->usage = j->usage;
	if (j->task) {
		j->task->done(j->task);
	} else if (j->result < 0) {
		on_failure(w, j);
	} else {
		w->batch_max = MIN(w->batch_max + 1, store_batch_max(w->store));
		w->events.changed(w->events.user, &j->change);
		finish_ops(w, j);
		if (j->relief)
			w->wants_room = false;
		else
			w->refused = 0;
	}
	tally_done(&j->change);
	free(j);
	start(w);
}

/* Cuts the next batch off a list. */
static struct op *cut(struct op **head, struct op ***tail, int max, int64_t max_bytes)
{
	struct op *first = *head, **last = head;
	int64_t bytes = 0;

	for (int n = 0; *last && n < max; n++) {
		bytes += ROUND_UP((int64_t)(*last)->data.len, INT64_C(4096));
		if (n && bytes > max_bytes)
			break;
		last = &(*last)->next;
	}
	if (last == head)
		return NULL;
	*head = *last;
	*last = NULL;
	if (!*head && tail)
		*tail = head;
	return first;
}

static void start(struct writer *w)
{
	bool may_go_on = w->head && !w->wants_room;
	/* Captures that do not wait for relief go between its batches. */
	bool relief = w->relief && !(w->had_relief && may_go_on && !w->refused);
	struct batch_job *j;

	if (w->busy || w->paused)
		return;
	if (!w->tasks && !w->relief && !may_go_on)
		return;
	j = calloc(1, sizeof(*j));
	if (!j) {
		pause_queue(w);
		return;
	}
	*j = (struct batch_job){.w = w,
		.store = w->store,
		.limits = w->limits,
		.where = w->where,
		.spools = w->spools,
		.req.data = j};
	if (relief) {
		j->relief = true;
		j->ops = cut(&w->relief, NULL, w->batch_max, store_relief_bytes(w->limits.total));
	} else if (w->tasks && !(w->had_task && may_go_on)) {
		j->task = w->tasks;
		w->tasks = j->task->next;
		if (!w->tasks)
			w->task_tail = &w->tasks;
	} else {
		j->ops = cut(&w->head, &w->tail, w->batch_max, MIN(BATCH_BYTES, w->limits.total / 16));
	}
	w->had_task = j->task;
	w->had_relief = j->relief;
	w->busy = true;
	uv_queue_work(w->loop, &j->req, run_job, on_job_done);
}

void writer_flush(struct writer *w)
{
	uv_timer_stop(&w->flush);
	if (!w->settled)
		return;
	*w->tail = w->settled;
	w->tail = w->settled_tail;
	w->settled = NULL;
	w->settled_tail = &w->settled;
	start(w);
}

void writer_add(struct writer *w, struct op *op)
{
	op->next = NULL;
	*w->tail = op;
	w->tail = &op->next;
	if (w->settled && !w->busy) { /* it goes along with them */
		uv_timer_stop(&w->flush);
		*w->tail = w->settled;
		w->tail = w->settled_tail;
		w->settled = NULL;
		w->settled_tail = &w->settled;
	}
	start(w);
}

void writer_relief(struct writer *w, struct op *ops)
{
	if (!ops) { /* nothing to free now: wait for time or events to change that */
		pause_queue(w);
		w->wants_room = false;
		return;
	}
	w->relief = ops;
	start(w);
}

void writer_room(struct writer *w)
{
	w->wants_room = false;
	start(w);
}

void writer_task(struct writer *w, struct task *task)
{
	task->next = NULL;
	*w->task_tail = task;
	w->task_tail = &task->next;
	start(w);
}

void writer_set_limits(struct writer *w, const struct limits *limits)
{
	w->limits = *limits;
}

void writer_set_spools(struct writer *w, where_fn where, const void *user)
{
	w->where = where;
	w->spools = user;
}

void writer_kick(struct writer *w)
{
	if (w->paused) {
		uv_timer_stop(&w->retry);
		w->paused = false;
	}
	settle_again(w);
	start(w);
}

int writer_unsettled(const struct writer *w)
{
	return w->n_unsettled;
}

bool writer_waiting_for_room(const struct writer *w)
{
	return w->wants_room;
}

const struct usage *writer_usage(const struct writer *w)
{
	return &w->usage;
}
