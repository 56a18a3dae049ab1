/* What the store's own files share: SQLite stays behind this header. */
#pragma once

#include <sqlite3.h>

#include "daemon/store.h"


#define ROW_COLUMNS                                                                                \
	"id, hash, stratum, rank, step, step_to, quality, tables, layout, width, height, "         \
	"orientation, flags, taken_s, bytes, crc, model, harm, name"

/*
 * store_row.c. Fills a row from a statement whose first columns are ROW_COLUMNS. The crc column of a row that
 * was another before (NULL: none): one that was damaged is so still. A step, where there is none NULL.
 */
void row_from(sqlite3_stmt *st, struct image_row *ret);
void row_bind_crc(sqlite3_stmt *st, int at, const struct image_row *row, const struct image_row *old);
void row_bind_step(sqlite3_stmt *st, int at, int step);

/* A column's text, or as much of it as there is room for. */
void store_copy_text(const void *blob, int n, char *to, size_t size);

/* Whether a row's columns are those that its sum was made of; and puts one flipped bit of them right. */
bool row_is_as_written(const struct image_row *row);
bool row_mend(struct image_row *row);

/* SQLite's primary result code as a negative errno. */
int errno_of(int sqlite_code);

#define OBJECT_BYTES_MAX (INT64_C(1) << 30)

/* Name of an image's file in objects/. */
void object_name(int64_t id, int quality, char ret[40]);

/*
 * A VFS over the system's that refuses to let a write-ahead log grow past a cap, and may read a first page
 * that is not the file's.
 */
struct store_vfs {
	int64_t cap;		   /* bytes; 0: none */
	bool refused;		   /* a write was refused since this was last cleared */
	const uint8_t *first_page; /* [PAGE_BYTES], the caller's; NULL: the file's own */
	bool alone;		   /* the file is read without its log */
	sqlite3_vfs vfs;
	char name[32];
};

int store_vfs_register(struct store_vfs *w);
void store_vfs_unregister(struct store_vfs *w);

enum statement {
	ST_INSERT,
	ST_EXISTS,
	ST_ROW,
	ST_DATA,
	ST_STEP,
	ST_RESCORE,
	ST_SPENT,
	ST_REMOVE,
	ST_TALLY_NONE,
	ST_TALLY_ALL,
	ST_COUNT,
	ST_FADE,
	ST_TAKEN,
	ST_SETTLED,
	ST_LABEL,
	ST_PIN,
	ST_META,
	ST_TABLES,
	ST_SET,
	ST_SET_FROM,
	ST_TALLY,
	ST_TALLY_CLEAN,
	ST_GARBAGE,
	ST_GARBAGE_GONE,
	ST_LABEL_FIND,
	ST_LABEL_NAME,
	ST_LABEL_ADD,
	STATEMENTS
};

struct store {
	sqlite3 *db;
	sqlite3_stmt *st[STATEMENTS];
	struct store_vfs wal;
	int dir, objects, models, quarantine; /* owned descriptors */
	int lock;			      /* owned: held while the store is open */
	struct limits limits;
	int64_t object_bytes, model_bytes, quarantine_bytes, index_bytes; /* as du counts */
	int sets_restored; /* store_sets_restored() */
	bool garbage_rows; /* garbage holds marks of files that are gone */
	char error[256];
};

#define SALVAGE_MARK "salvage" /* in the store's directory: store_salvage.h */

/* How an index is made, before store_schema: every one alike (store_pages.c). */
#define INDEX_FORMAT "PRAGMA page_size=4096; PRAGMA auto_vacuum=INCREMENTAL;"

extern const char store_schema[];

/* Closed, with nothing in it; and the directories of path opened and locked, made where they are missing. */
struct store *store_new(void);
int store_open_dirs(struct store *s, const char *path, char error[256]);

/* Makes the statements of an index that is open; closes it with them. */
int store_prepare(struct store *s);
void store_close_index(struct store *s);

#define UUID_LEN 32 /* hexadecimal digits */

/* A new uuid for the directory and the index. */
int store_create_uuid(struct store *s);

/* Undoes a transaction that is open. That can fail, for want of memory: it stays open then. */
int store_roll_back(struct store *s);

