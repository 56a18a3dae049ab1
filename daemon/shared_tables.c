/* Huffman tables shared by small images of one quality, fitted on the device to what it meets. */
#include "daemon/keeper_internal.h"

#define TABLES_FIRST 100 /* images met before shared tables are made, and made again */
#define TABLES_AGAIN 4000

struct table_job {
	struct daemon *d;
	struct symbol_counts counts[LADDER_RUNGS];
	bool have;
};

static bool tables_answer(struct job *job, uint8_t type, struct reader *payload, bool *ret_bad)
{
	struct table_job *t = job->user;

	t->have = type == MSG_COUNTED && get_counts(payload, t->counts) == 0;
	*ret_bad = !t->have;
	return t->have;
}

void keeper_tables_known(struct daemon *d, int sets)
{
	d->keeper->tables_made = sets / LADDER_RUNGS;
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

static void tables_finished(struct job *job, const char *why)
{
	struct table_job *t = job->user;

	(void)why;
	for (int i = 0; t->have && i < LADDER_RUNGS; i++) {
		struct op *op = op_new(OP_TABLES);
		struct jpeg_tables tables;

		if (!op)
			break;
		tables_standard(LADDER[i], &tables);
		huffman_fit(&t->counts[i], &tables);
		tables_write(&tables, &op->data);
		op->row.quality = LADDER[i];
		op->user = t->d;
		op->done = on_tables_stored;
		writer_add(t->d->writer, op);
	}
	t->d->keeper->tables_asked = false;
	job_done(job);
	free(job);
	free(t);
}

/* Shared Huffman tables, once enough images were met, and once more when many were. */
void keeper_image_met(struct daemon *d, bool scored)
{
	struct keeper *k = d->keeper;
	struct table_job *t;
	struct job *job;
	size_t at;

	k->images_met++;
	if (!scored && d->model.params)
		k->rescore_after = -1;
	if (d->config.policy.mode == MODE_DROP || k->tables_asked || k->tables_made >= 2 ||
		k->images_met < (k->tables_made ? TABLES_AGAIN : TABLES_FIRST))
		return;
	t = calloc(1, sizeof(*t));
	job = calloc(1, sizeof(*job));
	if (!t || !job) {
		free(t);
		free(job);
		return;
	}
	k->tables_asked = true;
	k->tables_made++;
	t->d = k->d;
	job->user = t;
	job->answer = tables_answer;
	job->finished = tables_finished;
	job->dropped = free;
	at = frame_begin(&job->request, MSG_COUNTS);
	frame_end(&job->request, at);
	pool_submit(k->d->pool, job);
}
