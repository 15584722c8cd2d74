/*
 * store_priv.h -- what the files of the SQLite store share.
 *
 * Role     One connection, its statements, transactions, ids and rows on their way to a callback.
 * Layer    2, private to fs/catalog and its tests.
 * Threads  `lock` protects everything below it in struct mgc_store.  Functions here and in
 *          catalog_sqlite_*.c with a store as first parameter are called with it held, but for
 *          mgc_store_begin(), mgc_store_lock() and the members of the table.  Callbacks of readers
 *          run without it: rows are collected first, so that a callback may ask the catalog.
 * Errors   Functions return codes; the text of a failure waits in store->detail until
 *          mgc_store_end() makes the message.
 */
#ifndef MEDIAGCFS_STORE_PRIV_H
#define MEDIAGCFS_STORE_PRIV_H

#include <pthread.h>
#include <sqlite3.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/catalog.h"
#include "opened_priv.h"

/* Keys of `meta` that are the store's own. */
#define MGC_META_CATALOG_ID "catalog_id"               /* text: random, 32 hexadecimal digits */
#define MGC_META_OPENED_GENERATION "opened_generation" /* of the array's file at a clean stop */
#define MGC_META_OPENED_BELOW "opened_floor_below"     /* the floor is for ids below this */

enum {
    MGC_STORE_STATEMENTS_MAX = 256, /* slots of the cache, a power of two above the distinct ones */
    MGC_STORE_DIRS_CACHED = 64,     /* paths of directories remembered, a power of two */
    MGC_STORE_CHUNK = 4096,         /* rows read, or names compared, in one transaction */
    MGC_STORE_DIRTY_PAGES_MAX = 256, /* of the array, written by one apply(): a mebibyte */
    MGC_STORE_DETAIL_BYTES = 512,
};

struct mgc_counters {
    int64_t next_id, entries, bytes;
};
struct mgc_store_statement {
    const char *sql; /* the pointer is the key: SQL lives in constants */
    sqlite3_stmt *stmt;
};
struct mgc_store_dir {
    int64_t id; /* 0: empty slot */
    char *path;
};
struct mgc_store {
    struct mgc_catalog base; /* first, so that a catalog is a store */
    char *directory;
    char catalog_id[MGC_OPENED_ID_BYTES + 1];
    bool read_only;
    int (*reserve)(void *arg, int64_t up_to, struct mgc_err *err);
    void *arg;
    struct mgc_opened *opened; /* NULL in read-only handles */

    pthread_mutex_t lock;
    sqlite3 *db;
    struct mgc_store_statement statements[MGC_STORE_STATEMENTS_MAX];
    struct mgc_store_dir dirs[MGC_STORE_DIRS_CACHED];
    struct mgc_counters counters, before; /* now; as the running transaction found them */
    int64_t reserved_id;                  /* ids below it may be given */
    bool relaxed;                         /* commits are not synced one by one (see_dir) */
    bool unsynced;                        /* there were such commits since the last synced one */
    bool clean;                           /* MGC_META_CLEAN is 1 */
    int64_t floor_us, floor_below;        /* entries below count as opened at floor_us */
    bool floor_unsaved;                   /* ... which is not in the file yet */
    struct mgc_opened_view view;          /* read-only handles */
    char detail[MGC_STORE_DETAIL_BYTES];  /* why the running call fails; "" when unsaid */
};

static inline struct mgc_store *mgc_store_of(struct mgc_catalog *c)
{
    return (struct mgc_store *)c;
}

/* ---- statements (store.c) ---- */

/* A use of a cached statement.  Parameters are bound in order; a failure shows in step. */
struct mgc_query {
    struct mgc_store *store;
    sqlite3_stmt *stmt;
    int bound, column;
    int code;
};
/* sql: a constant that outlives the store. */
struct mgc_query mgc_query_open(struct mgc_store *s, const char *sql);
void mgc_query_int(struct mgc_query *q, int64_t value);
void mgc_query_bytes(struct mgc_query *q, const char *text); /* as BLOB; borrowed until done */
void mgc_query_text(struct mgc_query *q, const char *text);  /* NULL is ""; borrowed until done */
/* 1: a row, 0: no more, or a negative code.  After a row, columns are read from the first. */
MGC_MUST_CHECK int mgc_query_step(struct mgc_query *q);
/* For statements without rows: runs and closes.  0 or a negative code. */
MGC_MUST_CHECK int mgc_query_run(struct mgc_query *q);
/* One number: 1 when there is a row, 0 when not; closes. */
MGC_MUST_CHECK int mgc_query_one(struct mgc_query *q, int64_t *ret_value);
int64_t mgc_query_get(struct mgc_query *q);
void mgc_query_close(struct mgc_query *q);
#define mgc_autoquery __attribute__((cleanup(mgc_query_close))) struct mgc_query

