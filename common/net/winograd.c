#include "common/net/winograd.h"

#include <string.h>

#include "common/macros.h"
#include "common/carve.h"
#include "common/net/gemm.h"

#define LANES_MIN 8 /* channels at a time */
#define LANES_MAX 16
#define TILE	  4
#define PATCH	  6

#define PIXELS(n) ((n) * (n))
#define INLINE	  static inline __attribute__((always_inline))

bool winograd_suits(int in, int out)
{
	return in % LANES_MIN == 0 && out % LANES_MIN == 0;
}

size_t winograd_place(
	struct winograd *y, int side, int in, int out, int images, bool backward, float *memory)
{
	size_t c = (size_t)in, o = (size_t)out, used = 0, tiles;

	*y = (struct winograd){.side = side,
		.in = in,
		.out = out,
		.tiles = (side + TILE - 1) / TILE,
		.wide = in % LANES_MAX == 0 && out % LANES_MAX == 0};
	tiles = (size_t)images * (size_t)y->tiles * (size_t)y->tiles;
	/* A line more, so that planes do not meet in one cache set. */
	y->v_plane = ROUND_UP(tiles * c, CARVE_FLOATS) + CARVE_FLOATS;
	y->m_plane = ROUND_UP(tiles * o, CARVE_FLOATS) + CARVE_FLOATS;
	y->u = carve(memory, &used, WINOGRAD_POINTS * c * o);
	if (backward) {
		y->d_u = carve(memory, &used, WINOGRAD_POINTS * c * o);
		y->u_t = carve(memory, &used, WINOGRAD_POINTS * c * o);
	}
	y->v = carve(memory, &used, WINOGRAD_POINTS * y->v_plane);
	y->m = carve(memory, &used, WINOGRAD_POINTS * y->m_plane);
	y->zeros = carve(memory, &used, MAX(c, o));
	y->waste = carve(memory, &used, MAX(c, o));
	if (memory)
		memset(y->zeros, 0, MAX(c, o) * sizeof(float));
	return used;
}

/* A tile of n x n pixels at *pixel, c channels each, through f in both directions to m x m planes.
 */
#define TO_PLANES(f, n, m, pixel, c, to, plane)                                                    \
	for (size_t _k = 0; _k < (c); _k += LANES) {                                               \
		lanes _x[(n) * (n)], _y[(m) * (n)], _z[(m) * (m)];                                 \
                                                                                                   \
		for (int _i = 0; _i < (n) * (n); _i++)                                             \
			_x[_i] = *(const lanes *)((pixel)[_i] + _k);                               \
		for (int _i = 0; _i < (n); _i++)                                                   \
			f(_x + _i, n, _y + _i, n);                                                 \
		for (int _i = 0; _i < (m); _i++)                                                   \
			f(_y + _i * (n), 1, _z + _i * (m), 1);                                     \
		for (int _i = 0; _i < (m) * (m); _i++)                                             \
			*(lanes *)((to) + (size_t)_i * (plane) + _k) = _z[_i];                     \
	}

/* The other way: n x n planes through f to m x m pixels, with = or +=. */
#define FROM_PLANES(f, n, m, from, plane, c, pixel, assign)                                        \
	for (size_t _k = 0; _k < (c); _k += LANES) {                                               \
		lanes _x[(n) * (n)], _y[(m) * (n)], _z[(m) * (m)];                                 \
                                                                                                   \
		for (int _i = 0; _i < (n) * (n); _i++)                                             \
			_x[_i] = *(const lanes *)((from) + (size_t)_i * (plane) + _k);             \
		for (int _i = 0; _i < (n); _i++)                                                   \
			f(_x + _i, n, _y + _i, n);                                                 \
		for (int _i = 0; _i < (m); _i++)                                                   \
			f(_y + _i * (n), 1, _z + _i * (m), 1);                                     \
		for (int _i = 0; _i < (m) * (m); _i++)                                             \
			*(lanes *)((pixel)[_i] + _k) assign _z[_i];                                \
	}

#define NAME(x) wide_##x
#define LANES	LANES_MAX
#include "common/net/winograd_kernel.h"

#define NAME(x) half_##x
#define LANES	LANES_MIN
#include "common/net/winograd_kernel.h"

/* f of as many channels at a time as y's numbers of them are multiples of. */
#define BY_LANES(y, f, ...) ((y)->wide ? wide_##f(__VA_ARGS__) : half_##f(__VA_ARGS__))

/*
 * The n x n pixels, c channels each, at offset from the tile's corner; outside stands in for those
 * that the picture does not have.
 */
