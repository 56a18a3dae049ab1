/*
 * What a worker or a trainer that was taken over can do: each try is made from inside a sandboxed
 * child, as the system call itself, and must fail with EPERM.
 */
#include "daemon/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/macros.h"
#include "tests/unit/test.h"

#ifdef SYS_mmap2
#define MMAP SYS_mmap2
#else
#define MMAP SYS_mmap
#endif

struct attempt {
	const char *what;
	bool trainer_too; /* what a trainer needs, it may */
	long call, arg[6];
};

static char path[] = "/tmp/larder-sandbox-test", *const args[] = {path, NULL};

/* The pid of the test, which must not be hurt, is put where it says -1. */
static struct attempt attempts[] = {
	{"open a file", false, SYS_openat, {AT_FDCWD, (long)"/etc/passwd", O_RDONLY}},
	{"create a file", false, SYS_openat, {AT_FDCWD, (long)path, O_CREAT | O_WRONLY, 0600}},
	{"make a directory", true, SYS_mkdirat, {AT_FDCWD, (long)path, 0700}},
	{"make a fifo", true, SYS_mknodat, {AT_FDCWD, (long)path, S_IFIFO | 0600, 0}},
	{"remove a file", true, SYS_unlinkat, {AT_FDCWD, (long)path, 0}},
	{"rename a file", true, SYS_renameat2, {AT_FDCWD, (long)path, AT_FDCWD, (long)"/tmp/x", 0}},
	{"link a file", true, SYS_linkat, {AT_FDCWD, (long)path, AT_FDCWD, (long)"/tmp/x", 0}},
	{"change a mode", true, SYS_fchmodat, {AT_FDCWD, (long)path, 0777}},
	{"run a program", true, SYS_execve, {(long)"/bin/true", (long)args, 0}},
	{"run a program by descriptor", true, SYS_execveat,
		{AT_FDCWD, (long)"/bin/true", (long)args, 0, 0}},
	{"open a socket", true, SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
	{"open a network socket", true, SYS_socket, {AF_INET, SOCK_STREAM, 0}},
	{"trace the daemon", true, SYS_ptrace, {PTRACE_ATTACH, -1, 0, 0}},
	{"read the daemon's memory", true, SYS_process_vm_readv, {-1, 0, 0, 0, 0, 0}},
	{"kill the daemon", true, SYS_kill, {-1, SIGKILL}},
	{"kill a thread of the daemon", true, SYS_tgkill, {-1, -1, SIGKILL}},
	{"kill a thread, the old way", true, SYS_tkill, {-1, SIGKILL}},
	{"queue a signal", true, SYS_rt_sigqueueinfo, {-1, SIGKILL, 0}},
	{"get a handle of the daemon", true, SYS_pidfd_open, {-1, 0}},
	{"fork", false, SYS_clone, {SIGCHLD, 0, 0, 0, 0}},
	{"make a namespace", true, SYS_unshare, {0x10000000}},
	{"mount", true, SYS_mount, {(long)"none", (long)"/tmp", (long)"tmpfs", 0, 0}},
	{"use io_uring", true, SYS_io_uring_setup, {1, 0}},
	{"have executable memory", false, MMAP,
		{0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
};
#define ATTEMPTS ARRAY_SIZE(attempts)

/* In the child: writes one byte for each attempt, whether it was refused. */
static void try_all(int out, int (*enter)(void))
{
	char refused[ATTEMPTS];

	if (enter() < 0)
		_exit(1);
	if (mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		_exit(4); /* memory it may have */
	for (size_t i = 0; i < ATTEMPTS; i++) {
		const long *a = attempts[i].arg;
		long r = syscall(attempts[i].call, a[0], a[1], a[2], a[3], a[4], a[5]);

		if (r == 0 && attempts[i].call == SYS_clone)
			_exit(2); /* the child of a fork that was not to be */
		refused[i] = r < 0 && errno == EPERM;
	}
	_exit(write(out, refused, ATTEMPTS) == (ssize_t)ATTEMPTS ? 0 : 3);
}

static int enter_worker(void)
{
	return sandbox_worker(INT64_C(256) << 20);
}

static void check_role(int (*enter)(void), bool trainer)
{
	char refused[ATTEMPTS] = {0};
	int ends[2], status;
	pid_t child;

	CHECK(pipe(ends) == 0);
	child = fork();
	if (child == 0)
		try_all(ends[1], enter);
	close(ends[1]);
	CHECK(read(ends[0], refused, ATTEMPTS) == (ssize_t)ATTEMPTS);
	close(ends[0]);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK_INT(status, 0);
	for (size_t i = 0; i < ATTEMPTS; i++) {
		if (trainer && !attempts[i].trainer_too)
			continue;
		test_checks++;
		if (!refused[i]) {
			test_failures++;
			fprintf(stderr, "a %s can %s\n", trainer ? "trainer" : "worker",
				attempts[i].what);
		}
	}
}

/* What the kernel says of this process; as it is where it has no such file. */
static void ask_kernel(const char *file, char text[64])
{
	FILE *f = fopen(file, "re");

	if (f && !fgets(text, 64, f))
		text[0] = '\0';
	if (f)
		fclose(f);
}

/* In the child: whether it is idle for the scheduler, in a session of its own that is nice to others. */
static void try_way(void)
{
	char group[64] = "nice 19", oom[64] = "1000";

	make_way();
	if (sandbox_trainer() < 0)
		_exit(1);
	ask_kernel("/proc/self/autogroup", group);
	ask_kernel("/proc/self/oom_score_adj", oom);
	if (!strstr(group, "nice 19") || atoi(oom) != 1000)
		_exit(2);
	_exit(getsid(0) != getpid() ? 3 : sched_getscheduler(0) != SCHED_IDLE ? 4 : 0);
}

/* Two at once: the kernel lets one in a tenth of a second say how nice it is. */
static void test_way(void)
{
	pid_t child[2];
	int status;

	for (int i = 0; i < 2; i++) {
		child[i] = fork();
		if (child[i] == 0)
			try_way();
	}
	for (int i = 0; i < 2; i++) {
		CHECK(waitpid(child[i], &status, 0) == child[i]);
		CHECK_INT(status, 0);
	}
}

static void test_roles(void)
{
	for (size_t i = 0; i < ATTEMPTS; i++)
		for (int k = 0; k < 6; k++)
			if (attempts[i].arg[k] == -1 && attempts[i].call != MMAP)
				attempts[i].arg[k] = getpid();
	CHECK(ATTEMPTS > 20);
	if (SANITIZED) /* they need what the sandbox takes away */
		return;
	if (!has_seccomp())
		exit(77); /* skipped, to meson */
	unlink(path);
	check_role(enter_worker, false);
	CHECK(access(path, F_OK) < 0);
	check_role(sandbox_trainer, true); /* it may open files, which SQLite does */
	unlink(path);
	test_way();
}

TEST_MAIN(test_roles)
