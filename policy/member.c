#include "policy/member.h"

#include <math.h>

#include "common/macros.h"

int member_rank(uint64_t hash)
{
	return (int)(hash >> 16 & RANK_MAX);
}

bool member_is_validation(uint64_t hash, double share_percent)
{
	return (double)(hash & 0xffff) < share_percent / 100 * 65536;
}

#define ABOUT	   50 /* one in so many images more or less is "about as large" */
#define EASIEST	   0.25 /* shares of the images met that may rank behind the others */
#define HARDEST	   0.10
#define KNOWN	   0.2f /* EL2N below which the network knows an image: .86 and more for the label */
#define HOPELESS   1.2f /* above which it is sure of something else */
#define ENOUGH	   100 /* images before shares mean anything */
#define FADE	   (1 - M_LN2 / 20000)
#define EL2N_MAX   1.41421356f

static int hardness_bin(float el2n)
{
	return (int)CLAMP(el2n / EL2N_MAX * HARDNESS_BINS, 0, HARDNESS_BINS - 1);
}

void hardness_add(struct hardness *h, float el2n)
{
	if (el2n < 0)
		return;
	for (int i = 0; i < HARDNESS_BINS; i++)
		h->bin[i] *= (float)FADE;
	h->bin[hardness_bin(el2n)] += 1;
	h->images = h->images * FADE + 1;
}

int member_rank_best(int rank)
{
	return rank / 2;
}

int member_rank_first(int scored_rank)
{
	return (scored_rank & RANK_MAX / 2) * 2;
}

int member_rank_scored(int rank, const struct hardness *h, float el2n)
{
	int at = hardness_bin(el2n);
	double below = 0, share;

	if (el2n < 0 || h->images < ENOUGH)
		return rank;
	for (int i = 0; i < at; i++)
		below += (double)h->bin[i];
	share = (below + (double)h->bin[at] / 2) / h->images;
	if ((share < EASIEST && el2n < KNOWN) || (share > 1 - HARDEST && el2n > HOPELESS))
		return RANK_MAX / 2 + 1 + rank / 2;
	return member_rank_best(rank);
}

static const struct stratum *largest(const struct stratum *s, size_t n, bool validation, int64_t floor)
{
	const struct stratum *best = NULL;

	for (size_t i = 0; i < n; i++) {
		if (stratum_is_validation(s[i].number) != validation || s[i].images <= s[i].pinned)
			continue;
		if (s[i].images > floor && (!best || s[i].images > best->images))
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

	for (size_t i = 0; i < n; i++) {
		bytes[stratum_is_validation(s[i].number)] += s[i].bytes;
		images[stratum_is_validation(s[i].number)] += s[i].images;
	}
	too_much = images[1] > VALIDATION_IMAGES_MAX ||
		(double)bytes[1] > validation_percent / 100 * (double)(bytes[0] + bytes[1]);
	if (too_much && (victim = largest(s, n, true, force ? 0 : 1)))
		return victim;
	victim = largest(s, n, false, force ? 0 : min_per_class);
	if (!victim && force)
		victim = largest(s, n, true, 0);
	return victim;
}

bool member_about_to_give(const struct stratum *s, size_t n, const struct stratum *victim, uint32_t number)
{
	if (!victim || victim->number == number)
		return victim;
	if (stratum_is_validation(number) || stratum_is_validation(victim->number))
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i].number == number)
			return s[i].images + s[i].images / ABOUT + 1 >= victim->images;
	return false;
}
