/*
 * tree.h -- the media tree as the mount serves it: inode table and backing operations.
 *
 * Role     Everything by descriptor (no path is walked again), the private directory hidden, each
 *          change published to the recorder.  Knows nothing of FUSE; fs/mount translates.
 * Layer    3.
 * Owns     Node table, descriptors, open handles.  Borrows os, recorder, pathlocks, root_fd.
 * Threads  All operations: any thread.  Lock order in pathlock.h; then node table, then recorder.
 * Errors   0 or a negative errno, which is the application's answer.  ret_ only on success.
 */
#ifndef MEDIAGCFS_TREE_H
#define MEDIAGCFS_TREE_H

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "mediagcfs/os.h"
#include "mediagcfs/pathlock.h"
#include "mediagcfs/recorder.h"

struct mgc_tree;
struct mgc_node;   /* one inode that the kernel may name */
struct mgc_handle; /* one open file */
struct mgc_dirhandle;

struct mgc_tree_spec {
    struct mgc_os *os;
    int root_fd; /* of the media tree; any kind of descriptor */
    struct mgc_pathlocks *locks;
    struct mgc_recorder *recorder; /* NULL: nothing is recorded that way */
    /* Where changes go instead when recorder is NULL; both NULL: nowhere.  Must not call back. */
    void (*record)(void *arg, const struct mgc_change *change);
    void *arg;
    int64_t open_resolution_us; /* opens of one node closer together than this are one */
};
MGC_MUST_CHECK int mgc_tree_new(const struct mgc_tree_spec *spec, struct mgc_tree **ret,
                                struct mgc_err *err);
/*
 * After the last request has ended and before the recorder is stopped: writers that the kernel did
 * not close (an unmount drops what it still had to say) are recorded here.  NULL is a no-op.
 */
void mgc_tree_free(struct mgc_tree *t);

/*
 * H1: marks the inode before its name is moved.  Call with the name's path lock held exclusively.
 * From then on every request that names the node is answered -ESTALE (the kernel looks the name up
 * again), until the node is forgotten or a look-up finds the inode under a live name.  What goes by
 * an open handle is served as for an unlinked file: only readers can have one.
 * 0: marked (or the inode is not known, so nobody can name it).  MGC_E_BUSY: a handle that may
 * write is open, a request is using the node right now, or the inode was opened for reading and
 * writing and the filesystem has no leases that would show a mapping (H3): skip it in this run.
 */
MGC_MUST_CHECK int mgc_tree_hold(struct mgc_tree *t, const struct mgc_file_stat *stat);
/* Takes the mark back: the move did not happen. */
void mgc_tree_release(struct mgc_tree *t, const struct mgc_file_stat *stat);
/* Path locks of this tree. */
struct mgc_pathlocks *mgc_tree_pathlocks(struct mgc_tree *t);

/* ---- nodes: a look-up adds one to a node's count, forget takes it back ---- */

struct mgc_found {
    struct mgc_node *node;
    uint64_t generation; /* never the same for two nodes at one address */
    struct stat attr;
    bool volatile_attr; /* stores through a mapping may change it unseen: not to be cached (H17) */
};
struct mgc_attr {
    struct stat attr;
    bool volatile_attr;
};
struct mgc_caller {
    uint32_t uid, gid, umask;
};
enum {
    MGC_SET_MODE = 1 << 0,
    MGC_SET_UID = 1 << 1,
    MGC_SET_GID = 1 << 2,
    MGC_SET_SIZE = 1 << 3,
    MGC_SET_ATIME = 1 << 4,
    MGC_SET_MTIME = 1 << 5,
};
struct mgc_setattr {
    unsigned valid;
    uint32_t mode, uid, gid;
    int64_t size_bytes;
    struct timespec atime, mtime; /* tv_nsec may be UTIME_NOW */
};

struct mgc_node *mgc_tree_root(struct mgc_tree *t);
/* The node of an inode the kernel may know, kept until mgc_tree_unref(); NULL: none. */
struct mgc_node *mgc_tree_ref(struct mgc_tree *t, uint64_t dev, uint64_t ino);
void mgc_tree_unref(struct mgc_tree *t, struct mgc_node *node);
MGC_MUST_CHECK int mgc_tree_lookup(struct mgc_tree *t, struct mgc_node *dir, const char *name,
                                   struct mgc_found *ret);
void mgc_tree_forget(struct mgc_tree *t, struct mgc_node *node, uint64_t count);
MGC_MUST_CHECK int mgc_tree_getattr(struct mgc_tree *t, struct mgc_node *node,
                                    struct mgc_attr *ret);
/* handle: NULL, or the open file the change came by. */
MGC_MUST_CHECK int mgc_tree_setattr(struct mgc_tree *t, struct mgc_node *node,
                                    struct mgc_handle *handle, const struct mgc_setattr *set,
                                    struct mgc_attr *ret);
/* out is NUL-terminated; longer targets are -ENAMETOOLONG. */
MGC_MUST_CHECK int mgc_tree_readlink(struct mgc_tree *t, struct mgc_node *node, char *out,
                                     size_t out_bytes);
MGC_MUST_CHECK int mgc_tree_statfs(struct mgc_tree *t, struct mgc_node *node, struct statvfs *ret);

/* ---- names ---- */

/* What is made belongs to the caller, its mode is cut by the caller's umask or the default ACL. */
MGC_MUST_CHECK int mgc_tree_mknod(struct mgc_tree *t, const struct mgc_caller *caller,
                                  struct mgc_node *dir, const char *name, uint32_t mode,
                                  uint64_t rdev, struct mgc_found *ret);
