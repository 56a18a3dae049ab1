/* The payload of a JPEG's APP1 segment. */
#include "common/codec/exif.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int orientation = 1;
	int64_t taken = 0;

	exif_parse(data, len, &orientation, &taken);
	CRASH_UNLESS(orientation >= 1 && orientation <= 8);
	return 0;
}
