/*
 * test_source.c -- the contract of source.h, against every kind of source.
 *
 * Each test runs for PostgreSQL, SQLite (both journal modes) and a command.  A missing server
 * fails: a contract that was not tried is not kept.
 */
#include "source_probe.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "mediagcfs/bytes.h"
#include "mediagcfs/os.h"
#include "pg_cluster.h"

enum { MANY = 60000, MANY_BYTES = 200 };

static struct pg_cluster cluster;
static int made;
static char folder[] = "/dev/shm/mgc-source-XXXXXX";

/* One kind of source with a table (or file) of texts behind it. */
struct world {
    const struct kind *kind;
    struct mgc_conf_references conf;
    struct mgc_source *source;
    char path[128]; /* of the database file, or of the file a command prints */
    char text[512]; /* conninfo or command */
    PGconn *admin;
};
struct kind {
    const char *name;
    enum mgc_conf_type type;
    void (*make)(struct world *w);
    void (*put)(struct world *w, const char *text);
    void (*put_many)(struct world *w);
    void (*cut)(void *world);      /* breaks what is being read, from outside */
    void (*gone)(struct world *w); /* there is nothing to read any more */
    void (*back)(struct world *w); /* and there is again */
    const char *column;            /* as ask() names it; NULL: a command */
};

/* --- PostgreSQL --- */

static void postgres_make(struct world *w)
{
    char *conninfo = pg_cluster_conninfo(&cluster, "reader", "postgres");

    w->admin = pg_cluster_session(&cluster, "postgres", "postgres");
    pg_do(w->admin, "DROP TABLE IF EXISTS refs; CREATE TABLE refs(id serial, path text);"
                    "GRANT SELECT ON refs TO reader");
    (void)snprintf(w->text, sizeof(w->text), "%s", conninfo);
    free(conninfo);
    w->conf.conninfo = w->text;
}

static void postgres_put(struct world *w, const char *text)
{
    const char *const values[] = {text};

    PQclear(PQexecParams(w->admin, "INSERT INTO refs(path) VALUES ($1)", 1, NULL, values, NULL,
                         NULL, 0));
}

static void postgres_put_many(struct world *w)
{
    char sql[200];

    (void)snprintf(sql, sizeof(sql),
                   "INSERT INTO refs(path) SELECT rpad('many/' || i, %d, 'x') FROM "
                   "generate_series(1, %d) i",
                   MANY_BYTES, MANY);
    pg_do(w->admin, sql);
}

