/*
 * quarantine.c -- move orphans out of the media tree so that no crash can lose one.
 *
 * Media tree and quarantine are directories of one filesystem, so a move is one rename.  The
 * catalog is another store and cannot commit in the same instant: a journal row spans the gap.
 *
 *   (no row) --begin--> MOVING --rename, sync, finish--> HELD --> RESTORING | PURGING --> (no row)
 *       ^                 |                               ^               |
 *       +-----forget------+                               +-----back------+
 *
 *   Q1  Only names move.  No file content is read or written in this module.
 *   Q2  A run moves a name only after the row that announces it is durable, and after the origin is
 *       on the file or in the manifest.
 *   Q3  A row becomes HELD only after both directories are synced, quarantine first.  On the way
 *       back the tree is synced first: where the file is to be, then where it was.
 *   Q4  A row and two look-ups say what to do; doing it twice is the same as doing it once.
 *   Q5  Only the file whose identity is in the row may be held; any other goes straight back.
 *   Q6  Whatever cannot be told (identity, birth, writers, a link count of one) keeps the file.
 *
 * A batch: check all -> one commit announces -> each under its path lock: look again, mark the
 * node, lease, look again, origin, rename -> settle.c.  Nobody waits for a commit under a path lock
 * (G7), so the world goes on between the first look and the second; the second decides.
 */
#include "quarantine_priv.h"

#include <sys/stat.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

/* One candidate on its way; `row` is the journal row and the outcome. */
struct item {
    const struct mgc_candidate *candidate;
    struct mgc_move_outcome *outcome;
    struct mgc_held held;
    struct mgc_file_stat parent;
    struct mgc_err why;
    bool begun;    /* the row is durable */
    bool tried;    /* a rename was called, whatever it said */
    bool noted;    /* the origin is in the manifest */
    bool unmarked; /* the origin could not be put on the file: it has to go into the manifest */
};
struct batch {
    struct mgc_quarantine *q;
    struct item *items;
    size_t count;
    char births_dir[MGC_PATH_BYTES_MAX + 1]; /* directory whose births were read last */
    int64_t births_us;                       /* latest birth in it and above, -1: none read */
};

int mgc_quarantine_new(const struct mgc_quarantine_spec *spec, struct mgc_quarantine **ret,
                       struct mgc_err *err)
{
    struct mgc_file_stat slots;
    struct mgc_quarantine *q;
    int r;

    MGC_ASSERT(spec->os != NULL);
    MGC_ASSERT(spec->catalog != NULL);
    MGC_ASSERT(spec->home != NULL);
    MGC_ASSERT(spec->locks != NULL);
    r = spec->os->stat(spec->os, spec->home->slots_fd, "", &slots);
    if (r < 0)
        return mgc_err_set(err, r, "could not inspect quarantine directory '%s'", MGC_PRIVATE_DIR);
    q = calloc(1, sizeof(*q));
    if (q == NULL)
        return mgc_err_set(err, -ENOMEM, "could not open quarantine '%s'", MGC_PRIVATE_DIR);
    q->spec = *spec;
    q->store = mgc_store_real();
    q->slots_dev = slots.dev;
    MGC_ASSERT(pthread_mutex_init(&q->acts, NULL) == 0);
    *ret = q;
    return 0;
}

void mgc_quarantine_free(struct mgc_quarantine *q)
{
    if (q == NULL)
        return;
    (void)pthread_mutex_destroy(&q->acts);
    free(q);
}

/* ---- is it still what was judged ---- */

static int unmovable(struct mgc_err *err, const char *path, const char *why)
{
    return mgc_err_say(err, MGC_E_UNMOVABLE, "could not move file '%s': %s", MGC_SHOW(path), why);
}

static int changed(struct mgc_err *err, const char *path, const char *what)
{
    return mgc_err_say(err, -ESTALE, "could not move file '%s': %s", MGC_SHOW(path), what);
}

