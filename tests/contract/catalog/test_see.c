/* test_see.c -- rows of a directory against what a verification found in it. */
#include "fixture.h"

#include <sys/stat.h>

#include "mediagcfs/attr.h"

enum { NAMES_MAX = 16 };

/* What the tree says when it is asked again; a name in neither list is gone. */
struct tree {
    struct mgc_seen_name now[NAMES_MAX];
    size_t count, asked;
    int fail;
    size_t fail_after; /* so many answers */
};

static int ask(void *arg, const char *name, struct mgc_file_stat *ret_stat)
{
    struct tree *tree = arg;

    if (tree->fail < 0 && tree->asked >= tree->fail_after)
        return tree->fail;
    tree->asked++;
    if (tree->fail < 0) {
        *ret_stat = a_file(tree->asked, 3, T0);
        return 0;
    }
    for (size_t i = 0; i < tree->count; i++)
        if (strcmp(tree->now[i].name, name) == 0) {
            *ret_stat = tree->now[i].stat;
            return 0;
        }
    return -ENOENT;
}

/* The listing is what the tree says at once; the tests change `tree.now` for what came later. */
static struct mgc_seen_result see(struct fixture *f, const char *path,
                                  const struct mgc_seen_name *names, size_t count,
                                  struct tree *tree)
{
    struct mgc_seen_dir seen = {.path = path,
                                .stat = a_dir(500, T0 + HOUR),
                                .read_us = T0 + 2 * HOUR,
                                .names = names,
                                .count = count,
                                .again = tree != NULL ? ask : NULL,
                                .arg = tree};
    struct mgc_seen_result result = {-1, -1, -1};

    ok(f, f->c->ops->see_dir(f->c, &seen, &result, &f->err));
    return result;
}

static void an_import_is_born_when_first_seen(void **state)
{
    struct fixture *f = *state;
    struct mgc_seen_name names[] = {{"a.pdf", a_file(1, 10, T0)},
                                    {"b.pdf", a_file(2, 20, T0 + 3 * HOUR)},
                                    {"sub", a_dir(3, T0)}};
    struct tree tree = {.count = 3};
    struct mgc_seen_result result;
    struct mgc_entry e;
    struct mgc_dir dir;

    memcpy(tree.now, names, sizeof(names));
    names[1].stat.mtime_us = T0 - HOUR; /* copied with its old modification time */
    tree.now[1].stat.mtime_us = T0 - HOUR;
    result = see(f, "docs", names, 3, &tree);
    assert_int_equal(result.added, 2);
    assert_int_equal(result.removed, 0);
    assert_int_equal(result.changed, 0);
    e = entry_at(f, "docs/a.pdf");
    assert_int_equal(e.born_us, T0 + 2 * HOUR); /* the reading began then */
    assert_int_equal(e.written_us, T0);
    assert_int_equal(e.changed_us, T0);
    assert_int_equal(e.uid, (uint32_t)-1);
    e = entry_at(f, "docs/b.pdf");
    assert_int_equal(e.born_us, T0 + 3 * HOUR); /* it came during the reading */
    assert_int_equal(e.written_us, T0 - HOUR);
    ok(f, f->c->ops->dir_find(f->c, "docs/sub", &dir));
    assert_int_equal(dir.born_us, T0 + 2 * HOUR);
    assert_int_equal(dir.changed_us, 0);
    ok(f, f->c->ops->dir_find(f->c, "docs", &dir));
    assert_int_equal(dir.changed_us, T0 + HOUR);
    assert_int_equal(dir.verified_us, T0 + 2 * HOUR);
    assert_totals(f, 2, 30);
}

static void a_directory_as_recorded_is_not_asked_again(void **state)
{
    struct fixture *f = *state;
    struct mgc_seen_name names[] = {{"a", a_file(1, 100, T0)}, {"sub", a_dir(3, T0)}};
    struct tree tree = {.fail = -EIO};
    struct mgc_seen_result result;
    int64_t id;

    create(f, "a", 1, T0);
    mkdir_at(f, "sub", T0);
    id = entry_at(f, "a").id;
    result = see(f, "", names, 2, &tree);
    assert_int_equal(tree.asked, 0);
    assert_int_equal(result.added + result.removed + result.changed, 0);
    assert_int_equal(entry_at(f, "a").id, id);
    assert_int_equal(entry_at(f, "a").born_us, T0);
}

