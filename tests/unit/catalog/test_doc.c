/* test_doc.c -- fs/doc/CATALOG.md names the tables, columns and states that there are. */
#include "scratch.h"

#include <sqlite3.h>

#include "mediagcfs/attr.h"

enum { TEXT_BYTES = 8192 };

/* "table: column column ...\n" for each table, in the order of the document. */
static void from_document(const char *text, char *out)
{
    bool tables = false;
    size_t used = 0;

    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        char name[64];

        if (sscanf(line, "### `%63[a-z_]`", name) == 1) {
            tables = true;
            used += (size_t)snprintf(out + used, TEXT_BYTES - used, "%s%s:", used > 0 ? "\n" : "",
                                     name);
        } else if (strncmp(line, "## ", 3) == 0)
            tables = false;
        else if (tables && sscanf(line, "| `%63[a-z0-9_]` |", name) == 1)
            used += (size_t)snprintf(out + used, TEXT_BYTES - used, " %s", name);
        assert_true(used < TEXT_BYTES);
        if (strchr(line, '\n') == NULL)
            break;
    }
}

static void columns_of(sqlite3 *db, const char *table, char *out, size_t *used)
{
    sqlite3_stmt *stmt = NULL;

    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT name FROM pragma_table_info(?)", -1, &stmt, NULL),
        SQLITE_OK);
    (void)sqlite3_bind_text(stmt, 1, table, -1, SQLITE_STATIC);
    while (sqlite3_step(stmt) == SQLITE_ROW)
        *used += (size_t)snprintf(out + *used, TEXT_BYTES - *used, " %s",
                                  (const char *)sqlite3_column_text(stmt, 0));
    (void)sqlite3_finalize(stmt);
    assert_true(*used < TEXT_BYTES);
}

static void from_catalog(struct scratch *s, char *out)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    size_t used = 0;

    assert_int_equal(sqlite3_open(in(s, "catalog.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT name FROM sqlite_schema WHERE type = 'table' AND"
                                        " name NOT LIKE 'sqlite_%' ORDER BY rowid",
                                        -1, &stmt, NULL),
                     SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *table = (const char *)sqlite3_column_text(stmt, 0);

        used +=
            (size_t)snprintf(out + used, TEXT_BYTES - used, "%s%s:", used > 0 ? "\n" : "", table);
        columns_of(db, table, out, &used);
    }
    (void)sqlite3_finalize(stmt);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void the_document_has_our_tables_and_columns(void **state)
{
    struct scratch *s = *state;
    mgc_autofree char *text = read_whole(MGC_SOURCE_DIR "/fs/doc/CATALOG.md", NULL);
    mgc_autofree char *document = calloc(1, TEXT_BYTES), *catalog = calloc(1, TEXT_BYTES);

    assert_non_null(document);
    assert_non_null(catalog);
    mgc_catalog_close(writer(s));
    from_document(text, document);
    from_catalog(s, catalog);
    assert_true(strlen(catalog) > 500);
    assert_string_equal(document, catalog);
}

/* Both as a row of the table of states and as a number of the column. */
static void the_document_has_our_states(void **state)
{
    mgc_autofree char *text = read_whole(MGC_SOURCE_DIR "/fs/doc/CATALOG.md", NULL);
    char states[128] = "| `state` | ", reasons[128] = "| `reason` | ",
         results[128] = "| `result` | ", row[64];
    const char *section = strstr(text, "## States of a held file");
    size_t rows = 0;

    (void)state;
    assert_non_null(section);
    for (unsigned i = 0; i <= MGC_HELD_PURGING; i++) {
        const char *name = mgc_held_state_name((enum mgc_held_state)i);

        (void)snprintf(row, sizeof(row), "\n| `%s` | ", name);
        if (strstr(section, row) == NULL)
            fail_msg("no row for state %s", name);
        (void)snprintf(states + strlen(states), sizeof(states) - strlen(states), "%s%u %s",
                       i > 0 ? ", " : "", i, name);
    }
    for (const char *at = section; (at = strstr(at, "\n| `")) != NULL; at++)
        rows += at < strstr(section, "## What is durable");
    assert_int_equal(rows, MGC_HELD_PURGING + 1);
    for (unsigned i = 0; i <= MGC_REASON_REPLACED; i++)
        (void)snprintf(reasons + strlen(reasons), sizeof(reasons) - strlen(reasons), "%s%u %s",
                       i > 0 ? ", " : "", i, mgc_held_reason_name((enum mgc_held_reason)i));
    for (unsigned i = 0; i <= MGC_RUN_FAILED; i++)
        (void)snprintf(results + strlen(results), sizeof(results) - strlen(results), "%s%u %s",
                       i > 0 ? ", " : "", i, mgc_run_result_name((enum mgc_run_result)i));
    assert_non_null(strstr(text, states));
    assert_non_null(strstr(text, reasons));
    assert_non_null(strstr(text, results));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        scratch_test(the_document_has_our_tables_and_columns),
        cmocka_unit_test(the_document_has_our_states),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
