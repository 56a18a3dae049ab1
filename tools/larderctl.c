/* larderctl: asks larderd, and prints the answer for people or as JSON. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/config.h"
#include "common/parse.h"
#include "larder-config.h"
#include "tools/larderctl.h"

#define DEFAULT_CONFIG LARDER_SYSCONFDIR "/larder/larderd.conf"
#define IDS_PER_CALL   10000

struct command {
	const char *name, *arguments, *help;
	int (*run)(struct ctl *c);
};

json_t *call(struct ctl *c, const char *method, json_t *parameters, int *ret_status)
{
	char error[1024];
	json_t *reply = varlink_call(c->fd, method, parameters, error, sizeof(error));

	if (!reply) {
		fprintf(stderr, "larderctl: %s\n", error);
		*ret_status = EXIT_REFUSED;
	}
	return reply;
}

static void print_json(const json_t *v)
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

int64_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static int compare_numbers(const void *a, const void *b)
{
	return atoi(*(const char *const *)a) - atoi(*(const char *const *)b);
}

/* A histogram line per key, keys in numerical order. */
static void print_histogram(const json_t *counts)
{
	size_t n = json_object_size(counts), i = 0;
	const char **keys = calloc(n + 1, sizeof(*keys));
	int64_t most = 1;
	const char *key;
	json_t *v;

	if (!keys)
		return;
	json_object_foreach((json_t *)counts, key, v) {
		keys[i++] = key;
		most = MAX(most, json_integer_value(v));
	}
	qsort(keys, n, sizeof(*keys), compare_numbers);
	for (i = 0; i < n; i++) {
		int64_t count = number(counts, keys[i]);
		int width = (int)(40 * count / most);

		if (!count)
			continue;
		printf("  %4s  %7" PRId64 "  ", keys[i], count);
		for (int k = 0; k < MAX(width, 1); k++)
			fputs("#", stdout);
		putchar('\n');
	}
	free(keys);
}

static void print_labels(const json_t *labels)
{
	const char *key;
	json_t *v;
	int n = 0;

	json_object_foreach((json_t *)labels, key, v) {
		if (!json_integer_value(v))
			continue;
		if (n++ == 12) {
			fputs(" ...", stdout);
			break;
		}
		fputs(n == 1 ? "" : ", ", stdout);
		print_clean(key);
		printf(" %lld", (long long)json_integer_value(v));
	}
}

static void print_status(const json_t *s)
{
	const json_t *store = json_object_get(s, "store"), *captures = json_object_get(s, "captures");
	const json_t *policy = json_object_get(s, "policy"), *model = json_object_get(s, "model");
	const json_t *training = json_object_get(s, "training"), *spool = json_object_get(s, "spool");
	char a[24], b[24], c[24];

	printf("larderd %s, up %s\n", text(s, "version"),
		format_time((int64_t)(json_real_value(json_object_get(s, "uptime_s")) * 1e6), a, sizeof(a)));
	printf("spool     %" PRId64 " waiting, %" PRId64 " in work\n", number(spool, "pending"),
		number(spool, "in_flight"));
	printf("captures  %" PRId64 " stored, %" PRId64 " duplicate, %" PRId64 " quarantined, %" PRId64
	       " dropped\n",
		number(captures, "stored"), number(captures, "duplicate"), number(captures, "quarantined"),
		number(captures, "dropped"));
	printf("store     %" PRId64 " images in %s; %s of %s used\n", number(store, "images"),
		format_size(number(store, "bytes"), a, sizeof(a)),
		format_size(number(store, "use"), b, sizeof(b)),
		format_size(number(store, "limit"), c, sizeof(c)));
	fputs("labels    ", stdout);
	print_labels(json_object_get(store, "by_label"));
	printf("%s%" PRId64 " without\n", json_object_size(json_object_get(store, "by_label")) ? "; " : "",
		number(store, "unlabelled"));
	printf("policy    %s, mean quality %.1f, price %.3g\n", text(policy, "mode"),
		json_number_value(json_object_get(policy, "mean_quality")),
		json_number_value(json_object_get(policy, "price")));
	print_histogram(json_object_get(store, "by_quality"));
	if (number(model, "version"))
		printf("model     version %" PRId64 ", accuracy %.1f %% on %" PRId64
		       " validation images, trained on %" PRId64 "\n",
			number(model, "version"),
			100 * json_number_value(json_object_get(model, "validation_accuracy")),
			number(model, "validation_images"), number(model, "trained_images"));
	else
		puts("model     none yet");
	printf("training  %s: %s", text(training, "state"), text(training, "why"));
	if (!strcmp(text(training, "state"), "running"))
		printf("; epoch %" PRId64 " of %" PRId64 ", loss %.3f", number(training, "epoch"),
			number(training, "epochs"), json_number_value(json_object_get(training, "loss")));
	putchar('\n');
}

