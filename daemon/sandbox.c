#include "daemon/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <seccomp.h>

#include "common/macros.h"

#define LOAD_SEC	   10 /* a filter takes a millisecond */
#define NO_FILE		   UINT32_MAX /* -1: C libraries differ in what they leave in the upper half */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_CLASS_IDLE  (3 << 13)
#define AUTOGROUP_TRIES	   3	  /* the kernel takes one such change in a tenth of a second, anybody's */
#define AUTOGROUP_WAIT_US  110000
#define OOM_WORKER	   500
#define OOM_MOST	   1000

/* What a worker's computation needs: its pipes, memory, time, and a way to end. */
static const int worker_calls[] = {
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(close),
	SCMP_SYS(fstat), SCMP_SYS(lseek), SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap),
	SCMP_SYS(madvise), SCMP_SYS(futex), SCMP_SYS(sched_yield), SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday), SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(gettid),
	SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group),
#if __SIZEOF_POINTER__ == 4 /* what C libraries use there instead */
	SCMP_SYS(_llseek), SCMP_SYS(fstat64), SCMP_SYS(clock_gettime64), SCMP_SYS(futex_time64),
	SCMP_SYS(sigreturn),
#endif
};

#ifdef SYS_mmap2
#define MMAP SCMP_SYS(mmap2)
#else
#define MMAP SCMP_SYS(mmap)
#endif

/* What a trainer must never do; it does need files and threads. */
static const int trainer_denied[] = {
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(socket),
	SCMP_SYS(socketpair),
	SCMP_SYS(connect),
	SCMP_SYS(bind),
	SCMP_SYS(listen),
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(kill),
	SCMP_SYS(tkill),
	SCMP_SYS(rt_sigqueueinfo),
	SCMP_SYS(rt_tgsigqueueinfo),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(process_madvise),
	SCMP_SYS(memfd_create),
	SCMP_SYS(fork),
	SCMP_SYS(vfork),
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(chroot),
	SCMP_SYS(pivot_root),
	SCMP_SYS(setns),
	SCMP_SYS(unshare),
	SCMP_SYS(bpf),
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(reboot),
	SCMP_SYS(kexec_load),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(rename),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(unlink),
	SCMP_SYS(unlinkat),
	SCMP_SYS(rmdir),
	SCMP_SYS(mkdir),
	SCMP_SYS(mkdirat),
	SCMP_SYS(mknod),
	SCMP_SYS(mknodat),
	SCMP_SYS(creat),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchown),
	SCMP_SYS(lchown),
	SCMP_SYS(link),
	SCMP_SYS(linkat),
	SCMP_SYS(symlink),
	SCMP_SYS(symlinkat),
	SCMP_SYS(chmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(chown),
	SCMP_SYS(fchownat),
	SCMP_SYS(truncate),
};

/*
 * Where the kernel groups processes by session (autogroups, sched(7)), a policy or nice value counts
 * within the session alone, and the session gets as much as any other: so this gets one of its own,
 * and that is nice. Where it does not there is no such file.
 */
static void be_nice_group(void)
{
	if (setsid() < 0)
		return;
	for (int i = 0; i < AUTOGROUP_TRIES; i++) {
		_cleanup_close_ int fd = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);

		if (fd < 0 || write(fd, "19", 2) == 2 || errno != EAGAIN)
			return;
		usleep(AUTOGROUP_WAIT_US);
	}
}

/* Where memory is short the kernel ends this one, whose work is done again, rather than another program. */
static void be_expendable(int score)
{
	_cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char text[16] = "";

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0 || atoi(text) >= score)
		return;
	snprintf(text, sizeof(text), "%d", score);
	if (write(fd, text, strlen(text)) < 0)
		return; /* it goes on as others do */
}

void make_way(void)
{
	const struct sched_param param = {0};

	be_nice_group();
	if (sched_setscheduler(0, SCHED_IDLE, &param) < 0)
		(void)setpriority(PRIO_PROCESS, 0, 19);
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE);
	be_expendable(OOM_MOST);
}

static int common_limits(void)
{
	const struct rlimit none = {0, 0};

	be_expendable(OOM_WORKER);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == 1) /* the daemon died before that took hold; it never runs as our init */
		return -ESRCH;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	prctl(PR_SET_DUMPABLE, 0);
	setrlimit(RLIMIT_CORE, &none);
	return 0;
}

/* libseccomp 2.5 may not come back when memory is short: then the process ends, and is started again. */
static int load(scmp_filter_ctx ctx, int r)
{
	signal(SIGALRM, SIG_DFL);
	alarm(LOAD_SEC);
	if (r == 0)
		r = seccomp_load(ctx);
	signal(SIGALRM, SIG_IGN); /* the timer itself can no longer be reached */
	seccomp_release(ctx);
	return r;
}

/* Bytes of address space in use. */
static int64_t address_space(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long pages = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%ld", &pages) != 1)
		pages = 0;
	fclose(f);
	return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

int sandbox_worker(int64_t memory_max)
{
	scmp_filter_ctx ctx;
	struct rlimit memory, none = {0, 0};
	int r = common_limits();

	if (r < 0 || SANITIZED) /* sanitizers need /proc, threads and terabytes of addresses */
		return r;
	signal(SIGXFSZ, SIG_IGN); /* a log that is a file takes nothing from here; that is no crime */
	memory.rlim_cur = memory.rlim_max = (rlim_t)(address_space() + memory_max);
	if (setrlimit(RLIMIT_AS, &memory) < 0 || setrlimit(RLIMIT_FSIZE, &none) < 0 ||
		setrlimit(RLIMIT_NPROC, &none) < 0)
		return -errno;
	ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (!ctx)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(worker_calls); i++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, worker_calls[i], 0);
	/* Memory, but none that is executable and none from a file. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, MMAP, 2,
			SCMP_A2(SCMP_CMP_MASKED_EQ, 4, 0), SCMP_A4(SCMP_CMP_MASKED_EQ, NO_FILE, NO_FILE));
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, 4, 0));
	/* abort() ends itself only. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	return load(ctx, r);
}

int sandbox_trainer(void)
{
	scmp_filter_ctx ctx;
	int r = common_limits();

	if (r < 0)
		return r;
	if (SANITIZED)
		return 0;
	ctx = seccomp_init(SCMP_ACT_ALLOW);
	if (!ctx)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(trainer_denied); i++) {
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), trainer_denied[i], 0);
		if (r == -EDOM || r == -EINVAL) /* a call this architecture does not have */
			r = 0;
	}
	/* Signals to its own threads alone: abort() needs them. */
	if (r == 0)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(tgkill), 1,
			SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid()));
	return load(ctx, r);
}
