/* client.c -- one request at a time over the control socket. */
#include <sys/socket.h>
#include <sys/un.h>

#include "control_priv.h"
#include "mediagcfs/control.h"

struct mgc_client {
    int fd;
    struct mgc_line_reader reader;
};

int mgc_socket_address(struct sockaddr_un *address, const char *path, struct mgc_err *err)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address->sun_path)) {
        (void)mgc_err_set(err, -ENAMETOOLONG, "could not use control socket '%s'", MGC_SHOW(path));
        (void)mgc_err_hint(err, "Choose a shorter catalog directory: a socket's path has at most "
                                "107 bytes.");
        return -ENAMETOOLONG;
    }
    memcpy(address->sun_path, path, strlen(path) + 1);
    return 0;
}

int mgc_client_connect(const char *path, struct mgc_client **ret, struct mgc_err *err)
{
    struct sockaddr_un address;
    struct mgc_client *client;
    int r = mgc_socket_address(&address, path, err);

    if (r < 0)
        return r;
    mgc_autofd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return mgc_err_set(err, -errno, "could not create a socket");
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        int code = errno == ENOENT || errno == ECONNREFUSED ? MGC_E_NO_DAEMON : -errno;

        (void)mgc_err_set(err, code, "could not reach a daemon at '%s'", MGC_SHOW(path));
        if (code == MGC_E_NO_DAEMON)
            (void)mgc_err_hint(err, "Start it with 'mediagcfs mount', or add --offline to work on "
                                    "the plain directory.");
        return code;
    }
    client = calloc(1, sizeof(*client));
    if (client == NULL)
        return mgc_err_set(err, -ENOMEM, "could not connect");
    client->fd = mgc_fd_steal(&fd);
    client->reader.fd = client->fd;
    *ret = client;
    return 0;
}

static int answered_error(const json_t *error, struct mgc_err *err)
{
    int code = (int)json_integer_value(json_object_get(error, "number"));
    const char *text = json_string_value(json_object_get(error, "text"));
    const char *hint = json_string_value(json_object_get(error, "hint"));

    if (code >= 0)
        code = MGC_E_PROTOCOL;
    (void)mgc_err_say(err, code, "%s", text != NULL ? text : mgc_code_text(code));
    if (hint != NULL && hint[0] != '\0')
        (void)mgc_err_hint(err, "%s", hint);
    return code;
}

int mgc_client_call(struct mgc_client *c, json_t *request, int (*each_row)(void *arg, json_t *row),
                    void *arg, json_t **ret_ok, struct mgc_err *err)
{
    int r, stopped = 0;

    (void)json_object_set_new(request, "v", json_integer(1));
    r = mgc_line_write(c->fd, request, err);
    json_decref(request);
    while (r == 0) {
        json_t *line = NULL, *row, *ok;

        r = mgc_line_read(&c->reader, &line, err);
        if (r == 0)
            return mgc_err_say(err, MGC_E_PROTOCOL, "the daemon closed the control connection");
        if (r < 0)
            return r;
        r = 0;
        row = json_object_get(line, "row");
        ok = json_object_get(line, "ok");
        if (row != NULL) {
            if (stopped == 0 && each_row != NULL)
                stopped = each_row(arg, row); /* the rest is read all the same: lines must pair */
        } else if (ok != NULL) {
            if (ret_ok != NULL && stopped == 0)
                *ret_ok = json_incref(ok);
            json_decref(line);
            return stopped;
        } else
            r = answered_error(json_object_get(line, "error"), err);
        json_decref(line);
    }
    return r;
}

void mgc_client_free(struct mgc_client *c)
{
    if (c == NULL)
        return;
    (void)close(c->fd);
    mgc_line_done(&c->reader);
    free(c);
}
