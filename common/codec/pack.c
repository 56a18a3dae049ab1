#include "common/codec/pack.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define ADAPT_SHIFT   5	   /* how fast: 1/32 of the way at every decision */
#define COUNT_MAX     (UINT32_C(1) << 24)
#define DC_LENGTH_MAX 17
#define LENGTH_MAX    15
#define VALUE_MAX     32767
#define CHUNK	      256 /* bytes that are written at once */

#define INLINE	      static inline __attribute__((always_inline))

enum {
	AT_DC_LENGTH,
	AT_DC_TOP = AT_DC_LENGTH + PACK_DC_LENGTH,
	AT_ZERO = AT_DC_TOP + PACK_DC_TOP,
	AT_END = AT_ZERO + PACK_ZERO,
	AT_LENGTH = AT_END + PACK_END,
	AT_TOP = AT_LENGTH + PACK_LENGTH,
	AT_SIGN = AT_TOP + PACK_TOP,
};

/* The same walk through a picture counts, estimates, writes and reads. */
enum mode { COUNT, ESTIMATE, WRITE, READ };

struct coder {
	uint16_t one[PACK_CONTEXTS]; /* probability, in 65536ths */
	struct pack_counts *counts;  /* COUNT */
	float bits;		     /* ESTIMATE */
	uint32_t low, high, code;    /* WRITE, READ: the interval, and READ's place in it */
	struct buf *out;	     /* WRITE */
	uint8_t *chunk;		     /* what goes there next: so much of CHUNK bytes */
	size_t n_chunk;
	size_t full;		     /* of out, beyond which nobody wants it */
	const uint8_t *in, *end;     /* READ */
};

/* Positions left of, above and left above zigzag position k; 0, where DC is, for none. */
static const uint8_t BEFORE[DCT_SIZE2][3] = {{0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 2, 0}, {2, 1, 0},
	{1, 0, 0}, {5, 0, 0}, {4, 5, 1}, {3, 4, 2}, {0, 3, 0}, {0, 9, 0}, {9, 8, 3}, {8, 7, 4},
	{7, 6, 5}, {6, 0, 0}, {14, 0, 0}, {13, 14, 6}, {12, 13, 7}, {11, 12, 8}, {10, 11, 9},
	{0, 10, 0}, {0, 20, 0}, {20, 19, 10}, {19, 18, 11}, {18, 17, 12}, {17, 16, 13},
	{16, 15, 14}, {15, 0, 0}, {27, 0, 0}, {26, 27, 15}, {25, 26, 16}, {24, 25, 17},
	{23, 24, 18}, {22, 23, 19}, {21, 22, 20}, {0, 21, 0}, {35, 34, 21}, {34, 33, 22},
	{33, 32, 23}, {32, 31, 24}, {31, 30, 25}, {30, 29, 26}, {29, 28, 27}, {41, 42, 29},
	{40, 41, 30}, {39, 40, 31}, {38, 39, 32}, {37, 38, 33}, {36, 37, 34}, {48, 47, 37},
	{47, 46, 38}, {46, 45, 39}, {45, 44, 40}, {44, 43, 41}, {52, 53, 44}, {51, 52, 45},
	{50, 51, 46}, {49, 50, 47}, {57, 56, 50}, {56, 55, 51}, {55, 54, 52}, {59, 60, 55},
	{58, 59, 56}, {62, 61, 59}};

