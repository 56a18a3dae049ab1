#include "daemon/store_salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/digest.h"
#include "common/io.h"
#include "daemon/store_internal.h"
#include "daemon/store_tag.h"
#include "policy/member.h"

#define NEW_NAME     "index.new"
#define SCRATCH_NAME "larder-index.new"
#define SETS_MAX     64

struct salvage {
	struct store *s; /* owned: directories, and the new index as db */
	sqlite3 *old;	 /* owned; NULL: it cannot be opened */
	struct store_vfs through; /* what old is read through when its first page is not its own */
	uint8_t first_page[PAGE_BYTES];
	const char *path;
	char file[STORE_PATH_MAX + 16]; /* the old index's */
	char made[STORE_PATH_MAX + 32]; /* the new index's */
	int64_t sets[SETS_MAX];		/* table sets that are whole */
	int n_sets;
	bool starved; /* no memory to read something old with: it may be there all the same */
	bool read;    /* somebody else reads the old index, so that its log stays */
	bool torn;    /* the tree of images does not lead to all of its pages */
	struct salvage_report report;
	char *error;
};

static int _printf_(3, 4) fail(struct salvage *w, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->error, 256, fmt, ap);
	va_end(ap);
	return r;
}

static int fail_new(struct salvage *w, int r)
{
	if (r == -ENOSPC)
		return fail(w, r,
			"old and new index do not fit the limit together: name another place with "
			"--scratch DIR");
	return fail(w, r, "%s: %s", w->made, w->s->error[0] ? w->s->error : strerror(-r));
}

/* The old index is read as it is, damage and all; what cannot be prepared (NULL) is not there. */
static sqlite3_stmt *prepare_old(struct salvage *w, const char *text)
{
	sqlite3_stmt *st = NULL;

	if (w->old && sqlite3_prepare_v2(w->old, text, -1, &st, NULL) == SQLITE_NOMEM)
		w->starved = true;
	return st;
}

/* As sqlite3_step(), of a statement that may not be there; notes that there was no memory for it. */
static int step(struct salvage *w, sqlite3_stmt *st)
{
	int rc = st ? sqlite3_step(st) : SQLITE_DONE;

	if (rc == SQLITE_NOMEM)
		w->starved = true;
	return rc;
}

static int read_beside(struct salvage *w, int dir_fd, const char *name, size_t max, struct buf *ret)
{
	int r = io_read_file(dir_fd, name, max, ret);

	if (r == -ENOMEM)
		w->starved = true;
	return r;
}

static int64_t number_of_old(struct salvage *w, const char *text)
{
	sqlite3_stmt *st = prepare_old(w, text);
	int64_t v = step(w, st) == SQLITE_ROW && sqlite3_column_type(st, 0) == SQLITE_INTEGER
			    ? sqlite3_column_int64(st, 0)
			    : -1;

	sqlite3_finalize(st);
	return v;
}

