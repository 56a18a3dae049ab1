/*
 * A picture as quantised DCT coefficients: what a JPEG file holds, whichever format the capture
 * came in. Everything that changes quality happens here and never through pixels.
 *
 * Coefficients are in zigzag order, 64 to a block, blocks row by row. A plane holds just the blocks
 * that its samples need; the dummy blocks that fill an MCU exist only in the coded scan.
 */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/codec/huffman.h"

#define PLANES_MAX 3

struct coef_plane {
	int h, v;		   /* sampling factors */
	int blocks_w, blocks_h;
	uint16_t quant[DCT_SIZE2]; /* step of each coefficient, zigzag order */
	int16_t *coef;		   /* [blocks_h][blocks_w][64]; owned by the image */
	int16_t *dc;		   /* the same of k = 0 alone, when they were put side by side; else NULL */
};

struct coef_image {
	int width, height; /* pixels as coded, before orientation */
	int n_planes;	   /* 1 (Y) or 3 (Y Cb Cr) */
	int orientation;   /* EXIF 1..8: how a viewer turns the coded picture */
	struct coef_plane plane[PLANES_MAX];
	int16_t *block_memory; /* owned */
	size_t block_capacity; /* coefficients in block_memory */
};

/* The block in column bx of row by. */
static inline int16_t *coef_block(const struct coef_plane *p, int bx, int by)
{
	return p->coef + ((size_t)by * (size_t)p->blocks_w + (size_t)bx) * DCT_SIZE2;
}

/* A block in the other order (tables.h), four at a time: storing eight bytes takes no longer than two. */
static inline __attribute__((always_inline)) void coef_reorder(
	const int16_t *in, const uint8_t order[DCT_SIZE2], int16_t *out)
{
#pragma GCC unroll 16
	for (int k = 0; k < DCT_SIZE2; k += 4) {
		int16_t four[4];

		for (int i = 0; i < 4; i++)
			four[i] = in[order[k + i]];
		memcpy(out + k, four, sizeof(four));
	}
}

void coef_done(struct coef_image *im);
#define _cleanup_coef_ _cleanup_(coef_done)

/*
 * Sizes im for a picture of 1 or 3 planes, luma sampled h x v and chroma 1 x 1. Memory of an
 * earlier use is kept when it suffices. Coefficients are not cleared. -ENOMEM.
 */
int coef_resize(struct coef_image *im, int width, int height, int n_planes, int h, int v);

/*
 * Makes room for the DCs side by side, for who fills in the coefficients and has them at hand: of a large
 * picture the network sees no more than them, and they lie far apart in memory. Gone with the next change.
 */
void coef_dc_apart(struct coef_image *im);

/* Geometry in one byte, as the index stores it: 0 for grey, else luma h << 4 | v. */
uint8_t coef_layout(const struct coef_image *im);

/* The layout's plane count and luma sampling; -EINVAL when no image of ours has it. */
int layout_parse(uint8_t layout, int *ret_n_planes, int *ret_h, int *ret_v);

/*
 * How a coefficient at one step goes to another: to nearest with ties, and, when it was quantised before
 * and the step grows, a little more towards zero: coefficients are Laplacian, so the value behind a
 * quantised one lies nearer to zero than its step's middle.
 */
struct requantise {
	float ratio, offset;
	float zero; /* levels of the other step that become 0; .5 and less do anyway */
};

#define REQUANTISE_ROUND 0.45f
#define COEF_MAX	 1023	/* what a baseline scan can code */
#define RATIO_MAX	 32768  /* more makes any level but 0 larger than that; a product with it fits an int */

static inline struct requantise requantise_from(uint16_t from_step, uint16_t to_step)
{
	bool again = from_step > 1 && from_step < to_step;
	float written = step_written(to_step);

	return (struct requantise){MIN((float)from_step / written, RATIO_MAX), again ? REQUANTISE_ROUND : 0.5f,
		0.5f * (float)to_step / written};
}

/* level: of 16 bits. */
static inline int16_t requantise_one(float level, struct requantise q)
{
	float x = level * q.ratio;
	int nearest = (int)(x + copysignf(q.offset, x));

	return (int16_t)(CLAMP(nearest, -COEF_MAX, COEF_MAX) & -(fabsf(x) >= q.zero));
}

/* Re-quantises src to the steps of t into dst, which may be src. -ENOMEM. */
int coef_requantise(const struct coef_image *src, const struct jpeg_tables *t, struct coef_image *dst);

/*
 * Estimates of large pictures look at bands: MCU rows apart / 2, and every apart-th from there on. All of
 * them when apart is 1. coef_requantise_bands() leaves the other rows of dst undefined, but for the row
 * of blocks above each band, and the DCs of the one below.
 */
#define BANDS_BLOCKS 1024 /* of all planes, about, that bands have together ... */
#define BANDS_MIN    6	  /* ... but so many bands at least */
int64_t coef_blocks(const struct coef_image *im);
int coef_mcu_rows(const struct coef_image *im);
int coef_band_apart(const struct coef_image *im);
int coef_requantise_bands(const struct coef_image *src, const struct jpeg_tables *t, struct coef_image *dst);

/* Bits of a value's magnitude: 0 for 0, else the category that T.81 codes it in. */
static inline int coef_bits(int v)
{
	return v ? 32 - __builtin_clz((unsigned)(v < 0 ? -v : v)) : 0;
}

/* Bit k: whether coefficient k of a block [64] is not zero. */
uint64_t coef_nonzero(const int16_t *q);

/* Symbols of the image's baseline scan: interleaved when it has three planes. */
void coef_count(const struct coef_image *im, struct symbol_counts *ret);

/* The same of the bands alone, made up to the whole. */
void coef_count_bands(const struct coef_image *im, struct symbol_counts *ret);

/* Quality of the image's own tables, by luminance. */
int coef_quality(const struct coef_image *im);

/* Whether a two-table baseline file can hold the steps as they are (Cb and Cr equal, 8 bits). */
bool coef_keepable(const struct coef_image *im);

/* The image's own steps and standard Huffman tables; only when coef_keepable(). */
void coef_tables(const struct coef_image *im, struct jpeg_tables *ret);
