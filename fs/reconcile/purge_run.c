/*
 * purge_run.c -- the proofs before anything is deleted for good (G5).
 *
 *   P1  Two scans of everything, both after the row fell due; the second begins after every
 *       transaction that was open at the first has ended.  The first may be a run's.
 *   P2  Any mention of any path the file has had keeps it, also in an ignored table, also one that
 *       differs in case, form or encoding or is shortened.
 *   P3  A source that is not the pinned database, says nothing at all or much less than usual
 *       proves nothing.
 *   P4  What the application itself deleted needs no proof.
 */
#include "fs/reconcile/run_priv.h"

#include <inttypes.h>
#include <stdarg.h>

enum how {
    KEPT,         /* decided: stays, reason says why */
    DIRECT,       /* needs no proof */
    PROVE,        /* needs both scans */
    PROVEN_BEFORE /* a run made the first */
};

struct item {
    struct mgc_held row;
    enum how how;
    int code;
    char reason[256];
};

struct purge {
    const struct mgc_purge_spec *spec;
    struct item *items;
    size_t count;
    int64_t now_us, first_us, second_us;
    int64_t proof_run; /* whose sources are in proof_sources */
    json_t *proof_sources;
};

static void keep(struct item *item, int code, const char *format, ...) MGC_PRINTF(3, 4);
static void keep(struct item *item, int code, const char *format, ...)
{
    va_list args;

    item->how = KEPT;
    item->code = code;
    va_start(args, format);
    (void)vsnprintf(item->reason, sizeof(item->reason), format, args);
    va_end(args);
}

static void classify(struct purge *p, struct item *item)
{
    const struct mgc_purge_rules rules =
        mgc_purge_rules_of(p->spec->conf, p->spec->catalog, p->now_us);
    const struct mgc_held *row = &item->row;
    int64_t due_us = mgc_purge_due_us(row, &rules);
    int64_t from_us = p->spec->now ? row->held_us : due_us;
    char text[32];

    if (row->state != MGC_HELD_HELD)
        keep(item, MGC_E_REFUSED, "it is %s", mgc_held_state_name(row->state));
    else if (row->pinned)
        keep(item, MGC_E_REFUSED, "it is pinned");
    else if (row->held_us <= 0)
        keep(item, MGC_E_REFUSED, "it is not known since when it is held");
    else if (!p->spec->now && due_us > p->now_us)
        keep(item, MGC_E_REFUSED, "its retention ends at %s",
             mgc_time_text(text, sizeof(text), due_us));
    else if (row->reason != MGC_REASON_ORPHAN)
        item->how = DIRECT;
    else if (row->proof_us >= from_us && row->proof_us > 0 && row->proof_run > 0)
        item->how = PROVEN_BEFORE;
    else
        item->how = PROVE;
}

static int copy(void *arg, const struct mgc_held *row)
{
    struct item *item = arg;

    return mgc_work_copy_held(&item->row, row);
}

static int load(struct purge *p, struct mgc_err *err)
{
    struct mgc_catalog *c = p->spec->catalog;

    p->items = calloc(p->spec->count + 1, sizeof(*p->items));
    if (p->items == NULL)
        return mgc_err_set(err, -ENOMEM, "could not prepare a purge");
    for (size_t i = 0; i < p->spec->count; i++) {
        int r = c->ops->held_get(c, p->spec->ids[i], copy, &p->items[p->count]);

        if (r == -ENOENT) /* restored, healed or purged meanwhile */
            continue;
        if (r < 0)
            return mgc_err_set(err, r, "could not read held file '%" PRId64 "'", p->spec->ids[i]);
        classify(p, &p->items[p->count++]);
    }
    return 0;
}

static bool any(const struct purge *p, enum how how)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->items[i].how == how)
            return true;
    return false;
}

/* ---- a scan ---- */

