/*
 * recover.c -- after a stop of any kind: every row is settled, every slot has a row.
 *
 *   1. Rows that are not HELD are settled from the names, as their acts would have been (settle.c).
 *   2. A slot without a row is adopted from its own origin (G6: the catalog was lost or fell back).
 *      It counts as held from now on: losing the catalog may only lengthen a retention.
 *   3. A slot without row and origin, a name that is no slot's, and a HELD row without its slot are
 *      alarms: nothing is touched.
 */
#include "quarantine_priv.h"

#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

/* ---- rows ---- */

static int add_unfinished(void *arg, const struct mgc_held *held)
{
    return held->state == MGC_HELD_HELD ? 0 : mgc_held_rows_add(arg, held);
}

struct page {
    mgc_held_fn *each;
    void *arg;
    int64_t last;
};

static int page_row(void *arg, const struct mgc_held *held)
{
    struct page *page = arg;

    page->last = held->id;
    return page->each(page->arg, held);
}

static int every_row(struct mgc_quarantine *q, mgc_held_fn *each, void *arg, struct mgc_err *err)
{
    struct mgc_catalog *c = q->spec.catalog;
    struct page page = {.each = each, .arg = arg};
    int r = MGC_HELD_PAGE;

    while (r == MGC_HELD_PAGE)
        r = c->ops->held_scan(c, page.last, MGC_HELD_PAGE, NULL, page_row, &page, err);
    return r < 0 ? r : 0;
}

static const char *said(const struct mgc_held_row *row, enum mgc_held_state was)
{
    bool held = row->held.state == MGC_HELD_HELD;

    if (row->verdict == MGC_SETTLE_ALARM)
        return "alarm: names and journal disagree";
    if (row->code < 0 && row->code != -ESTALE && row->code != -ENOENT)
        return "not settled";
    switch (was) {
    case MGC_HELD_MOVING:
        return held ? "move finished" : "move undone";
    case MGC_HELD_RESTORING:
        return held ? "restore undone" : "restore finished";
    case MGC_HELD_PURGING:
        return held ? "purge undone" : "purge finished";
    case MGC_HELD_HELD:
        break;
    }
    return "held";
}

static int settle_page(struct mgc_quarantine *q, struct mgc_held_row *rows, size_t count,
                       struct mgc_recover_result *tally, struct mgc_err *err)
{
    int r, worst = 0;

    switch (rows[0].held.state) {
    case MGC_HELD_MOVING:
        return mgc_settle_moves(q, rows, count, tally, err);
    case MGC_HELD_PURGING:
        return mgc_settle_purges(q, rows, count, tally, err);
    case MGC_HELD_RESTORING:
        for (size_t i = 0; i < count; i++) {
            r = mgc_settle_restore(q, &rows[i], tally, err);
            if (r < 0 && r != -ESTALE && r != -ENOENT && (worst == 0 || worst == MGC_E_CONFLICT))
                worst = r;
        }
        return worst;
    case MGC_HELD_HELD:
        break;
    }
    return 0;
}

int mgc_recover_rows(struct mgc_quarantine *q, struct mgc_held_rows *rows,
                     struct mgc_notices *notices, struct mgc_recover_result *tally,
                     struct mgc_err *err)
{
    size_t start = rows->count, i;
    int r = every_row(q, add_unfinished, rows, err), worst = 0;

    if (r == 0)
        r = mgc_notices_reserve(notices, 2 * (rows->count - start), err);
    if (r < 0)
        return r;
    q->unsettled = false; /* set again by what cannot be settled now */
    for (i = start; i < rows->count;) {
        enum mgc_held_state was = rows->row[i].held.state;
        size_t end = i + 1;

        while (end < rows->count && end - i < MGC_MOVE_BATCH_MAX &&
               rows->row[end].held.state == was)
            end++;
        r = settle_page(q, &rows->row[i], end - i, tally, err);
        if (r < 0 && r != MGC_E_CONFLICT)
            worst = r;
        for (; i < end; i++) {
            struct mgc_held_row *row = &rows->row[i];

            mgc_notice_event(q, notices, MGC_EVENT_RECOVER, &row->held, said(row, was), NULL);
            if (was != MGC_HELD_PURGING)
                mgc_notice_change(q, notices,
                                  was == MGC_HELD_RESTORING ? row->restore_to : row->path,
                                  row->held.state == MGC_HELD_HELD);
        }
    }
    return worst;
}

/* ---- slots ---- */

struct slots {
    struct mgc_quarantine *q;
    int64_t *id;
    size_t count, capacity;
    size_t next;                  /* first id not yet met by a row */
    size_t strangers;             /* names that are no slot's */
    struct mgc_buf orphaned;      /* ids (int64_t) of slots without a row */
    struct mgc_held_rows without; /* HELD rows without a slot */
};

static int add_slot(void *arg, const char *name)
{
    struct slots *s = arg;
    int64_t id = mgc_slot_id(name);

    if (id < 0) {
        s->strangers++;
        return 0;
    }
    if (s->count == s->capacity) {
        size_t capacity = s->capacity == 0 ? 1024 : s->capacity * 2;
        int64_t *grown = reallocarray(s->id, capacity, sizeof(*grown));

        if (grown == NULL)
            return -ENOMEM;
        s->id = grown;
        s->capacity = capacity;
    }
    s->id[s->count++] = id;
    return 0;
}

