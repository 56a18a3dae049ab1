/*
 * The --worker role: decodes, scores and encodes pictures for the daemon, over standard input and
 * output, from within the sandbox. One request at a time; the picture decoded last stays in memory
 * so that a rung of it can be asked for.
 */
#pragma once

#include <stdbool.h>

/* background: it makes way for everything else. */
int worker_main(bool background);
