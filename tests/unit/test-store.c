/* The store by itself: transactions, limits, crashes between the steps, damage. */
#include "daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/io.h"
#include "daemon/store_tag.h"
#include "policy/member.h"
#include "tests/unit/beside.h"
#include "tests/unit/own_store.h"

static bool count_row(void *user, const struct image_row *row)
{
	(void)row;
	++*(int *)user;
	return true;
}

static bool take_row(void *user, const struct image_row *row)
{
	*(struct image_row *)user = *row;
	return false;
}

/* What training has been shown is spent: it stays, ranks behind the others, and is not asked for
 * again. */
static void test_spent(void)
{
	struct store *s = open_store(4 << 20);
	struct store_view *v = NULL;
	struct op *op;
	struct image_row last = {0};
	char error[256];
	int unspent = 0;

	for (int64_t id = 1; id <= 5; id++)
		CHECK_INT(apply_free(s, insert(id, 100, 2, 10)), 0);
	CHECK_INT(view_open(path, &v, error), 0);
	op = op_new(OP_SPENT);
	op->row.id = 2;
	op->amount = 5;
	CHECK_INT(apply_free(s, op), 0);
	op = op_new(OP_SPENT);
	op->row.id = 77; /* dropped since */
	CHECK_INT(apply_free(s, op), -ESTALE);
	CHECK_INT(view_unspent(v, 2, 0, 10, count_row, &unspent), 0);
	CHECK_INT(unspent, 4);
	unspent = 0;
	CHECK_INT(view_unspent(v, 2, 4, 10, count_row, &unspent), 0);
	CHECK_INT(unspent, 2); /* 4 and 5 */
	CHECK_INT(view_last_ranks(v, 2, 1, take_row, &last), 0);
	CHECK_INT(last.id, 2);
	CHECK_INT(last.rank, member_rank_spent(2, 5));
	/* Another score does not make it new. */
	op = op_new(OP_RESCORE);
	op->row = last;
	op->row.rank = 2;
	CHECK_INT(apply_free(s, op), 0);
	CHECK_INT(view_last_ranks(v, 2, 1, take_row, &last), 0);
	CHECK_INT(last.id, 2);
	view_close(v);
	store_close(s);
	CHECK_INT(verify(0), 5);
}

/* A step of the row's image from one quality to another, with so many bytes. */
static struct op *step_down(const struct image_row *row, uint8_t from, uint8_t to, const uint8_t *data, size_t len)
{
	struct op *op = op_new(OP_STEP);

	op->row = *row;
	op->row.quality = to;
	op->was_quality = from;
	buf_put(&op->data, data, len);
	return op;
}

static void test_life(void)
{
	struct store *s = open_store(8 * MIB);
	struct store_view *v = NULL;
	struct image_row row;
	_cleanup_buf_ struct buf data = {0};
	struct op *op;
	char error[256];
	int64_t id, counters[COUNTERS];

	CHECK_INT(apply_free(s, insert(0x1000000000000001, 100, 3, 500)), 0);
	CHECK_INT(apply_free(s, insert(0x1000000000000001, 100, 3, 500)), -EEXIST);
	op = insert(0x1000000000000001, 100, 3, 500);
	op->row.hash = member_drawn_with(op->row.hash, ~op->row.hash); /* in another scene */
	CHECK_INT(apply_free(s, op), -EEXIST);
	op = insert(0x2000000000000002, 90000, 2, 400);
	op->row.flags = IMAGE_FILE;
	CHECK_INT(apply_free(s, op), 0);
	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(view_row(v, 0x2000000000000002, &row), 0);
	CHECK(row.bytes > 90000 && row.bytes <= 90000 + TAG_MAX);
	CHECK_STR(row.name, "n2305843009213693954.png");
	CHECK_INT(view_data(v, &row, &data), 0);
	CHECK_INT(data.len, 90000);
	CHECK_INT(view_find(v, "2", &id), 0);
	CHECK(id == 0x2000000000000002);
	CHECK_INT(view_find(v, "1000000000000001", &id), 0);
	CHECK_INT(view_find(v, "3", &id), -ENOENT);
	CHECK_INT(view_find(v, "zz", &id), -ENOENT);
	/* A step down replaces the file; a stale one changes nothing. */
	CHECK_INT(apply_free(s, step_down(&row, 50, 20, data.data, 70000)), 0);
	CHECK_INT(apply_free(s, step_down(&row, 50, 10, data.data, 70000)), -ESTALE);
	CHECK_INT(view_row(v, row.id, &row), 0);
	CHECK_INT(row.quality, 20);
	/* So is one that was worked out before the image was scored by a newer model. */
	op = op_new(OP_RESCORE);
	op->row = row;
	op->row.model = row.model + 1;
	op->row.flags |= IMAGE_SCORED;
	op->was_quality = 20;
	CHECK_INT(apply_free(s, op), 0);
	CHECK_INT(apply_free(s, step_down(&row, 20, 10, data.data, 70000)), -ESTALE);
	CHECK_INT(view_row(v, row.id, &row), 0);
	CHECK(row.quality == 20 && (row.flags & IMAGE_SCORED));
	CHECK_INT(verify(0), 2);
	/* Pinned, labelled, removed. */
	op = op_new(OP_PIN);
	op->row.id = row.id;
	op->row.flags = IMAGE_PINNED;
	CHECK_INT(apply_free(s, op), 0);
	op = op_new(OP_LABEL);
	op->row.id = row.id;
	op->row.stratum = 8;
	CHECK_INT(apply_free(s, op), 0);
	CHECK_INT(view_row(v, row.id, &row), 0);
	CHECK(row.stratum == 8 && row.step == -1 && (row.flags & IMAGE_PINNED));
	/* What was decided before it was pinned does not come about. */
	CHECK_INT(apply_free(s, step_down(&row, 20, 10, data.data, 60000)), -ESTALE);
	op = op_new(OP_REMOVE);
	op->row.id = row.id;
	CHECK_INT(apply_free(s, op), -ESTALE);
	CHECK_INT(view_row(v, row.id, &row), 0);
	CHECK(row.quality == 20 && row.step == -1);
	op = op_new(OP_REMOVE);
	op->row.id = row.id;
	op->row.flags = IMAGE_PINNED; /* who says so gets it */
	CHECK_INT(apply_free(s, op), 0);
	CHECK_INT(view_row(v, row.id, &row), -ENOENT);
	CHECK_INT(verify(0), 1);
	view_counters(v, counters);
	CHECK_INT(counters[COUNT_DUPLICATE], 2);
	CHECK_INT(counters[COUNT_DROPPED], 1);
	view_close(v);
	store_close(s);
	s = open_store(8 * MIB); /* a second one at the same time is refused */
	CHECK_INT(store_open(path, 8 * MIB, &(struct store *){NULL}, error), -EBUSY);
	store_close(s);
}

