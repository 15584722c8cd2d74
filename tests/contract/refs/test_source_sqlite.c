/*
 * test_source_sqlite.c -- what only SQLite can do to us, and we to it (H32).
 *
 * Runs as root: the application is uid 33 (www-data), its database lies in a directory of its own.
 */
#include "source_probe.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "mediagcfs/bytes.h"
#include "mediagcfs/os.h"

#define TEXT(literal) ((char *)(uintptr_t)(literal))
enum { APPLICATION = 33 };

static char folder[64];
static char path[128];

struct world {
    struct mgc_conf_references conf;
    struct mgc_source *source;
    struct mgc_source_view view;
    struct seen seen;
    struct mgc_err err;
};

static int remove_one(const char *name, const struct stat *s, int type, struct FTW *at)
{
    (void)s;
    (void)type;
    (void)at;
    return remove(name);
}

static int folder_make(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/dev/shm/mgc-sqlite-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chown(folder, APPLICATION, APPLICATION), 0);
    assert_int_equal(chmod(folder, 0755), 0);
    (void)snprintf(path, sizeof(path), "%s/db.sqlite3", folder);
    return 0;
}

static int folder_remove(void **state)
{
    (void)state;
    (void)!seteuid(0); /* a failed test may have left it changed */
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Runs `body` as the application, in a process of its own; its status is returned. */
static int as_application(int (*body)(const char *text), const char *text)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        if (setgroups(0, NULL) < 0 || setgid(APPLICATION) < 0 || setuid(APPLICATION) < 0)
            _exit(100);
        _exit(body(text));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 101;
}

/* Statements without any patience: a lock of ours in the wrong moment makes them fail. */
static int run_sql(const char *text)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    int rc = sqlite3_open(path, &db);

    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, text, NULL, NULL, &message);
    if (rc != SQLITE_OK)
        (void)fprintf(stderr, "%s: %s\n", text, message != NULL ? message : sqlite3_errstr(rc));
    (void)sqlite3_close(db);
    return rc == SQLITE_OK ? 0 : 1;
}

static void application(const char *text)
{
    if (as_application(run_sql, text) != 0)
        fail_msg("the application failed: %s", text);
}

static void world_open(struct world *w)
{
    *w = (struct world){
        .conf = {.name = TEXT("old"), .type = MGC_TYPE_SQLITE, .database = path, .binary = true}};
    assert_int_equal(mgc_source_new(&w->conf, &w->source, &w->err), 0);
    seen_init(&w->seen);
}

static void world_start(struct world *w)
{
    world_open(w);
    if (w->source->ops->start(w->source, &w->err) < 0)
        fail_msg("%s", w->err.text);
}

static void world_close(struct world *w)
{
    mgc_source_free(w->source);
    seen_done(&w->seen);
    mgc_source_view_done(&w->view);
}

static int scan(struct world *w, enum mgc_source_depth depth)
{
    seen_done(&w->seen);
    return scan_once(w->source, depth, &w->seen, &w->err);
}

static void expect_complete(struct world *w, enum mgc_source_depth depth)
{
    if (scan(w, depth) != MGC_SOURCE_COMPLETE)
        fail_msg("%s", w->err.text);
}

static void expect_line(struct world *w, const char *line)
{
    if (!seen_has(&w->seen, line))
        fail_msg("missing: %s", line);
}

/* Every file of the directory belongs to the application. */
static void nothing_foreign(void)
{
    DIR *d = opendir(folder);
    struct dirent *entry;

    assert_non_null(d);
    while ((entry = readdir(d)) != NULL) {
        struct stat s;

        if (strcmp(entry->d_name, "..") == 0)
            continue;
        assert_int_equal(fstatat(dirfd(d), entry->d_name, &s, AT_SYMLINK_NOFOLLOW), 0);
        if (s.st_uid != APPLICATION || s.st_gid != APPLICATION)
            fail_msg("%s belongs to %u:%u", entry->d_name, s.st_uid, s.st_gid);
    }
    (void)closedir(d);
}

