/*
 * source_postgres_copy.c -- rows out of COPY, and the proof that they were all of them.
 *
 *   K1  A COPY counts as ended when its final status says so and names as many rows as arrived.
 *   K2  COPY resolves names in the catalogs of now, its rows in those of the snapshot.  A table
 *       truncated, rewritten, renamed or rebuilt since the snapshot reads as empty or as another
 *       (H28).  So afterwards, under the lock the COPY took: name -> oid and attribute numbers as
 *       the parser sees them now, and pg_class.relfilenode as the snapshot sees it against
 *       pg_relation_filenode(), must all agree.
 *   K3  For a query, the same for every relation it locked: what the snapshot and a session with a
 *       new snapshot say about them must be equal.
 */
#include "fs/refs/source_postgres_priv.h"

#include "mediagcfs/assert.h"

enum { ROWS_PER_TICK = 64, TICK_BYTES = 1 << 20 };

struct stream {
    struct mgc_pg *pg;
    const struct mgc_pg_table *table; /* NULL for a query */
    struct mgc_origin origin;
    mgc_text_fn *each;
    void *arg;
    long long rows;
    struct mgc_buf bytes; /* a decoded bytea */
};

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : -1;
}

static int hex_digit(char c)
{
    if (digit(c) >= 0)
        return digit(c);
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The character an escape stands for; *at is behind the backslash and moves on. */
static char unescape_one(const char *text, size_t bytes, size_t *at)
{
    char c = text[(*at)++];
    int value = 0;

    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    default:
        break;
    }
    if (digit(c) < 0 || c > '7')
        return c;
    value = digit(c);
    for (int i = 0; i < 2 && *at < bytes && text[*at] >= '0' && text[*at] <= '7'; i++)
        value = value * 8 + digit(text[(*at)++]);
    return (char)value;
}

bool mgc_pg_unescape(char *field, size_t *bytes)
{
    char *mark = memchr(field, '\\', *bytes);
    size_t from, to;

    if (mark == NULL)
        return true;
    from = to = (size_t)(mark - field);
    while (from < *bytes) {
        size_t plain;

        if (field[from] == '\\') {
            if (++from == *bytes)
                return false;
            field[to++] = unescape_one(field, *bytes, &from);
            continue;
        }
        mark = memchr(field + from, '\\', *bytes - from);
        plain = mark != NULL ? (size_t)(mark - field) - from : *bytes - from;
        memmove(field + to, field + from, plain);
        to += plain;
        from += plain;
    }
    *bytes = to;
    return true;
}

static int broken(struct stream *s, const char *what, struct mgc_err *err)
{
    s->pg->in_snapshot = false;
    return mgc_err_say(err, MGC_E_PROTOCOL, "could not read table '%s' of source '%s': %s",
                       MGC_SHOW(s->origin.table), s->pg->base.name, what);
}

static int give(struct stream *s, const char *text, size_t bytes)
{
    return bytes == 0 ? 0 : s->each(s->arg, &s->origin, text, bytes);
}

/* \x6162...: the bytes themselves. */
static int give_bytea(struct stream *s, const char *text, size_t bytes, struct mgc_err *err)
{
    mgc_buf_clear(&s->bytes);
    if (bytes < 2 || text[0] != '\\' || text[1] != 'x' ||
        !mgc_buf_add_unhex(&s->bytes, text + 2, bytes - 2))
        return broken(s, "a bytea value is not hexadecimal", err);
    if (s->bytes.failed)
        return mgc_err_set(err, -ENOMEM, "could not read source '%s'", s->pg->base.name);
    return give(s, s->bytes.data, s->bytes.bytes);
}

/* An array or row: its text as it is, and every run \x6162... in it as bytes. */
static int give_nested(struct stream *s, const char *text, size_t bytes, struct mgc_err *err)
{
    const char *end = text + bytes;
    int r = give(s, text, bytes);

    while (r >= 0 && (text = memchr(text, '\\', (size_t)(end - text))) != NULL) {
        const char *run = ++text;

        if (run == end || *run != 'x')
            continue;
        for (text = ++run; text < end && hex_digit(*text) >= 0;)
            text++;
        mgc_buf_clear(&s->bytes);
        if ((text - run) % 2 != 0 || !mgc_buf_add_unhex(&s->bytes, run, (size_t)(text - run)))
            continue; /* text that looks like it; its plain form was given */
        if (s->bytes.failed)
            return mgc_err_set(err, -ENOMEM, "could not read source '%s'", s->pg->base.name);
        r = give(s, s->bytes.data, s->bytes.bytes);
    }
    return r;
}

