/*
 * What small images share so that each of them is little more than its coefficients: the steps of
 * every rung, made for the network once there is one (policy/steps.h), and the packer's model. A
 * set is made on the device from the captures it meets, is stored once, and images name it by its
 * id.
 */
#pragma once

#include "common/codec/pack.h"
#include "policy/ladder.h"

struct table_set {
	uint32_t id; /* the store's; 0: there is no set yet, steps are the standard ones */
	bool made;   /* for a network; else steps are the standard ones and the next two are 0 */
	uint16_t base[2][DCT_SIZE2];   /* steps but for a factor, 2^-10, zigzag order */
	uint32_t factor[LADDER_RUNGS]; /* of each rung, 2^-16 */
	struct pack_model pack;
	uint16_t quant[LADDER_RUNGS][2][DCT_SIZE2]; /* what follows of them, natural order */
};

/* How an image's bytes are coded. */
struct coded {
	uint32_t tables; /* the set that it is packed with; 0: it is a file */
	bool loose;	 /* a file that could be packed */
};

/* Works out quant. */
void table_set_steps(struct table_set *set);

/* The set's steps of a quality, or false when it is no rung or there is no set. */
bool table_set_tables(const struct table_set *set, int quality, struct jpeg_tables *ret);

/* The set of an id among sets [n], or NULL. */
const struct table_set *table_set_find(const struct table_set *sets, int n, uint32_t id);

/* All but the id, as it is stored; reading checks every value: -EBADMSG. */
void table_set_write(const struct table_set *set, struct buf *b);
int table_set_read(const uint8_t *data, size_t len, struct table_set *ret);

/*
 * What captures teach the packer: at first what magnitudes there are, then, from SCALES_AFTER
 * captures on, the decisions at every rung.
 */
#define SCALES_AFTER 30
#define RUNGS_ENOUGH  4000		/* more change nothing, ... */
#define BLOCKS_ENOUGH (INT64_C(1) << 19) /* ... nor do more of large pictures */

struct pack_lessons {
	int64_t captures, rungs, blocks; /* measured; counted, and how many blocks of them */
	struct pack_counts counts;
	struct pack_model model; /* scales only, from SCALES_AFTER captures on */
};

/*
 * Whether the next capture's decisions are wanted: not while magnitudes are, which are learnt here,
 * and not when there are enough.
 */
bool lessons_want_rungs(struct pack_lessons *l, const struct coef_image *capture);
void lessons_count(struct pack_lessons *l, const struct coef_image *rung);

/* Gives set the model that follows from them. */
void lessons_fit(const struct pack_lessons *l, struct table_set *set);
