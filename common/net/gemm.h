/*
 * Products of small matrices, for which a BLAS spends as long on packing its operands as on
 * multiplying: nothing is copied, and one of the two is expected to lie in the cache. Shapes that it
 * has no kernel for go to cblas_sgemm.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * c [m][n] = a b, added to what c holds when add. Element (i, l) of a is a[i * a_row + l * a_col], of
 * which one stride is 1; b is [k][n], rows ldb apart; c's rows are ldc apart.
 */
void gemm_small(int m, int n, int k, const float *a, int a_row, int a_col, const float *b, int ldb, bool add,
	float *c, int ldc);
