#include "common/codec/input.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Samples of one plane after the scaled inverse transform. */
struct samples {
	int stride, rows;
	double width, height; /* the part that holds picture */
	float *v;	      /* [rows][stride]; owned */
};

/* The smallest block size whose samples still cover size pixels. */
static int scaled_block(double extent, int size)
{
	for (int n = 1; n < 8; n *= 2)
		if (extent * n / 8 >= size)
			return n;
	return 8;
}

/* basis[x][u]: sample x of an n-point inverse DCT of 8-point coefficients. */
static void inverse_basis(int n, float basis[8][8])
{
	for (int x = 0; x < n; x++)
		for (int u = 0; u < n; u++)
			basis[x][u] = (float)(cos((2 * x + 1) * u * M_PI / (2 * n)) *
				(u == 0 ? sqrt(0.125) : 0.5));
}

static float clamp_sample(float v)
{
	return CLAMP(v + 128.0f, 0.0f, 255.0f);
}

static bool only_dc(const int16_t *q)
{
	uint64_t w[16], any;

	memcpy(w, q, sizeof(w));
	any = w[0] & ~(uint64_t)0xffff;
	if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
		any = w[0] << 16;
	for (int i = 1; i < 16; i++)
		any |= w[i];
	return any == 0;
}

static void fill_block(float dc, int nx, int ny, float *out, int stride)
{
	float v = clamp_sample(dc / 8);

	for (int y = 0; y < ny; y++)
		for (int x = 0; x < nx; x++)
			out[y * stride + x] = v;
}

HOT static void inverse_block(const float c[8][8], const float bx[8][8], const float by[8][8], int nx,
	int ny, float *out, int stride)
{
	float rows[8][8] = {0};

	for (int v = 0; v < ny; v++)
		for (int x = 0; x < nx; x++)
			for (int u = 0; u < nx; u++)
				rows[v][x] += bx[x][u] * c[v][u];
	for (int y = 0; y < ny; y++)
		for (int x = 0; x < nx; x++) {
			float sum = 0;

			for (int v = 0; v < ny; v++)
				sum += by[y][v] * rows[v][x];
			out[y * stride + x] = clamp_sample(sum);
		}
}

static void transform_plane(const struct coef_plane *p, int nx, int ny, struct samples *s)
{
	float bx[8][8], by[8][8], c[8][8];
	const int16_t *q = p->coef;

	inverse_basis(nx, bx);
	inverse_basis(ny, by);
	for (int y = 0; y < p->blocks_h; y++)
		for (int x = 0; x < p->blocks_w; x++, q += DCT_SIZE2) {
			float *out = s->v + (size_t)y * (size_t)ny * (size_t)s->stride + x * nx;

			if (only_dc(q) || (nx == 1 && ny == 1)) {
				fill_block((float)q[0] * p->quant[0], nx, ny, out, s->stride);
				continue;
			}
			for (int k = 0; k < DCT_SIZE2; k++)
				c[JPEG_NATURAL_ORDER[k] / 8][JPEG_NATURAL_ORDER[k] % 8] =
					(float)q[k] * p->quant[k];
			inverse_block(c, bx, by, nx, ny, out, s->stride);
		}
}

static int plane_samples(const struct coef_image *im, int i, int size, struct samples *s)
{
	const struct coef_plane *p = &im->plane[i], *luma = &im->plane[0];
	double w = ceil((double)im->width * p->h / luma->h), h = ceil((double)im->height * p->v / luma->v);
	int nx = scaled_block(w, size), ny = scaled_block(h, size);

	s->stride = p->blocks_w * nx;
	s->rows = p->blocks_h * ny;
	s->width = w * nx / 8;
	s->height = h * ny / 8;
	s->v = malloc((size_t)s->stride * (size_t)s->rows * sizeof(float));
	if (!s->v)
		return -ENOMEM;
	transform_plane(p, nx, ny, s);
	return 0;
}

/* One output sample is the weighted sum of n samples from first. */
struct tap {
	int first, n;
	const float *weight; /* borrowed from the axis */
};

struct axis {
	struct tap *tap; /* [size]; owned, weights behind it */
};

