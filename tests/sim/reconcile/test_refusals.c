/* Runs that are refused: by brakes, behind a fence, until somebody approves. */
#include "world.h"

#define OLD(w) ((w)->now_us - 100 * DAY)

/* Ten mentioned files and ten that are not. */
static struct world *usual(void)
{
    static char mentioned[10][32];
    struct world *w = world_new(1);
    char path[32];

    world_dir(w, "docs", OLD(w));
    for (int i = 0; i < 10; i++) {
        (void)snprintf(mentioned[i], sizeof(mentioned[i]), "docs/live%d.jpg", i);
        world_file(w, mentioned[i], OLD(w));
        world_row(w, 0, "public.photo", "image", mentioned[i]);
        (void)snprintf(path, sizeof(path), "docs/dead%d.jpg", i);
        world_file(w, path, OLD(w));
    }
    return w;
}

static void refused(struct world *w, const char *part)
{
    assert_int_equal(w->ended.result, MGC_RUN_REFUSED);
    assert_int_equal(w->moved, 0);
    if (strstr(w->report.run.refusal, part) == NULL)
        fail_msg("refusal '%s' has no '%s'", w->report.run.refusal, part);
    assert_int_equal(strlen(w->report.run.digest), 16);
}

static void too_many_candidates_are_refused_until_approved(void **state)
{
    struct world *w = usual();
    char digest[17];

    (void)state;
    w->conf.reconcile.max_files = 5;
    assert_code(w, world_run(w, true, NULL), 0); /* nothing is a candidate yet */
    w->now_us += 13 * HOUR;
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    refused(w, "10 candidates, more than max_files 5");
    assert_true(w->ended.complete); /* a limit on size: it confirms */
    assert_int_equal(world_runs_of(w, "docs/dead3.jpg"), 2);
    assert_non_null(strstr(w->err.hint, w->report.run.digest));
    (void)snprintf(digest, sizeof(digest), "%s", w->report.run.digest);

    w->now_us += HOUR;
    assert_code(w, world_run(w, true, "0123456789abcdef"), MGC_E_REFUSED);
    assert_int_equal(w->moved, 0);
    assert_int_equal(w->fakes[0].asks, 0);

    /* A refused approval ends a run of its own: the digest is that of the last one again. */
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    (void)snprintf(digest, sizeof(digest), "%s", w->report.run.digest);
    assert_code(w, world_run(w, true, digest), 0);
    assert_int_equal(w->moved, 10);
    assert_int_equal(w->ended.result, MGC_RUN_DONE);

    w->moved = 0;
    assert_code(w, world_run(w, true, digest), MGC_E_REFUSED); /* once */
    world_free(w);
}

/* Those of the set that are still candidates, and no others. */
static void an_approval_is_for_its_own_set(void **state)
{
    struct world *w = usual();
    char digest[17];

    (void)state;
    w->conf.reconcile.max_files = 5;
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    world_file(w, "docs/late.jpg", OLD(w)); /* will be a candidate in the approved run */
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    (void)snprintf(digest, sizeof(digest), "%s", w->report.run.digest);
    world_row(w, 0, "public.photo", "image", "docs/dead3.jpg");
    w->now_us += 13 * HOUR;
    assert_code(w, world_run(w, true, digest), 0);
    assert_int_equal(w->report.run.candidates, 10); /* nine of the set, and the late one */
    assert_int_equal(w->moved, 9);
    assert_true(world_has(w, "docs/late.jpg"));
    assert_true(world_has(w, "docs/dead3.jpg"));
    world_free(w);
}

/* The findings are the set: if they are not what was refused, nothing was approved. */
static void an_approval_without_its_list_is_refused(void **state)
{
    struct world *w = usual();
    char digest[17];

    (void)state;
    w->conf.reconcile.max_files = 5;
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    w->finding_lost = true;
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    w->finding_lost = false;
    (void)snprintf(digest, sizeof(digest), "%s", w->report.run.digest);
    assert_code(w, world_run(w, true, digest), MGC_E_REFUSED);
    assert_non_null(strstr(w->err.text, "list of its files"));
    assert_int_equal(w->moved, 0);
    world_free(w);
}

static void an_approval_lifts_its_own_brakes_only(void **state)
{
    struct world *w = usual();
    char digest[17];

    (void)state;
    w->conf.reconcile.max_files = 5;
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    (void)snprintf(digest, sizeof(digest), "%s", w->report.run.digest);
    w->fakes[0].texts_count = 5; /* and now half of the references are gone */
    assert_code(w, world_run(w, true, digest), MGC_E_REFUSED);
    refused(w, "references fell from 10 to 5");
    /* Refused by both, so that approving this digest is about both. */
    assert_non_null(strstr(w->report.run.refusal, "max_files"));
    world_free(w);
}

