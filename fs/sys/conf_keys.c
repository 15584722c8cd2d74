/*
 * conf_keys.c -- the table of every key, and how its text becomes a value.
 *
 * A new key is a row here, a member of struct mgc_conf, a line of mediagcfs.conf (the test compares
 * its default with the table).
 */
#include "fs/sys/conf_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)
#define YEAR (365 * 24 * HOUR)
#define IN(member) offsetof(struct mgc_conf, member)
#define REF(member) offsetof(struct mgc_conf_references, member)
#define DER(member) offsetof(struct mgc_conf_derived, member)
#define SWITCHES "off|on|auto" /* enum mgc_conf_switch */
#define MODES "shadow|apply"   /* enum mgc_conf_mode */

_Static_assert(MGC_SWITCH_OFF == 0 && MGC_SWITCH_ON == 1 && MGC_SWITCH_AUTO == 2, "order of words");
_Static_assert(sizeof(enum mgc_conf_switch) == sizeof(int), "words are stored as int");

// clang-format off
const struct mgc_conf_key mgc_conf_keys[] = {
    {"filesystem", "source",      MGC_KEY_PATH, IN(filesystem.source),      NULL, NULL, 0, 0, false},
    {"filesystem", "mountpoint",  MGC_KEY_PATH, IN(filesystem.mountpoint),  NULL, NULL, 0, 0, false},
    {"filesystem", "allow_other", MGC_KEY_BOOL, IN(filesystem.allow_other), NULL, NULL, 0, 0, false},
    {"filesystem", "passthrough", MGC_KEY_WORD, IN(filesystem.passthrough), "auto", "off||auto", 0, 0, false},
    {"filesystem", "io_uring",    MGC_KEY_WORD, IN(filesystem.io_uring),    "auto", "off||auto", 0, 0, true},
    {"filesystem", "xattr",       MGC_KEY_WORD, IN(filesystem.xattr),       "auto", SWITCHES, 0, 0, true},
    {"filesystem", "cache_for",   MGC_KEY_WAIT, IN(filesystem.cache_for_us), "24h", NULL, 0, YEAR, false},

    {"catalog", "directory",       MGC_KEY_PATH,     IN(catalog.directory),          NULL, NULL, 0, 0, false},
    {"catalog", "commit_every",    MGC_KEY_DURATION, IN(catalog.commit_every_us),    "1s", NULL, 0, HOUR, false},
    {"catalog", "open_resolution", MGC_KEY_DURATION, IN(catalog.open_resolution_us), "1h", NULL, 0, YEAR, false},
    {"catalog", "uncounted",       MGC_KEY_LIST,     IN(catalog.uncounted),          NULL, NULL, 0, 0, true},
    {"catalog", "group",           MGC_KEY_TEXT,     IN(catalog.group),              NULL, NULL, 0, 0, true},

    {"references", "type",          MGC_KEY_WORD,      REF(type),          NULL, "postgresql|sqlite|command", 0, 0, false},
    {"references", "conninfo",      MGC_KEY_TEXT,      REF(conninfo),      NULL, NULL, 0, 0, false},
    {"references", "database",      MGC_KEY_PATH,      REF(database),      NULL, NULL, 0, 0, false},
    {"references", "command",       MGC_KEY_TEXT,      REF(command),       NULL, NULL, 0, 0, false},
    {"references", "format",        MGC_KEY_WORD_BOOL, REF(format_nul),    "lines", "lines|nul", 0, 0, false},
    {"references", "scan",          MGC_KEY_WORD,      REF(scan),          "everything", "everything|columns", 0, 0, false},
    {"references", "columns",       MGC_KEY_COLUMNS,   REF(columns),       NULL, NULL, 0, 0, false},
    {"references", "query",         MGC_KEY_QUERIES,   REF(query),         NULL, NULL, 0, 0, false},
    {"references", "ignore",        MGC_KEY_TABLES,    REF(ignore),        NULL, NULL, 0, 0, false},
    {"references", "binary",        MGC_KEY_BOOL,      REF(binary),        "on", NULL, 0, 0, false},
    {"references", "large_objects", MGC_KEY_BOOL,      REF(large_objects), "off", NULL, 0, 0, true},
    {"references", "timeout",       MGC_KEY_DURATION,  REF(timeout_us),    "2h", NULL, 0, 0, false},
    {"references", "jobs",          MGC_KEY_COUNT,     REF(jobs),          "1", NULL, 1, 64, true},

    {"keep", "pattern", MGC_KEY_GLOBS, IN(keep), NULL, NULL, 0, 0, false},

    {"derived", "child",  MGC_KEY_TEXT, DER(child),  NULL, NULL, 0, 0, false},
    {"derived", "parent", MGC_KEY_TEXT, DER(parent), NULL, NULL, 0, 0, false},
    {"derived", "scheme", MGC_KEY_TEXT, DER(scheme), NULL, NULL, 0, 0, false},

    {"reconcile", "mode",          MGC_KEY_WORD,     IN(reconcile.mode),            "shadow", MODES, 0, 0, false},
    {"reconcile", "every",         MGC_KEY_SCHEDULE, IN(reconcile.every_us),        "6h", NULL, 0, 0, true},
    {"reconcile", "grace",         MGC_KEY_DURATION, IN(reconcile.grace_us),        "24h", NULL, 0, 0, false},
    {"reconcile", "confirmations", MGC_KEY_COUNT,    IN(reconcile.confirmations),   "2", NULL, 1, 1000, false},
    {"reconcile", "confirm_over",  MGC_KEY_WAIT,     IN(reconcile.confirm_over_us), "12h", NULL, 0, 0, false},
    {"reconcile", "hot_for",       MGC_KEY_WAIT,     IN(reconcile.hot_for_us),      "7d", NULL, 0, 0, false},
    {"reconcile", "max_files",     MGC_KEY_LIMIT,    IN(reconcile.max_files),       "10000", NULL, 0, INT64_MAX, false},
    {"reconcile", "max_bytes",     MGC_KEY_SIZE,     IN(reconcile.max_bytes),       "off", NULL, 0, 0, false},
    {"reconcile", "max_share",     MGC_KEY_SHARE,    IN(reconcile.max_share),       "10%", NULL, 0, 0, false},
    {"reconcile", "max_fall",      MGC_KEY_SHARE,    IN(reconcile.max_fall),        "20%", NULL, 0, 0, false},
    {"reconcile", "control",       MGC_KEY_SHARE,    IN(reconcile.control_share),   "50%", NULL, 0, 0, false},
    {"reconcile", "fence_for",     MGC_KEY_WAIT,     IN(reconcile.fence_for_us),    "60s", NULL, 0, 24 * HOUR, false},
    {"reconcile", "memory",        MGC_KEY_MEMORY,   IN(reconcile.memory_bytes),    "auto", NULL, INT64_C(1) << 20, INT64_MAX, true},
    {"reconcile", "user",          MGC_KEY_TEXT,     IN(reconcile.user),            NULL, NULL, 0, 0, false},
    {"reconcile", "settle",        MGC_KEY_DURATION, IN(reconcile.settle_us),       "1m", NULL, 0, 0, true},

    {"quarantine", "retention",         MGC_KEY_DURATION, IN(quarantine.retention_us),         "30d", NULL, 0, 0, false},
    {"quarantine", "min_retention",     MGC_KEY_DURATION, IN(quarantine.min_retention_us),     "7d", NULL, 0, 0, false},
    {"quarantine", "max_bytes",         MGC_KEY_SIZE,     IN(quarantine.max_bytes),            "off", NULL, 0, 0, true},
    {"quarantine", "keep_deleted",      MGC_KEY_BOOL,     IN(quarantine.keep_deleted),         "no", NULL, 0, 0, true},
    {"quarantine", "deleted_retention", MGC_KEY_DURATION, IN(quarantine.deleted_retention_us), "7d", NULL, 0, 0, true},
    {"quarantine", "temporary_for",     MGC_KEY_WAIT,     IN(quarantine.temporary_for_us),     "10m", NULL, 0, 0, true},
    {"quarantine", "low_space",         MGC_KEY_LEVEL,    IN(quarantine.low_space_share),      "5%", NULL, 0, 0, true},
    {"quarantine", "heal",              MGC_KEY_WORD,     IN(quarantine.heal),                 "restore", "restore|serve|report|off", 0, 0, true},

    {"purge", "mode",  MGC_KEY_WORD,  IN(purge.mode),     "shadow", MODES, 0, 0, false},
    {"purge", "every", MGC_KEY_TIMER, IN(purge.every_us), "24h", NULL, 0, 0, false},
    {"purge", "rate",  MGC_KEY_LIMIT, IN(purge.rate),     "off", NULL, 1, 1000000, true},

    {"web", "listen",    MGC_KEY_TEXT,   IN(web.listen),    "127.0.0.1:8420", NULL, 0, 0, false},
    {"web", "secret",    MGC_KEY_SECRET, IN(web.secret),    NULL, NULL, 0, 0, false},
    {"web", "prefix",    MGC_KEY_TEXT,   IN(web.prefix),    NULL, NULL, 0, 0, false},
    {"web", "read_only", MGC_KEY_BOOL,   IN(web.read_only), "no", NULL, 0, 0, false},
    {"web", "textfile",  MGC_KEY_PATH,   IN(web.textfile),  NULL, NULL, 0, 0, false},

    {"log", "file",  MGC_KEY_PATH, IN(log.file),  NULL, NULL, 0, 0, false},
    {"log", "level", MGC_KEY_WORD, IN(log.level), "info", "error|warning|info|debug", 0, 0, false},
};
// clang-format on
const size_t mgc_conf_keys_count = ARRAY_SIZE(mgc_conf_keys);

