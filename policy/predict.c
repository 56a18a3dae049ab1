#include "policy/predict.h"

#include <math.h>
#include <string.h>

#include "common/macros.h"

#define RIDGE 1.0   /* in images' worth of features of unit size */
#define FADE 0.9999 /* half-life of about 7,000 images */
#define SOLVE_EVERY 50
#define KL_FLOOR 1e-6f
#define LOW_END 6 /* zigzag positions: 1..5 low, 6..20 middle, 21..63 high */
#define MIDDLE_END 21

static int band_of(int plane, int k)
{
	if (plane > 0)
		return k == 0 ? 4 : 5;
	return k == 0 ? 0 : k < LOW_END ? 1 : k < MIDDLE_END ? 2 : 3;
}

/* Squared differences of n blocks from block at on, by frequency. rung NULL: from nothing. */
HOT static void add_energy(const struct coef_plane *a, const struct coef_plane *rung, size_t at, size_t n,
	float sum[DCT_SIZE2])
{
	for (size_t b = at; b < at + n; b++)
		for (int k = 0; k < DCT_SIZE2; k++) {
			int v = a->coef[b * DCT_SIZE2 + k] * a->quant[k] -
				(rung ? rung->coef[b * DCT_SIZE2 + k] * rung->quant[k] : 0);

			sum[k] += (float)v * (float)v;
		}
}

void band_energy(const struct coef_image *im, const struct coef_image *rung, float ret[BANDS])
{
	int apart = coef_band_apart(im), rows = coef_mcu_rows(im);
	int64_t blocks = 0;

	for (int b = 0; b < BANDS; b++)
		ret[b] = 0;
	for (int i = 0; i < im->n_planes; i++) {
		const struct coef_plane *a = &im->plane[i];
		float sum[DCT_SIZE2] = {0};

		for (int my = apart / 2; my < rows; my += apart) {
			int from = my * a->v, to = MIN((my + 1) * a->v, a->blocks_h);
			size_t at = (size_t)from * (size_t)a->blocks_w;
			size_t n = (size_t)(to - from) * (size_t)a->blocks_w;

			add_energy(a, rung ? &rung->plane[i] : NULL, at, n, sum);
			blocks += i == 0 ? (int64_t)n : 0;
		}
		for (int k = 0; k < DCT_SIZE2; k++)
			ret[band_of(i, k)] += sum[k] / (float)blocks;
	}
}

void predictor_init(struct predictor *p)
{
	*p = (struct predictor){0};
}

static void fill_features(const struct features *f, int rung, uint32_t rate, double x[FEATURES])
{
	x[0] = 1;
	x[1] = log(1.0 + rate);
	for (int b = 0; b < BANDS; b++) {
		x[2 + b] = log(1.0 + (double)f->energy[b]);
		x[2 + BANDS + b] = log(1.0 + (double)f->lost[rung][b]);
	}
}

/* The LADDER index of a quality, or -1: an own quality between rungs has no regression. */
static int ladder_index(int quality)
{
	int i = ladder_nearest(quality);

	return LADDER[i] == quality ? i : -1;
}

/* Solves a x = b for symmetric positive definite a by Cholesky's method; false when it is not. */
static bool solve(double a[FEATURES][FEATURES], double b[FEATURES])
{
	for (int i = 0; i < FEATURES; i++)
		for (int j = 0; j <= i; j++) {
			double sum = a[i][j];

			for (int k = 0; k < j; k++)
				sum -= a[i][k] * a[j][k];
			if (i == j && sum <= 0)
				return false;
			a[i][j] = i == j ? sqrt(sum) : sum / a[j][j];
		}
	for (int i = 0; i < FEATURES; i++) {
		for (int k = 0; k < i; k++)
			b[i] -= a[i][k] * b[k];
		b[i] /= a[i][i];
	}
	for (int i = FEATURES - 1; i >= 0; i--) {
		for (int k = i + 1; k < FEATURES; k++)
			b[i] -= a[k][i] * b[k];
		b[i] /= a[i][i];
	}
	return true;
}

static void solve_all(struct predictor *p)
{
	for (int r = 0; r < LADDER_RUNGS; r++) {
		double a[FEATURES][FEATURES], b[FEATURES];

		memcpy(a, p->xx[r], sizeof(a));
		memcpy(b, p->xy[r], sizeof(b));
		for (int i = 0; i < FEATURES; i++)
			a[i][i] += i == 0 ? 1e-6 : RIDGE; /* the mean is not shrunk */
		if (!solve(a, b))
			continue;
		for (int i = 0; i < FEATURES; i++)
			p->beta[r][i] = (float)b[i];
	}
	p->ready = true;
}

void predictor_learn(struct predictor *p, const struct features *f, const struct curve *c)
{
	for (int i = 0; i < c->n; i++) {
		int r = ladder_index(c->quality[i]);
		double x[FEATURES], y = (double)logf(MAX(c->kl[i], KL_FLOOR));

		if (r < 0)
			continue;
		fill_features(f, i, c->rate[i], x);
		for (int j = 0; j < FEATURES; j++) {
			for (int k = 0; k < FEATURES; k++)
				p->xx[r][j][k] = FADE * p->xx[r][j][k] + x[j] * x[k];
			p->xy[r][j] = FADE * p->xy[r][j] + x[j] * y;
		}
		p->yy[r] = FADE * p->yy[r] + y * y;
		p->y[r] = FADE * p->y[r] + y;
		p->weight[r] = FADE * p->weight[r] + 1;
	}
	p->images++;
	if (p->images >= PREDICTOR_MIN && fmod(p->images, SOLVE_EVERY) == 0)
		solve_all(p);
}

bool predictor_apply(const struct predictor *p, const struct features *f, struct curve *c)
{
	float last = 0;

	if (!p->ready)
		return false;
	for (int i = c->n - 1; i >= 0; i--) {
		int r = ladder_index(c->quality[i]);
		double x[FEATURES], y = 0;

		fill_features(f, i, c->rate[i], x);
		for (int j = 0; r >= 0 && j < FEATURES; j++)
			y += (double)p->beta[r][j] * x[j];
		/* Between rungs, as kept in own steps: nothing lost, or as much as the rung above. */
		c->kl[i] = r >= 0 && p->weight[r] >= 1 ? (float)MIN(exp(y), 16.0) : last;
		last = c->kl[i];
	}
	c->scored = true;
	curve_make_monotone(c);
	return true;
}

double predictor_explains(const struct predictor *p, int rung)
{
	double n = p->weight[rung], variance = n > 1 ? p->yy[rung] - p->y[rung] * p->y[rung] / n : 0,
	       left = p->yy[rung];

	for (int j = 0; j < FEATURES; j++) {
		left -= 2 * (double)p->beta[rung][j] * p->xy[rung][j];
		for (int k = 0; k < FEATURES; k++)
			left += (double)p->beta[rung][j] * (double)p->beta[rung][k] * p->xx[rung][j][k];
	}
	return variance > 0 ? CLAMP(1 - left / variance, 0.0, 1.0) : 0;
}
