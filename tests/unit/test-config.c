#include "common/config.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"

static char dir[] = "/tmp/larder-config-XXXXXX";
static char file[64], error[CONFIG_ERROR_MAX];

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
}

static int load(const char *text, struct config *c)
{
	put(file, text);
	config_init(c);
	return config_load(c, file, true, error);
}

static void test_defaults(void)
{
	struct config c;

	config_init(&c);
	CHECK_STR(c.spool.path, "/var/spool/larder");
	CHECK_INT(c.store.max_use.bytes, 1 << 30);
	CHECK(c.store.keep_free.is_percent);
	CHECK_INT(c.model.channels[2], 128);
	CHECK_INT(c.idle.quiet_us, 30000000);
	CHECK_INT(c.policy.mode, MODE_ADAPTIVE);
	CHECK_NEAR(c.training.validation_percent, 10, 0);
}

static void test_values(void)
{
	struct config c;

	CHECK_INT(load("# a comment\n[Store]\nMaxUse = 3M\nKeepFree=2%\n[Policy]\nMode=drop\n"
		       "[Model]\nChannels=8 16 24\n[Idle]\nHours=22:00-06:00, 12:00-13:30\n", &c), 0);
	CHECK_INT(c.store.max_use.bytes, 3 << 20);
	CHECK_INT(amount_bytes(&c.store.keep_free, 1000), 20);
	CHECK_INT(c.policy.mode, MODE_DROP);
	CHECK_INT(c.model.channels[1], 16);
	CHECK_INT(c.idle.hours.n, 2);
	CHECK_INT(c.idle.hours.range[1].to_min, 13 * 60 + 30);
}

static void test_ages(void)
{
	const int64_t day = 24 * 3600 * INT64_C(1000000);
	struct config c;

	CHECK_INT(load("[Store]\nMaxAge=30d person,  2h a fox, or so ,365d *\n", &c), -EINVAL); /* "or": no time */
	CHECK_INT(load("[Store]\nMaxAge= 30d person,  2h a fox ,365d *\n", &c), 0);
	CHECK_INT(c.store.max_age.n, 3);
	CHECK_INT(c.store.max_age.rule[0].us, 30 * day);
	CHECK_INT(c.store.max_age.rule[1].us, day / 12);
	CHECK_STR(c.store.max_age.rule[1].label, "a fox");
	CHECK_STR(c.store.max_age.rule[2].label, "*");
	CHECK_INT(load("[Store]\nMaxAge=1d a,1d b,1d c,1d d,1d e,1d f,1d g,1d h,1d i,1d j,1d k,1d l,1d m,1d n,1d o,1d p,1d q\n",
		&c), -ERANGE);
}

static void test_spools(void)
{
	char text[4096] = "";
	struct share share;
	struct config c;

	CHECK_INT(load("[Spool door]\nPath=/a/door\nLabel=at the door\n[Spool]\nPath=/a/main\n[Spool "
		       "yard-2]\nPath=/a/yard\n"
		       "[Spool door]\nPath=/b/door\n[Store]\nMinShare=30% at the door,12.5% fox\n",
			  &c),
		0);
	CHECK_STR(c.spool.path, "/a/main");
	CHECK_INT(c.n_spools, 2);
	CHECK_STR(c.more[0].name, "door");
	CHECK_STR(c.more[0].path, "/b/door"); /* the later one wins */
	CHECK_STR(c.more[0].label, "at the door");
	CHECK_STR(c.more[1].path, "/a/yard");
	CHECK_STR(c.more[1].label, "");
	CHECK_INT(c.store.min_share.n, 2);
	CHECK_NEAR(c.store.min_share.rule[1].percent, 12.5, 0);
	CHECK_STR(c.store.min_share.rule[0].label, "at the door");
	CHECK(!config_share(&c, 2, &share));
	CHECK_INT(load("[Spool a]\nPath=/a\n[Spool b]\nPath=/b\nLabel=bat\nMinShare=50%\n[Store]\nMinShare=40% fox\n", &c), 0);
	CHECK(config_share(&c, 0, &share) && !strcmp(share.label, "fox"));
	CHECK(config_share(&c, 1, &share) && !strcmp(share.label, "bat"));
	CHECK_NEAR(share.percent, 50, 0);
	CHECK(!config_share(&c, 2, &share));
	CHECK(load("[Spool a]\nPath=/a\nMinShare=5%\n", &c) < 0 && strstr(error, "needs a Label"));
	CHECK(load("[Spool a]\nPath=/a\nLabel=x\nMinShare=5%\n[Store]\nMinShare=5% x\n", &c) < 0 &&
		strstr(error, "two for the label \"x\""));
	CHECK(load("[Spool a]\nPath=/a\nLabel=x\nMinShare=51%\n[Store]\nMinShare=40% y\n", &c) < 0 &&
		strstr(error, "91% in all; allowed: 90% together"));
	CHECK(load("[Spool door]\nLabel=x\n", &c) < 0 && strstr(error, "[Spool door]: a Path is needed"));
	for (int i = 0; i < 6; i++) {
		static const char *const one[] = {"/a", "/a/b", "/a/b/c", "/s/x", "/s", "/c/d/"};

		snprintf(text, sizeof(text),
			"[Spool]\nPath=/a/b/\n[Store]\nPath=/s\n[Spool c]\nPath=/c/d/e\n[Spool "
			"x]\nPath=%s\n",
			one[i]);
		CHECK(load(text, &c) < 0 && strstr(error, "lie one inside the other"));
	}
	CHECK_INT(load("[Spool]\nPath=/a/b/\n[Spool x]\nPath=/a/bc\n", &c), 0);
	text[0] = '\0';
	for (int i = 0; i <= CONFIG_SPOOLS_MAX; i++)
		snprintf(
			text + strlen(text), sizeof(text) - strlen(text), "[Spool n%d]\nPath=/p%d\n", i, i);
	CHECK(load(text, &c) < 0 && strstr(error, "at most 15 times"));
}

