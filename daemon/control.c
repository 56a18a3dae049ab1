/*
 * The control socket: clients, framing, credentials. A client that misbehaves is closed; nothing a
 * client sends can end the daemon or make it hold more than a message and an answer of each: the next
 * message is looked at when the answer before it is on its way.
 */
#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/log.h"
#include "daemon/control_verbs.h"
#include "larder-config.h"

#define CLIENTS_MAX  64
#define CLIENTS_KEPT 16 /* of them for those that may change things, whatever the others do */
#define READ_STEP    16384

struct client {
	struct control *control;
	uv_pipe_t pipe;
	struct buf in;
	int holds; /* the connection, and each answer still to come */
	bool may_change; /* things, not only ask about them */
	bool closed, answering, oneway;
	struct client *next;
};

struct control {
	struct daemon *d;
	uv_pipe_t listener;
	struct client *clients;
	int n_clients;
	uv_idle_t turn; /* runs while clients have messages that can be served, or work */
	struct piecework *work;
	uv_pipe_t turned_away; /* a client that there was no memory for, while turning_away */
	bool turning_away, left_waiting;
};

struct reply {
	uv_write_t req;
	struct buf data;
};

void client_hold(struct client *c)
{
	c->holds++;
}

void client_release(struct client *c)
{
	if (--c->holds > 0)
		return;
	buf_done(&c->in);
	free(c);
}

static void on_client_closed(uv_handle_t *h)
{
	struct client *c = h->data;

	client_release(c);
}

static void close_client(struct client *c)
{
	struct control *control = c->control;

	if (c->closed)
		return;
	c->closed = true;
	for (struct client **p = &control->clients; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			break;
		}
	control->n_clients--;
	training_forget(control->d, c);
	uv_close((uv_handle_t *)&c->pipe, on_client_closed);
}

static void on_turn(uv_idle_t *turn);

/* The client may have a message that can be served. */
static void serve_soon(struct client *c)
{
	if (!c->closed)
		uv_idle_start(&c->control->turn, on_turn);
}

static void on_written(uv_write_t *req, int status)
{
	struct reply *r = (struct reply *)req;
	struct client *c = req->handle->data;

	buf_done(&r->data);
	free(r);
	if (status < 0)
		close_client(c);
	else
		serve_soon(c);
}

static void send_message(struct client *c, json_t *message)
{
	struct reply *r = calloc(1, sizeof(*r));
	uv_buf_t b;

	c->answering = false;
	if (c->closed || c->oneway) {
		json_decref(message);
		free(r);
		serve_soon(c);
		return;
	}
	if (!r) { /* it must not wait for what does not come */
		json_decref(message);
		close_client(c);
		return;
	}
	if (varlink_put(&r->data, message) < 0) {
		buf_done(&r->data);
		free(r);
		close_client(c);
		return;
	}
	b = uv_buf_init((char *)r->data.data, (unsigned)r->data.len);
	if (uv_write(&r->req, (uv_stream_t *)&c->pipe, &b, 1, on_written) < 0) {
		buf_done(&r->data);
		free(r);
		close_client(c);
	}
}

void client_reply(struct client *c, json_t *parameters)
{
	send_message(c, json_pack("{so}", "parameters", parameters));
}

void client_error(struct client *c, const char *error, json_t *parameters)
{
	send_message(c, json_pack("{ss so}", "error", error, "parameters", parameters));
}

