/*
 * The ladder: JPEG qualities to choose from, lowest first. An image's own quality, when the ladder
 * lacks it, is its top rung.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LADDER_RUNGS 14
#define RUNGS_MAX    (LADDER_RUNGS + 1)

extern const uint8_t LADDER[LADDER_RUNGS];

/*
 * The qualities an image may be stored at: the ladder within [min, max] and below its own quality,
 * then own quality itself when it is within the limits. Never empty: when everything is out of
 * limits, the nearest of min and own is the only one. Returns how many.
 */
int ladder_for(int own_quality, int min_quality, int max_quality, uint8_t ret[RUNGS_MAX]);

/*
 * Whether an image stored at one quality may be re-quantised to another: when the steps grow about
 * threefold at least. By less, a coefficient that was rounded up to one step is rounded up again and
 * again, and grows from noise to 100 in a few stages. 95 80 40 10 2 is the longest way down.
 */
bool ladder_step_allowed(int from_quality, int to_quality);

/* The index in LADDER of the rung nearest to quality; and whether it is that quality's own. */
int ladder_nearest(int quality);
bool ladder_has(int quality);
