/* larder-lab: the study that Larder stands on, repeated, and policies compared at equal real bytes. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/parse.h"
#include "larder-config.h"
#include "tools/lab/uniform.h"
#include "tools/lab/verbs.h"

static const struct verb *const verbs[] = {
	&verb_quantity, &verb_cross, &verb_sensitivity, &verb_policies, &verb_predict, &verb_bench};

static const double default_shares[] = {.05, .1, .2, .4}, quick_shares[] = {.1, .3};

enum {
	OPT_DATA = 256,
	OPT_OUT,
	OPT_SEEDS,
	OPT_SEED,
	OPT_STEPS,
	OPT_BUDGETS,
	OPT_QUALITIES,
	OPT_INPUT,
	OPT_CHANNELS,
	OPT_THREADS,
	OPT_WINDOWS,
	OPT_ONLY,
	OPT_ORDER,
	OPT_WRONG,
	OPT_UNLABELLED,
	OPT_LASTING,
	OPT_QUICK,
	OPT_VERSION
};

static const struct option options[] = {
	{"data", required_argument, NULL, OPT_DATA},
	{"out", required_argument, NULL, OPT_OUT},
	{"seeds", required_argument, NULL, OPT_SEEDS},
	{"seed", required_argument, NULL, OPT_SEED},
	{"steps", required_argument, NULL, OPT_STEPS},
	{"budgets", required_argument, NULL, OPT_BUDGETS},
	{"qualities", required_argument, NULL, OPT_QUALITIES},
	{"input", required_argument, NULL, OPT_INPUT},
	{"channels", required_argument, NULL, OPT_CHANNELS},
	{"threads", required_argument, NULL, OPT_THREADS},
	{"windows", required_argument, NULL, OPT_WINDOWS},
	{"only", required_argument, NULL, OPT_ONLY},
	{"order", required_argument, NULL, OPT_ORDER},
	{"wrong", required_argument, NULL, OPT_WRONG},
	{"unlabelled", required_argument, NULL, OPT_UNLABELLED},
	{"lasting", required_argument, NULL, OPT_LASTING},
	{"quick", no_argument, NULL, OPT_QUICK},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

static void help(FILE *f)
{
	fputs("Usage: larder-lab VERB --data cifar10:DIR|folder:DIR [OPTION]...\n"
	      "Repeats \"Toward Storage-Aware Learning with Compressed Data\" (arXiv 2508.12833) on your "
	      "pictures,\n"
	      "and compares policies at equal real bytes.\n\n",
		f);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(f, "  %-18s %s\n", verbs[i]->name, verbs[i]->help);
	fputs("  all                every one of them, then the report\n"
	      "  report             report.html from what is in OUT\n"
	      "\n"
	      "      --data SPEC       cifar10:DIR: the published binary files; folder:DIR: train/CLASS "
	      "and\n"
	      "                        test/CLASS, or CLASS alone, with .jpg .png .ppm .pgm pictures\n"
	      "      --out DIR         tables, figures, report, and runs never to be repeated (lab-out)\n"
	      "      --quick           a coarse whole in minutes: one seed, few steps, a small network\n"
	      "      --seeds N         seeds to average over (3; quick 1)\n"
	      "      --seed N          the first of them (1)\n"
	      "      --steps N         steps of each training, 64 pictures each (1200; quick 300)\n"
	      "      --budgets LIST    policies: bytes, as 250k,1M (k M: 1000); default: 5 10 20 40 % of "
	      "what all\n"
	      "                        pictures take at quality 50\n"
	      "      --qualities LIST  cross-quality: trained at (5,50,100)\n"
	      "      --windows LIST    policies: shares of the stream, in percent, after which the device\n"
	      "                        trains a model to score with (10)\n"
	      "      --order ORDER     policies: the stream is random, or classes: each in turn, twice, or\n"
	      "                        kept: each class in its own order, by name, all side by side\n"
	      "      --wrong PERCENT   policies: of the training labels\n"
	      "      --unlabelled P    policies: percent of training pictures stored without a label\n"
	      "      --lasting PERCENT policies: LastingPercent of the adaptive ones (0)\n"
	      "      --only LIST       policies: just these, by the names in policies.csv;\n"
	      "                        bench: of stages, training, asking, packing\n"
	      "      --input N         side of the network's input, a multiple of 8 (32 for cifar10, 64\n"
	      "                        for folder)\n"
	      "      --channels A,B,C  of its convolutions (32,64,128; quick 16,32,64)\n"
	      "      --threads N       (one for each processor)\n"
	      "  -h, --help            this text\n"
	      "      --version         the version\n"
	      "\n"
	      "Killed at any point, the same command goes on where it was.\n",
		f);
}

/* A number from a list, advancing past its comma; suffixes k and M when allowed. False at the end. */
static bool list_next(const char **at, bool suffix, double *ret, bool *ret_bad)
{
	char *end;

	if (!**at)
		return false;
	*ret = strtod(*at, &end);
	*ret_bad = end == *at || !(*ret > 0) || *ret > 1e15;
	if (suffix && !*ret_bad && (*end == 'k' || *end == 'M' || *end == 'G'))
		*ret *= *end == 'k' ? 1e3 : *end == 'M' ? 1e6 : 1e9, end++;
	*ret_bad |= *end && *end != ',';
	*at = *end == ',' ? end + 1 : end;
	return !*ret_bad;
}

