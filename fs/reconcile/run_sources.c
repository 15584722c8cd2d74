/*
 * run_sources.c -- reading every source to its confirmed end (G1).
 *
 *   S1  Only MGC_SOURCE_COMPLETE is a success: 0 or anything else is a failure.
 *   S2  T0 and the fence are those of the first view; a snapshot taken later shows only more.
 *   S3  A source that was opened again must still be the same database.
 */
#include "fs/reconcile/run_priv.h"

enum { PROGRESS_TEXTS = 65536 };

int64_t mgc_work_deadline(const struct mgc_work_source *s)
{
    int64_t deadline_us;

    if (s->conf->timeout_us <= 0 ||
        __builtin_add_overflow(mgc_monotonic_us(), s->conf->timeout_us, &deadline_us))
        return INT64_MAX;
    return deadline_us;
}

int mgc_work_begin_one(struct mgc_work *w, struct mgc_work_source *s, struct mgc_err *err)
{
    int r = s->source->ops->begin(s->source, mgc_work_deadline(s), &s->view, err);

    if (r < 0)
        return r;
    s->viewed = true;
    if (s->view.identity == NULL)
        return mgc_err_say(err, MGC_E_INCOMPLETE, "could not tell which database source '%s' is",
                           s->source->name);
    if (!s->view.sees_transactions)
        mgc_work_notice(w,
                        "source '%s' does not show open transactions: only the grace protects an "
                        "upload whose transaction is still open",
                        s->source->name);
    return 0;
}

int mgc_work_begin_sources(struct mgc_work *w, struct mgc_err *err)
{
    for (size_t i = 0; i < w->sources_count; i++) {
        int r = mgc_work_begin_one(w, &w->sources[i], err);

        if (r < 0)
            return r;
        mgc_work_progress(w, "connect", (int64_t)i + 1, (int64_t)w->sources_count);
    }
    mgc_work_check_identity(w);
    return 0;
}

int mgc_work_reopen(struct mgc_work_source *s, struct mgc_source_view *ret_view,
                    struct mgc_err *err)
{
    struct mgc_source_view view = {0};
    int r;

    s->source->ops->end(s->source);
    r = s->source->ops->begin(s->source, mgc_work_deadline(s), &view, err);
    if (r < 0)
        return r;
    if (view.identity == NULL || s->view.identity == NULL ||
        strcmp(view.identity, s->view.identity) != 0) {
        mgc_source_view_done(&view);
        return mgc_err_say(err, MGC_E_IDENTITY,
                           "source '%s' became another database during the run", s->source->name);
    }
    if (ret_view != NULL)
        *ret_view = view;
    else
        mgc_source_view_done(&view);
    return 0;
}

void mgc_work_end_sources(struct mgc_work *w)
{
    for (size_t i = 0; i < w->sources_count; i++)
        if (w->sources[i].viewed)
            w->sources[i].source->ops->end(w->sources[i].source);
}

/* Where a value was a whole path: there the second look asks. */
static int remember_column(struct mgc_work_source *s, const struct mgc_origin *origin)
{
    struct mgc_conf_list *list = &s->columns;
    char name[512];
    char **items;
    int length;

    if (origin->table == NULL || origin->column == NULL || origin->column[0] == '\0')
        return 0;
    length = snprintf(name, sizeof(name), "%s.%s", origin->table, origin->column);
    if (length < 0 || (size_t)length >= sizeof(name))
        return 0; /* no identifier is as long: not something that can be asked */
    for (size_t i = list->count; i > 0; i--)
        if (strcmp(list->items[i - 1], name) == 0)
            return 0;
    items = reallocarray(list->items, list->count + 1, sizeof(*items));
    if (items == NULL)
        return -ENOMEM;
    list->items = items;
    items[list->count] = strdup(name);
    if (items[list->count] == NULL)
        return -ENOMEM;
    list->count++;
    return 0;
}

struct reading {
    struct mgc_work *w;
    struct mgc_work_source *s;
};

