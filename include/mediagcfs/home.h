/*
 * home.h -- our directory at the root of the media tree.
 *
 * Role     `.mediagcfs/` (0700, ours): `tree` (random id, H10), `ids` (high-water mark of ids,
 *          H11), `lock` (one daemon or one --offline command at a time), `slots/` (held files).
 * Layer    3.
 * Owns     Its descriptors until mgc_home_close().
 * Threads  mgc_home_reserve() may be called from any thread, one at a time.
 * Crash    Files are replaced by write, fsync, rename, fsync of the directory.  `tree` is the last
 *          one made: without it the directory is unfinished and is begun again, or is not ours.
 * Forks    flock belongs to the open file: a child that does not exec must close lock_fd, or it
 *          keeps the tree locked after us (exec closes it).
 */
#ifndef MEDIAGCFS_HOME_H
#define MEDIAGCFS_HOME_H

#include "mediagcfs/os.h"

struct mgc_home {
    struct mgc_os *os;    /* NULL: not open */
    int root_fd;          /* the media tree; borrowed */
    int home_fd;          /* .mediagcfs */
    int slots_fd;         /* .mediagcfs/slots */
    int lock_fd;          /* flock held exclusively */
    int64_t reserved_id;  /* no id from here on was ever given: next id is at least this */
    int64_t opened_id;    /* what reserved_id was when it was opened */
    char tree_id[33];     /* 32 hexadecimal digits */
    bool created;         /* it was not there before */
    bool slots_elsewhere; /* slots lie on another filesystem than the root: moving is refused */
};

/*
 * Opens or creates it and takes the lock.  MGC_E_BUSY: another daemon or command has it (named by
 * pid where it can be).  MGC_E_CONFLICT: a `.mediagcfs` that is not ours (left as it was found) or
 * has lost a part.  MGC_E_CORRUPT: `ids` is not what we wrote.  MGC_E_VERSION: a newer version made
 * it.  -EROFS and others as they come.  *home is written on success only.
 */
MGC_MUST_CHECK int mgc_home_open(struct mgc_os *os, int root_fd, struct mgc_home *home,
                                 struct mgc_err *err);
/* Durable on return: ids up to and including up_to are never given again by a later opening, even
 * when the catalog is lost.  The mark never falls; a lower up_to does nothing. */
MGC_MUST_CHECK int mgc_home_reserve(struct mgc_home *home, int64_t up_to, struct mgc_err *err);
/* Writes the exact next id at an orderly stop, so that restarts do not spend ids.  MGC_E_CORRUPT
 * when it lies below what was given before this opening: nothing is written. */
MGC_MUST_CHECK int mgc_home_settle_ids(struct mgc_home *home, int64_t next_id, struct mgc_err *err);
/*
 * A count kept in the tree and in the catalog: where they differ, the catalog is an older copy
 * (G6). 0 where none was written yet; MGC_E_CORRUPT and others as for `ids`.
 */
MGC_MUST_CHECK int mgc_home_generation(struct mgc_home *home, int64_t *ret_count);
/* Durable on return.  count is above 0. */
MGC_MUST_CHECK int mgc_home_advance(struct mgc_home *home, int64_t count, struct mgc_err *err);
/* 0 when `.mediagcfs/tree` below root_fd still says home->tree_id; else MGC_E_IDENTITY. */
MGC_MUST_CHECK int mgc_home_check(struct mgc_home *home, struct mgc_err *err);
/* Unlocks and closes; a zeroed or closed one is a no-op. */
void mgc_home_close(struct mgc_home *home);

#endif
