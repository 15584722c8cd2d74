/*
 * A move is stopped, made to fail, or lied to at every single step, with and without a power cut,
 * and the application acts at every single step.  Each loop ends with the first full run.
 */
#include "machine.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "mediagcfs/path.h"

enum { STEPS_MIN = 40, STEPS_MAX = 400, CUTS = 6, FILES = 4 };
static const char *const paths[FILES] = {"a.bin", "docs/b.bin", "docs/2024/c.bin", "docs/link"};

static void site(uint64_t seed)
{
    machine_reset(seed);
    assert_int_equal(app_mkdir("docs"), 0);
    assert_int_equal(app_mkdir("docs/2024"), 0);
    assert_int_equal(app_create("a.bin", 1), 0);
    assert_int_equal(app_create("docs/b.bin", 2), 0);
    assert_int_equal(app_create("docs/2024/c.bin", 3), 0);
    assert_int_equal(app_symlink("docs/link", 4), 0);
    assert_int_equal(app_create("docs/stays.bin", 5), 0);
    M.now_us += MACHINE_HOUR;
}

static int move_all(struct mgc_move_outcome outcomes[FILES])
{
    struct mgc_candidate candidates[FILES];

    for (int i = 0; i < FILES; i++)
        candidates[i] = machine_candidate(paths[i]);
    return mgc_quarantine_move(M.q, candidates, FILES, 77, outcomes, NULL);
}

static bool all_held(const struct mgc_move_outcome outcomes[FILES])
{
    for (int i = 0; i < FILES; i++)
        if (outcomes[i].code != 0)
            return false;
    return true;
}

static void assert_sound(const char *what, int step)
{
    const char *wrong = machine_disagreement();

    if (wrong != NULL)
        fail_msg("%s at step %d: %s", what, step, wrong);
}

/* An outcome of 0 is a promise, whatever happens after it. */
static void assert_promises(const struct mgc_move_outcome outcomes[FILES])
{
    for (int i = 0; i < FILES; i++) {
        assert_true((outcomes[i].code == 0) == (outcomes[i].held_id > 0));
        assert_true((outcomes[i].code == 0) == (outcomes[i].why[0] == '\0'));
        if (outcomes[i].code == 0)
            assert_non_null(machine_held_of(paths[i]));
    }
}

static void every_step(enum machine_mode mode, const char *what, bool forget, bool no_xattr)
{
    struct mgc_move_outcome outcomes[FILES];
    int step, cuts = forget ? CUTS : 1;
    bool full = false;

    for (step = 0; !full && step < STEPS_MAX; step++)
        for (int cut = 0; cut < cuts; cut++) {
            site((uint64_t)(step * CUTS + cut));
            M.forget = forget;
            M.no_xattr = no_xattr;
            machine_arm(mode, step);
            (void)move_all(outcomes);
            full = M.step <= step;
            if (full)
                assert_true(all_held(outcomes));
            (void)machine_restart();
            assert_sound(what, step);
            assert_promises(outcomes);
        }
    assert_in_range(step, STEPS_MIN, STEPS_MAX - 1);
}

static void a_stop_at_every_step(void **state)
{
    (void)state;
    every_step(MACHINE_STOP, "stop", false, false);
    every_step(MACHINE_STOP, "stop without xattrs", false, true);
}

static void a_power_cut_at_every_step(void **state)
{
    (void)state;
    every_step(MACHINE_STOP, "power cut", true, false);
    every_step(MACHINE_STOP, "power cut without xattrs", true, true);
}

static void a_failure_at_every_step(void **state)
{
    (void)state;
    every_step(MACHINE_FAIL, "failure", false, false);
    every_step(MACHINE_FAIL, "failure and power cut", true, true);
}

static void a_lie_at_every_step(void **state)
{
    (void)state;
    every_step(MACHINE_LIE, "lie", false, false);
    every_step(MACHINE_LIE, "lie and power cut", true, true);
}

/* After a failure nobody restarts: the next move settles what was left behind. */
static void the_next_move_settles_a_failed_one(void **state)
{
    static const enum machine_mode modes[] = {MACHINE_FAIL, MACHINE_LIE};

    (void)state;
    for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
        bool full = false;
        int step;

        for (step = 0; !full && step < STEPS_MAX; step++) {
            struct mgc_move_outcome outcomes[FILES];
            site(1);
            machine_arm(modes[m], step);
            (void)move_all(outcomes);
            full = M.step <= step;
            machine_arm(MACHINE_NONE, -1);
            (void)move_all(outcomes);
            assert_sound("second move", step);
            assert_false(M.q->unsettled);
        }
        assert_in_range(step, STEPS_MIN, STEPS_MAX - 1);
    }
}