static int parse_list(const char *option, const char *text, bool suffix, double low, double high,
	double *ret, int max, int *ret_n)
{
	const char *at = text;
	bool bad = false;
	double v;
	int n = 0;

	while (list_next(&at, suffix, &v, &bad)) {
		bad = n == max || v < low || v > high || (n > 0 && v <= ret[n - 1]);
		if (bad)
			break;
		ret[n++] = v;
	}
	if (bad || n == 0) {
		log_error("--%s %s: up to %d ascending numbers from %g to %g, with commas, are expected",
			option, text, max, low, high);
		return -EINVAL;
	}
	*ret_n = n;
	return 0;
}

static int parse_number(const char *option, const char *text, int64_t low, int64_t high, int *ret)
{
	int64_t v;

	if (parse_int(text, &v) < 0 || v < low || v > high) {
		log_error("--%s %s: a whole number from %lld to %lld is expected", option, text,
			(long long)low, (long long)high);
		return -EINVAL;
	}
	*ret = (int)v;
	return 0;
}

struct choices {
	const char *data;
	int seeds, seed, steps, input;
};

static int take_qualities(struct lab *l, const char *text)
{
	double v[QUALITIES_MAX];
	int r = parse_list("qualities", text, false, 1, 100, v, QUALITIES_MAX, &l->n_qualities);

	for (int i = 0; r == 0 && i < l->n_qualities; i++)
		l->quality[i] = (int)v[i];
	return r;
}

static int take_channels(struct lab *l, const char *text)
{
	int64_t v[NET_LAYERS];
	int used = 0;

	if (sscanf(text, "%" SCNd64 ",%" SCNd64 ",%" SCNd64 "%n", &v[0], &v[1], &v[2], &used) != 3 ||
		text[used]) {
		log_error("--channels %s: three whole numbers with commas are expected", text);
		return -EINVAL;
	}
	for (int i = 0; i < NET_LAYERS; i++)
		l->shape.channels[i] = (int)CLAMP(v[i], -1, 1 << 20);
	return 0;
}

static int take_windows(struct lab *l, const char *text)
{
	int r = parse_list(
		"windows", text, false, 0.1, 99, l->windows, (int)ARRAY_SIZE(l->windows), &l->n_windows);

	for (int i = 0; r == 0 && i < l->n_windows; i++)
		l->windows[i] /= 100;
	return r;
}

/* One percentage, as a share. */
static int take_share(const char *option, const char *text, double *ret)
{
	double percent;
	int n, r = parse_list(option, text, false, 0.1, 99, &percent, 1, &n);

	if (r == 0)
		*ret = percent / 100;
	return r;
}

