/*
 * What reads the store, while each of its reads and allocations fails in turn: it says so, or what it says
 * is true. Nothing is called damaged or missing for want of memory, and no descriptor stays open.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/io.h"
#include "common/macros.h"
#include "common/net/model.h"
#include "daemon/store.h"
#include "policy/member.h"
#include "tests/unit/beside.h"
#include "tests/unit/disk.h"
#include "tests/unit/test.h"
#include "tests/unit/tree.h"

#define MIB	  (INT64_C(1) << 20)
#define MAX_USE	  (16 * MIB)
#define SMALL	  70	      /* in the index, the last of them larger than a page */
#define IMAGES	  (SMALL + 5) /* the others are files */
#define QUESTIONS 18
#define NETWORK   "model-000001.safetensors"

static char slow[] = "/tmp/larder-reading-XXXXXX", shm[] = "/dev/shm/larder-reading-XXXXXX";
static char *base; /* of the two, the one in memory where there is one */
static char path[64];

/* What a question was answered: an error, or all that was told, as one number. */
struct answer {
	int r;
	uint32_t told;
};

static struct op *image(int i)
{
	struct op *op = op_new(OP_INSERT);
	int bytes = i >= SMALL ? 20000 : i == SMALL - 1 ? 9000 : 200;

	op->row = (struct image_row){.id = INT64_C(0x1000000000000000) + i,
		.hash = (uint64_t)i,
		.stratum = stratum_of(1, i % 7 == 0),
		.rank = i % 3 ? i : RANK_SPENT + i,
		.step = i % 5,
		.step_to = 20,
		.quality = 50,
		.tables = i < SMALL,
		.layout = 0x22,
		.width = 64,
		.height = 48,
		.orientation = 1,
		.flags = i >= SMALL ? IMAGE_FILE | IMAGE_SCORED : 0,
		.taken_s = 1700000000 + i,
		.model = i % 2,
		.n_harm = 2,
		.harm = {9, (uint8_t)i}};
	snprintf(op->row.name, sizeof(op->row.name), "n%d.png", i);
	for (int b = 0; b < bytes; b++)
		buf_put_u8(&op->data, (uint8_t)(b * 7 + i));
	return op;
}

static void apply_free(struct store *s, struct op *op)
{
	struct tally_list change = {0};

	CHECK_INT(store_apply(s, op, false, &change), 0);
	CHECK_INT(op->result, 0);
	tally_done(&change);
	op_free(op);
}

static void make_network(struct model *ret)
{
	*ret = (struct model){.shape = {.size = 8, .channels = {2, 2, 2}, .classes = 2}, .version = 1};
	CHECK_INT(model_alloc(ret), 0);
	CHECK_INT(model_set_class(ret, 0, 3, "cat"), 0);
	CHECK_INT(model_set_class(ret, 1, 9, "dog"), 0);
	net_init(&ret->shape, 1, ret->params);
}

static void fill(void)
{
	_cleanup_model_ struct model network = {0};
	_cleanup_buf_ struct buf file = {0};
	struct store *s = NULL;
	struct op *op;
	char error[256];

	CHECK_INT(store_open(path, MAX_USE, &s, error), 0);
	op = op_new(OP_TABLES);
	for (int i = 0; i < 6000; i++)
		buf_put_u8(&op->data, (uint8_t)(i * 5));
	apply_free(s, op);
	op = op_new(OP_NEW_LABEL);
	snprintf(op->text, sizeof(op->text), "a fox, or what looks like one");
	apply_free(s, op);
	op = op_new(OP_META);
	snprintf(op->key, sizeof(op->key), "policy");
	buf_put(&op->data, "whatever", 8);
	apply_free(s, op);
	for (int i = 0; i < IMAGES; i++)
		apply_free(s, image(i));
	for (int i = 0; i < 2; i++) { /* a capture that was refused without a word, and one with */
		op = op_new(i ? OP_QUARANTINE : OP_COUNT);
		op->counter = COUNT_DROPPED;
		op->row.id = i;
		op->file = (struct taken_file){.dev = 1, .ino = 2, .size = 3, .mtime_ns = 4};
		snprintf(op->file.path, sizeof(op->file.path), "fox/%d.png", i);
		if (i)
			snprintf(op->text, sizeof(op->text), "no picture, but something else altogether");
		apply_free(s, op);
	}
	make_network(&network);
	CHECK_INT(model_write(&network, &file), 0);
	CHECK_INT(store_write_model(s, NETWORK, file.data, file.len), 0);
	store_close(s);
}

