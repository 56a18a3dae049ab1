/*
 * Before images make way the index does: when much of its pages is empty, as it is when images have been
 * degraded, its rows are put closer together (store_compact.c), as soon as that is enough, or before images
 * are dropped. Captures are stored between the pieces.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "daemon/keeper_internal.h"

#define GAIN	    3	/* one part in so many of the index's pages, at least, is to be gained */
#define GAIN_OVER   10	/* where the limit has become much smaller, which is seldom */
#define IMAGES_MIN  100 /* of fewer nobody can say what is usual */
#define ROWS_TRIED  512 /* after which it is given up unless */
#define PAGES_TRIED 20	/* one page in so many of theirs became free */
#define AGAIN_US    (60 * US_PER_SEC) /* after a failure, as when somebody reads the index */

struct compaction {
	struct task task;
	struct keeper *k;
	int64_t after, rows;
	int64_t used;	/* bytes of the index before */
	int64_t images; /* then */
	int last;	/* rows of the last piece; negative errno */
};

static int64_t used_bytes(const struct daemon *d)
{
	const struct usage *u = writer_usage(d->writer);

	return u->index - u->index_free;
}

int64_t index_beside(const struct daemon *d)
{
	int64_t own = -writer_usage(d->writer)->objects;

	for (size_t i = 0; i < d->tally.n; i++)
		own += d->tally.v[i].bytes;
	return used_bytes(d) - MAX(own, INT64_C(0));
}

double compact_gain(const struct keeper *k)
{
	int64_t images = daemon_images(k->d);
	double gain = (double)index_beside(k->d) - (double)images * k->beside_packed;
	int part = k->lowered ? GAIN_OVER : GAIN;

	if (images < IMAGES_MIN || clock_steady_us() < k->compact_again_us)
		return 0;
	return gain > (double)used_bytes(k->d) / part ? gain : 0;
}

/* Whether what was done so far freed too little to go on. */
static bool is_futile(const struct compaction *c)
{
	double pages = (double)c->rows * (double)c->used / (double)c->images, freed;

	freed = (double)(c->used - used_bytes(c->k->d));
	return c->rows >= ROWS_TRIED && freed * PAGES_TRIED < pages;
}

static void run_piece(struct store *store, struct task *task)
{
	struct compaction *c = (struct compaction *)task;

	c->last = store_compact(store, &c->after);
}

static void piece_done(struct task *task)
{
	struct compaction *c = (struct compaction *)task;
	struct keeper *k = c->k;
	int64_t images = daemon_images(k->d);

	c->rows += MAX(c->last, 0);
	if (k->d->stopping) {
		free(c);
		return;
	}
	if (c->last > 0 && !is_futile(c)) {
		writer_task(k->d->writer, task);
		writer_room(k->d->writer); /* for captures that fit into what is free by now */
		return;
	}
	if (c->last < 0) {
		log_warn("rows of the index cannot be put closer together now: %s", strerror(-c->last));
		k->compact_again_us = clock_steady_us() + AGAIN_US;
	} else {
		log_info("rows of the index put closer together: of %" PRId64 " pages %" PRId64 " are free",
			c->used / PAGE_BYTES, (c->used - used_bytes(k->d)) / PAGE_BYTES);
		k->beside_packed = images ? (double)index_beside(k->d) / (double)images : k->beside_packed;
	}
	free(c);
	keeper_resume(k);
}

bool compact_begin(struct keeper *k, int64_t hard_need)
{
	struct compaction *c = calloc(1, sizeof(*c));

	if (!c)
		return false;
	c->task.run = run_piece;
	c->task.done = piece_done;
	c->k = k;
	c->after = -1;
	c->used = used_bytes(k->d);
	c->images = daemon_images(k->d);
	k->relieving = true;
	k->hard_need = hard_need;
	writer_task(k->d->writer, &c->task);
	return true;
}
