#include "common/net/model_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/digest.h"

#define HEADER_MAX   (1 << 20)
#define PREPROCESSING "(x - 127.5) / 128, RGB, rows x columns stretched to the input size"

void model_done(struct model *m)
{
	for (int k = 0; m->name && k < m->shape.classes; k++)
		free(m->name[k]);
	free(m->name);
	free(m->label_id);
	free(m->params);
	*m = (struct model){0};
}

int model_alloc(struct model *m)
{
	struct net_layout at;

	net_layout(&m->shape, &at);
	m->label_id = calloc((size_t)m->shape.classes, sizeof(*m->label_id));
	m->name = calloc((size_t)m->shape.classes, sizeof(*m->name));
	m->params = calloc(at.total, sizeof(float));
	if (m->label_id && m->name && m->params)
		return 0;
	model_done(m);
	return -ENOMEM;
}

int model_set_class(struct model *m, int k, uint32_t label_id, const char *name)
{
	json_t *utf8 = json_string(name);
	char *copy = strndup(name, CLASS_NAME_MAX - 1);

	if (!copy) {
		json_decref(utf8);
		return -ENOMEM;
	}
	for (char *p = copy; !utf8 && *p; p++)
		if ((unsigned char)*p >= 128)
			*p = '?';
	json_decref(utf8);
	free(m->name[k]);
	m->name[k] = copy;
	m->label_id[k] = label_id;
	return 0;
}

int model_class_of(const struct model *m, uint32_t label_id)
{
	for (int k = 0; k < m->shape.classes; k++)
		if (m->label_id[k] == label_id)
			return k;
	return -1;
}

/* IEEE 754 half precision, round to nearest even; overflow saturates. */
static uint16_t to_half(float f)
{
	uint32_t x, sign, mant;
	int exp;

	memcpy(&x, &f, sizeof(x));
	sign = x >> 16 & 0x8000;
	exp = (int)(x >> 23 & 0xff) - 127 + 15;
	mant = x & 0x7fffff;
	if (exp >= 31)
		return (uint16_t)(sign | 0x7bff);
	if (exp <= 0) {
		int shift = 14 - exp;

		if (shift > 24)
			return (uint16_t)sign;
		mant |= 0x800000;
		return (uint16_t)(sign | ((mant + (UINT32_C(1) << (shift - 1))) >> shift));
	}
	mant += 0xfff + (mant >> 13 & 1);
	return (uint16_t)MIN(sign | (((uint32_t)exp << 10) + (mant >> 13)), sign | 0x7bff);
}

static float from_half(uint16_t h)
{
	int exp = h >> 10 & 31, mant = h & 1023;
	float v = exp ? (float)(mant | 1024) : (float)mant;

	for (int e = exp ? exp : 1; e < 25; e++)
		v *= 0.5f;
	for (int e = 25; e < exp; e++)
		v *= 2;
	return h & 0x8000 ? -v : v;
}

void model_tensors(const struct net_shape *s, struct model_tensor out[MODEL_TENSORS])
{
	struct net_layout at;
	int in = 3, f = net_features(s), n = 0;

	net_layout(s, &at);
	for (int l = 0; l < NET_LAYERS; l++) {
		int o = s->channels[l];

		out[n] = (struct model_tensor){.dims = 4, .dim = {o, in, 3, 3}, .at = at.weight[l],
			.count = (size_t)(9 * in * o), .order = TENSOR_CONV};
		snprintf(out[n++].name, sizeof(out[0].name), "conv%d.weight", l + 1);
		out[n] = (struct model_tensor){.dims = 1, .dim = {o}, .at = at.bias[l], .count = (size_t)o};
		snprintf(out[n++].name, sizeof(out[0].name), "conv%d.bias", l + 1);
		in = o;
	}
	out[n++] = (struct model_tensor){.name = "fc.weight", .dims = 2, .dim = {s->classes, f},
		.at = at.linear_weight, .count = (size_t)f * (size_t)s->classes, .order = TENSOR_LINEAR};
	out[n++] = (struct model_tensor){.name = "fc.bias", .dims = 1, .dim = {s->classes},
		.at = at.linear_bias, .count = (size_t)s->classes};
}

