#include "tools/lab/data.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/codec/decode.h"
#include "common/digest.h"
#include "common/io.h"
#include "common/net/net.h"
#include "common/rng.h"

#define CIFAR_SIDE 32
#define CIFAR_RECORD (1 + 3 * CIFAR_SIDE * CIFAR_SIDE)
#define CIFAR_CLASSES 10
#define FILE_MAX ((size_t)256 << 20)
#define PIXELS_MAX INT64_C(100000000)
#define TEST_SHARE 5 /* one in so many, when a folder has no split of its own */

static int fail(char error[DATA_ERROR_MAX], int e, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(char error[DATA_ERROR_MAX], int e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error, DATA_ERROR_MAX, fmt, ap);
	va_end(ap);
	return e;
}

void data_close(struct data *d)
{
	for (int s = 0; s < 2; s++) {
		for (int i = 0; i < d->split[s].n; i++)
			free(d->split[s].v[i].path);
		free(d->split[s].v);
		free(d->split[s].records);
	}
	for (int k = 0; k < d->classes; k++)
		free(d->name[k]);
	free(d->name);
	*d = (struct data){0};
}

static int add_class(struct data *d, const char *name)
{
	char **grown;

	if (d->classes >= NET_CLASSES_MAX)
		return -E2BIG;
	grown = reallocarray(d->name, (size_t)d->classes + 1, sizeof(char *));
	if (!grown)
		return -ENOMEM;
	d->name = grown;
	if (!(d->name[d->classes] = strdup(name)))
		return -ENOMEM;
	return d->classes++;
}

static int add_picture(
	struct data *d, enum split s, const char *path, size_t offset, size_t bytes, int label)
{
	int n = d->split[s].n;

