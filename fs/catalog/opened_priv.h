/*
 * opened_priv.h -- when each entry was last opened: four bytes an entry, indexed by id.
 *
 * Role     Minutes since 1970, 0 for never or unknown.  A random update of a database row dirties a
 *          page of its own and is a thousand times dearer.
 * Layer    2, private to fs/catalog and its tests.
 * Owns     Anonymous memory in pieces of 4 MiB, made when first written to and without reserve: ids
 *          may be sparse (they jump by a million after a crash).  Never a mapping of the file: a
 *          store into one is SIGBUS on a full disk.
 * Threads  A mutex inside; nothing else is taken under it.
 * Units    *_us: microseconds since 1970 UTC.
 * Crash    O1  The file is believed only after an orderly stop: its catalog id and its generation
 *              must be those of the catalog (catalog_sqlite_meta.c keeps the floor otherwise).
 *          O2  A value only grows.
 */
#ifndef MEDIAGCFS_OPENED_PRIV_H
#define MEDIAGCFS_OPENED_PRIV_H

#include <sys/types.h>

#include "mediagcfs/error.h"

#define MGC_OPENED_FILE "opened"

enum {
    MGC_OPENED_HEADER_BYTES = 4096, /* a page, so that pages of values are pages of the file */
    MGC_OPENED_PAGE_BYTES = 4096,   /* what one dirty bit stands for */
    MGC_OPENED_ID_BYTES = 32,       /* hexadecimal digits of a catalog id */
};
/* Ids are below this: the file stays below 256 GiB (sparse), which every filesystem can address. */
#define MGC_OPENED_ID_MAX (INT64_C(1) << 36)

struct mgc_opened;

enum mgc_opened_found {
    MGC_OPENED_OURS,    /* of this catalog; its values were read */
    MGC_OPENED_MISSING, /* none there, or of another catalog: nothing was read */
};
/*
 * Reads the file of `directory`.  On MISSING the object is empty and has no file until
 * mgc_opened_create().  ret_generation: that of the header; 0 when missing.
 */
MGC_MUST_CHECK int mgc_opened_open(const char *directory, const char *catalog_id,
                                   struct mgc_opened **ret, enum mgc_opened_found *ret_found,
                                   int64_t *ret_generation, struct mgc_err *err);
/* Puts a new file with the values in memory in the place of whatever is there; durable. */
MGC_MUST_CHECK int mgc_opened_create(struct mgc_opened *o, uint32_t mode, int64_t gid,
                                     int64_t generation, struct mgc_err *err);
/* NULL is a no-op.  Writes nothing. */
void mgc_opened_close(struct mgc_opened *o);

/* The entry was opened then.  -ENOMEM, or MGC_E_LIMIT for an id out of range. */
MGC_MUST_CHECK int mgc_opened_mark(struct mgc_opened *o, int64_t id, int64_t time_us);
/* Microseconds, rounded down to the minute; 0: never or unknown. */
int64_t mgc_opened_get(struct mgc_opened *o, int64_t id);
/* Writes at most pages_max dirty pages; returns how many are still dirty, or a negative code. */
MGC_MUST_CHECK int64_t mgc_opened_write(struct mgc_opened *o, size_t pages_max);
/* Writes all dirty pages and makes the file durable. */
MGC_MUST_CHECK int mgc_opened_sync(struct mgc_opened *o, struct mgc_err *err);
/* As sync, then the header with this generation, durable too. */
MGC_MUST_CHECK int mgc_opened_seal(struct mgc_opened *o, int64_t generation, struct mgc_err *err);

/*
 * Reading beside a writer, for read-only handles: one page is kept for ascending questions and for
 * a second at most; the same or a lower id is read afresh.
 */
struct mgc_opened_view {
    int64_t page, last_id, read_us; /* page -1: nothing kept */
    int64_t reads;                  /* how often the file was read */
    uint32_t values[MGC_OPENED_PAGE_BYTES / 4];
};
void mgc_opened_view_init(struct mgc_opened_view *view);
/* Microseconds or 0; -ENOENT when there is no file of this catalog. */
MGC_MUST_CHECK int64_t mgc_opened_view_get(struct mgc_opened_view *view, const char *directory,
                                           const char *catalog_id, int64_t id);

#endif