/* A duplicate's label goes to an image that has none; the second one changes nothing. */
static void test_duplicate_label(void)
{
	struct store *s = open_store(8 * MIB);
	struct store_view *v;
	static const uint32_t brings[] = {0, 8, 0, 12};
	struct image_row row;
	int64_t counters[COUNTERS];
	char error[256];

	CHECK_INT(view_open(path, &v, error), 0);
	for (size_t i = 0; i < ARRAY_SIZE(brings); i++) {
		struct op *op = i % 2 ? op_new(OP_COUNT) : insert(77, 50, brings[i], 1);

		op->row.id = 77;
		op->row.stratum = brings[i];
		op->counter = COUNT_DUPLICATE;
		CHECK_INT(apply_free(s, op), i == 2 ? -EEXIST : 0);
		CHECK_INT(view_row(v, 77, &row), 0);
		CHECK_INT(row.stratum, i ? 8 : 0);
	}
	CHECK_INT(apply_free(s, insert(78, 50, 0, 1)), 0);
	CHECK_INT(apply_free(s, insert(78, 50, 12, 1)), -EEXIST);
	CHECK_INT(view_row(v, 78, &row), 0);
	CHECK_INT(row.stratum, 12);
	view_counters(v, counters);
	CHECK_INT(counters[COUNT_DUPLICATE], 4);
	CHECK_INT(counters[COUNT_LABELLED], 2);
	view_close(v);
	store_close(s);
	CHECK_INT(verify(0), 2);
}

static int64_t came(const struct tally_list *l, uint32_t label)
{
	int64_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += stratum_label(l->v[i].stratum) == label ? l->v[i].came : 0;
	return n;
}

/* What came with a label, or was given it, is counted whatever becomes of it; the totals are in order. */
static void test_came(void)
{
	struct store *s = open_store(8 * MIB);
	struct store_view *v = NULL;
	struct tally_list all = {0};
	struct op *op;
	char error[256];
	int64_t images = 0;

	CHECK_INT(apply_free(s, insert(1, 50, stratum_of(3, false), 1)), 0);
	CHECK_INT(apply_free(s, insert(2, 50, stratum_of(3, true), 1)), 0);
	CHECK_INT(apply_free(s, insert(3, 50, stratum_of(0, false), 1)), 0);
	CHECK_INT(apply_free(s, insert(4, 50, stratum_of(0, false), 1)), 0);
	CHECK_INT(apply_free(s, insert(1, 50, stratum_of(3, false), 1)), -EEXIST);
	for (int i = 0; i < 5; i++) { /* refused at the door */
		op = op_new(OP_COUNT);
		op->row.stratum = stratum_of(7, i == 0);
		op->counter = COUNT_DROPPED;
		CHECK_INT(apply_free(s, op), 0);
	}
	op = op_new(OP_COUNT);
	op->row.id = 2;
	op->row.stratum = stratum_of(7, false);
	op->counter = COUNT_DUPLICATE;
	CHECK_INT(apply_free(s, op), 0);
	op = op_new(OP_REMOVE);
	op->row.id = 1;
	CHECK_INT(apply_free(s, op), 0);
	op = op_new(OP_LABEL);
	op->row.id = 3;
	op->row.stratum = stratum_of(7, false);
	CHECK_INT(apply_free(s, op), 0);
	CHECK_INT(apply_free(s, insert(4, 50, stratum_of(3, false), 1)), -EEXIST); /* and is given it */
	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(view_tallies(v, &all), 0);
	CHECK_INT(came(&all, 0), 0);
	CHECK_INT(came(&all, 3), 3);
	CHECK_INT(came(&all, 7), 6);
	for (size_t i = 0; i < all.n; i++) {
		images += all.v[i].images;
		CHECK(!all.v[i].came || (!all.v[i].quality && !all.v[i].images));
		CHECK(!i || all.v[i - 1].stratum < all.v[i].stratum ||
			(all.v[i - 1].stratum == all.v[i].stratum &&
				all.v[i - 1].quality < all.v[i].quality));
	}
	CHECK_INT(images, 3);
	tally_done(&all);
	CHECK_INT(apply_free(s, op_new(OP_FADE)), 0);
	CHECK_INT(view_tallies(v, &all), 0);
	CHECK_INT(came(&all, 3), came_fade(3));
	CHECK_INT(came(&all, 7), 3);
	tally_done(&all);
	view_close(v);
	store_close(s);
	CHECK_INT(verify(0), 3);
}

