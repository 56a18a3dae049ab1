#include "common/codec/input.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/carve.h"

/*
 * N: blocks of a plane; nx, ny: samples of a block on each axis; W = blocks on a row * nx. The transform
 * runs over all blocks of a plane side by side, which is what vectors are good for.
 */
/* One output sample is the weighted sum of n samples from first. */
struct tap {
	int first, n;
	const float *weight; /* borrowed from the axis */
};

struct axis {
	struct tap *tap;  /* [size]; owned, weights and what follows lie behind it */
	bool same;	  /* each output sample is the input's */
	bool pairs;	  /* each is made of the sample at first and the next, as it is when growing */
	int *first;	  /* [size]; the same as in tap, side by side */
	float *weight[2]; /* [size] each */
};

static int axis_alloc(struct axis *a, int size, int taps_max)
{
	size_t n = (size_t)size, taps = n * sizeof(struct tap),
	       weights = n * (size_t)taps_max * sizeof(float);
	char *memory = malloc(taps + weights + n * (sizeof(int) + 2 * sizeof(float)));

	if (!memory)
		return -ENOMEM;
	a->tap = (struct tap *)memory;
	a->weight[0] = (float *)(memory + taps + weights);
	a->weight[1] = a->weight[0] + n;
	a->first = (int *)(a->weight[1] + n);
	return 0;
}

/* A triangle as wide as one sample on each side of the output sample's place; at the edges, the last one. */
static struct tap grow(double centre, double extent, int limit, float *w)
{
	int first = (int)floor(centre), last = MIN(limit, (int)ceil(extent)) - 1;

	w[1] = (float)(centre - first);
	if (first < 0 || first + 1 > last) {
		first = CLAMP((int)lround(centre), 0, last);
		w[1] = 0;
		if (first > 0) {
			first--;
			w[1] = 1;
		}
	}
	w[0] = 1 - w[1];
	return (struct tap){first, MIN(limit, 2), w};
}

/* As much of each input sample as the output sample covers. */
static struct tap shrink(double lo, double hi, int limit, float *w)
{
	int first = MIN((int)lo, limit - 1), last = CLAMP((int)ceil(hi) - 1, first, limit - 1);

	for (int i = first; i <= last; i++)
		w[i - first] = (float)((MIN(hi, i + 1.0) - MAX(lo, (double)i)) / (hi - lo));
	return (struct tap){first, last - first + 1, w};
}

/* Resampling of extent samples (limit of them exist) to size: by area, or linearly when growing. */
static int axis_init(struct axis *a, double extent, int limit, int size)
{
	double step = extent / size;
	int taps_max = (int)ceil(MAX(step, 1.0)) + 2, r = axis_alloc(a, size, taps_max);
	float *w = (float *)(a->tap + size);

	if (r < 0)
		return r;
	a->same = true;
	a->pairs = step < 1 && limit > 1;
	for (int o = 0; o < size; o++, w += taps_max) {
		double lo = o * step, hi = lo + step;
		struct tap t =
			step < 1 ? grow((lo + hi) / 2 - 0.5, extent, limit, w) : shrink(lo, hi, limit, w);

		a->tap[o] = t;
		if (a->pairs) {
			a->first[o] = t.first;
			a->weight[0][o] = w[0];
			a->weight[1][o] = w[1];
		}
		a->same = a->same && t.first == o && t.n == 1 && w[0] == 1;
	}
	return 0;
}

struct plane_maker {
	int blocks_w, blocks; /* N */
	int nx, ny, n_coef;   /* n_coef = nx * ny */
	uint8_t zigzag[DCT_SIZE2];	 /* [ny][nx]: where frequency (v, u) is */
	uint16_t quant[DCT_SIZE2];	 /* as captured, zigzag order */
	float basis_x[8][8], basis_y[8][8]; /* [sample][frequency] */
	float *level;	/* [n_coef][N]: as captured, in steps */
	float *value;	/* [n_coef][N]: of the quality in hand, an eighth of each; then the samples */
	float *partial; /* [ny][nx][N]: transformed along x */
	float *samples; /* [rows][stride] */
	int stride, rows;
	double width, height; /* the part of samples that holds picture */
	struct axis x, y;
};

struct input_maker {
	/* what the memory is made for */
	int width, height, n_planes, h, v, size;
	int orientation;
	struct plane_maker plane[PLANES_MAX];
	float *tall;   /* [size][stride] of the largest plane */
	float *out;    /* [n_planes][size][size] */
	float *memory; /* owned */
};

/* The smallest block size whose samples still cover size pixels. */
static int scaled_block(double extent, int size)
{
	for (int n = 1; n < 8; n *= 2)
		if (extent * n / 8 >= size)
			return n;
	return 8;
}

