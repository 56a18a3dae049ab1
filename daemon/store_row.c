/*
 * A row of images as SQLite has it. Its crc column holds two sums: in the lower 32 bits the CRC-32C of the
 * stored bytes, above them a CRC-16 of all the other columns; together the six bytes that half of the former
 * took anyway. A build that knows only the lower ones reads such a row; a row that such a build wrote has no
 * sum of its own. SQLite notices when a tree does not hang together, not that a width is another.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "common/digest.h"
#include "common/io.h"
#include "common/wire.h"
#include "daemon/store_internal.h"

#define FIXED_BYTES 80 /* of a row's columns in a sum, all but harm and name */

void store_copy_text(const void *blob, int n, char *to, size_t size)
{
	size_t len = MIN((size_t)MAX(n, 0), size - 1);

	if (len)
		memcpy(to, blob, len);
	to[len] = '\0';
}

void row_from(sqlite3_stmt *st, struct image_row *ret)
{
	uint64_t sums = (uint64_t)sqlite3_column_int64(st, 15);

	*ret = (struct image_row){
		.id = sqlite3_column_int64(st, 0),
		.hash = (uint64_t)sqlite3_column_int64(st, 1),
		.stratum = (uint32_t)sqlite3_column_int64(st, 2),
		.rank = sqlite3_column_int(st, 3),
		.step = sqlite3_column_type(st, 4) == SQLITE_NULL ? -1 : sqlite3_column_int(st, 4),
		.step_to = (uint8_t)sqlite3_column_int(st, 5),
		.quality = (uint8_t)sqlite3_column_int(st, 6),
		.tables = (uint32_t)sqlite3_column_int64(st, 7),
		.layout = (uint8_t)sqlite3_column_int(st, 8),
		.width = sqlite3_column_int(st, 9),
		.height = sqlite3_column_int(st, 10),
		.orientation = sqlite3_column_int(st, 11),
		.flags = (uint32_t)sqlite3_column_int64(st, 12),
		.taken_s = sqlite3_column_int64(st, 13),
		.bytes = (uint32_t)sqlite3_column_int64(st, 14),
		.crc = (uint32_t)sums,
		.sum = (uint16_t)(sums >> 32),
		.model = sqlite3_column_int64(st, 16),
	};
	ret->n_harm = MIN(sqlite3_column_bytes(st, 17), RUNGS_MAX);
	if (ret->n_harm)
		memcpy(ret->harm, sqlite3_column_blob(st, 17), (size_t)ret->n_harm);
	store_copy_text(
		sqlite3_column_blob(st, 18), sqlite3_column_bytes(st, 18), ret->name, sizeof(ret->name));
}

static void put(uint8_t **at, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		*(*at)++ = (uint8_t)(v >> 8 * i);
}

/* Never 0, which stands for none. */
static uint16_t sum_of(const struct image_row *row)
{
	uint8_t b[FIXED_BYTES + RUNGS_MAX + NAME_KEPT_MAX], *p = b;
	size_t name = strnlen(row->name, NAME_KEPT_MAX);
	uint16_t sum;

	put(&p, (uint64_t)row->id, 8);
	put(&p, row->hash, 8);
	put(&p, row->stratum, 4);
	put(&p, (uint32_t)row->rank, 4);
	put(&p, (uint32_t)MAX(row->step, -1), 4);
	put(&p, row->step_to, 1);
	put(&p, row->quality, 1);
	put(&p, row->tables, 4);
	put(&p, row->layout, 1);
	put(&p, (uint32_t)row->width, 4);
	put(&p, (uint32_t)row->height, 4);
	put(&p, (uint32_t)row->orientation, 4);
	put(&p, row->flags, 4);
	put(&p, (uint64_t)row->taken_s, 8);
	put(&p, row->bytes, 4);
	put(&p, (uint64_t)row->model, 8);
	put(&p, (uint64_t)row->n_harm, 1);
	memcpy(p, row->harm, (size_t)row->n_harm);
	p += row->n_harm;
	memcpy(p, row->name, name);
	p += name;
	sum = crc16(b, (size_t)(p - b));
	return sum ? sum : 1;
}

bool row_is_as_written(const struct image_row *row)
{
	return !row->sum || row->sum == sum_of(row);
}

/* The crc column. */
static int64_t sums_of(const struct image_row *row, uint16_t sum)
{
	return (int64_t)(int16_t)sum * (INT64_C(1) << 32) + row->crc;
}

void row_bind_crc(sqlite3_stmt *st, int at, const struct image_row *row, const struct image_row *old)
{
	uint16_t sum = sum_of(row);

	if (old && !row_is_as_written(old))
		sum ^= sum == 3 ? 12 : 3; /* nor is it then, by two bits */
	sqlite3_bind_int64(st, at, sums_of(row, sum));
}

void row_bind_step(sqlite3_stmt *st, int at, int step)
{
	if (step >= 0)
		sqlite3_bind_int(st, at, step);
	else
		sqlite3_bind_null(st, at);
}

