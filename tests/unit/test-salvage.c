/*
 * The index made anew (daemon/store_salvage.h): each of its pages damaged in turn, gone altogether, cut
 * off, with too little room, killed before each change and with each call failing. What could be saved is
 * there, whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/io.h"
#include "common/rng.h"
#include "daemon/store.h"
#include "daemon/store_salvage.h"
#include "daemon/store_tag.h"
#include "policy/member.h"
#include "tests/unit/beside.h"
#include "tests/unit/disk.h"
#include "tests/unit/test.h"
#include "tests/unit/tree.h"

#define MIB    (INT64_C(1) << 20)
#define LIMIT  (16 * MIB)
#define SMALL  300 /* images in the index */
#define FILES  12  /* images in objects/ */
#define IMAGES (SMALL + FILES)
#define OBJECT 20000

static char slow[] = "/tmp/larder-salvage-XXXXXX", shm[] = "/dev/shm/larder-salvage-XXXXXX";
static char *base; /* of the two, the one in memory where there is one */
static char path[64], scratch[64];
static struct buf pristine, objects[FILES]; /* the index, and what lies beside it */
static uint64_t sum_of[IMAGES];		    /* of what is stored */
static bool without_uuid;		    /* the file that says whose index it is, is gone */
static bool torn;			    /* the index lacks its first page and all inner ones */

static void fresh_dir(const char *dir)
{
	remove_tree(dir);
	mkdir(dir, 0755);
}

static int64_t id_of(int i)
{
	return (int64_t)(((uint64_t)i * UINT64_C(0x9e3779b97f4a7c15)) >> 1);
}

static bool is_file(int i)
{
	return i >= SMALL;
}

static struct op *image(int i, uint32_t stratum, struct rng *rng)
{
	struct op *op = op_new(OP_INSERT);
	int bytes = is_file(i) ? OBJECT : i % 50 == 49 ? 9000 : 300 + i % 7 * 150;

	op->row = (struct image_row){.id = id_of(i),
		.hash = (uint64_t)i * 3,
		.stratum = stratum,
		.rank = i,
		.step = i % 9,
		.step_to = 20,
		.quality = 50,
		.tables = is_file(i) ? 0 : (uint32_t)(i % 2),
		.layout = 0x22,
		.width = 64,
		.height = 48,
		.orientation = 6,
		.flags = is_file(i) ? IMAGE_FILE | IMAGE_SCORED : 0,
		.taken_s = 1700000000 + i,
		.model = 4,
		.n_harm = 3,
		.harm = {7, 5, (uint8_t)i}};
	snprintf(op->row.name, sizeof(op->row.name), "n%d.png", i);
	for (int b = 0; b < bytes; b++)
		buf_put_u8(&op->data, (uint8_t)rng_u64(rng));
	sum_of[i] = crc32c(0, op->data.data, op->data.len);
	return op;
}

static struct op *apply_one(struct store *s, struct op *op)
{
	struct tally_list change = {0};

	CHECK_INT(store_apply(s, op, false, &change), 0);
	CHECK_INT(op->result, 0);
	tally_done(&change);
	return op;
}

static struct store *open_store(void)
{
	const struct limits limits = {LIMIT, 0, MIB};
	struct store *s = NULL;
	char error[256];
	int r = store_open(path, LIMIT, &s, error);

	CHECK_INT(r, 0);
	if (r < 0)
		fprintf(stderr, "  %s\n", error);
	else
		store_set_limits(s, &limits);
	return s;
}

