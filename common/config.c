#include "common/config.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/macros.h"
#include "common/parse.h"

enum setting_type {
	TYPE_PATH,     /* absolute path, shorter than hi */
	TYPE_COMMAND,  /* absolute path and arguments, or empty */
	TYPE_NAME,     /* word */
	TYPE_SIZE,     /* bytes, lo..hi */
	TYPE_COUNT,    /* a size used as a number: 50M pixels */
	TYPE_AMOUNT,   /* bytes or a percentage */
	TYPE_TIME,     /* microseconds, lo..hi in seconds */
	TYPE_PERCENT,  /* written with % */
	TYPE_DOUBLE,   /* lo..hi */
	TYPE_INT,      /* lo..hi */
	TYPE_BOOL,     /* yes or no */
	TYPE_CHOICE,   /* one of choices */
	TYPE_CHANNELS, /* three integers, lo..hi */
	TYPE_HOURS,    /* HH:MM-HH:MM, ... or empty */
	TYPE_AGES,     /* time label, ... or empty */
	TYPE_SHARES,   /* percentage label, ... or empty */
	TYPE_LABEL,    /* as a sub-directory could be called, or empty */
};

struct setting {
	const char *section, *key;
	enum setting_type type;
	size_t offset;
	double lo, hi;
	const char *initial;
	const char *help;
	const char *const *choices;
};

static const char *const mode_names[] = {"adaptive", "uniform", "drop", NULL};
static const char *const scoring_names[] = {"auto", "full", "predict", NULL};

#define AT(field) offsetof(struct config, field)

/* A section that there may be many of, each with a name of its own; offsets are into a struct more_spool. */
#define SPOOL_NAMED    "Spool NAME"
#define AT_MORE(field) offsetof(struct more_spool, field)

#define SHARES_MAX_PERCENT 90 /* that labels may have to themselves, together */

