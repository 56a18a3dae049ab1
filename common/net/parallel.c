#include "common/net/parallel.h"

#include <pthread.h>
#include <stdbool.h>

struct team {
	int n, started, running;
	unsigned long round; /* counts runs; a member works once per round */
	bool stop;
	void (*fn)(void *arg, int member);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t go, done;
	struct member {
		struct team *team;
		int number;
		pthread_t thread;
	} member[];
};

static void *member_main(void *data)
{
	struct member *m = data;
	struct team *t = m->team;
	unsigned long seen = 0;

	pthread_mutex_lock(&t->lock);
	for (;;) {
		while (t->round == seen && !t->stop)
			pthread_cond_wait(&t->go, &t->lock);
		if (t->stop)
			break;
		seen = t->round;
		pthread_mutex_unlock(&t->lock);
		t->fn(t->arg, m->number);
		pthread_mutex_lock(&t->lock);
		if (--t->running == 0)
			pthread_cond_signal(&t->done);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

struct team *team_new(int n)
{
	struct team *t = calloc(1, sizeof(*t) + (size_t)n * sizeof(struct member));

	if (!t)
		return NULL;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->go, NULL);
	pthread_cond_init(&t->done, NULL);
	t->n = n;
	for (t->started = 1; t->started < n; t->started++) {
		struct member *m = &t->member[t->started];

		m->team = t;
		m->number = t->started;
		if (pthread_create(&m->thread, NULL, member_main, m) != 0) {
			team_free(t);
			return NULL;
		}
	}
	return t;
}

void team_free(struct team *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->go);
	pthread_mutex_unlock(&t->lock);
	for (int i = 1; i < t->started; i++)
		pthread_join(t->member[i].thread, NULL);
	pthread_cond_destroy(&t->go);
	pthread_cond_destroy(&t->done);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

int team_size(const struct team *t)
{
	return t->n;
}

void team_run(struct team *t, void (*fn)(void *arg, int member), void *arg)
{
	pthread_mutex_lock(&t->lock);
	t->fn = fn;
	t->arg = arg;
	t->running = t->n - 1;
	t->round++;
	pthread_cond_broadcast(&t->go);
	pthread_mutex_unlock(&t->lock);
	fn(arg, 0);
	pthread_mutex_lock(&t->lock);
	while (t->running)
		pthread_cond_wait(&t->done, &t->lock);
	pthread_mutex_unlock(&t->lock);
}
