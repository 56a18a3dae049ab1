/*
 * Which images a verb means: the options that list, export, label, pin, unpin, remove and report
 * share, and the walk over what they leave.
 */
#pragma once

#include <getopt.h>

#include "tools/ctl/ctl.h"

struct filter {
	const char *label; /* NULL: any; "": those without */
	const char *name;  /* a glob over capture names, or NULL */
	int64_t since, until; /* capture time, seconds since 1970; 0: any */
	int64_t quality;      /* 0: any */
	bool pinned, validation;
	bool any; /* an option was given */
};

enum {
	OPT_LABEL = 300,
	OPT_UNLABELLED,
	OPT_NAME,
	OPT_SINCE,
	OPT_UNTIL,
	OPT_QUALITY,
	OPT_PINNED,
	OPT_VALIDATION,
	OPT_FILTERS_END
};

#define FILTER_OPTIONS                                                                             \
	{"label", required_argument, NULL, OPT_LABEL},                                             \
		{"unlabelled", no_argument, NULL, OPT_UNLABELLED},                                 \
		{"name", required_argument, NULL, OPT_NAME},                                       \
		{"since", required_argument, NULL, OPT_SINCE},                                     \
		{"until", required_argument, NULL, OPT_UNTIL},                                     \
		{"quality", required_argument, NULL, OPT_QUALITY},                                 \
		{"pinned", no_argument, NULL, OPT_PINNED},                                         \
		{"validation", no_argument, NULL, OPT_VALIDATION}

/* Takes one of FILTER_OPTIONS with its optarg; false: it is none, or wrong, which was said on stderr. */
bool filter_option(struct filter *f, int option);

/*
 * Calls fn with each image, a List object, in the order of ids until it returns false. An exit status.
 * Images that come or go meanwhile may be met or not: a store that is in use changes.
 */
typedef bool (*image_fn)(void *user, const json_t *image);
int filter_walk(struct ctl *c, const struct filter *f, image_fn fn, void *user);
