/*
 * The two things we want from EXIF: which way is up, and when the picture was taken. Works on
 * hostile bytes; what is not understood is ignored.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* data is an APP1 segment's payload, beginning with "Exif". Leaves the outputs alone when absent. */
void exif_parse(const uint8_t *data, size_t len, int *ret_orientation, int64_t *ret_taken_s);

/* An APP1 payload that says nothing but the orientation; returns its length (at most 40). */
size_t exif_orientation_segment(int orientation, uint8_t out[40]);
