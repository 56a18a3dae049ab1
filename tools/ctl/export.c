/*
 * Images out of the store: one as a file, or all of them in folders by label with a table beside
 * them.
 *
 *   DIR/<label>/<id>.jpg	"unlabelled" without a label; other endings of captures kept as they
 * came DIR/images.csv		one line for each, in the order of ids
 *
 * What is there already is not fetched again, so an export that was stopped goes on where it was.
 * Files appear whole or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/io.h"
#include "tools/ctl/csv.h"
#include "tools/ctl/filter.h"

int fetch_parts(struct ctl *c, const char *method, const json_t *parameters, struct buf *ret)
{
	int status = EXIT_OK;
	int64_t size, version = -1;

	do {
		json_t *asked = json_deep_copy(parameters), *reply;
		size_t before = ret->len;

		json_object_set_new(asked, "offset", json_integer((json_int_t)ret->len));
		reply = call(c, method, asked, &status);
		if (!reply)
			return status;
		size = number(reply, "size");
		if (before && number(reply, "version") != version) {
			fputs("larderctl: it has changed meanwhile; ask again\n", stderr);
			status = EXIT_REFUSED;
		} else if (varlink_blob_read(json_object_get(reply, "data"), ret) < 0 || ret->len == before) {
			fputs("larderctl: larderd's answer is not understood\n", stderr);
			status = EXIT_REFUSED;
		}
		version = number(reply, "version");
		json_decref(reply);
	} while (status == EXIT_OK && (int64_t)ret->len < size);
	return status;
}

/* The image's bytes. */
static int fetch(struct ctl *c, const char *id, struct buf *ret)
{
	json_t *parameters = json_pack("{ss}", "id", id);
	int status = fetch_parts(c, CONTROL_INTERFACE ".File", parameters, ret);

	json_decref(parameters);
	return status;
}

static const char *ending_of(const struct buf *b)
{
	static const struct {
		const char *magic, *ending;
	} known[] = {{"\xff\xd8", "jpg"}, {"\x89PNG", "png"}, {"P6", "ppm"}, {"P3", "ppm"},
		{"P5", "pgm"}, {"P2", "pgm"}};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (b->len >= strlen(known[i].magic) &&
			!memcmp(b->data, known[i].magic, strlen(known[i].magic)))
			return known[i].ending;
	return "bin";
}

/* Writes dir/name whole or not at all. */
static int save(int dir, const char *shown, const char *name, const struct buf *b)
{
	int r = io_write_durable(dir, name, b->data, b->len);

	if (r < 0)
		fprintf(stderr, "larderctl: %s: %s\n", shown, strerror(-r));
	return r < 0 ? EXIT_REFUSED : EXIT_OK;
}

int save_file(const char *path, const struct buf *b)
{
	_cleanup_free_ char *folder = strdup(path);
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	_cleanup_close_ int dir = -1;

	if (!folder || !*name) {
		fprintf(stderr, "larderctl: '%s': the name of a file is needed\n", path);
		return EXIT_USAGE;
	}
	folder[name - path] = '\0';
	dir = open(*folder ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		fprintf(stderr, "larderctl: %s: %s\n", *folder ? folder : ".", strerror(errno));
		return EXIT_REFUSED;
	}
	return save(dir, path, name, b);
}

int save_image(struct ctl *c, const char *id, const char *path)
{
	_cleanup_buf_ struct buf b = {0};
	int status = fetch(c, id, &b);

	return status == EXIT_OK ? save_file(path, &b) : status;
}

struct export {
	struct ctl *c;
	const char *path; /* borrowed */
	int dir;
	FILE *table;
	int64_t total, written, there;
	int status;
};

/* A label as the name of one folder. */
static void folder_of(const json_t *im, char *ret, size_t size)
{
	const char *label = text(im, "label");

	snprintf(ret, size, "%s%s", label[0] == '.' ? "_" : "", label[0] ? label : "unlabelled");
	for (char *p = ret; *p; p++)
		if (*p == '/')
			*p = '_';
}

static void put_line(const struct export *x, const json_t *im, const char *file)
{
	char when[32] = "";

	if (number(im, "taken"))
		print_date(number(im, "taken"), when, sizeof(when));
	csv_put(x->table, file);
	fputc(',', x->table);
	csv_put(x->table, text(im, "label"));
	fprintf(x->table, ",%s,%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%s,%s,",
		json_is_true(json_object_get(im, "validation")) ? "validation" : "training",
		number(im, "quality"), number(im, "bytes"), number(im, "width"),
		number(im, "height"), when, text(im, "id"));
	csv_put(x->table, text(im, "name"));
	fputc('\n', x->table);
}