static void fill_store(void)
{
	static const char *const labels[] = {"fox", "a\nb"};
	uint32_t strata[3] = {0};
	struct store *s;
	struct rng rng;
	struct op *op;

	rng_init(&rng, 3);
	fresh_dir(path);
	s = open_store();
	op = op_new(OP_TABLES);
	buf_put(&op->data, "tables", 6);
	op_free(apply_one(s, op));
	for (int i = 0; i < 2; i++) {
		op = op_new(OP_NEW_LABEL);
		snprintf(op->text, sizeof(op->text), "%s", labels[i]);
		apply_one(s, op);
		strata[i + 1] = stratum_of(op->row.stratum, i == 1);
		op_free(op);
	}
	for (int i = 0; i < IMAGES; i++)
		op_free(apply_one(s, image(i, strata[i % 3], &rng)));
	op = op_new(OP_COUNT);
	op->counter = COUNT_DUPLICATE;
	op_free(apply_one(s, op));
	store_close(s);
}

static void write_file(const char *name, const uint8_t *data, size_t len)
{
	FILE *f = fopen(name, "wb");

	CHECK(f && fwrite(data, 1, len, f) == len);
	if (f)
		fclose(f);
}

static void drop_uuid(void)
{
	char name[128];

	snprintf(name, sizeof(name), "%s/uuid", path);
	unlink(name);
}

/* The store as it was made, with an index that is len bytes of data. */
static void lay_out(const uint8_t *data, size_t len)
{
	char name[128];

	snprintf(name, sizeof(name), "%s/quarantine", path);
	fresh_dir(name);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "%s/objects/%016llx-q50.jpg", path,
			(unsigned long long)id_of(SMALL + i));
		write_file(name, objects[i].data, objects[i].len);
	}
	snprintf(name, sizeof(name), "%s/index.db", path);
	write_file(name, data, len);
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s/index.db-%s", path, i ? "wal" : "shm");
		unlink(name);
	}
}

/* Returns how many inner pages of tables there were. */
static int tear(struct buf *index)
{
	int inner = 0;

	memset(index->data, 0xff, PAGE_BYTES);
	for (size_t at = PAGE_BYTES; at < index->len; at += PAGE_BYTES)
		if (index->data[at] == 5) {
			memset(index->data + at, 0, PAGE_BYTES);
			inner++;
		}
	return inner;
}

static void lay_out_as_set(void)
{
	_cleanup_buf_ struct buf index = {0};

	buf_put(&index, pristine.data, pristine.len);
	if (torn)
		tear(&index);
	lay_out(index.data, index.len);
	if (without_uuid)
		drop_uuid();
}

static void say(void *user, const char *line)
{
	fprintf(stderr, "  %s\n", line);
	++*(int *)user;
}

/* Opens and verifies the store, and looks at each image that is there; returns how many are. */
static int check_store(int64_t dropped)
{
	struct store *s = open_store();
	struct verify_report report = {0};
	struct store_view *v = NULL;
	int64_t counters[COUNTERS];
	int there = 0, findings = 0;
	const struct verify_events events = {.finding = say, .user = &findings};
	char error[256];

	if (!s)
		return -1;
	CHECK_INT(view_open(path, &v, error), 0);
	for (int i = 0; i < IMAGES; i++) {
		_cleanup_buf_ struct buf data = {0};
		struct image_row row;

		if (view_row(v, id_of(i), &row) < 0)
			continue;
		there++;
		CHECK_INT(view_data(v, &row, &data), 0);
		CHECK(crc32c(0, data.data, data.len) == sum_of[i]);
		CHECK(row.hash == (uint64_t)i * 3 && row.rank == i && row.step == i % 9 &&
			row.step_to == 20 && row.quality == 50 && row.layout == 0x22 && row.width == 64 &&
			row.height == 48 && row.orientation == 6 && row.taken_s == 1700000000 + i &&
			row.model == 4 && row.n_harm == 3 && row.harm[2] == (uint8_t)i &&
			(row.stratum == 0) == (i % 3 == 0));
		if (i % 3)
			CHECK_INT(stratum_is_validation(row.stratum), i % 3 == 2);
	}
	CHECK_INT(view_verify(v, &events, &report), 0);
	CHECK_INT(findings, 0);
	CHECK_INT(report.images, there);
	CHECK_INT(view_counters(v, counters), 0);
	if (dropped >= 0)
		CHECK_INT(counters[COUNT_DROPPED], dropped);
	view_close(v);
	store_close(s);
	return there;
}

