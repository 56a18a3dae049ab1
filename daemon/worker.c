#include "daemon/worker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/codec/decode.h"
#include "common/codec/input.h"
#include "common/codec/preview.h"
#include "common/codec/strip.h"
#include "common/log.h"
#include "common/net/model.h"
#include "daemon/proto.h"
#include "daemon/sandbox.h"
#include "policy/score.h"

#define MEMORY_BASE	  (INT64_C(384) << 20)
#define MEMORY_PER_PIXEL  24 /* decoder's and our own coefficients, four times, and pixels */
#define TABLES_MAX	  16
#define FILE_KEPT_MAX	  (8 << 20) /* bytes of a capture: kept beside its coefficients */
#define MEASURED_PIXELS	  (INT64_C(24) << 20) /* what the network looks at is measured on so many */

struct worker {
	int64_t max_pixels;
	uint8_t min_quality, max_quality;
	int input_size;
	struct model model;
	struct scorer scorer;
	struct table_set known[TABLES_MAX]; /* every set images may be stored with, by id */
	int n_known;
	struct coef_image image; /* decoded last */
	int own_quality;	 /* of image; 0: none */
	struct curve_answer begun; /* what is known of the capture before it is scored */
	uint32_t label;		 /* of it */
	struct buf file;	 /* image is a capture that came like this: scorer.file */
	uint8_t asked;		 /* about it: ASK_SKETCH while it waits to be scored */
	struct pack_lessons lessons; /* since the newest set */
	bool fresh;		 /* image is a capture that the network has scored */
	struct sensitivity network;
	int64_t measured_pixels;
	struct buf in, out;
};

static void refuse(struct worker *w, int error, const char *reason)
{
	size_t at = frame_begin(&w->out, MSG_REFUSED);

	buf_put_u32(&w->out, (uint32_t)-error);
	buf_put(&w->out, reason, strlen(reason));
	frame_end(&w->out, at);
}

/* Without memory for it there are rates only. */
static void guess_until_model(struct worker *w)
{
	if (!w->model.params)
		scorer_set_input(&w->scorer, w->input_size);
}

static void on_limits(struct worker *w, struct reader *r)
{
	w->max_pixels = (int64_t)reader_u64(r);
	w->min_quality = reader_u8(r);
	w->max_quality = reader_u8(r);
	w->scorer.pack_max = reader_u32(r);
	w->input_size = (int)reader_u32(r);
	guess_until_model(w);
}

static int on_model(struct worker *w, struct reader *r)
{
	struct model m = {0};
	int e = r->len ? model_read(r->data, r->len, &m) : 0;

	if (e < 0)
		return e;
	scorer_set_model(&w->scorer, NULL, NULL);
	model_done(&w->model);
	w->network = (struct sensitivity){0};
	w->measured_pixels = 0;
	w->model = m;
	guess_until_model(w);
	return m.params ? scorer_set_model(&w->scorer, &w->model.shape, w->model.params) : 0;
}

/* The newest set is the one to pack with; older ones are needed to unpack. */
static int on_tables(struct worker *w, struct reader *r)
{
	struct table_set set;
	uint32_t id = reader_u32(r);

	if (r->failed || !id || table_set_read(r->data, r->len, &set) < 0)
		return -EBADMSG;
	set.id = id;
	if (w->n_known < TABLES_MAX)
		w->known[w->n_known++] = set;
	w->scorer.sets = w->known;
	w->scorer.n_sets = w->n_known;
	w->scorer.shared = set;
	w->lessons = (struct pack_lessons){0};
	return 0;
}

