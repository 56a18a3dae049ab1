#include "common/control/varlink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/io.h"

#define REPLY_MAX (64 << 20)

const char CONTROL_DESCRIPTION[] =
	"# Control of larderd: what is stored, why, and what to do about it.\n"
	"interface io.larder.Control\n"
	"\n"
	"# One object; its fields are listed in DESIGN.md, Names that others rely on.\n"
	"method Status() -> (status: object)\n"
	"\n"
	"# Images by id. next: where to go on, absent at the end.\n"
	"method List(label: ?string, quality: ?int, after: ?string, limit: ?int)\n"
	"  -> (images: []object, next: ?string)\n"
	"\n"
	"# One image and the reason for its quality. id: a unique beginning is enough.\n"
	"method Show(id: string) -> (image: object)\n"
	"\n"
	"# The latest captures, newest first, and what became of them. captures: since the start.\n"
	"method Recent() -> (captures: int, decisions: []object)\n"
	"\n"
	"# What would be kept under other limits, in bytes, if the stream goes on as it does. Changes\n"
	"# nothing. worth: as many originals would teach as much.\n"
	"method Plan(max_use: []int) -> (plans: []object)\n"
	"\n"
	"# The image as a complete file, as many bytes in base64 from offset on as one answer "
	"holds.\n"
	"method File(id: string, offset: ?int) -> (data: string, offset: int, size: int)\n"
	"\n"
	"# The whole picture in at most side x side samples, a JPEG in base64, to be shown at width x\n"
	"# height; as it is stored, or as a lower quality would have it.\n"
	"method Preview(id: string, side: int, quality: ?int) -> (data: string, width: int, height: int)\n"
	"\n"
	"# Images without a label that the network knows least about, unlike one another.\n"
	"method Suggest(limit: ?int) -> (images: []object, looked_at: int)\n"
	"\n"
	"# What was stored over time, and every training that ended.\n"
	"method History() -> (samples: []object, trainings: []object)\n"
	"\n"
	"# The current model as a file, safetensors or onnx, in parts as File has them.\n"
	"method Model(format: ?string, offset: ?int) -> (data: string, offset: int, size: int, version: int)\n"
	"\n"
	"# Makes a safetensors file, as Model gives it, the current model. Classes are known by name.\n"
	"method UseModel(data: string) -> (text: string)\n"
	"\n"
	"# Gives images a label; an empty one takes it away.\n"
	"method Label(ids: []string, label: string) -> (changed: int)\n"
	"method Pin(ids: []string) -> (changed: int)\n"
	"method Unpin(ids: []string) -> (changed: int)\n"
	"method Remove(ids: []string) -> (changed: int)\n"
	"\n"
	"# now: without waiting for an idle device. wait: answer when it is over.\n"
	"method Train(now: ?bool, wait: ?bool) -> (text: string)\n"
	"method Pause() -> ()\n"
	"method Resume() -> ()\n"
	"method Reload() -> ()\n"
	"\n"
	"# Gives free pages of the index back to the file system; freed: bytes.\n"
	"method Vacuum() -> (freed: int)\n"
	"\n"
	"# Reads everything back and checks every invariant.\n"
	"method Verify() -> (ok: bool, images: int, bytes: int, findings: []string)\n"
	"\n"
	"# Sets aside images whose bytes are damaged or gone and counts the rest anew. Refused when that\n"
	"# would be more than half of them, unless forced.\n"
	"method Repair(force: ?bool) -> (set_aside: int, mended: int, doubtful: int)\n"
	"\n"
	"error NoSuchImage (id: string)\n"
	"error Ambiguous (id: string)\n"
	"error Failed (reason: string)\n";

json_t *varlink_text(const char *bytes)
{
	json_t *s = json_string(bytes);
	_cleanup_buf_ struct buf b = {0};

	if (s)
		return s;
	for (const unsigned char *p = (const unsigned char *)bytes; *p; p++) {
		char hex[8];

		if (*p < 128)
			buf_put_u8(&b, *p);
		else
			buf_put(&b, hex, (size_t)snprintf(hex, sizeof(hex), "\\x%02x", *p));
	}
	return json_stringn((const char *)b.data, b.len);
}

static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

