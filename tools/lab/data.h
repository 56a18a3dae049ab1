/*
 * Pictures to experiment with: CIFAR-10 in its published binary format, or a folder of photographs.
 * Pictures are decoded when they are asked for, so that a folder may be larger than memory.
 *
 * Errors are for people and name the file, and the offset where there is one. Nothing here is
 * changed once pictures are decoded, so that any thread may do that.
 */
#pragma once

#include <stdbool.h>

#include "common/codec/coef.h"

#define DATA_ERROR_MAX 512

enum split { TRAIN, TEST };

struct picture {
	char *path;    /* of a folder's; owned */
	size_t offset; /* of a CIFAR-10 record among its split's */
	int64_t bytes; /* of the file or record */
	int label;
	bool unlabelled; /* nobody has said so: it is stored and not trained on */
};

struct data {
	char kind[16]; /* "cifar10" or "folder" */
	int classes;
	char **name; /* [classes]; owned */
	struct {
		int n;
		struct picture *v; /* [n]; owned */
		uint8_t *records;  /* of CIFAR-10: 3073 bytes each; owned */
	} split[2];
	uint8_t digest[32]; /* of all bytes and labels */
};

/*
 * spec: "cifar10:DIR" (data_batch_*.bin or train*.bin, test*.bin, batches.meta.txt) or "folder:DIR"
 * (train/CLASS and test/CLASS, or CLASS alone: then every fifth picture by its name's hash is for
 * testing). 0, or a negative errno with ret_error.
 */
int data_open(struct data *d, const char *spec, char ret_error[DATA_ERROR_MAX]);
void data_close(struct data *d);

/*
 * Spoils the labels of training pictures, each with these chances: wrong, another class at random;
 * unlabelled, as if nobody had given one.
 */
void data_spoil(struct data *d, double wrong, double unlabelled, uint64_t seed);

/* Coefficients and own quality (100: lossless) of a picture. */
int data_decode(const struct data *d, enum split s, int i, struct coef_image *ret, int *ret_quality,
	char ret_error[DATA_ERROR_MAX]);