static const struct setting settings[] = {
	{"Spool", "Path", TYPE_PATH, AT(spool.path), 0, CONFIG_PATH_MAX, "/var/spool/larder",
		"Directory that captures are dropped into; a sub-directory is a label.", NULL},
	{"Spool", "SettleSec", TYPE_TIME, AT(spool.settle_us), 0, 3600, "2s",
		"A file found by a scan must not have changed for this long.", NULL},
	{"Spool", "MaxFileSize", TYPE_SIZE, AT(spool.max_file_bytes), 1024, 1 << 30, "64M",
		"Larger captures go to quarantine unread.", NULL},
	{"Spool", "MaxPixels", TYPE_COUNT, AT(spool.max_pixels), 1024, 1 << 29, "50M",
		"Captures with more pixels go to quarantine undecoded.", NULL},
	{"Store", "Path", TYPE_PATH, AT(store.path), 0, CONFIG_PATH_MAX, "/var/lib/larder",
		"Directory of the store: index, objects, models, quarantine.", NULL},
	{"Store", "MaxUse", TYPE_AMOUNT, AT(store.max_use), 1 << 20, 0x1p60, "1G",
		"Everything under the store's directory stays below this, as du counts it.", NULL},
	{"Store", "KeepFree", TYPE_AMOUNT, AT(store.keep_free), 0, 0x1p60, "5%",
		"Space of the file system left to others; the tighter of the two limits wins.", NULL},
	{"Store", "InlineMax", TYPE_SIZE, AT(store.inline_max_bytes), 0, 1 << 20, "64K",
		"Images up to this size live inside the index, larger ones as .jpg files.", NULL},
	{"Store", "QuarantineMaxUse", TYPE_SIZE, AT(store.quarantine_max_bytes), 0, 0x1p50, "16M",
		"Space for captures that cannot be decoded; the oldest go first. Never more than an "
		"eighth of MaxUse.", NULL},
	{"Store", "MaxAge", TYPE_AGES, AT(store.max_age), 0, 0, "",
		"How long images are kept, by label; * stands for all others. Pinned images stay. Older "
		"ones are removed within an hour, or a thirtieth of the time. Empty: for ever.", NULL},
	{"Store", "MinShare", TYPE_SHARES, AT(store.min_share), 0, SHARES_MAX_PERCENT, "",
		"Labels that have a share of the space to themselves: while such a label's images take less "
		"than it of the room, others make room. Together at most 90%. Mode=adaptive only.", NULL},
	{"Store", "AutoSalvage", TYPE_BOOL, AT(store.auto_salvage), 0, 0, "yes",
		"Make a damaged index anew at once, as larderd --salvage does without --force.", NULL},
	{"Policy", "Mode", TYPE_CHOICE, AT(policy.mode), 0, 0, "adaptive",
		"adaptive; or a naive policy: uniform (one quality, oldest dropped), drop (original "
		"bytes, random sample).", mode_names},
	{"Policy", "Quality", TYPE_INT, AT(policy.quality), 1, 100, "75",
		"JPEG quality of Mode=uniform.", NULL},
	{"Policy", "MinQuality", TYPE_INT, AT(policy.min_quality), 1, 100, "2",
		"No image is stored at a lower JPEG quality.", NULL},
	{"Policy", "MaxQuality", TYPE_INT, AT(policy.max_quality), 1, 100, "95",
		"No image is stored at a higher JPEG quality.", NULL},
	{"Policy", "MinPerClass", TYPE_INT, AT(policy.min_per_class), 0, 1 << 20, "20",
		"The last images of a label that are not dropped for room.", NULL},
	{"Policy", "LastingPercent", TYPE_INT, AT(policy.lasting_percent), 0, 90, "0",
		"So many of a label's images stay as a random sample of all its past; the others make room "
		"once they have been learnt from, oldest first.", NULL},
	{"Policy", "RepeatsFirst", TYPE_BOOL, AT(policy.repeats_first), 0, 0, "yes",
		"Of images of a label that look alike those beyond a few go first when room is needed, and "
		"all but the first once they have been learnt from.", NULL},
	{"Policy", "Scoring", TYPE_CHOICE, AT(policy.scoring), 0, 0, "auto",
		"full: every rung through the network at once; predict: an average image's curve until "
		"idle time scores it; auto: predict what has waited for 10 minutes.", scoring_names},
	{"Model", "InputSize", TYPE_INT, AT(model.input_size), 16, 256, "32",
		"Side of the square network input in pixels; a multiple of 8.", NULL},
	{"Model", "Channels", TYPE_CHANNELS, AT(model.channels), 4, 1024, "32 64 128",
		"Channels of the three convolutions.", NULL},
	{"Training", "Enabled", TYPE_BOOL, AT(training.enabled), 0, 0, "yes",
		"Train in idle windows.", NULL},
	{"Training", "Epochs", TYPE_INT, AT(training.epochs), 1, 10000, "30",
		"Passes over the stored labelled images.", NULL},
	{"Training", "BatchSize", TYPE_INT, AT(training.batch_size), 1, 4096, "64",
		"Images per optimiser step.", NULL},
	{"Training", "MinNewImages", TYPE_INT, AT(training.min_new_images), 1, 1e9, "200",
		"New labelled images, or new labels on old ones, that are worth a training.", NULL},
	{"Training", "CourseImages", TYPE_INT, AT(training.course_images), 0, 1e9, "20000",
		"Once an eighth of all is dropped, a training is spread over as many labelled captures as came "
		"before it, at most this many, and learns from each while it is held. 0: at once.", NULL},
	{"Training", "KeepModels", TYPE_INT, AT(training.keep_models), 1, 100, "3",
		"Accepted models kept for rollback; fewer when they would take a quarter of MaxUse.", NULL},
	{"Training", "ValidationShare", TYPE_PERCENT, AT(training.validation_percent), 1, 50, "10%",
		"Share of labelled images, chosen by content hash, that is never trained on.", NULL},
	{"Training", "Threads", TYPE_INT, AT(training.threads), 0, 256, "0",
		"Threads of the trainer; 0: one per core.", NULL},
	{"Idle", "QuietSec", TYPE_TIME, AT(idle.quiet_us), 0, 86400, "30s",
		"No capture for this long.", NULL},
	{"Idle", "MaxCpuPressure", TYPE_DOUBLE, AT(idle.max_cpu_pressure), 0, 100, "10",
		"Upper limit of avg10 in /proc/pressure/cpu, in percent, for a training to begin.", NULL},
	{"Idle", "MaxIoPressure", TYPE_DOUBLE, AT(idle.max_io_pressure), 0, 100, "10",
		"Upper limit of avg10 in /proc/pressure/io, in percent, for a training to begin.", NULL},
	{"Idle", "MaxLoad", TYPE_DOUBLE, AT(idle.max_load), 0, 1000, "0.5",
		"Upper limit of the one-minute load per core; the trainer's own threads not counted.", NULL},
	{"Idle", "MinBattery", TYPE_DOUBLE, AT(idle.min_battery), 0, 100, "50",
		"On battery (OnBattery=yes): only above this charge, in percent.", NULL},
	{"Idle", "OnBattery", TYPE_BOOL, AT(idle.on_battery), 0, 0, "no",
		"Train on battery at all.", NULL},
	{"Idle", "MaxTemp", TYPE_DOUBLE, AT(idle.max_temp), 0, 200, "75",
		"Hottest thermal zone, in degrees Celsius. Above it a training is held until it is 5 cooler.",
		NULL},
	{"Idle", "Hours", TYPE_HOURS, AT(idle.hours), 0, 0, "",
		"Local hours in which training may run: 22:00-06:00, 12:00-13:30. Empty: always.", NULL},
	{"Hooks", "OnStored", TYPE_COMMAND, AT(hooks.on_stored), 0, 0, "",
		"Runs when images were stored; gets a line of JSON for each on its standard input. No shell; "
		"not as root; a minute at most.", NULL},
	{"Hooks", "OnTrained", TYPE_COMMAND, AT(hooks.on_trained), 0, 0, "",
		"The same when a training has ended.", NULL},
	{"Control", "Socket", TYPE_PATH, AT(control.socket), 0, CONFIG_PATH_MAX, "/run/larder/control.sock",
		"Unix socket of the control interface.", NULL},
	{"Control", "Group", TYPE_NAME, AT(control.group), 0, 0, "larder",
		"Members may ask; changing things needs root or the daemon's user.", NULL},
	{SPOOL_NAMED, "Path", TYPE_PATH, AT_MORE(path), 0, CONFIG_SPOOL_PATH_MAX,
		"/var/spool/larder-name",
		"A further spool, one such section for each. The other settings of [Spool] hold for all.",
		NULL},
	{SPOOL_NAMED, "Label", TYPE_LABEL, AT_MORE(label), 0, 0, "",
		"Label of captures in that directory itself; its sub-directories are labels as everywhere.",
		NULL},
	{SPOOL_NAMED, "MinShare", TYPE_PERCENT, AT_MORE(min_share_percent), 0, SHARES_MAX_PERCENT, "0%",
		"Share of the space that this Label has to itself, as if it were in [Store] MinShare.", NULL},
};

