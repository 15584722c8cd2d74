/*
 * test_source_postgres.c -- what only PostgreSQL can do to us.
 *
 * Each test works in a database of its own, read by the plain role `reader` unless it says
 * otherwise; `app` is the application, another plain role.
 */
#include "source_probe.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <sys/wait.h>

#include "mediagcfs/bytes.h"
#include "mediagcfs/os.h"
#include "pg_cluster.h"

#define TEXT(literal) ((char *)(uintptr_t)(literal))

static struct pg_cluster cluster;

struct world {
    struct mgc_conf_references conf;
    struct mgc_source *source;
    char conninfo[200];
    PGconn *admin, *app; /* superuser, application */
    struct mgc_source_view view;
    struct seen seen;
    struct mgc_err err;
};

static void world_open_as(struct world *w, const char *role, const char *template)
{
    PGconn *outside = pg_cluster_session(&cluster, "postgres", "postgres");
    char sql[200];
    char *conninfo;

    pg_do(outside, "DROP DATABASE IF EXISTS world WITH (FORCE)");
    (void)snprintf(sql, sizeof(sql), "CREATE DATABASE world OWNER app %s", template);
    pg_do(outside, sql);
    PQfinish(outside);
    *w = (struct world){.conf = {.name = TEXT("app"), .type = MGC_TYPE_POSTGRESQL, .binary = true}};
    conninfo = pg_cluster_conninfo(&cluster, role, "world");
    (void)snprintf(w->conninfo, sizeof(w->conninfo), "%s", conninfo);
    free(conninfo);
    w->conf.conninfo = w->conninfo;
    w->admin = pg_cluster_session(&cluster, "postgres", "world");
    w->app = pg_cluster_session(&cluster, "app", "world");
    pg_do(w->admin, "ALTER SCHEMA public OWNER TO app; GRANT ALL ON SCHEMA public TO app");
    pg_do(w->app, "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader");
    assert_int_equal(mgc_source_new(&w->conf, &w->source, NULL), 0);
    assert_int_equal(w->source->ops->start(w->source, NULL), 0);
    seen_init(&w->seen);
}

static void world_open(struct world *w)
{
    world_open_as(w, "reader", "");
}

static void world_close(struct world *w)
{
    mgc_source_free(w->source);
    PQfinish(w->admin);
    PQfinish(w->app);
    seen_done(&w->seen);
    mgc_source_view_done(&w->view);
}

static int begin(struct world *w)
{
    int r;

    mgc_source_view_done(&w->view);
    r = w->source->ops->begin(w->source, soon(20000000), &w->view, &w->err);
    if (r < 0)
        fail_msg("begin: %s", w->err.text);
    return r;
}

static int scan(struct world *w, enum mgc_source_depth depth)
{
    seen_done(&w->seen);
    return w->source->ops->scan(w->source, depth, soon(20000000), seen_text, &w->seen, &w->err);
}

static void expect_complete(struct world *w, enum mgc_source_depth depth)
{
    (void)begin(w);
    if (scan(w, depth) != MGC_SOURCE_COMPLETE)
        fail_msg("%s", w->err.text);
    w->source->ops->end(w->source);
}

static void expect_line(struct world *w, const char *line)
{
    if (!seen_has(&w->seen, line))
        fail_msg("missing: %s", line);
}

static int fence(struct world *w, const char *text)
{
    return w->source->ops->fence_passed(w->source, text, soon(5000000), &w->err);
}

/* --- what is read --- */

