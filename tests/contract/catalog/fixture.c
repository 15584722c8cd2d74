/* fixture.c -- the stores under test, and short forms for what the tests say often. */
#include "fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/attr.h"

/* ---- stores ---- */

static int reserve(void *arg, int64_t up_to, struct mgc_err *err)
{
    struct fixture *f = arg;

    f->reserve_calls++;
    if (f->reserve_result < 0)
        return mgc_err_set(err, f->reserve_result, "could not reserve ids");
    f->reserved = up_to;
    return 0;
}

static struct mgc_catalog *open_store(struct fixture *f)
{
    struct mgc_catalog_spec spec = {.directory = f->directory,
                                    .reserved_id = f->reserved,
                                    .reserve = reserve,
                                    .arg = f,
                                    .mode = 0640,
                                    .gid = -1};
    struct mgc_catalog *c = NULL;

    ok(f, mgc_catalog_open_sqlite(&spec, &c, &f->err));
    return c;
}

/* Closes and opens the store below after each change.  A clean stop, so that the array counts. */
struct reopening {
    struct mgc_catalog base;
    struct mgc_catalog *below;
    struct fixture *f;
};

static struct mgc_catalog *below(struct mgc_catalog *c)
{
    return ((struct reopening *)c)->below;
}

static int again(struct mgc_catalog *c, int r)
{
    struct reopening *w = (struct reopening *)c;
    struct mgc_err err = w->f->err;

    ok(w->f, w->below->ops->meta_set(w->below, MGC_META_CLEAN, 1, &w->f->err));
    mgc_catalog_close(w->below);
    w->below = open_store(w->f);
    w->f->err = err;
    return r;
}

#define B below(c)
#define CHANGES(member, params, args)                                                              \
    static int w_##member params                                                                   \
    {                                                                                              \
        return again(c, B->ops->member args);                                                      \
    }
#define READS(type, member, params, args)                                                          \
    static type w_##member params                                                                  \
    {                                                                                              \
        return B->ops->member args;                                                                \
    }
// clang-format off
#define C struct mgc_catalog
#define E struct mgc_err
READS(int, meta_get, (C *c, const char *k, int64_t *v), (B, k, v))
CHANGES(meta_set, (C *c, const char *k, int64_t v, E *e), (B, k, v, e))
READS(int, meta_text_get, (C *c, const char *k, char *o, size_t n), (B, k, o, n))
CHANGES(meta_text_set, (C *c, const char *k, const char *v, E *e), (B, k, v, e))
CHANGES(apply, (C *c, const struct mgc_change *x, size_t n, E *e), (B, x, n, e))
CHANGES(see_dir, (C *c, const struct mgc_seen_dir *s, struct mgc_seen_result *r, E *e), (B, s, r, e))
READS(int, dir_find, (C *c, const char *p, struct mgc_dir *d), (B, p, d))
READS(int, dir_path, (C *c, int64_t id, char *o, size_t n), (B, id, o, n))
READS(int, scan_entries, (C *c, int64_t a, int l, mgc_entry_fn *f, void *x, E *e), (B, a, l, f, x, e))
READS(int, scan_dirs, (C *c, int64_t a, int l, mgc_dir_fn *f, void *x, E *e), (B, a, l, f, x, e))
READS(int, entry_by_path, (C *c, const char *p, mgc_entry_fn *f, void *x), (B, p, f, x))
READS(int, entry_by_id, (C *c, int64_t id, mgc_entry_fn *f, void *x), (B, id, f, x))
READS(int, totals, (C *c, int64_t *n, int64_t *b), (B, n, b))
CHANGES(run_begin, (C *c, struct mgc_run *r, E *e), (B, r, e))
CHANGES(run_end, (C *c, const struct mgc_run *r, E *e), (B, r, e))
READS(int, runs, (C *c, int64_t b, int l, mgc_run_fn *f, void *x), (B, b, l, f, x))
READS(int, run_last_complete, (C *c, int64_t b, mgc_run_fn *f, void *x), (B, b, f, x))
CHANGES(mark_orphans, (C *c, int64_t r, int64_t t, int64_t p, const int64_t *i, size_t n, E *e), (B, r, t, p, i, n, e))
CHANGES(restart_waits, (C *c, E *e), (B, e))
CHANGES(findings_add, (C *c, int64_t r, const struct mgc_finding *x, size_t n, E *e), (B, r, x, n, e))
READS(int, findings, (C *c, enum mgc_finding_kind k, mgc_finding_fn *f, void *x, E *e), (B, k, f, x, e))
CHANGES(held_begin, (C *c, struct mgc_held *x, size_t n, E *e), (B, x, n, e))
CHANGES(held_finish, (C *c, const int64_t *i, size_t n, int64_t t, E *e), (B, i, n, t, e))
CHANGES(held_restoring, (C *c, int64_t id, const char *t, bool h, E *e), (B, id, t, h, e))
CHANGES(held_purging, (C *c, const int64_t *i, size_t n, E *e), (B, i, n, e))
CHANGES(held_back, (C *c, int64_t id, E *e), (B, id, e))
CHANGES(held_forget, (C *c, const int64_t *i, size_t n, E *e), (B, i, n, e))
CHANGES(held_returned, (C *c, int64_t id, const char *p, const struct mgc_file_stat *s, int64_t t, bool h, E *e), (B, id, p, s, t, h, e))
CHANGES(held_adopt, (C *c, const struct mgc_held *h, E *e), (B, h, e))
CHANGES(held_prove, (C *c, const int64_t *i, size_t n, int64_t t, int64_t r, E *e), (B, i, n, t, r, e))
CHANGES(held_pin, (C *c, int64_t id, bool p, E *e), (B, id, p, e))
READS(int, held_get, (C *c, int64_t id, mgc_held_fn *f, void *x), (B, id, f, x))
READS(int, held_scan, (C *c, int64_t a, int l, const char *p, mgc_held_fn *f, void *x, E *e), (B, a, l, p, f, x, e))
READS(int, held_totals, (C *c, int64_t *n, int64_t *b), (B, n, b))
CHANGES(event_add, (C *c, const struct mgc_event *x, size_t n, E *e), (B, x, n, e))
READS(int, events, (C *c, int64_t a, int64_t s, int l, mgc_event_fn *f, void *x, E *e), (B, a, s, l, f, x, e))
READS(int64_t, opened_us, (C *c, int64_t id), (B, id))
CHANGES(flush, (C *c, E *e), (B, e))
// clang-format on
#undef B
#undef C
#undef E

