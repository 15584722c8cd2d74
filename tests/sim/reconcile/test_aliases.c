/* Files with another path: what a link or a second mount reaches is never moved (H6). */
#include "world.h"

#include <ftw.h>
#include <sys/stat.h>

#define OLD(w) ((w)->now_us - 100 * DAY)

static char root[64]; /* the tree, for links to be resolved in */

static const char *at(const char *path)
{
    static char out[512];

    (void)snprintf(out, sizeof(out), "%s/%s", root, path);
    return out;
}

static void dir(struct world *w, const char *path)
{
    assert_int_equal(mkdir(at(path), 0755), 0);
    world_dir(w, path, OLD(w));
}

static void file(struct world *w, const char *path)
{
    FILE *f = fopen(at(path), "w");

    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    world_file(w, path, OLD(w));
}

/* An entry that is a link, or a file with an identity of its own choice. */
static void entry(struct world *w, const char *path, uint32_t mode, struct mgc_file_id id)
{
    struct mgc_change change = {.kind = MGC_CHANGE_CREATE, .path = path, .time_us = OLD(w)};

    change.stat = (struct mgc_file_stat){
        .id = id, .mode = mode, .nlink = 1, .mtime_us = OLD(w), .ctime_us = OLD(w)};
    assert_code(w, w->catalog->ops->apply(w->catalog, &change, 1, &w->err), 0);
}

static void link_to(struct world *w, const char *path, const char *target)
{
    uint64_t ino = w->next_ino++;

    assert_int_equal(symlink(target, at(path)), 0);
    entry(w, path, S_IFLNK | 0777, (struct mgc_file_id){ino, (int64_t)ino, MGC_ID_BIRTH});
}

/* 2024/a.jpg, 2024/deep/b.jpg, other/c.jpg: not mentioned under these paths; live.jpg is. */
static struct world *usual(void)
{
    struct world *w = world_new(1);

    (void)snprintf(root, sizeof(root), "/dev/shm/mgc-alias-XXXXXX");
    assert_non_null(mkdtemp(root));
    w->conf.filesystem.source = w->conf.filesystem.mountpoint = root;
    dir(w, "2024");
    dir(w, "2024/deep");
    dir(w, "other");
    file(w, "2024/a.jpg");
    file(w, "2024/deep/b.jpg");
    file(w, "other/c.jpg");
    file(w, "live.jpg");
    world_row(w, 0, "public.photo", "image", "live.jpg");
    return w;
}

static int remove_one(const char *path, const struct stat *st, int what, struct FTW *ftw)
{
    (void)st;
    (void)what;
    (void)ftw;
    return remove(path);
}

