#include "common/parse.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/macros.h"

struct unit {
	const char *name;
	double factor;
};

static const struct unit size_units[] = {
	{"", 1}, {"B", 1}, {"K", 1024.0}, {"KB", 1024.0}, {"M", 1048576.0}, {"MB", 1048576.0},
	{"G", 1073741824.0}, {"GB", 1073741824.0}, {"T", 1099511627776.0}, {"TB", 1099511627776.0},
};

static const struct unit time_units[] = {
	{"us", 1}, {"ms", 1e3}, {"", 1e6}, {"s", 1e6}, {"sec", 1e6}, {"m", 60e6}, {"min", 60e6},
	{"h", 3600e6}, {"d", 86400e6}, {"day", 86400e6}, {"w", 604800e6},
};

/* Reads one number and its unit; advances *s past both and following blanks. */
static int take_quantity(const char **s, const struct unit *units, size_t n_units, double *ret)
{
	const char *p = *s;
	char *end, name[8];
	double v;
	size_t n = 0;

	if (!isdigit((unsigned char)*p) && *p != '.')
		return -EINVAL;
	v = strtod(p, &end);
	if (end == p) /* a dot alone */
		return -EINVAL;
	for (p = end; isalpha((unsigned char)*p) && n + 1 < sizeof(name); p++)
		name[n++] = *p;
	name[n] = '\0';
	for (size_t i = 0; i < n_units; i++) {
		if (strcasecmp(units[i].name, name) != 0)
			continue;
		while (*p == ' ')
			p++;
		*s = p;
		*ret = v * units[i].factor;
		return isfinite(*ret) ? 0 : -ERANGE;
	}
	return -EINVAL;
}

int parse_size(const char *s, int64_t *ret_bytes)
{
	double v;
	int r = take_quantity(&s, size_units, ARRAY_SIZE(size_units), &v);

	if (r < 0 || *s)
		return r < 0 ? r : -EINVAL;
	if (v >= 0x1p62)
		return -ERANGE;
	*ret_bytes = (int64_t)v;
	return 0;
}

int parse_time(const char *s, int64_t *ret_us)
{
	double sum = 0, v;

	do {
		int r = take_quantity(&s, time_units, ARRAY_SIZE(time_units), &v);

		if (r < 0)
			return r;
		sum += v;
	} while (*s);
	if (sum >= 0x1p62)
		return -ERANGE;
	*ret_us = (int64_t)sum;
	return 0;
}

int parse_double(const char *s, double *ret)
{
	char *end;
	double v = strtod(s, &end);

	if (end == s || *end || !isfinite(v))
		return -EINVAL;
	*ret = v;
	return 0;
}

int parse_percent(const char *s, double *ret)
{
	char *end;
	double v = strtod(s, &end);

	if (end == s || strcmp(end, "%") != 0 || !isfinite(v))
		return -EINVAL;
	if (v < 0 || v > 100)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_bool(const char *s, bool *ret)
{
	static const char *const words[2][4] = {
		{"no", "false", "off", "0"}, {"yes", "true", "on", "1"}};

	for (int v = 0; v < 2; v++)
		for (int i = 0; i < 4; i++)
			if (!strcasecmp(s, words[v][i])) {
				*ret = v;
				return 0;
			}
	return -EINVAL;
}

int parse_int(const char *s, int64_t *ret)
{
	char *end;
	long long v;

	errno = 0;
	v = strtoll(s, &end, 10);
	if (end == s || *end)
		return -EINVAL;
	if (errno)
		return -ERANGE;
	*ret = v;
	return 0;
}

const char *format_size(int64_t bytes, char *buf, size_t size)
{
	static const char units[] = "BKMGTP";
	double v = (double)bytes;
	int u = 0;

	while (fabs(v) >= 1024 && units[u + 1]) {
		v /= 1024;
		u++;
	}
	if (u == 0)
		snprintf(buf, size, "%" PRId64 "B", bytes);
	else
		snprintf(buf, size, fabs(v) < 9.95 ? "%.1f%c" : "%.0f%c", v, units[u]);
	return buf;
}

const char *format_time(int64_t us, char *buf, size_t size)
{
	static const struct unit units[] = {{"d", 86400e6}, {"h", 3600e6}, {"min", 60e6}, {"s", 1e6}};

	if (us < US_PER_SEC) {
		snprintf(buf, size, "%" PRId64 "ms", us / 1000);
		return buf;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		int64_t f = (int64_t)units[i].factor, rest;

		if (us < f)
			continue;
		rest = i + 1 < ARRAY_SIZE(units) ? us % f / (int64_t)units[i + 1].factor : 0;
		if (rest)
			snprintf(buf, size, "%" PRId64 "%s %" PRId64 "%s", us / f, units[i].name, rest,
				units[i + 1].name);
		else
			snprintf(buf, size, "%" PRId64 "%s", us / f, units[i].name);
		break;
	}
	return buf;
}
