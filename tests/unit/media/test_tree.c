/*
 * test_tree.c -- the tree without FUSE: what only a test can arrange.  (What applications see is
 * tested on real mounts, tests/unit/mount.)
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "mediagcfs/path.h"
#include "mediagcfs/tree.h"

static struct {
    char dir[64];
    int fd;
    struct mgc_tree *tree;
    struct mgc_pathlocks *locks;
    struct mgc_os os; /* the real one, leases and clock under the test's control */
    int lease;
    int64_t now_us;
    char log[1 << 16];
    size_t log_bytes;
    bool log_full; /* nothing is added any more: the record stays without gaps */
    pthread_mutex_t log_lock;
    int backing_opens, backing_closes, backing_answer, backing_fd_flags;
} T = {.log_lock = PTHREAD_MUTEX_INITIALIZER};

static const struct mgc_caller root = {.uid = 0, .gid = 0, .umask = 022};

static int fake_lease(struct mgc_os *os, int fd)
{
    (void)os;
    (void)fd;
    return T.lease;
}

static void fake_drop(struct mgc_os *os, int fd)
{
    (void)os;
    (void)fd;
}

static int64_t fake_now(struct mgc_os *os)
{
    (void)os;
    return T.now_us;
}

static void record(void *arg, const struct mgc_change *c)
{
    int n;

    (void)arg;
    (void)pthread_mutex_lock(&T.log_lock);
    n = snprintf(T.log + T.log_bytes, sizeof(T.log) - T.log_bytes, "%d:%s%s%s\n", (int)c->kind,
                 c->path, c->path2 != NULL ? ">" : "", c->path2 != NULL ? c->path2 : "");
    if (!T.log_full && n > 0 && T.log_bytes + (size_t)n < sizeof(T.log))
        T.log_bytes += (size_t)n;
    else
        T.log_full = true;
    T.log[T.log_bytes] = '\0';
    (void)pthread_mutex_unlock(&T.log_lock);
}

static bool recorded(enum mgc_change_kind kind, const char *rest)
{
    char want[256];

    (void)snprintf(want, sizeof(want), "%d:%s\n", (int)kind, rest);
    return strstr(T.log, want) != NULL;
}