/* -log2((i + 1/2) / 256): bits of what happens i times in 256. */
static const float BITS[256] = {9.0f, 7.415f, 6.678f, 6.193f, 5.83f, 5.541f, 5.3f, 5.093f, 4.913f,
	4.752f, 4.608f, 4.476f, 4.356f, 4.245f, 4.142f, 4.046f, 3.956f, 3.871f, 3.791f, 3.715f,
	3.642f, 3.574f, 3.508f, 3.445f, 3.385f, 3.328f, 3.272f, 3.219f, 3.167f, 3.117f, 3.069f,
	3.023f, 2.978f, 2.934f, 2.891f, 2.85f, 2.81f, 2.771f, 2.733f, 2.696f, 2.66f, 2.625f, 2.591f,
	2.557f, 2.524f, 2.492f, 2.461f, 2.43f, 2.4f, 2.371f, 2.342f, 2.313f, 2.286f, 2.259f, 2.232f,
	2.206f, 2.18f, 2.155f, 2.13f, 2.105f, 2.081f, 2.057f, 2.034f, 2.011f, 1.989f, 1.967f,
	1.945f, 1.923f, 1.902f, 1.881f, 1.86f, 1.84f, 1.82f, 1.8f, 1.781f, 1.762f, 1.743f, 1.724f,
	1.705f, 1.687f, 1.669f, 1.651f, 1.634f, 1.616f, 1.599f, 1.582f, 1.565f, 1.549f, 1.532f,
	1.516f, 1.5f, 1.484f, 1.469f, 1.453f, 1.438f, 1.423f, 1.408f, 1.393f, 1.378f, 1.363f,
	1.349f, 1.335f, 1.321f, 1.307f, 1.293f, 1.279f, 1.265f, 1.252f, 1.238f, 1.225f, 1.212f,
	1.199f, 1.186f, 1.173f, 1.161f, 1.148f, 1.136f, 1.123f, 1.111f, 1.099f, 1.087f, 1.075f,
	1.063f, 1.052f, 1.04f, 1.028f, 1.017f, 1.006f, 0.9944f, 0.9832f, 0.9721f, 0.9611f, 0.9502f,
	0.9393f, 0.9285f, 0.9179f, 0.9072f, 0.8967f, 0.8863f, 0.8759f, 0.8656f, 0.8553f, 0.8452f,
	0.8351f, 0.8251f, 0.8151f, 0.8052f, 0.7954f, 0.7857f, 0.776f, 0.7664f, 0.7568f, 0.7473f,
	0.7379f, 0.7285f, 0.7192f, 0.71f, 0.7008f, 0.6917f, 0.6826f, 0.6736f, 0.6646f, 0.6557f,
	0.6469f, 0.6381f, 0.6293f, 0.6206f, 0.612f, 0.6034f, 0.5949f, 0.5864f, 0.5779f, 0.5695f,
	0.5612f, 0.5529f, 0.5447f, 0.5365f, 0.5283f, 0.5202f, 0.5122f, 0.5041f, 0.4962f, 0.4882f,
	0.4804f, 0.4725f, 0.4647f, 0.457f, 0.4493f, 0.4416f, 0.4339f, 0.4264f, 0.4188f, 0.4113f,
	0.4038f, 0.3964f, 0.389f, 0.3816f, 0.3743f, 0.367f, 0.3598f, 0.3525f, 0.3454f, 0.3382f,
	0.3311f, 0.324f, 0.317f, 0.31f, 0.303f, 0.2961f, 0.2892f, 0.2823f, 0.2755f, 0.2687f,
	0.2619f, 0.2552f, 0.2485f, 0.2418f, 0.2351f, 0.2285f, 0.2219f, 0.2154f, 0.2088f, 0.2023f,
	0.1959f, 0.1894f, 0.183f, 0.1766f, 0.1703f, 0.1639f, 0.1576f, 0.1514f, 0.1451f, 0.1389f,
	0.1327f, 0.1266f, 0.1204f, 0.1143f, 0.1082f, 0.1022f, 0.09612f, 0.09011f, 0.08412f,
	0.07816f, 0.07222f, 0.06631f, 0.06042f, 0.05456f, 0.04872f, 0.0429f, 0.0371f, 0.03133f,
	0.02559f, 0.01986f, 0.01416f, 0.008478f, 0.002821f};

INLINE uint8_t next_byte(struct coder *c)
{
	return c->in < c->end ? *c->in++ : 0;
}

INLINE void put_byte(struct coder *c, uint32_t v)
{
	if (c->n_chunk == CHUNK) {
		buf_put(c->out, c->chunk, CHUNK);
		c->n_chunk = 0;
	}
	c->chunk[c->n_chunk++] = (uint8_t)v;
}

/* Narrows the interval to a part; p of 65536 is the part of a one. */
INLINE int narrow(struct coder *c, enum mode mode, uint32_t p, int bit)
{
	uint32_t mid = c->low + (uint32_t)(((uint64_t)(c->high - c->low) * p) >> 16);

	if (mode == READ)
		bit = c->code <= mid;
	if (bit)
		c->high = mid;
	else
		c->low = mid + 1;
	while (!((c->low ^ c->high) >> 24)) {
		if (mode == WRITE)
			put_byte(c, c->high >> 24);
		else
			c->code = c->code << 8 | next_byte(c);
		c->low <<= 8;
		c->high = c->high << 8 | 255;
	}
	return bit;
}

