/*
 * run_fence.c -- the horizon of a run, and what to do where it cannot be told (G2).
 *
 *   F1  What was nominated at T0 of run K may go by K's horizon when every transaction that was
 *       open at that T0 had ended before today's snapshot: whatever could still have mentioned it
 *       is in today's snapshot, and today's run finds no mention.
 *   F2  The newest such K is taken.  A fence of another database says nothing.
 *   F3  A snapshot that is older than the end of what was waited for is thrown away.
 */
#include "fs/reconcile/run_priv.h"

#include <time.h>

#include "fs/reconcile/horizon_priv.h"

enum { POLL_MS = 200 };

static bool same_database(const struct mgc_work_source *s, const json_t *state)
{
    json_t *now = mgc_state_text(s->view.identity);
    bool same = json_is_string(now) && json_equal(now, json_object_get(state, "identity"));

    json_decref(now);
    return same;
}

int mgc_work_fences_passed(struct mgc_work *w, const json_t *sources, struct mgc_err *err)
{
    for (size_t i = 0; i < w->sources_count; i++) {
        struct mgc_work_source *s = &w->sources[i];
        const json_t *state = json_object_get(sources, s->source->name);
        const json_t *fence = json_object_get(state, "fence");
        int r;

        if (!json_is_true(json_object_get(state, "complete")) || !same_database(s, state) ||
            (!json_is_string(fence) && !json_is_null(fence))) {
            (void)mgc_err_say(err, MGC_E_REFUSED,
                              "source '%s' was another one when its transactions were noted",
                              s->source->name);
            return 0;
        }
        r = s->source->ops->fence_passed(s->source, json_string_value(fence), mgc_work_deadline(s),
                                         err);
        if (r != 1)
            return r;
    }
    return 1;
}

static int64_t t0_of(const struct mgc_work *w, const struct mgc_work_fence *fence)
{
    int64_t t0_us = fence->horizon_us;

    for (size_t i = 0; i < w->sources_count; i++) {
        const json_t *state = json_object_get(fence->sources, w->sources[i].source->name);
        int64_t source_us = json_integer_value(json_object_get(state, "t0"));
        if (source_us < t0_us)
            t0_us = source_us;
    }
    return t0_us;
}

/* F2: 1 when an earlier run was found, 0 when none can be used. */
static int find_fence(struct mgc_work *w, struct mgc_err *err)
{
    for (size_t i = 0; i < w->past.fences_count; i++) {
        const struct mgc_work_fence *fence = &w->past.fences[i];
        int64_t horizon_us = t0_of(w, fence) - w->conf->reconcile.grace_us;
        int r;

        if (horizon_us <= 0)
            continue;
        r = mgc_work_fences_passed(w, fence->sources, err);
        if (r < 0)
            return r;
        if (r == 1) {
            w->terms.fenced_run = fence->run;
            w->terms.fenced_horizon_us = horizon_us;
            return 1;
        }
    }
    return 0;
}

static void nap(void)
{
    struct timespec pause = {0, POLL_MS * 1000L * 1000L};

    (void)nanosleep(&pause, NULL);
}

/* One look: 1 when everything that the first views named has ended, 0 with a message if not. */
static int own_fences_passed(struct mgc_work *w, struct mgc_err *err)
{
    for (size_t i = 0; i < w->sources_count; i++) {
        struct mgc_work_source *s = &w->sources[i];
        int r = mgc_work_reopen(s, NULL, err);

        if (r == 0)
            r = s->source->ops->fence_passed(s->source, s->view.fence, mgc_work_deadline(s), err);
        if (r != 1)
            return r;
    }
    return 1;
}

int mgc_work_await_fences(struct mgc_work *w, struct mgc_err *err)
{
    int64_t started_us = mgc_monotonic_us();
    int64_t limit_us = w->conf->reconcile.fence_for_us;

    for (;;) {
        int64_t waited_us = mgc_monotonic_us() - started_us;
        int r = own_fences_passed(w, err);

        if (r != 0)
            return r;
        if (waited_us >= limit_us)
            return 0;
        mgc_work_progress(w, "fence", waited_us / 1000000, limit_us / 1000000);
        nap();
    }
}

/* With one confirmation the run itself must outlast the transactions it met. */
static int wait_here(struct mgc_work *w, struct mgc_err *err)
{
    struct mgc_work_source *s = &w->sources[0];
    struct mgc_err open = {0};
    int r = mgc_work_await_fences(w, &open);

    if (r < 0) {
        mgc_err_copy(err, &open);
        return r;
    }
    if (r == 0) {
        s->fence_open = true;
        (void)snprintf(s->detail, sizeof(s->detail), "%.150s", open.text);
        (void)mgc_err_say(err, MGC_E_REFUSED,
                          "source '%s' has open transactions whose start is "
                          "not visible: %s",
                          s->source->name, open.text);
        (void)mgc_err_hint(err, "Grant pg_read_all_stats to the role, or set confirmations to 2.");
        return MGC_E_REFUSED;
    }
    r = mgc_work_reopen(s, NULL, err); /* F3, whatever "before the snapshot" meant to the source */
    if (r < 0)
        return r;
    w->terms.fenced_run = w->run.id;
    w->terms.fenced_horizon_us = w->nominal_us;
    return 0;
}

static bool one_run_is_enough(const struct mgc_work *w)
{
    return w->sources_count == 1 && w->conf->reconcile.confirmations <= 1;
}

/* Opens closer together than open_resolution are one: the last may be that much later. */
static int64_t hot_for_us(const struct mgc_conf *conf)
{
    int64_t wait_us;

    if (conf->reconcile.hot_for_us <= 0)
        return conf->reconcile.hot_for_us;
    if (__builtin_add_overflow(conf->reconcile.hot_for_us, conf->catalog.open_resolution_us,
                               &wait_us))
        return INT64_MAX;
    return wait_us;
}

int mgc_work_horizon(struct mgc_work *w, struct mgc_err *err)
{
    mgc_autofree struct mgc_horizon_view *views = calloc(w->sources_count, sizeof(*views));
    struct mgc_err why = {0};
    int r;

    if (views == NULL)
        return mgc_err_set(err, -ENOMEM, "could not tell the horizon");
    for (size_t i = 0; i < w->sources_count; i++)
        views[i] =
            (struct mgc_horizon_view){w->sources[i].view.t0_us, w->sources[i].view.oldest_us};
    w->nominal_us =
        mgc_horizon_nominal_us(views, w->sources_count, w->run.t0_us, w->conf->reconcile.grace_us);
    w->terms = (struct mgc_terms){
        .now_us = w->run.t0_us,
        .horizon_us =
            mgc_horizon_us(views, w->sources_count, w->run.t0_us, w->conf->reconcile.grace_us),
        .hot_for_us = hot_for_us(w->conf),
        .confirmations = w->conf->reconcile.confirmations,
        .confirm_over_us = w->conf->reconcile.confirm_over_us,
        .several_sources = w->sources_count > 1,
    };
    w->run.horizon_us = w->terms.horizon_us;
    if (w->terms.horizon_us > 0 || w->nominal_us <= 0)
        return 0;
    r = find_fence(w, &why);
    if (r < 0)
        mgc_err_copy(err, &why);
    if (r == 0 && w->apply && one_run_is_enough(w))
        return wait_here(w, err);
    if (r == 0)
        mgc_work_notice(w, "transactions are open whose start is not visible: what this run finds "
                           "is judged by a later one");
    return r < 0 ? r : 0;
}
