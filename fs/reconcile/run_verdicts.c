/*
 * run_verdicts.c -- facts of each entry, gathered; the decision itself is verdict.c's.
 */
#include "fs/reconcile/run_priv.h"

#include "mediagcfs/path.h"

/* Opens are noted by the minute, rounded down. */
static const int64_t opened_rounding_us = INT64_C(60) * 1000000 - 1;
static const int64_t recent_us = INT64_C(7) * 86400 * 1000000;

static void mark_referenced(struct mgc_dirs *d, uint32_t dir)
{
    while (dir != MGC_NO_INDEX && !d->rows[dir].has_reference) {
        d->rows[dir].has_reference = true;
        dir = d->rows[dir].parent;
    }
}

void mgc_work_mark_dirs(struct mgc_work *w)
{
    struct mgc_dirs *d = &w->dirs;

    for (size_t i = 0; i < w->records_count; i++) {
        struct mgc_record *record = &w->records[i];

        if ((mgc_matcher_marks(w->matcher, w->first_record + (uint32_t)i) & MGC_MARK_STRONG) == 0)
            continue;
        mark_referenced(d, record->dir);
        if (record->manifest)
            d->rows[record->dir].manifest = true;
    }
    for (size_t i = 0; i < w->held_count; i++)
        if ((mgc_work_held_marks(w, &w->held[i]) & MGC_MARK_STRONG) != 0)
            mark_referenced(d, w->held[i].dir);
    for (size_t i = 0; i < d->count; i++) {
        uint32_t at = (uint32_t)i;

        for (size_t depth = 0; depth <= MGC_DEPTH_MAX && at != MGC_NO_INDEX; depth++) {
            const struct mgc_dir_row *row = &d->rows[at];
            bool mentioned = row->index != MGC_NO_INDEX &&
                             (mgc_matcher_marks(w->matcher, row->index) & MGC_MARK_DIR) != 0;
            if (mentioned && !row->has_reference)
                d->rows[i].suspect = true;
            if (row->target)
                d->rows[i].aliased = true;
            at = row->parent;
        }
    }
}

static enum mgc_why kept_why(const struct mgc_work *w, const struct mgc_step *step)
{
    const struct mgc_entry *e = step->entry;

    for (size_t i = 0; i < w->conf->keep.count; i++)
        if (mgc_glob_match(w->conf->keep.items[i], step->path))
            return MGC_WHY_PATTERN;
    if (mgc_verdict_junk(e->name))
        return MGC_WHY_JUNK;
    if (e->file_id.kind == MGC_ID_NONE || e->file_id.ino == 0 || mgc_path_check(step->path) < 0)
        return MGC_WHY_UNMOVABLE;
    if (e->nlink != 1)
        return MGC_WHY_NAMES;
    if (step->record->alias || w->dirs.rows[step->record->dir].aliased)
        return MGC_WHY_ALIAS;
    return MGC_WHY_NONE;
}

