/*
 * source_postgres_link.c -- two sessions with deadlines, and the watch over whom we block.
 *
 *   L1  No call waits without a bound: connecting, sending and receiving are asynchronous and
 *       end at the caller's deadline.
 *   L2  While the reading session holds locks, the watching one is asked each second whom it
 *       blocks (H31, G7).  The first name ends the run; so does a watcher that fails.
 *   L3  Session state is set inside each transaction (SET LOCAL): a pooler between us and the
 *       server never sees state that outlives it.
 */
#include "fs/refs/source_postgres_priv.h"

#include <poll.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/os.h"

void mgc_pg_clear_(PGresult **res)
{
    PQclear(*res);
}

static void no_notice(void *arg, const PGresult *res)
{
    (void)arg;
    (void)res;
}

/* First line of a message of libpq, without its end. */
static const char *first_line(char *out, size_t out_bytes, const char *text)
{
    return mgc_escape(out, out_bytes, text, strcspn(text, "\n"));
}

int mgc_pg_timeout(struct mgc_pg *pg, const char *table, struct mgc_err *err)
{
    pg->in_snapshot = false;
    (void)mgc_err_say(err, MGC_E_TIMEOUT, "could not read %s'%s' of source '%s': took too long",
                      table[0] == '\0' ? "" : "table ",
                      table[0] == '\0' ? "the database" : MGC_SHOW(table), pg->base.name);
    (void)mgc_err_hint(err, "Give the references block a longer timeout, or run it at night");
    return MGC_E_TIMEOUT;
}

/* The remedy an SQLSTATE has; NULL where there is none. */
static const char *remedy(const char *state, bool table)
{
    if (strcmp(state, "42501") == 0 && table)
        return "Grant SELECT (and USAGE on its schema) to the role, or name the table in ignore = "
               "{...}";
    if (strcmp(state, "57014") == 0)
        return "Give the references block a longer timeout, or name the table in ignore = {...}";
    if (strcmp(state, "55P03") == 0)
        return "Somebody holds a lock on the table for long; run again later";
    if (strncmp(state, "28", 2) == 0)
        return "Check user and password of conninfo (a service file and .pgpass work too)";
    if (strncmp(state, "42", 2) == 0)
        return "The table changed while it was read, or the query is wrong; run again";
    return NULL;
}

int mgc_pg_failure(struct mgc_pg *pg, const PGresult *res, const char *table, struct mgc_err *err)
{
    const char *state = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *text = res != NULL ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    char shown[MGC_SHOW_BYTES], named[MGC_SHOW_BYTES];
    const char *hint;
    int code = MGC_E_SOURCE;

    pg->in_snapshot = false;
    if (state == NULL)
        state = "";
    if (text == NULL)
        text = pg->main != NULL ? PQerrorMessage(pg->main) : "";
    if (text[0] == '\0')
        text = "the server gave an unexpected answer";
    /* What changed or was busy is a reason to try again, what is denied or broken is not. */
    if (strcmp(state, "55P03") == 0 || strcmp(state, "42P01") == 0 || strcmp(state, "42703") == 0)
        code = MGC_E_INCOMPLETE;
    (void)first_line(shown, sizeof(shown), text);
    (void)mgc_escape(named, sizeof(named), table, strlen(table));
    if (table[0] == '\0')
        (void)mgc_err_say(err, code, "could not read source '%s': %s", pg->base.name, shown);
    else
        (void)mgc_err_say(err, code, "could not read table '%s' of source '%s': %s", named,
                          pg->base.name, shown);
    hint = remedy(state, table[0] != '\0');
    if (hint != NULL)
        (void)mgc_err_hint(err, "%s", hint);
    return code;
}

/* One step of PQconnectPoll(); 1 when connected. */
static int connect_step(PGconn *conn, int64_t deadline_us, PostgresPollingStatusType *state)
{
    struct pollfd wait = {.fd = PQsocket(conn),
                          .events = *state == PGRES_POLLING_READING ? POLLIN : POLLOUT};

    if (*state == PGRES_POLLING_OK)
        return 1;
    if (*state == PGRES_POLLING_FAILED || wait.fd < 0)
        return MGC_E_SOURCE;
    if (mgc_source_past(deadline_us))
        return MGC_E_TIMEOUT;
    if (poll(&wait, 1, mgc_source_left_ms(deadline_us, 1000)) > 0)
        *state = PQconnectPoll(conn);
    return 0;
}

