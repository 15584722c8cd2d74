/*
 * catalog.h -- what we remember: directories, entries, runs, held files, events.
 *
 * Role     The interface that hides the store (SQLite today).  catalog.c checks the contract and
 *          dispatches; a store implements struct mgc_catalog_ops; tests wrap one.
 * Layer    2.  Uses base, sys.
 * Threads  A handle may be shared: calls are serialised inside.  Readers that must not wait for a
 *          writer open a second, read-only handle.  Callbacks of readers run without any lock and
 *          may call the catalog; again() of see_dir must not.
 * Units    *_us: microseconds since 1970 UTC; 0 means unknown.  Paths: see path.h.
 * Errors   Negative codes; MGC_E_CORRUPT, MGC_E_VERSION at open.  ret_ only on success.
 * Crash    Each call that changes rows is one transaction, durable when it returns
 *          (synchronous=FULL; for see_dir see there), or is undone.  G6: losing any suffix of it
 *          never makes an entry collectable earlier: births are then "when first seen".
 */
#ifndef MEDIAGCFS_CATALOG_H
#define MEDIAGCFS_CATALOG_H

#include "mediagcfs/log.h"
#include "mediagcfs/os.h"

struct mgc_catalog; /* begins with `const struct mgc_catalog_ops *ops` */

enum { MGC_ROOT_DIR = 1 }; /* id of the root directory */

enum mgc_kind { MGC_KIND_FILE, MGC_KIND_SYMLINK };

/* ---- entries ---- */

struct mgc_entry {
    int64_t id;
    int64_t dir_id;
    const char *name; /* valid during the callback only */
    enum mgc_kind kind;
    uint32_t uid; /* creator; (uint32_t)-1 when not witnessed */
    int64_t size_bytes;
    struct mgc_file_id file_id;
    uint32_t nlink;
    int64_t born_us;    /* when it last became reachable under this name */
    int64_t written_us; /* last close after writing, or the mtime/ctime seen by a verification */
    int64_t changed_us; /* change time when last seen */
    int64_t orphan_since_us; /* T0 of the first complete run of the present row of orphan runs */
    int64_t orphan_first_run, orphan_last_run; /* runs; 0 when never an orphan */
    int64_t orphan_runs;                       /* complete runs in a row up to orphan_last_run */
    int64_t healed_us;                         /* last heal of a wrong verdict, 0: never */
};
struct mgc_dir {
    int64_t id, parent_id; /* the root's parent is 0 */
    const char *name;      /* "" for the root */
    int64_t born_us;
    int64_t changed_us;  /* change time when its names were last read by a verification; 0: never */
    int64_t verified_us; /* when that was */
};

/*
 * One change of the tree, in the order in which the changes happened.  `path` is the path when it
 * happened; the store finds rows by path.  A change that finds nothing to change is not an error.
 */
enum mgc_change_kind {
    MGC_CHANGE_CREATE, /* path came into being (file or symlink): stat, uid; born = time_us */
    MGC_CHANGE_LINK,   /* path is a further name of a file: as CREATE, uid unknown */
    MGC_CHANGE_WRITE,  /* a writer closed path: size, change time */
    MGC_CHANGE_STAT,   /* attributes changed (chmod, truncate): size, change time */
    MGC_CHANGE_MKDIR,
    MGC_CHANGE_UNLINK,
    MGC_CHANGE_RMDIR,    /* removes what is recorded beneath it too */
    MGC_CHANGE_RENAME,   /* path -> path2, replacing what was there; born = time_us */
    MGC_CHANGE_EXCHANGE, /* path <-> path2; both born = time_us */
    MGC_CHANGE_OPEN,     /* path was opened for reading: last-opened array only */
};
struct mgc_change {
    enum mgc_change_kind kind;
    bool directory;  /* RENAME, EXCHANGE: path is a directory */
    bool directory2; /* EXCHANGE: path2 is a directory */
    const char *path, *path2;
    int64_t time_us;
    uint32_t uid;
    struct mgc_file_stat stat; /* CREATE, LINK, WRITE, STAT, MKDIR; RENAME: of the thing moved */
};

