/*
 * run.h -- one reconciliation: phases in order, each with the condition that ends it (DESIGN 7).
 *
 * Role     Reads the catalog and the sources, decides, and asks the host for every effect.
 * Layer    4.  Uses base, sys, catalog, refs.  Reaches the daemon through struct mgc_run_host.
 * Threads  One run per process at a time; calls host functions from the calling thread.
 * Crash    May stop anywhere: the host ends the run as failed, nothing is half decided.
 */
#ifndef MEDIAGCFS_RUN_H
#define MEDIAGCFS_RUN_H

#include "mediagcfs/brakes.h"
#include "mediagcfs/catalog.h"
#include "mediagcfs/conf.h"
#include "mediagcfs/quarantine.h"
#include "mediagcfs/source.h"
#include "mediagcfs/verdict.h"

/* What the daemon (or the offline service) does for a run.  0 or a negative code with a message. */
struct mgc_run_host {
    void *arg;
    /*
     * Starts a run: recorder committed, verification complete, tree id and clock checked.
     * ret_facts: hold, bypass, tree_changed, clock_stepped.  MGC_E_BUSY: another run.
     * MGC_E_INCOMPLETE: the verification of the tree is not complete yet.
     */
    int (*begin)(void *arg, bool apply, const char *approve, struct mgc_run *ret_run,
                 struct mgc_brake_facts *ret_facts, struct mgc_err *err);
    int (*flush)(void *arg, struct mgc_err *err); /* recorder and quarantine are committed */
    /* Inode numbers open for writing now, at most MGC_WRITERS_MAX.  May be NULL: none is known. */
    int (*writers)(void *arg, int64_t run, uint64_t *inos, size_t *ret_count, struct mgc_err *err);
    int (*orphans)(void *arg, int64_t run, const int64_t *ids, size_t count, struct mgc_err *err);
    int (*findings)(void *arg, int64_t run, const struct mgc_finding *rows, size_t count,
                    struct mgc_err *err);
    int (*move)(void *arg, int64_t run, const struct mgc_candidate *candidates, size_t count,
                struct mgc_move_outcome *outcomes, struct mgc_err *err);
    int (*heal)(void *arg, int64_t run, int64_t held_id, struct mgc_err *err);
    int (*prove)(void *arg, int64_t run, const int64_t *held_ids, size_t count, int64_t t0_us,
                 struct mgc_err *err);
    int (*end)(void *arg, const struct mgc_run *run, struct mgc_err *err);
    /* Purge: first and second proof are done by the caller; the host checks and deletes. */
    int (*purge)(void *arg, const int64_t *ids, size_t count, int64_t first_us, int64_t second_us,
                 bool now, int *outcomes, struct mgc_err *err);
    /* phase: stable word; done/total in the unit of the phase, total 0: unknown.  May be NULL. */
    void (*progress)(void *arg, const char *phase, int64_t done, int64_t total);
    /* Something worth saying that is no error (no open transactions visible, ...).  May be NULL. */
    void (*notice)(void *arg, const char *text);
};

struct mgc_run_spec {
    const struct mgc_conf *conf;
    struct mgc_catalog *catalog;       /* read-only handle */
    struct mgc_source *const *sources; /* started */
    size_t sources_count;
    const struct mgc_run_host *host;
    bool apply;
    const char *approve; /* digest, or NULL */
};
/*
 * One run.  Returns 0 (done), MGC_E_REFUSED (a brake; ret_run->refusal and digest say), or
 * MGC_E_INCOMPLETE and others: no effect.  ret_run is always filled as far as the run came; its
 * strings live until mgc_run_report_done().
 */
struct mgc_run_report {
    struct mgc_run run;
    struct mgc_buf strings; /* storage of run's texts */
    int64_t skipped;        /* candidates that changed since they were judged */
    int64_t failed;         /* files that a fault kept from being moved or put back */
};
MGC_MUST_CHECK int mgc_run_reconcile(const struct mgc_run_spec *spec,
                                     struct mgc_run_report *ret_report, struct mgc_err *err);
void mgc_run_report_done(struct mgc_run_report *report);

/*
 * Purge with proof (G5).  ids: the rows to consider (due ones, or those of --now).  apply false:
 * describes: the proofs are made, nothing is deleted.  each is called once per row considered:
 * code 0 purged (or would be), MGC_E_REFUSED with the reason, else a fault.
 */
struct mgc_purge_spec {
    const struct mgc_conf *conf;
    struct mgc_catalog *catalog;
    struct mgc_source *const *sources;
    size_t sources_count;
    const struct mgc_run_host *host;
    const int64_t *ids;
    size_t count;
    bool apply, now;
    void (*each)(void *arg, const struct mgc_held *held, int code, const char *reason);
    void *arg;
};
MGC_MUST_CHECK int mgc_run_purge(const struct mgc_purge_spec *spec, int64_t *ret_purged,
                                 int64_t *ret_kept, struct mgc_err *err);

/* Everything that decides about one path: the verdict and every mention.  Has no effect. */
struct mgc_explain_spec {
    const struct mgc_conf *conf;
    struct mgc_catalog *catalog;
    struct mgc_source *const *sources;
    size_t sources_count;
    const char *path;
    void (*mention)(void *arg, const struct mgc_origin *origin, const char *around, size_t bytes);
    void *arg;
};
struct mgc_explanation {
    enum mgc_verdict verdict;
    enum mgc_why why;
    bool complete; /* every source was read to its end: else the verdict is provisional */
    int64_t references;
    struct mgc_facts facts;
};
MGC_MUST_CHECK int mgc_run_explain(const struct mgc_explain_spec *spec, struct mgc_explanation *ret,
                                   struct mgc_err *err);

#endif