static int connect_one(struct mgc_pg *pg, int64_t deadline_us, PGconn **ret, struct mgc_err *err)
{
    static const char *const keywords[] = {"fallback_application_name", "dbname", NULL};
    const char *const values[] = {"mediagcfs", pg->conf->conninfo != NULL ? pg->conf->conninfo : "",
                                  NULL};
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    PGconn *conn = PQconnectStartParams(keywords, values, 1);
    char shown[MGC_SHOW_BYTES];
    int r = 0;

    if (conn == NULL)
        return mgc_err_set(err, -ENOMEM, "could not connect source '%s'", pg->base.name);
    deadline_us = mgc_source_sooner(deadline_us, MGC_PG_CONNECT_US);
    (void)PQsetNoticeReceiver(conn, no_notice, NULL);
    if (PQstatus(conn) == CONNECTION_BAD)
        r = MGC_E_SOURCE;
    while (r == 0)
        r = connect_step(conn, deadline_us, &state);
    if (r > 0 && PQsetnonblocking(conn, 1) == 0) {
        *ret = conn;
        return 0;
    }
    (void)first_line(shown, sizeof(shown),
                     r == MGC_E_TIMEOUT ? "no answer in time" : PQerrorMessage(conn));
    PQfinish(conn);
    r = r == MGC_E_TIMEOUT ? r : MGC_E_SOURCE;
    (void)mgc_err_say(err, r, "could not connect source '%s': %s", pg->base.name, shown);
    (void)mgc_err_hint(err, "Check conninfo; psql with the same text, as the same user, must work");
    return r;
}

int mgc_pg_connect(struct mgc_pg *pg, int64_t deadline_us, struct mgc_err *err)
{
    int r = 0;

    if (pg->main == NULL)
        r = connect_one(pg, deadline_us, &pg->main, err);
    if (r == 0 && pg->watch == NULL)
        r = connect_one(pg, deadline_us, &pg->watch, err);
    if (r < 0)
        mgc_pg_disconnect(pg);
    return r;
}

/* Waits until `conn` can be read (or written, while output is pending). */
static int poll_one(PGconn *conn, bool output, int64_t deadline_us)
{
    struct pollfd wait = {.fd = PQsocket(conn),
                          .events = (short)(output ? POLLIN | POLLOUT : POLLIN)};

    if (wait.fd < 0)
        return MGC_E_SOURCE;
    while (poll(&wait, 1, mgc_source_left_ms(deadline_us, 60000)) <= 0)
        if (mgc_source_past(deadline_us))
            return MGC_E_TIMEOUT;
    return 0;
}

/* All results of what was sent on the watching session; the last row of tuples counts. */
static int watcher_finish(struct mgc_pg *pg, int64_t deadline_us, char **ret_text)
{
    PGresult *res;
    int r = 0;

    for (;;) {
        while (PQflush(pg->watch) > 0 || PQisBusy(pg->watch)) {
            r = poll_one(pg->watch, PQflush(pg->watch) > 0, deadline_us);
            if (r < 0 || PQconsumeInput(pg->watch) == 0)
                return r < 0 ? r : MGC_E_SOURCE;
        }
        res = PQgetResult(pg->watch);
        if (res == NULL)
            return r;
        if (PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) > 0 && ret_text != NULL) {
            free(*ret_text);
            *ret_text = strdup(PQgetvalue(res, 0, 0));
            r = *ret_text == NULL ? -ENOMEM : r;
        } else if (PQresultStatus(res) != PGRES_TUPLES_OK &&
                   PQresultStatus(res) != PGRES_COMMAND_OK)
            r = MGC_E_SOURCE;
        PQclear(res);
        if (PQstatus(pg->watch) != CONNECTION_OK)
            return MGC_E_SOURCE;
    }
}

static bool watcher_send(struct mgc_pg *pg, const char *sql)
{
    mgc_autobuf text = {0};

    mgc_buf_adds(&text, "BEGIN READ ONLY; SET LOCAL search_path = ''; "
                        "SET LOCAL statement_timeout = '20s'; SET LOCAL lock_timeout = '5s'; ");
    mgc_buf_adds(&text, sql);
    mgc_buf_adds(&text, "; COMMIT");
    return !text.failed && PQsendQuery(pg->watch, text.data) == 1 && PQflush(pg->watch) >= 0;
}

static int watcher_failed(struct mgc_pg *pg, struct mgc_err *err)
{
    char shown[MGC_SHOW_BYTES];

    pg->in_snapshot = false;
    pg->watching = false;
    (void)first_line(shown, sizeof(shown), PQerrorMessage(pg->watch));
    return mgc_err_say(err, MGC_E_SOURCE,
                       "could not watch source '%s': its second session failed: %s", pg->base.name,
                       shown[0] == '\0' ? "no answer in time" : shown);
}

int mgc_pg_ask_watcher(struct mgc_pg *pg, const char *sql, int64_t deadline_us, char **ret_text,
                       struct mgc_err *err)
{
    mgc_autofree char *text = NULL;
    int r = 0;

