/* larderctl model: the network as a file for other runtimes, and a file as the network. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/io.h"
#include "tools/ctl/ctl.h"

#define FILE_MAX (700 << 10) /* with base64, what one message to larderd holds */

static const char *ending(const char *path)
{
	const char *dot = strrchr(path, '.');

	return dot && !strchr(dot, '/') ? dot + 1 : "";
}

static int save_model(struct ctl *c, const char *path)
{
	_cleanup_buf_ struct buf file = {0};
	json_t *parameters;
	int status;

	if (strcmp(ending(path), "onnx") != 0 && strcmp(ending(path), "safetensors") != 0) {
		fprintf(stderr, "larderctl: %s: a name that ends in .onnx or .safetensors is needed\n",
			path);
		return EXIT_USAGE;
	}
	parameters = json_pack("{ss}", "format", ending(path));
	status = fetch_parts(c, CONTROL_INTERFACE ".Model", parameters, &file);
	json_decref(parameters);
	if (status == EXIT_OK)
		status = save_file(path, &file);
	if (status == EXIT_OK && c->json)
		printf("{\"bytes\": %zu}\n", file.len);
	else if (status == EXIT_OK)
		printf("%zu bytes written to %s\n", file.len, path);
	return status;
}

static int use_model(struct ctl *c, const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_buf_ struct buf file = {0};
	int r = fd < 0 ? -errno : io_read_fd(fd, FILE_MAX, &file), status = EXIT_OK;
	json_t *reply;

	if (r < 0) {
		fprintf(stderr, "larderctl: %s: %s\n", path, strerror(-r));
		return EXIT_REFUSED;
	}
	reply = call(c, CONTROL_INTERFACE ".UseModel",
		json_pack("{so}", "data", varlink_blob(file.data, file.len)), &status);
	if (reply && c->json)
		print_json(reply);
	else if (reply)
		printf("%s\n", text(reply, "text"));
	json_decref(reply);
	return status;
}

int run_model(struct ctl *c)
{
	static const struct option options[] = {{"use", required_argument, NULL, 'u'}, {NULL, 0, NULL, 0}};
	const char *use = NULL;
	int o;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", options, NULL)) >= 0) {
		if (o != 'u')
			return EXIT_USAGE;
		use = optarg;
	}
	if (c->argc - optind != !use) {
		fputs("larderctl: model: the name of one file is needed, or --use and one\n", stderr);
		return EXIT_USAGE;
	}
	return use ? use_model(c, use) : save_model(c, c->argv[optind]);
}
