/* The reading half of the store, and its check. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/digest.h"
#include "common/io.h"
#include "daemon/store_internal.h"
#include "daemon/store_tag.h"
#include "policy/member.h"

#define COMMIT_US_MAX (10 * US_PER_SEC) /* from an object's name to its row's commit, on a slow disk */

struct store_view {
	sqlite3 *db;
	int objects, models; /* owned descriptors */
	sqlite3_stmt *row, *data;
};

int view_open(const char *path, struct store_view **ret, char error[256])
{
	_cleanup_(view_closep) struct store_view *v = calloc(1, sizeof(*v));
	char file[STORE_PATH_MAX + 16];
	int rc;

	if (!v) {
		snprintf(error, 256, "%s: out of memory", path);
		return -ENOMEM;
	}
	snprintf(file, sizeof(file), "%s/objects", path);
	v->objects = open(file, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(file, sizeof(file), "%s/models", path);
	v->models = open(file, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(file, sizeof(file), "%s/index.db", path);
	/* Read-write only so that the log's shared memory can be used; nothing is ever written. */
	rc = sqlite3_open_v2(file, &v->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(v->db, "PRAGMA query_only=ON; PRAGMA cache_size=-1024;"
					 "PRAGMA wal_autocheckpoint=0", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(v->db, "SELECT " ROW_COLUMNS " FROM images WHERE id=?1", -1, &v->row,
			NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(v->db, "SELECT data FROM images WHERE id=?1", -1, &v->data, NULL);
	if (rc != SQLITE_OK || v->objects < 0 || v->models < 0) {
		snprintf(error, 256, "%s: %s", file, v->db ? sqlite3_errmsg(v->db) : "cannot open");
		return rc == SQLITE_OK ? -EACCES : errno_of(rc);
	}
	sqlite3_busy_timeout(v->db, 5000);
	*ret = TAKE_PTR(v);
	return 0;
}

void view_close(struct store_view *v)
{
	int on = 1;

	if (!v)
		return;
	sqlite3_finalize(v->row);
	sqlite3_finalize(v->data);
	/* Never checkpoint on the way out: that is the writer's. */
	if (v->db)
		sqlite3_db_config(v->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, on, NULL);
	sqlite3_close(v->db);
	close_fd(&v->objects);
	close_fd(&v->models);
	free(v);
}

void view_forget_pages(struct store_view *v)
{
	sqlite3_db_release_memory(v->db);
}

int view_row(struct store_view *v, int64_t id, struct image_row *ret)
{
	int rc, r = -ENOENT;

	sqlite3_bind_int64(v->row, 1, id);
	rc = sqlite3_step(v->row);
	if (rc == SQLITE_ROW) {
		row_from(v->row, ret);
		r = 0;
	} else if (rc != SQLITE_DONE) {
		r = errno_of(rc);
	}
	sqlite3_reset(v->row);
	return r;
}

bool view_lost(int result)
{
	return result == -EBADMSG || result == -ENOENT || result == -EIO;
}

int view_data(struct store_view *v, const struct image_row *row, struct buf *ret)
{
	size_t start = ret->len;
	int r = row_read_data(row, v->data, v->objects, ret);

	if (r == 0 && (ret->len - start != row->bytes ||
			      crc32c(0, ret->data + start, ret->len - start) != row->crc))
		return -EBADMSG;
	if (r == 0 && (row->flags & IMAGE_FILE))
		ret->len = start + tag_read(ret->data + start, ret->len - start, NULL);
	return r;
}

static int prepare(struct store_view *v, const char *text, sqlite3_stmt **ret)
{
	return errno_of(sqlite3_prepare_v2(v->db, text, -1, ret, NULL));
}

/* Steps st to its end with fn on each row, and finalises it. */
static int each_row(sqlite3_stmt *st, row_fn fn, void *user)
{
	int rc = SQLITE_DONE;
	bool more = true;

	while (more && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct image_row row;

		row_from(st, &row);
		more = fn(user, &row);
	}
	sqlite3_finalize(st);
	return more ? errno_of(rc) : 0;
}

int view_cheapest(struct store_view *v, int limit, row_fn fn, void *user)
{
	sqlite3_stmt *st;
	int r = prepare(v, "SELECT " ROW_COLUMNS " FROM images WHERE step IS NOT NULL ORDER BY step LIMIT ?1",
		&st);

	if (r < 0)
		return r;
	sqlite3_bind_int(st, 1, limit);
	return each_row(st, fn, user);
}

int view_last_ranks(struct store_view *v, uint32_t stratum, int limit, row_fn fn, void *user)
{
	sqlite3_stmt *st;
	int r = prepare(v, "SELECT " ROW_COLUMNS " FROM images WHERE stratum=?1 AND NOT flags & 1"
			   " ORDER BY rank DESC LIMIT ?2", &st);

	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, stratum);
	sqlite3_bind_int(st, 2, limit);
	return each_row(st, fn, user);
}

/* Rows of a stratum whose ranks are in [from, below), by rank in that order. */
static int rows_ranked(struct store_view *v, uint32_t stratum, int from, int below, const char *order,
	int limit, row_fn fn, void *user)
{
	char text[512];
	sqlite3_stmt *st;
	int r;

	snprintf(text, sizeof(text),
		"SELECT " ROW_COLUMNS " FROM images WHERE stratum=?1 AND rank >= ?2 AND rank < ?3"
		" ORDER BY rank %s LIMIT ?4", order);
	r = prepare(v, text, &st);
	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, stratum);
	sqlite3_bind_int(st, 2, from);
	sqlite3_bind_int(st, 3, below);
	sqlite3_bind_int(st, 4, limit);
	return each_row(st, fn, user);
}

int view_first_ranks(struct store_view *v, uint32_t stratum, int limit, row_fn fn, void *user)
{
	return rows_ranked(v, stratum, 0, RANK_MAX + 1, "ASC", limit, fn, user);
}

int view_unspent(struct store_view *v, uint32_t stratum, int from, int limit, row_fn fn, void *user)
{
	return rows_ranked(v, stratum, from, RANK_SPENT, "ASC", limit, fn, user);
}

int view_lasting(struct store_view *v, uint32_t stratum, int limit, row_fn fn, void *user)
{
	return rows_ranked(v, stratum, RANK_SPENT, RANK_LASTING, "DESC", limit, fn, user);
}

int64_t view_count_lasting(struct store_view *v, uint32_t stratum)
{
	sqlite3_stmt *st;
	int rc;
	int64_t n = prepare(v, "SELECT count(*) FROM images WHERE stratum=?1 AND rank >= ?2 AND rank < ?3",
		&st);

	if (n < 0)
		return n;
	sqlite3_bind_int64(st, 1, stratum);
	sqlite3_bind_int(st, 2, RANK_SPENT);
	sqlite3_bind_int(st, 3, RANK_LASTING);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? n : errno_of(rc);
}

int view_walk(struct store_view *v, int64_t after, int64_t not_model, int limit, row_fn fn, void *user)
{
	sqlite3_stmt *st;
	int r = prepare(v, "SELECT " ROW_COLUMNS " FROM images WHERE id > ?1 AND model IS NOT ?2"
			   " ORDER BY id LIMIT ?3", &st);

	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, after);
	if (not_model >= 0)
		sqlite3_bind_int64(st, 2, not_model);
	sqlite3_bind_int(st, 3, limit);
	return each_row(st, fn, user);
}

int view_older(struct store_view *v, int64_t after, int64_t (*limit_s)(void *user, uint32_t stratum),
	row_fn fn, void *user)
{
	sqlite3_stmt *st;
	bool more = true;
	int rc = SQLITE_DONE, r;

	r = prepare(v, "SELECT " ROW_COLUMNS " FROM images WHERE id > ?1 AND NOT flags & 1 ORDER BY id", &st);
	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, after);
	while (more && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		struct image_row row;

		row_from(st, &row);
		if (row.taken_s < limit_s(user, row.stratum))
			more = fn(user, &row);
	}
	sqlite3_finalize(st);
	return more ? errno_of(rc) : 0;
}

int view_find(struct store_view *v, const char *prefix, int64_t *ret_id)
{
	size_t n = strlen(prefix);
	uint64_t low, width;
	sqlite3_stmt *st;
	char *end;
	int found = 0, rc, r;

	if (n < 1 || n > 16)
		return -ENOENT;
	low = strtoull(prefix, &end, 16);
	if (*end || prefix[0] == '-' || prefix[0] == '+' || prefix[0] == ' ')
		return -ENOENT;
	low <<= 4 * (16 - n);
	width = n == 16 ? 0 : (UINT64_C(1) << (4 * (16 - n))) - 1;
	if (low > INT64_MAX)
		return -ENOENT;
	r = prepare(v, "SELECT id FROM images WHERE id BETWEEN ?1 AND ?2 LIMIT 2", &st);
	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, (int64_t)low);
	sqlite3_bind_int64(st, 2, (int64_t)MIN(low + width, (uint64_t)INT64_MAX));
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		if (found++ == 0)
			*ret_id = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	if (rc != SQLITE_DONE)
		return errno_of(rc);
	return found == 0 ? -ENOENT : found > 1 ? -ENOTUNIQ : 0;
}

