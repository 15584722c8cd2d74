/*
 * source_postgres_view.c -- what is open while we look: horizon, fence, identity (G2).
 *
 *   V1  Order: T0, open transactions, prepared ones, then a new transaction for the snapshot.  One
 *       that ends in between is in one of the lists or in the snapshot; never in none.
 *   V2  Open transactions are the virtualxid rows of pg_locks, complete for every role (H30).  One
 *       whose start is not to be seen makes oldest_us 0, and only the fence can decide.
 *   V3  Starts are on the server's clock.  Its offset to ours is measured by round trips, and the
 *       whole round trip is subtracted as uncertainty: too early keeps, too late deletes.
 *   V4  A prepared transaction is a transaction of unknown start.  One that was still running at
 *       the T0 of a fence and has been prepared since has lost its virtual id: so whatever is
 *       prepared when the last stored virtual id has gone must end too.
 */
#include "fs/refs/source_postgres_priv.h"

#include <jansson.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/os.h"

enum { CLOCK_ROUNDS = 3 };

#define EPOCH_US(expression) "(extract(epoch FROM " expression ") * 1000000)::pg_catalog.int8"

/* Row (V2): another database's transaction cannot write here; one of no known database might. */
static const char opens_sql[] =
    "SELECT l.virtualtransaction, l.pid, a.usename, a.datname, " EPOCH_US(
        "a.xact_start") " FROM pg_catalog.pg_locks l"
                        " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
                        " WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND "
                        "l.granted"
                        " AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()"
                        " AND (a.pid IS NULL OR a.datid = (SELECT d.oid FROM "
                        "pg_catalog.pg_database d"
                        " WHERE d.datname = pg_catalog.current_database()))";

static const char prepared_sql[] =
    "SELECT p.transaction::pg_catalog.text, p.gid, p.owner, " EPOCH_US(
        "p.prepared") " FROM pg_catalog.pg_prepared_xacts p WHERE p.database = "
                      "pg_catalog.current_database()";

static const char clock_sql[] = "SELECT " EPOCH_US("pg_catalog.clock_timestamp()");

static const char identity_sql[] =
    "SELECT pg_catalog.pg_is_in_recovery(), d.oid, d.datname,"
    " pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')"
    " FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";

static const char snapshot_sql[] =
    "SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()),"
    " pg_catalog.pg_current_wal_lsn(), pg_catalog.pg_backend_pid()";

void mgc_pg_facts_done(struct mgc_pg_facts *facts)
{
    for (size_t i = 0; i < facts->opens_count; i++) {
        free(facts->opens[i].vxid);
        free(facts->opens[i].pid);
        free(facts->opens[i].user);
        free(facts->opens[i].database);
    }
    for (size_t i = 0; i < facts->prepared_count; i++) {
        free(facts->prepared[i].xid);
        free(facts->prepared[i].gid);
        free(facts->prepared[i].owner);
    }
    free(facts->opens);
    free(facts->prepared);
    *facts = (struct mgc_pg_facts){0};
}

void mgc_pg_fence_done(struct mgc_pg *pg)
{
    for (size_t i = 0; i < pg->fence_prepared_count; i++)
        free(pg->fence_prepared[i]);
    free(pg->fence_prepared);
    free(pg->fence_text);
    pg->fence_prepared = NULL;
    pg->fence_prepared_count = 0;
    pg->fence_text = NULL;
}

static int no_memory(const struct mgc_pg *pg, struct mgc_err *err)
{
    return mgc_err_set(err, -ENOMEM, "could not look at source '%s'", pg->base.name);
}

/* A number of the server; false when it is none. */
static bool number(const char *text, int64_t *ret)
{
    char *end = NULL;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        return false;
    *ret = value;
    return true;
}

static int not_a_number(const struct mgc_pg *pg, struct mgc_err *err)
{
    return mgc_err_say(err, MGC_E_PROTOCOL,
                       "could not look at source '%s': the server gave no number", pg->base.name);
}

static int load_opens(struct mgc_pg *pg, struct mgc_pg_facts *facts, int64_t deadline_us,
                      struct mgc_err *err)
{
    const struct mgc_pg_query query = {.sql = opens_sql, .table = ""};
    mgc_pg_autores *res = NULL;
    int r = mgc_pg_exec(pg, &query, deadline_us, &res, err);

