/* larderctl watch: a live view in the terminal, or one plain frame when there is none. */
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/parse.h"
#include "tools/ctl/ctl.h"

#define BAR_MAX	   50
#define RATE_AFTER (10 * US_PER_SEC) /* captures a second are counted over so long */
#define RATES_MAX  32

struct sample {
	int64_t us, captures;
};

struct screen {
	bool live;
	int columns, rows, row;
	struct sample sample[RATES_MAX]; /* a ring */
	int n_samples;
};

static volatile sig_atomic_t over;

static void on_signal(int number)
{
	(void)number;
	over = 1;
}

static void measure(struct screen *s)
{
	struct winsize w = {0};

	s->columns = 80;
	s->rows = 24;
	if (s->live && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 && w.ws_row > 5) {
		s->columns = w.ws_col;
		s->rows = w.ws_row;
	}
	s->row = 0;
}

static const char *paint(const struct screen *s, const char *code)
{
	return s->live ? code : "";
}

#define BOLD  "\033[1m"
#define DIM   "\033[2m"
#define PLAIN "\033[0m"

/* Ends a line of the frame; false when the screen is full. */
static bool end_line(struct screen *s)
{
	if (s->live)
		fputs("\033[0m\033[K", stdout);
	putchar('\n');
	return ++s->row < s->rows - 1 || !s->live;
}

static void draw_bar(double share, int width, char full, char empty)
{
	int n = (int)CLAMP(share * width + 0.5, 0, width);

	for (int i = 0; i < width; i++)
		putchar(i < n ? full : empty);
}

/* Captures a second over the last samples, or negative when there is one alone. */
static double arrival_rate(struct screen *s, int64_t captures)
{
	int64_t now = clock_steady_us();
	const struct sample *first;
	int from = s->n_samples;

	s->sample[s->n_samples++ % RATES_MAX] = (struct sample){now, captures};
	while (from > 0 && from > s->n_samples - RATES_MAX &&
		now - s->sample[(from - 1) % RATES_MAX].us < RATE_AFTER)
		from--;
	from = MAX(from - (from > 0 && from > s->n_samples - RATES_MAX), 0);
	first = &s->sample[from % RATES_MAX];
	if (now - first->us < US_PER_SEC / 10)
		return -1;
	return (double)(captures - first->captures) * US_PER_SEC / (double)(now - first->us);
}

static bool draw_store(struct screen *s, const json_t *status)
{
	const json_t *store = json_object_get(status, "store"),
		     *policy = json_object_get(status, "policy");
	double use = (double)number(store, "use"), limit = (double)MAX(number(store, "limit"), 1);
	char a[24], b[24];

	printf("%sstore%s     [", paint(s, BOLD), paint(s, PLAIN));
	draw_bar(use / limit, MIN(BAR_MAX, s->columns - 40), '#', '.');
	printf("] %s of %s, %.0f %%", format_size(number(store, "use"), a, sizeof(a)),
		format_size(number(store, "limit"), b, sizeof(b)), 100 * use / limit);
	if (!end_line(s))
		return false;
	printf("          %" PRId64 " images, mean quality %.1f, price %.3g nats/byte, mode %s",
		number(store, "images"), json_number_value(json_object_get(policy, "mean_quality")),
		json_number_value(json_object_get(policy, "price")), text(policy, "mode"));
	return end_line(s);
}

static bool draw_arrivals(struct screen *s, const json_t *status, int64_t captures)
{
	const json_t *spool = json_object_get(status, "spool"),
		     *c = json_object_get(status, "captures");
	double rate = arrival_rate(s, captures);

	printf("%scaptures%s  ", paint(s, BOLD), paint(s, PLAIN));
	if (rate >= 0)
		printf("%.1f/s, ", rate);
	printf("%" PRId64 " waiting, %" PRId64 " in work; %" PRId64 " stored, %" PRId64
	       " dropped, %" PRId64 " duplicate, %" PRId64 " quarantined",
		number(spool, "pending"), number(spool, "in_flight"), number(c, "stored"),
		number(c, "dropped"), number(c, "duplicate"), number(c, "quarantined"));
	return end_line(s);
}

static bool draw_training(struct screen *s, const json_t *status)
{
	const json_t *model = json_object_get(status, "model"),
		     *t = json_object_get(status, "training");

	printf("%smodel%s     ", paint(s, BOLD), paint(s, PLAIN));
	if (number(model, "version"))
		printf("version %" PRId64 ", accuracy %.1f %% on %" PRId64 " validation images",
			number(model, "version"),
			100 * json_number_value(json_object_get(model, "validation_accuracy")),
			number(model, "validation_images"));
	else
		fputs("none yet", stdout);
	if (!end_line(s))
		return false;
	printf("%straining%s  %s", paint(s, BOLD), paint(s, PLAIN), text(t, "state"));
	if (!strcmp(text(t, "state"), "running")) {
		fputs(" [", stdout);
		draw_bar((double)number(t, "epoch") / (double)MAX(number(t, "epochs"), 1), 20, '#',
			'.');
		printf("] epoch %" PRId64 " of %" PRId64 ", loss %.3f", number(t, "epoch"),
			number(t, "epochs"), json_number_value(json_object_get(t, "loss")));
	} else {
		printf(": %.*s", MAX(s->columns - 20, 20), text(t, "why"));
	}
	return end_line(s);
}

