#include "daemon/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/io.h"
#include "common/log.h"
#include "daemon/store.h"
#include "daemon/walk.h"

#define SLICE_US      2000		/* of a scan or a count between other events */
#define COUNT_RESTS   20		/* times what it took: then what is waiting is counted again */
#define RESCAN_MS     (5 * 60 * 1000)	/* with inotify: only to make sure */
#define POLL_MS	      2000		/* without it, or where it does not tell all */
#define CLOCK_NAME    ".larder-clock"	/* in the spool for a moment */
#define CLOCK_HOLDS_US (60 * US_PER_SEC)
#define CLOCK_GRAIN_US (2 * US_PER_SEC) /* FAT's */
#define PARENT_MASK   (IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR)
#define WATCH_MASK    (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct watch {
	int wd;
	char *path; /* of the directory, relative; "" is the spool; owned */
};

struct spool {
	uv_loop_t *loop;
	char path[CONFIG_PATH_MAX];
	bool absolute; /* are the paths that others get */
	int fd, inotify; /* owned; fd stays the same number whatever directory it is */
	int parent;	 /* watch of the directory above; -1: none */
	uv_poll_t poll;
	uv_timer_t timer;
	uv_idle_t soon;
	int64_t settle_us, overflows;
	bool scanning_soon, closed, lost; /* lost: the directory itself went away */
	bool watches_short, blind; /* said */
	bool remote;		   /* changed by others, too: see io_is_remote() */
	int64_t ahead_us, ahead_until_us; /* its clock of ours, and how long that holds */
	struct walk walk;	   /* of a scan, while it is under way */
	char waiting[STORE_PATH_MAX]; /* found by it, while there is no room; "": none */
	int64_t next_us;	   /* after it, unless... */
	bool scan_again;	   /* ...something came that it may have passed */
	struct walk count_walk;
	int64_t counting, counted; /* by it so far; by the last one, -1: none */
	int64_t counting_us, counted_until_us; /* what it has taken; how long the last one's count holds */
	bool stirred; /* a capture was seen since the count began */
	spool_fn fn;
	void *user;
	struct watch *watch; /* owned */
	size_t n_watches;
};

static void arm_scan(struct spool *s, int64_t ms);
static void scan_soon(struct spool *s);

static bool join(const char *dir, const char *name, char ret[STORE_PATH_MAX])
{
	int n = snprintf(ret, STORE_PATH_MAX, "%s%s%s", dir, dir[0] ? "/" : "", name);

	return n > 0 && n < STORE_PATH_MAX;
}