void client_fail(struct client *c, const char *fmt, ...)
{
	char reason[CONFIG_ERROR_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	client_error(c, CONTROL_INTERFACE ".Failed", json_pack("{so}", "reason", varlink_text(reason)));
}

/* org.varlink.service, which every varlink service answers. */
static bool serve_service(struct client *c, const char *method, const json_t *parameters)
{
	if (!strcmp(method, "org.varlink.service.GetInfo")) {
		client_reply(c, json_pack("{ss ss ss ss s[ss]}", "vendor", "Larder", "product", "larderd",
			"version", LARDER_VERSION, "url", "", "interfaces",
			"org.varlink.service", CONTROL_INTERFACE));
		return true;
	}
	if (!strcmp(method, "org.varlink.service.GetInterfaceDescription")) {
		const char *name = json_string_value(json_object_get(parameters, "interface"));

		if (name && !strcmp(name, CONTROL_INTERFACE))
			client_reply(c, json_pack("{ss}", "description", CONTROL_DESCRIPTION));
		else
			client_error(c, "org.varlink.service.InterfaceNotFound",
				json_pack("{ss}", "interface", name ? name : ""));
		return true;
	}
	return false;
}

static void dispatch(struct client *c, const char *method, const json_t *parameters)
{
	struct call call = {c->control->d, c, parameters};
	const char *name;

	if (serve_service(c, method, parameters))
		return;
	if (strncmp(method, CONTROL_INTERFACE ".", strlen(CONTROL_INTERFACE ".")) != 0) {
		client_error(c, "org.varlink.service.MethodNotFound", json_pack("{so}", "method",
			varlink_text(method)));
		return;
	}
	name = method + strlen(CONTROL_INTERFACE ".");
	for (size_t i = 0; i < N_VERBS; i++) {
		if (strcmp(VERBS[i].method, name) != 0)
			continue;
		if (VERBS[i].changes && !c->may_change)
			client_error(c, "org.varlink.service.PermissionDenied",
				json_pack("{ss}", "reason",
					"only root and the daemon's own user may change things"));
		else
			VERBS[i].run(&call);
		return;
	}
	client_error(c, "org.varlink.service.MethodNotFound", json_pack("{so}", "method",
		varlink_text(method)));
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
	struct client *c = h->data;
	uint8_t *to = buf_reserve(&c->in, READ_STEP);

	(void)suggested;
	*ret = uv_buf_init((char *)to, to ? READ_STEP : 0);
}

/* What a client sends is read until there is a whole message; more waits in the socket. */
static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct client *c = s->data;

	(void)b;
	if (n < 0) {
		close_client(c);
		return;
	}
	c->in.len += (size_t)n;
	if (varlink_find(c->in.data, c->in.len) >= 0) {
		uv_read_stop(s);
		serve_soon(c);
	} else if (c->in.len > CONTROL_MESSAGE_MAX) {
		close_client(c);
	}
}

/* The client's next message, unless an answer is still to come or to be read. False: nothing to do. */
static bool serve(struct client *c)
{
	const char *method;
	json_t *message;
	int64_t end = varlink_find(c->in.data, c->in.len);

	if (end < 0)
		uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read);
	if (end < 0 || c->answering || uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) > 0)
		return false;
	message = json_loadb((const char *)c->in.data, (size_t)end, JSON_REJECT_DUPLICATES, NULL);
	buf_consume(&c->in, (size_t)end + 1);
	method = json_string_value(json_object_get(message, "method"));
	if (method) {
		c->answering = true;
		c->oneway = json_is_true(json_object_get(message, "oneway"));
		dispatch(c, method, json_object_get(message, "parameters"));
	} else { /* no varlink: whoever this is, good-bye */
		close_client(c);
	}
	json_decref(message);
	return true;
}

void control_work(struct control *control, struct piecework *w)
{
	w->next = control->work;
	control->work = w;
	uv_idle_start(&control->turn, on_turn);
}

/* A piece of each; whether there is more. */
static bool work_on(struct control *control)
{
	for (struct piecework **p = &control->work, *w; (w = *p);) {
		struct piecework *next = w->next;

		if (w->run(w))
			p = &w->next;
		else
			*p = next;
	}
	return control->work;
}

/* One message of each client, so that none keeps the loop from the others and from captures. */
static void on_turn(uv_idle_t *turn)
{
	struct control *control = turn->data;
	bool more = work_on(control);

	for (struct client *c = control->clients, *next; c; c = next) {
		next = c->next;
		more = serve(c) || more;
	}
	if (!more)
		uv_idle_stop(turn);
}

static void on_connection(uv_stream_t *listener, int status);

