/*
 * The write-ahead log grows by whatever a transaction dirties; this layer makes its size a promise.
 * A write past the cap answers SQLITE_FULL, the transaction rolls back, and the store checkpoints or
 * splits the batch. Files are made longer before they are written there. Salvage may read through it
 * with a first page of its own (store_pages.c). Everything else goes straight through to the system's VFS.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/store_internal.h"

#define LOG_GROWS_BY (INT64_C(1) << 16)

struct capped_file {
	sqlite3_file base;
	sqlite3_int64 size;	   /* as far as we know */
	struct store_vfs *cap;	   /* NULL: not a log */
	const uint8_t *first_page; /* NULL: the file's own */
	sqlite3_file *real;	   /* behind this struct, in the same allocation */
};

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct capped_file *)f)->real;
}

static sqlite3_vfs *system_vfs(sqlite3_vfs *v)
{
	(void)v;
	return sqlite3_vfs_find(NULL);
}

static int f_close(sqlite3_file *f)
{
	return real_of(f)->pMethods->xClose(real_of(f));
}

static int f_read(sqlite3_file *f, void *data, int n, sqlite3_int64 at)
{
	const uint8_t *first = ((struct capped_file *)f)->first_page;

	if (first && at + n <= PAGE_BYTES) {
		memcpy(data, first + at, (size_t)n);
		return SQLITE_OK;
	}
	return real_of(f)->pMethods->xRead(real_of(f), data, n, at);
}

/*
 * A file that is written beyond its end may get as much room again as it has, in case that goes on (XFS);
 * inside it, it gets what it is given. When it cannot be made longer the write that follows tells why.
 */
static void lengthen(struct capped_file *c, sqlite3_int64 size)
{
	if (size > c->size && c->real->pMethods->xTruncate(c->real, size) == SQLITE_OK)
		c->size = size;
}

static int f_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
	struct capped_file *c = (struct capped_file *)f;
	sqlite3_int64 end = at + n, cap = c->cap && c->cap->cap ? c->cap->cap : INT64_MAX;

	if (end > cap) {
		c->cap->refused = true;
		return SQLITE_FULL;
	}
	lengthen(c, c->cap ? MIN(ROUND_UP(end, LOG_GROWS_BY), cap) : end);
	return c->real->pMethods->xWrite(c->real, data, n, at);
}

static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct capped_file *c = (struct capped_file *)f;
	int rc = c->real->pMethods->xTruncate(c->real, size);

	if (rc == SQLITE_OK)
		c->size = size;
	return rc;
}

static int f_sync(sqlite3_file *f, int flags)
{
	return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int f_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int f_lock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int f_unlock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int f_check_lock(sqlite3_file *f, int *held)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), held);
}

static int f_control(sqlite3_file *f, int op, void *arg)
{
	if (op == SQLITE_FCNTL_SIZE_HINT) /* before a checkpoint */
		lengthen((struct capped_file *)f, *(const sqlite3_int64 *)arg);
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int f_sector(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int f_character(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int f_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
	return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, ret);
}

static int f_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
	return real_of(f)->pMethods->xShmLock(real_of(f), at, n, flags);
}

static void f_shm_barrier(sqlite3_file *f)
{
	real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int f_shm_unmap(sqlite3_file *f, int drop)
{
	return real_of(f)->pMethods->xShmUnmap(real_of(f), drop);
}

/* Version 2: no memory mapping, so every write passes f_write. */
static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = f_close,
	.xRead = f_read,
	.xWrite = f_write,
	.xTruncate = f_truncate,
	.xSync = f_sync,
	.xFileSize = f_size,
	.xLock = f_lock,
	.xUnlock = f_unlock,
	.xCheckReservedLock = f_check_lock,
	.xFileControl = f_control,
	.xSectorSize = f_sector,
	.xDeviceCharacteristics = f_character,
	.xShmMap = f_shm_map,
	.xShmLock = f_shm_lock,
	.xShmBarrier = f_shm_barrier,
	.xShmUnmap = f_shm_unmap,
};

static int v_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
	struct capped_file *c = (struct capped_file *)f;
	sqlite3_vfs *sys = system_vfs(v);
	struct store_vfs *of = v->pAppData;
	int rc;

	c->real = (sqlite3_file *)(c + 1);
	c->cap = flags & SQLITE_OPEN_WAL ? of : NULL;
	c->first_page = flags & SQLITE_OPEN_MAIN_DB ? of->first_page : NULL;
	memset(c->real, 0, (size_t)sys->szOsFile);
	rc = sys->xOpen(sys, name, c->real, flags, out);
	c->base.pMethods = c->real->pMethods ? &methods : NULL;
	c->size = INT64_MAX;
	if (rc == SQLITE_OK && c->real->pMethods->xFileSize(c->real, &c->size) != SQLITE_OK)
		c->size = INT64_MAX; /* then it is left alone */
	return rc;
}

static int v_delete(sqlite3_vfs *v, const char *name, int sync)
{
	return system_vfs(v)->xDelete(system_vfs(v), name, sync);
}

static int v_access(sqlite3_vfs *v, const char *name, int flags, int *ret)
{
	if (((const struct store_vfs *)v->pAppData)->alone) {
		*ret = 0; /* there is neither log nor journal */
		return SQLITE_OK;
	}
	return system_vfs(v)->xAccess(system_vfs(v), name, flags, ret);
}

static int v_full_path(sqlite3_vfs *v, const char *name, int n, char *ret)
{
	return system_vfs(v)->xFullPathname(system_vfs(v), name, n, ret);
}

int store_vfs_register(struct store_vfs *w)
{
	sqlite3_vfs *sys = sqlite3_vfs_find(NULL);

	w->vfs = *sys; /* randomness, sleep, time: the system's own functions */
	snprintf(w->name, sizeof(w->name), "larder-%p", (void *)w);
	w->vfs.zName = w->name;
	w->vfs.szOsFile = (int)sizeof(struct capped_file) + sys->szOsFile;
	w->vfs.pNext = NULL;
	w->vfs.pAppData = w;
	w->vfs.xOpen = v_open;
	w->vfs.xDelete = v_delete;
	w->vfs.xAccess = v_access;
	w->vfs.xFullPathname = v_full_path;
	return errno_of(sqlite3_vfs_register(&w->vfs, 0));
}

void store_vfs_unregister(struct store_vfs *w)
{
	if (w->vfs.zName)
		sqlite3_vfs_unregister(&w->vfs);
}
