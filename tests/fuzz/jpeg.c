/* A JPEG capture. */
#include "common/codec/strip.h"
#include "tests/fuzz/pictures.h"

static bool same_plane(const struct coef_plane *a, const struct coef_plane *b)
{
	size_t n = (size_t)a->blocks_w * (size_t)a->blocks_h;

	return a->blocks_w == b->blocks_w && a->blocks_h == b->blocks_h &&
	       !memcmp(a->quant, b->quant, sizeof(a->quant)) &&
	       !memcmp(a->coef, b->coef, n * DCT_SIZE2 * sizeof(int16_t));
}

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
	CRASH_UNLESS(stripped.n_planes == whole.n_planes && stripped.orientation == 3);
	for (int i = 0; i < whole.n_planes; i++)
		CRASH_UNLESS(same_plane(&whole.plane[i], &stripped.plane[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	strip(data, len);
	return fuzz_capture(data, len, "\xff");
}