static int take_order(struct lab *l, const char *text)
{
	static const char *const name[] = {
		[ORDER_RANDOM] = "random", [ORDER_CLASSES] = "classes", [ORDER_KEPT] = "kept"};

	for (size_t i = 0; i < ARRAY_SIZE(name); i++)
		if (!strcmp(text, name[i])) {
			l->order = (enum order)i;
			return 0;
		}
	log_error("--order %s: random, classes or kept is expected", text);
	return -EINVAL;
}

static int take_option(struct lab *l, struct choices *c, int o, const char *arg)
{
	switch (o) {
	case OPT_DATA:
		c->data = arg;
		return 0;
	case OPT_OUT:
		if (strlen(arg) >= sizeof(l->out)) {
			log_error("--out: longer than %zu bytes", sizeof(l->out) - 1);
			return -EINVAL;
		}
		snprintf(l->out, sizeof(l->out), "%s", arg);
		return 0;
	case OPT_SEEDS:
		return parse_number("seeds", arg, 1, SEEDS_MAX, &c->seeds);
	case OPT_SEED:
		return parse_number("seed", arg, 0, INT32_MAX, &c->seed);
	case OPT_STEPS:
		return parse_number("steps", arg, 1, 1000000, &c->steps);
	case OPT_BUDGETS:
		return parse_list("budgets", arg, true, 1000, 1e15, l->budget, BUDGETS_MAX, &l->n_budgets);
	case OPT_QUALITIES:
		return take_qualities(l, arg);
	case OPT_INPUT:
		return parse_number("input", arg, NET_STRIDE, NET_SIZE_MAX, &c->input);
	case OPT_CHANNELS:
		return take_channels(l, arg);
	case OPT_THREADS:
		return parse_number("threads", arg, 1, 256, &l->threads);
	case OPT_WINDOWS:
		return take_windows(l, arg);
	case OPT_ORDER:
		return take_order(l, arg);
	case OPT_WRONG:
		return take_share("wrong", arg, &l->wrong);
	case OPT_UNLABELLED:
		return take_share("unlabelled", arg, &l->unlabelled);
	case OPT_LASTING:
		return take_share("lasting", arg, &l->lasting);
	case OPT_ONLY:
		l->only = arg;
		return 0;
	case OPT_QUICK:
		l->quick = true;
		return 0;
	}
	return -EINVAL;
}

/* What was not asked for. */
static void fill_defaults(struct lab *l, const struct choices *c)
{
	static const int channels[2][NET_LAYERS] = {{32, 64, 128}, {16, 32, 64}};

	l->seeds = c->seeds ? c->seeds : l->quick ? 1 : 3;
	l->steps = c->steps ? c->steps : l->quick ? 300 : 1200;
	l->seed = (uint64_t)c->seed;
	l->test_images = l->quick ? 1000 : INT32_MAX;
	l->shape.size = c->input ? c->input : strncmp(c->data, "folder:", 7) ? 32 : 64;
	if (!l->shape.channels[0])
		memcpy(l->shape.channels, channels[l->quick], sizeof(channels[0]));
	if (!l->n_qualities)
		take_qualities(l, "5,50,100");
	if (!l->n_windows)
		take_windows(l, "10");
}

/* Shares of what all pictures take at quality 50, to two digits. */
static int default_budgets(struct lab *l)
{
	struct rates rates = {.l = l};
	int n = l->data.split[TRAIN].n, r = rates_at(&rates, 50);
	_cleanup_free_ struct choice *v = malloc((size_t)MAX(n, 1) * sizeof(*v));
	double sum = 0;
	char text[16];

	for (int i = 0; v && i < n; i++)
		v[i] = (struct choice){i, 50};
	if (r == 0)
		r = v ? choice_bytes(&rates, PLAIN, v, n, &sum) : -ENOMEM;
	l->n_budgets = (int)(l->quick ? ARRAY_SIZE(quick_shares) : ARRAY_SIZE(default_shares));
	for (int i = 0; r == 0 && i < l->n_budgets; i++) {
		snprintf(text, sizeof(text), "%.1e", sum * (l->quick ? quick_shares : default_shares)[i]);
		l->budget[i] = strtod(text, NULL);
	}
	rates_done(&rates);
	return r;
}

