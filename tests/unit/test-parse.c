#include "common/parse.h"

#include <errno.h>

#include "tests/unit/test.h"

static void test_sizes(void)
{
	static const struct {
		const char *text;
		int result;
		int64_t bytes;
	} cases[] = {
		{"0", 0, 0}, {"512", 0, 512}, {"64K", 0, 65536}, {"1.5G", 0, 1610612736}, {"3MB", 0, 3 << 20},
		{"2t", 0, INT64_C(2) << 40}, {"", -EINVAL, 0}, {"K", -EINVAL, 0}, {"-1", -EINVAL, 0},
		{"5X", -EINVAL, 0}, {"5 M", -EINVAL, 0}, {"1M 2K", -EINVAL, 0}, {"9e30", -ERANGE, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t v = 0;

		CHECK_INT(parse_size(cases[i].text, &v), cases[i].result);
		CHECK_INT(v, cases[i].bytes);
	}
}

static void test_times(void)
{
	static const struct {
		const char *text;
		int result;
		int64_t us;
	} cases[] = {
		{"10s", 0, 10000000}, {"2", 0, 2000000}, {"5min 30s", 0, 330000000}, {"250ms", 0, 250000},
		{"2h", 0, INT64_C(7200000000)}, {"1d", 0, INT64_C(86400000000)}, {"", -EINVAL, 0},
		{"5 parsecs", -EINVAL, 0}, {"s", -EINVAL, 0}, {".", -EINVAL, 0}, {".M", -EINVAL, 0}, {"1s .", -EINVAL, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t v = 0;

		CHECK_INT(parse_time(cases[i].text, &v), cases[i].result);
		CHECK_INT(v, cases[i].us);
	}
}

static void test_others(void)
{
	double d = 0;
	int64_t i = 0;
	bool b = false;

	CHECK_INT(parse_percent("12.5%", &d), 0);
	CHECK_NEAR(d, 12.5, 0);
	CHECK_INT(parse_percent("12", &d), -EINVAL);
	CHECK_INT(parse_percent("101%", &d), -ERANGE);
	CHECK_INT(parse_bool("Yes", &b), 0);
	CHECK(b);
	CHECK_INT(parse_bool("maybe", &b), -EINVAL);
	CHECK_INT(parse_int("-7", &i), 0);
	CHECK_INT(i, -7);
	CHECK_INT(parse_int("7x", &i), -EINVAL);
	CHECK_INT(parse_int("99999999999999999999", &i), -ERANGE);
	CHECK_INT(parse_double("nan", &d), -EINVAL);
}

static void test_formats(void)
{
	char b[32];

	CHECK_STR(format_size(512, b, sizeof(b)), "512B");
	CHECK_STR(format_size(1536, b, sizeof(b)), "1.5K");
	CHECK_STR(format_size(INT64_C(3) << 30, b, sizeof(b)), "3.0G");
	CHECK_STR(format_time(250000, b, sizeof(b)), "250ms");
	CHECK_STR(format_time(INT64_C(11100000000), b, sizeof(b)), "3h 5min");
	CHECK_STR(format_time(60000000, b, sizeof(b)), "1min");
}

TEST_MAIN(test_sizes, test_times, test_others, test_formats)
