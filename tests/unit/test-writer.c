/* The writer on a disk that fails: what it does not get done it does later, by itself. */
#include "daemon/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/io.h"
#include "tests/unit/disk.h"
#include "tests/unit/loop.h"
#include "tests/unit/test.h"
#include "tests/unit/tree.h"

#define MIB (INT64_C(1) << 20)

static char root[] = "/tmp/larder-writer-XXXXXX";
static int done, failing;
static int64_t lacking; /* what a batch, or relief that did not fit, did */
static int lacked, went;
static bool lacked_hard;

static void on_done(void *user, struct op *op)
{
	(void)user;
	done++;
	went += op->result == 0;
	op_free(op);
}

static void on_full(void *user, int64_t need, bool hard)
{
	(void)user;
	lacked_hard = hard;
	lacking = need;
	lacked++;
}

static void on_changed(void *user, const struct tally_list *change)
{
	(void)user;
	(void)change;
}

static void on_failing(void *user, int error, const char *text)
{
	(void)user;
	CHECK(error < 0 && text[0]);
	failing++;
	disk_off(); /* the cause goes; nobody restarts anything */
}

static bool count_taken(void *user, int64_t taken_id, const struct taken_file *f, int64_t id, const char *reason)
{
	(void)taken_id;
	(void)f;
	(void)id;
	(void)reason;
	++*(int *)user;
	return true;
}

static int taken(const char *store)
{
	struct store_view *v = NULL;
	char error[256];
	int n = 0;

	CHECK_INT(view_open(store, &v, error), 0);
	view_taken(v, count_taken, &n);
	view_close(v);
	return n;
}

static struct op *dropped(int spool, const char *name)
{
	struct op *op = op_new(OP_COUNT);
	struct stat st;

	CHECK_INT(io_write_durable(spool, name, "x", 1), 0);
	CHECK_INT(fstatat(spool, name, &st, 0), 0);
	snprintf(op->file.path, sizeof(op->file.path), "%s", name);
	op->file.dev = st.st_dev;
	op->file.ino = st.st_ino;
	op->file.size = st.st_size;
	op->file.mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	op->counter = COUNT_DROPPED;
	op->done = on_done;
	return op;
}

static void run_until(uv_loop_t *loop, const int *what, int value)
{
	for (int i = 0; i < 5000 && *what < value; i++) {
		uv_run(loop, UV_RUN_NOWAIT);
		usleep(1000);
	}
	CHECK_INT(*what, value);
}

static int in_spool(const void *spool, const char *path, const char **ret_below)
{
	*ret_below = path;
	return *(const int *)spool;
}

