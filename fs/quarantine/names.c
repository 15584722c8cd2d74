/*
 * names.c -- slot names, looking at both sides of a move, copies of rows, news for later.
 *
 * Looking is by name and identity, never by handle: what recovery can see after a crash is what
 * the normal path decides from (Q4).
 */
#include "quarantine_priv.h"

#include <inttypes.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

void mgc_slot_name(char out[MGC_SLOT_NAME_BYTES], int64_t id)
{
    MGC_ASSERT(id > 0);
    (void)snprintf(out, MGC_SLOT_NAME_BYTES, "%" PRId64, id);
}

int64_t mgc_slot_id(const char *name)
{
    char again[MGC_SLOT_NAME_BYTES];
    int64_t id = 0;

    for (const char *p = name; *p != '\0'; p++) {
        if (*p < '0' || *p > '9' || __builtin_mul_overflow(id, 10, &id) ||
            __builtin_add_overflow(id, *p - '0', &id))
            return -1;
    }
    if (id <= 0)
        return -1;
    mgc_slot_name(again, id);
    return strcmp(again, name) == 0 ? id : -1;
}

/* The name cannot be reached from the root without following a link: nothing of ours is there. */
static bool means_absent(int r)
{
    return r == -ENOENT || r == -ENOTDIR || r == -ELOOP;
}

static enum mgc_seen seen_of(const struct mgc_file_stat *found, const struct mgc_file_id *id)
{
    return mgc_file_id_equal(&found->id, id) ? MGC_SEEN_SAME : MGC_SEEN_OTHER;
}

int mgc_look_path(struct mgc_quarantine *q, const char *path, const struct mgc_file_id *id,
                  enum mgc_seen *ret_seen, struct mgc_file_stat *ret_stat, struct mgc_err *err)
{
    struct mgc_os *os = q->spec.os;
    struct mgc_file_stat found;
    const char *leaf;
    int r;

    mgc_autofd parent = mgc_open_parent(os, q->spec.home->root_fd, path, &leaf, NULL);
    r = parent < 0 ? parent : os->stat(os, parent, leaf, &found);
    if (r < 0 && !means_absent(r))
        return mgc_err_set(err, r, "could not inspect file '%s'", MGC_SHOW(path));
    *ret_seen = r < 0 ? MGC_SEEN_ABSENT : seen_of(&found, id);
    if (r == 0 && ret_stat != NULL)
        *ret_stat = found;
    return 0;
}

int mgc_look_slot(struct mgc_quarantine *q, int64_t slot, const struct mgc_file_id *id,
                  enum mgc_seen *ret_seen, struct mgc_file_stat *ret_stat, struct mgc_err *err)
{
    char name[MGC_SLOT_NAME_BYTES];
    struct mgc_file_stat found;
    int r;

    mgc_slot_name(name, slot);
    r = q->spec.os->stat(q->spec.os, q->spec.home->slots_fd, name, &found);
    if (r < 0 && r != -ENOENT)
        return mgc_err_set(err, r, "could not inspect slot '%s'", name);
    *ret_seen = r < 0 ? MGC_SEEN_ABSENT : seen_of(&found, id);
    if (r == 0 && ret_stat != NULL)
        *ret_stat = found;
    return 0;
}

int mgc_held_home(struct mgc_quarantine *q, const struct mgc_held *held, char *out,
                  size_t out_bytes)
{
    struct mgc_catalog *c = q->spec.catalog;
    char dir[MGC_PATH_BYTES_MAX + 1];

    int r = held->dir_id > 0 ? c->ops->dir_path(c, held->dir_id, dir, sizeof(dir)) : -ENOENT;

    if (r == -ENOENT) /* the directory is gone: to where it was */
        return mgc_path_join(out, out_bytes, "", held->path);
    return r < 0 ? r : mgc_path_join(out, out_bytes, dir, mgc_path_leaf(held->path));
}

int mgc_sync_slots(struct mgc_quarantine *q, struct mgc_err *err)
{
    int r = q->spec.os->sync_dir(q->spec.os, q->spec.home->slots_fd);

    return r < 0 ? mgc_err_set(err, r, "could not sync directory '%s'", MGC_PRIVATE_DIR "/slots")
                 : 0;
}

int mgc_sync_dir_of(struct mgc_quarantine *q, const char *path, struct mgc_err *err)
{
    const char *leaf;
    int r;

    mgc_autofd dir = mgc_open_parent(q->spec.os, q->spec.home->root_fd, path, &leaf, NULL);
    if (means_absent(dir)) /* the application removed it since: with it went the old name */
        return 0;
    r = dir < 0 ? dir : q->spec.os->sync_dir(q->spec.os, dir);
    return r < 0 ? mgc_err_set(err, r, "could not sync directory of '%s'", MGC_SHOW(path)) : 0;
}

