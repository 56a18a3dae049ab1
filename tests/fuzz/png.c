/* A PNG capture. Its chunks' checksums are mended first, or hardly a change would get past them. */
#include "tests/fuzz/pictures.h"

#define SIGNATURE  8
#define CHUNK_HEAD 8 /* length, type */

static uint32_t crc32_of(const uint8_t *data, size_t len)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
	}
	return ~crc;
}

static void mend_checksums(uint8_t *data, size_t len)
{
	for (size_t at = SIGNATURE; at + CHUNK_HEAD + 4 <= len;) {
		uint32_t n, crc;

		n = (uint32_t)data[at] << 24 | (uint32_t)data[at + 1] << 16 |
		    (uint32_t)data[at + 2] << 8 | data[at + 3];
		if (n > len - at - CHUNK_HEAD - 4)
			return;
		crc = crc32_of(data + at + 4, 4 + (size_t)n);
		at += CHUNK_HEAD + n;
		for (int k = 0; k < 4; k++)
			data[at + (size_t)k] = (uint8_t)(crc >> (24 - 8 * k));
		at += 4;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(MAX(len, (size_t)1));

	CRASH_UNLESS(copy);
	memcpy(copy, data, len);
	mend_checksums(copy, len);
	fuzz_capture(copy, len, "\x89");
	free(copy);
	return 0;
}
