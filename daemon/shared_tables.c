/*
 * Sets of tables shared by images (policy/shared.h), made on the device: the packer's model fitted
 * to the captures that a worker met, and quantisation steps made for the network once there is one.
 *
 *   none -> fitted [100 images met]
 *   fitted -> fitted again [4,000 more, no network meanwhile]
 *   fitted -> made for the network [100 images met with a network]
 *   made for the network -> fitted again [300 more]
 *
 * Images keep the set that they were packed with.
 */
#include "daemon/keeper_internal.h"

#define FIRST_AFTER 100 /* images met */
#define SOON_AFTER 10   /* when the worker that was asked had met too few */
#define AGAIN_AFTER 4000
#define NETWORK_AFTER 100
#define REFIT_AFTER 300
#define TIMES_MAX 4

struct table_job {
	struct daemon *d;
	struct pack_lessons lessons;
	struct sensitivity network;
	bool have, for_network;
};

static bool tables_answer(struct job *job, uint8_t type, struct reader *payload, bool *ret_bad)
{
	struct table_job *t = job->user;

	t->have = type == MSG_COUNTED && get_counts(payload, &t->lessons, &t->network) == 0;
	*ret_bad = !t->have;
	return t->have;
}

void keeper_tables_known(struct daemon *d, int sets, const struct table_set *newest)
{
	struct keeper *k = d->keeper;

	k->tables_made = sets;
	k->newest = *newest;
	k->refitted = k->tables_made >= (newest->made ? 3 : 2);
}

static void on_tables_stored(void *user, struct op *op)
{
	struct daemon *d = user;
	_cleanup_buf_ struct buf frame = {0};
	size_t at = frame_begin(&frame, MSG_TABLES);

	buf_put_u32(&frame, (uint32_t)op->row.tables);
	buf_put(&frame, op->data.data, op->data.len);
	frame_end(&frame, at);
	pool_add_setup(d->pool, POOL_TABLES, &frame);
	op_free(op);
}

static void store_set(struct table_job *t)
{
	struct keeper *k = t->d->keeper;
	struct op *op = op_new(OP_TABLES);

	if (!op)
		return;
	if (t->for_network)
		steps_make_set(&t->network, STEP_POWER, &k->newest);
	if (t->lessons.rungs)
		lessons_fit(&t->lessons, &k->newest);
	table_set_write(&k->newest, &op->data);
	op->user = t->d;
	op->done = on_tables_stored;
	writer_add(t->d->writer, op);
	k->refitted = k->tables_made > 0 && !t->for_network;
	k->tables_made++;
}

/*
 * The worker that was asked may have met too few: soon again, perhaps another. A first set without a model
 * is none, and a network's steps from a handful of images are no better than the standard ones.
 */
static bool taught_enough(const struct table_job *t)
{
	if (!t->have || (!t->lessons.rungs && !t->d->keeper->tables_made))
		return false;
	return !t->for_network || t->network.images >= SENSITIVITY_MIN;
}

static void tables_finished(struct job *job, const char *why)
{
	struct table_job *t = job->user;
	struct keeper *k = t->d->keeper;

	(void)why;
	k->tables_asked = false;
	k->tables_at = k->images_met;
	if (taught_enough(t))
		store_set(t);
	else
		k->tables_at -= FIRST_AFTER - SOON_AFTER;
	job_done(job);
	free(job);
	free(t);
}

/* Whether it is time, and for what. */
static bool tables_due(const struct keeper *k, bool *ret_for_network)
{
	int64_t since = k->images_met - k->tables_at;

	*ret_for_network = false;
	if (k->d->config.policy.mode == MODE_DROP || k->tables_asked || k->tables_made >= TIMES_MAX)
		return false;
	if (k->tables_made == 0)
		return since >= FIRST_AFTER;
	*ret_for_network =
		!k->newest.made && k->d->model.params && k->d->config.policy.mode == MODE_ADAPTIVE;
	if (*ret_for_network)
		return since >= NETWORK_AFTER;
	return !k->refitted && since >= (k->newest.made ? REFIT_AFTER : AGAIN_AFTER);
}

void keeper_image_met(struct daemon *d, bool scored)
{
	struct keeper *k = d->keeper;
	struct table_job *t;
	struct job *job;
	bool for_network;
	size_t at;

	k->images_met++;
	if (!scored && d->model.params)
		k->rescore_after = -1;
	if (!tables_due(k, &for_network))
		return;
	t = calloc(1, sizeof(*t));
	job = calloc(1, sizeof(*job));
	if (!t || !job) {
		free(t);
		free(job);
		return;
	}
	k->tables_asked = true;
	t->d = k->d;
	t->for_network = for_network;
	job->user = t;
	job->answer = tables_answer;
	job->finished = tables_finished;
	job->dropped = free;
	at = frame_begin(&job->request, MSG_COUNTS);
	frame_end(&job->request, at);
	pool_submit(k->d->pool, job);
}
