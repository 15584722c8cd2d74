/* run_missing.c -- mentions of files that are not there: told apart, counted, some listed. */
#include "fs/reconcile/run_priv.h"

#include <xxhash.h>

/* True when the path was not seen before.  A full table takes everything for new. */
static bool is_new(struct mgc_work *w, const char *path, size_t bytes)
{
    uint64_t print = XXH3_64bits(path, bytes);
    size_t at;

    if (w->distinct == NULL) {
        w->distinct = calloc(MGC_WORK_DISTINCT, sizeof(*w->distinct));
        w->distinct_capacity = w->distinct != NULL ? MGC_WORK_DISTINCT : 0;
    }
    if (print == 0)
        print = 1;
    if (w->distinct_count * 4 >= w->distinct_capacity * 3)
        return true;
    for (at = print % w->distinct_capacity; w->distinct[at] != 0;
         at = (at + 1) % w->distinct_capacity)
        if (w->distinct[at] == print)
            return false;
    w->distinct[at] = print;
    w->distinct_count++;
    return true;
}

static char *excerpt(const char *text, size_t bytes)
{
    char out[MGC_WORK_AROUND * 4 + 4];
    size_t shown = bytes < MGC_WORK_AROUND ? bytes : MGC_WORK_AROUND;

    return strdup(mgc_escape(out, sizeof(out), text, shown));
}

void mgc_work_missing(void *arg, const char *path, size_t bytes)
{
    struct mgc_work *w = arg;
    struct mgc_work_missing *rows, *row;

    if (w->origin == NULL || w->origin->weak || !is_new(w, path, bytes))
        return;
    w->run.missing++;
    if (w->missing_count >= MGC_WORK_MISSING)
        return;
    rows = mgc_work_grow(w->missing, w->missing_count, &w->missing_capacity, sizeof(*rows));
    if (rows == NULL)
        return; /* counted, not listed: nothing is decided by this list */
    w->missing = rows;
    row = &rows[w->missing_count];
    row->path = strndup(path, bytes);
    row->text = excerpt(w->text, w->text_bytes);
    row->source = strdup(w->origin->source != NULL ? w->origin->source : "");
    row->table = strdup(w->origin->table != NULL ? w->origin->table : "");
    row->column = strdup(w->origin->column != NULL ? w->origin->column : "");
    w->missing_count++; /* freed whole; a row with a NULL is not shown */
}
