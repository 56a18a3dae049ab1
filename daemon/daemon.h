/*
 * The daemon's one state and what its parts ask of each other. Everything here belongs to the loop
 * thread; the writer's thread and the child processes work on copies.
 *
 * A capture's way: spool (found) -> intake (read, decided) -> pool (decoded, scored, encoded)
 * -> writer (stored) -> intake (forgotten). Room comes from the keeper, models from training.
 */
#pragma once

#include <uv.h>

#include "common/config.h"
#include "common/net/model.h"
#include "daemon/history.h"
#include "daemon/pool.h"
#include "daemon/proto.h"
#include "daemon/recent.h"
#include "daemon/spools.h"
#include "daemon/store.h"
#include "daemon/writer.h"
#include "policy/choose.h"
#include "policy/curve.h"
#include "policy/member.h"
#include "policy/plan.h"
#include "policy/steps.h"

struct intake;
struct keeper;
struct training;
struct control;
struct hooks;
struct expire;

struct label {
	uint32_t id;
	char *name; /* owned */
};

struct daemon {
	uv_loop_t *loop;
	const char *exe, *config_file; /* borrowed */
	char *const *argv;	       /* borrowed: what larderd was started with */
	bool config_required;
	struct config config;
	int64_t limit; /* bytes for everything under the store's directory, now */
	int64_t started_us, last_capture_us; /* steady clock */
	bool stopping;

	struct store *store; /* the writer thread's while the writer is busy */
	struct store_view *view;
	struct spools *spools;
	struct pool *pool;
	struct writer *writer;
	struct intake *intake;
	struct keeper *keeper;
	struct training *training;
	struct control *control;
	struct hooks *hooks;
	struct expire *expire;
	uv_signal_t signals[4];
	uv_timer_t watchdog, limit_timer, stop_timer;
	bool stored_since, disk_idle; /* since the last look at the disk; not between the last two */
	bool disk_shrunk;	      /* as it seemed at the last look */

	/* Copies of what the index holds, kept in step with each commit. */
	struct tally_list tally;
	int64_t counters[COUNTERS];
	bool fading; /* an OP_FADE is under way */
	struct label *labels; /* owned; ascending ids */
	size_t n_labels;

	/* Policy's state. */
	struct population population;
	float price;
	int64_t sequence; /* captures taken so far */
	struct recent recent;
	struct history history;
	struct model model; /* current; params NULL: none */
};

/* Runs until told to stop; returns the exit status. argv: to start over with. */
int daemon_run(const char *exe, char *const *argv, const char *config_file, bool config_required,
	const struct config *c);

/* Tells who supervises us, as sd_notify() does. */
void daemon_notify(const char *state);

/*
 * What the store may take, in bytes as du counts: MaxUse, or what KeepFree leaves where it takes `used` and the
 * file system has so much left.
 */
int64_t daemon_limit(const struct config *c, int64_t used, const struct disk_space *disk);

/* Reads the configuration again and swaps it in; error gets a line. Paths cannot change. */
int daemon_reload(struct daemon *d, char error[CONFIG_ERROR_MAX]);
void daemon_stop(struct daemon *d);

/* Works the limit out again from settings and file system, and tells the writer. */
void daemon_update_limit(struct daemon *d);

/* Saves population and price with the next batch. */
void daemon_save_policy(struct daemon *d);

/* Remembers a training that ended, and saves the history. */
void daemon_remember(struct daemon *d, const struct history_training *t);

const char *daemon_label_name(const struct daemon *d, uint32_t id);
uint32_t daemon_label_id(const struct daemon *d, const char *name); /* 0: unknown */
int daemon_add_label(struct daemon *d, uint32_t id, const char *name);

int64_t daemon_images(const struct daemon *d);

/* The same, with their bytes and mean quality, 0 when there are none. */
int64_t daemon_totals(const struct daemon *d, int64_t *ret_bytes, double *ret_quality);
int64_t daemon_captures(const struct daemon *d); /* ever taken */

/* intake.c: captures from found to stored. */
struct intake *intake_new(struct daemon *d);
void intake_free(struct intake *in);
bool intake_offer(void *daemon, const char *path); /* a spool_fn */

/* This spool file stays where it is although it has been dealt with: it is not taken again. */
void intake_leave(struct daemon *d, const struct taken_file *f);
int intake_in_flight(const struct intake *in);

