#include <errno.h>
#include <math.h>
#include <string.h>

#include "tools/figure/svg.h"
#include "tools/lab/figures.h"

#define LEFT 120
#define TOP 60
#define WIDTH 520
#define SCALE 110 /* for the colour scale at the right */

int plot_save(struct plot *p, const struct lab *l, const char *name)
{
	FILE *f = lab_create(l, name);

	if (!f) {
		plot_free(p);
		return -EIO;
	}
	plot_write(p, f);
	return lab_close_file(f, name);
}

/* From blue over pale to orange: reads on both grounds, and without telling red from green. */
static void heat_colour(double t, char ret[8])
{
	static const double stop[3][3] = {{33, 102, 172}, {245, 240, 230}, {200, 80, 20}};
	double at = CLAMP(t, 0.0, 1.0) * 2;
	int i = at >= 1, rgb[3];

	for (int c = 0; c < 3; c++)
		rgb[c] = (int)lround(stop[i][c] + (at - i) * (stop[i + 1][c] - stop[i][c]));
	snprintf(ret, 8, "#%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
}

static void draw_scale(FILE *f, const struct heat *h, double height)
{
	char c[8], s[32];

	for (int i = 0; i < 50; i++) {
		heat_colour(1 - i / 49.0, c);
		fprintf(f, "<rect x=\"%d\" y=\"%.1f\" width=\"16\" height=\"%.1f\" fill=\"%s\"/>\n",
			LEFT + WIDTH + 20, TOP + height * i / 50, height / 50 + 0.5, c);
	}
	snprintf(s, sizeof(s), "%.3g", h->high);
	svg_text(f, LEFT + WIDTH + 42, TOP + 10, "", s);
	snprintf(s, sizeof(s), "%.3g", h->low);
	svg_text(f, LEFT + WIDTH + 42, TOP + height, "", s);
	svg_text(f, LEFT + WIDTH + 42, TOP + height / 2, "class=\"dim\"", h->unit);
}

int heat_save(const struct heat *h, const struct lab *l, const char *name)
{
	FILE *f = lab_create(l, name);
	double cell = h->rows > 40  ? MAX(400.0 / h->rows, 1.5)
		      : h->rows > 8 ? 22
				    : 40,
	       width = (double)WIDTH / h->cols;
	double height = cell * h->rows;
	char c[8], s[64];

	if (!f)
		return -EIO;
	svg_begin(f, LEFT + WIDTH + SCALE, (int)(TOP + height + 80), h->title);
	for (int r = 0; r < h->rows; r++) {
		for (int k = 0; k < h->cols; k++) {
			double v = h->value[r * h->cols + k];

			heat_colour((v - h->low) / MAX(h->high - h->low, 1e-12), c);
			fprintf(f,
				"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.2f\" "
				"fill=\"%s\"/>\n",
				LEFT + width * k, TOP + cell * r, width + 0.3, cell + 0.3, c);
			snprintf(s, sizeof(s), "%.2f", v);
			if (h->with_text)
				svg_text(f, LEFT + width * (k + 0.5), TOP + cell * (r + 0.5) + 5,
					"text-anchor=\"middle\" style=\"fill:#111\"", s);
		}
		if (h->row_name && h->row_name[r])
			svg_text(f, LEFT - 8, TOP + cell * (r + 0.5) + 4, "text-anchor=\"end\"",
				h->row_name[r]);
	}
	for (int k = 0; k < h->cols; k++)
		if (h->col_name[k])
			svg_text(f, LEFT + width * (k + 0.5), TOP + height + 17, "text-anchor=\"middle\"",
				h->col_name[k]);
	draw_scale(f, h, height);
	svg_text(f, LEFT + WIDTH / 2.0, TOP + height + 38, "text-anchor=\"middle\"", h->x_label);
	snprintf(
		s, sizeof(s), "text-anchor=\"middle\" transform=\"rotate(-90 18 %.0f)\"", TOP + height / 2);
	svg_text(f, 18, TOP + height / 2, s, h->y_label);
	if (h->note)
		svg_text(f, 16, TOP + height + 66, "class=\"dim n\"", h->note);
	fputs("</svg>\n", f);
	return lab_close_file(f, name);
}

/* RFC 4648. */
static void put_base64(FILE *f, const uint8_t *data, size_t len)
{
	static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		uint32_t v = (uint32_t)data[i] << 16 | (i + 1 < len ? (uint32_t)data[i + 1] << 8 : 0) |
			     (i + 2 < len ? data[i + 2] : 0);

		fputc(digit[v >> 18], f);
		fputc(digit[v >> 12 & 63], f);
		fputc(i + 1 < len ? digit[v >> 6 & 63] : '=', f);
		fputc(i + 2 < len ? digit[v & 63] : '=', f);
	}
}

int sheet_save(const struct sheet *s, const struct lab *l, const char *name)
{
	FILE *f = lab_create(l, name);
	int gap = s->caption ? 22 : 6, step = s->cell + 6, down = s->cell + gap;

	if (!f)
		return -EIO;
	svg_begin(f, LEFT + s->cols * step + 16, TOP + s->rows * down + 40, s->title);
	for (int k = 0; s->col_name && k < s->cols; k++)
		svg_text(f, LEFT + k * step + s->cell / 2.0, TOP - 8, "text-anchor=\"middle\" class=\"n\"",
			s->col_name[k]);
	for (int r = 0; r < s->rows; r++) {
		svg_text(f, LEFT - 8, TOP + r * down + s->cell / 2.0 + 4, "text-anchor=\"end\"",
			s->row_name[r]);
		for (int k = 0; k < s->cols; k++) {
			const struct buf *b = &s->jpeg[r * s->cols + k];

			if (!b->len)
				continue;
			fprintf(f,
				"<image x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
				"preserveAspectRatio=\"xMidYMid\" "
				"style=\"image-rendering:pixelated\" href=\"data:image/jpeg;base64,",
				LEFT + k * step, TOP + r * down, s->cell, s->cell);
			put_base64(f, b->data, b->len);
			fputs("\"/>\n", f);
			if (s->caption && s->caption[r * s->cols + k])
				svg_text(f, LEFT + k * step, TOP + r * down + s->cell + 13,
					"class=\"dim n\"", s->caption[r * s->cols + k]);
		}
	}
	if (s->note)
		svg_text(f, 16, TOP + s->rows * down + 24, "class=\"dim n\"", s->note);
	fputs("</svg>\n", f);
	return lab_close_file(f, name);
}
