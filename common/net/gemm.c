#include "common/net/gemm.h"

#include <cblas.h>

#include "common/macros.h"

#define INLINE static inline __attribute__((always_inline))

#if CLONES
#define WIDE __attribute__((target_clones("fma", "default")))

/* Where there are 32 vectors of sixteen. */
#define NAME(x) widest_##x
#define LANES	16
#define ROWS	8
#define TARGET	__attribute__((target("avx512f")))
#include "common/net/gemm_kernel.h"
#else
#define WIDE
#endif

/* Where there are 32 vectors, or each holds eight floats. */
#define NAME(x) wide_##x
#define LANES	8
#define ROWS	6
#define TARGET	WIDE
#include "common/net/gemm_kernel.h"

/* Where there are sixteen vectors of four: any x86-64. */
#define NAME(x) narrow_##x
#define LANES	4
#define ROWS	6
#define TARGET
#include "common/net/gemm_kernel.h"

static bool is_narrow(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
	return !CLONES || !__builtin_cpu_supports("fma");
#else
	return false;
#endif
}

/* Whether the widest did it. */
static bool by_widest(int m, int n, int k, const float *a, int a_row, int a_col, const float *b, int ldb,
	bool add, float *c, int ldc)
{
#if CLONES
	if (n % 32 == 0 && __builtin_cpu_supports("avx512f")) {
		widest_product(
			m, n, k, a, (size_t)a_row, (size_t)a_col, b, (size_t)ldb, add, c, (size_t)ldc);
		return true;
	}
#endif
	return false;
}

void gemm(int m, int n, int k, const float *a, int lda, bool a_transposed, const float *b, int ldb,
	bool b_transposed, bool add, float *c, int ldc)
{
	cblas_sgemm(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans,
		b_transposed ? CblasTrans : CblasNoTrans, m, n, k, 1, a, lda, b, ldb, add, c, ldc);
}

void gemm_small_narrow(int m, int n, int k, const float *a, int a_row, int a_col, const float *b, int ldb,
	bool add, float *c, int ldc)
{
	narrow_product(m, n, k, a, (size_t)a_row, (size_t)a_col, b, (size_t)ldb, add, c, (size_t)ldc);
}

void gemm_small(int m, int n, int k, const float *a, int a_row, int a_col, const float *b, int ldb,
	bool add, float *c, int ldc)
{
	if (by_widest(m, n, k, a, a_row, a_col, b, ldb, add, c, ldc))
		return;
	if (n % 8 == 0 && is_narrow())
		gemm_small_narrow(m, n, k, a, a_row, a_col, b, ldb, add, c, ldc);
	else if (n % 16 == 0)
		wide_product(m, n, k, a, (size_t)a_row, (size_t)a_col, b, (size_t)ldb, add, c,
			(size_t)ldc);
	else
		gemm(m, n, k, a, MAX(a_row, a_col), a_col != 1, b, ldb, false, add, c, ldc);
}
