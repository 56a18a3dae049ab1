/*
 * A disk that fails. Linking disk.c into a program puts it between the program, SQLite included,
 * and the C library: every call that changes a file or directory under one path is counted, and at
 * a chosen count the process is killed, the call is torn, or it fails. It can also record what was
 * done, to lay out afterwards what a power loss at any moment would have left.
 *
 * What is durable is taken at its strictest (POSIX): bytes of a file when the file was synced, names in a
 * directory when the directory was.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum disk_mode {
	DISK_OFF,
	DISK_COUNT,	 /* nothing but counting */
	DISK_KILL,	 /* the process, in place of the call */
	DISK_TEAR,	 /* the process, after half of the bytes of a write */
	DISK_FAIL,	 /* the call, with an errno */
	DISK_FAIL_READS, /* the same of calls that read: of files, of names, and opening them for it */
	DISK_RECORD,	 /* everything */
};

/* Calls on files below dir count from now on: from 1, the at-th being the one that is hit. */
void disk_arm(const char *dir, enum disk_mode mode, long at);

/* For those that fail: which errno, and whether every later call fails as well. */
void disk_error(int error, bool for_ever);

/* Allocations fail likewise: the at-th, or from there on. 0: none. Without sanitizers only. */
void disk_arm_memory(long at, bool for_ever);

void disk_off(void);

/* Nothing is counted, hit or recorded while paused; returns what it was. */
bool disk_pause(bool pause);

long disk_calls(void);	 /* counted since disk_arm() */
bool disk_was_hit(void); /* the at-th call has come */

/* After DISK_RECORD: how many changes there are. */
size_t disk_recorded(void);

/* How many of them wrote beyond the end of a file, other than SQLite's shared memory. */
size_t disk_beyond(void);

/* Notes a moment in the record, so that a test knows what had been promised by then. */
void disk_note(int what);
/* The last note before a change, or -1. */
int disk_noted(size_t before);

enum disk_loss {
	LOSS_NONE,    /* all that was done by then: a killed process */
	LOSS_BYTES,   /* unsynced bytes are gone, names are as they were */
	LOSS_ALL,     /* unsynced names as well */
	LOSS_TORN,    /* of unsynced writes some sectors arrived; of unsynced names some */
};

/* Lays out under dir, which is empty, what a power loss after so many changes leaves. */
void disk_after_loss(size_t changes, enum disk_loss loss, uint64_t seed, const char *dir);
void disk_forget(void);
