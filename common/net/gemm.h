/*
 * Matrix products: by the BLAS, and by a kernel of our own where the BLAS spends as long on packing
 * its operands as on multiplying.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* c [m][n] = a b of any shape, by the BLAS; transposed: a is [k][m], b is [n][k]. Added to c when
 * add. */
void gemm(int m, int n, int k, const float *a, int lda, bool a_transposed, const float *b, int ldb,
	bool b_transposed, bool add, float *c, int ldc);

/*
 * The same for small matrices. Nothing is copied; one of the two should lie in the cache. Shapes
 * that there is no kernel for go to the BLAS. Element (i, l) of a is a[i * a_row + l * a_col], of
 * which one stride is 1; b is [k][n], rows ldb apart; c's rows are ldc apart.
 */
void gemm_small(int m, int n, int k, const float *a, int a_row, int a_col, const float *b, int ldb,
	bool add, float *c, int ldc);

/* The same by what gemm_small() does it with on processors with sixteen vectors of four; n: a multiple of 8. */
void gemm_small_narrow(int m, int n, int k, const float *a, int a_row, int a_col, const float *b, int ldb,
	bool add, float *c, int ldc);
