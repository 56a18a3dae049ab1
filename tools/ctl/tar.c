#include "tools/ctl/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/macros.h"

#define NAME	   "%s-%06d.tar"
#define BLOCK	   512
#define FILE_BYTES (INT64_C(256) << 20) /* a file ends when it has more */

void tar_init(struct tar *t, int dir, const char *stem)
{
	*t = (struct tar){.dir = dir, .stem = stem};
}

static int begin(struct tar *t)
{
	int fd;

	snprintf(t->name, sizeof(t->name), NAME ".part", t->stem, t->number);
	fd = openat(t->dir, t->name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	t->f = fd < 0 ? NULL : fdopen(fd, "w");
	if (t->f || fd < 0)
		return t->f ? 0 : -errno;
	close(fd);
	return -ENOMEM;
}

/* Octal digits and a NUL. */
static void put_octal(char *field, size_t size, int64_t v)
{
	snprintf(field, size, "%0*llo", (int)size - 1, (unsigned long long)v);
}

static int put(struct tar *t, const void *data, size_t len)
{
	static const char zeros[BLOCK];
	size_t pad = (BLOCK - len % BLOCK) % BLOCK;

	if (fwrite(data, 1, len, t->f) != len || fwrite(zeros, 1, pad, t->f) != pad)
		return errno ? -errno : -EIO;
	t->bytes += (int64_t)(len + pad);
	return 0;
}

int tar_add(struct tar *t, const char *name, const void *data, size_t len, int64_t mtime_s)
{
	struct {
		char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100],
			magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], pad[12];
	} h = {.type = '0', .magic = "ustar", .version = {'0', '0'}};
	unsigned sum = 0;
	int r = t->f ? 0 : begin(t);

	_Static_assert(sizeof(h) == BLOCK, "a header is a block");
	if (r < 0)
		return r;
	snprintf(h.name, sizeof(h.name), "%s", name);
	put_octal(h.mode, sizeof(h.mode), 0644);
	put_octal(h.uid, sizeof(h.uid), 0);
	put_octal(h.gid, sizeof(h.gid), 0);
	put_octal(h.size, sizeof(h.size), (int64_t)len);
	put_octal(h.mtime, sizeof(h.mtime), CLAMP(mtime_s, 0, INT64_C(077777777777)));
	memset(h.sum, ' ', sizeof(h.sum)); /* as it counts itself */
	for (size_t i = 0; i < BLOCK; i++)
		sum += ((const unsigned char *)&h)[i];
	snprintf(h.sum, sizeof(h.sum), "%06o", sum);
	r = put(t, &h, BLOCK);
	return r < 0 ? r : put(t, data, len);
}

/* The open file is over; it gets its name when it is whole. */
static int end(struct tar *t, bool whole)
{
	static const char zeros[2 * BLOCK];
	char name[64];
	int r;

	if (!t->f)
		return 0;
	r = put(t, zeros, sizeof(zeros));
	if (r == 0 && (fflush(t->f) != 0 || fsync(fileno(t->f)) < 0))
		r = -errno;
	if (fclose(t->f) != 0 && r == 0)
		r = -errno;
	t->f = NULL;
	t->bytes = 0;
	snprintf(name, sizeof(name), NAME, t->stem, t->number++);
	if (r == 0 && whole && renameat(t->dir, t->name, t->dir, name) < 0)
		r = -errno;
	return r;
}

int tar_sample_ends(struct tar *t)
{
	return t->bytes >= FILE_BYTES ? end(t, true) : 0;
}

int tar_finish(struct tar *t, bool whole)
{
	char name[64];
	int r = end(t, whole);

	while (r == 0 && whole) {
		snprintf(name, sizeof(name), NAME, t->stem, t->number++);
		if (unlinkat(t->dir, name, 0) < 0)
			return errno == ENOENT ? 0 : -errno;
	}
	return r;
}
