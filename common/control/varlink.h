/*
 * The control protocol's shared half: varlink messages (JSON objects ended by a NUL byte) of the
 * interface io.larder.Control. The daemon serves it, larderctl speaks it.
 */
#pragma once

#include <jansson.h>

#include "common/wire.h"

#define CONTROL_INTERFACE   "io.larder.Control"
#define CONTROL_MESSAGE_MAX (1 << 20)

/* The interface in varlink's description language. */
extern const char CONTROL_DESCRIPTION[];

/* A JSON string of any bytes: what is no UTF-8 appears as \xNN. */
json_t *varlink_text(const char *bytes);

/* Bytes as a JSON string in base64 (RFC 4648), and back. NULL: out of memory. -EBADMSG: it is none.
 */
json_t *varlink_blob(const uint8_t *data, size_t len);
int varlink_blob_read(const json_t *blob, struct buf *ret);

/* Appends the message and its NUL; takes the reference. -ENOMEM. */
int varlink_put(struct buf *b, json_t *message);

/* Length of the first message in data without its NUL, or -1 when none is complete. */
int64_t varlink_find(const uint8_t *data, size_t len);

/*
 * Blocking client. connect: a descriptor or negative errno. call: the reply, or NULL and error; answered:
 * whether the error is what the service answered.
 */
int varlink_connect(const char *socket_path);
json_t *varlink_call(int fd, const char *method, json_t *parameters, bool *ret_answered, char *ret_error,
	size_t size);
