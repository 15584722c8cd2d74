/*
 * mount_priv.h -- what the files of the FUSE session share.
 *
 * session.c    options, mounting, the loop, stopping
 * busy.c       who keeps the mount busy
 * notify.c     thread that drops what the kernel has cached
 * ops.c        replies, capabilities, the table
 * ops_names.c  requests about names and attributes
 * ops_files.c  requests about open files
 * ops_dirs.c   requests about open directories
 *
 * Compiles with libfuse 3.14 and newer; what is newer than 3.14 is behind FUSE_VERSION here and is
 * asked for at run time as well (the kernel may not have it).
 */
#ifndef MEDIAGCFS_MOUNT_PRIV_H
#define MEDIAGCFS_MOUNT_PRIV_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <pthread.h>
#include <stdatomic.h>

#include "mediagcfs/mount.h"

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
#define MGC_FUSE_PASSTHROUGH 1
#else
#define MGC_FUSE_PASSTHROUGH 0
#endif
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
#define MGC_FUSE_TMPFILE 1
#define MGC_FUSE_EXIT_WAKES 1
#else
#define MGC_FUSE_TMPFILE 0
#define MGC_FUSE_EXIT_WAKES 0
#endif

enum {
    MGC_MOUNT_THREADS = 4, /* more only add wake-ups on other CPUs */
    MGC_MOUNT_WRITE_BYTES_PASSTHROUGH = 128 << 10,
    MGC_MOUNT_WRITE_BYTES = 1 << 20,
    MGC_NOTIFY_QUEUE_MAX = 65536, /* changes of our own not yet told to the kernel: about 8 MiB */
    MGC_BUSY_PIDS_MAX = 10,
};

struct mgc_notice {
    struct mgc_notice *next;
    struct mgc_node *dir; /* holds a reference */
    char name[];
};

struct mgc_notify {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct mgc_notice *first, **last;
    int count;
    bool stop, started; /* started: nobody has begun to wait for its end */
    bool running;       /* the thread may still use the queue */
    pthread_t thread;
};

struct mgc_mount {
    const struct mgc_conf *conf;
    struct mgc_tree *tree;
    void (*ready)(void *arg);
    void *ready_arg;
    struct fuse_session *session;
    double cache_seconds;
    bool stacked_source; /* the source lies on overlayfs or another stacked filesystem */
    /* Granted by the kernel; cleared when it refuses an id, for good. */
    _Atomic bool passthrough;
    struct mgc_notify notify;
    pthread_mutex_t lock;
    pthread_cond_t ended_changed;
    bool running, ended; /* protected by lock */
    bool unmounted;      /* protected by lock: nothing of ours is at the mount point */
    pthread_t runner;    /* valid while running */
    pthread_t greeter;   /* waits for the mount to answer */
    bool greeter_started;
    uint64_t under_dev; /* of the directory that was mounted over */
    uint64_t dev; /* of the mount, as stat(2) shows it; 0: not known yet.  Protected by lock */
};

/* ---- ops.c ---- */

extern const struct fuse_lowlevel_ops mgc_mount_ops;

struct mgc_mount *mgc_mount_of(fuse_req_t req);
struct mgc_node *mgc_mount_node(struct mgc_mount *m, fuse_ino_t ino);
fuse_ino_t mgc_mount_ino(struct mgc_mount *m, struct mgc_node *node);
/* One reply; r is 0 or a negative code.  Faults are logged, a few a second at most. */
void mgc_mount_reply(fuse_req_t req, const char *op, int r);
struct fuse_entry_param mgc_mount_entry(struct mgc_mount *m, const struct mgc_found *found);
/* Replies with an entry, or with r when that is negative. */
void mgc_mount_reply_entry(fuse_req_t req, const char *op, int r, const struct mgc_found *found);
void mgc_mount_reply_attr(fuse_req_t req, const char *op, int r, const struct mgc_attr *attr);
struct mgc_caller mgc_mount_caller(fuse_req_t req);

void mgc_op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name);
void mgc_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void mgc_op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void mgc_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void mgc_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid,
                    struct fuse_file_info *fi);
void mgc_op_readlink(fuse_req_t req, fuse_ino_t ino);
void mgc_op_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev);
void mgc_op_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode);
void mgc_op_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name);
void mgc_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name);
void mgc_op_unlink(fuse_req_t req, fuse_ino_t dir, const char *name);
void mgc_op_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name);
void mgc_op_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t dir2,
                   const char *name2, unsigned flags);
void mgc_op_statfs(fuse_req_t req, fuse_ino_t ino);

struct mgc_handle *mgc_mount_handle(const struct fuse_file_info *fi);
void mgc_op_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
                   struct fuse_file_info *fi);
void mgc_op_tmpfile(fuse_req_t req, fuse_ino_t dir, mode_t mode, struct fuse_file_info *fi);
void mgc_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void mgc_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void mgc_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void mgc_op_read(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset,
                 struct fuse_file_info *fi);
void mgc_op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t bytes, off_t offset,
                  struct fuse_file_info *fi);
void mgc_op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi);
void mgc_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t bytes,
                      struct fuse_file_info *fi);
void mgc_op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset,
                            struct fuse_file_info *from_fi, fuse_ino_t to, off_t to_offset,
                            struct fuse_file_info *to_fi, size_t bytes, int flags);
void mgc_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
                  struct fuse_file_info *fi);

void mgc_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void mgc_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void mgc_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset,
                    struct fuse_file_info *fi);
void mgc_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset,
                        struct fuse_file_info *fi);
void mgc_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi);

/* ---- notify.c ---- */

MGC_MUST_CHECK int mgc_notify_start(struct mgc_mount *m, struct mgc_err *err);
/* Call while requests are still served, or when the connection is gone: else it may wait for ever
 * for a lock that a request holds. */
void mgc_notify_stop(struct mgc_mount *m);

/* ---- busy.c ---- */

/* Appends "pid 812 (nginx), pid 900 (python3)" to out: who has something open on device `dev`. */
void mgc_busy_list(uint64_t dev, char *out, size_t out_bytes);

#endif
