/* cli_quarantine.c -- what is held: list, show, restore. */
#include <inttypes.h>

#include "cli_priv.h"

enum { ROWS_AT_ONCE = 500 };

/* What a command is about; a row must pass every condition that is given. */
struct selection {
    int64_t id;       /* 0: any */
    const char *path; /* NULL: any */
    int64_t run;      /* 0: any */
};

struct walk {
    struct mgc_cli *cli;
    const struct selection *wanted;
    int64_t last;
    int (*act)(struct walk *walk, const struct mgc_held *held);
    int64_t *ids; /* restore: collected first, because restoring changes what is walked */
    size_t count, capacity;
};

static json_t *held_json(struct mgc_cli *cli, const struct mgc_held *held)
{
    const struct mgc_purge_rules rules = mgc_purge_rules_of(cli->conf, cli->catalog, mgc_now_us());
    json_t *o = json_pack("{s:I}", "id", (json_int_t)held->id);

    mgc_json_set_path(o, held->path);
    (void)json_object_set_new(o, "bytes", json_integer(held->stat.size_bytes));
    (void)json_object_set_new(o, "reason", json_string(mgc_held_reason_name(held->reason)));
    (void)json_object_set_new(o, "state", json_string(mgc_held_state_name(held->state)));
    (void)json_object_set_new(o, "held_at", mgc_cli_time_json(held->held_us));
    (void)json_object_set_new(o, "purge_after", mgc_cli_time_json(mgc_purge_due_us(held, &rules)));
    (void)json_object_set_new(o, "run", json_integer(held->run));
    return o;
}

static int print_row(struct walk *walk, const struct mgc_held *held)
{
    const struct mgc_purge_rules rules =
        mgc_purge_rules_of(walk->cli->conf, walk->cli->catalog, mgc_now_us());
    char path[4 * MGC_PATH_BYTES_MAX], at[40], due[40];

    if (walk->cli->json) {
        mgc_cli_print(held_json(walk->cli, held));
        return 0;
    }
    (void)printf("%8" PRId64 "  %12" PRId64 "  %-8s  %-20s  %-20s  %s\n", held->id,
                 held->stat.size_bytes, mgc_held_reason_name(held->reason),
                 mgc_cli_time(at, sizeof(at), held->held_us),
                 mgc_cli_time(due, sizeof(due), mgc_purge_due_us(held, &rules)),
                 mgc_escape(path, sizeof(path), held->path, strlen(held->path)));
    return 0;
}

static int print_details(struct walk *walk, const struct mgc_held *held)
{
    json_t *o = held_json(walk->cli, held);

    (void)json_object_set_new(o, "mode", json_integer(held->stat.mode & 07777));
    (void)json_object_set_new(o, "uid", json_integer(held->stat.uid));
    (void)json_object_set_new(o, "gid", json_integer(held->stat.gid));
    (void)json_object_set_new(o, "born", mgc_cli_time_json(held->born_us));
    (void)json_object_set_new(o, "written", mgc_cli_time_json(held->written_us));
    (void)json_object_set_new(o, "modified", mgc_cli_time_json(held->stat.mtime_us));
    (void)json_object_set_new(o, "proven_at", mgc_cli_time_json(held->proof_us));
    if (walk->cli->json)
        mgc_cli_print(o);
    else {
        const char *key;
        json_t *value;

        json_object_foreach(o, key, value)
        {
            mgc_autofree char *text = json_dumps(value, JSON_ENCODE_ANY);

            if (strcmp(key, "mode") == 0)
                (void)printf("%-12s %04o\n", key, held->stat.mode & 07777U);
            else
                (void)printf("%-12s %s\n", key,
                             json_is_string(value) ? json_string_value(value)
                             : json_is_null(value) ? "-"
                                                   : text);
        }
        json_decref(o);
    }
    return 0;
}

static int collect(struct walk *walk, const struct mgc_held *held)
{
    if (walk->count == walk->capacity) {
        size_t capacity = walk->capacity == 0 ? 256 : walk->capacity * 2;
        int64_t *ids = realloc(walk->ids, capacity * sizeof(*ids));

        if (ids == NULL)
            return -ENOMEM;
        walk->ids = ids;
        walk->capacity = capacity;
    }
    walk->ids[walk->count++] = held->id;
    return 0;
}

static int each(void *arg, const struct mgc_held *held)
{
    struct walk *walk = arg;
    const struct selection *wanted = walk->wanted;

    walk->last = held->id;
    if (wanted->id != 0 && wanted->id != held->id)
        return 0;
    if (wanted->run != 0 && wanted->run != held->run)
        return 0;
    return walk->act(walk, held);
}

/* Acts on every row of the selection; the number of rows seen is not bounded by memory. */
static int walk_held(struct walk *walk, struct mgc_err *err)
{
    struct mgc_catalog *c = walk->cli->catalog;
    int r;

    if (walk->wanted->id != 0)
        walk->last = walk->wanted->id - 1;
    for (;;) {
        int64_t before = walk->last;

        r = c->ops->held_scan(c, walk->last, ROWS_AT_ONCE, walk->wanted->path, each, walk, err);
        if (r < 0 || walk->last == before || walk->wanted->id != 0)
            return r < 0 ? r : 0;
    }
}

/* ID or PATH: a number is an id, "./12" a path. */
static void select_one(const struct mgc_conf *conf, struct selection *wanted, const char *text)
{
    wanted->id = mgc_cli_id(text);
    if (wanted->id == 0)
        wanted->path = mgc_cli_path(conf, text);
}