    if (pg->watch_asked) /* an answer about blocking may be on its way: it goes first */
        r = watcher_finish(pg, deadline_us, NULL);
    pg->watch_asked = false;
    pg->watch_next_us = 0;
    if (r == 0 && !watcher_send(pg, sql))
        r = MGC_E_SOURCE;
    if (r == 0)
        r = watcher_finish(pg, deadline_us, &text);
    if (r < 0)
        return watcher_failed(pg, err);
    *ret_text = mgc_steal(text);
    return 0;
}

static int blocking(struct mgc_pg *pg, const char *whom, struct mgc_err *err)
{
    char shown[MGC_SHOW_BYTES];

    pg->in_snapshot = false;
    pg->watching = false;
    (void)mgc_escape(shown, sizeof(shown), whom, strlen(whom));
    (void)mgc_err_say(err, MGC_E_INCOMPLETE,
                      "could not go on reading source '%s': somebody waits for us: %s",
                      pg->base.name, shown);
    (void)mgc_err_hint(err, "Nothing to do: the run gives way and is tried again");
    return MGC_E_INCOMPLETE;
}

static int watcher_ask(struct mgc_pg *pg, struct mgc_err *err)
{
    char sql[1024];

    (void)snprintf(sql, sizeof(sql),
                   "SELECT pg_catalog.concat('pid ', l.pid, ' ', a.usename, ' (', l.mode, ' on ', "
                   "l.relation::pg_catalog.regclass, ')') FROM pg_catalog.pg_locks l "
                   "LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid "
                   "WHERE NOT l.granted AND %s = ANY(pg_catalog.pg_blocking_pids(l.pid)) LIMIT 1",
                   pg->main_pid);
    if (!watcher_send(pg, sql))
        return watcher_failed(pg, err);
    pg->watch_asked = true;
    pg->watch_next_us = mgc_monotonic_us() + MGC_PG_WATCH_ANSWER_US;
    return 0;
}

int mgc_pg_tick(struct mgc_pg *pg, struct mgc_err *err)
{
    mgc_autofree char *whom = NULL;
    int64_t now;

    if (!pg->watching)
        return 0;
    now = mgc_monotonic_us();
    if (!pg->watch_asked)
        return now >= pg->watch_next_us ? watcher_ask(pg, err) : 0;
    if (PQconsumeInput(pg->watch) == 0 || PQflush(pg->watch) < 0)
        return watcher_failed(pg, err);
    if (PQisBusy(pg->watch))
        return now >= pg->watch_next_us ? watcher_failed(pg, err) : 0;
    /* The rest of the answer is a few bytes behind. */
    if (watcher_finish(pg, now + MGC_PG_CANCEL_US, &whom) < 0)
        return watcher_failed(pg, err);
    pg->watch_asked = false;
    pg->watch_next_us = now + MGC_PG_WATCH_EVERY_US;
    return whom != NULL ? blocking(pg, whom, err) : 0;
}

/* Until the reading session can go on; the watcher is served meanwhile. */
static int wait_main(struct mgc_pg *pg, bool output, const char *table, int64_t deadline_us,
                     struct mgc_err *err)
{
    for (;;) {
        struct pollfd wait[2] = {
            {.fd = PQsocket(pg->main), .events = (short)(output ? POLLIN | POLLOUT : POLLIN)},
            {.fd = pg->watching && pg->watch_asked ? PQsocket(pg->watch) : -1, .events = POLLIN},
        };
        int r = mgc_pg_tick(pg, err);

        if (r < 0)
            return r;
        if (mgc_source_past(deadline_us))
            return mgc_pg_timeout(pg, table, err);
        if (wait[0].fd < 0)
            return mgc_pg_failure(pg, NULL, table, err);
        r = poll(wait, 2, mgc_source_left_ms(deadline_us, pg->watching ? 200 : 60000));
        if (r > 0 && wait[0].revents != 0)
            return 0;
    }
}

int mgc_pg_wait(struct mgc_pg *pg, const char *table, int64_t deadline_us, struct mgc_err *err)
{
    int r = wait_main(pg, false, table, deadline_us, err);

    if (r < 0)
        return r;
    return PQconsumeInput(pg->main) == 1 ? 0 : mgc_pg_failure(pg, NULL, table, err);
}

int mgc_pg_send(struct mgc_pg *pg, const struct mgc_pg_query *query, int64_t deadline_us,
                struct mgc_err *err)
{
    int sent, pending;

    MGC_ASSERT(pg->main != NULL);
    if (query->count == 0) /* the simple protocol takes several statements at once */
        sent = PQsendQuery(pg->main, query->sql);
    else
        sent = PQsendQueryParams(pg->main, query->sql, query->count, NULL, query->values, NULL,
                                 NULL, 0);
    if (sent != 1)
        return mgc_pg_failure(pg, NULL, query->table, err);
    while ((pending = PQflush(pg->main)) > 0) {
        int r = wait_main(pg, true, query->table, deadline_us, err);

        if (r < 0)
            return r;
        if (PQconsumeInput(pg->main) != 1)
            return mgc_pg_failure(pg, NULL, query->table, err);
    }
    return pending == 0 ? 0 : mgc_pg_failure(pg, NULL, query->table, err);
}

