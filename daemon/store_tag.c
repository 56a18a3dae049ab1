#include "daemon/store_tag.h"

#include <string.h>

#include "common/digest.h"

#define VERSION	   1
#define FOOT_BYTES 20 /* length, checksum, checksum of the picture, magic */

static const uint8_t magic[8] = {'L', 'a', 'r', 'd', 'e', 'r', '\r', '\n'};

/* At most TAG_MAX with the longest label, name and curve. */
_Static_assert(128 + LABEL_MAX + NAME_KEPT_MAX + RUNGS_MAX + FOOT_BYTES <= TAG_MAX, "a tag fits");

void tag_put(struct buf *b, const struct image_row *row, const char *label)
{
	size_t picture = b->len, length;

	buf_put_u8(b, VERSION);
	buf_put_u64(b, (uint64_t)row->id);
	buf_put_u64(b, row->hash);
	buf_put_u8(b, row->stratum & 1);
	buf_put_blob(b, label, strlen(label));
	buf_put_u32(b, (uint32_t)row->rank);
	buf_put_u32(b, (uint32_t)row->step);
	buf_put_u8(b, row->step_to);
	buf_put_u8(b, row->quality);
	buf_put_u8(b, row->layout);
	buf_put_u32(b, (uint32_t)row->width);
	buf_put_u32(b, (uint32_t)row->height);
	buf_put_u8(b, (uint8_t)row->orientation);
	buf_put_u32(b, row->flags);
	buf_put_u64(b, (uint64_t)row->taken_s);
	buf_put_u64(b, (uint64_t)row->model);
	buf_put_blob(b, row->harm, (size_t)row->n_harm);
	buf_put_blob(b, row->name, strlen(row->name));
	if (b->failed)
		return;
	length = b->len - picture;
	buf_put_u32(b, (uint32_t)length);
	buf_put_u32(b, crc32c(0, b->data + picture, length));
	buf_put_u32(b, crc32c(0, b->data, picture));
	buf_put(b, magic, sizeof(magic));
}

static bool copy_blob(struct reader *r, void *to, size_t max, size_t *ret_len)
{
	const uint8_t *p = reader_blob(r, ret_len);

	if (r->failed || *ret_len > max)
		return false;
	if (*ret_len)
		memcpy(to, p, *ret_len);
	return true;
}

static bool parse(struct reader *r, struct tag *ret)
{
	struct image_row *row = &ret->row;
	size_t n;

	if (reader_u8(r) != VERSION)
		return false;
	row->id = (int64_t)reader_u64(r);
	row->hash = reader_u64(r);
	ret->validation = reader_u8(r);
	if (!copy_blob(r, ret->label, LABEL_MAX, &n))
		return false;
	ret->label[n] = '\0';
	row->rank = (int)reader_u32(r);
	row->step = (int)reader_u32(r);
	row->step_to = reader_u8(r);
	row->quality = reader_u8(r);
	row->layout = reader_u8(r);
	row->width = (int)reader_u32(r);
	row->height = (int)reader_u32(r);
	row->orientation = reader_u8(r);
	row->flags = reader_u32(r);
	row->taken_s = (int64_t)reader_u64(r);
	row->model = (int64_t)reader_u64(r);
	if (!copy_blob(r, row->harm, RUNGS_MAX, &n))
		return false;
	row->n_harm = (int)n;
	if (!copy_blob(r, row->name, NAME_KEPT_MAX, &n))
		return false;
	row->name[n] = '\0';
	return reader_finished(r) && row->id >= 0;
}

size_t tag_read(const uint8_t *data, size_t len, struct tag *ret)
{
	struct tag tag = {0};
	uint32_t length, crc;
	struct reader r;

	if (len < FOOT_BYTES || memcmp(data + len - sizeof(magic), magic, sizeof(magic)) != 0)
		return len;
	r = (struct reader){.data = data + len - FOOT_BYTES, .len = FOOT_BYTES};
	length = reader_u32(&r);
	crc = reader_u32(&r);
	tag.picture_crc = reader_u32(&r);
	if (length > TAG_MAX || length > len - FOOT_BYTES)
		return len;
	r = (struct reader){.data = data + len - FOOT_BYTES - length, .len = length};
	if (crc32c(0, r.data, length) != crc || !parse(&r, &tag))
		return len;
	if (ret)
		*ret = tag;
	return len - FOOT_BYTES - length;
}
