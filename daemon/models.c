/*
 * Models in the store: what is kept of them and of checkpoints, the room that is kept free for it, and how a
 * new one becomes the current one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "daemon/training_internal.h"

static void model_name(int64_t version, char ret[48])
{
	snprintf(ret, 48, "model-%06" PRId64 ".safetensors", version);
}

static void send_model(struct daemon *d, const uint8_t *data, size_t len)
{
	_cleanup_buf_ struct buf frame = {0};
	size_t at = frame_begin(&frame, MSG_MODEL);

	buf_put(&frame, data, len);
	frame_end(&frame, at);
	pool_set_setup(d->pool, POOL_MODEL, &frame);
}

/* At the start, before the writer runs: reads from the store directly. */
int models_load(struct daemon *d)
{
	struct training *t = d->training;
	_cleanup_buf_ struct buf meta = {0}, file = {0};
	struct reader r;
	char name[48];
	int64_t version;
	int e = view_meta(d->view, "model", &meta);

	if (store_read_model(d->store, "checkpoint", &t->checkpoint) < 0)
		buf_done(&t->checkpoint); /* none */
	if (e == -ENOENT)
		return 0;
	r = (struct reader){meta.data, meta.len, false};
	version = (int64_t)reader_u64(&r);
	t->labelled_at_last = (int64_t)reader_u64(&r);
	if (e < 0 || r.failed || version == 0)
		return e;
	course_get(&t->course, &r);
	t->share = course_share(&t->course);
	model_name(version, name);
	e = store_read_model(d->store, name, &file);
	if (e == 0)
		e = model_read(file.data, file.len, &d->model);
	if (e < 0) {
		log_error("models/%s cannot be used: %s; scoring waits for the next training", name,
			strerror(-e));
		t->labelled_at_last = 0;
		return 0;
	}
	d->model.version = version;
	send_model(d, file.data, file.len);
	log_info("model %" PRId64 ": %d classes, accuracy %.3f on %d validation images", version,
		d->model.shape.classes, d->model.validation_accuracy, d->model.validation_images);
	return 0;
}

static int64_t model_bytes(const struct daemon *d)
{
	struct net_shape s = {.size = (int)d->config.model.input_size,
		.classes = d->model.params ? d->model.shape.classes : (int)CLAMP(d->n_labels, 2, 1024)};
	struct net_layout at;

	for (int l = 0; l < NET_LAYERS; l++)
		s.channels[l] = (int)d->config.model.channels[l];
	net_layout(&s, &at);
	return ROUND_UP((int64_t)at.total * 2 + 8192 + 300 * s.classes, INT64_C(4096));
}

/* How many models are kept: KeepModels, but not over an eighth of the limit; always one. */
static int64_t models_kept(const struct daemon *d)
{
	return CLAMP(d->limit / 8 / model_bytes(d), 1, d->config.training.keep_models);
}

/* A checkpoint is worth its room only when that is little. */
static bool checkpoint_fits(const struct daemon *d)
{
	return 4 * model_bytes(d) < d->limit / 16;
}

/* Room that models will take and do not yet: kept free of images. */
int64_t models_reserve(const struct daemon *d)
{
	int64_t want = (models_kept(d) + 1) * model_bytes(d);

	if (checkpoint_fits(d))
		want += 8 * model_bytes(d); /* the old and the new one, for a moment */
	return MAX(MIN(want, d->limit / 4) - writer_usage(d->writer)->models, 0);
}

struct model_task {
	struct task task;
	struct daemon *d;
	struct buf data;
	char name[48];
	int64_t version, kept;
	int result;
	struct train_result trained;
	void (*told)(void *user, bool ok, const char *text); /* of one from elsewhere; else NULL */
	void *user;
};

static void run_checkpoint(struct store *store, struct task *task)
{
	struct model_task *m = (struct model_task *)task;

	m->result = store_write_model(store, m->name, m->data.data, m->data.len);
}

static void checkpoint_done(struct task *task)
{
	struct model_task *m = (struct model_task *)task;

	if (m->result < 0)
		log_warn("checkpoint not kept: %s", strerror(-m->result));
	buf_done(&m->data);
	free(m);
}

void models_drop_checkpoint(struct training *t)
{
	struct model_task *m;

	if (!t->checkpoint.len)
		return;
	buf_done(&t->checkpoint);
	m = calloc(1, sizeof(*m));
	if (!m)
		return;
	m->task.run = run_checkpoint; /* no data: removed */
	m->task.done = checkpoint_done;
	snprintf(m->name, sizeof(m->name), "checkpoint");
	writer_task(t->d->writer, &m->task);
}

