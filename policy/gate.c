#include "policy/gate.h"

#include <math.h>

bool gate_accepts(double candidate, bool has_current, double current, int n)
{
	if (!has_current || n < 1)
		return true;
	return candidate >= current - sqrt(candidate * (1 - candidate) / n);
}