static bool is_named(const struct setting *s)
{
	return !strcmp(s->section, SPOOL_NAMED);
}

static const struct setting *find_setting(const char *section, const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (!strcmp(settings[i].section, section) && !strcmp(settings[i].key, key))
			return &settings[i];
	return NULL;
}

const char *policy_mode_name(enum policy_mode mode)
{
	return mode_names[mode];
}

int64_t amount_bytes(const struct amount *a, int64_t total_bytes)
{
	return a->is_percent ? (int64_t)((double)total_bytes * a->percent / 100) : a->bytes;
}

static int parse_channels(const struct setting *s, const char *value, int64_t *ret)
{
	int64_t v[CONFIG_CHANNELS_MAX];
	const char *p = value;

	for (int i = 0; i < CONFIG_CHANNELS_MAX; i++) {
		char *end;

		v[i] = strtoll(p, &end, 10);
		if (end == p)
			return -EINVAL;
		if ((double)v[i] < s->lo || (double)v[i] > s->hi)
			return -ERANGE;
		p = end;
	}
	if (*p)
		return -EINVAL;
	memcpy(ret, v, sizeof(v));
	return 0;
}

static int parse_clock(const char **p, int *ret_min)
{
	char *end;
	long h = strtol(*p, &end, 10), m;

	if (end == *p || *end != ':')
		return -EINVAL;
	*p = end + 1;
	m = strtol(*p, &end, 10);
	if (end == *p)
		return -EINVAL;
	*p = end;
	if (h < 0 || h > 24 || m < 0 || m > 59 || (h == 24 && m > 0))
		return -ERANGE;
	*ret_min = (int)(h * 60 + m);
	return 0;
}

