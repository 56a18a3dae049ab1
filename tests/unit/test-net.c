#include "common/net/net.h"

#include "common/net/gemm.h"
#include "common/net/winograd.h"
#include "common/rng.h"
#include "tests/unit/test.h"

static const struct net_shape shape = {8, {3, 4, 5}, 3};

static void fill(struct rng *r, uint8_t *rgb, size_t n)
{
	for (size_t i = 0; i < n; i++)
		rgb[i] = (uint8_t)rng_below(r, 256);
}

/* One convolution with ReLU and pooling as plain loops over [H][W][C]. */
static void plain_layer(const float *in, int side, int c, int o, const float *w, const float *bias, float *out)
{
	for (int y = 0; y < side; y += 2)
		for (int x = 0; x < side; x += 2)
			for (int k = 0; k < o; k++) {
				float best = 0;

				for (int d = 0; d < 4; d++) {
					int py = y + d / 2, px = x + d % 2;
					float sum = bias[k];

					for (int ky = 0; ky < 3; ky++)
						for (int kx = 0; kx < 3; kx++)
							for (int i = 0; i < c; i++) {
								int sy = py + ky - 1, sx = px + kx - 1;

								if (sy < 0 || sy >= side || sx < 0 || sx >= side)
									continue;
								sum += in[(sy * side + sx) * c + i] *
									w[((ky * 3 + kx) * c + i) * o + k];
							}
					best = sum > best ? sum : best;
				}
				out[((y / 2) * (side / 2) + x / 2) * o + k] = best;
			}
}

static void test_forward(void)
{
	struct net_layout at;
	struct rng r;
	uint8_t rgb[3 * 8 * 8 * 3];
	float params[2048], logits[9], a[8 * 8 * 8], b[8 * 8 * 8];
	struct net_work *w = net_work_new(&shape, false);

	net_layout(&shape, &at);
	net_init(&shape, 3, params);
	rng_init(&r, 4);
	for (size_t i = 0; i < at.total; i++)
		params[i] += 0.05f * (float)rng_normal(&r);
	fill(&r, rgb, sizeof(rgb));
	net_use(w, params);
	net_forward(w, rgb, 3, logits);
	for (int n = 0; n < 3; n++) {
		for (int i = 0; i < 8 * 8 * 3; i++)
			a[i] = (rgb[n * 192 + i] - 127.5f) / 128;
		plain_layer(a, 8, 3, 3, params + at.weight[0], params + at.bias[0], b);
		plain_layer(b, 4, 3, 4, params + at.weight[1], params + at.bias[1], a);
		plain_layer(a, 2, 4, 5, params + at.weight[2], params + at.bias[2], b);
		for (int k = 0; k < 3; k++) {
			float sum = params[at.linear_bias + (size_t)k];

			for (int f = 0; f < 5; f++)
				sum += b[f] * params[at.linear_weight + (size_t)(f * 3 + k)];
			CHECK_NEAR(logits[n * 3 + k], sum, 1e-4);
		}
	}
	net_work_free(w);
}

/* Central differences on every parameter. */
static void test_gradient(void)
{
	static const int label[4] = {0, 2, 1, 2};
	static const float weight[4] = {1, 0.5f, 2, 0.25f};
	struct net_layout at;
	struct rng r;
	uint8_t rgb[4 * 8 * 8 * 3];
	float params[2048], grad[2048] = {0}, scratch[2048];
	struct net_work *w = net_work_new(&shape, true);
	int correct = 0, bad = 0;

	net_layout(&shape, &at);
	net_init(&shape, 5, params);
	rng_init(&r, 6);
	fill(&r, rgb, sizeof(rgb));
	net_gradient(w, params, rgb, label, weight, 4, grad, &correct);
	for (size_t i = 0; i < at.total; i++) {
		const float h = 2e-3f, old = params[i];
		double up, down, numeric;

		params[i] = old + h;
		up = net_gradient(w, params, rgb, label, weight, 4, scratch, NULL);
		params[i] = old - h;
		down = net_gradient(w, params, rgb, label, weight, 4, scratch, NULL);
		params[i] = old;
		numeric = (up - down) / (2 * (double)h);
		bad += fabs(numeric - (double)grad[i]) > 2e-2 + 0.05 * fabs(numeric);
	}
	CHECK_INT(bad, 0);
	net_work_free(w);
}

