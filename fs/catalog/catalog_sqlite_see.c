/*
 * catalog_sqlite_see.c -- rows of one directory against what a verification found in it.
 *
 *   V1  Rows and listing are compared first; only names on which they disagree are touched.
 *   V2  For each of those the tree is asked again while the store stands still: a change that was
 *       recorded between the listing and now is not undone, and what is written is true now.
 *   V3  What is new here is born when the reading began or at its change time, whichever is later:
 *       a name that came during the reading has a change time after its beginning.
 *   V4  A directory with many disagreements is written in parts.  Each part is true by itself; the
 *       directory's own row (its change time, by which the next verification skips it) comes with
 *       the last.
 *   V5  These commits are not synced one by one: a part lost in a power cut is found again by the
 *       next verification, later.  The next commit of any other kind makes them durable.
 */
#include "catalog_priv.h"
#include "store_priv.h"

#include <sys/stat.h>

#include "mediagcfs/path.h"

static const char what_see[] = "record a verified directory in";

/* One directory on its way through. */
struct see {
    struct mgc_store *store;
    const struct mgc_seen_dir *seen;
    int64_t dir;
    struct mgc_rows names; /* const char *: names on which rows and listing disagree */
    size_t next;           /* of names: the first that is not settled yet */
    struct mgc_seen_result result;
};

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool is_private(const struct see *see, const char *name)
{
    return see->seen->path[0] == '\0' && strcmp(name, MGC_PRIVATE_DIR) == 0;
}

static int disagree(struct see *see, const char *name)
{
    const char **slot = mgc_rows_add(&see->names);

    if (slot == NULL)
        return -ENOMEM;
    *slot = name;
    return 0;
}

/* ---- comparing (V1) ---- */

/* The next name of the listing from *at that is a directory, or an entry; NULL at the end. */
static const struct mgc_seen_name *next_seen(const struct see *see, size_t *at, bool directories)
{
    enum mgc_kind kind;

    for (; *at < see->seen->count; (*at)++) {
        const struct mgc_seen_name *name = &see->seen->names[*at];
        bool wanted =
            directories ? S_ISDIR(name->stat.mode) : mgc_store_is_entry(&name->stat, &kind);

        if (wanted && !is_private(see, name->name))
            return name;
    }
    return NULL;
}

/* Bytes of a row's name against a name of the listing, as strcmp(). */
static int compare(struct mgc_query *q, const char *name)
{
    const char *row = sqlite3_column_blob(q->stmt, 0);
    size_t row_bytes = (size_t)sqlite3_column_bytes(q->stmt, 0), bytes = strlen(name);
    int order = memcmp(row, name, row_bytes < bytes ? row_bytes : bytes);

    return order != 0 ? order : (row_bytes > bytes) - (row_bytes < bytes);
}

/* Columns after the name: kind, size, ino, stamp, id_kind, nlink, changed. */
static bool same_facts(struct mgc_query *q, const struct mgc_file_stat *stat)
{
    enum mgc_kind kind = MGC_KIND_FILE;
    struct mgc_file_id id;
    bool same;

    q->column = 1;
    (void)mgc_store_is_entry(stat, &kind);
    same = mgc_query_get(q) == (int64_t)kind;
    same = mgc_query_get(q) == stat->size_bytes && same;
    id.ino = (uint64_t)mgc_query_get(q);
    id.stamp = mgc_query_get(q);
    id.kind = (enum mgc_id_kind)mgc_query_get(q);
    same = mgc_query_get(q) == (int64_t)stat->nlink && same;
    same = mgc_query_get(q) == stat->ctime_us && same;
    return same && mgc_store_same_file(&id, &stat->id);
}

