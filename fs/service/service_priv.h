/*
 * service_priv.h -- the service object, shared by the files of this folder.
 *
 * Threads  `mutex` protects the fields listed under it; it is never held across a commit, a
 *          verification or a move.
 */
#ifndef MEDIAGCFS_SERVICE_PRIV_H
#define MEDIAGCFS_SERVICE_PRIV_H

#include <pthread.h>

#include "mediagcfs/home.h"
#include "mediagcfs/proc.h"
#include "mediagcfs/service.h"

/* The run that is going on; at most one. */
struct mgc_service_run {
    int64_t id; /* 0: none */
    int64_t t0_us;
    int64_t previous;   /* complete run before it, 0: none */
    int64_t connection; /* it ends when this goes */
    bool apply, approved;
    int64_t approved_files; /* what the approval is good for */
    int64_t moved, moved_bytes;
};

enum mgc_scan_state { MGC_SCAN_NEVER, MGC_SCAN_RUNNING, MGC_SCAN_DONE, MGC_SCAN_BROKEN };

struct mgc_service {
    struct mgc_service_spec spec;
    const struct mgc_conf *conf;
    struct mgc_os *os;
    struct mgc_home home;
    bool home_open;
    struct mgc_catalog *catalog;
    struct mgc_recorder *recorder; /* NULL offline */
    struct mgc_pathlocks *locks;
    struct mgc_quarantine *quarantine;
    struct mgc_tree *tree; /* borrowed; NULL offline */
    uid_t user_uid;        /* who the reconciler runs as */
    gid_t user_gid;
    int64_t started_us;
    int events_fd; /* JSON lines, -1: could not be opened */

    pthread_mutex_t mutex;
    pthread_cond_t changed_cond;
    /* under mutex */
    struct mgc_service_run run;
    bool attached;
    enum mgc_scan_state scan;
    bool scan_wanted, scan_everything;
    int64_t scans_begun, scans_done; /* a request waits for one that began after it */
    struct mgc_verify_result scan_result;
    struct mgc_err scan_err;
    bool stopping;
    int64_t next_run_us, next_purge_us;
    /* events of the op under way, in memory until its end */
    struct mgc_buf events; /* concatenated JSON lines */
    struct mgc_event *event_rows;
    size_t events_count, events_capacity;

    bool threads_started; /* a verification has a thread to run in; always false offline */

    volatile bool stop_scan;
    pthread_t scan_thread, schedule_thread;
    int64_t
        rest_until_us; /* schedule thread: a run that could not even begin is tried again then */
};

/* events.c */
void mgc_service_note(void *service, const struct mgc_event *event); /* quarantine's hook */
void mgc_service_say(struct mgc_service *s, enum mgc_event_kind kind, int64_t run,
                     const char *reason, const char *who);
/* Commits what was noted; failing to is logged by the caller and never undoes an act. */
MGC_MUST_CHECK int mgc_service_events_flush(struct mgc_service *s, struct mgc_err *err);
void mgc_service_events_done(struct mgc_service *s);

/* clock.c: applies H8; also while running. */
MGC_MUST_CHECK int mgc_service_clock(struct mgc_service *s, bool starting, struct mgc_err *err);

/* generation.c: an older copy of the catalog is noticed at start; both counts go on. */
MGC_MUST_CHECK int mgc_service_generation(struct mgc_service *s, struct mgc_err *err);
MGC_MUST_CHECK int mgc_service_advance(struct mgc_service *s, struct mgc_err *err);

/* verify thread */
int mgc_service_scan_start(struct mgc_service *s, struct mgc_err *err);
void mgc_service_scan_stop(struct mgc_service *s);
/* Asks for a verification and waits for the end of one that began after the call. */
MGC_MUST_CHECK int mgc_service_scan_wait(struct mgc_service *s, bool everything,
                                         struct mgc_verify_result *ret_result, struct mgc_err *err);
void mgc_service_scan_want(struct mgc_service *s);

/* schedule thread */
int mgc_service_schedule_start(struct mgc_service *s, struct mgc_err *err);
void mgc_service_schedule_stop(struct mgc_service *s);

/* ops */
typedef int mgc_op_fn(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                      json_t **ret_ok, struct mgc_err *err);
mgc_op_fn mgc_op_approve, mgc_op_run_begin, mgc_op_run_writers, mgc_op_run_orphans,
    mgc_op_run_findings, mgc_op_run_move, mgc_op_run_heal, mgc_op_run_prove, mgc_op_run_end;
/* True while an operator froze moves and purges, or where that cannot be read. */
bool mgc_service_on_hold(struct mgc_service *s, int64_t *ret_until_us);
/* "<what> are on hold", with the way out.  Returns MGC_E_REFUSED. */
int mgc_service_say_held(struct mgc_err *err, const char *what);
/* Commits what the mount recorded. */
MGC_MUST_CHECK int mgc_service_flush(struct mgc_service *s, struct mgc_err *err);
/* "uid 33 pid 812 (nginx)"; out needs 80 bytes.  Returns out. */
const char *mgc_peer_text(char *out, size_t out_bytes, const struct mgc_peer *peer);

/* Meta values of this layer. */
#define MGC_META_APPROVED "approved_digest" /* an operator's, not used yet; "" else */
#define MGC_META_GENERATION "generation"    /* equals the tree's, or this is an older copy */
#define MGC_META_PURGED "purged_us"         /* last scheduled purge */

#endif