static int view_came(struct store_view *v, struct tally_list *ret)
{
	sqlite3_stmt *st;
	int rc, r = prepare(v, "SELECT counter - ?1, value FROM counters WHERE counter >= ?1", &st);

	if (r < 0)
		return r;
	sqlite3_bind_int64(st, 1, COUNT_CAME);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		tally_add(ret,
			&(struct tally){.stratum = stratum_of((uint32_t)sqlite3_column_int64(st, 0), false),
				.came = sqlite3_column_int64(st, 1)});
	sqlite3_finalize(st);
	return errno_of(rc);
}

int view_tallies(struct store_view *v, struct tally_list *ret)
{
	sqlite3_stmt *st;
	int rc, r = prepare(v, "SELECT stratum, quality, images, bytes, pinned FROM tally", &st);

	if (r < 0)
		return r;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		tally_add(ret, &(struct tally){(uint32_t)sqlite3_column_int64(st, 0),
				       (uint8_t)sqlite3_column_int(st, 1), sqlite3_column_int64(st, 2),
				       sqlite3_column_int64(st, 3), sqlite3_column_int64(st, 4)});
	sqlite3_finalize(st);
	r = errno_of(rc);
	if (r == 0)
		r = view_came(v, ret);
	return ret->failed ? -ENOMEM : r;
}