static int salvage(int64_t limit, const char *where, bool force, struct salvage_report *ret)
{
	char error[256] = "";
	int r = store_salvage(path, limit, where, force, ret, error);

	CHECK((r < 0) == (error[0] != '\0' && r < 0));
	return r;
}

/* Nothing is wrong: everything is kept, and the index is no larger. */
static void test_whole(void)
{
	struct salvage_report n;

	lay_out_as_set();
	CHECK_INT(salvage(LIMIT, NULL, false, &n), 0);
	CHECK(n.expected == IMAGES && n.from_index == IMAGES && !n.from_files && !n.damaged);
	CHECK_INT(check_store(0), IMAGES);
}

static void test_pages(void)
{
	size_t pages = pristine.len / PAGE_BYTES;
	int worst = IMAGES, forced = 0;
	int64_t lost = 0;
	struct rng rng;

	rng_init(&rng, 9);
	for (size_t p = 0; p < pages; p++) {
		_cleanup_buf_ struct buf damaged = {0};
		struct salvage_report n;
		int there, r;

		buf_put(&damaged, pristine.data, pristine.len);
		for (size_t b = 0; b < PAGE_BYTES; b++)
			damaged.data[p * PAGE_BYTES + b] = p % 2 ? 0 : (uint8_t)rng_u64(&rng);
		lay_out(damaged.data, damaged.len);
		r = salvage(LIMIT, NULL, false, &n);
		if (r == -EUCLEAN) {
			forced++;
			r = salvage(LIMIT, NULL, true, &n);
		}
		CHECK_INT(r, 0);
		there = check_store(n.expected > n.from_index + n.from_files
					    ? n.expected - n.from_index - n.from_files
					    : -1);
		CHECK_INT(there, n.from_index + n.from_files);
		CHECK(there >= FILES);
		worst = MIN(worst, there);
		lost += IMAGES - there;
	}
	printf("%zu pages, each damaged: %.1f images lost on average, %d of %d at most, %d needed force\n",
		pages, (double)lost / (double)pages, IMAGES - worst, IMAGES, forced);
	CHECK(forced <= 1);	    /* the tally */
	CHECK(IMAGES - worst < 12); /* a page of them */
}

static void read_index(struct buf *ret)
{
	char name[128];

	snprintf(name, sizeof(name), "%s/index.db", path);
	CHECK_INT(io_read_file(AT_FDCWD, name, 1 << 24, ret), 0);
}

/* The store as it is, but that its index is torn. */
static void tear_as_it_is(void)
{
	_cleanup_buf_ struct buf index = {0};

	read_index(&index);
	CHECK(tear(&index) > 0);
	lay_out(index.data, index.len);
}

/* The first page and all inner ones gone at once: each image is found, but for those that were removed
 * before. */
static void test_strays(void)
{
	struct salvage_report n;
	int kept = FILES;

	lay_out_as_set();
	for (int i = 0; i < SMALL; i++)
		kept += id_of(i) >= INT64_MAX / 3;
	CHECK(kept < SMALL - 50);
	/* Some builds of SQLite overwrite what is deleted, others leave it in pages that are free. */
	change_beside(path,
		"PRAGMA secure_delete=OFF;"
		"DELETE FROM images WHERE id < 9223372036854775807 / 3 AND flags & 2 = 0;"
		"DELETE FROM tally; INSERT INTO tally SELECT stratum, quality, count(*),"
		" sum(bytes), sum(flags & 1) FROM images GROUP BY stratum, quality");
	tear_as_it_is();
	CHECK_INT(salvage(LIMIT, NULL, false, &n), 0);
	CHECK_INT(n.expected, kept);
	CHECK_INT(n.from_index, kept);
	CHECK_INT(check_store(-1), kept);
}

