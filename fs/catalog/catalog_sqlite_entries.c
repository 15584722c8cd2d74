/*
 * catalog_sqlite_entries.c -- rows of entries: found, written, read in batches.
 *
 *   E1  The counters of entries and bytes change here (and where a subtree goes), nowhere else.
 */
#include "store_priv.h"

#include <sys/stat.h>

#include "mediagcfs/path.h"

#define ENTRY_COLUMNS                                                                              \
    "id, dir, name, kind, uid, size_bytes, ino, stamp, id_kind, nlink, born_us, written_us, "      \
    "changed_us, orphan_since_us, orphan_first_run, orphan_last_run, orphan_runs, healed_us"

bool mgc_store_is_entry(const struct mgc_file_stat *stat, enum mgc_kind *ret_kind)
{
    if (!S_ISREG(stat->mode) && !S_ISLNK(stat->mode))
        return false;
    *ret_kind = S_ISLNK(stat->mode) ? MGC_KIND_SYMLINK : MGC_KIND_FILE;
    return true;
}

bool mgc_store_same_file(const struct mgc_file_id *row, const struct mgc_file_id *seen)
{
    if (row->kind == MGC_ID_NONE && seen->kind == MGC_ID_NONE)
        return row->ino == seen->ino && row->ino != 0;
    return mgc_file_id_equal(row, seen);
}

void mgc_store_entry_take(struct mgc_entry *entry, const struct mgc_file_stat *stat)
{
    enum mgc_kind kind = entry->kind;

    if (mgc_store_is_entry(stat, &kind))
        entry->kind = kind;
    entry->size_bytes = stat->size_bytes;
    entry->file_id = stat->id;
    entry->nlink = stat->nlink;
    entry->changed_us = stat->ctime_us;
}

/* rows NULL: without the name. */
static void read_entry(struct mgc_query *q, struct mgc_rows *rows, struct mgc_entry *e)
{
    e->id = mgc_query_get(q);
    e->dir_id = mgc_query_get(q);
    if (rows != NULL)
        e->name = mgc_rows_string(rows, q);
    else
        q->column++;
    e->kind = (enum mgc_kind)mgc_query_get(q);
    e->uid = (uint32_t)mgc_query_get(q);
    e->size_bytes = mgc_query_get(q);
    e->file_id.ino = (uint64_t)mgc_query_get(q);
    e->file_id.stamp = mgc_query_get(q);
    e->file_id.kind = (enum mgc_id_kind)mgc_query_get(q);
    e->nlink = (uint32_t)mgc_query_get(q);
    e->born_us = mgc_query_get(q);
    e->written_us = mgc_query_get(q);
    e->changed_us = mgc_query_get(q);
    e->orphan_since_us = mgc_query_get(q);
    e->orphan_first_run = mgc_query_get(q);
    e->orphan_last_run = mgc_query_get(q);
    e->orphan_runs = mgc_query_get(q);
    e->healed_us = mgc_query_get(q);
}

static int read_one(struct mgc_query *q, struct mgc_rows *rows, struct mgc_entry *ret_entry)
{
    int r = mgc_query_step(q);

    if (r == 1) {
        *ret_entry = (struct mgc_entry){0};
        read_entry(q, rows, ret_entry);
    }
    mgc_query_close(q);
    return r;
}

static int find(struct mgc_store *s, int64_t dir, const char *name, struct mgc_rows *rows,
                struct mgc_entry *ret_entry)
{
    static const char sql[] = "SELECT " ENTRY_COLUMNS " FROM entries WHERE dir = ? AND name = ?";
    struct mgc_query q = mgc_query_open(s, sql);

    mgc_query_int(&q, dir);
    mgc_query_bytes(&q, name);
    return read_one(&q, rows, ret_entry);
}

static int get(struct mgc_store *s, int64_t id, struct mgc_rows *rows, struct mgc_entry *ret_entry)
{
    static const char sql[] = "SELECT " ENTRY_COLUMNS " FROM entries WHERE id = ?";
    struct mgc_query q = mgc_query_open(s, sql);

    mgc_query_int(&q, id);
    return read_one(&q, rows, ret_entry);
}

