/*
 * source_sqlite_tables.c -- which tables and columns of an SQLite database are read.
 *
 *   X1  Any column may hold text whatever its type says: all of them are read, generated ones too.
 *   X2  A virtual table is never opened (its module may be missing, or the application's own).
 *       Full-text indexes keep their text in an ordinary table NAME_content, which is read like
 *       any other, or in a table of the application's; their other shadow tables hold split words,
 *       which mention nothing.  A module we do not know may keep its rows anywhere: the table is
 *       incomplete until it is ignored by name.
 */
#include "fs/refs/source_sqlite_priv.h"

#include <strings.h>

#include "mediagcfs/assert.h"

/* Virtual tables without rows of their own that could mention a file. */
static const char *const known_modules[] = {
    "fts3",  "fts4",      "fts5",    "fts4aux", "fts3tokenize", "fts5vocab",
    "rtree", "rtree_i32", "geopoly", "dbstat",  "spellfix1",    "sqlite_stmt",
};
/* Shadow tables of a full-text index that hold words and positions. */
static const char *const index_suffixes[] = {
    "_data", "_idx", "_docsize", "_config", "_segments", "_segdir", "_stat",
};

static bool known_module(const char *module)
{
    for (size_t i = 0; i < ARRAY_SIZE(known_modules); i++)
        if (strcasecmp(known_modules[i], module) == 0)
            return true;
    return false;
}

/* Module of "CREATE VIRTUAL TABLE x USING module(...)"; "" where it cannot be told. */
static void module_of(const char *sql, char *out, size_t out_bytes)
{
    const char *at = sql != NULL ? sql : "";
    size_t bytes;

    out[0] = '\0';
    for (; (at = strcasestr(at, "using")) != NULL; at += 5) {
        if (at == sql || strchr(" \t\r\n\"]`)'", at[-1]) == NULL ||
            strchr(" \t\r\n", at[5]) == NULL || at[5] == '\0')
            continue;
        at += 5 + strspn(at + 5, " \t\r\n");
        bytes = strcspn(at, " \t\r\n(");
        if (bytes > 0 && bytes < out_bytes)
            (void)snprintf(out, out_bytes, "%.*s", (int)bytes, at);
        return;
    }
}

int mgc_sqlite_failure(sqlite3 *db, int rc, const struct mgc_conf_references *conf,
                       const char *table, struct mgc_err *err)
{
    char shown[MGC_SHOW_BYTES], named[MGC_SHOW_BYTES], what[MGC_SHOW_BYTES];
    const char *text = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
    const char *hint = NULL;
    int code = MGC_E_SOURCE;

    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        code = MGC_E_INCOMPLETE;
        hint = "Somebody holds the database for long; run again later";
        break;
    case SQLITE_INTERRUPT:
        code = MGC_E_TIMEOUT;
        text = "took too long";
        hint = "Give the references block a longer timeout";
        break;
    case SQLITE_CORRUPT:
        hint = "Check it with PRAGMA integrity_check and restore it";
        break;
    case SQLITE_NOTADB:
        hint = "Point `database` at the SQLite file of the application";
        break;
    case SQLITE_READONLY:
        hint = "Let the application open the database once: it needs a recovery";
        break;
    case SQLITE_CANTOPEN:
        hint = "A WAL database needs a directory that its owner can write";
        break;
    default:
        break;
    }
    (void)mgc_escape(shown, sizeof(shown), text, strlen(text));
    (void)mgc_escape(named, sizeof(named), conf->database, strlen(conf->database));
    (void)mgc_escape(what, sizeof(what), table, strlen(table));
    if (table[0] == '\0')
        (void)mgc_err_say(err, code, "could not read database '%s' of source '%s': %s", named,
                          conf->name, shown);
    else
        (void)mgc_err_say(err, code, "could not read table '%s' of source '%s': %s", what,
                          conf->name, shown);
    if (hint != NULL)
        (void)mgc_err_hint(err, "%s", hint);
    return code;
}

static void table_done(struct mgc_sqlite_table *table)
{
    for (size_t i = 0; i < table->columns_count; i++)
        free(table->columns[i].name);
    free(table->columns);
    free(table->name);
    *table = (struct mgc_sqlite_table){0};
}

