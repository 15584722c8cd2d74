/*
 * run_entries.c -- every entry of the catalog, once to be looked for, later to be judged.
 *
 * What is kept of an entry between the passes is 16 bytes and its place in the matcher; the rest
 * is read again, so that a rename or write recorded meanwhile counts.
 *
 *   E1  An entry that is judged has been in the matcher under the path it had at the load.  If it
 *       has another path now, it or a directory above it was born since, after any horizon.
 */
#include "fs/reconcile/run_priv.h"

#include "mediagcfs/path.h"

/* One page of rows, copied out of the catalog's transaction. */
struct page {
    struct mgc_entry *rows;
    size_t *names;
    size_t count;
    struct mgc_buf text;
};

static int page_take(void *arg, const struct mgc_entry *entry)
{
    struct page *p = arg;

    if (p->count == MGC_WORK_PAGE)
        return -EOVERFLOW;
    p->rows[p->count] = *entry;
    p->names[p->count] = p->text.bytes;
    mgc_buf_add(&p->text, entry->name, strlen(entry->name) + 1);
    if (p->text.failed)
        return -ENOMEM;
    p->count++;
    return 0;
}

static int page_init(struct page *p, struct mgc_err *err)
{
    memset(p, 0, sizeof(*p));
    p->rows = calloc(MGC_WORK_PAGE, sizeof(*p->rows));
    p->names = calloc(MGC_WORK_PAGE, sizeof(*p->names));
    if (p->rows == NULL || p->names == NULL)
        return mgc_err_set(err, -ENOMEM, "could not read entries");
    return 0;
}

static void page_done(struct page *p)
{
    free(p->rows);
    free(p->names);
    mgc_buf_done(&p->text);
}

/* Rows after `after`; p->count is 0 at the end. */
static int page_read(struct page *p, struct mgc_catalog *c, int64_t after, struct mgc_err *err)
{
    int r;

    p->count = 0;
    mgc_buf_clear(&p->text);
    r = c->ops->scan_entries(c, after, MGC_WORK_PAGE, page_take, p, err);
    if (r == -ENOMEM || r == -EOVERFLOW)
        return mgc_err_set(err, r, "could not read entries");
    if (r < 0)
        return r;
    for (size_t i = 0; i < p->count; i++)
        p->rows[i].name = p->text.data + p->names[i];
    return 0;
}

static bool place(struct mgc_dirs *d, uint32_t dir, const char *name, char *out)
{
    const char *path = mgc_dirs_path(d, dir);

    return path != NULL && mgc_path_join(out, MGC_PATH_BYTES_MAX + 1, path, name) == 0;
}

static int load_dirs(struct mgc_work *w, uint32_t *next, struct mgc_err *err)
{
    int r = mgc_dirs_load(&w->dirs, w->catalog, err);

    for (size_t i = 0; r == 0 && i < w->dirs.count; i++) {
        const char *path = mgc_dirs_path(&w->dirs, (uint32_t)i);

        if (path == NULL || path[0] == '\0')
            continue;
        r = mgc_matcher_add(w->matcher, path, true, err);
        w->dirs.rows[i].index = (*next)++;
    }
    return r;
}

static int load_entry(struct mgc_work *w, const struct mgc_entry *e, uint32_t *next,
                      struct mgc_err *err)
{
    char path[MGC_PATH_BYTES_MAX + 1];
    uint32_t dir = mgc_dirs_find(&w->dirs, e->dir_id);
    struct mgc_record *rows;

    if (!place(&w->dirs, dir, e->name, path)) {
        w->unplaced++;
        return 0;
    }
    rows = mgc_work_grow(w->records, w->records_count, &w->records_capacity, sizeof(*rows));
    if (rows == NULL)
        return mgc_err_set(err, -ENOMEM, "could not load entries");
    w->records = rows;
    if (*next == MGC_NO_INDEX - 1)
        return mgc_err_say(err, MGC_E_LIMIT, "could not load entries: too many");
    rows[w->records_count++] =
        (struct mgc_record){.id = e->id, .dir = dir, .manifest = mgc_verdict_manifest(e->name)};
    (*next)++;
    return mgc_matcher_add(w->matcher, path, false, err);
}

static int load_entries(struct mgc_work *w, uint32_t *next, struct mgc_err *err)
{
    struct page p;
    int64_t after = 0, total = 0, bytes = 0;
    int r = page_init(&p, err);

    (void)w->catalog->ops->totals(w->catalog, &total, &bytes);
    w->first_record = *next;
    while (r == 0) {
        r = page_read(&p, w->catalog, after, err);
        if (r < 0 || p.count == 0)
            break;
        for (size_t i = 0; r == 0 && i < p.count; i++)
            r = load_entry(w, &p.rows[i], next, err);
        after = p.rows[p.count - 1].id;
        mgc_work_progress(w, "entries", (int64_t)w->records_count + w->unplaced, total);
    }
    page_done(&p);
    return r;
}

