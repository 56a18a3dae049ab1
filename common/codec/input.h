/*
 * From coefficients to what the network sees: S x S x 3 bytes (rows, columns, RGB), whatever the
 * size and the sampling of the picture, its whole area stretched to the square, the right way up.
 *
 * Only as many coefficients are inverse-transformed as S needs: a block becomes N x N samples from
 * its N x N lowest frequencies (N = 1, 2, 4 or 8, each axis for itself), then the plane is resampled,
 * by area when it shrinks and linearly when it grows.
 */
#pragma once

#include "common/codec/coef.h"

/* rgb: [size][size][3]. -ENOMEM. */
int input_from_coef(const struct coef_image *im, int size, uint8_t *rgb);
