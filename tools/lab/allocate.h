/*
 * How near the policy's allocation comes to the best that there is: the linear-programming bound of
 * "least harm for so many bytes" over the same curves, which the greedy walk down all convex hulls
 * attains (the constraint matrix has one coupling row, so at most one image is split).
 */
#pragma once

#include "policy/choose.h"

struct allocation {
	double bytes, harm;    /* sums */
	double share_of_bound; /* of the harm that could be saved over all at the lowest rung: 0..1 */
};

struct allocations {
	double bound_harm;
	struct allocation by_steps;	/* as it is */
	struct allocation by_own_rates; /* the same, deciding by each image's rates, not the population's */
};

/*
 * All images at the top first, then the cheapest next steps, each to the rung that a price asks for: the
 * one at which all would take just a little more than the budget. curve: [n], scored and monotone. budget:
 * bytes for all. -ENOMEM.
 */
int allocate(const struct curve *curve, int n, const struct population *p, double budget,
	struct allocations *ret);