/* The filesystem's side of the checks; pure. */
static int check_stat(const struct mgc_quarantine *q, const struct mgc_candidate *c,
                      const struct mgc_file_stat *now, struct mgc_err *err)
{
    if (!S_ISREG(now->mode) && !S_ISLNK(now->mode))
        return unmovable(err, c->path, "neither a regular file nor a symbolic link");
    if (now->id.kind == MGC_ID_NONE)
        return unmovable(err, c->path, "the filesystem has neither birth times nor generations");
    if (!mgc_file_id_equal(&now->id, &c->id))
        return changed(err, c->path, "replaced since it was judged");
    if (now->nlink != 1)
        return unmovable(err, c->path, "it has more than one name");
    if (now->dev != q->slots_dev)
        return unmovable(err, c->path, "it lies on another filesystem than the quarantine");
    if (now->mtime_us > c->horizon_us || now->ctime_us > c->horizon_us)
        return changed(err, c->path, "changed after the horizon");
    return 0;
}

struct entry_of {
    const char *path;
    struct mgc_held *held;
    char name[MGC_NAME_BYTES_MAX + 1];
    int64_t latest_us;
};

static int take_entry(void *arg, const struct mgc_entry *entry)
{
    struct entry_of *want = arg;

    if (snprintf(want->name, sizeof(want->name), "%s", entry->name) >= (int)sizeof(want->name))
        return -ENAMETOOLONG;
    want->held->dir_id = entry->dir_id;
    want->held->born_us = entry->born_us;
    want->held->written_us = entry->written_us;
    want->held->creator_uid = entry->uid;
    want->latest_us = entry->born_us;
    if (entry->written_us > want->latest_us)
        want->latest_us = entry->written_us;
    if (entry->changed_us > want->latest_us)
        want->latest_us = entry->changed_us;
    return 0;
}

/* H7: latest birth of the directory of `path` and of all above it but the root; 0: not known. */
static int dir_births(struct batch *b, const char *path, int64_t dir_id, int64_t *ret_us)
{
    struct mgc_catalog *c = b->q->spec.catalog;
    size_t bytes = mgc_path_dir_bytes(path);
    char dir[MGC_PATH_BYTES_MAX + 1];
    struct mgc_dir row = {.id = MGC_ROOT_DIR};
    int64_t latest = -1;

    memcpy(dir, path, bytes);
    dir[bytes] = '\0';
    if (b->births_us >= 0 && strcmp(dir, b->births_dir) == 0) {
        *ret_us = b->births_us;
        return 0;
    }
    for (size_t i = 1; i <= bytes; i++) {
        if (i < bytes && path[i] != '/')
            continue;
        dir[i] = '\0';
        int r = c->ops->dir_find(c, dir, &row);

        if (r < 0)
            return r;
        if (row.born_us <= 0)
            return -ENODATA;
        if (row.born_us > latest)
            latest = row.born_us;
        if (i < bytes)
            dir[i] = '/';
    }
    if (row.id != dir_id)
        return -ESTALE;
    if (latest < 0)
        latest = 0;
    memcpy(b->births_dir, dir, bytes + 1);
    b->births_us = latest;
    *ret_us = latest;
    return 0;
}

/* The catalog's side: the row is still this path, and nothing in it is younger than the horizon. */
static int check_births(struct batch *b, struct item *it)
{
    struct mgc_catalog *c = b->q->spec.catalog;
    const struct mgc_candidate *candidate = it->candidate;
    struct entry_of entry = {.path = candidate->path, .held = &it->held};
    int64_t above_us = 0;
    int r = c->ops->entry_by_id(c, candidate->entry_id, take_entry, &entry);

    if (r == -ENOENT)
        return changed(&it->why, candidate->path, "its entry is gone");
    if (r < 0)
        return mgc_err_set(&it->why, r, "could not read entry of '%s'", MGC_SHOW(candidate->path));
    if (strcmp(entry.name, mgc_path_leaf(candidate->path)) != 0)
        return changed(&it->why, candidate->path, "renamed since it was judged");
    r = dir_births(b, candidate->path, it->held.dir_id, &above_us);
    if (r == -ENOENT || r == -ESTALE)
        return changed(&it->why, candidate->path, "its directory is another one now");
    if (r == -ENODATA || it->held.born_us <= 0)
        return changed(&it->why, candidate->path, "its birth is not known");
    if (r < 0)
        return mgc_err_set(&it->why, r, "could not read directories of '%s'",
                           MGC_SHOW(candidate->path));
    if (entry.latest_us > candidate->horizon_us || above_us > candidate->horizon_us)
        return changed(&it->why, candidate->path,
                       "it or a directory above is younger than the "
                       "horizon");
    return 0;
}

