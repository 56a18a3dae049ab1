/*
 * Symbol statistics of a baseline scan, the Huffman tables that suit them best, and the bytes a
 * scan will take: what a rate costs without writing it.
 */
#pragma once

#include <stdint.h>

#include "common/codec/tables.h"

/* How often a scan uses each symbol; extra_bits are the magnitude bits behind the symbols. */
struct symbol_counts {
	uint32_t dc[2][16], ac[2][256];
	uint64_t extra_bits;
};

/*
 * The optimal prefix code for count[0..n) with at most 16 bits and no all-ones code (T.81, K.2).
 * Symbols with count 0 get no code; with every count 0 the table has one code, for symbol 0.
 */
void huffman_optimal(const uint32_t *count, int n, struct huff_spec *ret);

/*
 * Bytes of an entropy-coded scan with these tables. Exact but for byte stuffing, which adds one
 * byte in 256 on average and is counted so. UINT32_MAX when a symbol has no code.
 */
uint32_t scan_bytes(const struct symbol_counts *c, const struct jpeg_tables *t);

/* As scan_bytes with optimal tables of the image's own, plus the size of those tables' segment. */
uint32_t scan_bytes_optimal(const struct symbol_counts *c, int n_sets);