/* Whether the old index says which store it belongs to, and what it says. */
static bool old_uuid(struct salvage *w, struct buf *ret)
{
	sqlite3_stmt *st = prepare_old(w, "SELECT value FROM meta WHERE key = 'uuid'");
	bool there = step(w, st) == SQLITE_ROW;

	if (there)
		buf_put(ret, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
	sqlite3_finalize(st);
	w->starved = w->starved || ret->failed;
	return there;
}

static void close_old(struct salvage *w)
{
	if (w->old)
		sqlite3_db_config(w->old, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_close(w->old);
	w->old = NULL;
	store_vfs_unregister(&w->through);
	w->through = (struct store_vfs){0};
}

static void open_old_through(struct salvage *w, const char *vfs)
{
	int rc = sqlite3_open_v2(w->file, &w->old, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs);

	if (rc != SQLITE_OK) {
		w->starved = rc == SQLITE_NOMEM;
		sqlite3_close(w->old);
		w->old = NULL;
		return;
	}
	sqlite3_busy_timeout(w->old, 5000); /* a trainer may still be on its way out */
	/*
	 * What is in the log belongs to it, and must not be found beside the new one. There is none to
	 * write back before something was read.
	 */
	sqlite3_exec(w->old, "SELECT 1 FROM sqlite_schema LIMIT 1", NULL, NULL, NULL);
	w->read = sqlite3_wal_checkpoint_v2(w->old, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) ==
		  SQLITE_BUSY;
	sqlite3_exec(w->old, "PRAGMA query_only=ON; PRAGMA cell_size_check=ON", NULL, NULL, NULL);
}

static bool knows_its_tables(struct salvage *w)
{
	sqlite3_stmt *st = prepare_old(
		w, "SELECT 1 FROM meta, labels, tables, images, tally, counters, garbage, taken WHERE 0");
	bool knows = st;

	sqlite3_finalize(st);
	return knows;
}

/* An index whose first page cannot be read is read through the one that it must have had, if that fits. */
static void open_old(struct salvage *w)
{
	_cleanup_buf_ struct buf uuid = {0};
	int r;

	open_old_through(w, NULL);
	if (w->starved || knows_its_tables(w) || w->starved)
		return;
	close_old(w);
	r = pages_first(w->file, w->first_page);
	w->through.first_page = w->first_page;
	if (r == 0)
		r = store_vfs_register(&w->through);
	w->starved = r == -ENOMEM;
	if (r < 0)
		return;
	open_old_through(w, w->through.name);
	if (!w->starved && (!old_uuid(w, &uuid) || uuid.len != UUID_LEN) && !w->starved)
		close_old(w);
}

static int open_new(struct salvage *w, int64_t limit, bool inside)
{
	int64_t used = io_tree_bytes(w->s->dir);
	char text[128];
	int rc, r;

	if (unlink(w->made) < 0 && errno != ENOENT)
		return fail(w, -errno, "%s: %s", w->made, strerror(errno));
	if (used < 0)
		return fail(w, (int)used, "%s: %s", w->path, strerror((int)-used));
	if (store_vfs_register(&w->s->wal) < 0)
		return fail(w, -ENOMEM, "%s: out of memory", w->made);
	rc = sqlite3_open_v2(w->made, &w->s->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, w->s->wal.name);
	if (rc != SQLITE_OK)
		return fail(w, errno_of(rc), "%s: %s", w->made,
			w->s->db ? sqlite3_errmsg(w->s->db) : "out of memory");
	r = store_exec(w->s, INDEX_FORMAT "PRAGMA journal_mode=OFF;"
					  "PRAGMA synchronous=OFF; PRAGMA cache_size=-2048");
	if (r == 0)
		r = store_exec(w->s, store_schema);
	snprintf(text, sizeof(text), "PRAGMA user_version=%d; PRAGMA max_page_count=%" PRId64, STORE_SCHEMA,
		inside ? MAX((limit - used) / PAGE_BYTES, INT64_C(1)) : INT64_C(0x7fffffff));
	if (r == 0)
		r = store_exec(w->s, text);
	if (r == 0)
		r = store_prepare(w->s);
	return r < 0 ? fail_new(w, r) : 0;
}

/* The rows of a table that can be read, up to the first that cannot. */
static int copy_table(struct salvage *w, const char *select, const char *insert)
{
	sqlite3_stmt *from = prepare_old(w, select), *to = NULL;
	int r = 0, rc = sqlite3_prepare_v2(w->s->db, insert, -1, &to, NULL);

	if (rc != SQLITE_OK)
		r = store_fail(w->s, rc);
	while (r == 0 && step(w, from) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(from); i++)
			sqlite3_bind_value(to, i + 1, sqlite3_column_value(from, i));
		rc = sqlite3_step(to);
		sqlite3_reset(to);
		if (rc != SQLITE_DONE && rc != SQLITE_CONSTRAINT)
			r = store_fail(w->s, rc);
	}
	sqlite3_finalize(from);
	sqlite3_finalize(to);
	return r;
}

static bool set_known(const struct salvage *w, int64_t id)
{
	for (int i = 0; i < w->n_sets; i++)
		if (w->sets[i] == id)
			return true;
	return id == 0;
}

static int add_set(struct salvage *w, int64_t id, const void *data, size_t len)
{
	int r;

	if (w->n_sets == SETS_MAX)
		return 0;
	r = store_put_set(w->s, id, data, len);
	if (r == 0)
		w->sets[w->n_sets++] = id;
	return r;
}

static int add_copy(struct store *s, const char *name, void *arg)
{
	_cleanup_buf_ struct buf copy = {0};
	struct salvage *w = arg;
	int64_t id = store_set_id(name);
	int r = set_known(w, id) ? -EEXIST : store_read_set(s->models, id, &copy);

	if (r == -ENOMEM)
		return r;
	return r < 0 ? 0 : add_set(w, id, copy.data, copy.len);
}

/* The table sets of the old index, and those that only a second copy tells of. */
static int copy_sets(struct salvage *w)
{
	sqlite3_stmt *st = prepare_old(w, "SELECT id, data, crc FROM tables");
	int r = 0;

	while (r == 0 && step(w, st) == SQLITE_ROW) {
		const void *data = sqlite3_column_blob(st, 1);
		size_t len = (size_t)sqlite3_column_bytes(st, 1);

		if (crc32c(0, data, len) == (uint32_t)sqlite3_column_int64(st, 2))
			r = add_set(w, sqlite3_column_int64(st, 0), data, len);
	}
	sqlite3_finalize(st);
	return r < 0 ? r : store_each_file(w->s, w->s->models, add_copy, w);
}

/* Whether the file of a row is what the row says. */
static bool file_is_whole(struct salvage *w, const struct image_row *row)
{
	_cleanup_buf_ struct buf file = {0};
	char name[40];

	object_name(row->id, row->quality, name);
	return read_beside(w, w->s->objects, name, OBJECT_BYTES_MAX, &file) == 0 && file.len == row->bytes &&
	       crc32c(0, file.data, file.len) == row->crc;
}

/* Whether all is there of a row whose data is in a statement's 20th column. */
static bool row_is_whole(struct salvage *w, sqlite3_stmt *st, const struct image_row *row)
{
	const void *data = sqlite3_column_blob(st, 19);
	size_t len = (size_t)sqlite3_column_bytes(st, 19);

	if (row->flags & IMAGE_FILE)
		return file_is_whole(w, row);
	return len == row->bytes && (data || !len) && crc32c(0, data, len) == row->crc &&
	       set_known(w, row->tables);
}

/* Whether it is, but for a bit. Of rows that are in their place: others may be anything. */
static bool row_is_mended(struct salvage *w, sqlite3_stmt *st, struct image_row *row, struct buf *ret)
{
	bool changed;

	if (row->flags & IMAGE_FILE)
		return false;
	buf_put(ret, sqlite3_column_blob(st, 19), (size_t)sqlite3_column_bytes(st, 19));
	w->starved = w->starved || ret->failed;
	return !ret->failed && ret->len == row->bytes && set_known(w, row->tables) &&
	       mend_bit(ret->data, ret->len, &row->crc, &changed);
}

/* A row of the old index whose columns are ROW_COLUMNS and the data. */
static int take_row(struct salvage *w, sqlite3_stmt *st)
{
	_cleanup_buf_ struct buf mended = {0};
	bool whole;
	struct image_row row;

	row_from(st, &row);
	(void)row_mend(&row); /* else it is taken as it is */
	whole = row_is_whole(w, st, &row);
	if (!whole && !row_is_mended(w, st, &row, &mended)) {
		w->report.damaged++;
		return 0;
	}
	w->report.from_index++;
	return row_insert(w->s, &row, whole ? sqlite3_column_blob(st, 19) : mended.data);
}

/* The first id from `from` on that the damaged tree gives; -1: none, or it cannot say. */
static int64_t first_from(struct salvage *w, int64_t from)
{
	sqlite3_stmt *st = prepare_old(w, "SELECT id FROM images WHERE id >= ?1 ORDER BY id LIMIT 1");
	int64_t id = -1;

	sqlite3_bind_int64(st, 1, from);
	if (step(w, st) == SQLITE_ROW)
		id = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return id < from ? -1 : id; /* out of order is damage */
}

/*
 * Where the tree can be read again after a page that cannot: leaps that double until it can, then half of
 * the last leap, and half of that, so that nothing behind the page is left out. -1: nowhere.
 */
static int64_t beyond_damage(struct salvage *w, int64_t from)
{
	uint64_t low = (uint64_t)from, high = low, leap = 1; /* low cannot be read, high can */

	while (high <= INT64_MAX && first_from(w, (int64_t)high) < 0) {
		low = high;
		high += leap;
		leap *= 2;
	}
	if (high > INT64_MAX) { /* the last leap may have gone over the end */
		high = INT64_MAX;
		while (high - low > 1 && first_from(w, (int64_t)high) < 0)
			high = low + (high - low) / 2;
		if (first_from(w, (int64_t)high) < 0)
			return -1;
	}
	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;

		if (first_from(w, (int64_t)middle) < 0)
			low = middle;
		else
			high = middle;
	}
	return first_from(w, (int64_t)high);
}

