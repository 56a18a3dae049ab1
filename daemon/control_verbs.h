/* The verbs of the control interface, apart from how they are transported. */
#pragma once

#include "common/control/varlink.h"
#include "daemon/daemon.h"

struct client;

/* One call. The verb answers by client_reply or client_error, now or later. */
struct call {
	struct daemon *d;
	struct client *client;
	const json_t *parameters; /* borrowed, until the verb returns */
};

struct verb {
	const char *method; /* without the interface */
	bool changes;	    /* needs root or the daemon's user */
	void (*run)(struct call *call);
};

/* The id that text begins, or an error sent to the client. */
bool call_find_id(struct call *c, const char *text, int64_t *ret);

/* control_many.c: one change to many images. */
void run_label(struct call *c);
void run_pin(struct call *c);
void run_unpin(struct call *c);
void run_remove(struct call *c);

/* control_check.c: everything read back; and what is found to be damaged set aside. */
void run_verify(struct call *c);
void run_repair(struct call *c);

/* export.c: the image as a file that any program opens. */
void run_file(struct call *c);
void run_preview(struct call *c);

/* vacuum.c: free pages of the index back to the file system. */
void run_vacuum(struct call *c);

/* suggest.c: which images a person should name. */
void run_suggest(struct call *c);

/* control_models.c: the model as a file, and from one; what happened so far. */
void run_model(struct call *c);
void run_use_model(struct call *c);
void run_history(struct call *c);

extern const struct verb VERBS[];
extern const size_t N_VERBS;

/*
 * control.c: the client side of an answer. A client that left is remembered by nobody. Parameters that could
 * not be made (NULL: memory is short) end the client, which is told so by that.
 */
void client_reply(struct client *c, json_t *parameters);
void client_error(struct client *c, const char *error, json_t *parameters);
void client_fail(struct client *c, const char *fmt, ...) _printf_(2, 3);

/* The text of something that went well, or why it did not. */
void client_answer(struct client *c, bool ok, const char *text);

/* Keeps a client's memory until its answer: the client may leave meanwhile. */
void client_hold(struct client *c);
void client_release(struct client *c);

/*
 * Work that would keep the loop too long: run() is called once a turn of the loop for a piece of it, until
 * it returns false, having freed w. When the daemon is stopping the piece is the last, and returns false.
 */
struct piecework {
	struct piecework *next; /* control.c's */
	bool (*run)(struct piecework *w);
};

#define PIECE_US 2000 /* that one takes, about */

void control_work(struct control *control, struct piecework *w);
