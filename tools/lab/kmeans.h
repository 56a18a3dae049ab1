/*
 * k-means (Lloyd 1982) with k-means++ seeding (Arthur and Vassilvitskii 2007) and restarts, for a few
 * thousand points of a few dimensions.
 */
#pragma once

#include <stdint.h>

/*
 * point: [n][dims]. ret_label: [n] in 0..k-1; ret_centre: [k][dims]. Clusters are ordered by the mean
 * of their centre. Returns the sum of squared distances, or a negative errno: -EINVAL for n < k.
 */
double kmeans(const double *point, int n, int dims, int k, int restarts, uint64_t seed, int *ret_label,
	double *ret_centre);
