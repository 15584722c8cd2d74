/*
 * explain.c -- everything that decides about one path: read as a run reads, judged as it judges.
 *
 * Ignored tables are read too where the source reads everything: they change no verdict but stop
 * a purge.  A source that fails makes the answer provisional; the others are still read.
 */
#include "fs/reconcile/run_priv.h"

struct target {
    const struct mgc_explain_spec *spec;
    int64_t entry_id; /* 0: held */
    int64_t held_id;
    uint32_t index, index_now;
    struct mgc_candidate judged;
    struct mgc_explanation *out;
};

static int take_entry(void *arg, const struct mgc_entry *entry)
{
    struct target *t = arg;

    t->entry_id = entry->id;
    return 0;
}

static int take_held(void *arg, const struct mgc_held *row)
{
    struct target *t = arg;

    t->held_id = row->id; /* the newest of several */
    return 0;
}

static int find(struct target *t, struct mgc_err *err)
{
    struct mgc_catalog *c = t->spec->catalog;
    int r = c->ops->entry_by_path(c, t->spec->path, take_entry, t);

    if (r == -ENOENT || (r >= 0 && t->entry_id == 0)) {
        r = c->ops->held_scan(c, 0, MGC_WORK_PAGE, t->spec->path, take_held, t, err);
        if (r >= 0 && t->held_id == 0)
            r = -ENOENT;
    }
    return r < 0 ? mgc_err_set(err, r, "could not explain file '%s'", MGC_SHOW(t->spec->path)) : 0;
}

/* Text around the place, without cutting it where it fits. */
static void mention(struct mgc_work *w, uint32_t index, enum mgc_mark mark, int64_t at,
                    size_t length)
{
    struct target *t = w->hit_arg;
    size_t from = 0, bytes;

    if (index != t->index && index != t->index_now)
        return;
    if ((mark & (MGC_MARK_STRONG | MGC_MARK_WEAK)) == 0 || w->origin == NULL)
        return;
    if ((mark & MGC_MARK_STRONG) != 0)
        t->out->references++;
    if (at > 0 && (size_t)at <= w->text_bytes) {
        size_t before = length < MGC_WORK_AROUND ? (MGC_WORK_AROUND - length) / 2 : 0;
        from = (size_t)at > before ? (size_t)at - before : 0;
    }
    bytes = w->text_bytes - from < MGC_WORK_AROUND ? w->text_bytes - from : MGC_WORK_AROUND;
    if (t->spec->mention != NULL)
        t->spec->mention(t->spec->arg, w->origin, w->text + from, bytes);
}

static void find_index(struct mgc_work *w, struct target *t)
{
    t->index = t->index_now = MGC_NO_INDEX;
    for (size_t i = 0; t->entry_id != 0 && i < w->records_count; i++)
        if (w->records[i].id == t->entry_id)
            t->index = w->first_record + (uint32_t)i;
    for (size_t i = 0; t->entry_id == 0 && i < w->held_count; i++)
        if (w->held[i].row.id == t->held_id) {
            t->index = w->held[i].index;
            t->index_now = w->held[i].index_now;
        }
}

static void connect_all(struct mgc_work *w)
{
    for (size_t i = 0; i < w->sources_count; i++)
        if (mgc_work_begin_one(w, &w->sources[i], NULL) < 0)
            w->sources[i].source->ops->end(w->sources[i].source);
}

/* A source that is not the pinned database, or fails, leaves its part open. */
static bool read_all(struct mgc_work *w)
{
    bool complete = true;

    for (size_t i = 0; i < w->sources_count; i++) {
        struct mgc_work_source *s = &w->sources[i];
        enum mgc_source_depth depth =
            s->conf->scan == MGC_SCAN_EVERYTHING ? MGC_DEPTH_PROOF : MGC_DEPTH_CONFIGURED;

        if (!s->viewed || mgc_work_scan_one(w, s, depth, NULL) < 0)
            complete = false;
        complete = complete && s->complete && s->accepted;
    }
    return complete;
}

