/*
 * Values as people write them in settings and on command lines, in systemd's manner. Each parser
 * takes the whole string: 0 on success, -EINVAL for what it does not understand, -ERANGE when it
 * does not fit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "512", "64K", "1.5G" (1024 to the step; an optional B at the end). */
int parse_size(const char *s, int64_t *ret_bytes);

/* "10s", "5min 30s", "2h", "1d", "250ms"; a bare number is seconds. */
int parse_time(const char *s, int64_t *ret_us);

/* "10%" or "12.5%"; within 0 to 100. */
int parse_percent(const char *s, double *ret);
int parse_bool(const char *s, bool *ret);
int parse_int(const char *s, int64_t *ret);
int parse_double(const char *s, double *ret);

/* "12K", "3.4M": at most 15 characters. */
const char *format_size(int64_t bytes, char *buf, size_t size);

/* "3h 5min", "12s", "250ms": the two largest units. */
const char *format_time(int64_t us, char *buf, size_t size);