    if (r < 0)
        return r;
    facts->opens = calloc((size_t)PQntuples(res) + 1, sizeof(*facts->opens));
    if (facts->opens == NULL)
        return no_memory(pg, err);
    for (int i = 0; i < PQntuples(res); i++) {
        struct mgc_pg_open *open = &facts->opens[facts->opens_count++];
        int64_t start_us;

        open->vxid = strdup(PQgetvalue(res, i, 0));
        open->pid = strdup(PQgetvalue(res, i, 1));
        open->user = strdup(PQgetvalue(res, i, 2));
        open->database = strdup(PQgetvalue(res, i, 3));
        if (open->vxid == NULL || open->pid == NULL || open->user == NULL || open->database == NULL)
            return no_memory(pg, err);
        if (PQgetisnull(res, i, 4))
            facts->invisible = true;
        else if (!number(PQgetvalue(res, i, 4), &start_us))
            return not_a_number(pg, err);
        else if (start_us < facts->earliest_us)
            facts->earliest_us = start_us;
    }
    return 0;
}

static int load_prepared(struct mgc_pg *pg, struct mgc_pg_facts *facts, int64_t deadline_us,
                         struct mgc_err *err)
{
    const struct mgc_pg_query query = {.sql = prepared_sql, .table = ""};
    mgc_pg_autores *res = NULL;
    int r = mgc_pg_exec(pg, &query, deadline_us, &res, err);

    if (r < 0)
        return r;
    facts->prepared = calloc((size_t)PQntuples(res) + 1, sizeof(*facts->prepared));
    if (facts->prepared == NULL)
        return no_memory(pg, err);
    for (int i = 0; i < PQntuples(res); i++) {
        struct mgc_pg_prepared *prepared = &facts->prepared[facts->prepared_count++];

        prepared->xid = strdup(PQgetvalue(res, i, 0));
        prepared->gid = strdup(PQgetvalue(res, i, 1));
        prepared->owner = strdup(PQgetvalue(res, i, 2));
        if (prepared->xid == NULL || prepared->gid == NULL || prepared->owner == NULL)
            return no_memory(pg, err);
        if (!number(PQgetvalue(res, i, 3), &prepared->at_us))
            return not_a_number(pg, err);
        facts->invisible = true; /* its time is that of PREPARE (V4) */
    }
    return 0;
}

/* Server clock minus ours, and how far that may be off (V3). */
static int measure_clock(struct mgc_pg *pg, int64_t deadline_us, int64_t *ret_offset_us,
                         int64_t *ret_uncertainty_us, struct mgc_err *err)
{
    const struct mgc_pg_query query = {.sql = clock_sql, .table = ""};
    int64_t best_us = INT64_MAX, offset_us = 0;

    for (int i = 0; i < CLOCK_ROUNDS; i++) {
        mgc_pg_autores *res = NULL;
        int64_t before_us = mgc_now_us(), after_us, server_us;
        int64_t ticks_us = mgc_monotonic_us();
        int r = mgc_pg_exec(pg, &query, deadline_us, &res, err);

        if (r < 0)
            return r;
        after_us = mgc_now_us();
        ticks_us = mgc_monotonic_us() - ticks_us;
        if (PQntuples(res) != 1 || !number(PQgetvalue(res, 0, 0), &server_us))
            return not_a_number(pg, err);
        /* A step of our clock in between shows in its difference to the monotonic one. */
        if (after_us - before_us > ticks_us)
            ticks_us = after_us - before_us;
        if (ticks_us < best_us && after_us >= before_us) {
            best_us = ticks_us;
            offset_us = server_us - after_us;
        }
    }
    if (best_us == INT64_MAX)
        return mgc_err_say(err, MGC_E_SOURCE, "could not compare clocks with source '%s'",
                           pg->base.name);
    *ret_offset_us = offset_us;
    *ret_uncertainty_us = best_us;
    return 0;
}

/* Open and prepared transactions, in a transaction of their own (V1). */
static int load_facts(struct mgc_pg *pg, int64_t deadline_us, struct mgc_pg_facts *ret,
                      struct mgc_err *err)
{
    const struct mgc_pg_query clock = {.sql = clock_sql, .table = ""};
    struct mgc_pg_facts facts = {.earliest_us = INT64_MAX};
    mgc_pg_autores *res = NULL;
    int r = mgc_pg_transaction(pg, "READ COMMITTED", deadline_us, err);

