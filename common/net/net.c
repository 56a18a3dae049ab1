#include "common/net/net.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/carve.h"
#include "common/net/gemm.h"
#include "common/net/winograd.h"
#include "common/rng.h"

#define CHUNK_PIXELS (16 * 32 * 32) /* images at a time: as many as have this many input pixels */
#define CHUNK_MAX    8
#define VECTOR	     16 /* floats */

struct layer {
	int side, in, out;  /* H = W, C, O */
	bool fast;	    /* by Winograd's algorithm, else im2col and one sgemm an image */
	float *act;	    /* input [chunk][H][W][C] */
	float *pre;	/* convolution's output: of the chunk [chunk*H*W][O] when fast, else of one
			   image */
	int patch;	/* 9*C, made up to whole vectors */
	float *col;	/* not fast: of one image [H*W][patch], the surplus 0 */
	float *d_patch; /* the first layer's weight gradient [O][patch] */
	struct winograd wino; /* fast */
	uint8_t *argmax;    /* [chunk][H/2][W/2][O]: which of four, 4 when ReLU cut it off */
	float *d_act;	    /* gradient of act; NULL for the first layer */
};

struct net_work {
	struct net_shape shape;
	struct net_layout at;
	int chunk, features;
	struct layer layer[NET_LAYERS];
	const float *params;  /* of the last net_use(): the caller's */
	float *feat, *d_feat; /* [chunk][F] */
	float *logits;	      /* [chunk][K] */
	float *memory;	      /* owned: all of the above but argmax */
	uint8_t *argmax_memory;
};

int net_shape_check(const struct net_shape *s)
{
	if (s->size < NET_STRIDE || s->size > NET_SIZE_MAX || s->size % NET_STRIDE || s->classes < 1 ||
		s->classes > NET_CLASSES_MAX)
		return -EINVAL;
	for (int l = 0; l < NET_LAYERS; l++)
		if (s->channels[l] < 1 || s->channels[l] > NET_CHANNELS_MAX)
			return -EINVAL;
	return 0;
}

int net_features(const struct net_shape *s)
{
	return (s->size / NET_STRIDE) * (s->size / NET_STRIDE) * s->channels[NET_LAYERS - 1];
}

void net_layout(const struct net_shape *s, struct net_layout *ret)
{
	size_t at = 0, in = 3;

	for (int l = 0; l < NET_LAYERS; l++) {
		size_t out = (size_t)s->channels[l];

		ret->weight[l] = at;
		ret->bias[l] = at + 9 * in * out;
		at = ret->bias[l] + out;
		in = out;
	}
	ret->linear_weight = at;
	ret->linear_bias = at + (size_t)net_features(s) * (size_t)s->classes;
	ret->total = ret->linear_bias + (size_t)s->classes;
}

static void fill_normal(struct rng *r, float *p, size_t n, double std)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (float)(rng_normal(r) * std);
}

void net_init(const struct net_shape *s, uint64_t seed, float *params)
{
	struct net_layout at;
	struct rng r;
	int in = 3;

	net_layout(s, &at);
	rng_init(&r, seed);
	memset(params, 0, at.total * sizeof(float));
	for (int l = 0; l < NET_LAYERS; l++) {
		fill_normal(&r, params + at.weight[l], at.bias[l] - at.weight[l], sqrt(2.0 / (9 * in)));
		in = s->channels[l];
	}
	fill_normal(&r, params + at.linear_weight, at.linear_bias - at.linear_weight,
		0.1 * sqrt(2.0 / net_features(s)));
}

static size_t place_buffers(struct net_work *w, float *memory, bool backward)
{
	size_t used = 0, chunk = (size_t)w->chunk;

	for (int l = 0; l < NET_LAYERS; l++) {
		struct layer *y = &w->layer[l];
		size_t pixels = (size_t)y->side * (size_t)y->side;

		y->act = carve(memory, &used, chunk * pixels * (size_t)y->in);
		y->pre = carve(memory, &used, (y->fast ? chunk : 1) * pixels * (size_t)y->out);
		if (backward && l > 0)
			y->d_act = carve(memory, &used, chunk * pixels * (size_t)y->in);
		if (y->fast)
			used += winograd_place(&y->wino, y->side, y->in, y->out, w->chunk, backward,
				memory ? memory + used : NULL);
		else
			y->col = carve(memory, &used, pixels * (size_t)y->patch);
		if (backward && l == 0)
			y->d_patch = carve(memory, &used, (size_t)y->out * (size_t)y->patch);
	}
	w->feat = carve(memory, &used, chunk * (size_t)w->features);
	if (backward)
		w->d_feat = carve(memory, &used, chunk * (size_t)w->features);
	w->logits = carve(memory, &used, chunk * (size_t)w->shape.classes);
	return used;
}

