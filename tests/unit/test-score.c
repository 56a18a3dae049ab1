#include <errno.h>

#include "policy/score.h"
#include "policy/steps.h"

#include "common/codec/decode.h"
#include "common/codec/input.h"
#include "tests/unit/pictures.h"
#include "tests/unit/same.h"
#include "tests/unit/test.h"

static const struct net_shape shape = {32, {4, 6, 8}, 4};

/* Parameters of a network that has learnt nothing; the caller frees them. */
static float *untrained(struct net_layout *ret)
{
	float *params;

	net_layout(&shape, ret);
	params = malloc(ret->total * sizeof(float));
	net_init(&shape, 1, params);
	return params;
}

/* Rates are what the encoder will write; the picture itself diverges from itself by nothing. */
static void test_score(void)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0}, rung = {0};
	struct net_layout at;
	struct scorer s = {0};
	struct curve c, few;
	uint8_t quality[RUNGS_MAX];
	int n = ladder_for(100, 2, 100, quality), counted = 0;
	float *params;

	params = untrained(&at);
	draw(&px, 90, 70, 2);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	CHECK_INT(scorer_set_model(&s, &shape, params), 0);
	CHECK_INT(score(&s, &im, 100, quality, n, 2, NULL, &c), 0);
	CHECK_INT(c.n, n);
	CHECK(c.scored);
	CHECK_NEAR(c.kl[n - 1], 0, 1e-7); /* quality 100: every step is 1 */
	CHECK_NEAR(c.loss[n - 1], 0, 1e-6);
	CHECK(c.kl[0] > 1e-6f);
	for (int i = 0; i < n; i++) {
		_cleanup_buf_ struct buf file = {0};
		struct jpeg_tables t;

		CHECK(i == 0 || c.rate[i] > c.rate[i - 1]);
		CHECK(c.kl[i] >= 0);
		tables_standard(quality[i], &t);
		coef_requantise(&im, &t, &rung);
		CHECK_INT(jpeg_write_file(&rung, &t, &file), 0);
		CHECK_NEAR(c.rate[i], file.len, 8 + 0.02 * (double)file.len);
	}
	/* Few rates: those are the same and the others are missing; the network's part does not change. */
	s.few_rates = true;
	CHECK_INT(score(&s, &im, 100, quality, n, 2, NULL, &few), 0);
	for (int i = 0; i < n; i++) {
		CHECK(few.rate[i] == c.rate[i] || few.rate[i] == 0);
		CHECK(few.kl[i] == c.kl[i]);
		counted += few.rate[i] > 0;
	}
	CHECK_INT(counted, (n + 2) / 6);
	s.few_rates = false;
	CHECK_INT(scorer_set_model(&s, NULL, NULL), 0);
	CHECK_INT(score(&s, &im, 100, quality, n, -1, NULL, &c), 0);
	CHECK(!c.scored);
	scorer_done(&s);
	free(params);
}

/* Before there is a network: what compression changes at the size that one will look at. */
static void test_guess(void)
{
	_cleanup_pixels_ struct pixels small = {0}, large = {0};
	_cleanup_coef_ struct coef_image im = {0}, photograph = {0};
	struct net_layout at;
	struct scorer s = {0};
	struct curve c, less, none;
	uint8_t quality[RUNGS_MAX];
	int n = ladder_for(100, 2, 95, quality);
	float *params = untrained(&at);

	draw(&small, 32, 32, 2);
	draw(&large, 512, 384, 2);
	CHECK_INT(pixels_to_coef(&small, &im), 0);
	CHECK_INT(pixels_to_coef(&large, &photograph), 0);
	CHECK_INT(scorer_set_input(&s, 32), 0);
	s.guess = true;
	CHECK_INT(score(&s, &im, 100, quality, n, -1, NULL, &c), 0);
	CHECK_INT(score(&s, &photograph, 100, quality, n, -1, NULL, &less), 0);
	CHECK(!c.scored && !less.scored);
	CHECK(c.entropy < 0);
	for (int i = 0; i < n; i++) {
		CHECK(c.kl[i] > 0 && c.kl[i] <= 3);
		CHECK(i == 0 || c.kl[i] <= c.kl[0]);
		CHECK(less.kl[i] < c.kl[i]);
	}
	CHECK(c.kl[0] > 20 * c.kl[n - 1]);
	s.few_rates = true; /* is another matter */
	CHECK_INT(score(&s, &im, 100, quality, n, -1, NULL, &less), 0);
	CHECK_NEAR(less.kl[0], c.kl[0], 0);
	s.few_rates = s.guess = false;
	CHECK_INT(score(&s, &im, 100, quality, n, -1, NULL, &none), 0);
	CHECK_NEAR(none.kl[0], 0, 0);
	s.guess = true; /* a network knows better */
	CHECK_INT(scorer_set_model(&s, &shape, params), 0);
	CHECK_INT(score(&s, &im, 100, quality, n, -1, NULL, &none), 0);
	CHECK(none.scored);
	s.params = NULL; /* rates alone are wanted */
	s.guess = false;
	CHECK_INT(score(&s, &im, 100, quality, n, -1, NULL, &none), 0);
	CHECK_NEAR(none.kl[0], 0, 0);
	scorer_done(&s);
	free(params);
}

