/* Our directory in the tree: made, found again, locked, refused where it is not ours, ids kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fs/media/home_priv.h"

static char root[64];
static int root_fd = -1;
static struct mgc_home home;
static struct mgc_err err;

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(root, sizeof(root), "/dev/shm/mgc-home-XXXXXX");
    if (mkdtemp(root) == NULL || chdir(root) < 0)
        return -1;
    root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    memset(&home, 0, sizeof(home));
    memset(&err, 0, sizeof(err));
    return root_fd < 0 ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    mgc_home_close(&home);
    (void)close(root_fd);
    (void)umask(022);
    return chdir("/") < 0 ? -1 : nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int open_it(void)
{
    return mgc_home_open(mgc_os_real(), root_fd, &home, &err);
}

static void put(const char *path, const char *text)
{
    mgc_autofd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void get(const char *path, char *out, size_t bytes)
{
    mgc_autofd fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    assert_true(fd >= 0);
    n = read(fd, out, bytes - 1);
    assert_true(n >= 0);
    out[n] = '\0';
}

static uint32_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

static void it_is_made_with_exact_modes_whatever_the_umask(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        (void)umask(i == 0 ? 0 : 0777);
        assert_int_equal(open_it(), 0);
        assert_true(home.created);
        assert_false(home.slots_elsewhere);
        assert_int_equal(home.reserved_id, 1);
        assert_int_equal(strlen(home.tree_id), 32);
        assert_int_equal(mode_of(".mediagcfs"), 0700);
        assert_int_equal(mode_of(".mediagcfs/slots"), 0700);
        assert_int_equal(mode_of(".mediagcfs/tree"), 0600);
        assert_int_equal(mode_of(".mediagcfs/ids"), 0600);
        assert_int_equal(mode_of(".mediagcfs/lock"), 0600);
        assert_true((fcntl(home.lock_fd, F_GETFD) & FD_CLOEXEC) != 0);
        assert_true((fcntl(home.home_fd, F_GETFD) & FD_CLOEXEC) != 0);
        assert_true((fcntl(home.slots_fd, F_GETFD) & FD_CLOEXEC) != 0);
        mgc_home_close(&home);
        (void)umask(022);
        assert_int_equal(rename(".mediagcfs", i == 0 ? "one" : "two"), 0);
    }
}

static void it_is_found_again_with_its_id(void **state)
{
    char id[33];

    (void)state;
    assert_int_equal(open_it(), 0);
    memcpy(id, home.tree_id, sizeof(id));
    mgc_home_close(&home);
    mgc_home_close(&home);                          /* twice is nothing */
    assert_int_equal(chmod(".mediagcfs", 0755), 0); /* chmod -R of the tree */
    assert_int_equal(open_it(), 0);
    assert_false(home.created);
    assert_string_equal(home.tree_id, id);
    assert_int_equal(mode_of(".mediagcfs"), 0700);
}

static void a_second_opener_is_told_who_has_it(void **state)
{
    struct mgc_home second = {0};
    char want[64];

    (void)state;
    assert_int_equal(open_it(), 0);
    assert_int_equal(mgc_home_open(mgc_os_real(), root_fd, &second, &err), MGC_E_BUSY);
    (void)snprintf(want, sizeof(want), "process %ld has it", (long)getpid());
    assert_non_null(strstr(err.text, want));
    assert_non_null(strstr(err.hint, "unmount"));
    assert_null(second.os); /* not written */
    mgc_home_close(&home);
    assert_int_equal(open_it(), 0); /* and the loser did not break anything */
}

