/*
 * pathlock.h -- keeps a name still while it is moved, and a directory's path while it is used.
 *
 * Role     Striped locks over (directory, name).  Lock order: tree, then stripe, then node; never
 *          two stripes except by mgc_pathlock_two().
 * Layer    3.
 * Threads  Any.  Nothing slower than one rename or one look-up happens under a lock (G7, H2).
 *          A thread holds one struct mgc_pathlock at a time (asserted in debug builds) and drops
 *          it itself.
 */
#ifndef MEDIAGCFS_PATHLOCK_H
#define MEDIAGCFS_PATHLOCK_H

#include "mediagcfs/attr.h"

struct mgc_pathlocks;
struct mgc_pathlock {
    struct mgc_pathlocks *set;
    int first, second; /* stripes, -1: none */
    bool tree;         /* the tree-wide lock is held */
};
enum mgc_pathlock_mode { MGC_PATHLOCK_SHARED, MGC_PATHLOCK_EXCLUSIVE };

MGC_MUST_CHECK struct mgc_pathlocks *mgc_pathlocks_new(void); /* NULL: out of memory */
void mgc_pathlocks_free(struct mgc_pathlocks *set);
/* dev, ino: of the directory.  Takes the tree lock shared as well. */
struct mgc_pathlock mgc_pathlock_take(struct mgc_pathlocks *set, uint64_t dev, uint64_t ino,
                                      const char *name, enum mgc_pathlock_mode mode);
/* Both names of a rename or exchange, exclusively; `directory`: tree lock exclusively (H2). */
struct mgc_pathlock mgc_pathlock_two(struct mgc_pathlocks *set, uint64_t dev1, uint64_t ino1,
                                     const char *name1, uint64_t dev2, uint64_t ino2,
                                     const char *name2, bool directory);
/* Only the tree lock, shared: paths stay what they are. */
struct mgc_pathlock mgc_pathlock_tree(struct mgc_pathlocks *set);
/* A lock that is zeroed or was dropped before: nothing happens. */
void mgc_pathlock_drop(struct mgc_pathlock *lock);
#define mgc_autopathlock __attribute__((cleanup(mgc_pathlock_drop))) struct mgc_pathlock

#endif
