/* test_node.c -- the inode table: identity, life, marks, names. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fs/media/node_priv.h"
#include "mediagcfs/error.h"

static struct mgc_nodes s;

static int null_fd(void)
{
    int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(mgc_nodes_init(&s, null_fd()), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mgc_nodes_done(&s);
    return 0;
}

static struct mgc_node *node(uint64_t dev, uint64_t ino)
{
    struct stat st = {.st_dev = dev, .st_ino = ino, .st_mode = S_IFREG | 0644};
    struct mgc_node *n = mgc_node_insert(&s, null_fd(), &st);

    assert_non_null(n);
    return n;
}

static void one_inode_is_one_node(void **state)
{
    struct mgc_node *a = node(1, 100), *b = node(2, 100), *c = node(1, 100);

    (void)state;
    assert_ptr_equal(a, c);
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(mgc_node_find(&s, 1, 100), a);
    assert_null(mgc_node_find(&s, 1, 101));
    assert_int_equal(s.count, 3); /* the root too */
    assert_true(a->generation != b->generation);
}

static void it_lives_until_the_last_lookup_is_forgotten(void **state)
{
    struct mgc_node *a = node(1, 100);
    uint64_t generation = a->generation;

    (void)state;
    (void)node(1, 100);
    mgc_node_forget(&s, a, 1);
    assert_int_equal(s.count, 2);
    mgc_node_forget(&s, a, 1);
    assert_int_equal(s.count, 1);
    assert_null(mgc_node_find(&s, 1, 100));
    assert_true(node(1, 100)->generation > generation);
    mgc_node_forget(&s, s.root, 1000); /* never goes */
    assert_int_equal(s.count, 2);
}

static void references_and_children_keep_it(void **state)
{
    struct mgc_node *dir = node(1, 100), *child = node(1, 101), *again;

    (void)state;
    again = mgc_node_ref(&s, 1, 100);
    assert_ptr_equal(again, dir);
    mgc_node_forget(&s, dir, 1);
    assert_int_equal(s.count, 3);
    mgc_names_lock(&s);
    mgc_node_set_name(&s, child, dir, "child");
    mgc_names_unlock(&s);
    mgc_node_unref(&s, dir);
    assert_int_equal(s.count, 3); /* the child holds it */
    mgc_node_forget(&s, child, 1);
    assert_int_equal(s.count, 1); /* and lets it go */
}

static void the_table_grows(void **state)
{
    enum { NODES = 5000 };
    static struct mgc_node *nodes[NODES];

    (void)state;
    for (uint64_t i = 0; i < NODES; i++)
        nodes[i] = node(7, i + 1);
    assert_true(s.bucket_count >= 4096);
    for (uint64_t i = 0; i < NODES; i++)
        assert_ptr_equal(mgc_node_find(&s, 7, i + 1), nodes[i]);
    for (uint64_t i = 0; i < NODES; i++)
        mgc_node_forget(&s, nodes[i], 2);
    assert_int_equal(s.count, 1);
}

static void marks(void **state)
{
    struct mgc_node *a = node(1, 100);

    (void)state;
    assert_int_equal(mgc_node_mark(&s, 1, 999), -ENOENT);
    /* A running request refuses the mark, the mark refuses the next request. */
    assert_int_equal(mgc_node_use(&s, a), 0);
    assert_int_equal(mgc_node_mark(&s, 1, 100), MGC_E_BUSY);
    mgc_node_unuse(&s, a);
    assert_int_equal(mgc_node_mark(&s, 1, 100), 0);
    assert_int_equal(mgc_node_use(&s, a), -ESTALE);
    assert_int_equal(mgc_node_visible(&s, a), -ESTALE);
    assert_int_equal(s.marked, 1);
    mgc_node_unmark(&s, 1, 100);
    assert_int_equal(mgc_node_use(&s, a), 0);
    mgc_node_unuse(&s, a);
    assert_int_equal(s.marked, 0);
    /* Found under a live name it is served again. */
    assert_int_equal(mgc_node_mark(&s, 1, 100), 0);
    assert_ptr_equal(mgc_node_find(&s, 1, 100), a);
    assert_int_equal(mgc_node_use(&s, a), 0);
    mgc_node_unuse(&s, a);
    /* A reference of ours is neither. */
    assert_int_equal(mgc_node_mark(&s, 1, 100), 0);
    (void)mgc_node_ref(&s, 1, 100);
    assert_int_equal(mgc_node_use(&s, a), -ESTALE);
    mgc_node_unref(&s, a);
}

static void writers_refuse_a_mark(void **state)
{
    struct mgc_node *a = node(1, 100);

    (void)state;
    mgc_node_opened(&s, a, true, false);
    assert_int_equal(mgc_node_mark(&s, 1, 100), MGC_E_BUSY);
    mgc_node_opened(&s, a, false, false);
    mgc_node_closed(&s, a, true);
    assert_int_equal(mgc_node_mark(&s, 1, 100), 0); /* a reader does not */
    assert_int_equal(mgc_node_visible(&s, a), 0);   /* and may still ask for attributes */
    mgc_node_unmark(&s, 1, 100);
    mgc_node_closed(&s, a, false);
    /* Opened for both once: a mapping may be left, the caller must look for a lease. */
    mgc_node_opened(&s, a, true, true);
    mgc_node_closed(&s, a, true);
    assert_int_equal(mgc_node_mark(&s, 1, 100), 1);
}

