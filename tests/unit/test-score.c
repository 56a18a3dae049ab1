#include "policy/score.h"
#include "policy/steps.h"

#include "common/codec/input.h"
#include "common/codec/jpeg.h"
#include "tests/unit/pictures.h"
#include "tests/unit/test.h"

static const struct net_shape shape = {32, {4, 6, 8}, 4};

/* Rates are what the encoder will write; the picture itself diverges from itself by nothing. */
static void test_score(void)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0}, rung = {0};
	struct net_layout at;
	struct scorer s = {0};
	struct curve c;
	uint8_t quality[RUNGS_MAX];
	int n = ladder_for(100, 2, 100, quality);
	float *params;

	net_layout(&shape, &at);
	params = malloc(at.total * sizeof(float));
	net_init(&shape, 1, params);
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
	CHECK_INT(scorer_set_model(&s, NULL, NULL), 0);
	CHECK_INT(score(&s, &im, 100, quality, n, -1, NULL, &c), 0);
	CHECK(!c.scored);
	scorer_done(&s);
	free(params);
}

/* A shared set makes small images cheap, and only images with its very steps may use it. */
static void test_shared(void)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0}, rung = {0};
	const struct table_set *set;
	struct symbol_counts counts;
	struct scorer s = {0};
	struct jpeg_tables t;
	uint32_t alone, shared;

	draw(&px, 32, 32, 4);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	tables_standard(20, &t);
	coef_requantise(&im, &t, &rung);
	alone = rung_rate(&s, &rung, 20, false, &counts, &set);
	CHECK(set == NULL);
	s.shared[ladder_nearest(20)] = (struct table_set){20, 7, t};
	huffman_fit(&counts, &s.shared[ladder_nearest(20)].tables);
	shared = rung_rate(&s, &rung, 20, false, &counts, &set);
	CHECK(set && set->id == 7);
	CHECK(shared + 200 < alone);
	rung.plane[0].quant[3]++;
	rung_rate(&s, &rung, 20, true, &counts, &set);
	CHECK(set == NULL);
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
	struct table_set set[LADDER_RUNGS] = {0};
	uint16_t lower[2][DCT_SIZE2];
	struct jpeg_tables tables;
	float *params;

	net_layout(&shape, &at);
	params = malloc(at.total * sizeof(float));
	net_init(&shape, 1, params);
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

			CHECK(tables.quant[0][n] >= 1 && tables.quant[0][n] <= 255);
			CHECK(k < 6 ? tables.quant[0][n] == tables.quant[0][0] : tables.quant[0][n] >= tables.quant[0][0]);
			CHECK(i == LADDER_RUNGS - 1 || tables.quant[0][n] >= lower[0][n]);
		}
		CHECK(LADDER[i] < 10 || LADDER[i] > 80 || tables.quant[1][0] > 2 * tables.quant[0][0]);
		memcpy(lower, tables.quant, sizeof(lower));
	}
	set[3].quality = LADDER[3];
	tables_standard(LADDER[3], &set[3].tables);
	CHECK(!steps_are_made(set));
	set[3].tables.quant[1][7]++;
	CHECK(steps_are_made(set));
	scorer_done(&s);
	free(params);
}

TEST_MAIN(test_score, test_shared, test_kl, test_steps)
