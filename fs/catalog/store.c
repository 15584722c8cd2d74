/*
 * store.c -- statements, transactions and ids of the SQLite store.
 *
 *   S1  Every change is inside mgc_store_begin() .. mgc_store_end(): one commit or nothing.
 *   S2  Ids only go up, also when a transaction is undone: what was given once is never given
 *       again (H11).  Beyond reserved_id none is given before reserve() has returned 0.
 *   S3  The counters of entries and bytes are written by the transaction that changes them.
 */
#include "store_priv.h"

#include <stdarg.h>

/* ---- codes and messages ---- */

int mgc_store_fail(struct mgc_store *s, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(s->detail, sizeof(s->detail), format, args);
    va_end(args);
    return code;
}

int mgc_store_code(struct mgc_store *s, int rc)
{
    int code = -EIO;

    switch (rc & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return 0;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        code = MGC_E_BUSY;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT: /* what may collide is checked before: the rows are not ours */
        code = MGC_E_CORRUPT;
        break;
    case SQLITE_FULL:
        code = -ENOSPC;
        break;
    case SQLITE_NOMEM:
        code = -ENOMEM;
        break;
    case SQLITE_READONLY:
        code = -EROFS;
        break;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        code = -EACCES;
        break;
    case SQLITE_TOOBIG:
        code = MGC_E_LIMIT;
        break;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN: {
        int system = s->db != NULL ? sqlite3_system_errno(s->db) : 0;

        code = system > 0 ? -system : -EIO;
        break;
    }
    default:
        break;
    }
    (void)snprintf(s->detail, sizeof(s->detail), "%s",
                   s->db != NULL ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc));
    return code;
}

int mgc_store_say(struct mgc_store *s, int code, const char *what, struct mgc_err *err)
{
    const char *why = s->detail[0] != '\0' ? s->detail : mgc_code_text(code);

    (void)mgc_err_say(err, code, "could not %s catalog '%s': %s", what, MGC_SHOW(s->directory),
                      why);
    if (code == -ENOSPC)
        (void)mgc_err_hint(err, "Make room on the filesystem of '%s'.", MGC_SHOW(s->directory));
    else if (code == MGC_E_CORRUPT)
        (void)mgc_err_hint(err, "Restart the daemon: it sets the catalog aside and builds a new "
                                "one from the tree.");
    return code;
}

/* ---- statements ---- */

/* Slot of the constant, or an empty one.  There are more slots than statements in the program. */
static struct mgc_store_statement *slot_of(struct mgc_store *s, const char *sql)
{
    _Static_assert(MGC_STORE_STATEMENTS_MAX == 256, "the hash keeps eight bits");
    size_t at = ((uintptr_t)sql >> 3) * UINT64_C(0x9E3779B97F4A7C15) >> 56;
    size_t tries = 0;

    while (s->statements[at].sql != sql && s->statements[at].sql != NULL) {
        at = (at + 1) % MGC_STORE_STATEMENTS_MAX;
        MGC_ASSERT(++tries < MGC_STORE_STATEMENTS_MAX);
    }
    return &s->statements[at];
}

struct mgc_query mgc_query_open(struct mgc_store *s, const char *sql)
{
    struct mgc_query q = {.store = s};
    struct mgc_store_statement *slot = slot_of(s, sql);

    if (slot->sql == NULL) {
        int rc = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &slot->stmt, NULL);

        if (rc != SQLITE_OK) {
            q.code = mgc_store_code(s, rc);
            return q;
        }
        slot->sql = sql;
    }
    MGC_ASSERT(!sqlite3_stmt_busy(slot->stmt)); /* a statement has one user at a time */
    q.stmt = slot->stmt;
    return q;
}

static void bound(struct mgc_query *q, int rc)
{
    if (rc != SQLITE_OK && q->code == 0)
        q->code = mgc_store_code(q->store, rc);
}

void mgc_query_int(struct mgc_query *q, int64_t value)
{
    if (q->code == 0)
        bound(q, sqlite3_bind_int64(q->stmt, ++q->bound, value));
}

void mgc_query_bytes(struct mgc_query *q, const char *text)
{
    if (q->code == 0)
        bound(q, sqlite3_bind_blob64(q->stmt, ++q->bound, text, strlen(text), SQLITE_STATIC));
}

void mgc_query_text(struct mgc_query *q, const char *text)
{
    if (q->code == 0)
        bound(q,
              sqlite3_bind_text(q->stmt, ++q->bound, text != NULL ? text : "", -1, SQLITE_STATIC));
}

int mgc_query_step(struct mgc_query *q)
{
    int rc;

    if (q->code < 0)
        return q->code;
    rc = sqlite3_step(q->stmt);
    q->column = 0;
    if (rc == SQLITE_ROW)
        return 1;
    q->code = mgc_store_code(q->store, rc);
    return q->code;
}

int mgc_query_run(struct mgc_query *q)
{
    int r = mgc_query_step(q);

    MGC_ASSERT(r <= 0);
    mgc_query_close(q);
    return r;
}

int mgc_query_one(struct mgc_query *q, int64_t *ret_value)
{
    int r = mgc_query_step(q);

    if (r == 1)
        *ret_value = mgc_query_get(q);
    mgc_query_close(q);
    return r;
}

