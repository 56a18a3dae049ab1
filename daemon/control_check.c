/* Verify and Repair: a check on a thread with its own view of the store, and what comes of it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "daemon/control_verbs.h"
#include "daemon/salvage.h"

#define FINDINGS_MAX 1000

/* An image that is damaged, at the quality that it had then. */
struct lost {
	int64_t id;
	uint8_t quality;
};

struct check {
	uv_work_t req;
	struct daemon *d;
	struct client *client;
	char path[CONFIG_PATH_MAX], error[256];
	json_t *findings; /* owned */
	struct verify_report report;
	struct lost *lost; /* owned; for a repair */
	size_t n_lost, n_bytes_lost;
	json_t *lost_models; /* owned: names */
	bool repair, force;
	int result, outstanding, set_aside, mended, doubtful;
};

static void on_finding(void *user, const char *line)
{
	struct check *k = user;

	if (json_array_size(k->findings) < FINDINGS_MAX)
		json_array_append_new(k->findings, varlink_text(line));
}

static void on_lost(void *user, int64_t id, uint8_t quality, bool bytes)
{
	struct check *k = user;
	struct lost *grown = k->lost;

	if ((k->n_lost & (k->n_lost - 1)) == 0)
		grown = reallocarray(k->lost, k->n_lost ? 2 * k->n_lost : 1, sizeof(*grown));
	if (!grown)
		return; /* the next repair finds it */
	k->lost = grown;
	k->lost[k->n_lost++] = (struct lost){id, quality};
	k->n_bytes_lost += !bytes;
}

static void on_lost_model(void *user, const char *name)
{
	struct check *k = user;

	json_array_append_new(k->lost_models, varlink_text(name));
}

static void run_check(uv_work_t *req)
{
	struct check *k = req->data;
	const struct verify_events events = {.finding = on_finding,
		.lost = k->repair ? on_lost : NULL,
		.lost_model = k->repair ? on_lost_model : NULL,
		.user = k};
	_cleanup_(view_closep) struct store_view *v = NULL;

	k->result = view_open(k->path, &v, k->error);
	if (k->result == 0)
		k->result = view_verify(v, &events, &k->report);
	if (k->result == -EUCLEAN)
		snprintf(k->error, sizeof(k->error),
			"the index itself is damaged: verify --repair makes it anew, or larderd --salvage "
			"once larderd is stopped");
	else if (k->result < 0 && !k->error[0])
		snprintf(k->error, sizeof(k->error), "%s", strerror(-k->result));
}

static void check_free(struct check *k)
{
	json_decref(k->findings);
	json_decref(k->lost_models);
	client_release(k->client);
	free(k->lost);
	free(k);
}

static void answer_verify(struct check *k)
{
	client_reply(k->client,
		json_pack("{sb sI sI sO}", "ok", json_array_size(k->findings) == 0, "images",
			(json_int_t)k->report.images, "bytes", (json_int_t)k->report.bytes, "findings",
			k->findings));
	check_free(k);
}

/* The totals in memory follow the tally, which was made anew. */
static void recounted(struct check *k)
{
	struct daemon *d = k->d;
	struct tally_list tally = {0};

	if (view_tallies(d->view, &tally) == 0) {
		tally_done(&d->tally);
		d->tally = tally;
	} else {
		tally_done(&tally);
		log_error("the totals cannot be read again; a restart will");
	}
	log_notice("repaired: %d images mended, %d set aside, totals counted anew", k->mended, k->set_aside);
	if (k->doubtful)
		log_warn("of %d images the rows were damaged and are taken as they are: labels, times and "
			 "names may be wrong", k->doubtful);
	client_reply(k->client, json_pack("{si si si}", "set_aside", k->set_aside, "mended", k->mended,
		"doubtful", k->doubtful));
	check_free(k);
}

static void one_over(void *user)
{
	struct check *k = user;

	if (--k->outstanding == 0)
		recounted(k);
}

static void op_over(void *user, struct op *op)
{
	struct check *k = user;

	if (op->doubtful)
		k->doubtful++;
	else if (op->mended)
		k->mended++;
	else if (op->kind == OP_SET_ASIDE && op->result == 0)
		k->set_aside++;
	op_free(op);
	one_over(k);
}

/* False when memory is short. */
static bool add_op(struct check *k, enum op_kind kind, const struct lost *lost)
{
	struct op *op = op_new(kind);

	if (!op)
		return false;
	if (lost) {
		op->row.id = lost->id;
		op->was_quality = lost->quality;
	}
	op->user = k;
	op->done = op_over;
	k->outstanding++;
	writer_add(k->d->writer, op);
	return true;
}

static void repair(struct check *k)
{
	const json_t *name;
	size_t i;

	if (!k->force && 2 * (int64_t)k->n_bytes_lost > k->report.images) {
		client_fail(k->client,
			"%zu of %lld images have lost their bytes: is a disk missing? With force they are "
			"set aside all the same",
			k->n_bytes_lost, (long long)k->report.images);
		check_free(k);
		return;
	}
	json_array_foreach(k->lost_models, i, name)
		k->outstanding += models_mend(k->d, json_string_value(name), one_over, k);
	for (i = 0; i < k->n_lost; i++)
		if (!add_op(k, OP_SET_ASIDE, &k->lost[i]))
			break;
	if (!add_op(k, OP_RECOUNT, NULL) && !k->outstanding) {
		client_fail(k->client, "out of memory");
		check_free(k);
	}
}

static void check_done(uv_work_t *req, int status)
{
	struct check *k = req->data;

	(void)status;
	if (k->result == -EUCLEAN && k->repair && salvage_may_begin(k->d)) {
		client_fail(k->client, "the index itself is damaged: larderd starts over to make it anew");
		salvage_if_damaged(k->d, k->result);
		check_free(k);
	} else if (k->result < 0) {
		client_fail(k->client, "cannot check: %s", k->error);
		check_free(k);
	} else if (k->repair && !k->d->stopping) {
		repair(k);
	} else {
		answer_verify(k);
	}
}

static void begin_check(struct call *c, bool repair, bool force)
{
	struct check *k = calloc(1, sizeof(*k));

	if (!k) {
		client_fail(c->client, "out of memory");
		return;
	}
	k->req.data = k;
	k->d = c->d;
	k->client = c->client;
	k->repair = repair;
	k->force = force;
	k->findings = json_array();
	k->lost_models = json_array();
	snprintf(k->path, sizeof(k->path), "%s", c->d->config.store.path);
	client_hold(c->client);
	uv_queue_work(c->d->loop, &k->req, run_check, check_done);
}

void run_verify(struct call *c)
{
	begin_check(c, false, false);
}

void run_repair(struct call *c)
{
	begin_check(c, true, json_is_true(json_object_get(c->parameters, "force")));
}
