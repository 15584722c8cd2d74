/* options.c -- options that may stand anywhere after the command, and how errors are said. */
#include <stdarg.h>

#include "cli_priv.h"
#include "mediagcfs/path.h"

int mgc_cli_fail(const struct mgc_err *err)
{
    mgc_cli_progress_end();
    (void)fprintf(stderr, "mediagcfs: %s\n",
                  err->text[0] != '\0' ? err->text : mgc_code_text(err->code));
    if (err->hint[0] != '\0')
        (void)fprintf(stderr, "mediagcfs: %s\n", err->hint);
    return err->code != 0 ? mgc_code_to_exit(err->code) : EXIT_FAILED;
}

int mgc_cli_usage(const char *format, ...)
{
    va_list args;

    (void)fputs("mediagcfs: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return EXIT_USAGE;
}

int64_t mgc_cli_id(const char *text)
{
    char *end;
    long long id;

    if (text[0] < '1' || text[0] > '9')
        return 0;
    errno = 0;
    id = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0' ? id : 0;
}

const char *mgc_cli_path(const struct mgc_conf *conf, const char *given)
{
    const char *const roots[] = {conf->filesystem.source, conf->filesystem.mountpoint};

    if (strncmp(given, "./", 2) == 0)
        return given + 2;
    for (size_t i = 0; i < ARRAY_SIZE(roots) && given[0] == '/'; i++) {
        size_t length = strlen(roots[i]);

        if (strncmp(given, roots[i], length) == 0 && given[length] == '/')
            return given + length + 1;
    }
    return given;
}

int mgc_cli_check_path(const struct mgc_conf *conf, const char *path, struct mgc_err *err)
{
    int r = mgc_path_check(path);

    return r < 0 ? mgc_err_say(err, r, "'%s' is no path in '%s'", MGC_SHOW(path),
                               MGC_SHOW(conf->filesystem.source))
                 : 0;
}

static int usage_error(const char *command, const char *what, const char *argument)
{
    (void)mgc_cli_usage("%s: %s '%s' ('mediagcfs %s --help' says more)", command, what, argument,
                        command);
    return MGC_E_USAGE;
}

/* One option at argv[*i]; *i moves on over a value of its own. */
static int take(struct mgc_cli *cli, int argc, char **argv, int *i,
                const struct mgc_option *options, size_t count)
{
    const char *name = argv[*i] + (argv[*i][1] == '-' ? 2 : 1);
    size_t length = strcspn(name, "=");

    if (strcmp(argv[*i], "--json") == 0) {
        cli->json = true;
        return 0;
    }
    if (strcmp(argv[*i], "--offline") == 0) {
        cli->offline = true;
        return 0;
    }
    for (size_t k = 0; k < count; k++) {
        if (strlen(options[k].name) != length || strncmp(options[k].name, name, length) != 0)
            continue;
        if (options[k].flag != NULL && name[length] == '\0') {
            *options[k].flag = true;
            return 0;
        }
        if (options[k].value == NULL)
            return usage_error(argv[0], "no value belongs to", argv[*i]);
        if (name[length] == '=')
            *options[k].value = name + length + 1;
        else if (*i + 1 < argc)
            *options[k].value = argv[++*i];
        else
            return usage_error(argv[0], "a value is missing after", argv[*i]);
        return 0;
    }
    return usage_error(argv[0], "unknown option", argv[*i]);
}

int mgc_cli_options(struct mgc_cli *cli, int argc, char **argv, const struct mgc_option *options,
                    size_t options_count, const char **positional, size_t max)
{
    size_t given = 0;
    bool ended = false;

    for (int i = 1; i < argc; i++) {
        int r;

        if (!ended && strcmp(argv[i], "--") == 0) {
            ended = true;
            continue;
        }
        if (!ended && argv[i][0] == '-' && argv[i][1] != '\0') {
            r = take(cli, argc, argv, &i, options, options_count);
            if (r < 0)
                return r;
            continue;
        }
        if (given == max)
            return usage_error(argv[0], "unexpected argument", argv[i]);
        positional[given++] = argv[i];
    }
    return (int)given;
}