static void every_text_like_type(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    pg_do(w.admin, "CREATE EXTENSION citext; CREATE EXTENSION hstore");
    pg_do(w.app,
          "CREATE DOMAIN file AS varchar(100); CREATE DOMAIN files AS file[];"
          "CREATE DOMAIN raw AS bytea; CREATE TYPE pair AS (n int, p file);"
          "CREATE TYPE state AS ENUM ('new', 'old');"
          "CREATE TYPE image AS ENUM ('img/none.png', 'img/some.png');"
          "CREATE TABLE t(a text, b varchar(50), c char(12), d citext, e json, f jsonb, g xml,"
          " h hstore, i bytea, j text[], k file, l files, m pair, n raw, o bytea[], p image,"
          " q name, z_int int, z_uuid uuid, z_time timestamptz, z_state state, z_num numeric[])");
    pg_do(w.app,
          "INSERT INTO t VALUES ('x/a', 'x/b', 'x/c', 'x/d', '{\"p\": \"x\\/e\"}', '[\"x/f\"]',"
          " '<a>x/g</a>', 'k=>x/h', 'x/i', '{x/j,\"x/j 2\"}', 'x/k', '{x/l}', '(1,x/m)', 'x/n',"
          " ARRAY['x/o'::bytea], 'img/none.png', 'x/q', 1, gen_random_uuid(), now(), 'new',"
          " '{1.5}')");
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    expect_line(&w, "public.t|a||x/a");
    expect_line(&w, "public.t|b||x/b");
    expect_line(&w, "public.t|c||x/c         ");
    expect_line(&w, "public.t|d||x/d");
    expect_line(&w, "public.t|e||{\"p\": \"x\\/e\"}");
    expect_line(&w, "public.t|f||[\"x/f\"]");
    expect_line(&w, "public.t|g||<a>x/g</a>");
    expect_line(&w, "public.t|h||\"k\"=>\"x/h\"");
    expect_line(&w, "public.t|i||x/i");
    expect_line(&w, "public.t|j||{x/j,\"x/j 2\"}");
    expect_line(&w, "public.t|k||x/k");
    expect_line(&w, "public.t|l||{x/l}");
    expect_line(&w, "public.t|m||(1,x/m)");
    expect_line(&w, "public.t|n||x/n");
    expect_line(&w, "public.t|o||x/o");
    expect_line(&w, "public.t|p||img/none.png");
    expect_line(&w, "public.t|q||x/q");
    assert_false(seen_mentions(&w.seen, "|z_"));
    assert_string_equal(
        w.source->ops->covered(w.source),
        "[\"public.t.a\", \"public.t.b\", \"public.t.c\", \"public.t.d\", \"public.t.e\", "
        "\"public.t.f\", \"public.t.g\", \"public.t.h\", \"public.t.i\", \"public.t.j\", "
        "\"public.t.k\", \"public.t.l\", \"public.t.m\", \"public.t.n\", \"public.t.o\", "
        "\"public.t.p\", \"public.t.q\"]");
    w.conf.binary = false;
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    assert_false(seen_mentions(&w.seen, "|i||"));
    assert_false(seen_mentions(&w.seen, "x/o"));
    world_close(&w);
}

static void only_what_holds_rows_of_its_own(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    pg_do(w.app,
          "CREATE SCHEMA \"Other one\"; GRANT USAGE ON SCHEMA \"Other one\" TO reader;"
          "CREATE TABLE \"Other one\".\"T \"\"x\"\".y\"(\"C \"\"d\"\".e\" text, nothing int);"
          "INSERT INTO \"Other one\".\"T \"\"x\"\".y\" VALUES ('odd')");
    pg_do(w.app, "CREATE TABLE p(k int, v text) PARTITION BY LIST (k);"
                 "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
                 "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);"
                 "INSERT INTO p VALUES (1, 'one'), (2, 'two');"
                 "CREATE TABLE parent(v text); CREATE TABLE child(w text) INHERITS (parent);"
                 "INSERT INTO parent VALUES ('in parent');"
                 "INSERT INTO child VALUES ('in child', 'own');"
                 "CREATE VIEW seen AS SELECT v || ' by view' FROM parent;"
                 "CREATE TEMP TABLE temporary(v text); INSERT INTO temporary VALUES ('temp');"
                 "CREATE UNLOGGED TABLE u(v text); INSERT INTO u VALUES ('unlogged');"
                 "CREATE TABLE empty_name(); CREATE TABLE numbers(n int)");
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    expect_line(&w, "Other one.T \"x\".y|C \"d\".e||odd");
    expect_line(&w, "public.p1|v||one");
    expect_line(&w, "public.p2|v||two");
    expect_line(&w, "public.parent|v||in parent");
    expect_line(&w, "public.child|v||in child");
    expect_line(&w, "public.child|w||own");
    expect_line(&w, "public.u|v||unlogged");
    assert_int_equal(w.seen.texts, 7);
    /* A listed parent means its parts; so does an ignored one. */
    w.conf.ignore = (struct mgc_conf_list){(char *[]){TEXT("p"), TEXT("public.parent")}, 2};
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    assert_int_equal(w.seen.texts, 2);
    expect_complete(&w, MGC_DEPTH_PROOF);
    assert_int_equal(w.seen.texts, 7);
    expect_line(&w, "public.p1|v|w|one");
    expect_line(&w, "public.child|w|w|own");
    world_close(&w);
}

static void sessions_and_logs_are_weak(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE TABLE django_session(session_data text);"
                 "INSERT INTO django_session VALUES ('s');"
                 "CREATE TABLE django_admin_log(object_repr text);"
                 "INSERT INTO django_admin_log VALUES ('l');"
                 "CREATE TABLE easy_thumbnails_thumbnail(name text);"
                 "INSERT INTO easy_thumbnails_thumbnail VALUES ('t')");
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    assert_int_equal(w.seen.texts, 1);
    expect_line(&w, "public.easy_thumbnails_thumbnail|name||t");
    expect_complete(&w, MGC_DEPTH_PROOF);
    expect_line(&w, "public.django_session|session_data|w|s");
    expect_line(&w, "public.django_admin_log|object_repr|w|l");
    expect_line(&w, "public.easy_thumbnails_thumbnail|name||t");
    /* Named by the operator: strong. */
    w.conf.columns = (struct mgc_conf_list){(char *[]){TEXT("django_session.session_data")}, 1};
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    expect_line(&w, "public.django_session|session_data|h|s");
    world_close(&w);
}

