/* machine_catalog.c -- a catalog in arrays: each call is one step and one transaction. */
#include "machine.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "mediagcfs/path.h"

/* A call that changes rows: `body` runs unless the gate refuses. */
#define CHANGE(body)                                                                               \
    do {                                                                                           \
        enum gate g_ = machine_gate();                                                             \
        if (g_ != GATE_REFUSE) {                                                                   \
            body;                                                                                  \
        }                                                                                          \
        return g_ == GATE_DO ? 0 : -EIO;                                                           \
    } while (0)
#define READ()                                                                                     \
    do {                                                                                           \
        if (machine_gate() != GATE_DO)                                                             \
            return -EIO;                                                                           \
    } while (0)

static void copy(char *to, size_t bytes, const char *from)
{
    assert_true(snprintf(to, bytes, "%s", from) < (int)bytes);
}

static struct catalog_dir *dir_of(const char *path)
{
    for (int i = 0; i < M.dirs; i++)
        if (M.dir[i].live && strcmp(M.dir[i].path, path) == 0)
            return &M.dir[i];
    return NULL;
}

static int64_t dir_id_of(const char *path)
{
    char dir[128];
    struct catalog_dir *found;

    copy(dir, sizeof(dir), path);
    dir[mgc_path_dir_bytes(path)] = '\0';
    if (dir[0] == '\0')
        return MGC_ROOT_DIR;
    found = dir_of(dir);
    return found != NULL ? found->id : 0;
}

static struct catalog_entry *new_entry(const char *path, const struct mgc_file_stat *stat)
{
    struct catalog_entry *e = NULL;

    for (int i = 0; i < M.entries && e == NULL; i++)
        if (!M.entry[i].live)
            e = &M.entry[i];
    if (e == NULL)
        e = &M.entry[M.entries++];
    assert_true(M.entries <= MACHINE_FILES_MAX);
    *e = (struct catalog_entry){
        .id = M.next_id++,
        .dir_id = dir_id_of(path),
        .born_us = M.now_us,
        .written_us = stat->mtime_us,
        .changed_us = stat->ctime_us,
        .file_id = stat->id,
        .live = true,
    };
    copy(e->path, sizeof(e->path), path);
    return e;
}

void catalog_note_create(const char *path, int node)
{
    struct mgc_file_stat stat = machine_stat_of(node);

    catalog_note_gone(path);
    (void)new_entry(path, &stat);
}

void catalog_note_gone(const char *path)
{
    for (int i = 0; i < M.entries; i++)
        if (M.entry[i].live && strcmp(M.entry[i].path, path) == 0)
            M.entry[i].live = false;
}

void catalog_note_dir(const char *path, bool gone)
{
    struct catalog_dir *d = dir_of(path);

    if (gone && d != NULL)
        d->live = false;
    if (gone || d != NULL)
        return;
    for (int i = 0; i < M.dirs && d == NULL; i++)
        if (!M.dir[i].live)
            d = &M.dir[i];
    if (d == NULL)
        d = &M.dir[M.dirs++];
    assert_true(M.dirs <= MACHINE_FILES_MAX);
    *d = (struct catalog_dir){.id = M.next_id++, .born_us = M.now_us, .live = true};
    copy(d->path, sizeof(d->path), path);
}

static void apply_one(const struct mgc_change *change)
{
    if (change->directory)
        catalog_note_dir(change->path, change->kind == MGC_CHANGE_RMDIR);
    else
        catalog_note_gone(change->path);
    if (change->kind == MGC_CHANGE_CREATE)
        (void)new_entry(change->path, &change->stat);
}

static int apply(struct mgc_catalog *c, const struct mgc_change *changes, size_t count,
                 struct mgc_err *err)
{
    (void)c, (void)err;
    CHANGE(for (size_t i = 0; i < count; i++) apply_one(&changes[i]));
}

