/* Directories in memory: paths and births, and what a damaged tree of rows may not do (H7). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/reconcile/run_priv.h"

enum { DEEP = MGC_DEPTH_MAX + 100 };

static struct mgc_dir table[DEEP + 16]; /* ids ascending */
static size_t table_count;

static int scan_dirs(struct mgc_catalog *c, int64_t after, int limit, mgc_dir_fn *each, void *arg,
                     struct mgc_err *err)
{
    int given = 0;

    (void)c;
    (void)err;
    for (size_t i = 0; i < table_count && given < limit; i++) {
        int r;

        if (table[i].id <= after)
            continue;
        r = each(arg, &table[i]);
        if (r != 0)
            return r;
        given++;
    }
    return given;
}

static const struct mgc_catalog_ops ops = {.kind = "table", .scan_dirs = scan_dirs};
static struct mgc_catalog catalog = {&ops};

static void put(int64_t id, int64_t parent_id, const char *name, int64_t born_us)
{
    assert_true(table_count < ARRAY_SIZE(table));
    table[table_count++] =
        (struct mgc_dir){.id = id, .parent_id = parent_id, .name = name, .born_us = born_us};
}

static struct mgc_dirs *load(void)
{
    struct mgc_dirs *d = calloc(1, sizeof(*d));

    assert_non_null(d);
    assert_int_equal(mgc_dirs_load(d, &catalog, NULL), 0);
    return d;
}

static void done(struct mgc_dirs *d)
{
    mgc_dirs_done(d);
    free(d);
    table_count = 0;
}

static int64_t born(const struct mgc_dirs *d, int64_t id)
{
    return d->rows[mgc_dirs_find(d, id)].born_us;
}

static void births_are_the_latest_of_all_above(void **state)
{
    struct mgc_dirs *d;

    (void)state;
    put(1, 0, "", 25);
    put(2, 9, "c", 10); /* parents may have later ids: a directory was moved */
    put(5, 1, "a", 50);
    put(9, 5, "b", 20);
    put(10, 1, "d", 30);
    d = load();
    assert_string_equal(mgc_dirs_path(d, mgc_dirs_find(d, 2)), "a/b/c");
    assert_string_equal(mgc_dirs_path(d, mgc_dirs_find(d, 2)), "a/b/c"); /* from memory */
    assert_string_equal(mgc_dirs_path(d, mgc_dirs_find(d, 10)), "d");
    assert_string_equal(mgc_dirs_path(d, mgc_dirs_find(d, 1)), "");
    assert_int_equal(born(d, 2), 50);
    assert_int_equal(born(d, 9), 50);
    assert_int_equal(born(d, 10), 30);
    assert_int_equal(born(d, 1), 25);
    assert_int_equal(mgc_dirs_find(d, 3), MGC_NO_INDEX);
    assert_int_equal(mgc_dirs_find(d, 11), MGC_NO_INDEX);
    assert_null(mgc_dirs_path(d, MGC_NO_INDEX));
    done(d);
}

static void what_has_no_place_is_never_old(void **state)
{
    struct mgc_dirs *d;

    (void)state;
    put(1, 0, "", 1);
    put(2, 77, "lost", 10); /* no such parent */
    put(3, 2, "below", 10);
    put(4, 5, "circle", 10); /* each other's parent */
    put(5, 4, "circle", 10);
    put(6, 6, "self", 10);
    put(7, 1, "unknown", 0); /* a birth nobody knows */
    put(8, 7, "under", 10);
    d = load();
    for (int64_t id = 2; id <= 6; id++) {
        assert_null(mgc_dirs_path(d, mgc_dirs_find(d, id)));
        assert_int_equal(born(d, id), INT64_MAX);
    }
    assert_string_equal(mgc_dirs_path(d, mgc_dirs_find(d, 8)), "unknown/under");
    assert_int_equal(born(d, 7), INT64_MAX);
    assert_int_equal(born(d, 8), INT64_MAX);
    done(d);
}

/* A chain of more directories than a path can have, given so that the deepest is met first. */
static void a_chain_without_end_has_no_place(void **state)
{
    struct mgc_dirs *d;

    (void)state;
    put(1, 0, "", 1);
    for (int64_t id = 2; id < DEEP; id++)
        put(id, id + 1, "d", 10);
    put(DEEP, 1, "d", 10);
    d = load();
    assert_null(mgc_dirs_path(d, mgc_dirs_find(d, 2)));
    assert_int_equal(born(d, 2), INT64_MAX);
    assert_string_equal(mgc_dirs_path(d, mgc_dirs_find(d, DEEP - 1)), "d/d");
    done(d);
}

static void a_path_too_long_is_none(void **state)
{
    char name[256];
    struct mgc_dirs *d;
    uint32_t last;

    (void)state;
    memset(name, 'n', 255);
    name[255] = '\0';
    put(1, 0, "", 1);
    for (int64_t id = 2; id < 19; id++)
        put(id, id - 1, name, 10);
    d = load();
    last = mgc_dirs_find(d, 17); /* sixteen names of 255 and fifteen slashes: 4095 */
    assert_non_null(mgc_dirs_path(d, last));
    assert_int_equal(strlen(mgc_dirs_path(d, last)), MGC_PATH_BYTES_MAX);
    assert_null(mgc_dirs_path(d, mgc_dirs_find(d, 18)));
    assert_non_null(mgc_dirs_path(d, last)); /* a failure forgets nothing */
    done(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(births_are_the_latest_of_all_above),
        cmocka_unit_test(what_has_no_place_is_never_old),
        cmocka_unit_test(a_chain_without_end_has_no_place),
        cmocka_unit_test(a_path_too_long_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