static int parse_hours(const char *value, struct hours *ret)
{
	struct hours h = {0};
	const char *p = value + strspn(value, " ");

	while (*p) {
		int r;

		if (h.n == CONFIG_HOURS_MAX)
			return -ERANGE;
		r = parse_clock(&p, &h.range[h.n].from_min);
		if (r == 0 && *p++ != '-')
			r = -EINVAL;
		if (r == 0)
			r = parse_clock(&p, &h.range[h.n].to_min);
		if (r < 0)
			return r;
		h.n++;
		p += strspn(p, ", ");
	}
	*ret = h;
	return 0;
}

/* One of "30d person, 365d *". */
static int add_age(const char *value, const char *label, void *user)
{
	struct ages *to = user;
	int64_t us;
	int r = to->n == CONFIG_RULES_MAX ? -ERANGE : parse_time(value, &us);

	if (r < 0)
		return r;
	if (us < 60 * US_PER_SEC)
		return -ERANGE;
	to->rule[to->n].us = us;
	snprintf(to->rule[to->n++].label, CONFIG_LABEL_MAX, "%s", label);
	return 0;
}

/* One of "30% door, 10% yard". */
static int add_share(const char *value, const char *label, void *user)
{
	struct shares *to = user;
	double percent, sum = 0;
	int r = to->n == CONFIG_RULES_MAX ? -ERANGE : parse_percent(value, &percent);

	if (r < 0)
		return r;
	for (int i = 0; i < to->n; i++) {
		if (!strcmp(to->rule[i].label, label))
			return -EINVAL;
		sum += to->rule[i].percent;
	}
	if (!(percent > 0) || sum + percent > SHARES_MAX_PERCENT)
		return -ERANGE;
	to->rule[to->n].percent = percent;
	snprintf(to->rule[to->n++].label, CONFIG_LABEL_MAX, "%s", label);
	return 0;
}

/* "VALUE LABEL, VALUE LABEL": up to the comma, which no label here may hold, the rest is its name. */
static int parse_rules(
	const char *text, int (*add)(const char *value, const char *label, void *to), void *to)
{
	const char *p = text + strspn(text, " ");

	while (*p) {
		char rule[CONFIG_LABEL_MAX + 32], *label;
		size_t len = strcspn(p, ","), used = len;
		int r;

		while (used && p[used - 1] == ' ')
			used--;
		if (used >= sizeof(rule))
			return -ERANGE;
		memcpy(rule, p, used);
		rule[used] = '\0';
		label = strchr(rule, ' ');
		if (!label)
			return -EINVAL;
		*label++ = '\0';
		label += strspn(label, " ");
		r = strlen(label) < CONFIG_LABEL_MAX ? add(rule, label, to) : -ERANGE;
		if (r < 0)
			return r;
		p += len;
		p += strspn(p, ", ");
	}
	return 0;
}

static int parse_ages(const char *value, struct ages *ret)
{
	struct ages a = {0};
	int r = parse_rules(value, add_age, &a);

	if (r == 0)
		*ret = a;
	return r;
}

static int parse_shares(const char *value, struct shares *ret)
{
	struct shares a = {0};
	int r = parse_rules(value, add_share, &a);

	if (r == 0)
		*ret = a;
	return r;
}

static int parse_choice(const struct setting *s, const char *value, int *ret)
{
	for (int i = 0; s->choices[i]; i++)
		if (!strcmp(s->choices[i], value)) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}

static int parse_amount(const struct setting *s, const char *value, struct amount *ret)
{
	struct amount a = {0};
	int r;

	if (strchr(value, '%')) {
		a.is_percent = true;
		r = parse_percent(value, &a.percent);
	} else {
		r = parse_size(value, &a.bytes);
		if (r == 0 && (double)a.bytes < s->lo)
			r = -ERANGE;
	}
	if (r == 0)
		*ret = a;
	return r;
}

