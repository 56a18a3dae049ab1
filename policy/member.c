#include "policy/member.h"

#include <math.h>

#include "common/macros.h"

int member_rank(uint64_t hash)
{
	return (int)(hash >> 16 & (RANK_SPENT - 1)) & ~RANK_FOLLOWS;
}

int member_rank_follows(int rank)
{
	return rank | RANK_FOLLOWS;
}

int member_rank_spent(int rank, int64_t slice)
{
	int since = RANK_SLICES + 1 - (int)CLAMP(slice, INT64_C(0), INT64_C(RANK_SLICES - 1));

	if (rank >= RANK_LASTING)
		return rank;
	if (rank & RANK_FOLLOWS)
		return member_rank_repeats(rank);
	return (slice == SLICE_LASTING ? 1 : since) * RANK_SPENT + rank % RANK_SPENT;
}

int member_rank_repeats(int rank)
{
	return RANK_REPEATS + rank % RANK_SPENT;
}

int member_choose_lasting(const int *shown, int n, const int *lasting, int m, int64_t have, int64_t want,
	bool *ret_lasts)
{
	int gone = 0;

	for (int i = 0; i < n; i++) {
		ret_lasts[i] = false;
		if (shown[i] & RANK_FOLLOWS)
			continue;
		if (have < want) {
			ret_lasts[i] = true;
			have++;
		} else if (want > 0 && gone < m && shown[i] < lasting[gone] % RANK_SPENT) {
			ret_lasts[i] = true;
			gone++;
		}
	}
	for (; gone < m && have > want; have--)
		gone++;
	return gone;
}

#define DRAW_MASK UINT64_C(0xffff)

bool member_is_validation(uint64_t hash, double share_percent)
{
	return (double)(hash & DRAW_MASK) < share_percent / 100 * (DRAW_MASK + 1);
}

uint64_t member_drawn_with(uint64_t hash, uint64_t other)
{
	return (hash & ~DRAW_MASK) | (other & DRAW_MASK);
}

bool member_same_content(uint64_t a, uint64_t b)
{
	return ((a ^ b) & ~DRAW_MASK) == 0;
}

#define ABOUT 50 /* one in so many images more or less is "about as large" */

static void add_up(const struct stratum *s, size_t n, int64_t ret_bytes[2], int64_t ret_images[2])
{
	for (size_t i = 0; i < n; i++) {
		ret_bytes[stratum_is_validation(s[i].number)] += s[i].bytes;
		ret_images[stratum_is_validation(s[i].number)] += s[i].images;
	}
}

static double came(const struct stratum *s)
{
	return (double)MAX(MAX(s->came, s->images), 1);
}

/* Of the label most of which came; without labels, of all. */
static double most_came(const struct stratum *s, size_t n)
{
	double most = 0;

	for (size_t i = 0; i < n; i++)
		if (stratum_label(s[i].number))
			most = MAX(most, came(&s[i]));
	return most > 0 ? most : INFINITY;
}

/* What a stratum should have, up to a factor that is the same for all. */
static double due(const struct stratum *s, double most)
{
	return sqrt(MIN(came(s), most));
}

/* Images a stratum has for what it should have: who has most gives. */
static double excess(const struct stratum *s, double most)
{
	return (double)s->images / due(s, most);
}

static const struct stratum *fullest(
	const struct stratum *s, size_t n, bool validation, int64_t floor, bool force)
{
	const struct stratum *best = NULL;
	double most = most_came(s, n);

	for (size_t i = 0; i < n; i++) {
		if (stratum_is_validation(s[i].number) != validation || s[i].images <= s[i].pinned ||
			(s[i].bytes < s[i].own && !force))
			continue;
		if (s[i].images > floor && (!best || excess(&s[i], most) > excess(best, most)))
			best = &s[i];
	}
	return best;
}

const struct stratum *member_victim(const struct stratum *s, size_t n, double validation_percent,
	int64_t min_per_class, bool force)
{
	int64_t bytes[2] = {0}, images[2] = {0};
	const struct stratum *victim;
	bool too_much;

	add_up(s, n, bytes, images);
	too_much = images[1] > VALIDATION_IMAGES_MAX ||
		(double)bytes[1] > validation_percent / 100 * (double)(bytes[0] + bytes[1]);
	if (too_much && (victim = fullest(s, n, true, force ? 0 : 1, force)))
		return victim;
	victim = fullest(s, n, false, force ? 0 : min_per_class, force);
	if (!victim && force)
		victim = fullest(s, n, true, 0, true);
	return victim;
}

bool member_about_to_give(const struct stratum *s, size_t n, const struct stratum *victim, uint32_t number)
{
	if (!victim || victim->number == number)
		return victim;
	if (stratum_is_validation(number) || stratum_is_validation(victim->number))
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i].number == number) {
			double most = most_came(s, n), one = 1 / due(&s[i], most);

			return s[i].bytes >= s[i].own &&
			       excess(&s[i], most) * (1 + 1.0 / ABOUT) + one >= excess(victim, most);
		}
	return false;
}