static void the_application_can_write_after_us(void **state)
{
    static const char *const modes[] = {"WAL", "DELETE", "TRUNCATE", "PERSIST"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct world w;
        char text[200];

        (void)unlink(path);
        (void)snprintf(text, sizeof(text),
                       "PRAGMA journal_mode = %s; CREATE TABLE t(a); INSERT INTO t VALUES ('x')",
                       modes[i]);
        application(text);
        world_start(&w);
        expect_complete(&w, MGC_DEPTH_CONFIGURED);
        assert_int_equal(w.seen.texts, 1);
        nothing_foreign();
        application("INSERT INTO t VALUES ('y')");
        /* While a snapshot is open, and after it. */
        assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &w.view, &w.err), 0);
        nothing_foreign();
        application("INSERT INTO t VALUES ('z'); DELETE FROM t WHERE a = 'x'");
        w.source->ops->end(w.source);
        expect_complete(&w, MGC_DEPTH_CONFIGURED);
        assert_int_equal(w.seen.texts, 2);
        world_close(&w);
        nothing_foreign();
        application("INSERT INTO t VALUES ('last'); DROP TABLE t");
    }
}

/* Commits in a tight loop, without a busy timeout, until a file appears. */
static int keep_writing(const char *pause_us)
{
    sqlite3 *db = NULL;
    char stop[200];
    int rc = sqlite3_open(path, &db), count = 0;

    (void)snprintf(stop, sizeof(stop), "%s.stop", path);
    while (rc == SQLITE_OK && getppid() != 1 && (access(stop, F_OK) < 0 || count < 5)) {
        rc = sqlite3_exec(db,
                          "BEGIN IMMEDIATE; UPDATE one SET n = n + 1;"
                          "UPDATE two SET n = n + 1; COMMIT",
                          NULL, NULL, NULL);
        count++;
        (void)usleep((useconds_t)strtol(pause_us, NULL, 10));
    }
    (void)sqlite3_close(db);
    return rc == SQLITE_OK ? 0 : 1;
}

static pid_t start_writer(const char *pause_us)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        if (setgroups(0, NULL) < 0 || setgid(APPLICATION) < 0 || setuid(APPLICATION) < 0)
            _exit(100);
        _exit(keep_writing(pause_us));
    }
    return child;
}

