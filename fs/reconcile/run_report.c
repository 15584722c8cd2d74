/* run_report.c -- what a run leaves in the catalog: confirmations and the lists of findings. */
#include "fs/reconcile/run_priv.h"

enum {
    BATCH_ROWS = 256,
    BATCH_BYTES = 256 << 10, /* of paths: escaped and in hexadecimal still one message */
};

int mgc_work_orphans(struct mgc_work *w, struct mgc_err *err)
{
    mgc_autofree int64_t *ids = calloc(MGC_IDS_PER_MESSAGE_MAX, sizeof(*ids));
    size_t count = 0;
    int r = 0;

    if (ids == NULL)
        return mgc_err_set(err, -ENOMEM, "could not record orphans");
    for (size_t i = 0; r == 0 && i < w->records_count; i++) {
        if (w->records[i].counts)
            ids[count++] = w->records[i].id;
        if (count < MGC_IDS_PER_MESSAGE_MAX)
            continue;
        r = w->host->orphans(w->host->arg, w->run.id, ids, count, err);
        count = 0;
        mgc_work_progress(w, "record", (int64_t)i + 1, (int64_t)w->records_count);
    }
    if (r == 0 && count > 0)
        r = w->host->orphans(w->host->arg, w->run.id, ids, count, err);
    return r;
}

struct batch {
    struct mgc_finding rows[BATCH_ROWS];
    char *paths[BATCH_ROWS];
    size_t count, bytes;
};

static void clear(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++)
        free(b->paths[i]);
    b->count = b->bytes = 0;
}

static int send(struct mgc_work *w, struct batch *b, struct mgc_err *err)
{
    int r = 0;

    if (b->count > 0)
        r = w->host->findings(w->host->arg, w->run.id, b->rows, b->count, err);
    clear(b);
    return r;
}

static int add(struct mgc_work *w, const struct mgc_finding *row, struct mgc_err *err)
{
    struct batch *b = w->batch;
    char *path = strdup(row->path);

    if (path == NULL)
        return mgc_err_set(err, -ENOMEM, "could not report '%s'", MGC_SHOW(row->path));
    b->rows[b->count] = *row;
    b->rows[b->count].path = path;
    b->paths[b->count++] = path;
    b->bytes += strlen(path);
    return b->count == BATCH_ROWS || b->bytes >= BATCH_BYTES ? send(w, b, err) : 0;
}

static int report(struct mgc_work *w, const struct mgc_step *step, struct mgc_err *err)
{
    const struct mgc_record *record = step->record;
    const struct mgc_entry *e = step->entry;
    struct mgc_facts facts;
    struct mgc_finding row;

    if (record->verdict <= MGC_VERDICT_DERIVED)
        return 0;
    mgc_work_facts(w, step, &facts);
    row = (struct mgc_finding){
        .kind = record->verdict == MGC_VERDICT_SUSPECT ? MGC_FINDING_SUSPECT : MGC_FINDING_ORPHAN,
        .entry_id = e->id,
        .path = step->path,
        .verdict = mgc_verdict_name((enum mgc_verdict)record->verdict),
        .reason = mgc_why_text((enum mgc_why)record->why),
        .bytes = e->size_bytes,
        .born_us = step->born_us,
        .opened_us = w->catalog->ops->opened_us(w->catalog, e->id),
        .runs = record->counts ? facts.orphan_runs : 0,
        .source = "",
        .table = "",
        .column = "",
        .text = "",
    };
    return add(w, &row, err);
}

static int report_missing(struct mgc_work *w, struct mgc_err *err)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < w->missing_count; i++) {
        const struct mgc_work_missing *m = &w->missing[i];
        const struct mgc_finding row = {
            .kind = MGC_FINDING_MISSING,
            .path = m->path,
            .verdict = "missing",
            .reason = "",
            .source = m->source,
            .table = m->table,
            .column = m->column,
            .text = m->text,
        };

        if (m->path != NULL && m->source != NULL && m->table != NULL && m->column != NULL &&
            m->text != NULL)
            r = add(w, &row, err);
    }
    if (r == 0 && (size_t)w->run.missing > w->missing_count)
        mgc_work_notice(w, "%lld missing files are mentioned, the first %zu are listed",
                        (long long)w->run.missing, w->missing_count);
    return r;
}

int mgc_work_findings(struct mgc_work *w, struct mgc_err *err)
{
    struct batch *b = calloc(1, sizeof(*b));
    int r;

    if (b == NULL)
        return mgc_err_set(err, -ENOMEM, "could not report");
    w->batch = b;
    r = mgc_work_walk(w, "report", report, err);
    if (r == 0)
        r = report_missing(w, err);
    if (r == 0)
        r = send(w, b, err);
    clear(b);
    w->batch = NULL;
    free(b);
    return r;
}
