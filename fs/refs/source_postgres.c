/*
 * source_postgres.c -- a PostgreSQL database as a reference source: the order of things.
 *
 *   connect --begin--> snapshot --scan, scan, ...--> end
 *                          \--ask--> a snapshot of its own, the first one is gone
 *
 *   S1  Every transaction is READ ONLY with the contract of mgc_pg_transaction() (G9).
 *   S2  COMPLETE is returned in one place, after every table, query and large object has been
 *       confirmed (K1-K3).  After any error the snapshot is not used again.
 *   S3  No lock outlives the table it was taken for: ROLLBACK TO SAVEPOINT after each (G7).
 */
#include "fs/refs/source_postgres_priv.h"

#include "mediagcfs/assert.h"
#include "mediagcfs/os.h"

static struct mgc_pg *pg_of(struct mgc_source *s)
{
    return (struct mgc_pg *)s;
}

static int pg_start(struct mgc_source *s, struct mgc_err *err)
{
    (void)s;
    (void)err;
    return 0;
}

static int read_tables(struct mgc_pg *pg, const struct mgc_pg_tables *tables, int64_t deadline_us,
                       mgc_text_fn *each, void *arg, struct mgc_covered *covered,
                       struct mgc_err *err)
{
    for (size_t i = 0; i < tables->count; i++) {
        const struct mgc_pg_table *table = &tables->items[i];
        int r = mgc_pg_copy_table(pg, table, deadline_us, each, arg, err);

        if (r < 0)
            return r;
        for (size_t k = 0; k < table->columns_count; k++)
            mgc_covered_add(covered, table->label, table->columns[k].name);
    }
    return 0;
}

static int read_queries(struct mgc_pg *pg, int64_t deadline_us, mgc_text_fn *each, void *arg,
                        struct mgc_covered *covered, struct mgc_err *err)
{
    char label[32];
    int r = 0;

    for (size_t i = 0; r == 0 && i < pg->conf->query.count; i++) {
        (void)snprintf(label, sizeof(label), "query %zu", i + 1);
        r = mgc_pg_copy_query(pg, label, pg->conf->query.items[i], deadline_us, each, arg, err);
        if (r == 0)
            mgc_covered_add(covered, label, "");
    }
    return r;
}

struct bytea_give {
    mgc_text_fn *each;
    void *arg;
    struct mgc_buf bytes;
};

/* lo_get() comes as \x6162...; the bytes are what counts. */
static int give_large_object(void *arg, const struct mgc_origin *origin, const char *text,
                             size_t bytes)
{
    struct bytea_give *give = arg;
    struct mgc_origin own = *origin;

    own.whole = false;
    mgc_buf_clear(&give->bytes);
    if (bytes < 2 || !mgc_buf_add_unhex(&give->bytes, text + 2, bytes - 2) || give->bytes.failed)
        return MGC_E_PROTOCOL;
    return give->bytes.bytes == 0
               ? 0
               : give->each(give->arg, &own, give->bytes.data, give->bytes.bytes);
}

static int read_large_objects(struct mgc_pg *pg, int64_t deadline_us, mgc_text_fn *each, void *arg,
                              struct mgc_covered *covered, struct mgc_err *err)
{
    struct bytea_give give = {.each = each, .arg = arg};
    int r = mgc_pg_copy_query(pg, "large objects",
                              "SELECT pg_catalog.lo_get(oid)"
                              " FROM pg_catalog.pg_largeobject_metadata",
                              deadline_us, give_large_object, &give, err);

    mgc_buf_done(&give.bytes);
    if (r == 0)
        mgc_covered_add(covered, "large objects", "");
    return r;
}

static int read_everything(struct mgc_pg *pg, enum mgc_source_depth depth, int64_t deadline_us,
                           mgc_text_fn *each, void *arg, struct mgc_covered *covered,
                           struct mgc_err *err)
{
    struct mgc_pg_tables tables = {0};
    int r = mgc_pg_tables_load(pg, NULL, 0, deadline_us, &tables, err);

    if (r == 0)
        r = mgc_pg_tables_listed(pg, &tables, (const char *const *)pg->conf->columns.items,
                                 pg->conf->columns.count, err);
    if (r == 0)
        r = mgc_pg_tables_choose(pg, &tables, depth, err);
    if (r == 0) /* the locks of looking at the catalogs */
        r = mgc_pg_run(pg, "ROLLBACK TO SAVEPOINT table_done", deadline_us, err);
    if (r == 0)
        r = read_tables(pg, &tables, deadline_us, each, arg, covered, err);
    if (r == 0)
        r = read_queries(pg, deadline_us, each, arg, covered, err);
    if (r == 0 && pg->conf->large_objects)
        r = read_large_objects(pg, deadline_us, each, arg, covered, err);
    mgc_pg_tables_done(&tables);
    return r;
}

