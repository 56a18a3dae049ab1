/*
 * The kernel of gemm_small(), for one width of vectors: gemm.c includes it once for each, with NAME(x),
 * LANES, ROWS and TARGET set. ROWS x COLUMNS of c stay in registers: 2 ROWS of them, and three for a and b.
 */
#define COLUMNS (2 * LANES)
#define lanes	NAME(lanes)

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define LOAD(p) (*(const lanes *)(p))

/* rows x COLUMNS of c; rows is a constant, so that c stays in registers. */
INLINE void NAME(kernel)(int rows, int k, const float *a, size_t a_row, size_t a_col, const float *b,
	size_t ldb, bool add, float *c, size_t ldc)
{
	lanes left[ROWS], right[ROWS];

#pragma GCC unroll 8
	for (int i = 0; i < rows; i++) {
		left[i] = add ? LOAD(c + (size_t)i * ldc) : (lanes){0};
		right[i] = add ? LOAD(c + (size_t)i * ldc + LANES) : (lanes){0};
	}
	for (int l = 0; l < k; l++, a += a_col, b += ldb) {
		lanes b0 = LOAD(b), b1 = LOAD(b + LANES);

#pragma GCC unroll 8
		for (int i = 0; i < rows; i++) {
			float x = a[(size_t)i * a_row];

			left[i] += x * b0;
			right[i] += x * b1;
		}
	}
#pragma GCC unroll 8
	for (int i = 0; i < rows; i++) {
		*(lanes *)(c + (size_t)i * ldc) = left[i];
		*(lanes *)(c + (size_t)i * ldc + LANES) = right[i];
	}
}

/* Columns of c outside, so that COLUMNS columns of b stay in the nearest cache. */
TARGET static void NAME(product)(int m, int n, int k, const float *a, size_t a_row, size_t a_col,
	const float *b, size_t ldb, bool add, float *c, size_t ldc)
{
	for (int j = 0; j < n; j += COLUMNS, b += COLUMNS, c += COLUMNS) {
		int i = 0;

		for (; i + ROWS <= m; i += ROWS)
			NAME(kernel)(ROWS, k, a + (size_t)i * a_row, a_row, a_col, b, ldb, add,
				c + (size_t)i * ldc, ldc);
		for (; i + 4 <= m; i += 4)
			NAME(kernel)(4, k, a + (size_t)i * a_row, a_row, a_col, b, ldb, add,
				c + (size_t)i * ldc, ldc);
		for (; i + 2 <= m; i += 2)
			NAME(kernel)(2, k, a + (size_t)i * a_row, a_row, a_col, b, ldb, add,
				c + (size_t)i * ldc, ldc);
		for (; i < m; i++)
			NAME(kernel)(1, k, a + (size_t)i * a_row, a_row, a_col, b, ldb, add,
				c + (size_t)i * ldc, ldc);
	}
}

#undef ROWS
#undef COLUMNS
#undef lanes
#undef LOAD
#undef NAME
#undef LANES
#undef TARGET