/*
 * Asking about the rungs that differ gives the curve that asking about all gives, to what is not
 * worth asking about; a network that hardly cares is asked about few, one that does about nearly
 * all.
 */
static void test_asking(void)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0};
	struct scorer s = {0};
	struct net_layout at;
	uint8_t quality[RUNGS_MAX];
	int n = ladder_for(100, 2, 95, quality);
	int64_t asked[2];
	float *params;

	params = untrained(&at);
	draw(&px, 90, 70, 2);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	for (int cares = 0; cares < 2; cares++) {
		struct curve every, some;

		for (size_t i = at.linear_weight; i < at.linear_bias; i++)
			params[i] *= cares ? 400 : 0.5f;
		CHECK_INT(scorer_set_model(&s, &shape, params), 0);
		s.every_rung = true;
		s.asked = 0;
		CHECK_INT(score(&s, &im, 100, quality, n, 2, NULL, &every), 0);
		CHECK_INT(s.asked, n + 1);
		s.every_rung = false;
		s.asked = 0;
		CHECK_INT(score(&s, &im, 100, quality, n, 2, NULL, &some), 0);
		asked[cares] = s.asked;
		for (int i = 0; i < n; i++) {
			CHECK_NEAR(some.kl[i], every.kl[i], 0.02 + 0.1 * (double)every.kl[i]);
			CHECK_INT(some.rate[i], every.rate[i]);
		}
		CHECK_NEAR(some.kl[0], every.kl[0], 1e-6);
		CHECK_NEAR(some.kl[n - 1], every.kl[n - 1], 1e-6);
		CHECK(cares ? every.kl[0] > 0.01f : every.kl[0] < 0.005f);
	}
	CHECK(asked[0] < 8 && asked[1] > asked[0] + 2);
	scorer_done(&s);
	free(params);
}

/* A set from what one picture teaches. */
static void teach(const struct coef_image *im, struct table_set *set)
{
	struct pack_lessons l = {0};
	_cleanup_coef_ struct coef_image rung = {0};
	struct jpeg_tables t;

	while (!lessons_want_rungs(&l, im))
		;
	for (int i = 0; i < LADDER_RUNGS; i++) {
		tables_standard(LADDER[i], &t);
		coef_requantise(im, &t, &rung);
		lessons_count(&l, &rung);
	}
	lessons_fit(&l, set);
	table_set_steps(set);
	set->id = 7;
}

/*
 * A shared set makes small images cheap; only images with its very steps may use it, and none that
 * would be too large to be in the index.
 */
