#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

#include "common/codec/decode.h"

#define SIDE_MAX 65535 /* what a JPEG can hold */

static int refuse(struct capture_info *info, int result, const char *reason)
{
	snprintf(info->reason, sizeof(info->reason), "%s", reason);
	return result;
}

/* libpng has no code for it. */
static int refuse_as_said(struct capture_info *info, const png_image *im)
{
	return refuse(info, strstr(im->message, "memory") ? -ENOMEM : -EBADMSG, im->message);
}

int png_read(const uint8_t *data, size_t len, int64_t max_pixels, struct pixels *ret,
	struct capture_info *info)
{
	static const png_color white = {255, 255, 255};
	png_image im = {.version = PNG_IMAGE_VERSION};
	int r;

	snprintf(info->format, sizeof(info->format), "png");
	if (!png_image_begin_read_from_memory(&im, data, len))
		return refuse_as_said(info, &im);
	if ((int64_t)im.width * im.height > max_pixels || im.width > SIDE_MAX || im.height > SIDE_MAX) {
		png_image_free(&im);
		return refuse(info, -EFBIG, "more pixels than MaxPixels");
	}
	im.format = PNG_FORMAT_RGB;
	im.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
	r = pixels_init(ret, (int)im.width, (int)im.height);
	if (r < 0) {
		png_image_free(&im);
		return refuse(info, r, "out of memory");
	}
	if (!png_image_finish_read(&im, &white, ret->rgb, 0, NULL))
		return refuse_as_said(info, &im);
	return 0;
}
