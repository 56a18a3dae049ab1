#include "common/codec/pack.h"

#include <errno.h>
#include <string.h>

#include "common/codec/decode.h"
#include "common/codec/jpeg.h"
#include "common/rng.h"
#include "tests/unit/pictures.h"
#include "tests/unit/same.h"
#include "tests/unit/test.h"

static const int qualities[] = {2, 10, 30, 75, 95, 100};

/* A picture of a seed at a quality. */
static void make(
	int width, int height, bool grey, uint64_t seed, int quality, struct coef_image *ret)
{
	_cleanup_pixels_ struct pixels px = {0};
	struct jpeg_tables t;

	draw(&px, width, height, seed);
	for (int i = 0; grey && i < width * height; i++)
		px.rgb[3 * i] = px.rgb[3 * i + 2] = px.rgb[3 * i + 1];
	CHECK_INT(pixels_to_coef(&px, ret), 0);
	tables_standard(quality, &t);
	CHECK_INT(coef_requantise(ret, &t, ret), 0);
}

/* A model of n pictures at all qualities. */
static void fit(int n, int width, int height, struct pack_model *ret)
{
	_cleanup_coef_ struct coef_image im = {0};
	struct pack_counts *sum = calloc(1, sizeof(*sum));

	for (int i = 0; i < n; i++) {
		make(width, height, false, 100 + (uint64_t)i, 100, &im);
		pack_measure(&im, sum);
	}
	pack_set_scales(sum, ret);
	for (int i = 0; i < n; i++)
		for (size_t q = 0; q < ARRAY_SIZE(qualities); q++) {
			make(width, height, false, 100 + (uint64_t)i, qualities[q], &im);
			pack_count(&im, ret, sum);
		}
	pack_fit(sum, ret);
	free(sum);
}

/* Unpacks into a picture of the same geometry and steps. */
static int unpack(const uint8_t *data, size_t len, const struct pack_model *m,
	const struct coef_image *like, struct coef_image *ret)
{
	CHECK_INT(coef_resize(ret, like->width, like->height, like->n_planes, like->plane[0].h,
			  like->plane[0].v),
		0);
	for (int i = 0; i < like->n_planes; i++)
		memcpy(ret->plane[i].quant, like->plane[i].quant, sizeof(like->plane[i].quant));
	return pack_read(data, len, m, ret);
}

/* Every coefficient comes back, at every size, and the estimate is what is written. */
static void test_lossless(void)
{
	static const int sizes[][2] = {{32, 32}, {33, 17}, {8, 8}, {1, 1}, {250, 31}, {3, 200}};
	struct pack_model m;

	fit(20, 32, 32, &m);
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
		for (int grey = 0; grey < 2; grey++)
			for (size_t q = 0; q < ARRAY_SIZE(qualities); q++) {
				_cleanup_coef_ struct coef_image im = {0}, back = {0};
				_cleanup_buf_ struct buf b = {0};

				make(sizes[s][0], sizes[s][1], grey, s, qualities[q], &im);
				CHECK_INT(pack_write(&im, &m, 0, &b), 0);
				CHECK(b.len >= 1);
				CHECK_NEAR(pack_bytes(&im, &m), b.len, 2 + 0.01 * (double)b.len);
				CHECK_INT(unpack(b.data, b.len, &m, &im, &back), 0);
				CHECK(same_picture(&im, &back));
			}
}

/* Coefficients as wild as a file may hold them, and a model that expects anything but them. */
static void test_extremes(void)
{
	static const int16_t wild[] = {0, 1, -1, 2047, -2048, 32767, -32767, 1023};
	struct pack_model m;

	memset(&m, 1, sizeof(m));
	for (uint64_t seed = 0; seed < 50; seed++) {
		_cleanup_coef_ struct coef_image im = {0}, back = {0};
		_cleanup_buf_ struct buf b = {0};
		struct rng r;

		rng_init(&r, seed);
		if (seed == 25)
			memset(&m, 255, sizeof(m));
		make(40, 24, false, seed, 100, &im);
		for (int i = 0; i < im.n_planes; i++)
			for (int k = 0; k < im.plane[i].blocks_w * im.plane[i].blocks_h * DCT_SIZE2;
				k++)
				if (rng_below(&r, 3) < seed % 4)
					im.plane[i].coef[k] = wild[rng_below(&r, ARRAY_SIZE(wild))];
		CHECK_INT(pack_write(&im, &m, 0, &b), 0);
		CHECK_INT(unpack(b.data, b.len, &m, &im, &back), 0);
		CHECK(same_picture(&im, &back));
		CHECK_NEAR(pack_bytes(&im, &m), b.len, 4 + 0.02 * (double)b.len);
	}
}

/* Pictures that the model has not met take a tenth less than the best Huffman code of their own. */
static void test_smaller(void)
{
	struct pack_model m;
	double packed = 0, huffman = 0;

	fit(30, 32, 32, &m);
	for (uint64_t seed = 0; seed < 30; seed++) {
		_cleanup_coef_ struct coef_image im = {0};
		struct symbol_counts c;
		struct jpeg_tables t;

		make(32, 32, false, seed, 20, &im);
		tables_standard(20, &t);
		coef_count(&im, &c);
		packed += pack_bytes(&im, &m);
		huffman += scan_bytes(&c, &t);
	}
	CHECK(packed < 0.9 * huffman);
}