static void test_shared(void)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0}, rung = {0};
	struct scorer s = {0};
	struct jpeg_tables t;
	uint32_t alone, shared;
	bool packed;

	draw(&px, 32, 32, 4);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	tables_standard(20, &t);
	coef_requantise(&im, &t, &rung);
	alone = rung_rate(&s, &rung, 20, false, &packed);
	CHECK(!packed);
	teach(&im, &s.shared);
	shared = rung_rate(&s, &rung, 20, false, &packed);
	CHECK(packed);
	CHECK(shared + 200 < alone);
	CHECK_INT(rung_rate(&s, &rung, 20, true, &packed), shared);
	s.pack_max = shared - 1;
	CHECK_INT(rung_rate(&s, &rung, 20, false, &packed), alone);
	CHECK(!packed);
	s.pack_max = 0;
	CHECK(rung_rate(&s, &rung, 21, false, &packed) == alone && !packed); /* no rung */
	rung.plane[0].quant[3]++;
	rung_rate(&s, &rung, 20, true, &packed);
	CHECK(!packed);
	scorer_done(&s);
}

/* Stored sets come back the same; damage is refused or harmless. */
static void test_set_bytes(void)
{
	struct table_set set = {0}, back;
	struct sensitivity made = {0};
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0};

	draw(&px, 32, 32, 4);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	teach(&im, &set);
	made.images = made.planes[0] = made.planes[1] = 100;
	for (int t = 0; t < 2; t++)
		for (int k = 0; k < DCT_SIZE2; k++) {
			made.error[t][k] = 1000;
			made.kl[t][k] = 30.0 / (3 + k + t);
			made.magnitude[t][k] = 100 * (k ? 20.0 / k : 80);
		}
	for (int network = 0; network < 2; network++) {
		_cleanup_buf_ struct buf b = {0};
		struct jpeg_tables t;

		if (network)
			steps_make_set(&made, STEP_POWER, &set);
		table_set_write(&set, &b);
		CHECK_INT(table_set_read(b.data, b.len, &back), 0);
		CHECK(back.made == network && !memcmp(back.quant, set.quant, sizeof(set.quant)));
		CHECK(!memcmp(&back.pack, &set.pack, sizeof(set.pack)));
		for (int i = 0; network && i < LADDER_RUNGS;
			i++) { /* as steps_make() does, to rounding */
			steps_make(&made, LADDER[i], STEP_POWER, &t);
			for (int k = 0; k < DCT_SIZE2; k++)
				CHECK_NEAR(set.quant[i][1][k], t.quant[1][k], 1);
		}
		for (size_t len = 0; len < b.len; len++)
			CHECK_INT(table_set_read(b.data, len, &back), -EBADMSG);
		for (size_t i = 0; i < b.len; i++) {
			b.data[i] ^= 0x55;
			if (table_set_read(b.data, b.len, &back) == 0)
				for (int k = 0; k < DCT_SIZE2; k++)
					CHECK(back.quant[0][0][k] >= 1 &&
						back.quant[0][0][k] <= STEP_MAX);
			b.data[i] ^= 0x55;
		}
	}
}

/* What is written is what the rates said, packed while it may be, and reads back as it was. */
static void test_encode(void)
{
	static const int qualities[] = {2, 20, 50, 95, 100};
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0};
	struct scorer s = {0};

	draw(&px, 48, 40, 4);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	for (int with = 0; with < 3; with++) { /* no set; a set; a set, and nothing may be packed */
		if (with == 1)
			teach(&im, &s.shared);
		s.pack_max = with == 2;
		for (size_t i = 0; i < sizeof(qualities) / sizeof(qualities[0]); i++) {
			_cleanup_coef_ struct coef_image rung = {0}, back = {0};
			_cleanup_buf_ struct buf b = {0};
			int quality = qualities[i];
			struct capture_info info;
			struct jpeg_tables t;
			struct coded coded;
			bool packed;

			buf_put(&b, "before", 6);
			CHECK_INT(rung_encode(&s, &im, 100, quality, false, &b, &coded), 0);
			CHECK_INT(coded.tables, with == 1 && quality < 100 ? s.shared.id : 0);
			rung_tables(&s, &im, 100, quality, &t);
			CHECK_INT(coef_requantise(&im, &t, &rung), 0);
			CHECK_NEAR(rung_rate(&s, &rung, quality, false, &packed), (double)b.len - 6,
				8 + 0.02 * (double)b.len);
			if (with == 1 && quality < 100) {
				CHECK_INT(coef_requantise(&im, &t, &back), 0); /* its geometry and steps */
				memset(back.plane[0].coef, 1, DCT_SIZE2 * sizeof(int16_t));
				CHECK_INT(pack_read(b.data + 6, b.len - 6, &s.shared.pack, &back), 0);
			} else {
				CHECK_INT(jpeg_read(b.data + 6, b.len - 6, INT64_C(1) << 20, &back, &info),
					0);
			}
			CHECK(same_picture(&rung, &back));
		}
	}
	scorer_done(&s);
}

