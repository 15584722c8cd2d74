/*
 * run_priv.h -- what the phases of a run share.
 *
 * Role     One struct that reconcile, purge and explain fill step by step, and the steps.
 * Layer    4, private to fs/reconcile and its tests.
 * Owns     A struct mgc_work owns everything in it but what its spec borrows; mgc_work_done().
 * Threads  One.
 * Errors   Negative codes with a message.  No catalog call is made inside a catalog callback (its
 *          calls are serialised): pages are copied out first.
 */
#ifndef MEDIAGCFS_RECONCILE_RUN_PRIV_H
#define MEDIAGCFS_RECONCILE_RUN_PRIV_H

#include <jansson.h>

#include "mediagcfs/matcher.h"
#include "mediagcfs/run.h"

enum {
    MGC_WORK_PAGE = 4096,        /* catalog rows in one short transaction (H12) */
    MGC_WORK_RUNS_PAGE = 32,     /* runs read at a time from the history */
    MGC_WORK_FENCES = 32,        /* earlier runs whose fence is asked for, newest first */
    MGC_WORK_MISSING = 10000,    /* missing mentions listed; all distinct ones are counted */
    MGC_WORK_DISTINCT = 1 << 20, /* missing mentions told apart: 8 MiB of fingerprints */
    MGC_WORK_AROUND = 120,       /* bytes of text shown around a mention */
    MGC_WORK_HITS = 256,         /* brakes of one run: 64 sources, a few each */
    MGC_WORK_CONTROL_RUNS = 10,  /* complete runs that make a history */
    MGC_WORK_FAULTS_SAID = 10,   /* faults of single files told one by one */
};
#define MGC_NO_INDEX UINT32_MAX

/* ---- run_dirs.c: directories by id, paths, births ---- */

struct mgc_dir_row {
    int64_t id, parent_id;
    int64_t born_us;       /* the latest of it and all above; INT64_MAX where one is not known */
    size_t name;           /* offset into names */
    uint32_t parent;       /* row, MGC_NO_INDEX for the root */
    uint32_t index;        /* of the matcher, MGC_NO_INDEX when not added */
    bool resolved, placed; /* placed: its path can be told */
    bool has_reference;    /* something in its subtree is referenced */
    bool manifest;         /* a referenced manifest lies directly in it */
    bool suspect;          /* it or one above is mentioned by itself, and nothing in that one is */
    bool target;           /* a link leads here */
    bool aliased;          /* a link leads here or to one above: everything has another path */
};
struct mgc_dirs {
    struct mgc_dir_row *rows; /* ids ascending */
    size_t count, capacity;
    struct mgc_buf names;
    uint32_t cached; /* row whose path is in `path`, or MGC_NO_INDEX */
    size_t path_bytes;
    char path[MGC_PATH_BYTES_MAX + 1];
};
MGC_MUST_CHECK int mgc_dirs_load(struct mgc_dirs *d, struct mgc_catalog *c, struct mgc_err *err);
void mgc_dirs_done(struct mgc_dirs *d);
/* Row of an id, MGC_NO_INDEX when there is none. */
uint32_t mgc_dirs_find(const struct mgc_dirs *d, int64_t id);
/* Path of a row, "" for the root, borrowed until the next call; NULL: not placed or too long. */
const char *mgc_dirs_path(struct mgc_dirs *d, uint32_t row);

/* ---- run_entries.c: entries in pages, and what is remembered of each ---- */

struct mgc_record {
    int64_t id;
    uint32_t dir; /* row of the directories as loaded */
    uint8_t verdict, why;
    bool manifest : 1;
    bool counts : 1; /* an orphan whose confirmations advance */
    bool alias : 1;  /* a link leads here, or it is a link that leads into the tree */
};
struct mgc_step {
    const struct mgc_entry *entry; /* as it is now */
    const char *path;
    int64_t born_us;           /* the latest of entry and directories, now and at the load */
    struct mgc_record *record; /* of the load */
    uint32_t index;            /* of the matcher */
};
/* ---- sources ---- */

