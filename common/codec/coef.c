#include "common/codec/coef.h"

#include <errno.h>
#include <string.h>

void coef_done(struct coef_image *im)
{
	free(im->block_memory);
	*im = (struct coef_image){0};
}

static int ceil_div(int a, int b)
{
	return (a + b - 1) / b;
}

int coef_resize(struct coef_image *im, int width, int height, int n_planes, int h, int v)
{
	size_t need = 0, at[PLANES_MAX] = {0};

	im->width = width;
	im->height = height;
	im->n_planes = n_planes;
	im->orientation = 1;
	for (int i = 0; i < n_planes; i++) {
		struct coef_plane *p = &im->plane[i];

		p->h = n_planes == 3 && i == 0 ? h : 1;
		p->v = n_planes == 3 && i == 0 ? v : 1;
		p->blocks_w = n_planes == 3 ? ceil_div(width * p->h, 8 * h) : ceil_div(width, 8);
		p->blocks_h = n_planes == 3 ? ceil_div(height * p->v, 8 * v) : ceil_div(height, 8);
		at[i] = need;
		need += (size_t)p->blocks_w * (size_t)p->blocks_h * DCT_SIZE2;
	}
	need += need / DCT_SIZE2; /* for coef_dc_apart() */
	if (need > im->block_capacity) {
		int16_t *memory = malloc(need * sizeof(int16_t));

		if (!memory)
			return -ENOMEM;
		free(im->block_memory);
		im->block_memory = memory;
		im->block_capacity = need;
	}
	for (int i = 0; i < n_planes; i++) {
		im->plane[i].coef = im->block_memory + at[i];
		im->plane[i].dc = NULL;
	}
	return 0;
}

void coef_dc_apart(struct coef_image *im)
{
	const struct coef_plane *last = &im->plane[im->n_planes - 1];
	int16_t *at = last->coef + (size_t)last->blocks_w * (size_t)last->blocks_h * DCT_SIZE2;

	for (int i = 0; i < im->n_planes; i++) {
		im->plane[i].dc = at;
		at += (size_t)im->plane[i].blocks_w * (size_t)im->plane[i].blocks_h;
	}
}

uint8_t coef_layout(const struct coef_image *im)
{
	return im->n_planes == 1 ? 0 : (uint8_t)(im->plane[0].h << 4 | im->plane[0].v);
}

int layout_parse(uint8_t layout, int *ret_n_planes, int *ret_h, int *ret_v)
{
	int h = layout >> 4, v = layout & 15;

	if (layout == 0) {
		*ret_n_planes = *ret_h = *ret_v = 1;
		return 0;
	}
	if ((h != 1 && h != 2 && h != 4) || (v != 1 && v != 2 && v != 4) || h * v > 8)
		return -EINVAL;
	*ret_n_planes = 3;
	*ret_h = h;
	*ret_v = v;
	return 0;
}

HOT static void requantise_blocks(const int16_t *in, size_t n_blocks, const float *ratio,
	const float *offset, const float *zero, int16_t *out)
{
	for (size_t b = 0; b < n_blocks; b++, in += DCT_SIZE2, out += DCT_SIZE2)
		for (int k = 0; k < DCT_SIZE2; k++)
			out[k] = requantise_one(in[k], (struct requantise){ratio[k], offset[k], zero[k]});
}

/* Rows from..to of blocks; steps too. */
static void requantise_rows(const struct coef_plane *src, const uint16_t step[DCT_SIZE2], int from, int to,
	struct coef_plane *dst)
{
	size_t at = (size_t)from * (size_t)src->blocks_w;
	float ratio[DCT_SIZE2], offset[DCT_SIZE2], zero[DCT_SIZE2];

	for (int k = 0; k < DCT_SIZE2; k++) {
		struct requantise q = requantise_from(src->quant[k], step[k]);

		ratio[k] = q.ratio;
		offset[k] = q.offset;
		zero[k] = q.zero;
	}
	requantise_blocks(src->coef + at * DCT_SIZE2, (size_t)(to - from) * (size_t)src->blocks_w, ratio,
		offset, zero, dst->coef + at * DCT_SIZE2);
}

