/* cli_mount.c -- starts mediagcfsd, found beside this program or in PATH. */
#include <limits.h>

#include "cli_priv.h"

/* exec takes writable strings. */
static char daemon_name[] = "mediagcfsd", dash_c[] = "-c", dash_f[] = "-f";

/* The daemon lies beside us, in ../sbin (as installed), or in PATH. */
static void exec_daemon(char **argv)
{
    static const char *const places[] = {"", "../sbin/"};
    char self[PATH_MAX], path[PATH_MAX + 32];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n > 0) {
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
            (void)snprintf(path, sizeof(path), "%s/%smediagcfsd", self, places[i]);
            argv[0] = path;
            (void)execv(path, argv);
        }
    }
    argv[0] = daemon_name;
    (void)execvp(argv[0], argv);
}

int mgc_cmd_mount(struct mgc_cli *cli, int argc, char **argv)
{
    bool foreground = false;
    const struct mgc_option options[] = {{"f", &foreground, NULL}};
    const char *places[2] = {NULL, NULL};
    char *args[8];
    struct mgc_err err = {0};
    int n = 0, given = mgc_cli_options(cli, argc, argv, options, 1, places, 2);

    if (given < 0)
        return EXIT_USAGE;
    if (cli->conf_missing && given == 0) {
        (void)mgc_err_say(&err, MGC_E_CONFIG, "no configuration '%s'", cli->conf_path);
        (void)mgc_err_hint(&err, "Write one (mediagcfs.conf is a commented sample), name one with "
                                 "-c FILE, or name what to mount: mediagcfs mount SOURCE.");
        return mgc_cli_fail(&err);
    }
    args[n++] = NULL; /* set by exec_daemon() */
    if (!cli->conf_missing) {
        args[n++] = dash_c;
        args[n++] = (char *)(uintptr_t)cli->conf_path;
    }
    if (foreground)
        args[n++] = dash_f;
    for (int i = 0; i < given; i++)
        args[n++] = (char *)(uintptr_t)places[i];
    args[n] = NULL;
    exec_daemon(args);
    (void)mgc_err_set(&err, -errno, "could not start 'mediagcfsd'");
    return mgc_cli_fail(&err);
}
