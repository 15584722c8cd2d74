/* test_handles.c -- files, modes, readers beside a writer, ids over lost catalogs, the log. */
#include "scratch.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "mediagcfs/attr.h"

static void files_get_mode_and_group(void **state)
{
    struct scratch *s = *state;
    static const char *const names[] = {"catalog.db", "catalog.db-wal", "catalog.db-shm", "opened"};
    struct mgc_catalog_spec spec = {.directory = s->directory, .mode = 0640, .gid = 12345};
    struct mgc_catalog *c = NULL;
    mode_t before = umask(0);

    if (geteuid() != 0)
        spec.gid = getegid();
    for (int round = 0; round < 2; round++) { /* whatever the umask: 0 in the daemon */
        (void)umask(round == 0 ? 0 : 077);
        ok(s, mgc_catalog_open_sqlite(&spec, &c, &s->err));
        create(s, c, "a", 1);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
            struct stat st;

            assert_int_equal(stat(in(s, names[i]), &st), 0);
            if ((st.st_mode & 07777) != 0640 || st.st_gid != (gid_t)spec.gid)
                fail_msg("%s: mode %o, group %u", names[i], st.st_mode & 07777, st.st_gid);
        }
        mgc_catalog_close(c);
        ok(s, mgc_catalog_set_aside(s->directory, (char[256]){0}, 256, &s->err));
    }
    (void)umask(before);
}

static void a_missing_catalog_or_directory_is_said(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog_spec spec = {.directory = s->directory, .read_only = true, .gid = -1};
    struct mgc_catalog *c = NULL;

    assert_int_equal(mgc_catalog_open_sqlite(&spec, &c, &s->err), -ENOENT);
    assert_int_equal(access(in(s, "catalog.db"), F_OK), -1);
    spec.read_only = false;
    spec.directory = "/nonexistent/directory";
    assert_int_equal(mgc_catalog_open_sqlite(&spec, &c, &s->err), -ENOENT);
    assert_non_null(strstr(s->err.text, "/nonexistent/directory"));
    assert_null(c);
}

static void a_reader_changes_nothing(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog *c = writer(s), *r;
    struct mgc_change one = {.kind = MGC_CHANGE_UNLINK, .path = "a", .time_us = T0};
    struct mgc_seen_dir seen = {.path = "", .stat = {.mode = S_IFDIR}};
    struct mgc_seen_result result;

    create(s, c, "a", 1);
    r = reader(s);
    assert_int_equal(r->ops->apply(r, &one, 1, &s->err), -EROFS);
    assert_int_equal(r->ops->see_dir(r, &seen, &result, &s->err), -EROFS);
    assert_int_equal(r->ops->meta_set(r, MGC_META_CLEAN, 1, &s->err), -EROFS);
    assert_int_equal(r->ops->meta_set(r, "bypass", 1, &s->err), -EROFS);
    ok(s, r->ops->flush(r, &s->err));
    create(s, c, "b", 2); /* it sees what is committed after it was opened */
    assert_true(id_of(r, "b") > 0);
    assert_int_equal(mgc_catalog_meta(r, MGC_META_NEXT_ID, 0),
                     mgc_catalog_meta(c, MGC_META_NEXT_ID, 1));
    opened_at(s, c, "b", T0 + HOUR);
    ok(s, c->ops->flush(c, &s->err));
    assert_int_equal(r->ops->opened_us(r, id_of(r, "b")), T0 + HOUR);
    mgc_catalog_close(r);
    assert_true(id_of(c, "a") > 0);
    mgc_catalog_close(c);
}