static int refuse_unsettled(void *arg, const struct mgc_held *held)
{
    (void)arg;
    return held->state == MGC_HELD_HELD ? 0 : MGC_E_CONFLICT;
}

/* Before the commit: leaves nothing behind when it says no. */
static int check_first(struct batch *b, size_t index)
{
    struct mgc_quarantine *q = b->q;
    struct mgc_catalog *c = q->spec.catalog;
    struct item *it = &b->items[index];
    const char *path = it->candidate->path, *leaf;
    int r = mgc_path_check(path);

    if (r < 0)
        return mgc_err_set(&it->why, r, "could not move file '%s'", MGC_SHOW(path));
    for (size_t i = 0; i < index; i++)
        if (b->items[i].outcome->code == 0 && strcmp(b->items[i].candidate->path, path) == 0)
            return changed(&it->why, path, "named twice in one batch");
    mgc_autofd parent = mgc_open_parent(q->spec.os, q->spec.home->root_fd, path, &leaf, &it->why);
    if (parent < 0)
        return parent == -ENOTDIR || parent == -ELOOP ? -ENOENT : parent;
    r = q->spec.os->stat(q->spec.os, parent, "", &it->parent);
    if (r == 0)
        r = q->spec.os->stat(q->spec.os, parent, leaf, &it->held.stat);
    if (r < 0)
        return mgc_err_set(&it->why, r, "could not inspect file '%s'", MGC_SHOW(path));
    r = check_stat(q, it->candidate, &it->held.stat, &it->why);
    if (r == 0)
        r = check_births(b, it);
    if (r < 0)
        return r;
    /* An alarm that waits for an operator keeps its path. */
    r = c->ops->held_scan(c, 0, MGC_HELD_PAGE, path, refuse_unsettled, NULL, &it->why);
    if (r == MGC_E_CONFLICT)
        return mgc_err_say(&it->why, r, "could not move file '%s': an earlier move is not settled",
                           MGC_SHOW(path));
    return r < 0 ? r : 0;
}

/* ---- one file, under its path lock ---- */

static int look_again(struct mgc_quarantine *q, struct item *it, int parent, const char *leaf)
{
    const struct mgc_file_stat *was = &it->held.stat;
    struct mgc_file_stat now;
    int r = q->spec.os->stat(q->spec.os, parent, leaf, &now);

    if (r < 0)
        return mgc_err_set(&it->why, r, "could not inspect file '%s'", MGC_SHOW(it->held.path));
    r = check_stat(q, it->candidate, &now, &it->why);
    if (r == 0 && (now.size_bytes != was->size_bytes || now.mtime_us != was->mtime_us ||
                   now.ctime_us != was->ctime_us))
        r = changed(&it->why, it->held.path, "changed since it was judged");
    return r;
}

/* 0: the rename stands.  Else a code, and the name is where it was. */
static int rename_verified(struct mgc_quarantine *q, struct item *it, int parent, const char *leaf)
{
    char slot[MGC_SLOT_NAME_BYTES];
    struct mgc_os *os = q->spec.os;
    int slots = q->spec.home->slots_fd;
    enum mgc_seen seen;
    int renamed, r;

    mgc_slot_name(slot, it->held.id);
    it->tried = true;
    renamed = os->rename_new(os, parent, leaf, slots, slot);
    /* Neither its success nor its failure is believed (H2): the slot is looked at. */
    r = mgc_look_slot(q, it->held.id, &it->held.stat.id, &seen, NULL, &it->why);
    if (r < 0)
        return 0; /* unknown: stays marked, settling decides */
    if (seen == MGC_SEEN_SAME)
        return 0;
    if (seen == MGC_SEEN_OTHER && renamed == 0) {
        (void)os->rename_new(os, slots, slot, parent, leaf);
        return changed(&it->why, it->held.path, "replaced while it was moved");
    }
    if (renamed == -EXDEV || renamed == -EOPNOTSUPP)
        return unmovable(&it->why, it->held.path, "the filesystem cannot rename it safely");
    return mgc_err_set(&it->why, renamed < 0 ? renamed : -ESTALE, "could not move file '%s'",
                       MGC_SHOW(it->held.path));
}