int view_counters(struct store_view *v, int64_t ret[COUNTERS])
{
	sqlite3_stmt *st;
	int rc, r = prepare(v, "SELECT counter, value FROM counters WHERE counter < ?1", &st);

	memset(ret, 0, COUNTERS * sizeof(ret[0]));
	if (r < 0)
		return r;
	sqlite3_bind_int(st, 1, COUNTERS);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		int i = sqlite3_column_int(st, 0);

		if (i >= 0 && i < COUNTERS)
			ret[i] = sqlite3_column_int64(st, 1);
	}
	sqlite3_finalize(st);
	return errno_of(rc);
}

int view_meta(struct store_view *v, const char *key, struct buf *ret)
{
	sqlite3_stmt *st;
	int rc, r = prepare(v, "SELECT value FROM meta WHERE key=?1", &st);

	if (r < 0)
		return r;
	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		buf_put(ret, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? (ret->failed ? -ENOMEM : 0) : rc == SQLITE_DONE ? -ENOENT : errno_of(rc);
}

int view_labels(struct store_view *v, void (*fn)(void *user, uint32_t id, const char *name), void *user)
{
	sqlite3_stmt *st;
	int rc, r = prepare(v, "SELECT id, name FROM labels ORDER BY id", &st);

	if (r < 0)
		return r;
	while (r == 0 && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		const char *name = (const char *)sqlite3_column_text(st, 1);

		if (name)
			fn(user, (uint32_t)sqlite3_column_int64(st, 0), name);
		else
			r = -ENOMEM;
	}
	sqlite3_finalize(st);
	return r < 0 ? r : errno_of(rc);
}

int view_tables(struct store_view *v,
	void (*fn)(void *user, uint32_t id, const uint8_t *data, size_t len), void *user)
{
	sqlite3_stmt *st;
	int rc, r = prepare(v, "SELECT id, data, crc FROM tables ORDER BY id", &st);

	if (r < 0)
		return r;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		const uint8_t *data = sqlite3_column_blob(st, 1);
		size_t len = (size_t)sqlite3_column_bytes(st, 1);

		if (crc32c(0, data, len) == (uint32_t)sqlite3_column_int64(st, 2))
			fn(user, (uint32_t)sqlite3_column_int64(st, 0), data, len);
		else
			r = -EUCLEAN;
	}
	sqlite3_finalize(st);
	return rc == SQLITE_DONE ? r : errno_of(rc);
}

