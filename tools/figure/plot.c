#include "tools/figure/plot.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/macros.h"
#include "tools/figure/svg.h"

#define SERIES_MAX 24
#define BANDS_MAX 6
#define NOTES_MAX 4
#define LABELS_MAX 40
#define LEFT 64
#define TOP 46
#define WIDTH 560 /* of the area */
#define HEIGHT 360
#define LEGEND 210

struct series {
	char name[64];
	int n;
	bool points_only;
	double *x, *y, *error; /* owned */
};

struct plot {
	char title[128], x_label[96], y_label[96], note[NOTES_MAX][200];
	bool log_x, points_next;
	int n_series, n_bands, n_notes;
	struct series series[SERIES_MAX];
	struct {
		double from, to;
		char name[48];
	} band[BANDS_MAX];
	int n_labels;
	struct {
		double x, y;
		char text[32];
	} label[LABELS_MAX];
	double x0, x1, y0, y1; /* what is shown */
};

struct plot *plot_new(const char *title, const char *x_label, const char *y_label)
{
	struct plot *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	snprintf(p->title, sizeof(p->title), "%s", title);
	snprintf(p->x_label, sizeof(p->x_label), "%s", x_label);
	snprintf(p->y_label, sizeof(p->y_label), "%s", y_label);
	return p;
}

void plot_log_x(struct plot *p)
{
	p->log_x = true;
}

void plot_points_only(struct plot *p)
{
	p->points_next = true;
}

static double *copy(const double *v, int n)
{
	double *c = v ? malloc((size_t)MAX(n, 1) * sizeof(*c)) : NULL;

	if (c)
		memcpy(c, v, (size_t)n * sizeof(*c));
	return c;
}

int plot_series(
	struct plot *p, const char *name, int n, const double *x, const double *y, const double *error)
{
	struct series *s = &p->series[p->n_series];

	if (p->n_series == SERIES_MAX)
		return -E2BIG;
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->n = n;
	s->points_only = p->points_next;
	p->points_next = false;
	s->x = copy(x, n);
	s->y = copy(y, n);
	s->error = copy(error, n);
	if (!s->x || !s->y)
		return -ENOMEM;
	p->n_series++;
	return 0;
}

void plot_band(struct plot *p, double from, double to, const char *name)
{
	if (p->n_bands == BANDS_MAX)
		return;
	p->band[p->n_bands].from = from;
	p->band[p->n_bands].to = to;
	snprintf(p->band[p->n_bands++].name, sizeof(p->band[0].name), "%s", name);
}

void plot_note(struct plot *p, const char *note)
{
	if (p->n_notes < NOTES_MAX)
		snprintf(p->note[p->n_notes++], sizeof(p->note[0]), "%s", note);
}

void plot_label(struct plot *p, double x, double y, const char *label)
{
	if (p->n_labels == LABELS_MAX)
		return;
	p->label[p->n_labels].x = x;
	p->label[p->n_labels].y = y;
	snprintf(p->label[p->n_labels++].text, sizeof(p->label[0].text), "%s", label);
}

static void find_range(struct plot *p)
{
	double pad;

	p->x0 = p->y0 = INFINITY;
	p->x1 = p->y1 = -INFINITY;
	for (int s = 0; s < p->n_series; s++)
		for (int i = 0; i < p->series[s].n; i++) {
			double x = p->series[s].x[i], y = p->series[s].y[i];
			double e = p->series[s].error && !isnan(p->series[s].error[i])
					   ? p->series[s].error[i]
					   : 0;

			if (isnan(y) || (p->log_x && x <= 0))
				continue;
			p->x0 = MIN(p->x0, x);
			p->x1 = MAX(p->x1, x);
			p->y0 = MIN(p->y0, y - e);
			p->y1 = MAX(p->y1, y + e);
		}
	if (!isfinite(p->x0)) {
		p->x0 = p->y0 = 1;
		p->x1 = p->y1 = 2;
	}
	if (p->x1 <= p->x0)
		p->x1 = p->x0 + (p->log_x ? p->x0 : 1);
	pad = p->y1 > p->y0 ? (p->y1 - p->y0) * 0.05 : 1;
	p->y0 -= pad;
	p->y1 += pad;
}

static double at_x(const struct plot *p, double x)
{
	double t = p->log_x ? log(x / p->x0) / log(p->x1 / p->x0) : (x - p->x0) / (p->x1 - p->x0);

	return LEFT + WIDTH * t;
}

static double at_y(const struct plot *p, double y)
{
	return TOP + HEIGHT * (1 - (y - p->y0) / (p->y1 - p->y0));
}

/* A step of 1, 2 or 5 times a power of ten that gives about n ticks. */
static double nice_step(double range, int n)
{
	double raw = range / n, power = pow(10, floor(log10(raw))), m = raw / power;

	return power * (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10);
}

static void tick_x(FILE *f, const struct plot *p, double x)
{
	char s[32];

	fprintf(f, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>\n", at_x(p, x),
		at_x(p, x), TOP, TOP + HEIGHT);
	snprintf(s, sizeof(s), "%.6g", x);
	svg_text(f, at_x(p, x), TOP + HEIGHT + 18, "text-anchor=\"middle\"", s);
}

