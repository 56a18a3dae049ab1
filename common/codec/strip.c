#include "common/codec/strip.h"

#include <string.h>

#include "common/codec/coef.h"
#include "common/codec/exif.h"

/* ITU T.81, table B.1 */
enum marker {
	SOF0 = 0xc0,
	SOF1 = 0xc1,
	DHT = 0xc4,
	RST0 = 0xd0,
	RST7 = 0xd7,
	SOI = 0xd8,
	EOI = 0xd9,
	SOS = 0xda,
	DQT = 0xdb,
	DRI = 0xdd,
	APP0 = 0xe0,
	APP1 = 0xe1,
	APP14 = 0xee, /* Adobe's: the colours may be others than the components' numbers say */
	APP15 = 0xef,
	COM = 0xfe,
};

static void put_segment(struct buf *b, uint8_t marker, const uint8_t *body, size_t n)
{
	buf_put_u8(b, 0xff);
	buf_put_u8(b, marker);
	buf_put_u8(b, (uint8_t)((n + 2) >> 8));
	buf_put_u8(b, (uint8_t)(n + 2));
	buf_put(b, body, n);
}

/* A marker, after bytes that fill; 0: there is none. */
static uint8_t take_marker(struct reader *r)
{
	uint8_t code;

	if (reader_u8(r) != 0xff)
		return 0;
	do
		code = reader_u8(r);
	while (code == 0xff);
	return code;
}

static const uint8_t *take_body(struct reader *r, size_t *ret_n)
{
	size_t n = (size_t)reader_u8(r) << 8;

	n |= reader_u8(r);
	if (n < 2)
		return NULL;
	*ret_n = n - 2;
	return reader_take(r, n - 2);
}

/* How many components a frame has; 0: not what libjpeg takes for Y or Y Cb Cr without being told. */
static int components_of(const uint8_t *body, size_t n)
{
	int planes, h, v;

	if (n < 9 || body[0] != 8 || (body[5] != 1 && body[5] != 3) || n != 6 + 3 * (size_t)body[5])
		return 0;
	if (body[5] == 1)
		return body[7] == 0x11 ? 1 : 0;
	for (int i = 0; i < 3; i++)
		if (body[6 + 3 * i] != i + 1 || (i > 0 && body[7 + 3 * i] != 0x11))
			return 0;
	return layout_parse(body[7], &planes, &h, &v) == 0 ? 3 : 0;
}

/* Of all components, and all that a baseline file says of them. */
static bool is_only_scan(const uint8_t *body, size_t n, int components)
{
	return components && n == 4 + 2 * (size_t)components && body[0] == components && body[n - 3] == 0 &&
	       body[n - 2] == 63 && body[n - 1] == 0;
}

/* Bytes of the scan with the end of the file behind it; 0: something else follows, or nothing. */
static size_t scan_length(const struct reader *r)
{
	const uint8_t *end = r->data + r->len, *p = r->data;

	while (p < end && (p = memchr(p, 0xff, (size_t)(end - p)))) {
		while (p < end && *p == 0xff)
			p++;
		if (p == end || (*p && (*p < RST0 || *p > RST7)))
			break;
	}
	return p && p < end && *p == EOI ? (size_t)(p + 1 - r->data) : 0;
}

static bool strip(struct reader *r, struct buf *b)
{
	int components = 0;
	size_t n, scan;

	for (;;) {
		uint8_t marker = take_marker(r);
		const uint8_t *body = marker ? take_body(r, &n) : NULL;

		if (!body)
			return false;
		if (marker == COM || (marker >= APP0 && marker <= APP15 && marker != APP14))
			continue;
		switch (marker) {
		case SOF0:
		case SOF1:
			if (components)
				return false;
			components = components_of(body, n);
			break;
		case SOS:
			scan = is_only_scan(body, n, components) ? scan_length(r) : 0;
			put_segment(b, marker, body, n);
			buf_put(b, r->data, scan);
			return scan > 0;
		case DHT:
		case DQT:
		case DRI:
			break;
		default:
			return false;
		}
		put_segment(b, marker, body, n);
	}
}

bool jpeg_strip(const uint8_t *data, size_t len, int orientation, struct buf *b)
{
	struct reader r = {.data = data, .len = len};
	size_t was = b->len;
	uint8_t exif[40];

	if (take_marker(&r) == SOI) {
		buf_put(b, (const uint8_t[]){0xff, SOI}, 2);
		if (orientation != 1)
			put_segment(b, APP1, exif, exif_orientation_segment(orientation, exif));
		if (strip(&r, b) && !b->failed)
			return true;
	}
	b->len = was;
	return false;
}
