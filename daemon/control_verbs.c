#include "daemon/control_verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/digest.h"
#include "daemon/json.h"
#include "larder-config.h"
#include "policy/age.h"

#define LIST_MAX     1000
#define PLANS_MAX    64
#define PLAN_MIN     (1 << 20) /* bytes: as Store.MaxUse has it */

static json_t *captures_json(const struct daemon *d)
{
	return json_pack("{sI sI sI sI sI}", "stored", (json_int_t)daemon_images(d), "duplicate",
		(json_int_t)d->counters[COUNT_DUPLICATE], "quarantined",
		(json_int_t)d->counters[COUNT_QUARANTINED], "dropped",
		(json_int_t)d->counters[COUNT_DROPPED], "overflows",
		(json_int_t)(d->counters[COUNT_OVERFLOWS] + spools_overflows(d->spools)));
}

static void add_count(json_t *object, const char *key, int64_t n)
{
	json_int_t old = json_integer_value(json_object_get(object, key));

	json_object_set_new(object, key, json_integer(old + n));
}

static json_t *store_json(const struct daemon *d, double *ret_mean_quality)
{
	json_t *by_quality = json_object(), *by_label = json_object();
	const struct usage *u = writer_usage(d->writer);
	int64_t bytes, images = daemon_totals(d, &bytes, ret_mean_quality), unlabelled = 0, validation = 0;

	for (size_t i = 0; i < d->tally.n; i++) {
		const struct tally *t = &d->tally.v[i];
		uint32_t label = stratum_label(t->stratum);
		char text[LABEL_MAX + 16];
		json_t *name;

		if (!t->images)
			continue;
		validation += stratum_is_validation(t->stratum) ? t->images : 0;
		snprintf(text, sizeof(text), "%d", t->quality);
		add_count(by_quality, text, t->images);
		if (!label) {
			unlabelled += t->images;
			continue;
		}
		name = varlink_text(daemon_label_name(d, label));
		add_count(by_label, json_string_value(name), t->images);
		json_decref(name);
	}
	return json_pack("{sI sI sI sI sI so so sI sI sI}", "images", (json_int_t)images, "bytes",
		(json_int_t)bytes, "use", (json_int_t)u->total, "max_use",
		(json_int_t)amount_bytes(&d->config.store.max_use, d->limit), "limit", (json_int_t)d->limit,
		"by_quality", by_quality, "by_label", by_label, "unlabelled", (json_int_t)unlabelled,
		"validation", (json_int_t)validation, "bytes_written",
		(json_int_t)d->counters[COUNT_WRITTEN]);
}

static json_t *model_json(const struct daemon *d)
{
	const struct model *m = &d->model;
	json_t *classes = json_array();

	for (int k = 0; m->params && k < m->shape.classes; k++)
		json_array_append_new(classes, json_string(m->name[k]));
	return json_pack("{sI sf sI sI sI so}", "version", (json_int_t)m->version, "validation_accuracy",
		m->validation_accuracy, "validation_images", (json_int_t)m->validation_images,
		"trained_images", (json_int_t)m->trained_images, "trained_at",
		(json_int_t)(m->trained_us / US_PER_SEC), "classes", classes);
}

static json_t *training_json(const struct daemon *d)
{
	struct training_status t;

	training_status(d, &t);
	return json_pack("{ss so si si si sf}", "state", t.state, "why", varlink_text(t.why), "epoch",
		t.epoch, "epochs", t.epochs, "new_images", t.new_images, "loss",
		isfinite(t.loss) ? (double)t.loss : 0.0);
}

/* The spools of [Spool NAME], and how many captures are in all spools. */
static json_t *more_spools_json(const struct daemon *d, int64_t *ret_files)
{
	json_t *list = json_array();

	*ret_files = spools_count(d->spools, 0);
	for (int i = 0; i < d->config.n_spools; i++) {
		const struct more_spool *s = &d->config.more[i];
		int64_t files = spools_count(d->spools, i + 1);

		*ret_files += files;
		json_array_append_new(
			list, json_pack("{ss so so sI}", "name", s->name, "path", varlink_text(s->path),
				      "label", s->label[0] ? varlink_text(s->label) : json_null(), "files",
				      (json_int_t)files));
	}
	return list;
}