/* What was written at a quality, packed with a set or (NULL) as a file, read back. */
static void read_back(const struct scorer *s, const struct buf *b, const struct table_set *set,
	int quality, struct coef_image *ret)
{
	struct jpeg_tables t;

	if (!set) {
		CHECK_INT(file_decode(b->data, b->len, ret), 0);
		return;
	}
	CHECK(table_set_tables(set, quality, &t));
	CHECK_INT(packed_decode(b->data, b->len, coef_layout(&s->rung), 48, 40, 1, &t, &set->pack, ret), 0);
}

/*
 * Loose, what could be packed is a file, which is packed later: with the newest set's steps, or those of a
 * set before it. What came as a file is stored as that file.
 */
static void test_loose(void)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0}, back = {0}, again = {0};
	_cleanup_buf_ struct buf loose = {0}, packed = {0}, third = {0};
	struct table_set sets[2];
	struct scorer s = {0};
	struct coded coded;

	draw(&px, 48, 40, 4);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	for (int most = 0; most <= 1; most++) { /* there is nothing to pack it with yet */
		s.pack_max = most ? 10000 : 100;
		CHECK_INT(rung_encode(&s, &im, 100, 90, true, &packed, &coded), 0);
		CHECK(!coded.tables && coded.loose == most);
	}
	CHECK_INT(rung_encode(&s, &im, 100, 91, true, &packed, &coded), 0);
	CHECK(!coded.tables && !coded.loose); /* nor will there be */
	s.pack_max = 0;
	packed.len = 0;
	teach(&im, &s.shared);
	sets[0] = s.shared;
	CHECK_INT(rung_encode(&s, &im, 100, 90, true, &loose, &coded), 0);
	CHECK(!coded.tables && coded.loose);
	read_back(&s, &loose, NULL, 90, &back);
	CHECK(same_picture(&s.rung, &back));

	s.shared.id = 8; /* a later set has other steps */
	s.shared.made = true;
	for (int k = 0; k < DCT_SIZE2; k++)
		s.shared.base[0][k] = s.shared.base[1][k] = 3 << 10;
	for (int i = 0; i < LADDER_RUNGS; i++)
		s.shared.factor[i] = 1 << 16;
	table_set_steps(&s.shared);
	CHECK_INT(rung_encode(&s, &back, 90, 90, false, &third, &coded), 0);
	CHECK(!coded.tables && third.len == loose.len);
	third.len = 0;
	sets[1] = s.shared;
	s.sets = sets;
	s.n_sets = 2;
	CHECK_INT(rung_encode(&s, &back, 90, 90, false, &packed, &coded), 0);
	CHECK(coded.tables == 7 && packed.len < loose.len);
	read_back(&s, &packed, &sets[0], 90, &again);
	CHECK(same_picture(&back, &again));

	s.file = &loose; /* as if the capture had come like this */
	CHECK_INT(rung_encode(&s, &back, 90, 90, true, &third, &coded), 0);
	CHECK(coded.loose && third.len == loose.len && !memcmp(third.data, loose.data, loose.len));
	third.len = 0;
	CHECK_INT(rung_encode(&s, &back, 90, 20, true, &third, &coded), 0);
	CHECK(coded.loose && memcmp(third.data, loose.data, loose.len) != 0);
	scorer_done(&s);
}

