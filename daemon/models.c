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
#include "common/net/train.h"
#include "daemon/training_internal.h"

static void send_model(struct daemon *d, const uint8_t *data, size_t len)
{
	_cleanup_buf_ struct buf frame = {0};
	size_t at = frame_begin(&frame, MSG_MODEL);

	buf_put(&frame, data, len);
	frame_end(&frame, at);
	pool_set_setup(d->pool, POOL_MODEL, &frame);
}

/* At the start, before the writer runs, the store is read and written directly. */
static int load_version(struct daemon *d, int64_t version, struct buf *ret)
{
	char name[STORE_MODEL_NAME];
	int r;

	store_model_name(version, name);
	r = store_read_model(d->store, name, ret);
	if (r == 0)
		r = model_read(ret->data, ret->len, &d->model);
	if (r < 0)
		log_error("models/%s cannot be used: %s", name, strerror(-r));
	else
		d->model.version = version;
	return r;
}

/*
 * The newest model before that version which is whole becomes one of a version of its own: what was scored by
 * the one that is lost is not taken for its.
 */
static int fall_back(struct daemon *d, int64_t lost, struct buf *ret)
{
	char name[STORE_MODEL_NAME];
	int64_t version = lost;
	int r;

	do {
		ret->len = 0;
		r = store_newest_model(d->store, version, &version);
		if (r < 0 || !version)
			return r < 0 ? r : -ENOENT;
		r = load_version(d, version, ret);
		if (r == -ENOMEM)
			return r;
	} while (r < 0);
	d->model.version = lost + 1;
	ret->len = 0;
	r = model_write(&d->model, ret);
	store_model_name(d->model.version, name);
	if (r < 0)
		return r;
	r = store_write_model(d->store, name, ret->data, ret->len);
	if (r < 0)
		log_error("models/%s cannot be written: %s", name, strerror(-r));
	log_warn("model %" PRId64 " takes its place, as model %" PRId64, version, d->model.version);
	return 0;
}

/* What training was in the middle of: of use only when it is whole, and of this build. */
static void load_checkpoint(struct daemon *d, struct buf *ret)
{
	if (store_read_model(d->store, CHECKPOINT_NAME, ret) < 0) {
		buf_done(ret); /* none */
	} else if (!train_state_whole(ret->data, ret->len)) {
		log_warn("models/%s is damaged, or of another build: training begins anew", CHECKPOINT_NAME);
		buf_done(ret);
		store_write_model(d->store, CHECKPOINT_NAME, NULL, 0);
	}
}

