/*
 * From coefficients to what the network sees: S x S x 3 bytes (rows, columns, RGB), whatever the
 * size and the sampling of the picture, its whole area stretched to the square, the right way up.
 *
 * Only as many coefficients are inverse-transformed as S needs: a block becomes N x N samples from
 * its N x N lowest frequencies (N = 1, 2, 4 or 8, each axis for itself), then the plane is resampled,
 * by area when it shrinks and linearly when it grows.
 *
 * An input_maker does this to one picture at many qualities: what depends on the size alone is worked
 * out once for all pictures of a size, what is needed of the coefficients is picked out once, and a
 * quality re-quantises no more than that.
 */
#pragma once

#include "common/codec/coef.h"

/* rgb: [size][size][3]. -ENOMEM. */
int input_from_coef(const struct coef_image *im, int size, uint8_t *rgb);

struct input_maker;

struct input_maker *input_maker_new(void);
void input_maker_free(struct input_maker *m);
DEFINE_FREEP(struct input_maker, input_maker_free)

/* Takes what it needs of im, which it does not keep. -ENOMEM. */
int input_maker_load(struct input_maker *m, const struct coef_image *im, int size);

/*
 * What input_from_coef() makes of the picture as it is, or re-quantised by coef_requantise() to the steps
 * of t. rgb: [size][size][3].
 */
void input_make(struct input_maker *m, const struct jpeg_tables *t, uint8_t *rgb);
