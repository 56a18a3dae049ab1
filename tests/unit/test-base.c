/* digest, wire, io, rng: the small modules of common/. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/io.h"
#include "common/log.h"
#include "common/rng.h"
#include "common/sha256_blocks.h"
#include "common/wire.h"
#include "tests/unit/test.h"

static void check_sha(const char *data, size_t len, const char *want)
{
	uint8_t d[SHA256_BYTES];
	char hex[65];

	sha256(data, len, d);
	for (int i = 0; i < 32; i++)
		snprintf(hex + 2 * i, 3, "%02x", d[i]);
	CHECK_STR(hex, want);
}

static void test_digests(void)
{
	static char million[1000000];

	memset(million, 'a', sizeof(million));
	check_sha("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	check_sha("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	check_sha("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	check_sha(million, sizeof(million),
		"cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	CHECK_INT(crc32c(0, "123456789", 9), 0xe3069283);
	CHECK_INT(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
	CHECK_INT(crc16("123456789", 9), 0x29b1);
}

static void test_flipped(void)
{
	uint8_t data[3000];
	struct rng r;

	rng_init(&r, 3);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)rng_u64(&r);
	for (int i = 0; i < 2000; i++) {
		uint32_t len = 1 + rng_below(&r, sizeof(data));
		uint32_t bit = rng_below(&r, 8 * len), other = rng_below(&r, 8 * len);
		uint32_t crc = crc32c(0, data, len);

		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		CHECK_INT(crc32c_flipped(crc ^ crc32c(0, data, len), len), bit);
		data[other / 8] ^= (uint8_t)(1 << other % 8);
		CHECK_INT(crc32c_flipped(crc ^ crc32c(0, data, len), len), -1);
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		data[other / 8] ^= (uint8_t)(1 << other % 8);
	}
	CHECK_INT(crc32c_flipped(1, 0), -1);
}

/* The processor's instructions, where there are any, against none. */
static void test_sha256_blocks(void)
{
	uint8_t data[5 * SHA256_BLOCK + 1];
	uint32_t own[8], plain[8];
	struct rng r;

	rng_init(&r, 7);
	for (int i = 0; i < 500; i++) {
		size_t blocks = (size_t)i % 6;

		for (size_t k = 0; k < sizeof(data); k++)
			data[k] = (uint8_t)rng_u64(&r);
		for (int k = 0; k < 8; k++)
			own[k] = plain[k] = (uint32_t)rng_u64(&r);
		sha256_blocks(own, data + i % 2, blocks);
		sha256_blocks_plain(plain, data + i % 2, blocks);
		CHECK(memcmp(own, plain, sizeof(own)) == 0);
	}
}

static void test_wire(void)
{
	_cleanup_buf_ struct buf b = {0};
	struct reader r;
	const uint8_t *blob;
	size_t n;

	buf_put_u8(&b, 7);
	buf_put_u16(&b, 0x1234);
	buf_put_u32(&b, 0xdeadbeef);
	buf_put_u64(&b, UINT64_C(0x0123456789abcdef));
	buf_put_f32(&b, -1.5f);
	buf_put_blob(&b, "hello", 5);
	CHECK(!b.failed);
	r = (struct reader){b.data, b.len, false};
	CHECK_INT(reader_u8(&r), 7);
	CHECK_INT(reader_u16(&r), 0x1234);
	CHECK_INT(reader_u32(&r), 0xdeadbeef);
	CHECK(reader_u64(&r) == UINT64_C(0x0123456789abcdef));
	CHECK_NEAR(reader_f32(&r), -1.5, 0);
	blob = reader_blob(&r, &n);
	CHECK(n == 5 && !memcmp(blob, "hello", 5));
	CHECK(reader_finished(&r));
	CHECK_INT(reader_u32(&r), 0);
	CHECK(r.failed);
	/* Every truncation fails and reads nothing outside. */
	for (size_t len = 0; len < b.len; len++) {
		uint8_t *copy = malloc(len + 1);

		memcpy(copy, b.data, len);
		r = (struct reader){copy, len, false};
		reader_u8(&r);
		reader_u16(&r);
		reader_u32(&r);
		reader_u64(&r);
		reader_f32(&r);
		reader_blob(&r, &n);
		CHECK(r.failed);
		free(copy);
	}
	buf_consume(&b, 1);
	CHECK_INT(b.data[0], 0x34);
}

