/* What becomes of spool files that have been dealt with, and of files that are set aside. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/beside.h"
#include "tests/unit/own_store.h"

/* Whether it was mended instead. */
static bool set_aside(struct store *s, int64_t id)
{
	struct op *op = op_new(OP_SET_ASIDE);
	bool mended;

	op->row.id = id;
	op->was_quality = 50;
	CHECK_INT(apply(s, op, false), 0);
	CHECK_INT(op->result, 0);
	mended = op->mended;
	op_free(op);
	return mended;
}

/* Of the file of an image of 80,000 bytes. */
static void flip_bits(int64_t id, uint8_t bits)
{
	char name[128];
	uint8_t byte;
	int fd;

	snprintf(name, sizeof(name), "%s/objects/%016llx-q50.jpg", path, (long long)id);
	fd = open(name, O_RDWR);
	CHECK_INT(pread(fd, &byte, 1, 40000), 1);
	byte ^= bits;
	CHECK_INT(pwrite(fd, &byte, 1, 40000), 1);
	close(fd);
}

/* What is set aside twice under one name takes the room of one. */
static void test_aside_twice(void)
{
	struct store *s = open_store(8 * MIB);
	struct usage use, counted;
	static char data[50000];

	for (int i = 0; i < 3; i++) {
		struct op *op = insert(1, 80000, 2, 1);

		op->row.flags = IMAGE_FILE;
		CHECK_INT(apply_free(s, op), 0);
		flip_bits(1, 3);
		CHECK(!set_aside(s, 1));
		CHECK_INT(store_write_model(s, "model-000007.safetensors", data, sizeof(data)), 0);
		CHECK_INT(store_set_model_aside(s, "model-000007.safetensors"), 0);
	}
	store_usage(s, &use);
	store_close(s);
	s = open_store(8 * MIB);
	store_usage(s, &counted);
	CHECK_INT(use.quarantine, counted.quarantine);
	CHECK_INT(use.models, counted.models);
	CHECK_INT(use.objects, counted.objects);
	store_close(s);
}

/* One flipped bit, of the bytes or of their checksum, is put right; of two the image is set aside. */
static void test_mend(void)
{
	struct store *s = open_store(8 * MIB);
	struct op *op = insert(1, 80000, 2, 1);

	op->row.flags = IMAGE_FILE;
	CHECK_INT(apply_free(s, op), 0);
	op = insert(2, 0, 2, 1);
	buf_put(&op->data, "what flips is its k and that alone", 34);
	CHECK_INT(apply_free(s, op), 0);
	flip_bits(1, 8);
	change_beside(path, "UPDATE images SET data = CAST(replace(CAST(data AS TEXT), 'k', 'j') AS BLOB) WHERE id = 2");
	verify(2);
	CHECK(set_aside(s, 1));
	CHECK(set_aside(s, 2));
	CHECK_INT(verify(0), 2);
	change_beside(path, "UPDATE images SET crc = (crc | 64) - (crc & 64)");
	verify(2);
	CHECK(set_aside(s, 1));
	CHECK(set_aside(s, 2));
	CHECK_INT(verify(0), 2);
	CHECK(set_aside(s, 1)); /* there is nothing wrong with it */
	flip_bits(1, 0x88);
	change_beside(path, "UPDATE images SET data = CAST(replace(CAST(data AS TEXT), 'k', 'h') AS BLOB) WHERE id = 2");
	CHECK(!set_aside(s, 1));
	CHECK(!set_aside(s, 2));
	store_close(s);
	CHECK_INT(verify(0), 0);
}

