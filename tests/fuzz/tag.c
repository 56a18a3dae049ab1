/* What the file of an image says of itself (daemon/store_tag.h): as it lies there, and with its checksum made right. */
#include "common/digest.h"
#include "common/wire.h"
#include "daemon/store_tag.h"
#include "tests/fuzz/fuzz.h"

static void read_one(const uint8_t *data, size_t len)
{
	struct tag tag;
	size_t picture = tag_read(data, len, &tag);

	CRASH_UNLESS(picture <= len);
	if (picture == len)
		return;
	CRASH_UNLESS(tag.row.id >= 0 && tag.row.n_harm >= 0 && tag.row.n_harm <= RUNGS_MAX);
	CRASH_UNLESS(memchr(tag.label, 0, sizeof(tag.label)) && memchr(tag.row.name, 0, sizeof(tag.row.name)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_buf_ struct buf b = {0};

	read_one(data, len);
	if (len < 20)
		return 0;
	buf_put(&b, data, len - 20);
	buf_put_u32(&b, (uint32_t)(len - 20));
	buf_put_u32(&b, crc32c(0, data, len - 20));
	buf_put(&b, data + len - 12, 12);
	if (!b.failed)
		read_one(b.data, b.len);
	return 0;
}