const struct mgc_conf_key *mgc_conf_key_find(const char *block, const char *key)
{
    for (size_t i = 0; i < ARRAY_SIZE(mgc_conf_keys); i++)
        if (strcmp(mgc_conf_keys[i].block, block) == 0 && strcmp(mgc_conf_keys[i].key, key) == 0)
            return &mgc_conf_keys[i];
    return NULL;
}

bool mgc_conf_is_block(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(mgc_conf_keys); i++)
        if (strcmp(mgc_conf_keys[i].block, name) == 0)
            return true;
    return false;
}

bool mgc_conf_is_titled(const char *block)
{
    return strcmp(block, "references") == 0 || strcmp(block, "derived") == 0;
}

bool mgc_conf_is_list(const struct mgc_conf_key *key)
{
    return key->kind >= MGC_KEY_LIST;
}

/* The member of the struct a key stands for; the kind says what it is. */
static void *member(const struct mgc_conf_key *key, void *base)
{
    return (char *)base + key->offset;
}

static int expected(struct mgc_err *err, const char *value, const char *what)
{
    return mgc_err_say(err, MGC_E_CONFIG, "'%s' is not %s", MGC_SHOW(value), what);
}

static int too_large(struct mgc_err *err, const char *value)
{
    return mgc_err_say(err, MGC_E_CONFIG, "'%s' is out of range", MGC_SHOW(value));
}

