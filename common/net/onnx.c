#include "common/net/onnx.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/net/model_internal.h"

#define IR_VERSION 7
#define OPSET	   13

/* Of onnx.proto: the numbers of the fields that are written. */
enum {
	MODEL_IR = 1,
	MODEL_PRODUCER = 2,
	MODEL_VERSION = 5,
	MODEL_GRAPH = 7,
	MODEL_OPSET = 8,
	MODEL_METADATA = 14
};
enum { OPSET_VERSION = 2 };
enum { ENTRY_KEY = 1, ENTRY_VALUE = 2 };
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OP = 4, NODE_ATTRIBUTE = 5 };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_I = 3, ATTRIBUTE_INTS = 8, ATTRIBUTE_TYPE = 20 };
enum { TYPE_INT = 2, TYPE_INTS = 7 };
enum { TENSOR_DIMS = 1, TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_RAW = 9 };
enum {
	VALUE_NAME = 1,
	VALUE_TYPE = 2,
	TYPE_TENSOR = 1,
	TENSOR_ELEMENT = 1,
	TENSOR_SHAPE = 2,
	SHAPE_DIM = 1
};
enum { DIM_VALUE = 1, DIM_NAME = 2 };
enum { DATA_FLOAT = 1, DATA_UINT8 = 2 };

/* Protocol buffers' encoding: a field's number and type, then a varint or a length and bytes. */
static void put_varint(struct buf *b, uint64_t v)
{
	for (; v >= 128; v >>= 7)
		buf_put_u8(b, (uint8_t)(v | 128));
	buf_put_u8(b, (uint8_t)v);
}

static void put_int(struct buf *b, int field, int64_t v)
{
	put_varint(b, (uint64_t)field << 3);
	put_varint(b, (uint64_t)v);
}

static void put_bytes(struct buf *b, int field, const void *data, size_t n)
{
	put_varint(b, (uint64_t)field << 3 | 2);
	put_varint(b, n);
	buf_put(b, data, n);
}

static void put_text(struct buf *b, int field, const char *s)
{
	put_bytes(b, field, s, strlen(s));
}

/* Appends what was gathered in sub as a message, and empties it. */
static void put_message(struct buf *b, int field, struct buf *sub)
{
	put_bytes(b, field, sub->data, sub->len);
	b->failed |= sub->failed;
	buf_done(sub);
	*sub = (struct buf){0};
}

struct attribute {
	const char *name; /* NULL: none */
	int n;		  /* 0: a single number, v[0] */
	int64_t v[4];
};

struct node {
	const char *op, *input[3], *output;
	struct attribute attribute[3];
};

static void put_attribute(struct buf *node, const struct attribute *a)
{
	struct buf sub = {0};

	put_text(&sub, ATTRIBUTE_NAME, a->name);
	if (!a->n)
		put_int(&sub, ATTRIBUTE_I, a->v[0]);
	for (int i = 0; i < a->n; i++)
		put_int(&sub, ATTRIBUTE_INTS, a->v[i]);
	put_int(&sub, ATTRIBUTE_TYPE, a->n ? TYPE_INTS : TYPE_INT);
	put_message(node, NODE_ATTRIBUTE, &sub);
}

static void put_node(struct buf *graph, const struct node *n)
{
	struct buf sub = {0};

	for (int i = 0; i < 3 && n->input[i]; i++)
		put_text(&sub, NODE_INPUT, n->input[i]);
	put_text(&sub, NODE_OUTPUT, n->output);
	put_text(&sub, NODE_NAME, n->output);
	put_text(&sub, NODE_OP, n->op);
	for (int i = 0; i < 3 && n->attribute[i].name; i++)
		put_attribute(&sub, &n->attribute[i]);
	put_message(graph, GRAPH_NODE, &sub);
}

static void put_constant(struct buf *graph, const char *name, float v)
{
	struct buf sub = {0}, raw = {0};

	put_int(&sub, TENSOR_TYPE, DATA_FLOAT); /* no dimensions: a scalar */
	put_text(&sub, TENSOR_NAME, name);
	buf_put_f32(&raw, v);
	put_message(&sub, TENSOR_RAW, &raw);
	put_message(graph, GRAPH_INITIALIZER, &sub);
}

static void put_weights(struct buf *graph, const struct model *m)
{
	struct model_tensor t[MODEL_TENSORS];

	model_tensors(&m->shape, t);
	for (int i = 0; i < MODEL_TENSORS; i++) {
		struct buf sub = {0}, raw = {0};

		for (int d = 0; d < t[i].dims; d++)
			put_int(&sub, TENSOR_DIMS, t[i].dim[d]);
		put_int(&sub, TENSOR_TYPE, DATA_FLOAT);
		put_text(&sub, TENSOR_NAME, t[i].name);
		for (size_t k = 0; k < t[i].count; k++)
			buf_put_f32(&raw, m->params[model_tensor_index(&t[i], k, &m->shape)]);
		put_message(&sub, TENSOR_RAW, &raw);
		put_message(graph, GRAPH_INITIALIZER, &sub);
	}
}

