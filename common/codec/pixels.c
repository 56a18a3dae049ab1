#include "common/codec/pixels.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <string.h>

void pixels_done(struct pixels *px)
{
	free(px->rgb);
	*px = (struct pixels){0};
}

int pixels_init(struct pixels *px, int width, int height)
{
	px->width = width;
	px->height = height;
	px->rgb = malloc((size_t)width * (size_t)height * 3);
	return px->rgb ? 0 : -ENOMEM;
}

static bool is_grey(const struct pixels *px)
{
	size_t n = (size_t)px->width * (size_t)px->height;

	for (size_t i = 0; i < n; i++)
		if (px->rgb[3 * i] != px->rgb[3 * i + 1] || px->rgb[3 * i] != px->rgb[3 * i + 2])
			return false;
	return true;
}

/* Rows of JFIF's RGB to YCbCr, level-shifted by -128 (chroma is centred already). */
static const float ycc_of_rgb[PLANES_MAX][3] = {
	{0.299f, 0.587f, 0.114f},
	{-0.168735892f, -0.331264108f, 0.5f},
	{0.5f, -0.418687589f, -0.081312411f},
};

/* Rows of pixels, colours apart, as wide as the blocks that they fill; and the samples made of them. */
struct stripe {
	int stride;
	float *colour[3]; /* [STRIPE_ROWS][stride] */
	float *sample;	  /* [8][stride] */
	float *memory;	  /* owned */
};

#define STRIPE_ROWS 16

static int stripe_init(struct stripe *s, int stride)
{
	size_t row = (size_t)stride;

	s->stride = stride;
	s->memory = malloc((3 * STRIPE_ROWS + 8) * row * sizeof(float));
	if (!s->memory)
		return -ENOMEM;
	for (size_t i = 0; i < 3; i++)
		s->colour[i] = s->memory + i * STRIPE_ROWS * row;
	s->sample = s->memory + 3 * STRIPE_ROWS * row;
	return 0;
}

/* A row of the picture; what lies beyond its edge is as that is. */
HOT static void split_row(const struct pixels *px, int y, const struct stripe *s, int row)
{
	const uint8_t *p = px->rgb + 3 * (size_t)y * (size_t)px->width;
	float *red = s->colour[0] + row * s->stride, *green = s->colour[1] + row * s->stride;
	float *blue = s->colour[2] + row * s->stride;
	int inside = px->width;

	for (int x = 0; x < inside; x++) {
		red[x] = p[3 * x];
		green[x] = p[3 * x + 1];
		blue[x] = p[3 * x + 2];
	}
	for (int x = inside; x < s->stride; x++) {
		red[x] = red[inside - 1];
		green[x] = green[inside - 1];
		blue[x] = blue[inside - 1];
	}
}

/* A row of a plane that has a sample for each pixel. */
HOT static void sample_pixels(const struct stripe *s, int plane, int row, float *out)
{
	const float *w = ycc_of_rgb[plane], shift = plane == 0 ? 128.0f : 0.0f;
	const float *red = s->colour[0] + row * s->stride, *green = s->colour[1] + row * s->stride;
	const float *blue = s->colour[2] + row * s->stride;

	for (int x = 0; x < s->stride; x++)
		out[x] = w[0] * red[x] + w[1] * green[x] + w[2] * blue[x] - shift;
}

/* The same of a row that has the mean of two by two. */
HOT static void sample_quarter(const struct stripe *s, int plane, int row, float *out)
{
	const float *w = ycc_of_rgb[plane];

	for (int x = 0; x < s->stride / 2; x++) {
		float sum = 0;

		for (int k = 0; k < 4; k++) {
			int at = (row + k / 2) * s->stride + 2 * x + k % 2;

			sum += w[0] * s->colour[0][at] + w[1] * s->colour[1][at] + w[2] * s->colour[2][at];
		}
		out[x] = sum / 4;
	}
}

/* basis[u][x]: the orthonormal 8-point DCT-II, and the same with x before u. */
struct dct {
	float basis[8][8], across[8][8];
};

static void dct_init(struct dct *d)
{
	for (int u = 0; u < 8; u++)
		for (int x = 0; x < 8; x++)
			d->basis[u][x] = d->across[x][u] =
				(float)(cos((2 * x + 1) * u * M_PI / 16) * (u == 0 ? sqrt(0.125) : 0.5));
}

#define ROUNDING 12582912.0f /* 1.5 * 2^23: a float of that size has no room for a fraction */
_Static_assert(FLT_EVAL_METHOD == 0, "floats are not computed as something wider");

typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t whole_lanes __attribute__((vector_size(32)));
typedef int16_t short_lanes __attribute__((vector_size(16), aligned(2), may_alias));

/* in: 8 rows, stride from one to the next. All eight frequencies of a row at once. */
HOT static void forward_dct(const float *in, int stride, const struct dct *d, int16_t *out)
{
	lanes rows[8];
	int16_t whole[DCT_SIZE2];

	for (int y = 0; y < 8; y++) {
		lanes sum = {0};

		for (int x = 0; x < 8; x++)
			sum += *(const lanes *)d->across[x] * in[y * stride + x];
		rows[y] = sum;
	}
	for (int v = 0; v < 8; v++) {
		lanes sum = {0};

		for (int y = 0; y < 8; y++)
			sum += d->basis[v][y] * rows[y];
		sum = sum + ROUNDING - ROUNDING;
		*(short_lanes *)(whole + 8 * v) =
			__builtin_convertvector(__builtin_convertvector(sum, whole_lanes), short_lanes);
	}
	coef_reorder(whole, JPEG_NATURAL_ORDER, out);
}

/* A row of blocks from the stripe's rows, row and those after it. */
static void transform_blocks(
	const struct stripe *s, const struct dct *d, int plane, int row, int by, struct coef_plane *p)
{
	int16_t *out = coef_block(p, 0, by);

	for (int y = 0; y < 8; y++)
		if (plane)
			sample_quarter(s, plane, row + 2 * y, s->sample + y * s->stride);
		else
			sample_pixels(s, plane, row + y, s->sample + y * s->stride);
	for (int bx = 0; bx < p->blocks_w; bx++, out += DCT_SIZE2)
		forward_dct(s->sample + bx * 8, s->stride, d, out);
}

int pixels_to_coef(const struct pixels *px, struct coef_image *ret)
{
	int r = coef_resize(ret, px->width, px->height, is_grey(px) ? 1 : 3, 2, 2), v;
	struct stripe s = {0};
	struct dct d;

	if (r < 0)
		return r;
	v = ret->plane[0].v;
	if (stripe_init(&s, ROUND_UP(px->width, 8 * ret->plane[0].h)) < 0)
		return -ENOMEM;
	dct_init(&d);
	for (int my = 0; my < coef_mcu_rows(ret); my++) {
		for (int y = 0; y < 8 * v; y++)
			split_row(px, MIN(my * 8 * v + y, px->height - 1), &s, y);
		for (int i = 0; i < ret->n_planes; i++) {
			struct coef_plane *p = &ret->plane[i];

			for (int b = 0; b < p->v && my * p->v + b < p->blocks_h; b++)
				transform_blocks(&s, &d, i, 8 * b, my * p->v + b, p);
		}
	}
	for (int i = 0; i < ret->n_planes; i++)
		for (int k = 0; k < DCT_SIZE2; k++)
			ret->plane[i].quant[k] = 1;
	free(s.memory);
	return 0;
}