static int set_bool(bool *out, const char *value, struct mgc_err *err)
{
    static const char *const words[] = {"no", "yes", "off", "on", "false", "true"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(value, words[i]) == 0) {
            *out = i % 2 == 1;
            return 0;
        }
    return expected(err, value, "yes or no");
}

/* Position of the value among the words, which is the value of the enumeration. */
static int set_word(const struct mgc_conf_key *key, const char *value, int *ret_index,
                    struct mgc_err *err)
{
    size_t bytes = strlen(value), length;
    char list[128] = "";
    int index = 0;

    for (const char *p = key->words;; p += length + 1, index++) {
        length = strcspn(p, "|");
        if (length > 0 && length == bytes && strncmp(p, value, bytes) == 0) {
            *ret_index = index;
            return 0;
        }
        if (length > 0) {
            size_t used = strlen(list);

            (void)snprintf(list + used, sizeof(list) - used, "%s%.*s", used > 0 ? ", " : "",
                           (int)length, p);
        }
        if (p[length] == '\0')
            break;
    }
    (void)mgc_err_say(err, MGC_E_CONFIG, "'%s' is not possible here", MGC_SHOW(value));
    (void)mgc_err_hint(err, "Possible: %s.", list);
    return MGC_E_CONFIG;
}

static int in_range(const struct mgc_conf_key *key, int64_t number, const char *value,
                    struct mgc_err *err)
{
    if (key->most != 0 && (number < key->least || number > key->most))
        return too_large(err, value);
    return 0;
}

