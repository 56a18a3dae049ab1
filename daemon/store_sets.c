/*
 * Second copies of the shared table sets. All packed images are nothing without theirs, a kilobyte in one
 * page of the index; so each is a file in models/, too: the set and its CRC-32C. What of the two is damaged or
 * missing is made good by the other.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/digest.h"
#include "common/io.h"
#include "daemon/store_internal.h"

#define SET_BYTES_MAX 65536

static void set_name(int64_t id, char ret[32])
{
	snprintf(ret, 32, "tables-%" PRId64, id);
}

int store_read_set(int models_fd, int64_t id, struct buf *ret)
{
	struct reader sum;
	char name[32];
	int r;

	set_name(id, name);
	r = io_read_file(models_fd, name, SET_BYTES_MAX, ret);
	if (r < 0 || ret->len < 4)
		return r < 0 ? r : -EBADMSG;
	ret->len -= 4;
	sum = (struct reader){ret->data + ret->len, 4, false};
	return reader_u32(&sum) == crc32c(0, ret->data, ret->len) ? 0 : -EBADMSG;
}

static int write_set(struct store *s, int64_t id, const void *data, size_t len)
{
	_cleanup_buf_ struct buf b = {0};
	char name[32];

	set_name(id, name);
	buf_put(&b, data, len);
	buf_put_u32(&b, crc32c(0, data, len));
	return b.failed ? -ENOMEM : store_write_model(s, name, b.data, b.len);
}

int store_put_set(struct store *s, int64_t id, const void *data, size_t len)
{
	sqlite3_stmt *st = s->st[ST_SET];

	sqlite3_bind_int64(st, 1, id);
	sqlite3_bind_blob(st, 2, data, (int)len, SQLITE_STATIC);
	sqlite3_bind_int64(st, 3, crc32c(0, data, len));
	return store_run(s, ST_SET);
}

int64_t store_set_id(const char *name)
{
	char same[32];
	int64_t id;

	if (sscanf(name, "tables-%" SCNd64, &id) != 1)
		return 0;
	set_name(id, same);
	return !strcmp(same, name) ? id : 0; /* and nothing behind it */
}

/* The set of that id, or the next one, from its row; *ret_whole: undamaged. False: none can be read. */
static bool row_from_id(struct store *s, int64_t from, int64_t *ret_id, struct buf *ret, bool *ret_whole)
{
	sqlite3_stmt *st = s->st[ST_SET_FROM];
	bool there;

	ret->len = 0;
	sqlite3_bind_int64(st, 1, from);
	there = sqlite3_step(st) == SQLITE_ROW;
	if (there) {
		*ret_id = sqlite3_column_int64(st, 0);
		buf_put(ret, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
		*ret_whole = !ret->failed &&
			     crc32c(0, ret->data, ret->len) == (uint32_t)sqlite3_column_int64(st, 2);
	}
	sqlite3_reset(st);
	return there;
}

/* A file whose row is damaged or missing. */
static int make_row_good(struct store *s, const char *name, void *arg)
{
	_cleanup_buf_ struct buf row = {0}, copy = {0};
	int64_t id = store_set_id(name), found;
	bool whole;
	int r;

	if (!id || (row_from_id(s, id, &found, &row, &whole) && found == id && whole) ||
		store_read_set(s->models, id, &copy) < 0)
		return 0;
	r = store_put_set(s, id, copy.data, copy.len);
	*(int *)arg += r == 0;
	return r;
}

/* Files that are damaged or missing, of rows that are not. */
static int make_files_good(struct store *s)
{
	_cleanup_buf_ struct buf row = {0}, copy = {0};
	bool whole;
	int r = 0;

	for (int64_t id = 0; r == 0 && row_from_id(s, id + 1, &id, &row, &whole);) {
		copy.len = 0;
		if (whole && !(store_read_set(s->models, id, &copy) == 0 && copy.len == row.len &&
				     !memcmp(copy.data, row.data, row.len)))
			r = write_set(s, id, row.data, row.len);
	}
	return r;
}

int store_keep_sets(struct store *s)
{
	int r = store_each_file(s, s->models, make_row_good, &s->sets_restored);

	return r < 0 ? r : make_files_good(s);
}

int store_sets_restored(const struct store *s)
{
	return s->sets_restored;
}
