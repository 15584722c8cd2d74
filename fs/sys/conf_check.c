/*
 * conf_check.c -- what no single key can say: what is missing, what contradicts itself, what is
 * given without effect.
 *
 * By text only; links and mounts are looked at by whoever mounts.
 */
#include <stdarg.h>

#include "fs/sys/conf_priv.h"
#include "mediagcfs/path.h"

#define DIRECTORY_DEFAULT "/var/lib/mediagcfs"
#define LOG_DEFAULT "events.jsonl"

int mgc_conf_clean_path(const char *text, char **ret_path, struct mgc_err *err)
{
    size_t used = 0, length;
    char *out;

    if (text[0] != '/') {
        (void)mgc_err_say(err, MGC_E_CONFIG, "'%s' is not an absolute path", MGC_SHOW(text));
        (void)mgc_err_hint(err, "Write the whole path, from '/' on.");
        return MGC_E_CONFIG;
    }
    if (strlen(text) > MGC_PATH_BYTES_MAX)
        return mgc_err_say(err, MGC_E_CONFIG, "'%s' is too long for a path", MGC_SHOW(text));
    out = malloc(strlen(text) + 2);
    if (out == NULL)
        return mgc_err_set(err, -ENOMEM, "could not store a path");
    for (const char *p = text; *p != '\0'; p += length) {
        while (*p == '/')
            p++;
        length = strcspn(p, "/");
        if (length == 2 && p[0] == '.' && p[1] == '.') {
            free(out);
            return mgc_err_say(err, MGC_E_CONFIG, "path '%s' has a '..' in it", MGC_SHOW(text));
        }
        if (length == 0 || (length == 1 && p[0] == '.'))
            continue;
        out[used++] = '/';
        memcpy(out + used, p, length);
        used += length;
    }
    if (used == 0)
        out[used++] = '/';
    out[used] = '\0';
    *ret_path = out;
    return 0;
}

int mgc_conf_notice(struct mgc_conf *conf, const char *format, ...)
{
    char text[MGC_ERR_TEXT_BYTES];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (size_t i = 0; i < conf->notices.count; i++)
        if (strcmp(conf->notices.items[i], text) == 0)
            return 0;
    return mgc_conf_list_add(&conf->notices, text);
}

/* Line of a setting, or of its block, or 0. */
static int line_of(const struct mgc_conf_raw *raw, const char *name, const char *title,
                   const char *key)
{
    for (size_t i = 0; raw != NULL && key != NULL && i < raw->settings_count; i++) {
        const struct mgc_conf_setting *s = &raw->settings[i];

        if (strcmp(s->name, name) == 0 && strcmp(s->title, title) == 0 && strcmp(s->key, key) == 0)
            return s->line;
    }
    for (size_t i = 0; raw != NULL && i < raw->blocks_count; i++)
        if (strcmp(raw->blocks[i].name, name) == 0 && strcmp(raw->blocks[i].title, title) == 0)
            return raw->blocks[i].line;
    return 0;
}

static bool given(const struct mgc_conf_raw *raw, const char *name, const char *title,
                  const char *key)
{
    for (size_t i = 0; raw != NULL && i < raw->settings_count; i++) {
        const struct mgc_conf_setting *s = &raw->settings[i];

        if (strcmp(s->name, name) == 0 && strcmp(s->title, title) == 0 && strcmp(s->key, key) == 0)
            return true;
    }
    return false;
}

static int fill(char **text, struct mgc_err *err, const char *format, ...) MGC_PRINTF(3, 4);
static int fill(char **text, struct mgc_err *err, const char *format, ...)
{
    va_list args;
    int r;

    if (*text != NULL)
        return 0;
    va_start(args, format);
    r = vasprintf(text, format, args);
    va_end(args);
    if (r >= 0)
        return 0;
    *text = NULL;
    return mgc_err_set(err, -ENOMEM, "could not store a default");
}

int mgc_conf_fill_places(struct mgc_conf *conf, struct mgc_err *err)
{
    int r = fill(&conf->filesystem.mountpoint, err, "%s", conf->filesystem.source);

    if (r == 0)
        r = fill(&conf->catalog.directory, err, DIRECTORY_DEFAULT "/%s", conf->name);
    if (r == 0)
        r = fill(&conf->log.file, err, "%s/" LOG_DEFAULT, conf->catalog.directory);
    return r;
}