/* Somebody who opened it for writing while its name moved has waited for the lease and has it. */
static int writer_came(struct mgc_quarantine *q, struct item *it, int fd, int parent,
                       const char *leaf)
{
    char slot[MGC_SLOT_NAME_BYTES];
    struct mgc_os *os = q->spec.os;
    int r;

    os->lease_drop(os, fd);
    r = os->lease_read(os, fd);
    if (r == 0) {
        os->lease_drop(os, fd);
        return 0;
    }
    mgc_slot_name(slot, it->held.id);
    r = os->rename_new(os, q->spec.home->slots_fd, slot, parent, leaf);
    return r < 0 ? 0
                 : mgc_err_say(&it->why, MGC_E_BUSY,
                               "could not move file '%s': it is being "
                               "opened for writing",
                               MGC_SHOW(it->held.path));
}

/* Origin, then the name.  > 0: the origin needs the manifest first. */
static int mark_and_rename(struct mgc_quarantine *q, struct item *it, int parent, const char *leaf)
{
    int r = look_again(q, it, parent, leaf);

    if (r < 0)
        return r;
    if (!it->noted && mgc_origin_mark(q, parent, leaf, &it->held) < 0) {
        it->unmarked = true;
        return 1;
    }
    return rename_verified(q, it, parent, leaf);
}

static int with_lease(struct mgc_quarantine *q, struct item *it, int parent, const char *leaf)
{
    struct mgc_os *os = q->spec.os;
    struct mgc_file_stat opened;
    int r;

    if (S_ISLNK(it->held.stat.mode))
        return mark_and_rename(q, it, parent, leaf);
    mgc_autofd fd = os->open_file(os, parent, leaf);
    if (fd < 0)
        return mgc_err_set(&it->why, fd, "could not open file '%s'", MGC_SHOW(it->held.path));
    r = os->stat(os, fd, "", &opened);
    if (r < 0 || !mgc_file_id_equal(&opened.id, &it->held.stat.id))
        return changed(&it->why, it->held.path, "replaced since it was judged");
    r = os->lease_read(os, fd);
    if (r == -EAGAIN || r == -EBUSY)
        return mgc_err_say(&it->why, MGC_E_BUSY, "could not move file '%s': it is open for writing",
                           MGC_SHOW(it->held.path));
    if (r < 0) /* H3: who cannot be seen to have no writer may have one */
        return unmovable(&it->why, it->held.path, "no lease tells whether it has a writer");
    r = mark_and_rename(q, it, parent, leaf);
    if (r == 0)
        return writer_came(q, it, fd, parent, leaf);
    os->lease_drop(os, fd);
    return r;
}

/* The node is marked before its name moves (H1), and unmarked only when the name is known to be
 * where it was. */
static int with_mark(struct mgc_quarantine *q, struct item *it, int parent, const char *leaf)
{
    int r;

    if (q->spec.tree != NULL) {
        r = mgc_tree_hold(q->spec.tree, &it->held.stat);
        if (r < 0)
            return mgc_err_say(&it->why, r, "could not move file '%s': it is in use",
                               MGC_SHOW(it->held.path));
    }
    r = with_lease(q, it, parent, leaf);
    if (r != 0 && q->spec.tree != NULL)
        mgc_tree_release(q->spec.tree, &it->held.stat);
    return r;
}

/* 0: tried, the names will tell.  > 0: note the origin, then again.  < 0: the file stays. */
static int take(struct mgc_quarantine *q, struct item *it)
{
    struct mgc_os *os = q->spec.os;
    struct mgc_file_stat dir;
    struct mgc_pathlock lock;
    const char *leaf = mgc_path_leaf(it->held.path);
    int r;

    lock = mgc_pathlock_take(q->spec.locks, it->parent.dev, it->parent.id.ino, leaf,
                             MGC_PATHLOCK_EXCLUSIVE);
    /* Opened by path again: a directory above may have been renamed since (H7). */
    mgc_autofd parent = mgc_open_parent(os, q->spec.home->root_fd, it->held.path, &leaf, &it->why);
    r = parent < 0 ? parent : os->stat(os, parent, "", &dir);
    if (r < 0)
        (void)mgc_err_set(&it->why, r, "could not open directory of '%s'", MGC_SHOW(it->held.path));
    else if (dir.dev != it->parent.dev || dir.id.ino != it->parent.id.ino)
        r = changed(&it->why, it->held.path, "its directory is another one now");
    else
        r = with_mark(q, it, parent, leaf);
    mgc_pathlock_drop(&lock);
    return r;
}