/* The file of an image that is set aside goes to quarantine where there is room for it, else it goes. */
static void test_set_aside(void)
{
	struct limits limits = {8 * MIB, 0, MIB};
	struct store *s = open_store(8 * MIB);
	struct usage before, after;
	char name[128];

	store_usage(s, &before);
	for (int i = 1; i <= 3; i++) {
		struct op *op = insert(i, 80000, 2, 1);

		op->row.flags = IMAGE_FILE;
		CHECK_INT(apply_free(s, op), 0);
	}
	for (int i = 1; i <= 3; i++)
		flip_bits(i, 3);
	set_aside(s, 1);
	snprintf(name, sizeof(name), "%s/quarantine/0000000000000001-q50.jpg", path);
	CHECK_INT(access(name, F_OK), 0);
	snprintf(name, sizeof(name), "%s/quarantine/0000000000000002-q50.jpg", path);
	CHECK_INT(mkdir(name, 0755), 0); /* it cannot take its place there */
	set_aside(s, 2);
	rmdir(name);
	limits.quarantine = 65536;
	store_set_limits(s, &limits);
	snprintf(name, sizeof(name), "%s/quarantine/0000000000000001-q50.jpg", path);
	CHECK_INT(unlink(name), 0);
	set_aside(s, 3);
	snprintf(name, sizeof(name), "%s/quarantine/0000000000000003-q50.jpg", path);
	CHECK_INT(access(name, F_OK), -1);
	store_usage(s, &after);
	CHECK_INT(after.objects, before.objects);
	store_close(s);
	CHECK_INT(verify(0), 0);
}

static struct image_row row_now(int64_t id)
{
	struct store_view *v = NULL;
	struct image_row row = {0};
	char error[256];

	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(view_row(v, id, &row), 0);
	view_close(v);
	return row;
}

/* An image with something in each column, small or with a file of its own. */
static void insert_full(struct store *s, int64_t id, bool file)
{
	struct op *op = insert(id, file ? 80000 : 300, 5, 700);

	op->row.flags = IMAGE_SCORED | (file ? IMAGE_FILE : 0);
	op->row.width = 200;
	op->row.height = 130;
	op->row.taken_s = INT64_C(1700000000);
	op->row.model = 3;
	op->row.n_harm = 9;
	for (int i = 0; i < 9; i++)
		op->row.harm[i] = (uint8_t)(20 * i);
	CHECK_INT(apply_free(s, op), 0);
}

static void notice(void *user, const char *line)
{
	*(bool *)user |= strstr(line, "its row is not as it was written") != NULL;
}

/* Whether a check finds that a row is damaged. */
static bool finds_it(void)
{
	struct store_view *v = NULL;
	struct verify_report report;
	char error[256];
	bool found = false;
	const struct verify_events events = {.finding = notice, .user = &found};

	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(view_verify(v, &events, &report), 0);
	view_close(v);
	return found;
}

/* A flipped bit of a column is found and put right, and no file goes for it, not even at the next start. */
static void flip_and_mend(int64_t id, const char *column, int bit)
{
	const struct image_row was = row_now(id);
	struct op *op = op_new(OP_SET_ASIDE);
	struct image_row now;
	struct store *s;
	char sql[200];

	snprintf(sql, sizeof(sql), "UPDATE images SET %s = (%s | %lld) - (%s & %lld) WHERE id = %lld", column,
		column, 1LL << bit, column, 1LL << bit, (long long)id);
	change_beside(path, sql);
	CHECK(finds_it());
	s = open_store(8 * MIB);
	op->row.id = id;
	CHECK_INT(apply(s, op, false), 0);
	CHECK(op->mended && !op->doubtful);
	op_free(op);
	store_close(s);
	now = row_now(id);
	CHECK(was.sum && !memcmp(&was, &now, sizeof(was)));
}

