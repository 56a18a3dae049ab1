/*
 * The store: an SQLite index that holds small images inside it, plain .jpg files beside it for large
 * ones, accepted models and the quarantine, all within one hard limit of disk space.
 *
 *   index.db, index.db-wal, index.db-shm	the index
 *   objects/<id>-q<quality>.jpg		images above InlineMax
 *   models/model-<version>.safetensors		accepted models
 *   models/checkpoint				an interrupted training's state
 *   quarantine/<id>-<name>			captures that could not be stored, each with a .reason
 *   salvage.tried				empty: when larderd last made the index anew by itself
 *
 * There are two handles. A struct store writes; it is used by one thread at a time (the writer job).
 * A struct store_view reads; it belongs to the thread that opened it (the loop, the trainer).
 *
 * Invariants, checked at every start and by verify:
 *   I1  each row with IMAGE_FILE has its file, with the row's length; verify: and checksum
 *   I2  each file in objects/ has its row or a garbage mark
 *   I3  tally equals the counts and bytes of images, grouped by stratum and quality
 *   I4  index and directory carry the same uuid; schema version is ours
 *   I5  db + wal cap + shm + objects + models + quarantine + directories <= limit, as du counts
 *   I6  a capture whose bytes are stored or whose fate is counted is in `taken` until its spool file
 *	 is gone, so a crash between commit and unlink neither stores nor counts it twice
 *
 * store_relief_bytes() of the limit are kept back from batches that are not relief, so that freeing
 * space never lacks the space it needs: SQLite takes a row's new pages before it frees the old ones.
 *
 * Create: temporary name, write, fsync, rename, fsync directory, then the row. Remove: row becomes
 * a garbage mark, commit, unlink, and the mark goes with the next commit.
 *
 * Functions return 0 or a negative errno. -ENOSPC: the limit (or the disk) has no room; nothing was
 * changed. -E2BIG: the batch needs more write-ahead log than there may be, or a file by a name that it
 * gives up; send it in two. Others: nothing was changed either; store_error() says what SQLite said.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/io.h"
#include "common/wire.h"
#include "policy/ladder.h"

#define STORE_SCHEMA   2
#define PAGE_BYTES     4096 /* of the index */
#define NAME_KEPT_MAX  64 /* bytes of a capture's file name that are kept */
#define LABEL_MAX      255
#define STORE_PATH_MAX 512

enum image_flags {
	IMAGE_PINNED = 1,   /* never degraded, never dropped */
	IMAGE_FILE = 2,	    /* bytes are in objects/ */
	IMAGE_ORIGINAL = 4, /* bytes are the capture's own, of any format (Mode=drop) */
	IMAGE_SCORED = 8,   /* harm comes from a network */
	IMAGE_LOOSE = 16,   /* a complete file as it came while there is room: its first step costs nothing */
};

/* A row of images without its bytes. */
struct image_row {
	int64_t id;	    /* first 63 bits of the capture's SHA-256 */
	uint64_t hash;	    /* the next 64, but for those that draw it with its scene (policy/member.h) */
	uint32_t stratum;   /* policy/member.h */
	int rank;	    /* policy/member.h */
	int step;	    /* price code of the next step down, or the order to go in; -1 never */
	uint8_t quality, step_to;
	uint32_t tables;    /* the shared set it is packed with; 0: complete file */
	uint8_t layout;	    /* codec/coef.h */
	int width, height, orientation;
	uint32_t flags;
	int64_t taken_s;    /* capture time, seconds since 1970 */
	uint32_t bytes, crc; /* of what is stored: of a file with its tag (store_tag.h) */
	uint16_t sum;	    /* of the other columns as they were written; 0: none (store_row.c) */
	int64_t model;	    /* version that scored it */
	int n_harm;	    /* rungs of LADDER below quality, then quality itself */
	uint8_t harm[RUNGS_MAX]; /* kl_encode()d divergences */
	char name[NAME_KEPT_MAX + 1];
};