static void row_bind(sqlite3_stmt *st, const struct image_row *row)
{
	sqlite3_bind_int64(st, 1, row->id);
	sqlite3_bind_int64(st, 2, (int64_t)row->hash);
	sqlite3_bind_int64(st, 3, row->stratum);
	sqlite3_bind_int(st, 4, row->rank);
	row_bind_step(st, 5, row->step);
	sqlite3_bind_int(st, 6, row->step_to);
	sqlite3_bind_int(st, 7, row->quality);
	sqlite3_bind_int64(st, 8, row->tables);
	sqlite3_bind_int(st, 9, row->layout);
	sqlite3_bind_int(st, 10, row->width);
	sqlite3_bind_int(st, 11, row->height);
	sqlite3_bind_int(st, 12, row->orientation);
	sqlite3_bind_int64(st, 13, row->flags);
	sqlite3_bind_int64(st, 14, row->taken_s);
	sqlite3_bind_int64(st, 15, row->bytes);
	row_bind_crc(st, 16, row, NULL);
	sqlite3_bind_int64(st, 17, row->model);
	sqlite3_bind_blob(st, 18, row->harm, row->n_harm, SQLITE_STATIC);
	sqlite3_bind_blob(st, 19, row->name, (int)strlen(row->name), SQLITE_STATIC);
}

int row_insert(struct store *s, const struct image_row *row, const void *data)
{
	sqlite3_stmt *st = s->st[ST_INSERT];

	row_bind(st, row);
	if (row->flags & IMAGE_FILE)
		sqlite3_bind_null(st, 20);
	else
		sqlite3_bind_blob(st, 20, data ? data : "", (int)row->bytes, SQLITE_STATIC);
	return store_run(s, ST_INSERT);
}

int row_read_data(const struct image_row *row, sqlite3_stmt *st, int objects_fd, struct buf *ret)
{
	char name[40];
	int rc, r = 0;

	if (row->flags & IMAGE_FILE) {
		object_name(row->id, row->quality, name);
		return io_read_file(objects_fd, name, OBJECT_BYTES_MAX, ret);
	}
	sqlite3_bind_int64(st, 1, row->id);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		buf_put(ret, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
	else
		r = rc == SQLITE_DONE ? -ENOENT : errno_of(rc);
	sqlite3_reset(st);
	return r == 0 && ret->failed ? -ENOMEM : r;
}

bool row_has_file(const struct image_row *row, const char *name)
{
	char own[40];

	object_name(row->id, row->quality, own);
	return (row->flags & IMAGE_FILE) && !strcmp(own, name);
}

/* A column of numbers in struct image_row. */
struct field {
	size_t at, size;
	bool is_signed;
};

#define FIELD(name, is_signed)                                                                             \
	{                                                                                                  \
		offsetof(struct image_row, name), sizeof(((struct image_row *)NULL)->name), is_signed      \
	}

/* All but the id, by whose order rows are found. */
static const struct field fields[] = {FIELD(hash, false), FIELD(stratum, false), FIELD(rank, true),
	FIELD(step, true), FIELD(step_to, false), FIELD(quality, false), FIELD(tables, false),
	FIELD(layout, false), FIELD(width, true), FIELD(height, true), FIELD(orientation, true),
	FIELD(flags, false), FIELD(taken_s, true), FIELD(bytes, false), FIELD(model, true)};

static int64_t load(const struct image_row *row, const struct field *f)
{
	const uint8_t *at = (const uint8_t *)row + f->at;
	uint32_t four;
	int64_t v;

	if (f->size == 1)
		return *at;
	if (f->size == 4) {
		memcpy(&four, at, 4);
		return f->is_signed ? (int64_t)(int32_t)four : (int64_t)four;
	}
	memcpy(&v, at, 8);
	return v;
}

static void keep(struct image_row *row, const struct field *f, int64_t v)
{
	uint8_t *at = (uint8_t *)row + f->at;
	uint32_t four = (uint32_t)v;

	if (f->size == 1)
		*at = (uint8_t)v;
	else if (f->size == 4)
		memcpy(at, &four, 4);
	else
		memcpy(at, &v, 8);
}

static bool would_be(struct image_row *row, const struct field *f, int64_t v)
{
	int64_t was = load(row, f);

	keep(row, f, v);
	if (load(row, f) == v && row_is_as_written(row))
		return true;
	keep(row, f, was);
	return false;
}

/* One bit of a number; or the sign of one that SQLite keeps in so many bytes. */
static bool number_is_mended(struct image_row *row, const struct field *f)
{
	static const int kept_in[] = {1, 2, 3, 4, 6};
	const uint64_t v = (uint64_t)load(row, f);

	for (int bit = 0; bit < 64; bit++)
		if (would_be(row, f, (int64_t)(v ^ UINT64_C(1) << bit)))
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(kept_in); i++) {
		int unused = 64 - 8 * kept_in[i];
		uint64_t flipped = (v ^ UINT64_C(1) << (63 - unused)) << unused;

		if (would_be(row, f, (int64_t)flipped >> unused))
			return true;
	}
	return false;
}

static bool text_is_mended(struct image_row *row, uint8_t *text, size_t len)
{
	for (size_t i = 0; i < 8 * len; i++) {
		text[i / 8] ^= (uint8_t)(1 << i % 8);
		if (row_is_as_written(row))
			return true;
		text[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	return false;
}

bool row_mend(struct image_row *row)
{
	uint16_t difference = row->sum ^ sum_of(row);

	if (row_is_as_written(row))
		return true;
	if (!(difference & (difference - 1))) { /* of the sum; a bit of a column changes more of it */
		row->sum ^= difference;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (number_is_mended(row, &fields[i]))
			return true;
	return text_is_mended(row, row->harm, (size_t)row->n_harm) ||
	       text_is_mended(row, (uint8_t *)row->name, strlen(row->name));
}
