/* What a spool says is waiting, where counting takes longer than a look may. */
#include "daemon/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/unit/test.h"
#include "tests/unit/tree.h"

#define DIRECTORIES 3000
#define PATIENCE_US (20 * US_PER_SEC)

static char base[] = "/tmp/larder-spool-XXXXXX";
static uv_loop_t loop;
static int given;

static bool take(void *user, const char *name)
{
	(void)user, (void)name;
	given++;
	return true;
}

static int64_t look(struct spool *s)
{
	uv_run(&loop, UV_RUN_NOWAIT);
	return spool_count(s);
}

/* Until as many are said to wait, and then for some dozen counts, as long as nothing changes. */
static void settles_at(struct spool *s, int64_t n)
{
	int64_t begin = clock_steady_us(), until;
	int others = 0;

	while (look(s) != n && clock_steady_us() - begin < PATIENCE_US)
		;
	until = 2 * clock_steady_us() - begin + US_PER_SEC;
	for (int i = 0; i < 100 || clock_steady_us() < until; i++)
		others += look(s) != n;
	CHECK_INT(others, 0);
}

/* Directories without number, and one picture that comes and goes. */
static void test_count(void)
{
	char path[128], error[256] = "";
	struct spool *s = NULL;

	CHECK_INT(mkdtemp(base) != NULL, true);
	for (int i = 0; i < DIRECTORIES; i++) {
		snprintf(path, sizeof(path), "%s/d%04d", base, i);
		CHECK_INT(mkdir(path, 0755), 0);
	}
	uv_loop_init(&loop);
	CHECK_INT(spool_open(&loop, base, false, 0, take, NULL, &s, error), 0);
	CHECK_INT(spool_count(s), 1); /* nobody knows yet */
	settles_at(s, 0);
	snprintf(path, sizeof(path), "%s/d%04d/a.jpg", base, DIRECTORIES - 1);
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	settles_at(s, 1);
	CHECK_INT(given > 0, true);
	unlink(path);
	settles_at(s, 0);
	spool_stop(s);
	uv_run(&loop, UV_RUN_DEFAULT);
	spool_free(s);
	uv_loop_close(&loop);
	remove_tree(base);
}

TEST_MAIN(test_count)
