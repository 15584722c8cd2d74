/*
 * catalog_sqlite.c -- opens, checks, creates, closes and sets aside a catalog in SQLite.
 *
 *   C1  A file that is damaged, foreign or newer is not written to: its header is judged before a
 *       statement runs, and until it is found good no checkpoint happens.
 *   C2  The file is only ever opened through SQLite while somebody may have it open: closing any
 *       other descriptor of it would drop the locks of this whole process.
 *   C3  WAL, and the log stays when the last handle closes: a user who may read and not write can
 *       then open the catalog whether or not the daemon runs.
 */
#include "schema_priv.h"
#include "store_priv.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "mediagcfs/path.h"

#define DATABASE "catalog.db"

enum {
    BUSY_MS = 10000,          /* for another process's commit; ours are behind the mutex */
    CACHE_KIB = 16384,        /* pages of a writer kept in memory */
    READER_CACHE_KIB = 4096,  /* and of a reader */
    WAL_BYTES_MAX = 64 << 20, /* the log is cut to this after a checkpoint (H12) */
    NAMES_MAX = 1000,         /* of files set aside in one second */
    DEFAULT_MODE = 0600,
};

/* ---- close ---- */

static void op_close(struct mgc_catalog *c)
{
    struct mgc_store *s = mgc_store_of(c);

    for (size_t i = 0; i < MGC_STORE_STATEMENTS_MAX; i++)
        (void)sqlite3_finalize(s->statements[i].stmt);
    mgc_opened_close(s->opened);
    mgc_store_dirs_forget(s);
    if (s->db != NULL)
        (void)sqlite3_close(s->db);
    (void)pthread_mutex_destroy(&s->lock);
    free(s->directory);
    free(s);
}

static struct mgc_catalog_ops table;

static void fill_table(void)
{
    struct mgc_catalog_ops ops = {.kind = "sqlite",
                                  .close = op_close,
                                  .apply = mgc_store_apply,
                                  .see_dir = mgc_store_see_dir};

    mgc_store_ops_meta(&ops);
    mgc_store_ops_dirs(&ops);
    mgc_store_ops_entries(&ops);
    mgc_store_ops_runs(&ops);
    mgc_store_ops_findings(&ops);
    mgc_store_ops_held(&ops);
    mgc_store_ops_events(&ops);
    table = ops;
}

static struct mgc_store *new_store(const struct mgc_catalog_spec *spec)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct mgc_store *s = calloc(1, sizeof(*s));

    (void)pthread_once(&once, fill_table);
    if (s == NULL)
        return NULL;
    (void)pthread_mutex_init(&s->lock, NULL);
    s->base.ops = &table;
    s->read_only = spec->read_only;
    s->reserve = spec->reserve;
    s->arg = spec->arg;
    s->reserved_id = spec->reserved_id;
    mgc_opened_view_init(&s->view);
    s->directory = strdup(spec->directory);
    if (s->directory == NULL) {
        op_close(&s->base);
        return NULL;
    }
    return s;
}

/* ---- the file ---- */

