/*
 * run_dirs.c -- the directory tree of the catalog in memory: paths and effective births (H7).
 *
 *   D1  A directory whose chain to the root is broken, circular or too deep has no path and was
 *       born in the far future: nothing beneath it can be judged.
 */
#include "fs/reconcile/run_priv.h"

static int take(void *arg, const struct mgc_dir *dir)
{
    struct mgc_dirs *d = arg;
    struct mgc_dir_row *rows = mgc_work_grow(d->rows, d->count, &d->capacity, sizeof(*rows));

    if (rows == NULL)
        return -ENOMEM;
    d->rows = rows;
    rows[d->count] = (struct mgc_dir_row){
        .id = dir->id,
        .parent_id = dir->parent_id,
        .born_us = dir->born_us,
        .name = d->names.bytes,
        .parent = MGC_NO_INDEX,
        .index = MGC_NO_INDEX,
    };
    mgc_buf_add(&d->names, dir->name, strlen(dir->name) + 1);
    if (d->names.failed)
        return -ENOMEM;
    d->count++;
    return 0;
}

uint32_t mgc_dirs_find(const struct mgc_dirs *d, int64_t id)
{
    size_t low = 0, high = d->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (d->rows[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < d->count && d->rows[low].id == id ? (uint32_t)low : MGC_NO_INDEX;
}

static void settle(struct mgc_dirs *d, uint32_t row)
{
    struct mgc_dir_row *self = &d->rows[row];
    const struct mgc_dir_row *above;

    self->resolved = true;
    if (self->id == MGC_ROOT_DIR) {
        self->placed = true;
        if (self->born_us < 0)
            self->born_us = 0;
        return;
    }
    above = self->parent != MGC_NO_INDEX ? &d->rows[self->parent] : NULL;
    self->placed = above != NULL && above->placed;
    if (!self->placed || self->born_us <= 0)
        self->born_us = INT64_MAX; /* D1, and a birth that is not known */
    else if (above->born_us > self->born_us)
        self->born_us = above->born_us;
}

/* Climbs to the nearest settled directory, then settles on the way down. */
static void resolve(struct mgc_dirs *d, uint32_t row)
{
    uint32_t chain[MGC_DEPTH_MAX];
    size_t depth = 0;

    while (row != MGC_NO_INDEX && !d->rows[row].resolved && depth < MGC_DEPTH_MAX) {
        chain[depth++] = row;
        row = d->rows[row].parent;
    }
    if (depth == MGC_DEPTH_MAX && row != MGC_NO_INDEX && !d->rows[row].resolved) {
        /* A circle, or deeper than any path: whatever hangs on this has no place. */
        d->rows[row].parent = MGC_NO_INDEX;
        settle(d, row);
    }
    while (depth > 0)
        settle(d, chain[--depth]);
}

int mgc_dirs_load(struct mgc_dirs *d, struct mgc_catalog *c, struct mgc_err *err)
{
    int64_t after = 0;
    int r;

    memset(d, 0, sizeof(*d));
    d->cached = MGC_NO_INDEX;
    do {
        r = c->ops->scan_dirs(c, after, MGC_WORK_PAGE, take, d, err);
        if (r < 0)
            return r == -ENOMEM ? mgc_err_set(err, r, "could not load directories") : r;
        if (d->count > 0)
            after = d->rows[d->count - 1].id;
        if (d->count >= MGC_NO_INDEX)
            return mgc_err_say(err, MGC_E_LIMIT, "could not load directories: too many");
    } while (r > 0);
    for (size_t i = 0; i < d->count; i++)
        if (d->rows[i].id != MGC_ROOT_DIR)
            d->rows[i].parent = mgc_dirs_find(d, d->rows[i].parent_id);
    for (size_t i = 0; i < d->count; i++)
        resolve(d, (uint32_t)i);
    return 0;
}

void mgc_dirs_done(struct mgc_dirs *d)
{
    free(d->rows);
    mgc_buf_done(&d->names);
    d->rows = NULL;
    d->count = d->capacity = 0;
}

const char *mgc_dirs_path(struct mgc_dirs *d, uint32_t row)
{
    char *end = d->path + sizeof(d->path) - 1;
    char *start = end;
    uint32_t at = row;

    if (row == MGC_NO_INDEX || !d->rows[row].placed)
        return NULL;
    if (d->cached == row)
        return d->path;
    d->cached = MGC_NO_INDEX;
    while (d->rows[at].id != MGC_ROOT_DIR) {
        const char *name = d->names.data + d->rows[at].name;
        size_t bytes = strlen(name);

        if ((size_t)(start - d->path) < bytes + 1)
            return NULL;
        if (start != end)
            *--start = '/';
        start -= bytes;
        /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): what follows is there already */
        memcpy(start, name, bytes);
        at = d->rows[at].parent;
    }
    d->path_bytes = (size_t)(end - start);
    memmove(d->path, start, d->path_bytes);
    d->path[d->path_bytes] = '\0';
    d->cached = row;
    return d->path;
}
