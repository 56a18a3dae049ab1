/*
 * Log lines to standard error: with a <priority> prefix when the service manager reads them, with
 * the program's name when a person does. Control characters in a message (file names come from
 * strangers) are escaped, so one call is always one line.
 *
 * A call that speaks more than LOG_BURST times in LOG_WINDOW_SEC (a flood of broken captures, a disk
 * that fails) is silent for the rest of that time, and its next line says how many were left out.
 * Debug lines are all printed.
 *
 * Only daemon/ and tools/ log above debug. The level is the one global of the program.
 */
#pragma once

#include "common/macros.h"

#define LOG_BURST      50
#define LOG_WINDOW_SEC 30

enum log_level { LOG_ERROR = 3, LOG_WARN = 4, LOG_NOTICE = 5, LOG_INFO = 6, LOG_DBG = 7 };

/* Sets the program's name (borrowed, for ever) and the highest level that is printed. */
void log_open(const char *program, enum log_level max);

void log_line(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...)  log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)   log_line(LOG_WARN, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)   log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)  log_line(LOG_DBG, __VA_ARGS__)
