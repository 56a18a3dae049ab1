/* The whole test framework: checks that say where they failed and go on; the exit status tells. */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_failures, test_checks;

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		test_checks++;                                                                     \
		if (!(cond)) {                                                                     \
			test_failures++;                                                           \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond);         \
		}                                                                                  \
	} while (0)

#define CHECK_INT(got, want)                                                                       \
	do {                                                                                       \
		long long _g = (long long)(got), _w = (long long)(want);                           \
		test_checks++;                                                                     \
		if (_g != _w) {                                                                    \
			test_failures++;                                                           \
			fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #got, _g, _w); \
		}                                                                                  \
	} while (0)

#define CHECK_NEAR(got, want, tolerance)                                                           \
	do {                                                                                       \
		double _g = (double)(got), _w = (double)(want);                                    \
		test_checks++;                                                                     \
		if (!(fabs(_g - _w) <= (tolerance))) {                                             \
			test_failures++;                                                           \
			fprintf(stderr, "%s:%d: %s is %g, not %g +- %g\n", __FILE__, __LINE__, #got, _g, _w, \
				(double)(tolerance));                                              \
		}                                                                                  \
	} while (0)

#define CHECK_STR(got, want)                                                                       \
	do {                                                                                       \
		const char *_g = (got), *_w = (want);                                              \
		test_checks++;                                                                     \
		if (strcmp(_g, _w) != 0) {                                                         \
			test_failures++;                                                           \
			fprintf(stderr, "%s:%d: %s is '%s', not '%s'\n", __FILE__, __LINE__, #got, _g, _w); \
		}                                                                                  \
	} while (0)

/* Whether seccomp can be tried: qemu-user has none, and meson says that it is used. */
static inline bool has_seccomp(void)
{
	const char *emulator = getenv("MESON_EXE_WRAPPER");
	bool has = !strstr(emulator ? emulator : "", "qemu");

	if (!has)
		fputs("qemu-user has no seccomp: what needs it is not tried\n", stderr);
	return has;
}

#define TEST_MAIN(...)                                                                             \
	int main(void)                                                                             \
	{                                                                                          \
		void (*const tests[])(void) = {__VA_ARGS__};                                       \
		for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)                      \
			tests[i]();                                                                \
		printf("%d checks, %d failed\n", test_checks, test_failures);                      \
		return test_failures || !test_checks;                                              \
	}
