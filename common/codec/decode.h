/*
 * Capture bytes of any format we take to coefficients. Works on hostile bytes: run it in a worker.
 */
#pragma once

#include "common/codec/jpeg.h"
#include "common/codec/pack.h"

/*
 * Recognises JPEG, PNG, PPM and PGM by their first bytes and decodes. Fills info in every case.
 * Errors as jpeg_read, with info->reason in words.
 */
int capture_decode(const uint8_t *data, size_t len, int64_t max_pixels, struct coef_image *ret,
	struct capture_info *info);

/*
 * The readers behind it. PNG: 8 and 16 bit, grey, palette, alpha (over white). PNM: P2 P3 P5 P6 with
 * any maximum up to 65535.
 */
int png_read(const uint8_t *data, size_t len, int64_t max_pixels, struct pixels *ret,
	struct capture_info *info);
int pnm_read(const uint8_t *data, size_t len, int64_t max_pixels, struct pixels *ret,
	struct capture_info *info);

/* Coefficients of a stored complete file. */
int file_decode(const uint8_t *data, size_t len, struct coef_image *ret);

/* Coefficients of a stored picture that was packed with m, at t's steps. */
int packed_decode(const uint8_t *data, size_t len, uint8_t layout, int width, int height,
	int orientation, const struct jpeg_tables *t, const struct pack_model *m,
	struct coef_image *ret);
