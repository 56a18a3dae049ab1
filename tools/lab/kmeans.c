#include "tools/lab/kmeans.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/macros.h"
#include "common/rng.h"

#define ROUNDS_MAX 300

static double distance(const double *a, const double *b, int dims)
{
	double sum = 0;

	for (int d = 0; d < dims; d++)
		sum += (a[d] - b[d]) * (a[d] - b[d]);
	return sum;
}

/* Each next centre is a point, drawn in proportion to its squared distance from those there are. */
static void seed_centres(
	const double *point, int n, int dims, int k, struct rng *r, double *nearest, double *centre)
{
	for (int i = 0; i < n; i++)
		nearest[i] = INFINITY;
	for (int c = 0; c < k; c++) {
		double sum = 0, at;
		int pick = 0;

		for (int i = 0; c > 0 && i < n; i++)
			sum += nearest[i];
		at = rng_unit(r) * sum;
		if (sum <= 0)
			pick = (int)rng_below(r, (uint32_t)n);
		else
			while (pick < n - 1 && (at -= nearest[pick]) > 0)
				pick++;
		memcpy(centre + c * dims, point + pick * dims, (size_t)dims * sizeof(double));
		for (int i = 0; i < n; i++)
			nearest[i] = MIN(nearest[i], distance(point + i * dims, centre + c * dims, dims));
	}
}

static double assign(
	const double *point, int n, int dims, int k, const double *centre, int *label, int *ret_moved)
{
	double total = 0;

	*ret_moved = 0;
	for (int i = 0; i < n; i++) {
		double best = INFINITY;
		int to = 0;

		for (int c = 0; c < k; c++) {
			double d = distance(point + i * dims, centre + c * dims, dims);

			if (d < best) {
				best = d;
				to = c;
			}
		}
		*ret_moved += label[i] != to;
		label[i] = to;
		total += best;
	}
	return total;
}

static void move_centres(
	const double *point, int n, int dims, int k, const int *label, int *count, double *centre)
{
	memset(count, 0, (size_t)k * sizeof(int));
	for (int i = 0; i < n; i++)
		count[label[i]]++;
	for (int c = 0; c < k; c++)
		if (count[c]) /* one that lost all its points stays where it is */
			memset(centre + c * dims, 0, (size_t)dims * sizeof(double));
	for (int i = 0; i < n; i++)
		for (int d = 0; d < dims; d++)
			centre[label[i] * dims + d] += point[i * dims + d] / count[label[i]];
}

struct order {
	double mean;
	int cluster;
};

static int by_mean(const void *a, const void *b)
{
	const struct order *x = a, *y = b;

	return (x->mean > y->mean) - (x->mean < y->mean);
}

static int sort_clusters(int n, int dims, int k, int *label, double *centre)
{
	_cleanup_free_ struct order *o = calloc((size_t)k, sizeof(*o));
	_cleanup_free_ double *sorted = malloc((size_t)k * (size_t)dims * sizeof(double));
	_cleanup_free_ int *to = malloc((size_t)k * sizeof(int));

	if (!o || !sorted || !to)
		return -ENOMEM;
	for (int c = 0; c < k; c++) {
		o[c].cluster = c;
		for (int d = 0; d < dims; d++)
			o[c].mean += centre[c * dims + d] / dims;
	}
	qsort(o, (size_t)k, sizeof(*o), by_mean);
	for (int c = 0; c < k; c++) {
		to[o[c].cluster] = c;
		memcpy(sorted + c * dims, centre + o[c].cluster * dims, (size_t)dims * sizeof(double));
	}
	for (int i = 0; i < n; i++)
		label[i] = to[label[i]];
	memcpy(centre, sorted, (size_t)k * (size_t)dims * sizeof(double));
	return 0;
}

double kmeans(const double *point, int n, int dims, int k, int restarts, uint64_t seed, int *ret_label,
	double *ret_centre)
{
	size_t centres = (size_t)k * (size_t)dims * sizeof(double);
	_cleanup_free_ double *nearest = malloc((size_t)MAX(n, 1) * sizeof(double)),
			      *centre = malloc(centres);
	_cleanup_free_ int *label = malloc((size_t)MAX(n, 1) * sizeof(int)),
			   *count = calloc((size_t)k, sizeof(int));
	double best = INFINITY;
	struct rng r;
	int e;

	if (n < k || k < 1)
		return -EINVAL;
	if (!nearest || !centre || !label || !count)
		return -ENOMEM;
	rng_init(&r, seed);
	for (int start = 0; start < restarts; start++) {
		double total = 0;
		int moved = 1;

		seed_centres(point, n, dims, k, &r, nearest, centre);
		for (int i = 0; i < n; i++)
			label[i] = -1;
		for (int round = 0; round < ROUNDS_MAX && moved; round++) {
			total = assign(point, n, dims, k, centre, label, &moved);
			move_centres(point, n, dims, k, label, count, centre);
		}
		if (total < best) {
			best = total;
			memcpy(ret_label, label, (size_t)n * sizeof(int));
			memcpy(ret_centre, centre, centres);
		}
	}
	e = sort_clusters(n, dims, k, ret_label, ret_centre);
	return e < 0 ? e : best;
}