/* While something is found in one image another is degraded: that is no damage. */
struct meddler {
	struct store *s;
	struct image_row other;
	int findings;
};

static void meddle(void *user, const char *line)
{
	struct meddler *m = user;
	uint8_t bytes[3000] = {1};

	(void)line;
	if (!m->findings++)
		CHECK_INT(apply_free(m->s, step_down(&m->other, 50, 20, bytes, sizeof(bytes))), 0);
}

static void test_verify_live(void)
{
	struct meddler m = {.s = open_store(8 * MIB)};
	const struct verify_events events = {.finding = meddle, .user = &m};
	struct verify_report report = {0};
	struct store_view *v = NULL;
	char error[256], file[128];

	for (int64_t id = 1; id <= 2; id++) {
		struct op *op = insert(id, 9000, 2, 10);

		op->row.flags = IMAGE_FILE;
		CHECK_INT(apply_free(m.s, op), 0);
	}
	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(view_row(v, 2, &m.other), 0);
	snprintf(file, sizeof(file), "%s/objects/0000000000000001-q50.jpg", path);
	CHECK_INT(unlink(file), 0);
	CHECK_INT(view_verify(v, &events, &report), 0);
	CHECK_INT(m.findings, 1);
	CHECK_INT(report.missing, 1);
	CHECK_INT(report.images, 2);
	view_close(v);
	store_close(m.s);
}

/* A file has its name before its row is committed: verify waits for that, and only then calls it nobody's. */
static void test_verify_named(void)
{
	int to[2], from[2], status;
	char file[128], byte = 0;
	pid_t pid;

	CHECK(pipe(to) == 0 && pipe(from) == 0);
	pid = fork();
	if (pid == 0) {
		struct store *s = open_store(8 * MIB);
		struct op *op = insert(1, 9000, 2, 10);

		op->row.flags = IMAGE_FILE;
		CHECK_INT(write(from[1], &byte, 1), 1);
		CHECK_INT(read(to[0], &byte, 1), 1);
		usleep(100 * 1000);
		CHECK_INT(apply_free(s, op), 0);
		store_close(s);
		_exit(test_failures != 0);
	}
	CHECK_INT(read(from[0], &byte, 1), 1);
	snprintf(file, sizeof(file), "%s/objects/0000000000000001-q50.jpg", path);
	CHECK_INT(mknod(file, S_IFREG | 0600, 0), 0);
	CHECK_INT(write(to[1], &byte, 1), 1);
	CHECK_INT(verify(0), 0);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	for (int i = 0; i < 2; i++) {
		close(to[i]);
		close(from[i]);
	}
}

static struct op *about(enum op_kind kind, int64_t id)
{
	struct op *op = op_new(kind);

	op->row.id = id;
	op->was_quality = 50;
	return op;
}

static struct op *insert_file(int64_t id, uint64_t hash)
{
	struct op *op = insert(id, 90000, 2, 1);

	op->row.hash = hash << 16;
	op->row.flags = IMAGE_FILE;
	return op;
}

/* Ids that collide in 63 bits are two images, not a lost one. */
static void test_collision(void)
{
	struct store *s = open_store(8 * MIB);
	struct op *a = insert(77, 50, 2, 1), *b = insert(77, 60, 2, 1);

	b->row.hash = 999 << 16;
	CHECK_INT(apply_free(s, a), 0);
	CHECK_INT(apply_free(s, b), 0);
	/* So are those with files of their own; a batch that has both is to be cut. */
	a = insert_file(77, 1000);
	b = a->next = insert_file(77, 1001);
	CHECK_INT(apply(s, a, false), -E2BIG);
	a->next = NULL;
	CHECK_INT(apply_free(s, b), 0);
	CHECK_INT(apply_free(s, a), 0);
	CHECK_INT(apply_free(s, insert_file(77, 1002)), 0);
	CHECK_INT(apply_free(s, insert_file(77, 1000)), -EEXIST);
	store_close(s);
	CHECK_INT(verify(0), 5);
}

/*
 * An image with a file of its own that is removed and comes again in one batch: the file that goes has the
 * name of the one that comes. The batch is to be cut, and what came is there.
 */
static void test_again(void)
{
	struct store *s = open_store(8 * MIB);
	struct store_view *v = NULL;
	struct buf data = {0};
	struct op *gone, *again;
	struct image_row row;
	char error[256];

	CHECK_INT(apply_free(s, insert_file(5, 5)), 0);
	gone = about(OP_REMOVE, 5);
	again = gone->next = insert_file(5, 5);
	CHECK_INT(apply(s, gone, false), -E2BIG);
	gone->next = NULL;
	CHECK_INT(apply_free(s, gone), 0);
	CHECK_INT(apply_free(s, again), 0);
	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(view_row(v, 5, &row), 0);
	CHECK_INT(view_data(v, &row, &data), 0);
	buf_done(&data);
	view_close(v);
	store_close(s);
	CHECK_INT(verify(0), 1);
}

/* A step that comes too late does not write over the file of the one before it. */
static void test_step_late(void)
{
	struct store *s = open_store(8 * MIB);
	struct op *op = insert_file(5, 5), *late;
	struct image_row row = op->row;
	static uint8_t bytes[80000];

	CHECK_INT(apply_free(s, op), 0);
	CHECK_INT(apply_free(s, step_down(&row, 50, 20, bytes, 80000)), 0);
	late = step_down(&row, 50, 20, bytes, 70000);
	CHECK_INT(apply_free(s, late), -ESTALE);
	store_close(s);
	CHECK_INT(verify(0), 1);
}

