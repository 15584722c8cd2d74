/*
 * catalog_sqlite_runs.c -- runs, and how long entries have been orphans.
 *
 *   R1  At most one run is RUNNING: the end of one ends what older ones left.
 *   R2  A run counts once for an entry, however often it is marked.
 */
#include "store_priv.h"

#define RUN_COLUMNS                                                                                \
    "id, t0_us, ended_us, result, complete, applied, horizon_us, files, referenced, kept, "        \
    "derived, open, young, hot, suspect, waiting, candidates, moved, healed, missing, "            \
    "moved_bytes, reference_count, digest, refusal, sources, matcher"

static void bind_run(struct mgc_query *q, const struct mgc_run *run)
{
    const int64_t numbers[] = {
        run->t0_us,      run->ended_us, run->result,     run->complete, run->applied,
        run->horizon_us, run->files,    run->referenced, run->kept,     run->derived,
        run->open,       run->young,    run->hot,        run->suspect,  run->waiting,
        run->candidates, run->moved,    run->healed,     run->missing,  run->moved_bytes,
        run->references,
    };

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        mgc_query_int(q, numbers[i]);
    mgc_query_text(q, run->digest);
    mgc_query_text(q, run->refusal);
    mgc_query_text(q, run->sources);
    mgc_query_text(q, run->matcher);
}

static void read_run(struct mgc_query *q, struct mgc_rows *rows, struct mgc_run *run)
{
    int64_t *const counts[] = {
        &run->horizon_us, &run->files,   &run->referenced,  &run->kept,
        &run->derived,    &run->open,    &run->young,       &run->hot,
        &run->suspect,    &run->waiting, &run->candidates,  &run->moved,
        &run->healed,     &run->missing, &run->moved_bytes, &run->references,
    };

    run->id = mgc_query_get(q);
    run->t0_us = mgc_query_get(q);
    run->ended_us = mgc_query_get(q);
    run->result = (enum mgc_run_result)mgc_query_get(q);
    run->complete = mgc_query_get(q) != 0;
    run->applied = mgc_query_get(q) != 0;
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
        *counts[i] = mgc_query_get(q);
    run->digest = mgc_rows_string(rows, q);
    run->refusal = mgc_rows_string(rows, q);
    run->sources = mgc_rows_string(rows, q);
    run->matcher = mgc_rows_string(rows, q);
}

static int op_begin(struct mgc_catalog *c, struct mgc_run *run, struct mgc_err *err)
{
    static const char sql[] =
        "INSERT INTO runs (t0_us, ended_us, result, complete, applied, horizon_us, files,"
        " referenced, kept, derived, open, young, hot, suspect, waiting, candidates, moved, healed,"
        " missing, moved_bytes, reference_count, digest, refusal, sources, matcher) VALUES"
        " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    static const char what[] = "begin a run in";
    struct mgc_store *s = mgc_store_of(c);
    int64_t id;
    int r = mgc_store_begin(s, false, what, err);

    if (r < 0)
        return r;
    {
        mgc_autoquery q = mgc_query_open(s, sql);

        bind_run(&q, run);
        r = mgc_query_run(&q);
    }
    id = sqlite3_last_insert_rowid(s->db);
    r = mgc_store_end(s, r, what, err);
    if (r == 0)
        run->id = id;
    return r;
}

/* Older runs that never ended did not end well (R1). */
static int end_older(struct mgc_store *s, const struct mgc_run *run)
{
    static const char sql[] =
        "UPDATE runs SET result = ?, ended_us = ? WHERE result = ? AND id < ?";
    mgc_autoquery q = mgc_query_open(s, sql);

    mgc_query_int(&q, MGC_RUN_FAILED);
    mgc_query_int(&q, run->ended_us);
    mgc_query_int(&q, MGC_RUN_RUNNING);
    mgc_query_int(&q, run->id);
    return mgc_query_run(&q);
}

/*
 * The lists of a run that judged everything (done, or refused afterwards) replace all others. Those
 * of another are lists of what was not read: they go, and the last good ones stay.
 */
static int settle_findings(struct mgc_store *s, const struct mgc_run *run)
{
    static const char sql_others[] = "DELETE FROM findings WHERE run <> ?";
    static const char sql_own[] = "DELETE FROM findings WHERE run = ?";
    bool judged = run->result == MGC_RUN_DONE || run->result == MGC_RUN_REFUSED;
    mgc_autoquery q = mgc_query_open(s, judged ? sql_others : sql_own);

    mgc_query_int(&q, run->id);
    return mgc_query_run(&q);
}

static int op_end(struct mgc_catalog *c, const struct mgc_run *run, struct mgc_err *err)
{
    static const char sql[] =
        "UPDATE runs SET t0_us = ?, ended_us = ?, result = ?, complete = ?, applied = ?,"
        " horizon_us = ?, files = ?, referenced = ?, kept = ?, derived = ?, open = ?, young = ?,"
        " hot = ?, suspect = ?, waiting = ?, candidates = ?, moved = ?, healed = ?, missing = ?,"
        " moved_bytes = ?, reference_count = ?, digest = ?, refusal = ?, sources = ?, matcher = ?"
        " WHERE id = ?";
    static const char what[] = "end a run in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_store_begin(s, false, what, err);

    if (r < 0)
        return r;
    {
        mgc_autoquery q = mgc_query_open(s, sql);

        bind_run(&q, run);
        mgc_query_int(&q, run->id);
        r = mgc_query_run(&q);
    }
    if (r == 0 && sqlite3_changes(s->db) != 1)
        r = mgc_store_fail(s, -ENOENT, "there is no run %lld", (long long)run->id);
    if (r == 0)
        r = end_older(s, run);
    if (r == 0)
        r = settle_findings(s, run);
    return mgc_store_end(s, r, what, err);
}

