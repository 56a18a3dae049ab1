/*
 * Captures on their way from the spool into the store.
 *
 * CAPTURE_READING -> CAPTURE_LABELLING [on_read]   a label nobody has used yet
 * CAPTURE_READING -> CAPTURE_SCORING [on_read]
 * CAPTURE_LABELLING -> CAPTURE_SCORING [on_label]
 * CAPTURE_SCORING -> CAPTURE_ENCODING [on_answer]
 * any -> CAPTURE_STORING [submit_op]               stored, duplicate, dropped or quarantined
 * any -> gone [forget]
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/digest.h"
#include "common/io.h"
#include "common/log.h"
#include "daemon/daemon.h"
#include "daemon/hooks.h"
#include "daemon/json.h"
#include "daemon/proto.h"

#define IN_FLIGHT_MAX	    128
#define IN_FLIGHT_BYTES_MAX (INT64_C(32) << 20) /* but as many captures as keep the workers busy */
#define REFUSED_MAX	    256
#define UNSETTLED_MAX	    (REFUSED_MAX / 2) /* with those in flight, no more than are remembered */
#define LOOKED_AT_MAX	    (256 << 10)	   /* bytes of a stored image, between other events */
#define BEHIND_US	    (10 * 60 * US_PER_SEC)
#define AGAIN_MS	    5000 /* after what should not last: no memory, no descriptors */
#define WAIT_FIRST_US	    (60 * US_PER_SEC)	   /* before a refused file is tried again */
#define WAIT_MOST_US	    (60 * 60 * US_PER_SEC)

enum capture_state {
	CAPTURE_READING,   /* on a thread: bytes and hash */
	CAPTURE_LABELLING, /* its label is being written */
	CAPTURE_SCORING,   /* with a worker: decoding, curve */
	CAPTURE_ENCODING,  /* with the same worker: the chosen rung */
	CAPTURE_STORING,   /* with the writer */
};

struct capture {
	struct capture *next;
	struct daemon *d;
	enum capture_state state;
	uv_work_t read;
	int spool_fd, error; /* error: of reading */
	int64_t max_bytes;
	bool regular, duplicate;
	bool again;	     /* another file has taken its place meanwhile, or may have */
	char kind[24];	     /* of a file that is none */
	struct taken_file file;
	const char *below;   /* of its path: in the spool */
	struct buf data;     /* owned, until a worker's request has it */
	int64_t bytes;	     /* that it has in memory, or soon will */
	uint64_t id, hash;   /* hash: drawn with its scene once it is known (policy/member.h) */
	int64_t clock_ahead_us;	    /* of ours: the clock that it is dated by */
	int64_t mtime_s, waited_us; /* waited: in the spool, when it was read */
	uint32_t label;
	struct job *job;     /* owned until submitted */
	struct image_row row;
	uint32_t label_before; /* of a damaged image whose place it takes */
	bool ranked;	     /* its stratum and rank are known */
	bool drop_at_door;
	bool loose;	     /* to be stored as a file for now: choose_loose() */
	struct next_step first_step; /* if it is loose */
	struct buf stored;   /* owned: encoded bytes */
	char why[160];	     /* quarantine reason; empty: none */
};

/* A file that has to stay where it is: said once, tried again now and then. */
struct refused {
	uint64_t dev, ino;
	int64_t mtime_ns;
	int64_t again_us, wait_us; /* steady clock; again_us INT64_MAX: not at all */
};

struct intake {
	struct capture *captures;
	bool starved; /* something was turned away for want of room */
	bool stuck;   /* or because spool files cannot be removed */
	int n;
	int64_t bytes;
	struct refused refused[REFUSED_MAX];
	size_t n_refused;
	struct scenes scenes;
};

struct intake *intake_new(struct daemon *d)
{
	(void)d;
	return calloc(1, sizeof(struct intake));
}

static void capture_free(struct capture *c)
{
	buf_done(&c->data);
	buf_done(&c->stored);
	free(c);
}

void intake_free(struct intake *in)
{
	if (!in)
		return;
	while (in->captures) {
		struct capture *c = in->captures;

		in->captures = c->next;
		capture_free(c);
	}
	free(in);
}

int intake_in_flight(const struct intake *in)
{
	return in->n;
}

