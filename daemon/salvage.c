#include "daemon/salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/io.h"
#include "common/log.h"
#include "daemon/store_salvage.h"

#define BEGUN	   "LARDER_SALVAGE" /* in the environment of a larderd that starts over */
#define TRIED	   "salvage.tried"  /* in the store: its time is that of the last try */
#define AGAIN_S	   3600		    /* a try reads the whole index, and writes another */
#define PATIENCE_S "3600"	    /* of who supervises us */

static int64_t limit_now(const struct config *c)
{
	_cleanup_close_ int fd = open(c->store.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int64_t used = fd < 0 ? 0 : io_tree_bytes(fd);
	struct disk_space disk;

	io_disk_space(fd, &disk);
	return daemon_limit(c, MAX(used, INT64_C(0)), &disk);
}

static void tell(const struct salvage_report *n)
{
	int64_t kept = n->from_index + n->from_files;

	printf("%" PRId64 " images kept: %" PRId64 " from the old index, %" PRId64 " from their files\n",
		kept, n->from_index, n->from_files);
	if (n->expected > kept)
		printf("%" PRId64 " lost, counted as dropped\n", n->expected - kept);
	if (n->damaged)
		printf("%" PRId64 " of what was found is damaged; files that are went to the quarantine\n",
			n->damaged);
}

int salvage_main(const struct config *c, const char *scratch, bool force)
{
	_cleanup_free_ char *absolute = scratch ? realpath(scratch, NULL) : NULL;
	struct salvage_report report = {0};
	char error[256];
	int r;

	if (scratch && !absolute) {
		log_error("%s: %s", scratch, strerror(errno));
		return 1;
	}
	r = store_salvage(c->store.path, limit_now(c), absolute, force, &report, error);
	if (r < 0) {
		log_error("not salvaged: %s", error);
		return 1;
	}
	tell(&report);
	puts("the index is whole; start larderd, and let larderctl verify read everything back");
	return 0;
}

static void tried_file(const struct config *c, char ret[CONFIG_PATH_MAX + 32])
{
	snprintf(ret, CONFIG_PATH_MAX + 32, "%s/" TRIED, c->store.path);
}

static bool tried_lately(const struct config *c)
{
	char file[CONFIG_PATH_MAX + 32];
	struct stat st;
	time_t now = time(NULL);

	tried_file(c, file);
	return stat(file, &st) == 0 && st.st_mtime <= now && now - st.st_mtime < AGAIN_S;
}

static void note_try(const struct config *c)
{
	char file[CONFIG_PATH_MAX + 32];
	_cleanup_close_ int fd = -1;

	tried_file(c, file);
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0 || futimens(fd, NULL) < 0)
		log_warn("%s: %s", file, strerror(errno));
}

bool salvage_may_begin(const struct daemon *d)
{
	return d->config.store.auto_salvage && !tried_lately(&d->config);
}

void salvage_if_damaged(const struct daemon *d, int result)
{
	if (result != -EUCLEAN || !salvage_may_begin(d))
		return;
	log_error("the index is damaged; starting over to make it anew");
	setenv(BEGUN, "yes", 1);
	execv(d->exe, d->argv);
	log_error("%s: %s", d->exe, strerror(errno));
	unsetenv(BEGUN);
	note_try(&d->config);
}

void salvage_if_begun(const struct config *c)
{
	const char *watchdog = getenv("WATCHDOG_USEC");
	struct salvage_report n = {0};
	char error[256], state[64];

	if (!getenv(BEGUN))
		return;
	unsetenv(BEGUN);
	note_try(c);
	daemon_notify("STATUS=making the index anew\nEXTEND_TIMEOUT_USEC=" PATIENCE_S "000000\n"
		      "WATCHDOG_USEC=" PATIENCE_S "000000");
	if (store_salvage(c->store.path, limit_now(c), NULL, false, &n, error) < 0)
		log_error("not salvaged: %s", error);
	else
		log_warn("the index was made anew: %" PRId64 " images kept, %" PRId64
			 " of them by their files; %" PRId64 " lost, counted as dropped",
			n.from_index + n.from_files, n.from_files,
			MAX(n.expected - n.from_index - n.from_files, INT64_C(0)));
	snprintf(state, sizeof(state), "STATUS=\nWATCHDOG_USEC=%.30s", watchdog ? watchdog : "0");
	daemon_notify(state);
}
