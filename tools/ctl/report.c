/*
 * larderctl report: the store as one page that can be kept, sent and read on a phone. Everything is in the
 * file - figures as SVG, pictures as small JPEGs that larderd's sandboxed worker made - and nothing in
 * it runs or is fetched, whatever names and labels strangers chose.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tools/ctl/filter.h"
#include "tools/ctl/originals.h"
#include "tools/figure/plot.h"
#include "tools/figure/svg.h"

#define SHOWN	   12  /* images of each kind */
#define SIDE	   160 /* samples of a picture's longer side, at most */
#define COMPARED   10  /* quality beside which an image is shown, ... */
#define COMPARED_2 2   /* ... and the one for those that are stored no better */
#define LABELS	   40

struct ranking {
	json_t *image[SHOWN]; /* held; the most extreme first */
	int n;
	double sign; /* 1: most sensitive first */
};

struct report {
	struct ctl *c;
	FILE *f;
	json_t *status, *history, *recent; /* held */
	struct ranking most, least;
	struct original original[2 * SHOWN]; /* of most, and behind them of least */
	int originals;			     /* found of them */
	int64_t images, scored;
	int result;
};

static double sensitivity(const json_t *im)
{
	return json_number_value(json_object_get(im, "divergence_at_10"));
}

static void rank(struct ranking *r, const json_t *im)
{
	double value = r->sign * sensitivity(im);
	int at = r->n;

	while (at > 0 && value > r->sign * sensitivity(r->image[at - 1]))
		at--;
	if (at == SHOWN)
		return;
	if (r->n == SHOWN)
		json_decref(r->image[--r->n]);
	memmove(r->image + at + 1, r->image + at, (size_t)(r->n - at) * sizeof(r->image[0]));
	r->image[at] = json_incref((json_t *)im);
	r->n++;
}

static bool meet(void *user, const json_t *im)
{
	struct report *r = user;

	r->images++;
	if (!json_is_number(json_object_get(im, "divergence_at_10")) || number(im, "quality") <= COMPARED_2)
		return true;
	r->scored++;
	rank(&r->most, im);
	rank(&r->least, im);
	return true;
}

static const char head[] =
	"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
	"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
	"style-src "
	"'unsafe-inline'\">\n"
	"<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" "
	"content=\"light "
	"dark\">\n<title>Larder</title>\n<style>\n"
	"body{font:16px/1.5 system-ui,sans-serif;max-width:900px;margin:1.5em auto;padding:0 "
	"1em;color:#1d2329;"
	"background:#fff}h1{margin:0}h2{margin:1.6em 0 .4em}.dim{color:#5b6670}\n"
	"table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #d9dee3;padding:.3em .5em;"
	"text-align:left;vertical-align:top;overflow-wrap:break-word}td.r,th.r{text-align:right;white-space:"
	"nowrap}\n"
	".bar{background:#d9dee3;border-radius:3px;height:1.1em;overflow:hidden}.bar "
	"i{display:block;height:100%;"
	"background:#0072b2}td.w{width:45%}\n"
	".facts{display:flex;flex-wrap:wrap;gap:.6em 2.2em;margin:1em 0}.facts "
	"b{display:block;font-size:1.5em;"
	"line-height:1.2}\n"
	".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(250px,1fr));gap:1em}.card{"
	"border:1px "
	"solid #d9dee3;border-radius:6px;padding:.6em;font-size:.85em;overflow-wrap:anywhere}\n"
	".pair{display:flex;gap:.4em;align-items:flex-end}.pair figure{margin:0;flex:1;min-width:0}.pair "
	"img{width:"
	"100%;height:auto;display:block;image-rendering:auto}img.small{image-rendering:pixelated}"
	"figcaption{font-"
	"size:.9em;color:#5b6670}\n"
	".fig{overflow-x:auto}svg{width:100%;min-width:600px;height:auto;margin:.5em 0}\n"
	"@media(prefers-color-scheme:dark){body{color:#e6eaee;background:#14181c}td,th,.card{border-color:#"
	"333b43}"
	".bar{background:#333b43}.bar "
	"i{background:#56b4e9}.dim,figcaption{color:#9aa5af}}\n</style></head><body>\n";

static void put_fact(FILE *f, const char *value, const char *what)
{
	fputs("<div><b>", f);
	svg_put(f, value);
	fputs("</b>", f);
	svg_put(f, what);
	fputs("</div>\n", f);
}

