/*
 * catalog_sqlite_meta.c -- named values, the clean stop, and whether the array is believed.
 *
 *   M1  MGC_META_CLEAN is 1 on disk only while the array's file holds everything: it is set after
 *       the file is sealed, and cleared before the array is written to again.
 *   M2  At open for writing the array is believed only if the stop was clean and the file is the
 *       very one sealed then (generation).  Else every entry of now counts as opened at the stop:
 *       the last sign of life, or the present where that is unknown.  The floor is durable before
 *       anything is done to the file.
 *   M3  The floor only rises.
 */
#include "store_priv.h"

#include <sys/stat.h>

#include "mediagcfs/path.h"

static const char sql_get[] = "SELECT value FROM meta WHERE key = ?";
static const char sql_put[] = "INSERT INTO meta (key, value) VALUES (?, ?)"
                              " ON CONFLICT (key) DO UPDATE SET value = excluded.value";

int mgc_store_meta_get(struct mgc_store *s, const char *key, int64_t *ret_value)
{
    mgc_autoquery q = mgc_query_open(s, sql_get);
    int r;

    mgc_query_text(&q, key);
    r = mgc_query_step(&q);
    if (r == 0)
        return -ENOENT;
    if (r < 0)
        return r;
    if (sqlite3_column_type(q.stmt, 0) != SQLITE_INTEGER)
        return -EINVAL;
    *ret_value = mgc_query_get(&q);
    return 0;
}

int mgc_store_text_get(struct mgc_store *s, const char *key, char *out, size_t out_bytes)
{
    mgc_autoquery q = mgc_query_open(s, sql_get);
    const char *text;
    int r, n;

    mgc_query_text(&q, key);
    r = mgc_query_step(&q);
    if (r <= 0)
        return r == 0 ? -ENOENT : r;
    if (sqlite3_column_type(q.stmt, 0) != SQLITE_TEXT)
        return -EINVAL;
    text = (const char *)sqlite3_column_text(q.stmt, 0);
    if (text == NULL)
        return -ENOMEM;
    n = sqlite3_column_bytes(q.stmt, 0);
    if ((size_t)n >= out_bytes)
        return -ERANGE;
    memcpy(out, text, (size_t)n + 1);
    return 0;
}

int mgc_store_meta_put(struct mgc_store *s, const char *key, int64_t value)
{
    mgc_autoquery q = mgc_query_open(s, sql_put);

    mgc_query_text(&q, key);
    mgc_query_int(&q, value);
    return mgc_query_run(&q);
}

int mgc_store_text_put(struct mgc_store *s, const char *key, const char *value)
{
    mgc_autoquery q = mgc_query_open(s, sql_put);

    mgc_query_text(&q, key);
    mgc_query_text(&q, value);
    return mgc_query_run(&q);
}

/* ---- the array ---- */

void mgc_store_raise_floor(struct mgc_store *s, int64_t time_us)
{
    if (time_us <= s->floor_us && s->floor_below >= s->counters.next_id)
        return;
    if (time_us > s->floor_us)
        s->floor_us = time_us; /* M3 */
    s->floor_below = s->counters.next_id;
    s->floor_unsaved = true;
}

static int64_t meta_or(struct mgc_store *s, const char *key, int64_t otherwise)
{
    int64_t value = otherwise;

    return mgc_store_meta_get(s, key, &value) == 0 ? value : otherwise;
}

/* M2.  What is known about the stop; called with the lock held. */
static void judge_array(struct mgc_store *s, enum mgc_opened_found found, int64_t generation)
{
    int64_t alive_us = meta_or(s, MGC_META_ALIVE, 0);

    s->clean = meta_or(s, MGC_META_CLEAN, 0) == 1;
    if (s->counters.entries == 0)
        return;
    if (found == MGC_OPENED_OURS && s->clean &&
        generation == meta_or(s, MGC_META_OPENED_GENERATION, -1))
        return;
    /* Without the sealed file of a clean stop nobody knows when the last open was. */
    if (found != MGC_OPENED_OURS || s->clean || alive_us <= 0)
        alive_us = mgc_now_us();
    mgc_store_raise_floor(s, alive_us);
}

