/* output.c -- times, sizes, JSON lines and progress. */
#include <inttypes.h>

#include "cli_priv.h"

static int one_row(void *arg, const struct mgc_held *held)
{
    (void)held;
    *(bool *)arg = true;
    return 1;
}

int mgc_cli_unambiguous(struct mgc_cli *cli, int64_t id, struct mgc_err *err)
{
    char path[24];
    bool found = false;
    int r;

    if (id == 0)
        return 0;
    (void)snprintf(path, sizeof(path), "%" PRId64, id);
    r = cli->catalog->ops->held_scan(cli->catalog, 0, 1, path, one_row, &found, err);
    if (r < 0 || !found)
        return r < 0 ? r : 0;
    (void)mgc_err_say(err, MGC_E_USAGE, "'%s' is an id and also a path something is held from",
                      path);
    (void)mgc_err_hint(err, "Write './%s' for the path; deal with it first, then the id is free.",
                       path);
    return MGC_E_USAGE;
}

const char *mgc_cli_time(char *out, size_t out_bytes, int64_t time_us)
{
    char *dot;

    if (time_us == 0) {
        (void)snprintf(out, out_bytes, "-");
        return out;
    }
    (void)mgc_time_text(out, out_bytes, time_us);
    dot = strchr(out, '.');
    if (dot != NULL)
        (void)snprintf(dot, out_bytes - (size_t)(dot - out), "Z");
    return out;
}

json_t *mgc_cli_time_json(int64_t time_us)
{
    char text[40];

    return time_us == 0 ? json_null() : json_string(mgc_cli_time(text, sizeof(text), time_us));
}

int64_t mgc_cli_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

const char *mgc_cli_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text != NULL ? text : "";
}

void mgc_cli_print(json_t *object)
{
    mgc_autofree char *text = NULL;

    (void)json_object_set_new(object, "v", json_integer(1));
    text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (text != NULL)
        (void)puts(text);
    json_decref(object);
}

const char *mgc_cli_bytes(char *out, size_t out_bytes, int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, out_bytes, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

static struct {
    bool shown;
    char phase[32];
    int64_t began_us, last_us;
} progress;

void mgc_cli_progress_end(void)
{
    if (progress.shown)
        (void)fputs("\r\033[K", stderr);
    progress.shown = false;
}

void mgc_cli_progress(void *arg, const char *phase, int64_t done, int64_t total)
{
    const struct mgc_cli *cli = arg;
    int64_t now = mgc_monotonic_us(), spent;
    double rate;

    if (cli->quiet || !isatty(STDERR_FILENO))
        return;
    if (strcmp(progress.phase, phase) != 0) {
        (void)snprintf(progress.phase, sizeof(progress.phase), "%s", phase);
        progress.began_us = now;
        progress.last_us = 0;
    }
    if (now - progress.last_us < 200000)
        return;
    progress.last_us = now;
    progress.shown = true;
    spent = now - progress.began_us;
    rate = spent > 0 ? (double)done * 1e6 / (double)spent : 0;
    (void)fprintf(stderr, "\r\033[K%s: %" PRId64, phase, done);
    if (total > 0)
        (void)fprintf(stderr, " of %" PRId64, total);
    if (rate >= 1)
        (void)fprintf(stderr, ", %.0f/s", rate);
    if (rate >= 1 && total > done)
        (void)fprintf(stderr, ", %.0f s left", (double)(total - done) / rate);
    (void)fflush(stderr);
}