static int dir_find(struct mgc_catalog *c, const char *path, struct mgc_dir *ret_dir)
{
    struct catalog_dir *d;

    (void)c;
    READ();
    d = dir_of(path);
    if (d == NULL)
        return -ENOENT;
    *ret_dir = (struct mgc_dir){.id = d->id, .born_us = d->born_us};
    return 0;
}

static int dir_path(struct mgc_catalog *c, int64_t dir_id, char *out, size_t out_bytes)
{
    (void)c;
    READ();
    if (dir_id == MGC_ROOT_DIR)
        return snprintf(out, out_bytes, "%s", "") < 0 ? -EIO : 0;
    for (int i = 0; i < M.dirs; i++)
        if (M.dir[i].live && M.dir[i].id == dir_id)
            return mgc_path_join(out, out_bytes, "", M.dir[i].path);
    return -ENOENT;
}

static int entry_by_id(struct mgc_catalog *c, int64_t id, mgc_entry_fn *each, void *arg)
{
    (void)c;
    READ();
    for (int i = 0; i < M.entries; i++) {
        const struct catalog_entry *e = &M.entry[i];
        struct mgc_entry entry = {
            .id = e->id,
            .dir_id = e->dir_id,
            .name = mgc_path_leaf(e->path),
            .file_id = e->file_id,
            .born_us = e->born_us,
            .written_us = e->written_us,
            .changed_us = e->changed_us,
            .healed_us = e->healed_us,
        };

        if (e->live && e->id == id)
            return each(arg, &entry);
    }
    return -ENOENT;
}

static struct catalog_held *row_of(int64_t id)
{
    for (int i = 0; i < M.helds; i++)
        if (M.held[i].live && M.held[i].held.id == id)
            return &M.held[i];
    return NULL;
}

static void insert_row(const struct mgc_held *held)
{
    struct catalog_held *row = NULL;
    int at = M.helds;

    /* Rows stay in ascending order of their ids. */
    while (at > 0 && M.held[at - 1].held.id > held->id)
        at--;
    assert_true(M.helds < MACHINE_HELD_MAX);
    memmove(&M.held[at + 1], &M.held[at], (size_t)(M.helds - at) * sizeof(M.held[0]));
    M.helds++;
    for (int i = at + 1; i < M.helds; i++) {
        M.held[i].held.path = M.held[i].path;
        M.held[i].held.restore_to = M.held[i].restore_to;
    }
    row = &M.held[at];
    *row = (struct catalog_held){.held = *held, .live = true};
    copy(row->path, sizeof(row->path), held->path);
    row->held.path = row->path;
    row->held.restore_to = row->restore_to;
    row->held.stat.dev = 0; /* not stored */
}

static void drop_row(int64_t id)
{
    struct catalog_held *row = row_of(id);
    int at;

    if (row == NULL)
        return;
    at = (int)(row - M.held);
    memmove(row, row + 1, (size_t)(M.helds - at - 1) * sizeof(*row));
    M.helds--;
    for (int i = at; i < M.helds; i++) {
        M.held[i].held.path = M.held[i].path;
        M.held[i].held.restore_to = M.held[i].restore_to;
    }
}

static int held_begin(struct mgc_catalog *c, struct mgc_held *rows, size_t count,
                      struct mgc_err *err)
{
    (void)c, (void)err;
    CHANGE(for (size_t i = 0; i < count; i++) {
        rows[i].id = M.next_id++;
        insert_row(&rows[i]);
    } if (M.on_begun != NULL) M.on_begun());
}

static int held_finish(struct mgc_catalog *c, const int64_t *ids, size_t count, int64_t held_us,
                       struct mgc_err *err)
{
    (void)c, (void)err;
    CHANGE(for (size_t i = 0; i < count; i++) {
        struct catalog_held *row = row_of(ids[i]);

        assert_non_null(row);
        assert_int_equal(row->held.state, MGC_HELD_MOVING);
        row->held.state = MGC_HELD_HELD;
        row->held.held_us = held_us;
        for (int k = 0; k < M.entries; k++)
            if (M.entry[k].id == row->held.entry_id)
                M.entry[k].live = false;
    });
}

