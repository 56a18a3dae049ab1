#include "common/codec/huffman.h"

#include "common/rng.h"
#include "tests/unit/test.h"

static double kraft(const struct huff_spec *h)
{
	double sum = 0;

	for (int i = 1; i <= 16; i++)
		sum += h->bits[i] * pow(2, -i);
	return sum;
}

static int n_codes(const struct huff_spec *h)
{
	int n = 0;

	for (int i = 1; i <= 16; i++)
		n += h->bits[i];
	return n;
}

/* Fibonacci counts want codes far longer than 16 bits: the limit must hold, the code be complete. */
static void test_limit(void)
{
	uint32_t count[40] = {1, 1};
	struct huff_spec h;

	for (int i = 2; i < 40; i++)
		count[i] = count[i - 1] + count[i - 2];
	huffman_optimal(count, 40, &h);
	CHECK_INT(n_codes(&h), 40);
	CHECK(kraft(&h) < 1); /* the all-ones code stays free */
	CHECK_NEAR(kraft(&h), 1, 1e-4);
	CHECK_INT(h.vals[0], 39);
}

/* Within one bit a symbol of the entropy, as Huffman promises. */
static void test_optimal(void)
{
	uint32_t count[256];
	struct huff_spec h;
	struct rng r;
	double total = 0, entropy = 0, bits = 0;
	int k = 0;

	rng_init(&r, 1);
	for (int i = 0; i < 256; i++)
		total += count[i] = 1 + (uint32_t)exp(rng_unit(&r) * 10);
	huffman_optimal(count, 256, &h);
	for (int i = 0; i < 256; i++)
		entropy -= count[i] * log2(count[i] / total);
	for (int len = 1; len <= 16; len++)
		for (int i = 0; i < h.bits[len]; i++)
			bits += (double)count[h.vals[k++]] * len;
	CHECK_INT(k, 256);
	CHECK(bits >= entropy);
	CHECK(bits < entropy * 1.02 + total * 0.1);
}

static void test_degenerate(void)
{
	uint32_t none[12] = {0}, one[12] = {0};
	struct huff_spec h;

	huffman_optimal(none, 12, &h);
	CHECK_INT(n_codes(&h), 1);
	one[5] = 1000;
	huffman_optimal(one, 12, &h);
	CHECK_INT(n_codes(&h), 1);
	CHECK_INT(h.bits[1], 1);
	CHECK_INT(h.vals[0], 5);
}

static void test_tables(void)
{
	struct jpeg_tables t;

	for (int q = 1; q <= 100; q++) {
		tables_standard(q, &t);
		CHECK_INT(tables_estimate_quality(t.quant[0]), q);
	}
}

/* A symbol that a table has no code for cannot be written with it. */
static void test_no_code(void)
{
	struct symbol_counts c = {0};
	struct jpeg_tables t;

	tables_standard(20, &t);
	c.dc[0][3] = 100;
	c.ac[0][0x11] = 500;
	CHECK(scan_bytes(&c, &t) < UINT32_MAX);
	c.ac[0][0x0f] = 1;
	CHECK_INT(scan_bytes(&c, &t), UINT32_MAX);
}

TEST_MAIN(test_limit, test_optimal, test_degenerate, test_tables, test_no_code)
