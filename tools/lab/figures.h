/* The laboratory's figures: files in OUT, and heat maps and pictures in a grid beside tools/figure. */
#pragma once

#include "tools/figure/plot.h"
#include "tools/lab/lab.h"

/* Writes OUT/name and frees p, in every case. */
int plot_save(struct plot *p, const struct lab *l, const char *name);

/*
 * Heat map: value [rows][cols] between low and high, names of rows (every so many shown) and columns.
 * with_text writes the values into the cells.
 */
struct heat {
	const char *title, *x_label, *y_label, *unit;
	int rows, cols;
	const double *value;
	const char *const *row_name; /* [rows]; NULL entries are left out */
	const char *const *col_name; /* [cols] */
	double low, high;
	bool with_text;
	const char *note;
};

int heat_save(const struct heat *h, const struct lab *l, const char *name);

/* JPEG files in a grid, enlarged without smoothing. */
struct sheet {
	const char *title, *note;
	int rows, cols, cell;	/* cell: side in pixels */
	const struct buf *jpeg; /* [rows][cols]; an empty one leaves a hole */
	const char *const *row_name, *const *col_name, *const *caption; /* caption: [rows][cols] or NULL */
};

int sheet_save(const struct sheet *s, const struct lab *l, const char *name);
