#include "daemon/salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/io.h"
#include "common/log.h"
#include "daemon/daemon.h"
#include "daemon/store_salvage.h"

static int64_t limit_now(const struct config *c)
{
	_cleanup_close_ int fd = open(c->store.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int64_t used = fd < 0 ? 0 : io_tree_bytes(fd);

	return daemon_limit(c, MAX(used, INT64_C(0)));
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
