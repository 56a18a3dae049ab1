/*
 * Label, Pin, Unpin and Remove: one change to up to IDS_MAX images, all of which there have to be. It is
 * done in pieces, so that captures and other clients do not wait; one answer when the last is committed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "daemon/control_verbs.h"
#include "policy/member.h"

#define IDS_MAX 10000

typedef void (*prepare_fn)(struct daemon *d, struct op *op, const struct image_row *row, uint32_t arg);

struct many {
	struct piecework work;
	struct daemon *d;
	struct client *client;
	json_t *texts; /* owned: ids, or how they begin */
	int64_t *id;   /* owned: of the first `found` of them */
	size_t n, found, queued;
	enum op_kind kind;
	prepare_fn prepare; /* fills an op from the row as it is */
	uint32_t arg;
	int left, changed, error; /* left: ops, and the work itself */
};

static void many_free(struct many *m)
{
	client_release(m->client);
	json_decref(m->texts);
	free(m->id);
	free(m);
}

static void many_done(struct many *m)
{
	if (--m->left > 0)
		return;
	if (m->error)
		client_fail(m->client, "%s", strerror(-m->error));
	else
		client_reply(m->client, json_pack("{si}", "changed", m->changed));
	many_free(m);
}

static void on_changed(void *user, struct op *op)
{
	struct many *m = user;

	m->changed += op->result == 0;
	op_free(op);
	many_done(m);
}

static void queue_one(struct many *m, int64_t id)
{
	struct image_row row;
	struct op *op;
	int r = view_row(m->d->view, id, &row);

	if (r == -ENOENT)
		return; /* it has gone meanwhile */
	op = r < 0 ? NULL : op_new(m->kind);
	if (!op) {
		m->error = r < 0 ? r : -ENOMEM;
		return;
	}
	op->row.id = id;
	m->prepare(m->d, op, &row, m->arg);
	op->user = m;
	op->done = on_changed;
	m->left++;
	writer_add(m->d->writer, op);
}

/* First all are looked up, then each is changed. */
static bool run_many(struct piecework *w)
{
	struct many *m = (struct many *)w;
	struct call call = {m->d, m->client, NULL};
	int64_t end = clock_steady_us() + PIECE_US;

	while (!m->d->stopping && m->queued < m->n && clock_steady_us() < end) {
		if (m->found == m->n) {
			queue_one(m, m->id[m->queued++]);
		} else if (call_find_id(&call, json_string_value(json_array_get(m->texts, m->found)),
				   &m->id[m->found])) {
			m->found++;
		} else {
			many_free(m); /* which the client has been told */
			return false;
		}
	}
	if (m->queued < m->n && !m->d->stopping)
		return true;
	if (m->queued < m->n)
		m->error = -ESHUTDOWN;
	many_done(m);
	return false;
}

static void change_many(struct call *c, enum op_kind kind, prepare_fn prepare, uint32_t arg)
{
	json_t *ids = json_object_get(c->parameters, "ids");
	size_t n = json_array_size(ids);
	struct many *m;
	int64_t *id;

	if (!n || n > IDS_MAX) {
		client_fail(c->client, "ids: a list of 1 to %d image ids is needed", IDS_MAX);
		return;
	}
	m = calloc(1, sizeof(*m));
	id = calloc(n, sizeof(*id));
	if (!m || !id) {
		free(m);
		free(id);
		client_fail(c->client, "out of memory");
		return;
	}
	*m = (struct many){.work = {.run = run_many},
		.d = c->d,
		.client = c->client,
		.texts = json_incref(ids),
		.id = id,
		.n = n,
		.kind = kind,
		.prepare = prepare,
		.arg = arg,
		.left = 1};
	client_hold(c->client);
	control_work(c->d->control, &m->work);
}

static void prepare_pinned(struct daemon *d, struct op *op, const struct image_row *row, uint32_t arg)
{
	(void)d;
	(void)row;
	(void)arg;
	op->row.flags = IMAGE_PINNED; /* for a removal: even if it is pinned */
}

static void set_next_step(const struct daemon *d, struct op *op, const struct image_row *row)
{
	row_set_step(&op->row, next_of_row(d, row, d->sequence));
}

static void prepare_label(struct daemon *d, struct op *op, const struct image_row *row, uint32_t label)
{
	bool validation = label && member_is_validation(row->hash, d->config.training.validation_percent);
	struct image_row then = *row;

	op->row.stratum = then.stratum = stratum_of(label, validation);
	set_next_step(d, op, &then);
}

static void prepare_unpin(struct daemon *d, struct op *op, const struct image_row *row, uint32_t arg)
{
	(void)arg;
	op->row.flags = 0;
	set_next_step(d, op, row);
}

struct labelling {
	struct daemon *d;
	struct client *client;
	json_t *parameters; /* owned */
};

static void on_label_known(void *user, struct op *op)
{
	struct labelling *l = user;
	struct call call = {l->d, l->client, l->parameters};
	uint32_t id = op->row.stratum;
	int r = op->result;

	if (r == 0)
		r = daemon_add_label(l->d, id, op->text);
	op_free(op);
	if (r < 0)
		client_fail(l->client, "no more labels can be had: %s", strerror(-r));
	else
		change_many(&call, OP_LABEL, prepare_label, id);
	client_release(l->client);
	json_decref(l->parameters);
	free(l);
}

static bool label_is_sane(const char *name)
{
	return strlen(name) <= LABEL_MAX && !strchr(name, '/') && name[0] != '.';
}

void run_label(struct call *c)
{
	const char *name = json_string_value(json_object_get(c->parameters, "label"));
	struct labelling *l;
	struct op *op;

	if (!name || (name[0] && !label_is_sane(name))) {
		client_fail(c->client,
			"label: a name of at most %d bytes without '/' and not beginning with '.' is "
			"needed, or an empty one to take the label away",
			LABEL_MAX);
		return;
	}
	if (!name[0] || daemon_label_id(c->d, name)) {
		change_many(c, OP_LABEL, prepare_label, name[0] ? daemon_label_id(c->d, name) : 0);
		return;
	}
	l = calloc(1, sizeof(*l));
	op = op_new(OP_NEW_LABEL);
	if (!l || !op) {
		free(l);
		op_free(op);
		client_fail(c->client, "out of memory");
		return;
	}
	l->d = c->d;
	l->client = c->client;
	l->parameters = json_deep_copy(c->parameters);
	client_hold(c->client);
	snprintf(op->text, sizeof(op->text), "%s", name);
	op->user = l;
	op->done = on_label_known;
	writer_add(c->d->writer, op);
}

void run_pin(struct call *c)
{
	change_many(c, OP_PIN, prepare_pinned, 0);
}

void run_unpin(struct call *c)
{
	change_many(c, OP_PIN, prepare_unpin, 0);
}

void run_remove(struct call *c)
{
	change_many(c, OP_REMOVE, prepare_pinned, 0);
}