/* basis[x][u]: sample x of an n-point inverse DCT of 8-point coefficients, but for an eighth in all. */
static void inverse_basis(int n, float basis[8][8])
{
	for (int x = 0; x < n; x++)
		for (int u = 0; u < n; u++)
			basis[x][u] = (float)(cos((2 * x + 1) * u * M_PI / (2 * n)) * (u == 0 ? 1 : M_SQRT2));
}

static void plane_init(struct plane_maker *y, const struct coef_image *im, int i, int size)
{
	const struct coef_plane *p = &im->plane[i], *luma = &im->plane[0];
	double w = ceil((double)im->width * p->h / luma->h), h = ceil((double)im->height * p->v / luma->v);

	y->blocks_w = p->blocks_w;
	y->blocks = p->blocks_w * p->blocks_h;
	y->nx = scaled_block(w, size);
	y->ny = scaled_block(h, size);
	y->n_coef = y->nx * y->ny;
	for (int k = 0; k < DCT_SIZE2; k++) {
		int u = JPEG_NATURAL_ORDER[k] % 8, v = JPEG_NATURAL_ORDER[k] / 8;

		if (u < y->nx && v < y->ny)
			y->zigzag[v * y->nx + u] = (uint8_t)k;
	}
	inverse_basis(y->nx, y->basis_x);
	inverse_basis(y->ny, y->basis_y);
	y->stride = p->blocks_w * y->nx;
	y->rows = p->blocks_h * y->ny;
	y->width = w * y->nx / 8;
	y->height = h * y->ny / 8;
}

static size_t place(struct input_maker *m, float *memory)
{
	size_t used = 0, pixels = (size_t)m->size * (size_t)m->size;
	int stride = 0;

	for (int i = 0; i < m->n_planes; i++) {
		struct plane_maker *y = &m->plane[i];
		size_t n = (size_t)y->n_coef * (size_t)y->blocks;

		y->level = carve(memory, &used, n);
		y->value = carve(memory, &used, n);
		y->partial = carve(memory, &used, n);
		y->samples = carve(memory, &used, n);
		stride = MAX(stride, y->stride);
	}
	m->tall = carve(memory, &used, (size_t)stride * (size_t)m->size);
	m->out = carve(memory, &used, (size_t)m->n_planes * pixels);
	return used;
}

static void forget(struct input_maker *m)
{
	for (int i = 0; i < PLANES_MAX; i++) {
		free(m->plane[i].x.tap);
		free(m->plane[i].y.tap);
	}
	free(m->memory);
	*m = (struct input_maker){0};
}

/* Memory and all that depends on the picture's geometry. */
static int prepare(struct input_maker *m, const struct coef_image *im, int size)
{
	int r = 0;

	forget(m);
	m->width = im->width;
	m->height = im->height;
	m->n_planes = im->n_planes;
	m->h = im->plane[0].h;
	m->v = im->plane[0].v;
	m->size = size;
	for (int i = 0; i < im->n_planes; i++)
		plane_init(&m->plane[i], im, i, size);
	m->memory = aligned_alloc(64, place(m, NULL) * sizeof(float));
	if (!m->memory)
		r = -ENOMEM;
	else
		place(m, m->memory);
	for (int i = 0; r == 0 && i < im->n_planes; i++) {
		struct plane_maker *y = &m->plane[i];

		r = axis_init(&y->x, y->width, y->stride, size);
		if (r == 0)
			r = axis_init(&y->y, y->height, y->rows, size);
	}
	if (r < 0)
		forget(m);
	return r;
}

static void load_plane(struct plane_maker *y, const struct coef_plane *p)
{
	const int16_t *q = p->coef;

	memcpy(y->quant, p->quant, sizeof(y->quant));
	if (y->n_coef == 1 && p->dc)
		for (int b = 0; b < y->blocks; b++)
			y->level[b] = p->dc[b];
	else
		for (int b = 0; b < y->blocks; b++, q += DCT_SIZE2)
			for (int c = 0; c < y->n_coef; c++)
				y->level[c * y->blocks + b] = q[y->zigzag[c]];
}

int input_maker_load(struct input_maker *m, const struct coef_image *im, int size)
{
	bool fits = m->memory && m->width == im->width && m->height == im->height &&
		m->n_planes == im->n_planes && m->h == im->plane[0].h && m->v == im->plane[0].v &&
		m->size == size;
	int r = fits ? 0 : prepare(m, im, size);

	if (r < 0)
		return r;
	m->orientation = im->orientation;
	for (int i = 0; i < im->n_planes; i++)
		load_plane(&m->plane[i], &im->plane[i]);
	return 0;
}

struct input_maker *input_maker_new(void)
{
	return calloc(1, sizeof(struct input_maker));
}

