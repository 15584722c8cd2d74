/* Whole runs: what they move, what they leave, and that anything unclear moves nothing. */
#include "world.h"

#define OLD(w) ((w)->now_us - 100 * DAY)

/* Two directories, three files; a.jpg and b.jpg are mentioned, c.jpg is not. */
static struct world *usual(size_t sources)
{
    struct world *w = world_new(sources);

    world_dir(w, "docs", OLD(w));
    world_file(w, "docs/a.jpg", OLD(w));
    world_file(w, "docs/b.jpg", OLD(w));
    world_file(w, "docs/c.jpg", OLD(w));
    for (size_t i = 0; i < sources; i++) {
        world_row(w, i, "public.photo", "image", "docs/a.jpg");
        world_row(w, i, "public.page", "body", "<p><img src=\"/media/docs/b.jpg\"></p>");
    }
    return w;
}

static void nothing_moved(struct world *w)
{
    assert_int_equal(w->moved, 0);
    assert_true(world_has(w, "docs/a.jpg"));
    assert_true(world_has(w, "docs/b.jpg"));
    assert_true(world_has(w, "docs/c.jpg"));
}

static void only_the_unmentioned_file_is_moved(void **state)
{
    struct world *w = usual(1);

    (void)state;
    assert_code(w, world_run(w, true, NULL), 0);
    nothing_moved(w); /* the first run only nominates */
    assert_int_equal(w->report.run.waiting, 1);
    assert_int_equal(w->report.run.referenced, 2);
    assert_string_equal(world_verdict(w, "docs/c.jpg"), "waiting");
    assert_int_equal(world_runs_of(w, "docs/c.jpg"), 1);
    w->now_us += 11 * HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
    nothing_moved(w); /* twice, but not over twelve hours */
    w->now_us += 2 * HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->moved, 1);
    assert_int_equal(w->horizons[0], w->now_us - DAY);
    assert_false(world_has(w, "docs/c.jpg"));
    assert_true(world_held(w, "docs/c.jpg") > 0);
    assert_int_equal(w->report.run.result, MGC_RUN_DONE);
    assert_true(w->report.run.complete);
    assert_true(w->report.run.applied);
    assert_int_equal(w->report.run.files, 3);
    assert_int_equal(w->report.run.candidates, 1);
    assert_int_equal(w->report.run.moved, 1);
    assert_int_equal(w->report.run.moved_bytes, 100);
    assert_int_equal(w->report.run.references, 2);
    assert_string_equal(w->report.run.digest, "");
    assert_string_equal(w->report.run.refusal, "");
    assert_int_equal(w->fakes[0].asked_paths, 1);
    world_free(w);
}

static void shadow_describes_and_counts(void **state)
{
    struct world *w = usual(1);

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_code(w, world_run(w, false, NULL), 0);
        w->now_us += 13 * HOUR;
    }
    nothing_moved(w);
    assert_int_equal(w->report.run.candidates, 1);
    assert_int_equal(w->report.run.moved, 0);
    assert_string_equal(world_verdict(w, "docs/c.jpg"), "candidate");
    assert_int_equal(world_runs_of(w, "docs/c.jpg"), 3);
    assert_int_equal(w->fakes[0].asks, 0);
    assert_code(w, world_run(w, true, NULL), 0); /* its runs were confirmations */
    assert_int_equal(w->moved, 1);
    world_free(w);
}

static void a_mention_in_between_starts_again(void **state)
{
    struct world *w = usual(1);

    (void)state;
    w->conf.reconcile.max_fall = -1;
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    world_row(w, 0, "public.page", "body", "docs/c.jpg");
    assert_code(w, world_run(w, true, NULL), 0);
    w->fakes[0].texts_count--;
    w->now_us += 13 * HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
    nothing_moved(w);
    assert_int_equal(world_runs_of(w, "docs/c.jpg"), 1);
    world_free(w);
}

