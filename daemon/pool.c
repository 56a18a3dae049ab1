#include "daemon/pool.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "daemon/proto.h"

#define ANSWER_SEC   60 /* a worker that takes longer hangs... */
#define STARVED_SEC  900 /* ...or, of those that make way, gets next to nothing of the processors */
#define QUIET_MS     60000
#define ANSWER_MAX   (INT64_C(1) << 30)
#define READ_STEP    65536
#define DEATHS	     2 /* of workers, that a job may cause */
#define TRIES	     8 /* and that it is given to in all */
#define RESTART_MS   1000 /* between starts when workers die before they answer anything */

enum { ORDINARY, BACKGROUND, CREWS };

/* Workers of one kind, and what waits for them. */
struct crew {
	int first, width; /* its slots */
	int waiting;
	struct job *head, **tail;
};

struct slot {
	struct pool *pool; /* borrowed */
	struct crew *crew; /* borrowed */
	uv_process_t process;
	uv_pipe_t in, out;
	uv_timer_t timer; /* busy: it hangs; idle: it may go */
	int open_handles; /* until 0 the slot is in use */
	bool alive, proved; /* proved: has answered once */
	bool pipe_failed;   /* ended for that */
	bool killed;	    /* by us */
	bool retiring;	    /* it goes after the job it has */
	struct job *job;  /* in conversation; owned */
	struct buf answer;
};

struct pool {
	uv_loop_t *loop;
	const char *exe; /* borrowed */
	struct crew crew[CREWS];
	bool stopping;
	struct buf setup[POOL_SETUPS];
	uv_timer_t restart;
	bool backing_off;
	void (*quiet)(void *user);
	void *user;
	int slots;
	struct slot slot[2 * POOL_WORKERS_MAX];
};

struct owned_write {
	uv_write_t req;
	struct slot *slot;
	struct buf data;
};

static void dispatch(struct pool *p);

void job_done(struct job *job)
{
	buf_done(&job->request);
	buf_done(&job->followup);
}

static void add_crew(struct pool *p, struct crew *crew, int width)
{
	*crew = (struct crew){.first = p->slots, .width = width, .tail = &crew->head};
	p->slots += width;
	for (int i = crew->first; i < p->slots; i++) {
		p->slot[i].pool = p;
		p->slot[i].crew = crew;
	}
}

struct pool *pool_new(
	uv_loop_t *loop, const char *exe, int workers, void (*quiet)(void *user), void *user)
{
	struct pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->loop = loop;
	p->exe = exe;
	p->quiet = quiet;
	p->user = user;
	add_crew(p, &p->crew[ORDINARY], CLAMP(workers, 1, POOL_WORKERS_MAX));
	add_crew(p, &p->crew[BACKGROUND], (pool_width(p) + 1) / 2);
	uv_timer_init(loop, &p->restart);
	p->restart.data = p;
	return p;
}

int pool_load(const struct pool *p)
{
	int n = p->crew[ORDINARY].waiting + p->crew[BACKGROUND].waiting;

	for (int i = 0; i < p->slots; i++)
		n += p->slot[i].job != NULL;
	return n;
}

int pool_width(const struct pool *p)
{
	return p->crew[ORDINARY].width;
}

int pool_width_background(const struct pool *p)
{
	return p->crew[BACKGROUND].width;
}

int pool_alive(const struct pool *p)
{
	int n = 0;

	for (int i = 0; i < p->slots; i++)
		n += p->slot[i].alive;
	return n;
}

static void kill_worker(struct slot *s)
{
	s->killed = true;
	if (s->alive)
		uv_process_kill(&s->process, SIGKILL);
}

/* It waits for what will not come, and not by its own fault. */
static void give_up_worker(struct slot *s)
{
	s->pipe_failed = true;
	kill_worker(s);
}

