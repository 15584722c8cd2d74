/*
 * settle.c -- what is to be done with a row, told by the names alone.
 *
 * The normal path and recovery end here (Q4): a call that failed may have happened, a call that
 * succeeded may not be durable, so neither is believed.  Two look-ups and a table decide.
 *
 * MOVING (SAME: identity as in the row; OTHER: some other file):
 *
 *   media    slot     what happened                             verdict
 *   SAME     ABSENT   stopped before the rename                 FORGET  the file stays live
 *   ABSENT   SAME     stopped after the rename                  FINISH
 *   OTHER    SAME     moved; the application reused the path    FINISH
 *   ABSENT   ABSENT   the application removed it first          FORGET
 *   OTHER    ABSENT   the application replaced it first         FORGET
 *   ABSENT   OTHER    it was replaced while we moved by name    RETURN  never over anything
 *   (else)   (else)   not reachable while rename is atomic      ALARM
 *
 *   One thing is added: a file whose size or modification time is no longer what the row says was
 *   written through a descriptor while its name moved.  It is in use: FINISH becomes RETURN as
 *   long as its path is free.
 *
 * RESTORING (target: where it goes):
 *
 *   target   slot     what happened                             verdict
 *   SAME     ABSENT   renamed                                   FINISH
 *   ABSENT   SAME     stopped before the rename                 BACK    held, to be restored again
 *   OTHER    SAME     the path was taken first                  BACK
 *   ABSENT   ABSENT   restored, then removed by the application FORGET
 *   OTHER    ABSENT   restored, then replaced                   FORGET
 *   (any)    OTHER    a stranger in the slot                    ALARM
 *   SAME     SAME     not reachable while rename is atomic      ALARM
 *
 * PURGING: slot ABSENT FORGET; SAME BACK (the proof may have grown old: it is made again); OTHER
 * ALARM.
 */
#include "quarantine_priv.h"

#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

#define ABSENT MGC_SEEN_ABSENT
#define SAME MGC_SEEN_SAME
#define OTHER MGC_SEEN_OTHER

/* clang-format off */
static const enum mgc_settle of_move[MGC_SEEN_COUNT][MGC_SEEN_COUNT] = { /* [media][slot] */
    [ABSENT] = {[ABSENT] = MGC_SETTLE_FORGET, [SAME] = MGC_SETTLE_FINISH, [OTHER] = MGC_SETTLE_RETURN},
    [SAME]   = {[ABSENT] = MGC_SETTLE_FORGET, [SAME] = MGC_SETTLE_ALARM,  [OTHER] = MGC_SETTLE_ALARM},
    [OTHER]  = {[ABSENT] = MGC_SETTLE_FORGET, [SAME] = MGC_SETTLE_FINISH, [OTHER] = MGC_SETTLE_ALARM},
};
static const enum mgc_settle of_restore[MGC_SEEN_COUNT][MGC_SEEN_COUNT] = { /* [target][slot] */
    [ABSENT] = {[ABSENT] = MGC_SETTLE_FORGET, [SAME] = MGC_SETTLE_BACK,  [OTHER] = MGC_SETTLE_ALARM},
    [SAME]   = {[ABSENT] = MGC_SETTLE_FINISH, [SAME] = MGC_SETTLE_ALARM, [OTHER] = MGC_SETTLE_ALARM},
    [OTHER]  = {[ABSENT] = MGC_SETTLE_FORGET, [SAME] = MGC_SETTLE_BACK,  [OTHER] = MGC_SETTLE_ALARM},
};
static const enum mgc_settle of_purge[MGC_SEEN_COUNT] = {
    [ABSENT] = MGC_SETTLE_FORGET, [SAME] = MGC_SETTLE_BACK, [OTHER] = MGC_SETTLE_ALARM,
};
/* clang-format on */

enum mgc_settle mgc_settle_of_move(enum mgc_seen media, enum mgc_seen slot)
{
    MGC_ASSERT(media < MGC_SEEN_COUNT);
    MGC_ASSERT(slot < MGC_SEEN_COUNT);
    return of_move[media][slot];
}

