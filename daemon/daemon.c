/* The daemon's life: start in order, signals, limits, reload, stop in order. */
#include "daemon/daemon.h"

#include <errno.h>
#include <inttypes.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/io.h"
#include "common/log.h"
#include "common/parse.h"
#include "daemon/expire.h"
#include "daemon/hooks.h"
#include "daemon/json.h"
#include "daemon/proto.h"
#include "daemon/salvage.h"
#include "larder-config.h"

#if HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define WORKER_MEMORY (INT64_C(256) << 20) /* twice what one takes for 12 megapixels */
#define LIMIT_MS      10000	  /* how often the file system's free space is looked at ... */
#define LIMIT_IDLE_MS (5 * 60 * 1000) /* ... and when nothing is stored */
#define LIMIT_MIN     (512 << 10) /* below this nothing works */
#define COURSES_TOLD  4		  /* courses of captures that labels' shares go by, at most */
#define STOP_MS	      10000
#define POLICY_MAGIC  UINT32_C(0x32504c4c) /* "LLP2" */

void daemon_notify(const char *state)
{
#if HAVE_SYSTEMD
	sd_notify(0, state);
#else
	(void)state;
#endif
}

const char *daemon_label_name(const struct daemon *d, uint32_t id)
{
	for (size_t i = 0; i < d->n_labels; i++)
		if (d->labels[i].id == id)
			return d->labels[i].name;
	return "?";
}

uint32_t daemon_label_id(const struct daemon *d, const char *name)
{
	for (size_t i = 0; i < d->n_labels; i++)
		if (!strcmp(d->labels[i].name, name))
			return d->labels[i].id;
	return 0;
}

int daemon_add_label(struct daemon *d, uint32_t id, const char *name)
{
	struct label *all;
	char *copy;

	for (size_t i = 0; i < d->n_labels; i++)
		if (d->labels[i].id == id)
			return 0;
	copy = strdup(name);
	all = realloc(d->labels, (d->n_labels + 1) * sizeof(*all));
	if (all)
		d->labels = all;
	if (!copy || !all) {
		free(copy);
		return -ENOMEM;
	}
	d->labels[d->n_labels++] = (struct label){id, copy};
	return 0;
}

int64_t daemon_images(const struct daemon *d)
{
	int64_t n = 0;

	for (size_t i = 0; i < d->tally.n; i++)
		n += d->tally.v[i].images;
	return n;
}

int64_t daemon_totals(const struct daemon *d, int64_t *ret_bytes, double *ret_quality)
{
	int64_t images = daemon_images(d);
	double quality = 0;

	*ret_bytes = 0;
	for (size_t i = 0; i < d->tally.n; i++) {
		*ret_bytes += d->tally.v[i].bytes;
		quality += (double)d->tally.v[i].quality * (double)d->tally.v[i].images;
	}
	*ret_quality = images ? quality / (double)images : 0;
	return images;
}

int64_t daemon_captures(const struct daemon *d)
{
	return daemon_images(d) + d->counters[COUNT_DUPLICATE] + d->counters[COUNT_QUARANTINED] +
	       d->counters[COUNT_DROPPED];
}

/* The tighter of MaxUse and what KeepFree leaves. */
int64_t daemon_limit(const struct config *c, int64_t used, const struct disk_space *disk)
{
	int64_t by_free = used + disk->available - amount_bytes(&c->store.keep_free, disk->size);

	if (!disk->size) /* it did not tell */
		return amount_bytes(&c->store.max_use, 0);
	by_free -= by_free / 64; /* the file system's own: inodes, lists of blocks */
	return MAX(MIN(amount_bytes(&c->store.max_use, disk->size), by_free), LIMIT_MIN);
}

static void do_nothing(struct store *store, struct task *task)
{
	(void)store; /* the writer tells it the limit before, and asks what it takes behind it */
	(void)task;
}