static int in_range(const struct setting *s, double v)
{
	return v >= s->lo && v <= s->hi ? 0 : -ERANGE;
}

static int parse_path(const char *value, size_t size, char *ret)
{
	if (value[0] != '/')
		return -EINVAL;
	if (strlen(value) >= size)
		return -ERANGE;
	strcpy(ret, value);
	return 0;
}

static int parse_command(const char *value, char ret[CONFIG_PATH_MAX])
{
	ret[0] = value[0] ? ret[0] : '\0';
	return value[0] ? parse_path(value, CONFIG_PATH_MAX, ret) : 0;
}

static int parse_name(const char *value, char ret[64])
{
	if (strlen(value) >= 64)
		return -ERANGE;
	strcpy(ret, value);
	return 0;
}

static int parse_label(const char *value, char ret[CONFIG_LABEL_MAX])
{
	if (strchr(value, '/') || value[0] == '.')
		return -EINVAL;
	if (strlen(value) >= CONFIG_LABEL_MAX)
		return -ERANGE;
	strcpy(ret, value);
	return 0;
}

/* Parses value into the field of s, counted from base; the field changes only on success. */
static int assign(void *base, const struct setting *s, const char *value)
{
	void *field = (char *)base + s->offset;
	int64_t i = 0;
	double d = 0;
	int r = -EINVAL;

	switch (s->type) {
	case TYPE_PATH:
		return parse_path(value, (size_t)s->hi, field);
	case TYPE_COMMAND:
		return parse_command(value, field);
	case TYPE_NAME:
		return parse_name(value, field);
	case TYPE_AMOUNT:
		return parse_amount(s, value, field);
	case TYPE_BOOL:
		return parse_bool(value, field);
	case TYPE_CHOICE:
		return parse_choice(s, value, field);
	case TYPE_CHANNELS:
		return parse_channels(s, value, field);
	case TYPE_HOURS:
		return parse_hours(value, field);
	case TYPE_AGES:
		return parse_ages(value, field);
	case TYPE_SHARES:
		return parse_shares(value, field);
	case TYPE_LABEL:
		return parse_label(value, field);
	case TYPE_SIZE:
	case TYPE_COUNT:
		r = parse_size(value, &i);
		d = (double)i;
		break;
	case TYPE_TIME:
		r = parse_time(value, &i);
		d = (double)i / US_PER_SEC;
		break;
	case TYPE_INT:
		r = parse_int(value, &i);
		d = (double)i;
		break;
	case TYPE_PERCENT:
		r = parse_percent(value, &d);
		break;
	case TYPE_DOUBLE:
		r = parse_double(value, &d);
		break;
	}
	if (r == 0)
		r = in_range(s, d);
	if (r < 0)
		return r;
	if (s->type == TYPE_PERCENT || s->type == TYPE_DOUBLE)
		*(double *)field = d;
	else
		*(int64_t *)field = i;
	return 0;
}

