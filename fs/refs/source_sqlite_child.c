/*
 * source_sqlite_child.c -- the reader: a process under the ids of the database file (H32).
 *
 *   waiting --BEGIN--> open (one read transaction, or a private copy) --SCAN, ASK--> open
 *      ^                                                                   |
 *      +------------------------- END, any error, EOF --------------------+
 *
 *   R1  -wal and -shm that SQLite makes belong to the owner of the database: the application can
 *       go on writing them.  The connection is read-only and never checkpoints.
 *   R2  A WAL database is read in one read transaction, which blocks nobody.  One with a rollback
 *       journal is copied first (source_sqlite_copy.c); the original is not opened by SQLite.
 *   R3  COMPLETE is sent in one place, with the number of texts that went before it.
 *   R4  Whatever arrives during a request ends it: the reconciler has given up on it, or is gone.
 */
#include "fs/refs/source_sqlite_priv.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/os.h"

enum {
    HEADER_BYTES = 100,
    AT_WRITE_VERSION = 18, /* file format: 1 rollback journal, 2 WAL */
    AT_APPLICATION_ID = 68,
    FLUSH_BYTES = 128 << 10,
    ROWS_PER_LOOK = 64,
    STEPS_PER_LOOK = 20000, /* of SQLite's machine: some milliseconds */
    BUSY_MS = 10000,
    ALONE_US = 5 * 1000 * 1000, /* between looks whether the parent is still there */
};

struct reader {
    const struct mgc_conf_references *conf;
    struct mgc_wire wire;
    uint32_t seq;
    int64_t deadline_us;
    sqlite3 *db;
    int copy_fd; /* behind db, or -1 */
    char path[PATH_MAX];
    char *identity, *position;
    int64_t texts;
    uint32_t origins;
    /* ask(): sorted; only values equal to one of them are sent.  NULL: everything is */
    const char **asked;
    size_t asked_count;
};

static void close_database(struct reader *r)
{
    (void)sqlite3_close_v2(r->db);
    if (r->copy_fd >= 0)
        (void)close(r->copy_fd);
    free(r->identity);
    free(r->position);
    r->db = NULL;
    r->copy_fd = -1;
    r->identity = NULL;
    r->position = NULL;
}

static int failure(struct reader *r, int rc, const char *table, struct mgc_err *err)
{
    /* An interrupt that no deadline explains is the reconciler's wish. */
    if ((rc & 0xff) == SQLITE_INTERRUPT && !mgc_source_past(r->deadline_us))
        return mgc_err_say(err, MGC_E_INCOMPLETE, "could not read source '%s': given up",
                           r->conf->name);
    return mgc_sqlite_failure(r->db, rc, r->conf, table, err);
}

/* Called by SQLite every some thousand steps. */
static int give_up(void *arg)
{
    const struct reader *r = arg;

    return mgc_source_past(r->deadline_us) || mgc_wire_pending(&r->wire);
}

/* The first page's header: SQLite at all, and which kind of journal. */
static int read_header(struct reader *r, int fd, unsigned char *header, struct mgc_err *err)
{
    static const char magic[] = "SQLite format 3";
    ssize_t n = pread(fd, header, HEADER_BYTES, 0);
    int code;

    if (n < 0)
        return mgc_err_set(err, -errno, "could not read database '%s' of source '%s'",
                           MGC_SHOW(r->path), r->conf->name);
    if (n == HEADER_BYTES && memcmp(header, magic, sizeof(magic)) == 0 &&
        (header[AT_WRITE_VERSION] == 1 || header[AT_WRITE_VERSION] == 2))
        return 0;
    code = mgc_err_say(err, MGC_E_SOURCE, "could not read database '%s' of source '%s': %s",
                       MGC_SHOW(r->path), r->conf->name,
                       n == 0 ? "the file is empty" : "not an SQLite database");
    (void)mgc_err_hint(err, "Point `database` at the SQLite file of the application");
    return code;
}

