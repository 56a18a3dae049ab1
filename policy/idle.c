#include "policy/idle.h"

#include <math.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/parse.h"

#define COOLER_BY  5.0 /* degrees */
#define COOLING_US (2 * 60 * US_PER_SEC) /* after that it is as cool as it gets */

static bool in_hours(const struct hours *h, int minute)
{
	for (int i = 0; i < h->n; i++) {
		int from = h->range[i].from_min, to = h->range[i].to_min;

		if (from <= to ? minute >= from && minute < to : minute >= from || minute < to)
			return true;
	}
	return h->n == 0;
}

static bool above(double value, double limit)
{
	return !isnan(value) && value > limit;
}

static enum idle decide_heat(const struct idle_sample *s, const struct config *c, char *ret_why, size_t size)
{
	double cool = c->idle.max_temp - (s->cooling_us && s->cooling_us < COOLING_US ? COOLER_BY : 0);

	if (!above(s->celsius, cool))
		return IDLE_YES;
	snprintf(ret_why, size, "%.0f degrees; MaxTemp=%g%s", s->celsius, c->idle.max_temp,
		s->cooling_us ? ", cooling down" : "");
	return IDLE_HOT;
}

enum idle idle_decide(const struct idle_sample *s, const struct config *c, char *ret_why, size_t size)
{
	char a[24], b[24];

	if (s->quiet_us < c->idle.quiet_us) {
		snprintf(ret_why, size, "last capture %s ago; QuietSec=%s",
			format_time(s->quiet_us, a, sizeof(a)),
			format_time(c->idle.quiet_us, b, sizeof(b)));
		return IDLE_CAPTURES;
	}
	if (!in_hours(&c->idle.hours, s->minute))
		snprintf(ret_why, size, "%02d:%02d is outside Hours", s->minute / 60, s->minute % 60);
	else if (s->on_battery && !c->idle.on_battery)
		snprintf(ret_why, size, "on battery; OnBattery=no");
	else if (s->on_battery && s->battery < c->idle.min_battery)
		snprintf(ret_why, size, "battery at %.0f%%; MinBattery=%g", s->battery,
			c->idle.min_battery);
	else if (!s->training && above(s->cpu_pressure, c->idle.max_cpu_pressure))
		snprintf(ret_why, size, "CPU pressure %.1f%%; MaxCpuPressure=%g", s->cpu_pressure,
			c->idle.max_cpu_pressure);
	else if (!s->training && above(s->io_pressure, c->idle.max_io_pressure))
		snprintf(ret_why, size, "I/O pressure %.1f%%; MaxIoPressure=%g", s->io_pressure,
			c->idle.max_io_pressure);
	else if (above(s->load_per_core, c->idle.max_load))
		snprintf(ret_why, size, "load %.2f per core; MaxLoad=%g", s->load_per_core,
			c->idle.max_load);
	else
		return decide_heat(s, c, ret_why, size);
	return IDLE_NO;
}
