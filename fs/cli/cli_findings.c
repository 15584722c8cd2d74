/* cli_findings.c -- orphans, suspects and missing: the lists of the last run. */
#include <inttypes.h>

#include "cli_priv.h"

struct list {
    const struct mgc_cli *cli;
    enum mgc_finding_kind kind;
};

static json_t *finding_json(const struct mgc_finding *f)
{
    json_t *o = json_object();

    mgc_json_set_path(o, f->path);
    if (f->kind != MGC_FINDING_MISSING) {
        (void)json_object_set_new(o, "bytes", json_integer(f->bytes));
        (void)json_object_set_new(o, "born", mgc_cli_time_json(f->born_us));
        (void)json_object_set_new(o, "last_opened", mgc_cli_time_json(f->opened_us));
        (void)json_object_set_new(o, "runs", json_integer(f->runs));
        (void)json_object_set_new(o, "verdict", json_string(f->verdict));
        (void)json_object_set_new(o, "reason", json_string(f->reason));
    }
    if (f->kind != MGC_FINDING_ORPHAN) {
        (void)json_object_set_new(o, "source", json_string(f->source));
        (void)json_object_set_new(o, "table", json_string(f->table));
        (void)json_object_set_new(o, "column", json_string(f->column));
        (void)json_object_set_new(o, "text", json_string(f->text));
    }
    return o;
}

static void print_text(const struct mgc_finding *f)
{
    char path[4 * MGC_PATH_BYTES_MAX], born[40], opened[40];

    (void)mgc_escape(path, sizeof(path), f->path, strlen(f->path));
    if (f->kind == MGC_FINDING_MISSING)
        (void)printf("%s  %s %s%s%s\n", path, f->source, f->table, f->column[0] != '\0' ? "." : "",
                     f->column);
    else
        (void)printf("%-10s %12" PRId64 "  %-20s  %-20s  %s%s%s%s\n", f->verdict, f->bytes,
                     mgc_cli_time(born, sizeof(born), f->born_us),
                     mgc_cli_time(opened, sizeof(opened), f->opened_us), path,
                     f->reason[0] != '\0' ? "  (" : "", f->reason, f->reason[0] != '\0' ? ")" : "");
}

static int each(void *arg, const struct mgc_finding *f)
{
    const struct list *list = arg;

    if (list->cli->json)
        mgc_cli_print(finding_json(f));
    else
        print_text(f);
    return 0;
}

static int print_list(struct mgc_cli *cli, int argc, char **argv, enum mgc_finding_kind kind)
{
    struct list list = {.cli = cli, .kind = kind};
    struct mgc_err err = {0};
    int r;

    if (mgc_cli_options(cli, argc, argv, NULL, 0, NULL, 0) < 0)
        return EXIT_USAGE;
    r = mgc_cli_open(cli, &err);
    if (r < 0)
        return mgc_cli_fail(&err);
    if (!cli->json && kind != MGC_FINDING_MISSING && isatty(STDOUT_FILENO))
        (void)printf("%-10s %12s  %-20s  %-20s  %s\n", "VERDICT", "BYTES", "BORN", "LAST OPENED",
                     "PATH");
    r = cli->catalog->ops->findings(cli->catalog, kind, each, &list, &err);
    return r < 0 ? mgc_cli_fail(&err) : EXIT_DONE;
}

int mgc_cmd_orphans(struct mgc_cli *cli, int argc, char **argv)
{
    return print_list(cli, argc, argv, MGC_FINDING_ORPHAN);
}

int mgc_cmd_missing(struct mgc_cli *cli, int argc, char **argv)
{
    return print_list(cli, argc, argv, MGC_FINDING_MISSING);
}

int mgc_cmd_suspects(struct mgc_cli *cli, int argc, char **argv)
{
    return print_list(cli, argc, argv, MGC_FINDING_SUSPECT);
}
