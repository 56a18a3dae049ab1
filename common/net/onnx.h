/*
 * A trained network as an ONNX file (opset 13, onnx.proto3 of ONNX 1.8), for runtimes that are not ours.
 *
 *   input   image		uint8 [N][S][S][3]: rows, columns, RGB; the whole picture stretched to S x S
 *   output  logits		float [N][K]
 *   output  probabilities	float [N][K]: their softmax
 *
 * Scaling of the bytes is in the graph. Class names are in the metadata as a JSON array, with version,
 * accuracy and the rest of what the safetensors file says.
 */
#pragma once

#include "common/net/model.h"

/* Appends the file. -ENOMEM. */
int onnx_write(const struct model *m, struct buf *b);