static void w_close(struct mgc_catalog *c)
{
    mgc_catalog_close(below(c));
    free(c);
}

#define OP(member) .member = w_##member
static const struct mgc_catalog_ops reopening_ops = {
    .kind = "reopening",
    .close = w_close,
    OP(meta_get),
    OP(meta_set),
    OP(meta_text_get),
    OP(meta_text_set),
    OP(apply),
    OP(see_dir),
    OP(dir_find),
    OP(dir_path),
    OP(scan_entries),
    OP(scan_dirs),
    OP(entry_by_path),
    OP(entry_by_id),
    OP(totals),
    OP(run_begin),
    OP(run_end),
    OP(runs),
    OP(run_last_complete),
    OP(mark_orphans),
    OP(restart_waits),
    OP(findings_add),
    OP(findings),
    OP(held_begin),
    OP(held_finish),
    OP(held_restoring),
    OP(held_purging),
    OP(held_back),
    OP(held_forget),
    OP(held_returned),
    OP(held_adopt),
    OP(held_prove),
    OP(held_pin),
    OP(held_get),
    OP(held_scan),
    OP(held_totals),
    OP(event_add),
    OP(events),
    OP(opened_us),
    OP(flush),
};
/* A member added to the table must be added here: the suite calls through all of it. */
_Static_assert(sizeof(struct mgc_catalog_ops) == 40 * sizeof(void *), "the table has grown");

static struct mgc_catalog *open_reopening(struct fixture *f)
{
    struct reopening *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->base.ops = &reopening_ops;
    w->below = open_store(f);
    w->f = f;
    return &w->base;
}

static struct store_kind {
    const char *name;
    struct mgc_catalog *(*open)(struct fixture *f);
} kinds[] = {{"sqlite", open_store}, {"sqlite, opened again after each change", open_reopening}};

/* ---- fixture ---- */