size_t model_tensor_index(const struct model_tensor *t, size_t i, const struct net_shape *s)
{
	if (t->order == TENSOR_CONV) { /* [O][I][3][3] -> [3][3][I][O] */
		size_t o_n = (size_t)t->dim[0], in_n = (size_t)t->dim[1];
		size_t tap = i % 9, in = i / 9 % in_n, o = i / 9 / in_n;

		return t->at + (tap * in_n + in) * o_n + o;
	}
	if (t->order == TENSOR_LINEAR) { /* [K][C][H*W] -> [H*W][C][K] */
		size_t c_n = (size_t)s->channels[NET_LAYERS - 1], f = (size_t)t->dim[1];
		size_t k = i / f, c = i % f / (f / c_n), hw = i % (f / c_n);

		return t->at + (hw * c_n + c) * (size_t)s->classes + k;
	}
	return t->at + i;
}

/*
 * CRC-32C of what a model is, begun: all but its weights as they are in the file, in the order of
 * model_tensors(). So a file that another program has put in another order keeps its sum.
 */
static int begin_sum(const struct model *m, uint32_t *ret)
{
	_cleanup_buf_ struct buf b = {0};

	buf_put_u32(&b, (uint32_t)m->shape.size);
	for (int l = 0; l < NET_LAYERS; l++)
		buf_put_u32(&b, (uint32_t)m->shape.channels[l]);
	buf_put_u64(&b, (uint64_t)m->version);
	buf_put_u64(&b, (uint64_t)m->trained_us);
	buf_put_u32(&b, (uint32_t)m->trained_images);
	buf_put_u32(&b, (uint32_t)m->validation_images);
	buf_put_u64(&b, (uint64_t)llround(m->validation_accuracy * 1e6));
	for (int k = 0; k < m->shape.classes; k++) {
		const char *name = m->name[k] ? m->name[k] : "";

		buf_put_u32(&b, m->label_id[k]);
		buf_put(&b, name, strlen(name) + 1);
	}
	if (b.failed)
		return -ENOMEM;
	*ret = crc32c(0, b.data, b.len);
	return 0;
}

/* As text; NULL when memory is short. Jansson leaves out pieces then and does not always say so. */
static char *dump(const json_t *v)
{
	char *text = json_dumps(v, JSON_COMPACT);
	json_t *back = text ? json_loads(text, 0, NULL) : NULL;

	if (!back || !json_equal(back, v)) {
		free(text);
		text = NULL;
	}
	json_decref(back);
	return text;
}

/* NULL when memory is short. */
static json_t *metadata(const struct model *m, uint32_t sum)
{
	_cleanup_free_ char *names = NULL, *ids = NULL;
	json_t *name_list = json_array(), *id_list = json_array();
	char version[24], size[24], trained[24], n_trained[24], n_valid[24], accuracy[32], crc[9];
	bool failed = false;

	for (int k = 0; k < m->shape.classes; k++) {
		failed |= json_array_append_new(name_list, json_string(m->name[k] ? m->name[k] : "")) < 0;
		failed |= json_array_append_new(id_list, json_integer(m->label_id[k])) < 0;
	}
	names = dump(name_list);
	ids = dump(id_list);
	json_decref(name_list);
	json_decref(id_list);
	if (failed || !names || !ids)
		return NULL;
	snprintf(version, sizeof(version), "%" PRId64, m->version);
	snprintf(size, sizeof(size), "%d", m->shape.size);
	snprintf(trained, sizeof(trained), "%" PRId64, m->trained_us);
	snprintf(n_trained, sizeof(n_trained), "%d", m->trained_images);
	snprintf(n_valid, sizeof(n_valid), "%d", m->validation_images);
	snprintf(accuracy, sizeof(accuracy), "%.6f", m->validation_accuracy);
	snprintf(crc, sizeof(crc), "%08" PRIx32, sum);
	return json_pack("{ss ss ss ss ss ss ss ss ss ss ss}", "format", "larder-1", "classes", names,
		"label_ids", ids, "input_size", size, "preprocessing", PREPROCESSING, "version", version,
		"trained_us", trained, "images", n_trained, "validation", n_valid, "validation_accuracy",
		accuracy, "crc32c", crc);
}