int view_taken(struct store_view *v,
	bool (*fn)(void *user, int64_t taken_id, const struct taken_file *f, int64_t id, const char *reason),
	void *user)
{
	sqlite3_stmt *st;
	bool more = true;
	int rc = SQLITE_DONE, r;

	r = prepare(v, "SELECT id, path, dev, ino, size, mtime_ns, image, reason FROM taken ORDER BY id", &st);
	if (r < 0)
		return r;
	while (more && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		const char *reason = (const char *)sqlite3_column_text(st, 7);
		struct taken_file f = {
			.dev = (uint64_t)sqlite3_column_int64(st, 2),
			.ino = (uint64_t)sqlite3_column_int64(st, 3),
			.size = sqlite3_column_int64(st, 4),
			.mtime_ns = sqlite3_column_int64(st, 5),
		};

		store_copy_text(
			sqlite3_column_blob(st, 1), sqlite3_column_bytes(st, 1), f.path, sizeof(f.path));
		if (!reason && sqlite3_column_type(st, 7) != SQLITE_NULL) { /* no reason is another thing */
			rc = SQLITE_NOMEM;
			break;
		}
		more = fn(user, sqlite3_column_int64(st, 0), &f, sqlite3_column_int64(st, 6), reason);
	}
	sqlite3_finalize(st);
	return more ? errno_of(rc) : 0;
}

struct verify {
	struct store_view *view;
	const struct verify_events *events;
	struct verify_report report;
	int64_t last;
	int rows, error; /* why it could not go on */
	bool suspected;
	struct image_row suspect;
};

static void _printf_(2, 3) finding(struct verify *w, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	w->events->finding(w->events->user, line);
}

static bool verify_row(void *user, const struct image_row *row)
{
	struct verify *w = user;
	_cleanup_buf_ struct buf data = {0};
	int r = view_data(w->view, row, &data);

	w->last = row->id;
	w->rows++;
	w->report.images++;
	w->report.bytes += row->bytes;
	if (r == -ENOMEM) /* which says nothing of the image */
		w->error = r;
	w->suspected = !w->error && (r < 0 || !row_is_as_written(row));
	if (w->suspected)
		w->suspect = *row;
	return r == 0 && !w->suspected;
}

/*
 * An image whose bytes were not as its row says. Its file may have been replaced by a smaller one since the
 * row was read: the walk that found it has ended, and with it the view of the index as it was then.
 */
static int verify_again(struct verify *w)
{
	const struct image_row *row = &w->suspect;
	_cleanup_buf_ struct buf data = {0};
	struct image_row now;
	char id[17];
	int r = view_row(w->view, row->id, &now);

	w->suspected = false;
	if (r == -ENOENT || (r == 0 && now.quality != row->quality))
		return 0;
	if (r < 0)
		return r;
	r = view_data(w->view, &now, &data);
	if ((r == 0 && row_is_as_written(&now)) || r == -ENOMEM)
		return r;
	if (w->events->lost && (r == 0 || view_lost(r)))
		w->events->lost(w->events->user, row->id, row->quality, r == 0);
	if (!row_is_as_written(&now)) {
		w->report.damaged++;
		finding(w, "image %s: its row is not as it was written", format_id(row->id, id));
	} else if (r == -EBADMSG) {
		w->report.damaged++;
		finding(w, "image %s: stored bytes do not match their checksum", format_id(row->id, id));
	} else {
		w->report.missing++;
		finding(w, "image %s: stored bytes cannot be read: %s", format_id(row->id, id), strerror(-r));
	}
	return 0;
}

/* I3, in one statement and so in one snapshot. */
static int verify_tallies(struct verify *w)
{
	sqlite3_stmt *st;
	int rc, r = prepare(w->view,
		"SELECT stratum, quality, sum(n) FROM (SELECT stratum, quality, count(*) AS n,"
		" sum(bytes) AS b, sum(flags & 1) AS p FROM images GROUP BY stratum, quality"
		" UNION ALL SELECT stratum, quality, -images, -bytes, -pinned FROM tally)"
		" GROUP BY stratum, quality HAVING sum(n) <> 0 OR sum(b) <> 0 OR sum(p) <> 0", &st);

	if (r < 0)
		return r;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		w->report.tallies++;
		finding(w, "tally of stratum %d, quality %d is off by %d images", sqlite3_column_int(st, 0),
			sqlite3_column_int(st, 1), sqlite3_column_int(st, 2));
	}
	sqlite3_finalize(st);
	return errno_of(rc);
}

static void ignore_tables(void *user, uint32_t id, const uint8_t *data, size_t len)
{
	(void)user, (void)id, (void)data, (void)len;
}