/* G1: every way in which a source can fail, at the moment when a file would be moved. */
static void an_incomplete_source_moves_nothing(void **state)
{
    static const struct {
        const char *what;
        struct source_script broken;
        int want;
        enum mgc_run_result result;
        bool advances; /* the confirmations of that run */
    } rows[] = {
        {"cannot connect", {.begin = MGC_E_SOURCE}, MGC_E_SOURCE, MGC_RUN_INCOMPLETE, false},
        {"timeout", {.begin = MGC_E_TIMEOUT}, MGC_E_TIMEOUT, MGC_RUN_INCOMPLETE, false},
        {"cut in the middle", {.cut = true}, MGC_E_SOURCE, MGC_RUN_INCOMPLETE, false},
        {"statement timeout", {.scan = MGC_E_TIMEOUT}, MGC_E_TIMEOUT, MGC_RUN_INCOMPLETE, false},
        {"denied", {.scan = MGC_E_INCOMPLETE}, MGC_E_INCOMPLETE, MGC_RUN_INCOMPLETE, false},
        {"says 0 by oversight", {.scan = 1000}, MGC_E_INCOMPLETE, MGC_RUN_INCOMPLETE, false},
        {"covers nonsense", {.covered = "{"}, MGC_E_PROTOCOL, MGC_RUN_INCOMPLETE, false},
        {"asked again, fails", {.ask = MGC_E_SOURCE}, MGC_E_SOURCE, MGC_RUN_INCOMPLETE, false},
        {"asked again, says 0", {.ask = 1000}, MGC_E_INCOMPLETE, MGC_RUN_INCOMPLETE, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world *w = usual(1);
        struct source_script whole;

        assert_code(w, world_run(w, true, NULL), 0);
        w->now_us += 13 * HOUR;
        whole = w->fakes[0].script;
        w->fakes[0].script.begin = rows[i].broken.begin;
        w->fakes[0].script.scan = rows[i].broken.scan;
        w->fakes[0].script.ask = rows[i].broken.ask;
        w->fakes[0].script.cut = rows[i].broken.cut;
        if (rows[i].broken.covered != NULL)
            w->fakes[0].script.covered = rows[i].broken.covered;
        if (world_run(w, true, NULL) != rows[i].want)
            fail_msg("%s: %d %s", rows[i].what, w->err.code, w->err.text);
        nothing_moved(w);
        assert_int_equal(w->ended.result, rows[i].result);
        assert_false(w->ended.complete);
        assert_int_equal(w->orphan_calls, 0);
        assert_int_equal(world_runs_of(w, "docs/c.jpg"), 1);
        w->fakes[0].script = whole;
        assert_code(w, world_run(w, true, NULL), 0); /* the row goes on where it was */
        assert_int_equal(w->moved, 1);
        world_free(w);
    }
}

static void a_host_that_fails_ends_the_run(void **state)
{
    static const struct {
        const char *what;
        size_t member;
        bool moved, begun;
        enum mgc_run_result result;
    } rows[] = {
        {"begin", offsetof(struct world, begin_code), false, false, MGC_RUN_FAILED},
        {"flush", offsetof(struct world, flush_code), false, true, MGC_RUN_FAILED},
        {"move", offsetof(struct world, move_code), false, true, MGC_RUN_FAILED},
        {"findings", offsetof(struct world, findings_code), true, true, MGC_RUN_FAILED},
        {"orphans", offsetof(struct world, orphans_code), true, true, MGC_RUN_FAILED},
        {"end", offsetof(struct world, end_code), true, true, MGC_RUN_DONE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world *w = usual(1);
        int *code = (int *)(void *)((char *)w + rows[i].member);

        world_file(w, "docs/d.jpg", OLD(w));
        assert_code(w, world_run(w, true, NULL), 0);
        w->now_us += 13 * HOUR;
        world_file(w, "docs/e.jpg", w->now_us - 2 * DAY); /* somebody to be recorded */
        *code = -EIO;
        if (world_run(w, true, NULL) != -EIO)
            fail_msg("%s: %d", rows[i].what, w->err.code);
        assert_int_equal(w->moved > 0, rows[i].moved);
        if (rows[i].begun)
            assert_int_equal(w->ended.result, rows[i].result);
        assert_int_equal(w->report.run.id != 0, rows[i].begun);
        world_free(w);
    }
}

static void an_unverified_tree_waits(void **state)
{
    struct world *w = usual(1);

    (void)state;
    w->begin_code = MGC_E_INCOMPLETE;
    assert_code(w, world_run(w, true, NULL), MGC_E_INCOMPLETE);
    assert_int_equal(w->report.run.result, MGC_RUN_INCOMPLETE);
    assert_int_equal(w->ends, 0);
    assert_int_equal(w->fakes[0].begins, 0);
    w->begin_code = MGC_E_BUSY;
    assert_code(w, world_run(w, true, NULL), MGC_E_BUSY);
    world_free(w);
}

/* G2: an upload whose transaction is open is younger than the horizon, however old the run. */
static void an_open_transaction_holds_the_horizon_back(void **state)
{
    struct world *w = usual(1);

    (void)state;
    world_file(w, "docs/new.jpg", w->now_us - 5 * DAY);
    w->fakes[0].script.lag_us = 4 * DAY + HOUR; /* began just before: grace covers the rest */
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->report.run.horizon_us, w->now_us - 5 * DAY - HOUR);
    assert_string_equal(world_verdict(w, "docs/new.jpg"), "young");
    w->now_us += 13 * HOUR;
    w->fakes[0].script.lag_us += 13 * HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->moved, 1); /* docs/c.jpg */
    assert_true(world_has(w, "docs/new.jpg"));
    assert_int_equal(world_runs_of(w, "docs/new.jpg"), 0);
    world_free(w);
}

