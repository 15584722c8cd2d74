/*
 * matcher.c -- the interface of matcher.h: adding paths, marking, shortened mentions.
 *
 * A path has several keys: its bytes; its canonical form; what decoding makes of it where it looks
 * encoded itself (a text is decoded as far as possible, and such a name with it); its folded form.
 * The rest of the work is in readings.c (texts), textscan.c (one reading) and unresolved.c.
 *
 *   M1  Marks are only ever added.
 *   M2  What fails (memory, a bound) is returned: the caller's source is then incomplete.
 */
#include "matcher_priv.h"

#include "mediagcfs/assert.h"

int mgc_matcher_new(const struct mgc_matcher_spec *spec, struct mgc_matcher **ret,
                    struct mgc_err *err)
{
    struct mgc_matcher *m = calloc(1, sizeof(*m));
    int r;

    if (m == NULL)
        return mgc_err_set(err, -ENOMEM, "could not make the set of live paths");
    m->spec = *spec;
    m->window_bytes = MGC_WINDOW_BYTES;
    m->overlap_bytes = MGC_OVERLAP_BYTES;
    r = mgc_liveset_init(&m->set, spec->seed, spec->memory_bytes);
    if (r < 0) {
        free(m);
        return mgc_err_set(err, r, "could not make the set of live paths");
    }
    mgc_shortset_init(&m->shorts);
    *ret = m;
    return 0;
}

void mgc_matcher_free(struct mgc_matcher *m)
{
    if (m == NULL)
        return;
    mgc_liveset_done(&m->set);
    mgc_shortset_done(&m->shorts);
    for (size_t i = 0; i < MGC_LEVELS; i++)
        mgc_buf_done(&m->pool[i]);
    mgc_buf_done(&m->form);
    mgc_buf_done(&m->form_up);
    mgc_buf_done(&m->up);
    mgc_buf_done(&m->fold);
    mgc_buf_done(&m->other);
    mgc_buf_done(&m->final);
    free(m->met.rows);
    free(m->seen.rows);
    free(m->kinds);
    free(m->other_kinds);
    free(m->hits);
    free(m->covers);
    free(m->marks);
    free(m);
}

/* A key in a derived spelling: one that is no path any more (an empty component) is no key. */
static int add_derived(struct mgc_matcher *m, enum mgc_space space, const struct mgc_buf *key,
                       bool is_dir)
{
    int r = mgc_liveset_add(&m->set, space, key->data, key->bytes, (uint32_t)m->count, is_dir);

    if (r == -EINVAL)
        return 0;
    if (r == 0 && !is_dir && space != MGC_SPACE_FOLDED)
        mgc_liveset_add_tail(&m->set, key->data, key->bytes);
    return r;
}

static int add_folded(struct mgc_matcher *m, const char *path, size_t bytes)
{
    mgc_canon_fold(&m->fold, path, bytes);
    if (m->fold.failed)
        return -ENOMEM;
    mgc_liveset_add_folded_tail(&m->set, m->fold.data, m->fold.bytes);
    return m->fold.bytes == 0 ? 0 : add_derived(m, MGC_SPACE_FOLDED, &m->fold, false);
}

/* What decoding makes of a name that looks encoded, layer by layer. */
static int add_decoded(struct mgc_matcher *m, const char *path, size_t bytes, bool is_dir)
{
    struct mgc_buf *from = &m->pool[0], *to = &m->pool[1];
    int r = 0;

    mgc_buf_clear(from);
    mgc_buf_add(from, path, bytes);
    for (int i = 0; r == 0 && i < MGC_TEXT_DECODE_DEPTH_MAX; i++) {
        struct mgc_buf *swap = from;

        if (from->failed || !mgc_canon_decode(to, from->data, from->bytes, MGC_ESC_DECODERS))
            break;
        if (to->bytes > 0)
            r = add_derived(m, MGC_SPACE_DECODED, to, is_dir);
        if (r == 0 && !is_dir)
            r = add_folded(m, to->data, to->bytes);
        if (r == 0 && mgc_canon_form(&m->form, to->data, to->bytes) && !m->form.failed)
            r = add_derived(m, MGC_SPACE_DECODED, &m->form, is_dir);
        from = to;
        to = swap;
    }
    return from->failed || to->failed || m->form.failed ? -ENOMEM : r;
}