/* A spool file that has been dealt with, to be removed. */
struct taken_file {
	char path[STORE_PATH_MAX]; /* daemon/spools.h */
	uint64_t dev, ino;
	int64_t size, mtime_ns;
};

/* Notes all but the path; and whether what is there now is still the file that was noted. */
void taken_note(struct taken_file *f, const struct stat *st);
bool taken_is(const struct taken_file *f, const struct stat *st);

enum counter {
	COUNT_DUPLICATE, COUNT_QUARANTINED, COUNT_DROPPED, COUNT_OVERFLOWS, COUNT_WRITTEN,
	COUNT_LABELLED, /* labelled training images stored, and labels given since */
	COUNTERS,
	COUNT_CAME = 1 << 20 /* + a label's id: captures that came with it of late, whatever became of them */
};

enum op_kind {
	OP_INSERT,     /* row, data, file: a new image */
	OP_STEP,       /* row, data, was_quality: the same image degraded or packed; not a pinned one */
	OP_RESCORE,    /* row, was_quality: harm, step and model of the row; no IMAGE_LOOSE if it has none */
	OP_SPENT,      /* row.id: training has been shown it: member_rank_spent(, amount) */
	OP_REMOVE,     /* row.id: dropped; a pinned one only if row.flags & IMAGE_PINNED */
	OP_SET_ASIDE,  /* row.id, was_quality: its bytes are damaged; mended, or its file goes to quarantine */
	OP_RECOUNT,    /* the tally is made anew from the rows */
	OP_FADE,       /* of what came with each label half is forgotten: came_fade() */
	OP_COUNT,      /* file, counter: a capture that is not stored */
	OP_QUARANTINE, /* file, row.id, text: counted, to be moved to quarantine */
	OP_SETTLED,    /* taken_id: its spool file is gone, unless unsettled */
	OP_LABEL,      /* row.id, row.stratum; row.step and step_to if it is no longer for validation */
	OP_PIN,	       /* row.id, row.flags & IMAGE_PINNED; row.step and step_to when it is not */
	OP_META,       /* key, data */
	OP_TABLES,     /* data: a new shared table set; out: row.tables, its id */
	OP_ADD,	       /* counter, amount */
	OP_NEW_LABEL,  /* text: its name; out: row.stratum, its id */
};

struct op {
	struct op *next;
	enum op_kind kind;
	struct image_row row;
	struct buf data; /* owned; an object's file: its tag is appended */
	size_t picture_bytes; /* of data, when there is a tag behind them */
	struct taken_file file;
	uint8_t was_quality;
	enum counter counter;
	int64_t amount;
	int64_t taken_id; /* in for OP_SETTLED; out of the ops with a file */
	bool mended;	  /* out of OP_SET_ASIDE: it is whole and stays; at most a bit was to be put right... */
	bool doubtful;	  /* ...but for its row, which was damaged otherwise, and is taken as it is */
	bool unsettled;	  /* its spool file could not be removed (store_settle()): the record stays */
	char key[32];
	char text[LABEL_MAX + 1]; /* reason of a quarantine, name of a label */
	int result;	  /* out: 0, -EEXIST (insert: known content), -ESTALE (row has changed, or is to stay as
			     it is), -ENOSPC (relief that did not fit) */
	void *user;	  /* the caller's */
	void (*done)(void *user, struct op *op); /* loop thread, after the commit; owns op */
};

struct op *op_new(enum op_kind kind);
void op_free(struct op *op);
void op_free_all(struct op *first); /* and what follows it */
int op_count(const struct op *first);
DEFINE_FREEP(struct op, op_free)

/* Images of a stratum at a quality; at quality 0 there are none, but what came with a label. */
struct tally {
	uint32_t stratum;
	uint8_t quality;
	int64_t images, bytes, pinned;
	int64_t came; /* COUNT_CAME, of the stratum of training images */
};

struct stratum; /* policy/member.h */

