/*
 * The store's whole life on a disk that fails (tests/unit/disk.h): killed at every change, with
 * power lost after every change, and with every call and allocation failing in turn. After each a
 * capture is in the spool, whole, or its fate is known; what was promised is there; the store
 * opens, verifies and takes the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/io.h"
#include "common/macros.h"
#include "daemon/store.h"
#include "tests/unit/disk.h"
#include "tests/unit/test.h"
#include "tests/unit/tree.h"

#define MIB	 (INT64_C(1) << 20)
#define MAX_USE	 (4 * MIB)
#define CAPTURES 12
#define OBJECT	 66000
#define MODEL	 20000

static char base[] = "/tmp/larder-crash-XXXXXX", shm[] = "/dev/shm/larder-crash-XXXXXX";
static char *root; /* of the two, the one in memory where there is one */
static char world[64], after[64];

/* What becomes of a capture in the end. */
enum fate { STORED, OBJECTED, DUPLICATED, QUARANTINED, DROPPED, REMOVED };

static const enum fate fates[CAPTURES] = {STORED, STORED, OBJECTED, OBJECTED, REMOVED, STORED, DUPLICATED,
	QUARANTINED, DROPPED, OBJECTED, REMOVED, STORED};

/* The moments that are noted: capture i's fate is committed at i; then these. */
enum note { NOTE_OPEN = 100, NOTE_MODEL, NOTE_CHECKPOINT, NOTE_REMOVED, NOTE_END };

static struct life {
	struct store *store;
	int spool;
	int64_t settled[CAPTURES];
	int n_settled;
	bool unsaid;	/* one of them without a word of why */
} life;

static int *noted; /* the last moment, known beyond a killed process */

static void note(int what)
{
	*noted = what;
	disk_note(what);
}

static void fresh(const char *dir)
{
	remove_tree(dir);
	if (mkdir(dir, 0755) < 0)
		abort();
}

static uint8_t byte_of(int capture, int i)
{
	return (uint8_t)(capture * 31 + i * 7 + (i >> 8));
}

static void fill(struct buf *b, int capture, int n)
{
	for (int i = 0; i < n; i++)
		buf_put_u8(b, byte_of(capture, i));
}

/* A duplicate has the content of the first. */
static int64_t id_of(int capture)
{
	return 1000 + (fates[capture] == DUPLICATED ? 0 : capture);
}

static void name_of(int capture, char ret[16])
{
	snprintf(ret, 16, "c%d.png", capture);
}

/* Puts the captures where a camera would, and syncs as it might. */
static void feed(int spool)
{
	for (int i = 0; i < CAPTURES; i++) {
		_cleanup_buf_ struct buf b = {0};
		char name[16];

		fill(&b, i, 500 + i);
		name_of(i, name);
		if (io_write_durable(spool, name, b.data, b.len) < 0)
			abort();
	}
}

static bool look_at(int spool, int capture, struct taken_file *ret)
{
	struct stat st;

	*ret = (struct taken_file){0};
	name_of(capture, ret->path);
	if (fstatat(spool, ret->path, &st, 0) < 0)
		return false;
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	ret->size = st.st_size;
	ret->mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	return true;
}

static struct op *op_for(int capture, const struct taken_file *file)
{
	enum fate f = fates[capture];
	struct op *op = op_new(f == QUARANTINED ? OP_QUARANTINE : f == DROPPED ? OP_COUNT : OP_INSERT);

	op->file = *file;
	op->row.id = id_of(capture);
	op->row.hash = (uint64_t)op->row.id * 3;
	if (f == QUARANTINED)
		snprintf(op->text, sizeof(op->text), "no picture");
	op->counter = COUNT_DROPPED;
	if (op->kind != OP_INSERT)
		return op;
	op->row.stratum = 2;
	op->row.rank = capture;
	op->row.step = 100 - capture;
	op->row.step_to = 20;
	op->row.quality = 50;
	op->row.width = op->row.height = 32;
	op->row.orientation = 1;
	op->row.layout = 0x22;
	op->row.flags = f == OBJECTED ? IMAGE_FILE : 0;
	fill(&op->data, capture, f == OBJECTED ? OBJECT : 700);
	return op;
}