/* ---- a batch ---- */

static int flush(struct mgc_quarantine *q, struct mgc_err *err)
{
    return q->spec.recorder != NULL ? mgc_recorder_flush(q->spec.recorder, err) : 0;
}

static int check_all(struct batch *b, int64_t run, struct mgc_err *err)
{
    int r = flush(b->q, err);

    if (r < 0)
        return r;
    b->births_us = -1;
    for (size_t i = 0; i < b->count; i++) {
        struct item *it = &b->items[i];

        it->held = (struct mgc_held){
            .state = MGC_HELD_MOVING,
            .reason = MGC_REASON_ORPHAN,
            .path = it->candidate->path,
            .restore_to = "",
            .entry_id = it->candidate->entry_id,
            .run = run,
        };
        it->outcome->code = check_first(b, i);
        it->outcome->bytes = it->held.stat.size_bytes;
    }
    return 0;
}

/* Q2: one commit announces everything that passed the first look. */
static int announce(struct batch *b, struct mgc_err *err)
{
    struct mgc_catalog *c = b->q->spec.catalog;
    mgc_autofree struct mgc_held *rows = calloc(b->count, sizeof(*rows));
    size_t n = 0;
    int r;

    if (rows == NULL)
        return mgc_err_set(err, -ENOMEM, "could not move %zu files", b->count);
    for (size_t i = 0; i < b->count; i++)
        if (b->items[i].outcome->code == 0)
            rows[n++] = b->items[i].held;
    if (n == 0)
        return 0;
    r = c->ops->held_begin(c, rows, n, err);
    if (r < 0) {
        b->q->unsettled = true; /* an error does not prove that nothing was written */
        return r;
    }
    n = 0;
    for (size_t i = 0; i < b->count; i++)
        if (b->items[i].outcome->code == 0) {
            b->items[i].held.id = rows[n++].id;
            b->items[i].begun = true;
            MGC_ASSERT(b->items[i].held.id > 0);
        }
    return 0;
}

/* Births once more, after the commit: what was renamed meanwhile is recorded by now (H7). */
static void check_again(struct batch *b)
{
    struct mgc_err why = {0};
    int r = flush(b->q, &why);

    b->births_us = -1;
    for (size_t i = 0; i < b->count; i++) {
        struct item *it = &b->items[i];

        if (!it->begun)
            continue;
        if (r < 0)
            mgc_err_copy(&it->why, &why);
        it->outcome->code = r < 0 ? r : check_births(b, it);
    }
}

static void take_all(struct batch *b)
{
    mgc_autobuf records = {0};
    struct mgc_quarantine *q = b->q;
    struct mgc_err why = {0};
    int r;

    for (size_t i = 0; i < b->count; i++) {
        struct item *it = &b->items[i];

        if (!it->begun || it->outcome->code != 0)
            continue;
        r = take(q, it);
        it->outcome->code = r > 0 ? 0 : r;
        if (r <= 0)
            continue;
        mgc_origin_encode(&records, &it->held, q->spec.os->now_us(q->spec.os), true);
        mgc_buf_addc(&records, '\n');
    }
    /* Not under a path lock: this waits for the disk. */
    r = mgc_origin_note(q, &records, &why);
    for (size_t i = 0; i < b->count; i++) {
        struct item *it = &b->items[i];

        if (!it->unmarked)
            continue;
        it->noted = r == 0;
        if (r < 0)
            mgc_err_copy(&it->why, &why);
        it->outcome->code = r < 0 ? r : take(q, it);
        MGC_ASSERT(it->outcome->code <= 0);
    }
}

