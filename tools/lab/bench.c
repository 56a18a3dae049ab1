/*
 * bench: what each stage costs on this machine and this data, one thread unless it says otherwise,
 * and as a ratio to the plain thing that everybody does: decode the picture and encode it (peer.h). Stages
 * take turns on the same pictures; medians over rounds.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/clock.h"
#include "common/codec/decode.h"
#include "common/codec/input.h"
#include "common/codec/jpeg.h"
#include "common/net/gemm.h"
#include "tools/lab/peer.h"
#include "tools/lab/uniform.h"
#include "tools/lab/verbs.h"

#define ROUNDS 7
#define PICTURES 100
#define TRAIN_STEPS   30   /* at 32x32; fewer, but some, of larger pictures */
#define TRAIN_ON      2000 /* pictures */
#define TRAINED_STEPS 600
#define PRICES	      9
#define PEAK_SIDE   1024

enum stage {
	TRANSCODE,
	ENTROPY,
	DECODE_ENCODE,
	DECODE,
	RATES,
	FEW_RATES,
	PREDICT,
	INPUT,
	FORWARD,
	EVERY_RUNG,
	FULL,
	STAGES
};

static const char *const stage_names[STAGES] = {
	[TRANSCODE] = "libjpeg alone: decode a JPEG to pixels, encode at 75",
	[ENTROPY] = "libjpeg alone: entropy decoding",
	[DECODE_ENCODE] = "decode to coefficients, encode at 75 with tables of its own",
	[DECODE] = "decode to coefficients",
	[RATES] = "re-quantise and estimate the whole ladder",
	[FEW_RATES] = "the same, few rates counted (7 of 8 captures)",
	[PREDICT] = "the same, and the curve by predictor",
	[INPUT] = "coefficients to the network's input, once",
	[FORWARD] = "network, one picture of a batch of 16",
	[EVERY_RUNG] = "score, the network asked about every rung",
	[FULL] = "score: few rates, inputs, network asked where rungs differ",
};

struct bench {
	struct lab *l;
	struct scorer scorer;
	struct predictor predictor;
	float *params, *logits;
	uint8_t *rgb;
	struct coef_image im, other;
	int n;
	struct buf *file; /* [n]: the pictures as JPEG */
};

static double bench_runs(const struct lab *l)
{
	return lab_wanted(l, "stages") || lab_wanted(l, "asking") || lab_wanted(l, "packing");
}

/* Picture i of the bench, as it came, in im. */
static int decode_nth(struct bench *b, int i)
{
	int own;

	return lab_decode(b->l, TRAIN, (int)((int64_t)i * b->l->data.split[TRAIN].n / b->n), &b->im, &own);
}

/* Every other picture teaches the packer, as captures do. */
static int teach_packer(struct bench *b)
{
	struct table_set *set = &b->scorer.shared;
	_cleanup_free_ struct pack_lessons *lessons = calloc(1, sizeof(*lessons));
	int r = lessons ? 0 : -ENOMEM;

	for (int pass = 0; r == 0 && pass < 2; pass++)
		for (int i = 0; r == 0 && i < b->n; i += 2) {
			r = decode_nth(b, i);
			if (r < 0 || !lessons_want_rungs(lessons, &b->im))
				continue;
			for (int q = 0; r == 0 && q < LADDER_RUNGS; q++) {
				struct jpeg_tables t;

				tables_standard(LADDER[q], &t);
				r = coef_requantise(&b->im, &t, &b->other);
				lessons_count(lessons, &b->other);
			}
		}
	if (r < 0)
		return r;
	lessons_fit(lessons, set);
	set->id = 1;
	table_set_steps(set);
	return 0;
}

