/*
 * Pages of an index whose tree does not lead to them any more. An index of this schema has the same first
 * page whatever is in it, but for its length, so a damaged one can be read through a new one; and a leaf of
 * images can be read by itself, through a first page that says the table is that page alone. SQLite does
 * the reading either way.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "daemon/store_internal.h"

#define LEAF	   0x0d			    /* of a table: "Database File Format", 1.6 */
#define MAP_ENTRY  5			    /* bytes; the same, 1.8, pointer map pages */
#define MAP_PAGES  (PAGE_BYTES / MAP_ENTRY) /* pages that one tells of, behind itself */
#define MAP_ROOT   1
#define MAP_TREE   5
#define LOCK_PAGE  (0x40000000 / PAGE_BYTES + 1) /* never used */
#define LENGTH_AT  28				 /* in the first page: pages of the file */
#define HELD_PLACE "z{|}"			 /* a root page that stands for another */

static void put_be32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* The first page of an empty index of so many pages, after `more`. */
static int first_page(const char *more, uint32_t pages, uint8_t ret[PAGE_BYTES])
{
	sqlite3 *db = NULL;
	sqlite3_int64 len = 0;
	unsigned char *all = NULL;
	int rc = sqlite3_open(":memory:", &db);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, INDEX_FORMAT, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, store_schema, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, more, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		all = sqlite3_serialize(db, "main", &len, 0);
	if (all && len >= PAGE_BYTES) {
		memcpy(ret, all, PAGE_BYTES);
		put_be32(ret + LENGTH_AT, pages);
	}
	sqlite3_free(all);
	sqlite3_close(db);
	return rc != SQLITE_OK ? errno_of(rc) : all && len >= PAGE_BYTES ? 0 : -ENOMEM;
}

static uint32_t pages_of(int fd)
{
	struct stat st;

	return fd < 0 || fstat(fd, &st) < 0 ? 0
					    : (uint32_t)MIN(st.st_size / PAGE_BYTES, INT64_C(0xfffffffe));
}

int pages_first(const char *file, uint8_t ret[PAGE_BYTES])
{
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	uint32_t pages = pages_of(fd);

	return pages ? first_page("", pages, ret) : -ENOENT;
}

/* What the pointer maps say of pages, one map being kept. */
struct maps {
	int fd;
	uint32_t page; /* that is kept; 0: none */
	uint8_t entry[PAGE_BYTES];
};

/* Whether a page belongs to a tree, so that what it holds has not been removed. */
static bool in_a_tree(struct maps *m, uint32_t page)
{
	uint32_t map = (page - 2) / (MAP_PAGES + 1) * (MAP_PAGES + 1) + 2;
	uint8_t type;

	map += map == LOCK_PAGE;
	if (page <= map || page == LOCK_PAGE)
		return false;
	if (m->page != map) {
		m->page = map;
		if (pread(m->fd, m->entry, PAGE_BYTES, (off_t)(map - 1) * PAGE_BYTES) != PAGE_BYTES)
			memset(m->entry, 0, PAGE_BYTES);
	}
	type = m->entry[(page - map - 1) * MAP_ENTRY];
	return type == MAP_ROOT || type == MAP_TREE;
}

static bool is_leaf(int fd, uint32_t page)
{
	uint8_t type;

	return pread(fd, &type, 1, (off_t)(page - 1) * PAGE_BYTES) == 1 && type == LEAF;
}

static int each_of_leaf(
	const char *file, const char *vfs, int (*fn)(void *user, sqlite3_stmt *st), void *user)
{
	sqlite3_stmt *st = NULL;
	sqlite3 *db = NULL;
	int r = 0, rc = sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, vfs);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, "PRAGMA query_only=ON; PRAGMA cell_size_check=ON", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(db, "SELECT " ROW_COLUMNS ", data FROM images", -1, &st, NULL);
	while (rc == SQLITE_OK && r == 0) {
		rc = sqlite3_step(st);
		if (rc == SQLITE_ROW) {
			r = fn(user, st);
			rc = SQLITE_OK;
		}
	}
	sqlite3_finalize(st);
	if (db)
		sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_close(db);
	return r < 0 ? r : rc == SQLITE_NOMEM ? -ENOMEM : 0;
}

int pages_each_image(const char *file, int (*fn)(void *user, sqlite3_stmt *st), void *user)
{
	_cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);
	uint32_t pages = pages_of(fd);
	uint8_t page[PAGE_BYTES], *root;
	struct store_vfs vfs = {.first_page = page, .alone = true};
	struct maps maps = {.fd = fd};
	int r = first_page("PRAGMA writable_schema=ON; DELETE FROM sqlite_schema WHERE name <> 'images';"
			   "UPDATE sqlite_schema SET rootpage = 0x7a7b7c7d",
		MAX(pages, 1U), page);

	root = r < 0 ? NULL : memmem(page, PAGE_BYTES, HELD_PLACE, 4);
	if (!root)
		return r < 0 ? r : -EINVAL;
	r = store_vfs_register(&vfs);
	for (uint32_t p = 2; r == 0 && p <= pages; p++)
		if (is_leaf(fd, p) && in_a_tree(&maps, p)) {
			put_be32(root, p);
			r = each_of_leaf(file, vfs.name, fn, user);
		}
	store_vfs_unregister(&vfs);
	return r;
}
