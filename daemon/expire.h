/* Removes images that have been kept for as long as Store.MaxAge says. Loop thread only. */
#pragma once

#include <stdbool.h>

struct daemon;
struct expire;

struct expire *expire_new(struct daemon *d);
void expire_free(struct expire *e);

/* The settings have changed: looks again at once, if the clock can be believed. */
void expire_check(struct expire *e);
void expire_stop(struct expire *e);
