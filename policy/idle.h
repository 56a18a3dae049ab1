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
	bool training;	 /* a trainer is running: its own CPU pressure does not count */
};

/* True when training may run; else why not, for people, in ret_why. */
bool idle_decide(const struct idle_sample *s, const struct config *c, char *ret_why, size_t size);
