#include "common/net/train.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "common/digest.h"
#include "common/rng.h"

#define CHECKPOINT_MAGIC UINT32_C(0x324b434c) /* "LCK2": with a sum at its end */
#define WARM_UP		 0.05		      /* share of the steps */

struct train {
	struct net_shape shape;
	struct net_layout at;
	struct train_options o;
	const struct dataset *data; /* borrowed */
	struct team *team;	    /* borrowed */
	struct net_work **work;	    /* [team] */
	float *params, *velocity, *grad; /* grad: [team][total] */
	uint32_t *order;	    /* [n]: this epoch's permutation */
	uint8_t *batch_rgb;	    /* [batch][S][S][3] */
	int *batch_label;
	float *batch_weight;
	int64_t step;
	double *member_loss; /* [team] */
};

void train_options_init(struct train_options *o, int size)
{
	*o = (struct train_options){.epochs = 30, .batch = 64, .rate = 0.04, .momentum = 0.9,
		.decay = 2e-3, .clip = 8, .flip = true, .shift = size / 8, .seed = 1};
}

int train_steps_per_epoch(const struct train *t)
{
	return (t->data->n + t->o.batch - 1) / t->o.batch;
}

int64_t train_steps_total(const struct train *t)
{
	if (t->o.max_steps > 0)
		return t->o.max_steps;
	return (int64_t)t->o.epochs * train_steps_per_epoch(t);
}

int64_t train_step_count(const struct train *t)
{
	return t->step;
}

const float *train_params(const struct train *t)
{
	return t->params;
}

struct train *train_new(const struct net_shape *s, const struct dataset *data,
	const struct train_options *o, struct team *team)
{
	_cleanup_(train_freep) struct train *t = calloc(1, sizeof(*t));
	size_t members = (size_t)team_size(team), batch = (size_t)o->batch;

	if (!t)
		return NULL;
	t->shape = *s;
	t->o = *o;
	t->data = data;
	t->team = team;
	net_layout(s, &t->at);
	t->params = malloc(t->at.total * sizeof(float));
	t->velocity = calloc(t->at.total, sizeof(float));
	t->grad = malloc(members * t->at.total * sizeof(float));
	t->order = malloc((size_t)data->n * sizeof(uint32_t));
	t->batch_rgb = malloc(batch * (size_t)s->size * (size_t)s->size * 3);
	t->batch_label = malloc(batch * sizeof(int));
	t->batch_weight = malloc(batch * sizeof(float));
	t->member_loss = calloc(members, sizeof(double));
	t->work = calloc(members, sizeof(*t->work));
	if (!t->params || !t->velocity || !t->grad || !t->order || !t->batch_rgb || !t->batch_label ||
		!t->batch_weight || !t->member_loss || !t->work)
		return NULL;
	for (size_t m = 0; m < members; m++)
		if (!(t->work[m] = net_work_new(s, true)))
			return NULL;
	net_init(s, o->seed, t->params);
	return TAKE_PTR(t);
}

void train_free(struct train *t)
{
	if (!t)
		return;
	for (int m = 0; t->work && m < team_size(t->team); m++)
		net_work_free(t->work[m]);
	free(t->work);
	free(t->params);
	free(t->velocity);
	free(t->grad);
	free(t->order);
	free(t->batch_rgb);
	free(t->batch_label);
	free(t->batch_weight);
	free(t->member_loss);
	free(t);
}

/* Every epoch has its own generator, so a resumed run needs no generator state. */
static void epoch_rng(const struct train *t, int64_t epoch, struct rng *r)
{
	rng_init(r, t->o.seed * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)epoch);
}

static void shuffle_epoch(struct train *t, int64_t epoch)
{
	struct rng r;

	epoch_rng(t, epoch, &r);
	for (int i = 0; i < t->data->n; i++)
		t->order[i] = (uint32_t)i;
	rng_shuffle(&r, t->order, (size_t)t->data->n);
}

/* Copies one picture moved by dx, dy and perhaps mirrored; what moves in is the edge repeated. */
static void augment(const uint8_t *in, int size, int dx, int dy, bool mirror, uint8_t *out)
{
	for (int y = 0; y < size; y++) {
		const uint8_t *row = in + (size_t)CLAMP(y + dy, 0, size - 1) * (size_t)size * 3;

		for (int x = 0; x < size; x++, out += 3) {
			int sx = CLAMP((mirror ? size - 1 - x : x) + dx, 0, size - 1);

			memcpy(out, row + 3 * sx, 3);
		}
	}
}

/* An epoch's batches are alike: a last one of a few pictures would give each of them a whole step. */
static int batch_begin(const struct train *t, int64_t batch)
{
	return (int)(t->data->n * batch / train_steps_per_epoch(t));
}

int train_next_batch(const struct train *t)
{
	int64_t at = t->step % train_steps_per_epoch(t);

	return batch_begin(t, at + 1) - batch_begin(t, at);
}