static void postgres_cut(void *world)
{
    struct world *w = world;

    pg_do(w->admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'mediagcfs' AND query LIKE 'COPY%'");
}

static void postgres_gone(struct world *w)
{
    PQfinish(w->admin);
    w->admin = NULL;
    pg_cluster_down(&cluster);
}

static void postgres_back(struct world *w)
{
    pg_cluster_up(&cluster);
    w->admin = pg_cluster_session(&cluster, "postgres", "postgres");
}

/* --- SQLite --- */

/* As another process would: nothing of SQLite stays open here when the reader is forked. */
static void sql(struct world *w, const char *text)
{
    sqlite3 *db = NULL;
    char *message = NULL;

    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    (void)sqlite3_busy_timeout(db, 10000);
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text, message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void sqlite_make(struct world *w)
{
    /* A name of its own: what a failed test has left open must not meet the next. */
    (void)snprintf(w->path, sizeof(w->path), "%s/refs%d.db", folder, ++made);
    sql(w, strcmp(w->kind->name, "sqlite wal") == 0 ? "PRAGMA journal_mode = WAL"
                                                    : "PRAGMA journal_mode = DELETE");
    sql(w, "CREATE TABLE refs(id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT)");
    w->conf.database = w->path;
}

static void sqlite_put(struct world *w, const char *text)
{
    char *statement = sqlite3_mprintf("INSERT INTO refs(path) VALUES (%Q)", text);

    sql(w, statement);
    sqlite3_free(statement);
}

static void sqlite_put_many(struct world *w)
{
    char statement[300];

    (void)snprintf(statement, sizeof(statement),
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
                   "INSERT INTO refs(path) SELECT printf('many/%%-*d', %d, i) FROM n",
                   MANY, MANY_BYTES - 5);
    sql(w, statement);
}

static void sqlite_cut(void *world)
{
    pid_t child = child_named("mediagcfs-sqlit"); /* 15 characters */

    (void)world;
    assert_true(child > 0);
    assert_int_equal(kill(child, SIGKILL), 0);
}

static void sqlite_gone(struct world *w)
{
    char away[200];

    (void)snprintf(away, sizeof(away), "%s.away", w->path);
    assert_int_equal(rename(w->path, away), 0);
}

static void sqlite_back(struct world *w)
{
    char away[200];

    (void)snprintf(away, sizeof(away), "%s.away", w->path);
    assert_int_equal(rename(away, w->path), 0);
}

/* --- command --- */

static void command_make(struct world *w)
{
    (void)snprintf(w->path, sizeof(w->path), "%s/refs.txt", folder);
    mgc_autofd fd = open(w->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    (void)snprintf(w->text, sizeof(w->text), "cat %s", w->path);
    w->conf.command = w->text;
}

static void command_put(struct world *w, const char *text)
{
    FILE *file = fopen(w->path, "ae");

    assert_non_null(file);
    assert_true(fprintf(file, "%s\n", text) > 0);
    assert_int_equal(fclose(file), 0);
}

static void command_put_many(struct world *w)
{
    FILE *file = fopen(w->path, "ae");

    assert_non_null(file);
    for (int i = 1; i <= MANY; i++)
        assert_true(fprintf(file, "many/%-*d\n", MANY_BYTES - 5, i) > 0);
    assert_int_equal(fclose(file), 0);
}

static void command_cut(void *world)
{
    pid_t child = child_named("cat"); /* the shell executes its last command itself */

    (void)world;
    if (child <= 0)
        child = child_named("sh");
    assert_true(child > 0);
    assert_int_equal(kill(child, SIGKILL), 0);
}

// clang-format off
static const struct kind kinds[] = {
    {"postgresql", MGC_TYPE_POSTGRESQL, postgres_make, postgres_put, postgres_put_many,
     postgres_cut, postgres_gone, postgres_back, "public.refs.path"},
    {"sqlite wal", MGC_TYPE_SQLITE, sqlite_make, sqlite_put, sqlite_put_many,
     sqlite_cut, sqlite_gone, sqlite_back, "refs.path"},
    {"sqlite journal", MGC_TYPE_SQLITE, sqlite_make, sqlite_put, sqlite_put_many,
     sqlite_cut, sqlite_gone, sqlite_back, "refs.path"},
    {"command", MGC_TYPE_COMMAND, command_make, command_put, command_put_many,
     command_cut, sqlite_gone, sqlite_back, NULL},
};
// clang-format on

static void world_open(struct world *w, const struct kind *kind)
{
    struct mgc_err err = {0};

    *w = (struct world){.kind = kind, .conf = {.name = (char *)(uintptr_t) "app", .binary = true}};
    w->conf.type = kind->type;
    kind->make(w);
    if (mgc_source_new(&w->conf, &w->source, &err) < 0)
        fail_msg("%s: %s", kind->name, err.text);
    if (w->source->ops->start(w->source, &err) < 0)
        fail_msg("%s: %s", kind->name, err.text);
}

static void world_close(struct world *w)
{
    mgc_source_free(w->source);
    PQfinish(w->admin);
}

/* Begins, scans; fails the test unless it is COMPLETE with that many texts. */
static void expect_complete(struct world *w, int64_t texts)
{
    struct seen seen;
    struct mgc_err err = {0};

    seen_init(&seen);
    if (scan_once(w->source, MGC_DEPTH_CONFIGURED, &seen, &err) != MGC_SOURCE_COMPLETE)
        fail_msg("%s: %s", w->kind->name, err.text);
    assert_int_equal(seen.texts, texts);
    seen_done(&seen);
}

#define FOR_EACH_KIND(w)                                                                           \
    for (size_t k_ = 0; k_ < ARRAY_SIZE(kinds) && (world_open(&(w), &kinds[k_]), true);            \
         world_close(&(w)), k_++)

static void everything_arrives(void **state)
{
    static const char *const texts[] = {"docs/a.pdf", "tab\there", "back\\slash\\n",
                                        "\\N",        "\\.",       "\xc3\xa4/\xc3\xb6.jpg",
                                        "quote\"'",   "{x}"};
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        struct seen seen;
        struct mgc_err err = {0};

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
            w.kind->put(&w, texts[i]);
        assert_null(w.source->ops->covered(w.source));
        seen_init(&seen);
        assert_int_equal(scan_once(w.source, MGC_DEPTH_CONFIGURED, &seen, &err),
                         MGC_SOURCE_COMPLETE);
        assert_int_equal(seen.texts, ARRAY_SIZE(texts));
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
            char line[200];

            (void)snprintf(line, sizeof(line), "%s||%s",
                           w.kind->type == MGC_TYPE_POSTGRESQL ? "public.refs|path"
                           : w.kind->type == MGC_TYPE_SQLITE   ? "refs|path"
                                                               : "|",
                           texts[i]);
            if (!seen_has(&seen, line))
                fail_msg("%s: '%s' is missing", w.kind->name, line);
        }
        assert_non_null(w.source->ops->covered(w.source));
        if (w.kind->column != NULL)
            assert_non_null(strstr(w.source->ops->covered(w.source), w.kind->column));
        seen_done(&seen);
    }
}

static void empty_is_complete(void **state)
{
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        expect_complete(&w, 0);
    }
}