/* Where rates are asked for few, and no network, what a file takes tells enough. */
static void test_rate_of_file(void)
{
	static const uint8_t quality[] = {20, 50, 90};
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0}, back = {0};
	_cleanup_buf_ struct buf file = {0};
	struct scorer s = {.few_rates = true};
	struct coded coded;
	struct curve c;

	draw(&px, 256, 200, 4);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	teach(&im, &s.shared);
	CHECK_INT(rung_encode(&s, &im, 100, 90, true, &file, &coded), 0);
	CHECK_INT(file_decode(file.data, file.len, &back), 0);
	s.file = &file;
	CHECK_INT(score(&s, &back, 90, quality, 3, -1, NULL, &c), 0);
	CHECK(!c.rate[0] && !c.rate[1]);
	CHECK_NEAR(c.rate[2], 0.8 * (double)file.len, 2);
	s.few_rates = false;
	CHECK_INT(score(&s, &back, 90, quality, 3, -1, NULL, &c), 0);
	CHECK(c.rate[0] && c.rate[1]);
	CHECK_NEAR(c.rate[2], 0.8 * (double)file.len, 0.2 * (double)file.len);
	s.few_rates = true;
	s.file = NULL;
	CHECK_INT(score(&s, &back, 90, quality, 3, -1, NULL, &c), 0);
	CHECK(c.rate[2] && c.rate[2] != (uint32_t)(0.8 * (double)file.len));
	scorer_done(&s);
}

/* A law that holds is found; nothing is said before enough was learnt. */
static void test_predict(void)
{
	enum { LEARNT = 128, ASKED = 20 };
	static struct predictor p;
	struct features f;
	struct scorer s = {.features = &f};
	uint8_t quality[RUNGS_MAX];

	predictor_init(&p);
	CHECK_INT(scorer_set_model(&s, NULL, NULL), 0);
	for (int i = 0; i < LEARNT + ASKED; i++) {
		_cleanup_pixels_ struct pixels px = {0};
		_cleanup_coef_ struct coef_image im = {0};
		int n = ladder_for(i % 4 ? 95 : 63, 2, 95, quality);
		struct curve c, guess;

		draw(&px, 32 + i % 5 * 8, 40, (uint64_t)i);
		CHECK_INT(pixels_to_coef(&px, &im), 0);
		CHECK_INT(score(&s, &im, 100, quality, n, -1, NULL, &c), 0);
		CHECK_INT(f.n, c.n);
		for (int k = 0; k < c.n; k++)
			c.kl[k] = 1e-5f * powf(1 + f.lost[k][2], 0.5f) * powf(1 + f.lost[k][3], 0.7f);
		guess = c;
		CHECK_INT(predictor_apply(&p, &f, &guess), i >= PREDICTOR_MIN);
		if (i < LEARNT)
			predictor_learn(&p, &f, &c);
		for (int k = 0; i >= LEARNT && k < c.n; k++) {
			CHECK(guess.scored && (k == 0 || guess.kl[k] <= guess.kl[k - 1]));
			/* An own quality between rungs is told what the rung above it is, or that nothing
			 * is lost. */
			if (ladder_nearest(c.quality[k]) >= 0 &&
				LADDER[ladder_nearest(c.quality[k])] == c.quality[k])
				CHECK_NEAR(logf(guess.kl[k]), logf(c.kl[k]), 0.1);
			else
				CHECK_INT(guess.kl[k], 0);
		}
	}
	for (int r = 0; r < LADDER_RUNGS; r++)
		CHECK(predictor_explains(&p, r) > 0.9 && predictor_explains(&p, r) <= 1);
	predictor_init(&p);
	CHECK_NEAR(predictor_explains(&p, 0), 0, 1e-9);
	scorer_done(&s);
}

static void test_kl(void)
{
	float p[3] = {0.5f, 0.25f, 0.25f}, q[3] = {0.25f, 0.25f, 0.5f}, zero[3] = {1, 0, 0};

	CHECK_NEAR(kl_divergence(p, p, 3), 0, 1e-7);
	CHECK_NEAR(kl_divergence(p, q, 3), 0.5 * log(2) - 0.25 * log(2), 1e-6);
	CHECK(isfinite(kl_divergence(p, zero, 3)));
}

