/* Path locks: who excludes whom, the order of two, and that nobody starves or deadlocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/wait.h>

#include "mediagcfs/os.h"
#include "mediagcfs/pathlock.h"

enum asked { TAKE_SHARED, TAKE_EXCLUSIVE, TWO, TWO_DIRECTORIES, TREE };
struct want {
    enum asked asked;
    const char *name, *name2;
};
struct other {
    struct mgc_pathlocks *set;
    struct want want;
    int got; /* atomic */
};

static struct mgc_pathlock take(struct mgc_pathlocks *set, struct want w)
{
    switch (w.asked) {
    case TAKE_SHARED:
        return mgc_pathlock_take(set, 1, 2, w.name, MGC_PATHLOCK_SHARED);
    case TAKE_EXCLUSIVE:
        return mgc_pathlock_take(set, 1, 2, w.name, MGC_PATHLOCK_EXCLUSIVE);
    case TWO:
        return mgc_pathlock_two(set, 1, 2, w.name, 1, 2, w.name2, false);
    case TWO_DIRECTORIES:
        return mgc_pathlock_two(set, 1, 2, w.name, 1, 2, w.name2, true);
    default:
        return mgc_pathlock_tree(set);
    }
}

static void *take_and_drop(void *arg)
{
    struct other *o = arg;
    struct mgc_pathlock lock = take(o->set, o->want);

    __atomic_store_n(&o->got, 1, __ATOMIC_SEQ_CST);
    mgc_pathlock_drop(&lock);
    return NULL;
}

/* A stripe that "a" does not use. */
static const char *name_apart(struct mgc_pathlocks *set)
{
    static char name[32];
    int first;

    struct mgc_pathlock lock = take(set, (struct want){TAKE_SHARED, "a", NULL});
    first = lock.first;
    mgc_pathlock_drop(&lock);
    for (int i = 0;; i++) {
        (void)snprintf(name, sizeof(name), "b%d", i);
        lock = take(set, (struct want){TAKE_SHARED, name, NULL});
        bool apart = lock.first != first;
        mgc_pathlock_drop(&lock);
        if (apart)
            return name;
    }
}

static void locks_exclude_as_the_table_says(void **state)
{
    struct mgc_pathlocks *set = mgc_pathlocks_new();
    const char *b = name_apart(set);
    const struct {
        const char *what;
        struct want held, other;
        bool waits;
    } rows[] = {
        /* clang-format off */
        {"two readers of a name",            {TAKE_SHARED, "a", NULL},    {TAKE_SHARED, "a", NULL},    false},
        {"a writer keeps readers out",       {TAKE_EXCLUSIVE, "a", NULL}, {TAKE_SHARED, "a", NULL},    true},
        {"a reader keeps writers out",       {TAKE_SHARED, "a", NULL},    {TAKE_EXCLUSIVE, "a", NULL}, true},
        {"other names are free",             {TAKE_EXCLUSIVE, "a", NULL}, {TAKE_EXCLUSIVE, b, NULL},   false},
        {"a rename holds its first name",    {TWO, "a", b},               {TAKE_SHARED, "a", NULL},    true},
        {"a rename holds its second name",   {TWO, "a", b},               {TAKE_SHARED, b, NULL},      true},
        {"a rename leaves the tree shared",  {TWO, "a", b},               {TREE, NULL, NULL},          false},
        {"a directory rename holds all",     {TWO_DIRECTORIES, "a", b},   {TREE, NULL, NULL},          true},
        {"even names it does not have",      {TWO_DIRECTORIES, "a", "a"}, {TAKE_SHARED, b, NULL},      true},
        {"and waits for whoever has any",    {TAKE_SHARED, b, NULL},      {TWO_DIRECTORIES, "a", "a"}, true},
        {"and for whoever has the tree",     {TREE, NULL, NULL},          {TWO_DIRECTORIES, "a", b},   true},
        {"the tree lock leaves names free",  {TREE, NULL, NULL},          {TAKE_EXCLUSIVE, "a", NULL}, false},
        {"both names may be the same",       {TWO, "a", "a"},             {TAKE_SHARED, b, NULL},      false},
        /* clang-format on */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mgc_pathlock held = take(set, rows[i].held);
        struct other other = {.set = set, .want = rows[i].other};
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, take_and_drop, &other), 0);
        for (int tries = 0; tries < (rows[i].waits ? 20 : 5000); tries++) {
            if (__atomic_load_n(&other.got, __ATOMIC_SEQ_CST))
                break;
            (void)usleep(1000);
        }
        if (__atomic_load_n(&other.got, __ATOMIC_SEQ_CST) == (int)rows[i].waits)
            fail_msg("%s: %s", rows[i].what, rows[i].waits ? "it did not" : "it waited");
        mgc_pathlock_drop(&held);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(other.got, 1);
    }
    mgc_pathlocks_free(set);
}