static int compare_inos(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* By inode number alone: one of another filesystem in the tree can only keep more. */
static bool open_for_writing(const struct mgc_work *w, const struct mgc_entry *e)
{
    return w->writers_count > 0 && bsearch(&e->file_id.ino, w->writers, w->writers_count,
                                           sizeof(*w->writers), compare_inos) != NULL;
}

static int ask_writers(struct mgc_work *w, struct mgc_err *err)
{
    int r;

    if (w->host->writers == NULL)
        return 0;
    w->writers = calloc(MGC_WRITERS_MAX, sizeof(*w->writers));
    if (w->writers == NULL)
        return mgc_err_set(err, -ENOMEM, "could not note open files");
    r = w->host->writers(w->host->arg, w->run.id, w->writers, &w->writers_count, err);
    if (r == 0)
        qsort(w->writers, w->writers_count, sizeof(*w->writers), compare_inos);
    return r;
}

void mgc_work_facts(const struct mgc_work *w, const struct mgc_step *step,
                    struct mgc_facts *ret_facts)
{
    const struct mgc_entry *e = step->entry;
    const struct mgc_dir_row *dir = &w->dirs.rows[step->record->dir];
    unsigned marks = mgc_matcher_marks(w->matcher, step->index);
    int64_t opened_us = w->catalog->ops->opened_us(w->catalog, e->id);
    bool goes_on = e->orphan_runs > 0 && e->orphan_first_run > 0 && w->past.previous_run > 0 &&
                   e->orphan_last_run == w->past.previous_run;

    *ret_facts = (struct mgc_facts){
        .referenced = (marks & MGC_MARK_STRONG) != 0,
        .near_miss = (marks & MGC_MARK_NEAR) != 0,
        .shortened = (marks & MGC_MARK_SHORT) != 0,
        .directory = dir->suspect,
        .manifest = dir->manifest,
        .open = open_for_writing(w, e),
        .healed = e->healed_us != 0,
        .kept_why = kept_why(w, step),
        .born_us = step->born_us,
        .written_us = e->written_us,
        .changed_us = e->changed_us,
        .opened_us = opened_us > 0 ? opened_us + opened_rounding_us : 0,
        .orphan_since_us = goes_on ? e->orphan_since_us : w->run.t0_us,
        .orphan_runs = goes_on ? e->orphan_runs + 1 : 1,
        .orphan_first_run = goes_on ? e->orphan_first_run : w->run.id,
    };
    ret_facts->kept = ret_facts->kept_why != MGC_WHY_NONE;
}

static void count(struct mgc_work *w, enum mgc_verdict verdict, enum mgc_why why)
{
    struct mgc_run *run = &w->run;
    int64_t *const counters[] = {
        [MGC_VERDICT_REFERENCED] = &run->referenced, [MGC_VERDICT_KEPT] = &run->kept,
        [MGC_VERDICT_DERIVED] = &run->derived,       [MGC_VERDICT_OPEN] = &run->open,
        [MGC_VERDICT_YOUNG] = &run->young,           [MGC_VERDICT_HOT] = &run->hot,
        [MGC_VERDICT_SUSPECT] = &run->suspect,       [MGC_VERDICT_WAITING] = &run->waiting,
        [MGC_VERDICT_CANDIDATE] = &run->candidates,
    };
    _Static_assert(ARRAY_SIZE(counters) == MGC_VERDICT_COUNT, "a verdict is not counted");

    run->files++;
    ++*counters[verdict];
    if (verdict == MGC_VERDICT_YOUNG && why == MGC_WHY_CHANGED)
        w->young_changed++;
}

static int keep_candidate(struct mgc_work *w, const struct mgc_step *step,
                          const struct mgc_facts *facts, struct mgc_err *err)
{
    size_t capacity = w->candidates_capacity;
    struct mgc_candidate *rows =
        mgc_work_grow(w->candidates, w->candidates_count, &w->candidates_capacity, sizeof(*rows));
    int64_t *sizes;
    char *path;

    if (rows == NULL)
        return mgc_err_set(err, -ENOMEM, "could not note candidates");
    w->candidates = rows;
    sizes = mgc_work_grow(w->candidate_sizes, w->candidates_count, &capacity, sizeof(*sizes));
    if (sizes == NULL)
        return mgc_err_set(err, -ENOMEM, "could not note candidates");
    w->candidate_sizes = sizes;
    path = strdup(step->path);
    if (path == NULL)
        return mgc_err_set(err, -ENOMEM, "could not note candidates");
    sizes[w->candidates_count] = step->entry->size_bytes;
    rows[w->candidates_count++] = (struct mgc_candidate){
        .entry_id = step->entry->id,
        .path = path,
        .id = step->entry->file_id,
        .horizon_us = mgc_verdict_horizon_us(facts, &w->terms),
    };
    return 0;
}

void mgc_work_unmake_candidate(struct mgc_work *w, size_t i)
{
    free((void *)(uintptr_t)w->candidates[i].path);
    w->candidates[i].path = NULL;
}

void mgc_work_settle_candidates(struct mgc_work *w)
{
    size_t kept = 0;

    for (size_t i = 0; i < w->candidates_count; i++) {
        if (w->candidates[i].path == NULL)
            continue;
        w->candidate_sizes[kept] = w->candidate_sizes[i];
        w->candidates[kept++] = w->candidates[i];
    }
    w->candidates_count = kept;
}

static int judge(struct mgc_work *w, const struct mgc_step *step, struct mgc_err *err)
{
    struct mgc_facts facts;
    enum mgc_verdict verdict;
    enum mgc_why why;

    mgc_work_facts(w, step, &facts);
    verdict = mgc_verdict_of(&facts, &w->terms, &why);
    step->record->verdict = (uint8_t)verdict;
    step->record->why = (uint8_t)why;
    step->record->counts = mgc_verdict_counts(&facts, &w->terms, w->nominal_us);
    count(w, verdict, why);
    if (facts.opened_us > w->terms.now_us - recent_us ||
        facts.born_us > w->terms.now_us - recent_us) {
        w->recent++;
        w->recent_referenced += facts.referenced ? 1 : 0;
    }
    return verdict == MGC_VERDICT_CANDIDATE ? keep_candidate(w, step, &facts, err) : 0;
}

int mgc_work_verdicts(struct mgc_work *w, struct mgc_err *err)
{
    int r;

    /* What was renamed or written while the sources were read is young from here on. */
    r = w->host->flush(w->host->arg, err);
    if (r == 0)
        r = ask_writers(w, err);
    if (r == 0)
        r = mgc_work_links(w, err);
    if (r < 0)
        return r;
    mgc_work_mark_dirs(w);
    r = mgc_work_walk(w, "verdicts", judge, err);
    if (r == 0)
        r = mgc_work_keep_twins(w, err);
    w->run.files += w->unplaced;
    w->run.kept += w->unplaced;
    if (r == 0 && w->run.young > 0 && w->young_changed * 2 > w->run.young)
        mgc_work_notice(w,
                        "more than half of the young files are young by their change time alone: "
                        "something changes owners or modes of old files");
    return r;
}