static int set_deadline(struct mgc_pg *pg, int64_t deadline_us, struct mgc_err *err)
{
    char sql[64];

    (void)snprintf(sql, sizeof(sql), "SET LOCAL statement_timeout = %d",
                   deadline_us == 0 ? 0 : mgc_source_left_ms(deadline_us, INT32_MAX - 1) + 1);
    return mgc_pg_run(pg, sql, deadline_us, err);
}

static int pg_scan(struct mgc_source *base, enum mgc_source_depth depth, int64_t deadline_us,
                   mgc_text_fn *each, void *arg, struct mgc_err *err)
{
    struct mgc_pg *pg = pg_of(base);
    struct mgc_covered covered = {0};
    char *json = NULL;
    int r;

    if (!pg->in_snapshot)
        return mgc_err_say(err, MGC_E_SOURCE, "could not read source '%s': no snapshot is open",
                           base->name);
    if (mgc_source_past(deadline_us))
        return mgc_pg_timeout(pg, "", err);
    r = set_deadline(pg, deadline_us, err);
    if (r == 0)
        r = read_everything(pg, depth, deadline_us, each, arg, &covered, err);
    if (r == 0) {
        json = mgc_covered_json(&covered);
        if (json == NULL)
            r = mgc_err_set(err, -ENOMEM, "could not read source '%s'", base->name);
    }
    mgc_covered_done(&covered);
    if (r != 0) {
        pg->in_snapshot = false;
        mgc_pg_disconnect(pg); /* at once: whoever waits for us must not wait for end() */
        return r;
    }
    free(pg->covered);
    pg->covered = json;
    return MGC_SOURCE_COMPLETE;
}

/* --- the second look --- */

struct question {
    struct mgc_pg *pg;
    const char *const *paths;
    size_t count;
    int64_t deadline_us;
    mgc_text_fn *each;
    void *arg;
    struct mgc_buf texts, bytes; /* array literals of the paths */
};

/* {"a","b"}: as text, and as bytea.  What the server's encoding cannot hold cannot stand there. */
static bool build_arrays(struct question *q, size_t first, size_t count)
{
    const char *encoding = PQparameterStatus(q->pg->main, "server_encoding");
    bool utf8 = encoding != NULL && strcmp(encoding, "UTF8") == 0;
    bool comma = false;

    mgc_buf_clear(&q->texts);
    mgc_buf_clear(&q->bytes);
    mgc_buf_addc(&q->texts, '{');
    mgc_buf_addc(&q->bytes, '{');
    for (size_t i = first; i < first + count; i++) {
        const char *path = q->paths[i];

        mgc_buf_adds(&q->bytes, i > first ? ",\"\\\\x" : "\"\\\\x");
        mgc_buf_add_hex(&q->bytes, path, strlen(path));
        mgc_buf_addc(&q->bytes, '"');
        if (utf8 && !mgc_utf8_valid(path, strlen(path)))
            continue;
        mgc_buf_adds(&q->texts, comma ? ",\"" : "\"");
        comma = true;
        for (const char *p = path; *p != '\0'; p++) {
            if (*p == '"' || *p == '\\')
                mgc_buf_addc(&q->texts, '\\');
            mgc_buf_addc(&q->texts, *p);
        }
        mgc_buf_addc(&q->texts, '"');
    }
    mgc_buf_addc(&q->texts, '}');
    mgc_buf_addc(&q->bytes, '}');
    return !q->texts.failed && !q->bytes.failed;
}

/* Runs one statement whose only parameter is the array, gives each row. */
static int ask_one(struct question *q, const char *sql, bool bytes, const struct mgc_origin *origin,
                   struct mgc_err *err)
{
    const char *const values[] = {bytes ? q->bytes.data : q->texts.data};
    const struct mgc_pg_query query = {
        .sql = sql, .values = values, .count = 1, .table = origin->table};
    mgc_pg_autores *res = NULL;
    mgc_autobuf plain = {0};
    int r = mgc_pg_exec(q->pg, &query, q->deadline_us, &res, err);

