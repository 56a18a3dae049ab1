/*
 * An image from the store as a file that any program opens. Complete files go out as they are;
 * packed ones are made into JPEG by a worker, because even what is stored is not parsed in this
 * process.
 */
#include <errno.h>
#include <string.h>

#include "daemon/control_verbs.h"
#include "daemon/pool.h"
#include "daemon/proto.h"

#define PART_MAX (512 << 10) /* bytes in one answer, before base64 */

struct export
{
	struct client *client; /* held; NULL: answered */
	int64_t offset;
};

/* One part of the file, and how long the whole is. */
static void send_part(struct client *c, const uint8_t *data, size_t len, int64_t offset)
{
	size_t from = (size_t)CLAMP(offset, 0, (int64_t)len), n = MIN(len - from, (size_t)PART_MAX);
	json_t *part = varlink_blob(data + from, n);

	if (part)
		client_reply(c, json_pack("{so sI sI}", "data", part, "offset", (json_int_t)from,
					"size", (json_int_t)len));
	else
		client_fail(c, "out of memory");
}

static bool on_export_answer(struct job *job, uint8_t type, struct reader *payload, bool *ret_bad)
{
	struct export *x = job->user;

	*ret_bad = type != MSG_ENCODED && type != MSG_REFUSED;
	reader_u32(payload);
	if (*ret_bad || payload->failed) {
		*ret_bad = true;
		return false;
	}
	if (type == MSG_ENCODED)
		send_part(x->client, payload->data, payload->len, x->offset);
	else
		client_fail(x->client, "the image cannot be read: %.*s",
			(int)MIN(payload->len, 100), (const char *)payload->data);
	client_release(x->client);
	x->client = NULL;
	return true;
}

static void on_export_finished(struct job *job, const char *why)
{
	struct export *x = job->user;

	if (x->client) {
		client_fail(x->client, "the image cannot be read: %s", why ? why : "no answer");
		client_release(x->client);
	}
	job_done(job);
	free(job);
	free(x);
}

static void on_export_dropped(void *user)
{
	struct export *x = user;

	if (x->client)
		client_release(x->client);
	free(x);
}

static void unpack(
	struct call *c, const struct image_row *row, const struct buf *data, int64_t offset)
{
	struct stored_image image = {.layout = row->layout,
		.quality = row->quality,
		.width = row->width,
		.height = row->height,
		.orientation = row->orientation,
		.tables = row->tables};
	struct export *x = calloc(1, sizeof(*x));
	struct job *job = calloc(1, sizeof(*job));
	size_t at;

	if (!x || !job) {
		free(x);
		free(job);
		client_fail(c->client, "out of memory");
		return;
	}
	x->client = c->client;
	x->offset = offset;
	job->user = x;
	job->answer = on_export_answer;
	job->finished = on_export_finished;
	job->dropped = on_export_dropped;
	at = frame_begin(&job->request, MSG_EXPORT);
	put_stored(&job->request, &image);
	buf_put(&job->request, data->data, data->len);
	frame_end(&job->request, at);
	client_hold(c->client);
	pool_submit(c->d->pool, job);
}

void run_file(struct call *c)
{
	const char *text = json_string_value(json_object_get(c->parameters, "id"));
	int64_t offset = json_integer_value(json_object_get(c->parameters, "offset")), id;
	_cleanup_buf_ struct buf data = {0};
	struct image_row row;
	int r;

	if (!call_find_id(c, text, &id))
		return;
	r = view_row(c->d->view, id, &row);
	if (r == 0)
		r = view_data(c->d->view, &row, &data);
	if (r < 0)
		client_fail(c->client, "the image cannot be read: %s", strerror(-r));
	else if (row.tables)
		unpack(c, &row, &data, offset);
	else
		send_part(c->client, data.data, data.len, offset);
}
