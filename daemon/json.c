#include "daemon/json.h"

#include "common/clock.h"
#include "common/control/varlink.h"
#include "common/digest.h"

json_t *part_json(const uint8_t *data, size_t len, int64_t offset)
{
	size_t from = (size_t)CLAMP(offset, 0, (int64_t)len), n = MIN(len - from, (size_t)PART_MAX);
	json_t *part = varlink_blob(data + from, n);

	return part ? json_pack("{so sI sI}", "data", part, "offset", (json_int_t)from, "size", (json_int_t)len)
		    : NULL;
}

#define COMPARED_AT 10 /* quality at which images' divergences are compared */

/* What the row knows of its divergence: at its own quality, and at one that nearly all can be compared at. */
static void add_divergence(json_t *image, const struct image_row *row)
{
	struct curve k;
	int at = 0;

	curve_of_row(row, 1, &k);
	if (!k.scored || k.n < 1)
		return;
	while (at + 1 < k.n && k.quality[at] < COMPARED_AT)
		at++;
	json_object_set_new(image, "divergence", json_real((double)k.kl[k.n - 1]));
	json_object_set_new(image, "divergence_at_10", json_real((double)k.kl[at]));
}

json_t *image_json(const struct daemon *d, const struct image_row *row)
{
	uint32_t label = stratum_label(row->stratum);
	json_t *image;
	char id[17];

	image = json_pack("{ss so so si si si sI sI sb sb sb sb sI}", "id", format_id(row->id, id), "name",
		varlink_text(row->name), "label",
		label ? varlink_text(daemon_label_name(d, label)) : json_null(), "quality", row->quality,
		"width", row->width, "height", row->height, "bytes", (json_int_t)row->bytes, "taken",
		(json_int_t)row->taken_s, "pinned", (row->flags & IMAGE_PINNED) != 0, "validation",
		stratum_is_validation(row->stratum), "scored", (row->flags & IMAGE_SCORED) != 0, "original",
		(row->flags & IMAGE_ORIGINAL) != 0, "model", (json_int_t)row->model);
	add_divergence(image, row);
	return image;
}

json_t *decision_json(const struct daemon *d, const struct decision *n)
{
	char id[17];

	return json_pack("{ss so so ss sf si sI sI so}", "id", format_id(n->id, id), "name",
		varlink_text(n->name), "label",
		n->label ? varlink_text(daemon_label_name(d, n->label)) : json_null(), "fate",
		fate_name(n->fate), "time", (double)n->wall_us / US_PER_SEC, "quality", n->quality, "bytes",
		(json_int_t)n->bytes, "captured_bytes", (json_int_t)n->captured_bytes, "why",
		varlink_text(n->why));
}

json_t *training_ended_json(const struct history_training *t)
{
	return json_pack("{sI sI si si sf sf sb}", "time", (json_int_t)t->time_s, "version",
		(json_int_t)t->version, "images", (int)t->images, "validation_images",
		(int)t->validation_images, "accuracy", (double)t->accuracy, "accuracy_before",
		(double)t->accuracy_before, "accepted", t->accepted);
}
