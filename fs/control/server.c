/*
 * server.c -- accepts control connections and gives each a thread.
 *
 *   S1  A connection is served by one thread; its slot is freed by that thread and by nobody else.
 *   S2  stop() shuts every connection down and waits until no slot is taken, so that no handler
 *       runs after it returned.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "control_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/control.h"

enum { ACCEPT_PAUSE_MS = 100 };

struct mgc_server {
    struct mgc_server_spec spec;
    char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
    int listen_fd, wake_fd;
    pthread_t thread;
    pthread_mutex_t mutex; /* protects what follows */
    pthread_cond_t free_slot;
    int fds[MGC_CONTROL_CLIENTS_MAX]; /* -1: free */
    int taken;
    int64_t next_connection;
    bool stopping;
};

struct connection {
    struct mgc_server *server;
    int slot, fd;
    struct mgc_peer peer;
};

static int send_row(void *row_arg, json_t *row)
{
    struct connection *c = row_arg;
    json_t *line = json_pack("{s:o}", "row", row);
    int r;

    if (line == NULL)
        return -ENOMEM;
    r = mgc_line_write(c->fd, line, NULL);
    json_decref(line);
    return r;
}

static int answer(struct connection *c, int code, json_t *ok, const struct mgc_err *err)
{
    json_t *line;
    int r;

    if (code == 0)
        line = json_pack("{s:o}", "ok", ok != NULL ? ok : json_object());
    else
        line = json_pack("{s:{s:s,s:i,s:s,s:s}}", "error", "code", mgc_code_name(code), "number",
                         code, "text", err->text[0] != '\0' ? err->text : mgc_code_text(code),
                         "hint", err->hint);
    if (line == NULL) /* a message that is not UTF-8 */
        line = json_pack("{s:{s:s,s:i,s:s}}", "error", "code", mgc_code_name(code), "number", code,
                         "text", mgc_code_text(code));
    if (line == NULL)
        return -ENOMEM;
    r = mgc_line_write(c->fd, line, NULL);
    json_decref(line);
    return r;
}

static int serve_one(struct connection *c, json_t *request)
{
    struct mgc_server *s = c->server;
    struct mgc_err err = {0};
    json_t *ok = NULL;
    int r;

    if (json_integer_value(json_object_get(request, "v")) != 1 ||
        !json_is_string(json_object_get(request, "op")))
        r = mgc_err_say(&err, MGC_E_PROTOCOL, "control message has no \"v\":1 and \"op\"");
    else
        r = s->spec.handle(s->spec.arg, &c->peer, request, send_row, c, &ok, &err);
    MGC_ASSERT(r <= 0);
    return answer(c, r, ok, &err);
}

static void release_slot(struct connection *c)
{
    struct mgc_server *s = c->server;

    (void)pthread_mutex_lock(&s->mutex);
    s->fds[c->slot] = -1;
    s->taken--;
    (void)close(c->fd);
    (void)pthread_cond_broadcast(&s->free_slot);
    (void)pthread_mutex_unlock(&s->mutex);
    free(c);
}

static void *serve_connection(void *arg)
{
    struct connection *c = arg;
    struct mgc_line_reader reader = {.fd = c->fd};
    json_t *request = NULL;
    int r;

    for (;;) {
        struct mgc_err err = {0};

        r = mgc_line_read(&reader, &request, &err);
        if (r < 0)
            (void)answer(c, r, NULL, &err); /* the stream is out of step: say so and close */
        if (r <= 0)
            break;
        r = serve_one(c, request);
        json_decref(request);
        if (r < 0)
            break;
    }
    mgc_line_done(&reader);
    if (c->server->spec.gone != NULL)
        c->server->spec.gone(c->server->spec.arg, &c->peer);
    release_slot(c);
    return NULL;
}

/* Takes fd, whatever comes of it. */
static int start_connection(struct mgc_server *s, int fd, struct mgc_err *err)
{
    /* A peer that stops reading must not keep stop() waiting for ever. */
    const struct timeval patience = {.tv_sec = 30};
    struct ucred who;
    socklen_t bytes = sizeof(who);
    struct connection *c = calloc(1, sizeof(*c));
    pthread_attr_t detached;
    pthread_t thread;
    int r = 0, slot = 0;

    if (c == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0) {
        r = c == NULL ? -ENOMEM : -errno;
        free(c);
        (void)close(fd);
        return mgc_err_set(err, r, "could not serve a control connection");
    }
    (void)pthread_mutex_lock(&s->mutex);
    while (slot < MGC_CONTROL_CLIENTS_MAX && s->fds[slot] >= 0)
        slot++;
    if (slot == MGC_CONTROL_CLIENTS_MAX || s->stopping)
        r = MGC_E_LIMIT;
    else {
        *c = (struct connection){.server = s, .slot = slot, .fd = fd};
        c->peer = (struct mgc_peer){.uid = who.uid, .gid = who.gid, .pid = who.pid};
        c->peer.connection = ++s->next_connection;
        s->fds[slot] = fd;
        s->taken++;
    }
    (void)pthread_mutex_unlock(&s->mutex);
    if (r < 0) {
        free(c);
        (void)close(fd);
        return mgc_err_say(err, r, "too many control connections");
    }
    (void)pthread_attr_init(&detached);
    (void)pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    r = -pthread_create(&thread, &detached, serve_connection, c);
    (void)pthread_attr_destroy(&detached);
    if (r < 0) {
        release_slot(c);
        return mgc_err_set(err, r, "could not start a thread");
    }
    return 0;
}