static int64_t disk_use(void)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY);
	int64_t n = io_tree_bytes(fd);

	close(fd);
	return n;
}

static bool take_id(void *user, const struct image_row *row)
{
	*(int64_t *)user = row->id;
	return false;
}

/*
 * Fill far past the limit, inline and as files: never over it, and room comes from removals. What they leave free
 * in the index makes way for files.
 */
static void test_limit(void)
{
	const int64_t limit = 2 * MIB;
	struct store *s = open_store(limit);
	struct store_view *v = NULL;
	char error[256];
	int refused = 0, stored = 0;

	CHECK_INT(view_open(path, &v, error), 0);
	for (int i = 1; i <= 1500; i++) {
		bool file = i % 50 == 0;
		struct op *op = insert((int64_t)(rng_u64(&rng) >> 1), file ? 70000 : 900 + i % 700, 2, i);
		int r;

		op->row.flags = file ? IMAGE_FILE : 0;
		while ((r = apply(s, op, false)) == -ENOSPC) {
			struct op *victim = op_new(OP_REMOVE);
			int64_t id = 0;

			view_cheapest(v, 1, take_id, &id);
			CHECK(id != 0);
			victim->row.id = id;
			CHECK_INT(apply(s, victim, true), 0);
			op_free(victim);
			refused++;
		}
		CHECK_INT(r, 0);
		stored += r == 0;
		op_free(op);
		CHECK(disk_use() <= limit);
	}
	CHECK_INT(stored, 1500);
	CHECK(refused > 100);
	view_close(v);
	store_close(s);
	CHECK(verify(0) > 200);
}

/* Free pages go back to the file system in pieces that the smallest log can hold. */
static void test_shrink(void)
{
	struct store *s = open_store(4 * MIB);
	struct usage before, after;
	int given = 0, n;

	for (int i = 1; i <= 50; i++)
		CHECK_INT(apply_free(s, insert(i, 50000, 2, i)), 0);
	for (int i = 1; i <= 50; i += 2) {
		struct op *op = op_new(OP_REMOVE);

		op->row.id = i;
		CHECK_INT(apply(s, op, true), 0);
		op_free(op);
	}
	store_usage(s, &before);
	CHECK(before.index_free > MIB);
	while ((n = store_shrink(s, 64)) > 0)
		given += n;
	CHECK_INT(n, 0);
	store_usage(s, &after);
	CHECK_INT(after.index_free, 0);
	CHECK_INT(before.index - after.index, (int64_t)given * 4096);
	store_close(s);
	CHECK_INT(verify(0), 25);
}

/* The picture that an image of these tests steps down to. */
static void fill_smaller(uint8_t data[250], int64_t id)
{
	for (int i = 0; i < 250; i++)
		data[i] = (uint8_t)(id * 31 + i);
}

/* Pages that steps left nearly empty become free, and every row is as it was. */
static void test_compact(void)
{
	struct store *s = open_store(4 * MIB);
	struct store_view *v = NULL;
	struct usage before, after;
	struct image_row row;
	uint8_t data[250];
	char error[256];
	int64_t at = -1;
	int n, rows = 0;

	CHECK_INT(view_open(path, &v, error), 0);
	for (int64_t id = 1; id <= 500; id++)
		CHECK_INT(apply_free(s, insert(id, id % 50 ? 1400 : 9000, 2, (int)id)), 0);
	for (int64_t id = 1; id <= 500; id++) {
		CHECK_INT(view_row(v, id, &row), 0);
		fill_smaller(data, id);
		if (id % 50)
			CHECK_INT(apply_free(s, step_down(&row, 50, 20, data, sizeof(data))), 0);
	}
	store_usage(s, &before);
	while ((n = store_compact(s, &at)) > 0)
		rows += n;
	CHECK_INT(n, 0);
	CHECK_INT(rows, 500);
	store_usage(s, &after);
	CHECK(after.index - after.index_free < (before.index - before.index_free) / 2);
	CHECK(after.index <= before.index);
	for (int64_t id = 1; id <= 500; id++) {
		_cleanup_buf_ struct buf b = {0};

		CHECK_INT(view_row(v, id, &row), 0);
		CHECK_INT(view_data(v, &row, &b), 0);
		fill_smaller(data, id);
		CHECK_INT(row.quality, id % 50 ? 20 : 50);
		CHECK(id % 50 ? b.len == sizeof(data) && !memcmp(b.data, data, sizeof(data))
			      : b.len == 9000);
	}
	at = -1;
	CHECK(store_compact(s, &at) > 0); /* once more changes nothing */
	view_close(v);
	store_close(s);
	CHECK_INT(verify(0), 500);
}

/* A row that the log has no room for is an error: not one that was moved, or there would be no end of it. */
static void test_compact_large(void)
{
	struct store *s = open_store(1000 * MIB);
	struct limits small = {3 * MIB, 0, MIB};
	int64_t at = -1;

	CHECK_INT(apply_free(s, insert(1, 1000000, 2, 1)), 0);
	store_set_limits(s, &small);
	CHECK_INT(store_compact(s, &at), -ENOSPC);
	CHECK_INT(at, -1);
	store_close(s);
	CHECK_INT(verify(0), 1);
}

