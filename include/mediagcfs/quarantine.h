/*
 * quarantine.h -- orphans taken out of the media tree, kept until restored or purged.
 *
 * Role     Moves names.  Opens a file only for its lease and origin; never copies or rewrites one.
 * Layer    4.  Uses base, sys, catalog, media.  Not refs, reconcile, mount, control or cli.
 * Owns     Nothing but itself.  Borrows os, catalog, tree, home: they outlive it.
 * Threads  Safe to share; calls for one path are kept apart by the path lock, taken inside, and
 *          batches by a mutex of its own.
 * Units    *_us: microseconds since 1970 UTC.  *_bytes: octets.  Paths: see path.h.
 * Errors   0 or a negative code; on failure no ret_ is written.
 * Crash    Any call may be cut short anywhere.  mgc_quarantine_recover() at start-up restores
 *          invariants Q1-Q5 (quarantine.c); until it has returned 0, moving is refused.
 */
#ifndef MEDIAGCFS_QUARANTINE_H
#define MEDIAGCFS_QUARANTINE_H

#include "mediagcfs/catalog.h"
#include "mediagcfs/conf.h"
#include "mediagcfs/home.h"
#include "mediagcfs/tree.h"

struct mgc_quarantine;
struct mgc_quarantine_spec {
    struct mgc_os *os;
    struct mgc_catalog *catalog;
    struct mgc_home *home;
    struct mgc_tree *tree;         /* NULL without a mount (offline) */
    struct mgc_pathlocks *locks;   /* the tree's, or an own set offline */
    struct mgc_recorder *recorder; /* NULL offline: recorded before rows are judged */
    /* A name appeared or vanished: kernel caches must go.  Called without locks; may be NULL. */
    void (*changed)(void *arg, const struct mgc_file_stat *dir, const char *name, bool gone);
    /* One event for each act, before the call that caused it returns; may be NULL.  Both hooks are
     * called by the thread that acts, perhaps by several at once; they may call back in here. */
    void (*event)(void *arg, const struct mgc_event *event);
    void *arg;
};
MGC_MUST_CHECK int mgc_quarantine_new(const struct mgc_quarantine_spec *spec,
                                      struct mgc_quarantine **ret, struct mgc_err *err);
void mgc_quarantine_free(struct mgc_quarantine *q);

struct mgc_recover_result {
    int64_t forgotten, finished, returned; /* moves: file stayed, is held, was put back */
    int64_t restored, purged;              /* finished */
    int64_t kept;                          /* restore or purge undone: held as before */
    int64_t adopted;                       /* slots without a row (catalog lost): listed again */
    int64_t alarms; /* names and journal disagree, slot without row or origin, row without slot:
                       nothing was touched; an event says which */
};
/*
 * Settles every row left behind and adopts slots that have none.  Doing it twice changes nothing.
 * Returns 0 also when there are alarms: what they are about stays as it is, all else goes on.
 */
MGC_MUST_CHECK int mgc_quarantine_recover(struct mgc_quarantine *q,
                                          struct mgc_recover_result *ret_result,
                                          struct mgc_err *err);

struct mgc_candidate {
    int64_t entry_id;
    const char *path;
    struct mgc_file_id id; /* as judged */
    int64_t horizon_us;    /* nothing born, written or changed after this may move (G2, H7) */
};
struct mgc_move_outcome {
    int code;        /* 0: held.  -ESTALE: changed since judged, -ENOENT: gone, MGC_E_BUSY: open,
                        MGC_E_UNMOVABLE: kept; all four are no faults.  Else a fault. */
    int64_t held_id; /* set when code is 0 */
    int64_t bytes;
    char why[192]; /* in words, for reports; empty when code is 0 */
};
/*
 * Takes up to MGC_MOVE_BATCH_MAX orphans out of the tree: one commit announces all, each is
 * checked again and renamed under its path lock, directories are synced, one commit finishes.
 *
 * outcomes  one per candidate, always all written
 * Returns 0 when every candidate has an outcome; MGC_E_CONFLICT when names and journal disagree;
 * else the code of what failed for all (then every outcome says so).
 * Blocks: on fsync and on catalog commits.  Never call from a FUSE request.
 */
MGC_MUST_CHECK int mgc_quarantine_move(struct mgc_quarantine *q,
                                       const struct mgc_candidate *candidates, size_t count,
                                       int64_t run, struct mgc_move_outcome *outcomes,
                                       struct mgc_err *err);

/*
 * Puts one held file back.
 *
 * to    NULL: where it came from; else another path in the tree.  Missing parents are made again
 *       (root's owner, 0755, unless known better).
 * heal  because it is needed (a run found a reference), not by an operator
 * Returns 0; -EEXIST: something is there, nothing was touched (restore never overwrites).
 */
MGC_MUST_CHECK int mgc_quarantine_restore(struct mgc_quarantine *q, int64_t held_id, const char *to,
                                          bool heal, const char *who, struct mgc_err *err);

/* Rules of G5 that need no proof to be read: pure, for tests and listings. */
struct mgc_purge_rules {
    int64_t now_us;
    int64_t retention_us, min_retention_us, deleted_retention_us;
    int64_t clock_floor_us; /* the clock stepped here: retention begins again (H8); 0: never */
};
/* The rules of a configuration and catalog, as of now. */
struct mgc_purge_rules mgc_purge_rules_of(const struct mgc_conf *conf, struct mgc_catalog *catalog,
                                          int64_t now_us);
/* When the row falls due by its retention. */
int64_t mgc_purge_due_us(const struct mgc_held *held, const struct mgc_purge_rules *rules);

/*
 * Deletes proven files for good.  Checks everything the filesystem and catalog can tell: state,
 * pin, retention, first proof after retention, second proof (proof_us) after it and within an hour.
 *
 * first_us   T0 of the first proof's scan; 0: take each row's own (a run's scan)
 * second_us  T0 of the second
 * now        `purge --now` by an operator: retention is not asked, proofs still are
 * outcomes   0: purged; MGC_E_REFUSED: a rule says no; else a fault
 */
MGC_MUST_CHECK int mgc_quarantine_purge(struct mgc_quarantine *q, const int64_t *ids, size_t count,
                                        int64_t first_us, int64_t second_us, bool now,
                                        const struct mgc_purge_rules *rules, const char *who,
                                        int *outcomes, struct mgc_err *err);

#endif
