/* test_liveset.c -- the fingerprint table and the set of shortened mentions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fs/refs/liveset_priv.h"
#include "fs/refs/shortset_priv.h"
#include "mediagcfs/error.h"

static const uint64_t seed[2] = {11, 12};

static void add(struct mgc_liveset *set, const char *path, uint32_t index, bool is_dir)
{
    assert_int_equal(mgc_liveset_add(set, MGC_SPACE_EXACT, path, strlen(path), index, is_dir), 0);
}

/* The value of a whole path, or NULL. */
static const uint32_t *find(const struct mgc_liveset *set, enum mgc_space space, const char *path)
{
    uint64_t print = set->roots[space];

    for (;;) {
        size_t bytes = strcspn(path, "/");

        print = mgc_liveset_step(set, print, path, bytes);
        if (path[bytes] == '\0')
            return mgc_liveset_find(set, print);
        path += bytes + 1;
    }
}

static void paths_and_their_directories_are_found(void **state)
{
    struct mgc_liveset set;

    (void)state;
    assert_int_equal(mgc_liveset_init(&set, seed, 0), 0);
    add(&set, "a/b/c.pdf", 0, false);
    add(&set, "a/b", 1, true);
    add(&set, "root.png", 2, false);
    assert_int_equal(*find(&set, MGC_SPACE_EXACT, "a/b/c.pdf"), MGC_NODE_FILE | 0);
    assert_int_equal(*find(&set, MGC_SPACE_EXACT, "a/b"), MGC_NODE_DIR | 1);
    assert_int_equal(*find(&set, MGC_SPACE_EXACT, "a"), MGC_NODE_DIR | MGC_NODE_INDEX);
    assert_int_equal(*find(&set, MGC_SPACE_EXACT, "root.png"), MGC_NODE_FILE | 2);
    assert_null(find(&set, MGC_SPACE_EXACT, "b/c.pdf"));
    assert_null(find(&set, MGC_SPACE_EXACT, "a/b/c.pd"));
    assert_null(find(&set, MGC_SPACE_FOLDED, "a/b/c.pdf"));
    mgc_liveset_done(&set);
}

static void names_with_delimiters_are_announced(void **state)
{
    struct mgc_liveset set;
    uint64_t dir, lead;

    (void)state;
    assert_int_equal(mgc_liveset_init(&set, seed, 0), 0);
    add(&set, "docs/annual report.pdf", 0, false);
    dir = mgc_liveset_step(&set, set.roots[MGC_SPACE_EXACT], "docs", 4);
    lead = mgc_liveset_step(&set, dir, "annual", 6);
    assert_true(mgc_liveset_has_lead(&set, lead));
    assert_false(mgc_liveset_has_lead(&set, dir));
    assert_true((*mgc_liveset_find(&set, dir) & MGC_NODE_SPACED) != 0);
    assert_true(mgc_liveset_spaced_length(&set, strlen("annual report.pdf")));
    assert_false(mgc_liveset_spaced_length(&set, 5));
    assert_false(set.root_spaced[MGC_SPACE_EXACT]);
    mgc_liveset_done(&set);
}

/* L2: a key that several paths share leads to all of them. */
static void twins_are_all_kept(void **state)
{
    struct mgc_liveset set;
    const uint32_t *value;
    unsigned seen = 0;

    (void)state;
    assert_int_equal(mgc_liveset_init(&set, seed, 0), 0);
    for (uint32_t i = 0; i < 5; i++) {
        add(&set, "a/b", i, false);
        add(&set, "a/b", i, false); /* the same path again is no twin */
    }
    value = find(&set, MGC_SPACE_EXACT, "a/b");
    assert_non_null(value);
    assert_true((*value & MGC_NODE_TWINS) != 0);
    for (uint32_t at = *value & MGC_NODE_INDEX; at != 0; at = set.twins[at].next) {
        assert_int_equal(seen & 1u << set.twins[at].index, 0);
        seen |= 1u << set.twins[at].index;
    }
    assert_int_equal(seen, 31);
    mgc_liveset_done(&set);
}

static void a_large_set_holds_everything(void **state)
{
    enum { COUNT = 200000 };
    struct mgc_liveset set;
    char path[64];

    (void)state;
    assert_int_equal(mgc_liveset_init(&set, seed, 0), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)snprintf(path, sizeof(path), "p/%02x/%u.jpg", i % 256, i);
        add(&set, path, i, false);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint32_t *value;

        (void)snprintf(path, sizeof(path), "p/%02x/%u.jpg", i % 256, i);
        value = find(&set, MGC_SPACE_EXACT, path);
        assert_non_null(value);
        assert_int_equal(*value, MGC_NODE_FILE | (int)i);
    }
    assert_null(find(&set, MGC_SPACE_EXACT, "p/00/x.jpg"));
    assert_true(mgc_liveset_memory(&set) < COUNT * 40 + (1 << 20));
    mgc_liveset_done(&set);
}

