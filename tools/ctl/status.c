/* larderctl status and plan: what is, and what would be. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/parse.h"
#include "tools/ctl/ctl.h"

#define LABELS_SHOWN 12

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

static int compare_counts(const void *a, const void *b)
{
	const struct label_count *x = a, *y = b;

	return x->images != y->images ? (x->images < y->images) - (x->images > y->images)
				      : strcmp(x->name, y->name);
}

struct label_count *label_counts(const json_t *store, size_t *ret_n)
{
	json_t *labels = json_object_get(store, "by_label"), *v;
	struct label_count *all = calloc(json_object_size(labels) + 1, sizeof(*all));
	const char *key;
	size_t n = 0;

	json_object_foreach (labels, key, v)
		if (all && json_integer_value(v))
			all[n++] = (struct label_count){key, json_integer_value(v)};
	if (n)
		qsort(all, n, sizeof(*all), compare_counts);
	*ret_n = n;
	return all;
}

static void print_labels(const json_t *store)
{
	size_t n, shown;
	_cleanup_free_ struct label_count *all = label_counts(store, &n);

	shown = n > LABELS_SHOWN + 1 ? LABELS_SHOWN : n; /* "and 1 more" says less than that one */
	fputs("labels    ", stdout);
	for (size_t i = 0; i < shown; i++) {
		fputs(i ? ", " : "", stdout);
		print_clean(all[i].name);
		printf(" %" PRId64, all[i].images);
	}
	if (shown < n)
		printf(" and %zu more", n - shown);
	printf("%s%" PRId64 " without\n", n ? "; " : "", number(store, "unlabelled"));
}

static void print_more_spools(const json_t *list)
{
	size_t i;
	const json_t *s;

	json_array_foreach (list, i, s) {
		printf("          %s: ", text(s, "name"));
		print_clean(text(s, "path"));
		printf(", %" PRId64 " files", number(s, "files"));
		if (json_is_string(json_object_get(s, "label"))) {
			fputs(", label ", stdout);
			print_clean(text(s, "label"));
		}
		putchar('\n');
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
	print_more_spools(json_object_get(spool, "more"));
	printf("captures  %" PRId64 " stored, %" PRId64 " duplicate, %" PRId64 " quarantined, %" PRId64
	       " dropped\n",
		number(captures, "stored"), number(captures, "duplicate"), number(captures, "quarantined"),
		number(captures, "dropped"));
	printf("store     %" PRId64 " images in %s; %s of %s used\n", number(store, "images"),
		format_size(number(store, "bytes"), a, sizeof(a)),
		format_size(number(store, "use"), b, sizeof(b)),
		format_size(number(store, "limit"), c, sizeof(c)));
	print_labels(store);
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

int run_status(struct ctl *c)
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

int run_plan(struct ctl *c)
{
	static const struct option options[] = {
		{"max-use", required_argument, NULL, 'm'}, {NULL, 0, NULL, 0}};
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
	if (!ends_here(c)) {
		json_decref(sizes);
		return EXIT_USAGE;
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