static int run_status(struct ctl *c)
{
	int status = EXIT_OK;
	json_t *reply = call(c, CONTROL_INTERFACE ".Status", json_object(), &status);
	const json_t *s = json_object_get(reply, "status");

	if (reply && c->json)
		print_json(s);
	else if (reply)
		print_status(s);
	json_decref(reply);
	return status;
}

void print_date(int64_t s, char *out, size_t size)
{
	time_t t = (time_t)s;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm);
}

static void print_image_line(const json_t *im)
{
	char when[32], size[24];

	print_date(number(im, "taken"), when, sizeof(when));
	printf("%.12s  %3" PRId64 "  %7s  %5" PRId64 "x%-5" PRId64 "  %s  %s%s  ", text(im, "id"),
		number(im, "quality"), format_size(number(im, "bytes"), size, sizeof(size)),
		number(im, "width"), number(im, "height"), when,
		json_is_true(json_object_get(im, "pinned")) ? "P" : "-",
		json_is_true(json_object_get(im, "validation")) ? "V" : "-");
	print_clean(json_is_null(json_object_get(im, "label")) ? "-" : text(im, "label"));
	fputs("  ", stdout);
	print_clean(text(im, "name"));
	putchar('\n');
}

enum {
	OPT_LABEL = 300,
	OPT_QUALITY,
	OPT_LIMIT,
	OPT_NOW,
	OPT_WAIT,
	OPT_OPEN,
	OPT_MAX_USE,
	OPT_REPAIR,
	OPT_FORCE
};

bool parse_option_int(const char *what, const char *s, int64_t lo, int64_t hi, int64_t *ret)
{
	if (parse_int(s, ret) == 0 && *ret >= lo && *ret <= hi)
		return true;
	fprintf(stderr, "larderctl: --%s: bad value '%s'; allowed: %" PRId64 " to %" PRId64 "\n", what, s, lo,
		hi);
	return false;
}

static int run_list(struct ctl *c)
{
	static const struct option options[] = {{"label", required_argument, NULL, OPT_LABEL},
		{"quality", required_argument, NULL, OPT_QUALITY},
		{"limit", required_argument, NULL, OPT_LIMIT}, {NULL, 0, NULL, 0}};
	const char *label = NULL;
	json_t *all = json_array(), *after = NULL;
	int64_t quality = 0, left = INT64_MAX;
	int status = EXIT_OK, o;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "+", options, NULL)) >= 0)
		if (o == OPT_LABEL)
			label = optarg;
		else if ((o == OPT_QUALITY && !parse_option_int("quality", optarg, 1, 100, &quality)) ||
			(o == OPT_LIMIT && !parse_option_int("limit", optarg, 1, INT64_MAX, &left)) ||
			o == '?') {
			json_decref(all);
			return EXIT_USAGE;
		}
	if (!c->json)
		puts("id             q    bytes   width x height  taken (UTC)                label  name");
	while (left > 0) {
		json_t *reply = call(c, CONTROL_INTERFACE ".List",
			json_pack("{ss* sI so* sI}", "label", label, "quality", (json_int_t)quality, "after",
				json_incref(after), "limit", (json_int_t)MIN(left, 1000)),
			&status);
		json_t *images = json_object_get(reply, "images"), *im;
		size_t i;

		json_decref(after);
		after = json_incref(json_object_get(reply, "next"));
		json_array_foreach(images, i, im) {
			if (c->json)
				json_array_append(all, im);
			else
				print_image_line(im);
			left--;
		}
		json_decref(reply);
		if (!after || status)
			break;
	}
	json_decref(after);
	if (c->json && !status)
		print_json(all);
	json_decref(all);
	return status;
}

