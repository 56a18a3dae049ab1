/*
 * What the store costs as it grows: bench-store [IMAGES [DIR]], by default 100000 in a directory made
 * in the current one. At 10,000 images, at ten times as many and so on: a durable insert in batches,
 * opening, the questions that a decision and a step ask, a step, and bytes of index an image.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/rng.h"
#include "daemon/store.h"
#include "policy/choose.h"
#include "policy/member.h"
#include "tests/unit/tree.h"

#define BATCH	   64
#define LABELS	   10
#define BYTES_MIN  120 /* of a packed image of 32x32: 120 to 280 */
#define BYTES_MORE 160
#define MAX_USE	   (INT64_C(8) << 30)
#define MEASURED   2000 /* rows of each measurement */

static struct rng rng;

static void die(const char *what, int r)
{
	fprintf(stderr, "bench-store: %s: %s\n", what, strerror(-r));
	exit(1);
}

static struct op *new_op(enum op_kind kind)
{
	struct op *op = op_new(kind);

	if (!op)
		die("memory", -ENOMEM);
	return op;
}

static void random_bytes(struct buf *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		buf_put_u8(b, (uint8_t)rng_u64(&rng));
}

/* As the intake makes them: ids are hashes. */
static struct op *insert(void)
{
	struct op *op = new_op(OP_INSERT);

	op->row.id = (int64_t)(rng_u64(&rng) >> 1);
	op->row.hash = rng_u64(&rng);
	op->row.stratum = stratum_of(1 + rng_below(&rng, LABELS), false);
	op->row.rank = member_rank(op->row.hash);
	op->row.step = (int)rng_below(&rng, 1 << 20);
	op->row.step_to = 30;
	op->row.quality = 50;
	op->row.tables = 1;
	op->row.layout = 0x22;
	op->row.width = op->row.height = 32;
	op->row.orientation = 1;
	op->row.flags = IMAGE_SCORED;
	op->row.taken_s = 1700000000 + (int64_t)rng_below(&rng, 1 << 24);
	op->row.model = 1;
	op->row.n_harm = 9;
	snprintf(op->row.name, sizeof(op->row.name), "img-%06u.jpg", rng_below(&rng, 1000000));
	random_bytes(&op->data, BYTES_MIN + rng_below(&rng, BYTES_MORE));
	return op;
}

static void apply(struct store *s, struct op *ops)
{
	struct tally_list change = {0};
	int r = store_apply(s, ops, false, &change);

	if (r < 0)
		die(store_error(s), r);
	tally_done(&change);
	while (ops) {
		struct op *next = ops->next;

		op_free(ops);
		ops = next;
	}
}

/* Microseconds a row. */
static double insert_rows(struct store *s, int64_t n)
{
	int64_t us = 0;

	for (int64_t done = 0; done < n; done += BATCH) {
		struct op *ops = NULL;
		int64_t begin;

		for (int i = 0; i < BATCH; i++) {
			struct op *op = insert();

			op->next = ops;
			ops = op;
		}
		begin = clock_steady_us();
		apply(s, ops);
		us += clock_steady_us() - begin;
	}
	return (double)us / (double)n;
}

static bool take_row(void *user, const struct image_row *row)
{
	*(struct image_row *)user = *row;
	return false;
}

/* What a capture asks at the door of a full store. */
static double ask_door(struct store_view *v)
{
	int64_t begin = clock_steady_us();

	for (int i = 0; i < MEASURED; i++) {
		struct image_row row;
		int r = view_last_ranks(v, stratum_of(1 + (uint32_t)i % LABELS, false), 1, take_row, &row);

		if (r < 0)
			die("view_last_ranks", r);
	}
	return (double)(clock_steady_us() - begin) / MEASURED;
}

/*
 * The decision about a scored capture while the store is full: rates filled in from the population, made
 * monotone, the rung at the price, the next step down, and whether it would be the next to go.
 */
static double decide(struct store_view *v)
{
	struct population p;
	struct curve c = {.scored = true, .entropy = 1};
	int64_t begin, refused = 0;

	population_init(&p);
	c.n = ladder_for(100, 2, 95, c.quality);
	for (int i = 0; i < 500; i++) {
		for (int k = 0; k < c.n; k++) {
			c.rate[k] = 20 * (uint32_t)(k + 2) + rng_below(&rng, 20);
			c.kl[k] = (float)(rng_unit(&rng) + .5) / (float)(k + 1) / (float)(k + 1);
		}
		population_add(&p, &c);
	}
	begin = clock_steady_us();
	for (int i = 0; i < MEASURED; i++) {
		struct curve own = c;
		struct next_step next;
		struct image_row row;
		int at;

		for (int k = 0; k < own.n; k++)
			own.rate[k] = k % 6 == 3 ? own.rate[k] : 0;
		curve_make_monotone(&own);
		population_fill_rates(&p, &own);
		at = choose_rung(MODE_ADAPTIVE, &own, &p, 1e-6f * (float)(1 << i % 12), false);
		next = choose_next(MODE_ADAPTIVE, &own, &p, at, false, i, i);
		if (view_last_ranks(v, stratum_of(1 + (uint32_t)i % LABELS, false), 1, take_row, &row) < 0)
			die("view_last_ranks", -EIO);
		refused += next.step >= 0 && row.rank < i;
	}
	return refused > MEASURED ? 0 : (double)(clock_steady_us() - begin) / MEASURED;
}

