/* A picture made small, to be looked at beside others. */
#pragma once

#include "common/codec/coef.h"
#include "common/wire.h"

#define PREVIEW_MAX 512 /* samples of a side */

/* How a picture is shown whose longer side may be so long: its size, and the samples that suffice for it.
 */
struct preview {
	int width, height, side;
};

struct preview preview_of(int width, int height, int orientation, int longest);

/* Appends a JPEG of side x side samples: the whole picture stretched to them, the right way up. -ENOMEM. */
int preview_write(const struct coef_image *im, int side, struct buf *b);
