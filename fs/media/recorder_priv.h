/*
 * recorder_priv.h -- the recorder's batch and the merging of it, for its own files and tests.
 *
 * Role     merge.c decides what of a batch has to be written; recorder.c moves batches.
 * Layer    3, private.
 */
#ifndef MGC_FS_MEDIA_RECORDER_PRIV_H
#define MGC_FS_MEDIA_RECORDER_PRIV_H

#include "mediagcfs/recorder.h"

/*
 * Compacts changes[0..count) to those that have to be applied, in their order, and returns their
 * number.  `times` of merged ones may be moved up to that of the last.  cancel: a thing created
 * and removed again in this batch is left out (see recorder_merge.c).  Without memory, nothing is
 * merged.
 */
size_t mgc_recorder_merge(struct mgc_change *changes, size_t count, bool cancel);

/* As mgc_recorder_flush(), but leaves the last-opened array in memory. */
MGC_MUST_CHECK int mgc_recorder_drain(struct mgc_recorder *r, struct mgc_err *err);

/*
 * A directory was renamed or exchanged and the catalog may not know it yet.  While it is false, and
 * the store stands still, a path leads to the same directory in both (but for a rename that was
 * done and not yet pushed).
 */
bool mgc_recorder_moving(struct mgc_recorder *r);

/* A batch is given up after this many failed attempts in a row. */
enum { MGC_RECORDER_ATTEMPTS_MAX = 3 };

#endif