json_t *varlink_blob(const uint8_t *data, size_t len)
{
	_cleanup_buf_ struct buf b = {0};

	for (size_t i = 0; i < len; i += 3) {
		size_t n = MIN(len - i, (size_t)3);
		uint32_t v = (uint32_t)data[i] << 16 | (n > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
			     (n > 2 ? data[i + 2] : 0);
		const char four[4] = {BASE64[v >> 18], BASE64[v >> 12 & 63],
			n > 1 ? BASE64[v >> 6 & 63] : '=', n > 2 ? BASE64[v & 63] : '='};

		buf_put(&b, four, sizeof(four));
	}
	return b.failed ? NULL : json_stringn(b.len ? (const char *)b.data : "", b.len);
}

int varlink_blob_read(const json_t *blob, struct buf *ret)
{
	const char *s = json_string_value(blob);
	size_t len = json_string_length(blob);

	if (!s || len % 4)
		return -EBADMSG;
	for (size_t i = 0; i < len; i += 4) {
		size_t n = i + 4 < len || s[i + 3] != '=' ? 3 : s[i + 2] != '=' ? 2 : 1;
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			const char *digit = k <= n && s[i + k] ? strchr(BASE64, s[i + k]) : NULL;

			if (k <= n && !digit)
				return -EBADMSG;
			v = v << 6 | (digit ? (uint32_t)(digit - BASE64) : 0);
		}
		for (size_t k = 0; k < n; k++)
			buf_put_u8(ret, (uint8_t)(v >> (16 - 8 * k)));
	}
	return ret->failed ? -ENOMEM : 0;
}

int varlink_put(struct buf *b, json_t *message)
{
	_cleanup_free_ char *text = json_dumps(message, JSON_COMPACT);

	json_decref(message);
	if (!text)
		return -ENOMEM;
	buf_put(b, text, strlen(text) + 1);
	return b->failed ? -ENOMEM : 0;
}

int64_t varlink_find(const uint8_t *data, size_t len)
{
	const uint8_t *nul = len ? memchr(data, 0, len) : NULL;

	return nul ? nul - data : -1;
}

int varlink_connect(const char *socket_path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;

	if (strlen(socket_path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, socket_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static json_t *read_reply(int fd, char *ret_error, size_t size)
{
	_cleanup_buf_ struct buf in = {0};
	int64_t end = -1;
	json_t *reply;

	while (end < 0) {
		uint8_t *to = buf_reserve(&in, 65536);
		ssize_t n = to && in.len < REPLY_MAX ? read(fd, to, 65536) : -1;

		if (n <= 0) {
			snprintf(ret_error, size, "larderd closed the connection");
			return NULL;
		}
		in.len += (size_t)n;
		end = varlink_find(in.data, in.len);
	}
	reply = json_loadb((const char *)in.data, (size_t)end, 0, NULL);
	if (!json_is_object(reply))
		snprintf(ret_error, size, "larderd answered something that is no JSON object");
	return reply;
}

json_t *varlink_call(int fd, const char *method, json_t *parameters, bool *ret_answered, char *ret_error,
	size_t size)
{
	_cleanup_buf_ struct buf out = {0};
	json_t *reply, *result;
	const char *error;
	int r = varlink_put(&out, json_pack("{ss so}", "method", method, "parameters", parameters));

	*ret_answered = false;
	if (r == 0)
		r = io_send_full(fd, out.data, out.len);
	if (r < 0) {
		snprintf(ret_error, size, "cannot ask larderd: %s", strerror(-r));
		return NULL;
	}
	reply = read_reply(fd, ret_error, size);
	if (!reply)
		return NULL;
	*ret_answered = true;
	error = json_string_value(json_object_get(reply, "error"));
	result = json_object_get(reply, "parameters");
	if (error) {
		const char *reason = json_string_value(json_object_get(result, "reason"));
		const char *id = json_string_value(json_object_get(result, "id"));
		const char *dot = strrchr(error, '.');

		if (reason)
			snprintf(ret_error, size, "%s", reason);
		else
			snprintf(ret_error, size, "%s%s%s", dot ? dot + 1 : error, id ? ": " : "",
				id ? id : "");
		json_decref(reply);
		return NULL;
	}
	json_incref(result);
	json_decref(reply);
	return result ? result : json_object();
}
