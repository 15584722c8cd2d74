/*
 * mount.h -- the FUSE session over a tree.
 *
 * Role     Translates requests to fs/media operations, replies once per path, keeps kernel caches
 *          honest from a thread that never serves requests.
 * Layer    5.  The only folder that includes libfuse.
 * Owns     The FUSE connection and its threads.  Borrows conf and tree: they outlive it.
 * Threads  mgc_mount_run() blocks its caller; stop and changed may come from any other thread, and
 *          must have returned before mgc_mount_close().
 * Process  open raises RLIMIT_NOFILE to its hard limit; run sets the umask to 0 and, as root,
 *          SECBIT_NO_SETUID_FIXUP in its thread and those it starts.  With libfuse before 3.18,
 *          SIGUSR2 wakes the loop and must be left to it.
 */
#ifndef MEDIAGCFS_MOUNT_H
#define MEDIAGCFS_MOUNT_H

#include "mediagcfs/conf.h"
#include "mediagcfs/tree.h"

struct mgc_mount;
struct mgc_mount_spec {
    const struct mgc_conf *conf;
    struct mgc_tree *tree;
    /* The mount answers: called once, from a thread of the session. */
    void (*ready)(void *arg);
    void *arg;
};
/* Mounts (the source is open already, so in place works). */
MGC_MUST_CHECK int mgc_mount_open(const struct mgc_mount_spec *spec, struct mgc_mount **ret,
                                  struct mgc_err *err);
/* Serves until the mount is gone or stop was asked for.  Once; then close. */
MGC_MUST_CHECK int mgc_mount_run(struct mgc_mount *m, struct mgc_err *err);
/*
 * Unmounts: 0, or -EBUSY with up to ten pids in the message.  lazy: detaches a busy one.  After 0
 * mgc_mount_run() returns.  Where something still uses the detached mount that takes two seconds,
 * after which it answers nobody.  Blocks: not from a thread that serves requests.
 */
MGC_MUST_CHECK int mgc_mount_stop(struct mgc_mount *m, bool lazy, struct mgc_err *err);
/*
 * dir/name appeared or vanished on our own account: drops dentry, listing and attributes,
 * asynchronously.  No lock may be held: it waits while the queue is full.
 */
void mgc_mount_changed(struct mgc_mount *m, const struct mgc_file_stat *dir, const char *name,
                       bool gone);
/* NULL is a no-op.  Takes away a mount that is still there. */
void mgc_mount_close(struct mgc_mount *m);

#endif