static void columns_and_queries(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE TABLE photo(id int, image text, note text);"
                 "INSERT INTO photo VALUES (7, 'p/7.jpg', 'note');"
                 "CREATE VIEW shown AS SELECT 'view/' || id AS path, 'second' AS other FROM photo");
    pg_do(w.admin, "GRANT SELECT ON shown TO reader");
    w.conf.scan = MGC_SCAN_COLUMNS;
    w.conf.columns = (struct mgc_conf_list){(char *[]){TEXT("photo.image")}, 1};
    w.conf.query =
        (struct mgc_conf_list){(char *[]){TEXT("SELECT path, other FROM shown -- done\n ; "),
                                          TEXT("SELECT id FROM photo")},
                               2};
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    expect_line(&w, "public.photo|image|h|p/7.jpg");
    expect_line(&w, "query 1||h|view/7");
    expect_line(&w, "query 1||h|second");
    expect_line(&w, "query 2||h|7");
    assert_int_equal(w.seen.texts, 4);
    assert_string_equal(w.source->ops->covered(w.source),
                        "[\"public.photo.image\", \"query 1\", \"query 2\"]");
    expect_complete(&w, MGC_DEPTH_PROOF);
    assert_int_equal(w.seen.texts, 5); /* the note too */
    {
        static const char *const paths[] = {"view/7", "p/7.jpg", "note"};

        seen_done(&w.seen);
        if (w.source->ops->ask(w.source, paths, 3, NULL, 0, soon(20000000), seen_text, &w.seen,
                               &w.err) != MGC_SOURCE_COMPLETE)
            fail_msg("%s", w.err.text);
        expect_line(&w, "public.photo|image|h|p/7.jpg");
        expect_line(&w, "query 1||h|view/7");
        assert_int_equal(w.seen.texts, 2);
    }
    w.conf.columns = (struct mgc_conf_list){(char *[]){TEXT("photo.picture")}, 1};
    (void)begin(&w);
    assert_true(scan(&w, MGC_DEPTH_CONFIGURED) < 0);
    assert_non_null(strstr(w.err.text, "photo.picture"));
    world_close(&w);
}

static void a_query_that_writes_or_fails(void **state)
{
    static const char *const queries[] = {
        "SELECT nextval('counter')",
        "DELETE FROM photo RETURNING image",
        "SELECT 1/0",
        "SELECT image FROM nowhere",
        "",
        "SELECT 'a') TO STDOUT; DELETE FROM photo; COPY (SELECT 'b'",
    };
    struct world w;

    (void)state;
    world_open_as(&w, "app", "");
    pg_do(w.app, "CREATE TABLE photo(image text); INSERT INTO photo VALUES ('x');"
                 "CREATE SEQUENCE counter");
    for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
        char *value;

        w.conf.query = (struct mgc_conf_list){(char *[]){TEXT(queries[i])}, 1};
        (void)begin(&w);
        if (scan(&w, MGC_DEPTH_CONFIGURED) >= 0)
            fail_msg("went through: %s", queries[i]);
        assert_non_null(strstr(w.err.text, "query 1"));
        w.source->ops->end(w.source);
        value = pg_value(w.admin, "SELECT count(*) FROM photo");
        assert_string_equal(value, "1"); /* G9 */
        free(value);
    }
    world_close(&w);
}

