/* test_tree.c -- directories, entries and the changes of applications. */
#include "fixture.h"

#include <sys/stat.h>

#include "mediagcfs/attr.h"

static void a_created_file_is_an_entry(void **state)
{
    struct fixture *f = *state;
    struct mgc_entry e;

    create(f, "docs/a.pdf", 7, T0);
    e = entry_at(f, "docs/a.pdf");
    assert_true(e.id > MGC_ROOT_DIR);
    assert_int_equal(e.kind, MGC_KIND_FILE);
    assert_int_equal(e.uid, 33);
    assert_int_equal(e.size_bytes, 100);
    assert_int_equal(e.file_id.ino, 7);
    assert_int_equal(e.file_id.stamp, 7007);
    assert_int_equal(e.file_id.kind, MGC_ID_BIRTH);
    assert_int_equal(e.nlink, 1);
    assert_int_equal(e.born_us, T0);
    assert_int_equal(e.written_us, T0);
    assert_int_equal(e.changed_us, T0);
    assert_int_equal(e.orphan_runs, 0);
    assert_int_equal(e.healed_us, 0);
    assert_totals(f, 1, 100);
}

static void unknown_parents_are_born_now_never_early(void **state)
{
    struct fixture *f = *state;
    struct mgc_dir dir;

    create(f, "a/b/c.pdf", 7, T0 + HOUR);
    ok(f, f->c->ops->dir_find(f->c, "a/b", &dir));
    assert_int_equal(dir.born_us, T0 + HOUR);
    assert_int_equal(dir.changed_us, 0);
    assert_int_equal(dir.verified_us, 0);
    ok(f, f->c->ops->dir_find(f->c, "", &dir));
    assert_int_equal(dir.id, MGC_ROOT_DIR);
    assert_int_equal(dir.parent_id, 0);
    assert_int_equal(dir.born_us, 0);
}

static void names_are_bytes(void **state)
{
    struct fixture *f = *state;
    char path[4096] = "";
    struct mgc_entry e;

    create(f, "Caf\xe9/\xff\xfe.jpg", 7, T0);
    create(f, "caf\xc3\xa9/%00'\"\n.jpg", 8, T0);
    create(f, "CAF\xc3\x89", 9, T0);
    assert_true(exists(f, "Caf\xe9/\xff\xfe.jpg"));
    assert_false(exists(f, "caf\xe9/\xff\xfe.jpg"));
    e = entry_at(f, "caf\xc3\xa9/%00'\"\n.jpg");
    ok(f, mgc_catalog_entry_path(f->c, e.dir_id, "%00'\"\n.jpg", path, sizeof(path)));
    assert_string_equal(path, "caf\xc3\xa9/%00'\"\n.jpg");
    assert_totals(f, 3, 300);
}

static void a_bad_path_is_refused_and_nothing_is_recorded(void **state)
{
    static const char *const bad[] = {"/a", "a/", "a//b", "../a", "a/./b", ".mediagcfs/x", ""};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct mgc_change two[] = {
            {.kind = MGC_CHANGE_CREATE, .path = "good", .time_us = T0, .stat = a_file(1, 1, T0)},
            {.kind = MGC_CHANGE_CREATE, .path = bad[i], .time_us = T0, .stat = a_file(2, 1, T0)},
        };

        assert_int_equal(f->c->ops->apply(f->c, two, 2, &f->err), -EINVAL);
        assert_true(f->err.text[0] != '\0');
        assert_false(exists(f, "good"));
    }
    assert_totals(f, 0, 0);
}

static void what_is_neither_file_nor_symlink_is_no_entry(void **state)
{
    struct fixture *f = *state;
    struct mgc_file_stat stat = a_file(7, 0, T0);

    stat.mode = S_IFIFO | 0600;
    change(f, (struct mgc_change){
                  .kind = MGC_CHANGE_CREATE, .path = "pipe", .time_us = T0, .stat = stat});
    assert_false(exists(f, "pipe"));
    stat.mode = S_IFLNK | 0777;
    change(f, (struct mgc_change){
                  .kind = MGC_CHANGE_CREATE, .path = "link", .time_us = T0, .stat = stat});
    assert_int_equal(entry_at(f, "link").kind, MGC_KIND_SYMLINK);
}

