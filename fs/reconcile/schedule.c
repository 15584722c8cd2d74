/*
 * schedule.c -- when a job is due, and whether the clock can be believed (H8).  Pure.
 */
#include "mediagcfs/brakes.h"

static const int64_t step_us = INT64_C(60) * 1000 * 1000;

int64_t mgc_schedule_next_us(int64_t every_us, int64_t last_us, int64_t now_us)
{
    int64_t next_us;

    if (every_us < 0) /* off, or woken by the feed */
        return INT64_MAX;
    /* A last run in the future is a clock that went back: waiting for it could take years. */
    if (last_us <= 0 || last_us > now_us)
        return now_us;
    if (__builtin_add_overflow(last_us, every_us, &next_us))
        return INT64_MAX;
    return next_us > now_us ? next_us : now_us;
}

static int64_t distance(int64_t a, int64_t b)
{
    int64_t between;

    if (__builtin_sub_overflow(a > b ? a : b, a > b ? b : a, &between))
        return INT64_MAX;
    return between;
}

bool mgc_clock_stepped(const struct mgc_clock_facts *facts)
{
    if (facts->same_boot)
        return distance(facts->offset_us, facts->offset_before_us) >= step_us;
    if (facts->last_event_us <= 0)
        return false;
    if (facts->now_us < facts->last_event_us)
        return true;
    return distance(facts->now_us, facts->last_event_us) > facts->grace_us;
}