void mgc_sqlite_tables_done(struct mgc_sqlite_tables *tables)
{
    for (size_t i = 0; i < tables->count; i++)
        table_done(&tables->items[i]);
    free(tables->items);
    *tables = (struct mgc_sqlite_tables){0};
}

static bool grow(void **items, size_t count, size_t item_bytes)
{
    void *grown;

    if (count != 0 && (count & (count - 1)) != 0)
        return true; /* capacity is the next power of two */
    grown = realloc(*items, (count == 0 ? 1 : count * 2) * item_bytes);
    if (grown == NULL)
        return false;
    *items = grown;
    return true;
}

static bool wanted(const struct mgc_sqlite_scope *scope, const struct mgc_sqlite_table *table,
                   bool listed)
{
    if (listed || scope->listed_only)
        return listed;
    if (scope->depth == MGC_DEPTH_PROOF)
        return true;
    return scope->conf->scan == MGC_SCAN_EVERYTHING && !table->weak;
}

/* The table's name as the configuration may write it. */
static void names_of(const char *name, char *out, size_t out_bytes)
{
    (void)snprintf(out, out_bytes, "main.%s", name);
}

static bool is_listed(const struct mgc_sqlite_scope *scope, const char *table, const char *column)
{
    char names[1024];

    names_of(table, names, sizeof(names));
    return mgc_source_column_listed((const char *const *)scope->conf->columns.items,
                                    scope->conf->columns.count, names, column) ||
           mgc_source_column_listed(scope->columns, scope->columns_count, names, column);
}

static int load_columns(sqlite3 *db, const struct mgc_sqlite_scope *scope,
                        struct mgc_sqlite_table *table, struct mgc_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db, "SELECT name FROM pragma_table_xinfo(?1) ORDER BY cid", -1,
                                &stmt, NULL);
    bool memory = true;

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(stmt, 1, table->name, -1, SQLITE_STATIC);
    while (memory && rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);
        bool listed = name != NULL && is_listed(scope, table->name, name);

        rc = SQLITE_OK;
        if (name != NULL && !wanted(scope, table, listed))
            continue;
        memory = name != NULL &&
                 grow((void **)&table->columns, table->columns_count, sizeof(*table->columns));
        if (!memory)
            break;
        table->columns[table->columns_count++] =
            (struct mgc_sqlite_column){.name = strdup(name), .listed = listed};
        memory = table->columns[table->columns_count - 1].name != NULL;
    }
    (void)sqlite3_finalize(stmt);
    if (!memory)
        return mgc_err_set(err, -ENOMEM, "could not read source '%s'", scope->conf->name);
    return rc == SQLITE_DONE ? 0 : mgc_sqlite_failure(db, rc, scope->conf, table->name, err);
}

static int unknown_module(const struct mgc_sqlite_scope *scope, const char *table,
                          const char *module, struct mgc_err *err)
{
    char shown[MGC_SHOW_BYTES];
    int code;

    (void)mgc_escape(shown, sizeof(shown), table, strlen(table));
    code = mgc_err_say(err, MGC_E_INCOMPLETE,
                       "could not read table '%s' of source '%s': a virtual table of module '%s'",
                       shown, scope->conf->name, MGC_SHOW(module));
    (void)mgc_err_hint(err, "Name it in ignore = {%s}, or read it with a command source", shown);
    return code;
}

/* An index table of a full-text index that is there. */
static bool index_shadow(sqlite3 *db, const char *name)
{
    sqlite3_stmt *stmt = NULL;
    bool found = false;

    for (size_t i = 0; i < ARRAY_SIZE(index_suffixes) && !found; i++) {
        size_t suffix = strlen(index_suffixes[i]), bytes = strlen(name);
        char module[64];

        if (bytes <= suffix || strcmp(name + bytes - suffix, index_suffixes[i]) != 0)
            continue;
        if (sqlite3_prepare_v2(db,
                               "SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND "
                               "rootpage = 0 AND name = ?1",
                               -1, &stmt, NULL) == SQLITE_OK &&
            sqlite3_bind_text(stmt, 1, name, (int)(bytes - suffix), SQLITE_STATIC) == SQLITE_OK &&
            sqlite3_step(stmt) == SQLITE_ROW) {
            module_of((const char *)sqlite3_column_text(stmt, 0), module, sizeof(module));
            found = strncasecmp(module, "fts", 3) == 0;
        }
        (void)sqlite3_finalize(stmt);
        stmt = NULL;
    }
    return found;
}

