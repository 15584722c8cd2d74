/*
 * catalog_sqlite_apply.c -- changes of the tree, as the mount saw them happen.
 *
 *   A1  Rows follow the tree; where a row and a change disagree (something was missed), the row
 *       gives way and what replaces it is born at the change: never early.
 *   A2  A time in a row is only replaced by a later one, but for the change time, which is a fact.
 *   A3  An open that cannot be recorded raises the floor of all entries: forgotten is not unused.
 */
#include "catalog_priv.h"
#include "store_priv.h"

#include <sys/stat.h>

#include "mediagcfs/path.h"

typedef int apply_fn(struct mgc_store *s, const struct mgc_change *change);

static const char what_apply[] = "record changes in";

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Directory of path, made where it is unknown. */
static int make_parent(struct mgc_store *s, const char *path, int64_t time_us, int64_t *ret_dir)
{
    char parent[MGC_PATH_BYTES_MAX + 1];

    mgc_store_parent_path(path, parent);
    return mgc_store_dir_make(s, parent, time_us, ret_dir);
}

/* 1: known. */
static int find_parent(struct mgc_store *s, const char *path, int64_t *ret_dir)
{
    char parent[MGC_PATH_BYTES_MAX + 1];

    mgc_store_parent_path(path, parent);
    return mgc_store_dir_find(s, parent, ret_dir);
}

static int find_entry(struct mgc_store *s, const char *path, struct mgc_entry *ret_entry)
{
    int64_t dir;
    int r = find_parent(s, path, &dir);

    return r == 1 ? mgc_store_entry_find(s, dir, mgc_path_leaf(path), ret_entry) : r;
}

/* A new row in the place of whatever the name says now. */
static int put_new(struct mgc_store *s, int64_t dir, const struct mgc_change *change,
                   const char *name, uint32_t uid)
{
    struct mgc_entry entry = {.dir_id = dir,
                              .name = name,
                              .uid = uid,
                              .born_us = change->time_us,
                              .written_us = change->time_us};
    int64_t removed = 0;
    int r = mgc_store_name_clear(s, dir, name, &removed);

    if (r < 0 || !mgc_store_is_entry(&change->stat, &entry.kind))
        return r;
    mgc_store_entry_take(&entry, &change->stat);
    return mgc_store_entry_insert(s, &entry);
}

/* What is known of the file under this name is brought up to date, or a new row is put. */
static int upsert(struct mgc_store *s, int64_t dir, const struct mgc_change *change,
                  const char *name, uint32_t uid)
{
    struct mgc_entry entry;
    int r = mgc_store_entry_find(s, dir, name, &entry);
    int64_t size_before;

    if (r < 0)
        return r;
    if (r == 0 || !mgc_store_same_file(&entry.file_id, &change->stat.id))
        return put_new(s, dir, change, name, uid);
    size_before = entry.size_bytes;
    mgc_store_entry_take(&entry, &change->stat);
    entry.born_us = later(entry.born_us, change->time_us);
    if (uid != (uint32_t)-1)
        entry.uid = uid;
    return mgc_store_entry_update(s, &entry, size_before);
}

static int apply_mkdir(struct mgc_store *s, const struct mgc_change *change)
{
    static const char sql[] =
        "UPDATE dirs SET born_us = max(born_us, ?), changed_us = 0 WHERE id = ?";
    int64_t parent, id, removed = 0;
    int r = make_parent(s, change->path, change->time_us, &parent);

    if (r == 0)
        r = mgc_store_dir_child(s, parent, mgc_path_leaf(change->path), &id);
    if (r == 1) { /* it was removed unseen: what is recorded beneath waits for a verification */
        mgc_autoquery q = mgc_query_open(s, sql);

        mgc_query_int(&q, change->time_us);
        mgc_query_int(&q, id);
        return mgc_query_run(&q);
    }
    if (r == 0)
        r = mgc_store_name_clear(s, parent, mgc_path_leaf(change->path), &removed);
    if (r == 0)
        r = mgc_store_dir_insert(s, parent, mgc_path_leaf(change->path), change->time_us, &id);
    return r;
}

