#include "tools/figure/svg.h"

/*
 * Colours that stay apart for colour-blind readers too (after Okabe and Ito), for both grounds. Plain
 * classes and no CSS variables: many viewers of SVG know none.
 */
static const char *const light[COLOURS] = {"#0072b2", "#d55e00", "#009e73", "#b8860b", "#a03c78", "#3c9bd0",
	"#6b6b00", "#7a4fd0", "#8c3b1f", "#4d5a66"};
static const char *const dark[COLOURS] = {"#56b4e9", "#ff8a4c", "#2cc99a", "#f0c94a", "#e58fc0", "#9ad4f5",
	"#c9c95a", "#b79bff", "#e08a6a", "#aab6c2"};

static void put_colours(FILE *f, const char *const colour[COLOURS])
{
	for (int i = 0; i < COLOURS; i++)
		fprintf(f, ".s%d{stroke:%s}.f%d{fill:%s}", i, colour[i], i, colour[i]);
}

static void put_style(FILE *f)
{
	fputs("<style>text{font:13px system-ui,sans-serif;fill:#1d2329}.bg{fill:#fff}.t{font-size:16px;"
	      "font-weight:600}.dim{fill:#5b6670}.n{font-size:12px}.grid{stroke:#d9dee3}.axis{stroke:#"
	      "1d2329;"
	      "fill:none}.l{fill:none;stroke-width:2}.e{stroke-width:1.3}.band{fill:#0072b2}",
		f);
	put_colours(f, light);
	fputs("\n@media(prefers-color-scheme:dark){text{fill:#e6eaee}.bg{fill:#14181c}.dim{fill:#9aa5af}"
	      ".grid{stroke:#333b43}.axis{stroke:#e6eaee}.band{fill:#56b4e9}",
		f);
	put_colours(f, dark);
	fputs("}</style>\n", f);
}

void svg_put(FILE *f, const char *s)
{
	for (; *s; s++)
		switch (*s) {
		case '&':
			fputs("&amp;", f);
			break;
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		default:
			if ((unsigned char)*s >= ' ')
				fputc(*s, f);
		}
}

void svg_text(FILE *f, double x, double y, const char *attributes, const char *s)
{
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
	svg_put(f, s);
	fputs("</text>\n", f);
}

void svg_begin(FILE *f, int width, int height, const char *title)
{
	fprintf(f,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
		"height=\"%d\" "
		"role=\"img\">\n<title>",
		width, height, width, height);
	svg_put(f, title);
	fputs("</title>\n", f);
	put_style(f);
	fprintf(f, "<rect class=\"bg\" width=\"%d\" height=\"%d\"/>\n", width, height);
	svg_text(f, 16, 26, "class=\"t\"", title);
}
