#undef _FILE_OFFSET_BITS /* both names of each call are defined here */
#undef _TIME_BITS
#include "tests/unit/disk.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/macros.h"
#include "common/rng.h"

#define SECTOR	  512
#define NODES_MAX 1000

enum change_kind { WRITE, TRUNCATE, SYNC, MAKE_FILE, MAKE_DIR, RENAME, UNLINK, NOTE };

struct change {
	enum change_kind kind;
	int node, dir, to_dir;
	char name[NAME_MAX + 1], to[NAME_MAX + 1];
	int64_t at, len; /* NOTE: at is the note */
	uint8_t *data;	 /* owned */
};

static struct {
	char dir[PATH_MAX];
	_Atomic enum disk_mode mode; /* armed last: calls come from other threads too */
	long at;
	_Atomic long calls;
	int error;
	bool for_ever, paused;
	_Atomic bool hit;
	struct change *record;
	size_t n, cap, beyond;
	ino_t inode[NODES_MAX]; /* by node: each file or directory ever made; 0 is dir */
	int nodes;
} disk;

static struct {
	long at, count;
	bool for_ever;
} memory;

/* The C library's own. */
#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (!f)
		abort();
	return f;
}

void disk_arm(const char *dir, enum disk_mode mode, long at)
{
	struct stat st;

	if (!realpath(dir, disk.dir) || stat(dir, &st) < 0)
		abort();
	disk.inode[0] = st.st_ino;
	disk.nodes = 1;
	disk.calls = 0;
	disk.beyond = 0;
	disk.at = at;
	disk.hit = false;
	disk.mode = mode;
}

void disk_error(int error, bool for_ever)
{
	disk.error = error;
	disk.for_ever = for_ever;
}

bool disk_pause(bool pause)
{
	bool was = disk.paused;

	disk.paused = pause;
	return was;
}

void disk_off(void)
{
	disk.mode = DISK_OFF;
	memory.at = 0;
}

long disk_calls(void)
{
	return disk.calls;
}

bool disk_was_hit(void)
{
	return disk.hit;
}

enum call_kind { CHANGES, READS };

static bool counting(enum call_kind kind)
{
	return disk.mode != DISK_OFF && !disk.paused && (disk.mode == DISK_FAIL_READS) == (kind == READS);
}

/* Where a descriptor's file is; "" when that is not known. */
static void path_of(int fd, char ret[PATH_MAX])
{
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, ret, PATH_MAX - 1);
	ret[MAX(len, 0)] = '\0';
}

/* Whether a descriptor's file is below the path. */
static bool below(int fd)
{
	size_t n = strlen(disk.dir);
	char target[PATH_MAX];

	path_of(fd, target);
	return !strncmp(target, disk.dir, n) && (target[n] == '/' || !target[n] || target[n] == ' ');
}

