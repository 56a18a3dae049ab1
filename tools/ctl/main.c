/* larderctl: asks larderd, and prints the answer for people or as JSON. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "common/config.h"
#include "common/parse.h"
#include "larder-config.h"
#include "tools/ctl/ctl.h"

#define DEFAULT_CONFIG LARDER_SYSCONFDIR "/larder/larderd.conf"

struct command {
	const char *name, *arguments, *help;
	int (*run)(struct ctl *c);
};

/* Whether the other end has closed the connection. */
static bool is_lost(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

json_t *call(struct ctl *c, const char *method, json_t *parameters, int *ret_status)
{
	char error[1024];
	bool answered;
	json_t *reply = varlink_call(c->fd, method, parameters, &answered, error, sizeof(error));

	if (!reply) {
		fprintf(stderr, "larderctl: %s\n", error);
		*ret_status = !answered && is_lost(c->fd) ? EXIT_NO_DAEMON : EXIT_REFUSED;
	}
	return reply;
}

void print_json(const json_t *v)
{
	json_dumpf(v, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
	putchar('\n');
}

const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

void print_clean(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 32 || *s == 127)
			printf("\\x%02x", (unsigned char)*s);
		else
			putchar(*s);
}

void print_padded(const char *s, int width)
{
	int n = 0;

	print_clean(s);
	for (; *s; s++)
		n += (*s & 0xc0) != 0x80; /* characters of UTF-8, not its bytes */
	printf("%*s", MAX(width - n, 0), "");
}

int64_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}
bool ends_here(const struct ctl *c)
{
	if (optind >= c->argc)
		return true;
	fprintf(stderr, "larderctl: %s: '%s' is not expected here\n", c->argv[0], c->argv[optind]);
	return false;
}

bool parse_option_int(const char *what, const char *s, int64_t lo, int64_t hi, int64_t *ret)
{
	if (parse_int(s, ret) == 0 && *ret >= lo && *ret <= hi)
		return true;
	fprintf(stderr, "larderctl: --%s: bad value '%s'; allowed: %" PRId64 " to %" PRId64 "\n", what, s, lo,
		hi);
	return false;
}
static const struct command commands[] = {
	{"status", "", "what is stored, what is going on", run_status},
	{"watch", "[--interval SECONDS]", "the same and the latest decisions, live; q ends", run_watch},
	{"metrics", "[--output FILE]", "the status for Prometheus", run_metrics},
	{"list", "[FILTER]... [--sort BY [--reverse]] [--limit N] [--csv]",
		"images; BY: id taken quality bytes label name sensitivity", run_list},
	{"show", "ID [--open FILE]", "one image and the reason for its quality; or the picture", run_show},
	{"export", "DIR [FILTER]... [--format folder|webdataset] [--split]",
		"images as files, and a table of them; training and validation apart", run_export},
	{"import", "DIR [--label L] [--wait]",
		"pictures into the spool; folders, or an images.csv in DIR, are their labels", run_import},
	{"report", "FILE.html [--originals DIR]",
		"one page: what is stored, how it came along, what compression does", run_report},
	{"model", "FILE|--use FILE", "the model as .onnx or .safetensors; or make such a file the model",
		run_model},
	{"plan", "[--max-use SIZE]...", "what would be kept under other limits; changes nothing", run_plan},
	{"label", "LABEL ID...|LABEL FILTER...|--csv FILE",
		"give images a label; '' takes it away; a table gives many", run_label},
	{"suggest", "[--limit N]", "images worth a label: the network is unsure, and they differ",
		run_suggest},
	{"pin", "ID...|FILTER...", "never degrade or drop these", run_pin},
	{"unpin", "ID...|FILTER...", "treat them like the others again", run_unpin},
	{"remove", "ID...|FILTER...", "delete images from the store", run_remove},
	{"train", "[--now] [--wait]", "train when idle; or at once; and wait for the result", run_train},
	{"pause", "", "no training until resume", run_pause},
	{"resume", "", "training may run again", run_resume},
	{"reload", "", "read the settings again", run_reload},
	{"vacuum", "", "give what the index does not need now back to the file system", run_vacuum},
	{"verify", "[--repair [--force]]", "read everything back and check it; set damage aside",
		run_verify},
};

static void usage(FILE *f)
{
	fputs("Usage: larderctl [--socket PATH] [--config FILE] [--json] VERB [ARGUMENT]...\n\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(f, "  %-8s%s%s%s\n", commands[i].name, commands[i].arguments,
			*commands[i].arguments ? "\n          " : "", commands[i].help);
	fputs("\nFILTER: --label L, --unlabelled, --name GLOB, --since WHEN, --until WHEN, --quality Q,\n"
	      "--pinned, --validation; what is given has to fit, all of it. WHEN: 2026-01-31,\n"
	      "'2026-01-31 23:59' (UTC), or a time ago like 2d.\n"
	      "An image id may be shortened to any unique beginning. The socket is taken from --socket,\n"
	      "$LARDER_SOCKET, or the settings. Exit status: 0 done, 1 refused, 2 usage, 3 no daemon,\n"
	      "4 verify found damage.\n", f);
}

static const struct option options[] = {
	{"socket", required_argument, NULL, 's'},
	{"config", required_argument, NULL, 'c'},
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

static int run_command(struct ctl *c, const struct command *command)
{
	int status;

	optind = 1;
	if (!*command->arguments && !ends_here(c))
		return EXIT_USAGE;
	c->fd = varlink_connect(c->socket);
	if (c->fd < 0) {
		fprintf(stderr, "larderctl: cannot reach larderd at %s: %s\n", c->socket, strerror(-c->fd));
		return EXIT_NO_DAEMON;
	}
	status = command->run(c);
	close_fd(&c->fd);
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fprintf(stderr, "larderctl: the output could not be written whole: %s\n", strerror(errno));
	return status == EXIT_OK ? EXIT_REFUSED : status;
}

int main(int argc, char **argv)
{
	const char *file = DEFAULT_CONFIG, *path = getenv("LARDER_SOCKET");
	char error[CONFIG_ERROR_MAX];
	struct config config;
	struct ctl c = {0};
	bool required = false;
	int o, r;

	while ((o = getopt_long(argc, argv, "+s:c:jh", options, NULL)) >= 0)
		switch (o) {
		case 's':
			path = optarg;
			break;
		case 'c':
			file = optarg;
			required = true;
			break;
		case 'j':
			c.json = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_OK;
		case 'V':
			puts("larderctl " LARDER_VERSION);
			return EXIT_OK;
		default:
			return EXIT_USAGE;
		}
	if (optind == argc) {
		usage(stderr);
		return EXIT_USAGE;
	}
	config_init(&config);
	r = path ? 0 : config_load(&config, file, required, error);
	if (r < 0) {
		fprintf(stderr, "larderctl: %s\n", error);
		if (r == -ENOENT)
			return EXIT_USAGE;
		/* The daemon that runs has good settings: a file with a mistake must not cut it off. */
		fprintf(stderr, "larderctl: asking at %s\n", config.control.socket);
	}
	if (!strcmp(argv[argc - 1], "--json") && argc - 1 > optind) { /* people put it last, too */
		c.json = true;
		argc--;
	}
	c.argc = argc - optind;
	c.argv = argv + optind;
	c.socket = path ? path : config.control.socket;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, c.argv[0]))
			return run_command(&c, &commands[i]);
	fprintf(stderr, "larderctl: unknown verb '%s'; allowed:", c.argv[0]);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(stderr, "%s %s", i ? "," : "", commands[i].name);
	fputc('\n', stderr);
	return EXIT_USAGE;
}