static void many_arrive_and_the_same_again(void **state)
{
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        w.kind->put_many(&w);
        expect_complete(&w, MANY);
        expect_complete(&w, MANY);
    }
}

static void a_cut_in_the_middle_is_a_failure(void **state)
{
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        struct seen seen;
        struct mgc_err err = {0};
        int r;

        w.kind->put_many(&w);
        seen_init(&seen);
        seen.act_at = 10;
        seen.act = w.kind->cut;
        seen.act_arg = &w;
        r = scan_once(w.source, MGC_DEPTH_CONFIGURED, &seen, &err);
        if (r >= 0)
            fail_msg("%s: cut off and said %d", w.kind->name, r);
        assert_true(seen.texts >= 10);
        assert_non_null(strstr(err.text, "'app'"));
        assert_null(w.source->ops->covered(w.source));
        seen_done(&seen);
        expect_complete(&w, MANY); /* begin() may follow any error */
    }
}

static void a_deadline_ends_a_scan(void **state)
{
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        struct mgc_source_view view = {0};
        struct seen seen;
        struct mgc_err err = {0};
        int64_t began_us;
        int r;

        w.kind->put_many(&w);
        seen_init(&seen);
        seen.sleep_us = 1000;
        assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &view, &err), 0);
        began_us = mgc_monotonic_us();
        r = w.source->ops->scan(w.source, MGC_DEPTH_CONFIGURED, soon(300000), seen_text, &seen,
                                &err);
        if (r != MGC_E_TIMEOUT)
            fail_msg("%s: %d %s", w.kind->name, r, err.text);
        /* A command's buffer of 256 KiB is handed out before the clock is looked at. */
        assert_true(mgc_monotonic_us() - began_us < 10000000);
        assert_non_null(strstr(err.text, "'app'"));
        w.source->ops->end(w.source);
        mgc_source_view_done(&view);
        seen_done(&seen);
        expect_complete(&w, MANY);
    }
}

