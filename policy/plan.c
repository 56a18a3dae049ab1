#include "policy/plan.h"

#include <math.h>

#include "common/macros.h"

#define FIDELITY_WEIGHT 2.3

struct plan plan_make(const struct population *p, double budget, double overhead, double offered,
	int min_quality, int max_quality)
{
	struct plan best = {0};
	double best_worth = -INFINITY;

	for (int i = 0; i < LADDER_RUNGS; i++) {
		double rate = (double)p->rate[i], images, worth;

		if (LADDER[i] < min_quality || LADDER[i] > max_quality || rate < 1)
			continue;
		images = MAX(MIN(budget / (rate + overhead), offered), 1);
		worth = log(images) - FIDELITY_WEIGHT * (double)p->kl[i];
		if (worth > best_worth) {
			best_worth = worth;
			best = (struct plan){LADDER[i], rate, images};
		}
	}
	return best;
}
