/* jpeg, coef, pixels, decode, exif: coefficients against libjpeg's own way through pixels. */
#include <errno.h>
#include <stdio.h>

#include <jpeglib.h>

#include "common/codec/decode.h"
#include "common/codec/exif.h"
#include "common/codec/input.h"
#include "common/codec/strip.h"
#include "tests/unit/pictures.h"
#include "tests/unit/same.h"
#include "tests/unit/test.h"
#include "tools/lab/peer.h"

#define MANY_PIXELS (1 << 26)

enum variant { BASELINE, PROGRESSIVE, GREY, CMYK, FULL_CHROMA, RESTARTS, TALL_LUMA, SCANS };

/* What a camera would write, through libjpeg. */
static void encode(const struct pixels *px, int quality, enum variant v, struct buf *out)
{
	static const jpeg_scan_info each[] = {
		{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
	struct jpeg_compress_struct c;
	struct jpeg_error_mgr err;
	unsigned char *mem = NULL;
	unsigned long len = 0;
	uint8_t *row = malloc((size_t)px->width * 4);

	c.err = jpeg_std_error(&err);
	jpeg_create_compress(&c);
	jpeg_mem_dest(&c, &mem, &len);
	c.image_width = (JDIMENSION)px->width;
	c.image_height = (JDIMENSION)px->height;
	c.input_components = v == GREY ? 1 : v == CMYK ? 4 : 3;
	c.in_color_space = v == GREY ? JCS_GRAYSCALE : v == CMYK ? JCS_CMYK : JCS_RGB;
	jpeg_set_defaults(&c);
	jpeg_set_quality(&c, quality, TRUE);
	if (v == PROGRESSIVE)
		jpeg_simple_progression(&c);
	if (v == FULL_CHROMA)
		c.comp_info[0].h_samp_factor = c.comp_info[0].v_samp_factor = 1;
	if (v == RESTARTS)
		c.restart_interval = 3;
	if (v == TALL_LUMA)
		c.comp_info[0].h_samp_factor = 1;
	if (v == SCANS) {
		c.scan_info = each;
		c.num_scans = 3;
	}
	jpeg_start_compress(&c, TRUE);
	for (int y = 0; y < px->height; y++) {
		const uint8_t *in = px->rgb + 3 * y * px->width;

		for (int x = 0; x < px->width; x++)
			if (v == GREY) {
				row[x] = in[3 * x + 1];
			} else if (v == CMYK) { /* as Adobe: inverted */
				memcpy(row + 4 * x, in + 3 * x, 3);
				row[4 * x + 3] = 255;
			} else {
				memcpy(row + 3 * x, in + 3 * x, 3);
			}
		jpeg_write_scanlines(&c, &row, 1);
	}
	jpeg_finish_compress(&c);
	jpeg_destroy_compress(&c);
	buf_put(out, mem, len);
	free(mem);
	free(row);
}

/*
 * The promise of the coefficient domain: a rung made from coefficients is as good a picture as one
 * made by decoding and encoding, within half a dB of it, and of the same size within 5 %.
 */
static void test_requantise(void)
{
	static const int rungs[] = {5, 10, 20, 30, 50, 70, 90};
	_cleanup_pixels_ struct pixels px = {0}, original = {0};
	_cleanup_buf_ struct buf jpeg = {0};
	_cleanup_coef_ struct coef_image im = {0}, rung = {0};
	struct capture_info info;

	draw(&px, 203, 117, 3);
	encode(&px, 95, BASELINE, &jpeg);
	peer_decode(jpeg.data, jpeg.len, &original);
	CHECK_INT(capture_decode(jpeg.data, jpeg.len, MANY_PIXELS, &im, &info), 0);
	CHECK_INT(info.quality, 95);
	for (size_t i = 0; i < ARRAY_SIZE(rungs); i++) {
		_cleanup_buf_ struct buf ours = {0}, theirs = {0};
		_cleanup_pixels_ struct pixels a = {0}, b = {0};
		size_t n = (size_t)px.width * (size_t)px.height * 3;
		struct symbol_counts counts;
		struct jpeg_tables t;
		double mine, his;

		tables_standard(rungs[i], &t);
		CHECK_INT(coef_requantise(&im, &t, &rung), 0);
		CHECK_INT(jpeg_write_file(&rung, &t, &ours), 0);
		encode(&original, rungs[i], BASELINE, &theirs);
		peer_decode(ours.data, ours.len, &a);
		peer_decode(theirs.data, theirs.len, &b);
		mine = psnr(original.rgb, a.rgb, n);
		his = psnr(original.rgb, b.rgb, n);
		CHECK(mine > his - 0.5);
		coef_count(&rung, &counts);
		CHECK_NEAR((double)scan_bytes_optimal(&counts, 2) + jpeg_file_overhead(3, 1), ours.len,
			8 + 0.01 * (double)ours.len);
	}
}

/* The largest of both kinds stay within what a scan can code. */
static void test_extreme_steps(void)
{
	CHECK_INT(requantise_one(INT16_MIN, requantise_from(UINT16_MAX, 1)), -COEF_MAX);
	CHECK_INT(requantise_one(1, requantise_from(UINT16_MAX, 1)), COEF_MAX);
	CHECK_INT(requantise_one(0, requantise_from(UINT16_MAX, 1)), 0);
	CHECK_INT(requantise_one(INT16_MAX, requantise_from(1, UINT16_MAX)), 0);
	CHECK_INT(requantise_one(-3, requantise_from(1, 2)), -2);
	CHECK_INT(requantise_one(-3, requantise_from(2, 4)), -1);
}

/* Of a step that no file can hold the largest is written, and its zero is as wide as was asked for. */
static void test_wide_zeros(void)
{
	const struct requantise q = requantise_from(1, 600);
	_cleanup_coef_ struct coef_image im = {0}, rung = {0}, back = {0};
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_buf_ struct buf file = {0};
	struct jpeg_tables t;
	struct capture_info info;
	int kept = 0;

	CHECK_INT(requantise_one(299, q), 0);
	CHECK_INT(requantise_one(-299, q), 0);
	CHECK_INT(requantise_one(300, q), 1);
	CHECK_INT(requantise_one(-400, q), -2);
	CHECK_INT(requantise_one(1023, requantise_from(1, STEP_MAX)), 0);
	CHECK_INT(requantise_one(128, requantise_from(1, STEP_WRITTEN_MAX)), 1);

	draw(&px, 64, 64, 3);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	tables_standard(50, &t);
	for (int i = 0; i < 2; i++)
		for (int k = 1; k < DCT_SIZE2; k++)
			t.quant[i][k] = 300;
	t.quant[0][0] = 900;
	CHECK_INT(coef_requantise(&im, &t, &rung), 0);
	for (int64_t n = coef_blocks(&im) * DCT_SIZE2, i = 0; i < n; i++) {
		int k = (int)(i % DCT_SIZE2), was = im.block_memory[i] * im.plane[0].quant[k];

		CHECK(!k || (rung.block_memory[i] == 0) == (abs(was) < 150)); /* not the DCs */
		kept += k && rung.block_memory[i];
	}
	CHECK(kept > 0);
	for (int size = 8; size <= 64; size *= 2) {
		struct input_maker *m = input_maker_new();
		uint8_t a[64 * 64 * 3], b[64 * 64 * 3];

		CHECK_INT(input_maker_load(m, &im, size), 0);
		input_make(m, &t, a);
		CHECK_INT(input_from_coef(&rung, size, b), 0);
		CHECK(!memcmp(a, b, (size_t)size * (size_t)size * 3));
		input_maker_free(m);
	}
	CHECK_INT(jpeg_write_file(&rung, &t, &file), 0);
	CHECK_INT(capture_decode(file.data, file.len, MANY_PIXELS, &back, &info), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(back.plane[i].quant[0], i ? t.quant[1][0] : STEP_WRITTEN_MAX);
		CHECK_INT(back.plane[i].quant[9], STEP_WRITTEN_MAX);
		CHECK(!memcmp(back.plane[i].quant, rung.plane[i].quant, sizeof(back.plane[i].quant)));
	}
	CHECK(!memcmp(back.block_memory, rung.block_memory, (size_t)coef_blocks(&im) * DCT_SIZE2 * sizeof(int16_t)));
}

/*
 * The longest way down, stage by stage, against going there at once: within half a dB all the way. With
 * stages as close as the ladder's rungs the picture drowns in coefficients rounded up.
 */
static void test_stages(void)
{
	static const int way[] = {95, 80, 40, 10, 2};
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image source = {0}, staged = {0}, direct = {0};
	uint8_t want[64 * 64 * 3], a[64 * 64 * 3], b[64 * 64 * 3];
	struct jpeg_tables t;

	draw(&px, 64, 64, 12);
	CHECK_INT(pixels_to_coef(&px, &source), 0);
	CHECK_INT(input_from_coef(&source, 64, want), 0);
	tables_standard(way[0], &t);
	CHECK_INT(coef_requantise(&source, &t, &staged), 0);
	for (size_t i = 1; i < ARRAY_SIZE(way); i++) {
		tables_standard(way[i], &t);
		CHECK_INT(coef_requantise(&staged, &t, &staged), 0);
		CHECK_INT(coef_requantise(&source, &t, &direct), 0);
		input_from_coef(&staged, 64, a);
		input_from_coef(&direct, 64, b);
		CHECK(psnr(want, a, sizeof(a)) > psnr(want, b, sizeof(b)) - 0.5);
		if (getenv("VERBOSE"))
			printf("quality %d: %.2f dB staged, %.2f dB direct\n", way[i],
				psnr(want, a, sizeof(a)), psnr(want, b, sizeof(b)));
	}
}

static void test_variants(void)
{
	_cleanup_pixels_ struct pixels px = {0};
	uint8_t want[32 * 32 * 3], got[32 * 32 * 3];

	draw(&px, 96, 64, 9);
	for (enum variant v = BASELINE; v <= SCANS; v++) {
		_cleanup_buf_ struct buf jpeg = {0};
		_cleanup_coef_ struct coef_image im = {0};
		struct capture_info info;

		encode(&px, 90, v, &jpeg);
		CHECK_INT(capture_decode(jpeg.data, jpeg.len, MANY_PIXELS, &im, &info), 0);
		CHECK_INT(im.width, 96);
		CHECK_INT(im.height, 64);
		CHECK_INT(im.n_planes, v == GREY ? 1 : 3);
		CHECK_INT(info.quality, 90);
		CHECK_INT(input_from_coef(&im, 32, got), 0);
		if (v == BASELINE)
			memcpy(want, got, sizeof(want));
		else if (v != GREY)
			CHECK(psnr(want, got, sizeof(want)) > 30);
	}
}

/* Files in one scan are read as they pass, the others when they are whole: the same comes of both. */
static void test_scans(void)
{
	static const int size[][2] = {{1, 1}, {8, 8}, {9, 17}, {16, 24}, {23, 8}, {40, 33}, {57, 121}};

	for (size_t i = 0; i < ARRAY_SIZE(size); i++) {
		_cleanup_coef_ struct coef_image passing = {0}, whole = {0};
		_cleanup_pixels_ struct pixels px = {0};

		draw(&px, size[i][0], size[i][1], 11 + i);
		for (enum variant v = PROGRESSIVE; v <= SCANS; v += SCANS - PROGRESSIVE) {
			_cleanup_buf_ struct buf a = {0}, b = {0};
			struct capture_info info;

			encode(&px, 80, BASELINE, &a);
			encode(&px, 80, v, &b);
			CHECK_INT(capture_decode(a.data, a.len, MANY_PIXELS, &passing, &info), 0);
			CHECK_INT(capture_decode(b.data, b.len, MANY_PIXELS, &whole, &info), 0);
			CHECK(same_picture(&passing, &whole));
			for (int k = 0; k < 3; k++) {
				const struct coef_plane *p = &passing.plane[k];
				size_t n = (size_t)p->blocks_w * (size_t)p->blocks_h;

				for (size_t n_b = 0; n_b < n; n_b++)
					CHECK(p->dc[n_b] == p->coef[n_b * DCT_SIZE2]);
			}
		}
	}
}

/* A file behind a segment of its own and before something else, as phones append films. */
static void wrap(const struct buf *jpeg, uint8_t marker, struct buf *out)
{
	static const uint8_t body[700] = {0xff, 0xd8, 0xff, 0xda};

	out->len = 0;
	buf_put(out, jpeg->data, 2);
	buf_put(out,
		(const uint8_t[]){0xff, 0xff, marker, (sizeof(body) + 2) >> 8, (sizeof(body) + 2) & 255},
		5);
	buf_put(out, body, sizeof(body));
	buf_put(out, jpeg->data + 2, jpeg->len - 2);
	buf_put(out, body, sizeof(body));
}

/* What is left of a file is the same picture; what would not be is left alone. */
static void test_strip(void)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_buf_ struct buf whole = {0}, b = {0};
	struct capture_info info;

	draw(&px, 50, 40, 3);
	for (enum variant v = BASELINE; v <= SCANS; v++) {
		_cleanup_coef_ struct coef_image before = {0}, after = {0};
		_cleanup_buf_ struct buf jpeg = {0};
		bool one_scan = v != PROGRESSIVE && v != CMYK && v != SCANS;

		encode(&px, 80, v, &jpeg);
		wrap(&jpeg, 0xe2, &whole);
		b.len = 0;
		buf_put(&b, "before", 6);
		CHECK_INT(jpeg_strip(whole.data, whole.len, 6, &b), one_scan);
		if (!one_scan) {
			CHECK_INT(b.len, 6);
			continue;
		}
		CHECK(b.len - 6 <= jpeg.len + 36 && !memcmp(b.data, "before\xff\xd8", 8));
		CHECK_INT(capture_decode(whole.data, whole.len, MANY_PIXELS, &before, &info), 0);
		CHECK_INT(capture_decode(b.data + 6, b.len - 6, MANY_PIXELS, &after, &info), 0);
		CHECK(same_picture(&before, &after) && after.orientation == 6);
		wrap(&jpeg, 0xee, &whole); /* Adobe's may say that it is RGB */
		CHECK(!jpeg_strip(whole.data, whole.len, 1, &b));
	}
}

/* Every truncation, and every byte wrong: no file, or the same picture if it is any. */
static void test_strip_damaged(void)
{
	_cleanup_coef_ struct coef_image before = {0}, after = {0};
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_buf_ struct buf jpeg = {0}, b = {0};
	struct capture_info info;
	int stripped = 0;

	draw(&px, 40, 24, 7);
	encode(&px, 60, RESTARTS, &jpeg);
	for (size_t len = 0; len < jpeg.len; len++) {
		uint8_t *copy = malloc(len + 1);

		memcpy(copy, jpeg.data, len);
		CHECK(!jpeg_strip(copy, len, 1, &b) && !b.len);
		free(copy);
	}
	for (size_t i = 0; i < 255 * jpeg.len; i += 13) {
		jpeg.data[i / 255] ^= (uint8_t)(1 + i % 255);
		if (jpeg_strip(jpeg.data, jpeg.len, 1, &b) &&
			capture_decode(jpeg.data, jpeg.len, 1 << 16, &before, &info) == 0) {
			CHECK_INT(capture_decode(b.data, b.len, 1 << 16, &after, &info), 0);
			CHECK(same_picture(&before, &after));
			stripped++;
		}
		b.len = 0;
		jpeg.data[i / 255] ^= (uint8_t)(1 + i % 255);
	}
	CHECK(stripped > 1000);
}

/* A sample of a plane by the book: the mean over f x f pixels, edges repeated. */
static double sample_at(const struct pixels *px, int plane, int x, int y, int f)
{
	static const double w[3][3] = {{0.299, 0.587, 0.114}, {-0.168735892, -0.331264108, 0.5},
		{0.5, -0.418687589, -0.081312411}};
	double sum = 0;

	for (int i = 0; i < f * f; i++) {
		const uint8_t *p = px->rgb + 3 * (MIN(y * f + i / f, px->height - 1) * px->width +
							 MIN(x * f + i % f, px->width - 1));

		sum += w[plane][0] * p[0] + w[plane][1] * p[1] + w[plane][2] * p[2];
	}
	return sum / (f * f) - (plane ? 0 : 128);
}

/* Pixels become the coefficients that T.81, A.3.3 says they do. */
static void test_pixels(void)
{
	static const int size[][2] = {{1, 1}, {7, 9}, {16, 8}, {33, 20}, {24, 50}};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(size); i++) {
		int grey = i % 2, width = size[i / 2][0], height = size[i / 2][1];
		_cleanup_pixels_ struct pixels px = {0};
		_cleanup_coef_ struct coef_image im = {0};

		draw(&px, width, height, i);
		for (int k = 0; grey && k < width * height; k++)
			px.rgb[3 * k + 1] = px.rgb[3 * k + 2] = px.rgb[3 * k];
		CHECK_INT(pixels_to_coef(&px, &im), 0);
		CHECK_INT(im.n_planes, grey ? 1 : 3);
		for (int p = 0; p < im.n_planes; p++)
			for (int c = 0; c < im.plane[p].blocks_w * im.plane[p].blocks_h * DCT_SIZE2; c++) {
				int k = JPEG_NATURAL_ORDER[c % DCT_SIZE2], block = c / DCT_SIZE2;
				int left = block % im.plane[p].blocks_w * 8,
				    top = block / im.plane[p].blocks_w * 8;
				double sum = 0;

				for (int s = 0; s < 64; s++)
					sum += sample_at(&px, p, left + s % 8, top + s / 8, p ? 2 : 1) *
					       cos((2 * (s % 8) + 1) * (k % 8) * M_PI / 16) *
					       cos((2 * (s / 8) + 1) * (k / 8) * M_PI / 16);
				sum *= (k % 8 ? 0.5 : sqrt(0.125)) * (k / 8 ? 0.5 : sqrt(0.125));
				CHECK_NEAR(im.plane[p].coef[c], sum, 0.51);
			}
	}
}