/* One line for each quality held. */
static bool draw_qualities(struct screen *s, const json_t *status)
{
	const json_t *counts = json_object_get(json_object_get(status, "store"), "by_quality");
	int64_t most = 1;
	char key[12];

	for (int q = 1; q <= 100; q++) {
		snprintf(key, sizeof(key), "%d", q);
		most = MAX(most, number(counts, key));
	}
	if (!end_line(s))
		return false;
	printf("%squality    images%s", paint(s, BOLD), paint(s, PLAIN));
	for (int q = 1; q <= 100; q++) {
		int64_t n;

		snprintf(key, sizeof(key), "%d", q);
		n = number(counts, key);
		if (!n)
			continue;
		if (!end_line(s))
			return false;
		printf("%7d  %8" PRId64 "  ", q, n);
		draw_bar((double)n / (double)most, MIN(BAR_MAX, s->columns - 22), '#', ' ');
	}
	return end_line(s);
}

static void draw_decision(const struct screen *s, const json_t *d)
{
	time_t t = (time_t)json_number_value(json_object_get(d, "time"));
	char when[16], a[24], b[24];
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(when, sizeof(when), "%H:%M:%S", &tm);
	printf("%s  %-11s ", when, text(d, "fate"));
	if (number(d, "quality"))
		printf("%3" PRId64 "  %7s of %-7s ", number(d, "quality"),
			format_size(number(d, "bytes"), a, sizeof(a)),
			format_size(number(d, "captured_bytes"), b, sizeof(b)));
	else
		printf("%-24s ", "");
	if (!json_is_null(json_object_get(d, "label"))) {
		print_clean(text(d, "label"));
		putchar('/');
	}
	print_clean(text(d, "name"));
	if (text(d, "why")[0]) {
		fputs(paint(s, DIM), stdout);
		fputs("  ", stdout);
		print_clean(text(d, "why"));
	}
}

static void draw_decisions(struct screen *s, const json_t *decisions)
{
	json_t *d;
	size_t i;

	if (!end_line(s))
		return;
	printf("%stime      fate          q       bytes           capture%s", paint(s, BOLD),
		paint(s, PLAIN));
	json_array_foreach(decisions, i, d)
	{
		if (!end_line(s))
			return;
		draw_decision(s, d);
	}
	end_line(s);
}

/* One frame; an exit status. */
static int draw(struct ctl *c, struct screen *s)
{
	int status = EXIT_OK;
	json_t *reply = call(c, CONTROL_INTERFACE ".Status", json_object(), &status),
	       *recent = NULL;
	const json_t *st = json_object_get(reply, "status");
	char up[24];

	if (reply)
		recent = call(c, CONTROL_INTERFACE ".Recent", json_object(), &status);
	if (recent) {
		measure(s);
		if (s->live)
			fputs("\033[H\033[?7l", stdout); /* home; lines do not wrap */
		printf("%slarderd %s%s, up %s%s", paint(s, BOLD), text(st, "version"),
			paint(s, PLAIN),
			format_time(
				(int64_t)(json_number_value(json_object_get(st, "uptime_s")) * 1e6),
				up, sizeof(up)),
			s->live ? "; q ends" : "");
		if (end_line(s) && draw_store(s, st) &&
			draw_arrivals(s, st, number(recent, "captures")) && draw_training(s, st) &&
			draw_qualities(s, st))
			draw_decisions(s, json_object_get(recent, "decisions"));
		if (s->live)
			fputs("\033[J", stdout);
		fflush(stdout);
	}
	json_decref(recent);
	json_decref(reply);
	return status;
}

/* Waits; true when the user has had enough. */
static bool pause_or_quit(int ms)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	char key;

	if (poll(&p, 1, ms) > 0 &&
		(read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q' || key == 27))
		return true;
	return over;
}

/* Asks whether larderd is there again; the screen says what is waited for. */
static int find_again(struct ctl *c, struct screen *s)
{
	int fd = varlink_connect(c->socket);

	if (fd < 0) {
		printf("\033[H\033[Jno larderd at %s: waiting for it; q ends", c->socket);
		fflush(stdout);
		return EXIT_NO_DAEMON;
	}
	close_fd(&c->fd);
	c->fd = fd;
	s->n_samples = 0;
	return draw(c, s);
}

static int watch_terminal(struct ctl *c, struct screen *s, int interval_ms)
{
	struct sigaction quit = {.sa_handler = on_signal};
	struct termios before, raw;
	int status;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return EXIT_REFUSED;
	raw = before;
	raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
	sigaction(SIGINT, &quit, NULL);
	sigaction(SIGTERM, &quit, NULL);
	sigaction(SIGHUP, &quit, NULL);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs("\033[?1049h\033[?25l", stdout); /* another screen, no cursor */
	status = draw(c, s);
	while ((status == EXIT_OK || status == EXIT_NO_DAEMON) && !pause_or_quit(interval_ms))
		status = status == EXIT_OK ? draw(c, s) : find_again(c, s);
	fputs("\033[?7h\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
	return status;
}

int run_watch(struct ctl *c)
{
	static const struct option options[] = {
		{"interval", required_argument, NULL, 'i'}, {NULL, 0, NULL, 0}};
	struct screen s = {.live = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
	int64_t interval = 1;
	int o;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "+", options, NULL)) >= 0)
		if (o == '?' || !parse_option_int("interval", optarg, 1, 3600, &interval))
			return EXIT_USAGE;
	if (!ends_here(c))
		return EXIT_USAGE;
	if (c->json) {
		fprintf(stderr,
			"larderctl: watch has no JSON; status --json has the same numbers\n");
		return EXIT_USAGE;
	}
	return s.live ? watch_terminal(c, &s, (int)interval * 1000) : draw(c, &s);
}
