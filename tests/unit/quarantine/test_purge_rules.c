/* When a held file falls due, and which rule refuses its purge: every rule once, at its edge. */
#include "fs/quarantine/quarantine_priv.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define DAY (INT64_C(86400) * 1000000)
#define HOUR (INT64_C(3600) * 1000000)
#define HELD (1000 * DAY)
#define DUE (HELD + 30 * DAY)

static const struct mgc_purge_rules base = {
    .now_us = DUE + 2 * HOUR,
    .retention_us = 30 * DAY,
    .min_retention_us = 7 * DAY,
    .deleted_retention_us = 5 * DAY,
};

static struct mgc_held held_as(enum mgc_held_reason reason)
{
    return (struct mgc_held){.id = 1, .state = MGC_HELD_HELD, .reason = reason, .held_us = HELD};
}

static void each_reason_has_its_retention(void **state)
{
    /* clang-format off */
    static const struct {
        const char *what;
        enum mgc_held_reason reason;
        int64_t held_us, retention_us, min_us, deleted_us, want_us;
    } rows[] = {
        {"orphan",                       MGC_REASON_ORPHAN,   HELD,  30 * DAY, 7 * DAY, 5 * DAY, HELD + 30 * DAY},
        {"the minimum is a floor",       MGC_REASON_ORPHAN,   HELD,  DAY,      7 * DAY, 5 * DAY, HELD + 7 * DAY},
        {"no waits at all",              MGC_REASON_ORPHAN,   HELD,  0,        0,       5 * DAY, HELD},
        {"unlinked knows no minimum",    MGC_REASON_UNLINKED, HELD,  30 * DAY, 7 * DAY, 5 * DAY, HELD + 5 * DAY},
        {"replaced knows no minimum",    MGC_REASON_REPLACED, HELD,  30 * DAY, 7 * DAY, DAY,     HELD + DAY},
        {"held since when is not known", MGC_REASON_ORPHAN,   0,     0,        0,       0,       INT64_MAX},
        {"unlinked, not known",          MGC_REASON_UNLINKED, 0,     0,        0,       0,       INT64_MAX},
        {"for ever does not wrap",       MGC_REASON_ORPHAN,   HELD,  INT64_MAX, 0,      0,       INT64_MAX},
        {"negative does not shorten",    MGC_REASON_ORPHAN,   HELD,  -DAY,     -DAY,    0,       HELD},
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mgc_held held = held_as(rows[i].reason);
        struct mgc_purge_rules rules = {.retention_us = rows[i].retention_us,
                                        .min_retention_us = rows[i].min_us,
                                        .deleted_retention_us = rows[i].deleted_us};

        held.held_us = rows[i].held_us;
        if (mgc_purge_due_us(&held, &rules) != rows[i].want_us)
            fail_msg("%s", rows[i].what);
    }
}

/* H8: a clock that stepped forward must not end a retention. */
static void a_clock_step_begins_the_retention_again(void **state)
{
    struct mgc_held held = held_as(MGC_REASON_ORPHAN);
    struct mgc_purge_rules rules = {
        .retention_us = 30 * DAY, .min_retention_us = 7 * DAY, .deleted_retention_us = DAY};

    (void)state;
    rules.clock_floor_us = HELD - 1; /* before it was held: nothing changes */
    assert_int_equal(mgc_purge_due_us(&held, &rules), HELD + 30 * DAY);
    rules.clock_floor_us = HELD + 40 * DAY;
    assert_int_equal(mgc_purge_due_us(&held, &rules), HELD + 70 * DAY);
    held.reason = MGC_REASON_UNLINKED;
    assert_int_equal(mgc_purge_due_us(&held, &rules), HELD + 41 * DAY);
}

