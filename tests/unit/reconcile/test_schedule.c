/* When jobs are due, and which clocks are not believed (H8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mediagcfs/brakes.h"
#include "mediagcfs/conf.h"

#define MINUTE INT64_C(60000000)
#define DAY (INT64_C(1440) * MINUTE)

static void jobs_are_due_when_the_table_says(void **state)
{
    // clang-format off
    static const struct {
        const char *what;
        int64_t every, last, now, want;
    } rows[] = {
        {"never ran",                 100, 0,    1000, 1000},
        {"not yet",                   100, 950,  1000, 1050},
        {"just now",                  100, 900,  1000, 1000},
        {"long ago",                  100, 10,   1000, 1000},
        {"all the time",              0,   1000, 1000, 1000},
        {"off",                       MGC_CONF_OFF,  10, 1000, INT64_MAX},
        {"by the feed",               MGC_CONF_FEED, 10, 1000, INT64_MAX},
        {"off and never ran",         MGC_CONF_OFF,  0,  1000, INT64_MAX},
        {"the clock went back",       100, 5000, 1000, 1000},
        {"beyond all time",           INT64_MAX, 10, 1000, INT64_MAX},
        {"last of an unset clock",    100, -7,   1000, 1000},
    };
    // clang-format on

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t got = mgc_schedule_next_us(rows[i].every, rows[i].last, rows[i].now);
        if (got != rows[i].want)
            fail_msg("%s: %lld, want %lld", rows[i].what, (long long)got, (long long)rows[i].want);
    }
}

static void stepped_clocks_are_noticed(void **state)
{
    // clang-format off
    static const struct {
        const char *what;
        struct mgc_clock_facts facts;
        bool want;
    } rows[] = {
        {"same boot, no step",      {true, 100, 100, 0, 0, DAY}, false},
        {"slewed a little",         {true, 100 + MINUTE - 1, 100, 0, 0, DAY}, false},
        {"a minute forward",        {true, 100 + MINUTE, 100, 0, 0, DAY}, true},
        {"a minute back",           {true, 100, 100 + MINUTE, 0, 0, DAY}, true},
        {"two days forward",        {true, 2 * DAY, 100, 0, 0, DAY}, true},
        {"offset out of all range", {true, INT64_MAX, INT64_MIN, 0, 0, DAY}, true},
        {"same boot, events old",   {true, 5, 5, 9 * DAY, DAY, DAY}, false},
        {"new boot, nothing known", {false, 7, 900 * DAY, 5 * DAY, 0, DAY}, false},
        {"new boot, soon after",    {false, 0, 0, 5 * DAY + MINUTE, 5 * DAY, DAY}, false},
        {"new boot, a grace after", {false, 0, 0, 6 * DAY, 5 * DAY, DAY}, false},
        {"new boot, more than it",  {false, 0, 0, 6 * DAY + 1, 5 * DAY, DAY}, true},
        {"new boot, in the past",   {false, 0, 0, 5 * DAY - 1, 5 * DAY, DAY}, true},
        {"new boot, in 1970",       {false, 0, 0, MINUTE, 5 * DAY, DAY}, true},
    };
    // clang-format on

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (mgc_clock_stepped(&rows[i].facts) != rows[i].want)
            fail_msg("%s: want %d", rows[i].what, (int)rows[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_are_due_when_the_table_says),
        cmocka_unit_test(stepped_clocks_are_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