/* The same when the last that was done is in the log still, and a first page with it that leads to the
 * damage. */
static void test_log(void)
{
	_cleanup_buf_ struct buf index = {0};
	struct salvage_report n;
	char name[128], log[140];
	sqlite3 *db = NULL;
	struct stat st;
	int status;
	pid_t pid;

	lay_out_as_set();
	pid = fork();
	if (pid == 0) {
		struct store *s = open_store();
		struct op *op = op_new(OP_TABLES);

		for (int i = 0; i < 9 * PAGE_BYTES; i++)
			buf_put_u8(&op->data, (uint8_t)i);
		op_free(apply_one(s, op));
		_exit(test_failures != 0); /* without closing */
	}
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
	snprintf(name, sizeof(name), "%s/index.db-wal", path);
	CHECK_INT(access(name, F_OK), 0);
	snprintf(name, sizeof(name), "%s/index.db", path);
	read_index(&index);
	db = open_beside(path, "BEGIN; SELECT count(*) FROM images");
	CHECK_INT(salvage(LIMIT, NULL, false, &n), -EBUSY);
	sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_close(db);
	snprintf(log, sizeof(log), "%s-wal", name);
	CHECK_INT(stat(log, &st), 0);
	CHECK(st.st_size > PAGE_BYTES);
	CHECK(tear(&index) > 0);
	write_file(name, index.data, index.len);
	CHECK_INT(salvage(LIMIT, NULL, false, &n), 0);
	CHECK_INT(n.from_index, IMAGES);
	CHECK_INT(check_store(0), IMAGES);
	snprintf(name, sizeof(name), "%s/models/tables-2", path);
	unlink(name);
}

/* Rows that can be read while what they need cannot. */
static void test_rows(void)
{
	struct salvage_report n;
	char name[128];

	lay_out_as_set();
	snprintf(name, sizeof(name), "%s/objects/%016llx-q50.jpg", path, (unsigned long long)id_of(SMALL));
	CHECK_INT(truncate(name, OBJECT / 2), 0);
	snprintf(name, sizeof(name), "%s/objects/%016llx-q50.jpg", path,
		(unsigned long long)id_of(SMALL + 1));
	CHECK_INT(unlink(name), 0);
	CHECK_INT(salvage(LIMIT, NULL, false, &n), 0);
	CHECK_INT(n.from_index, IMAGES - 2);
	CHECK_INT(n.damaged, 3); /* two rows, and the file that is cut off */
	CHECK_INT(check_store(2), IMAGES - 2);
}

/* Rows that say what cannot be are left out, whether the tree leads to them or not. */
static void test_untrue(void)
{
	static const char *const untrue[] = {"crc = crc + 1", "bytes = bytes + 1", "tables = 77",
		"quality = 0", "quality = 101", "width = 0", "height = 0", "bytes = 0", "hash = 'x'"};
	int n_untrue = (int)ARRAY_SIZE(untrue);
	struct salvage_report n;
	char sql[200];

	lay_out_as_set();
	for (int i = 0; i < n_untrue; i++) {
		snprintf(sql, sizeof(sql), "UPDATE images SET %s WHERE id = %lld", untrue[i],
			(long long)id_of(10 * i));
		change_beside(path, sql);
	}
	change_beside(path, "UPDATE tables SET crc = crc + 1"); /* it has a second copy */
	tear_as_it_is();
	CHECK_INT(salvage(LIMIT, NULL, false, &n), 0);
	CHECK_INT(n.from_index, IMAGES - n_untrue);
	CHECK_INT(check_store(n_untrue), IMAGES - n_untrue);
}

