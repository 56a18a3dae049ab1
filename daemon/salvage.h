/* larderd --salvage: a damaged index made anew (daemon/store_salvage.h), told on standard output. */
#pragma once

#include <stdbool.h>

#include "common/config.h"

/* scratch: where there is room for a second index, or NULL. Returns the exit status. */
int salvage_main(const struct config *c, const char *scratch, bool force);
