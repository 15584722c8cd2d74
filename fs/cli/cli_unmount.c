/* cli_unmount.c -- asks the daemon to stop and waits until it has committed and gone. */
#include <poll.h>
#include <sys/pidfd.h>

#include "cli_priv.h"
#include "mediagcfs/mountinfo.h"

enum { WAIT_MILLISECONDS = 120000 };

static int dead_mount(struct mgc_cli *cli, struct mgc_err *err)
{
    const char *mountpoint = cli->conf->filesystem.mountpoint;

    if (mgc_mount_look(mountpoint) != MGC_SEEN_OURS_DEAD)
        return mgc_cli_fail(err);
    if (mgc_mount_detach_dead(mountpoint, err) < 0)
        return mgc_cli_fail(err);
    (void)fprintf(stderr, "mediagcfs: detached the dead mount at '%s'\n", MGC_SHOW(mountpoint));
    return EXIT_DONE;
}

static int stop(struct mgc_cli *cli, bool lazy, struct mgc_err *err)
{
    struct pollfd gone = {.fd = -1, .events = POLLIN};
    json_t *hello = NULL;
    pid_t pid;
    int r = mgc_cli_call(cli, json_pack("{s:s}", "op", "hello"), &hello, err);

    if (r < 0)
        return r;
    pid = (pid_t)json_integer_value(json_object_get(hello, "pid"));
    json_decref(hello);
    mgc_autofd fd = pidfd_open(pid, 0);
    r = mgc_cli_call(cli, json_pack("{s:s,s:b}", "op", "stop", "lazy", lazy), NULL, err);
    if (r < 0)
        return r;
    /* A lazily detached mount lives on until its last user is gone: nothing to wait for. */
    if (fd < 0 || lazy)
        return 0;
    gone.fd = fd;
    if (poll(&gone, 1, WAIT_MILLISECONDS) != 1)
        return mgc_err_say(err, MGC_E_TIMEOUT, "the daemon (pid %d) has not ended yet", (int)pid);
    return 0;
}

int mgc_cmd_unmount(struct mgc_cli *cli, int argc, char **argv)
{
    bool lazy = false;
    const struct mgc_option options[] = {{"lazy", &lazy, NULL}};
    char socket[MGC_PATH_BYTES_MAX + 1];
    struct mgc_err err = {0};

    if (mgc_cli_options(cli, argc, argv, options, 1, NULL, 0) < 0)
        return EXIT_USAGE;
    if (mgc_client_connect(mgc_cli_socket(cli->conf, socket, sizeof(socket)), &cli->client, &err) <
        0)
        return dead_mount(cli, &err);
    return stop(cli, lazy, &err) < 0 ? mgc_cli_fail(&err) : EXIT_DONE;
}