static void creating_again_keeps_the_row_of_the_same_file_only(void **state)
{
    struct fixture *f = *state;
    int64_t id;

    create(f, "a", 7, T0);
    id = entry_at(f, "a").id;
    create(f, "a", 7, T0 + HOUR);
    assert_int_equal(entry_at(f, "a").id, id);
    assert_int_equal(entry_at(f, "a").born_us, T0 + HOUR);
    create(f, "a", 7, T0); /* an older report never makes it older */
    assert_int_equal(entry_at(f, "a").born_us, T0 + HOUR);
    create(f, "a", 8, T0 + 2 * HOUR);
    assert_true(entry_at(f, "a").id > id);
    assert_totals(f, 1, 100);
}

static void a_link_is_an_entry_of_its_own(void **state)
{
    struct fixture *f = *state;

    create(f, "a", 7, T0);
    change(f, (struct mgc_change){.kind = MGC_CHANGE_LINK,
                                  .path = "b",
                                  .time_us = T0 + HOUR,
                                  .uid = 33,
                                  .stat = a_file(7, 100, T0 + HOUR)});
    assert_true(entry_at(f, "b").id != entry_at(f, "a").id);
    assert_int_equal(entry_at(f, "b").uid, (uint32_t)-1);
    assert_int_equal(entry_at(f, "b").born_us, T0 + HOUR);
    assert_int_equal(entry_at(f, "a").born_us, T0);
}

static void writing_moves_written_and_size(void **state)
{
    struct fixture *f = *state;
    struct mgc_change write = {.kind = MGC_CHANGE_WRITE,
                               .path = "a",
                               .time_us = T0 + HOUR,
                               .stat = a_file(7, 5000, T0 + HOUR)};
    int64_t id;

    create(f, "a", 7, T0);
    id = entry_at(f, "a").id;
    change(f, write);
    assert_int_equal(entry_at(f, "a").id, id);
    assert_int_equal(entry_at(f, "a").born_us, T0);
    assert_int_equal(entry_at(f, "a").written_us, T0 + HOUR);
    assert_int_equal(entry_at(f, "a").changed_us, T0 + HOUR);
    assert_totals(f, 1, 5000);
    write.time_us = T0; /* merged out of order: never earlier */
    change(f, write);
    assert_int_equal(entry_at(f, "a").written_us, T0 + HOUR);
    /* Another file under the name: what was known of the old one does not count for it. */
    write.time_us = T0 + 2 * HOUR;
    write.stat.id.ino = 8;
    change(f, write);
    assert_true(entry_at(f, "a").id > id);
    assert_int_equal(entry_at(f, "a").born_us, T0 + 2 * HOUR);
    write.path = "unknown/file";
    change(f, write);
    assert_false(dir_exists(f, "unknown"));
}

static void attributes_are_not_content_but_a_truncate_is(void **state)
{
    struct fixture *f = *state;
    struct mgc_change stat = {.kind = MGC_CHANGE_STAT,
                              .path = "a",
                              .time_us = T0 + HOUR,
                              .stat = a_file(7, 100, T0 + HOUR)};

    create(f, "a", 7, T0);
    change(f, stat);
    assert_int_equal(entry_at(f, "a").written_us, T0);
    assert_int_equal(entry_at(f, "a").changed_us, T0 + HOUR);
    stat.stat.size_bytes = 0;
    change(f, stat);
    assert_int_equal(entry_at(f, "a").written_us, T0 + HOUR);
    assert_totals(f, 1, 0);
    stat.path = ""; /* a chmod of the root is nothing to record */
    change(f, stat);
    stat.path = "a"; /* unlinked before anybody could look: only the time is known */
    stat.time_us = T0 + 3 * HOUR;
    stat.stat = (struct mgc_file_stat){0};
    change(f, stat);
    assert_int_equal(entry_at(f, "a").written_us, T0 + 3 * HOUR);
    assert_int_equal(entry_at(f, "a").file_id.ino, 7);
}