static void on_written(uv_write_t *req, int status)
{
	struct owned_write *w = (struct owned_write *)req;

	if (status < 0 && status != UV_ECANCELED && status != UV_EPIPE) /* that one has ended by itself */
		give_up_worker(w->slot);
	buf_done(&w->data);
	free(w);
}

/* Sends a copy: the job may be tried elsewhere while this is still in the pipe. */
static int send_copy(struct slot *s, const struct buf *frames)
{
	struct owned_write *w = calloc(1, sizeof(*w));
	uv_buf_t b;
	int r;

	if (!w)
		return -ENOMEM;
	w->slot = s;
	buf_put(&w->data, frames->data, frames->len);
	if (w->data.failed || frames->failed) {
		buf_done(&w->data);
		free(w);
		return -ENOMEM;
	}
	b = uv_buf_init((char *)w->data.data, (unsigned)w->data.len);
	r = uv_write(&w->req, (uv_stream_t *)&s->in, &b, 1, on_written);
	if (r < 0) {
		buf_done(&w->data);
		free(w);
	}
	return r;
}

static void finish_job(struct slot *s, const char *why)
{
	struct job *job = TAKE_PTR(s->job);

	if (job)
		job->finished(job, why);
}

static void drop_job(struct job *job)
{
	if (job->dropped)
		job->dropped(job->user);
	job_done(job);
	free(job);
}

/* The worker of this job is gone, and of it or not: once more from the start, or the end of it. */
static void retry_job(struct slot *s, const char *why, bool of_it)
{
	struct crew *crew = s->crew;
	struct job *job = TAKE_PTR(s->job);

	if (!job)
		return;
	if (s->pool->stopping) {
		drop_job(job);
		return;
	}
	job->tries++;
	job->deaths += of_it;
	job->unable = job->deaths < DEATHS;
	if (!job->unable || job->tries >= TRIES) {
		job->finished(job, why);
		return;
	}
	job->next = crew->head;
	crew->head = job;
	if (!job->next)
		crew->tail = &job->next;
	crew->waiting++;
}

static void on_slot_closed(uv_handle_t *h)
{
	struct slot *s = h->data;

	if (--s->open_handles > 0)
		return;
	buf_done(&s->answer);
	if (s->pool->stopping)
		return;
	dispatch(s->pool);
	if (!pool_alive(s->pool))
		s->pool->quiet(s->pool->user);
}

static void close_slot(struct slot *s)
{
	uv_handle_t *handles[] = {(uv_handle_t *)&s->process, (uv_handle_t *)&s->in,
		(uv_handle_t *)&s->out, (uv_handle_t *)&s->timer};

	s->alive = false;
	for (size_t i = 0; i < ARRAY_SIZE(handles); i++)
		if (!uv_is_closing(handles[i]))
			uv_close(handles[i], on_slot_closed);
}

static void on_restart(uv_timer_t *t)
{
	struct pool *p = t->data;

	p->backing_off = false;
	dispatch(p);
}

static void back_off(struct pool *p)
{
	p->backing_off = true;
	uv_timer_start(&p->restart, on_restart, RESTART_MS, 0);
}

/* Whether the job is to blame: not for SIGALRM (sandbox.c), nor for the kernel's want of memory. */
static bool died_of_job(const struct slot *s, int64_t status, int signal)
{
	return !s->pipe_failed && status == 0 && signal != SIGALRM && (signal != SIGKILL || s->killed);
}

static void on_worker_exit(uv_process_t *process, int64_t status, int signal)
{
	struct slot *s = process->data;
	bool of_it = died_of_job(s, status, signal);
	char why[96];

	if ((status || signal) && !s->pool->stopping)
		log_warn("worker %d ended: status %d, signal %d", uv_process_get_pid(process), (int)status,
			signal);
	if ((!s->proved || !of_it) && !s->pool->stopping)
		back_off(s->pool);
	snprintf(why, sizeof(why), "the decoding process %s (status %d, signal %d)",
		of_it ? "died" : "could not be used", (int)status, signal);
	close_slot(s);
	retry_job(s, why, of_it);
}

