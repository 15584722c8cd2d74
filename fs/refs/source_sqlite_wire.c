/*
 * source_sqlite_wire.c -- frames over a socket pair.
 *
 *   W1  A frame is whole or it is not there: what breaks off inside one is an error, not an end.
 *   W2  Lengths are checked before memory is asked for.
 */
#include "fs/refs/source_sqlite_priv.h"

#include <poll.h>
#include <sys/socket.h>

#include "mediagcfs/assert.h"

enum { READ_BYTES = 256 << 10, FRAME_BYTES_MAX = MGC_SOURCE_VALUE_BYTES_MAX - 1 + (64 << 10) };

struct header {
    uint32_t bytes, type, seq;
};
_Static_assert(sizeof(struct header) == 12, "no padding on the wire");

void mgc_wire_done(struct mgc_wire *w)
{
    if (w->fd >= 0)
        (void)close(w->fd);
    mgc_buf_done(&w->in);
    mgc_buf_done(&w->out);
    *w = (struct mgc_wire){.fd = -1};
}

size_t mgc_wire_open(struct mgc_wire *w, enum mgc_frame_type type, uint32_t seq)
{
    const struct header header = {.type = type, .seq = seq};
    size_t place = w->out.bytes;

    mgc_buf_add(&w->out, &header, sizeof(header));
    return place;
}

void mgc_wire_close(struct mgc_wire *w, size_t place)
{
    uint32_t bytes;

    if (w->out.failed)
        return;
    MGC_ASSERT(w->out.bytes - place >= sizeof(struct header));
    bytes = (uint32_t)(w->out.bytes - place - sizeof(struct header));
    memcpy(w->out.data + place, &bytes, sizeof(bytes));
}

void mgc_wire_u32(struct mgc_wire *w, uint32_t value)
{
    mgc_buf_add(&w->out, &value, sizeof(value));
}

void mgc_wire_i64(struct mgc_wire *w, int64_t value)
{
    mgc_buf_add(&w->out, &value, sizeof(value));
}

void mgc_wire_text(struct mgc_wire *w, const char *text)
{
    mgc_buf_add(&w->out, text, strlen(text) + 1);
}

static int await(int fd, short events, int64_t deadline_us)
{
    struct pollfd wait = {.fd = fd, .events = events};

    for (;;) {
        int r = poll(&wait, 1, mgc_source_left_ms(deadline_us, 60000));

        if (r > 0)
            return 0;
        if (r < 0 && errno != EINTR)
            return -errno;
        if (mgc_source_past(deadline_us))
            return MGC_E_TIMEOUT;
    }
}

int mgc_wire_flush(struct mgc_wire *w, int64_t deadline_us)
{
    size_t sent = 0;

    if (w->out.failed)
        return -ENOMEM;
    while (sent < w->out.bytes) {
        ssize_t n = send(w->fd, w->out.data + sent, w->out.bytes - sent, MSG_NOSIGNAL);
        int r;

        if (n >= 0) {
            sent += (size_t)n;
            continue;
        }
        if (errno == EINTR)
            continue;
        r = errno == EAGAIN ? await(w->fd, POLLOUT, deadline_us) : -errno;
        if (r < 0)
            return r; /* half a frame is out: the connection is of no more use */
    }
    mgc_buf_clear(&w->out);
    return 0;
}

/* What was handed out makes room. */
static void compact(struct mgc_wire *w)
{
    if (w->used == 0)
        return;
    memmove(w->in.data, w->in.data + w->used, w->in.bytes - w->used);
    w->in.bytes -= w->used;
    w->used = 0;
}

/* 1 when something came, 0 at the end. */
static int read_more(struct mgc_wire *w, size_t want, int64_t deadline_us)
{
    ssize_t n;
    int r;

    compact(w);
    if (!mgc_buf_reserve(&w->in, want > READ_BYTES ? want : READ_BYTES))
        return -ENOMEM;
    do {
        r = await(w->fd, POLLIN, deadline_us);
        if (r < 0)
            return r;
        n = recv(w->fd, w->in.data + w->in.bytes, w->in.capacity - w->in.bytes - 1, 0);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0)
        return -errno;
    w->in.bytes += (size_t)n;
    return n > 0;
}

int mgc_wire_next(struct mgc_wire *w, int64_t deadline_us, struct mgc_frame *ret)
{
    struct header header;

    for (;;) {
        size_t have = w->in.bytes - w->used, missing = sizeof(header);
        int r;

        if (have >= sizeof(header)) {
            memcpy(&header, w->in.data + w->used, sizeof(header));
            if (header.bytes > FRAME_BYTES_MAX)
                return MGC_E_PROTOCOL;
            missing = sizeof(header) + header.bytes;
            if (have >= missing)
                break;
            missing -= have;
        }
        r = read_more(w, missing, deadline_us);
        if (r == 0)
            return have == 0 ? 0 : MGC_E_INCOMPLETE; /* W1 */
        if (r < 0)
            return r;
    }
    *ret = (struct mgc_frame){.type = (enum mgc_frame_type)header.type,
                              .seq = header.seq,
                              .data = w->in.data + w->used + sizeof(header),
                              .bytes = header.bytes};
    w->used += sizeof(header) + header.bytes;
    return 1;
}

bool mgc_wire_pending(const struct mgc_wire *w)
{
    struct pollfd look = {.fd = w->fd, .events = POLLIN | POLLRDHUP};

    return w->in.bytes > w->used || poll(&look, 1, 0) > 0;
}

static bool take(struct mgc_frame *f, void *out, size_t bytes)
{
    if (f->bytes < bytes)
        return false;
    memcpy(out, f->data, bytes);
    f->data += bytes;
    f->bytes -= bytes;
    return true;
}

bool mgc_frame_u32(struct mgc_frame *f, uint32_t *ret)
{
    return take(f, ret, sizeof(*ret));
}

bool mgc_frame_i64(struct mgc_frame *f, int64_t *ret)
{
    return take(f, ret, sizeof(*ret));
}

bool mgc_frame_text(struct mgc_frame *f, const char **ret)
{
    const char *end = memchr(f->data, '\0', f->bytes);

    if (end == NULL)
        return false;
    *ret = f->data;
    f->bytes -= (size_t)(end + 1 - f->data);
    f->data = end + 1;
    return true;
}
