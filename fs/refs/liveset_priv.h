/*
 * liveset_priv.h -- fingerprints of every path and directory of the tree.
 *
 * Role     A path is a walk: its fingerprint is that of its directory, stepped by its last
 *          component.  So a text is followed component by component and left as soon as no such
 *          directory exists; nothing is hashed twice for a longer path.
 * Layer    2, private to fs/refs and its tests.
 * Owns     Its memory until mgc_liveset_done().
 * Threads  One thread at a time.
 * Errors   -ENOMEM or MGC_E_LIMIT (more than MGC_LIVESET_INDEX_MAX paths).
 */
#ifndef MGC_LIVESET_PRIV_H
#define MGC_LIVESET_PRIV_H

#include "mediagcfs/attr.h"
#include "mediagcfs/bytes.h"
#include "mediagcfs/limits.h"

/* The same table holds paths as they are written and in two derived spellings, apart. */
enum mgc_space {
    MGC_SPACE_EXACT,   /* raw bytes, canonical form */
    MGC_SPACE_DECODED, /* names that look encoded, decoded: for texts that were decoded */
    MGC_SPACE_FOLDED,  /* folded, where that differs from the canonical form: near misses */
    MGC_SPACE_COUNT,
};

/* A value: index of the path and what stands under this fingerprint. */
enum {
    MGC_NODE_DIR = 1 << 30,    /* a directory (also one implied by a path in it) */
    MGC_NODE_FILE = 1 << 29,   /* anything else */
    MGC_NODE_SPACED = 1 << 28, /* a name in this directory contains delimiters */
    MGC_NODE_TWINS = 1 << 27,  /* index is that of a list: several paths share this key */
    MGC_NODE_INDEX = (1 << 27) - 1,
    MGC_LIVESET_INDEX_MAX = MGC_NODE_INDEX - 1, /* the last value means: no path of its own */
};

/* One of several paths with the same key. */
struct mgc_twin {
    uint32_t index;
    uint32_t next; /* 0: the last */
    unsigned told; /* on the first of a list: marks that all of it have */
};

enum { MGC_SECRET_BYTES = 192 };

struct mgc_liveset {
    /* Open addressing; place = fingerprint scaled to capacity; 0: free.  Never above 3/4 full. */
    uint64_t *prints;
    uint32_t *values;
    size_t capacity, used;
    struct mgc_twin *twins; /* [0] is not used */
    size_t twins_count, twins_capacity;
    int64_t bytes_max; /* 0: no bound */
    bool over;         /* the bound was reached: additions are ignored, the set is of no use */

    unsigned char secret[MGC_SECRET_BYTES];
    uint64_t roots[MGC_SPACE_COUNT];
    uint64_t seed_lead; /* mixed in for "a name with delimiters begins so" */

    /* Cheap refusals. */
    bool in_use[MGC_SPACE_COUNT];           /* anything in this space */
    bool root_spaced[MGC_SPACE_COUNT];      /* MGC_NODE_SPACED of the root */
    uint64_t begins[MGC_SPACE_COUNT][1024]; /* first two bytes of names at the root */
    uint64_t tails[1 << 14];        /* last four bytes of names of files, hashed to 20 bits */
    uint64_t folded_tails[1 << 14]; /* the same, folded */
    uint64_t root_tails[1 << 10];   /* of files at the root, 16 bits */
    uint64_t spaced_lengths[4];     /* lengths of names with delimiters */
    bool any_spaced;                /* a name has a delimiter */
    bool any_space, any_quote;      /* a name has a ' ' / a '"' or "'" */
    bool any_double_quote;          /* a name has a '"' */

    /* Directory of the last addition, per space: paths come grouped by directory. */
    struct mgc_liveset_cache {
        char dir[MGC_PATH_BYTES_MAX + 1];
        size_t bytes;
        uint64_t print;
        bool valid;
    } cache[MGC_SPACE_COUNT];
};

MGC_MUST_CHECK int mgc_liveset_init(struct mgc_liveset *set, const uint64_t seed[2],
                                    int64_t bytes_max);
void mgc_liveset_done(struct mgc_liveset *set);
/* Adds a key of the path with this index; its directories are implied. */
MGC_MUST_CHECK int mgc_liveset_add(struct mgc_liveset *set, enum mgc_space space, const char *path,
                                   size_t bytes, uint32_t index, bool is_dir);
/* For the filters of near and shortened mentions: the name of a file as it is / folded. */
void mgc_liveset_add_tail(struct mgc_liveset *set, const char *path, size_t bytes);
void mgc_liveset_add_folded_tail(struct mgc_liveset *set, const char *folded, size_t bytes);

/* Fingerprint of any bytes. */
uint64_t mgc_liveset_print(const struct mgc_liveset *set, const void *bytes, size_t count);
/* Fingerprint of directory/name, from that of the directory. */
uint64_t mgc_liveset_step(const struct mgc_liveset *set, uint64_t dir, const char *name,
                          size_t bytes);
/* What stands under a fingerprint, or NULL. */
const uint32_t *mgc_liveset_find(const struct mgc_liveset *set, uint64_t print);
/* True when a name with delimiters in `dir` begins with `lead` (its fingerprint in dir). */
bool mgc_liveset_has_lead(const struct mgc_liveset *set, uint64_t lead);

/* Can a path that ends like [path, path + bytes) be one of ours? */
bool mgc_liveset_has_tail(const struct mgc_liveset *set, const char *path, size_t bytes);
bool mgc_liveset_has_root_tail(const struct mgc_liveset *set, const char *path, size_t bytes);
/* True where it cannot be excluded that the folded path ends like one of ours. */
bool mgc_liveset_may_have_folded_tail(const struct mgc_liveset *set, const char *path,
                                      size_t bytes);
int64_t mgc_liveset_memory(const struct mgc_liveset *set);

static inline bool mgc_liveset_begins(const struct mgc_liveset *set, enum mgc_space space,
                                      unsigned char first, unsigned char second)
{
    unsigned bit = (unsigned)first << 8 | second;

    return (set->begins[space][bit / 64] >> (bit % 64) & 1) != 0;
}

static inline bool mgc_liveset_spaced_length(const struct mgc_liveset *set, size_t bytes)
{
    return bytes < 256 && (set->spaced_lengths[bytes / 64] >> (bytes % 64) & 1) != 0;
}

#endif
