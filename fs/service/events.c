/*
 * events.c -- what was done, as rows of the catalog and as JSON lines.
 *
 * Acts happen in batches; so do their records: noted in memory while the batch runs, committed once
 * at its end.  The journal of the quarantine, not these records, is what safety rests on.
 */
#include "mediagcfs/log.h"
#include "service_priv.h"

static char *copy(const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : strdup(text);
}

void mgc_service_note(void *service, const struct mgc_event *event)
{
    struct mgc_service *s = service;
    struct mgc_event *row;

    (void)pthread_mutex_lock(&s->mutex);
    if (s->events_count == s->events_capacity) {
        size_t capacity = s->events_capacity == 0 ? 64 : s->events_capacity * 2;
        struct mgc_event *rows = realloc(s->event_rows, capacity * sizeof(*rows));

        if (rows == NULL) { /* the act stands; its record is lost and said */
            (void)pthread_mutex_unlock(&s->mutex);
            mgc_log(MGC_LOG_ERROR, "could not record event '%s': out of memory",
                    mgc_event_name(event->kind));
            return;
        }
        s->event_rows = rows;
        s->events_capacity = capacity;
    }
    row = &s->event_rows[s->events_count++];
    *row = *event;
    row->path = copy(event->path);
    row->reason = copy(event->reason);
    row->who = copy(event->who);
    if (row->time_us == 0)
        row->time_us = s->os->now_us(s->os);
    mgc_event_json(&s->events, row);
    mgc_buf_addc(&s->events, '\n');
    (void)pthread_mutex_unlock(&s->mutex);
}

void mgc_service_say(struct mgc_service *s, enum mgc_event_kind kind, int64_t run,
                     const char *reason, const char *who)
{
    const struct mgc_event event = {.kind = kind, .run = run, .reason = reason, .who = who};

    mgc_service_note(s, &event);
}

static void free_rows(struct mgc_event *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free((void *)(uintptr_t)rows[i].path);
        free((void *)(uintptr_t)rows[i].reason);
        free((void *)(uintptr_t)rows[i].who);
    }
    free(rows);
}

static void append_lines(struct mgc_service *s, const struct mgc_buf *lines)
{
    size_t done = 0;

    while (s->events_fd >= 0 && done < lines->bytes) {
        ssize_t n = write(s->events_fd, lines->data + done, lines->bytes - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            mgc_log(MGC_LOG_WARNING, "could not write events to '%s': %s", s->conf->log.file,
                    strerrordesc_np(errno));
            return;
        }
        done += (size_t)n;
    }
}

int mgc_service_events_flush(struct mgc_service *s, struct mgc_err *err)
{
    struct mgc_buf lines;
    struct mgc_event *rows;
    size_t count;
    int r;

    (void)pthread_mutex_lock(&s->mutex);
    rows = s->event_rows;
    count = s->events_count;
    lines = s->events;
    s->event_rows = NULL;
    s->events_count = s->events_capacity = 0;
    s->events = (struct mgc_buf){0};
    (void)pthread_mutex_unlock(&s->mutex);
    append_lines(s, &lines);
    r = count > 0 ? s->catalog->ops->event_add(s->catalog, rows, count, err) : 0;
    mgc_buf_done(&lines);
    free_rows(rows, count);
    return r;
}

void mgc_service_events_done(struct mgc_service *s)
{
    free_rows(s->event_rows, s->events_count);
    mgc_buf_done(&s->events);
}
