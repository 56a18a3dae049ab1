/* larderctl suggest: which images a person should name. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "tools/ctl/ctl.h"

#define MOST 200

int run_suggest(struct ctl *c)
{
	static const struct option options[] = {
		{"limit", required_argument, NULL, 'l'}, {NULL, 0, NULL, 0}};
	int64_t limit = 20;
	int status = EXIT_OK, o;
	json_t *reply;
	const json_t *im;
	size_t i;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", options, NULL)) >= 0)
		if (o != 'l' || !parse_option_int("limit", optarg, 1, MOST, &limit))
			return EXIT_USAGE;
	if (!ends_here(c))
		return EXIT_USAGE;
	reply = call(
		c, CONTROL_INTERFACE ".Suggest", json_pack("{sI}", "limit", (json_int_t)limit), &status);
	if (reply && c->json) {
		print_json(reply);
	} else if (reply) {
		puts("id            unsure  perhaps              name");
		json_array_foreach (json_object_get(reply, "images"), i, im) {
			printf("%.12s  %6.2f  %3.0f %% ", text(im, "id"),
				json_number_value(json_object_get(im, "entropy")),
				100 * json_number_value(json_object_get(im, "probability")));
			print_padded(text(im, "guess"), 14);
			fputs("  ", stdout);
			print_clean(text(im, "name"));
			putchar('\n');
		}
		printf("%" PRId64 " without a label looked at; unsure: entropy of the answer, in nats\n",
			number(reply, "looked_at"));
	}
	json_decref(reply);
	return status;
}
