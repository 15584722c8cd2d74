/*
 * source_postgres_tables.c -- which columns of which tables are read.
 *
 *   B1  A type is text unless it is known not to be: numbers, times, networks, geometry and the
 *       like.  Domains, arrays and composite types are followed to what they are made of.
 *   B2  Only relations that hold rows of their own: ordinary tables, leaf partitions, foreign
 *       tables.  A listed name also means what inherits from it or is a part of it.
 *   B3  What may not be read is an error before the first byte is, not after hours (H33).
 */
#include "fs/refs/source_postgres_priv.h"

#include "mediagcfs/assert.h"

/*
 * kinds: for each type in use, whether something in it is text (B1) and whether it is bytea itself
 * (1) or contains bytea (2).  up: a relation and everything above it.
 */
static const char tables_sql[] =
    "WITH RECURSIVE up(oid, above) AS ("
    " SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits"
    " UNION SELECT up.oid, i.inhparent FROM up"
    " JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.above"
    "), part(root, oid, scalar) AS ("
    " SELECT DISTINCT a.atttypid, a.atttypid, true FROM pg_catalog.pg_attribute a"
    " WHERE a.attnum > 0 AND NOT a.attisdropped"
    " UNION SELECT part.root, inner_type.oid, part.scalar AND inner_type.scalar"
    " FROM part JOIN pg_catalog.pg_type y ON y.oid = part.oid,"
    " LATERAL (SELECT y.typbasetype AS oid, true AS scalar WHERE y.typtype = 'd'"
    " UNION ALL SELECT y.typelem, false WHERE y.typcategory = 'A' AND y.typelem <> 0"
    " UNION ALL SELECT f.atttypid, false FROM pg_catalog.pg_attribute f"
    " WHERE y.typtype = 'c' AND f.attrelid = y.typrelid AND f.attnum > 0 AND NOT f.attisdropped"
    " ) inner_type"
    "), leaf AS ("
    " SELECT part.root, part.scalar, y.oid, y.typname, y.typnamespace ="
    " 'pg_catalog'::pg_catalog.regnamespace AS builtin, y.typcategory AS category"
    " FROM part JOIN pg_catalog.pg_type y ON y.oid = part.oid"
    " WHERE y.typtype NOT IN ('c', 'd') AND y.typcategory <> 'A'"
    "), kinds AS ("
    " SELECT root, bool_or(CASE WHEN category IN ('B', 'D', 'G', 'I', 'N', 'P', 'T', 'V', 'Z')"
    " THEN false"
    " WHEN category = 'E' THEN EXISTS (SELECT FROM pg_catalog.pg_enum e"
    " WHERE e.enumtypid = leaf.oid AND e.enumlabel ~ '[./]')"
    " WHEN category = 'R' THEN NOT builtin"
    " WHEN builtin THEN typname NOT IN ('bytea', 'uuid', 'tsvector', 'tsquery', 'gtsvector',"
    " 'pg_lsn', 'xid', 'xid8', 'cid', 'tid', 'txid_snapshot', 'pg_snapshot', 'macaddr',"
    " 'macaddr8', 'aclitem')"
    " ELSE true END) AS text_like,"
    " max(CASE WHEN builtin AND typname = 'bytea' THEN CASE WHEN scalar THEN 1 ELSE 2 END"
    " ELSE 0 END) AS bytes FROM leaf GROUP BY root"
    ") SELECT c.oid, c.relkind, n.nspname, c.relname,"
    " quote_ident(n.nspname) || '.' || quote_ident(c.relname),"
    " (SELECT string_agg(pn.nspname || '.' || p.relname, E'\\n') FROM up"
    " JOIN pg_catalog.pg_class p ON p.oid = up.above"
    " JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace WHERE up.oid = c.oid),"
    " a.attnum, a.attname, quote_ident(a.attname),"
    " coalesce(k.text_like, true), coalesce(k.bytes, 0),"
    " coalesce(has_schema_privilege(n.oid, 'USAGE')" /* NULL: gone since; its COPY will tell */
    " AND has_column_privilege(c.oid, a.attnum, 'SELECT'), true)"
    " FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
    " AND NOT a.attisdropped"
    " LEFT JOIN kinds k ON k.root = a.atttypid"
    " WHERE c.relkind IN ('r', 'f') AND c.relpersistence <> 't'"
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    " ORDER BY n.nspname, c.relname, c.oid, a.attnum";