static struct op *op_on(enum op_kind kind, int capture)
{
	struct op *op = op_new(kind);

	op->row.id = id_of(capture);
	return op;
}

/* The same image in fewer bytes, in the index or beside it. */
static struct op *step_of(int capture, int quality, int bytes, bool file)
{
	struct op *op = op_on(OP_STEP, capture);

	op->row.quality = (uint8_t)quality;
	op->row.width = op->row.height = 32;
	op->row.orientation = 1;
	op->row.layout = 0x22;
	op->row.flags = file ? IMAGE_FILE : 0;
	fill(&op->data, capture, bytes);
	return op;
}

/* An injected fault has been reported: it must have said something, and it goes. */
static void failed(const char *said)
{
	life.unsaid = life.unsaid || !said[0];
	disk_off();
}

static int try_apply(struct op *ops, bool relief)
{
	struct tally_list change = {0};
	int r = store_apply(life.store, ops, relief, &change);

	tally_done(&change);
	return r;
}

/* As the writer does: a batch that fails stays and goes again; what is committed is settled. */
static void commit(struct op *ops, bool relief, int moment)
{
	int r = try_apply(ops, relief);

	if (r < 0) {
		failed(r == -ENOMEM || r == -ENOSPC ? "known" : store_error(life.store));
		r = try_apply(ops, relief);
	}
	CHECK_INT(r, 0);
	if (r < 0) {
		fprintf(stderr, "  %s\n", store_error(life.store));
		return;
	}
	note(moment);
	for (struct op *op = ops, *next; op; op = next) {
		next = op->next;
		if (op->taken_id && op->kind != OP_SETTLED) {
			const char *reason = op->kind == OP_QUARANTINE ? op->text : NULL;

			r = store_settle(
				life.store, life.spool, op->file.path, &op->file, op->row.id, reason);
			if (r < 0) {
				failed("known");
				r = store_settle(life.store, life.spool, op->file.path, &op->file,
					op->row.id, reason);
			}
			CHECK_INT(r, 0);
			life.settled[life.n_settled++] = op->taken_id;
		}
		op_free(op);
	}
}

static struct op *chain(struct op *a, struct op *b)
{
	a->next = b;
	return a;
}

static void take(int capture)
{
	bool paused = disk_pause(true);
	struct taken_file file;
	struct op *op = NULL;

	if (look_at(life.spool, capture, &file))
		op = op_for(capture, &file);
	while (op && life.n_settled) {
		struct op *settled = op_new(OP_SETTLED);

		settled->taken_id = life.settled[--life.n_settled];
		op = chain(settled, op);
	}
	disk_pause(paused);
	if (op)
		commit(op, false, capture);
}

static void change(struct op *(*make)(void), bool relief, int moment)
{
	bool paused = disk_pause(true);
	struct op *op = make();

	disk_pause(paused);
	commit(op, relief, moment);
}

static struct op *make_setting(void)
{
	struct op *meta = op_new(OP_META), *label = op_new(OP_NEW_LABEL), *tables = op_new(OP_TABLES);

	snprintf(meta->key, sizeof(meta->key), "policy");
	fill(&meta->data, 1, 40);
	snprintf(label->text, sizeof(label->text), "fox");
	fill(&tables->data, 2, 1500);
	return chain(meta, chain(label, tables));
}

static struct op *make_steps(void)
{
	return chain(step_of(2, 20, OBJECT / 2, true),
		chain(step_of(3, 20, 900, false), step_of(0, 20, 300, false)));
}

static struct op *make_marks(void)
{
	struct op *label = op_on(OP_LABEL, 1), *pin = op_on(OP_PIN, 1), *rescore = op_on(OP_RESCORE, 2);

	label->row.stratum = 4;
	pin->row.flags = IMAGE_PINNED;
	rescore->row.step = 7;
	rescore->row.model = 1;
	return chain(label, chain(pin, chain(rescore, op_on(OP_SPENT, 3))));
}

