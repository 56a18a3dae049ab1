/*
 * The keeper over a store of its own, with neither workers nor a network: what goes, and what that does to
 * the price.
 */
#include "daemon/keeper_internal.h"

#include "tests/unit/loop.h"
#include "tests/unit/own_store.h"

#define LIMIT	  MIB
#define IMAGES	  1200
#define BYTES	  1000
#define A_PRICE	  1e-12f /* less than any that a plan names */
#define TURNS_MAX 100000

static struct daemon d;
static uv_loop_t loop;
static int stored, rounds;

static void on_full(void *user, int64_t need, bool hard)
{
	rounds++;
	keeper_make_room(user, need, hard);
}

static void on_changed(void *user, const struct tally_list *change)
{
	struct daemon *daemon = user;

	for (size_t i = 0; i < change->n; i++)
		tally_add(&daemon->tally, &change->v[i]);
}

static void on_failing(void *user, int error, const char *text)
{
	(void)user;
	CHECK_INT(error, 0);
	fprintf(stderr, "  %s\n", text);
}

static void on_stored(void *user, struct op *op)
{
	(void)user;
	CHECK_INT(op->result, 0);
	stored++;
	op_free(op);
}

/* Until the writer has nothing to do, and the keeper nothing under way. */
static void settle(void)
{
	int turns = 0;

	while (turns++ < TURNS_MAX && (uv_run(&loop, UV_RUN_NOWAIT) || d.keeper->applying))
		usleep(100);
	CHECK(turns < TURNS_MAX);
}

static void begin(enum policy_mode mode)
{
	struct limits limits = {LIMIT, 0, MIB};
	const struct writer_events events = {on_full, on_changed, on_failing, &d};
	char error[256];

	d = (struct daemon){.loop = &loop, .limit = LIMIT, .price = A_PRICE};
	stored = rounds = 0;
	CHECK_INT(uv_loop_init(&loop), 0);
	config_init(&d.config);
	d.config.policy.mode = mode;
	population_init(&d.population);
	d.store = open_store(LIMIT);
	CHECK_INT(view_open(path, &d.view, error), 0);
	d.writer = writer_new(&loop, d.store, &events);
	limits.reserve = models_reserve(&d);
	writer_set_limits(d.writer, &limits);
	d.keeper = keeper_new(&d);
	for (int i = 0; i < 2; i++) {
		struct op *op = op_new(OP_NEW_LABEL);

		snprintf(op->text, sizeof(op->text), "label-%d", i);
		writer_add(d.writer, op);
	}
	/* More than fit, of two labels; none can be degraded: a step is but the order in which they go. */
	for (int i = 1; i <= IMAGES; i++) {
		uint32_t stratum = stratum_of(1 + (uint32_t)i % 2, false);
		struct op *op = insert(i, BYTES, stratum, mode == MODE_ADAPTIVE ? -1 : i);

		op->done = on_stored;
		writer_add(d.writer, op);
	}
	settle();
	CHECK_INT(stored, IMAGES);
	CHECK(rounds > 0);
}

static void end(void)
{
	d.stopping = true;
	close_loop(&loop);
	keeper_free(d.keeper);
	writer_free(d.writer);
	view_close(d.view);
	store_close(d.store);
	tally_done(&d.tally);
	CHECK(verify(0) > 0);
}

static int64_t held(void)
{
	return daemon_images(&d);
}

/*
 * What a byte is worth is told by what is dropped in place of a step, not by what is dropped because one
 * did not fit.
 */
static void test_price(void)
{
	int64_t before;
	float price;

	begin(MODE_ADAPTIVE);
	price = d.price;
	CHECK(price > A_PRICE);
	before = held();
	CHECK(before > 100 && before < IMAGES);

	d.price = A_PRICE;
	keeper_make_room(&d, 4 * BYTES, true);
	settle();
	CHECK(held() < before);
	CHECK(d.price == A_PRICE);

	before = held();
	keeper_make_room(&d, 4 * BYTES, false);
	settle();
	CHECK(held() < before);
	CHECK(d.price > price / 2 && d.price < price * 2);
	end();
}

/* Asked for while a round is under way: its answer is a round of its own, which drops. */
static void test_hard_meanwhile(void)
{
	int64_t before;

	begin(MODE_ADAPTIVE);
	before = held();
	keeper_make_room(&d, BYTES, false);
	CHECK(d.keeper->relieving);
	d.price = A_PRICE;
	keeper_make_room(&d, 4 * BYTES, true);
	CHECK(d.keeper->hard_need == 4 * BYTES);
	settle();
	CHECK(!d.keeper->hard_need && !d.keeper->relieving);
	CHECK(held() < before - 2); /* one for the first */
	CHECK(d.price == A_PRICE);
	end();
}

static void test_oldest_first(void)
{
	int64_t gone = 0;

	begin(MODE_UNIFORM);
	CHECK(d.price == A_PRICE);
	for (int i = 1; i <= IMAGES; i++) {
		struct image_row row;
		bool there = view_row(d.view, i, &row) == 0;

		if (!there)
			gone = i;
	}
	CHECK_INT(gone, IMAGES - held());
	end();
}

OWN_STORE_MAIN(test_price, test_hard_meanwhile, test_oldest_first)
