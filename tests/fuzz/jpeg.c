/* A JPEG capture. */
#include "common/codec/strip.h"
#include "tests/fuzz/pictures.h"
#include "tests/unit/same.h"

/* What a picture does not need makes no difference to it. */
static void strip(const uint8_t *data, size_t len)
{
	_cleanup_coef_ struct coef_image whole = {0}, stripped = {0};
	_cleanup_buf_ struct buf b = {0};
	struct capture_info info;

	if (!jpeg_strip(data, len, 3, &b)) {
		CRASH_UNLESS(!b.len);
		return;
	}
	if (capture_decode(data, len, FUZZ_PIXELS_MAX, &whole, &info) < 0)
		return;
	CRASH_UNLESS(capture_decode(b.data, b.len, FUZZ_PIXELS_MAX, &stripped, &info) == 0);
	CRASH_UNLESS(same_picture(&whole, &stripped) && stripped.orientation == 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	strip(data, len);
	return fuzz_capture(data, len, "\xff");
}