static void answer_curve(struct worker *w, struct curve_answer *a, uint32_t label,
	uint8_t max_quality, uint8_t asked, struct pack_lessons *lessons)
{
	const float *params = w->scorer.params;
	uint8_t quality[RUNGS_MAX];
	int n = ladder_for(w->own_quality, w->min_quality, max_quality, quality), r;
	size_t at;

	a->width = w->image.width;
	a->height = w->image.height;
	a->orientation = w->image.orientation;
	a->layout = coef_layout(&w->image);
	a->own_quality = w->own_quality;
	if (asked & ASK_NO_NETWORK)
		w->scorer.params = NULL;
	w->scorer.few_rates = asked & ASK_FEW_RATES;
	w->scorer.guess = asked & ASK_GUESS;
	r = score(&w->scorer, &w->image, w->own_quality, quality, n,
		label && w->model.params ? model_class_of(&w->model, label) : -1, lessons,
		&a->curve);
	w->scorer.params = params;
	if (r < 0) {
		refuse(w, r, "out of memory while scoring");
		return;
	}
	at = frame_begin(&w->out, MSG_CURVE);
	put_curve(&w->out, a);
	frame_end(&w->out, at);
}

static void answer_sketch(struct worker *w)
{
	size_t at = frame_begin(&w->out, MSG_SKETCH);

	put_sketched(&w->out, &w->begun.sketched);
	frame_end(&w->out, at);
}

static void score_begun(struct worker *w)
{
	answer_curve(w, &w->begun, w->label, w->max_quality, w->asked, &w->lessons);
}

static void on_capture(struct worker *w, struct reader *r)
{
	struct capture_info info;
	int e;

	w->label = reader_u32(r);
	w->asked = reader_u8(r);
	w->begun = (struct curve_answer){0};
	w->own_quality = 0;
	w->scorer.file = NULL;
	e = capture_decode(r->data, r->len, w->max_pixels, &w->image, &info);
	if (e < 0) {
		char reason[REASON_MAX + 16];

		if (info.format[0] == '?')
			snprintf(reason, sizeof(reason), "%s", info.reason);
		else
			snprintf(reason, sizeof(reason), "%s: %s", info.format, info.reason);
		refuse(w, e, reason);
		return;
	}
	w->own_quality = info.quality;
	w->file.len = 0;
	if (r->len <= FILE_KEPT_MAX && jpeg_strip(r->data, r->len, w->image.orientation, &w->file))
		w->scorer.file = &w->file;
	w->fresh = w->model.params && !(w->asked & ASK_NO_NETWORK);
	w->begun.sketched.taken_s = info.taken_s;
	sketch_of(&w->image, &w->begun.sketched.sketch);
	snprintf(w->begun.format, sizeof(w->begun.format), "%s", info.format);
	if (w->asked & ASK_SKETCH)
		answer_sketch(w);
	else
		score_begun(w);
}

/* The capture that was sketched is worth it. */
static void on_score(struct worker *w)
{
	if (!w->own_quality || !(w->asked & ASK_SKETCH)) {
		refuse(w, -EINVAL, "nothing to score");
		return;
	}
	w->asked &= (uint8_t)~ASK_SKETCH;
	score_begun(w);
}

/* A stored image into w->image, its steps into t when it was packed; false: refused. */
static bool decode_stored(
	struct worker *w, struct reader *r, struct stored_image *s, struct jpeg_tables *t)
{
	const struct table_set *set;
	int e;

	get_stored(r, s);
	set = table_set_find(w->known, w->n_known, s->tables);
	w->own_quality = 0;
	w->scorer.file = NULL;
	w->asked = 0;
	w->fresh = false;
	if (r->failed || (!s->whole_file && (!set || !table_set_tables(set, s->quality, t)))) {
		refuse(w, -EBADMSG, "stored image without its tables");
		return false;
	}
	e = s->whole_file ? file_decode(r->data, r->len, &w->image)
			  : packed_decode(r->data, r->len, s->layout, s->width, s->height,
				    s->orientation, t, &set->pack, &w->image);
	if (e < 0)
		refuse(w, e, "stored bytes do not decode");
	return e == 0;
}