int mgc_store_entry_find(struct mgc_store *s, int64_t dir, const char *name,
                         struct mgc_entry *ret_entry)
{
    return find(s, dir, name, NULL, ret_entry);
}

int mgc_store_entry_get(struct mgc_store *s, int64_t id, struct mgc_entry *ret_entry)
{
    return get(s, id, NULL, ret_entry);
}

/* Facts that insert and update share, in the order of the columns; uid -1 takes one byte. */
static void bind_facts(struct mgc_query *q, const struct mgc_entry *e)
{
    mgc_query_int(q, e->kind);
    mgc_query_int(q, (int32_t)e->uid);
    mgc_query_int(q, e->size_bytes);
    mgc_query_int(q, (int64_t)e->file_id.ino);
    mgc_query_int(q, e->file_id.stamp);
    mgc_query_int(q, e->file_id.kind);
    mgc_query_int(q, e->nlink);
    mgc_query_int(q, e->born_us);
    mgc_query_int(q, e->written_us);
    mgc_query_int(q, e->changed_us);
    mgc_query_int(q, e->orphan_since_us);
    mgc_query_int(q, e->orphan_first_run);
    mgc_query_int(q, e->orphan_last_run);
    mgc_query_int(q, e->orphan_runs);
    mgc_query_int(q, e->healed_us);
}

int mgc_store_entry_insert(struct mgc_store *s, struct mgc_entry *entry)
{
    static const char sql[] =
        "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    int64_t id;
    int r = mgc_store_new_id(s, &id);

    if (r < 0)
        return r;
    mgc_autoquery q = mgc_query_open(s, sql);
    mgc_query_int(&q, id);
    mgc_query_int(&q, entry->dir_id);
    mgc_query_bytes(&q, entry->name);
    bind_facts(&q, entry);
    r = mgc_query_run(&q);
    if (r < 0)
        return r;
    entry->id = id;
    s->counters.entries++;
    s->counters.bytes += entry->size_bytes;
    return 0;
}

int mgc_store_entry_update(struct mgc_store *s, const struct mgc_entry *entry, int64_t size_before)
{
    static const char sql[] =
        "UPDATE entries SET kind = ?, uid = ?, size_bytes = ?, ino = ?, stamp = ?, id_kind = ?,"
        " nlink = ?, born_us = ?, written_us = ?, changed_us = ?, orphan_since_us = ?,"
        " orphan_first_run = ?, orphan_last_run = ?, orphan_runs = ?, healed_us = ? WHERE id = ?";
    mgc_autoquery q = mgc_query_open(s, sql);
    int r;

    bind_facts(&q, entry);
    mgc_query_int(&q, entry->id);
    r = mgc_query_run(&q);
    if (r == 0)
        s->counters.bytes += entry->size_bytes - size_before;
    return r;
}

int mgc_store_entry_place(struct mgc_store *s, int64_t id, int64_t dir, const char *name,
                          int64_t born_us)
{
    static const char sql[] = "UPDATE entries SET dir = ?, name = ?, born_us = ? WHERE id = ?";
    mgc_autoquery q = mgc_query_open(s, sql);

    mgc_query_int(&q, dir);
    mgc_query_bytes(&q, name);
    mgc_query_int(&q, born_us);
    mgc_query_int(&q, id);
    return mgc_query_run(&q);
}

int mgc_store_entry_remove(struct mgc_store *s, const struct mgc_entry *entry)
{
    static const char sql[] = "DELETE FROM entries WHERE id = ?";
    mgc_autoquery q = mgc_query_open(s, sql);
    int r;

    mgc_query_int(&q, entry->id);
    r = mgc_query_run(&q);
    if (r == 0) {
        s->counters.entries--;
        s->counters.bytes -= entry->size_bytes;
    }
    return r;
}

int mgc_store_name_clear(struct mgc_store *s, int64_t dir, const char *name, int64_t *removed)
{
    struct mgc_entry entry;
    int64_t child;
    int r = mgc_store_entry_find(s, dir, name, &entry);

    if (r == 1) {
        r = mgc_store_entry_remove(s, &entry);
        *removed += r == 0;
    }
    if (r < 0)
        return r;
    r = mgc_store_dir_child(s, dir, name, &child);
    if (r == 1)
        r = mgc_store_dir_remove(s, child, removed);
    return r;
}

