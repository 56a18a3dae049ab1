/*
 * What everybody does, by libjpeg alone: what the daemon's own way is measured against. For files that are
 * known to be sound: at others libjpeg ends the program. -ENOMEM.
 */
#pragma once

#include "common/codec/pixels.h"

int peer_decode(const uint8_t *data, size_t len, struct pixels *ret);

/* Decodes to pixels and encodes those at a quality with the standard tables. */
int peer_transcode(const uint8_t *data, size_t len, int quality);

/* Entropy decoding and no more: coefficients where libjpeg puts them. */
void peer_coefficients(const uint8_t *data, size_t len);
