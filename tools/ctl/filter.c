#include "tools/ctl/filter.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/parse.h"

#define PER_CALL 1000

/* "2026-01-31", "2026-01-31 23:59[:59]" in UTC, or a time ago as "2d" or "3h". */
static bool parse_moment(const char *option, const char *s, int64_t *ret)
{
	static const char *const forms[] = {
		"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"};
	int64_t us;

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct tm tm = {0};
		const char *end = strptime(s, forms[i], &tm);

		if (end && !*end) {
			*ret = (int64_t)timegm(&tm);
			return true;
		}
	}
	if (parse_time(s, &us) == 0) {
		*ret = (int64_t)time(NULL) - us / 1000000;
		return true;
	}
	fprintf(stderr,
		"larderctl: --%s: bad value '%s'; allowed: 2026-01-31, '2026-01-31 23:59:59' (UTC), or a "
		"time ago like 2d or 3h\n",
		option, s);
	return false;
}

bool filter_option(struct filter *f, int option)
{
	f->any = true;
	switch (option) {
	case OPT_LABEL:
		f->label = optarg;
		return true;
	case OPT_UNLABELLED:
		f->label = "";
		return true;
	case OPT_NAME:
		f->name = optarg;
		return true;
	case OPT_SINCE:
		return parse_moment("since", optarg, &f->since);
	case OPT_UNTIL:
		return parse_moment("until", optarg, &f->until);
	case OPT_QUALITY:
		return parse_option_int("quality", optarg, 1, 100, &f->quality);
	case OPT_PINNED:
		f->pinned = true;
		return true;
	case OPT_VALIDATION:
		f->validation = true;
		return true;
	}
	return false;
}

/* What the daemon has not looked at already. */
static bool passes(const struct filter *f, const json_t *im)
{
	int64_t taken = number(im, "taken");

	return (!f->name || fnmatch(f->name, text(im, "name"), 0) == 0) &&
	       (!f->since || taken >= f->since) && (!f->until || taken < f->until) &&
	       (!f->pinned || json_is_true(json_object_get(im, "pinned"))) &&
	       (!f->validation || json_is_true(json_object_get(im, "validation")));
}

int filter_walk(struct ctl *c, const struct filter *f, image_fn fn, void *user)
{
	json_t *after = NULL;
	int status = EXIT_OK;
	bool more = true;

	do {
		json_t *reply = call(c, CONTROL_INTERFACE ".List",
			json_pack("{ss* sI so* sI}", "label", f->label, "quality", (json_int_t)f->quality,
				"after", json_incref(after), "limit", (json_int_t)PER_CALL),
			&status);
		const json_t *im;
		size_t i;

		json_decref(after);
		after = json_incref(json_object_get(reply, "next"));
		json_array_foreach (json_object_get(reply, "images"), i, im) {
			if (more && passes(f, im))
				more = fn(user, im);
		}
		json_decref(reply);
	} while (after && more);
	json_decref(after);
	return status;
}
