/* A JPEG capture. */
#include "tests/fuzz/pictures.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	return fuzz_capture(data, len, "\xff");
}