/* One flipped bit of a row, or of the sum of its bytes, is put right on the way. */
static void test_mended(void)
{
	struct store_view *v = NULL;
	struct salvage_report n;
	struct image_row was[2], now;
	char sql[200], error[256];

	lay_out_as_set();
	CHECK_INT(view_open(path, &v, error), 0);
	for (int i = 0; i < 2; i++)
		CHECK_INT(view_row(v, id_of(10 * i), &was[i]), 0);
	view_close(v);
	snprintf(sql, sizeof(sql), "UPDATE images SET width = (width | 64) - (width & 64) WHERE id = %lld",
		(long long)id_of(0));
	change_beside(path, sql);
	snprintf(sql, sizeof(sql), "UPDATE images SET crc = (crc | 64) - (crc & 64) WHERE id = %lld",
		(long long)id_of(10));
	change_beside(path, sql);
	CHECK_INT(salvage(LIMIT, NULL, false, &n), 0);
	CHECK_INT(n.from_index, IMAGES);
	CHECK_INT(check_store(0), IMAGES);
	CHECK_INT(view_open(path, &v, error), 0);
	for (int i = 0; i < 2; i++) {
		CHECK_INT(view_row(v, id_of(10 * i), &now), 0);
		CHECK(!memcmp(&now, &was[i], sizeof(now)));
	}
	view_close(v);
}

/* What would keep less than half of what there was needs force, and a file in the way is said. */
static void test_most(void)
{
	struct salvage_report n;
	char name[128];

	lay_out_as_set();
	change_beside(path, "DELETE FROM images WHERE id > 9223372036854775807 / 3");
	snprintf(name, sizeof(name), "%s/index.new", path);
	CHECK_INT(mkdir(name, 0755), 0);
	CHECK_INT(salvage(LIMIT, NULL, false, &n), -EISDIR);
	rmdir(name);
	CHECK_INT(salvage(LIMIT, NULL, false, &n), -EUCLEAN);
	CHECK(n.expected == IMAGES && 2 * (n.from_index + n.from_files) < IMAGES);
	CHECK_INT(salvage(LIMIT, NULL, true, &n), 0);
	CHECK_INT(check_store(-1), n.from_index + n.from_files);
}

/* Files without a row that are not whole go to quarantine. */
static void test_files(void)
{
	struct salvage_report n;
	char name[128], there[128];
	int fd;

	lay_out_as_set();
	snprintf(name, sizeof(name), "%s/objects/lost+found", path); /* a directory is left where it is */
	CHECK_INT(mkdir(name, 0755), 0);
	change_beside(path, "DELETE FROM images WHERE flags & 2");
	for (int i = 0; i < 3; i++) { /* a picture that is another, a tag that is none, another's name */
		snprintf(name, sizeof(name), "%s/objects/%016llx-q50.jpg", path,
			(unsigned long long)id_of(SMALL + i));
		if (i == 2) {
			snprintf(there, sizeof(there), "%s/objects/00000000000abcde-q50.jpg", path);
			CHECK_INT(rename(name, there), 0);
			continue;
		}
		fd = open(name, O_RDWR);
		CHECK_INT(pwrite(fd, "larder", 6, i ? OBJECT + 4 : 100), 6);
		close(fd);
	}
	CHECK_INT(salvage(LIMIT, NULL, false, &n), 0);
	CHECK_INT(n.from_index, SMALL);
	CHECK_INT(n.from_files, FILES - 3);
	CHECK_INT(n.damaged, 3);
	snprintf(name, sizeof(name), "%s/quarantine/00000000000abcde-q50.jpg", path);
	CHECK_INT(access(name, F_OK), 0);
	CHECK_INT(check_store(3), IMAGES - 3);
	unlink(there);
	snprintf(name, sizeof(name), "%s/objects/lost+found", path);
	CHECK_INT(rmdir(name), 0);
}

