#include "daemon/hooks.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/log.h"
#include "common/wire.h"

#define ARGUMENTS_MAX 32
#define NOBODY	      65534
#define NICE	      10
#define REST_MS	      10000 /* after a run that failed */

struct hook {
	struct hooks *hooks;
	const char *name;
	const char *command; /* borrowed: of the configuration; "": none */
	struct buf waiting;  /* lines for the next run */
	int n_waiting;
	int64_t missed; /* events that found no room since the last run */
	bool running; /* or resting: a command that fails is not tried for each event */
	int open_handles;
	uv_process_t process;
	uv_pipe_t in;
	uv_timer_t timer;
	uv_write_t write;
	struct buf given; /* lines of this run */
};

struct hooks {
	uv_loop_t *loop;
	const char *exe; /* borrowed */
	const struct config *config;
	bool stopping;
	struct hook hook[HOOKS];
};

static void start(struct hook *k);

struct hooks *hooks_new(uv_loop_t *loop, const char *exe, const struct config *config)
{
	struct hooks *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->loop = loop;
	h->exe = exe;
	h->config = config;
	for (int i = 0; i < HOOKS; i++)
		h->hook[i].hooks = h;
	h->hook[HOOK_STORED].name = "OnStored";
	h->hook[HOOK_STORED].command = config->hooks.on_stored;
	h->hook[HOOK_TRAINED].name = "OnTrained";
	h->hook[HOOK_TRAINED].command = config->hooks.on_trained;
	return h;
}

bool hooks_wants(const struct hooks *h, enum hook_kind kind)
{
	return !h->stopping && h->hook[kind].command[0];
}

static bool may_start(const struct hook *k)
{
	return !k->running && hooks_wants(k->hooks, (enum hook_kind)(k - k->hooks->hook));
}

static void on_closed(uv_handle_t *handle)
{
	struct hook *k = handle->data;

	if (--k->open_handles > 0)
		return;
	k->running = false;
	buf_done(&k->given);
	if (k->waiting.len && may_start(k))
		start(k);
}

static void close_once(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, on_closed);
}

static void on_rested(uv_timer_t *timer)
{
	close_once((uv_handle_t *)timer);
}

/* The run is over; one that failed counts as running for a while longer. */
static void end_run(struct hook *k, bool failed)
{
	close_once((uv_handle_t *)&k->process);
	close_once((uv_handle_t *)&k->in);
	if (failed && !k->hooks->stopping)
		uv_timer_start(&k->timer, on_rested, REST_MS, 0);
	else
		close_once((uv_handle_t *)&k->timer);
}

static void on_hook_exit(uv_process_t *process, int64_t status, int signal)
{
	struct hook *k = process->data;
	bool failed = status || signal;

	if (failed && !k->hooks->stopping)
		log_warn("%s: '%s' ended with status %d, signal %d", k->name, k->command, (int)status,
			signal);
	end_run(k, failed);
}

/* Whatever it started goes with it: it leads its session. */
static void on_too_long(uv_timer_t *timer)
{
	struct hook *k = timer->data;

	log_warn("%s: '%s' took longer than %d s and is killed", k->name, k->command, HOOK_SEC);
	kill(-uv_process_get_pid(&k->process), SIGKILL);
	uv_process_kill(&k->process, SIGKILL);
}

static void on_given(uv_write_t *w, int status)
{
	struct hook *k = w->data;

	(void)status; /* it need not read */
	close_once((uv_handle_t *)&k->in);
}

/* Splits at blanks, in place; at most ARGUMENTS_MAX. */
static void split(char *command, char *argv[ARGUMENTS_MAX + 3], int n)
{
	char *save = NULL;

	for (char *word = strtok_r(command, " \t", &save); word && n < ARGUMENTS_MAX + 2;
		word = strtok_r(NULL, " \t", &save))
		argv[n++] = word;
	argv[n] = NULL;
}

