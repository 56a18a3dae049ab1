/*
 * Vacuum: free pages of the index, which wait for images to come, go back to the file system. In pieces
 * between which captures are stored.
 */
#include <string.h>

#include "daemon/control_verbs.h"

#define PIECE 256 /* pages */

struct vacuum {
	struct task task;
	struct daemon *d;
	struct client *client; /* held */
	int last;	       /* pages of the last piece; negative errno */
	int64_t pages;
};

static void run_piece(struct store *store, struct task *task)
{
	((struct vacuum *)task)->last = store_shrink(store, PIECE);
}

static void piece_done(struct task *task)
{
	struct vacuum *v = (struct vacuum *)task;

	v->pages += MAX(v->last, 0);
	if (v->last > 0 && !v->d->stopping) {
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
	v->client = c->client;
	client_hold(c->client);
	writer_task(c->d->writer, &v->task);
}