static void draw_axes(FILE *f, const struct plot *p)
{
	static const double few[] = {1, 2, 5}, many[] = {1, 1.5, 2, 3, 4, 5, 6, 8};
	bool narrow = p->log_x && p->x1 < 12 * p->x0;
	const double *decade = narrow ? many : few;
	size_t n = narrow ? ARRAY_SIZE(many) : ARRAY_SIZE(few);
	double step = nice_step(p->y1 - p->y0, 6);
	char s[32], attributes[80];

	for (double y = ceil(p->y0 / step) * step; y <= p->y1; y += step) {
		fprintf(f, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT,
			LEFT + WIDTH, at_y(p, y), at_y(p, y));
		snprintf(s, sizeof(s), "%.6g", fabs(y) < step * 1e-6 ? 0 : y);
		svg_text(f, LEFT - 8, at_y(p, y) + 4, "text-anchor=\"end\"", s);
	}
	if (p->log_x) {
		for (double power = pow(10, floor(log10(p->x0))); power <= p->x1; power *= 10)
			for (size_t i = 0; i < n; i++)
				if (power * decade[i] >= p->x0 * 0.999 &&
					power * decade[i] <= p->x1 * 1.001)
					tick_x(f, p, power * decade[i]);
	} else {
		step = nice_step(p->x1 - p->x0, 8);
		for (double x = ceil(p->x0 / step) * step; x <= p->x1 + step * 1e-9; x += step)
			tick_x(f, p, x);
	}
	fprintf(f, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>\n", LEFT, TOP, TOP + HEIGHT, LEFT + WIDTH);
	svg_text(f, LEFT + WIDTH / 2.0, TOP + HEIGHT + 40, "text-anchor=\"middle\"", p->x_label);
	snprintf(attributes, sizeof(attributes), "text-anchor=\"middle\" transform=\"rotate(-90 18 %d)\"",
		TOP + HEIGHT / 2);
	svg_text(f, 18, TOP + HEIGHT / 2.0, attributes, p->y_label);
}

static void draw_bands(FILE *f, const struct plot *p)
{
	for (int i = 0; i < p->n_bands; i++) {
		double a = at_x(p, MAX(p->band[i].from, p->x0)), b = at_x(p, MIN(p->band[i].to, p->x1));

		if (b <= a)
			continue;
		fprintf(f,
			"<rect class=\"band\" style=\"opacity:%.2f\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" "
			"height=\"%d\"/>\n",
			0.06 + 0.07 * i, a, TOP, b - a, HEIGHT);
		svg_text(f, MAX((a + b) / 2, LEFT + 34.0), TOP + HEIGHT - 8 - 15 * (i % 3),
			"class=\"dim\" text-anchor=\"middle\"", p->band[i].name);
	}
}

static void draw_series(FILE *f, const struct plot *p, int number)
{
	const struct series *s = &p->series[number];
	int c = number % COLOURS;
	bool pen = false;

	if (!s->points_only && s->n > 1) {
		fprintf(f, "<path class=\"l s%d\"%s d=\"", c,
			number >= COLOURS ? " stroke-dasharray=\"6 4\"" : "");
		for (int i = 0; i < s->n; i++) {
			if (isnan(s->y[i])) {
				pen = false;
				continue;
			}
			fprintf(f, "%c%.1f %.1f", pen ? 'L' : 'M', at_x(p, s->x[i]), at_y(p, s->y[i]));
			pen = true;
		}
		fputs("\"/>\n", f);
	}
	for (int i = 0; i < s->n && s->n <= 400; i++) {
		if (isnan(s->y[i]))
			continue;
		fprintf(f, "<circle r=\"%s\" cx=\"%.1f\" cy=\"%.1f\" class=\"f%d\"><title>",
			s->n > 60 ? "2" : "3.2", at_x(p, s->x[i]), at_y(p, s->y[i]), c);
		svg_put(f, s->name);
		fprintf(f, ": %.5g, %.5g</title></circle>\n", s->x[i], s->y[i]);
		if (s->error && !isnan(s->error[i]))
			fprintf(f,
				"<line class=\"e s%d\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
				c, at_x(p, s->x[i]), at_x(p, s->x[i]), at_y(p, s->y[i] - s->error[i]),
				at_y(p, s->y[i] + s->error[i]));
	}
}

static void draw_legend(FILE *f, const struct plot *p)
{
	for (int i = 0; i < p->n_series; i++) {
		int y = TOP + 10 + 20 * i;

		fprintf(f, "<line class=\"l s%d\"%s x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n",
			i % COLOURS, i >= COLOURS ? " stroke-dasharray=\"6 4\"" : "", LEFT + WIDTH + 16,
			LEFT + WIDTH + 38, y, y);
		svg_text(f, LEFT + WIDTH + 44, y + 4, "", p->series[i].name);
	}
}

void plot_free(struct plot *p)
{
	if (!p)
		return;
	for (int i = 0; i < p->n_series; i++) {
		free(p->series[i].x);
		free(p->series[i].y);
		free(p->series[i].error);
	}
	free(p);
}

void plot_write(struct plot *p, FILE *f)
{
	int height = MAX(TOP + HEIGHT + 56, TOP + 20 + 20 * p->n_series) + 18 * p->n_notes;

	find_range(p);
	svg_begin(f, LEFT + WIDTH + LEGEND, height, p->title);
	draw_axes(f, p);
	draw_bands(f, p);
	for (int i = 0; i < p->n_series; i++)
		draw_series(f, p, i);
	for (int i = 0; i < p->n_labels; i++)
		svg_text(f, CLAMP(at_x(p, p->label[i].x), LEFT + 34.0, LEFT + WIDTH - 34.0),
			at_y(p, p->label[i].y) - 8, "class=\"dim n\" text-anchor=\"middle\"",
			p->label[i].text);
	draw_legend(f, p);
	for (int i = 0; i < p->n_notes; i++)
		svg_text(f, 16, height - 12 - 18 * (p->n_notes - 1 - i), "class=\"dim n\"", p->note[i]);
	fputs("</svg>\n", f);
	plot_free(p);
}
