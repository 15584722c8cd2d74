/*
 * recorder.h -- what applications do to the tree, written to the catalog by one thread.
 *
 * Role     FUSE threads publish changes to a bounded queue in memory; the writer thread merges
 *          what repeats and commits a batch every `commit_every`.  Never waits for a commit (G7):
 *          a full queue or a failed commit marks the catalog incomplete and asks for a
 *          verification; it never fails the application's request.
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
    /* Called from the writer thread when the catalog became incomplete; may be NULL. */
    void (*incomplete)(void *arg, const struct mgc_err *why);
    void *arg;
};
MGC_MUST_CHECK int mgc_recorder_start(const struct mgc_recorder_spec *spec,
                                      struct mgc_recorder **ret, struct mgc_err *err);
/* Copies the change (paths included) and returns at once. */
void mgc_recorder_push(struct mgc_recorder *r, const struct mgc_change *change);
/* Returns when everything pushed before the call is committed: 0, or why it could not be. */
MGC_MUST_CHECK int mgc_recorder_flush(struct mgc_recorder *r, struct mgc_err *err);
/* While set, nothing is cancelled out in a batch (a verification compares with the tree). */
void mgc_recorder_verifying(struct mgc_recorder *r, bool on);
struct mgc_recorder_counts {
    int64_t queued, recorded, merged, dropped, failed_commits;
};
void mgc_recorder_counts(struct mgc_recorder *r, struct mgc_recorder_counts *ret);
/* Commits what is left, stops the thread, frees.  Returns the code of the last commit. */
int mgc_recorder_stop(struct mgc_recorder *r, struct mgc_err *err);

#endif