static void a_deadline_in_the_past_does_nothing(void **state)
{
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        struct mgc_source_view view = {.progress = 77};
        struct seen seen;
        struct mgc_err err = {0};

        w.kind->put(&w, "a");
        assert_true(w.source->ops->begin(w.source, soon(-1), &view, &err) < 0);
        assert_int_equal(view.progress, 77); /* ret_ only on success */
        seen_init(&seen);
        assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &view, &err), 0);
        assert_true(w.source->ops->scan(w.source, MGC_DEPTH_CONFIGURED, soon(-1), seen_text, &seen,
                                        &err) < 0);
        w.source->ops->end(w.source);
        mgc_source_view_done(&view);
        seen_done(&seen);
        expect_complete(&w, 1);
    }
}

static void no_deadline_at_all(void **state)
{
    static const int64_t deadlines_us[] = {0, INT64_MAX};
    static const char *const paths[] = {"a"};
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        w.kind->put(&w, "a");
        for (size_t i = 0; i < ARRAY_SIZE(deadlines_us); i++) {
            struct mgc_source_view view = {0};
            struct seen seen;

            seen_init(&seen);
            assert_int_equal(w.source->ops->begin(w.source, deadlines_us[i], &view, NULL), 0);
            assert_int_equal(w.source->ops->scan(w.source, MGC_DEPTH_PROOF, deadlines_us[i],
                                                 seen_text, &seen, NULL),
                             MGC_SOURCE_COMPLETE);
            assert_int_equal(w.source->ops->ask(w.source, paths, 1, &w.kind->column,
                                                w.kind->column != NULL, deadlines_us[i], seen_text,
                                                &seen, NULL),
                             MGC_SOURCE_COMPLETE);
            assert_int_equal(seen.texts, 2);
            w.source->ops->end(w.source);
            mgc_source_view_done(&view);
            seen_done(&seen);
        }
    }
}

static void a_receiver_may_refuse(void **state)
{
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        struct seen seen;

        w.kind->put_many(&w);
        seen_init(&seen);
        seen.act_at = 5;
        seen.refuse = MGC_E_LIMIT;
        assert_int_equal(scan_once(w.source, MGC_DEPTH_CONFIGURED, &seen, NULL), MGC_E_LIMIT);
        assert_int_equal(seen.texts, 5);
        seen_done(&seen);
        expect_complete(&w, MANY);
    }
}

static void a_scan_needs_begin(void **state)
{
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        struct seen seen;

        seen_init(&seen);
        assert_true(w.source->ops->scan(w.source, MGC_DEPTH_CONFIGURED, soon(1000000), seen_text,
                                        &seen, NULL) < 0);
        expect_complete(&w, 0);
        assert_true(w.source->ops->scan(w.source, MGC_DEPTH_CONFIGURED, soon(1000000), seen_text,
                                        &seen, NULL) < 0);
        seen_done(&seen);
    }
}

static void what_is_gone_is_a_failure(void **state)
{
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        struct seen seen;
        struct mgc_err err = {0};

        w.kind->put(&w, "a");
        expect_complete(&w, 1);
        w.kind->gone(&w);
        seen_init(&seen);
        if (scan_once(w.source, MGC_DEPTH_CONFIGURED, &seen, &err) >= 0)
            fail_msg("%s: nothing there, and no failure", w.kind->name);
        assert_int_equal(seen.texts, 0);
        assert_non_null(strstr(err.text, "'app'"));
        w.kind->back(&w);
        expect_complete(&w, 1);
        seen_done(&seen);
    }
}

static void gone_between_begin_and_scan(void **state)
{
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        struct mgc_source_view view = {0};
        struct seen seen;
        struct mgc_err err = {0};
        int r;

        if (w.kind->type == MGC_TYPE_SQLITE)
            continue; /* an open file stays readable: that is its snapshot */
        w.kind->put(&w, "a");
        assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &view, &err), 0);
        w.kind->gone(&w);
        seen_init(&seen);
        r = w.source->ops->scan(w.source, MGC_DEPTH_CONFIGURED, soon(20000000), seen_text, &seen,
                                &err);
        assert_true(r < 0);
        w.source->ops->end(w.source);
        mgc_source_view_done(&view);
        w.kind->back(&w);
        expect_complete(&w, 1);
        seen_done(&seen);
    }
}