static void what_is_gone_is_removed_with_all_beneath(void **state)
{
    struct fixture *f = *state;
    struct tree tree = {0};
    struct mgc_seen_result result;

    create(f, "d/a", 1, T0);
    create(f, "d/e/b", 2, T0);
    create(f, "d/e/g/c", 3, T0);
    create(f, "x", 4, T0);
    result = see(f, "d", NULL, 0, &tree);
    assert_int_equal(result.removed, 3);
    assert_int_equal(tree.asked, 2);
    assert_false(exists(f, "d/a"));
    assert_false(dir_exists(f, "d/e/g"));
    assert_true(exists(f, "x"));
    assert_totals(f, 1, 100);
}

static void another_file_under_the_name_is_a_new_entry(void **state)
{
    struct fixture *f = *state;
    struct mgc_seen_name names[] = {{"a", a_file(9, 100, T0)}};
    struct tree tree = {.count = 1};
    struct mgc_seen_result result;
    int64_t id;

    create(f, "a", 1, T0);
    id = entry_at(f, "a").id;
    memcpy(tree.now, names, sizeof(names));
    result = see(f, "", names, 1, &tree);
    assert_int_equal(result.added, 1);
    assert_int_equal(result.removed, 1);
    assert_true(entry_at(f, "a").id > id);
    assert_int_equal(entry_at(f, "a").born_us, T0 + 2 * HOUR);
    /* Its inode number, taken over by another file: the birth time tells them apart. */
    names[0].stat.id.stamp++;
    memcpy(tree.now, names, sizeof(names));
    result = see(f, "", names, 1, &tree);
    assert_int_equal(result.added, 1);
}

static void the_same_file_changed_keeps_its_birth(void **state)
{
    struct fixture *f = *state;
    struct mgc_seen_name names[] = {{"a", a_file(1, 100, T0 + HOUR)}};
    struct tree tree = {.count = 1};
    struct mgc_seen_result result;
    int64_t id;

    create(f, "a", 1, T0);
    id = entry_at(f, "a").id;
    names[0].stat.mtime_us = T0; /* chmod: only the change time */
    memcpy(tree.now, names, sizeof(names));
    result = see(f, "", names, 1, &tree);
    assert_int_equal(result.changed, 1);
    assert_int_equal(entry_at(f, "a").id, id);
    assert_int_equal(entry_at(f, "a").born_us, T0);
    assert_int_equal(entry_at(f, "a").changed_us, T0 + HOUR);
    assert_int_equal(entry_at(f, "a").written_us, T0);
    /* Another size with an old modification time: written at the change time at the latest. */
    names[0].stat.size_bytes = 7;
    names[0].stat.ctime_us = T0 + 90 * MINUTE;
    memcpy(tree.now, names, sizeof(names));
    (void)see(f, "", names, 1, &tree);
    assert_int_equal(entry_at(f, "a").written_us, T0 + 90 * MINUTE);
    /* A modification time in the future, as cameras make them, is bounded by the change time. */
    names[0].stat.mtime_us = T0 + 1000000 * HOUR;
    names[0].stat.ctime_us = T0 + 91 * MINUTE;
    memcpy(tree.now, names, sizeof(names));
    (void)see(f, "", names, 1, &tree);
    assert_int_equal(entry_at(f, "a").written_us, T0 + 91 * MINUTE);
    assert_totals(f, 1, 7);
}