/* Says in words what s accepts. */
static void describe_allowed(const struct setting *s, char *out, size_t size)
{
	char lo[24], hi[24];

	switch (s->type) {
	case TYPE_PATH:
		snprintf(out, size, "an absolute path shorter than %.0f bytes", s->hi);
		break;
	case TYPE_COMMAND:
		snprintf(out, size,
			"a program's absolute path and its arguments, shorter than %d bytes, or nothing",
			CONFIG_PATH_MAX);
		break;
	case TYPE_NAME:
		snprintf(out, size, "a name shorter than 64 bytes");
		break;
	case TYPE_AMOUNT:
		snprintf(out, size, "a size like 512M or 2G, at least %s, or a percentage like 5%%",
			format_size((int64_t)s->lo, lo, sizeof(lo)));
		break;
	case TYPE_SIZE:
	case TYPE_COUNT:
		snprintf(out, size, "a size like 64K or 16M, from %s to %s",
			format_size((int64_t)s->lo, lo, sizeof(lo)),
			format_size((int64_t)s->hi, hi, sizeof(hi)));
		break;
	case TYPE_TIME:
		snprintf(out, size, "a time like 10s, 5min or 2h, from %gs to %gs", s->lo, s->hi);
		break;
	case TYPE_PERCENT:
		snprintf(out, size, "a percentage from %g%% to %g%%", s->lo, s->hi);
		break;
	case TYPE_DOUBLE:
		snprintf(out, size, "a number from %g to %g", s->lo, s->hi);
		break;
	case TYPE_INT:
		snprintf(out, size, "a whole number from %.0f to %.0f", s->lo, s->hi);
		break;
	case TYPE_BOOL:
		snprintf(out, size, "yes or no");
		break;
	case TYPE_CHOICE:
		snprintf(out, size, "one of");
		for (int i = 0; s->choices[i]; i++) {
			size_t n = strlen(out);

			snprintf(out + n, size - n, "%s %s", i ? "," : "", s->choices[i]);
		}
		break;
	case TYPE_CHANNELS:
		snprintf(out, size, "three whole numbers from %.0f to %.0f", s->lo, s->hi);
		break;
	case TYPE_HOURS:
		snprintf(out, size, "up to %d ranges like 22:00-06:00, 12:00-13:30", CONFIG_HOURS_MAX);
		break;
	case TYPE_AGES:
		snprintf(out, size,
			"up to %d times of a minute or more, each with a label, like 30d person, 365d *",
			CONFIG_RULES_MAX);
		break;
	case TYPE_SHARES:
		snprintf(out, size,
			"up to %d percentages, each with a label, like 30%% door, 10%% yard; %.0f%% "
			"together",
			CONFIG_RULES_MAX, s->hi);
		break;
	case TYPE_LABEL:
		snprintf(out, size,
			"a name shorter than %d bytes without '/' and not beginning with '.', or nothing",
			CONFIG_LABEL_MAX);
		break;
	}
}

/* Lists the sections, or the keys of one, for the error about an unknown name. */
static void list_names(const char *section, char *out, size_t size)
{
	const char *last = "";

	out[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const char *name = section ? settings[i].key : settings[i].section;
		size_t n = strlen(out);

		if (section && strcmp(settings[i].section, section) != 0)
			continue;
		if (!section && !strcmp(name, last))
			continue;
		snprintf(out + n, size - n, "%s%s", n ? ", " : "", name);
		last = name;
	}
}

/* The name in a section's title, or NULL when it is no [Spool NAME]. */
static const char *name_of(const char *section)
{
	static const char first[] = "Spool ";

	return strncmp(section, first, sizeof(first) - 1) ? NULL : section + sizeof(first) - 1;
}

/* That spool, a new one if need be; NULL when its name is none or there are too many. */
static struct more_spool *spool_named(struct config *c, const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	size_t n = strlen(name);

	for (int i = 0; i < c->n_spools; i++)
		if (!strcmp(c->more[i].name, name))
			return &c->more[i];
	if (c->n_spools == CONFIG_SPOOLS_MAX || n < 1 || n >= CONFIG_SPOOL_NAME_MAX ||
		strspn(name, allowed) != n)
		return NULL;
	c->more[c->n_spools] = (struct more_spool){.path = ""};
	strcpy(c->more[c->n_spools].name, name);
	return &c->more[c->n_spools++];
}

int config_set(struct config *c, const char *section, const char *key, const char *value,
	const char *where, char ret_error[CONFIG_ERROR_MAX])
{
	const char *name = name_of(section);
	const struct setting *s = find_setting(name ? SPOOL_NAMED : section, key);
	void *base = s && name ? (void *)spool_named(c, name) : c;
	char allowed[512];
	int r;

	if (!base) {
		snprintf(ret_error, CONFIG_ERROR_MAX,
			"%s: bad section [%s]; allowed: at most %d times [" SPOOL_NAMED
			"], each NAME of up to %d letters, digits, - and _",
			where, section, CONFIG_SPOOLS_MAX, CONFIG_SPOOL_NAME_MAX - 1);
		return -EINVAL;
	}
	if (!s) {
		list_names(name ? SPOOL_NAMED : section, allowed, sizeof(allowed));
		if (allowed[0]) {
			snprintf(ret_error, CONFIG_ERROR_MAX,
				"%s: unknown key '%s' in section [%s]; allowed: %s", where, key, section,
				allowed);
		} else {
			list_names(NULL, allowed, sizeof(allowed));
			snprintf(ret_error, CONFIG_ERROR_MAX,
				"%s: unknown section [%s] (key '%s'); allowed: %s", where, section, key,
				allowed);
		}
		return -EINVAL;
	}
	r = assign(base, s, value);
	if (r < 0) {
		describe_allowed(s, allowed, sizeof(allowed));
		snprintf(ret_error, CONFIG_ERROR_MAX, "%s: %s.%s: bad value '%s'; allowed: %s", where,
			section, key, value, allowed);
	}
	return r;
}

