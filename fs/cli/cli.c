/*
 * cli.c -- the command table and the global options.
 *
 * A new command: a row here, fs/cli/cli_<name>.c, a test, an entry in the README.
 */
#include <locale.h>
#include <signal.h>

#include "cli_priv.h"

// clang-format off
const struct mgc_command mgc_commands[] = {
    {"mount", mgc_cmd_mount, "[-f] [SOURCE [MOUNTPOINT]]", "serve the media tree",
     "  -f    stay in the foreground\n"
     "Returns when the mount answers.  Without arguments the configuration says what is mounted\n"
     "where.  A dead mount of ours at the mount point is detached first.\n"},
    {"unmount", mgc_cmd_unmount, "[--lazy]", "stop serving; returns when all is committed",
     "  --lazy    detach a busy mount now; it ends when the last user is gone\n"},
    {"status", mgc_cmd_status, "", "mount, catalog, last and next run, quarantine, hold", ""},
    {"scan", mgc_cmd_scan, "[--everything]", "verify the catalog against the tree now",
     "  --everything    read directories again whose change time is unchanged\n"},
    {"reconcile", mgc_cmd_reconcile, "[--apply] [--approve DIGEST]",
     "one run: find orphans, hold them",
     "Describes by default.\n"
     "  --apply             move candidates into quarantine, put back what is needed\n"
     "  --approve DIGEST    act once although a brake refused the run with this digest\n"
     "  --jobs N            connections per source (has no effect yet)\n"},
    {"orphans", mgc_cmd_orphans, "", "entries nothing mentioned in the last run",
     "Each with its verdict, size, when it came to its path, and when it was last opened.\n"},
    {"missing", mgc_cmd_missing, "", "mentions without a file in the last run", ""},
    {"suspects", mgc_cmd_suspects, "", "orphans that look like a mistake of ours",
     "They are kept until their reason, at the end of the line, no longer holds.\n"},
    {"explain", mgc_cmd_explain, "PATH", "every fact and mention that decides about one entry",
     "PATH is relative to the tree, or absolute beneath source or mount point.  Held files are\n"
     "explained too.\n"},
    {"quarantine", mgc_cmd_quarantine, "list | show ID|PATH | restore ID|PATH|--run N|--all",
     "inspect what is held, put it back",
     "An ID is a plain number; a PATH that is one is written ./12.  Paths as for explain.\n"
     "  list                        every held file\n"
     "  show ID|PATH                everything known about one\n"
     "  restore ID|PATH [--to NEW]  put one back, to its path or to another; never overwrites\n"
     "  restore --run N | --all     put back what a run moved, or everything\n"},
    {"purge", mgc_cmd_purge, "[--apply] [--now ID|PATH]", "delete what is due and proven unneeded",
     "Describes by default: the proofs are made, nothing is deleted.\n"
     "  --apply         delete\n"
     "  --now ID|PATH   this one, before its retention has ended; refused while mentioned\n"},
    {"hold", mgc_cmd_hold, "[--for DURATION] [--reason TEXT]", "freeze every move and purge", ""},
    {"resume", mgc_cmd_resume, "", "allow moves and purges again", ""},
    {"log", mgc_cmd_log, "[--since TIME|DURATION] [--path PATH]", "what was done, and why",
     "  --since T    from this time (2026-03-01T12:00:00Z) or this long ago (24h)\n"
     "  --path P     only events of this path\n"},
    {"config", mgc_cmd_config, "check", "parse, connect, say what would happen", ""},
};
// clang-format on
const size_t mgc_commands_count = ARRAY_SIZE(mgc_commands);