static size_t place_argmax(struct net_work *w, uint8_t *memory)
{
	size_t used = 0;

	for (int l = 0; l < NET_LAYERS; l++) {
		struct layer *y = &w->layer[l];

		y->argmax = memory ? memory + used : NULL;
		used += (size_t)w->chunk * (size_t)(y->side * y->side / 4) * (size_t)y->out;
	}
	return used;
}

struct net_work *net_work_new(const struct net_shape *s, bool backward)
{
	struct net_work *w = calloc(1, sizeof(*w));
	int side = s->size, in = 3;

	if (!w)
		return NULL;
	w->shape = *s;
	w->chunk = CLAMP(CHUNK_PIXELS / (s->size * s->size), 1, CHUNK_MAX);
	w->features = net_features(s);
	net_layout(s, &w->at);
	for (int l = 0; l < NET_LAYERS; l++, side /= 2) {
		w->layer[l] = (struct layer){.side = side,
			.in = in,
			.out = s->channels[l],
			.fast = l > 0 && winograd_suits(in, s->channels[l]),
			.patch = ROUND_UP(9 * in, VECTOR)};
		in = s->channels[l];
	}
	w->memory = aligned_alloc(64, place_buffers(w, NULL, backward) * sizeof(float));
	w->argmax_memory = malloc(place_argmax(w, NULL));
	if (!w->memory || !w->argmax_memory) {
		net_work_free(w);
		return NULL;
	}
	place_buffers(w, w->memory, backward);
	for (int l = 0; l < NET_LAYERS; l++)
		if (w->layer[l].col)
			memset(w->layer[l].col, 0,
				(size_t)(w->layer[l].side * w->layer[l].side * w->layer[l].patch) *
					sizeof(float));
	place_argmax(w, w->argmax_memory);
	return w;
}

void net_work_free(struct net_work *w)
{
	if (!w)
		return;
	free(w->memory);
	free(w->argmax_memory);
	free(w);
}

/* 3 * c floats; the usual picture's number, at compile time, is worth a line. */
static inline void copy_row(float *to, const float *from, size_t c)
{
	if (c == 3)
		memcpy(to, from, 9 * sizeof(float));
	else
		memcpy(to, from, 3 * c * sizeof(float));
}

/* act [H][W][C] to col [H*W][patch], zeros outside the picture. */
static void im2col(const struct layer *y, const float *act)
{
	int side = y->side;
	size_t c = (size_t)y->in, row = (size_t)side * c, patch = (size_t)y->patch;
	float *col = y->col;

	for (int py = 0; py < side; py++)
		for (int px = 0; px < side; px++, col += patch) {
			if (py > 0 && px > 0 && py < side - 1 && px < side - 1) {
				const float *in =
					act + (size_t)(py - 1) * row + (size_t)(px - 1) * c;

				for (size_t ky = 0; ky < 3; ky++)
					copy_row(col + 3 * ky * c, in + ky * row, c);
				continue;
			}
			for (int k = 0; k < 9; k++) {
				int sy = py + k / 3 - 1, sx = px + k % 3 - 1;
				bool inside = sy >= 0 && sy < side && sx >= 0 && sx < side;

				if (inside)
					memcpy(col + (size_t)k * c,
						act + (size_t)sy * row + (size_t)sx * c,
						c * sizeof(float));
				else
					memset(col + (size_t)k * c, 0, c * sizeof(float));
			}
		}
}

