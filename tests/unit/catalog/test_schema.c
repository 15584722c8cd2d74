/* test_schema.c -- versions: created, migrated, refused; damage found at open. */
#include "scratch.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "fs/catalog/schema_priv.h"

static int64_t ask(sqlite3 *db, const char *statement)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value = -1;

    assert_int_equal(sqlite3_prepare_v2(db, statement, -1, &stmt, NULL), SQLITE_OK);
    if (sqlite3_step(stmt) == SQLITE_ROW)
        value = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return value;
}

static const struct mgc_schema_step three[] = {
    {1, "CREATE TABLE a (x); INSERT INTO a VALUES (1)"},
    {2, "ALTER TABLE a ADD COLUMN y; UPDATE a SET y = x + 1"},
    {3, "CREATE TABLE b AS SELECT y + 1 AS z FROM a"},
};

static void steps_run_once_and_in_order(void **state)
{
    sqlite3 *db = NULL;

    (void)state;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(mgc_schema_migrate(db, three, 1, NULL), 0);
    assert_int_equal(ask(db, "PRAGMA user_version"), 1);
    assert_int_equal(ask(db, "PRAGMA application_id"), MGC_SCHEMA_APPLICATION_ID);
    assert_int_equal(mgc_schema_migrate(db, three, 3, NULL), 0);
    assert_int_equal(ask(db, "PRAGMA user_version"), 3);
    assert_int_equal(ask(db, "SELECT z FROM b"), 3);
    assert_int_equal(mgc_schema_migrate(db, three, 3, NULL), 0);
    assert_int_equal(ask(db, "SELECT count(*) FROM a"), 1);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_step_that_fails_leaves_the_version_before_it(void **state)
{
    struct mgc_schema_step steps[] = {three[0], {2, "CREATE TABLE c (x); SELECT nonsense"}};
    struct mgc_err err = {0};
    sqlite3 *db = NULL;

    (void)state;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(mgc_schema_migrate(db, steps, 2, &err), -EIO);
    assert_non_null(strstr(err.text, "version 2"));
    assert_int_equal(ask(db, "PRAGMA user_version"), 1);
    assert_int_equal(ask(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'c'"), 0);
    steps[1].sql = three[1].sql;
    assert_int_equal(mgc_schema_migrate(db, steps, 2, &err), 0);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void a_newer_version_is_refused_by_migrate_too(void **state)
{
    struct mgc_err err = {0};
    sqlite3 *db = NULL;

    (void)state;
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(mgc_schema_migrate(db, three, 3, NULL), 0);
    assert_int_equal(mgc_schema_migrate(db, three, 2, &err), MGC_E_VERSION);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void our_steps_are_numbered_from_one(void **state)
{
    size_t count;
    const struct mgc_schema_step *steps = mgc_schema_steps(&count);

    (void)state;
    assert_true(count >= 1);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(steps[i].version, i + 1);
}

static void assert_untouched(struct scratch *s, const char *before, size_t bytes)
{
    size_t now_bytes;
    mgc_autofree char *now = read_whole(in(s, "catalog.db"), &now_bytes);

    assert_int_equal(now_bytes, bytes);
    assert_memory_equal(now, before, bytes);
    assert_int_equal(access(in(s, "opened"), F_OK), -1);
}

/* A closed catalog whose file holds everything, and no array beside it. */
static void plain_file(struct scratch *s)
{
    struct mgc_catalog *c = writer(s);

    create(s, c, "d/a", 1);
    mgc_catalog_close(c);
    sql(s, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE");
    assert_int_equal(unlink(in(s, "opened")), 0);
    (void)unlink(in(s, "catalog.db-wal"));
    (void)unlink(in(s, "catalog.db-shm"));
}

static void a_newer_version_is_untouched(void **state)
{
    struct scratch *s = *state;
    mgc_autofree char *before = NULL;
    size_t bytes;

    plain_file(s);
    sql(s, "PRAGMA user_version = 999");
    before = read_whole(in(s, "catalog.db"), &bytes);
    assert_int_equal(writer_fails(s), MGC_E_VERSION);
    assert_non_null(strstr(s->err.text, "newer"));
    assert_true(s->err.hint[0] != '\0');
    assert_untouched(s, before, bytes);
    assert_int_equal(access(in(s, "catalog.db-wal"), F_OK), -1);
}

static void a_file_of_somebody_else_is_untouched(void **state)
{
    struct scratch *s = *state;
    mgc_autofree char *before = NULL;
    size_t bytes;

    sql(s, "CREATE TABLE photos (file TEXT); INSERT INTO photos VALUES ('a.jpg')");
    before = read_whole(in(s, "catalog.db"), &bytes);
    assert_int_equal(writer_fails(s), MGC_E_CORRUPT);
    assert_untouched(s, before, bytes);
    sql(s, "PRAGMA user_version = 1");
    free(mgc_steal(before));
    before = read_whole(in(s, "catalog.db"), &bytes);
    assert_int_equal(writer_fails(s), MGC_E_CORRUPT);
    assert_untouched(s, before, bytes);
    write_at(in(s, "catalog.db"), 0, "this is no database", 19);
    assert_int_equal(writer_fails(s), MGC_E_CORRUPT);
}

static void damage_is_found_at_open(void **state)
{
    static const struct {
        const char *what;
        int64_t offset;
        size_t bytes;
    } rows[] = {
        {"schema page", 100, 300},
        {"second page", 4096, 64},
        {"page of entries", 4096 * 6, 64},
        {"header", 16, 8},
    };
    struct scratch *s = *state;
    char noise[512];

    memset(noise, 0xa5, sizeof(noise));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        (void)unlink(in(s, "catalog.db"));
        plain_file(s);
        write_at(in(s, "catalog.db"), rows[i].offset, noise, rows[i].bytes);
        if (writer_fails(s) != MGC_E_CORRUPT)
            fail_msg("%s: %s", rows[i].what, s->err.text);
    }
    (void)unlink(in(s, "catalog.db"));
    plain_file(s);
    assert_int_equal(truncate(in(s, "catalog.db"), 3 * 4096), 0);
    assert_int_equal(writer_fails(s), MGC_E_CORRUPT);
    assert_int_equal(truncate(in(s, "catalog.db"), 50), 0);
    assert_int_equal(writer_fails(s), MGC_E_CORRUPT);
}

static void missing_tables_and_rows_are_damage(void **state)
{
    static const char *const breaks[] = {
        "DROP TABLE entries",
        "DROP TABLE held",
        "DROP TABLE events",
        "DELETE FROM counters",
        "DELETE FROM dirs WHERE id = 1",
    };
    struct scratch *s = *state;

    for (size_t i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
        (void)unlink(in(s, "catalog.db"));
        plain_file(s);
        sql(s, breaks[i]);
        if (writer_fails(s) != MGC_E_CORRUPT)
            fail_msg("%s: %s", breaks[i], s->err.text);
    }
}

static void a_crash_while_creating_is_created_again(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog *c;

    write_at(in(s, "catalog.db"), 0, "", 0); /* the file was made, nothing in it */
    c = writer(s);
    mgc_catalog_close(c);
    assert_int_equal(unlink(in(s, "catalog.db")), 0);
    (void)unlink(in(s, "catalog.db-wal"));
    (void)unlink(in(s, "catalog.db-shm"));
    sql(s, "PRAGMA journal_mode = WAL"); /* its first page was written, no tables */
    c = writer(s);
    create(s, c, "a", 1);
    mgc_catalog_close(c);
    /* The tables were made, the catalog's id was not. */
    sql(s, "DELETE FROM meta WHERE key = 'catalog_id'");
    c = writer(s);
    assert_true(id_of(c, "a") > 0);
    mgc_catalog_close(c);
}

static void a_catalog_is_set_aside_whole(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog *c = writer(s);
    char aside[256] = "", second[256] = "", beside[300];

    create(s, c, "a", 1);
    mgc_catalog_close(c);
    ok(s, mgc_catalog_set_aside(s->directory, aside, sizeof(aside), &s->err));
    assert_non_null(strstr(aside, "/catalog.db.corrupt-2"));
    assert_int_equal(access(aside, F_OK), 0);
    (void)snprintf(beside, sizeof(beside), "%s-wal", aside);
    assert_int_equal(access(beside, F_OK), 0);
    (void)snprintf(beside, sizeof(beside), "%s-opened", aside);
    assert_int_equal(access(beside, F_OK), 0);
    assert_int_equal(access(in(s, "catalog.db"), F_OK), -1);
    assert_int_equal(access(in(s, "catalog.db-wal"), F_OK), -1);
    assert_int_equal(access(in(s, "opened"), F_OK), -1);
    c = writer(s);
    assert_int_equal(id_of(c, "a"), 0);
    mgc_catalog_close(c);
    ok(s, mgc_catalog_set_aside(s->directory, second, sizeof(second), &s->err));
    assert_string_not_equal(aside, second);
    assert_int_equal(mgc_catalog_set_aside(s->directory, second, sizeof(second), &s->err), -ENOENT);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_run_once_and_in_order),
        cmocka_unit_test(a_step_that_fails_leaves_the_version_before_it),
        cmocka_unit_test(a_newer_version_is_refused_by_migrate_too),
        cmocka_unit_test(our_steps_are_numbered_from_one),
        scratch_test(a_newer_version_is_untouched),
        scratch_test(a_file_of_somebody_else_is_untouched),
        scratch_test(damage_is_found_at_open),
        scratch_test(missing_tables_and_rows_are_damage),
        scratch_test(a_crash_while_creating_is_created_again),
        scratch_test(a_catalog_is_set_aside_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
