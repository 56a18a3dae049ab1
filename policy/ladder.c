#include "policy/ladder.h"

#include <stdlib.h>

#include "common/macros.h"

const uint8_t LADDER[LADDER_RUNGS] = {2, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 95};

int ladder_for(int own_quality, int min_quality, int max_quality, uint8_t ret[RUNGS_MAX])
{
	int n = 0, top = MIN(own_quality, max_quality);

	for (int i = 0; i < LADDER_RUNGS; i++)
		if (LADDER[i] >= min_quality && LADDER[i] < top)
			ret[n++] = LADDER[i];
	if (n == 0 || top >= min_quality)
		ret[n++] = (uint8_t)top;
	return n;
}

/* Quantisation steps in percent of the standard's, as the IJG library scales them. */
static double step_scale(int quality)
{
	return quality < 50 ? 5000.0 / quality : MAX(200.0 - 2.0 * quality, 1.0);
}

bool ladder_step_allowed(int from_quality, int to_quality)
{
	return step_scale(to_quality) >= 2.8 * step_scale(from_quality);
}

int ladder_nearest(int quality)
{
	int best = 0;

	for (int i = 1; i < LADDER_RUNGS; i++)
		if (abs(LADDER[i] - quality) < abs(LADDER[best] - quality))
			best = i;
	return best;
}

bool ladder_has(int quality)
{
	return LADDER[ladder_nearest(quality)] == quality;
}
