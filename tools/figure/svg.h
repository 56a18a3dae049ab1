/* The least that every figure is made of: a frame with its style, and text that is escaped. */
#pragma once

#include <stdio.h>

#define COLOURS 10 /* classes s0..s9 stroke with them, f0..f9 fill */

/* Opens the svg element; the caller ends it with "</svg>". Classes: t title, dim, n small, bg. */
void svg_begin(FILE *f, int width, int height, const char *title);

/* Text as XML wants it. */
void svg_put(FILE *f, const char *s);

/* A text element; attributes may be "". */
void svg_text(FILE *f, double x, double y, const char *attributes, const char *s);