    if (r == 0)
        r = mgc_pg_exec(pg, &clock, deadline_us, &res, err);
    if (r == 0 && (PQntuples(res) != 1 || !number(PQgetvalue(res, 0, 0), &facts.server_us)))
        r = not_a_number(pg, err);
    if (r == 0)
        r = load_opens(pg, &facts, deadline_us, err);
    if (r == 0)
        r = load_prepared(pg, &facts, deadline_us, err);
    if (r == 0)
        r = mgc_pg_run(pg, "COMMIT", deadline_us, err);
    if (r < 0) {
        mgc_pg_facts_done(&facts);
        return r;
    }
    facts.known = true;
    *ret = facts;
    return 0;
}

/* System identifier and database oid.  A role without pg_control_system() gets a weaker one. */
static int load_identity(struct mgc_pg *pg, int64_t deadline_us, char **ret, struct mgc_err *err)
{
    const struct mgc_pg_query query = {.sql = identity_sql, .table = ""};
    const struct mgc_pg_query control = {
        .sql = "SELECT system_identifier FROM pg_catalog.pg_control_system()", .table = ""};
    mgc_pg_autores *res = NULL;
    mgc_pg_autores *system = NULL;
    mgc_autobuf text = {0};
    int r = mgc_pg_exec(pg, &query, deadline_us, &res, err);

    if (r < 0)
        return r;
    if (PQntuples(res) != 1)
        return mgc_pg_failure(pg, NULL, "", err);
    if (PQgetvalue(res, 0, 0)[0] == 't') {
        r = mgc_err_say(err, MGC_E_SOURCE,
                        "could not begin source '%s': the server is a standby, which does not "
                        "show the open transactions of its primary",
                        pg->base.name);
        (void)mgc_err_hint(err, "Point conninfo at the primary (target_session_attrs=read-write)");
        return r;
    }
    if (PQgetvalue(res, 0, 3)[0] == 't') {
        r = mgc_pg_exec(pg, &control, deadline_us, &system, err);
        if (r < 0)
            return r;
    }
    if (system != NULL && PQntuples(system) == 1)
        mgc_buf_addf(&text, "postgresql system %s database %s", PQgetvalue(system, 0, 0),
                     PQgetvalue(res, 0, 1));
    else
        mgc_buf_addf(&text, "postgresql system unknown database %s %s", PQgetvalue(res, 0, 1),
                     PQgetvalue(res, 0, 2));
    if (text.failed)
        return no_memory(pg, err);
    *ret = mgc_steal(text.data);
    return 0;
}

/* "1/2A" becomes "00000001/0000002A". */
static bool pad_position(const char *text, char *out, size_t out_bytes)
{
    char *slash, *end;
    unsigned long high = strtoul(text, &slash, 16), low;

    if (slash == text || *slash != '/')
        return false;
    low = strtoul(slash + 1, &end, 16);
    if (end == slash + 1 || *end != '\0')
        return false;
    (void)snprintf(out, out_bytes, "%08lX/%08lX", high, low);
    return true;
}

/* The snapshot everything is read in.  position: padded, so that text order is WAL order. */
static int open_snapshot(struct mgc_pg *pg, int64_t deadline_us, struct mgc_source_view *view,
                         struct mgc_err *err)
{
    const struct mgc_pg_query query = {.sql = snapshot_sql, .table = ""};
    mgc_pg_autores *res = NULL;
    char position[32];
    int r = mgc_pg_transaction(pg, "REPEATABLE READ", deadline_us, err);

    if (r == 0)
        r = mgc_pg_exec(pg, &query, deadline_us, &res, err);
    if (r < 0)
        return r;
    if (PQntuples(res) != 1 || !number(PQgetvalue(res, 0, 0), &view->progress) ||
        !pad_position(PQgetvalue(res, 0, 1), position, sizeof(position)))
        return not_a_number(pg, err);
    (void)snprintf(pg->main_pid, sizeof(pg->main_pid), "%s", PQgetvalue(res, 0, 2));
    view->position = strdup(position);
    if (view->position == NULL)
        return no_memory(pg, err);
    pg->facts.xmax = (uint64_t)view->progress;
    /* Taken back after each table: its lock goes, the snapshot stays (H31). */
    return mgc_pg_run(pg, "SAVEPOINT table_done", deadline_us, err);
}

