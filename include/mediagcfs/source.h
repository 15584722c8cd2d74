/*
 * source.h -- a reference source says which text the application holds.
 *
 * Role     PostgreSQL, SQLite and commands behind one table.  A source that stopped early and one
 *          that found little look the same from outside, and taking one for the other deletes live
 *          media.  So the end is stated, never inferred: scan() and ask() return
 *          MGC_SOURCE_COMPLETE only when the other side confirmed it (final status of the COPY
 *          read and the table's file node unchanged, child exited 0 after its last line).
 *          Returning 0 by oversight counts as failure (G1).
 * Layer    2.  Uses base, sys.
 * Owns     A source owns its connections and children until mgc_source_free().
 * Threads  One source, one thread at a time.  Different sources are independent.
 * Units    deadline_us: absolute, on mgc_monotonic_us(); 0: none.  Other *_us: microseconds
 *          since 1970 UTC.
 * Errors   Negative codes with a message that names source and table.  After any error end() and
 *          begin() again are allowed.
 * Crash    Every session is READ ONLY (G9).  A killed reader leaves nothing behind.
 */
#ifndef MEDIAGCFS_SOURCE_H
#define MEDIAGCFS_SOURCE_H

#include "mediagcfs/conf.h"
#include "mediagcfs/error.h"

enum { MGC_SOURCE_COMPLETE = 1 };

/* Where a piece of text stands. */
struct mgc_origin {
    const char *source; /* name of the references block */
    const char *table;  /* "schema.table", "query 1", or "" for a command */
    const char *column; /* "" where there is none */
    bool weak;  /* ignored by default or by name: does not keep a file alive, stops its purge */
    bool whole; /* a column of `columns` or a query: the value is expected to be a path */
};
/*
 * Receives one decoded value (COPY escapes undone; bytea as its bytes; may contain NUL).  The
 * bytes are valid during the call only.  A negative return ends the scan with that code.
 */
typedef int mgc_text_fn(void *arg, const struct mgc_origin *origin, const char *text, size_t bytes);

/* What to read. */
enum mgc_source_depth {
    MGC_DEPTH_CONFIGURED, /* as `scan` says: everything without the ignored tables, or columns */
    MGC_DEPTH_PROOF, /* everything, every query, ignored tables as weak (G5); commands as always */
};

/* What begin() found out, in the order T0, open transactions, prepared ones, snapshot (G2). */
struct mgc_source_view {
    int64_t t0_us;     /* on this machine's clock, uncertainty already subtracted */
    int64_t oldest_us; /* min(t0, start of the oldest open transaction); 0: not visible -> fence */
    bool sees_transactions; /* false for SQLite and commands: grace alone decides, and says so */
    char *fence;            /* JSON of every open transaction, also of those whose start is visible:
                               {"vxids":[..],"prepared":[..],"xmax":".."}; NULL when none is open */
    char *
        identity; /* text that must stay the same: system identifier, database oid; file identity */
    int64_t progress; /* never goes back for the same identity: snapshot xmax; -1 unknown */
    /* PostgreSQL: WAL position, padded (text order is its order).  SQLite: JSON object of
     * sqlite_sequence, or "".  Command: "". */
    char *position;
};
void mgc_source_view_done(struct mgc_source_view *view);

struct mgc_source; /* begins with `const struct mgc_source_ops *ops` and `const char *name` */

struct mgc_source_ops {
    const char *kind; /* value of `type =` */
    /*
     * Does what needs the starting privileges (SQLite: forks the reader under the owner's ids).
     * Called once, before privileges are dropped and before threads start.
     */
    int (*start)(struct mgc_source *s, struct mgc_err *err);
    /* Connects and opens the snapshot.  On success *ret_view is the caller's. */
    int (*begin)(struct mgc_source *s, int64_t deadline_us, struct mgc_source_view *ret_view,
                 struct mgc_err *err);
    /*
     * 1 when every transaction named in `fence` (JSON of an earlier begin(), of this or another
     * process) has ended before the snapshot of the last begin(); 0 when one has not: err names
     * pid, user and database.  Needs no open snapshot; NULL or "" is 1.  Before any begin() it is
     * answered from a look at the server now; to poll, end() and begin() again.
     */
    int (*fence_passed)(struct mgc_source *s, const char *fence, int64_t deadline_us,
                        struct mgc_err *err);
    /* Streams all text.  MGC_SOURCE_COMPLETE or a negative code; anything else is a failure. */
    int (*scan)(struct mgc_source *s, enum mgc_source_depth depth, int64_t deadline_us,
                mgc_text_fn *each, void *arg, struct mgc_err *err);
    /*
     * Reports, through `each`, those of `paths` that stand as a whole value in one of `columns`
     * ("schema.table.column"; those of `columns =` and queries are always asked), in a fresh
     * snapshot; the one of begin() is gone then, and begin() is not needed.  A command is run
     * again in full and every record is given.  MGC_SOURCE_COMPLETE or a negative code.
     */
    int (*ask)(struct mgc_source *s, const char *const *paths, size_t count,
               const char *const *columns, size_t columns_count, int64_t deadline_us,
               mgc_text_fn *each, void *arg, struct mgc_err *err);
    /*
     * JSON array of what the last scan() read, sorted, for "is this table or column new":
     * ["public.photo.image", "query 1", ...]; SQLite names have no schema, and a virtual table
     * that was passed over stands as "name.(not read: virtual)"; a command is ["command"].  NULL
     * before a scan.  Borrowed until the next scan or free.
     */
    const char *(*covered)(struct mgc_source *s);
    /* Ends the snapshot and closes connections; begin() may follow. */
    void (*end)(struct mgc_source *s);
    void (*free)(struct mgc_source *s);
};
struct mgc_source {
    const struct mgc_source_ops *ops;
    const char *name; /* of the references block; borrowed from the configuration */
};

/* Makes the source of a block.  Does not contact anything.  conf is borrowed and must outlive it.
 */
MGC_MUST_CHECK int mgc_source_new(const struct mgc_conf_references *conf, struct mgc_source **ret,
                                  struct mgc_err *err);
/* NULL is a no-op. */
void mgc_source_free(struct mgc_source *s);

#endif
