/*
 * Tables shared by the images of one quality, made on the device: Huffman tables fitted to the symbols
 * of small images, and quantisation steps made for the network once there is one (policy/steps.h).
 *
 *   none -> fitted [100 images met]
 *   fitted -> fitted again [4,000 more, no network meanwhile]
 *   fitted -> made for the network, Huffman tables as they were [100 images met with a network]
 *   made for the network -> fitted again [300 more]
 *
 * Each time every rung gets a new set; images keep the one they were coded with.
 */
#include <math.h>
#include <string.h>

#include "daemon/keeper_internal.h"

#define FIRST_AFTER 100 /* images met */
#define AGAIN_AFTER 4000
#define NETWORK_AFTER 100
#define REFIT_AFTER 300
#define TIMES_MAX 4

struct table_job {
	struct daemon *d;
	struct symbol_counts counts[LADDER_RUNGS];
	struct sensitivity network;
	bool have, for_network;
};

static bool tables_answer(struct job *job, uint8_t type, struct reader *payload, bool *ret_bad)
{
	struct table_job *t = job->user;

	t->have = type == MSG_COUNTED && get_counts(payload, t->counts, &t->network) == 0;
	*ret_bad = !t->have;
	return t->have;
}

void keeper_tables_known(struct daemon *d, int sets, const struct table_set newest[LADDER_RUNGS])
{
	struct keeper *k = d->keeper;

	k->tables_made = sets / LADDER_RUNGS;
	memcpy(k->newest, newest, sizeof(k->newest));
	k->made_for_network = steps_are_made(newest);
	k->refitted = k->tables_made >= (k->made_for_network ? 3 : 2);
}

static void on_tables_stored(void *user, struct op *op)
{
	struct daemon *d = user;
	_cleanup_buf_ struct buf frame = {0};
	size_t at = frame_begin(&frame, MSG_TABLES);

	buf_put_u32(&frame, (uint32_t)op->row.tables);
	buf_put_u8(&frame, op->row.quality);
	buf_put(&frame, op->data.data, op->data.len);
	frame_end(&frame, at);
	pool_add_setup(d->pool, 0, &frame);
	op_free(op);
}

/* The set's tables anew: Huffman tables by what was counted, unless hardly anything was. */
static void work_out(const struct table_job *t, int i, struct table_set *set)
{
	uint64_t symbols = 0;

	for (int k = 0; k < 16; k++)
		symbols += t->counts[i].dc[0][k];
	if (set->quality != LADDER[i])
		tables_standard(LADDER[i], &set->tables);
	set->quality = LADDER[i];
	if (t->for_network)
		steps_make(&t->network, LADDER[i], STEP_POWER, &set->tables);
	if (symbols)
		huffman_fit(&t->counts[i], &set->tables);
}

static void store_sets(struct table_job *t)
{
	struct keeper *k = t->d->keeper;

	for (int i = 0; i < LADDER_RUNGS; i++) {
		struct op *op = op_new(OP_TABLES);

		if (!op)
			return;
		work_out(t, i, &k->newest[i]);
		tables_write(&k->newest[i].tables, &op->data);
		op->row.quality = LADDER[i];
		op->user = t->d;
		op->done = on_tables_stored;
		writer_add(t->d->writer, op);
	}
	k->refitted = k->tables_made > 0 && !t->for_network;
	k->made_for_network |= t->for_network;
	k->tables_made++;
}

static void tables_finished(struct job *job, const char *why)
{
	struct table_job *t = job->user;
	struct keeper *k = t->d->keeper;

	(void)why;
	k->tables_asked = false;
	k->tables_at = k->images_met;
	/* The worker that was asked may have met too few: another time. */
	if (t->have && (!t->for_network || t->network.images >= SENSITIVITY_MIN))
		store_sets(t);
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
		!k->made_for_network && k->d->model.params && k->d->config.policy.mode == MODE_ADAPTIVE;
	if (*ret_for_network)
		return since >= NETWORK_AFTER;
	return !k->refitted && since >= (k->made_for_network ? REFIT_AFTER : AGAIN_AFTER);
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
