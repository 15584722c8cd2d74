/*
 * recorder.h -- what applications do to the tree, written to the catalog by one thread.
 *
 * Role     FUSE threads publish changes to a bounded queue in memory; the writer thread merges
 *          what repeats and commits a batch every `commit_every`.  Never waits for a commit (G7):
 *          a full queue or a failed commit marks the catalog incomplete and asks for a
 *          verification; it never fails the application's request.  A batch that could not be
 *          committed is tried again, before anything newer, and given up after a few attempts.
 * Layer    3.  Uses base, sys, catalog.
 * Owns     Its queue and thread.  Borrows the catalog.
 * Threads  push: any.  flush: any but the writer.
 */
#ifndef MEDIAGCFS_RECORDER_H
#define MEDIAGCFS_RECORDER_H

#include "mediagcfs/catalog.h"

struct mgc_recorder;
struct mgc_recorder_spec {
    struct mgc_catalog *catalog;
    struct mgc_os *os;
    int64_t commit_every_us;
    /* Called from the writer thread, without locks, when the catalog became incomplete; may be
     * NULL.  Must not flush, complete or stop this recorder. */
    void (*incomplete)(void *arg, const struct mgc_err *why);
    void *arg;
};
MGC_MUST_CHECK int mgc_recorder_start(const struct mgc_recorder_spec *spec,
                                      struct mgc_recorder **ret, struct mgc_err *err);
/* Copies the change (paths included) and returns at once.  Not after mgc_recorder_stop(). */
void mgc_recorder_push(struct mgc_recorder *r, const struct mgc_change *change);
/*
 * Something happened that could not be published (a path that could not be told, memory): the
 * catalog becomes incomplete as with a full queue.  Returns at once.  why may be NULL.
 */
void mgc_recorder_missed(struct mgc_recorder *r, const struct mgc_err *why);
/*
 * Returns when everything pushed before the call is committed and, where something was missed, the
 * catalog says so; the last-opened array is in its file.  0, or why it could not be.
 */
MGC_MUST_CHECK int mgc_recorder_flush(struct mgc_recorder *r, struct mgc_err *err);
/* While set, nothing is cancelled out in a batch (a verification compares with the tree). */
void mgc_recorder_verifying(struct mgc_recorder *r, bool on);
/* How often something was missed until now. */
int64_t mgc_recorder_misses(struct mgc_recorder *r);
/*
 * A verification that began when mgc_recorder_misses() was `misses` found everything: flushes,
 * sets MGC_META_VERIFIED to verified_us and clears MGC_META_INCOMPLETE, in the thread that sets
 * it.  MGC_E_INCOMPLETE when something was missed since: nothing is cleared.
 */
MGC_MUST_CHECK int mgc_recorder_complete(struct mgc_recorder *r, int64_t misses,
                                         int64_t verified_us, struct mgc_err *err);
struct mgc_recorder_counts {
    int64_t queued;         /* waiting for a commit now */
    int64_t recorded;       /* committed */
    int64_t merged;         /* left out of a batch: repeated, or undone by a later one */
    int64_t dropped;        /* lost: queue full, memory, or their batch was given up */
    int64_t failed_commits; /* attempts */
};
void mgc_recorder_counts(struct mgc_recorder *r, struct mgc_recorder_counts *ret);
/* Commits what is left, stops the thread, frees.  Returns 0 when it could be committed, else the
 * code of the last attempt.  NULL is a no-op.  Nobody may use the recorder any more. */
int mgc_recorder_stop(struct mgc_recorder *r, struct mgc_err *err);

#endif