/* What a verification found in one directory. */
struct mgc_seen_name {
    const char *name;
    struct mgc_file_stat stat;
};
struct mgc_seen_dir {
    const char *path;                  /* "" is the root */
    struct mgc_file_stat stat;         /* of the directory, taken before its names were read */
    int64_t read_us;                   /* when the reading began */
    const struct mgc_seen_name *names; /* files, symlinks and directories; sorted by name */
    size_t count;
    /*
     * Asks the tree again about one name whose row and finding disagree; called while the store
     * stands still, so that a change recorded meanwhile is not undone.  0 or -ENOENT or an error.
     */
    int (*again)(void *arg, const char *name, struct mgc_file_stat *ret_stat);
    void *arg;
};
struct mgc_seen_result {
    int64_t added, removed, changed; /* entries */
};

/* ---- runs ---- */

enum mgc_run_result {
    MGC_RUN_RUNNING,
    MGC_RUN_DONE,       /* complete; moved what was allowed (apply) or described (shadow) */
    MGC_RUN_INCOMPLETE, /* a source or the verification was not complete: no effect */
    MGC_RUN_REFUSED,    /* complete, a brake or rule refused the moves */
    MGC_RUN_FAILED,     /* an error before the sources were read, or a crash */
};
struct mgc_run {
    int64_t id;
    int64_t t0_us, ended_us;
    enum mgc_run_result result;
    bool complete;      /* every source was read to its confirmed end: counts as a confirmation */
    bool applied;       /* asked to move, not only to describe */
    int64_t horizon_us; /* 0: none could be told (fence) */
    int64_t files, referenced, kept, derived, open, young, hot, suspect, waiting, candidates;
    int64_t moved, healed, missing, moved_bytes, references;
    const char *digest;  /* of the brakes and the set that were refused; "" when none */
    const char *refusal; /* why; "" when not refused */
    const char *sources; /* JSON: per source identity, snapshot, tables, fence (reconcile's own) */
    const char *matcher; /* version of the matcher and hash of the source configuration */
};

/* A line of a run's report: lists of the last run. */
enum mgc_finding_kind {
    MGC_FINDING_ORPHAN, /* candidate or waiting or young...: `verdict` says */
    MGC_FINDING_SUSPECT,
    MGC_FINDING_MISSING, /* a mention that looks like a path of this tree and has no file */
};
struct mgc_finding {
    enum mgc_finding_kind kind;
    int64_t entry_id;    /* 0 for MISSING */
    const char *path;    /* entry, or the missing path */
    const char *verdict; /* word of verdict.h */
    const char *reason;
    int64_t bytes, born_us, opened_us, runs;
    const char *source, *table, *column, *text; /* MISSING, SUSPECT; else "" */
};

/* ---- held files ---- */

enum mgc_held_state {
    MGC_HELD_MOVING,    /* announced; the file is at its path or in its slot */
    MGC_HELD_HELD,      /* in its slot */
    MGC_HELD_RESTORING, /* on its way back to `restore_to` */
    MGC_HELD_PURGING,   /* to be deleted: the proof is done, the slot may be gone already */
};
enum mgc_held_reason { MGC_REASON_ORPHAN, MGC_REASON_UNLINKED, MGC_REASON_REPLACED };
struct mgc_held {
    int64_t id; /* also the name of its slot, decimal */
    enum mgc_held_state state;
    enum mgc_held_reason reason;
    const char *path;          /* where it was when it was moved */
    int64_t dir_id;            /* its directory, followed through renames; 0 when that is gone */
    const char *restore_to;    /* RESTORING: the target; else "" */
    bool heal;                 /* RESTORING: because it is needed (else by an operator) */
    struct mgc_file_stat stat; /* at the move; stat.dev is not stored */
    int64_t entry_id, born_us, written_us; /* of the row it had */
    uint32_t creator_uid;
    int64_t held_us; /* when it became HELD */
    int64_t run;
    bool pinned;
    int64_t proof_us;  /* T0 of the last complete scan of everything that found no mention, 0 */
    int64_t proof_run; /* run or purge that made it */
};

/* ---- the table ---- */