/* keeper.c: room, degrading, dropping, rescoring. */
struct keeper *keeper_new(struct daemon *d);
void keeper_free(struct keeper *k);
/* hard: steps could not be applied for want of room themselves; drop. */
void keeper_make_room(struct daemon *d, int64_t need, bool hard);
/* What a byte is worth to a capture: when the store is full, what it will be worth before long. */
float keeper_door_price(const struct daemon *d);
bool keeper_nearly_full(const struct daemon *d); /* less than a tenth to spare: images pay for what comes */
/* Learns shared tables when it is time; an image that is not scored yet will be. */
void keeper_image_met(struct daemon *d, bool scored);
void keeper_tables_known(struct daemon *d, int sets, const struct table_set *newest);
void keeper_check(struct daemon *d); /* over the limit, images to rescore? */
void keeper_new_model(struct daemon *d);
void keeper_rescore(struct daemon *d); /* images that the current model has not scored */
bool keeper_refuses(const struct daemon *d); /* anything at all, at the door */
bool keeper_at_the_door(const struct daemon *d, uint32_t stratum, int rank, int step);
struct plan keeper_plan(const struct daemon *d, double budget);

/* The plan for another limit, what it costs an image (nats) and how many originals it is worth. */
struct plan keeper_plan_at(
	const struct daemon *d, int64_t limit, double *ret_divergence, double *ret_worth);
void keeper_stop(struct keeper *k);

/* At the start and when settings were read again: steps are worked out anew if they were for others. */
void keeper_settings(struct daemon *d);

/* An image's next step as the settings are now; sequence: for Mode=uniform. */
struct next_step next_of_row(const struct daemon *d, const struct image_row *row, int64_t sequence);

/* A row's curve as stored: divergences known, rates to be filled in. */
void curve_of_row(const struct image_row *row, int min_quality, struct curve *ret);

/* A row as a worker is told of it; what is asked and the label are the caller's to set. */
struct stored_image stored_of_row(const struct image_row *row);

void row_set_step(struct image_row *row, struct next_step next);

/* Codes the divergences of the rungs up to rung at into the row. */
void row_set_harm(struct image_row *row, const struct curve *c, int at);

/* training.c: when to train, and the trainer process. */
struct training *training_new(struct daemon *d);
void training_stop(struct training *t);
void training_free(struct training *t);
void training_check(struct daemon *d); /* something changed that may start or stop it */
void training_request(struct daemon *d, bool now);
void training_pause(struct daemon *d, bool pause);
void training_wait(struct daemon *d, void (*fn)(void *user, bool ok, const char *text), void *user);
void training_forget(struct daemon *d, void *user);

struct training_status {
	const char *state; /* idle, waiting, running, paused */
	char why[200];
	int epoch, epochs, new_images;
	float loss;
};

void training_status(const struct daemon *d, struct training_status *ret);

/*
 * models.c: models in the store. load: at the start, before the writer runs. use: makes m, a model from
 * elsewhere, the current one; fn hears when it is stored, or why not; a training that is going on has to be
 * over first. reserve: bytes that models will take and do not yet, kept free of images. mend: a damaged
 * file under models/ is set aside, and what is known of it elsewhere written anew; fn hears when that is
 * done. False: it will not be, for want of memory.
 */
int models_load(struct daemon *d);
void models_use(struct daemon *d, const struct model *m,
	void (*fn)(void *user, bool ok, const char *text), void *user);
int64_t models_reserve(const struct daemon *d);
bool models_mend(struct daemon *d, const char *name, void (*fn)(void *user), void *user);

/* probe.c: bytes of memory and processors that the machine has, or our control groups may use. */
int64_t probe_memory(void);
int probe_processors(void);
/* Measurements for policy/idle.h; trainer_threads is taken out of the load. */
struct idle_sample;
void probe_idle(int64_t last_capture_us, bool training, int trainer_threads, struct idle_sample *ret);

/* A device that is hot, or has other work, or is on battery, is so for a while: then to look again. */
#define BUSY_MS 5000

/* control.c: the varlink socket. */
int control_open(struct daemon *d, char error[256]);
void control_set_access(const struct daemon *d); /* as Control.Group says now */
void control_stop(struct control *c);
void control_free(struct control *c);
