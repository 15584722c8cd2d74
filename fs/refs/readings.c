/*
 * readings.c -- every way a part of a text may have been written.
 *
 * A reading is the text with some layers of encoding undone.  From each reading the next ones are
 * made: one layer of all escapes undone at once; backslashes as slashes, '+' as spaces, doubled
 * quotes as one; and the contents of base64 runs.  Each different reading is scanned, in its raw
 * bytes and in its canonical form.
 *
 * Undoing all kinds of escapes in one step finds the paths that contain no escape themselves,
 * whatever order the layers were in; names that do look encoded are indexed as decoded too
 * (matcher.c), and where there are such names the kinds are also undone one at a time.  What is
 * ambiguous (backslash, plus, doubled quotes) applies once on the way, at any depth.
 *
 *   R1  More than MGC_TEXT_DECODE_DEPTH_MAX layers are not looked for (limits.h: a bound of what
 *       is a mention, not an error: texts escaped at every save exist).
 *   R2  The readings of a part are bounded by the ways to order decoders, so the cost is linear
 *       in the text.  The checks below make that certain: exceeding them is MGC_E_LIMIT.
 *   R3  Readings of base64 are not searched for base64 again, and only four layers deep.
 *   R4  Not found: encodings that contradict each other, such as a path with backslashes for
 *       slashes beneath three further layers that also contain '+' for a space; and, inside
 *       base64, a name that itself looks encoded beneath two layers.
 */
#include "matcher_priv.h"

#include "mediagcfs/assert.h"

enum { BASE64_LEAST = 16, BASE64_DEPTH_MAX = 4, GROUP = 4 };

static int visit(struct mgc_matcher *m, const struct mgc_reading *r, size_t level);

/* Scans a reading in the bytes it has.  Its kinds are in m->kinds. */
static void scan_bytes(struct mgc_matcher *m, const struct mgc_reading *r)
{
    mgc_matcher_scan(m, r, MGC_SPACE_EXACT, MGC_SCAN_MARK);
    if (r->depth > 0 || r->used != 0)
        mgc_matcher_scan(m, r, MGC_SPACE_DECODED, MGC_SCAN_MARK);
}

/* ... and in canonical form, made in `form`. */
static int scan_canonical(struct mgc_matcher *m, const struct mgc_reading *r, struct mgc_buf *form)
{
    struct mgc_reading canonical = *r;
    int e;

    if (!mgc_canon_form(form, r->text, r->bytes))
        return form->failed ? -ENOMEM : 0;
    if (form->failed)
        return -ENOMEM;
    canonical.text = form->data;
    canonical.bytes = form->bytes;
    canonical.verbatim = false;
    e = mgc_matcher_kinds(m, &canonical, NULL);
    if (e == 0)
        scan_bytes(m, &canonical);
    return e;
}

/* "/x/../" resolved, as one more spelling of this reading. */
static int scan_resolved(struct mgc_matcher *m, const struct mgc_reading *r)
{
    struct mgc_reading resolved = *r;
    int e;

    if (!mgc_canon_up(&m->up, r->text, r->bytes))
        return m->up.failed ? -ENOMEM : 0;
    resolved.text = m->up.data;
    resolved.bytes = m->up.bytes;
    resolved.verbatim = false;
    e = mgc_matcher_kinds(m, &resolved, NULL);
    if (e < 0)
        return e;
    scan_bytes(m, &resolved);
    return scan_canonical(m, &resolved, &m->form_up);
}

static int scan_spellings(struct mgc_matcher *m, const struct mgc_reading *r, unsigned *ret_escapes)
{
    int e = mgc_matcher_kinds(m, r, ret_escapes);

    if (e < 0)
        return e;
    if ((r->used & MGC_USED_BASE64) == 0) {
        m->covers_count = 0;
        m->note_covers = true;
    }
    mgc_matcher_scan(m, r, MGC_SPACE_EXACT, MGC_SCAN_MARK);
    m->note_covers = false;
    if (r->depth > 0 || r->used != 0)
        mgc_matcher_scan(m, r, MGC_SPACE_DECODED, MGC_SCAN_MARK);
    if ((*ret_escapes & MGC_ESC_BINARY) != 0 && r->depth == 0) {
        struct mgc_scan scan = mgc_matcher_scanner(m, r, MGC_SPACE_EXACT);

        mgc_scan_prefixed(&scan);
    }
    if ((*ret_escapes & MGC_ESC_HIGH) != 0)
        e = scan_canonical(m, r, &m->form);
    if (e == 0 && (*ret_escapes & MGC_ESC_UP) != 0)
        e = scan_resolved(m, r);
    return e;
}

