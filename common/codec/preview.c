#include "common/codec/preview.h"

#include "common/codec/input.h"
#include "common/codec/jpeg.h"

#define PREVIEW_QUALITY 80

struct preview preview_of(int width, int height, int orientation, int longest)
{
	bool turned = orientation >= 5;
	struct preview p = {turned ? height : width, turned ? width : height, 0};
	int longer = MAX(MAX(p.width, p.height), 1);

	if (longer > longest) {
		p.width = (int)MAX((int64_t)p.width * longest / longer, 1);
		p.height = (int)MAX((int64_t)p.height * longest / longer, 1);
	}
	p.side = CLAMP(ROUND_UP(MIN(longest, longer), 8), 8, PREVIEW_MAX);
	return p;
}

int preview_write(const struct coef_image *im, int side, struct buf *b)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image small = {0};
	struct jpeg_tables t;
	int r = pixels_init(&px, side, side);

	if (r == 0)
		r = input_from_coef(im, side, px.rgb);
	if (r == 0)
		r = pixels_to_coef(&px, &small);
	tables_standard(PREVIEW_QUALITY, &t);
	if (r == 0)
		r = coef_requantise(&small, &t, &small);
	return r < 0 ? r : jpeg_write_file(&small, &t, b);
}
