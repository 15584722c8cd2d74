/* daemon_priv.h -- the steps of a start that need no object of ours. */
#ifndef MEDIAGCFS_DAEMON_PRIV_H
#define MEDIAGCFS_DAEMON_PRIV_H

#include "mediagcfs/conf.h"

/* ---- background.c ---- */
struct mgc_background {
    int ready_fd; /* tells the waiting parent; -1 in the foreground */
};
/*
 * Forks; the parent waits for mgc_background_ready() or the child's end and exits with the status
 * the caller of `mount` shall see.  Returns in the child.
 */
void mgc_background_start(struct mgc_background *b);
/* Releases the parent and lets go of every descriptor of the caller; messages go to log_path. */
void mgc_background_ready(struct mgc_background *b, const char *log_path);

/* ---- checks.c ---- */
/* Detaches a dead mount of ours; refuses a live one and a foreign one at a separate mount point. */
MGC_MUST_CHECK int mgc_check_mountpoint(const struct mgc_conf *conf, struct mgc_err *err);
/* The source is a directory and not a mount of ours; *ret_fd is the caller's. */
MGC_MUST_CHECK int mgc_check_source(const struct mgc_conf *conf, int *ret_fd, struct mgc_err *err);
#endif
