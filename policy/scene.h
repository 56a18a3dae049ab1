/*
 * Near-duplicates: a camera that stands still takes bursts. The hundredth picture of a scene has next to
 * nothing to tell that the first few did not, but takes as much room and as many showings as one of
 * something new, and scenes are of very unequal length. So what repeats its scene is taken for shown: it
 * stays while there is room, and goes first; and so does all but a scene's first picture once it was shown
 * (member.h).
 *
 * Pictures show one scene when their grey means in four by four cells are alike, brightness and contrast
 * apart, and they were taken within minutes of each other: when the squared distance of the two is less
 * than two fifths of what it is, on average, from the label's pictures to the nearest of what came a while
 * before them. So parts on a line, and the animals that pass a camera which stands still, repeat nothing: what
 * came long before is as near to them as what came last. A picture is compared with the latest few scenes
 * of its label, for repeats come one after another.
 *
 * What may be of one burst must not be on both sides of validation, or the network is asked what it was
 * told. So a picture that is as near to a scene as to what came a while before is drawn with it. That finds
 * most of what belongs together, and much that does not, which leaves the draw as fair as it was but for
 * its luck: so no draw lasts long.
 *
 * Scenes are remembered, not stored: after a restart each is new once more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/codec/coef.h"

#define SKETCH_SIDE   4
#define SKETCH_CELLS  (SKETCH_SIDE * SKETCH_SIDE)
#define SCENES_LATEST 8	  /* of a label */
#define SCENES_PAST   16  /* pictures of a label that say how near others come */
#define SCENES_LABELS 128 /* labels, those met last */

/* Grey means, less their own mean, of length 1; shorter where there is nothing to see. */
struct sketch {
	float cell[SKETCH_CELLS];
};

struct scene {
	struct sketch sketch; /* of the first picture */
	double pictures;      /* of it, of late */
	int64_t last;	      /* when it was met last, in pictures of its label */
	int64_t taken_s;      /* when the last picture of it was taken */
	uint64_t draw;	      /* content hash that says whether it is for validation */
	int64_t drawn;	      /* when that picture was met, in pictures of its label */
};

struct past_picture {
	struct sketch sketch;
	int64_t met; /* when, in pictures of its label */
};

struct label_scenes {
	uint32_t label;
	struct scene v[SCENES_LATEST];
	struct past_picture past[SCENES_PAST]; /* a few of those met, the latest, a ring */
	int n;
	int64_t n_past, next_past; /* of them; when the next one is to be added */
	int64_t met, last; /* pictures; when it was met last, in pictures of all labels */
	int compared;
	double log_apart; /* mean logarithm of the squared distance to the nearest of the past */
};

/* Zeroed: none met yet. */
struct scenes {
	struct label_scenes v[SCENES_LABELS];
	int n;
	int64_t met;
};

void sketch_of(const struct coef_image *im, struct sketch *ret);

struct scene_seen {
	double which;  /* picture of its scene: 1 for one that shows a new one */
	uint64_t draw; /* hash to be drawn for validation with */
};

/*
 * Remembers a picture by its content hash and the time it was taken, in seconds; where nobody knows times,
 * all the same.
 */
struct scene_seen scenes_meet(
	struct scenes *s, uint32_t label, const struct sketch *sketch, int64_t taken_s, uint64_t hash);

/*
 * Whether the which-th picture of a scene is to be taken for shown. The first SCENE_NEW never are, of the
 * later ones fewer and fewer are not, by a content hash: of a scene that ends about 2 SCENE_NEW pictures,
 * and of one that does not about one in a hundred, for what four by four cells do not tell.
 */
#define SCENE_NEW 2
bool scene_repeats(double which, uint64_t hash);

/*
 * The rank of a picture among the images of its label: its own, that of one which follows in its scene, or
 * that of one taken for shown.
 */
int scene_rank(struct scene_seen seen, int rank, uint64_t hash);
