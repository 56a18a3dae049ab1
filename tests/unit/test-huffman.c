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

/* A fitted table can code every symbol, seen or not. */
static void test_fit(void)
{
	struct symbol_counts seen = {0}, all = {0};
	struct jpeg_tables t;

	seen.dc[0][3] = 100;
	seen.ac[0][0x11] = 500;
	tables_standard(20, &t);
	huffman_fit(&seen, &t);
	for (int s = 0; s < 2; s++) {
		for (int i = 0; i < 12; i++)
			all.dc[s][i] = 1;
		for (int i = 0; i < 256; i++)
			if (i == 0 || i == 0xf0 || ((i & 15) >= 1 && (i & 15) <= 10))
				all.ac[s][i] = 1;
	}
	CHECK(scan_bytes(&all, &t) < UINT32_MAX);
	all.ac[0][0x0f] = 1; /* no such symbol */
	CHECK_INT(scan_bytes(&all, &t), UINT32_MAX);
}

static void test_tables(void)
{
	_cleanup_buf_ struct buf b = {0};
	struct jpeg_tables t, back;

	for (int q = 1; q <= 100; q++) {
		tables_standard(q, &t);
		CHECK_INT(tables_estimate_quality(t.quant[0]), q == 1 ? 1 : q);
		b.len = 0;
		tables_write(&t, &b);
		CHECK_INT(tables_read(b.data, b.len, &back), 0);
		CHECK(!memcmp(&t, &back, sizeof(t)));
	}
	for (size_t len = 0; len < b.len; len++)
		CHECK(tables_read(b.data, len, &back) < 0);
	for (size_t i = 0; i < b.len; i++) { /* damage is refused or harmless, never out of bounds */
		b.data[i] ^= 0x55;
		tables_read(b.data, b.len, &back);
		b.data[i] ^= 0x55;
	}
}

TEST_MAIN(test_limit, test_optimal, test_degenerate, test_fit, test_tables)
