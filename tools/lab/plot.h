/*
 * Figures as SVG: lines with error bars, bands, heat maps, pictures in a grid. They stand alone, follow
 * the reader's light or dark preference, and need no script.
 */
#pragma once

#include "tools/lab/lab.h"

struct plot;

/* Strings are copied. NULL when memory is short. */
struct plot *plot_new(const char *title, const char *x_label, const char *y_label);
void plot_log_x(struct plot *p);

/* n points; error (half-widths, NAN: none) may be NULL. */
int plot_series(
	struct plot *p, const char *name, int n, const double *x, const double *y, const double *error);

/* The next series added is points without a line. */
void plot_points_only(struct plot *p);

/* A shaded range of x with its name. */
void plot_band(struct plot *p, double from, double to, const char *name);

/* A line of text under the figure. */
void plot_note(struct plot *p, const char *note);

/* A short text over a point. */
void plot_label(struct plot *p, double x, double y, const char *label);

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