/* ---- members ---- */

struct scan {
    struct mgc_scan base;
    mgc_entry_fn *each;
    void *arg;
};

static int load(struct mgc_store *s, struct mgc_scan *scan, int limit, struct mgc_rows *rows)
{
    static const char sql[] =
        "SELECT " ENTRY_COLUMNS " FROM entries WHERE id > ? ORDER BY id LIMIT ?";
    mgc_autoquery q = mgc_query_open(s, sql);
    int r;

    mgc_query_int(&q, scan->after);
    mgc_query_int(&q, limit);
    while ((r = mgc_query_step(&q)) == 1) {
        struct mgc_entry *entry = mgc_rows_add(rows);

        if (entry == NULL)
            return -ENOMEM;
        read_entry(&q, rows, entry);
    }
    return r;
}

static int give(struct mgc_scan *base, const void *item)
{
    const struct scan *scan = (const void *)base;
    const struct mgc_entry *entry = item;

    base->after = entry->id;
    return scan->each(scan->arg, entry);
}

static int op_scan(struct mgc_catalog *c, int64_t after, int limit, mgc_entry_fn *each, void *arg,
                   struct mgc_err *err)
{
    struct scan scan = {
        {sizeof(struct mgc_entry), "read entries of", after, load, give}, each, arg};

    return mgc_store_scan(mgc_store_of(c), &scan.base, limit, err);
}

/* Hands one row to the caller, without the lock. */
static int hand_over(int r, const struct mgc_rows *rows, const struct mgc_entry *entry,
                     mgc_entry_fn *each, void *arg)
{
    if (r == 1 && rows->failed)
        r = -ENOMEM;
    return r == 1 ? each(arg, entry) : r == 0 ? -ENOENT : r;
}

static int op_by_path(struct mgc_catalog *c, const char *path, mgc_entry_fn *each, void *arg)
{
    struct mgc_store *s = mgc_store_of(c);
    mgc_autorows rows = {.item_bytes = 1};
    char dir_path[MGC_PATH_BYTES_MAX + 1];
    struct mgc_entry entry;
    int64_t dir;
    int r;

    if (mgc_path_check(path) < 0)
        return -ENOENT;
    mgc_store_parent_path(path, dir_path);
    mgc_store_lock(s);
    r = mgc_store_dir_find(s, dir_path, &dir);
    if (r == 1)
        r = find(s, dir, mgc_path_leaf(path), &rows, &entry);
    mgc_store_unlock(s);
    return hand_over(r, &rows, &entry, each, arg);
}

static int op_by_id(struct mgc_catalog *c, int64_t id, mgc_entry_fn *each, void *arg)
{
    struct mgc_store *s = mgc_store_of(c);
    mgc_autorows rows = {.item_bytes = 1};
    struct mgc_entry entry;
    int r;

    mgc_store_lock(s);
    r = get(s, id, &rows, &entry);
    mgc_store_unlock(s);
    return hand_over(r, &rows, &entry, each, arg);
}

static int op_totals(struct mgc_catalog *c, int64_t *ret_entries, int64_t *ret_bytes)
{
    static const char sql[] = "SELECT entries, bytes FROM counters";
    struct mgc_store *s = mgc_store_of(c);
    int r;

    mgc_store_lock(s);
    {
        mgc_autoquery q = mgc_query_open(s, sql);

        r = mgc_query_step(&q);
        if (r == 1) {
            *ret_entries = mgc_query_get(&q);
            *ret_bytes = mgc_query_get(&q);
        }
    }
    mgc_store_unlock(s);
    return r == 1 ? 0 : r == 0 ? MGC_E_CORRUPT : r;
}

void mgc_store_ops_entries(struct mgc_catalog_ops *ops)
{
    ops->scan_entries = op_scan;
    ops->entry_by_path = op_by_path;
    ops->entry_by_id = op_by_id;
    ops->totals = op_totals;
}