static void a_second_process_is_refused_and_the_lock_ends_with_its_holder(void **state)
{
    int ready[2], status = 0;
    char byte = 0;
    pid_t child;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int r = open_it();
        if (write(ready[1], r == 0 ? "+" : "-", 1) == 1)
            for (;;)
                (void)pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, '+');
    assert_int_equal(open_it(), MGC_E_BUSY);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(open_it(), 0);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void closing_unlocks_even_if_a_forked_child_has_the_descriptor(void **state)
{
    int status = 0;
    pid_t child;

    (void)state;
    assert_int_equal(open_it(), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        for (;;)
            (void)pause();
    mgc_home_close(&home);
    assert_int_equal(open_it(), 0);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
}

static void a_replaced_lock_file_does_not_lock(void **state)
{
    struct mgc_home second = {0};

    (void)state;
    assert_int_equal(open_it(), 0);
    assert_int_equal(rename(".mediagcfs/lock", "gone"), 0);
    /* The first holds the lock of a file that nobody finds any more; the second gets the new one.
     * What matters: having a lock means having the one that the name shows. */
    assert_int_equal(mgc_home_open(mgc_os_real(), root_fd, &second, &err), 0);
    struct stat held, named;
    assert_int_equal(fstat(second.lock_fd, &held), 0);
    assert_int_equal(stat(".mediagcfs/lock", &named), 0);
    assert_int_equal(held.st_ino, named.st_ino);
    mgc_home_close(&second);
}

/* ---- not ours ---- */

static void make_foreign_dir(void)
{
    assert_int_equal(mkdir(".mediagcfs", 0700), 0);
    put(".mediagcfs/photo.jpg", "x");
}
static void make_foreign_tree_file(void)
{
    assert_int_equal(mkdir(".mediagcfs", 0700), 0);
    put(".mediagcfs/tree", "oak\n");
}
static void make_file(void)
{
    put(".mediagcfs", "x");
}
static void make_symlink(void)
{
    assert_int_equal(mkdir("elsewhere", 0700), 0);
    assert_int_equal(symlink("elsewhere", ".mediagcfs"), 0);
}
static void make_foreign_owner(void)
{
    assert_int_equal(mkdir(".mediagcfs", 0700), 0);
    assert_int_equal(chown(".mediagcfs", 65534, 65534), 0);
}
static void make_and_lose_tree(void)
{
    assert_int_equal(open_it(), 0);
    assert_int_equal(mgc_home_reserve(&home, 5, NULL), 0);
    mgc_home_close(&home);
    assert_int_equal(unlink(".mediagcfs/tree"), 0);
}
static void make_held_without_tree(void)
{
    assert_int_equal(open_it(), 0);
    mgc_home_close(&home);
    put(".mediagcfs/slots/7", "held");
    assert_int_equal(unlink(".mediagcfs/tree"), 0);
}
static void make_and_lose_slots(void)
{
    assert_int_equal(open_it(), 0);
    mgc_home_close(&home);
    assert_int_equal(rmdir(".mediagcfs/slots"), 0);
}
static void make_slots_a_link(void)
{
    make_and_lose_slots();
    assert_int_equal(symlink("..", ".mediagcfs/slots"), 0);
}
static void make_and_lose_ids(void)
{
    assert_int_equal(open_it(), 0);
    mgc_home_close(&home);
    assert_int_equal(unlink(".mediagcfs/ids"), 0);
}
static void make_damaged_ids(void)
{
    char text[256];

    assert_int_equal(open_it(), 0);
    assert_int_equal(mgc_home_reserve(&home, 41999999, NULL), 0);
    mgc_home_close(&home);
    get(".mediagcfs/ids", text, sizeof(text));
    *strchr(text, '4') = '1'; /* 12000000: still a number, and lower */
    put(".mediagcfs/ids", text);
}
static void make_empty_ids(void)
{
    make_and_lose_ids();
    put(".mediagcfs/ids", "");
}
static void make_wordy_ids(void)
{
    make_and_lose_ids();
    put(".mediagcfs/ids", "at least some\n");
}

static const struct {
    const char *what;
    void (*make)(void);
    int want;
    const char *text, *hint;
} refusals[] = {
    /* clang-format off */
    {"a directory of somebody else", make_foreign_dir,       MGC_E_CONFLICT, "other content",   "move it out"},
    {"with a file of our name",      make_foreign_tree_file, MGC_E_CONFLICT, "'tree'",          "move it out"},
    {"a file",                       make_file,              MGC_E_CONFLICT, "not a directory", "move it out"},
    {"a symlink to a directory",     make_symlink,           MGC_E_CONFLICT, "not a directory", "move it out"},
    {"another owner",                make_foreign_owner,     MGC_E_CONFLICT, "user 65534",      "chown"},
    {"tree lost, ids were given",    make_and_lose_tree,     MGC_E_CONFLICT, "'tree'",          "backup"},
    {"tree lost, files are held",    make_held_without_tree, MGC_E_CONFLICT, "'tree'",          "backup"},
    {"slots lost",                   make_and_lose_slots,    MGC_E_CONFLICT, "slots",           "mkdir"},
    {"slots lead somewhere else",    make_slots_a_link,      MGC_E_CONFLICT, "slots",           "mkdir"},
    {"ids lost",                     make_and_lose_ids,      MGC_E_CORRUPT,  "gone",            "at least N"},
    {"ids damaged",                  make_damaged_ids,       MGC_E_CORRUPT,  "damaged",         "at least N"},
    {"ids empty",                    make_empty_ids,         MGC_E_CORRUPT,  "damaged",         "at least N"},
    {"ids by hand, but no number",   make_wordy_ids,         MGC_E_CORRUPT,  "damaged",         "at least N"},
    /* clang-format on */
};

static void what_is_not_ours_or_lost_a_part_is_refused(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        int r;

        memset(&home, 0, sizeof(home));
        memset(&err, 0, sizeof(err));
        refusals[i].make();
        r = open_it();
        if (r != refusals[i].want || strstr(err.text, refusals[i].text) == NULL ||
            strstr(err.hint, refusals[i].hint) == NULL)
            fail_msg("%s: %d '%s' '%s'", refusals[i].what, r, err.text, err.hint);
        assert_non_null(strstr(err.text, ".mediagcfs"));
        assert_null(home.os);
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
    }
}