/* ---- rows on their way to a callback (rows.c) ---- */

struct mgc_rows {
    char *items; /* structs of one size */
    size_t item_bytes, count, capacity;
    struct mgc_rows_block *strings; /* stay where they are until the end */
    bool failed;
};
void mgc_rows_done(struct mgc_rows *rows);
/* A zeroed item, or NULL (rows->failed). */
void *mgc_rows_add(struct mgc_rows *rows);
/* The next column as a NUL-terminated string that lives as long as rows. */
const char *mgc_rows_string(struct mgc_rows *rows, struct mgc_query *q);
/* A copy that lives as long as rows; "" when memory is short (rows->failed). */
const char *mgc_rows_copy(struct mgc_rows *rows, const char *text, size_t bytes);
#define mgc_autorows __attribute__((cleanup(mgc_rows_done))) struct mgc_rows

/* A reading of many rows in ascending order of their id: first member of what a reader needs. */
struct mgc_scan {
    size_t item_bytes;
    const char *what; /* "read entries of" */
    int64_t after;    /* rows with a higher id come next; give() moves it on */
    int (*load)(struct mgc_store *s, struct mgc_scan *scan, int limit, struct mgc_rows *rows);
    int (*give)(struct mgc_scan *scan, const void *item); /* != 0 ends with that */
};
/* Takes and drops the lock for each chunk.  Number of rows given, or what ended it. */
MGC_MUST_CHECK int mgc_store_scan(struct mgc_store *s, struct mgc_scan *scan, int limit,
                                  struct mgc_err *err);

/* ---- transactions and ids (store.c) ---- */

void mgc_store_lock(struct mgc_store *s);
void mgc_store_unlock(struct mgc_store *s);
/* Code for a SQLite result. */
int mgc_store_code(struct mgc_store *s, int rc);
/* Remembers why; returns code. */
int mgc_store_fail(struct mgc_store *s, int code, const char *format, ...) MGC_PRINTF(3, 4);
/* Message of a failed call: "could not <what> catalog '<directory>': <detail>".  Returns code. */
int mgc_store_say(struct mgc_store *s, int code, const char *what, struct mgc_err *err);
/* Takes the lock and begins; on failure the lock is not held.  relaxed: see `relaxed`. */
MGC_MUST_CHECK int mgc_store_begin(struct mgc_store *s, bool relaxed, const char *what,
                                   struct mgc_err *err);
/* Commits when r >= 0, else undoes; drops the lock.  Returns r or why it could not commit. */
MGC_MUST_CHECK int mgc_store_end(struct mgc_store *s, int r, const char *what, struct mgc_err *err);
/* The next id of the one sequence; reserves first (H11). */
MGC_MUST_CHECK int mgc_store_new_id(struct mgc_store *s, int64_t *ret_id);
/* id was found in use: the sequence goes on above it. */
MGC_MUST_CHECK int mgc_store_saw_id(struct mgc_store *s, int64_t id);

/* ---- meta (catalog_sqlite_meta.c) ---- */

MGC_MUST_CHECK int mgc_store_meta_get(struct mgc_store *s, const char *key, int64_t *ret_value);
MGC_MUST_CHECK int mgc_store_meta_put(struct mgc_store *s, const char *key, int64_t value);
MGC_MUST_CHECK int mgc_store_text_get(struct mgc_store *s, const char *key, char *out,
                                      size_t out_bytes);
MGC_MUST_CHECK int mgc_store_text_put(struct mgc_store *s, const char *key, const char *value);
/* Opens the array and, where it is not to be believed, raises the floor.  Takes the lock. */
MGC_MUST_CHECK int mgc_store_open_array(struct mgc_store *s, uint32_t mode, int64_t gid,
                                        struct mgc_err *err);
