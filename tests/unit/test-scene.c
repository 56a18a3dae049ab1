/* Near-duplicates, without a file system: which pictures show a scene again, and what rank that gives. */
#include "policy/scene.h"

#include <math.h>

#include "common/rng.h"
#include "policy/member.h"
#include "tests/unit/test.h"

/* A grey picture of 8 x 6 blocks, means base + contrast * noise, noise by seed, shake by other seeds. */
static void draw_scene(struct coef_image *im, uint64_t seed, double contrast, double base, double shake)
{
	struct rng scene, other;

	rng_init(&scene, seed);
	rng_init(&other, seed * 1000 + (uint64_t)(shake * 1e6));
	CHECK_INT(coef_resize(im, 64, 48, 1, 1, 1), 0);
	im->plane[0].quant[0] = 2;
	for (int i = 0; i < 48; i++) {
		double mean = base + contrast * (rng_unit(&scene) - 0.5 + shake * (rng_unit(&other) - 0.5));

		im->plane[0].coef[(size_t)i * DCT_SIZE2] = (int16_t)lround(mean * 8 / 2);
	}
}

static double meet(
	struct scenes *s, uint32_t label, uint64_t seed, double contrast, double base, double shake)
{
	static struct coef_image im;
	struct sketch sketch;

	draw_scene(&im, seed, contrast, base, shake);
	sketch_of(&im, &sketch);
	return scenes_meet(s, label, &sketch, 1000, seed).which;
}

/* So many scenes that a label's past is known. */
static double meet_many(struct scenes *s, uint32_t label, uint64_t n)
{
	double new = 0;

	for (uint64_t seed = 1; seed <= n; seed++)
		new += meet(s, label, seed, 200, 0, 0) == 1;
	return new;
}

/* Bursts are found, in other light too; what is merely similar, or of long ago, repeats nothing. */
static void test_scenes(void)
{
	struct scenes *s = calloc(1, sizeof(*s));

	CHECK(s);
	CHECK(meet_many(s, 1, 300) >= 298);
	CHECK_NEAR(meet(s, 1, 300, 200, 0, 0), 2, 0.2);
	CHECK_NEAR(meet(s, 1, 300, 120, 40, 0.01), 3, 0.2);
	CHECK_NEAR(meet(s, 1, 298, 150, 0, 0), 2, 0.2);
	CHECK_NEAR(meet(s, 1, 300, 200, -20, 0.02), 4, 0.3);
	CHECK_NEAR(meet(s, 2, 300, 200, 0, 0), 1, 0); /* of another label: something else */
	CHECK_NEAR(meet(s, 1, 300, 200, 0, 1.5), 1, 0);
	CHECK_NEAR(meet(s, 1, 50, 200, 0, 0), 1, 0);
	CHECK_NEAR(meet(s, 1, 50, 200, 0, 0), 2, 0.2);
	for (uint32_t label = 10; label < 10 + SCENES_LABELS; label++)
		meet(s, label, label, 200, 0, 0);
	CHECK_NEAR(meet(s, 1, 50, 200, 0, 0), 1, 0); /* forgotten */
	free(s);
}

/* Minutes later it is another event, of whatever time the clock speaks. */
static void test_gap(void)
{
	struct scenes *s = calloc(1, sizeof(*s));
	static const int64_t times[] = {1000, 1200, 900, 1201, INT64_MIN, INT64_MAX, INT64_MAX, 0};
	static const double which[] = {2, 3, 4, 1, 1, 1, 2, 1};
	_cleanup_coef_ struct coef_image im = {0};
	struct sketch sketch;

	CHECK(s);
	meet_many(s, 1, 300);
	draw_scene(&im, 300, 200, 0, 0);
	sketch_of(&im, &sketch);
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		CHECK_NEAR(scenes_meet(s, 1, &sketch, times[i], 0).which, which[i], 0.3);
	free(s);
}

/*
 * A burst is for training or for validation as a whole. Of scenes the share is what was asked for, and of
 * one picture for ever, too: no draw lasts.
 */
static void test_drawn_together(void)
{
	struct scenes *s = calloc(1, sizeof(*s));
	_cleanup_coef_ struct coef_image im = {0};
	int drawn[2] = {0}, apart = 0;
	struct sketch sketch;
	struct rng rng;

	CHECK(s);
	rng_init(&rng, 8);
	for (uint64_t i = 0; i < 8000; i++) {
		uint64_t hash = rng_u64(&rng);
		struct scene_seen seen;

		draw_scene(&im, i < 4000 ? i : 4000, 200, 0, 1e-3 * rng_unit(&rng));
		sketch_of(&im, &sketch);
		seen = scenes_meet(s, 1 + i / 4000, &sketch, 0, hash);
		drawn[i / 4000] += member_is_validation(member_drawn_with(hash, seen.draw), 10);
		for (int shot = 0; i >= 100 && i < 4000 && i % 100 == 0 && shot < 8; shot++) {
			draw_scene(&im, i, 180, 10, 1e-3 * rng_unit(&rng));
			sketch_of(&im, &sketch);
			apart += scenes_meet(s, 1, &sketch, 0, rng_u64(&rng)).draw != seen.draw;
		}
	}
	CHECK(apart < 39 * 8 / 20); /* where a draw ended within a burst */
	CHECK_NEAR(drawn[0], 400, 100);
	CHECK_NEAR(drawn[1], 400, 300);
	CHECK(member_same_content(member_drawn_with(7, 9), 7));
	CHECK(!member_same_content(member_drawn_with(0x70007, 9), 7));
	CHECK_INT(member_rank(member_drawn_with(0x123456789, 0x987654321)), member_rank(0x123456789));
	free(s);
}