static void a_refused_directory_is_left_as_it_was(void **state)
{
    struct stat before, after;

    (void)state;
    make_foreign_dir();
    assert_int_equal(chmod(".mediagcfs", 0755), 0);
    assert_int_equal(stat(".mediagcfs", &before), 0);
    assert_int_equal(open_it(), MGC_E_CONFLICT);
    assert_int_equal(stat(".mediagcfs", &after), 0);
    assert_memory_equal(&before.st_ctim, &after.st_ctim, sizeof(before.st_ctim));
    assert_int_equal(access(".mediagcfs/lock", F_OK), -1);
}

static void a_newer_version_is_refused_not_misread(void **state)
{
    (void)state;
    assert_int_equal(open_it(), 0);
    mgc_home_close(&home);
    put(".mediagcfs/tree", "mediagcfs tree 2\nid anything\ncheck 1314279b0fc6295b\n");
    assert_int_equal(open_it(), MGC_E_VERSION);
}

/* ---- cut short ---- */

static void a_start_that_was_cut_short_is_begun_again(void **state)
{
    (void)state;
    /* Everything up to the rename that makes `tree`. */
    assert_int_equal(mkdir(".mediagcfs", 0700), 0);
    assert_int_equal(open_it(), 0); /* an empty one */
    assert_true(home.created);
    mgc_home_close(&home);
    assert_int_equal(rename(".mediagcfs/tree", ".mediagcfs/tree.new"), 0);
    put(".mediagcfs/ids.new", "half a rec");
    assert_int_equal(open_it(), 0);
    assert_true(home.created);
    assert_int_equal(mgc_home_reserve(&home, 10, &err), 0);
}

static struct mgc_os broken;
static int sync_fails(struct mgc_os *os, int fd)
{
    (void)os;
    (void)fd;
    return -EIO;
}

static void a_reservation_that_may_not_be_durable_does_not_count(void **state)
{
    (void)state;
    assert_int_equal(open_it(), 0);
    broken = *mgc_os_real();
    broken.sync_dir = sync_fails;
    home.os = &broken;
    assert_int_equal(mgc_home_reserve(&home, 1000, &err), -EIO);
    assert_int_equal(home.reserved_id, 1);
    home.os = mgc_os_real();
    assert_int_equal(mgc_home_reserve(&home, 1000, &err), 0);
    assert_int_equal(home.reserved_id, 1001);
}

/* H11: no opening gives an id that another could have given. */
static void ids_never_fall(void **state)
{
    (void)state;
    assert_int_equal(open_it(), 0);
    assert_int_equal(mgc_home_reserve(&home, 1000000, &err), 0);
    assert_int_equal(mgc_home_reserve(&home, 500, &err), 0); /* lower: nothing */
    mgc_home_close(&home);                                   /* as after a crash */
    put(".mediagcfs/ids.new", "mediagcfs ids 1\nnext 2000"); /* and a write cut short */
    assert_int_equal(open_it(), 0);
    assert_int_equal(home.reserved_id, 1000001);
    assert_int_equal(mgc_home_reserve(&home, 2000000, &err), 0);
    assert_int_equal(mgc_home_settle_ids(&home, 1000001 + 37, &err), 0);
    mgc_home_close(&home);
    assert_int_equal(open_it(), 0); /* an orderly stop spends none */
    assert_int_equal(home.reserved_id, 1000038);
    assert_int_equal(mgc_home_settle_ids(&home, 1000000, &err), MGC_E_CORRUPT);
    mgc_home_close(&home);
    assert_int_equal(open_it(), 0);
    assert_int_equal(home.reserved_id, 1000038);
    assert_int_equal(mgc_home_reserve(&home, INT64_MAX, &err), MGC_E_LIMIT);
}

