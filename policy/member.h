/*
 * Membership: which images stay when not all can. Decided apart from fidelity, because choosing by
 * what compresses well keeps only the easy ones.
 *
 * Each image has a rank, uniform by content hash. A stratum (a label's training images, or its
 * validation images) keeps its lowest ranks: bottom-k sampling, a uniform sample without a counter
 * (Cohen and Kaplan 2007). What the network in training has been shown is spent: it ranks behind
 * all that it has not seen, so that what comes is held until it has taught, and among the spent what
 * was shown first goes first: each is shown about as often as the others. A share of each stratum may
 * be lasting instead: the lowest ranks of all its past, which go last. What repeats its scene (scene.h)
 * goes first, and so does what merely follows in it once it was shown. Which stratum gives next brings
 * labels to the root of what came of them: between class-balancing reservoir sampling (Chrysakis and Moens
 * 2020), where the largest gives, and a sample of all that came. With labels as frequent as each other all
 * three are the same; otherwise the root is far better than the former for a network that is asked what
 * comes, and no worse where each label is asked about as often (DESIGN.md, Policy). But a stratum that has
 * bytes to itself does not give while it takes less.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RANK_SPENT	      65536 /* ranks below have not been shown */
#define RANK_LASTING	      (2 * RANK_SPENT) /* from RANK_SPENT to here: shown, and lasting */
#define RANK_SLICES	      16381 /* slices of training told apart in the ranks of what they showed */
#define RANK_REPEATS	      ((RANK_SLICES + 2) * RANK_SPENT) /* from here on: repeats its scene */
#define RANK_MAX	      (RANK_REPEATS + RANK_SPENT - 1)
#define RANK_FOLLOWS	      1 /* set in ranks of what shows a scene that is known */
#define SLICE_LASTING	      (-1)
#define VALIDATION_IMAGES_MAX 2000 /* enough to know an accuracy to a percent */

/* A stratum's number: label id * 2, + 1 for its validation images. Label 0 is "none". */
static inline uint32_t stratum_of(uint32_t label, bool validation)
{
	return label * 2 + validation;
}

static inline uint32_t stratum_label(uint32_t stratum)
{
	return stratum / 2;
}

static inline bool stratum_is_validation(uint32_t stratum)
{
	return stratum & 1;
}

struct stratum {
	uint32_t number;
	int64_t images, bytes, pinned;
	int64_t own;  /* bytes that it has to itself */
	int64_t came; /* captures that came with its label of late; fewer than images: as many as those */
};

/*
 * Rank, not spent, and validation membership of an image from independent bits of its content hash. Those
 * that draw validation images may be another's instead, so that both are drawn or neither (scene.h).
 */
int member_rank(uint64_t hash);
bool member_is_validation(uint64_t hash, double share_percent);
uint64_t member_drawn_with(uint64_t hash, uint64_t other);

/* Whether hashes are of the same content, whatever they were drawn with. */
bool member_same_content(uint64_t a, uint64_t b);

/*
 * The rank when training has been shown the image first in that slice of all, counted from 0, or is
 * to last (SLICE_LASTING). It stays what it is from then on, but for one that no longer lasts.
 * (Beyond RANK_SLICES, tens of millions of images, slices count as one.)
 */
int member_rank_spent(int rank, int64_t slice);

/* The rank of one that is not the first of its scene: unlike that, it goes first once it was shown. */
int member_rank_follows(int rank);

/* The rank of an image that repeats its scene (scene.h): behind all that was shown. */
int member_rank_repeats(int rank);

/*
 * Which of n ranks just shown (ascending) are to last, only the first of scenes may, when `have` others do,
 * the m highest of which are given (descending), and `want` may: those that rank before them. Returns how
 * many of the m, from the first on, no longer last.
 */
int member_choose_lasting(const int *shown, int n, const int *lasting, int m, int64_t have, int64_t want,
	bool *ret_lasts);

/*
 * The stratum to take the next image from, or NULL when none may give: validation while it has more
 * than its share of the bytes or of VALIDATION_IMAGES_MAX, else the training stratum with most
 * images for the root of what came of its label (images without one count as the label most of
 * which came, at most), not going below min_per_class (pinned images included) nor below what is its own.
 * With force neither is heeded.
 */
const struct stratum *member_victim(const struct stratum *s, size_t n, double validation_percent,
	int64_t min_per_class, bool force);

/*
 * Whether a stratum, by its number, is as good as the next to give: the victim itself, or a training
 * stratum about as large. What ranks behind everything in such a stratum need not be let in.
 */
bool member_about_to_give(const struct stratum *s, size_t n, const struct stratum *victim, uint32_t number);
