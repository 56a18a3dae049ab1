#include <errno.h>

#include <png.h>

#include "common/codec/decode.h"
#include "common/codec/input.h"
#include "tests/unit/test.h"

/* A 16 x 16 PNG of one colour in the given kind; value per channel in its own depth. */
static void encode(int colour, int depth, struct buf *out)
{
	png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
	png_infop info = png_create_info_struct(png);
	png_color palette[2] = {{0, 0, 0}, {200, 100, 50}};
	char *mem = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&mem, &len);
	int channels = colour == PNG_COLOR_TYPE_RGB ? 3 : colour == PNG_COLOR_TYPE_RGB_ALPHA ? 4 : 1;
	uint8_t row[16 * 8];

	png_init_io(png, f);
	png_set_IHDR(png, info, 16, 16, depth, colour, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
		PNG_FILTER_TYPE_DEFAULT);
	if (colour == PNG_COLOR_TYPE_PALETTE)
		png_set_PLTE(png, info, palette, 2);
	png_write_info(png, info);
	for (int x = 0; x < 16 * channels; x++) {
		int c = x % channels, v = colour == PNG_COLOR_TYPE_PALETTE ? 1
			: c == 0					   ? 200
			: c == 1					   ? 100
			: c == 2					   ? 50
									   : 0;

		if (depth == 16) {
			row[2 * x] = (uint8_t)v;
			row[2 * x + 1] = (uint8_t)v;
		} else {
			row[x] = (uint8_t)v;
		}
	}
	for (int y = 0; y < 16; y++)
		png_write_row(png, row);
	png_write_end(png, info);
	png_destroy_write_struct(&png, &info);
	fclose(f);
	buf_put(out, mem, len);
	free(mem);
}

static void check(int colour, int depth, int r, int g, int b)
{
	_cleanup_buf_ struct buf png = {0};
	_cleanup_coef_ struct coef_image im = {0};
	struct capture_info info;
	uint8_t rgb[16 * 16 * 3];

	encode(colour, depth, &png);
	CHECK_INT(capture_decode(png.data, png.len, 1 << 20, &im, &info), 0);
	CHECK_STR(info.format, "png");
	CHECK_INT(input_from_coef(&im, 16, rgb), 0);
	CHECK_NEAR(rgb[0], r, 3);
	CHECK_NEAR(rgb[1], g, 3);
	CHECK_NEAR(rgb[2], b, 3);
	CHECK_INT(capture_decode(png.data, png.len, 255, &im, &info), -EFBIG);
	for (size_t len = 8; len < png.len - 12; len += 3)
		CHECK(capture_decode(png.data, len, 1 << 20, &im, &info) < 0);
}

static void test_kinds(void)
{
	check(PNG_COLOR_TYPE_RGB, 8, 200, 100, 50);
	check(PNG_COLOR_TYPE_RGB, 16, 200, 100, 50);
	check(PNG_COLOR_TYPE_GRAY, 8, 200, 200, 200);
	check(PNG_COLOR_TYPE_PALETTE, 8, 200, 100, 50);
	check(PNG_COLOR_TYPE_RGB_ALPHA, 8, 255, 255, 255); /* wholly transparent: the white behind it */
}

TEST_MAIN(test_kinds)
