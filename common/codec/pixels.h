/*
 * Pictures as 8-bit RGB rows, and their way into coefficients: colour conversion, 4:2:0 chroma, and
 * the forward DCT at a step of 1, from which every quality is then re-quantised.
 */
#pragma once

#include "common/codec/coef.h"

struct pixels {
	int width, height;
	uint8_t *rgb; /* [height][width][3]; owned */
};

void pixels_done(struct pixels *px);
#define _cleanup_pixels_ _cleanup_(pixels_done)

/* Allocates; the content is undefined. -ENOMEM. */
int pixels_init(struct pixels *px, int width, int height);

/* A picture whose every pixel is grey becomes one plane, any other Y Cb Cr at 4:2:0. -ENOMEM. */
int pixels_to_coef(const struct pixels *px, struct coef_image *ret);