static void a_mark_written_by_hand_is_taken_and_replaced(void **state)
{
    char text[256];

    (void)state;
    make_and_lose_ids();
    put(".mediagcfs/ids", "at least 5000000\n");
    assert_int_equal(open_it(), 0);
    assert_int_equal(home.reserved_id, 5000000);
    assert_int_equal(mgc_home_reserve(&home, 6000000, &err), 0);
    get(".mediagcfs/ids", text, sizeof(text));
    assert_non_null(strstr(text, "next 6000001\ncheck "));
}

/* ---- another tree ---- */

static void another_tree_is_noticed(void **state)
{
    (void)state;
    assert_int_equal(open_it(), 0);
    assert_int_equal(mgc_home_check(&home, &err), 0);
    assert_int_equal(rename(".mediagcfs", "away"), 0); /* the disk is not mounted */
    assert_int_equal(mgc_home_check(&home, &err), MGC_E_IDENTITY);
    assert_int_equal(mkdir(".mediagcfs", 0700), 0);
    assert_int_equal(mgc_home_check(&home, &err), MGC_E_IDENTITY);
    assert_int_equal(rmdir(".mediagcfs"), 0);
    struct mgc_home other = {0};
    assert_int_equal(mgc_home_open(mgc_os_real(), root_fd, &other, &err), 0);
    mgc_home_close(&other);
    assert_int_equal(mgc_home_check(&home, &err), MGC_E_IDENTITY);
    assert_non_null(strstr(err.text, home.tree_id));
    assert_int_equal(rename(".mediagcfs", "other"), 0);
    assert_int_equal(rename("away", ".mediagcfs"), 0);
    assert_int_equal(mgc_home_check(&home, &err), 0);
}

/* In a mount namespace of its own; the exit status says what was found. */
static int in_child(int (*body)(void))
{
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(99);
        _exit(body());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The root once more, as this mount namespace shows it. */
static int enter(void)
{
    (void)close(root_fd);
    root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return root_fd < 0 ? -1 : chdir(root);
}
static int open_with_slots_on_tmpfs(void)
{
    if (mount("none", ".mediagcfs/slots", "tmpfs", 0, NULL) < 0 || enter() < 0)
        return 98;
    return open_it() == 0 ? home.slots_elsewhere : 97;
}
static int open_with_slots_bound(void)
{
    if (mkdir("other", 0700) < 0 || mount("other", ".mediagcfs/slots", NULL, MS_BIND, NULL) < 0 ||
        enter() < 0)
        return 98;
    return open_it() == 0 ? home.slots_elsewhere : 97;
}
static int open_read_only(void)
{
    if (mount(root, root, NULL, MS_BIND, NULL) < 0 ||
        mount(NULL, root, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0 || enter() < 0)
        return 98;
    return open_it() == -EROFS && strstr(err.hint, "read-write") != NULL;
}

static void slots_on_another_filesystem_are_told(void **state)
{
    (void)state;
    assert_int_equal(open_it(), 0);
    mgc_home_close(&home);
    assert_int_equal(in_child(open_with_slots_on_tmpfs), 1);
    assert_int_equal(in_child(open_with_slots_bound), 1);
}

static void a_read_only_tree_is_told(void **state)
{
    (void)state;
    assert_int_equal(in_child(open_read_only), 1); /* nothing made yet */
    assert_int_equal(open_it(), 0);
    mgc_home_close(&home);
    assert_int_equal(in_child(open_read_only), 1); /* made before */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_is_made_with_exact_modes_whatever_the_umask),
        TEST(it_is_found_again_with_its_id),
        TEST(a_second_opener_is_told_who_has_it),
        TEST(a_second_process_is_refused_and_the_lock_ends_with_its_holder),
        TEST(closing_unlocks_even_if_a_forked_child_has_the_descriptor),
        TEST(a_replaced_lock_file_does_not_lock),
        TEST(what_is_not_ours_or_lost_a_part_is_refused),
        TEST(a_refused_directory_is_left_as_it_was),
        TEST(a_newer_version_is_refused_not_misread),
        TEST(a_start_that_was_cut_short_is_begun_again),
        TEST(a_reservation_that_may_not_be_durable_does_not_count),
        TEST(ids_never_fall),
        TEST(a_mark_written_by_hand_is_taken_and_replaced),
        TEST(another_tree_is_noticed),
        TEST(slots_on_another_filesystem_are_told),
        TEST(a_read_only_tree_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
