/*
 * How long images are kept (Store.MaxAge), and whether the clock can be believed: an hour that was never
 * lived through must not cost a picture.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"

/* How long images of that label ("": none) are kept, in us; 0: for ever. */
int64_t age_limit_us(const struct ages *a, const char *label);

/* How often it is worth looking, in us; 0: never. */
int64_t age_period_us(const struct ages *a);

/* When the two clocks were last read, and since when they agree; zero at first. */
struct age_clock {
	int64_t wall_us, steady_us, since_us;
};

#define AGE_TRUST_US (60 * 60 * INT64_C(1000000))

/*
 * Reads both clocks into it. True when the wall clock has gone as the steady one does for AGE_TRUST_US: after a
 * start, or when it was set by more than ten minutes, images are kept for so long.
 */
bool age_clock_trusted(struct age_clock *c, int64_t wall_us, int64_t steady_us);