static int set_duration(const struct mgc_conf_key *key, int64_t *out, const char *value,
                        struct mgc_err *err)
{
    int64_t us;
    int r;

    if (strcmp(value, "off") == 0 && key->kind != MGC_KEY_DURATION) {
        *out = key->kind == MGC_KEY_WAIT ? 0 : MGC_CONF_OFF;
        return 0;
    }
    if (strcmp(value, "feed") == 0 && key->kind == MGC_KEY_SCHEDULE) {
        *out = MGC_CONF_FEED;
        return 0;
    }
    r = mgc_conf_duration(value, &us);
    if (r == -ERANGE)
        return too_large(err, value);
    if (r < 0) {
        (void)expected(err, value, "a duration");
        (void)mgc_err_hint(err, "Write 200ms, 30s, 15m, 24h or 30d%s.",
                           key->kind == MGC_KEY_DURATION   ? ""
                           : key->kind == MGC_KEY_SCHEDULE ? ", `off` or `feed`"
                                                           : ", or `off`");
        return MGC_E_CONFIG;
    }
    r = in_range(key, us, value, err);
    if (r == 0)
        *out = us;
    return r;
}

static int set_count(const struct mgc_conf_key *key, int64_t *out, const char *value,
                     struct mgc_err *err)
{
    size_t digits = strspn(value, "0123456789");
    int64_t number;
    int r;

    if (strcmp(value, "off") == 0 && key->kind == MGC_KEY_LIMIT) {
        *out = MGC_CONF_OFF;
        return 0;
    }
    if (digits == 0 || value[digits] != '\0')
        return expected(err, value, key->kind == MGC_KEY_LIMIT ? "a number or `off`" : "a number");
    errno = 0;
    number = strtoll(value, NULL, 10);
    if (errno != 0)
        return too_large(err, value);
    r = in_range(key, number, value, err);
    if (r == 0)
        *out = number;
    return r;
}

static int set_size(const struct mgc_conf_key *key, int64_t *out, const char *value,
                    struct mgc_err *err)
{
    const char *word = key->kind == MGC_KEY_MEMORY ? "auto" : "off";
    int64_t bytes;
    int r;

    if (strcmp(value, word) == 0) {
        *out = key->kind == MGC_KEY_MEMORY ? MGC_CONF_AUTO : MGC_CONF_OFF;
        return 0;
    }
    r = mgc_conf_size(value, &bytes);
    if (r == -ERANGE)
        return too_large(err, value);
    if (r < 0) {
        (void)expected(err, value, "a size");
        (void)mgc_err_hint(err, "Write 64K, 200M, 10G or `%s`.", word);
        return MGC_E_CONFIG;
    }
    r = in_range(key, bytes, value, err);
    if (r == 0)
        *out = bytes;
    return r;
}

static int set_share(const struct mgc_conf_key *key, double *out, const char *value,
                     struct mgc_err *err)
{
    int r;

