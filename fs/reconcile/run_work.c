/* run_work.c -- the struct that the phases share: made, told about, taken down. */
#include "fs/reconcile/run_priv.h"

#include <stdarg.h>

static const struct mgc_conf_references *block(const struct mgc_conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->references_count; i++)
        if (strcmp(conf->references[i].name, name) == 0)
            return &conf->references[i];
    return NULL;
}

int mgc_work_init(struct mgc_work *w, const struct mgc_conf *conf,
                  struct mgc_source *const *sources, size_t count, struct mgc_err *err)
{
    memset(w, 0, sizeof(*w));
    w->conf = conf;
    w->dirs.cached = MGC_NO_INDEX;
    if (count == 0)
        return mgc_err_say(err, MGC_E_CONFIG,
                           "could not compare files with references: no source is configured");
    w->sources = calloc(count, sizeof(*w->sources));
    if (w->sources == NULL)
        return mgc_err_set(err, -ENOMEM, "could not prepare a run");
    w->sources_count = count;
    for (size_t i = 0; i < count; i++) {
        struct mgc_work_source *s = &w->sources[i];

        s->source = sources[i];
        s->references_before = -1;
        s->pin_progress = -1;
        s->conf = block(conf, sources[i]->name);
        if (s->conf == NULL)
            return mgc_err_say(err, MGC_E_CONFIG, "could not find source '%s': not configured",
                               sources[i]->name);
        mgc_work_hash_conf(s->conf, s->conf_hash);
    }
    return 0;
}

static void done_source(struct mgc_work_source *s)
{
    if (s->viewed)
        mgc_source_view_done(&s->view);
    json_decref(s->covered);
    json_decref(s->covered_before);
    for (size_t i = 0; i < s->columns.count; i++)
        free(s->columns.items[i]);
    free(s->columns.items);
    free(s->pin_identity);
    free(s->pin_position);
    free(s->conf_before);
}

static void done_missing(struct mgc_work *w)
{
    for (size_t i = 0; i < w->missing_count; i++) {
        free(w->missing[i].path);
        free(w->missing[i].text);
        free(w->missing[i].source);
        free(w->missing[i].table);
        free(w->missing[i].column);
    }
    free(w->missing);
    free(w->distinct);
    free(w->writers);
}

void mgc_work_done(struct mgc_work *w)
{
    mgc_work_end_sources(w);
    mgc_work_done_history(w);
    for (size_t i = 0; i < w->sources_count; i++)
        done_source(&w->sources[i]);
    free(w->sources);
    mgc_matcher_free(w->matcher);
    mgc_dirs_done(&w->dirs);
    free(w->records);
    for (size_t i = 0; i < w->held_count; i++) {
        mgc_work_free_held(&w->held[i].row);
        free(w->held[i].now);
        free(w->held[i].mention);
    }
    free(w->held);
    done_missing(w);
    for (size_t i = 0; i < w->candidates_count; i++)
        free((void *)(uintptr_t)w->candidates[i].path);
    free(w->candidates);
    free(w->candidate_sizes);
    free(w->approved);
    memset(w, 0, sizeof(*w));
}

void mgc_work_progress(const struct mgc_work *w, const char *phase, int64_t done, int64_t total)
{
    if (w->host != NULL && w->host->progress != NULL)
        w->host->progress(w->host->arg, phase, done, total);
}

void mgc_work_notice(const struct mgc_work *w, const char *format, ...)
{
    char text[MGC_ERR_TEXT_BYTES];
    va_list args;

    if (w->quiet || w->host == NULL || w->host->notice == NULL)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    w->host->notice(w->host->arg, text);
}

void *mgc_work_grow(void *rows, size_t count, size_t *capacity, size_t element_bytes)
{
    size_t wanted;
    void *grown;

    if (count < *capacity)
        return rows;
    wanted = *capacity == 0 ? 64 : *capacity + *capacity / 2;
    grown = reallocarray(rows, wanted, element_bytes);
    if (grown != NULL)
        *capacity = wanted;
    return grown;
}
