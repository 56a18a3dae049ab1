/*
 * larderd.conf: one table row per setting says its section, key, type, range, default and help.
 * The parser, --check-config, the commented sample file and the manual page are all made from or
 * checked against that table.
 *
 * A configuration is built whole and then used; reload builds a second one and swaps. Functions
 * return 0 or a negative errno and put one line for people in ret_error: file, line, key, what is
 * wrong and what is allowed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CONFIG_PATH_MAX     512
#define CONFIG_CHANNELS_MAX 3
#define CONFIG_HOURS_MAX    8
#define CONFIG_RULES_MAX      16
#define CONFIG_LABEL_MAX      96
#define CONFIG_SPOOLS_MAX     15 /* besides the first */
#define CONFIG_SPOOL_NAME_MAX 33
#define CONFIG_SPOOL_PATH_MAX 200 /* of a further one: what lies in it has to fit into a record, too */
#define CONFIG_ERROR_MAX    1024

enum policy_mode { MODE_ADAPTIVE, MODE_UNIFORM, MODE_DROP };
enum scoring_mode { SCORING_AUTO, SCORING_FULL, SCORING_PREDICT };

/* A number of bytes, or a share of the file system. */
struct amount {
	int64_t bytes;
	double percent;
	bool is_percent;
};

/* Minutes of the day, from inclusive, to exclusive; from > to spans midnight. */
struct hours {
	int n;
	struct {
		int from_min, to_min;
	} range[CONFIG_HOURS_MAX];
};

/* How long images of a label are kept; "*": of every other, unlabelled ones included. */
struct ages {
	int n;
	struct {
		int64_t us;
		char label[CONFIG_LABEL_MAX];
	} rule[CONFIG_RULES_MAX];
};

/* What share of the space of all images a label has to itself. */
struct share {
	double percent;
	char label[CONFIG_LABEL_MAX];
};

struct shares {
	int n;
	struct share rule[CONFIG_RULES_MAX];
};

/* [Spool NAME]: a further directory that captures are dropped into. */
struct more_spool {
	char name[CONFIG_SPOOL_NAME_MAX], path[CONFIG_SPOOL_PATH_MAX];
	char label[CONFIG_LABEL_MAX]; /* of what lies in it and not in a sub-directory; "": none */
	double min_share_percent;     /* of that label; 0: none */
};

struct config {
	struct {
		char path[CONFIG_PATH_MAX];
		int64_t settle_us, max_file_bytes, max_pixels;
	} spool;
	int n_spools;
	struct more_spool more[CONFIG_SPOOLS_MAX];
	struct {
		char path[CONFIG_PATH_MAX];
		struct amount max_use, keep_free;
		int64_t inline_max_bytes, quarantine_max_bytes;
		struct ages max_age;
		struct shares min_share;
		bool auto_salvage;
	} store;
	struct {
		int mode, scoring; /* enum policy_mode, enum scoring_mode */
		int64_t quality, min_quality, max_quality, min_per_class, lasting_percent;
		bool repeats_first;
	} policy;
	struct {
		int64_t input_size, channels[CONFIG_CHANNELS_MAX];
	} model;
	struct {
		bool enabled;
		int64_t epochs, batch_size, min_new_images, course_images, keep_models, threads;
		double validation_percent;
	} training;
	struct {
		int64_t quiet_us;
		double max_cpu_pressure, max_io_pressure, max_load, min_battery, max_temp;
		bool on_battery;
		struct hours hours;
	} idle;
	struct {
		char on_stored[CONFIG_PATH_MAX], on_trained[CONFIG_PATH_MAX]; /* "": none */
	} hooks;
	struct {
		char socket[CONFIG_PATH_MAX], group[64];
	} control;
};

/* Every setting at its default. */
void config_init(struct config *c);

/*
 * Reads file and then, in the order of their names, every *.conf in the directory "<file>.d".
 * A missing file is an error only when required.
 */
int config_load(struct config *c, const char *file, bool required, char ret_error[CONFIG_ERROR_MAX]);

/* One "Section.Key=value" assignment, as --set on a command line; where names it in the error. */
int config_set(struct config *c, const char *section, const char *key, const char *value,
	const char *where, char ret_error[CONFIG_ERROR_MAX]);

/* What no single row can see: limits that contradict each other. */
int config_validate(const struct config *c, char ret_error[CONFIG_ERROR_MAX]);

/* Writes the sample file: every setting commented out at its default, with its help. */
void config_print_sample(FILE *f);

/* The i-th label with a share of the space to itself, by Store.MinShare or its spool; false: no more. */
bool config_share(const struct config *c, int i, struct share *ret);

/* Bytes of an amount on a file system of total_bytes. */
int64_t amount_bytes(const struct amount *a, int64_t total_bytes);

const char *policy_mode_name(enum policy_mode mode);
