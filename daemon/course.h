/*
 * The course of a training. As long as nearly everything fits, and for the first model, a training is done at
 * once on what is stored. Once an eighth of what came is gone, it is spread over captures: its steps are
 * taken in slices, each on what is stored then, and what a slice has shown is the first to make
 * room (policy/member.h). So the network learns from many times the images that the store can hold,
 * its rate falling all along, and becomes a candidate at the end.
 *
 * A course is as long as all labelled images before it, so that a model is never much older than
 * half the device's time, and at most Training.CourseImages.
 *
 * When the candidate is rejected - what came was too unlike what came before - the next training is
 * done at once, on what is stored.
 *
 * Belongs to the loop; part of struct training.
 */
#pragma once

#include "common/wire.h"
#include "daemon/daemon.h"

#define COURSE_SLICES 20 /* of a long course; none is for fewer than MinNewImages */

struct course {
	struct daemon *d;
	int64_t begin, length; /* in labelled images (COUNT_LABELLED); length 0: none has begun */
	int64_t slices;	       /* of all courses, since the store was made */
	uint32_t stratum;      /* whose images are being marked as shown */
	int from;	       /* and the rank that marking has come to: what arrives below it stays unmarked */
	int64_t lasting, keep; /* of them: that last, and that may */
	bool marking;
	bool distrusted; /* the last one's candidate was rejected: the next training is done at once */
};

/* Labelled images that a course beginning now would take; 0: trainings are done at once. */
int64_t course_length(const struct daemon *d);

/* Begins one after so many labelled images, unless one is going on or is not needed. */
void course_begin(struct course *c, int64_t labelled);

/* The training is over, spread or not; accepted: its candidate was no worse than the current model. */
void course_end(struct course *c, bool accepted);

/* New labelled images that make the next slice worth it. */
int64_t course_slice_images(const struct course *c);

/* The share of the steps to have taken by now; 1 without a course. */
double course_share(const struct course *c);

/* After a slice: marks all labelled training images as shown, a handful at a time. */
void course_shown(struct course *c);

/* As meta data, and back; what is not there is no course, and no slice yet. */
void course_put(const struct course *c, struct buf *b);
void course_get(struct course *c, struct reader *r);
