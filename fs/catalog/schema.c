/*
 * schema.c -- the tables of catalog.db (fs/doc/CATALOG.md explains each column).
 *
 * Names and paths are BLOBs: they are bytes, compared as bytes.  A step once released is never
 * edited; a change of the tables is a new step.
 */
#include "schema_priv.h"

#include "mediagcfs/assert.h"

enum { QUICK_CHECK_BYTES_MAX = 32 << 20 }; /* a fraction of a second to read */

// clang-format off
static const struct mgc_schema_step steps[] = {
    {1,
     "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;"
     "CREATE TABLE counters ("
     " one INTEGER PRIMARY KEY CHECK (one = 1),"
     " next_id INTEGER NOT NULL,"
     " entries INTEGER NOT NULL,"
     " bytes INTEGER NOT NULL);"
     "INSERT INTO counters VALUES (1, 2, 0, 0);"
     "CREATE TABLE dirs ("
     " id INTEGER PRIMARY KEY,"
     " parent INTEGER NOT NULL,"
     " name BLOB NOT NULL,"
     " born_us INTEGER NOT NULL,"
     " changed_us INTEGER NOT NULL,"
     " verified_us INTEGER NOT NULL);"
     "CREATE UNIQUE INDEX dirs_name ON dirs (parent, name);"
     "INSERT INTO dirs VALUES (1, 0, x'', 0, 0, 0);"
     "CREATE TABLE entries ("
     " id INTEGER PRIMARY KEY,"
     " dir INTEGER NOT NULL,"
     " name BLOB NOT NULL,"
     " kind INTEGER NOT NULL,"
     " uid INTEGER NOT NULL,"
     " size_bytes INTEGER NOT NULL,"
     " ino INTEGER NOT NULL,"
     " stamp INTEGER NOT NULL,"
     " id_kind INTEGER NOT NULL,"
     " nlink INTEGER NOT NULL,"
     " born_us INTEGER NOT NULL,"
     " written_us INTEGER NOT NULL,"
     " changed_us INTEGER NOT NULL,"
     " orphan_since_us INTEGER NOT NULL,"
     " orphan_first_run INTEGER NOT NULL,"
     " orphan_last_run INTEGER NOT NULL,"
     " orphan_runs INTEGER NOT NULL,"
     " healed_us INTEGER NOT NULL);"
     "CREATE UNIQUE INDEX entries_name ON entries (dir, name);"
     "CREATE TABLE runs ("
     " id INTEGER PRIMARY KEY AUTOINCREMENT,"
     " t0_us INTEGER NOT NULL,"
     " ended_us INTEGER NOT NULL,"
     " result INTEGER NOT NULL,"
     " complete INTEGER NOT NULL,"
     " applied INTEGER NOT NULL,"
     " horizon_us INTEGER NOT NULL,"
     " files INTEGER NOT NULL,"
     " referenced INTEGER NOT NULL,"
     " kept INTEGER NOT NULL,"
     " derived INTEGER NOT NULL,"
     " open INTEGER NOT NULL,"
     " young INTEGER NOT NULL,"
     " hot INTEGER NOT NULL,"
     " suspect INTEGER NOT NULL,"
     " waiting INTEGER NOT NULL,"
     " candidates INTEGER NOT NULL,"
     " moved INTEGER NOT NULL,"
     " healed INTEGER NOT NULL,"
     " missing INTEGER NOT NULL,"
     " moved_bytes INTEGER NOT NULL,"
     " reference_count INTEGER NOT NULL,"
     " digest TEXT NOT NULL,"
     " refusal TEXT NOT NULL,"
     " sources TEXT NOT NULL,"
     " matcher TEXT NOT NULL);"
     "CREATE TABLE findings ("
     " id INTEGER PRIMARY KEY,"
     " run INTEGER NOT NULL,"
     " kind INTEGER NOT NULL,"
     " entry INTEGER NOT NULL,"
     " path BLOB NOT NULL,"
     " verdict TEXT NOT NULL,"
     " reason TEXT NOT NULL,"
     " bytes INTEGER NOT NULL,"
     " born_us INTEGER NOT NULL,"
     " opened_us INTEGER NOT NULL,"
     " runs INTEGER NOT NULL,"
     " source TEXT NOT NULL,"
     " table_name TEXT NOT NULL,"
     " column_name TEXT NOT NULL,"
     " text BLOB NOT NULL);"
     "CREATE TABLE held ("
     " id INTEGER PRIMARY KEY,"
     " state INTEGER NOT NULL,"
     " reason INTEGER NOT NULL,"
     " path BLOB NOT NULL,"
     " dir INTEGER NOT NULL,"
     " restore_to BLOB NOT NULL,"
     " heal INTEGER NOT NULL,"
     " ino INTEGER NOT NULL,"
     " stamp INTEGER NOT NULL,"
     " id_kind INTEGER NOT NULL,"
     " mode INTEGER NOT NULL,"
     " uid INTEGER NOT NULL,"
     " gid INTEGER NOT NULL,"
     " nlink INTEGER NOT NULL,"
     " size_bytes INTEGER NOT NULL,"
     " mtime_us INTEGER NOT NULL,"
     " ctime_us INTEGER NOT NULL,"
     " entry INTEGER NOT NULL,"
     " born_us INTEGER NOT NULL,"
     " written_us INTEGER NOT NULL,"
     " creator_uid INTEGER NOT NULL,"
     " held_us INTEGER NOT NULL,"
     " run INTEGER NOT NULL,"
     " pinned INTEGER NOT NULL,"
     " proof_us INTEGER NOT NULL,"
     " proof_run INTEGER NOT NULL);"
     /* Across nodes a MOVING row is the lock on its path (state 0). */
     "CREATE UNIQUE INDEX held_moving ON held (path) WHERE state = 0;"
     "CREATE INDEX held_path ON held (path);"
     "CREATE INDEX held_dir ON held (dir);"
     "CREATE TABLE events ("
     " id INTEGER PRIMARY KEY AUTOINCREMENT,"
     " time_us INTEGER NOT NULL,"
     " event TEXT NOT NULL,"
     " path BLOB NOT NULL,"
     " run INTEGER NOT NULL,"
     " held INTEGER NOT NULL,"
     " bytes INTEGER NOT NULL,"
     " reason TEXT NOT NULL,"
     " who TEXT NOT NULL);"},
};
/* What the probe wants to find, with the rows it reads. */
static const char *const probes[] = {
    "SELECT count(*) FROM meta",
    "SELECT next_id, entries, bytes FROM counters WHERE one = 1",
    "SELECT min(id), max(id) FROM dirs",
    "SELECT name FROM dirs WHERE id = 1 AND parent = 0",
    "SELECT min(id), max(id) FROM entries",
    "SELECT * FROM entries ORDER BY id DESC LIMIT 1",
    "SELECT * FROM entries ORDER BY id LIMIT 1",
    "SELECT min(dir), max(dir) FROM entries",
    "SELECT max(id) FROM runs",
    "SELECT max(id) FROM findings",
    "SELECT min(id), max(id) FROM held",
    "SELECT max(id) FROM events",
};
// clang-format on

