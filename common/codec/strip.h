/*
 * A JPEG file without what its picture does not need: comments, profiles, places, previews. Nothing is
 * decoded or coded, so it takes one or two hundredths of the time. Works on hostile bytes.
 */
#pragma once

#include "common/wire.h"

/*
 * Appends the tables and the scan as they are, and an EXIF orientation when it is not 1. jpeg_read() makes
 * the same of both, if it makes anything of the file at all. False, and nothing is appended, when the file
 * is none of a baseline's kind in one scan, Y or Y Cb Cr by its components' usual numbers: it has to be
 * coded anew.
 */
bool jpeg_strip(const uint8_t *data, size_t len, int orientation, struct buf *b);
