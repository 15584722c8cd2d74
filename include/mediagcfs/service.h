/*
 * service.h -- what is done for a request: catalog, recorder, quarantine and rules in one object.
 *
 * Role     Used by mediagcfsd behind the control socket and by `mediagcfs --offline` in process:
 *          one implementation of every op, so that both behave the same.  Enforces, whoever asks,
 *          the limits on counts and bytes of a run, and who may ask for what.
 * Layer    5.  Uses base, sys, catalog, media, quarantine, control.  Not refs, reconcile or mount.
 * Owns     home, catalog, recorder, quarantine; borrows configuration and tree.
 * Threads  mgc_service_handle(): any.
 *
 * Ops (fields -> result).  All answers have "v":1.
 *   hello                 -> version, pid, tree_id, directory, source, mountpoint, mounted, user,
 *                            group                ids of the reconciler's
 *   status                -> see DESIGN 9
 *   flush                 -> {}                    recorder and quarantine committed
 *   scan {everything}     -> entries, added, removed, changed, directories, skipped, complete
 *                            (waits for its end)
 *   approve {digest}                        -> {}  of the last run, refused; good for one run
 *   run.begin {apply, approve?}             -> run, t0_us, facts{...}, previous, approved
 *   run.writers {run}                       -> inos:[..]    open for writing now
 *   run.orphans {run, ids:[..]}             -> {}
 *   run.findings {run, rows:[..]}           -> {}
 *   run.move {run, candidates:[{id, path|path_hex, ino, stamp, kind, horizon_us}]}
 *                                           -> outcomes:[{code, held, bytes}]
 *   run.heal {run, id}                      -> {}
 *   run.prove {run, ids:[..], t0_us}        -> {}
 *   run.end {run, run_row:{...}}            -> {}
 *   purge {ids:[..], first_us, second_us, now} -> outcomes:[code, ...]
 *   restore {id, to?:{path|path_hex}}       -> {}
 *   hold {for_us?, reason?}                 -> until_us
 *   resume                                  -> {}
 *   stop {lazy?}                            -> {}  the daemon unmounts and ends after answering
 */
#ifndef MEDIAGCFS_SERVICE_H
#define MEDIAGCFS_SERVICE_H

#include "mediagcfs/conf.h"
#include "mediagcfs/control.h"
#include "mediagcfs/quarantine.h"
#include "mediagcfs/verify.h"

struct mgc_service;
struct mgc_service_spec {
    const struct mgc_conf *conf;
    struct mgc_os *os;
    int root_fd;  /* of the source, opened before anything is mounted over it; borrowed */
    bool offline; /* no mount: no recorder, no tree; peer is the caller */
    /* `stop` was asked for: begin the orderly end.  -EBUSY with a message when it cannot. */
    int (*stop)(void *arg, bool lazy, struct mgc_err *err);
    /* Kernel caches (see quarantine.h); may be NULL. */
    void (*changed)(void *arg, const struct mgc_file_stat *dir, const char *name, bool gone);
    void *arg;
};
/*
 * Opens home and catalog (a corrupt one is set aside and begun anew), applies the clock rule,
 * recovers the quarantine.  Does not verify yet and starts no thread but the recorder's.
 */
MGC_MUST_CHECK int mgc_service_open(const struct mgc_service_spec *spec, struct mgc_service **ret,
                                    struct mgc_err *err);
/* The tree is served: moves mark its nodes from now on.  Before the first request. */
MGC_MUST_CHECK int mgc_service_attach(struct mgc_service *s, struct mgc_tree *tree,
                                      struct mgc_err *err);
struct mgc_recorder *mgc_service_recorder(struct mgc_service *s);
struct mgc_catalog *mgc_service_catalog(struct mgc_service *s);
struct mgc_pathlocks *mgc_service_pathlocks(struct mgc_service *s);
/* Group that may read the catalog and reach the socket: that of the reconciler's user. */
gid_t mgc_service_gid(const struct mgc_service *s);
/* Starts the background verification and the schedule (children: argv of `mediagcfs`). */
MGC_MUST_CHECK int mgc_service_start(struct mgc_service *s, struct mgc_err *err);
/* A mgc_handler_fn and a mgc_gone_fn; arg is the service. */
int mgc_service_handle(void *arg, const struct mgc_peer *peer, json_t *request, mgc_row_fn *row,
                       void *row_arg, json_t **ret_ok, struct mgc_err *err);
void mgc_service_gone(void *arg, const struct mgc_peer *peer);
/* The end is near: a verification stops, and a request that waits for one is answered.  NULL is a
 * no-op.  Before mgc_server_stop(), which waits for requests. */
void mgc_service_stop(struct mgc_service *s);
/* Ends verification and schedule, commits everything, marks the catalog clean, closes. */
int mgc_service_close(struct mgc_service *s, struct mgc_err *err);

#endif
