/*
 * run_history.c -- what earlier runs saw, and what of that is different now.
 *
 * The runs are read newest first until everything that is compared has been found:
 *
 *   previous complete run   whose orphans go on counting, whose configuration was in force
 *   pin of a source         identity, progress, position, tables: newest complete reading of a
 *                           database that was accepted
 *   references before       newest run that was not refused (a refused fall must not become usual)
 *   last done or refused    what a digest can be about
 *   fences                  complete runs behind which today's may judge
 */
#include "fs/reconcile/run_priv.h"

#include <inttypes.h>
#include <xxhash.h>

#include "fs/reconcile/horizon_priv.h"

struct history {
    struct mgc_work *w;
    int64_t last;
    int count;
};

static bool text_is(const json_t *object, const char *key)
{
    return json_is_string(json_object_get(object, key));
}

static int64_t number(const json_t *object, const char *key, int64_t otherwise)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

static char *copy_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return strdup(text != NULL ? text : "");
}

static int pin(struct mgc_work_source *s, json_t *state)
{
    s->pin_identity = copy_text(state, "identity");
    s->pin_position = copy_text(state, "position");
    s->pin_progress = number(state, "progress", -1);
    s->covered_before = json_incref(json_object_get(state, "covered"));
    if (s->pin_identity == NULL || s->pin_position == NULL)
        return -ENOMEM;
    s->pinned = true;
    return 0;
}

static int take_source(struct mgc_work_source *s, const struct mgc_run *run, json_t *sources,
                       bool previous)
{
    json_t *state = json_object_get(sources, s->source->name);

    if (previous && text_is(state, "conf") && s->conf_before == NULL) {
        s->conf_before = copy_text(state, "conf");
        if (s->conf_before == NULL)
            return -ENOMEM;
    }
    if (!json_is_true(json_object_get(state, "complete")) ||
        !json_is_true(json_object_get(state, "accepted")) || !text_is(state, "identity"))
        return 0;
    if (run->result == MGC_RUN_DONE && run->complete && s->references_before < 0)
        s->references_before = number(state, "references", -1);
    return s->pinned ? 0 : pin(s, state);
}

static int take_complete(struct mgc_work *w, const struct mgc_run *run, json_t *root)
{
    struct mgc_work_past *past = &w->past;

    if (past->previous_run == 0) {
        past->previous_run = run->id;
        past->matcher = strdup(run->matcher != NULL ? run->matcher : "");
        if (past->matcher == NULL)
            return -ENOMEM;
    }
    past->complete_runs++;
    if (run->result == MGC_RUN_DONE) {
        past->recent += number(root, "recent", 0);
        past->recent_referenced += number(root, "recent_referenced", 0);
    }
    if (past->fences_count < MGC_WORK_FENCES && json_is_true(json_object_get(root, "complete"))) {
        struct mgc_work_fence *fence = &past->fences[past->fences_count++];

        fence->run = run->id;
        fence->horizon_us = run->t0_us;
        fence->sources = json_incref(json_object_get(root, "sources"));
    }
    return 0;
}

static void take_last(struct mgc_work_past *past, const struct mgc_run *run, json_t *root)
{
    const char *set = json_string_value(json_object_get(root, "set"));

    past->seen_last = true;
    if (run->result != MGC_RUN_REFUSED || run->digest == NULL || set == NULL)
        return;
    (void)snprintf(past->last_digest, sizeof(past->last_digest), "%s", run->digest);
    (void)snprintf(past->last_set, sizeof(past->last_set), "%s", set);
    past->last = json_incref(root);
}

static int take(void *arg, const struct mgc_run *run)
{
    struct history *h = arg;
    struct mgc_work *w = h->w;
    bool previous = run->complete && w->past.previous_run == 0;
    json_t *root, *sources;
    int r = 0;

    h->last = run->id;
    h->count++;
    if (run->sources == NULL || run->sources[0] == '\0') {
        /* Ended before it saw anything, by a crash perhaps. */
        return run->complete ? MGC_E_CORRUPT : 0;
    }
    root = json_loads(run->sources, 0, NULL);
    sources = json_object_get(root, "sources");
    if (!json_is_object(sources)) {
        json_decref(root);
        return MGC_E_CORRUPT; /* forgetting what was pinned would accept anything */
    }
    if (run->complete)
        r = take_complete(w, run, root);
    for (size_t i = 0; r == 0 && i < w->sources_count; i++)
        r = take_source(&w->sources[i], run, sources, previous);
    if (!w->past.seen_last && (run->result == MGC_RUN_DONE || run->result == MGC_RUN_REFUSED))
        take_last(&w->past, run, root);
    json_decref(root);
    return r;
}

static bool found_all(const struct mgc_work *w)
{
    for (size_t i = 0; i < w->sources_count; i++)
        if (!w->sources[i].pinned || w->sources[i].references_before < 0)
            return false;
    return w->past.seen_last && w->past.complete_runs >= MGC_WORK_CONTROL_RUNS;
}

