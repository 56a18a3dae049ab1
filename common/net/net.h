/*
 * The network: three 3x3 convolutions (padding 1), each with ReLU and 2x2 max-pooling, and one linear
 * layer. Convolution is Winograd's (winograd.h) where channels allow, else im2col and one sgemm. Forward
 * and backward of a layer are neighbours.
 *
 * Dimensions: N images, S side of the input, H W of a layer's input, C channels in, O channels out,
 * K classes, F = (S/8)^2 * channels[2] features. Activations are [N][H][W][C].
 *
 * Parameters are one block of floats: for each convolution a weight [3][3][C][O] and a bias [O], then
 * the linear weight [F][K] (F in rows, columns, channels) and bias [K]. Gradients have the same
 * layout and are added to; the caller zeroes them.
 *
 * A net_work belongs to one thread. BLAS is expected to run on that one thread too: the program
 * that links this sets OPENBLAS_NUM_THREADS=1 before it starts.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/macros.h"

#define NET_LAYERS	 3
#define NET_STRIDE	 (1 << NET_LAYERS) /* each layer halves the sides */
#define NET_SIZE_MAX	 512
#define NET_CHANNELS_MAX 1024
#define NET_CLASSES_MAX	 1024

struct net_shape {
	int size;		  /* S, a multiple of NET_STRIDE */
	int channels[NET_LAYERS]; /* O of each convolution */
	int classes;		  /* K */
};

/* Where each tensor begins in the parameter block. */
struct net_layout {
	size_t weight[NET_LAYERS], bias[NET_LAYERS], linear_weight, linear_bias, total;
};

/* Ranges of every dimension; -EINVAL outside. */
int net_shape_check(const struct net_shape *s);
void net_layout(const struct net_shape *s, struct net_layout *ret);
int net_features(const struct net_shape *s);

/* He's normal initialisation (He et al. 2015); the linear layer starts a tenth of that. */
void net_init(const struct net_shape *s, uint64_t seed, float *params);

struct net_work;

/* Scratch for one thread; NULL when memory is short. */
struct net_work *net_work_new(const struct net_shape *s, bool backward);
void net_work_free(struct net_work *w);
DEFINE_FREEP(struct net_work, net_work_free)

/*
 * Works out what pictures need of the parameters, once for all net_forward() that follow. They are the
 * caller's and stay as they are meanwhile.
 */
void net_use(struct net_work *w, const float *params);

/* rgb: [n][S][S][3] bytes. ret_logits: [n][K]. With the parameters of the last net_use(). */
void net_forward(struct net_work *w, const uint8_t *rgb, int n, float *ret_logits);

/*
 * Adds to grad the gradient of sum over i of weight[i] * cross-entropy(i), and returns that sum.
 * label: [n] in 0..K-1. ret_correct, when not NULL, gets the number of right answers added.
 */
double net_gradient(struct net_work *w, const float *params, const uint8_t *rgb, const int *label,
	const float *weight, int n, float *grad, int *ret_correct);

/* In place: logits [K] to probabilities. Returns the log of the sum of exponentials. */
float softmax(float *logits, int k);