static struct op *make_removals(void)
{
	return chain(op_on(OP_REMOVE, 4), op_on(OP_REMOVE, 10));
}

static void write_model(const char *name, int moment)
{
	static const uint8_t model[MODEL] = {1};
	int r = store_write_model(life.store, name, model, sizeof(model));

	if (r < 0) {
		failed("known");
		r = store_write_model(life.store, name, model, sizeof(model));
	}
	CHECK_INT(r, 0);
	note(moment);
}

static void open_life(void)
{
	struct limits limits = {MAX_USE, 0, MIB};
	char path[80], error[256];
	int r;

	snprintf(path, sizeof(path), "%s/store", world);
	r = store_open(path, MAX_USE, &life.store, error);
	if (r < 0) {
		failed(error);
		r = store_open(path, MAX_USE, &life.store, error);
	}
	CHECK_INT(r, 0);
	if (r < 0) {
		fprintf(stderr, "  %s; change %ld\n", error, disk_calls());
		exit(1);
	}
	store_set_limits(life.store, &limits);
}

static void begin_world(void)
{
	char path[80];

	fresh(world);
	snprintf(path, sizeof(path), "%s/spool", world);
	mkdir(path, 0755);
	life = (struct life){.spool = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	snprintf(path, sizeof(path), "%s/store", world);
	mkdir(path, 0755);
}

static void sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY);

	fsync(fd);
	close(fd);
}

static void compact_all(void)
{
	int64_t at = -1;

	while (store_compact(life.store, &at) > 0)
		;
}

static void live(void)
{
	open_life();
	note(NOTE_OPEN);
	for (int i = 0; i < 6; i++)
		take(i);
	change(make_setting, false, 5);
	take(6);
	take(7);
	change(make_steps, true, 7);
	take(8);
	write_model("model-1.safetensors", NOTE_MODEL);
	write_model("checkpoint-1", NOTE_CHECKPOINT);
	take(9);
	take(10);
	change(make_marks, false, 10);
	change(make_removals, true, NOTE_REMOVED);
	compact_all();
	store_shrink(life.store, 64);
	store_close(life.store);
	open_life();
	take(11);
	note(NOTE_END);
	store_close(life.store);
	close(life.spool);
}

/* What a daemon does first: captures whose fate was committed leave the spool. */
static bool settle_taken(void *user, int64_t taken_id, const struct taken_file *f, int64_t id,
	const char *reason)
{
	struct op **ops = user, *op = op_new(OP_SETTLED);

	CHECK_INT(store_settle(life.store, life.spool, f->path, f, id, reason), 0);
	op->taken_id = taken_id;
	op->next = *ops;
	*ops = op;
	return true;
}

static void say(void *user, const char *line)
{
	++*(int *)user;
	fprintf(stderr, "  %s\n", line);
}

static bool in_quarantine(const char *dir, int capture)
{
	char path[160], hex[17], name[16];

	name_of(capture, name);
	snprintf(path, sizeof(path), "%s/store/quarantine/%s-%s", dir, format_id(id_of(capture), hex), name);
	return access(path, F_OK) == 0;
}

static bool in_spool(int capture)
{
	_cleanup_buf_ struct buf b = {0};
	char name[16];

	name_of(capture, name);
	if (io_read_file(life.spool, name, 4096, &b) < 0)
		return false;
	CHECK_INT(b.len, 500 + capture); /* it came whole and must be whole */
	for (size_t i = 0; i < b.len; i++)
		if (b.data[i] != byte_of(capture, (int)i)) {
			CHECK(!"the capture's bytes");
			break;
		}
	return true;
}

/* Position in the life of the note that commits a fate, for comparing with the last note seen. */
static int when(int note)
{
	static const int order[] = {-1, NOTE_OPEN, 0, 1, 2, 3, 4, 5, 6, 7, 8, NOTE_MODEL, NOTE_CHECKPOINT, 9,
		10, NOTE_REMOVED, 11, NOTE_END};

	for (int i = 0; i < (int)ARRAY_SIZE(order); i++)
		if (order[i] == note)
			return i;
	abort();
}

