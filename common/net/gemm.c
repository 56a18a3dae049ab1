#include "common/net/gemm.h"

#include <cblas.h>

#include "common/macros.h"

#define LANES	8
#define COLUMNS (2 * LANES)
#define ROWS	6 /* of c in registers, COLUMNS of each */

#define INLINE	static inline __attribute__((always_inline))

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

#define LOAD(p) (*(const lanes *)(p))

/* rows x COLUMNS of c; rows is a constant, so that c stays in registers. */
INLINE void kernel(int rows, int k, const float *a, size_t a_row, size_t a_col, const float *b,
	size_t ldb, bool add, float *c, size_t ldc)
{
	lanes left[ROWS], right[ROWS];

#pragma GCC unroll 6
	for (int i = 0; i < rows; i++) {
		left[i] = add ? LOAD(c + (size_t)i * ldc) : (lanes){0};
		right[i] = add ? LOAD(c + (size_t)i * ldc + LANES) : (lanes){0};
	}
	for (int l = 0; l < k; l++, a += a_col, b += ldb) {
		lanes b0 = LOAD(b), b1 = LOAD(b + LANES);

#pragma GCC unroll 6
		for (int i = 0; i < rows; i++) {
			float x = a[(size_t)i * a_row];

			left[i] += x * b0;
			right[i] += x * b1;
		}
	}
#pragma GCC unroll 6
	for (int i = 0; i < rows; i++) {
		*(lanes *)(c + (size_t)i * ldc) = left[i];
		*(lanes *)(c + (size_t)i * ldc + LANES) = right[i];
	}
}

/* Columns of c outside, so that COLUMNS columns of b stay in the nearest cache. */
HOT_FMA static void product(int m, int n, int k, const float *a, size_t a_row, size_t a_col,
	const float *b, size_t ldb, bool add, float *c, size_t ldc)
{
	for (int j = 0; j < n; j += COLUMNS, b += COLUMNS, c += COLUMNS) {
		int i = 0;

		for (; i + ROWS <= m; i += ROWS)
			kernel(ROWS, k, a + (size_t)i * a_row, a_row, a_col, b, ldb, add,
				c + (size_t)i * ldc, ldc);
		for (; i + 2 <= m; i += 2)
			kernel(2, k, a + (size_t)i * a_row, a_row, a_col, b, ldb, add,
				c + (size_t)i * ldc, ldc);
		for (; i < m; i++)
			kernel(1, k, a + (size_t)i * a_row, a_row, a_col, b, ldb, add,
				c + (size_t)i * ldc, ldc);
	}
}

void gemm(int m, int n, int k, const float *a, int lda, bool a_transposed, const float *b, int ldb,
	bool b_transposed, bool add, float *c, int ldc)
{
	cblas_sgemm(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans,
		b_transposed ? CblasTrans : CblasNoTrans, m, n, k, 1, a, lda, b, ldb, add, c, ldc);
}

void gemm_small(int m, int n, int k, const float *a, int a_row, int a_col, const float *b, int ldb,
	bool add, float *c, int ldc)
{
	if (n % COLUMNS == 0)
		product(m, n, k, a, (size_t)a_row, (size_t)a_col, b, (size_t)ldb, add, c,
			(size_t)ldc);
	else
		gemm(m, n, k, a, MAX(a_row, a_col), a_col != 1, b, ldb, false, add, c, ldc);
}
