/*
 * home.h -- our directory at the root of the media tree.
 *
 * Role     `.mediagcfs/` (0700, ours): `tree` (random id, H10), `ids` (high-water mark of ids,
 *          H11), `lock` (one daemon or one --offline command at a time), `slots/` (held files).
 * Layer    3.
 * Owns     Its descriptors until mgc_home_close().
 * Threads  mgc_home_reserve() may be called from any thread, one at a time.
 * Crash    Files are replaced by write, fsync, rename, fsync of the directory.
 */
#ifndef MEDIAGCFS_HOME_H
#define MEDIAGCFS_HOME_H

#include "mediagcfs/os.h"

struct mgc_home {
    int root_fd;  /* the media tree; borrowed */
    int home_fd;  /* .mediagcfs */
    int slots_fd; /* .mediagcfs/slots */
    int lock_fd;  /* flock held exclusively */
    int64_t reserved_id;
    char tree_id[33];     /* 32 hexadecimal digits */
    bool created;         /* it was not there before */
    bool slots_elsewhere; /* slots lie on another filesystem than the root: moving is refused */
};

/*
 * Opens or creates it and takes the lock.  MGC_E_BUSY: another daemon or command has it (named by
 * pid where it can be).  MGC_E_CONFLICT: a `.mediagcfs` that is not ours.  -EROFS and others as
 * they come.
 */
MGC_MUST_CHECK int mgc_home_open(struct mgc_os *os, int root_fd, struct mgc_home *home,
                                 struct mgc_err *err);
/* Durable on return: no id above up_to was given before. */
MGC_MUST_CHECK int mgc_home_reserve(struct mgc_home *home, int64_t up_to, struct mgc_err *err);
/* Writes the exact next id at an orderly stop, so that restarts do not spend ids. */
MGC_MUST_CHECK int mgc_home_settle_ids(struct mgc_home *home, int64_t next_id, struct mgc_err *err);
/* 0 when `.mediagcfs/tree` below root_fd still says home->tree_id; else MGC_E_IDENTITY. */
MGC_MUST_CHECK int mgc_home_check(struct mgc_home *home, struct mgc_err *err);
void mgc_home_close(struct mgc_home *home);

#endif