/* Between two batches; done() gets the daemon as its user, and owns the task. False when memory is out. */
static bool queue_task(struct daemon *d, void (*run)(struct store *store, struct task *task),
	void (*done)(struct task *task))
{
	struct task *task = calloc(1, sizeof(*task));

	if (!task)
		return false;
	task->run = run;
	task->done = done;
	task->user = d;
	writer_task(d->writer, task);
	return true;
}

static void limit_fitted(struct task *task)
{
	struct daemon *d = task->user;

	free(task);
	writer_kick(d->writer);
	keeper_check(d);
}

/* As of the last batch. */
static int64_t limit_by_usage(const struct daemon *d)
{
	const struct usage *u = writer_usage(d->writer);

	return daemon_limit(&d->config, u->on_disk, &u->disk);
}

void daemon_update_limit(struct daemon *d)
{
	int64_t before = d->limit;
	struct limits limits;

	d->limit = limit_by_usage(d);
	limits = (struct limits){d->limit, models_reserve(d),
		d->config.store.quarantine_max_bytes};
	writer_set_limits(d->writer, &limits);
	/* What a limit changes in the store itself comes before images make room for it. */
	if (d->limit != before)
		queue_task(d, do_nothing, limit_fitted); /* or the next capture looks */
}

static void on_limit_timer(uv_timer_t *t);

/* Nobody else's use of the disk matters when nothing is kept free for others. */
static void watch_disk(struct daemon *d)
{
	if (d->config.store.keep_free.bytes || d->config.store.keep_free.percent > 0)
		uv_timer_start(&d->limit_timer, on_limit_timer, d->disk_idle ? LIMIT_IDLE_MS : LIMIT_MS, 0);
	else
		uv_timer_stop(&d->limit_timer);
}

static void disk_seen(struct task *task)
{
	struct daemon *d = task->user;
	bool shrunk = limit_by_usage(d) < d->limit - d->limit / 16;

	free(task);
	/* btrfs sets much aside for a moment: before images go for that, it has to be seen twice. */
	if (shrunk && !d->disk_shrunk) {
		d->disk_shrunk = true;
		watch_disk(d);
		return;
	}
	d->disk_shrunk = false;
	daemon_update_limit(d);
	d->disk_idle = !d->stored_since && !writer_waiting_for_room(d->writer) && !intake_in_flight(d->intake);
	d->stored_since = false;
	watch_disk(d);
}

/*
 * Others use the same disk: what KeepFree leaves may have changed. Looked at between two batches, so that what
 * we take and what is left are of one moment.
 */
static void on_limit_timer(uv_timer_t *t)
{
	if (!queue_task(t->data, do_nothing, disk_seen))
		watch_disk(t->data);
}

void daemon_save_policy(struct daemon *d)
{
	struct op *op = op_new(OP_META);

	if (!op)
		return;
	snprintf(op->key, sizeof(op->key), "policy");
	buf_put_u32(&op->data, POLICY_MAGIC);
	buf_put_f32(&op->data, d->price);
	buf_put_f32(&op->data, (float)d->population.images);
	buf_put_f32(&op->data, (float)d->population.scored);
	buf_put_f32(&op->data, d->population.entropy);
	for (int i = 0; i < LADDER_RUNGS; i++) {
		buf_put_f32(&op->data, d->population.kl[i]);
		buf_put_f32(&op->data, d->population.rate[i]);
	}
	writer_add(d->writer, op);
}

static void load_policy(struct daemon *d)
{
	_cleanup_buf_ struct buf b = {0};
	struct population p;
	struct reader r;
	float price;

	population_init(&d->population);
	p = d->population;
	if (view_meta(d->view, "policy", &b) < 0)
		return;
	r = (struct reader){b.data, b.len, false};
	if (reader_u32(&r) != POLICY_MAGIC)
		return;
	price = reader_f32(&r);
	p.images = (double)reader_f32(&r);
	p.scored = (double)reader_f32(&r);
	p.entropy = reader_f32(&r);
	for (int i = 0; i < LADDER_RUNGS; i++) {
		p.kl[i] = reader_f32(&r);
		p.rate[i] = reader_f32(&r);
	}
	if (!reader_finished(&r))
		return;
	d->population = p;
	d->price = price;
}