	if ((n & (n - 1)) == 0) { /* room for twice as many */
		struct picture *grown = reallocarray(d->split[s].v, n ? 2 * (size_t)n : 1, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		d->split[s].v = grown;
	}
	d->split[s].v[n] = (struct picture){NULL, offset, (int64_t)bytes, label};
	if (path && !(d->split[s].v[n].path = strdup(path)))
		return -ENOMEM;
	d->split[s].n++;
	return 0;
}

/* One digest over what every part adds. */
static void digest_add(struct data *d, const void *data, size_t len)
{
	uint8_t both[2 * SHA256_BYTES];

	memcpy(both, d->digest, SHA256_BYTES);
	sha256(data, len, both + SHA256_BYTES);
	sha256(both, sizeof(both), d->digest);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static void free_list(struct dirent **list, int n)
{
	for (int i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

static int cifar_names(struct data *d, const char *dir, char error[DATA_ERROR_MAX])
{
	char path[4096], line[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/batches.meta.txt", dir);
	f = fopen(path, "re");
	if (!f)
		return fail(error, -errno, "%s: %s", path, strerror(errno));
	while (d->classes < CIFAR_CLASSES && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\r\n")] = '\0';
		if (line[0])
			add_class(d, line);
	}
	fclose(f);
	if (d->classes != CIFAR_CLASSES)
		return fail(error, -EBADMSG, "%s: %d class names, %d expected", path, d->classes,
			CIFAR_CLASSES);
	return 0;
}

static int cifar_file(
	struct data *d, enum split s, const char *path, struct buf *to, char error[DATA_ERROR_MAX])
{
	size_t start = to->len, records;
	int r = io_read_file(AT_FDCWD, path, (size_t)1 << 30, to);

	if (r < 0)
		return fail(error, r, "%s: %s", path, strerror(-r));
	records = (to->len - start) / CIFAR_RECORD;
	if ((to->len - start) % CIFAR_RECORD || !records)
		return fail(error, -EBADMSG,
			"%s: truncated at offset %zu: a record is %d bytes, this one has %zu", path,
			records * CIFAR_RECORD, CIFAR_RECORD, (to->len - start) % CIFAR_RECORD);
	for (size_t i = 0; i < records; i++) {
		size_t at = start + i * CIFAR_RECORD;

		if (to->data[at] >= CIFAR_CLASSES)
			return fail(error, -EBADMSG, "%s: offset %zu: label %d, 0 to %d are allowed", path,
				at - start, to->data[at], CIFAR_CLASSES - 1);
		r = add_picture(d, s, NULL, at, CIFAR_RECORD, to->data[at]);
		if (r < 0)
			return fail(error, r, "%s: out of memory", path);
	}
	return 0;
}

/* CIFAR-10's own names, and the plain ones of a part of it. */
static bool cifar_is(const char *name, enum split s)
{
	size_t len = strlen(name);

	if (len < 4 || strcmp(name + len - 4, ".bin") != 0)
		return false;
	if (s == TEST)
		return !strncmp(name, "test", 4);
	return !strncmp(name, "train", 5) || !strncmp(name, "data_batch", 10);
}

static int open_cifar(struct data *d, const char *dir, char error[DATA_ERROR_MAX])
{
	struct dirent **list;
	int r = cifar_names(d, dir, error), n;

	if (r < 0)
		return r;
	n = scandir(dir, &list, visible, by_name);
	if (n < 0)
		return fail(error, -errno, "%s: %s", dir, strerror(errno));
	for (int s = 0; r == 0 && s < 2; s++) {
		_cleanup_buf_ struct buf all = {0};
		char path[4096];

		for (int i = 0; r == 0 && i < n; i++)
			if (cifar_is(list[i]->d_name, (enum split)s)) {
				snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);
				r = cifar_file(d, (enum split)s, path, &all, error);
			}
		digest_add(d, all.data, all.len);
		d->split[s].records = TAKE_PTR(all.data);
		if (r == 0 && !d->split[s].n)
			r = fail(error, -ENOENT, "%s: no %s", dir,
				s == TEST ? "test*.bin" : "data_batch*.bin or train*.bin");
	}
	free_list(list, n);
	return r;
}

static bool is_picture(const char *name)
{
	static const char *const ends[] = {".jpg", ".jpeg", ".png", ".ppm", ".pgm"};
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < ARRAY_SIZE(ends); i++)
		if (!strcasecmp(dot, ends[i]))
			return true;
	return false;
}

static int class_of(const struct data *d, const char *name)
{
	for (int k = 0; k < d->classes; k++)
		if (!strcmp(d->name[k], name))
			return k;
	return -1;
}

/* The pictures of one class's directory; split < 0: by the hash of their names. */
static int open_class(struct data *d, int split, const char *dir, int label, char error[DATA_ERROR_MAX])
{
	struct dirent **list;
	int n = scandir(dir, &list, visible, by_name), r = 0;

	if (n < 0)
		return fail(error, -errno, "%s: %s", dir, strerror(errno));
	for (int i = 0; r == 0 && i < n; i++) {
		const char *name = list[i]->d_name;
		enum split s = split >= 0				    ? (enum split)split
			       : crc32c(0, name, strlen(name)) % TEST_SHARE ? TRAIN
									    : TEST;
		_cleanup_buf_ struct buf file = {0};
		char path[4096];

		if (!is_picture(name))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, name);
		r = io_read_file(AT_FDCWD, path, FILE_MAX, &file);
		if (r < 0)
			fail(error, r, "%s: %s", path, strerror(-r));
		else
			r = add_picture(d, s, path, 0, file.len, label);
		digest_add(d, file.data, file.len);
		digest_add(d, &label, sizeof(label));
	}
	free_list(list, n);
	return r;
}

static int open_tree(struct data *d, int split, const char *dir, char error[DATA_ERROR_MAX])
{
	struct dirent **list;
	int n = scandir(dir, &list, visible, by_name), r = 0;

	if (n < 0)
		return fail(error, -errno, "%s: %s", dir, strerror(errno));
	for (int i = 0; r == 0 && i < n; i++) {
		char path[4096];
		struct stat st;
		int label = class_of(d, list[i]->d_name);

		snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);
		if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
			continue;
		if (label < 0 && split == TEST)
			r = fail(error, -EINVAL, "%s: there is no training class of that name", path);
		else if (label < 0)
			r = label = add_class(d, list[i]->d_name);
		if (r >= 0)
			r = open_class(d, split, path, label, error);
	}
	free_list(list, n);
	return MIN(r, 0);
}

/* Pictures in an order of their own, always the same: the first so many are of all classes. */
static void shuffle(struct picture *v, int n)
{
	struct rng r;

	rng_init(&r, 1);
	for (int i = n - 1; i > 0; i--) {
		int k = (int)rng_below(&r, (uint32_t)i + 1);
		struct picture p = v[i];

		v[i] = v[k];
		v[k] = p;
	}
}

static int open_folder(struct data *d, const char *dir, char error[DATA_ERROR_MAX])
{
	char train[4096], test[4096];
	struct stat st;
	bool split;
	int r;

	snprintf(train, sizeof(train), "%s/train", dir);
	snprintf(test, sizeof(test), "%s/test", dir);
	split = stat(train, &st) == 0 && S_ISDIR(st.st_mode);
	r = open_tree(d, split ? TRAIN : -1, split ? train : dir, error);
	if (r == 0 && split)
		r = open_tree(d, TEST, test, error);
	if (r < 0)
		return r;
	if (d->classes < 2)
		return fail(error, -EINVAL,
			"%s: %d directories with pictures, two classes at least are needed",
			split ? train : dir, d->classes);
	for (int s = 0; s < 2; s++)
		if (!d->split[s].n)
			return fail(error, -EINVAL, "%s: no %s pictures (.jpg .png .ppm .pgm)", dir,
				s == TEST ? "test" : "training");
	for (int s = 0; s < 2; s++)
		shuffle(d->split[s].v, d->split[s].n);
	return 0;
}

int data_open(struct data *d, const char *spec, char ret_error[DATA_ERROR_MAX])
{
	static const struct {
		const char *kind;
		int (*open)(struct data *d, const char *dir, char error[DATA_ERROR_MAX]);
	} kinds[] = {{"cifar10", open_cifar}, {"folder", open_folder}};
	const char *colon = strchr(spec, ':');
	int r = -EINVAL;

	*d = (struct data){0};
	ret_error[0] = '\0';
	for (size_t i = 0; colon && i < ARRAY_SIZE(kinds); i++)
		if (strlen(kinds[i].kind) == (size_t)(colon - spec) &&
			!strncmp(spec, kinds[i].kind, (size_t)(colon - spec))) {
			snprintf(d->kind, sizeof(d->kind), "%s", kinds[i].kind);
			r = kinds[i].open(d, colon + 1, ret_error);
		}
	if (!d->kind[0])
		return fail(ret_error, r, "--data %s: cifar10:DIR or folder:DIR is expected", spec);
	if (r < 0) {
		if (!ret_error[0])
			fail(ret_error, r, "%s: %s", spec, strerror(-r));
		data_close(d);
	}
	return r;
}

static int decode_record(const uint8_t *record, struct coef_image *ret)
{
	enum { AREA = CIFAR_SIDE * CIFAR_SIDE };
	_cleanup_pixels_ struct pixels px = {0};
	int r = pixels_init(&px, CIFAR_SIDE, CIFAR_SIDE);

	for (int c = 0; r == 0 && c < 3; c++)
		for (int i = 0; i < AREA; i++)
			px.rgb[3 * i + c] = record[1 + c * AREA + i];
	return r < 0 ? r : pixels_to_coef(&px, ret);
}

int data_decode(const struct data *d, enum split s, int i, struct coef_image *ret, int *ret_quality,
	char ret_error[DATA_ERROR_MAX])
{
	const struct picture *p = &d->split[s].v[i];
	_cleanup_buf_ struct buf file = {0};
	struct capture_info info;
	int r;

	if (d->split[s].records) {
		*ret_quality = 100;
		r = decode_record(d->split[s].records + p->offset, ret);
		return r < 0 ? fail(ret_error, r, "record at %zu: %s", p->offset, strerror(-r)) : 0;
	}
	r = io_read_file(AT_FDCWD, p->path, FILE_MAX, &file);
	if (r < 0)
		return fail(ret_error, r, "%s: %s", p->path, strerror(-r));
	r = capture_decode(file.data, file.len, PIXELS_MAX, ret, &info);
	if (r < 0)
		return fail(ret_error, r, "%s: %s (the file ends at offset %zu)", p->path, info.reason,
			file.len);
	*ret_quality = info.quality;
	return 0;
}

void data_spoil(struct data *d, double wrong, double unlabelled, uint64_t seed)
{
	struct rng r;

	rng_init(&r, seed);
	for (int i = 0; i < d->split[TRAIN].n; i++) {
		struct picture *p = &d->split[TRAIN].v[i];
		uint32_t other = rng_below(&r, (uint32_t)MAX(d->classes - 1, 1));

		if (rng_unit(&r) < wrong && d->classes > 1)
			p->label = (p->label + 1 + (int)other) % d->classes;
		p->unlabelled = rng_unit(&r) < unlabelled;
	}
}