static bool beneath(const char *path, const char *dir)
{
    return strcmp(dir, "/") == 0 || mgc_path_beneath(path, dir);
}

static int check_tree(const struct mgc_conf *conf, const struct mgc_conf_raw *raw,
                      struct mgc_err *err)
{
    const char *source = conf->filesystem.source, *mountpoint = conf->filesystem.mountpoint;
    int line = line_of(raw, "filesystem", "", "source");
    int mount_line = line_of(raw, "filesystem", "", "mountpoint");

    if (strcmp(source, "/") == 0)
        return mgc_conf_fail(err, conf->file, line, "'source' must not be the root directory");
    if (strcmp(mountpoint, "/") == 0)
        return mgc_conf_fail(err, conf->file, mount_line,
                             "'mountpoint' must not be the root directory");
    if (strcmp(source, mountpoint) == 0)
        return 0;
    if (beneath(mountpoint, source) || beneath(source, mountpoint)) {
        (void)mgc_conf_fail(err, conf->file, mount_line,
                            "'source' and 'mountpoint' lie in each other");
        (void)mgc_err_hint(err, "Use one directory for both, or two side by side.");
        return MGC_E_CONFIG;
    }
    return 0;
}

/* Through the mount we would wait for ourselves; in the source they would be media like any other.
 */
static int check_places(const struct mgc_conf *conf, const struct mgc_conf_raw *raw,
                        struct mgc_err *err)
{
    const struct {
        const char *block, *key, *path;
    } places[] = {
        {"catalog", "directory", conf->catalog.directory},
        {"log", "file", conf->log.file},
        {"web", "textfile", conf->web.textfile},
    };
    const char *const roots[] = {conf->filesystem.mountpoint, conf->filesystem.source};

    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        for (size_t j = 0; j < ARRAY_SIZE(roots); j++) {
            if (places[i].path == NULL || !beneath(places[i].path, roots[j]))
                continue;
            (void)mgc_conf_fail(err, conf->file, line_of(raw, places[i].block, "", places[i].key),
                                "'%s' of '%s' lies in the media tree '%s'", places[i].key,
                                places[i].block, MGC_SHOW(roots[j]));
            (void)mgc_err_hint(err, "Put it anywhere else, on a local filesystem.");
            return MGC_E_CONFIG;
        }
    return 0;
}

/* Keys that say something for some types only: a wrong one means a wrong idea of the block. */
static int check_keys_of_type(const struct mgc_conf *conf, const struct mgc_conf_raw *raw,
                              const struct mgc_conf_references *ref, struct mgc_err *err)
{
    enum {
        PG = 1 << MGC_TYPE_POSTGRESQL,
        LITE = 1 << MGC_TYPE_SQLITE,
        CMD = 1 << MGC_TYPE_COMMAND
    };
    static const char *const types[] = {"postgresql", "sqlite", "command"};
    // clang-format off
    static const struct {
        const char *key;
        int types;
    } rows[] = {
        {"conninfo", PG},       {"database", LITE},     {"command", CMD},       {"format", CMD},
        {"scan", PG | LITE},    {"columns", PG | LITE}, {"query", PG | LITE},   {"ignore", PG | LITE},
        {"binary", PG | LITE},  {"large_objects", PG},  {"jobs", PG},
    };
    // clang-format on

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if ((rows[i].types & (1 << ref->type)) == 0 &&
            given(raw, "references", ref->name, rows[i].key))
            return mgc_conf_fail(
                err, conf->file, line_of(raw, "references", ref->name, rows[i].key),
                "key '%s' has no meaning where type is %s", rows[i].key, types[ref->type]);
    return 0;
}

