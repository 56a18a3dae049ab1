#include "tools/ctl/originals.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec/decode.h"
#include "common/digest.h"
#include "common/io.h"
#include "tools/ctl/ctl.h"

#define DEPTH_MAX  16
#define FILE_MAX   (INT64_C(1) << 30) /* as Spool.MaxFileSize and ... */
#define PIXELS_MAX (INT64_C(1) << 29) /* ... Spool.MaxPixels may be */

struct search {
	struct original *o;
	int n, found;
};

void original_done(struct original *o)
{
	free(o->path);
	o->path = NULL;
}

static bool is_capture(const struct buf *file, const char *id)
{
	uint8_t digest[SHA256_BYTES];
	char hex[17];

	sha256(file->data, file->len, digest);
	return !strcmp(format_id(digest_id(digest), hex), id);
}

/* A file of this name: is it one of those looked for? */
static void meet_file(struct search *s, int dir, const char *path, const char *name)
{
	json_t *shown = varlink_text(name); /* names that are no UTF-8 are compared as they are listed */
	_cleanup_buf_ struct buf file = {0};

	for (int i = 0; i < s->n; i++) {
		struct original *o = &s->o[i];

		const char *listed = text(o->image, "name"); /* larderd keeps how a long one begins */

		if (o->path || !shown || strncmp(json_string_value(shown), listed, strlen(listed)) != 0)
			continue;
		if (!file.len && io_read_file(dir, name, FILE_MAX, &file) < 0)
			break;
		if (file.len && is_capture(&file, text(o->image, "id"))) {
			o->path = strdup(path);
			s->found += o->path != NULL;
		}
	}
	json_decref(shown);
}

/* Everything below a directory, which it closes. */
static void walk(struct search *s, int fd, const char *path, int depth)
{
	DIR *dir = fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		close(fd);
		return;
	}
	while (s->found < s->n && (e = readdir(dir))) {
		char below[4096];
		struct stat st;
		int sub;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
			fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			snprintf(below, sizeof(below), "%s/%s", path, e->d_name) >= (int)sizeof(below))
			continue;
		if (S_ISREG(st.st_mode)) {
			meet_file(s, fd, below, e->d_name);
		} else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
			sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (sub >= 0)
				walk(s, sub, below, depth + 1);
		}
	}
	closedir(dir);
}

int originals_find(const char *dir, struct original *o, int n)
{
	struct search s = {o, n, 0};
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	walk(&s, fd, dir, 0);
	return s.found;
}

int original_preview(const struct original *o, int longest, json_t **ret_jpeg, struct preview *ret)
{
	_cleanup_buf_ struct buf file = {0}, jpeg = {0};
	_cleanup_coef_ struct coef_image im = {0};
	struct capture_info info;
	int r = io_read_file(AT_FDCWD, o->path, FILE_MAX, &file);

	if (r == 0)
		r = capture_decode(file.data, file.len, PIXELS_MAX, &im, &info);
	if (r < 0)
		return r;
	*ret = preview_of(im.width, im.height, im.orientation, longest);
	r = preview_write(&im, ret->side, &jpeg);
	*ret_jpeg = r == 0 ? varlink_blob(jpeg.data, jpeg.len) : NULL;
	return *ret_jpeg ? 0 : r < 0 ? r : -ENOMEM;
}
