/*
 * run_held.c -- held files take part in a run: what is mentioned again comes back (G4), what is
 * not gets its proof where the run read deep enough (G5).
 */
#include "fs/reconcile/run_priv.h"

#include <inttypes.h>

#include "mediagcfs/path.h"

struct take {
    struct mgc_work *w;
    int64_t last;
};

int mgc_work_copy_held(struct mgc_held *to, const struct mgc_held *from)
{
    struct mgc_held copy = *from;
    char *path = strdup(from->path != NULL ? from->path : "");
    char *restore_to = strdup(from->restore_to != NULL ? from->restore_to : "");

    if (path == NULL || restore_to == NULL) {
        free(path);
        free(restore_to);
        return -ENOMEM;
    }
    copy.path = path;
    copy.restore_to = restore_to;
    *to = copy;
    return 0;
}

void mgc_work_free_held(struct mgc_held *row)
{
    free((void *)(uintptr_t)row->path);
    free((void *)(uintptr_t)row->restore_to);
    row->path = row->restore_to = NULL;
}

static int take(void *arg, const struct mgc_held *row)
{
    struct take *t = arg;
    struct mgc_work *w = t->w;
    struct mgc_work_held *rows;

    t->last = row->id;
    if (row->state != MGC_HELD_HELD) /* on its way: whoever moves it decides */
        return 0;
    rows = mgc_work_grow(w->held, w->held_count, &w->held_capacity, sizeof(*rows));
    if (rows == NULL)
        return -ENOMEM;
    w->held = rows;
    memset(&rows[w->held_count], 0, sizeof(*rows));
    rows[w->held_count].index = rows[w->held_count].index_now = MGC_NO_INDEX;
    if (mgc_work_copy_held(&rows[w->held_count].row, row) < 0)
        return -ENOMEM;
    w->held_count++;
    return 0;
}

/* H5: the directory it was taken from may have another name by now. */
static int follow(struct mgc_work *w, struct mgc_work_held *h)
{
    char path[MGC_PATH_BYTES_MAX + 1];
    const char *dir;

    h->dir = h->row.dir_id > 0 ? mgc_dirs_find(&w->dirs, h->row.dir_id) : MGC_NO_INDEX;
    dir = mgc_dirs_path(&w->dirs, h->dir);
    if (dir == NULL || mgc_path_join(path, sizeof(path), dir, mgc_path_leaf(h->row.path)) < 0)
        return 0;
    if (strcmp(path, h->row.path) == 0)
        return 0;
    h->now = strdup(path);
    return h->now != NULL ? 0 : -ENOMEM;
}

static int add(struct mgc_work *w, const char *path, uint32_t *next, uint32_t *ret_index,
               struct mgc_err *err)
{
    int r = mgc_matcher_add(w->matcher, path, false, err);

    if (r == 0)
        *ret_index = (*next)++;
    return r;
}

int mgc_work_load_held(struct mgc_work *w, uint32_t *next_index, struct mgc_err *err)
{
    struct take t = {w, 0};
    int r;

    do {
        r = w->catalog->ops->held_scan(w->catalog, t.last, MGC_WORK_PAGE, NULL, take, &t, err);
        if (r == -ENOMEM)
            return mgc_err_set(err, r, "could not load held files");
        if (r < 0)
            return r;
    } while (r > 0);
    for (size_t i = 0; i < w->held_count; i++) {
        struct mgc_work_held *h = &w->held[i];

        if (*next_index >= MGC_NO_INDEX - 2)
            return mgc_err_say(err, MGC_E_LIMIT, "could not load held files: too many");
        if (follow(w, h) < 0)
            return mgc_err_set(err, -ENOMEM, "could not load held files");
        r = add(w, h->row.path, next_index, &h->index, err);
        if (r == 0 && h->now != NULL)
            r = add(w, h->now, next_index, &h->index_now, err);
        if (r < 0)
            return r;
    }
    return 0;
}

unsigned mgc_work_held_marks(const struct mgc_work *w, const struct mgc_work_held *held)
{
    unsigned marks = mgc_matcher_marks(w->matcher, held->index);

    if (held->index_now != MGC_NO_INDEX)
        marks |= mgc_matcher_marks(w->matcher, held->index_now);
    return marks;
}

static int ignore(void *arg, const struct mgc_entry *entry)
{
    (void)arg;
    (void)entry;
    return 0;
}

/* Something lives at the path: the mention means that. */
static bool occupied(struct mgc_work *w, const struct mgc_work_held *h)
{
    const char *path = h->now != NULL ? h->now : h->row.path;

    return w->catalog->ops->entry_by_path(w->catalog, path, ignore, NULL) >= 0;
}