/* Takes rows from *from on, which is behind the last afterwards; whether that was the end. */
static int copy_run(struct salvage *w, int64_t *from, bool *ret_end)
{
	sqlite3_stmt *st =
		prepare_old(w, "SELECT " ROW_COLUMNS ", data FROM images WHERE id >= ?1 ORDER BY id");
	int r = 0, rc = SQLITE_DONE;

	sqlite3_bind_int64(st, 1, *from);
	while (r == 0 && (rc = step(w, st)) == SQLITE_ROW) {
		int64_t id = sqlite3_column_int64(st, 0);

		if (id < *from || id == INT64_MAX)
			break;
		r = take_row(w, st);
		*from = id + 1;
	}
	sqlite3_finalize(st);
	*ret_end = rc == SQLITE_DONE;
	return r;
}

static int copy_rows(struct salvage *w)
{
	int64_t from = 0, unread = -1; /* a row that the tree has */
	bool end = false;
	int r = 0;

	while (r == 0 && !end && from >= 0) {
		r = copy_run(w, &from, &end);
		if (r < 0 || end)
			break;
		w->torn = true;
		from = beyond_damage(w, from);
		if (from >= 0 && from == unread) { /* but not its bytes */
			w->report.damaged++;
			from++;
		} else {
			unread = from;
		}
	}
	return r;
}