/* Remembers the most decoded reading for what comes after all are read. */
static int keep_final(struct mgc_matcher *m, const struct mgc_reading *r)
{
    m->final_one = *r;
    if (r->verbatim)
        return 0; /* the caller's text outlives us */
    mgc_buf_clear(&m->final);
    mgc_buf_add(&m->final, r->text, r->bytes);
    m->final_one.text = m->final.data;
    return m->final.failed ? -ENOMEM : 0;
}

/* The contents of one run, from a place that may be the beginning of its groups. */
static int visit_base64(struct mgc_matcher *m, const struct mgc_reading *r,
                        const struct mgc_base64_run *run, size_t at, size_t level)
{
    struct mgc_buf *out = &m->pool[level];
    struct mgc_reading inner = {.used = MGC_USED_BASE64,
                                .open_end = r->open_end && run->end == r->bytes};
    int e;

    mgc_base64_decode(out, r->text, at, run->end);
    if (out->failed)
        return -ENOMEM;
    inner.text = out->data;
    inner.bytes = out->bytes;
    m->final_one = (struct mgc_reading){0};
    e = visit(m, &inner, level + 1);
    if (e == 0 && !m->weak && m->final_one.text != NULL)
        e = mgc_unresolved_run(m, &m->final_one);
    m->final_one = (struct mgc_reading){0};
    return e;
}

/* A run may begin inside a path (/render/eyJ...): one try for each phase of its groups of four. */
static int visit_run(struct mgc_matcher *m, const struct mgc_reading *r,
                     const struct mgc_base64_run *run, size_t level)
{
    size_t shortest = run->padded ? BASE64_LEAST / 2 : BASE64_LEAST - GROUP;
    bool all = r->open_start && run->at == 0;
    unsigned tried = 0;
    int e = 0;

    for (size_t at = run->at; e == 0 && tried != 15 && at + shortest <= run->end; at++) {
        unsigned phase = 1u << ((at - run->at) % GROUP);

        if ((tried & phase) != 0 || (at > run->at && !all && r->text[at - 1] != '/'))
            continue;
        tried |= phase;
        e = visit_base64(m, r, run, at, level);
    }
    return e;
}

/*
 * True when a path that was found makes up most of a run: letters, digits and slashes look like
 * base64.  `from` moves along with the runs, which come in ascending order.
 */
static bool is_covered(const struct mgc_matcher *m, const struct mgc_base64_run *run, size_t *from)
{
    while (*from < m->covers_count && m->covers[*from].end <= run->at)
        (*from)++;
    for (size_t i = *from; i < m->covers_count && m->covers[i].at < run->end; i++) {
        size_t at = m->covers[i].at > run->at ? m->covers[i].at : run->at;
        size_t end = m->covers[i].end < run->end ? m->covers[i].end : run->end;

        if (end >= at + MGC_COVER_BYTES && (end - at) * 2 > run->end - run->at)
            return true;
    }
    return false;
}

static int visit_runs(struct mgc_matcher *m, const struct mgc_reading *r, size_t level)
{
    struct mgc_base64_run run;
    size_t cover = 0;
    int e = 0;

    for (size_t at = 0; e == 0 && mgc_base64_next(r->text, r->bytes, at, BASE64_LEAST, &run);
         at = run.end)
        if (!is_covered(m, &run, &cover))
            e = visit_run(m, r, &run, level);
    return e;
}

/* The reading in pool[level], made from `r`. */
static int visit_made(struct mgc_matcher *m, const struct mgc_reading *r, int depth, unsigned used,
                      size_t level)
{
    struct mgc_reading next = *r;

    if (m->pool[level].failed)
        return -ENOMEM;
    next.text = m->pool[level].data;
    next.bytes = m->pool[level].bytes;
    next.depth = depth;
    next.used = used;
    next.verbatim = false;
    return visit(m, &next, level + 1);
}

/* What may be undone once on the way, where it occurs and where it can matter. */
static int visit_once(struct mgc_matcher *m, const struct mgc_reading *r, unsigned escapes,
                      size_t level)
{
    const struct {
        unsigned used, escape;
        bool matters;
    } ways[] = {{MGC_USED_SLASH, MGC_ESC_BACKSLASH, true},
                {MGC_USED_SPACE, MGC_ESC_PLUS, m->set.any_space},
                {MGC_USED_QUOTES, MGC_ESC_QUOTES, m->set.any_quote}};
    struct mgc_buf *out = &m->pool[level];
    int e = 0;

    for (size_t i = 0; e == 0 && i < ARRAY_SIZE(ways); i++) {
        unsigned used = r->used | ways[i].used;
        bool changed;

        if ((escapes & ways[i].escape) == 0 || !ways[i].matters || used == r->used ||
            (used & MGC_USED_ONCE) == MGC_USED_ONCE ||
            ((used & MGC_USED_SINGLY) != 0 && (r->used & MGC_USED_ONCE) != 0))
            continue; /* two of them together at most: bounds the readings (R2) */
        if (ways[i].used == MGC_USED_QUOTES)
            changed = mgc_canon_decode(out, r->text, r->bytes, MGC_ESC_QUOTES);
        else
            changed = mgc_canon_replace(out, r->text, r->bytes,
                                        ways[i].used == MGC_USED_SLASH ? "\\/" : "+ ");
        if (changed)
            e = visit_made(m, r, r->depth + 1, used, level);
        else if (out->failed)
            e = -ENOMEM;
    }
    return e;
}