static void save_history(struct daemon *d)
{
	struct op *op = op_new(OP_META);

	if (!op)
		return;
	snprintf(op->key, sizeof(op->key), "history");
	history_put(&d->history, &op->data);
	writer_add(d->writer, op);
}

static void load_history(struct daemon *d)
{
	_cleanup_buf_ struct buf b = {0};

	history_init(&d->history);
	if (view_meta(d->view, "history", &b) == 0 && history_get(b.data, b.len, &d->history) < 0)
		log_warn("the history is damaged and begins anew");
}

/* After a commit: nothing else changes what a sample would show. */
static void sample_history(struct daemon *d)
{
	int64_t now_s = clock_wall_us() / US_PER_SEC, images, bytes;
	const struct usage *u = writer_usage(d->writer);
	double quality;

	if (d->stopping || !history_wants(&d->history, now_s))
		return;
	images = daemon_totals(d, &bytes, &quality);
	history_add(&d->history,
		&(struct history_sample){.time_s = now_s,
			.taken = daemon_captures(d),
			.images = images,
			.bytes = bytes,
			.use = u->total,
			.limit = d->limit,
			.mean_quality = (float)quality,
			.price = d->price});
	save_history(d);
}

void daemon_remember(struct daemon *d, const struct history_training *t)
{
	history_add_training(&d->history, t);
	save_history(d);
	if (hooks_wants(d->hooks, HOOK_TRAINED))
		hooks_tell(d->hooks, HOOK_TRAINED, training_ended_json(t));
}

static void on_full(void *user, int64_t need, bool hard)
{
	keeper_make_room(user, need, hard);
}

static void on_faded(void *user, struct op *op)
{
	struct daemon *d = user;

	for (size_t i = 0; i < d->tally.n; i++)
		d->tally.v[i].came = came_fade(d->tally.v[i].came);
	d->fading = false;
	op_free(op);
}

/*
 * Shares of labels go by what came of late, in some courses of training: or what has become frequent would
 * have to make up for all the years before.
 */
static void fade_if_long(struct daemon *d)
{
	int64_t came = 0;
	struct op *op;

	if (d->stopping || d->fading)
		return;
	for (size_t i = 0; i < d->tally.n; i++)
		came += stratum_label(d->tally.v[i].stratum) ? d->tally.v[i].came : 0;
	if (came <= COURSES_TOLD * d->config.training.course_images || !(op = op_new(OP_FADE)))
		return;
	d->fading = true;
	op->user = d;
	op->done = on_faded;
	writer_add(d->writer, op);
}

static void on_changed(void *user, const struct tally_list *change)
{
	struct daemon *d = user;

	for (size_t i = 0; i < change->n; i++)
		tally_add(&d->tally, &change->v[i]);
	view_counters(d->view, d->counters);
	d->stored_since = true;
	if (d->disk_idle) {
		d->disk_idle = false;
		watch_disk(d);
	}
	fade_if_long(d);
	sample_history(d);
}

static void on_failing(void *user, int error, const char *text)
{
	log_error("the store cannot be written: %s (%s); captures wait in the spool", text, strerror(-error));
	salvage_if_damaged(user, error);
}

static void forget_pages(struct store *store, struct task *task)
{
	(void)task;
	store_forget_pages(store);
}