static void stop_writer(pid_t writer)
{
    char stop[200];
    int status;

    (void)snprintf(stop, sizeof(stop), "%s.stop", path);
    (void)close(open(stop, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    assert_int_equal(waitpid(writer, &status, 0), writer);
    (void)unlink(stop);
    if (status != 0)
        fail_msg("a commit of the application failed: status %x", (unsigned)status);
}

static void no_commit_ever_fails(void **state)
{
    static const char *const modes[] = {"WAL", "DELETE", "PERSIST"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct world w;
        char text[600];
        pid_t writer;

        (void)unlink(path);
        /* Both numbers are always equal, far apart in the file; a torn copy would show it. */
        (void)snprintf(
            text, sizeof(text),
            "PRAGMA journal_mode = %s;"
            "CREATE TABLE one(n, t TEXT AS ('n=' || n) VIRTUAL); INSERT INTO one VALUES (0);"
            "CREATE TABLE filler(b); INSERT INTO filler VALUES (zeroblob(8000000));"
            "CREATE TABLE two(n, t TEXT AS ('n=' || n) VIRTUAL); INSERT INTO two VALUES (0)",
            modes[i]);
        application(text);
        world_open(&w);
        w.conf.scan = MGC_SCAN_COLUMNS;
        w.conf.columns = (struct mgc_conf_list){(char *[]){TEXT("one.t"), TEXT("two.t")}, 2};
        assert_int_equal(w.source->ops->start(w.source, &w.err), 0);
        writer = start_writer("50000");
        for (int round = 0; round < 10; round++) {
            expect_complete(&w, MGC_DEPTH_CONFIGURED);
            assert_int_equal(w.seen.count, 2);
            assert_string_equal(strstr(w.seen.lines[0], "n="), strstr(w.seen.lines[1], "n="));
        }
        stop_writer(writer);
        world_close(&w);
        nothing_foreign();
    }
}

static void every_text_and_blob(void **state)
{
    struct world w;

    (void)state;
    application(
        "CREATE TABLE plain(a INTEGER, b, \"odd \"\"name\"\"\" TEXT, d REAL);"
        "INSERT INTO plain VALUES (1, 'x/b', 'x/c', 1.5), ('x/in integer', x'782f64', NULL, 2),"
        " (NULL, '', x'', 3);"
        "CREATE TABLE no_rowid(k TEXT PRIMARY KEY, v) WITHOUT ROWID;"
        "INSERT INTO no_rowid VALUES ('x/k', 'x/v');"
        "CREATE TABLE strict_one(t TEXT) STRICT; INSERT INTO strict_one VALUES ('x/strict');"
        "CREATE TABLE made(id, p AS ('x/' || id) STORED, q AS ('y/' || id) VIRTUAL);"
        "INSERT INTO made(id) VALUES (7);"
        "CREATE VIEW shown AS SELECT 'view/' || a FROM plain WHERE d = 1.5;"
        "CREATE TABLE django_session(d); INSERT INTO django_session VALUES ('session');"
        "CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, t);"
        "INSERT INTO counted(t) VALUES ('c1'), ('c2')");
    world_start(&w);
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    expect_line(&w, "plain|b||x/b");
    expect_line(&w, "plain|b||x/d");
    expect_line(&w, "plain|a||x/in integer");
    expect_line(&w, "plain|odd \"name\"||x/c");
    expect_line(&w, "no_rowid|k||x/k");
    expect_line(&w, "no_rowid|v||x/v");
    expect_line(&w, "strict_one|t||x/strict");
    expect_line(&w, "made|p||x/7");
    expect_line(&w, "made|q||y/7");
    assert_int_equal(w.seen.texts, 11);
    assert_null(strstr(w.source->ops->covered(w.source), "session"));
    expect_complete(&w, MGC_DEPTH_PROOF);
    expect_line(&w, "django_session|d|w|session");
    assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &w.view, &w.err), 0);
    assert_string_equal(w.view.position, "{\"counted\":2}");
    assert_false(w.view.sees_transactions);
    world_close(&w);
    world_open(&w);
    w.conf.scan = MGC_SCAN_COLUMNS;
    w.conf.columns = (struct mgc_conf_list){(char *[]){TEXT("plain.b"), TEXT("main.made.p")}, 2};
    w.conf.query = (struct mgc_conf_list){(char *[]){TEXT("SELECT * FROM shown ; ")}, 1};
    w.conf.binary = false;
    assert_int_equal(w.source->ops->start(w.source, &w.err), 0);
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    expect_line(&w, "plain|b|h|x/b");
    expect_line(&w, "made|p|h|x/7");
    expect_line(&w, "query 1||h|view/1");
    assert_int_equal(w.seen.texts, 3);
    world_close(&w);
}

static void utf16_arrives_as_utf8(void **state)
{
    struct world w;

    (void)state;
    application("PRAGMA encoding = 'UTF-16'; CREATE TABLE t(a); INSERT INTO t VALUES ('\xc3\xa4')");
    world_start(&w);
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    expect_line(&w, "t|a||\xc3\xa4");
    world_close(&w);
}

