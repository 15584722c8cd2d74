/* conf_units.c -- durations, sizes and shares as a configuration writes them (conf.h). */
#include "mediagcfs/conf.h"

#define YEARS_100_US (INT64_C(100) * 365 * 86400 * 1000000)

/* Reads decimal digits; -EINVAL without any, -ERANGE above INT64_MAX. */
static int digits(const char **text, int64_t *ret_value)
{
    const char *p = *text;
    int64_t value = 0;
    int r = 0;

    if (*p < '0' || *p > '9')
        return -EINVAL;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *p - '0', &value)) {
            r = -ERANGE;
            value = 0;
        }
    *text = p;
    *ret_value = value;
    return r;
}

int mgc_conf_duration(const char *text, int64_t *ret_us)
{
    static const struct {
        const char *unit;
        int64_t us;
    } units[] = {
        {"ms", 1000},
        {"s", 1000000},
        {"m", INT64_C(60) * 1000000},
        {"h", INT64_C(3600) * 1000000},
        {"d", INT64_C(86400) * 1000000},
    };
    int64_t value, us;
    int r = digits(&text, &value);

    if (r == -EINVAL)
        return r;
    if (r == 0 && value == 0 && *text == '\0') {
        *ret_us = 0;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcmp(text, units[i].unit) != 0)
            continue;
        if (r < 0 || __builtin_mul_overflow(value, units[i].us, &us) || us > YEARS_100_US)
            return -ERANGE;
        *ret_us = us;
        return 0;
    }
    return -EINVAL;
}

int mgc_conf_size(const char *text, int64_t *ret_bytes)
{
    static const char units[] = "KMGT";
    int64_t value;
    int r = digits(&text, &value);

    if (r == -EINVAL)
        return r;
    if (*text != '\0') {
        const char *unit = strchr(units, *text & ~0x20);

        if (unit == NULL || *unit == '\0' || text[1] != '\0')
            return -EINVAL;
        if (__builtin_mul_overflow(value, INT64_C(1) << (10 * (unit - units + 1)), &value))
            r = -ERANGE;
    }
    if (r == 0)
        *ret_bytes = value;
    return r;
}

/* Not strtod(): the decimal point is a dot whatever the locale says. */
int mgc_conf_share(const char *text, double *ret_share)
{
    double value = 0, weight = 0.1;
    bool any = false, point = false, percent;

    for (; *text >= '0' && *text <= '9'; text++, any = true)
        value = value * 10 + (*text - '0');
    if (any && *text == '.') {
        point = true;
        any = false;
        for (text++; *text >= '0' && *text <= '9'; text++, any = true) {
            value += weight * (*text - '0');
            weight /= 10;
        }
    }
    percent = *text == '%';
    if (percent)
        text++;
    if (!any || *text != '\0')
        return -EINVAL;
    if (percent)
        value /= 100;
    else if (!point && value != 0) /* "1": one percent or all of it? */
        return -EINVAL;
    if (value > 1)
        return -ERANGE;
    *ret_share = value;
    return 0;
}
