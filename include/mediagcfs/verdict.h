/*
 * verdict.h -- what becomes of one entry in one run.  Pure: no clock, no I/O.
 *
 * Layer    4.
 * Threads  Any.
 */
#ifndef MEDIAGCFS_VERDICT_H
#define MEDIAGCFS_VERDICT_H

#include "mediagcfs/attr.h"

/* In the order in which they apply: the first that does is the verdict (DESIGN 7). */
enum mgc_verdict {
    MGC_VERDICT_REFERENCED,
    MGC_VERDICT_KEPT,
    MGC_VERDICT_DERIVED,
    MGC_VERDICT_OPEN,
    MGC_VERDICT_YOUNG,
    MGC_VERDICT_HOT,
    MGC_VERDICT_SUSPECT,
    MGC_VERDICT_WAITING,
    MGC_VERDICT_CANDIDATE,
    MGC_VERDICT_COUNT
};
/* Why, within a verdict; the text is mgc_why_text(). */
enum mgc_why {
    MGC_WHY_NONE,
    MGC_WHY_PATTERN,    /* kept: a keep pattern */
    MGC_WHY_JUNK,       /* kept: built-in list (.gitkeep, index.html, .DS_Store ...) */
    MGC_WHY_UNMOVABLE,  /* kept: the filesystem cannot move it safely or cannot identify it */
    MGC_WHY_NAMES,      /* kept: several hard links */
    MGC_WHY_BORN,       /* young: born, itself or a directory above it, after the horizon */
    MGC_WHY_WRITTEN,    /* young: written after the horizon */
    MGC_WHY_CHANGED,    /* young: only the change time is after the horizon */
    MGC_WHY_NO_HORIZON, /* young: transactions whose start nobody can see are open */
    MGC_WHY_NEAR,       /* suspect: a mention differs in case, form or encoding */
    MGC_WHY_SHORT,      /* suspect: a shortened mention */
    MGC_WHY_DIRECTORY,  /* suspect: its directory is mentioned and nothing in it is */
    MGC_WHY_MANIFEST,   /* suspect: a sibling .m3u8, .mpd, .html ... is referenced */
    MGC_WHY_HEALED,     /* suspect: it was held before and turned out to be needed */
    MGC_WHY_CONFIRM,    /* waiting: fewer complete runs than `confirmations` */
    MGC_WHY_SINCE,      /* waiting: they do not span `confirm_over` yet */
    MGC_WHY_ALIAS,      /* kept: a link or a second mount reaches it under another path (H6) */
    MGC_WHY_COUNT
};

struct mgc_facts {
    bool referenced, kept, derived, open, near_miss, shortened, directory, manifest, healed;
    enum mgc_why kept_why;
    int64_t born_us; /* the latest of the entry and every directory above it (H7) */
    int64_t written_us, changed_us, opened_us;
    int64_t orphan_since_us;  /* T0 of the first complete run in the present row; this run's T0 if
                                 it begins the row */
    int64_t orphan_runs;      /* complete runs in a row, this one included */
    int64_t orphan_first_run; /* id of the first of them; this run's if it begins the row */
};
struct mgc_terms {
    int64_t now_us;     /* T0 of this run */
    int64_t horizon_us; /* 0: unknown: everything is young, unless `fenced_` below allows it */
    /* Fence (G2): what was nominated at or before this earlier run may go by its horizon. */
    int64_t fenced_run, fenced_horizon_us; /* 0: none */
    int64_t hot_for_us, confirmations, confirm_over_us;
    bool several_sources; /* then at least two complete runs, whatever `confirmations` says */
};
enum mgc_verdict mgc_verdict_of(const struct mgc_facts *facts, const struct mgc_terms *terms,
                                enum mgc_why *ret_why);
/* The horizon that holds for this entry, the fence considered; 0: none.  Goes with the move. */
int64_t mgc_verdict_horizon_us(const struct mgc_facts *facts, const struct mgc_terms *terms);
/*
 * True when a complete run counts as a confirmation for this entry: hot, waiting or candidate, or
 * young only because of transactions whose start nobody can see (nominated behind the fence;
 * nominal_us: T0 - grace).  Other young ones and suspects begin to count when they no longer are.
 */
bool mgc_verdict_counts(const struct mgc_facts *facts, const struct mgc_terms *terms,
                        int64_t nominal_us);
const char *mgc_verdict_name(enum mgc_verdict v);
const char *mgc_why_text(enum mgc_why why);
/* True for names of the built-in junk list; name is the last component. */
bool mgc_verdict_junk(const char *name);
/* True when `name` is a manifest that names others in its directory (.m3u8, .mpd, .dzi, ...). */
bool mgc_verdict_manifest(const char *name);

#endif