/* The keys of one spelling of a path: itself, and what decoding makes of it. */
static int add_spelling(struct mgc_matcher *m, const char *path, size_t bytes, bool is_dir)
{
    int r = mgc_liveset_add(&m->set, MGC_SPACE_EXACT, path, bytes, (uint32_t)m->count, is_dir);

    if (r < 0)
        return r;
    if (!is_dir)
        mgc_liveset_add_tail(&m->set, path, bytes);
    for (size_t i = 0; i < bytes; i++)
        if (path[i] == '%' || path[i] == '&' || path[i] == '\\')
            return add_decoded(m, path, bytes, is_dir);
    return 0;
}

static int add_keys(struct mgc_matcher *m, const char *path, size_t bytes, bool is_dir)
{
    const char *canonical = path;
    size_t canonical_bytes = bytes;
    int r = add_spelling(m, path, bytes, is_dir);

    if (r == 0 && mgc_canon_form(&m->other, path, bytes)) {
        if (m->other.failed)
            return -ENOMEM;
        canonical = m->other.data;
        canonical_bytes = m->other.bytes;
        r = add_spelling(m, canonical, canonical_bytes, is_dir);
    }
    if (r < 0 || is_dir)
        return r;
    mgc_canon_fold(&m->fold, path, bytes);
    if (m->fold.failed)
        return -ENOMEM;
    mgc_liveset_add_folded_tail(&m->set, m->fold.data, m->fold.bytes);
    if (m->fold.bytes == canonical_bytes && memcmp(m->fold.data, canonical, canonical_bytes) == 0)
        return 0;
    return m->fold.bytes == 0 ? 0 : add_derived(m, MGC_SPACE_FOLDED, &m->fold, is_dir);
}

static int reserve_mark(struct mgc_matcher *m)
{
    if (m->count == m->capacity) {
        size_t capacity = m->capacity < 1024 ? 1024 : m->capacity + m->capacity / 4;
        uint8_t *marks = realloc(m->marks, capacity);

        if (marks == NULL)
            return -ENOMEM;
        m->marks = marks;
        m->capacity = capacity;
    }
    return 0;
}

int mgc_matcher_add(struct mgc_matcher *m, const char *path, bool is_dir, struct mgc_err *err)
{
    size_t bytes = strlen(path);
    int r;

    MGC_ASSERT(!m->sealed);
    if (bytes == 0 || bytes > MGC_PATH_BYTES_MAX)
        return mgc_err_set(err, -EINVAL, "could not add path '%s'", MGC_SHOW(path));
    r = reserve_mark(m);
    if (r == 0)
        r = add_keys(m, path, bytes, is_dir);
    if (r == MGC_E_LIMIT)
        return mgc_err_set(err, r, "could not add path '%s': more than %d entries", MGC_SHOW(path),
                           (int)MGC_LIVESET_INDEX_MAX);
    if (r < 0)
        return mgc_err_set(err, r, "could not add path '%s'", MGC_SHOW(path));
    m->marks[m->count++] = is_dir ? MGC_MARK_IS_DIR : 0;
    return 0;
}

int mgc_matcher_seal(struct mgc_matcher *m, struct mgc_err *err)
{
    MGC_ASSERT(!m->sealed);
    if (m->set.over || (m->spec.memory_bytes > 0 && mgc_matcher_memory(m) > m->spec.memory_bytes)) {
        mgc_err_set(err, MGC_E_LIMIT, "could not keep %zu paths in %lld bytes of memory", m->count,
                    (long long)m->spec.memory_bytes);
        mgc_err_hint(err, "Raise 'memory' in the reconcile block, or set it to auto.");
        return MGC_E_LIMIT;
    }
    m->sealed = true;
    return 0;
}

void mgc_met_clear(struct mgc_met_set *set)
{
    set->used = 0;
    set->round++;
    if (set->round == 0) { /* numbers of old rounds would come again */
        if (set->rows != NULL)
            memset(set->rows, 0, set->capacity * sizeof(*set->rows));
        set->round = 1;
    }
}