/* The ending under which it was exported before, or NULL. */
static const char *there_already(int folder, const char *id)
{
	static const char *const endings[] = {"jpg", "png", "ppm", "pgm", "bin"};
	char name[64];

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		snprintf(name, sizeof(name), "%.32s.%s", id, endings[i]);
		if (faccessat(folder, name, F_OK, 0) == 0)
			return endings[i];
	}
	return NULL;
}

static int export_image(struct export *x, const json_t *im)
{
	char folder[512], name[64], file[600];
	const char *id = text(im, "id"), *ending;
	_cleanup_buf_ struct buf b = {0};
	_cleanup_close_ int dir = -1;
	int status = EXIT_OK;

	folder_of(im, folder, sizeof(folder));
	if (!*id || strlen(id) > 32 || strspn(id, "0123456789abcdef") != strlen(id)) {
		fprintf(stderr, "larderctl: larderd's answer is not understood\n");
		return EXIT_REFUSED;
	}
	dir = io_open_dir(x->dir, folder);
	if (dir < 0) {
		fprintf(stderr, "larderctl: %s/%s: %s\n", x->path, folder, strerror(-dir));
		return EXIT_REFUSED;
	}
	ending = there_already(dir, id);
	x->there += ending != NULL;
	if (!ending) {
		status = fetch(x->c, id, &b);
		ending = ending_of(&b);
		snprintf(name, sizeof(name), "%s.%s", id, ending);
		snprintf(file, sizeof(file), "%s/%s", x->path, folder);
		if (status == EXIT_OK)
			status = save(dir, file, name, &b);
		x->written += status == EXIT_OK;
	}
	snprintf(file, sizeof(file), "%s/%s.%s", folder, id, ending);
	if (status == EXIT_OK)
		put_line(x, im, file);
	return status;
}

static void say_progress(const struct export *x)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%" PRId64 " of %" PRId64 " images\033[K", x->written + x->there,
			x->total);
}

/* How many images the store holds, for the progress. */
static int64_t count_images(struct ctl *c, int *ret_status)
{
	json_t *reply = call(c, CONTROL_INTERFACE ".Status", json_object(), ret_status);
	int64_t n = number(json_object_get(json_object_get(reply, "status"), "store"), "images");

	json_decref(reply);
	return n;
}

static bool export_one(void *user, const json_t *im)
{
	struct export *x = user;

	x->status = MAX(export_image(x, im), x->status);
	say_progress(x);
	return true;
}

int run_export(struct ctl *c)
{
	static const struct option options[] = {FILTER_OPTIONS, {NULL, 0, NULL, 0}};
	struct export x = {.c = c, .dir = -1};
	_cleanup_close_ int dir = -1;
	struct filter f = {0};
	int o, fd, status;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", options, NULL)) >= 0)
		if (!filter_option(&f, o))
			return EXIT_USAGE;
	if (c->argc - optind != 1) {
		fputs("larderctl: export: the name of one directory is needed\n", stderr);
		return EXIT_USAGE;
	}
	x.path = c->argv[optind];
	x.dir = dir = io_open_dir(AT_FDCWD, x.path);
	fd = dir < 0 ? dir : openat(dir, "images.csv", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	x.table = fd < 0 ? NULL : fdopen(fd, "w");
	if (!x.table) {
		fprintf(stderr, "larderctl: %s%s: %s\n", x.path, dir < 0 ? "" : "/images.csv",
			strerror(dir < 0 ? -dir : errno));
		return EXIT_REFUSED;
	}
	fputs("file,label,part,quality,stored_bytes,width,height,taken_utc,id,name\n", x.table);
	x.total = count_images(c, &x.status);
	status = x.status == EXIT_OK ? filter_walk(c, &f, export_one, &x) : x.status;
	status = MAX(status, x.status);
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	if (ferror(x.table) | (fclose(x.table) != 0)) {
		fprintf(stderr, "larderctl: %s/images.csv: %s\n", x.path, strerror(errno));
		status = EXIT_REFUSED;
	}
	if (c->json)
		printf("{\"written\": %" PRId64 ", \"there_already\": %" PRId64 "}\n", x.written, x.there);
	else
		printf("%" PRId64 " images written to %s, %" PRId64 " were there already\n", x.written, x.path,
			x.there);
	return status;
}
