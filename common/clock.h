/*
 * The one source of time: microseconds as int64_t. Wall time may jump; the steady clock never does
 * and stands still for nothing but the machine being off.
 */
#pragma once

#include <stdint.h>
#include <time.h>

#define US_PER_SEC INT64_C(1000000)
#define US_PER_MS  INT64_C(1000)

static inline int64_t clock_us_of(struct timespec t)
{
	return (int64_t)t.tv_sec * US_PER_SEC + t.tv_nsec / 1000;
}

int64_t clock_wall_us(void);
int64_t clock_steady_us(void);