int models_load(struct daemon *d)
{
	struct training *t = d->training;
	_cleanup_buf_ struct buf meta = {0}, file = {0};
	struct reader r;
	int64_t version;
	int e = view_meta(d->view, "model", &meta);

	load_checkpoint(d, &t->checkpoint);
	if (e < 0 && e != -ENOENT)
		return e;
	r = (struct reader){meta.data, meta.len, false};
	version = (int64_t)reader_u64(&r);
	t->labelled_at_last = (int64_t)reader_u64(&r);
	if (r.failed) { /* none yet; or the index is a new one, and lost what it knew */
		t->labelled_at_last = 0;
		e = store_newest_model(d->store, INT64_MAX, &version);
		if (e < 0)
			return e;
	} else {
		course_get(&t->course, &r);
		t->share = course_share(&t->course);
	}
	/* Counters may have been lost, too. */
	t->labelled_at_last = CLAMP(t->labelled_at_last, 0, d->counters[COUNT_LABELLED]);
	t->last_version = version;
	if (!version)
		return 0;
	e = load_version(d, version, &file);
	if (e < 0 && e != -ENOMEM)
		e = fall_back(d, version, &file);
	if (e == -ENOENT) {
		log_error("there is no other: scoring waits for the next training");
		t->labelled_at_last = 0;
		return 0;
	}
	if (e < 0)
		return e;
	send_model(d, file.data, file.len);
	if (d->model.version != version)
		models_save_meta(d);
	log_info("model %" PRId64 ": %d classes, accuracy %.3f on %d validation images", d->model.version,
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
	char name[STORE_MODEL_NAME];
	struct model next; /* owned: what data says */
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
	snprintf(m->name, sizeof(m->name), "%s", CHECKPOINT_NAME);
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
	snprintf(m->name, sizeof(m->name), "%s", CHECKPOINT_NAME);
	buf_put(&m->data, payload->data, payload->len);
	writer_task(t->d->writer, &m->task);
}

/* Old models beyond what is kept go first, so that the new one has their room. */
static void run_model(struct store *store, struct task *task)
{
	struct model_task *m = (struct model_task *)task;
	char name[STORE_MODEL_NAME];

	for (int64_t v = m->version - m->kept; v > 0 && v > m->version - m->kept - 100; v--) {
		store_model_name(v, name);
		store_write_model(store, name, NULL, 0);
	}
	m->result = store_write_model(store, m->name, m->data.data, m->data.len);
	if (m->result == -ENOSPC && m->version > 1) {
		/* So small a store holds one model: the old one makes way. It is in memory still. */
		store_model_name(m->version - 1, name);
		store_write_model(store, name, NULL, 0);
		m->result = store_write_model(store, m->name, m->data.data, m->data.len);
	}
}

int64_t models_next_version(const struct daemon *d)
{
	return MAX(d->model.version, d->training->last_version) + 1;
}

void models_save_meta(struct daemon *d)
{
	struct op *op = op_new(OP_META);

	if (!op)
		return;
	snprintf(op->key, sizeof(op->key), "model");
	buf_put_u64(&op->data, (uint64_t)models_next_version(d) - 1);
	buf_put_u64(&op->data, (uint64_t)d->training->labelled_at_last);
	course_put(&d->training->course, &op->data);
	writer_add(d->writer, op);
}

/* Makes it the current one when it could be read and is stored, and says how it went. */
static void end_model(struct model_task *m)
{
	struct daemon *d = m->d;
	char text[200];

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
		d->model = m->next;
		m->next = (struct model){0};
		d->model.version = m->version;
		send_model(d, m->data.data, m->data.len);
		models_save_meta(d);
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
		training_over(d->training, m->result == 0, text);
	model_done(&m->next);
	buf_done(&m->data);
	free(m);
}

static void model_stored(struct task *task)
{
	struct model_task *m = (struct model_task *)task;
	struct training *t = m->d->training;

	end_model(m);
	training_release(t);
}

/* NULL when memory is short. */
static struct model_task *next_model(struct daemon *d)
{
	struct model_task *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->d = d;
	m->task.run = run_model;
	m->task.done = model_stored;
	m->version = models_next_version(d);
	m->kept = models_kept(d);
	store_model_name(m->version, m->name);
	return m;
}

/* Stores it; then it is the current one. What cannot be read is not written. */
static void store_model(struct training *t, struct model_task *m)
{
	m->result = m->data.failed ? -ENOMEM : model_read(m->data.data, m->data.len, &m->next);
	if (m->result < 0) {
		end_model(m);
		return;
	}
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

struct mend_task {
	struct task task;
	struct buf data; /* owned; empty when there is nothing to put in its place */
	char name[STORE_MODEL_NAME];
	void (*fn)(void *user);
	void *user;
	int result;
};

static void run_mend(struct store *store, struct task *task)
{
	struct mend_task *m = (struct mend_task *)task;

	m->result = store_set_model_aside(store, m->name);
	if (m->result == 0 && m->data.len)
		m->result = store_write_model(store, m->name, m->data.data, m->data.len);
	if (m->result == 0)
		m->result = store_keep_sets(store);
}

static void mended(struct task *task)
{
	struct mend_task *m = (struct mend_task *)task;

	if (m->result < 0)
		log_error("models/%s cannot be repaired: %s", m->name, strerror(-m->result));
	else
		log_notice("models/%s was damaged: set aside%s", m->name,
			m->data.len ? ", and written anew" : "");
	m->fn(m->user);
	buf_done(&m->data);
	free(m);
}

bool models_mend(struct daemon *d, const char *name, void (*fn)(void *user), void *user)
{
	struct mend_task *m = calloc(1, sizeof(*m));
	char current[STORE_MODEL_NAME];

	if (!m)
		return false; /* the next repair finds it */
	*m = (struct mend_task){.task = {.run = run_mend, .done = mended}, .fn = fn, .user = user};
	snprintf(m->name, sizeof(m->name), "%s", name);
	store_model_name(d->model.version, current);
	if (d->model.params && !strcmp(name, current) && model_write(&d->model, &m->data) < 0)
		buf_done(&m->data);
	writer_task(d->writer, &m->task);
	return true;
}
