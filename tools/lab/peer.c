#include "tools/lab/peer.h"

#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

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

int peer_decode(const uint8_t *data, size_t len, struct pixels *ret)
{
	struct jpeg_decompress_struct c;
	struct jpeg_error_mgr err;
	int r;

	c.err = jpeg_std_error(&err);
	jpeg_create_decompress(&c);
	jpeg_mem_src(&c, data, len);
	jpeg_read_header(&c, TRUE);
	c.out_color_space = JCS_RGB;
	jpeg_start_decompress(&c);
	r = pixels_init(ret, (int)c.output_width, (int)c.output_height);
	while (r == 0 && c.output_scanline < c.output_height) {
		JSAMPROW row = ret->rgb + (size_t)c.output_scanline * c.output_width * 3;

		jpeg_read_scanlines(&c, &row, 1);
	}
	if (r == 0)
		jpeg_finish_decompress(&c);
	jpeg_destroy_decompress(&c);
	return r;
}

static void encode(const struct pixels *px, int quality)
{
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr err;
	unsigned char *out = NULL;
	unsigned long len = 0;

	c.err = jpeg_std_error(&err);
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, &out, &len);
	c.image_width = (JDIMENSION)px->width;
	c.image_height = (JDIMENSION)px->height;
	c.input_components = 3;
	c.in_color_space = JCS_RGB;
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, quality, TRUE);
	jpeg_start_compress(&c, TRUE);
	while (c.next_scanline < c.image_height) {
		JSAMPROW row = px->rgb + (size_t)c.next_scanline * c.image_width * 3;

		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	free(out);
}

int peer_transcode(const uint8_t *data, size_t len, int quality)
{
	_cleanup_pixels_ struct pixels px = {0};
	int r = peer_decode(data, len, &px);

	if (r == 0)
		encode(&px, quality);
	return r;
}
