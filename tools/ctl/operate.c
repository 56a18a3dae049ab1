/* larderctl's verbs that make larderd do something: train, reload, verify. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/parse.h"
#include "tools/ctl/ctl.h"

static int simple(struct ctl *c, const char *method, json_t *parameters)
{
	int status = EXIT_OK;
	json_t *reply = call(c, method, parameters, &status);

	if (reply && c->json)
		print_json(reply);
	else if (reply && text(reply, "text")[0])
		printf("%s\n", text(reply, "text"));
	json_decref(reply);
	return status;
}

int run_train(struct ctl *c)
{
	static const struct option options[] = {{"now", no_argument, NULL, 'n'},
		{"wait", no_argument, NULL, 'w'}, {NULL, 0, NULL, 0}};
	bool now = false, wait = false;
	int o;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "+", options, NULL)) >= 0) {
		now |= o == 'n';
		wait |= o == 'w';
		if (o == '?')
			return EXIT_USAGE;
	}
	if (!ends_here(c))
		return EXIT_USAGE;
	return simple(c, CONTROL_INTERFACE ".Train", json_pack("{sb sb}", "now", now, "wait", wait));
}

int run_pause(struct ctl *c)
{
	return simple(c, CONTROL_INTERFACE ".Pause", json_object());
}

int run_resume(struct ctl *c)
{
	return simple(c, CONTROL_INTERFACE ".Resume", json_object());
}

int run_reload(struct ctl *c)
{
	return simple(c, CONTROL_INTERFACE ".Reload", json_object());
}

int run_vacuum(struct ctl *c)
{
	int status = EXIT_OK;
	char size[24];
	json_t *reply;

	reply = call(c, CONTROL_INTERFACE ".Vacuum", json_object(), &status);
	if (reply && c->json)
		print_json(reply);
	else if (reply)
		printf("%s freed\n", format_size(number(reply, "freed"), size, sizeof(size)));
	json_decref(reply);
	return status;
}

static const struct option verify_options[] = {
	{"repair", no_argument, NULL, 'r'}, {"force", no_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};

/* Sets damaged images aside before everything is read once more. */
static int repair(struct ctl *c, bool force)
{
	int status = EXIT_OK;
	json_t *reply = call(c, CONTROL_INTERFACE ".Repair", json_pack("{sb}", "force", force), &status);

	if (reply && !c->json)
		printf("%" PRId64 " images set aside; their files, if any, are in quarantine\n%" PRId64
		       " images mended: one bit of theirs was flipped\n",
			number(reply, "set_aside"), number(reply, "mended"));
	if (reply && !c->json && number(reply, "doubtful"))
		printf("%" PRId64 " images kept whose rows were damaged: labels, times and names may be "
		       "wrong\n", number(reply, "doubtful"));
	json_decref(reply);
	return status;
}

int run_verify(struct ctl *c)
{
	bool repairs = false, force = false;
	int status = EXIT_OK, o;
	json_t *reply, *line;
	char size[24];
	size_t i;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", verify_options, NULL)) >= 0) {
		if (o == '?')
			return EXIT_USAGE;
		repairs = repairs || o == 'r';
		force = force || o == 'f';
	}
	if (!ends_here(c))
		return EXIT_USAGE;
	if (force && !repairs) {
		fputs("larderctl: verify: --force goes with --repair\n", stderr);
		return EXIT_USAGE;
	}
	if (repairs)
		status = repair(c, force);
	if (status != EXIT_OK)
		return status;
	reply = call(c, CONTROL_INTERFACE ".Verify", json_object(), &status);
	if (!reply)
		return status;
	if (c->json)
		print_json(reply);
	else {
		json_array_foreach(json_object_get(reply, "findings"), i, line) {
			print_clean(json_string_value(line));
			putchar('\n');
		}
		printf("%" PRId64 " images, %s: %s\n", number(reply, "images"),
			format_size(number(reply, "bytes"), size, sizeof(size)),
			json_is_true(json_object_get(reply, "ok")) ? "all sound" : "damage found");
	}
	status = json_is_true(json_object_get(reply, "ok")) ? EXIT_OK : EXIT_FINDINGS;
	json_decref(reply);
	return status;
}
