#include "common/sha256_blocks.h"

#include <string.h>

#if defined(__x86_64__) && !defined(LARDER_BASELINE)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__aarch64__) && !defined(LARDER_BASELINE)
#include <arm_neon.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

static const uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t ror(uint32_t x, int n)
{
	return (x >> n) | (x << (32 - n));
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Round r of eight: word n of the standard's a to h is v[(n - r) mod 8] by then. */
static inline __attribute__((always_inline)) void sha256_round(uint32_t v[8], int r, uint32_t in)
{
	uint32_t a = v[(0 - r) & 7], b = v[(1 - r) & 7], c = v[(2 - r) & 7];
	uint32_t e = v[(4 - r) & 7], f = v[(5 - r) & 7], g = v[(6 - r) & 7];
	uint32_t *d = &v[(3 - r) & 7], *h = &v[(7 - r) & 7];

	*h += (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) + in;
	*d += *h;
	*h += (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
}

static void plain_block(uint32_t h[8], const uint8_t *p)
{
	uint32_t w[64], v[8];

	for (int i = 0; i < 16; i++)
		w[i] = be32(p + 4 * i);
	for (int i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];

		w[i] = w[i - 16] + (ror(a, 7) ^ ror(a, 18) ^ (a >> 3)) + w[i - 7] +
			(ror(b, 17) ^ ror(b, 19) ^ (b >> 10));
	}
	memcpy(v, h, sizeof(v));
	for (int i = 0; i < 64; i += 8) /* the eight words change places by their names, not in memory */
		for (int r = 0; r < 8; r++)
			sha256_round(v, r, K[i + r] + w[i + r]);
	for (int i = 0; i < 8; i++)
		h[i] += v[i];
}

void sha256_blocks_plain(uint32_t state[8], const uint8_t *p, size_t blocks)
{
	for (; blocks; blocks--, p += SHA256_BLOCK)
		plain_block(state, p);
}

#if defined(__x86_64__) && !defined(LARDER_BASELINE)
#define MADE_FOR __attribute__((target("sha,sse4.1")))

/* Words 16 and on from the sixteen before: four at a time, the oldest in w0. */
MADE_FOR static inline __m128i next_words(__m128i w0, __m128i w1, __m128i w2, __m128i w3)
{
	__m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4));

	return _mm_sha256msg2_epu32(sum, w3);
}

/*
 * The instructions want the state's words a b e f in one register, from its upper end on, and c d g h in
 * another; in memory they are a b c d and e f g h from the lower end on.
 */
MADE_FOR static void own_blocks(uint32_t state[8], const uint8_t *p, size_t blocks)
{
	const __m128i big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
	__m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
	__m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
	__m128i abef = _mm_alignr_epi8(abcd, efgh, 8), cdgh = _mm_blend_epi16(efgh, abcd, 0xf0);

	for (; blocks; blocks--, p += SHA256_BLOCK) {
		const __m128i abef_before = abef, cdgh_before = cdgh;
		__m128i w[4];

		for (int i = 0; i < 4; i++)
			w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(p + 16 * i)), big_endian);
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) {
			__m128i in = _mm_add_epi32(w[i % 4], _mm_loadu_si128((const __m128i *)(K + 4 * i)));

			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, in); /* two rounds: the new a b e f */
			abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(in, 0x0e));
			w[i % 4] = next_words(w[i % 4], w[(i + 1) % 4], w[(i + 2) % 4], w[(i + 3) % 4]);
		}
		abef = _mm_add_epi32(abef, abef_before);
		cdgh = _mm_add_epi32(cdgh, cdgh_before);
	}
	abef = _mm_shuffle_epi32(abef, 0x1b);
	cdgh = _mm_shuffle_epi32(cdgh, 0xb1);
	_mm_storeu_si128((__m128i *)state, _mm_blend_epi16(abef, cdgh, 0xf0));
	_mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(cdgh, abef, 8));
}

static int has_own(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
		return 0;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_SHA;
}
#elif defined(__aarch64__) && !defined(LARDER_BASELINE)
__attribute__((target("+crypto"))) static void own_blocks(uint32_t state[8], const uint8_t *p, size_t blocks)
{
	uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4);

	for (; blocks; blocks--, p += SHA256_BLOCK) {
		const uint32x4_t abcd_before = abcd, efgh_before = efgh;
		uint32x4_t w[4];

		for (int i = 0; i < 4; i++)
			w[i] = vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(p + 16 * i)));
#pragma GCC unroll 16
		for (int i = 0; i < 16; i++) {
			uint32x4_t in = vaddq_u32(w[i % 4], vld1q_u32(K + 4 * i)), abcd_was = abcd;

			abcd = vsha256hq_u32(abcd, efgh, in); /* four rounds */
			efgh = vsha256h2q_u32(efgh, abcd_was, in);
			w[i % 4] = vsha256su1q_u32(vsha256su0q_u32(w[i % 4], w[(i + 1) % 4]), w[(i + 2) % 4],
				w[(i + 3) % 4]);
		}
		abcd = vaddq_u32(abcd, abcd_before);
		efgh = vaddq_u32(efgh, efgh_before);
	}
	vst1q_u32(state, abcd);
	vst1q_u32(state + 4, efgh);
}

static int has_own(void)
{
	return (getauxval(AT_HWCAP) & HWCAP_SHA2) != 0;
}
#else
#define own_blocks sha256_blocks_plain

static int has_own(void)
{
	return 0;
}
#endif

void sha256_blocks(uint32_t state[8], const uint8_t *p, size_t blocks)
{
	static int own = -1; /* whoever comes first asks; all would find the same */
	int known = __atomic_load_n(&own, __ATOMIC_RELAXED);

	if (known < 0)
		__atomic_store_n(&own, known = has_own(), __ATOMIC_RELAXED);
	if (known)
		own_blocks(state, p, blocks);
	else
		sha256_blocks_plain(state, p, blocks);
}