struct steps {
	struct op *ops;
	struct store_view *view;
};

static bool make_step(void *user, const struct image_row *row)
{
	struct steps *s = user;
	struct op *op = new_op(OP_STEP);
	int r;

	op->row = *row;
	r = view_data(s->view, row, &op->data);
	if (r < 0)
		die("view_data", r);
	op->data.len -= op->data.len / 4;
	op->was_quality = row->quality;
	op->row.quality = 30;
	op->row.step = (int)rng_below(&rng, 1 << 20) + (1 << 20);
	op->next = s->ops;
	s->ops = op;
	return true;
}

/* The cheapest, read, and stored in fewer bytes; without the coder. */
static double step_rows(struct store *s, struct store_view *v)
{
	int64_t begin = clock_steady_us();

	for (int done = 0; done < MEASURED; done += BATCH) {
		struct steps steps = {NULL, v};
		int r = view_cheapest(v, BATCH, make_step, &steps);

		if (r < 0)
			die("view_cheapest", r);
		apply(s, steps.ops);
	}
	return (double)(clock_steady_us() - begin) / MEASURED;
}

static void no_label(void *user, uint32_t id, const char *name)
{
	(void)user;
	(void)id;
	(void)name;
}

static struct store *open_store(const char *dir)
{
	struct limits limits = {MAX_USE, 0, MAX_USE / 8};
	struct store *s = NULL;
	char error[256];
	int r = store_open(dir, MAX_USE, &s, error);

	if (r < 0)
		die(error, r);
	store_set_limits(s, &limits);
	return s;
}

static struct store_view *open_view(const char *dir)
{
	struct store_view *v = NULL;
	char error[256];
	int r = view_open(dir, &v, error);

	if (r < 0)
		die(error, r);
	return v;
}

/* As the daemon does before it answers, in milliseconds. */
static double start(const char *dir, int64_t *ret_images, int64_t *ret_bytes)
{
	struct tally_list t = {0};
	int64_t begin = clock_steady_us(), counters[COUNTERS], us;
	struct store *s = open_store(dir);
	struct store_view *v = open_view(dir);

	view_tallies(v, &t);
	view_counters(v, counters);
	view_labels(v, no_label, NULL);
	us = clock_steady_us() - begin;
	*ret_images = *ret_bytes = 0;
	for (size_t i = 0; i < t.n; i++) {
		*ret_images += t.v[i].images;
		*ret_bytes += t.v[i].bytes;
	}
	tally_done(&t);
	view_close(v);
	store_close(s);
	return (double)us / 1e3;
}

static void measure(const char *dir, int64_t images)
{
	struct store *s = open_store(dir);
	struct store_view *v = open_view(dir);
	struct usage usage;
	int64_t stored, bytes;
	double inserted = insert_rows(s, MEASURED), door = ask_door(v), decision = decide(v);
	double step = step_rows(s, v), open_ms;

	store_usage(s, &usage);
	view_close(v);
	store_close(s);
	open_ms = start(dir, &stored, &bytes);
	printf("%9" PRId64 " %12.1f %12.1f %12.1f %12.1f %12.2f %14.1f\n", images, inserted, door, decision, step,
		open_ms, (double)(usage.index - bytes) / (double)stored);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int64_t most = argc > 1 ? atoll(argv[1]) : 100000, have = 0;
	char made[] = "bench-store-XXXXXX", *dir = argc > 2 ? argv[2] : mkdtemp(made);

	if (!dir || (argc > 2 && mkdir(dir, 0755) < 0 && errno != EEXIST))
		die(dir ? dir : "a directory", -errno);
	rng_init(&rng, 1);
	printf("%9s %12s %12s %12s %12s %12s %14s\n", "images", "insert us", "door us", "decision us", "step us",
		"start ms", "overhead B/img");
	for (int64_t n = 10000; n <= most; n *= 10) {
		struct store *s = open_store(dir);

		insert_rows(s, n - have);
		store_close(s);
		measure(dir, n);
		have = n;
	}
	remove_tree(dir);
	return 0;
}
