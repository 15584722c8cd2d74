/*
 * catalog_sqlite_held.c -- the journal of the quarantine.
 *
 *   (no row) --begin--> MOVING --finish--> HELD --restoring--> RESTORING --returned--> (no row)
 *                         |                 ^ |                    |
 *                       forget              | +--purging-> PURGING | --forget--> (no row)
 *                                           +------back-------+----+
 *
 *   J1  A call is one commit for its whole batch, durable on return.
 *   J2  A transition from another state than the picture shows is MGC_E_CONFLICT; one that has
 *       already happened is done (recovery repeats what it cannot know).
 *   J3  At most one MOVING row for a path: across nodes it is the lock on the name.
 */
#include "catalog_priv.h"
#include "store_priv.h"

#include "mediagcfs/path.h"

#define HELD_COLUMNS                                                                               \
    "id, state, reason, path, dir, restore_to, heal, ino, stamp, id_kind, mode, uid, gid, nlink, " \
    "size_bytes, mtime_us, ctime_us, entry, born_us, written_us, creator_uid, held_us, run, "      \
    "pinned, proof_us, proof_run"

_Static_assert(MGC_HELD_MOVING == 0, "the index held_moving says 0");

static int insert(struct mgc_store *s, const struct mgc_held *h)
{
    static const char sql[] = "INSERT INTO held VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                              " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    mgc_autoquery q = mgc_query_open(s, sql);

    mgc_query_int(&q, h->id);
    mgc_query_int(&q, h->state);
    mgc_query_int(&q, h->reason);
    mgc_query_bytes(&q, h->path);
    mgc_query_int(&q, h->dir_id);
    mgc_query_bytes(&q, h->restore_to != NULL ? h->restore_to : "");
    mgc_query_int(&q, h->heal);
    mgc_query_int(&q, (int64_t)h->stat.id.ino);
    mgc_query_int(&q, h->stat.id.stamp);
    mgc_query_int(&q, h->stat.id.kind);
    mgc_query_int(&q, h->stat.mode);
    mgc_query_int(&q, h->stat.uid);
    mgc_query_int(&q, h->stat.gid);
    mgc_query_int(&q, h->stat.nlink);
    mgc_query_int(&q, h->stat.size_bytes);
    mgc_query_int(&q, h->stat.mtime_us);
    mgc_query_int(&q, h->stat.ctime_us);
    mgc_query_int(&q, h->entry_id);
    mgc_query_int(&q, h->born_us);
    mgc_query_int(&q, h->written_us);
    mgc_query_int(&q, (int32_t)h->creator_uid);
    mgc_query_int(&q, h->held_us);
    mgc_query_int(&q, h->run);
    mgc_query_int(&q, h->pinned);
    mgc_query_int(&q, h->proof_us);
    mgc_query_int(&q, h->proof_run);
    return mgc_query_run(&q);
}

static void read_held(struct mgc_query *q, struct mgc_rows *rows, struct mgc_held *h)
{
    h->id = mgc_query_get(q);
    h->state = (enum mgc_held_state)mgc_query_get(q);
    h->reason = (enum mgc_held_reason)mgc_query_get(q);
    h->path = mgc_rows_string(rows, q);
    h->dir_id = mgc_query_get(q);
    h->restore_to = mgc_rows_string(rows, q);
    h->heal = mgc_query_get(q) != 0;
    h->stat.id.ino = (uint64_t)mgc_query_get(q);
    h->stat.id.stamp = mgc_query_get(q);
    h->stat.id.kind = (enum mgc_id_kind)mgc_query_get(q);
    h->stat.mode = (uint32_t)mgc_query_get(q);
    h->stat.uid = (uint32_t)mgc_query_get(q);
    h->stat.gid = (uint32_t)mgc_query_get(q);
    h->stat.nlink = (uint32_t)mgc_query_get(q);
    h->stat.size_bytes = mgc_query_get(q);
    h->stat.mtime_us = mgc_query_get(q);
    h->stat.ctime_us = mgc_query_get(q);
    h->entry_id = mgc_query_get(q);
    h->born_us = mgc_query_get(q);
    h->written_us = mgc_query_get(q);
    h->creator_uid = (uint32_t)mgc_query_get(q);
    h->held_us = mgc_query_get(q);
    h->run = mgc_query_get(q);
    h->pinned = mgc_query_get(q) != 0;
    h->proof_us = mgc_query_get(q);
    h->proof_run = mgc_query_get(q);
}