int64_t mgc_query_get(struct mgc_query *q)
{
    return sqlite3_column_int64(q->stmt, q->column++);
}

void mgc_query_close(struct mgc_query *q)
{
    if (q->stmt == NULL)
        return;
    (void)sqlite3_reset(q->stmt); /* says again what step said */
    (void)sqlite3_clear_bindings(q->stmt);
    q->stmt = NULL;
}

/* ---- transactions ---- */

void mgc_store_lock(struct mgc_store *s)
{
    (void)pthread_mutex_lock(&s->lock);
    s->detail[0] = '\0';
}

void mgc_store_unlock(struct mgc_store *s)
{
    (void)pthread_mutex_unlock(&s->lock);
}

static int run(struct mgc_store *s, const char *sql)
{
    return mgc_store_code(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

int mgc_store_begin(struct mgc_store *s, bool relaxed, const char *what, struct mgc_err *err)
{
    static const char sql_begin[] = "BEGIN IMMEDIATE";
    struct mgc_query q;
    int r = 0;

    if (s->read_only)
        return mgc_err_say(err, -EROFS, "could not %s catalog '%s': opened for reading only", what,
                           MGC_SHOW(s->directory));
    mgc_store_lock(s);
    if (relaxed != s->relaxed)
        r = run(s, relaxed ? "PRAGMA synchronous = NORMAL" : "PRAGMA synchronous = FULL");
    if (r == 0) {
        s->relaxed = relaxed;
        q = mgc_query_open(s, sql_begin);
        r = mgc_query_run(&q);
    }
    if (r == 0) {
        s->before = s->counters;
        return 0;
    }
    (void)mgc_store_say(s, r, what, err);
    mgc_store_unlock(s);
    return r;
}

static int save_counters(struct mgc_store *s)
{
    static const char sql[] = "UPDATE counters SET next_id = ?, entries = ?, bytes = ?";
    bool same = s->counters.next_id == s->before.next_id &&
                s->counters.entries == s->before.entries && s->counters.bytes == s->before.bytes;
    int r = 0;

    /* A synced commit that changes nothing would not reach the disk: what is relaxed is then
     * still not durable. */
    if (!same || (!s->relaxed && s->unsynced)) {
        mgc_autoquery q = mgc_query_open(s, sql);

        mgc_query_int(&q, s->counters.next_id);
        mgc_query_int(&q, s->counters.entries);
        mgc_query_int(&q, s->counters.bytes);
        r = mgc_query_run(&q);
    }
    if (r == 0 && s->floor_unsaved) {
        r = mgc_store_meta_put(s, MGC_META_OPENED_FLOOR, s->floor_us);
        if (r == 0)
            r = mgc_store_meta_put(s, MGC_META_OPENED_BELOW, s->floor_below);
    }
    return r;
}

int mgc_store_end(struct mgc_store *s, int r, const char *what, struct mgc_err *err)
{
    static const char sql_commit[] = "COMMIT";
    int given = r;

    if (r >= 0) {
        r = save_counters(s);
        if (r == 0) {
            struct mgc_query q = mgc_query_open(s, sql_commit);

            r = mgc_query_run(&q);
        }
    }
    if (r >= 0) {
        s->unsynced = s->relaxed;
        s->floor_unsaved = false;
        r = given;
    } else {
        (void)mgc_store_say(s, r, what, err);
        if (!sqlite3_get_autocommit(s->db))
            (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        s->counters.entries = s->before.entries;
        s->counters.bytes = s->before.bytes; /* next_id stays: S2 */
        mgc_store_dirs_forget(s);
    }
    mgc_store_unlock(s);
    return r;
}

/* ---- ids ---- */

/* Ids below up_to may be given from now on. */
static int reserve_below(struct mgc_store *s, int64_t up_to)
{
    struct mgc_err why = {0};
    int r;

    if (s->reserve != NULL) {
        r = s->reserve(s->arg, up_to, &why);
        if (r < 0)
            return mgc_store_fail(s, r, "%s", why.text[0] != '\0' ? why.text : mgc_code_text(r));
    }
    s->reserved_id = up_to;
    return 0;
}

int mgc_store_new_id(struct mgc_store *s, int64_t *ret_id)
{
    int r = 0;

    if (s->counters.next_id >= MGC_OPENED_ID_MAX - MGC_ID_RESERVE)
        return mgc_store_fail(s, MGC_E_LIMIT, "all ids are used up");
    if (s->counters.next_id >= s->reserved_id)
        r = reserve_below(s, s->counters.next_id + MGC_ID_RESERVE);
    if (r < 0)
        return r;
    *ret_id = s->counters.next_id++;
    return 0;
}

int mgc_store_saw_id(struct mgc_store *s, int64_t id)
{
    if (id <= MGC_ROOT_DIR || id >= MGC_OPENED_ID_MAX - MGC_ID_RESERVE)
        return mgc_store_fail(s, MGC_E_LIMIT, "id %lld is out of range", (long long)id);
    if (id < s->counters.next_id)
        return 0;
    s->counters.next_id = id + 1;
    return id >= s->reserved_id ? reserve_below(s, id + 1 + MGC_ID_RESERVE) : 0;
}