/* One kind of escape at a time, in every order: for names that look encoded, or have quotes. */
static int visit_singly(struct mgc_matcher *m, const struct mgc_reading *r, unsigned escapes,
                        size_t level)
{
    static const unsigned kinds[] = {MGC_ESC_PERCENT, MGC_ESC_ENTITY, MGC_ESC_BACKSLASH};
    unsigned left = escapes & MGC_ESC_DECODERS;
    int e = 0;

    if ((!m->set.in_use[MGC_SPACE_DECODED] && !m->set.any_double_quote) || left == 0 ||
        r->depth >= MGC_SINGLY_DEPTH_MAX || (r->used & MGC_USED_BASE64) != 0)
        return 0;
    if ((r->used & MGC_USED_SINGLY) == 0 &&
        ((left & (left - 1)) == 0 || r->depth > 0 || r->used != 0))
        return 0; /* a single kind is what the others do */
    for (size_t i = 0; e == 0 && i < ARRAY_SIZE(kinds); i++) {
        if ((left & kinds[i]) != 0 &&
            mgc_canon_decode(&m->pool[level], r->text, r->bytes, kinds[i]))
            e = visit_made(m, r, r->depth + 1, r->used | MGC_USED_SINGLY, level);
        else if (m->pool[level].failed)
            e = -ENOMEM;
    }
    return e;
}

/* How many layers may be undone on the way that led to this reading. */
static int depth_max(const struct mgc_reading *r)
{
    if ((r->used & MGC_USED_BASE64) != 0)
        return BASE64_DEPTH_MAX;
    if ((r->used & MGC_USED_SINGLY) != 0)
        return MGC_SINGLY_DEPTH_MAX;
    return (r->used & MGC_USED_ONCE) != 0 ? MGC_ONCE_DEPTH_MAX : MGC_TEXT_DECODE_DEPTH_MAX;
}

static int visit_next(struct mgc_matcher *m, const struct mgc_reading *r, unsigned escapes,
                      size_t level)
{
    bool singly = (r->used & MGC_USED_SINGLY) != 0;
    struct mgc_buf *out = &m->pool[level];
    int e = 0;

    if (!singly && r->depth < depth_max(r) && (escapes & MGC_ESC_DECODERS) != 0 &&
        mgc_canon_decode(out, r->text, r->bytes, MGC_ESC_DECODERS))
        e = visit_made(m, r, r->depth + 1, r->used, level);
    else if (out->failed)
        return -ENOMEM;
    else if ((r->used & (MGC_USED_ONCE | MGC_USED_SINGLY)) == 0)
        e = keep_final(m, r);
    if (e == 0 && r->depth < depth_max(r) && r->depth < MGC_ONCE_DEPTH_MAX)
        e = visit_once(m, r, escapes, level);
    return e == 0 ? visit_singly(m, r, escapes, level) : e;
}

static int visit(struct mgc_matcher *m, const struct mgc_reading *r, size_t level)
{
    uint64_t key = mgc_liveset_print(&m->set, r->text, r->bytes) + r->used;
    unsigned escapes;
    int e;

    MGC_ASSERT(level < MGC_LEVELS);
    if (r->bytes == 0 || !mgc_met_add(m, &m->seen, key, r->depth))
        return m->failed;
    m->work_bytes += r->bytes;
    if ((r->used & MGC_USED_BASE64) == 0)
        m->readings++;
    if (m->readings > MGC_READINGS_MAX || m->work_bytes > m->work_bytes_max)
        return MGC_E_LIMIT;
    e = scan_spellings(m, r, &escapes);
    if (e == 0 && r->used == 0 && !m->whole)
        e = visit_runs(m, r, level);
    if (e == 0)
        e = visit_next(m, r, escapes, level);
    return e == 0 ? m->failed : e;
}

int mgc_readings_run(struct mgc_matcher *m, const struct mgc_reading *part)
{
    return visit(m, part, 0);
}