/* The transpose of im2col: adds col into d_act. */
static void col2im(const struct layer *y, float *d_act)
{
	int side = y->side;
	size_t c = (size_t)y->in, row = (size_t)side * c;
	const float *col = y->col;

	for (int py = 0; py < side; py++)
		for (int px = 0; px < side; px++, col += y->patch)
			for (int k = 0; k < 9; k++) {
				int sy = py + k / 3 - 1, sx = px + k % 3 - 1;
				float *out;

				if (sy < 0 || sy >= side || sx < 0 || sx >= side)
					continue;
				out = d_act + (size_t)sy * row + (size_t)sx * c;
				for (size_t i = 0; i < c; i++)
					out[i] += col[(size_t)k * c + i];
			}
}

/* One pooled pixel of o channels from the four under it: a b over c d. */
HOT static void pool_pixel(const float *restrict a, const float *restrict b, const float *restrict c,
	const float *restrict d, const float *restrict bias, int o, float *restrict next,
	uint8_t *restrict arg)
{
	for (int k = 0; k < o; k++) {
		float best = a[k];
		int at = 0;

		at = b[k] > best ? 1 : at;
		best = b[k] > best ? b[k] : best;
		at = c[k] > best ? 2 : at;
		best = c[k] > best ? c[k] : best;
		at = d[k] > best ? 3 : at;
		best = (d[k] > best ? d[k] : best) + bias[k];
		next[k] = best > 0 ? best : 0;
		arg[k] = (uint8_t)(best > 0 ? at : 4);
	}
}

/* Of images first.. of the chunk: pre [n][H][W][O] + bias, ReLU and 2x2 max-pooling into next
 * [n][H/2][W/2][O]. */
static void pool_forward(const struct layer *y, const float *bias, int first, int n, float *next)
{
	int half = y->side / 2, o = y->out;
	size_t row = (size_t)y->side * (size_t)o, at = (size_t)first * (size_t)(half * half * o);
	uint8_t *arg = y->argmax + at;

	next += at;
	for (int py = 0; py < n * half; py++)
		for (int px = 0; px < half; px++, next += o, arg += o) {
			const float *a = y->pre + (size_t)(2 * py) * row + (size_t)(2 * px * o);

			pool_pixel(a, a + o, a + row, a + row + o, bias, o, next, arg);
		}
}

/* The gradient of one pooled pixel to the four under it. */
HOT static void unpool_pixel(const float *restrict d_next, const uint8_t *restrict arg, int o,
	float *restrict a, float *restrict b, float *restrict c, float *restrict d,
	float *restrict d_bias)
{
	for (int k = 0; k < o; k++) {
		float g = d_next[k];
		int at = arg[k];

		a[k] = at == 0 ? g : 0;
		b[k] = at == 1 ? g : 0;
		c[k] = at == 2 ? g : 0;
		d[k] = at == 3 ? g : 0;
		d_bias[k] += at < 4 ? g : 0;
	}
}

/* Of images first.. of the chunk: the gradient of next to that of pre, which it overwrites; adds
 * the bias gradient. */
static void pool_backward(
	const struct layer *y, const float *d_next, int first, int n, float *d_bias)
{
	int half = y->side / 2, o = y->out;
	size_t row = (size_t)y->side * (size_t)o, at = (size_t)first * (size_t)(half * half * o);
	const uint8_t *arg = y->argmax + at;

	d_next += at;
	for (int py = 0; py < n * half; py++)
		for (int px = 0; px < half; px++, d_next += o, arg += o) {
			float *a = y->pre + (size_t)(2 * py) * row + (size_t)(2 * px * o);

			unpool_pixel(d_next, arg, o, a, a + o, a + row, a + row + o, d_bias);
		}
}

/* act of n images through convolution, ReLU and pooling to next. */
static void layer_forward(
	const struct layer *y, const float *weight, const float *bias, int n, float *next)
{
	int pixels = y->side * y->side, k = 9 * y->in;

	if (y->fast) {
		winograd_forward(&y->wino, y->act, n, y->pre);
		pool_forward(y, bias, 0, n, next);
		return;
	}
	for (int i = 0; i < n; i++) {
		im2col(y, y->act + (size_t)(i * pixels * y->in));
		gemm_small(pixels, y->out, k, y->col, y->patch, 1, weight, y->out, false, y->pre,
			y->out);
		pool_forward(y, bias, i, 1, next);
	}
}

