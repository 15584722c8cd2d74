/* Held files that cannot be put back: they stop neither the others nor the runs to come. */
#include "world.h"

#define OLD(w) ((w)->now_us - 100 * DAY)

static struct {
    int64_t id; /* 0: all */
    int code;
} fault;
static int (*heal_of_the_world)(void *arg, int64_t run, int64_t held_id, struct mgc_err *err);

static int heal(void *arg, int64_t run, int64_t held_id, struct mgc_err *err)
{
    if (fault.code != 0 && (fault.id == 0 || fault.id == held_id))
        return mgc_err_say(err, fault.code, "could not heal");
    return heal_of_the_world(arg, run, held_id, err);
}

/* docs/c0.jpg ... were moved and are mentioned again; docs/new.jpg begins to wait. */
static struct world *mentioned_again(int count)
{
    static char paths[TEXTS_MAX][32];
    struct world *w = world_new(1);

    world_dir(w, "docs", OLD(w));
    world_file(w, "docs/a.jpg", OLD(w));
    world_row(w, 0, "public.photo", "image", "docs/a.jpg");
    for (int i = 0; i < count; i++) {
        (void)snprintf(paths[i], sizeof(paths[i]), "docs/c%d.jpg", i);
        world_file(w, paths[i], OLD(w));
    }
    world_confirm(w);
    assert_int_equal(w->moved, count);
    for (int i = 0; i < count; i++)
        world_row(w, 0, "public.photo", "image", paths[i]);
    world_file(w, "docs/new.jpg", OLD(w));
    w->now_us += HOUR;
    heal_of_the_world = w->host.heal;
    w->host.heal = heal;
    fault.id = fault.code = 0;
    return w;
}

static void one_that_fails_does_not_stop_the_others(void **state)
{
    static const int codes[] = {-EIO, -ENOSPC, -EROFS, -EACCES, MGC_E_CONFLICT, MGC_E_REFUSED};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        struct world *w = mentioned_again(3);

        fault.id = world_held(w, "docs/c1.jpg");
        fault.code = codes[i];
        assert_code(w, world_run(w, true, NULL), 0);
        assert_int_equal(w->ended.result, MGC_RUN_DONE);
        assert_true(w->ended.complete);
        assert_int_equal(w->report.run.healed, 2);
        assert_int_equal(w->report.failed, 1);
        assert_true(world_said(w, "'docs/c1.jpg' could not be put back: could not heal"));
        assert_true(world_held(w, "docs/c1.jpg") > 0);
        assert_int_equal(world_runs_of(w, "docs/new.jpg"), 1); /* confirmations go on */
        fault.code = 0;
        assert_code(w, world_run(w, true, NULL), 0);
        assert_int_equal(w->report.run.healed, 1);
        assert_int_equal(w->report.failed, 0);
        world_free(w);
    }
}

static void a_describing_run_says_what_is_needed_again(void **state)
{
    struct world *w = mentioned_again(3);

    (void)state;
    assert_code(w, world_run(w, false, NULL), 0);
    assert_int_equal(w->report.run.healed, 0);
    assert_true(world_said(w, "3 held files are mentioned again"));
    assert_true(world_held(w, "docs/c1.jpg") > 0);
    world_free(w);
}

static void what_came_back_by_itself_is_no_fault(void **state)
{
    static const int codes[] = {-EEXIST, -ENOENT, -ESTALE};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        struct world *w = mentioned_again(1);

        fault.code = codes[i];
        assert_code(w, world_run(w, true, NULL), 0);
        assert_int_equal(w->report.failed, 0);
        assert_int_equal(w->notices, 0);
        world_free(w);
    }
}

static void a_lost_connection_ends_the_run(void **state)
{
    static const int codes[] = {MGC_E_NO_DAEMON, MGC_E_PROTOCOL, -EPIPE, -ECONNRESET};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        struct world *w = mentioned_again(3);

        fault.code = codes[i];
        assert_code(w, world_run(w, true, NULL), codes[i]);
        assert_int_equal(w->ended.result, MGC_RUN_FAILED);
        assert_int_equal(world_runs_of(w, "docs/new.jpg"), 0);
        world_free(w);
    }
}

static void many_faults_are_not_told_one_by_one(void **state)
{
    struct world *w = mentioned_again(15);

    (void)state;
    fault.code = -EIO;
    assert_code(w, world_run(w, true, NULL), 0);
    assert_int_equal(w->report.failed, 15);
    assert_int_equal(w->notices, 11);
    assert_true(world_said(w, "5 more held files could not be put back"));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_fails_does_not_stop_the_others),
        cmocka_unit_test(a_describing_run_says_what_is_needed_again),
        cmocka_unit_test(what_came_back_by_itself_is_no_fault),
        cmocka_unit_test(a_lost_connection_ends_the_run),
        cmocka_unit_test(many_faults_are_not_told_one_by_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
