/*
 * Digests: SHA-256 (FIPS 180-4) names a capture by its content; CRC-32C (Castagnoli) notices rot
 * in a stored object, CRC-16 (0x1021 from all ones, "CCITT-FALSE") in its row.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

void sha256(const void *data, size_t len, uint8_t ret_digest[SHA256_BYTES]);

/* The ID of a capture with that digest: 63 of its first 64 bits. And an ID as people see it. */
int64_t digest_id(const uint8_t digest[SHA256_BYTES]);
const char *format_id(int64_t id, char buf[17]);

/* Continues crc over len more bytes; start with 0. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
uint16_t crc16(const void *data, size_t len);

/*
 * The bit (8 n and on are those of byte n, the lowest first) by whose flipping alone the CRC of len bytes
 * becomes another, `difference` being the exclusive or of both; -1: not by one bit. Two flipped bits are never
 * taken for one: the polynomial is a multiple of x + 1.
 */
int64_t crc32c_flipped(uint32_t difference, size_t len);