static void on_turned_away(uv_handle_t *h)
{
	struct control *control = h->data;

	control->turning_away = false;
	if (control->left_waiting && !control->d->stopping)
		on_connection((uv_stream_t *)&control->listener, 0);
}

/* Without memory for it a client is taken and let go: who is never taken keeps all others out. */
static void turn_away(struct control *control)
{
	control->left_waiting = control->turning_away;
	if (control->turning_away)
		return;
	control->turning_away = true;
	uv_pipe_init(control->d->loop, &control->turned_away, 0);
	control->turned_away.data = control;
	(void)uv_accept((uv_stream_t *)&control->listener, (uv_stream_t *)&control->turned_away);
	uv_close((uv_handle_t *)&control->turned_away, on_turned_away);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct control *control = listener->data;
	struct ucred peer = {.uid = (uid_t)-1};
	socklen_t len = sizeof(peer);
	struct client *c;
	uv_os_fd_t fd;

	if (status < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c) {
		turn_away(control);
		return;
	}
	c->control = control;
	c->holds = 1;
	uv_pipe_init(control->d->loop, &c->pipe, 0);
	c->pipe.data = c;
	c->next = control->clients;
	control->clients = c;
	control->n_clients++;
	if (uv_accept(listener, (uv_stream_t *)&c->pipe) < 0 ||
		uv_fileno((uv_handle_t *)&c->pipe, &fd) < 0 ||
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
		close_client(c);
		return;
	}
	c->may_change = peer.uid == 0 || peer.uid == geteuid();
	if (control->n_clients > CLIENTS_MAX - (c->may_change ? 0 : CLIENTS_KEPT))
		close_client(c);
	else
		uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read);
}

/* Removes a socket nobody answers on; -EADDRINUSE when somebody does. */
static int clear_stale(const char *path)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = varlink_connect(path);
	if (fd >= 0) {
		close(fd);
		return -EADDRINUSE;
	}
	return unlink(path) < 0 ? -errno : 0;
}

static void set_access(const char *path, const char *group)
{
	struct group *g = getgrnam(group);
	struct stat st;

	if (chmod(path, 0660) < 0)
		log_warn("%s: chmod: %s", path, strerror(errno));
	if (!g)
		log_info("no group '%s': only root and this user may use larderctl", group);
	else if (lstat(path, &st) == 0 && st.st_gid == g->gr_gid)
		return; /* as under the service, which may not chown */
	else if (chown(path, (uid_t)-1, g->gr_gid) < 0)
		log_info("%s: not given to group '%s': %s", path, group, strerror(errno));
}

void control_set_access(const struct daemon *d)
{
	set_access(d->config.control.socket, d->config.control.group);
}

static void make_parent(const char *path)
{
	char dir[CONFIG_PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash && slash != dir) {
		*slash = '\0';
		(void)mkdir(dir, 0755);
	}
}

int control_open(struct daemon *d, char error[256])
{
	const char *path = d->config.control.socket;
	struct control *control = calloc(1, sizeof(*control));
	mode_t old;
	int r;

	if (!control)
		return -ENOMEM;
	control->d = d;
	uv_pipe_init(d->loop, &control->listener, 0);
	uv_idle_init(d->loop, &control->turn);
	control->listener.data = control->turn.data = control;
	d->control = control;
	make_parent(path);
	r = strlen(path) < 108 ? clear_stale(path) : -ENAMETOOLONG;
	old = umask(0177);
	if (r == 0)
		r = uv_pipe_bind(&control->listener, path);
	umask(old);
	if (r == 0)
		r = uv_listen((uv_stream_t *)&control->listener, 16, on_connection);
	if (r < 0) {
		snprintf(error, 256, "control socket %.150s: %s", path, strerror(-r));
		return r;
	}
	control_set_access(d);
	return 0;
}

void control_stop(struct control *control)
{
	work_on(control); /* ends it */
	while (control->clients)
		close_client(control->clients);
	uv_close((uv_handle_t *)&control->listener, NULL);
	uv_close((uv_handle_t *)&control->turn, NULL);
	unlink(control->d->config.control.socket);
}

void control_free(struct control *control)
{
	free(control);
}