/* The safetensors header, padded with blanks to 8 bytes; NULL when memory is short. */
static char *header_text(const struct model *m, const struct model_tensor t[MODEL_TENSORS], uint32_t sum)
{
	json_t *root = json_object();
	bool failed = json_object_set_new(root, "__metadata__", metadata(m, sum)) < 0;
	size_t offset = 0, len;
	char *text, *padded;

	for (int i = 0; i < MODEL_TENSORS; i++) {
		json_t *shape = json_array();

		for (int d = 0; d < t[i].dims; d++)
			failed |= json_array_append_new(shape, json_integer(t[i].dim[d])) < 0;
		failed |= json_object_set_new(root, t[i].name,
				  json_pack("{ss so s[II]}", "dtype", "F16", "shape", shape, "data_offsets",
					  (json_int_t)offset, (json_int_t)(offset + 2 * t[i].count))) < 0;
		offset += 2 * t[i].count;
	}
	text = failed ? NULL : dump(root);
	json_decref(root);
	if (!text)
		return NULL;
	len = strlen(text);
	padded = realloc(text, len + 8);
	if (!padded) {
		free(text);
		return NULL;
	}
	while (len % 8)
		padded[len++] = ' ';
	padded[len] = '\0';
	return padded;
}

int model_write(const struct model *m, struct buf *b)
{
	struct model_tensor t[MODEL_TENSORS];
	_cleanup_buf_ struct buf weights = {0};
	_cleanup_free_ char *header = NULL;
	uint32_t sum;

	model_tensors(&m->shape, t);
	for (int i = 0; i < MODEL_TENSORS; i++)
		for (size_t k = 0; k < t[i].count; k++)
			buf_put_u16(&weights, to_half(m->params[model_tensor_index(&t[i], k, &m->shape)]));
	if (weights.failed || begin_sum(m, &sum) < 0)
		return -ENOMEM;
	header = header_text(m, t, crc32c(sum, weights.data, weights.len));
	if (!header)
		return -ENOMEM;
	buf_put_u64(b, strlen(header));
	buf_put(b, header, strlen(header));
	buf_put(b, weights.data, weights.len);
	return b->failed ? -ENOMEM : 0;
}

static int meta_int(const json_t *meta, const char *key, int64_t *ret)
{
	const char *s = json_string_value(json_object_get(meta, key));
	char *end;

	if (!s)
		return -EBADMSG;
	*ret = strtoll(s, &end, 10);
	return *s && !*end ? 0 : -EBADMSG;
}

static int tensor_dim(const json_t *root, const char *name, size_t dim, int *ret)
{
	const json_t *v = json_array_get(json_object_get(json_object_get(root, name), "shape"), dim);
	json_int_t n = json_integer_value(v);

	if (n < 1 || n > 1 << 24)
		return -EBADMSG;
	*ret = (int)n;
	return 0;
}

static int read_shape(const json_t *root, const json_t *meta, struct net_shape *s)
{
	int64_t size;
	char name[16];

	if (meta_int(meta, "input_size", &size) < 0 || size < 8 || size > 512)
		return -EBADMSG;
	s->size = (int)size;
	for (int l = 0; l < NET_LAYERS; l++) {
		snprintf(name, sizeof(name), "conv%d.weight", l + 1);
		if (tensor_dim(root, name, 0, &s->channels[l]) < 0)
			return -EBADMSG;
	}
	if (tensor_dim(root, "fc.bias", 0, &s->classes) < 0 || net_shape_check(s) < 0)
		return -EBADMSG;
	return 0;
}

static int read_classes(const json_t *meta, struct model *m)
{
	const char *names = json_string_value(json_object_get(meta, "classes"));
	const char *ids = json_string_value(json_object_get(meta, "label_ids"));
	json_t *name_list = names ? json_loads(names, 0, NULL) : NULL;
	json_t *id_list = ids ? json_loads(ids, 0, NULL) : NULL;
	size_t k_n = (size_t)m->shape.classes;
	int r = json_array_size(name_list) == k_n && json_array_size(id_list) == k_n ? 0 : -EBADMSG;

	for (size_t k = 0; r == 0 && k < k_n; k++) {
		const char *name = json_string_value(json_array_get(name_list, k));
		json_int_t id = json_integer_value(json_array_get(id_list, k));

		r = name && id >= 0 && id <= UINT32_MAX
			? model_set_class(m, (int)k, (uint32_t)id, name)
			: -EBADMSG;
	}
	json_decref(name_list);
	json_decref(id_list);
	return r;
}