/* One decision in its context: what it is goes in unless it is read, and what it was comes back. */
INLINE int code(struct coder *c, enum mode mode, int context, int bit)
{
	uint32_t p = c->one[context];

	if (mode == COUNT) {
		c->counts->bit[context][bit] += c->counts->bit[context][bit] < COUNT_MAX;
		return bit;
	}
	if (mode == ESTIMATE)
		c->bits += BITS[(bit ? p : 65535 - p) >> 8];
	else
		bit = narrow(c, mode, p, bit);
	/* Stays within 1..65535: the interval never closes. */
	c->one[context] =
		(uint16_t)(bit ? p + ((65535 - p) >> ADAPT_SHIFT) : p - ((p - 1) >> ADAPT_SHIFT));
	return bit;
}

/* A decision that nothing is known about. */
INLINE int code_raw(struct coder *c, enum mode mode, int bit)
{
	if (mode == COUNT)
		return bit;
	if (mode == ESTIMATE) {
		c->bits += 1;
		return bit;
	}
	return narrow(c, mode, 32768, bit);
}

/* 4 log2(v), rounded. v > 0. */
static int log4(uint64_t v)
{
	int e = 63 - __builtin_clzll(v);
	int m = (int)(e >= 8 ? v >> (e - 8) : v << (8 - e)); /* 256..511 */

	return 4 * e + (m >= 280) + (m >= 332) + (m >= 395) + (m >= 470);
}

/* A plane with what the model expects of it. */
struct walk {
	const struct coef_plane *p;
	int type;		 /* 0 luma, 1 chroma */
	uint8_t size[DCT_SIZE2]; /* mean magnitude in steps, 2 log2 + 10, within 0..15 */
	uint8_t rest[DCT_SIZE2]; /* how many are expected from k on, in twelve classes */
	int64_t foretold_unit[6]; /* quarters of a step in 64 steps of DC, 2^-20 */
};

static uint8_t rest_class(int sum)
{
	static const int limit[11] = {8, 16, 32, 64, 128, 192, 256, 384, 640, 1024, 2048};
	uint8_t n = 0;

	while (n < 11 && sum >= limit[n])
		n++;
	return n;
}

static void walk_init(
	struct walk *w, const struct pack_model *m, const struct coef_plane *p, int type)
{
	/* exp(-step / 2 mean), of 256: a Laplacian's chance of being more than half a step */
	static const uint8_t nonzero[16] = {
		0, 0, 1, 4, 11, 24, 43, 69, 98, 128, 154, 178, 197, 212, 223, 232};
	int rest = 0;

	w->p = p;
	w->type = type;
	for (int k = 1; k < 6; k++)
		w->foretold_unit[k] = ((int64_t)p->quant[0] << 20) / (64 * MAX(p->quant[k], 1));
	for (int k = DCT_SIZE2 - 1; k >= 0; k--) {
		int size = (m->scale[type][k] - 16 - log4(MAX(p->quant[k], 1)) + 64) / 2 - 32;

		w->size[k] = (uint8_t)CLAMP(size + 10, 0, 15);
		rest += nonzero[w->size[k]];
		w->rest[k] = rest_class(rest);
	}
}

/* Bits below the first of a magnitude of n bits; the highest of them has a context. */
INLINE int code_mantissa(struct coder *c, enum mode mode, int top_context, int n, int magnitude)
{
	int v = 1;

	for (int i = n - 2; i >= 0; i--) {
		int bit = (magnitude >> i) & 1;

		bit = i == n - 2 ? code(c, mode, top_context, bit) : code_raw(c, mode, bit);
		v = v << 1 | bit;
	}
	return v;
}

INLINE int code_dc(
	struct coder *c, enum mode mode, const struct walk *w, int activity, int residual)
{
	int base = AT_DC_LENGTH + (w->type * 4 + activity) * 24, n = 0, v;

	while (n < DC_LENGTH_MAX && code(c, mode, base + CLAMP(2 * n + 18 - w->size[0], 0, 23),
					    coef_bits(residual) > n))
		n++;
	if (!n)
		return 0;
	v = code_raw(c, mode, residual < 0) ? -1 : 1;
	return v * code_mantissa(c, mode, AT_DC_TOP + w->type * 18 + n, n, abs(residual));
}

