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

	if (c->length || c->distrusted || !d->model.params ||
		!plan_course_pays((double)daemon_images(d), (double)d->counters[COUNT_DROPPED]))
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

/* Some images of a stratum, in the order that they were asked for. */
struct some {
	int64_t id[MARKED_AT_ONCE];
	int rank[MARKED_AT_ONCE], n;
};

static bool add_row(void *user, const struct image_row *row)
{
	struct some *s = user;

	s->id[s->n] = row->id;
	s->rank[s->n++] = row->rank;
	return s->n < MARKED_AT_ONCE;
}

static void mark_some(struct course *c);

static void marked(void *user, struct op *op)
{
	op_free(op);
	mark_some(user);
}

/* The first stratum of training images whose number is at least from, or 0, and how many it has. */
static uint32_t stratum_from(const struct daemon *d, uint32_t from, int64_t *ret_images)
{
	uint32_t found = 0;
	size_t n = 0;
	struct stratum *s = tally_strata(&d->tally, &n);

	for (size_t i = 0; i < n; i++)
		if (s[i].number >= from && stratum_label(s[i].number) &&
			!stratum_is_validation(s[i].number) && (!found || s[i].number < found)) {
			found = s[i].number;
			*ret_images = s[i].images;
		}
	free(s);
	return found;
}

/* The next images to mark: of the stratum in hand, or of the next that has any. */
static void find_unspent(struct course *c, struct some *ret)
{
	int64_t images = 0;
	uint32_t stratum;

	ret->n = 0;
	while (!c->d->stopping && (stratum = stratum_from(c->d, c->stratum, &images))) {
		if (stratum != c->stratum || c->lasting < 0) {
			c->stratum = stratum;
			c->from = 0;
			c->lasting = MAX(view_count_lasting(c->d->view, stratum), 0);
			c->keep = images * c->d->config.policy.lasting_percent / 100;
		}
		if (view_unspent(c->d->view, stratum, c->from, MARKED_AT_ONCE, add_row, ret) < 0)
			return;
		if (ret->n) {
			c->from = ret->rank[ret->n - 1];
			return;
		}
		c->stratum++;
		c->lasting = -1;
	}
}

static struct op *mark(int64_t id, int64_t slice)
{
	struct op *op = op_new(OP_SPENT);

	if (!op)
		return NULL;
	op->row.id = id;
	op->amount = slice;
	return op;
}

/* Hands the writer a handful; its last op asks for more. */
static void mark_some(struct course *c)
{
	struct some shown, lasting = {.n = 0};
	bool lasts[MARKED_AT_ONCE];
	struct op *last = NULL;
	int gone;

	c->marking = false;
	find_unspent(c, &shown);
	if (!shown.n)
		return;
	view_lasting(c->d->view, c->stratum, MARKED_AT_ONCE, add_row, &lasting);
	gone = member_choose_lasting(shown.rank, shown.n, lasting.rank, lasting.n, c->lasting, c->keep, lasts);
	c->lasting -= gone;
	for (int i = 0; i < gone + shown.n; i++) {
		struct op *op = i < gone ? mark(lasting.id[i], c->slices - 1)
					 : mark(shown.id[i - gone],
						   lasts[i - gone] ? SLICE_LASTING : c->slices - 1);

		if (!op) {
			log_warn("out of memory: images shown are not marked");
			break;
		}
		c->lasting += i >= gone && lasts[i - gone];
		if (last)
			writer_add(c->d->writer, last);
		last = op;
	}
	if (!last)
		return;
	last->user = c;
	last->done = marked;
	c->marking = true;
	writer_add(c->d->writer, last);
}

void course_shown(struct course *c)
{
	c->slices++;
	c->stratum = 1;
	c->lasting = -1;
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