enum {
    AT_OID,
    AT_KIND,
    AT_SCHEMA,
    AT_NAME,
    AT_QUOTED,
    AT_ABOVE,
    AT_ATTNUM,
    AT_COLUMN,
    AT_COLUMN_QUOTED,
    AT_TEXT_LIKE,
    AT_BYTES,
    AT_READABLE,
};

static void table_done(struct mgc_pg_table *table)
{
    for (size_t i = 0; i < table->columns_count; i++) {
        free(table->columns[i].name);
        free(table->columns[i].quoted);
    }
    free(table->columns);
    free(table->label);
    free(table->quoted);
    free(table->names);
    *table = (struct mgc_pg_table){0};
}

void mgc_pg_tables_done(struct mgc_pg_tables *tables)
{
    for (size_t i = 0; i < tables->count; i++)
        table_done(&tables->items[i]);
    free(tables->items);
    *tables = (struct mgc_pg_tables){0};
}

/* Rows of one table follow each other. */
static int rows_of_table(const PGresult *res, int first)
{
    int count = 1;

    while (first + count < PQntuples(res) &&
           strcmp(PQgetvalue(res, first, AT_OID), PQgetvalue(res, first + count, AT_OID)) == 0)
        count++;
    return count;
}

static char *joined(const char *a, const char *between, const char *b)
{
    mgc_autobuf text = {0};

    mgc_buf_adds(&text, a);
    if (b[0] != '\0') {
        mgc_buf_adds(&text, between);
        mgc_buf_adds(&text, b);
    }
    return text.failed ? NULL : mgc_steal(text.data);
}

static bool fill_column(struct mgc_pg *pg, const PGresult *res, int row,
                        const struct mgc_pg_table *table, struct mgc_pg_column *column)
{
    column->name = strdup(PQgetvalue(res, row, AT_COLUMN));
    column->quoted = strdup(PQgetvalue(res, row, AT_COLUMN_QUOTED));
    if (column->name == NULL || column->quoted == NULL)
        return false;
    column->attnum = (int)strtol(PQgetvalue(res, row, AT_ATTNUM), NULL, 10);
    column->bytes = (enum mgc_pg_bytes)strtol(PQgetvalue(res, row, AT_BYTES), NULL, 10);
    column->text_like = PQgetvalue(res, row, AT_TEXT_LIKE)[0] == 't' ||
                        (column->bytes != MGC_PG_TEXT && pg->conf->binary);
    column->readable = PQgetvalue(res, row, AT_READABLE)[0] == 't';
    column->listed = mgc_source_column_listed((const char *const *)pg->conf->columns.items,
                                              pg->conf->columns.count, table->names, column->name);
    return true;
}

static bool fill_table(struct mgc_pg *pg, const PGresult *res, int first, int rows,
                       struct mgc_pg_table *table)
{
    const char *name = PQgetvalue(res, first, AT_NAME);

    table->oid = (Oid)strtoul(PQgetvalue(res, first, AT_OID), NULL, 10);
    table->kind = PQgetvalue(res, first, AT_KIND)[0];
    table->label = joined(PQgetvalue(res, first, AT_SCHEMA), ".", name);
    table->quoted = strdup(PQgetvalue(res, first, AT_QUOTED));
    if (table->label == NULL || table->quoted == NULL)
        return false;
    table->names = joined(table->label, "\n", PQgetvalue(res, first, AT_ABOVE));
    table->columns = calloc((size_t)rows, sizeof(*table->columns));
    if (table->names == NULL || table->columns == NULL)
        return false;
    table->ignored = mgc_source_listed(&pg->conf->ignore, table->names);
    table->weak = table->ignored || mgc_source_class_weak(mgc_source_table_class(name));
    for (int i = 0; i < rows; i++) {
        table->columns_count++;
        if (!fill_column(pg, res, first + i, table, &table->columns[i]))
            return false;
    }
    return true;
}