/* What DC should be by the blocks before, and how much they differ (0..3). */
static int expect_dc(const struct coef_plane *p, int bx, int by, int *ret_activity)
{
	int left = bx ? coef_block(p, bx - 1, by)[0] : 0, above = by ? coef_block(p, bx, by - 1)[0] : 0;
	int corner, differ;

	*ret_activity = bx || by ? 2 : 3;
	if (!bx || !by)
		return bx ? left : above;
	corner = coef_block(p, bx - 1, by - 1)[0];
	differ = abs(left - corner) + abs(above - corner);
	*ret_activity = (differ > 1) + (differ > 4) + (differ > 12);
	return CLAMP((3 * (left + above) - 2 * corner) / 4, -VALUE_MAX, VALUE_MAX);
}

INLINE void code_dc_row(struct coder *c, enum mode mode, const struct walk *w, int by)
{
	for (int bx = 0; bx < w->p->blocks_w; bx++) {
		int16_t *q = coef_block(w->p, bx, by);
		int activity, expected = expect_dc(w->p, bx, by, &activity);
		int residual = code_dc(c, mode, w, activity, mode == READ ? 0 : q[0] - expected);

		if (mode == READ)
			q[0] = (int16_t)CLAMP(expected + residual, -VALUE_MAX, VALUE_MAX);
	}
}

/* The first five by the DCs around (T.81, K.8.1), in quarters of a step. */
static void foretell(const struct walk *w, int bx, int by, int ret[6])
{
	const struct coef_plane *p = w->p;
	int64_t d[9], sum[6];

	for (int i = 0; i < 9; i++)
		d[i] = coef_block(p, CLAMP(bx + i % 3 - 1, 0, p->blocks_w - 1),
			CLAMP(by + i / 3 - 1, 0, p->blocks_h - 1))[0];
	sum[1] = 36 * (d[3] - d[5]);
	sum[2] = 36 * (d[1] - d[7]);
	sum[3] = 9 * (d[1] + d[7] - 2 * d[4]);
	sum[4] = 5 * (d[0] - d[2] - d[6] + d[8]);
	sum[5] = 9 * (d[3] + d[5] - 2 * d[4]);
	for (int k = 1; k < 6; k++)
		ret[k] = (int)CLAMP(sum[k] * w->foretold_unit[k] / (1 << 20), -99, 99);
}

/* A block's surroundings; blocks that are not there are NULL and have no coefficients. */
struct around {
	const int16_t *left, *above;
	uint64_t left_mask, above_mask;
	uint8_t blocks[DCT_SIZE2]; /* how big its neighbours are in the blocks around, 0..3 */
	uint16_t here[DCT_SIZE2];  /* magnitudes in this block, so far as they are known */
	int foretold[6];
};

/* What is asked of the blocks around, for all coefficients at once: once it is known that there are any. */
INLINE void look_around(const struct walk *w, struct around *a, int bx, int by)
{
	static const int16_t none[DCT_SIZE2];
	const int16_t *left = a->left ? a->left : none, *above = a->above ? a->above : none;
	int twice = !a->left != !a->above, first = !a->left && !a->above;

	for (int k = 0; k < DCT_SIZE2; k++) {
		int n = (abs(left[k]) + abs(above[k])) << twice;

		a->blocks[k] = (uint8_t)(first + (n > 0) + (n > 1) + (n > 3));
	}
	memset(a->here, 0, sizeof(a->here));
	foretell(w, bx, by, a->foretold);
}

/* Whether nothing but zeros follows from k on. */
INLINE bool code_end(struct coder *c, enum mode mode, const struct walk *w, const struct around *a,
	int k, bool end)
{
	int n = __builtin_popcountll(a->left_mask >> k) + __builtin_popcountll(a->above_mask >> k),
	    near;

	if (!a->left != !a->above)
		n *= 2;
	near = !a->left && !a->above ? 5 : (n > 0) + (n > 1) + (n > 3) + (n > 6);
	return code(c, mode, AT_END + (w->type * 12 + w->rest[k]) * 6 + near, end);
}

/* How big a coefficient's neighbours in this block are, 0..3; of the first five, what they should be. */
INLINE int here_class(const struct around *a, int k)
{
	int n;

	if (k > 5) {
		n = a->here[BEFORE[k][0]] + a->here[BEFORE[k][1]] + a->here[BEFORE[k][2]];
		return (n > 0) + (n > 1) + (n > 3);
	}
	n = abs(a->foretold[k]);
	return (n > 1) + (n > 3) + (n > 7);
}

INLINE int code_sign(struct coder *c, enum mode mode, const struct around *a, int k, bool negative)
{
	int told;

	if (k > 5)
		return code_raw(c, mode, negative);
	told = a->foretold[k];
	return code(c, mode,
		AT_SIGN + (k - 1) * 5 + (told > -4) + (told >= -1) + (told > 1) + (told > 3),
		negative);
}