static void full_text_and_other_virtual_tables(void **state)
{
    struct world w;

    (void)state;
    application("CREATE VIRTUAL TABLE search USING fts5(body);"
                "INSERT INTO search VALUES ('see docs/a.pdf here');"
                "CREATE VIRTUAL TABLE old_search USING fts4(body);"
                "INSERT INTO old_search VALUES ('see docs/b.pdf here');"
                "CREATE TABLE search_notes(t); INSERT INTO search_notes VALUES ('note');"
                "CREATE TABLE my_data(t); INSERT INTO my_data VALUES ('not a shadow')");
    world_start(&w);
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    expect_line(&w, "search_content|c0||see docs/a.pdf here");
    expect_line(&w, "old_search_content|c0body||see docs/b.pdf here");
    expect_line(&w, "search_notes|t||note");
    expect_line(&w, "my_data|t||not a shadow");
    assert_int_equal(w.seen.texts, 4);
    assert_non_null(strstr(w.source->ops->covered(w.source), "\"search.(not read: virtual)\""));
    world_close(&w);
    /* A module nobody knows, as an application may register one. */
    application("PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('table', 'far', "
                "'far', 0, 'CREATE VIRTUAL TABLE far USING elsewhere(x)')");
    world_start(&w);
    assert_int_equal(scan(&w, MGC_DEPTH_CONFIGURED), MGC_E_INCOMPLETE);
    assert_non_null(strstr(w.err.text, "'far'"));
    assert_non_null(strstr(w.err.text, "'elsewhere'"));
    world_close(&w);
    world_open(&w);
    w.conf.ignore = (struct mgc_conf_list){(char *[]){TEXT("far")}, 1};
    assert_int_equal(w.source->ops->start(w.source, &w.err), 0);
    expect_complete(&w, MGC_DEPTH_PROOF);
    world_close(&w);
}

static int reversed(void *arg, int a_bytes, const void *a, int b_bytes, const void *b)
{
    (void)arg;
    return -memcmp(a, b, (size_t)(a_bytes < b_bytes ? a_bytes : b_bytes));
}

static int make_collated(const char *text)
{
    sqlite3 *db = NULL;
    int rc = sqlite3_open(path, &db);

    if (rc == SQLITE_OK)
        rc = sqlite3_create_collation(db, "backwards", SQLITE_UTF8, NULL, reversed);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, text, NULL, NULL, NULL);
    (void)sqlite3_close(db);
    return rc == SQLITE_OK ? 0 : 1;
}

static void collations_of_the_application(void **state)
{
    static const char *const paths[] = {"a", "b", "c", "d"};
    static const char *const columns[] = {"t.k"};
    struct world w;

    (void)state;
    assert_int_equal(as_application(make_collated,
                                    "CREATE TABLE t(k TEXT COLLATE backwards PRIMARY KEY, v "
                                    "TEXT) WITHOUT ROWID; INSERT INTO t VALUES ('a', '1'), "
                                    "('b', '2'), ('c', '3'); CREATE INDEX i ON t(v, k)"),
                     0);
    world_start(&w);
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    assert_int_equal(w.seen.texts, 6);
    seen_done(&w.seen);
    assert_int_equal(w.source->ops->ask(w.source, paths, 4, columns, 1, soon(20000000), seen_text,
                                        &w.seen, &w.err),
                     MGC_SOURCE_COMPLETE);
    assert_int_equal(w.seen.texts, 3);
    world_close(&w);
}

static void write_file(const char *content, size_t bytes)
{
    mgc_autofd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, bytes), bytes);
    assert_int_equal(fchown(fd, APPLICATION, APPLICATION), 0);
}