static struct mgc_met *met_place(struct mgc_met *rows, size_t capacity, uint32_t round,
                                 uint64_t key)
{
    size_t at = (size_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (capacity - 1);

    while (rows[at].round == round && rows[at].key != key)
        at = (at + 1) & (capacity - 1);
    return &rows[at];
}

static bool met_grow(struct mgc_met_set *set)
{
    size_t capacity = set->capacity == 0 ? 64 : set->capacity * 2;
    struct mgc_met *rows = calloc(capacity, sizeof(*rows));

    if (rows == NULL)
        return false;
    for (size_t i = 0; i < set->capacity; i++)
        if (set->rows[i].round == set->round)
            *met_place(rows, capacity, set->round, set->rows[i].key) = set->rows[i];
    free(set->rows);
    set->rows = rows;
    set->capacity = capacity;
    return true;
}

bool mgc_met_add(struct mgc_matcher *m, struct mgc_met_set *set, uint64_t key, int depth)
{
    struct mgc_met *row;

    if (set->used >= set->capacity / 2 && !met_grow(set)) {
        m->failed = -ENOMEM;
        return false;
    }
    row = met_place(set->rows, set->capacity, set->round, key);
    if (row->round == set->round) {
        bool nearer = depth < row->depth;

        row->depth = nearer ? depth : row->depth;
        return nearer;
    }
    *row = (struct mgc_met){.key = key, .round = set->round, .depth = depth};
    set->used++;
    return true;
}

static unsigned mark_of(const struct mgc_matcher *m, bool dir)
{
    if (m->mode == MGC_SCAN_NEAR)
        return MGC_MARK_NEAR;
    if (dir)
        return m->weak ? MGC_MARK_DIR_WEAK : MGC_MARK_DIR;
    return m->weak ? MGC_MARK_WEAK : MGC_MARK_STRONG;
}

/* One path mentioned by [at, end) of the current reading. */
static void mark_path(struct mgc_matcher *m, uint32_t index, unsigned mark,
                      const struct mgc_hit *place)
{
    const struct mgc_reading *r = m->current;
    bool is_dir = (m->marks[index] & MGC_MARK_IS_DIR) != 0;
    bool wants_dir = (mark & (MGC_MARK_DIR | MGC_MARK_DIR_WEAK)) != 0;
    bool whole = m->single && place->at == m->lead_bytes && place->end == r->bytes &&
                 (r->used & MGC_USED_BASE64) == 0;
    bool first;

    if (is_dir != wants_dir)
        return;
    m->marks[index] |= (uint8_t)mark;
    m->whole = m->whole || (whole && !wants_dir && m->mode == MGC_SCAN_MARK);
    if (r->verbatim && place->at >= m->part_own)
        return; /* the next part has it */
    first = mgc_met_add(m, &m->met, (uint64_t)index << 8 | mark, 0);
    if (first && mark == MGC_MARK_STRONG)
        m->references++;
    if (m->spec.hit != NULL && (first || r->verbatim))
        m->spec.hit(m->spec.arg, index, (enum mgc_mark)mark, whole,
                    r->verbatim ? (int64_t)(m->part_at + place->at) : -1, place->end - place->at);
}

static void mark_value(struct mgc_matcher *m, uint32_t value, unsigned mark,
                       const struct mgc_hit *place)
{
    uint32_t index = value & MGC_NODE_INDEX;
    struct mgc_twin *head;

    if (index == MGC_NODE_INDEX)
        return; /* a directory that was not added itself */
    if ((value & MGC_NODE_TWINS) == 0) {
        mark_path(m, index, mark, place);
        return;
    }
    head = &m->set.twins[index];
    /* Once all twins have a mark, telling them again would cost their number each time (H38);
     * who asks for every mention pays for it. */
    if ((head->told & mark) != 0 && m->spec.hit == NULL) {
        mark_path(m, head->index, mark, place);
        return;
    }
    head->told |= mark;
    for (const struct mgc_twin *twin = head;; twin = &m->set.twins[twin->next]) {
        mark_path(m, twin->index, mark, place);
        if (twin->next == 0)
            break;
    }
}

static bool push_hit(struct mgc_hit **hits, size_t *count, size_t *capacity, struct mgc_hit hit)
{
    if (*count == *capacity) {
        size_t more = *capacity == 0 ? 64 : *capacity * 2;
        struct mgc_hit *rows = realloc(*hits, more * sizeof(*rows));

        if (rows == NULL)
            return false;
        *hits = rows;
        *capacity = more;
    }
    (*hits)[(*count)++] = hit;
    return true;
}

static void note_hit(struct mgc_matcher *m, size_t at, size_t end)
{
    size_t reach = m->hits_count == 0 ? 0 : m->hits[m->hits_count - 1].reach;
    struct mgc_hit hit = {.at = at, .end = end, .reach = end > reach ? end : reach};

    if (!push_hit(&m->hits, &m->hits_count, &m->hits_capacity, hit))
        m->failed = -ENOMEM;
}

/* Without memory nothing is covered: more is decoded, nothing is lost. */
static void note_cover(struct mgc_matcher *m, size_t at, size_t end)
{
    struct mgc_hit hit = {.at = at, .end = end, .reach = end};

    (void)push_hit(&m->covers, &m->covers_count, &m->covers_capacity, hit);
}

static void found(void *arg, const uint32_t *value, bool dir, size_t at, size_t end)
{
    struct mgc_matcher *m = arg;
    struct mgc_hit place = {.at = at, .end = end};

    m->found_count++;
    if (m->note_covers && !dir && end - at >= MGC_COVER_BYTES)
        note_cover(m, at, end);
    if (m->mode == MGC_SCAN_NOTE)
        note_hit(m, at, end);
    else if (m->mode == MGC_SCAN_MARK || !dir)
        mark_value(m, *value, mark_of(m, dir), &place);
}

int mgc_matcher_kinds(struct mgc_matcher *m, const struct mgc_reading *r, unsigned *ret_escapes)
{
    unsigned escapes;

    if (r->bytes > m->kinds_capacity) {
        size_t capacity = m->kinds_capacity == 0 ? 4096 : m->kinds_capacity;
        uint8_t *kinds;

        while (capacity < r->bytes)
            capacity *= 2;
        kinds = realloc(m->kinds, capacity);
        if (kinds == NULL)
            return -ENOMEM;
        m->kinds = kinds;
        m->kinds_capacity = capacity;
    }
    escapes = mgc_scan_kinds(m->kinds, r->text, r->bytes);
    m->total_bytes += r->bytes;
    if (ret_escapes != NULL)
        *ret_escapes = escapes;
    return 0;
}

struct mgc_scan mgc_matcher_scanner(struct mgc_matcher *m, const struct mgc_reading *r,
                                    enum mgc_space space)
{
    return (struct mgc_scan){.set = &m->set,
                             .space = space,
                             .text = r->text,
                             .kinds = m->kinds,
                             .bytes = r->bytes,
                             .open_start = r->open_start,
                             .open_end = r->open_end,
                             .found = found,
                             .arg = m,
                             .steps = &m->steps};
}

void mgc_matcher_scan(struct mgc_matcher *m, const struct mgc_reading *r, enum mgc_space space,
                      enum mgc_scan_mode mode)
{
    struct mgc_scan scan = mgc_matcher_scanner(m, r, space);

    m->mode = mode;
    m->current = r;
    m->lead_bytes = 0;
    while (m->lead_bytes < r->bytes &&
           (r->text[m->lead_bytes] == '/' ||
            (m->lead_bytes + 1 < r->bytes && r->text[m->lead_bytes] == '.' &&
             r->text[m->lead_bytes + 1] == '/')))
        m->lead_bytes++;
    mgc_scan_run(&scan);
}

/* Where the part after the one at `at` begins: near its end, at a character that ends names. */
static size_t next_part(const struct mgc_matcher *m, const char *text, size_t at)
{
    size_t next = at + m->window_bytes, back_max = m->window_bytes / 16;

    for (size_t i = next; i > next - back_max; i--)
        if (text[i] != '\0' && strchr(" \n\t\"'<>,;/", text[i]) != NULL)
            return i;
    return next;
}

static int read_part(struct mgc_matcher *m, const char *text, size_t bytes, size_t at, size_t *next)
{
    size_t span = m->window_bytes + m->overlap_bytes;
    size_t end = bytes - at <= span ? bytes : at + span;
    struct mgc_reading part = {.text = text + at,
                               .bytes = end - at,
                               .verbatim = true,
                               .open_start = at > 0,
                               .open_end = end < bytes};
    int r;

    *next = end == bytes ? bytes : next_part(m, text, at);
    m->part_at = at;
    m->part_own = *next - at;
    if (end == bytes)
        m->part_own = SIZE_MAX;
    mgc_met_clear(&m->seen);
    m->readings = m->work_bytes = m->found_count = 0;
    m->work_bytes_max = (end - at + 64) * MGC_WORK_PER_BYTE_MAX;
    m->final_one = (struct mgc_reading){0};
    r = mgc_readings_run(m, &part);
    if (r == 0 && !m->weak && !m->whole && m->final_one.text != NULL)
        r = mgc_unresolved_run(m, &m->final_one);
    return r == 0 ? m->failed : r;
}

int mgc_matcher_text(struct mgc_matcher *m, const char *text, size_t bytes, bool weak,
                     bool *ret_whole, struct mgc_err *err)
{
    int r = 0;

    MGC_ASSERT(m->sealed);
    m->weak = weak;
    m->whole = false;
    m->failed = 0;
    m->single = bytes <= m->window_bytes + m->overlap_bytes;
    mgc_met_clear(&m->met);
    for (size_t at = 0; r == 0 && at < bytes;)
        r = read_part(m, text, bytes, at, &at);
    if (r == MGC_E_LIMIT)
        return mgc_err_set(err, r, "could not read a text of %zu bytes: too many encodings in it",
                           bytes);
    if (r < 0)
        return mgc_err_set(err, r, "could not read a text of %zu bytes", bytes);
    if (ret_whole != NULL)
        *ret_whole = m->whole;
    return 0;
}

bool mgc_matcher_any_short(const struct mgc_matcher *m)
{
    return m->shorts.any;
}

static void count_suffixes(struct mgc_matcher *m, uint32_t index, const char *path, size_t bytes)
{
    for (size_t i = 0; i + 1 < bytes; i++) {
        uint64_t print;

        if (path[i] != '/')
            continue;
        print = mgc_liveset_print(&m->set, path + i + 1, bytes - i - 1);
        if (mgc_shortset_has(&m->shorts, print) && !mgc_shortset_count(&m->shorts, print, index))
            m->marks[index] |= MGC_MARK_SHORT;
    }
}

int mgc_matcher_short_path(struct mgc_matcher *m, uint32_t index, const char *path)
{
    struct mgc_buf *from = &m->pool[0], *to = &m->pool[1];

    if (index >= m->count)
        return -EINVAL;
    if ((m->marks[index] & MGC_MARK_IS_DIR) != 0)
        return 0;
    mgc_buf_clear(from);
    mgc_buf_adds(from, path);
    for (int i = 0; i <= MGC_TEXT_DECODE_DEPTH_MAX && !from->failed; i++) {
        struct mgc_buf *swap = from;

        /* Mentions were noted in canonical form, decoded as far as possible. */
        if (mgc_canon_form(&m->form, from->data, from->bytes) && !m->form.failed)
            count_suffixes(m, index, m->form.data, m->form.bytes);
        else
            count_suffixes(m, index, from->data, from->bytes);
        if (!mgc_canon_decode(to, from->data, from->bytes, MGC_ESC_DECODERS))
            break;
        from = to;
        to = swap;
    }
    return from->failed || to->failed || m->form.failed ? -ENOMEM : 0;
}

static void mark_short(void *arg, uint32_t index)
{
    struct mgc_matcher *m = arg;

    m->marks[index] |= MGC_MARK_SHORT;
}

void mgc_matcher_short_done(struct mgc_matcher *m)
{
    mgc_shortset_few(&m->shorts, mark_short, m);
    mgc_shortset_done(&m->shorts);
}

unsigned mgc_matcher_marks(const struct mgc_matcher *m, uint32_t index)
{
    MGC_ASSERT(index < m->count);
    return m->marks[index] & ~(unsigned)MGC_MARK_IS_DIR;
}

int64_t mgc_matcher_references(const struct mgc_matcher *m)
{
    return m->references;
}

int64_t mgc_matcher_memory(const struct mgc_matcher *m)
{
    size_t own = sizeof(*m) - sizeof(m->set) + m->capacity + m->kinds_capacity +
                 m->other_kinds_capacity +
                 (m->hits_capacity + m->covers_capacity) * sizeof(*m->hits) +
                 (m->met.capacity + m->seen.capacity) * sizeof(*m->met.rows);

    for (size_t i = 0; i < MGC_LEVELS; i++)
        own += m->pool[i].capacity;
    own += m->form.capacity + m->form_up.capacity + m->up.capacity + m->fold.capacity +
           m->other.capacity + m->final.capacity;
    return (int64_t)own + mgc_liveset_memory(&m->set) + mgc_shortset_memory(&m->shorts);
}