/* Packed images are nothing without their set. */
static int verify_tables(struct verify *w)
{
	sqlite3_stmt *st;
	int rc, r = view_tables(w->view, ignore_tables, NULL);

	if (r == -EUCLEAN) {
		w->report.damaged++;
		finding(w,
			"a shared table set is damaged: the images packed with it cannot be read; a restart "
			"makes it good if its copy in models/ is whole");
	} else if (r < 0) {
		return r;
	}
	r = prepare(w->view,
		"SELECT tables, count(*) FROM images WHERE tables <> 0 AND tables NOT IN"
		" (SELECT id FROM tables) GROUP BY tables",
		&st);
	if (r < 0)
		return r;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		w->report.damaged += sqlite3_column_int(st, 1);
		finding(w, "%d images are packed with table set %d, which does not exist",
			sqlite3_column_int(st, 1), sqlite3_column_int(st, 0));
	}
	sqlite3_finalize(st);
	return errno_of(rc);
}

/* 1: an image's row names the file, or it has a garbage mark; 0: neither. */
static int object_accounted(struct verify *w, const char *name)
{
	struct image_row row;
	sqlite3_stmt *st;
	int rc, r = view_row(w->view, (int64_t)strtoull(name, NULL, 16), &row);

	if (r == 0 && row_has_file(&row, name))
		return 1;
	if (r == 0 || r == -ENOENT)
		r = prepare(w->view, "SELECT 1 FROM garbage WHERE name = ?1", &st);
	if (r < 0)
		return r;
	sqlite3_bind_text(st, 1, name, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 1 : errno_of(rc);
}

/* A file has its name before its row is committed: one that is new is nobody's once it stays so. */
static int verify_object(void *arg, int dir_fd, const char *name)
{
	struct verify *w = arg;
	int r;

	if (is_directory_or_hidden(dir_fd, name))
		return 0;
	while ((r = object_accounted(w, name)) == 0) {
		struct stat st;
		int64_t age;

		if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOENT ? 0 : -errno;
		age = clock_wall_us() - clock_us_of(st.st_mtim);
		if (age < 0 || age > COMMIT_US_MAX) {
			w->report.orphaned++;
			finding(w, "objects/%s belongs to no image", name);
			return 0;
		}
		usleep(20 * 1000);
	}
	return MIN(r, 0);
}

/* As verify_object() to a file under models/: one that is written anew has its name only once it is whole. */
static int verify_model(void *arg, int dir_fd, const char *name)
{
	struct verify *w = arg;
	int r;

	if (is_directory_or_hidden(dir_fd, name))
		return 0;
	r = store_check_model(dir_fd, name);
	if (r != -EBADMSG && r != -EIO)
		return r;
	finding(w, "models/%s: %s", name,
		r == -EIO ? "cannot be read" : "stored bytes do not match their checksum");
	if (w->events->lost_model)
		w->events->lost_model(w->events->user, name);
	return 0;
}

/* SQLite's own check of the index; whether it found nothing. */
static int check_index(struct verify *w, bool tell, bool *ret_fine)
{
	sqlite3_stmt *st;
	int rc, r = prepare(w->view, "PRAGMA integrity_check(20)", &st);

	*ret_fine = true;
	if (r < 0)
		return r;
	while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
		const char *line = (const char *)sqlite3_column_text(st, 0);

		if (!line || !strcmp(line, "ok"))
			continue;
		*ret_fine = false;
		if (tell) {
			w->report.damaged++;
			finding(w, "index.db: %s", line);
		}
	}
	sqlite3_finalize(st);
	return errno_of(rc);
}

/* A page for which there was no memory is damaged to it, too: only what is found twice counts. */
static int verify_index(struct verify *w)
{
	bool fine;
	int r = check_index(w, false, &fine);

	return r < 0 || fine ? r : check_index(w, true, &fine);
}

int view_verify(struct store_view *v, const struct verify_events *events, struct verify_report *ret)
{
	struct verify w = {.view = v, .events = events, .last = -1};
	int r = verify_index(&w);

	do {
		w.rows = 0;
		if (r == 0)
			r = view_walk(v, w.last, -1, 64, verify_row, &w);
		if (w.error < 0)
			r = w.error;
		if (r == 0 && w.suspected)
			r = verify_again(&w);
	} while (r == 0 && w.rows);
	if (r == 0)
		r = verify_tallies(&w);
	if (r == 0)
		r = verify_tables(&w);
	if (r == 0)
		r = io_each_name(v->objects, verify_object, &w);
	if (r == 0)
		r = io_each_name(v->models, verify_model, &w);
	*ret = w.report;
	return r;
}