/* 1: found. */
static int load_one(struct mgc_store *s, int64_t id, struct mgc_rows *rows, struct mgc_held *ret)
{
    static const char sql[] = "SELECT " HELD_COLUMNS " FROM held WHERE id = ?";
    mgc_autoquery q = mgc_query_open(s, sql);
    int r;

    mgc_query_int(&q, id);
    r = mgc_query_step(&q);
    if (r == 1) {
        *ret = (struct mgc_held){0};
        read_held(&q, rows, ret);
    }
    return r == 1 && rows->failed ? -ENOMEM : r;
}

/* The directory the file was in, 0 where it is unknown. */
static int find_dir(struct mgc_store *s, const char *path, int64_t *ret_dir)
{
    char parent[MGC_PATH_BYTES_MAX + 1];
    int r;

    mgc_store_parent_path(path, parent);
    r = mgc_store_dir_find(s, parent, ret_dir);
    if (r == 0)
        *ret_dir = 0;
    return r < 0 ? r : 0;
}

/* ---- into the quarantine ---- */

/* J3.  A second row for the path, in this batch or from before, refuses the batch. */
static int check_free(struct mgc_store *s, const char *path)
{
    static const char sql[] = "SELECT id FROM held WHERE path = ? AND state = 0";
    struct mgc_query q = mgc_query_open(s, sql);
    int64_t id = 0;
    int r;

    mgc_query_bytes(&q, path);
    r = mgc_query_one(&q, &id);
    return r == 1 ? mgc_store_fail(s, MGC_E_BUSY, "'%s' is being moved already (id %lld)",
                                   MGC_SHOW(path), (long long)id)
                  : r;
}

static int begin_one(struct mgc_store *s, const struct mgc_held *row, int64_t *ret_id,
                     int64_t *ret_dir)
{
    struct mgc_held held = *row;
    int r = check_free(s, row->path);

    if (r == 0 && held.dir_id == 0)
        r = find_dir(s, held.path, &held.dir_id);
    if (r == 0)
        r = mgc_store_new_id(s, &held.id);
    if (r < 0)
        return r;
    held.state = MGC_HELD_MOVING;
    held.held_us = 0;
    *ret_id = held.id;
    *ret_dir = held.dir_id;
    return insert(s, &held);
}

static int op_begin(struct mgc_catalog *c, struct mgc_held *rows, size_t count, struct mgc_err *err)
{
    static const char what[] = "announce a move in";
    struct mgc_store *s = mgc_store_of(c);
    mgc_autofree int64_t *made = calloc(count > 0 ? count * 2 : 1, sizeof(*made));
    int r = 0;

    if (made == NULL)
        return mgc_err_set(err, -ENOMEM, "could not announce a move");
    for (size_t i = 0; r == 0 && i < count; i++)
        r = mgc_catalog_check_path(rows[i].path, false, err);
    if (r == 0)
        r = mgc_store_begin(s, false, what, err);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = begin_one(s, &rows[i], &made[2 * i], &made[2 * i + 1]);
    r = mgc_store_end(s, r, what, err);
    for (size_t i = 0; r == 0 && i < count; i++) {
        rows[i].id = made[2 * i];
        rows[i].dir_id = made[2 * i + 1];
        rows[i].state = MGC_HELD_MOVING;
        rows[i].held_us = 0;
    }
    return r;
}

/* ---- transitions ---- */

static int conflict(struct mgc_store *s, int64_t id, int64_t state, const char *verb)
{
    return mgc_store_fail(s, MGC_E_CONFLICT, "held file %lld is %s, it cannot be %s", (long long)id,
                          mgc_held_state_name((enum mgc_held_state)state), verb);
}

static int absent(struct mgc_store *s, int64_t id)
{
    return mgc_store_fail(s, -ENOENT, "there is no held file %lld", (long long)id);
}

/* State, entry and pin of a row; -ENOENT. */
static int look(struct mgc_store *s, int64_t id, int64_t *ret_state, int64_t *ret_entry,
                int64_t *ret_pinned)
{
    static const char sql[] = "SELECT state, entry, pinned FROM held WHERE id = ?";
    mgc_autoquery q = mgc_query_open(s, sql);
    int r;

    mgc_query_int(&q, id);
    r = mgc_query_step(&q);
    if (r < 0)
        return r;
    if (r == 0)
        return absent(s, id);
    *ret_state = mgc_query_get(&q);
    *ret_entry = mgc_query_get(&q);
    *ret_pinned = mgc_query_get(&q);
    return 0;
}

