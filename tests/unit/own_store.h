/* A store of a test's own in a scratch directory, and ops for it. */
#pragma once

#include <sys/stat.h>

#include "common/rng.h"
#include "daemon/store.h"
#include "tests/unit/test.h"
#include "tests/unit/tree.h"

#define MIB (INT64_C(1) << 20)

static char base[] = "/tmp/larder-store-XXXXXX", path[64];
static struct rng rng;

static inline void fresh(void)
{
	remove_tree(path);
	mkdir(path, 0755);
}

static inline struct store *open_store(int64_t max_use)
{
	struct limits limits = {max_use, 0, MIB};
	struct store *s = NULL;
	char error[256];
	int r = store_open(path, max_use, &s, error);

	if (r < 0) {
		fprintf(stderr, "%s\n", error);
		exit(1);
	}
	store_set_limits(s, &limits);
	return s;
}

static inline struct op *insert(int64_t id, uint32_t bytes, uint32_t stratum, int step)
{
	struct op *op = op_new(OP_INSERT);

	op->row.id = id;
	op->row.hash = (uint64_t)id * 3;
	op->row.stratum = stratum;
	op->row.rank = (int)(id & 0xffff);
	op->row.step = step;
	op->row.step_to = 20;
	op->row.quality = 50;
	op->row.width = op->row.height = 32;
	op->row.orientation = 1;
	op->row.layout = 0x22;
	snprintf(op->row.name, sizeof(op->row.name), "n%lld.png", (long long)id);
	for (uint32_t i = 0; i < bytes; i++)
		buf_put_u8(&op->data, (uint8_t)rng_u64(&rng));
	return op;
}

static inline int apply(struct store *s, struct op *op, bool relief)
{
	struct tally_list change = {0};
	int r = store_apply(s, op, relief, &change);

	tally_done(&change);
	return r;
}

static inline int apply_free(struct store *s, struct op *op)
{
	int r = apply(s, op, false), result = op->result;

	op_free(op);
	return r < 0 ? r : result;
}

static inline void count_line(void *user, const char *line)
{
	fprintf(stderr, "  %s\n", line);
	++*(int *)user;
}

/* Checks every invariant; returns the number of images. */
static inline int64_t verify(int want_findings)
{
	struct store_view *v = NULL;
	struct verify_report report = {0};
	char error[256];
	int findings = 0;
	const struct verify_events events = {.finding = count_line, .user = &findings};

	CHECK_INT(view_open(path, &v, error), 0);
	CHECK_INT(view_verify(v, &events, &report), 0);
	CHECK_INT(findings, want_findings);
	view_close(v);
	return report.images;
}

static inline int run_with_stores(void (*const tests[])(void), size_t n)
{
	rng_init(&rng, 1);
	if (!mkdtemp(base))
		return 1;
	snprintf(path, sizeof(path), "%s/store", base);
	for (size_t i = 0; i < n; i++) {
		fresh();
		tests[i]();
	}
	remove_tree(base);
	printf("%d checks, %d failed\n", test_checks, test_failures);
	return test_failures || !test_checks;
}

/* main() of a test: each of the functions with a new directory for its store. */
#define OWN_STORE_MAIN(...)                                                                                \
	int main(void)                                                                                     \
	{                                                                                                  \
		void (*const tests[])(void) = {__VA_ARGS__};                                               \
                                                                                                           \
		return run_with_stores(tests, ARRAY_SIZE(tests));                                          \
	}