static void done(struct world *w)
{
    world_free(w);
    assert_int_equal(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void nothing_of_2024_moved(struct world *w)
{
    assert_true(world_has(w, "2024/a.jpg"));
    assert_true(world_has(w, "2024/deep/b.jpg"));
    assert_false(world_has(w, "other/c.jpg")); /* a true orphan goes */
}

static void what_a_link_to_a_directory_reaches_is_kept(void **state)
{
    static const char *const targets[] = {"2024", "2024/", "other/../2024", "second", "ABSOLUTE"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        struct world *w = usual();
        char absolute[128];

        (void)snprintf(absolute, sizeof(absolute), "%s", at("2024"));
        if (strcmp(targets[i], "second") == 0)
            link_to(w, "second", "2024");
        link_to(w, "latest", strcmp(targets[i], "ABSOLUTE") == 0 ? absolute : targets[i]);
        world_row(w, 0, "public.photo", "image", "latest/a.jpg");
        world_confirm(w);
        nothing_of_2024_moved(w);
        assert_true(world_has(w, "latest"));
        assert_int_equal(w->moved, 1);
        assert_int_equal(w->report.run.candidates, 1);
        assert_int_equal(w->report.run.kept,
                         strcmp(targets[i], "second") == 0 ? 3 : 2); /* the link is mentioned */
        assert_int_equal(world_runs_of(w, "2024/a.jpg"), 0);
        assert_true(world_said(w, "links lead to directories of the tree"));
        done(w);
    }
}

static void a_link_into_a_deeper_directory_keeps_that_part(void **state)
{
    struct world *w = usual();

    (void)state;
    link_to(w, "other/latest", "../2024/deep");
    world_confirm(w);
    assert_true(world_has(w, "2024/deep/b.jpg"));
    assert_false(world_has(w, "2024/a.jpg"));
    assert_int_equal(w->moved, 2);
    done(w);
}

static void a_link_to_the_root_keeps_everything(void **state)
{
    struct world *w = usual();

    (void)state;
    link_to(w, "other/all", "..");
    world_confirm(w);
    assert_int_equal(w->moved, 0);
    assert_int_equal(w->report.run.kept, 4);
    done(w);
}

static void a_link_and_the_file_it_leads_to_are_kept(void **state)
{
    struct world *w = usual();

    (void)state;
    link_to(w, "cover.jpg", "2024/a.jpg");
    world_row(w, 0, "public.photo", "image", "cover.jpg");
    world_confirm(w);
    assert_true(world_has(w, "cover.jpg"));
    assert_true(world_has(w, "2024/a.jpg"));
    assert_false(world_has(w, "2024/deep/b.jpg"));
    assert_int_equal(w->moved, 2);
    done(w);
}

/* The tree is bound to a second place and the link names that one. */
static void a_link_by_way_of_the_mount_point_leads_into_the_tree(void **state)
{
    struct world *w = usual();
    char second[64] = "/dev/shm/mgc-mount-XXXXXX", target[128];

    (void)state;
    assert_non_null(mkdtemp(second));
    (void)snprintf(target, sizeof(target), "%s/2024", second);
    assert_int_equal(mkdir(target, 0755), 0); /* as the mount would show it */
    w->conf.filesystem.mountpoint = second;
    link_to(w, "latest", target);
    world_confirm(w);
    nothing_of_2024_moved(w);
    assert_int_equal(rmdir(target), 0);
    assert_int_equal(rmdir(second), 0);
    done(w);
}

static void a_link_that_leads_nowhere_or_out_is_judged_as_before(void **state)
{
    static const char *const targets[] = {"gone.jpg", "live.jpg/x", "/dev/null", "/dev/shm"};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        struct world *w = usual();

        link_to(w, "link", targets[i]);
        world_confirm(w);
        assert_false(world_has(w, "link"));
        assert_int_equal(w->moved, 4);
        done(w);
    }
}

static void a_link_that_cannot_be_resolved_ends_the_run(void **state)
{
    static char too_long[300];
    const char *const targets[] = {"loop", too_long};

    (void)state;
    memset(too_long, 'n', sizeof(too_long) - 1);
    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        struct world *w = usual();

        assert_code(w, world_run(w, true, NULL), 0);
        w->now_us += 13 * HOUR;
        link_to(w, "loop", targets[i]);
        assert_code(w, world_run(w, true, NULL), MGC_E_INCOMPLETE);
        assert_non_null(strstr(w->err.text, "could not tell where link 'loop' leads"));
        assert_non_null(strstr(w->err.hint, "Repair or remove the link"));
        assert_int_equal(w->ended.result, MGC_RUN_INCOMPLETE);
        assert_int_equal(w->moved, 0);
        done(w);
    }
}

/* Made while the sources were read, to an old directory. */
static int late_link(void *arg, struct mgc_err *err)
{
    struct world *w = arg;

    (void)err;
    if (access(at("latest"), F_OK) != 0)
        link_to(w, "latest", "2024");
    return 0;
}

static void a_link_made_during_the_run_counts(void **state)
{
    struct world *w = usual();

    (void)state;
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    w->host.flush = late_link;
    assert_code(w, world_run(w, true, NULL), 0);
    nothing_of_2024_moved(w);
    done(w);
}