MGC_MUST_CHECK int mgc_tree_mkdir(struct mgc_tree *t, const struct mgc_caller *caller,
                                  struct mgc_node *dir, const char *name, uint32_t mode,
                                  struct mgc_found *ret);
MGC_MUST_CHECK int mgc_tree_symlink(struct mgc_tree *t, const struct mgc_caller *caller,
                                    struct mgc_node *dir, const char *name, const char *target,
                                    struct mgc_found *ret);
MGC_MUST_CHECK int mgc_tree_link(struct mgc_tree *t, struct mgc_node *node, struct mgc_node *dir,
                                 const char *name, struct mgc_found *ret);
MGC_MUST_CHECK int mgc_tree_unlink(struct mgc_tree *t, struct mgc_node *dir, const char *name);
MGC_MUST_CHECK int mgc_tree_rmdir(struct mgc_tree *t, struct mgc_node *dir, const char *name);
/* flags: those of renameat2(2). */
MGC_MUST_CHECK int mgc_tree_rename(struct mgc_tree *t, struct mgc_node *dir, const char *name,
                                   struct mgc_node *dir2, const char *name2, unsigned flags);

/* ---- files ---- */

/*
 * Lets the kernel read and write the backing file itself.  One id per inode, shared by its opens;
 * an inode's opens are all served that way or none is.  NULL: the descriptor is served from here.
 */
struct mgc_backing {
    int (*open)(void *arg, int fd); /* an id > 0, or a negative errno: served from here then */
    void (*close)(void *arg, int id);
    void *arg;
};
struct mgc_opened {
    struct mgc_handle *handle;
    int backing_id;    /* 0: reads and writes come here */
    bool attr_changed; /* attributes the kernel has cached are not to be believed from now on */
};
struct mgc_create {
    struct mgc_caller caller;
    uint32_t mode;
    int flags; /* of open(2) */
};

/* name NULL: a file without a name (O_TMPFILE). */
MGC_MUST_CHECK int mgc_tree_create(struct mgc_tree *t, struct mgc_node *dir, const char *name,
                                   const struct mgc_create *create,
                                   const struct mgc_backing *backing, struct mgc_found *ret_found,
                                   struct mgc_opened *ret_opened);
MGC_MUST_CHECK int mgc_tree_open(struct mgc_tree *t, struct mgc_node *node, int flags,
                                 const struct mgc_backing *backing, struct mgc_opened *ret);
/* Ends a handle; the last writer is recorded. */
void mgc_tree_close(struct mgc_tree *t, struct mgc_handle *h, const struct mgc_backing *backing);
/* A close(2) by one of several descriptors: reports write errors that were put off. */
MGC_MUST_CHECK int mgc_tree_flush(struct mgc_tree *t, struct mgc_handle *h);
/* Bytes read or written, or a negative errno. */
ssize_t mgc_tree_read(struct mgc_tree *t, struct mgc_handle *h, void *out, size_t bytes,
                      int64_t offset);
ssize_t mgc_tree_write(struct mgc_tree *t, struct mgc_handle *h, const void *data, size_t bytes,
                       int64_t offset);
MGC_MUST_CHECK int mgc_tree_fsync(struct mgc_tree *t, struct mgc_handle *h, bool data_only);
MGC_MUST_CHECK int mgc_tree_fallocate(struct mgc_tree *t, struct mgc_handle *h, int mode,
                                      int64_t offset, int64_t bytes);
struct mgc_copy {
    struct mgc_handle *from, *to;
    int64_t from_offset, to_offset;
    size_t bytes;
    unsigned flags;
};
ssize_t mgc_tree_copy(struct mgc_tree *t, const struct mgc_copy *copy);
MGC_MUST_CHECK int mgc_tree_seek(struct mgc_tree *t, struct mgc_handle *h, int64_t offset,
                                 int whence, int64_t *ret_offset);

/* ---- directories ---- */

/* next: where to go on after this one.  found: set by readdir with `plus`, except for the dots. */
struct mgc_dirent {
    const char *name;
    uint64_t ino;
    uint32_t type; /* S_IFMT bits */
    int64_t next;
    const struct mgc_found *found;
};
/* false: there was no room, the entry was not taken (nor its look-up counted). */
typedef bool mgc_dirent_fn(void *arg, const struct mgc_dirent *entry);

MGC_MUST_CHECK int mgc_tree_opendir(struct mgc_tree *t, struct mgc_node *dir,
                                    struct mgc_dirhandle **ret);
void mgc_tree_closedir(struct mgc_tree *t, struct mgc_dirhandle *d);
/* Gives entries from `offset` (0, or a `next`) until `each` says false or the end. */
MGC_MUST_CHECK int mgc_tree_readdir(struct mgc_tree *t, struct mgc_dirhandle *d, int64_t offset,
                                    bool plus, mgc_dirent_fn *each, void *arg);
MGC_MUST_CHECK int mgc_tree_fsyncdir(struct mgc_tree *t, struct mgc_dirhandle *d, bool data_only);

/* What the tree holds at this moment, for status and tests. */
struct mgc_tree_counts {
    int64_t nodes, handles, marked;
};
/* Inode numbers that a handle may write to right now; returns how many were written (<= max). */
size_t mgc_tree_writers(struct mgc_tree *t, uint64_t *inos, size_t max);
void mgc_tree_counts(struct mgc_tree *t, struct mgc_tree_counts *ret);

#endif