enum mgc_settle mgc_settle_of_restore(enum mgc_seen target, enum mgc_seen slot)
{
    MGC_ASSERT(target < MGC_SEEN_COUNT);
    MGC_ASSERT(slot < MGC_SEEN_COUNT);
    return of_restore[target][slot];
}

enum mgc_settle mgc_settle_of_purge(enum mgc_seen slot)
{
    MGC_ASSERT(slot < MGC_SEEN_COUNT);
    return of_purge[slot];
}

/* A fault leaves the row for the next settling; an alarm is told and left to an operator. */
static int fault(struct mgc_quarantine *q, struct mgc_held_row *row, int code)
{
    row->code = code;
    if (code != MGC_E_CONFLICT)
        q->unsettled = true;
    return code;
}

static int alarm_row(struct mgc_quarantine *q, struct mgc_held_row *row,
                     struct mgc_recover_result *tally, struct mgc_err *err)
{
    char slot[MGC_SLOT_NAME_BYTES];

    mgc_slot_name(slot, row->held.id);
    row->verdict = MGC_SETTLE_ALARM;
    tally->alarms++;
    (void)mgc_err_set(err, MGC_E_CONFLICT,
                      "could not settle file '%s': names and journal disagree about slot %s",
                      MGC_SHOW(row->path), slot);
    (void)mgc_err_hint(err, "Nothing was touched; compare the path with .mediagcfs/slots/%s.",
                       slot);
    return fault(q, row, MGC_E_CONFLICT);
}

/* ---- moves ---- */

static int judge_move(struct mgc_quarantine *q, struct mgc_held_row *row, struct mgc_err *err)
{
    const struct mgc_held *held = &row->held;
    struct mgc_file_stat in_slot;
    enum mgc_seen media, slot;
    int r = mgc_look_path(q, held->path, &held->stat.id, &media, NULL, err);

    if (r == 0)
        r = mgc_look_slot(q, held->id, &held->stat.id, &slot, &in_slot, err);
    if (r < 0)
        return fault(q, row, r);
    row->verdict = mgc_settle_of_move(media, slot);
    if (row->verdict == MGC_SETTLE_FINISH && media == ABSENT &&
        (in_slot.size_bytes != held->stat.size_bytes || in_slot.mtime_us != held->stat.mtime_us))
        row->verdict = MGC_SETTLE_RETURN;
    return 0;
}

static int put_back(struct mgc_quarantine *q, struct mgc_held_row *row, struct mgc_err *err)
{
    char slot[MGC_SLOT_NAME_BYTES];
    struct mgc_os *os = q->spec.os;
    struct mgc_file_stat dir;
    struct mgc_pathlock lock;
    const char *leaf;
    int r;

    mgc_slot_name(slot, row->held.id);
    mgc_autofd parent = mgc_open_parent(os, q->spec.home->root_fd, row->path, &leaf, err);
    if (parent < 0)
        return parent;
    r = os->stat(os, parent, "", &dir);
    if (r < 0)
        return mgc_err_set(err, r, "could not inspect directory of '%s'", MGC_SHOW(row->path));
    lock = mgc_pathlock_take(q->spec.locks, dir.dev, dir.id.ino, leaf, MGC_PATHLOCK_EXCLUSIVE);
    r = os->rename_new(os, q->spec.home->slots_fd, slot, parent, leaf);
    mgc_pathlock_drop(&lock);
    if (r < 0)
        return mgc_err_set(err, r, "could not put back file '%s'", MGC_SHOW(row->path));
    r = os->sync_dir(os, parent); /* where the file is to be comes first, as in Q3 */
    if (r < 0)
        return mgc_err_set(err, r, "could not sync directory of '%s'", MGC_SHOW(row->path));
    r = mgc_sync_slots(q, err);
    row->still = r == 0;
    return r;
}

static int decide_move(struct mgc_quarantine *q, struct mgc_held_row *row,
                       struct mgc_recover_result *tally, struct mgc_err *err)
{
    int r = judge_move(q, row, err), back;