void input_maker_free(struct input_maker *m)
{
	if (!m)
		return;
	forget(m);
	free(m);
}

HOT static void scale(const float *level, int n, float step, float *out)
{
	for (int i = 0; i < n; i++)
		out[i] = level[i] * step;
}

HOT static void requantise(const float *level, int n, struct requantise q, float step, float *out)
{
	for (int i = 0; i < n; i++)
		out[i] = (float)requantise_one(level[i], q) * step;
}

static inline float clamp_sample(float v)
{
	return CLAMP(v + 128.0f, 0.0f, 255.0f);
}

HOT static void scale_means(const float *level, int n, float step, float *out)
{
	for (int i = 0; i < n; i++)
		out[i] = clamp_sample(level[i] * step);
}

HOT static void requantise_means(const float *level, int n, struct requantise q, float step, float *out)
{
	for (int i = 0; i < n; i++)
		out[i] = clamp_sample((float)requantise_one(level[i], q) * step);
}

/* The samples of a plane of which a block's mean is all there is: its DCs, in place. */
static void make_means(struct plane_maker *y, const uint16_t *quant)
{
	if (quant)
		requantise_means(y->level, y->blocks, requantise_from(y->quant[0], quant[0]),
			(float)step_written(quant[0]) / 8, y->samples);
	else
		scale_means(y->level, y->blocks, (float)y->quant[0] / 8, y->samples);
}

/* The coefficients of a quality. quant: its steps, natural order; NULL: as captured. */
static void set_values(struct plane_maker *y, const uint16_t *quant)
{
	for (int c = 0; c < y->n_coef; c++) {
		int k = y->zigzag[c];
		const float *level = y->level + c * y->blocks;
		float *out = y->value + c * y->blocks;

		if (quant) {
			uint16_t step = quant[JPEG_NATURAL_ORDER[k]];

			requantise(level, y->blocks, requantise_from(y->quant[k], step),
				(float)step_written(step) / 8, out);
		} else {
			scale(level, y->blocks, (float)y->quant[k] / 8, out);
		}
	}
}

/* out [N] = sum over i of factor[i] * in[i * apart] [N], so many terms as the compiler sees. */
static inline __attribute__((always_inline)) void combine_terms(
	const float *in, size_t apart, int terms, const float *factor, int n, float *out)
{
	for (int b = 0; b < n; b++) {
		float sum = factor[0] * in[b];

#pragma GCC unroll 8
		for (int i = 1; i < terms; i++)
			sum += factor[i] * in[(size_t)i * apart + (size_t)b];
		out[b] = sum;
	}
}

static inline __attribute__((always_inline)) void combine(
	const float *in, size_t apart, int terms, const float *factor, int n, float *out)
{
	switch (terms) {
	case 1:
		combine_terms(in, apart, 1, factor, n, out);
		break;
	case 2:
		combine_terms(in, apart, 2, factor, n, out);
		break;
	case 4:
		combine_terms(in, apart, 4, factor, n, out);
		break;
	case 8:
		combine_terms(in, apart, 8, factor, n, out);
		break;
	}
}

/* Inverse transform of all blocks: first along x, then along y, into value. */
HOT_FMA static void inverse(struct plane_maker *y)
{
	int n = y->blocks, nx = y->nx, ny = y->ny;
	size_t one = (size_t)n, row = (size_t)nx * one;

	for (int v = 0; v < ny; v++)
		for (int x = 0; x < nx; x++)
			combine(y->value + (size_t)v * row, one, nx, y->basis_x[x], n,
				y->partial + (size_t)v * row + (size_t)x * one);
	for (int s = 0; s < ny; s++)
		for (int x = 0; x < nx; x++)
			combine(y->partial + (size_t)x * one, row, ny, y->basis_y[s], n,
				y->value + (size_t)s * row + (size_t)x * one);
}

/* From [ny][nx][N] to the plane's rows. */
HOT static void lay_out(struct plane_maker *y)
{
	int nx = y->nx, ny = y->ny, w = y->blocks_w;

	for (int row = 0; row < y->rows; row++) {
		float *out = y->samples + (size_t)row * (size_t)y->stride;

		for (int x = 0; x < nx; x++) {
			const float *in = y->value + (row % ny * nx + x) * y->blocks + row / ny * w;

			for (int bx = 0; bx < w; bx++)
				out[bx * nx + x] = clamp_sample(in[bx]);
		}
	}
}

/* Samples along y, many columns at a time. */
HOT_FMA static void resample_columns(const struct plane_maker *y, int size, float *tall)
{
	int w = y->stride;

	memset(tall, 0, (size_t)size * (size_t)w * sizeof(float));
	for (int o = 0; o < size; o++) {
		const struct tap *t = &y->y.tap[o];

		for (int i = 0; i < t->n; i++) {
			const float *in = y->samples + (size_t)(t->first + i) * (size_t)w;

			for (int x = 0; x < w; x++)
				tall[o * w + x] += t->weight[i] * in[x];
		}
	}
}

