/*
 * Reproducible random numbers: xoshiro256** (Blackman and Vigna) seeded through splitmix64. The
 * caller owns the state; the same seed gives the same numbers on every machine.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rng {
	uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);

/* Uniform in [0, n); n > 0. */
uint32_t rng_below(struct rng *r, uint32_t n);

/* Uniform in [0, 1). */
double rng_unit(struct rng *r);

/* Standard normal, by Box and Muller. */
double rng_normal(struct rng *r);

/* Fisher-Yates shuffle of n indices. */
void rng_shuffle(struct rng *r, uint32_t *index, size_t n);