/* The directory that a name is in, opened; the name itself comes back in *ret_base. */
static int open_parent(int dir_fd, const char *path, const char **ret_base)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX];

	*ret_base = slash ? slash + 1 : path;
	if (!slash)
		snprintf(parent, sizeof(parent), ".");
	else
		snprintf(parent, sizeof(parent), "%.*s", (int)MAX(slash - path, 1), path);
	return REAL(openat)(dir_fd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool named_below(int dir_fd, const char *path)
{
	const char *base;
	int fd = open_parent(dir_fd, path, &base);
	bool yes = fd >= 0 && below(fd);

	if (fd >= 0)
		close(fd);
	return yes;
}

/* The newest of its inode: a number is used again when its file is gone. */
static int node_by_inode(ino_t inode)
{
	for (int i = disk.nodes; i-- > 0;)
		if (disk.inode[i] == inode)
			return i;
	abort();
}

static int node_by_fd(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		abort();
	return node_by_inode(st.st_ino);
}

static int new_node(ino_t inode)
{
	if (disk.nodes == NODES_MAX)
		abort();
	disk.inode[disk.nodes] = inode;
	return disk.nodes++;
}

/* Counts a call. True: it is to fail, errno being set. tear: half of a write is done by it. */
static bool struck(void (*tear)(void *arg), void *arg)
{
	bool fails = disk.mode == DISK_FAIL || disk.mode == DISK_FAIL_READS;
	bool now = ++disk.calls == disk.at || (disk.hit && disk.for_ever && fails);

	if (!now)
		return false;
	disk.hit = true;
	if (fails) {
		errno = disk.error;
		return true;
	}
	if (disk.mode == DISK_TEAR && tear)
		tear(arg);
	if (disk.mode == DISK_KILL || disk.mode == DISK_TEAR)
		kill(getpid(), SIGKILL);
	return false;
}

static struct change *recorded(enum change_kind kind)
{
	struct change *c;

	if (disk.n == disk.cap) {
		disk.cap = MAX(2 * disk.cap, (size_t)256);
		disk.record = reallocarray(disk.record, disk.cap, sizeof(*disk.record));
		if (!disk.record)
			abort();
	}
	c = &disk.record[disk.n++];
	*c = (struct change){.kind = kind};
	return c;
}

static void record_named(enum change_kind kind, int dir_fd, const char *path, int node)
{
	const char *base;
	int fd = open_parent(dir_fd, path, &base);
	struct change *c = recorded(kind);

	c->dir = node_by_fd(fd);
	c->node = node;
	snprintf(c->name, sizeof(c->name), "%s", base);
	close(fd);
}

/* Whether its path ends so. */
static bool is_named(int fd, const char *end)
{
	char path[PATH_MAX];
	size_t n;

	path_of(fd, path);
	n = strlen(path);
	return n >= strlen(end) && !strcmp(path + n - strlen(end), end);
}

static void record_write(int fd, const void *data, size_t len, int64_t at)
{
	struct change *c = recorded(WRITE);

	c->node = node_by_fd(fd);
	c->at = at;
	c->len = (int64_t)len;
	c->data = malloc(MAX(len, (size_t)1));
	if (!c->data)
		abort();
	memcpy(c->data, data, len);
}

void disk_note(int what)
{
	if (disk.mode == DISK_RECORD)
		recorded(NOTE)->at = what;
}

size_t disk_recorded(void)
{
	return disk.n;
}

size_t disk_beyond(void)
{
	return disk.beyond;
}

int disk_noted(size_t before)
{
	while (before-- > 0)
		if (disk.record[before].kind == NOTE)
			return (int)disk.record[before].at;
	return -1;
}

void disk_forget(void)
{
	for (size_t i = 0; i < disk.n; i++)
		free(disk.record[i].data);
	free(disk.record);
	disk.record = NULL;
	disk.n = disk.cap = 0;
}

/* The calls themselves. */
struct write_call {
	int fd;
	const void *data;
	size_t len;
	off_t at; /* -1: where the file is */
};

static void half_a_write(void *arg)
{
	const struct write_call *w = arg;
	ssize_t n = w->at < 0 ? REAL(write)(w->fd, w->data, w->len / 2)
			      : REAL(pwrite)(w->fd, w->data, w->len / 2, w->at);

	(void)n;
}

static ssize_t any_write(int fd, const void *data, size_t len, off_t at)
{
	struct write_call w = {fd, data, len, at};
	off_t begin = at;
	struct stat st;
	ssize_t n;

	if (!counting(CHANGES) || !below(fd))
		return at < 0 ? REAL(write)(fd, data, len) : REAL(pwrite)(fd, data, len, at);
	if (struck(half_a_write, &w))
		return -1;
	if (at < 0)
		begin = lseek(fd, 0, SEEK_CUR);
	if (disk.mode == DISK_RECORD && fstat(fd, &st) == 0 && begin + (off_t)len > st.st_size && !is_named(fd, "-shm"))
		disk.beyond++;
	n = at < 0 ? REAL(write)(fd, data, len) : REAL(pwrite)(fd, data, len, at);
	if (n > 0 && disk.mode == DISK_RECORD)
		record_write(fd, data, (size_t)n, begin);
	return n;
}

ssize_t write(int fd, const void *data, size_t len)
{
	return any_write(fd, data, len, -1);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	return any_write(fd, data, len, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
	return any_write(fd, data, len, at);
}

ssize_t read(int fd, void *data, size_t len)
{
	return counting(READS) && below(fd) && struck(NULL, NULL) ? -1 : REAL(read)(fd, data, len);
}

ssize_t pread(int fd, void *data, size_t len, off_t at)
{
	return counting(READS) && below(fd) && struck(NULL, NULL) ? -1 : REAL(pread)(fd, data, len, at);
}

ssize_t pread64(int fd, void *data, size_t len, off64_t at)
{
	return counting(READS) && below(fd) && struck(NULL, NULL) ? -1 : REAL(pread64)(fd, data, len, at);
}

struct dirent *readdir(DIR *dir)
{
	return counting(READS) && below(dirfd(dir)) && struck(NULL, NULL) ? NULL : REAL(readdir)(dir);
}

struct dirent64 *readdir64(DIR *dir)
{
	return counting(READS) && below(dirfd(dir)) && struck(NULL, NULL) ? NULL : REAL(readdir64)(dir);
}

static int any_sync(int fd)
{
	int r;

	if (!counting(CHANGES) || !below(fd))
		return REAL(fsync)(fd);
	if (struck(NULL, NULL))
		return -1;
	if (disk.mode != DISK_RECORD)
		return REAL(fsync)(fd);
	r = 0; /* what it would have made durable is in the record */
	recorded(SYNC)->node = node_by_fd(fd);
	return r;
}

int fsync(int fd)
{
	return any_sync(fd);
}

int fdatasync(int fd)
{
	return any_sync(fd);
}

static int any_truncate(int fd, off_t size)
{
	int r;

	if (!counting(CHANGES) || !below(fd))
		return REAL(ftruncate)(fd, size);
	if (struck(NULL, NULL))
		return -1;
	r = REAL(ftruncate)(fd, size);
	if (r == 0 && disk.mode == DISK_RECORD) {
		struct change *c = recorded(TRUNCATE);

		c->node = node_by_fd(fd);
		c->len = size;
	}
	return r;
}

int ftruncate(int fd, off_t size)
{
	return any_truncate(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
	return any_truncate(fd, size);
}

static int any_open(int dir_fd, const char *path, int flags, mode_t mode)
{
	bool makes = flags & O_CREAT, was;
	struct stat st;
	int fd;

	if (!makes && counting(READS) && named_below(dir_fd, path) && struck(NULL, NULL))
		return -1;
	if (!makes || !counting(CHANGES) || !named_below(dir_fd, path))
		return REAL(openat)(dir_fd, path, flags, mode);
	was = REAL(faccessat)(dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	if (struck(NULL, NULL))
		return -1;
	fd = REAL(openat)(dir_fd, path, flags, mode);
	if (fd >= 0 && !was && disk.mode == DISK_RECORD && fstat(fd, &st) == 0)
		record_named(MAKE_FILE, dir_fd, path, new_node(st.st_ino));
	return fd;
}

#define MODE_OF(flags)                                                                             \
	mode_t mode = 0;                                                                           \
	if ((flags)&O_CREAT) {                                                                     \
		va_list ap;                                                                        \
		va_start(ap, flags);                                                               \
		mode = va_arg(ap, mode_t);                                                         \
		va_end(ap);                                                                        \
	}

int open(const char *path, int flags, ...)
{
	MODE_OF(flags)
	return any_open(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	MODE_OF(flags)
	return any_open(AT_FDCWD, path, flags, mode);
}

int openat(int dir_fd, const char *path, int flags, ...)
{
	MODE_OF(flags)
	return any_open(dir_fd, path, flags, mode);
}

int openat64(int dir_fd, const char *path, int flags, ...)
{
	MODE_OF(flags)
	return any_open(dir_fd, path, flags, mode);
}

static int any_mkdir(int dir_fd, const char *path, mode_t mode)
{
	int r;

	if (!counting(CHANGES) || !named_below(dir_fd, path))
		return REAL(mkdirat)(dir_fd, path, mode);
	if (struck(NULL, NULL))
		return -1;
	r = REAL(mkdirat)(dir_fd, path, mode);
	if (r == 0 && disk.mode == DISK_RECORD) {
		struct stat st;

		fstatat(dir_fd, path, &st, 0);
		record_named(MAKE_DIR, dir_fd, path, new_node(st.st_ino));
	}
	return r;
}

int mkdir(const char *path, mode_t mode)
{
	return any_mkdir(AT_FDCWD, path, mode);
}

int mkdirat(int dir_fd, const char *path, mode_t mode)
{
	return any_mkdir(dir_fd, path, mode);
}

static int any_unlink(int dir_fd, const char *path, int flags)
{
	struct stat st;
	int r;

	if (!counting(CHANGES) || fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		!named_below(dir_fd, path))
		return REAL(unlinkat)(dir_fd, path, flags);
	if (struck(NULL, NULL))
		return -1;
	r = REAL(unlinkat)(dir_fd, path, flags);
	if (r == 0 && disk.mode == DISK_RECORD)
		record_named(UNLINK, dir_fd, path, node_by_inode(st.st_ino));
	return r;
}

int unlink(const char *path)
{
	return any_unlink(AT_FDCWD, path, 0);
}

int unlinkat(int dir_fd, const char *path, int flags)
{
	return any_unlink(dir_fd, path, flags);
}

static int any_rename(int dir_fd, const char *path, int to_fd, const char *to)
{
	struct stat st;
	int r;

	if (!counting(CHANGES) || fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		!named_below(dir_fd, path))
		return REAL(renameat)(dir_fd, path, to_fd, to);
	if (struck(NULL, NULL))
		return -1;
	r = REAL(renameat)(dir_fd, path, to_fd, to);
	if (r == 0 && disk.mode == DISK_RECORD) {
		const char *base;
		int fd = open_parent(to_fd, to, &base);
		struct change *c;

		record_named(RENAME, dir_fd, path, node_by_inode(st.st_ino));
		c = &disk.record[disk.n - 1];
		c->to_dir = node_by_fd(fd);
		snprintf(c->to, sizeof(c->to), "%s", base);
		close(fd);
	}
	return r;
}

int rename(const char *path, const char *to)
{
	return any_rename(AT_FDCWD, path, AT_FDCWD, to);
}

int renameat(int dir_fd, const char *path, int to_fd, const char *to)
{
	return any_rename(dir_fd, path, to_fd, to);
}

/* Memory. */
void disk_arm_memory(long at, bool for_ever)
{
	memory.count = 0;
	memory.at = at;
	memory.for_ever = for_ever;
}

#if !SANITIZED
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

static bool starved(void)
{
	long n = disk.paused ? memory.count : ++memory.count;

	if (disk.paused || !memory.at || n < memory.at || (n > memory.at && !memory.for_ever))
		return false;
	disk.hit = true;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	return starved() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return starved() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return starved() ? NULL : __libc_realloc(p, n);
}
#endif

/* The disk after a loss: what is known of each node, now and durably. */
struct names {
	struct {
		char name[NAME_MAX + 1];
		int node;
	} *v; /* owned */
	size_t n;
};

struct bytes {
	uint8_t *v; /* owned */
	int64_t n;
};

struct node {
	bool is_dir;
	struct bytes now, durable;
	struct names names, durable_names;
};

struct image {
	struct node node[NODES_MAX];
	enum disk_loss loss;
	struct rng rng;
};

static void resize(struct bytes *b, int64_t n)
{
	if (n > b->n) {
		b->v = realloc(b->v, (size_t)n);
		if (!b->v)
			abort();
		memset(b->v + b->n, 0, (size_t)(n - b->n));
	}
	b->n = n;
}

static void copy_bytes(struct bytes *to, const struct bytes *from)
{
	to->n = 0;
	resize(to, from->n);
	if (from->n)
		memcpy(to->v, from->v, (size_t)from->n);
}

static void put_bytes(struct bytes *b, const uint8_t *data, int64_t len, int64_t at)
{
	resize(b, MAX(b->n, at + len));
	memcpy(b->v + at, data, (size_t)len);
}

static void drop_name(struct names *d, const char *name)
{
	for (size_t i = 0; i < d->n; i++)
		if (!strcmp(d->v[i].name, name)) {
			d->v[i] = d->v[--d->n];
			return;
		}
}

static void set_name(struct names *d, const char *name, int node)
{
	drop_name(d, name);
	d->v = reallocarray(d->v, d->n + 1, sizeof(*d->v));
	if (!d->v)
		abort();
	snprintf(d->v[d->n].name, sizeof(d->v[d->n].name), "%s", name);
	d->v[d->n++].node = node;
}

static void copy_names(struct names *to, const struct names *from)
{
	to->n = 0;
	for (size_t i = 0; i < from->n; i++)
		set_name(to, from->v[i].name, from->v[i].node);
}

/* Half of the sectors of a write arrive without a sync. */
static void tear(struct image *im, struct bytes *b, const struct change *c)
{
	for (int64_t i = 0; i < c->len; i += SECTOR)
		if (rng_below(&im->rng, 2))
			put_bytes(b, c->data + i, MIN((int64_t)SECTOR, c->len - i), c->at + i);
}

static void change_names(const struct change *c, struct names *dir, struct names *to_dir)
{
	if (c->kind == MAKE_FILE || c->kind == MAKE_DIR)
		set_name(dir, c->name, c->node);
	else
		drop_name(dir, c->name);
	if (c->kind == RENAME)
		set_name(to_dir, c->to, c->node);
}

static void play(struct image *im, const struct change *c)
{
	struct node *n = &im->node[c->node], *dir = &im->node[c->dir], *to = &im->node[c->to_dir];

	switch (c->kind) {
	case WRITE:
		put_bytes(&n->now, c->data, c->len, c->at);
		if (im->loss == LOSS_TORN)
			tear(im, &n->durable, c);
		break;
	case TRUNCATE:
		resize(&n->now, c->len);
		break;
	case SYNC:
		copy_bytes(&n->durable, &n->now);
		copy_names(&n->durable_names, &n->names);
		break;
	case MAKE_DIR:
	case MAKE_FILE:
	case RENAME:
	case UNLINK:
		n->is_dir = n->is_dir || c->kind == MAKE_DIR;
		change_names(c, &dir->names, &to->names);
		if (im->loss == LOSS_TORN && rng_below(&im->rng, 2))
			change_names(c, &dir->durable_names, &to->durable_names);
		break;
	case NOTE:
		break;
	}
}

static void write_out(const char *path, const struct bytes *b)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0640);

	if (fd < 0 || (b->n && write(fd, b->v, (size_t)b->n) != (ssize_t)b->n))
		abort();
	close(fd);
}

static void lay_out(const struct image *im, int dir, const char *path)
{
	bool names_kept = im->loss == LOSS_NONE || im->loss == LOSS_BYTES;
	const struct node *d = &im->node[dir];
	const struct names *names = names_kept ? &d->names : &d->durable_names;

	for (size_t i = 0; i < names->n; i++) {
		const struct node *n = &im->node[names->v[i].node];
		char at[PATH_MAX];

		snprintf(at, sizeof(at), "%s/%s", path, names->v[i].name);
		if (!n->is_dir) {
			write_out(at, im->loss == LOSS_NONE ? &n->now : &n->durable);
			continue;
		}
		if (mkdir(at, 0750) < 0)
			abort();
		lay_out(im, names->v[i].node, at);
	}
}

void disk_after_loss(size_t changes, enum disk_loss loss, uint64_t seed, const char *dir)
{
	bool paused = disk_pause(true);
	struct image *im = calloc(1, sizeof(*im));

	if (!im)
		abort();
	im->loss = loss;
	rng_init(&im->rng, seed);
	im->node[0].is_dir = true;
	for (size_t i = 0; i < changes; i++)
		play(im, &disk.record[i]);
	lay_out(im, 0, dir);
	for (int i = 0; i < NODES_MAX; i++) {
		free(im->node[i].now.v);
		free(im->node[i].durable.v);
		free(im->node[i].names.v);
		free(im->node[i].durable_names.v);
	}
	free(im);
	disk_pause(paused);
}

/*
 * Preloaded into a program: LARDER_DISK_DIR is the path, LARDER_DISK_KILL or LARDER_DISK_TEAR the change at
 * which it is killed; LARDER_DISK_FAIL=ERRNO:FROM the change from which on each fails. Not in workers and
 * trainers, whose sandbox forbids what it takes to find a file's name.
 */
__attribute__((constructor)) static void arm_preloaded(void)
{
	const char *dir = getenv("LARDER_DISK_DIR"), *kill_at = getenv("LARDER_DISK_KILL");
	const char *tear_at = getenv("LARDER_DISK_TEAR"), *fail = getenv("LARDER_DISK_FAIL");
	char line[4096] = "";
	int fd = dir ? REAL(openat)(AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof(line) - 1);

	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < n; i += (ssize_t)strlen(line + i) + 1)
		if (!strcmp(line + i, "--worker") || !strcmp(line + i, "--trainer"))
			return;
	if (n <= 0)
		return;
	if (fail) {
		disk_error(atoi(fail), true);
		disk_arm(dir, DISK_FAIL, atol(strchr(fail, ':') ? strchr(fail, ':') + 1 : "1"));
	} else if (tear_at) {
		disk_arm(dir, DISK_TEAR, atol(tear_at));
	} else {
		disk_arm(dir, kill_at ? DISK_KILL : DISK_COUNT, kill_at ? atol(kill_at) : 0);
	}
}
