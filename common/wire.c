#include "common/wire.h"

#include <string.h>

void buf_done(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	if (b->failed || n > SIZE_MAX / 4 - b->len) {
		b->failed = true;
		return NULL;
	}
	if (b->len + n > b->cap) {
		size_t cap = MAX(MAX(b->cap * 2, b->len + n), (size_t)64);
		uint8_t *data = realloc(b->data, cap);

		if (!data) {
			b->failed = true;
			return NULL;
		}
		b->data = data;
		b->cap = cap;
	}
	return b->data + b->len;
}

void buf_put(struct buf *b, const void *data, size_t n)
{
	uint8_t *to = n ? buf_reserve(b, n) : NULL; /* there may be nothing yet to point into */

	if (!to)
		return;
	memcpy(to, data, n);
	b->len += n;
}

static void put_le(struct buf *b, uint64_t v, int bytes)
{
	uint8_t le[8];

	for (int i = 0; i < bytes; i++)
		le[i] = (uint8_t)(v >> (8 * i));
	buf_put(b, le, (size_t)bytes);
}

void buf_put_u8(struct buf *b, uint8_t v)
{
	put_le(b, v, 1);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
	put_le(b, v, 2);
}

void buf_put_u32(struct buf *b, uint32_t v)
{
	put_le(b, v, 4);
}

void buf_put_u64(struct buf *b, uint64_t v)
{
	put_le(b, v, 8);
}

void buf_put_f32(struct buf *b, float v)
{
	uint32_t bits;

	memcpy(&bits, &v, sizeof(bits));
	put_le(b, bits, 4);
}

void buf_put_blob(struct buf *b, const void *data, size_t n)
{
	buf_put_u32(b, (uint32_t)n);
	buf_put(b, data, n);
}

void buf_consume(struct buf *b, size_t n)
{
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

const uint8_t *reader_take(struct reader *r, size_t n)
{
	const uint8_t *at = r->data;

	if (r->failed || n > r->len) {
		r->failed = true;
		return NULL;
	}
	r->data += n;
	r->len -= n;
	return at;
}

static uint64_t take_le(struct reader *r, int bytes)
{
	const uint8_t *p = reader_take(r, (size_t)bytes);
	uint64_t v = 0;

	for (int i = 0; p && i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t reader_u8(struct reader *r)
{
	return (uint8_t)take_le(r, 1);
}

uint16_t reader_u16(struct reader *r)
{
	return (uint16_t)take_le(r, 2);
}

uint32_t reader_u32(struct reader *r)
{
	return (uint32_t)take_le(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
	return take_le(r, 8);
}

float reader_f32(struct reader *r)
{
	uint32_t bits = reader_u32(r);
	float v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

const uint8_t *reader_blob(struct reader *r, size_t *ret_len)
{
	uint32_t n = reader_u32(r);
	const uint8_t *p = reader_take(r, n);

	*ret_len = p ? n : 0;
	return p;
}

bool reader_finished(const struct reader *r)
{
	return !r->failed && r->len == 0;
}