/* A log made for a large limit makes way when the limit is lowered, however long it is; and comes back. */
static void test_log(void)
{
	struct store *s = open_store(1000 * MIB);
	struct limits small = {3 * MIB, 0, MIB}, large = {1000 * MIB, 0, MIB};
	struct usage before, after;

	for (int i = 1; i <= 100; i++)
		CHECK_INT(apply_free(s, insert(i, 10000, 2, i)), 0);
	store_usage(s, &before);
	CHECK_INT(before.wal_cap, 4 * MIB);
	CHECK(disk_use() > 2 * MIB); /* index and log have it twice */
	store_set_limits(s, &small);
	store_usage(s, &after);
	CHECK(after.wal_cap < MIB && after.total < 3 * MIB);
	CHECK(disk_use() <= after.total);
	for (int i = 101; i <= 120; i++)
		CHECK_INT(apply_free(s, insert(i, 10000, 2, i)), 0);
	CHECK(disk_use() <= 3 * MIB);
	store_set_limits(s, &large);
	store_usage(s, &after);
	CHECK_INT(after.wal_cap, 4 * MIB);
	store_close(s);
	CHECK_INT(verify(0), 120);
}

/* Killed at some point of a batch of inserts, steps and removals: all of it or nothing, no orphans. */
static void test_kill(void)
{
	for (int round = 0; round < 40; round++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			struct store *s = open_store(4 * MIB);

			rng_init(&rng, (uint64_t)round + 100);
			for (int i = 1;; i++) {
				struct op *op = insert(i, i % 3 ? 300 : 66000, 2, i), *step = op_new(OP_STEP);
				struct op *gone = op_new(OP_REMOVE);

				op->row.flags = i % 3 ? 0 : IMAGE_FILE;
				step->row = op->row;
				step->row.id = i - 3;
				step->row.flags = (i - 3) % 3 ? 0 : IMAGE_FILE;
				step->row.quality = 20;
				step->was_quality = 50;
				buf_put(&step->data, op->data.data, op->data.len - 10);
				gone->row.id = i - 20;
				op->next = step;
				step->next = gone;
				apply(s, op, false);
			}
		}
		usleep((useconds_t)(1000 + rng_below(&rng, 60000)));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		store_close(open_store(4 * MIB));
		verify(0);
		fresh();
	}
}

/* Rot in an object and in a row's bytes is found, by reading and by verify. */
static void test_rot(void)
{
	struct store *s = open_store(8 * MIB);
	struct store_view *v = NULL;
	_cleanup_buf_ struct buf data = {0};
	struct image_row row;
	struct op *op = insert(5, 80000, 2, 1);
	char name[128], error[256];
	int fd;

	op->row.flags = IMAGE_FILE;
	CHECK_INT(apply_free(s, op), 0);
	snprintf(name, sizeof(name), "%s/objects/0000000000000005-q50.jpg", path);
	fd = open(name, O_RDWR);
	CHECK_INT(pwrite(fd, "\xaa\x55", 2, 40000), 2);
	close(fd);
	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(view_row(v, 5, &row), 0);
	CHECK_INT(view_data(v, &row, &data), -EBADMSG);
	verify(1);
	unlink(name);
	data.len = 0;
	CHECK_INT(view_data(v, &row, &data), -ENOENT);
	verify(1);
	view_close(v);
	store_close(s);
}

/* Flips a bit of each place in a file of the store where text is; how many there are. */
static int damage(const char *file, const char *text)
{
	_cleanup_buf_ struct buf b = {0};
	char name[128];
	int n = 0, fd;

	snprintf(name, sizeof(name), "%s/%s", path, file);
	CHECK_INT(io_read_file(AT_FDCWD, name, 1 << 24, &b), 0);
	for (size_t i = 0; i + strlen(text) <= b.len; i++)
		if (!memcmp(b.data + i, text, strlen(text))) {
			b.data[i] ^= 1;
			n++;
		}
	fd = open(name, O_WRONLY);
	CHECK_INT(io_write_full(fd, b.data, b.len), 0);
	close(fd);
	return n;
}

static void count_set(void *user, uint32_t id, const uint8_t *data, size_t len)
{
	CHECK(id == 1 && len == 10 && !memcmp(data, "a set of 1", 10));
	++*(int *)user;
}

/* How many table sets can be read once the store has been opened, which makes them good. */
static int readable_sets(int restored, int result)
{
	struct store *s = open_store(8 * MIB);
	struct store_view *v = NULL;
	char error[256];
	int n = 0;

	CHECK_INT(store_sets_restored(s), restored);
	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(view_tables(v, count_set, &n), result);
	view_close(v);
	store_close(s);
	return n;
}

/* A table set that is damaged is made good by its second copy, and the copy by the set. */
static void test_sets(void)
{
	struct store *s = open_store(8 * MIB);
	struct op *op = op_new(OP_TABLES);
	char name[128];

	buf_put(&op->data, "a set of 1", 10);
	CHECK_INT(apply_free(s, op), 0);
	store_close(s);
	CHECK_INT(readable_sets(0, 0), 1);
	CHECK_INT(damage("index.db", "a set of 1"), 1);
	CHECK_INT(readable_sets(1, 0), 1);
	CHECK_INT(damage("models/tables-1", "a set of 1"), 1);
	CHECK_INT(readable_sets(0, 0), 1);
	CHECK_INT(damage("models/tables-1", "a set of 1"), 1); /* it was written anew */
	CHECK_INT(damage("index.db", "a set of 1"), 1);
	CHECK_INT(readable_sets(0, -EUCLEAN), 0);
	verify(2); /* each of them */
	snprintf(name, sizeof(name), "%s/models/tables-1", path);
	CHECK_INT(unlink(name), 0);
	CHECK_INT(readable_sets(0, -EUCLEAN), 0);
}