/* {"vxids":[..],"prepared":[..],"xmax":"..","at":".."}; "at" is the server's clock at T0. */
static char *make_fence(const struct mgc_pg_facts *facts)
{
    mgc_autobuf json = {0};

    mgc_buf_adds(&json, "{\"vxids\":[");
    for (size_t i = 0; i < facts->opens_count; i++)
        mgc_buf_addf(&json, "%s\"%s\"", i > 0 ? "," : "", facts->opens[i].vxid);
    mgc_buf_adds(&json, "],\"prepared\":[");
    for (size_t i = 0; i < facts->prepared_count; i++)
        mgc_buf_addf(&json, "%s\"%s\"", i > 0 ? "," : "", facts->prepared[i].xid);
    mgc_buf_addf(&json, "],\"xmax\":\"%llu\",\"at\":\"%lld\"}", (unsigned long long)facts->xmax,
                 (long long)facts->server_us);
    return json.failed ? NULL : mgc_steal(json.data);
}

static int look(struct mgc_pg *pg, int64_t deadline_us, struct mgc_source_view *view,
                struct mgc_err *err)
{
    int64_t offset_us = 0, uncertainty_us = 0, t0_us;
    int r = mgc_pg_transaction(pg, "READ COMMITTED", deadline_us, err);

    if (r == 0)
        r = measure_clock(pg, deadline_us, &offset_us, &uncertainty_us, err);
    if (r == 0)
        r = load_identity(pg, deadline_us, &view->identity, err);
    if (r == 0)
        r = mgc_pg_run(pg, "COMMIT", deadline_us, err);
    if (r < 0)
        return r;
    t0_us = mgc_now_us();
    mgc_pg_facts_done(&pg->facts);
    r = load_facts(pg, deadline_us, &pg->facts, err);
    if (r == 0)
        r = open_snapshot(pg, deadline_us, view, err);
    if (r < 0)
        return r;
    view->sees_transactions = true;
    view->t0_us = t0_us - uncertainty_us;
    view->oldest_us = view->t0_us;
    if (pg->facts.earliest_us != INT64_MAX &&
        pg->facts.earliest_us - offset_us - uncertainty_us < view->oldest_us)
        view->oldest_us = pg->facts.earliest_us - offset_us - uncertainty_us;
    if (pg->facts.invisible)
        view->oldest_us = 0;
    /* Also where every start is visible: a purge, and a later run, wait for their ends (G5, G2). */
    if (pg->facts.opens_count + pg->facts.prepared_count == 0)
        return 0;
    view->fence = make_fence(&pg->facts);
    return view->fence != NULL ? 0 : no_memory(pg, err);
}

int mgc_pg_begin(struct mgc_source *base, int64_t deadline_us, struct mgc_source_view *ret_view,
                 struct mgc_err *err)
{
    struct mgc_pg *pg = (struct mgc_pg *)base;
    struct mgc_source_view view = {0};
    int r;

    if (deadline_us == 0)
        deadline_us = mgc_monotonic_us() + MGC_PG_MINOR_US;
    mgc_pg_disconnect(pg);
    mgc_pg_facts_done(&pg->facts);
    r = mgc_pg_connect(pg, deadline_us, err);
    if (r == 0)
        r = look(pg, deadline_us, &view, err);
    if (r < 0) {
        mgc_source_view_done(&view);
        mgc_pg_facts_done(&pg->facts);
        mgc_pg_disconnect(pg);
        return r;
    }
    pg->in_snapshot = true;
    pg->watching = true;
    *ret_view = view;
    return 0;
}

/* --- the fence --- */

static bool listed(const json_t *array, const char *text)
{
    size_t i;
    json_t *item;

    json_array_foreach(array, i, item)
    {
        if (json_is_string(item) && strcmp(json_string_value(item), text) == 0)
            return true;
    }
    return false;
}

/* Transaction ids are 32 bits there and go round: within two billion, the older is "before". */
static bool xid_before(const char *xid, uint64_t xmax)
{
    int64_t value;

    return !number(xid, &value) || (int32_t)((uint32_t)value - (uint32_t)xmax) < 0;
}

static int waits_for_prepared(const struct mgc_pg *pg, const struct mgc_pg_prepared *prepared,
                              struct mgc_err *err)
{
    char gid[MGC_SHOW_BYTES / 2], owner[MGC_SHOW_BYTES / 2];

    (void)mgc_err_say(err, MGC_E_BUSY,
                      "could not pass fence of source '%s': transaction '%s' prepared by user '%s' "
                      "is open",
                      pg->base.name,
                      mgc_escape(gid, sizeof(gid), prepared->gid, strlen(prepared->gid)),
                      mgc_escape(owner, sizeof(owner), prepared->owner, strlen(prepared->owner)));
    (void)mgc_err_hint(err, "Let its owner COMMIT PREPARED or ROLLBACK PREPARED it");
    return 0;
}

