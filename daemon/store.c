/* The writing half of the store: opening, accounting, and batches as transactions. */
#include "daemon/store.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/digest.h"
#include "common/io.h"
#include "daemon/store_internal.h"

#define WAL_CAP_MIN	(INT64_C(256) << 10)
#define WAL_CAP_MAX	(INT64_C(4) << 20)
#define RELIEF_MIN	65536
#define MARGIN		16384  /* for what du counts and we learn late: directories, extents */
#define LABELS_MAX	20000
#define BATCH_MAX	256
#define PAGES_PER_OP	4      /* a row, its index entries, and a share of splits */

static const char schema[] =
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
	/* Names of labels; id 0 is never used: it stands for no label. */
	"CREATE TABLE labels(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	/* Shared tables of inline images: an abbreviated JPEG stream, and its CRC-32C. */
	"CREATE TABLE tables(id INTEGER PRIMARY KEY, quality INTEGER, stream BLOB, crc INTEGER);"
	"CREATE TABLE images("
	" id INTEGER PRIMARY KEY," /* bits 0..62 of the capture's SHA-256: no second index on content */
	" hash INTEGER NOT NULL,"  /* bits 63..126 */
	" stratum INTEGER NOT NULL," /* label id * 2 + validation */
	" rank INTEGER NOT NULL,"  /* who goes first within a stratum: highest */
	" step INTEGER,"	   /* price code of the next step down; NULL: none */
	" step_to INTEGER,"	   /* quality it leads to */
	" quality INTEGER NOT NULL,"
	" tables INTEGER NOT NULL," /* 0: complete file */
	" layout INTEGER NOT NULL," /* planes and sampling */
	" width INTEGER NOT NULL, height INTEGER NOT NULL, orientation INTEGER NOT NULL,"
	" flags INTEGER NOT NULL,"  /* enum image_flags */
	" taken_s INTEGER NOT NULL," /* capture time */
	" bytes INTEGER NOT NULL, crc INTEGER NOT NULL," /* of the stored bytes */
	" model INTEGER NOT NULL,"  /* version that scored it */
	" harm BLOB NOT NULL,"	    /* divergence codes of the rungs up to quality */
	" name BLOB NOT NULL,"	    /* the capture's file name */
	" data BLOB);"		    /* NULL: in objects/ */
	"CREATE INDEX images_step ON images(step) WHERE step IS NOT NULL;"
	"CREATE INDEX images_rank ON images(stratum, rank);"
	"CREATE TABLE tally(stratum INTEGER, quality INTEGER, images INTEGER, bytes INTEGER,"
	" pinned INTEGER, PRIMARY KEY(stratum, quality)) WITHOUT ROWID;"
	"CREATE TABLE counters(counter INTEGER PRIMARY KEY, value INTEGER NOT NULL);"
	/* Files in objects/ that are to be unlinked. */
	"CREATE TABLE garbage(name TEXT PRIMARY KEY) WITHOUT ROWID;"
	/* Captures dealt with whose spool file may still be there (I6). */
	"CREATE TABLE taken(id INTEGER PRIMARY KEY, path BLOB, dev INTEGER, ino INTEGER, size INTEGER,"
	" mtime_ns INTEGER, image INTEGER, reason TEXT);";

struct name_list {
	char (*v)[40]; /* owned */
	size_t n, cap;
};

static const char *const sql[STATEMENTS] = {
	[ST_INSERT] = "INSERT INTO images(" ROW_COLUMNS ", data) VALUES"
		      "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)",
	[ST_EXISTS] = "SELECT hash FROM images WHERE id = ?1",
	[ST_ROW] = "SELECT " ROW_COLUMNS " FROM images WHERE id = ?1",
	[ST_STEP] = "UPDATE images SET step=?2, step_to=?3, quality=?4, tables=?5, flags=?6, bytes=?7,"
		    " crc=?8, model=?9, harm=?10, data=?11 WHERE id = ?1",
	[ST_RESCORE] = "UPDATE images SET step=?2, step_to=?3, flags=?4, model=?5, harm=?6 WHERE id = ?1",
	[ST_REMOVE] = "DELETE FROM images WHERE id = ?1",
	[ST_COUNT] = "INSERT INTO counters VALUES(?1, ?2) ON CONFLICT DO UPDATE SET value = value + ?2",
	[ST_TAKEN] = "INSERT INTO taken(path, dev, ino, size, mtime_ns, image, reason)"
		     " VALUES(?1,?2,?3,?4,?5,?6,?7)",
	[ST_SETTLED] = "DELETE FROM taken WHERE id = ?1",
	[ST_LABEL] = "UPDATE images SET stratum=?2 WHERE id = ?1",
	[ST_PIN] = "UPDATE images SET flags=?2, step=?3 WHERE id = ?1",
	[ST_META] = "INSERT OR REPLACE INTO meta VALUES(?1, ?2)",
	[ST_TABLES] = "INSERT INTO tables(quality, stream, crc) VALUES(?1,?2,?3)",
	[ST_TALLY] = "INSERT INTO tally VALUES(?1,?2,?3,?4,?5) ON CONFLICT DO UPDATE SET"
		     " images = images + ?3, bytes = bytes + ?4, pinned = pinned + ?5",
	[ST_TALLY_CLEAN] = "DELETE FROM tally WHERE stratum=?1 AND quality=?2 AND images = 0",
	[ST_GARBAGE] = "INSERT OR IGNORE INTO garbage VALUES(?1)",
	[ST_GARBAGE_GONE] = "DELETE FROM garbage",
	[ST_LABEL_FIND] = "SELECT id FROM labels WHERE name = ?1",
	[ST_LABEL_ADD] = "INSERT INTO labels(name) VALUES(?1)",
};

