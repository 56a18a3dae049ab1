/*
 * A stored image as the index holds it: a table set, then layout, width and height as the row has
 * them, then packed coefficients. With the set's bytes damaged, a set of no use.
 */
#include "common/codec/decode.h"
#include "policy/shared.h"
#include "tests/fuzz/fuzz.h"

#define HEAD	 (1 + 2 + 2 + 2)
#define SIDE_MAX 512

static void read_back(
	const struct coef_image *im, const struct jpeg_tables *t, const struct pack_model *m)
{
	_cleanup_coef_ struct coef_image again = {0};
	_cleanup_buf_ struct buf b = {0};

	CRASH_UNLESS(pack_write(im, m, 0, &b) == 0);
	CRASH_UNLESS(packed_decode(b.data, b.len, coef_layout(im), im->width, im->height, 1, t, m,
			     &again) == 0);
	for (int i = 0; i < im->n_planes; i++) {
		const struct coef_plane *p = &im->plane[i], *q = &again.plane[i];
		size_t n = (size_t)p->blocks_w * (size_t)p->blocks_h * DCT_SIZE2;

		for (size_t k = 0; k < n; k++)
			CRASH_UNLESS(p->coef[k] == q->coef[k]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_coef_ struct coef_image im = {0};
	struct table_set set = {0};
	struct jpeg_tables t;
	struct reader r = {data, len, false};
	uint16_t n = reader_u16(&r), width, height;
	const uint8_t *bytes = reader_take(&r, n);
	uint8_t layout = reader_u8(&r);

	width = reader_u16(&r) % SIDE_MAX;
	height = reader_u16(&r) % SIDE_MAX;
	if (r.failed || table_set_read(bytes, n, &set) < 0)
		return 0;
	set.id = 1;
	CRASH_UNLESS(table_set_tables(&set, LADDER[r.len % LADDER_RUNGS], &t));
	if (packed_decode(r.data, r.len, layout, width, height, 1, &t, &set.pack, &im) == 0)
		read_back(&im, &t, &set.pack);
	return 0;
}
