/*
 * What one flipped bit made of an image: the checksum tells which it was, so that it is put right instead of
 * the image being set aside. Small devices' memory flips bits one at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/io.h"
#include "daemon/store_internal.h"

/* Of so many bytes that have nothing to do with the image one in 2,000 would pass for a flipped bit. */
#define MEND_BYTES_MAX (256 << 10)

bool mend_bit(uint8_t *data, size_t len, uint32_t *crc)
{
	uint32_t difference = crc32c(0, data, len) ^ *crc;
	int64_t bit;

	if (!difference)
		return true;
	if (len > MEND_BYTES_MAX)
		return false;
	if (!(difference & (difference - 1))) { /* of the sum, then: a bit of the data changes more of it */
		*crc ^= difference;
		return true;
	}
	bit = crc32c_flipped(difference, len);
	if (bit < 0)
		return false;
	data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	return true;
}

/* The bytes as they are. */
static int read_bytes(struct store *s, const struct image_row *row, struct buf *ret)
{
	sqlite3_stmt *st = s->st[ST_DATA];
	char name[40];
	int rc, r = 0;

	if (row->flags & IMAGE_FILE) {
		object_name(row->id, row->quality, name);
		return io_read_file(s->objects, name, INT32_MAX, ret);
	}
	sqlite3_bind_int64(st, 1, row->id);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		buf_put(ret, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
	else
		r = rc == SQLITE_DONE ? -ENOENT : store_fail(s, rc);
	sqlite3_reset(st);
	return ret->failed ? -ENOMEM : r;
}

/* In place: a copy might not fit. */
static int write_file(struct store *s, const struct image_row *row, const struct buf *data)
{
	_cleanup_close_ int fd = -1;
	char name[40];

	object_name(row->id, row->quality, name);
	fd = openat(s->objects, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	return io_write_full(fd, data->data, data->len) < 0 || fsync(fd) < 0 ? -EIO : 0;
}

/* Written anew as a whole: any of its columns may have been wrong. */
static int put_row(struct store *s, const struct image_row *row, const struct buf *data)
{
	sqlite3_stmt *st = s->st[ST_INSERT];
	int r;

	sqlite3_bind_int64(s->st[ST_REMOVE], 1, row->id);
	r = store_run(s, ST_REMOVE);
	if (r < 0)
		return r;
	row_bind(st, row);
	if (row->flags & IMAGE_FILE)
		sqlite3_bind_null(st, 20);
	else
		sqlite3_bind_blob(st, 20, data->data, (int)data->len, SQLITE_STATIC);
	return store_run(s, ST_INSERT);
}

int store_mend_image(struct store *s, const struct image_row *damaged, bool *ret_doubtful)
{
	_cleanup_buf_ struct buf data = {0};
	struct image_row row = *damaged;
	uint32_t is;
	int r;

	*ret_doubtful = !row_mend(&row);
	r = read_bytes(s, &row, &data);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || data.len != row.bytes)
		return 0;
	is = crc32c(0, data.data, data.len);
	if (is != row.crc) {
		if (!mend_bit(data.data, data.len, &row.crc))
			return 0;
		if ((row.flags & IMAGE_FILE) && is != row.crc && write_file(s, &row, &data) < 0)
			return 0;
	}
	r = put_row(s, &row, &data);
	return r < 0 ? r : 1;
}
