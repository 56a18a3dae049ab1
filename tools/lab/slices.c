/* The stream's training in slices, and what becomes of the images that a slice has shown. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "policy/member.h"
#include "tools/lab/stream.h"

/* What decides the training beside its first pictures: what comes, and what is kept of it. */
static int begin_training(struct stream *s, const struct dataset *d)
{
	_cleanup_buf_ struct buf more = {0};
	struct net_layout at;

	net_layout(&s->l->shape, &at);
	buf_put(&more, s->params, s->params ? at.total * sizeof(float) : 0);
	buf_put(&more, s->order, (size_t)s->l->data.split[TRAIN].n * sizeof(*s->order));
	buf_put(&more, &s->o.budget, sizeof(s->o.budget));
	buf_put_u32(&more, (uint32_t)s->o.slices);
	buf_put_u32(&more, s->o.curve);
	buf_put_f32(&more, s->o.own_weight);
	buf_put_f32(&more, s->o.own_max);
	buf_put_u32(&more, (uint32_t)s->o.quality);
	buf_put_f32(&more, (float)s->l->lasting);
	return more.failed ? -ENOMEM : lab_spread_begin(s->l, &s->training, d, &more, s->o.seed, s->o.again);
}

/* Images of a class whose ranks are in a range, lowest first or highest first; returns how many. */
static int images_ranked(const struct stream *s, int label, int from, int below, bool highest_first,
	struct ranked *ret)
{
	int n = 0;

	for (int i = 0; i < s->n; i++)
		if (s->v[i].label == label && s->v[i].rank >= from && s->v[i].rank < below)
			ret[n++] = (struct ranked){s->v[i].rank, i};
	qsort(ret, (size_t)n, sizeof(*ret), by_rank);
	for (int i = 0; highest_first && i < n / 2; i++) {
		struct ranked first = ret[i];

		ret[i] = ret[n - 1 - i];
		ret[n - 1 - i] = first;
	}
	return n;
}

/* What this slice has shown of a class is the first to go from now on, but for what lasts. */
static void spend_class(struct stream *s, int label, int slice, struct ranked *shown, struct ranked *lasting,
	int *rank, bool *lasts)
{
	int n = images_ranked(s, label, 0, RANK_SPENT, false, shown);
	int m = images_ranked(s, label, RANK_SPENT, RANK_LASTING, true, lasting), gone;

	for (int i = 0; i < n; i++)
		rank[i] = shown[i].rank;
	for (int i = 0; i < m; i++)
		rank[n + i] = lasting[i].rank;
	gone = member_choose_lasting(
		rank, n, rank + n, m, m, (int64_t)(s->l->lasting * s->class_images[label]), lasts);
	for (int i = 0; i < n + gone; i++) {
		struct held *h = &s->v[i < n ? shown[i].index : lasting[i - n].index];

		h->rank = member_rank_spent(h->rank, i < n && lasts[i] ? SLICE_LASTING : slice);
	}
	stream_find_highest_rank(s, label);
}

static int spend(struct stream *s, int slice)
{
	size_t n = (size_t)MAX(s->n, 1);
	_cleanup_free_ struct ranked *shown = malloc(n * sizeof(*shown));
	_cleanup_free_ struct ranked *lasting = malloc(n * sizeof(*lasting));
	_cleanup_free_ int *rank = malloc(n * sizeof(*rank));
	_cleanup_free_ bool *lasts = malloc(n * sizeof(*lasts));

	if (!shown || !lasting || !rank || !lasts)
		return -ENOMEM;
	for (int k = 0; k <= s->l->data.classes; k++)
		spend_class(s, k, slice, shown, lasting, rank, lasts);
	return 0;
}

/* A slice of the training, on what is held now. */
int stream_slice(struct stream *s, int slice)
{
	_cleanup_dataset_ struct dataset d = {0};
	int r = stream_dataset(s, &d);
	char what[128];

	snprintf(what, sizeof(what), "slice %d of seed %llu at %.0f bytes", slice + 1,
		(unsigned long long)s->o.seed, s->o.budget);
	if (r == 0 && !s->training.begun)
		r = begin_training(s, &d);
	if (r == 0)
		r = lab_spread_slice(
			s->l, &s->training, &d, (double)(slice + 1) / s->o.slices, what);
	return r < 0 ? r : spend(s, slice);
}
