/*
 * matcher.h -- which entries does a text mention?
 *
 * Role     The live set: fingerprints (xxh3 under a secret seed) of every path of the tree in its
 *          canonical forms, and a scanner that finds them in any text, however it was written
 *          (DESIGN 6).  A collision, a short memory or a doubt can only mark more.
 * Layer    2.  Uses base.  Pure: no I/O, no clock.
 * Owns     Its memory until mgc_matcher_free().  Paths and texts are not kept.
 * Threads  One thread at a time.
 * Errors   -ENOMEM, MGC_E_LIMIT (the text needs more decoding than is allowed: the caller must
 *          treat its source as incomplete).
 * Cost     Linear in the text, whatever it contains (H38).
 */
#ifndef MEDIAGCFS_MATCHER_H
#define MEDIAGCFS_MATCHER_H

#include "mediagcfs/error.h"

/* Changes whenever the same text could match differently (waits then start again, DESIGN 7). */
#define MGC_MATCHER_VERSION "1"

enum mgc_mark {
    MGC_MARK_STRONG = 1 << 0, /* mentioned: referenced */
    MGC_MARK_WEAK = 1 << 1,   /* mentioned in an ignored table only */
    MGC_MARK_NEAR = 1 << 2,   /* an unresolved mention differs in case, form or encoding only */
    MGC_MARK_SHORT = 1 << 3,  /* an unresolved mention is a suffix, shared by at most 8 entries */
    MGC_MARK_DIR = 1 << 4,    /* on a directory: it is mentioned by itself */
    MGC_MARK_DIR_WEAK = 1 << 5,
};

struct mgc_matcher;
struct mgc_matcher_spec {
    uint64_t seed[2];     /* secret of this run, from mgc_random() */
    int64_t memory_bytes; /* 0: as needed.  A bound that cannot be kept is an error of seal() */
    /*
     * Unresolved mention that looks like a path of this tree: a whole value or a URL path below a
     * directory that exists.  NULL: not wanted.  path: decoded, relative, valid during the call.
     */
    void (*missing)(void *arg, const char *path, size_t bytes);
    /* Each mention found, for `explain`; index as given to add().  NULL: not wanted.
     * whole: the mention is the entire text.  at, length: place in the text as given to
     * mgc_matcher_text() where the mention was read verbatim; at = -1 after decoding. */
    void (*hit)(void *arg, uint32_t index, enum mgc_mark mark, bool whole, int64_t at,
                size_t length);
    void *arg;
};

MGC_MUST_CHECK int mgc_matcher_new(const struct mgc_matcher_spec *spec, struct mgc_matcher **ret,
                                   struct mgc_err *err);
void mgc_matcher_free(struct mgc_matcher *m);

/*
 * Adds a path (bytes as on disk) under the next index: 0, 1, 2 ...  is_dir: a directory.  All
 * additions come before mgc_matcher_seal().
 */
MGC_MUST_CHECK int mgc_matcher_add(struct mgc_matcher *m, const char *path, bool is_dir,
                                   struct mgc_err *err);
MGC_MUST_CHECK int mgc_matcher_seal(struct mgc_matcher *m, struct mgc_err *err);

/*
 * Marks what `text` mentions.  weak: marks WEAK instead of STRONG.  ret_whole (may be NULL): true
 * when the entire text is one path that was found.
 */
MGC_MUST_CHECK int mgc_matcher_text(struct mgc_matcher *m, const char *text, size_t bytes,
                                    bool weak, bool *ret_whole, struct mgc_err *err);

/* Resolves shortened mentions (needs all texts and all paths again, only if any_short says so). */
bool mgc_matcher_any_short(const struct mgc_matcher *m);
MGC_MUST_CHECK int mgc_matcher_short_path(struct mgc_matcher *m, uint32_t index, const char *path);
void mgc_matcher_short_done(struct mgc_matcher *m);

/* Bits of enum mgc_mark for an index. */
unsigned mgc_matcher_marks(const struct mgc_matcher *m, uint32_t index);
/* Mentions that resolved (strong), for the brake on falling references. */
int64_t mgc_matcher_references(const struct mgc_matcher *m);
int64_t mgc_matcher_memory(const struct mgc_matcher *m);

#endif
