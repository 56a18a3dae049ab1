/* report.html: the figures beside the study's claims, from what the verbs left in OUT. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/io.h"
#include "tools/figure/svg.h"
#include "tools/lab/verbs.h"

#define FIGURE_MAX ((size_t)16 << 20)

static const struct section {
	const char *verb, *title;
	const char *figure[8];
	const char *text; /* a plain text file, or NULL */
} sections[] = {
	{"quantity-quality", "Quantity and quality",
		{"fig1-paper.svg", "fig1-bytes.svg", "fig2-paper.svg", "fig2-bytes.svg"}, NULL},
	{"cross-quality", "Trained at one quality, tested at every one", {"fig3.svg", "fig4.svg"}, NULL},
	{"sensitivity", "Sensitivity of single pictures",
		{"fig5-heldout.svg", "fig5-training.svg", "fig6-clusters-heldout.svg",
			"fig6-clusters-training.svg", "fig6-pictures-heldout.svg",
			"fig6-pictures-training.svg", "fig6-examples-heldout.svg",
			"fig6-examples-training.svg"},
		NULL},
	{"policies", "Policies at equal real bytes", {"policies.svg"}, "policies.txt"},
	{"predict", "The predictor against full scoring", {"predict.svg"}, NULL},
};

static const char head[] =
	"<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
	"content=\"width=device-width\">\n"
	"<meta name=\"color-scheme\" content=\"light dark\">\n<title>larder-lab</title>\n<style>\n"
	"body{font:16px/1.5 system-ui,sans-serif;max-width:860px;margin:2em auto;padding:0 "
	"1em;color:#1d2329;background:#fff}\n"
	"table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid "
	"#d9dee3;padding:.5em;text-align:left;"
	"vertical-align:top}\nsvg{max-width:100%;height:auto;margin:.5em "
	"0}pre{overflow-x:auto;font-size:12px}\n"
	".reproduced{color:#00734f;font-weight:600}.not{color:#b34700;font-weight:600}.differs{color:#"
	"846200;font-weight:600}\n"
	"@media(prefers-color-scheme:dark){body{color:#e6eaee;background:#14181c}td,th{border-color:#"
	"333b43}"
	".reproduced{color:#2cc99a}.not{color:#ff8a4c}.differs{color:#f0c94a}}\n</style>\n";

static bool read_text(const struct lab *l, const char *name, struct buf *ret)
{
	if (io_read_file(l->out_fd, name, FIGURE_MAX, ret) < 0)
		return false;
	buf_put_u8(ret, 0);
	return !ret->failed;
}

/* verdict TAB claim TAB what was found, a line each. */
static void put_claims(const struct lab *l, FILE *f, const struct section *s)
{
	_cleanup_buf_ struct buf b = {0};
	char name[64], *save = NULL;

	snprintf(name, sizeof(name), "claims-%s.tsv", s->verb);
	if (!read_text(l, name, &b))
		return;
	fputs("<table><tr><th>Claim</th><th>Here</th><th>Measured</th></tr>\n", f);
	for (char *line = strtok_r((char *)b.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *verdict = strsep(&line, "\t"), *claim = strsep(&line, "\t");

		if (!claim || !line)
			continue;
		fputs("<tr><td>", f);
		svg_put(f, claim);
		fprintf(f, "</td><td class=\"%.*s\">%s</td><td>", (int)strcspn(verdict, " "), verdict,
			verdict);
		svg_put(f, line);
		fputs("</td></tr>\n", f);
	}
	fputs("</table>\n", f);
}

static void put_section(const struct lab *l, FILE *f, const struct section *s)
{
	_cleanup_buf_ struct buf text = {0};
	bool begun = false;

	for (size_t i = 0; i < ARRAY_SIZE(s->figure) && s->figure[i]; i++) {
		_cleanup_buf_ struct buf b = {0};

		if (!read_text(l, s->figure[i], &b))
			continue;
		if (!begun) {
			fprintf(f, "<h2>%s</h2>\n", s->title);
			put_claims(l, f, s);
		}
		begun = true;
		fprintf(f, "%s\n", (const char *)b.data);
	}
	if (begun && s->text && read_text(l, s->text, &text)) {
		char *rest = (char *)text.data;

		fputs("<pre>", f);
		for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
			svg_put(f, line);
			fputc('\n', f);
		}
		fputs("</pre>\n", f);
	}
}

int report_write(const struct lab *l)
{
	FILE *f = lab_create(l, "report.html");

	if (!f)
		return -EIO;
	fprintf(f,
		"%s<h1>Storage-aware learning, repeated</h1>\n<p>What \"Toward Storage-Aware Learning with "
		"Compressed Data\" "
		"(arXiv 2508.12833) claims, and what this machine found: %d training and %d test pictures "
		"in %d classes (%s), "
		"three convolutions of %d, %d and %d channels at %dx%d, %d steps of 64, seeds %llu to "
		"%llu%s.</p>\n",
		head, l->data.split[TRAIN].n, l->test.n, l->data.classes, l->data.kind,
		l->shape.channels[0], l->shape.channels[1], l->shape.channels[2], l->shape.size,
		l->shape.size, l->steps, (unsigned long long)l->seed,
		(unsigned long long)l->seed + (unsigned)l->seeds - 1,
		l->quick ? "; a quick, coarse run" : "");
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		put_section(l, f, &sections[i]);
	fputs("</html>\n", f);
	return lab_close_file(f, "report.html");
}