/* Held files have the last indexes, in order. */
static struct mgc_work_held *held_at(struct mgc_work *w, uint32_t index)
{
    size_t low = 0, high = w->held_count;

    if (w->held_count == 0 || index < w->held[0].index)
        return NULL;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (w->held[middle].index <= index)
            low = middle;
        else
            high = middle;
    }
    return &w->held[low];
}

static void note_mention(struct mgc_work *w, uint32_t index, enum mgc_mark mark, int64_t at,
                         size_t length)
{
    struct mgc_work_held *h = held_at(w, index);
    char text[160];

    (void)at;
    (void)length;
    if (h == NULL || h->mention != NULL || w->origin == NULL ||
        (mark & (MGC_MARK_STRONG | MGC_MARK_WEAK)) == 0)
        return;
    (void)snprintf(text, sizeof(text), "%s%s%s%s%s", w->origin->source,
                   w->origin->table[0] != '\0' ? " " : "", w->origin->table,
                   w->origin->column[0] != '\0' ? "." : "", w->origin->column);
    h->mention = strdup(text); /* without memory the mark still keeps the file */
}

static int scan(struct purge *p, struct mgc_work *w, int64_t *ret_t0_us, struct mgc_err *err)
{
    int64_t t0_us = mgc_now_us();
    int r = mgc_work_history(w, err);

    if (r == 0)
        r = mgc_work_begin_sources(w, err);
    for (size_t i = 0; r == 0 && i < w->sources_count; i++)
        if (w->sources[i].view.t0_us < t0_us)
            t0_us = w->sources[i].view.t0_us;
    /* P1 for rows whose first scan was a run's: asked for before this snapshot is used. */
    for (size_t i = 0; r == 0 && w->quiet && i < p->count; i++) {
        struct mgc_err why = {0};

        if (p->items[i].how != PROVEN_BEFORE)
            continue;
        r = mgc_work_fences_passed(w, p->proof_sources, &why);
        if (r < 0) {
            mgc_err_copy(err, &why);
            return r;
        }
        if (r == 0)
            keep(&p->items[i], MGC_E_REFUSED,
                 "transactions open at its first proof have not ended: %.150s", why.text);
        r = 0;
    }
    if (r == 0)
        r = mgc_work_load(w, err);
    if (r == 0)
        r = mgc_work_scan(w, MGC_DEPTH_PROOF, err);
    if (r == 0)
        r = mgc_work_doubt(w, err);
    if (r == 0)
        *ret_t0_us = t0_us;
    return r;
}

