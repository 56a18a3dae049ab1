/*
 * Curves of captures by one model, kept in OUT/curves so that they are computed once: the network's
 * share of scoring, which is nearly all of its cost. Rates are counted anew each time.
 *
 * A record that was torn by a kill is recognised by its checksum and what follows is written over.
 */
#pragma once

#include "policy/curve.h"
#include "tools/lab/lab.h"

struct curve_file;

/* key names the model; n: captures there are. NULL with the error logged. */
struct curve_file *curves_open(const struct lab *l, const char *key, int n);
void curves_close(struct curve_file *f);

/* The curve of capture i without its rates, or NULL when it was never computed. */
const struct curve *curves_get(const struct curve_file *f, int i);

/* Keeps it; not durable before curves_flush. */
int curves_put(struct curve_file *f, int i, const struct curve *c);
int curves_flush(struct curve_file *f);