static int setup(void **state)
{
    struct mgc_tree_spec spec = {.os = &T.os, .record = record, .open_resolution_us = 1000};

    (void)state;
    (void)snprintf(T.dir, sizeof(T.dir), "/dev/shm/mgc-tree-XXXXXX");
    assert_non_null(mkdtemp(T.dir));
    T.fd = open(T.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(T.fd >= 0);
    assert_int_equal(mkdirat(T.fd, MGC_PRIVATE_DIR, 0700), 0);
    T.os = *mgc_os_real();
    T.os.lease_read = fake_lease;
    T.os.lease_drop = fake_drop;
    T.os.now_us = fake_now;
    T.now_us = 5000000;
    T.lease = 0;
    T.log_bytes = 0;
    T.log_full = false;
    T.log[0] = '\0';
    T.backing_opens = T.backing_closes = 0;
    T.backing_answer = 7;
    T.locks = mgc_pathlocks_new();
    assert_non_null(T.locks);
    spec.root_fd = T.fd;
    spec.locks = T.locks;
    assert_int_equal(mgc_tree_new(&spec, &T.tree, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    pid_t pid;

    (void)state;
    mgc_tree_free(T.tree);
    mgc_pathlocks_free(T.locks);
    (void)close(T.fd);
    pid = fork();
    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", T.dir, (char *)NULL);
        _exit(127);
    }
    (void)waitpid(pid, NULL, 0);
    return 0;
}

static struct mgc_found make(struct mgc_node *dir, const char *name, int flags,
                             const struct mgc_backing *backing, struct mgc_opened *opened)
{
    struct mgc_create c = {.caller = root, .mode = 0644, .flags = flags};
    struct mgc_found found;

    assert_int_equal(mgc_tree_create(T.tree, dir, name, &c, backing, &found, opened), 0);
    return found;
}

static struct mgc_node *make_closed(struct mgc_node *dir, const char *name)
{
    struct mgc_opened opened;
    struct mgc_found found = make(dir, name, O_WRONLY, NULL, &opened);

    mgc_tree_close(T.tree, opened.handle, NULL);
    return found.node;
}

static struct mgc_file_stat stat_of(const char *path)
{
    struct mgc_file_stat st;
    struct stat s;

    /* stat() of the table takes one component only. */
    assert_int_equal(fstatat(T.fd, path, &s, AT_SYMLINK_NOFOLLOW), 0);
    st = (struct mgc_file_stat){.id = {.ino = s.st_ino}, .dev = s.st_dev};
    return st;
}

/* H3: without leases an inode that was once opened for reading and writing is not moved. */
static void without_leases_a_mapping_is_assumed(void **state)
{
    struct mgc_opened opened;
    struct mgc_found found = make(mgc_tree_root(T.tree), "f", O_RDWR, NULL, &opened);
    struct mgc_file_stat st = stat_of("f");
    struct mgc_attr attr;

    (void)state;
    assert_int_equal(mgc_tree_hold(T.tree, &st), MGC_E_BUSY);
    mgc_tree_close(T.tree, opened.handle, NULL);
    T.lease = -EOPNOTSUPP;
    assert_int_equal(mgc_tree_hold(T.tree, &st), MGC_E_BUSY);
    assert_int_equal(mgc_tree_getattr(T.tree, found.node, &attr), 0); /* and is not marked */
    T.lease = -EAGAIN; /* leases work: the mover's own will say what is the matter */
    assert_int_equal(mgc_tree_hold(T.tree, &st), 0);
    mgc_tree_release(T.tree, &st);
    T.lease = 0;
    assert_int_equal(mgc_tree_hold(T.tree, &st), 0);
    assert_int_equal(mgc_tree_getattr(T.tree, found.node, &attr), -ESTALE);
    /* What was only written is moved without asking for leases. */
    (void)make_closed(mgc_tree_root(T.tree), "g");
    T.lease = -EOPNOTSUPP;
    st = stat_of("g");
    assert_int_equal(mgc_tree_hold(T.tree, &st), 0);
    st.id.ino += 1000000; /* nobody knows it, so nobody can name it */
    assert_int_equal(mgc_tree_hold(T.tree, &st), 0);
}

static void a_marked_node_answers_nothing(void **state)
{
    struct mgc_node *dir = mgc_tree_root(T.tree), *node = make_closed(dir, "f");
    struct mgc_file_stat st = stat_of("f");
    struct mgc_setattr set = {.valid = MGC_SET_SIZE};
    struct mgc_opened opened = {.handle = NULL};
    struct mgc_tree_counts counts;
    struct mgc_found found;
    struct mgc_attr attr;
    char target[16];

    (void)state;
    assert_int_equal(mgc_tree_hold(T.tree, &st), 0);
    mgc_tree_counts(T.tree, &counts);
    assert_int_equal(counts.marked, 1);
    assert_int_equal(mgc_tree_open(T.tree, node, O_WRONLY | O_TRUNC, NULL, &opened), -ESTALE);
    assert_null(opened.handle);
    assert_int_equal(mgc_tree_setattr(T.tree, node, NULL, &set, &attr), -ESTALE);
    assert_int_equal(mgc_tree_link(T.tree, node, dir, "g", &found), -ESTALE);
    assert_int_equal(mgc_tree_readlink(T.tree, node, target, sizeof(target)), -ESTALE);
    assert_int_equal(mgc_tree_getattr(T.tree, node, &attr), -ESTALE);
    /* A look-up that finds it under a live name ends that. */
    assert_int_equal(mgc_tree_lookup(T.tree, dir, "f", &found), 0);
    assert_ptr_equal(found.node, node);
    assert_int_equal(mgc_tree_getattr(T.tree, node, &attr), 0);
}

static int backing_open(void *arg, int fd)
{
    (void)arg;
    T.backing_fd_flags = fcntl(fd, F_GETFL);
    if (T.backing_answer > 0)
        T.backing_opens++;
    return T.backing_answer;
}

static void backing_close(void *arg, int id)
{
    (void)arg;
    assert_int_equal(id, 7);
    T.backing_closes++;
}

static const struct mgc_backing backing = {.open = backing_open, .close = backing_close};

static void one_id_for_all_opens(void **state)
{
    struct mgc_opened a, b, c;
    struct mgc_node *node = make(mgc_tree_root(T.tree), "f", O_RDWR, &backing, &a).node;

    (void)state;
    assert_int_equal(a.backing_id, 7);
    assert_int_equal(T.backing_fd_flags & O_ACCMODE, O_RDONLY); /* F2 */
    assert_int_equal(mgc_tree_open(T.tree, node, O_RDONLY, &backing, &b), 0);
    /* Also one that would rather not: the modes of an inode never mix. */
    assert_int_equal(mgc_tree_open(T.tree, node, O_WRONLY, NULL, &c), 0);
    assert_int_equal(b.backing_id, 7);
    assert_int_equal(c.backing_id, 7);
    assert_int_equal(T.backing_opens, 1);
    mgc_tree_close(T.tree, a.handle, &backing);
    mgc_tree_close(T.tree, b.handle, &backing);
    assert_int_equal(T.backing_closes, 0);
    mgc_tree_close(T.tree, c.handle, &backing);
    assert_int_equal(T.backing_closes, 1);
    assert_int_equal(mgc_tree_open(T.tree, node, O_RDONLY, &backing, &a), 0);
    assert_int_equal(T.backing_opens, 2);
    mgc_tree_close(T.tree, a.handle, &backing);
}

static void cached_stays_cached_while_open(void **state)
{
    struct mgc_opened a, b;
    struct mgc_node *node = make(mgc_tree_root(T.tree), "f", O_WRONLY, NULL, &a).node;

    (void)state;
    assert_int_equal(a.backing_id, 0);
    assert_int_equal(mgc_tree_open(T.tree, node, O_RDONLY, &backing, &b), 0);
    assert_int_equal(b.backing_id, 0);
    mgc_tree_close(T.tree, a.handle, &backing);
    mgc_tree_close(T.tree, b.handle, &backing);
    T.backing_answer = -EPERM; /* refused: served from here */
    assert_int_equal(mgc_tree_open(T.tree, node, O_RDWR, &backing, &a), 0);
    assert_int_equal(a.backing_id, 0);
    assert_false(a.attr_changed);
    assert_int_equal(mgc_tree_write(T.tree, a.handle, "abc", 3, 0), 3);
    mgc_tree_close(T.tree, a.handle, &backing);
    assert_int_equal(T.backing_opens, 0);
    assert_int_equal(T.backing_closes, 0);
}

/* H17 */
static void a_mapping_in_passthrough_makes_attributes_volatile(void **state)
{
    struct mgc_node *dir = mgc_tree_root(T.tree), *node = make_closed(dir, "f");
    struct mgc_opened a;
    struct mgc_attr attr;

    (void)state;
    assert_int_equal(mgc_tree_open(T.tree, node, O_WRONLY, &backing, &a), 0);
    assert_false(a.attr_changed);
    mgc_tree_close(T.tree, a.handle, &backing);
    assert_int_equal(mgc_tree_getattr(T.tree, node, &attr), 0);
    assert_false(attr.volatile_attr);
    assert_int_equal(mgc_tree_open(T.tree, node, O_RDWR, &backing, &a), 0);
    assert_true(a.attr_changed);
    mgc_tree_close(T.tree, a.handle, &backing);
    assert_int_equal(mgc_tree_getattr(T.tree, node, &attr), 0);
    assert_true(attr.volatile_attr);
}

static void what_a_passthrough_handle_still_asks_of_us(void **state)
{
    struct mgc_opened a;
    struct mgc_found found = make(mgc_tree_root(T.tree), "f", O_RDWR, &backing, &a);
    char text[8] = "";
    int64_t offset;

    (void)state;
    assert_int_equal(mgc_tree_write(T.tree, a.handle, "hello", 5, 0), 5);
    assert_int_equal(mgc_tree_read(T.tree, a.handle, text, sizeof(text), 0), 5);
    assert_string_equal(text, "hello");
    assert_int_equal(mgc_tree_fsync(T.tree, a.handle, false), 0);
    assert_int_equal(mgc_tree_fsync(T.tree, a.handle, true), 0);
    assert_int_equal(mgc_tree_flush(T.tree, a.handle), 0);
    assert_int_equal(mgc_tree_fallocate(T.tree, a.handle, 0, 0, 4096), 0);
    assert_int_equal(mgc_tree_seek(T.tree, a.handle, 0, SEEK_DATA, &offset), 0);
    assert_int_equal(offset, 0);
    mgc_tree_close(T.tree, a.handle, &backing);
    assert_int_equal(mgc_tree_open(T.tree, found.node, O_RDONLY, &backing, &a), 0);
    assert_int_equal(mgc_tree_fallocate(T.tree, a.handle, 0, 0, 1), -EBADF);
    mgc_tree_close(T.tree, a.handle, &backing);
}

static void set_id_files_are_not_passed_through(void **state)
{
    struct mgc_node *node = make_closed(mgc_tree_root(T.tree), "f");
    struct mgc_setattr set = {.valid = MGC_SET_MODE, .mode = 02755};
    struct mgc_opened a;
    struct mgc_attr attr;

    (void)state;
    assert_int_equal(mgc_tree_setattr(T.tree, node, NULL, &set, &attr), 0);
    assert_int_equal(mgc_tree_open(T.tree, node, O_WRONLY, &backing, &a), 0);
    assert_int_equal(a.backing_id, 0);
    mgc_tree_close(T.tree, a.handle, &backing);
}

static void opens_merge_by_time(void **state)
{
    struct mgc_node *node = make_closed(mgc_tree_root(T.tree), "f");
    struct mgc_opened a;
    size_t once;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mgc_tree_open(T.tree, node, O_RDONLY, NULL, &a), 0);
        mgc_tree_close(T.tree, a.handle, NULL);
        T.now_us += 400;
    }
    assert_true(recorded(MGC_CHANGE_OPEN, "f"));
    once = T.log_bytes;
    assert_int_equal(mgc_tree_open(T.tree, node, O_RDONLY, NULL, &a), 0);
    mgc_tree_close(T.tree, a.handle, NULL);
    assert_true(T.log_bytes > once); /* 1,200 us after the first */
    once = T.log_bytes;
    T.now_us = 1000; /* a clock set back silences nothing */
    assert_int_equal(mgc_tree_open(T.tree, node, O_RDONLY, NULL, &a), 0);
    mgc_tree_close(T.tree, a.handle, NULL);
    assert_true(T.log_bytes > once);
    once = T.log_bytes;
    assert_int_equal(mgc_tree_open(T.tree, node, O_WRONLY, NULL, &a), 0);
    assert_int_equal(T.log_bytes, once); /* a writer is not a reader */
    mgc_tree_close(T.tree, a.handle, NULL);
}

