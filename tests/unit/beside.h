/* The index of a test's store, opened by somebody else than the store. */
#pragma once

#include <sqlite3.h>
#include <stdio.h>

#include "tests/unit/test.h"

/* After the statements; the caller closes it. */
static inline sqlite3 *open_beside(const char *store, const char *sql)
{
	sqlite3 *db = NULL;
	char name[128];

	snprintf(name, sizeof(name), "%s/index.db", store);
	CHECK_INT(sqlite3_open(name, &db), SQLITE_OK);
	CHECK_INT(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	return db;
}

static inline void change_beside(const char *store, const char *sql)
{
	sqlite3_close(open_beside(store, sql));
}
