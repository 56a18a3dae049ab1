#include "policy/scene.h"

#include <math.h>

#include "common/macros.h"
#include "policy/member.h"

#define ALIKE	  0.15 /* of what scenes are apart */
#define APART_MIN 0.02 /* sketches that are nearer to each other than that tell no scenes apart */
#define COMPARED  64   /* pictures that say how far scenes are apart */
#define FADES	  32   /* pictures of a label, after which half of a scene is forgotten */
#define FLAT	  4.0f /* grey levels: deviations below say little */
#define DC_SCALE  8    /* a block's DC for its mean */

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

double scenes_meet(struct scenes *s, uint32_t label, const struct sketch *sketch)
{
	struct label_scenes *l = scenes_of(s, label);
	double sum = 0, least = INFINITY;
	struct scene *scene = NULL;
	int others = l->n;

	l->last = ++s->met;
	l->met++;
	for (int i = 0; i < l->n; i++) {
		double d = squared_distance(&l->v[i].sketch, sketch);

		sum += d;
		if (d < least) {
			least = d;
			scene = &l->v[i];
		}
	}
	if (scene && l->apart >= APART_MIN && least < ALIKE * l->apart) {
		sum -= least;
		others--;
	} else {
		scene = new_scene(l, sketch);
	}
	if (others) {
		l->compared = MIN(l->compared + 1, COMPARED);
		l->apart += (sum / others - l->apart) / (double)l->compared;
	}
	scene->pictures = 1 + scene->pictures * exp2(-(double)(l->met - scene->last) / FADES);
	scene->last = l->met;
	return scene->pictures;
}

bool scene_repeats(double which, uint64_t hash)
{
	return which * which * (double)(hash >> 32) >= SCENE_NEW * SCENE_NEW * 0x1p32;
}

int scenes_rank(struct scenes *s, uint32_t label, const struct sketch *sketch, int rank, uint64_t hash)
{
	return scene_repeats(scenes_meet(s, label, sketch), hash) ? member_rank_repeats(rank) : rank;
}
