/* The horizon is the least of all times less the grace; what is not known makes it unknown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/reconcile/horizon_priv.h"

static void the_least_time_counts(void **state)
{
    // clang-format off
    static const struct {
        const char *what;
        struct mgc_horizon_view views[3];
        size_t count;
        int64_t run_t0, grace, want, nominal;
    } rows[] = {
        {"one source, nothing open",    {{1000, 1000}}, 1, 1000, 100, 900, 900},
        /* H29: a file is older than the transaction that will mention it: less the grace. */
        {"an old transaction",          {{1000, 400}}, 1, 1000, 100, 300, 900},
        {"a transaction of this second",{{1000, 999}}, 1, 1000, 0, 999, 1000},
        {"the run began earlier",       {{1000, 1000}}, 1, 950, 100, 850, 850},
        {"the source's clock is behind",{{930, 930}}, 1, 1000, 100, 830, 830},
        {"least of three",              {{1000, 900}, {1001, 300}, {1002, 1002}}, 3, 1000, 0, 300, 1000},
        /* H30: a transaction whose start nobody sees is no reason to believe there is none. */
        {"invisible",                   {{1000, 0}}, 1, 1000, 100, 0, 900},
        {"one of three invisible",      {{1000, 900}, {1000, 0}, {1000, 950}}, 3, 1000, 0, 0, 1000},
        {"oldest below zero",           {{1000, -1}}, 1, 1000, 0, 0, 1000},
        {"T0 not known",                {{0, 0}}, 1, 1000, 0, 0, 0},
        {"T0 not known, oldest is",     {{0, 500}}, 1, 1000, 0, 0, 0},
        {"grace beyond all time",       {{1000, 1000}}, 1, 1000, INT64_MAX, 0, 0},
        {"grace as long as time",       {{1000, 1000}}, 1, 1000, 1000, 0, 0},
        {"grace below zero",            {{1000, 1000}}, 1, 1000, -5, 0, 0},
        {"no source",                   {{0, 0}}, 0, 1000, 0, 0, 0},
    };
    // clang-format on

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t got = mgc_horizon_us(rows[i].views, rows[i].count, rows[i].run_t0, rows[i].grace);
        int64_t nominal =
            mgc_horizon_nominal_us(rows[i].views, rows[i].count, rows[i].run_t0, rows[i].grace);
        if (got != rows[i].want || nominal != rows[i].nominal)
            fail_msg("%s: %lld and %lld", rows[i].what, (long long)got, (long long)nominal);
    }
}

static void positions_that_fell_are_noticed(void **state)
{
    // clang-format off
    static const struct {
        const char *what, *before, *now;
        bool want;
    } rows[] = {
        {"the same",                 "0/16B3748", "0/16B3748", false},
        {"forward",                  "0/16B3748", "0/16B3749", false},
        {"back",                     "0/16B3748", "0/16B3747", true},
        {"padded",                   "00000000/FFFFFFFF", "00000001/00000000", false},
        {"back across the middle",   "00000001/00000000", "00000000/FFFFFFFF", true},
        {"longer is not later",      "9/0", "10/0", false},
        {"sequences go on",          "{\"a\":5,\"b\":7}", "{\"a\":6,\"b\":7,\"c\":1}", false},
        {"a sequence fell",          "{\"a\":5,\"b\":7}", "{\"a\":6,\"b\":6}", true},
        {"a sequence is gone",       "{\"a\":5}", "{}", true},
        {"none before",              "", "0/5", false},
        {"none now",                 "0/5", "", false},
        {"none at all",              NULL, NULL, false},
        {"something opaque",         "abc", "abb", false},
        {"a position with a tail",   "0/16B3748x", "0/16B3747x", false},
    };
    // clang-format on

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (mgc_position_went_back(rows[i].before, rows[i].now) != rows[i].want)
            fail_msg("%s: want %d", rows[i].what, (int)rows[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_time_counts),
        cmocka_unit_test(positions_that_fell_are_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
