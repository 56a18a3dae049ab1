/* The laboratory's parts that need no training: clusters, data that is wrong, budgets. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/rng.h"
#include "tests/unit/test.h"
#include "tools/lab/allocate.h"
#include "tools/lab/data.h"
#include "tools/lab/kmeans.h"
#include "tools/lab/lab.h"

static char dir[] = "/tmp/larder-test-lab-XXXXXX";

static void test_begin(void)
{
	CHECK(mkdtemp(dir));
}

static void test_end(void)
{
	char command[300];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	CHECK(system(command) == 0);
}

static void test_kmeans(void)
{
	enum { N = 300, DIMS = 3, K = 3 };
	static const double mean[K] = {5, -4, 0.5};
	double point[N * DIMS], centre[K * DIMS];
	int label[N];
	struct rng r;
	double sum;

	rng_init(&r, 7);
	for (int i = 0; i < N; i++)
		for (int d = 0; d < DIMS; d++)
			point[i * DIMS + d] = mean[i % K] + 0.1 * rng_normal(&r);
	sum = kmeans(point, N, DIMS, K, 5, 1, label, centre);
	CHECK(sum > 0 && sum < N * DIMS * 0.02);
	/* Ordered by mean: -4, 0.5, 5. */
	for (int i = 0; i < N; i++)
		CHECK(label[i] == (i % K == 0 ? 2 : i % K == 1 ? 0 : 1));
	CHECK(fabs(centre[0] + 4) < 0.1 && fabs(centre[DIMS] - 0.5) < 0.1 && fabs(centre[2 * DIMS] - 5) < 0.1);
	CHECK(kmeans(point, 2, DIMS, K, 1, 1, label, centre) == -EINVAL);
	/* All points alike: every centre is that point, nothing is divided by nothing. */
	for (int i = 0; i < N * DIMS; i++)
		point[i] = 1;
	CHECK_NEAR(kmeans(point, N, DIMS, K, 2, 1, label, centre), 0, 1e-12);
	for (int i = 0; i < K * DIMS; i++)
		CHECK(fabs(centre[i] - 1) < 1e-9);
}

static void put(const char *name, const void *data, size_t len)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	CHECK(f && fwrite(data, 1, len, f) == len);
	if (f)
		fclose(f);
}

static int try(const char *kind, char error[DATA_ERROR_MAX])
{
	char spec[256];
	struct data d;
	int r;

	snprintf(spec, sizeof(spec), "%s:%s", kind, dir);
	r = data_open(&d, spec, error);
	if (r == 0)
		data_close(&d);
	return r;
}

static void test_cifar(void)
{
	static uint8_t record[3 * 3073];
	char error[DATA_ERROR_MAX];
	struct data d;
	struct coef_image im = {0};
	char spec[256];
	int quality;

	CHECK(try("cifar10", error) == -ENOENT && strstr(error, "batches.meta.txt"));
	put("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n", 21);
	CHECK(try("cifar10", error) == -ENOENT && strstr(error, "train"));
	put("test_batch.bin", record, 3073);
	put("data_batch_1.bin", record, 2 * 3073 + 100);
	CHECK(try("cifar10", error) == -EBADMSG && strstr(error, "data_batch_1.bin") && strstr(error, "6146"));
	record[3073] = 10; /* the second record's label */
	put("data_batch_1.bin", record, 3 * 3073);
	CHECK(try("cifar10", error) == -EBADMSG && strstr(error, "offset 3073") && strstr(error, "label 10"));
	record[3073] = 9;
	put("data_batch_1.bin", record, 3 * 3073);
	snprintf(spec, sizeof(spec), "cifar10:%s", dir);
	CHECK(data_open(&d, spec, error) == 0);
	CHECK(d.classes == 10 && d.split[TRAIN].n == 3 && d.split[TEST].n == 1);
	CHECK(d.split[TRAIN].v[1].label == 9 && !strcmp(d.name[9], "j"));
	CHECK(data_decode(&d, TRAIN, 1, &im, &quality, error) == 0 && quality == 100 && im.width == 32);
	coef_done(&im);
	data_close(&d);
}