static bool in_new(struct salvage *w, int64_t id)
{
	sqlite3_stmt *st = w->s->st[ST_EXISTS];
	int rc;

	sqlite3_bind_int64(st, 1, id);
	rc = step(w, st);
	sqlite3_reset(st);
	return rc == SQLITE_ROW;
}

/* A row from a leaf that may be of another table, or known already. */
static int take_stray(void *user, sqlite3_stmt *st)
{
	struct salvage *w = user;
	struct image_row row;

	if (sqlite3_column_type(st, 1) != SQLITE_INTEGER || sqlite3_column_int(st, 14) <= 0)
		return 0;
	row_from(st, &row);
	if (row.quality < 1 || row.quality > 100 || row.width < 1 || row.height < 1 || in_new(w, row.id) ||
		!row_is_whole(w, st, &row))
		return 0;
	w->report.from_index++;
	return row_insert(w->s, &row, sqlite3_column_blob(st, 19));
}

/* Rows that the tree should have led to and did not are looked for in all its pages. */
static int copy_strays(struct salvage *w)
{
	if (!w->torn && w->report.expected >= 0 &&
		w->report.from_index + w->report.damaged >= w->report.expected)
		return 0;
	return pages_each_image(w->file, take_stray, w);
}

/* Rows whose labels were lost keep apart what was apart. */
static int name_lost_labels(struct salvage *w)
{
	return store_exec(w->s,
		"INSERT OR IGNORE INTO labels SELECT DISTINCT stratum / 2, 'salvaged-' || (stratum / 2)"
		" FROM images WHERE stratum > 1 AND stratum / 2 NOT IN (SELECT id FROM labels)");
}