static void check_model(const char *name, bool promised)
{
	_cleanup_buf_ struct buf b = {0};
	int r = store_read_model(life.store, name, &b);

	if (promised || r == 0)
		CHECK_INT(r == 0 ? (int)b.len : r, MODEL); /* whole or not at all */
}

/*
 * The disk under dir after a failure: moment is the last thing that was promised. strict: nothing may
 * be in two places. After a power loss a capture may: its file's removal was not durable, or (here,
 * where the disk is laid out anew) the file is not the very one that was taken. It is taken again, as
 * a duplicate.
 */
static void check_world(const char *dir, int moment, bool strict)
{
	struct limits limits = {MAX_USE, 0, MIB};
	struct verify_report report = {0};
	struct store_view *v = NULL;
	struct op *ops = NULL;
	int64_t counters[COUNTERS], n_fates = 0;
	char path[80], error[256];
	int findings = 0, r, now = when(moment);
	const struct verify_events events = {.finding = say, .user = &findings};

	snprintf(path, sizeof(path), "%s/spool", dir);
	mkdir(path, 0755);
	life = (struct life){.spool = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	snprintf(path, sizeof(path), "%s/store", dir);
	mkdir(path, 0755);
	r = store_open(path, MAX_USE, &life.store, error);
	CHECK_INT(r, 0);
	if (r < 0) {
		fprintf(stderr, "  %s\n", error);
		close(life.spool);
		return;
	}
	store_set_limits(life.store, &limits);
	CHECK_INT(view_open(path, &v, error), 0);
	view_taken(v, settle_taken, &ops);
	if (ops)
		CHECK_INT(try_apply(ops, false), 0);
	while (ops) {
		struct op *next = ops->next;

		op_free(ops);
		ops = next;
	}
	CHECK_INT(view_verify(v, &events, &report), 0);
	CHECK_INT(findings, 0);
	CHECK_INT(view_counters(v, counters), 0);
	for (int i = 0; i < CAPTURES && now >= when(NOTE_OPEN); i++) {
		struct image_row row;
		bool spooled = in_spool(i), known, promised = now >= when(i);
		bool stored = view_row(v, id_of(i), &row) == 0;

		switch (fates[i]) {
		case QUARANTINED:
			known = in_quarantine(dir, i);
			break;
		case DUPLICATED:
		case DROPPED:
			known = counters[fates[i] == DROPPED ? COUNT_DROPPED : COUNT_DUPLICATE] > 0;
			break;
		case REMOVED:
			known = stored || now >= when(10);
			CHECK(!(stored && now >= when(NOTE_REMOVED)));
			break;
		default:
			known = stored;
		}
		CHECK(spooled || known);
		CHECK(known || !promised || (!strict && spooled && fates[i] == QUARANTINED));
		if (strict && fates[i] != DROPPED) /* its counter counts removals too */
			CHECK(!(spooled && known));
		n_fates += fates[i] == STORED || fates[i] == OBJECTED ? stored : 0;
	}
	check_model("model-1.safetensors", now >= when(NOTE_MODEL));
	check_model("checkpoint-1", now >= when(NOTE_CHECKPOINT));
	/* And it goes on. */
	for (int i = 0; i < CAPTURES; i++)
		take(i);
	findings = 0;
	CHECK_INT(view_verify(v, &events, &report), 0);
	CHECK_INT(findings, 0);
	if (now >= when(NOTE_OPEN))
		CHECK(report.images >= n_fates && report.images <= CAPTURES - 3);
	for (int i = 0; i < CAPTURES; i++)
		CHECK(!in_spool(i));
	view_close(v);
	store_close(life.store);
	close(life.spool);
}

static void kill_at_every(enum disk_mode mode)
{
	for (long at = 1;; at++) {
		int status, seen = test_failures;
		pid_t pid;

		*noted = -1;
		pid = fork();

		if (pid == 0) {
			begin_world();
			feed(life.spool);
			disk_arm(world, mode, at);
			live();
			_exit(disk_was_hit() ? 2 : 0);
		}
		waitpid(pid, &status, 0);
		if (WIFEXITED(status)) {
			CHECK_INT(WEXITSTATUS(status), 0);
			CHECK(at > 100); /* there was something to hit */
			printf("%ld changes, killed %s each\n", at - 1,
				mode == DISK_TEAR ? "in the middle of" : "before");
			return;
		}
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		check_world(world, *noted, true);
		if (test_failures > seen)
			fprintf(stderr, "... killed at change %ld\n", at);
	}
}

static void test_kill(void)
{
	kill_at_every(DISK_KILL);
	kill_at_every(DISK_TEAR);
}

static void test_power_loss(void)
{
	static const enum disk_loss losses[] = {LOSS_NONE, LOSS_BYTES, LOSS_ALL, LOSS_TORN, LOSS_TORN};
	char path[80];

	fresh(world);
	disk_arm(world, DISK_RECORD, 0);
	snprintf(path, sizeof(path), "%s/spool", world);
	mkdir(path, 0755);
	life = (struct life){.spool = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	feed(life.spool);
	snprintf(path, sizeof(path), "%s/store", world);
	mkdir(path, 0755);
	sync_dir(world);
	live();
	disk_off();
	CHECK(disk_recorded() > 100);
	CHECK_INT(disk_beyond(), 0); /* or XFS would give files more room than they need */
	printf("%zu changes, power lost after each in %zu ways\n", disk_recorded(), ARRAY_SIZE(losses));
	for (size_t n = 1; n <= disk_recorded(); n++)
		for (size_t k = 0; k < ARRAY_SIZE(losses); k++) {
			int seen = test_failures;

			fresh(after);
			disk_after_loss(n, losses[k], n * 10 + k, after);
			check_world(after, disk_noted(n), false);
			if (test_failures > seen)
				fprintf(stderr, "... power lost after change %zu, way %zu, note %d\n", n, k,
					disk_noted(n));
		}
	disk_forget();
}

/* One life in which calls or allocations fail; it must end as the others do. */
static void live_with(const char *what, long at)
{
	int seen = test_failures;

	live();
	disk_off();
	CHECK(!life.unsaid);
	check_world(world, NOTE_END, true);
	if (test_failures > seen)
		fprintf(stderr, "... %s at %ld\n", what, at);
}

static void test_errors(void)
{
	static const int errors[] = {ENOSPC, EIO, EROFS, EDQUOT, EMFILE, EXDEV};

	for (int for_ever = 0; for_ever < 2; for_ever++)
		for (size_t e = 0; e < ARRAY_SIZE(errors); e++) {
			long at = 1;

			for (bool hit = true; hit; at += SANITIZED ? 3 : 1) {
				begin_world();
				feed(life.spool);
				disk_error(errors[e], for_ever);
				disk_arm(world, DISK_FAIL, at);
				live_with(strerror(errors[e]), at);
				hit = disk_was_hit();
			}
			CHECK(at > 100);
		}
}

static void test_memory(void)
{
	for (int for_ever = 0; for_ever < 2 && !SANITIZED; for_ever++) {
		long at = 1;

		for (bool hit = true; hit; at += for_ever ? 7 : 1) {
			begin_world();
			feed(life.spool);
			disk_arm(world, DISK_COUNT, 0);
			disk_arm_memory(at, for_ever);
			live_with("no memory", at);
			hit = disk_was_hit();
		}
		CHECK(at > 100);
		printf("%ld allocations failed %s\n", at, for_ever ? "for ever" : "once");
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {{"kill", test_kill}, {"power", test_power_loss}, {"errors", test_errors},
		{"memory", test_memory}};

	noted = mmap(NULL, sizeof(*noted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (noted == MAP_FAILED)
		return 1;
	root = mkdtemp(shm);
	if (!root)
		root = mkdtemp(base);
	if (!root)
		return 1;
	snprintf(world, sizeof(world), "%s/world", root);
	snprintf(after, sizeof(after), "%s/after", root);
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
		if (argc < 2 || !strcmp(argv[1], tests[i].name))
			tests[i].run();
	remove_tree(root);
	printf("%d checks, %d failed\n", test_checks, test_failures);
	return test_failures || !test_checks;
}