struct mgc_work_source {
    struct mgc_source *source;
    const struct mgc_conf_references *conf;
    struct mgc_source_view view; /* of the first begin: T0 and fence count from there */
    bool viewed, complete, accepted;
    json_t *covered; /* array of names, after a complete scan */
    int64_t references;
    struct mgc_conf_list columns; /* where whole values were found, for the second look */
    char conf_hash[17];
    /* What the history says; see run_history.c. */
    bool pinned, identity_changed, went_back, new_table, changed, fence_open;
    int64_t references_before; /* -1: none */
    char *pin_identity, *pin_position, *conf_before;
    int64_t pin_progress;
    json_t *covered_before;
    char detail[160];
};

/* An earlier complete run behind whose fence today's run may judge. */
struct mgc_work_fence {
    int64_t run, horizon_us; /* T0 of that run, not yet less grace */
    json_t *sources;
};
struct mgc_work_past {
    int64_t previous_run; /* newest complete run, 0: none */
    char *matcher;        /* of that run */
    int64_t complete_runs;
    int64_t recent, recent_referenced; /* sums over them, for the positive control */
    bool seen_last;                    /* newest run that was done or refused: */
    char last_digest[17], last_set[17];
    json_t *last; /* what it left, when it was refused: its brakes, their texts, its sources */
    struct mgc_work_fence fences[MGC_WORK_FENCES];
    size_t fences_count;
};

struct mgc_work_held {
    struct mgc_held row; /* path is the work's */
    char *now;           /* where it would be today, NULL when that is row.path */
    uint32_t index, index_now, dir;
    char *mention; /* where the first mention stands, for purge */
};

struct mgc_work_missing {
    char *path, *text, *source, *table, *column;
};

struct mgc_work {
    const struct mgc_conf *conf;
    struct mgc_catalog *catalog;
    const struct mgc_run_host *host; /* NULL in explain */
    struct mgc_work_source *sources;
    size_t sources_count;

    struct mgc_matcher *matcher;
    struct mgc_dirs dirs;
    struct mgc_record *records;
    size_t records_count, records_capacity;
    uint32_t first_record; /* matcher index of records[0] */
    int64_t unplaced;      /* entries without a usable path: kept, never judged */
    struct mgc_work_held *held;
    size_t held_count, held_capacity;

    /* The text being read, for what the matcher reports while it reads. */
    const struct mgc_origin *origin;
    const char *text;
    size_t text_bytes;
    int64_t texts;
    int text_code;
    struct mgc_err text_err;
    bool want_missing;
    struct mgc_work_missing *missing;
    size_t missing_count, missing_capacity, distinct_count, distinct_capacity;
    uint64_t *distinct; /* open addressing; 0: free */
    void (*hit)(struct mgc_work *w, uint32_t index, enum mgc_mark mark, int64_t at, size_t length);
    void *hit_arg;

    struct mgc_work_past past;
    struct mgc_terms terms;
    int64_t nominal_us; /* T0 - grace, whatever transactions are open */
    struct mgc_run run;
    struct mgc_brake_facts host_facts;

    /* reconcile only */
    bool quiet; /* what there is to notice has been said */
    bool apply, refused, heal_allowed;
    bool advance;        /* this run counts as a confirmation for its orphans */
    const char *approve; /* digest, NULL: none */
    int64_t *approved;
    size_t approved_count, approved_capacity;
    struct mgc_candidate *candidates; /* paths are the work's */
    int64_t *candidate_sizes;
    size_t candidates_count, candidates_capacity;
    uint64_t *writers; /* inode numbers open for writing when the verdicts began, ascending */
    size_t writers_count;
    int64_t young_changed, recent, recent_referenced;
    struct mgc_brake_hit hits[MGC_WORK_HITS];
    size_t hits_count;
    char set[17], digest[17];
    int64_t skipped, failed;
    void *batch; /* run_report.c: findings not sent yet */
};

