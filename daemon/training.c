/*
 * When to train, the trainer process, and whether its model is taken.
 *
 * TRAINING_IDLE    nothing new to learn
 * TRAINING_WAITING there is, but the device is not idle
 * TRAINING_RUNNING a trainer process is at work, or held while captures come or it is too hot
 * TRAINING_STORING a model, from a trainer or from elsewhere, is being stored
 * TRAINING_STOPPING the trainer has been killed and not yet reaped
 *
 * IDLE -> WAITING [training_check]     WAITING -> IDLE [training_check]
 * WAITING -> RUNNING [start_trainer]   RUNNING -> STOPPING [stop_trainer]
 * RUNNING -> STORING [on_trained]      IDLE, WAITING -> STORING [models_use]
 * RUNNING, STORING, STOPPING -> IDLE [training_release]
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "daemon/salvage.h"
#include "daemon/training_internal.h"
#include "policy/gate.h"
#include "policy/idle.h"

#define CHECK_MS	 1000 /* while a trainer is at work, or soon may be */
#define CLASS_MIN_IMAGES 5
#define MEMORY_MAX	 (INT64_C(512) << 20) /* for pictures; a quarter of the device's, at most */
#define READ_STEP	 65536
#define HELD_MAX_US	 (10 * 60 * US_PER_SEC)
#define ENDED_LOADING_MAX 3

void training_set_state(struct training *t, enum training_state to)
{
	static const uint8_t allowed[] = {
		[TRAINING_IDLE] = 1 << TRAINING_WAITING | 1 << TRAINING_IDLE | 1 << TRAINING_STORING,
		[TRAINING_WAITING] = 1 << TRAINING_IDLE | 1 << TRAINING_WAITING | 1 << TRAINING_RUNNING |
			1 << TRAINING_STORING,
		[TRAINING_RUNNING] = 1 << TRAINING_STOPPING | 1 << TRAINING_STORING | 1 << TRAINING_IDLE,
		[TRAINING_STORING] = 1 << TRAINING_IDLE,
		[TRAINING_STOPPING] = 1 << TRAINING_IDLE,
	};

	assert(allowed[t->state] & 1 << to);
	t->state = to;
}

struct training *training_new(struct daemon *d)
{
	struct training *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->d = t->course.d = d;
	uv_timer_init(d->loop, &t->timer);
	t->timer.data = t;
	snprintf(t->why, sizeof(t->why), "starting");
	return t;
}

void training_free(struct training *t)
{
	if (!t)
		return;
	buf_done(&t->order);
	buf_done(&t->answer);
	buf_done(&t->checkpoint);
	free(t);
}

static void tell_waiters(struct training *t)
{
	for (int i = 0; i < t->n_waiters; i++)
		if (t->waiter[i].over) {
			struct waiter w = t->waiter[i];

			t->waiter[i--] = t->waiter[--t->n_waiters];
			w.fn(w.user, t->went_well, t->outcome);
		}
}

void training_release(struct training *t)
{
	if (--t->held > 0)
		return;
	buf_done(&t->order);
	buf_done(&t->answer);
	training_set_state(t, TRAINING_IDLE);
	tell_waiters(t);
	if (!t->d->stopping)
		training_check(t->d);
}

static int64_t new_images(const struct training *t)
{
	return t->d->counters[COUNT_LABELLED] - t->labelled_at_last;
}

static int trainer_threads(const struct daemon *d)
{
	return d->config.training.threads ? (int)d->config.training.threads : probe_processors();
}

void training_over(struct training *t, bool ok, const char *text)
{
	t->went_well = ok;
	snprintf(t->outcome, sizeof(t->outcome), "%s", text);
	for (int i = 0; i < t->n_waiters; i++)
		t->waiter[i].over = true;
}

void training_wait(struct daemon *d, void (*fn)(void *user, bool ok, const char *text), void *user)
{
	struct training *t = d->training;

	if (t->n_waiters == WAITERS_MAX)
		fn(user, false, "too many clients wait for training already");
	else
		t->waiter[t->n_waiters++] = (struct waiter){fn, user};
}

void training_forget(struct daemon *d, void *user)
{
	struct training *t = d->training;

	for (int i = 0; i < t->n_waiters; i++)
		if (t->waiter[i].user == user)
			t->waiter[i--] = t->waiter[--t->n_waiters];
}