static void print_image(const json_t *im)
{
	const json_t *curve = json_object_get(im, "curve"), *rung;
	char when[32], size[24];
	size_t i;

	print_date(number(im, "taken"), when, sizeof(when));
	printf("id        %s\nname      ", text(im, "id"));
	print_clean(text(im, "name"));
	fputs("\nlabel     ", stdout);
	print_clean(json_is_null(json_object_get(im, "label")) ? "-" : text(im, "label"));
	printf("\ntaken     %s UTC\nsize      %" PRId64 " x %" PRId64 "\nstored    quality %" PRId64
	       ", %s%s%s\n", when, number(im, "width"), number(im, "height"), number(im, "quality"),
		format_size(number(im, "bytes"), size, sizeof(size)),
		json_object_get(im, "file") ? ", " : ", in the index",
		json_object_get(im, "file") ? text(im, "file") : "");
	printf("reason    %s\n", text(im, "reason"));
	if (json_array_size(curve))
		puts("curve     quality  divergence (nats)");
	json_array_foreach((json_t *)curve, i, rung)
		printf("          %7" PRId64 "  %.5f\n", number(rung, "quality"),
			json_number_value(json_object_get(rung, "divergence")));
}

static int run_show(struct ctl *c)
{
	static const struct option show_options[] = {
		{"open", required_argument, NULL, OPT_OPEN}, {NULL, 0, NULL, 0}};
	const char *path = NULL;
	int status = EXIT_OK, o;
	json_t *reply;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", show_options, NULL)) >= 0) {
		if (o != OPT_OPEN)
			return EXIT_USAGE;
		path = optarg;
	}
	if (c->argc - optind != 1) {
		fputs("larderctl: show: one image id is needed\n", stderr);
		return EXIT_USAGE;
	}
	if (path) /* the picture alone */
		return save_image(c, c->argv[optind], path);
	reply = call(
		c, CONTROL_INTERFACE ".Show", json_pack("{ss}", "id", c->argv[optind]), &status);
	if (reply && c->json)
		print_json(json_object_get(reply, "image"));
	else if (reply)
		print_image(json_object_get(reply, "image"));
	json_decref(reply);
	return status;
}

static int change(struct ctl *c, const char *method, const char *label, int first)
{
	json_t *ids = json_array(), *reply;
	int status = EXIT_OK;

	for (int i = first; i < c->argc; i++)
		json_array_append_new(ids, varlink_text(c->argv[i]));
	if (!json_array_size(ids) || json_array_size(ids) > IDS_PER_CALL) {
		fprintf(stderr, "larderctl: %s: 1 to %d image ids are needed\n", c->argv[0], IDS_PER_CALL);
		json_decref(ids);
		return EXIT_USAGE;
	}
	reply = call(c, method, json_pack("{so ss*}", "ids", ids, "label", label), &status);
	if (reply && c->json)
		print_json(reply);
	else if (reply)
		printf("%" PRId64 " changed\n", number(reply, "changed"));
	json_decref(reply);
	return status;
}

static int run_label(struct ctl *c)
{
	if (c->argc < 3) {
		fputs("larderctl: label: a label and image ids are needed; '' takes labels away\n", stderr);
		return EXIT_USAGE;
	}
	return change(c, CONTROL_INTERFACE ".Label", c->argv[1], 2);
}

static int run_pin(struct ctl *c)
{
	return change(c, CONTROL_INTERFACE ".Pin", NULL, 1);
}

static int run_unpin(struct ctl *c)
{
	return change(c, CONTROL_INTERFACE ".Unpin", NULL, 1);
}

static int run_remove(struct ctl *c)
{
	return change(c, CONTROL_INTERFACE ".Remove", NULL, 1);
}

static int simple(struct ctl *c, const char *method, json_t *parameters)
{
	int status = EXIT_OK;
	json_t *reply = call(c, method, parameters, &status);

	if (reply && c->json)
		print_json(reply);
	else if (reply && text(reply, "text")[0])
		printf("%s\n", text(reply, "text"));
	json_decref(reply);
	return status;
}