int mgc_work_history(struct mgc_work *w, struct mgc_err *err)
{
    struct history h = {w, w->run.id, 0};
    int r;

    do {
        h.count = 0;
        r = w->catalog->ops->runs(w->catalog, h.last, MGC_WORK_RUNS_PAGE, take, &h);
        if (r < 0)
            return mgc_err_set(err, r, "could not read earlier runs");
    } while (h.count > 0 && !found_all(w));
    return 0;
}

void mgc_work_done_history(struct mgc_work *w)
{
    free(w->past.matcher);
    for (size_t i = 0; i < w->past.fences_count; i++)
        json_decref(w->past.fences[i].sources);
    json_decref(w->past.last);
    w->past.fences_count = 0;
    w->past.matcher = NULL;
    w->past.last = NULL;
}

/* Short enough for a brake's text, and another text for another database all the same. */
static const char *brief(const char *identity, char *out, size_t out_bytes)
{
    size_t bytes = strlen(identity);

    if (bytes < out_bytes)
        (void)snprintf(out, out_bytes, "%s", identity);
    else
        (void)snprintf(out, out_bytes, "%.32s~%016" PRIx64, identity,
                       (uint64_t)XXH3_64bits(identity, bytes));
    return out;
}

/*
 * What is seen now and which way it went, but no figure that moves on while the database is in
 * use: an approval must find the same text again, and only while it is about the same.
 */
static void check_source(struct mgc_work_source *s)
{
    const struct mgc_source_view *v = &s->view;
    char now[64], was[64];

    (void)brief(v->identity, now, sizeof(now));
    if (s->pinned && !mgc_state_same(s->pin_identity, v->identity)) {
        s->identity_changed = true;
        (void)snprintf(s->detail, sizeof(s->detail), "is %s, was %s", now,
                       brief(s->pin_identity, was, sizeof(was)));
    } else if (s->pinned && s->pin_progress >= 0 &&
               (v->progress < 0 || v->progress < s->pin_progress)) {
        s->went_back = true;
        (void)snprintf(s->detail, sizeof(s->detail), "%s, progress is %s %lld", now,
                       v->progress < 0 ? "not told any more after" : "less than",
                       (long long)s->pin_progress);
    } else if (s->pinned && mgc_position_went_back(s->pin_position, v->position)) {
        s->went_back = true;
        (void)snprintf(s->detail, sizeof(s->detail), "%s, position is before %.48s", now,
                       s->pin_position);
    }
    s->accepted = !s->identity_changed && !s->went_back;
}

void mgc_work_check_identity(struct mgc_work *w)
{
    for (size_t i = 0; i < w->sources_count; i++)
        if (w->sources[i].viewed) /* explain goes on without it */
            check_source(&w->sources[i]);
}

bool mgc_work_as_refused(const struct mgc_work *w, const struct mgc_work_source *s)
{
    const json_t *state =
        json_object_get(json_object_get(w->past.last, "sources"), s->source->name);
    const char *position = json_string_value(json_object_get(state, "position"));

    if (!s->viewed ||
        !mgc_state_same(json_string_value(json_object_get(state, "identity")), s->view.identity))
        return false;
    return s->view.progress >= number(state, "progress", INT64_MAX) && position != NULL &&
           !mgc_position_went_back(position, s->view.position);
}

static bool has(const json_t *names, const char *name)
{
    size_t low = 0, high = json_array_size(names);

    while (low < high) { /* sorted by contract; a linear look follows where it is not */
        size_t middle = low + (high - low) / 2;
        const char *other = json_string_value(json_array_get(names, middle));
        int order = other != NULL ? strcmp(other, name) : 1;

        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *other = json_string_value(json_array_get(names, i));
        if (other != NULL && strcmp(other, name) == 0)
            return true;
    }
    return false;
}

void mgc_work_check_tables(struct mgc_work *w)
{
    char matcher[64];
    bool changed, told = false;

    mgc_work_matcher_text(w, matcher, sizeof(matcher));
    changed = w->past.previous_run != 0 && strcmp(w->past.matcher, matcher) != 0;
    for (size_t i = 0; i < w->sources_count; i++) {
        struct mgc_work_source *s = &w->sources[i];
        const json_t *name;
        size_t at;

        s->changed =
            changed && (s->conf_before == NULL || strcmp(s->conf_before, s->conf_hash) != 0);
        told |= s->changed;
        /* Configured otherwise, it reads other tables: that is the change told about. */
        if (!s->pinned || s->identity_changed || s->changed)
            continue;
        json_array_foreach(s->covered, at, name)
        {
            if (!json_is_string(name) || has(s->covered_before, json_string_value(name)))
                continue;
            s->new_table = true;
            if (s->detail[0] == '\0')
                (void)snprintf(s->detail, sizeof(s->detail), "%s", json_string_value(name));
            break;
        }
    }
    w->host_facts.matcher_changed = changed && !told;
}