static void a_view_says_who_it_is(void **state)
{
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        struct mgc_source_view a = {0}, b = {0};
        int64_t before_us = mgc_now_us();

        assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &a, NULL), 0);
        assert_true(a.t0_us > before_us - 1000000);
        assert_true(a.t0_us <= mgc_now_us());
        assert_int_equal(a.oldest_us, a.t0_us); /* nobody else is there */
        assert_int_equal(a.sees_transactions, w.kind->type == MGC_TYPE_POSTGRESQL);
        assert_null(a.fence);
        assert_non_null(a.position);
        assert_true(strlen(a.identity) > 0);
        w.source->ops->end(w.source);
        w.kind->put(&w, "later");
        assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &b, NULL), 0);
        assert_string_equal(a.identity, b.identity);
        assert_true(b.progress >= a.progress);
        assert_int_equal(w.source->ops->fence_passed(w.source, NULL, soon(1000000), NULL), 1);
        assert_int_equal(w.source->ops->fence_passed(w.source, "", soon(1000000), NULL), 1);
        w.source->ops->end(w.source);
        mgc_source_view_done(&a);
        mgc_source_view_done(&b);
    }
}

static void a_scan_is_of_its_begin(void **state)
{
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        struct mgc_source_view view = {0};
        struct seen seen;

        if (w.kind->type == MGC_TYPE_COMMAND)
            continue; /* reads when it runs, which is later: that can only add */
        w.kind->put(&w, "before");
        assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &view, NULL), 0);
        w.kind->put(&w, "after");
        for (int i = 0; i < 2; i++) {
            seen_init(&seen);
            assert_int_equal(w.source->ops->scan(w.source, MGC_DEPTH_PROOF, soon(20000000),
                                                 seen_text, &seen, NULL),
                             MGC_SOURCE_COMPLETE);
            assert_int_equal(seen.texts, 1);
            seen_done(&seen);
        }
        w.source->ops->end(w.source);
        mgc_source_view_done(&view);
        expect_complete(&w, 2);
    }
}

static void ask_finds_whole_values_only(void **state)
{
    static const char *const paths[] = {"docs/a.pdf", "it's \"q\" \\ {x}, y", "not/there",
                                        "bad\xff utf8", "part"};
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        const char *const columns[] = {w.kind->column};
        size_t count = w.kind->column != NULL;
        struct mgc_source_view view = {0};
        struct seen seen;
        struct mgc_err err = {0};

        w.kind->put(&w, "docs/a.pdf");
        w.kind->put(&w, "has part within");
        assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &view, NULL), 0);
        w.kind->put(&w, paths[1]); /* after the snapshot: ask() has its own */
        seen_init(&seen);
        if (w.source->ops->ask(w.source, paths, ARRAY_SIZE(paths), columns, count, soon(20000000),
                               seen_text, &seen, &err) != MGC_SOURCE_COMPLETE)
            fail_msg("%s: %s", w.kind->name, err.text);
        assert_true(seen_mentions(&seen, "|docs/a.pdf"));
        assert_true(seen_mentions(&seen, "|it's \"q\" \\ {x}, y"));
        assert_int_equal(seen.texts, w.kind->column != NULL ? 2 : 3);
        w.source->ops->end(w.source);
        mgc_source_view_done(&view);
        seen_done(&seen);
    }
}

static void ask_without_begin_and_of_what_is_not_there(void **state)
{
    static const char *const paths[] = {"docs/a.pdf"};
    static const char *const wrong[] = {"public.refs.nothing"};
    struct world w;

    (void)state;
    FOR_EACH_KIND(w)
    {
        struct seen seen;
        struct mgc_err err = {0};

        if (w.kind->column == NULL)
            continue;
        seen_init(&seen);
        assert_int_equal(w.source->ops->ask(w.source, paths, 1, &w.kind->column, 1, soon(20000000),
                                            seen_text, &seen, &err),
                         MGC_SOURCE_COMPLETE);
        assert_true(w.source->ops->ask(w.source, paths, 1, wrong, 1, soon(20000000), seen_text,
                                       &seen, &err) < 0);
        assert_non_null(strstr(err.text, "public.refs.nothing"));
        w.source->ops->end(w.source);
        seen_done(&seen);
        expect_complete(&w, 0);
    }
}