static void test_row(void)
{
	static const char *const column[] = {"hash", "stratum", "rank", "step", "step_to", "quality", "tables",
		"layout", "width", "height", "orientation", "flags", "taken_s", "bytes", "model"};
	const struct timespec long_ago[2] = {0};
	struct store *s = open_store(8 * MIB);
	struct op *op;
	char file[128];

	insert_full(s, 1, false);
	insert_full(s, 2, true);
	store_close(s);
	snprintf(file, sizeof(file), "%s/objects/0000000000000002-q50.jpg", path);
	CHECK_INT(utimensat(AT_FDCWD, file, long_ago, 0), 0); /* else a check waits for its row's commit */
	for (size_t i = 0; i < ARRAY_SIZE(column); i++)
		for (int bit = 0; bit < 7; bit++)
			flip_and_mend(1 + (bit + (int)i) % 2, column[i], bit);
	flip_and_mend(2, "quality", 4);
	flip_and_mend(2, "flags", 1);
	flip_and_mend(1, "crc", 35); /* of the sum itself */
	/* What one bit does not explain is kept as it is, for the picture is whole. */
	change_beside(path, "UPDATE images SET taken_s = 12345, name = x'41414141' WHERE id = 1");
	CHECK(finds_it());
	/* And stays known when it is changed in other ways. */
	s = open_store(8 * MIB);
	op = op_new(OP_PIN);
	op->row.id = 1;
	op->row.flags = IMAGE_PINNED;
	CHECK_INT(apply_free(s, op), 0);
	CHECK(finds_it());
	op = op_new(OP_SET_ASIDE);
	op->row.id = 1;
	CHECK_INT(apply(s, op, false), 0);
	CHECK(op->mended && op->doubtful);
	op_free(op);
	store_close(s);
	CHECK_INT(row_now(1).taken_s, 12345);
	CHECK_INT(verify(0), 2);
}

static struct taken_file taken(int dir, const char *name)
{
	struct taken_file f;
	struct stat st;