/* Walks rows and listing side by side, both in the order of their bytes. */
static int merge(struct see *see, const char *sql, bool directories)
{
    mgc_autoquery q = mgc_query_open(see->store, sql);
    size_t at = 0;
    const struct mgc_seen_name *seen = next_seen(see, &at, directories);
    int row, r = 0;

    mgc_query_int(&q, see->dir);
    row = mgc_query_step(&q);
    while (r == 0 && (row == 1 || (row == 0 && seen != NULL))) {
        int order = row == 0 ? 1 : seen == NULL ? -1 : compare(&q, seen->name);

        if (order < 0)
            r = disagree(see, mgc_rows_string(&see->names, &q));
        else if (order > 0 || (!directories && !same_facts(&q, &seen->stat)))
            r = disagree(see, seen->name);
        if (order >= 0) {
            at++;
            seen = next_seen(see, &at, directories);
        }
        if (order <= 0)
            row = mgc_query_step(&q);
    }
    return r < 0 ? r : row < 0 ? row : see->names.failed ? -ENOMEM : 0;
}

static int compare_all(struct see *see)
{
    static const char sql_entries[] = "SELECT name, kind, size_bytes, ino, stamp, id_kind, nlink,"
                                      " changed_us FROM entries WHERE dir = ? ORDER BY name";
    static const char sql_dirs[] = "SELECT name FROM dirs WHERE parent = ? ORDER BY name";
    int r = merge(see, sql_entries, false);

    return r < 0 ? r : merge(see, sql_dirs, true);
}

/* ---- settling one name (V2) ---- */

static int by_name(const void *key, const void *element)
{
    const struct mgc_seen_name *seen = element;

    return strcmp(key, seen->name);
}

/* What the name is now; -ENOENT when it is gone. */
static int ask_again(const struct see *see, const char *name, struct mgc_file_stat *ret_stat)
{
    const struct mgc_seen_name *found;

    if (see->seen->again != NULL)
        return see->seen->again(see->seen->arg, name, ret_stat);
    found = see->seen->count == 0 ? NULL
                                  : bsearch(name, see->seen->names, see->seen->count,
                                            sizeof(*see->seen->names), by_name);
    if (found == NULL)
        return -ENOENT;
    *ret_stat = found->stat;
    return 0;
}

static int settle_directory(struct see *see, const char *name, const struct mgc_file_stat *stat)
{
    int64_t id;
    int r = mgc_store_dir_child(see->store, see->dir, name, &id);

    if (r != 0)
        return r < 0 ? r : 0;
    r = mgc_store_name_clear(see->store, see->dir, name, &see->result.removed);
    if (r == 0)
        r = mgc_store_dir_insert(see->store, see->dir, name,
                                 later(see->seen->read_us, stat->ctime_us), &id);
    return r;
}

/*
 * When the content was written at the latest, as far as a stat can tell.  The modification time
 * may be set by anybody; the change time bounds it from above.
 */
static int64_t written_by(const struct mgc_file_stat *stat)
{
    return stat->mtime_us < stat->ctime_us ? stat->mtime_us : stat->ctime_us;
}

static int add_entry(struct see *see, const char *name, const struct mgc_file_stat *stat)
{
    struct mgc_entry entry = {.dir_id = see->dir,
                              .name = name,
                              .uid = (uint32_t)-1,
                              .born_us = later(see->seen->read_us, stat->ctime_us), /* V3 */
                              .written_us = written_by(stat)};
    int r = mgc_store_name_clear(see->store, see->dir, name, &see->result.removed);

    if (r < 0)
        return r;
    mgc_store_entry_take(&entry, stat);
    r = mgc_store_entry_insert(see->store, &entry);
    see->result.added += r == 0;
    return r;
}