/* A network that has something to say: what is asked of one that has not costs less. */
static int train_network(struct bench *b)
{
	struct lab *l = b->l;
	int n = MIN(TRAIN_ON, l->data.split[TRAIN].n), r;
	_cleanup_free_ struct choice *v = malloc((size_t)n * sizeof(*v));
	_cleanup_dataset_ struct dataset d = {0};

	if (!v)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		v[i] = (struct choice){(int)((int64_t)i * l->data.split[TRAIN].n / n), 100};
	r = choice_dataset(l, NULL, v, n, &d);
	return r < 0 ? r
		     : lab_run(l, &d, l->seed, MIN(l->steps, TRAINED_STEPS), NULL, 0, NULL,
			       b->params, "trained on originals, for scoring");
}

static int prepare(struct bench *b)
{
	struct lab *l = b->l;
	struct net_layout at;
	size_t input = (size_t)l->shape.size * (size_t)l->shape.size * 3;
	int r = 0;

	net_layout(&l->shape, &at);
	b->n = MIN(PICTURES, l->data.split[TRAIN].n);
	b->file = calloc((size_t)b->n, sizeof(*b->file));
	b->params = malloc(at.total * sizeof(float));
	b->rgb = calloc(16, input);
	b->logits = malloc(16 * (size_t)l->shape.classes * sizeof(float));
	if (!b->file || !b->params || !b->rgb || !b->logits)
		return -ENOMEM;
	predictor_init(&b->predictor);
	r = train_network(b);
	for (int i = 0; r == 0 && i < b->n; i++) {
		struct jpeg_tables t;

		r = decode_nth(b, i);
		tables_standard(95, &t);
		if (r == 0)
			r = coef_requantise(&b->im, &t, &b->im);
		if (r == 0)
			r = jpeg_write_file(&b->im, &t, &b->file[i]);
	}
	if (r == 0)
		r = scorer_set_model(&b->scorer, &l->shape, b->params);
	return r < 0 ? r : teach_packer(b);
}