static void remember(struct daemon *d, const struct train_result *r, bool accepted)
{
	daemon_remember(d,
		&(struct history_training){.time_s = clock_wall_us() / US_PER_SEC,
			.version = accepted ? models_next_version(d) : d->model.version,
			.images = r->trained_images,
			.validation_images = r->validation_images,
			.accuracy = (float)r->candidate_accuracy,
			.accuracy_before = d->model.params ? (float)r->current_accuracy : -1,
			.accepted = accepted});
}

static void on_trained(struct training *t, struct reader *payload)
{
	struct daemon *d = t->d;
	struct train_result r;
	char text[200];
	bool accepted;

	if (get_train_result(payload, &r) < 0) {
		log_error("the trainer answered nonsense");
		return;
	}
	t->labelled_at_last = t->started_labelled;
	t->forced = t->now = false;
	models_drop_checkpoint(t);
	accepted = gate_accepts(r.candidate_accuracy, d->model.params && r.current_accuracy >= 0,
		r.current_accuracy, r.validation_images);
	course_end(&t->course, accepted);
	remember(d, &r, accepted);
	if (!accepted) {
		snprintf(text, sizeof(text),
			"candidate rejected: accuracy %.3f, current model %.3f, on %d validation images",
			r.candidate_accuracy, r.current_accuracy, r.validation_images);
		log_notice("%s", text);
		models_save_meta(d);
		training_over(t, true, text);
		return;
	}
	if (models_store_candidate(t, &r, payload) < 0)
		training_over(t, false, "out of memory");
}

/* A slice of the course is done; its checkpoint is kept. */
static void on_slice(struct training *t, struct reader *payload)
{
	uint32_t images = reader_u32(payload);

	t->labelled_at_last = t->started_labelled;
	log_info("%.0f %% of a training done, on %" PRIu32 " images", 100 * t->share, images);
	course_shown(&t->course);
	models_save_meta(t->d);
}

static void on_refused(struct training *t, struct reader *payload)
{
	int error = (int)reader_u32(payload);

	snprintf(t->why, sizeof(t->why), "%.*s", (int)MIN(payload->len, (size_t)180),
		payload->failed ? "refused" : (const char *)payload->data);
	if (error == ENODATA) /* more labels will tell; not before */
		t->labelled_at_last = t->started_labelled;
	log_info("not trained: %s", t->why);
	t->forced = t->now = false;
	training_over(t, false, t->why);
	salvage_if_damaged(t->d, -error);
}

static void let_go_on(struct training *t)
{
	if (!t->held_since_us)
		return;
	uv_process_kill(&t->process, SIGCONT);
	t->held_since_us = 0;
	t->hot = false;
	log_debug("training goes on");
}

/* It has its images; what it was left alone for while it read them holds it now. */
static void on_loaded(struct training *t)
{
	t->loaded = true;
	t->ended_loading = 0;
	training_check(t->d);
}

static void on_message(struct training *t, uint8_t type, struct reader *payload)
{
	switch (type) {
	case MSG_PROGRESS:
		t->epoch = reader_u32(payload);
		t->epochs = reader_u32(payload);
		t->loss = reader_f32(payload);
		if (!t->loaded)
			on_loaded(t);
		break;
	case MSG_CHECKPOINT:
		models_keep_checkpoint(t, payload);
		break;
	case MSG_TRAINED:
		t->answered = true;
		on_trained(t, payload);
		break;
	case MSG_SLICE:
		t->answered = true;
		on_slice(t, payload);
		break;
	case MSG_REFUSED:
		t->answered = true;
		on_refused(t, payload);
		break;
	default:
		log_warn("unknown message %d from the trainer", type);
	}
	if (t->answered) /* it may have been held on its way out */
		let_go_on(t);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct training *t = h->data;
	uint8_t *to = buf_reserve(&t->answer, READ_STEP);

	(void)suggested;
	*ret = uv_buf_init((char *)to, to ? READ_STEP : 0);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
	struct training *t = stream->data;
	struct reader payload;
	int64_t used;
	uint8_t type;

	(void)b;
	if (n < 0) {
		uv_read_stop(stream);
		return;
	}
	t->answer.len += (size_t)n;
	while ((used = frame_next(t->answer.data, t->answer.len, &type, &payload)) > 0) {
		if (t->state == TRAINING_RUNNING)
			on_message(t, type, &payload);
		buf_consume(&t->answer, (size_t)used);
	}
}

