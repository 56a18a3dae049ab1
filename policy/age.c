#include "policy/age.h"

#include <stdlib.h>
#include <string.h>

#include "common/macros.h"

#define PERIOD_MIN_US (60 * 60 * INT64_C(1000000))
#define JUMP_US	      (10 * 60 * INT64_C(1000000))

int64_t age_limit_us(const struct ages *a, const char *label)
{
	int64_t others = 0;

	for (int i = 0; i < a->n; i++) {
		if (label[0] && !strcmp(a->rule[i].label, label))
			return a->rule[i].us;
		if (!strcmp(a->rule[i].label, "*"))
			others = a->rule[i].us;
	}
	return others;
}

int64_t age_period_us(const struct ages *a)
{
	int64_t least = INT64_MAX;

	for (int i = 0; i < a->n; i++)
		least = MIN(least, a->rule[i].us);
	return a->n ? MAX(least / 30, PERIOD_MIN_US) : 0;
}

bool age_clock_trusted(struct age_clock *c, int64_t wall_us, int64_t steady_us)
{
	int64_t off = (wall_us - c->wall_us) - (steady_us - c->steady_us);

	if (!c->wall_us || llabs(off) > JUMP_US)
		c->since_us = steady_us;
	c->wall_us = wall_us;
	c->steady_us = steady_us;
	return steady_us - c->since_us >= AGE_TRUST_US;
}
