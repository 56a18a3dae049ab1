#include "daemon/history.h"

#include <errno.h>
#include <string.h>

#define MAGIC UINT32_C(0x3153484c) /* "LHS1" */

void history_init(struct history *h)
{
	*h = (struct history){.interval_s = HISTORY_FIRST_S};
}

bool history_wants(const struct history *h, int64_t now_s)
{
	int64_t last = h->n_samples ? h->sample[h->n_samples - 1].time_s : 0;

	return !h->n_samples || now_s < last || now_s - last >= h->interval_s;
}

void history_add(struct history *h, const struct history_sample *s)
{
	if (h->n_samples == HISTORY_SAMPLES) { /* the latest stays */
		int n = 0;

		for (int i = 1; i < HISTORY_SAMPLES; i += 2)
			h->sample[n++] = h->sample[i];
		h->n_samples = n;
		h->interval_s *= 2;
	}
	h->sample[h->n_samples++] = *s;
}

void history_add_training(struct history *h, const struct history_training *t)
{
	if (h->n_trainings == HISTORY_TRAININGS)
		memmove(h->training, h->training + 1, (size_t)--h->n_trainings * sizeof(*t));
	h->training[h->n_trainings++] = *t;
}

void history_put(const struct history *h, struct buf *b)
{
	buf_put_u32(b, MAGIC);
	buf_put_u64(b, (uint64_t)h->interval_s);
	buf_put_u16(b, (uint16_t)h->n_samples);
	buf_put_u16(b, (uint16_t)h->n_trainings);
	for (int i = 0; i < h->n_samples; i++) {
		const struct history_sample *s = &h->sample[i];

		buf_put_u64(b, (uint64_t)s->time_s);
		buf_put_u64(b, (uint64_t)s->taken);
		buf_put_u64(b, (uint64_t)s->images);
		buf_put_u64(b, (uint64_t)s->bytes);
		buf_put_u64(b, (uint64_t)s->use);
		buf_put_u64(b, (uint64_t)s->limit);
		buf_put_f32(b, s->mean_quality);
		buf_put_f32(b, s->price);
	}
	for (int i = 0; i < h->n_trainings; i++) {
		const struct history_training *t = &h->training[i];

		buf_put_u64(b, (uint64_t)t->time_s);
		buf_put_u64(b, (uint64_t)t->version);
		buf_put_u32(b, (uint32_t)t->images);
		buf_put_u32(b, (uint32_t)t->validation_images);
		buf_put_f32(b, t->accuracy);
		buf_put_f32(b, t->accuracy_before);
		buf_put_u8(b, t->accepted);
	}
}

int history_get(const uint8_t *data, size_t len, struct history *ret)
{
	struct reader r = {data, len, false};
	uint32_t magic = reader_u32(&r);

	ret->interval_s = (int64_t)reader_u64(&r);
	ret->n_samples = reader_u16(&r);
	ret->n_trainings = reader_u16(&r);
	if (magic != MAGIC || ret->interval_s < HISTORY_FIRST_S || ret->interval_s > INT64_C(1) << 40 ||
		ret->n_samples > HISTORY_SAMPLES || ret->n_trainings > HISTORY_TRAININGS)
		r.failed = true;
	for (int i = 0; !r.failed && i < ret->n_samples; i++) {
		struct history_sample *s = &ret->sample[i];

		s->time_s = (int64_t)reader_u64(&r);
		s->taken = (int64_t)reader_u64(&r);
		s->images = (int64_t)reader_u64(&r);
		s->bytes = (int64_t)reader_u64(&r);
		s->use = (int64_t)reader_u64(&r);
		s->limit = (int64_t)reader_u64(&r);
		s->mean_quality = reader_f32(&r);
		s->price = reader_f32(&r);
	}
	for (int i = 0; !r.failed && i < ret->n_trainings; i++) {
		struct history_training *t = &ret->training[i];

		t->time_s = (int64_t)reader_u64(&r);
		t->version = (int64_t)reader_u64(&r);
		t->images = (int32_t)reader_u32(&r);
		t->validation_images = (int32_t)reader_u32(&r);
		t->accuracy = reader_f32(&r);
		t->accuracy_before = reader_f32(&r);
		t->accepted = reader_u8(&r);
	}
	if (reader_finished(&r))
		return 0;
	history_init(ret);
	return -EBADMSG;
}