static void start(struct hook *k)
{
	struct hooks *h = k->hooks;
	char command[CONFIG_PATH_MAX], role[] = "--hook", path[600], socket[CONFIG_PATH_MAX + 16];
	char *argv[ARGUMENTS_MAX + 3] = {(char *)h->exe, role}, *env[] = {path, socket, NULL};
	uv_stdio_container_t io[3] = {
		{.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&k->in},
		{.flags = UV_IGNORE},
		{.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
	};
	uv_process_options_t o = {.file = h->exe,
		.args = argv,
		.env = env,
		.exit_cb = on_hook_exit,
		.stdio = io,
		.stdio_count = 3,
		.cwd = "/"};
	uv_buf_t lines;
	int r;

	snprintf(command, sizeof(command), "%s", k->command);
	split(command, argv, 2);
	snprintf(path, sizeof(path), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	snprintf(socket, sizeof(socket), "LARDER_SOCKET=%s", h->config->control.socket);
	uv_pipe_init(h->loop, &k->in, 0);
	uv_timer_init(h->loop, &k->timer);
	r = uv_spawn(h->loop, &k->process, &o);
	k->process.data = k->in.data = k->timer.data = k->write.data = k;
	k->open_handles = 3;
	k->running = true;
	if (k->missed)
		log_warn("%s: %lld events were not told: it is slower than they come", k->name,
			(long long)k->missed);
	k->given = k->waiting;
	k->waiting = (struct buf){0};
	k->n_waiting = 0;
	k->missed = 0;
	if (r < 0) {
		log_warn("%s: cannot start '%s': %s", k->name, k->command, uv_strerror(r));
		end_run(k, true);
		return;
	}
	uv_timer_start(&k->timer, on_too_long, HOOK_SEC * 1000, 0);
	lines = uv_buf_init((char *)k->given.data, (unsigned)k->given.len);
	if (uv_write(&k->write, (uv_stream_t *)&k->in, &lines, 1, on_given) < 0)
		close_once((uv_handle_t *)&k->in);
}

void hooks_tell(struct hooks *h, enum hook_kind kind, json_t *event)
{
	struct hook *k = &h->hook[kind];
	char *line = event ? json_dumps(event, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;

	json_decref(event);
	if (!line || !hooks_wants(h, kind) || k->n_waiting == HOOK_EVENTS_MAX) {
		k->missed += hooks_wants(h, kind);
		free(line);
		return;
	}
	buf_put(&k->waiting, line, strlen(line));
	buf_put_u8(&k->waiting, '\n');
	free(line);
	if (k->waiting.failed) {
		buf_done(&k->waiting);
		k->waiting = (struct buf){0};
		k->missed += k->n_waiting + 1;
		k->n_waiting = 0;
		return;
	}
	k->n_waiting++;
	if (may_start(k))
		start(k);
}

void hooks_stop(struct hooks *h)
{
	h->stopping = true;
	for (int i = 0; i < HOOKS; i++) {
		struct hook *k = &h->hook[i];

		if (k->running && uv_is_closing((uv_handle_t *)&k->process)) { /* it rests */
			close_once((uv_handle_t *)&k->timer);
		} else if (k->running) {
			kill(-uv_process_get_pid(&k->process), SIGKILL);
			uv_process_kill(&k->process, SIGKILL);
		}
	}
}

void hooks_free(struct hooks *h)
{
	if (!h)
		return;
	for (int i = 0; i < HOOKS; i++) {
		buf_done(&h->hook[i].waiting);
		buf_done(&h->hook[i].given);
	}
	free(h);
}

/* Nobody's, when it would be root's. */
static int give_up_root(void)
{
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
		setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return -errno;
	return 0;
}

int hook_main(char **argv)
{
	const struct rlimit cpu = {HOOK_SEC, HOOK_SEC}, none = {0, 0};
	int r = 0;

	if (!argv[0])
		return 127;
	setsid();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setpriority(PRIO_PROCESS, 0, NICE) < 0 ||
		setrlimit(RLIMIT_CPU, &cpu) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
		r = -errno;
	if (r == 0)
		r = give_up_root();
	if (r == 0) {
		execv(argv[0], argv);
		r = -errno;
	}
	log_error("hook %s: %s", argv[0], strerror(-r));
	return 127;
}
