/*
 * schema_priv.h -- tables of catalog.db and the steps from one version to the next.
 *
 * Role     PRAGMA user_version is the version of the tables.  A step is one transaction that also
 *          writes the version, so a crash leaves the old tables or the new ones.  After the last
 *          step the WAL is brought into the file: the header of the file then tells the version
 *          without any write, which is how a newer one is refused untouched.
 * Layer    2, private to fs/catalog and its tests.
 */
#ifndef MEDIAGCFS_SCHEMA_PRIV_H
#define MEDIAGCFS_SCHEMA_PRIV_H

#include <sqlite3.h>

#include "mediagcfs/error.h"

enum {
    MGC_SCHEMA_HEADER_BYTES = 100,          /* of every SQLite file */
    MGC_SCHEMA_APPLICATION_ID = 0x6d676366, /* "mgcf": PRAGMA application_id of a catalog */
};

/* Takes the tables from version - 1 to version. */
struct mgc_schema_step {
    int version;
    const char *sql;
};
/* Our steps, ascending from 1; the last is the version this program writes. */
const struct mgc_schema_step *mgc_schema_steps(size_t *ret_count);

enum mgc_schema_found {
    MGC_SCHEMA_EMPTY,   /* no tables yet: to be created */
    MGC_SCHEMA_OLDER,   /* to be migrated */
    MGC_SCHEMA_CURRENT, /* as this program writes it */
};
/*
 * Judges the header of a file without any write.  bytes: length of the file.
 * MGC_E_CORRUPT: not a catalog.  MGC_E_VERSION: newer than `newest`.
 */
MGC_MUST_CHECK int mgc_schema_judge(const unsigned char *header, int64_t bytes, int newest,
                                    enum mgc_schema_found *ret_found);
/* Runs the steps above the present version.  MGC_E_VERSION when that is above the last step. */
MGC_MUST_CHECK int mgc_schema_migrate(sqlite3 *db, const struct mgc_schema_step *steps,
                                      size_t count, struct mgc_err *err);
/*
 * A cheap look whether the file holds together: all tables there, first and last row of each
 * readable; files up to 32 MiB are read whole.  MGC_E_CORRUPT says what is wrong.
 */
MGC_MUST_CHECK int mgc_schema_probe(sqlite3 *db, int64_t bytes, struct mgc_err *err);

#endif
