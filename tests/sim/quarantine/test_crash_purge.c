/* A purge is stopped, made to fail or lied to at every step; emptied directories go, others stay.
 */
#include "machine.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "mediagcfs/path.h"

enum { STEPS_MIN = 12, STEPS_MAX = 300, CUTS = 6, FILES = 3 };
static const char *const paths[FILES] = {"docs/2024/a.bin", "docs/2024/b.bin", "pics/c.bin"};
static const struct mgc_purge_rules no_wait = {0};

static int64_t ids[FILES];

static void hold(const char *const *names, size_t count, int64_t *ret_ids)
{
    struct mgc_move_outcome outcomes[FILES];
    struct mgc_candidate candidates[FILES] = {0};

    for (size_t i = 0; i < count; i++)
        candidates[i] = machine_candidate(names[i]);
    assert_int_equal(mgc_quarantine_move(M.q, candidates, count, 7, outcomes, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(outcomes[i].code, 0);
        ret_ids[i] = outcomes[i].held_id;
    }
}

static void site(uint64_t seed)
{
    machine_reset(seed);
    assert_int_equal(app_mkdir("docs"), 0);
    assert_int_equal(app_mkdir("docs/2024"), 0);
    assert_int_equal(app_mkdir("pics"), 0);
    assert_int_equal(app_create("docs/2024/a.bin", 1), 0);
    assert_int_equal(app_create("docs/2024/b.bin", 2), 0);
    assert_int_equal(app_create("pics/c.bin", 3), 0);
    assert_int_equal(app_create("pics/stays.bin", 4), 0);
    M.now_us += MACHINE_HOUR;
    hold(paths, FILES, ids);
    M.changes = 0; /* all of it reached the disk long ago */
    M.now_us += MACHINE_HOUR;
}

static int purge(const int64_t *which, size_t count, int *outcomes)
{
    struct mgc_purge_rules rules = no_wait;

    rules.now_us = M.now_us;
    return mgc_quarantine_purge(M.q, which, count, M.now_us - 1000, M.now_us - 10, false, &rules,
                                "test", outcomes, NULL);
}

static void assert_sound(const char *what, int step)
{
    const char *wrong = machine_disagreement();

    if (wrong != NULL)
        fail_msg("%s at step %d: %s", what, step, wrong);
}

/* a and c are purged; b must not be touched whatever happens. */
static void every_step(enum machine_mode mode, const char *what, bool forget)
{
    bool full = false;
    int step, cuts = forget ? CUTS : 1;

    for (step = 0; !full && step < STEPS_MAX; step++)
        for (int cut = 0; cut < cuts; cut++) {
            int64_t which[2];
            int outcomes[2];

            site((uint64_t)(step * CUTS + cut));
            which[0] = ids[0];
            which[1] = ids[2];
            machine_may_go(1);
            machine_may_go(3);
            M.forget = forget;
            machine_arm(mode, step);
            (void)purge(which, 2, outcomes);
            full = M.step <= step;
            (void)machine_restart();
            assert_sound(what, step);
            assert_int_equal(machine_copies(2, NULL, 0), 1);
            assert_int_equal(machine_copies(4, NULL, 0), 1);
            for (int i = 0; i < 2; i++)
                if (outcomes[i] == 0)
                    assert_int_equal(machine_copies(i == 0 ? 1 : 3, NULL, 0), 0);
            assert_true(machine_find("docs/2024") >= 0); /* b belongs there */
            if (full) {
                assert_int_equal(outcomes[0], 0);
                assert_int_equal(outcomes[1], 0);
            }
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

static void no_sync_can_be_left_out(void **state)
{
    bool noticed = false;

    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        int outcomes[FILES];

        for (int mute = 0; mute < 2; mute++) {
            site(seed);
            M.mute_sync = mute == 1 ? 0 : -1;
            machine_arm(MACHINE_NONE, -1);
            assert_int_equal(purge(ids, FILES, outcomes), 0);
            /* What was reported as deleted for good must not be there after a power cut. */
            for (int64_t content = 1; content <= 3; content++)
                for (int i = 0; i < M.truths; i++)
                    if (M.truth[i].content == content)
                        M.truth[i].state = TRUTH_GONE;
            M.mute_sync = -1;
            M.forget = true;
            (void)machine_restart();
            if (machine_disagreement() == NULL)
                continue;
            if (mute == 0)
                fail_msg("with all syncs: %s", machine_disagreement());
            noticed = true;
        }
    }
    assert_true(noticed);
}

/* Every directory entry change of the application at every step: only what we emptied goes. */
static void act_use_directory(void)
{
    (void)app_mkdir("docs");
    (void)app_mkdir("docs/2024");
    (void)app_create("docs/2024/new.bin", 103);
}

static void an_upload_at_every_step_survives(void **state)
{
    bool full = false;

    (void)state;
    for (int step = 0; !full && step < STEPS_MAX; step++) {
        int outcomes[FILES];

        site(1);
        for (int64_t content = 1; content <= 3; content++)
            machine_may_go(content);
        M.act = act_use_directory;
        machine_arm(MACHINE_ACT, step);
        assert_int_equal(purge(ids, FILES, outcomes), 0);
        full = M.step <= step;
        if (!full)
            assert_int_equal(machine_content("docs/2024/new.bin"), 103);
        assert_sound("upload", step);
    }
    assert_true(full);
}

/* Q5: only in the one step between the last look and the unlink can a stranger be hit. */
static void act_stranger(void)
{
    stranger_in_slot(ids[0], 105);
}

static void a_stranger_in_the_slot_is_not_deleted(void **state)
{
    bool full = false;
    int hit = 0;

    (void)state;
    for (int step = 0; !full && step < STEPS_MAX; step++) {
        int outcomes[FILES];

        site(1);
        for (int64_t content = 1; content <= 3; content++)
            machine_may_go(content);
        M.act = act_stranger;
        machine_arm(MACHINE_ACT, step);
        (void)purge(ids, FILES, outcomes);
        full = M.step <= step;
        for (int i = 0; i < M.truths; i++)
            if (M.truth[i].content == 105)
                hit += machine_copies(105, NULL, 0) == 0;
    }
    assert_true(full);
    assert_in_range(hit, 0, 1);
}

static void emptied_directories_go_with_the_last_file(void **state)
{
    int outcomes[FILES];

    (void)state;
    site(1);
    for (int64_t content = 1; content <= 3; content++)
        machine_may_go(content);
    assert_int_equal(purge(ids, 1, outcomes), 0);
    assert_true(machine_find("docs/2024") >= 0); /* b is held and belongs there */
    assert_int_equal(purge(ids + 1, 2, outcomes), 0);
    assert_int_equal(machine_find("docs/2024"), -1);
    assert_int_equal(machine_find("docs"), -1);
    assert_true(machine_find("pics") >= 0); /* not empty */
    assert_int_equal(M.events[MGC_EVENT_PURGE], 3);
    assert_sound("purged", 0);
}

/* A parent emptied one sub-directory at a time goes with the last of them. */
static void a_parent_emptied_bit_by_bit_goes(void **state)
{
    static const char *const names[2] = {"year/01/a.bin", "year/02/b.bin"};
    int64_t which[2];
    int outcomes[1];

    (void)state;
    machine_reset(1);
    assert_int_equal(app_mkdir("year"), 0);
    assert_int_equal(app_mkdir("year/01"), 0);
    assert_int_equal(app_mkdir("year/02"), 0);
    assert_int_equal(app_create(names[0], 1), 0);
    assert_int_equal(app_create(names[1], 2), 0);
    M.now_us += MACHINE_HOUR;
    hold(names, 2, which);
    for (int i = 0; i < 2; i++) {
        machine_may_go(i + 1);
        M.now_us += MACHINE_HOUR;
        assert_int_equal(purge(&which[i], 1, outcomes), 0);
        assert_int_equal(outcomes[0], 0);
    }
    assert_int_equal(machine_find("year"), -1);
    assert_sound("bit by bit", 0);
}

/* What the application emptied or made again is the application's. */
static void other_empty_directories_stay(void **state)
{
    int outcomes[FILES];

    (void)state;
    site(1);
    for (int64_t content = 1; content <= 3; content++)
        machine_may_go(content);
    assert_int_equal(app_create("docs/2024/new.bin", 103), 0);
    assert_int_equal(app_unlink("docs/2024/new.bin"), 0);
    assert_int_equal(purge(ids, FILES, outcomes), 0);
    assert_true(machine_find("docs/2024") >= 0);

    site(1);
    for (int64_t content = 1; content <= 3; content++)
        machine_may_go(content);
    assert_int_equal(app_rmdir("docs/2024"), 0);
    assert_int_equal(app_rmdir("docs"), 0);
    assert_int_equal(app_mkdir("docs"), 0);
    assert_int_equal(app_mkdir("docs/2024"), 0);
    assert_int_equal(purge(ids, FILES, outcomes), 0);
    assert_true(machine_find("docs/2024") >= 0);
    assert_sound("stays", 0);
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
        cmocka_unit_test(no_sync_can_be_left_out),
        cmocka_unit_test(an_upload_at_every_step_survives),
        cmocka_unit_test(a_stranger_in_the_slot_is_not_deleted),
        cmocka_unit_test(emptied_directories_go_with_the_last_file),
        cmocka_unit_test(a_parent_emptied_bit_by_bit_goes),
        cmocka_unit_test(other_empty_directories_stay),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