static int list(struct mgc_cli *cli, struct walk *walk)
{
    struct mgc_err err = {0};
    int r = mgc_cli_open(cli, &err);

    walk->act = print_row;
    if (r == 0 && !cli->json && isatty(STDOUT_FILENO))
        (void)printf("%8s  %12s  %-8s  %-20s  %-20s  %s\n", "ID", "BYTES", "REASON", "HELD",
                     "PURGE AFTER", "PATH");
    if (r == 0)
        r = walk_held(walk, &err);
    return r < 0 ? mgc_cli_fail(&err) : EXIT_DONE;
}

static int none_held(const struct selection *wanted)
{
    struct mgc_err err = {.code = -ENOENT};

    if (wanted->path != NULL)
        (void)mgc_err_say(&err, -ENOENT, "nothing is held from '%s'", MGC_SHOW(wanted->path));
    else if (wanted->id != 0)
        (void)mgc_err_say(&err, -ENOENT, "no file is held as number %" PRId64, wanted->id);
    else if (wanted->run != 0)
        (void)mgc_err_say(&err, -ENOENT, "nothing is held that run %" PRId64 " moved", wanted->run);
    else
        (void)mgc_err_say(&err, -ENOENT, "nothing is held");
    if (wanted->path != NULL || wanted->id != 0 || wanted->run != 0)
        (void)mgc_err_hint(&err, "'mediagcfs quarantine list' shows what is.");
    return mgc_cli_fail(&err);
}

static int show_and_count(struct walk *walk, const struct mgc_held *held)
{
    walk->count++;
    return print_details(walk, held);
}

static int show(struct mgc_cli *cli, struct walk *walk)
{
    struct mgc_err err = {0};
    int r = mgc_cli_open(cli, &err);

    walk->act = show_and_count;
    if (r == 0)
        r = walk_held(walk, &err);
    if (r < 0)
        return mgc_cli_fail(&err);
    return walk->count > 0 ? EXIT_DONE : none_held(walk->wanted);
}

static int restore_one(struct mgc_cli *cli, int64_t id, const char *to, struct mgc_err *err)
{
    json_t *request = json_pack("{s:s,s:I}", "op", "restore", "id", (json_int_t)id);

    if (to != NULL) {
        json_t *target = json_object();

        mgc_json_set_path(target, to);
        (void)json_object_set_new(request, "to", target);
    }
    return mgc_cli_call(cli, request, NULL, err);
}

static int restore(struct mgc_cli *cli, struct walk *walk, const char *to)
{
    struct mgc_err err = {0};
    size_t failed = 0;
    int r = mgc_cli_open(cli, &err), last = 0;

    walk->act = collect;
    if (r == 0)
        r = mgc_cli_unambiguous(cli, walk->wanted->id, &err);
    if (r == 0)
        r = walk_held(walk, &err);
    if (r < 0)
        return mgc_cli_fail(&err);
    if (walk->count == 0)
        return none_held(walk->wanted);
    if (to != NULL && walk->count > 1)
        return mgc_cli_usage("quarantine restore: --to takes one file, %zu are selected",
                             walk->count);
    for (size_t i = 0; i < walk->count; i++) {
        r = restore_one(cli, walk->ids[i], to, &err);
        mgc_cli_progress(cli, "restore", (int64_t)i + 1, (int64_t)walk->count);
        if (r < 0) {
            failed++;
            last = mgc_cli_fail(&err);
        }
    }
    mgc_cli_progress_end();
    if (cli->json)
        mgc_cli_print(json_pack("{s:s,s:I,s:I}", "event", "restore", "restored",
                                (json_int_t)(walk->count - failed), "failed", (json_int_t)failed));
    else
        (void)printf("%zu restored, %zu not\n", walk->count - failed, failed);
    if (failed == 0)
        return EXIT_DONE;
    return failed < walk->count ? EXIT_PART : last;
}

int mgc_cmd_quarantine(struct mgc_cli *cli, int argc, char **argv)
{
    bool all = false;
    const char *to = NULL, *run = NULL, *given[2] = {NULL, NULL};
    const struct mgc_option options[] = {
        {"all", &all, NULL}, {"to", NULL, &to}, {"run", NULL, &run}};
    struct selection wanted = {0};
    struct walk walk = {.cli = cli, .wanted = &wanted};
    int status, n = mgc_cli_options(cli, argc, argv, options, 3, given, 2);

    if (n < 0)
        return EXIT_USAGE;
    if (n == 0)
        return mgc_cli_usage("quarantine: say what to do: list, show or restore");
    wanted.run = run != NULL ? mgc_cli_id(run) : 0;
    if (run != NULL && wanted.run == 0)
        return mgc_cli_usage("quarantine: '%s' is no run", run);
    if (given[1] != NULL)
        select_one(cli->conf, &wanted, given[1]);
    if (strcmp(given[0], "list") == 0)
        return list(cli, &walk);
    if (strcmp(given[0], "show") == 0)
        return given[1] != NULL ? show(cli, &walk)
                                : mgc_cli_usage("quarantine show: name an ID or a PATH");
    if (strcmp(given[0], "restore") != 0)
        return mgc_cli_usage("quarantine: '%s' is none of list, show, restore", given[0]);
    if ((given[1] != NULL) + (run != NULL) + all != 1)
        return mgc_cli_usage("quarantine restore: name one of ID, PATH, --run N, --all");
    if (to != NULL) {
        struct mgc_err err = {0};

        to = mgc_cli_path(cli->conf, to);
        if (mgc_cli_check_path(cli->conf, to, &err) < 0)
            return mgc_cli_fail(&err);
    }
    status = restore(cli, &walk, to);
    free(walk.ids);
    return status;
}