static int take_text(void *arg, const struct mgc_origin *origin, const char *text, size_t bytes)
{
    struct reading *reading = arg;
    struct mgc_work *w = reading->w;
    bool whole = false;

    w->origin = origin;
    w->text = text;
    w->text_bytes = bytes;
    w->text_code = mgc_matcher_text(w->matcher, text, bytes, origin->weak, &whole, &w->text_err);
    if (w->text_code == 0 && whole && !origin->weak && remember_column(reading->s, origin) < 0)
        w->text_code = mgc_err_set(&w->text_err, -ENOMEM, "could not read source '%s'",
                                   reading->s->source->name);
    if (++w->texts % PROGRESS_TEXTS == 0)
        mgc_work_progress(w, "references", w->texts, 0);
    w->origin = NULL;
    w->text = NULL;
    w->text_bytes = 0;
    return w->text_code < 0 ? w->text_code : 0;
}

static int keep_covered(struct mgc_work_source *s, struct mgc_err *err)
{
    const char *covered = s->source->ops->covered(s->source);

    s->covered = covered != NULL ? json_loads(covered, 0, NULL) : json_array();
    if (json_is_array(s->covered))
        return 0;
    json_decref(s->covered);
    s->covered = NULL;
    return mgc_err_say(err, MGC_E_PROTOCOL, "could not tell which tables of source '%s' were read",
                       s->source->name);
}

int mgc_work_scan_one(struct mgc_work *w, struct mgc_work_source *s, enum mgc_source_depth depth,
                      struct mgc_err *err)
{
    struct reading reading = {w, s};
    int64_t before = mgc_matcher_references(w->matcher);
    int r;

    w->text_code = 0;
    r = s->source->ops->scan(s->source, depth, mgc_work_deadline(s), take_text, &reading, err);
    if (w->text_code < 0) { /* whatever the source made of it */
        mgc_err_copy(err, &w->text_err);
        return w->text_code;
    }
    if (r < 0)
        return r;
    if (r != MGC_SOURCE_COMPLETE)
        return mgc_err_say(err, MGC_E_INCOMPLETE,
                           "could not read source '%s': its end was not confirmed",
                           s->source->name);
    s->references = mgc_matcher_references(w->matcher) - before;
    r = keep_covered(s, err);
    if (r == 0)
        s->complete = true;
    return r;
}

static int short_step(struct mgc_work *w, const struct mgc_step *step, struct mgc_err *err)
{
    int r = mgc_matcher_short_path(w->matcher, step->index, step->path);

    return r < 0 ? mgc_err_set(err, r, "could not resolve shortened mentions") : 0;
}

static int short_held(struct mgc_work *w, const struct mgc_work_held *h)
{
    int r = mgc_matcher_short_path(w->matcher, h->index, h->row.path);

    if (r == 0 && h->now != NULL)
        r = mgc_matcher_short_path(w->matcher, h->index_now, h->now);
    return r;
}

int mgc_work_settle_short(struct mgc_work *w, struct mgc_err *err)
{
    int r;

    if (!mgc_matcher_any_short(w->matcher))
        return 0;
    r = mgc_work_walk(w, "shortened", short_step, err);
    for (size_t i = 0; r == 0 && i < w->held_count; i++) {
        r = short_held(w, &w->held[i]);
        if (r < 0)
            return mgc_err_set(err, r, "could not resolve shortened mentions");
    }
    if (r == 0)
        mgc_matcher_short_done(w->matcher);
    return r;
}

int mgc_work_scan(struct mgc_work *w, enum mgc_source_depth depth, struct mgc_err *err)
{
    for (size_t i = 0; i < w->sources_count; i++) {
        int r = mgc_work_scan_one(w, &w->sources[i], depth, err);

        if (r < 0)
            return r;
    }
    /* Nobody's snapshot is held open longer than it is read from. */
    mgc_work_end_sources(w);
    mgc_work_progress(w, "references", w->texts, w->texts);
    for (size_t i = 0; i < w->sources_count; i++)
        w->run.references += w->sources[i].references;
    return mgc_work_settle_short(w, err);
}