static int settle_entry(struct see *see, const char *name, const struct mgc_file_stat *stat)
{
    struct mgc_entry entry, before;
    int64_t size_before;
    int r = mgc_store_entry_find(see->store, see->dir, name, &entry);

    if (r < 0)
        return r;
    if (r == 0 || !mgc_store_same_file(&entry.file_id, &stat->id))
        return add_entry(see, name, stat);
    before = entry;
    size_before = entry.size_bytes;
    mgc_store_entry_take(&entry, stat);
    entry.written_us = later(entry.written_us, written_by(stat));
    /* Other content, written nobody knows when, but not after the change time. */
    if (entry.size_bytes != size_before)
        entry.written_us = later(entry.written_us, stat->ctime_us);
    if (entry.kind == before.kind && entry.size_bytes == before.size_bytes &&
        entry.nlink == before.nlink && entry.changed_us == before.changed_us)
        return 0; /* the rows were brought up to date meanwhile */
    r = mgc_store_entry_update(see->store, &entry, size_before);
    see->result.changed += r == 0;
    return r;
}

static int settle(struct see *see, const char *name)
{
    struct mgc_file_stat stat = {0};
    enum mgc_kind kind;
    int r = ask_again(see, name, &stat);

    if (r < 0 && r != -ENOENT)
        return mgc_store_fail(see->store, r, "could not look at '%s' again: %s", MGC_SHOW(name),
                              mgc_code_text(r));
    if (r == 0 && S_ISDIR(stat.mode))
        return settle_directory(see, name, &stat);
    if (r == 0 && mgc_store_is_entry(&stat, &kind))
        return settle_entry(see, name, &stat);
    return mgc_store_name_clear(see->store, see->dir, name, &see->result.removed);
}

/* ---- the parts (V4) ---- */

static int finish(struct see *see)
{
    static const char sql[] = "UPDATE dirs SET changed_us = ?, verified_us = ? WHERE id = ?";
    mgc_autoquery q = mgc_query_open(see->store, sql);

    mgc_query_int(&q, see->seen->stat.ctime_us);
    mgc_query_int(&q, see->seen->read_us);
    mgc_query_int(&q, see->dir);
    return mgc_query_run(&q);
}

/* Is the row of the first part still there?  A rename meanwhile does not matter: by id. */
static int still_there(struct see *see)
{
    static const char sql[] = "SELECT id FROM dirs WHERE id = ?";
    struct mgc_query q = mgc_query_open(see->store, sql);
    int64_t id;
    int r;

    mgc_query_int(&q, see->dir);
    r = mgc_query_one(&q, &id);
    return r == 0  ? mgc_store_fail(see->store, -ESTALE, "the directory was removed meanwhile")
           : r < 0 ? r
                   : 0;
}

static int part(struct see *see)
{
    const char *const *names;
    size_t end;
    int r = 0;

    if (see->dir == 0) {
        r = mgc_store_dir_make(see->store, see->seen->path,
                               later(see->seen->read_us, see->seen->stat.ctime_us), &see->dir);
        if (r == 0)
            r = compare_all(see);
    } else
        r = still_there(see);
    names = (const void *)see->names.items;
    end = see->names.count - see->next > MGC_STORE_CHUNK ? see->next + MGC_STORE_CHUNK
                                                         : see->names.count;
    for (; r == 0 && see->next < end; see->next++)
        r = settle(see, names[see->next]);
    if (r == 0 && see->next == see->names.count)
        r = finish(see);
    return r;
}

int mgc_store_see_dir(struct mgc_catalog *c, const struct mgc_seen_dir *seen,
                      struct mgc_seen_result *ret_result, struct mgc_err *err)
{
    struct mgc_store *s = mgc_store_of(c);
    struct see see = {.store = s, .seen = seen, .names = {.item_bytes = sizeof(const char *)}};
    bool done = false;
    int r = mgc_catalog_check_seen(seen, err);

    while (r == 0 && !done) {
        r = mgc_store_begin(s, true, what_see, err);
        if (r < 0)
            break;
        r = part(&see);
        done = see.next == see.names.count;
        r = mgc_store_end(s, r, what_see, err);
    }
    mgc_rows_done(&see.names);
    if (r == 0)
        *ret_result = see.result;
    return r;
}