static int set_state(struct mgc_store *s, int64_t id, enum mgc_held_state state)
{
    static const char sql[] = "UPDATE held SET state = ?, restore_to = x'', heal = 0 WHERE id = ?";
    mgc_autoquery q = mgc_query_open(s, sql);

    mgc_query_int(&q, state);
    mgc_query_int(&q, id);
    return mgc_query_run(&q);
}

static int finish_one(struct mgc_store *s, int64_t id, int64_t held_us)
{
    static const char sql[] = "UPDATE held SET state = ?, held_us = ? WHERE id = ?";
    int64_t state, entry_id, pinned;
    struct mgc_entry entry;
    int r = look(s, id, &state, &entry_id, &pinned);

    if (r < 0)
        return r;
    if (state == MGC_HELD_HELD)
        return 0;
    if (state != MGC_HELD_MOVING)
        return conflict(s, id, state, "finished");
    {
        mgc_autoquery q = mgc_query_open(s, sql);

        mgc_query_int(&q, MGC_HELD_HELD);
        mgc_query_int(&q, held_us);
        mgc_query_int(&q, id);
        r = mgc_query_run(&q);
    }
    if (r == 0)
        r = mgc_store_entry_get(s, entry_id, &entry);
    return r == 1 ? mgc_store_entry_remove(s, &entry) : r;
}

static int op_finish(struct mgc_catalog *c, const int64_t *ids, size_t count, int64_t held_us,
                     struct mgc_err *err)
{
    static const char what[] = "finish a move in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_store_begin(s, false, what, err);

    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = finish_one(s, ids[i], held_us);
    return mgc_store_end(s, r, what, err);
}

static int restoring(struct mgc_store *s, int64_t id, const char *to, bool heal)
{
    static const char sql[] = "UPDATE held SET state = ?, restore_to = ?, heal = ? WHERE id = ?";
    int64_t state, entry, pinned;
    int r = look(s, id, &state, &entry, &pinned);

    if (r < 0)
        return r;
    if (state != MGC_HELD_HELD && state != MGC_HELD_RESTORING)
        return conflict(s, id, state, "restored");
    mgc_autoquery q = mgc_query_open(s, sql);
    mgc_query_int(&q, MGC_HELD_RESTORING);
    mgc_query_bytes(&q, to);
    mgc_query_int(&q, heal);
    mgc_query_int(&q, id);
    return mgc_query_run(&q);
}

static int op_restoring(struct mgc_catalog *c, int64_t id, const char *to, bool heal,
                        struct mgc_err *err)
{
    static const char what[] = "announce a restore in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_catalog_check_path(to, false, err);

    if (r == 0)
        r = mgc_store_begin(s, false, what, err);
    return r < 0 ? r : mgc_store_end(s, restoring(s, id, to, heal), what, err);
}

static int purging(struct mgc_store *s, int64_t id)
{
    int64_t state, entry, pinned;
    int r = look(s, id, &state, &entry, &pinned);

    if (r < 0)
        return r;
    if (pinned != 0)
        return mgc_store_fail(s, MGC_E_REFUSED, "held file %lld is pinned", (long long)id);
    if (state != MGC_HELD_HELD && state != MGC_HELD_PURGING)
        return conflict(s, id, state, "purged");
    return set_state(s, id, MGC_HELD_PURGING);
}

static int op_purging(struct mgc_catalog *c, const int64_t *ids, size_t count, struct mgc_err *err)
{
    static const char what[] = "announce a purge in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_store_begin(s, false, what, err);

    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = purging(s, ids[i]);
    return mgc_store_end(s, r, what, err);
}

static int back(struct mgc_store *s, int64_t id)
{
    int64_t state, entry, pinned;
    int r = look(s, id, &state, &entry, &pinned);

    if (r < 0 || state == MGC_HELD_HELD)
        return r;
    if (state == MGC_HELD_MOVING)
        return conflict(s, id, state, "put back to held");
    return set_state(s, id, MGC_HELD_HELD);
}

static int op_back(struct mgc_catalog *c, int64_t id, struct mgc_err *err)
{
    static const char what[] = "take back an announcement in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_store_begin(s, false, what, err);

    return r < 0 ? r : mgc_store_end(s, back(s, id), what, err);
}

/* ---- out of the quarantine ---- */