static void bytes_of_other_encodings(void **state)
{
    struct world w;

    (void)state;
    world_open_as(&w, "reader", "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    /* What conninfo or the environment says about the encoding must not count. */
    (void)snprintf(w.conninfo + strlen(w.conninfo), sizeof(w.conninfo) - strlen(w.conninfo),
                   " client_encoding=UTF8");
    pg_do(w.app, "SET client_encoding = 'UTF8'");
    pg_do(w.app, "CREATE TABLE t(a text);"
                 "INSERT INTO t VALUES ('\xc3\xa4.jpg')");
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    expect_line(&w, "public.t|a||\xe4.jpg"); /* as it is stored */
    world_close(&w);
    world_open_as(&w, "reader",
                  "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
    pg_do(w.app, "CREATE TABLE t(a text); INSERT INTO t VALUES (E'\\xff\\xfe.jpg')");
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    expect_line(&w, "public.t|a||\xff\xfe.jpg");
    world_close(&w);
}

static void large_objects_when_asked_for(void **state)
{
    struct world w;

    (void)state;
    world_open_as(&w, "app", "");
    pg_do(w.app, "SELECT lo_from_bytea(0, 'text with lo/a.pdf in it')");
    expect_complete(&w, MGC_DEPTH_PROOF);
    assert_int_equal(w.seen.texts, 0);
    w.conf.large_objects = true;
    expect_complete(&w, MGC_DEPTH_PROOF);
    expect_line(&w, "large objects|||text with lo/a.pdf in it");
    world_close(&w);
}

/* --- what may not be read (H33) --- */

static void what_is_denied_is_named(void **state)
{
    static const char *const denials[] = {
        "REVOKE SELECT ON secret FROM reader",
        "REVOKE SELECT ON secret FROM reader; GRANT SELECT (a) ON secret TO reader",
        "GRANT SELECT ON secret TO reader; REVOKE USAGE ON SCHEMA s FROM reader",
    };
    struct world w;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE SCHEMA s; GRANT USAGE ON SCHEMA s TO reader; SET search_path = s;"
                 "CREATE TABLE fine(a text); CREATE TABLE secret(a text, b text)");
    for (size_t i = 0; i < ARRAY_SIZE(denials); i++) {
        pg_do(w.app, denials[i]);
        if (i < 2)
            pg_do(w.app, "INSERT INTO fine VALUES ('a')");
        w.conf.ignore.count = 0;
        (void)begin(&w);
        assert_true(scan(&w, MGC_DEPTH_CONFIGURED) < 0);
        assert_non_null(strstr(w.err.text, i < 2 ? "'s.secret'" : "'s.fine'"));
        assert_non_null(strstr(w.err.hint, "ignore"));
        w.conf.ignore =
            (struct mgc_conf_list){(char *[]){TEXT("secret"), TEXT("s.fine")}, i < 2 ? 1 : 2};
        expect_complete(&w, MGC_DEPTH_CONFIGURED);
        expect_complete(&w, MGC_DEPTH_PROOF); /* the operator has said that it is all right */
        assert_null(strstr(w.source->ops->covered(w.source), "secret"));
    }
    world_close(&w);
}

static void row_security_is_never_a_filter(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE TABLE t(a text); INSERT INTO t VALUES ('hidden');"
                 "ALTER TABLE t ENABLE ROW LEVEL SECURITY");
    (void)begin(&w);
    assert_true(scan(&w, MGC_DEPTH_CONFIGURED) < 0);
    assert_non_null(strstr(w.err.text, "'public.t'"));
    assert_non_null(strstr(w.err.text, "row-level security"));
    world_close(&w);
}

static void a_foreign_table_is_incomplete(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    pg_do(w.admin,
          "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;"
          "CREATE FOREIGN TABLE far(a text) SERVER files OPTIONS (filename '/etc/hostname');"
          "GRANT SELECT ON far TO reader");
    (void)begin(&w);
    assert_int_equal(scan(&w, MGC_DEPTH_CONFIGURED), MGC_E_INCOMPLETE);
    assert_non_null(strstr(w.err.text, "'public.far'"));
    w.conf.ignore = (struct mgc_conf_list){(char *[]){TEXT("far")}, 1};
    expect_complete(&w, MGC_DEPTH_PROOF);
    assert_int_equal(w.seen.texts, 0);
    world_close(&w);
}

/* --- H28: what happens to a table between snapshot and COPY --- */

static void changes_behind_the_snapshot(void **state)
{
    static const char *const changes[] = {
        "TRUNCATE t",
        "TRUNCATE t; INSERT INTO t SELECT 'x/' || i FROM generate_series(1, 3) i",
        "ALTER TABLE t ALTER a TYPE varchar(20) USING left(a, 20)",
        "ALTER TABLE t ADD n uuid DEFAULT gen_random_uuid()",
        "DROP TABLE t",
        "ALTER TABLE t RENAME TO older; CREATE TABLE t(a text, b text)",
        ("ALTER TABLE t ADD c text; UPDATE t SET c = a; ALTER TABLE t DROP a;"
         "ALTER TABLE t RENAME c TO a"),
        "ALTER TABLE t RENAME a TO c",
        "CREATE SCHEMA elsewhere; ALTER TABLE t SET SCHEMA elsewhere; CREATE TABLE t(a text)",
        "CLUSTER t USING by_a",
        "VACUUM FULL t",
    };
    char *query[] = {TEXT("SELECT a FROM t")};
    struct world w;

    (void)state;
    for (int by_query = 0; by_query < 2; by_query++)
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
            world_open(&w);
            pg_do(w.app, "CREATE TABLE t(a text, b text);"
                         "INSERT INTO t SELECT 'x/' || i FROM generate_series(1, 3) i;"
                         "CREATE INDEX by_a ON t(a)");
            if (by_query != 0) {
                w.conf.scan = MGC_SCAN_COLUMNS;
                w.conf.query = (struct mgc_conf_list){query, 1};
            }
            (void)begin(&w);
            pg_do(w.app, changes[i]);
            if (scan(&w, MGC_DEPTH_CONFIGURED) != MGC_E_INCOMPLETE)
                fail_msg("%s %s: %d texts, %s", by_query ? "query:" : "", changes[i],
                         (int)w.seen.texts, w.err.text);
            assert_non_null(strstr(w.err.text, by_query ? "query 1" : "public.t"));
            world_close(&w);
        }
}

