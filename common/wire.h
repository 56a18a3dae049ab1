/*
 * Byte buffers that grow, and readers that never run over the end: the two ends of every message
 * between our processes and of every small binary value in the index. Numbers are little-endian.
 *
 * Both keep a sticky error, so a caller writes or reads a whole message and checks once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/macros.h"

struct buf {
	uint8_t *data; /* owned */
	size_t len, cap;
	bool failed; /* an allocation failed: the content is incomplete */
};

void buf_done(struct buf *b);
#define _cleanup_buf_ _cleanup_(buf_done)

/* Makes room for n more bytes and returns where they go, or NULL; len does not change. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_put(struct buf *b, const void *data, size_t n);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_f32(struct buf *b, float v);

/* A u32 length, then the bytes. */
void buf_put_blob(struct buf *b, const void *data, size_t n);

/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);

struct reader {
	const uint8_t *data; /* borrowed */
	size_t len;
	bool failed; /* something was read past the end; values since are zero */
};

/* Points into the data, or NULL and failed. */
const uint8_t *reader_take(struct reader *r, size_t n);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
float reader_f32(struct reader *r);
const uint8_t *reader_blob(struct reader *r, size_t *ret_len);

/* True when everything was read and nothing is left over. */
bool reader_finished(const struct reader *r);