    if (r == 0 && row->verdict == MGC_SETTLE_RETURN) {
        back = put_back(q, row, err);
        r = judge_move(q, row, err); /* the names decide, also when the rename says it failed */
        if (r == 0 && row->verdict == MGC_SETTLE_FORGET && back == 0)
            tally->returned++;
        else if (r == 0 && back < 0 && back != -EEXIST)
            r = fault(q, row, back);
    }
    if (r == 0 && (row->verdict == MGC_SETTLE_ALARM || row->verdict == MGC_SETTLE_RETURN))
        r = alarm_row(q, row, tally, err);
    return r;
}

static bool same_dir(const char *a, const char *b)
{
    size_t bytes = mgc_path_dir_bytes(a);

    return bytes == mgc_path_dir_bytes(b) && memcmp(a, b, bytes) == 0;
}

/* Q3: the quarantine first, then every directory once. */
static void sync_finished(struct mgc_quarantine *q, struct mgc_held_row *rows, size_t count,
                          int *worst, struct mgc_err *err)
{
    int r = 1;

    for (size_t i = 0; i < count; i++) {
        struct mgc_held_row *row = &rows[i];
        const struct mgc_held_row *earlier = NULL;

        if (row->code <= 0 || row->verdict != MGC_SETTLE_FINISH)
            continue;
        if (r == 1)
            r = mgc_sync_slots(q, err);
        for (size_t k = 0; k < i && earlier == NULL; k++)
            if (rows[k].verdict == MGC_SETTLE_FINISH && same_dir(rows[k].path, row->path))
                earlier = &rows[k];
        if (r == 0 && earlier == NULL)
            r = mgc_sync_dir_of(q, row->path, err);
        if (r < 0) /* nothing in this batch counts as durable, what was synced before included */
            *worst = r;
    }
    for (size_t i = 0; r < 0 && i < count; i++)
        if (rows[i].code > 0 && rows[i].verdict == MGC_SETTLE_FINISH)
            (void)fault(q, &rows[i], r);
}

/*
 * A file that went into its slot and back must be back on the disk too before its row and origin
 * go: a power cut could bring the first rename without the second.
 */
static int sync_forgotten(struct mgc_quarantine *q, struct mgc_held_row *rows, size_t count,
                          struct mgc_err *err)
{
    bool any = false;
    int r = 0;

    for (size_t i = 0; r == 0 && i < count; i++)
        if (rows[i].code > 0 && rows[i].verdict == MGC_SETTLE_FORGET && !rows[i].still) {
            r = mgc_sync_dir_of(q, rows[i].path, err);
            any = true;
        }
    if (r == 0 && any)
        r = mgc_sync_slots(q, err);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].code <= 0 || rows[i].verdict != MGC_SETTLE_FORGET)
            continue;
        if (r < 0)
            (void)fault(q, &rows[i], r);
        else
            mgc_origin_unmark_path(q, rows[i].path, rows[i].held.id);
    }
    return r;
}

typedef int commit_fn(struct mgc_quarantine *q, const int64_t *ids, size_t count, int64_t now_us,
                      struct mgc_err *err);

static int commit_finish(struct mgc_quarantine *q, const int64_t *ids, size_t count, int64_t now_us,
                         struct mgc_err *err)
{
    return q->spec.catalog->ops->held_finish(q->spec.catalog, ids, count, now_us, err);
}

static int commit_forget(struct mgc_quarantine *q, const int64_t *ids, size_t count, int64_t now_us,
                         struct mgc_err *err)
{
    (void)now_us;
    return q->spec.catalog->ops->held_forget(q->spec.catalog, ids, count, err);
}

/* One commit for all rows with that verdict; `done` becomes their code. */
static int commit(struct mgc_quarantine *q, struct mgc_held_row *rows, size_t count,
                  enum mgc_settle verdict, commit_fn *how, int done, int64_t *ret_count,
                  struct mgc_err *err)
{
    int64_t now_us = q->spec.os->now_us(q->spec.os);
    mgc_autofree int64_t *ids = calloc(count + 1, sizeof(*ids));
    size_t n = 0;
    int r = ids != NULL ? 0 : mgc_err_set(err, -ENOMEM, "could not settle %zu files", count);

