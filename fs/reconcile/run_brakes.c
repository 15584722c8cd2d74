/*
 * run_brakes.c -- facts for the brakes, approval, and what a refusal leaves open.
 *
 * An approval names the digest of the last run that was done or refused.  It bounds the candidates
 * to that run's: the findings of the catalog are that set, and its own digest, stored with the run,
 * shows that they still are.
 *
 *   P1  A brake on size is lifted for the files of that set.  Any other is lifted only where it
 *       says today what it said in the refused run: the same database, the same fall.
 *   P2  All or nothing: a run with one brake left is refused by all it met, so that the digest it
 *       prints is about all of them.  Only a run that is not refused pins what was approved.
 */
#include "fs/reconcile/run_priv.h"

static bool approving(const struct mgc_work *w)
{
    return w->approve != NULL && w->approve[0] != '\0';
}

static int take_approved(void *arg, const struct mgc_finding *finding)
{
    struct mgc_work *w = arg;
    int64_t *ids;

    if (strcmp(finding->verdict, mgc_verdict_name(MGC_VERDICT_CANDIDATE)) != 0)
        return 0;
    ids = mgc_work_grow(w->approved, w->approved_count, &w->approved_capacity, sizeof(*ids));
    if (ids == NULL)
        return -ENOMEM;
    w->approved = ids;
    ids[w->approved_count++] = finding->entry_id;
    return 0;
}

