/* Uniform within a class: the mean curve of each, one price for all. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "policy/plan.h"
#include "tools/lab/curves.h"
#include "tools/lab/verbs.h"

#define PRICES 60

/* The class's mean curve over the whole ladder. */
static void mean_curve(const struct population *p, struct curve *ret)
{
	struct curve c = {.n = LADDER_RUNGS, .scored = true};

	for (int i = 0; i < LADDER_RUNGS; i++) {
		c.quality[i] = LADDER[i];
		c.rate[i] = (uint32_t)lroundf(p->rate[i]);
		c.kl[i] = p->kl[i];
	}
	*ret = c;
}

int class_qualities(const struct stream *s, double budget, int *ret)
{
	int classes = s->l->data.classes;
	_cleanup_free_ struct population *p = calloc((size_t)classes, sizeof(*p));
	_cleanup_free_ int *quality = calloc((size_t)classes, sizeof(int));
	double best = -INFINITY;
	struct regime regime = stream_regime(s);

	regime.course = 0; /* trained at the end */
	regime.offered = s->l->data.split[TRAIN].n;
	if (!p || !quality)
		return -ENOMEM;
	for (int k = 0; k < classes; k++)
		population_init(&p[k]);
	for (int i = 0; i < s->l->data.split[TRAIN].n; i++) {
		const struct curve *known = curves_get(s->curves, i);
		struct curve c;

		if (!known)
			continue;
		c = *known;
		curve_make_monotone(&c);
		population_add(&p[s->l->data.split[TRAIN].v[i].label], &c);
	}
	for (int step = 0; step < PRICES; step++) {
		float price = powf(10, -6 + 5.0f * (float)step / PRICES);
		double bytes = 0, harm = 0, worth;

		for (int k = 0; k < classes; k++) {
			struct curve c;
			int at;

			if (p[k].images < 1)
				p[k] = s->population;
			mean_curve(&p[k], &c);
			at = curve_choose(&c, &p[k], price);
			quality[k] = c.quality[at];
			bytes += (double)c.rate[at] + FRAME_BYTES;
			harm += (double)c.kl[at] / classes;
		}
		worth = plan_worth(&regime, MIN(budget / (bytes / classes), regime.offered), harm);
		if (worth > best) {
			best = worth;
			memcpy(ret, quality, (size_t)classes * sizeof(int));
		}
	}
	return 0;
}