static int set_up(void **state)
{
    const struct store_kind *kind = *state;
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    (void)snprintf(f->directory, sizeof(f->directory), "%s/mgc-catalog-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(f->directory));
    f->c = kind->open(f);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    mgc_catalog_close(f->c);
    (void)nftw(f->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

int contract_run(const char *name, const struct CMUnitTest *tests, size_t count)
{
    struct CMUnitTest copy[64];
    int failed = 0;

    MGC_ASSERT(count <= ARRAY_SIZE(copy));
    for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
        char group[128];

        for (size_t i = 0; i < count; i++) {
            copy[i] = tests[i];
            copy[i].setup_func = set_up;
            copy[i].teardown_func = tear_down;
            copy[i].initial_state = &kinds[k];
        }
        (void)snprintf(group, sizeof(group), "%s: %s", name, kinds[k].name);
        failed += _cmocka_run_group_tests(group, copy, count, NULL, NULL);
    }
    return failed;
}

/* ---- short forms ---- */

struct mgc_file_stat a_file(uint64_t ino, int64_t bytes, int64_t ctime_us)
{
    return (struct mgc_file_stat){
        .id = {.ino = ino, .stamp = (int64_t)ino * 1000 + 7, .kind = MGC_ID_BIRTH},
        .dev = 5,
        .mode = S_IFREG | 0644,
        .uid = 33,
        .gid = 33,
        .nlink = 1,
        .size_bytes = bytes,
        .mtime_us = ctime_us,
        .ctime_us = ctime_us};
}

struct mgc_file_stat a_dir(uint64_t ino, int64_t ctime_us)
{
    struct mgc_file_stat stat = a_file(ino, 4096, ctime_us);

    stat.mode = S_IFDIR | 0755;
    return stat;
}

void change(struct fixture *f, struct mgc_change one)
{
    ok(f, f->c->ops->apply(f->c, &one, 1, &f->err));
}

void create(struct fixture *f, const char *path, uint64_t ino, int64_t time_us)
{
    change(f, (struct mgc_change){.kind = MGC_CHANGE_CREATE,
                                  .path = path,
                                  .time_us = time_us,
                                  .uid = 33,
                                  .stat = a_file(ino, 100, time_us)});
}

void mkdir_at(struct fixture *f, const char *path, int64_t time_us)
{
    change(f, (struct mgc_change){.kind = MGC_CHANGE_MKDIR,
                                  .path = path,
                                  .time_us = time_us,
                                  .uid = 33,
                                  .stat = a_dir(1000, time_us)});
}

void unlink_at(struct fixture *f, const char *path, int64_t time_us)
{
    change(f, (struct mgc_change){.kind = MGC_CHANGE_UNLINK, .path = path, .time_us = time_us});
}

void rename_at(struct fixture *f, const char *from, const char *to, bool directory, int64_t time_us)
{
    change(f, (struct mgc_change){.kind = MGC_CHANGE_RENAME,
                                  .path = from,
                                  .path2 = to,
                                  .directory = directory,
                                  .time_us = time_us});
}

static int keep_entry(void *arg, const struct mgc_entry *entry)
{
    struct mgc_entry *out = arg;

    *out = *entry;
    out->name = NULL;
    return 0;
}

bool entry_of(struct fixture *f, const char *path, struct mgc_entry *ret_entry)
{
    int r = f->c->ops->entry_by_path(f->c, path, keep_entry, ret_entry);

    if (r != 0)
        assert_int_equal(r, -ENOENT);
    return r == 0;
}

struct mgc_entry entry_at(struct fixture *f, const char *path)
{
    struct mgc_entry entry = {0};

    if (!entry_of(f, path, &entry))
        fail_msg("there is no entry '%s'", path);
    return entry;
}

bool exists(struct fixture *f, const char *path)
{
    struct mgc_entry entry;

    return entry_of(f, path, &entry);
}

bool dir_exists(struct fixture *f, const char *path)
{
    struct mgc_dir dir;
    int r = f->c->ops->dir_find(f->c, path, &dir);

    if (r != 0)
        assert_int_equal(r, -ENOENT);
    return r == 0;
}

struct sum {
    int64_t entries, bytes;
};

static int add_up(void *arg, const struct mgc_entry *entry)
{
    struct sum *sum = arg;

    sum->entries++;
    sum->bytes += entry->size_bytes;
    return 0;
}

void assert_totals(struct fixture *f, int64_t entries, int64_t bytes)
{
    struct sum sum = {0};
    int64_t told_entries = -1, told_bytes = -1;

    ok(f, f->c->ops->totals(f->c, &told_entries, &told_bytes));
    assert_int_equal(told_entries, entries);
    assert_int_equal(told_bytes, bytes);
    /* The counters are kept, not counted: they must agree with the rows. */
    assert_int_equal(f->c->ops->scan_entries(f->c, 0, 1000000, add_up, &sum, NULL), entries);
    assert_int_equal(sum.bytes, bytes);
}
