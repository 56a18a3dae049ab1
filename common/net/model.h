/*
 * A trained network with what is needed to use it elsewhere, and its file: safetensors with 16-bit
 * floats in PyTorch's layout (conv weights O I 3 3, linear weight K F with F in channels, rows,
 * columns), the class names, label ids and the preprocessing as metadata.
 *
 * Reading works on hostile bytes: every length is checked; -EBADMSG for a damaged file and for one whose
 * network expects inputs prepared in another way. The metadata's crc32c, where there is one, is of all that
 * the network is: who changes weights takes it out.
 */
#pragma once

#include "common/net/net.h"
#include "common/wire.h"

#define CLASS_NAME_MAX 256

struct model {
	struct net_shape shape;
	int64_t version;	/* 1, 2, ... per store; 0: none */
	int64_t trained_us;	/* wall time */
	int trained_images, validation_images;
	double validation_accuracy; /* 0..1 */
	uint32_t *label_id;	/* [classes]: label of the store behind each class; owned */
	char **name;		/* [classes]: UTF-8; owned */
	float *params;		/* owned */
};

void model_done(struct model *m);
#define _cleanup_model_ _cleanup_(model_done)

/* Allocates label_id, name and params for m->shape. -ENOMEM. */
int model_alloc(struct model *m);

/* Copies name as class k's, bytes that are no UTF-8 replaced by '?'. -ENOMEM. */
int model_set_class(struct model *m, int k, uint32_t label_id, const char *name);

/* The class of a label, or -1. */
int model_class_of(const struct model *m, uint32_t label_id);

int model_write(const struct model *m, struct buf *b);
int model_read(const uint8_t *data, size_t len, struct model *ret);
