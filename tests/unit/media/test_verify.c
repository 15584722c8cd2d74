/* Verification of a real tree against a real catalog, both in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fs/media/recorder_priv.h"
#include "fs/media/verify_priv.h"
#include "mediagcfs/bytes.h"
#include "mediagcfs/path.h"
#include "mediagcfs/verify.h"

#define NEVER_US (INT64_C(3600) * 1000000)

static char base[64];
static int root_fd = -1;
static struct mgc_catalog *catalog;
static struct mgc_recorder *recorder;
static struct mgc_os os; /* the real one, with the members a test bends */
static struct mgc_verify_result result;
static struct mgc_err err;
static bool everything;

static int reserve(void *arg, int64_t up_to, struct mgc_err *e)
{
    (void)arg;
    (void)up_to;
    (void)e;
    return 0;
}

static int open_catalog(void)
{
    char directory[96];
    struct mgc_catalog_spec spec = {
        .directory = directory, .reserved_id = 1, .reserve = reserve, .mode = 0600, .gid = -1};

    (void)snprintf(directory, sizeof(directory), "%s/catalog", base);
    return mgc_catalog_open_sqlite(&spec, &catalog, &err);
}

/* The tree becomes the working directory. */
static int set_up(void **state)
{
    char path[96];

    (void)state;
    (void)snprintf(base, sizeof(base), "/dev/shm/mgc-verify-XXXXXX");
    if (mkdtemp(base) == NULL || chmod(base, 0755) < 0)
        return -1;
    (void)snprintf(path, sizeof(path), "%s/catalog", base);
    if (mkdir(path, 0700) < 0)
        return -1;
    (void)snprintf(path, sizeof(path), "%s/tree", base);
    if (mkdir(path, 0755) < 0 || chdir(path) < 0 || mkdir(MGC_PRIVATE_DIR, 0700) < 0)
        return -1;
    root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    os = *mgc_os_real();
    memset(&err, 0, sizeof(err));
    recorder = NULL;
    everything = false;
    return open_catalog();
}

/* By a program that manages paths of any length. */
static int remove_all(const char *path)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        (void)execlp("rm", "rm", "-rf", path, (char *)NULL);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return status == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    if (recorder != NULL && mgc_recorder_stop(recorder, &err) != 0)
        return -1;
    mgc_catalog_close(catalog);
    (void)close(root_fd);
    return chdir("/") < 0 ? -1 : remove_all(base);
}

static void start_recorder(int64_t commit_every_us)
{
    struct mgc_recorder_spec spec = {
        .catalog = catalog, .os = &os, .commit_every_us = commit_every_us};
    assert_int_equal(mgc_recorder_start(&spec, &recorder, &err), 0);
}

static int verify(void)
{
    struct mgc_verify_spec spec = {.os = &os,
                                   .catalog = catalog,
                                   .recorder = recorder,
                                   .root_fd = root_fd,
                                   .everything = everything};
    memset(&result, 0, sizeof(result));
    return mgc_verify(&spec, &result, &err);
}

static void verify_well(void)
{
    int r = verify();

    if (r != 0)
        fail_msg("verify: %d '%s'", r, err.text);
}

