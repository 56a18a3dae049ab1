/* larderctl's verbs about single images: list, show, pin, unpin, remove. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/ctl/csv.h"
#include "tools/ctl/filter.h"

#define IDS_PER_CALL 10000

void print_date(int64_t s, char *out, size_t size)
{
	time_t t = (time_t)s;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm);
}

static void print_line(const json_t *im)
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

static void print_csv_line(const json_t *im)
{
	const json_t *divergence = json_object_get(im, "divergence");
	char when[32];

	print_date(number(im, "taken"), when, sizeof(when));
	printf("%s,", text(im, "id"));
	csv_put(stdout, text(im, "label"));
	printf(",%s,%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%s,%d,",
		json_is_true(json_object_get(im, "validation")) ? "validation" : "training",
		number(im, "quality"), number(im, "bytes"), number(im, "width"), number(im, "height"), when,
		json_is_true(json_object_get(im, "pinned")));
	if (json_is_number(divergence))
		printf("%.6f", json_number_value(divergence));
	putchar(',');
	csv_put(stdout, text(im, "name"));
	putchar('\n');
}

/* What list sorts by: a member of the image that is a text or a number. */
static const struct order {
	const char *name, *member;
} orders[] = {{"taken", "taken"}, {"quality", "quality"}, {"bytes", "bytes"}, {"label", "label"},
	{"name", "name"}, {"sensitivity", "divergence_at_10"}};

struct listing {
	const struct order *order; /* NULL: by id, as they come */
	bool json, csv, reverse, starved;
	int64_t limit, printed;
	json_t **kept; /* owned: to be sorted; the first so many of those seen, and some that are to be cut */
	size_t n, room;
};

static int compare_values(const json_t *a, const json_t *b)
{
	double x = json_number_value(a), y = json_number_value(b);

	if (json_is_string(a) || json_is_string(b))
		return strcmp(json_is_string(a) ? json_string_value(a) : "",
			json_is_string(b) ? json_string_value(b) : "");
	return (x > y) - (x < y);
}

static int compare_images(const void *a, const void *b, void *user)
{
	const struct listing *l = user;
	const char *member = l->order->member;
	const json_t *x = json_object_get(*(const json_t *const *)a, member),
		     *y = json_object_get(*(const json_t *const *)b, member);
	int order = compare_values(x, y);

	return l->reverse ? -order : order;
}

static void print_one(struct listing *l, const json_t *im)
{
	if (l->json)
		fputs(l->printed ? ",\n" : "[\n", stdout);
	if (l->json)
		json_dumpf(im, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
	else if (l->csv)
		print_csv_line(im);
	else
		print_line(im);
	l->printed++;
}

/* Sorts what was kept, and lets go of what is beyond the limit. */
static void cut_kept(struct listing *l)
{
	if (l->n)
		qsort_r(l->kept, l->n, sizeof(json_t *), compare_images, l);
	while ((int64_t)l->n > l->limit)
		json_decref(l->kept[--l->n]);
}

/* Never many more than the limit: a store may have a million. */
static bool keep_image(struct listing *l, const json_t *im)
{
	if (l->n == l->room && l->n && (int64_t)l->n / 2 >= l->limit)
		cut_kept(l);
	if (l->n == l->room) {
		size_t room = 2 * l->room + 100;
		json_t **kept = realloc(l->kept, room * sizeof(json_t *));

		l->starved = !kept;
		if (!kept)
			return false;
		l->kept = kept;
		l->room = room;
	}
	l->kept[l->n++] = json_incref((json_t *)im);
	return true;
}

static bool list_image(void *user, const json_t *im)
{
	struct listing *l = user;

	if (l->order)
		return keep_image(l, im);
	print_one(l, im);
	return l->printed < l->limit;
}

static bool find_order(const char *name, const struct order **ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		if (!strcmp(orders[i].name, name)) {
			*ret = &orders[i];
			return true;
		}
	*ret = NULL;
	if (!strcmp(name, "id"))
		return true;
	fprintf(stderr, "larderctl: --sort: bad value '%s'; allowed: id", name);
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		fprintf(stderr, ", %s", orders[i].name);
	fputc('\n', stderr);
	return false;
}

int run_list(struct ctl *c)
{
	enum { OPT_LIMIT = OPT_FILTERS_END, OPT_SORT, OPT_REVERSE, OPT_CSV };
	static const struct option options[] = {FILTER_OPTIONS,
		{"limit", required_argument, NULL, OPT_LIMIT}, {"sort", required_argument, NULL, OPT_SORT},
		{"reverse", no_argument, NULL, OPT_REVERSE}, {"csv", no_argument, NULL, OPT_CSV},
		{NULL, 0, NULL, 0}};
	struct listing l = {.json = c->json, .limit = INT64_MAX};
	struct filter f = {0};
	int status, o;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", options, NULL)) >= 0) {
		bool good = true;

		if (o == OPT_LIMIT)
			good = parse_option_int("limit", optarg, 1, INT64_MAX, &l.limit);
		else if (o == OPT_SORT)
			good = find_order(optarg, &l.order);
		else if (o == OPT_REVERSE)
			l.reverse = true;
		else if (o == OPT_CSV)
			l.csv = true;
		else
			good = filter_option(&f, o);
		if (!good)
			return EXIT_USAGE;
	}
	if (!ends_here(c))
		return EXIT_USAGE;
	if (l.reverse && !l.order) {
		fputs("larderctl: list: --reverse goes with --sort\n", stderr);
		return EXIT_USAGE;
	}
	if (l.csv && !l.json)
		puts("id,label,part,quality,stored_bytes,width,height,taken_utc,pinned,divergence,name");
	else if (!l.json)
		puts("id             q    bytes   width x height  taken (UTC)                label  name");
	status = filter_walk(c, &f, list_image, &l);
	if (l.starved) {
		fputs("larderctl: out of memory\n", stderr);
		status = EXIT_REFUSED;
	}
	cut_kept(&l);
	for (size_t i = 0; i < l.n; i++) {
		if (status == EXIT_OK)
			print_one(&l, l.kept[i]);
		json_decref(l.kept[i]);
	}
	free(l.kept);
	if (l.json && status == EXIT_OK)
		puts(l.printed ? "\n]" : "[]");
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
	       ", %s%s%s\n",
		when, number(im, "width"), number(im, "height"), number(im, "quality"),
		format_size(number(im, "bytes"), size, sizeof(size)),
		json_object_get(im, "file") ? ", " : ", in the index",
		json_object_get(im, "file") ? text(im, "file") : "");
	printf("reason    %s\n", text(im, "reason"));
	if (json_object_get(im, "expires")) {
		print_date(number(im, "expires"), when, sizeof(when));
		printf("kept      until %s UTC (MaxAge)\n", when);
	}
	if (json_array_size(curve))
		puts("curve     quality  divergence (nats)");
	json_array_foreach ((json_t *)curve, i, rung)
		printf("          %7" PRId64 "  %.5f\n", number(rung, "quality"),
			json_number_value(json_object_get(rung, "divergence")));
}