static void what_is_no_database_is_named(void **state)
{
    char garbage[8192];
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(w.source->ops->start(w.source, &w.err), -ENOENT);
    assert_non_null(strstr(w.err.text, path));
    assert_true(w.err.hint[0] != '\0');
    world_close(&w);

    write_file("", 0);
    world_start(&w);
    assert_true(scan(&w, MGC_DEPTH_CONFIGURED) < 0);
    assert_non_null(strstr(w.err.text, "empty"));
    memset(garbage, 'x', sizeof(garbage));
    write_file(garbage, sizeof(garbage));
    assert_true(scan(&w, MGC_DEPTH_CONFIGURED) < 0);
    assert_non_null(strstr(w.err.text, "not an SQLite database"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(scan(&w, MGC_DEPTH_CONFIGURED), -ENOENT);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_true(scan(&w, MGC_DEPTH_CONFIGURED) < 0);
    assert_int_equal(rmdir(path), 0);
    world_close(&w);
}

static void damage_is_never_a_short_answer(void **state)
{
    static const char *const modes[] = {"WAL", "DELETE"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct world w;
        char text[400], noise[4096];
        int failed = 0;

        (void)unlink(path);
        (void)snprintf(text, sizeof(text),
                       "PRAGMA journal_mode = %s; CREATE TABLE t(a);"
                       "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
                       "2000) INSERT INTO t SELECT printf('%%0100d', i) FROM n;"
                       "PRAGMA wal_checkpoint(TRUNCATE)",
                       modes[i]);
        application(text);
        memset(noise, 0xa5, sizeof(noise));
        for (int page = 1; page < 6; page++) {
            mgc_autofd fd = open(path, O_WRONLY | O_CLOEXEC);

            assert_int_equal(pwrite(fd, noise, sizeof(noise), page * 4096), sizeof(noise));
            world_start(&w);
            failed += scan(&w, MGC_DEPTH_CONFIGURED) < 0;
            assert_true(w.seen.texts < 2000);
            world_close(&w);
        }
        assert_int_equal(failed, 5);
    }
}

/* Takes a lock, says so, holds it until killed. */
static pid_t hold_lock(const char *statement)
{
    int ready[2];
    char byte;
    pid_t child, parent = getpid();

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        sqlite3 *db = NULL;

        if (setgid(APPLICATION) < 0 || setuid(APPLICATION) < 0 ||
            sqlite3_open(path, &db) != SQLITE_OK ||
            sqlite3_exec(db, statement, NULL, NULL, NULL) != SQLITE_OK)
            _exit(1);
        (void)!write(ready[1], "x", 1);
        while (getppid() == parent) /* a failed test must not leave it behind */
            (void)usleep(50000);
        _exit(0);
    }
    (void)close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    return child;
}

static void end_child(pid_t child)
{
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void locked_and_hot(void **state)
{
    struct world w;
    pid_t holder;

    (void)state;
    application("CREATE TABLE t(a); INSERT INTO t VALUES ('x')");
    world_start(&w);
    /* Reserved only: nothing is written yet, the file is whole. */
    holder = hold_lock("BEGIN IMMEDIATE; INSERT INTO t VALUES ('not yet')");
    (void)usleep(50000);
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    assert_int_equal(w.seen.texts, 1);
    end_child(holder);
    /* Exclusive: refused at the deadline. */
    holder = hold_lock("BEGIN EXCLUSIVE");
    assert_true(w.source->ops->begin(w.source, soon(500000), &w.view, &w.err) < 0);
    assert_non_null(strstr(w.err.text, "locked"));
    end_child(holder);
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    /* A writer that spilled half a transaction into the file and died. */
    application("CREATE TABLE big(b); INSERT INTO big VALUES (zeroblob(4000000))");
    holder = hold_lock("PRAGMA cache_size = 5; BEGIN IMMEDIATE; UPDATE big SET b = "
                       "randomblob(4000000); INSERT INTO big VALUES (randomblob(4000000))");
    end_child(holder);
    assert_true(w.source->ops->begin(w.source, soon(500000), &w.view, &w.err) < 0);
    assert_non_null(strstr(w.err.text, "a crash left a journal"));
    application("SELECT count(*) FROM big"); /* rolls it back */
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    world_close(&w);
}

/* It takes its name only after it has become who it is. */
static pid_t reader_of_ours(void)
{
    pid_t reader = -1;

    for (int i = 0; i < 1000 && reader < 0; i++) {
        reader = child_named("mediagcfs-sqlit"); /* 15 characters */
        if (reader < 0)
            (void)usleep(5000);
    }
    assert_true(reader > 0);
    return reader;
}

static void a_foreign_uid_is_refused(void **state)
{
    struct world w;

    (void)state;
    application("CREATE TABLE t(a)");
    world_open(&w);
    assert_int_equal(seteuid(34), 0);
    assert_true(w.source->ops->start(w.source, &w.err) < 0);
    assert_int_equal(seteuid(0), 0);
    assert_non_null(strstr(w.err.text, "belongs to uid 33, we are uid 34"));
    assert_non_null(strstr(w.err.hint, "root"));
    world_close(&w);
    nothing_foreign();
}

static void the_reader_outlasts_our_ids_but_is_not_replaced(void **state)
{
    struct world w;
    pid_t reader;

    (void)state;
    application("CREATE TABLE t(a); INSERT INTO t VALUES ('x')");
    world_start(&w);
    reader = reader_of_ours();
    assert_int_equal(seteuid(34), 0);
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(kill(reader, SIGKILL), 0);
    assert_int_equal(seteuid(34), 0);
    assert_int_equal(scan(&w, MGC_DEPTH_CONFIGURED), MGC_E_INCOMPLETE);
    assert_non_null(strstr(w.err.text, "signal 9"));
    assert_true(scan(&w, MGC_DEPTH_CONFIGURED) < 0);
    assert_non_null(strstr(w.err.text, "belongs to uid 33"));
    assert_int_equal(seteuid(0), 0);
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    world_close(&w);
}

static void a_reader_that_was_given_up_serves_on(void **state)
{
    struct world w;
    pid_t reader;

    (void)state;
    application("CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                "WHERE i < 50000) INSERT INTO t SELECT printf('%0100d', i) FROM n");
    world_start(&w);
    reader = reader_of_ours();
    for (int round = 0; round < 3; round++) {
        struct mgc_source_view view = {0};

        assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &view, &w.err), 0);
        mgc_source_view_done(&view);
        seen_done(&w.seen);
        w.seen.act_at = 10;
        w.seen.refuse = MGC_E_LIMIT;
        assert_int_equal(w.source->ops->scan(w.source, MGC_DEPTH_CONFIGURED, soon(20000000),
                                             seen_text, &w.seen, &w.err),
                         MGC_E_LIMIT);
        if (round == 1)
            w.source->ops->end(w.source);
    }
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    assert_int_equal(w.seen.texts, 50000);
    assert_int_equal(reader_of_ours(), reader); /* the same process: its ids may not come again */
    world_close(&w);
}