struct op *op_new(enum op_kind kind)
{
	struct op *op = calloc(1, sizeof(*op));

	if (op) {
		op->kind = kind;
		op->row.step = -1;
	}
	return op;
}

void op_free(struct op *op)
{
	if (!op)
		return;
	buf_done(&op->data);
	free(op);
}

void tally_add(struct tally_list *l, uint32_t stratum, uint8_t quality, int64_t images, int64_t bytes,
	int64_t pinned)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].stratum == stratum && l->v[i].quality == quality) {
			l->v[i].images += images;
			l->v[i].bytes += bytes;
			l->v[i].pinned += pinned;
			return;
		}
	if (l->n == l->cap) {
		size_t cap = MAX(2 * l->cap, (size_t)16);
		struct tally *v = realloc(l->v, cap * sizeof(*v));

		if (!v) {
			l->failed = true;
			return;
		}
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = (struct tally){stratum, quality, images, bytes, pinned};
}

void tally_done(struct tally_list *l)
{
	free(l->v);
	*l = (struct tally_list){0};
}

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

const char *format_id(int64_t id, char buf[17])
{
	snprintf(buf, 17, "%016" PRIx64, (uint64_t)id);
	return buf;
}

const char *store_error(const struct store *s)
{
	return s->error;
}

int store_dir_fd(const struct store *s)
{
	return s->dir;
}

static int fail(struct store *s, int rc)
{
	snprintf(s->error, sizeof(s->error), "%s", sqlite3_errmsg(s->db));
	return errno_of(rc);
}