static int by_id(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static int stale(const struct mgc_work *w, const char *why, struct mgc_err *err)
{
    (void)mgc_err_say(err, MGC_E_REFUSED, "could not act on approval '%s': %s",
                      MGC_SHOW(w->approve), why);
    (void)mgc_err_hint(err, "Run 'mediagcfs reconcile' again and approve the digest it prints.");
    return MGC_E_REFUSED;
}

int mgc_work_load_approved(struct mgc_work *w, struct mgc_err *err)
{
    char set[17];
    int r;

    if (!approving(w))
        return 0;
    if (w->past.last_digest[0] == '\0' || strcmp(w->past.last_digest, w->approve) != 0)
        return stale(w, "it is not the digest of the last run", err);
    r = w->catalog->ops->findings(w->catalog, MGC_FINDING_ORPHAN, take_approved, w, err);
    if (r == -ENOMEM)
        return mgc_err_set(err, r, "could not read the approved set");
    if (r < 0)
        return r;
    if (w->approved_count > 0)
        qsort(w->approved, w->approved_count, sizeof(*w->approved), by_id);
    for (size_t i = 0, kept = 0, count = w->approved_count; i < count; i++) {
        if (kept == 0 || w->approved[kept - 1] != w->approved[i])
            w->approved[kept++] = w->approved[i];
        w->approved_count = kept;
    }
    mgc_brakes_digest(NULL, 0, w->approved, w->approved_count, set);
    if (strcmp(set, w->past.last_set) != 0)
        return stale(w, "the list of its files is no longer there", err);
    return 0;
}

static bool approved_id(const struct mgc_work *w, int64_t id)
{
    return w->approved_count > 0 &&
           bsearch(&id, w->approved, w->approved_count, sizeof(id), by_id) != NULL;
}

/* Those of the set that are still candidates; the rest stay for another run. */
static void restrict_to_approved(struct mgc_work *w)
{
    for (size_t i = 0; i < w->candidates_count; i++)
        if (!approved_id(w, w->candidates[i].entry_id))
            mgc_work_unmake_candidate(w, i);
    mgc_work_settle_candidates(w);
}

static int gather(struct mgc_work *w, struct mgc_brake_source **ret_sources, struct mgc_err *err)
{
    struct mgc_brake_source *sources = calloc(w->sources_count, sizeof(*sources));

    if (sources == NULL)
        return mgc_err_set(err, -ENOMEM, "could not judge the run");
    for (size_t i = 0; i < w->sources_count; i++) {
        const struct mgc_work_source *s = &w->sources[i];

        sources[i] = (struct mgc_brake_source){
            .name = s->source->name,
            .references = s->references,
            .references_before = s->references_before,
            .identity_changed = s->identity_changed,
            .went_back = s->went_back,
            .new_table = s->new_table,
            .changed = s->changed,
            .fence_open = s->fence_open,
            .detail = s->detail,
        };
    }
    *ret_sources = sources;
    return 0;
}

static void add_size(const struct mgc_work *w, bool approved_only, struct mgc_brake_facts *facts)
{
    facts->candidates = facts->candidate_bytes = 0;
    for (size_t i = 0; i < w->candidates_count; i++) {
        if (approved_only && !approved_id(w, w->candidates[i].entry_id))
            continue;
        facts->candidates++;
        if (w->candidate_sizes[i] > 0 &&
            __builtin_add_overflow(facts->candidate_bytes, w->candidate_sizes[i],
                                   &facts->candidate_bytes))
            facts->candidate_bytes = INT64_MAX;
    }
}

/* approved_only: size is judged by the candidates of the approved set. */
static int evaluate(struct mgc_work *w, bool approved_only, struct mgc_err *err)
{
    const struct mgc_brake_limits limits = {
        .max_files = w->conf->reconcile.max_files,
        .max_bytes = w->conf->reconcile.max_bytes,
        .max_share = w->conf->reconcile.max_share,
        .max_fall = w->conf->reconcile.max_fall,
        .control_share = w->conf->reconcile.control_share,
    };
    struct mgc_brake_facts facts = w->host_facts;
    mgc_autofree struct mgc_brake_source *sources = NULL;
    int r = gather(w, &sources, err);

    if (r < 0)
        return r;
    facts.sources = sources;
    facts.sources_count = w->sources_count;
    facts.entries = w->run.files;
    add_size(w, approved_only, &facts);
    facts.recent = w->recent;
    facts.recent_referenced = w->recent_referenced;
    facts.complete_runs = w->past.complete_runs;
    facts.control_history =
        w->past.recent > 0 ? (double)w->past.recent_referenced / (double)w->past.recent : -1;
    /* A hold freezes moves; describing goes on. */
    facts.held = facts.held && w->apply;
    w->hits_count = mgc_brakes(&facts, &limits, w->hits, MGC_WORK_HITS);
    return 0;
}

static bool has_hit(const struct mgc_work *w, enum mgc_brake brake)
{
    for (size_t i = 0; i < w->hits_count; i++)
        if (w->hits[i].brake == brake)
            return true;
    return false;
}

static bool met_before(const struct mgc_work *w, const struct mgc_brake_hit *hit)
{
    const json_t *texts = json_object_get(w->past.last, "texts");
    const json_t *name;
    size_t i;

    json_array_foreach(json_object_get(w->past.last, "brakes"), i, name)
    {
        const char *text = json_string_value(json_array_get(texts, i));

        if (!json_is_string(name) ||
            strcmp(json_string_value(name), mgc_brake_name(hit->brake)) != 0)
            continue;
        if (mgc_brake_is_size(hit->brake) || mgc_state_same(text, hit->text))
            return true;
    }
    return false;
}

/* P1 */
static bool lifted(const struct mgc_work *w, const struct mgc_brake_hit *hit)
{
    if (!mgc_brake_approvable(hit->brake) || !met_before(w, hit))
        return false;
    /* Its text says which way a database went, not how far. */
    return hit->brake != MGC_BRAKE_IDENTITY || mgc_work_as_refused(w, &w->sources[hit->source]);
}

static bool all_lifted(const struct mgc_work *w)
{
    bool all = w->hits_count < MGC_WORK_HITS; /* else there may be more than are listed */

    for (size_t i = 0; i < w->hits_count; i++)
        all = all && lifted(w, &w->hits[i]);
    return all;
}

/* P2 */
static int act_on_approval(struct mgc_work *w, struct mgc_err *err)
{
    int r = evaluate(w, true, err);

    if (r < 0)
        return r;
    if (!all_lifted(w))
        return evaluate(w, false, err);
    for (size_t i = 0; i < w->hits_count; i++)
        if (w->hits[i].brake == MGC_BRAKE_IDENTITY)
            w->sources[w->hits[i].source].accepted = true;
    w->hits_count = 0;
    restrict_to_approved(w);
    return 0;
}

/* Over all candidates, also where an approval left some out: they are what the findings list. */
static int note_set(struct mgc_work *w, int64_t **ret_ids, size_t *ret_count, struct mgc_err *err)
{
    int64_t *ids = calloc(w->candidates_count + 1, sizeof(*ids));

    if (ids == NULL)
        return mgc_err_set(err, -ENOMEM, "could not judge the run");
    for (size_t i = 0; i < w->candidates_count; i++)
        ids[i] = w->candidates[i].entry_id; /* walked in the order of ids */
    mgc_brakes_digest(NULL, 0, ids, w->candidates_count, w->set);
    *ret_ids = ids;
    *ret_count = w->candidates_count;
    return 0;
}

/*
 * complete: counts as a confirmation.  A refusal by size does; one by a changed configuration is
 * noted as complete without orphans, so that every wait begins again after it.
 */
static void conclude(struct mgc_work *w)
{
    bool size_only = true;

    for (size_t i = 0; i < w->hits_count; i++)
        size_only = size_only && mgc_brake_is_size(w->hits[i].brake);
    w->refused = w->hits_count > 0;
    w->advance = size_only;
    w->run.complete = size_only || has_hit(w, MGC_BRAKE_CHANGED);
    /* Another database or another tree: its mentions are not about these files. */
    w->heal_allowed = w->apply && !has_hit(w, MGC_BRAKE_IDENTITY) && !has_hit(w, MGC_BRAKE_TREE);
}

int mgc_work_brakes(struct mgc_work *w, struct mgc_err *err)
{
    mgc_autofree int64_t *ids = NULL;
    size_t count = 0;
    int r = note_set(w, &ids, &count, err);

    if (r < 0)
        return r;
    mgc_work_check_tables(w);
    r = approving(w) ? act_on_approval(w, err) : evaluate(w, false, err);
    if (r < 0)
        return r;
    if (w->hits_count > 0)
        mgc_brakes_digest(w->hits, w->hits_count, ids, count, w->digest);
    conclude(w);
    return 0;
}

/* Rules under which nothing a source says is proof enough to delete by (G5). */
int mgc_work_doubt(struct mgc_work *w, struct mgc_err *err)
{
    int r;

    for (size_t i = 0; i < w->sources_count; i++) {
        const struct mgc_work_source *s = &w->sources[i];

        if (s->pinned)
            continue;
        (void)mgc_err_say(err, MGC_E_REFUSED, "no complete run has read source '%s' yet",
                          s->source->name);
        (void)mgc_err_hint(err, "Run 'mediagcfs reconcile' first.");
        return MGC_E_REFUSED;
    }
    w->run.files = (int64_t)w->records_count + (int64_t)w->held_count;
    mgc_work_check_tables(w);
    r = evaluate(w, false, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < w->hits_count; i++) {
        enum mgc_brake brake = w->hits[i].brake;

        if (brake != MGC_BRAKE_NO_REFERENCES && brake != MGC_BRAKE_FALL &&
            brake != MGC_BRAKE_IDENTITY && brake != MGC_BRAKE_CHANGED)
            continue;
        (void)mgc_err_say(err, MGC_E_REFUSED, "%s", w->hits[i].text);
        (void)mgc_err_hint(err, "A run that is approved makes this the usual state.");
        return MGC_E_REFUSED;
    }
    return 0;
}
