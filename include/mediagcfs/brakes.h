/*
 * brakes.h -- rules that refuse a whole run, and the schedule.  Pure: no clock, no I/O.
 *
 * Layer    4.
 * Threads  Any.
 */
#ifndef MEDIAGCFS_BRAKES_H
#define MEDIAGCFS_BRAKES_H

#include "mediagcfs/bytes.h"

enum mgc_brake {
    MGC_BRAKE_NO_REFERENCES, /* a source mentions nothing at all */
    MGC_BRAKE_FALL,          /* references fell by more than max_fall */
    MGC_BRAKE_FILES,
    MGC_BRAKE_BYTES,
    MGC_BRAKE_SHARE,
    MGC_BRAKE_CONTROL,   /* positive control: recent files are no longer found referenced */
    MGC_BRAKE_CHANGED,   /* source or matcher changed since the waits began */
    MGC_BRAKE_NEW_TABLE, /* a table or column the last complete run did not have */
    MGC_BRAKE_IDENTITY,  /* a source is another database than the pinned one, or went back */
    MGC_BRAKE_TREE,      /* the tree's id is not the pinned one */
    MGC_BRAKE_BYPASS,    /* changed beneath the mount */
    MGC_BRAKE_CLOCK,     /* the clock stepped: waits restarted */
    MGC_BRAKE_HOLD,      /* an operator froze moves */
    MGC_BRAKE_FENCE,     /* transactions whose start is not visible did not end in time */
    MGC_BRAKE_COUNT
};
/* True for the brakes on size, which still count as a confirmation when they refuse. */
bool mgc_brake_is_size(enum mgc_brake b);
/*
 * True for the brakes that `--approve` may lift: one on size for the files of the approved set, any
 * other only where it says again, word for word, what was approved.
 */
bool mgc_brake_approvable(enum mgc_brake b);
const char *mgc_brake_name(enum mgc_brake b);

struct mgc_brake_source {
    const char *name;
    int64_t references, references_before; /* before: last run not refused; -1 when there is none */
    bool identity_changed, went_back, new_table, changed;
    bool fence_open;
    const char *detail; /* what changed, which table, which transaction; may be NULL */
};
struct mgc_brake_facts {
    const struct mgc_brake_source *sources;
    size_t sources_count;
    int64_t entries, candidates, candidate_bytes;
    int64_t recent, recent_referenced; /* entries opened or created in the last days */
    double control_history;            /* usual share of them referenced; negative: not enough */
    int64_t complete_runs;
    bool tree_changed, bypass, clock_stepped, held, matcher_changed;
};
struct mgc_brake_limits {
    int64_t max_files, max_bytes;              /* negative: off */
    double max_share, max_fall, control_share; /* negative: off */
};
#define MGC_BRAKE_WHOLE SIZE_MAX
struct mgc_brake_hit {
    enum mgc_brake brake;
    size_t source;  /* index of the source it is about, MGC_BRAKE_WHOLE: the run as a whole */
    char text[256]; /* "orders: references fell from 5000 to 12, more than max_fall 20%" */
};
/* Writes every brake that holds, in the order of the enum; returns how many (<= max). */
size_t mgc_brakes(const struct mgc_brake_facts *facts, const struct mgc_brake_limits *limits,
                  struct mgc_brake_hit *hits, size_t max);
/* Digest over brakes and set (ids ascending): 16 hexadecimal digits; out needs 17 bytes. */
void mgc_brakes_digest(const struct mgc_brake_hit *hits, size_t hits_count, const int64_t *ids,
                       size_t ids_count, char *out);

/* Clock rule of H8: true when every wait must restart.  offset: wall clock minus boot clock. */
struct mgc_clock_facts {
    bool same_boot;
    int64_t offset_us, offset_before_us; /* compared within one boot: a step of a minute */
    int64_t now_us, last_event_us;       /* across boots: before it, or more than grace after */
    int64_t grace_us;
};
bool mgc_clock_stepped(const struct mgc_clock_facts *facts);

/* Next time a job with this schedule is due: last_us + every, at once if that is past or last_us
 * is 0; INT64_MAX when off. */
int64_t mgc_schedule_next_us(int64_t every_us, int64_t last_us, int64_t now_us);

#endif
