/* Parts of one block of floats, each beginning on a cache line. */
#pragma once

#include "common/macros.h"

#define CARVE_FLOATS ((size_t)16) /* a cache line */

/* Hands out n floats of memory, or only counts them when it is NULL. */
static inline float *carve(float *memory, size_t *used, size_t n)
{
	float *p = memory ? memory + *used : NULL;

	*used += ROUND_UP(n, CARVE_FLOATS);
	return p;
}
