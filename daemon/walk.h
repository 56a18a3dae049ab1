/*
 * A walk through the directories below one that can stop at any entry and go on later: what lies there may be
 * more than a loop has time for, or its receiver room. It never follows a link, and holds a descriptor for
 * each level.
 */
#pragma once

#include <dirent.h>
#include <stdbool.h>

#include "daemon/store.h"

#define WALK_DEPTH_MAX 6

enum walk_step {
	WALK_ENTRY,	 /* path: no directory */
	WALK_DIRECTORY,	 /* path: of a directory, "" the first, that is gone into now */
	WALK_UNREADABLE, /* path: of a directory that cannot be; error says why */
	WALK_END,
};

struct walk {
	DIR *level[WALK_DEPTH_MAX + 1]; /* owned; of those gone into */
	size_t length[WALK_DEPTH_MAX + 1]; /* of their paths */
	int depth; /* how many */
	bool begun;
	char path[STORE_PATH_MAX]; /* relative to the first directory */
	int dir_fd;		   /* borrowed until the next step: gone into, or the entry's */
	const char *name;	   /* borrowed: its name there, likewise */
	int error;
};

/* From a walk that is zero or has ended; top stays the caller's, and open as long as the walk is under way. */
enum walk_step walk_next(struct walk *w, int top);

/* Whether it is under way. */
bool walk_begun(const struct walk *w);
void walk_end(struct walk *w);

/* Whether a name may be a capture's or a label's: neither hidden nor still being written. */
bool walk_is_capture_name(const char *name);
