/* Totals by stratum and quality: changes of them, and sums. */
#include <stdlib.h>
#include <string.h>

#include "daemon/store.h"
#include "policy/member.h"

static bool comes_before(const struct tally *a, const struct tally *b)
{
	return a->stratum != b->stratum ? a->stratum < b->stratum : a->quality < b->quality;
}

void tally_add(struct tally_list *l, const struct tally *change)
{
	size_t low = 0, high = l->n;
	struct tally *t;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (comes_before(&l->v[middle], change))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == l->n || comes_before(change, &l->v[low])) {
		if (l->n == l->cap) {
			size_t cap = MAX(2 * l->cap, (size_t)16);
			struct tally *v = realloc(l->v, cap * sizeof(*v));

			if (!v) {
				l->failed = true;
				return;
			}
			l->v = v;
			l->cap = cap;
		}
		memmove(&l->v[low + 1], &l->v[low], (l->n++ - low) * sizeof(*l->v));
		l->v[low] = (struct tally){.stratum = change->stratum, .quality = change->quality};
	}
	t = &l->v[low];
	t->images += change->images;
	t->bytes += change->bytes;
	t->pinned += change->pinned;
	t->came += change->came;
}

void tally_done(struct tally_list *l)
{
	free(l->v);
	*l = (struct tally_list){0};
}

struct stratum *tally_strata(const struct tally_list *l, size_t *ret_n)
{
	struct stratum *s = calloc(l->n + 1, sizeof(*s));
	size_t n = 0;

	*ret_n = 0;
	if (!s)
		return NULL;
	for (size_t i = 0; i < l->n; i++) {
		const struct tally *t = &l->v[i];

		if (!n || s[n - 1].number != t->stratum) {
			bool of_label = n && stratum_label(s[n - 1].number) == stratum_label(t->stratum);

			s[n] = (struct stratum){.number = t->stratum, .came = of_label ? s[n - 1].came : 0};
			n++;
		}
		s[n - 1].images += t->images;
		s[n - 1].bytes += t->bytes;
		s[n - 1].pinned += t->pinned;
		s[n - 1].came += t->came;
	}
	*ret_n = n;
	return s;
}
