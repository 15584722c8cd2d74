/*
 * source_sqlite_priv.h -- the parts of the SQLite source.
 *
 * Role     wire: frames between the reconciler and its reader.  child: the reader, a process under
 *          the ids of the database file.  tables: what there is to read.  copy: a private copy of
 *          a database with a rollback journal.
 * Layer    2.  Private to fs/refs and its tests.
 */
#ifndef MEDIAGCFS_REFS_SOURCE_SQLITE_PRIV_H
#define MEDIAGCFS_REFS_SOURCE_SQLITE_PRIV_H

#include <sqlite3.h>

#include "fs/refs/source_priv.h"

/* --- wire --- */
/*
 * A frame is a header and its bytes, in the order of the machine: both ends are one program.
 * seq: number of the request a frame belongs to; answers to an earlier one are passed over.
 */
enum mgc_frame_type {
    MGC_FRAME_BEGIN = 1, /* deadline */
    MGC_FRAME_SCAN,      /* deadline, depth */
    MGC_FRAME_ASK,       /* deadline, paths, columns */
    MGC_FRAME_END,       /* */
    MGC_FRAME_VIEW,      /* identity, position */
    MGC_FRAME_ORIGIN,    /* first?, weak, whole, table, column: the next number of an origin */
    MGC_FRAME_TEXT,      /* number of its origin, the bytes */
    MGC_FRAME_COMPLETE,  /* texts sent, covered: the only good end */
    MGC_FRAME_ERROR,     /* code, text, hint */
};
struct mgc_frame {
    enum mgc_frame_type type;
    uint32_t seq;
    const char *data; /* valid until the next frame is asked for */
    size_t bytes;
};
struct mgc_wire {
    int fd; /* non-blocking socket, or -1 */
    struct mgc_buf in, out;
    size_t used; /* of in: what was handed out */
};
void mgc_wire_done(struct mgc_wire *w);
/* Opens a frame, to be filled through w->out, and closes it.  Returns its place. */
size_t mgc_wire_open(struct mgc_wire *w, enum mgc_frame_type type, uint32_t seq);
void mgc_wire_close(struct mgc_wire *w, size_t place);
void mgc_wire_u32(struct mgc_wire *w, uint32_t value);
void mgc_wire_i64(struct mgc_wire *w, int64_t value);
void mgc_wire_text(struct mgc_wire *w, const char *text); /* with its NUL */
/* 0, -EPIPE, -ENOMEM, MGC_E_TIMEOUT or another negated errno. */
MGC_MUST_CHECK int mgc_wire_flush(struct mgc_wire *w, int64_t deadline_us);
/* 1 a frame, 0 the other side closed between frames, or a negative code. */
MGC_MUST_CHECK int mgc_wire_next(struct mgc_wire *w, int64_t deadline_us, struct mgc_frame *ret);
/* Something has arrived that was not read yet, or the other side is gone. */
bool mgc_wire_pending(const struct mgc_wire *w);
/* Take values off the front of a frame; false when there is none. */
bool mgc_frame_u32(struct mgc_frame *f, uint32_t *ret);
bool mgc_frame_i64(struct mgc_frame *f, int64_t *ret);
bool mgc_frame_text(struct mgc_frame *f, const char **ret);

/* --- tables --- */
struct mgc_sqlite_column {
    char *name;
    bool listed;
};
struct mgc_sqlite_table {
    char *name;
    bool weak, ignored;
    bool skipped; /* virtual: its content is read elsewhere, or has none */
    struct mgc_sqlite_column *columns;
    size_t columns_count;
};
struct mgc_sqlite_tables {
    struct mgc_sqlite_table *items;
    size_t count;
};
struct mgc_sqlite_scope {
    const struct mgc_conf_references *conf;
    enum mgc_source_depth depth;
    bool listed_only;           /* ask(): the listed columns and nothing else */
    const char *const *columns; /* further listed ones */
    size_t columns_count;
};
/* What is to be read.  A virtual table that cannot be, and is not ignored, is an error. */
MGC_MUST_CHECK int mgc_sqlite_tables_load(sqlite3 *db, const struct mgc_sqlite_scope *scope,
                                          struct mgc_sqlite_tables *ret, struct mgc_err *err);
void mgc_sqlite_tables_done(struct mgc_sqlite_tables *tables);
/* A code, message and remedy for what the library reports. */
int mgc_sqlite_failure(sqlite3 *db, int rc, const struct mgc_conf_references *conf,
                       const char *table, struct mgc_err *err);

/* --- copy --- */
/*
 * A nameless private copy of a rollback-journal database in a state between two transactions.
 * Takes no lock: no commit of the application can fail because of it.
 */
MGC_MUST_CHECK int mgc_sqlite_copy(const struct mgc_conf_references *conf, const char *path,
                                   int64_t deadline_us, int *ret_fd, struct mgc_err *err);
/* Opens the database behind a descriptor, read-only, without a name.  One at a time; borrows fd. */
MGC_MUST_CHECK int mgc_sqlite_open_copy(int fd, sqlite3 **ret);

/* --- child --- */
/* Serves requests on `fd` until the other side closes. */
void mgc_sqlite_child(int fd, const struct mgc_conf_references *conf);

#endif
