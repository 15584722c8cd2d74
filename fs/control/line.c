/* line.c -- one JSON object per line over a stream socket, bounded in both directions. */
#include <sys/socket.h>

#include "control_priv.h"

enum { CHUNK_BYTES = 65536 };

static int parse(struct mgc_line_reader *reader, size_t line_bytes, json_t **ret_object,
                 struct mgc_err *err)
{
    json_error_t why;
    json_t *object = json_loadb(reader->pending.data, line_bytes, JSON_REJECT_DUPLICATES, &why);
    size_t rest = reader->pending.bytes - line_bytes - 1;

    memmove(reader->pending.data, reader->pending.data + line_bytes + 1, rest);
    reader->pending.bytes = rest;
    reader->scanned = 0;
    if (!json_is_object(object)) {
        json_decref(object);
        return mgc_err_say(err, MGC_E_PROTOCOL, "could not parse control message: %s",
                           object == NULL ? why.text : "not an object");
    }
    *ret_object = object;
    return 1;
}

int mgc_line_read(struct mgc_line_reader *reader, json_t **ret_object, struct mgc_err *err)
{
    struct mgc_buf *pending = &reader->pending;

    for (;;) {
        ssize_t got;

        if (pending->bytes > reader->scanned) {
            const char *newline =
                memchr(pending->data + reader->scanned, '\n', pending->bytes - reader->scanned);

            if (newline != NULL)
                return parse(reader, (size_t)(newline - pending->data), ret_object, err);
            reader->scanned = pending->bytes;
        }
        if (pending->bytes > MGC_MESSAGE_BYTES_MAX)
            return mgc_err_say(err, MGC_E_LIMIT, "control message exceeds %d bytes",
                               (int)MGC_MESSAGE_BYTES_MAX);
        if (!mgc_buf_reserve(pending, CHUNK_BYTES))
            return mgc_err_set(err, -ENOMEM, "could not read control message");
        got = recv(reader->fd, pending->data + pending->bytes, CHUNK_BYTES, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return mgc_err_set(err, -errno, "could not read from control socket");
        if (got == 0 && pending->bytes == 0)
            return 0;
        if (got == 0)
            return mgc_err_say(err, MGC_E_PROTOCOL, "control connection ended within a message");
        pending->bytes += (size_t)got;
    }
}

void mgc_line_done(struct mgc_line_reader *reader)
{
    mgc_buf_done(&reader->pending);
}

int mgc_line_write(int fd, const json_t *object, struct mgc_err *err)
{
    mgc_autofree char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    size_t bytes, sent = 0;

    if (text == NULL)
        return mgc_err_set(err, -ENOMEM, "could not write control message");
    bytes = strlen(text);
    text[bytes++] = '\n'; /* in place of the NUL: from here on it is bytes */
    while (sent < bytes) {
        ssize_t n = send(fd, text + sent, bytes - sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mgc_err_set(err, -errno, "could not write to control socket");
        sent += (size_t)n;
    }
    return 0;
}
