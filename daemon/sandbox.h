/*
 * What the child roles may do once they have started. Both give up new privileges, core dumps and
 * their life when the daemon dies, or when memory is short.
 */
#pragma once

#include <stdint.h>

/*
 * From here on the process gets what nobody else wants of processors, disks and memory, another session's
 * programs included. Not once a sandbox has closed.
 */
void make_way(void);

/*
 * A worker: memory bounded, nothing but reading and writing what it already has open, memory and
 * time. Every other system call answers EPERM. Call it when everything is loaded and warmed up.
 */
int sandbox_worker(int64_t memory_max);

/* The trainer: no exec, no sockets, no tracing, no signals to others. */
int sandbox_trainer(void);