    for (int i = 0; r == 0 && i < PQntuples(res); i++) {
        const char *text = PQgetvalue(res, i, 0);
        size_t length = (size_t)PQgetlength(res, i, 0);

        if (bytes) {
            mgc_buf_clear(&plain);
            if (length < 2 || !mgc_buf_add_unhex(&plain, text + 2, length - 2) || plain.failed)
                return MGC_E_PROTOCOL;
            text = plain.data;
            length = plain.bytes;
        }
        r = q->each(q->arg, origin, text, length);
        r = r < 0 ? r : 0;
    }
    return r;
}

static int ask_table(struct question *q, const struct mgc_pg_table *table, struct mgc_err *err)
{
    mgc_autobuf sql = {0};
    int r = 0;

    for (size_t i = 0; r == 0 && i < table->columns_count; i++) {
        const struct mgc_pg_column *column = &table->columns[i];
        const struct mgc_origin origin = {.source = q->pg->base.name,
                                          .table = table->label,
                                          .column = column->name,
                                          .whole = true};
        bool bytes = column->bytes == MGC_PG_BYTES;
        const char *cast = bytes ? "" : "::pg_catalog.text";

        mgc_buf_clear(&sql);
        mgc_buf_addf(&sql, "SELECT DISTINCT %s%s FROM ONLY %s WHERE %s%s = ANY($1::pg_catalog.%s)",
                     column->quoted, cast, table->quoted, column->quoted, cast,
                     bytes ? "bytea[]" : "text[]");
        if (sql.failed)
            return mgc_err_set(err, -ENOMEM, "could not ask source '%s'", q->pg->base.name);
        r = ask_one(q, sql.data, bytes, &origin, err);
    }
    if (r == 0)
        r = mgc_pg_check_table(q->pg, table, q->deadline_us, err);
    if (r == 0)
        r = mgc_pg_run(q->pg, "ROLLBACK TO SAVEPOINT table_done", q->deadline_us, err);
    return r;
}

static int ask_query(struct question *q, size_t index, struct mgc_err *err)
{
    const char *query = q->pg->conf->query.items[index];
    size_t length = strlen(query);
    mgc_autobuf sql = {0};
    char label[32];
    struct mgc_origin origin = {
        .source = q->pg->base.name, .table = label, .column = "", .whole = true};
    int r;

    while (length > 0 && strchr("; \t\r\n", query[length - 1]) != NULL)
        length--;
    (void)snprintf(label, sizeof(label), "query %zu", index + 1);
    mgc_buf_addf(&sql,
                 "SELECT DISTINCT asked.value::pg_catalog.text FROM (%.*s\n) AS asked(value)"
                 " WHERE asked.value::pg_catalog.text = ANY($1::pg_catalog.text[])",
                 (int)length, query);
    if (sql.failed)
        return mgc_err_set(err, -ENOMEM, "could not ask source '%s'", q->pg->base.name);
    r = mgc_pg_run(q->pg, "SET LOCAL search_path TO DEFAULT", q->deadline_us, err);
    if (r == 0)
        r = ask_one(q, sql.data, false, &origin, err);
    if (r == 0)
        r = mgc_pg_check_locked(q->pg, label, q->deadline_us, err);
    if (r == 0)
        r = mgc_pg_run(q->pg, "ROLLBACK TO SAVEPOINT table_done", q->deadline_us, err);
    return r;
}

/* Every listed column, readable or not: one that cannot be asked is an error. */
static int ask_all(struct question *q, const struct mgc_pg_tables *tables, struct mgc_err *err)
{
    int r = 0;

    for (size_t first = 0; r == 0 && first < q->count; first += MGC_SOURCE_ASK_MAX) {
        size_t count =
            q->count - first < MGC_SOURCE_ASK_MAX ? q->count - first : MGC_SOURCE_ASK_MAX;

        if (!build_arrays(q, first, count))
            return mgc_err_set(err, -ENOMEM, "could not ask source '%s'", q->pg->base.name);
        for (size_t i = 0; r == 0 && i < tables->count; i++)
            r = ask_table(q, &tables->items[i], err);
        for (size_t i = 0; r == 0 && i < q->pg->conf->query.count; i++)
            r = ask_query(q, i, err);
    }
    return r;
}

