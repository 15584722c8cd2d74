/*
 * source_postgres_priv.h -- the parts of the PostgreSQL source.
 *
 * Role     link: two sessions, one that reads and one that watches whether it blocks anybody.
 *          view: open transactions, fence, identity.  tables: what there is to read.
 *          copy: streaming and the proof that a table was really read (G1, H28).
 * Layer    2.  Private to fs/refs and its tests.
 * Threads  Everything runs on the caller's thread: while the reading session is waited for or
 *          drained, the watching one is served from the same loop.
 */
#ifndef MEDIAGCFS_REFS_SOURCE_POSTGRES_PRIV_H
#define MEDIAGCFS_REFS_SOURCE_POSTGRES_PRIV_H

#include <libpq-fe.h>

#include "fs/refs/source_priv.h"

enum {
    MGC_PG_CONNECT_US = 30 * 1000 * 1000, /* for one session, all hosts of its conninfo together */
    MGC_PG_WATCH_EVERY_US = 1000 * 1000,  /* H31: found within one second, gone within two */
    MGC_PG_WATCH_ANSWER_US = 30 * 1000 * 1000, /* a watcher that says nothing is no watcher */
    MGC_PG_LOCK_WAIT_MS = 10 * 1000,    /* behind somebody's ALTER TABLE; waiting blocks nobody */
    MGC_PG_CANCEL_US = 1000 * 1000,     /* for a cancel to be delivered */
    MGC_PG_IDLE_MS = 10 * 60 * 1000,    /* the server ends what we left behind */
    MGC_PG_MINOR_US = 60 * 1000 * 1000, /* where the caller gave no deadline: a small query */
};

/* An open transaction of the database, as begin() saw it. */
struct mgc_pg_open {
    char *vxid, *pid, *user, *database;
};
struct mgc_pg_prepared {
    char *xid, *gid, *owner;
    int64_t at_us; /* server clock */
};
struct mgc_pg_facts {
    bool known;
    struct mgc_pg_open *opens;
    size_t opens_count;
    struct mgc_pg_prepared *prepared;
    size_t prepared_count;
    int64_t server_us;   /* server clock when they were looked up */
    int64_t earliest_us; /* server clock: earliest visible start, INT64_MAX for none */
    bool invisible;      /* a start is not to be seen: only the fence decides */
    uint64_t xmax;       /* of the snapshot that followed, 0 before */
};

struct mgc_pg {
    struct mgc_source base;
    const struct mgc_conf_references *conf;
    PGconn *main, *watch;
    char main_pid[16];     /* backend of the open transaction */
    bool in_snapshot;      /* begin() succeeded and nothing has failed since */
    bool watching;         /* main holds locks that may block somebody */
    bool watch_asked;      /* an answer of the watcher is due */
    int64_t watch_next_us; /* monotonic: next question, or until when the answer must be there */
    struct mgc_pg_facts facts;
    char *fence_text;      /* fence whose virtual transactions have all ended ... */
    char **fence_prepared; /* ... and what was prepared then and may be one of them */
    size_t fence_prepared_count;
    char *covered;
};

/* One statement with text parameters. */
struct mgc_pg_query {
    const char *sql;
    const char *const *values;
    int count;
    const char *table; /* for messages: what is being read, or "" */
};

/* --- link --- */
/* Connects both sessions; a session that is there already stays. */
MGC_MUST_CHECK int mgc_pg_connect(struct mgc_pg *pg, int64_t deadline_us, struct mgc_err *err);
/* Cancels what runs, ends transactions, closes both sessions. */
void mgc_pg_disconnect(struct mgc_pg *pg);
/* Runs one statement of the reading session.  *ret_res (may be NULL) is the caller's to clear. */
MGC_MUST_CHECK int mgc_pg_exec(struct mgc_pg *pg, const struct mgc_pg_query *query,
                               int64_t deadline_us, PGresult **ret_res, struct mgc_err *err);
MGC_MUST_CHECK int mgc_pg_run(struct mgc_pg *pg, const char *sql, int64_t deadline_us,
                              struct mgc_err *err);
/* Sends a statement without waiting for its result. */
MGC_MUST_CHECK int mgc_pg_send(struct mgc_pg *pg, const struct mgc_pg_query *query,
                               int64_t deadline_us, struct mgc_err *err);
/* Waits for more bytes of the reading session and takes them in. */
MGC_MUST_CHECK int mgc_pg_wait(struct mgc_pg *pg, const char *table, int64_t deadline_us,
                               struct mgc_err *err);