static bool there(int spool, const char *name)
{
	return faccessat(spool, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Work in pieces, each of which asks for the next, as that of a vacuum. */
struct pieces {
	struct task task;
	struct writer *w;
	int ran;             /* the writer's thread's */
	int left, left_then; /* the loop's; left_then: when the op between them was done */
};

static void run_piece(struct store *store, struct task *task)
{
	(void)store;
	((struct pieces *)task)->ran++;
}

static void piece_done(struct task *task)
{
	struct pieces *p = (struct pieces *)task;

	p->left--;
	if (p->left)
		writer_task(p->w, task);
}

static void on_done_between(void *user, struct op *op)
{
	struct pieces *p = user;

	p->left_then = p->left;
	on_done(NULL, op);
}

static struct op *row(int64_t id, size_t bytes)
{
	struct op *op = op_new(OP_INSERT);

	op->row.id = id;
	op->row.hash = (uint64_t)id << 16;
	op->row.quality = 50;
	memset(buf_reserve(&op->data, bytes), 1, bytes);
	op->data.len = bytes;
	op->done = on_done;
	return op;
}

int main(void)
{
	static const int64_t wanted[] = {8192, 8192, 8192, 16384, 32768, 65536};
	struct limits limits = {8 * MIB, 0, MIB};
	const struct writer_events events = {on_full, on_changed, on_failing, NULL};
	char store_path[80], spool_path[80], error[256];
	struct pieces pieces = {.task = {.run = run_piece, .done = piece_done}, .left = 100};
	struct store *s = NULL;
	uv_loop_t loop;
	struct writer *w;
	struct op *op;
	int spool;

	if (!mkdtemp(root))
		return 1;
	snprintf(store_path, sizeof(store_path), "%s/store", root);
	snprintf(spool_path, sizeof(spool_path), "%s/spool", root);
	mkdir(store_path, 0755);
	mkdir(spool_path, 0755);
	spool = open(spool_path, O_RDONLY | O_DIRECTORY);
	CHECK_INT(store_open(store_path, 8 * MIB, &s, error), 0);
	uv_loop_init(&loop);
	w = writer_new(&loop, s, &events);
	writer_set_limits(w, &limits);
	writer_set_spools(w, in_spool, &spool);

	/* A spool that has become read-only: counted once, the file known not to be gone. */
	op = dropped(spool, "a.png");
	disk_error(EROFS, true);
	disk_arm(spool_path, DISK_FAIL, 1);
	writer_add(w, op);
	run_until(&loop, &done, 1);
	CHECK(there(spool, "a.png"));
	CHECK_INT(taken(store_path), 1);
	CHECK_INT(writer_unsettled(w), 1);
	/* Tried again, in vain; then the spool can be written to again. */
	writer_kick(w);
	for (int i = 0; i < 200; i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		usleep(1000);
	}
	CHECK(there(spool, "a.png"));
	CHECK_INT(taken(store_path), 1);
	disk_off();
	writer_kick(w);
	for (int i = 0; i < 2000 && (there(spool, "a.png") || taken(store_path)); i++) {
		uv_run(&loop, UV_RUN_NOWAIT);
		usleep(1000);
	}
	CHECK(!there(spool, "a.png"));
	CHECK_INT(taken(store_path), 0);
	CHECK_INT(writer_unsettled(w), 0);

	/* A store that cannot be written to: said, and the batch goes again by itself. */
	op = dropped(spool, "b.png");
	disk_error(EIO, true);
	disk_arm(store_path, DISK_FAIL, 1);
	writer_add(w, op);
	run_until(&loop, &done, 2);
	CHECK_INT(failing, 1);
	CHECK(!there(spool, "b.png"));

	/* A capture does not wait for the end of work in pieces. */
	pieces.w = w;
	writer_task(w, &pieces.task);
	op = dropped(spool, "c.png");
	op->user = &pieces;
	op->done = on_done_between;
	writer_add(w, op);
	run_until(&loop, &done, 3);
	CHECK(pieces.left_then > 90);
	for (int i = 0; i < 5000 && pieces.left; i++)
		uv_run(&loop, UV_RUN_ONCE);
	CHECK_INT(pieces.left, 0);
	CHECK_INT(pieces.ran, 100);

	/* Relief that does not fit goes in pieces, and what does not fit even by itself is given back. */
	limits.total = MIB;
	for (int id = 1; id <= 3; id++) { /* the log becomes shorter on the way */
		writer_set_limits(w, &limits);
		writer_add(w, row(id, 100));
		run_until(&loop, &done, 3 + id);
		limits.total = writer_usage(w)->total + 20000;
	}
	writer_set_limits(w, &limits);
	op = row(4, 9000);
	op->next = row(5, 24000);
	op->next->next = row(6, 300);
	went = 0;
	writer_relief(w, op);
	run_until(&loop, &done, 9);
	CHECK_INT(lacking, 24000);
	CHECK(lacked == 1 && lacked_hard && went == 2);

	/* Pages are asked for, and more and more of them while those that become free are of no use. */
	lacked = 0;
	limits.total = writer_usage(w)->total;
	writer_set_limits(w, &limits);
	writer_add(w, row(7, 6000));
	for (int i = 0; i < (int)ARRAY_SIZE(wanted); i++) {
		run_until(&loop, &lacked, i + 1);
		CHECK(!lacked_hard && writer_waiting_for_room(w));
		CHECK_INT(lacking, wanted[i]);
		op = op_new(OP_COUNT);
		op->done = on_done;
		if (i == (int)ARRAY_SIZE(wanted) - 1)
			limits.total += MIB;
		writer_set_limits(w, &limits);
		writer_relief(w, op);
	}
	run_until(&loop, &done, 10 + (int)ARRAY_SIZE(wanted));
	CHECK(!writer_waiting_for_room(w));
	limits.total = writer_usage(w)->total;
	writer_set_limits(w, &limits);
	writer_add(w, row(8, 6000));
	run_until(&loop, &lacked, (int)ARRAY_SIZE(wanted) + 1);
	CHECK_INT(lacking, wanted[0]);

	close_loop(&loop);
	writer_free(w);
	close(spool);
	store_close(s);
	remove_tree(root);
	printf("%d checks, %d failed\n", test_checks, test_failures);
	return test_failures || !test_checks;
}