static void *accept_loop(void *arg)
{
    struct mgc_server *s = arg;

    for (;;) {
        struct pollfd fds[2] = {{.fd = s->listen_fd, .events = POLLIN},
                                {.fd = s->wake_fd, .events = POLLIN}};
        int fd;

        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents != 0)
            return NULL;
        if ((fds[0].revents & POLLIN) == 0)
            continue;
        fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            (void)start_connection(s, fd, NULL); /* the peer sees the closed connection */
        else /* out of descriptors: who waits keeps the socket readable */
            (void)poll(&fds[1], 1, ACCEPT_PAUSE_MS);
    }
}

/* Somebody listens there already: two daemons for one catalog. */
static bool answers(const struct sockaddr_un *address)
{
    mgc_autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    return fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
}

static int open_socket(struct mgc_server *s, struct mgc_err *err)
{
    struct sockaddr_un address;
    int r = mgc_socket_address(&address, s->spec.path, err);

    if (r < 0)
        return r;
    if (answers(&address))
        return mgc_err_say(err, MGC_E_BUSY, "another daemon answers at '%s'",
                           MGC_SHOW(s->spec.path));
    (void)unlink(s->spec.path);
    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->listen_fd < 0)
        return mgc_err_set(err, -errno, "could not create a socket");
    /* Nobody can connect before listen(), so mode and group are right from the first moment. */
    if (bind(s->listen_fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        (s->spec.gid >= 0 && chown(s->spec.path, (uid_t)-1, (gid_t)s->spec.gid) < 0) ||
        chmod(s->spec.path, s->spec.mode) < 0 || listen(s->listen_fd, 64) < 0)
        return mgc_err_set(err, -errno, "could not open control socket '%s'",
                           MGC_SHOW(s->spec.path));
    memcpy(s->path, address.sun_path, sizeof(s->path));
    return 0;
}

static void free_server(struct mgc_server *s)
{
    if (s->listen_fd >= 0)
        (void)close(s->listen_fd);
    if (s->wake_fd >= 0)
        (void)close(s->wake_fd);
    (void)pthread_cond_destroy(&s->free_slot);
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
}

int mgc_server_start(const struct mgc_server_spec *spec, struct mgc_server **ret,
                     struct mgc_err *err)
{
    struct mgc_server *s = calloc(1, sizeof(*s));
    int r;

    if (s == NULL)
        return mgc_err_set(err, -ENOMEM, "could not start the control server");
    s->spec = *spec;
    s->listen_fd = -1;
    for (int i = 0; i < MGC_CONTROL_CLIENTS_MAX; i++)
        s->fds[i] = -1;
    (void)pthread_mutex_init(&s->mutex, NULL);
    (void)pthread_cond_init(&s->free_slot, NULL);
    s->wake_fd = eventfd(0, EFD_CLOEXEC);
    r = s->wake_fd < 0 ? mgc_err_set(err, -errno, "could not start the control server")
                       : open_socket(s, err);
    if (r == 0) {
        r = -pthread_create(&s->thread, NULL, accept_loop, s);
        if (r < 0)
            (void)mgc_err_set(err, r, "could not start a thread");
    }
    if (r < 0) {
        free_server(s);
        return r;
    }
    *ret = s;
    return 0;
}

void mgc_server_stop(struct mgc_server *s)
{
    if (s == NULL)
        return;
    (void)eventfd_write(s->wake_fd, 1);
    (void)pthread_join(s->thread, NULL);
    (void)pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    for (int i = 0; i < MGC_CONTROL_CLIENTS_MAX; i++)
        if (s->fds[i] >= 0)
            (void)shutdown(s->fds[i], SHUT_RD); /* answers under way still go out */
    while (s->taken > 0)
        (void)pthread_cond_wait(&s->free_slot, &s->mutex);
    (void)pthread_mutex_unlock(&s->mutex);
    (void)unlink(s->path);
    free_server(s);
}
