/*
 * A damaged index made anew (daemon/store_salvage.h): by larderd --salvage, told on standard output; and by
 * a larderd that meets the damage. That one starts itself over, so that nobody has the store meanwhile: for
 * the store it is as if it had been killed.
 */
#pragma once

#include <stdbool.h>

#include "daemon/daemon.h"

/* scratch: where there is room for a second index, or NULL. Returns the exit status. */
int salvage_main(const struct config *c, const char *scratch, bool force);

/* Whether AutoSalvage, and an hour since the last time, allow it. */
bool salvage_may_begin(const struct daemon *d);

/*
 * For what reading or writing the index gave: when it says that the index is damaged (-EUCLEAN), and
 * salvage_may_begin(), larderd starts over and does not return.
 */
void salvage_if_damaged(const struct daemon *d, int result);

/* At a start: makes the index anew when the start is for that. */
void salvage_if_begun(const struct config *c);
