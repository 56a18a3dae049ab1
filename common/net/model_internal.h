/* What the file formats of a model share: its tensors in PyTorch's layout. */
#pragma once

#include "common/net/model.h"

#define MODEL_TENSORS (2 * NET_LAYERS + 2)

/* One tensor: its name, PyTorch's shape, and where our layout keeps it. */
struct model_tensor {
	char name[16];
	int dims, dim[4];
	size_t at, count;
	enum { TENSOR_PLAIN, TENSOR_CONV, TENSOR_LINEAR } order;
};

/* conv1.weight, conv1.bias, ... fc.weight, fc.bias. */
void model_tensors(const struct net_shape *s, struct model_tensor out[MODEL_TENSORS]);

/* Where element i of PyTorch's tensor lies in our block of parameters. */
size_t model_tensor_index(const struct model_tensor *t, size_t i, const struct net_shape *s);
