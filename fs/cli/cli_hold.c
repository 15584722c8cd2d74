/* cli_hold.c -- freezes moves and purges (deploys, migrations), and allows them again. */
#include "cli_priv.h"

int mgc_cmd_hold(struct mgc_cli *cli, int argc, char **argv)
{
    const char *duration = NULL, *reason = "";
    const struct mgc_option options[] = {{"for", NULL, &duration}, {"reason", NULL, &reason}};
    int64_t for_us = 0;
    json_t *ok = NULL;
    struct mgc_err err = {0};
    int r;

    if (mgc_cli_options(cli, argc, argv, options, 2, NULL, 0) < 0)
        return EXIT_USAGE;
    if (duration != NULL && (mgc_conf_duration(duration, &for_us) < 0 || for_us <= 0))
        return mgc_cli_usage("hold: '%s' is no duration (for example 12h)", duration);
    r = mgc_cli_open(cli, &err);
    if (r == 0)
        r = mgc_cli_call(cli,
                         json_pack("{s:s,s:I,s:s}", "op", "hold", "for_us", (json_int_t)for_us,
                                   "reason", reason),
                         &ok, &err);
    if (r < 0)
        return mgc_cli_fail(&err);
    if (cli->json)
        mgc_cli_print(ok);
    else {
        json_decref(ok);
        (void)printf("moves and purges are on hold%s%s\n", duration != NULL ? " for " : "",
                     duration != NULL ? duration : " until 'mediagcfs resume'");
    }
    return EXIT_DONE;
}

int mgc_cmd_resume(struct mgc_cli *cli, int argc, char **argv)
{
    struct mgc_err err = {0};
    int r;

    if (mgc_cli_options(cli, argc, argv, NULL, 0, NULL, 0) < 0)
        return EXIT_USAGE;
    r = mgc_cli_open(cli, &err);
    if (r == 0)
        r = mgc_cli_call(cli, json_pack("{s:s}", "op", "resume"), NULL, &err);
    if (r < 0)
        return mgc_cli_fail(&err);
    if (cli->json)
        mgc_cli_print(json_object());
    else
        (void)printf("moves and purges are allowed again\n");
    return EXIT_DONE;
}