static void on_closed(uv_handle_t *h)
{
	training_release(h->data);
}

static void close_all(struct training *t)
{
	uv_close((uv_handle_t *)&t->process, on_closed);
	uv_close((uv_handle_t *)&t->in, on_closed);
	uv_close((uv_handle_t *)&t->out, on_closed);
}

static void on_trainer_exit(uv_process_t *process, int64_t status, int signal)
{
	struct training *t = process->data;

	t->held_since_us = 0;
	t->hot = false;
	/* What it still had to say is in the pipe. */
	if (t->state == TRAINING_RUNNING)
		for (;;) {
			uint8_t *to = buf_reserve(&t->answer, READ_STEP);
			uv_os_fd_t fd;
			ssize_t n = -1;

			if (to && uv_fileno((uv_handle_t *)&t->out, &fd) == 0)
				n = read(fd, to, READ_STEP);
			if (n <= 0)
				break;
			on_read((uv_stream_t *)&t->out, n, NULL);
		}
	if (t->state == TRAINING_RUNNING && !t->answered) {
		char text[96];

		snprintf(text, sizeof(text), "the trainer failed: status %d, signal %d", (int)status, signal);
		log_error("%s; trying again in 5 minutes", text);
		t->retry_after_us = clock_steady_us() + TRAINING_RETRY_US;
		t->forced = t->now = false;
		if (signal != SIGKILL) /* which is no fault of where it had got to */
			models_drop_checkpoint(t);
		training_over(t, false, text);
	}
	close_all(t);
}

static void stop_trainer(struct training *t)
{
	training_set_state(t, TRAINING_STOPPING);
	uv_process_kill(&t->process, SIGKILL);
	log_info("training interrupted: %s", t->why);
}

/* Without its order it waits for ever. */
static void on_written(uv_write_t *req, int status)
{
	struct training *t = req->data;

	if (status < 0 && status != UV_ECANCELED)
		uv_process_kill(&t->process, SIGKILL);
}

static void write_order(struct training *t)
{
	struct daemon *d = t->d;
	struct train_order o = {
		.input_size = (int)d->config.model.input_size,
		.epochs = (int)d->config.training.epochs,
		.batch = (int)d->config.training.batch_size,
		.threads = trainer_threads(d),
		.until = t->share,
		.min_images = 2 * CLASS_MIN_IMAGES,
		.per_class_min = CLASS_MIN_IMAGES,
		.seed = (uint64_t)models_next_version(d),
		.memory_max = MIN(MEMORY_MAX, probe_memory() / 4),
		.checkpoint = t->checkpoint.data,
		.checkpoint_len = t->checkpoint.len,
	};
	_cleanup_buf_ struct buf model = {0};
	size_t at;

	snprintf(o.store, sizeof(o.store), "%s", d->config.store.path);
	for (int l = 0; l < NET_LAYERS; l++)
		o.channels[l] = (int)d->config.model.channels[l];
	if (d->model.params && model_write(&d->model, &model) == 0) {
		o.model = model.data;
		o.model_len = model.len;
	}
	at = frame_begin(&t->order, MSG_TRAIN);
	put_train_order(&t->order, &o);
	frame_end(&t->order, at);
}

