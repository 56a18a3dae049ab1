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

bool mend_bit(uint8_t *data, size_t len, uint32_t *crc, bool *ret_changed)
{
	uint32_t difference = crc32c(0, data, len) ^ *crc;
	int64_t bit;

	*ret_changed = false;
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
	*ret_changed = true;
	return true;
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

int store_mend_image(struct store *s, const struct image_row *damaged, bool *ret_doubtful)
{
	_cleanup_buf_ struct buf data = {0};
	struct image_row row = *damaged;
	bool changed;
	int r;

	*ret_doubtful = !row_mend(&row);
	r = row_read_data(&row, s->st[ST_DATA], s->objects, &data);
	if (r == -ENOMEM)
		return r;
	if (r < 0 || data.len != row.bytes || !mend_bit(data.data, data.len, &row.crc, &changed))
		return 0;
	if (changed && (row.flags & IMAGE_FILE) && write_file(s, &row, &data) < 0)
		return 0;
	/* Written anew as a whole: any of its columns may have been wrong. */
	sqlite3_bind_int64(s->st[ST_REMOVE], 1, row.id);
	r = store_run(s, ST_REMOVE);
	if (r == 0)
		r = row_insert(s, &row, data.data);
	return r < 0 ? r : 1;
}