/* The network's input is what a decoder and an area resampler would have given. */
static void test_input(void)
{
	_cleanup_pixels_ struct pixels px = {0}, decoded = {0};
	_cleanup_buf_ struct buf jpeg = {0};
	_cleanup_coef_ struct coef_image im = {0};
	struct capture_info info;
	uint8_t got[64 * 64 * 3], want[64 * 64 * 3];

	draw(&px, 128, 128, 5);
	encode(&px, 92, FULL_CHROMA, &jpeg);
	peer_decode(jpeg.data, jpeg.len, &decoded);
	CHECK_INT(capture_decode(jpeg.data, jpeg.len, MANY_PIXELS, &im, &info), 0);
	CHECK_INT(input_from_coef(&im, 64, got), 0);
	for (int y = 0; y < 64; y++)
		for (int x = 0; x < 64; x++)
			for (int c = 0; c < 3; c++) {
				const uint8_t *p = decoded.rgb + 3 * (2 * y * 128 + 2 * x) + c;

				want[3 * (y * 64 + x) + c] =
					(uint8_t)((p[0] + p[3] + p[3 * 128] + p[3 * 129] + 2) / 4);
			}
	CHECK(psnr(want, got, sizeof(want)) > 30); /* a scaled DCT is sharper than a box */
	CHECK_INT(input_from_coef(&im, 128 / 2, got), 0);
	/* At full size it is the decoder's picture to a rounding. */
	_cleanup_free_ uint8_t *full = malloc(128 * 128 * 3);
	CHECK_INT(input_from_coef(&im, 128, full), 0);
	CHECK(psnr(decoded.rgb, full, 128 * 128 * 3) > 48);
}