MGC_MUST_CHECK int mgc_work_init(struct mgc_work *w, const struct mgc_conf *conf,
                                 struct mgc_source *const *sources, size_t count,
                                 struct mgc_err *err);
void mgc_work_done(struct mgc_work *w);
void mgc_work_progress(const struct mgc_work *w, const char *phase, int64_t done, int64_t total);
void mgc_work_notice(const struct mgc_work *w, const char *format, ...) MGC_PRINTF(2, 3);
/* Makes room for one more element; NULL when memory is short.  The result replaces `rows`. */
void *mgc_work_grow(void *rows, size_t count, size_t *capacity, size_t element_bytes);

/* run_entries.c */
/* Directories, entries and held files into the matcher, which is then sealed. */
MGC_MUST_CHECK int mgc_work_load(struct mgc_work *w, struct mgc_err *err);
typedef int mgc_step_fn(struct mgc_work *w, const struct mgc_step *step, struct mgc_err *err);
/* Every recorded entry that is still there, as the catalog knows it now. */
MGC_MUST_CHECK int mgc_work_walk(struct mgc_work *w, const char *phase, mgc_step_fn *each,
                                 struct mgc_err *err);
/* Every row of the catalog as it is, also what came after the load.  The catalog may be asked. */
typedef int mgc_row_fn(void *arg, const struct mgc_entry *entry, struct mgc_err *err);
MGC_MUST_CHECK int mgc_work_rows(struct mgc_work *w, mgc_row_fn *each, void *arg,
                                 struct mgc_err *err);
/* The record of an entry, NULL: it came after the load. */
struct mgc_record *mgc_work_record(struct mgc_work *w, int64_t id);

/* run_aliases.c */
/* Marks what links lead to (H6).  MGC_E_INCOMPLETE: where one leads cannot be told. */
MGC_MUST_CHECK int mgc_work_links(struct mgc_work *w, struct mgc_err *err);
/* ret_shared[i]: another entry has the inode of rows[i].  Untouched where none has. */
MGC_MUST_CHECK int mgc_work_twins(struct mgc_work *w, const struct mgc_candidate *rows,
                                  size_t count, bool *ret_shared, struct mgc_err *err);
/* Candidates whose inode another entry has too become kept. */
MGC_MUST_CHECK int mgc_work_keep_twins(struct mgc_work *w, struct mgc_err *err);

/* run_held.c */
MGC_MUST_CHECK int mgc_work_load_held(struct mgc_work *w, uint32_t *next_index,
                                      struct mgc_err *err);
MGC_MUST_CHECK int mgc_work_heal(struct mgc_work *w, struct mgc_err *err);
MGC_MUST_CHECK int mgc_work_prove(struct mgc_work *w, struct mgc_err *err);
/* Copies a row with its strings; -ENOMEM. */
MGC_MUST_CHECK int mgc_work_copy_held(struct mgc_held *to, const struct mgc_held *from);
void mgc_work_free_held(struct mgc_held *row);
/* Marks of all paths a held file has had. */
unsigned mgc_work_held_marks(const struct mgc_work *w, const struct mgc_work_held *held);

/* run_sources.c */
MGC_MUST_CHECK int mgc_work_begin_sources(struct mgc_work *w, struct mgc_err *err);
MGC_MUST_CHECK int mgc_work_begin_one(struct mgc_work *w, struct mgc_work_source *s,
                                      struct mgc_err *err);
/* A fresh snapshot of one source; it must still be the same database.  ret_view may be NULL. */
MGC_MUST_CHECK int mgc_work_reopen(struct mgc_work_source *s, struct mgc_source_view *ret_view,
                                   struct mgc_err *err);
/* Reads every source to its confirmed end and resolves shortened mentions. */
MGC_MUST_CHECK int mgc_work_scan(struct mgc_work *w, enum mgc_source_depth depth,
                                 struct mgc_err *err);