static void born_written_changed_and_directories_are_young(void **state)
{
    struct world *w = usual(1);
    struct mgc_change change = {.kind = MGC_CHANGE_STAT, .path = "docs/d.jpg"};

    (void)state;
    world_dir(w, "moved", OLD(w));
    world_dir(w, "moved/deep", OLD(w));
    world_file(w, "moved/x.jpg", OLD(w));
    world_file(w, "moved/deep/y.jpg", OLD(w));
    world_file(w, "docs/d.jpg", OLD(w));
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    world_rename(w, "moved", "renamed", true); /* H7: nothing of the file shows this */
    change.stat = (struct mgc_file_stat){.id = {1005, 7035, MGC_ID_BIRTH},
                                         .mode = 0100644,
                                         .nlink = 1,
                                         .mtime_us = OLD(w),
                                         .ctime_us = w->now_us};
    change.time_us = w->now_us;
    assert_code(w, w->catalog->ops->apply(w->catalog, &change, 1, &w->err), 0);
    assert_code(w, world_run(w, true, NULL), 0);
    assert_string_equal(world_verdict(w, "renamed/x.jpg"), "young");
    assert_string_equal(world_verdict(w, "renamed/deep/y.jpg"), "young");
    assert_string_equal(world_verdict(w, "docs/d.jpg"), "young");
    assert_int_equal(w->moved, 1);
    assert_true(world_has(w, "renamed/x.jpg"));
    assert_true(world_has(w, "docs/d.jpg"));
    world_free(w);
}

/* A rename while the sources are read: the path that was searched for is not the one that is. */
static struct {
    const char *from, *to;
    bool directory;
    int calls;
} late_rename;

static int rename_during_scan(void *arg, struct mgc_err *err)
{
    struct world *w = arg;

    (void)err;
    if (late_rename.calls++ == 0)
        world_rename(w, late_rename.from, late_rename.to, late_rename.directory);
    return 0;
}

static void a_rename_during_the_run_is_young(void **state)
{
    static const struct {
        const char *from, *to, *kept;
        bool directory;
    } rows[] = {
        {"docs/c.jpg", "docs/kept.jpg", "docs/kept.jpg", false},
        {"top/sub", "top/other", "top/other/c.jpg", true},
        {"top", "bottom", "bottom/sub/c.jpg", true}, /* two levels above */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world *w = usual(1);

        world_dir(w, "top", OLD(w));
        world_dir(w, "top/sub", OLD(w));
        world_file(w, "top/sub/c.jpg", OLD(w));
        w->conf.reconcile.grace_us = 0;
        assert_code(w, world_run(w, true, NULL), 0);
        w->now_us += 13 * HOUR;
        late_rename.from = rows[i].from;
        late_rename.to = rows[i].to;
        late_rename.directory = rows[i].directory;
        late_rename.calls = 0;
        w->host.flush = rename_during_scan;
        w->fakes[0].script.lag_us = 1; /* the rename comes after the horizon */
        assert_code(w, world_run(w, true, NULL), 0);
        assert_int_equal(w->moved, 1); /* the other of the two */
        assert_true(world_has(w, rows[i].kept));
        world_free(w);
    }
}

static void the_second_look_drops_what_came_late(void **state)
{
    struct world *w = usual(1);

    (void)state;
    world_file(w, "docs/d.jpg", OLD(w));
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    w->fakes[0].script.late_path = "docs/c.jpg";
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->fakes[0].asked_paths, 2);
    assert_int_equal(w->fakes[0].asked_columns, 1);
    assert_string_equal(w->fakes[0].asked_column, "public.photo.image");
    assert_int_equal(w->moved, 1);
    assert_true(world_has(w, "docs/c.jpg"));
    assert_false(world_has(w, "docs/d.jpg"));
    assert_int_equal(w->report.run.candidates, 1);
    assert_int_equal(w->report.run.referenced, 3);
    world_free(w);
}

