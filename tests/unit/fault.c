/*
 * A preloaded library that makes system calls fail in one role of larderd, and sets its clock:
 *
 *   LARDER_FAULT_ROLE	daemon, worker or trainer
 *   LARDER_FAULT_CALL	memory, read, write, open, spawn, map or watch
 *   LARDER_FAULT_ERRNO	the number that the call fails with (memory and map: ENOMEM)
 *   LARDER_FAULT_AT	which call of that kind, from 1, counted over all processes of the role
 *   LARDER_FAULT_MORE	how many fail from there on (1)
 *   LARDER_FAULT_COUNT	a file of 4 KiB that is shared: calls so far, and how many failed
 *   LARDER_CLOCK		a file of 4 KiB that is shared: seconds to be added to the wall clock, and to the one
 *			that goes on while the machine sleeps
 *   LARDER_SYS		a directory in the place of /sys: temperatures, batteries
 *   LARDER_SLOW_SYNC	milliseconds that each fsync and fdatasync takes longer
 *   LARDER_REMOTE	file systems are another machine's: NFS, inotify does not tell what is written there, and
 *			files are dated by a clock so many seconds ahead
 *   LARDER_SPEED		how many times as fast all clocks go, files' dates among them, and timers end
 *   LARDER_SPEED_FROM	the second since 1970 from which the wall clock does
 *
 * Reads and writes are those of files and sockets: what the event loop tells itself by (event descriptors, pipes
 * of its own) cannot fail. The log is left alone, so that what went wrong can be read.
 */
#undef _FILE_OFFSET_BITS /* both names of each call are meant */
#undef _TIME_BITS
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum kind { NONE, MEMORY, READ, WRITE, OPEN, SPAWN, MAP, WATCH };

static const char *const names[] = {"", "memory", "read", "write", "open", "spawn", "map", "watch"};

struct counts {
	_Atomic int64_t calls, failed;
};

static struct {
	enum kind kind;
	int error;
	long at, more;
	long slow_ms; /* each sync */
	bool remote;
	long ahead;
	long speed, speed_from;
	const char *sys;
	struct counts *counts; /* shared by all processes */
	_Atomic int64_t *clock; /* likewise */
} fault = {.speed = 1};

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

#ifdef SYS_mmap2 /* of 32 bits, where SYS_mmap and SYS_fstat are others */
#define MMAP SYS_mmap2
#define FSTAT SYS_fstat64
typedef struct stat64 stat_of_call;
#else
#define MMAP SYS_mmap
#define FSTAT SYS_fstat
typedef struct stat stat_of_call;
#endif

static void *shared(const char *variable)
{
	const char *name = getenv(variable);
	int fd = name ? (int)syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC, 0) : -1;
	void *p = fd < 0 ? MAP_FAILED
			 : (void *)syscall(MMAP, NULL, 4096L, PROT_READ | PROT_WRITE, MAP_SHARED, (long)fd, 0L);

	if (fd >= 0)
		syscall(SYS_close, fd);
	return p == MAP_FAILED ? NULL : p;
}

static bool is_role(const char *want)
{
	char line[4096] = "";
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/cmdline", O_RDONLY | O_CLOEXEC, 0);
	long n = fd < 0 ? 0 : syscall(SYS_read, fd, line, sizeof(line) - 1);
	const char *first = n > 0 ? line + strlen(line) + 1 : "";

	if (fd >= 0)
		syscall(SYS_close, fd);
	if (!strncmp(first, "--worker", 9) || !strncmp(first, "--trainer", 10) || !strncmp(first, "--hook", 7))
		return !strcmp(first + 2, want);
	return !strcmp(want, "daemon");
}

static long number(const char *variable, long otherwise)
{
	const char *text = getenv(variable);

	return text ? strtol(text, NULL, 10) : otherwise;
}

__attribute__((constructor)) static void begin(void)
{
	const char *role = getenv("LARDER_FAULT_ROLE"), *call = getenv("LARDER_FAULT_CALL");
	enum kind kind = NONE;

	fault.clock = shared("LARDER_CLOCK");
	fault.slow_ms = number("LARDER_SLOW_SYNC", 0);
	fault.sys = getenv("LARDER_SYS");
	fault.remote = getenv("LARDER_REMOTE");
	fault.ahead = number("LARDER_REMOTE", 0);
	fault.speed = number("LARDER_SPEED", 1);
	fault.speed_from = number("LARDER_SPEED_FROM", 0);
	if (!role || !call || !is_role(role))
		return;
	for (int k = 1; k <= WATCH; k++)
		if (!strcmp(names[k], call))
			kind = (enum kind)k;
	fault.at = number("LARDER_FAULT_AT", 0);
	fault.more = number("LARDER_FAULT_MORE", 1);
	fault.error = (int)number("LARDER_FAULT_ERRNO", EIO);
	fault.counts = shared("LARDER_FAULT_COUNT");
	fault.kind = fault.counts ? kind : NONE;
}

