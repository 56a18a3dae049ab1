#include "policy/plan.h"

#include <math.h>

#include "common/macros.h"

#define BIAS		  8.3e-3 /* images^-1 */
#define REPEATS		  15.0	 /* after which a shown image has taught most of what it can */
#define DIVERGENCE_MIN	  1e-3	 /* nats: nothing is held without any */
#define INFORMATION_MIN	  0.05	 /* nats */
#define INFORMATION_PRIOR 1.4
#define TEACHING_SHARE	  0.1 /* of a training's course: see plan.h */
#define STEPS_MIN	  8
#define STEPS_PER_NEED	4

double plan_information(const struct population *p, const double *images, int labels)
{
	double sum = 0, entropy = 0;

	for (int k = 0; k < labels; k++)
		sum += images[k];
	for (int k = 0; k < labels; k++)
		if (images[k] > 0)
			entropy -= images[k] / sum * log(images[k] / sum);
	return p->entropy < 0 ? INFORMATION_PRIOR
			      : MAX(entropy - (double)p->entropy, INFORMATION_MIN);
}

/* How many images training sees when n are held, and its derivative. */
static double seen(const struct regime *r, double n, double *ret_slope)
{
	double while_held = TEACHING_SHARE * r->course, missed, come;

	if (while_held <= 0 || n >= r->offered) {
		*ret_slope = 1;
		return n;
	}
	missed = exp(-n / while_held);
	come = MIN(r->offered - n, r->course);
	*ret_slope = come * missed / while_held + (come < r->course ? missed : 1);
	return n + come * (1 - missed);
}

/* D of n images seen and its derivative. */
static double distinct(const struct regime *r, double n, double *ret_slope)
{
	double again, left;

	if (isinf(r->samples)) {
		*ret_slope = 1;
		return n;
	}
	if (n >= r->samples) {
		*ret_slope = 0;
		return r->samples / (1 + REPEATS);
	}
	again = (r->samples / n - 1) / REPEATS;
	left = exp(-again);
	*ret_slope = (1 + REPEATS * (1 - left) - r->samples / n * left) / (1 + REPEATS);
	return n * (1 + REPEATS * (1 - left)) / (1 + REPEATS);
}

/* D when n images are held, and its derivative by n. */
static double taught(const struct regime *r, double n, double *ret_slope)
{
	double by_held, by_seen, d = distinct(r, seen(r, n, &by_held), &by_seen);

	*ret_slope = by_held * by_seen;
	return d;
}

bool plan_course_pays(double held, double dropped)
{
	return 8 * dropped > held + dropped;
}

double plan_worth(const struct regime *r, double images, double divergence)
{
	double slope, n = taught(r, MAX(images, 1e-9), &slope);

	return 1 / (1 / n + BIAS * pow(MAX(divergence, 0) / r->information, 1.5));
}

struct plan plan_make(const struct population *p, const struct regime *r, double budget,
	double overhead, int min_quality, int max_quality)
{
	struct plan best = {0};
	double best_worth = -INFINITY;

	for (int i = 0; i < LADDER_RUNGS; i++) {
		double rate = (double)p->rate[i], images, worth;

		if (LADDER[i] < min_quality || LADDER[i] > max_quality || rate < 1)
			continue;
		images = MAX(MIN(budget / (rate + overhead), r->offered), 1);
		worth = plan_worth(r, images, (double)p->kl[i]);
		if (worth > best_worth) {
			best_worth = worth;
			best = (struct plan){LADDER[i], rate, images};
		}
	}
	return best;
}

float plan_price(const struct regime *r, double images, double divergence, double budget)
{
	double slope, n = MAX(images, 1), worth = taught(r, n, &slope);
	double dropped = n * n * slope / (worth * worth);
	double degraded = 1.5 * BIAS * sqrt(MAX(divergence, DIVERGENCE_MIN) / r->information) /
			  r->information;

	return (float)(dropped / (degraded * MAX(budget, 1)));
}

float plan_target_price(const struct population *p, const struct plan *plan)
{
	uint32_t rate[LADDER_RUNGS];
	int rung[LADDER_RUNGS + 1], m, at = 0;
	float up, down;

	for (int i = 0; i < LADDER_RUNGS; i++)
		rate[i] = (uint32_t)lroundf(p->rate[i] * RATE_SCALE);
	m = hull(rate, p->kl, LADDER_RUNGS, rung);
	while (at + 1 < m && LADDER[rung[at]] < plan->quality)
		at++;
	up = at + 1 < m ? RATE_SCALE * step_price(rate, p->kl, rung[at], rung[at + 1]) : 0;
	down = at > 0 ? RATE_SCALE * step_price(rate, p->kl, rung[at - 1], rung[at]) : 4 * up;
	return up > 0 ? sqrtf(up * down) : down / 2;
}

int plan_steps(double need, double mean_bytes, int max)
{
	return (int)CLAMP(STEPS_PER_NEED * need / MAX(mean_bytes, 1), STEPS_MIN, max);
}

int plan_drops(double need, double mean_bytes, double overhead, int max)
{
	return (int)CLAMP(ceil(need / MAX(mean_bytes + overhead, 1)), 1, max);
}