/* Another user who may read the files and write neither them nor their directory. */
static int read_as_nobody(struct scratch *s)
{
    struct mgc_catalog_spec spec = {.directory = s->directory, .read_only = true, .gid = -1};
    struct mgc_catalog *c = NULL;
    int64_t entries = 0, bytes = 0;
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        struct mgc_err err = {0};
        int r;

        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            _exit(100);
        if (access(s->directory, W_OK) == 0 || access(in(s, "catalog.db"), W_OK) == 0)
            _exit(101); /* the test would show nothing */
        r = mgc_catalog_open_sqlite(&spec, &c, &err);
        if (r == 0)
            r = c->ops->totals(c, &entries, &bytes);
        if (r < 0)
            (void)fprintf(stderr, "%s\n", err.text);
        _exit(r < 0 ? 102 : (int)entries);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void who_may_only_read_can_read(void **state)
{
    static const char *const names[] = {"catalog.db", "catalog.db-wal", "catalog.db-shm", "opened"};
    struct scratch *s = *state;
    struct mgc_catalog *c = writer(s);

    create(s, c, "a", 1);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        assert_int_equal(chmod(in(s, names[i]), geteuid() == 0 ? 0644 : 0444), 0);
    assert_int_equal(chmod(s->directory, geteuid() == 0 ? 0755 : 0555), 0);
    assert_int_equal(read_as_nobody(s), 1); /* while the daemon has it open */
    create(s, c, "b", 2);
    assert_int_equal(read_as_nobody(s), 2);
    mgc_catalog_close(c);
    assert_int_equal(read_as_nobody(s), 2); /* and after it has stopped (C3) */
    assert_int_equal(chmod(s->directory, 0755), 0);
}

/* ---- ids (H11) ---- */

static void ids_go_on_above_everything_ever_given(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog *c = writer(s);
    int64_t given, mark;

    create(s, c, "a", 1);
    create(s, c, "b", 2);
    given = id_of(c, "b");
    assert_int_equal(mgc_catalog_meta(c, MGC_META_NEXT_ID, 0), given + 1);
    mgc_catalog_close(c);
    /* An orderly stop settles the tree's mark at the next id: none is spent. */
    s->reserved = given + 1;
    c = writer(s);
    create(s, c, "c", 3);
    assert_int_equal(id_of(c, "c"), given + 1);
    given = id_of(c, "c");
    assert_int_equal(s->reserved, given + MGC_ID_RESERVE);
    mark = s->reserved;
    mgc_catalog_close(c);
    /* A crash leaves the mark high: ids given after the last commit that survived are passed. */
    c = writer(s);
    create(s, c, "d", 4);
    assert_int_equal(id_of(c, "d"), mark);
    mgc_catalog_close(c);
    /* The catalog is lost: the tree's mark is above all it ever gave. */
    mark = s->reserved;
    ok(s, mgc_catalog_set_aside(s->directory, (char[256]){0}, 256, &s->err));
    c = writer(s);
    create(s, c, "e", 5);
    assert_int_equal(id_of(c, "e"), mark);
    mgc_catalog_close(c);
}

static void ids_go_on_when_the_tree_s_mark_is_lost(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog *c = writer(s);
    int64_t given;

    create(s, c, "a", 1);
    given = id_of(c, "a");
    mgc_catalog_close(c);
    sql(s, "UPDATE counters SET next_id = 2"); /* and the counter with it */
    s->reserved = 0;
    c = writer(s);
    create(s, c, "b", 2);
    assert_true(id_of(c, "b") > given);
    assert_true(s->reserved > id_of(c, "b"));
    mgc_catalog_close(c);
}

/* Undone transactions do not give their ids back. */
static void ids_of_undone_rows_are_spent(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog *c = writer(s);
    struct mgc_held rows[] = {{.path = "a", .stat = a_file(1, 1, T0)},
                              {.path = "a", .stat = a_file(1, 1, T0)}};
    int64_t next = mgc_catalog_meta(c, MGC_META_NEXT_ID, 0);

    assert_int_equal(c->ops->held_begin(c, rows, 2, &s->err), MGC_E_BUSY);
    ok(s, c->ops->held_begin(c, rows, 1, &s->err));
    assert_int_equal(rows[0].id, next + 1);
    mgc_catalog_close(c);
}

/* A batch that ends in the middle leaves nothing behind, in the file or in memory. */
static void an_undone_batch_leaves_no_trace(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog *c;
    struct mgc_change batch[] = {
        {.kind = MGC_CHANGE_CREATE, .path = "d/a", .time_us = T0, .stat = a_file(2, 5, T0)},
        {.kind = MGC_CHANGE_CREATE, .path = "d/b", .time_us = T0, .stat = a_file(3, 5, T0)},
    };
    struct mgc_change rename = {
        .kind = MGC_CHANGE_RENAME, .path = "x", .path2 = "d/x", .time_us = T0};
    struct mgc_change unlink = {.kind = MGC_CHANGE_UNLINK, .path = "x", .time_us = T0};
    int64_t entries = -1, bytes = -1;

    s->reserved = (INT64_C(1) << 36) - MGC_ID_RESERVE - 3; /* three ids are left */
    c = writer(s);
    create(s, c, "x", 1);
    assert_int_equal(c->ops->apply(c, batch, 2, &s->err), MGC_E_LIMIT);
    /* The directory of the batch must not be remembered: no id is left to make it again. */
    assert_int_equal(c->ops->apply(c, &rename, 1, &s->err), MGC_E_LIMIT);
    assert_true(id_of(c, "x") > 0);
    ok(s, c->ops->apply(c, &unlink, 1, &s->err));
    ok(s, c->ops->totals(c, &entries, &bytes));
    assert_int_equal(entries, 0);
    assert_int_equal(bytes, 0);
    mgc_catalog_close(c);
}

/* ---- threads and the log (H12) ---- */

struct busy {
    struct mgc_catalog *c;
    atomic_bool stop;
    atomic_int rounds;
};

static int look(void *arg, const struct mgc_entry *entry)
{
    struct busy *busy = arg;
    char path[256];
    int r = mgc_catalog_entry_path(busy->c, entry->dir_id, entry->name, path, sizeof(path));

    (void)busy->c->ops->opened_us(busy->c, entry->id);
    return r == 0 || r == -ENOENT ? 0 : r; /* the directory may be gone by now */
}

static void *read_on(void *arg)
{
    struct busy *busy = arg;

    while (!atomic_load(&busy->stop)) {
        if (busy->c->ops->scan_entries(busy->c, 0, 1000, look, busy, NULL) < 0)
            return busy;
        atomic_fetch_add(&busy->rounds, 1);
    }
    return NULL;
}

static int no_change(void *arg, const char *name, struct mgc_file_stat *ret_stat)
{
    (void)arg, (void)name;
    *ret_stat = a_file(1, 100, T0);
    return 0;
}

static void *verify_on(void *arg)
{
    struct busy *busy = arg;

    while (!atomic_load(&busy->stop)) {
        struct mgc_seen_name names[] = {{"x", a_file(1, 100, T0)}};
        struct mgc_seen_dir seen = {.path = "seen",
                                    .stat = {.mode = S_IFDIR, .ctime_us = T0},
                                    .read_us = T0,
                                    .names = names,
                                    .count = 1,
                                    .again = no_change};
        struct mgc_seen_result result;

        if (busy->c->ops->see_dir(busy->c, &seen, &result, NULL) < 0)
            return busy;
        atomic_fetch_add(&busy->rounds, 1);
        (void)sched_yield();
    }
    return NULL;
}

static void readers_and_writers_share_it_and_the_log_stays_small(void **state)
{
    enum { BATCHES = 1500, SAME = 40 };
    struct scratch *s = *state;
    struct mgc_catalog *c = writer(s), *r = reader(s);
    struct busy busy[3] = {{.c = c}, {.c = r}, {.c = c}};
    pthread_t threads[3];
    void *failed;

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i < 2 ? read_on : verify_on, &busy[i]),
                         0);
    for (int i = 0; i < BATCHES; i++) {
        char a[64], b[64], old[64];
        struct mgc_change batch[] = {
            {.kind = MGC_CHANGE_CREATE, .path = a, .time_us = T0, .stat = a_file(7, 9, T0)},
            {.kind = MGC_CHANGE_OPEN, .path = a, .time_us = T0 + HOUR},
            {.kind = MGC_CHANGE_RENAME, .path = a, .path2 = b, .time_us = T0},
            {.kind = MGC_CHANGE_UNLINK, .path = old, .time_us = T0},
        };

        (void)snprintf(a, sizeof(a), "d%d/a%d", i % SAME, i);
        (void)snprintf(b, sizeof(b), "e%d/b%d", i % SAME, i);
        (void)snprintf(old, sizeof(old), "e%d/b%d", i % SAME, i - SAME);
        ok(s, c->ops->apply(c, batch, ARRAY_SIZE(batch), &s->err));
    }
    for (size_t i = 0; i < 3; i++) {
        atomic_store(&busy[i].stop, true);
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
        assert_true(atomic_load(&busy[i].rounds) > 0);
    }
    /* Readers keep no transaction open, so the log begins again and again. */
    assert_in_range(mgc_catalog_meta(c, MGC_META_WAL_BYTES, -1), 1, 16 << 20);
    mgc_catalog_close(r);
    mgc_catalog_close(c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        scratch_test(files_get_mode_and_group),
        scratch_test(a_missing_catalog_or_directory_is_said),
        scratch_test(a_reader_changes_nothing),
        scratch_test(who_may_only_read_can_read),
        scratch_test(ids_go_on_above_everything_ever_given),
        scratch_test(ids_go_on_when_the_tree_s_mark_is_lost),
        scratch_test(ids_of_undone_rows_are_spent),
        scratch_test(an_undone_batch_leaves_no_trace),
        scratch_test(readers_and_writers_share_it_and_the_log_stays_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