static void harmless_changes_do_not_matter(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE TABLE t(a text); INSERT INTO t VALUES ('x')");
    (void)begin(&w);
    pg_do(w.app,
          "INSERT INTO t VALUES ('y'); DELETE FROM t WHERE a = 'x'; ANALYZE t;"
          "CREATE INDEX ON t(a); CREATE TABLE other(a text); INSERT INTO other VALUES ('z')");
    if (scan(&w, MGC_DEPTH_CONFIGURED) != MGC_SOURCE_COMPLETE)
        fail_msg("%s", w.err.text);
    assert_int_equal(w.seen.texts, 1);
    expect_line(&w, "public.t|a||x");
    world_close(&w);
}

/* --- H29, H30: the horizon and the fence --- */

static int64_t server_start_us(PGconn *session)
{
    char *text = pg_value(session, "SELECT (extract(epoch FROM now()) * 1000000)::int8");
    int64_t value = strtoll(text, NULL, 10);

    free(text);
    return value;
}

static void a_visible_start_is_the_horizon(void **state)
{
    struct world w;
    int64_t start_us;

    (void)state;
    world_open_as(&w, "app", ""); /* one's own role's transactions are visible */
    pg_do(w.app, "BEGIN");
    start_us = server_start_us(w.app);
    (void)usleep(300000);
    (void)begin(&w);
    assert_true(w.view.oldest_us <= start_us);
    assert_true(w.view.oldest_us > start_us - 200000);
    assert_true(w.view.t0_us > start_us + 250000);
    assert_non_null(w.view.fence); /* a purge waits for its end */
    w.source->ops->end(w.source);
    pg_do(w.app, "COMMIT");
    (void)begin(&w);
    assert_int_equal(w.view.oldest_us, w.view.t0_us);
    world_close(&w);
}

static void an_invisible_start_demands_the_fence(void **state)
{
    struct world w;
    char *stored;

    (void)state;
    world_open(&w);
    pg_do(w.app, "BEGIN; SELECT 1");
    (void)begin(&w);
    assert_int_equal(w.view.oldest_us, 0);
    assert_non_null(w.view.fence);
    assert_non_null(strstr(w.view.fence, "\"vxids\":[\""));
    assert_non_null(strstr(w.view.fence, "\"prepared\":[]"));
    assert_non_null(strstr(w.view.fence, "\"xmax\":\""));
    stored = strdup(w.view.fence);
    assert_int_equal(fence(&w, stored), 0);
    assert_non_null(strstr(w.err.text, "user 'app'"));
    assert_non_null(strstr(w.err.text, "database 'world'"));
    assert_non_null(strstr(w.err.text, "pid "));
    /* It ends after the snapshot: this snapshot is still not later than its end. */
    pg_do(w.app, "COMMIT");
    assert_int_equal(fence(&w, stored), 0);
    w.source->ops->end(w.source);
    assert_int_equal(fence(&w, stored), 0);
    (void)begin(&w);
    assert_int_equal(fence(&w, stored), 1);
    assert_int_equal(w.view.oldest_us, w.view.t0_us);
    free(stored);
    world_close(&w);
}

static void a_later_transaction_does_not_hold_the_fence(void **state)
{
    struct world w;
    char *stored;

    (void)state;
    world_open(&w);
    pg_do(w.app, "BEGIN; SELECT 1");
    (void)begin(&w);
    stored = strdup(w.view.fence);
    pg_do(w.app, "COMMIT; BEGIN; SELECT 1"); /* the same session, another transaction */
    (void)begin(&w);
    assert_int_equal(fence(&w, stored), 1);
    assert_non_null(w.view.fence); /* but it has a fence of its own */
    assert_int_equal(fence(&w, w.view.fence), 0);
    assert_true(fence(&w, "{") < 0);
    assert_true(fence(&w, "{\"vxids\":[]}") < 0);
    free(stored);
    world_close(&w);
}

static void other_databases_do_not_matter(void **state)
{
    PGconn *other = pg_cluster_session(&cluster, "app", "postgres");
    struct world w;

    (void)state;
    world_open(&w);
    pg_do(other, "BEGIN; SELECT 1");
    (void)begin(&w);
    assert_int_equal(w.view.oldest_us, w.view.t0_us);
    assert_null(w.view.fence);
    world_close(&w);
    PQfinish(other);
}