int mgc_pg_exec(struct mgc_pg *pg, const struct mgc_pg_query *query, int64_t deadline_us,
                PGresult **ret_res, struct mgc_err *err)
{
    mgc_pg_autores *last = NULL;
    int failed = 0, r = mgc_pg_send(pg, query, deadline_us, err);

    while (r == 0) {
        PGresult *res;

        while (r == 0 && PQisBusy(pg->main))
            r = mgc_pg_wait(pg, query->table, deadline_us, err);
        if (r < 0)
            break;
        res = PQgetResult(pg->main);
        if (res == NULL)
            break;
        PQclear(last);
        last = res;
        if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK &&
            failed == 0)
            failed = mgc_pg_failure(pg, res, query->table, err);
        if (PQstatus(pg->main) != CONNECTION_OK || PQresultStatus(res) == PGRES_COPY_OUT)
            break;
    }
    if (r < 0 || failed < 0)
        return r < 0 ? r : failed;
    if (last == NULL)
        return mgc_pg_failure(pg, NULL, query->table, err);
    if (ret_res != NULL)
        *ret_res = mgc_steal(last);
    return 0;
}

int mgc_pg_run(struct mgc_pg *pg, const char *sql, int64_t deadline_us, struct mgc_err *err)
{
    const struct mgc_pg_query query = {.sql = sql, .table = ""};

    return mgc_pg_exec(pg, &query, deadline_us, NULL, err);
}

int mgc_pg_transaction(struct mgc_pg *pg, const char *isolation, int64_t deadline_us,
                       struct mgc_err *err)
{
    const char *encoding = PQparameterStatus(pg->main, "server_encoding");
    mgc_autobuf sql = {0};

    if (encoding == NULL)
        return mgc_err_say(err, MGC_E_SOURCE,
                           "could not read source '%s': the server does not tell its encoding",
                           pg->base.name);
    mgc_buf_addf(&sql,
                 "BEGIN ISOLATION LEVEL %s READ ONLY;"
                 "SET LOCAL search_path = '';"
                 "SET LOCAL row_security = off;"
                 "SET LOCAL client_encoding = '%s';"
                 "SET LOCAL bytea_output = 'hex';"
                 "SET LOCAL statement_timeout = %d;"
                 "SET LOCAL lock_timeout = %d;"
                 "SET LOCAL idle_in_transaction_session_timeout = %d;"
                 "SET LOCAL application_name = 'mediagcfs'",
                 isolation, encoding, mgc_source_left_ms(deadline_us, INT32_MAX - 1) + 1,
                 MGC_PG_LOCK_WAIT_MS, MGC_PG_IDLE_MS);
    if (sql.failed)
        return mgc_err_set(err, -ENOMEM, "could not read source '%s'", pg->base.name);
    return mgc_pg_run(pg, sql.data, deadline_us, err);
}

/* Over the watching session, which is connected and cannot hang: PQcancel() could. */
static void cancel_main(struct mgc_pg *pg)
{
    int64_t deadline_us = mgc_monotonic_us() + MGC_PG_CANCEL_US;
    mgc_autofree char *text = NULL;
    char sql[128];

    if (pg->watch == NULL || pg->main_pid[0] == '\0')
        return;
    if (pg->watch_asked && watcher_finish(pg, deadline_us, NULL) < 0)
        return;
    pg->watch_asked = false;
    (void)snprintf(sql, sizeof(sql), "SELECT pg_catalog.pg_cancel_backend(%s)", pg->main_pid);
    if (watcher_send(pg, sql))
        (void)watcher_finish(pg, deadline_us, &text);
}

void mgc_pg_disconnect(struct mgc_pg *pg)
{
    int64_t deadline_us = mgc_monotonic_us() + MGC_PG_CANCEL_US;
    struct mgc_err ignored = {0};

    pg->watching = false;
    pg->in_snapshot = false;
    if (pg->main != NULL && PQtransactionStatus(pg->main) == PQTRANS_ACTIVE)
        cancel_main(pg);
    else if (pg->main != NULL && PQtransactionStatus(pg->main) == PQTRANS_INTRANS)
        /* Wait for it: after end() no lock of ours is left. */
        (void)!mgc_pg_run(pg, "ROLLBACK", deadline_us, &ignored);
    PQfinish(pg->main);
    PQfinish(pg->watch);
    pg->main = NULL;
    pg->watch = NULL;
    pg->watch_asked = false;
    pg->main_pid[0] = '\0';
}
