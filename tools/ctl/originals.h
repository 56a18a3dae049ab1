/* Captures as they were before they were stored, where somebody has kept them. */
#pragma once

#include "common/codec/preview.h"
#include "common/control/varlink.h"

struct original {
	const json_t *image; /* borrowed: as List gives it */
	char *path;	     /* owned; NULL: not found */
};

void original_done(struct original *o);

/*
 * Looks below dir for the captures of n images: by their names, and told by their content, which an image's
 * ID comes from. Links are not followed, what cannot be read is passed over. How many were found, or
 * negative errno when dir cannot be opened.
 */
int originals_find(const char *dir, struct original *o, int n);

/* The capture made small, as base64 (held), and how it is shown. Errors as capture_decode()'s. */
int original_preview(const struct original *o, int longest, json_t **ret_jpeg, struct preview *ret);
