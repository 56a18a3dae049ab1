/*
 * What every experiment shares: the data, the network, the options, and runs that are never
 * repeated.
 *
 * A run is a training and its evaluations. It is known by the digest of everything that decides its
 * outcome (pictures, labels and weights as the network gets them, options, seed, threads), and its
 * accuracies go to OUT/runs.log, one fsynced line each. A run found there is not done again, so an
 * experiment that was killed goes on where it was; a torn last line is a run not done.
 */
#pragma once

#include <stdarg.h>
#include <stdio.h>

#include "common/net/train.h"
#include "common/wire.h"
#include "tools/lab/data.h"

#define SEEDS_MAX 32
#define BUDGETS_MAX 16
#define QUALITIES_MAX 8 /* of cross-quality */
#define EVALS_MAX 24	/* evaluation sets of one run */
#define OUT_PATH_MAX 4096

enum order { ORDER_RANDOM, ORDER_CLASSES, ORDER_KEPT };

struct lab {
	struct data data;
	struct net_shape shape;
	struct team *team;
	int threads, steps, seeds;
	uint64_t seed;	   /* of the first; the others follow */
	double windows[8]; /* shares of the stream after which the device trains, ascending */
	int n_windows;
	enum order order;	    /* of the stream */
	double wrong, unlabelled;   /* shares of training pictures, data.h */
	double lasting;		    /* share of each class that stays as a sample of all its past */
	double budget[BUDGETS_MAX]; /* bytes */
	int n_budgets;
	int quality[QUALITIES_MAX], n_qualities; /* that cross-quality trains at, ascending */
	const char *only;			 /* parts of the verb, with commas; NULL: all */
	bool quick;
	int test_images; /* at most so many are evaluated on */
	char out[OUT_PATH_MAX];
	int out_fd;
	struct dataset test; /* original test pictures */

	struct known_run *known; /* of runs.log; owned, sorted by nobody */
	size_t n_known;
	int log_fd;

	struct {
		int64_t begin_us, said_us;
		double done, total; /* runs */
		double trained_s;   /* time in the runs really done */
		int trained;
		bool tty;
		char what[160];
	} progress;
};

/* 0 or a negative errno; errors have been logged. */
int lab_open(struct lab *l, const char *spec);
void lab_close(struct lab *l);

/* In a list with commas: whether the name at is this one; the next name, NULL after the last. */
bool list_name_is(const char *at, const char *name);
const char *list_next_name(const char *at);

/* Whether --only, if given, has the name. */
bool lab_wanted(const struct lab *l, const char *part);

/*
 * Says what follows and how long it will take at most, from a short calibration. runs: trainings;
 * scored: pictures through the network at every rung.
 */
void lab_announce(struct lab *l, const char *what, double runs, double scored);

/* Runs that turned out not to be needed. */
void lab_fewer_runs(struct lab *l, double runs);

/* Bar on a terminal, plain lines elsewhere. */
void lab_progress(struct lab *l, const char *fmt, ...) _printf_(2, 3);
void lab_progress_end(struct lab *l);

/* Memory for n pictures of the lab's size; weights 1. -ENOMEM. */
int lab_dataset(const struct lab *l, int n, struct dataset *ret);
void dataset_done(struct dataset *d);
#define _cleanup_dataset_ _cleanup_(dataset_done)

/*
 * Fills d (n pictures) in parallel: make() writes picture i's [size][size][3] to rgb and sets its
 * label; memory is this thread's scratch. Returns the first error, already logged.
 */
struct scratch {
	int member; /* of the team: 0..threads-1 */
	struct coef_image original, rung;
};
typedef int (*make_picture)(struct lab *l, void *arg, int i, struct scratch *s, uint8_t *rgb, int *label);
int lab_fill(struct lab *l, struct dataset *d, make_picture make, void *arg);

/* Runs fn(arg, i, scratch) for i in 0..n-1 on all threads. Returns the first error. */
typedef int (*for_each)(struct lab *l, void *arg, int i, struct scratch *s);
int lab_parallel(struct lab *l, int n, for_each fn, void *arg);

/* Decodes; a failure is logged. */
int lab_decode(const struct lab *l, enum split s, int i, struct coef_image *ret, int *ret_quality);

/* The test pictures through uniform quality q (100: as they are), at most l->test_images. */
int lab_test_at(struct lab *l, int quality, struct dataset *ret);

/*
 * Trains on data and evaluates on n_eval sets: accuracies 0..1. params, when not NULL, gets the
 * trained parameters [layout.total], which are kept in OUT/models. what names the run in progress.
 */
int lab_run(struct lab *l, const struct dataset *data, uint64_t seed, int steps,
	const struct dataset *const eval[], int n_eval, double ret_accuracy[], float *ret_params,
	const char *what);

/*
 * A run whose pictures come and go: the steps, schedule and evaluations of lab_run(), the steps taken
 * in slices, each on the pictures that are there then. begin, slices, end.
 *
 * It is known by all its slices' pictures, so only at its end. What decides them is in first and more:
 * when a run that began so is known, slices are not trained. Should the end be another all the same
 * (the code has changed), lab_spread_end() returns -ESTALE, and it is to be done again with again.
 * Zeroed before, spread_done() in every case.
 */
struct spread {
	char begin_key[33], key[33];
	bool begun, known;
	int steps;	  /* in all */
	uint64_t seed;
	struct buf state; /* of the training, between slices */
	double seconds;
};

int lab_spread_begin(struct lab *l, struct spread *s, const struct dataset *first, const struct buf *more,
	uint64_t seed, bool again);

/* Takes the steps up to the share until of all. */
int lab_spread_slice(
	struct lab *l, struct spread *s, const struct dataset *data, double until, const char *what);
int lab_spread_end(struct lab *l, struct spread *s, const struct dataset *last,
	const struct dataset *const eval[], int n_eval, double ret_accuracy[], const char *what);
void spread_done(struct spread *s);

/* OUT/name for writing, or NULL and an error logged. */
FILE *lab_create(const struct lab *l, const char *name);
int lab_close_file(FILE *f, const char *name);

/* Mean, half-width of the 95 % interval of the mean (Student's t; NAN for n < 2). */
double mean_of(const double *v, int n);
double interval_of(const double *v, int n);

/* A claim of the paper and what was found: one line of OUT/claims-<verb>.tsv. */
enum verdict { REPRODUCED, NOT_REPRODUCED, DIFFERS };
int lab_claim(FILE *f, enum verdict v, const char *claim, const char *fmt, ...) _printf_(4, 5);
