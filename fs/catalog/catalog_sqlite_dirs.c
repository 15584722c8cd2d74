/*
 * catalog_sqlite_dirs.c -- the tree of directories: paths to rows and back.
 *
 *   D1  A name is in `dirs` or in `entries`, never in both.
 *   D2  The root is row 1 and is never removed.
 */
#include "store_priv.h"

#include "mediagcfs/path.h"

void mgc_store_parent_path(const char *path, char *out)
{
    size_t bytes = mgc_path_dir_bytes(path);

    MGC_ASSERT(bytes <= MGC_PATH_BYTES_MAX);
    memcpy(out, path, bytes);
    out[bytes] = '\0';
}

/* ---- cache of paths ---- */

static struct mgc_store_dir *slot_of(struct mgc_store *s, const char *path)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (const char *p = path; *p != '\0'; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    return &s->dirs[(hash >> 32) % MGC_STORE_DIRS_CACHED];
}

static void remember(struct mgc_store *s, const char *path, int64_t id)
{
    struct mgc_store_dir *slot = slot_of(s, path);
    char *copy;

    if (s->read_only) /* another process renames directories: nothing here would notice */
        return;
    copy = strdup(path);
    if (copy == NULL)
        return;
    free(slot->path);
    slot->path = copy;
    slot->id = id;
}

void mgc_store_dirs_forget(struct mgc_store *s)
{
    for (size_t i = 0; i < MGC_STORE_DIRS_CACHED; i++) {
        free(s->dirs[i].path);
        s->dirs[i] = (struct mgc_store_dir){0};
    }
}

/* ---- rows ---- */

int mgc_store_dir_child(struct mgc_store *s, int64_t parent, const char *name, int64_t *ret_id)
{
    static const char sql[] = "SELECT id FROM dirs WHERE parent = ? AND name = ?";
    struct mgc_query q = mgc_query_open(s, sql);

    mgc_query_int(&q, parent);
    mgc_query_bytes(&q, name);
    return mgc_query_one(&q, ret_id);
}

int mgc_store_dir_insert(struct mgc_store *s, int64_t parent, const char *name, int64_t born_us,
                         int64_t *ret_id)
{
    static const char sql[] = "INSERT INTO dirs VALUES (?, ?, ?, ?, 0, 0)";
    int64_t id;
    int r = mgc_store_new_id(s, &id);

    if (r < 0)
        return r;
    mgc_autoquery q = mgc_query_open(s, sql);
    mgc_query_int(&q, id);
    mgc_query_int(&q, parent);
    mgc_query_bytes(&q, name);
    mgc_query_int(&q, born_us);
    r = mgc_query_run(&q);
    if (r == 0)
        *ret_id = id;
    return r;
}

/* Copies the first component of *path into name and steps over it. */
static bool next_name(const char **path, char *name)
{
    size_t bytes = strcspn(*path, "/");

    if (bytes == 0 || bytes > MGC_NAME_BYTES_MAX)
        return false;
    memcpy(name, *path, bytes);
    name[bytes] = '\0';
    *path += bytes;
    if (**path == '/')
        (*path)++;
    return true;
}

int mgc_store_dir_find(struct mgc_store *s, const char *path, int64_t *ret_id)
{
    const struct mgc_store_dir *slot = slot_of(s, path);
    const char *rest = path;
    char name[MGC_NAME_BYTES_MAX + 1];
    int64_t id = MGC_ROOT_DIR;

    if (slot->id != 0 && strcmp(slot->path, path) == 0) {
        *ret_id = slot->id;
        return 1;
    }
    while (*rest != '\0') {
        int r = next_name(&rest, name) ? mgc_store_dir_child(s, id, name, &id) : 0;

        if (r <= 0)
            return r;
    }
    remember(s, path, id);
    *ret_id = id;
    return 1;
}