static void set_state(struct capture *c, enum capture_state to)
{
	static const uint8_t allowed[] = {
		[CAPTURE_READING] = 1 << CAPTURE_LABELLING | 1 << CAPTURE_SCORING | 1 << CAPTURE_STORING,
		[CAPTURE_LABELLING] = 1 << CAPTURE_SCORING | 1 << CAPTURE_STORING,
		[CAPTURE_SCORING] = 1 << CAPTURE_ENCODING | 1 << CAPTURE_STORING,
		[CAPTURE_ENCODING] = 1 << CAPTURE_SCORING | 1 << CAPTURE_STORING, /* second try */
		[CAPTURE_STORING] = 0,
	};

	assert(allowed[c->state] & 1 << to);
	c->state = to;
}

static void forget(struct capture *c)
{
	struct intake *in = c->d->intake;
	struct daemon *d = c->d;
	bool again = c->again && !d->stopping;
	_cleanup_free_ char *path = again ? strdup(c->file.path) : NULL;

	for (struct capture **p = &in->captures; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			break;
		}
	in->n--;
	in->bytes -= c->bytes;
	capture_free(c);
	if (in->starved && !d->stopping && in->n <= IN_FLIGHT_MAX / 2) {
		in->starved = false;
		spools_resume(d->spools);
	}
	if (again && !(path && intake_offer(d, path)))
		spools_retry(d->spools, AGAIN_MS);
}

/* The spool has it still. */
static void try_later(struct capture *c)
{
	struct spools *spools = c->d->spools;

	forget(c);
	spools_retry(spools, AGAIN_MS);
}

static struct refused *find_refused(struct intake *in, const struct taken_file *f)
{
	for (size_t i = 0; i < MIN(in->n_refused, (size_t)REFUSED_MAX); i++)
		if (in->refused[i].dev == f->dev && in->refused[i].ino == f->ino &&
			in->refused[i].mtime_ns == f->mtime_ns)
			return &in->refused[i];
	return NULL;
}

static struct refused *add_refused(struct intake *in, const struct taken_file *f)
{
	struct refused *one = &in->refused[in->n_refused++ % REFUSED_MAX];

	*one = (struct refused){f->dev, f->ino, f->mtime_ns, INT64_MAX, 0};
	return one;
}

void intake_leave(struct daemon *d, const struct taken_file *f)
{
	add_refused(d->intake, f);
}

static enum fate fate_of(const struct op *op)
{
	if (op->kind == OP_QUARANTINE)
		return FATE_QUARANTINED;
	if (op->kind == OP_COUNT)
		return op->counter == COUNT_DUPLICATE ? FATE_DUPLICATE : FATE_DROPPED;
	return op->result == -EEXIST ? FATE_DUPLICATE : FATE_STORED;
}

static const char *why_of(const struct capture *c, const struct op *op, enum fate fate)
{
	if (fate == FATE_QUARANTINED)
		return op->text;
	if (fate != FATE_DROPPED)
		return "";
	return c->row.rank >= RANK_REPEATS ? "looks like others before it" : "the store is full";
}

static void note_decision(const struct capture *c, const struct op *op)
{
	const char *base = strrchr(c->file.path, '/');
	struct decision n = {.wall_us = clock_wall_us(),
		.id = op->row.id,
		.captured_bytes = c->file.size,
		.label = c->label,
		.fate = fate_of(op)};

	if (n.fate == FATE_STORED) {
		n.bytes = op->row.bytes;
		n.quality = op->row.quality;
	}
	snprintf(n.name, sizeof(n.name), "%.*s", NAME_KEPT_MAX, base ? base + 1 : c->file.path);
	snprintf(n.why, sizeof(n.why), "%.95s", why_of(c, op, n.fate));
	recent_add(&c->d->recent, &n);
	if (n.fate == FATE_STORED && hooks_wants(c->d->hooks, HOOK_STORED))
		hooks_tell(c->d->hooks, HOOK_STORED, decision_json(c->d, &n));
}

