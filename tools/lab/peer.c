#include "tools/lab/peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

#include "common/macros.h"

void peer_coefficients(const uint8_t *data, size_t len)
{
	struct jpeg_decompress_struct c;
	struct jpeg_error_mgr err;

	c.err = jpeg_std_error(&err);
	jpeg_create_decompress(&c);
	jpeg_mem_src(&c, data, len);
	jpeg_read_header(&c, TRUE);
	jpeg_read_coefficients(&c);
	jpeg_finish_decompress(&c);
	jpeg_destroy_decompress(&c);
}

static uint8_t *decode(const uint8_t *data, size_t len, JDIMENSION *ret_width, JDIMENSION *ret_height)
{
	struct jpeg_decompress_struct c;
	struct jpeg_error_mgr err;
	uint8_t *rgb;

	c.err = jpeg_std_error(&err);
	jpeg_create_decompress(&c);
	jpeg_mem_src(&c, data, len);
	jpeg_read_header(&c, TRUE);
	c.out_color_space = JCS_RGB;
	jpeg_start_decompress(&c);
	*ret_width = c.output_width;
	*ret_height = c.output_height;
	rgb = malloc((size_t)c.output_width * c.output_height * 3);
	while (rgb && c.output_scanline < c.output_height) {
		JSAMPROW row = rgb + (size_t)c.output_scanline * c.output_width * 3;

		jpeg_read_scanlines(&c, &row, 1);
	}
	if (rgb)
		jpeg_finish_decompress(&c);
	jpeg_destroy_decompress(&c);
	return rgb;
}

static void encode(uint8_t *rgb, JDIMENSION width, JDIMENSION height, int quality)
{
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr err;
	unsigned char *out = NULL;
	unsigned long len = 0;

	c.err = jpeg_std_error(&err);
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, &out, &len);
	c.image_width = width;
	c.image_height = height;
	c.input_components = 3;
	c.in_color_space = JCS_RGB;
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, quality, TRUE);
	jpeg_start_compress(&c, TRUE);
	while (c.next_scanline < height) {
		JSAMPROW row = rgb + (size_t)c.next_scanline * width * 3;

		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	free(out);
}

int peer_transcode(const uint8_t *data, size_t len, int quality)
{
	JDIMENSION width, height;
	_cleanup_free_ uint8_t *rgb = decode(data, len, &width, &height);

	if (!rgb)
		return -ENOMEM;
	encode(rgb, width, height, quality);
	return 0;
}