static int take_field(struct stream *s, size_t index, char *field, size_t bytes,
                      struct mgc_err *err)
{
    const struct mgc_pg_column *column = NULL;

    if (s->table != NULL) {
        if (index >= s->table->columns_count)
            return broken(s, "a row has too many columns", err);
        column = &s->table->columns[index];
        s->origin.column = column->name;
        s->origin.whole = column->listed;
        s->origin.weak = s->table->weak && !column->listed;
    }
    if (bytes == 2 && field[0] == '\\' && field[1] == 'N')
        return 0;
    if (!mgc_pg_unescape(field, &bytes))
        return broken(s, "a row ends inside an escape", err);
    if (column != NULL && column->bytes == MGC_PG_BYTES)
        return give_bytea(s, field, bytes, err);
    if (column != NULL && column->bytes == MGC_PG_BYTES_NESTED)
        return give_nested(s, field, bytes, err);
    return give(s, field, bytes);
}

static int take_row(struct stream *s, char *row, size_t bytes, struct mgc_err *err)
{
    size_t index = 0;
    int r = 0;

    if (bytes == 0 || row[bytes - 1] != '\n')
        return broken(s, "a row has no end", err);
    bytes--;
    for (;;) {
        char *tab = memchr(row, '\t', bytes);
        size_t field = tab != NULL ? (size_t)(tab - row) : bytes;

        r = take_field(s, index++, row, field, err);
        if (r < 0 || tab == NULL)
            break;
        row += field + 1;
        bytes -= field + 1;
    }
    if (r >= 0 && s->table != NULL && index != s->table->columns_count)
        return broken(s, "a row has too few columns", err);
    s->rows++;
    return r < 0 ? r : 0;
}

/* Until the server says that no more rows come. */
static int take_rows(struct stream *s, int64_t deadline_us, struct mgc_err *err)
{
    size_t since_bytes = 0;
    int r = 0, since_rows = 0;

    while (r >= 0) {
        char *row = NULL;
        int got = PQgetCopyData(s->pg->main, &row, 1);

        if (got == -1)
            return 0;
        if (got == -2)
            return mgc_pg_failure(s->pg, NULL, s->origin.table, err);
        if (got == 0) {
            r = mgc_pg_wait(s->pg, s->origin.table, deadline_us, err);
            continue;
        }
        r = take_row(s, row, (size_t)got, err);
        PQfreemem(row);
        since_bytes += (size_t)got;
        if (r >= 0 && (++since_rows >= ROWS_PER_TICK || since_bytes >= TICK_BYTES)) {
            since_rows = 0;
            since_bytes = 0;
            r = mgc_source_past(deadline_us) ? mgc_pg_timeout(s->pg, s->origin.table, err)
                                             : mgc_pg_tick(s->pg, err);
        }
    }
    s->pg->in_snapshot = false; /* rows are left on the way: the session is of no more use */
    return r;
}

/* The next result; NULL after the last. */
static int next_result(struct mgc_pg *pg, const char *label, int64_t deadline_us, PGresult **ret,
                       struct mgc_err *err)
{
    while (PQisBusy(pg->main)) {
        int r = mgc_pg_wait(pg, label, deadline_us, err);

        if (r < 0)
            return r;
    }
    *ret = PQgetResult(pg->main);
    return 0;
}

