/* The latest captures and what became of them, for people who watch. In memory only. */
#pragma once

#include <stdint.h>

#include "daemon/store.h"

#define RECENT_MAX 32

enum fate { FATE_STORED, FATE_DUPLICATE, FATE_QUARANTINED, FATE_DROPPED };

struct decision {
	int64_t wall_us;
	int64_t id, captured_bytes;
	uint32_t label, bytes; /* bytes: as stored */
	int quality;
	enum fate fate;
	char name[NAME_KEPT_MAX + 1];
	char why[96]; /* was it not stored; empty: it was, or is there already */
};

struct recent {
	struct decision v[RECENT_MAX]; /* a ring */
	uint64_t n;		       /* ever */
};

void recent_add(struct recent *r, const struct decision *d);

/* The k-th latest, 0 being the last; NULL when there is none. */
const struct decision *recent_get(const struct recent *r, uint64_t k);
const char *fate_name(enum fate f);
