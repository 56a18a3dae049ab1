/* The experiments: one row each. */
#pragma once

#include "tools/lab/lab.h"
#include "tools/lab/stream.h"

struct verb {
	const char *name, *help;
	double (*runs)(const struct lab *l);   /* trainings at most */
	double (*scored)(const struct lab *l); /* pictures scored in full at most; NULL: none */
	int (*run)(struct lab *l);
	const char *const *parts; /* that --only names, ended by NULL; NULL: it has none */
};

extern const struct verb verb_quantity, verb_cross, verb_sensitivity, verb_policies, verb_predict,
	verb_bench;

/* report.html from what the verbs left in OUT. */
int report_write(const struct lab *l);

/*
 * The quality of each class whose mean curves, at one price, are worth most under a budget by the
 * plan's estimate. s: a stream with a model. ret: [classes].
 */
int class_qualities(const struct stream *s, double budget, int *ret);
