/* Runs that are never repeated, and what is said while they go. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>

#include "common/clock.h"
#include "common/digest.h"
#include "common/io.h"
#include "common/log.h"
#include "common/parse.h"
#include "policy/ladder.h"
#include "tools/lab/lab.h"

#define KEY_BYTES 16
#define LOG_BYTES_MAX ((size_t)64 << 20)
#define STEPS_AT_ONCE 20
#define BAR_WIDTH 24

struct known_run {
	char key[2 * KEY_BYTES + 1];
	int n;
	float accuracy[EVALS_MAX];
};

static void hex(const uint8_t *digest, char ret[2 * KEY_BYTES + 1])
{
	for (int i = 0; i < KEY_BYTES; i++)
		snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

static void digest_dataset(struct buf *b, const struct dataset *d)
{
	size_t n = (size_t)d->n, image = (size_t)d->size * (size_t)d->size * 3;
	uint8_t digest[SHA256_BYTES];

	sha256(d->rgb, n * image, digest);
	buf_put(b, digest, sizeof(digest));
	sha256(d->label, n * sizeof(int), digest);
	buf_put(b, digest, sizeof(digest));
	sha256(d->weight, n * sizeof(float), digest);
	buf_put(b, digest, sizeof(digest));
}

/* more: whatever else decides the outcome; may be NULL. */
static int run_key(const struct lab *l, const struct dataset *data, const struct train_options *o,
	const struct dataset *const eval[], int n_eval, const struct buf *more,
	char ret[2 * KEY_BYTES + 1])
{
	_cleanup_buf_ struct buf b = {0};
	uint8_t digest[SHA256_BYTES];

	digest_dataset(&b, data);
	for (int i = 0; i < n_eval; i++)
		digest_dataset(&b, eval[i]);
	buf_put(&b, &l->shape, sizeof(l->shape));
	buf_put_u32(&b, (uint32_t)l->threads);
	buf_put_u32(&b, (uint32_t)o->batch);
	buf_put_u64(&b, (uint64_t)o->max_steps);
	buf_put_u64(&b, o->seed);
	buf_put_f32(&b, (float)o->rate);
	buf_put_f32(&b, (float)o->momentum);
	buf_put_f32(&b, (float)o->decay);
	buf_put_f32(&b, (float)o->clip);
	buf_put_u32(&b, (uint32_t)o->shift << 1 | o->flip);
	if (more)
		buf_put(&b, more->data, more->len);
	if (b.failed)
		return -ENOMEM;
	sha256(b.data, b.len, digest);
	hex(digest, ret);
	return 0;
}

/* One line: key, number of accuracies, accuracies, a full stop. Anything else is no run. */
static bool parse_run(const char *line, struct known_run *r)
{
	int at = 0, more;
	char stop = 0;

	if (sscanf(line, "%32s %d%n", r->key, &r->n, &at) != 2 || r->n < 0 || r->n > EVALS_MAX ||
		strlen(r->key) != 2 * KEY_BYTES)
		return false;
	for (int i = 0; i < r->n; i++, at += more)
		if (sscanf(line + at, "%f%n", &r->accuracy[i], &more) != 1)
			return false;
	return sscanf(line + at, " %c", &stop) == 1 && stop == '.';
}