/* sum goes on over their bytes. */
static int read_tensors(const json_t *root, const uint8_t *data, size_t len, struct model *m, uint32_t *sum)
{
	struct model_tensor t[MODEL_TENSORS];

	model_tensors(&m->shape, t);
	for (int i = 0; i < MODEL_TENSORS; i++) {
		const json_t *entry = json_object_get(root, t[i].name);
		const json_t *offsets = json_object_get(entry, "data_offsets");
		const char *dtype = json_string_value(json_object_get(entry, "dtype"));
		json_int_t begin = json_integer_value(json_array_get(offsets, 0));
		json_int_t end = json_integer_value(json_array_get(offsets, 1));

		if (!dtype || strcmp(dtype, "F16") != 0 || begin < 0 || end < begin ||
			(size_t)end > len || (size_t)(end - begin) != 2 * t[i].count)
			return -EBADMSG;
		*sum = crc32c(*sum, data + begin, 2 * t[i].count);
		for (size_t k = 0; k < t[i].count; k++) {
			const uint8_t *p = data + begin + 2 * k;

			m->params[model_tensor_index(&t[i], k, &m->shape)] =
				from_half((uint16_t)(p[0] | p[1] << 8));
		}
	}
	return 0;
}

static int read_parsed(const json_t *root, const uint8_t *data, size_t len, struct model *m)
{
	const json_t *meta = json_object_get(root, "__metadata__");
	const char *accuracy = json_string_value(json_object_get(meta, "validation_accuracy"));
	const char *prepared = json_string_value(json_object_get(meta, "preprocessing"));
	const json_t *crc = json_object_get(meta, "crc32c");
	int64_t images, validation;
	uint32_t sum = 0;
	char text[9];
	int r = read_shape(root, meta, &m->shape);

	if (r < 0)
		return r;
	if (!prepared || strcmp(prepared, PREPROCESSING) != 0)
		return -EBADMSG; /* weights for other inputs than net_forward() makes */
	if (meta_int(meta, "version", &m->version) < 0 ||
		meta_int(meta, "trained_us", &m->trained_us) < 0 ||
		meta_int(meta, "images", &images) < 0 || meta_int(meta, "validation", &validation) < 0)
		return -EBADMSG;
	m->trained_images = (int)CLAMP(images, 0, INT32_MAX);
	m->validation_images = (int)CLAMP(validation, 0, INT32_MAX);
	m->validation_accuracy = accuracy ? strtod(accuracy, NULL) : 0;
	r = model_alloc(m);
	if (r == 0)
		r = read_classes(meta, m);
	if (r == 0)
		r = begin_sum(m, &sum);
	if (r == 0)
		r = read_tensors(root, data, len, m, &sum);
	if (r < 0 || !crc) /* earlier builds wrote none */
		return r;
	snprintf(text, sizeof(text), "%08" PRIx32, sum);
	return json_is_string(crc) && !strcmp(json_string_value(crc), text) ? 0 : -EBADMSG;
}

int model_read(const uint8_t *data, size_t len, struct model *ret)
{
	struct reader r = {data, len, false};
	uint64_t header = reader_u64(&r);
	const uint8_t *text = header <= HEADER_MAX ? reader_take(&r, (size_t)header) : NULL;
	_cleanup_model_ struct model m = {0};
	json_t *root;
	int result;

	if (!text)
		return -EBADMSG;
	root = json_loadb((const char *)text, (size_t)header, JSON_REJECT_DUPLICATES, NULL);
	result = json_is_object(root) ? read_parsed(root, r.data, r.len, &m) : -EBADMSG;
	json_decref(root);
	if (result < 0)
		return result;
	*ret = m;
	m = (struct model){0};
	return 0;
}