static void test_gone(void)
{
	struct salvage_report n;
	struct store *s;
	char error[256];

	lay_out(pristine.data, 0);
	CHECK_INT(store_open(path, LIMIT, &s, error), -EUCLEAN); /* no empty one is made beside them */
	CHECK_INT(salvage(LIMIT, NULL, false, &n), -EUCLEAN);
	CHECK(n.expected == -1 && n.from_files == FILES);
	CHECK_INT(salvage(LIMIT, NULL, true, &n), 0);
	CHECK_INT(check_store(0), FILES);

	lay_out(pristine.data, pristine.len * 3 / 5); /* a file system that lost its end */
	CHECK_INT(salvage(LIMIT, NULL, true, &n), 0);
	CHECK(n.from_index > IMAGES / 2);
	CHECK_INT(check_store(-1), n.from_index + n.from_files);
}

/* An index that was made with another directory is not this one's. */
static void test_foreign(void)
{
	struct salvage_report n;
	char name[128];

	lay_out_as_set();
	snprintf(name, sizeof(name), "%s/uuid", path);
	write_file(name, (const uint8_t *)"0123456789abcdef0123456789abcdef", 32);
	CHECK_INT(salvage(LIMIT, NULL, false, &n), -EUCLEAN);
	drop_uuid(); /* lost: it is had from the index */
	CHECK_INT(salvage(LIMIT, NULL, false, &n), 0);
	CHECK_INT(check_store(0), IMAGES);
	lay_out(pristine.data, 0);
	drop_uuid(); /* both lost: another one */
	CHECK_INT(salvage(LIMIT, NULL, true, &n), 0);
	CHECK_INT(check_store(-1), FILES);
}

/* No room for two: refused, done by way of another place, and taken up again half-way. */
static void test_scratch(void)
{
	struct salvage_report n;
	struct store *s;
	char error[256], name[128];
	int fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int store_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int64_t tight;

	lay_out_as_set();
	tight = io_tree_bytes(store_fd) + (int64_t)pristine.len / 2;
	close(store_fd);
	CHECK_INT(salvage(tight, NULL, false, &n), -ENOSPC);
	CHECK_INT(check_store(0), IMAGES);
	CHECK_INT(salvage(tight, scratch, false, &n), 0);
	CHECK_INT(check_store(0), IMAGES);
	CHECK_INT(faccessat(fd, "larder-index.new", F_OK, 0), -1);

	snprintf(name, sizeof(name), "%s/salvage", path);
	CHECK_INT(mknod(name, S_IFREG | 0600, 0), 0);
	CHECK_INT(store_open(path, LIMIT, &s, error), -EUCLEAN);
	unlink(name);
	CHECK_INT(store_salvage("/nowhere/at/all", LIMIT, NULL, false, &n, error), -ENOENT);
	s = open_store();
	CHECK_INT(salvage(LIMIT, NULL, false, &n), -EBUSY);
	store_close(s);
	close(fd);
}

enum fault { KILL, FAIL, READ, MEMORY };

static void arm(enum fault fault, long at, bool for_ever)
{
	static const enum disk_mode mode[] = {DISK_KILL, DISK_FAIL, DISK_FAIL_READS, DISK_COUNT};

	disk_error(at % 2 ? EIO : ENOSPC, for_ever);
	disk_arm(base, mode[fault], fault == MEMORY ? 0 : at);
	if (fault == MEMORY)
		disk_arm_memory(at, for_ever);
}

/*
 * Killed before each change under the store's directory, or with that call, or an allocation, failing; then
 * once more. What cannot be read for a moment may be given up for it, as a damaged page's images are;
 * nothing else may.
 */
