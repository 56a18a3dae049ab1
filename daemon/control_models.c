/* Control verbs about what was learnt: the model as a file and from one, and what happened so far. */
#include <errno.h>
#include <string.h>

#include "common/net/onnx.h"
#include "daemon/control_verbs.h"
#include "daemon/json.h"

void run_model(struct call *c)
{
	const char *format = json_string_value(json_object_get(c->parameters, "format"));
	json_int_t offset = json_integer_value(json_object_get(c->parameters, "offset"));
	const struct model *m = &c->d->model;
	_cleanup_buf_ struct buf file = {0};
	json_t *part;
	int r;

	if (!m->params) {
		client_fail(c->client, "there is no model yet");
		return;
	}
	if (format && strcmp(format, "safetensors") != 0 && strcmp(format, "onnx") != 0) {
		client_fail(c->client, "format: safetensors and onnx are allowed");
		return;
	}
	r = format && !strcmp(format, "onnx") ? onnx_write(m, &file) : model_write(m, &file);
	part = r == 0 ? part_json(file.data, file.len, offset) : NULL;
	if (part && json_object_set_new(part, "version", json_integer((json_int_t)m->version)) == 0) {
		client_reply(c->client, part);
	} else {
		json_decref(part);
		client_fail(c->client, "out of memory");
	}
}

static void on_model_used(void *user, bool ok, const char *text)
{
	client_answer(user, ok, text);
	client_release(user);
}

/* The shape has to be the settings', so that trainings go on with it. */
static bool fits_settings(struct call *c, const struct model *m)
{
	const struct config *k = &c->d->config;
	const int *n = m->shape.channels;

	if (m->shape.size == k->model.input_size && n[0] == k->model.channels[0] &&
		n[1] == k->model.channels[1] && n[2] == k->model.channels[2])
		return true;
	client_fail(c->client,
		"the model has Model.InputSize=%d and Model.Channels=%d %d %d; the settings have %d and %d "
		"%d %d",
		m->shape.size, n[0], n[1], n[2], (int)k->model.input_size, (int)k->model.channels[0],
		(int)k->model.channels[1], (int)k->model.channels[2]);
	return false;
}

void run_use_model(struct call *c)
{
	_cleanup_buf_ struct buf file = {0};
	_cleanup_model_ struct model m = {0};
	int r = varlink_blob_read(json_object_get(c->parameters, "data"), &file);

	if (r == 0)
		r = model_read(file.data, file.len, &m);
	if (r < 0) {
		client_fail(c->client,
			r == -ENOMEM ? "out of memory"
				     : "not a model that larder wrote, or a damaged one (who changes weights "
				       "takes crc32c out of the metadata)");
		return;
	}
	if (!fits_settings(c, &m))
		return;
	/* Labels have numbers of their own in each store; names are what models have in common. */
	for (int k = 0; k < m.shape.classes; k++)
		m.label_id[k] = daemon_label_id(c->d, m.name[k]);
	m.validation_images = 0; /* not measured here */
	m.validation_accuracy = 0;
	client_hold(c->client);
	models_use(c->d, &m, on_model_used, c->client);
}

void run_history(struct call *c)
{
	const struct history *h = &c->d->history;
	json_t *samples = json_array(), *trainings = json_array();

	for (int i = 0; i < h->n_samples; i++) {
		const struct history_sample *s = &h->sample[i];

		json_array_append_new(
			samples, json_pack("{sI sI sI sI sI sI sf sf}", "time", (json_int_t)s->time_s,
					 "captures", (json_int_t)s->taken, "images", (json_int_t)s->images,
					 "bytes", (json_int_t)s->bytes, "use", (json_int_t)s->use, "limit",
					 (json_int_t)s->limit, "mean_quality", (double)s->mean_quality,
					 "price", (double)s->price));
	}
	for (int i = 0; i < h->n_trainings; i++)
		json_array_append_new(trainings, training_ended_json(&h->training[i]));
	client_reply(c->client, json_pack("{so so}", "samples", samples, "trainings", trainings));
}