static void on_stored(struct worker *w, struct reader *r)
{
	struct stored_image s;
	struct curve_answer a = {0};
	struct jpeg_tables t;

	if (!decode_stored(w, r, &s, &t))
		return;
	w->own_quality = s.quality;
	answer_curve(w, &a, s.label, s.quality, s.asked, NULL);
}

/* Ends the answer that begin_file() began; e: what came of writing the file into it. */
static void end_file(struct worker *w, size_t at, int e, const char *why_not)
{
	if (e < 0) {
		w->out.len = at;
		refuse(w, e, why_not);
		return;
	}
	frame_end(&w->out, at);
}

/* The answer that is a file of its own. */
static size_t begin_file(struct worker *w)
{
	size_t at = frame_begin(&w->out, MSG_ENCODED);

	put_coded(&w->out, &(struct coded){0});
	return at;
}

static void on_export(struct worker *w, struct reader *r)
{
	struct stored_image s;
	struct jpeg_tables t;
	size_t at;

	if (!decode_stored(w, r, &s, &t))
		return;
	if (s.whole_file)
		coef_tables(&w->image, &t);
	at = begin_file(w);
	end_file(w, at, jpeg_write_file(&w->image, &t, &w->out), "cannot be encoded");
}

/* The picture made small, as it is or as a lower quality would have it. */
static void on_preview(struct worker *w, struct reader *r)
{
	int side = reader_u16(r), quality = reader_u8(r), e = 0;
	_cleanup_coef_ struct coef_image lower = {0};
	struct stored_image s;
	struct jpeg_tables t;
	size_t at;

	if (r->failed || side < 8 || side > PREVIEW_MAX || quality > 100) {
		refuse(w, -EINVAL, "no such preview");
		return;
	}
	if (!decode_stored(w, r, &s, &t))
		return;
	if (quality) {
		rung_tables(&w->scorer, &w->image, s.quality, quality, &t);
		e = coef_requantise(&w->image, &t, &lower);
	}
	at = begin_file(w);
	if (e == 0)
		e = preview_write(quality ? &lower : &w->image, side, &w->out);
	end_file(w, at, e, "no preview can be made");
}

/* What the network takes the picture for. */
static void on_look(struct worker *w, struct reader *r)
{
	struct scorer *sc = &w->scorer;
	struct stored_image s;
	struct jpeg_tables t;
	size_t at;
	int e;

	if (!decode_stored(w, r, &s, &t))
		return;
	e = w->model.params ? input_from_coef(&w->image, sc->shape.size, sc->rgb) : -ENODATA;
	if (e < 0) {
		refuse(w, e, "the network cannot look at it");
		return;
	}
	net_forward(sc->work, sc->rgb, 1, sc->logits);
	softmax(sc->logits, sc->shape.classes);
	at = frame_begin(&w->out, MSG_SEEN);
	for (int k = 0; k < sc->shape.classes; k++)
		buf_put_f32(&w->out, sc->logits[k]);
	frame_end(&w->out, at);
}

static void on_encode(struct worker *w, struct reader *r)
{
	int quality = reader_u8(r), e;
	bool loose = reader_u8(r);
	_cleanup_buf_ struct buf data = {0};
	struct coded coded;
	size_t at;

	if (r->failed || !w->own_quality || quality < 1 || quality > 100) {
		refuse(w, -EINVAL, "nothing to encode");
		return;
	}
	e = rung_encode(&w->scorer, &w->image, w->own_quality, quality, loose, &data, &coded);
	if (e < 0 || data.failed || !data.len) {
		refuse(w, e < 0 ? e : -ENOMEM, "cannot be encoded");
		return;
	}
	at = frame_begin(&w->out, MSG_ENCODED);
	put_coded(&w->out, &coded);
	buf_put(&w->out, data.data, data.len);
	frame_end(&w->out, at);
}

static void on_counts(struct worker *w)
{
	size_t at = frame_begin(&w->out, MSG_COUNTED);

	put_counts(&w->out, &w->lessons, &w->network);
	frame_end(&w->out, at);
	w->lessons = (struct pack_lessons){0};
}

