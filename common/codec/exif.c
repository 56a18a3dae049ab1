#include "common/codec/exif.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TAG_ORIENTATION	  0x0112
#define TAG_DATE_TIME	  0x0132
#define TAG_EXIF_IFD	  0x8769
#define TAG_DATE_ORIGINAL 0x9003
#define TYPE_ASCII	  2
#define TYPE_SHORT	  3
#define ENTRIES_MAX	  256

struct tiff {
	const uint8_t *data;
	size_t len;
	bool big_endian;
};

static uint32_t get(const struct tiff *t, size_t at, int bytes)
{
	uint32_t v = 0;

	if (at > t->len || t->len - at < (size_t)bytes)
		return 0;
	for (int i = 0; i < bytes; i++)
		v = v << 8 | t->data[at + (size_t)(t->big_endian ? i : bytes - 1 - i)];
	return v;
}

/* "YYYY:MM:DD HH:MM:SS" */
static int64_t parse_date(const struct tiff *t, size_t at)
{
	struct tm tm = {0};
	char text[20] = {0};

	if (at > t->len || t->len - at < 19)
		return 0;
	memcpy(text, t->data + at, 19);
	if (sscanf(text, "%4d:%2d:%2d %2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
		    &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6 ||
		tm.tm_year < 1970)
		return 0;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	return (int64_t)timegm(&tm);
}

/* Reads one directory; returns the offset of the EXIF sub-directory, or 0. */
static size_t read_ifd(const struct tiff *t, size_t at, int *orientation, int64_t *taken)
{
	uint32_t n = get(t, at, 2);
	size_t sub = 0;

	for (uint32_t i = 0; i < n && i < ENTRIES_MAX; i++) {
		size_t e = at + 2 + 12 * (size_t)i;
		uint32_t tag = get(t, e, 2), type = get(t, e + 2, 2);

		if (tag == TAG_ORIENTATION && type == TYPE_SHORT) {
			uint32_t v = get(t, e + 8, 2);

			if (v >= 1 && v <= 8)
				*orientation = (int)v;
		} else if (tag == TAG_DATE_ORIGINAL || tag == TAG_DATE_TIME) {
			int64_t when = type == TYPE_ASCII ? parse_date(t, get(t, e + 8, 4)) : 0;

			if (when && (tag == TAG_DATE_ORIGINAL || !*taken))
				*taken = when;
		} else if (tag == TAG_EXIF_IFD) {
			sub = get(t, e + 8, 4);
		}
	}
	return sub;
}

void exif_parse(const uint8_t *data, size_t len, int *ret_orientation, int64_t *ret_taken_s)
{
	struct tiff t;
	size_t sub;

	if (len < 14 || memcmp(data, "Exif\0\0", 6) != 0)
		return;
	t = (struct tiff){data + 6, len - 6, data[6] == 'M'};
	if (memcmp(t.data, "II*\0", 4) != 0 && memcmp(t.data, "MM\0*", 4) != 0)
		return;
	sub = read_ifd(&t, get(&t, 4, 4), ret_orientation, ret_taken_s);
	if (sub)
		read_ifd(&t, sub, ret_orientation, ret_taken_s);
}

size_t exif_orientation_segment(int orientation, uint8_t out[40])
{
	static const uint8_t head[32] = {'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, '*', 0, 0, 0, 8, 0, 1,
		0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0};

	memcpy(out, head, sizeof(head));
	out[25] = (uint8_t)orientation;
	return sizeof(head);
}
