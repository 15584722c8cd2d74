/* catalog_sqlite_events.c -- what was done, refused and noticed; rows are only added. */
#include "store_priv.h"

static int add_one(struct mgc_store *s, const struct mgc_event *event)
{
    static const char sql[] = "INSERT INTO events (time_us, event, path, run, held, bytes, reason,"
                              " who) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    mgc_autoquery q = mgc_query_open(s, sql);

    mgc_query_int(&q, event->time_us);
    mgc_query_text(&q, mgc_event_name(event->kind));
    mgc_query_bytes(&q, event->path != NULL ? event->path : "");
    mgc_query_int(&q, event->run);
    mgc_query_int(&q, event->held);
    mgc_query_int(&q, event->bytes);
    mgc_query_text(&q, event->reason);
    mgc_query_text(&q, event->who);
    return mgc_query_run(&q);
}

static int op_add(struct mgc_catalog *c, const struct mgc_event *rows, size_t count,
                  struct mgc_err *err)
{
    static const char what[] = "record events in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_store_begin(s, false, what, err);

    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = add_one(s, &rows[i]);
    return mgc_store_end(s, r, what, err);
}

/* Names are stable and numbers are not: the column holds the name. */
static int kind_of(const char *name, enum mgc_event_kind *ret_kind)
{
    for (unsigned i = 0; i < MGC_EVENT_COUNT; i++)
        if (strcmp(mgc_event_name((enum mgc_event_kind)i), name) == 0) {
            *ret_kind = (enum mgc_event_kind)i;
            return 0;
        }
    return MGC_E_CORRUPT;
}

static int read_event(struct mgc_query *q, struct mgc_rows *rows, struct mgc_event *event)
{
    const char *name;

    event->id = mgc_query_get(q);
    event->time_us = mgc_query_get(q);
    name = mgc_rows_string(rows, q);
    event->path = mgc_rows_string(rows, q);
    event->run = mgc_query_get(q);
    event->held = mgc_query_get(q);
    event->bytes = mgc_query_get(q);
    event->reason = mgc_rows_string(rows, q);
    event->who = mgc_rows_string(rows, q);
    return rows->failed ? -ENOMEM : kind_of(name, &event->kind);
}

struct scan {
    struct mgc_scan base;
    int64_t since_us;
    mgc_event_fn *each;
    void *arg;
};

static int load(struct mgc_store *s, struct mgc_scan *base, int limit, struct mgc_rows *rows)
{
    static const char sql[] = "SELECT id, time_us, event, path, run, held, bytes, reason, who"
                              " FROM events WHERE id > ? AND time_us >= ? ORDER BY id LIMIT ?";
    const struct scan *scan = (const void *)base;
    mgc_autoquery q = mgc_query_open(s, sql);
    int r;

    mgc_query_int(&q, base->after);
    mgc_query_int(&q, scan->since_us);
    mgc_query_int(&q, limit);
    while ((r = mgc_query_step(&q)) == 1) {
        struct mgc_event *event = mgc_rows_add(rows);

        r = event == NULL ? -ENOMEM : read_event(&q, rows, event);
        if (r < 0)
            return r == MGC_E_CORRUPT ? mgc_store_fail(s, r, "an event has an unknown name") : r;
    }
    return r;
}

static int give(struct mgc_scan *base, const void *item)
{
    const struct scan *scan = (const void *)base;
    const struct mgc_event *event = item;

    base->after = event->id;
    return scan->each(scan->arg, event);
}

static int op_events(struct mgc_catalog *c, int64_t after, int64_t since_us, int limit,
                     mgc_event_fn *each, void *arg, struct mgc_err *err)
{
    struct scan scan = {
        {sizeof(struct mgc_event), "read events of", after, load, give}, since_us, each, arg};

    return mgc_store_scan(mgc_store_of(c), &scan.base, limit, err);
}

void mgc_store_ops_events(struct mgc_catalog_ops *ops)
{
    ops->event_add = op_add;
    ops->events = op_events;
}
