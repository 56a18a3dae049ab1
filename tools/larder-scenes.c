/*
 * larder-scenes: draws labelled pictures of differing texture and noise, for trying Larder without
 * a camera. Three kinds of scene - stripes, rings, speckle - each from nearly flat to very busy.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/codec/jpeg.h"
#include "common/parse.h"
#include "common/rng.h"

static const char *const kinds[] = {"rings", "speckle", "stripes"};

struct scene {
	int kind;
	double period, angle, cx, cy, contrast, noise, hue[3];
};

static void compose(struct scene *s, int kind, int size, struct rng *r)
{
	*s = (struct scene){.kind = kind, .period = size * (0.05 + 0.15 * rng_unit(r)),
		.angle = rng_unit(r) * M_PI, .cx = rng_unit(r) * size, .cy = rng_unit(r) * size,
		.contrast = 25 + 70 * rng_unit(r), .noise = 60 * pow(rng_unit(r), 3)};
	for (int c = 0; c < 3; c++)
		s->hue[c] = 70 + 110 * rng_unit(r);
}

/* -1..1: the scene's pattern at a pixel. */
static double pattern(const struct scene *s, int x, int y)
{
	double u = x * cos(s->angle) + y * sin(s->angle), v = y * cos(s->angle) - x * sin(s->angle);

	switch (s->kind) {
	case 0:
		return sin(2 * M_PI * hypot(x - s->cx, y - s->cy) / s->period);
	case 1:
		return sin(2 * M_PI * u / s->period) * sin(2 * M_PI * v / s->period) > 0.4 ? 1 : -0.6;
	}
	return sin(2 * M_PI * u / s->period);
}

static void draw(const struct scene *s, struct pixels *px, struct rng *r)
{
	for (int y = 0; y < px->height; y++)
		for (int x = 0; x < px->width; x++) {
			double p = s->contrast * pattern(s, x, y);

			for (int c = 0; c < 3; c++) {
				double v = s->hue[c] + p + s->noise * rng_normal(r);

				px->rgb[3 * (y * px->width + x) + c] = (uint8_t)CLAMP(v, 0, 255);
			}
		}
}

static int write_scene(const char *dir, int kind, int64_t number, int size)
{
	_cleanup_pixels_ struct pixels px = {0};
	_cleanup_coef_ struct coef_image im = {0};
	_cleanup_buf_ struct buf file = {0};
	struct jpeg_tables t;
	struct scene s;
	struct rng r;
	char path[4096], part[4200];
	FILE *f;
	int e;

	rng_init(&r, (uint64_t)number * 3 + (uint64_t)kind + 1);
	compose(&s, kind, size, &r);
	e = pixels_init(&px, size, size);
	if (e < 0)
		return e;
	draw(&s, &px, &r);
	tables_standard(92, &t);
	e = pixels_to_coef(&px, &im);
	if (e == 0)
		e = coef_requantise(&im, &t, &im);
	if (e == 0)
		e = jpeg_write_file(&im, &t, &file);
	if (e < 0)
		return e;
	snprintf(path, sizeof(path), "%s/%s", dir, kinds[kind]);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/scene%05d.jpg", dir, kinds[kind], (int)number);
	snprintf(part, sizeof(part), "%s.part", path); /* the way a camera should: rename when done */
	f = fopen(part, "we");
	if (!f || fwrite(file.data, 1, file.len, f) != file.len || fclose(f) != 0 || rename(part, path) < 0)
		return -errno;
	return 0;
}

int main(int argc, char **argv)
{
	int64_t n = 300, size = 160;

	if (argc < 2 || argc > 4 || argv[1][0] == '-') {
		fputs("Usage: larder-scenes DIR [NUMBER [SIZE]]\n"
		      "Draws NUMBER (300) JPEGs of SIZE (160) pixels square into DIR/<label>/.\n",
			argc > 1 && !strcmp(argv[1], "--help") ? stdout : stderr);
		return argc > 1 && !strcmp(argv[1], "--help") ? 0 : 2;
	}
	if ((argc > 2 && (parse_int(argv[2], &n) < 0 || n < 1 || n > 100000)) ||
		(argc > 3 && (parse_int(argv[3], &size) < 0 || size < 16 || size > 4096))) {
		fputs("larder-scenes: NUMBER is from 1 to 100000, SIZE from 16 to 4096\n", stderr);
		return 2;
	}
	for (int64_t i = 0; i < n; i++) {
		int r = write_scene(argv[1], (int)(i % 3), i / 3, (int)size);

		if (r < 0) {
			fprintf(stderr, "larder-scenes: %s: %s\n", argv[1], strerror(-r));
			return 1;
		}
	}
	return 0;
}
