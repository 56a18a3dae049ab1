/* Objects that clients and hooks are told: the fields are a contract (DESIGN.md, and varlink's description). */
#pragma once

#include <jansson.h>

#include "daemon/daemon.h"

#define PART_MAX (512 << 10) /* bytes in one answer, before base64 */

/* One part of a file, from offset on, and how long the whole is. NULL: out of memory. */
json_t *part_json(const uint8_t *data, size_t len, int64_t offset);

/* An image as List has it. */
json_t *image_json(const struct daemon *d, const struct image_row *row);

/* A capture's fate as Recent has it, and the OnStored hook. */
json_t *decision_json(const struct daemon *d, const struct decision *n);

/* A training that ended, as History has it, and the OnTrained hook. */
json_t *training_ended_json(const struct history_training *t);