void config_init(struct config *c)
{
	*c = (struct config){0};
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (!is_named(&settings[i]) && assign(c, &settings[i], settings[i].initial) < 0)
			abort(); /* the table's own default is out of its range */
}

struct parse_state {
	struct config *config;
	const char *file;
	FILE *stream;
	char *error; /* CONFIG_ERROR_MAX bytes */
	int line, result;
};

static void fail_line(struct parse_state *st, const char *what)
{
	if (st->result < 0)
		return;
	st->result = -EINVAL;
	snprintf(st->error, CONFIG_ERROR_MAX, "%s:%d: %s", st->file, st->line, what);
}

/* inih's reader: fgets that counts lines, since inih does not pass their number on. */
static char *read_line(char *str, int num, void *stream)
{
	struct parse_state *st = stream;
	char *line = fgets(str, num, st->stream);
	size_t n = line ? strlen(line) : 0;

	if (!line)
		return NULL;
	st->line++;
	if (n + 1 == (size_t)num && line[n - 1] != '\n')
		fail_line(st, "line too long; allowed: under 200 characters");
	return line;
}

static int on_ini_line(void *user, const char *section, const char *key, const char *value)
{
	struct parse_state *st = user;
	char where[CONFIG_PATH_MAX + 16];

	if (st->result < 0)
		return 0;
	snprintf(where, sizeof(where), "%s:%d", st->file, st->line);
	st->result = config_set(st->config, section, key, value, where, st->error);
	return st->result == 0;
}

static int load_one(struct config *c, const char *file, char ret_error[CONFIG_ERROR_MAX])
{
	struct parse_state st = {.config = c, .file = file, .error = ret_error};
	int bad_line;

	st.stream = fopen(file, "re");
	if (!st.stream) {
		int r = -errno;

		snprintf(ret_error, CONFIG_ERROR_MAX, "%s: %s", file, strerror(-r));
		return r;
	}
	bad_line = ini_parse_stream(read_line, &st, on_ini_line, &st);
	fclose(st.stream);
	if (bad_line != 0) {
		st.line = bad_line > 0 ? bad_line : st.line;
		fail_line(&st, "neither a [Section], a Key=value nor a comment");
	}
	return st.result;
}

static int is_conf(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return e->d_name[0] != '.' && n > 5 && !strcmp(e->d_name + n - 5, ".conf");
}

int config_load(struct config *c, const char *file, bool required, char ret_error[CONFIG_ERROR_MAX])
{
	char path[CONFIG_PATH_MAX + NAME_MAX + 8];
	struct dirent **names;
	int n, r = load_one(c, file, ret_error);

	if (r < 0 && (r != -ENOENT || required))
		return r;
	snprintf(path, sizeof(path), "%s.d", file);
	n = scandir(path, &names, is_conf, alphasort);
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s.d/%s", file, names[i]->d_name);
		r = r < 0 && r != -ENOENT ? r : load_one(c, path, ret_error);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	if (r < 0 && r != -ENOENT)
		return r;
	return config_validate(c, ret_error);
}

/* The directory itself, or something in it. */
static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	while (n > 1 && dir[n - 1] == '/')
		n--;
	return !strncmp(path, dir, n) && (path[n] == '/' || path[n] == '\0');
}

