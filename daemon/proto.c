#include "daemon/proto.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/io.h"

size_t frame_begin(struct buf *b, enum message type)
{
	size_t at = b->len;

	buf_put_u32(b, 0);
	buf_put_u8(b, (uint8_t)type);
	return at;
}

void frame_end(struct buf *b, size_t at)
{
	uint32_t n = (uint32_t)(b->len - at - 4);

	for (int i = 0; !b->failed && i < 4; i++)
		b->data[at + (size_t)i] = (uint8_t)(n >> (8 * i));
}

int64_t frame_next(const uint8_t *data, size_t len, uint8_t *ret_type, struct reader *ret)
{
	struct reader r = {data, len, false};
	uint32_t n;

	if (len < FRAME_HEAD)
		return 0;
	n = reader_u32(&r);
	if (n < 1 || n > FRAME_MAX)
		return -EBADMSG;
	if (len - 4 < n)
		return 0;
	*ret_type = reader_u8(&r);
	*ret = (struct reader){r.data, n - 1, false};
	return 4 + (int64_t)n;
}

int frame_read(int fd, struct buf *b, uint8_t *ret_type, struct reader *ret)
{
	uint8_t head[4];
	uint32_t n;
	int r = io_read_full(fd, head, sizeof(head));

	if (r < 0)
		return r;
	n = (uint32_t)head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 24;
	if (n < 1 || n > FRAME_MAX)
		return -EBADMSG;
	b->len = 0;
	if (!buf_reserve(b, n))
		return -ENOMEM;
	r = io_read_full(fd, b->data, n);
	if (r < 0)
		return r;
	b->len = n;
	*ret_type = b->data[0];
	*ret = (struct reader){b->data + 1, n - 1, false};
	return 0;
}

int frame_write(int fd, struct buf *b)
{
	return b->failed ? -ENOMEM : io_write_full(fd, b->data, b->len);
}

void put_stored(struct buf *b, const struct stored_image *s)
{
	buf_put_u8(b, s->whole_file);
	buf_put_u8(b, s->asked);
	buf_put_u8(b, s->layout);
	buf_put_u8(b, s->quality);
	buf_put_u32(b, (uint32_t)s->width);
	buf_put_u32(b, (uint32_t)s->height);
	buf_put_u8(b, (uint8_t)s->orientation);
	buf_put_u32(b, s->tables);
	buf_put_u32(b, s->label);
}

void get_stored(struct reader *r, struct stored_image *ret)
{
	ret->whole_file = reader_u8(r);
	ret->asked = reader_u8(r);
	ret->layout = reader_u8(r);
	ret->quality = reader_u8(r);
	ret->width = (int)reader_u32(r);
	ret->height = (int)reader_u32(r);
	ret->orientation = reader_u8(r);
	ret->tables = reader_u32(r);
	ret->label = reader_u32(r);
}

void put_encode(struct buf *b, int quality, bool loose)
{
	size_t at = frame_begin(b, MSG_ENCODE);

	buf_put_u8(b, (uint8_t)quality);
	buf_put_u8(b, loose);
	frame_end(b, at);
}

void put_coded(struct buf *b, const struct coded *c)
{
	buf_put_u32(b, c->tables);
	buf_put_u8(b, c->loose);
}

void get_coded(struct reader *r, struct coded *ret)
{
	ret->tables = reader_u32(r);
	ret->loose = reader_u8(r);
}

void put_sketched(struct buf *b, const struct sketched *s)
{
	buf_put_u64(b, (uint64_t)s->taken_s);
	for (int i = 0; i < SKETCH_CELLS; i++)
		buf_put_f32(b, s->sketch.cell[i]);
}

int get_sketched(struct reader *r, struct sketched *ret)
{
	struct sketched s = {.taken_s = (int64_t)reader_u64(r)};

	for (int i = 0; i < SKETCH_CELLS; i++) {
		s.sketch.cell[i] = reader_f32(r);
		if (!(fabsf(s.sketch.cell[i]) <= 1))
			return -EBADMSG;
	}
	if (r->failed)
		return -EBADMSG;
	*ret = s;
	return 0;
}