/*
 * After an answer, on the capture just encoded: what does the network look at? Once the rungs' steps
 * are made for it, nobody asks any more.
 */
static void measure(struct worker *w)
{
	int64_t pixels = (int64_t)w->image.width * w->image.height;
	bool enough = w->network.images >= SENSITIVITY_IMAGES ||
		(w->network.images >= SENSITIVITY_MIN && w->measured_pixels >= MEASURED_PIXELS);

	if (!w->fresh || enough || w->scorer.shared.made)
		return;
	w->fresh = false;
	if (sensitivity_add(&w->scorer, &w->image, &w->network) == 0)
		w->measured_pixels += pixels;
}

static int handle(struct worker *w, uint8_t type, struct reader *r)
{
	switch ((enum message)type) {
	case MSG_MODEL:
		return on_model(w, r);
	case MSG_TABLES:
		return on_tables(w, r);
	case MSG_CAPTURE:
		on_capture(w, r);
		break;
	case MSG_SCORE:
		on_score(w);
		break;
	case MSG_STORED:
		on_stored(w, r);
		break;
	case MSG_ENCODE:
		on_encode(w, r);
		break;
	case MSG_EXPORT:
		on_export(w, r);
		break;
	case MSG_PREVIEW:
		on_preview(w, r);
		break;
	case MSG_LOOK:
		on_look(w, r);
		break;
	case MSG_COUNTS:
		on_counts(w);
		break;
	case MSG_LIMITS: /* the first alone: the sandbox is made by them */
	case MSG_SKETCH:
	case MSG_CURVE:
	case MSG_REFUSED:
	case MSG_ENCODED:
	case MSG_COUNTED:
	case MSG_SEEN:
	case MSG_TRAIN:
	case MSG_PROGRESS:
	case MSG_CHECKPOINT:
	case MSG_TRAINED:
	case MSG_SLICE:
		return -EBADMSG;
	}
	return frame_write(STDOUT_FILENO, &w->out);
}

/* Makes the libraries allocate and look around before the sandbox closes. */
static int warm_up(void)
{
	const struct net_shape shape = {8, {4, 4, 4}, 2};
	struct net_layout at;
	uint8_t rgb[8 * 8 * 3] = {0};
	float params[4096] = {0}, logits[2];
	_cleanup_(net_work_freep) struct net_work *work = net_work_new(&shape, false);

	net_layout(&shape, &at);
	if (!work || at.total > ARRAY_SIZE(params))
		return -ENOMEM;
	net_use(work, params);
	net_forward(work, rgb, 1, logits);
	return 0;
}

int worker_main(bool background)
{
	struct worker *w = calloc(1, sizeof(*w));
	struct reader payload;
	uint8_t type;
	int r;

	if (!w)
		return 1;
	if (background)
		make_way();
	/* The first message says how much memory pictures may take. */
	r = frame_read(STDIN_FILENO, &w->in, &type, &payload);
	if (r == 0 && type == MSG_LIMITS)
		on_limits(w, &payload);
	if (r == 0)
		r = warm_up();
	if (r == 0)
		r = sandbox_worker(MEMORY_BASE + w->max_pixels * MEMORY_PER_PIXEL);
	if (r < 0) {
		log_error("worker cannot start: %s", strerror(-r));
		return 1;
	}
	for (;;) {
		r = frame_read(STDIN_FILENO, &w->in, &type, &payload);
		if (r < 0)
			break;
		w->out.len = 0;
		r = handle(w, type, &payload);
		if (r < 0)
			break;
		if (type == MSG_ENCODE)
			measure(w);
	}
	if (r != -EPIPE)
		log_error("worker ends: %s", strerror(-r));
	scorer_done(&w->scorer);
	model_done(&w->model);
	coef_done(&w->image);
	buf_done(&w->file);
	buf_done(&w->in);
	buf_done(&w->out);
	free(w);
	return r == -EPIPE ? 0 : 1;
}