/* One row of sqlite_schema.  1: to be read or reported, 0: nothing in it is wanted. */
static int load_table(sqlite3 *db, const struct mgc_sqlite_scope *scope, sqlite3_stmt *row,
                      struct mgc_sqlite_table *table, struct mgc_err *err)
{
    const char *name = (const char *)sqlite3_column_text(row, 0);
    bool is_virtual = sqlite3_column_int(row, 1) == 0;
    char names[1024], module[64];
    int r;

    if (name == NULL)
        return mgc_err_set(err, -ENOMEM, "could not read source '%s'", scope->conf->name);
    table->name = strdup(name);
    if (table->name == NULL)
        return mgc_err_set(err, -ENOMEM, "could not read source '%s'", scope->conf->name);
    names_of(name, names, sizeof(names));
    table->ignored = mgc_source_listed(&scope->conf->ignore, names);
    table->weak = table->ignored || mgc_source_class_weak(mgc_source_table_class(name));
    if (is_virtual || index_shadow(db, name)) {
        module_of((const char *)sqlite3_column_text(row, 2), module, sizeof(module));
        if (is_virtual && !known_module(module) && !table->ignored && !scope->listed_only &&
            wanted(scope, table, false))
            return unknown_module(scope, name, module, err);
        table->skipped = true;
        return !scope->listed_only && wanted(scope, table, false);
    }
    r = load_columns(db, scope, table, err);
    return r < 0 ? r : table->columns_count > 0;
}

static int check_listed(const struct mgc_sqlite_scope *scope, const struct mgc_sqlite_tables *t,
                        const char *listed, struct mgc_err *err)
{
    int code;

    for (size_t i = 0; i < t->count; i++)
        for (size_t k = 0; k < t->items[i].columns_count; k++) {
            char names[1024];

            names_of(t->items[i].name, names, sizeof(names));
            if (mgc_source_column_listed(&listed, 1, names, t->items[i].columns[k].name))
                return 0;
        }
    code = mgc_err_say(err, MGC_E_SOURCE,
                       "could not read column '%s' of source '%s': there is none in a table",
                       MGC_SHOW(listed), scope->conf->name);
    (void)mgc_err_hint(err, "Write table.column; for a view use query = {\"SELECT ...\"}");
    return code;
}

int mgc_sqlite_tables_load(sqlite3 *db, const struct mgc_sqlite_scope *scope,
                           struct mgc_sqlite_tables *ret, struct mgc_err *err)
{
    struct mgc_sqlite_tables tables = {0};
    sqlite3_stmt *stmt = NULL;
    int r = 0, rc;

    rc = sqlite3_prepare_v2(db,
                            "SELECT name, rootpage, sql FROM main.sqlite_schema "
                            "WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
                            -1, &stmt, NULL);
    while (r >= 0 && rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct mgc_sqlite_table table = {0};

        rc = SQLITE_OK;
        r = load_table(db, scope, stmt, &table, err);
        if (r > 0 && !grow((void **)&tables.items, tables.count, sizeof(*tables.items)))
            r = mgc_err_set(err, -ENOMEM, "could not read source '%s'", scope->conf->name);
        if (r > 0)
            tables.items[tables.count++] = table;
        else
            table_done(&table);
    }
    (void)sqlite3_finalize(stmt);
    if (r >= 0 && rc != SQLITE_DONE)
        r = mgc_sqlite_failure(db, rc, scope->conf, "", err);
    for (size_t i = 0; r >= 0 && i < scope->conf->columns.count; i++)
        r = check_listed(scope, &tables, scope->conf->columns.items[i], err);
    for (size_t i = 0; r >= 0 && i < scope->columns_count; i++)
        r = check_listed(scope, &tables, scope->columns[i], err);
    if (r < 0) {
        mgc_sqlite_tables_done(&tables);
        return r;
    }
    *ret = tables;
    return 0;
}