static int list(struct mgc_catalog *c, const char *sql, int64_t before, int limit, mgc_run_fn *each,
                void *arg)
{
    struct mgc_store *s = mgc_store_of(c);
    mgc_autorows rows = {.item_bytes = sizeof(struct mgc_run)};
    const struct mgc_run *runs;
    int r;

    mgc_store_lock(s);
    {
        mgc_autoquery q = mgc_query_open(s, sql);

        mgc_query_int(&q, before == 0 ? INT64_MAX : before);
        mgc_query_int(&q, limit);
        while ((r = mgc_query_step(&q)) == 1) {
            struct mgc_run *run = mgc_rows_add(&rows);

            if (run == NULL)
                break;
            read_run(&q, &rows, run);
        }
    }
    mgc_store_unlock(s);
    if (rows.failed)
        return -ENOMEM;
    runs = (const void *)rows.items;
    for (size_t i = 0; r == 0 && i < rows.count; i++)
        r = each(arg, &runs[i]);
    return r != 0 ? r : (int)rows.count;
}

static int op_runs(struct mgc_catalog *c, int64_t before, int limit, mgc_run_fn *each, void *arg)
{
    static const char sql[] =
        "SELECT " RUN_COLUMNS " FROM runs WHERE id < ? ORDER BY id DESC LIMIT ?";

    return list(c, sql, before, limit, each, arg);
}

/* Passes on what `each` says, which list() cannot tell from a count. */
struct once {
    mgc_run_fn *each;
    void *arg;
    int said;
};

static int give_once(void *arg, const struct mgc_run *run)
{
    struct once *once = arg;

    once->said = once->each(once->arg, run);
    return 0;
}

static int op_last_complete(struct mgc_catalog *c, int64_t before, mgc_run_fn *each, void *arg)
{
    static const char sql[] = "SELECT " RUN_COLUMNS " FROM runs WHERE id < ? AND complete <> 0"
                              " ORDER BY id DESC LIMIT ?";
    struct once once = {.each = each, .arg = arg};
    int r = list(c, sql, before, 1, give_once, &once);

    return r < 0 ? r : r == 0 ? -ENOENT : once.said;
}

/* ---- maturity ---- */

static int mark_one(struct mgc_store *s, int64_t run, int64_t t0_us, int64_t previous, int64_t id)
{
    static const char sql[] =
        "UPDATE entries SET"
        " orphan_since_us = CASE WHEN orphan_last_run = ?1 AND ?1 <> 0 THEN orphan_since_us"
        "  ELSE ?3 END,"
        " orphan_first_run = CASE WHEN orphan_last_run = ?1 AND ?1 <> 0 THEN orphan_first_run"
        "  ELSE ?2 END,"
        " orphan_runs = CASE WHEN orphan_last_run = ?1 AND ?1 <> 0 THEN orphan_runs + 1 ELSE 1 END,"
        " orphan_last_run = ?2"
        " WHERE id = ?4 AND orphan_last_run <> ?2";
    mgc_autoquery q = mgc_query_open(s, sql);

    mgc_query_int(&q, previous);
    mgc_query_int(&q, run);
    mgc_query_int(&q, t0_us);
    mgc_query_int(&q, id);
    return mgc_query_run(&q);
}

static int op_mark(struct mgc_catalog *c, int64_t run, int64_t t0_us, int64_t previous,
                   const int64_t *ids, size_t count, struct mgc_err *err)
{
    static const char what[] = "count a run for orphans in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_store_begin(s, false, what, err);

    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = mark_one(s, run, t0_us, previous, ids[i]);
    return mgc_store_end(s, r, what, err);
}

static int op_restart_waits(struct mgc_catalog *c, struct mgc_err *err)
{
    static const char sql_entries[] =
        "UPDATE entries SET orphan_since_us = 0, orphan_first_run = 0, orphan_last_run = 0,"
        " orphan_runs = 0 WHERE orphan_runs <> 0";
    static const char sql_held[] =
        "UPDATE held SET proof_us = 0, proof_run = 0 WHERE proof_us <> 0";
    static const char what[] = "restart the waits in";
    struct mgc_store *s = mgc_store_of(c);
    struct mgc_query q;
    int r = mgc_store_begin(s, false, what, err);

    if (r < 0)
        return r;
    q = mgc_query_open(s, sql_entries);
    r = mgc_query_run(&q);
    if (r == 0) {
        q = mgc_query_open(s, sql_held);
        r = mgc_query_run(&q);
    }
    return mgc_store_end(s, r, what, err);
}

void mgc_store_ops_runs(struct mgc_catalog_ops *ops)
{
    ops->run_begin = op_begin;
    ops->run_end = op_end;
    ops->runs = op_runs;
    ops->run_last_complete = op_last_complete;
    ops->mark_orphans = op_mark;
    ops->restart_waits = op_restart_waits;
}