/* A transaction of its own: what was committed after begin() must count. */
static int fresh_snapshot(struct mgc_pg *pg, int64_t deadline_us, struct mgc_err *err)
{
    const struct mgc_pg_query query = {.sql = "SELECT pg_catalog.pg_backend_pid()", .table = ""};
    mgc_pg_autores *res = NULL;
    int r = 0;

    pg->watching = false;
    pg->in_snapshot = false;
    if (pg->main != NULL && PQtransactionStatus(pg->main) != PQTRANS_INTRANS)
        mgc_pg_disconnect(pg);
    if (pg->main != NULL)
        r = mgc_pg_run(pg, "ROLLBACK", deadline_us, err);
    if (r == 0)
        r = mgc_pg_connect(pg, deadline_us, err);
    if (r == 0)
        r = mgc_pg_transaction(pg, "REPEATABLE READ", deadline_us, err);
    if (r == 0)
        r = mgc_pg_exec(pg, &query, deadline_us, &res, err);
    if (r < 0)
        return r;
    (void)snprintf(pg->main_pid, sizeof(pg->main_pid), "%s", PQgetvalue(res, 0, 0));
    pg->watching = true;
    return mgc_pg_run(pg, "SAVEPOINT table_done", deadline_us, err);
}

/* Keeps the listed columns only. */
static int asked_tables(struct question *q, const char *const *columns, size_t columns_count,
                        struct mgc_pg_tables *tables, struct mgc_err *err)
{
    struct mgc_pg *pg = q->pg;
    int r = mgc_pg_tables_load(pg, columns, columns_count, q->deadline_us, tables, err);

    if (r == 0)
        r = mgc_pg_tables_listed(pg, tables, columns, columns_count, err);
    if (r == 0)
        r = mgc_pg_tables_listed(pg, tables, (const char *const *)pg->conf->columns.items,
                                 pg->conf->columns.count, err);
    for (size_t t = 0; r == 0 && t < tables->count; t++)
        for (size_t c = 0; c < tables->items[t].columns_count; c++)
            tables->items[t].columns[c].text_like = false;
    if (r == 0)
        r = mgc_pg_tables_choose(pg, tables, MGC_DEPTH_PROOF, err);
    return r;
}

static int pg_ask(struct mgc_source *base, const char *const *paths, size_t count,
                  const char *const *columns, size_t columns_count, int64_t deadline_us,
                  mgc_text_fn *each, void *arg, struct mgc_err *err)
{
    struct mgc_pg *pg = pg_of(base);
    struct question q = {.pg = pg,
                         .paths = paths,
                         .count = count,
                         .deadline_us = deadline_us,
                         .each = each,
                         .arg = arg};
    struct mgc_pg_tables tables = {0};
    int r;

    if (mgc_source_past(deadline_us))
        return mgc_pg_timeout(pg, "", err);
    r = fresh_snapshot(pg, deadline_us, err);
    if (r == 0)
        r = asked_tables(&q, columns, columns_count, &tables, err);
    if (r == 0)
        r = ask_all(&q, &tables, err);
    mgc_pg_tables_done(&tables);
    mgc_buf_done(&q.texts);
    mgc_buf_done(&q.bytes);
    if (r != 0)
        mgc_pg_disconnect(pg);
    return r == 0 ? MGC_SOURCE_COMPLETE : r;
}

static const char *pg_covered(struct mgc_source *base)
{
    return pg_of(base)->covered;
}

static void pg_end(struct mgc_source *base)
{
    mgc_pg_disconnect(pg_of(base));
}

static void pg_free(struct mgc_source *base)
{
    struct mgc_pg *pg = pg_of(base);

    mgc_pg_disconnect(pg);
    mgc_pg_facts_done(&pg->facts);
    mgc_pg_fence_done(pg);
    free(pg->covered);
    free(pg);
}

static const struct mgc_source_ops postgres_ops = {
    .kind = "postgresql",
    .start = pg_start,
    .begin = mgc_pg_begin,
    .fence_passed = mgc_pg_fence_passed,
    .scan = pg_scan,
    .ask = pg_ask,
    .covered = pg_covered,
    .end = pg_end,
    .free = pg_free,
};

int mgc_source_postgres_new(const struct mgc_conf_references *conf, struct mgc_source **ret,
                            struct mgc_err *err)
{
    struct mgc_pg *pg = calloc(1, sizeof(*pg));

    if (pg == NULL)
        return mgc_err_set(err, -ENOMEM, "could not make source '%s'", conf->name);
    pg->base.ops = &postgres_ops;
    pg->base.name = conf->name;
    pg->conf = conf;
    *ret = &pg->base;
    return 0;
}