static int apply_create(struct mgc_store *s, const struct mgc_change *change)
{
    uint32_t uid = change->kind == MGC_CHANGE_CREATE ? change->uid : (uint32_t)-1;
    int64_t dir;
    int r;

    if (S_ISDIR(change->stat.mode))
        return apply_mkdir(s, change);
    r = make_parent(s, change->path, change->time_us, &dir);
    return r < 0 ? r : upsert(s, dir, change, mgc_path_leaf(change->path), uid);
}

/* WRITE and STAT. */
static int apply_facts(struct mgc_store *s, const struct mgc_change *change)
{
    struct mgc_entry entry;
    int64_t size_before;
    int r = find_entry(s, change->path, &entry);

    if (r <= 0)
        return r;
    size_before = entry.size_bytes;
    if (change->stat.mode == 0) { /* gone before it could be looked at: only the time is known */
        entry.written_us = later(entry.written_us, change->time_us);
        entry.changed_us = later(entry.changed_us, change->time_us);
        return mgc_store_entry_update(s, &entry, size_before);
    }
    if (!mgc_store_same_file(&entry.file_id, &change->stat.id))
        return put_new(s, entry.dir_id, change, mgc_path_leaf(change->path), (uint32_t)-1);
    mgc_store_entry_take(&entry, &change->stat);
    /* A truncate is a write that nobody closes. */
    if (change->kind == MGC_CHANGE_WRITE || entry.size_bytes != size_before)
        entry.written_us = later(entry.written_us, change->time_us);
    return mgc_store_entry_update(s, &entry, size_before);
}

static int apply_unlink(struct mgc_store *s, const struct mgc_change *change)
{
    struct mgc_entry entry;
    int r = find_entry(s, change->path, &entry);

    return r == 1 ? mgc_store_entry_remove(s, &entry) : r;
}

static int apply_rmdir(struct mgc_store *s, const struct mgc_change *change)
{
    int64_t id, removed = 0;
    int r = mgc_store_dir_find(s, change->path, &id);

    return r == 1 ? mgc_store_dir_remove(s, id, &removed) : r;
}

/* ---- rename and exchange ---- */

/* A row taken from its name, to be put under another. */
struct taken {
    int64_t id; /* 0: there was none */
    bool directory;
    int64_t born_us;
    struct mgc_entry entry; /* of a file */
};

static int place_dir(struct mgc_store *s, int64_t id, int64_t parent, const char *name,
                     int64_t born_us)
{
    static const char sql[] =
        "UPDATE dirs SET parent = ?, name = ?, born_us = max(born_us, ?) WHERE id = ?";
    mgc_autoquery q = mgc_query_open(s, sql);

    mgc_query_int(&q, parent);
    mgc_query_bytes(&q, name);
    mgc_query_int(&q, born_us);
    mgc_query_int(&q, id);
    mgc_store_dirs_forget(s);
    return mgc_query_run(&q);
}

static int take(struct mgc_store *s, int64_t dir, const char *name, bool directory,
                struct taken *ret)
{
    int r;

    *ret = (struct taken){.directory = directory};
    if (directory) {
        r = mgc_store_dir_child(s, dir, name, &ret->id);
        return r < 0 ? r : 0;
    }
    r = mgc_store_entry_find(s, dir, name, &ret->entry);
    if (r == 1) {
        ret->id = ret->entry.id;
        ret->born_us = ret->entry.born_us;
    }
    return r < 0 ? r : 0;
}

static int put(struct mgc_store *s, const struct taken *t, int64_t dir, const char *name,
               int64_t time_us)
{
    if (t->id == 0)
        return 0;
    return t->directory ? place_dir(s, t->id, dir, name, time_us)
                        : mgc_store_entry_place(s, t->id, dir, name, later(t->born_us, time_us));
}