static int open_below(const struct spool *s, const char *dir)
{
	return openat(s->fd, dir[0] ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
}

static void forget_watches(struct spool *s)
{
	for (size_t i = 0; i < s->n_watches; i++) {
		inotify_rm_watch(s->inotify, s->watch[i].wd);
		free(s->watch[i].path);
	}
	s->n_watches = 0;
	s->watches_short = false;
}

/* Where a watch is, or would be: they are in the order of their descriptors. */
static size_t place_of(const struct spool *s, int wd)
{
	size_t low = 0, high = s->n_watches;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (s->watch[middle].wd < wd)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct watch *find_watch(const struct spool *s, int wd)
{
	size_t at = place_of(s, wd);

	return at < s->n_watches && s->watch[at].wd == wd ? &s->watch[at] : NULL;
}

static void drop_watch(struct spool *s, struct watch *w)
{
	size_t at = (size_t)(w - s->watch);

	free(w->path);
	memmove(w, w + 1, (--s->n_watches - at) * sizeof(*w));
}

/* Notes what a watch is of; a directory that is known by another name has been renamed. */
static int note_watch(struct spool *s, int wd, const char *dir)
{
	struct watch *w = find_watch(s, wd), *all;
	char *path;
	size_t at;

	if (w && !strcmp(w->path, dir))
		return 0;
	path = strdup(dir);
	if (w && path) {
		free(w->path);
		w->path = path;
		return 0;
	}
	all = path ? realloc(s->watch, (s->n_watches + 1) * sizeof(*all)) : NULL;
	if (!all) {
		free(path);
		return -ENOMEM;
	}
	s->watch = all;
	at = place_of(s, wd);
	memmove(all + at + 1, all + at, (s->n_watches++ - at) * sizeof(*all));
	all[at] = (struct watch){wd, path};
	return 0;
}

/* Watches the very directory of the spool that is open, or looks at it again soon where that cannot be. */
static void watch_open(struct spool *s, const char *dir, int fd)
{
	char proc[64];
	int wd, r;

	if (s->inotify < 0)
		return;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	wd = inotify_add_watch(s->inotify, proc, WATCH_MASK);
	r = wd < 0 ? -errno : note_watch(s, wd, dir);
	if (r == 0)
		return;
	if (!s->watches_short)
		log_warn("no inotify watch for '%s': %s; what has none is scanned every %d s", dir,
			r == -ENOSPC ? "fs.inotify.max_user_watches is used up" : strerror(-r), POLL_MS / 1000);
	s->watches_short = true;
	arm_scan(s, POLL_MS);
}

static void watch_dir(struct spool *s, const char *dir)
{
	_cleanup_close_ int fd = s->inotify < 0 ? -1 : open_below(s, dir);

	if (fd >= 0)
		watch_open(s, dir, fd);
}

/* How far ahead of ours the clock is that files are dated by, maybe another machine's: a new file tells. */
static int64_t clock_ahead_us(struct spool *s)
{
	int64_t now = clock_steady_us();
	struct stat st;
	int fd;

	if (!s->remote || now < s->ahead_until_us)
		return s->ahead_us;
	s->ahead_until_us = now + CLOCK_HOLDS_US;
	s->ahead_us = 0;
	unlinkat(s->fd, CLOCK_NAME, 0);
	fd = openat(s->fd, CLOCK_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0)
		s->ahead_us = clock_us_of(st.st_ctim) - clock_wall_us();
	close(fd);
	unlinkat(s->fd, CLOCK_NAME, 0);
	return s->ahead_us;
}

static int64_t age_us(struct spool *s, const struct stat *st)
{
	int64_t age = clock_wall_us() + clock_ahead_us(s) - clock_us_of(st->st_ctim);

	return age < -CLOCK_GRAIN_US ? INT64_MAX : MAX(age, 0); /* the clock was set back: do not wait for it */
}

/* Said once until it can be looked at again: soon where that should pass by itself. */
static void cannot_look(struct spool *s, const char *dir, int error)
{
	if (error == ENOENT || error == ENOTDIR || error == ELOOP) /* it has just gone, or is a link */
		return;
	if (!s->blind)
		log_error("cannot look into '%s/%s': %s; will try again", s->path, dir, strerror(error));
	s->blind = true;
	s->next_us = MIN(s->next_us, (error == EACCES || error == EPERM ? 60 : 5) * US_PER_SEC);
}

/* By the name that others know it by. */
static bool give(struct spool *s, const char *path)
{
	char full[STORE_PATH_MAX];

	s->stirred = true;
	if (join(s->absolute ? s->path : "", path, full))
		return s->fn(s->user, full);
	cannot_look(s, path, ENAMETOOLONG);
	return true;
}

/* Offers what is ready; false when the receiver has no room for it. */
static bool offer(struct spool *s, const char *path, int dir, const char *name)
{
	struct stat st;
	int64_t age;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return true;
	age = age_us(s, &st);
	if (age < s->settle_us) {
		s->stirred = true;
		s->next_us = MIN(s->next_us, s->settle_us - age);
		return true;
	}
	return give(s, path);
}

/* Where the last part of the path begins. */
static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Whether the path still leads to the directory that is open. It is kept open, so no event tells. */
static bool in_place(const struct spool *s)
{
	struct stat open_one, named;

	return fstat(s->fd, &open_one) == 0 && stat(s->path, &named) == 0 &&
		open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

static void check_place(struct spool *s)
{
	if (s->lost || in_place(s))
		return;
	log_warn("spool %s has gone; waiting for it to come back", s->path);
	s->lost = true;
}

static void watch_parent(struct spool *s)
{
	char above[CONFIG_PATH_MAX + 4];

	snprintf(above, sizeof(above), "%.*s.", (int)(base_of(s->path) - s->path), s->path);
	s->parent = s->inotify < 0 ? -1 : inotify_add_watch(s->inotify, above, PARENT_MASK);
}

/* What kind of directory it is. */
static void find_out(struct spool *s)
{
	s->remote = io_is_remote(s->fd);
	s->ahead_us = s->ahead_until_us = 0;
	if (s->remote)
		log_notice("spool %s is on a network or of a program (NFS, SMB, FUSE): looked at every %d s",
			s->path, POLL_MS / 1000);
}

/* Others hold the descriptor's number: the new directory takes it over. */
static void reopen(struct spool *s)
{
	int fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool same = fd >= 0 && dup3(fd, s->fd, O_CLOEXEC) >= 0;

	if (fd >= 0)
		close(fd);
	if (!same)
		return;
	walk_end(&s->count_walk); /* it was another directory */
	s->counted = -1;
	forget_watches(s);
	watch_parent(s);
	s->lost = false;
	log_notice("spool %s is back", s->path);
	find_out(s);
}

static int64_t pause_us(const struct spool *s)
{
	return (s->inotify < 0 || s->remote || s->lost ? POLL_MS : RESCAN_MS) * US_PER_MS;
}

/* The next piece of the walk: to its end, for so long, or until there is no room. True when it ended. */
static bool scan_on(struct spool *s)
{
	int64_t end = clock_steady_us() + SLICE_US;

	if (s->waiting[0]) {
		const char *name;
		_cleanup_close_ int dir = io_open_parent(s->fd, s->waiting, &name);

		if (dir >= 0 && !offer(s, s->waiting, dir, name))
			return false;
		s->waiting[0] = '\0';
	}
	for (int n = 1;; n++) {
		switch (walk_next(&s->walk, s->fd)) {
		case WALK_DIRECTORY:
			watch_open(s, s->walk.path, s->walk.dir_fd);
			break;
		case WALK_UNREADABLE:
			cannot_look(s, s->walk.path, s->walk.error);
			break;
		case WALK_ENTRY:
			if (!offer(s, s->walk.path, s->walk.dir_fd, s->walk.name)) {
				snprintf(s->waiting, sizeof(s->waiting), "%s", s->walk.path);
				return false; /* spool_rescan() goes on here */
			}
			break;
		case WALK_END:
			return true;
		}
		if (n % 16 == 0 && clock_steady_us() > end) {
			scan_soon(s);
			return false;
		}
	}
}

static void begin_scan(struct spool *s)
{
	check_place(s);
	if (s->lost)
		reopen(s);
	s->next_us = pause_us(s);
	s->scan_again = false;
}

static void scan(struct spool *s)
{
	if (!walk_begun(&s->walk))
		begin_scan(s);
	if (s->lost) {
		arm_scan(s, s->next_us / US_PER_MS + 1);
		return;
	}
	if (!scan_on(s)) {
		arm_scan(s, pause_us(s) / US_PER_MS); /* should nobody say that there is room */
		return;
	}
	if (s->next_us == pause_us(s))
		s->blind = false;
	if (s->scan_again)
		scan_soon(s);
	else
		arm_scan(s, s->next_us / US_PER_MS + 1);
}

static void on_soon(uv_idle_t *h)
{
	struct spool *s = h->data;

	uv_idle_stop(h);
	s->scanning_soon = false;
	scan(s);
}

static void scan_soon(struct spool *s)
{
	if (s->scanning_soon || s->closed)
		return;
	s->scanning_soon = true;
	uv_idle_start(&s->soon, on_soon);
}

static void on_timer(uv_timer_t *t)
{
	struct spool *s = t->data;

	s->scan_again |= walk_begun(&s->walk); /* what it was wanted for may have been passed */
	scan(s);
}

/* The next scan in ms, unless an earlier one is due. */
static void arm_scan(struct spool *s, int64_t ms)
{
	if (s->closed)
		return;
	if (uv_is_active((uv_handle_t *)&s->timer) && (int64_t)uv_timer_get_due_in(&s->timer) <= ms)
		return;
	uv_timer_start(&s->timer, on_timer, (uint64_t)ms, 0);
}

void spool_rescan(struct spool *s)
{
	if (walk_begun(&s->walk))
		s->scan_again = true; /* it may have passed what is new */
	scan_soon(s);
}

void spool_resume(struct spool *s)
{
	scan_soon(s);
}

void spool_retry(struct spool *s, int64_t ms)
{
	arm_scan(s, ms);
}

static void on_event(struct spool *s, const struct inotify_event *e)
{
	char path[STORE_PATH_MAX];
	struct watch *w;

	if (e->mask & IN_Q_OVERFLOW) {
		s->overflows++;
		spool_rescan(s);
		return;
	}
	if (e->wd == s->parent) {
		if (e->len && !strcmp(e->name, base_of(s->path)))
			spool_rescan(s);
		return;
	}
	w = find_watch(s, e->wd);
	if (!w)
		return;
	if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) {
		if (!w->path[0])
			spool_rescan(s);
		drop_watch(s, w);
		return;
	}
	if (!e->len || !walk_is_capture_name(e->name) || !join(w->path, e->name, path))
		return;
	if (e->mask & IN_ISDIR) {
		watch_dir(s, path);
		spool_rescan(s); /* files may have come before the watch */
	} else if (e->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) {
		if (!give(s, path)) /* for want of room: the scan that follows finds it */
			s->scan_again = true;
	} else {
		arm_scan(s, s->settle_us / US_PER_MS + 10); /* made by link, mknod, symlink: no close comes */
	}
}

static void on_readable(uv_poll_t *h, int status, int events)
{
	struct spool *s = h->data;
	_Alignas(struct inotify_event) char buf[16384];
	ssize_t n;

	(void)events;
	if (status < 0)
		return;
	n = read(s->inotify, buf, sizeof(buf));
	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *e = (const struct inotify_event *)(buf + at);

		on_event(s, e);
		at += (ssize_t)(sizeof(*e) + e->len);
	}
}

int spool_open(uv_loop_t *loop, const char *path, bool absolute, int64_t settle_us, spool_fn fn,
	void *user, struct spool **ret, char error[256])
{
	struct spool *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->fd = io_open_dir(AT_FDCWD, path);
	if (s->fd < 0) {
		int r = s->fd;

		snprintf(error, 256, "spool %s: %s", path, strerror(-r));
		free(s);
		return r;
	}
	snprintf(s->path, sizeof(s->path), "%s", path);
	for (size_t n = strlen(s->path); n > 1 && s->path[n - 1] == '/'; n--)
		s->path[n - 1] = '\0';
	s->absolute = absolute;
	s->loop = loop;
	s->settle_us = settle_us;
	s->counted = -1;
	s->fn = fn;
	s->user = user;
	s->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	uv_timer_init(loop, &s->timer);
	uv_idle_init(loop, &s->soon);
	s->timer.data = s->soon.data = s->poll.data = s;
	if (s->inotify < 0) {
		log_warn("no inotify (%s): the spool is scanned every %d s", strerror(errno), POLL_MS / 1000);
	} else {
		uv_poll_init(loop, &s->poll, s->inotify);
		uv_poll_start(&s->poll, UV_READABLE, on_readable);
	}
	find_out(s);
	watch_dir(s, "");
	watch_parent(s);
	spool_rescan(s);
	*ret = s;
	return 0;
}

void spool_set_settle(struct spool *s, int64_t settle_us)
{
	if (s->settle_us == settle_us)
		return;
	s->settle_us = settle_us;
	spool_rescan(s); /* what waits may have waited enough */
}

void spool_stop(struct spool *s)
{
	s->closed = true;
	uv_close((uv_handle_t *)&s->timer, NULL);
	uv_close((uv_handle_t *)&s->soon, NULL);
	if (s->inotify >= 0)
		uv_close((uv_handle_t *)&s->poll, NULL);
}

void spool_free(struct spool *s)
{
	if (!s)
		return;
	walk_end(&s->walk);
	walk_end(&s->count_walk);
	for (size_t i = 0; i < s->n_watches; i++)
		free(s->watch[i].path);
	free(s->watch);
	close_fd(&s->inotify);
	close_fd(&s->fd);
	free(s);
}

const char *spool_path(const struct spool *s)
{
	return s->path;
}

int spool_dir_fd(const struct spool *s)
{
	return s->fd;
}

int64_t spool_clock_ahead_us(const struct spool *s)
{
	return s->ahead_us;
}

int64_t spool_overflows(const struct spool *s)
{
	return s->overflows;
}

bool spool_watching(const struct spool *s)
{
	return s->inotify >= 0 && !s->remote;
}

int64_t spool_count(struct spool *s)
{
	int64_t begin = clock_steady_us(), now;
	enum walk_step step = WALK_DIRECTORY;

	if (!walk_begun(&s->count_walk)) {
		if (s->counted >= 0 && begin < s->counted_until_us)
			return s->counted;
		s->counting = s->counting_us = 0;
		s->stirred = false;
	}
	for (int n = 1; step != WALK_END && (n % 16 || clock_steady_us() - begin < SLICE_US); n++) {
		step = walk_next(&s->count_walk, s->fd);
		s->counting += step == WALK_ENTRY;
	}
	now = clock_steady_us();
	s->counting_us += now - begin;
	if (step != WALK_END)
		return MAX(MAX(s->counted, s->counting), s->counted < 0 || s->stirred);
	s->counted = s->counting;
	s->counted_until_us = now + COUNT_RESTS * s->counting_us;
	return s->counted;
}