static void put_summary(const struct report *r)
{
	const json_t *store = json_object_get(r->status, "store"),
		     *model = json_object_get(r->status, "model");
	const json_t *captures = json_object_get(r->status, "captures");
	double share = (double)number(store, "use") / (double)MAX(number(store, "limit"), 1);
	char line[64], a[24], b[24], when[32];

	print_date((int64_t)time(NULL), when, sizeof(when));
	fprintf(r->f, "<h1>Larder</h1><p class=\"dim\">%s UTC, larderd %s</p>\n<div class=\"facts\">\n",
		when, text(r->status, "version"));
	snprintf(line, sizeof(line), "%" PRId64, number(store, "images"));
	put_fact(r->f, line, "images stored");
	snprintf(line, sizeof(line), "%" PRId64,
		number(captures, "stored") + number(captures, "dropped") + number(captures, "duplicate") +
			number(captures, "quarantined"));
	put_fact(r->f, line, "captures taken");
	snprintf(line, sizeof(line), "%.0f",
		json_number_value(json_object_get(json_object_get(r->status, "policy"), "mean_quality")));
	put_fact(r->f, line, "mean quality");
	if (number(model, "version") && number(model, "validation_images")) {
		snprintf(line, sizeof(line), "%.1f %%",
			100 * json_number_value(json_object_get(model, "validation_accuracy")));
		put_fact(r->f, line, "right on validation images");
	}
	fprintf(r->f,
		"</div>\n<p>%s of %s in use</p><div class=\"bar\"><i style=\"width:%.1f%%\"></i></div>\n",
		format_size(number(store, "use"), a, sizeof(a)),
		format_size(number(store, "limit"), b, sizeof(b)), 100 * CLAMP(share, 0, 1));
}

/* On a narrow screen it is moved sideways, not made too small to read. */
static void put_figure(FILE *f, struct plot *p)
{
	fputs("<div class=\"fig\">", f);
	plot_write(p, f);
	fputs("</div>\n", f);
}

struct curve_text {
	const char *name, *key;
	double scale;
	bool of_images; /* not there without any */
};

/* Samples as lines over the time since the first one. */
static void put_over_time(const struct report *r, const char *title, const char *unit,
	const struct curve_text *curves, int n_curves)
{
	const json_t *samples = json_object_get(r->history, "samples");
	size_t n = json_array_size(samples);
	double first = (double)number(json_array_get(samples, 0), "time");
	double span = (double)number(json_array_get(samples, n ? n - 1 : 0), "time") - first;
	double per = span > 3 * 86400 ? 86400 : span > 3 * 3600 ? 3600 : 60;
	_cleanup_free_ double *x = calloc(n + 1, sizeof(double)), *y = calloc(n + 1, sizeof(double));
	struct plot *p = plot_new(title,
		per > 3600 ? "days since the first sample"
		: per > 60 ? "hours since the first sample"
			   : "minutes since the first sample",
		unit);

	if (!x || !y || !p || n < 2) {
		plot_free(p);
		return;
	}
	for (int k = 0; k < n_curves; k++) {
		for (size_t i = 0; i < n; i++) {
			const json_t *s = json_array_get(samples, i);

			x[i] = ((double)number(s, "time") - first) / per;
			y[i] = json_number_value(json_object_get(s, curves[k].key)) * curves[k].scale;
			if (curves[k].of_images && !number(s, "images"))
				y[i] = NAN;
		}
		plot_series(p, curves[k].name, (int)n, x, y, NULL);
	}
	put_figure(r->f, p);
}

