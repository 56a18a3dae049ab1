/*
 * Whether the device is idle enough to train: decided here from numbers, measured elsewhere.
 */
#pragma once

#include <stddef.h>

#include "common/config.h"

/* One look at the device. What could not be measured is NAN and allows. */
struct idle_sample {
	int64_t quiet_us;  /* since the last capture */
	double cpu_pressure, io_pressure; /* avg10, percent */
	double load_per_core; /* one minute, the trainer's own threads taken out */
	bool on_battery;
	double battery;	 /* charge, percent */
	double celsius;	 /* hottest zone */
	int minute;	 /* local time, of the day */
	bool training;	 /* a trainer is running: the pressure it makes itself does not count */
	int64_t cooling_us; /* for so long it has been held because it was too hot; 0: it is not */
};

enum idle {
	IDLE_NO,       /* not for a while */
	IDLE_CAPTURES, /* captures have come: what has begun may be held, and go on */
	IDLE_HOT,      /* nothing but the temperature is against it: likewise */
	IDLE_YES,
};

/*
 * Whether training may run; if not why, for people, in ret_why. What is held for its heat goes on when it is
 * some degrees cooler, or nothing cools any more: else it would be stopped and begun again every second.
 */
enum idle idle_decide(const struct idle_sample *s, const struct config *c, char *ret_why, size_t size);