static int waits_for_open(const struct mgc_pg *pg, const struct mgc_pg_open *open,
                          struct mgc_err *err)
{
    char user[MGC_SHOW_BYTES / 2], database[MGC_SHOW_BYTES / 2];

    (void)mgc_err_say(
        err, MGC_E_BUSY,
        "could not pass fence of source '%s': a transaction of pid %s, user '%s', "
        "database '%s' is open",
        pg->base.name, open->pid, mgc_escape(user, sizeof(user), open->user, strlen(open->user)),
        mgc_escape(database, sizeof(database), open->database, strlen(open->database)));
    (void)mgc_err_hint(err, "Let the transaction end, or grant pg_read_all_stats to our role so "
                            "that its start can be seen");
    return 0;
}

/* First time that no stored virtual id is left: who is prepared now may be one of them (V4). */
static int remember_prepared(struct mgc_pg *pg, const char *fence, const struct mgc_pg_facts *facts,
                             struct mgc_err *err)
{
    if (pg->fence_text != NULL && strcmp(pg->fence_text, fence) == 0)
        return 0;
    mgc_pg_fence_done(pg);
    pg->fence_prepared = calloc(facts->prepared_count + 1, sizeof(*pg->fence_prepared));
    if (pg->fence_prepared == NULL)
        return no_memory(pg, err);
    for (size_t i = 0; i < facts->prepared_count; i++) {
        pg->fence_prepared[i] = strdup(facts->prepared[i].xid);
        if (pg->fence_prepared[i] == NULL) {
            mgc_pg_fence_done(pg);
            return no_memory(pg, err);
        }
        pg->fence_prepared_count = i + 1;
    }
    pg->fence_text = strdup(fence);
    return pg->fence_text != NULL ? 0 : no_memory(pg, err);
}

static bool remembered(const struct mgc_pg *pg, const char *xid)
{
    for (size_t i = 0; i < pg->fence_prepared_count; i++)
        if (strcmp(pg->fence_prepared[i], xid) == 0)
            return true;
    return false;
}

static int judge(struct mgc_pg *pg, const char *fence, const json_t *root,
                 const struct mgc_pg_facts *facts, struct mgc_err *err)
{
    const json_t *vxids = json_object_get(root, "vxids");
    const json_t *prepared = json_object_get(root, "prepared");
    const char *xmax_text = json_string_value(json_object_get(root, "xmax"));
    int64_t xmax = 0;
    int r;

    if (!json_is_array(vxids) || !json_is_array(prepared) || xmax_text == NULL ||
        !number(xmax_text, &xmax))
        return mgc_err_say(err, MGC_E_CORRUPT, "could not read fence of source '%s': not a fence",
                           pg->base.name);
    for (size_t i = 0; i < facts->opens_count; i++)
        if (listed(vxids, facts->opens[i].vxid))
            return waits_for_open(pg, &facts->opens[i], err);
    r = remember_prepared(pg, fence, facts, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < facts->prepared_count; i++) {
        const char *xid = facts->prepared[i].xid;

        if (listed(prepared, xid) || xid_before(xid, (uint64_t)xmax) ||
            (json_array_size(vxids) > 0 && remembered(pg, xid)))
            return waits_for_prepared(pg, &facts->prepared[i], err);
    }
    return 1;
}

int mgc_pg_fence_passed(struct mgc_source *base, const char *fence, int64_t deadline_us,
                        struct mgc_err *err)
{
    struct mgc_pg *pg = (struct mgc_pg *)base;
    struct mgc_pg_facts now = {0};
    json_t *root;
    int r = 0;

    if (fence == NULL || fence[0] == '\0')
        return 1;
    root = json_loads(fence, 0, NULL);
    if (root == NULL)
        return mgc_err_say(err, MGC_E_CORRUPT, "could not read fence of source '%s': not JSON",
                           pg->base.name);
    if (pg->facts.known) {
        r = judge(pg, fence, root, &pg->facts, err);
    } else { /* no begin() yet: what has ended by now has ended before any later snapshot */
        if (deadline_us == 0)
            deadline_us = mgc_monotonic_us() + MGC_PG_MINOR_US;
        r = mgc_pg_connect(pg, deadline_us, err);
        if (r == 0)
            r = load_facts(pg, deadline_us, &now, err);
        if (r == 0)
            r = judge(pg, fence, root, &now, err);
        mgc_pg_facts_done(&now);
        mgc_pg_disconnect(pg);
    }
    json_decref(root);
    return r;
}
