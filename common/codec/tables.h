/*
 * JPEG tables: quantisation and Huffman tables of one quality in their standard forms (ITU-T T.81
 * Annex K, scaled as the IJG library scales them). Table 0 is luminance, table 1 chrominance.
 * Arrays are in natural (row-major) order.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/macros.h"

#define DCT_SIZE2 64

/* One Huffman table: bits[k] codes of length k (1..16), their symbols in code order. */
struct huff_spec {
	uint8_t bits[17];
	uint8_t vals[256];
};

/*
 * A baseline file's steps go up to STEP_WRITTEN_MAX. A larger one widens the zero alone: what is nearer to 0
 * than half of it becomes 0, and what is left goes by the step that is written.
 */
#define STEP_WRITTEN_MAX 255
#define STEP_MAX	 2048 /* takes every coefficient to 0 */

static inline uint16_t step_written(uint16_t step)
{
	return MIN(step, STEP_WRITTEN_MAX);
}

struct jpeg_tables {
	uint16_t quant[2][DCT_SIZE2]; /* steps, before step_written() */
	struct huff_spec dc[2], ac[2];
};

/* The zigzag order: position k of a scan is natural position JPEG_NATURAL_ORDER[k]. */
static const uint8_t JPEG_NATURAL_ORDER[DCT_SIZE2] = {
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
};

/* The other way round. */
static const uint8_t JPEG_ZIGZAG_ORDER[DCT_SIZE2] = {
	0, 1, 5, 6, 14, 15, 27, 28, 2, 4, 7, 13, 16, 26, 29, 42,
	3, 8, 12, 17, 25, 30, 41, 43, 9, 11, 18, 24, 31, 40, 44, 53,
	10, 19, 23, 32, 39, 45, 52, 54, 20, 22, 33, 38, 46, 51, 55, 60,
	21, 34, 37, 47, 50, 56, 59, 61, 35, 36, 48, 49, 57, 58, 62, 63,
};

/* The standard quantisation table 0 or 1 at quality 1..100. */
void tables_standard_quant(int quality, int which, uint16_t ret_quant[DCT_SIZE2]);

/* Standard quantisation and Huffman tables at a quality. */
void tables_standard(int quality, struct jpeg_tables *ret);

/*
 * The quality in 1..100 whose standard luminance table is nearest to quant, by the sum of its
 * steps as a share of the standard's (how every JPEG tool estimates it).
 */
int tables_estimate_quality(const uint16_t quant[DCT_SIZE2]);