/* An index of another store is refused, and so is one that lost most of its rows. */
static void test_foreign(void)
{
	struct store *s = open_store(8 * MIB);
	char name[128], error[256];
	struct store *t = NULL;
	FILE *f;

	CHECK_INT(store_open(path, 8 * MIB, &t, error), -EBUSY); /* one daemon at a time */
	CHECK(!t && error[0]);
	store_close(s);
	for (int i = 0; i < 70; i++) {
		snprintf(name, sizeof(name), "%s/objects/%016d-q50.jpg", path, i);
		f = fopen(name, "w");
		fclose(f);
	}
	CHECK_INT(store_open(path, 8 * MIB, &t, error), -EUCLEAN);
	CHECK(strstr(error, "refusing"));
	snprintf(name, sizeof(name), "%s/uuid", path);
	f = fopen(name, "w");
	fputs("0123456789abcdef0123456789abcdef", f);
	fclose(f);
	CHECK_INT(store_open(path, 8 * MIB, &t, error), -EUCLEAN);
}

/* The lock goes on for a moment after a larderd that was killed while it made a child. */
static void test_lock_late(void)
{
	struct store *s = NULL;
	char error[256];
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid_t child;

	CHECK_INT(flock(fd, LOCK_EX | LOCK_NB), 0);
	child = fork();
	if (child == 0) {
		usleep(300 * 1000);
		_exit(0);
	}
	close(fd);
	CHECK_INT(store_open(path, 8 * MIB, &s, error), 0);
	store_close(s);
	CHECK_INT(waitpid(child, NULL, 0), child);
}

/* An index that a newer version has made is left alone. */
static void test_newer(void)
{
	struct store *s = open_store(8 * MIB);
	char error[256];

	store_close(s);
	change_beside(path, "PRAGMA user_version=99");
	CHECK_INT(store_open(path, 8 * MIB, &s, error), -ENOTSUP);
	CHECK(strstr(error, "schema 99"));
	change_beside(path, "PRAGMA user_version=2");
	CHECK_INT(STORE_SCHEMA, 2);
	store_close(open_store(8 * MIB));
}

/* Somebody who reads the index and does not stop keeps the file from getting shorter: said, and over when
 * he ends. */
static void test_reader(void)
{
	struct store *s = open_store(8 * MIB);
	char *data = calloc(1, 5 * MIB);
	sqlite3 *db;

	for (int i = 1; i <= 100; i++)
		CHECK_INT(apply_free(s, insert(i, 50000, 2, i)), 0);
	for (int i = 1; i <= 90; i++) {
		struct op *op = op_new(OP_REMOVE);

		op->row.id = i;
		CHECK_INT(apply(s, op, true), 0);
		op_free(op);
	}
	CHECK_INT(store_shrink(s, 1), 1); /* all is in the file, and the log at its beginning */
	db = open_beside(path, "BEGIN; SELECT count(*) FROM images");
	CHECK_INT(store_write_model(s, "model-1", data, 5 * MIB), -EBUSY);
	CHECK(strstr(store_error(s), "reads the index"));
	CHECK(disk_use() <= 8 * MIB);
	sqlite3_close(db);
	CHECK_INT(store_write_model(s, "model-1", data, 5 * MIB), 0);
	CHECK(disk_use() <= 8 * MIB);
	free(data);
	store_close(s);
	CHECK_INT(verify(0), 10);
}

/* Directories that are not the store's, as of a disk mounted there, are in nobody's way; but for one. */
static void test_directories(void)
{
	static const char *const names[] = {
		"lost+found", "objects/lost+found", "models/lost+found", "quarantine/lost+found"};
	struct store *s = open_store(8 * MIB);
	char name[128], error[256];
	struct op *op;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), "%s/%s", path, names[i]);
		CHECK_INT(mkdir(name, 0755), 0);
	}
	for (int i = 1; i <= 3; i++) { /* the same twice in a batch, and another */
		op = insert(i, 70000, 2, 1);
		op->next = insert(i, 70000, 2, 1);
		op->next->next = insert(i + 10, 70000, 2, 1);
		for (struct op *o = op; o; o = o->next)
			o->row.flags = IMAGE_FILE;
		CHECK_INT(apply(s, op, false), 0);
		CHECK_INT(op->next->result, -EEXIST);
		for (struct op *next; op; op = next) {
			next = op->next;
			op_free(op);
		}
	}
	store_close(s);
	store_close(open_store(8 * MIB));
	CHECK_INT(verify(0), 6);
	snprintf(name, sizeof(name), "%s/index.new", path); /* where a salvage would make another index */
	CHECK_INT(mkdir(name, 0755), 0);
	CHECK_INT(store_open(path, 8 * MIB, &s, error), -EISDIR);
	rmdir(name);
	store_close(open_store(8 * MIB));
}

/* A pinned image has no next step, whatever it is scored, until it is let go; one out and one in leave the
 * totals. */
static void test_pinned(void)
{
	struct store *s = open_store(8 * MIB);
	struct store_view *v = NULL;
	struct image_row row;
	char error[256];
	struct op *op;

	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(apply_free(s, insert(1, 5000, 2, 7)), 0);
	for (int pinned = 1; pinned >= 0; pinned--) {
		op = about(OP_PIN, 1);
		op->row.flags = pinned ? IMAGE_PINNED : 0;
		op->row.step = 7;
		CHECK_INT(apply_free(s, op), 0);
		op = about(OP_RESCORE, 1);
		op->row.step = 9;
		op->row.step_to = 10;
		op->row.model = 3;
		CHECK_INT(apply_free(s, op), 0);
		CHECK_INT(view_row(v, 1, &row), 0);
		CHECK_INT(row.step, pinned ? -1 : 9);
		CHECK_INT(row.model, 3);
	}
	op = about(OP_REMOVE, 1);
	op->next = insert(2, 5000, 2, 7);
	CHECK_INT(apply(s, op, false), 0);
	op_free(op->next);
	op_free(op);
	CHECK_INT(view_row(v, 1, &row), -ENOENT);
	view_close(v);
	store_close(s);
	CHECK_INT(verify(0), 1);
}