/* Between listing and comparison the application went on, and its changes were recorded. */
static void what_was_recorded_meanwhile_is_not_undone(void **state)
{
    struct fixture *f = *state;
    struct mgc_seen_name names[] = {{"gone", a_file(1, 100, T0)},
                                    {"kept", a_file(2, 100, T0)},
                                    {"written", a_file(3, 100, T0)}};
    struct tree tree = {.now = {{"kept", a_file(2, 100, T0)},
                                {"new", a_file(4, 100, T0 + HOUR)},
                                {"newdir", a_dir(5, T0 + HOUR)},
                                {"written", a_file(3, 999, T0 + HOUR)}},
                        .count = 4};
    struct mgc_seen_result result;
    int64_t written, new;

    create(f, "gone", 1, T0);
    create(f, "kept", 2, T0);
    create(f, "written", 3, T0);
    unlink_at(f, "gone", T0);
    create(f, "new", 4, T0 + HOUR);
    mkdir_at(f, "newdir", T0 + HOUR);
    change(f, (struct mgc_change){.kind = MGC_CHANGE_WRITE,
                                  .path = "written",
                                  .time_us = T0 + HOUR,
                                  .stat = a_file(3, 999, T0 + HOUR)});
    written = entry_at(f, "written").id;
    new = entry_at(f, "new").id;
    result = see(f, "", names, 3, &tree);
    assert_int_equal(result.added + result.removed + result.changed, 0);
    assert_int_equal(tree.asked, 4);
    assert_false(exists(f, "gone"));
    assert_int_equal(entry_at(f, "new").id, new);
    assert_int_equal(entry_at(f, "new").born_us, T0 + HOUR);
    assert_true(dir_exists(f, "newdir"));
    assert_int_equal(entry_at(f, "written").id, written);
    assert_int_equal(entry_at(f, "written").size_bytes, 999);
}

static void what_cannot_be_asked_again_undoes_the_whole(void **state)
{
    struct fixture *f = *state;
    struct mgc_seen_name names[] = {{"a", a_file(1, 10, T0)}};
    struct tree tree = {.fail = -EIO};
    struct mgc_seen_dir seen = {.path = "d",
                                .stat = a_dir(500, T0),
                                .read_us = T0,
                                .names = names,
                                .count = 1,
                                .again = ask,
                                .arg = &tree};
    struct mgc_seen_result result = {-1, -1, -1};

    assert_int_equal(f->c->ops->see_dir(f->c, &seen, &result, &f->err), -EIO);
    assert_int_equal(result.added, -1);
    assert_non_null(strstr(f->err.text, "'a'"));
    assert_false(dir_exists(f, "d"));
    assert_totals(f, 0, 0);
}

static void file_and_directory_change_places(void **state)
{
    struct fixture *f = *state;
    struct mgc_seen_name names[] = {{"x", a_dir(1, T0)}, {"y", a_file(2, 5, T0)}};
    struct tree tree = {.count = 2};
    struct mgc_seen_result result;

    create(f, "x", 1, T0);
    create(f, "y/deep/file", 2, T0);
    memcpy(tree.now, names, sizeof(names));
    result = see(f, "", names, 2, &tree);
    assert_int_equal(result.added, 1);
    assert_int_equal(result.removed, 2);
    assert_true(dir_exists(f, "x"));
    assert_false(exists(f, "x"));
    assert_true(exists(f, "y"));
    assert_false(dir_exists(f, "y"));
    assert_totals(f, 1, 5);
}

static void what_is_no_entry_and_our_own_directory_are_passed_over(void **state)
{
    struct fixture *f = *state;
    struct mgc_seen_name names[] = {{".mediagcfs", a_dir(1, T0)}, {"sock", a_file(2, 5, T0)}};
    struct mgc_seen_result result;

    names[1].stat.mode = S_IFSOCK | 0600;
    create(f, "sock", 3, T0); /* a file was here before */
    result = see(f, "", names, 2, NULL);
    assert_int_equal(result.added, 0);
    assert_int_equal(result.removed, 1);
    assert_false(dir_exists(f, ".mediagcfs"));
}

static void a_listing_that_is_none_is_refused(void **state)
{
    static const char *const bad[][2] = {{"b", "a"}, {"a", "a"},  {"", "a"},
                                         {".", "a"}, {"..", "a"}, {"a", "b/c"}};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct mgc_seen_name names[] = {{bad[i][0], a_file(1, 1, T0)},
                                        {bad[i][1], a_file(2, 1, T0)}};
        struct mgc_seen_dir seen = {
            .path = "d", .stat = a_dir(5, T0), .read_us = T0, .names = names, .count = 2};
        struct mgc_seen_result result = {-1, -1, -1};

        assert_int_equal(f->c->ops->see_dir(f->c, &seen, &result, &f->err), -EINVAL);
        assert_int_equal(result.added, -1);
    }
    assert_totals(f, 0, 0);
}

