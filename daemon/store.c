/* The writing half of the store: opening, sweeping, accounting. Batches: store_apply.c. */
#include "daemon/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/digest.h"
#include "common/io.h"
#include "daemon/store_internal.h"

#define WAL_CAP_MIN	(INT64_C(256) << 10)
#define WAL_CAP_MAX	(INT64_C(4) << 20)
#define LOCK_WAIT_US	(2 * US_PER_SEC)
#define RELIEF_MIN	65536
#define RELIEF_PAGES	16
#define MARGIN		16384  /* for what du counts and we learn late: directories, extents */
#define BATCH_MAX	256
#define PAGES_PER_OP	4      /* a row, its index entries, and a share of splits */

const char store_schema[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	/* Names of labels; id 0 is never used: it stands for no label. */
	"CREATE TABLE labels(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	/* Shared tables of packed images (policy/shared.h), and their CRC-32C. */
	"CREATE TABLE tables(id INTEGER PRIMARY KEY, data BLOB, crc INTEGER);"
	"CREATE TABLE images("
	" id INTEGER PRIMARY KEY,"   /* bits 0..62 of the capture's SHA-256: no second index on
					content */
	" hash INTEGER NOT NULL,"    /* bits 63..126 */
	" stratum INTEGER NOT NULL," /* label id * 2 + validation */
	" rank INTEGER NOT NULL,"    /* who goes first within a stratum: highest */
	" step INTEGER,"	     /* price code of the next step down; NULL: none */
	" step_to INTEGER,"	     /* quality it leads to */
	" quality INTEGER NOT NULL,"
	" tables INTEGER NOT NULL," /* packed with that set; 0: complete file */
	" layout INTEGER NOT NULL," /* planes and sampling */
	" width INTEGER NOT NULL, height INTEGER NOT NULL, orientation INTEGER NOT NULL,"
	" flags INTEGER NOT NULL,"			 /* enum image_flags */
	" taken_s INTEGER NOT NULL,"			 /* capture time */
	" bytes INTEGER NOT NULL, crc INTEGER NOT NULL," /* of the stored bytes; and store_row.c's */
	" model INTEGER NOT NULL,"			 /* version that scored it */
	" harm BLOB NOT NULL," /* divergence codes of the rungs up to quality */
	" name BLOB NOT NULL," /* the capture's file name */
	" data BLOB);"	       /* NULL: in objects/ */
	"CREATE INDEX images_step ON images(step) WHERE step IS NOT NULL;"
	"CREATE INDEX images_rank ON images(stratum, rank);"
	"CREATE TABLE tally(stratum INTEGER, quality INTEGER, images INTEGER, bytes INTEGER,"
	" pinned INTEGER, PRIMARY KEY(stratum, quality)) WITHOUT ROWID;"
	"CREATE TABLE counters(counter INTEGER PRIMARY KEY, value INTEGER NOT NULL);"
	/* Files in objects/ that are to be unlinked. */
	"CREATE TABLE garbage(name TEXT PRIMARY KEY) WITHOUT ROWID;"
	/* Captures dealt with whose spool file may still be there (I6). */
	"CREATE TABLE taken(id INTEGER PRIMARY KEY, path BLOB, dev INTEGER, ino INTEGER, size "
	"INTEGER,"
	" mtime_ns INTEGER, image INTEGER, reason TEXT);";

static const char *const sql[STATEMENTS] = {
	[ST_INSERT] = "INSERT INTO images(" ROW_COLUMNS ", data) VALUES"
		      "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)",
	[ST_EXISTS] = "SELECT hash FROM images WHERE id = ?1",
	[ST_ROW] = "SELECT " ROW_COLUMNS " FROM images WHERE id = ?1",
	[ST_DATA] = "SELECT data FROM images WHERE id = ?1",
	[ST_STEP] =
		"UPDATE images SET step=?2, step_to=?3, quality=?4, tables=?5, flags=?6, bytes=?7,"
		" crc=?8, model=?9, harm=?10, data=?11 WHERE id = ?1",
	[ST_RESCORE] = "UPDATE images SET step=?2, step_to=?3, flags=?4, model=?5, harm=?6, crc=?7"
		       " WHERE id = ?1",
	[ST_SPENT] = "UPDATE images SET rank=?2, crc=?3 WHERE id = ?1",
	[ST_REMOVE] = "DELETE FROM images WHERE id = ?1",
	[ST_TALLY_NONE] = "DELETE FROM tally",
	[ST_TALLY_ALL] = "INSERT INTO tally SELECT stratum, quality, count(*), sum(bytes), sum(flags & 1)"
			 " FROM images GROUP BY stratum, quality",
	[ST_COUNT] =
		"INSERT INTO counters VALUES(?1, ?2) ON CONFLICT DO UPDATE SET value = value + ?2",
	[ST_FADE] = "UPDATE counters SET value = value - value / 2 WHERE counter >= ?1", /* came_fade() */
	[ST_TAKEN] = "INSERT INTO taken(path, dev, ino, size, mtime_ns, image, reason)"
		     " VALUES(?1,?2,?3,?4,?5,?6,?7)",
	[ST_SETTLED] = "DELETE FROM taken WHERE id = ?1",
	[ST_LABEL] = "UPDATE images SET stratum=?2, step=?3, step_to=?4, crc=?5 WHERE id = ?1",
	[ST_PIN] = "UPDATE images SET flags=?2, step=?3, step_to=?4, crc=?5 WHERE id = ?1",
	[ST_META] = "INSERT OR REPLACE INTO meta VALUES(?1, ?2)",
	[ST_TABLES] = "INSERT INTO tables(data, crc) VALUES(?1,?2)",
	[ST_SET] = "INSERT OR REPLACE INTO tables VALUES(?1,?2,?3)",
	[ST_SET_FROM] = "SELECT id, data, crc FROM tables WHERE id >= ?1 ORDER BY id LIMIT 1",
	[ST_TALLY] = "INSERT INTO tally VALUES(?1,?2,?3,?4,?5) ON CONFLICT DO UPDATE SET"
		     " images = images + ?3, bytes = bytes + ?4, pinned = pinned + ?5",
	[ST_TALLY_CLEAN] = "DELETE FROM tally WHERE stratum=?1 AND quality=?2 AND images = 0",
	[ST_GARBAGE] = "INSERT OR IGNORE INTO garbage VALUES(?1)",
	[ST_GARBAGE_GONE] = "DELETE FROM garbage",
	[ST_LABEL_FIND] = "SELECT id FROM labels WHERE name = ?1",
	[ST_LABEL_NAME] = "SELECT name FROM labels WHERE id = ?1",
	[ST_LABEL_ADD] = "INSERT INTO labels(name) VALUES(?1)",
};

int errno_of(int code)
{
	switch (code & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CANTOPEN:
		return -EACCES;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	}
	return -EIO;
}

void object_name(int64_t id, int quality, char ret[40])
{
	snprintf(ret, 40, "%016" PRIx64 "-q%d.jpg", (uint64_t)id, quality);
}

const char *store_error(const struct store *s)
{
	return s->error;
}

int store_fail(struct store *s, int rc)
{
	snprintf(s->error, sizeof(s->error), "%s", sqlite3_errmsg(s->db));
	return errno_of(rc);
}

int store_exec(struct store *s, const char *text)
{
	int rc = sqlite3_exec(s->db, text, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : store_fail(s, rc);
}

/* Runs a prepared statement that returns no rows, and resets it. */
int store_run(struct store *s, enum statement which)
{
	int rc = sqlite3_step(s->st[which]), r = rc == SQLITE_DONE ? 0 : store_fail(s, rc);

	sqlite3_reset(s->st[which]);
	sqlite3_clear_bindings(s->st[which]);
	return r;
}

int store_roll_back(struct store *s)
{
	return sqlite3_get_autocommit(s->db) ? 0 : store_exec(s, "ROLLBACK");
}

int store_begin(struct store *s)
{
	int r = store_roll_back(s); /* what an earlier attempt could not */

	return r < 0 ? r : store_exec(s, "BEGIN IMMEDIATE");
}

int store_end(struct store *s, int r)
{
	if (r == 0)
		r = store_exec(s, "COMMIT");
	if (r < 0 && !sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL); /* the error is the first one's */
	return r;
}

int64_t store_pragma(const struct store *s, const char *text)
{
	sqlite3_stmt *st;
	int64_t v = -1;

	if (sqlite3_prepare_v2(s->db, text, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		v = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return v;
}

int64_t store_file_bytes(int dir_fd, const char *name)
{
	struct stat st;

	return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : io_disk_bytes(&st);
}

static int64_t dir_bytes(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : io_disk_bytes(&st);
}

static int64_t directories_bytes(const struct store *s)
{
	return dir_bytes(s->dir) + dir_bytes(s->objects) + dir_bytes(s->models) + dir_bytes(s->quarantine);
}

/* Everything but the index and its log. */
static void measure_beside(const struct store *s, struct usage *ret)
{
	ret->shm = MAX(store_file_bytes(s->dir, "index.db-shm"), INT64_C(32768));
	ret->objects = s->object_bytes;
	ret->models = s->model_bytes;
	ret->quarantine = s->quarantine_bytes;
	ret->directories = directories_bytes(s);
}

static int64_t beside(const struct usage *u)
{
	return u->shm + u->objects + u->models + u->quarantine + u->directories;
}

/* Everything but the index file itself, as it is promised. */
static int64_t other_bytes(const struct store *s)
{
	struct usage u;

	measure_beside(s, &u);
	return s->wal.cap + beside(&u) + MARGIN;
}

void store_forget_pages(struct store *s)
{
	sqlite3_db_release_memory(s->db);
}

void store_usage(const struct store *s, struct usage *ret)
{
	*ret = (struct usage){
		.index = store_file_bytes(s->dir, "index.db"),
		.index_free = store_pragma(s, "PRAGMA freelist_count") * PAGE_BYTES,
		.wal_cap = s->wal.cap,
	};
	measure_beside(s, ret);
	ret->on_disk = ret->index + store_file_bytes(s->dir, "index.db-wal") + beside(ret);
	io_disk_space(s->dir, &ret->disk);
	/* The file lags behind the log: what a checkpoint will make of it counts. */
	ret->index = MAX(ret->index, store_pragma(s, "PRAGMA page_count") * PAGE_BYTES);
	ret->index_free = MAX(ret->index_free, 0);
	ret->total = ret->index + ret->wal_cap + beside(ret) + MARGIN;
}

static int64_t log_cap_for(int64_t limit)
{
	return CLAMP(limit / 16, WAL_CAP_MIN, WAL_CAP_MAX);
}

/*
 * The log's share follows a limit that changes much: else a store that was opened with room for a large log and
 * is then told to be small would be full of it. A reader may keep the log as it is; the next batch tries again.
 */
static void fit_log(struct store *s)
{
	int64_t want = log_cap_for(s->limits.total), now = store_pragma(s, "PRAGMA page_count") * PAGE_BYTES;

	if (want <= s->wal.cap / 2) {
		if (store_file_bytes(s->dir, "index.db-wal") > want)
			sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
		if (store_file_bytes(s->dir, "index.db-wal") <= want)
			s->wal.cap = want;
	} else if (want >= 2 * s->wal.cap && now >= 0 &&
		now + other_bytes(s) + want - s->wal.cap <= s->limits.total / 2) {
		s->wal.cap = want;
	}
}

void store_set_limits(struct store *s, const struct limits *limits)
{
	s->limits = *limits;
	s->limits.quarantine = MIN(limits->quarantine, limits->total / 8);
	fit_log(s);
}

int store_batch_max(const struct store *s)
{
	return (int)CLAMP(s->wal.cap / PAGE_BYTES / PAGES_PER_OP, 1, BATCH_MAX);
}

int64_t store_relief_bytes(int64_t limit)
{
	return MAX(limit / 64, RELIEF_MIN);
}

/*
 * Lets the index grow as far as the limit leaves room. An index that is over its share already (the
 * limit was lowered) may grow by a row's pages for relief, or nothing could ever be degraded.
 */
int store_cap_index(struct store *s, bool relief)
{
	int64_t most = s->limits.total - other_bytes(s), now = store_pragma(s, "PRAGMA page_count");
	int64_t kept = s->limits.reserve + (relief ? 0 : store_relief_bytes(s->limits.total));
	int64_t pages = (most - kept) / PAGE_BYTES;
	char text[64];

	if (now < 0)
		return store_fail(s, sqlite3_errcode(s->db));
	if (relief && now >= pages) /* within the limit while it is kept, beyond it only when it is not */
		pages = now + (now < most / PAGE_BYTES ? MIN(RELIEF_PAGES, most / PAGE_BYTES - now)
				: now > most / PAGE_BYTES ? RELIEF_PAGES : 0);
	snprintf(text, sizeof(text), "PRAGMA max_page_count=%" PRId64, MAX(pages, INT64_C(1)));
	return store_exec(s, text);
}

/* Somebody's read transaction lasts: until it ends the log cannot begin anew, nor the file get shorter. */
static int index_read(struct store *s)
{
	snprintf(s->error, sizeof(s->error), "a program that reads the index does not come to an end");
	return -EBUSY;
}

int store_fit_files(struct store *s, int64_t bytes)
{
	for (bool written_back = false;;) {
		int64_t pages = store_pragma(s, "PRAGMA page_count"), lack;
		int64_t file = store_file_bytes(s->dir, "index.db");
		int r;

		if (pages < 0)
			return store_fail(s, sqlite3_errcode(s->db));
		lack = MAX(file, pages * PAGE_BYTES) + other_bytes(s) + ROUND_UP(bytes, INT64_C(4096)) -
		       s->limits.total;
		if (lack <= 0)
			return 0;
		if (store_pragma(s, "PRAGMA freelist_count") > 0) {
			r = store_shrink(s, (int)MIN((lack + PAGE_BYTES - 1) / PAGE_BYTES, INT64_C(1) << 20));
			if (r <= 0)
				return r < 0 ? r : -ENOSPC;
			if (store_file_bytes(s->dir, "index.db") >= file)
				return index_read(s);
		} else if (file > pages * PAGE_BYTES && !written_back) {
			written_back = true;
			if (store_checkpoint(s) < 0)
				return index_read(s);
		} else {
			return -ENOSPC;
		}
	}
}

int store_checkpoint(struct store *s)
{
	int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);

	if (rc == SQLITE_BUSY)
		return index_read(s);
	return rc == SQLITE_OK ? 0 : store_fail(s, rc);
}

static int64_t sum_files(int dir_fd)
{
	int64_t n = io_tree_bytes(dir_fd);

	return n < 0 ? n : n - dir_bytes(dir_fd);
}

static int measure(struct store *s)
{
	s->object_bytes = sum_files(s->objects);
	s->model_bytes = sum_files(s->models);
	s->quarantine_bytes = sum_files(s->quarantine);
	if (s->object_bytes < 0 || s->model_bytes < 0 || s->quarantine_bytes < 0)
		return -EIO;
	return 0;
}

/* The row of the image that a file in objects/ has its name from: 1; 0: there is none. */
static int row_of_object(struct store *s, const char *name, struct image_row *ret)
{
	char *end;
	uint64_t id = strtoull(name, &end, 16);
	int rc, r = 0;

	if (end != name + 16)
		return 0;
	sqlite3_bind_int64(s->st[ST_ROW], 1, (int64_t)id);
	rc = sqlite3_step(s->st[ST_ROW]);
	if (rc == SQLITE_ROW) {
		row_from(s->st[ST_ROW], ret);
		r = 1;
	} else if (rc != SQLITE_DONE) {
		r = store_fail(s, rc);
	}
	sqlite3_reset(s->st[ST_ROW]);
	return r;
}

int store_object_known(struct store *s, const char *name)
{
	struct image_row row;
	int r = row_of_object(s, name, &row);

	return r <= 0 ? r : row_has_file(&row, name);
}

bool is_directory_or_hidden(int dir_fd, const char *name)
{
	struct stat st;

	return name[0] == '.' ||
	       (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode));
}

struct each_file {
	struct store *store;
	int (*fn)(struct store *s, const char *name, void *arg);
	void *arg;
};

static int each_file(void *arg, int dir_fd, const char *name)
{
	const struct each_file *each = arg;

	if (is_directory_or_hidden(dir_fd, name))
		return 0;
	return MIN(each->fn(each->store, name, each->arg), 0);
}

int store_each_file(struct store *s, int dir_fd, int (*fn)(struct store *s, const char *name, void *arg),
	void *arg)
{
	struct each_file each = {s, fn, arg};

	return io_each_name(dir_fd, each_file, &each);
}

struct sweep {
	int64_t files, orphans;
	bool remove;
};

static int sweep_one(struct store *s, const char *name, void *arg)
{
	struct sweep *w = arg;
	struct image_row row;
	int r = row_of_object(s, name, &row);

	w->files++;
	/* A damaged row may mean another file than it says: it will tell when it is mended. */
	if (r < 0 || (r == 1 && (row_has_file(&row, name) || !row_is_as_written(&row))))
		return MIN(r, 0);
	w->orphans++;
	if (w->remove && unlinkat(s->objects, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

/* Removes what is neither row nor whole: unfinished creations and marked garbage (I2). */
static int sweep(struct store *s, char error[256])
{
	struct sweep w = {0};
	int r = store_each_file(s, s->objects, sweep_one, &w);

	if (r == 0 && w.orphans > 64 && w.orphans * 2 > w.files) {
		snprintf(error, 256,
			"%" PRId64 " of %" PRId64 " files in objects/ have no row in the index; refusing to "
			"remove them; larderd --salvage makes an index of them", w.orphans, w.files);
		return -EUCLEAN;
	}
	w = (struct sweep){.remove = true};
	if (r == 0)
		r = store_each_file(s, s->objects, sweep_one, &w);
	if (r == 0 && w.orphans && fsync(s->objects) < 0)
		r = -errno;
	return r == 0 ? store_run(s, ST_GARBAGE_GONE) : r;
}

/* I4: the index and the directory were made together. */
static int check_uuid(struct store *s, char error[256])
{
	_cleanup_buf_ struct buf file = {0};
	sqlite3_stmt *st = NULL;
	int r = io_read_file(s->dir, "uuid", 64, &file), rc;
	bool same = false;

	if (r < 0) {
		snprintf(error, 256, "cannot read the store's uuid: %s", strerror(-r));
		return r;
	}
	rc = sqlite3_prepare_v2(s->db, "SELECT value FROM meta WHERE key='uuid'", -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		same = (size_t)sqlite3_column_bytes(st, 0) == file.len &&
			!memcmp(sqlite3_column_blob(st, 0), file.data, file.len);
	if (sqlite3_errcode(s->db) == SQLITE_NOMEM) /* of the column, which says nothing then */
		rc = SQLITE_NOMEM;
	r = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : store_fail(s, rc);
	sqlite3_finalize(st);
	if (r < 0)
		return r;
	if (!same) {
		snprintf(error, 256, "index.db and uuid do not belong together: another disk's store?");
		return -EUCLEAN;
	}
	return 0;
}

int store_create_uuid(struct store *s)
{
	static const char hex[] = "0123456789abcdef";
	char text[128], uuid[UUID_LEN + 1] = {0};
	uint8_t raw[UUID_LEN / 2];
	int r;

	if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
		return -errno;
	for (size_t i = 0; i < sizeof(raw); i++) {
		uuid[2 * i] = hex[raw[i] >> 4];
		uuid[2 * i + 1] = hex[raw[i] & 15];
	}
	r = io_write_durable(s->dir, "uuid", uuid, UUID_LEN);
	snprintf(text, sizeof(text), "INSERT OR REPLACE INTO meta VALUES('uuid', '%s')", uuid);
	return r == 0 ? store_exec(s, text) : r;
}

static int create(struct store *s)
{
	char text[64];
	int r = store_exec(s, "BEGIN");

	if (r == 0)
		r = store_exec(s, store_schema);
	if (r == 0)
		r = store_create_uuid(s);
	snprintf(text, sizeof(text), "PRAGMA user_version=%d; COMMIT", STORE_SCHEMA);
	return r == 0 ? store_exec(s, text) : r;
}

static int check_schema(struct store *s, char error[256])
{
	int64_t version = store_pragma(s, "PRAGMA user_version");
	int r = version == 0 ? create(s) : version < 0 ? store_fail(s, sqlite3_errcode(s->db)) : 0;

	if (r == 0 && version != 0 && version != STORE_SCHEMA) {
		snprintf(error, 256, "index.db has schema %" PRId64 ", this larderd knows only %d",
			version, STORE_SCHEMA);
		return -ENOTSUP;
	}
	return r == 0 ? check_uuid(s, error) : r;
}

static int open_index(struct store *s, const char *path, char error[256])
{
	char file[STORE_PATH_MAX + 16];
	int rc;

	if (store_vfs_register(&s->wal) < 0)
		return -ENOMEM;
	snprintf(file, sizeof(file), "%s/index.db", path);
	rc = sqlite3_open_v2(file, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
		s->wal.name);
	if (rc != SQLITE_OK) {
		snprintf(error, 256, "%s: %s", file, s->db ? sqlite3_errmsg(s->db) : "out of memory");
		return errno_of(rc);
	}
	sqlite3_busy_timeout(s->db, 5000);
	return store_exec(s,
		INDEX_FORMAT "PRAGMA journal_mode=WAL;"
			     "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_spill=OFF;"
			     "PRAGMA cache_size=-2048; PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=OFF;");
}

int store_prepare(struct store *s)
{
	for (int i = 0; i < STATEMENTS; i++) {
		int rc = sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->st[i], NULL);

		if (rc != SQLITE_OK)
			return store_fail(s, rc);
	}
	return 0;
}

/* A child of one that was killed just now holds it, too, until it has become another program. */
static bool lock_in_time(int fd)
{
	int64_t until = clock_steady_us() + LOCK_WAIT_US;
	int r;

	while ((r = flock(fd, LOCK_EX | LOCK_NB)) < 0 && errno == EWOULDBLOCK && clock_steady_us() < until)
		usleep(LOCK_WAIT_US / 100);
	return r == 0;
}

int store_open_dirs(struct store *s, const char *path, char error[256])
{
	s->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0) {
		snprintf(error, 256, "%s: %s", path, strerror(errno));
		return -errno;
	}
	s->lock = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->lock < 0 || !lock_in_time(s->lock)) {
		snprintf(error, 256, "%s is in use by another larderd", path);
		return -EBUSY;
	}
	s->objects = io_open_dir(s->dir, "objects");
	s->models = io_open_dir(s->dir, "models");
	s->quarantine = io_open_dir(s->dir, "quarantine");
	if (s->objects < 0 || s->models < 0 || s->quarantine < 0) {
		snprintf(error, 256, "%s: cannot make directories", path);
		return -EACCES;
	}
	return fsync(s->dir) < 0 ? -errno : 0;
}

struct store *store_new(void)
{
	struct store *s = calloc(1, sizeof(*s));

	if (s)
		s->dir = s->objects = s->models = s->quarantine = s->lock = -1;
	return s;
}

static int count_object(struct store *s, const char *name, void *arg)
{
	(void)s, (void)name;
	++*(int64_t *)arg;
	return 0;
}

/*
 * What a salvage (store_salvage.h) left: half an index, or none but its own. And an index that has gone is not
 * made anew beside files that it would know nothing of.
 */
static int check_salvage(struct store *s, char error[256])
{
	struct stat st;
	int64_t files = 0;
	int r = 0;

	if (faccessat(s->dir, SALVAGE_MARK, F_OK, 0) == 0) {
		snprintf(error, 256, "an index is being salvaged: end that first, with larderd --salvage");
		return -EUCLEAN;
	}
	if (fstatat(s->dir, "index.db", &st, 0) < 0 || st.st_size == 0)
		r = store_each_file(s, s->objects, count_object, &files);
	if (r < 0)
		return r;
	if (files) {
		snprintf(error, 256,
			"index.db has gone, objects/ holds %" PRId64
			" files: larderd --salvage makes an index of them",
			files);
		return -EUCLEAN;
	}
	return unlinkat(s->dir, "index.new", 0) < 0 && errno != ENOENT ? -errno : 0;
}

int store_open(const char *path, int64_t max_use, struct store **ret, char error[256])
{
	_cleanup_(store_closep) struct store *s = store_new();
	int r;

	snprintf(error, 256, "out of memory");
	if (!s)
		return -ENOMEM;
	error[0] = '\0';
	s->limits.total = max_use;
	s->wal.cap = log_cap_for(max_use);
	r = store_open_dirs(s, path, error);
	if (r == 0)
		r = check_salvage(s, error);
	if (r == 0)
		r = open_index(s, path, error);
	if (r == 0)
		r = check_schema(s, error);
	if (r == 0)
		r = store_prepare(s);
	if (r == 0)
		r = sweep(s, error);
	if (r == 0)
		r = store_checkpoint(s);
	if (r == 0)
		r = measure(s);
	if (r < 0) {
		if (!error[0])
			snprintf(error, 256, "%s: %s%s", path, s->error[0] ? s->error : strerror(-r),
				r == -EUCLEAN ? "; larderd --salvage makes the index anew" : "");
		return r;
	}
	store_keep_sets(s); /* else another time: reading tells of what is damaged */
	*ret = TAKE_PTR(s);
	return 0;
}

void store_close_index(struct store *s)
{
	for (int i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(s->st[i]);
		s->st[i] = NULL;
	}
	sqlite3_close(s->db);
	s->db = NULL;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	store_close_index(s);
	store_vfs_unregister(&s->wal);
	close_fd(&s->objects);
	close_fd(&s->models);
	close_fd(&s->quarantine);
	close_fd(&s->dir);
	close_fd(&s->lock);
	free(s);
}

int store_shrink(struct store *s, int pages)
{
	int64_t before = store_pragma(s, "PRAGMA page_count"), now;
	char text[64];
	int r = -ENOSPC;

	/* A page that moves dirties its parent and a pointer map as well: the log bounds how many. */
	pages = (int)MIN(pages, s->wal.cap / PAGE_BYTES / PAGES_PER_OP);
	for (; r == -ENOSPC && pages > 0; pages /= 2) {
		snprintf(text, sizeof(text), "PRAGMA incremental_vacuum(%d)", pages);
		s->wal.refused = false;
		r = store_exec(s, text);
		if (r == 0 || !s->wal.refused || store_checkpoint(s) < 0)
			break;
	}
	if (r < 0)
		return r;
	store_checkpoint(s);
	now = store_pragma(s, "PRAGMA page_count");
	return before < 0 || now < 0 ? -ENOMEM : (int)(before - now);
}