MGC_MUST_CHECK int mgc_work_scan_one(struct mgc_work *w, struct mgc_work_source *s,
                                     enum mgc_source_depth depth, struct mgc_err *err);
MGC_MUST_CHECK int mgc_work_settle_short(struct mgc_work *w, struct mgc_err *err);
void mgc_work_end_sources(struct mgc_work *w);
int64_t mgc_work_deadline(const struct mgc_work_source *s);

/* run_missing.c: the matcher's report of mentions that resolve to nothing */
void mgc_work_missing(void *arg, const char *path, size_t bytes);

/* run_history.c */
MGC_MUST_CHECK int mgc_work_history(struct mgc_work *w, struct mgc_err *err);
/* Sets identity_changed and went_back from the views. */
void mgc_work_check_identity(struct mgc_work *w);
/* Sets new_table and changed after the scans. */
void mgc_work_check_tables(struct mgc_work *w);
/* True where the source is what it was in the refused run that an approval is about, or later. */
bool mgc_work_as_refused(const struct mgc_work *w, const struct mgc_work_source *s);
void mgc_work_done_history(struct mgc_work *w);
/* run_state.c: the JSON stored with a run */
MGC_MUST_CHECK int mgc_work_state(const struct mgc_work *w, struct mgc_buf *out,
                                  struct mgc_err *err);
void mgc_work_matcher_text(const struct mgc_work *w, char *out, size_t out_bytes);
void mgc_work_hash_conf(const struct mgc_conf_references *conf, char *out);
/* Text as it stands in that JSON: UTF-8 as it is, else "\x" and hexadecimal. */
json_t *mgc_state_text(const char *bytes);
/* True where `stored`, as it stands there, is this text. */
bool mgc_state_same(const char *stored, const char *bytes);

/* run_fence.c */
MGC_MUST_CHECK int mgc_work_horizon(struct mgc_work *w, struct mgc_err *err);
/* 1: every fence of `sources` (JSON of an earlier run) has passed; 0: not, err says which. */
MGC_MUST_CHECK int mgc_work_fences_passed(struct mgc_work *w, const json_t *sources,
                                          struct mgc_err *err);
/* Waits until the fences of the first views have passed: 1, or 0 after fence_for. */
MGC_MUST_CHECK int mgc_work_await_fences(struct mgc_work *w, struct mgc_err *err);

/* run_verdicts.c */
/* What referenced entries say about their directories; before facts are asked for. */
void mgc_work_mark_dirs(struct mgc_work *w);
void mgc_work_facts(const struct mgc_work *w, const struct mgc_step *step,
                    struct mgc_facts *ret_facts);
MGC_MUST_CHECK int mgc_work_verdicts(struct mgc_work *w, struct mgc_err *err);
/* Candidate i is none after all; it leaves the list with the next mgc_work_settle_candidates(). */
void mgc_work_unmake_candidate(struct mgc_work *w, size_t i);
void mgc_work_settle_candidates(struct mgc_work *w);

/* run_brakes.c */
/* True where a purge or a heal must not believe the sources; err says why. */
MGC_MUST_CHECK int mgc_work_doubt(struct mgc_work *w, struct mgc_err *err);
MGC_MUST_CHECK int mgc_work_load_approved(struct mgc_work *w, struct mgc_err *err);
MGC_MUST_CHECK int mgc_work_brakes(struct mgc_work *w, struct mgc_err *err);

/* run_moves.c */
MGC_MUST_CHECK int mgc_work_second_look(struct mgc_work *w, struct mgc_err *err);
MGC_MUST_CHECK int mgc_work_move(struct mgc_work *w, struct mgc_err *err);

/* run_report.c */
MGC_MUST_CHECK int mgc_work_orphans(struct mgc_work *w, struct mgc_err *err);
MGC_MUST_CHECK int mgc_work_findings(struct mgc_work *w, struct mgc_err *err);

#endif