static void on_stored(void *user, struct op *op)
{
	struct capture *c = user;
	struct daemon *d = c->d;

	d->sequence++;
	if (op->kind == OP_INSERT && op->result == 0)
		log_debug("stored '%s' at quality %d in %u bytes", c->file.path, op->row.quality,
			op->row.bytes);
	else if (op->kind == OP_QUARANTINE)
		log_notice("quarantined '%s': %s", c->file.path, op->text);
	note_decision(c, op);
	if (op->unsettled)
		intake_leave(d, &op->file);
	if (op->kind == OP_INSERT)
		keeper_image_met(d, op->row.flags & IMAGE_SCORED);
	op_free(op);
	forget(c);
	training_check(d);
	keeper_check(d);
}

/* Hands the capture's fate to the writer. */
static void submit_op(struct capture *c, enum op_kind kind)
{
	struct op *op = op_new(kind);

	if (!op) {
		try_later(c);
		return;
	}
	set_state(c, CAPTURE_STORING);
	op->row = c->row;
	op->row.id = (int64_t)c->id;
	op->row.hash = c->hash;
	op->file = c->file;
	op->user = c;
	op->done = on_stored;
	snprintf(op->text, sizeof(op->text), "%s", c->why);
	if (kind == OP_INSERT) {
		op->data = c->stored;
		c->stored = (struct buf){0};
	}
	writer_add(c->d->writer, op);
}

static bool is_validation(const struct capture *c)
{
	return c->label && member_is_validation(c->hash, c->d->config.training.validation_percent);
}

static void count_fate(struct capture *c, enum counter counter)
{
	struct op *op = op_new(OP_COUNT);

	if (!op) {
		try_later(c);
		return;
	}
	set_state(c, CAPTURE_STORING);
	op->row.id = (int64_t)c->id;
	op->row.stratum = stratum_of(c->label, is_validation(c)); /* for an image that has no label yet */
	op->counter = counter;
	op->file = c->file;
	op->user = c;
	op->done = on_stored;
	writer_add(c->d->writer, op);
}

/* What cannot be read, decoded by nobody, or not even be kept in quarantine stays in the spool. */
static void refuse(struct capture *c, const char *why)
{
	struct refused *one = find_refused(c->d->intake, &c->file);

	if (!one) {
		log_error("left in the spool: '%s': %s; will try again", c->file.path, why);
		one = add_refused(c->d->intake, &c->file);
	}
	one->wait_us = CLAMP(2 * one->wait_us, WAIT_FIRST_US, WAIT_MOST_US);
	one->again_us = clock_steady_us() + one->wait_us;
	spools_retry(c->d->spools, one->wait_us / US_PER_MS + 1);
	forget(c);
}

static void quarantine(struct capture *c)
{
	const struct limits limits = {.total = c->d->limit,
		.quarantine = c->d->config.store.quarantine_max_bytes};

	if (quarantine_fits(&limits, c->file.size))
		submit_op(c, OP_QUARANTINE);
	else
		refuse(c, c->why);
}

/* On a thread: the bytes and their hash; nothing but *c is touched. */
static void read_capture(uv_work_t *req)
{
	struct capture *c = req->data;
	uint8_t digest[SHA256_BYTES];
	const char *base;
	_cleanup_close_ int dir = io_open_parent(c->spool_fd, c->below, &base);
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (dir < 0) {
		c->error = dir == -ENOTDIR || dir == -ELOOP ? -ENOENT : dir;
		return;
	}
	if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		c->error = -errno;
		return;
	}
	c->regular = S_ISREG(st.st_mode);
	snprintf(c->kind, sizeof(c->kind), "%s",
		S_ISLNK(st.st_mode)	? "symbolic link"
			: S_ISFIFO(st.st_mode) ? "fifo"
			: S_ISSOCK(st.st_mode) ? "socket"
			: S_ISDIR(st.st_mode)  ? "directory"
					       : "device");
	if (c->regular) {
		fd = openat(dir, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0) {
			c->error = -errno;
			return;
		}
		c->regular = S_ISREG(st.st_mode);
	}
	taken_note(&c->file, &st);
	c->mtime_s = st.st_mtim.tv_sec;
	c->waited_us = clock_wall_us() + c->clock_ahead_us - clock_us_of(st.st_ctim);
	if (!c->regular || st.st_size > c->max_bytes)
		return;
	c->error = io_read_fd(fd, (size_t)c->max_bytes, &c->data);
	if (c->error < 0)
		return;
	sha256(c->data.data ? c->data.data : (const uint8_t *)"", c->data.len, digest);
	c->id = digest_id(digest);
	for (int i = 0; i < 8; i++)
		c->hash = c->hash << 8 | digest[8 + i];
}

