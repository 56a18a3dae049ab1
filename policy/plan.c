#include "policy/plan.h"

#include <math.h>

#include "common/macros.h"

#define BIAS		5e-3 /* per nat^1.5: images^-1 */
#define DIVERGENCE_MIN	1e-3 /* nats: nothing is held without any */
#define STEPS_MIN	8
#define STEPS_PER_NEED	4

double plan_worth(double images, double divergence)
{
	return 1 / (1 / MAX(images, 1e-9) + BIAS * pow(MAX(divergence, 0), 1.5));
}

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
		worth = plan_worth(images, (double)p->kl[i]);
		if (worth > best_worth) {
			best_worth = worth;
			best = (struct plan){LADDER[i], rate, images};
		}
	}
	return best;
}

float plan_price(double divergence, double budget)
{
	return (float)(1 / (1.5 * BIAS * sqrt(MAX(divergence, DIVERGENCE_MIN)) * MAX(budget, 1)));
}

int plan_steps(double need, double mean_bytes, int max)
{
	return (int)CLAMP(STEPS_PER_NEED * need / MAX(mean_bytes, 1), STEPS_MIN, max);
}

int plan_drops(double need, double mean_bytes, double overhead, int max)
{
	return (int)CLAMP(ceil(need / MAX(mean_bytes + overhead, 1)), 1, max);
}