/* K1: COMMAND_OK, as many rows as came, and nothing behind it. */
static int confirm_end(struct stream *s, int64_t deadline_us, struct mgc_err *err)
{
    mgc_pg_autores *final = NULL;
    mgc_pg_autores *after = NULL;
    char count[32];
    int r = next_result(s->pg, s->origin.table, deadline_us, &final, err);

    if (r < 0)
        return r;
    if (final == NULL || PQresultStatus(final) != PGRES_COMMAND_OK)
        return mgc_pg_failure(s->pg, final, s->origin.table, err);
    (void)snprintf(count, sizeof(count), "%lld", s->rows);
    if (strcmp(PQcmdTuples(final), count) != 0)
        return broken(s, "the server counts other rows than it sent", err);
    r = next_result(s->pg, s->origin.table, deadline_us, &after, err);
    if (r < 0)
        return r;
    return after == NULL ? 0 : mgc_pg_failure(s->pg, after, s->origin.table, err);
}

static int copy(struct stream *s, const char *sql, int64_t deadline_us, struct mgc_err *err)
{
    const struct mgc_pg_query query = {.sql = sql, .table = s->origin.table};
    mgc_pg_autores *res = NULL;
    int r = mgc_pg_send(s->pg, &query, deadline_us, err);

    if (r == 0)
        r = next_result(s->pg, s->origin.table, deadline_us, &res, err);
    if (r < 0)
        return r;
    if (res == NULL || PQresultStatus(res) != PGRES_COPY_OUT)
        return mgc_pg_failure(s->pg, res, s->origin.table, err);
    r = take_rows(s, deadline_us, err);
    if (r == 0)
        r = confirm_end(s, deadline_us, err);
    mgc_buf_done(&s->bytes);
    return r;
}

static int no_memory(const struct mgc_pg *pg, struct mgc_err *err)
{
    return mgc_err_set(err, -ENOMEM, "could not read source '%s'", pg->base.name);
}

static void add_select(struct mgc_buf *sql, const struct mgc_pg_table *table)
{
    mgc_buf_adds(sql, "SELECT ");
    for (size_t i = 0; i < table->columns_count; i++)
        mgc_buf_addf(sql, "%s%s", i > 0 ? ", " : "", table->columns[i].quoted);
    mgc_buf_addf(sql, " FROM ONLY %s", table->quoted);
}

static int changed(struct mgc_pg *pg, const char *label, struct mgc_err *err)
{
    pg->in_snapshot = false;
    (void)mgc_err_say(err, MGC_E_INCOMPLETE,
                      "could not read table '%s' of source '%s': it was truncated, rewritten or "
                      "rebuilt since the snapshot",
                      MGC_SHOW(label), pg->base.name);
    (void)mgc_err_hint(err, "Run again; during a migration use `mediagcfs hold`");
    return MGC_E_INCOMPLETE;
}

int mgc_pg_check_table(struct mgc_pg *pg, const struct mgc_pg_table *table, int64_t deadline_us,
                       struct mgc_err *err)
{
    mgc_autobuf sql = {0};
    struct mgc_pg_query query = {.table = table->label};
    mgc_pg_autores *shape = NULL;
    mgc_pg_autores *file = NULL;
    int r;

    add_select(&sql, table);
    mgc_buf_adds(&sql, " LIMIT 0");
    if (sql.failed)
        return no_memory(pg, err);
    query.sql = sql.data;
    r = mgc_pg_exec(pg, &query, deadline_us, &shape, err);
    if (r < 0)
        return r;
    if (PQnfields(shape) != (int)table->columns_count)
        return changed(pg, table->label, err);
    for (size_t i = 0; i < table->columns_count; i++)
        if (PQftable(shape, (int)i) != table->oid ||
            PQftablecol(shape, (int)i) != table->columns[i].attnum)
            return changed(pg, table->label, err);
    mgc_buf_clear(&sql);
    mgc_buf_addf(&sql,
                 "SELECT c.relfilenode = pg_catalog.pg_relation_filenode(c.oid)"
                 " FROM pg_catalog.pg_class c WHERE c.oid = %u",
                 table->oid);
    if (sql.failed)
        return no_memory(pg, err);
    query.sql = sql.data;
    r = mgc_pg_exec(pg, &query, deadline_us, &file, err);
    if (r < 0)
        return r;
    if (PQntuples(file) != 1 || PQgetisnull(file, 0, 0) || PQgetvalue(file, 0, 0)[0] != 't')
        return changed(pg, table->label, err);
    return 0;
}