static int run_stage(struct bench *b, enum stage s, int i, int own)
{
	struct capture_info info;
	uint8_t quality[RUNGS_MAX];
	_cleanup_buf_ struct buf out = {0};
	struct jpeg_tables t;
	struct features f;
	struct curve c;
	int n = stream_ladder(own, quality), r = 0;

	switch (s) {
	case TRANSCODE:
		return peer_transcode(b->file[i].data, b->file[i].len, 75);
	case ENTROPY:
		peer_coefficients(b->file[i].data, b->file[i].len);
		return 0;
	case DECODE_ENCODE:
		r = capture_decode(b->file[i].data, b->file[i].len, INT64_C(1) << 30, &b->other, &info);
		tables_standard(75, &t);
		if (r == 0)
			r = coef_requantise(&b->other, &t, &b->other);
		return r < 0 ? r : jpeg_write_file(&b->other, &t, &out);
	case DECODE:
		return capture_decode(b->file[i].data, b->file[i].len, INT64_C(1) << 30, &b->other, &info);
	case RATES:
	case FEW_RATES:
	case PREDICT:
		b->scorer.few_rates = s == FEW_RATES;
		b->scorer.params = NULL;
		b->scorer.features = s == PREDICT ? &f : NULL;
		r = score(&b->scorer, &b->im, own, quality, n, -1, NULL, &c);
		b->scorer.params = b->params;
		b->scorer.features = NULL;
		b->scorer.few_rates = false;
		if (s == PREDICT && r == 0)
			predictor_apply(&b->predictor, &f, &c);
		return r;
	case INPUT:
		return input_from_coef(&b->im, b->l->shape.size, b->rgb);
	case FORWARD:
		net_forward(b->scorer.work, b->rgb, 16, b->logits);
		return 0;
	case EVERY_RUNG:
	case FULL:
		b->scorer.every_rung = s == EVERY_RUNG;
		b->scorer.few_rates = s == FULL;
		r = score(&b->scorer, &b->im, own, quality, n, -1, NULL, &c);
		b->scorer.every_rung = b->scorer.few_rates = false;
		return r;
	case STAGES:
		break;
	}
	return -EINVAL;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Microseconds a picture. */
static int time_stages(struct bench *b, double ret[STAGES])
{
	double us[STAGES][ROUNDS] = {0};
	int r = 0;

	for (int round = 0; r == 0 && round < ROUNDS; round++)
		for (int i = 0; r == 0 && i < b->n; i++) {
			struct capture_info info;

			r = capture_decode(
				b->file[i].data, b->file[i].len, INT64_C(1) << 30, &b->im, &info);
			for (int s = 0; r == 0 && s < STAGES; s++) {
				int64_t begin = clock_steady_us();

				r = run_stage(b, (enum stage)s, i, info.quality);
				us[s][round] += (double)(clock_steady_us() - begin) /
						(s == FORWARD ? 16 : 1) / b->n;
			}
		}
	for (int s = 0; s < STAGES; s++) {
		qsort(us[s], ROUNDS, sizeof(double), ascending);
		ret[s] = us[s][ROUNDS / 2];
	}
	return r;
}

/* Multiply-adds of the convolutions and the linear layer, forward and backward, in GFLOP a picture. */
static double training_gflop(const struct net_shape *s)
{
	double side = s->size, in = 3, sum = 0;

	for (int k = 0; k < NET_LAYERS; k++) {
		double layer = side * side * 9 * in * s->channels[k];

		sum += k == 0 ? 2 * layer : 3 * layer; /* the first layer's input has no gradient */
		in = s->channels[k];
		side /= 2;
	}
	return 2 * (sum + 3.0 * net_features(s) * s->classes) / 1e9;
}

/* OpenBLAS's name of the kernels it chose; on a processor it does not know those are slow ones. */
extern char *openblas_get_corename(void) __attribute__((weak));

/* GFLOP a second of the BLAS on one thread, in a product large enough to show what it can do. */
static double gemm_peak(void)
{
	size_t n = (size_t)PEAK_SIDE * PEAK_SIDE;
	_cleanup_free_ float *a = calloc(n, sizeof(float)), *b = calloc(n, sizeof(float));
	_cleanup_free_ float *c = calloc(n, sizeof(float));
	double best = 0;

	for (int i = 0; a && b && c && i < ROUNDS; i++) {
		int64_t begin = clock_steady_us();

		gemm(PEAK_SIDE, PEAK_SIDE, PEAK_SIDE, a, PEAK_SIDE, false, b, PEAK_SIDE, false,
			false, c, PEAK_SIDE);
		best = MAX(best,
			2e-3 * PEAK_SIDE * (double)n / (double)MAX(clock_steady_us() - begin, 1));
	}
	return best;
}

/* Pictures a second in training on so many threads. */
static double time_training(const struct lab *l, int threads)
{
	_cleanup_(team_freep) struct team *team = team_new(threads);
	_cleanup_(train_freep) struct train *t = NULL;
	int steps = CLAMP(TRAIN_STEPS * 32 * 32 / (l->shape.size * l->shape.size), 5, TRAIN_STEPS);
	struct train_options o;
	double best[ROUNDS];

	train_options_init(&o, l->shape.size);
	o.max_steps = 10000;
	t = team ? train_new(&l->shape, &l->test, &o, team) : NULL;
	if (!t)
		return (double)NAN;
	train_steps(t, 5);
	for (int i = 0; i < ROUNDS; i++) {
		int64_t begin = clock_steady_us();

		train_steps(t, steps);
		best[i] = steps * (double)MIN(o.batch, l->test.n) /
			  ((double)(clock_steady_us() - begin) / 1e6);
	}
	qsort(best, ROUNDS, sizeof(double), ascending);
	return best[ROUNDS / 2];
}

/* At how many prices the choice is the same when only differing rungs were asked about. */
static int compare_asking(struct bench *b, FILE *csv)
{
	_cleanup_free_ struct curve *every = calloc((size_t)b->n, sizeof(*every));
	_cleanup_free_ struct curve *some = calloc((size_t)b->n, sizeof(*some));
	struct population population;
	double asked[2] = {0};
	double best = 0,
	       chosen = 0; /* harm, and bytes at their price, as every rung's curve has them */
	int r = every && some ? 0 : -ENOMEM, same = 0;

	population_init(&population);
	for (int i = 0; r == 0 && i < 2 * b->n; i++) {
		struct curve *c = i % 2 ? &some[i / 2] : &every[i / 2];
		uint8_t quality[RUNGS_MAX];
		struct capture_info info;

		r = capture_decode(
			b->file[i / 2].data, b->file[i / 2].len, INT64_C(1) << 30, &b->im, &info);
		b->scorer.every_rung = i % 2 == 0;
		b->scorer.asked = 0;
		if (r == 0)
			r = score(&b->scorer, &b->im, info.quality, quality,
				stream_ladder(info.quality, quality), -1, NULL, c);
		b->scorer.every_rung = false;
		asked[i % 2] += (double)b->scorer.asked / b->n;
		if (r == 0)
			curve_make_monotone(c);
		if (r == 0 && i % 2 == 0)
			population_add(&population, c);
	}
	for (int p = 0; r == 0 && p < PRICES; p++) {
		/* What taking the population from one rung to the next is worth. */
		float price = MAX((population.kl[p] - population.kl[p + 1]) /
					  MAX(population.rate[p + 1] - population.rate[p], 1),
			0);

		for (int i = 0; i < b->n; i++) {
			int a = choose_rung(MODE_ADAPTIVE, &every[i], &population, price, false);
			int c = choose_rung(MODE_ADAPTIVE, &some[i], &population, price, false);
			float harm[RUNGS_MAX];

			curve_harm(&every[i], &population, harm);
			best += (double)(harm[a] + price * (float)every[i].rate[a]);
			chosen += (double)(harm[c] + price * (float)every[i].rate[c]);
			same += a == c;
		}
	}
	if (r < 0)
		return r;
	fprintf(csv,
		"pictures asked about of %.2f,%.2f,\nchoices that are the same,%.4f,\n"
		"harm and price of the choices,%.6f,\n",
		asked[0], asked[1], (double)same / (PRICES * b->n), best > 0 ? chosen / best : 1);
	printf("asked about %.1f pictures instead of %.1f: %.1f %% of the choices at %d prices are "
	       "the same, "
	       "harm and price of all are %+.3f %%\n",
		asked[1], asked[0], 100.0 * same / (PRICES * b->n), PRICES,
		best > 0 ? 100 * (chosen / best - 1) : 0);
	return 0;
}

struct packing {
	double packed, scan, file; /* bytes */
	double pack_us, unpack_us, off; /* off: of the estimate, as a share */
};

static int pack_picture(struct bench *b, int i, const struct jpeg_tables *t, struct packing *sum)
{
	const struct pack_model *m = &b->scorer.shared.pack;
	_cleanup_buf_ struct buf bytes = {0};
	struct symbol_counts c;
	int64_t begin, middle;
	int r = decode_nth(b, i);

	if (r == 0)
		r = coef_requantise(&b->im, t, &b->other);
	if (r < 0)
		return r;
	coef_count(&b->other, &c);
	sum->scan += scan_bytes(&c, t);
	sum->file += scan_bytes_optimal(&c, b->other.n_planes == 1 ? 1 : 2) +
		jpeg_file_overhead(b->other.n_planes, b->other.orientation);
	begin = clock_steady_us();
	r = pack_write(&b->other, m, 0, &bytes);
	middle = clock_steady_us();
	if (r < 0)
		return r;
	sum->packed += (double)bytes.len;
	sum->pack_us += (double)(middle - begin);
	sum->off += fabs(pack_bytes(&b->other, m) / (double)bytes.len - 1);
	middle = clock_steady_us();
	r = pack_read(bytes.data, bytes.len, m, &b->other);
	sum->unpack_us += (double)(clock_steady_us() - middle);
	return r;
}

/* The pictures that the packer was not taught with: packed, and as files. */
static int compare_packing(struct bench *b, FILE *csv)
{
	static const int quality[] = {5, 10, 20, 30, 50, 75};
	int r = 0;

	fputs("quality,packed_bytes,standard_huffman_bytes,optimised_file_bytes,pack_us,unpack_us,"
	      "estimate_off_percent\n", csv);
	printf("\n%7s %10s %18s %18s %9s %10s %9s\n", "quality", "packed", "standard scan",
		"optimised file", "pack us", "unpack us", "estimate");
	for (size_t q = 0; r == 0 && q < ARRAY_SIZE(quality); q++) {
		struct packing s = {0};
		struct jpeg_tables t;
		int n = 0;

		tables_standard(quality[q], &t);
		for (int i = 1; r == 0 && i < b->n; i += 2, n++)
			r = pack_picture(b, i, &t, &s);
		if (r < 0 || !n)
			break;
		fprintf(csv, "%d,%.1f,%.1f,%.1f,%.1f,%.1f,%.2f\n", quality[q], s.packed / n, s.scan / n,
			s.file / n, s.pack_us / n, s.unpack_us / n, 100 * s.off / n);
		printf("%7d %10.1f %10.1f %+5.0f %% %10.1f %+5.0f %% %9.1f %10.1f %7.1f %%\n", quality[q],
			s.packed / n, s.scan / n, 100 * (s.packed / s.scan - 1), s.file / n,
			100 * (s.packed / s.file - 1), s.pack_us / n, s.unpack_us / n, 100 * s.off / n);
	}
	return r;
}

static int report_stages(struct bench *b, FILE *csv)
{
	double us[STAGES];
	int r = time_stages(b, us);

	if (r < 0)
		return r;
	fputs("stage,microseconds_per_picture,ratio_to_libjpeg_decode_and_encode\n", csv);
	printf("%-64s %10s %7s\n", "one thread, a picture", "us", "ratio");
	for (int s = 0; s < STAGES; s++) {
		fprintf(csv, "%s,%.1f,%.2f\n", stage_names[s], us[s], us[s] / us[TRANSCODE]);
		printf("%-64s %10.1f %7.2f\n", stage_names[s], us[s], us[s] / us[TRANSCODE]);
	}
	return 0;
}

static void report_training(const struct lab *l, FILE *csv)
{
	double peak = gemm_peak();

	printf("sgemm of %d x %d on 1 thread: %.1f GFLOP/s%s%s\n", PEAK_SIDE, PEAK_SIDE, peak,
		openblas_get_corename ? ", kernels of OpenBLAS for " : "",
		openblas_get_corename ? openblas_get_corename() : "");
	for (int threads = 1; threads <= l->threads; threads++) {
		double rate = time_training(l, threads), gflops = rate * training_gflop(&l->shape);

		fprintf(csv, "training on %d threads,%.1f,\n", threads, 1e6 / rate);
		printf("training at %dx%d on %d thread%s: %.0f pictures/s, as many as a direct convolution "
		       "at %.1f GFLOP/s would (%.0f %% of sgemm's a thread)\n",
			l->shape.size, l->shape.size, threads, threads > 1 ? "s" : "", rate, gflops,
			100 * gflops / threads / peak);
	}
}

static int bench(struct lab *l)
{
	struct bench b = {.l = l};
	FILE *csv = lab_create(l, "bench.csv");
	int r = !csv ? -EIO : bench_runs(l) > 0 ? prepare(&b) : 0;

	if (r == 0 && lab_wanted(l, "stages"))
		r = report_stages(&b, csv);
	if (r == 0 && lab_wanted(l, "training"))
		report_training(l, csv);
	if (r == 0 && lab_wanted(l, "asking"))
		r = compare_asking(&b, csv);
	if (r == 0 && lab_wanted(l, "packing"))
		r = compare_packing(&b, csv);
	if (csv && lab_close_file(csv, "bench.csv") < 0)
		r = -EIO;
	scorer_done(&b.scorer);
	coef_done(&b.im);
	coef_done(&b.other);
	for (int i = 0; b.file && i < b.n; i++)
		buf_done(&b.file[i]);
	free(b.file);
	free(b.params);
	free(b.rgb);
	free(b.logits);
	return r;
}

static const char *const parts[] = {"stages", "training", "asking", "packing", NULL};

const struct verb verb_bench = {
	"bench", "what each stage costs on this machine", bench_runs, NULL, bench, parts};