static void test_orientation(void)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0};
	uint8_t got[16 * 16 * 3];
	/* Where the coded top-left corner is seen: [orientation] = {row, column}. */
	static const int corner[9][2] = {{0}, {0, 0}, {0, 15}, {15, 15}, {15, 0}, {0, 0}, {0, 15}, {15, 15},
		{15, 0}};

	pixels_init(&px, 16, 16);
	memset(px.rgb, 0, 16 * 16 * 3);
	for (int y = 0; y < 4; y++)
		memset(px.rgb + 3 * 16 * y, 255, 12);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	for (int o = 1; o <= 8; o++) {
		im.orientation = o;
		CHECK_INT(input_from_coef(&im, 16, got), 0);
		CHECK(got[3 * (corner[o][0] * 16 + corner[o][1])] > 200);
		CHECK(got[3 * ((15 - corner[o][0]) * 16 + 15 - corner[o][1])] < 50);
	}
}

/* Every truncation and a flip in every byte: an error or a picture, never a crash or a hang. */
static void damage(enum variant v)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_buf_ struct buf jpeg = {0};
	_cleanup_coef_ struct coef_image im = {0};
	struct capture_info info;

	draw(&px, 40, 24, 7);
	encode(&px, 60, v, &jpeg);
	for (size_t len = 0; len + 2 < jpeg.len; len++) {
		uint8_t *copy = malloc(len + 1);

		memcpy(copy, jpeg.data, len);
		CHECK(capture_decode(copy, len, MANY_PIXELS, &im, &info) < 0);
		CHECK(info.reason[0]);
		free(copy);
	}
	for (size_t i = 0; i < jpeg.len; i++) {
		jpeg.data[i] ^= 0xff;
		capture_decode(jpeg.data, jpeg.len, 1 << 16, &im, &info);
		jpeg.data[i] ^= 0xff;
	}
	CHECK_INT(capture_decode(jpeg.data, jpeg.len, 40 * 24 - 1, &im, &info), -EFBIG);
}

