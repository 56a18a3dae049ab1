/*
 * The status in Prometheus' text format (version 0.0.4), as node_exporter's textfile collector takes
 * it: base units, counters that end in _total, one family after the other.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/ctl/ctl.h"

static void family(const char *name, const char *type, const char *help)
{
	printf("# HELP larder_%s %s\n# TYPE larder_%s %s\n", name, help, name, type);
}

static void gauge(const char *name, const char *help, const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	if (!json_is_number(v))
		return; /* not known: no sample rather than a zero */
	family(name, "gauge", help);
	printf("larder_%s %.17g\n", name, json_number_value(v));
}

/* A label's value: what would end it is escaped, as the format has it. */
static void print_value(const char *s)
{
	for (; *s; s++)
		if (*s == '\\' || *s == '"')
			printf("\\%c", *s);
		else if (*s == '\n')
			fputs("\\n", stdout);
		else
			putchar(*s);
}

/* A sample for each member of an object, its key as the label. */
static void each(const char *name, const char *type, const char *help, const json_t *o, const char *label)
{
	const char *key;
	json_t *v;

	family(name, type, help);
	json_object_foreach((json_t *)o, key, v)
	{
		printf("larder_%s{%s=\"", name, label);
		print_value(key);
		printf("\"} %" PRId64 "\n", (int64_t)json_integer_value(v));
	}
}

static void print_metrics(const json_t *s)
{
	const json_t *store = json_object_get(s, "store"), *captures = json_object_get(s, "captures");
	const json_t *model = json_object_get(s, "model"), *spool = json_object_get(s, "spool");
	const json_t *training = json_object_get(s, "training"), *policy = json_object_get(s, "policy");
	json_t *fates = json_pack("{sI sI sI}", "duplicate", (json_int_t)number(captures, "duplicate"),
		"quarantined", (json_int_t)number(captures, "quarantined"), "dropped",
		(json_int_t)number(captures, "dropped"));

	family("build_info", "gauge", "The daemon that answers.");
	fputs("larder_build_info{version=\"", stdout);
	print_value(text(s, "version"));
	puts("\"} 1");
	gauge("uptime_seconds", "Since the daemon started.", s, "uptime_s");
	gauge("spool_pending", "Captures in the spool.", spool, "pending");
	gauge("spool_in_flight", "Captures being worked on.", spool, "in_flight");
	each("captures_total", "counter", "Captures that were not stored, or are not any more, by their fate.",
		fates, "fate");
	gauge("store_images", "Images stored.", store, "images");
	gauge("store_image_bytes", "Bytes of their pictures.", store, "bytes");
	gauge("store_use_bytes", "Disk space taken.", store, "use");
	gauge("store_limit_bytes", "Disk space that may be taken now.", store, "limit");
	family("written_bytes_total", "counter", "Bytes of pictures ever written to the store.");
	printf("larder_written_bytes_total %" PRId64 "\n", number(store, "bytes_written"));
	each("images_by_quality", "gauge", "Images by JPEG quality.", json_object_get(store, "by_quality"),
		"quality");
	each("images_by_label", "gauge", "Images by label.", json_object_get(store, "by_label"), "label");
	gauge("images_unlabelled", "Images without a label.", store, "unlabelled");
	gauge("price_nats_per_byte", "What a byte must be worth.", policy, "price");
	gauge("mean_quality", "Mean JPEG quality of the images.", policy, "mean_quality");
	gauge("model_version", "Of the current network; 0: none yet.", model, "version");
	gauge("model_accuracy_ratio", "Of the current network on the validation images.", model,
		"validation_accuracy");
	gauge("model_trained_timestamp_seconds", "When it was trained.", model, "trained_at");
	gauge("training_new_images", "Labelled images since the last training.", training, "new_images");
	family("training_running", "gauge", "Whether a training goes on.");
	printf("larder_training_running %d\n", !strcmp(text(training, "state"), "running"));
	json_decref(fates);
}

int run_metrics(struct ctl *c)
{
	int status = EXIT_OK;
	json_t *reply = call(c, CONTROL_INTERFACE ".Status", json_object(), &status);

	if (reply)
		print_metrics(json_object_get(reply, "status") ? json_object_get(reply, "status") : reply);
	json_decref(reply);
	return status;
}