static bool thins_bursts(const struct capture *c)
{
	const struct config *config = &c->d->config;

	return config->policy.mode == MODE_ADAPTIVE && config->policy.repeats_first;
}

/* Draws it for training or validation and ranks it, with what it may be one burst with; only once. */
static void set_membership(struct capture *c, const struct sketched *s)
{
	struct scene_seen seen;

	if (c->ranked)
		return;
	c->ranked = true;
	c->row.taken_s = s->taken_s ? s->taken_s : c->mtime_s;
	seen = scenes_meet(&c->d->intake->scenes, c->label, &s->sketch, c->row.taken_s, c->hash);
	c->row.rank = member_rank(c->hash);
	if (thins_bursts(c))
		c->row.rank = scene_rank(seen, c->row.rank, c->hash);
	c->hash = member_drawn_with(c->hash, seen.draw);
	c->row.stratum = stratum_of(c->label, is_validation(c));
}

static void set_row(struct capture *c, const struct curve_answer *a)
{
	const char *base = strrchr(c->file.path, '/');

	set_membership(c, &a->sketched);
	c->row = (struct image_row){
		.stratum = c->row.stratum,
		.rank = c->row.rank,
		.taken_s = c->row.taken_s,
		.layout = a->layout,
		.width = a->width,
		.height = a->height,
		.orientation = a->orientation,
		.flags = a->curve.scored ? IMAGE_SCORED : 0,
		.model = a->curve.scored ? c->d->model.version : 0,
	};
	snprintf(c->row.name, sizeof(c->row.name), "%.*s", NAME_KEPT_MAX, base ? base + 1 : c->file.path);
}

/* The decision. Fills the row; returns the quality to encode at. */
static int decide(struct capture *c, struct curve_answer *a)
{
	struct daemon *d = c->d;
	enum policy_mode mode = (enum policy_mode)d->config.policy.mode;
	float price = keeper_door_price(d);
	bool validation;
	int rung;

	set_row(c, a);
	validation = stratum_is_validation(c->row.stratum);
	curve_make_monotone(&a->curve);
	population_add(&d->population, &a->curve);
	population_fill_rates(&d->population, &a->curve);
	rung = choose_rung(mode, &a->curve, &d->population, price, false);
	if (mode == MODE_ADAPTIVE)
		rung = choose_no_larger(&a->curve, &d->population, rung, c->file.size);
	c->loose = choose_loose(mode, a->curve.rate[rung], keeper_nearly_full(d));
	if (validation) {
		int faithful = choose_rung(mode, &a->curve, &d->population, price, true);

		rung = c->loose ? MAX(rung, faithful) : faithful;
	}
	c->first_step = choose_first_step(&a->curve, &d->population, rung, validation);
	row_set_step(&c->row, choose_next(mode, &a->curve, &d->population, rung, validation,
				      d->sequence + d->intake->n, c->row.rank));
	c->row.quality = a->curve.quality[rung];
	row_set_harm(&c->row, &a->curve, rung);
	c->drop_at_door = keeper_at_the_door(d, c->row.stratum, c->row.rank, c->row.step);
	return c->row.quality;
}

/* Nobody need score what would be refused whatever comes of it. */
static bool on_sketch(struct capture *c, struct reader *payload, bool *ret_bad)
{
	struct sketched s;
	size_t at;

	if (get_sketched(payload, &s) < 0 || !reader_finished(payload)) {
		*ret_bad = true;
		return false;
	}
	set_membership(c, &s);
	c->drop_at_door = keeper_at_the_door(c->d, c->row.stratum, c->row.rank, -1);
	if (c->drop_at_door)
		return true;
	at = frame_begin(&c->job->followup, MSG_SCORE);
	frame_end(&c->job->followup, at);
	return false;
}