static struct op *labelled(int64_t id, uint32_t stratum, int step, uint8_t step_to)
{
	struct op *op = op_new(OP_LABEL);

	op->row.id = id;
	op->row.stratum = stratum;
	op->row.step = step;
	op->row.step_to = step_to;
	return op;
}

/* What a label makes a validation image takes no step from then on, whatever was on its way. */
static void test_validation(void)
{
	struct store *s = open_store(8 * MIB);
	struct store_view *v = NULL;
	static const uint8_t smaller[100];
	struct image_row row, before;
	char error[256];
	struct op *op;

	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(apply_free(s, insert(1, 5000, 2, 7)), 0);
	op = about(OP_RESCORE, 1);
	op->row.step = 9;
	op->row.step_to = 20;
	CHECK_INT(apply_free(s, op), 0);
	CHECK_INT(view_row(v, 1, &before), 0);
	CHECK_INT(before.step, 9);
	CHECK_INT(apply_free(s, labelled(1, stratum_of(4, true), 5, 10)), 0);
	CHECK_INT(apply_free(s, step_down(&before, 50, 20, smaller, sizeof(smaller))), -ESTALE);
	op = about(OP_RESCORE, 1);
	op->row.step = 9;
	op->row.step_to = 20;
	CHECK_INT(apply_free(s, op), 0);
	CHECK_INT(view_row(v, 1, &row), 0);
	CHECK(row.step == -1 && row.quality == 50 && row.stratum == stratum_of(4, true));
	CHECK_INT(apply_free(s, labelled(1, stratum_of(6, false), 5, 10)), 0);
	CHECK_INT(view_row(v, 1, &row), 0);
	CHECK(row.step == 5 && row.step_to == 10);
	CHECK_INT(apply_free(s, labelled(1, stratum_of(4, false), 3, 30)), 0); /* it has one */
	CHECK_INT(view_row(v, 1, &row), 0);
	CHECK(row.step == 5 && row.step_to == 10);
	/* Where steps are whose turn it is to go they stay. */
	op = about(OP_RESCORE, 1);
	op->row.step = 77;
	CHECK_INT(apply_free(s, op), 0);
	CHECK_INT(apply_free(s, labelled(1, stratum_of(4, true), -1, 0)), 0);
	CHECK_INT(apply_free(s, labelled(1, stratum_of(4, false), 99, 0)), 0);
	CHECK_INT(view_row(v, 1, &row), 0);
	CHECK_INT(row.step, 77);
	view_close(v);
	store_close(s);
	CHECK_INT(verify(0), 1);
}

static struct op *loose(struct op *op)
{
	op->row.flags = IMAGE_LOOSE;
	op->row.step = 0;
	op->row.step_to = 50;
	return op;
}

/* One that came as a validation image has the step that it came with, until it is for training; then another. */
static void test_validation_step(void)
{
	struct store *s = open_store(8 * MIB);
	struct store_view *v = NULL;
	static const uint8_t smaller[100];
	struct image_row row;
	char error[256];
	struct op *op;

	CHECK_INT(view_open(path, &v, error), 0);
	for (int id = 1; id <= 4; id++)
		CHECK_INT(apply_free(s, insert(id, 5000, stratum_of(4, true), 0)), 0);
	CHECK_INT(apply_free(s, labelled(1, stratum_of(6, true), -1, 0)), 0);
	CHECK_INT(view_row(v, 1, &row), 0);
	CHECK(row.step == 0 && row.step_to == 20);
	row.step = -1;
	CHECK_INT(apply_free(s, step_down(&row, 50, 20, smaller, sizeof(smaller))), 0);
	CHECK_INT(view_row(v, 1, &row), 0);
	CHECK(row.quality == 20 && row.step == -1 && row.stratum == stratum_of(6, true));

	CHECK_INT(apply_free(s, labelled(2, stratum_of(4, false), 7, 10)), 0);
	CHECK_INT(view_row(v, 2, &row), 0);
	CHECK(row.step == 7 && row.step_to == 10);
	CHECK_INT(apply_free(s, labelled(3, stratum_of(4, false), 7, 60)), 0); /* which leads nowhere */
	CHECK_INT(view_row(v, 3, &row), 0);
	CHECK_INT(row.step, -1);

	/* A step worked out for a training image is none for a validation image, nor is any for a pinned one. */
	CHECK_INT(view_row(v, 4, &row), 0);
	row.stratum = stratum_of(4, false);
	CHECK_INT(apply_free(s, step_down(&row, 50, 10, smaller, sizeof(smaller))), -ESTALE);
	row.stratum = stratum_of(4, true);
	op = about(OP_PIN, 4);
	op->row.flags = IMAGE_PINNED;
	CHECK_INT(apply_free(s, op), 0);
	CHECK_INT(apply_free(s, step_down(&row, 50, 20, smaller, sizeof(smaller))), -ESTALE);
	view_close(v);
	store_close(s);
	CHECK_INT(verify(0), 4);
}

/*
 * A loose image's step leads to the quality that it has, until it is packed or said not to be packable; a
 * step that was worked out before is refused then.
 */