typedef int mgc_entry_fn(void *arg, const struct mgc_entry *entry); /* != 0 ends with that */
typedef int mgc_dir_fn(void *arg, const struct mgc_dir *dir);
typedef int mgc_run_fn(void *arg, const struct mgc_run *run);
typedef int mgc_finding_fn(void *arg, const struct mgc_finding *finding);
typedef int mgc_held_fn(void *arg, const struct mgc_held *held);
typedef int mgc_event_fn(void *arg, const struct mgc_event *event);

struct mgc_catalog_ops {
    const char *kind;
    void (*close)(struct mgc_catalog *c);

    /* Values by name; -ENOENT when absent.  set is durable. */
    int (*meta_get)(struct mgc_catalog *c, const char *key, int64_t *ret_value);
    int (*meta_set)(struct mgc_catalog *c, const char *key, int64_t value, struct mgc_err *err);
    int (*meta_text_get)(struct mgc_catalog *c, const char *key, char *out, size_t out_bytes);
    int (*meta_text_set)(struct mgc_catalog *c, const char *key, const char *value,
                         struct mgc_err *err);

    /* Applies changes in order, in one transaction.  OPEN changes touch the array only. */
    int (*apply)(struct mgc_catalog *c, const struct mgc_change *changes, size_t count,
                 struct mgc_err *err);
    /*
     * Brings the rows of one directory in line with what a verification saw; makes the rows of
     * directories above it that are missing.  What is new is born at read_us or its change time,
     * whichever is later.  `again` NULL: the listing is believed.  Durable with the next change
     * of another kind or flush(); a directory with thousands of differences is committed in parts,
     * its own row (changed_us) last.  -ESTALE: its row was removed between two parts.
     */
    int (*see_dir)(struct mgc_catalog *c, const struct mgc_seen_dir *seen,
                   struct mgc_seen_result *ret_result, struct mgc_err *err);
    /* The directory's row by path; -ENOENT. ret_dir->name is not set. */
    int (*dir_find)(struct mgc_catalog *c, const char *path, struct mgc_dir *ret_dir);
    /* Path of a directory id into out; -ENOENT. */
    int (*dir_path)(struct mgc_catalog *c, int64_t dir_id, char *out, size_t out_bytes);

    /* Rows with id > after, ascending, at most limit; each call is one short transaction.
     * Returns the number of rows given, or a negative code, or what `each` returned. */
    int (*scan_entries)(struct mgc_catalog *c, int64_t after, int limit, mgc_entry_fn *each,
                        void *arg, struct mgc_err *err);
    int (*scan_dirs)(struct mgc_catalog *c, int64_t after, int limit, mgc_dir_fn *each, void *arg,
                     struct mgc_err *err);
    /* One entry by path or id: `each` is called once.  -ENOENT. */
    int (*entry_by_path)(struct mgc_catalog *c, const char *path, mgc_entry_fn *each, void *arg);
    int (*entry_by_id)(struct mgc_catalog *c, int64_t id, mgc_entry_fn *each, void *arg);
    int (*totals)(struct mgc_catalog *c, int64_t *ret_entries, int64_t *ret_bytes);

    /* Runs.  run_begin sets run->id; run_end replaces the row (and ends older RUNNING rows). */
    int (*run_begin)(struct mgc_catalog *c, struct mgc_run *run, struct mgc_err *err);
    int (*run_end)(struct mgc_catalog *c, const struct mgc_run *run, struct mgc_err *err);
    /* Newest first, from id < before (0: newest), at most limit. */
    int (*runs)(struct mgc_catalog *c, int64_t before, int limit, mgc_run_fn *each, void *arg);
    /* Newest run with complete set, id < before (0: any).  -ENOENT. */
    int (*run_last_complete)(struct mgc_catalog *c, int64_t before, mgc_run_fn *each, void *arg);
    /* Counts one more complete orphan run for each id (maturity); ids unknown here are skipped.
     * previous: id of the complete run before this one, 0 for none: rows whose orphan_last_run is
     * another start again at 1. */
    int (*mark_orphans)(struct mgc_catalog *c, int64_t run, int64_t t0_us, int64_t previous,
                        const int64_t *ids, size_t count, struct mgc_err *err);
    /* Every wait starts again: maturity and proofs are forgotten (clock steps, H8). */
    int (*restart_waits)(struct mgc_catalog *c, struct mgc_err *err);
    /* Findings replace those of older runs when the run ends complete; those of a run that ends
     * incomplete are dropped and the older ones stay. */
    int (*findings_add)(struct mgc_catalog *c, int64_t run, const struct mgc_finding *rows,
                        size_t count, struct mgc_err *err);
    int (*findings)(struct mgc_catalog *c, enum mgc_finding_kind kind, mgc_finding_fn *each,
                    void *arg, struct mgc_err *err);

