/*
 * shortset_priv.h -- unresolved mentions, to be compared with suffixes of paths later.
 *
 * Role     During the texts: fingerprints of mentions, exact up to a bound, a Bloom filter above.
 *          Afterwards every suffix of every path is looked up; one that at most
 *          MGC_SUSPECT_SHARE_MAX paths share marks them.  Every shortage marks more, never less.
 * Layer    2, private to fs/refs and its tests.
 */
#ifndef MGC_SHORTSET_PRIV_H
#define MGC_SHORTSET_PRIV_H

#include "mediagcfs/attr.h"
#include "mediagcfs/limits.h"

enum {
    MGC_SHORTS_EXACT_MAX = 1 << 20, /* fingerprints kept exactly: 16 MiB */
    MGC_SHORTS_BLOOM_BITS = 26,     /* then 8 MiB of bits */
    MGC_SHORTS_SUFFIX_MAX = 4 << 20 /* suffixes that matched and are counted: about 100 MiB */
};

struct mgc_short_suffix {
    uint64_t print; /* 0: free */
    uint32_t count;
    uint32_t indexes; /* first of its list; 0: none */
};
struct mgc_short_index {
    uint32_t index, next;
};

struct mgc_shortset {
    uint64_t *prints; /* mentions; open addressing, 0: free */
    size_t capacity, used;
    uint64_t *bloom; /* replaces prints above the bound */
    bool any;
    bool over; /* even the Bloom filter could not be had: everything is a member */

    struct mgc_short_suffix *suffixes;
    size_t suffixes_capacity, suffixes_used;
    struct mgc_short_index *indexes; /* [0] is not used */
    size_t indexes_count, indexes_capacity;
    size_t exact_max, suffix_max; /* the bounds above; smaller in tests */
};

void mgc_shortset_init(struct mgc_shortset *s);
void mgc_shortset_done(struct mgc_shortset *s);
/* Adds a mention.  Cannot fail: without memory everything becomes a member. */
void mgc_shortset_add(struct mgc_shortset *s, uint64_t print);
bool mgc_shortset_has(const struct mgc_shortset *s, uint64_t print);
/* Counts a suffix of path `index`; false: it cannot be counted and the path is to be marked. */
MGC_MUST_CHECK bool mgc_shortset_count(struct mgc_shortset *s, uint64_t print, uint32_t index);
/* Calls `each` for every path of a suffix that few enough share. */
void mgc_shortset_few(const struct mgc_shortset *s, void (*each)(void *arg, uint32_t index),
                      void *arg);
int64_t mgc_shortset_memory(const struct mgc_shortset *s);

#endif