static int find_label(struct salvage *w, const char *name, uint32_t *ret)
{
	*ret = 0;
	if (!name[0] || store_find_label(w->s, name, ret))
		return 0;
	return store_add_label(w->s, name, ret);
}

/* It was to be unlinked: its image was removed, or has another file now. */
static bool was_garbage(struct salvage *w, const char *name)
{
	sqlite3_stmt *st = prepare_old(w, "SELECT 1 FROM garbage WHERE name = ?1");
	bool was;

	sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
	was = step(w, st) == SQLITE_ROW;
	sqlite3_finalize(st);
	return was;
}

static int take_file(struct store *s, const char *name, void *arg)
{
	struct salvage *w = arg;
	_cleanup_buf_ struct buf file = {0};
	char *end, want[40] = "";
	int64_t id = (int64_t)strtoull(name, &end, 16);
	struct tag tag;
	uint32_t label;
	size_t picture;
	int r;

	if (end == name + 16 && (in_new(w, id) || was_garbage(w, name)))
		return 0; /* the row's own, or what is swept when the store is opened */
	r = read_beside(w, w->s->objects, name, OBJECT_BYTES_MAX, &file);
	if (w->starved)
		return -ENOMEM;
	picture = r < 0 ? 0 : tag_read(file.data, file.len, &tag);
	if (r == 0 && picture < file.len)
		object_name(tag.row.id, tag.row.quality, want);
	if (strcmp(want, name) != 0 || crc32c(0, file.data, picture) != tag.picture_crc) {
		w->report.damaged++;
		return renameat(w->s->objects, name, w->s->quarantine, name) < 0 ? -errno : 0;
	}
	r = find_label(w, tag.label, &label);
	if (r < 0)
		return r;
	tag.row.stratum = stratum_of(label, tag.validation);
	tag.row.bytes = (uint32_t)file.len;
	tag.row.crc = crc32c(0, file.data, file.len);
	w->report.from_files++;
	return row_insert(w->s, &tag.row, NULL);
}

/* The totals; what was lost counts as dropped, so that every capture is still accounted for. */
static int write_totals(struct salvage *w)
{
	int64_t kept = w->report.from_index + w->report.from_files;
	int r = store_run(w->s, ST_TALLY_ALL);

	if (r < 0 || w->report.expected <= kept)
		return r;
	sqlite3_bind_int(w->s->st[ST_COUNT], 1, COUNT_DROPPED);
	sqlite3_bind_int64(w->s->st[ST_COUNT], 2, w->report.expected - kept);
	return store_run(w->s, ST_COUNT);
}

/* I4: an index of another disk's store has other files beside it. */
static int check_uuid(struct salvage *w)
{
	_cleanup_buf_ struct buf uuid = {0}, old = {0};
	bool other = read_beside(w, w->s->dir, "uuid", 64, &uuid) == 0 && old_uuid(w, &old) &&
		     (old.len != uuid.len || memcmp(old.data, uuid.data, old.len) != 0);

	if (w->starved)
		return fail(w, -ENOMEM, "out of memory");
	return other ? fail(w, -EUCLEAN, "index.db and uuid do not belong together: another disk's store?")
		     : 0;
}

/*
 * The directory's uuid is the index's. One that is gone is had from the old index, so that they still
 * belong together when the new one does not come to be; only when neither has one do both get another.
 */
