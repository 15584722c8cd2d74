/* cli_purge.c -- deletes what is due and proven unneeded; describes unless --apply. */
#include <inttypes.h>

#include "cli_priv.h"

enum { ROWS_AT_ONCE = 500 };

struct purge {
    struct mgc_cli *cli;
    struct mgc_purge_rules rules;
    int64_t only_id; /* --now */
    bool now;
    int64_t last;
    int64_t *ids;
    size_t count, capacity;
};

static int consider(void *arg, const struct mgc_held *held)
{
    struct purge *p = arg;

    p->last = held->id;
    if (held->state != MGC_HELD_HELD || (p->only_id != 0 && held->id != p->only_id))
        return 0;
    if (!p->now && (held->pinned || mgc_purge_due_us(held, &p->rules) > p->rules.now_us))
        return 0;
    if (p->count == p->capacity) {
        size_t capacity = p->capacity == 0 ? 256 : p->capacity * 2;
        int64_t *ids = realloc(p->ids, capacity * sizeof(*ids));

        if (ids == NULL)
            return -ENOMEM;
        p->ids = ids;
        p->capacity = capacity;
    }
    p->ids[p->count++] = held->id;
    return 0;
}

/* The rows to consider, oldest first: ids grow with time. */
static int collect(struct purge *p, const char *path, struct mgc_err *err)
{
    struct mgc_catalog *c = p->cli->catalog;

    for (;;) {
        int64_t before = p->last;
        int r = c->ops->held_scan(c, p->last, ROWS_AT_ONCE, path, consider, p, err);

        if (r < 0)
            return r;
        if (p->last == before)
            return 0;
    }
}

static void row(void *arg, const struct mgc_held *held, int code, const char *reason)
{
    const struct purge *p = arg;
    char path[4 * MGC_PATH_BYTES_MAX];

    mgc_cli_progress_end();
    if (p->cli->quiet)
        return;
    if (p->cli->json) {
        json_t *o = json_pack("{s:I}", "id", (json_int_t)held->id);

        mgc_json_set_path(o, held->path);
        (void)json_object_set_new(o, "bytes", json_integer(held->stat.size_bytes));
        (void)json_object_set_new(o, "result",
                                  json_string(code == 0 ? "purged" : mgc_code_name(code)));
        (void)json_object_set_new(o, "reason", json_string(reason != NULL ? reason : ""));
        mgc_cli_print(o);
        return;
    }
    (void)printf("%8" PRId64 "  %-8s  %s%s%s%s\n", held->id, code == 0 ? "purge" : "keep",
                 mgc_escape(path, sizeof(path), held->path, strlen(held->path)),
                 reason != NULL && reason[0] != '\0' ? "  (" : "", reason != NULL ? reason : "",
                 reason != NULL && reason[0] != '\0' ? ")" : "");
}

static int finish(struct mgc_cli *cli, bool apply, int64_t purged, int64_t kept)
{
    mgc_cli_progress_end();
    if (cli->quiet)
        return EXIT_DONE;
    if (cli->json)
        mgc_cli_print(json_pack("{s:s,s:b,s:I,s:I}", "event", "purge", "applied", apply, "purged",
                                (json_int_t)purged, "kept", (json_int_t)kept));
    else
        (void)printf("%" PRId64 " %s, %" PRId64 " kept%s\n", purged,
                     apply ? "purged" : "would be purged", kept,
                     apply ? "" : "; nothing was deleted: --apply deletes");
    return EXIT_DONE;
}

static int run(struct mgc_cli *cli, struct purge *p, bool apply, const char *path)
{
    struct mgc_purge_spec spec = {
        .host = &cli->host, .apply = apply, .now = p->now, .each = row, .arg = p};
    struct mgc_err err = {0};
    int64_t purged = 0, kept = 0;
    int r = mgc_cli_open_sources(cli, true, &err);

    if (r == 0)
        p->rules = mgc_purge_rules_of(cli->conf, cli->catalog, mgc_now_us());
    if (r == 0)
        r = mgc_cli_unambiguous(cli, p->only_id, &err);
    if (r == 0)
        r = collect(p, path, &err);
    if (r < 0)
        return mgc_cli_fail(&err);
    if (p->count == 0) {
        if (!p->now)
            return finish(cli, apply, 0, 0);
        (void)mgc_err_say(&err, -ENOENT, "nothing of that is held");
        (void)mgc_err_hint(&err, "'mediagcfs quarantine list' shows what is.");
        return mgc_cli_fail(&err);
    }
    mgc_cli_host(cli);
    spec.conf = cli->conf;
    spec.catalog = cli->catalog;
    spec.sources = cli->sources;
    spec.sources_count = cli->sources_count;
    spec.ids = p->ids;
    spec.count = p->count;
    r = mgc_run_purge(&spec, &purged, &kept, &err);
    if (r < 0)
        return mgc_cli_fail(&err);
    (void)finish(cli, apply, purged, kept);
    return p->now && purged == 0 ? EXIT_REFUSED : EXIT_DONE;
}

int mgc_cmd_purge(struct mgc_cli *cli, int argc, char **argv)
{
    bool apply = false, scheduled = false;
    const char *now = NULL, *path = NULL;
    const struct mgc_option options[] = {
        {"apply", &apply, NULL}, {"now", NULL, &now}, {"scheduled", &scheduled, NULL}};
    struct purge p = {.cli = cli};
    int status;

    if (mgc_cli_options(cli, argc, argv, options, 3, NULL, 0) < 0)
        return EXIT_USAGE;
    cli->quiet = scheduled;
    if (now != NULL) {
        p.now = true;
        p.only_id = mgc_cli_id(now);
        if (p.only_id == 0)
            path = mgc_cli_path(cli->conf, now);
    }
    status = run(cli, &p, apply, path);
    free(p.ids);
    return status;
}