/* Memory that was freed goes back to the system. */
static void pages_forgotten(struct task *task)
{
	free(task);
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

/* Nothing has come for a minute: what captures took, and what only caches, goes back. */
static void on_quiet(void *user)
{
	struct daemon *d = user;

	view_forget_pages(d->view);
	queue_task(d, forget_pages, pages_forgotten); /* or after the next minute */
}

static void send_limits(struct daemon *d)
{
	_cleanup_buf_ struct buf frame = {0};
	size_t at = frame_begin(&frame, MSG_LIMITS);
	uint8_t min, max;

	choose_limits(&d->config, &min, &max);
	buf_put_u64(&frame, (uint64_t)d->config.spool.max_pixels);
	buf_put_u8(&frame, min);
	buf_put_u8(&frame, max);
	buf_put_u32(&frame, (uint32_t)d->config.store.inline_max_bytes);
	buf_put_u32(&frame, (uint32_t)d->config.model.input_size);
	frame_end(&frame, at);
	pool_set_setup(d->pool, POOL_LIMITS, &frame);
}

struct table_frames {
	struct buf frames;
	int n;
	struct table_set newest;
};

static void add_table_frame(void *user, uint32_t id, const uint8_t *data, size_t len)
{
	struct table_frames *f = user;
	size_t at = frame_begin(&f->frames, MSG_TABLES);

	if (table_set_read(data, len, &f->newest) == 0)
		f->newest.id = id;
	buf_put_u32(&f->frames, id);
	buf_put(&f->frames, data, len);
	frame_end(&f->frames, at);
	f->n++;
}

static void send_tables(struct daemon *d)
{
	struct table_frames f = {0};

	view_tables(d->view, add_table_frame, &f);
	keeper_tables_known(d, f.n, &f.newest);
	if (f.n)
		pool_add_setup(d->pool, POOL_TABLES, &f.frames);
	buf_done(&f.frames);
}

static void add_label(void *user, uint32_t id, const char *name)
{
	daemon_add_label(user, id, name);
}

static int where_in_spools(const void *spools, const char *path, const char **ret_below)
{
	return spools_find(spools, path, ret_below);
}

/* Captures whose fate was committed before a crash: their files go now, counted once (I6). */
static bool settle_taken(void *user, int64_t taken_id, const struct taken_file *f, int64_t id,
	const char *reason)
{
	struct daemon *d = user;
	const char *below;
	int fd = spools_find(d->spools, f->path, &below);
	int r = fd < 0 ? 0
		       : store_settle(
				 d->store, fd, below, f, id, reason); /* in no spool: never seen again */
	struct op *op;

	op = op_new(OP_SETTLED);
	if (!op)
		return true; /* the next start finds it */
	op->taken_id = taken_id;
	if (r < 0) {
		log_warn("spool file '%s' cannot be removed: %s; tried again every minute", f->path,
			strerror(-r));
		intake_leave(d, f);
		op->file = *f;
		op->row.id = id;
		snprintf(op->text, sizeof(op->text), "%s", reason ? reason : "");
	}
	writer_add(d->writer, op);
	return true;
}

static bool same_spools(const struct config *a, const struct config *b)
{
	bool same = a->n_spools == b->n_spools;

	for (int i = 0; same && i < a->n_spools; i++)
		same = !strcmp(a->more[i].name, b->more[i].name) &&
		       !strcmp(a->more[i].path, b->more[i].path) &&
		       !strcmp(a->more[i].label, b->more[i].label);
	return same;
}

int daemon_reload(struct daemon *d, char error[CONFIG_ERROR_MAX])
{
	struct config next;
	int r;

	daemon_notify("RELOADING=1");
	config_init(&next);
	r = config_load(&next, d->config_file, d->config_required, error);
	if (r == 0 &&
		(strcmp(next.spool.path, d->config.spool.path) != 0 || !same_spools(&next, &d->config) ||
			strcmp(next.store.path, d->config.store.path) != 0 ||
			strcmp(next.control.socket, d->config.control.socket) != 0)) {
		snprintf(error, CONFIG_ERROR_MAX,
			"Spool.Path, [Spool NAME], Store.Path and Control.Socket cannot change while "
			"running; "
			"restart for that");
		r = -EINVAL;
	}
	if (r == 0 && next.policy.mode != d->config.policy.mode) {
		snprintf(error, CONFIG_ERROR_MAX, "Policy.Mode cannot change while running; restart for that");
		r = -EINVAL;
	}
	if (r == 0) {
		d->config = next;
		send_limits(d);
		spools_set_settle(d->spools, next.spool.settle_us);
		control_set_access(d);
		watch_disk(d);
		keeper_settings(d);
		daemon_update_limit(d);
		training_check(d);
		expire_check(d->expire);
		log_notice("settings read again");
	} else {
		log_error("settings not changed: %s", error);
	}
	daemon_notify("READY=1");
	return r;
}

static void on_stop_timeout(uv_timer_t *t)
{
	(void)t;
	log_warn("stopping takes too long; leaving the rest to the next start");
	_exit(0);
}

static void close_walk(uv_handle_t *h, void *arg)
{
	(void)arg;
	if (!uv_is_closing(h))
		uv_close(h, NULL);
}

void daemon_stop(struct daemon *d)
{
	if (d->stopping)
		return;
	daemon_notify("STOPPING=1");
	log_info("stopping");
	daemon_save_policy(d);
	writer_flush(d->writer);
	d->stopping = true;
	spools_stop(d->spools);
	training_stop(d->training);
	control_stop(d->control);
	pool_stop(d->pool);
	keeper_stop(d->keeper);
	hooks_stop(d->hooks);
	expire_stop(d->expire);
	for (size_t i = 0; i < ARRAY_SIZE(d->signals); i++)
		uv_close((uv_handle_t *)&d->signals[i], NULL);
	uv_close((uv_handle_t *)&d->watchdog, NULL);
	uv_close((uv_handle_t *)&d->limit_timer, NULL);
	uv_timer_start(&d->stop_timer, on_stop_timeout, STOP_MS, 0);
	uv_unref((uv_handle_t *)&d->stop_timer);
}

static void on_signal(uv_signal_t *s, int number)
{
	struct daemon *d = s->data;
	char error[CONFIG_ERROR_MAX];

	if (number == SIGHUP)
		daemon_reload(d, error);
	else
		daemon_stop(d);
}

static void on_watchdog(uv_timer_t *t)
{
	(void)t;
	daemon_notify("WATCHDOG=1");
}

static void start_timers(struct daemon *d)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		uv_signal_init(d->loop, &d->signals[i]);
		d->signals[i].data = d;
		if (numbers[i] == SIGPIPE)
			signal(SIGPIPE, SIG_IGN);
		else
			uv_signal_start(&d->signals[i], on_signal, numbers[i]);
	}
	uv_timer_init(d->loop, &d->watchdog);
	uv_timer_init(d->loop, &d->limit_timer);
	uv_timer_init(d->loop, &d->stop_timer);
	d->limit_timer.data = d;