static bool hit(enum kind kind)
{
	long n;

	if (fault.kind != kind)
		return false;
	n = atomic_fetch_add(&fault.counts->calls, 1) + 1;
	if (n < fault.at || n >= fault.at + fault.more)
		return false;
	atomic_fetch_add(&fault.counts->failed, 1);
	errno = kind == MEMORY || kind == MAP ? ENOMEM : fault.error;
	return true;
}

/* errno stays what it is. */
static bool hit_on(enum kind kind, int fd)
{
	stat_of_call st;

	return fault.kind == kind && fd != STDERR_FILENO && syscall(FSTAT, fd, &st) == 0 &&
		(S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode)) && hit(kind);
}

void *malloc(size_t n)
{
	return hit(MEMORY) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return hit(MEMORY) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return hit(MEMORY) ? NULL : __libc_realloc(p, n);
}

/* The C library's own, found when it is first asked for. */
#define NEXT(type, name, ...)                                                                      \
	static type (*next)(__VA_ARGS__);                                                          \
	if (!next)                                                                                 \
		*(void **)&next = dlsym(RTLD_NEXT, #name)

ssize_t read(int fd, void *data, size_t n)
{
	NEXT(ssize_t, read, int, void *, size_t);
	return hit_on(READ, fd) ? -1 : next(fd, data, n);
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	NEXT(ssize_t, recvmsg, int, struct msghdr *, int);
	return hit_on(READ, fd) ? -1 : next(fd, m, flags);
}

ssize_t pread(int fd, void *data, size_t n, off_t at)
{
	NEXT(ssize_t, pread, int, void *, size_t, off_t);
	return hit_on(READ, fd) ? -1 : next(fd, data, n, at);
}

ssize_t pread64(int fd, void *data, size_t n, off64_t at)
{
	NEXT(ssize_t, pread64, int, void *, size_t, off64_t);
	return hit_on(READ, fd) ? -1 : next(fd, data, n, at);
}

ssize_t write(int fd, const void *data, size_t n)
{
	NEXT(ssize_t, write, int, const void *, size_t);
	return hit_on(WRITE, fd) ? -1 : next(fd, data, n);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	NEXT(ssize_t, writev, int, const struct iovec *, int);
	return hit_on(WRITE, fd) ? -1 : next(fd, v, n);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	NEXT(ssize_t, sendmsg, int, const struct msghdr *, int);
	return hit_on(WRITE, fd) ? -1 : next(fd, m, flags);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	NEXT(ssize_t, pwrite, int, const void *, size_t, off_t);
	return hit_on(WRITE, fd) ? -1 : next(fd, data, n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
	NEXT(ssize_t, pwrite64, int, const void *, size_t, off64_t);
	return hit_on(WRITE, fd) ? -1 : next(fd, data, n, at);
}

static void slow(void)
{
	if (fault.slow_ms)
		poll(NULL, 0, (int)fault.slow_ms);
}

int fsync(int fd)
{
	NEXT(int, fsync, int);
	slow();
	return hit_on(WRITE, fd) ? -1 : next(fd);
}

int fdatasync(int fd)
{
	NEXT(int, fdatasync, int);
	slow();
	return hit_on(WRITE, fd) ? -1 : next(fd);
}

static mode_t mode_of(int flags, va_list ap)
{
	return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

#define PATH_SIZE 1024

static const char *in_sys(const char *path, char other[PATH_SIZE])
{
	if (!fault.sys || strncmp(path, "/sys/", 5) != 0)
		return path;
	snprintf(other, PATH_SIZE, "%s%s", fault.sys, path + 4);
	return other;
}

DIR *opendir(const char *path)
{
	NEXT(DIR *, opendir, const char *);
	char other[PATH_SIZE];

	return next(in_sys(path, other));
}

#define OPEN_CALL(name)                                                                            \
	int name(const char *path, int flags, ...)                                                 \
	{                                                                                          \
		NEXT(int, name, const char *, int, ...);                                           \
		char other[PATH_SIZE];                                                             \
		va_list ap;                                                                        \
		mode_t mode;                                                                       \
		va_start(ap, flags);                                                               \
		mode = mode_of(flags, ap);                                                         \
		va_end(ap);                                                                        \
		return hit(OPEN) ? -1 : next(in_sys(path, other), flags, mode);                    \
	}
#define OPENAT_CALL(name)                                                                          \
	int name(int dir, const char *path, int flags, ...)                                        \
	{                                                                                          \
		NEXT(int, name, int, const char *, int, ...);                                      \
		va_list ap;                                                                        \
		mode_t mode;                                                                       \
		va_start(ap, flags);                                                               \
		mode = mode_of(flags, ap);                                                         \
		va_end(ap);                                                                        \
		return hit(OPEN) ? -1 : next(dir, path, flags, mode);                              \
	}
OPEN_CALL(open)
OPEN_CALL(open64)
OPENAT_CALL(openat)
OPENAT_CALL(openat64)

int accept4(int fd, struct sockaddr *a, socklen_t *n, int flags)
{
	NEXT(int, accept4, int, struct sockaddr *, socklen_t *, int);
	return hit(OPEN) ? -1 : next(fd, a, n, flags);
}

int socket(int domain, int type, int protocol)
{
	NEXT(int, socket, int, int, int);
	return hit(OPEN) ? -1 : next(domain, type, protocol);
}

int socketpair(int domain, int type, int protocol, int fds[2])
{
	NEXT(int, socketpair, int, int, int, int *);
	return hit(OPEN) ? -1 : next(domain, type, protocol, fds);
}

int pipe2(int fds[2], int flags)
{
	NEXT(int, pipe2, int *, int);
	return hit(OPEN) ? -1 : next(fds, flags);
}

int dup3(int from, int to, int flags)
{
	NEXT(int, dup3, int, int, int);
	return hit(OPEN) ? -1 : next(from, to, flags);
}

pid_t fork(void)
{
	NEXT(pid_t, fork, void);
	return hit(SPAWN) ? -1 : next();
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t offset)
{
	NEXT(void *, mmap, void *, size_t, int, int, int, off_t);
	return hit(MAP) ? MAP_FAILED : next(at, n, prot, flags, fd, offset);
}

void *mmap64(void *at, size_t n, int prot, int flags, int fd, off64_t offset)
{
	NEXT(void *, mmap64, void *, size_t, int, int, int, off64_t);
	return hit(MAP) ? MAP_FAILED : next(at, n, prot, flags, fd, offset);
}

int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	NEXT(int, inotify_add_watch, int, const char *, uint32_t);
	if (fault.remote)
		mask &= IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
	return hit(WATCH) ? -1 : next(fd, path, mask);
}

#define STATFS_CALL(name, type)                                                                    \
	int name(int fd, struct type *ret)                                                         \
	{                                                                                          \
		NEXT(int, name, int, struct type *);                                               \
		int r = next(fd, ret);                                                             \
		if (r == 0 && fault.remote)                                                        \
			ret->f_type = 0x6969;                                                      \
		return r;                                                                          \
	}
STATFS_CALL(fstatfs, statfs)
STATFS_CALL(fstatfs64, statfs64)

/* What a clock that goes LARDER_SPEED times as fast says, being right at the second "from" and before. */
static struct timespec fast(struct timespec t, time_t from)
{
	int64_t ns = (int64_t)t.tv_nsec * fault.speed;

	if (t.tv_sec < from)
		return t;
	return (struct timespec){.tv_sec = from + (t.tv_sec - from) * fault.speed + (time_t)(ns / 1000000000),
				 .tv_nsec = (long)(ns % 1000000000)};
}

static struct timespec dated(struct timespec t)
{
	t = fast(t, fault.speed_from);
	t.tv_sec += fault.ahead;
	return t;
}

#define FSTAT_CALL(name, type)                                                                     \
	int name(int fd, struct type *ret)                                                         \
	{                                                                                          \
		NEXT(int, name, int, struct type *);                                               \
		int r = next(fd, ret);                                                             \
		if (r == 0)                                                                        \
			ret->st_ctim = dated(ret->st_ctim);                                        \
		return r;                                                                          \
	}
#define FSTATAT_CALL(name, type)                                                                   \
	int name(int dir, const char *path, struct type *ret, int flags)                           \
	{                                                                                          \
		NEXT(int, name, int, const char *, struct type *, int);                            \
		int r = next(dir, path, ret, flags);                                               \
		if (r == 0)                                                                        \
			ret->st_ctim = dated(ret->st_ctim);                                        \
		return r;                                                                          \
	}
FSTAT_CALL(fstat, stat)
FSTAT_CALL(fstat64, stat64)
FSTATAT_CALL(fstatat, stat)
FSTATAT_CALL(fstatat64, stat64)

int clock_gettime(clockid_t which, struct timespec *ret)
{
	NEXT(int, clock_gettime, clockid_t, struct timespec *);
	int r = next(which, ret);
	bool wall = which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE;

	if (r < 0)
		return r;
	if (wall || which == CLOCK_BOOTTIME || which == CLOCK_MONOTONIC || which == CLOCK_MONOTONIC_COARSE)
		*ret = fast(*ret, wall ? fault.speed_from : 0);
	if (fault.clock && (which == CLOCK_REALTIME || which == CLOCK_BOOTTIME))
		ret->tv_sec += atomic_load(&fault.clock[which == CLOCK_BOOTTIME]);
	return r;
}

static int sooner(int ms)
{
	return ms > 0 ? (int)((ms + fault.speed - 1) / fault.speed) : ms;
}

int epoll_wait(int fd, struct epoll_event *events, int n, int ms)
{
	NEXT(int, epoll_wait, int, struct epoll_event *, int, int);
	return next(fd, events, n, sooner(ms));
}

int epoll_pwait(int fd, struct epoll_event *events, int n, int ms, const sigset_t *mask)
{
	NEXT(int, epoll_pwait, int, struct epoll_event *, int, int, const sigset_t *);
	return next(fd, events, n, sooner(ms), mask);
}
