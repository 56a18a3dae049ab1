/*
 * Whether a candidate model replaces the current one: not when it is worse on the same validation
 * images. The two answers are paired, so the allowance is one standard error of the difference
 * (about the binomial one of the candidate); a set too small to tell anything lets pass.
 */
#pragma once

#include <stdbool.h>

/* Accuracies in 0..1 on n images; has_current false when there is nothing to replace. */
bool gate_accepts(double candidate, bool has_current, double current, int n);
