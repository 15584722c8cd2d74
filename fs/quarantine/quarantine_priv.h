/*
 * quarantine_priv.h -- what the files of fs/quarantine share: rows, decision tables, origins.
 *
 * Role     quarantine.c announces and moves, settle.c decides from names, restore.c, purge.c and
 *          recover.c end in settle.c; origin.c writes on a slot where it came from; names.c knows
 *          slot names and looks; dirs.c makes and removes directories.
 * Layer    4.
 * Threads  Everything here runs under q->acts unless it says pure.
 */
#ifndef MEDIAGCFS_QUARANTINE_PRIV_H
#define MEDIAGCFS_QUARANTINE_PRIV_H

#include <pthread.h>

#include "mediagcfs/bytes.h"
#include "mediagcfs/quarantine.h"

enum {
    MGC_SLOT_NAME_BYTES = 24,                        /* 19 digits and the NUL */
    MGC_ORIGIN_BYTES_MAX = MGC_PATH_BYTES_MAX + 256, /* a record with its path as bytes */
    MGC_MANIFEST_BYTES_MAX = 1 << 30,                /* read as a whole when a catalog was lost */
    MGC_HELD_PAGE = 256,                             /* rows read at a time */
};

/* ---- files of our own that are no names of the tree (os.h has neither listing nor writing) ----
 */
struct mgc_store {
    /* Each name in the directory but "." and ".."; a return != 0 ends the listing with it. */
    int (*list)(struct mgc_store *s, int dir_fd, int (*each)(void *arg, const char *name),
                void *arg);
    /* Appends to `.mediagcfs/manifest`; durable on return. */
    int (*append)(struct mgc_store *s, int home_fd, const void *data, size_t bytes);
    /* The whole manifest, nothing when there is none. */
    int (*read)(struct mgc_store *s, int home_fd, struct mgc_buf *out);
    /* Empties the manifest. */
    int (*reset)(struct mgc_store *s, int home_fd);
};
struct mgc_store *mgc_store_real(void);

struct mgc_quarantine {
    struct mgc_quarantine_spec spec;
    struct mgc_store *store; /* mgc_store_real(); a simulation puts its own here before any call */
    pthread_mutex_t acts;    /* one batch, restore or purge at a time; no FUSE request takes it */
    uint64_t slots_dev;      /* device of the slots: what lies elsewhere cannot be moved */
    bool recovered;          /* mgc_quarantine_recover() has returned 0 */
    bool unsettled;          /* a failure since may have left rows: they come before any act */
};

/* ---- decision tables (pure; settle.c) ---- */
enum mgc_seen {
    MGC_SEEN_ABSENT,
    MGC_SEEN_SAME,  /* the identity in the row */
    MGC_SEEN_OTHER, /* some other file */
    MGC_SEEN_COUNT
};
enum mgc_settle {
    MGC_SETTLE_FORGET, /* the file is in the tree, or no longer ours: drop the row */
    MGC_SETTLE_FINISH, /* the step the row announces has happened: write that down */
    MGC_SETTLE_RETURN, /* rename back, never over anything */
    MGC_SETTLE_BACK,   /* still in its slot: the row becomes HELD again */
    MGC_SETTLE_ALARM,  /* touch nothing, an operator must look */
};
enum mgc_settle mgc_settle_of_move(enum mgc_seen media, enum mgc_seen slot);
enum mgc_settle mgc_settle_of_restore(enum mgc_seen target, enum mgc_seen slot);
enum mgc_settle mgc_settle_of_purge(enum mgc_seen slot);