static const struct mgc_work_held *held_of(const struct mgc_work *w, int64_t id)
{
    size_t low = 0, high = w->held_count;

    while (low < high) { /* loaded in the order of ids */
        size_t middle = low + (high - low) / 2;
        if (w->held[middle].row.id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < w->held_count && w->held[low].row.id == id ? &w->held[low] : NULL;
}

/* P2. */
static void judge(const struct mgc_work *w, struct item *item)
{
    const struct mgc_work_held *h = held_of(w, item->row.id);
    unsigned marks;

    if (h == NULL) {
        keep(item, MGC_E_REFUSED, "it is no longer held");
        return;
    }
    marks = mgc_work_held_marks(w, h);
    if ((marks & (MGC_MARK_STRONG | MGC_MARK_WEAK)) != 0)
        keep(item, MGC_E_REFUSED, "it is mentioned%s%s%s", h->mention != NULL ? " in " : "",
             h->mention != NULL ? h->mention : "",
             (marks & MGC_MARK_STRONG) == 0 ? " (ignored for keeping files alive)" : "");
    else if ((marks & MGC_MARK_NEAR) != 0)
        keep(item, MGC_E_REFUSED, "%s", mgc_why_text(MGC_WHY_NEAR));
    else if ((marks & MGC_MARK_SHORT) != 0)
        keep(item, MGC_E_REFUSED, "%s", mgc_why_text(MGC_WHY_SHORT));
    else if (h->dir != MGC_NO_INDEX && w->dirs.rows[h->dir].suspect)
        keep(item, MGC_E_REFUSED, "%s", mgc_why_text(MGC_WHY_DIRECTORY));
}

static int open_work(struct purge *p, struct mgc_work *w, struct mgc_err *err)
{
    int r = mgc_work_init(w, p->spec->conf, p->spec->sources, p->spec->sources_count, err);

    w->catalog = p->spec->catalog;
    w->host = p->spec->host;
    w->hit = note_mention;
    return r;
}

static void judge_all(struct purge *p, struct mgc_work *w)
{
    mgc_work_mark_dirs(w);
    for (size_t i = 0; i < p->count; i++)
        if (p->items[i].how == PROVE || p->items[i].how == PROVEN_BEFORE)
            judge(w, &p->items[i]);
}

/* The first scan, and the wait until the second may begin. */
static int first_proof(struct purge *p, struct mgc_err *err)
{
    struct mgc_work *w = calloc(1, sizeof(*w));
    struct mgc_err open = {0};
    int r;

    if (w == NULL)
        return mgc_err_set(err, -ENOMEM, "could not prepare a purge");
    r = open_work(p, w, err);
    if (r == 0)
        r = scan(p, w, &p->first_us, err);
    if (r == 0) {
        judge_all(p, w);
        r = any(p, PROVE) ? mgc_work_await_fences(w, &open) : 1;
        if (r < 0)
            mgc_err_copy(err, &open);
    }
    for (size_t i = 0; r == 0 && i < p->count; i++)
        if (p->items[i].how == PROVE)
            keep(&p->items[i], MGC_E_REFUSED,
                 "transactions open at its first proof have not ended: %.150s", open.text);
    mgc_work_done(w);
    free(w);
    return r < 0 ? r : 0;
}

static int second_proof(struct purge *p, struct mgc_err *err)
{
    struct mgc_work *w = calloc(1, sizeof(*w));
    int r;

    if (w == NULL)
        return mgc_err_set(err, -ENOMEM, "could not prepare a purge");
    r = open_work(p, w, err);
    w->quiet = true; /* the second scan of this purge */
    if (r == 0)
        r = scan(p, w, &p->second_us, err);
    if (r == 0)
        judge_all(p, w);
    mgc_work_done(w);
    free(w);
    return r;
}

/* ---- proofs made by runs ---- */

static int take_proof_run(void *arg, const struct mgc_run *run)
{
    struct purge *p = arg;
    json_t *root;

    if (run->id != p->proof_run || !run->complete)
        return 1;
    root = json_loads(run->sources != NULL ? run->sources : "", 0, NULL);
    p->proof_sources = json_incref(json_object_get(root, "sources"));
    json_decref(root);
    return 1;
}

/* The newest run that proved; rows proven by another one are proven again. */
static int load_proof_run(struct purge *p, struct mgc_err *err)
{
    struct mgc_catalog *c = p->spec->catalog;
    int r = 0;

    for (size_t i = 0; i < p->count; i++)
        if (p->items[i].how == PROVEN_BEFORE && p->items[i].row.proof_run > p->proof_run)
            p->proof_run = p->items[i].row.proof_run;
    if (p->proof_run > 0)
        r = c->ops->runs(c, p->proof_run + 1, 1, take_proof_run, p);
    if (r < 0)
        return mgc_err_set(err, r, "could not read run '%" PRId64 "'", p->proof_run);
    for (size_t i = 0; i < p->count; i++)
        if (p->items[i].how == PROVEN_BEFORE &&
            (p->proof_sources == NULL || p->items[i].row.proof_run != p->proof_run))
            p->items[i].how = PROVE;
    return 0;
}

/* ---- effects ---- */

static int delete_part(struct purge *p, struct item *const *part, size_t count, int64_t first_us,
                       struct mgc_err *err)
{
    const struct mgc_run_host *host = p->spec->host;
    int64_t ids[MGC_MOVE_BATCH_MAX];
    int outcomes[MGC_MOVE_BATCH_MAX];
    bool direct = part[0]->how == DIRECT;
    int r;

    for (size_t i = 0; i < count; i++) {
        ids[i] = part[i]->row.id;
        outcomes[i] = -EIO; /* not claimed, not purged */
    }
    r = host->purge(host->arg, ids, count, first_us, direct ? 0 : p->second_us, p->spec->now,
                    outcomes, err);
    for (size_t i = 0; i < count; i++) {
        int code = outcomes[i] != -EIO || r == 0 ? outcomes[i] : r;

        if (code < 0)
            keep(part[i], code, "%s", mgc_code_text(code));
    }
    return r;
}

/* Deletes the items of one kind; they share their first proof. */
static int delete_all(struct purge *p, enum how how, int64_t first_us, struct mgc_err *err)
{
    struct item *part[MGC_MOVE_BATCH_MAX];
    size_t filled = 0;
    int r = 0;

    for (size_t i = 0; i <= p->count; i++) {
        if (i < p->count && p->items[i].how == how)
            part[filled++] = &p->items[i];
        if (filled == 0 || (filled < MGC_MOVE_BATCH_MAX && i < p->count))
            continue;
        if (r == 0 && p->spec->apply)
            r = delete_part(p, part, filled, first_us, err);
        else if (r < 0)
            for (size_t k = 0; k < filled; k++)
                keep(part[k], r, "%s", mgc_code_text(r));
        filled = 0;
        if (p->spec->host->progress != NULL)
            p->spec->host->progress(p->spec->host->arg, "purge", (int64_t)i, (int64_t)p->count);
    }
    return r;
}

static void fail_rest(struct purge *p, int code, const struct mgc_err *err)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->items[i].how == PROVE || p->items[i].how == PROVEN_BEFORE)
            keep(&p->items[i], code, "%.250s", err->text);
}

