/* When a training is spread, how far its slices go, and what becomes of it after a restart or a rejection. */
#include "daemon/course.h"
#include "tests/unit/test.h"

static float params;

/* A daemon with a model that has met and dropped so many labelled images. */
static void met(struct daemon *d, int64_t labelled, int64_t dropped)
{
	config_init(&d->config);
	d->config.training.course_images = 10000;
	d->config.training.min_new_images = 100;
	d->model.params = &params;
	d->counters[COUNT_LABELLED] = labelled;
	d->counters[COUNT_DROPPED] = dropped;
}

static void test_length(void)
{
	struct daemon *d = calloc(1, sizeof(*d));

	met(d, 3000, 1);
	CHECK_INT(course_length(d), 3000); /* as many as came before */
	met(d, 50000, 1);
	CHECK_INT(course_length(d), 10000);
	d->config.training.course_images = 0;
	CHECK_INT(course_length(d), 0);
	met(d, 3000, 1);
	d->config.policy.mode = MODE_UNIFORM;
	CHECK_INT(course_length(d), 0); /* the naive policies train as they always did */
	met(d, 3000, 1);
	d->config.training.enabled = false;
	CHECK_INT(course_length(d), 0);
	free(d);
}

static void test_slices(void)
{
	struct daemon *d = calloc(1, sizeof(*d));
	struct course c = {.d = d};

	met(d, 4000, 0);
	course_begin(&c, 3900);
	CHECK_INT(c.length, 0); /* all that came is there: nothing to hurry for */
	CHECK_NEAR(course_share(&c), 1, 0);
	tally_add(&d->tally, &(struct tally){2, 50, 7000, 1, 0});
	met(d, 4000, 1000);
	course_begin(&c, 3900);
	CHECK_INT(c.length, 0); /* nearly all of it is */
	tally_done(&d->tally);
	met(d, 4000, 1);
	d->model.params = NULL;
	course_begin(&c, 3900);
	CHECK_INT(c.length, 0); /* a first model comes at once */
	met(d, 4000, 1);
	course_begin(&c, 3900);
	CHECK_INT(c.length, 4000);
	CHECK_INT(course_slice_images(&c), 200);
	CHECK_NEAR(course_share(&c), 0.05, 1e-9); /* not less than a slice */
	d->counters[COUNT_LABELLED] = 5900;
	CHECK_NEAR(course_share(&c), 0.5, 1e-9);
	course_begin(&c, 5900);
	CHECK_INT(c.begin, 3900); /* it goes on */
	d->counters[COUNT_LABELLED] = 9000;
	CHECK_NEAR(course_share(&c), 1, 0);
	course_end(&c, true);
	CHECK_INT(c.length, 0);
	course_begin(&c, 9000);
	CHECK_INT(c.length, 9000);
	/* What was rejected is not tried again at once; one training from what is stored comes first. */
	course_end(&c, false);
	course_begin(&c, 9000);
	CHECK_INT(c.length, 0);
	course_end(&c, false);
	course_begin(&c, 9000);
	CHECK_INT(c.length, 9000);
	free(d);
}

static void test_restart(void)
{
	struct course c = {.begin = 700, .length = 900, .slices = 17}, again = {0};
	_cleanup_buf_ struct buf b = {0};
	struct reader r;

	course_put(&c, &b);
	r = (struct reader){b.data, b.len, false};
	course_get(&again, &r);
	CHECK_INT(again.begin, 700);
	CHECK_INT(again.length, 900);
	CHECK_INT(again.slices, 17);
	for (size_t len = 0; len < b.len; len++) { /* an index of an earlier version, or a bad one */
		again = (struct course){0};
		r = (struct reader){b.data, len, false};
		course_get(&again, &r);
		CHECK_INT(again.length, len < 16 ? 0 : 900);
		CHECK_INT(again.slices, 0);
	}
}

TEST_MAIN(test_length, test_slices, test_restart)
