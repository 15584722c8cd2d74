/*
 * tree.h -- the media tree as the mount serves it: inode table and backing operations.
 *
 * Role     Everything by descriptor (no path is walked again), the private directory hidden, each
 *          change published to the recorder.  Knows nothing of FUSE; fs/mount translates.
 * Layer    3.
 * Owns     Node table, descriptors.  Borrows os, recorder, pathlocks, root_fd.
 * Threads  All operations: any thread.  Lock order in pathlock.h.
 */
#ifndef MEDIAGCFS_TREE_H
#define MEDIAGCFS_TREE_H

#include "mediagcfs/os.h"
#include "mediagcfs/pathlock.h"
#include "mediagcfs/recorder.h"

struct mgc_tree;

/*
 * H1: marks the inode before its name is moved.  Call with the name's path lock held exclusively.
 * From then on every request that names the node is answered -ESTALE (the kernel looks the name up
 * again), until the node is forgotten or a look-up finds the inode under a live name.
 * 0: marked (or the inode is not known, so nobody can name it).  MGC_E_BUSY: a handle that may
 * write is open, or a request is using the node right now: skip the file in this run.
 */
MGC_MUST_CHECK int mgc_tree_hold(struct mgc_tree *t, const struct mgc_file_stat *stat);
/* Takes the mark back: the move did not happen. */
void mgc_tree_release(struct mgc_tree *t, const struct mgc_file_stat *stat);
/* Path locks of this tree. */
struct mgc_pathlocks *mgc_tree_pathlocks(struct mgc_tree *t);

#endif