static void test_hostile(void)
{
	_cleanup_coef_ struct coef_image im = {0};
	struct capture_info info;

	damage(BASELINE);
	damage(PROGRESSIVE);
	CHECK_INT(capture_decode((const uint8_t *)"GIF89a", 6, MANY_PIXELS, &im, &info), -ENOTSUP);
	CHECK_INT(capture_decode((const uint8_t *)"", 0, MANY_PIXELS, &im, &info), -ENOTSUP);
}

static void check_pnm(const char *text, size_t len, int result, int width, int height, int first)
{
	_cleanup_coef_ struct coef_image im = {0};
	struct capture_info info;
	uint8_t rgb[16 * 16 * 3];

	CHECK_INT(capture_decode((const uint8_t *)text, len, MANY_PIXELS, &im, &info), result);
	if (result < 0)
		return;
	CHECK_INT(im.width, width);
	CHECK_INT(im.height, height);
	CHECK_INT(info.quality, 100);
	CHECK_INT(input_from_coef(&im, 16, rgb), 0);
	CHECK_NEAR(rgb[0], first, 2);
}

static void test_pnm(void)
{
#define PNM(s) s, sizeof(s) - 1
	check_pnm(PNM("P5 2 2 255\n\x80\x80\x80\x80"), 0, 2, 2, 128);
	check_pnm(PNM("P5\n# comment\n2 2\n65535\n\x80\x00\x80\x00\x80\x00\x80\x00"), 0, 2, 2, 128);
	check_pnm(PNM("P2 2 1 10  5 5"), 0, 2, 1, 128);
	check_pnm(PNM("P3 1 1 255  200 200 200"), 0, 1, 1, 200);
	check_pnm(PNM("P6 1 1 255\nabc"), 0, 1, 1, 97);
	check_pnm(PNM("P6 2 1 255\nabc"), -EBADMSG, 0, 0, 0);
	check_pnm(PNM("P5 99999 99999 255\n"), -EBADMSG, 0, 0, 0);
	check_pnm(PNM("P5 60000 60000 255\n"), -EFBIG, 0, 0, 0);
	check_pnm(PNM("P5 2 2 0\n    "), -EBADMSG, 0, 0, 0);
	check_pnm(PNM("P5 -2 2 255\n    "), -EBADMSG, 0, 0, 0);
	check_pnm(PNM("P2 2 1 10  5"), -EBADMSG, 0, 0, 0);
}

