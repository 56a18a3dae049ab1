/* The walk through the spool: everything once, however often it is stopped; no links; no deeper than it may. */
#include "daemon/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/test.h"
#include "tests/unit/tree.h"

static char base[] = "/tmp/larder-walk-XXXXXX";
static int top;

static void make(const char *path)
{
	char part[256];

	for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		mkdirat(top, part, 0755);
	}
	close(openat(top, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
}

static int entries, directories, unreadable, sum;

static void count(const struct walk *w, enum walk_step step)
{
	struct stat st;

	entries += step == WALK_ENTRY;
	directories += step == WALK_DIRECTORY;
	unreadable += step == WALK_UNREADABLE;
	if (step == WALK_ENTRY) {
		CHECK_INT(fstatat(w->dir_fd, w->name, &st, AT_SYMLINK_NOFOLLOW), 0);
		CHECK_INT(faccessat(top, w->path, F_OK, AT_SYMLINK_NOFOLLOW), 0);
		for (const char *p = w->path; *p; p++)
			sum += *p;
	}
}

static void test_walk(void)
{
	struct walk w = {0};
	enum walk_step step;
	int once;

	make("a.png");
	make(".hidden");
	make("b.png.part");
	make("c.tmp");
	make("fox/1.png");
	make("fox/2.png");
	make("fox/.git/no.png");
	make("1/2/3/4/5/6/last.png");
	make("1/2/3/4/5/6/7/too-deep.png");
	make("empty/x");
	unlinkat(top, "empty/x", 0);
	CHECK_INT(symlinkat("fox", top, "link"), 0);
	CHECK_INT(symlinkat("/etc", top, "fox/etc"), 0);
	do
		count(&w, step = walk_next(&w, top));
	while (step != WALK_END);
	CHECK_INT(entries, 6); /* a, 1, 2, last and the links themselves */
	CHECK_INT(directories, 9);
	CHECK_INT(unreadable, 0);
	CHECK(!walk_begun(&w));
	once = sum;

	/* Again from the beginning, with everything that was found gone before the next step. */
	entries = directories = sum = 0;
	while ((step = walk_next(&w, top)) != WALK_END) {
		count(&w, step);
		if (step == WALK_ENTRY)
			CHECK_INT(unlinkat(top, w.path, 0), 0);
	}
	CHECK_INT(entries, 6);
	CHECK_INT(sum, once);

	/* Given up half-way; a directory that may not be read; one that is a link by then. */
	make("fox/1.png");
	CHECK_INT(walk_next(&w, top), WALK_DIRECTORY);
	CHECK(walk_begun(&w));
	walk_end(&w);
	CHECK(!walk_begun(&w));
	entries = directories = 0;
	fchmodat(top, "fox", 0, 0);
	do
		count(&w, step = walk_next(&w, top));
	while (step != WALK_END);
	CHECK_INT(unreadable, geteuid() == 0 ? 0 : 1);
	CHECK_INT(entries, geteuid() == 0 ? 1 : 0);
	fchmodat(top, "fox", 0755, 0);
}

static void test_parent(void)
{
	const char *name;
	int fd;

	make("deep/er/x.png");
	CHECK_INT(symlinkat("deep", top, "shallow"), 0);
	fd = io_open_parent(top, "deep/er/x.png", &name);
	CHECK(fd >= 0);
	CHECK_STR(name, "x.png");
	CHECK_INT(faccessat(fd, name, F_OK, 0), 0);
	close(fd);
	fd = io_open_parent(top, "x", &name);
	CHECK(fd >= 0 && fd != top);
	CHECK_STR(name, "x");
	close(fd);
	fd = io_open_parent(top, "shallow/er/x.png", &name); /* the path of a neighbour's link */
	CHECK(fd == -ENOTDIR || fd == -ELOOP);
	CHECK_INT(io_open_parent(top, "no/er/x.png", &name), -ENOENT);
	CHECK_INT(io_open_parent(top, "deep/er/x.png/y", &name), -ENOTDIR);
}

int main(void)
{
	if (!mkdtemp(base))
		return 1;
	top = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	test_walk();
	test_parent();
	close(top);
	remove_tree(base);
	printf("%d checks, %d failed\n", test_checks, test_failures);
	return test_failures || !test_checks;
}
