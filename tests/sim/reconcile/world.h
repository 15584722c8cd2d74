/*
 * world.h -- a small world for whole runs: a real catalog, scripted sources, a scripted host.
 *
 * The clock is world.now_us; the sources say what their script says; the host keeps the catalog's
 * side of every promise (maturity, held rows) and notes what it was asked for.
 */
#ifndef TESTS_SIM_RECONCILE_WORLD_H
#define TESTS_SIM_RECONCILE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mediagcfs/run.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

enum { TEXTS_MAX = 64, SOURCES_MAX = 3, SAID_MAX = 64 };

struct text {
    const char *table, *column, *text;
    bool weak;
};
/* Where a script fails, each time once per call. */
struct source_script {
    int begin, scan, ask, fence; /* code to return, 0: works.  scan, ask: 1000: returns 0 */
    bool cut;                    /* scan fails after half of the texts */
    int64_t lag_us;              /* oldest transaction began this long before T0 */
    bool invisible;              /* it began, nobody sees when */
    bool sees;
    const char *identity, *position, *fence_text, *covered;
    int64_t progress;
    int open_for;               /* so many begins until open transactions have ended */
    const char *open_fence;     /* the fence they belong to; NULL: any */
    const char *later_identity; /* of every begin but the first of a run */
    const char *late_path;      /* a row committed between scan and second look */
};
struct fake {
    struct mgc_source base;
    struct source_script script;
    struct text texts[TEXTS_MAX];
    size_t texts_count;
    int begins, begins_before, scans, asks, ends, fences;
    int begins_at_pass, begins_at_scan; /* when a fence passed; when texts were read */
    enum mgc_source_depth depth;        /* of the last scan */
    size_t asked_paths, asked_columns;
    char asked_column[128];
};

struct world {
    char directory[64];
    struct mgc_catalog *catalog;
    struct mgc_conf conf;
    struct mgc_conf_references blocks[SOURCES_MAX];
    struct fake fakes[SOURCES_MAX];
    struct mgc_source *sources[SOURCES_MAX];
    size_t sources_count;
    struct mgc_run_host host;
    int64_t now_us;
    bool real_time; /* sources tell the real time (purge) */
    uint64_t next_ino;

    struct mgc_brake_facts facts;
    int begin_code, flush_code, orphans_code, findings_code, move_code, heal_code, end_code;
    int outcome_code;  /* of every candidate */
    bool finding_lost; /* the last of each batch does not reach the catalog */
    int64_t moved_ids[256];
    int64_t horizons[256];
    size_t moved;
    size_t heals, proofs, ends, orphan_calls, orphans, findings, notices;
    char notice[SAID_MAX][256];
    struct mgc_run ended; /* numbers only */
    int64_t t0_us, previous, run;
    struct kept {
        struct mgc_finding row;
        char path[256];
    } kept[512]; /* findings of the run */
    size_t kept_count;
    int64_t purged_ids[64], purge_first_us, purge_second_us;
    size_t purged;
    bool purge_now;

    struct mgc_run_report report;
    struct mgc_err err;
};

struct world *world_new(size_t sources);
void world_free(struct world *w);
/* A file born, written and changed then; returns its entry's id. */
int64_t world_file(struct world *w, const char *path, int64_t born_us);
void world_dir(struct world *w, const char *path, int64_t born_us);
void world_rename(struct world *w, const char *from, const char *to, bool directory);
/* A row of a source.  All pointers are borrowed. */
void world_row(struct world *w, size_t source, const char *table, const char *column,
               const char *text);
void world_weak_row(struct world *w, size_t source, const char *table, const char *text);
void world_no_rows(struct world *w, size_t source);

/* One run; its code.  The report is replaced. */
int world_run(struct world *w, bool apply, const char *approve);
/* Runs until the waits are over; the last one may move. */
void world_confirm(struct world *w);

bool world_has(struct world *w, const char *path);     /* an entry */
int64_t world_held(struct world *w, const char *path); /* id, 0: none */
/* A file the application deleted just now, kept; its id. */
int64_t world_unlinked(struct world *w, const char *path);
int64_t world_runs_of(struct world *w, const char *path); /* orphan_runs */
bool world_said(const struct world *w, const char *part);
/* The word of the findings about a path; "" when it is in none. */
const char *world_verdict(struct world *w, const char *path);
size_t world_missing(struct world *w);

#define assert_code(w, got, want)                                                                  \
    do {                                                                                           \
        int code_ = (got);                                                                         \
        if (code_ != (want))                                                                       \
            fail_msg("%s: %d, want %d: %s", #got, code_, (want), (w)->err.text);                   \
    } while (0)

#endif
