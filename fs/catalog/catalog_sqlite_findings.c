/* catalog_sqlite_findings.c -- the lists of a run: orphans, suspects, missing files. */
#include "store_priv.h"

#include <limits.h>

#define FINDING_COLUMNS                                                                            \
    "kind, entry, path, verdict, reason, bytes, born_us, opened_us, runs, source, table_name, "    \
    "column_name, text"

static int add_one(struct mgc_store *s, int64_t run, const struct mgc_finding *f)
{
    static const char sql[] = "INSERT INTO findings (run, " FINDING_COLUMNS ") VALUES"
                              " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    mgc_autoquery q = mgc_query_open(s, sql);

    mgc_query_int(&q, run);
    mgc_query_int(&q, f->kind);
    mgc_query_int(&q, f->entry_id);
    mgc_query_bytes(&q, f->path != NULL ? f->path : "");
    mgc_query_text(&q, f->verdict);
    mgc_query_text(&q, f->reason);
    mgc_query_int(&q, f->bytes);
    mgc_query_int(&q, f->born_us);
    mgc_query_int(&q, f->opened_us);
    mgc_query_int(&q, f->runs);
    mgc_query_text(&q, f->source);
    mgc_query_text(&q, f->table);
    mgc_query_text(&q, f->column);
    mgc_query_bytes(&q, f->text != NULL ? f->text : "");
    return mgc_query_run(&q);
}

static int op_add(struct mgc_catalog *c, int64_t run, const struct mgc_finding *rows, size_t count,
                  struct mgc_err *err)
{
    static const char what[] = "record findings in";
    struct mgc_store *s = mgc_store_of(c);
    int r = mgc_store_begin(s, false, what, err);

    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = add_one(s, run, &rows[i]);
    return mgc_store_end(s, r, what, err);
}

static void read_finding(struct mgc_query *q, struct mgc_rows *rows, struct mgc_finding *f)
{
    f->kind = (enum mgc_finding_kind)mgc_query_get(q);
    f->entry_id = mgc_query_get(q);
    f->path = mgc_rows_string(rows, q);
    f->verdict = mgc_rows_string(rows, q);
    f->reason = mgc_rows_string(rows, q);
    f->bytes = mgc_query_get(q);
    f->born_us = mgc_query_get(q);
    f->opened_us = mgc_query_get(q);
    f->runs = mgc_query_get(q);
    f->source = mgc_rows_string(rows, q);
    f->table = mgc_rows_string(rows, q);
    f->column = mgc_rows_string(rows, q);
    f->text = mgc_rows_string(rows, q);
}

struct scan {
    struct mgc_scan base;
    enum mgc_finding_kind kind;
    mgc_finding_fn *each;
    void *arg;
};
struct item {
    int64_t id;
    struct mgc_finding finding;
};

/* Of the newest run that judged everything: done, or refused afterwards. */
static int load(struct mgc_store *s, struct mgc_scan *base, int limit, struct mgc_rows *rows)
{
    static const char sql[] =
        "SELECT id, " FINDING_COLUMNS " FROM findings WHERE id > ? AND kind = ? AND run ="
        " (SELECT max(id) FROM runs WHERE result IN (1, 3)) ORDER BY id LIMIT ?";
    const struct scan *scan = (const void *)base;
    mgc_autoquery q = mgc_query_open(s, sql);
    int r;

    _Static_assert(MGC_RUN_DONE == 1 && MGC_RUN_REFUSED == 3, "the statement says 1 and 3");
    mgc_query_int(&q, base->after);
    mgc_query_int(&q, scan->kind);
    mgc_query_int(&q, limit);
    while ((r = mgc_query_step(&q)) == 1) {
        struct item *item = mgc_rows_add(rows);

        if (item == NULL)
            return -ENOMEM;
        item->id = mgc_query_get(&q);
        read_finding(&q, rows, &item->finding);
    }
    return r;
}

static int give(struct mgc_scan *base, const void *row)
{
    const struct scan *scan = (const void *)base;
    const struct item *item = row;

    base->after = item->id;
    return scan->each(scan->arg, &item->finding);
}

static int op_findings(struct mgc_catalog *c, enum mgc_finding_kind kind, mgc_finding_fn *each,
                       void *arg, struct mgc_err *err)
{
    struct scan scan = {{sizeof(struct item), "read findings of", 0, load, give}, kind, each, arg};

    return mgc_store_scan(mgc_store_of(c), &scan.base, INT_MAX, err);
}

void mgc_store_ops_findings(struct mgc_catalog_ops *ops)
{
    ops->findings_add = op_add;
    ops->findings = op_findings;
}