static void a_file_without_identity_keeps_its_row(void **state)
{
    struct fixture *f = *state;
    struct mgc_change one = {
        .kind = MGC_CHANGE_CREATE, .path = "a", .time_us = T0, .stat = a_file(7, 1, T0)};
    int64_t id;

    one.stat.id = (struct mgc_file_id){.ino = 7, .kind = MGC_ID_NONE};
    change(f, one);
    id = entry_at(f, "a").id;
    one.kind = MGC_CHANGE_WRITE;
    change(f, one);
    assert_int_equal(entry_at(f, "a").id, id);
    one.stat.id.ino = 8;
    change(f, one);
    assert_true(entry_at(f, "a").id > id);
}

static void unlink_and_rmdir_remove(void **state)
{
    struct fixture *f = *state;

    create(f, "d/a", 1, T0);
    create(f, "d/e/b", 2, T0);
    create(f, "d/e/f/c", 3, T0);
    create(f, "de/x", 4, T0);
    unlink_at(f, "d/a", T0);
    unlink_at(f, "d/a", T0); /* nothing to remove is no error */
    assert_false(exists(f, "d/a"));
    assert_totals(f, 3, 300);
    change(f, (struct mgc_change){.kind = MGC_CHANGE_RMDIR, .path = "d/e", .time_us = T0});
    assert_true(dir_exists(f, "d"));
    assert_false(dir_exists(f, "d/e"));
    assert_false(dir_exists(f, "d/e/f"));
    assert_false(exists(f, "d/e/f/c"));
    assert_true(exists(f, "de/x"));
    assert_totals(f, 1, 100);
}

static void rename_of_a_file_moves_the_row_and_replaces(void **state)
{
    struct fixture *f = *state;
    struct mgc_entry e;
    int64_t id;

    create(f, "a", 1, T0);
    create(f, "d/b", 2, T0);
    id = entry_at(f, "a").id;
    change(f, (struct mgc_change){.kind = MGC_CHANGE_RENAME,
                                  .path = "a",
                                  .path2 = "d/b",
                                  .time_us = T0 + HOUR,
                                  .stat = a_file(1, 100, T0 + HOUR)});
    assert_false(exists(f, "a"));
    e = entry_at(f, "d/b");
    assert_int_equal(e.id, id);
    assert_int_equal(e.file_id.ino, 1);
    assert_int_equal(e.born_us, T0 + HOUR);
    assert_int_equal(e.written_us, T0);
    assert_int_equal(e.changed_us, T0 + HOUR);
    assert_totals(f, 1, 100);
}

static void rename_of_something_unknown_is_a_birth(void **state)
{
    struct fixture *f = *state;

    create(f, "d/b", 2, T0);
    change(f, (struct mgc_change){.kind = MGC_CHANGE_RENAME,
                                  .path = "never/seen",
                                  .path2 = "d/b",
                                  .time_us = T0 + HOUR,
                                  .stat = a_file(1, 50, T0)});
    assert_int_equal(entry_at(f, "d/b").file_id.ino, 1);
    assert_int_equal(entry_at(f, "d/b").born_us, T0 + HOUR);
    assert_int_equal(entry_at(f, "d/b").uid, (uint32_t)-1);
    assert_totals(f, 1, 50);
    /* Nothing known of it at all: what was replaced is gone all the same. */
    rename_at(f, "never/seen", "d/b", false, T0);
    assert_false(exists(f, "d/b"));
    rename_at(f, "never", "new", true, T0 + HOUR);
    assert_true(dir_exists(f, "new"));
    assert_totals(f, 0, 0);
}