/* ---- rows with memory of their own ---- */
struct mgc_held_row {
    struct mgc_held held; /* path and restore_to point below */
    char *path, *restore_to;
    int code; /* 0 settled, > 0 not settled yet, < 0 why not */
    bool
        still; /* no rename was tried since the row was made, or it was synced: names are durable */
    enum mgc_settle verdict;
};
struct mgc_held_rows {
    struct mgc_held_row *row;
    size_t count, capacity;
};
void mgc_held_rows_done(struct mgc_held_rows *rows);
#define mgc_autorows __attribute__((cleanup(mgc_held_rows_done))) struct mgc_held_rows
/* Callback for held_get and held_scan: appends a copy; arg is struct mgc_held_rows. */
int mgc_held_rows_add(void *arg, const struct mgc_held *held);

/* ---- looking (names.c) ---- */
/* The one place that names slots: flat, decimal. */
void mgc_slot_name(char out[MGC_SLOT_NAME_BYTES], int64_t id);
/* The id of a slot's name, or -1: only what mgc_slot_name() writes is one. */
int64_t mgc_slot_id(const char *name);
/* A missing parent directory, or a link in its place, is ABSENT.  ret_stat may be NULL. */
MGC_MUST_CHECK int mgc_look_path(struct mgc_quarantine *q, const char *path,
                                 const struct mgc_file_id *id, enum mgc_seen *ret_seen,
                                 struct mgc_file_stat *ret_stat, struct mgc_err *err);
MGC_MUST_CHECK int mgc_look_slot(struct mgc_quarantine *q, int64_t slot,
                                 const struct mgc_file_id *id, enum mgc_seen *ret_seen,
                                 struct mgc_file_stat *ret_stat, struct mgc_err *err);
/* Where a held file belongs now: its directory may have been renamed (H5). */
MGC_MUST_CHECK int mgc_held_home(struct mgc_quarantine *q, const struct mgc_held *held, char *out,
                                 size_t out_bytes);
MGC_MUST_CHECK int mgc_sync_slots(struct mgc_quarantine *q, struct mgc_err *err);
MGC_MUST_CHECK int mgc_sync_dir_of(struct mgc_quarantine *q, const char *path, struct mgc_err *err);

/* Tells the catalog of a name that came or went, in order with what applications do. */
void mgc_record(struct mgc_quarantine *q, enum mgc_change_kind kind, const char *path,
                const struct mgc_file_stat *stat);

/* ---- news, told when no lock is held ---- */
struct mgc_notice {
    struct mgc_event event;   /* path borrowed from a row or a caller */
    bool act;                 /* event is set */
    struct mgc_file_stat dir; /* of the name that changed */
    char name[MGC_NAME_BYTES_MAX + 1];
    bool change, gone;
};
struct mgc_notices {
    struct mgc_notice *notice;
    size_t count, capacity;
};
void mgc_notices_done(struct mgc_notices *n);
#define mgc_autonotices __attribute__((cleanup(mgc_notices_done))) struct mgc_notices
/* Room for `count` more, before anything is done that must be told. */
MGC_MUST_CHECK int mgc_notices_reserve(struct mgc_notices *n, size_t count, struct mgc_err *err);
void mgc_notice_event(struct mgc_quarantine *q, struct mgc_notices *n, enum mgc_event_kind kind,
                      const struct mgc_held *held, const char *reason, const char *who);
void mgc_notice_change(struct mgc_quarantine *q, struct mgc_notices *n, const char *path,
                       bool gone);
/* Calls the hooks; without q->acts. */
void mgc_notices_tell(struct mgc_quarantine *q, struct mgc_notices *n);

/* ---- settling (settle.c) ---- */
/*
 * Settles MOVING rows: looks, renames strangers back, syncs, one held_finish, one held_forget.
 * code of each: 0 held (state HELD), -ESTALE not held, MGC_E_CONFLICT alarm, else a fault that
 * leaves the row for the next recovery (q->unsettled).  Returns the first fault or conflict.
 */
MGC_MUST_CHECK int mgc_settle_moves(struct mgc_quarantine *q, struct mgc_held_row *rows,
                                    size_t count, struct mgc_recover_result *tally,
                                    struct mgc_err *err);