#if HAVE_SYSTEMD
	uint64_t us;

	if (sd_watchdog_enabled(0, &us) > 0)
		uv_timer_start(&d->watchdog, on_watchdog, us / 2000, us / 2000);
#else
	(void)on_watchdog;
#endif
	watch_disk(d);
}

static int open_store(struct daemon *d, char error[256])
{
	int fd = io_open_dir(AT_FDCWD, d->config.store.path);
	struct disk_space disk;
	int r = fd < 0 ? fd : 0;

	if (r < 0) {
		snprintf(error, 256, "%.200s: %s", d->config.store.path, strerror(-r));
		return r;
	}
	if (io_is_remote(fd))
		log_warn("store %s is on a network or of a program (NFS, SMB, FUSE): its limit, and that "
			 "nothing is lost, are promised on local disks only",
			d->config.store.path);
	io_disk_space(fd, &disk);
	close(fd);
	d->limit = daemon_limit(&d->config, 0, &disk);
	r = store_open(d->config.store.path, d->limit, &d->store, error);
	if (r == 0)
		r = view_open(d->config.store.path, &d->view, error);
	if (r == 0 && (view_tallies(d->view, &d->tally) < 0 || view_counters(d->view, d->counters) < 0 ||
			      view_labels(d->view, add_label, d) < 0)) {
		snprintf(error, 256, "the index cannot be read");
		r = -EUCLEAN;
	}
	d->sequence = daemon_captures(d);
	return r;
}