static int forget(struct mgc_store *s, int64_t id)
{
    static const char sql[] = "DELETE FROM held WHERE id = ?";
    mgc_autoquery q = mgc_query_open(s, sql);

    mgc_query_int(&q, id);
    return mgc_query_run(&q);
}

static int op_forget(struct mgc_catalog *c, const int64_t *ids, size_t count, struct mgc_err *err)
{
    static const char what[] = "forget a held file in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_store_begin(s, false, what, err);

    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = forget(s, ids[i]);
    return mgc_store_end(s, r, what, err);
}

/* The entry of a file that is back; one that a verification recorded already is brought up. */
static int enter(struct mgc_store *s, const struct mgc_held *held, const char *path,
                 const struct mgc_file_stat *stat, int64_t now_us, bool heal)
{
    char parent[MGC_PATH_BYTES_MAX + 1];
    struct mgc_entry entry = {0};
    int64_t dir, removed = 0, size_before;
    bool known;
    int r;

    mgc_store_parent_path(path, parent);
    r = mgc_store_dir_make(s, parent, now_us, &dir);
    if (r == 0)
        r = mgc_store_entry_find(s, dir, mgc_path_leaf(path), &entry);
    if (r < 0)
        return r;
    known = r == 1 && mgc_store_same_file(&entry.file_id, &stat->id);
    if (!known) {
        r = mgc_store_name_clear(s, dir, mgc_path_leaf(path), &removed);
        if (r < 0)
            return r;
        entry = (struct mgc_entry){
            .dir_id = dir, .name = mgc_path_leaf(path), .written_us = held->written_us};
    }
    size_before = entry.size_bytes;
    mgc_store_entry_take(&entry, stat);
    entry.uid = held->creator_uid;
    entry.born_us = now_us > entry.born_us ? now_us : entry.born_us;
    if (heal)
        entry.healed_us = now_us;
    return known ? mgc_store_entry_update(s, &entry, size_before)
                 : mgc_store_entry_insert(s, &entry);
}

static int op_returned(struct mgc_catalog *c, int64_t id, const char *path,
                       const struct mgc_file_stat *stat, int64_t now_us, bool heal,
                       struct mgc_err *err)
{
    static const char what[] = "record a returned file in";
    struct mgc_store *s = mgc_store_of(c);
    mgc_autorows rows = {.item_bytes = 1};
    struct mgc_held held;
    int r = mgc_catalog_check_path(path, false, err);

    if (r == 0)
        r = mgc_store_begin(s, false, what, err);
    if (r < 0)
        return r;
    r = load_one(s, id, &rows, &held);
    if (r == 0)
        r = absent(s, id);
    if (r == 1)
        r = enter(s, &held, path, stat, now_us, heal);
    if (r == 0)
        r = forget(s, id);
    return mgc_store_end(s, r, what, err);
}

static int adopt(struct mgc_store *s, const struct mgc_held *row)
{
    struct mgc_held held = *row;
    mgc_autorows rows = {.item_bytes = 1};
    int r = load_one(s, row->id, &rows, &held);

    if (r == 1)
        return mgc_store_fail(s, -EEXIST, "held file %lld is known already", (long long)row->id);
    held = *row;
    if (r == 0)
        r = mgc_store_saw_id(s, row->id);
    if (r == 0 && held.dir_id == 0)
        r = find_dir(s, held.path, &held.dir_id);
    held.state = MGC_HELD_HELD;
    return r < 0 ? r : insert(s, &held);
}

static int op_adopt(struct mgc_catalog *c, const struct mgc_held *row, struct mgc_err *err)
{
    static const char what[] = "adopt a held file in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_catalog_check_path(row->path, false, err);

    if (r == 0)
        r = mgc_store_begin(s, false, what, err);
    return r < 0 ? r : mgc_store_end(s, adopt(s, row), what, err);
}

/* ---- proofs and pins ---- */

static int prove(struct mgc_store *s, int64_t id, int64_t t0_us, int64_t run)
{
    static const char sql[] = "UPDATE held SET proof_us = ?, proof_run = ? WHERE id = ?";
    mgc_autoquery q = mgc_query_open(s, sql);

    mgc_query_int(&q, t0_us);
    mgc_query_int(&q, run);
    mgc_query_int(&q, id);
    return mgc_query_run(&q);
}