static void a_verification_may_be_faster_than_a_rename(void **state)
{
    struct fixture *f = *state;
    int64_t id;

    create(f, "b", 1, T0); /* as see_dir() found it under its new name */
    id = entry_at(f, "b").id;
    change(f, (struct mgc_change){.kind = MGC_CHANGE_RENAME,
                                  .path = "a",
                                  .path2 = "b",
                                  .time_us = T0 + HOUR,
                                  .stat = a_file(1, 100, T0 + HOUR)});
    assert_int_equal(entry_at(f, "b").id, id);
    assert_int_equal(entry_at(f, "b").born_us, T0 + HOUR);
}

static void a_stale_row_does_not_follow_a_rename(void **state)
{
    struct fixture *f = *state;

    create(f, "a", 1, T0);
    change(f, (struct mgc_change){.kind = MGC_CHANGE_RENAME,
                                  .path = "a",
                                  .path2 = "b",
                                  .time_us = T0 + HOUR,
                                  .stat = a_file(9, 7, T0 + HOUR)});
    assert_false(exists(f, "a"));
    assert_int_equal(entry_at(f, "b").file_id.ino, 9);
    assert_int_equal(entry_at(f, "b").written_us, T0 + HOUR);
    assert_totals(f, 1, 7);
}

static void rename_of_a_directory_takes_all_beneath(void **state)
{
    struct fixture *f = *state;
    struct mgc_dir dir;
    int64_t id, entry;

    create(f, "d/e/a", 1, T0);
    mkdir_at(f, "x", T0);
    create(f, "x/y/stale", 2, T0);
    ok(f, f->c->ops->dir_find(f->c, "d/e", &dir));
    id = dir.id;
    entry = entry_at(f, "d/e/a").id;
    rename_at(f, "d", "x/y", true, T0 + HOUR);
    assert_false(dir_exists(f, "d"));
    assert_int_equal(entry_at(f, "x/y/e/a").id, entry);
    assert_int_equal(entry_at(f, "x/y/e/a").born_us, T0); /* its directory says the rest (H7) */
    assert_false(exists(f, "x/y/stale"));
    ok(f, f->c->ops->dir_find(f->c, "x/y/e", &dir));
    assert_int_equal(dir.id, id);
    assert_int_equal(dir.born_us, T0);
    ok(f, f->c->ops->dir_find(f->c, "x/y", &dir));
    assert_int_equal(dir.born_us, T0 + HOUR);
    assert_totals(f, 1, 100);
}

static void a_rename_into_itself_is_refused(void **state)
{
    struct fixture *f = *state;
    struct mgc_change one = {
        .kind = MGC_CHANGE_RENAME, .path = "d", .path2 = "d/e", .directory = true, .time_us = T0};

    create(f, "d/a", 1, T0);
    assert_int_equal(f->c->ops->apply(f->c, &one, 1, &f->err), -EINVAL);
    one.path2 = "d";
    ok(f, f->c->ops->apply(f->c, &one, 1, &f->err));
    assert_true(exists(f, "d/a"));
}