static void add(struct answer *a, const void *data, size_t len)
{
	a->told = crc32c(a->told, data, len);
}

static bool add_row(void *user, const struct image_row *row)
{
	add(user, &row->id, sizeof(row->id));
	add(user, row->name, strlen(row->name));
	add(user, row->harm, (size_t)row->n_harm);
	return true;
}

static int64_t new_year(void *user, uint32_t stratum)
{
	(void)user;
	return stratum_is_validation(stratum) ? 0 : 1700000040;
}

static void add_label(void *user, uint32_t id, const char *name)
{
	add(user, &id, sizeof(id));
	add(user, name, strlen(name));
}

static void add_set(void *user, uint32_t id, const uint8_t *data, size_t len)
{
	add(user, &id, sizeof(id));
	add(user, data, len);
}

static bool add_taken(
	void *user, int64_t taken_id, const struct taken_file *f, int64_t id, const char *reason)
{
	add(user, &taken_id, sizeof(taken_id));
	add(user, f->path, strlen(f->path));
	add(user, &id, sizeof(id));
	if (reason)
		add(user, reason, strlen(reason));
	return true;
}

static void add_finding(void *user, const char *line)
{
	add(user, line, strlen(line));
}

static int all_data(struct store_view *v, struct answer *a)
{
	for (int i = 0; i < IMAGES; i++) {
		_cleanup_buf_ struct buf data = {0};
		struct image_row row;
		int r = view_row(v, INT64_C(0x1000000000000000) + i, &row);

		if (r == 0)
			r = view_data(v, &row, &data);
		if (r < 0)
			return r;
		add(a, data.data, data.len);
	}
	return 0;
}

static int all_tallies(struct store_view *v, struct answer *a)
{
	struct tally_list l = {0};
	int r = view_tallies(v, &l);

	for (size_t i = 0; i < l.n; i++) {
		add(a, &l.v[i].images, sizeof(int64_t));
		add(a, &l.v[i].bytes, sizeof(int64_t));
	}
	tally_done(&l);
	return r;
}

static int one_question(struct store_view *v, int which, struct answer *a)
{
	_cleanup_buf_ struct buf meta = {0};
	const struct verify_events events = {.finding = add_finding, .user = a};
	struct verify_report report;
	int64_t n, counters[COUNTERS];
	int r;

	switch (which) {
	case 0:
		return all_data(v, a);
	case 1:
		return view_cheapest(v, 100, add_row, a);
	case 2:
		return view_last_ranks(v, stratum_of(1, false), 100, add_row, a);
	case 3:
		return view_unspent(v, stratum_of(1, false), 5, 100, add_row, a);
	case 4:
		return view_lasting(v, stratum_of(1, false), 100, add_row, a);
	case 5:
		n = view_count_lasting(v, stratum_of(1, false));
		add(a, &n, sizeof(n));
		return (int)MIN(n, 0);
	case 6:
		return view_walk(v, 5, 0, 100, add_row, a);
	case 7:
		return view_older(v, 0, new_year, add_row, a);
	case 8: /* there is one */
		r = view_find(v, "1000000000000003", &n);
		add(a, &n, r == 0 ? sizeof(n) : 0);
		return r;
	case 9: /* none, and too many */
		r = view_find(v, "2", &n);
		add(a, &r, sizeof(r));
		return r == -ENOENT ? 0 : r;
	case 10:
		r = view_find(v, "10", &n);
		add(a, &r, sizeof(r));
		return r == -ENOTUNIQ ? 0 : r;
	case 11:
		return all_tallies(v, a);
	case 12:
		r = view_counters(v, counters);
		add(a, counters, sizeof(counters));
		return r;
	case 13:
		r = view_meta(v, "policy", &meta);
		add(a, meta.data, meta.len);
		return r;
	case 14:
		return view_labels(v, add_label, a);
	case 15:
		return view_tables(v, add_set, a);
	case 16:
		return view_taken(v, add_taken, a);
	default:
		r = view_verify(v, &events, &report);
		add(a, &report.images, sizeof(report.images));
		return r;
	}
}

