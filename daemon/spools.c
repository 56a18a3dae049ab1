#include "daemon/spools.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/macros.h"

struct spools {
	int n, first; /* first: whose turn it is when room has come */
	int mounts;   /* tells when something is mounted, or no longer; -1: nothing does */
	uv_poll_t poll;
	struct {
		struct spool *spool; /* owned */
		char label[CONFIG_LABEL_MAX];
	} one[1 + CONFIG_SPOOLS_MAX];
};

/* A card that is put in, a network disk that comes back: perhaps in a spool, or in its place. */
static void on_mounts(uv_poll_t *h, int status, int events)
{
	struct spools *s = h->data;

	(void)status, (void)events;
	for (int i = 0; i < s->n; i++)
		spool_rescan(s->one[i].spool);
}

static void watch_mounts(struct spools *s, uv_loop_t *loop)
{
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (uv_poll_init(loop, &s->poll, fd) < 0) {
		close(fd);
		return;
	}
	s->mounts = fd;
	s->poll.data = s;
	uv_poll_start(&s->poll, UV_PRIORITIZED, on_mounts);
}

int spools_open(uv_loop_t *loop, const struct config *c, spool_fn fn, void *user, struct spools **ret,
	char error[256])
{
	struct spools *s = *ret = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->mounts = -1;
	for (int i = 0; i <= c->n_spools; i++) {
		const char *path = i ? c->more[i - 1].path : c->spool.path;
		int r = spool_open(
			loop, path, i > 0, c->spool.settle_us, fn, user, &s->one[i].spool, error);

		if (r < 0)
			return r;
		if (i)
			snprintf(s->one[i].label, sizeof(s->one[i].label), "%s", c->more[i - 1].label);
		s->n++;
	}
	watch_mounts(s, loop);
	return 0;
}

void spools_stop(struct spools *s)
{
	for (int i = 0; i < s->n; i++)
		spool_stop(s->one[i].spool);
	if (s->mounts >= 0)
		uv_close((uv_handle_t *)&s->poll, NULL);
}

void spools_free(struct spools *s)
{
	for (int i = 0; s && i < s->n; i++)
		spool_free(s->one[i].spool);
	if (s)
		close_fd(&s->mounts);
	free(s);
}

void spools_set_settle(struct spools *s, int64_t settle_us)
{
	for (int i = 0; i < s->n; i++)
		spool_set_settle(s->one[i].spool, settle_us);
}

/* Which spool a path is of, and what of it is below; -1: none. */
static int which(const struct spools *s, const char *path, const char **ret_below)
{
	*ret_below = path;
	if (path[0] != '/')
		return 0;
	for (int i = 1; i < s->n; i++) {
		const char *dir = spool_path(s->one[i].spool);
		size_t n = strlen(dir);

		if (!strncmp(path, dir, n) && path[n] == '/') {
			*ret_below = path + n + 1;
			return i;
		}
	}
	return -1;
}

int spools_find(const struct spools *s, const char *path, const char **ret_below)
{
	int i = which(s, path, ret_below);

	return i < 0 ? -ENOENT : spool_dir_fd(s->one[i].spool);
}

int64_t spools_clock_ahead_us(const struct spools *s, const char *path)
{
	const char *below;
	int i = which(s, path, &below);

	return i < 0 ? 0 : spool_clock_ahead_us(s->one[i].spool);
}

void spools_label(const struct spools *s, const char *path, char *ret, size_t size)
{
	const char *below, *slash;
	int i = which(s, path, &below);

	slash = strchr(below, '/');
	if (i >= 0 && slash)
		snprintf(ret, size, "%.*s", (int)(slash - below), below);
	else
		snprintf(ret, size, "%s", i < 0 ? "" : s->one[i].label);
}

void spools_resume(struct spools *s)
{
	for (int i = 0; i < s->n; i++)
		spool_resume(s->one[(s->first + i) % s->n].spool);
	s->first = (s->first + 1) % s->n;
}

void spools_retry(struct spools *s, int64_t ms)
{
	for (int i = 0; i < s->n; i++)
		spool_retry(s->one[i].spool, ms);
}

int64_t spools_overflows(const struct spools *s)
{
	int64_t sum = 0;

	for (int i = 0; i < s->n; i++)
		sum += spool_overflows(s->one[i].spool);
	return sum;
}

bool spools_watching(const struct spools *s)
{
	bool all = true;

	for (int i = 0; i < s->n; i++)
		all = all && spool_watching(s->one[i].spool);
	return all;
}

int64_t spools_count(struct spools *s, int number)
{
	return spool_count(s->one[number].spool);
}