/* Makes an empty file with mode and group, where there is none.  1: made. */
static int make_file(const struct mgc_catalog_spec *spec, const char *path)
{
    mode_t mode = spec->mode != 0 ? (mode_t)spec->mode : DEFAULT_MODE;
    int r = 0;

    mgc_autofd fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno == EEXIST ? 0 : -errno;
    if ((spec->gid >= 0 && fchown(fd, (uid_t)-1, (gid_t)spec->gid) < 0) || fchmod(fd, mode) < 0)
        r = -errno;
    if (r == 0) {
        mgc_autofd dir = open(spec->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        r = dir < 0 || fsync(dir) < 0 ? -errno : 0;
    }
    if (r < 0)
        (void)unlink(path);
    return r < 0 ? r : 1;
}

/* C1: the first bytes, without a statement and without a lock. */
static int judge_file(struct mgc_store *s, enum mgc_schema_found *ret_found, int64_t *ret_bytes,
                      struct mgc_err *err)
{
    unsigned char header[MGC_SCHEMA_HEADER_BYTES] = {0};
    sqlite3_file *file = NULL;
    sqlite3_int64 bytes = 0;
    size_t steps;
    int newest = mgc_schema_steps(&steps)[steps - 1].version;
    int rc = sqlite3_file_control(s->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    int r;

    if (rc == SQLITE_OK)
        rc = file->pMethods->xFileSize(file, &bytes);
    if (rc == SQLITE_OK && bytes >= MGC_SCHEMA_HEADER_BYTES)
        rc = file->pMethods->xRead(file, header, sizeof(header), 0);
    if (rc != SQLITE_OK)
        return mgc_store_say(s, mgc_store_code(s, rc), "read header of", err);
    r = mgc_schema_judge(header, bytes, newest, ret_found);
    if (r == MGC_E_VERSION) {
        (void)mgc_err_say(err, r, "could not open catalog '%s': it was written by a newer version",
                          MGC_SHOW(s->directory));
        (void)mgc_err_hint(err, "Install that version again, or name another catalog directory.");
    } else if (r < 0) {
        (void)mgc_store_fail(s, r, "the file is not a catalog");
        (void)mgc_store_say(s, r, "open", err);
    }
    *ret_bytes = bytes;
    return r;
}

static int run(struct mgc_store *s, const char *sql)
{
    return mgc_store_code(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

static int connect_db(struct mgc_store *s, const char *path, struct mgc_err *err)
{
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                (s->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
    int rc = sqlite3_open_v2(path, &s->db, flags, NULL);

    if (rc != SQLITE_OK)
        return mgc_store_say(s, mgc_store_code(s, rc), "open", err);
    (void)sqlite3_busy_timeout(s->db, BUSY_MS);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return 0;
}

static int settings(struct mgc_store *s)
{
    char sql[256];
    int keep = 1;

    (void)sqlite3_file_control(s->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
    (void)snprintf(sql, sizeof(sql),
                   "PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF; PRAGMA temp_store = 2;"
                   " PRAGMA cell_size_check = ON; PRAGMA cache_size = -%d;"
                   " PRAGMA journal_size_limit = %d; PRAGMA query_only = %d",
                   s->read_only ? READER_CACHE_KIB : CACHE_KIB, WAL_BYTES_MAX, s->read_only);
    return run(s, sql);
}

static int use_wal(struct mgc_store *s)
{
    static const char sql[] = "PRAGMA journal_mode = WAL";
    mgc_autoquery q = mgc_query_open(s, sql);
    int r = mgc_query_step(&q);

    if (r != 1)
        return r < 0 ? r : -EIO;
    if (strcmp((const char *)sqlite3_column_text(q.stmt, 0), "wal") != 0)
        return mgc_store_fail(s, -EOPNOTSUPP, "its filesystem cannot share memory (WAL)");
    return 0;
}

/* True when the file holds anything at all: then a version of 0 means somebody else's. */
static int check_empty(struct mgc_store *s)
{
    static const char sql[] = "SELECT count(*) FROM sqlite_schema";
    struct mgc_query q = mgc_query_open(s, sql);
    int64_t count = 0;
    int r = mgc_query_one(&q, &count);

    if (r < 0)
        return r;
    return count > 0 ? mgc_store_fail(s, MGC_E_CORRUPT, "the file is not a catalog") : 0;
}

/* ---- writers ---- */

static int create_id(struct mgc_store *s)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char random[MGC_OPENED_ID_BYTES / 2];

    mgc_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        s->catalog_id[2 * i] = digits[random[i] >> 4];
        s->catalog_id[2 * i + 1] = digits[random[i] & 15];
    }
    s->catalog_id[MGC_OPENED_ID_BYTES] = '\0';
    return mgc_store_text_put(s, MGC_META_CATALOG_ID, s->catalog_id);
}

/* A whole number out of the first row; a damaged file has none. */
static int number(struct mgc_store *s, const char *sql, int64_t *ret_value)
{
    struct mgc_query q = mgc_query_open(s, sql);
    int r = mgc_query_one(&q, ret_value);

    return r == 0 ? MGC_E_CORRUPT : r < 0 ? r : 0;
}

/* H11: above everything seen, above the tree's mark, above what the counters say. */
static int load_counters(struct mgc_store *s)
{
    static const char sql_next[] = "SELECT max(next_id, 2) FROM counters";
    static const char sql_entries[] = "SELECT entries FROM counters";
    static const char sql_bytes[] = "SELECT bytes FROM counters";
    static const char sql_seen[] = "SELECT max(coalesce((SELECT max(id) FROM dirs), 1),"
                                   " coalesce((SELECT max(id) FROM entries), 1),"
                                   " coalesce((SELECT max(id) FROM held), 1))";
    struct mgc_counters *now = &s->counters;
    int64_t seen = 0;
    int r = number(s, sql_next, &now->next_id);

    if (r == 0)
        r = number(s, sql_entries, &now->entries);
    if (r == 0)
        r = number(s, sql_bytes, &now->bytes);
    if (r == 0)
        r = number(s, sql_seen, &seen);
    if (r < 0)
        return r;
    if (now->next_id <= seen)
        now->next_id = seen + 1;
    if (now->next_id < s->reserved_id)
        now->next_id = s->reserved_id;
    return 0;
}

static int load_id(struct mgc_store *s)
{
    int r = mgc_store_text_get(s, MGC_META_CATALOG_ID, s->catalog_id, sizeof(s->catalog_id));

    if (r == 0 && strlen(s->catalog_id) != MGC_OPENED_ID_BYTES)
        return MGC_E_CORRUPT;
    if (r == 0)
        mgc_store_load_floor(s);
    return r == -ERANGE || r == -EINVAL ? MGC_E_CORRUPT : r;
}

/* Tables, id and counters of a file that may be written. */
static int prepare(struct mgc_store *s, enum mgc_schema_found found, struct mgc_err *err)
{
    static const char what[] = "prepare";
    size_t count;
    const struct mgc_schema_step *steps = mgc_schema_steps(&count);
    int r = found == MGC_SCHEMA_EMPTY ? check_empty(s) : 0;

    if (r == 0)
        r = use_wal(s);
    if (r < 0)
        return mgc_store_say(s, r, what, err);
    r = mgc_schema_migrate(s->db, steps, count, err);
    if (r < 0)
        return r;
    r = load_id(s);
    if (r == -ENOENT) { /* new, or a crash came right after the tables */
        r = mgc_store_begin(s, false, what, err);
        if (r == 0)
            r = mgc_store_end(s, create_id(s), what, err);
        if (r < 0)
            return r;
    }
    if (r == 0)
        r = load_counters(s);
    return r < 0 ? mgc_store_say(s, r, what, err) : 0;
}

static int open_writer(struct mgc_store *s, const struct mgc_catalog_spec *spec, const char *path,
                       struct mgc_err *err)
{
    uint32_t mode = spec->mode != 0 ? spec->mode : DEFAULT_MODE;
    enum mgc_schema_found found;
    int64_t bytes;
    int r = make_file(spec, path);

    if (r < 0)
        return mgc_err_set(err, r, "could not create catalog '%s'", MGC_SHOW(path));
    r = connect_db(s, path, err);
    if (r == 0)
        r = judge_file(s, &found, &bytes, err);
    if (r == 0 && found != MGC_SCHEMA_EMPTY)
        r = mgc_schema_probe(s->db, bytes, err);
    if (r < 0)
        return r;
    r = settings(s);
    if (r < 0)
        return mgc_store_say(s, r, "open", err);
    r = prepare(s, found, err);
    if (r == 0)
        (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return r < 0 ? r : mgc_store_open_array(s, mode, spec->gid, err);
}

/* ---- readers ---- */

static int open_reader(struct mgc_store *s, const char *path, struct mgc_err *err)
{
    enum mgc_schema_found found;
    int64_t bytes;
    int r;

    if (access(path, F_OK) < 0)
        return mgc_err_set(err, -errno, "could not open catalog '%s'", MGC_SHOW(path));
    r = connect_db(s, path, err);
    if (r == 0)
        r = judge_file(s, &found, &bytes, err);
    if (r < 0)
        return r;
    if (found != MGC_SCHEMA_CURRENT) {
        (void)mgc_err_say(err, MGC_E_VERSION,
                          "could not read catalog '%s': its tables are not those of this version",
                          MGC_SHOW(s->directory));
        (void)mgc_err_hint(err, "Start the daemon once: it brings them up to date.");
        return MGC_E_VERSION;
    }
    r = settings(s);
    if (r == 0)
        r = load_id(s);
    return r < 0 ? mgc_store_say(s, r == -ENOENT ? MGC_E_CORRUPT : r, "read", err) : 0;
}

int mgc_catalog_open_sqlite(const struct mgc_catalog_spec *spec, struct mgc_catalog **ret,
                            struct mgc_err *err)
{
    char path[MGC_PATH_BYTES_MAX + 1];
    struct mgc_store *s;
    int r = mgc_path_join(path, sizeof(path), spec->directory, DATABASE);

    if (r < 0)
        return mgc_err_set(err, r, "could not open catalog in '%s'", MGC_SHOW(spec->directory));
    s = new_store(spec);
    if (s == NULL)
        return mgc_err_set(err, -ENOMEM, "could not open catalog '%s'", MGC_SHOW(path));
    r = s->read_only ? open_reader(s, path, err) : open_writer(s, spec, path, err);
    if (r < 0) {
        op_close(&s->base);
        return r;
    }
    *ret = &s->base;
    return 0;
}

/* ---- set aside ---- */

static int free_name(const char *directory, char *out, size_t out_bytes)
{
    time_t now = time(NULL);
    struct tm tm;
    char date[32];

    if (gmtime_r(&now, &tm) == NULL || strftime(date, sizeof(date), "%Y%m%dT%H%M%SZ", &tm) == 0)
        return -EIO;
    for (int i = 0; i < NAMES_MAX; i++) {
        char suffix[16] = "";
        int n;

        if (i > 0)
            (void)snprintf(suffix, sizeof(suffix), "-%d", i);
        n = snprintf(out, out_bytes, "%s/" DATABASE ".corrupt-%s%s", directory, date, suffix);
        if (n < 0 || (size_t)n >= out_bytes)
            return -ENAMETOOLONG;
        if (access(out, F_OK) < 0)
            return errno == ENOENT ? 0 : -errno;
    }
    return -EEXIST;
}

int mgc_catalog_set_aside(const char *directory, char *ret_name, size_t name_bytes,
                          struct mgc_err *err)
{
    /* The log first: a new catalog must never find the old one's. */
    static const struct {
        const char *from, *suffix;
    } files[] = {{DATABASE "-wal", "-wal"},
                 {DATABASE "-shm", "-shm"},
                 {MGC_OPENED_FILE, "-opened"},
                 {DATABASE, ""}};
    char aside[MGC_PATH_BYTES_MAX + 64], from[MGC_PATH_BYTES_MAX + 64];
    char to[sizeof(aside) + 16];
    int r = free_name(directory, aside, sizeof(aside));

    if (r == 0 && strlen(aside) >= name_bytes)
        r = -ENAMETOOLONG;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++) {
        bool may_miss = files[i].suffix[0] != '\0';

        (void)snprintf(from, sizeof(from), "%s/%s", directory, files[i].from);
        (void)snprintf(to, sizeof(to), "%s%s", aside, files[i].suffix);
        if (rename(from, to) < 0 && !(errno == ENOENT && may_miss))
            r = -errno;
    }
    if (r == 0) {
        mgc_autofd dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (dir < 0 || fsync(dir) < 0)
            r = -errno;
    }
    if (r < 0)
        return mgc_err_set(err, r, "could not set aside catalog in '%s'", MGC_SHOW(directory));
    (void)snprintf(ret_name, name_bytes, "%s", aside);
    return 0;
}