/* Facts of the moved file: a rename sets its change time. */
static int refresh(struct mgc_store *s, const struct mgc_change *change, int64_t id)
{
    struct mgc_entry entry;
    enum mgc_kind kind;
    int64_t size_before;
    int r;

    if (!mgc_store_is_entry(&change->stat, &kind))
        return 0;
    r = mgc_store_entry_get(s, id, &entry);
    if (r <= 0)
        return r;
    size_before = entry.size_bytes;
    mgc_store_entry_take(&entry, &change->stat);
    return mgc_store_entry_update(s, &entry, size_before);
}

/* The source was never recorded: what lies under path2 now is known from the change alone. */
static int arrive(struct mgc_store *s, const struct mgc_change *change, int64_t dir2,
                  bool directory)
{
    const char *name = mgc_path_leaf(change->path2);
    struct mgc_change there = *change;

    there.path = change->path2;
    if (directory)
        return apply_mkdir(s, &there);
    return upsert(s, dir2, &there, name, (uint32_t)-1);
}

static int apply_rename(struct mgc_store *s, const struct mgc_change *change)
{
    bool directory = change->directory || S_ISDIR(change->stat.mode);
    const char *name = mgc_path_leaf(change->path), *name2 = mgc_path_leaf(change->path2);
    int64_t dir = 0, dir2, removed = 0;
    struct taken moved = {0};
    int r;

    if (strcmp(change->path, change->path2) == 0)
        return 0;
    r = make_parent(s, change->path2, change->time_us, &dir2);
    if (r == 0)
        r = find_parent(s, change->path, &dir);
    if (r == 1)
        r = take(s, dir, name, directory, &moved);
    if (r < 0)
        return r;
    /* Another file than the row says: the row is stale and goes, the file is new here (A1). */
    if (moved.id != 0 && !directory && change->stat.mode != 0 &&
        !mgc_store_same_file(&moved.entry.file_id, &change->stat.id)) {
        r = mgc_store_entry_remove(s, &moved.entry);
        moved.id = 0;
    }
    if (r < 0)
        return r;
    if (moved.id == 0)
        return arrive(s, change, dir2, directory);
    r = mgc_store_name_clear(s, dir2, name2, &removed);
    if (r == 0)
        r = put(s, &moved, dir2, name2, change->time_us);
    if (r == 0 && !directory)
        r = refresh(s, change, moved.id);
    return r;
}

static int apply_exchange(struct mgc_store *s, const struct mgc_change *change)
{
    const char *name = mgc_path_leaf(change->path), *name2 = mgc_path_leaf(change->path2);
    int64_t dir, dir2, removed = 0;
    struct taken first = {0}, second = {0};
    int r = make_parent(s, change->path, change->time_us, &dir);

    if (r == 0)
        r = make_parent(s, change->path2, change->time_us, &dir2);
    if (r == 0)
        r = take(s, dir, name, change->directory, &first);
    if (r == 0)
        r = take(s, dir2, name2, change->directory2, &second);
    /* Out of the way first (no row has directory 0), since two rows cannot share a name. */
    if (r == 0)
        r = put(s, &first, 0, "first", 0);
    if (r == 0)
        r = put(s, &second, 0, "second", 0);
    /* What is left under the names is of the wrong kind: stale. */
    if (r == 0)
        r = mgc_store_name_clear(s, dir, name, &removed);
    if (r == 0)
        r = mgc_store_name_clear(s, dir2, name2, &removed);
    if (r == 0)
        r = put(s, &first, dir2, name2, change->time_us);
    if (r == 0)
        r = put(s, &second, dir, name, change->time_us);
    return r;
}

/* ---- opens ---- */

static int apply_open(struct mgc_store *s, const struct mgc_change *change)
{
    struct mgc_entry entry;
    int r = find_entry(s, change->path, &entry);

    return r == 1 ? mgc_opened_mark(s->opened, entry.id, change->time_us) : r;
}