static void test_io(void)
{
	char dir[] = "/tmp/larder-io-XXXXXX";
	_cleanup_buf_ struct buf b = {0};
	int fd = open(mkdtemp(dir), O_RDONLY | O_DIRECTORY), sub;
	struct stat st;
	int64_t before;

	CHECK_INT(io_write_durable(fd, "a", "first", 5), 0);
	CHECK_INT(io_write_durable(fd, "a", "second", 6), 0);
	CHECK_INT(io_read_file(fd, "a", 100, &b), 0);
	CHECK(b.len == 6 && !memcmp(b.data, "second", 6));
	CHECK_INT(faccessat(fd, "a.tmp", F_OK, 0), -1);
	CHECK_INT(io_read_file(fd, "a", 5, &b), -EFBIG);
	CHECK_INT(io_read_file(fd, "b", 5, &b), -ENOENT);
	CHECK_INT(symlinkat("a", fd, "link"), 0);
	CHECK_INT(io_read_file(fd, "link", 100, &b), -ELOOP);
	before = io_tree_bytes(fd);
	sub = io_open_dir(fd, "sub");
	CHECK(sub >= 0);
	CHECK_INT(io_write_durable(sub, "c", dir, sizeof(dir)), 0);
	CHECK_INT(fstatat(sub, "c", &st, 0), 0);
	CHECK(io_tree_bytes(fd) >= before + io_disk_bytes(&st));
	unlinkat(sub, "c", 0);
	unlinkat(fd, "sub", AT_REMOVEDIR);
	unlinkat(fd, "link", 0);
	unlinkat(fd, "a", 0);
	close(sub);
	close(fd);
	rmdir(dir);
}

static void test_rng(void)
{
	uint32_t index[100], seen[100] = {0};
	double sum = 0, squares = 0;
	struct rng a, b;

	rng_init(&a, 42);
	rng_init(&b, 42);
	CHECK(rng_u64(&a) == rng_u64(&b));
	for (int i = 0; i < 20000; i++) {
		double v = rng_normal(&a);

		sum += v;
		squares += v * v;
		CHECK(rng_below(&a, 7) < 7);
	}
	CHECK_NEAR(sum / 20000, 0, 0.03);
	CHECK_NEAR(squares / 20000, 1, 0.05);
	for (uint32_t i = 0; i < 100; i++)
		index[i] = i;
	rng_shuffle(&a, index, 100);
	for (int i = 0; i < 100; i++)
		seen[index[i]]++;
	for (int i = 0; i < 100; i++)
		CHECK_INT(seen[i], 1);
}

/* A flood of one kind is cut; what else there is to say is said, on one line each. */
static void test_log(void)
{
	FILE *f = tmpfile();
	int was = dup(STDERR_FILENO), floods = 0, others = 0, debug = 0;
	char line[256];

	dup2(fileno(f), STDERR_FILENO);
	log_open("test", LOG_DBG);
	for (int i = 0; i < 4 * LOG_BURST; i++) {
		log_notice("flood %d\n", i);
		log_debug("debug %d", i);
	}
	log_error("other");
	dup2(was, STDERR_FILENO);
	close(was);
	rewind(f);
	while (fgets(line, sizeof(line), f)) {
		floods += strstr(line, "flood ") && strstr(line, "\\x0a\n");
		others += strstr(line, "other") != NULL;
		debug += strstr(line, "debug ") != NULL;
	}
	fclose(f);
	CHECK_INT(floods, LOG_BURST);
	CHECK_INT(others, 1);
	CHECK_INT(debug, 4 * LOG_BURST);
}

/* Operands are often calls that do something. */
static void test_macros(void)
{
	int calls = 0;

	CHECK_INT(MIN(++calls, 5), 1);
	CHECK_INT(MIN(0, ++calls), 0);
	CHECK_INT(MAX(++calls, 0), 3);
	CHECK_INT(MAX(9, ++calls), 9);
	CHECK_INT(CLAMP(++calls, 1, 4), 4);
	CHECK_INT(CLAMP(++calls, 1, 9), 6);
	CHECK_INT(MAX(MIN(++calls, 9), MIN(calls, 2)), 7);
	CHECK_INT(calls, 7);
}

TEST_MAIN(test_macros, test_digests, test_flipped, test_sha256_blocks, test_wire, test_io, test_rng, test_log)
