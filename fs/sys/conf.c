/*
 * conf.c -- from a file to struct mgc_conf (conf.h): read, scan, parse, set, check.
 *
 * Defaults go through the same table as a file (conf_keys.c); a value is set once, and only what
 * passed every check leaves this folder.
 */
#include "mediagcfs/conf.h"

#include <sys/stat.h>

#include "fs/sys/conf_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

static void list_done(struct mgc_conf_list *list)
{
    /* One that could not be copied may stand behind the last. */
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

static void references_done(struct mgc_conf_references *ref)
{
    free(ref->name);
    free(ref->conninfo);
    free(ref->database);
    free(ref->command);
    list_done(&ref->columns);
    list_done(&ref->query);
    list_done(&ref->ignore);
}

void mgc_conf_free(struct mgc_conf *conf)
{
    if (conf == NULL)
        return;
    for (size_t i = 0; i < conf->references_count; i++)
        references_done(&conf->references[i]);
    free(conf->references);
    for (size_t i = 0; i < conf->derived_count; i++) {
        free(conf->derived[i].name);
        free(conf->derived[i].child);
        free(conf->derived[i].parent);
        free(conf->derived[i].scheme);
    }
    free(conf->derived);
    free(conf->file);
    free(conf->name);
    free(conf->filesystem.source);
    free(conf->filesystem.mountpoint);
    free(conf->catalog.directory);
    free(conf->catalog.group);
    list_done(&conf->catalog.uncounted);
    list_done(&conf->keep);
    free(conf->reconcile.user);
    free(conf->web.listen);
    free(conf->web.secret);
    free(conf->web.prefix);
    free(conf->web.textfile);
    free(conf->log.file);
    list_done(&conf->notices);
    free(conf);
}

void mgc_conf_raw_done(struct mgc_conf_raw *raw)
{
    for (size_t i = 0; i < raw->settings_count; i++)
        free(raw->settings[i].value);
    free(raw->settings);
    free(raw->blocks);
    *raw = (struct mgc_conf_raw){0};
}

static int no_memory(struct mgc_err *err)
{
    return mgc_err_set(err, -ENOMEM, "could not store the configuration");
}

static int defaults(struct mgc_conf *conf, struct mgc_err *err)
{
    static const char *const blocks[] = {"filesystem", "catalog", "reconcile", "quarantine",
                                         "purge",      "web",     "log"};
    int r = 0;

    conf->filesystem.allow_other = geteuid() == 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(blocks); i++)
        r = mgc_conf_set_defaults(blocks[i], conf, err);
    return r;
}

static int add_references(struct mgc_conf *conf, const struct mgc_conf_block *block,
                          struct mgc_err *err)
{
    struct mgc_conf_references *ref;

    if (conf->references_count == MGC_CONF_REFERENCES_MAX)
        return mgc_conf_fail(err, conf->file, block->line, "more than %d 'references' blocks",
                             MGC_CONF_REFERENCES_MAX);
    ref = reallocarray(conf->references, conf->references_count + 1, sizeof(*ref));
    if (ref == NULL)
        return no_memory(err);
    conf->references = ref;
    ref += conf->references_count++;
    *ref = (struct mgc_conf_references){.line = block->line};
    ref->name = strdup(block->title);
    ref->conninfo = strdup("");
    if (ref->name == NULL || ref->conninfo == NULL)
        return no_memory(err);
    return mgc_conf_set_defaults("references", ref, err);
}

static int add_derived(struct mgc_conf *conf, const struct mgc_conf_block *block,
                       struct mgc_err *err)
{
    struct mgc_conf_derived *rule;

    if (conf->derived_count == MGC_CONF_DERIVED_MAX)
        return mgc_conf_fail(err, conf->file, block->line, "more than %d 'derived' blocks",
                             MGC_CONF_DERIVED_MAX);
    rule = reallocarray(conf->derived, conf->derived_count + 1, sizeof(*rule));
    if (rule == NULL)
        return no_memory(err);
    conf->derived = rule;
    rule += conf->derived_count++;
    *rule = (struct mgc_conf_derived){.name = strdup(block->title)};
    return rule->name != NULL ? 0 : no_memory(err);
}