/* Asks everything; what cannot be opened answers nothing. */
static void ask(struct answer answers[QUESTIONS])
{
	struct store_view *v = NULL;
	char error[256] = "";
	int r = view_open(path, &v, error);

	for (int i = 0; i < QUESTIONS; i++) {
		answers[i] = (struct answer){r, 0};
		if (r == 0)
			answers[i].r = one_question(v, i, &answers[i]);
	}
	CHECK(r == 0 || error[0]);
	view_close(v);
}

/* The writer's own way in, and a model. */
static int open_and_close(uint32_t *ret_model)
{
	_cleanup_buf_ struct buf model = {0};
	struct store *s = NULL;
	char error[256] = "";
	int r = store_open(path, MAX_USE, &s, error);

	CHECK(r == 0 || error[0]);
	if (r == 0) {
		r = store_read_model(s, NETWORK, &model);
		store_close(s);
	}
	*ret_model = crc32c(0, model.data, model.len);
	return r;
}

static int descriptors(void)
{
	bool paused = disk_pause(true);
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	disk_pause(paused);
	return n;
}

static void arm(bool memory, long at, bool for_ever)
{
	disk_error(EIO, for_ever);
	disk_arm(base, memory ? DISK_COUNT : DISK_FAIL_READS, memory ? 0 : at);
	if (memory)
		disk_arm_memory(at, for_ever);
}

static void fail_each(bool memory, bool for_ever, long step)
{
	struct answer truth[QUESTIONS], told[QUESTIONS];
	uint32_t model, now;
	bool hit = true;
	int open_before, seen = test_failures, failed = 0;
	long at = 1;

	CHECK_INT(open_and_close(&model), 0);
	ask(truth);
	open_before = descriptors();
	for (int i = 0; i < QUESTIONS; i++)
		CHECK_INT(truth[i].r, 0);
	for (; hit && test_failures == seen; at += step) {
		arm(memory, at, for_ever);
		ask(told);
		hit = disk_was_hit();
		disk_off();
		for (int i = 0; i < QUESTIONS; i++) {
			/* A file or row that cannot be read is a finding, as it should be. */
			bool said = !memory && i == QUESTIONS - 1;

			CHECK(told[i].r < 0 || told[i].told == truth[i].told || said);
			CHECK(told[i].r != -ENOENT && told[i].r != -EBADMSG);
			if (told[i].r == 0 && told[i].told != truth[i].told && !said)
				fprintf(stderr, "... question %d\n", i);
			failed += told[i].r < 0;
		}
		CHECK_INT(descriptors(), open_before);
		if (test_failures > seen)
			fprintf(stderr, "... at %ld\n", at);
	}
	CHECK(at > 20 && failed > 20);
	printf("%ld %s failed%s: %d answers were errors, the others true\n", at / step,
		memory ? "allocations" : "reads", for_ever ? " from then on" : "", failed);
	hit = true;
	for (at = 1; hit && test_failures == seen; at += step) {
		int r;

		arm(memory, at, for_ever);
		r = open_and_close(&now);
		hit = disk_was_hit();
		disk_off();
		CHECK(r < 0 || now == model);
		CHECK_INT(descriptors(), open_before);
		CHECK_INT(open_and_close(&now), 0);
		if (test_failures > seen)
			fprintf(stderr, "... opening, at %ld: %d\n", at, r);
	}
	ask(told);
	for (int i = 0; i < QUESTIONS; i++)
		CHECK(told[i].r == 0 && told[i].told == truth[i].told);
}

static void count_finding(void *user, const char *line)
{
	(void)line;
	++*(int *)user;
}

static int findings(struct verify_report *ret)
{
	struct store_view *v = NULL;
	char error[256];
	int n = 0;
	const struct verify_events events = {.finding = count_finding, .user = &n};

	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(view_verify(v, &events, ret), 0);
	view_close(v);
	return n;
}

