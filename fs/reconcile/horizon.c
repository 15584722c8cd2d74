/* horizon.c -- how recent is too recent (G2).  Pure. */
#include "fs/reconcile/horizon_priv.h"

#include <ctype.h>

#include <jansson.h>

static int64_t less_grace(int64_t earliest_us, int64_t grace_us)
{
    int64_t horizon_us;

    if (grace_us < 0 || __builtin_sub_overflow(earliest_us, grace_us, &horizon_us))
        return 0;
    return horizon_us > 0 ? horizon_us : 0;
}

static int64_t earliest(const struct mgc_horizon_view *views, size_t count, int64_t run_t0_us)
{
    int64_t least_us = run_t0_us;

    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (views[i].t0_us < least_us)
            least_us = views[i].t0_us;
    return least_us;
}

int64_t mgc_horizon_nominal_us(const struct mgc_horizon_view *views, size_t count,
                               int64_t run_t0_us, int64_t grace_us)
{
    return less_grace(earliest(views, count, run_t0_us), grace_us);
}

int64_t mgc_horizon_us(const struct mgc_horizon_view *views, size_t count, int64_t run_t0_us,
                       int64_t grace_us)
{
    int64_t least_us = earliest(views, count, run_t0_us);

    for (size_t i = 0; i < count; i++) {
        if (views[i].oldest_us <= 0)
            return 0;
        if (views[i].oldest_us < least_us)
            least_us = views[i].oldest_us;
    }
    return less_grace(least_us, grace_us);
}

static bool hex_half(const char *text, char end, const char **ret_rest, uint64_t *ret)
{
    char *stop;
    unsigned long long value;

    if (!isxdigit((unsigned char)text[0]))
        return false;
    value = strtoull(text, &stop, 16);
    if (*stop != end || value > UINT32_MAX)
        return false;
    *ret_rest = stop;
    *ret = value;
    return true;
}

static bool wal_position(const char *text, uint64_t *ret_position)
{
    const char *rest;
    uint64_t high, low;

    if (!hex_half(text, '/', &rest, &high) || !hex_half(rest + 1, '\0', &rest, &low))
        return false;
    *ret_position = high << 32 | low;
    return true;
}

static bool counters_fell(json_t *before, json_t *now)
{
    const char *key;
    json_t *value;

    json_object_foreach(before, key, value)
    {
        json_t *other = json_object_get(now, key);
        if (json_is_integer(value) &&
            (!json_is_integer(other) || json_integer_value(other) < json_integer_value(value)))
            return true;
    }
    return false;
}

bool mgc_position_went_back(const char *before, const char *now)
{
    uint64_t then, today;
    json_t *a, *b;
    bool back;

    if (before == NULL || now == NULL)
        return false;
    if (wal_position(before, &then) && wal_position(now, &today))
        return today < then;
    a = json_loads(before, 0, NULL);
    b = json_loads(now, 0, NULL);
    back = json_is_object(a) && json_is_object(b) && counters_fell(a, b);
    json_decref(a);
    json_decref(b);
    return back;
}