static void start_trainer(struct training *t)
{
	struct daemon *d = t->d;
	char role[] = "--trainer";
	char *args[] = {(char *)d->exe, role, NULL};
	uv_stdio_container_t io[3] = {
		{.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&t->in},
		{.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&t->out},
		{.flags = UV_INHERIT_FD, .data.fd = 2},
	};
	uv_process_options_t o = {.file = d->exe, .args = args, .exit_cb = on_trainer_exit, .stdio = io,
		.stdio_count = 3};
	uv_buf_t b;
	int r;

	if (!t->forced)
		course_begin(&t->course, t->labelled_at_last);
	t->share = t->forced ? 1 : course_share(&t->course);
	write_order(t);
	uv_pipe_init(d->loop, &t->in, 0);
	uv_pipe_init(d->loop, &t->out, 0);
	r = uv_spawn(d->loop, &t->process, &o);
	t->process.data = t->in.data = t->out.data = t;
	t->held = 3;
	t->loaded = t->answered = false;
	t->epoch = 0;
	t->epochs = (uint32_t)d->config.training.epochs;
	t->started_labelled = d->counters[COUNT_LABELLED];
	training_set_state(t, TRAINING_RUNNING);
	if (r < 0) {
		log_error("cannot start the trainer: %s", uv_strerror(r));
		t->retry_after_us = clock_steady_us() + TRAINING_RETRY_US;
		close_all(t);
		return;
	}
	log_info("training begins: %s", t->why);
	uv_read_start((uv_stream_t *)&t->out, on_alloc, on_read);
	b = uv_buf_init((char *)t->order.data, (unsigned)t->order.len);
	t->write.data = t;
	if (t->order.failed || uv_write(&t->write, (uv_stream_t *)&t->in, &b, 1, on_written) < 0)
		uv_process_kill(&t->process, SIGKILL);
}

static void on_timer(uv_timer_t *timer)
{
	struct training *t = timer->data;

	training_check(t->d);
}

/* By then, or sooner where that was to be. */
static void look_again(struct training *t, int64_t ms)
{
	uv_timer_t *timer = &t->timer;

	if (!uv_is_active((uv_handle_t *)timer) || uv_timer_get_due_in(timer) > (uint64_t)ms)
		uv_timer_start(timer, on_timer, (uint64_t)ms, 0);
}

/* When what keeps it waiting may be over: each look wakes a device that may have nothing else to do. */
static int64_t worth_waiting_ms(const struct training *t, enum idle verdict)
{
	const struct daemon *d = t->d;
	int64_t quiet_us = clock_steady_us() - d->last_capture_us;

	if (verdict == IDLE_CAPTURES)
		return MAX((d->config.idle.quiet_us - quiet_us) / US_PER_MS + 1, CHECK_MS);
	return verdict == IDLE_YES ? CHECK_MS : BUSY_MS;
}

/* By the settings, and nobody has asked for one. */
static bool turned_off(struct training *t)
{
	if (t->forced || t->d->config.training.enabled)
		return false;
	snprintf(t->why, sizeof(t->why), "Training.Enabled=no");
	return true;
}

/* Whether there is anything to learn; else why not. */
static bool wanted(struct training *t)
{
	const struct config *c = &t->d->config;

	if (t->forced)
		return true;
	if (turned_off(t))
		return false;
	if (t->d->counters[COUNT_LABELLED] == 0)
		snprintf(t->why, sizeof(t->why), "no labelled images yet");
	else if (t->course.length && new_images(t) < course_slice_images(&t->course))
		snprintf(t->why, sizeof(t->why),
			"%.0f %% of a training done; %" PRId64 " new labelled images of %" PRId64
			" for the next slice",
			100 * t->share, new_images(t), course_slice_images(&t->course));
	else if (new_images(t) < c->training.min_new_images)
		snprintf(t->why, sizeof(t->why), "%" PRId64 " new labelled images; MinNewImages=%" PRId64,
			new_images(t), c->training.min_new_images);
	else if (clock_steady_us() < t->retry_after_us)
		snprintf(t->why, sizeof(t->why), "the last training failed; trying again soon");
	else
		return true;
	return false;
}

/* Whether it may run at this moment; else why not. */
static enum idle allowed(struct training *t)
{
	struct daemon *d = t->d;
	struct idle_sample s;
	enum idle verdict;

	if (t->now) {
		snprintf(t->why, sizeof(t->why), "asked for");
		return IDLE_YES;
	}
	if (turned_off(t)) /* since it began */
		return IDLE_NO;
	if (d->model.params == NULL && t->state != TRAINING_RUNNING && intake_in_flight(d->intake) > 0) {
		snprintf(t->why, sizeof(t->why), "captures are being taken");
		return IDLE_CAPTURES;
	}
	s = (struct idle_sample){.quiet_us = clock_steady_us() - d->last_capture_us};
	if (s.quiet_us < d->config.idle.quiet_us) /* the common case under load needs no measuring */
		return idle_decide(&s, &d->config, t->why, sizeof(t->why));
	probe_idle(d->last_capture_us, t->state == TRAINING_RUNNING, trainer_threads(d), &s);
	s.cooling_us = t->hot ? clock_steady_us() - t->held_since_us : 0;
	verdict = idle_decide(&s, &d->config, t->why, sizeof(t->why));
	if (verdict != IDLE_YES)
		return verdict;
	if (t->forced)
		snprintf(t->why, sizeof(t->why), "asked for, and the device is idle");
	else
		snprintf(t->why, sizeof(t->why), "%" PRId64 " new labelled images", new_images(t));
	return IDLE_YES;
}