/* Every training that ended: the candidate's accuracy, and whether it became the model. */
static void put_accuracy(const struct report *r)
{
	const json_t *trainings = json_object_get(r->history, "trainings");
	size_t n = json_array_size(trainings);
	_cleanup_free_ double *x = calloc(n + 1, sizeof(double)), *y = calloc(n + 1, sizeof(double));
	struct plot *p;

	fputs("<h2>What it has learnt</h2>\n", r->f);
	if (!n || !x || !y) {
		fputs("<p>Nothing yet: no training has ended.</p>\n", r->f);
		return;
	}
	p = plot_new("Accuracy of the trainings", "training", "percent of the validation images");
	for (int accepted = 1; p && accepted >= 0; accepted--) {
		int k = 0;

		for (size_t i = 0; i < n; i++) {
			const json_t *t = json_array_get(trainings, i);

			if (json_is_true(json_object_get(t, "accepted")) != accepted)
				continue;
			x[k] = (double)i + 1;
			y[k++] = 100 * json_number_value(json_object_get(t, "accuracy"));
		}
		if (!accepted)
			plot_points_only(p);
		if (k)
			plot_series(p, accepted ? "became the model" : "rejected", k, x, y, NULL);
	}
	if (p && n > 1)
		put_figure(r->f, p);
	else
		plot_free(p);
	fputs("<table><tr><th>When (UTC)</th><th class=r>Images</th><th "
	      "class=r>Accuracy</th><th>Became</th></tr>\n",
		r->f);
	for (size_t i = n; i-- > (n > 10 ? n - 10 : 0);) {
		const json_t *t = json_array_get(trainings, i);
		char when[32];

		print_date(number(t, "time"), when, sizeof(when));
		fprintf(r->f,
			"<tr><td>%s</td><td class=r>%" PRId64 "</td><td class=r>%.1f %% of %" PRId64
			"</td><td>",
			when, number(t, "images"), 100 * json_number_value(json_object_get(t, "accuracy")),
			number(t, "validation_images"));
		if (json_is_true(json_object_get(t, "accepted")))
			fprintf(r->f, "model %" PRId64, number(t, "version"));
		else
			fprintf(r->f, "rejected; model %" PRId64 " has %.1f %%", number(t, "version"),
				100 * json_number_value(json_object_get(t, "accuracy_before")));
		fputs("</td></tr>\n", r->f);
	}
	fputs("</table>\n", r->f);
}

static void put_count(FILE *f, const char *name, int64_t n, int64_t most)
{
	fputs("<tr><td>", f);
	svg_put(f, name);
	fprintf(f,
		"</td><td class=r>%" PRId64
		"</td><td class=w><div class=\"bar\"><i style=\"width:%.1f%%\"></i></div></td></tr>\n",
		n, 100.0 * (double)n / (double)MAX(most, 1));
}

static int64_t largest(const json_t *counts)
{
	int64_t most = 0;
	const char *key;
	json_t *v;

	json_object_foreach ((json_t *)counts, key, v)
		most = MAX(most, (int64_t)json_integer_value(v));
	return most;
}

static void put_qualities(const struct report *r)
{
	const json_t *counts = json_object_get(json_object_get(r->status, "store"), "by_quality");
	int64_t most = largest(counts);
	char key[8];

	fputs("<h2>At which qualities</h2>\n<table><tr><th>JPEG quality</th><th "
	      "class=r>Images</th><th></th></tr>\n",
		r->f);
	for (int q = 100; q > 0; q--) {
		snprintf(key, sizeof(key), "%d", q);
		if (number(counts, key))
			put_count(r->f, key, number(counts, key), most);
	}
	fputs("</table>\n", r->f);
}

static void put_labels(const struct report *r)
{
	const json_t *store = json_object_get(r->status, "store");
	int64_t without = number(store, "unlabelled"), most = without;
	size_t n;
	_cleanup_free_ struct label_count *all = label_counts(store, &n);

	if (n)
		most = MAX(most, all[0].images);
	fputs("<h2>Of which labels</h2>\n<table><tr><th>Label</th><th class=r>Images</th><th></th></tr>\n",
		r->f);
	for (size_t i = 0; i < MIN(n, (size_t)LABELS); i++)
		put_count(r->f, all[i].name, all[i].images, most);
	if (without)
		put_count(r->f, "(without a label)", without, most);
	fputs("</table>\n", r->f);
	if (n > LABELS)
		fprintf(r->f, "<p class=\"dim\">and %zu labels more, of no more images each</p>\n", n - LABELS);
}

/* One picture of a card; jpeg is base64. */
static void put_picture(const struct report *r, const char *jpeg, int64_t width, int64_t height, bool small)
{
	fprintf(r->f,
		"<img%s src=\"data:image/jpeg;base64,%s\" width=\"%" PRId64 "\" height=\"%" PRId64
		"\" alt=\"\">",
		small ? " class=\"small\"" : "", jpeg, width, height);
}

