/* What the device is doing, the measuring half of idle detection; and what of it we may use. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "daemon/daemon.h"
#include "policy/idle.h"

#define GROUPS "/sys/fs/cgroup"

/* One small file as text; false when it is not there. */
static bool read_text(const char *path, char *ret, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);

	close_fd(&fd);
	ret[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* What a control group's limits leave. */
struct group_limits {
	int64_t memory;
	double processors;
};

/* Limits are numbers, or the word max. */
static void see_group(const char *path, struct group_limits *l)
{
	static const char *const memory[] = {"memory.max", "memory.high"};
	char file[PATH_MAX + 32], text[64];
	double quota, period;

	for (size_t i = 0; i < ARRAY_SIZE(memory); i++) {
		int64_t bytes;

		snprintf(file, sizeof(file), GROUPS "%s/%s", path, memory[i]);
		if (read_text(file, text, sizeof(text)) && sscanf(text, "%" SCNd64, &bytes) == 1)
			l->memory = MIN(l->memory, bytes);
	}
	snprintf(file, sizeof(file), GROUPS "%s/cpu.max", path);
	if (read_text(file, text, sizeof(text)) && sscanf(text, "%lf %lf", &quota, &period) == 2 && period > 0)
		l->processors = MIN(l->processors, quota / period);
}

/* Of our group and all above it; libuv of Debian 12 knows those of the older interface alone. */
static struct group_limits group_limits(void)
{
	struct group_limits l = {INT64_MAX, INFINITY};
	char text[PATH_MAX], *path, *end;

	if (!read_text("/proc/self/cgroup", text, sizeof(text)))
		return l;
	path = strncmp(text, "0::/", 4) ? strstr(text, "\n0::/") : text;
	if (!path)
		return l;
	path = strchr(path, '/');
	path[strcspn(path, "\n")] = '\0';
	for (see_group(path, &l); (end = strrchr(path, '/')); see_group(path, &l))
		*end = '\0';
	return l;
}

int64_t probe_memory(void)
{
	uint64_t known[] = {uv_get_total_memory(), uv_get_constrained_memory()}; /* 0: it is not */
	int64_t least = group_limits().memory;

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i] && known[i] < (uint64_t)least)
			least = (int64_t)known[i];
	return least;
}

int probe_processors(void)
{
	return (int)MAX(ceil(MIN(group_limits().processors, (double)uv_available_parallelism())), 1);
}

/* avg10 of the "some" line of a pressure file. */
static double pressure(const char *path)
{
	char text[256];
	double v;

	if (!read_text(path, text, sizeof(text)) || sscanf(text, "some avg10=%lf", &v) != 1)
		return NAN;
	return v;
}

static double load_per_core(int trainer_threads)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	double load[1];

	if (getloadavg(load, 1) != 1 || cores < 1)
		return NAN;
	return MAX(load[0] - trainer_threads, 0) / (double)cores;
}

/* Calls fn with each entry's path below a sysfs class. */
static void each_entry(const char *class, void (*fn)(const char *path, struct idle_sample *s),
	struct idle_sample *s)
{
	DIR *dir = opendir(class);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		char path[512];

		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", class, e->d_name);
		fn(path, s);
	}
	if (dir)
		closedir(dir);
}

static void see_zone(const char *path, struct idle_sample *s)
{
	char file[560], text[32];
	double celsius;

	snprintf(file, sizeof(file), "%s/temp", path);
	if (!strstr(path, "thermal_zone") || !read_text(file, text, sizeof(text)))
		return;
	celsius = strtod(text, NULL) / 1000;
	if (isnan(s->celsius) || celsius > s->celsius)
		s->celsius = celsius;
}

static void see_supply(const char *path, struct idle_sample *s)
{
	char file[560], type[32], text[32];

	snprintf(file, sizeof(file), "%s/type", path);
	if (!read_text(file, type, sizeof(type)) || strncmp(type, "Battery", 7) != 0)
		return;
	snprintf(file, sizeof(file), "%s/scope", path); /* a mouse's battery says Device */
	if (read_text(file, text, sizeof(text)) && !strncmp(text, "Device", 6))
		return;
	snprintf(file, sizeof(file), "%s/status", path);
	if (read_text(file, text, sizeof(text)) && !strncmp(text, "Discharging", 11))
		s->on_battery = true;
	snprintf(file, sizeof(file), "%s/capacity", path);
	if (read_text(file, text, sizeof(text)))
		s->battery = strtod(text, NULL);
}

void probe_idle(int64_t last_capture_us, bool training, int trainer_threads, struct idle_sample *ret)
{
	time_t now = (time_t)(clock_wall_us() / US_PER_SEC);
	struct tm local;

	localtime_r(&now, &local);
	*ret = (struct idle_sample){
		.quiet_us = clock_steady_us() - last_capture_us,
		.cpu_pressure = pressure("/proc/pressure/cpu"),
		.io_pressure = pressure("/proc/pressure/io"),
		.load_per_core = load_per_core(training ? trainer_threads : 0),
		.battery = NAN,
		.celsius = NAN,
		.minute = local.tm_hour * 60 + local.tm_min,
		.training = training,
	};
	each_entry("/sys/class/thermal", see_zone, ret);
	each_entry("/sys/class/power_supply", see_supply, ret);
}
