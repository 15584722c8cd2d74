/*
 * unresolved.c -- mentions that resolve to nothing: near misses, shortened and missing paths.
 *
 * Works on one reading, the most decoded one, in canonical form.  What counts as a mention here
 * is a field: the entire text, a stretch between quotes, brackets or lines, one between commas and
 * parentheses, one token.  A field with any found path in it is resolved.  The end of a field
 * must look like the end of a path we have (four bytes), which leaves few.
 *
 *   U1  Nothing here makes a path referenced; it can only make it suspect (NEAR, SHORT).
 *   U2  A field longer than MGC_FIELD_BYTES_MAX is no mention; shorter ones inside it may be.
 */
#include "matcher_priv.h"

enum {
    MGC_FIELD_BYTES_MAX = 2 * MGC_PATH_BYTES_MAX, /* host and prefix before the longest path */
    EXTENSION_BYTES_MAX = 5,
};

enum level { LEVEL_WHOLE, LEVEL_LINES, LEVEL_LISTS, LEVEL_WORDS, LEVEL_COUNT };

struct field {
    const char *text;
    size_t at, end; /* in the reading */
    enum level level;
    bool cut; /* a URL's query or a sentence's punctuation was cut off */
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* clang-format off */
enum { LINES = 1, LISTS = 2, B = LINES | LISTS, L = LISTS };
static const uint8_t separators[128] = {
    B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B,
    B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B,
    0, 0, B, 0, 0, 0, 0, B, L, L, L, 0, L, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, L, B, L, B, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, L, 0, L, 0, 0,
    B, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, L, B, L, 0, 0,
};
/* clang-format on */

/* What separates the fields of a level. */
static bool separates(enum level level, char c, uint8_t kind)
{
    unsigned char byte = (unsigned char)c;
    unsigned of = byte < 0x80 ? separators[byte] : 0;

    switch (level) {
    case LEVEL_WHOLE:
        return false;
    case LEVEL_LINES:
        return (of & LINES) != 0;
    case LEVEL_LISTS:
        return (of & LISTS) != 0;
    default:
        return (kind & (MGC_KIND_NAME | MGC_KIND_DOT | MGC_KIND_SLASH | MGC_KIND_WORD)) == 0;
    }
}

/* True when a found path overlaps [at, end). */
static bool is_resolved(const struct mgc_matcher *m, size_t at, size_t end)
{
    size_t low = 0, high = m->hits_count;

    while (low < high) { /* the first hit that begins at or after `end` */
        size_t middle = low + (high - low) / 2;

        if (m->hits[middle].at < end)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && m->hits[low - 1].reach > at;
}

/* Where the path in a field begins: after leading slashes, "./" and "../". */
static size_t path_start(const struct field *f)
{
    size_t at = f->at;

    while (at < f->end) {
        size_t left = f->end - at;

        if (f->text[at] == '/')
            at++;
        else if (left >= 2 && memcmp(f->text + at, "./", 2) == 0)
            at += 2;
        else if (left >= 3 && memcmp(f->text + at, "../", 3) == 0)
            at += 3;
        else
            break;
    }
    return at;
}

static void swap_kinds(struct mgc_matcher *m)
{
    uint8_t *kinds = m->kinds;
    size_t capacity = m->kinds_capacity;

    m->kinds = m->other_kinds;
    m->kinds_capacity = m->other_kinds_capacity;
    m->other_kinds = kinds;
    m->other_kinds_capacity = capacity;
}

/* Scans a spelling of a field that is in no reading; true when it finds a path. */
static int scan_other(struct mgc_matcher *m, const struct mgc_buf *spelling, enum mgc_space space,
                      enum mgc_scan_mode mode, size_t *found)
{
    struct mgc_reading r = {
        .text = spelling->data, .bytes = spelling->bytes, .used = MGC_USED_BASE64};
    size_t before = m->found_count;
    int e;

    if (spelling->failed)
        return -ENOMEM;
    swap_kinds(m); /* those of the reading are still needed */
    e = mgc_matcher_kinds(m, &r, NULL);
    if (e == 0)
        mgc_matcher_scan(m, &r, space, mode);
    swap_kinds(m);
    *found += m->found_count - before;
    return e;
}

/* '+' and '\' in the most decoded reading may still stand for something else. */
static int resolves_otherwise(struct mgc_matcher *m, const struct field *f, size_t *found)
{
    static const char pairs[2][2] = {{'+', ' '}, {'\\', '/'}};
    size_t noted = m->hits_count, bytes = f->end - f->at;
    int e = 0;

    for (int i = 0; e == 0 && i < 2; i++)
        if (memchr(f->text + f->at, pairs[i][0], bytes) != NULL &&
            mgc_canon_replace(&m->other, f->text + f->at, bytes, pairs[i]))
            e = scan_other(m, &m->other, MGC_SPACE_EXACT, MGC_SCAN_NOTE, found);
    m->hits_count = noted;
    return e;
}

static int mark_near(struct mgc_matcher *m, const struct field *f)
{
    size_t found = 0;
    int e;

    mgc_canon_fold(&m->fold, f->text + f->at, f->end - f->at);
    e = scan_other(m, &m->fold, MGC_SPACE_FOLDED, MGC_SCAN_NEAR, &found);
    if (e == 0) /* names that are their own folded form */
        e = scan_other(m, &m->fold, MGC_SPACE_EXACT, MGC_SCAN_NEAR, &found);
    return e;
}

/* True for "x.pdf": a name with an extension, and only one that is followed by a space. */
static bool has_extension(const char *name, size_t bytes)
{
    size_t dot = bytes;

    while (dot > 0 && bytes - dot < EXTENSION_BYTES_MAX && is_alnum(name[dot - 1]))
        dot--;
    if (dot == bytes || dot < 2 || name[dot - 1] != '.')
        return false;
    for (size_t i = 0; i + 1 < dot - 1; i++) { /* "a.pdf and b.pdf" are two */
        size_t k = i + 1;

        if (name[i] != '.')
            continue;
        while (k < dot - 1 && k - i <= EXTENSION_BYTES_MAX && is_alnum(name[k]))
            k++;
        if (k > i + 1 && is_space(name[k]))
            return false;
    }
    return true;
}

/* Reports [at, end) once per part. */
static void report_missing(struct mgc_matcher *m, const struct field *f, size_t at)
{
    uint64_t key = ~mgc_liveset_print(&m->set, f->text + at, f->end - at);

    if (f->end - at <= MGC_PATH_BYTES_MAX && mgc_met_add(m, &m->seen, key, 0))
        m->spec.missing(m->spec.arg, f->text + at, f->end - at);
}

/* Words before the first slash: a sentence, not a path. */
static bool is_sentence(const struct field *f)
{
    for (size_t i = f->at; i < f->end && f->text[i] != '/'; i++)
        if (is_space(f->text[i]))
            return true;
    return false;
}

/* Bytes of a name before a URL's query or fragment. */
static size_t query_at(const char *text, size_t bytes)
{
    size_t at = 0;

    while (at < bytes && text[at] != '?' && text[at] != '#')
        at++;
    return at;
}

/* A name that may be that of a missing file. */
static bool may_be_file(struct mgc_matcher *m, const struct field *f, size_t name)
{
    const char *text = f->text + name;
    size_t bytes = f->end - name, query = query_at(text, bytes);

    if (bytes > MGC_NAME_BYTES_MAX || query == 0)
        return false;
    if (query < bytes && has_extension(text, query))
        return false; /* the field comes again without the query */
    if (bytes <= 2 && memcmp(text, "..", bytes) == 0)
        return false;
    if (has_extension(text, bytes))
        return true;
    if (f->level == LEVEL_WHOLE && !f->cut)
        return mgc_scan_is_plain(text, bytes);
    return f->level == LEVEL_WORDS && mgc_liveset_has_tail(&m->set, text, bytes);
}

static bool is_one_word(const struct field *f)
{
    for (size_t i = f->at; i < f->end; i++)
        if (f->text[i] == ' ' || separates(LEVEL_LISTS, f->text[i], 0))
            return false;
    return true;
}

static void find_missing(struct mgc_matcher *m, const struct mgc_scan *scan, const struct field *f)
{
    size_t at = path_start(f), name;
    bool whole = f->level == LEVEL_WHOLE;
    bool any = whole && is_one_word(f); /* then its directory may be missing too */

    if (at == f->end || is_sentence(f) || memchr(f->text + at, '\n', f->end - at) != NULL)
        return;
    if (memchr(f->text + at, '/', f->end - at) == NULL) {
        if (whole && may_be_file(m, f, at) && has_extension(f->text + at, f->end - at) &&
            mgc_liveset_has_root_tail(&m->set, f->text + at, f->end - at))
            report_missing(m, f, at);
        return;
    }
    for (; at < f->end; at++) {
        const char *slash;

        if (f->text[at] != '/' && mgc_scan_in_dir(scan, at, f->end, any, &name) &&
            may_be_file(m, f, name)) {
            report_missing(m, f, at);
            return;
        }
        slash = memchr(f->text + at, '/', f->end - at);
        if (slash == NULL)
            return;
        at = (size_t)(slash - f->text);
    }
}

/* The same words again need no second look. */
static bool is_new(struct mgc_matcher *m, const struct field *f)
{
    uint64_t key = mgc_liveset_print(&m->set, f->text + f->at, f->end - f->at);

    return mgc_met_add(m, &m->seen, key ^ UINT64_C(0x5555555555555555), 0);
}

/* One field that no reading of it resolves. */
static int take_unresolved(struct mgc_matcher *m, const struct mgc_reading *r,
                           const struct field *f)
{
    struct mgc_scan scan = mgc_matcher_scanner(m, r, MGC_SPACE_EXACT);
    size_t start = path_start(f), found = 0;
    bool tail, near, missing;
    int e;

    if (start == f->end || f->text[f->end - 1] == '/')
        return 0;
    tail = mgc_liveset_has_tail(&m->set, f->text + f->at, f->end - f->at);
    near = mgc_liveset_may_have_folded_tail(&m->set, f->text + f->at, f->end - f->at);
    missing = m->spec.missing != NULL &&
              (f->level == LEVEL_WHOLE || memchr(f->text + f->at, '/', f->end - f->at) != NULL);
    if ((!tail && !near && !missing) || !is_new(m, f))
        return m->failed;
    e = resolves_otherwise(m, f, &found);
    if (e < 0 || found > 0)
        return e;
    if (tail && f->end - start <= MGC_PATH_BYTES_MAX)
        mgc_shortset_add(&m->shorts, mgc_liveset_print(&m->set, f->text + start, f->end - start));
    if (missing)
        find_missing(m, &scan, f);
    return near ? mark_near(m, f) : 0;
}

/* A field and what is left of it without a sentence's punctuation or a URL's query. */
static int take(struct mgc_matcher *m, const struct mgc_reading *r, struct field f)
{
    size_t cut;
    int e;

    while (f.at < f.end && is_space(f.text[f.at]))
        f.at++;
    while (f.end > f.at && is_space(f.text[f.end - 1]))
        f.end--;
    if (f.at == f.end || f.end - f.at > MGC_FIELD_BYTES_MAX || is_resolved(m, f.at, f.end))
        return 0;
    e = take_unresolved(m, r, &f);
    cut = f.at + 1 + query_at(f.text + f.at + 1, f.end - f.at - 1);
    while (cut > f.at && strchr(".,;:!", f.text[cut - 1]) != NULL)
        cut--;
    if (e < 0 || cut == f.end || cut == f.at)
        return e;
    f.end = cut;
    f.cut = true;
    return take_unresolved(m, r, &f);
}

static int take_level(struct mgc_matcher *m, const struct mgc_reading *r, enum level level)
{
    size_t at = 0;
    int e = 0;

    for (size_t i = 0; e == 0 && i <= r->bytes; i++) {
        if (i < r->bytes && !separates(level, r->text[i], m->kinds[i]))
            continue;
        /* Cut at the edge of a part: the next or the last one has it. */
        if (i > at && !(at == 0 && r->open_start) && !(i == r->bytes && r->open_end))
            e = take(m, r, (struct field){.text = r->text, .at = at, .end = i, .level = level});
        at = i + 1;
    }
    return e;
}

/* Where paths stand in this reading; hits in ascending order of their beginnings. */
static int compare_hits(const void *a, const void *b)
{
    const struct mgc_hit *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

static void note_hits(struct mgc_matcher *m, const struct mgc_reading *r)
{
    size_t reach = 0, exact;

    m->hits_count = 0;
    mgc_matcher_scan(m, r, MGC_SPACE_EXACT, MGC_SCAN_NOTE);
    exact = m->hits_count;
    mgc_matcher_scan(m, r, MGC_SPACE_DECODED, MGC_SCAN_NOTE);
    if (m->hits_count == exact)
        return;
    qsort(m->hits, m->hits_count, sizeof(*m->hits), compare_hits);
    for (size_t i = 0; i < m->hits_count; i++) {
        reach = m->hits[i].end > reach ? m->hits[i].end : reach;
        m->hits[i].reach = reach;
    }
}

int mgc_unresolved_run(struct mgc_matcher *m, const struct mgc_reading *r)
{
    struct mgc_reading canonical = *r;
    unsigned escapes;
    int e = mgc_matcher_kinds(m, r, &escapes);

    /* What base64 makes of words that are none is noise. */
    if (e < 0 || ((r->used & MGC_USED_BASE64) != 0 && (escapes & MGC_ESC_BINARY) != 0))
        return e;
    if ((escapes & MGC_ESC_HIGH) != 0 && mgc_canon_form(&m->form, r->text, r->bytes)) {
        if (m->form.failed)
            return -ENOMEM;
        canonical.text = m->form.data;
        canonical.bytes = m->form.bytes;
        e = mgc_matcher_kinds(m, &canonical, NULL);
    }
    canonical.verbatim = false;
    if (e == 0)
        note_hits(m, &canonical);
    for (int level = m->single ? LEVEL_WHOLE : LEVEL_LINES; e == 0 && level < LEVEL_COUNT; level++)
        e = take_level(m, &canonical, (enum level)level);
    return e == 0 ? m->failed : e;
}
