/* The end of a test's own event loop. */
#pragma once

#include <uv.h>

#include "tests/unit/test.h"

static inline void close_handle(uv_handle_t *h, void *arg)
{
	(void)arg;
	uv_close(h, NULL);
}

/* Closes what is on it, and nothing may be left. */
static inline void close_loop(uv_loop_t *loop)
{
	uv_walk(loop, close_handle, NULL);
	uv_run(loop, UV_RUN_DEFAULT);
	CHECK_INT(uv_loop_close(loop), 0);
}