/* Without a job: at the end of its input it exits. */
static void send_home(struct slot *s)
{
	if (s->alive && !uv_is_closing((uv_handle_t *)&s->in))
		uv_close((uv_handle_t *)&s->in, on_slot_closed);
}

static bool makes_way(const struct slot *s)
{
	return s->crew == &s->pool->crew[BACKGROUND];
}

static int patience_sec(const struct slot *s)
{
	return makes_way(s) ? STARVED_SEC : ANSWER_SEC;
}

static void on_timer(uv_timer_t *t)
{
	struct slot *s = t->data;

	if (s->job) {
		log_warn("worker %d did not answer within %d s", uv_process_get_pid(&s->process),
			patience_sec(s));
		kill_worker(s);
	} else {
		send_home(s);
	}
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct slot *s = h->data;
	uint8_t *to = buf_reserve(&s->answer, READ_STEP);

	(void)suggested;
	*ret = uv_buf_init((char *)to, to ? READ_STEP : 0);
}

static void release(struct slot *s)
{
	s->proved = true;
	if (s->retiring)
		send_home(s);
	else
		uv_timer_start(&s->timer, on_timer, QUIET_MS, 0);
}

/* One whole answer. */
static void on_answer(struct slot *s, uint8_t type, struct reader *payload)
{
	struct job *job = s->job;
	bool bad = false, over;

	if (!job) {
		log_warn("worker spoke without being asked; ended");
		kill_worker(s);
		return;
	}
	buf_done(&job->followup);
	over = job->answer(job, type, payload, &bad);
	if (bad) {
		log_warn("worker %d gave no answer of use; ended", uv_process_get_pid(&s->process));
		kill_worker(s);
	} else if (over) {
		release(s);
		finish_job(s, NULL);
	} else if (send_copy(s, &job->followup) < 0) {
		give_up_worker(s);
	}
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
	struct slot *s = stream->data;
	struct reader payload;
	int64_t used;
	uint8_t type;

	(void)b;
	if (n == UV_EOF || n == UV_ECONNRESET) { /* the exit tells the rest */
		uv_read_stop(stream);
		return;
	}
	if (n < 0) {
		uv_read_stop(stream);
		give_up_worker(s);
		return;
	}
	s->answer.len += (size_t)n;
	used = frame_next(s->answer.data, s->answer.len, &type, &payload);
	if (used < 0 || (int64_t)s->answer.len > ANSWER_MAX) {
		kill_worker(s);
	} else if (used > 0) { /* one question, one answer: nothing can follow it */
		on_answer(s, type, &payload);
		s->answer.len = 0;
		if (s->answer.cap > 1 << 20)
			buf_done(&s->answer);
		if (!s->pool->stopping)
			dispatch(s->pool);
	}
}

static int spawn(struct slot *s)
{
	struct pool *p = s->pool;
	char role[] = "--worker", background[] = "--background";
	char *args[] = {(char *)p->exe, role, makes_way(s) ? background : NULL, NULL};
	uv_stdio_container_t io[3] = {
		{.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&s->in},
		{.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&s->out},
		{.flags = UV_INHERIT_FD, .data.fd = 2},
	};
	uv_process_options_t o = {.file = p->exe, .args = args, .exit_cb = on_worker_exit, .stdio = io,
		.stdio_count = 3};
	int r;

	uv_pipe_init(p->loop, &s->in, 0);
	uv_pipe_init(p->loop, &s->out, 0);
	uv_timer_init(p->loop, &s->timer);
	r = uv_spawn(p->loop, &s->process, &o);
	s->process.data = s->in.data = s->out.data = s->timer.data = s;
	s->open_handles = 4;
	s->alive = r == 0;
	s->proved = s->pipe_failed = s->killed = s->retiring = false;
	if (r < 0) {
		log_error("cannot start a worker: %s", uv_strerror(r));
		back_off(p);
		close_slot(s);
		return r;
	}
	uv_read_start((uv_stream_t *)&s->out, on_alloc, on_read);
	for (int k = 0; k < POOL_SETUPS; k++)
		if (p->setup[k].len && send_copy(s, &p->setup[k]) < 0)
			give_up_worker(s);
	return 0;
}