static void a_database_that_changes_during_the_run_ends_it(void **state)
{
    struct world *w = usual(1);

    (void)state;
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    w->fakes[0].script.later_identity = "system 2 database 5"; /* the second look meets another */
    assert_code(w, world_run(w, true, NULL), MGC_E_IDENTITY);
    assert_int_equal(w->ended.result, MGC_RUN_INCOMPLETE);
    assert_int_equal(w->fakes[0].asks, 0);
    nothing_moved(w);
    world_free(w);
}

static void keep_patterns_junk_and_links_are_kept(void **state)
{
    struct world *w = usual(1);
    char pattern[] = "docs/static/**";
    char *keep[] = {pattern, NULL};
    struct mgc_change link = {.kind = MGC_CHANGE_LINK, .path = "docs/twin.jpg"};

    (void)state;
    w->conf.keep = (struct mgc_conf_list){keep, 1};
    world_dir(w, "docs/static", OLD(w));
    world_file(w, "docs/static/logo.png", OLD(w));
    world_file(w, "docs/index.html", OLD(w));
    link.time_us = OLD(w);
    link.stat = (struct mgc_file_stat){.id = {77, 77, MGC_ID_BIRTH},
                                       .mode = 0100644,
                                       .nlink = 2,
                                       .ctime_us = OLD(w),
                                       .mtime_us = OLD(w)};
    assert_code(w, w->catalog->ops->apply(w->catalog, &link, 1, &w->err), 0);
    link.path = "docs/strange.jpg";
    link.stat.nlink = 1;
    link.stat.id.kind = MGC_ID_NONE;
    assert_code(w, w->catalog->ops->apply(w->catalog, &link, 1, &w->err), 0);
    world_confirm(w);
    assert_int_equal(w->report.run.kept, 4);
    assert_int_equal(w->moved, 1);
    world_free(w);
}

static void suspects_are_listed_and_never_moved(void **state)
{
    struct world *w = usual(1);

    (void)state;
    world_dir(w, "private", OLD(w));
    world_file(w, "private/report.pdf", OLD(w)); /* shortened mention */
    world_dir(w, "hls", OLD(w));
    world_dir(w, "hls/720p", OLD(w));
    world_file(w, "hls/720p/seg1.ts", OLD(w)); /* its directory is mentioned */
    world_dir(w, "book", OLD(w));
    world_file(w, "book/master.m3u8", OLD(w));
    world_file(w, "book/page1.ts", OLD(w));  /* beside a referenced manifest */
    world_file(w, "docs/Photo.JPG", OLD(w)); /* differs in case */
    world_row(w, 0, "public.photo", "image", "report.pdf");
    world_row(w, 0, "public.video", "folder", "hls/");
    world_row(w, 0, "public.video", "list", "book/master.m3u8");
    world_row(w, 0, "public.photo", "image", "docs/photo.jpg");
    world_confirm(w);
    assert_string_equal(world_verdict(w, "private/report.pdf"), "suspect");
    assert_string_equal(world_verdict(w, "hls/720p/seg1.ts"), "suspect");
    assert_string_equal(world_verdict(w, "book/page1.ts"), "suspect");
    assert_string_equal(world_verdict(w, "docs/Photo.JPG"), "suspect");
    assert_int_equal(w->report.run.suspect, 4);
    assert_int_equal(world_runs_of(w, "book/page1.ts"), 0);
    assert_int_equal(w->moved, 1);
    assert_false(world_has(w, "docs/c.jpg"));
    world_free(w);
}

static void missing_files_are_listed_once(void **state)
{
    struct world *w = usual(1);

    (void)state;
    world_row(w, 0, "public.photo", "image", "docs/gone.jpg");
    world_row(w, 0, "public.photo", "thumb", "docs/gone.jpg");
    assert_code(w, world_run(w, false, NULL), 0);
    assert_int_equal(w->report.run.missing, 1);
    assert_int_equal(world_missing(w), 1);
    world_free(w);
}

static void a_hot_file_waits(void **state)
{
    struct world *w = usual(1);
    struct mgc_change open = {.kind = MGC_CHANGE_OPEN, .path = "docs/c.jpg"};

    (void)state;
    open.time_us = w->now_us;
    assert_code(w, w->catalog->ops->apply(w->catalog, &open, 1, &w->err), 0);
    world_confirm(w);
    assert_int_equal(w->report.run.hot, 1);
    nothing_moved(w);
    w->now_us += 7 * DAY;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->moved, 1);
    world_free(w);
}