void mgc_record(struct mgc_quarantine *q, enum mgc_change_kind kind, const char *path,
                const struct mgc_file_stat *stat)
{
    struct mgc_catalog *c = q->spec.catalog;
    struct mgc_change change = {
        .kind = kind,
        .directory = kind == MGC_CHANGE_MKDIR || kind == MGC_CHANGE_RMDIR,
        .path = path,
        .time_us = q->spec.os->now_us(q->spec.os),
        .uid = stat->uid,
        .stat = *stat,
    };
    int r = 0;

    if (q->spec.recorder != NULL)
        mgc_recorder_push(q->spec.recorder, &change);
    else
        r = c->ops->apply(c, &change, 1, NULL);
    (void)r; /* ignoring a failure: the next verification finds what is there */
}

/* ---- copies of rows ---- */

void mgc_held_rows_done(struct mgc_held_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        free(rows->row[i].path);
        free(rows->row[i].restore_to);
    }
    free(rows->row);
    *rows = (struct mgc_held_rows){0};
}

int mgc_held_rows_add(void *arg, const struct mgc_held *held)
{
    struct mgc_held_rows *rows = arg;
    struct mgc_held_row *row;

    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity == 0 ? 16 : rows->capacity * 2;
        struct mgc_held_row *grown = reallocarray(rows->row, capacity, sizeof(*grown));

        if (grown == NULL)
            return -ENOMEM;
        rows->row = grown;
        rows->capacity = capacity;
    }
    row = &rows->row[rows->count];
    *row = (struct mgc_held_row){.held = *held, .code = 1};
    row->path = strdup(held->path);
    row->restore_to = strdup(held->restore_to != NULL ? held->restore_to : "");
    if (row->path == NULL || row->restore_to == NULL) {
        free(row->path);
        free(row->restore_to);
        return -ENOMEM;
    }
    row->held.path = row->path;
    row->held.restore_to = row->restore_to;
    rows->count++;
    return 0;
}

/* ---- news ---- */

void mgc_notices_done(struct mgc_notices *n)
{
    free(n->notice);
    *n = (struct mgc_notices){0};
}

int mgc_notices_reserve(struct mgc_notices *n, size_t count, struct mgc_err *err)
{
    size_t capacity = n->count + count;
    struct mgc_notice *grown;

    if (capacity <= n->capacity)
        return 0;
    grown = reallocarray(n->notice, capacity, sizeof(*grown));
    if (grown == NULL)
        return mgc_err_set(err, -ENOMEM, "could not prepare %zu events", count);
    n->notice = grown;
    n->capacity = capacity;
    return 0;
}

static struct mgc_notice *next_notice(struct mgc_notices *n)
{
    MGC_ASSERT(n->count < n->capacity);
    n->notice[n->count] = (struct mgc_notice){0};
    return &n->notice[n->count++];
}

void mgc_notice_event(struct mgc_quarantine *q, struct mgc_notices *n, enum mgc_event_kind kind,
                      const struct mgc_held *held, const char *reason, const char *who)
{
    struct mgc_notice *notice = next_notice(n);

    notice->act = true;
    notice->event = (struct mgc_event){
        .time_us = q->spec.os->now_us(q->spec.os),
        .kind = kind,
        .path = held->path,
        .run = held->run,
        .held = held->id,
        .bytes = held->stat.size_bytes,
        .reason = reason,
        .who = who,
    };
}

void mgc_notice_change(struct mgc_quarantine *q, struct mgc_notices *n, const char *path, bool gone)
{
    struct mgc_os *os = q->spec.os;
    struct mgc_file_stat dir;
    struct mgc_notice *notice;
    const char *leaf;

    if (q->spec.changed == NULL)
        return;
    mgc_autofd parent = mgc_open_parent(os, q->spec.home->root_fd, path, &leaf, NULL);
    /* No safety rests on a notification: one that cannot be addressed is left out. */
    if (parent < 0 || os->stat(os, parent, "", &dir) < 0)
        return;
    notice = next_notice(n);
    notice->dir = dir;
    notice->change = true;
    notice->gone = gone;
    (void)snprintf(notice->name, sizeof(notice->name), "%s", leaf);
}

void mgc_notices_tell(struct mgc_quarantine *q, struct mgc_notices *n)
{
    for (size_t i = 0; i < n->count; i++) {
        const struct mgc_notice *notice = &n->notice[i];

        if (notice->change)
            q->spec.changed(q->spec.arg, &notice->dir, notice->name, notice->gone);
        if (notice->act && q->spec.event != NULL)
            q->spec.event(q->spec.arg, &notice->event);
    }
    n->count = 0;
}
