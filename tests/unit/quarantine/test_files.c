/* Moves, restores and purges of real files with the real catalog: what only a kernel can show. */
#include "site.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cmocka.h>

static void write_over(const char *path, const char *content)
{
    mgc_autofd fd = openat(S.tree_fd, path, O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0640);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
}

static void assert_read(const char *path, const char *want)
{
    const char *got = site_read(path);

    assert_non_null(got);
    assert_string_equal(got, want);
}

static struct stat status(const char *path)
{
    struct stat st;

    assert_int_equal(fstatat(S.tree_fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st;
}

static int count_xattrs(const char *path, char *names, size_t bytes)
{
    mgc_autofd fd = openat(S.tree_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = flistxattr(fd, names, bytes);
    int count = 0;

    assert_true(n >= 0);
    for (ssize_t i = 0; i < n; i++)
        count += names[i] == '\0';
    return count;
}

static int64_t healed_us;
static int read_healed(void *arg, const struct mgc_entry *entry)
{
    (void)arg;
    healed_us = entry->healed_us;
    return 0;
}

static void a_file_comes_back_whole(void **state)
{
    char names[256];
    struct stat before, after;
    struct timespec times[2] = {{.tv_sec = 1600000000, .tv_nsec = 5000},
                                {.tv_sec = 1500000000, .tv_nsec = 7000}};
    int64_t id = 0;

    (void)state;
    site_mkdir("docs");
    site_file("docs/a.pdf", "content");
    assert_int_equal(fchmodat(S.tree_fd, "docs/a.pdf", 0604, 0), 0);
    assert_int_equal(fchownat(S.tree_fd, "docs/a.pdf", 33, 34, 0), 0);
    assert_int_equal(utimensat(S.tree_fd, "docs/a.pdf", times, 0), 0);
    {
        mgc_autofd fd = openat(S.tree_fd, "docs/a.pdf", O_RDONLY | O_CLOEXEC);
        assert_int_equal(fsetxattr(fd, "trusted.mine", "x", 1, 0), 0);
    }
    before = status("docs/a.pdf");
    assert_int_equal(site_move("docs/a.pdf", &id), 0);
    assert_false(site_exists("docs/a.pdf"));
    assert_int_equal(site_slots(), 1);
    assert_int_equal(S.events[MGC_EVENT_MOVE], 1);
    assert_int_equal(S.catalog->ops->entry_by_path(S.catalog, "docs/a.pdf", read_healed, NULL),
                     -ENOENT);

    assert_int_equal(mgc_quarantine_restore(S.q, id, NULL, true, "test", NULL), 0);
    assert_read("docs/a.pdf", "content");
    after = status("docs/a.pdf");
    assert_int_equal(after.st_ino, before.st_ino);
    assert_int_equal(after.st_mode, before.st_mode);
    assert_int_equal(after.st_uid, 33);
    assert_int_equal(after.st_gid, 34);
    assert_int_equal(after.st_mtim.tv_sec, 1500000000);
    assert_int_equal(after.st_mtim.tv_nsec, 7000);
    assert_int_equal(count_xattrs("docs/a.pdf", names, sizeof(names)), 1); /* its own only (H27) */
    assert_int_equal(site_slots(), 0);
    assert_int_equal(S.events[MGC_EVENT_HEAL], 1);
    assert_int_equal(S.catalog->ops->entry_by_path(S.catalog, "docs/a.pdf", read_healed, NULL), 0);
    assert_true(healed_us > 0);
}

/* ---- H2 ---- */

static void replace_by_rename(void)
{
    write_over("docs/new", "upload");
    assert_int_equal(renameat(S.tree_fd, "docs/new", S.tree_fd, "docs/a.pdf"), 0);
}

static void a_file_replaced_while_it_is_moved_stays(void **state)
{
    (void)state;
    site_mkdir("docs");
    site_file("docs/a.pdf", "old");
    S.before_rename = replace_by_rename;
    assert_int_equal(site_move("docs/a.pdf", NULL), -ESTALE);
    assert_read("docs/a.pdf", "upload");
    assert_int_equal(site_slots(), 0);
    assert_int_equal(site_restart(false).alarms, 0);
    assert_read("docs/a.pdf", "upload");
}

static void a_file_replaced_since_it_was_judged_stays(void **state)
{
    struct mgc_candidate c;
    struct mgc_move_outcome outcome;

    (void)state;
    site_file("a", "old");
    c = site_candidate("a");
    write_over("b", "new");
    assert_int_equal(renameat(S.tree_fd, "b", S.tree_fd, "a"), 0);
    c.horizon_us = INT64_MAX;
    assert_int_equal(mgc_quarantine_move(S.q, &c, 1, 1, &outcome, NULL), 0);
    assert_int_equal(outcome.code, -ESTALE);
    assert_true(strstr(outcome.why, "replaced") != NULL);
    assert_read("a", "new");
}

/* ---- H3 ---- */

static void a_file_with_a_writer_stays(void **state)
{
    char *map;
    int fd;

    (void)state;
    site_file("a", "content");
    fd = openat(S.tree_fd, "a", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(site_move("a", NULL), MGC_E_BUSY);
    (void)close(fd);

    /* A mapping goes on writing when its descriptor is closed. */
    fd = openat(S.tree_fd, "a", O_RDWR | O_CLOEXEC);
    map = mmap(NULL, 7, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    (void)close(fd);
    assert_int_equal(site_move("a", NULL), MGC_E_BUSY);
    map[0] = 'C';
    assert_int_equal(munmap(map, 7), 0);
    assert_read("a", "Content");
    assert_int_equal(site_slots(), 0);

    /* A reader does not keep it. */
    fd = openat(S.tree_fd, "a", O_RDONLY | O_CLOEXEC);
    assert_int_equal(site_move("a", NULL), 0);
    (void)close(fd);
}

static pthread_t writer;
static int writer_fd;

static void *open_for_writing(void *arg)
{
    (void)arg;
    writer_fd = openat(S.tree_fd, "a", O_WRONLY | O_CLOEXEC); /* waits until the lease is gone */
    return NULL;
}

static void begin_to_open(void)
{
    assert_int_equal(pthread_create(&writer, NULL, open_for_writing, NULL), 0);
    /* A lease being broken is shown as what it is to become. */
    while (fcntl(S.lease_fd, F_GETLEASE) == F_RDLCK)
        (void)sched_yield();
}

static void a_writer_that_comes_during_the_move_gets_its_file(void **state)
{
    (void)state;
    site_file("a", "content");
    S.before_rename = begin_to_open;
    assert_int_equal(site_move("a", NULL), MGC_E_BUSY);
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_true(writer_fd >= 0);
    assert_int_equal(write(writer_fd, "CON", 3), 3);
    (void)close(writer_fd);
    assert_read("a", "CONtent");
    assert_int_equal(site_slots(), 0);
}

/* ---- H7 and the rest of what keeps a file ---- */

static void what_is_younger_than_the_horizon_stays(void **state)
{
    struct mgc_candidate c[3];
    struct mgc_move_outcome outcomes[3];

    (void)state;
    site_mkdir("docs");
    site_mkdir("docs/deep");
    site_file("docs/deep/a", "1");
    site_file("b", "2");
    site_file("c", "3");
    c[0] = site_candidate("docs/deep/a");
    c[1] = site_candidate("b");
    c[2] = site_candidate("c");
    S.ahead_us = SITE_HOUR; /* the catalog's clock; the files keep the kernel's */
    site_rename_dir("docs", "papers");
    c[0].path = "papers/deep/a";
    write_over("b", "written"); /* the kernel's times are later than the horizon */
    c[2].horizon_us = INT64_MAX;
    assert_int_equal(mgc_quarantine_move(S.q, c, 3, 1, outcomes, NULL), 0);
    assert_int_equal(outcomes[0].code, -ESTALE);
    assert_true(strstr(outcomes[0].why, "younger") != NULL);
    assert_int_equal(outcomes[1].code, -ESTALE);
    assert_int_equal(outcomes[2].code, 0);
    assert_read("papers/deep/a", "1");
}

static void the_old_path_of_a_renamed_directory_is_gone(void **state)
{
    struct mgc_candidate c;
    struct mgc_move_outcome outcome;

    (void)state;
    site_mkdir("docs");
    site_file("docs/a", "1");
    c = site_candidate("docs/a");
    c.horizon_us = INT64_MAX;
    site_rename_dir("docs", "papers");
    assert_int_equal(mgc_quarantine_move(S.q, &c, 1, 1, &outcome, NULL), 0);
    assert_int_equal(outcome.code, -ENOENT);
    site_mkdir("docs"); /* another one under the old name, with the very same file in it */
    assert_int_equal(renameat(S.tree_fd, "papers/a", S.tree_fd, "docs/a"), 0);
    assert_int_equal(mgc_quarantine_move(S.q, &c, 1, 1, &outcome, NULL), 0);
    assert_int_equal(outcome.code, -ESTALE);
    assert_read("docs/a", "1");
}

static void what_cannot_be_moved_safely_stays(void **state)
{
    struct mgc_candidate c;
    struct mgc_move_outcome outcome;
    static const char *const bad[] = {"../a", "/etc/passwd", ".mediagcfs/tree", "", "a//b"};

    (void)state;
    site_file("a", "1");
    c = site_candidate("a");
    c.horizon_us = INT64_MAX;
    assert_int_equal(linkat(S.tree_fd, "a", S.tree_fd, "b", 0), 0);
    assert_int_equal(mgc_quarantine_move(S.q, &c, 1, 1, &outcome, NULL), 0);
    assert_int_equal(outcome.code, MGC_E_UNMOVABLE);
    assert_int_equal(unlinkat(S.tree_fd, "b", 0), 0);

    S.home.slots_elsewhere = true;
    assert_int_equal(mgc_quarantine_move(S.q, &c, 1, 1, &outcome, NULL), MGC_E_UNMOVABLE);
    assert_int_equal(outcome.code, MGC_E_UNMOVABLE);
    S.home.slots_elsewhere = false;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        c.path = bad[i];
        assert_int_equal(mgc_quarantine_move(S.q, &c, 1, 1, &outcome, NULL), 0);
        assert_int_equal(outcome.code, -EINVAL);
    }
    assert_int_equal(mkfifoat(S.tree_fd, "pipe", 0600), 0);
    c.path = "pipe";
    assert_int_equal(mgc_quarantine_move(S.q, &c, 1, 1, &outcome, NULL), 0);
    assert_int_equal(outcome.code, MGC_E_UNMOVABLE);
    assert_int_equal(site_slots(), 0);
    assert_read("a", "1");
}

static void one_path_twice_in_a_batch_moves_once(void **state)
{
    struct mgc_candidate c[2];
    struct mgc_move_outcome outcomes[2];

    (void)state;
    site_file("a", "1");
    c[0] = c[1] = site_candidate("a");
    assert_int_equal(mgc_quarantine_move(S.q, c, 2, 1, outcomes, NULL), 0);
    assert_int_equal(outcomes[0].code, 0);
    assert_int_equal(outcomes[1].code, -ESTALE);
    assert_int_equal(site_slots(), 1);
}

static void nothing_moves_before_recovery(void **state)
{
    struct mgc_quarantine_spec spec = {
        .os = &S.os, .catalog = S.catalog, .home = &S.home, .locks = S.locks};
    struct mgc_quarantine *fresh;
    struct mgc_move_outcome outcome;
    struct mgc_candidate c;

    (void)state;
    site_file("a", "1");
    c = site_candidate("a");
    assert_int_equal(mgc_quarantine_new(&spec, &fresh, NULL), 0);
    assert_int_equal(mgc_quarantine_move(fresh, &c, 1, 1, &outcome, NULL), MGC_E_REFUSED);
    assert_int_equal(outcome.code, MGC_E_REFUSED);
    mgc_quarantine_free(fresh);
    assert_read("a", "1");
}

/* ---- slots ---- */

static void put_stranger(void)
{
    char path[64];

    /* Whatever slot this move is going to use. */
    for (int64_t id = 1; id < 64; id++) {
        (void)snprintf(path, sizeof(path), ".mediagcfs/slots/%lld", (long long)id);
        write_over(path, "stranger");
    }
}

static void a_foreign_slot_is_an_alarm(void **state)
{
    (void)state;
    site_file("a", "1");
    S.before_rename = put_stranger;
    assert_int_equal(site_move("a", NULL), MGC_E_CONFLICT);
    assert_read("a", "1");
    assert_int_equal(site_slots(), 63);
    assert_read(".mediagcfs/slots/7", "stranger");
    /* Strangers have no origin: untouched, reported; the row of the move stays for an operator. */
    assert_int_equal(site_restart(false).alarms, 63);
    assert_int_equal(site_slots(), 63);
    assert_read("a", "1");
    /* Other files still move; this one waits for the operator. */
    S.os.rename_new = mgc_os_real()->rename_new;
    assert_int_equal(site_move("a", NULL), MGC_E_CONFLICT);
    for (int i = 0; i < 64; i++) { /* beyond the ids the strangers took */
        char name[16];

        (void)snprintf(name, sizeof(name), "f%d", i);
        site_file(name, "2");
    }
    assert_int_equal(site_move("f63", NULL), 0);
}

static void unknown_names_are_left_alone(void **state)
{
    (void)state;
    write_over(".mediagcfs/slots/README", "keep");
    write_over(".mediagcfs/slots/012", "keep");
    assert_int_equal(site_restart(false).alarms, 2);
    assert_read(".mediagcfs/slots/README", "keep");
    assert_read(".mediagcfs/slots/012", "keep");
}

static void a_slot_taken_away_is_an_alarm(void **state)
{
    char path[64];
    int64_t id = 0;

    (void)state;
    site_file("a", "1");
    assert_int_equal(site_move("a", &id), 0);
    (void)snprintf(path, sizeof(path), ".mediagcfs/slots/%lld", (long long)id);
    assert_int_equal(unlinkat(S.tree_fd, path, 0), 0);
    assert_int_equal(mgc_quarantine_restore(S.q, id, NULL, false, "t", NULL), MGC_E_CONFLICT);
    S.ahead_us = 40 * 24 * SITE_HOUR;
    assert_int_equal(site_purge(id, site_now_us() - 2000, site_now_us() - 1000, false),
                     MGC_E_CONFLICT);
    assert_int_equal(site_restart(false).alarms, 1);
}

/* ---- a lost catalog (G6) ---- */

static void adopt_and_restore(bool no_xattr)
{
    struct mgc_candidate c[2];
    struct mgc_move_outcome outcomes[2];

    S.no_xattr = no_xattr;
    site_mkdir("docs");
    site_file("docs/a \n\xff.pdf", "1");
    site_symlink("docs/link", "nowhere");
    c[0] = site_candidate("docs/a \n\xff.pdf");
    c[1] = site_candidate("docs/link");
    assert_int_equal(mgc_quarantine_move(S.q, c, 2, 9, outcomes, NULL), 0);
    assert_int_equal(outcomes[0].code, 0);
    assert_int_equal(outcomes[1].code, 0);
    if (no_xattr) { /* a record cut short spoils no other */
        mgc_autofd fd = openat(S.home.home_fd, "manifest", O_WRONLY | O_APPEND | O_CLOEXEC);
        assert_int_equal(write(fd, "deadbeef 1 2", 12), 12);
    }
    assert_int_equal(site_restart(true).adopted, 2);
    assert_int_equal(mgc_quarantine_restore(S.q, outcomes[0].held_id, NULL, false, "t", NULL), 0);
    assert_int_equal(mgc_quarantine_restore(S.q, outcomes[1].held_id, NULL, false, "t", NULL), 0);
    assert_read("docs/a \n\xff.pdf", "1");
    assert_read("docs/link", "nowhere");
    assert_int_equal(site_restart(false).alarms, 0);
}

static void held_files_survive_a_lost_catalog(void **state)
{
    (void)state;
    adopt_and_restore(false);
}

static void held_files_survive_it_by_the_manifest_too(void **state)
{
    (void)state;
    adopt_and_restore(true);
}

/* Q5: a slot that holds another file than its origin says is no one's to list. */
static void a_slot_exchanged_for_another_file_is_not_adopted(void **state)
{
    char path[64];
    int64_t id = 0;

    (void)state;
    S.no_xattr = true; /* the manifest knows the identity; the file here is another */
    site_file("a", "1");
    assert_int_equal(site_move("a", &id), 0);
    (void)snprintf(path, sizeof(path), ".mediagcfs/slots/%lld", (long long)id);
    write_over(".mediagcfs/other", "2");
    assert_int_equal(renameat(S.tree_fd, ".mediagcfs/other", S.tree_fd, path), 0);
    assert_int_equal(site_restart(true).adopted, 0);
    assert_read(path, "2");
}

/* ---- restore ---- */

static void restore_never_overwrites(void **state)
{
    int64_t id = 0;

    (void)state;
    site_mkdir("docs");
    site_file("docs/a", "old");
    assert_int_equal(site_move("docs/a", &id), 0);
    site_file("docs/a", "new");
    assert_int_equal(mgc_quarantine_restore(S.q, id, NULL, false, "t", NULL), -EEXIST);
    assert_read("docs/a", "new");
    assert_int_equal(site_slots(), 1);
    assert_int_equal(S.events[MGC_EVENT_REFUSED], 1);
    assert_int_equal(mgc_quarantine_restore(S.q, id, "../out", false, "t", NULL), -EINVAL);
    assert_int_equal(mgc_quarantine_restore(S.q, id, "docs/sub/b", false, "t", NULL), 0);
    assert_read("docs/sub/b", "old");
    assert_int_equal(status("docs/sub").st_mode & 07777, 0755);
    assert_int_equal(mgc_quarantine_restore(S.q, id, NULL, false, "t", NULL), -ENOENT);
}

static void take_path(void)
{
    write_over("a", "upload");
}

static void a_path_taken_at_the_last_moment_wins(void **state)
{
    int64_t id = 0;

    (void)state;
    site_file("a", "old");
    assert_int_equal(site_move("a", &id), 0);
    S.before_rename = take_path;
    assert_int_equal(mgc_quarantine_restore(S.q, id, NULL, true, "t", NULL), -EEXIST);
    assert_read("a", "upload");
    assert_int_equal(site_slots(), 1);
    assert_int_equal(unlinkat(S.tree_fd, "a", 0), 0);
    assert_int_equal(mgc_quarantine_restore(S.q, id, NULL, true, "t", NULL), 0);
    assert_read("a", "old");
}

static void a_link_in_the_way_is_not_followed(void **state)
{
    int64_t id = 0;

    (void)state;
    site_mkdir("docs");
    site_mkdir("other");
    site_file("docs/a", "1");
    assert_int_equal(site_move("docs/a", &id), 0);
    assert_int_equal(unlinkat(S.tree_fd, "docs", AT_REMOVEDIR), 0);
    assert_int_equal(symlinkat("other", S.tree_fd, "docs"), 0);
    assert_true(mgc_quarantine_restore(S.q, id, NULL, false, "t", NULL) < 0);
    assert_false(site_exists("other/a"));
    assert_int_equal(site_slots(), 1);
    assert_int_equal(site_restart(false).alarms, 0);
}

/* H5: the directory was renamed while the file was held. */
static void a_held_file_follows_its_directory(void **state)
{
    int64_t id = 0;

    (void)state;
    site_mkdir("docs");
    site_file("docs/a", "1");
    assert_int_equal(site_move("docs/a", &id), 0);
    site_rename_dir("docs", "papers");
    assert_int_equal(mgc_quarantine_restore(S.q, id, NULL, false, "t", NULL), 0);
    assert_read("papers/a", "1");
    assert_false(site_exists("docs"));
}

static int dir_path_fails(struct mgc_catalog *c, int64_t dir_id, char *out, size_t out_bytes)
{
    (void)c;
    (void)dir_id;
    (void)out;
    (void)out_bytes;
    return -EIO;
}

/* Not to where the directory was once: the application may have renamed it. */
static void a_directory_that_cannot_be_told_keeps_the_file_held(void **state)
{
    const struct mgc_catalog_ops *real = S.catalog->ops;
    static struct mgc_catalog_ops failing; /* outlives a test that fails */
    int64_t id = 0;

    (void)state;
    site_mkdir("docs");
    site_file("docs/a", "1");
    assert_int_equal(site_move("docs/a", &id), 0);
    site_rename_dir("docs", "papers");
    failing = *real;
    failing.dir_path = dir_path_fails;
    S.catalog->ops = &failing;
    assert_int_equal(mgc_quarantine_restore(S.q, id, NULL, false, "t", NULL), -EIO);
    S.catalog->ops = real;
    assert_false(site_exists("docs"));
    assert_int_equal(mgc_quarantine_restore(S.q, id, NULL, false, "t", NULL), 0);
    assert_read("papers/a", "1");
}

/* ---- purge ---- */

static void purge_needs_its_proofs_and_takes_emptied_directories(void **state)
{
    int64_t id = 0, other = 0, t;

    (void)state;
    site_mkdir("docs");
    site_mkdir("docs/2024");
    site_mkdir("docs/empty");
    site_file("docs/2024/a", "1");
    site_file("docs/2024/b", "2");
    assert_int_equal(site_move("docs/2024/a", &id), 0);
    assert_int_equal(site_move("docs/2024/b", &other), 0);
    t = site_now_us();
    assert_int_equal(site_purge(id, t, t + 1, false), MGC_E_REFUSED);
    S.ahead_us = 31 * 24 * SITE_HOUR;
    assert_int_equal(site_purge(id, t, site_now_us() - 1000, false), MGC_E_REFUSED);
    assert_int_equal(site_slots(), 2);
    t = site_now_us();
    assert_int_equal(site_purge(id, t - 2000, t - 1000, false), 0);
    assert_int_equal(site_slots(), 1);
    assert_true(site_exists("docs/2024")); /* b belongs there */
    assert_int_equal(S.events[MGC_EVENT_PURGE], 1);
    assert_int_equal(S.events[MGC_EVENT_REFUSED], 2);

    assert_int_equal(site_purge(other, t - 2000, t - 1000, false), 0);
    assert_int_equal(site_slots(), 0);
    assert_false(site_exists("docs/2024"));
    assert_true(site_exists("docs/empty")); /* not ours */
    assert_int_equal(site_purge(other, t - 2000, t - 1000, false), -ENOENT);
}

static void purge_now_lifts_the_retention_and_not_the_proofs(void **state)
{
    int64_t id = 0, before = site_now_us();

    (void)state;
    site_file("a", "1");
    assert_int_equal(site_move("a", &id), 0);
    assert_int_equal(site_purge(id, before, site_now_us(), true), MGC_E_REFUSED);
    before = site_now_us();
    S.ahead_us += 1000;
    assert_int_equal(site_purge(id, before, site_now_us(), true), 0);
    assert_int_equal(site_slots(), 0);
}

static void a_pinned_file_is_not_purged(void **state)
{
    int64_t id = 0, t;

    (void)state;
    site_file("a", "1");
    assert_int_equal(site_move("a", &id), 0);
    assert_int_equal(S.catalog->ops->held_pin(S.catalog, id, true, NULL), 0);
    S.ahead_us = 31 * 24 * SITE_HOUR;
    t = site_now_us();
    assert_int_equal(site_purge(id, t - 2000, t - 1000, false), MGC_E_REFUSED);
    assert_int_equal(site_slots(), 1);
}

/* The first proof may be that of a run, stored with the row. */
static void a_run_may_be_the_first_proof(void **state)
{
    int64_t id = 0, t;

    (void)state;
    site_file("a", "1");
    assert_int_equal(site_move("a", &id), 0);
    S.ahead_us = 31 * 24 * SITE_HOUR;
    t = site_now_us();
    assert_int_equal(site_purge(id, 0, t - 1000, false), MGC_E_REFUSED);
    assert_int_equal(S.catalog->ops->held_prove(S.catalog, &id, 1, t - 2000, 3, NULL), 0);
    assert_int_equal(site_purge(id, 0, t - 1000, false), 0);
}

static void a_full_batch_moves_in_one_go(void **state)
{
    struct mgc_candidate *c = calloc(MGC_MOVE_BATCH_MAX, sizeof(*c));
    struct mgc_move_outcome *outcomes = calloc(MGC_MOVE_BATCH_MAX, sizeof(*outcomes));
    char(*paths)[32] = calloc(MGC_MOVE_BATCH_MAX, sizeof(*paths));

    (void)state;
    site_mkdir("d0");
    site_mkdir("d1");
    for (int i = 0; i < MGC_MOVE_BATCH_MAX; i++) {
        (void)snprintf(paths[i], sizeof(paths[i]), "d%d/f%d", i % 2, i);
        site_file(paths[i], "x");
        c[i] = site_candidate(paths[i]);
    }
    assert_int_equal(mgc_quarantine_move(S.q, c, MGC_MOVE_BATCH_MAX, 1, outcomes, NULL), 0);
    for (int i = 0; i < MGC_MOVE_BATCH_MAX; i++)
        assert_int_equal(outcomes[i].code, 0);
    assert_int_equal(site_slots(), MGC_MOVE_BATCH_MAX);
    assert_int_equal(S.events[MGC_EVENT_MOVE], MGC_MOVE_BATCH_MAX);
    free(c);
    free(outcomes);
    free(paths);
}

struct half {
    struct mgc_candidate c[8];
    struct mgc_move_outcome outcomes[8];
    char paths[8][32];
    int r;
};

static void *move_half(void *arg)
{
    struct half *h = arg;

    h->r = mgc_quarantine_move(S.q, h->c, 8, 1, h->outcomes, NULL);
    return NULL;
}

static void two_threads_share_a_quarantine(void **state)
{
    struct half *h = calloc(2, sizeof(*h));
    pthread_t threads[2];

    (void)state;
    assert_non_null(h);
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < 8; i++) {
            (void)snprintf(h[t].paths[i], sizeof(h[t].paths[i]), "t%d-%d", t, i);
            site_file(h[t].paths[i], "x");
        }
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < 8; i++)
            h[t].c[i] = site_candidate(h[t].paths[i]);
    for (int t = 0; t < 2; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, move_half, &h[t]), 0);
    for (int t = 0; t < 2; t++) {
        assert_int_equal(pthread_join(threads[t], NULL), 0);
        assert_int_equal(h[t].r, 0);
        for (int i = 0; i < 8; i++)
            assert_int_equal(h[t].outcomes[i].code, 0);
    }
    assert_int_equal(site_slots(), 16);
    free(h);
}

#define SITE_TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SITE_TEST(a_file_comes_back_whole),
        SITE_TEST(a_file_replaced_while_it_is_moved_stays),
        SITE_TEST(a_file_replaced_since_it_was_judged_stays),
        SITE_TEST(a_file_with_a_writer_stays),
        SITE_TEST(a_writer_that_comes_during_the_move_gets_its_file),
        SITE_TEST(what_is_younger_than_the_horizon_stays),
        SITE_TEST(the_old_path_of_a_renamed_directory_is_gone),
        SITE_TEST(what_cannot_be_moved_safely_stays),
        SITE_TEST(one_path_twice_in_a_batch_moves_once),
        SITE_TEST(nothing_moves_before_recovery),
        SITE_TEST(a_foreign_slot_is_an_alarm),
        SITE_TEST(unknown_names_are_left_alone),
        SITE_TEST(a_slot_taken_away_is_an_alarm),
        SITE_TEST(held_files_survive_a_lost_catalog),
        SITE_TEST(held_files_survive_it_by_the_manifest_too),
        SITE_TEST(a_slot_exchanged_for_another_file_is_not_adopted),
        SITE_TEST(restore_never_overwrites),
        SITE_TEST(a_path_taken_at_the_last_moment_wins),
        SITE_TEST(a_link_in_the_way_is_not_followed),
        SITE_TEST(a_held_file_follows_its_directory),
        SITE_TEST(a_directory_that_cannot_be_told_keeps_the_file_held),
        SITE_TEST(purge_needs_its_proofs_and_takes_emptied_directories),
        SITE_TEST(purge_now_lifts_the_retention_and_not_the_proofs),
        SITE_TEST(a_pinned_file_is_not_purged),
        SITE_TEST(a_run_may_be_the_first_proof),
        SITE_TEST(a_full_batch_moves_in_one_go),
        SITE_TEST(two_threads_share_a_quarantine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
