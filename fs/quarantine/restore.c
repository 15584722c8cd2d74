/*
 * restore.c -- a held file goes back into the tree, never over anything.
 *
 *   HELD --restoring--> RESTORING --rename, sync, returned--> (no row, an entry again)
 *     ^                     |
 *     +--------back---------+   the path is taken, or the rename failed
 *
 * Directions are those of a move turned round: the row is durable before the name moves (Q2), the
 * tree is synced before the quarantine (Q3), settle.c decides from the names (Q4), and only the
 * file whose identity is in the row goes out (Q5).
 */
#include "quarantine_priv.h"

#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

struct restore {
    struct mgc_quarantine *q;
    int64_t id;
    const char *to;
    bool heal;
    const char *who;
    char target[MGC_PATH_BYTES_MAX + 1];
    struct mgc_held_rows row; /* one */
    struct mgc_held_rows leftovers;
    struct mgc_notices notices;
};

static int load(struct restore *a, struct mgc_err *err)
{
    struct mgc_catalog *c = a->q->spec.catalog;
    int r = c->ops->held_get(c, a->id, mgc_held_rows_add, &a->row);

    if (r < 0)
        return mgc_err_set(err, r, "could not restore held file '%lld'", (long long)a->id);
    MGC_ASSERT(a->row.count == 1);
    if (a->row.row[0].held.state != MGC_HELD_HELD)
        return mgc_err_say(err, MGC_E_CONFLICT, "could not restore file '%s': it is %s",
                           MGC_SHOW(a->row.row[0].path),
                           mgc_held_state_name(a->row.row[0].held.state));
    if (a->to == NULL)
        r = mgc_held_home(a->q, &a->row.row[0].held, a->target, sizeof(a->target));
    else
        r = mgc_path_join(a->target, sizeof(a->target), "", a->to);
    if (r == 0)
        r = mgc_path_check(a->target);
    if (r < 0)
        return mgc_err_set(err, r, "could not restore to path '%s'", MGC_SHOW(a->target));
    return 0;
}

static int taken(struct restore *a, struct mgc_err *err)
{
    (void)mgc_err_set(err, -EEXIST, "could not restore file '%s'", MGC_SHOW(a->target));
    (void)mgc_err_hint(err, "Restore it to another path with --to.");
    mgc_notice_event(a->q, &a->notices, MGC_EVENT_REFUSED, &a->row.row[0].held,
                     "restore: the path is taken", a->who);
    return -EEXIST;
}

/* Says no before anything is written, where that can be told already. */
static int check(struct restore *a, struct mgc_err *err)
{
    const struct mgc_held *held = &a->row.row[0].held;
    enum mgc_seen slot, target;
    int r = mgc_look_slot(a->q, held->id, &held->stat.id, &slot, NULL, err);

    if (r == 0)
        r = mgc_look_path(a->q, a->target, &held->stat.id, &target, NULL, err);
    if (r < 0)
        return r;
    if (slot != MGC_SEEN_SAME) {
        (void)mgc_err_say(err, MGC_E_CONFLICT,
                          "could not restore file '%s': its slot %lld does not hold it",
                          MGC_SHOW(held->path), (long long)held->id);
        return mgc_err_hint(err, "Nothing was touched; look at .mediagcfs/slots."), MGC_E_CONFLICT;
    }
    return target == MGC_SEEN_ABSENT ? 0 : taken(a, err);
}

static int rename_out(struct restore *a, struct mgc_err *err)
{
    const struct mgc_held *held = &a->row.row[0].held;
    struct mgc_os *os = a->q->spec.os;
    char slot[MGC_SLOT_NAME_BYTES];
    struct mgc_file_stat dir;
    struct mgc_pathlock lock;
    enum mgc_seen seen;
    const char *leaf;
    int r;

    mgc_slot_name(slot, held->id);
    mgc_autofd parent = mgc_open_parent(os, a->q->spec.home->root_fd, a->target, &leaf, err);
    r = parent < 0 ? parent : os->stat(os, parent, "", &dir);
    if (r < 0)
        return mgc_err_set(err, r, "could not open directory of '%s'", MGC_SHOW(a->target));
    lock = mgc_pathlock_take(a->q->spec.locks, dir.dev, dir.id.ino, leaf, MGC_PATHLOCK_EXCLUSIVE);
    r = mgc_look_slot(a->q, held->id, &held->stat.id, &seen, NULL, err);
    if (r == 0 && seen != MGC_SEEN_SAME)
        r = MGC_E_CONFLICT;
    if (r == 0)
        r = os->rename_new(os, a->q->spec.home->slots_fd, slot, parent, leaf);
    mgc_pathlock_drop(&lock);
    return r < 0 ? mgc_err_set(err, r, "could not restore file '%s'", MGC_SHOW(a->target)) : 0;
}