static void a_new_owner_is_noticed(void **state)
{
    struct world w;

    (void)state;
    application("CREATE TABLE t(a)");
    world_start(&w);
    assert_int_equal(chown(path, 34, 34), 0);
    assert_true(scan(&w, MGC_DEPTH_CONFIGURED) < 0);
    assert_non_null(strstr(w.err.text, "its owner is now uid 34"));
    world_close(&w);
}

static void the_reader_has_nothing_of_ours(void **state)
{
    struct world w;
    char name[64];
    struct stat s;
    DIR *d;
    int fds = 0;
    FILE *status;
    char line[200];
    bool plain = false;
    pid_t reader;

    (void)state;
    application("CREATE TABLE t(a)");
    world_start(&w);
    expect_complete(&w, MGC_DEPTH_CONFIGURED);
    reader = reader_of_ours();
    (void)snprintf(name, sizeof(name), "/proc/%d/fd", reader);
    d = opendir(name);
    assert_non_null(d);
    while (readdir(d) != NULL)
        fds++;
    (void)closedir(d);
    assert_int_equal(fds - 2, 4); /* three times /dev/null, and the socket */
    (void)snprintf(name, sizeof(name), "/proc/%d/status", reader);
    status = fopen(name, "re");
    assert_non_null(status);
    while (fgets(line, sizeof(line), status) != NULL)
        if (strcmp(line, "Uid:\t33\t33\t33\t33\n") == 0)
            plain = true;
    (void)fclose(status);
    assert_true(plain);
    world_close(&w);
    (void)snprintf(name, sizeof(name), "/proc/%d", reader);
    assert_int_equal(stat(name, &s), -1); /* and is gone when its source is */
}

