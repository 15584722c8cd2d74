/*
 * source_priv.h -- what the three kinds of sources share.
 *
 * Role     Deadlines, the default class of a table, and the list of what a scan has read.
 * Layer    2.  Private to fs/refs and its tests.
 */
#ifndef MEDIAGCFS_REFS_SOURCE_PRIV_H
#define MEDIAGCFS_REFS_SOURCE_PRIV_H

#include "mediagcfs/bytes.h"
#include "mediagcfs/source.h"

enum {
    MGC_SOURCE_COLUMNS_MAX = 500000,      /* columns of one database: far above any real schema */
    MGC_SOURCE_VALUE_BYTES_MAX = 1 << 30, /* one value: what both databases allow */
    MGC_SOURCE_ASK_MAX = 20000,           /* paths in one question: about 1 MB of parameters */
};

MGC_MUST_CHECK int mgc_source_postgres_new(const struct mgc_conf_references *conf,
                                           struct mgc_source **ret, struct mgc_err *err);
MGC_MUST_CHECK int mgc_source_sqlite_new(const struct mgc_conf_references *conf,
                                         struct mgc_source **ret, struct mgc_err *err);
MGC_MUST_CHECK int mgc_source_command_new(const struct mgc_conf_references *conf,
                                          struct mgc_source **ret, struct mgc_err *err);

/* Milliseconds for poll() until deadline_us, at most `most`; 0 when it has passed.  0: none. */
int mgc_source_left_ms(int64_t deadline_us, int most);
bool mgc_source_past(int64_t deadline_us);
/* The earlier of a deadline and now + span_us. */
int64_t mgc_source_sooner(int64_t deadline_us, int64_t span_us);

/* How a table counts when the configuration says nothing about it. */
enum mgc_table_class {
    MGC_TABLE_ORDINARY,
    MGC_TABLE_SESSIONS, /* what users happened to do: a mention there keeps nothing alive */
    MGC_TABLE_LOG,      /* what once was */
    MGC_TABLE_REGISTRY, /* says which derived files exist; a reference until a `derived` rule */
};
enum mgc_table_class mgc_source_table_class(const char *table);
/* True for classes that are ignored by default: skipped, and weak in a proof. */
bool mgc_source_class_weak(enum mgc_table_class class);

/*
 * True when one of the list's names means this table.  names: its qualified names, one per line
 * (its own and those of the tables it is a part of); a listed name without a dot means any schema.
 */
bool mgc_source_listed(const struct mgc_conf_list *list, const char *names);
/* The same for "schema.table.column" or "table.column". */
bool mgc_source_column_listed(const char *const *list, size_t count, const char *names,
                              const char *column);

/* What a scan has read. */
struct mgc_covered {
    char **names;
    size_t count, capacity;
    bool failed; /* memory was short */
};
void mgc_covered_done(struct mgc_covered *c);
void mgc_covered_add(struct mgc_covered *c, const char *table, const char *column);
/* A JSON array, sorted, each name once; NULL when memory was short.  The caller frees. */
char *mgc_covered_json(struct mgc_covered *c);

#endif