/* Totals, or what a batch changed of them: ascending strata, and qualities within them. */
struct tally_list {
	struct tally *v; /* owned */
	size_t n, cap;
	bool failed;
};

void tally_add(struct tally_list *l, const struct tally *change);
void tally_done(struct tally_list *l);

/* Totals by stratum, ascending: count in *ret_n; freed by the caller; NULL when memory is short. */
struct stratum *tally_strata(const struct tally_list *l, size_t *ret_n);

/* What is left of a label's count of captures when it fades, so that it tells of late ones. */
static inline int64_t came_fade(int64_t came)
{
	return came - came / 2;
}

struct store;
struct store_view;

/* Everything that takes space, in bytes as du counts. */
struct usage {
	int64_t index, wal_cap, shm, objects, models, quarantine, directories;
	int64_t index_free; /* of index: pages that hold nothing */
	int64_t total;	    /* that the limit is kept by: what is promised to the log, or is on its way, too */
	int64_t on_disk;    /* now */
	struct disk_space disk;
};

/*
 * Opens or creates the store and sweeps what a crash left. max_use sizes the write-ahead log.
 * error gets a line for people. -EBUSY: another daemon has it; -EUCLEAN: damaged, use verify.
 */
int store_open(const char *path, int64_t max_use, struct store **ret, char error[256]);
void store_close(struct store *s);
DEFINE_FREEP(struct store, store_close)

const char *store_error(const struct store *s);

struct limits {
	int64_t total;	    /* everything */
	int64_t reserve;    /* of it, kept for models that are to come: not for images */
	int64_t quarantine; /* for the quarantine; never more than an eighth of total counts */
};

/* The log's cap follows a total that has halved or doubled, as soon as nobody reads from a longer one. */
void store_set_limits(struct store *s, const struct limits *limits);

/* How many ops one batch should have at most, given the log. */
int store_batch_max(const struct store *s);

/*
 * New bytes that a batch of relief may bring: a step's new file exists beside the old one until the
 * commit, and this much is kept free of other batches for it.
 */
int64_t store_relief_bytes(int64_t limit);

/*
 * Applies ops as one transaction; results in each op. relief: ops that free space and may use the
 * reserve. ret_change gets the totals' changes.
 */
int store_apply(struct store *s, struct op *ops, bool relief, struct tally_list *ret_change);

/* Makes shared table sets and their second copies good by one another; so does store_open(). */
int store_keep_sets(struct store *s);

/* How many shared table sets were damaged in the index, and made good by their second copies. */
int store_sets_restored(const struct store *s);

/* Gives up to pages free pages of the index back to the file system; returns how many. */
int store_shrink(struct store *s, int pages);

/*
 * Puts a few rows of images after that id closer together, as one transaction, and moves on to the last of
 * them; pages become free. Returns how many rows, 0 when there are none.
 */
int store_compact(struct store *s, int64_t *after);

/* Gives up memory that only caches. */
void store_forget_pages(struct store *s);

void store_usage(const struct store *s, struct usage *ret);

/* Durable file under models/ (NULL data removes it); counted, -ENOSPC over the limit. */
int store_write_model(struct store *s, const char *name, const void *data, size_t len);
int store_read_model(const struct store *s, const char *name, struct buf *ret);

/* A damaged one goes to quarantine, or is removed when it does not fit there. */
int store_set_model_aside(struct store *s, const char *name);

/* Names under models/: a network's; the state of a training. */
#define STORE_MODEL_NAME 48
#define CHECKPOINT_NAME	 "checkpoint"
void store_model_name(int64_t version, char ret[STORE_MODEL_NAME]);

/* The version of the newest network there is before that one; 0: none. */
int store_newest_model(const struct store *s, int64_t below, int64_t *ret);

/* Whether a spool file of this size can be kept in quarantine at all. Any thread. */
bool quarantine_fits(const struct limits *limits, int64_t bytes);