/* Opens within open_resolution are one: the last open may be that much later than recorded. */
static void a_hot_file_waits_for_the_resolution_too(void **state)
{
    struct world *w = usual(1);
    struct mgc_change open = {.kind = MGC_CHANGE_OPEN, .path = "docs/c.jpg"};

    (void)state;
    w->conf.catalog.open_resolution_us = 6 * HOUR;
    open.time_us = w->now_us;
    assert_code(w, w->catalog->ops->apply(w->catalog, &open, 1, &w->err), 0);
    world_confirm(w);
    w->now_us = open.time_us + 7 * DAY + 5 * HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->report.run.hot, 1);
    nothing_moved(w);
    w->now_us += 2 * HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->moved, 1);
    world_free(w);
}

static void outcomes_are_counted(void **state)
{
    static const struct {
        int code;
        int64_t moved, skipped, failed;
    } rows[] = {
        {0, 1, 0, 0},          {-ESTALE, 0, 1, 0},         {-ENOENT, 0, 1, 0},
        {MGC_E_BUSY, 0, 1, 0}, {MGC_E_UNMOVABLE, 0, 1, 0}, {-EIO, 0, 0, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world *w = usual(1);

        w->outcome_code = rows[i].code;
        world_confirm(w);
        assert_int_equal(w->report.run.moved, rows[i].moved);
        assert_int_equal(w->report.skipped, rows[i].skipped);
        assert_int_equal(w->report.failed, rows[i].failed);
        assert_int_equal(w->report.run.result, MGC_RUN_DONE);
        world_free(w);
    }
}

static void more_than_a_batch_is_moved(void **state)
{
    struct world *w = usual(1);
    char path[64];

    (void)state;
    for (int i = 0; i < MGC_MOVE_BATCH_MAX + 10; i++) {
        (void)snprintf(path, sizeof(path), "docs/n%04d.jpg", i);
        world_file(w, path, OLD(w));
    }
    world_confirm(w);
    assert_int_equal(w->report.run.moved, MGC_MOVE_BATCH_MAX + 11);
    assert_int_equal(w->report.run.candidates, MGC_MOVE_BATCH_MAX + 11);
    world_free(w);
}

/* G4: a held file that is mentioned again comes back, and is not taken again. */
static void a_reference_heals(void **state)
{
    struct world *w = usual(1);

    (void)state;
    w->conf.reconcile.max_fall = -1;
    world_confirm(w);
    assert_false(world_has(w, "docs/c.jpg"));
    world_row(w, 0, "public.photo", "image", "docs/c.jpg");
    w->now_us += HOUR;
    assert_code(w, world_run(w, false, NULL), 0); /* describing heals nothing */
    assert_int_equal(w->heals, 0);
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->heals, 1);
    assert_int_equal(w->report.run.healed, 1);
    assert_true(world_has(w, "docs/c.jpg"));
    w->fakes[0].texts_count--; /* H26 */
    w->now_us += 40 * DAY;
    world_confirm(w);
    assert_string_equal(world_verdict(w, "docs/c.jpg"), "suspect");
    assert_true(world_has(w, "docs/c.jpg"));
    world_free(w);
}

static void healing_has_its_limits(void **state)
{
    struct world *w = usual(1);

    (void)state;
    world_confirm(w);
    world_row(w, 0, "public.photo", "image", "docs/c.jpg");
    w->conf.quarantine.heal = MGC_HEAL_REPORT;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->heals, 0);
    assert_true(world_said(w, "is referenced again"));
    w->conf.quarantine.heal = MGC_HEAL_RESTORE;
    w->fakes[0].script.identity = "a staging copy"; /* its mentions are not about our files */
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    assert_int_equal(w->heals, 0);
    w->fakes[0].script.identity = "system 1 database 5";
    world_file(w, "docs/c.jpg", w->now_us); /* the application put a new one there */
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->heals, 0);
    assert_true(world_held(w, "docs/c.jpg") > 0);
    world_free(w);
}

/* The application unlinked it a moment ago; the row goes with the end of its transaction. */
static void what_the_application_just_deleted_is_not_healed(void **state)
{
    struct world *w = usual(1);
    int64_t id = world_unlinked(w, "docs/gone.jpg");

    (void)state;
    assert_true(id > 0);
    world_row(w, 0, "public.photo", "image", "docs/gone.jpg");
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->report.run.healed, 0);
    w->now_us += 2 * DAY; /* a rolled-back transaction: it is needed after all */
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->report.run.healed, 1);
    assert_true(world_has(w, "docs/gone.jpg"));
    world_free(w);
}