static int settle_all(struct batch *b, struct mgc_err *err)
{
    struct mgc_recover_result tally = {0};
    mgc_autofree struct mgc_held_row *rows = calloc(b->count, sizeof(*rows));
    size_t n = 0;
    int r;

    if (rows == NULL) {
        b->q->unsettled = true;
        return mgc_err_set(err, -ENOMEM, "could not settle %zu files", b->count);
    }
    for (size_t i = 0; i < b->count; i++)
        if (b->items[i].begun)
            rows[n++] = (struct mgc_held_row){.held = b->items[i].held,
                                              .path = (char *)(uintptr_t)b->items[i].held.path,
                                              .code = 1,
                                              .still = !b->items[i].tried};
    r = mgc_settle_moves(b->q, rows, n, &tally, err);
    n = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct item *it = &b->items[i];
        const struct mgc_held_row *row;

        if (!it->begun)
            continue;
        row = &rows[n++];
        it->held.state = row->held.state;
        it->held.held_us = row->held.held_us;
        if (row->code == 0) {
            it->outcome->code = 0;
            it->outcome->held_id = row->held.id;
        } else if (row->code != -ESTALE || it->outcome->code == 0)
            it->outcome->code = row->code; /* a refusal of our own says more than "not moved" */
    }
    return r;
}

static void tell_moves(struct batch *b, struct mgc_notices *notices)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct item *it = &b->items[i];

        if (!it->begun || it->held.state != MGC_HELD_HELD)
            continue;
        mgc_notice_event(b->q, notices, MGC_EVENT_MOVE, &it->held,
                         mgc_held_reason_name(it->held.reason), NULL);
        mgc_notice_change(b->q, notices, it->held.path, true);
    }
}

static int move_locked(struct batch *b, int64_t run, struct mgc_held_rows *leftovers,
                       struct mgc_notices *notices, struct mgc_err *err)
{
    struct mgc_quarantine *q = b->q;
    int r = mgc_settle_leftovers(q, leftovers, notices, err);

    if (r == 0 && q->spec.home->slots_elsewhere)
        r = mgc_err_say(err, MGC_E_UNMOVABLE,
                        "could not move files: the quarantine lies on another "
                        "filesystem");
    if (r == 0)
        r = mgc_notices_reserve(notices, 2 * b->count, err);
    if (r == 0)
        r = check_all(b, run, err);
    if (r == 0)
        r = announce(b, err);
    if (r < 0) {
        for (size_t i = 0; i < b->count; i++)
            b->items[i].outcome->code = r;
        return r;
    }
    check_again(b);
    take_all(b);
    r = settle_all(b, err);
    tell_moves(b, notices);
    return r;
}

static void say_why(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        struct mgc_move_outcome *o = b->items[i].outcome;
        const char *text = b->items[i].why.text;

        o->why[0] = '\0';
        if (o->code < 0)
            (void)mgc_escape(o->why, sizeof(o->why),
                             text[0] != '\0' ? text : mgc_code_text(o->code),
                             strlen(text[0] != '\0' ? text : mgc_code_text(o->code)));
    }
}

int mgc_quarantine_move(struct mgc_quarantine *q, const struct mgc_candidate *candidates,
                        size_t count, int64_t run, struct mgc_move_outcome *outcomes,
                        struct mgc_err *err)
{
    mgc_autofree struct item *items = calloc(count + 1, sizeof(*items));
    mgc_autofree struct batch *b = calloc(1, sizeof(*b));
    mgc_autonotices notices = {0};
    mgc_autorows leftovers = {0};
    int r;

    MGC_ASSERT(count <= MGC_MOVE_BATCH_MAX);
    for (size_t i = 0; i < count; i++)
        outcomes[i] = (struct mgc_move_outcome){.code = -ENOMEM};
    if (items == NULL || b == NULL)
        return mgc_err_set(err, -ENOMEM, "could not move %zu files", count);
    for (size_t i = 0; i < count; i++) {
        items[i].candidate = &candidates[i];
        items[i].outcome = &outcomes[i];
    }
    b->q = q;
    b->items = items;
    b->count = count;
    MGC_ASSERT(pthread_mutex_lock(&q->acts) == 0);
    r = move_locked(b, run, &leftovers, &notices, err);
    say_why(b);
    MGC_ASSERT(pthread_mutex_unlock(&q->acts) == 0);
    mgc_notices_tell(q, &notices);
    return r;
}
