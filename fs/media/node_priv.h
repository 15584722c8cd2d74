/*
 * node_priv.h -- the inode table behind the mount.
 *
 * Role     One node per inode that the kernel may name, keyed by (device, inode).  Its O_PATH
 *          descriptor keeps the inode number from being used again while the node lives.
 * Owns     Nodes, their descriptors and names.
 * Threads  Any.  Two locks: `names` (parent and name of every node, and the order in which changes
 *          are recorded), then `table` (everything else that changes).  Never the other way round.
 */
#ifndef MEDIAGCFS_NODE_PRIV_H
#define MEDIAGCFS_NODE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "mediagcfs/attr.h"
#include "mediagcfs/limits.h"

struct mgc_node {
    /* Constant. */
    uint64_t dev, ino;
    uint64_t generation;
    int fd; /* O_PATH */
    uint32_t type;
    /* Protected by table. */
    struct mgc_node *next;
    uint64_t lookups; /* the kernel's */
    uint32_t refs;    /* ours: children, queues */
    uint32_t users;   /* requests running */
    uint32_t handles; /* open files, readers and writers */
    uint32_t writers;
    bool marked;        /* H1 */
    bool opened_rw;     /* a shared mapping may have outlived its handle (H3) */
    bool volatile_attr; /* and may store past us, in passthrough (H17) */
    /* Protected by names.  No parent: the root, or no name is known. */
    struct mgc_node *parent; /* holds a reference */
    char *name;
    /* When an open for reading was last recorded. */
    _Atomic int64_t opened_us;
    /* Protected by the stripe of open locks in tree_files.c. */
    uint32_t cached_opens, passthrough_opens;
    int backing_id;
};

struct mgc_nodes {
    pthread_mutex_t names, table;
    struct mgc_node **buckets;
    size_t bucket_count, count, marked;
    uint64_t next_generation;
    uint64_t seed;
    struct mgc_node *root;
};

/* Takes root_fd.  0 or a negative errno (then root_fd is still the caller's). */
MGC_MUST_CHECK int mgc_nodes_init(struct mgc_nodes *s, int root_fd);
/* Frees every node whatever its counts. */
void mgc_nodes_done(struct mgc_nodes *s);

/*
 * The node of an inode found under a live name: one look-up more, its mark taken back.  Call with
 * the path lock of that name, so that no move is under way.  NULL: not known.
 */
struct mgc_node *mgc_node_find(struct mgc_nodes *s, uint64_t dev, uint64_t ino);
/* The same for one that may be new; takes fd in any case.  NULL: out of memory. */
struct mgc_node *mgc_node_insert(struct mgc_nodes *s, int fd, const struct stat *st);
void mgc_node_forget(struct mgc_nodes *s, struct mgc_node *node, uint64_t count);
/* A reference that is not the kernel's.  NULL: not known. */
struct mgc_node *mgc_node_ref(struct mgc_nodes *s, uint64_t dev, uint64_t ino);
void mgc_node_unref(struct mgc_nodes *s, struct mgc_node *node);

/* A request that names the node begins: 0, or -ESTALE when it is marked. */
MGC_MUST_CHECK int mgc_node_use(struct mgc_nodes *s, struct mgc_node *node);
void mgc_node_unuse(struct mgc_nodes *s, struct mgc_node *node);
/* 0, or -ESTALE: marked and nobody has it open, so that only a stale name can have led here. */
MGC_MUST_CHECK int mgc_node_visible(struct mgc_nodes *s, struct mgc_node *node);
/*
 * Counts a handle; `rw`: opened for reading and writing.  Call inside use, except for what was
 * just created under the path lock.
 */
void mgc_node_opened(struct mgc_nodes *s, struct mgc_node *node, bool writer, bool rw);
void mgc_node_closed(struct mgc_nodes *s, struct mgc_node *node, bool writer);
/* Inode numbers with writers; returns how many were written (<= max). */
size_t mgc_node_writers(struct mgc_nodes *s, uint64_t *inos, size_t max);
/*
 * Marks (H1).  0: marked; 1: marked, but it was opened for reading and writing (H3: the caller
 * looks for leases and takes the mark back where there are none); -ENOENT: not known;
 * MGC_E_BUSY.
 */
MGC_MUST_CHECK int mgc_node_mark(struct mgc_nodes *s, uint64_t dev, uint64_t ino);
void mgc_node_unmark(struct mgc_nodes *s, uint64_t dev, uint64_t ino);

/* ---- names: only between lock and unlock ---- */

void mgc_names_lock(struct mgc_nodes *s);
void mgc_names_unlock(struct mgc_nodes *s);
/* The node was last seen as parent/name.  Out of memory leaves it without a name. */
void mgc_node_set_name(struct mgc_nodes *s, struct mgc_node *node, struct mgc_node *parent,
                       const char *name);
/* parent/name is gone: forgets it if it is the name the node was last seen under. */
void mgc_node_drop_name(struct mgc_nodes *s, struct mgc_node *node, const struct mgc_node *parent,
                        const char *name);
/* Path of dir/name, or of `dir` itself when name is NULL; -ENOENT: not known; -ENAMETOOLONG. */
MGC_MUST_CHECK int mgc_node_path(const struct mgc_nodes *s, const struct mgc_node *dir,
                                 const char *name, char *out, size_t out_bytes);

#endif