	CHECK_INT(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	f = (struct taken_file){.dev = st.st_dev,
		.ino = st.st_ino,
		.size = st.st_size,
		.mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec};
	snprintf(f.path, sizeof(f.path), "%s", name);
	return f;
}

/* What cannot be settled is said, and stays where it is; from another file system it is carried over. */
static void test_unsettled(void)
{
	struct store *s = open_store(8 * MIB);
	char spool[] = "/dev/shm/larder-spool-XXXXXX", long_name[300], name[400], error[256];
	struct taken_file f, other;
	struct stat here, there;
	int fd;

	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = 0;
	if (!mkdtemp(spool)) {
		printf("passed over: no /dev/shm to write to\n");
		store_close(s);
		return;
	}
	fd = open(spool, O_RDONLY | O_DIRECTORY);
	CHECK_INT(io_write_durable(fd, "a.jpg", "abc", 3), 0);
	f = taken(fd, "a.jpg");
	for (int i = 0; i < 3; i++) { /* another file by that name */
		other = f;
		other.dev += i == 0;
		other.ino += i == 1;
		other.size += i == 2;
		CHECK_INT(store_settle(s, fd, "a.jpg", &other, 1, NULL), 0);
		CHECK_INT(faccessat(fd, "a.jpg", F_OK, 0), 0);
	}
	CHECK_INT(store_settle(s, fd, long_name, &f, 1, NULL), -ENAMETOOLONG);
	snprintf(name, sizeof(name), "%s/a.jpg", long_name);
	CHECK_INT(store_settle(s, fd, name, &f, 1, NULL), -ENAMETOOLONG);
	CHECK_INT(mkdirat(fd, "dir", 0755), 0);
	other = taken(fd, "dir");
	CHECK_INT(store_settle(s, fd, "dir", &other, 1, NULL), -EISDIR);
	CHECK_INT(store_settle(s, fd, "a.jpg", &f, 1, "no picture"), 0);
	CHECK_INT(faccessat(fd, "a.jpg", F_OK, 0), -1);
	snprintf(name, sizeof(name), "%s/quarantine/0000000000000001-a.jpg", path);
	CHECK_INT(stat(name, &here), 0);
	CHECK_INT(here.st_size, 3);
	CHECK_INT(mknodat(fd, "pipe", S_IFIFO | 0600, 0), 0);
	other = taken(fd, "pipe");
	fstat(fd, &there);
	CHECK_INT(store_settle(s, fd, "pipe", &other, 2, "no file"), 0);
	CHECK_INT(faccessat(fd, "pipe", F_OK, 0), -1);
	snprintf(name, sizeof(name), "%s/quarantine/0000000000000002-pipe", path);
	CHECK_INT(access(name, F_OK), here.st_dev == there.st_dev ? 0 : -1);
	unlinkat(fd, "dir", AT_REMOVEDIR);
	close(fd);
	rmdir(spool);
	store_close(s);
	CHECK_INT(store_open("/dev/null", 8 * MIB, &s, error), -ENOTDIR);
}

/* Settling: only the very file that was taken goes; quarantine keeps to its limit. */
static void test_settle(void)
{
	struct store *s = open_store(8 * MIB);
	char spool[96], name[160], blocked[160];
	struct usage usage, again;
	struct taken_file f;
	int fd;

	snprintf(spool, sizeof(spool), "%s/../spool-%d", path, getpid());
	mkdir(spool, 0755);
	fd = open(spool, O_RDONLY | O_DIRECTORY);
	snprintf(name, sizeof(name), "%s/quarantine/.kept", path);
	CHECK_INT(mknod(name, S_IFREG | 0600, 0), 0);
	snprintf(blocked, sizeof(blocked), "%s/quarantine/lost+found", path);
	CHECK_INT(mkdir(blocked, 0755), 0); /* nor is a directory, though it is the oldest */
	for (int i = 0; i < 60; i++) {
		static char content[60000];
		struct op *op = op_new(OP_QUARANTINE);
		char bad[32];

		snprintf(bad, sizeof(bad), "bad\n%d.jpg", i);
		CHECK_INT(io_write_durable(fd, bad, content, sizeof(content)), 0);
		f = taken(fd, bad);
		op->file = f;
		op->row.id = i;
		snprintf(op->text, sizeof(op->text), "no picture");
		CHECK_INT(apply_free(s, op), 0);
		f.mtime_ns++;
		CHECK_INT(store_settle(s, fd, f.path, &f, i, "no picture"), 0);
		CHECK_INT(faccessat(fd, f.path, F_OK, 0), 0); /* replaced meanwhile: it stays */
		f.mtime_ns--;
		CHECK_INT(store_settle(s, fd, f.path, &f, i, "no picture"), 0);
		CHECK_INT(faccessat(fd, f.path, F_OK, 0), -1);
		store_usage(s, &usage);
		CHECK(usage.quarantine <= MIB);
	}
	CHECK(usage.quarantine > MIB / 2);
	CHECK_INT(access(name, F_OK), 0); /* what begins with a dot is not the quarantine's to remove */
	/* A move that fails again and again is not counted again and again. */
	CHECK_INT(io_write_durable(fd, "stuck", "x", 1), 0);
	f = taken(fd, "stuck");
	snprintf(blocked, sizeof(blocked), "%s/quarantine/0000000000000063-stuck", path);
	CHECK_INT(mkdir(blocked, 0755), 0);
	CHECK_INT(store_settle(s, fd, "stuck", &f, 0x63, "no picture"), -EISDIR);
	store_usage(s, &usage);
	for (int i = 0; i < 9; i++)
		CHECK_INT(store_settle(s, fd, "stuck", &f, 0x63, "no picture"), -EISDIR);
	store_usage(s, &again);
	CHECK_INT(again.quarantine, usage.quarantine);
	rmdir(blocked);
	CHECK_INT(store_settle(s, fd, "stuck", &f, 0x63, "no picture"), 0);
	/* What is not there any more, or only by way of a link, is settled. */
	CHECK_INT(store_settle(s, fd, "nowhere/x.jpg", &f, 1, NULL), 0);
	CHECK_INT(store_settle(s, fd, "x.jpg", &f, 1, NULL), 0);
	CHECK_INT(mknodat(fd, "plain", S_IFREG | 0600, 0), 0);
	CHECK_INT(store_settle(s, fd, "plain/x.jpg", &f, 1, NULL), 0);
	CHECK_INT(symlinkat("/", fd, "link"), 0);
	CHECK_INT(store_settle(s, fd, "link/tmp", &f, 1, NULL), 0);
	CHECK_INT(unlinkat(fd, "plain", 0), 0);
	CHECK_INT(unlinkat(fd, "link", 0), 0);
	close(fd);
	rmdir(spool);
	store_close(s);
}

OWN_STORE_MAIN(test_settle, test_unsettled, test_set_aside, test_aside_twice, test_mend,
	test_row)