static void what_is_left_open_is_recorded_at_the_end(void **state)
{
    struct mgc_opened a;
    struct mgc_found dir;

    assert_int_equal(mgc_tree_mkdir(T.tree, &root, mgc_tree_root(T.tree), "d", 0755, &dir), 0);
    (void)make(dir.node, "f", O_WRONLY, NULL, &a);
    assert_false(recorded(MGC_CHANGE_WRITE, "d/f"));
    (void)teardown(state);
    assert_true(recorded(MGC_CHANGE_WRITE, "d/f"));
    (void)setup(state);
}

/* rename(2) between two names of one file does nothing: recorded, the target would be lost. */
static void a_rename_onto_itself_is_not_recorded(void **state)
{
    struct mgc_node *dir = mgc_tree_root(T.tree), *node = make_closed(dir, "a");
    struct mgc_found found;

    (void)state;
    assert_int_equal(mgc_tree_link(T.tree, node, dir, "b", &found), 0);
    assert_ptr_equal(found.node, node);
    assert_true(recorded(MGC_CHANGE_LINK, "b"));
    assert_int_equal(mgc_tree_rename(T.tree, dir, "a", dir, "b", 0), 0);
    assert_int_equal(faccessat(T.fd, "a", F_OK, 0), 0);
    assert_false(recorded(MGC_CHANGE_RENAME, "a>b"));
    assert_int_equal(mgc_tree_rename(T.tree, dir, "a", dir, "c", 0), 0);
    assert_true(recorded(MGC_CHANGE_RENAME, "a>c"));
}