/* --- commands only --- */

static int run_command(const char *command, bool nul, struct seen *seen, struct mgc_err *err)
{
    struct mgc_conf_references conf = {.name = (char *)(uintptr_t) "app",
                                       .type = MGC_TYPE_COMMAND,
                                       .command = (char *)(uintptr_t)command,
                                       .format_nul = nul};
    struct mgc_source *source = NULL;
    int r;

    seen_init(seen);
    assert_int_equal(mgc_source_new(&conf, &source, err), 0);
    r = scan_once(source, MGC_DEPTH_PROOF, seen, err);
    mgc_source_free(source);
    return r;
}

static void a_command_ends_by_its_status(void **state)
{
    static const struct {
        const char *command;
        bool nul;
        int want, texts;
    } rows[] = {
        {"echo a; echo b", false, MGC_SOURCE_COMPLETE, 2},
        {"true", false, MGC_SOURCE_COMPLETE, 0},
        {"printf 'a\\n\\nb\\n'", false, MGC_SOURCE_COMPLETE, 2},
        {"printf 'a\\000b c\\nd\\000'", true, MGC_SOURCE_COMPLETE, 2},
        {"echo a; exit 3", false, MGC_E_SOURCE, 1},
        {"echo a; kill -9 $$", false, MGC_E_SOURCE, 1},
        {"echo a; kill -TERM $$", false, MGC_E_SOURCE, 1},
        {"/nonexistent/program", false, MGC_E_SOURCE, 0},
        {"printf 'a\\nhalf a pat'", false, MGC_E_INCOMPLETE, 1},
        {"printf 'a\\n'", true, MGC_E_INCOMPLETE, 0},
        {"head -c 16777217 /dev/zero | tr '\\000' x; echo", false, MGC_E_LIMIT, 0},
        {"head -c 16777216 /dev/zero | tr '\\000' x; echo", false, MGC_SOURCE_COMPLETE, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct seen seen;
        struct mgc_err err = {0};
        int r = run_command(rows[i].command, rows[i].nul, &seen, &err);

        if (r != rows[i].want || seen.texts != rows[i].texts)
            fail_msg("%s: %d with %d texts: %s", rows[i].command, r, (int)seen.texts, err.text);
        assert_true(r > 0 || strstr(err.text, "'app'") != NULL);
        seen_done(&seen);
    }
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *at)
{
    (void)s;
    (void)type;
    (void)at;
    return remove(path);
}

static int setup(void **state)
{
    PGconn *admin;

    (void)state;
    pg_cluster_start(&cluster);
    admin = pg_cluster_session(&cluster, "postgres", "postgres");
    pg_do(admin, "CREATE ROLE reader LOGIN");
    PQfinish(admin);
    return mkdtemp(folder) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    pg_cluster_stop(&cluster);
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_arrives),
        cmocka_unit_test(empty_is_complete),
        cmocka_unit_test(many_arrive_and_the_same_again),
        cmocka_unit_test(a_cut_in_the_middle_is_a_failure),
        cmocka_unit_test(a_deadline_ends_a_scan),
        cmocka_unit_test(a_deadline_in_the_past_does_nothing),
        cmocka_unit_test(no_deadline_at_all),
        cmocka_unit_test(a_receiver_may_refuse),
        cmocka_unit_test(a_scan_needs_begin),
        cmocka_unit_test(what_is_gone_is_a_failure),
        cmocka_unit_test(gone_between_begin_and_scan),
        cmocka_unit_test(a_view_says_who_it_is),
        cmocka_unit_test(a_scan_is_of_its_begin),
        cmocka_unit_test(ask_finds_whole_values_only),
        cmocka_unit_test(ask_without_begin_and_of_what_is_not_there),
        cmocka_unit_test(a_command_ends_by_its_status),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
