#include "policy/steps.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/codec/input.h"

#define FLOOR 1e-3 /* of the largest sensitivity: below it all are alike */
#define BISECTIONS 40
#define BASE_ONE   1024 /* table_set.base's and .factor's unit */
#define FACTOR_ONE 65536

/* im as coefficients at a step of 1, and a second copy to disturb. */
static int unit_copies(const struct coef_image *im, struct coef_image *unit, struct coef_image *probe)
{
	struct jpeg_tables one;
	int r;

	tables_standard(100, &one);
	for (int t = 0; t < 2; t++)
		for (int k = 0; k < DCT_SIZE2; k++)
			one.quant[t][k] = 1;
	r = coef_requantise(im, &one, unit);
	return r < 0 ? r : coef_requantise(im, &one, probe);
}

/* Quantises frequency k of the planes that table t is for; returns the squared error per block. */
static double disturb(const struct coef_image *unit, struct coef_image *probe, int t, int k, int step)
{
	double sum = 0, blocks = 0;

	for (int i = t ? 1 : 0; i < (t ? unit->n_planes : 1); i++) {
		const struct coef_plane *from = &unit->plane[i];
		int64_t n = (int64_t)from->blocks_w * from->blocks_h;

		for (int64_t b = 0; b < n; b++) {
			int v = from->coef[b * DCT_SIZE2 + k];
			int q = (abs(v) + step / 2) / step * step * (v < 0 ? -1 : 1);

			probe->plane[i].coef[b * DCT_SIZE2 + k] = (int16_t)CLAMP(q, -32767, 32767);
			sum += (double)(q - v) * (q - v);
		}
		blocks += (double)n;
	}
	return blocks > 0 ? sum / blocks : 0;
}

static void restore(const struct coef_image *unit, struct coef_image *probe, int t, int k)
{
	for (int i = t ? 1 : 0; i < (t ? unit->n_planes : 1); i++) {
		int64_t n = (int64_t)unit->plane[i].blocks_w * unit->plane[i].blocks_h;

		for (int64_t b = 0; b < n; b++)
			probe->plane[i].coef[b * DCT_SIZE2 + k] = unit->plane[i].coef[b * DCT_SIZE2 + k];
	}
}

static void add_magnitudes(const struct coef_image *unit, struct sensitivity *sum)
{
	for (int i = 0; i < unit->n_planes; i++) {
		const struct coef_plane *p = &unit->plane[i];
		int64_t n = (int64_t)p->blocks_w * p->blocks_h;
		double share = 1.0 / ((double)n * (i ? unit->n_planes - 1 : 1));

		for (int64_t b = 0; b < n; b++)
			for (int k = 0; k < DCT_SIZE2; k++)
				sum->magnitude[i > 0][k] += abs(p->coef[b * DCT_SIZE2 + k]) * share;
	}
}

/* Frequencies first.. of table t through the network as one batch; input 0 is the image itself. */
static int probe_batch(struct scorer *s, const struct coef_image *unit, struct coef_image *probe,
	const struct jpeg_tables *at, int t, int first, struct sensitivity *sum)
{
	int size = s->shape.size, classes = s->shape.classes, n = MIN(RUNGS_MAX, DCT_SIZE2 - first), r = 0;
	size_t input = (size_t)size * (size_t)size * 3;

	for (int i = 0; r == 0 && i < n; i++) {
		int k = first + i;

		sum->error[t][k] += disturb(unit, probe, t, k, at->quant[t][JPEG_NATURAL_ORDER[k]]);
		r = input_from_coef(probe, size, s->rgb + (size_t)(i + 1) * input);
		restore(unit, probe, t, k);
	}
	if (r < 0)
		return r;
	net_forward(s->work, s->rgb, n + 1, s->logits);
	for (int i = 0; i <= n; i++)
		softmax(s->logits + i * classes, classes);
	for (int i = 0; i < n; i++)
		sum->kl[t][first + i] +=
			(double)kl_divergence(s->logits, s->logits + (i + 1) * classes, classes);
	return 0;
}

int sensitivity_add(struct scorer *s, const struct coef_image *im, struct sensitivity *sum)
{
	_cleanup_coef_ struct coef_image unit = {0}, probe = {0};
	struct jpeg_tables at;
	int r = unit_copies(im, &unit, &probe);

	tables_standard(PROBE_QUALITY, &at);
	if (r == 0)
		r = input_from_coef(&unit, s->shape.size, s->rgb);
	for (int t = 0; r == 0 && t < (unit.n_planes > 1 ? 2 : 1); t++) {
		for (int first = 0; r == 0 && first < DCT_SIZE2; first += RUNGS_MAX)
			r = probe_batch(s, &unit, &probe, &at, t, first, sum);
		sum->planes[t]++;
	}
	if (r < 0)
		return r;
	add_magnitudes(&unit, sum);
	sum->images++;
	return 0;
}

