/*
 * matcher_priv.h -- state shared by matcher.c (interface), readings.c (all readings of a text) and
 * unresolved.c (mentions that resolve to nothing).
 *
 * Layer    2, private to fs/refs and its tests.
 */
#ifndef MGC_MATCHER_PRIV_H
#define MGC_MATCHER_PRIV_H

#include "canon_priv.h"
#include "liveset_priv.h"
#include "mediagcfs/matcher.h"
#include "shortset_priv.h"
#include "textscan_priv.h"

enum {
    MGC_WINDOW_BYTES = 192 << 10, /* a text is read in parts of this size: bounds memory */
    /* Parts overlap by the longest mention: a path of MGC_PATH_BYTES_MAX, each byte written as
     * seven (percent three times over, \u00e9). */
    MGC_OVERLAP_BYTES = 32 << 10,
    MGC_READINGS_MAX = 1024,      /* of one part; the ways to order decoders are below 900 */
    MGC_SINGLY_DEPTH_MAX = 4,     /* layers of a reading with MGC_USED_SINGLY */
    MGC_ONCE_DEPTH_MAX = 6,       /* layers of a reading that used one of MGC_USED_ONCE */
    MGC_WORK_PER_BYTE_MAX = 4096, /* bytes of readings per byte of a part, base64 included */
    MGC_COVER_BYTES = 16,         /* a mention of this length is not there by chance */
    MGC_LEVELS = 24,              /* decoders, base64 and its decoders over each other */
    MGC_MARK_IS_DIR = 1 << 7,     /* in the array of marks: a directory was added */
};

/* Which readings led here: each of these once at most. */
enum {
    MGC_USED_SLASH = 1 << 0,  /* backslash as a slash */
    MGC_USED_SPACE = 1 << 1,  /* '+' as a space */
    MGC_USED_QUOTES = 1 << 2, /* doubled quotes as one */
    MGC_USED_BASE64 = 1 << 3, /* inside a base64 run */
    MGC_USED_SINGLY = 1 << 4, /* kinds of escapes were undone one at a time */
    MGC_USED_ONCE = MGC_USED_SLASH | MGC_USED_SPACE | MGC_USED_QUOTES,
};

/* One way to read a part of a text. */
struct mgc_reading {
    const char *text;
    size_t bytes;
    int depth; /* layers undone */
    unsigned used;
    bool verbatim; /* the text as given: places are places in it */
    bool open_start, open_end;
};

/* A mention found, for "is this place resolved": reach is the furthest end so far. */
struct mgc_hit {
    size_t at, end, reach;
};

/* An index or key met in the text (or part) numbered `round`. */
struct mgc_met {
    uint64_t key;
    uint32_t round;
    int depth;
};
struct mgc_met_set {
    struct mgc_met *rows;
    size_t capacity, used;
    uint32_t round;
};

enum mgc_scan_mode {
    MGC_SCAN_MARK, /* mark what is mentioned */
    MGC_SCAN_NEAR, /* mark it as nearly mentioned */
    MGC_SCAN_NOTE, /* mark nothing, note the places in hits */
};

struct mgc_matcher {
    struct mgc_matcher_spec spec;
    struct mgc_liveset set;
    uint8_t *marks;
    size_t count, capacity;
    bool sealed;
    int64_t references;
    size_t window_bytes, overlap_bytes; /* as above; smaller in tests */

    /* The text being read. */
    bool weak, whole, single; /* single: one part holds all of it */
    size_t part_at, part_own; /* place of the part; mentions from part_own on come again */
    struct mgc_met_set met;   /* indexes mentioned in this text */
    int failed;               /* -ENOMEM inside a callback */

    /* The part being read. */
    struct mgc_met_set seen; /* readings, missing paths */
    size_t readings, work_bytes, work_bytes_max;
    size_t found_count; /* mentions in any reading */
    /* Long mentions in the reading whose base64 runs are next; what they cover is no base64. */
    struct mgc_hit *covers;
    size_t covers_count, covers_capacity;
    bool note_covers;
    struct mgc_buf final;         /* the most decoded reading, '+' and '\' left alone */
    struct mgc_reading final_one; /* text: of the part or of `final`; NULL: none yet */

    /* The scan under way. */
    enum mgc_scan_mode mode;
    const struct mgc_reading *current;
    size_t lead_bytes; /* "/" and "./" at its beginning */

    uint8_t *kinds, *other_kinds;
    size_t kinds_capacity, other_kinds_capacity;
    struct mgc_hit *hits;
    size_t hits_count, hits_capacity;
    struct mgc_buf pool[MGC_LEVELS], form, form_up, up, fold, other;
    struct mgc_shortset shorts;

    uint64_t steps;       /* probes and hashed names */
    uint64_t total_bytes; /* of all readings scanned: the cost, for tests */
};

/* Adds a key; true when it is new in this round.  A failed allocation sets m->failed. */
bool mgc_met_add(struct mgc_matcher *m, struct mgc_met_set *set, uint64_t key, int depth);
void mgc_met_clear(struct mgc_met_set *set);

/* Scans one spelling of a reading in one space. */
void mgc_matcher_scan(struct mgc_matcher *m, const struct mgc_reading *r, enum mgc_space space,
                      enum mgc_scan_mode mode);
/* Classifies the text of a reading into m->kinds; *ret_escapes may be NULL. */
MGC_MUST_CHECK int mgc_matcher_kinds(struct mgc_matcher *m, const struct mgc_reading *r,
                                     unsigned *ret_escapes);
struct mgc_scan mgc_matcher_scanner(struct mgc_matcher *m, const struct mgc_reading *r,
                                    enum mgc_space space);

/* readings.c: reads a part in every way it may have been written. */
MGC_MUST_CHECK int mgc_readings_run(struct mgc_matcher *m, const struct mgc_reading *part);
/* unresolved.c: near misses, shortened and missing mentions in the most decoded reading. */
MGC_MUST_CHECK int mgc_unresolved_run(struct mgc_matcher *m, const struct mgc_reading *r);

#endif