/* What the file says of the floor. */
void mgc_store_load_floor(struct mgc_store *s);
/* Entries of now count as opened at time_us at least; saved with the next commit. */
void mgc_store_raise_floor(struct mgc_store *s, int64_t time_us);
/* Before the array is written to: MGC_META_CLEAN is 0, durably. */
MGC_MUST_CHECK int mgc_store_unclean(struct mgc_store *s, struct mgc_err *err);

/* ---- directories (catalog_sqlite_dirs.c) ---- */

void mgc_store_dirs_forget(struct mgc_store *s); /* empties the cache of paths */
/* 1: found, 0: no such row. */
MGC_MUST_CHECK int mgc_store_dir_child(struct mgc_store *s, int64_t parent, const char *name,
                                       int64_t *ret_id);
MGC_MUST_CHECK int mgc_store_dir_find(struct mgc_store *s, const char *path, int64_t *ret_id);
/* The row of the directory, its parents' too: what is missing is born at born_us. */
MGC_MUST_CHECK int mgc_store_dir_make(struct mgc_store *s, const char *path, int64_t born_us,
                                      int64_t *ret_id);
MGC_MUST_CHECK int mgc_store_dir_insert(struct mgc_store *s, int64_t parent, const char *name,
                                        int64_t born_us, int64_t *ret_id);
/* With all that is recorded beneath it; held rows lose their directory.  Adds to *removed. */
MGC_MUST_CHECK int mgc_store_dir_remove(struct mgc_store *s, int64_t id, int64_t *removed);
/* Directory part of path into a buffer of MGC_PATH_BYTES_MAX + 1. */
void mgc_store_parent_path(const char *path, char *out);

/* ---- entries (catalog_sqlite_entries.c) ---- */

/* 1: found, 0: no such row.  ret_entry->name is not set. */
MGC_MUST_CHECK int mgc_store_entry_find(struct mgc_store *s, int64_t dir, const char *name,
                                        struct mgc_entry *ret_entry);
MGC_MUST_CHECK int mgc_store_entry_get(struct mgc_store *s, int64_t id,
                                       struct mgc_entry *ret_entry);
/* Gives it an id.  name, dir_id and facts are the caller's. */
MGC_MUST_CHECK int mgc_store_entry_insert(struct mgc_store *s, struct mgc_entry *entry);
/* Writes all facts but name and directory; size_before is what the row says. */
MGC_MUST_CHECK int mgc_store_entry_update(struct mgc_store *s, const struct mgc_entry *entry,
                                          int64_t size_before);
MGC_MUST_CHECK int mgc_store_entry_place(struct mgc_store *s, int64_t id, int64_t dir,
                                         const char *name, int64_t born_us);
MGC_MUST_CHECK int mgc_store_entry_remove(struct mgc_store *s, const struct mgc_entry *entry);
/* Whatever is recorded under the name, entry or directory.  Adds entries to *removed. */
MGC_MUST_CHECK int mgc_store_name_clear(struct mgc_store *s, int64_t dir, const char *name,
                                        int64_t *removed);
/* True for what is an entry; kind of it in *ret_kind. */
bool mgc_store_is_entry(const struct mgc_file_stat *stat, enum mgc_kind *ret_kind);
/*
 * The same file as when the row was written.  Where neither side has birth time or generation the
 * inode number decides: nothing of that kind is ever moved, and a new row at each sight would
 * only lose what is known.
 */
bool mgc_store_same_file(const struct mgc_file_id *row, const struct mgc_file_id *seen);
/* Facts of the stat into the entry: kind, size, identity, links, change time. */
void mgc_store_entry_take(struct mgc_entry *entry, const struct mgc_file_stat *stat);

/* ---- members of the table ---- */

int mgc_store_apply(struct mgc_catalog *c, const struct mgc_change *changes, size_t count,
                    struct mgc_err *err);
int mgc_store_see_dir(struct mgc_catalog *c, const struct mgc_seen_dir *seen,
                      struct mgc_seen_result *ret_result, struct mgc_err *err);
/* Each of these fills in its part of the table. */
void mgc_store_ops_meta(struct mgc_catalog_ops *ops);
void mgc_store_ops_dirs(struct mgc_catalog_ops *ops);
void mgc_store_ops_entries(struct mgc_catalog_ops *ops);
void mgc_store_ops_runs(struct mgc_catalog_ops *ops);
void mgc_store_ops_findings(struct mgc_catalog_ops *ops);
void mgc_store_ops_held(struct mgc_catalog_ops *ops);
void mgc_store_ops_events(struct mgc_catalog_ops *ops);

#endif