/* tall [size][stride] to out [size][size]. */
HOT_FMA static void resample_rows(const struct plane_maker *y, int size, const float *tall, float *out)
{
	for (int row = 0; row < size; row++)
		for (int o = 0; o < size; o++) {
			const struct tap *t = &y->x.tap[o];
			float sum = 0;

			for (int i = 0; i < t->n; i++)
				sum += t->weight[i] * tall[row * y->stride + t->first + i];
			out[row * size + o] = sum;
		}
}

/* The same of an axis that grows. */
HOT_FMA static void resample_pairs(const struct plane_maker *y, int size, const float *tall, float *out)
{
	const float *a = y->x.weight[0], *b = y->x.weight[1];
	const int *first = y->x.first;

	for (int row = 0; row < size; row++, tall += y->stride, out += size)
		for (int o = 0; o < size; o++)
			out[o] = a[o] * tall[first[o]] + b[o] * tall[first[o] + 1];
}

/* Samples to out [size][size], by way of tall. A picture of the network's own size is copied. */
static void resample(const struct plane_maker *y, int size, float *tall, float *out)
{
	const float *in = y->y.same ? y->samples : tall;

	if (!y->y.same)
		resample_columns(y, size, tall);
	if (y->x.pairs) {
		resample_pairs(y, size, in, out);
		return;
	}
	if (!y->x.same) {
		resample_rows(y, size, in, out);
		return;
	}
	for (int row = 0; row < size; row++)
		memcpy(out + row * size, in + row * y->stride, (size_t)size * sizeof(float));
}

static inline uint8_t to_byte(float v)
{
	return (uint8_t)CLAMP(v + 0.5f, 0.0f, 255.0f);
}

/* Where the pixel at row y, column x of the upright picture lies in the coded one. */
static int coded_index(int orientation, int y, int x, int size)
{
	int last = size - 1;

	switch (orientation) {
	case 2:
		return y * size + last - x;
	case 3:
		return (last - y) * size + last - x;
	case 4:
		return (last - y) * size + x;
	case 5:
		return x * size + y;
	case 6:
		return (last - x) * size + y;
	case 7:
		return (last - x) * size + last - y;
	case 8:
		return x * size + last - y;
	}
	return y * size + x;
}

static inline void put_pixel(float luma, float cb, float cr, uint8_t *rgb)
{
	rgb[0] = to_byte(luma + 1.402f * cr);
	rgb[1] = to_byte(luma - 0.344136286f * cb - 0.714136286f * cr);
	rgb[2] = to_byte(luma + 1.772f * cb);
}

HOT static void upright_to_rgb(const float *luma, const float *cb, const float *cr, int n, uint8_t *rgb)
{
	for (int i = 0; i < n; i++)
		put_pixel(luma[i], cb[i] - 128, cr[i] - 128, rgb + 3 * i);
}

static void to_rgb(const struct input_maker *m, uint8_t *rgb)
{
	int size = m->size, n = size * size;
	const float *luma = m->out, *cb = m->out + n, *cr = m->out + 2 * n;

	if (m->n_planes == 3 && (m->orientation < 2 || m->orientation > 8)) {
		upright_to_rgb(luma, cb, cr, n, rgb);
		return;
	}
	for (int y = 0; y < size; y++)
		for (int x = 0; x < size; x++, rgb += 3) {
			int i = coded_index(m->orientation, y, x, size);

			if (m->n_planes == 3)
				put_pixel(luma[i], cb[i] - 128, cr[i] - 128, rgb);
			else
				put_pixel(luma[i], 0, 0, rgb);
		}
}

void input_make(struct input_maker *m, const struct jpeg_tables *t, uint8_t *rgb)
{
	for (int i = 0; i < m->n_planes; i++) {
		struct plane_maker *y = &m->plane[i];
		const uint16_t *quant = t ? t->quant[i > 0] : NULL;

		if (y->n_coef == 1) {
			make_means(y, quant);
		} else {
			set_values(y, quant);
			inverse(y);
			lay_out(y);
		}
		resample(y, m->size, m->tall, m->out + (size_t)i * (size_t)m->size * (size_t)m->size);
	}
	to_rgb(m, rgb);
}

int input_from_coef(const struct coef_image *im, int size, uint8_t *rgb)
{
	_cleanup_(input_maker_freep) struct input_maker *m = input_maker_new();
	int r = m ? input_maker_load(m, im, size) : -ENOMEM;

	if (r == 0)
		input_make(m, NULL, rgb);
	return r;
}