static void a_fall_is_refused_and_stays_refused(void **state)
{
    struct world *w = usual();
    char digest[17];

    (void)state;
    assert_code(w, world_run(w, false, NULL), 0);
    w->now_us += 13 * HOUR;
    w->fakes[0].texts_count = 7;
    for (int i = 0; i < 3; i++) { /* what was refused does not become the usual state */
        assert_code(w, world_run(w, i > 0, NULL), MGC_E_REFUSED);
        refused(w, "references fell from 10 to 7");
        assert_false(w->ended.complete);
        assert_int_equal(w->orphan_calls, 0);
        w->now_us += HOUR;
    }
    assert_int_equal(world_runs_of(w, "docs/dead3.jpg"), 1);
    (void)snprintf(digest, sizeof(digest), "%s", w->report.run.digest);
    assert_code(w, world_run(w, true, digest), 0);
    assert_int_equal(w->moved, 10); /* the three that lost their rows begin to wait now */
    assert_true(world_has(w, "docs/live8.jpg"));
    w->now_us += HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
    world_free(w);
}

static void no_references_at_all_is_refused(void **state)
{
    struct world *w = usual();

    (void)state;
    world_no_rows(w, 0);
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    refused(w, "app: mentions no file at all");
    world_free(w);
}

static void a_new_table_moves_nothing_once(void **state)
{
    struct world *w = usual();

    (void)state;
    assert_code(w, world_run(w, true, NULL), 0); /* the first one pins what it finds */
    w->now_us += 13 * HOUR;
    w->fakes[0].script.covered = "[\"public.essay.body\",\"public.photo.image\"]";
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    refused(w, "a table or column is new: public.essay.body");
    assert_int_equal(world_runs_of(w, "docs/dead3.jpg"), 1);
    assert_code(w, world_run(w, true, NULL), 0); /* the next goes on */
    assert_int_equal(w->moved, 10);
    w->fakes[0].script.covered = "[]"; /* fewer are no reason: that is what max_fall is for */
    w->now_us += HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
    world_free(w);
}

static void another_database_is_refused_until_approved(void **state)
{
    static const struct {
        const char *what, *identity, *position;
        int64_t progress;
        const char *text;
    } rows[] = {
        {"staging copy", "system 1 database 6", "0/500", 100, "is another database"},
        {"restored clone", "system 1 database 5", "0/500", 99, "went back in time"},
        {"progress is gone", "system 1 database 5", "0/500", -1, "went back in time"},
        {"restored in place", "system 1 database 5", "0/4FF", 100, "went back in time"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world *w = usual();
        char digest[17];

        w->fakes[0].script.position = "0/500";
        assert_code(w, world_run(w, true, NULL), 0);
        w->now_us += 13 * HOUR;
        w->fakes[0].script.identity = rows[i].identity;
        w->fakes[0].script.position = rows[i].position;
        w->fakes[0].script.progress = rows[i].progress;
        for (int k = 0; k < 2; k++) { /* seeing it does not make it the pinned one */
            assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
            refused(w, rows[i].text);
        }
        (void)snprintf(digest, sizeof(digest), "%s", w->report.run.digest);
        assert_code(w, world_run(w, true, digest), 0);
        assert_int_equal(w->moved, 10);
        w->now_us += HOUR;
        assert_code(w, world_run(w, true, NULL), 0); /* pinned from now on */
        world_free(w);
    }
}

static void a_changed_configuration_restarts_the_waits(void **state)
{
    struct world *w = usual();
    char table[] = "public.log";
    char *ignore[] = {table, NULL};

    (void)state;
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    w->blocks[0].ignore = (struct mgc_conf_list){ignore, 1};
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    refused(w, "app: its configuration changed");
    w->now_us += 13 * HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->moved, 0);
    assert_int_equal(world_runs_of(w, "docs/dead3.jpg"), 1);
    w->now_us += 13 * HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->moved, 10);
    world_free(w);
}

static void a_source_taken_away_restarts_the_waits(void **state)
{
    struct world *w = usual();

    (void)state;
    w->sources_count = w->conf.references_count = 2;
    world_row(w, 1, "public.photo", "image", "docs/dead3.jpg");
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    w->sources_count = w->conf.references_count = 1;
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    refused(w, "the matcher or the list of sources changed");
    world_free(w);
}