/* Stops it where it is. Its memory stays taken, so not for long. */
static void hold_trainer(struct training *t, enum idle verdict)
{
	if (!t->held_since_us) {
		uv_process_kill(&t->process, SIGSTOP);
		t->held_since_us = clock_steady_us();
		t->hot = verdict == IDLE_HOT;
		log_debug("training is held: %s", t->why);
	} else if (clock_steady_us() - t->held_since_us > HELD_MAX_US) {
		stop_trainer(t);
	}
}

/*
 * What the trainer that runs is to do. Until it has its images it is not held, for in the middle of a read it
 * would hold on to the index as that is, and the log would grow: captures end it, but not each time, or
 * it would never be through where they come often. It reads at idle priority.
 */
static void follow(struct training *t, enum idle verdict)
{
	if (t->answered)
		return; /* it is on its way out */
	if (verdict == IDLE_YES) {
		let_go_on(t);
	} else if (verdict == IDLE_NO) {
		stop_trainer(t);
	} else if (t->loaded) {
		hold_trainer(t, verdict);
	} else if (verdict == IDLE_CAPTURES && t->ended_loading < ENDED_LOADING_MAX) {
		t->ended_loading++;
		stop_trainer(t);
	}
	if (t->state == TRAINING_RUNNING)
		look_again(t, CHECK_MS);
}

void training_check(struct daemon *d)
{
	struct training *t = d->training;
	enum idle verdict;

	if (d->stopping || t->state == TRAINING_STORING || t->state == TRAINING_STOPPING)
		return;
	if (t->paused) {
		snprintf(t->why, sizeof(t->why), "paused by larderctl");
		if (t->state == TRAINING_RUNNING)
			stop_trainer(t);
		return;
	}
	if (t->state == TRAINING_RUNNING) {
		follow(t, allowed(t));
		return;
	}
	if (!wanted(t)) {
		training_set_state(t, TRAINING_IDLE);
		if (clock_steady_us() < t->retry_after_us)
			look_again(t, (t->retry_after_us - clock_steady_us()) / US_PER_MS + 1);
		return;
	}
	training_set_state(t, TRAINING_WAITING);
	verdict = allowed(t);
	if (verdict == IDLE_YES)
		start_trainer(t);
	look_again(t, worth_waiting_ms(t, verdict));
}

void training_request(struct daemon *d, bool now)
{
	d->training->forced = true;
	d->training->now |= now;
	d->training->retry_after_us = 0;
	training_check(d);
}

void training_pause(struct daemon *d, bool pause)
{
	d->training->paused = pause;
	training_check(d);
}

void training_stop(struct training *t)
{
	if (t->state == TRAINING_RUNNING) {
		training_set_state(t, TRAINING_STOPPING);
		uv_process_kill(&t->process, SIGKILL);
	} else if (t->state == TRAINING_STORING && t->held > 1 && uv_is_active((uv_handle_t *)&t->process)) {
		uv_process_kill(&t->process, SIGKILL); /* it has nothing more to say */
	}
	uv_close((uv_handle_t *)&t->timer, NULL);
}

void training_status(const struct daemon *d, struct training_status *ret)
{
	static const char *const names[] = {
		[TRAINING_IDLE] = "idle",
		[TRAINING_WAITING] = "waiting",
		[TRAINING_RUNNING] = "running",
		[TRAINING_STORING] = "running",
		[TRAINING_STOPPING] = "waiting",
	};
	const struct training *t = d->training;
	const char *state = t->held_since_us ? "waiting" : names[t->state];

	*ret = (struct training_status){.state = t->paused ? "paused" : state,
		.epoch = (int)t->epoch, .epochs = (int)t->epochs, .new_images = (int)new_images(t),
		.loss = t->loss};
	snprintf(ret->why, sizeof(ret->why), "%s", t->why);
}
