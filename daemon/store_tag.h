/*
 * What the file of an image says of itself: behind the picture, where decoders do not look, its row
 * and the name of its label as they were when the file was written. The index is the truth while there
 * is one; from the tags it is made anew (daemon/salvage.h). Checksums tell a tag from a picture's own end,
 * and whether the picture is still what it was.
 */
#pragma once

#include "daemon/store.h"

#define TAG_MAX 512

struct tag {
	struct image_row row; /* stratum, tables, bytes and crc are not told */
	bool validation;
	char label[LABEL_MAX + 1]; /* empty: none */
	uint32_t picture_crc;
};

/* Appends the tag of a picture to it: all that b holds. Sticky error of b. */
void tag_put(struct buf *b, const struct image_row *row, const char *label);

/* The length of the picture alone: len when there is no tag. ret may be NULL; it is set when there is one. */
size_t tag_read(const uint8_t *data, size_t len, struct tag *ret);
