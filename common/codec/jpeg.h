/*
 * libjpeg-turbo, kept in one file: JPEG bytes to coefficients or pixels and back. Runs on hostile
 * bytes, so only in a sandboxed worker, the trainer or a tool. Errors: -EBADMSG for bytes that are
 * no sound JPEG, -ENOTSUP for a kind we do not take, -EFBIG above the pixel limit, -ENOMEM.
 */
#pragma once

#include "common/codec/coef.h"
#include "common/codec/pixels.h"
#include "common/wire.h"

#define REASON_MAX 160

/* What is not in the pixels. */
struct capture_info {
	char format[8];	     /* "jpeg", "png", "ppm", "pgm" */
	int orientation;     /* EXIF 1..8 */
	int64_t taken_s;     /* EXIF capture time as if UTC, seconds since 1970; 0 unknown */
	int quality;	     /* estimated JPEG quality of the capture; 100 when it was lossless */
	char reason[REASON_MAX]; /* why it was refused, for people */
};

/*
 * Reads a whole JPEG file. YCbCr and grey files give their own coefficients; the others (CMYK, YCCK,
 * RGB, odd sampling) are decoded to pixels and transformed. Truncated or corrupt data is refused.
 */
int jpeg_read(const uint8_t *data, size_t len, int64_t max_pixels, struct coef_image *ret,
	struct capture_info *info);

/*
 * Appends a complete file with Huffman tables optimised for it, and an EXIF orientation when it is
 * not 1. im must have t's steps; t's Huffman tables are not used.
 */
int jpeg_write_file(const struct coef_image *im, const struct jpeg_tables *t, struct buf *b);

/* Bytes of a complete file beside its scan and Huffman tables: an estimate for rates. */
uint32_t jpeg_file_overhead(int n_planes, int orientation);
