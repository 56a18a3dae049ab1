/*
 * The transforms of winograd.c, for one number of channels at a time: it includes this once for each, with
 * NAME(x) and LANES set. Each pair of them is a matrix and its transpose.
 */
#define lanes NAME(lanes)

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* One-dimensional transforms. x and y step by sx and sy. */

/* B^T: six inputs to six points. */
INLINE void NAME(input_points)(const lanes *x, int sx, lanes *y, int sy)
{
	lanes a = x[4 * sx] - 4 * x[2 * sx], b = x[3 * sx] - 4 * x[sx];
	lanes c = x[4 * sx] - x[2 * sx], d = 2 * (x[3 * sx] - x[sx]);

	y[0] = 4 * x[0] - 5 * x[2 * sx] + x[4 * sx];
	y[sy] = a + b;
	y[2 * sy] = a - b;
	y[3 * sy] = c + d;
	y[4 * sy] = c - d;
	y[5 * sy] = 4 * x[sx] - 5 * x[3 * sx] + x[5 * sx];
}

/* B: gradients of six points to those of six inputs. */
INLINE void NAME(input_gradient)(const lanes *x, int sx, lanes *y, int sy)
{
	lanes a = x[sx] + x[2 * sx], b = x[sx] - x[2 * sx];
	lanes c = x[3 * sx] + x[4 * sx], d = x[3 * sx] - x[4 * sx];

	y[0] = 4 * x[0];
	y[sy] = 4 * x[5 * sx] - 4 * b - 2 * d;
	y[2 * sy] = -5 * x[0] - 4 * a - c;
	y[3 * sy] = b + 2 * d - 5 * x[5 * sx];
	y[4 * sy] = x[0] + a + c;
	y[5 * sy] = x[5 * sx];
}

/* A^T: six points to four outputs. */
INLINE void NAME(output_values)(const lanes *x, int sx, lanes *y, int sy)
{
	lanes a = x[sx] + x[2 * sx], b = x[sx] - x[2 * sx];
	lanes c = x[3 * sx] + x[4 * sx], d = x[3 * sx] - x[4 * sx];

	y[0] = x[0] + a + c;
	y[sy] = b + 2 * d;
	y[2 * sy] = a + 4 * c;
	y[3 * sy] = b + 8 * d + x[5 * sx];
}

/* A: gradients of four outputs to those of six points. */
INLINE void NAME(output_gradient)(const lanes *x, int sx, lanes *y, int sy)
{
	lanes a = x[0] + x[2 * sx], b = x[sx] + x[3 * sx];
	lanes c = x[0] + 4 * x[2 * sx], d = 2 * x[sx] + 8 * x[3 * sx];

	y[0] = x[0];
	y[sy] = a + b;
	y[2 * sy] = a - b;
	y[3 * sy] = c + d;
	y[4 * sy] = c - d;
	y[5 * sy] = x[3 * sx];
}

/* G: three weights to six points. */
INLINE void NAME(weight_points)(const lanes *x, int sx, lanes *y, int sy)
{
	lanes a = (x[0] + x[2 * sx]) * (-1 / 6.0f), b = x[sx] * (-1 / 6.0f);
	lanes c = x[0] * (1 / 24.0f) + x[2 * sx] * (1 / 6.0f), d = x[sx] * (1 / 12.0f);

	y[0] = x[0] * 0.25f;
	y[sy] = a + b;
	y[2 * sy] = a - b;
	y[3 * sy] = c + d;
	y[4 * sy] = c - d;
	y[5 * sy] = x[2 * sx];
}

/* G^T: gradients of six points to those of three weights. */
INLINE void NAME(weight_gradient)(const lanes *x, int sx, lanes *y, int sy)
{
	lanes a = (x[sx] + x[2 * sx]) * (1 / 6.0f), b = (x[2 * sx] - x[sx]) * (1 / 6.0f);
	lanes c = x[3 * sx] + x[4 * sx], d = x[3 * sx] - x[4 * sx];

	y[0] = x[0] * 0.25f - a + c * (1 / 24.0f);
	y[sy] = b + d * (1 / 12.0f);
	y[2 * sy] = c * (1 / 6.0f) - a + x[5 * sx];
}

HOT static void NAME(patch_to_points)(
	const float *const pixel[PIXELS(PATCH)], size_t c, float *v, size_t plane)
{
	TO_PLANES(NAME(input_points), PATCH, PATCH, pixel, c, v, plane);
}

HOT static void NAME(points_to_patch_gradient)(
	const float *v, size_t plane, size_t c, float *const pixel[PIXELS(PATCH)])
{
	FROM_PLANES(NAME(input_gradient), PATCH, PATCH, v, plane, c, pixel, +=);
}

HOT static void NAME(points_to_tile)(
	const float *m, size_t plane, size_t o, float *const pixel[PIXELS(TILE)])
{
	FROM_PLANES(NAME(output_values), PATCH, TILE, m, plane, o, pixel, =);
}

HOT static void NAME(tile_gradient_to_points)(
	const float *const pixel[PIXELS(TILE)], size_t o, float *m, size_t plane)
{
	TO_PLANES(NAME(output_gradient), TILE, PATCH, pixel, o, m, plane);
}

HOT static void NAME(weights_to_points)(const float *const weight[9], size_t n, float *u, size_t plane)
{
	TO_PLANES(NAME(weight_points), 3, PATCH, weight, n, u, plane);
}

HOT static void NAME(points_to_weight_gradient)(
	const float *u, size_t plane, size_t n, float *const weight[9])
{
	FROM_PLANES(NAME(weight_gradient), PATCH, 3, u, plane, n, weight, +=);
}

#undef lanes
#undef NAME
#undef LANES
