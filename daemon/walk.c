#include "daemon/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool walk_is_capture_name(const char *name)
{
	size_t n = strlen(name);

	return name[0] != '.' && !(n > 5 && !strcmp(name + n - 5, ".part")) &&
		!(n > 4 && !strcmp(name + n - 4, ".tmp"));
}

static enum walk_step go_into(struct walk *w, int in, const char *name)
{
	int fd = openat(in, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	w->error = errno;
	if (!d) {
		if (fd >= 0)
			close(fd);
		return WALK_UNREADABLE;
	}
	w->length[w->depth] = strlen(w->path);
	w->level[w->depth++] = d;
	w->dir_fd = dirfd(d);
	return WALK_DIRECTORY;
}

/* Puts name behind the path of the directory that is read; false when that is too long. */
static bool set_path(struct walk *w, const char *name)
{
	size_t at = w->length[w->depth - 1];
	int n = snprintf(w->path + at, sizeof(w->path) - at, "%s%s", at ? "/" : "", name);

	return n > 0 && at + (size_t)n < sizeof(w->path);
}

static bool is_directory(int fd, const struct dirent *e)
{
	struct stat st;

	if (e->d_type != DT_UNKNOWN)
		return e->d_type == DT_DIR;
	return fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

enum walk_step walk_next(struct walk *w, int top)
{
	if (!w->begun) {
		w->begun = true;
		w->path[0] = '\0';
		return go_into(w, top, ".");
	}
	while (w->depth) {
		DIR *d = w->level[w->depth - 1];
		struct dirent *e = readdir(d);

		if (!e) {
			closedir(d);
			w->depth--;
			continue;
		}
		if (!walk_is_capture_name(e->d_name) || !set_path(w, e->d_name))
			continue;
		w->dir_fd = dirfd(d);
		w->name = e->d_name;
		if (!is_directory(w->dir_fd, e))
			return WALK_ENTRY;
		if (w->depth <= WALK_DEPTH_MAX)
			return go_into(w, w->dir_fd, e->d_name);
	}
	w->begun = false;
	return WALK_END;
}

bool walk_begun(const struct walk *w)
{
	return w->begun;
}

void walk_end(struct walk *w)
{
	while (w->depth)
		closedir(w->level[--w->depth]);
	w->begun = false;
}
