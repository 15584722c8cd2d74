/* shortset.c -- see shortset_priv.h. */
#include "shortset_priv.h"

#include "mediagcfs/assert.h"

enum { CAPACITY_FIRST = 1024, BLOOM_PROBES = 4 };

void mgc_shortset_init(struct mgc_shortset *s)
{
    *s = (struct mgc_shortset){.exact_max = MGC_SHORTS_EXACT_MAX,
                               .suffix_max = MGC_SHORTS_SUFFIX_MAX};
}

void mgc_shortset_done(struct mgc_shortset *s)
{
    free(s->prints);
    free(s->bloom);
    free(s->suffixes);
    free(s->indexes);
    mgc_shortset_init(s);
}

int64_t mgc_shortset_memory(const struct mgc_shortset *s)
{
    size_t bloom = s->bloom == NULL ? 0 : (size_t)1 << (MGC_SHORTS_BLOOM_BITS - 3);

    return (int64_t)(s->capacity * sizeof(*s->prints) + bloom +
                     s->suffixes_capacity * sizeof(*s->suffixes) +
                     s->indexes_capacity * sizeof(*s->indexes));
}

/* Bits of the filter are taken from the fingerprint by double hashing. */
static uint64_t bloom_bit(uint64_t print, unsigned probe)
{
    uint64_t step = (print >> 32) | 1;

    return (print + probe * step) & (((uint64_t)1 << MGC_SHORTS_BLOOM_BITS) - 1);
}

static void bloom_add(struct mgc_shortset *s, uint64_t print)
{
    for (unsigned i = 0; i < BLOOM_PROBES; i++) {
        uint64_t bit = bloom_bit(print, i);

        s->bloom[bit / 64] |= (uint64_t)1 << (bit % 64);
    }
}

static bool bloom_has(const struct mgc_shortset *s, uint64_t print)
{
    for (unsigned i = 0; i < BLOOM_PROBES; i++) {
        uint64_t bit = bloom_bit(print, i);

        if ((s->bloom[bit / 64] >> (bit % 64) & 1) == 0)
            return false;
    }
    return true;
}

static size_t place_of(const uint64_t *prints, size_t capacity, uint64_t print)
{
    size_t at = (size_t)print & (capacity - 1);

    while (prints[at] != 0 && prints[at] != print)
        at = (at + 1) & (capacity - 1);
    return at;
}

static bool grow_prints(struct mgc_shortset *s)
{
    size_t capacity = s->capacity == 0 ? CAPACITY_FIRST : s->capacity * 2;
    uint64_t *prints = calloc(capacity, sizeof(*prints));

    if (prints == NULL)
        return false;
    for (size_t i = 0; i < s->capacity; i++)
        if (s->prints[i] != 0)
            prints[place_of(prints, capacity, s->prints[i])] = s->prints[i];
    free(s->prints);
    s->prints = prints;
    s->capacity = capacity;
    return true;
}

static void turn_to_bloom(struct mgc_shortset *s)
{
    s->bloom = calloc((size_t)1 << (MGC_SHORTS_BLOOM_BITS - 6), sizeof(*s->bloom));
    if (s->bloom == NULL) {
        s->over = true;
        return;
    }
    for (size_t i = 0; i < s->capacity; i++)
        if (s->prints[i] != 0)
            bloom_add(s, s->prints[i]);
    free(s->prints);
    s->prints = NULL;
    s->capacity = s->used = 0;
}

void mgc_shortset_add(struct mgc_shortset *s, uint64_t print)
{
    size_t at;

    print = print == 0 ? 1 : print;
    s->any = true;
    if (s->over)
        return;
    if (s->bloom == NULL &&
        (s->used >= s->exact_max || (s->used >= s->capacity / 2 && !grow_prints(s))))
        turn_to_bloom(s);
    if (s->over)
        return;
    if (s->bloom != NULL) {
        bloom_add(s, print);
        return;
    }
    at = place_of(s->prints, s->capacity, print);
    if (s->prints[at] == 0) {
        s->prints[at] = print;
        s->used++;
    }
}

bool mgc_shortset_has(const struct mgc_shortset *s, uint64_t print)
{
    print = print == 0 ? 1 : print;
    if (!s->any)
        return false;
    if (s->over)
        return true;
    if (s->bloom != NULL)
        return bloom_has(s, print);
    return s->prints[place_of(s->prints, s->capacity, print)] != 0;
}

static struct mgc_short_suffix *suffix_of(struct mgc_short_suffix *rows, size_t capacity,
                                          uint64_t print)
{
    size_t at = (size_t)print & (capacity - 1);

    while (rows[at].print != 0 && rows[at].print != print)
        at = (at + 1) & (capacity - 1);
    return &rows[at];
}

static bool grow_suffixes(struct mgc_shortset *s)
{
    size_t capacity = s->suffixes_capacity == 0 ? CAPACITY_FIRST : s->suffixes_capacity * 2;
    struct mgc_short_suffix *rows = calloc(capacity, sizeof(*rows));

    if (rows == NULL)
        return false;
    for (size_t i = 0; i < s->suffixes_capacity; i++)
        if (s->suffixes[i].print != 0)
            *suffix_of(rows, capacity, s->suffixes[i].print) = s->suffixes[i];
    free(s->suffixes);
    s->suffixes = rows;
    s->suffixes_capacity = capacity;
    return true;
}

static bool new_index(struct mgc_shortset *s, uint32_t index, uint32_t next, uint32_t *ret)
{
    if (s->indexes_count + 1 >= s->indexes_capacity) {
        size_t capacity = s->indexes_capacity == 0 ? CAPACITY_FIRST : s->indexes_capacity * 2;
        struct mgc_short_index *rows = realloc(s->indexes, capacity * sizeof(*rows));

        if (rows == NULL)
            return false;
        s->indexes = rows;
        s->indexes_capacity = capacity;
        if (s->indexes_count == 0)
            s->indexes_count = 1; /* 0 ends a list */
    }
    s->indexes[s->indexes_count] = (struct mgc_short_index){.index = index, .next = next};
    *ret = (uint32_t)s->indexes_count++;
    return true;
}

bool mgc_shortset_count(struct mgc_shortset *s, uint64_t print, uint32_t index)
{
    struct mgc_short_suffix *row;

    print = print == 0 ? 1 : print;
    if (s->suffixes_used >= s->suffixes_capacity / 2 &&
        (s->suffixes_used >= s->suffix_max || !grow_suffixes(s)))
        return false;
    row = suffix_of(s->suffixes, s->suffixes_capacity, print);
    if (row->print == 0) {
        row->print = print;
        s->suffixes_used++;
    }
    if (row->indexes != 0 && s->indexes[row->indexes].index == index)
        return true; /* two spellings of one path */
    if (row->count <= MGC_SUSPECT_SHARE_MAX) {
        if (!new_index(s, index, row->indexes, &row->indexes))
            return false;
        row->count++;
    }
    return true;
}

void mgc_shortset_few(const struct mgc_shortset *s, void (*each)(void *arg, uint32_t index),
                      void *arg)
{
    for (size_t i = 0; i < s->suffixes_capacity; i++) {
        const struct mgc_short_suffix *row = &s->suffixes[i];

        if (row->print == 0 || row->count > MGC_SUSPECT_SHARE_MAX)
            continue;
        for (uint32_t at = row->indexes; at != 0; at = s->indexes[at].next)
            each(arg, s->indexes[at].index);
    }
}