static void put(const char *path, const char *text)
{
    mgc_autofd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int copy_entry(void *arg, const struct mgc_entry *e)
{
    struct mgc_entry *to = arg;

    if (to != NULL)
        *to = *e;
    return 0;
}

static bool has(const char *path, struct mgc_entry *ret)
{
    return catalog->ops->entry_by_path(catalog, path, copy_entry, ret) == 0;
}

static int64_t dir_id(const char *path)
{
    struct mgc_dir dir = {0};
    return catalog->ops->dir_find(catalog, path, &dir) == 0 ? dir.id : 0;
}

static int64_t entries(void)
{
    int64_t count = -1, bytes = -1;

    assert_int_equal(catalog->ops->totals(catalog, &count, &bytes), 0);
    return count;
}

static int64_t incomplete(void)
{
    return mgc_catalog_meta(catalog, MGC_META_INCOMPLETE, -1);
}

/* ---- the plain cases ---- */

static void a_tree_is_imported_with_what_it_has(void **state)
{
    struct mgc_entry e = {0};
    int64_t before_us = mgc_now_us();
    struct stat st;

    (void)state;
    assert_int_equal(mkdir("a", 0755), 0);
    assert_int_equal(mkdir("a/b", 0755), 0);
    assert_int_equal(mkdir("empty", 0755), 0);
    put("root.txt", "12345");
    put("a/b/deep.txt", "123");
    put(MGC_PRIVATE_DIR "/tree", "secret");
    assert_int_equal(symlink("b/deep.txt", "a/link"), 0);
    assert_int_equal(symlink("a", "latest"), 0); /* to a directory: an entry, not a way */
    assert_int_equal(mkfifo("a/fifo", 0600), 0);
    assert_int_equal(mknod("a/socket", S_IFSOCK | 0600, 0), 0);
    assert_int_equal(catalog->ops->meta_set(catalog, MGC_META_INCOMPLETE, 1, &err), 0);

    verify_well();
    assert_int_equal(entries(), 4);
    assert_int_equal(result.entries, 4);
    assert_int_equal(result.added, 4);
    assert_int_equal(result.dirs, 4);
    assert_int_equal(result.problems, 0);
    assert_true(has("root.txt", &e));
    assert_int_equal(stat("root.txt", &st), 0);
    assert_int_equal(e.size_bytes, 5);
    assert_int_equal(e.file_id.ino, st.st_ino);
    assert_true(e.born_us >= before_us); /* when first seen, not its times */
    assert_int_equal(e.uid, (uint32_t)-1);
    assert_true(has("a/b/deep.txt", NULL));
    assert_true(has("a/link", &e));
    assert_int_equal(e.kind, MGC_KIND_SYMLINK);
    assert_true(has("latest", NULL));
    assert_false(has("a/fifo", NULL));
    assert_false(has("a/socket", NULL));
    assert_int_equal(dir_id(MGC_PRIVATE_DIR), 0);
    assert_true(dir_id("empty") > 0);
    assert_int_equal(incomplete(), 0);
    assert_true(mgc_catalog_meta(catalog, MGC_META_VERIFIED, 0) >= before_us);
}

static void what_vanished_or_was_replaced_is_found(void **state)
{
    struct mgc_entry kept = {0}, before = {0}, after = {0};

    (void)state;
    assert_int_equal(mkdir("d", 0755), 0);
    assert_int_equal(mkdir("d/sub", 0755), 0);
    put("d/kept", "1");
    put("d/gone", "1");
    put("d/replaced", "1");
    put("d/sub/x", "1");
    put("turns", "1");
    verify_well();
    assert_true(has("d/replaced", &before));
    assert_true(has("d/kept", &kept));

    assert_int_equal(unlink("d/gone"), 0);
    put("d/new", "22");
    assert_int_equal(rename("d/new", "d/replaced"), 0);
    assert_int_equal(unlink("d/sub/x"), 0);
    assert_int_equal(rmdir("d/sub"), 0);
    assert_int_equal(unlink("turns"), 0);
    assert_int_equal(mkdir("turns", 0755), 0);
    put("turns/inside", "1");
    verify_well();
    assert_false(has("d/gone", NULL));
    assert_false(has("d/sub/x", NULL));
    assert_int_equal(dir_id("d/sub"), 0);
    assert_false(has("turns", NULL));
    assert_true(has("turns/inside", NULL));
    assert_true(has("d/replaced", &after));
    assert_int_equal(after.size_bytes, 2);
    assert_true(after.born_us > before.born_us); /* another file: born when it was seen */
    assert_true(has("d/kept", &after));
    assert_int_equal(after.born_us, kept.born_us);
    assert_int_equal(entries(), 3);
}

static void names_are_bytes(void **state)
{
    char longest[MGC_NAME_BYTES_MAX + 1], name[8] = {0}, path[32];
    int made = 0;

    (void)state;
    memset(longest, 'n', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    put(longest, "1");
    put("line\nbreak", "1");
    put("...", "1");
    put(".mediagcfs2", "1");
    assert_int_equal(mkdir("bytes", 0755), 0);
    for (int c = 1; c < 256; c++) {
        name[0] = (char)c;
        if (c == '/' || c == '.')
            continue;
        (void)snprintf(path, sizeof(path), "bytes/%s", name);
        put(path, "1");
        made++;
    }
    assert_int_equal(mkdir("bytes/" MGC_PRIVATE_DIR, 0755), 0); /* ours only at the root */
    put("bytes/" MGC_PRIVATE_DIR "/x", "1");
    verify_well();
    assert_int_equal(entries(), made + 5);
    assert_true(has(longest, NULL));
    assert_true(has("line\nbreak", NULL));
    assert_true(has("bytes/\xff", NULL));
    verify_well(); /* sorted as the rows are: nothing differs */
    assert_int_equal(result.added + result.removed + result.changed, 0);
}

static void a_deep_tree_is_walked(void **state)
{
    enum { DEPTH = 600 };
    mgc_autobuf path = {0};
    struct mgc_entry e;

    (void)state;
    for (int i = 0; i < DEPTH; i++) {
        assert_int_equal(mkdir("d", 0755), 0);
        assert_int_equal(chdir("d"), 0);
        mgc_buf_adds(&path, "d/");
    }
    put("bottom", "1");
    mgc_buf_adds(&path, "bottom");
    verify_well();
    assert_int_equal(result.dirs, DEPTH + 1);
    assert_true(has(path.data, &e));
}

static void a_path_beyond_the_bound_is_told_not_cut(void **state)
{
    char name[MGC_NAME_BYTES_MAX + 1];

    (void)state;
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    for (int i = 0; i < 15; i++) {
        assert_int_equal(mkdir(name, 0755), 0);
        assert_int_equal(chdir(name), 0);
    }
    put("fits", "1");
    verify_well();
    put(name, "1"); /* 16 * 255 + 15 = 4095: just so */
    verify_well();
    assert_int_equal(entries(), 2);
    name[0] = 'y';
    assert_int_equal(mkdir(name, 0755), 0);
    assert_int_equal(chdir(name), 0);
    put("z", "1");
    assert_int_equal(verify(), MGC_E_INCOMPLETE);
    assert_non_null(strstr(err.text, strerror(ENAMETOOLONG)));
    assert_int_equal(incomplete(), 1);
}

/* ---- H9 ---- */

static void a_directory_is_unchanged_only_if_it_lay_in_the_past(void **state)
{
    static const struct {
        const char *what;
        int64_t changed_us, verified_us, now_ctime_us;
        bool want;
    } rows[] = {
        /* clang-format off */
        {"well in the past",        10000000, 12000000, 10000000, true},
        {"within the same tick",    10000000, 10000000, 10000000, false},
        {"a little too fresh",      10000000, 11999999, 10000000, false},
        {"changed since",           10000000, 50000000, 10000001, false},
        {"set back",                10000000, 50000000,  9999999, false},
        {"never read",                     0,        0,        0, false},
        {"from the future",         90000000, 50000000, 90000000, false},
        /* clang-format on */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mgc_dir row = {.changed_us = rows[i].changed_us, .verified_us = rows[i].verified_us};
        struct mgc_file_stat now = {.ctime_us = rows[i].now_ctime_us};

        if (mgc_verify_unchanged(&row, &now) != rows[i].want)
            fail_msg("%s", rows[i].what);
    }
}

/* A filesystem whose clock stands still, and a wall clock that a test sets. */
static int64_t fixed_ctime_us, fixed_now_us;
static int stat_in_one_tick(struct mgc_os *o, int fd, const char *name, struct mgc_file_stat *ret)
{
    int r = mgc_os_real()->stat(o, fd, name, ret);

    if (r == 0)
        ret->ctime_us = fixed_ctime_us;
    return r;
}
static int64_t now_as_set(struct mgc_os *o)
{
    (void)o;
    return fixed_now_us;
}

static void a_change_in_the_tick_of_the_scan_is_found_later(void **state)
{
    (void)state;
    os.stat = stat_in_one_tick;
    os.now_us = now_as_set;
    fixed_ctime_us = INT64_C(1700000000) * 1000000;
    fixed_now_us = fixed_ctime_us + 1000;
    verify_well();
    put("late", "1"); /* same change time of the root as when it was read */
    verify_well();
    assert_true(has("late", NULL));
    assert_int_equal(result.dirs_skipped, 0);

    fixed_now_us = fixed_ctime_us + 5 * 1000000;
    verify_well(); /* read once more, now well after the tick */
    assert_int_equal(result.dirs_skipped, 0);
    verify_well();
    assert_int_equal(result.dirs_skipped, 1);
}

static void unchanged_directories_are_skipped_but_not_those_beneath(void **state)
{
    (void)state;
    assert_int_equal(mkdir("a", 0755), 0);
    assert_int_equal(mkdir("a/b", 0755), 0);
    put("a/file", "1");
    put("a/b/file", "1");
    os.now_us = now_as_set;
    fixed_now_us = mgc_now_us() + 10 * 1000000; /* the tree lies in the past */
    verify_well();
    assert_int_equal(result.dirs_skipped, 0);
    verify_well();
    assert_int_equal(result.dirs, 3);
    assert_int_equal(result.dirs_skipped, 3);
    assert_int_equal(result.entries, 2);

    put("a/b/new", "1");
    verify_well();
    assert_int_equal(result.dirs_skipped, 2);
    assert_int_equal(result.added, 1);
    assert_true(has("a/b/new", NULL));

    everything = true;
    verify_well();
    assert_int_equal(result.dirs_skipped, 0);
}

/* ---- what cannot be read ---- */

static int stat_refuses_b(struct mgc_os *o, int fd, const char *name, struct mgc_file_stat *ret)
{
    return strcmp(name, "unwilling") == 0 ? -EIO : mgc_os_real()->stat(o, fd, name, ret);
}

static void one_name_that_cannot_be_told_keeps_its_directory_as_it_is(void **state)
{
    (void)state;
    assert_int_equal(mkdir("d", 0755), 0);
    put("d/a", "1");
    put("d/unwilling", "1");
    verify_well();
    assert_int_equal(unlink("d/a"), 0);
    put("other", "1");
    os.stat = stat_refuses_b;
    everything = true;
    assert_int_equal(verify(), MGC_E_INCOMPLETE);
    assert_non_null(strstr(err.text, "'d'"));
    assert_non_null(strstr(err.hint, "scan"));
    assert_int_equal(result.problems, 1);
    assert_true(has("d/a", NULL)); /* unknown means keep */
    assert_true(has("d/unwilling", NULL));
    assert_true(has("other", NULL)); /* the rest went on */
    assert_int_equal(incomplete(), 1);
    os.stat = mgc_os_real()->stat;
    verify_well();
    assert_false(has("d/a", NULL));
    assert_int_equal(incomplete(), 0);
}

/* In a child without privileges, with a catalog of its own.  Returns what went wrong, or 0. */
static int verify_as_nobody(void)
{
    if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
        return 2;
    if (open_catalog() < 0)
        return 3;
    if (verify() != MGC_E_INCOMPLETE || strstr(err.text, "'closed'") == NULL)
        return 4;
    if (strstr(err.text, strerror(EACCES)) == NULL)
        return 5;
    if (!has("open/file", NULL) || has("closed/file", NULL) || incomplete() != 1)
        return 6;
    if (chmod("closed", 0400) < 0) /* may be read, but not searched */
        return 7;
    if (verify() != MGC_E_INCOMPLETE || result.problems != 1 || has("closed/file", NULL))
        return 8;
    if (chmod("closed", 0755) < 0 || verify() != 0 || !has("closed/file", NULL))
        return 9;
    return incomplete() == 0 ? 0 : 10;
}

static void an_unreadable_directory_makes_it_incomplete(void **state)
{
    char path[96];
    int status = 0;
    pid_t child;

    (void)state;
    mgc_catalog_close(catalog); /* a handle does not survive a fork */
    assert_int_equal(mkdir("open", 0755), 0);
    assert_int_equal(mkdir("closed", 0755), 0);
    put("open/file", "1");
    put("closed/file", "1");
    (void)snprintf(path, sizeof(path), "%s/catalog", base);
    assert_int_equal(remove_all(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_int_equal(chown("closed", 65534, 65534), 0);
    assert_int_equal(chmod("closed", 0), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(verify_as_nobody());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(open_catalog(), 0);
}

/* ---- other filesystems ---- */

static int verify_with_a_mount_inside(void)
{
    char path[96];

    (void)snprintf(path, sizeof(path), "%s/tree", base);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "inner", "tmpfs", 0, NULL) < 0)
        return 2;
    (void)close(root_fd);
    root_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0 || mkdir("inner/d", 0755) < 0)
        return 3;
    put("inner/d/file", "1");
    if (open_catalog() < 0 || verify() != 0)
        return 4;
    return has("inner/d/file", NULL) && result.elsewhere == 2 ? 0 : 5;
}

static void a_mount_inside_is_walked_and_told(void **state)
{
    int status = 0;
    pid_t child;

    (void)state;
    mgc_catalog_close(catalog);
    assert_int_equal(mkdir("inner", 0755), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(verify_with_a_mount_inside());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(open_catalog(), 0);
}

/* ---- beside a serving mount ---- */

static void (*in_between)(void);

/* Runs in_between once, after a directory's names were read and before its rows are compared. */
static int stat_then_interfere(struct mgc_os *o, int fd, const char *name,
                               struct mgc_file_stat *ret)
{
    int r = mgc_os_real()->stat(o, fd, name, ret);

    if (strcmp(name, "trigger") == 0 && in_between != NULL) {
        void (*run)(void) = in_between;
        in_between = NULL;
        run();
    }
    return r;
}

static void record(enum mgc_change_kind kind, bool directory, const char *path, const char *path2)
{
    struct mgc_change c = {.kind = kind,
                           .directory = directory,
                           .directory2 = directory && kind == MGC_CHANGE_EXCHANGE,
                           .path = path,
                           .path2 = path2,
                           .time_us = mgc_now_us(),
                           .uid = 33};
    const char *now = path2 != NULL ? path2 : path;
    char dir[256];

    (void)snprintf(dir, sizeof(dir), "./%.*s", (int)mgc_path_dir_bytes(now), now);
    mgc_autofd fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) /* what was removed has no status, and needs none */
        (void)mgc_os_real()->stat(mgc_os_real(), fd, mgc_path_leaf(now), &c.stat);
    mgc_recorder_push(recorder, &c);
}

static void rename_away_and_put_another(void)
{
    assert_int_equal(rename("d", "e"), 0);
    record(MGC_CHANGE_RENAME, true, "d", "e");
    assert_int_equal(mkdir("d", 0755), 0);
    record(MGC_CHANGE_MKDIR, false, "d", NULL);
    put("d/young", "1");
    record(MGC_CHANGE_CREATE, false, "d/young", NULL);
}

static void a_directory_renamed_while_it_is_read_is_read_again(void **state)
{
    struct mgc_entry e = {0};

    (void)state;
    start_recorder(2000);
    assert_int_equal(mkdir("d", 0755), 0);
    put("d/old", "1");
    put("d/trigger", "1");
    in_between = rename_away_and_put_another;
    os.stat = stat_then_interfere;
    verify_well();
    assert_null(in_between);
    assert_true(has("e/old", NULL));
    assert_true(has("e/trigger", NULL));
    assert_true(has("d/young", &e));
    assert_int_equal(e.uid, 33); /* as it was recorded, not as found */
    assert_false(has("d/old", NULL));
    assert_int_equal(entries(), 3);
}

static void rename_file(void)
{
    assert_int_equal(rename("mine", "yours"), 0);
    record(MGC_CHANGE_RENAME, false, "mine", "yours");
}

/* What waits for its commit is in the rows before they are compared: else the file under its new
 * name would be taken for a new one, and all that is known of it forgotten. */
static void a_file_renamed_while_its_directory_is_read_keeps_its_row(void **state)
{
    struct mgc_entry before = {0}, after = {0};

    (void)state;
    start_recorder(NEVER_US);
    put("mine", "1");
    record(MGC_CHANGE_CREATE, false, "mine", NULL);
    assert_int_equal(mgc_recorder_flush(recorder, &err), 0);
    assert_true(has("mine", &before));
    put("trigger", "1");
    in_between = rename_file;
    os.stat = stat_then_interfere;
    verify_well();
    assert_null(in_between);
    assert_true(has("yours", &after));
    assert_int_equal(after.id, before.id);
    assert_int_equal(after.uid, 33);
    assert_false(has("mine", NULL));
}

/* Two directories change places twice, and the catalog stands still when it knows of the first time
 * only: the path then leads to the right directory in the tree and to the other one's rows. */
static const struct mgc_catalog_ops *true_ops;

static void swap_directories(void)
{
    assert_int_equal(renameat2(AT_FDCWD, "d", AT_FDCWD, "e", RENAME_EXCHANGE), 0);
    record(MGC_CHANGE_EXCHANGE, true, "d", "e");
}

static int see_dir_after_swaps(struct mgc_catalog *c, const struct mgc_seen_dir *seen,
                               struct mgc_seen_result *ret_result, struct mgc_err *e)
{
    if (strcmp(seen->path, "d") == 0 && in_between != NULL) {
        in_between = NULL;
        swap_directories();
        assert_int_equal(mgc_recorder_drain(recorder, &err), 0);
        swap_directories();
    }
    return true_ops->see_dir(c, seen, ret_result, e);
}

static void rows_of_a_directory_that_is_moving_are_left_alone(void **state)
{
    struct mgc_catalog_ops bent = *catalog->ops;
    struct mgc_entry before = {0}, after = {0};

    (void)state;
    start_recorder(NEVER_US);
    assert_int_equal(mkdir("d", 0755), 0);
    assert_int_equal(mkdir("e", 0755), 0);
    put("d/in_d", "1");
    put("e/in_e", "1");
    verify_well();
    assert_true(has("e/in_e", &before));
    put("d/new", "1");
    true_ops = catalog->ops;
    bent.see_dir = see_dir_after_swaps;
    catalog->ops = &bent;
    in_between = swap_directories;
    verify_well();
    catalog->ops = true_ops;
    assert_null(in_between);
    assert_int_equal(mgc_recorder_flush(recorder, &err), 0);
    assert_true(has("d/in_d", NULL));
    assert_true(has("d/new", NULL));
    assert_true(has("e/in_e", &after));
    assert_int_equal(after.id, before.id);
    assert_int_equal(entries(), 3);
}

static void remove_dir(void)
{
    assert_int_equal(unlink("d/trigger"), 0);
    record(MGC_CHANGE_UNLINK, false, "d/trigger", NULL);
    assert_int_equal(rmdir("d"), 0);
    record(MGC_CHANGE_RMDIR, false, "d", NULL);
}

static void a_directory_removed_while_it_is_read_is_gone(void **state)
{
    (void)state;
    start_recorder(2000);
    assert_int_equal(mkdir("d", 0755), 0);
    put("d/trigger", "1");
    in_between = remove_dir;
    os.stat = stat_then_interfere;
    verify_well();
    assert_int_equal(entries(), 0);
    assert_int_equal(dir_id("d"), 0);
}

static void miss_something(void)
{
    mgc_recorder_missed(recorder, NULL);
}

static void what_becomes_incomplete_meanwhile_stays_so(void **state)
{
    (void)state;
    start_recorder(2000);
    put("trigger", "1");
    assert_int_equal(catalog->ops->meta_set(catalog, MGC_META_INCOMPLETE, 1, &err), 0);
    in_between = miss_something;
    os.stat = stat_then_interfere;
    assert_int_equal(verify(), MGC_E_INCOMPLETE);
    assert_int_equal(incomplete(), 1);
    assert_int_equal(mgc_catalog_meta(catalog, MGC_META_VERIFIED, 0), 0);
    verify_well(); /* the next one is clean */
    assert_int_equal(incomplete(), 0);
}

static void mark_by_somebody(void)
{
    assert_int_equal(catalog->ops->meta_set(catalog, MGC_META_INCOMPLETE, 1, &err), 0);
}

static void also_without_a_recorder(void **state)
{
    (void)state;
    put("trigger", "1");
    assert_int_equal(catalog->ops->meta_set(catalog, MGC_META_INCOMPLETE, 0, &err), 0);
    in_between = mark_by_somebody;
    os.stat = stat_then_interfere;
    assert_int_equal(verify(), MGC_E_INCOMPLETE);
    assert_int_equal(incomplete(), 1);
}

static void a_row_without_a_directory_is_removed_though_its_parent_is_unchanged(void **state)
{
    struct mgc_change phantom = {.kind = MGC_CHANGE_CREATE,
                                 .path = "a/ghost/deep/file",
                                 .time_us = 1,
                                 .stat = {.mode = S_IFREG | 0644, .nlink = 1}};

    (void)state;
    assert_int_equal(mkdir("a", 0755), 0);
    put("a/file", "1");
    os.now_us = now_as_set;
    fixed_now_us = mgc_now_us() + 10 * 1000000;
    verify_well();
    assert_int_equal(catalog->ops->apply(catalog, &phantom, 1, &err), 0);
    assert_int_equal(entries(), 2);
    verify_well();
    assert_int_equal(entries(), 1);
    assert_int_equal(dir_id("a/ghost"), 0);
    assert_int_equal(result.problems, 0);
}

/* ---- an application at work ---- */

enum { APP_OPS = 6000 };
static bool app_done; /* atomic */

static void app_step(unsigned *seed)
{
    char a[32], b[32];
    struct stat st;

    (void)snprintf(a, sizeof(a), "w%d/f%d", rand_r(seed) % 4, rand_r(seed) % 12);
    (void)snprintf(b, sizeof(b), "w%d/f%d", rand_r(seed) % 4, rand_r(seed) % 12);
    switch (rand_r(seed) % 6) {
    case 0:
    case 1:
    case 2:
        if (lstat(a, &st) < 0 && lstat("w0", &st) == 0) {
            mgc_autofd fd = open(a, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
            if (fd >= 0)
                record(MGC_CHANGE_CREATE, false, a, NULL);
        }
        break;
    case 3:
        if (unlink(a) == 0)
            record(MGC_CHANGE_UNLINK, false, a, NULL);
        break;
    case 4:
        if (strcmp(a, b) != 0 && rename(a, b) == 0)
            record(MGC_CHANGE_RENAME, false, a, b);
        break;
    default:
        a[2] = b[2] = '\0';
        if (strcmp(a, b) != 0 && rename(a, "x") == 0) {
            record(MGC_CHANGE_RENAME, true, a, "x");
            if (rename(b, a) == 0)
                record(MGC_CHANGE_RENAME, true, b, a);
            assert_int_equal(rename("x", b), 0);
            record(MGC_CHANGE_RENAME, true, "x", b);
        }
        break;
    }
}

static void *application(void *arg)
{
    unsigned seed = *(unsigned *)arg;

    for (int i = 0; i < APP_OPS; i++)
        app_step(&seed);
    __atomic_store_n(&app_done, true, __ATOMIC_SEQ_CST);
    return NULL;
}

static int walked_entries;
static int count_file(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)kind;
    (void)ftw;
    if (!S_ISREG(st->st_mode))
        return 0;
    walked_entries++;
    if (!has(path + 2, NULL)) /* behind "./" */
        fail_msg("'%s' is in the tree and not in the catalog", path);
    return 0;
}

static void rows_are_the_tree_after_verifications_beside_an_application(void **state)
{
    (void)state;
    for (unsigned round = 1; round <= 3; round++) {
        unsigned seed = round * 7919;
        pthread_t thread;
        int verified = 0;

        assert_int_equal(set_up(state), 0);
        for (int i = 0; i < 4; i++) {
            char name[16];
            (void)snprintf(name, sizeof(name), "w%d", i);
            assert_int_equal(mkdir(name, 0755), 0);
        }
        start_recorder(2000);
        app_done = false;
        assert_int_equal(pthread_create(&thread, NULL, application, &seed), 0);
        while (!__atomic_load_n(&app_done, __ATOMIC_SEQ_CST)) {
            int r = verify();
            if (r != 0 && r != MGC_E_INCOMPLETE) /* directories may keep moving */
                fail_msg("verify: %d '%s'", r, err.text);
            verified++;
        }
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_true(verified > 0);
        assert_int_equal(mgc_recorder_flush(recorder, &err), 0);
        walked_entries = 0;
        assert_int_equal(nftw(".", count_file, 16, FTW_PHYS), 0);
        assert_true(walked_entries > 0);
        assert_int_equal(entries(), walked_entries);
        assert_int_equal(tear_down(state), 0);
    }
}

/* ---- stop, progress ---- */

static int64_t progress_dirs;
static bool stop_now;
static void on_progress(void *arg, int64_t dirs, int64_t names)
{
    (void)arg;
    (void)names;
    progress_dirs = dirs;
    __atomic_store_n(&stop_now, true, __ATOMIC_RELAXED);
}

static void it_can_be_stopped_and_tells_its_progress(void **state)
{
    struct mgc_verify_spec spec = {.os = &os,
                                   .catalog = catalog,
                                   .root_fd = root_fd,
                                   .stop = &stop_now,
                                   .progress = on_progress};

    (void)state;
    assert_int_equal(mkdir("a", 0755), 0);
    put("a/file", "1");
    assert_int_equal(catalog->ops->meta_set(catalog, MGC_META_INCOMPLETE, 1, &err), 0);
    stop_now = false;
    result.dirs = -7;
    assert_int_equal(mgc_verify(&spec, &result, &err), -ECANCELED);
    assert_int_equal(result.dirs, -7); /* not written */
    assert_true(progress_dirs >= 1);
    assert_int_equal(incomplete(), 1);
}

static int prepare(void **state)
{
    (void)state;
    in_between = NULL;
    return set_up(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, prepare, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_tree_is_imported_with_what_it_has),
        TEST(what_vanished_or_was_replaced_is_found),
        TEST(names_are_bytes),
        TEST(a_deep_tree_is_walked),
        TEST(a_path_beyond_the_bound_is_told_not_cut),
        cmocka_unit_test(a_directory_is_unchanged_only_if_it_lay_in_the_past),
        TEST(a_change_in_the_tick_of_the_scan_is_found_later),
        TEST(unchanged_directories_are_skipped_but_not_those_beneath),
        TEST(one_name_that_cannot_be_told_keeps_its_directory_as_it_is),
        TEST(an_unreadable_directory_makes_it_incomplete),
        TEST(a_mount_inside_is_walked_and_told),
        TEST(a_directory_renamed_while_it_is_read_is_read_again),
        TEST(a_file_renamed_while_its_directory_is_read_keeps_its_row),
        TEST(rows_of_a_directory_that_is_moving_are_left_alone),
        TEST(a_directory_removed_while_it_is_read_is_gone),
        TEST(what_becomes_incomplete_meanwhile_stays_so),
        TEST(also_without_a_recorder),
        TEST(a_row_without_a_directory_is_removed_though_its_parent_is_unchanged),
        cmocka_unit_test(rows_are_the_tree_after_verifications_beside_an_application),
        TEST(it_can_be_stopped_and_tells_its_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