static void what_the_host_says_refuses(void **state)
{
    static const struct {
        struct mgc_brake_facts facts;
        const char *text;
        bool shadow_too;
    } rows[] = {
        {{.tree_changed = true}, "its id differs", true},
        {{.bypass = true}, "beneath the mount", true},
        {{.clock_stepped = true}, "the clock stepped", true},
        {{.held = true}, "on hold", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world *w = usual();

        assert_code(w, world_run(w, true, NULL), 0);
        w->now_us += 13 * HOUR;
        w->facts = rows[i].facts;
        assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
        refused(w, rows[i].text);
        assert_int_equal(world_runs_of(w, "docs/dead3.jpg"), 1);
        assert_code(w, world_run(w, false, NULL), rows[i].shadow_too ? MGC_E_REFUSED : 0);
        world_free(w);
    }
}

/* ---- the fence (G2) ---- */

static void with_two_confirmations_the_fence_costs_nothing(void **state)
{
    struct world *w = usual();

    (void)state;
    w->fakes[0].script.invisible = true;
    w->fakes[0].script.fence_text = "first";
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->report.run.horizon_us, 0);
    assert_string_equal(world_verdict(w, "docs/dead3.jpg"), "young");
    assert_int_equal(world_runs_of(w, "docs/dead3.jpg"), 1); /* nominated */
    w->now_us += 13 * HOUR;
    world_file(w, "docs/between.jpg", w->now_us - 20 * HOUR); /* after T0 - grace of the first */
    w->fakes[0].script.fence_text = "second";
    w->fakes[0].script.open_for = 99; /* those of the second are open, those of the first ended */
    w->fakes[0].script.open_fence = "second";
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->moved, 10);
    assert_int_equal(w->horizons[0], w->now_us - 13 * HOUR - DAY);
    assert_string_equal(world_verdict(w, "docs/between.jpg"), "young");
    world_free(w);
}

static void nothing_goes_while_the_old_transactions_are_open(void **state)
{
    struct world *w = usual();

    (void)state;
    w->fakes[0].script.invisible = true;
    w->fakes[0].script.fence_text = "first";
    assert_code(w, world_run(w, true, NULL), 0);
    w->fakes[0].script.open_for = 99;
    for (int i = 0; i < 3; i++) {
        w->now_us += 13 * HOUR;
        assert_code(w, world_run(w, true, NULL), 0);
        assert_int_equal(w->moved, 0);
        assert_true(world_said(w, "start is not visible"));
    }
    w->fakes[0].script.fence = MGC_E_SOURCE; /* not known is not passed */
    assert_code(w, world_run(w, true, NULL), MGC_E_SOURCE);
    assert_int_equal(w->moved, 0);
    w->fakes[0].script.fence = 0;
    w->fakes[0].script.open_for = 0;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->moved, 10);
    world_free(w);
}

/* The row of orphan runs began after the run whose fence has passed. */
static void a_late_nomination_waits_for_its_own_fence(void **state)
{
    struct world *w = usual();

    (void)state;
    w->fakes[0].script.invisible = true;
    w->fakes[0].script.fence_text = "first";
    world_row(w, 0, "public.photo", "image", "docs/dead3.jpg");
    w->conf.reconcile.max_fall = -1;
    assert_code(w, world_run(w, true, NULL), 0);
    w->fakes[0].texts_count--;
    w->fakes[0].script.fence_text = "second";
    w->fakes[0].script.open_for = 99;
    w->fakes[0].script.open_fence = "second";
    w->now_us += 13 * HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_true(world_has(w, "docs/dead3.jpg"));
    assert_int_equal(w->moved, 9);
    world_free(w);
}

/* Transaction numbers of another database say nothing about this one. */
static void a_fence_of_another_database_says_nothing(void **state)
{
    struct world *w = usual();
    char digest[17];

    (void)state;
    w->fakes[0].script.invisible = true;
    assert_code(w, world_run(w, true, NULL), 0);
    w->now_us += 13 * HOUR;
    w->fakes[0].script.identity = "system 2 database 5";
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    (void)snprintf(digest, sizeof(digest), "%s", w->report.run.digest);
    assert_code(w, world_run(w, true, digest), 0);
    assert_int_equal(w->moved, 0);
    w->now_us += 13 * HOUR;
    assert_code(w, world_run(w, true, NULL), 0); /* behind the fence of the approved run */
    assert_int_equal(w->moved, 10);
    world_free(w);
}

