/*
 * Images out of the store: one as a file, or all of them with a table beside them.
 *
 * - folder: DIR/[train/|validation/]LABEL/ID.jpg; "unlabelled" without a label; other endings of captures
 *   that are kept as they came.
 *
 * - webdataset: DIR/{train,validation}-000000.tar and so on, of ID.jpg, ID.cls (the label's place in
 *   classes.txt; not without a label) and ID.json.
 *
 * - both: DIR/images.csv, one line for each in the order of ids, and DIR/classes.txt, the labels in the
 *   order of the alphabet.
 *
 * Folders: what is there already is not fetched again, so an export that was stopped goes on where it was,
 * and files appear whole or not at all. Tar files and the table are written anew; what is not whole ends in
 * .part, and the table of an earlier export stays until there is another.
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
#include "tools/ctl/tar.h"

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
		} else if (varlink_blob_read(json_object_get(reply, "data"), ret) < 0 ||
			   ret->len == before) {
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
	} known[] = {{"\xff\xd8", "jpg"}, {"\x89PNG", "png"}, {"P6", "ppm"}, {"P3", "ppm"}, {"P5", "pgm"},
		{"P2", "pgm"}};

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

enum part { TRAIN, VALIDATION, PARTS };

static const char *const part_names[PARTS] = {"train", "validation"};

struct export
{
	struct ctl *c;
	const char *path; /* borrowed */
	bool webdataset, split;
	int dir;
	FILE *table;
	struct tar tar[PARTS];
	json_t *classes; /* label -> number */
	int64_t total, written, there;
	bool stuck; /* nothing can be written any more */
	int status;
};

static enum part part_of(const json_t *im)
{
	return json_is_true(json_object_get(im, "validation")) ? VALIDATION : TRAIN;
}

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
		number(im, "quality"), number(im, "bytes"), number(im, "width"), number(im, "height"), when,
		text(im, "id"));
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

/* A file of its own in a folder. */
static int export_file(struct export *x, const json_t *im, const char *id)
{
	char label[400], folder[512], name[64], file[600];
	_cleanup_close_ int split = -1, dir = -1;
	_cleanup_buf_ struct buf b = {0};
	int status = EXIT_OK;
	const char *ending;

	folder_of(im, label, sizeof(label));
	split = x->split ? io_open_dir(x->dir, part_names[part_of(im)]) : dup(x->dir);
	dir = split < 0 ? split : io_open_dir(split, label);
	snprintf(folder, sizeof(folder), "%s%s%s", x->split ? part_names[part_of(im)] : "",
		x->split ? "/" : "", label);
	if (dir < 0) {
		fprintf(stderr, "larderctl: %s/%s: %s\n", x->path, folder, strerror(-dir));
		x->stuck = true;
		return EXIT_REFUSED;
	}
	ending = there_already(dir, id);
	x->there += ending != NULL;
	if (!ending) {
		status = fetch(x->c, id, &b);
		ending = ending_of(&b);
		snprintf(name, sizeof(name), "%s.%s", id, ending);
		snprintf(file, sizeof(file), "%s/%s", x->path, folder);
		if (status == EXIT_OK) {
			status = save(dir, file, name, &b);
			x->stuck = status != EXIT_OK;
		}
		x->written += status == EXIT_OK;
	}
	snprintf(file, sizeof(file), "%s/%s.%s", folder, id, ending);
	if (status == EXIT_OK)
		put_line(x, im, file);
	return status;
}

/* A sample of a tar file: the picture, its class, and everything else that is known. */
static int export_sample(struct export *x, const json_t *im, const char *id)
{
	struct tar *tar = &x->tar[part_of(im)];
	_cleanup_buf_ struct buf b = {0};
	_cleanup_free_ char *json = NULL;
	const json_t *klass = json_object_get(x->classes, text(im, "label"));
	int status = fetch(x->c, id, &b), r;
	char name[64], number_text[24];
	int64_t taken = number(im, "taken");

	if (status != EXIT_OK)
		return status;
	json = json_dumps(im, JSON_COMPACT | JSON_ENSURE_ASCII);
	snprintf(name, sizeof(name), "%s.%s", id, ending_of(&b));
	r = tar_add(tar, name, b.data, b.len, taken);
	if (r == 0 && klass) {
		snprintf(name, sizeof(name), "%s.cls", id);
		snprintf(number_text, sizeof(number_text), "%" PRId64, (int64_t)json_integer_value(klass));
		r = tar_add(tar, name, number_text, strlen(number_text), taken);
	}
	snprintf(name, sizeof(name), "%s.json", id);
	if (r == 0)
		r = json ? tar_add(tar, name, json, strlen(json), taken) : -ENOMEM;
	if (r == 0)
		r = tar_sample_ends(tar);
	if (r < 0) {
		fprintf(stderr, "larderctl: %s/%s: %s\n", x->path, tar->name, strerror(-r));
		x->stuck = true;
		return EXIT_REFUSED;
	}
	x->written++;
	snprintf(name, sizeof(name), "%s.%s", id, ending_of(&b));
	put_line(x, im, name);
	return EXIT_OK;
}

static int export_image(struct export *x, const json_t *im)
{
	const char *id = text(im, "id");

	if (!*id || strlen(id) > 32 || strspn(id, "0123456789abcdef") != strlen(id)) {
		fputs("larderctl: larderd's answer is not understood\n", stderr);
		return EXIT_REFUSED;
	}
	return x->webdataset ? export_sample(x, im, id) : export_file(x, im, id);
}

static void say_progress(const struct export *x)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%" PRId64 " of %" PRId64 " images\033[K", x->written + x->there,
			x->total);
}