/* A transaction. Its end commits when r is 0, else undoes it; returns r, or what made the commit fail. */
int store_begin(struct store *s);
int store_end(struct store *s, int r);

/* Whether there is a label of that name, and its id; makes one, 0 or an error. */
bool store_find_label(struct store *s, const char *name, uint32_t *ret);
int store_add_label(struct store *s, const char *name, uint32_t *ret);

/*
 * Sees to it that there is room for bytes more of files: free pages of the index make way. -ENOSPC: there are
 * not enough of them; -EBUSY: a reader holds on to them. Not within a transaction.
 */
int store_fit_files(struct store *s, int64_t bytes);

/* Of a name in one of the store's directories: that is nobody's, as the lost+found of a disk mounted there.
 */
bool is_directory_or_hidden(int dir_fd, const char *name);

/* Each file of one of the store's directories, until fn returns a negative errno. */
int store_each_file(struct store *s, int dir_fd, int (*fn)(struct store *s, const char *name, void *arg),
	void *arg);

/*
 * store_sets.c. The id of a table set's second copy by its file's name (0: it is none); the copy of a set
 * (-EBADMSG: not whole); a row of one, in place of what there is.
 */
int64_t store_set_id(const char *name);
int store_read_set(int models_fd, int64_t id, struct buf *ret);
int store_put_set(struct store *s, int64_t id, const void *data, size_t len);

/*
 * store_pages.c, for salvage. The first page that the index in file would have if it were whole; and all
 * rows of images (ROW_COLUMNS, data) in leaves that have not been given up, whether the tree leads to them
 * or not: nothing of a row is certain, and it may be of another table. fn's negative errno ends it. Nobody
 * writes meanwhile.
 */
int pages_first(const char *file, uint8_t ret[PAGE_BYTES]);
int pages_each_image(const char *file, int (*fn)(void *user, sqlite3_stmt *st), void *user);

/* Takes the oldest files out of quarantine until bytes more fit its own limit and the store's. */
int quarantine_make_room(struct store *s, int64_t bytes);

/*
 * Moves a damaged file of that directory there, or removes it when it does not fit; *bytes, what the
 * directory takes, becomes less. 0 also when there is none.
 */
int quarantine_damaged(struct store *s, int dir, int64_t *bytes, const char *name);

/*
 * store_mend.c: whether bytes have that checksum, or have it once one bit of them (changed), or of the
 * checksum, is put right, as it is then. And an image by its row, in a transaction: 1 when it is whole now;
 * 0: it cannot be. *ret_doubtful: the row was damaged and could not be put right.
 */
bool mend_bit(uint8_t *data, size_t len, uint32_t *crc, bool *ret_changed);
int store_mend_image(struct store *s, const struct image_row *damaged, bool *ret_doubtful);

/* Whether a file under models/ is as it was written: 0; -EBADMSG or -EIO: not; others: who can say. */
int store_check_model(int models_fd, const char *name);

/* store.c, for store_apply.c: remembers SQLite's message and gives its code as errno. */
int store_fail(struct store *s, int rc);
int store_exec(struct store *s, const char *text);

/* Runs a prepared statement that returns no rows, and resets it. */
int store_run(struct store *s, enum statement which);

/*
 * store_row.c. A new row, with its bytes when it has no file. Its bytes as they are, from its file or by a
 * statement that gives them for an id; and whether a file in objects/ has the name of its own.
 */
int row_insert(struct store *s, const struct image_row *row, const void *data);
int row_read_data(const struct image_row *row, sqlite3_stmt *st, int objects_fd, struct buf *ret);
bool row_has_file(const struct image_row *row, const char *name);

/* The number that a statement gives; -1 when it cannot be had, SQLite knowing why. */
int64_t store_pragma(const struct store *s, const char *text);

int store_checkpoint(struct store *s);
/* Disk space of a file in one of the store's directories; 0 when there is none. */
int64_t store_file_bytes(int dir_fd, const char *name);

/* Lets the index grow as far as the limit leaves room, less what is kept for relief. */
int store_cap_index(struct store *s, bool relief);

/* 1 when a file in objects/ is what some row says; 0 when it is nobody's; negative: who can say. */
int store_object_known(struct store *s, const char *name);