/* Inode and birth time: device numbers change between boots, names do not tell files apart. */
static int make_identity(struct reader *r, int fd, const unsigned char *header, struct mgc_err *err)
{
    mgc_autobuf text = {0};
    struct statx s;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME | STATX_UID | STATX_TYPE, &s) < 0)
        return mgc_err_set(err, -errno, "could not inspect database '%s' of source '%s'",
                           MGC_SHOW(r->path), r->conf->name);
    if (!S_ISREG(s.stx_mode))
        return mgc_err_say(err, MGC_E_SOURCE,
                           "could not read database '%s' of source '%s': not a regular file",
                           MGC_SHOW(r->path), r->conf->name);
    if (s.stx_uid != geteuid()) {
        (void)mgc_err_say(err, MGC_E_SOURCE,
                          "could not read database '%s' of source '%s': its owner is now uid %u, "
                          "our reader has uid %u",
                          MGC_SHOW(r->path), r->conf->name, s.stx_uid, (unsigned)geteuid());
        (void)mgc_err_hint(err, "Start the run again: the reader is started under the owner's ids");
        return MGC_E_SOURCE;
    }
    mgc_buf_addf(&text, "sqlite inode %llu born ", (unsigned long long)s.stx_ino);
    if ((s.stx_mask & STATX_BTIME) != 0)
        mgc_buf_addf(&text, "%lld.%09u", (long long)s.stx_btime.tv_sec, s.stx_btime.tv_nsec);
    else
        mgc_buf_adds(&text, "unknown");
    mgc_buf_adds(&text, " application ");
    mgc_buf_add_hex(&text, header + AT_APPLICATION_ID, 4);
    if (text.failed)
        return mgc_err_set(err, -ENOMEM, "could not read source '%s'", r->conf->name);
    r->identity = mgc_steal(text.data);
    return 0;
}

/* {"photo":12,...} from sqlite_sequence: counters of AUTOINCREMENT, which only rise. */
static int make_position(struct reader *r, struct mgc_err *err)
{
    sqlite3_stmt *stmt = NULL;
    mgc_autobuf text = {0};
    bool first = true;
    int rc = sqlite3_prepare_v2(
        r->db, "SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence'", -1, &stmt, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt); /* this is what opens the snapshot */
    (void)sqlite3_finalize(stmt);
    stmt = NULL;
    if (rc == SQLITE_ROW)
        rc = sqlite3_prepare_v2(r->db,
                                "SELECT name, CAST(seq AS INTEGER) FROM main.sqlite_sequence "
                                "WHERE name IS NOT NULL ORDER BY name",
                                -1, &stmt, NULL);
    while (rc == SQLITE_OK && stmt != NULL && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(stmt, 0);

        rc = SQLITE_OK;
        mgc_buf_adds(&text, first ? "{" : ",");
        first = false;
        mgc_buf_add_json(&text, name != NULL ? name : "", name != NULL ? strlen(name) : 0);
        mgc_buf_addf(&text, ":%lld", (long long)sqlite3_column_int64(stmt, 1));
    }
    (void)sqlite3_finalize(stmt);
    if (rc != SQLITE_DONE)
        return failure(r, rc, "", err);
    if (text.bytes > 0)
        mgc_buf_addc(&text, '}');
    r->position = text.failed ? NULL : strdup(text.data != NULL ? text.data : "");
    return r->position != NULL
               ? 0
               : mgc_err_set(err, -ENOMEM, "could not read source '%s'", r->conf->name);
}

