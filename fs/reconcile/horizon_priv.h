/*
 * horizon_priv.h -- what the views of the sources allow to be judged (G2).  Pure.
 *
 * Layer    4, private to fs/reconcile and its tests.
 * Threads  Any.
 */
#ifndef MEDIAGCFS_RECONCILE_HORIZON_PRIV_H
#define MEDIAGCFS_RECONCILE_HORIZON_PRIV_H

#include "mediagcfs/attr.h"

struct mgc_horizon_view {
    int64_t t0_us;
    int64_t oldest_us; /* 0: not visible */
};
/*
 * min(T0, oldest open transaction) - grace over all sources and the run's own T0.  0: unknown (an
 * invisible transaction, a time that is not known, no source at all).
 */
int64_t mgc_horizon_us(const struct mgc_horizon_view *views, size_t count, int64_t run_t0_us,
                       int64_t grace_us);
/* The same without the transactions: what may be nominated behind a fence.  0: unknown. */
int64_t mgc_horizon_nominal_us(const struct mgc_horizon_view *views, size_t count,
                               int64_t run_t0_us, int64_t grace_us);
/*
 * True when a position lies before an earlier one of the same database.  Understood are WAL
 * positions ("16/B374D848") and JSON objects of numbers, of which none may fall or vanish;
 * anything else cannot be compared and is never "before".
 */
bool mgc_position_went_back(const char *before, const char *now);

#endif