/* As a bind mount inside the tree shows them. */
static void entries_of_one_inode_are_kept(void **state)
{
    static const struct {
        const char *what;
        struct mgc_file_id first, second;
        bool one;
    } rows[] = {
        {"a bind mount", {77, 5, MGC_ID_BIRTH}, {77, 5, MGC_ID_BIRTH}, true},
        {"the number was used again", {77, 5, MGC_ID_BIRTH}, {77, 6, MGC_ID_BIRTH}, false},
        {"another inode", {77, 5, MGC_ID_BIRTH}, {78, 5, MGC_ID_BIRTH}, false},
        {"not to be compared", {77, 5, MGC_ID_BIRTH}, {77, 0, MGC_ID_NONE}, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world *w = usual();

        entry(w, "other/x.jpg", S_IFREG | 0644, rows[i].first);
        entry(w, "2024/x.jpg", S_IFREG | 0644, rows[i].second);
        world_row(w, 0, "public.photo", "image", "2024/x.jpg");
        world_confirm(w);
        if (world_has(w, "other/x.jpg") != rows[i].one)
            fail_msg("%s", rows[i].what);
        assert_true(world_has(w, "2024/x.jpg"));
        assert_int_equal(w->moved, rows[i].one ? 3 : 4);
        assert_int_equal(w->report.run.candidates, rows[i].one ? 3 : 4);
        assert_int_equal(w->report.run.kept, rows[i].one ? 1 : 0);
        done(w);
    }
}

static void two_candidates_of_one_inode_are_both_kept(void **state)
{
    struct world *w = usual();
    const struct mgc_file_id id = {77, 5, MGC_ID_BIRTH};

    (void)state;
    entry(w, "other/x.jpg", S_IFREG | 0644, id);
    entry(w, "2024/x.jpg", S_IFREG | 0644, id);
    world_confirm(w);
    assert_true(world_has(w, "other/x.jpg"));
    assert_true(world_has(w, "2024/x.jpg"));
    assert_int_equal(w->report.run.kept, 2);
    assert_int_equal(w->moved, 3);
    assert_string_equal(world_verdict(w, "2024/x.jpg"), ""); /* not in the list of orphans */
    done(w);
}

static struct mgc_explanation explain(struct world *w, const char *path)
{
    const struct mgc_explain_spec spec = {.conf = &w->conf,
                                          .catalog = w->catalog,
                                          .sources = w->sources,
                                          .sources_count = w->sources_count,
                                          .path = path};
    struct mgc_explanation told;

    w->real_time = true;
    assert_code(w, mgc_run_explain(&spec, &told, &w->err), 0);
    return told;
}

static void explain_says_the_same(void **state)
{
    struct world *w = usual();
    const struct mgc_file_id id = {77, 5, MGC_ID_BIRTH};
    struct mgc_explanation told;

    (void)state;
    w->conf.reconcile.confirmations = 1;
    w->conf.reconcile.confirm_over_us = 0;
    entry(w, "other/x.jpg", S_IFREG | 0644, id);
    entry(w, "other/y.jpg", S_IFREG | 0644, id);
    link_to(w, "latest", "2024");
    told = explain(w, "2024/deep/b.jpg");
    assert_int_equal(told.verdict, MGC_VERDICT_KEPT);
    assert_int_equal(told.why, MGC_WHY_ALIAS);
    assert_string_equal(mgc_why_text(told.why), "reachable by another path");
    told = explain(w, "other/x.jpg");
    assert_int_equal(told.verdict, MGC_VERDICT_KEPT);
    assert_int_equal(told.why, MGC_WHY_ALIAS);
    told = explain(w, "other/c.jpg");
    assert_int_equal(told.verdict, MGC_VERDICT_CANDIDATE);
    assert_true(told.complete);
    link_to(w, "loop", "loop");
    told = explain(w, "other/c.jpg");
    assert_false(told.complete);
    done(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_link_to_a_directory_reaches_is_kept),
        cmocka_unit_test(a_link_into_a_deeper_directory_keeps_that_part),
        cmocka_unit_test(a_link_to_the_root_keeps_everything),
        cmocka_unit_test(a_link_and_the_file_it_leads_to_are_kept),
        cmocka_unit_test(a_link_by_way_of_the_mount_point_leads_into_the_tree),
        cmocka_unit_test(a_link_that_leads_nowhere_or_out_is_judged_as_before),
        cmocka_unit_test(a_link_that_cannot_be_resolved_ends_the_run),
        cmocka_unit_test(a_link_made_during_the_run_counts),
        cmocka_unit_test(entries_of_one_inode_are_kept),
        cmocka_unit_test(two_candidates_of_one_inode_are_both_kept),
        cmocka_unit_test(explain_says_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
