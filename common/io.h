/*
 * File helpers: whole reads and writes, durable creation, and sizes as du counts them. All of them
 * return 0 or a count on success and a negative errno on failure, work relative to a directory's
 * descriptor and retry interrupted calls.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/wire.h"

int io_write_full(int fd, const void *data, size_t len);

/*
 * Gives a file the length that it is about to be written to: one that is written beyond its end may get more
 * room than it needs as long as it is open, in case that goes on (XFS).
 */
int io_lengthen(int fd, int64_t len);

/* To a socket: one whose other end has gone is told by -EPIPE, not by a signal. */
int io_send_full(int fd, const void *data, size_t len);

/* Exactly len bytes; -EPIPE when the other end closed before them. */
int io_read_full(int fd, void *data, size_t len);

/* Appends the whole file to b; -EFBIG above max bytes. */
int io_read_file(int dir_fd, const char *name, size_t max, struct buf *b);

/* As io_read_file, from an open descriptor. */
int io_read_fd(int fd, size_t max, struct buf *b);

/* Writes name.tmp with O_EXCL (a stale one is removed), fsyncs it, renames it, fsyncs the directory. */
int io_write_durable(int dir_fd, const char *name, const void *data, size_t len);

/* Opens dir/name as a directory, made with mode 0750 when it is missing. */
int io_open_dir(int dir_fd, const char *name);

/*
 * Opens the directory that the last part of a relative path is in, following no link on the way; ret_name
 * points to that part. A descriptor of its own, or -ENOTDIR or -ELOOP for what is no directory.
 */
int io_open_parent(int dir_fd, const char *path, const char **ret_name);

/*
 * Calls fn with each name in the directory but "." and ".."; stops at its first result that is not 0, and
 * returns that.
 */
int io_each_name(int dir_fd, int (*fn)(void *arg, int dir_fd, const char *name), void *arg);

/*
 * Whether others may change the file system behind the kernel's back, so that inotify does not tell: one of a
 * network, of a virtual machine's host, or of a program (FUSE).
 */
bool io_is_remote(int fd);

/* Bytes of a file system, and of those what we may still take. */
struct disk_space {
	int64_t size, available;
};

/* Of the one that fd is on; 0 when that does not tell. */
void io_disk_space(int fd, struct disk_space *ret);

/* Disk space of a file as du counts it. */
int64_t io_disk_bytes(const struct stat *st);

/* Disk space of everything under the directory, itself included; negative errno. */
int64_t io_tree_bytes(int dir_fd);
