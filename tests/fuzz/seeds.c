/*
 * Writes the first files of the corpora whose bytes only Larder makes: run it again when a format
 * changes.
 *   fuzz-seeds CORPUS-DIR
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/control/varlink.h"
#include "common/io.h"
#include "common/net/model.h"
#include "common/net/train.h"
#include "daemon/proto.h"
#include "daemon/store_tag.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/pictures.h"

static void save(int corpus, const char *target, const char *name, const struct buf *b)
{
	_cleanup_close_ int dir = io_open_dir(corpus, target);

	CRASH_UNLESS(dir >= 0 && !b->failed);
	CRASH_UNLESS(io_write_durable(dir, name, b->data, b->len) == 0);
}

static void seed_pack(int corpus)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0}, low = {0};
	struct pack_lessons *lessons = calloc(1, sizeof(*lessons));
	struct table_set set = {0};
	struct jpeg_tables t;
	_cleanup_buf_ struct buf stored = {0}, b = {0};

	CRASH_UNLESS(lessons);
	for (uint64_t i = 0; i < 2 * SCALES_AFTER; i++) {
		pixels_done(&px);
		draw(&px, 40, 24, i);
		CRASH_UNLESS(pixels_to_coef(&px, &im) == 0);
		tables_standard(30, &t);
		CRASH_UNLESS(coef_requantise(&im, &t, &low) == 0);
		if (lessons_want_rungs(lessons, &im))
			lessons_count(lessons, &low);
	}
	lessons_fit(lessons, &set);
	free(lessons);
	table_set_write(&set, &stored);
	for (int k = 0; k < 2; k++) {
		b.len = 0;
		buf_put_u16(&b, (uint16_t)stored.len);
		buf_put(&b, stored.data, stored.len);
		buf_put_u8(&b, coef_layout(&low));
		buf_put_u16(&b, (uint16_t)low.width);
		buf_put_u16(&b, (uint16_t)low.height);
		CRASH_UNLESS(pack_write(&low, &set.pack, 0, &b) == 0);
		save(corpus, "pack", k ? "grey" : "colour", &b);
		low.n_planes = 1;
		low.plane[0].h = low.plane[0].v = 1;
	}
}

static void seed_model(int corpus)
{
	_cleanup_model_ struct model m = {
		.shape = {.size = 8, .channels = {2, 2, 2}, .classes = 2}, .version = 7};
	_cleanup_buf_ struct buf b = {0};

	CRASH_UNLESS(model_alloc(&m) == 0);
	CRASH_UNLESS(model_set_class(&m, 0, 3, "cat") == 0 &&
		     model_set_class(&m, 1, 9, "\xc3\xa9") == 0);
	net_init(&m.shape, 1, m.params);
	CRASH_UNLESS(model_write(&m, &b) == 0);
	save(corpus, "model", "two-classes", &b);
}

static void seed_checkpoint(int corpus)
{
	enum { IMAGES = 5 };
	const struct net_shape shape = {.size = 8, .channels = {2, 2, 2}, .classes = 2};
	uint8_t rgb[IMAGES * 8 * 8 * 3] = {0};
	int label[IMAGES] = {0, 1, 1, 0, 1};
	float weight[IMAGES] = {1, 1, 1, 1, 1};
	struct dataset d = {
		.n = IMAGES, .size = 8, .classes = 2, .rgb = rgb, .label = label, .weight = weight};
	struct train_options o;
	_cleanup_(team_freep) struct team *team = team_new(1);
	_cleanup_(train_freep) struct train *t = NULL;
	_cleanup_buf_ struct buf b = {0};

	train_options_init(&o, shape.size);
	o.epochs = 3;
	t = train_new(&shape, &d, &o, team);
	CRASH_UNLESS(t);
	train_steps(t, 1);
	train_save(t, &b);
	save(corpus, "checkpoint", "one-step", &b);
}

static void seed_proto(int corpus)
{
	struct curve_answer a = {.width = 640,
		.height = 481,
		.orientation = 6,
		.own_quality = 92,
		.layout = 0x22,
		.sketched.taken_s = 1700000000,
		.format = "jpeg"};
	struct train_result done = {.trained_images = 500,
		.validation_images = 50,
		.candidate_accuracy = .7,
		.current_accuracy = -1,
		.seconds = 12};
	struct pack_lessons *lessons = calloc(1, sizeof(*lessons));
	struct sensitivity network = {.images = 12};
	_cleanup_buf_ struct buf b = {0};
	size_t at;

	CRASH_UNLESS(lessons);
	a.curve = (struct curve){.n = 3,
		.quality = {5, 50, 92},
		.rate = {100, 900, 4000},
		.kl = {0.5f, 0.1f, 0},
		.loss = {0.4f, -0.1f, 0},
		.scored = true};
	at = frame_begin(&b, MSG_CURVE);
	put_curve(&b, &a);
	frame_end(&b, at);
	at = frame_begin(&b, MSG_TRAINED);
	put_train_result(&b, &done);
	frame_end(&b, at);
	save(corpus, "proto", "curve-and-result", &b);
	b.len = 0;
	at = frame_begin(&b, MSG_SKETCH);
	put_sketched(&b, &a.sketched);
	frame_end(&b, at);
	save(corpus, "proto", "sketch", &b);
	b.len = 0;
	at = frame_begin(&b, MSG_COUNTED);
	put_counts(&b, lessons, &network);
	frame_end(&b, at);
	save(corpus, "proto", "counts", &b);
	free(lessons);
}

static void seed_varlink(int corpus)
{
	_cleanup_buf_ struct buf b = {0};

	varlink_put(&b, json_pack("{ss s{ss si}}", "method", CONTROL_INTERFACE ".List",
				"parameters", "label", "cat", "limit", 10));
	varlink_put(&b, json_pack("{s{ss}}", "parameters", "data", "TGFyZGVy"));
	save(corpus, "varlink", "two-messages", &b);
}

static void seed_tag(int corpus)
{
	struct image_row row = {.id = 77, .hash = 5, .rank = 9, .step = 300, .step_to = 20, .quality = 50, .layout = 0x22,
		.width = 640, .height = 480, .orientation = 6, .flags = IMAGE_FILE, .taken_s = 1700000000, .model = 3,
		.n_harm = 4, .harm = {9, 8, 7, 6}, .name = "fox-17.jpg"};
	_cleanup_buf_ struct buf b = {0};

	tag_put(&b, &row, "fox");
	save(corpus, "tag", "alone", &b);
}

int main(int argc, char *argv[])
{
	_cleanup_close_ int corpus = argc == 2 ? io_open_dir(AT_FDCWD, argv[1]) : -EINVAL;

	if (corpus < 0) {
		fprintf(stderr, "fuzz-seeds CORPUS-DIR: %s\n", strerror(-corpus));
		return 2;
	}
	seed_pack(corpus);
	seed_model(corpus);
	seed_checkpoint(corpus);
	seed_proto(corpus);
	seed_varlink(corpus);
	seed_tag(corpus);
	return 0;
}
