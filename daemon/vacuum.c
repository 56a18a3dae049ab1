/*
 * Vacuum: rows of the index are put closer together, and free pages, which wait for images to come, go back
 * to the file system. In pieces between which captures are stored.
 */
#include <string.h>

#include "daemon/control_verbs.h"

#define PIECE 256 /* pages */

struct vacuum {
	struct task task;
	struct daemon *d;
	struct client *client; /* held */
	bool compacted;
	int64_t after; /* rows up to that id are closer together */
	int last;      /* rows or pages of the last piece; negative errno */
	int64_t pages;
};

static void run_piece(struct store *store, struct task *task)
{
	struct vacuum *v = (struct vacuum *)task;

	v->last = v->compacted ? store_shrink(store, PIECE) : store_compact(store, &v->after);
}

static void piece_done(struct task *task)
{
	struct vacuum *v = (struct vacuum *)task;
	bool more = v->last > 0;

	if (!v->compacted) {
		v->compacted = v->last <= 0; /* what cannot be moved stays where it is */
		more = true;
	} else {
		v->pages += MAX(v->last, 0);
	}
	if (more && !v->d->stopping) {
		writer_task(v->d->writer, &v->task);
		return;
	}
	if (v->last < 0)
		client_fail(v->client, "the index cannot shrink now: %s", strerror(-v->last));
	else
		client_reply(v->client, json_pack("{sI}", "freed", (json_int_t)(v->pages * PAGE_BYTES)));
	client_release(v->client);
	free(v);
}

void run_vacuum(struct call *c)
{
	struct vacuum *v = calloc(1, sizeof(*v));

	if (!v) {
		client_fail(c->client, "out of memory");
		return;
	}
	v->task.run = run_piece;
	v->task.done = piece_done;
	v->d = c->d;
	v->after = -1;
	v->client = c->client;
	client_hold(c->client);
	writer_task(c->d->writer, &v->task);
}