int mgc_store_open_array(struct mgc_store *s, uint32_t mode, int64_t gid, struct mgc_err *err)
{
    static const char what[] = "prepare";
    enum mgc_opened_found found;
    int64_t generation;
    int r = mgc_opened_open(s->directory, s->catalog_id, &s->opened, &found, &generation, err);

    if (r < 0)
        return r;
    r = mgc_store_begin(s, false, what, err);
    if (r < 0)
        return r;
    judge_array(s, found, generation);
    generation = meta_or(s, MGC_META_OPENED_GENERATION, 0);
    if (found == MGC_OPENED_MISSING)
        r = mgc_store_meta_put(s, MGC_META_OPENED_GENERATION, ++generation);
    r = mgc_store_end(s, r, what, err);
    if (r == 0 && found == MGC_OPENED_MISSING)
        r = mgc_opened_create(s->opened, mode, gid, generation, err);
    return r;
}

int mgc_store_unclean(struct mgc_store *s, struct mgc_err *err)
{
    static const char what[] = "mark as in use the";
    bool clean;
    int r;

    mgc_store_lock(s);
    clean = s->clean;
    mgc_store_unlock(s);
    if (!clean)
        return 0;
    r = mgc_store_begin(s, false, what, err);
    if (r < 0)
        return r;
    r = mgc_store_meta_put(s, MGC_META_CLEAN, 0);
    if (r == 0)
        s->clean = false;
    r = mgc_store_end(s, r, what, err);
    if (r < 0) {
        mgc_store_lock(s);
        s->clean = true;
        mgc_store_unlock(s);
    }
    return r;
}

/* M1: the file first. */
static int seal(struct mgc_store *s, struct mgc_err *err)
{
    static const char what[] = "mark as cleanly stopped the";
    int64_t generation;
    int r;

    mgc_store_lock(s);
    generation = meta_or(s, MGC_META_OPENED_GENERATION, 0) + 1;
    mgc_store_unlock(s);
    r = mgc_opened_seal(s->opened, generation, err);
    if (r == 0)
        r = mgc_store_begin(s, false, what, err);
    if (r < 0)
        return r;
    r = mgc_store_meta_put(s, MGC_META_OPENED_GENERATION, generation);
    if (r == 0)
        r = mgc_store_meta_put(s, MGC_META_CLEAN, 1);
    if (r == 0)
        s->clean = true;
    r = mgc_store_end(s, r, what, err);
    if (r < 0) {
        mgc_store_lock(s);
        s->clean = false;
        mgc_store_unlock(s);
    }
    return r;
}

void mgc_store_load_floor(struct mgc_store *s)
{
    s->floor_us = meta_or(s, MGC_META_OPENED_FLOOR, 0);
    s->floor_below = meta_or(s, MGC_META_OPENED_BELOW, 0);
}

static int64_t op_opened_us(struct mgc_catalog *c, int64_t entry_id)
{
    struct mgc_store *s = mgc_store_of(c);
    int64_t value_us = s->read_only ? 0 : mgc_opened_get(s->opened, entry_id);
    int64_t floor_us;

    mgc_store_lock(s);
    if (s->read_only) {
        int64_t reads = s->view.reads;

        value_us = mgc_opened_view_get(&s->view, s->directory, s->catalog_id, entry_id);
        if (value_us < 0) /* unknown means keep: it may have been opened just now */
            value_us = mgc_now_us();
        if (s->view.reads != reads) /* a floor raised since is learnt with the file */
            mgc_store_load_floor(s);
    }
    floor_us = entry_id < s->floor_below ? s->floor_us : 0;
    mgc_store_unlock(s);
    return value_us > floor_us ? value_us : floor_us;
}

/* ---- members ---- */

