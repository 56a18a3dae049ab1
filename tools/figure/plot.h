/*
 * Figures as SVG: lines with error bars, points, bands. They stand alone or in a page, follow the reader's
 * light or dark preference, and need no script.
 */
#pragma once

#include <stdio.h>

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

/* Writes the figure, a whole SVG element, and frees p. */
void plot_write(struct plot *p, FILE *f);

void plot_free(struct plot *p);
