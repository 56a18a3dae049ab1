/*
 * A fuzz target is a program with one function, which libFuzzer calls (-Dfuzz=true, with clang) or
 * replay.c does, in the ordinary tests, with each file of the target's corpus and changes to it.
 * A target says what must hold with CRASH_UNLESS, which NDEBUG does not remove.
 */
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/macros.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CRASH_UNLESS(cond)                                                                         \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond);  \
			abort();                                                                   \
		}                                                                                  \
	} while (0)