int mgc_store_dir_make(struct mgc_store *s, const char *path, int64_t born_us, int64_t *ret_id)
{
    const char *rest = path;
    char name[MGC_NAME_BYTES_MAX + 1];
    int64_t parent = MGC_ROOT_DIR, removed = 0;
    int r = mgc_store_dir_find(s, path, ret_id);

    if (r != 0)
        return r < 0 ? r : 0;
    while (*rest != '\0') {
        int64_t id;

        if (!next_name(&rest, name))
            return -EINVAL;
        r = mgc_store_dir_child(s, parent, name, &id);
        if (r == 0) {
            r = mgc_store_name_clear(s, parent, name, &removed); /* D1 */
            if (r == 0)
                r = mgc_store_dir_insert(s, parent, name, born_us, &id);
        }
        if (r < 0)
            return r;
        parent = id;
    }
    *ret_id = parent;
    return 0;
}

/* The directory and all beneath it; UNION (not ALL) also ends on a damaged, circular tree. */
#define SUBTREE                                                                                    \
    "WITH RECURSIVE sub (id) AS (SELECT ?1 UNION SELECT d.id FROM dirs d JOIN sub ON d.parent = "  \
    "sub.id) "

static int count_subtree(struct mgc_store *s, int64_t id, int64_t *ret_entries, int64_t *ret_bytes)
{
    static const char sql[] = SUBTREE "SELECT count(*), coalesce(sum(size_bytes), 0) FROM entries"
                                      " WHERE dir IN (SELECT id FROM sub)";
    mgc_autoquery q = mgc_query_open(s, sql);
    int r;

    mgc_query_int(&q, id);
    r = mgc_query_step(&q);
    if (r == 1) {
        *ret_entries = mgc_query_get(&q);
        *ret_bytes = mgc_query_get(&q);
    }
    return r < 0 ? r : 0;
}

int mgc_store_dir_remove(struct mgc_store *s, int64_t id, int64_t *removed)
{
    static const char sql_entries[] =
        SUBTREE "DELETE FROM entries WHERE dir IN (SELECT id FROM sub)";
    static const char sql_held[] =
        SUBTREE "UPDATE held SET dir = 0 WHERE dir IN (SELECT id FROM sub)";
    static const char sql_dirs[] = SUBTREE "DELETE FROM dirs WHERE id IN (SELECT id FROM sub)";
    static const char *const all[] = {sql_entries, sql_held, sql_dirs};
    int64_t entries = 0, bytes = 0;
    int r = count_subtree(s, id, &entries, &bytes);

    MGC_ASSERT(id != MGC_ROOT_DIR); /* D2 */
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(all); i++) {
        mgc_autoquery q = mgc_query_open(s, all[i]);

        mgc_query_int(&q, id);
        r = mgc_query_run(&q);
    }
    if (r == 0) {
        s->counters.entries -= entries;
        s->counters.bytes -= bytes;
        *removed += entries;
        mgc_store_dirs_forget(s);
    }
    return r;
}

/* ---- members ---- */

#define DIR_COLUMNS "id, parent, name, born_us, changed_us, verified_us"

static void read_dir(struct mgc_query *q, struct mgc_rows *rows, struct mgc_dir *dir)
{
    dir->id = mgc_query_get(q);
    dir->parent_id = mgc_query_get(q);
    if (rows != NULL)
        dir->name = mgc_rows_string(rows, q);
    else
        q->column++;
    dir->born_us = mgc_query_get(q);
    dir->changed_us = mgc_query_get(q);
    dir->verified_us = mgc_query_get(q);
}

