/* cli_status.c -- mount, catalog, last and next run, quarantine, hold. */
#include <inttypes.h>

#include "cli_priv.h"
#include "mediagcfs/mountinfo.h"

static void print_run(const json_t *run)
{
    char when[40];

    if (!json_is_object(run)) {
        (void)printf("last run    none\n");
        return;
    }
    (void)printf("last run    %" PRId64 " %s: %s, %" PRId64 " files, %" PRId64
                 " referenced, %" PRId64 " candidates, %" PRId64 " moved\n",
                 mgc_cli_number(run, "run"),
                 mgc_cli_time(when, sizeof(when), mgc_cli_number(run, "t0_us")),
                 mgc_cli_text(run, "result"), mgc_cli_number(run, "files"),
                 mgc_cli_number(run, "referenced"), mgc_cli_number(run, "candidates"),
                 mgc_cli_number(run, "moved"));
    if (mgc_cli_text(run, "refusal")[0] != '\0')
        (void)printf("            %s\n", mgc_cli_text(run, "refusal"));
    if (mgc_cli_text(run, "digest")[0] != '\0')
        (void)printf("            digest %s\n", mgc_cli_text(run, "digest"));
}

static void print_text(const json_t *s)
{
    char size[40], when[40];
    const json_t *hold = json_object_get(s, "hold");

    if (json_is_true(json_object_get(s, "mounted")))
        (void)printf("mount       %s on %s (pid %" PRId64 ")\n", mgc_cli_text(s, "source"),
                     mgc_cli_text(s, "mountpoint"), mgc_cli_number(s, "pid"));
    else
        (void)printf("mount       none at %s\n", mgc_cli_text(s, "mountpoint"));
    (void)printf("catalog     %s: %" PRId64 " entries, %s, verification %s\n",
                 mgc_cli_text(s, "catalog"), mgc_cli_number(s, "entries"),
                 mgc_cli_bytes(size, sizeof(size), mgc_cli_number(s, "bytes")),
                 mgc_cli_text(s, "scan"));
    (void)printf("quarantine  %" PRId64 " held, %s\n", mgc_cli_number(s, "held"),
                 mgc_cli_bytes(size, sizeof(size), mgc_cli_number(s, "held_bytes")));
    print_run(json_object_get(s, "last_run"));
    if (json_is_integer(json_object_get(s, "next_run_us")))
        (void)printf("next run    %s\n",
                     mgc_cli_time(when, sizeof(when), mgc_cli_number(s, "next_run_us")));
    if (json_is_object(hold))
        (void)printf("hold        until %s %s\n",
                     mgc_cli_number(hold, "until_us") == INT64_MAX
                         ? "resumed"
                         : mgc_cli_time(when, sizeof(when), mgc_cli_number(hold, "until_us")),
                     mgc_cli_text(hold, "reason"));
    if (json_is_true(json_object_get(s, "bypass")))
        (void)printf("bypass      the tree was changed beneath the mount: moves wait\n");
}

/* Nothing is mounted: that is an answer too. */
static int not_mounted(struct mgc_cli *cli)
{
    const char *mountpoint = cli->conf->filesystem.mountpoint;
    bool dead = mgc_mount_look(mountpoint) == MGC_SEEN_OURS_DEAD;

    if (cli->json)
        mgc_cli_print(json_pack("{s:b,s:b,s:s,s:i,s:i,s:i,s:i,s:s,s:n,s:n}", "mounted", 0, "dead",
                                dead, "mountpoint", mountpoint, "entries", 0, "bytes", 0, "held", 0,
                                "held_bytes", 0, "scan", "incomplete", "last_run", "hold"));
    else if (cli->conf_missing)
        (void)printf("mount       none: there is no configuration '%s' (name one with -c FILE)\n",
                     cli->conf_path);
    else
        (void)printf("mount       %s at %s%s\n", dead ? "dead" : "none", mountpoint,
                     dead ? ": 'mediagcfs mount' serves it again, 'mediagcfs unmount' detaches it"
                          : "");
    return EXIT_DONE;
}

int mgc_cmd_status(struct mgc_cli *cli, int argc, char **argv)
{
    json_t *status = NULL;
    struct mgc_err err = {0};
    int r;

    if (mgc_cli_options(cli, argc, argv, NULL, 0, NULL, 0) < 0)
        return EXIT_USAGE;
    r = mgc_cli_open(cli, &err);
    if (r == MGC_E_NO_DAEMON)
        return not_mounted(cli);
    if (r == 0)
        r = mgc_cli_call(cli, json_pack("{s:s}", "op", "status"), &status, &err);
    if (r < 0)
        return mgc_cli_fail(&err);
    if (cli->json)
        mgc_cli_print(status);
    else {
        print_text(status);
        json_decref(status);
    }
    return EXIT_DONE;
}
