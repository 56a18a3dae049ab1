#include "policy/plan.h"

#include <math.h>

#include "common/macros.h"

#define FIDELITY_WEIGHT 2.3
#define MEAN_SLACK	1.02 /* mean bytes may be this much over the plan before it degrades */
#define STEPS_MIN	8
#define STEPS_PER_NEED	4

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

bool plan_degrades(const struct plan *p, double mean_bytes)
{
	return p->mean_bytes > 0 && mean_bytes > p->mean_bytes * MEAN_SLACK;
}

int plan_steps(double need, double mean_bytes, int max)
{
	return (int)CLAMP(STEPS_PER_NEED * need / MAX(mean_bytes, 1), STEPS_MIN, max);
}

int plan_drops(double need, double mean_bytes, double overhead, int max)
{
	return (int)CLAMP(ceil(need / MAX(mean_bytes + overhead, 1)), 1, max);
}
