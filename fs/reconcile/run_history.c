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

static void take_last(struct mgc_work_past *past, const struct mgc_run *run, const json_t *root)
{
    const char *set = json_string_value(json_object_get(root, "set"));
    const json_t *name;
    size_t i;

    past->seen_last = true;
    if (run->result != MGC_RUN_REFUSED || run->digest == NULL || set == NULL)
        return;
    (void)snprintf(past->last_digest, sizeof(past->last_digest), "%s", run->digest);
    (void)snprintf(past->last_set, sizeof(past->last_set), "%s", set);
    json_array_foreach(
        json_object_get(root, "brakes"), i,
        name) for (unsigned b = 0; b < MGC_BRAKE_COUNT;
                   b++) if (json_is_string(name) &&
                            strcmp(json_string_value(name), mgc_brake_name((enum mgc_brake)b)) == 0)
        past->last_brakes |= UINT32_C(1) << b;
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
    w->past.fences_count = 0;
    w->past.matcher = NULL;
}

/* Both as they stand in the JSON. */
static bool same_text(const char *stored, const char *bytes)
{
    json_t *text = mgc_state_text(bytes);
    const char *now = json_string_value(text);
    bool same = now != NULL && stored != NULL && strcmp(stored, now) == 0;

    json_decref(text);
    return same;
}

void mgc_work_check_identity(struct mgc_work *w)
{
    for (size_t i = 0; i < w->sources_count; i++) {
        struct mgc_work_source *s = &w->sources[i];
        const struct mgc_source_view *v = &s->view;

        if (!s->viewed) /* explain goes on without it */
            continue;
        if (s->pinned && !same_text(s->pin_identity, v->identity)) {
            s->identity_changed = true;
            (void)snprintf(s->detail, sizeof(s->detail), "was %s, is %s", s->pin_identity,
                           v->identity);
        } else if (s->pinned && s->pin_progress >= 0 &&
                   (v->progress < 0 || v->progress < s->pin_progress)) {
            s->went_back = true;
            (void)snprintf(s->detail, sizeof(s->detail), "progress %lld after %lld",
                           (long long)v->progress, (long long)s->pin_progress);
        } else if (s->pinned && mgc_position_went_back(s->pin_position, v->position)) {
            s->went_back = true;
            (void)snprintf(s->detail, sizeof(s->detail), "position %.60s after %.60s", v->position,
                           s->pin_position);
        }
        s->accepted = !s->identity_changed && !s->went_back;
    }
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