/* Gradients add: two calls give twice one. */
static void test_adds(void)
{
	static const int label[2] = {0, 1};
	static const float weight[2] = {1, 1};
	struct net_layout at;
	struct rng r;
	uint8_t rgb[2 * 8 * 8 * 3];
	float params[2048], one[2048] = {0}, two[2048] = {0};
	struct net_work *w = net_work_new(&shape, true);

	net_layout(&shape, &at);
	net_init(&shape, 7, params);
	rng_init(&r, 8);
	fill(&r, rgb, sizeof(rgb));
	net_gradient(w, params, rgb, label, weight, 2, one, NULL);
	net_gradient(w, params, rgb, label, weight, 2, two, NULL);
	net_gradient(w, params, rgb, label, weight, 2, two, NULL);
	for (size_t i = 0; i < at.total; i++)
		CHECK_NEAR(two[i], 2 * one[i], 1e-3 + 1e-3 * fabs((double)one[i]));
	net_work_free(w);
}

static void test_shapes(void)
{
	struct net_shape s = shape;

	CHECK_INT(net_shape_check(&s), 0);
	s.size = 12;
	CHECK(net_shape_check(&s) < 0);
	s = shape;
	s.classes = 0;
	CHECK(net_shape_check(&s) < 0);
	s = shape;
	s.channels[1] = 5000;
	CHECK(net_shape_check(&s) < 0);
}

static float *numbers(struct rng *r, size_t n)
{
	float *v = malloc(n * sizeof(float));

	for (size_t i = 0; i < n; i++)
		v[i] = (float)rng_normal(r);
	return v;
}

static double dot(const float *a, const float *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)a[i] * (double)b[i];
	return sum;
}

/* The convolution's definition at one output. */
static double plain_output(
	const float *act, int side, int c, int o, const float *weight, int y, int x, int k)
{
	double sum = 0;

	for (int ky = 0; ky < 3; ky++)
		for (int kx = 0; kx < 3; kx++)
			for (int i = 0; i < c; i++) {
				int sy = y + ky - 1, sx = x + kx - 1;

				if (sy >= 0 && sy < side && sx >= 0 && sx < side)
					sum += (double)act[(sy * side + sx) * c + i] *
					       (double)weight[((ky * 3 + kx) * c + i) * o + k];
			}
	return sum;
}

/*
 * Winograd's convolution against the definition, at sides that are multiples of a tile and not. It
 * is linear in pictures and in weights, so its two gradients are right when <d, conv(a)> is <d_a,
 * a> and <d_w, w>.
 */
static void test_winograd(void)
{
	enum { N = 3, O = 16 };
	static const int sides[] = {2, 4, 6, 8, 12};
	struct rng r;

	rng_init(&r, 9);
	CHECK(winograd_suits(8, O) && !winograd_suits(3, O) && !winograd_suits(8, 10));
	for (size_t s = 0; s < 2 * ARRAY_SIZE(sides); s++) {
		int side = sides[s / 2], C = s % 2 ? 16 : 8; /* one loop over channels, and the other */
		size_t pixels = (size_t)(N * side * side);
		struct winograd y;
		float *memory = aligned_alloc(
			64, winograd_place(&y, side, C, O, N, true, NULL) * sizeof(float));
		float *act = numbers(&r, pixels * (size_t)C), *weight = numbers(&r, (size_t)(9 * C * O));
		float *d_pre = numbers(&r, pixels * O), *pre = malloc(pixels * O * sizeof(float));
		float *d_act = calloc(pixels * (size_t)C, sizeof(float)),
		      *d_weight = calloc((size_t)(9 * C * O), sizeof(float));
		double all, worst = 0;

		winograd_place(&y, side, C, O, N, true, memory);
		winograd_weights(&y, weight, true);
		winograd_forward(&y, act, N, pre);
		for (int i = 0; i < N * side * side * O; i++) {
			int n = i / O / (side * side), p = i / O % (side * side);
			double want = plain_output(act + n * side * side * C, side, C, O, weight,
				p / side, p % side, i % O);

			worst = fmax(worst, fabs(want - (double)pre[i]));
		}
		CHECK(worst < 1e-3);
		all = dot(d_pre, pre, pixels * O);
		winograd_backward(&y, d_pre, N, d_act);
		winograd_gradient(&y, d_weight);
		CHECK_NEAR(dot(d_act, act, pixels * (size_t)C), all, 1e-2);
		CHECK_NEAR(dot(d_weight, weight, (size_t)(9 * C * O)), all, 1e-2);
		free(memory);
		free(act);
		free(weight);
		free(d_pre);
		free(pre);
		free(d_act);
		free(d_weight);
	}
}