static void test_loose(void)
{
	struct store *s = open_store(8 * MIB);
	struct store_view *v = NULL;
	static const uint8_t packed[4000];
	struct image_row row;
	char error[256];
	struct op *op;

	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(apply_free(s, loose(insert(1, 5000, 2, 7))), 0);
	CHECK_INT(apply_free(s, loose(insert(2, 5000, 2, 7))), 0);
	CHECK_INT(apply_free(s, loose(about(OP_RESCORE, 1))), 0);
	for (int to = 50; to <= 60; to += 10) { /* unpinned, labelled: a step up is none */
		for (int pinned = 1; pinned >= 0; pinned--) {
			op = about(OP_PIN, 1);
			op->row.flags = pinned ? IMAGE_PINNED : 0;
			op->row.step = 0;
			op->row.step_to = (uint8_t)to;
			CHECK_INT(apply_free(s, op), 0);
		}
		CHECK_INT(view_row(v, 1, &row), 0);
		CHECK(row.step == (to == 50 ? 0 : -1) && row.flags == IMAGE_LOOSE);
		CHECK_INT(apply_free(s, labelled(1, stratum_of(4, true), -1, 0)), 0);
		CHECK_INT(apply_free(s, labelled(1, stratum_of(4, false), 0, (uint8_t)to)), 0);
		CHECK_INT(view_row(v, 1, &row), 0);
		CHECK_INT(row.step, to == 50 ? 0 : -1);
	}
	row.flags &= ~(uint32_t)IMAGE_LOOSE;
	CHECK_INT(apply_free(s, step_down(&row, 50, 50, packed, sizeof(packed))), 0);
	CHECK_INT(view_row(v, 1, &row), 0);
	CHECK(row.quality == 50 && row.bytes == sizeof(packed) && !(row.flags & IMAGE_LOOSE));
	CHECK_INT(apply_free(s, loose(about(OP_RESCORE, 1))), -ESTALE);

	op = about(OP_RESCORE, 2); /* it turned out not to be packable */
	op->row.step = 9;
	op->row.step_to = 20;
	CHECK_INT(apply_free(s, op), 0);
	CHECK_INT(view_row(v, 2, &row), 0);
	CHECK(row.step == 9 && row.step_to == 20 && !(row.flags & IMAGE_LOOSE));
	view_close(v);
	store_close(s);
	CHECK_INT(verify(0), 2);
}

/* A model is counted while it is there; what cannot be removed is said. */
static void test_models(void)
{
	struct store *s = open_store(8 * MIB);
	static const char data[100000];
	struct usage none, one, usage;
	char name[128];

	store_usage(s, &none);
	CHECK_INT(store_write_model(s, "model-1", data, sizeof(data)), 0);
	store_usage(s, &one);
	CHECK(one.models >= none.models + (int64_t)sizeof(data));
	CHECK_INT(store_write_model(s, "model-1", data, sizeof(data)), 0); /* in its place */
	store_usage(s, &usage);
	CHECK_INT(usage.models, one.models);
	CHECK_INT(store_write_model(s, "model-1", NULL, 0), 0);
	CHECK_INT(store_write_model(s, "model-1", NULL, 0), 0);
	store_usage(s, &usage);
	CHECK_INT(usage.models, none.models);
	snprintf(name, sizeof(name), "%s/models/model-2", path);
	CHECK_INT(mkdir(name, 0755), 0);
	CHECK_INT(store_write_model(s, "model-2", NULL, 0), -EISDIR);
	rmdir(name);
	CHECK_INT(store_write_model(s, "model-3", data, 9 * MIB), -ENOSPC);
	store_close(s);
}

static struct op *new_label(int n)
{
	struct op *op = op_new(OP_NEW_LABEL);

	snprintf(op->text, sizeof(op->text), "label %d", n);
	return op;
}

/* There may be so many labels, and no more; an op that only counts counts. */
static void test_labels(void)
{
	struct store *s = open_store(16 * MIB);
	struct store_view *v = NULL;
	int64_t counters[COUNTERS];
	char error[256];
	struct tally_list change = {0};

	for (int n = 0; n < 20000;) {
		struct op *ops = NULL;

		for (int i = 0; i < 100; i++) {
			struct op *op = new_label(n++);

			op->next = ops;
			ops = op;
		}
		CHECK_INT(store_apply(s, ops, false, &change), 0);
		for (struct op *next; ops; ops = next) {
			next = ops->next;
			CHECK_INT(ops->result, 0);
			op_free(ops);
		}
	}
	tally_done(&change);
	CHECK_INT(apply_free(s, new_label(20000)), -E2BIG);
	CHECK_INT(apply_free(s, new_label(19999)), 0); /* known */
	for (int i = 0; i < 2; i++) {
		struct op *op = op_new(OP_ADD);

		op->counter = COUNT_OVERFLOWS;
		op->amount = 3;
		CHECK_INT(apply_free(s, op), 0);
	}
	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(view_counters(v, counters), 0);
	CHECK_INT(counters[COUNT_OVERFLOWS], 6);
	change_beside(path, "INSERT INTO counters VALUES(-1, 5), (99, 5)"); /* a newer version's */
	CHECK_INT(view_counters(v, counters), 0);
	CHECK_INT(counters[COUNT_OVERFLOWS], 6);
	view_close(v);
	store_close(s);
}

OWN_STORE_MAIN(test_life, test_spent, test_duplicate_label, test_came, test_verify_live, test_verify_named,
	test_collision, test_again, test_step_late, test_limit, test_shrink, test_compact,
	test_compact_large, test_log, test_kill, test_rot, test_sets, test_foreign, test_lock_late,
	test_newer, test_reader, test_models, test_directories, test_labels, test_pinned, test_validation,
	test_validation_step, test_loose)