static bool on_curve(struct capture *c, struct reader *payload, bool *ret_bad)
{
	struct curve_answer a;
	int quality;

	if (get_curve(payload, &a) < 0) {
		*ret_bad = true;
		return false;
	}
	quality = decide(c, &a);
	if (c->drop_at_door)
		return true;
	if (c->d->config.policy.mode == MODE_DROP) { /* the capture's own bytes */
		c->row.flags |= IMAGE_ORIGINAL;
		c->row.tables = 0;
		buf_done(&c->stored);
		buf_put(&c->stored, c->data.data, c->data.len);
		return true;
	}
	set_state(c, CAPTURE_ENCODING);
	put_encode(&c->job->followup, quality, c->loose);
	return false;
}

static bool on_encoded(struct capture *c, struct reader *payload, bool *ret_bad)
{
	struct coded coded;

	get_coded(payload, &coded);
	c->row.tables = coded.tables;
	if (c->loose && (coded.loose || c->first_step.to < c->row.quality)) {
		c->row.flags |= IMAGE_LOOSE;
		row_set_step(&c->row, c->first_step);
	}
	if (payload->failed || payload->len < 1 || payload->len > INT32_MAX) {
		*ret_bad = true;
		return false;
	}
	buf_done(&c->stored);
	buf_put(&c->stored, payload->data, payload->len);
	return true;
}

/* Want of memory is not the picture's fault at first: once more with another worker. */
static bool on_refused(struct capture *c, struct job *job, struct reader *payload, bool *ret_bad)
{
	uint32_t error = reader_u32(payload);
	size_t n = MIN(payload->len, sizeof(c->why) - 1);

	if (error == ENOMEM && job->tries == 0) {
		log_warn("no memory for '%s'; once more with another worker", c->file.path);
		*ret_bad = true;
		return false;
	}
	if (!payload->failed && n)
		memcpy(c->why, payload->data, n);
	else
		n = (size_t)snprintf(c->why, sizeof(c->why), "refused");
	c->why[n] = '\0';
	return true;
}

static bool on_answer(struct job *job, uint8_t type, struct reader *payload, bool *ret_bad)
{
	struct capture *c = job->user;

	if (type == MSG_SKETCH && c->state == CAPTURE_SCORING)
		return on_sketch(c, payload, ret_bad);
	if (type == MSG_CURVE && c->state == CAPTURE_SCORING)
		return on_curve(c, payload, ret_bad);
	if (type == MSG_ENCODED && c->state == CAPTURE_ENCODING)
		return on_encoded(c, payload, ret_bad);
	if (type == MSG_REFUSED)
		return on_refused(c, job, payload, ret_bad);
	*ret_bad = true;
	return false;
}

/* Bytes that are inside the index: what will be once it is packed is there at once. */
static int64_t most_inside(const struct capture *c)
{
	int64_t most = c->d->config.store.inline_max_bytes;

	return c->row.flags & IMAGE_LOOSE ? most + most / 3 : most;
}

static void on_finished(struct job *job, const char *why)
{
	struct capture *c = job->user;
	bool unable = why && job->unable;

	if (why)
		snprintf(c->why, sizeof(c->why), "%s", why);
	job_done(job);
	free(job);
	c->job = NULL;
	if (unable) {
		refuse(c, c->why);
	} else if (c->why[0]) {
		quarantine(c);
	} else if (c->drop_at_door) {
		count_fate(c, COUNT_DROPPED);
	} else if (c->stored.failed || !c->stored.len) {
		log_error("out of memory with '%s'; will try again", c->file.path);
		try_later(c);
	} else {
		if ((int64_t)c->stored.len > most_inside(c))
			c->row.flags |= IMAGE_FILE;
		submit_op(c, OP_INSERT);
	}
}

/* A second try begins again with the first request. */
static bool on_answer_again(struct job *job, uint8_t type, struct reader *payload, bool *ret_bad)
{
	struct capture *c = job->user;

	if ((type == MSG_SKETCH || type == MSG_CURVE) && c->state == CAPTURE_ENCODING)
		set_state(c, CAPTURE_SCORING);
	return on_answer(job, type, payload, ret_bad);
}

