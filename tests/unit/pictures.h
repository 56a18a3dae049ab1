/* Pictures drawn by the tests themselves: smooth, textured, never from a file. */
#pragma once

#include <math.h>

#include "common/codec/pixels.h"
#include "common/rng.h"

/* A scene with edges, a gradient and texture; seed varies it. */
static inline void draw(struct pixels *px, int width, int height, uint64_t seed)
{
	struct rng r;

	rng_init(&r, seed);
	double fx = 2 + rng_unit(&r) * 6, fy = 2 + rng_unit(&r) * 6, noise = 4 + rng_unit(&r) * 12;
	double cx = rng_unit(&r) * width, cy = rng_unit(&r) * height, radius = width / 4.0;

	pixels_init(px, width, height);
	for (int y = 0; y < height; y++)
		for (int x = 0; x < width; x++) {
			uint8_t *p = px->rgb + 3 * (y * width + x);
			bool inside = hypot(x - cx, y - cy) < radius;
			double ground[3] = {120 + 80 * sin(x * fx / width), 110 + 70 * cos(y * fy / height),
				100 + 60 * sin((x + y) * 0.1)};

			for (int c = 0; c < 3; c++) {
				double v = ground[c] + (inside ? (c == 0 ? 70 : -40) : 0) +
					noise * (rng_unit(&r) - 0.5);

				p[c] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
			}
		}
}

static inline double psnr(const uint8_t *a, const uint8_t *b, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (a[i] - b[i]) * (a[i] - b[i]);
	return sum ? 10 * log10(255.0 * 255.0 * (double)n / sum) : 99;
}
