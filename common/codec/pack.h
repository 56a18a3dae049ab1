/*
 * A picture's coefficients in fewer bytes than a Huffman code can do: binary arithmetic coding in
 * contexts of the blocks around, as packJPG and Lepton have it (Horn et al. 2017), but for pictures
 * so small that a coder has no time to learn from the one in hand. Probabilities are fitted to
 * other pictures before and adapt from there; one model serves every quality, because what a
 * coefficient will be is told by its frequency's mean magnitude in units of the step in use.
 *
 * Lossless: what comes back are the coefficients, to be written as a JPEG file if need be. Geometry
 * and steps are not in the packed bytes: whoever stores them knows.
 *
 * pack_read() works on hostile bytes: it takes time and memory by the picture's size alone.
 */
#pragma once

#include "common/codec/coef.h"
#include "common/wire.h"

#define PACK_DC_LENGTH (2 * 4 * 24)	/* plane, activity, bit length against the one expected */
#define PACK_DC_TOP    (2 * 18)		/* plane, bit length */
#define PACK_ZERO      (2 * 16 * 4 * 4) /* plane, size expected, in blocks around, in this block */
#define PACK_END       (2 * 12 * 6)	/* plane, how many expected to follow, in blocks around */
#define PACK_LENGTH    (2 * 4 * 16)	/* plane, neighbours, bit length against the one expected */
#define PACK_TOP       (2 * 16)		/* plane, bit length */
#define PACK_SIGN      (5 * 5)		/* of the first five frequencies, as foretold */
#define PACK_CONTEXTS                                                                              \
	(PACK_DC_LENGTH + PACK_DC_TOP + PACK_ZERO + PACK_END + PACK_LENGTH + PACK_TOP + PACK_SIGN)

struct pack_model {
	uint8_t scale[2][DCT_SIZE2]; /* 4 log2(16 mean magnitude) by plane (0 luma) and zigzag
					position */
	uint8_t one[PACK_CONTEXTS];  /* probability of a one, in 256ths; never 0 */
};

/* Sums over pictures, that may be added up in any order. */
struct pack_counts {
	uint64_t magnitude[2][DCT_SIZE2], blocks[2];
	uint32_t bit[PACK_CONTEXTS][2];
};

void pack_counts_add(struct pack_counts *to, const struct pack_counts *from);

/*
 * A model is made in two rounds: magnitudes of the pictures as they come, then the decisions of the
 * same or other pictures at every quality, in contexts that the magnitudes decide.
 */
void pack_measure(const struct coef_image *im, struct pack_counts *sum);
void pack_set_scales(const struct pack_counts *sum, struct pack_model *m);
void pack_count(const struct coef_image *im, const struct pack_model *m, struct pack_counts *sum);
void pack_fit(const struct pack_counts *sum, struct pack_model *m);

/* Bytes that pack_write() will append; of large pictures an estimate from their bands (coef.h). */
uint32_t pack_bytes(const struct coef_image *im, const struct pack_model *m);

/* Appends at least one byte. More than max (0: no limit) is given up as soon as it is: -EFBIG. -ENOMEM. */
int pack_write(const struct coef_image *im, const struct pack_model *m, size_t max, struct buf *b);

/* im must have its geometry and steps. -EBADMSG when bytes are left over. */
int pack_read(const uint8_t *data, size_t len, const struct pack_model *m, struct coef_image *im);

void pack_model_write(const struct pack_model *m, struct buf *b);
int pack_model_read(struct reader *r, struct pack_model *ret);