    /* Held files: the journal.  Each call is one commit for the whole batch, durable on return. */
    /* Inserts rows as MOVING; sets id of each from the id sequence, and dir_id where it is 0.
     * MGC_E_BUSY: a row for one of the paths is MOVING already; none of the batch is inserted. */
    int (*held_begin)(struct mgc_catalog *c, struct mgc_held *rows, size_t count,
                      struct mgc_err *err);
    /* MOVING -> HELD at held_us; removes the entries' rows (entry_id) in the same commit. */
    int (*held_finish)(struct mgc_catalog *c, const int64_t *ids, size_t count, int64_t held_us,
                       struct mgc_err *err);
    /* HELD -> RESTORING to `to`; -> PURGING; back -> HELD.  A transition from another state is
     * MGC_E_CONFLICT, one already made is 0, an unknown id -ENOENT; purging a pinned row is
     * MGC_E_REFUSED.  Batches are all or nothing. */
    int (*held_restoring)(struct mgc_catalog *c, int64_t id, const char *to, bool heal,
                          struct mgc_err *err);
    int (*held_purging)(struct mgc_catalog *c, const int64_t *ids, size_t count,
                        struct mgc_err *err);
    int (*held_back)(struct mgc_catalog *c, int64_t id, struct mgc_err *err);
    /* Removes rows (file stayed in the tree, was restored, or is purged); unknown ids: no matter.
     */
    int (*held_forget)(struct mgc_catalog *c, const int64_t *ids, size_t count,
                       struct mgc_err *err);
    /* The file is back at `path`: inserts its entry (born = now_us, healed_us = now_us if heal)
     * and removes the held row, in one commit. */
    int (*held_returned)(struct mgc_catalog *c, int64_t id, const char *path,
                         const struct mgc_file_stat *stat, int64_t now_us, bool heal,
                         struct mgc_err *err);
    /* Adopts a slot found without a row (catalog lost): inserts it as HELD with its own id.
     * -EEXIST: the row is there.  MGC_E_LIMIT: no id of ours. */
    int (*held_adopt)(struct mgc_catalog *c, const struct mgc_held *row, struct mgc_err *err);
    int (*held_prove)(struct mgc_catalog *c, const int64_t *ids, size_t count, int64_t t0_us,
                      int64_t run, struct mgc_err *err);
    int (*held_pin)(struct mgc_catalog *c, int64_t id, bool pinned, struct mgc_err *err);
    int (*held_get)(struct mgc_catalog *c, int64_t id, mgc_held_fn *each, void *arg);
    /* Ids ascending from > after, at most limit.  path NULL: all; else rows held from that path. */
    int (*held_scan)(struct mgc_catalog *c, int64_t after, int limit, const char *path,
                     mgc_held_fn *each, void *arg, struct mgc_err *err);
    int (*held_totals)(struct mgc_catalog *c, int64_t *ret_count, int64_t *ret_bytes);

    /* Events: append, read from id > after. */
    int (*event_add)(struct mgc_catalog *c, const struct mgc_event *rows, size_t count,
                     struct mgc_err *err);
    int (*events)(struct mgc_catalog *c, int64_t after, int64_t since_us, int limit,
                  mgc_event_fn *each, void *arg, struct mgc_err *err);

    /* Last-opened array: microseconds (rounded down to the minute), 0 unknown/never. */
    int64_t (*opened_us)(struct mgc_catalog *c, int64_t entry_id);
    /* Everything applied so far is in the files, the array included. */
    int (*flush)(struct mgc_catalog *c, struct mgc_err *err);
};