const struct mgc_schema_step *mgc_schema_steps(size_t *ret_count)
{
    *ret_count = ARRAY_SIZE(steps);
    return steps;
}

static uint32_t big_endian(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

int mgc_schema_judge(const unsigned char *header, int64_t bytes, int newest,
                     enum mgc_schema_found *ret_found)
{
    static const char magic[16] = "SQLite format 3"; /* with its NUL */
    uint32_t version, application;

    if (bytes == 0) {
        *ret_found = MGC_SCHEMA_EMPTY;
        return 0;
    }
    if (bytes < MGC_SCHEMA_HEADER_BYTES || memcmp(header, magic, sizeof(magic)) != 0)
        return MGC_E_CORRUPT;
    version = big_endian(header + 60);
    application = big_endian(header + 68);
    /* A crash after the first page and before the tables leaves both at 0. */
    if (application != MGC_SCHEMA_APPLICATION_ID && (application != 0 || version != 0))
        return MGC_E_CORRUPT;
    if (version > (uint32_t)newest)
        return MGC_E_VERSION;
    *ret_found = version == 0                  ? MGC_SCHEMA_EMPTY
                 : version == (uint32_t)newest ? MGC_SCHEMA_CURRENT
                                               : MGC_SCHEMA_OLDER;
    return 0;
}

/* First column of the first row, or a negative code (numbers asked for here are never negative). */
static int64_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    int64_t value = MGC_E_CORRUPT;
    int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        value = sqlite3_column_int64(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return value;
}

static int one_step(sqlite3 *db, const struct mgc_schema_step *step, struct mgc_err *err)
{
    char version[96];
    int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    (void)snprintf(version, sizeof(version), "PRAGMA user_version = %d; PRAGMA application_id = %d",
                   step->version, MGC_SCHEMA_APPLICATION_ID);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, step->sql, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, version, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        return 0;
    (void)mgc_err_say(err, (rc & 0xff) == SQLITE_FULL ? -ENOSPC : -EIO,
                      "could not bring the catalog to version %d: %s", step->version,
                      sqlite3_errmsg(db));
    (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return (rc & 0xff) == SQLITE_FULL ? -ENOSPC : -EIO;
}

int mgc_schema_migrate(sqlite3 *db, const struct mgc_schema_step *table, size_t count,
                       struct mgc_err *err)
{
    int64_t version = ask(db, "PRAGMA user_version");
    bool stepped = false;

    MGC_ASSERT(count > 0);
    if (version < 0)
        return mgc_err_say(err, MGC_E_CORRUPT, "could not read version of catalog: %s",
                           sqlite3_errmsg(db));
    if (version > table[count - 1].version)
        return mgc_err_say(err, MGC_E_VERSION,
                           "could not use catalog: it has version %d, this program knows %d",
                           (int)version, table[count - 1].version);
    for (size_t i = 0; i < count; i++) {
        int r;

        MGC_ASSERT(table[i].version == (int)i + 1);
        if (table[i].version <= version)
            continue;
        r = one_step(db, &table[i], err);
        if (r < 0)
            return r;
        stepped = true;
    }
    /* Only makes the version visible in the header early; a reader in the way is no harm. */
    if (stepped)
        (void)sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    return 0;
}

/* "ok" from quick_check, or what it says instead. */
static int whole_file(sqlite3 *db, struct mgc_err *err)
{
    sqlite3_stmt *stmt = NULL;
    int r = 0;
    int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &stmt, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW)
        r = mgc_err_say(err, MGC_E_CORRUPT, "catalog is damaged: %s", sqlite3_errmsg(db));
    else if (strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0)
        r = mgc_err_say(err, MGC_E_CORRUPT, "catalog is damaged: %s",
                        (const char *)sqlite3_column_text(stmt, 0));
    (void)sqlite3_finalize(stmt);
    return r;
}

int mgc_schema_probe(sqlite3 *db, int64_t bytes, struct mgc_err *err)
{
    if (ask(db, "PRAGMA application_id") != MGC_SCHEMA_APPLICATION_ID)
        return mgc_err_say(err, MGC_E_CORRUPT, "the file is not a catalog");
    for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
        if (ask(db, probes[i]) < 0 && sqlite3_errcode(db) != SQLITE_OK &&
            (sqlite3_errcode(db) & 0xff) != SQLITE_DONE)
            return mgc_err_say(err, MGC_E_CORRUPT, "catalog is damaged: %s", sqlite3_errmsg(db));
    if (ask(db, "SELECT next_id FROM counters WHERE one = 1") < 2 ||
        ask(db, "SELECT id FROM dirs WHERE id = 1 AND parent = 0") != 1)
        return mgc_err_say(err, MGC_E_CORRUPT, "catalog is damaged: its first rows are missing");
    return bytes <= QUICK_CHECK_BYTES_MAX ? whole_file(db, err) : 0;
}
