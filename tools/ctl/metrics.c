/*
 * The status in Prometheus' text format (version 0.0.4), as node_exporter's textfile collector takes
 * it: base units, counters that end in _total, one family after the other.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/ctl/ctl.h"

static void family(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP larder_%s %s\n# TYPE larder_%s %s\n", name, help, name, type);
}

static void gauge(FILE *f, const char *name, const char *help, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_number(v))
		return; /* not known: no sample rather than a zero */
	family(f, name, "gauge", help);
	fprintf(f, "larder_%s %.17g\n", name, json_number_value(v));
}

/* A label's value: what would end it is escaped, as the format has it. */
static void print_value(FILE *f, const char *s)
{
	for (; *s; s++)
		if (*s == '\\' || *s == '"')
			fprintf(f, "\\%c", *s);
		else if (*s == '\n')
			fputs("\\n", f);
		else
			fputc(*s, f);
}

/* A sample for each member of an object, its key as the label. */
static void each(
	FILE *f, const char *name, const char *type, const char *help, const json_t *o, const char *label)
{
	const char *key;
	json_t *v;

	family(f, name, type, help);
	json_object_foreach ((json_t *)o, key, v) {
		fprintf(f, "larder_%s{%s=\"", name, label);
		print_value(f, key);
		fprintf(f, "\"} %" PRId64 "\n", (int64_t)json_integer_value(v));
	}
}

static void print_metrics(FILE *f, const json_t *s)
{
	const json_t *store = json_object_get(s, "store"), *captures = json_object_get(s, "captures");
	const json_t *model = json_object_get(s, "model"), *spool = json_object_get(s, "spool");
	const json_t *training = json_object_get(s, "training"), *policy = json_object_get(s, "policy");
	json_t *fates = json_pack("{sI sI sI}", "duplicate", (json_int_t)number(captures, "duplicate"),
		"quarantined", (json_int_t)number(captures, "quarantined"), "dropped",
		(json_int_t)number(captures, "dropped"));

	family(f, "build_info", "gauge", "The daemon that answers.");
	fputs("larder_build_info{version=\"", f);
	print_value(f, text(s, "version"));
	fputs("\"} 1\n", f);
	gauge(f, "uptime_seconds", "Since the daemon started.", s, "uptime_s");
	gauge(f, "spool_pending", "Captures in the spool.", spool, "pending");
	gauge(f, "spool_in_flight", "Captures being worked on.", spool, "in_flight");
	each(f, "captures_total", "counter",
		"Captures that were not stored, or are not any more, by their fate.", fates, "fate");
	gauge(f, "store_images", "Images stored.", store, "images");
	gauge(f, "store_image_bytes", "Bytes of their pictures.", store, "bytes");
	gauge(f, "store_use_bytes", "Disk space taken.", store, "use");
	gauge(f, "store_limit_bytes", "Disk space that may be taken now.", store, "limit");
	family(f, "written_bytes_total", "counter", "Bytes of pictures ever written to the store.");
	fprintf(f, "larder_written_bytes_total %" PRId64 "\n", number(store, "bytes_written"));
	each(f, "images_by_quality", "gauge", "Images by JPEG quality.",
		json_object_get(store, "by_quality"), "quality");
	each(f, "images_by_label", "gauge", "Images by label.", json_object_get(store, "by_label"),
		"label");
	gauge(f, "images_unlabelled", "Images without a label.", store, "unlabelled");
	gauge(f, "price_nats_per_byte", "What a byte must be worth.", policy, "price");
	gauge(f, "mean_quality", "Mean JPEG quality of the images.", policy, "mean_quality");
	gauge(f, "model_version", "Of the current network; 0: none yet.", model, "version");
	gauge(f, "model_accuracy_ratio", "Of the current network on the validation images.", model,
		"validation_accuracy");
	gauge(f, "model_trained_timestamp_seconds", "When it was trained.", model, "trained_at");
	gauge(f, "training_new_images", "Labelled images since the last training.", training, "new_images");
	family(f, "training_running", "gauge", "Whether a training goes on.");
	fprintf(f, "larder_training_running %d\n", !strcmp(text(training, "state"), "running"));
	json_decref(fates);
}

/*
 * A file that others read at any time, and may read at all: whole or not at all, mode 0644. It is written
 * again every minute, so it need not survive a power loss.
 */
static int write_file(const char *path, const json_t *status)
{
	char part[4096];
	FILE *f;
	bool good;

	if ((size_t)snprintf(part, sizeof(part), "%s.%d", path, (int)getpid()) >= sizeof(part)) {
		fprintf(stderr, "larderctl: %s: %s\n", path, strerror(ENAMETOOLONG));
		return EXIT_USAGE;
	}
	f = fopen(part, "wxe");
	if (f) {
		print_metrics(f, status);
		good = !ferror(f) && fchmod(fileno(f), 0644) == 0;
		good = fclose(f) == 0 && good;
		if (good && rename(part, path) == 0)
			return EXIT_OK;
	}
	fprintf(stderr, "larderctl: %s: %s\n", f ? path : part, strerror(errno));
	if (f)
		unlink(part);
	return EXIT_REFUSED;
}

int run_metrics(struct ctl *c)
{
	static const struct option options[] = {
		{"output", required_argument, NULL, 'o'}, {NULL, 0, NULL, 0}};
	const char *path = NULL;
	int status = EXIT_OK, o;
	const json_t *s;
	json_t *reply;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", options, NULL)) >= 0) {
		if (o != 'o')
			return EXIT_USAGE;
		path = optarg;
	}
	if (!ends_here(c))
		return EXIT_USAGE;
	reply = call(c, CONTROL_INTERFACE ".Status", json_object(), &status);
	s = json_object_get(reply, "status");
	if (s && path)
		status = write_file(path, s);
	else if (s)
		print_metrics(stdout, s);
	json_decref(reply);
	return status;
}
