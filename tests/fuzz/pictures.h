/* What must hold of a capture, whatever bytes it has. */
#pragma once

#include "common/codec/decode.h"
#include "common/codec/input.h"
#include "tests/fuzz/fuzz.h"

#define FUZZ_PIXELS_MAX (1 << 16) /* more of them a second find more */

/* Goes every way that a capture's coefficients go in a worker. */
static inline void use_coefficients(const struct coef_image *im)
{
	_cleanup_coef_ struct coef_image low = {0}, again = {0};
	_cleanup_buf_ struct buf file = {0};
	struct capture_info info;
	struct jpeg_tables t;
	uint8_t rgb[32 * 32 * 3];

	CRASH_UNLESS((int64_t)im->width * im->height <= FUZZ_PIXELS_MAX);
	CRASH_UNLESS(im->orientation >= 1 && im->orientation <= 8);
	CRASH_UNLESS(coef_quality(im) >= 1 && coef_quality(im) <= 100);
	CRASH_UNLESS(input_from_coef(im, 32, rgb) == 0);
	tables_standard(10, &t);
	CRASH_UNLESS(coef_requantise(im, &t, &low) == 0);
	CRASH_UNLESS(jpeg_write_file(&low, &t, &file) == 0);
	CRASH_UNLESS(capture_decode(file.data, file.len, FUZZ_PIXELS_MAX, &again, &info) == 0);
	CRASH_UNLESS(again.width == im->width && again.height == im->height);
	CRASH_UNLESS(
		coef_layout(&again) == coef_layout(im) && again.orientation == im->orientation);
}

/* Bytes of other formats than the target's are left to their own target. */
static inline int fuzz_capture(const uint8_t *data, size_t len, const char *magic)
{
	_cleanup_coef_ struct coef_image im = {0};
	struct capture_info info;

	if (len < 1 || data[0] != (uint8_t)magic[0])
		return 0;
	if (capture_decode(data, len, FUZZ_PIXELS_MAX, &im, &info) == 0)
		use_coefficients(&im);
	else
		CRASH_UNLESS(info.reason[0]);
	return 0;
}
