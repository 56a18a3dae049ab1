#include "tools/lab/lab.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>

#include "common/codec/input.h"
#include "common/io.h"
#include "common/log.h"
#include "policy/score.h"

void dataset_done(struct dataset *d)
{
	free(d->rgb);
	free(d->label);
	free(d->weight);
	*d = (struct dataset){0};
}

static size_t picture_bytes(const struct lab *l)
{
	return (size_t)l->shape.size * (size_t)l->shape.size * 3;
}

int lab_dataset(const struct lab *l, int n, struct dataset *ret)
{
	struct dataset d = {.n = n, .size = l->shape.size, .classes = l->shape.classes};

	d.rgb = malloc((size_t)MAX(n, 1) * picture_bytes(l));
	d.label = calloc((size_t)MAX(n, 1), sizeof(int));
	d.weight = malloc((size_t)MAX(n, 1) * sizeof(float));
	if (!d.rgb || !d.label || !d.weight) {
		dataset_done(&d);
		return -ENOMEM;
	}
	for (int i = 0; i < n; i++)
		d.weight[i] = 1;
	*ret = d;
	return 0;
}

struct parallel_job {
	struct lab *l;
	for_each fn;
	void *arg;
	int n, next, error;
};

static void parallel_member(void *arg, int member)
{
	struct parallel_job *job = arg;
	struct scratch s = {.member = member};
	int i, r;

	while ((i = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED)) < job->n) {
		r = job->fn(job->l, job->arg, i, &s);
		if (r < 0) {
			__atomic_store_n(&job->error, r, __ATOMIC_RELAXED);
			__atomic_store_n(&job->next, job->n, __ATOMIC_RELAXED);
		}
	}
	coef_done(&s.original);
	coef_done(&s.rung);
}

int lab_parallel(struct lab *l, int n, for_each fn, void *arg)
{
	struct parallel_job job = {.l = l, .fn = fn, .arg = arg, .n = n};

	team_run(l->team, parallel_member, &job);
	return job.error;
}

struct fill_job {
	struct dataset *d;
	make_picture make;
	void *arg;
};

static int fill_one(struct lab *l, void *arg, int i, struct scratch *s)
{
	struct fill_job *job = arg;

	return job->make(l, job->arg, i, s, job->d->rgb + (size_t)i * picture_bytes(l), &job->d->label[i]);
}

int lab_fill(struct lab *l, struct dataset *d, make_picture make, void *arg)
{
	struct fill_job job = {d, make, arg};

	return lab_parallel(l, d->n, fill_one, &job);
}

int lab_decode(const struct lab *l, enum split s, int i, struct coef_image *ret, int *ret_quality)
{
	char error[DATA_ERROR_MAX];
	int r = data_decode(&l->data, s, i, ret, ret_quality, error);

	if (r < 0)
		log_error("%s", error);
	return r;
}

static int make_test(struct lab *l, void *arg, int i, struct scratch *s, uint8_t *rgb, int *label)
{
	int quality = *(int *)arg, own, r = lab_decode(l, TEST, i, &s->original, &own);
	struct jpeg_tables t;

	*label = l->data.split[TEST].v[i].label;
	if (r == 0 && quality < own) {
		tables_standard(quality, &t);
		r = coef_requantise(&s->original, &t, &s->original);
	}
	return r < 0 ? r : input_from_coef(&s->original, l->shape.size, rgb);
}

int lab_test_at(struct lab *l, int quality, struct dataset *ret)
{
	int r = lab_dataset(l, MIN(l->data.split[TEST].n, l->test_images), ret);

	if (r < 0)
		return r;
	r = lab_fill(l, ret, make_test, &quality);
	if (r < 0)
		dataset_done(ret);
	return r;
}

int lab_open(struct lab *l, const char *spec)
{
	char error[DATA_ERROR_MAX];
	int r = data_open(&l->data, spec, error);

	if (r < 0) {
		log_error("%s", error);
		return r;
	}
	data_spoil(&l->data, l->wrong, l->unlabelled, l->seed);
	l->shape.classes = l->data.classes;
	r = net_shape_check(&l->shape);
	if (r < 0) {
		log_error("--input %d --channels %d,%d,%d with %d classes: no such network can be made; "
			  "allowed: a multiple of %d up to %d, 1 to %d channels, 1 to %d classes",
			l->shape.size, l->shape.channels[0], l->shape.channels[1], l->shape.channels[2],
			l->shape.classes, NET_STRIDE, NET_SIZE_MAX, NET_CHANNELS_MAX, NET_CLASSES_MAX);
		return r;
	}
	l->team = team_new(l->threads);
	if (!l->team) {
		log_error("%d threads: out of memory", l->threads);
		return -ENOMEM;
	}
	l->out_fd = io_open_dir(AT_FDCWD, l->out);
	if (l->out_fd < 0) {
		log_error("--out %s: %s", l->out, strerror(-l->out_fd));
		return l->out_fd;
	}
	r = lab_test_at(l, 100, &l->test);
	if (r < 0)
		log_error("the test pictures: %s", strerror(-r));
	return r;
}

bool list_name_is(const char *at, const char *name)
{
	size_t len = strlen(name);

	return strcspn(at, ",") == len && !strncmp(at, name, len);
}

const char *list_next_name(const char *at)
{
	const char *comma = strchr(at, ',');

	return comma ? comma + 1 : NULL;
}

bool lab_wanted(const struct lab *l, const char *part)
{
	for (const char *at = l->only; at; at = list_next_name(at))
		if (list_name_is(at, part))
			return true;
	return !l->only;
}

void lab_close(struct lab *l)
{
	data_close(&l->data);
	dataset_done(&l->test);
	team_free(l->team);
	free(l->known);
	if (l->log_fd > 0)
		close(l->log_fd);
	if (l->out_fd > 0)
		close(l->out_fd);
}

FILE *lab_create(const struct lab *l, const char *name)
{
	int fd = openat(l->out_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	if (!f)
		log_error("%s/%s: %s", l->out, name, strerror(errno));
	return f;
}

int lab_close_file(FILE *f, const char *name)
{
	bool bad = ferror(f);

	if (fclose(f) != 0 || bad) {
		log_error("%s: %s", name, strerror(errno));
		return -EIO;
	}
	return 0;
}

double mean_of(const double *v, int n)
{
	double sum = 0;

	for (int i = 0; i < n; i++)
		sum += v[i];
	return n ? sum / n : (double)NAN;
}

double interval_of(const double *v, int n)
{
	/* Two-sided 95 % points of Student's t for 1, 2, ... degrees of freedom. */
	static const double t[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
		2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086};
	double mean = mean_of(v, n), sum = 0;

	if (n < 2)
		return (double)NAN;
	for (int i = 0; i < n; i++)
		sum += (v[i] - mean) * (v[i] - mean);
	return (n - 2 < (int)ARRAY_SIZE(t) ? t[n - 2] : 1.96 + 2.4 / (n - 1)) * sqrt(sum / (n - 1) / n);
}

int lab_claim(FILE *f, enum verdict v, const char *claim, const char *fmt, ...)
{
	static const char *const names[] = {"reproduced", "not reproduced", "differs"};
	va_list ap;

	fprintf(f, "%s\t%s\t", names[v], claim);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	return fputc('\n', f) < 0 ? -EIO : 0;
}
