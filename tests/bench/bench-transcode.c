/*
 * What libjpeg alone makes of JPEG files in memory: decoded and encoded again at 75, one file after the other on
 * each processor. bench-transcode FILE...: files a second. For bench-daemon.py, which compares larderd with it.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <uv.h>

#include "common/clock.h"
#include "common/io.h"
#include "common/net/parallel.h"
#include "tools/lab/peer.h"

#define ROUNDS 3

struct work {
	struct buf *file; /* [n] */
	int n;
	atomic_int next;
};

static void transcode(void *arg, int member)
{
	struct work *w = arg;

	(void)member;
	for (;;) {
		int i = atomic_fetch_add(&w->next, 1);

		if (i >= ROUNDS * w->n)
			return;
		if (peer_transcode(w->file[i % w->n].data, w->file[i % w->n].len, 75) < 0)
			abort();
	}
}

int main(int argc, char **argv)
{
	int n = argc - 1;
	struct work w = {.file = calloc((size_t)n + 1, sizeof(struct buf)), .n = n};
	_cleanup_(team_freep) struct team *team = team_new((int)uv_available_parallelism());
	int64_t begin;

	if (!n || !w.file || !team)
		return 1;
	for (int i = 0; i < n; i++)
		if (io_read_file(AT_FDCWD, argv[i + 1], INT32_MAX, &w.file[i]) < 0)
			return 1;
	begin = clock_steady_us();
	team_run(team, transcode, &w);
	printf("%.0f\n", ROUNDS * n / ((double)(clock_steady_us() - begin) / US_PER_SEC));
	for (int i = 0; i < n; i++)
		buf_done(&w.file[i]);
	free(w.file);
	return 0;
}