static void put_nodes(struct buf *graph)
{
	static const struct node nodes[] = {
		{"Cast", {"image"}, "bytes", {{"to", 0, {DATA_FLOAT}}}},
		{"Sub", {"bytes", "middle"}, "centred", {{0}}},
		{"Div", {"centred", "scale"}, "scaled", {{0}}},
		{"Transpose", {"scaled"}, "planes", {{"perm", 4, {0, 3, 1, 2}}}},
		{"Conv", {"planes", "conv1.weight", "conv1.bias"}, "conv1",
			{{"kernel_shape", 2, {3, 3}}, {"pads", 4, {1, 1, 1, 1}}}},
		{"Relu", {"conv1"}, "relu1", {{0}}},
		{"MaxPool", {"relu1"}, "pool1", {{"kernel_shape", 2, {2, 2}}, {"strides", 2, {2, 2}}}},
		{"Conv", {"pool1", "conv2.weight", "conv2.bias"}, "conv2",
			{{"kernel_shape", 2, {3, 3}}, {"pads", 4, {1, 1, 1, 1}}}},
		{"Relu", {"conv2"}, "relu2", {{0}}},
		{"MaxPool", {"relu2"}, "pool2", {{"kernel_shape", 2, {2, 2}}, {"strides", 2, {2, 2}}}},
		{"Conv", {"pool2", "conv3.weight", "conv3.bias"}, "conv3",
			{{"kernel_shape", 2, {3, 3}}, {"pads", 4, {1, 1, 1, 1}}}},
		{"Relu", {"conv3"}, "relu3", {{0}}},
		{"MaxPool", {"relu3"}, "pool3", {{"kernel_shape", 2, {2, 2}}, {"strides", 2, {2, 2}}}},
		{"Flatten", {"pool3"}, "features", {{"axis", 0, {1}}}},
		{"Gemm", {"features", "fc.weight", "fc.bias"}, "logits", {{"transB", 0, {1}}}},
		{"Softmax", {"logits"}, "probabilities", {{"axis", 0, {1}}}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		put_node(graph, &nodes[i]);
}

/* An input or output of the graph; the first dimension is how many pictures there are. */
static void put_value(struct buf *graph, int field, const char *name, int element, const int *dim, int n)
{
	struct buf value = {0}, type = {0}, tensor = {0}, shape = {0}, sub = {0};

	put_text(&sub, DIM_NAME, "N");
	put_message(&shape, SHAPE_DIM, &sub);
	for (int i = 0; i < n; i++) {
		put_int(&sub, DIM_VALUE, dim[i]);
		put_message(&shape, SHAPE_DIM, &sub);
	}
	put_int(&tensor, TENSOR_ELEMENT, element);
	put_message(&tensor, TENSOR_SHAPE, &shape);
	put_message(&type, TYPE_TENSOR, &tensor);
	put_text(&value, VALUE_NAME, name);
	put_message(&value, VALUE_TYPE, &type);
	put_message(graph, field, &value);
}

static void put_metadata(struct buf *model, const char *key, const char *value)
{
	struct buf sub = {0};

	put_text(&sub, ENTRY_KEY, key);
	put_text(&sub, ENTRY_VALUE, value);
	put_message(model, MODEL_METADATA, &sub);
}

static int put_all_metadata(struct buf *b, const struct model *m)
{
	json_t *names = json_array();
	_cleanup_free_ char *classes = NULL;
	char text[32];

	for (int k = 0; k < m->shape.classes; k++)
		json_array_append_new(names, json_string(m->name[k] ? m->name[k] : ""));
	classes = json_dumps(names, JSON_COMPACT);
	json_decref(names);
	if (!classes)
		return -ENOMEM;
	put_metadata(b, "classes", classes);
	put_metadata(b, "preprocessing",
		"the whole picture, turned the right way up, stretched to rows x columns");
	snprintf(text, sizeof(text), "%d", m->trained_images);
	put_metadata(b, "images", text);
	snprintf(text, sizeof(text), "%d", m->validation_images);
	put_metadata(b, "validation", text);
	snprintf(text, sizeof(text), "%.6f", m->validation_accuracy);
	put_metadata(b, "validation_accuracy", text);
	snprintf(text, sizeof(text), "%" PRId64, m->trained_us);
	put_metadata(b, "trained_us", text);
	return 0;
}

int onnx_write(const struct model *m, struct buf *b)
{
	const int picture[] = {m->shape.size, m->shape.size, 3};
	struct buf graph = {0}, opset = {0};
	int r;

	put_nodes(&graph);
	put_text(&graph, GRAPH_NAME, "larder");
	put_constant(&graph, "middle", 127.5f);
	put_constant(&graph, "scale", 128);
	put_weights(&graph, m);
	put_value(&graph, GRAPH_INPUT, "image", DATA_UINT8, picture, 3);
	put_value(&graph, GRAPH_OUTPUT, "logits", DATA_FLOAT, &m->shape.classes, 1);
	put_value(&graph, GRAPH_OUTPUT, "probabilities", DATA_FLOAT, &m->shape.classes, 1);
	put_int(b, MODEL_IR, IR_VERSION);
	put_text(b, MODEL_PRODUCER, "larder");
	put_int(b, MODEL_VERSION, m->version);
	put_message(b, MODEL_GRAPH, &graph);
	put_int(&opset, OPSET_VERSION, OPSET);
	put_message(b, MODEL_OPSET, &opset);
	r = put_all_metadata(b, m);
	return r < 0 || b->failed ? -ENOMEM : 0;
}
