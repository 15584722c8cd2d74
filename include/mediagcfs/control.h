/*
 * control.h -- the control socket: JSON lines, peer uid checked.
 *
 * Role     A client sends one object per line: {"v":1,"op":"status",...}.  The server answers with
 *          any number of {"row":{...}} lines and exactly one {"ok":{...}} or
 *          {"error":{"code":"...","number":-5004,"text":"...","hint":"..."}}.  What an op means is
 *          the handler's affair.
 * Layer    4.  Uses base, sys and Jansson.
 * Threads  The server has a thread per connection, at most MGC_CONTROL_CLIENTS_MAX; a client
 *          belongs to one thread.
 * Errors   MGC_E_PROTOCOL, MGC_E_NO_DAEMON, MGC_E_LIMIT for lines over MGC_MESSAGE_BYTES_MAX.
 */
#ifndef MEDIAGCFS_CONTROL_H
#define MEDIAGCFS_CONTROL_H

#include <jansson.h>
#include <sys/types.h>

#include "mediagcfs/error.h"

struct mgc_peer {
    uid_t uid;
    gid_t gid;
    pid_t pid;
    int64_t connection; /* unique: what a run is bound to */
};

/* Sends one row.  Takes the reference.  A peer that went away is an error: stop. */
typedef int mgc_row_fn(void *row_arg, json_t *row);

/*
 * Serves one request: the result object goes to *ret_ok (a new reference, may be left NULL for
 * {}).  request is borrowed.  Returns 0 or a negative code with a message for the peer.
 */
typedef int mgc_handler_fn(void *arg, const struct mgc_peer *peer, json_t *request, mgc_row_fn *row,
                           void *row_arg, json_t **ret_ok, struct mgc_err *err);
/* The connection ended (also by a crash of the peer). */
typedef void mgc_gone_fn(void *arg, const struct mgc_peer *peer);

struct mgc_server;
struct mgc_server_spec {
    const char *path; /* of the socket; replaced if nobody answers on it */
    uint32_t mode;    /* 0660 */
    int64_t gid;      /* group of the socket, -1: leave */
    mgc_handler_fn *handle;
    mgc_gone_fn *gone; /* may be NULL */
    void *arg;
};
MGC_MUST_CHECK int mgc_server_start(const struct mgc_server_spec *spec, struct mgc_server **ret,
                                    struct mgc_err *err);
/* No new connections, running requests end, threads joined, socket removed. */
void mgc_server_stop(struct mgc_server *s);

struct mgc_client;
/* MGC_E_NO_DAEMON when nothing answers, with a hint to `mount` or `--offline`. */
MGC_MUST_CHECK int mgc_client_connect(const char *path, struct mgc_client **ret,
                                      struct mgc_err *err);
/*
 * One request.  Takes the reference to `request` ("v" is added).  each_row (may be NULL) sees the
 * rows (borrowed).  *ret_ok (may be NULL) is a new reference.  An error answer becomes the code and
 * err of this call.
 */
MGC_MUST_CHECK int mgc_client_call(struct mgc_client *c, json_t *request,
                                   int (*each_row)(void *arg, json_t *row), void *arg,
                                   json_t **ret_ok, struct mgc_err *err);
void mgc_client_free(struct mgc_client *c);

/* A JSON string of any bytes, lossy where they are not UTF-8; NULL: out of memory. */
json_t *mgc_json_text(const char *text);
/* Paths in JSON: "path" (lossy text) and, where it is not UTF-8, "path_hex". */
void mgc_json_set_path(json_t *object, const char *path);
/* Reads them back into out (MGC_PATH_BYTES_MAX + 1); -EINVAL when absent or malformed. */
MGC_MUST_CHECK int mgc_json_get_path(json_t *object, char *out, size_t out_bytes);

#endif