static void the_bound_on_memory_is_seen(void **state)
{
    struct mgc_liveset set;
    char path[64];

    (void)state;
    assert_int_equal(mgc_liveset_init(&set, seed, 1 << 20), 0);
    for (uint32_t i = 0; i < 200000; i++) {
        (void)snprintf(path, sizeof(path), "p/%u.jpg", i);
        add(&set, path, i, false);
    }
    assert_true(set.over);
    assert_true(mgc_liveset_memory(&set) <= 1 << 20);
    mgc_liveset_done(&set);
}

static void tails_refuse_what_cannot_be(void **state)
{
    struct mgc_liveset set;

    (void)state;
    assert_int_equal(mgc_liveset_init(&set, seed, 0), 0);
    mgc_liveset_add_tail(&set, "docs/a.pdf", 10);
    mgc_liveset_add_tail(&set, "ab", 2);
    mgc_liveset_add_folded_tail(&set, "docs/b.jpg", 10);
    assert_true(mgc_liveset_has_tail(&set, "x/other.pdf", 11));
    assert_true(mgc_liveset_has_tail(&set, "x/ab", 4));
    assert_false(mgc_liveset_has_tail(&set, "x/cab", 5));
    assert_false(mgc_liveset_has_tail(&set, "x/b.png", 7));
    assert_true(mgc_liveset_has_root_tail(&set, "ab", 2));
    assert_false(mgc_liveset_has_root_tail(&set, "a.pdf", 5));
    assert_true(mgc_liveset_may_have_folded_tail(&set, "X.JPG", 5));
    assert_true(mgc_liveset_may_have_folded_tail(&set, "x.\xc3\xa9g", 5));
    assert_false(mgc_liveset_may_have_folded_tail(&set, "x.png", 5));
    mgc_liveset_done(&set);
}

static void note(void *arg, uint32_t index)
{
    unsigned *seen = arg;

    *seen |= 1u << index;
}

static void suffixes_shared_by_few_are_told(void **state)
{
    struct mgc_shortset s;
    unsigned seen = 0;

    (void)state;
    mgc_shortset_init(&s);
    mgc_shortset_add(&s, 0); /* a fingerprint like any other */
    mgc_shortset_add(&s, 77);
    assert_true(mgc_shortset_has(&s, 0) && mgc_shortset_has(&s, 77) && !mgc_shortset_has(&s, 78));
    for (uint32_t i = 0; i < MGC_SUSPECT_SHARE_MAX; i++) {
        assert_true(mgc_shortset_count(&s, 0, i));
        assert_true(mgc_shortset_count(&s, 0, i)); /* two spellings of one path */
    }
    for (uint32_t i = 0; i <= MGC_SUSPECT_SHARE_MAX; i++)
        assert_true(mgc_shortset_count(&s, 77, 10 + i));
    mgc_shortset_few(&s, note, &seen);
    assert_int_equal(seen, (1 << MGC_SUSPECT_SHARE_MAX) - 1);
    mgc_shortset_done(&s);
}

static void above_the_bound_nothing_is_lost(void **state)
{
    struct mgc_shortset s;
    int wrong = 0;

    (void)state;
    mgc_shortset_init(&s);
    s.exact_max = 1000;
    s.suffix_max = 100;
    for (uint64_t i = 1; i <= 5000; i++)
        mgc_shortset_add(&s, i * UINT64_C(0x9E3779B97F4A7C15));
    assert_non_null(s.bloom);
    for (uint64_t i = 1; i <= 5000; i++)
        assert_true(mgc_shortset_has(&s, i * UINT64_C(0x9E3779B97F4A7C15)));
    for (uint64_t i = 1; i <= 5000; i++)
        wrong += mgc_shortset_has(&s, i * UINT64_C(0xD6E8FEB86659FD93));
    assert_true(wrong < 50);
    for (uint64_t i = 1; i <= 5000; i++) /* what cannot be counted says so */
        wrong += mgc_shortset_count(&s, i * UINT64_C(0x9E3779B97F4A7C15), (uint32_t)i);
    assert_true(wrong < 2000);
    mgc_shortset_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_and_their_directories_are_found),
        cmocka_unit_test(names_with_delimiters_are_announced),
        cmocka_unit_test(twins_are_all_kept),
        cmocka_unit_test(a_large_set_holds_everything),
        cmocka_unit_test(the_bound_on_memory_is_seen),
        cmocka_unit_test(tails_refuse_what_cannot_be),
        cmocka_unit_test(suffixes_shared_by_few_are_told),
        cmocka_unit_test(above_the_bound_nothing_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