    if (strcmp(value, "off") == 0) {
        *out = key->kind == MGC_KEY_LEVEL ? 0 : -1;
        return 0;
    }
    r = mgc_conf_share(value, out);
    if (r == -ERANGE)
        return too_large(err, value);
    if (r == 0)
        return 0;
    (void)expected(err, value, "a share");
    (void)mgc_err_hint(err, "Write 10%%, 0.1 or `off`.");
    return MGC_E_CONFIG;
}

static int replace(char **out, char *text, struct mgc_err *err)
{
    if (text == NULL)
        return mgc_err_set(err, -ENOMEM, "could not store a value");
    free(*out);
    *out = text;
    return 0;
}

/* Contents of the file that "@/path" names, without the white space at its end. */
static int read_at(const char *value, char **ret_text, struct mgc_err *err)
{
    mgc_autobuf text = {0};
    int r;

    if (value[1] != '/') {
        (void)expected(err, value + 1, "an absolute path");
        (void)mgc_err_hint(err, "Write @/etc/... with the whole path.");
        return MGC_E_CONFIG;
    }
    r = mgc_conf_read_file(value + 1, MGC_CONF_FILE_BYTES_MAX, &text, err);
    if (r < 0)
        return r;
    while (text.bytes > 0 && strchr(" \t\r\n", text.data[text.bytes - 1]) != NULL)
        text.data[--text.bytes] = '\0';
    if (text.bytes == 0)
        return mgc_err_say(err, MGC_E_CONFIG, "file '%s' is empty", MGC_SHOW(value + 1));
    *ret_text = text.data;
    text = (struct mgc_buf){0};
    return 0;
}

static int set_text(const struct mgc_conf_key *key, char **out, const char *value,
                    struct mgc_err *err)
{
    char *text = NULL;
    int r = 0;

    if (key->kind == MGC_KEY_PATH)
        r = mgc_conf_clean_path(value, &text, err);
    else if (key->kind == MGC_KEY_SECRET && value[0] == '@') {
        r = read_at(value, &text, err);
        /* Only the web page needs it, and it may be for nobody else to read. */
        if (r == -EACCES)
            return 0;
    } else
        text = strdup(value);
    return r < 0 ? r : replace(out, text, err);
}

/* "table.column" or "schema.table.column"; a table: without the column. */
static bool dotted(const char *value, int least_dots, int most_dots)
{
    int dots = 0;

    for (const char *p = value; *p != '\0'; p++)
        if (*p == '.') {
            if (p == value || p[1] == '.' || p[1] == '\0')
                return false;
            dots++;
        }
    return value[0] != '\0' && dots >= least_dots && dots <= most_dots;
}