static void track_activities_off_hides_starts_from_everyone(void **state)
{
    struct world w;

    (void)state;
    world_open_as(&w, "postgres", "");
    pg_do(w.admin, "SET track_activities = off; BEGIN; SELECT 1");
    (void)begin(&w);
    assert_int_equal(w.view.oldest_us, 0);
    assert_non_null(w.view.fence);
    assert_int_equal(fence(&w, w.view.fence), 0);
    world_close(&w);
}

static void a_prepared_transaction_demands_the_fence(void **state)
{
    struct world w;
    char *stored;

    (void)state;
    world_open_as(&w, "postgres", "");
    pg_do(w.app, "CREATE TABLE t(a text)");
    pg_do(w.app, "BEGIN; INSERT INTO t VALUES ('x');"
                 "PREPARE TRANSACTION 'half'");
    (void)begin(&w);
    assert_int_equal(w.view.oldest_us, 0);
    stored = strdup(w.view.fence);
    assert_int_equal(fence(&w, stored), 0);
    assert_non_null(strstr(w.err.text, "'half'"));
    (void)begin(&w);
    assert_int_equal(fence(&w, stored), 0);
    w.source->ops->end(w.source);
    pg_do(w.app, "COMMIT PREPARED 'half'");
    (void)begin(&w);
    assert_int_equal(fence(&w, stored), 1);
    free(stored);
    world_close(&w);
}

/* It was open at T0 without an id, then got one and was prepared: its virtual id is gone. */
static void prepared_after_the_fence(void **state)
{
    struct world w;
    char *stored;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE TABLE t(a text)");
    pg_do(w.app, "BEGIN; SELECT 1");
    (void)begin(&w);
    stored = strdup(w.view.fence);
    pg_do(w.app, "INSERT INTO t VALUES ('x'); PREPARE TRANSACTION 'late'");
    (void)begin(&w);
    assert_int_equal(fence(&w, stored), 0);
    assert_non_null(strstr(w.err.text, "'late'"));
    /* Others that are prepared later still cannot be one of those at T0. */
    pg_do(w.app, "BEGIN; INSERT INTO t VALUES ('y'); PREPARE TRANSACTION 'new'");
    pg_do(w.app, "COMMIT PREPARED 'late'");
    (void)begin(&w);
    assert_int_equal(fence(&w, stored), 1);
    w.source->ops->end(w.source);
    pg_do(w.app, "COMMIT PREPARED 'new'");
    free(stored);
    world_close(&w);
}

static void another_process_judges_the_fence(void **state)
{
    struct world w;
    struct mgc_source *other = NULL;
    char *stored;

    (void)state;
    world_open(&w);
    pg_do(w.app, "BEGIN; SELECT 1");
    (void)begin(&w);
    stored = strdup(w.view.fence);
    assert_int_equal(mgc_source_new(&w.conf, &other, NULL), 0);
    assert_int_equal(other->ops->fence_passed(other, stored, soon(5000000), NULL), 0);
    pg_do(w.app, "ROLLBACK");
    assert_int_equal(other->ops->fence_passed(other, stored, soon(5000000), NULL), 1);
    mgc_source_free(other);
    free(stored);
    world_close(&w);
}

static void identity_and_progress(void **state)
{
    struct world w;
    char *identity, *position;
    int64_t progress;

    (void)state;
    world_open(&w);
    (void)begin(&w);
    identity = strdup(w.view.identity);
    position = strdup(w.view.position);
    progress = w.view.progress;
    assert_non_null(strstr(identity, "postgresql system "));
    assert_null(strstr(identity, "unknown")); /* a plain role may read the system identifier */
    pg_do(w.app, "CREATE TABLE t(a text)");
    (void)begin(&w);
    assert_string_equal(identity, w.view.identity);
    assert_true(w.view.progress > progress);
    assert_true(strcmp(w.view.position, position) > 0);
    pg_do(w.admin, "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
    (void)begin(&w);
    assert_non_null(strstr(w.view.identity, "unknown"));
    assert_non_null(strstr(w.view.identity, "world"));
    world_close(&w);
    world_open(&w); /* another database of the same name */
    (void)begin(&w);
    assert_string_not_equal(identity, w.view.identity);
    world_close(&w);
    free(identity);
    free(position);
}

/* --- G7, H31: nobody waits for us --- */

struct blocked {
    PGconn *session;
    const char *sql;
    int64_t asked_us;
};

static void ask_for_lock(void *arg)
{
    struct blocked *b = arg;

    assert_int_equal(PQsendQuery(b->session, b->sql), 1);
    assert_int_equal(PQflush(b->session), 0);
    b->asked_us = mgc_monotonic_us();
}

static void we_give_way_within_two_seconds(void **state)
{
    struct world w;
    struct blocked b;
    PGresult *res;
    int r;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE TABLE t(a text);"
                 "INSERT INTO t SELECT repeat('x', 2000) FROM generate_series(1, 50000)");
    b = (struct blocked){.session = w.app, .sql = "ALTER TABLE t ADD b text"};
    (void)begin(&w);
    w.seen.act_at = 100;
    w.seen.act = ask_for_lock;
    w.seen.act_arg = &b;
    w.seen.sleep_us = 300; /* the whole would take 15 s and more */
    r = w.source->ops->scan(w.source, MGC_DEPTH_CONFIGURED, soon(60000000), seen_text, &w.seen,
                            &w.err);
    assert_int_equal(r, MGC_E_INCOMPLETE);
    assert_non_null(strstr(w.err.text, "somebody waits for us"));
    assert_non_null(strstr(w.err.text, "app"));
    res = PQgetResult(w.app); /* before end(): the lock has gone already */
    assert_int_equal(PQresultStatus(res), PGRES_COMMAND_OK);
    PQclear(res);
    assert_null(PQgetResult(w.app));
    assert_true(mgc_monotonic_us() - b.asked_us < 2000000);
    world_close(&w);
}