/* A picture with nothing in it, and one of fewer blocks than cells. */
static void test_sketch(void)
{
	_cleanup_coef_ struct coef_image im = {0};
	struct sketch sketch;

	draw_scene(&im, 1, 0, 100, 0);
	sketch_of(&im, &sketch);
	for (int i = 0; i < SKETCH_CELLS; i++)
		CHECK_NEAR(sketch.cell[i], 0, 1e-6);
	CHECK_INT(coef_resize(&im, 9, 3, 1, 1, 1), 0); /* two blocks */
	im.plane[0].quant[0] = 16;
	im.plane[0].coef[0] = 20;
	im.plane[0].coef[DCT_SIZE2] = -20;
	sketch_of(&im, &sketch);
	for (int i = 0; i < SKETCH_CELLS; i++) /* half of them 40, the others -40 */
		CHECK_NEAR(
			sketch.cell[i], (i % SKETCH_SIDE < 2 ? 40 : -40) / sqrt(16 * (40 * 40 + 16)), 1e-3);
}

/*
 * Parts on a line: one picture, a little different each time. A belt that stands still is a burst; but not
 * when all look so much alike that sketches tell nothing.
 */
static void test_line(void)
{
	struct scenes *s = calloc(1, sizeof(*s));
	double n = 0, new = 0;

	CHECK(s);
	for (int i = 0; i < 300; i++)
		new += meet(s, 1, 7, 200, 0, 0.2 + i * 1e-4) == 1;
	CHECK(new > 290);
	for (int i = 0; i < 20; i++)
		n = meet(s, 1, 7, 200 - i, 0, 0.1);
	CHECK_NEAR(n, 16.4, 0.5); /* a little of it is forgotten already */
	for (int i = 0; i < 300; i++)
		CHECK_NEAR(meet(s, 2, 7, 200, 0, 0.02 + i / 2 * 1e-4), 1, 0);
	free(s);
}

/*
 * A camera that stands still, in the light of day and of a lamp by turns; what passes takes a cell of
 * sixteen. All pictures of a light look much alike, and none repeats another.
 */
static void test_camera(void)
{
	struct scenes *s = calloc(1, sizeof(*s));
	_cleanup_coef_ struct coef_image im = {0};
	struct rng rng;
	int repeats = 0;

	CHECK(s);
	rng_init(&rng, 5);
	for (int i = 0; i < 4000; i++) {
		bool night = i / 50 % 2;
		int cell = (int)(rng_u64(&rng) % SKETCH_CELLS), x = cell % 4 * 2, y = cell / 4 * 3 / 2;
		struct sketch sketch;

		draw_scene(&im, night ? 2 : 1, night ? 60 : 200, 0, 0.01 + i * 1e-6);
		for (int j = 0; j < 4; j++) /* the blocks that make most of a cell */
			im.plane[0].coef[(size_t)((y + j / 2) * 8 + x + j % 2) * DCT_SIZE2] +=
				(int16_t)(100 * (rng_unit(&rng) - 0.5));
		sketch_of(&im, &sketch);
		repeats += scene_repeats(scenes_meet(s, 1, &sketch, 0, 0).which, rng_u64(&rng));
	}
	CHECK(repeats < 4000 / 10);
	free(s);
}

/* Of n pictures about 2 SCENE_NEW count as new; the others rank behind all that was shown. */
static void test_repeats(void)
{
	struct rng rng;
	double n = 0;

	rng_init(&rng, 3);
	for (int burst = 0; burst < 100; burst++)
		for (int which = 1; which <= 100; which++) {
			bool repeats = scene_repeats(which, rng_u64(&rng));

			CHECK(which > SCENE_NEW || !repeats);
			n += !repeats;
		}
	CHECK_NEAR(n / 100, 2 * SCENE_NEW - 0.6, 0.4);
	CHECK(member_rank_repeats(8) > member_rank_spent(RANK_SPENT - 2, 0));
	CHECK(member_rank_repeats(RANK_SPENT - 1) <= RANK_MAX);
	CHECK_INT(member_rank_spent(member_rank_repeats(8), 5), member_rank_repeats(8));
	CHECK_INT(scene_rank((struct scene_seen){.which = 1}, 8, UINT64_MAX), 8);
	CHECK_INT(scene_rank((struct scene_seen){.which = 2}, 8, UINT64_MAX), member_rank_follows(8));
	CHECK_INT(scene_rank((struct scene_seen){.which = 99}, 8, UINT64_MAX), member_rank_repeats(8));
}

TEST_MAIN(test_scenes, test_gap, test_drawn_together, test_sketch, test_line, test_camera, test_repeats)