/* Recovery itself is stopped at every step of settling a move stopped in the middle. */
static void recovery_is_stopped_at_every_step(void **state)
{
    struct mgc_recover_result done;
    int at[] = {35, 60, 80, 110}, r;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
        r = -EIO;
        for (int step = 0; r != 0 && step < STEPS_MAX; step++) {
            struct mgc_move_outcome outcomes[FILES];

            site(3);
            machine_arm(MACHINE_STOP, at[i]);
            (void)move_all(outcomes);
            M.stopped = false;
            machine_arm(MACHINE_STOP, step);
            M.forget = step % 2 == 1;
            r = mgc_quarantine_recover(M.q, &done, NULL);
            (void)machine_restart();
            assert_sound("recovery", step);
        }
        assert_int_equal(r, 0);
    }
}

/* ---- the application acts at every step ---- */

static void act_replace(void)
{
    if (app_unlink("docs/b.bin") == 0)
        assert_int_equal(app_create("docs/b.bin", 102), 0);
}
static void act_replace_by_rename(void)
{
    assert_int_equal(app_create("docs/tmp", 103), 0);
    assert_int_equal(app_rename("docs/tmp", "docs/b.bin"), 0);
}
static void act_unlink(void)
{
    (void)app_unlink("docs/b.bin");
}
static void act_write(void)
{
    (void)app_write("docs/b.bin", 104);
}
static void act_rename_directory(void)
{
    (void)app_rename("docs", "moved");
}
static void act_swap_directory(void)
{
    assert_int_equal(app_rename("docs", "old"), 0);
    assert_int_equal(app_mkdir("docs"), 0);
    assert_int_equal(app_create("docs/b.bin", 105), 0);
}
/* Opened for writing, nothing written yet: the descriptor stays. */
static int opened;
static void act_open_writer(void)
{
    opened = machine_find("docs/b.bin");
    if (opened >= 0)
        M.node[opened].writers++;
}
/* A writer that came and went between two steps. */
static void act_take_path(void)
{
    if (machine_find("docs/b.bin") < 0)
        assert_int_equal(app_create("docs/b.bin", 106), 0);
}

static void the_application_acts_at_every_step(void **state)
{
    static const struct {
        const char *what;
        void (*act)(void);
    } acts[] = {
        {"replace", act_replace},
        {"replace by rename", act_replace_by_rename},
        {"unlink", act_unlink},
        {"write", act_write},
        {"rename the directory", act_rename_directory},
        {"swap the directory", act_swap_directory},
        {"open for writing", act_open_writer},
        {"take the path", act_take_path},
    };

    (void)state;
    for (size_t a = 0; a < ARRAY_SIZE(acts); a++) {
        bool full = false;
        int step;

        for (step = 0; !full && step < STEPS_MAX; step++) {
            struct mgc_move_outcome outcomes[FILES];

            site(5);
            opened = -1;
            M.act = acts[a].act;
            machine_arm(MACHINE_ACT, step);
            (void)move_all(outcomes);
            full = M.step <= step;
            assert_sound(acts[a].what, step);
            for (int64_t made = 102; made <= 106; made++) {
                char path[256] = "";

                /* What the application made after the horizon is never taken. */
                if (machine_copies(made, path, sizeof(path)) == 1 && mgc_path_is_private(path))
                    fail_msg("%s at step %d: new content was moved", acts[a].what, step);
            }
            if (opened >= 0 && machine_find("docs/b.bin") != opened)
                fail_msg("%s at step %d: moved with a writer", acts[a].what, step);
            (void)machine_restart();
            assert_sound(acts[a].what, step);
        }
        assert_in_range(step, STEPS_MIN, STEPS_MAX - 1);
    }
}