/* A worker that is free, started when need be; NULL when all are taken. */
static struct slot *free_slot(struct pool *p, const struct crew *crew)
{
	struct slot *unused = NULL;

	for (int i = 0; i < crew->width; i++) {
		struct slot *s = &p->slot[crew->first + i];

		if (s->alive && !s->job && !uv_is_closing((uv_handle_t *)&s->in))
			return s;
		if (!s->open_handles && !unused)
			unused = s;
	}
	if (!unused || p->backing_off)
		return NULL;
	return spawn(unused) < 0 ? NULL : unused;
}

static void dispatch_crew(struct pool *p, struct crew *crew)
{
	while (crew->head && !p->stopping) {
		struct slot *s = free_slot(p, crew);
		struct job *job = crew->head;

		if (!s)
			return;
		crew->head = job->next;
		if (!crew->head)
			crew->tail = &crew->head;
		crew->waiting--;
		job->next = NULL;
		s->job = job;
		uv_timer_start(&s->timer, on_timer, (uint64_t)patience_sec(s) * 1000, 0);
		if (send_copy(s, &job->request) < 0)
			give_up_worker(s);
	}
}

static void dispatch(struct pool *p)
{
	for (int i = 0; i < CREWS; i++)
		dispatch_crew(p, &p->crew[i]);
}

void pool_submit(struct pool *p, struct job *job)
{
	struct crew *crew = &p->crew[job->background ? BACKGROUND : ORDINARY];

	job->next = NULL;
	*crew->tail = job;
	crew->tail = &job->next;
	crew->waiting++;
	dispatch(p);
}

static void retire_workers(struct pool *p)
{
	for (int i = 0; i < p->slots; i++) {
		p->slot[i].retiring = true;
		if (!p->slot[i].job)
			send_home(&p->slot[i]);
	}
}

void pool_set_setup(struct pool *p, enum pool_setup kind, struct buf *frames)
{
	buf_done(&p->setup[kind]);
	if (kind == POOL_LIMITS) {
		buf_put(&p->setup[kind], frames->data, frames->len);
		retire_workers(p);
	} else {
		pool_add_setup(p, kind, frames);
	}
	buf_done(frames);
}

void pool_add_setup(struct pool *p, enum pool_setup kind, const struct buf *frames)
{
	buf_put(&p->setup[kind], frames->data, frames->len);
	for (int i = 0; i < p->slots; i++)
		if (p->slot[i].alive && !uv_is_closing((uv_handle_t *)&p->slot[i].in) &&
			send_copy(&p->slot[i], frames) < 0)
			give_up_worker(&p->slot[i]); /* the next one has all of it */
}

static void drop_waiting(struct crew *crew)
{
	while (crew->head) {
		struct job *job = crew->head;

		crew->head = job->next;
		drop_job(job);
	}
	crew->tail = &crew->head;
	crew->waiting = 0;
}

void pool_stop(struct pool *p)
{
	p->stopping = true;
	for (int i = 0; i < p->slots; i++)
		kill_worker(&p->slot[i]);
	for (int i = 0; i < CREWS; i++)
		drop_waiting(&p->crew[i]);
	uv_close((uv_handle_t *)&p->restart, NULL);
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	for (int k = 0; k < POOL_SETUPS; k++)
		buf_done(&p->setup[k]);
	for (int i = 0; i < p->slots; i++)
		buf_done(&p->slot[i].answer);
	free(p);
}