int coef_mcu_rows(const struct coef_image *im)
{
	return ceil_div(im->plane[0].blocks_h, im->plane[0].v);
}

int64_t coef_blocks(const struct coef_image *im)
{
	int64_t blocks = 0;

	for (int i = 0; i < im->n_planes; i++)
		blocks += (int64_t)im->plane[i].blocks_w * im->plane[i].blocks_h;
	return blocks;
}

int coef_band_apart(const struct coef_image *im)
{
	return (int)MAX(1, MIN(coef_blocks(im) / BANDS_BLOCKS, coef_mcu_rows(im) / BANDS_MIN));
}

static void requantise_dcs(const struct coef_plane *src, uint16_t step, int row, struct coef_plane *dst)
{
	struct requantise q = requantise_from(src->quant[0], step);

	for (int bx = 0; bx < src->blocks_w; bx++)
		coef_block(dst, bx, row)[0] = requantise_one(coef_block(src, bx, row)[0], q);
}

/* A band's rows of a plane, the one above, and the DCs of the one below: all that is asked of them. */
static void requantise_band(
	const struct coef_plane *src, const uint16_t step[DCT_SIZE2], int my, struct coef_plane *dst)
{
	int end = MIN((my + 1) * src->v, src->blocks_h);

	requantise_rows(src, step, MAX(my * src->v - 1, 0), end, dst);
	if (end < src->blocks_h)
		requantise_dcs(src, step[0], end, dst);
}

/* Re-quantises every MCU row when apart is 1, else the bands. */
static int requantise_apart(const struct coef_image *src, const struct jpeg_tables *t, int apart,
	struct coef_image *dst)
{
	int r = 0;

	if (dst != src)
		r = coef_resize(dst, src->width, src->height, src->n_planes, src->plane[0].h,
			src->plane[0].v);
	if (r < 0)
		return r;
	dst->orientation = src->orientation;
	for (int i = 0; i < src->n_planes; i++) {
		const struct coef_plane *from = &src->plane[i];
		struct coef_plane *to = &dst->plane[i];
		uint16_t step[DCT_SIZE2];

		for (int k = 0; k < DCT_SIZE2; k++)
			step[k] = t->quant[i > 0][JPEG_NATURAL_ORDER[k]];
		if (apart == 1)
			requantise_rows(from, step, 0, from->blocks_h, to);
		for (int my = apart / 2; apart > 1 && my < coef_mcu_rows(src); my += apart)
			requantise_band(from, step, my, to);
		for (int k = 0; k < DCT_SIZE2; k++)
			to->quant[k] = step_written(step[k]);
		to->dc = NULL;
	}
	return 0;
}

int coef_requantise(const struct coef_image *src, const struct jpeg_tables *t, struct coef_image *dst)
{
	return requantise_apart(src, t, 1, dst);
}

int coef_requantise_bands(const struct coef_image *src, const struct jpeg_tables *t, struct coef_image *dst)
{
	return requantise_apart(src, t, coef_band_apart(src), dst);
}

static void count_dc(int diff, int set, struct symbol_counts *c)
{
	int bits = coef_bits(diff);

	c->dc[set][MIN(bits, 15)]++;
	c->extra_bits += (unsigned)bits;
}

HOT uint64_t coef_nonzero(const int16_t *q)
{
	uint64_t mask = 0;

	for (int g = 0; g < DCT_SIZE2; g += 8) {
		uint64_t lo, hi;
		unsigned m = 0;

		memcpy(&lo, q + g, 8);
		memcpy(&hi, q + g + 4, 8);
		if (!(lo | hi))
			continue;
		for (int k = 0; k < 8; k++)
			m |= (unsigned)(q[g + k] != 0) << k;
		mask |= (uint64_t)m << g;
	}
	return mask;
}