static int exec(struct store *s, const char *text)
{
	int rc = sqlite3_exec(s->db, text, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fail(s, rc);
}

/* Runs a prepared statement that returns no rows, and resets it. */
static int run(struct store *s, enum statement which)
{
	int rc = sqlite3_step(s->st[which]), r = rc == SQLITE_DONE ? 0 : fail(s, rc);

	sqlite3_reset(s->st[which]);
	sqlite3_clear_bindings(s->st[which]);
	return r;
}

static int64_t pragma_value(const struct store *s, const char *text)
{
	sqlite3_stmt *st;
	int64_t v = 0;

	if (sqlite3_prepare_v2(s->db, text, -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		v = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return v;
}

static int64_t file_bytes(const struct store *s, const char *name)
{
	struct stat st;

	return fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : io_disk_bytes(&st);
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

/* Everything but the index file itself. */
static int64_t other_bytes(const struct store *s)
{
	return s->wal.cap + MAX(file_bytes(s, "index.db-shm"), INT64_C(32768)) + s->object_bytes +
		s->model_bytes + s->quarantine_bytes + directories_bytes(s) + MARGIN;
}

void store_usage(const struct store *s, struct usage *ret)
{
	*ret = (struct usage){
		.index = file_bytes(s, "index.db"),
		.index_free = pragma_value(s, "PRAGMA freelist_count") * PAGE_BYTES,
		.wal_cap = s->wal.cap,
		.shm = MAX(file_bytes(s, "index.db-shm"), INT64_C(32768)),
		.objects = s->object_bytes,
		.models = s->model_bytes,
		.quarantine = s->quarantine_bytes,
		.directories = directories_bytes(s),
	};
	/* The file lags behind the log: what a checkpoint will make of it counts. */
	ret->index = MAX(ret->index, pragma_value(s, "PRAGMA page_count") * PAGE_BYTES);
	ret->total = ret->index + other_bytes(s);
}

void store_set_limits(struct store *s, const struct limits *limits)
{
	s->limits = *limits;
	s->limits.quarantine = MIN(limits->quarantine, limits->total / 8);
}

int store_batch_max(const struct store *s)
{
	return (int)CLAMP(s->wal.cap / PAGE_BYTES / PAGES_PER_OP, 1, BATCH_MAX);
}

int64_t store_relief_bytes(const struct store *s)
{
	return MAX(s->limits.total / 64, RELIEF_MIN);
}

/* Lets the index grow as far as the limit leaves room, less the reserve. */
static int cap_index(struct store *s, bool relief)
{
	int64_t bytes = s->limits.total - s->limits.reserve - other_bytes(s);
	int64_t pages = (bytes - (relief ? 0 : store_relief_bytes(s))) / PAGE_BYTES;
	char text[64];

	snprintf(text, sizeof(text), "PRAGMA max_page_count=%" PRId64, MAX(pages, INT64_C(1)));
	return exec(s, text);
}

bool store_files_fit(const struct store *s, int64_t bytes)
{
	int64_t index = MAX(file_bytes(s, "index.db"), pragma_value(s, "PRAGMA page_count") * PAGE_BYTES);

	return index + other_bytes(s) + ROUND_UP(bytes, INT64_C(4096)) <= s->limits.total;
}

static int checkpoint(struct store *s)
{
	int rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fail(s, rc);
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

/* Whether a file in objects/ is what some row says. */
static bool object_known(struct store *s, const char *name)
{
	char *end, want[40];
	struct image_row row;
	bool known = false;
	uint64_t id = strtoull(name, &end, 16);

	if (end != name + 16)
		return false;
	sqlite3_bind_int64(s->st[ST_ROW], 1, (int64_t)id);
	if (sqlite3_step(s->st[ST_ROW]) == SQLITE_ROW) {
		row_from(s->st[ST_ROW], &row);
		object_name(row.id, row.quality, want);
		known = (row.flags & IMAGE_FILE) && !strcmp(want, name);
	}
	sqlite3_reset(s->st[ST_ROW]);
	return known;
}

/* Calls fn for each entry of objects/ but dotfiles; stops at its first negative result. */
static int each_object(struct store *s, int (*fn)(struct store *s, const char *name, void *arg), void *arg)
{
	int fd = openat(s->objects, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!dir)
		return -errno;
	while (r >= 0 && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			r = fn(s, e->d_name, arg);
	closedir(dir);
	return r < 0 ? r : 0;
}

struct sweep {
	int64_t files, orphans;
	bool remove;
};

static int sweep_one(struct store *s, const char *name, void *arg)
{
	struct sweep *w = arg;

	w->files++;
	if (object_known(s, name))
		return 0;
	w->orphans++;
	if (w->remove && unlinkat(s->objects, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

/* Removes what is neither row nor whole: unfinished creations and marked garbage (I2). */
static int sweep(struct store *s, char error[256])
{
	struct sweep w = {0};
	int r = each_object(s, sweep_one, &w);

	if (r == 0 && w.orphans > 64 && w.orphans * 2 > w.files) {
		snprintf(error, 256,
			"%" PRId64 " of %" PRId64 " files in objects/ have no row in the index; refusing to "
			"remove them", w.orphans, w.files);
		return -EUCLEAN;
	}
	w = (struct sweep){.remove = true};
	if (r == 0)
		r = each_object(s, sweep_one, &w);
	if (r == 0 && w.orphans && fsync(s->objects) < 0)
		r = -errno;
	return r == 0 ? run(s, ST_GARBAGE_GONE) : r;
}

/* I4: the index and the directory were made together. */
static int check_uuid(struct store *s, char error[256])
{
	_cleanup_buf_ struct buf file = {0};
	sqlite3_stmt *st = NULL;
	int r = io_read_file(s->dir, "uuid", 64, &file);
	bool same = false;

	if (r < 0) {
		snprintf(error, 256, "cannot read the store's uuid: %s", strerror(-r));
		return r;
	}
	if (sqlite3_prepare_v2(s->db, "SELECT value FROM meta WHERE key='uuid'", -1, &st, NULL) ==
			SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		same = (size_t)sqlite3_column_bytes(st, 0) == file.len &&
			!memcmp(sqlite3_column_blob(st, 0), file.data, file.len);
	sqlite3_finalize(st);
	if (!same) {
		snprintf(error, 256, "index.db and uuid do not belong together: another disk's store?");
		return -EUCLEAN;
	}
	return 0;
}

static int create(struct store *s)
{
	static const char hex[] = "0123456789abcdef";
	char text[256], uuid[33] = {0};
	uint8_t raw[16];
	int r;

	if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
		return -errno;
	for (int i = 0; i < 16; i++) {
		uuid[2 * i] = hex[raw[i] >> 4];
		uuid[2 * i + 1] = hex[raw[i] & 15];
	}
	r = io_write_durable(s->dir, "uuid", uuid, 32);
	if (r == 0)
		r = exec(s, "BEGIN");
	if (r == 0)
		r = exec(s, schema);
	snprintf(text, sizeof(text), "INSERT INTO meta VALUES('uuid', '%s'); PRAGMA user_version=%d; COMMIT",
		uuid, STORE_SCHEMA);
	return r == 0 ? exec(s, text) : r;
}

static int check_schema(struct store *s, char error[256])
{
	int64_t version = pragma_value(s, "PRAGMA user_version");
	int r = version == 0 ? create(s) : 0;

	if (r == 0 && version > STORE_SCHEMA) {
		snprintf(error, 256, "index.db has schema %" PRId64 ", this larderd knows up to %d", version,
			STORE_SCHEMA);
		return -ENOTSUP;
	}
	return r == 0 ? check_uuid(s, error) : r;
}

static int open_index(struct store *s, const char *path, char error[256])
{
	char file[STORE_PATH_MAX + 16];
	int rc;

	if (wal_cap_register(&s->wal) < 0)
		return -ENOMEM;
	snprintf(file, sizeof(file), "%s/index.db", path);
	rc = sqlite3_open_v2(file, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
		s->wal.name);
	if (rc != SQLITE_OK) {
		snprintf(error, 256, "%s: %s", file, s->db ? sqlite3_errmsg(s->db) : "out of memory");
		return errno_of(rc);
	}
	sqlite3_busy_timeout(s->db, 5000);
	return exec(s, "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;"
		       "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_spill=OFF;"
		       "PRAGMA cache_size=-2048; PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=OFF;");
}

static int prepare(struct store *s)
{
	for (int i = 0; i < STATEMENTS; i++) {
		int rc = sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->st[i], NULL);

		if (rc != SQLITE_OK)
			return fail(s, rc);
	}
	return 0;
}

static int open_dirs(struct store *s, const char *path, char error[256])
{
	s->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir < 0) {
		snprintf(error, 256, "%s: %s", path, strerror(errno));
		return -errno;
	}
	s->lock = openat(s->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->lock < 0 || flock(s->lock, LOCK_EX | LOCK_NB) < 0) {
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

int store_open(const char *path, int64_t max_use, struct store **ret, char error[256])
{
	_cleanup_(store_closep) struct store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	error[0] = '\0';
	s->dir = s->objects = s->models = s->quarantine = s->lock = -1;
	s->limits.total = max_use;
	s->wal.cap = CLAMP(max_use / 16, WAL_CAP_MIN, WAL_CAP_MAX);
	r = open_dirs(s, path, error);
	if (r == 0)
		r = open_index(s, path, error);
	if (r == 0)
		r = check_schema(s, error);
	if (r == 0)
		r = prepare(s);
	if (r == 0)
		r = sweep(s, error);
	if (r == 0)
		r = checkpoint(s);
	if (r == 0)
		r = measure(s);
	if (r < 0) {
		if (!error[0])
			snprintf(error, 256, "%s: %s", path, s->error[0] ? s->error : strerror(-r));
		return r;
	}
	*ret = TAKE_PTR(s);
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(s->st[i]);
	sqlite3_close(s->db);
	wal_cap_unregister(&s->wal);
	close_fd(&s->objects);
	close_fd(&s->models);
	close_fd(&s->quarantine);
	close_fd(&s->dir);
	close_fd(&s->lock);
	free(s);
}

/* What one batch has to do beside its transaction. */
struct batch {
	struct tally_list *change;
	struct name_list made, garbage; /* files written before, files to unlink after */
	int64_t written;
};

static int remember(struct name_list *l, const char *name)
{
	if (l->n == l->cap) {
		size_t cap = MAX(2 * l->cap, (size_t)16);
		void *v = realloc(l->v, cap * sizeof(l->v[0]));

		if (!v)
			return -ENOMEM;
		l->v = v;
		l->cap = cap;
	}
	snprintf(l->v[l->n++], sizeof(l->v[0]), "%s", name);
	return 0;
}

static void unlink_objects(struct store *s, const struct name_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		struct stat st;

		if (fstatat(s->objects, l->v[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			unlinkat(s->objects, l->v[i], 0) == 0)
			s->object_bytes -= io_disk_bytes(&st);
	}
}

/* Writes the ops' large objects, so that the rows may name them. */
static int write_objects(struct store *s, struct op *ops, bool relief, struct batch *b)
{
	int64_t kept = s->limits.reserve + (relief ? 0 : store_relief_bytes(s));

	for (struct op *op = ops; op; op = op->next) {
		struct stat st;
		char name[40];
		int r;

		if (op->kind == OP_QUARANTINE && (r = quarantine_make_room(s, op->file.size)) < 0)
			return r;
		if ((op->kind != OP_INSERT && op->kind != OP_STEP) || !(op->row.flags & IMAGE_FILE))
			continue;
		if (!store_files_fit(s, (int64_t)op->data.len + kept))
			return -ENOSPC;
		object_name(op->row.id, op->row.quality, name);
		r = io_write_durable(s->objects, name, op->data.data, op->data.len);
		if (r < 0) {
			snprintf(s->error, sizeof(s->error), "objects/%s: %s", name, strerror(-r));
			return r == -EDQUOT ? -ENOSPC : r;
		}
		if (fstatat(s->objects, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			s->object_bytes += io_disk_bytes(&st);
		r = remember(&b->made, name);
		if (r < 0)
			return r;
	}
	return 0;
}

static void bind_step(sqlite3_stmt *st, int at, int step)
{
	if (step >= 0)
		sqlite3_bind_int(st, at, step);
	else
		sqlite3_bind_null(st, at);
}

static void bind_data(sqlite3_stmt *st, int at, const struct op *op)
{
	if (op->row.flags & IMAGE_FILE)
		sqlite3_bind_null(st, at);
	else
		sqlite3_bind_blob(st, at, op->data.data ? op->data.data : (const void *)"",
			(int)op->data.len, SQLITE_STATIC);
}

static int get_row(struct store *s, int64_t id, struct image_row *ret)
{
	int rc, r = -ENOENT;

	sqlite3_bind_int64(s->st[ST_ROW], 1, id);
	rc = sqlite3_step(s->st[ST_ROW]);
	if (rc == SQLITE_ROW) {
		row_from(s->st[ST_ROW], ret);
		r = 0;
	} else if (rc != SQLITE_DONE) {
		r = fail(s, rc);
	}
	sqlite3_reset(s->st[ST_ROW]);
	return r;
}

static int mark_garbage(struct store *s, struct batch *b, const struct image_row *row)
{
	char name[40];

	if (!(row->flags & IMAGE_FILE))
		return 0;
	object_name(row->id, row->quality, name);
	sqlite3_bind_text(s->st[ST_GARBAGE], 1, name, -1, SQLITE_TRANSIENT);
	if (remember(&b->garbage, name) < 0)
		return -ENOMEM;
	return run(s, ST_GARBAGE);
}

static void count(struct batch *b, const struct image_row *row, int sign)
{
	bool pinned = row->flags & IMAGE_PINNED;

	tally_add(b->change, row->stratum, row->quality, sign, sign * (int64_t)row->bytes,
		pinned ? sign : 0);
}

static int add_counter(struct store *s, enum counter which, int64_t amount)
{
	sqlite3_bind_int(s->st[ST_COUNT], 1, (int)which);
	sqlite3_bind_int64(s->st[ST_COUNT], 2, amount);
	return run(s, ST_COUNT);
}

static int add_taken(struct store *s, struct op *op)
{
	sqlite3_stmt *st = s->st[ST_TAKEN];
	int r;

	if (!op->file.path[0])
		return 0;
	sqlite3_bind_blob(st, 1, op->file.path, (int)strlen(op->file.path), SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, (int64_t)op->file.dev);
	sqlite3_bind_int64(st, 3, (int64_t)op->file.ino);
	sqlite3_bind_int64(st, 4, op->file.size);
	sqlite3_bind_int64(st, 5, op->file.mtime_ns);
	sqlite3_bind_int64(st, 6, op->row.id);
	if (op->kind == OP_QUARANTINE)
		sqlite3_bind_text(st, 7, op->text, -1, SQLITE_STATIC);
	r = run(s, ST_TAKEN);
	if (r == 0)
		op->taken_id = sqlite3_last_insert_rowid(s->db);
	return r;
}

/* 1 when the content is there already, at *id; else *id is free. Colliding prefixes move on. */
static int find_content(struct store *s, int64_t *id, uint64_t hash)
{
	for (;;) {
		int rc;
		uint64_t there;

		sqlite3_bind_int64(s->st[ST_EXISTS], 1, *id);
		rc = sqlite3_step(s->st[ST_EXISTS]);
		there = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(s->st[ST_EXISTS], 0) : 0;
		sqlite3_reset(s->st[ST_EXISTS]);
		if (rc == SQLITE_DONE)
			return 0;
		if (rc != SQLITE_ROW)
			return fail(s, rc);
		if (there == hash)
			return 1;
		*id = (*id + 1) & INT64_MAX;
	}
}

static int apply_insert(struct store *s, struct op *op, struct batch *b)
{
	sqlite3_stmt *st = s->st[ST_INSERT];
	const struct image_row *row = &op->row;
	int64_t id = row->id;
	int r = find_content(s, &id, row->hash);

	if (r < 0)
		return r;
	if (r == 0 && id != row->id && (row->flags & IMAGE_FILE))
		return -EIO; /* its file already has the other's name: cannot happen without 2^31 tries */
	op->row.id = id;
	if (r > 0) {
		op->result = -EEXIST;
		r = add_counter(s, COUNT_DUPLICATE, 1);
		return r < 0 ? r : add_taken(s, op);
	}
	op->row.crc = crc32c(0, op->data.data, op->data.len);
	op->row.bytes = (uint32_t)op->data.len;
	sqlite3_bind_int64(st, 1, row->id);
	sqlite3_bind_int64(st, 2, (int64_t)row->hash);
	sqlite3_bind_int64(st, 3, row->stratum);
	sqlite3_bind_int(st, 4, row->rank);
	bind_step(st, 5, row->step);
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
	sqlite3_bind_int64(st, 16, row->crc);
	sqlite3_bind_int64(st, 17, row->model);
	sqlite3_bind_blob(st, 18, row->harm, row->n_harm, SQLITE_STATIC);
	sqlite3_bind_blob(st, 19, row->name, (int)strlen(row->name), SQLITE_STATIC);
	bind_data(st, 20, op);
	r = run(s, ST_INSERT);
	if (r < 0)
		return r;
	count(b, row, 1);
	b->written += row->bytes;
	if (row->stratum > 1 && (r = add_counter(s, COUNT_LABELLED, 1)) < 0)
		return r;
	return add_taken(s, op);
}

static int apply_step(struct store *s, struct op *op, struct batch *b)
{
	sqlite3_stmt *st = s->st[ST_STEP];
	struct image_row *row = &op->row, old;
	int r = get_row(s, row->id, &old);

	if (r == -ENOENT || (r == 0 && old.quality != op->was_quality)) {
		op->result = -ESTALE;
		return 0;
	}
	if (r < 0)
		return r;
	row->stratum = old.stratum; /* a label may have come in between */
	row->flags = (row->flags & ~(uint32_t)IMAGE_PINNED) | (old.flags & IMAGE_PINNED);
	row->crc = crc32c(0, op->data.data, op->data.len);
	row->bytes = (uint32_t)op->data.len;
	sqlite3_bind_int64(st, 1, row->id);
	bind_step(st, 2, row->step);
	sqlite3_bind_int(st, 3, row->step_to);
	sqlite3_bind_int(st, 4, row->quality);
	sqlite3_bind_int64(st, 5, row->tables);
	sqlite3_bind_int64(st, 6, row->flags);
	sqlite3_bind_int64(st, 7, row->bytes);
	sqlite3_bind_int64(st, 8, row->crc);
	sqlite3_bind_int64(st, 9, row->model);
	sqlite3_bind_blob(st, 10, row->harm, row->n_harm, SQLITE_STATIC);
	bind_data(st, 11, op);
	r = run(s, ST_STEP);
	if (r < 0)
		return r;
	count(b, &old, -1);
	count(b, row, 1);
	b->written += row->bytes;
	return mark_garbage(s, b, &old);
}

static int apply_rescore(struct store *s, struct op *op)
{
	sqlite3_stmt *st = s->st[ST_RESCORE];
	struct image_row old;
	int r = get_row(s, op->row.id, &old);

	if (r == -ENOENT || (r == 0 && old.quality != op->was_quality)) {
		op->result = -ESTALE;
		return 0;
	}
	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, op->row.id);
	bind_step(st, 2, old.flags & IMAGE_PINNED ? -1 : op->row.step);
	sqlite3_bind_int(st, 3, op->row.step_to);
	sqlite3_bind_int64(st, 4, old.flags | (op->row.flags & IMAGE_SCORED));
	sqlite3_bind_int64(st, 5, op->row.model);
	sqlite3_bind_blob(st, 6, op->row.harm, op->row.n_harm, SQLITE_STATIC);
	return run(s, ST_RESCORE);
}

static int apply_remove(struct store *s, struct op *op, struct batch *b)
{
	struct image_row old;
	int r = get_row(s, op->row.id, &old);

	if (r == -ENOENT) {
		op->result = -ESTALE;
		return 0;
	}
	if (r < 0)
		return r;
	sqlite3_bind_int64(s->st[ST_REMOVE], 1, op->row.id);
	r = run(s, ST_REMOVE);
	if (r < 0)
		return r;
	count(b, &old, -1);
	op->row = old;
	r = mark_garbage(s, b, &old);
	return r < 0 ? r : add_counter(s, COUNT_DROPPED, 1);
}

static int apply_label(struct store *s, struct op *op, struct batch *b)
{
	struct image_row row;
	int r = get_row(s, op->row.id, &row);

	if (r < 0) {
		op->result = r == -ENOENT ? -ESTALE : r;
		return r == -ENOENT ? 0 : r;
	}
	count(b, &row, -1);
	row.stratum = op->row.stratum;
	count(b, &row, 1);
	sqlite3_bind_int64(s->st[ST_LABEL], 1, row.id);
	sqlite3_bind_int64(s->st[ST_LABEL], 2, row.stratum);
	r = run(s, ST_LABEL);
	return r < 0 ? r : add_counter(s, COUNT_LABELLED, 1);
}

static int apply_pin(struct store *s, struct op *op, struct batch *b)
{
	struct image_row row;
	int r = get_row(s, op->row.id, &row);

	if (r < 0) {
		op->result = r == -ENOENT ? -ESTALE : r;
		return r == -ENOENT ? 0 : r;
	}
	count(b, &row, -1);
	row.flags = (row.flags & ~(uint32_t)IMAGE_PINNED) | (op->row.flags & IMAGE_PINNED);
	count(b, &row, 1);
	sqlite3_bind_int64(s->st[ST_PIN], 1, row.id);
	sqlite3_bind_int64(s->st[ST_PIN], 2, row.flags);
	bind_step(s->st[ST_PIN], 3, row.flags & IMAGE_PINNED ? -1 : op->row.step);
	return run(s, ST_PIN);
}

static int apply_tables(struct store *s, struct op *op)
{
	int r;

	sqlite3_bind_int(s->st[ST_TABLES], 1, op->row.quality);
	sqlite3_bind_blob(s->st[ST_TABLES], 2, op->data.data, (int)op->data.len, SQLITE_STATIC);
	sqlite3_bind_int64(s->st[ST_TABLES], 3, crc32c(0, op->data.data, op->data.len));
	r = run(s, ST_TABLES);
	op->row.tables = (uint32_t)sqlite3_last_insert_rowid(s->db);
	return r;
}

static int apply_meta(struct store *s, const struct op *op)
{
	sqlite3_bind_text(s->st[ST_META], 1, op->key, -1, SQLITE_STATIC);
	sqlite3_bind_blob(s->st[ST_META], 2, op->data.data, (int)op->data.len, SQLITE_STATIC);
	return run(s, ST_META);
}

static int apply_new_label(struct store *s, struct op *op)
{
	sqlite3_stmt *st = s->st[ST_LABEL_FIND];
	int rc, r;

	sqlite3_bind_text(st, 1, op->text, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		op->row.stratum = (uint32_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	if (rc == SQLITE_ROW)
		return 0;
	if (pragma_value(s, "SELECT count(*) FROM labels") >= LABELS_MAX) {
		op->result = -E2BIG;
		return 0;
	}
	sqlite3_bind_text(s->st[ST_LABEL_ADD], 1, op->text, -1, SQLITE_STATIC);
	r = run(s, ST_LABEL_ADD);
	op->row.stratum = (uint32_t)sqlite3_last_insert_rowid(s->db);
	return r;
}

static int apply_fate(struct store *s, struct op *op, enum counter which)
{
	int r = add_counter(s, which, 1);

	return r < 0 ? r : add_taken(s, op);
}

static int apply_one(struct store *s, struct op *op, struct batch *b)
{
	op->result = 0;
	switch (op->kind) {
	case OP_INSERT:
		return apply_insert(s, op, b);
	case OP_STEP:
		return apply_step(s, op, b);
	case OP_RESCORE:
		return apply_rescore(s, op);
	case OP_REMOVE:
		return apply_remove(s, op, b);
	case OP_COUNT:
		return apply_fate(s, op, op->counter);
	case OP_QUARANTINE:
		return apply_fate(s, op, COUNT_QUARANTINED);
	case OP_SETTLED:
		sqlite3_bind_int64(s->st[ST_SETTLED], 1, op->taken_id);
		return run(s, ST_SETTLED);
	case OP_LABEL:
		return apply_label(s, op, b);
	case OP_PIN:
		return apply_pin(s, op, b);
	case OP_META:
		return apply_meta(s, op);
	case OP_TABLES:
		return apply_tables(s, op);
	case OP_ADD:
		return add_counter(s, op->counter, op->amount);
	case OP_NEW_LABEL:
		return apply_new_label(s, op);
	}
	assert(!"unknown op");
	return -EINVAL;
}

/* The totals' changes, once per stratum and quality instead of once per image. */
static int write_tallies(struct store *s, const struct batch *b)
{
	if (b->change->failed)
		return -ENOMEM;
	for (size_t i = 0; i < b->change->n; i++) {
		const struct tally *t = &b->change->v[i];
		int r;

		if (!t->images && !t->bytes && !t->pinned)
			continue;
		sqlite3_bind_int64(s->st[ST_TALLY], 1, t->stratum);
		sqlite3_bind_int(s->st[ST_TALLY], 2, t->quality);
		sqlite3_bind_int64(s->st[ST_TALLY], 3, t->images);
		sqlite3_bind_int64(s->st[ST_TALLY], 4, t->bytes);
		sqlite3_bind_int64(s->st[ST_TALLY], 5, t->pinned);
		r = run(s, ST_TALLY);
		if (r < 0)
			return r;
		sqlite3_bind_int64(s->st[ST_TALLY_CLEAN], 1, t->stratum);
		sqlite3_bind_int(s->st[ST_TALLY_CLEAN], 2, t->quality);
		r = run(s, ST_TALLY_CLEAN);
		if (r < 0)
			return r;
	}
	return b->written ? add_counter(s, COUNT_WRITTEN, b->written) : 0;
}

static int transaction(struct store *s, struct op *ops, struct batch *b)
{
	int r = exec(s, "BEGIN IMMEDIATE");

	if (r == 0 && s->garbage_rows)
		r = run(s, ST_GARBAGE_GONE);
	for (struct op *op = ops; r == 0 && op; op = op->next)
		r = apply_one(s, op, b);
	if (r == 0)
		r = write_tallies(s, b);
	if (r == 0)
		r = exec(s, "COMMIT");
	if (r < 0 && !sqlite3_get_autocommit(s->db))
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

/*
 * An insert that turned out to be a duplicate may have written its object's file under a name that
 * is the stored image's own or nobody's. The latter goes.
 */
static void drop_unused(struct store *s, struct op *ops)
{
	for (struct op *op = ops; op; op = op->next) {
		struct name_list one = {0};
		char name[40];

		if ((op->kind != OP_INSERT && op->kind != OP_STEP) || !op->result ||
			!(op->row.flags & IMAGE_FILE))
			continue;
		object_name(op->row.id, op->row.quality, name);
		if (!object_known(s, name) && remember(&one, name) == 0)
			unlink_objects(s, &one);
		free(one.v);
	}
}

static void clear_change(struct tally_list *l)
{
	l->n = 0;
}

int store_apply(struct store *s, struct op *ops, bool relief, struct tally_list *ret_change)
{
	struct batch b = {.change = ret_change};
	int r = cap_index(s, relief);

	if (r == 0)
		r = write_objects(s, ops, relief, &b);
	for (int attempt = 0; r == 0 && attempt < 2; attempt++) {
		clear_change(ret_change);
		b.garbage.n = 0;
		b.written = 0;
		s->wal.refused = false;
		r = transaction(s, ops, &b);
		if (r != -ENOSPC || !s->wal.refused)
			break;
		r = attempt == 0 ? checkpoint(s) : -E2BIG; /* empty the log, then try once more */
	}
	if (r < 0) {
		clear_change(ret_change);
		unlink_objects(s, &b.made);
	} else {
		unlink_objects(s, &b.garbage);
		s->garbage_rows = b.garbage.n > 0;
		drop_unused(s, ops);
		if (file_bytes(s, "index.db-wal") > s->wal.cap / 2)
			checkpoint(s); /* a busy reader only makes it happen later */
	}
	free(b.made.v);
	free(b.garbage.v);
	return r;
}

int store_shrink(struct store *s, int pages)
{
	int64_t before = pragma_value(s, "PRAGMA page_count");
	char text[64];
	int r;

	snprintf(text, sizeof(text), "PRAGMA incremental_vacuum(%d)", pages);
	s->wal.refused = false;
	r = exec(s, text);
	if (r == -ENOSPC && s->wal.refused)
		r = checkpoint(s);
	if (r < 0)
		return r;
	checkpoint(s);
	return (int)(before - pragma_value(s, "PRAGMA page_count"));
}

int store_write_model(struct store *s, const char *name, const void *data, size_t len)
{
	struct stat st;
	int64_t old = fstatat(s->models, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? io_disk_bytes(&st) : 0;
	int r;

	if (!data) {
		if (old && unlinkat(s->models, name, 0) < 0)
			return -errno;
		s->model_bytes -= old;
		return fsync(s->models) < 0 ? -errno : 0;
	}
	if (!store_files_fit(s, (int64_t)len)) /* old and new exist together for a moment */
		return -ENOSPC;
	r = io_write_durable(s->models, name, data, len);
	if (r < 0)
		return r == -EDQUOT ? -ENOSPC : r;
	if (fstatat(s->models, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		s->model_bytes += io_disk_bytes(&st) - old;
	return 0;
}

int store_read_model(const struct store *s, const char *name, struct buf *ret)
{
	return io_read_file(s->models, name, SIZE_MAX / 8, ret);
}
