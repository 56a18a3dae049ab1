#include "common/codec/decode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STORED_PIXELS_MAX (INT64_C(1) << 29)

static bool starts(const uint8_t *data, size_t len, const char *magic, size_t n)
{
	return len >= n && !memcmp(data, magic, n);
}

int capture_decode(const uint8_t *data, size_t len, int64_t max_pixels, struct coef_image *ret,
	struct capture_info *info)
{
	_cleanup_pixels_ struct pixels px = {0};
	int r;

	*info = (struct capture_info){.format = "?", .orientation = 1, .quality = 100};
	if (starts(data, len, "\xff\xd8\xff", 3))
		return jpeg_read(data, len, max_pixels, ret, info);
	if (starts(data, len, "\x89PNG\r\n\x1a\n", 8)) {
		r = png_read(data, len, max_pixels, &px, info);
	} else if (len > 2 && data[0] == 'P' && strchr("2356", data[1])) {
		r = pnm_read(data, len, max_pixels, &px, info);
	} else {
		snprintf(info->reason, sizeof(info->reason), "%s",
			len ? "neither JPEG, PNG, PPM nor PGM" : "empty file");
		return -ENOTSUP;
	}
	return r < 0 ? r : pixels_to_coef(&px, ret);
}

int packed_decode(const uint8_t *data, size_t len, uint8_t layout, int width, int height,
	int orientation, const struct jpeg_tables *t, const struct pack_model *m,
	struct coef_image *ret)
{
	int n, h, v, r;

	if (layout_parse(layout, &n, &h, &v) < 0 || width < 1 || width > 65535 || height < 1 ||
		height > 65535 || (int64_t)width * height > STORED_PIXELS_MAX)
		return -EBADMSG;
	r = coef_resize(ret, width, height, n, h, v);
	if (r < 0)
		return r;
	ret->orientation = orientation;
	for (int i = 0; i < n; i++)
		for (int k = 0; k < DCT_SIZE2; k++)
			ret->plane[i].quant[k] = step_written(t->quant[i > 0][JPEG_NATURAL_ORDER[k]]);
	return pack_read(data, len, m, ret);
}

int file_decode(const uint8_t *data, size_t len, struct coef_image *ret)
{
	struct capture_info info;

	return capture_decode(data, len, STORED_PIXELS_MAX, ret, &info);
}