/* A function of its own: gcc 12 for arm64 fails on fmax() in a loop over two arrays. */
static double larger(double worst, float difference)
{
	double d = fabs((double)difference);

	return d > worst ? d : worst;
}

/* Both kernels of small products, whichever this processor would take, against a plain loop. */
static void test_small_products(void)
{
	static const int shapes[][3] = {{1, 16, 1}, {2, 16, 3}, {6, 32, 7}, {7, 16, 64}, {13, 64, 5}, {64, 48, 36}};
	static float a[64 * 64], b[64 * 64], want[64 * 64], wide[64 * 64], narrow[64 * 64];
	struct rng r;

	rng_init(&r, 8);
	for (int i = 0; i < 64 * 64; i++) {
		a[i] = rng_normal(&r);
		b[i] = rng_normal(&r);
	}
	for (size_t t = 0; t < sizeof(shapes) / sizeof(shapes[0]) * 4; t++) {
		int m = shapes[t / 4][0], n = shapes[t / 4][1], k = shapes[t / 4][2];
		bool turned = t & 1, add = t & 2;
		int row = turned ? 1 : 64, col = turned ? 64 : 1;

		for (int i = 0; i < 64 * 64; i++)
			want[i] = wide[i] = narrow[i] = add ? (float)(i % 5) : 7;
		for (int i = 0; i < m; i++)
			for (int j = 0; j < n; j++) {
				double sum = add ? want[i * 64 + j] : 0;

				for (int l = 0; l < k; l++)
					sum += (double)a[i * row + l * col] * b[l * 64 + j];
				want[i * 64 + j] = (float)sum;
			}
		gemm_small(m, n, k, a, row, col, b, 64, add, wide, 64);
		gemm_small_narrow(m, n, k, a, row, col, b, 64, add, narrow, 64);
		for (int i = 0; i < 64 * 64; i++) {
			CHECK_NEAR(wide[i], want[i], 1e-4);
			CHECK_NEAR(narrow[i], want[i], 1e-4);
		}
	}
}

/* The same network with and without Winograd's convolution: channels that nobody listens to decide
 * it. */
static void test_both_ways(void)
{
	static const struct net_shape fast = {24, {8, 16, 8}, 3}, plain = {24, {8, 17, 8}, 3};
	static const int label[3] = {0, 2, 1};
	static const float weight[3] = {1, 1, 1};
	struct net_layout a, b;
	struct rng r;
	uint8_t rgb[3 * 24 * 24 * 3];
	float *p, *q, *dp, *dq;
	struct net_work *w = net_work_new(&fast, true), *v = net_work_new(&plain, true);
	double worst = 0;

	net_layout(&fast, &a);
	net_layout(&plain, &b);
	p = calloc(a.total, sizeof(float));
	q = calloc(b.total, sizeof(float));
	dp = calloc(a.total, sizeof(float));
	dq = calloc(b.total, sizeof(float));
	net_init(&fast, 10, p);
	memcpy(q, p, a.weight[1] * sizeof(float));
	for (size_t i = 0; i < 9 * 8; i++)
		memcpy(q + b.weight[1] + i * 17, p + a.weight[1] + i * 16, 16 * sizeof(float));
	for (size_t t = 0; t < 9; t++)
		memcpy(q + b.weight[2] + t * 17 * 8, p + a.weight[2] + t * 16 * 8,
			16 * 8 * sizeof(float));
	memcpy(q + b.bias[2], p + a.bias[2], (a.total - a.bias[2]) * sizeof(float));
	rng_init(&r, 11);
	fill(&r, rgb, sizeof(rgb));
	CHECK_NEAR(net_gradient(w, p, rgb, label, weight, 3, dp, NULL),
		net_gradient(v, q, rgb, label, weight, 3, dq, NULL), 1e-4);
	for (size_t i = 0; i < a.weight[1]; i++)
		worst = larger(worst, dp[i] - dq[i]);
	for (size_t i = 0; i < 9 * 8 * 16; i++)
		worst = larger(worst, dp[a.weight[1] + i] - dq[b.weight[1] + i / 16 * 17 + i % 16]);
	CHECK(worst < 1e-3);
	net_work_free(w);
	net_work_free(v);
	free(p);
	free(q);
	free(dp);
	free(dq);
}

TEST_MAIN(test_small_products, test_forward, test_gradient, test_adds, test_winograd, test_both_ways, test_shapes)
