/* larderd: one program in three roles. */
#include <errno.h>
#include <getopt.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "daemon/daemon.h"
#include "daemon/hooks.h"
#include "daemon/salvage.h"
#include "daemon/trainer.h"
#include "daemon/worker.h"
#include "larder-config.h"

#define DEFAULT_CONFIG LARDER_SYSCONFDIR "/larder/larderd.conf"

static const char help[] =
	"Usage: larderd [OPTION]...\n"
	"Takes pictures from a spool directory, stores each at the JPEG quality that is worth its\n"
	"bytes, never exceeds its disk budget, and trains a network on them when the device is idle.\n"
	"\n"
	"  -c, --config FILE   settings (default: " DEFAULT_CONFIG ")\n"
	"      --check-config  check the settings and end\n"
	"      --print-config  print a sample file with every setting at its default and end\n"
	"      --salvage       make a damaged index anew from what can still be read, and end\n"
	"      --scratch DIR   --salvage: where there is room for a second index\n"
	"      --force         --salvage: even when less than half is left\n"
	"  -v, --verbose       log every decision\n"
	"  -h, --help          this text\n"
	"      --version       the version\n"
	"\n"
	"Runs in the foreground. SIGHUP reads the settings again, SIGTERM stops. Ask it with larderctl.\n";

/*
 * OpenBLAS reads its thread count before main: our threads are the only ones, so it is started over
 * with that said once. Returns only when it need not, or cannot.
 */
static void pin_blas(const char *exe, char **argv)
{
	if (getenv("OPENBLAS_NUM_THREADS") && getenv("OMP_NUM_THREADS"))
		return;
	setenv("OPENBLAS_NUM_THREADS", "1", 1);
	setenv("OMP_NUM_THREADS", "1", 1);
	execv(exe, argv); /* by its path, so that ps shows its name */
}

enum { OPT_CHECK = 256, OPT_PRINT, OPT_SALVAGE, OPT_SCRATCH, OPT_FORCE, OPT_VERSION };

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'},
	{"check-config", no_argument, NULL, OPT_CHECK},
	{"print-config", no_argument, NULL, OPT_PRINT},
	{"salvage", no_argument, NULL, OPT_SALVAGE},
	{"scratch", required_argument, NULL, OPT_SCRATCH},
	{"force", no_argument, NULL, OPT_FORCE},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

struct wish {
	const char *exe, *file, *scratch;
	char *const *argv;
	bool file_required, check, salvage, force;
};

static int run(const struct wish *w)
{
	char error[CONFIG_ERROR_MAX];
	struct config c;

	config_init(&c);
	if (config_load(&c, w->file, w->file_required, error) < 0) {
		log_error("%s", error);
		return 1;
	}
	if (w->check) {
		printf("%s: settings are valid\n", w->file);
		return 0;
	}
	if (w->salvage)
		return salvage_main(&c, w->scratch, w->force);
#ifdef M_ARENA_MAX
	mallopt(M_ARENA_MAX, 1); /* the writer's thread and the loop share: less stays behind after a rush */
#endif
	salvage_if_begun(&c);
	return daemon_run(w->exe, w->argv, w->file, w->file_required, &c);
}

int main(int argc, char **argv)
{
	enum log_level level = LOG_INFO;
	char exe[4096] = "";
	struct wish wish = {.exe = exe, .argv = argv, .file = DEFAULT_CONFIG};
	int o;

	if (argc >= 2 && !strcmp(argv[1], "--worker")) {
		log_open("larderd", LOG_INFO);
		return worker_main(argc > 2 && !strcmp(argv[2], "--background"));
	}
	if (argc == 2 && !strcmp(argv[1], "--trainer")) {
		log_open("larderd", LOG_INFO);
		return trainer_main();
	}
	if (argc > 2 && !strcmp(argv[1], "--hook")) {
		log_open("larderd", LOG_INFO);
		return hook_main(argv + 2);
	}
	while ((o = getopt_long(argc, argv, "c:vh", options, NULL)) >= 0)
		switch (o) {
		case 'c':
			wish.file = optarg;
			wish.file_required = true;
			break;
		case 'v':
			level = LOG_DBG;
			break;
		case OPT_CHECK:
			wish.check = true;
			break;
		case OPT_PRINT:
			config_print_sample(stdout);
			return 0;
		case OPT_SALVAGE:
			wish.salvage = true;
			break;
		case OPT_SCRATCH:
			wish.scratch = optarg;
			break;
		case OPT_FORCE:
			wish.force = true;
			break;
		case OPT_VERSION:
			puts("larderd " LARDER_VERSION);
			return 0;
		case 'h':
			fputs(help, stdout);
			return 0;
		default:
			return 2;
		}
	if (optind < argc) {
		fprintf(stderr, "larderd: unexpected argument '%s'; see --help\n", argv[optind]);
		return 2;
	}
	if ((wish.scratch || wish.force) && !wish.salvage) {
		fputs("larderd: --scratch and --force belong to --salvage\n", stderr);
		return 2;
	}
	log_open("larderd", level);
	if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0) {
		log_error("/proc/self/exe: %s", strerror(errno));
		return 1;
	}
	pin_blas(exe, argv);
	return run(&wish);
}