static int load_batch(struct train *t)
{
	int per_epoch = train_steps_per_epoch(t), size = t->shape.size;
	int first = batch_begin(t, t->step % per_epoch), n = train_next_batch(t);
	size_t image = (size_t)size * (size_t)size * 3;
	struct rng r;

	if (first == 0 || t->step == 0)
		shuffle_epoch(t, t->step / per_epoch);
	rng_init(&r, t->o.seed ^ ((uint64_t)t->step + 1) * UINT64_C(0xd1342543de82ef95));
	for (int i = 0; i < n; i++) {
		uint32_t j = t->order[first + i];
		int dx = 0, dy = 0;
		bool mirror = t->o.flip && rng_below(&r, 2);

		if (t->o.shift) {
			dx = (int)rng_below(&r, (uint32_t)(2 * t->o.shift + 1)) - t->o.shift;
			dy = (int)rng_below(&r, (uint32_t)(2 * t->o.shift + 1)) - t->o.shift;
		}
		augment(t->data->rgb + j * image, size, dx, dy, mirror, t->batch_rgb + (size_t)i * image);
		t->batch_label[i] = t->data->label[j];
		t->batch_weight[i] = t->data->weight[j] / (float)n;
	}
	return n;
}

struct step_job {
	struct train *t;
	int n;
};

static void step_member(void *arg, int m)
{
	struct step_job *job = arg;
	struct train *t = job->t;
	int members = team_size(t->team), from = job->n * m / members, to = job->n * (m + 1) / members;
	float *grad = t->grad + (size_t)m * t->at.total;
	size_t image = (size_t)t->shape.size * (size_t)t->shape.size * 3;

	memset(grad, 0, t->at.total * sizeof(float));
	t->member_loss[m] = net_gradient(t->work[m], t->params, t->batch_rgb + (size_t)from * image,
		t->batch_label + from, t->batch_weight + from, to - from, grad, NULL);
}

static double learning_rate(const struct train *t)
{
	double total = (double)train_steps_total(t), at = (double)t->step / total;
	double peak = t->o.rate * sqrt(t->o.batch / 64.0);

	if (at < WARM_UP)
		return peak * ((double)t->step + 1) / (WARM_UP * total + 1);
	return peak * 0.5 * (1 + cos(M_PI * (at - WARM_UP) / (1 - WARM_UP)));
}

/* v = momentum v - rate g; p += momentum v - rate g (Nesterov, in Sutskever's form). */
HOT static void sgd(float *p, float *v, const float *g, size_t n, float rate, float momentum, float decay)
{
	for (size_t i = 0; i < n; i++) {
		float step = rate * (g[i] + decay * p[i]);

		v[i] = momentum * v[i] - step;
		p[i] += momentum * v[i] - step;
	}
}

/* Shortens the gradient to a length (Pascanu et al. 2013): a few steps too long can end a training for good. */
static void clip(float *g, size_t n, double longest)
{
	double sum = 0;
	float by;

	for (size_t i = 0; i < n; i++)
		sum += (double)g[i] * g[i];
	if (longest <= 0 || sum <= longest * longest)
		return;
	by = (float)(longest / sqrt(sum));
	for (size_t i = 0; i < n; i++)
		g[i] *= by;
}

static void update(struct train *t)
{
	float rate = (float)learning_rate(t), momentum = (float)t->o.momentum;
	size_t begin = 0;

	for (int m = 1; m < team_size(t->team); m++)
		for (size_t i = 0; i < t->at.total; i++)
			t->grad[i] += t->grad[(size_t)m * t->at.total + i];
	clip(t->grad, t->at.total, t->o.clip);
	for (int l = 0; l <= NET_LAYERS; l++) { /* a weight, then its bias */
		size_t bias = l < NET_LAYERS ? t->at.bias[l] : t->at.linear_bias;
		size_t end = l + 1 < NET_LAYERS ? t->at.weight[l + 1]
			: l < NET_LAYERS	? t->at.linear_weight
						: t->at.total;

		sgd(t->params + begin, t->velocity + begin, t->grad + begin, bias - begin, rate, momentum,
			(float)t->o.decay);
		sgd(t->params + bias, t->velocity + bias, t->grad + bias, end - bias, rate, momentum, 0);
		begin = end;
	}
}

double train_steps(struct train *t, int n)
{
	double loss = 0;
	int done = 0;

	for (; done < n && t->step < train_steps_total(t); done++) {
		struct step_job job = {t, load_batch(t)};

		team_run(t->team, step_member, &job);
		for (int m = 0; m < team_size(t->team); m++)
			loss += t->member_loss[m];
		update(t);
		t->step++;
	}
	return done ? loss / done : 0;
}