static int settle(struct restore *a, int renamed, const struct mgc_err *why, struct mgc_err *err)
{
    struct mgc_recover_result tally = {0};
    struct mgc_held_row *row = &a->row.row[0];
    int r = mgc_settle_restore(a->q, row, &tally, err);

    if (r == 0) {
        mgc_notice_event(a->q, &a->notices, a->heal ? MGC_EVENT_HEAL : MGC_EVENT_RESTORE,
                         &row->held, strcmp(a->target, row->path) == 0 ? NULL : a->target, a->who);
        mgc_notice_change(a->q, &a->notices, a->target, false);
        return 0;
    }
    if (r != -ESTALE)
        return r;
    if (renamed == -EEXIST)
        return taken(a, err);
    if (renamed < 0)
        mgc_err_copy(err, why);
    else
        (void)mgc_err_set(err, r, "could not restore file '%s'", MGC_SHOW(a->target));
    return renamed < 0 ? renamed : r;
}

static int restore_locked(struct restore *a, struct mgc_err *err)
{
    struct mgc_quarantine *q = a->q;
    struct mgc_catalog *c = q->spec.catalog;
    struct mgc_err why = {0};
    struct mgc_held_row *row;
    int r = mgc_settle_leftovers(q, &a->leftovers, &a->notices, err), renamed;

    /* What applications did to the target's directories is recorded before we add to it. */
    if (r == 0 && q->spec.recorder != NULL)
        r = mgc_recorder_flush(q->spec.recorder, err);
    if (r == 0)
        r = mgc_notices_reserve(&a->notices, 4, err);
    if (r == 0)
        r = load(a, err);
    if (r == 0)
        r = check(a, err);
    if (r < 0)
        return r;
    row = &a->row.row[0];
    free(row->restore_to);
    row->restore_to = strdup(a->target);
    row->held.restore_to = row->restore_to;
    row->held.heal = a->heal;
    if (row->restore_to == NULL)
        return mgc_err_set(err, -ENOMEM, "could not restore file '%s'", MGC_SHOW(a->target));
    r = c->ops->held_restoring(c, a->id, a->target, a->heal, err);
    if (r < 0) {
        q->unsettled = true; /* an error does not prove that nothing was written */
        return r;
    }
    renamed = mgc_dirs_make(q, a->target, &why);
    if (renamed == 0)
        renamed = rename_out(a, &why);
    /* Ignoring a failure: the verification that follows it finds the directories just made. */
    r = q->spec.recorder != NULL ? mgc_recorder_flush(q->spec.recorder, NULL) : 0;
    (void)r;
    return settle(a, renamed, &why, err);
}

int mgc_quarantine_restore(struct mgc_quarantine *q, int64_t held_id, const char *to, bool heal,
                           const char *who, struct mgc_err *err)
{
    mgc_autofree struct restore *a = calloc(1, sizeof(*a));
    int r;

    if (a == NULL)
        return mgc_err_set(err, -ENOMEM, "could not restore held file '%lld'", (long long)held_id);
    a->q = q;
    a->id = held_id;
    a->to = to;
    a->heal = heal;
    a->who = who;
    MGC_ASSERT(pthread_mutex_lock(&q->acts) == 0);
    r = restore_locked(a, err);
    MGC_ASSERT(pthread_mutex_unlock(&q->acts) == 0);
    mgc_notices_tell(q, &a->notices);
    mgc_notices_done(&a->notices);
    mgc_held_rows_done(&a->leftovers);
    mgc_held_rows_done(&a->row);
    return r;
}