static int run_verb(struct lab *l, const struct verb *v)
{
	double runs = v->runs(l);

	if (runs > 0)
		lab_announce(l, v->name, runs, v->scored ? v->scored(l) : 0);
	return v->run(l);
}

static int run(struct lab *l, const char *name, const char *spec)
{
	const char *only = l->only;
	bool all = !strcmp(name, "all"), report = !strcmp(name, "report");
	int64_t begin = clock_steady_us();
	char text[24];
	int r = lab_open(l, spec);

	if (r < 0) { /* it has said why */
		lab_close(l);
		return r;
	}
	if (!l->n_budgets && (all || !strcmp(name, "policies")))
		r = default_budgets(l);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(verbs); i++)
		if (all || !strcmp(name, verbs[i]->name)) {
			l->only = all && verbs[i] != &verb_policies ? NULL : only;
			r = run_verb(l, verbs[i]);
		}
	if (r == 0 && (all || report || strcmp(name, "bench") != 0)) {
		r = report_write(l);
		fprintf(stderr, "done in %s; see %s/report.html\n",
			format_time(clock_steady_us() - begin, text, sizeof(text)), l->out);
	}
	lab_close(l);
	if (r < 0)
		log_error("%s: %s", name, strerror(-r));
	return r;
}

static bool is_verb(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(name, verbs[i]->name))
			return true;
	return !strcmp(name, "all") || !strcmp(name, "report");
}

/* The names that a verb's --only may have; with all, the policies'. */
static const char *const *parts_of(const char *name)
{
	static const char *const none[] = {NULL};

	if (!strcmp(name, "all"))
		return verb_policies.parts;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(name, verbs[i]->name) && verbs[i]->parts)
			return verbs[i]->parts;
	return none;
}

static bool only_known(const char *only, const char *verb)
{
	const char *const *parts = parts_of(verb);

	for (const char *at = only; at; at = list_next_name(at)) {
		int i = 0;

		while (parts[i] && !list_name_is(at, parts[i]))
			i++;
		if (parts[i])
			continue;
		if (!parts[0]) {
			fprintf(stderr, "larder-lab: --only: %s is not made of parts\n", verb);
			return false;
		}
		fprintf(stderr, "larder-lab: --only %s: names with commas are expected, of", at);
		for (i = 0; parts[i]; i++)
			fprintf(stderr, " %s", parts[i]);
		fputc('\n', stderr);
		return false;
	}
	return true;
}

/* As larderd does: OpenBLAS reads its thread count before main, and the threads are ours. */
static void pin_blas(char **argv)
{
	if (getenv("OPENBLAS_NUM_THREADS") && getenv("OMP_NUM_THREADS"))
		return;
	setenv("OPENBLAS_NUM_THREADS", "1", 1);
	setenv("OMP_NUM_THREADS", "1", 1);
	execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	struct lab l = {.threads = (int)CLAMP(sysconf(_SC_NPROCESSORS_ONLN), 1, 64), .out = "lab-out"};
	struct choices c = {.seed = 1};
	int o;

	log_open("larder-lab", LOG_INFO);
	while ((o = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		if (o == 'h') {
			help(stdout);
			return 0;
		}
		if (o == OPT_VERSION) {
			puts("larder-lab " LARDER_VERSION);
			return 0;
		}
		if (o == '?' || take_option(&l, &c, o, optarg) < 0)
			return 2;
	}
	if (optind != argc - 1 || !is_verb(argv[optind])) {
		fprintf(stderr, "larder-lab: %s '%s'; see --help\n",
			optind < argc && is_verb(argv[optind]) ? "unexpected argument"
							       : "one verb is expected, not",
			optind >= argc		? ""
			: is_verb(argv[optind]) ? argv[optind + 1]
						: argv[optind]);
		return 2;
	}
	if (!c.data) {
		fputs("larder-lab: --data cifar10:DIR or --data folder:DIR is needed; see --help\n",
			stderr);
		return 2;
	}
	if (!only_known(l.only, argv[optind]))
		return 2;
	pin_blas(argv);
	fill_defaults(&l, &c);
	return run(&l, argv[optind], c.data) < 0;
}