static void interrupt(enum fault fault, const char *where, bool for_ever, int step)
{
	static const char *const names[] = {
		"changes, killed before each", "failing changes", "failing reads", "failing allocations"};
	int seen = test_failures, n_tries = 0;

	for (long at = 1; test_failures == seen; at += step, n_tries++) {
		struct salvage_report n;
		int status, there;
		pid_t pid;

		lay_out_as_set();
		fflush(NULL);
		pid = fork();
		if (pid == 0) {
			char error[256];
			int r, hit;

			arm(fault, at, for_ever);
			r = store_salvage(path, LIMIT, where, false, &n, error);
			hit = disk_was_hit();
			disk_off();
			exit(hit ? r < 0 ? 2 : 3 : 0); /* not _exit(): what it ran counts in the coverage */
		}
		waitpid(pid, &status, 0);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			break;
		CHECK(fault == KILL ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
				    : WIFEXITED(status) && WEXITSTATUS(status) >= 2);
		CHECK_INT(salvage(LIMIT, where, false, &n), 0);
		there = check_store(fault == READ ? -1 : 0);
		CHECK(there == IMAGES ||
			(fault == READ && WEXITSTATUS(status) == 3 && there >= IMAGES / 2));
		if (test_failures > seen)
			fprintf(stderr, "... at %ld: %d of %d, ended with %d\n", at, there, IMAGES,
				WEXITSTATUS(status));
	}
	CHECK(n_tries > 15);
	printf("%d %s%s%s\n", n_tries, names[fault], for_ever ? ", all from then on" : "",
		where ? ", by way of another place" : "");
}

/* Each of them without sanitizers, under which each try takes ten times as long. */
#define EACH (SANITIZED ? 4 : 1)

static void test_kill(void)
{
	interrupt(KILL, NULL, false, EACH);
	interrupt(KILL, scratch, false, EACH);
	without_uuid = true;
	interrupt(KILL, NULL, false, EACH);
	without_uuid = false;
}

static void test_errors(void)
{
	for (int for_ever = 0; for_ever < 2; for_ever++) {
		interrupt(FAIL, NULL, for_ever, EACH);
		interrupt(FAIL, scratch, for_ever, EACH);
		interrupt(READ, NULL, for_ever, 3);
		if (!SANITIZED)
			interrupt(MEMORY, NULL, for_ever, for_ever ? 41 : 11);
	}
	torn = true;
	for (int for_ever = 0; for_ever < (SANITIZED ? 1 : 2); for_ever++) { /* which is slow */
		interrupt(FAIL, NULL, for_ever, SANITIZED ? 10 : 5);
		interrupt(READ, NULL, for_ever, SANITIZED ? 22 : 11);
		if (!SANITIZED)
			interrupt(MEMORY, NULL, for_ever, for_ever ? 1009 : 211);
	}
	torn = false;
}