static void exchange_swaps_files_and_directories(void **state)
{
    static const struct {
        bool first, second;
    } rows[] = {{false, false}, {true, true}, {true, false}, {false, true}};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *one = rows[i].first ? "p/one/f" : "p/one";
        const char *two = rows[i].second ? "q/two/f" : "q/two";
        int64_t id_one, id_two;

        create(f, one, 1, T0);
        create(f, two, 2, T0);
        id_one = entry_at(f, one).id;
        id_two = entry_at(f, two).id;
        change(f, (struct mgc_change){.kind = MGC_CHANGE_EXCHANGE,
                                      .path = "p/one",
                                      .path2 = "q/two",
                                      .directory = rows[i].first,
                                      .directory2 = rows[i].second,
                                      .time_us = T0 + HOUR});
        assert_int_equal(entry_at(f, rows[i].second ? "p/one/f" : "p/one").id, id_two);
        assert_int_equal(entry_at(f, rows[i].first ? "q/two/f" : "q/two").id, id_one);
        if (!rows[i].second)
            assert_int_equal(entry_at(f, "p/one").born_us, T0 + HOUR);
        if (rows[i].first) {
            struct mgc_dir dir;

            ok(f, f->c->ops->dir_find(f->c, "q/two", &dir));
            assert_int_equal(dir.born_us, T0 + HOUR);
        }
        assert_totals(f, 2, 200);
        change(f, (struct mgc_change){.kind = MGC_CHANGE_RMDIR, .path = "p"});
        change(f, (struct mgc_change){.kind = MGC_CHANGE_RMDIR, .path = "q"});
        assert_totals(f, 0, 0);
    }
}

static void exchange_with_something_unknown_moves_the_other(void **state)
{
    struct fixture *f = *state;

    create(f, "a", 1, T0);
    change(f, (struct mgc_change){
                  .kind = MGC_CHANGE_EXCHANGE, .path = "a", .path2 = "b", .time_us = T0 + HOUR});
    assert_false(exists(f, "a"));
    assert_int_equal(entry_at(f, "b").born_us, T0 + HOUR);
    assert_totals(f, 1, 100);
}

static void a_name_is_an_entry_or_a_directory(void **state)
{
    struct fixture *f = *state;

    create(f, "x", 1, T0);
    create(f, "x/a", 2, T0); /* the file x must have gone unseen */
    assert_false(exists(f, "x"));
    assert_true(exists(f, "x/a"));
    create(f, "x", 3, T0);
    assert_false(dir_exists(f, "x"));
    mkdir_at(f, "x", T0);
    assert_true(dir_exists(f, "x"));
    assert_false(exists(f, "x"));
    assert_totals(f, 0, 0);
}

static void a_batch_is_applied_in_order_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    struct mgc_change batch[] = {
        {.kind = MGC_CHANGE_MKDIR, .path = "d", .time_us = T0, .stat = a_dir(9, T0)},
        {.kind = MGC_CHANGE_CREATE, .path = "d/a", .time_us = T0, .stat = a_file(1, 1, T0)},
        {.kind = MGC_CHANGE_RENAME, .path = "d", .path2 = "e", .directory = true, .time_us = T0},
        {.kind = MGC_CHANGE_CREATE, .path = "e/b", .time_us = T0, .stat = a_file(2, 2, T0)},
        {.kind = MGC_CHANGE_UNLINK, .path = "e/a", .time_us = T0},
        {.kind = MGC_CHANGE_CREATE, .path = "d/c", .time_us = T0, .stat = a_file(3, 4, T0)},
    };

    ok(f, f->c->ops->apply(f->c, batch, ARRAY_SIZE(batch), &f->err));
    assert_false(exists(f, "e/a"));
    assert_true(exists(f, "e/b"));
    assert_true(exists(f, "d/c"));
    assert_totals(f, 2, 6);
}

static int collect_names(void *arg, const struct mgc_entry *entry)
{
    char *out = arg;
    size_t used = strlen(out);

    (void)snprintf(out + used, 64 - used, "%s ", entry->name);
    return entry->name[0] == 'z' ? 42 : 0;
}

static int ask_back(void *arg, const struct mgc_entry *entry)
{
    struct fixture *f = arg;
    char path[4096];
    struct mgc_entry same = {0};

    assert_int_equal(mgc_catalog_entry_path(f->c, entry->dir_id, entry->name, path, sizeof(path)),
                     0);
    assert_true(entry_of(f, path, &same));
    assert_int_equal(same.id, entry->id);
    return 0;
}

