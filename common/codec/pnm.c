#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/codec/decode.h"

#define SIDE_MAX 65535

struct pnm {
	const uint8_t *p, *end;
	bool failed;
};

static bool is_space(int c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_blank(struct pnm *s)
{
	while (s->p < s->end && (is_space(*s->p) || *s->p == '#')) {
		if (*s->p == '#')
			while (s->p < s->end && *s->p != '\n')
				s->p++;
		else
			s->p++;
	}
}

/* A decimal number of at most 65535. */
static int take_number(struct pnm *s)
{
	int v = 0;

	skip_blank(s);
	if (s->p == s->end || *s->p < '0' || *s->p > '9')
		s->failed = true;
	while (s->p < s->end && *s->p >= '0' && *s->p <= '9' && v <= 65535)
		v = v * 10 + (*s->p++ - '0');
	if (v > 65535)
		s->failed = true;
	return s->failed ? 0 : v;
}

static int take_sample(struct pnm *s, bool ascii, int max)
{
	int v;

	if (ascii) {
		v = take_number(s);
	} else if (s->end - s->p < (max > 255 ? 2 : 1)) {
		s->failed = true;
		return 0;
	} else {
		v = *s->p++;
		if (max > 255)
			v = v << 8 | *s->p++;
	}
	return (MIN(v, max) * 255 + max / 2) / max;
}

static int refuse(struct capture_info *info, int result, const char *reason)
{
	snprintf(info->reason, sizeof(info->reason), "%s", reason);
	return result;
}

int pnm_read(const uint8_t *data, size_t len, int64_t max_pixels, struct pixels *ret,
	struct capture_info *info)
{
	struct pnm s = {data + 2, data + len, false};
	bool ascii = data[1] == '2' || data[1] == '3', colour = data[1] == '3' || data[1] == '6';
	int width = take_number(&s), height = take_number(&s), max = take_number(&s);
	size_t n;

	snprintf(info->format, sizeof(info->format), colour ? "ppm" : "pgm");
	if (s.failed || !width || !height || !max || s.p == s.end || !is_space(*s.p))
		return refuse(info, -EBADMSG, "bad PNM header");
	s.p++;
	if ((int64_t)width * height > max_pixels || width > SIDE_MAX || height > SIDE_MAX)
		return refuse(info, -EFBIG, "more pixels than MaxPixels");
	n = (size_t)width * (size_t)height * (colour ? 3 : 1);
	if ((size_t)(s.end - s.p) < n) /* every sample takes a byte or more */
		return refuse(info, -EBADMSG, "truncated PNM data");
	if (pixels_init(ret, width, height) < 0)
		return refuse(info, -ENOMEM, "out of memory");
	if (!ascii && colour && max == 255) { /* as most are */
		memcpy(ret->rgb, s.p, n);
		return 0;
	}
	for (size_t i = 0; i < n && !s.failed; i++) {
		uint8_t v = (uint8_t)take_sample(&s, ascii, max);

		if (colour)
			ret->rgb[i] = v;
		else
			ret->rgb[3 * i] = ret->rgb[3 * i + 1] = ret->rgb[3 * i + 2] = v;
	}
	return s.failed ? refuse(info, -EBADMSG, "truncated PNM data") : 0;
}
