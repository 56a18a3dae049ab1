/*
 * Scoring: from coefficients and a network to a curve. Every rung's size is estimated; the network
 * is asked about a few rungs, then about those between two that it answers differently; what lies
 * between two that are within 0.005 nats is interpolated. Divergence is KL(answer to the capture ||
 * answer to the rung), from softmax outputs; with a known class the difference of cross-entropies
 * is given too. Pure computation on the caller's memory.
 */
#pragma once

#include "common/codec/input.h"
#include "common/net/net.h"
#include "policy/predict.h"
#include "policy/shared.h"

struct scorer {
	struct net_shape shape;
	const float *params;   /* borrowed; NULL: rates only, or guesses */
	struct net_work *work; /* owned */
	struct input_maker *maker; /* owned */
	uint8_t *rgb;	       /* [RUNGS_MAX + 1][S][S][3]; owned */
	float *logits;	       /* [RUNGS_MAX + 1][K]; owned */
	struct coef_image rung; /* scratch */
	bool every_rung;	/* asks the network about all rungs, for comparison */
	bool few_rates;		/* counts the bytes of every sixth rung only */
	const struct buf *file; /* borrowed: the image as it came, a JPEG that jpeg_strip() has made; NULL: it
				   is not known any more. Of few rates without a network's answers its bytes
				   are taken for the only one that is needed; loose, it is stored as it is */
	bool guess;		/* guesses divergences where there is no network: scorer_set_input() */
	int64_t asked;		/* pictures that went through the network */
	struct features *features; /* borrowed; when not NULL, score() fills it */
	struct table_set shared;   /* the newest; id 0: none yet */
	const struct table_set *sets; /* [n_sets]; borrowed: older ones, for what has their steps already */
	int n_sets;
	uint32_t pack_max; /* bytes: what takes more becomes a file that any program opens; 0: no
			      limit */
};

/* params may be NULL. -ENOMEM. The scorer must be zeroed or used before. */
int scorer_set_model(struct scorer *s, const struct net_shape *shape, const float *params);

/*
 * There is no network yet, but one will look at size x size samples: what a rung changes of those says what
 * it can spoil. When asked to guess, score() gives curves divergences, though they are not scored: 3 r^1.25
 * nats, r being the squared error that the rung adds as a share of the picture's own variance. (A photograph
 * of 384x512 that is looked at in 64x64 loses at quality 10 what one of 32x32 does at 70; measured in
 * DESIGN.md.) -ENOMEM.
 */
int scorer_set_input(struct scorer *s, int size);
void scorer_done(struct scorer *s);

/* Whether a quality means "as captured": the image's own steps, nothing re-quantised. */
bool rung_is_own(const struct coef_image *im, int own_quality, int quality);

/*
 * The tables an image is stored with at a quality: its own when it is kept as captured, else those of
 * the shared set, else the standard ones.
 */
void rung_tables(const struct scorer *s, const struct coef_image *im, int own_quality, int quality,
	struct jpeg_tables *ret);

/*
 * Bytes of the image at a rung, of which the bands (coef.h) suffice, as it is stored: packed with the
 * shared set, or a file.
 */
uint32_t rung_rate(
	const struct scorer *s, const struct coef_image *rung, int quality, bool own_tables, bool *ret_packed);

/*
 * Appends the image at a quality as it is stored; loose: with as little work as that can be done, as a file
 * even if it can be packed. -ENOMEM.
 */
int rung_encode(struct scorer *s, const struct coef_image *im, int own_quality, int quality, bool loose,
	struct buf *b, struct coded *ret);

/*
 * The curve of im over the n given qualities; klass -1 when unknown. lessons, when not NULL, gets
 * what im teaches the packer. -ENOMEM.
 */
int score(struct scorer *s, const struct coef_image *im, int own_quality, const uint8_t *quality,
	int n, int klass, struct pack_lessons *lessons, struct curve *ret);

/* Entropy in nats of a softmax output [k]. */
float answer_entropy(const float *p, int k);

/* KL(p || q) in nats of two softmax outputs [k]. */
float kl_divergence(const float *p, const float *q, int k);