static int op_dir_find(struct mgc_catalog *c, const char *path, struct mgc_dir *ret_dir)
{
    static const char sql[] = "SELECT " DIR_COLUMNS " FROM dirs WHERE id = ?";
    struct mgc_store *s = mgc_store_of(c);
    int64_t id;
    int r;

    mgc_store_lock(s);
    r = mgc_store_dir_find(s, path, &id);
    if (r == 1) {
        mgc_autoquery q = mgc_query_open(s, sql);

        mgc_query_int(&q, id);
        r = mgc_query_step(&q);
        if (r == 1) {
            *ret_dir = (struct mgc_dir){0};
            read_dir(&q, NULL, ret_dir);
        }
    }
    mgc_store_unlock(s);
    return r == 1 ? 0 : r == 0 ? -ENOENT : r;
}

/* Puts "name/" in front of what is at *at; out is filled from its end. */
static int prepend(char *out, size_t *at, const char *name, size_t bytes)
{
    if (bytes + 1 > *at)
        return -ENAMETOOLONG;
    if (out[*at] != '\0')
        out[--*at] = '/';
    *at -= bytes;
    memcpy(out + *at, name, bytes);
    return 0;
}

static int climb(struct mgc_store *s, int64_t id, char *out, size_t *at)
{
    static const char sql[] = "SELECT parent, name FROM dirs WHERE id = ?";

    for (int depth = 0; id != MGC_ROOT_DIR; depth++) {
        mgc_autoquery q = mgc_query_open(s, sql);
        int r;

        if (depth > MGC_DEPTH_MAX)
            return mgc_store_fail(s, MGC_E_CORRUPT, "directories form a circle");
        mgc_query_int(&q, id);
        r = mgc_query_step(&q);
        if (r <= 0)
            return r == 0 ? -ENOENT : r;
        id = mgc_query_get(&q);
        r = prepend(out, at, sqlite3_column_blob(q.stmt, 1),
                    (size_t)sqlite3_column_bytes(q.stmt, 1));
        if (r < 0)
            return r;
    }
    return 0;
}

static int op_dir_path(struct mgc_catalog *c, int64_t dir_id, char *out, size_t out_bytes)
{
    struct mgc_store *s = mgc_store_of(c);
    char path[MGC_PATH_BYTES_MAX + 2] = {0};
    size_t at = sizeof(path) - 1;
    int r;

    mgc_store_lock(s);
    r = climb(s, dir_id, path, &at);
    mgc_store_unlock(s);
    if (r < 0)
        return r;
    if (sizeof(path) - at > out_bytes)
        return -ENAMETOOLONG;
    memcpy(out, path + at, sizeof(path) - at);
    return 0;
}

struct scan {
    struct mgc_scan base;
    mgc_dir_fn *each;
    void *arg;
};

static int load(struct mgc_store *s, struct mgc_scan *scan, int limit, struct mgc_rows *rows)
{
    static const char sql[] = "SELECT " DIR_COLUMNS " FROM dirs WHERE id > ? ORDER BY id LIMIT ?";
    mgc_autoquery q = mgc_query_open(s, sql);
    int r;

    mgc_query_int(&q, scan->after);
    mgc_query_int(&q, limit);
    while ((r = mgc_query_step(&q)) == 1) {
        struct mgc_dir *dir = mgc_rows_add(rows);

        if (dir == NULL)
            return -ENOMEM;
        read_dir(&q, rows, dir);
    }
    return r;
}

static int give(struct mgc_scan *base, const void *item)
{
    const struct scan *scan = (const void *)base;
    const struct mgc_dir *dir = item;

    base->after = dir->id;
    return scan->each(scan->arg, dir);
}

static int op_scan(struct mgc_catalog *c, int64_t after, int limit, mgc_dir_fn *each, void *arg,
                   struct mgc_err *err)
{
    struct scan scan = {
        {sizeof(struct mgc_dir), "read directories of", after, load, give}, each, arg};

    return mgc_store_scan(mgc_store_of(c), &scan.base, limit, err);
}

void mgc_store_ops_dirs(struct mgc_catalog_ops *ops)
{
    ops->dir_find = op_dir_find;
    ops->dir_path = op_dir_path;
    ops->scan_dirs = op_scan;
}