/* What the network looks at is measured, nothing is left disturbed, and steps follow from it. */
static void test_steps(void)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0};
	struct net_layout at;
	struct scorer s = {0};
	struct sensitivity once = {0}, twice = {0}, made = {0};
	uint16_t lower[2][DCT_SIZE2];
	struct jpeg_tables tables;
	float *params;

	params = untrained(&at);
	draw(&px, 64, 64, 2);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	CHECK_INT(scorer_set_model(&s, &shape, params), 0);
	CHECK_INT(sensitivity_add(&s, &im, &once), 0);
	CHECK_INT(sensitivity_add(&s, &im, &twice), 0);
	CHECK_INT(sensitivity_add(&s, &im, &twice), 0);
	CHECK(once.images == 1 && once.planes[0] == 1 && once.planes[1] == 1);
	for (int t = 0; t < 2; t++)
		for (int k = 0; k < DCT_SIZE2; k++) {
			CHECK_NEAR(twice.kl[t][k], 2 * once.kl[t][k], 1e-9);
			CHECK_NEAR(twice.error[t][k], 2 * once.error[t][k], 1e-6);
		}
	CHECK(once.kl[0][0] > 0);
	sensitivity_merge(&once, &once);
	CHECK_NEAR(once.kl[0][0], twice.kl[0][0], 1e-9);

	/* A network that sees the lowest luma frequencies alone. */
	made.images = made.planes[0] = made.planes[1] = 100;
	for (int t = 0; t < 2; t++)
		for (int k = 0; k < DCT_SIZE2; k++) {
			made.error[t][k] = 1000;
			made.kl[t][k] = t == 0 && k < 6 ? 5 : 0;
			made.magnitude[t][k] = 100 * (k ? 20.0 / k : 80);
		}
	for (int i = LADDER_RUNGS - 1; i >= 0; i--) {
		steps_make(&made, LADDER[i], STEP_POWER, &tables);
		for (int k = 0; k < DCT_SIZE2; k++) {
			int n = JPEG_NATURAL_ORDER[k];

			CHECK(tables.quant[0][n] >= 1 && tables.quant[0][n] <= STEP_MAX);
			CHECK(k < 6 ? tables.quant[0][n] == tables.quant[0][0] : tables.quant[0][n] >= tables.quant[0][0]);
			CHECK(i == LADDER_RUNGS - 1 || tables.quant[0][n] >= lower[0][n]);
		}
		/* At the foot of the ladder, too, what is not looked at goes first, and not what is. */
		CHECK(i || tables.quant[0][63] >= MIN(30 * tables.quant[0][0], STEP_MAX));
		CHECK(LADDER[i] < 10 || LADDER[i] > 80 || tables.quant[1][0] > 2 * tables.quant[0][0]);
		memcpy(lower, tables.quant, sizeof(lower));
	}
	scorer_done(&s);
	free(params);
}

/* A large picture is packed where that fits, and a file otherwise, whether an estimate tells or its bytes. */
static void test_encode_large(void)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0};
	_cleanup_buf_ struct buf whole = {0};
	struct scorer s = {0};
	struct coded coded;

	draw(&px, 1100, 900, 6);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	teach(&im, &s.shared);
	CHECK_INT(rung_encode(&s, &im, 100, 50, false, &whole, &coded), 0);
	CHECK(coded.tables && whole.len > 100);
	for (int i = 0; i < 4; i++) {
		_cleanup_buf_ struct buf b = {0};

		s.pack_max = (uint32_t[]){(uint32_t)whole.len, (uint32_t)whole.len - 1, (uint32_t)whole.len / 2, 1}[i];
		CHECK_INT(rung_encode(&s, &im, 100, 50, false, &b, &coded), 0);
		CHECK_INT(coded.tables, i == 0 ? s.shared.id : 0);
		CHECK(coded.tables ? b.len == whole.len && !memcmp(b.data, whole.data, b.len)
				   : b.len > whole.len && b.data[0] == 0xff && b.data[1] == 0xd8);
	}
	scorer_done(&s);
}

TEST_MAIN(test_score, test_guess, test_asking, test_shared, test_set_bytes, test_encode, test_encode_large,
	test_loose, test_rate_of_file, test_predict, test_kl, test_steps)
