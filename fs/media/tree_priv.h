/*
 * tree_priv.h -- what the tree_*.c files share.
 *
 * tree.c        life of the tree, look-up, attributes, H1 marks
 * tree_names.c  making, removing and renaming names
 * tree_files.c  open files
 * tree_dirs.c   reading directories
 * tree_caller.c acting as the caller while something is made
 */
#ifndef MEDIAGCFS_TREE_PRIV_H
#define MEDIAGCFS_TREE_PRIV_H

#include "fs/media/node_priv.h"
#include "mediagcfs/tree.h"

enum {
    OPEN_STRIPES = 64,  /* locks for open modes: a node hashes to one */
    FD_PATH_BYTES = 32, /* "/proc/self/fd/2147483647" */
};

struct mgc_handle {
    struct mgc_node *node; /* holds a reference */
    int fd;                /* -1 in passthrough: opened for the one request that needs it */
    int flags;             /* access mode */
    bool passthrough;
    bool writer;                     /* opened for writing or with O_TRUNC */
    struct mgc_handle *next, **prev; /* protected by tree->handles_lock */
};

struct mgc_tree {
    struct mgc_nodes nodes;
    struct mgc_os *os;
    struct mgc_pathlocks *locks;
    struct mgc_recorder *recorder;
    void (*record)(void *arg, const struct mgc_change *change);
    void *record_arg;
    int64_t open_resolution_us;
    bool switch_ids; /* root: new files can be given to the caller */
    pthread_mutex_t open_locks[OPEN_STRIPES];
    pthread_mutex_t handles_lock;
    struct mgc_handle *handles;
    int64_t handle_count;
};

/* The path by which a node's own file can be opened again. */
char *mgc_fd_path(char *out, int fd);

/* True for the name that exists for nobody. */
bool mgc_tree_hides(const struct mgc_tree *t, const struct mgc_node *dir, const char *name);
/* Path lock of dir/name. */
struct mgc_pathlock mgc_tree_lock(struct mgc_tree *t, const struct mgc_node *dir, const char *name,
                                  enum mgc_pathlock_mode mode);
/* Look-up of dir/name with its path lock held; counts and names the node. */
MGC_MUST_CHECK int mgc_tree_enter(struct mgc_tree *t, struct mgc_node *dir, const char *name,
                                  struct mgc_found *ret);
/* The same for what is open already as fd (taken): exactly that file, whatever its name. */
MGC_MUST_CHECK int mgc_tree_enter_fd(struct mgc_tree *t, int fd, struct mgc_found *ret);
void mgc_tree_fill(struct mgc_tree *t, struct mgc_node *node, const struct stat *st,
                   struct mgc_found *ret);

/* ---- recording: with names locked; the time is set here ---- */

/* change->path is built from dir and name; what has no path is not recorded (nobody can name it).
 */
void mgc_tree_note(struct mgc_tree *t, struct mgc_node *dir, const char *name,
                   struct mgc_change *change);
/* The same for the node's last known name. */
void mgc_tree_note_node(struct mgc_tree *t, struct mgc_node *node, struct mgc_change *change);
void mgc_tree_push(struct mgc_tree *t, struct mgc_change *change);

/* ---- the caller ---- */

struct mgc_became {
    bool ids, mask;
    uint32_t
        mode_mask; /* to be taken off a mode by hand, when the thread has no umask of its own */
};
struct mgc_became mgc_caller_become(const struct mgc_tree *t, const struct mgc_caller *caller);
void mgc_caller_return(const struct mgc_became *was);

#endif