void put_curve(struct buf *b, const struct curve_answer *a)
{
	buf_put_u32(b, (uint32_t)a->width);
	buf_put_u32(b, (uint32_t)a->height);
	buf_put_u8(b, (uint8_t)a->orientation);
	buf_put_u8(b, (uint8_t)a->own_quality);
	buf_put_u8(b, a->layout);
	buf_put(b, a->format, sizeof(a->format));
	buf_put_u8(b, a->curve.scored);
	buf_put_f32(b, a->curve.entropy);
	buf_put_u8(b, (uint8_t)a->curve.n);
	for (int i = 0; i < a->curve.n; i++) {
		buf_put_u8(b, a->curve.quality[i]);
		buf_put_u32(b, a->curve.rate[i]);
		buf_put_f32(b, a->curve.kl[i]);
		buf_put_f32(b, a->curve.loss[i]);
	}
	put_sketched(b, &a->sketched);
}

int get_curve(struct reader *r, struct curve_answer *ret)
{
	struct curve_answer a = {0};
	bool counted = false;
	const uint8_t *format;

	a.width = (int)reader_u32(r); /* one by one: initialisers have no order */
	a.height = (int)reader_u32(r);
	a.orientation = reader_u8(r);
	a.own_quality = reader_u8(r);
	a.layout = reader_u8(r);
	format = reader_take(r, sizeof(a.format));
	if (format)
		memcpy(a.format, format, sizeof(a.format) - 1);
	a.curve.scored = reader_u8(r);
	a.curve.entropy = reader_f32(r);
	a.curve.n = reader_u8(r);
	if (r->failed || a.width < 1 || a.width > 65535 || a.height < 1 || a.height > 65535 ||
		a.orientation < 1 || a.orientation > 8 || a.own_quality < 1 ||
		a.own_quality > 100 || a.curve.n < 1 || a.curve.n > RUNGS_MAX ||
		!(a.curve.entropy <= 8))
		return -EBADMSG;
	for (int i = 0; i < a.curve.n; i++) {
		a.curve.quality[i] = reader_u8(r);
		a.curve.rate[i] = reader_u32(r);
		a.curve.kl[i] = reader_f32(r);
		a.curve.loss[i] = reader_f32(r);
		if (a.curve.quality[i] < 1 || a.curve.quality[i] > 100 ||
			(i && a.curve.quality[i] <= a.curve.quality[i - 1]) ||
			a.curve.rate[i] > INT32_MAX || !isfinite(a.curve.kl[i]) || a.curve.kl[i] < 0 ||
			!isfinite(a.curve.loss[i]))
			return -EBADMSG;
		counted |= a.curve.rate[i] > 0;
	}
	if (get_sketched(r, &a.sketched) < 0 || !reader_finished(r) || !counted)
		return -EBADMSG;
	*ret = a;
	return 0;
}

static void put_f64(struct buf *b, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	buf_put_u64(b, bits);
}

static double get_f64(struct reader *r)
{
	uint64_t bits = reader_u64(r);
	double v;

	memcpy(&v, &bits, sizeof(v));
	return v;
}

void put_counts(struct buf *b, const struct pack_lessons *l, const struct sensitivity *network)
{
	buf_put_u64(b, (uint64_t)l->rungs);
	for (int t = 0; t < 2; t++) {
		buf_put_u64(b, l->counts.blocks[t]);
		for (int k = 0; k < DCT_SIZE2; k++)
			buf_put_u64(b, l->counts.magnitude[t][k]);
	}
	for (int i = 0; i < PACK_CONTEXTS; i++)
		for (int bit = 0; bit < 2; bit++)
			buf_put_u32(b, l->counts.bit[i][bit]);
	put_f64(b, network->images);
	for (int t = 0; t < 2; t++) {
		put_f64(b, network->planes[t]);
		for (int k = 0; k < DCT_SIZE2; k++) {
			put_f64(b, network->kl[t][k]);
			put_f64(b, network->error[t][k]);
			put_f64(b, network->magnitude[t][k]);
		}
	}
}

/* A sum of things that are not negative. */
static double get_sum(struct reader *r, bool *bad)
{
	double v = get_f64(r);

	*bad |= !(v >= 0 && v < 1e18);
	return v;
}

static uint64_t get_bounded(struct reader *r, uint64_t max)
{
	uint64_t v = reader_u64(r);

	return MIN(v, max);
}

