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

struct jpeg_tables {
	uint16_t quant[2][DCT_SIZE2];
	struct huff_spec dc[2], ac[2];
};

/* The zigzag order: position k of a scan is natural position JPEG_NATURAL_ORDER[k]. */
extern const uint8_t JPEG_NATURAL_ORDER[DCT_SIZE2];

/* The standard quantisation table 0 or 1 at quality 1..100. */
void tables_standard_quant(int quality, int which, uint16_t ret_quant[DCT_SIZE2]);

/* Standard quantisation and Huffman tables at a quality. */
void tables_standard(int quality, struct jpeg_tables *ret);

/*
 * The quality in 1..100 whose standard luminance table is nearest to quant, by the sum of its
 * steps as a share of the standard's (how every JPEG tool estimates it).
 */
int tables_estimate_quality(const uint16_t quant[DCT_SIZE2]);