/* Adds the gradients of one pooled pixel of o channels, each times the patch (vectors of VECTOR)
 * that won. */
HOT_FMA static void add_winners(const float *corner, const size_t offset[4], int vectors,
	const float *d_next, const uint8_t *arg, int o, float *d_patch, float *d_bias)
{
	for (int k = 0; k < o; k++, d_patch += vectors * VECTOR) {
		const float *won = corner + offset[arg[k] & 3];
		float g = arg[k] < 4 ? d_next[k] : 0;

		d_bias[k] += g;
		for (int v = 0; g != 0 && v < vectors; v++)
			for (int i = 0; i < VECTOR; i++)
				d_patch[v * VECTOR + i] += g * won[v * VECTOR + i];
	}
}

/*
 * The first layer's weight gradient, of image i of the chunk. Pooling passes a gradient on to one
 * output in four, and no gradient of the picture is wanted: the winners' patches are added up, and
 * the other three quarters are not touched.
 */
static void first_backward(const struct layer *y, const float *d_next, int i, float *d_bias)
{
	int half = y->side / 2, o = y->out;
	size_t at = (size_t)i * (size_t)(half * half * o), patch = (size_t)y->patch,
	       row = (size_t)y->side * patch;
	const size_t offset[4] = {0, patch, row, row + patch};

	for (int p = 0; p < half * half; p++, at += (size_t)o)
		add_winners(y->col + (size_t)(p / half * 2) * row + (size_t)(p % half * 2) * patch,
			offset, y->patch / VECTOR, d_next + at, y->argmax + at, o, y->d_patch,
			d_bias);
}

/* The gradient of next back to that of act and of the parameters. */
static void layer_backward(const struct layer *y, const float *weight, const float *d_next, int n,
	float *d_weight, float *d_bias)
{
	int pixels = y->side * y->side, k = 9 * y->in;
	size_t image = (size_t)(pixels * y->in);

	if (y->d_act)
		memset(y->d_act, 0, (size_t)n * image * sizeof(float));
	if (y->fast) {
		pool_backward(y, d_next, 0, n, d_bias);
		winograd_backward(&y->wino, y->pre, n, y->d_act);
		return;
	}
	for (int i = 0; i < n; i++) {
		im2col(y, y->act + (size_t)i * image);
		if (y->d_patch) {
			first_backward(y, d_next, i, d_bias);
			continue;
		}
		pool_backward(y, d_next, i, 1, d_bias);
		gemm_small(k, y->out, pixels, y->col, 1, y->patch, y->pre, y->out, true, d_weight,
			y->out);
		gemm(pixels, k, y->out, y->pre, y->out, false, weight, y->out, true, false, y->col,
			y->patch);
		col2im(y, y->d_act + (size_t)i * image);
	}
}

/* What is made of the parameters before pictures come. */
static void begin(struct net_work *w, const float *params, bool backward)
{
	const struct layer *first = &w->layer[0];

	w->params = params;
	for (int l = 0; l < NET_LAYERS; l++)
		if (w->layer[l].fast)
			winograd_weights(&w->layer[l].wino, params + w->at.weight[l], backward);
	if (backward)
		memset(first->d_patch, 0, (size_t)(first->out * first->patch) * sizeof(float));
}

/* What the gradients of a whole call have been gathered in, added to grad. */
static void end(const struct net_work *w, float *grad)
{
	const struct layer *first = &w->layer[0];

	for (int l = 0; l < NET_LAYERS; l++)
		if (w->layer[l].fast)
			winograd_gradient(&w->layer[l].wino, grad + w->at.weight[l]);
	for (int i = 0; i < 9 * first->in; i++)
		for (int k = 0; k < first->out; k++)
			grad[w->at.weight[0] + (size_t)(i * first->out + k)] +=
				first->d_patch[k * first->patch + i];
}

static float *next_activation(const struct net_work *w, int l)
{
	return l + 1 < NET_LAYERS ? w->layer[l + 1].act : w->feat;
}

