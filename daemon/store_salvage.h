/*
 * The index made anew, when its own pages are damaged: from the rows that can still be read, and from what the
 * files of large images say of themselves (store_tag.h). Nobody else has the store meanwhile.
 *
 * The old index stays as it is until the new one is whole and on the disk; a kill before leaves all
 * as it was. Both together have to fit the limit, or the new one is made in another place first (scratch):
 * then the old one goes before the new one is copied in, a file `salvage` saying so, with which
 * store_open() refuses the store and store_salvage() goes on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct salvage_report {
	int64_t expected;   /* images that there were by the tally; -1: it cannot be read */
	int64_t from_index; /* rows read whose bytes are there */
	int64_t from_files; /* rows made anew from a file */
	int64_t damaged;    /* rows read without their bytes; files without a row that say nothing */
};

/*
 * Makes the index of the store at path anew within limit bytes. scratch: a directory, or NULL. Refuses
 * (-EUCLEAN) what would keep less than half of what there was, or nobody knows of how much, unless force.
 * -ENOSPC: both do not fit. -EBUSY: a larderd has the store, or somebody reads its index. Always sets error
 * when it fails; ret is set as far as it came.
 */
int store_salvage(const char *path, int64_t limit, const char *scratch, bool force,
	struct salvage_report *ret, char error[256]);