static int held_restoring(struct mgc_catalog *c, int64_t id, const char *to, bool heal,
                          struct mgc_err *err)
{
    (void)c, (void)err;
    CHANGE(struct catalog_held *row = row_of(id); assert_non_null(row);
           assert_int_equal(row->held.state, MGC_HELD_HELD); row->held.state = MGC_HELD_RESTORING;
           row->held.heal = heal; copy(row->restore_to, sizeof(row->restore_to), to));
}

static int held_purging(struct mgc_catalog *c, const int64_t *ids, size_t count,
                        struct mgc_err *err)
{
    (void)c, (void)err;
    CHANGE(for (size_t i = 0; i < count; i++) {
        struct catalog_held *row = row_of(ids[i]);

        assert_non_null(row);
        assert_int_equal(row->held.state, MGC_HELD_HELD);
        row->held.state = MGC_HELD_PURGING;
    });
}

static int held_back(struct mgc_catalog *c, int64_t id, struct mgc_err *err)
{
    (void)c, (void)err;
    CHANGE(struct catalog_held *row = row_of(id); assert_non_null(row);
           row->held.state = MGC_HELD_HELD; row->restore_to[0] = '\0');
}

static int held_forget(struct mgc_catalog *c, const int64_t *ids, size_t count, struct mgc_err *err)
{
    (void)c, (void)err;
    CHANGE(for (size_t i = 0; i < count; i++) drop_row(ids[i]));
}

static void return_row(int64_t id, const char *path, const struct mgc_file_stat *stat,
                       int64_t now_us, bool heal)
{
    struct catalog_entry *e;

    assert_non_null(row_of(id));
    drop_row(id);
    catalog_note_gone(path);
    e = new_entry(path, stat);
    e->born_us = now_us;
    e->healed_us = heal ? now_us : 0;
}

static int held_returned(struct mgc_catalog *c, int64_t id, const char *path,
                         const struct mgc_file_stat *stat, int64_t now_us, bool heal,
                         struct mgc_err *err)
{
    (void)c, (void)err;
    CHANGE(return_row(id, path, stat, now_us, heal));
}

static int held_adopt(struct mgc_catalog *c, const struct mgc_held *row, struct mgc_err *err)
{
    (void)c, (void)err;
    CHANGE(insert_row(row); if (M.next_id <= row->id) M.next_id = row->id + 1);
}

static int held_get(struct mgc_catalog *c, int64_t id, mgc_held_fn *each, void *arg)
{
    struct catalog_held *row;

    (void)c;
    READ();
    row = row_of(id);
    return row != NULL ? each(arg, &row->held) : -ENOENT;
}

static int held_scan(struct mgc_catalog *c, int64_t after, int limit, const char *path,
                     mgc_held_fn *each, void *arg, struct mgc_err *err)
{
    int given = 0, r;

    (void)c, (void)err;
    READ();
    for (int i = 0; i < M.helds && given < limit; i++) {
        const struct mgc_held *held = &M.held[i].held;

        if (held->id <= after || (path != NULL && strcmp(path, held->path) != 0))
            continue;
        given++;
        r = each(arg, held);
        if (r != 0)
            return r;
    }
    return given;
}

void machine_catalog_init(void)
{
    static const struct mgc_catalog_ops ops = {
        .kind = "machine",
        .apply = apply,
        .dir_find = dir_find,
        .dir_path = dir_path,
        .entry_by_id = entry_by_id,
        .held_begin = held_begin,
        .held_finish = held_finish,
        .held_restoring = held_restoring,
        .held_purging = held_purging,
        .held_back = held_back,
        .held_forget = held_forget,
        .held_returned = held_returned,
        .held_adopt = held_adopt,
        .held_get = held_get,
        .held_scan = held_scan,
    };

    M.catalog.ops = &ops;
    M.entries = M.dirs = M.helds = 0;
    M.next_id = 1000;
}