/* A tag is found whole or not at all, and never mistaken for a picture's end. */
static void test_tag(void)
{
	_cleanup_buf_ struct buf b = {0};
	struct image_row row = {
		.id = 5, .hash = UINT64_MAX, .rank = -1, .step = -1, .n_harm = RUNGS_MAX, .model = 1};
	char label[LABEL_MAX + 1];
	struct tag tag;
	size_t whole;

	memset(label, 'l', LABEL_MAX);
	label[LABEL_MAX] = '\0';
	memset(row.name, 'n', NAME_KEPT_MAX);
	buf_put(&b, "picture", 7);
	tag_put(&b, &row, label);
	whole = b.len;
	CHECK(whole <= 7 + TAG_MAX);
	CHECK_INT(tag_read(b.data, whole, &tag), 7);
	CHECK(tag.row.id == 5 && tag.row.hash == UINT64_MAX && tag.row.step == -1 &&
		tag.row.n_harm == RUNGS_MAX);
	CHECK_STR(tag.label, label);
	CHECK_STR(tag.row.name, row.name);
	CHECK(tag.picture_crc == crc32c(0, b.data, 7));
	for (size_t i = 0; i < whole; i++)
		CHECK_INT(tag_read(b.data, i, NULL), i);
	for (size_t bit = 7 * 8; bit < whole * 8; bit++) {
		bool foot = bit / 8 >= whole - 12 && bit / 8 < whole - 8; /* the picture's own checksum */

		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK_INT(tag_read(b.data, whole, NULL), foot ? 7 : whole);
		b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* A tag as anybody may write it, its checksum right: a byte of its body set, cut off or one too many. */
static size_t read_forged(const struct buf *tagged, size_t at, int byte, int longer)
{
	static const size_t foot = 20;
	_cleanup_buf_ struct buf b = {0};
	size_t body = tagged->len - foot + (size_t)longer;

	buf_put(&b, tagged->data, MIN(body, tagged->len - foot));
	if (longer > 0)
		buf_put_u8(&b, 0);
	b.data[at] = (uint8_t)byte;
	buf_put_u32(&b, (uint32_t)body);
	buf_put_u32(&b, crc32c(0, b.data, body));
	buf_put(&b, tagged->data + tagged->len - foot + 8, foot - 8);
	return b.len - tag_read(b.data, b.len, NULL);
}

/* What is no tag of ours is a picture's own end, whatever it is called and however well it sums up. */
static void test_forged_tag(void)
{
	enum {
		ID_HIGH = 8,
		LABEL = 18,
		HARM = LABEL + 4 + LABEL_MAX + 40,
		NAME = HARM + 4 + RUNGS_MAX,
	};
	_cleanup_buf_ struct buf b = {0};
	struct image_row row = {.id = 5, .n_harm = RUNGS_MAX};
	char label[LABEL_MAX + 1];

	memset(label, 'l', LABEL_MAX);
	label[LABEL_MAX] = '\0';
	memset(row.name, 'n', NAME_KEPT_MAX);
	tag_put(&b, &row, label);
	CHECK(b.data[LABEL] == LABEL_MAX && b.data[HARM] == RUNGS_MAX && b.data[NAME] == NAME_KEPT_MAX);
	CHECK_INT(read_forged(&b, 0, b.data[0], 0), b.len);
	CHECK_INT(read_forged(&b, 0, b.data[0] + 1, 0), 0); /* of another version */
	CHECK_INT(read_forged(&b, ID_HIGH, 0x80, 0), 0);    /* an id below zero */
	CHECK_INT(read_forged(&b, HARM, RUNGS_MAX + 1, 0), 0);
	CHECK_INT(read_forged(&b, NAME, NAME_KEPT_MAX + 1, 1), 0);
	for (int n = 1; n < 256; n++) { /* more than there is */
		CHECK_INT(read_forged(&b, LABEL + 1, n, 0), 0);
		CHECK_INT(read_forged(&b, HARM + 1, n, 0), 0);
		CHECK_INT(read_forged(&b, NAME + 1, n, 0), 0);
	}
	CHECK_INT(read_forged(&b, 0, b.data[0], 1), 0);
	for (int less = 1; less < (int)b.len - 21; less++)
		CHECK_INT(read_forged(&b, 0, b.data[0], -less), 0);
}

int main(void)
{
	void (*const tests[])(void) = {test_tag, test_forged_tag, test_whole, test_pages, test_strays, test_log,
		test_rows, test_untrue, test_mended, test_most, test_files, test_gone, test_scratch, test_kill,
		test_errors, test_foreign};
	char name[128];
	int fd;

	base = mkdtemp(shm) ? shm : mkdtemp(slow);
	if (!base)
		return 1;
	snprintf(path, sizeof(path), "%s/store", base);
	snprintf(scratch, sizeof(scratch), "%s/scratch", base);
	mkdir(scratch, 0755);
	fill_store();
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || io_read_file(fd, "index.db", SIZE_MAX / 8, &pristine) < 0)
		return 1;
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "objects/%016llx-q50.jpg",
			(unsigned long long)id_of(SMALL + i));
		if (io_read_file(fd, name, SIZE_MAX / 8, &objects[i]) < 0)
			return 1;
	}
	close(fd);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tests[i]();
	remove_tree(base);
	buf_done(&pristine);
	for (int i = 0; i < FILES; i++)
		buf_done(&objects[i]);
	printf("%d checks, %d failed\n", test_checks, test_failures);
	return test_failures || !test_checks;
}