static int compare_labels(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* How many images there are, for the progress, and their labels, numbered and into classes.txt. */
static int prepare(struct export *x)
{
	int status = EXIT_OK, r;
	json_t *reply = call(x->c, CONTROL_INTERFACE ".Status", json_object(), &status), *v;
	const json_t *store = json_object_get(json_object_get(reply, "status"), "store");
	json_t *labels = json_object_get(store, "by_label");
	const char **sorted = calloc(json_object_size(labels) + 1, sizeof(*sorted)), *key;
	_cleanup_buf_ struct buf b = {0};
	int n = 0;

	x->total = number(store, "images");
	x->classes = json_object();
	json_object_foreach (labels, key, v)
		if (sorted && json_integer_value(v))
			sorted[n++] = key;
	if (n)
		qsort(sorted, (size_t)n, sizeof(*sorted), compare_labels);
	for (int i = 0; i < n; i++) {
		json_object_set_new(x->classes, sorted[i], json_integer(i));
		buf_put(&b, sorted[i], strlen(sorted[i]));
		buf_put_u8(&b, '\n');
	}
	r = b.failed || !sorted ? -ENOMEM : io_write_durable(x->dir, "classes.txt", b.data, b.len);
	if (status == EXIT_OK && r < 0) {
		fprintf(stderr, "larderctl: %s/classes.txt: %s\n", x->path, strerror(-r));
		status = EXIT_REFUSED;
	}
	free(sorted);
	json_decref(reply);
	return status;
}

static bool export_one(void *user, const json_t *im)
{
	struct export *x = user;

	x->status = MAX(export_image(x, im), x->status);
	say_progress(x);
	return !x->stuck && x->status != EXIT_NO_DAEMON;
}

static bool parse_format(const char *s, bool *ret_webdataset)
{
	*ret_webdataset = !strcmp(s, "webdataset");
	if (*ret_webdataset || !strcmp(s, "folder"))
		return true;
	fprintf(stderr, "larderctl: --format: bad value '%s'; allowed: folder, webdataset\n", s);
	return false;
}

#define TABLE	   "images.csv"
#define TABLE_PART TABLE ".part"

static int table_begin(struct export *x)
{
	int fd = openat(x->dir, TABLE_PART, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	x->table = fdopen(fd, "w");
	if (x->table)
		return 0;
	close_fd(&fd);
	return -ENOMEM;
}

/* It takes its name when it is whole. */
static int table_finish(struct export *x, bool whole)
{
	int r = 0;

	if (fflush(x->table) != 0 || fsync(fileno(x->table)) < 0)
		r = -errno;
	else if (ferror(x->table))
		r = -EIO;
	if (fclose(x->table) != 0 && r == 0)
		r = -errno;
	if (r == 0 && whole && renameat(x->dir, TABLE_PART, x->dir, TABLE) < 0)
		r = -errno;
	return r;
}

/* Everything that the filter leaves into the open directory. */
static int export_all(struct export *x, const struct filter *f)
{
	int status = prepare(x), r = 0;

	for (int p = 0; p < PARTS; p++)
		tar_init(&x->tar[p], x->dir, part_names[p]);
	fputs("file,label,part,quality,stored_bytes,width,height,taken_utc,id,name\n", x->table);
	if (status == EXIT_OK)
		status = filter_walk(x->c, f, export_one, x);
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	status = MAX(status, x->status);
	for (int p = 0; p < PARTS; p++)
		r = MIN(tar_finish(&x->tar[p], !x->stuck && status != EXIT_NO_DAEMON), r);
	if (r < 0) {
		fprintf(stderr, "larderctl: %s: %s\n", x->path, strerror(-r));
		status = EXIT_REFUSED;
	}
	return status;
}

int run_export(struct ctl *c)
{
	enum { OPT_FORMAT = OPT_FILTERS_END, OPT_SPLIT };
	static const struct option options[] = {FILTER_OPTIONS,
		{"format", required_argument, NULL, OPT_FORMAT}, {"split", no_argument, NULL, OPT_SPLIT},
		{NULL, 0, NULL, 0}};
	struct export x = {.c = c, .dir = -1};
	_cleanup_close_ int dir = -1;
	struct filter f = {0};
	int o, r, status;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", options, NULL)) >= 0) {
		bool good = true;

		if (o == OPT_SPLIT)
			x.split = true;
		else if (o == OPT_FORMAT)
			good = parse_format(optarg, &x.webdataset);
		else
			good = filter_option(&f, o);
		if (!good)
			return EXIT_USAGE;
	}
	if (c->argc - optind != 1) {
		fputs("larderctl: export: the name of one directory is needed\n", stderr);
		return EXIT_USAGE;
	}
	x.path = c->argv[optind];
	x.dir = dir = io_open_dir(AT_FDCWD, x.path);
	r = dir < 0 ? dir : table_begin(&x);
	if (r < 0) {
		fprintf(stderr, "larderctl: %s%s: %s\n", x.path, dir < 0 ? "" : "/" TABLE_PART, strerror(-r));
		return EXIT_REFUSED;
	}
	status = export_all(&x, &f);
	json_decref(x.classes);
	r = table_finish(&x, !x.stuck && status != EXIT_NO_DAEMON);
	if (r < 0) {
		fprintf(stderr, "larderctl: %s/" TABLE ": %s\n", x.path, strerror(-r));
		status = EXIT_REFUSED;
	}
	if (c->json)
		printf("{\"written\": %" PRId64 ", \"there_already\": %" PRId64 "}\n", x.written, x.there);
	else
		printf("%" PRId64 " images written to %s, %" PRId64 " were there already\n", x.written,
			x.path, x.there);
	return status;
}
