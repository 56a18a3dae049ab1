#include "common/net/train.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/net/model.h"
#include "common/rng.h"
#include "tests/unit/test.h"

#define N 240

static const struct net_shape shape = {16, {4, 6, 8}, 3};
static uint8_t rgb[N * 16 * 16 * 3];
static int label[N];
static float weight[N];

/* Three classes that differ in colour and in the direction of their stripes, with noise. */
static void make_data(struct dataset *d)
{
	struct rng r;

	rng_init(&r, 11);
	for (int i = 0; i < N; i++) {
		label[i] = i % 3;
		weight[i] = 1;
		for (int p = 0; p < 256; p++)
			for (int c = 0; c < 3; c++) {
				int stripe = label[i] == 0 ? p / 16 : label[i] == 1 ? p % 16 : p / 16 + p % 16;
				int v = 100 + (stripe % 4 < 2 ? 50 : 0) + (c == label[i] ? 15 : 0) +
					(int)rng_below(&r, 60);

				rgb[(i * 256 + p) * 3 + c] = (uint8_t)v;
			}
	}
	*d = (struct dataset){N, 16, 3, rgb, label, weight};
}

static void options(struct train_options *o)
{
	train_options_init(o, 16);
	o->epochs = 8;
	o->batch = 24;
	o->flip = false;
	o->shift = 1;
	o->rate = 0.1;
	o->seed = 5;
}

/* A seeded short run must reach what it has reached before. */
static void test_learns(void)
{
	struct team *team = team_new(2);
	struct train_options o;
	struct evaluation e;
	struct dataset d;
	struct train *t;

	make_data(&d);
	options(&o);
	t = train_new(&shape, &d, &o, team);
	CHECK_INT(train_steps_total(t), 80);
	CHECK_INT(evaluate(&shape, train_params(t), &d, team, &e), 0);
	CHECK(e.correct < N * 2 / 3);
	CHECK_NEAR(train_steps(t, 5), log(3), 0.2);
	train_steps(t, 1000);
	CHECK_INT(train_step_count(t), 80);
	CHECK_INT(evaluate(&shape, train_params(t), &d, team, &e), 0);
	CHECK_INT(e.n, N);
	CHECK(e.correct > N * 95 / 100);
	CHECK(e.loss < 0.3);
	train_free(t);
	team_free(team);
}

/* Stopped and resumed is the same as never stopped, to the last bit. */
static void test_resume(void)
{
	struct team *team = team_new(2);
	_cleanup_buf_ struct buf state = {0};
	struct train_options o;
	struct net_layout at;
	struct dataset d;
	struct train *a, *b;

	make_data(&d);
	options(&o);
	net_layout(&shape, &at);
	a = train_new(&shape, &d, &o, team);
	b = train_new(&shape, &d, &o, team);
	train_steps(a, 37);
	train_save(a, &state);
	train_steps(a, 43);
	CHECK_INT(train_restore(b, state.data, state.len), 0);
	CHECK_INT(train_step_count(b), 37);
	train_steps(b, 43);
	CHECK(!memcmp(train_params(a), train_params(b), at.total * sizeof(float)));
	for (size_t len = 0; len < 60; len++)
		CHECK_INT(train_restore(b, state.data, len), -EINVAL);
	/* No bit of it may be another. */
	CHECK(train_state_whole(state.data, state.len));
	for (size_t i = 0; i < state.len; i += i < 100 ? 1 : 97) {
		state.data[i] ^= 1 << i % 8;
		CHECK(!train_state_whole(state.data, state.len));
		CHECK_INT(train_restore(b, state.data, state.len), -EINVAL);
		state.data[i] ^= 1 << i % 8;
	}
	CHECK_INT(train_restore(b, state.data, state.len), 0);
	train_free(a);
	train_free(b);
	team_free(team);
}

/* How far one step goes with pictures that weigh so much. */
static double step_length(float heavy, double clip)
{
	struct team *team = team_new(1);
	struct train_options o;
	struct dataset d;
	struct train *t;
	struct net_layout at;
	double sum = 0;
	float *before;

	make_data(&d);
	for (int i = 0; i < N; i++)
		weight[i] = heavy;
	options(&o);
	o.decay = 0;
	o.clip = clip;
	t = train_new(&shape, &d, &o, team);
	net_layout(&shape, &at);
	before = malloc(at.total * sizeof(float));
	CHECK(before);
	memcpy(before, train_params(t), at.total * sizeof(float));
	train_steps(t, 1);
	for (size_t i = 0; i < at.total; i++)
		sum += pow((double)train_params(t)[i] - before[i], 2);
	free(before);
	train_free(t);
	team_free(team);
	return sqrt(sum);
}

/* A gradient that is too long is shortened, and only then. */
static void test_clip(void)
{
	double short_one = step_length(1, 0), long_one = step_length(1000, 0);

	CHECK(long_one > 900 * short_one);
	CHECK(fabs(step_length(1, 1e6) / short_one - 1) < 1e-6);
	CHECK(fabs(step_length(1000, 2) / step_length(500, 2) - 1) < 1e-3);
	CHECK(fabs(step_length(1000, 2) / step_length(1000, 1) - 2) < 1e-3);
}