/* Bytes in the order of strcmp(): above 0x7f, prefixes, and the slash's neighbours. */
static void names_are_compared_as_bytes(void **state)
{
    struct mgc_seen_name names[] = {
        {"a", a_file(1, 1, T0)},         {"a b", a_file(2, 1, T0)},   {"a.b", a_file(3, 1, T0)},
        {"a0", a_file(4, 1, T0)},        {"aa", a_file(5, 1, T0)},    {"a\x7f", a_file(6, 1, T0)},
        {"a\x80", a_file(7, 1, T0)},     {"a\xff", a_file(8, 1, T0)}, {"b", a_file(9, 1, T0)},
        {"\xc3\xa9", a_file(10, 1, T0)},
    };
    struct fixture *f = *state;
    struct tree tree = {.fail = -EIO};
    struct mgc_seen_result result;

    assert_int_equal(see(f, "", names, ARRAY_SIZE(names), NULL).added, ARRAY_SIZE(names));
    result = see(f, "", names, ARRAY_SIZE(names), &tree); /* the second time all agree */
    assert_int_equal(result.added + result.removed + result.changed, 0);
    assert_int_equal(tree.asked, 0);
}

/* More disagreements than one transaction takes. */
static void a_big_directory_is_written_in_parts(void **state)
{
    enum { COUNT = 10000 };
    struct fixture *f = *state;
    mgc_autofree struct mgc_seen_name *names = calloc(COUNT, sizeof(*names));
    mgc_autofree char *text = calloc(COUNT, 16);
    struct tree tree = {.fail = -EIO, .fail_after = 5000};
    struct mgc_seen_dir seen = {.path = "big",
                                .stat = a_dir(500, T0),
                                .read_us = T0,
                                .count = COUNT,
                                .again = ask,
                                .arg = &tree};
    struct mgc_seen_result result;
    struct mgc_dir dir;

    assert_non_null(names);
    assert_non_null(text);
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(text + 16 * i, 16, "f%08zu", i);
        names[i] = (struct mgc_seen_name){text + 16 * i, a_file(i + 1, 3, T0)};
    }
    /* An error in a later part leaves the parts before it, and the directory unverified. */
    seen.names = names;
    assert_int_equal(f->c->ops->see_dir(f->c, &seen, &result, &f->err), -EIO);
    ok(f, f->c->ops->dir_find(f->c, "big", &dir));
    assert_int_equal(dir.changed_us, 0);
    assert_int_equal(dir.verified_us, 0);
    assert_totals(f, 4096, 3 * 4096);
    assert_int_equal(see(f, "big", names, COUNT, NULL).added, COUNT - 4096);
    assert_totals(f, COUNT, 3 * COUNT);
    ok(f, f->c->ops->dir_find(f->c, "big", &dir));
    assert_int_equal(dir.verified_us, T0 + 2 * HOUR);
    assert_int_equal(see(f, "big", names + 1, COUNT - 9000, NULL).removed, 9000);
    assert_totals(f, COUNT - 9000, 3 * (COUNT - 9000));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_import_is_born_when_first_seen),
        cmocka_unit_test(a_directory_as_recorded_is_not_asked_again),
        cmocka_unit_test(what_is_gone_is_removed_with_all_beneath),
        cmocka_unit_test(another_file_under_the_name_is_a_new_entry),
        cmocka_unit_test(the_same_file_changed_keeps_its_birth),
        cmocka_unit_test(what_was_recorded_meanwhile_is_not_undone),
        cmocka_unit_test(what_cannot_be_asked_again_undoes_the_whole),
        cmocka_unit_test(file_and_directory_change_places),
        cmocka_unit_test(what_is_no_entry_and_our_own_directory_are_passed_over),
        cmocka_unit_test(a_listing_that_is_none_is_refused),
        cmocka_unit_test(names_are_compared_as_bytes),
        cmocka_unit_test(a_big_directory_is_written_in_parts),
    };

    return contract_run("see", tests, ARRAY_SIZE(tests));
}
