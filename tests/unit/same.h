/* Whether two pictures are the same: geometry, steps and coefficients. */
#pragma once

#include <string.h>

#include "common/codec/coef.h"

static inline bool same_picture(const struct coef_image *a, const struct coef_image *b)
{
	bool same = a->width == b->width && a->height == b->height && coef_layout(a) == coef_layout(b);

	for (int i = 0; same && i < a->n_planes; i++) {
		const struct coef_plane *p = &a->plane[i], *q = &b->plane[i];
		size_t n = (size_t)p->blocks_w * (size_t)p->blocks_h;

		same = !memcmp(p->quant, q->quant, sizeof(p->quant)) &&
		       !memcmp(p->coef, q->coef, n * DCT_SIZE2 * sizeof(int16_t));
	}
	return same;
}