int mgc_pg_copy_table(struct mgc_pg *pg, const struct mgc_pg_table *table, int64_t deadline_us,
                      mgc_text_fn *each, void *arg, struct mgc_err *err)
{
    struct stream s = {.pg = pg, .table = table, .each = each, .arg = arg};
    mgc_autobuf sql = {0};
    int r;

    MGC_ASSERT(table->columns_count > 0);
    s.origin = (struct mgc_origin){.source = pg->base.name, .table = table->label, .column = ""};
    mgc_buf_adds(&sql, "COPY (");
    add_select(&sql, table);
    mgc_buf_adds(&sql, ") TO STDOUT");
    if (sql.failed)
        return no_memory(pg, err);
    r = copy(&s, sql.data, deadline_us, err);
    if (r == 0)
        r = mgc_pg_check_table(pg, table, deadline_us, err);
    if (r == 0)
        r = mgc_pg_run(pg, "ROLLBACK TO SAVEPOINT table_done", deadline_us, err);
    return r;
}

/* Everything about the given relations that a query's meaning rests on. */
static const char shape_sql[] =
    "SELECT coalesce(pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(',', c.oid,"
    " c.relnamespace, c.relname, c.relfilenode, a.attnum, a.attname, a.atttypid, a.attisdropped),"
    " ';' ORDER BY c.oid, a.attnum)), '')"
    " FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid"
    " WHERE c.relkind <> 'i' AND c.oid = ANY('{%s}'::pg_catalog.oid[])";

int mgc_pg_check_locked(struct mgc_pg *pg, const char *label, int64_t deadline_us,
                        struct mgc_err *err)
{
    struct mgc_pg_query query = {.table = label};
    mgc_pg_autores *locked = NULL;
    mgc_pg_autores *then = NULL;
    mgc_autofree char *now = NULL;
    mgc_autobuf sql = {0};
    int r;

    query.sql = "SELECT pg_catalog.string_agg(DISTINCT l.relation::pg_catalog.text, ',')"
                " FROM pg_catalog.pg_locks l WHERE l.pid = pg_catalog.pg_backend_pid()"
                " AND l.locktype = 'relation' AND l.relation >= 16384";
    r = mgc_pg_exec(pg, &query, deadline_us, &locked, err);
    if (r < 0)
        return r;
    mgc_buf_addf(&sql, shape_sql, PQgetvalue(locked, 0, 0));
    if (sql.failed)
        return no_memory(pg, err);
    query.sql = sql.data;
    r = mgc_pg_exec(pg, &query, deadline_us, &then, err);
    if (r == 0)
        r = mgc_pg_ask_watcher(pg, sql.data, deadline_us, &now, err);
    if (r < 0)
        return r;
    if (now == NULL || PQntuples(then) != 1 || strcmp(now, PQgetvalue(then, 0, 0)) != 0)
        return changed(pg, label, err);
    return 0;
}

/*
 * An operator's query is his own: it runs with the search path of the role, within the read-only
 * transaction.  A closing semicolon would end the COPY around it.
 */
int mgc_pg_copy_query(struct mgc_pg *pg, const char *label, const char *query, int64_t deadline_us,
                      mgc_text_fn *each, void *arg, struct mgc_err *err)
{
    struct stream s = {.pg = pg, .each = each, .arg = arg};
    size_t bytes = strlen(query);
    mgc_autobuf sql = {0};
    int r;

    while (bytes > 0 && strchr("; \t\r\n", query[bytes - 1]) != NULL)
        bytes--;
    s.origin =
        (struct mgc_origin){.source = pg->base.name, .table = label, .column = "", .whole = true};
    mgc_buf_adds(&sql, "COPY (");
    mgc_buf_add(&sql, query, bytes);
    mgc_buf_adds(&sql, "\n) TO STDOUT");
    if (sql.failed)
        return no_memory(pg, err);
    r = mgc_pg_run(pg, "SET LOCAL search_path TO DEFAULT", deadline_us, err);
    if (r == 0)
        r = copy(&s, sql.data, deadline_us, err);
    if (r == 0)
        r = mgc_pg_check_locked(pg, label, deadline_us, err);
    if (r == 0)
        r = mgc_pg_run(pg, "ROLLBACK TO SAVEPOINT table_done", deadline_us, err);
    return r;
}