static int remember(struct lab *l, const struct known_run *r)
{
	struct known_run *grown = l->known;

	if ((l->n_known & (l->n_known - 1)) == 0)
		grown = reallocarray(l->known, l->n_known ? 2 * l->n_known : 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	l->known = grown;
	l->known[l->n_known++] = *r;
	return 0;
}

static int open_log(struct lab *l)
{
	_cleanup_buf_ struct buf b = {0};
	struct known_run run;
	char *save = NULL;
	int r;

	l->log_fd = openat(l->out_fd, "runs.log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (l->log_fd < 0) {
		log_error("%s/runs.log: %s", l->out, strerror(errno));
		return -errno;
	}
	r = io_read_fd(l->log_fd, LOG_BYTES_MAX, &b);
	if (r < 0) {
		log_error("%s/runs.log: %s", l->out, strerror(-r));
		return r;
	}
	if (b.len && b.data[b.len - 1] != '\n') /* the line that a kill tore */
		r = io_write_full(l->log_fd, "\n", 1);
	buf_put_u8(&b, 0);
	if (b.failed)
		return -ENOMEM;
	for (char *line = strtok_r((char *)b.data, "\n", &save); r == 0 && line;
		line = strtok_r(NULL, "\n", &save))
		if (parse_run(line, &run))
			r = remember(l, &run);
	return r;
}

static const struct known_run *find_run(const struct lab *l, const char *key)
{
	for (size_t i = 0; i < l->n_known; i++)
		if (!strcmp(l->known[i].key, key))
			return &l->known[i];
	return NULL;
}

static int keep_run(struct lab *l, const struct known_run *run)
{
	char line[2 * KEY_BYTES + 16 + EVALS_MAX * 18];
	int n = snprintf(line, sizeof(line), "%s %d", run->key, run->n), r;

	for (int i = 0; i < run->n; i++)
		n += snprintf(line + n, sizeof(line) - (size_t)n, " %.9g", (double)run->accuracy[i]);
	n += snprintf(line + n, sizeof(line) - (size_t)n, " .\n");
	r = io_write_full(l->log_fd, line, (size_t)n);
	if (r == 0 && fsync(l->log_fd) < 0)
		r = -errno;
	if (r < 0)
		log_error("%s/runs.log: %s", l->out, strerror(-r));
	return r < 0 ? r : remember(l, run);
}

/* Parameters of a run, in OUT/models/<key>.f32. */
static int params_file(const struct lab *l, const char *key, char *ret, size_t size)
{
	int fd = io_open_dir(l->out_fd, "models");

	snprintf(ret, size, "models/%s.f32", key);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static bool load_params(const struct lab *l, const char *key, float *params, size_t total)
{
	_cleanup_buf_ struct buf b = {0};
	char name[64];

	if (params_file(l, key, name, sizeof(name)) < 0 ||
		io_read_file(l->out_fd, name, total * sizeof(float), &b) < 0 ||
		b.len != total * sizeof(float))
		return false;
	memcpy(params, b.data, b.len);
	return true;
}

static int save_params(const struct lab *l, const char *key, const float *params, size_t total)
{
	char name[64];
	int r = params_file(l, key, name, sizeof(name));

	if (r == 0)
		r = io_write_durable(l->out_fd, name, params, total * sizeof(float));
	if (r < 0)
		log_error("%s/models: %s", l->out, strerror(-r));
	return r;
}

static const char *time_left(const struct lab *l, char *buf, size_t size)
{
	double left = l->progress.total - l->progress.done;

	if (!l->progress.trained || left < 0)
		return "";
	snprintf(buf, size, "about ");
	format_time((int64_t)(left * l->progress.trained_s / l->progress.trained * 1e6), buf + 6, size - 6);
	strncat(buf, " left", size - strlen(buf) - 1);
	return buf;
}

static void draw_bar(struct lab *l, double part)
{
	double share = CLAMP((l->progress.done + part) / MAX(l->progress.total, 1.0), 0.0, 1.0);
	char bar[BAR_WIDTH + 1], left[48];
	int64_t now = clock_steady_us();

	if (!l->progress.tty || now - l->progress.said_us < US_PER_SEC / 10)
		return;
	l->progress.said_us = now;
	memset(bar, '.', BAR_WIDTH);
	memset(bar, '#', (size_t)(share * BAR_WIDTH));
	bar[BAR_WIDTH] = '\0';
	fprintf(stderr, "\r[%s] %3.0f%%  %.46s  %s\033[K", bar, 100 * share, l->progress.what,
		time_left(l, left, sizeof(left)));
}

void lab_progress(struct lab *l, const char *fmt, ...)
{
	va_list ap;
	char left[48];

	va_start(ap, fmt);
	vsnprintf(l->progress.what, sizeof(l->progress.what), fmt, ap);
	va_end(ap);
	l->progress.total = MAX(l->progress.total, l->progress.done + 1); /* it was an estimate */
	if (l->progress.tty) {
		l->progress.said_us = 0;
		draw_bar(l, 0);
	} else {
		fprintf(stderr, "%.0f/%.0f  %s  %s\n", l->progress.done, l->progress.total,
			l->progress.what, time_left(l, left, sizeof(left)));
	}
}

void lab_progress_end(struct lab *l)
{
	if (l->progress.tty)
		fputs("\r\033[K", stderr);
}

void lab_fewer_runs(struct lab *l, double runs)
{
	l->progress.total -= runs;
}

/* Pictures a second in training, from a few steps on test pictures. */
static double training_rate(struct lab *l)
{
	struct train_options o;
	_cleanup_(train_freep) struct train *t = NULL;
	int64_t begin;

	train_options_init(&o, l->shape.size);
	o.max_steps = 100;
	t = train_new(&l->shape, &l->test, &o, l->team);
	if (!t)
		return 1;
	train_steps(t, 3);
	begin = clock_steady_us();
	train_steps(t, 12);
	return 12.0 * MIN(o.batch, l->test.n) / MAX((double)(clock_steady_us() - begin) / 1e6, 1e-6);
}

void lab_announce(struct lab *l, const char *what, double runs, double scored)
{
	/* A picture forward alone costs a third of one in training. */
	double rate = training_rate(l), seconds = runs * (64.0 * l->steps + 2.0 * l->test.n / 3) / rate +
						  scored * (RUNGS_MAX + 1) / 3.0 / rate;
	char text[24];

	l->progress.done = 0;
	l->progress.total = runs;
	l->progress.begin_us = clock_steady_us();
	l->progress.tty = isatty(STDERR_FILENO);
	fprintf(stderr,
		"%s: at most %.0f runs of %d steps, %.0f pictures/s on %d threads: expect %s at most; "
		"seeds %llu to %llu; runs found in %s are not repeated\n",
		what, runs, l->steps, rate, l->threads,
		format_time((int64_t)(seconds * 1e6), text, sizeof(text)), (unsigned long long)l->seed,
		(unsigned long long)(l->seed + (uint64_t)l->seeds - 1), l->out);
}

static int evaluate_all(struct lab *l, const struct train *t, const struct dataset *const eval[],
	int n_eval, struct known_run *run)
{
	int r = 0;

	for (int i = 0; r == 0 && i < n_eval; i++) {
		struct evaluation e;

		r = evaluate(&l->shape, train_params(t), eval[i], l->team, &e);
		run->accuracy[i] = r == 0 && e.n ? (float)e.correct / (float)e.n : 0;
	}
	return r;
}

static int train_and_evaluate(struct lab *l, const struct dataset *data, const struct train_options *o,
	const struct dataset *const eval[], int n_eval, struct known_run *run, float *ret_params)
{
	_cleanup_(train_freep) struct train *t = train_new(&l->shape, data, o, l->team);
	struct net_layout at;
	int r;

	if (!t)
		return -ENOMEM;
	while (train_step_count(t) < train_steps_total(t)) {
		train_steps(t, STEPS_AT_ONCE);
		draw_bar(l, (double)train_step_count(t) / (double)train_steps_total(t));
	}
	r = evaluate_all(l, t, eval, n_eval, run);
	net_layout(&l->shape, &at);
	if (r == 0 && ret_params) {
		memcpy(ret_params, train_params(t), at.total * sizeof(float));
		r = save_params(l, run->key, ret_params, at.total);
	}
	return r;
}

int lab_run(struct lab *l, const struct dataset *data, uint64_t seed, int steps,
	const struct dataset *const eval[], int n_eval, double ret_accuracy[], float *ret_params,
	const char *what)
{
	int64_t begin = clock_steady_us();
	struct train_options o;
	struct known_run run = {.n = n_eval};
	const struct known_run *found;
	struct net_layout at;
	int r = l->log_fd > 0 ? 0 : open_log(l);

	if (r < 0)
		return r;
	if (data->n < 1) {
		log_error("%s: no picture to train on", what);
		return -EINVAL;
	}
	train_options_init(&o, l->shape.size);
	o.seed = seed;
	o.max_steps = steps;
	r = run_key(l, data, &o, eval, n_eval, NULL, run.key);
	if (r < 0)
		return r;
	net_layout(&l->shape, &at);
	found = find_run(l, run.key);
	if (found && (!ret_params || load_params(l, run.key, ret_params, at.total))) {
		run = *found;
		lab_fewer_runs(l, 1);
	} else {
		lab_progress(l, "%s", what);
		r = train_and_evaluate(l, data, &o, eval, n_eval, &run, ret_params);
		if (r == 0)
			r = keep_run(l, &run);
		l->progress.done++;
		l->progress.trained++;
		l->progress.trained_s += (double)(clock_steady_us() - begin) / 1e6;
	}
	for (int i = 0; r == 0 && i < n_eval; i++)
		ret_accuracy[i] = (double)run.accuracy[i];
	if (r < 0)
		log_error("%s: %s", what, strerror(-r));
	return r;
}

void spread_done(struct spread *s)
{
	buf_done(&s->state);
	*s = (struct spread){0};
}

static void spread_options(const struct lab *l, const struct spread *s, struct train_options *o)
{
	train_options_init(o, l->shape.size);
	o->seed = s->seed;
	o->max_steps = s->steps;
}

int lab_spread_begin(struct lab *l, struct spread *s, const struct dataset *first, const struct buf *more,
	uint64_t seed, bool again)
{
	const struct dataset *eval = &l->test;
	struct train_options o;
	int r = l->log_fd > 0 ? 0 : open_log(l);

	if (r < 0)
		return r;
	s->begun = true;
	s->seed = seed;
	s->steps = l->steps;
	spread_options(l, s, &o);
	r = run_key(l, first, &o, &eval, 1, more, s->begin_key);
	memcpy(s->key, s->begin_key, sizeof(s->key));
	s->known = r == 0 && !again && find_run(l, s->begin_key);
	return r;
}

/* The key goes on over a slice's pictures and its end. */
static int spread_key(struct lab *l, struct spread *s, const struct dataset *data, double until)
{
	_cleanup_buf_ struct buf more = {0};
	struct train_options o;

	buf_put(&more, s->key, sizeof(s->key));
	buf_put_f32(&more, (float)until);
	spread_options(l, s, &o);
	return more.failed ? -ENOMEM : run_key(l, data, &o, NULL, 0, &more, s->key);
}

/* The training as it stands, on these pictures. */
static struct train *spread_resume(
	struct lab *l, const struct spread *s, const struct dataset *data)
{
	_cleanup_(train_freep) struct train *t = NULL;
	struct train_options o;

	spread_options(l, s, &o);
	t = train_new(&l->shape, data, &o, l->team);
	if (t && s->state.len && train_restore(t, s->state.data, s->state.len) < 0)
		return NULL;
	return TAKE_PTR(t);
}

int lab_spread_slice(
	struct lab *l, struct spread *s, const struct dataset *data, double until, const char *what)
{
	_cleanup_(train_freep) struct train *t = NULL;
	int64_t begin = clock_steady_us();
	int steps, r = spread_key(l, s, data, until);

	if (r < 0 || s->known || data->n < 1)
		return r;
	t = spread_resume(l, s, data);
	if (!t) {
		log_error("%s: out of memory", what);
		return -ENOMEM;
	}
	steps = (int)lround(until * s->steps) - (int)train_step_count(t);
	train_steps(t, MAX(steps, 0));
	s->state.len = 0;
	train_save(t, &s->state);
	draw_bar(l, until);
	s->seconds += (double)(clock_steady_us() - begin) / 1e6;
	return s->state.failed ? -ENOMEM : 0;
}

int lab_spread_end(struct lab *l, struct spread *s, const struct dataset *last,
	const struct dataset *const eval[], int n_eval, double ret_accuracy[], const char *what)
{
	_cleanup_(train_freep) struct train *t = NULL;
	struct known_run run = {.n = n_eval};
	struct known_run begin = {0};
	const struct known_run *found = find_run(l, s->key);
	int r = 0;

	memcpy(run.key, s->key, sizeof(run.key));
	memcpy(begin.key, s->begin_key, sizeof(begin.key));
	if (s->known && !found)
		return -ESTALE;
	if (found) {
		run = *found;
		lab_fewer_runs(l, 1);
	} else {
		lab_progress(l, "%s", what);
		t = spread_resume(l, s, last);
		r = t ? evaluate_all(l, t, eval, n_eval, &run) : -ENOMEM;
		if (r == 0)
			r = keep_run(l, &run);
		if (r == 0 && !find_run(l, begin.key))
			r = keep_run(l, &begin);
		l->progress.done++;
		l->progress.trained++;
		l->progress.trained_s += s->seconds;
	}
	for (int i = 0; r == 0 && i < n_eval; i++)
		ret_accuracy[i] = (double)run.accuracy[i];
	if (r < 0)
		log_error("%s: %s", what, strerror(-r));
	return r;
}