static void run_status(struct call *c)
{
	struct daemon *d = c->d;
	double mean_quality;
	json_t *store = store_json(d, &mean_quality);
	int64_t in_flight = intake_in_flight(d->intake), files = 0;
	json_t *more = more_spools_json(d, &files);
	json_t *status = json_pack("{ss sf s{sI sI sb so so} so so s{ss sf sf sI sn} so so s{si si}}",
		"version", LARDER_VERSION, "uptime_s",
		(double)(clock_steady_us() - d->started_us) / US_PER_SEC, "spool", "pending",
		(json_int_t)MAX(files - in_flight, 0), "in_flight", (json_int_t)in_flight, "watching",
		spools_watching(d->spools), "path", varlink_text(d->config.spool.path), "more", more,
		"captures", captures_json(d), "store", store, "policy", "mode",
		policy_mode_name((enum policy_mode)d->config.policy.mode), "price", (double)d->price,
		"mean_quality", mean_quality, "target_bytes",
		(json_int_t)keeper_plan(d, (double)d->limit).mean_bytes, "predictor_rank_correlation",
		"model", model_json(d), "training", training_json(d), "workers", "alive",
		pool_alive(d->pool), "load", pool_load(d->pool));

	client_reply(c->client, json_pack("{so}", "status", status));
}

static void run_recent(struct call *c)
{
	const struct daemon *d = c->d;
	json_t *decisions = json_array();
	const struct decision *n;

	for (uint64_t k = 0; (n = recent_get(&d->recent, k)); k++)
		json_array_append_new(decisions, decision_json(d, n));
	client_reply(c->client,
		json_pack("{sI so}", "captures", (json_int_t)d->recent.n, "decisions", decisions));
}

struct listing {
	const struct daemon *d;
	json_t *images;
	uint32_t label;
	bool by_label;
	int quality, limit, seen;
	int64_t last;
};

static bool list_row(void *user, const struct image_row *row)
{
	struct listing *l = user;

	l->last = row->id;
	l->seen++;
	if ((l->by_label && stratum_label(row->stratum) != l->label) ||
		(l->quality && row->quality != l->quality))
		return true;
	json_array_append_new(l->images, image_json(l->d, row));
	return (int)json_array_size(l->images) < l->limit;
}

static void run_list(struct call *c)
{
	const char *label = json_string_value(json_object_get(c->parameters, "label"));
	const char *after = json_string_value(json_object_get(c->parameters, "after"));
	json_int_t limit = json_integer_value(json_object_get(c->parameters, "limit"));
	struct listing l = {.d = c->d, .quality = (int)json_integer_value(
					       json_object_get(c->parameters, "quality"))};
	int64_t from = after ? (int64_t)strtoull(after, NULL, 16) : -1;
	char next[17];
	json_t *reply;
	int r;

	l.limit = limit > 0 && limit < LIST_MAX ? (int)limit : LIST_MAX;
	l.by_label = label;
	l.label = label && label[0] ? daemon_label_id(c->d, label) : 0;
	if (label && label[0] && !l.label) {
		client_fail(c->client, "no label '%s'", label);
		return;
	}
	l.images = json_array();
	l.last = from;
	/* A filter may pass over many rows: bounded work, and a cursor to go on from. */
	r = view_walk(c->d->view, from, -1, 20 * LIST_MAX, list_row, &l);
	if (r < 0) {
		json_decref(l.images);
		client_fail(c->client, "cannot read the index: %s", strerror(-r));
		return;
	}
	reply = json_pack("{so}", "images", l.images);
	if (l.seen == 20 * LIST_MAX || (int)json_array_size(l.images) == l.limit)
		json_object_set_new(reply, "next", json_string(format_id(l.last, next)));
	client_reply(c->client, reply);
}