int mgc_conf_list_add(struct mgc_conf_list *list, const char *text)
{
    char **items, *copy;

    if (list->count >= MGC_CONF_LIST_MAX)
        return MGC_E_LIMIT;
    items = reallocarray(list->items, list->count + 2, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    list->items = items;
    copy = strdup(text);
    items[list->count] = copy;
    if (copy == NULL)
        return -ENOMEM;
    items[++list->count] = NULL;
    return 0;
}

static int add(const struct mgc_conf_key *key, struct mgc_conf_list *list, const char *value,
               struct mgc_err *err)
{
    mgc_autofree char *text = NULL;
    int r = 0;

    if (value[0] == '\0')
        return mgc_err_say(err, MGC_E_CONFIG, "'%s' has an empty value", key->key);
    if (key->kind == MGC_KEY_GLOBS && mgc_glob_check(value) < 0)
        return expected(err, value, "a pattern: a class or backslash is not finished");
    if (key->kind == MGC_KEY_GLOBS && value[strlen(value) - 1] == '/') {
        (void)expected(err, value, "a pattern for files: it ends with '/'");
        (void)mgc_err_hint(err, "Add ** for everything beneath.");
        return MGC_E_CONFIG;
    }
    if (key->kind == MGC_KEY_COLUMNS && !dotted(value, 1, 2))
        return expected(err, value, "table.column or schema.table.column");
    if (key->kind == MGC_KEY_TABLES && !dotted(value, 0, 1))
        return expected(err, value, "a table or schema.table");
    if (key->kind == MGC_KEY_QUERIES && value[0] == '@')
        r = read_at(value, &text, err);
    if (r < 0)
        return r;
    r = mgc_conf_list_add(list, text != NULL ? text : value);
    return r < 0 ? mgc_err_set(err, r, "could not store a value") : 0;
}

int mgc_conf_set(const struct mgc_conf_key *key, void *base, const char *value, struct mgc_err *err)
{
    void *out = member(key, base);
    int index, r;

    switch (key->kind) {
    case MGC_KEY_BOOL:
        return set_bool(out, value, err);
    case MGC_KEY_WORD:
    case MGC_KEY_WORD_BOOL:
        r = set_word(key, value, &index, err);
        if (r == 0 && key->kind == MGC_KEY_WORD)
            memcpy(out, &index, sizeof(index));
        else if (r == 0)
            *(bool *)out = index == 1;
        return r;
    case MGC_KEY_DURATION:
    case MGC_KEY_WAIT:
    case MGC_KEY_SCHEDULE:
    case MGC_KEY_TIMER:
        return set_duration(key, out, value, err);
    case MGC_KEY_COUNT:
    case MGC_KEY_LIMIT:
        return set_count(key, out, value, err);
    case MGC_KEY_SIZE:
    case MGC_KEY_MEMORY:
        return set_size(key, out, value, err);
    case MGC_KEY_SHARE:
    case MGC_KEY_LEVEL:
        return set_share(key, out, value, err);
    case MGC_KEY_PATH:
    case MGC_KEY_TEXT:
    case MGC_KEY_SECRET:
        return set_text(key, out, value, err);
    case MGC_KEY_LIST:
    case MGC_KEY_QUERIES:
    case MGC_KEY_GLOBS:
    case MGC_KEY_COLUMNS:
    case MGC_KEY_TABLES:
        return add(key, out, value, err);
    }
    MGC_ASSERT(false);
    return MGC_E_CONFIG;
}

int mgc_conf_set_defaults(const char *block, void *base, struct mgc_err *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(mgc_conf_keys); i++) {
        const struct mgc_conf_key *key = &mgc_conf_keys[i];
        int r;

        if (key->standard == NULL || strcmp(key->block, block) != 0)
            continue;
        r = mgc_conf_set(key, base, key->standard, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* What is asked for and is done already needs no word: `io_uring = off`, `every = 6h`. */
bool mgc_conf_asks_later(const struct mgc_conf_key *key, const void *base)
{
    const void *value = (const char *)base + key->offset;
    int64_t number;
    int word;

    if (!key->later)
        return false;
    switch (key->kind) {
    case MGC_KEY_BOOL:
        return *(const bool *)value;
    case MGC_KEY_WORD:
        memcpy(&word, value, sizeof(word));
        if (key->offset == IN(filesystem.xattr))
            return word != MGC_SWITCH_AUTO;
        return key->offset == IN(quarantine.heal) ? word != MGC_HEAL_OFF : word != MGC_SWITCH_OFF;
    case MGC_KEY_SCHEDULE:
        memcpy(&number, value, sizeof(number));
        return number == MGC_CONF_FEED;
    case MGC_KEY_COUNT:
        memcpy(&number, value, sizeof(number));
        return number > 1;
    case MGC_KEY_LIMIT:
    case MGC_KEY_SIZE:
        memcpy(&number, value, sizeof(number));
        return number != MGC_CONF_OFF;
    case MGC_KEY_MEMORY:
        memcpy(&number, value, sizeof(number));
        return number != MGC_CONF_AUTO;
    default:
        return true;
    }
}
