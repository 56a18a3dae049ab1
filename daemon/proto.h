/*
 * Messages between larderd and its worker and trainer processes. A frame is u32 length (of what
 * follows), u8 type, payload; numbers little-endian. The daemon treats what a worker says as hostile:
 * everything is read with struct reader and checked.
 */
#pragma once

#include "common/codec/huffman.h"
#include "common/wire.h"
#include "policy/curve.h"
#include "policy/scene.h"
#include "policy/shared.h"
#include "policy/steps.h"

#define FRAME_HEAD 5
#define FRAME_MAX  (INT64_C(3) << 29)

enum message {
	/* to a worker */
	MSG_LIMITS = 1, /* u64 max_pixels, u8 min_quality, u8 max_quality, u32 inline_max, u32 input_size */
	MSG_MODEL,	/* safetensors bytes; empty: none */
	MSG_TABLES,	/* u32 id, a table set's bytes */
	MSG_CAPTURE,	/* u32 label id, u8 enum asked, capture bytes -> MSG_CURVE or MSG_REFUSED */
	MSG_STORED,	/* struct stored_image, bytes -> the same */
	MSG_ENCODE,	/* u8 quality, u8 loose: of what was decoded last -> MSG_ENCODED or MSG_REFUSED */
	MSG_EXPORT, /* struct stored_image, packed bytes -> MSG_ENCODED with a file, or MSG_REFUSED
		     */
	MSG_COUNTS, /* -> MSG_COUNTED: lessons since the last time, then forgotten */
	/* from a worker */
	MSG_CURVE,   /* struct curve_answer */
	MSG_REFUSED, /* i32 errno, reason */
	MSG_ENCODED, /* struct coded, bytes */
	MSG_COUNTED, /* struct pack_lessons, struct sensitivity */
	/* to the trainer */
	MSG_TRAIN, /* struct train_order */
	/* from the trainer */
	MSG_PROGRESS,	/* u32 epoch, u32 epochs, f32 loss, u32 images */
	MSG_CHECKPOINT, /* bytes */
	MSG_TRAINED,	/* struct train_result, safetensors bytes */
	MSG_SLICE, /* u32 images shown: got as far as the order said; a checkpoint came before */
	/* to a worker, for people who look at images */
	MSG_PREVIEW, /* u16 side, u8 quality (0: as it is), struct stored_image, bytes -> as MSG_EXPORT */
	MSG_LOOK,    /* struct stored_image, bytes -> MSG_SEEN, or MSG_REFUSED */
	/* from a worker */
	MSG_SEEN, /* f32 for each class: the network's answer, softmax */
	/* before MSG_CURVE, when ASK_SKETCH was among what was asked about a capture */
	MSG_SKETCH, /* from a worker: struct sketched */
	MSG_SCORE,  /* to it: of what was decoded last -> MSG_CURVE or MSG_REFUSED */
};

/* Appends a frame's head; frame_end fills in its length. */
size_t frame_begin(struct buf *b, enum message type);
void frame_end(struct buf *b, size_t at);

/* The frame at the front of data: its payload in ret and its whole length, 0 when incomplete, -EBADMSG. */
int64_t frame_next(const uint8_t *data, size_t len, uint8_t *ret_type, struct reader *ret);

/* Blocking halves, for the worker and the trainer. */
int frame_read(int fd, struct buf *b, uint8_t *ret_type, struct reader *ret);
int frame_write(int fd, struct buf *b);

/* What a curve may lack, or has guessed where there is no network. */
enum asked {
	ASK_NO_NETWORK = 1,
	ASK_FEW_RATES = 2,
	ASK_GUESS = 4,
	ASK_SKETCH = 8, /* how a capture looks, before it is scored */
};

/* A stored image on its way back to a worker. */
struct stored_image {
	bool whole_file;
	uint8_t asked; /* enum asked */
	uint8_t layout, quality;
	int width, height, orientation;
	uint32_t tables, label;
};

void put_stored(struct buf *b, const struct stored_image *s);
void get_stored(struct reader *r, struct stored_image *ret);

/* What tells whether a capture shows again what came just before it. */
struct sketched {
	int64_t taken_s; /* 0: it does not say */
	struct sketch sketch;
};

void put_sketched(struct buf *b, const struct sketched *s);

/* -EBADMSG unless it is a sketch. */
int get_sketched(struct reader *r, struct sketched *ret);

struct curve_answer {
	int width, height, orientation, own_quality;
	uint8_t layout;
	char format[8];
	struct curve curve;
	struct sketched sketched; /* of a capture */
};

void put_curve(struct buf *b, const struct curve_answer *a);

/* -EBADMSG unless every value is in its range and qualities ascend. At least one rate is counted. */
int get_curve(struct reader *r, struct curve_answer *ret);

/* A whole MSG_ENCODE; and how the answer to it begins. */
void put_encode(struct buf *b, int quality, bool loose);
void put_coded(struct buf *b, const struct coded *c);
void get_coded(struct reader *r, struct coded *ret);

/* What a worker has learnt from captures: for the packer, and what the network looks at. */
void put_counts(struct buf *b, const struct pack_lessons *l, const struct sensitivity *network);
int get_counts(struct reader *r, struct pack_lessons *ret, struct sensitivity *ret_network);

struct train_order {
	char store[512];
	int input_size, channels[3], epochs, batch, threads;
	double until; /* share of the steps to get to, 0 to 1 */
	int min_images, per_class_min;
	uint64_t seed;
	int64_t memory_max;
	const uint8_t *model, *checkpoint; /* borrowed; may be NULL */
	size_t model_len, checkpoint_len;
};

void put_train_order(struct buf *b, const struct train_order *o);
int get_train_order(struct reader *r, struct train_order *ret);

struct train_result {
	int trained_images, validation_images;
	double candidate_accuracy, current_accuracy; /* current: < 0 when there is none */
	double seconds;
};

void put_train_result(struct buf *b, const struct train_result *t);
int get_train_result(struct reader *r, struct train_result *ret);
