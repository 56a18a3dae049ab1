#include "common/codec/pixels.h"

#include <errno.h>
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

/* One sample of a plane: the mean over the h x v pixels it stands for, edges repeated. */
static float sample_at(const struct pixels *px, int plane, int x, int y, int h, int v)
{
	const float *w = ycc_of_rgb[plane];
	float sum = 0;

	for (int dy = 0; dy < v; dy++)
		for (int dx = 0; dx < h; dx++) {
			int sx = MIN(x * h + dx, px->width - 1), sy = MIN(y * v + dy, px->height - 1);
			const uint8_t *p = px->rgb + 3 * ((size_t)sy * (size_t)px->width + (size_t)sx);

			sum += w[0] * p[0] + w[1] * p[1] + w[2] * p[2];
		}
	return sum / (float)(h * v) - (plane == 0 ? 128.0f : 0.0f);
}

/* basis[u][x]: the orthonormal 8-point DCT-II. */
static void dct_basis(float basis[8][8])
{
	for (int u = 0; u < 8; u++)
		for (int x = 0; x < 8; x++)
			basis[u][x] = (float)(cos((2 * x + 1) * u * M_PI / 16) *
				(u == 0 ? sqrt(0.125) : 0.5));
}

HOT static void forward_dct(const float in[8][8], float basis[8][8], int16_t *out)
{
	float rows[8][8] = {0}, all[8][8] = {0};

	for (int y = 0; y < 8; y++)
		for (int u = 0; u < 8; u++)
			for (int x = 0; x < 8; x++)
				rows[y][u] += basis[u][x] * in[y][x];
	for (int v = 0; v < 8; v++)
		for (int y = 0; y < 8; y++)
			for (int u = 0; u < 8; u++)
				all[v][u] += basis[v][y] * rows[y][u];
	for (int k = 0; k < DCT_SIZE2; k++)
		out[k] = (int16_t)lrintf(all[JPEG_NATURAL_ORDER[k] / 8][JPEG_NATURAL_ORDER[k] % 8]);
}

static void transform_plane(const struct pixels *px, int plane, int h, int v, struct coef_plane *p)
{
	float basis[8][8], block[8][8];
	int16_t *out = p->coef;

	dct_basis(basis);
	for (int by = 0; by < p->blocks_h; by++)
		for (int bx = 0; bx < p->blocks_w; bx++, out += DCT_SIZE2) {
			for (int y = 0; y < 8; y++)
				for (int x = 0; x < 8; x++)
					block[y][x] = sample_at(px, plane, bx * 8 + x, by * 8 + y, h, v);
			forward_dct(block, basis, out);
		}
	for (int k = 0; k < DCT_SIZE2; k++)
		p->quant[k] = 1;
}

int pixels_to_coef(const struct pixels *px, struct coef_image *ret)
{
	int n_planes = is_grey(px) ? 1 : 3;
	int r = coef_resize(ret, px->width, px->height, n_planes, 2, 2);

	if (r < 0)
		return r;
	for (int i = 0; i < n_planes; i++)
		transform_plane(px, i, i ? 2 : 1, i ? 2 : 1, &ret->plane[i]);
	return 0;
}