struct mgc_catalog {
    const struct mgc_catalog_ops *ops;
};

/* Names of meta values used by more than one layer. */
#define MGC_META_TREE_ID "tree_id"       /* text: must equal .mediagcfs/tree (H10) */
#define MGC_META_INCOMPLETE "incomplete" /* 1: something was missed, verify again */
#define MGC_META_VERIFIED "verified_us"  /* end of the last complete verification, 0 */
#define MGC_META_MOUNTED "mounted_us"    /* start of the present service */
#define MGC_META_ALIVE "alive_us"        /* last sign of life of the daemon */
/* 1 after an orderly stop: set after the last change; seals the array.  Cleared by any change of
 * the array that comes later, before it is made. */
#define MGC_META_CLEAN "clean"
#define MGC_META_BOOT_ID "boot_id"              /* text */
#define MGC_META_CLOCK_OFFSET "clock_offset_us" /* wall clock minus boot clock (H8) */
#define MGC_META_CLOCK_FLOOR "clock_floor_us"   /* the clock stepped: every wait begins anew here */
#define MGC_META_HOLD_UNTIL "hold_until_us"     /* INT64_MAX: until `resume` */
#define MGC_META_HOLD_REASON "hold_reason"      /* text */
#define MGC_META_BYPASS "bypass"                /* entries seen that nobody recorded */
/* The lowest id never given: what mgc_home_settle_ids() wants at an orderly stop.  Get only. */
#define MGC_META_NEXT_ID "next_id"
/* Length of the write-ahead log in bytes, for `status` (H12).  Get only. */
#define MGC_META_WAL_BYTES "wal_bytes"
/*
 * Every entry of now counts as opened at this time at least.  For whoever lost OPEN changes (a
 * full queue): set it to the present time.  A set never lowers it.
 */
#define MGC_META_OPENED_FLOOR "opened_floor_us"

struct mgc_catalog_spec {
    const char *directory; /* where catalog.db and opened live */
    bool read_only;        /* never creates, writes or migrates */
    int64_t reserved_id;   /* next id is at least this (the tree's high-water mark, H11) */
    /* Persists a higher mark before ids beyond it are given; NULL in read-only handles. */
    int (*reserve)(void *arg, int64_t up_to, struct mgc_err *err);
    void *arg;
    uint32_t mode; /* of created files, e.g. 0640 */
    int64_t gid;   /* group of created files, -1: leave */
};
/*
 * Opens catalog.db.  -ENOENT (read_only and none there), MGC_E_VERSION (written by a newer
 * version: nothing is touched), MGC_E_CORRUPT (nothing is touched; see mgc_catalog_set_aside()).
 */
MGC_MUST_CHECK int mgc_catalog_open_sqlite(const struct mgc_catalog_spec *spec,
                                           struct mgc_catalog **ret, struct mgc_err *err);
/* Renames catalog.db, -wal, -shm and opened to *.corrupt-<time>; names the result in *ret_name. */
MGC_MUST_CHECK int mgc_catalog_set_aside(const char *directory, char *ret_name, size_t name_bytes,
                                         struct mgc_err *err);
/* NULL is a no-op. */
void mgc_catalog_close(struct mgc_catalog *c);

/* Helpers over the table. */
/* Copies the path of an entry into out (4096 bytes). */
MGC_MUST_CHECK int mgc_catalog_entry_path(struct mgc_catalog *c, int64_t dir_id, const char *name,
                                          char *out, size_t out_bytes);
/* The meta value, or `otherwise` when absent or unreadable. */
int64_t mgc_catalog_meta(struct mgc_catalog *c, const char *key, int64_t otherwise);
/* The same where the two differ: what cannot be read must not lift a rule (unknown means keep). */
int64_t mgc_catalog_meta_or(struct mgc_catalog *c, const char *key, int64_t absent,
                            int64_t unreadable);
const char *mgc_run_result_name(enum mgc_run_result r);
const char *mgc_held_reason_name(enum mgc_held_reason r);
const char *mgc_held_state_name(enum mgc_held_state s);

#endif