static void every_rule_refuses_at_its_edge(void **state)
{
    /* clang-format off */
    static const struct {
        const char *what;
        int64_t first_us, second_us, own_proof_us, now_us;
        bool now, refused;
    } rows[] = {
        {"proven twice",                     DUE,     DUE + HOUR, 0,       DUE + 2 * HOUR, false, false},
        {"at the very moment",               DUE,     DUE + 1,    0,       DUE + 1,        false, false},
        {"one microsecond before it is due", DUE,     DUE + 1,    0,       DUE - 1,        false, true},
        {"no first proof",                   0,       DUE + HOUR, 0,       DUE + 2 * HOUR, false, true},
        {"no second proof",                  DUE,     0,          0,       DUE + 2 * HOUR, false, true},
        {"the run's own first proof",        0,       DUE + HOUR, DUE,     DUE + 2 * HOUR, false, false},
        {"a run's proof before it was due",  0,       DUE + HOUR, DUE - 1, DUE + 2 * HOUR, false, true},
        {"first before the end",             DUE - 1, DUE + HOUR, DUE + 1, DUE + 2 * HOUR, false, true},
        {"the same proof twice",             DUE + 1, DUE + 1,    0,       DUE + HOUR,     false, true},
        {"in the wrong order",               DUE + 2, DUE + 1,    0,       DUE + HOUR,     false, true},
        {"second just within an hour",       DUE,     DUE + HOUR, 0,       DUE + 2 * HOUR, false, false},
        {"second over an hour ago",          DUE,     DUE + HOUR, 0,   DUE + 2 * HOUR + 1, false, true},
        {"second in the future",             DUE,     DUE + HOUR, 0,       DUE + HOUR - 1, false, true},
        {"now: before it is due",            HELD,    HELD + 1,   0,       HELD + 2,       true,  false},
        {"now: proof from before it moved",  HELD - 1, HELD + 1,  0,       HELD + 2,       true,  true},
        {"now: no proof",                    0,       0,          0,       HELD + 2,       true,  true},
        {"now: one proof",                   0,       HELD + 1,   0,       HELD + 2,       true,  true},
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mgc_held held = held_as(MGC_REASON_ORPHAN);
        struct mgc_purge_rules rules = base;
        struct mgc_purge_ask ask = {rows[i].first_us, rows[i].second_us, rows[i].now};

        held.proof_us = rows[i].own_proof_us;
        rules.now_us = rows[i].now_us;
        if ((mgc_purge_refusal(&held, &rules, &ask) != NULL) != rows[i].refused)
            fail_msg("%s: %s", rows[i].what, rows[i].refused ? "allowed" : "refused");
    }
}

static void what_holds_whatever_the_proofs(void **state)
{
    static const enum mgc_held_reason reasons[] = {MGC_REASON_ORPHAN, MGC_REASON_UNLINKED,
                                                   MGC_REASON_REPLACED};
    struct mgc_purge_ask ask = {.first_us = DUE, .second_us = DUE + HOUR};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
        for (int now = 0; now < 2; now++) {
            struct mgc_held held = held_as(reasons[i]);

            ask.now = now == 1;
            assert_null(mgc_purge_refusal(&held, &base, &ask));
            held.pinned = true;
            assert_non_null(mgc_purge_refusal(&held, &base, &ask));
            held.pinned = false;
            held.held_us = 0;
            assert_non_null(mgc_purge_refusal(&held, &base, &ask));
            held.held_us = HELD;
            for (int s = 0; s < 4; s++) {
                held.state = (enum mgc_held_state)s;
                assert_true((mgc_purge_refusal(&held, &base, &ask) == NULL) ==
                            (s == MGC_HELD_HELD));
            }
        }
}

static int meta_get_fails(struct mgc_catalog *c, const char *key, int64_t *ret_value)
{
    (void)c;
    (void)key;
    (void)ret_value;
    return -EIO;
}

/* H8: whether the clock stepped cannot be told, so no retention has ended. */
static void an_unreadable_clock_floor_keeps(void **state)
{
    const struct mgc_catalog_ops ops = {.meta_get = meta_get_fails};
    struct mgc_catalog catalog = {.ops = &ops};
    const struct mgc_conf conf = {.quarantine = {.retention_us = DAY}};
    const struct mgc_held held = held_as(MGC_REASON_ORPHAN);
    struct mgc_purge_rules rules = mgc_purge_rules_of(&conf, &catalog, DUE);

    (void)state;
    assert_true(mgc_purge_due_us(&held, &rules) == INT64_MAX);
}

static void what_the_application_deleted_needs_no_proof(void **state)
{
    struct mgc_held held = held_as(MGC_REASON_UNLINKED);
    struct mgc_purge_rules rules = base;
    struct mgc_purge_ask ask = {0};

    (void)state;
    rules.now_us = HELD + 5 * DAY;
    assert_null(mgc_purge_refusal(&held, &rules, &ask));
    rules.now_us--;
    assert_non_null(mgc_purge_refusal(&held, &rules, &ask));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_reason_has_its_retention),
        cmocka_unit_test(a_clock_step_begins_the_retention_again),
        cmocka_unit_test(every_rule_refuses_at_its_edge),
        cmocka_unit_test(what_holds_whatever_the_proofs),
        cmocka_unit_test(an_unreadable_clock_floor_keeps),
        cmocka_unit_test(what_the_application_deleted_needs_no_proof),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