/* The id a client means; answers the client and returns false when there is none. */
bool call_find_id(struct call *c, const char *text, int64_t *ret)
{
	int r = text ? view_find(c->d->view, text, ret) : -ENOENT;

	if (r == 0)
		return true;
	if (r == -ENOENT || r == -ENOTUNIQ)
		client_error(c->client,
			r == -ENOENT ? CONTROL_INTERFACE ".NoSuchImage" : CONTROL_INTERFACE ".Ambiguous",
			json_pack("{so}", "id", varlink_text(text ? text : "")));
	else
		client_fail(c->client, "cannot read the index: %s", strerror(-r));
	return false;
}

/* Why the image is stored as it is, in words. */
static void explain(const struct daemon *d, const struct image_row *row, char *out, size_t size)
{
	const char *repeats =
		row->rank >= RANK_REPEATS ? " It looks like others before it: it goes first." : "";
	int n;

	if (d->config.policy.mode == MODE_UNIFORM) {
		snprintf(out, size, "Mode=uniform stores captures at quality %d and drops the oldest.",
			(int)d->config.policy.quality);
		return;
	}
	if (d->config.policy.mode == MODE_DROP) {
		snprintf(out, size, "Mode=drop keeps captures as they came, and a random sample of them.");
		return;
	}
	if (stratum_is_validation(row->stratum) && row->step >= 0 && !(row->flags & IMAGE_PINNED)) {
		snprintf(out, size,
			"A validation image, never trained on. When room is needed it is stored at quality "
			"%d, the lowest that loses next to nothing, and stays so.", row->step_to);
		return;
	}
	if (stratum_is_validation(row->stratum))
		n = snprintf(out, size,
			"A validation image: stored at the lowest quality that loses next to nothing, never "
			"trained on, never degraded.");
	else if (row->flags & IMAGE_ORIGINAL)
		n = snprintf(out, size, "Stored as it came, when Mode was drop.");
	else if (!(row->flags & IMAGE_SCORED))
		n = snprintf(out, size, "Not scored by a model yet: stored at the quality that the price "
					"allows an average image.");
	else
		n = snprintf(out, size, "At quality %d the model's answer moves by %.4f nats.", row->quality,
			row->n_harm ? (double)kl_decode(row->harm[row->n_harm - 1]) : 0.0);
	if (n < 0 || (size_t)n >= size)
		return;
	if (row->flags & IMAGE_PINNED)
		snprintf(out + n, size - (size_t)n, "%s Pinned: it stays as it is.", repeats);
	else if (row->step >= 0 && row->step_to == row->quality)
		snprintf(out + n, size - (size_t)n,
			"%s A complete JPEG while there is room; it gets smaller at no loss when there is "
			"none.", repeats);
	else if (row->step >= 0)
		snprintf(out + n, size - (size_t)n,
			"%s The next step down, to quality %d, is worth taking when a byte is worth more than "
			"%.3g; the price is %.3g now.", repeats, row->step_to,
			(double)price_decode(row->step), (double)d->price);
	else
		snprintf(out + n, size - (size_t)n, "%s There is no lower quality left for it.", repeats);
}

/* When MaxAge removes it, if it does. */
static void set_expiry(const struct daemon *d, const struct image_row *row, json_t *image)
{
	const char *label = json_string_value(json_object_get(image, "label"));
	int64_t us = age_limit_us(&d->config.store.max_age, label ? label : "");

	if (us && !(row->flags & IMAGE_PINNED))
		json_object_set_new(image, "expires", json_integer(row->taken_s + us / US_PER_SEC));
}