/* H2, H7: what happens during the commit is seen after it, under the path lock. */
static void what_happens_during_the_commit_is_seen(void **state)
{
    static void (*const acts[])(void) = {
        act_replace,     act_replace_by_rename, act_unlink,        act_write,
        act_open_writer, act_rename_directory,  act_swap_directory};

    (void)state;
    for (size_t a = 0; a < ARRAY_SIZE(acts); a++) {
        struct mgc_move_outcome outcomes[FILES];

        site(5);
        M.on_begun = acts[a];
        assert_int_equal(move_all(outcomes), 0);
        assert_int_equal(outcomes[0].code, 0);
        assert_true(outcomes[1].code == -ESTALE || outcomes[1].code == -ENOENT ||
                    outcomes[1].code == MGC_E_BUSY);
        assert_null(machine_held_of(paths[1]));
        assert_sound("commit", (int)a);
    }
}

/* The directory went away and came back during the commit: only its birth shows it (H7). */
static void act_there_and_back(void)
{
    assert_int_equal(app_rename("docs", "moved"), 0);
    assert_int_equal(app_rename("moved", "docs"), 0);
}

static void a_directory_that_was_elsewhere_is_young(void **state)
{
    struct mgc_move_outcome outcomes[FILES];

    (void)state;
    site(5);
    M.on_begun = act_there_and_back;
    assert_int_equal(move_all(outcomes), 0);
    assert_int_equal(outcomes[0].code, 0);
    for (int i = 1; i < FILES; i++)
        assert_int_equal(outcomes[i].code, -ESTALE);
    assert_sound("there and back", 0);
}

/* What changes neither name nor content counts too: a second name, a chmod. */
static void act_link(void)
{
    M.node[machine_find("docs/b.bin")].nlink = 2;
}
static void act_chmod(void)
{
    M.node[machine_find("docs/b.bin")].ctime_us++;
}

static void a_second_look_sees_more_than_the_name(void **state)
{
    struct mgc_move_outcome outcome;
    struct mgc_candidate candidate;

    (void)state;
    site(5);
    M.on_begun = act_link;
    candidate = machine_candidate("docs/b.bin");
    assert_int_equal(mgc_quarantine_move(M.q, &candidate, 1, 1, &outcome, NULL), 0);
    assert_int_equal(outcome.code, MGC_E_UNMOVABLE);

    site(5);
    M.on_begun = act_chmod;
    candidate = machine_candidate("docs/b.bin");
    candidate.horizon_us = INT64_MAX;
    assert_int_equal(mgc_quarantine_move(M.q, &candidate, 1, 1, &outcome, NULL), 0);
    assert_int_equal(outcome.code, -ESTALE);
}

/* A stranger moved by name is back before anything slow happens. */
static void assert_stranger_is_back(void)
{
    char path[256] = "";

    if (machine_copies(102, path, sizeof(path)) == 1)
        assert_string_equal(path, "docs/b.bin");
}

static void a_stranger_is_back_at_once(void **state)
{
    struct mgc_move_outcome outcomes[FILES];
    bool full = false;

    (void)state;
    for (int step = 0; !full && step < STEPS_MAX; step++) {
        site(5);
        M.act = act_replace;
        M.on_sync = assert_stranger_is_back;
        machine_arm(MACHINE_ACT, step);
        (void)move_all(outcomes);
        full = M.step <= step;
    }
    assert_true(full);
}

/*
 * Names went into a slot and back, rows and origins are gone: a power cut must not bring the first
 * rename without the second, for nobody would know the slot then.
 */
static void what_came_back_is_back_on_the_disk(void **state)
{
    static void (*const acts[])(void) = {act_replace_by_rename, act_write, act_open_writer};

    (void)state;
    for (size_t a = 0; a < ARRAY_SIZE(acts); a++)
        for (uint64_t seed = 0; seed < 8; seed++) {
            bool full = false;

            for (int step = 0; !full && step < STEPS_MAX; step++) {
                struct mgc_move_outcome outcome;
                struct mgc_candidate candidate;

                site(seed);
                candidate = machine_candidate("docs/b.bin"); /* alone: no other's sync helps */
                M.act = acts[a];
                machine_arm(MACHINE_ACT, step);
                assert_int_equal(mgc_quarantine_move(M.q, &candidate, 1, 1, &outcome, NULL), 0);
                full = M.step <= step;
                M.forget = true;
                M.helds = 0; /* the catalog goes with it */
                (void)machine_restart();
                assert_sound("power cut after a return", step);
            }
            assert_true(full);
        }
}

/* ---- leaving something out is noticed ---- */

