#include "daemon/proto.h"

#include <errno.h>

#include "tests/unit/test.h"

static struct curve_answer example(void)
{
	struct curve_answer a = {.width = 640, .height = 481, .orientation = 6, .own_quality = 92,
		.layout = 0x22, .sketched.taken_s = 1700000000, .format = "jpeg"};

	a.curve = (struct curve){.n = 3, .quality = {5, 50, 92}, .rate = {100, 900, 4000},
		.kl = {0.5f, 0.1f, 0}, .loss = {0.4f, -0.1f, 0}, .scored = true};
	a.sketched.sketch.cell[SKETCH_CELLS - 1] = -0.75f;
	return a;
}

static void test_curve(void)
{
	struct curve_answer a = example(), b;
	_cleanup_buf_ struct buf buf = {0};
	struct reader r;

	put_curve(&buf, &a);
	r = (struct reader){buf.data, buf.len, false};
	CHECK_INT(get_curve(&r, &b), 0);
	CHECK_INT(b.width, 640);
	CHECK_INT(b.height, 481);
	CHECK_INT(b.orientation, 6);
	CHECK_INT(b.own_quality, 92);
	CHECK_INT(b.sketched.taken_s, 1700000000);
	CHECK_STR(b.format, "jpeg");
	CHECK_INT(b.curve.rate[2], 4000);
	CHECK_NEAR(b.curve.loss[1], -0.1, 1e-6);
	CHECK_NEAR(b.sketched.sketch.cell[SKETCH_CELLS - 1], -0.75, 0);
	for (size_t len = 0; len < buf.len; len++) {
		r = (struct reader){buf.data, len, false};
		CHECK_INT(get_curve(&r, &b), -EBADMSG);
	}
}

static void test_sketch(void)
{
	static const float hostile[] = {1.5f, -1.01f, NAN, INFINITY};
	struct curve_answer a = example();
	struct sketched b;
	_cleanup_buf_ struct buf buf = {0};
	struct reader r;

	put_sketched(&buf, &a.sketched);
	for (size_t len = 0; len < buf.len; len++) {
		r = (struct reader){buf.data, len, false};
		CHECK_INT(get_sketched(&r, &b), -EBADMSG);
	}
	r = (struct reader){buf.data, buf.len, false};
	CHECK_INT(get_sketched(&r, &b), 0);
	CHECK(reader_finished(&r));
	CHECK_INT(b.taken_s, 1700000000);
	CHECK_NEAR(b.sketch.cell[SKETCH_CELLS - 1], -0.75, 0);
	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		a.sketched.sketch.cell[i] = hostile[i];
		buf.len = 0;
		put_sketched(&buf, &a.sketched);
		r = (struct reader){buf.data, buf.len, false};
		CHECK_INT(get_sketched(&r, &b), -EBADMSG);
		a.sketched.sketch.cell[i] = 0;
	}
}

/* What a worker that was taken over might say. */
static void test_hostile_curve(void)
{
	for (int k = 0; k < 12; k++) {
		struct curve_answer a = example(), b;
		_cleanup_buf_ struct buf buf = {0};
		struct reader r;

		switch (k) {
		case 0: a.width = 0; break;
		case 1: a.height = 70000; break;
		case 2: a.orientation = 9; break;
		case 3: a.own_quality = 0; break;
		case 4: a.curve.quality[1] = 4; break;
		case 5: memset(a.curve.rate, 0, sizeof(a.curve.rate)); break;
		case 6: a.curve.kl[0] = NAN; break;
		case 7: a.curve.kl[0] = -1; break;
		case 8: a.curve.loss[2] = INFINITY; break;
		case 9: a.curve.n = 0; break;
		case 10: a.sketched.sketch.cell[0] = 1.5f; break;
		case 11: a.sketched.sketch.cell[15] = NAN; break;
		}
		put_curve(&buf, &a);
		r = (struct reader){buf.data, buf.len, false};
		CHECK_INT(get_curve(&r, &b), -EBADMSG);
	}
}

static void test_frames(void)
{
	_cleanup_buf_ struct buf b = {0};
	struct reader payload;
	uint8_t type;

	put_encode(&b, 50, true);
	CHECK_INT(frame_next(b.data, b.len, &type, &payload), 7);
	CHECK_INT(type, MSG_ENCODE);
	CHECK_INT(reader_u8(&payload), 50);
	CHECK_INT(reader_u8(&payload), 1);
	CHECK(reader_finished(&payload));
	for (size_t len = 0; len < b.len; len++)
		CHECK_INT(frame_next(b.data, len, &type, &payload), 0);
	CHECK_INT(frame_next((const uint8_t *)"\0\0\0\0\1", 5, &type, &payload), -EBADMSG);
	CHECK_INT(frame_next((const uint8_t *)"\xff\xff\xff\xff\1", 5, &type, &payload), -EBADMSG);
}

static void test_others(void)
{
	struct stored_image s = {true, ASK_FEW_RATES, 0x21, 40, 300, 200, 3, 12, 5}, t;
	struct train_result a = {1000, 100, 0.75, -1, 12.5}, c;
	struct train_order o = {.store = "/x",
				   .until = 0.25,
				   .input_size = 32,
				   .channels = {1, 2, 3},
				   .epochs = 3,
				   .batch = 4,
				   .threads = 2,
				   .seed = 9},
			   p;
	_cleanup_buf_ struct buf b = {0};
	struct reader r;

	put_stored(&b, &s);
	r = (struct reader){b.data, b.len, false};
	get_stored(&r, &t);
	CHECK(reader_finished(&r) && t.width == 300 && t.height == 200 && t.tables == 12 && t.label == 5);
	CHECK(t.whole_file && t.asked == ASK_FEW_RATES && t.quality == 40 && t.orientation == 3);
	b.len = 0;
	put_train_result(&b, &a);
	r = (struct reader){b.data, b.len, false};
	CHECK_INT(get_train_result(&r, &c), 0);
	CHECK_NEAR(c.candidate_accuracy, 0.75, 0);
	CHECK_NEAR(c.current_accuracy, -1, 0);
	b.len = 0;
	put_train_order(&b, &o);
	r = (struct reader){b.data, b.len, false};
	CHECK_INT(get_train_order(&r, &p), 0);
	CHECK_STR(p.store, "/x");
	CHECK_INT(p.channels[2], 3);
	CHECK_INT((int)p.seed, 9);
	CHECK_NEAR(p.until, 0.25, 0);
	o.until = 1.5;
	b.len = 0;
	put_train_order(&b, &o);
	r = (struct reader){b.data, b.len, false};
	CHECK_INT(get_train_order(&r, &p), -EBADMSG);
}

TEST_MAIN(test_curve, test_sketch, test_hostile_curve, test_frames, test_others)