static int add_blocks(struct mgc_conf *conf, const struct mgc_conf_raw *raw, struct mgc_err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < raw->blocks_count; i++) {
        const struct mgc_conf_block *block = &raw->blocks[i];

        if (strcmp(block->name, "references") == 0)
            r = add_references(conf, block, err);
        else if (strcmp(block->name, "derived") == 0) {
            r = add_derived(conf, block, err);
            if (r == 0 && mgc_conf_notice(conf, "block 'derived' has no effect yet") < 0)
                r = no_memory(err);
        } else if (strcmp(block->name, "web") == 0) {
            conf->web.given = true;
            if (mgc_conf_notice(conf, "block 'web' has no effect yet") < 0)
                r = no_memory(err);
        }
    }
    return r;
}

/* The struct that the offsets of a block count from. */
static void *base_of(struct mgc_conf *conf, const struct mgc_conf_setting *s)
{
    if (strcmp(s->name, "references") == 0) {
        for (size_t i = 0; i < conf->references_count; i++)
            if (strcmp(conf->references[i].name, s->title) == 0)
                return &conf->references[i];
        return NULL;
    }
    if (strcmp(s->name, "derived") == 0) {
        for (size_t i = 0; i < conf->derived_count; i++)
            if (strcmp(conf->derived[i].name, s->title) == 0)
                return &conf->derived[i];
        return NULL;
    }
    return conf;
}

static bool is_zero_duration(const struct mgc_conf_key *key, const char *value)
{
    int64_t us;

    return (key->kind == MGC_KEY_DURATION || key->kind == MGC_KEY_WAIT ||
            key->kind == MGC_KEY_SCHEDULE || key->kind == MGC_KEY_TIMER) &&
           mgc_conf_duration(value, &us) == 0 && us == 0;
}

static int say_about(struct mgc_conf *conf, const struct mgc_conf_setting *s,
                     const struct mgc_conf_key *key, const void *base)
{
    char block[2 * MGC_CONF_WORD_BYTES + 2];
    int r = 0;

    (void)snprintf(block, sizeof(block), "%s%s%s", s->name, s->title[0] != '\0' ? " " : "",
                   s->title);
    if (mgc_conf_asks_later(key, base)) {
        if (mgc_conf_is_list(key))
            r = mgc_conf_notice(conf, "key '%s' in '%s' has no effect yet", s->key, block);
        else
            r = mgc_conf_notice(conf, "key '%s = %s' in '%s' has no effect yet", s->key,
                                MGC_SHOW(s->value), block);
    }
    if (r == 0 && is_zero_duration(key, s->value))
        r = mgc_conf_notice(conf,
                            "zero duration '%s' in '%s': good for a trial, too short for media "
                            "that matter",
                            s->key, block);
    return r;
}

static int apply(struct mgc_conf *conf, const struct mgc_conf_setting *s, struct mgc_err *err)
{
    const struct mgc_conf_key *key = mgc_conf_key_find(s->name, s->key);
    void *base = base_of(conf, s);
    struct mgc_err why = {0};
    int r;

    MGC_ASSERT(key != NULL);
    MGC_ASSERT(base != NULL);
    if (s->value[0] == '\0' && strcmp(s->key, "conninfo") != 0 && strcmp(s->key, "prefix") != 0)
        return mgc_conf_fail(err, conf->file, s->line, "key '%s' has an empty value", s->key);
    r = mgc_conf_set(key, base, s->value, &why);
    if (r < 0) {
        /* The code says "configuration" also where a file could not be read: so it is to be. */
        (void)mgc_conf_fail(err, conf->file, s->line, "key '%s' in '%s': %s", s->key, s->name,
                            why.text);
        if (why.hint[0] != '\0')
            (void)mgc_err_hint(err, "%s", why.hint);
        return MGC_E_CONFIG;
    }
    return say_about(conf, s, key, base) < 0 ? no_memory(err) : 0;
}

