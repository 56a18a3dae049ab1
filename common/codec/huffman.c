#include "common/codec/huffman.h"

#include <stdbool.h>
#include <string.h>

#define SYMBOLS_MAX 257
#define LENGTH_MAX  16

struct leaf {
	uint64_t count;
	int symbol;
};

static int by_count(const void *a, const void *b)
{
	const struct leaf *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? -1 : 1;
	return y->symbol - x->symbol; /* the reserved symbol sorts first among equals */
}

/*
 * Code lengths of n >= 2 leaves in ascending order of count by the two-queue method (van Leeuwen
 * 1976): merged nodes appear in ascending order too, so the two smallest are always at a front.
 */
static void code_lengths(const struct leaf *leaf, int n, int *ret_length)
{
	uint64_t node[SYMBOLS_MAX];
	int parent[2 * SYMBOLS_MAX], depth[2 * SYMBOLS_MAX];
	int next_leaf = 0, next_node = 0;

	for (int made = 0; made < n - 1; made++) {
		uint64_t sum = 0;

		for (int k = 0; k < 2; k++) {
			bool take_leaf = next_leaf < n &&
				(next_node >= made || leaf[next_leaf].count <= node[next_node]);
			int child = take_leaf ? next_leaf : n + next_node;

			sum += take_leaf ? leaf[next_leaf].count : node[next_node];
			next_leaf += take_leaf;
			next_node += !take_leaf;
			parent[child] = n + made;
		}
		node[made] = sum;
	}
	depth[2 * n - 2] = 0;
	for (int i = 2 * n - 3; i >= 0; i--)
		depth[i] = depth[parent[i]] + 1;
	memcpy(ret_length, depth, (size_t)n * sizeof(int));
}

/* Moves codes longer than 16 bits up, as T.81 figure K.3 does; bits[] counts codes by length. */
static void limit_lengths(int bits[SYMBOLS_MAX])
{
	for (int i = SYMBOLS_MAX - 1; i > LENGTH_MAX; i--)
		while (bits[i] > 0) {
			int j = i - 2;

			while (bits[j] == 0)
				j--;
			bits[i] -= 2;
			bits[i - 1]++;
			bits[j + 1] += 2;
			bits[j]--;
		}
}

void huffman_optimal(const uint32_t *count, int n, struct huff_spec *ret)
{
	struct leaf leaf[SYMBOLS_MAX];
	int length[SYMBOLS_MAX], bits[SYMBOLS_MAX] = {0}, n_leaves = 0, longest, n_vals = 0;

	memset(ret, 0, sizeof(*ret));
	leaf[n_leaves++] = (struct leaf){1, n}; /* takes the all-ones code, which is then dropped */
	for (int s = 0; s < n; s++)
		if (count[s])
			leaf[n_leaves++] = (struct leaf){(uint64_t)count[s] << 8, s};
	if (n_leaves == 1)
		leaf[n_leaves++] = (struct leaf){256, 0};
	qsort(leaf, (size_t)n_leaves, sizeof(leaf[0]), by_count);
	code_lengths(leaf, n_leaves, length);
	for (int i = 0; i < n_leaves; i++)
		bits[length[i]]++;
	limit_lengths(bits);
	for (longest = LENGTH_MAX; bits[longest] == 0;)
		longest--;
	bits[longest]--;
	for (int i = 1; i <= LENGTH_MAX; i++)
		ret->bits[i] = (uint8_t)bits[i];
	/* The most frequent symbols come last in leaf[] and get the shortest codes. */
	for (int i = n_leaves - 1; i > 0; i--)
		ret->vals[n_vals++] = (uint8_t)leaf[i].symbol;
}

static void lengths_of(const struct huff_spec *h, uint8_t ret_length[256])
{
	int n = 0;

	memset(ret_length, 0, 256);
	for (int len = 1; len <= LENGTH_MAX; len++)
		for (int i = 0; i < h->bits[len] && n < 256; i++)
			ret_length[h->vals[n++]] = (uint8_t)len;
}

/* Adds count[s] * length[s]; false when a used symbol has no code. */
static bool add_bits(const uint32_t *count, int n, const struct huff_spec *h, uint64_t *bits)
{
	uint8_t length[256];

	lengths_of(h, length);
	for (int s = 0; s < n; s++) {
		if (count[s] && !length[s])
			return false;
		*bits += (uint64_t)count[s] * length[s];
	}
	return true;
}

static uint32_t bytes_of_bits(uint64_t bits)
{
	uint64_t bytes = (bits + 7) / 8;

	return (uint32_t)MIN(bytes + bytes / 256, (uint64_t)UINT32_MAX - 1);
}

uint32_t scan_bytes(const struct symbol_counts *c, const struct jpeg_tables *t)
{
	uint64_t bits = c->extra_bits;

	for (int set = 0; set < 2; set++)
		if (!add_bits(c->dc[set], 16, &t->dc[set], &bits) ||
			!add_bits(c->ac[set], 256, &t->ac[set], &bits))
			return UINT32_MAX;
	return bytes_of_bits(bits);
}

static uint32_t add_optimal(const uint32_t *count, int n, uint64_t *bits)
{
	struct huff_spec h;
	uint32_t n_vals = 0;

	huffman_optimal(count, n, &h);
	add_bits(count, n, &h, bits);
	for (int i = 1; i <= LENGTH_MAX; i++)
		n_vals += h.bits[i];
	return 17 + n_vals;
}

uint32_t scan_bytes_optimal(const struct symbol_counts *c, int n_sets)
{
	uint64_t bits = c->extra_bits;
	uint32_t segment = 0;

	for (int set = 0; set < n_sets; set++)
		segment += 4 + add_optimal(c->dc[set], 16, &bits) + add_optimal(c->ac[set], 256, &bits);
	return bytes_of_bits(bits) + segment;
}
