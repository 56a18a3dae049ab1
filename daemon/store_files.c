/* What happens to a capture's own file once its fate is committed: unlinked, or into quarantine. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/digest.h"
#include "common/io.h"
#include "daemon/store_internal.h"

#define REASON_BYTES 4096 /* a .reason file takes a block */

struct oldest {
	char name[NAME_MAX + 1];
	int64_t since_ns, bytes;
};

static int64_t ns_of(struct timespec t)
{
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

void taken_note(struct taken_file *f, const struct stat *st)
{
	f->dev = (uint64_t)st->st_dev;
	f->ino = st->st_ino;
	f->size = st->st_size;
	f->mtime_ns = ns_of(st->st_mtim);
}

bool taken_is(const struct taken_file *f, const struct stat *st)
{
	return (uint64_t)st->st_dev == f->dev && st->st_ino == f->ino && st->st_size == f->size &&
		ns_of(st->st_mtim) == f->mtime_ns;
}

static int see_age(void *arg, int dir_fd, const char *name)
{
	struct oldest *old = arg;
	struct stat st;
	int64_t since; /* it came here */

	if (name[0] == '.' || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode))
		return 0;
	since = ns_of(st.st_ctim);
	if (!old->name[0] || since < old->since_ns) {
		snprintf(old->name, sizeof(old->name), "%s", name);
		old->since_ns = since;
		old->bytes = io_disk_bytes(&st);
	}
	return 0;
}

static bool find_oldest(const struct store *s, struct oldest *ret)
{
	ret->name[0] = '\0';
	return io_each_name(s->quarantine, see_age, ret) == 0 && ret->name[0];
}

bool quarantine_fits(const struct limits *limits, int64_t bytes)
{
	return ROUND_UP(bytes, INT64_C(4096)) + REASON_BYTES <=
		MIN(limits->quarantine, limits->total / 8);
}

int quarantine_make_room(struct store *s, int64_t bytes)
{
	int64_t need = ROUND_UP(bytes, INT64_C(4096)) + REASON_BYTES;
	struct oldest old;

	while ((s->quarantine_bytes + need > s->limits.quarantine || store_fit_files(s, need) == -ENOSPC) &&
		find_oldest(s, &old)) {
		if (unlinkat(s->quarantine, old.name, 0) < 0)
			return -errno;
		s->quarantine_bytes -= old.bytes;
	}
	return store_fit_files(s, need);
}

static int copy_file(int from_dir, const char *from, int to_dir, const char *to)
{
	_cleanup_close_ int in = openat(from_dir, from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_buf_ struct buf data = {0};
	int r = in < 0 ? -errno : io_read_fd(in, (size_t)1 << 30, &data);

	return r < 0 ? r : io_write_durable(to_dir, to, data.data, data.len);
}

static void write_reason(struct store *s, const char *name, const char *path, const char *reason)
{
	char file[NAME_MAX + 1], text[STORE_PATH_MAX + 256];
	int64_t before;

	snprintf(file, sizeof(file), "%s.reason", name);
	snprintf(text, sizeof(text), "%s\n%s\n", path, reason);
	before = store_file_bytes(s->quarantine, file); /* by an earlier try, whose file could not be moved */
	if (io_write_durable(s->quarantine, file, text, strlen(text)) == 0)
		s->quarantine_bytes += store_file_bytes(s->quarantine, file) - before;
}

/* base: its name in dir. */
static int move_to_quarantine(struct store *s, int dir, const char *base, const struct taken_file *f,
	const struct stat *st, int64_t id, const char *reason)
{
	char name[NAME_MAX + 1], hex[17];
	int64_t before; /* of the same capture, when it came before */
	int r = 0;

	snprintf(name, sizeof(name), "%s-%.200s", format_id(id, hex), base);
	write_reason(s, name, f->path, reason);
	before = store_file_bytes(s->quarantine, name);
	if (renameat(dir, base, s->quarantine, name) < 0)
		r = -errno;
	if (r == -EXDEV) { /* only a regular file is worth carrying over */
		r = S_ISREG(st->st_mode) ? copy_file(dir, base, s->quarantine, name) : 0;
		if (r == 0 && unlinkat(dir, base, 0) < 0)
			r = -errno;
	}
	if (r == 0)
		s->quarantine_bytes += store_file_bytes(s->quarantine, name) - before;
	return r;
}

int quarantine_damaged(struct store *s, int dir, int64_t *bytes, const char *name)
{
	bool fits;
	int64_t before;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	fits = quarantine_fits(&s->limits, st.st_size) && quarantine_make_room(s, st.st_size) == 0;
	before = store_file_bytes(s->quarantine, name); /* which it replaces */
	if (fits && renameat(dir, name, s->quarantine, name) == 0) {
		s->quarantine_bytes += io_disk_bytes(&st) - before;
		write_reason(s, name, name, "stored bytes do not match their checksum");
	} else if (unlinkat(dir, name, 0) < 0) {
		return -errno;
	}
	*bytes -= io_disk_bytes(&st);
	return 0;
}

int store_settle(struct store *s, int spool_fd, const char *path, const struct taken_file *f, int64_t id,
	const char *reason)
{
	const char *base;
	_cleanup_close_ int dir = io_open_parent(spool_fd, path, &base);
	struct stat st;

	if (dir < 0)
		return dir == -ENOENT || dir == -ENOTDIR || dir == -ELOOP ? 0 : dir;
	if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!taken_is(f, &st))
		return 0; /* another capture by the same name: it will be found */
	if (reason && reason[0])
		return move_to_quarantine(s, dir, base, f, &st, id, reason);
	if (unlinkat(dir, base, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}
