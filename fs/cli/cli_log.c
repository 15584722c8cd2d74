/* cli_log.c -- events: what was done, and why. */
#include <time.h>

#include "cli_priv.h"

enum { ROWS_AT_ONCE = 1000 };

struct wanted {
    const struct mgc_cli *cli;
    const char *path;
    int64_t last;
};

static void print_text(const struct mgc_event *e)
{
    char when[40], path[4 * MGC_PATH_BYTES_MAX] = "";

    if (e->path != NULL)
        (void)mgc_escape(path, sizeof(path), e->path, strlen(e->path));
    (void)printf("%s  %-8s", mgc_cli_time(when, sizeof(when), e->time_us), mgc_event_name(e->kind));
    if (e->run != 0)
        (void)printf("  run %lld", (long long)e->run);
    if (path[0] != '\0')
        (void)printf("  %s", path);
    if (e->reason != NULL && e->reason[0] != '\0')
        (void)printf("  %s", e->reason);
    if (e->who != NULL && e->who[0] != '\0')
        (void)printf("  by %s", e->who);
    (void)putchar('\n');
}

static int each(void *arg, const struct mgc_event *e)
{
    struct wanted *w = arg;
    mgc_autobuf line = {0};

    w->last = e->id;
    if (w->path != NULL && (e->path == NULL || strcmp(w->path, e->path) != 0))
        return 0;
    if (!w->cli->json) {
        print_text(e);
        return 0;
    }
    mgc_event_json(&line, e);
    if (line.failed)
        return -ENOMEM;
    (void)puts(line.data);
    return 0;
}

/* A moment, or how long ago. */
static int since_us(const char *text, int64_t *ret_us)
{
    struct tm tm = {0};
    const char *rest;
    int64_t ago;

    if (mgc_conf_duration(text, &ago) == 0) {
        *ret_us = mgc_now_us() - ago;
        return 0;
    }
    rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL)
        rest = strptime(text, "%Y-%m-%d", &tm);
    if (rest == NULL || (*rest != '\0' && *rest != 'Z' && *rest != '.'))
        return -EINVAL;
    *ret_us = (int64_t)timegm(&tm) * 1000000;
    return 0;
}

int mgc_cmd_log(struct mgc_cli *cli, int argc, char **argv)
{
    const char *since = NULL, *path = NULL;
    const struct mgc_option options[] = {{"since", NULL, &since}, {"path", NULL, &path}};
    struct wanted wanted = {.cli = cli};
    struct mgc_err err = {0};
    int64_t from = 0;
    int r;

    if (mgc_cli_options(cli, argc, argv, options, 2, NULL, 0) < 0)
        return EXIT_USAGE;
    if (since != NULL && since_us(since, &from) < 0)
        return mgc_cli_usage("log: '%s' is neither a time (2026-03-01T12:00:00Z) nor a duration "
                             "(24h)",
                             since);
    wanted.path = path != NULL ? mgc_cli_path(cli->conf, path) : NULL;
    r = mgc_cli_open(cli, &err);
    while (r == 0) {
        int64_t before = wanted.last;

        r = cli->catalog->ops->events(cli->catalog, wanted.last, from, ROWS_AT_ONCE, each, &wanted,
                                      &err);
        if (r >= 0 && wanted.last == before)
            return EXIT_DONE;
        r = r > 0 ? 0 : r;
    }
    return mgc_cli_fail(&err);
}
