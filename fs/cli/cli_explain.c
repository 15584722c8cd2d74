/* cli_explain.c -- every fact and mention that decides about one entry. */
#include <inttypes.h>
#include <limits.h>

#include "cli_priv.h"

struct mentions {
    json_t *array;
};

static void add_mention(void *arg, const struct mgc_origin *origin, const char *around,
                        size_t bytes)
{
    struct mentions *m = arg;
    mgc_autobuf quoted = {0};
    json_t *text;

    mgc_buf_add_json(&quoted, around, bytes);
    text = quoted.failed ? NULL : json_loadb(quoted.data, quoted.bytes, JSON_DECODE_ANY, NULL);
    (void)json_array_append_new(m->array, json_pack("{s:s,s:s,s:s,s:b,s:o}", "source",
                                                    origin->source, "table", origin->table,
                                                    "column", origin->column, "weak", origin->weak,
                                                    "text", text != NULL ? text : json_string("")));
}

static int take_held(void *arg, const struct mgc_held *row)
{
    *(int64_t *)arg = row->id; /* the newest of several */
    return 0;
}

/* The held file that was explained, or 0: an entry has this run at least to count. */
static int64_t held_id(struct mgc_cli *cli, const char *path, const struct mgc_explanation *e)
{
    struct mgc_err err = {0};
    int64_t id = 0;

    if (e->facts.orphan_runs == 0 &&
        cli->catalog->ops->held_scan(cli->catalog, 0, INT_MAX, path, take_held, &id, &err) < 0)
        return 0;
    return id;
}

/* Runs that are over: the facts count the one that this explanation stands for. */
static int64_t runs_before(const struct mgc_explanation *e)
{
    return e->facts.orphan_runs > 0 ? e->facts.orphan_runs - 1 : 0;
}

static void print_json(const char *path, int64_t held, const struct mgc_explanation *e,
                       json_t *mentions)
{
    json_t *o = json_object();

    mgc_json_set_path(o, path);
    (void)json_object_set_new(o, "verdict", json_string(mgc_verdict_name(e->verdict)));
    (void)json_object_set_new(o, "why", json_string(mgc_why_text(e->why)));
    (void)json_object_set_new(o, "complete", json_boolean(e->complete));
    (void)json_object_set_new(o, "born", mgc_cli_time_json(e->facts.born_us));
    (void)json_object_set_new(o, "written", mgc_cli_time_json(e->facts.written_us));
    (void)json_object_set_new(o, "last_opened", mgc_cli_time_json(e->facts.opened_us));
    (void)json_object_set_new(o, "runs", json_integer(runs_before(e)));
    (void)json_object_set_new(o, "held", held != 0 ? json_integer(held) : json_null());
    (void)json_object_set_new(o, "references", mentions);
    mgc_cli_print(o);
}

static void print_entry(const struct mgc_explanation *e)
{
    char when[40];

    (void)printf("  born         %s\n", mgc_cli_time(when, sizeof(when), e->facts.born_us));
    (void)printf("  written      %s\n", mgc_cli_time(when, sizeof(when), e->facts.written_us));
    (void)printf("  last opened  %s\n", mgc_cli_time(when, sizeof(when), e->facts.opened_us));
    (void)printf("  orphan in    %" PRId64 " complete runs in a row\n", runs_before(e));
}

static void print_text(const char *path, int64_t held, const struct mgc_explanation *e,
                       json_t *mentions)
{
    size_t i;
    json_t *m;

    (void)printf("%s\n  verdict      %s%s%s%s\n", path, mgc_verdict_name(e->verdict),
                 e->why != MGC_WHY_NONE ? ": " : "", mgc_why_text(e->why),
                 e->complete ? "" : " (provisional: a source could not be read to its end)");
    if (held == 0)
        print_entry(e);
    else
        (void)printf("  held         as number %" PRId64 "%s\n", held,
                     e->facts.referenced ? "; the next run with --apply puts it back" : "");
    (void)printf("  mentions     %zu\n", json_array_size(mentions));
    json_array_foreach(mentions, i, m)
    {
        const char *text = mgc_cli_text(m, "text");
        char shown[1024];

        (void)printf("    %s %s%s%s%s: %s\n", mgc_cli_text(m, "source"), mgc_cli_text(m, "table"),
                     mgc_cli_text(m, "column")[0] != '\0' ? "." : "", mgc_cli_text(m, "column"),
                     json_is_true(json_object_get(m, "weak")) ? " (does not keep it)" : "",
                     mgc_escape(shown, sizeof(shown), text, strlen(text)));
    }
}

int mgc_cmd_explain(struct mgc_cli *cli, int argc, char **argv)
{
    const char *given[1] = {NULL}, *path;
    char shown[MGC_SHOW_BYTES];
    struct mentions mentions = {0};
    struct mgc_explain_spec spec = {.mention = add_mention, .arg = &mentions};
    struct mgc_explanation answer = {0};
    struct mgc_err err = {0};
    int64_t held;
    int r, n = mgc_cli_options(cli, argc, argv, NULL, 0, given, 1);

    if (n < 0)
        return EXIT_USAGE;
    if (n == 0)
        return mgc_cli_usage("explain: name a PATH");
    path = mgc_cli_path(cli->conf, given[0]);
    r = mgc_cli_check_path(cli->conf, path, &err);
    if (r == 0)
        r = mgc_cli_open_sources(cli, false, &err);
    if (r < 0)
        return mgc_cli_fail(&err);
    mentions.array = json_array();
    spec.path = path;
    spec.conf = cli->conf;
    spec.catalog = cli->catalog;
    spec.sources = cli->sources;
    spec.sources_count = cli->sources_count;
    r = mgc_run_explain(&spec, &answer, &err);
    if (r < 0) {
        json_decref(mentions.array);
        if (r == -ENOENT && err.hint[0] == '\0')
            (void)mgc_err_hint(&err, "Name a file, by its path from '%s' on.",
                               MGC_SHOW(cli->conf->filesystem.source));
        return mgc_cli_fail(&err);
    }
    held = held_id(cli, path, &answer);
    if (cli->json)
        print_json(path, held, &answer, mentions.array);
    else {
        print_text(mgc_escape(shown, sizeof(shown), path, strlen(path)), held, &answer,
                   mentions.array);
        json_decref(mentions.array);
    }
    return answer.complete ? EXIT_DONE : EXIT_PART;
}