static int64_t wal_bytes(struct mgc_store *s)
{
    char path[MGC_PATH_BYTES_MAX + 1];
    struct stat st;

    if (mgc_path_join(path, sizeof(path), s->directory, "catalog.db-wal") < 0 ||
        stat(path, &st) < 0)
        return 0;
    return st.st_size;
}

static int op_meta_get(struct mgc_catalog *c, const char *key, int64_t *ret_value)
{
    static const char sql_next[] = "SELECT next_id FROM counters";
    struct mgc_store *s = mgc_store_of(c);
    int r;

    if (strcmp(key, MGC_META_WAL_BYTES) == 0) {
        *ret_value = wal_bytes(s);
        return 0;
    }
    mgc_store_lock(s);
    if (strcmp(key, MGC_META_NEXT_ID) == 0 && !s->read_only) {
        *ret_value = s->counters.next_id; /* may be ahead of the file: S2 */
        r = 0;
    } else if (strcmp(key, MGC_META_NEXT_ID) == 0) {
        struct mgc_query q = mgc_query_open(s, sql_next);

        r = mgc_query_one(&q, ret_value);
        r = r == 0 ? -ENOENT : r < 0 ? r : 0;
    } else
        r = mgc_store_meta_get(s, key, ret_value);
    mgc_store_unlock(s);
    return r;
}

static int op_meta_set(struct mgc_catalog *c, const char *key, int64_t value, struct mgc_err *err)
{
    static const char what[] = "set a value in";
    struct mgc_store *s = mgc_store_of(c);
    int r;

    if (strcmp(key, MGC_META_NEXT_ID) == 0 || strcmp(key, MGC_META_WAL_BYTES) == 0)
        return mgc_err_say(err, -EINVAL, "could not set value '%s': it can only be read", key);
    if (strcmp(key, MGC_META_CLEAN) == 0 && value == 1 && !s->read_only)
        return seal(s, err);
    r = mgc_store_begin(s, false, what, err);
    if (r < 0)
        return r;
    if (strcmp(key, MGC_META_OPENED_FLOOR) == 0)
        mgc_store_raise_floor(s, value);
    else
        r = mgc_store_meta_put(s, key, value);
    r = mgc_store_end(s, r, what, err);
    if (r == 0 && strcmp(key, MGC_META_CLEAN) == 0) {
        mgc_store_lock(s);
        s->clean = false;
        mgc_store_unlock(s);
    }
    return r;
}

static int op_text_get(struct mgc_catalog *c, const char *key, char *out, size_t out_bytes)
{
    struct mgc_store *s = mgc_store_of(c);
    int r;

    mgc_store_lock(s);
    r = mgc_store_text_get(s, key, out, out_bytes);
    mgc_store_unlock(s);
    return r;
}

static int op_text_set(struct mgc_catalog *c, const char *key, const char *value,
                       struct mgc_err *err)
{
    static const char what[] = "set a value in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_store_begin(s, false, what, err);

    return r < 0 ? r : mgc_store_end(s, mgc_store_text_put(s, key, value), what, err);
}

static int op_flush(struct mgc_catalog *c, struct mgc_err *err)
{
    static const char what[] = "write out";
    struct mgc_store *s = mgc_store_of(c);
    bool unsynced;
    int r;

    if (s->read_only)
        return 0;
    r = mgc_opened_sync(s->opened, err);
    if (r < 0)
        return r;
    mgc_store_lock(s);
    unsynced = s->unsynced || s->floor_unsaved;
    mgc_store_unlock(s);
    if (!unsynced)
        return 0;
    r = mgc_store_begin(s, false, what, err);
    return r < 0 ? r : mgc_store_end(s, 0, what, err);
}

void mgc_store_ops_meta(struct mgc_catalog_ops *ops)
{
    ops->meta_get = op_meta_get;
    ops->meta_set = op_meta_set;
    ops->meta_text_get = op_text_get;
    ops->meta_text_set = op_text_set;
    ops->opened_us = op_opened_us;
    ops->flush = op_flush;
}