static void hit(void *arg, uint32_t index, enum mgc_mark mark, bool whole, int64_t at,
                size_t length)
{
    struct mgc_work *w = arg;

    (void)whole;
    if (w->hit != NULL)
        w->hit(w, index, mark, at, length);
}

int mgc_work_load(struct mgc_work *w, struct mgc_err *err)
{
    struct mgc_matcher_spec spec = {
        .memory_bytes = w->conf->reconcile.memory_bytes > 0 ? w->conf->reconcile.memory_bytes : 0,
        .missing = w->want_missing ? mgc_work_missing : NULL,
        .hit = w->hit != NULL ? hit : NULL,
        .arg = w,
    };
    uint32_t next = 0;
    int r;

    mgc_random(spec.seed, sizeof(spec.seed));
    r = mgc_matcher_new(&spec, &w->matcher, err);
    if (r == 0)
        r = load_dirs(w, &next, err);
    if (r == 0)
        r = load_entries(w, &next, err);
    if (r == 0)
        r = mgc_work_load_held(w, &next, err);
    if (r == 0)
        r = mgc_matcher_seal(w->matcher, err);
    return r;
}

/* Where the walk is: the records and the page are both in the order of ids. */
struct walk {
    struct mgc_dirs now;
    size_t at;
};

static int walk_row(struct mgc_work *w, struct walk *k, const struct mgc_entry *e,
                    mgc_step_fn *each, struct mgc_err *err)
{
    char path[MGC_PATH_BYTES_MAX + 1];
    struct mgc_step step = {.entry = e, .path = path};
    uint32_t dir;
    int64_t above_us;

    while (k->at < w->records_count && w->records[k->at].id < e->id)
        k->at++;
    if (k->at == w->records_count || w->records[k->at].id != e->id)
        return 0; /* came after the load: the next run's business */
    step.record = &w->records[k->at];
    step.index = w->first_record + (uint32_t)k->at;
    dir = mgc_dirs_find(&k->now, e->dir_id);
    if (!place(&k->now, dir, e->name, path))
        return 0;
    above_us = w->dirs.rows[step.record->dir].born_us;
    if (k->now.rows[dir].born_us > above_us)
        above_us = k->now.rows[dir].born_us;
    /* A birth that is not known stays 0: that is a reason to keep. */
    step.born_us = e->born_us > 0 && above_us > e->born_us ? above_us : e->born_us;
    return each(w, &step, err);
}

int mgc_work_rows(struct mgc_work *w, mgc_row_fn *each, void *arg, struct mgc_err *err)
{
    struct page p;
    int64_t after = 0;
    int r = page_init(&p, err);

    while (r == 0) {
        r = page_read(&p, w->catalog, after, err);
        if (r < 0 || p.count == 0)
            break;
        for (size_t i = 0; r == 0 && i < p.count; i++)
            r = each(arg, &p.rows[i], err);
        after = p.rows[p.count - 1].id;
    }
    page_done(&p);
    return r;
}

struct mgc_record *mgc_work_record(struct mgc_work *w, int64_t id)
{
    size_t low = 0, high = w->records_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (w->records[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < w->records_count && w->records[low].id == id ? &w->records[low] : NULL;
}

int mgc_work_walk(struct mgc_work *w, const char *phase, mgc_step_fn *each, struct mgc_err *err)
{
    struct walk *k = calloc(1, sizeof(*k)); /* holds a path: too large for a small stack */
    struct page p = {0};
    int64_t after = 0;
    int r;

    if (k == NULL)
        return mgc_err_set(err, -ENOMEM, "could not read entries");
    r = mgc_dirs_load(&k->now, w->catalog, err);
    if (r == 0)
        r = page_init(&p, err);
    while (r == 0) {
        r = page_read(&p, w->catalog, after, err);
        if (r < 0 || p.count == 0)
            break;
        for (size_t i = 0; r == 0 && i < p.count; i++)
            r = walk_row(w, k, &p.rows[i], each, err);
        after = p.rows[p.count - 1].id;
        mgc_work_progress(w, phase, (int64_t)k->at, (int64_t)w->records_count);
    }
    page_done(&p);
    mgc_dirs_done(&k->now);
    free(k);
    return r;
}
