/* What larderctl's verbs share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/control/varlink.h"
#include "common/parse.h"

/* Exit status: documented in --help. */
enum { EXIT_OK, EXIT_REFUSED, EXIT_USAGE, EXIT_NO_DAEMON, EXIT_FINDINGS };

struct ctl {
	const char *socket; /* borrowed; where larderd is asked */
	int fd;
	bool json;
	int argc;
	char **argv; /* from the verb on */
};

/* The reply, or NULL: said why on stderr and set *ret_status; EXIT_NO_DAEMON: there is none any more. */
json_t *call(struct ctl *c, const char *method, json_t *parameters, int *ret_status);

/* A field as text (empty when it is none) and as a number. */
const char *text(const json_t *o, const char *key);
int64_t number(const json_t *o, const char *key);

/* A whole number in lo..hi, or a line on stderr. */
bool parse_option_int(const char *what, const char *s, int64_t lo, int64_t hi, int64_t *ret);

/* Whether the options were everything, or a line on stderr. */
bool ends_here(const struct ctl *c);

void print_json(const json_t *v);

/* UTC, as 2026-01-31 23:59:59. */
void print_date(int64_t s, char *out, size_t size);

/* Prints a stranger's text without control characters. */
void print_clean(const char *s);

/* The same, with blanks up to so many characters. */
void print_padded(const char *s, int width);

/* images.c: one change to many images, in as many calls as it takes; adds to *changed. */
int change_images(struct ctl *c, const char *method, const char *label, json_t *ids, int64_t *changed);
int say_changed(const struct ctl *c, int64_t changed, int status);
bool keep_id(void *ids, const json_t *image); /* an image_fn: appends to the array */

/*
 * export.c: all the bytes of a method that answers in parts (File, Model); a file, whole or not at all;
 * an image as one. Exit statuses, the reason having been said.
 */
int fetch_parts(struct ctl *c, const char *method, const json_t *parameters, struct buf *ret);
int save_file(const char *path, const struct buf *b);
int save_image(struct ctl *c, const char *id, const char *path);

/* status.c: the labels that images have, from a status's store; those with most first. NULL: out of memory. */
struct label_count {
	const char *name; /* borrowed from the status */
	int64_t images;
};
struct label_count *label_counts(const json_t *store, size_t *ret_n); /* to be freed */

/* Verbs. */
int run_status(struct ctl *c);
int run_plan(struct ctl *c);
int run_watch(struct ctl *c);
int run_metrics(struct ctl *c);
int run_list(struct ctl *c);
int run_show(struct ctl *c);
int run_label(struct ctl *c);
int run_pin(struct ctl *c);
int run_unpin(struct ctl *c);
int run_remove(struct ctl *c);
int run_export(struct ctl *c);
int run_import(struct ctl *c);
int run_suggest(struct ctl *c);
int run_report(struct ctl *c);
int run_model(struct ctl *c);
int run_train(struct ctl *c);
int run_pause(struct ctl *c);
int run_resume(struct ctl *c);
int run_reload(struct ctl *c);
int run_vacuum(struct ctl *c);
int run_verify(struct ctl *c);
