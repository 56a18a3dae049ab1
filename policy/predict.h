/*
 * A predictor that stands in for the network when there is no time for it: from what compression does
 * to an image's coefficients to the divergence that the network would report. Ridge regression
 * (Hoerl and Kennard 1970) of log divergence, one per LADDER rung, learnt on the device from images
 * that were scored in full; old ones fade, so that it follows the model and the stream.
 *
 * Features of an image at a rung: log of its coefficients' energy and of the energy that the rung
 * takes away, each in bands of frequency, and log of the rate. No network is asked.
 */
#pragma once

#include "common/codec/coef.h"
#include "policy/curve.h"

#define BANDS	      6 /* luma DC, low, middle, high; chroma DC, the rest */
#define FEATURES      (2 * BANDS + 2)
#define PREDICTOR_MIN 100 /* images before it says anything */

/* What predicts one image's curve: energies per block, in squared coefficient units. */
struct features {
	int n; /* rungs, those of the curve */
	float energy[BANDS], lost[RUNGS_MAX][BANDS];
};

/*
 * Energy per block of im in each group of frequencies; of the difference im - rung when rung is not NULL.
 * Looks at the bands of MCU rows (coef.h) alone.
 */
void band_energy(const struct coef_image *im, const struct coef_image *rung, float ret[BANDS]);

struct predictor {
	double images; /* learnt from, faded */
	double xx[LADDER_RUNGS][FEATURES][FEATURES], xy[LADDER_RUNGS][FEATURES];
	double yy[LADDER_RUNGS], y[LADDER_RUNGS], weight[LADDER_RUNGS];
	float beta[LADDER_RUNGS][FEATURES];
	bool ready;
};

void predictor_init(struct predictor *p);

/* Learns from a curve scored in full. Solves anew after every so many images. */
void predictor_learn(struct predictor *p, const struct features *f, const struct curve *c);

/* Replaces c's divergences by predicted ones, made monotone; false and nothing done when not ready. */
bool predictor_apply(const struct predictor *p, const struct features *f, struct curve *c);

/* Share of the variance of log divergence explained at a rung, on what was learnt: 0..1. */
double predictor_explains(const struct predictor *p, int rung);