/* The server computes for long and sends nothing: the watcher must be heard all the same. */
static void we_give_way_while_the_server_is_silent(void **state)
{
    struct world w;
    int64_t began_us;
    int status;
    pid_t child;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE TABLE t(a text); INSERT INTO t VALUES ('x')");
    w.conf.scan = MGC_SCAN_COLUMNS;
    w.conf.query = (struct mgc_conf_list){(char *[]){TEXT("SELECT a FROM t, pg_sleep(30)")}, 1};
    (void)begin(&w);
    child = fork(); /* the application in a migration */
    assert_true(child >= 0);
    if (child == 0) {
        char *conninfo = pg_cluster_conninfo(&cluster, "app", "world");
        PGconn *session = PQconnectdb(conninfo);

        (void)usleep(500000);
        began_us = mgc_monotonic_us();
        PQclear(PQexec(session, "ALTER TABLE t ADD b text"));
        _exit(mgc_monotonic_us() - began_us < 2000000 ? 0 : 1);
    }
    began_us = mgc_monotonic_us();
    assert_int_equal(scan(&w, MGC_DEPTH_CONFIGURED), MGC_E_INCOMPLETE);
    assert_non_null(strstr(w.err.text, "somebody waits for us"));
    assert_true(mgc_monotonic_us() - began_us < 5000000);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    world_close(&w);
}

static void a_table_is_free_once_it_was_read(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE TABLE t(a text); INSERT INTO t VALUES ('x')");
    (void)begin(&w);
    assert_int_equal(scan(&w, MGC_DEPTH_CONFIGURED), MGC_SOURCE_COMPLETE);
    /* The snapshot is still open. */
    pg_do(w.app, "SET lock_timeout = '200ms'; ALTER TABLE t ADD b text; TRUNCATE t");
    world_close(&w);
}