/* Serves the watcher: MGC_E_INCOMPLETE when we block somebody.  Cheap; call it often. */
MGC_MUST_CHECK int mgc_pg_tick(struct mgc_pg *pg, struct mgc_err *err);
/* BEGIN and the session contract (G9).  isolation: as SQL has it. */
MGC_MUST_CHECK int mgc_pg_transaction(struct mgc_pg *pg, const char *isolation, int64_t deadline_us,
                                      struct mgc_err *err);
/* One statement of the watching session, in a transaction and a snapshot of its own. */
MGC_MUST_CHECK int mgc_pg_ask_watcher(struct mgc_pg *pg, const char *sql, int64_t deadline_us,
                                      char **ret_text, struct mgc_err *err);
/* Turns a failed result (or, NULL, the session's state) into a code with message and remedy. */
int mgc_pg_failure(struct mgc_pg *pg, const PGresult *res, const char *table, struct mgc_err *err);
int mgc_pg_timeout(struct mgc_pg *pg, const char *table, struct mgc_err *err);
void mgc_pg_clear_(PGresult **res);
#define mgc_pg_autores __attribute__((cleanup(mgc_pg_clear_))) PGresult

/* --- view --- */
int mgc_pg_begin(struct mgc_source *base, int64_t deadline_us, struct mgc_source_view *ret_view,
                 struct mgc_err *err);
int mgc_pg_fence_passed(struct mgc_source *base, const char *fence, int64_t deadline_us,
                        struct mgc_err *err);
void mgc_pg_facts_done(struct mgc_pg_facts *facts);
void mgc_pg_fence_done(struct mgc_pg *pg);

/* --- tables --- */
enum mgc_pg_bytes { MGC_PG_TEXT, MGC_PG_BYTES, MGC_PG_BYTES_NESTED };
struct mgc_pg_column {
    char *name, *quoted;
    int attnum;
    enum mgc_pg_bytes bytes; /* how bytea stands in its text form */
    bool text_like;          /* read when everything is read */
    bool listed;             /* named by `columns` (or asked for): a whole path */
    bool readable;
};
struct mgc_pg_table {
    Oid oid;
    char kind;          /* pg_class.relkind */
    char *label;        /* schema.table */
    char *quoted;       /* the same as SQL */
    char *names;        /* label and those of its ancestors, one per line */
    bool weak, ignored; /* by default class or by name; by name only */
    struct mgc_pg_column *columns;
    size_t columns_count;
};
struct mgc_pg_tables {
    struct mgc_pg_table *items;
    size_t count;
};
/* What there is, as the open snapshot shows it.  columns: further listed ones. */
MGC_MUST_CHECK int mgc_pg_tables_load(struct mgc_pg *pg, const char *const *columns,
                                      size_t columns_count, int64_t deadline_us,
                                      struct mgc_pg_tables *ret, struct mgc_err *err);
/* Leaves what is to be read; a table that may not be read and is not ignored is an error. */
MGC_MUST_CHECK int mgc_pg_tables_choose(struct mgc_pg *pg, struct mgc_pg_tables *tables,
                                        enum mgc_source_depth depth, struct mgc_err *err);
/* Every listed column must be there. */
MGC_MUST_CHECK int mgc_pg_tables_listed(struct mgc_pg *pg, const struct mgc_pg_tables *tables,
                                        const char *const *list, size_t count, struct mgc_err *err);
void mgc_pg_tables_done(struct mgc_pg_tables *tables);

/* --- copy --- */
/* Streams one table / one query.  0 when its end was confirmed, or a negative code. */
MGC_MUST_CHECK int mgc_pg_copy_table(struct mgc_pg *pg, const struct mgc_pg_table *table,
                                     int64_t deadline_us, mgc_text_fn *each, void *arg,
                                     struct mgc_err *err);
MGC_MUST_CHECK int mgc_pg_copy_query(struct mgc_pg *pg, const char *label, const char *sql,
                                     int64_t deadline_us, mgc_text_fn *each, void *arg,
                                     struct mgc_err *err);
/* The table just read is the one of the snapshot, and its file still is (H28). */
MGC_MUST_CHECK int mgc_pg_check_table(struct mgc_pg *pg, const struct mgc_pg_table *table,
                                      int64_t deadline_us, struct mgc_err *err);
/* The same for all relations that the open transaction has locked (queries, views). */
MGC_MUST_CHECK int mgc_pg_check_locked(struct mgc_pg *pg, const char *label, int64_t deadline_us,
                                       struct mgc_err *err);
/* Undoes COPY's escapes in place; false when the field ends in the middle of one. */
bool mgc_pg_unescape(char *field, size_t *bytes);

#endif