static int op_prove(struct mgc_catalog *c, const int64_t *ids, size_t count, int64_t t0_us,
                    int64_t run, struct mgc_err *err)
{
    static const char what[] = "record proofs in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_store_begin(s, false, what, err);

    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = prove(s, ids[i], t0_us, run);
    return mgc_store_end(s, r, what, err);
}

static int pin(struct mgc_store *s, int64_t id, bool pinned)
{
    static const char sql[] = "UPDATE held SET pinned = ? WHERE id = ?";
    mgc_autoquery q = mgc_query_open(s, sql);
    int r;

    mgc_query_int(&q, pinned);
    mgc_query_int(&q, id);
    r = mgc_query_run(&q);
    return r == 0 && sqlite3_changes(s->db) == 0 ? absent(s, id) : r;
}

static int op_pin(struct mgc_catalog *c, int64_t id, bool pinned, struct mgc_err *err)
{
    static const char what[] = "pin a held file in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_store_begin(s, false, what, err);

    return r < 0 ? r : mgc_store_end(s, pin(s, id, pinned), what, err);
}

/* ---- reading ---- */

static int op_get(struct mgc_catalog *c, int64_t id, mgc_held_fn *each, void *arg)
{
    struct mgc_store *s = mgc_store_of(c);
    mgc_autorows rows = {.item_bytes = 1};
    struct mgc_held held;
    int r;

    mgc_store_lock(s);
    r = load_one(s, id, &rows, &held);
    mgc_store_unlock(s);
    return r == 1 ? each(arg, &held) : r == 0 ? -ENOENT : r;
}

struct scan {
    struct mgc_scan base;
    const char *path; /* NULL: all */
    mgc_held_fn *each;
    void *arg;
};

static int load(struct mgc_store *s, struct mgc_scan *base, int limit, struct mgc_rows *rows)
{
    static const char sql_all[] =
        "SELECT " HELD_COLUMNS " FROM held WHERE id > ? ORDER BY id LIMIT ?";
    static const char sql_path[] =
        "SELECT " HELD_COLUMNS " FROM held WHERE id > ? AND path = ? ORDER BY id LIMIT ?";
    const struct scan *scan = (const void *)base;
    mgc_autoquery q = mgc_query_open(s, scan->path != NULL ? sql_path : sql_all);
    int r;

    mgc_query_int(&q, base->after);
    if (scan->path != NULL)
        mgc_query_bytes(&q, scan->path);
    mgc_query_int(&q, limit);
    while ((r = mgc_query_step(&q)) == 1) {
        struct mgc_held *held = mgc_rows_add(rows);

        if (held == NULL)
            return -ENOMEM;
        read_held(&q, rows, held);
    }
    return r;
}

static int give(struct mgc_scan *base, const void *item)
{
    const struct scan *scan = (const void *)base;
    const struct mgc_held *held = item;

    base->after = held->id;
    return scan->each(scan->arg, held);
}

static int op_scan(struct mgc_catalog *c, int64_t after, int limit, const char *path,
                   mgc_held_fn *each, void *arg, struct mgc_err *err)
{
    struct scan scan = {
        {sizeof(struct mgc_held), "read held files of", after, load, give}, path, each, arg};

    return mgc_store_scan(mgc_store_of(c), &scan.base, limit, err);
}

static int op_totals(struct mgc_catalog *c, int64_t *ret_count, int64_t *ret_bytes)
{
    static const char sql[] =
        "SELECT count(*), coalesce(sum(size_bytes), 0) FROM held WHERE state <> 0";
    struct mgc_store *s = mgc_store_of(c);
    int r;

    mgc_store_lock(s);
    {
        mgc_autoquery q = mgc_query_open(s, sql);

        r = mgc_query_step(&q);
        if (r == 1) {
            *ret_count = mgc_query_get(&q);
            *ret_bytes = mgc_query_get(&q);
        }
    }
    mgc_store_unlock(s);
    return r == 1 ? 0 : r == 0 ? MGC_E_CORRUPT : r;
}

void mgc_store_ops_held(struct mgc_catalog_ops *ops)
{
    ops->held_begin = op_begin;
    ops->held_finish = op_finish;
    ops->held_restoring = op_restoring;
    ops->held_purging = op_purging;
    ops->held_back = op_back;
    ops->held_forget = op_forget;
    ops->held_returned = op_returned;
    ops->held_adopt = op_adopt;
    ops->held_prove = op_prove;
    ops->held_pin = op_pin;
    ops->held_get = op_get;
    ops->held_scan = op_scan;
    ops->held_totals = op_totals;
}
