#include "common/codec/tables.h"

#include <errno.h>
#include <string.h>

const uint8_t JPEG_NATURAL_ORDER[DCT_SIZE2] = {
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
};

/* T.81 tables K.1 and K.2. */
static const uint8_t annex_k_quant[2][DCT_SIZE2] = {
	{
		16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55,
		14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62,
		18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
		49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
	},
	{
		17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,
		24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
	},
};

/* T.81 tables K.3 to K.6. */
static const struct huff_spec annex_k_dc[2] = {
	{{0, 0, 1, 5, 1, 1, 1, 1, 1, 1}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
	{{0, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
};

static const struct huff_spec annex_k_ac[2] = {
	{{0, 0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d},
		{
			0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51,
			0x61, 0x07, 0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1,
			0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18,
			0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39,
			0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57,
			0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75,
			0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92,
			0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
			0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
			0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8,
			0xd9, 0xda, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2,
			0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
		}},
	{{0, 0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77},
		{
			0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07,
			0x61, 0x71, 0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09,
			0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25,
			0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38,
			0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56,
			0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74,
			0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89,
			0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5,
			0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
			0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6,
			0xd7, 0xd8, 0xd9, 0xda, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2,
			0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
		}},
};

void tables_standard_quant(int quality, int which, uint16_t ret_quant[DCT_SIZE2])
{
	int scale = quality < 50 ? 5000 / quality : 200 - quality * 2;

	for (int i = 0; i < DCT_SIZE2; i++) {
		int q = (annex_k_quant[which][i] * scale + 50) / 100;

		ret_quant[i] = (uint16_t)CLAMP(q, 1, 255);
	}
}

void tables_standard(int quality, struct jpeg_tables *ret)
{
	for (int i = 0; i < 2; i++) {
		tables_standard_quant(quality, i, ret->quant[i]);
		ret->dc[i] = annex_k_dc[i];
		ret->ac[i] = annex_k_ac[i];
	}
}

int tables_estimate_quality(const uint16_t quant[DCT_SIZE2])
{
	uint16_t standard[DCT_SIZE2];
	long want = 0, best = -1;
	int quality = 1;

	for (int i = 0; i < DCT_SIZE2; i++)
		want += quant[i];
	for (int q = 1; q <= 100; q++) {
		long sum = 0, miss;

		tables_standard_quant(q, 0, standard);
		for (int i = 0; i < DCT_SIZE2; i++)
			sum += standard[i];
		miss = labs(sum - want);
		if (best < 0 || miss < best) {
			best = miss;
			quality = q;
		}
	}
	return quality;
}

static int count_vals(const struct huff_spec *h)
{
	int n = 0;

	for (int i = 1; i <= 16; i++)
		n += h->bits[i];
	return n;
}

static void put_marker(struct buf *b, int marker)
{
	buf_put_u8(b, 0xff);
	buf_put_u8(b, (uint8_t)marker);
}

static void put_be16(struct buf *b, int v)
{
	buf_put_u8(b, (uint8_t)(v >> 8));
	buf_put_u8(b, (uint8_t)v);
}

static void put_huff(struct buf *b, int id, const struct huff_spec *h)
{
	buf_put_u8(b, (uint8_t)id);
	buf_put(b, h->bits + 1, 16);
	buf_put(b, h->vals, (size_t)count_vals(h));
}

void tables_write_segments(const struct jpeg_tables *t, int n_sets, struct buf *b)
{
	int dht = 2;

	put_marker(b, 0xdb);
	put_be16(b, 2 + n_sets * (1 + DCT_SIZE2));
	for (int s = 0; s < n_sets; s++) {
		buf_put_u8(b, (uint8_t)s);
		for (int k = 0; k < DCT_SIZE2; k++)
			buf_put_u8(b, (uint8_t)t->quant[s][JPEG_NATURAL_ORDER[k]]);
	}
	for (int s = 0; s < n_sets; s++)
		dht += 2 * 17 + count_vals(&t->dc[s]) + count_vals(&t->ac[s]);
	put_marker(b, 0xc4);
	put_be16(b, dht);
	for (int s = 0; s < n_sets; s++) {
		put_huff(b, s, &t->dc[s]);
		put_huff(b, 0x10 | s, &t->ac[s]);
	}
}

void tables_write(const struct jpeg_tables *t, struct buf *b)
{
	put_marker(b, 0xd8);
	tables_write_segments(t, 2, b);
	put_marker(b, 0xd9);
}

static int take_be16(struct reader *r)
{
	const uint8_t *p = reader_take(r, 2);

	return p ? p[0] << 8 | p[1] : 0;
}

static int read_quant(struct reader *r, struct jpeg_tables *t)
{
	for (int s = 0; s < 2; s++) {
		const uint8_t *p;

		if (reader_u8(r) != s)
			return -EINVAL;
		p = reader_take(r, DCT_SIZE2);
		for (int k = 0; p && k < DCT_SIZE2; k++) {
			if (p[k] == 0)
				return -EINVAL;
			t->quant[s][JPEG_NATURAL_ORDER[k]] = p[k];
		}
	}
	return r->failed ? -EINVAL : 0;
}

static int read_huff(struct reader *r, int id, struct huff_spec *h)
{
	const uint8_t *p;
	uint32_t code = 0;
	int n = 0;

	if (reader_u8(r) != id || !(p = reader_take(r, 16)))
		return -EINVAL;
	memset(h, 0, sizeof(*h));
	for (int i = 1; i <= 16; i++) {
		h->bits[i] = p[i - 1];
		n += p[i - 1];
		code = (code + p[i - 1]) << 1;
		if (code > UINT32_C(2) << i) /* more codes than a prefix code has room for */
			return -EINVAL;
	}
	if (n > 256 || !(p = reader_take(r, (size_t)n)))
		return -EINVAL;
	memcpy(h->vals, p, (size_t)n);
	return 0;
}

int tables_read(const uint8_t *data, size_t len, struct jpeg_tables *ret)
{
	struct reader r = {data, len, false};
	struct jpeg_tables t = {0};

	if (take_be16(&r) != 0xffd8 || take_be16(&r) != 0xffdb || take_be16(&r) != 2 + 2 * 65)
		return -EINVAL;
	if (read_quant(&r, &t) < 0 || take_be16(&r) != 0xffc4)
		return -EINVAL;
	take_be16(&r);
	for (int s = 0; s < 2; s++)
		if (read_huff(&r, s, &t.dc[s]) < 0 || read_huff(&r, 0x10 | s, &t.ac[s]) < 0)
			return -EINVAL;
	if (take_be16(&r) != 0xffd9 || !reader_finished(&r))
		return -EINVAL;
	*ret = t;
	return 0;
}