static int run_train(struct ctl *c)
{
	static const struct option options[] = {{"now", no_argument, NULL, OPT_NOW},
		{"wait", no_argument, NULL, OPT_WAIT}, {NULL, 0, NULL, 0}};
	bool now = false, wait = false;
	int o;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "+", options, NULL)) >= 0) {
		now |= o == OPT_NOW;
		wait |= o == OPT_WAIT;
		if (o == '?')
			return EXIT_USAGE;
	}
	return simple(c, CONTROL_INTERFACE ".Train", json_pack("{sb sb}", "now", now, "wait", wait));
}

#define PLANS_MAX 64

static void print_plans(const json_t *plans)
{
	json_t *p;
	size_t i;

	puts(" MaxUse   images  quality  an image     nats  worth");
	json_array_foreach(plans, i, p)
	{
		char a[24], b[24];

		printf("%7s  %7" PRId64 "  %7" PRId64 "  %8s  %7.4f  %.0f originals\n",
			format_size(number(p, "max_use"), a, sizeof(a)), number(p, "images"),
			number(p, "quality"),
			format_size(
				(int64_t)json_number_value(json_object_get(p, "bytes_per_image")),
				b, sizeof(b)),
			json_number_value(json_object_get(p, "divergence")),
			json_number_value(json_object_get(p, "worth")));
	}
}

/* Half, once and twice the limit, when no size is given. */
static int default_sizes(struct ctl *c, json_t *sizes)
{
	int status = EXIT_OK;
	json_t *reply = call(c, CONTROL_INTERFACE ".Status", json_object(), &status);
	int64_t limit = number(json_object_get(json_object_get(reply, "status"), "store"), "limit");

	for (int k = 0; reply && k < 3; k++)
		json_array_append_new(
			sizes, json_integer((json_int_t)MAX(limit / 2 << k, INT64_C(1) << 20)));
	json_decref(reply);
	return status;
}

static int run_plan(struct ctl *c)
{
	static const struct option options[] = {
		{"max-use", required_argument, NULL, OPT_MAX_USE}, {NULL, 0, NULL, 0}};
	json_t *sizes = json_array(), *reply = NULL;
	int status = EXIT_OK, o;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "+", options, NULL)) >= 0) {
		int64_t size;

		if (o == '?' || parse_size(optarg, &size) < 0 || size < 1 << 20 ||
			json_array_size(sizes) == PLANS_MAX) {
			if (o != '?')
				fprintf(stderr,
					"larderctl: --max-use: bad value '%s'; allowed: a size "
					"like 512M, at "
					"least 1M, %d times\n",
					optarg, PLANS_MAX);
			json_decref(sizes);
			return EXIT_USAGE;
		}
		json_array_append_new(sizes, json_integer((json_int_t)size));
	}
	if (!json_array_size(sizes))
		status = default_sizes(c, sizes);
	if (status == EXIT_OK)
		reply = call(
			c, CONTROL_INTERFACE ".Plan", json_pack("{sO}", "max_use", sizes), &status);
	json_decref(sizes);
	if (reply && c->json)
		print_json(json_object_get(reply, "plans"));
	else if (reply)
		print_plans(json_object_get(reply, "plans"));
	json_decref(reply);
	return status;
}

static int run_pause(struct ctl *c)
{
	return simple(c, CONTROL_INTERFACE ".Pause", json_object());
}

static int run_resume(struct ctl *c)
{
	return simple(c, CONTROL_INTERFACE ".Resume", json_object());
}

static int run_reload(struct ctl *c)
{
	return simple(c, CONTROL_INTERFACE ".Reload", json_object());
}

static const struct option verify_options[] = {
	{"repair", no_argument, NULL, OPT_REPAIR}, {"force", no_argument, NULL, OPT_FORCE}, {NULL, 0, NULL, 0}};

/* Sets damaged images aside before everything is read once more. */
static int repair(struct ctl *c, bool force)
{
	int status = EXIT_OK;
	json_t *reply = call(c, CONTROL_INTERFACE ".Repair", json_pack("{sb}", "force", force), &status);

	if (reply && !c->json)
		printf("%" PRId64 " images set aside; their files, if any, are in quarantine\n",
			number(reply, "set_aside"));
	json_decref(reply);
	return status;
}

