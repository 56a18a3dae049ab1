#include "policy/suggest.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "common/macros.h"
#include "policy/score.h"

#define AMONG 4 /* times as many as are wanted, the most doubtful, are chosen from */

struct doubt {
	int index;
	float entropy, distance; /* distance: to the nearest that is chosen */
};

static int by_entropy(const void *a, const void *b)
{
	const struct doubt *x = a, *y = b;

	if (x->entropy != y->entropy)
		return x->entropy < y->entropy ? 1 : -1;
	return x->index - y->index;
}

/* 1 - the squared Hellinger distance is the sum of sqrt(p q): the Bhattacharyya coefficient. */
static float distance(const float *p, const float *q, int k)
{
	double alike = 0;

	for (int j = 0; j < k; j++)
		alike += sqrt((double)MAX(p[j], 0) * (double)MAX(q[j], 0));
	return (float)sqrt(MAX(1 - alike, 0));
}

int suggest_choose(const float *p, int n, int k, int want, int *ret_index)
{
	_cleanup_free_ struct doubt *d = calloc((size_t)MAX(n, 1), sizeof(*d));
	int among, chosen = 0;

	if (!d)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		d[i] = (struct doubt){i, answer_entropy(p + (size_t)i * (size_t)k, k), INFINITY};
	qsort(d, (size_t)n, sizeof(*d), by_entropy);
	among = (int)MIN((int64_t)n, MAX((int64_t)AMONG * want, 1));
	for (int next = 0; chosen < MIN(want, among); chosen++) {
		int at = next;

		ret_index[chosen] = d[at].index;
		d[at].distance = -1;
		for (int i = 0; i < among; i++) {
			float far = distance(p + (size_t)d[i].index * (size_t)k,
				p + (size_t)d[at].index * (size_t)k, k);

			if (d[i].distance >= 0)
				d[i].distance = MIN(d[i].distance, far);
			if (d[i].distance > d[next].distance)
				next = i;
		}
	}
	return chosen;
}
