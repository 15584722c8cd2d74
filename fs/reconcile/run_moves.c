/*
 * run_moves.c -- the last question to the sources, and the moves.
 *
 *   M1  Exactly the candidates are asked for once more, in a fresh snapshot; what is found is
 *       referenced after all.  An answer that is not complete ends the run without a move.
 *   M2  The host checks each file again; a file that changed since is skipped, not a fault.
 */
#include "fs/reconcile/run_priv.h"

struct look {
    struct mgc_matcher *matcher;
    struct mgc_err err;
    int code;
};

static int take_answer(void *arg, const struct mgc_origin *origin, const char *text, size_t bytes)
{
    struct look *look = arg;

    look->code = mgc_matcher_text(look->matcher, text, bytes, origin->weak, NULL, &look->err);
    return look->code < 0 ? look->code : 0;
}

static int ask(struct mgc_work_source *s, const char *const *paths, size_t count, struct look *look,
               struct mgc_err *err)
{
    int r = mgc_work_reopen(s, NULL, err);

    if (r < 0)
        return r;
    look->code = 0;
    r = s->source->ops->ask(s->source, paths, count, (const char *const *)s->columns.items,
                            s->columns.count, mgc_work_deadline(s), take_answer, look, err);
    s->source->ops->end(s->source);
    if (look->code < 0) {
        mgc_err_copy(err, &look->err);
        return look->code;
    }
    if (r < 0)
        return r;
    if (r != MGC_SOURCE_COMPLETE)
        return mgc_err_say(err, MGC_E_INCOMPLETE,
                           "could not ask source '%s' again: its end was not confirmed",
                           s->source->name);
    return 0;
}

static int open_look(struct mgc_work *w, struct look *look, struct mgc_err *err)
{
    struct mgc_matcher_spec spec = {0};
    int r;

    mgc_random(spec.seed, sizeof(spec.seed));
    r = mgc_matcher_new(&spec, &look->matcher, err);
    for (size_t i = 0; r == 0 && i < w->candidates_count; i++)
        r = mgc_matcher_add(look->matcher, w->candidates[i].path, false, err);
    return r == 0 ? mgc_matcher_seal(look->matcher, err) : r;
}

static void drop_found(struct mgc_work *w, const struct look *look)
{
    for (size_t i = 0; i < w->candidates_count; i++) {
        struct mgc_record *record = mgc_work_record(w, w->candidates[i].entry_id);

        if ((mgc_matcher_marks(look->matcher, (uint32_t)i) & MGC_MARK_STRONG) == 0)
            continue;
        if (record != NULL) {
            record->verdict = MGC_VERDICT_REFERENCED;
            record->counts = false;
        }
        w->run.candidates--;
        w->run.referenced++;
        mgc_work_unmake_candidate(w, i);
    }
    mgc_work_settle_candidates(w);
}

int mgc_work_second_look(struct mgc_work *w, struct mgc_err *err)
{
    mgc_autofree const char **paths = calloc(w->candidates_count + 1, sizeof(*paths));
    struct look look = {0};
    int r;

    if (w->candidates_count == 0)
        return 0;
    if (paths == NULL)
        return mgc_err_set(err, -ENOMEM, "could not ask for the candidates again");
    for (size_t i = 0; i < w->candidates_count; i++)
        paths[i] = w->candidates[i].path;
    r = open_look(w, &look, err);
    for (size_t i = 0; r == 0 && i < w->sources_count; i++) {
        r = ask(&w->sources[i], paths, w->candidates_count, &look, err);
        mgc_work_progress(w, "second-look", (int64_t)i + 1, (int64_t)w->sources_count);
    }
    if (r == 0)
        drop_found(w, &look);
    mgc_matcher_free(look.matcher);
    return r;
}

static void take_outcome(struct mgc_work *w, const struct mgc_candidate *c,
                         const struct mgc_move_outcome *outcome)
{
    struct mgc_record *record = mgc_work_record(w, c->entry_id);

    switch (outcome->code) {
    case 0:
        w->run.moved++;
        w->run.moved_bytes += outcome->bytes;
        if (record != NULL)
            record->counts = false;
        break;
    case -ESTALE:
    case -ENOENT:
    case MGC_E_BUSY:
    case MGC_E_UNMOVABLE:
        w->skipped++;
        break;
    default:
        w->failed++;
        break;
    }
}

int mgc_work_move(struct mgc_work *w, struct mgc_err *err)
{
    struct mgc_move_outcome outcomes[MGC_MOVE_BATCH_MAX];

    for (size_t at = 0; at < w->candidates_count; at += MGC_MOVE_BATCH_MAX) {
        size_t left = w->candidates_count - at;
        size_t part = left < MGC_MOVE_BATCH_MAX ? left : MGC_MOVE_BATCH_MAX;
        int r;

        memset(outcomes, 0, sizeof(outcomes));
        for (size_t i = 0; i < part; i++)
            outcomes[i].code = -EIO; /* not claimed, not moved */
        r = w->host->move(w->host->arg, w->run.id, &w->candidates[at], part, outcomes, err);
        if (r < 0)
            return r;
        for (size_t i = 0; i < part; i++)
            take_outcome(w, &w->candidates[at + i], &outcomes[i]);
        mgc_work_progress(w, "move", (int64_t)(at + part), (int64_t)w->candidates_count);
    }
    return 0;
}
