/*
 * larderctl label: one label for ids or for images that options choose, or many from a table.
 *
 * A table has a line with the names of its columns: "label", and "id", or "name" (a capture's file
 * name) where there is no "id". So images.csv of an export, and list --csv, can be edited and given back.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/io.h"
#include "tools/ctl/csv.h"
#include "tools/ctl/filter.h"

#define TABLE_MAX (256 << 20)
#define SAID_MAX  5 /* lines without an image that are named */

struct line {
	char *key, *label; /* in the table's text */
	int number;	   /* in the file, for people */
	bool found;
};

struct table {
	struct buf text; /* owned */
	bool by_id;
	struct line *line; /* owned; ascending keys once read */
	size_t n;
	json_t *wanted; /* owned; label -> ids */
};

static void table_done(struct table *t)
{
	buf_done(&t->text);
	free(t->line);
	json_decref(t->wanted);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(((const struct line *)a)->key, ((const struct line *)b)->key);
}

static int complain(const char *path, int line, const char *what)
{
	if (line)
		fprintf(stderr, "larderctl: %s:%d: %s\n", path, line, what);
	else
		fprintf(stderr, "larderctl: %s: %s\n", path, what);
	return EXIT_REFUSED;
}

static int table_read(struct table *t, const char *path)
{
	_cleanup_close_ int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
	int r = fd < 0 ? -errno : io_read_fd(fd, TABLE_MAX, &t->text), label, key;
	struct csv_row row;
	char *at;

	buf_put_u8(&t->text, 0);
	if (r < 0 || t->text.failed)
		return complain(path, 0, strerror(r < 0 ? -r : ENOMEM));
	if (strlen((char *)t->text.data) + 1 != t->text.len)
		return complain(path, 0, "not a table: it has bytes of zero in it");
	at = (char *)t->text.data;
	if (!strncmp(at, "\xef\xbb\xbf", 3)) /* as some spreadsheets begin */
		at += 3;
	if (!csv_next(&at, &row))
		return complain(path, 0, "empty; its first line has to name the columns");
	label = csv_column(&row, "label");
	key = csv_column(&row, "id");
	t->by_id = key >= 0;
	key = t->by_id ? key : csv_column(&row, "name");
	if (label < 0 || key < 0)
		return complain(path, 1, "the first line has to name the columns: id or name, and label");
	for (int number = 2; csv_next(&at, &row); number++) {
		struct line *all =
			t->n & (t->n + 1) ? t->line : realloc(t->line, 2 * (t->n + 1) * sizeof(*all));

		if (!all)
			return complain(path, 0, strerror(ENOMEM));
		t->line = all;
		if (row.n <= MAX(label, key))
			return complain(path, number, "fewer columns than the first line has");
		t->line[t->n++] = (struct line){row.field[key], row.field[label], number, false};
	}
	if (t->n)
		qsort(t->line, t->n, sizeof(*t->line), compare_keys);
	return EXIT_OK;
}

/* The first line with that key. */
static struct line *find(const struct table *t, const char *key)
{
	struct line wanted = {.key = (char *)key}, *l;

	l = t->n ? bsearch(&wanted, t->line, t->n, sizeof(*t->line), compare_keys) : NULL;
	while (l && l > t->line && !strcmp(l[-1].key, key))
		l--;
	return l;
}

/* Files an image under the label that its line gives it, unless it has that already. */
static bool match_image(void *user, const json_t *im)
{
	struct table *t = user;
	const char *key = text(im, t->by_id ? "id" : "name");
	struct line *l = find(t, key);
	json_t *ids;

	if (!l)
		return true;
	ids = json_object_get(t->wanted, l->label);
	if (!ids && json_object_set_new(t->wanted, l->label, json_array()) < 0)
		return true; /* no UTF-8: it is said as if there were no image */
	for (struct line *same = l; same < t->line + t->n && !strcmp(same->key, key); same++)
		same->found = true;
	if (!strcmp(l->label, text(im, "label")))
		return true;
	return keep_id(json_object_get(t->wanted, l->label), im);
}

static int say_missing(const struct table *t, const char *path)
{
	int missing = 0;

	for (size_t i = 0; i < t->n; i++)
		if (!t->line[i].found && missing++ < SAID_MAX)
			fprintf(stderr, "larderctl: %s:%d: no image has the %s '%.64s'\n", path,
				t->line[i].number, t->by_id ? "id" : "name", t->line[i].key);
	if (missing > SAID_MAX)
		fprintf(stderr, "larderctl: %s: %d lines more have none\n", path, missing - SAID_MAX);
	return missing ? EXIT_REFUSED : EXIT_OK;
}

static int label_from_table(struct ctl *c, const char *path)
{
	_cleanup_(table_done) struct table t = {.wanted = json_object()};
	static const struct filter every;
	int status = table_read(&t, path);
	int64_t changed = 0;
	const char *label;
	json_t *ids;

	if (status == EXIT_OK)
		status = filter_walk(c, &every, match_image, &t);
	json_object_foreach (t.wanted, label, ids) {
		if (status == EXIT_OK && json_array_size(ids))
			status = change_images(c, CONTROL_INTERFACE ".Label", label, ids, &changed);
	}
	if (status != EXIT_OK)
		return status;
	say_changed(c, changed, EXIT_OK);
	return say_missing(&t, path);
}

int run_label(struct ctl *c)
{
	enum { OPT_TABLE = OPT_FILTERS_END };
	static const struct option options[] = {
		FILTER_OPTIONS, {"csv", required_argument, NULL, OPT_TABLE}, {NULL, 0, NULL, 0}};
	const char *table = NULL;
	struct filter f = {0};
	int status = EXIT_OK, o;
	int64_t changed = 0;
	json_t *ids;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", options, NULL)) >= 0)
		if (o == OPT_TABLE)
			table = optarg;
		else if (!filter_option(&f, o))
			return EXIT_USAGE;
	if (table && !f.any && optind == c->argc)
		return label_from_table(c, table);
	if (table || optind == c->argc || f.any == (optind + 1 < c->argc)) {
		fputs("larderctl: label: a label and image ids, or a label and options that choose images, "
		      "or "
		      "--csv FILE is needed; '' takes labels away\n",
			stderr);
		return EXIT_USAGE;
	}
	ids = json_array();
	for (int i = optind + 1; i < c->argc; i++)
		json_array_append_new(ids, varlink_text(c->argv[i]));
	if (f.any)
		status = filter_walk(c, &f, keep_id, ids);
	if (status == EXIT_OK)
		status = change_images(c, CONTROL_INTERFACE ".Label", c->argv[optind], ids, &changed);
	json_decref(ids);
	return say_changed(c, changed, status);
}