/* A coefficient that is not zero; returns it. */
INLINE int code_value(struct coder *c, enum mode mode, const struct walk *w, const struct around *a,
	int k, int blocks, int here, int v)
{
	int base = AT_LENGTH + (w->type * 4 + (blocks + here + 1) / 2) * 16, n = 1, magnitude;

	while (n < LENGTH_MAX &&
		code(c, mode, base + CLAMP(2 * n + 10 - w->size[k], 0, 15), coef_bits(v) > n))
		n++;
	magnitude = code_mantissa(c, mode, AT_TOP + w->type * 16 + n, n, abs(v));
	return code_sign(c, mode, a, k, v < 0) ? -magnitude : magnitude;
}

/* The 63 after DC. Returns which are not zero. */
INLINE uint64_t code_block(
	struct coder *c, enum mode mode, const struct walk *w, struct around *a, int bx, int by)
{
	int16_t *q = coef_block(w->p, bx, by);
	uint64_t mask = mode == READ ? 0 : coef_nonzero(q) & ~UINT64_C(1);

	for (int k = 1; k < DCT_SIZE2; k++) {
		int here, v;

		if (code_end(c, mode, w, a, k, mode != READ && !(mask >> k)))
			break;
		if (k == 1)
			look_around(w, a, bx, by);
		for (;; k++) {
			here = here_class(a, k);
			if (k == DCT_SIZE2 - 1 ||
				code(c, mode,
					AT_ZERO + ((w->type * 16 + w->size[k]) * 4 + a->blocks[k]) * 4 +
						here,
					mode != READ && (mask >> k & 1)))
				break;
		}
		v = code_value(c, mode, w, a, k, a->blocks[k], here, mode == READ ? 1 : q[k]);
		a->here[k] = (uint16_t)abs(v);
		if (mode == READ) {
			q[k] = (int16_t)v;
			mask |= UINT64_C(1) << k;
		}
	}
	return mask;
}

INLINE void code_row(struct coder *c, enum mode mode, const struct walk *w, int by)
{
	struct around a;

	a.left = NULL;
	a.left_mask = 0;
	for (int bx = 0; bx < w->p->blocks_w; bx++) {
		a.above = by ? coef_block(w->p, bx, by - 1) : NULL;
		a.above_mask = by ? coef_nonzero(a.above) : 0;
		a.left_mask = code_block(c, mode, w, &a, bx, by);
		a.left = coef_block(w->p, bx, by);
	}
}

/*
 * A plane's rows in MCU row my. All DCs of a plane come before the rest, so that the others know the DCs
 * all around.
 */
INLINE void code_band(struct coder *c, enum mode mode, const struct walk *w, int my, bool dc)
{
	for (int by = my * w->p->v; by < MIN((my + 1) * w->p->v, w->p->blocks_h); by++)
		if (dc)
			code_dc_row(c, mode, w, by);
		else
			code_row(c, mode, w, by);
}

INLINE void code_image(
	struct coder *c, enum mode mode, const struct pack_model *m, const struct coef_image *im)
{
	int apart = mode == COUNT || mode == ESTIMATE ? coef_band_apart(im) : 1, rows = coef_mcu_rows(im);
	struct walk w;

	for (int i = 0; i < PACK_CONTEXTS; i++)
		c->one[i] = (uint16_t)(m->one[i] << 8);
	for (int i = 0; i < im->n_planes; i++) {
		walk_init(&w, m, &im->plane[i], i > 0);
		for (int my = apart / 2; my < rows; my += apart)
			code_band(c, mode, &w, my, true);
		for (int my = apart / 2; my < rows; my += apart) {
			code_band(c, mode, &w, my, false);
			if (mode == WRITE && c->out->len + c->n_chunk > c->full)
				return;
		}
	}
}

void pack_counts_add(struct pack_counts *to, const struct pack_counts *from)
{
	for (int t = 0; t < 2; t++) {
		to->blocks[t] += from->blocks[t];
		for (int k = 0; k < DCT_SIZE2; k++)
			to->magnitude[t][k] += from->magnitude[t][k];
	}
	for (int i = 0; i < PACK_CONTEXTS; i++)
		for (int bit = 0; bit < 2; bit++)
			to->bit[i][bit] += from->bit[i][bit];
}

