/* cli_scan.c -- verifies the catalog against the tree now. */
#include <inttypes.h>

#include "cli_priv.h"

int mgc_cmd_scan(struct mgc_cli *cli, int argc, char **argv)
{
    bool everything = false;
    const struct mgc_option options[] = {{"everything", &everything, NULL}};
    json_t *ok = NULL;
    struct mgc_err err = {0};
    int r;

    if (mgc_cli_options(cli, argc, argv, options, 1, NULL, 0) < 0)
        return EXIT_USAGE;
    r = mgc_cli_open(cli, &err);
    if (r == 0)
        r = mgc_cli_call(cli, json_pack("{s:s,s:b}", "op", "scan", "everything", everything), &ok,
                         &err);
    if (r < 0)
        return mgc_cli_fail(&err);
    if (cli->json) {
        mgc_cli_print(ok);
        return EXIT_DONE;
    }
    (void)printf("%" PRId64 " entries seen, %" PRId64 " added, %" PRId64 " removed, %" PRId64
                 " changed; %" PRId64 " directories, %" PRId64 " of them unchanged\n",
                 mgc_cli_number(ok, "entries"), mgc_cli_number(ok, "added"),
                 mgc_cli_number(ok, "removed"), mgc_cli_number(ok, "changed"),
                 mgc_cli_number(ok, "directories"), mgc_cli_number(ok, "skipped"));
    json_decref(ok);
    return EXIT_DONE;
}
