/* A settings file. */
#include <sys/mman.h>
#include <unistd.h>

#include "common/config.h"
#include "common/io.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char path[64], error[CONFIG_ERROR_MAX] = "";
	struct config c;
	int fd = memfd_create("settings", MFD_CLOEXEC), r;

	CRASH_UNLESS(fd >= 0 && io_write_full(fd, data, len) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config_init(&c);
	r = config_load(&c, path, true, error);
	if (r == 0)
		r = config_validate(&c, error);
	CRASH_UNLESS(r == 0 || error[0]);
	close(fd);
	return 0;
}