static void count_ac(const int16_t *q, int set, struct symbol_counts *c)
{
	uint64_t mask = coef_nonzero(q) & ~UINT64_C(1);
	int last = 0;

	while (mask) {
		int k = __builtin_ctzll(mask), run = k - last - 1, bits = coef_bits(q[k]);

		for (; run > 15; run -= 16)
			c->ac[set][0xf0]++;
		c->ac[set][(run << 4 | bits) & 255]++;
		c->extra_bits += (unsigned)bits;
		last = k;
		mask &= mask - 1;
	}
	if (last < DCT_SIZE2 - 1)
		c->ac[set][0]++;
}

/* One block of an MCU; where the plane has none, the coder repeats the last DC and no AC. */
static void count_block(const struct coef_plane *p, int bx, int by, int set, int *dc, struct symbol_counts *c)
{
	const int16_t *q;

	if (bx >= p->blocks_w || by >= p->blocks_h) {
		c->dc[set][0]++;
		c->ac[set][0]++;
		return;
	}
	q = coef_block(p, bx, by);
	count_dc(q[0] - *dc, set, c);
	*dc = q[0];
	count_ac(q, set, c);
}

static void count_mcu_row(const struct coef_image *im, int my, int dc[PLANES_MAX], struct symbol_counts *ret)
{
	int mcus_w = ceil_div(im->plane[0].blocks_w, im->plane[0].h);

	for (int mx = 0; mx < mcus_w; mx++)
		for (int i = 0; i < im->n_planes; i++) {
			const struct coef_plane *p = &im->plane[i];

			for (int by = 0; by < p->v; by++)
				for (int bx = 0; bx < p->h; bx++)
					count_block(p, mx * p->h + bx, my * p->v + by, i > 0, &dc[i], ret);
		}
}

void coef_count(const struct coef_image *im, struct symbol_counts *ret)
{
	int dc[PLANES_MAX] = {0};

	memset(ret, 0, sizeof(*ret));
	for (int my = 0; my < coef_mcu_rows(im); my++)
		count_mcu_row(im, my, dc, ret);
}

static void scale_counts(uint32_t *count, int n, int64_t rows, int64_t counted)
{
	for (int i = 0; i < n; i++)
		count[i] = (uint32_t)MIN((count[i] * rows + counted / 2) / counted, (int64_t)UINT32_MAX);
}

void coef_count_bands(const struct coef_image *im, struct symbol_counts *ret)
{
	int dc[PLANES_MAX] = {0}, apart = coef_band_apart(im), rows = coef_mcu_rows(im), counted = 0;

	memset(ret, 0, sizeof(*ret));
	for (int my = apart / 2; my < rows; my += apart, counted++)
		count_mcu_row(im, my, dc, ret);
	for (int s = 0; apart > 1 && s < 2; s++) {
		scale_counts(ret->dc[s], 16, rows, counted);
		scale_counts(ret->ac[s], 256, rows, counted);
	}
	ret->extra_bits = ret->extra_bits * (uint64_t)rows / (uint64_t)counted;
}

static void natural_quant(const struct coef_plane *p, uint16_t ret[DCT_SIZE2])
{
	for (int k = 0; k < DCT_SIZE2; k++)
		ret[JPEG_NATURAL_ORDER[k]] = p->quant[k];
}

int coef_quality(const struct coef_image *im)
{
	uint16_t quant[DCT_SIZE2];

	natural_quant(&im->plane[0], quant);
	return tables_estimate_quality(quant);
}

bool coef_keepable(const struct coef_image *im)
{
	for (int i = 0; i < im->n_planes; i++)
		for (int k = 0; k < DCT_SIZE2; k++)
			if (im->plane[i].quant[k] > 255)
				return false;
	return im->n_planes == 1 ||
		!memcmp(im->plane[1].quant, im->plane[2].quant, sizeof(im->plane[1].quant));
}

void coef_tables(const struct coef_image *im, struct jpeg_tables *ret)
{
	tables_standard(50, ret);
	for (int i = 0; i < MIN(im->n_planes, 2); i++)
		natural_quant(&im->plane[i], ret->quant[i]);
}
