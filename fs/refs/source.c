/*
 * source.c -- makes sources, and what all kinds share.
 *
 * Nothing here contacts anything.  The table of default classes is the one place that knows the
 * names of other people's tables.
 */
#include "mediagcfs/source.h"

#include "fs/refs/source_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/os.h"

/* Ignored by default (weak): a path in a session or log entry is no use of the file, but its file
 * is not purged while it stands there.  Registries stay strong until a derived rule covers them. */
// clang-format off
static const struct {
    const char *table;
    enum mgc_table_class class;
} class_rules[] = {
    {"django_session",            MGC_TABLE_SESSIONS},
    {"django_admin_log",          MGC_TABLE_LOG},
    {"easy_thumbnails_source",    MGC_TABLE_REGISTRY},
    {"easy_thumbnails_thumbnail", MGC_TABLE_REGISTRY},
    {"thumbnail_kvstore",         MGC_TABLE_REGISTRY},
};
// clang-format on

enum mgc_table_class mgc_source_table_class(const char *table)
{
    for (size_t i = 0; i < ARRAY_SIZE(class_rules); i++)
        if (strcmp(class_rules[i].table, table) == 0)
            return class_rules[i].class;
    return MGC_TABLE_ORDINARY;
}

bool mgc_source_class_weak(enum mgc_table_class class)
{
    return class == MGC_TABLE_SESSIONS || class == MGC_TABLE_LOG;
}

int mgc_source_new(const struct mgc_conf_references *conf, struct mgc_source **ret,
                   struct mgc_err *err)
{
    switch (conf->type) {
    case MGC_TYPE_POSTGRESQL:
        return mgc_source_postgres_new(conf, ret, err);
    case MGC_TYPE_SQLITE:
        return mgc_source_sqlite_new(conf, ret, err);
    case MGC_TYPE_COMMAND:
        return mgc_source_command_new(conf, ret, err);
    }
    return mgc_err_say(err, MGC_E_CONFIG, "could not make source '%s': unknown type", conf->name);
}

void mgc_source_free(struct mgc_source *s)
{
    if (s != NULL)
        s->ops->free(s);
}

void mgc_source_view_done(struct mgc_source_view *view)
{
    free(view->fence);
    free(view->identity);
    free(view->position);
    *view = (struct mgc_source_view){0};
}

int mgc_source_left_ms(int64_t deadline_us, int most)
{
    int64_t left;

    if (deadline_us == 0)
        return most;
    left = (deadline_us - mgc_monotonic_us() + 999) / 1000;
    if (left <= 0)
        return 0;
    return left < most ? (int)left : most;
}

bool mgc_source_past(int64_t deadline_us)
{
    return deadline_us != 0 && mgc_monotonic_us() >= deadline_us;
}

int64_t mgc_source_sooner(int64_t deadline_us, int64_t span_us)
{
    int64_t own = mgc_monotonic_us() + span_us;

    return deadline_us != 0 && deadline_us < own ? deadline_us : own;
}

/* One line of `names` against a listed name: the whole, or what follows its schema. */
static bool name_means(const char *listed, const char *line, size_t bytes)
{
    const char *dot = memchr(line, '.', bytes);
    size_t listed_bytes = strlen(listed);

    if (listed_bytes == bytes && memcmp(listed, line, bytes) == 0)
        return true;
    if (dot == NULL)
        return false;
    bytes -= (size_t)(dot + 1 - line);
    return listed_bytes == bytes && memcmp(listed, dot + 1, bytes) == 0;
}

static bool any_name_means(const char *listed, const char *names)
{
    while (*names != '\0') {
        size_t bytes = strcspn(names, "\n");

        if (name_means(listed, names, bytes))
            return true;
        names += bytes;
        if (*names == '\n')
            names++;
    }
    return false;
}

bool mgc_source_listed(const struct mgc_conf_list *list, const char *names)
{
    for (size_t i = 0; i < list->count; i++)
        if (any_name_means(list->items[i], names))
            return true;
    return false;
}

bool mgc_source_column_listed(const char *const *list, size_t count, const char *names,
                              const char *column)
{
    size_t column_bytes = strlen(column);

    for (size_t i = 0; i < count; i++) {
        size_t bytes = strlen(list[i]);
        char table[512];

        if (bytes < column_bytes + 2 || bytes - column_bytes > sizeof(table) ||
            list[i][bytes - column_bytes - 1] != '.' ||
            strcmp(list[i] + bytes - column_bytes, column) != 0)
            continue;
        (void)snprintf(table, sizeof(table), "%.*s", (int)(bytes - column_bytes - 1), list[i]);
        if (any_name_means(table, names))
            return true;
    }
    return false;
}

void mgc_covered_done(struct mgc_covered *c)
{
    for (size_t i = 0; i < c->count; i++)
        free(c->names[i]);
    free(c->names);
    *c = (struct mgc_covered){0};
}

void mgc_covered_add(struct mgc_covered *c, const char *table, const char *column)
{
    mgc_autobuf text = {0};

    if (c->count == c->capacity) {
        size_t capacity = c->capacity == 0 ? 64 : c->capacity * 2;
        char **names = realloc(c->names, capacity * sizeof(*names));

        if (names == NULL) {
            c->failed = true;
            return;
        }
        c->names = names;
        c->capacity = capacity;
    }
    mgc_buf_adds(&text, table);
    if (column[0] != '\0') {
        mgc_buf_addc(&text, '.');
        mgc_buf_adds(&text, column);
    }
    if (text.failed || text.data == NULL) {
        c->failed = true;
        return;
    }
    c->names[c->count++] = mgc_steal(text.data);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *mgc_covered_json(struct mgc_covered *c)
{
    mgc_autobuf json = {0};

    if (c->failed)
        return NULL;
    if (c->count > 0)
        qsort(c->names, c->count, sizeof(*c->names), compare_names);
    mgc_buf_addc(&json, '[');
    for (size_t i = 0; i < c->count; i++) {
        if (i > 0 && strcmp(c->names[i], c->names[i - 1]) == 0)
            continue;
        if (i > 0)
            mgc_buf_adds(&json, ", ");
        mgc_buf_add_json(&json, c->names[i], strlen(c->names[i]));
    }
    mgc_buf_addc(&json, ']');
    return json.failed ? NULL : mgc_steal(json.data);
}
