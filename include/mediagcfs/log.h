/*
 * log.h -- messages for the operator, and the names of events.
 *
 * Role     Layers 5 and 6 log each failure once; layers 0-4 return their errors.  Destructive acts
 *          are events: rows of the catalog and JSON lines, with names from one table.
 * Layer    0.
 * Threads  Safe; a message is one write.
 */
#ifndef MEDIAGCFS_LOG_H
#define MEDIAGCFS_LOG_H

#include "mediagcfs/bytes.h"
#include "mediagcfs/error.h"

enum mgc_log_level { MGC_LOG_ERROR, MGC_LOG_WARNING, MGC_LOG_INFO, MGC_LOG_DEBUG };

/* program: prefix of each line, borrowed for ever.  stderr is the only target. */
void mgc_log_init(const char *program, enum mgc_log_level level);
void mgc_log(enum mgc_log_level level, const char *format, ...) MGC_PRINTF(2, 3);
/* "<what>: <message>" and the hint on a line of its own. */
void mgc_log_failure(const char *what, const struct mgc_err *err);

/* Stable names; the table in log.c follows this order. */
enum mgc_event_kind {
    MGC_EVENT_MOVE,    /* an orphan was moved into quarantine */
    MGC_EVENT_HEAL,    /* a held file was put back because it is needed */
    MGC_EVENT_RESTORE, /* a held file was put back by an operator */
    MGC_EVENT_PURGE,   /* a held file was deleted for good */
    MGC_EVENT_REFUSED, /* a run, move or purge was refused by a rule */
    MGC_EVENT_RUN,     /* a run ended */
    MGC_EVENT_HOLD,    /* moves and purges frozen */
    MGC_EVENT_RESUME,  /* and allowed again */
    MGC_EVENT_MOUNT,   /* the tree is being served */
    MGC_EVENT_UNMOUNT, /* and no longer */
    MGC_EVENT_BYPASS,  /* an entry appeared beneath the mount */
    MGC_EVENT_SCAN,    /* a verification ended */
    MGC_EVENT_RECOVER, /* an unfinished move was settled at start */
    MGC_EVENT_CATALOG, /* catalog rebuilt or marked incomplete */
    MGC_EVENT_APPROVE, /* an operator approved a refused run */
    MGC_EVENT_COUNT
};
const char *mgc_event_name(enum mgc_event_kind kind);

struct mgc_event {
    int64_t id;      /* set by the catalog */
    int64_t time_us; /* microseconds since 1970 UTC */
    enum mgc_event_kind kind;
    const char *path;   /* NULL when the event has none */
    int64_t run;        /* 0 when it belongs to no run */
    int64_t held;       /* slot id, or 0 */
    int64_t bytes;      /* size of the file, or 0 */
    const char *reason; /* NULL or text */
    const char *who;    /* NULL or "uid 33 pid 812 nginx" */
};
/* Appends one JSON object without newline: v, time, event, path (and path_hex), run, ... */
void mgc_event_json(struct mgc_buf *out, const struct mgc_event *event);
/* "2026-03-01T12:00:00.000000Z"; out needs 32 bytes.  Returns out. */
const char *mgc_time_text(char *out, size_t out_bytes, int64_t time_us);

#endif
