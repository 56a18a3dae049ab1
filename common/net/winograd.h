/*
 * 3x3 convolution with padding 1 by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray 2016):
 * a 4x4 tile of outputs from a 6x6 tile of inputs with 36 multiplications where the definition has
 * 144. Tiles and weights are transformed, multiplied as 36 matrices, and transformed back; the
 * gradients are the transposes of the same three steps. Results differ from the definition's by
 * about 1e-5 of their size.
 *
 * Dimensions as in net.h; T: tiles of 4x4, the last row and column of them hanging over when H is
 * no multiple of 4. The caller owns the memory and calls winograd_weights() whenever they changed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define WINOGRAD_POINTS 36

struct winograd {
	int side, in, out; /* H = W, C, O */
	int tiles;	   /* on one side */
	bool wide;	   /* sixteen channels at a time, else eight */
	float *u, *d_u;	   /* weights and their gradient, transformed: [36][C][O] */
	float *u_t;	   /* u, each plane transposed */
	float *v; /* inputs, then their gradient, transformed: [36][T][C], planes v_plane apart */
	float *m; /* outputs, or their gradient, transformed: [36][T][O], planes m_plane apart */
	size_t v_plane, m_plane;
	float *zeros, *waste; /* one pixel each: read, and written, where there is no picture */
};

/* Whether these numbers of channels can be had. */
bool winograd_suits(int in, int out);

/*
 * Sets y up for at most images pictures, in memory that begins on a cache line. Returns the floats
 * that it takes; with memory NULL only counts them. backward: gradients are wanted too.
 */
size_t winograd_place(
	struct winograd *y, int side, int in, int out, int images, bool backward, float *memory);

/* weight [3][3][C][O]. Clears the weight's gradient. */
void winograd_weights(struct winograd *y, const float *weight, bool backward);

/* act [n][H][W][C] to pre [n][H][W][O]. */
void winograd_forward(const struct winograd *y, const float *act, int n, float *pre);

/*
 * d_pre [n][H][W][O]: adds to the weight's transformed gradient, and to d_act [n][H][W][C] unless
 * it is NULL. Must follow the winograd_forward() of the same pictures.
 */
void winograd_backward(const struct winograd *y, const float *d_pre, int n, float *d_act);

/* Adds the weight's gradient since winograd_weights() to d_weight [3][3][C][O]. */
void winograd_gradient(const struct winograd *y, float *d_weight);