static int judge(struct mgc_work *w, const struct mgc_step *step, struct mgc_err *err)
{
    struct target *t = w->hit_arg;

    (void)err;
    if (step->entry->id != t->entry_id)
        return 0;
    t->judged = (struct mgc_candidate){.entry_id = step->entry->id, .id = step->entry->file_id};
    mgc_work_facts(w, step, &t->out->facts);
    t->out->verdict = mgc_verdict_of(&t->out->facts, &w->terms, &t->out->why);
    return 0;
}

static void judge_held(struct mgc_work *w, struct target *t)
{
    unsigned marks = 0;

    for (size_t i = 0; i < w->held_count; i++)
        if (w->held[i].row.id == t->held_id)
            marks = mgc_work_held_marks(w, &w->held[i]);
    t->out->facts.referenced = (marks & MGC_MARK_STRONG) != 0;
    t->out->facts.near_miss = (marks & MGC_MARK_NEAR) != 0;
    t->out->facts.shortened = (marks & MGC_MARK_SHORT) != 0;
    t->out->verdict = t->out->facts.referenced ? MGC_VERDICT_REFERENCED : MGC_VERDICT_CANDIDATE;
}

/* As a run does: what would be moved is looked for under another path (H6). */
static int judge_twins(struct mgc_work *w, struct target *t, struct mgc_err *err)
{
    bool shared = false;
    int r;

    if (t->out->verdict != MGC_VERDICT_CANDIDATE)
        return 0;
    r = mgc_work_twins(w, &t->judged, 1, &shared, err);
    if (r == 0 && shared) {
        t->out->verdict = MGC_VERDICT_KEPT;
        t->out->why = t->out->facts.kept_why = MGC_WHY_ALIAS;
        t->out->facts.kept = true;
    }
    return r;
}

static int explain(struct mgc_work *w, struct target *t, struct mgc_err *err)
{
    int r = mgc_work_history(w, err);

    if (r < 0)
        return r;
    w->run.id = INT64_MAX; /* the run that would come next */
    w->run.t0_us = mgc_now_us();
    connect_all(w);
    mgc_work_check_identity(w);
    r = mgc_work_horizon(w, err);
    if (r < 0) { /* a fence that cannot be asked for: nothing is old enough */
        w->terms.horizon_us = w->terms.fenced_run = 0;
        w->terms.fenced_horizon_us = 0;
    }
    w->hit = mention;
    w->hit_arg = t;
    r = mgc_work_load(w, err);
    if (r < 0)
        return r;
    find_index(w, t);
    t->out->complete = read_all(w) && t->index != MGC_NO_INDEX;
    mgc_work_end_sources(w);
    r = mgc_work_settle_short(w, err);
    if (r < 0)
        return r;
    /* A run would end here; the answer is provisional. */
    if (mgc_work_links(w, NULL) < 0)
        t->out->complete = false;
    mgc_work_mark_dirs(w);
    if (t->entry_id == 0) {
        judge_held(w, t);
        return 0;
    }
    t->out->verdict = MGC_VERDICT_KEPT; /* of an entry without a usable path */
    t->out->why = MGC_WHY_UNMOVABLE;
    r = mgc_work_walk(w, "verdicts", judge, err);
    return r == 0 ? judge_twins(w, t, err) : r;
}

int mgc_run_explain(const struct mgc_explain_spec *spec, struct mgc_explanation *ret,
                    struct mgc_err *err)
{
    struct mgc_explanation out = {0};
    struct target t = {.spec = spec, .out = &out};
    struct mgc_work *w = calloc(1, sizeof(*w));
    int r;

    if (w == NULL)
        return mgc_err_set(err, -ENOMEM, "could not explain file '%s'", MGC_SHOW(spec->path));
    r = find(&t, err);
    if (r == 0)
        r = mgc_work_init(w, spec->conf, spec->sources, spec->sources_count, err);
    w->catalog = spec->catalog;
    if (r == 0)
        r = explain(w, &t, err);
    mgc_work_done(w);
    free(w);
    if (r == 0)
        *ret = out;
    return r;
}
