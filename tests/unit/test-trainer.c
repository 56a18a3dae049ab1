/* The trainer as the daemon starts it: an order in, what came of it out. */
#include <sys/wait.h>
#include <unistd.h>

#include "common/codec/jpeg.h"
#include "common/codec/pixels.h"
#include "common/codec/tables.h"
#include "common/net/model.h"
#include "daemon/proto.h"
#include "daemon/trainer.h"
#include "policy/member.h"
#include "tests/unit/own_store.h"
#include "tests/unit/pictures.h"

#define EACH 150 /* images for training, and for validation */
#define SIDE 8

static void put_picture(struct buf *b, uint64_t seed)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0};
	struct jpeg_tables t;

	draw(&px, 16, 16, seed);
	CHECK_INT(pixels_to_coef(&px, &im), 0);
	tables_standard(75, &t);
	CHECK_INT(jpeg_write_file(&im, &t, b), 0);
}

static uint32_t new_label(struct store *s, const char *name)
{
	struct op *op = op_new(OP_NEW_LABEL);
	uint32_t id;

	snprintf(op->text, sizeof(op->text), "%s", name);
	CHECK_INT(apply(s, op, false), 0);
	id = op->row.stratum;
	op_free(op);
	return id;
}

/* Those for validation have the lower ids. */
static void fill(void)
{
	struct store *s = open_store(8 * MIB);
	const uint32_t label[] = {new_label(s, "cat"), new_label(s, "dog")};

	for (int i = 0; i < 2 * EACH; i++) {
		struct op *op = insert((i + 1) * (INT64_MAX / (2 * EACH + 1)), 0, 0, -1);

		op->row.stratum = stratum_of(label[i % 2], i < EACH);
		op->row.rank = 0;
		put_picture(&op->data, (uint64_t)i);
		CHECK_INT(apply_free(s, op), 0);
	}
	store_close(s);
}

static void train_from(int in, int out)
{
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	_exit(trainer_main());
}

/* What it answers in the end: its type; a result in *ret. */
static int train(uint64_t seed, int64_t memory, struct train_result *ret)
{
	struct train_order o = {.input_size = SIDE, .channels = {2, 2, 2}, .epochs = 1, .batch = 16, .threads = 1,
		.until = 1, .min_images = 4, .per_class_min = 2, .seed = seed, .memory_max = memory};
	_cleanup_buf_ struct buf order = {0}, answer = {0};
	struct reader payload;
	uint8_t type = 0;
	int in[2], out[2];
	size_t at;
	pid_t pid;

	snprintf(o.store, sizeof(o.store), "%s", path);
	at = frame_begin(&order, MSG_TRAIN);
	put_train_order(&order, &o);
	frame_end(&order, at);
	CHECK(pipe(in) == 0 && pipe(out) == 0);
	pid = fork();
	if (pid == 0)
		train_from(in[0], out[1]);
	close(in[0]);
	close(out[1]);
	CHECK_INT(frame_write(in[1], &order), 0);
	do {
		answer.len = 0;
		if (frame_read(out[0], &answer, &type, &payload) < 0)
			type = 0;
	} while (type == MSG_PROGRESS || type == MSG_CHECKPOINT);
	if (type == MSG_TRAINED)
		CHECK_INT(get_train_result(&payload, ret), 0);
	close(in[1]);
	close(out[0]);
	waitpid(pid, NULL, 0);
	return type;
}

/* Where memory does not suffice each training has a sample of its own of all that there is. */
static void test_sample(void)
{
	const int64_t image = SIDE * SIDE * 3;
	struct train_result r = {0};
	int least = EACH, most = 0;

	fill();
	if (!has_seccomp())
		return;
	CHECK_INT(train(1, 2 * EACH * image, &r), MSG_TRAINED);
	CHECK_INT(r.trained_images, EACH);
	CHECK_INT(r.validation_images, EACH);
	for (uint64_t seed = 1; seed <= 12; seed++) {
		r = (struct train_result){0};
		if (train(seed, EACH * image, &r) == MSG_REFUSED)
			continue; /* no image for training among them */
		CHECK(r.trained_images + r.validation_images > EACH);
		CHECK(r.trained_images + r.validation_images < EACH + 40);
		least = MIN(least, r.trained_images);
		most = MAX(most, r.trained_images);
	}
	CHECK(least < EACH / 2 && most > EACH / 2);
}

OWN_STORE_MAIN(test_sample)