/* A table scan compares nothing: any order will do for a collation of the application's. */
static int plain_order(void *arg, int a_bytes, const void *a, int b_bytes, const void *b)
{
    int r = memcmp(a, b, (size_t)(a_bytes < b_bytes ? a_bytes : b_bytes));

    (void)arg;
    return r != 0 ? r : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static void collation_needed(void *arg, sqlite3 *db, int encoding, const char *name)
{
    (void)arg;
    (void)sqlite3_create_collation(db, name, encoding, NULL, plain_order);
}

static int open_connection(struct reader *r, bool wal, struct mgc_err *err)
{
    static const char settings[] = "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;"
                                   "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0; BEGIN";
    int rc;

    if (wal)
        rc = sqlite3_open_v2(r->path, &r->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    else
        rc = mgc_sqlite_open_copy(r->copy_fd, &r->db);
    if (rc == SQLITE_OK) {
        (void)sqlite3_busy_timeout(r->db, wal ? mgc_source_left_ms(r->deadline_us, BUSY_MS) : 0);
        (void)sqlite3_collation_needed(r->db, NULL, collation_needed);
        sqlite3_progress_handler(r->db, STEPS_PER_LOOK, give_up, r);
        rc = sqlite3_exec(r->db, settings, NULL, NULL, NULL);
    }
    return rc == SQLITE_OK ? 0 : failure(r, rc, "", err);
}

/* The journal mode is looked up in the file, and once more in what is being read. */
static int check_mode(struct reader *r, bool wal, struct mgc_err *err)
{
    unsigned char header[HEADER_BYTES];
    sqlite3_stmt *stmt = NULL;
    bool agrees = false;
    int rc, code;

    if (wal) {
        rc = sqlite3_prepare_v2(r->db, "PRAGMA main.journal_mode", -1, &stmt, NULL);
        if (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
            agrees = strcmp((const char *)sqlite3_column_text(stmt, 0), "wal") == 0;
        (void)sqlite3_finalize(stmt);
    } else {
        code = read_header(r, r->copy_fd, header, err);
        if (code < 0)
            return code;
        agrees = header[AT_WRITE_VERSION] == 1;
    }
    if (agrees)
        return 0;
    (void)mgc_err_say(err, MGC_E_INCOMPLETE,
                      "could not read database '%s' of source '%s': its journal mode has changed",
                      MGC_SHOW(r->path), r->conf->name);
    (void)mgc_err_hint(err, "Run again");
    return MGC_E_INCOMPLETE;
}

static int open_database(struct reader *r, struct mgc_err *err)
{
    unsigned char header[HEADER_BYTES];
    int fd, code;
    bool wal;

    close_database(r);
    if (realpath(r->conf->database, r->path) == NULL) {
        code = mgc_err_set(err, -errno, "could not open database '%s' of source '%s'",
                           MGC_SHOW(r->conf->database), r->conf->name);
        (void)mgc_err_hint(err, "Check `database`; uid %u must reach and read it",
                           (unsigned)geteuid());
        return code;
    }
    fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return mgc_err_set(err, -errno, "could not open database '%s' of source '%s'",
                           MGC_SHOW(r->path), r->conf->name);
    code = read_header(r, fd, header, err);
    if (code == 0)
        code = make_identity(r, fd, header, err);
    (void)close(fd); /* before SQLite opens it: closing drops every lock of the process */
    if (code < 0)
        return code;
    wal = header[AT_WRITE_VERSION] == 2;
    if (!wal)
        code = mgc_sqlite_copy(r->conf, r->path, r->deadline_us, &r->copy_fd, err);
    if (code == 0)
        code = open_connection(r, wal, err);
    if (code == 0)
        code = make_position(r, err);
    if (code == 0)
        code = check_mode(r, wal, err);
    return code;
}

/* --- values --- */

static int sent(struct reader *r, struct mgc_err *err)
{
    int code = 0;

    if (r->wire.out.failed)
        return mgc_err_set(err, -ENOMEM, "could not read source '%s'", r->conf->name);
    if (r->wire.out.bytes >= FLUSH_BYTES)
        code = mgc_wire_flush(&r->wire, 0); /* as fast as it is read; R4 wakes us */
    return code < 0 ? mgc_err_set(err, code, "could not answer for source '%s'", r->conf->name) : 0;
}

/* Announces an origin; the number it gets is returned. */
static uint32_t announce(struct reader *r, bool weak, bool whole, const char *table,
                         const char *column)
{
    size_t place = mgc_wire_open(&r->wire, MGC_FRAME_ORIGIN, r->seq);

    mgc_wire_u32(&r->wire, weak);
    mgc_wire_u32(&r->wire, whole);
    mgc_wire_text(&r->wire, table);
    mgc_wire_text(&r->wire, column);
    mgc_wire_close(&r->wire, place);
    return r->origins++;
}

static int compare_text(const void *key, const void *item)
{
    return strcmp(key, *(const char *const *)item);
}

static bool is_asked(const struct reader *r, const void *text, size_t bytes)
{
    mgc_autobuf plain = {0};

    if (r->asked == NULL)
        return true;
    if (bytes > MGC_PATH_BYTES_MAX || memchr(text, '\0', bytes) != NULL)
        return false;
    mgc_buf_add(&plain, text, bytes);
    return plain.failed ||
           bsearch(plain.data, r->asked, r->asked_count, sizeof(*r->asked), compare_text) != NULL;
}

static int send_value(struct reader *r, sqlite3_stmt *stmt, int index, uint32_t origin,
                      struct mgc_err *err)
{
    int type = sqlite3_column_type(stmt, index);
    const void *data;
    size_t bytes, place;

    if (type != SQLITE_TEXT && (type != SQLITE_BLOB || !r->conf->binary))
        return 0;
    data = type == SQLITE_TEXT ? (const void *)sqlite3_column_text(stmt, index)
                               : sqlite3_column_blob(stmt, index);
    bytes = (size_t)sqlite3_column_bytes(stmt, index);
    if (data == NULL && sqlite3_errcode(r->db) == SQLITE_NOMEM)
        return mgc_err_set(err, -ENOMEM, "could not read source '%s'", r->conf->name);
    if (data == NULL || bytes == 0 || !is_asked(r, data, bytes))
        return 0;
    place = mgc_wire_open(&r->wire, MGC_FRAME_TEXT, r->seq);
    mgc_wire_u32(&r->wire, origin);
    mgc_buf_add(&r->wire.out, data, bytes);
    mgc_wire_close(&r->wire, place);
    r->texts++;
    return sent(r, err);
}

/* All rows of a statement whose columns have the origins first, first + 1, ... */
static int send_rows(struct reader *r, sqlite3_stmt *stmt, uint32_t first, bool one_origin,
                     const char *table, struct mgc_err *err)
{
    int columns = sqlite3_column_count(stmt), rows = 0, rc;

    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        for (int i = 0; i < columns; i++) {
            int code = send_value(r, stmt, i, first + (one_origin ? 0 : (uint32_t)i), err);

            if (code < 0)
                return code;
        }
        if (++rows % ROWS_PER_LOOK == 0 && give_up(r))
            return failure(r, SQLITE_INTERRUPT, table, err);
    }
    return rc == SQLITE_DONE ? 0 : failure(r, rc, table, err);
}

static void add_quoted(struct mgc_buf *sql, const char *name)
{
    mgc_buf_addc(sql, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            mgc_buf_addc(sql, '"');
        mgc_buf_addc(sql, *name);
    }
    mgc_buf_addc(sql, '"');
}

static int send_table(struct reader *r, const struct mgc_sqlite_table *table, struct mgc_err *err)
{
    sqlite3_stmt *stmt = NULL;
    mgc_autobuf sql = {0};
    uint32_t first = r->origins;
    int rc, code;

    mgc_buf_adds(&sql, "SELECT ");
    for (size_t i = 0; i < table->columns_count; i++) {
        const struct mgc_sqlite_column *column = &table->columns[i];

        mgc_buf_adds(&sql, i > 0 ? ", " : "");
        add_quoted(&sql, column->name);
        (void)announce(r, table->weak && !column->listed, column->listed, table->name,
                       column->name);
    }
    mgc_buf_adds(&sql, " FROM main.");
    add_quoted(&sql, table->name);
    mgc_buf_adds(&sql, " NOT INDEXED"); /* rows from where they are, in no order of their own */
    if (sql.failed)
        return mgc_err_set(err, -ENOMEM, "could not read source '%s'", r->conf->name);
    rc = sqlite3_prepare_v2(r->db, sql.data, -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        return failure(r, rc, table->name, err);
    code = send_rows(r, stmt, first, false, table->name, err);
    (void)sqlite3_finalize(stmt);
    return code;
}

static int send_query(struct reader *r, const char *label, const char *query, struct mgc_err *err)
{
    sqlite3_stmt *stmt = NULL;
    const char *rest = NULL;
    int rc = sqlite3_prepare_v2(r->db, query, -1, &stmt, &rest), code;

    if (rc != SQLITE_OK)
        return failure(r, rc, label, err);
    if (stmt == NULL || sqlite3_column_count(stmt) < 1 || !sqlite3_stmt_readonly(stmt) ||
        rest[strspn(rest, "; \t\r\n")] != '\0') {
        (void)sqlite3_finalize(stmt);
        code = mgc_err_say(err, MGC_E_CONFIG, "could not run '%s' of source '%s': not one SELECT",
                           label, r->conf->name);
        (void)mgc_err_hint(err, "Make each query one SELECT that yields paths or text");
        return code;
    }
    code = send_rows(r, stmt, announce(r, false, true, label, ""), true, label, err);
    (void)sqlite3_finalize(stmt);
    return code;
}

static int send_everything(struct reader *r, const struct mgc_sqlite_scope *scope,
                           struct mgc_covered *covered, struct mgc_err *err)
{
    struct mgc_sqlite_tables tables = {0};
    char label[32];
    int code = mgc_sqlite_tables_load(r->db, scope, &tables, err);

    for (size_t i = 0; code == 0 && i < tables.count; i++) {
        const struct mgc_sqlite_table *table = &tables.items[i];

        if (table->skipped) {
            mgc_covered_add(covered, table->name, "(not read: virtual)");
            continue;
        }
        code = send_table(r, table, err);
        for (size_t k = 0; code == 0 && k < table->columns_count; k++)
            mgc_covered_add(covered, table->name, table->columns[k].name);
    }
    mgc_sqlite_tables_done(&tables);
    for (size_t i = 0; code == 0 && i < r->conf->query.count; i++) {
        (void)snprintf(label, sizeof(label), "query %zu", i + 1);
        code = send_query(r, label, r->conf->query.items[i], err);
        if (code == 0)
            mgc_covered_add(covered, label, "");
    }
    return code;
}

/* --- requests --- */

static void send_complete(struct reader *r, const char *covered)
{
    size_t place = mgc_wire_open(&r->wire, MGC_FRAME_COMPLETE, r->seq);

    mgc_wire_i64(&r->wire, r->texts);
    mgc_wire_text(&r->wire, covered);
    mgc_wire_close(&r->wire, place);
}

static void send_error(struct reader *r, int code, const struct mgc_err *err)
{
    size_t place = mgc_wire_open(&r->wire, MGC_FRAME_ERROR, r->seq);

    mgc_wire_i64(&r->wire, code);
    mgc_wire_text(&r->wire, err->text);
    mgc_wire_text(&r->wire, err->hint);
    mgc_wire_close(&r->wire, place);
}

static int on_begin(struct reader *r, struct mgc_frame *f, struct mgc_err *err)
{
    size_t place;
    int code;

    if (!mgc_frame_i64(f, &r->deadline_us))
        return mgc_err_say(err, MGC_E_PROTOCOL, "could not begin source '%s': no deadline",
                           r->conf->name);
    code = open_database(r, err);
    if (code < 0) {
        close_database(r);
        return code;
    }
    place = mgc_wire_open(&r->wire, MGC_FRAME_VIEW, r->seq);
    mgc_wire_text(&r->wire, r->identity);
    mgc_wire_text(&r->wire, r->position);
    mgc_wire_close(&r->wire, place);
    return 0;
}

static int run_scope(struct reader *r, const struct mgc_sqlite_scope *scope, struct mgc_err *err)
{
    struct mgc_covered covered = {0};
    char *json = NULL;
    int code;

    r->texts = 0;
    r->origins = 0;
    code = send_everything(r, scope, &covered, err);
    if (code == 0) {
        json = mgc_covered_json(&covered);
        if (json == NULL)
            code = mgc_err_set(err, -ENOMEM, "could not read source '%s'", r->conf->name);
        else
            send_complete(r, json);
    }
    free(json);
    mgc_covered_done(&covered);
    return code;
}

static int on_scan(struct reader *r, struct mgc_frame *f, struct mgc_err *err)
{
    struct mgc_sqlite_scope scope = {.conf = r->conf};
    uint32_t depth;

    if (!mgc_frame_i64(f, &r->deadline_us) || !mgc_frame_u32(f, &depth) || r->db == NULL)
        return mgc_err_say(err, MGC_E_PROTOCOL, "could not read source '%s': no snapshot is open",
                           r->conf->name);
    scope.depth = (enum mgc_source_depth)depth;
    return run_scope(r, &scope, err);
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A counted list of texts; they stay in the frame. */
static bool take_list(struct mgc_frame *f, const char ***ret, size_t *ret_count)
{
    uint32_t count;
    const char **items;

    if (!mgc_frame_u32(f, &count) || count > f->bytes)
        return false;
    items = calloc((size_t)count + 1, sizeof(*items));
    if (items == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!mgc_frame_text(f, &items[i])) {
            free(items);
            return false;
        }
    *ret = items;
    *ret_count = count;
    return true;
}

static int on_ask(struct reader *r, struct mgc_frame *f, struct mgc_err *err)
{
    struct mgc_sqlite_scope scope = {.conf = r->conf, .listed_only = true};
    const char **columns = NULL;
    int code;

    r->asked = NULL;
    if (!mgc_frame_i64(f, &r->deadline_us) || !take_list(f, &r->asked, &r->asked_count) ||
        !take_list(f, &columns, &scope.columns_count)) {
        free(r->asked);
        r->asked = NULL;
        return mgc_err_say(err, MGC_E_PROTOCOL, "could not ask source '%s': not a question",
                           r->conf->name);
    }
    scope.columns = columns;
    qsort(r->asked, r->asked_count, sizeof(*r->asked), compare_items);
    code = open_database(r, err); /* a fresh snapshot */
    if (code == 0)
        code = run_scope(r, &scope, err);
    free(r->asked);
    r->asked = NULL;
    free(columns);
    return code;
}

static int serve(struct reader *r, struct mgc_frame *f, struct mgc_err *err)
{
    switch (f->type) {
    case MGC_FRAME_BEGIN:
        return on_begin(r, f, err);
    case MGC_FRAME_SCAN:
        return on_scan(r, f, err);
    case MGC_FRAME_ASK:
        return on_ask(r, f, err);
    case MGC_FRAME_END:
        close_database(r);
        r->texts = 0;
        send_complete(r, "");
        return 0;
    case MGC_FRAME_VIEW:
    case MGC_FRAME_ORIGIN:
    case MGC_FRAME_TEXT:
    case MGC_FRAME_COMPLETE:
    case MGC_FRAME_ERROR:
        break;
    }
    return mgc_err_say(err, MGC_E_PROTOCOL, "could not serve source '%s': unknown request",
                       r->conf->name);
}

void mgc_sqlite_child(int fd, const struct mgc_conf_references *conf)
{
    struct reader *r = calloc(1, sizeof(*r));
    struct mgc_frame frame;
    pid_t parent = getppid();

    if (r == NULL)
        return;
    *r = (struct reader){.conf = conf, .wire = {.fd = fd}, .copy_fd = -1};
    for (;;) {
        struct mgc_err err = {0};
        int code = mgc_wire_next(&r->wire, mgc_monotonic_us() + ALONE_US, &frame);

        /* Somebody else may hold the other end without knowing: the parent counts. */
        if (code == MGC_E_TIMEOUT && getppid() == parent)
            continue;
        if (code != 1)
            break;

        r->seq = frame.seq;
        code = serve(r, &frame, &err);
        if (code < 0 && !r->wire.out.failed)
            send_error(r, code, &err);
        if (mgc_wire_flush(&r->wire, 0) < 0)
            break; /* out of memory too: the other side sees the end without COMPLETE */
    }
    close_database(r);
    mgc_wire_done(&r->wire);
    free(r);
}