static int run_verify(struct ctl *c)
{
	bool repairs = false, force = false;
	int status = EXIT_OK, o;
	json_t *reply, *line;
	char size[24];
	size_t i;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", verify_options, NULL)) >= 0) {
		if (o == '?')
			return EXIT_USAGE;
		repairs = repairs || o == OPT_REPAIR;
		force = force || o == OPT_FORCE;
	}
	if (force && !repairs) {
		fputs("larderctl: verify: --force goes with --repair\n", stderr);
		return EXIT_USAGE;
	}
	if (repairs)
		status = repair(c, force);
	if (status != EXIT_OK)
		return status;
	reply = call(c, CONTROL_INTERFACE ".Verify", json_object(), &status);
	if (!reply)
		return status;
	if (c->json)
		print_json(reply);
	else {
		json_array_foreach(json_object_get(reply, "findings"), i, line) {
			print_clean(json_string_value(line));
			putchar('\n');
		}
		printf("%" PRId64 " images, %s: %s\n", number(reply, "images"),
			format_size(number(reply, "bytes"), size, sizeof(size)),
			json_is_true(json_object_get(reply, "ok")) ? "all sound" : "damage found");
	}
	status = json_is_true(json_object_get(reply, "ok")) ? EXIT_OK : EXIT_FINDINGS;
	json_decref(reply);
	return status;
}

static const struct command commands[] = {
	{"status", "", "what is stored, what is going on", run_status},
	{"watch", "[--interval SECONDS]", "the same and the latest decisions, live; q ends",
		run_watch},
	{"metrics", "", "the status for Prometheus", run_metrics},
	{"list", "[--label L] [--quality Q] [--limit N]", "images, by id", run_list},
	{"show", "ID [--open FILE]", "one image and the reason for its quality; or the picture",
		run_show},
	{"export", "DIR [--label L] [--quality Q]", "all images as files, and a table of them",
		run_export},
	{"plan", "[--max-use SIZE]...", "what would be kept under other limits; changes nothing",
		run_plan},
	{"label", "LABEL ID...", "give images a label; '' takes it away", run_label},
	{"pin", "ID...", "never degrade or drop these", run_pin},
	{"unpin", "ID...", "treat them like the others again", run_unpin},
	{"remove", "ID...", "delete images from the store", run_remove},
	{"train", "[--now] [--wait]", "train when idle; or at once; and wait for the result",
		run_train},
	{"pause", "", "no training until resume", run_pause},
	{"resume", "", "training may run again", run_resume},
	{"reload", "", "read the settings again", run_reload},
	{"verify", "[--repair [--force]]", "read everything back and check it; set damage aside",
		run_verify},
};

static void usage(FILE *f)
{
	fputs("Usage: larderctl [--socket PATH] [--config FILE] [--json] VERB [ARGUMENT]...\n\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(f, "  %-8s%-40s%s\n", commands[i].name, commands[i].arguments, commands[i].help);
	fputs("\nAn image id may be shortened to any unique beginning. The socket is taken from --socket,\n"
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

static int run_command(struct ctl *c, const struct command *command, const char *socket_path)
{
	int status;

	c->fd = varlink_connect(socket_path);
	if (c->fd < 0) {
		fprintf(stderr, "larderctl: cannot reach larderd at %s: %s\n", socket_path,
			strerror(-c->fd));
		return EXIT_NO_DAEMON;
	}
	status = command->run(c);
	close(c->fd);
	return status;
}

int main(int argc, char **argv)
{
	const char *file = DEFAULT_CONFIG, *path = getenv("LARDER_SOCKET");
	char error[CONFIG_ERROR_MAX];
	struct config config;
	struct ctl c = {0};
	bool required = false;
	int o;

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
	if (!path && config_load(&config, file, required, error) < 0) {
		fprintf(stderr, "larderctl: %s\n", error);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[argc - 1], "--json") && argc - 1 > optind) { /* people put it last, too */
		c.json = true;
		argc--;
	}
	c.argc = argc - optind;
	c.argv = argv + optind;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, c.argv[0]))
			return run_command(&c, &commands[i], path ? path : config.control.socket);
	fprintf(stderr, "larderctl: unknown verb '%s'; allowed:", c.argv[0]);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(stderr, "%s %s", i ? "," : "", commands[i].name);
	fputc('\n', stderr);
	return EXIT_USAGE;
}
