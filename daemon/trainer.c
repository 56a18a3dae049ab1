#include "daemon/trainer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/codec/decode.h"
#include "common/codec/input.h"
#include "common/log.h"
#include "common/net/model.h"
#include "common/net/train.h"
#include "common/rng.h"
#include "daemon/proto.h"
#include "daemon/sandbox.h"
#include "daemon/store.h"
#include "policy/member.h"

#define ROWS_PER_READ	 32
#define TABLES_MAX	 64
#define CHECKPOINT_EVERY (20 * US_PER_SEC)
#define PROGRESS_EVERY	 (US_PER_SEC / 2)

struct trainer {
	struct train_order order;
	struct store_view *view;
	struct table_set set_known[TABLES_MAX];
	int n_known;
	struct model model;	    /* the candidate: its classes; params filled at the end */
	int64_t came[NET_CLASSES_MAX]; /* captures, of each class */
	int64_t labelled;	    /* images that there are, at most */
	struct dataset set[2];	    /* training, validation */
	int capacity[2];
	struct coef_image image;    /* scratch */
	struct input_maker *maker;  /* owned */
	struct image_row row[ROWS_PER_READ];
	int n_rows, unreadable;
	struct buf out;
};

static int send_frame(struct trainer *t, size_t at)
{
	frame_end(&t->out, at);
	return frame_write(STDOUT_FILENO, &t->out);
}

static int send_progress(struct trainer *t, int epoch, double loss)
{
	size_t at;

	t->out.len = 0;
	at = frame_begin(&t->out, MSG_PROGRESS);
	buf_put_u32(&t->out, (uint32_t)epoch);
	buf_put_u32(&t->out, (uint32_t)t->order.epochs);
	buf_put_f32(&t->out, (float)loss);
	buf_put_u32(&t->out, (uint32_t)t->set[0].n);
	return send_frame(t, at);
}

static int refuse(struct trainer *t, int error, const char *reason)
{
	size_t at;

	t->out.len = 0;
	at = frame_begin(&t->out, MSG_REFUSED);
	buf_put_u32(&t->out, (uint32_t)-error);
	buf_put(&t->out, reason, strlen(reason));
	send_frame(t, at);
	return error;
}

static void on_tables(void *user, uint32_t id, const uint8_t *data, size_t len)
{
	struct trainer *t = user;

	if (t->n_known < TABLES_MAX && table_set_read(data, len, &t->set_known[t->n_known]) == 0)
		t->set_known[t->n_known++].id = id;
}

/* The row's picture as coefficients, in t->image. */
static int read_image(struct trainer *t, const struct image_row *row)
{
	const struct table_set *set = table_set_find(t->set_known, t->n_known, row->tables);
	_cleanup_buf_ struct buf data = {0};
	struct jpeg_tables tables;
	int r = view_data(t->view, row, &data);

	if (r < 0)
		return r;
	if (!row->tables)
		return file_decode(data.data, data.len, &t->image);
	if (!set || !table_set_tables(set, row->quality, &tables))
		return -EBADMSG;
	return packed_decode(data.data, data.len, row->layout, row->width, row->height,
		row->orientation, &tables, &set->pack, &t->image);
}

/* Labels with enough training images become classes, in the order of their ids. */
static int choose_classes(struct trainer *t)
{
	struct tally_list all = {0};
	uint32_t ids[NET_CLASSES_MAX];
	size_t strata = 0;
	int n = 0, r = view_tallies(t->view, &all);
	_cleanup_free_ struct stratum *s = r < 0 ? NULL : tally_strata(&all, &strata);

	tally_done(&all);
	if (r < 0 || !s)
		return r < 0 ? r : -ENOMEM;
	for (size_t i = 0; i < strata; i++)
		t->labelled += stratum_label(s[i].number) ? s[i].images : 0;
	for (size_t i = 0; i < strata && n < NET_CLASSES_MAX; i++)
		if (stratum_label(s[i].number) && !stratum_is_validation(s[i].number) &&
			s[i].images >= t->order.per_class_min) {
			t->came[n] = s[i].came;
			ids[n++] = stratum_label(s[i].number);
		}
	if (n < 2)
		return refuse(t, -ENODATA, "needs two labels with images to learn from");
	t->model.shape = (struct net_shape){.size = t->order.input_size, .classes = n};
	memcpy(t->model.shape.channels, t->order.channels, sizeof(t->model.shape.channels));
	r = net_shape_check(&t->model.shape);
	if (r == 0)
		r = model_alloc(&t->model);
	for (int k = 0; r == 0 && k < n; k++)
		r = model_set_class(&t->model, k, ids[k], "");
	return r;
}