static int write_uuid(struct salvage *w)
{
	_cleanup_buf_ struct buf uuid = {0};
	sqlite3_stmt *to = w->s->st[ST_META];
	int r = 0;

	if (read_beside(w, w->s->dir, "uuid", 64, &uuid) < 0 || uuid.len != UUID_LEN) {
		uuid.len = 0;
		old_uuid(w, &uuid);
		if (w->starved)
			return -ENOMEM;
		if (uuid.len != UUID_LEN)
			return store_create_uuid(w->s);
		r = io_write_durable(w->s->dir, "uuid", uuid.data, UUID_LEN);
	}
	if (r < 0)
		return r;
	sqlite3_bind_text(to, 1, "uuid", -1, SQLITE_STATIC);
	sqlite3_bind_text(to, 2, (const char *)uuid.data, UUID_LEN, SQLITE_STATIC);
	return store_run(w->s, ST_META);
}

static int fill_new(struct salvage *w)
{
	int r = store_exec(w->s, "BEGIN");

	w->report.expected = number_of_old(w, "SELECT sum(images) FROM tally");
	if (r == 0)
		r = copy_table(w, "SELECT key, value FROM meta WHERE key <> 'uuid'",
			"INSERT INTO meta VALUES(?1, ?2)");
	if (r == 0)
		r = copy_table(w, "SELECT id, name FROM labels", "INSERT INTO labels VALUES(?1, ?2)");
	if (r == 0)
		r = copy_table(
			w, "SELECT counter, value FROM counters", "INSERT INTO counters VALUES(?1, ?2)");
	if (r == 0)
		r = copy_table(w, "SELECT id, path, dev, ino, size, mtime_ns, image, reason FROM taken",
			"INSERT INTO taken VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
	if (r == 0)
		r = copy_sets(w);
	if (r == 0)
		r = copy_rows(w);
	if (r == 0)
		r = copy_strays(w);
	if (r == 0)
		r = name_lost_labels(w);
	if (r == 0)
		r = store_each_file(w->s, w->s->objects, take_file, w);
	if (r == 0)
		r = write_totals(w);
	if (r == 0)
		r = write_uuid(w);
	if (r == 0 && w->starved)
		r = -ENOMEM;
	if (r == 0)
		r = store_exec(w->s, "COMMIT");
	return r < 0 ? fail_new(w, r) : 0;
}

static int judge(struct salvage *w, bool force)
{
	const struct salvage_report *n = &w->report;
	int64_t kept = n->from_index + n->from_files;

	if (force)
		return 0;
	if (n->expected < 0)
		return fail(w, -EUCLEAN,
			"%" PRId64 " images can be saved; of how many cannot be told any more. With "
			"--force the rest is given up",
			kept);
	if (2 * kept < n->expected)
		return fail(w, -EUCLEAN,
			"only %" PRId64 " of %" PRId64 " images can be saved: is a disk missing? With "
			"--force the rest is given up",
			kept, n->expected);
	return 0;
}

static int sync_file(const char *file)
{
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int unlink_if_there(int dir, const char *name)
{
	return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* A log that was left beside the old index must never be found beside the new one. */
static int remove_logs(struct store *s)
{
	int r = unlink_if_there(s->dir, "index.db-wal");

	if (r == 0)
		r = unlink_if_there(s->dir, "index.db-shm");
	return r == 0 && fsync(s->dir) < 0 ? -errno : r;
}

static int put_in_place(struct store *s)
{
	int r = remove_logs(s);

	if (r == 0 && renameat(s->dir, NEW_NAME, s->dir, "index.db") < 0)
		r = -errno;
	return r == 0 && fsync(s->dir) < 0 ? -errno : r;
}

static int copy_in(struct store *s, const char *from)
{
	static uint8_t piece[1 << 16];
	_cleanup_close_ int in = open(from, O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int out = -1;
	ssize_t n = in < 0 ? -1 : 1;
	struct stat st;
	int r = 0;

	if (in < 0)
		return -errno;
	out = openat(s->dir, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (out < 0)
		return -errno;
	if (fstat(in, &st) == 0)
		r = io_lengthen(out, st.st_size);
	while (r == 0 && (n = read(in, piece, sizeof(piece))) > 0)
		r = io_write_full(out, piece, (size_t)n);
	if (n < 0)
		r = -errno;
	return r == 0 && fsync(out) < 0 ? -errno : r;
}

/* From here on the new index is the only one, in scratch until it has been copied. */
static int bring_home(struct salvage *w, const char *from)
{
	struct store *s = w->s;
	int r = remove_logs(s);

	if (r == 0)
		r = unlink_if_there(s->dir, "index.db");
	if (r == 0)
		r = copy_in(s, from);
	if (r == 0)
		r = put_in_place(s);
	if (r == 0)
		r = unlink_if_there(s->dir, SALVAGE_MARK);
	if (r == 0 && fsync(s->dir) < 0)
		r = -errno;
	if (r < 0)
		return fail(w, r, "the new index is in %.120s; copying it here: %s. Try again", from,
			strerror(-r));
	unlink(from);
	return 0;
}

static int swap_outside(struct salvage *w)
{
	struct stat st;
	int64_t old = store_file_bytes(w->s->dir, "index.db") + store_file_bytes(w->s->dir, "index.db-wal");
	int r = stat(w->made, &st) < 0 ? -errno : 0;

	if (r == 0 && io_disk_bytes(&st) > MAX(old, INT64_C(65536)))
		return fail(w, -ENOSPC, "the new index is larger than the old one");
	if (r == 0)
		r = io_write_durable(w->s->dir, SALVAGE_MARK, w->made, strlen(w->made));
	return r < 0 ? fail(w, r, "%s: %s", w->path, strerror(-r)) : bring_home(w, w->made);
}

static int swap(struct salvage *w, bool inside)
{
	int r = sync_file(w->made);

	if (r == 0 && !inside)
		return swap_outside(w);
	if (r == 0)
		r = put_in_place(w->s);
	return r < 0 ? fail(w, r, "%s: %s", w->path, strerror(-r)) : 0;
}

static int make_anew(struct salvage *w, int64_t limit, const char *scratch, bool force)
{
	int r;

	if (scratch)
		snprintf(w->made, sizeof(w->made), "%s/" SCRATCH_NAME, scratch);
	else
		snprintf(w->made, sizeof(w->made), "%s/" NEW_NAME, w->path);
	snprintf(w->file, sizeof(w->file), "%s/index.db", w->path);
	open_old(w);
	r = w->read ? fail(w, -EBUSY, "somebody reads the index: try again when that has ended")
		    : check_uuid(w);
	if (r == 0)
		r = open_new(w, limit, !scratch);
	if (r == 0)
		r = fill_new(w);
	if (r == 0)
		r = judge(w, force);
	close_old(w);
	store_close_index(w->s);
	if (r < 0)
		unlink(w->made);
	return r < 0 ? r : swap(w, !scratch);
}

int store_salvage(const char *path, int64_t limit, const char *scratch, bool force,
	struct salvage_report *ret, char error[256])
{
	_cleanup_(store_closep) struct store *s = store_new();
	struct salvage w = {.s = s, .path = path, .error = error};
	_cleanup_buf_ struct buf mark = {0};
	int r;

	*ret = w.report;
	snprintf(error, 256, "out of memory");
	if (!s)
		return -ENOMEM;
	r = store_open_dirs(s, path, error);
	if (r < 0)
		return r;
	r = io_read_file(s->dir, SALVAGE_MARK, STORE_PATH_MAX + 32, &mark);
	if (r == 0) {
		buf_put_u8(&mark, 0);
		r = mark.failed ? fail(&w, -ENOMEM, "out of memory")
				: bring_home(&w, (const char *)mark.data);
	} else {
		r = make_anew(&w, limit, scratch, force);
	}
	*ret = w.report;
	return r;
}
