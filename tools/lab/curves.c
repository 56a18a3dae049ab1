#include "tools/lab/curves.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/digest.h"
#include "common/io.h"
#include "common/log.h"

#define CURVES_MAGIC UINT32_C(0x34564352) /* "RCV4": raise it when scoring changes */
#define FILE_MAX ((size_t)1 << 30)

struct record {
	uint32_t magic;
	int32_t index;
	struct curve curve;
	uint32_t crc;
};

struct curve_file {
	int fd, n;
	struct curve **at; /* [n]; owned */
	struct buf fresh;
};

static uint32_t record_crc(const struct record *r)
{
	return crc32c(0, r, offsetof(struct record, crc));
}

static int load(struct curve_file *f, struct buf *b)
{
	struct record r;
	size_t at = 0;

	for (; at + sizeof(r) <= b->len; at += sizeof(r)) {
		memcpy(&r, b->data + at, sizeof(r));
		if (r.magic != CURVES_MAGIC || r.crc != record_crc(&r) || r.index < 0 || r.index >= f->n ||
			r.curve.n < 0 || r.curve.n > RUNGS_MAX)
			break;
		if (!f->at[r.index] && !(f->at[r.index] = malloc(sizeof(struct curve))))
			return -ENOMEM;
		*f->at[r.index] = r.curve;
	}
	if (ftruncate(f->fd, (off_t)at) < 0 || lseek(f->fd, (off_t)at, SEEK_SET) < 0)
		return -errno;
	return 0;
}

struct curve_file *curves_open(const struct lab *l, const char *key, int n)
{
	struct curve_file *f = calloc(1, sizeof(*f));
	int dir = io_open_dir(l->out_fd, "curves"), r = dir < 0 ? dir : -ENOMEM;
	_cleanup_buf_ struct buf b = {0};
	char name[64];

	snprintf(name, sizeof(name), "%s.curves", key);
	if (f && dir >= 0) {
		f->n = n;
		f->at = calloc((size_t)n, sizeof(*f->at));
		f->fd = openat(dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		r = f->fd < 0 ? -errno : f->at ? io_read_fd(f->fd, FILE_MAX, &b) : -ENOMEM;
		if (r == 0)
			r = load(f, &b);
	}
	if (dir >= 0)
		close(dir);
	if (r < 0) {
		log_error("%s/curves/%s: %s", l->out, name, strerror(-r));
		curves_close(f);
		return NULL;
	}
	return f;
}

void curves_close(struct curve_file *f)
{
	if (!f)
		return;
	for (int i = 0; f->at && i < f->n; i++)
		free(f->at[i]);
	free(f->at);
	buf_done(&f->fresh);
	if (f->fd > 0)
		close(f->fd);
	free(f);
}

const struct curve *curves_get(const struct curve_file *f, int i)
{
	return f ? f->at[i] : NULL;
}

int curves_put(struct curve_file *f, int i, const struct curve *c)
{
	struct record r;

	memset(&r, 0, sizeof(r)); /* padding too: it is in the checksum */
	r.magic = CURVES_MAGIC;
	r.index = i;
	r.curve = *c;
	r.crc = record_crc(&r);
	if (!f->at[i] && !(f->at[i] = malloc(sizeof(*c))))
		return -ENOMEM;
	*f->at[i] = *c;
	buf_put(&f->fresh, &r, sizeof(r));
	return f->fresh.failed ? -ENOMEM : 0;
}

int curves_flush(struct curve_file *f)
{
	int r = f->fresh.len ? io_write_full(f->fd, f->fresh.data, f->fresh.len) : 0;

	f->fresh.len = 0;
	return r;
}