int run_show(struct ctl *c)
{
	static const struct option options[] = {{"open", required_argument, NULL, 'o'}, {NULL, 0, NULL, 0}};
	const char *path = NULL;
	int status = EXIT_OK, o;
	json_t *reply;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", options, NULL)) >= 0) {
		if (o != 'o')
			return EXIT_USAGE;
		path = optarg;
	}
	if (c->argc - optind != 1) {
		fputs("larderctl: show: one image id is needed\n", stderr);
		return EXIT_USAGE;
	}
	if (path) /* the picture alone */
		return save_image(c, c->argv[optind], path);
	reply = call(c, CONTROL_INTERFACE ".Show", json_pack("{ss}", "id", c->argv[optind]), &status);
	if (reply && c->json)
		print_json(json_object_get(reply, "image"));
	else if (reply)
		print_image(json_object_get(reply, "image"));
	json_decref(reply);
	return status;
}

int change_images(struct ctl *c, const char *method, const char *label, json_t *ids, int64_t *changed)
{
	int status = EXIT_OK;

	for (size_t from = 0; from < json_array_size(ids) && status == EXIT_OK; from += IDS_PER_CALL) {
		json_t *part = json_array(), *reply;

		for (size_t i = from; i < MIN(from + IDS_PER_CALL, json_array_size(ids)); i++)
			json_array_append(part, json_array_get(ids, i));
		reply = call(c, method, json_pack("{so ss*}", "ids", part, "label", label), &status);
		*changed += number(reply, "changed");
		json_decref(reply);
	}
	return status;
}

int say_changed(const struct ctl *c, int64_t changed, int status)
{
	if (status == EXIT_OK && c->json)
		printf("{\"changed\": %" PRId64 "}\n", changed);
	else if (status == EXIT_OK)
		printf("%" PRId64 " changed\n", changed);
	return status;
}

bool keep_id(void *user, const json_t *im)
{
	json_array_append_new(user, json_string(text(im, "id")));
	return true;
}

/* The ids that are named, or those of the images that options choose; never every image for want of both.
 */
static int change(struct ctl *c, const char *method)
{
	static const struct option options[] = {FILTER_OPTIONS, {NULL, 0, NULL, 0}};
	json_t *ids = json_array();
	struct filter f = {0};
	int status = EXIT_OK, o;
	int64_t changed = 0;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", options, NULL)) >= 0)
		if (!filter_option(&f, o)) {
			json_decref(ids);
			return EXIT_USAGE;
		}
	if (f.any == (optind < c->argc)) {
		fprintf(stderr,
			"larderctl: %s: either image ids or options that choose images are needed\n",
			c->argv[0]);
		json_decref(ids);
		return EXIT_USAGE;
	}
	for (int i = optind; i < c->argc; i++)
		json_array_append_new(ids, varlink_text(c->argv[i]));
	if (f.any)
		status = filter_walk(c, &f, keep_id, ids);
	if (status == EXIT_OK)
		status = change_images(c, method, NULL, ids, &changed);
	json_decref(ids);
	return say_changed(c, changed, status);
}

int run_pin(struct ctl *c)
{
	return change(c, CONTROL_INTERFACE ".Pin");
}

int run_unpin(struct ctl *c)
{
	return change(c, CONTROL_INTERFACE ".Unpin");
}

int run_remove(struct ctl *c)
{
	return change(c, CONTROL_INTERFACE ".Remove");
}