void models_keep_checkpoint(struct training *t, struct reader *payload)
{
	struct model_task *m;

	buf_done(&t->checkpoint);
	buf_put(&t->checkpoint, payload->data, payload->len);
	if (!checkpoint_fits(t->d))
		return; /* in memory: it survives a pause, not a reboot */
	m = calloc(1, sizeof(*m));
	if (!m)
		return;
	m->task.run = run_checkpoint;
	m->task.done = checkpoint_done;
	snprintf(m->name, sizeof(m->name), "checkpoint");
	buf_put(&m->data, payload->data, payload->len);
	writer_task(t->d->writer, &m->task);
}

/* Old models beyond what is kept go first, so that the new one has their room. */
static void run_model(struct store *store, struct task *task)
{
	struct model_task *m = (struct model_task *)task;
	char name[48];

	for (int64_t v = m->version - m->kept; v > 0 && v > m->version - m->kept - 100; v--) {
		model_name(v, name);
		store_write_model(store, name, NULL, 0);
	}
	m->result = store_write_model(store, m->name, m->data.data, m->data.len);
	if (m->result == -ENOSPC && m->version > 1) {
		/* So small a store holds one model: the old one makes way. It is in memory still. */
		model_name(m->version - 1, name);
		store_write_model(store, name, NULL, 0);
		m->result = store_write_model(store, m->name, m->data.data, m->data.len);
	}
}

void models_save_meta(struct daemon *d, int64_t version)
{
	struct op *op = op_new(OP_META);

	if (!op)
		return;
	snprintf(op->key, sizeof(op->key), "model");
	buf_put_u64(&op->data, (uint64_t)version);
	buf_put_u64(&op->data, (uint64_t)d->training->labelled_at_last);
	course_put(&d->training->course, &op->data);
	writer_add(d->writer, op);
}

static void model_stored(struct task *task)
{
	struct model_task *m = (struct model_task *)task;
	struct daemon *d = m->d;
	struct model next = {0};
	char text[200];

	if (m->result == 0)
		m->result = model_read(m->data.data, m->data.len, &next);
	if (m->result < 0) {
		snprintf(text, sizeof(text), "the new model cannot be stored: %s%s", strerror(-m->result),
			m->told ? "" : "; training again in 5 minutes");
		log_error("%s", text);
		if (!m->told) {
			d->training->labelled_at_last = 0; /* what it learned from is to be learned again */
			d->training->retry_after_us = clock_steady_us() + TRAINING_RETRY_US;
		}
	} else {
		model_done(&d->model);
		d->model = next;
		d->model.version = m->version;
		send_model(d, m->data.data, m->data.len);
		models_save_meta(d, m->version);
		if (m->told)
			snprintf(text, sizeof(text), "model %" PRId64 ": %d classes, from elsewhere",
				m->version, d->model.shape.classes);
		else
			snprintf(text, sizeof(text),
				"model %" PRId64 ": accuracy %.3f on %d validation images, trained on %d in"
				" %.0f s",
				m->version, m->trained.candidate_accuracy, m->trained.validation_images,
				m->trained.trained_images, m->trained.seconds);
		log_notice("%s", text);
		daemon_update_limit(d);
		keeper_new_model(d);
	}
	if (m->told)
		m->told(m->user, m->result == 0, text);
	else
		training_tell_waiters(d->training, m->result == 0, text);
	buf_done(&m->data);
	free(m);
	training_release(d->training);
}

/* The next version; NULL when memory is short. */
static struct model_task *next_model(struct daemon *d)
{
	struct model_task *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->d = d;
	m->task.run = run_model;
	m->task.done = model_stored;
	m->version = d->model.version + 1;
	m->kept = models_kept(d);
	model_name(m->version, m->name);
	return m;
}

/* Stores it; then it is the current one. */
static void store_model(struct training *t, struct model_task *m)
{
	training_set_state(t, TRAINING_STORING);
	t->held++;
	writer_task(t->d->writer, &m->task);
}

void models_use(struct daemon *d, const struct model *model,
	void (*fn)(void *user, bool ok, const char *text), void *user)
{
	struct training *t = d->training;
	struct model_task *m;

	if (t->state != TRAINING_IDLE && t->state != TRAINING_WAITING) {
		fn(user, false, "a training is going on; see larderctl pause, or wait for it");
		return;
	}
	m = next_model(d);
	if (!m || model_write(model, &m->data) < 0) {
		if (m)
			buf_done(&m->data);
		free(m);
		fn(user, false, "out of memory");
		return;
	}
	m->told = fn;
	m->user = user;
	store_model(t, m);
}

int models_store_candidate(
	struct training *t, const struct train_result *trained, const struct reader *payload)
{
	struct model_task *m = next_model(t->d);

	if (!m)
		return -ENOMEM;
	m->trained = *trained;
	buf_put(&m->data, payload->data, payload->len);
	store_model(t, m);
	return 0;
}