static void run_show(struct call *c)
{
	const char *text = json_string_value(json_object_get(c->parameters, "id"));
	json_t *image, *curve = json_array();
	struct image_row row;
	char reason[512];
	struct curve k;
	int64_t id;
	int r;

	if (!call_find_id(c, text, &id)) {
		json_decref(curve);
		return;
	}
	r = view_row(c->d->view, id, &row);
	if (r < 0) {
		json_decref(curve);
		client_fail(c->client, "cannot read the index: %s", strerror(-r));
		return;
	}
	explain(c->d, &row, reason, sizeof(reason));
	curve_of_row(&row, 1, &k);
	for (int i = 0; k.scored && i < k.n; i++)
		json_array_append_new(curve, json_pack("{si sf}", "quality", k.quality[i], "divergence",
			(double)k.kl[i]));
	image = image_json(c->d, &row);
	json_object_update_new(image, json_pack("{so so}", "reason", json_string(reason), "curve", curve));
	if (row.step >= 0 && row.step_to)
		json_object_set_new(image, "next_step", json_pack("{si sf}", "quality", row.step_to, "price",
			(double)price_decode(row.step)));
	set_expiry(c->d, &row, image);
	if (row.flags & IMAGE_FILE) {
		char path[CONFIG_PATH_MAX + 64], hex[17];

		snprintf(path, sizeof(path), "%s/objects/%s-q%d.jpg", c->d->config.store.path,
			format_id(row.id, hex), row.quality);
		json_object_set_new(image, "file", varlink_text(path));
	}
	client_reply(c->client, json_pack("{so}", "image", image));
}

void client_answer(struct client *c, bool ok, const char *text)
{
	if (ok)
		client_reply(c, json_pack("{so}", "text", varlink_text(text)));
	else
		client_fail(c, "%s", text);
}

static void on_training_over(void *user, bool ok, const char *text)
{
	client_answer(user, ok, text);
}

static void run_train(struct call *c)
{
	bool now = json_is_true(json_object_get(c->parameters, "now"));
	struct training_status t;

	training_status(c->d, &t);
	if (!strcmp(t.state, "paused")) {
		client_fail(c->client, "training is paused; see larderctl resume");
		return;
	}
	if (json_is_true(json_object_get(c->parameters, "wait")))
		training_wait(c->d, on_training_over, c->client);
	else
		client_reply(c->client, json_pack("{ss}", "text",
			now ? "training begins" : "training begins when the device is idle"));
	training_request(c->d, now);
}

static void run_plan(struct call *c)
{
	const json_t *sizes = json_object_get(c->parameters, "max_use");
	json_t *plans, *size;
	size_t i;

	json_array_foreach(
		sizes, i, size) if (json_integer_value(size) < PLAN_MIN || i >= PLANS_MAX)
	{
		client_fail(c->client, "max_use: up to %d sizes of at least %d bytes", PLANS_MAX,
			PLAN_MIN);
		return;
	}
	plans = json_array();
	json_array_foreach(sizes, i, size)
	{
		int64_t limit = json_integer_value(size);
		double divergence, worth;
		struct plan p = keeper_plan_at(c->d, limit, &divergence, &worth);

		json_array_append_new(plans,
			json_pack("{sI sI si sf sf sf}", "max_use", (json_int_t)limit, "images",
				(json_int_t)p.images, "quality", p.quality, "bytes_per_image",
				p.mean_bytes, "divergence", divergence, "worth", worth));
	}
	client_reply(c->client, json_pack("{so}", "plans", plans));
}

static void run_pause(struct call *c)
{
	training_pause(c->d, true);
	client_reply(c->client, json_object());
}

static void run_resume(struct call *c)
{
	training_pause(c->d, false);
	client_reply(c->client, json_object());
}

static void run_reload(struct call *c)
{
	char error[CONFIG_ERROR_MAX];

	if (daemon_reload(c->d, error) < 0)
		client_fail(c->client, "%s", error);
	else
		client_reply(c->client, json_object());
}

const struct verb VERBS[] = {
	{"Status", false, run_status},
	{"List", false, run_list},
	{"Show", false, run_show},
	{"Recent", false, run_recent},
	{"Plan", false, run_plan},
	{"File", false, run_file},
	{"Preview", false, run_preview},
	{"Suggest", false, run_suggest},
	{"History", false, run_history},
	{"Model", false, run_model},
	{"UseModel", true, run_use_model},
	{"Vacuum", true, run_vacuum},
	{"Verify", false, run_verify},
	{"Repair", true, run_repair},
	{"Label", true, run_label},
	{"Pin", true, run_pin},
	{"Unpin", true, run_unpin},
	{"Remove", true, run_remove},
	{"Train", true, run_train},
	{"Pause", true, run_pause},
	{"Resume", true, run_resume},
	{"Reload", true, run_reload},
};

const size_t N_VERBS = ARRAY_SIZE(VERBS);
