/* The order in which all policies meet the stream, and the ranks by which they draw. */
#include <string.h>

#include "common/rng.h"
#include "policy/member.h"
#include "tools/lab/stream.h"

/* Keeps the order within each class. */
static void sort_by_class(const struct lab *l, uint32_t *order, int n)
{
	int at = 0;

	for (int k = 0; k < l->data.classes; k++)
		for (int i = at; i < n; i++)
			if (l->data.split[TRAIN].v[order[i]].label == k) {
				uint32_t one = order[i];

				memmove(order + at + 1, order + at, (size_t)(i - at) * sizeof(*order));
				order[at++] = one;
			}
}

/* Each class's pictures as they lie, in the places that an order has for its class. */
static void keep_order(const struct lab *l, uint32_t *order, int n)
{
	const struct picture *v = l->data.split[TRAIN].v;
	int next[NET_CLASSES_MAX] = {0};

	for (int i = 0; i < n; i++) {
		int k = v[order[i]].label, at = next[k];

		while (v[at].label != k)
			at++;
		order[i] = (uint32_t)at;
		next[k] = at + 1;
	}
}

void stream_order(const struct lab *l, uint64_t seed, uint32_t *ret_order)
{
	struct rng r;
	int n = l->data.split[TRAIN].n;

	rng_init(&r, seed * 2 + 1);
	for (int i = 0; i < n; i++)
		ret_order[i] = (uint32_t)i;
	rng_shuffle(&r, ret_order, (size_t)n);
	if (l->order == ORDER_KEPT)
		keep_order(l, ret_order, n);
	if (l->order == ORDER_CLASSES) {
		sort_by_class(l, ret_order, n / 2);
		sort_by_class(l, ret_order + n / 2, n - n / 2);
	}
}

void stream_ranks(const struct lab *l, uint64_t seed, int *ret_rank)
{
	struct rng r;

	rng_init(&r, seed * 2 + 2);
	for (int i = 0; i < l->data.split[TRAIN].n; i++)
		ret_rank[i] = member_rank(rng_u64(&r));
}

int by_rank(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return x->rank != y->rank ? (x->rank > y->rank) - (x->rank < y->rank) : x->index - y->index;
}
