/* A model's safetensors file. */
#include "common/net/model.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_model_ struct model m = {0}, again = {0};
	_cleanup_buf_ struct buf b = {0};

	if (model_read(data, len, &m) < 0)
		return 0;
	CRASH_UNLESS(model_write(&m, &b) == 0);
	CRASH_UNLESS(model_read(b.data, b.len, &again) == 0);
	CRASH_UNLESS(again.shape.classes == m.shape.classes && again.version == m.version);
	for (int k = 0; k < m.shape.classes; k++)
		CRASH_UNLESS(!strcmp(m.name[k], again.name[k]));
	return 0;
}