static int check_references(const struct mgc_conf *conf, const struct mgc_conf_raw *raw,
                            const struct mgc_conf_references *ref, struct mgc_err *err)
{
    const char *missing = NULL;
    int r;

    if (!given(raw, "references", ref->name, "type"))
        missing = "type";
    else if (ref->type == MGC_TYPE_SQLITE && ref->database == NULL)
        missing = "database";
    else if (ref->type == MGC_TYPE_COMMAND && (ref->command == NULL || ref->command[0] == '\0'))
        missing = "command";
    if (missing != NULL)
        return mgc_conf_fail(err, conf->file, ref->line, "key '%s' is missing in 'references %s'",
                             missing, ref->name);
    r = check_keys_of_type(conf, raw, ref, err);
    if (r < 0)
        return r;
    if (ref->scan == MGC_SCAN_COLUMNS && ref->columns.count == 0 && ref->query.count == 0) {
        (void)mgc_conf_fail(err, conf->file, line_of(raw, "references", ref->name, "scan"),
                            "'scan = columns' without 'columns' or 'query' in 'references %s'",
                            ref->name);
        (void)mgc_err_hint(err, "List them, or leave 'scan' out and everything is read.");
        return MGC_E_CONFIG;
    }
    return 0;
}

static int check_derived(const struct mgc_conf *conf, const struct mgc_conf_raw *raw,
                         const struct mgc_conf_derived *rule, struct mgc_err *err)
{
    bool pair = rule->child != NULL && rule->parent != NULL;
    bool half = rule->child != NULL || rule->parent != NULL;

    if (rule->scheme != NULL ? half : !pair)
        return mgc_conf_fail(err, conf->file, line_of(raw, "derived", rule->name, NULL),
                             "'derived %s' needs 'child' and 'parent', or 'scheme' alone",
                             rule->name);
    return 0;
}

/* A trial with a short retention need not name the lower bound too; a contradiction is an error. */
static int check_retention(struct mgc_conf *conf, const struct mgc_conf_raw *raw,
                           struct mgc_err *err)
{
    if (conf->quarantine.min_retention_us <= conf->quarantine.retention_us)
        return 0;
    if (given(raw, "quarantine", "", "min_retention"))
        return mgc_conf_fail(err, conf->file, line_of(raw, "quarantine", "", "min_retention"),
                             "'min_retention' is longer than 'retention'");
    conf->quarantine.min_retention_us = conf->quarantine.retention_us;
    return 0;
}

static int notice_sources(struct mgc_conf *conf)
{
    for (size_t i = 0; i < conf->references_count; i++) {
        const struct mgc_conf_references *ref = &conf->references[i];
        int r = 0;

        if (ref->scan == MGC_SCAN_EVERYTHING && ref->columns.count > 0)
            r = mgc_conf_notice(conf,
                                "key 'columns' in 'references %s' has no effect: everything is "
                                "read unless 'scan = columns' stands beside it",
                                ref->name);
        if (r == 0 && ref->database != NULL &&
            (beneath(ref->database, conf->filesystem.mountpoint) ||
             beneath(ref->database, conf->filesystem.source)))
            r = mgc_conf_notice(conf,
                                "database '%s' lies in the media tree: name it in 'keep', or "
                                "better move it out",
                                MGC_SHOW(ref->database));
        if (r < 0)
            return r;
    }
    return 0;
}

int mgc_conf_check_tree(struct mgc_conf *conf, const struct mgc_conf_raw *raw, struct mgc_err *err)
{
    int r;

    if (conf->filesystem.source == NULL) {
        (void)mgc_conf_fail(err, conf->file, line_of(raw, "filesystem", "", NULL),
                            "key 'source' is missing in 'filesystem'");
        (void)mgc_err_hint(err, "Write `filesystem { source = /path/of/the/media }`.");
        return MGC_E_CONFIG;
    }
    r = mgc_conf_fill_places(conf, err);
    if (r == 0)
        r = check_tree(conf, raw, err);
    if (r == 0)
        r = check_places(conf, raw, err);
    if (r == 0 && notice_sources(conf) < 0)
        r = mgc_err_set(err, -ENOMEM, "could not store a notice");
    return r;
}

int mgc_conf_check(struct mgc_conf *conf, const struct mgc_conf_raw *raw, struct mgc_err *err)
{
    int r = mgc_conf_check_tree(conf, raw, err);

    if (r == 0)
        r = check_retention(conf, raw, err);
    for (size_t i = 0; r == 0 && i < conf->references_count; i++)
        r = check_references(conf, raw, &conf->references[i], err);
    for (size_t i = 0; r == 0 && i < conf->derived_count; i++)
        r = check_derived(conf, raw, &conf->derived[i], err);
    return r;
}