/* Each error names file:line and what is allowed. */
static void test_errors(void)
{
	static const struct {
		const char *text, *line, *word;
	} cases[] = {
		{"[Store]\nMaxUse=lots\n", ":2:", "512M"},
		{"[Store]\nMaxUse=1K\n", ":2:", "at least"},
		{"[Store]\n\nMaxuse=1G\n", ":3:", "MaxUse"},
		{"[Stoer]\nMaxUse=1G\n", ":2:", "Spool, Store"},
		{"[Policy]\nMode=best\n", ":2:", "adaptive, uniform, drop"},
		{"[Policy]\nQuality=0\n", ":2:", "1 to 100"},
		{"[Model]\nChannels=1 2\n", ":2:", "three whole numbers"},
		{"[Idle]\nHours=25:00-26:00\n", ":2:", "22:00-06:00"},
		{"[Training]\nEnabled=perhaps\n", ":2:", "yes or no"},
		{"[Store]\nMaxAge=30d\n", ":2:", "30d person, 365d *"},
		{"[Store]\nMaxAge=59s cat\n", ":2:", "a minute or more"},
		{"[Store]\nMinShare=30%\n", ":2:", "30% door, 10% yard"},
		{"[Store]\nMinShare=60% cat, 31% dog\n", ":2:", "90% together"},
		{"[Store]\nMinShare=0% cat\n", ":2:", "percentages"},
		{"[Store]\nMinShare=5% cat, 5% cat\n", ":2:", "percentages"},
		{"[Spool a/b]\nPath=/x\n", ":2:", "letters, digits"},
		{"[Spool ]\nPath=/x\n", ":2:", "letters, digits"},
		{"[Spool door]\nSettleSec=1s\n", ":2:", "allowed: Path, Label, MinShare"},
		{"[Spool door]\nMinShare=91%\n", ":2:", "from 0% to 90%"},
		{"[Spool door]\nPath=relative\n", ":2:", "absolute path"},
		{"[Spool door]\nLabel=a/b\n", ":2:", "without '/'"},
		{"[Spool]\nPath=relative\n", ":2:", "absolute path"},
		{"[Spool]\nnonsense\n", ":2:", "Key=value"},
	};
	struct config c;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CHECK(load(cases[i].text, &c) < 0);
		CHECK(strstr(error, file) && strstr(error, cases[i].line) && strstr(error, cases[i].word));
		if (!strstr(error, cases[i].word))
			fprintf(stderr, "  was: %s\n", error);
	}
	CHECK(load("[Policy]\nMinQuality=50\nMaxQuality=40\n", &c) < 0);
	CHECK(load("[Model]\nInputSize=33\n", &c) < 0);
	CHECK(load("[Spool]\nPath=/a/b\n[Store]\nPath=/a\n", &c) < 0);
	CHECK_INT(config_load(&c, "/nonexistent.conf", true, error), -ENOENT);
	config_init(&c);
	CHECK_INT(config_load(&c, "/nonexistent.conf", false, error), 0);
}

static void test_drop_ins(void)
{
	char path[128];
	struct config c;

	snprintf(path, sizeof(path), "%s.d", file);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s.d/20-b.conf", file);
	put(path, "[Store]\nMaxUse=5M\n");
	snprintf(path, sizeof(path), "%s.d/10-a.conf", file);
	put(path, "[Store]\nMaxUse=4M\nInlineMax=1K\n");
	CHECK_INT(load("[Store]\nMaxUse=3M\n", &c), 0);
	CHECK_INT(c.store.max_use.bytes, 5 << 20);
	CHECK_INT(c.store.inline_max_bytes, 1024);
	unlink(path);
	snprintf(path, sizeof(path), "%s.d/20-b.conf", file);
	unlink(path);
	snprintf(path, sizeof(path), "%s.d", file);
	rmdir(path);
}

/* The sample file, uncommented, gives the defaults again. */
static void test_sample(void)
{
	struct config c, defaults;
	char line[1024];
	FILE *sample = tmpfile(), *out = fopen(file, "w");
	int settings = 0;

	config_print_sample(sample);
	rewind(sample);
	while (fgets(line, sizeof(line), sample)) {
		if (line[0] == '#' && line[1] != ' ') {
			fputs(line + 1, out);
			settings++;
		} else {
			fputs(line, out);
		}
	}
	fclose(out);
	fclose(sample);
	CHECK_INT(settings, 46);
	config_init(&defaults);
	memset(&c, 0, sizeof(c));
	CHECK_INT(config_load(&c, file, true, error), 0);
	CHECK_INT(c.n_spools, 1);
	c.n_spools = 0;
	memset(c.more, 0, sizeof(c.more));
	CHECK(memcmp(&c, &defaults, sizeof(c)) == 0);
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(file, sizeof(file), "%s/larderd.conf", dir);
	test_defaults();
	test_values();
	test_ages();
	test_spools();
	test_errors();
	test_drop_ins();
	test_sample();
	unlink(file);
	rmdir(dir);
	printf("%d checks, %d failed\n", test_checks, test_failures);
	return test_failures || !test_checks;
}
