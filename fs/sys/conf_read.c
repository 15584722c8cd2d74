/*
 * conf_read.c -- libconfuse over the text of conf_text.c: what stands where, as text.
 *
 * Every key is declared as a string (or list of strings) without default; its value callback notes
 * block, key, value and line.  What the value means is decided later, so that one table serves
 * files and defaults alike.
 */
#include <confuse.h>
#include <libintl.h>
#include <pthread.h>
#include <stdarg.h>

#include "fs/sys/conf_priv.h"

enum { BLOCKS = 16, KEYS = 96 };

/* libconfuse's scanner is one per process and its callbacks have no argument of ours. */
static pthread_mutex_t reading = PTHREAD_MUTEX_INITIALIZER;
static struct mgc_conf_raw *current; /* protected by `reading` */
static struct mgc_err *current_err;  /* the same; always set */

static void MGC_PRINTF(2, 0) on_error(cfg_t *cfg, const char *format, va_list args)
{
    const char *block = cfg->name != NULL && strcmp(cfg->name, "root") != 0 ? cfg->name : NULL;
    char text[MGC_ERR_TEXT_BYTES / 2];
    const char *key;

    if (current_err->code != 0) /* the first one is the cause */
        return;
    if (strcmp(format, dgettext("confuse", "no such option '%s'")) != 0) {
        (void)vsnprintf(text, sizeof(text), format, args);
        (void)mgc_conf_fail(current_err, current->file, cfg->line, "%s", MGC_SHOW(text));
        return;
    }
    key = va_arg(args, const char *);
    if (block == NULL)
        (void)mgc_conf_fail(current_err, current->file, cfg->line,
                            "key '%s' stands outside every block", MGC_SHOW(key));
    else
        (void)mgc_conf_fail(current_err, current->file, cfg->line, "unknown key '%s' in '%s'",
                            MGC_SHOW(key), block);
    mgc_conf_suggest(block != NULL ? block : key, block != NULL ? key : NULL, current_err);
}

static bool noted(const cfg_t *cfg, const char *title, const char *key)
{
    for (size_t i = 0; i < current->settings_count; i++) {
        const struct mgc_conf_setting *s = &current->settings[i];

        if (strcmp(s->name, cfg->name) == 0 && strcmp(s->title, title) == 0 &&
            strcmp(s->key, key) == 0)
            return true;
    }
    return false;
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
    const char *title = cfg->title != NULL ? cfg->title : "";
    const struct mgc_conf_key *key = mgc_conf_key_find(cfg->name, opt->name);
    struct mgc_conf_setting *s;

    if (key == NULL || value == NULL) {
        (void)mgc_conf_fail(current_err, current->file, cfg->line, "'%s' has no meaning here",
                            opt->name);
        return -1;
    }
    /* nvalues is 1 for the first value of every assignment. */
    if (cfg_opt_size(opt) <= 1 && noted(cfg, title, opt->name)) {
        (void)mgc_conf_fail(current_err, current->file, cfg->line, "key '%s' is given twice",
                            opt->name);
        (void)mgc_err_hint(current_err, "Several values of a list stand in one pair of braces.");
        return -1;
    }
    if (current->settings_count == MGC_CONF_SETTINGS_MAX) {
        (void)mgc_conf_fail(current_err, current->file, cfg->line, "too many values");
        return -1;
    }
    s = reallocarray(current->settings, current->settings_count + 1, sizeof(*s));
    if (s == NULL)
        return -1;
    current->settings = s;
    s += current->settings_count;
    *s = (struct mgc_conf_setting){.key = key->key, .value = strdup(value), .line = cfg->line};
    if (s->value == NULL)
        return -1;
    (void)snprintf(s->name, sizeof(s->name), "%s", cfg->name);
    (void)snprintf(s->title, sizeof(s->title), "%s", title);
    current->settings_count++;
    *(const char **)result = value; /* libconfuse wants to keep something */
    return 0;
}

/* Options for libconfuse, made from the table. */
struct options {
    cfg_opt_t blocks[BLOCKS + 1];
    cfg_opt_t keys[KEYS + BLOCKS + 1]; /* the keys of each block, each run ended by CFG_END */
};

static void make_options(struct options *o)
{
    const cfg_opt_t end = CFG_END();
    size_t block = 0, used = 0;

    for (size_t i = 0; i < mgc_conf_keys_count;) {
        const char *name = mgc_conf_keys[i].block;
        cfg_opt_t *first = &o->keys[used];
        const cfg_opt_t plain = CFG_SEC(name, first, CFGF_NONE);
        const cfg_opt_t titled =
            CFG_SEC(name, first, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES);

        for (; i < mgc_conf_keys_count && strcmp(mgc_conf_keys[i].block, name) == 0; i++) {
            const char *key = mgc_conf_keys[i].key;
            const cfg_opt_t one = CFG_STR_CB(key, NULL, CFGF_NODEFAULT, on_value);
            const cfg_opt_t list = CFG_STR_LIST_CB(key, NULL, CFGF_NODEFAULT, on_value);

            o->keys[used++] = mgc_conf_is_list(&mgc_conf_keys[i]) ? list : one;
        }
        o->keys[used++] = end;
        o->blocks[block++] = mgc_conf_is_titled(name) ? titled : plain;
    }
    o->blocks[block] = end;
}

int mgc_conf_parse(struct mgc_conf_raw *raw, const char *text, struct mgc_err *err)
{
    struct mgc_err found = {0};
    struct options options;
    cfg_t *cfg;
    int r = -ENOMEM;

    make_options(&options);
    (void)pthread_mutex_lock(&reading);
    current = raw;
    current_err = &found;
    cfg = cfg_init(options.blocks, CFGF_NONE);
    if (cfg != NULL) {
        (void)cfg_set_error_function(cfg, on_error);
        r = cfg_parse_buf(cfg, text);
        (void)cfg_free(cfg);
    }
    current = NULL;
    current_err = NULL;
    (void)pthread_mutex_unlock(&reading);
    if (found.code != 0) {
        mgc_err_copy(err, &found);
        return found.code;
    }
    return r == CFG_SUCCESS ? 0
                            : mgc_err_set(err, -ENOMEM, "could not read configuration '%s'",
                                          MGC_SHOW(raw->file));
}
