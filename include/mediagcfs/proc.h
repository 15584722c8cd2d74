/*
 * proc.h -- child processes with a deadline, bounded output and no inherited descriptors.
 *
 * Role     Runs command sources, SQLite readers and the scheduled reconciler.
 * Layer    1.
 * Threads  Each struct mgc_proc belongs to one thread.  fork() in threaded programs: only
 *          async-signal-safe calls happen between fork and exec.
 * Units    deadline_us: absolute, on mgc_monotonic_us(); 0 means none.
 * Errors   Negative codes with a message; MGC_E_TIMEOUT at the deadline.
 */
#ifndef MEDIAGCFS_PROC_H
#define MEDIAGCFS_PROC_H

#include <sys/types.h>

#include "mediagcfs/error.h"

struct mgc_proc {
    pid_t pid;     /* -1 when there is no child */
    int out_fd;    /* read end of the child's stdout, or -1 */
    char name[48]; /* leaf of argv[0], for messages */
};

struct mgc_proc_spec {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
    /* (uid_t)-1: stay who we are; else groups, gid, uid, HOME, USER and LOGNAME are set. */
    uid_t uid;
    gid_t gid;
    bool capture;     /* connect stdout to out_fd; else stdout goes to /dev/null */
    bool keep_stderr; /* else stderr goes to /dev/null */
    int pass_fd;      /* -1, or a descriptor that becomes the child's descriptor 3 */
};

/* Starts the child in its own process group, umask 022, stdin from /dev/null, signals reset, its
 * capabilities to go with root. */
MGC_MUST_CHECK int mgc_proc_start(struct mgc_proc *p, const struct mgc_proc_spec *spec,
                                  struct mgc_err *err);
/*
 * Reads what is there, up to `bytes`; 0 at the end of output, which says nothing about success.
 * MGC_E_TIMEOUT at the deadline: the child still runs and the caller kills it.
 */
MGC_MUST_CHECK ssize_t mgc_proc_read(struct mgc_proc *p, void *out, size_t bytes,
                                     int64_t deadline_us, struct mgc_err *err);
/*
 * Waits for the end.  0 when the child exited with status 0; else MGC_E_SOURCE with a message that
 * names the status or signal; MGC_E_TIMEOUT (the child is killed then).  Afterwards there is no
 * child, out_fd is closed, and what was left behind in its process group has been killed.
 */
MGC_MUST_CHECK int mgc_proc_wait(struct mgc_proc *p, int64_t deadline_us, struct mgc_err *err);
/* Kills the process group and reaps; a no-op without a child. */
void mgc_proc_kill(struct mgc_proc *p);

#endif