static void a_dropped_lock_is_empty_and_may_be_dropped_again(void **state)
{
    struct mgc_pathlocks *set = mgc_pathlocks_new();
    struct mgc_pathlock lock = take(set, (struct want){TWO, "a", "b"}), zero = {0};

    (void)state;
    assert_true(lock.tree);
    mgc_pathlock_drop(&lock);
    assert_null(lock.set);
    assert_int_equal(lock.first, -1);
    mgc_pathlock_drop(&lock);
    mgc_pathlock_drop(&zero);
    mgc_pathlocks_free(set);
    mgc_pathlocks_free(NULL);
}

enum { THREADS = 4, ROUNDS = 3000, NAMES = 8 };
struct crowd {
    struct mgc_pathlocks *set;
    unsigned seed;
    int *cells; /* one per name: touched only under its lock */
};

static void *rename_around(void *arg)
{
    struct crowd *c = arg;
    char a[2] = "a", b[2] = "a";

    for (int i = 0; i < ROUNDS; i++) {
        int x = rand_r(&c->seed) % NAMES, y = rand_r(&c->seed) % NAMES;

        a[0] = (char)('a' + x);
        b[0] = (char)('a' + y);
        struct mgc_pathlock lock = mgc_pathlock_two(c->set, 1, 2, a, 1, 2, b, i % 97 == 0);
        c->cells[x]++;
        c->cells[y]++;
        mgc_pathlock_drop(&lock);
        lock = mgc_pathlock_take(c->set, 1, 2, a, MGC_PATHLOCK_EXCLUSIVE);
        c->cells[x]++;
        mgc_pathlock_drop(&lock);
    }
    return NULL;
}

/* Both orders of two names at once: a deadlock would run into the time limit; lost additions and
 * TSan would show two threads inside. */
static void renames_in_both_directions_end(void **state)
{
    struct mgc_pathlocks *set = mgc_pathlocks_new();
    int cells[NAMES] = {0}, sum = 0;
    struct crowd crowd[THREADS];
    pthread_t threads[THREADS];

    (void)state;
    for (unsigned i = 0; i < THREADS; i++) {
        crowd[i] = (struct crowd){.set = set, .seed = i + 1, .cells = cells};
        assert_int_equal(pthread_create(&threads[i], NULL, rename_around, &crowd[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < NAMES; i++)
        sum += cells[i];
    assert_int_equal(sum, THREADS * ROUNDS * 3);
    mgc_pathlocks_free(set);
}

#ifndef NDEBUG
static void debug_builds_stop_a_second_lock_of_one_thread(void **state)
{
    int status = 0;
    pid_t child = fork();

    (void)state;
    assert_true(child >= 0);
    if (child == 0) {
        struct mgc_pathlocks *set = mgc_pathlocks_new();
        (void)close(STDERR_FILENO);
        struct mgc_pathlock one = mgc_pathlock_tree(set);
        struct mgc_pathlock two = mgc_pathlock_take(set, 1, 2, "a", MGC_PATHLOCK_SHARED);
        _exit(one.tree && two.tree ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locks_exclude_as_the_table_says),
        cmocka_unit_test(a_dropped_lock_is_empty_and_may_be_dropped_again),
        cmocka_unit_test(renames_in_both_directions_end),
#ifndef NDEBUG
        cmocka_unit_test(debug_builds_stop_a_second_lock_of_one_thread),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
