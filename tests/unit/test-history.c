/* What is remembered of a life: bounded, at a resolution that suits its length, and never trusted blindly. */
#include <errno.h>

#include "daemon/history.h"
#include "tests/unit/test.h"

static void test_bounded(void)
{
	struct history *h = calloc(1, sizeof(*h));
	int64_t now = 1700000000, first = now, gap = 0;
	int added = 0;

	history_init(h);
	CHECK(history_wants(h, now));
	for (int i = 0; i < 3000000; i++, now += 10) { /* a year, looked at every 10 s */
		if (!history_wants(h, now))
			continue;
		history_add(h, &(struct history_sample){.time_s = now, .images = i});
		added++;
	}
	CHECK(added > HISTORY_SAMPLES && h->n_samples <= HISTORY_SAMPLES && h->n_samples >= HISTORY_SAMPLES / 2);
	CHECK(h->sample[0].time_s - first < h->interval_s * 2); /* it reaches back to the beginning */
	for (int i = 1; i < h->n_samples; i++) {
		CHECK(h->sample[i].time_s > h->sample[i - 1].time_s);
		gap = MAX(gap, h->sample[i].time_s - h->sample[i - 1].time_s);
	}
	CHECK(gap <= 2 * h->interval_s);
	CHECK(now - h->sample[h->n_samples - 1].time_s <= h->interval_s);
	CHECK(history_wants(h, first)); /* the clock was set back: it goes on all the same */
	for (int i = 0; i < 1000; i++)
		history_add_training(h, &(struct history_training){.version = i});
	CHECK_INT(h->n_trainings, HISTORY_TRAININGS);
	CHECK_INT(h->training[HISTORY_TRAININGS - 1].version, 999);
	free(h);
}

static void test_bytes(void)
{
	struct history *h = calloc(1, sizeof(*h)), *back = calloc(1, sizeof(*back));
	struct buf b = {0};

	history_init(h);
	for (int i = 0; i < 50; i++)
		history_add(h,
			&(struct history_sample){1700000000 + 60 * i, 3 * i, 2 * i, 1000 * i, 4096 * i, 1 << 20,
				(float)(95 - i), .5f});
	history_add_training(h, &(struct history_training){1700003000, 7, 900, 100, .75f, -1, true});
	history_put(h, &b);
	CHECK_INT(history_get(b.data, b.len, back), 0);
	CHECK_INT(back->n_samples, 50);
	CHECK_INT(back->sample[49].bytes, 49000);
	CHECK_NEAR(back->sample[49].mean_quality, 46, 0);
	CHECK_INT(back->training[0].version, 7);
	CHECK(back->training[0].accepted && back->training[0].accuracy_before < 0);
	CHECK_INT(back->interval_s, h->interval_s);
	for (size_t n = 0; n < b.len; n++) { /* cut anywhere: refused, and nothing left of it */
		CHECK_INT(history_get(b.data, n, back), -EBADMSG);
		CHECK_INT(back->n_samples + back->n_trainings, 0);
	}
	for (size_t i = 0; i < 16; i == 3 ? i = 12 : i++) { /* what it is, and counts that lie */
		b.data[i] ^= 0xff;
		CHECK_INT(history_get(b.data, b.len, back), -EBADMSG);
		b.data[i] ^= 0xff;
	}
	buf_done(&b);
	free(h);
	free(back);
}

TEST_MAIN(test_bounded, test_bytes)