static void test_exif(void)
{
	static const char segment[] = "Exif\0\0II*\0\10\0\0\0\2\0"
				      "\x12\x01\3\0\1\0\0\0\6\0\0\0"
				      "\x69\x87\4\0\1\0\0\0\x26\0\0\0"
				      "\0\0\0\0"
				      "\1\0\x03\x90\2\0\x14\0\0\0\x38\0\0\0\0\0\0\0"
				      "2024:05:06 07:08:09";
	uint8_t out[40];
	int orientation = 1;
	int64_t taken = 0;

	exif_parse((const uint8_t *)segment, sizeof(segment), &orientation, &taken);
	CHECK_INT(orientation, 6);
	CHECK_INT(taken, 1714979289);
	for (size_t len = 0; len < sizeof(segment); len++) {
		uint8_t *copy = malloc(len + 1);

		memcpy(copy, segment, len);
		exif_parse(copy, len, &orientation, &taken);
		free(copy);
	}
	for (int o = 2; o <= 8; o++) {
		exif_parse(out, exif_orientation_segment(o, out), &orientation, &taken);
		CHECK_INT(orientation, o);
	}
}

TEST_MAIN(test_requantise, test_extreme_steps, test_wide_zeros, test_stages, test_variants, test_scans,
	test_strip, test_strip_damaged, test_pixels, test_input, test_orientation, test_hostile, test_pnm,
	test_exif)