static void the_reader_dies_with_its_parent(void **state)
{
    int told[2];
    pid_t parent, reader = -1;

    (void)state;
    application("CREATE TABLE t(a)");
    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        struct world w;

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        world_open(&w);
        if (w.source->ops->start(w.source, NULL) < 0)
            _exit(1); /* and not on to the next test, twice */
        (void)scan(&w, MGC_DEPTH_CONFIGURED);
        reader = reader_of_ours();
        (void)!write(told[1], &reader, sizeof(reader));
        for (;;)
            (void)pause();
    }
    assert_int_equal(close(told[1]), 0);
    assert_int_equal(read(told[0], &reader, sizeof(reader)), sizeof(reader));
    assert_true(reader > 0);
    assert_int_equal(kill(reader, 0), 0);
    end_child(parent);
    for (int i = 0; i < 200 && kill(reader, 0) == 0; i++)
        (void)usleep(10000);
    {
        char name[64], line[200] = "";
        FILE *file;

        /* Whoever adopted it may not have reaped it yet. */
        (void)snprintf(name, sizeof(name), "/proc/%d/stat", reader);
        file = fopen(name, "re");
        if (file != NULL) {
            assert_non_null(fgets(line, sizeof(line), file));
            assert_non_null(strstr(line, ") Z "));
            (void)fclose(file);
        }
    }
    (void)close(told[0]);
}

static void identity_is_of_the_file(void **state)
{
    struct world w;
    char *identity, other[160];

    (void)state;
    application("CREATE TABLE t(a); PRAGMA application_id = 77");
    world_start(&w);
    assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &w.view, &w.err), 0);
    identity = strdup(w.view.identity);
    mgc_source_view_done(&w.view);
    assert_non_null(strstr(identity, "application 0000004d"));
    application("INSERT INTO t VALUES ('x')");
    assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &w.view, &w.err), 0);
    assert_string_equal(identity, w.view.identity);
    mgc_source_view_done(&w.view);
    /* A copy put in its place is another database. */
    (void)snprintf(other, sizeof(other), "%s.old", path);
    assert_int_equal(rename(path, other), 0);
    application("CREATE TABLE t(a); PRAGMA application_id = 77");
    assert_int_equal(w.source->ops->begin(w.source, soon(20000000), &w.view, &w.err), 0);
    assert_string_not_equal(identity, w.view.identity);
    free(identity);
    world_close(&w);
}

static void queries_only_read(void **state)
{
    static const char *const queries[] = {
        "DELETE FROM t RETURNING a",
        "PRAGMA application_id = 5",
        "SELECT a FROM t; DELETE FROM t",
        "CREATE TABLE u(a)",
        "",
        "SELECT a FROM nowhere",
        "SELECT load_extension('x')",
    };

    (void)state;
    for (int wal = 0; wal < 2; wal++) {
        (void)unlink(path);
        application(wal ? "PRAGMA journal_mode = WAL; CREATE TABLE t(a); INSERT INTO t VALUES('x')"
                        : "CREATE TABLE t(a); INSERT INTO t VALUES ('x')");
        for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
            struct world w;

            world_open(&w);
            w.conf.query = (struct mgc_conf_list){(char *[]){TEXT(queries[i])}, 1};
            assert_int_equal(w.source->ops->start(w.source, &w.err), 0);
            if (scan(&w, MGC_DEPTH_CONFIGURED) >= 0)
                fail_msg("went through: %s", queries[i]);
            assert_non_null(strstr(w.err.text, "query 1"));
            world_close(&w);
            world_start(&w);
            expect_complete(&w, MGC_DEPTH_CONFIGURED);
            assert_int_equal(w.seen.texts, 1);
            world_close(&w);
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        TEST(the_application_can_write_after_us),
        TEST(no_commit_ever_fails),
        TEST(every_text_and_blob),
        TEST(utf16_arrives_as_utf8),
        TEST(full_text_and_other_virtual_tables),
        TEST(collations_of_the_application),
        TEST(what_is_no_database_is_named),
        TEST(damage_is_never_a_short_answer),
        TEST(locked_and_hot),
        TEST(a_foreign_uid_is_refused),
        TEST(the_reader_outlasts_our_ids_but_is_not_replaced),
        TEST(a_reader_that_was_given_up_serves_on),
        TEST(a_new_owner_is_noticed),
        TEST(the_reader_has_nothing_of_ours),
        TEST(the_reader_dies_with_its_parent),
        TEST(identity_is_of_the_file),
        TEST(queries_only_read),
    };

    if (setenv("TMPDIR", "/dev/shm", 1) != 0) /* for copies */
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