/* The image as it is stored, or at a lower quality; one that went meanwhile leaves a hole. */
static void put_stored(const struct report *r, const json_t *im, int64_t quality)
{
	char error[256];
	bool answered;
	json_t *reply = varlink_call(r->c->fd, CONTROL_INTERFACE ".Preview",
		json_pack("{ss si sI}", "id", text(im, "id"), "side", SIDE, "quality", (json_int_t)quality),
		&answered, error, sizeof(error));
	_cleanup_buf_ struct buf checked = {0};
	const json_t *data = json_object_get(reply, "data");

	fputs("<figure>", r->f);
	if (varlink_blob_read(data, &checked) == 0) /* base64 and nothing else */
		put_picture(r, json_string_value(data), number(reply, "width"), number(reply, "height"),
			number(im, "width") < SIDE);
	if (quality)
		fprintf(r->f, "<figcaption>at quality %" PRId64 "</figcaption></figure>", quality);
	else
		fprintf(r->f, "<figcaption>as stored: %" PRId64 "</figcaption></figure>",
			number(im, "quality"));
	json_decref(reply);
}

static void put_original(const struct report *r, const struct original *o)
{
	struct preview shown;
	json_t *jpeg;

	if (!o->path || original_preview(o, SIDE, &jpeg, &shown) < 0)
		return;
	fputs("<figure>", r->f);
	put_picture(
		r, json_string_value(jpeg), shown.width, shown.height, number(o->image, "width") < SIDE);
	fputs("<figcaption>as captured</figcaption></figure>", r->f);
	json_decref(jpeg);
}

static void put_cards(const struct report *r, const struct ranking *k, const struct original *originals,
	const char *title, const char *words)
{
	char size[24];

	if (!k->n)
		return;
	fprintf(r->f, "<h2>%s</h2>\n<p class=\"dim\">%s</p>\n<div class=\"cards\">\n", title, words);
	for (int i = 0; i < k->n; i++) {
		const json_t *im = k->image[i];

		fputs("<div class=\"card\"><div class=\"pair\">", r->f);
		put_original(r, &originals[i]);
		put_stored(r, im, 0);
		put_stored(r, im, number(im, "quality") > COMPARED ? COMPARED : COMPARED_2);
		fprintf(r->f, "</div>%.4f nats; %s; ", sensitivity(im),
			format_size(number(im, "bytes"), size, sizeof(size)));
		svg_put(r->f,
			json_is_string(json_object_get(im, "label")) ? text(im, "label") : "no label");
		fprintf(r->f, "<br><span class=\"dim\">%.12s ", text(im, "id"));
		svg_put(r->f, text(im, "name"));
		fputs("</span></div>\n", r->f);
	}
	fputs("</div>\n", r->f);
}

static void put_decisions(const struct report *r)
{
	const json_t *d;
	size_t i;

	if (!json_array_size(json_object_get(r->recent, "decisions")))
		return;
	fputs("<h2>The latest captures</h2>\n<table><tr><th>When (UTC)</th><th>Name</th><th>Fate</th><th "
	      "class=r>Quality</th><th class=r>Bytes</th></tr>\n",
		r->f);
	json_array_foreach (json_object_get(r->recent, "decisions"), i, d) {
		char when[32], a[24], b[24];

		print_date((int64_t)json_number_value(json_object_get(d, "time")), when, sizeof(when));
		fprintf(r->f, "<tr><td>%s</td><td>", when);
		svg_put(r->f, text(d, "name"));
		fputs("</td><td>", r->f);
		svg_put(r->f, text(d, "fate"));
		if (text(d, "why")[0]) {
			fputs(": ", r->f);
			svg_put(r->f, text(d, "why"));
		}
		if (number(d, "quality"))
			fprintf(r->f, "</td><td class=r>%" PRId64 "</td><td class=r>%s of %s</td></tr>\n",
				number(d, "quality"), format_size(number(d, "bytes"), a, sizeof(a)),
				format_size(number(d, "captured_bytes"), b, sizeof(b)));
		else
			fputs("</td><td></td><td></td></tr>\n", r->f);
	}
	fputs("</table>\n", r->f);
}

