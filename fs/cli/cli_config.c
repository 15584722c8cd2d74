/* cli_config.c -- `config check`: parse, look, connect, say what would happen. */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "cli_priv.h"
#include "mediagcfs/mountinfo.h"

enum { PATIENCE_SECONDS = 30 };

struct report {
    const struct mgc_cli *cli;
    int failed;
};

static void say(struct report *report, const char *what, bool ok, const char *text,
                const char *hint)
{
    if (!ok)
        report->failed++;
    if (report->cli->json) {
        json_t *o = json_pack("{s:s,s:b}", "check", what, "ok", ok);

        (void)json_object_set_new(o, "text", json_string(text));
        (void)json_object_set_new(o, "hint", json_string(hint));
        mgc_cli_print(o);
        return;
    }
    (void)printf("%-7s %-14s %s\n", ok ? "ok" : "FAILED", what, text);
    if (hint[0] != '\0')
        (void)printf("%-22s %s\n", "", hint);
}

static void check_source_dir(struct report *report)
{
    const struct mgc_conf *conf = report->cli->conf;
    const char *source = conf->filesystem.source;
    char type[64] = "?", text[MGC_ERR_TEXT_BYTES];
    bool mounted_here = strcmp(source, conf->filesystem.mountpoint) == 0 &&
                        mgc_mount_look(source) == MGC_SEEN_OURS_ALIVE;
    mgc_autofd fd = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        (void)snprintf(text, sizeof(text), "could not open source '%s': %s", MGC_SHOW(source),
                       strerrordesc_np(errno));
        say(report, "source", false, text, "Is the disk mounted, and the path spelt right?");
        return;
    }
    if (mgc_mount_fstype(source, type, sizeof(type)) < 0)
        (void)snprintf(type, sizeof(type), "unknown type");
    if (!mounted_here && strcmp(type, "fuse." MGC_MOUNT_SUBTYPE) == 0) {
        say(report, "source", false, "the source lies in a mediagcfs mount itself",
            "Name the directory underneath.");
        return;
    }
    (void)snprintf(text, sizeof(text), "'%s' on %s%s", MGC_SHOW(source), type,
                   mounted_here ? " (served right now)" : "");
    say(report, "source", true, text, "");
}

static void check_mountpoint(struct report *report)
{
    const char *mountpoint = report->cli->conf->filesystem.mountpoint;
    char text[MGC_ERR_TEXT_BYTES];
    struct stat st;
    enum mgc_mount_seen seen = mgc_mount_look(mountpoint);

    if (seen == MGC_SEEN_OURS_DEAD) {
        say(report, "mountpoint", true, "a dead mount lies there: 'mount' detaches it", "");
        return;
    }
    if (stat(mountpoint, &st) < 0 || !S_ISDIR(st.st_mode)) {
        (void)snprintf(text, sizeof(text), "mount point '%s' is no directory",
                       MGC_SHOW(mountpoint));
        say(report, "mountpoint", false, text, "Create it.");
        return;
    }
    (void)snprintf(text, sizeof(text), "'%s'%s", MGC_SHOW(mountpoint),
                   seen == MGC_SEEN_OURS_ALIVE ? " (mounted)" : "");
    say(report, "mountpoint", true, text, "");
}

static void check_places(struct report *report)
{
    struct mgc_err err = {0};

    if (mgc_conf_places(report->cli->conf, &err) < 0)
        say(report, "places", false, err.text, err.hint);
    else
        say(report, "places", true, "catalog and log lie outside the media tree", "");
}

static void check_reference(struct report *report, const struct mgc_conf_references *block)
{
    struct mgc_source *source = NULL;
    struct mgc_source_view view = {0};
    struct mgc_err err = {0};
    int64_t deadline = mgc_monotonic_us() + PATIENCE_SECONDS * INT64_C(1000000);
    char text[MGC_ERR_TEXT_BYTES];
    int r = mgc_source_new(block, &source, &err);

    if (r == 0)
        r = source->ops->start(source, &err);
    if (r == 0)
        r = source->ops->begin(source, deadline, &view, &err);
    if (r < 0) {
        say(report, block->name, false, err.text, err.hint);
        mgc_source_free(source);
        return;
    }
    (void)snprintf(text, sizeof(text), "%s answers (%s); %s", source->ops->kind,
                   view.identity != NULL ? view.identity : "no identity",
                   !view.sees_transactions ? "it shows no open transactions: grace alone decides"
                   : view.oldest_us == 0   ? "starts of open transactions are not visible: runs "
                                             "use the fence"
                                           : "open transactions are visible");
    say(report, block->name, true, text, "");
    source->ops->end(source);
    mgc_source_view_done(&view);
    mgc_source_free(source);
}

int mgc_cmd_config(struct mgc_cli *cli, int argc, char **argv)
{
    const char *what[1] = {NULL};
    struct report report = {.cli = cli};

    if (mgc_cli_options(cli, argc, argv, NULL, 0, what, 1) < 0)
        return EXIT_USAGE;
    if (what[0] == NULL || strcmp(what[0], "check") != 0)
        return mgc_cli_usage("config: the only thing to do is 'config check'");
    if (cli->conf_missing)
        return mgc_cli_usage("config check: no configuration '%s' (name one with -c FILE)",
                             cli->conf_path);
    say(&report, "configuration", true, cli->conf->file, "");
    for (size_t i = 0; i < cli->conf->notices.count; i++)
        say(&report, "notice", true, cli->conf->notices.items[i], "");
    check_source_dir(&report);
    check_mountpoint(&report);
    check_places(&report);
    if (cli->conf->references_count == 0)
        say(&report, "references", false, "no 'references' block: nothing can be judged",
            "Say where the application keeps its references.");
    for (size_t i = 0; i < cli->conf->references_count; i++)
        check_reference(&report, &cli->conf->references[i]);
    if (!cli->json)
        (void)printf("\nruns %s; purges %s\n",
                     cli->conf->reconcile.every_us == MGC_CONF_OFF ? "are not scheduled"
                     : cli->conf->reconcile.mode == MGC_MODE_APPLY ? "move orphans into quarantine"
                                                                   : "only describe (shadow)",
                     cli->conf->purge.every_us == MGC_CONF_OFF ? "are not scheduled"
                     : cli->conf->purge.mode == MGC_MODE_APPLY ? "delete what is due and proven"
                                                               : "only describe (shadow)");
    return report.failed > 0 ? EXIT_FAILED : EXIT_DONE;
}