    for (size_t i = 0; r == 0 && i < count; i++)
        if (rows[i].code > 0 && rows[i].verdict == verdict)
            ids[n++] = rows[i].held.id;
    if (r == 0 && n > 0)
        r = how(q, ids, n, now_us, err);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].code <= 0 || rows[i].verdict != verdict)
            continue;
        if (r < 0)
            (void)fault(q, &rows[i], r);
        else {
            rows[i].code = done;
            rows[i].held.held_us = verdict == MGC_SETTLE_FINISH ? now_us : rows[i].held.held_us;
        }
    }
    if (r == 0)
        *ret_count += (int64_t)n;
    return r;
}

int mgc_settle_moves(struct mgc_quarantine *q, struct mgc_held_row *rows, size_t count,
                     struct mgc_recover_result *tally, struct mgc_err *err)
{
    int64_t returned = tally->returned;
    int worst = 0, r;

    for (size_t i = 0; i < count; i++) {
        if (rows[i].code <= 0)
            continue;
        r = decide_move(q, &rows[i], tally, err);
        if (r < 0 && (worst == 0 || worst == MGC_E_CONFLICT))
            worst = r;
    }
    sync_finished(q, rows, count, &worst, err);
    r = sync_forgotten(q, rows, count, err);
    if (r < 0)
        worst = r;
    r = commit(q, rows, count, MGC_SETTLE_FINISH, commit_finish, 0, &tally->finished, err);
    if (r < 0)
        worst = r;
    tally->forgotten -= tally->returned - returned; /* a file put back is counted once */
    r = commit(q, rows, count, MGC_SETTLE_FORGET, commit_forget, -ESTALE, &tally->forgotten, err);
    if (r < 0) {
        tally->forgotten += tally->returned - returned;
        worst = r;
    }
    for (size_t i = 0; i < count; i++)
        if (rows[i].code == 0)
            rows[i].held.state = MGC_HELD_HELD;
    return worst;
}

/* ---- restores ---- */

static int forget_one(struct mgc_quarantine *q, struct mgc_held_row *row, int64_t *counter,
                      struct mgc_err *err)
{
    int r = commit_forget(q, &row->held.id, 1, 0, err);

    if (r < 0)
        return fault(q, row, r);
    (*counter)++;
    row->code = -ENOENT;
    return row->code;
}

static int finish_restore(struct mgc_quarantine *q, struct mgc_held_row *row,
                          struct mgc_recover_result *tally, struct mgc_err *err)
{
    struct mgc_catalog *c = q->spec.catalog;
    const struct mgc_held *held = &row->held;
    struct mgc_file_stat stat;
    enum mgc_seen target;
    int r;

    r = mgc_sync_dir_of(q, row->restore_to, err); /* where it is to be comes first */
    if (r == 0)
        r = mgc_sync_slots(q, err);
    if (r < 0)
        return fault(q, row, r);
    /* Not before: a power cut may still bring it back into its slot, which needs its origin. */
    mgc_origin_unmark_path(q, row->restore_to, held->id);
    r = mgc_look_path(q, row->restore_to, &held->stat.id, &target, &stat, err);
    if (r < 0)
        return fault(q, row, r);
    if (target != SAME)
        return forget_one(q, row, &tally->forgotten, err);
    r = c->ops->held_returned(c, held->id, row->restore_to, &stat, q->spec.os->now_us(q->spec.os),
                              held->heal, err);
    if (r < 0)
        return fault(q, row, r);
    tally->restored++;
    row->code = 0;
    /* The application may have been at the name during the commit, and recorded before it. */
    if (mgc_look_path(q, row->restore_to, &held->stat.id, &target, &stat, NULL) == 0 &&
        target != SAME)
        mgc_record(q, target == ABSENT ? MGC_CHANGE_UNLINK : MGC_CHANGE_CREATE, row->restore_to,
                   &stat);
    return 0;
}

