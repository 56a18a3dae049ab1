/*
 * Digests: SHA-256 (FIPS 180-4) names a capture by its content; CRC-32C (Castagnoli) notices rot
 * in a stored object.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

void sha256(const void *data, size_t len, uint8_t ret_digest[SHA256_BYTES]);

/* Continues crc over len more bytes; start with 0. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