static void a_lock_of_others_ends_in_time(void **state)
{
    struct world w;
    int64_t began_us;
    int r;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE TABLE t(a text)");
    pg_do(w.app, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
    (void)begin(&w);
    began_us = mgc_monotonic_us();
    r = w.source->ops->scan(w.source, MGC_DEPTH_CONFIGURED, soon(1000000), seen_text, &w.seen,
                            &w.err);
    assert_true(r < 0);
    assert_true(mgc_monotonic_us() - began_us < 3000000);
    assert_non_null(strstr(w.err.text, "public.t"));
    pg_do(w.app, "COMMIT");
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    world_close(&w);
}

static void timeouts_of_the_role_do_not_count(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    pg_do(w.admin, "ALTER ROLE reader SET statement_timeout = '200ms';"
                   "ALTER ROLE reader SET idle_in_transaction_session_timeout = '200ms';"
                   "ALTER ROLE reader SET default_transaction_isolation = 'serializable'");
    pg_do(w.app, "CREATE TABLE t(a text); INSERT INTO t VALUES ('x')");
    w.conf.query = (struct mgc_conf_list){(char *[]){TEXT("SELECT a FROM t, pg_sleep(0.5)")}, 1};
    (void)begin(&w);
    (void)usleep(400000);
    if (scan(&w, MGC_DEPTH_CONFIGURED) != MGC_SOURCE_COMPLETE)
        fail_msg("%s", w.err.text);
    assert_int_equal(w.seen.texts, 2);
    pg_do(w.admin, "ALTER ROLE reader RESET ALL");
    world_close(&w);
}

static void cancel_it(void *arg)
{
    struct world *w = arg;

    pg_do(w->admin, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'mediagcfs' AND query LIKE 'COPY%'");
}

static void cancelled_by_an_administrator(void **state)
{
    struct world w;
    int r;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE TABLE t(a text);"
                 "INSERT INTO t SELECT repeat('x', 2000) FROM generate_series(1, 20000)");
    (void)begin(&w);
    w.seen.act_at = 10;
    w.seen.act = cancel_it;
    w.seen.act_arg = &w;
    r = w.source->ops->scan(w.source, MGC_DEPTH_CONFIGURED, soon(20000000), seen_text, &w.seen,
                            &w.err);
    assert_int_equal(r, MGC_E_SOURCE);
    assert_non_null(strstr(w.err.text, "public.t"));
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    assert_int_equal(w.seen.texts, 20000);
    world_close(&w);
}

static void nothing_is_left_behind(void **state)
{
    struct world w;
    char *value;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE TABLE t(a text); INSERT INTO t VALUES ('x')");
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    (void)usleep(200000);
    value = pg_value(w.admin, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'");
    assert_string_equal(value, "0");
    free(value);
    (void)begin(&w);
    value = pg_value(w.admin, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader' "
                              "AND application_name = 'mediagcfs'");
    assert_string_equal(value, "2");
    free(value);
    world_close(&w);
}

static void nobody_to_talk_to(void **state)
{
    static const char *const conninfos[] = {"host=/nonexistent user=reader",
                                            "host=127.0.0.1 port=1 user=reader",
                                            "user=reader nonsense", "postgresql://:::"};
    struct world w;

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < ARRAY_SIZE(conninfos); i++) {
        (void)snprintf(w.conninfo, sizeof(w.conninfo), "%s", conninfos[i]);
        assert_true(w.source->ops->begin(w.source, soon(5000000), &w.view, &w.err) < 0);
        assert_non_null(strstr(w.err.text, "could not connect source 'app'"));
        assert_true(w.err.hint[0] != '\0');
    }
    world_close(&w);
}

static void a_restart_in_between(void **state)
{
    struct world w;
    char *identity;

    (void)state;
    world_open(&w);
    pg_do(w.app, "CREATE TABLE t(a text); INSERT INTO t VALUES ('x')");
    (void)begin(&w);
    identity = strdup(w.view.identity);
    pg_cluster_down(&cluster);
    pg_cluster_up(&cluster);
    assert_true(scan(&w, MGC_DEPTH_CONFIGURED) < 0);
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    assert_int_equal(w.seen.texts, 1);
    assert_string_equal(identity, w.view.identity);
    free(identity);
    world_close(&w);
}

static int setup(void **state)
{
    PGconn *admin;

    (void)state;
    pg_cluster_start(&cluster);
    admin = pg_cluster_session(&cluster, "postgres", "postgres");
    pg_do(admin, "CREATE ROLE reader LOGIN; CREATE ROLE app LOGIN");
    PQfinish(admin);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pg_cluster_stop(&cluster);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_like_type),
        cmocka_unit_test(only_what_holds_rows_of_its_own),
        cmocka_unit_test(sessions_and_logs_are_weak),
        cmocka_unit_test(columns_and_queries),
        cmocka_unit_test(a_query_that_writes_or_fails),
        cmocka_unit_test(bytes_of_other_encodings),
        cmocka_unit_test(large_objects_when_asked_for),
        cmocka_unit_test(what_is_denied_is_named),
        cmocka_unit_test(row_security_is_never_a_filter),
        cmocka_unit_test(a_foreign_table_is_incomplete),
        cmocka_unit_test(changes_behind_the_snapshot),
        cmocka_unit_test(harmless_changes_do_not_matter),
        cmocka_unit_test(a_visible_start_is_the_horizon),
        cmocka_unit_test(an_invisible_start_demands_the_fence),
        cmocka_unit_test(a_later_transaction_does_not_hold_the_fence),
        cmocka_unit_test(other_databases_do_not_matter),
        cmocka_unit_test(track_activities_off_hides_starts_from_everyone),
        cmocka_unit_test(a_prepared_transaction_demands_the_fence),
        cmocka_unit_test(prepared_after_the_fence),
        cmocka_unit_test(another_process_judges_the_fence),
        cmocka_unit_test(identity_and_progress),
        cmocka_unit_test(we_give_way_within_two_seconds),
        cmocka_unit_test(we_give_way_while_the_server_is_silent),
        cmocka_unit_test(a_table_is_free_once_it_was_read),
        cmocka_unit_test(a_lock_of_others_ends_in_time),
        cmocka_unit_test(timeouts_of_the_role_do_not_count),
        cmocka_unit_test(cancelled_by_an_administrator),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(nobody_to_talk_to),
        cmocka_unit_test(a_restart_in_between),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
