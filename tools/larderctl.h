/* What larderctl's verbs share. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/control/varlink.h"

/* Exit status: documented in --help. */
enum { EXIT_OK, EXIT_REFUSED, EXIT_USAGE, EXIT_NO_DAEMON, EXIT_FINDINGS };

struct ctl {
	int fd;
	bool json;
	int argc;
	char **argv; /* behind the verb */
};

/* The reply, or NULL: said why on stderr and set *ret_status. */
json_t *call(struct ctl *c, const char *method, json_t *parameters, int *ret_status);

/* A field as text (empty when it is none) and as a number. */
const char *text(const json_t *o, const char *key);
int64_t number(const json_t *o, const char *key);

/* A whole number in lo..hi, or a line on stderr. */
bool parse_option_int(const char *what, const char *s, int64_t lo, int64_t hi, int64_t *ret);

/* UTC, as 2026-01-31 23:59:59. */
void print_date(int64_t s, char *out, size_t size);

/* Prints a stranger's text without control characters. */
void print_clean(const char *s);

/* larderctl_export.c */
int save_image(struct ctl *c, const char *id, const char *path);
int run_export(struct ctl *c);

/* larderctl_metrics.c */
int run_metrics(struct ctl *c);

/* larderctl_watch.c */
int run_watch(struct ctl *c);