static void test_balance(void)
{
	int labels[6] = {0, 0, 0, 0, 1, 2};
	float w[6];
	struct dataset d = {6, 16, 3, NULL, labels, w};

	const int64_t came[] = {400, 100, 0};

	dataset_balance(&d, NULL);
	CHECK_NEAR(w[4] / w[0], 2, 1e-5);
	CHECK_NEAR(w[0] + w[1] + w[2] + w[3] + w[4] + w[5], 6, 1e-4);
	/* The roots of what came, 20 : 10 : 1, whatever is held of it. */
	dataset_balance(&d, came);
	CHECK_NEAR((w[0] + w[1] + w[2] + w[3]) / w[4], 2, 1e-5);
	CHECK_NEAR(w[4] / w[5], 10, 1e-4);
	CHECK_NEAR(w[0] + w[1] + w[2] + w[3] + w[4] + w[5], 6, 1e-4);
}

static void test_model(void)
{
	struct model m = {.shape = shape, .version = 7, .trained_us = 123456, .trained_images = 200,
		.validation_images = 20, .validation_accuracy = 0.875};
	struct net_layout at;
	struct model back = {0};
	_cleanup_buf_ struct buf b = {0}, again = {0};
	char *at_scale, *sum;
	int means_nothing = 0;

	net_layout(&shape, &at);
	CHECK_INT(model_alloc(&m), 0);
	net_init(&shape, 1, m.params);
	model_set_class(&m, 0, 4, "cat");
	model_set_class(&m, 1, 9, "d\"o\ng");
	model_set_class(&m, 2, 12, "\xff\xfe");
	CHECK_INT(model_write(&m, &b), 0);
	CHECK_INT(model_read(b.data, b.len, &back), 0);
	CHECK_STR(back.name[1], "d\"o\ng");
	CHECK_STR(back.name[2], "??");
	CHECK_INT(model_class_of(&back, 9), 1);
	CHECK_INT(model_class_of(&back, 5), -1);
	CHECK_NEAR(back.validation_accuracy, 0.875, 1e-6);
	CHECK_INT(back.trained_images, 200);
	for (size_t i = 0; i < at.total; i++) /* half precision */
		CHECK_NEAR(back.params[i], m.params[i], 1e-7 + fabs((double)m.params[i]) / 1024);
	model_done(&back);
	at_scale = memmem(b.data, b.len, "/ 128,", 6); /* the preprocessing's divisor */
	CHECK(at_scale);
	memcpy(at_scale, "/ 64, ", 6);
	CHECK_INT(model_read(b.data, b.len, &back), -EBADMSG);
	memcpy(at_scale, "/ 128,", 6);
	for (size_t len = 0; len < b.len; len += len < 2000 ? 7 : 101)
		CHECK_INT(model_read(b.data, len, &back), -EBADMSG);
	/* A flipped bit is found, or it means nothing; without its sum a file is taken as it is. */
	for (size_t i = 0; i < b.len; i += i < 2000 ? 1 : 41) {
		b.data[i] ^= 1 << i % 8;
		if (model_read(b.data, b.len, &back) == 0) {
			again.len = 0;
			CHECK_INT(model_write(&back, &again), 0);
			model_done(&back);
			b.data[i] ^= 1 << i % 8;
			CHECK(again.len == b.len && !memcmp(again.data, b.data, b.len));
			means_nothing++;
		} else {
			b.data[i] ^= 1 << i % 8;
		}
	}
	CHECK(means_nothing < 50);
	b.data[b.len - 3] ^= 0x40;
	CHECK_INT(model_read(b.data, b.len, &back), -EBADMSG);
	sum = memmem(b.data, b.len, "crc32c", 6);
	memcpy(sum, "weight", 6);
	CHECK_INT(model_read(b.data, b.len, &back), 0);
	model_done(&back);
	model_done(&m);
}

/* Every picture once an epoch, and no batch of a few that would weigh as much as a whole one. */
static void test_batches(void)
{
	static const struct net_shape tiny = {8, {4, 4, 4}, 2};
	_cleanup_(team_freep) struct team *team = team_new(1);

	for (int n = 1; n < 300; n += 1 + n / 50) {
		struct dataset d = {.n = n, .size = 8, .classes = 2, .rgb = calloc((size_t)n, 8 * 8 * 3),
			.label = calloc((size_t)n, sizeof(int)), .weight = calloc((size_t)n, sizeof(float))};
		struct train_options o;
		struct train *t;
		int sum = 0, low = n, high = 0;

		train_options_init(&o, 8);
		o.epochs = 2;
		t = train_new(&tiny, &d, &o, team);
		for (int i = 0; i < train_steps_per_epoch(t); i++) {
			int batch = train_next_batch(t);

			sum += batch;
			low = MIN(low, batch);
			high = MAX(high, batch);
			train_steps(t, 1);
		}
		CHECK_INT(sum, n);
		CHECK(high <= o.batch && high - low <= 1);
		train_free(t);
		free(d.rgb);
		free(d.label);
		free(d.weight);
	}
}

TEST_MAIN(test_learns, test_clip, test_batches, test_resume, test_balance, test_model)
