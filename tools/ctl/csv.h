/* Tables as comma-separated values, the way spreadsheets read and write them (RFC 4180). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CSV_COLUMNS 32

/* The text in quotes, quotes doubled. */
void csv_put(FILE *f, const char *s);

/* A row's fields, pointing into the table's own text. */
struct csv_row {
	char *field[CSV_COLUMNS];
	int n;
};

/*
 * Takes the next row off *at, in place, and moves *at behind it; false at the end. Fields beyond
 * CSV_COLUMNS are passed over. Lines without anything are skipped.
 */
bool csv_next(char **at, struct csv_row *ret);

/* Which field of a first line has that name, or -1. */
int csv_column(const struct csv_row *r, const char *name);
