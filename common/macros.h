/*
 * Small macros and the cleanup attributes every other file uses.
 *
 * A local marked _cleanup_(x) is released when its scope ends; TAKE_PTR and TAKE_FD hand the
 * resource over instead.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a)     (sizeof(a) / sizeof((a)[0]))
#undef MIN /* sys/param.h has its own */
#undef MAX
#define MIN(a, b)	  PICK(a, <, b, __COUNTER__)
#define MAX(a, b)	  PICK(a, >, b, __COUNTER__)
#define CLAMP(x, lo, hi)  MIN(MAX(x, lo), hi)
#define ROUND_UP(x, unit) (((x) + (unit)-1) / (unit) * (unit))

/* Each operand is worked out once, whatever it does: many are calls. */
#define PICK(a, before, b, n) PICK_NAMED(a, before, b, n)
#define PICK_NAMED(a, before, b, n)                                                                \
	({                                                                                         \
		__typeof__(a) _a##n = (a);                                                         \
		__typeof__(b) _b##n = (b);                                                         \
		_a##n before _b##n ? _a##n : _b##n;                                                \
	})

#define _cleanup_(f)        __attribute__((cleanup(f)))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args), nonnull(fmt)))

/*
 * An inner loop worth compiling again for processors with AVX2 and AVX-512; the choice is made when
 * the program starts, which needs glibc's loader. Elsewhere the baseline already has the vectors (NEON),
 * or nothing is gained.
 * -DLARDER_BASELINE leaves them out, to measure what a small processor has.
 */
#if !defined(LARDER_BASELINE) && defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && \
	!defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HOT	__attribute__((target_clones("avx512f", "avx2", "default")))
/* The same for multiply-adds of floats. */
#define HOT_FMA __attribute__((target_clones("avx512f", "fma", "default")))
#define CLONES	1
#else
#define CLONES 0
#define HOT
#define HOT_FMA
#endif

static inline void free_ptr(void *p)
{
	free(*(void **)p);
}

static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define _cleanup_free_  _cleanup_(free_ptr)
#define _cleanup_close_ _cleanup_(close_fd)

#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) *_pp = &(p);                                                         \
		__typeof__(p) _v = *_pp;                                                           \
		*_pp = NULL;                                                                       \
		_v;                                                                                \
	})

#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int *_pf = &(fd);                                                                  \
		int _v = *_pf;                                                                     \
		*_pf = -1;                                                                         \
		_v;                                                                                \
	})

/* Declares x_freep() for use with _cleanup_(). */
#define DEFINE_FREEP(type, func)                                                                   \
	static inline void func##p(type **p)                                                       \
	{                                                                                          \
		if (*p)                                                                            \
			func(*p);                                                                  \
	}

/* Whether an address or thread sanitizer is built in: they need /proc, threads and terabytes of addresses. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif
