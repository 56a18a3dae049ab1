/*
 * Rows closer together. SQLite joins pages that have become nearly empty when rows are deleted, never when
 * they are made smaller: after all images were degraded pages may be a tenth full, and none of them is
 * free. What is deleted and put back in the order of its key fills pages to nine tenths.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "daemon/store_internal.h"

#define COLUMNS	  20 /* of ST_INSERT */
#define ROWS_MAX  64
#define BYTES_MAX (1 << 20)

struct rows {
	sqlite3_value *v[ROWS_MAX][COLUMNS]; /* owned */
	int n;
	int64_t bytes, last; /* last: id */
};

static void rows_done(struct rows *w)
{
	for (int i = 0; i < w->n; i++)
		for (int k = 0; k < COLUMNS; k++)
			sqlite3_value_free(w->v[i][k]);
	w->n = 0;
}

static int take_rows(struct store *s, int64_t after, int max, struct rows *ret)
{
	sqlite3_stmt *st = NULL;
	int r = 0, rc = sqlite3_prepare_v2(s->db,
			   "SELECT " ROW_COLUMNS ", data FROM images WHERE id > ?1 ORDER BY id LIMIT ?2",
			   -1, &st, NULL);

	if (rc != SQLITE_OK)
		return store_fail(s, rc);
	sqlite3_bind_int64(st, 1, after);
	sqlite3_bind_int(st, 2, max);
	while (r == 0 && ret->bytes < BYTES_MAX && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		for (int k = 0; k < COLUMNS; k++) {
			ret->v[ret->n][k] = sqlite3_value_dup(sqlite3_column_value(st, k));
			if (!ret->v[ret->n][k])
				r = -ENOMEM;
		}
		ret->last = sqlite3_column_int64(st, 0);
		ret->bytes += sqlite3_column_bytes(st, COLUMNS - 1);
		ret->n++;
	}
	if (r == 0 && rc != SQLITE_ROW && rc != SQLITE_DONE)
		r = store_fail(s, rc);
	sqlite3_finalize(st);
	return r;
}

static int put_back(struct store *s, int64_t after, const struct rows *w)
{
	sqlite3_stmt *st = s->st[ST_INSERT];
	char text[128];
	int r;

	snprintf(text, sizeof(text), "DELETE FROM images WHERE id > %" PRId64 " AND id <= %" PRId64, after,
		w->last);
	r = store_exec(s, text);
	for (int i = 0; r == 0 && i < w->n; i++) {
		int rc = SQLITE_OK;

		for (int k = 0; k < COLUMNS && rc == SQLITE_OK; k++)
			rc = sqlite3_bind_value(st, k + 1, w->v[i][k]); /* a copy: there may be no memory */
		r = rc == SQLITE_OK ? store_run(s, ST_INSERT) : store_fail(s, rc);
	}
	sqlite3_clear_bindings(st);
	return r;
}

/* One transaction: all of the rows, or nothing happened. */
static int compact(struct store *s, int64_t after, int max, struct rows *ret)
{
	int r = store_begin(s);

	if (r == 0)
		r = take_rows(s, after, max, ret);
	if (r == 0 && ret->n)
		r = put_back(s, after, ret);
	return store_end(s, r);
}

int store_compact(struct store *s, int64_t *after)
{
	int r = store_cap_index(s, true);

	if (r < 0)
		return r;
	for (int max = MIN(store_batch_max(s), ROWS_MAX); max > 0; max /= 2) {
		struct rows w = {.n = 0};
		int n;

		s->wal.refused = false;
		r = compact(s, *after, max, &w);
		n = w.n;
		rows_done(&w);
		if (r == 0) {
			*after = n ? w.last : *after;
			if (store_file_bytes(s->dir, "index.db-wal") > s->wal.cap / 2)
				store_checkpoint(s);
			return n;
		}
		/* The log is full: fewer at once. */
		if (r != -ENOSPC || !s->wal.refused || store_checkpoint(s) < 0)
			break;
	}
	return r;
}