static void on_label(void *user, uint32_t id, const char *name)
{
	struct trainer *t = user;
	int k = model_class_of(&t->model, id);

	if (k >= 0)
		model_set_class(&t->model, k, id, name);
}

static int64_t image_bytes(const struct trainer *t)
{
	return (int64_t)t->order.input_size * t->order.input_size * 3;
}

static int add_image(struct trainer *t, int which, int klass, const uint8_t *rgb)
{
	struct dataset *d = &t->set[which];
	size_t image = (size_t)image_bytes(t);

	if (d->n == t->capacity[which]) {
		int cap = MAX(2 * t->capacity[which], 256);
		uint8_t *all = realloc(d->rgb, (size_t)cap * image);
		int *label;
		float *weight;

		if (all)
			d->rgb = all;
		label = realloc(d->label, (size_t)cap * sizeof(int));
		if (label)
			d->label = label;
		weight = realloc(d->weight, (size_t)cap * sizeof(float));
		if (weight)
			d->weight = weight;
		if (!all || !label || !weight)
			return -ENOMEM;
		t->capacity[which] = cap;
	}
	memcpy(d->rgb + (size_t)d->n * image, rgb, image);
	d->label[d->n] = klass;
	d->weight[d->n++] = 1;
	return 0;
}

static int load_image(struct trainer *t, const struct image_row *row)
{
	int klass = model_class_of(&t->model, stratum_label(row->stratum));
	size_t image = (size_t)image_bytes(t);
	_cleanup_free_ uint8_t *rgb = malloc(image);
	int r;

	if (!rgb)
		return -ENOMEM;
	if (klass < 0 || !stratum_label(row->stratum))
		return 0;
	if (stratum_is_validation(row->stratum) && row->rank >= RANK_REPEATS)
		return 0; /* bursts are asked about no more than other scenes */
	r = read_image(t, row);
	if (r == 0)
		r = input_maker_load(t->maker, &t->image, t->order.input_size);
	if (r == 0)
		input_make(t->maker, NULL, rgb);
	if (r < 0) { /* degraded or removed since its row was read, or damaged: verify will tell */
		t->unreadable++;
		return r == -ENOMEM ? r : 0;
	}
	return add_image(t, stratum_is_validation(row->stratum), klass, rgb);
}

static bool collect_row(void *user, const struct image_row *row)
{
	struct trainer *t = user;

	t->row[t->n_rows++] = *row;
	return t->n_rows < ROWS_PER_READ;
}

/*
 * Where the walk over the images begins. Ids are content hashes, so that stopping when memory is used up
 * leaves a random sample; where not all have room, each model's training draws one of its own.
 */
static int64_t first_id(const struct trainer *t)
{
	struct rng rng;

	if (t->labelled * image_bytes(t) <= t->order.memory_max)
		return -1;
	log_info("trainer: memory for %" PRId64 " images of the %" PRId64 " that have labels",
		t->order.memory_max / image_bytes(t), t->labelled);
	rng_init(&rng, t->order.seed);
	return (int64_t)(rng_u64(&rng) >> 1);
}

/* The next rows after one; 1 when these were the last before `end`. */
static int load_some(struct trainer *t, int64_t *after, int64_t end)
{
	int r;

	t->n_rows = 0;
	r = view_walk(t->view, *after, -1, ROWS_PER_READ, collect_row, t);
	for (int i = 0; r == 0 && i < t->n_rows; i++) {
		if (t->row[i].id > end)
			return 1;
		*after = t->row[i].id;
		r = load_image(t, &t->row[i]);
	}
	return r < 0 ? r : t->n_rows < ROWS_PER_READ;
}

