/* A restore or heal is stopped, made to fail or lied to at every step; restore never overwrites. */
#include "machine.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "mediagcfs/path.h"

enum { STEPS_MIN = 12, STEPS_MAX = 300, CUTS = 6 };

static int64_t id_held;

/* docs/2024/c.bin is held and its directories are gone. */
static void site(uint64_t seed)
{
    struct mgc_move_outcome outcome;
    struct mgc_candidate candidate;

    machine_reset(seed);
    assert_int_equal(app_mkdir("docs"), 0);
    assert_int_equal(app_mkdir("docs/2024"), 0);
    assert_int_equal(app_create("docs/2024/c.bin", 3), 0);
    assert_int_equal(app_create("other.bin", 4), 0);
    M.now_us += MACHINE_HOUR;
    candidate = machine_candidate("docs/2024/c.bin");
    assert_int_equal(mgc_quarantine_move(M.q, &candidate, 1, 7, &outcome, NULL), 0);
    assert_int_equal(outcome.code, 0);
    id_held = outcome.held_id;
    assert_int_equal(app_rmdir("docs/2024"), 0);
    assert_int_equal(app_rmdir("docs"), 0);
    M.changes = 0; /* all of it reached the disk long ago */
}

static int restore(const char *to, bool heal)
{
    return mgc_quarantine_restore(M.q, id_held, to, heal, "test", NULL);
}

static void assert_sound(const char *what, int step)
{
    const char *wrong = machine_disagreement();

    if (wrong != NULL)
        fail_msg("%s at step %d: %s", what, step, wrong);
}

static void every_step(enum machine_mode mode, const char *what, bool forget)
{
    bool full = false;
    int step, cuts = forget ? CUTS : 1;

    for (step = 0; !full && step < STEPS_MAX; step++)
        for (int cut = 0; cut < cuts; cut++) {
            int r;

            site((uint64_t)(step * CUTS + cut));
            M.forget = forget;
            machine_arm(mode, step);
            r = restore(NULL, true);
            full = M.step <= step;
            (void)machine_restart();
            assert_sound(what, step);
            if (r == 0) {
                assert_int_equal(machine_content("docs/2024/c.bin"), 3);
                assert_null(machine_held_of("docs/2024/c.bin"));
            }
            if (full)
                assert_int_equal(r, 0);
        }
    assert_in_range(step, STEPS_MIN, STEPS_MAX - 1);
}

static void a_stop_at_every_step(void **state)
{
    (void)state;
    every_step(MACHINE_STOP, "stop", false);
    every_step(MACHINE_STOP, "power cut", true);
}

static void a_failure_or_lie_at_every_step(void **state)
{
    (void)state;
    every_step(MACHINE_FAIL, "failure", false);
    every_step(MACHINE_FAIL, "failure and power cut", true);
    every_step(MACHINE_LIE, "lie", false);
    every_step(MACHINE_LIE, "lie and power cut", true);
}

/* After a failed restore the next one settles it and goes on; in the end the file is back. */
static void the_next_restore_goes_on(void **state)
{
    bool full = false;

    (void)state;
    for (int step = 0; !full && step < STEPS_MAX; step++) {
        site(1);
        machine_arm(MACHINE_FAIL, step);
        (void)restore(NULL, false);
        full = M.step <= step;
        machine_arm(MACHINE_NONE, -1);
        (void)restore(NULL, false);
        assert_int_equal(machine_content("docs/2024/c.bin"), 3);
        assert_sound("second restore", step);
    }
    assert_true(full);
}

static void act_take_path(void)
{
    (void)app_mkdir("docs");
    (void)app_mkdir("docs/2024");
    (void)app_create("docs/2024/c.bin", 103);
}
static void act_remove(void)
{
    (void)app_unlink("docs/2024/c.bin");
}
static void act_replace(void)
{
    if (app_unlink("docs/2024/c.bin") == 0)
        assert_int_equal(app_create("docs/2024/c.bin", 104), 0);
}
static void act_rename_away(void)
{
    (void)app_rename("docs/2024/c.bin", "elsewhere.bin");
}