/* ---- renames of directories beside everything else ---- */

enum { RACE_ROUNDS = 400 };
static _Atomic bool racing;

static void *rename_back_and_forth(void *arg)
{
    struct mgc_node *dir = mgc_tree_root(T.tree);

    (void)arg;
    while (atomic_load(&racing)) {
        assert_int_equal(mgc_tree_rename(T.tree, dir, "one", dir, "two", 0), 0);
        assert_int_equal(mgc_tree_rename(T.tree, dir, "two", dir, "one", 0), 0);
    }
    return NULL;
}

/* Replays the record: each path must be right in the order of recording (N4). */
static void replay(void)
{
    const char *now = "one";
    int files = 0;

    for (char *line = T.log, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        if (strncmp(line, "7:one>two", 9) == 0)
            now = "two";
        else if (strncmp(line, "7:two>one", 9) == 0)
            now = "one";
        else if (strchr(line, '/') != NULL) {
            files++;
            assert_memory_equal(strchr(line, ':') + 1, now, 3);
        }
    }
    assert_true(files > 0);
}

static void paths_are_right_in_the_order_of_recording(void **state)
{
    struct mgc_node *root_node = mgc_tree_root(T.tree);
    struct mgc_found dir;
    pthread_t thread;
    char name[32];

    (void)state;
    assert_int_equal(mgc_tree_mkdir(T.tree, &root, root_node, "one", 0755, &dir), 0);
    atomic_store(&racing, true);
    assert_int_equal(pthread_create(&thread, NULL, rename_back_and_forth, NULL), 0);
    for (int i = 0; i < RACE_ROUNDS; i++) {
        (void)snprintf(name, sizeof(name), "f%d", i);
        (void)make_closed(dir.node, name);
        assert_int_equal(mgc_tree_unlink(T.tree, dir.node, name), 0);
    }
    atomic_store(&racing, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    replay();
}

/* ---- H2, H1 under load: a mover beside writers ---- */

static void *create_and_remove(void *arg)
{
    struct mgc_node *dir = mgc_tree_root(T.tree);
    struct mgc_create c = {.caller = root, .mode = 0644, .flags = O_WRONLY};
    int *wrote = arg;

    while (atomic_load(&racing)) {
        struct mgc_found found;
        struct mgc_opened opened;
        int r = mgc_tree_lookup(T.tree, dir, "f", &found);

        if (r == -ENOENT) {
            r = mgc_tree_create(T.tree, dir, "f", &c, NULL, &found, &opened);
        } else if (r == 0) {
            r = mgc_tree_open(T.tree, found.node, O_WRONLY | O_TRUNC, NULL, &opened);
            if (r < 0)
                mgc_tree_forget(T.tree, found.node, 1);
        }
        if (r < 0)
            continue; /* -ESTALE: the kernel would look again */
        assert_int_equal(mgc_tree_write(T.tree, opened.handle, "x", 1, 0), 1);
        (*wrote)++;
        mgc_tree_close(T.tree, opened.handle, NULL);
        mgc_tree_forget(T.tree, found.node, 1);
    }
    return NULL;
}

static void nothing_is_written_into_what_was_moved(void **state)
{
    struct stat root_stat, before, after;
    int wrote = 0, moved = 0;
    pthread_t thread;
    char slot[64];

    (void)state;
    assert_int_equal(fstat(T.fd, &root_stat), 0);
    atomic_store(&racing, true);
    assert_int_equal(pthread_create(&thread, NULL, create_and_remove, &wrote), 0);
    for (int tries = 0; moved < 50 && tries < 200000; tries++) {
        struct mgc_pathlock lock = mgc_pathlock_take(T.locks, root_stat.st_dev, root_stat.st_ino,
                                                     "f", MGC_PATHLOCK_EXCLUSIVE);
        struct mgc_file_stat st;

        (void)snprintf(slot, sizeof(slot), "%s/%d", MGC_PRIVATE_DIR, moved);
        if (T.os.stat(&T.os, T.fd, "f", &st) == 0 && mgc_tree_hold(T.tree, &st) == 0) {
            assert_int_equal(fstatat(T.fd, "f", &before, 0), 0);
            assert_int_equal(renameat(T.fd, "f", T.fd, slot), 0);
            moved++;
        }
        mgc_pathlock_drop(&lock);
        if (moved > 0 && fstatat(T.fd, slot, &after, 0) == 0)
            assert_memory_equal(&after.st_mtim, &before.st_mtim, sizeof(after.st_mtim));
    }
    atomic_store(&racing, false);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(moved, 50);
    assert_true(wrote >= 50);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(without_leases_a_mapping_is_assumed),
        CASE(a_marked_node_answers_nothing),
        CASE(one_id_for_all_opens),
        CASE(cached_stays_cached_while_open),
        CASE(a_mapping_in_passthrough_makes_attributes_volatile),
        CASE(what_a_passthrough_handle_still_asks_of_us),
        CASE(set_id_files_are_not_passed_through),
        CASE(opens_merge_by_time),
        CASE(what_is_left_open_is_recorded_at_the_end),
        CASE(a_rename_onto_itself_is_not_recorded),
        CASE(paths_are_right_in_the_order_of_recording),
        CASE(nothing_is_written_into_what_was_moved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