static bool memory_left(const struct trainer *t)
{
	return (t->set[0].n + t->set[1].n) * image_bytes(t) <= t->order.memory_max;
}

static int load_images(struct trainer *t)
{
	int64_t first = first_id(t), last = first;
	int r = 0;

	while (r == 0 && memory_left(t))
		r = load_some(t, &last, INT64_MAX);
	if (r == 1 && first >= 0) /* from the beginning, to where that was */
		for (r = 0, last = -1; r == 0 && memory_left(t);)
			r = load_some(t, &last, first);
	for (int i = 0; i < 2; i++) {
		t->set[i].size = t->order.input_size;
		t->set[i].classes = t->model.shape.classes;
	}
	return MIN(r, 0);
}

/* The validation images whose labels the model knows, as its classes. */
static int known_subset(const struct trainer *t, const struct model *m, struct dataset *ret)
{
	const struct dataset *all = &t->set[1];
	size_t image = (size_t)all->size * (size_t)all->size * 3;
	struct dataset d = {.size = all->size, .classes = m->shape.classes};

	d.rgb = malloc((size_t)all->n * image + 1);
	d.label = malloc((size_t)all->n * sizeof(int) + 1);
	*ret = d;
	if (!d.rgb || !d.label)
		return -ENOMEM;
	for (int i = 0; i < all->n; i++) {
		int k = model_class_of(m, t->model.label_id[all->label[i]]);

		if (k < 0)
			continue;
		memcpy(d.rgb + (size_t)d.n * image, all->rgb + (size_t)i * image, image);
		d.label[d.n++] = k;
	}
	*ret = d;
	return 0;
}

static void dataset_done(struct dataset *d)
{
	free(d->rgb);
	free(d->label);
	free(d->weight);
	*d = (struct dataset){0};
}

/* Accuracy of the current model on the same images, those of labels it does not know being wrong. */
static double judge_current(struct trainer *t, struct team *team)
{
	_cleanup_model_ struct model current = {0};
	_cleanup_(dataset_done) struct dataset known = {0};
	struct evaluation e = {0};

	if (!t->order.model_len || model_read(t->order.model, t->order.model_len, &current) < 0 ||
		current.shape.size != t->set[1].size || !t->set[1].n)
		return -1;
	if (known_subset(t, &current, &known) < 0 ||
		(known.n && evaluate(&current.shape, current.params, &known, team, &e) < 0))
		return -1;
	return (double)e.correct / t->set[1].n;
}

static int send_checkpoint(struct trainer *t, const struct train *train)
{
	size_t at;

	t->out.len = 0;
	at = frame_begin(&t->out, MSG_CHECKPOINT);
	train_save(train, &t->out);
	return send_frame(t, at);
}

static int run_epochs(struct trainer *t, struct train *train)
{
	int per_epoch = train_steps_per_epoch(train), r = 0;
	int64_t until = llround(t->order.until * (double)train_steps_total(train));
	int64_t last_checkpoint = clock_steady_us(), last_progress = 0;
	double loss = 0;

	while (r == 0 && train_step_count(train) < until) {
		int64_t now;

		loss = train_steps(train, (int)MIN(8, until - train_step_count(train)));
		now = clock_steady_us();
		if (now - last_progress >= PROGRESS_EVERY) {
			r = send_progress(t, (int)(train_step_count(train) / per_epoch), loss);
			last_progress = now;
		}
		if (r == 0 && now - last_checkpoint >= CHECKPOINT_EVERY) {
			r = send_checkpoint(t, train);
			last_checkpoint = now;
		}
	}
	return r < 0 ? r : send_progress(t, (int)(train_step_count(train) / per_epoch), loss);
}

/* As far as the order said, and no further for now. */
static int send_slice(struct trainer *t, const struct train *train)
{
	int r = send_checkpoint(t, train);
	size_t at;

	t->out.len = 0;
	at = frame_begin(&t->out, MSG_SLICE);
	buf_put_u32(&t->out, (uint32_t)t->set[0].n);
	return r < 0 ? r : send_frame(t, at);
}

