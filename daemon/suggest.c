/*
 * Suggest: the network looks at images without a label, and those that it knows least about come out
 * (policy/suggest.h). A bounded random sample of them is looked at, one after the other, so that captures
 * are not kept waiting for workers.
 */
#include "policy/suggest.h"

#include <errno.h>
#include <string.h>

#include "daemon/control_verbs.h"
#include "daemon/json.h"
#include "daemon/pool.h"
#include "daemon/proto.h"
#include "policy/score.h"

#define AMONG_MAX   1024
#define ANSWER_MAX  200
#define ANSWER_ELSE 20 /* when the client does not say how many */

struct look {
	struct daemon *d;
	struct client *client; /* held */
	int want, classes, next;
	int64_t asked;	 /* the image that a worker is looking at */
	int64_t version; /* of the model that answers */
	int64_t id[AMONG_MAX];
	int n;		  /* of id */
	float *answer;	  /* [n][classes]; owned */
	int64_t *seen;	  /* [n]: their images; owned */
	int n_seen;
};

static void look_free(struct look *l)
{
	client_release(l->client);
	free(l->answer);
	free(l->seen);
	free(l);
}

static json_t *suggestion(const struct look *l, int i)
{
	const float *p = l->answer + (size_t)i * (size_t)l->classes;
	struct image_row row;
	json_t *image;
	int best = 0;

	if (view_row(l->d->view, l->seen[i], &row) < 0)
		return NULL; /* gone meanwhile */
	for (int k = 0; k < l->classes; k++)
		best = p[k] > p[best] ? k : best;
	image = image_json(l->d, &row);
	json_object_update_new(image, json_pack("{ss sf sf}", "guess", l->d->model.name[best], "probability",
		(double)p[best], "entropy", (double)answer_entropy(p, l->classes)));
	return image;
}

static void answer(struct look *l)
{
	int chosen[ANSWER_MAX], n = suggest_choose(l->answer, l->n_seen, l->classes, l->want, chosen);
	json_t *images = json_array();

	if (l->d->model.version != l->version || n < 0) {
		json_decref(images);
		client_fail(l->client, n < 0 ? "out of memory" : "a new model came meanwhile; ask again");
		return;
	}
	for (int i = 0; i < n; i++) {
		json_t *image = suggestion(l, chosen[i]);

		if (image)
			json_array_append_new(images, image);
	}
	client_reply(l->client, json_pack("{so si}", "images", images, "looked_at", l->n_seen));
}

static bool submit_next(struct look *l);

static bool on_seen(struct job *job, uint8_t type, struct reader *payload, bool *ret_bad)
{
	struct look *l = job->user;
	float *p = l->answer + (size_t)l->n_seen * (size_t)l->classes;

	*ret_bad = type != MSG_SEEN && type != MSG_REFUSED;
	if (type != MSG_SEEN)
		return !*ret_bad;
	if (payload->len != (size_t)l->classes * sizeof(float))
		return true; /* another model's: not counted */
	for (int k = 0; k < l->classes; k++) {
		p[k] = reader_f32(payload);
		*ret_bad |= !(p[k] >= 0 && p[k] <= 1.001f);
	}
	if (!*ret_bad)
		l->seen[l->n_seen++] = l->asked;
	return !*ret_bad;
}

static void on_looked(struct job *job, const char *why)
{
	struct look *l = job->user;

	(void)why; /* one less to choose from */
	job_done(job);
	free(job);
	if (submit_next(l))
		return;
	answer(l);
	look_free(l);
}

static void on_look_dropped(void *user)
{
	look_free(user);
}

/* One more image to a worker; false when there is none left. */
static bool submit_next(struct look *l)
{
	while (l->next < l->n) {
		struct stored_image image;
		_cleanup_buf_ struct buf data = {0};
		struct image_row row;
		struct job *job;
		size_t at;

		if (view_row(l->d->view, l->id[l->next++], &row) < 0 ||
			view_data(l->d->view, &row, &data) < 0)
			continue;
		job = calloc(1, sizeof(*job));
		if (!job)
			return false;
		image = stored_of_row(&row);
		job->user = l;
		job->answer = on_seen;
		job->finished = on_looked;
		job->dropped = on_look_dropped;
		l->asked = row.id;
		at = frame_begin(&job->request, MSG_LOOK);
		put_stored(&job->request, &image);
		buf_put(&job->request, data.data, data.len);
		frame_end(&job->request, at);
		pool_submit(l->d->pool, job);
		return true;
	}
	return false;
}

static bool add_unlabelled(void *user, const struct image_row *row)
{
	struct look *l = user;

	l->id[l->n++] = row->id;
	return l->n < AMONG_MAX;
}

void run_suggest(struct call *c)
{
	json_int_t want = json_integer_value(json_object_get(c->parameters, "limit"));
	struct look *l;
	int r;

	if (!c->d->model.params) {
		client_fail(c->client, "there is no model yet; until then any label helps (list --unlabelled)");
		return;
	}
	l = calloc(1, sizeof(*l));
	if (!l) {
		client_fail(c->client, "out of memory");
		return;
	}
	l->d = c->d;
	l->client = c->client;
	l->want = want > 0 ? (int)MIN(want, ANSWER_MAX) : ANSWER_ELSE;
	l->classes = c->d->model.shape.classes;
	l->version = c->d->model.version;
	client_hold(c->client);
	/* By hash, those that stay longest, and what repeats its scene last. */
	r = view_first_ranks(c->d->view, stratum_of(0, false), AMONG_MAX, add_unlabelled, l);
	l->answer = calloc((size_t)l->n + 1, (size_t)l->classes * sizeof(float));
	l->seen = calloc((size_t)l->n + 1, sizeof(*l->seen));
	if (r < 0 || !l->answer || !l->seen) {
		client_fail(c->client, "cannot read the index: %s", strerror(r < 0 ? -r : ENOMEM));
		look_free(l);
		return;
	}
	if (!submit_next(l)) {
		answer(l);
		look_free(l);
	}
}