/*
 * After the commit: removes the spool file that path leads to from spool_fd, or moves it to quarantine with
 * its reason. A file that has been replaced meanwhile is left. 0 also when it is gone already.
 */
int store_settle(struct store *s, int spool_fd, const char *path, const struct taken_file *f, int64_t id,
	const char *reason);

/* Reading. */
int view_open(const char *path, struct store_view **ret, char error[256]);
void view_close(struct store_view *v);
DEFINE_FREEP(struct store_view, view_close)

void view_forget_pages(struct store_view *v);

/* -ENOENT when there is none. */
int view_row(struct store_view *v, int64_t id, struct image_row *ret);

/* The image's picture as it is stored, checksum checked: -EBADMSG when it is wrong. */
int view_data(struct store_view *v, const struct image_row *row, struct buf *ret);

/* Whether that result of it says that the bytes are gone or damaged, not that who asks lacks something. */
bool view_lost(int result);

/* Callbacks return false to stop. */
typedef bool (*row_fn)(void *user, const struct image_row *row);

/* Cheapest next steps first. */
int view_cheapest(struct store_view *v, int limit, row_fn fn, void *user);

/* Of a stratum, highest rank first, pinned ones left out. */
int view_last_ranks(struct store_view *v, uint32_t stratum, int limit, row_fn fn, void *user);

/* Of a stratum, lowest rank first. */
int view_first_ranks(struct store_view *v, uint32_t stratum, int limit, row_fn fn, void *user);

/* Of a stratum, lowest rank first and none below from, those that training has not been shown. */
int view_unspent(struct store_view *v, uint32_t stratum, int from, int limit, row_fn fn, void *user);

/* Of a stratum, those that last (policy/member.h), highest rank first; and how many there are. */
int view_lasting(struct store_view *v, uint32_t stratum, int limit, row_fn fn, void *user);
int64_t view_count_lasting(struct store_view *v, uint32_t stratum);

/* By id from after on; model >= 0: only rows not scored by that version. */
int view_walk(struct store_view *v, int64_t after, int64_t not_model, int limit, row_fn fn, void *user);

/*
 * By id from after on: images that are not pinned and were taken before, in seconds since 1970, what limit_s
 * says for their stratum.
 */
int view_older(struct store_view *v, int64_t after, int64_t (*limit_s)(void *user, uint32_t stratum),
	row_fn fn, void *user);

/* The id whose hexadecimal form begins with prefix; -ENOENT, -ENOTUNIQ. */
int view_find(struct store_view *v, const char *prefix, int64_t *ret_id);

int view_tallies(struct store_view *v, struct tally_list *ret); /* added to what is there */
int view_counters(struct store_view *v, int64_t ret[COUNTERS]);
int view_meta(struct store_view *v, const char *key, struct buf *ret);

/* Each label: id and name, in the order of ids. */
int view_labels(struct store_view *v, void (*fn)(void *user, uint32_t id, const char *name), void *user);

/* Each shared table set; -EUCLEAN when one was damaged, after all the others. */
int view_tables(struct store_view *v,
	void (*fn)(void *user, uint32_t id, const uint8_t *data, size_t len), void *user);

/* Each capture whose spool file may still be there. */
int view_taken(struct store_view *v,
	bool (*fn)(void *user, int64_t taken_id, const struct taken_file *f, int64_t id, const char *reason),
	void *user);

/* Findings of a check, one line each. */
struct verify_report {
	int64_t images, bytes;
	int damaged, missing, orphaned, tallies;
};

struct verify_events {
	void (*finding)(void *user, const char *line);
	/* Of a damaged image, of a damaged file under models/; may be NULL. bytes: the picture is whole. */
	void (*lost)(void *user, int64_t id, uint8_t quality, bool bytes);
	void (*lost_model)(void *user, const char *name);
	void *user;
};

/* Reads every object and model back and checks every invariant. */
int view_verify(struct store_view *v, const struct verify_events *events, struct verify_report *ret);