/* At most chunk images to logits [n][K]; everything backward needs stays in w. */
static void forward_chunk(struct net_work *w, const float *p, const uint8_t *rgb, int n, float *logits)
{
	size_t values = (size_t)n * (size_t)w->shape.size * (size_t)w->shape.size * 3;
	int k = w->shape.classes;

	for (size_t i = 0; i < values; i++)
		w->layer[0].act[i] = ((float)rgb[i] - 127.5f) * (1.0f / 128);
	for (int l = 0; l < NET_LAYERS; l++)
		layer_forward(&w->layer[l], p + w->at.weight[l], p + w->at.bias[l], n,
			next_activation(w, l));
	for (int i = 0; i < n; i++)
		memcpy(logits + (size_t)i * (size_t)k, p + w->at.linear_bias, (size_t)k * sizeof(float));
	gemm(n, k, w->features, w->feat, w->features, false, p + w->at.linear_weight, k, false,
		true, logits, k);
}

/* d_logits [n][K] back through everything, adding to grad. */
static void backward_chunk(struct net_work *w, const float *p, const float *d_logits, int n, float *grad)
{
	int k = w->shape.classes, f = w->features;

	for (int i = 0; i < n; i++)
		for (int j = 0; j < k; j++)
			grad[w->at.linear_bias + (size_t)j] += d_logits[i * k + j];
	gemm(f, k, n, w->feat, f, true, d_logits, k, false, true, grad + w->at.linear_weight, k);
	gemm(n, f, k, d_logits, k, false, p + w->at.linear_weight, k, true, false, w->d_feat, f);
	for (int l = NET_LAYERS - 1; l >= 0; l--) {
		const float *d_next = l + 1 < NET_LAYERS ? w->layer[l + 1].d_act : w->d_feat;

		layer_backward(&w->layer[l], p + w->at.weight[l], d_next, n, grad + w->at.weight[l],
			grad + w->at.bias[l]);
	}
}

void net_use(struct net_work *w, const float *params)
{
	begin(w, params, false);
}

void net_forward(struct net_work *w, const uint8_t *rgb, int n, float *ret_logits)
{
	size_t image = (size_t)w->shape.size * (size_t)w->shape.size * 3;

	for (int i = 0; i < n; i += w->chunk)
		forward_chunk(w, w->params, rgb + (size_t)i * image, MIN(w->chunk, n - i),
			ret_logits + (size_t)i * (size_t)w->shape.classes);
}

float softmax(float *logits, int k)
{
	float max = logits[0], sum = 0;

	for (int j = 1; j < k; j++)
		max = MAX(max, logits[j]);
	for (int j = 0; j < k; j++) {
		logits[j] = expf(logits[j] - max);
		sum += logits[j];
	}
	for (int j = 0; j < k; j++)
		logits[j] /= sum;
	return max + logf(sum);
}

/* Logits [K] to the gradient of weight * cross-entropy, in place; returns that loss. */
static double loss_gradient(float *logits, int k, int label, float weight, bool *ret_correct)
{
	float right = logits[label], lse;
	int best = 0;

	for (int j = 1; j < k; j++)
		if (logits[j] > logits[best])
			best = j;
	lse = softmax(logits, k);
	for (int j = 0; j < k; j++)
		logits[j] *= weight;
	logits[label] -= weight;
	*ret_correct = best == label;
	return (double)weight * (double)(lse - right);
}

double net_gradient(struct net_work *w, const float *params, const uint8_t *rgb, const int *label,
	const float *weight, int n, float *grad, int *ret_correct)
{
	size_t image = (size_t)w->shape.size * (size_t)w->shape.size * 3;
	int k = w->shape.classes;
	double loss = 0;

	begin(w, params, true);
	for (int i = 0; i < n; i += w->chunk) {
		int m = MIN(w->chunk, n - i);

		forward_chunk(w, params, rgb + (size_t)i * image, m, w->logits);
		for (int j = 0; j < m; j++) {
			bool correct;

			loss += loss_gradient(w->logits + j * k, k, label[i + j], weight[i + j], &correct);
			if (ret_correct)
				*ret_correct += correct;
		}
		backward_chunk(w, params, w->logits, m, grad);
	}
	end(w, grad);
	return loss;
}
