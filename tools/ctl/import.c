/*
 * larderctl import: pictures that are there already, into the spool as a camera would put them: written
 * beside, then renamed, a limited number at a time. Folders are labels, or images.csv says so (as export
 * writes it). What the store knows already is found to be a duplicate: an import that was stopped can be
 * run again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "common/io.h"
#include "tools/ctl/csv.h"
#include "tools/ctl/ctl.h"

#define WAITING_MAX 500 /* captures in the spool before more are put there */
#define POLL_MS	    100
#define DEPTH_MAX   16
#define FILE_MAX    (INT64_C(1) << 30)
#define PART	    ".import.part" /* captures end in another name */

struct import {
	struct ctl *c;
	const char *label; /* of all of them; NULL: each its own */
	char spool[4096];
	int spool_fd;
	int64_t done, bytes, passed, refused, waiting;
	int status;
};

static bool is_picture(const char *name)
{
	static const char *const endings[] = {".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".pnm"};
	size_t len = strlen(name);

	for (size_t i = 0; i < ARRAY_SIZE(endings); i++)
		if (len > strlen(endings[i]) && !strcasecmp(name + len - strlen(endings[i]), endings[i]))
			return name[0] != '.';
	return false;
}

static void refuse(struct import *m, const char *path, const char *why)
{
	fprintf(stderr, "larderctl: %s: %s\n", path, why);
	m->refused++;
	m->status = EXIT_REFUSED;
}

/* Waits until the daemon has caught up; what is waiting then is said by m->waiting. */
static int wait_for_spool(struct import *m, int64_t most)
{
	const struct timespec pause = {0, POLL_MS * 1000000};
	int status = EXIT_OK;

	do {
		json_t *reply = call(m->c, CONTROL_INTERFACE ".Status", json_object(), &status);
		const json_t *spool = json_object_get(json_object_get(reply, "status"), "spool");

		m->waiting = number(spool, "pending") + number(spool, "in_flight");
		json_decref(reply);
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\r%" PRId64 " pictures given, %" PRId64 " waiting\033[K", m->done,
				m->waiting);
		if (status == EXIT_OK && m->waiting > most)
			nanosleep(&pause, NULL);
	} while (status == EXIT_OK && m->waiting > most);
	return status;
}

/* Moved where nothing is yet. Not all file systems can do that at once. */
static int move_to(int folder, const char *name)
{
	if (renameat2(folder, PART, folder, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (linkat(folder, PART, folder, name, 0) < 0)
		return -errno;
	return unlinkat(folder, PART, 0) < 0 ? -errno : 0;
}

/* A name in the folder that nothing has yet: the same names come from many folders. */
static int give_name(int folder, const char *name)
{
	char other[320];
	int r = -EEXIST;

	for (int k = 0; k < 10000 && r == -EEXIST; k++) {
		if (k)
			snprintf(other, sizeof(other), "%d-%s", k, name);
		else
			snprintf(other, sizeof(other), "%s", name);
		r = move_to(folder, other);
	}
	return r;
}

/* The folder of a label, made when it is missing: the daemon's group has to be able to take files out of it. */
static int label_folder(const struct import *m, const char *label)
{
	struct stat st;
	bool made;
	int fd;

	if (!*label)
		return openat(m->spool_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	made = mkdirat(m->spool_fd, label, 0770) == 0;
	fd = openat(m->spool_fd, label, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && made && fstat(fd, &st) == 0 && fchmod(fd, (st.st_mode & 07777) | S_IWGRP) < 0) {
		close(fd);
		return -errno;
	}
	return fd < 0 ? -errno : fd;
}

/* What an import that was killed left goes first. */
static int write_part(int folder, const struct buf *b, struct timespec taken)
{
	const struct timespec times[2] = {taken, taken}; /* unless the picture says when */
	_cleanup_close_ int fd = -1;
	int r;

	if (unlinkat(folder, PART, 0) < 0 && errno != ENOENT)
		return -errno;
	fd = openat(folder, PART, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	r = io_write_full(fd, b->data, b->len);
	return r == 0 && futimens(fd, times) < 0 ? -errno : r;
}

/* One picture into the spool. Another import may be giving pictures of the same label: one at a time. */
static int copy(struct import *m, int dir, const char *name, const char *label)
{
	_cleanup_buf_ struct buf b = {0};
	struct stat st;
	_cleanup_close_ int folder = label_folder(m, label), in = -1;
	int r;

	if (folder < 0)
		return folder;
	in = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (in < 0 || fstat(in, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	r = io_read_fd(in, FILE_MAX, &b);
	if (r < 0)
		return r;
	if (flock(folder, LOCK_EX) < 0 && errno != ENOLCK && errno != EOPNOTSUPP) /* until it is closed */
		return -errno;
	r = write_part(folder, &b, st.st_mtim);
	if (r == 0)
		r = give_name(folder, name);
	if (r < 0)
		unlinkat(folder, PART, 0);
	m->bytes += (int64_t)b.len;
	return r;
}

static void give(struct import *m, int dir, const char *path, const char *name, const char *label)
{
	int r;

	if (m->status == EXIT_NO_DAEMON)
		return;
	if (m->done % (WAITING_MAX / 2) == 0 && wait_for_spool(m, WAITING_MAX) != EXIT_OK) {
		m->status = EXIT_NO_DAEMON;
		return;
	}
	r = copy(m, dir, name, m->label ? m->label : label);
	if (r < 0)
		refuse(m, path, strerror(-r));
	else
		m->done++;
}

/* Everything below a folder; its first level's names are labels. */
static void walk(struct import *m, int dir, const char *path, const char *label, int depth)
{
	struct dirent **all;
	char here[32];
	int n;

	snprintf(here, sizeof(here), "/proc/self/fd/%d", dir);
	n = depth < DEPTH_MAX ? scandir(here, &all, NULL, alphasort) : -1;

	if (n < 0)
		refuse(m, path, depth < DEPTH_MAX ? strerror(errno) : "folders too deep");
	for (int i = 0; i < n; i++) {
		const char *name = all[i]->d_name;
		char below[4096];
		struct stat st;

		snprintf(below, sizeof(below), "%s/%s", path, name);
		if (name[0] == '.' || fstatat(dir, name, &st, 0) < 0) {
			m->passed += name[0] != '.';
		} else if (S_ISDIR(st.st_mode)) {
			_cleanup_close_ int sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			if (sub < 0)
				refuse(m, below, strerror(errno));
			else
				walk(m, sub, below,
					depth			      ? label
					: !strcmp(name, "unlabelled") ? ""
								      : name,
					depth + 1);
		} else if (is_picture(name)) {
			give(m, dir, below, name, label);
		} else {
			m->passed++;
		}
		free(all[i]);
	}
	if (n >= 0)
		free(all);
}

static bool stays_below(const char *file)
{
	return *file && *file != '/' && strcmp(file, "..") != 0 && strncmp(file, "../", 3) != 0 &&
	       !strstr(file, "/../");
}

static bool is_label(const char *label)
{
	return !strchr(label, '/') && label[0] != '.' && strlen(label) <= 255;
}

/* What a table of DIR says: its columns file and label. False: there is none. */
static bool from_table(struct import *m, int dir, const char *path)
{
	_cleanup_buf_ struct buf b = {0};
	struct csv_row row;
	int file, label;
	char *at;

	if (io_read_file(dir, "images.csv", 256 << 20, &b) < 0)
		return false;
	buf_put_u8(&b, 0);
	at = (char *)b.data;
	if (b.failed || !csv_next(&at, &row))
		return false;
	file = csv_column(&row, "file");
	label = csv_column(&row, "label");
	if (file < 0 || label < 0)
		return false;
	while (csv_next(&at, &row)) {
		const char *slash, *name;
		char whole[4096];

		if (row.n <= MAX(file, label) || !stays_below(row.field[file]) ||
			!is_label(row.field[label])) {
			refuse(m, path, "images.csv has a line that is not understood");
			continue;
		}
		slash = strrchr(row.field[file], '/');
		name = slash ? slash + 1 : row.field[file];
		snprintf(whole, sizeof(whole), "%s/%s", path, row.field[file]);
		if (slash) {
			_cleanup_free_ char *folder =
				strndup(row.field[file], (size_t)(slash - row.field[file]));
			_cleanup_close_ int sub =
				folder ? openat(dir, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

			if (sub < 0)
				refuse(m, whole, strerror(errno));
			else
				give(m, sub, whole, name, row.field[label]);
		} else {
			give(m, dir, whole, name, row.field[label]);
		}
	}
	return true;
}

/* Where the daemon that answers takes captures from. */
static int find_spool(struct import *m)
{
	int status = EXIT_OK;
	json_t *reply = call(m->c, CONTROL_INTERFACE ".Status", json_object(), &status);

	snprintf(m->spool, sizeof(m->spool), "%s",
		text(json_object_get(json_object_get(reply, "status"), "spool"), "path"));
	json_decref(reply);
	if (status != EXIT_OK)
		return status;
	m->spool_fd = open(m->spool, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->spool_fd >= 0)
		return EXIT_OK;
	fprintf(stderr, "larderctl: the spool %s: %s\n", m->spool, strerror(errno));
	return EXIT_REFUSED;
}

int run_import(struct ctl *c)
{
	static const struct option options[] = {{"label", required_argument, NULL, 'l'},
		{"wait", no_argument, NULL, 'w'}, {NULL, 0, NULL, 0}};
	struct import m = {.c = c, .spool_fd = -1};
	_cleanup_close_ int dir = -1;
	bool wait = false;
	int status, o;

	optind = 0;
	while ((o = getopt_long(c->argc, c->argv, "", options, NULL)) >= 0)
		if (o == 'l' && is_label(optarg)) {
			m.label = optarg;
		} else if (o == 'w') {
			wait = true;
		} else {
			if (o == 'l')
				fprintf(stderr,
					"larderctl: --label: '%s' is no label: no '/', no '.' in front\n",
					optarg);
			return EXIT_USAGE;
		}
	if (c->argc - optind != 1) {
		fputs("larderctl: import: the name of one directory is needed\n", stderr);
		return EXIT_USAGE;
	}
	dir = open(c->argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		fprintf(stderr, "larderctl: %s: %s\n", c->argv[optind], strerror(errno));
		return EXIT_REFUSED;
	}
	status = find_spool(&m);
	if (status == EXIT_OK && !from_table(&m, dir, c->argv[optind]))
		walk(&m, dir, c->argv[optind], "", 0);
	status = MAX(status, m.status);
	if (status != EXIT_NO_DAEMON && wait && m.done)
		status = MAX(status, wait_for_spool(&m, 0));
	close_fd(&m.spool_fd);
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	if (c->json)
		printf("{\"given\": %" PRId64 ", \"bytes\": %" PRId64 ", \"no_picture\": %" PRId64
		       ", \"refused\": %" PRId64 "}\n",
			m.done, m.bytes, m.passed, m.refused);
	else
		printf("%" PRId64 " pictures given to larderd, %" PRId64
		       " files are no pictures by their names\n",
			m.done, m.passed);
	return status;
}
