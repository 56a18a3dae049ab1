#include "policy/scene.h"

#include <math.h>

#include "common/macros.h"
#include "policy/member.h"

#define ALIKE	     0.4   /* of what pictures are apart that have nothing to do with each other */
#define APART_MIN    0.003 /* sketches that are nearer to each other than that tell no scenes apart */
#define DISTANCE_MIN 1e-5  /* of two sketches: as good as the same */
#define COMPARED     64	   /* pictures that say how far others are apart */
#define GAP_MAX_S    300   /* a scene that nothing was taken of for longer is over */
#define FADES	     32	   /* pictures of a label, after which half of a scene is forgotten */
#define FLAT	     4.0f  /* grey levels: deviations below say little */
#define DC_SCALE     8	   /* a block's DC for its mean */

/* In pictures of a label; among its first ones the given share of those met. */
#define PAST_AGE   128 /* a half: after that, one has nothing to do with what comes */
#define PAST_EVERY 32  /* an eighth: one in so many is remembered for that */
#define DRAW_MAX   256 /* a quarter: so long a draw lasts */

static float cell_mean(const struct coef_plane *p, int x0, int x1, int y0, int y1)
{
	int64_t sum = 0;

	for (int y = y0; y < y1; y++)
		for (int x = x0; x < x1; x++) {
			size_t at = (size_t)y * (size_t)p->blocks_w + (size_t)x;

			sum += p->dc ? p->dc[at] : p->coef[at * DCT_SIZE2];
		}
	return (float)sum * p->quant[0] / DC_SCALE / (float)((x1 - x0) * (y1 - y0));
}

void sketch_of(const struct coef_image *im, struct sketch *ret)
{
	const struct coef_plane *p = &im->plane[0];
	float mean = 0, length = 0;

	for (int i = 0; i < SKETCH_CELLS; i++) {
		int x = i % SKETCH_SIDE, y = i / SKETCH_SIDE;
		int x0 = x * p->blocks_w / SKETCH_SIDE, x1 = (x + 1) * p->blocks_w / SKETCH_SIDE;
		int y0 = y * p->blocks_h / SKETCH_SIDE, y1 = (y + 1) * p->blocks_h / SKETCH_SIDE;

		ret->cell[i] = cell_mean(p, x0, MAX(x1, x0 + 1), y0, MAX(y1, y0 + 1));
		mean += ret->cell[i] / SKETCH_CELLS;
	}
	for (int i = 0; i < SKETCH_CELLS; i++) {
		ret->cell[i] -= mean;
		length += ret->cell[i] * ret->cell[i];
	}
	length = sqrtf(length + FLAT * FLAT * SKETCH_CELLS);
	for (int i = 0; i < SKETCH_CELLS; i++)
		ret->cell[i] /= length;
}

static double squared_distance(const struct sketch *a, const struct sketch *b)
{
	float sum = 0;

	for (int i = 0; i < SKETCH_CELLS; i++)
		sum += (a->cell[i] - b->cell[i]) * (a->cell[i] - b->cell[i]);
	return (double)sum;
}

/* The label's scenes; those of the label that was not met for longest make room for a new one. */
static struct label_scenes *scenes_of(struct scenes *s, uint32_t label)
{
	struct label_scenes *oldest = &s->v[0];

	for (int i = 0; i < s->n; i++) {
		if (s->v[i].label == label)
			return &s->v[i];
		if (s->v[i].last < oldest->last)
			oldest = &s->v[i];
	}
	if (s->n < SCENES_LABELS)
		oldest = &s->v[s->n++];
	*oldest = (struct label_scenes){.label = label};
	return oldest;
}

static struct scene *new_scene(struct label_scenes *l, const struct sketch *sketch)
{
	struct scene *oldest = &l->v[0];

	for (int i = 1; i < l->n; i++)
		if (l->v[i].last < oldest->last)
			oldest = &l->v[i];
	if (l->n < SCENES_LATEST)
		oldest = &l->v[l->n++];
	*oldest = (struct scene){.sketch = *sketch, .last = l->met};
	return oldest;
}

/* The scene that looks most like it, or NULL. */
static struct scene *nearest_scene(
	struct label_scenes *l, const struct sketch *sketch, int64_t taken_s, double *ret_distance)
{
	struct scene *nearest = NULL;

	*ret_distance = INFINITY;
	for (int i = 0; i < l->n; i++) {
		double d = squared_distance(&l->v[i].sketch, sketch);

		if (d < *ret_distance && fabs((double)taken_s - (double)l->v[i].taken_s) <= GAP_MAX_S) {
			*ret_distance = d;
			nearest = &l->v[i];
		}
	}
	return nearest;
}

/* From what came a while ago: to the nearest; infinite: nothing did. */
static double distance_from_past(const struct label_scenes *l, const struct sketch *sketch)
{
	int64_t age = MIN(l->met / 2, PAST_AGE);
	double least = INFINITY;

	for (int64_t i = 0; i < MIN(l->n_past, SCENES_PAST); i++)
		if (l->met - l->past[i].met >= age)
			least = MIN(least, squared_distance(&l->past[i].sketch, sketch));
	return least;
}

static void remember(struct label_scenes *l, const struct sketch *sketch)
{
	if (l->met < l->next_past)
		return;
	l->past[l->n_past++ % SCENES_PAST] = (struct past_picture){.sketch = *sketch, .met = l->met};
	l->next_past = l->met + CLAMP(l->met / 8, 1, PAST_EVERY);
}

static void learn_apart(struct label_scenes *l, const struct sketch *sketch)
{
	double past = distance_from_past(l, sketch);

	if (!isfinite(past))
		return;
	l->compared = MIN(l->compared + 1, COMPARED);
	l->log_apart += (log(MAX(past, DISTANCE_MIN)) - l->log_apart) / l->compared;
}

static bool draw_lasts(const struct label_scenes *l, const struct scene *scene)
{
	return l->met - scene->drawn < CLAMP(scene->drawn / 4, 1, DRAW_MAX);
}

struct scene_seen scenes_meet(
	struct scenes *s, uint32_t label, const struct sketch *sketch, int64_t taken_s, uint64_t hash)
{
	struct label_scenes *l = scenes_of(s, label);
	double least, apart = l->compared ? exp(l->log_apart) : 0;
	struct scene *scene = nearest_scene(l, sketch, taken_s, &least);
	int64_t drawn = ++l->met;

	l->last = ++s->met;
	if (scene && apart > 2 * DISTANCE_MIN && least < apart && draw_lasts(l, scene)) {
		hash = scene->draw;
		drawn = scene->drawn;
	}
	if (!scene || apart < APART_MIN || least >= ALIKE * apart)
		scene = new_scene(l, sketch);
	learn_apart(l, sketch);
	remember(l, sketch);
	scene->pictures = 1 + scene->pictures * exp2(-(double)(l->met - scene->last) / FADES);
	scene->last = l->met;
	scene->taken_s = taken_s;
	scene->draw = hash;
	scene->drawn = drawn;
	return (struct scene_seen){.which = scene->pictures, .draw = hash};
}

bool scene_repeats(double which, uint64_t hash)
{
	return which * which * (double)(hash >> 32) >= SCENE_NEW * SCENE_NEW * 0x1p32;
}

int scene_rank(struct scene_seen seen, int rank, uint64_t hash)
{
	if (scene_repeats(seen.which, hash))
		return member_rank_repeats(rank);
	return seen.which > 1 ? member_rank_follows(rank) : rank;
}