static void scans_go_by_id_and_may_be_cut(void **state)
{
    struct fixture *f = *state;
    char names[64] = "";
    int64_t first;

    create(f, "c", 1, T0);
    create(f, "d/b", 2, T0);
    create(f, "a", 3, T0);
    first = entry_at(f, "c").id;
    assert_int_equal(f->c->ops->scan_entries(f->c, 0, 2, collect_names, names, &f->err), 2);
    assert_string_equal(names, "c b ");
    names[0] = '\0';
    assert_int_equal(f->c->ops->scan_entries(f->c, first, 100, collect_names, names, &f->err), 2);
    assert_string_equal(names, "b a ");
    create(f, "z", 4, T0);
    create(f, "zz", 5, T0);
    names[0] = '\0';
    assert_int_equal(f->c->ops->scan_entries(f->c, 0, 100, collect_names, names, &f->err), 42);
    assert_string_equal(names, "c b a z ");
    /* A callback may ask the catalog. */
    assert_int_equal(f->c->ops->scan_entries(f->c, 0, 100, ask_back, f, &f->err), 5);
    assert_int_equal(f->c->ops->entry_by_id(f->c, first, collect_names, names), 0);
    assert_int_equal(f->c->ops->entry_by_id(f->c, 999999999, collect_names, names), -ENOENT);
}

static int count_dir(void *arg, const struct mgc_dir *dir)
{
    int64_t *last = arg;

    assert_true(dir->id > *last);
    assert_true((dir->id == MGC_ROOT_DIR) == (dir->name[0] == '\0'));
    *last = dir->id;
    return 0;
}

static void directories_have_paths_both_ways(void **state)
{
    struct fixture *f = *state;
    struct mgc_dir dir = {0};
    char path[64];
    int64_t last = 0;

    mkdir_at(f, "a", T0);
    mkdir_at(f, "a/bc", T0);
    ok(f, f->c->ops->dir_find(f->c, "a/bc", &dir));
    ok(f, f->c->ops->dir_path(f->c, dir.id, path, sizeof(path)));
    assert_string_equal(path, "a/bc");
    assert_int_equal(f->c->ops->dir_path(f->c, dir.id, path, 5), 0);
    assert_int_equal(f->c->ops->dir_path(f->c, dir.id, path, 4), -ENAMETOOLONG);
    assert_int_equal(f->c->ops->dir_path(f->c, dir.id + 1000, path, sizeof(path)), -ENOENT);
    ok(f, f->c->ops->dir_path(f->c, MGC_ROOT_DIR, path, sizeof(path)));
    assert_string_equal(path, "");
    assert_int_equal(f->c->ops->dir_find(f->c, "a/b", &dir), -ENOENT);
    assert_int_equal(f->c->ops->scan_dirs(f->c, 0, 100, count_dir, &last, &f->err), 3);
}

static void opens_are_kept_to_the_minute_and_only_grow(void **state)
{
    struct fixture *f = *state;
    struct mgc_change opened = {
        .kind = MGC_CHANGE_OPEN, .path = "d/a", .time_us = T0 + 5 * MINUTE + 17 * SECOND};
    int64_t id;

    create(f, "d/a", 1, T0);
    id = entry_at(f, "d/a").id;
    assert_int_equal(f->c->ops->opened_us(f->c, id), 0);
    change(f, opened);
    assert_int_equal(f->c->ops->opened_us(f->c, id), T0 + 5 * MINUTE);
    opened.time_us = T0;
    change(f, opened);
    assert_int_equal(f->c->ops->opened_us(f->c, id), T0 + 5 * MINUTE);
    /* The row keeps its id, so the time follows a rename; another file does not inherit it. */
    rename_at(f, "d", "e", true, T0 + HOUR);
    assert_int_equal(f->c->ops->opened_us(f->c, entry_at(f, "e/a").id), T0 + 5 * MINUTE);
    create(f, "e/a", 2, T0 + HOUR);
    assert_int_equal(f->c->ops->opened_us(f->c, entry_at(f, "e/a").id), 0);
    opened.path = "not/there";
    change(f, opened);
    assert_int_equal(f->c->ops->opened_us(f->c, -5), 0);
    assert_int_equal(f->c->ops->opened_us(f->c, INT64_MAX), 0);
}