/* H5: the directory of a held file was renamed; the new name is mentioned. */
static void a_held_file_follows_its_directory(void **state)
{
    struct world *w = usual(1);

    (void)state;
    world_confirm(w);
    world_rename(w, "docs", "papers", true);
    world_no_rows(w, 0);
    world_row(w, 0, "public.photo", "image", "papers/a.jpg");
    world_row(w, 0, "public.photo", "image", "papers/b.jpg");
    world_row(w, 0, "public.photo", "image", "papers/c.jpg");
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->report.run.healed, 1);
    world_free(w);
}

static void with_several_sources_one_run_is_not_enough(void **state)
{
    struct world *w = usual(2);

    (void)state;
    w->conf.reconcile.confirmations = 1;
    w->conf.reconcile.confirm_over_us = 0;
    assert_code(w, world_run(w, true, NULL), 0);
    nothing_moved(w);
    w->now_us += 1;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->moved, 1);
    assert_int_equal(w->fakes[0].asks, 1);
    assert_int_equal(w->fakes[1].asks, 1);
    world_free(w);
}

static void any_source_keeps_a_file_alive(void **state)
{
    struct world *w = usual(3);

    (void)state;
    world_row(w, 2, "public.photo", "image", "docs/c.jpg");
    world_confirm(w);
    nothing_moved(w);
    w->fakes[2].script.scan = MGC_E_SOURCE; /* and none may be missing */
    assert_code(w, world_run(w, true, NULL), MGC_E_SOURCE);
    nothing_moved(w);
    world_free(w);
}

static void one_confirmation_moves_at_once(void **state)
{
    struct world *w = usual(1);

    (void)state;
    w->conf.reconcile.confirmations = 1;
    w->conf.reconcile.confirm_over_us = 0;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->moved, 1);
    world_free(w);
}

static void blind_sources_say_so(void **state)
{
    struct world *w = usual(2);

    (void)state;
    w->fakes[1].script.sees = false;
    w->fakes[1].script.fence_text = NULL;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_true(world_said(w, "'old' does not show open transactions"));
    assert_false(world_said(w, "'app' does not show open transactions"));
    world_free(w);
}

static void without_a_source_there_is_no_run(void **state)
{
    struct world *w = usual(1);

    (void)state;
    w->sources_count = 0;
    assert_code(w, world_run(w, true, NULL), MGC_E_CONFIG);
    assert_int_equal(w->ends, 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_unmentioned_file_is_moved),
        cmocka_unit_test(shadow_describes_and_counts),
        cmocka_unit_test(a_mention_in_between_starts_again),
        cmocka_unit_test(an_incomplete_source_moves_nothing),
        cmocka_unit_test(a_host_that_fails_ends_the_run),
        cmocka_unit_test(an_unverified_tree_waits),
        cmocka_unit_test(an_open_transaction_holds_the_horizon_back),
        cmocka_unit_test(born_written_changed_and_directories_are_young),
        cmocka_unit_test(a_rename_during_the_run_is_young),
        cmocka_unit_test(the_second_look_drops_what_came_late),
        cmocka_unit_test(a_database_that_changes_during_the_run_ends_it),
        cmocka_unit_test(keep_patterns_junk_and_links_are_kept),
        cmocka_unit_test(suspects_are_listed_and_never_moved),
        cmocka_unit_test(missing_files_are_listed_once),
        cmocka_unit_test(a_hot_file_waits),
        cmocka_unit_test(a_hot_file_waits_for_the_resolution_too),
        cmocka_unit_test(outcomes_are_counted),
        cmocka_unit_test(more_than_a_batch_is_moved),
        cmocka_unit_test(a_reference_heals),
        cmocka_unit_test(healing_has_its_limits),
        cmocka_unit_test(what_the_application_just_deleted_is_not_healed),
        cmocka_unit_test(a_held_file_follows_its_directory),
        cmocka_unit_test(with_several_sources_one_run_is_not_enough),
        cmocka_unit_test(any_source_keeps_a_file_alive),
        cmocka_unit_test(one_confirmation_moves_at_once),
        cmocka_unit_test(blind_sources_say_so),
        cmocka_unit_test(without_a_source_there_is_no_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