static void the_application_acts_at_every_step(void **state)
{
    static const struct {
        const char *what;
        void (*act)(void);
    } acts[] = {
        {"take the path", act_take_path},
        {"remove", act_remove},
        {"replace", act_replace},
        {"rename away", act_rename_away},
    };

    (void)state;
    for (size_t a = 0; a < ARRAY_SIZE(acts); a++) {
        bool full = false;
        int step;

        for (step = 0; !full && step < STEPS_MAX; step++) {
            int r;

            site(5);
            M.act = acts[a].act;
            machine_arm(MACHINE_ACT, step);
            r = restore(NULL, true);
            full = M.step <= step;
            if (r == -EEXIST) {
                assert_int_equal(machine_content("docs/2024/c.bin"), 103);
                assert_non_null(machine_held_of("docs/2024/c.bin"));
            }
            (void)machine_restart();
            assert_sound(acts[a].what, step);
            for (int64_t content = 3; content <= 4; content++)
                assert_in_range(machine_copies(content, NULL, 0), a == 0 || content == 4, 1);
            assert_true(machine_copies(103, NULL, 0) <= 1);
            assert_int_equal(M.node[M.slots].entry_count, M.helds);
        }
        assert_in_range(step, STEPS_MIN, STEPS_MAX - 1);
    }
}

/* Q5: only in the one step between the last look and the rename can a stranger slip through. */
static void act_stranger(void)
{
    stranger_in_slot(id_held, 105);
}

static void a_stranger_in_the_slot_stays_there(void **state)
{
    bool full = false;
    int slipped = 0;

    (void)state;
    for (int step = 0; !full && step < STEPS_MAX; step++) {
        char path[256] = "";

        site(5);
        M.act = act_stranger;
        machine_arm(MACHINE_ACT, step);
        (void)restore(NULL, true);
        full = M.step <= step;
        if (machine_copies(105, path, sizeof(path)) == 1)
            slipped += !mgc_path_is_private(path);
    }
    assert_true(full);
    assert_in_range(slipped, 0, 1);
}

static void no_sync_can_be_left_out(void **state)
{
    bool last = false;
    int n;

    (void)state;
    for (n = 0; !last && n < 16; n++) {
        const char *wrong = NULL;

        for (uint64_t seed = 0; seed < 60 && wrong == NULL; seed++) {
            site(seed);
            assert_int_equal(app_mkdir("docs"), 0); /* one missing: a second would sync again */
            M.mute_sync = n;
            machine_arm(MACHINE_NONE, -1);
            assert_int_equal(restore(NULL, false), 0);
            last = M.syncs <= n;
            M.mute_sync = -1;
            M.forget = true;
            (void)machine_restart();
            wrong = machine_disagreement();
        }
        if (!last && wrong == NULL)
            fail_msg("sync %d can be left out", n);
        if (last && wrong != NULL)
            fail_msg("with all syncs: %s", wrong);
    }
    assert_int_equal(n, 5); /* two for the new directory, docs/2024, slots; then all */
}

static void the_tree_is_synced_first(void **state)
{
    (void)state;
    for (int step = 0; step < STEPS_MAX; step++)
        for (uint64_t seed = 0; seed < CUTS; seed++) {
            site(seed);
            M.forget = M.torn = true;
            machine_arm(MACHINE_STOP, step);
            (void)restore(NULL, false);
            (void)machine_restart();
            if (machine_copies(3, NULL, 0) == 0)
                fail_msg("lost at step %d", step);
        }
}

static void directories_are_made_as_the_root_is(void **state)
{
    int node;

    (void)state;
    site(1);
    assert_int_equal(restore("new/place/d.bin", false), 0);
    assert_int_equal(machine_content("new/place/d.bin"), 3);
    node = machine_find("new/place");
    assert_int_equal(M.node[node].uid, 33);
    assert_int_equal(M.node[node].mode & 07777, 0755);
    assert_int_equal(M.events[MGC_EVENT_RESTORE], 1);
    assert_int_equal(M.node[M.private_dir].entry_count, 1); /* nothing is left but the slots */
    assert_sound("restored elsewhere", 0);
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
        cmocka_unit_test(a_failure_or_lie_at_every_step),
        cmocka_unit_test(the_next_restore_goes_on),
        cmocka_unit_test(the_application_acts_at_every_step),
        cmocka_unit_test(a_stranger_in_the_slot_stays_there),
        cmocka_unit_test(no_sync_can_be_left_out),
        cmocka_unit_test(the_tree_is_synced_first),
        cmocka_unit_test(directories_are_made_as_the_root_is),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
