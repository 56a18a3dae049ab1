#include "common/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#define READ_STEP (256 * 1024)

static int put_full(int fd, bool socket, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len) {
		ssize_t n = socket ? send(fd, p, len, MSG_NOSIGNAL) : write(fd, p, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

int io_write_full(int fd, const void *data, size_t len)
{
	return put_full(fd, false, data, len);
}

int io_send_full(int fd, const void *data, size_t len)
{
	return put_full(fd, true, data, len);
}

int io_read_full(int fd, void *data, size_t len)
{
	uint8_t *p = data;

	while (len) {
		ssize_t n = read(fd, p, len);

		if (n == 0)
			return -EPIPE;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

int io_read_fd(int fd, size_t max, struct buf *b)
{
	size_t start = b->len, step = READ_STEP;
	struct stat st;

	/* A small file needs no large buffer: its size, and a byte to see the end. */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		step = MIN((size_t)st.st_size + 1, step);
	for (;;) {
		size_t room = b->cap - b->len, want = MIN(room ? room : step, max + 1 - (b->len - start));
		uint8_t *to = buf_reserve(b, want);
		ssize_t n;

		if (!to)
			return -ENOMEM;
		n = read(fd, to, want);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			b->len += (size_t)n;
		if (b->len - start > max)
			return -EFBIG;
	}
}

int io_read_file(int dir_fd, const char *name, size_t max, struct buf *b)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : io_read_fd(fd, max, b);
}

int io_lengthen(int fd, int64_t len)
{
	return ftruncate(fd, (off_t)len) < 0 ? -errno : 0;
}

static int write_and_sync(int dir_fd, const char *name, const void *data, size_t len)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
	int r;

	if (fd < 0)
		return -errno;
	r = io_lengthen(fd, (int64_t)len);
	if (r == 0)
		r = io_write_full(fd, data, len);
	if (r < 0)
		return r;
	return fsync(fd) < 0 ? -errno : 0;
}

int io_write_durable(int dir_fd, const char *name, const void *data, size_t len)
{
	char tmp[NAME_MAX + 1];
	int r;

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.tmp", name) >= sizeof(tmp))
		return -ENAMETOOLONG;
	if (unlinkat(dir_fd, tmp, 0) < 0 && errno != ENOENT)
		return -errno;
	r = write_and_sync(dir_fd, tmp, data, len);
	if (r == 0 && renameat(dir_fd, tmp, dir_fd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dir_fd, tmp, 0);
		return r;
	}
	return fsync(dir_fd) < 0 ? -errno : 0;
}

int io_open_dir(int dir_fd, const char *name)
{
	int fd;

	if (mkdirat(dir_fd, name, 0750) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int io_open_parent(int dir_fd, const char *path, const char **ret_name)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *slash;

	for (; fd >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
		char part[NAME_MAX + 1];
		int next, error;

		if ((size_t)(slash - path) >= sizeof(part)) {
			close(fd);
			return -ENAMETOOLONG;
		}
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		error = errno;
		close(fd);
		errno = error;
		fd = next;
	}
	if (fd < 0)
		return -errno;
	*ret_name = path;
	return fd;
}

bool io_is_remote(int fd)
{
	/* statfs(2): NFS, SMB and CIFS, AFS, Ceph, Coda, OCFS2, 9p, FUSE, VirtualBox's shared folders. */
	static const uint32_t magic[] = {0x6969, 0x517b, 0xfe534d42, 0xff534d42, 0x5346414f, 0x6b414653,
		0x00c36400, 0x73757245, 0x7461636f, 0x01021997, 0x65735546, 0x786f4256};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(magic); i++)
		if ((uint32_t)fs.f_type == magic[i])
			return true;
	return false;
}

void io_disk_space(int fd, struct disk_space *ret)
{
	struct statvfs fs;

	*ret = (struct disk_space){0};
	if (fstatvfs(fd, &fs) < 0)
		return;
	ret->size = (int64_t)fs.f_blocks * (int64_t)fs.f_frsize;
	ret->available = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
}

int64_t io_disk_bytes(const struct stat *st)
{
	return (int64_t)st->st_blocks * 512;
}

static int64_t entry_bytes(int dir_fd, const char *name)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode)) {
		_cleanup_close_ int fd =
			openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0)
			return errno == ENOENT ? 0 : -errno;
		return io_tree_bytes(fd);
	}
	return io_disk_bytes(&st);
}

int io_each_name(int dir_fd, int (*fn)(void *arg, int dir_fd, const char *name), void *arg)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		r = -errno;
		close_fd(&fd);
		return r;
	}
	while (r == 0) {
		errno = 0;
		e = readdir(dir);
		if (!e) {
			r = -errno;
			break;
		}
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = fn(arg, fd, e->d_name);
	}
	closedir(dir);
	return r;
}

static int add_entry(void *arg, int dir_fd, const char *name)
{
	int64_t n = entry_bytes(dir_fd, name), *sum = arg;

	*sum += n;
	return n < 0 ? (int)n : 0;
}

int64_t io_tree_bytes(int dir_fd)
{
	struct stat st;
	int64_t sum;
	int r;

	if (fstat(dir_fd, &st) < 0)
		return -errno;
	sum = io_disk_bytes(&st);
	r = io_each_name(dir_fd, add_entry, &sum);
	return r < 0 ? r : sum;
}