static int send_result(struct trainer *t, struct team *team, const struct train *train, int64_t began)
{
	struct train_result result = {.trained_images = t->set[0].n, .validation_images = t->set[1].n};
	struct net_layout at;
	struct evaluation e = {0};
	size_t frame;
	int r;

	net_layout(&t->model.shape, &at);
	memcpy(t->model.params, train_params(train), at.total * sizeof(float));
	r = t->set[1].n ? evaluate(&t->model.shape, t->model.params, &t->set[1], team, &e) : 0;
	if (r < 0)
		return r;
	result.candidate_accuracy = e.n ? (double)e.correct / e.n : 0;
	result.current_accuracy = judge_current(t, team);
	result.seconds = (double)(clock_steady_us() - began) / US_PER_SEC;
	t->model.validation_accuracy = result.candidate_accuracy;
	t->model.trained_images = t->set[0].n;
	t->model.validation_images = t->set[1].n;
	t->model.trained_us = clock_wall_us();
	t->model.version = (int64_t)t->order.seed;
	t->out.len = 0;
	frame = frame_begin(&t->out, MSG_TRAINED);
	put_train_result(&t->out, &result);
	r = model_write(&t->model, &t->out);
	return r < 0 ? r : send_frame(t, frame);
}

static int train_and_report(struct trainer *t)
{
	_cleanup_(team_freep) struct team *team = team_new(t->order.threads);
	_cleanup_(train_freep) struct train *train = NULL;
	struct train_options o;
	int64_t began = clock_steady_us();
	int r;

	if (t->set[0].n < t->order.min_images)
		return refuse(t, -ENODATA, "too few labelled images to learn from");
	if (!team)
		return -EAGAIN;
	dataset_balance(&t->set[0], t->came);
	train_options_init(&o, t->order.input_size);
	o.epochs = t->order.epochs;
	o.batch = t->order.batch;
	o.seed = t->order.seed;
	train = train_new(&t->model.shape, &t->set[0], &o, team);
	if (!train)
		return -ENOMEM;
	if (t->order.checkpoint_len)
		train_restore(train, t->order.checkpoint, t->order.checkpoint_len); /* else from the start */
	r = run_epochs(t, train);
	if (r < 0)
		return r;
	return train_step_count(train) < train_steps_total(train)
		       ? send_slice(t, train)
		       : send_result(t, team, train, began);
}

static int work(struct trainer *t)
{
	char error[256];
	int r = view_open(t->order.store, &t->view, error);

	if (r < 0)
		return refuse(t, r, error);
	t->maker = input_maker_new();
	if (!t->maker)
		return -ENOMEM;
	/* Images packed with a set that is damaged (-EUCLEAN) cannot be read, others can. */
	r = view_tables(t->view, on_tables, t);
	if (r == 0 || r == -EUCLEAN)
		r = choose_classes(t);
	if (r == 0)
		r = view_labels(t->view, on_label, t);
	if (r == 0)
		r = load_images(t);
	view_close(t->view);
	t->view = NULL;
	coef_done(&t->image);
	input_maker_free(t->maker);
	t->maker = NULL;
	if (r == 0 && t->unreadable)
		log_info("trainer: %d images could not be read; see larderctl verify", t->unreadable);
	if (r == -EUCLEAN)
		return refuse(t, r, "the index is damaged");
	return r < 0 ? r : train_and_report(t);
}

int trainer_main(void)
{
	struct trainer *t = calloc(1, sizeof(*t));
	struct buf in = {0};
	struct reader payload;
	uint8_t type;
	int r = t ? frame_read(STDIN_FILENO, &in, &type, &payload) : -ENOMEM;

	if (r == 0)
		r = type == MSG_TRAIN ? get_train_order(&payload, &t->order) : -EBADMSG;
	if (r == 0) {
		make_way();
		r = sandbox_trainer();
	}
	if (r == 0)
		r = work(t);
	if (r < 0 && r != -EPIPE && r != -ENODATA)
		log_error("trainer ends: %s", strerror(-r));
	if (t) {
		dataset_done(&t->set[0]);
		dataset_done(&t->set[1]);
		model_done(&t->model);
		buf_done(&t->out);
	}
	buf_done(&in);
	free(t);
	return r < 0;
}