void train_save(const struct train *t, struct buf *b)
{
	size_t begin = b->len;

	buf_put_u32(b, CHECKPOINT_MAGIC);
	buf_put_u32(b, (uint32_t)t->shape.size);
	for (int l = 0; l < NET_LAYERS; l++)
		buf_put_u32(b, (uint32_t)t->shape.channels[l]);
	buf_put_u32(b, (uint32_t)t->shape.classes);
	buf_put_u64(b, (uint64_t)train_steps_total(t));
	buf_put_u64(b, t->o.seed);
	buf_put_u64(b, (uint64_t)t->step);
	for (size_t i = 0; i < t->at.total; i++)
		buf_put_f32(b, t->params[i]);
	for (size_t i = 0; i < t->at.total; i++)
		buf_put_f32(b, t->velocity[i]);
	if (!b->failed)
		buf_put_u32(b, crc32c(0, b->data + begin, b->len - begin));
}

bool train_state_whole(const uint8_t *data, size_t len)
{
	struct reader magic = {data, len, false}, sum;

	if (reader_u32(&magic) != CHECKPOINT_MAGIC || magic.len < 4)
		return false;
	sum = (struct reader){data + len - 4, 4, false};
	return reader_u32(&sum) == crc32c(0, data, len - 4);
}

int train_restore(struct train *t, const uint8_t *data, size_t len)
{
	struct reader r = {data, len, false};
	bool same = train_state_whole(data, len) && reader_u32(&r) == CHECKPOINT_MAGIC;
	uint64_t step, total, seed;

	same &= reader_u32(&r) == (uint32_t)t->shape.size;
	for (int l = 0; l < NET_LAYERS; l++)
		same &= reader_u32(&r) == (uint32_t)t->shape.channels[l];
	same &= reader_u32(&r) == (uint32_t)t->shape.classes;
	total = reader_u64(&r);
	seed = reader_u64(&r);
	step = reader_u64(&r);
	if (!same || r.failed || step > total || total > INT32_MAX || r.len != 8 * t->at.total + 4)
		return -EINVAL;
	for (size_t i = 0; i < t->at.total; i++)
		t->params[i] = reader_f32(&r);
	for (size_t i = 0; i < t->at.total; i++)
		t->velocity[i] = reader_f32(&r);
	t->o.seed = seed;
	t->step = total ? (int64_t)(step * (uint64_t)train_steps_total(t) / total) : 0;
	shuffle_epoch(t, t->step / train_steps_per_epoch(t));
	return 0;
}

struct eval_job {
	const struct net_shape *shape;
	const float *params;
	const struct dataset *data;
	int members;
	struct evaluation *part; /* [members]; n < 0: out of memory */
};

static void eval_one(const float *logits, int label, int k, struct evaluation *e)
{
	float p[NET_CLASSES_MAX];
	int best = 0;

	for (int j = 0; j < k; j++)
		if (logits[j] > logits[best])
			best = j;
	memcpy(p, logits, (size_t)k * sizeof(float));
	e->loss += (double)(softmax(p, k) - logits[label]);
	e->correct += best == label;
	e->n++;
}

static void eval_member(void *arg, int m)
{
	enum { STEP = 32 };
	struct eval_job *job = arg;
	const struct dataset *d = job->data;
	int k = job->shape->classes, to = (int)((int64_t)d->n * (m + 1) / job->members);
	size_t image = (size_t)d->size * (size_t)d->size * 3;
	_cleanup_free_ float *logits = malloc(STEP * (size_t)k * sizeof(float));
	_cleanup_(net_work_freep) struct net_work *w = net_work_new(job->shape, false);

	if (!logits || !w) {
		job->part[m].n = -1;
		return;
	}
	net_use(w, job->params);
	for (int i = (int)((int64_t)d->n * m / job->members); i < to; i += STEP) {
		int n = MIN(STEP, to - i);

		net_forward(w, d->rgb + (size_t)i * image, n, logits);
		for (int j = 0; j < n; j++)
			eval_one(logits + j * k, d->label[i + j], k, &job->part[m]);
	}
}

int evaluate(const struct net_shape *s, const float *params, const struct dataset *data,
	struct team *team, struct evaluation *ret)
{
	int members = team_size(team);
	_cleanup_free_ struct evaluation *part = calloc((size_t)members, sizeof(*part));
	struct eval_job job = {s, params, data, members, part};
	struct evaluation sum = {0};

	if (!part)
		return -ENOMEM;
	team_run(team, eval_member, &job);
	for (int m = 0; m < members; m++) {
		if (part[m].n < 0)
			return -ENOMEM;
		sum.n += part[m].n;
		sum.correct += part[m].correct;
		sum.loss += part[m].loss;
	}
	sum.loss = sum.n ? sum.loss / sum.n : 0;
	*ret = sum;
	return 0;
}

void dataset_balance(struct dataset *d, const int64_t *came)
{
	_cleanup_free_ int *count = calloc((size_t)d->classes, sizeof(int));
	double sum = 0;

	if (!count)
		return;
	for (int i = 0; i < d->n; i++)
		count[d->label[i]]++;
	for (int i = 0; i < d->n; i++) {
		int k = d->label[i], n = count[k];

		d->weight[i] = sqrtf((float)MAX(came ? came[k] : 0, n)) / (float)n;
		sum += (double)d->weight[i];
	}
	for (int i = 0; i < d->n; i++)
		d->weight[i] *= (float)(d->n / sum);
}