/* "/etc/mediagcfs/shop.conf" is "shop": the name of its catalog directory. */
static int name_from(struct mgc_conf *conf, struct mgc_err *err)
{
    const char *leaf = mgc_path_leaf(conf->file);
    size_t bytes = strlen(leaf);

    if (bytes > 5 && strcmp(leaf + bytes - 5, ".conf") == 0)
        bytes -= 5;
    conf->name = strndup(leaf, bytes);
    if (conf->name == NULL)
        return no_memory(err);
    if (leaf[0] != '.' &&
        conf->name[strspn(conf->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_.-")] == '\0')
        return 0;
    (void)mgc_conf_fail(err, conf->file, 0, "the name of this file cannot name a catalog");
    (void)mgc_err_hint(err, "Use letters, digits and _ . - as in shop.conf.");
    return MGC_E_CONFIG;
}

static int read_into(struct mgc_conf *conf, struct mgc_conf_raw *raw, struct mgc_err *err)
{
    mgc_autobuf text = {0}, clean = {0};
    struct stat s;
    int r = mgc_conf_read_file(conf->file, MGC_CONF_TEXT_BYTES_MAX, &text, err);

    if (r < 0)
        return r;
    /* It names a command that runs with our rights. */
    if (stat(conf->file, &s) == 0 && (s.st_mode & S_IWOTH) != 0) {
        (void)mgc_conf_fail(err, conf->file, 0, "everybody may write this file");
        (void)mgc_err_hint(err, "Run `chmod o-w %s`.", MGC_SHOW(conf->file));
        return MGC_E_CONFIG;
    }
    r = mgc_conf_scan_text(raw, text.data, text.bytes, &clean, err);
    if (r == 0)
        r = mgc_conf_parse(raw, clean.data, err);
    if (r == 0)
        r = add_blocks(conf, raw, err);
    for (size_t i = 0; r == 0 && i < raw->settings_count; i++)
        r = apply(conf, &raw->settings[i], err);
    return r;
}

/* Source and mount point as the kernel will know them. */
static int follow_links(struct mgc_conf *conf, struct mgc_err *err)
{
    char **const paths[] = {&conf->filesystem.source, &conf->filesystem.mountpoint};

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        int r = *paths[i] != NULL ? mgc_conf_follow(paths[i]) : 0;

        if (r < 0)
            return mgc_err_set(err, r, "could not follow link '%s'", MGC_SHOW(*paths[i]));
    }
    return 0;
}

int mgc_conf_load(const char *path, struct mgc_conf **ret_conf, struct mgc_err *err)
{
    struct mgc_conf *conf = calloc(1, sizeof(*conf));
    struct mgc_conf_raw raw = {0};
    int r;

    if (conf == NULL)
        return no_memory(err);
    conf->file = realpath(path, NULL);
    if (conf->file == NULL)
        r = mgc_err_set(err, -errno, "could not open configuration '%s'", MGC_SHOW(path));
    else {
        raw.file = conf->file;
        r = name_from(conf, err);
    }
    if (r == 0)
        r = defaults(conf, err);
    if (r == 0)
        r = read_into(conf, &raw, err);
    if (r == 0)
        r = mgc_conf_check(conf, &raw, err);
    if (r == 0)
        r = follow_links(conf, err);
    mgc_conf_raw_done(&raw);
    if (r < 0) {
        mgc_conf_free(conf);
        return r;
    }
    *ret_conf = conf;
    return 0;
}

static int set_tree(struct mgc_conf *conf, const char *source, const char *mountpoint,
                    struct mgc_err *err)
{
    char *from = NULL, *to = NULL;
    int r = mgc_conf_clean_path(source, &from, err);

    if (r == 0)
        r = mgc_conf_clean_path(mountpoint != NULL ? mountpoint : source, &to, err);
    if (r < 0) {
        free(from);
        return r;
    }
    free(conf->filesystem.source);
    free(conf->filesystem.mountpoint);
    conf->filesystem.source = from;
    conf->filesystem.mountpoint = to;
    return 0;
}

int mgc_conf_default(const char *name, const char *source, const char *mountpoint,
                     struct mgc_conf **ret_conf, struct mgc_err *err)
{
    struct mgc_conf *conf = calloc(1, sizeof(*conf));
    int r;

    if (conf == NULL)
        return no_memory(err);
    conf->file = strdup("");
    conf->name = strdup(name);
    r = conf->file == NULL || conf->name == NULL ? no_memory(err) : defaults(conf, err);
    if (r == 0)
        r = set_tree(conf, source, mountpoint, err);
    /* No tree: only the places are wanted. */
    if (r == 0)
        r = strcmp(source, "/") == 0 ? mgc_conf_fill_places(conf, err)
                                     : mgc_conf_check_tree(conf, NULL, err);
    if (r == 0)
        r = follow_links(conf, err);
    if (r < 0) {
        mgc_conf_free(conf);
        return r;
    }
    *ret_conf = conf;
    return 0;
}

int mgc_conf_mount_at(struct mgc_conf *conf, const char *source, const char *mountpoint,
                      struct mgc_err *err)
{
    int r = set_tree(conf, source, mountpoint, err);

    if (r == 0)
        r = mgc_conf_check_tree(conf, NULL, err);
    return r < 0 ? r : follow_links(conf, err);
}
