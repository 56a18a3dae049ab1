/*
 * An image from the store as a file that any program opens. Complete files go out as they are;
 * packed ones are made into JPEG by a worker, because even what is stored is not parsed in this
 * process.
 */
#include <errno.h>
#include <string.h>

#include "common/codec/preview.h"
#include "daemon/control_verbs.h"
#include "daemon/json.h"
#include "daemon/pool.h"
#include "daemon/proto.h"

struct export {
	struct client *client; /* held; NULL: answered */
	int64_t offset;
	int width, height; /* of a preview, to be shown at; 0: the file itself */
};

static void send_part(struct client *c, const uint8_t *data, size_t len, int64_t offset)
{
	json_t *part = part_json(data, len, offset);

	if (part)
		client_reply(c, part);
	else
		client_fail(c, "out of memory");
}

static void send_preview(struct client *c, const uint8_t *data, size_t len, int width, int height)
{
	json_t *picture = len <= PART_MAX ? varlink_blob(data, len) : NULL;

	if (picture)
		client_reply(c, json_pack("{so si si}", "data", picture, "width", width, "height", height));
	else
		client_fail(c, "out of memory");
}

static bool on_export_answer(struct job *job, uint8_t type, struct reader *payload, bool *ret_bad)
{
	struct export *x = job->user;
	struct coded coded;

	*ret_bad = type != MSG_ENCODED && type != MSG_REFUSED;
	get_coded(payload, &coded);
	if (*ret_bad || payload->failed) {
		*ret_bad = true;
		return false;
	}
	if (type == MSG_ENCODED && x->width)
		send_preview(x->client, payload->data, payload->len, x->width, x->height);
	else if (type == MSG_ENCODED)
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

/* Hands the image to a worker; head is what the message has before it. */
static void ask_worker(struct call *c, enum message type, const struct buf *head, const struct image_row *row,
	const struct buf *data, const struct export *answer)
{
	struct stored_image image = stored_of_row(row);
	struct export *x = calloc(1, sizeof(*x));
	struct job *job = calloc(1, sizeof(*job));
	size_t at;

	if (!x || !job) {
		free(x);
		free(job);
		client_fail(c->client, "out of memory");
		return;
	}
	*x = *answer;
	x->client = c->client;
	job->user = x;
	job->answer = on_export_answer;
	job->finished = on_export_finished;
	job->dropped = on_export_dropped;
	at = frame_begin(&job->request, type);
	buf_put(&job->request, head->data, head->len);
	put_stored(&job->request, &image);
	buf_put(&job->request, data->data, data->len);
	frame_end(&job->request, at);
	client_hold(c->client);
	pool_submit(c->d->pool, job);
}

/* The image that the call names, with its bytes; false: the client has been told what is wrong. */
static bool find_image(struct call *c, struct image_row *ret_row, struct buf *ret_data)
{
	const char *text = json_string_value(json_object_get(c->parameters, "id"));
	int64_t id;
	int r;

	if (!call_find_id(c, text, &id))
		return false;
	r = view_row(c->d->view, id, ret_row);
	if (r == 0)
		r = view_data(c->d->view, ret_row, ret_data);
	if (r < 0)
		client_fail(c->client, "the image cannot be read: %s", strerror(-r));
	return r == 0;
}

void run_file(struct call *c)
{
	const struct export x = {.offset = json_integer_value(json_object_get(c->parameters, "offset"))};
	_cleanup_buf_ struct buf data = {0};
	static const struct buf nothing;
	struct image_row row;

	if (!find_image(c, &row, &data))
		return;
	if (row.tables)
		ask_worker(c, MSG_EXPORT, &nothing, &row, &data, &x);
	else
		send_part(c->client, data.data, data.len, x.offset);
}

/*
 * The picture small enough to be shown beside many others, made by a worker: side x side samples of the
 * whole of it, to be stretched to width x height. No larger than the picture itself.
 */
void run_preview(struct call *c)
{
	json_int_t side = json_integer_value(json_object_get(c->parameters, "side"));
	json_int_t quality = json_integer_value(json_object_get(c->parameters, "quality"));
	_cleanup_buf_ struct buf data = {0}, head = {0};
	struct image_row row;
	struct export x = {0};
	struct preview shown;

	if (side < 8 || side > PREVIEW_MAX || quality < 0 || quality > 100) {
		client_fail(c->client, "side: 8 to %d is allowed; quality: 1 to 100, or 0 for as it is stored",
			PREVIEW_MAX);
		return;
	}
	if (!find_image(c, &row, &data))
		return;
	shown = preview_of(row.width, row.height, row.orientation, (int)side);
	x.width = shown.width;
	x.height = shown.height;
	buf_put_u16(&head, (uint16_t)shown.side);
	buf_put_u8(&head, quality < row.quality ? (uint8_t)quality : 0);
	ask_worker(c, MSG_PREVIEW, &head, &row, &data, &x);
}