/* Whether the network is left out for now: the population's curve stands in until idle time. */
static bool predicts(const struct capture *c)
{
	switch ((enum scoring_mode)c->d->config.policy.scoring) {
	case SCORING_FULL:
		return false;
	case SCORING_PREDICT:
		return true;
	case SCORING_AUTO: /* captures come faster than they can be scored */
		return c->waited_us > BEHIND_US;
	}
	return false;
}

/* Whether it would be refused at the door whatever the network says: then nobody need look at it. */
static bool is_hopeless(const struct capture *c)
{
	const struct daemon *d = c->d;

	if (d->config.policy.mode != MODE_ADAPTIVE || is_validation(c))
		return false;
	return keeper_at_the_door(d, stratum_of(c->label, false), member_rank(c->hash), -1);
}

static void start_scoring(struct capture *c)
{
	struct job *job;
	size_t at;

	if (c->duplicate || is_hopeless(c)) {
		count_fate(c, c->duplicate ? COUNT_DUPLICATE : COUNT_DROPPED);
		return;
	}
	job = calloc(1, sizeof(*job));

	if (!job) {
		try_later(c);
		return;
	}
	set_state(c, CAPTURE_SCORING);
	job->user = c;
	job->answer = on_answer_again;
	job->finished = on_finished;
	at = frame_begin(&job->request, MSG_CAPTURE);
	buf_put_u32(&job->request, c->label);
	buf_put_u8(&job->request,
		(predicts(c) ? ASK_NO_NETWORK : 0) |
			(population_wants_rates(&c->d->population, c->hash) ? 0 : ASK_FEW_RATES) |
			(population_wants_guess(&c->d->population, c->hash) ? ASK_GUESS : 0) |
			(thins_bursts(c) && keeper_refuses(c->d) ? ASK_SKETCH : 0));
	buf_put(&job->request, c->data.data, c->data.len);
	frame_end(&job->request, at);
	if (c->d->config.policy.mode != MODE_DROP) /* which stores them as they came */
		buf_done(&c->data);
	c->job = job;
	pool_submit(c->d->pool, job);
}

static void on_label(void *user, struct op *op)
{
	struct capture *c = user;
	int r = op->result;

	c->label = op->row.stratum;
	if (r == 0)
		r = daemon_add_label(c->d, c->label, op->text);
	op_free(op);
	if (r < 0) {
		snprintf(c->why, sizeof(c->why), "no more labels can be had (%s)", strerror(-r));
		quarantine(c);
	} else {
		start_scoring(c);
	}
}

/* The label's id, or the way to one. */
static void start_labelling(struct capture *c)
{
	char name[LABEL_MAX + 1];
	struct op *op;

	spools_label(c->d->spools, c->file.path, name, sizeof(name));
	c->label = name[0] ? daemon_label_id(c->d, name) : c->label_before;
	if (c->label || !name[0]) {
		start_scoring(c);
		return;
	}
	op = op_new(OP_NEW_LABEL);
	if (!op) {
		try_later(c);
		return;
	}
	set_state(c, CAPTURE_LABELLING);
	snprintf(op->text, sizeof(op->text), "%s", name);
	op->user = c;
	op->done = on_label;
	writer_add(c->d->writer, op);
}

static void set_bytes(struct capture *c, int64_t bytes)
{
	c->d->intake->bytes += bytes - c->bytes;
	c->bytes = bytes;
}