/* One RESTORING row: 0 it is back in the tree, -ESTALE it is HELD again, -ENOENT the application
 * took it since, MGC_E_CONFLICT. */
MGC_MUST_CHECK int mgc_settle_restore(struct mgc_quarantine *q, struct mgc_held_row *row,
                                      struct mgc_recover_result *tally, struct mgc_err *err);
/* PURGING rows: code 0 purged, -ESTALE HELD again, MGC_E_CONFLICT, else a fault. */
MGC_MUST_CHECK int mgc_settle_purges(struct mgc_quarantine *q, struct mgc_held_row *rows,
                                     size_t count, struct mgc_recover_result *tally,
                                     struct mgc_err *err);
/*
 * Before every act: settles what an earlier failure left behind; refuses while that does not work
 * or mgc_quarantine_recover() has not been.  rows must outlive the telling of notices.
 */
MGC_MUST_CHECK int mgc_settle_leftovers(struct mgc_quarantine *q, struct mgc_held_rows *rows,
                                        struct mgc_notices *notices, struct mgc_err *err);
/* Settles all rows that are not HELD (recover.c). */
MGC_MUST_CHECK int mgc_recover_rows(struct mgc_quarantine *q, struct mgc_held_rows *rows,
                                    struct mgc_notices *notices, struct mgc_recover_result *tally,
                                    struct mgc_err *err);

/* ---- origin of a slot (origin.c) ---- */
/* A record: CRC-32 in hexadecimal, space, fields, path as bytes or (manifest) in hexadecimal. */
void mgc_origin_encode(struct mgc_buf *out, const struct mgc_held *held, int64_t now_us, bool hex);
/* False for anything but a whole record.  ret->path points into path (MGC_PATH_BYTES_MAX + 1). */
bool mgc_origin_decode(const char *data, size_t bytes, bool hex, struct mgc_held *ret, char *path);
/* Writes it on dir_fd/name as trusted.mediagcfs.<slot>. */
MGC_MUST_CHECK int mgc_origin_mark(struct mgc_quarantine *q, int dir_fd, const char *name,
                                   const struct mgc_held *held);
/* Removes it; a file without one is no error. */
void mgc_origin_unmark(struct mgc_quarantine *q, int dir_fd, const char *name, int64_t slot);
/* The same by path, whatever file is there: a record names one slot only, and that is gone. */
void mgc_origin_unmark_path(struct mgc_quarantine *q, const char *path, int64_t slot);
/* Appends records to the manifest; durable on return. */
MGC_MUST_CHECK int mgc_origin_note(struct mgc_quarantine *q, const struct mgc_buf *records,
                                   struct mgc_err *err);
/* Origin of a slot that has no row.  manifest: the whole file.  -ENODATA: none. */
MGC_MUST_CHECK int mgc_origin_read(struct mgc_quarantine *q, int64_t slot,
                                   const struct mgc_buf *manifest, struct mgc_held *ret,
                                   char *path);

/* ---- directories (dirs.c) ---- */
/* Makes the missing directories above `path` durable, each with the root's owner and 0755. */
MGC_MUST_CHECK int mgc_dirs_make(struct mgc_quarantine *q, const char *path, struct mgc_err *err);
/*
 * Removes the directory that held `held` and those above it that are empty, that nothing held
 * belongs in, and whose last change was ours (dirs.c says how that is known).  Never fails: a
 * directory that stays costs nothing.
 */
void mgc_dirs_remove_emptied(struct mgc_quarantine *q, const struct mgc_held_row *rows,
                             size_t count, struct mgc_notices *notices);

/* ---- purge (purge.c, pure) ---- */
struct mgc_purge_ask {
    int64_t first_us, second_us; /* as in mgc_quarantine_purge() */
    bool now;
};
/* NULL: may be purged.  Else the rule that refuses, as a reason for people. */
const char *mgc_purge_refusal(const struct mgc_held *held, const struct mgc_purge_rules *rules,
                              const struct mgc_purge_ask *ask);

#endif
