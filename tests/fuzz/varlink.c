/* What a client of the control socket may send, and what larderctl may be answered. */
#include "common/control/varlink.h"
#include "tests/fuzz/fuzz.h"

static void read_message(json_t *message)
{
	const char *method = json_string_value(json_object_get(message, "method"));
	const json_t *parameters = json_object_get(message, "parameters");
	_cleanup_buf_ struct buf bytes = {0}, sent = {0};
	json_t *again;

	if (method)
		json_decref(varlink_text(method));
	varlink_blob_read(json_object_get(parameters, "data"), &bytes);
	CRASH_UNLESS(varlink_put(&sent, json_incref(message)) == 0);
	CRASH_UNLESS(varlink_find(sent.data, sent.len) == (int64_t)sent.len - 1);
	again = json_loadb((const char *)sent.data, sent.len - 1, 0, NULL);
	CRASH_UNLESS(json_equal(message, again));
	json_decref(again);
}

static void write_text(const uint8_t *data, size_t len)
{
	char *text = strndup((const char *)data, len);
	json_t *shown, *blob = varlink_blob(data, len);
	_cleanup_buf_ struct buf again = {0};

	CRASH_UNLESS(text && blob);
	shown = varlink_text(text);
	CRASH_UNLESS(json_is_string(shown));
	CRASH_UNLESS(varlink_blob_read(blob, &again) == 0 && again.len == len);
	CRASH_UNLESS(!len || !memcmp(again.data, data, len));
	json_decref(shown);
	json_decref(blob);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	write_text(data, len);
	for (int64_t end; (end = varlink_find(data, len)) >= 0;) {
		json_t *message =
			json_loadb((const char *)data, (size_t)end, JSON_REJECT_DUPLICATES, NULL);

		if (message)
			read_message(message);
		json_decref(message);
		data += end + 1;
		len -= (size_t)end + 1;
	}
	return 0;
}