/* What reading it will take: many large ones may be given before the first is read. */
static int64_t expected_bytes(const struct capture *c)
{
	struct stat st;

	if (fstatat(c->spool_fd, c->below, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
		st.st_size > c->max_bytes)
		return 0;
	return st.st_size;
}

static bool is_refused(const struct capture *c)
{
	const struct refused *one = find_refused(c->d->intake, &c->file);

	return one && clock_steady_us() < one->again_us;
}

/* Whether the image's bytes are what they were; of large ones only the check tells. */
static bool is_whole(struct daemon *d, const struct image_row *row)
{
	_cleanup_buf_ struct buf data = {0};

	return row->bytes > LOOKED_AT_MAX || !view_lost(view_data(d->view, row, &data));
}

static void on_way_made(void *user, struct op *op)
{
	char id[17];

	(void)user;
	if (op->result == 0) /* else it was degraded between two looks */
		log_warn("image %s was damaged and came again: %s", format_id(op->row.id, id),
			op->mended ? "it was mended" : "what came takes its place");
	op_free(op);
}

/* What is there already is not taken again, but for an image that is damaged: that makes way. */
static void look_for_content(struct capture *c)
{
	struct daemon *d = c->d;
	struct image_row known;
	struct op *op;

	c->duplicate = view_row(d->view, (int64_t)c->id, &known) == 0 &&
		       member_same_content(known.hash, c->hash);
	if (c->duplicate)
		c->hash = known.hash;
	if (c->duplicate && !is_whole(d, &known) && (op = op_new(OP_SET_ASIDE))) {
		op->row.id = known.id;
		op->was_quality = known.quality;
		op->done = on_way_made;
		writer_add(d->writer, op);
		c->duplicate = false; /* or the writer will find that it is one */
		c->label_before = stratum_label(known.stratum);
	}
	if (c->duplicate && stratum_label(known.stratum))
		count_fate(c, COUNT_DUPLICATE);
	else
		start_labelling(c);
}

static void on_read(uv_work_t *req, int status)
{
	struct capture *c = req->data;
	struct daemon *d = c->d;

	(void)status;
	set_bytes(c, (int64_t)c->data.len);
	if (d->stopping || c->error == -ENOENT || is_refused(c)) {
		forget(c);
		return;
	}
	d->last_capture_us = clock_steady_us();
	training_check(d); /* it makes way at once */
	if (c->error == -EACCES || c->error == -EPERM || c->error == -EIO) {
		refuse(c, strerror(-c->error));
	} else if (c->error == -ELOOP || (!c->error && !c->regular)) {
		snprintf(c->why, sizeof(c->why), "%s: only regular files are taken",
			c->error ? "symbolic link" : c->kind);
		quarantine(c);
	} else if (!c->error && c->file.size > c->max_bytes) {
		snprintf(c->why, sizeof(c->why), "%lld bytes; MaxFileSize=%lld", (long long)c->file.size,
			(long long)c->max_bytes);
		quarantine(c);
	} else if (c->error || c->data.failed) {
		log_warn("cannot read '%s': %s; will try again", c->file.path,
			strerror(c->error ? -c->error : ENOMEM));
		try_later(c);
	} else {
		look_for_content(c);
	}
}

/*
 * Whether what is under the capture's name now is another file: some cameras use one name again and again.
 * Its event is over, and the next scan of everything is minutes away.
 */
static bool was_replaced(const struct capture *c)
{
	struct stat st;

	if (c->state == CAPTURE_READING)
		return true; /* perhaps */
	return fstatat(c->spool_fd, c->below, &st, AT_SYMLINK_NOFOLLOW) == 0 && !taken_is(&c->file, &st);
}

bool intake_offer(void *daemon, const char *path)
{
	struct daemon *d = daemon;
	struct intake *in = d->intake;
	struct capture *c;

	if (d->stopping)
		return false;
	for (c = in->captures; c; c = c->next)
		if (!strcmp(c->file.path, path)) {
			c->again = c->again || was_replaced(c);
			return true;
		}
	if (writer_unsettled(d->writer) > UNSETTLED_MAX) {
		if (!in->stuck)
			log_error("the spool cannot be emptied: captures wait until it can");
		in->stuck = true;
		return false; /* a later scan finds it */
	}
	in->stuck = false;
	if (in->n >= IN_FLIGHT_MAX || (in->bytes > IN_FLIGHT_BYTES_MAX && in->n >= 2 * pool_width(d->pool))) {
		in->starved = true;
		return false;
	}
	c = calloc(1, sizeof(*c));
	if (!c) {
		spools_retry(d->spools, AGAIN_MS);
		return false;
	}
	c->d = d;
	c->max_bytes = d->config.spool.max_file_bytes;
	snprintf(c->file.path, sizeof(c->file.path), "%s", path);
	c->spool_fd = spools_find(d->spools, c->file.path, &c->below);
	c->clock_ahead_us = spools_clock_ahead_us(d->spools, c->file.path);
	c->read.data = c;
	c->next = in->captures;
	in->captures = c;
	in->n++;
	set_bytes(c, expected_bytes(c));
	uv_queue_work(d->loop, &c->read, read_capture, on_read);
	return true;
}