void pack_measure(const struct coef_image *im, struct pack_counts *sum)
{
	for (int i = 0; i < im->n_planes; i++) {
		const struct coef_plane *p = &im->plane[i];
		int64_t n = (int64_t)p->blocks_w * p->blocks_h;

		for (int64_t b = 0; b < n; b++)
			for (int k = 0; k < DCT_SIZE2; k++)
				sum->magnitude[i > 0][k] +=
					(uint64_t)abs(p->coef[b * DCT_SIZE2 + k]) * p->quant[k];
		sum->blocks[i > 0] += (uint64_t)n;
	}
}

void pack_set_scales(const struct pack_counts *sum, struct pack_model *m)
{
	for (int t = 0; t < 2; t++)
		for (int k = 0; k < DCT_SIZE2; k++) {
			uint64_t mean = 16 * sum->magnitude[t][k] / MAX(sum->blocks[t], UINT64_C(1));

			m->scale[t][k] = (uint8_t)MIN(log4(MAX(mean, UINT64_C(1))), 255);
		}
}

HOT void pack_count(const struct coef_image *im, const struct pack_model *m, struct pack_counts *sum)
{
	struct coder c = {.counts = sum};

	code_image(&c, COUNT, m, im);
}

void pack_fit(const struct pack_counts *sum, struct pack_model *m)
{
	for (int i = 0; i < PACK_CONTEXTS; i++) { /* Krichevsky and Trofimov's estimator */
		double zeros = sum->bit[i][0] + 0.5, ones = sum->bit[i][1] + 0.5;

		m->one[i] = (uint8_t)CLAMP(lround(256 * ones / (zeros + ones)), 1, 255);
	}
}

HOT uint32_t pack_bytes(const struct coef_image *im, const struct pack_model *m)
{
	int apart = coef_band_apart(im), rows = coef_mcu_rows(im), seen = 0;
	struct coder c = {0};

	code_image(&c, ESTIMATE, m, im);
	for (int my = apart / 2; my < rows; my += apart)
		seen++;
	return (uint32_t)MAX(1, lroundf(c.bits / 8 * (float)rows / (float)seen + 0.5f));
}

/* The shortest bytes that, zeros behind them, lie in the interval. */
INLINE void finish(struct coder *c)
{
	int n = 0;

	while (n < 4 && (n ? c->high >> (32 - 8 * n) << (32 - 8 * n) : 0) < c->low)
		n++;
	for (int i = 0; i < n; i++)
		put_byte(c, c->high >> (24 - 8 * i));
	buf_put(c->out, c->chunk, c->n_chunk);
}

HOT int pack_write(const struct coef_image *im, const struct pack_model *m, size_t max, struct buf *b)
{
	uint8_t chunk[CHUNK];
	size_t begin = b->len;
	struct coder c = {
		.high = UINT32_MAX, .out = b, .chunk = chunk, .full = max ? begin + max : SIZE_MAX};

	code_image(&c, WRITE, m, im);
	finish(&c);
	while (b->len > begin + 1 && !b->failed && !b->data[b->len - 1]) /* read as zeros anyway */
		b->len--;
	if (b->len == begin)
		buf_put_u8(b, 0);
	if (b->failed)
		return -ENOMEM;
	if (b->len <= c.full)
		return 0;
	b->len = begin;
	return -EFBIG;
}

HOT int pack_read(const uint8_t *data, size_t len, const struct pack_model *m, struct coef_image *im)
{
	struct coder c = {.high = UINT32_MAX, .in = data, .end = data + len};

	for (int i = 0; i < im->n_planes; i++)
		memset(im->plane[i].coef, 0,
			(size_t)im->plane[i].blocks_w * (size_t)im->plane[i].blocks_h * DCT_SIZE2 *
				sizeof(int16_t));
	for (int i = 0; i < 4; i++)
		c.code = c.code << 8 | next_byte(&c);
	code_image(&c, READ, m, im);
	return c.in == c.end ? 0 : -EBADMSG;
}

void pack_model_write(const struct pack_model *m, struct buf *b)
{
	buf_put(b, m->scale, sizeof(m->scale));
	buf_put(b, m->one, sizeof(m->one));
}

int pack_model_read(struct reader *r, struct pack_model *ret)
{
	const uint8_t *scale = reader_take(r, sizeof(ret->scale));
	const uint8_t *one = reader_take(r, sizeof(ret->one));

	if (!scale || !one || memchr(one, 0, sizeof(ret->one)))
		return -EBADMSG;
	memcpy(ret->scale, scale, sizeof(ret->scale));
	memcpy(ret->one, one, sizeof(ret->one));
	return 0;
}
