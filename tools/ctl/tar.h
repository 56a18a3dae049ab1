/*
 * Tar files (POSIX.1-1988 ustar) in a row, as WebDataset reads them: <stem>-000000.tar, -000001, ... A file
 * is written as .part and gets its name when it is whole and on the disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct tar {
	int dir;	  /* borrowed */
	const char *stem; /* borrowed */
	int number;
	int64_t bytes; /* in the open file */
	FILE *f;       /* NULL: none is open */
	char name[64]; /* of it, for people */
};

void tar_init(struct tar *t, int dir, const char *stem);

/* One member; a file is begun when there is none. Negative errno. */
int tar_add(struct tar *t, const char *name, const void *data, size_t len, int64_t mtime_s);

/* Members that belong together are all there: a file that is large enough ends here. */
int tar_sample_ends(struct tar *t);

/*
 * Ends the row; not whole: the last file stays a .part. What a longer row before it left behind goes,
 * lest it be read with this one.
 */
int tar_finish(struct tar *t, bool whole);