/* A further spool has a path, apart from the store and from the spools before it. */
static int check_spool(const struct config *c, int i, char ret_error[CONFIG_ERROR_MAX])
{
	const struct more_spool *s = &c->more[i];

	if (!s->path[0]) {
		snprintf(ret_error, CONFIG_ERROR_MAX, "[Spool %s]: a Path is needed", s->name);
		return -EINVAL;
	}
	for (int k = -2; k < i; k++) {
		const char *other = k == -2 ? c->store.path : k == -1 ? c->spool.path : c->more[k].path;

		if (!is_below(s->path, other) && !is_below(other, s->path))
			continue;
		snprintf(ret_error, CONFIG_ERROR_MAX,
			"[Spool %s]: Path=%s and %s lie one inside the other; keep them apart", s->name,
			s->path, other);
		return -EINVAL;
	}
	return 0;
}

bool config_share(const struct config *c, int i, struct share *ret)
{
	if (i < c->store.min_share.n) {
		*ret = c->store.min_share.rule[i];
		return true;
	}
	i -= c->store.min_share.n;
	for (int k = 0; k < c->n_spools; k++)
		if (c->more[k].min_share_percent > 0 && i-- == 0) {
			ret->percent = c->more[k].min_share_percent;
			strcpy(ret->label, c->more[k].label);
			return true;
		}
	return false;
}

/* Shares of spools are a label's each, no label's twice, and leave something for everybody else. */
static int check_shares(const struct config *c, char ret_error[CONFIG_ERROR_MAX])
{
	struct share a, b;
	double sum = 0;

	for (int i = 0; config_share(c, i, &a); i++) {
		sum += a.percent;
		if (!a.label[0]) {
			snprintf(ret_error, CONFIG_ERROR_MAX,
				"[Spool NAME]: a MinShare needs a Label, whose it is");
			return -EINVAL;
		}
		for (int k = 0; k < i && config_share(c, k, &b); k++)
			if (!strcmp(a.label, b.label)) {
				snprintf(ret_error, CONFIG_ERROR_MAX,
					"MinShare: two for the label \"%s\"; allowed: one", a.label);
				return -EINVAL;
			}
	}
	if (sum > SHARES_MAX_PERCENT) {
		snprintf(ret_error, CONFIG_ERROR_MAX, "MinShare: %g%% in all; allowed: %d%% together", sum,
			SHARES_MAX_PERCENT);
		return -EINVAL;
	}
	return 0;
}

int config_validate(const struct config *c, char ret_error[CONFIG_ERROR_MAX])
{
	if (c->policy.min_quality > c->policy.max_quality) {
		snprintf(ret_error, CONFIG_ERROR_MAX,
			"Policy.MinQuality=%d is above Policy.MaxQuality=%d", (int)c->policy.min_quality,
			(int)c->policy.max_quality);
		return -EINVAL;
	}
	if (c->model.input_size % 8) {
		snprintf(ret_error, CONFIG_ERROR_MAX,
			"Model.InputSize=%d: allowed: a multiple of 8 from 16 to 256",
			(int)c->model.input_size);
		return -EINVAL;
	}
	if (is_below(c->spool.path, c->store.path)) {
		snprintf(ret_error, CONFIG_ERROR_MAX,
			"Spool.Path=%s lies inside Store.Path=%s; keep them apart", c->spool.path,
			c->store.path);
		return -EINVAL;
	}
	for (int i = 0; i < c->n_spools; i++) {
		int r = check_spool(c, i, ret_error);

		if (r < 0)
			return r;
	}
	return check_shares(c, ret_error);
}

void config_print_sample(FILE *f)
{
	const char *section = "";

	fputs("# Settings of larderd, each commented out at its default. See larderd.conf(5).\n"
	      "# Files in larderd.conf.d/*.conf are read after this one and win.\n", f);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		const struct setting *s = &settings[i];
		char allowed[512];

		if (strcmp(section, s->section) != 0)
			fprintf(f, "\n%s[%s]\n", is_named(s) ? "#" : "", s->section);
		section = s->section;
		describe_allowed(s, allowed, sizeof(allowed));
		fprintf(f, "# %s\n# Allowed: %s.\n#%s=%s\n", s->help, allowed, s->key, s->initial);
	}
}