static int keep_held(struct mgc_quarantine *q, struct mgc_held_row *row,
                     struct mgc_recover_result *tally, struct mgc_err *err)
{
    int r = q->spec.catalog->ops->held_back(q->spec.catalog, row->held.id, err);

    if (r < 0)
        return fault(q, row, r);
    tally->kept++;
    row->held.state = MGC_HELD_HELD;
    row->code = -ESTALE;
    return row->code;
}

int mgc_settle_restore(struct mgc_quarantine *q, struct mgc_held_row *row,
                       struct mgc_recover_result *tally, struct mgc_err *err)
{
    const struct mgc_held *held = &row->held;
    enum mgc_seen target, slot;
    int r = mgc_look_path(q, row->restore_to, &held->stat.id, &target, NULL, err);

    if (r == 0)
        r = mgc_look_slot(q, held->id, &held->stat.id, &slot, NULL, err);
    if (r < 0)
        return fault(q, row, r);
    row->verdict = mgc_settle_of_restore(target, slot);
    switch (row->verdict) {
    case MGC_SETTLE_FINISH:
        return finish_restore(q, row, tally, err);
    case MGC_SETTLE_BACK:
        return keep_held(q, row, tally, err);
    case MGC_SETTLE_FORGET:
        r = mgc_sync_slots(q, err);
        return r < 0 ? fault(q, row, r) : forget_one(q, row, &tally->forgotten, err);
    case MGC_SETTLE_RETURN:
    case MGC_SETTLE_ALARM:
        break;
    }
    return alarm_row(q, row, tally, err);
}

/* ---- purges ---- */

int mgc_settle_purges(struct mgc_quarantine *q, struct mgc_held_row *rows, size_t count,
                      struct mgc_recover_result *tally, struct mgc_err *err)
{
    bool gone = false;
    int worst = 0, r = 0;

    for (size_t i = 0; i < count; i++) {
        struct mgc_held_row *row = &rows[i];
        enum mgc_seen slot;

        if (row->code <= 0)
            continue;
        r = mgc_look_slot(q, row->held.id, &row->held.stat.id, &slot, NULL, err);
        row->verdict = r < 0 ? MGC_SETTLE_ALARM : mgc_settle_of_purge(slot);
        if (r < 0)
            (void)fault(q, row, r);
        else if (row->verdict == MGC_SETTLE_ALARM)
            r = alarm_row(q, row, tally, err);
        else if (row->verdict == MGC_SETTLE_BACK && keep_held(q, row, tally, err) != -ESTALE)
            r = row->code;
        gone = gone || row->verdict == MGC_SETTLE_FORGET;
        if (r < 0 && (worst == 0 || worst == MGC_E_CONFLICT))
            worst = r;
    }
    r = gone ? mgc_sync_slots(q, err) : 0;
    for (size_t i = 0; r < 0 && i < count; i++)
        if (rows[i].code > 0)
            (void)fault(q, &rows[i], r);
    if (r == 0)
        r = commit(q, rows, count, MGC_SETTLE_FORGET, commit_forget, 0, &tally->purged, err);
    return r < 0 ? r : worst;
}

/* ---- before every act ---- */

int mgc_settle_leftovers(struct mgc_quarantine *q, struct mgc_held_rows *rows,
                         struct mgc_notices *notices, struct mgc_err *err)
{
    struct mgc_recover_result tally = {0};
    int r;

    if (!q->recovered) {
        (void)mgc_err_set(err, MGC_E_REFUSED, "could not use quarantine '%s': not recovered yet",
                          MGC_PRIVATE_DIR);
        (void)mgc_err_hint(err, "Start again; the first start settles what a crash left behind.");
        return MGC_E_REFUSED;
    }
    if (!q->unsettled)
        return 0;
    r = mgc_recover_rows(q, rows, notices, &tally, err);
    return r;
}