static void with_one_confirmation_the_run_waits(void **state)
{
    struct world *w = usual();

    (void)state;
    w->conf.reconcile.confirmations = 1;
    w->conf.reconcile.confirm_over_us = 0;
    w->conf.reconcile.fence_for_us = 30 * SECOND;
    w->fakes[0].script.invisible = true;
    w->fakes[0].script.open_for = 2; /* the snapshot of the first begin does not see their end */
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->moved, 10);
    assert_int_equal(w->horizons[0], w->now_us - DAY);
    /* Read in a snapshot that was taken after their end was seen. */
    assert_true(w->fakes[0].begins_at_scan > w->fakes[0].begins_at_pass);
    world_free(w);
}

static void a_wait_that_fails_names_who(void **state)
{
    struct world *w = usual();

    (void)state;
    w->conf.reconcile.confirmations = 1;
    w->conf.reconcile.confirm_over_us = 0;
    w->conf.reconcile.fence_for_us = 0;
    w->fakes[0].script.invisible = true;
    w->fakes[0].script.open_for = 99;
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    assert_int_equal(w->ended.result, MGC_RUN_REFUSED);
    assert_non_null(strstr(w->report.run.refusal, "pid 812, user 'batch', database 'shop'"));
    assert_int_equal(w->fakes[0].scans, 0);
    assert_int_equal(w->moved, 0);
    assert_code(w, world_run(w, false, NULL), 0); /* describing needs no fence */
    world_free(w);
}

/* A damaged history must not become "nothing is pinned". */
static void a_damaged_history_ends_the_run(void **state)
{
    struct world *w = usual();
    struct mgc_run row = {.digest = "", .refusal = "", .sources = "{", .matcher = ""};

    (void)state;
    assert_code(w, w->catalog->ops->run_begin(w->catalog, &row, &w->err), 0);
    row.result = MGC_RUN_DONE;
    row.complete = true;
    assert_code(w, w->catalog->ops->run_end(w->catalog, &row, &w->err), 0);
    assert_code(w, world_run(w, true, NULL), MGC_E_CORRUPT);
    assert_int_equal(w->ended.result, MGC_RUN_FAILED);
    world_free(w);
}

/* The control needs a history of ten runs and two hundred recent files. */
static void the_positive_control_compares_with_history(void **state)
{
    struct world *w = usual();
    static char paths[210][32];
    char all[210 * 32] = "";

    (void)state;
    w->conf.reconcile.max_fall = -1;
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        (void)snprintf(paths[i], sizeof(paths[i]), "docs/new%03zu.jpg", i);
        world_file(w, paths[i], w->now_us - 3 * DAY);
        (void)snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s\n", paths[i]);
    }
    world_row(w, 0, "public.page", "body", all);
    for (int i = 0; i < 10; i++) {
        assert_code(w, world_run(w, false, NULL), 0);
        w->now_us += HOUR;
    }
    w->fakes[0].texts_count--;
    assert_code(w, world_run(w, true, NULL), MGC_E_REFUSED);
    refused(w, "of the recent entries are referenced");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_many_candidates_are_refused_until_approved),
        cmocka_unit_test(an_approval_is_for_its_own_set),
        cmocka_unit_test(an_approval_without_its_list_is_refused),
        cmocka_unit_test(an_approval_lifts_its_own_brakes_only),
        cmocka_unit_test(a_fall_is_refused_and_stays_refused),
        cmocka_unit_test(no_references_at_all_is_refused),
        cmocka_unit_test(a_new_table_moves_nothing_once),
        cmocka_unit_test(another_database_is_refused_until_approved),
        cmocka_unit_test(a_changed_configuration_restarts_the_waits),
        cmocka_unit_test(a_source_taken_away_restarts_the_waits),
        cmocka_unit_test(what_the_host_says_refuses),
        cmocka_unit_test(with_two_confirmations_the_fence_costs_nothing),
        cmocka_unit_test(nothing_goes_while_the_old_transactions_are_open),
        cmocka_unit_test(a_late_nomination_waits_for_its_own_fence),
        cmocka_unit_test(a_fence_of_another_database_says_nothing),
        cmocka_unit_test(with_one_confirmation_the_run_waits),
        cmocka_unit_test(a_wait_that_fails_names_who),
        cmocka_unit_test(a_damaged_history_ends_the_run),
        cmocka_unit_test(the_positive_control_compares_with_history),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
