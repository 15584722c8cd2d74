/*
 * An application that creates, writes, renames, unlinks and replaces at random, interleaved with
 * moves, restores, purges, faults of every kind, power cuts and a lost catalog, against a model:
 * each content is at exactly one place, whole, and the catalog knows which.
 *
 * MGC_SIM_SEED runs one seed, MGC_SIM_ROUNDS more of them; a failure prints seed and step.
 */
#include "machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#include "mediagcfs/path.h"

enum { ROUNDS = 800, ACTS = 60, BATCH = 4 };

static const char *const dirs[] = {"d", "d/e", "d/e/f", "g"};
static const char *const names[] = {"a", "b", "d/a", "d/b", "d/e/a", "d/e/f/a", "d/e/f/b", "g/a"};
static int64_t next_content;
static struct {
    int moved, restored, purged, recovered, faults;
} seen;

static const char *any_name(void)
{
    return names[machine_random(ARRAY_SIZE(names))];
}

static void application_acts(void)
{
    const char *path = any_name();

    switch (machine_random(9)) {
    case 0:
    case 1:
    case 2:
        (void)app_create(path, next_content++);
        break;
    case 3:
        (void)app_symlink(path, next_content++);
        break;
    case 4:
        (void)app_write(path, next_content++);
        break;
    case 5:
        (void)app_unlink(path);
        break;
    case 6:
        (void)app_rename(any_name(), path);
        break;
    case 7:
        (void)app_mkdir(dirs[machine_random(ARRAY_SIZE(dirs))]);
        break;
    default:
        (void)app_rmdir(dirs[machine_random(ARRAY_SIZE(dirs))]);
        break;
    }
}

static void arm_something(void)
{
    static const enum machine_mode modes[] = {MACHINE_STOP, MACHINE_FAIL, MACHINE_LIE, MACHINE_ACT};

    M.act = application_acts;
    if (machine_random(3) == 0)
        machine_arm(MACHINE_NONE, -1);
    else {
        machine_arm(modes[machine_random(ARRAY_SIZE(modes))], (int)machine_random(60));
        seen.faults++;
    }
}

static void move_some(void)
{
    struct mgc_move_outcome outcomes[BATCH];
    struct mgc_candidate candidates[BATCH];
    size_t count = 1 + machine_random(BATCH);
    int64_t horizon_us = M.now_us - (int64_t)machine_random(400);

    for (size_t i = 0; i < count; i++) {
        candidates[i] = machine_candidate(any_name());
        candidates[i].horizon_us = horizon_us;
    }
    arm_something();
    (void)!mgc_quarantine_move(M.q, candidates, count, 1, outcomes, NULL);
    for (size_t i = 0; i < count; i++)
        seen.moved += outcomes[i].code == 0;
}

static void restore_one(void)
{
    int64_t id = M.helds > 0 ? M.held[machine_random((uint64_t)M.helds)].held.id : 1;
    const char *to = machine_random(3) == 0 ? any_name() : NULL;

    arm_something();
    seen.restored += mgc_quarantine_restore(M.q, id, to, machine_random(2) == 0, "t", NULL) == 0;
}

static void purge_some(void)
{
    struct mgc_purge_rules rules = {.now_us = M.now_us};
    int64_t ids[BATCH];
    int outcomes[BATCH];
    size_t count = 0;

    for (int i = 0; i < M.helds && count < BATCH; i++) {
        char slot[64], path[256];

        if (machine_random(3) != 0)
            continue;
        (void)snprintf(slot, sizeof(slot), ".mediagcfs/slots/%lld", (long long)M.held[i].held.id);
        (void)snprintf(path, sizeof(path), "%s", slot);
        machine_may_go(machine_content(path));
        ids[count++] = M.held[i].held.id;
    }
    arm_something();
    (void)!mgc_quarantine_purge(M.q, ids, count, M.now_us - 20, M.now_us - 10, false, &rules, "t",
                                outcomes, NULL);
    for (size_t i = 0; i < count; i++)
        seen.purged += outcomes[i] == 0;
}

static void one_round(uint64_t seed)
{
    machine_reset(seed);
    M.no_xattr = machine_random(3) == 0;
    M.forget = machine_random(2) == 0;
    next_content = 1;
    for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
        (void)app_mkdir(dirs[i]);
    for (int act = 0; act < ACTS; act++) {
        bool crashed;

        for (uint64_t n = machine_random(6); n > 0; n--)
            application_acts();
        M.now_us += (int64_t)machine_random(500);
        switch (machine_random(4)) {
        case 0:
        case 1:
            move_some();
            break;
        case 2:
            restore_one();
            break;
        default:
            purge_some();
            break;
        }
        crashed = M.stopped || M.q->unsettled || machine_random(8) == 0;
        if (!M.stopped && M.mode != MACHINE_STOP && !M.q->unsettled && machine_random(10) == 0)
            M.helds = 0; /* the catalog is lost */
        else if (!crashed) {
            machine_arm(MACHINE_NONE, -1);
            M.changes = 0;
            const char *wrong = machine_disagreement();

            if (wrong != NULL)
                fail_msg("seed %llu act %d: %s", (unsigned long long)seed, act, wrong);
            continue;
        }
        (void)machine_restart();
        seen.recovered++;
        const char *wrong = machine_disagreement();

        if (wrong != NULL)
            fail_msg("seed %llu act %d, after a restart: %s", (unsigned long long)seed, act, wrong);
    }
}

static void a_random_life_loses_nothing(void **state)
{
    const char *one = getenv("MGC_SIM_SEED"), *more = getenv("MGC_SIM_ROUNDS");
    uint64_t first = one != NULL ? strtoull(one, NULL, 10) : (uint64_t)time(NULL) * 1000;
    uint64_t rounds = one != NULL ? 1 : more != NULL ? strtoull(more, NULL, 10) : ROUNDS;

    (void)state;
    print_message("first seed %llu\n", (unsigned long long)first);
    for (uint64_t i = 0; i < rounds; i++)
        one_round(first + i);
    if (one != NULL)
        return;
    print_message("moved %d restored %d purged %d recovered %d faults %d\n", seen.moved,
                  seen.restored, seen.purged, seen.recovered, seen.faults);
    /* It did what it is for. */
    assert_true(seen.moved > 0);
    assert_true(seen.restored > 0);
    assert_true(seen.purged > 0);
    assert_true(seen.recovered > 0);
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
        cmocka_unit_test(a_random_life_loses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