static void ids_are_never_used_twice(void **state)
{
    struct fixture *f = *state;
    int64_t last = MGC_ROOT_DIR, next = 0;

    for (int i = 0; i < 10; i++) {
        char path[16];
        struct mgc_dir dir;

        (void)snprintf(path, sizeof(path), "d%d", i);
        mkdir_at(f, path, T0);
        ok(f, f->c->ops->dir_find(f->c, path, &dir));
        assert_true(dir.id > last);
        last = dir.id;
        create(f, "a", 1 + (uint64_t)i, T0);
        assert_true(entry_at(f, "a").id > last);
        last = entry_at(f, "a").id;
        unlink_at(f, "a", T0);
    }
    ok(f, f->c->ops->meta_get(f->c, MGC_META_NEXT_ID, &next));
    assert_true(next > last);
    assert_true(f->reserved > last); /* the tree was told before they were given */
}

static void without_a_reserve_nothing_is_recorded(void **state)
{
    struct fixture *f = *state;
    struct mgc_change one = {
        .kind = MGC_CHANGE_CREATE, .path = "d/a", .time_us = T0, .stat = a_file(1, 1, T0)};

    f->reserve_result = -EROFS;
    assert_int_equal(f->c->ops->apply(f->c, &one, 1, &f->err), -EROFS);
    assert_non_null(strstr(f->err.text, "could not reserve ids"));
    assert_false(dir_exists(f, "d"));
    assert_totals(f, 0, 0);
    f->reserve_result = 0;
    ok(f, f->c->ops->apply(f->c, &one, 1, &f->err));
    assert_true(exists(f, "d/a"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_created_file_is_an_entry),
        cmocka_unit_test(unknown_parents_are_born_now_never_early),
        cmocka_unit_test(names_are_bytes),
        cmocka_unit_test(a_bad_path_is_refused_and_nothing_is_recorded),
        cmocka_unit_test(what_is_neither_file_nor_symlink_is_no_entry),
        cmocka_unit_test(creating_again_keeps_the_row_of_the_same_file_only),
        cmocka_unit_test(a_link_is_an_entry_of_its_own),
        cmocka_unit_test(writing_moves_written_and_size),
        cmocka_unit_test(attributes_are_not_content_but_a_truncate_is),
        cmocka_unit_test(a_file_without_identity_keeps_its_row),
        cmocka_unit_test(unlink_and_rmdir_remove),
        cmocka_unit_test(rename_of_a_file_moves_the_row_and_replaces),
        cmocka_unit_test(rename_of_something_unknown_is_a_birth),
        cmocka_unit_test(a_verification_may_be_faster_than_a_rename),
        cmocka_unit_test(a_stale_row_does_not_follow_a_rename),
        cmocka_unit_test(rename_of_a_directory_takes_all_beneath),
        cmocka_unit_test(a_rename_into_itself_is_refused),
        cmocka_unit_test(exchange_swaps_files_and_directories),
        cmocka_unit_test(exchange_with_something_unknown_moves_the_other),
        cmocka_unit_test(a_name_is_an_entry_or_a_directory),
        cmocka_unit_test(a_batch_is_applied_in_order_or_not_at_all),
        cmocka_unit_test(scans_go_by_id_and_may_be_cut),
        cmocka_unit_test(directories_have_paths_both_ways),
        cmocka_unit_test(opens_are_kept_to_the_minute_and_only_grow),
        cmocka_unit_test(ids_are_never_used_twice),
        cmocka_unit_test(without_a_reserve_nothing_is_recorded),
    };

    return contract_run("tree", tests, ARRAY_SIZE(tests));
}