/* A3: the batch failed.  Opens that were marked before that stay marked, which does no harm. */
static void opens_lost(struct mgc_store *s, const struct mgc_change *changes, size_t count)
{
    int64_t latest_us = 0;

    for (size_t i = 0; i < count; i++)
        if (changes[i].kind == MGC_CHANGE_OPEN)
            latest_us = later(latest_us, changes[i].time_us);
    if (latest_us == 0)
        return;
    mgc_store_lock(s);
    mgc_store_raise_floor(s, latest_us);
    mgc_store_unlock(s);
}

static int all(struct mgc_store *s, const struct mgc_change *changes, size_t count)
{
    static apply_fn *const kinds[] = {
        [MGC_CHANGE_CREATE] = apply_create,     [MGC_CHANGE_LINK] = apply_create,
        [MGC_CHANGE_WRITE] = apply_facts,       [MGC_CHANGE_STAT] = apply_facts,
        [MGC_CHANGE_MKDIR] = apply_mkdir,       [MGC_CHANGE_UNLINK] = apply_unlink,
        [MGC_CHANGE_RMDIR] = apply_rmdir,       [MGC_CHANGE_RENAME] = apply_rename,
        [MGC_CHANGE_EXCHANGE] = apply_exchange, [MGC_CHANGE_OPEN] = apply_open,
    };

    for (size_t i = 0; i < count; i++) {
        int r;

        if (changes[i].path[0] == '\0') /* STAT of the root: nothing is recorded of it */
            continue;
        r = kinds[changes[i].kind](s, &changes[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool only_opens(const struct mgc_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (changes[i].kind != MGC_CHANGE_OPEN)
            return false;
    return true;
}

/*
 * Nothing but opens: the array is no part of a commit, so nothing is committed.  One read
 * transaction serves all look-ups, which is several times cheaper than one for each.
 */
static int mark_opens(struct mgc_store *s, const struct mgc_change *changes, size_t count,
                      struct mgc_err *err)
{
    static const char sql_begin[] = "BEGIN", sql_end[] = "COMMIT";
    struct mgc_query q;
    int r, ended = 0;

    mgc_store_lock(s);
    q = mgc_query_open(s, sql_begin);
    r = mgc_query_run(&q);
    if (r == 0) {
        r = all(s, changes, count);
        q = mgc_query_open(s, sql_end);
        ended = mgc_query_run(&q);
        if (ended < 0 && !sqlite3_get_autocommit(s->db))
            (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    }
    if (r == 0)
        r = ended;
    if (r < 0)
        (void)mgc_store_say(s, r, what_apply, err);
    mgc_store_unlock(s);
    return r;
}

int mgc_store_apply(struct mgc_catalog *c, const struct mgc_change *changes, size_t count,
                    struct mgc_err *err)
{
    struct mgc_store *s = mgc_store_of(c);
    int r;

    if (s->read_only)
        return mgc_err_set(err, -EROFS, "could not %s catalog '%s'", what_apply,
                           MGC_SHOW(s->directory));
    if (count == 0)
        return 0;
    r = mgc_catalog_check_changes(changes, count, err);
    if (r == 0)
        r = mgc_store_unclean(s, err); /* M1 */
    if (r == 0 && only_opens(changes, count))
        r = mark_opens(s, changes, count, err);
    else if (r == 0) {
        r = mgc_store_begin(s, false, what_apply, err);
        if (r == 0)
            r = mgc_store_end(s, all(s, changes, count), what_apply, err);
    }
    if (r < 0)
        opens_lost(s, changes, count);
    /* A full disk here is met again, and told, by flush; the pages stay dirty until then. */
    else if (mgc_opened_write(s->opened, MGC_STORE_DIRTY_PAGES_MAX) < 0)
        return 0;
    return r;
}
