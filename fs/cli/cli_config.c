/* cli_config.c -- `config check`: parse, look, connect, say what would happen. */
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <sys/stat.h>

#include "cli_priv.h"
#include "mediagcfs/mountinfo.h"

enum { PATIENCE_SECONDS = 30 };

struct report {
    struct mgc_cli *cli;
    int failed;
};

struct started {
    struct mgc_err err;
    int r;
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
        say(report, "mountpoint", false, text, access(mountpoint, F_OK) < 0 ? "Create it." : "");
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

static void check_reference(struct report *report, struct mgc_source *source, const char *name)
{
    struct mgc_source_view view = {0};
    struct mgc_err err = {0};
    int64_t deadline = mgc_monotonic_us() + PATIENCE_SECONDS * INT64_C(1000000);
    bool answers = strcmp(source->ops->kind, "command") != 0, fence;
    char text[MGC_ERR_TEXT_BYTES];

    if (source->ops->begin(source, deadline, &view, &err) < 0) {
        say(report, name, false, err.text, err.hint);
        return;
    }
    fence = view.sees_transactions && view.oldest_us == 0;
    (void)snprintf(text, sizeof(text), "%s %s (%s); %s", source->ops->kind,
                   answers ? "answers" : "is not run by this check",
                   view.identity != NULL ? view.identity : "no identity",
                   !view.sees_transactions ? "it shows no open transactions: grace alone decides"
                   : fence ? "starts of open transactions are not visible: runs use the fence"
                           : "open transactions are visible");
    say(report, name, true, text,
        fence ? "GRANT pg_read_all_stats to the role makes them visible." : "");
    source->ops->end(source);
    mgc_source_view_done(&view);
}

/* Whoever runs read the databases as: peer authentication and files below HOME depend on it. */
static bool become_reader(struct report *report)
{
    const struct mgc_conf *conf = report->cli->conf;
    const char *name = conf->reconcile.user;
    char text[MGC_ERR_TEXT_BYTES], number[24];
    const struct passwd *entry;
    struct mgc_err err = {0};
    struct stat st = {0};
    uid_t uid;

    if (name == NULL && stat(conf->filesystem.source, &st) < 0)
        return false; /* said already */
    entry = name != NULL ? getpwnam(name) : getpwuid(st.st_uid);
    if (entry == NULL && name != NULL) {
        (void)snprintf(text, sizeof(text), "unknown user '%s' in 'reconcile'", MGC_SHOW(name));
        say(report, "user", false, text,
            "Create it, or leave it out: then the tree's owner reads.");
        return false;
    }
    uid = entry != NULL ? entry->pw_uid : st.st_uid;
    (void)snprintf(number, sizeof(number), "uid %u", (unsigned)uid);
    (void)snprintf(text, sizeof(text), "runs read the databases as '%s'%s",
                   entry != NULL ? entry->pw_name : number,
                   geteuid() != 0 && geteuid() != uid ? ", this check as you" : "");
    if (geteuid() == 0 && uid != 0 &&
        mgc_cli_become(uid, entry != NULL ? entry->pw_gid : st.st_gid, &err) < 0) {
        say(report, "user", false, err.text, err.hint);
        return false;
    }
    say(report, "user", true, text, "");
    return true;
}

/* As a run does: everything is started with our rights, and read without them. */
static void check_references(struct report *report)
{
    struct mgc_cli *cli = report->cli;
    size_t count = cli->conf->references_count;
    mgc_autofree struct started *started = calloc(count, sizeof(*started));

    cli->sources = calloc(count, sizeof(struct mgc_source *));
    if (started == NULL || cli->sources == NULL) {
        say(report, "references", false, "out of memory", "");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct started *s = &started[i];

        s->r = mgc_source_new(&cli->conf->references[i], &cli->sources[i], &s->err);
        cli->sources_count++;
        if (s->r == 0)
            s->r = cli->sources[i]->ops->start(cli->sources[i], &s->err);
    }
    if (!become_reader(report))
        return;
    for (size_t i = 0; i < count; i++) {
        const char *name = cli->conf->references[i].name;

        if (started[i].r < 0)
            say(report, name, false, started[i].err.text, started[i].err.hint);
        else
            check_reference(report, cli->sources[i], name);
    }
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
    else
        check_references(&report);
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