static void locate(const struct winograd *y, float *picture, int tile, int n, int offset, size_t c,
	float *outside, float *ret[])
{
	int side = y->side, top = tile / y->tiles * TILE + offset,
	    left = tile % y->tiles * TILE + offset;

	for (int i = 0; i < n * n; i++) {
		int py = top + i / n, px = left + i % n;
		bool inside = py >= 0 && py < side && px >= 0 && px < side;

		ret[i] = inside ? picture + (size_t)(py * side + px) * c : outside;
	}
}

/* from [rows][columns] to [columns][rows] */
static void transpose(const float *from, int rows, int columns, float *to)
{
	for (int r = 0; r < rows; r++)
		for (int k = 0; k < columns; k++)
			to[k * rows + r] = from[r * columns + k];
}

void winograd_weights(struct winograd *y, const float *weight, bool backward)
{
	size_t n = (size_t)y->in * (size_t)y->out;
	const float *tap[9];

	for (size_t i = 0; i < 9; i++)
		tap[i] = weight + i * n;
	BY_LANES(y, weights_to_points, tap, n, y->u, n);
	if (!backward)
		return;
	memset(y->d_u, 0, WINOGRAD_POINTS * n * sizeof(float));
	for (size_t i = 0; i < WINOGRAD_POINTS; i++)
		transpose(y->u + i * n, y->in, y->out, y->u_t + i * n);
}

void winograd_forward(const struct winograd *y, const float *act, int n, float *pre)
{
	int tiles = y->tiles * y->tiles, c = y->in, o = y->out;
	size_t pixels = PIXELS((size_t)y->side);

	for (int t = 0; t < n * tiles; t++) {
		float *pixel[PIXELS(PATCH)];

		locate(y, (float *)act + (size_t)(t / tiles) * pixels * (size_t)c, t % tiles, PATCH,
			-1, (size_t)c, y->zeros, pixel);
		BY_LANES(y, patch_to_points, (const float *const *)pixel, (size_t)c,
			y->v + (size_t)t * (size_t)c, y->v_plane);
	}
	for (size_t i = 0; i < WINOGRAD_POINTS; i++)
		gemm_small(n * tiles, o, c, y->v + i * y->v_plane, c, 1, y->u + i * (size_t)(c * o),
			o, false, y->m + i * y->m_plane, o);
	for (int t = 0; t < n * tiles; t++) {
		float *pixel[PIXELS(TILE)];

		locate(y, pre + (size_t)(t / tiles) * pixels * (size_t)o, t % tiles, TILE, 0,
			(size_t)o, y->waste, pixel);
		BY_LANES(y, points_to_tile, y->m + (size_t)t * (size_t)o, y->m_plane, (size_t)o, pixel);
	}
}

void winograd_backward(const struct winograd *y, const float *d_pre, int n, float *d_act)
{
	int tiles = y->tiles * y->tiles, c = y->in, o = y->out;
	size_t pixels = PIXELS((size_t)y->side);

	for (int t = 0; t < n * tiles; t++) {
		float *pixel[PIXELS(TILE)];

		locate(y, (float *)d_pre + (size_t)(t / tiles) * pixels * (size_t)o, t % tiles,
			TILE, 0, (size_t)o, y->zeros, pixel);
		BY_LANES(y, tile_gradient_to_points, (const float *const *)pixel, (size_t)o,
			y->m + (size_t)t * (size_t)o, y->m_plane);
	}
	for (size_t i = 0; i < WINOGRAD_POINTS; i++) {
		float *v = y->v + i * y->v_plane;
		const float *m = y->m + i * y->m_plane;

		gemm_small(c, o, n * tiles, v, 1, c, m, o, true, y->d_u + i * (size_t)(c * o), o);
		if (!d_act)
			continue;
		gemm_small(n * tiles, c, o, m, o, 1, y->u_t + i * (size_t)(c * o), c, false, v, c);
	}
	for (int t = 0; d_act && t < n * tiles; t++) {
		float *pixel[PIXELS(PATCH)];

		locate(y, d_act + (size_t)(t / tiles) * pixels * (size_t)c, t % tiles, PATCH, -1,
			(size_t)c, y->waste, pixel);
		BY_LANES(y, points_to_patch_gradient, y->v + (size_t)t * (size_t)c, y->v_plane, (size_t)c,
			pixel);
	}
}

void winograd_gradient(const struct winograd *y, float *d_weight)
{
	size_t n = (size_t)y->in * (size_t)y->out;
	float *tap[9];

	for (size_t i = 0; i < 9; i++)
		tap[i] = d_weight + i * n;
	BY_LANES(y, points_to_weight_gradient, y->d_u, n, n, tap);
}