static void test_folder(void)
{
	static const char pgm[] = "P5 8 8 255\n0123456789012345678901234567890123456789012345678901234567890123";
	char error[DATA_ERROR_MAX], path[256];
	struct data d;
	struct coef_image im = {0};
	char spec[256];
	int quality, ones = 0;

	CHECK(try("folder", error) == -EINVAL && strstr(error, "two classes"));
	for (int k = 0; k < 2; k++) {
		snprintf(path, sizeof(path), "%s/class%d", dir, k);
		CHECK(mkdir(path, 0755) == 0);
		for (int i = 0; i < 20; i++) {
			snprintf(path, sizeof(path), "class%d/%d.pgm", k, i);
			put(path, pgm, sizeof(pgm) - 1);
		}
	}
	put("class1/9.pgm", pgm, sizeof(pgm) - 9); /* truncated: said when it is decoded */
	snprintf(spec, sizeof(spec), "folder:%s", dir);
	CHECK(data_open(&d, spec, error) == 0);
	CHECK(d.classes == 2 && d.split[TRAIN].n + d.split[TEST].n == 40 && d.split[TEST].n > 0);
	for (int i = 0; i < 16; i++) /* the first so many are of all classes */
		ones += d.split[TRAIN].v[i].label;
	CHECK(ones > 2 && ones < 14);
	for (int s = 0; s < 2; s++)
		for (int i = 0; i < d.split[s].n; i++) {
			int r = data_decode(&d, (enum split)s, i, &im, &quality, error);

			if (strstr(d.split[s].v[i].path, "class1/9.pgm"))
				CHECK(r < 0 && strstr(error, "class1/9.pgm") && strstr(error, "offset"));
			else
				CHECK(r == 0);
		}
	coef_done(&im);
	data_close(&d);
	CHECK(data_open(&d, "zip:x", error) == -EINVAL && strstr(error, "cifar10:DIR"));
	CHECK(data_open(&d, "cifar10", error) == -EINVAL);
}

static void test_interval(void)
{
	const double v[] = {1, 2, 3}, one[] = {5};

	CHECK(fabs(mean_of(v, 3) - 2) < 1e-12);
	CHECK(fabs(interval_of(v, 3) - 4.303 / sqrt(3)) < 1e-3);
	CHECK(isnan(interval_of(one, 1)));
}

/*
 * Nothing beats the bound, neither spends more than there is, and both come near it: deciding by the
 * population's rates gives up a little harm, which own rates would cost in accuracy.
 */
static void test_allocate(void)
{
	enum { N = 400 };
	static struct curve curve[N];
	struct population p;
	struct rng r;

	population_init(&p);
	rng_init(&r, 11);
	for (int i = 0; i < N; i++) {
		double rate = 10 + 20 * rng_unit(&r), kl = 0.2 + 2 * rng_unit(&r);

		curve[i] = (struct curve){.n = LADDER_RUNGS, .scored = true};
		for (int k = 0; k < LADDER_RUNGS; k++) {
			curve[i].quality[k] = LADDER[k];
			curve[i].rate[k] = (uint32_t)(rate + rng_unit(&r));
			curve[i].kl[k] = (float)kl;
			rate *= 1.2 + 0.2 * rng_unit(&r);
			kl *= 0.5 + 0.3 * rng_unit(&r);
		}
		population_add(&p, &curve[i]);
	}
	for (int k = 1; k < LADDER_RUNGS - 1; k++) {
		double budget = (double)p.rate[k] * N;
		struct allocations a;

		CHECK_INT(allocate(curve, N, &p, budget, &a), 0);
		CHECK(a.by_steps.bytes <= budget && a.by_own_rates.bytes <= budget);
		CHECK(a.by_steps.harm >= a.bound_harm - 1e-6);
		CHECK(a.by_own_rates.harm >= a.bound_harm - 1e-6);
		CHECK(a.by_steps.share_of_bound > 0.94);
		CHECK(a.by_own_rates.share_of_bound > 0.995);
	}
}

TEST_MAIN(test_begin, test_kmeans, test_cifar, test_folder, test_interval, test_allocate, test_end)
