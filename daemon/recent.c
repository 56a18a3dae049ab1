#include "daemon/recent.h"

void recent_add(struct recent *r, const struct decision *d)
{
	r->v[r->n++ % RECENT_MAX] = *d;
}

const struct decision *recent_get(const struct recent *r, uint64_t k)
{
	return k < r->n && k < RECENT_MAX ? &r->v[(r->n - 1 - k) % RECENT_MAX] : NULL;
}

const char *fate_name(enum fate f)
{
	static const char *const names[] = {"stored", "duplicate", "quarantined", "dropped"};

	return names[f];
}