/* One for each processor, but no more than memory has room for. */
static int worker_count(void)
{
	return (int)CLAMP(probe_memory() / WORKER_MEMORY, INT64_C(1), (int64_t)probe_processors());
}

static int start(struct daemon *d, char error[256])
{
	const struct writer_events events = {on_full, on_changed, on_failing, d};
	int r = open_store(d, error);

	if (r < 0)
		return r;
	load_policy(d);
	load_history(d);
	d->writer = writer_new(d->loop, d->store, &events);
	d->pool = pool_new(d->loop, d->exe, worker_count(), on_quiet, d);
	d->intake = intake_new(d);
	d->keeper = keeper_new(d);
	d->training = training_new(d);
	d->hooks = hooks_new(d->loop, d->exe, &d->config);
	d->expire = expire_new(d);
	if (!d->writer || !d->pool || !d->intake || !d->keeper || !d->training || !d->hooks || !d->expire)
		return -ENOMEM;
	send_limits(d);
	send_tables(d);
	r = models_load(d);
	if (r < 0)
		return r;
	daemon_update_limit(d);
	r = spools_open(d->loop, &d->config, intake_offer, d, &d->spools, error);
	if (r < 0)
		return r;
	writer_set_spools(d->writer, where_in_spools, d->spools);
	view_taken(d->view, settle_taken, d);
	r = control_open(d, error);
	if (r < 0)
		return r;
	start_timers(d);
	keeper_settings(d);
	queue_task(d, do_nothing, limit_fitted); /* it may have been lowered since */
	if (d->model.params)
		keeper_rescore(d); /* goes on where it stopped */
	training_check(d);
	return 0;
}

static void finish(struct daemon *d)
{
	spools_free(d->spools);
	control_free(d->control);
	hooks_free(d->hooks);
	expire_free(d->expire);
	training_free(d->training);
	keeper_free(d->keeper);
	intake_free(d->intake);
	pool_free(d->pool);
	writer_free(d->writer);
	view_close(d->view);
	store_close(d->store);
	model_done(&d->model);
	tally_done(&d->tally);
	for (size_t i = 0; i < d->n_labels; i++)
		free(d->labels[i].name);
	free(d->labels);
}

int daemon_run(const char *exe, char *const *argv, const char *config_file, bool config_required,
	const struct config *c)
{
	struct daemon d = {.exe = exe,
		.argv = argv,
		.config_file = config_file,
		.config_required = config_required,
		.config = *c};
	char error[256] = "", size[24];
	uv_loop_t loop;
	int r;

	uv_loop_init(&loop);
	d.loop = &loop;
	d.started_us = d.last_capture_us = clock_steady_us();
	r = start(&d, error);
	if (r < 0) {
		log_error("cannot start: %s", error[0] ? error : strerror(-r));
		salvage_if_damaged(&d, r);
		_exit(1); /* no batch has begun; what is open the kernel closes */
	}
	log_notice("larderd %s: spool %s, store %s, limit %s, %" PRId64 " images", LARDER_VERSION,
		c->spool.path, c->store.path, format_size(d.limit, size, sizeof(size)), daemon_images(&d));
	if (store_sets_restored(d.store))
		log_notice("%d shared table sets were damaged in the index, and made good by their copies",
			store_sets_restored(d.store));
	daemon_notify("READY=1");
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_walk(&loop, close_walk, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	uv_loop_close(&loop);
	finish(&d);
	return 0;
}