/* What is estimated of a large picture from a part of its rows is within an eighth. */
static void test_estimate(void)
{
	_cleanup_coef_ struct coef_image im = {0};
	_cleanup_buf_ struct buf b = {0};
	struct pack_model m;

	fit(5, 96, 96, &m);
	make(1100, 900, false, 3, 50, &im);
	CHECK_INT(pack_write(&im, &m, 0, &b), 0);
	CHECK_NEAR(pack_bytes(&im, &m), b.len, 0.125 * (double)b.len);
}

/* What is more than is wanted leaves nothing behind, however little more it is. */
static void test_limit(void)
{
	_cleanup_coef_ struct coef_image im = {0};
	_cleanup_buf_ struct buf b = {0}, other = {0};
	struct pack_model m;

	fit(5, 96, 96, &m);
	make(300, 200, false, 3, 50, &im);
	CHECK_INT(pack_write(&im, &m, 0, &b), 0);
	buf_put(&other, "before", 6);
	for (size_t max = 1; max < b.len; max = MIN(2 * max, b.len - (max < b.len - 1))) {
		CHECK_INT(pack_write(&im, &m, max, &other), -EFBIG);
		CHECK_INT(other.len, 6);
	}
	CHECK_INT(pack_write(&im, &m, b.len, &other), 0);
	CHECK(other.len == 6 + b.len && !memcmp(other.data, "before", 6) &&
		!memcmp(other.data + 6, b.data, b.len));
}

/* Unpacked pictures are JPEG files like any other. */
static void test_export(void)
{
	_cleanup_coef_ struct coef_image im = {0}, back = {0}, again = {0};
	_cleanup_buf_ struct buf b = {0}, file = {0};
	struct capture_info info;
	struct pack_model m;
	struct jpeg_tables t;

	fit(5, 32, 32, &m);
	make(50, 41, false, 3, 30, &im);
	tables_standard(30, &t);
	CHECK_INT(pack_write(&im, &m, 0, &b), 0);
	CHECK_INT(packed_decode(b.data, b.len, coef_layout(&im), 50, 41, 6, &t, &m, &back), 0);
	CHECK_INT(back.orientation, 6);
	CHECK_INT(jpeg_write_file(&back, &t, &file), 0);
	CHECK_INT(capture_decode(file.data, file.len, 1 << 20, &again, &info), 0);
	CHECK_INT(info.orientation, 6);
	CHECK(same_picture(&im, &again));
	CHECK_INT(packed_decode(b.data, b.len, 0x77, 50, 41, 1, &t, &m, &back), -EBADMSG);
	CHECK_INT(packed_decode(b.data, b.len, 0, 0, 41, 1, &t, &m, &back), -EBADMSG);
	CHECK_INT(packed_decode(b.data, b.len, 0, 65535, 65535, 1, &t, &m, &back), -EBADMSG);
}

/* Bytes that no packer wrote give some picture or an error, and models are checked. */
static void test_hostile(void)
{
	_cleanup_coef_ struct coef_image im = {0}, back = {0};
	_cleanup_buf_ struct buf b = {0}, model = {0};
	struct pack_model m, read;
	struct reader reader;
	struct rng r;

	fit(5, 32, 32, &m);
	make(64, 48, false, 1, 50, &im);
	CHECK_INT(pack_write(&im, &m, 0, &b), 0);
	buf_put(&b, "surplus", 7);
	CHECK_INT(unpack(b.data, b.len, &m, &im, &back), -EBADMSG);
	rng_init(&r, 5);
	for (int n = 0; n < 500; n++) {
		uint8_t noise[300];
		int e;

		for (size_t i = 0; i < sizeof(noise); i++)
			noise[i] = n == 0 ? 0 : n == 1 ? 255 : (uint8_t)rng_below(&r, 256);
		e = unpack(noise, rng_below(&r, sizeof(noise) + 1), &m, &im, &back);
		CHECK(e == 0 || e == -EBADMSG);
	}
	pack_model_write(&m, &model);
	for (size_t len = 0; len < model.len; len++) {
		reader = (struct reader){model.data, len, false};
		CHECK_INT(pack_model_read(&reader, &read), -EBADMSG);
	}
	reader = (struct reader){model.data, model.len, false};
	CHECK_INT(pack_model_read(&reader, &read), 0);
	CHECK(!memcmp(&m, &read, sizeof(m)));
	model.data[model.len - 1] = 0; /* what never happens cannot be coded */
	reader = (struct reader){model.data, model.len, false};
	CHECK_INT(pack_model_read(&reader, &read), -EBADMSG);
}

TEST_MAIN(test_lossless, test_extremes, test_smaller, test_estimate, test_limit, test_export, test_hostile)