static void put_page(const struct report *r)
{
	static const struct curve_text bytes[] = {{"disk space in use", "use", 1e-6},
		{"limit", "limit", 1e-6}, {"of it pictures", "bytes", 1e-6}},
				       images[] = {{"images stored", "images", 1},
					       {"captures taken", "captures", 1}},
				       quality[] = {{"mean quality", "mean_quality", 1, true}};

	fputs(head, r->f);
	put_summary(r);
	if (json_array_size(json_object_get(r->history, "samples")) > 1)
		fputs("<h2>How it came along</h2>\n", r->f);
	put_over_time(r, "Disk space", "MB", bytes, ARRAY_SIZE(bytes));
	put_over_time(r, "Images", "images", images, ARRAY_SIZE(images));
	put_over_time(r, "Mean JPEG quality", "quality", quality, ARRAY_SIZE(quality));
	put_accuracy(r);
	put_qualities(r);
	put_labels(r);
	put_cards(r, &r->most, r->original, "Most sensitive images",
		"Compression changes what the network makes of these the most: how far quality 10 moves "
		"its answer, "
		"in nats. At the left as it is stored, at the right at the quality named.");
	put_cards(
		r, &r->least, r->original + r->most.n, "Least sensitive images", "The network hardly notices.");
	put_decisions(r);
	fputs("</body></html>\n", r->f);
}

static json_t *ask(struct report *r, const char *method)
{
	return r->result == EXIT_OK ? call(r->c, method, json_object(), &r->result) : NULL;
}

/* The captures of the images that are shown, where they are in dir. */
static int find_originals(struct report *r, const char *dir)
{
	int n = 0;

	for (int i = 0; i < r->most.n; i++)
		r->original[n++].image = r->most.image[i];
	for (int i = 0; i < r->least.n; i++)
		r->original[n++].image = r->least.image[i];
	r->originals = originals_find(dir, r->original, n);
	if (r->originals >= 0)
		return EXIT_OK;
	fprintf(stderr, "larderctl: %s: %s\n", dir, strerror(-r->originals));
	return EXIT_REFUSED;
}

/* The page in memory, to be freed. */
static int make_page(struct report *r, char **ret, size_t *ret_size)
{
	r->f = open_memstream(ret, ret_size);
	if (r->f)
		put_page(r);
	if (r->f && !(ferror(r->f) | (fclose(r->f) != 0)))
		return EXIT_OK;
	fputs("larderctl: out of memory\n", stderr);
	return EXIT_REFUSED;
}

static void ranking_done(struct ranking *k)
{
	for (int i = 0; i < k->n; i++)
		json_decref(k->image[i]);
}

static void say_written(const struct report *r, const char *file, size_t size, bool with_originals)
{
	if (r->c->json)
		printf("{\"images\": %" PRId64 ", \"bytes\": %zu, \"originals\": %d}\n", r->images, size,
			r->originals);
	else
		printf("%s: %" PRId64 " images, %" PRId64 " of them scored", file, r->images, r->scored);
	if (!r->c->json && with_originals)
		printf("; %d of %d shown beside their captures", r->originals, r->most.n + r->least.n);
	if (!r->c->json)
		putchar('\n');
}

int run_report(struct ctl *c)
{
	static const struct option options[] = {
		{"originals", required_argument, NULL, 'o'}, {NULL, 0, NULL, 0}};
	static const struct filter every;
	struct report r = {.c = c, .most = {.sign = 1}, .least = {.sign = -1}};
	const char *originals = NULL;
	json_t *status;
	char *html = NULL;
	size_t size = 0;
	int o;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", options, NULL)) >= 0) {
		if (o != 'o')
			return EXIT_USAGE;
		originals = optarg;
	}
	if (c->argc - optind != 1) {
		fputs("larderctl: report: the name of one file is needed\n", stderr);
		return EXIT_USAGE;
	}
	status = ask(&r, CONTROL_INTERFACE ".Status");
	r.status = json_object_get(status, "status");
	r.history = ask(&r, CONTROL_INTERFACE ".History");
	r.recent = ask(&r, CONTROL_INTERFACE ".Recent");
	if (r.result == EXIT_OK)
		r.result = filter_walk(c, &every, meet, &r);
	if (r.result == EXIT_OK && originals)
		r.result = find_originals(&r, originals);
	if (r.result == EXIT_OK)
		r.result = make_page(&r, &html, &size);
	if (r.result == EXIT_OK)
		r.result = save_file(c->argv[optind], &(struct buf){(uint8_t *)html, size, size, false});
	if (r.result == EXIT_OK)
		say_written(&r, c->argv[optind], size, originals != NULL);
	free(html);
	for (int i = 0; i < 2 * SHOWN; i++)
		original_done(&r.original[i]);
	ranking_done(&r.most);
	ranking_done(&r.least);
	json_decref(status);
	json_decref(r.history);
	json_decref(r.recent);
	return r.result;
}
