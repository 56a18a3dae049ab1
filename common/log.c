#include "common/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"

#define LINE_MAX_BYTES 2048

static const char *log_program = "larder";
static enum log_level log_max = LOG_INFO;

void log_open(const char *program, enum log_level max)
{
	log_program = program;
	log_max = max;
}

/* Escapes control bytes of in as \xNN; the result is cut to fit. */
static void escape(const char *in, char *out, size_t size)
{
	size_t n = 0;

	for (; *in && n + 5 < size; in++) {
		unsigned char c = (unsigned char)*in;

		if (c >= 32 && c != 127)
			out[n++] = (char)c;
		else
			n += (size_t)snprintf(out + n, size - n, "\\x%02x", c);
	}
	out[n] = '\0';
}

/* Who spoke lately, by format: a call that was pushed out of its place begins a new window. */
static struct speaker {
	const char *fmt;
	int64_t since_us;
	unsigned lines;
} speakers[64];
static atomic_flag speakers_busy = ATOMIC_FLAG_INIT;

/* Whether the call may speak now; ret_missed gets how many of its lines were left out before. */
static bool may_speak(const char *fmt, unsigned *ret_missed)
{
	struct speaker *s = &speakers[(uintptr_t)fmt / 8 % ARRAY_SIZE(speakers)];
	int64_t now = clock_steady_us();
	bool may;

	*ret_missed = 0;
	while (atomic_flag_test_and_set_explicit(&speakers_busy, memory_order_acquire))
		;
	if (s->fmt != fmt || now - s->since_us >= LOG_WINDOW_SEC * US_PER_SEC) {
		*ret_missed = s->fmt == fmt && s->lines > LOG_BURST ? s->lines - LOG_BURST : 0;
		*s = (struct speaker){fmt, now, 0};
	}
	may = s->lines++ < LOG_BURST;
	atomic_flag_clear_explicit(&speakers_busy, memory_order_release);
	return may;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char raw[LINE_MAX_BYTES], line[LINE_MAX_BYTES + 64];
	unsigned missed = 0;
	va_list ap;

	if (level > log_max || (level < LOG_DBG && !may_speak(fmt, &missed)))
		return;
	if (missed) /* not by a format that could be left out itself */
		log_line(LOG_NOTICE, "%u lines like the next were left out", missed);
	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	escape(raw, line, sizeof(line));
	if (getenv("JOURNAL_STREAM"))
		fprintf(stderr, "<%d>%s\n", (int)level, line);
	else
		fprintf(stderr, "%s: %s\n", log_program, line);
}