int get_counts(struct reader *r, struct pack_lessons *ret, struct sensitivity *ret_network)
{
	struct sensitivity n = {0};
	struct pack_lessons l = {.rungs = (int64_t)get_bounded(r, INT32_MAX)};
	bool bad = false;

	for (int t = 0; t < 2; t++) { /* bounded: 16 times a sum must not overflow */
		l.counts.blocks[t] = get_bounded(r, UINT64_C(1) << 40);
		for (int k = 0; k < DCT_SIZE2; k++)
			l.counts.magnitude[t][k] = get_bounded(r, UINT64_C(1) << 56);
	}
	for (int i = 0; i < PACK_CONTEXTS; i++)
		for (int bit = 0; bit < 2; bit++) {
			uint32_t times = reader_u32(r);

			l.counts.bit[i][bit] = MIN(times, UINT32_C(1) << 24);
		}
	n.images = get_sum(r, &bad);
	for (int t = 0; t < 2; t++) {
		n.planes[t] = get_sum(r, &bad);
		for (int k = 0; k < DCT_SIZE2; k++) {
			n.kl[t][k] = get_sum(r, &bad);
			n.error[t][k] = get_sum(r, &bad);
			n.magnitude[t][k] = get_sum(r, &bad);
		}
	}
	*ret = l;
	*ret_network = n;
	return reader_finished(r) && !bad ? 0 : -EBADMSG;
}

void put_train_order(struct buf *b, const struct train_order *o)
{
	buf_put_blob(b, o->store, strlen(o->store));
	buf_put_u32(b, (uint32_t)o->input_size);
	for (int l = 0; l < 3; l++)
		buf_put_u32(b, (uint32_t)o->channels[l]);
	buf_put_u32(b, (uint32_t)o->epochs);
	buf_put_u32(b, (uint32_t)o->batch);
	buf_put_u32(b, (uint32_t)o->threads);
	put_f64(b, o->until);
	buf_put_u32(b, (uint32_t)o->min_images);
	buf_put_u32(b, (uint32_t)o->per_class_min);
	buf_put_u64(b, o->seed);
	buf_put_u64(b, (uint64_t)o->memory_max);
	buf_put_blob(b, o->model, o->model_len);
	buf_put_blob(b, o->checkpoint, o->checkpoint_len);
}

int get_train_order(struct reader *r, struct train_order *ret)
{
	struct train_order o = {0};
	size_t n;
	const uint8_t *path = reader_blob(r, &n);

	if (!path || n >= sizeof(o.store))
		return -EBADMSG;
	memcpy(o.store, path, n);
	o.input_size = (int)reader_u32(r);
	for (int l = 0; l < 3; l++)
		o.channels[l] = (int)reader_u32(r);
	o.epochs = (int)reader_u32(r);
	o.batch = (int)reader_u32(r);
	o.threads = (int)reader_u32(r);
	o.until = get_f64(r);
	o.min_images = (int)reader_u32(r);
	o.per_class_min = (int)reader_u32(r);
	o.seed = reader_u64(r);
	o.memory_max = (int64_t)reader_u64(r);
	o.model = reader_blob(r, &o.model_len);
	o.checkpoint = reader_blob(r, &o.checkpoint_len);
	if (!reader_finished(r) || o.epochs < 1 || o.batch < 1 || o.threads < 1 ||
		!(o.until > 0 && o.until <= 1))
		return -EBADMSG;
	*ret = o;
	return 0;
}

void put_train_result(struct buf *b, const struct train_result *t)
{
	buf_put_u32(b, (uint32_t)t->trained_images);
	buf_put_u32(b, (uint32_t)t->validation_images);
	put_f64(b, t->candidate_accuracy);
	put_f64(b, t->current_accuracy);
	put_f64(b, t->seconds);
}

int get_train_result(struct reader *r, struct train_result *ret)
{
	ret->trained_images = (int)reader_u32(r);
	ret->validation_images = (int)reader_u32(r);
	ret->candidate_accuracy = get_f64(r);
	ret->current_accuracy = get_f64(r);
	ret->seconds = get_f64(r);
	return r->failed || !isfinite(ret->candidate_accuracy) ? -EBADMSG : 0;
}