static void print_help(FILE *out)
{
    (void)fprintf(out, "usage: mediagcfs [-c FILE] COMMAND [--json] [--offline] ...\n\n");
    for (size_t i = 0; i < mgc_commands_count; i++)
        (void)fprintf(out, "  %-11s %s\n", mgc_commands[i].name, mgc_commands[i].summary);
    (void)fprintf(out, "\n  -c FILE     configuration (default /etc/mediagcfs.conf)\n"
                       "  --json      one object per line on stdout\n"
                       "  --offline   without a daemon, on the plain directory\n"
                       "'mediagcfs COMMAND --help' says more.\n"
                       "Exit status: 0 done, 1 failed, 2 usage, 3 refused by a safety rule, "
                       "4 done in part.\n");
}

static const struct mgc_command *find(const char *name)
{
    for (size_t i = 0; i < mgc_commands_count; i++)
        if (strcmp(mgc_commands[i].name, name) == 0)
            return &mgc_commands[i];
    return NULL;
}

static int help_of(const struct mgc_command *command)
{
    (void)printf("usage: mediagcfs [-c FILE] %s%s%s\n%s.\n%s%s", command->name,
                 command->usage[0] != '\0' ? " " : "", command->usage, command->summary,
                 command->help[0] != '\0' ? "\n" : "", command->help);
    return EXIT_DONE;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int load(struct mgc_cli *cli, bool explicitly, struct mgc_err *err)
{
    if (!explicitly && access(cli->conf_path, F_OK) < 0 && errno == ENOENT) {
        cli->conf_missing = true;
        return mgc_conf_default("mediagcfs", "/", "/", &cli->conf, err);
    }
    return mgc_conf_load(cli->conf_path, &cli->conf, err);
}

/* Index of the command in argv, 0 when there is none; -1 after saying what is wrong. */
static int global_options(struct mgc_cli *cli, int argc, char **argv, bool *ret_explicitly)
{
    int i = 1;

    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "-c") == 0 && i + 1 < argc) {
            cli->conf_path = argv[++i];
            *ret_explicitly = true;
        } else if (strcmp(argv[i], "-c") == 0)
            return -mgc_cli_usage("a configuration is missing after '-c'") - 1;
        else if (strcmp(argv[i], "--json") == 0)
            cli->json = true;
        else if (strcmp(argv[i], "--offline") == 0)
            cli->offline = true;
        else if (strcmp(argv[i], "--version") == 0) {
            (void)printf("mediagcfs %s\n", MGC_VERSION);
            return -EXIT_DONE - 1;
        } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_help(stdout);
            return -EXIT_DONE - 1;
        } else
            return -mgc_cli_usage("unknown option '%s' before the command", argv[i]) - 1;
    }
    return i < argc ? i : 0;
}

int main(int argc, char **argv)
{
    struct mgc_cli cli = {.program = argv[0], .root_fd = -1};
    const char *from_environment = getenv("MEDIAGCFS_CONFIG");
    bool explicitly = from_environment != NULL;
    const struct mgc_command *command;
    struct mgc_err err = {0};
    int at, status;

    (void)signal(SIGPIPE, SIG_IGN);
    mgc_log_init("mediagcfs", MGC_LOG_INFO);
    cli.conf_path = explicitly ? from_environment : "/etc/mediagcfs.conf";
    at = global_options(&cli, argc, argv, &explicitly);
    if (at < 0)
        return -at - 1;
    if (at == 0) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[at], "help") == 0) {
        command = at + 1 < argc ? find(argv[at + 1]) : NULL;
        if (command != NULL)
            return help_of(command);
        print_help(stdout);
        return EXIT_DONE;
    }
    command = find(argv[at]);
    if (command == NULL)
        return mgc_cli_usage("unknown command '%s' ('mediagcfs --help' lists them)", argv[at]);
    if (wants_help(argc - at, argv + at))
        return help_of(command);
    if (load(&cli, explicitly, &err) < 0)
        return mgc_cli_fail(&err);
    status = command->run(&cli, argc - at, argv + at);
    mgc_cli_close(&cli);
    mgc_conf_free(cli.conf);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)fprintf(stderr, "mediagcfs: could not write to standard output\n");
        return status == EXIT_DONE ? EXIT_FAILED : status;
    }
    return status;
}
