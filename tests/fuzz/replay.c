/*
 * Stands in for libFuzzer where there is none: runs a target on every file of a directory, on the
 * file cut short, and on the file with bytes changed, always the same ones; on what libFuzzer has
 * found, which has a digest for a name, as it is. fuzz-TARGET DIR|FILE...
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/io.h"
#include "common/rng.h"
#include "common/wire.h"
#include "tests/fuzz/fuzz.h"

#define CUTS	       64  /* lengths tried of each file, evenly spread */
#define CHANGES	       200 /* of each file */
#define CHANGED_MAX    8   /* bytes in each of them */
#define FILE_MAX_BYTES (1 << 20)
#define DIGEST_CHARS   40 /* of SHA-1 */

static int files, runs;

/* In memory of its own size, so that a sanitizer sees a read past the end. */
static void run(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(MAX(len, (size_t)1));

	CRASH_UNLESS(copy);
	memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
	runs++;
}

static void run_variants(struct buf *b)
{
	struct rng rng;

	run(b->data, b->len);
	for (int i = 0; i < CUTS; i++)
		run(b->data, b->len * (size_t)i / CUTS);
	rng_init(&rng, b->len);
	for (int i = 0; b->len && i < CHANGES; i++) {
		uint8_t before[CHANGED_MAX];
		uint32_t at[CHANGED_MAX], n = 1 + rng_below(&rng, CHANGED_MAX);

		for (uint32_t k = 0; k < n; k++) {
			at[k] = rng_below(&rng, (uint32_t)b->len);
			before[k] = b->data[at[k]];
			b->data[at[k]] = (uint8_t)rng_below(&rng, 256);
		}
		run(b->data, b->len);
		for (uint32_t k = n; k-- > 0;)
			b->data[at[k]] = before[k];
	}
}

static bool is_found(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	return strlen(name) == DIGEST_CHARS && strspn(name, "0123456789abcdef") == DIGEST_CHARS;
}

static int replay(const char *path)
{
	_cleanup_buf_ struct buf b = {0};
	struct stat st;
	int r = 0;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		struct dirent **entry;
		int n = scandir(path, &entry, NULL, alphasort);
		char name[4096];

		for (int i = 0; i < n; i++) {
			if (r == 0 && entry[i]->d_name[0] != '.') {
				snprintf(name, sizeof(name), "%s/%s", path, entry[i]->d_name);
				r = replay(name);
			}
			free(entry[i]);
		}
		free(n < 0 ? NULL : entry);
		return n < 0 ? -1 : r;
	}
	r = io_read_file(AT_FDCWD, path, FILE_MAX_BYTES, &b);
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(-r));
		return -1;
	}
	if (is_found(path))
		run(b.data, b.len);
	else
		run_variants(&b);
	files++;
	return 0;
}

int main(int argc, char *argv[])
{
	int r = 0;

	for (int i = 1; i < argc && r == 0; i++)
		r = replay(argv[i]);
	printf("%d files, %d runs\n", files, runs);
	return r < 0 || !files;
}
