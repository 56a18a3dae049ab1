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
#include "tools/lab/peer.h"

#define ROUNDS 3

struct work {
	struct buf *file; /* [n] */
	int n;
	atomic_int next;
};

static void transcode(void *arg)
{
	struct work *w = arg;

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
	int n = argc - 1, threads = (int)uv_available_parallelism();
	struct work w = {.file = calloc((size_t)n + 1, sizeof(struct buf)), .n = n};
	uv_thread_t *thread = calloc((size_t)threads, sizeof(*thread));
	int64_t begin;

	for (int i = 0; i < n; i++)
		if (io_read_file(AT_FDCWD, argv[i + 1], INT32_MAX, &w.file[i]) < 0)
			return 1;
	if (!n || !thread || !w.file)
		return 1;
	begin = clock_steady_us();
	for (int t = 0; t < threads; t++)
		if (uv_thread_create(&thread[t], transcode, &w) != 0)
			return 1;
	for (int t = 0; t < threads; t++)
		uv_thread_join(&thread[t]);
	printf("%.0f\n", ROUNDS * n / ((double)(clock_steady_us() - begin) / US_PER_SEC));
	for (int i = 0; i < n; i++)
		buf_done(&w.file[i]);
	free(w.file);
	free(thread);
	return 0;
}