static int prove_and_delete(struct purge *p, struct mgc_err *err)
{
    int r = load_proof_run(p, err);

    if (r == 0 && any(p, PROVE))
        r = first_proof(p, err);
    if (r == 0 && (any(p, PROVE) || any(p, PROVEN_BEFORE)))
        r = second_proof(p, err);
    if (r == 0)
        r = delete_all(p, PROVEN_BEFORE, 0, err);
    if (r == 0)
        r = delete_all(p, PROVE, p->first_us, err);
    return r;
}

int mgc_run_purge(const struct mgc_purge_spec *spec, int64_t *ret_purged, int64_t *ret_kept,
                  struct mgc_err *err)
{
    struct purge p = {.spec = spec, .now_us = mgc_now_us()};
    struct mgc_err own = {0};
    int64_t purged = 0, kept = 0;
    int r = spec->host->flush(spec->host->arg, &own);

    if (r == 0)
        r = load(&p, &own);
    if (r == 0)
        r = delete_all(&p, DIRECT, 0, &own);
    if (r == 0 && (any(&p, PROVE) || any(&p, PROVEN_BEFORE)))
        r = prove_and_delete(&p, &own);
    if (r < 0) {
        mgc_err_copy(err, &own);
        fail_rest(&p, r, &own);
    }
    for (size_t i = 0; i < p.count; i++) {
        struct item *item = &p.items[i];
        bool gone = item->how != KEPT;

        purged += gone ? 1 : 0;
        kept += gone ? 0 : 1;
        if (spec->each != NULL)
            spec->each(spec->arg, &item->row, gone ? 0 : item->code, gone ? NULL : item->reason);
    }
    for (size_t i = 0; i < p.count; i++)
        mgc_work_free_held(&p.items[i].row);
    free(p.items);
    json_decref(p.proof_sources);
    if (r == 0) {
        *ret_purged = purged;
        *ret_kept = kept;
    }
    return r;
}