static void a_handle_keeps_it(void **state)
{
    struct mgc_node *a = node(1, 100);

    (void)state;
    mgc_node_opened(&s, a, true, false);
    mgc_node_forget(&s, a, 1);
    assert_int_equal(s.count, 2);
    mgc_node_closed(&s, a, true);
    assert_int_equal(s.count, 1);
}

static const char *path_of(const struct mgc_node *dir, const char *name)
{
    static char path[4096];
    int r;

    mgc_names_lock(&s);
    r = mgc_node_path(&s, dir, name, path, sizeof(path));
    mgc_names_unlock(&s);
    return r == 0 ? path : mgc_code_name(r);
}

static void name(struct mgc_node *n, struct mgc_node *parent, const char *as)
{
    mgc_names_lock(&s);
    mgc_node_set_name(&s, n, parent, as);
    mgc_names_unlock(&s);
}

static void paths_follow_names(void **state)
{
    struct mgc_node *a = node(1, 1), *b = node(1, 2), *file = node(1, 3);

    (void)state;
    assert_string_equal(path_of(s.root, NULL), "");
    assert_string_equal(path_of(s.root, "x"), "x");
    assert_string_equal(path_of(a, "x"), "ENOENT");
    name(a, s.root, "a");
    name(b, a, "b");
    name(file, b, "file");
    assert_string_equal(path_of(b, "file"), "a/b/file");
    assert_string_equal(path_of(file, NULL), "a/b/file");
    name(a, s.root, "renamed");
    assert_string_equal(path_of(file, NULL), "renamed/b/file");
    name(b, s.root, "moved");
    assert_string_equal(path_of(file, NULL), "moved/file");
    mgc_names_lock(&s);
    mgc_node_drop_name(&s, file, b, "other"); /* not its last name */
    assert_ptr_equal(file->parent, b);
    mgc_node_drop_name(&s, file, b, "file");
    assert_null(file->parent);
    mgc_names_unlock(&s);
    assert_string_equal(path_of(file, NULL), "ENOENT");
}

/* Renames beneath the mount may leave last known names in a ring. */
static void a_ring_of_names_ends(void **state)
{
    struct mgc_node *a = node(1, 1), *b = node(1, 2);

    (void)state;
    name(a, b, "a");
    name(b, a, "b");
    assert_string_equal(path_of(a, "x"), "ENAMETOOLONG");
}

static void a_path_is_never_cut(void **state)
{
    struct mgc_node *dirs[20], *parent = s.root;
    char part[251];

    (void)state;
    memset(part, 'p', sizeof(part) - 1);
    part[250] = '\0';
    for (uint64_t i = 0; i < 16; i++) {
        dirs[i] = node(1, i + 1);
        name(dirs[i], parent, part);
        parent = dirs[i];
    }
    /* 16 x 250 + 15 slashes = 4015; a slash and 79 bytes more fill 4095. */
    memset(part, 'n', sizeof(part) - 1);
    part[79] = '\0';
    assert_int_equal(strlen(path_of(parent, part)), 4095);
    part[79] = 'n';
    part[80] = '\0';
    assert_string_equal(path_of(parent, part), "ENAMETOOLONG");
}

enum { ROUNDS = 20000, INODES = 8 };

static void *look_and_forget(void *arg)
{
    struct stat st = {.st_dev = 1, .st_mode = S_IFREG};

    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct mgc_node *n;

        st.st_ino = (ino_t)(i % INODES + 1);
        n = mgc_node_find(&s, 1, st.st_ino);
        if (n == NULL)
            n = mgc_node_insert(&s, null_fd(), &st);
        if (mgc_node_use(&s, n) == 0) {
            mgc_names_lock(&s);
            mgc_node_set_name(&s, n, s.root, i % 2 == 0 ? "one" : "two");
            mgc_names_unlock(&s);
            mgc_node_unuse(&s, n);
        }
        if (mgc_node_mark(&s, 1, (uint64_t)(i % INODES + 1)) == 0)
            mgc_node_unmark(&s, 1, (uint64_t)(i % INODES + 1));
        mgc_node_forget(&s, n, 1);
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    pthread_t threads[3];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look_and_forget, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.marked, 0);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(one_inode_is_one_node),
        CASE(it_lives_until_the_last_lookup_is_forgotten),
        CASE(references_and_children_keep_it),
        CASE(the_table_grows),
        CASE(marks),
        CASE(writers_refuse_a_mark),
        CASE(a_handle_keeps_it),
        CASE(paths_follow_names),
        CASE(a_ring_of_names_ends),
        CASE(a_path_is_never_cut),
        CASE(threads_share_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