void sensitivity_merge(struct sensitivity *to, const struct sensitivity *from)
{
	to->images += from->images;
	for (int t = 0; t < 2; t++) {
		to->planes[t] += from->planes[t];
		for (int k = 0; k < DCT_SIZE2; k++) {
			to->kl[t][k] += from->kl[t][k];
			to->error[t][k] += from->error[t][k];
			to->magnitude[t][k] += from->magnitude[t][k];
		}
	}
}

/* Bits that steps scaled by f take, by the entropy of a quantised Laplacian at each frequency. */
static double bits_at(const struct sensitivity *s, double step[2][DCT_SIZE2], double f)
{
	double sum = 0;

	for (int t = 0; t < 2; t++)
		for (int k = 0; k < DCT_SIZE2; k++) {
			double scale = s->magnitude[t][k] / MAX(s->planes[t], 1), zero, x;

			if (scale < 1e-6)
				continue;
			/* Probability of a coefficient beyond half a step, and what its level takes. */
			zero = CLAMP(step[t][k] * f, 1.0, (double)STEP_MAX) / scale;
			x = MIN(zero, STEP_WRITTEN_MAX / scale);
			sum += (t ? 0.5 : 1) * exp(-zero / 2) *
			       (2 + x / M_LN2 * exp(-x) / (1 - exp(-x)) + zero / 2);
		}
	return sum;
}

/* Steps of quality 1..100's standard tables, in zigzag order. */
static void standard_steps(int quality, double ret[2][DCT_SIZE2])
{
	uint16_t quant[DCT_SIZE2];

	for (int t = 0; t < 2; t++) {
		tables_standard_quant(quality, t, quant);
		for (int k = 0; k < DCT_SIZE2; k++)
			ret[t][k] = quant[JPEG_NATURAL_ORDER[k]];
	}
}

/* Steps but for a factor; the smallest is 1. */
static void relative_steps(const struct sensitivity *s, double power, double ret[2][DCT_SIZE2])
{
	double top = 0;

	for (int t = 0; t < 2; t++)
		for (int k = 0; k < DCT_SIZE2; k++) {
			ret[t][k] = s->error[t][k] > 0 ? s->kl[t][k] / s->error[t][k] : 0;
			top = MAX(top, ret[t][k]);
		}
	for (int t = 0; t < 2; t++)
		for (int k = 0; k < DCT_SIZE2; k++)
			ret[t][k] = pow(MAX(ret[t][k] / MAX(top, 1e-30), FLOOR), -power);
}

/* The factor at which relative steps take the bits of the standard ones. */
static double factor_for(const struct sensitivity *s, double step[2][DCT_SIZE2], int quality)
{
	double standard[2][DCT_SIZE2], want, low = 1e-4, high = STEP_MAX;

	standard_steps(quality, standard);
	want = bits_at(s, standard, 1);
	for (int i = 0; i < BISECTIONS; i++) {
		double f = sqrt(low * high);

		if (bits_at(s, step, f) > want)
			low = f;
		else
			high = f;
	}
	return high;
}

void steps_make(const struct sensitivity *s, int quality, double power, struct jpeg_tables *ret)
{
	double step[2][DCT_SIZE2], factor;

	relative_steps(s, power, step);
	factor = factor_for(s, step, quality);
	for (int t = 0; t < 2; t++)
		for (int k = 0; k < DCT_SIZE2; k++)
			ret->quant[t][JPEG_NATURAL_ORDER[k]] =
				(uint16_t)CLAMP(lround(step[t][k] * factor), 1, STEP_MAX);
}

void steps_make_set(const struct sensitivity *s, double power, struct table_set *ret)
{
	double step[2][DCT_SIZE2];

	relative_steps(s, power, step);
	for (int t = 0; t < 2; t++)
		for (int k = 0; k < DCT_SIZE2; k++)
			ret->base[t][k] =
				(uint16_t)CLAMP(lround(step[t][k] * BASE_ONE), 1, UINT16_MAX);
	for (int i = 0; i < LADDER_RUNGS; i++)
		ret->factor[i] = (uint32_t)lround(factor_for(s, step, LADDER[i]) * FACTOR_ONE);
	ret->made = true;
	table_set_steps(ret);
}
