/* cli_reconcile.c -- one run, described or applied. */
#include <inttypes.h>

#include "cli_priv.h"

static void print_json(const struct mgc_run_report *report)
{
    const struct mgc_run *run = &report->run;
    json_t *o = json_pack("{s:s,s:I,s:s,s:b}", "event", "run", "run", (json_int_t)run->id, "result",
                          mgc_run_result_name(run->result), "applied", run->applied);
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"files", run->files},
        {"referenced", run->referenced},
        {"kept", run->kept},
        {"derived", run->derived},
        {"open", run->open},
        {"young", run->young},
        {"hot", run->hot},
        {"suspect", run->suspect},
        {"waiting", run->waiting},
        {"candidates", run->candidates},
        {"moved", run->moved},
        {"moved_bytes", run->moved_bytes},
        {"skipped", report->skipped},
        {"failed", report->failed},
        {"healed", run->healed},
        {"missing", run->missing},
        {"references", run->references},
    };

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        (void)json_object_set_new(o, numbers[i].name, json_integer(numbers[i].value));
    (void)json_object_set_new(o, "horizon", mgc_cli_time_json(run->horizon_us));
    (void)json_object_set_new(o, "refusal", json_string(run->refusal != NULL ? run->refusal : ""));
    (void)json_object_set_new(o, "digest", json_string(run->digest != NULL ? run->digest : ""));
    mgc_cli_print(o);
}

static void print_text(const struct mgc_run_report *report)
{
    const struct mgc_run *run = &report->run;
    char size[40];

    (void)printf("run %" PRId64 ": %s\n", run->id, mgc_run_result_name(run->result));
    (void)printf("  %" PRId64 " files: %" PRId64 " referenced, %" PRId64 " kept, %" PRId64
                 " derived, %" PRId64 " open, %" PRId64 " young, %" PRId64 " hot, %" PRId64
                 " suspect, %" PRId64 " waiting, %" PRId64 " candidates\n",
                 run->files, run->referenced, run->kept, run->derived, run->open, run->young,
                 run->hot, run->suspect, run->waiting, run->candidates);
    if (run->applied)
        (void)printf("  %" PRId64 " moved (%s), %" PRId64 " skipped, %" PRId64 " failed, %" PRId64
                     " put back\n",
                     run->moved, mgc_cli_bytes(size, sizeof(size), run->moved_bytes),
                     report->skipped, report->failed, run->healed);
    else if (run->candidates > 0 && (run->refusal == NULL || run->refusal[0] == '\0'))
        (void)printf("  nothing was moved: --apply moves the candidates\n");
    (void)printf("  %" PRId64 " mentions without a file ('mediagcfs missing' lists them)\n",
                 run->missing);
    if (run->refusal != NULL && run->refusal[0] != '\0')
        (void)printf("  %s\n", run->refusal);
}

int mgc_cmd_reconcile(struct mgc_cli *cli, int argc, char **argv)
{
    bool apply = false, scheduled = false;
    const char *approve = NULL, *jobs = NULL;
    const struct mgc_option options[] = {{"apply", &apply, NULL},
                                         {"approve", NULL, &approve},
                                         {"jobs", NULL, &jobs},
                                         {"scheduled", &scheduled, NULL}};
    struct mgc_run_report report = {0};
    struct mgc_run_spec spec = {.host = &cli->host};
    struct mgc_err err = {0};
    int r, status;

    if (mgc_cli_options(cli, argc, argv, options, ARRAY_SIZE(options), NULL, 0) < 0)
        return EXIT_USAGE;
    if (approve != NULL && !apply)
        return mgc_cli_usage("reconcile: --approve acts only together with --apply");
    cli->quiet = scheduled;
    cli->approve = approve;
    r = mgc_cli_open_sources(cli, false, &err);
    if (r < 0)
        return mgc_cli_fail(&err);
    mgc_cli_host(cli);
    spec.conf = cli->conf;
    spec.catalog = cli->catalog;
    spec.sources = cli->sources;
    spec.sources_count = cli->sources_count;
    spec.apply = apply;
    spec.approve = approve;
    r = mgc_run_reconcile(&spec, &report, &err);
    mgc_cli_progress_end();
    if (report.run.id != 0 && cli->json)
        print_json(&report);
    else if (report.run.id != 0 && !scheduled)
        print_text(&report);
    status = r < 0 ? mgc_cli_fail(&err) : report.failed > 0 ? EXIT_PART : EXIT_DONE;
    mgc_run_report_done(&report);
    return status;
}