static void find(const char *prefix, int want)
{
	struct store_view *v = NULL;
	char error[256];
	int64_t id = -1;

	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(view_find(v, prefix, &id), want);
	CHECK(want < 0 ? true : id == INT64_C(0x1000000000000000) + 0xa);
	view_forget_pages(v);
	view_close(v);
}

/* An image is asked for by the first digits of its id, and by nothing else. */
static void test_find(void)
{
	find("100000000000000a", 0);
	find("100000000000000A", 0);
	find("1000000000000", -ENOTUNIQ);
	find("", -ENOENT);
	find("100000000000000a0", -ENOENT);
	find("-1", -ENOENT);
	find("+1", -ENOENT);
	find(" 1", -ENOENT);
	find("1g", -ENOENT);
	find("f", -ENOENT); /* ids are positive */
	find("2", -ENOENT);
}

/* An empty file in objects/, as old as a day. */
static void put_object(const char *name)
{
	struct timespec then[2] = {{.tv_sec = time(NULL) - 86400}, {.tv_sec = time(NULL) - 86400}};
	char file[128];

	snprintf(file, sizeof(file), "%s/objects/%s", path, name);
	CHECK_INT(mknod(file, S_IFREG | 0600, 0), 0);
	CHECK_INT(utimensat(AT_FDCWD, file, then, 0), 0);
}

/* Files of nobody, files that are gone, packed images without their set: each is found. */
static void test_findings(void)
{
	struct verify_report report;
	char name[128];

	CHECK_INT(findings(&report), 0);
	CHECK(report.images == IMAGES && !report.damaged && !report.missing && !report.orphaned &&
		!report.tallies);
	put_object(".tmp");
	CHECK_INT(findings(&report), 0);
	put_object("1000000000000001-q50.jpg"); /* that image has no file */
	put_object("1000000000000048-q20.jpg"); /* that one has another */
	CHECK_INT(findings(&report), 2);
	CHECK_INT(report.orphaned, 2);
	change_beside(path, "INSERT INTO garbage VALUES('1000000000000048-q20.jpg')"); /* about to be unlinked */
	CHECK_INT(findings(&report), 1);
	snprintf(name, sizeof(name), "%s/objects/1000000000000048-q50.jpg", path);
	CHECK_INT(unlink(name), 0);
	CHECK_INT(findings(&report), 2);
	CHECK(report.orphaned == 1 && report.missing == 1);
	change_beside(path, "DELETE FROM tables; UPDATE tally SET images = images + 1 WHERE stratum = 2");
	CHECK_INT(findings(&report), 4);
	CHECK(report.damaged == SMALL && report.tallies == 1);
}

/* A network that memory is too short to write is not written in part; nor is one that is read changed. */
static void test_network(void)
{
	_cleanup_model_ struct model network = {0};
	_cleanup_buf_ struct buf whole = {0};
	int refused = 0;
	bool hit = true;

	make_network(&network);
	CHECK_INT(model_write(&network, &whole), 0);
	for (long at = 1; hit; at++) {
		_cleanup_model_ struct model back = {0};
		_cleanup_buf_ struct buf file = {0};
		int written, read = -ENOMEM;

		arm(true, at, false);
		written = model_write(&network, &file);
		if (written == 0)
			read = model_read(whole.data, whole.len, &back);
		hit = disk_was_hit();
		disk_off();
		refused += written < 0;
		CHECK(written < 0 || (file.len == whole.len && !memcmp(file.data, whole.data, file.len)));
		CHECK(read < 0 || (!strcmp(back.name[1], "dog") && back.label_id[1] == 9));
	}
	CHECK(refused > 20);
}

int main(void)
{
	base = mkdtemp(shm) ? shm : mkdtemp(slow);
	if (!base)
		return 1;
	snprintf(path, sizeof(path), "%s/store", base);
	mkdir(path, 0755);
	fill();
	fail_each(false, false, 1);
	fail_each(false, true, 1);
	if (!SANITIZED) {
		fail_each(true, false, 1);
		fail_each(true, true, 7);
		test_network();
	}
	test_find();
	test_findings();
	remove_tree(base);
	printf("%d checks, %d failed\n", test_checks, test_failures);
	return test_failures || !test_checks;
}