static int by_id(const void *a, const void *b)
{
    int64_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

static void pass_slots_below(struct slots *s, int64_t id)
{
    for (; s->next < s->count && s->id[s->next] < id; s->next++)
        mgc_buf_add(&s->orphaned, &s->id[s->next], sizeof(s->id[s->next]));
}

/* Rows come in ascending order, slots are sorted: one pass compares both. */
static int meet_row(void *arg, const struct mgc_held *held)
{
    struct slots *s = arg;

    pass_slots_below(s, held->id);
    if (s->next < s->count && s->id[s->next] == held->id) {
        s->next++;
        return 0;
    }
    return held->state == MGC_HELD_HELD ? mgc_held_rows_add(&s->without, held) : 0;
}

static int compare_slots(struct slots *s, struct mgc_err *err)
{
    struct mgc_quarantine *q = s->q;
    int r = q->store->list(q->store, q->spec.home->slots_fd, add_slot, s);

    if (r < 0)
        return mgc_err_set(err, r, "could not list directory '%s'", MGC_PRIVATE_DIR "/slots");
    if (s->count > 1)
        qsort(s->id, s->count, sizeof(*s->id), by_id);
    r = every_row(q, meet_row, s, err);
    if (r < 0)
        return r;
    pass_slots_below(s, INT64_MAX);
    return s->orphaned.failed ? mgc_err_set(err, -ENOMEM, "could not compare slots") : 0;
}

static void alarm_slot(struct mgc_quarantine *q, struct mgc_notices *notices,
                       const struct mgc_held *held, const char *reason,
                       struct mgc_recover_result *tally)
{
    tally->alarms++;
    mgc_notice_event(q, notices, MGC_EVENT_RECOVER, held, reason, NULL);
}

static int adopt(struct mgc_quarantine *q, int64_t id, const struct mgc_buf *manifest,
                 struct mgc_held_rows *rows, struct mgc_err *err)
{
    struct mgc_catalog *c = q->spec.catalog;
    char path[MGC_PATH_BYTES_MAX + 1];
    struct mgc_file_id claimed;
    struct mgc_held held;
    enum mgc_seen seen;
    int r = mgc_origin_read(q, id, manifest, &held, path);

    if (r < 0)
        return r;
    claimed = held.stat.id;
    r = mgc_look_slot(q, id, &claimed, &seen, &held.stat, err);
    if (r < 0)
        return r;
    if (seen != MGC_SEEN_SAME) /* Q5: the record is another file's */
        return -ENODATA;
    held.held_us = q->spec.os->now_us(q->spec.os);
    r = c->ops->held_adopt(c, &held, err);
    if (r < 0)
        return r;
    return mgc_held_rows_add(rows, &held);
}

static int adopt_all(struct slots *s, struct mgc_held_rows *rows, struct mgc_notices *notices,
                     struct mgc_recover_result *tally, struct mgc_err *err)
{
    struct mgc_quarantine *q = s->q;
    mgc_autobuf manifest = {0};
    size_t count = s->orphaned.bytes / sizeof(int64_t);
    int r;

    if (count == 0)
        return 0;
    r = q->store->read(q->store, q->spec.home->home_fd, &manifest);
    if (r < 0)
        return mgc_err_set(err, r, "could not read file '%s'", MGC_PRIVATE_DIR "/manifest");
    for (size_t i = 0; i < count; i++) {
        int64_t id;

        memcpy(&id, s->orphaned.data + i * sizeof(id), sizeof(id));
        r = adopt(q, id, &manifest, rows, err);
        if (r == -ENODATA) {
            alarm_slot(q, notices, &(struct mgc_held){.id = id},
                       "alarm: slot has neither row nor origin", tally);
            continue;
        }
        if (r < 0)
            return r;
        tally->adopted++;
        mgc_notice_event(q, notices, MGC_EVENT_RECOVER, &rows->row[rows->count - 1].held, "adopted",
                         NULL);
    }
    return 0;
}

static int recover_slots(struct mgc_quarantine *q, struct mgc_held_rows *rows,
                         struct mgc_notices *notices, struct mgc_recover_result *tally,
                         struct mgc_err *err)
{
    struct slots s = {.q = q};
    int r = compare_slots(&s, err);

    if (r == 0)
        r = mgc_notices_reserve(notices, s.orphaned.bytes / sizeof(int64_t) + s.without.count + 1,
                                err);
    if (r == 0)
        r = adopt_all(&s, rows, notices, tally, err);
    for (size_t i = 0; r == 0 && i < s.without.count; i++) {
        r = mgc_held_rows_add(rows,
                              &s.without.row[i].held); /* the event borrows the path from there */
        if (r == 0)
            alarm_slot(q, notices, &rows->row[rows->count - 1].held, "alarm: held file has no slot",
                       tally);
    }
    if (r == 0 && s.strangers > 0) {
        alarm_slot(q, notices, &(struct mgc_held){0}, "alarm: unknown names in the quarantine",
                   tally);
        tally->alarms += (int64_t)s.strangers - 1;
    }
    if (r == 0 && s.count == 0 && s.strangers == 0)
        (void)q->store->reset(q->store, q->spec.home->home_fd); /* ignoring: it only grows */
    mgc_held_rows_done(&s.without);
    mgc_buf_done(&s.orphaned);
    free(s.id);
    return r;
}

int mgc_quarantine_recover(struct mgc_quarantine *q, struct mgc_recover_result *ret_result,
                           struct mgc_err *err)
{
    struct mgc_recover_result tally = {0};
    mgc_autonotices notices = {0};
    mgc_autorows rows = {0};
    int r;

    MGC_ASSERT(pthread_mutex_lock(&q->acts) == 0);
    r = mgc_recover_rows(q, &rows, &notices, &tally, err);
    if (r == 0)
        r = recover_slots(q, &rows, &notices, &tally, err);
    if (r == 0) {
        q->recovered = true;
        *ret_result = tally;
    }
    MGC_ASSERT(pthread_mutex_unlock(&q->acts) == 0);
    mgc_notices_tell(q, &notices);
    return r;
}
