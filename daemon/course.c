#include "daemon/course.h"

#include "common/log.h"

#define MARKED_AT_ONCE 256

int64_t course_length(const struct daemon *d)
{
	const struct config *c = &d->config;

	if (!c->training.enabled || c->policy.mode != MODE_ADAPTIVE)
		return 0;
	return MIN(d->counters[COUNT_LABELLED], c->training.course_images);
}

void course_begin(struct course *c, int64_t labelled)
{
	const struct daemon *d = c->d;

	if (c->length || c->distrusted || !d->model.params || !d->counters[COUNT_DROPPED])
		return;
	c->length = course_length(d);
	c->begin = labelled;
}

void course_end(struct course *c, bool accepted)
{
	c->distrusted = c->length && !accepted;
	c->begin = c->length = 0;
}

int64_t course_slice_images(const struct course *c)
{
	return MAX(c->d->config.training.min_new_images, c->length / COURSE_SLICES);
}

double course_share(const struct course *c)
{
	double share;

	if (!c->length)
		return 1;
	share = (double)(c->d->counters[COUNT_LABELLED] - c->begin) / (double)c->length;
	return CLAMP(share, 1.0 / COURSE_SLICES, 1.0);
}

struct unspent {
	int64_t id[MARKED_AT_ONCE];
	int n;
};

static bool add_row(void *user, const struct image_row *row)
{
	struct unspent *u = user;

	u->id[u->n++] = row->id;
	return u->n < MARKED_AT_ONCE;
}

static void mark_some(struct course *c);

static void marked(void *user, struct op *op)
{
	op_free(op);
	mark_some(user);
}

/* The first stratum of training images whose number is at least from, or 0. */
static uint32_t stratum_from(const struct daemon *d, uint32_t from)
{
	uint32_t found = 0;
	size_t n = 0;
	struct stratum *s = daemon_strata(d, &n);

	for (size_t i = 0; i < n; i++)
		if (s[i].number >= from && stratum_label(s[i].number) &&
			!stratum_is_validation(s[i].number) && (!found || s[i].number < found))
			found = s[i].number;
	free(s);
	return found;
}

/* Hands the writer a handful; its last op asks for more. */
static void mark_some(struct course *c)
{
	struct unspent u = {.n = 0};

	while (!c->d->stopping && (c->stratum = stratum_from(c->d, c->stratum))) {
		if (view_unspent(c->d->view, c->stratum, MARKED_AT_ONCE, add_row, &u) < 0 || u.n)
			break;
		c->stratum++;
	}
	c->marking = false;
	for (int i = 0; i < u.n; i++) {
		struct op *op = op_new(OP_SPENT);

		if (!op) {
			log_warn("out of memory: %d images shown are not marked", u.n - i);
			return;
		}
		op->row.id = u.id[i];
		op->amount = c->slices - 1;
		if (i + 1 == u.n) {
			op->user = c;
			op->done = marked;
			c->marking = true;
		}
		writer_add(c->d->writer, op);
	}
}

void course_shown(struct course *c)
{
	c->slices++;
	c->stratum = 1;
	if (!c->marking)
		mark_some(c);
}

void course_put(const struct course *c, struct buf *b)
{
	buf_put_u64(b, (uint64_t)c->begin);
	buf_put_u64(b, (uint64_t)c->length);
	buf_put_u64(b, (uint64_t)c->slices);
}

void course_get(struct course *c, struct reader *r)
{
	int64_t begin = (int64_t)reader_u64(r), length = (int64_t)reader_u64(r);

	if (!r->failed && begin >= 0 && length > 0) {
		c->begin = begin;
		c->length = length;
	}
	c->slices = (int64_t)reader_u64(r);
	if (r->failed || c->slices < 0)
		c->slices = 0;
}
