/* What is kept in models/: networks, the state of a training, second copies of table sets (store_sets.c). */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "common/net/model.h"
#include "common/net/train.h"
#include "daemon/store_internal.h"

#define MODEL_BYTES_MAX (SIZE_MAX / 8)

void store_model_name(int64_t version, char ret[STORE_MODEL_NAME])
{
	snprintf(ret, STORE_MODEL_NAME, "model-%06" PRId64 ".safetensors", version);
}

static int64_t version_of(const char *name)
{
	char same[STORE_MODEL_NAME];
	int64_t version;

	if (sscanf(name, "model-%" SCNd64, &version) != 1)
		return 0;
	store_model_name(version, same);
	return version > 0 && !strcmp(same, name) ? version : 0;
}

struct newest {
	int64_t below, found;
};

static int see_version(void *arg, int dir_fd, const char *name)
{
	struct newest *n = arg;
	int64_t version = version_of(name);

	(void)dir_fd;
	if (version < n->below)
		n->found = MAX(n->found, version);
	return 0;
}

int store_newest_model(const struct store *s, int64_t below, int64_t *ret)
{
	struct newest n = {.below = below};
	int r = io_each_name(s->models, see_version, &n);

	*ret = n.found;
	return r;
}

int store_write_model(struct store *s, const char *name, const void *data, size_t len)
{
	struct stat st;
	int64_t old = store_file_bytes(s->models, name);
	int r;

	if (!data) {
		if (old && unlinkat(s->models, name, 0) < 0)
			return -errno;
		s->model_bytes -= old;
		return fsync(s->models) < 0 ? -errno : 0;
	}
	r = store_fit_files(s, (int64_t)len); /* old and new exist together for a moment */
	if (r < 0)
		return r;
	r = io_write_durable(s->models, name, data, len);
	if (r < 0)
		return r == -EDQUOT ? -ENOSPC : r;
	if (fstatat(s->models, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		s->model_bytes += io_disk_bytes(&st) - old;
	return 0;
}

int store_read_model(const struct store *s, const char *name, struct buf *ret)
{
	return io_read_file(s->models, name, MODEL_BYTES_MAX, ret);
}

int store_set_model_aside(struct store *s, const char *name)
{
	return quarantine_damaged(s, s->models, &s->model_bytes, name);
}

static int set_whole(int models_fd, int64_t id)
{
	_cleanup_buf_ struct buf data = {0};

	return store_read_set(models_fd, id, &data);
}

static int model_whole(const struct buf *file)
{
	_cleanup_model_ struct model m = {0};

	return model_read(file->data, file->len, &m);
}

/* 0 when it is whole, or not ours; -EBADMSG or -EIO when it is damaged. */
static int look_at(int models_fd, const char *name)
{
	_cleanup_buf_ struct buf file = {0};
	bool model = version_of(name), state = !strcmp(name, CHECKPOINT_NAME);
	int r = 0;

	if (store_set_id(name))
		r = set_whole(models_fd, store_set_id(name));
	else if (model || state)
		r = io_read_file(models_fd, name, MODEL_BYTES_MAX, &file);
	if (r == 0 && model)
		r = model_whole(&file);
	if (r == 0 && state)
		r = train_state_whole(file.data, file.len) ? 0 : -EBADMSG;
	return r == -ENOENT ? 0 : r; /* it has just gone */
}

int store_check_model(int models_fd, const char *name)
{
	int r = look_at(models_fd, name);

	/* What memory was too short to parse looks damaged, too: only what is so twice counts. */
	return r == -EBADMSG ? look_at(models_fd, name) : r;
}