/* What the application deleted a moment ago may still be in our snapshot: it is not needed. */
static bool needed(struct mgc_work *w, const struct mgc_work_held *h)
{
    if ((mgc_work_held_marks(w, h) & MGC_MARK_STRONG) == 0)
        return false;
    if (h->row.reason != MGC_REASON_ORPHAN && h->row.held_us > w->nominal_us)
        return false;
    return !occupied(w, h);
}

/* No later call can do better: the other side is gone, or we are out of memory. */
static bool ends_the_run(int code)
{
    switch (code) {
    case MGC_E_NO_DAEMON:
    case MGC_E_PROTOCOL:
    case -EPIPE:
    case -ECONNRESET:
    case -ECONNREFUSED:
    case -ENOTCONN:
    case -EBADF:
    case -ENOMEM:
        return true;
    default:
        return false;
    }
}

/* One file that cannot be put back stays held, and stops neither the others nor later runs. */
static void note_fault(struct mgc_work *w, const struct mgc_work_held *h, const struct mgc_err *why,
                       int64_t faults)
{
    w->failed++;
    if (faults <= MGC_WORK_FAULTS_SAID)
        mgc_work_notice(w, "held file %" PRId64 " '%s' could not be put back: %s", h->row.id,
                        MGC_SHOW(h->row.path), why->text);
}

/* A run that only describes says what one that acts would put back. */
static int tell_needed(struct mgc_work *w)
{
    int64_t count = 0;

    for (size_t i = 0; i < w->held_count; i++)
        count += needed(w, &w->held[i]) ? 1 : 0;
    if (count > 0 && !w->apply)
        mgc_work_notice(w,
                        "%" PRId64 " held files are mentioned again: a run with --apply puts them "
                        "back",
                        count);
    return 0;
}

int mgc_work_heal(struct mgc_work *w, struct mgc_err *err)
{
    enum mgc_conf_heal mode = w->conf->quarantine.heal;
    int64_t faults = 0;

    if (!w->heal_allowed)
        return tell_needed(w);
    /* Newest first: of several versions of one path the latest is the one that was meant. */
    for (size_t i = w->held_count; i > 0; i--) {
        struct mgc_work_held *h = &w->held[i - 1];
        struct mgc_err why = {0};
        int r;

        if (!needed(w, h))
            continue;
        if (mode != MGC_HEAL_RESTORE && mode != MGC_HEAL_SERVE) {
            mgc_work_notice(w, "held file %" PRId64 " '%s' is referenced again", h->row.id,
                            MGC_SHOW(h->row.path));
            continue;
        }
        r = w->host->heal(w->host->arg, w->run.id, h->row.id, &why);
        if (r == 0) {
            w->run.healed++;
            continue;
        }
        /* Restored, purged or replaced meanwhile: the file is not ours to put back any more. */
        if (r == -EEXIST || r == -ENOENT || r == -ESTALE)
            continue;
        if (ends_the_run(r)) {
            mgc_err_copy(err, &why);
            return r;
        }
        note_fault(w, h, &why, ++faults);
    }
    if (faults > MGC_WORK_FAULTS_SAID)
        mgc_work_notice(w, "%" PRId64 " more held files could not be put back",
                        faults - MGC_WORK_FAULTS_SAID);
    return 0;
}

/*
 * A run reads what keeps files alive; a proof reads the ignored tables too.  The two are the same
 * for commands alone, so a run proves only where all sources are commands.
 */
static bool as_deep_as_a_proof(const struct mgc_work *w)
{
    for (size_t i = 0; i < w->sources_count; i++)
        if (w->sources[i].conf->type != MGC_TYPE_COMMAND)
            return false;
    return w->sources_count > 0;
}

int mgc_work_prove(struct mgc_work *w, struct mgc_err *err)
{
    static const unsigned any = MGC_MARK_STRONG | MGC_MARK_WEAK | MGC_MARK_NEAR | MGC_MARK_SHORT;
    mgc_autofree int64_t *ids = NULL;
    size_t count = 0;
    int r = 0;

    if (!as_deep_as_a_proof(w) || w->held_count == 0)
        return 0;
    ids = calloc(w->held_count, sizeof(*ids));
    if (ids == NULL)
        return mgc_err_set(err, -ENOMEM, "could not record proofs");
    for (size_t i = 0; i < w->held_count; i++)
        if (w->held[i].row.reason == MGC_REASON_ORPHAN &&
            (mgc_work_held_marks(w, &w->held[i]) & any) == 0)
            ids[count++] = w->held[i].row.id;
    for (size_t at = 0; r == 0 && at < count; at += MGC_IDS_PER_MESSAGE_MAX) {
        size_t part = count - at < MGC_IDS_PER_MESSAGE_MAX ? count - at : MGC_IDS_PER_MESSAGE_MAX;
        r = w->host->prove(w->host->arg, w->run.id, ids + at, part, w->terms.now_us, err);
    }
    return r;
}