/* Resampling of extent samples (limit of them exist) to size: by area, or linearly when growing. */
static int axis_init(struct axis *a, double extent, int limit, int size)
{
	double step = extent / size;
	int taps_max = (int)ceil(MAX(step, 1.0)) + 2;
	float *w;

	a->tap = malloc((size_t)size * (sizeof(struct tap) + (size_t)taps_max * sizeof(float)));
	if (!a->tap)
		return -ENOMEM;
	w = (float *)(a->tap + size);
	for (int o = 0; o < size; o++, w += taps_max) {
		double lo = o * step, hi = lo + step;
		int first, last;

		if (step < 1) { /* a triangle as wide as one sample on each side */
			double centre = (lo + hi) / 2 - 0.5;

			first = (int)floor(centre);
			w[1] = (float)(centre - first);
			w[0] = 1 - w[1];
			last = first + 1;
			if (first < 0 || last >= limit || last >= extent) {
				first = last = CLAMP((int)lround(centre), 0,
					MIN(limit, (int)ceil(extent)) - 1);
				w[0] = 1;
			}
		} else {
			first = MIN((int)lo, limit - 1);
			last = CLAMP((int)ceil(hi) - 1, first, limit - 1);
			for (int i = first; i <= last; i++)
				w[i - first] = (float)((MIN(hi, i + 1.0) - MAX(lo, (double)i)) / step);
		}
		a->tap[o] = (struct tap){first, last - first + 1, w};
	}
	return 0;
}

/* s to out[size][size]: columns first, one line of memory per input row. */
static int resample(const struct samples *s, int size, float *out)
{
	_cleanup_free_ float *wide = malloc((size_t)s->rows * (size_t)size * sizeof(float));
	struct axis ax = {0}, ay = {0};
	int r = wide ? axis_init(&ax, s->width, s->stride, size) : -ENOMEM;

	if (r == 0)
		r = axis_init(&ay, s->height, s->rows, size);
	for (int y = 0; r == 0 && y < s->rows; y++)
		for (int o = 0; o < size; o++) {
			const struct tap *t = &ax.tap[o];
			const float *in = s->v + (size_t)y * (size_t)s->stride + t->first;
			float sum = 0;

			for (int i = 0; i < t->n; i++)
				sum += t->weight[i] * in[i];
			wide[y * size + o] = sum;
		}
	for (int o = 0; r == 0 && o < size; o++) {
		const struct tap *t = &ay.tap[o];

		for (int x = 0; x < size; x++) {
			float sum = 0;

			for (int i = 0; i < t->n; i++)
				sum += t->weight[i] * wide[(t->first + i) * size + x];
			out[o * size + x] = sum;
		}
	}
	free(ax.tap);
	free(ay.tap);
	return r;
}

static uint8_t to_byte(float v)
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

static void to_rgb(const float *plane, const struct coef_image *im, int size, uint8_t *rgb)
{
	int n = size * size;

	for (int y = 0; y < size; y++)
		for (int x = 0; x < size; x++, rgb += 3) {
			int i = coded_index(im->orientation, y, x, size);
			float luma = plane[i], cb = 0, cr = 0;

			if (im->n_planes == 3) {
				cb = plane[n + i] - 128;
				cr = plane[2 * n + i] - 128;
			}
			rgb[0] = to_byte(luma + 1.402f * cr);
			rgb[1] = to_byte(luma - 0.344136286f * cb - 0.714136286f * cr);
			rgb[2] = to_byte(luma + 1.772f * cb);
		}
}

int input_from_coef(const struct coef_image *im, int size, uint8_t *rgb)
{
	_cleanup_free_ float *plane =
		malloc((size_t)size * (size_t)size * PLANES_MAX * sizeof(float));

	if (!plane)
		return -ENOMEM;
	for (int i = 0; i < im->n_planes; i++) {
		struct samples s = {0};
		int r = plane_samples(im, i, size, &s);

		if (r == 0)
			r = resample(&s, size, plane + (size_t)i * (size_t)size * (size_t)size);
		free(s.v);
		if (r < 0)
			return r;
	}
	to_rgb(plane, im, size, rgb);
	return 0;
}