int mgc_pg_tables_load(struct mgc_pg *pg, const char *const *columns, size_t columns_count,
                       int64_t deadline_us, struct mgc_pg_tables *ret, struct mgc_err *err)
{
    const struct mgc_pg_query query = {.sql = tables_sql, .table = ""};
    struct mgc_pg_tables tables = {0};
    mgc_pg_autores *res = NULL;
    int rows, r = mgc_pg_exec(pg, &query, deadline_us, &res, err);

    if (r < 0)
        return r;
    if (PQntuples(res) > MGC_SOURCE_COLUMNS_MAX)
        return mgc_err_say(err, MGC_E_LIMIT, "could not read source '%s': more than %d columns",
                           pg->base.name, MGC_SOURCE_COLUMNS_MAX);
    tables.items = calloc((size_t)PQntuples(res) + 1, sizeof(*tables.items));
    if (tables.items == NULL)
        return mgc_err_set(err, -ENOMEM, "could not read source '%s'", pg->base.name);
    for (int first = 0; first < PQntuples(res); first += rows) {
        struct mgc_pg_table *table = &tables.items[tables.count++];

        rows = rows_of_table(res, first);
        if (!fill_table(pg, res, first, rows, table)) {
            mgc_pg_tables_done(&tables);
            return mgc_err_set(err, -ENOMEM, "could not read source '%s'", pg->base.name);
        }
        for (size_t i = 0; i < table->columns_count; i++)
            if (mgc_source_column_listed(columns, columns_count, table->names,
                                         table->columns[i].name))
                table->columns[i].listed = true;
    }
    *ret = tables;
    return 0;
}

static int may_not(const struct mgc_pg *pg, const struct mgc_pg_table *table, struct mgc_err *err)
{
    char shown[MGC_SHOW_BYTES];
    int code;

    (void)mgc_escape(shown, sizeof(shown), table->label, strlen(table->label));
    if (table->kind == 'f') {
        code = mgc_err_say(err, MGC_E_INCOMPLETE,
                           "could not read table '%s' of source '%s': a foreign table, its rows "
                           "are in another database",
                           shown, pg->base.name);
        (void)mgc_err_hint(err,
                           "Make that database a source of its own and name the table in "
                           "ignore = {%s}",
                           shown);
        return code;
    }
    code = mgc_err_say(err, MGC_E_SOURCE,
                       "could not read table '%s' of source '%s': permission denied", shown,
                       pg->base.name);
    (void)mgc_err_hint(err,
                       "Grant the role SELECT on it and USAGE on its schema, or name it in "
                       "ignore = {%s}",
                       shown);
    return code;
}

/* Whether a column is read at this depth; a listed one always counts in full. */
static bool wanted(const struct mgc_pg *pg, const struct mgc_pg_table *table,
                   const struct mgc_pg_column *column, enum mgc_source_depth depth)
{
    if (column->listed)
        return true;
    if (depth == MGC_DEPTH_PROOF)
        return column->text_like;
    return pg->conf->scan == MGC_SCAN_EVERYTHING && column->text_like && !table->weak;
}

int mgc_pg_tables_choose(struct mgc_pg *pg, struct mgc_pg_tables *tables,
                         enum mgc_source_depth depth, struct mgc_err *err)
{
    size_t kept = 0;

    for (size_t i = 0; i < tables->count; i++) {
        struct mgc_pg_table *table = &tables->items[i];
        bool readable = table->kind == 'r', ignored = table->ignored;
        size_t columns = 0;

        for (size_t k = 0; k < table->columns_count; k++) {
            struct mgc_pg_column *column = &table->columns[k];

            if (!wanted(pg, table, column, depth)) {
                free(column->name);
                free(column->quoted);
                *column = (struct mgc_pg_column){0};
                continue;
            }
            readable = readable && column->readable;
            ignored = ignored && !column->listed;
            table->columns[columns++] = *column;
            if (columns <= k)
                *column = (struct mgc_pg_column){0};
        }
        table->columns_count = columns;
        /* Ignored by name and not to be read: the operator has said that this is all right. */
        if (columns > 0 && !readable && !ignored)
            return may_not(pg, table, err);
        if (columns == 0 || !readable) {
            table_done(table);
            continue;
        }
        tables->items[kept++] = *table;
        if (kept <= i)
            *table = (struct mgc_pg_table){0};
    }
    tables->count = kept;
    return 0;
}

int mgc_pg_tables_listed(struct mgc_pg *pg, const struct mgc_pg_tables *tables,
                         const char *const *list, size_t count, struct mgc_err *err)
{
    for (size_t i = 0; i < count; i++) {
        bool found = false;
        int code;

        for (size_t t = 0; t < tables->count && !found; t++)
            for (size_t c = 0; c < tables->items[t].columns_count && !found; c++)
                found = mgc_source_column_listed(&list[i], 1, tables->items[t].names,
                                                 tables->items[t].columns[c].name);
        if (found)
            continue;
        code = mgc_err_say(err, MGC_E_SOURCE,
                           "could not read column '%s' of source '%s': there is none in a table",
                           MGC_SHOW(list[i]), pg->base.name);
        (void)mgc_err_hint(err, "Write table.column or schema.table.column; for a view use query = "
                                "{\"SELECT ...\"}");
        return code;
    }
    return 0;
}