/* The n-th sync does nothing; after the full run the power goes. */
static const char *with_muted_sync(int n, bool torn, bool *ret_last)
{
    struct mgc_move_outcome outcomes[FILES];

    for (uint64_t seed = 0; seed < 40; seed++) {
        const char *wrong;

        site(seed);
        M.mute_sync = n;
        M.torn = torn;
        machine_arm(MACHINE_NONE, -1);
        (void)move_all(outcomes);
        *ret_last = M.syncs <= n;
        M.mute_sync = -1;
        M.forget = true;
        (void)machine_restart();
        wrong = machine_disagreement();
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}

static void no_sync_can_be_left_out(void **state)
{
    bool last = false;
    int n;

    (void)state;
    for (n = 0; !last && n < 16; n++) {
        const char *wrong = with_muted_sync(n, false, &last);

        if (!last && wrong == NULL)
            fail_msg("sync %d can be left out", n);
        if (last && wrong != NULL)
            fail_msg("with all syncs: %s", wrong);
    }
    assert_int_equal(n, 5); /* slots, root, docs, docs/2024; then the run with all */
}

/* Q3: with halves of a rename undone, stopping between the syncs never loses a file. */
static void the_quarantine_is_synced_first(void **state)
{
    struct mgc_move_outcome outcomes[FILES];

    (void)state;
    for (int step = 0; step < STEPS_MAX; step++)
        for (uint64_t seed = 0; seed < CUTS; seed++) {
            site(seed);
            M.forget = M.torn = true;
            machine_arm(MACHINE_STOP, step);
            (void)move_all(outcomes);
            (void)machine_restart();
            for (int64_t content = 1; content <= 5; content++)
                if (machine_copies(content, NULL, 0) == 0)
                    fail_msg("content %d lost at step %d", (int)content, step);
        }
}

/* Q2 twice: the catalog forgets the announcement, the origin brings the row back. */
static void a_lost_catalog_is_made_good_by_origins(void **state)
{
    struct mgc_move_outcome outcomes[FILES];
    struct mgc_recover_result done;

    (void)state;
    site(1);
    (void)move_all(outcomes);
    M.helds = 0;
    done = machine_restart();
    assert_int_equal(done.adopted, FILES);
    assert_int_equal(done.alarms, 0);
    for (int i = 0; i < FILES; i++) {
        const struct catalog_held *held = machine_held_of(paths[i]);

        assert_non_null(held);
        assert_int_equal(held->held.id, outcomes[i].held_id);
        assert_int_equal(held->held.run, 77);
        assert_int_equal(mgc_quarantine_restore(M.q, held->held.id, NULL, false, "test", NULL), 0);
        assert_int_equal(machine_content(paths[i]), i + 1);
    }
    assert_sound("restored", 0);
}

static void without_origins_a_lost_catalog_is_noticed(void **state)
{
    struct mgc_move_outcome outcomes[FILES];
    struct mgc_recover_result done;

    (void)state;
    site(1);
    M.mute_mark = true;
    (void)move_all(outcomes);
    M.helds = 0;
    done = machine_restart();
    assert_int_equal(done.adopted, 0);
    assert_int_equal(done.alarms, FILES);
    assert_int_equal(M.node[M.slots].entry_count, FILES); /* untouched */
}

static int teardown(void **state)
{
    (void)state;
    machine_done();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_at_every_step),
        cmocka_unit_test(a_power_cut_at_every_step),
        cmocka_unit_test(a_failure_at_every_step),
        cmocka_unit_test(a_lie_at_every_step),
        cmocka_unit_test(the_next_move_settles_a_failed_one),
        cmocka_unit_test(recovery_is_stopped_at_every_step),
        cmocka_unit_test(the_application_acts_at_every_step),
        cmocka_unit_test(what_happens_during_the_commit_is_seen),
        cmocka_unit_test(a_directory_that_was_elsewhere_is_young),
        cmocka_unit_test(a_second_look_sees_more_than_the_name),
        cmocka_unit_test(a_stranger_is_back_at_once),
        cmocka_unit_test(what_came_back_is_back_on_the_disk),
        cmocka_unit_test(no_sync_can_be_left_out),
        cmocka_unit_test(the_quarantine_is_synced_first),
        cmocka_unit_test(a_lost_catalog_is_made_good_by_origins),
        cmocka_unit_test(without_origins_a_lost_catalog_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
