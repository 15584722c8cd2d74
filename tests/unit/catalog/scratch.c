/* scratch.c -- a directory for one test, and catalogs opened in it. */
#include "scratch.h"

#include <fcntl.h>
#include <ftw.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "mediagcfs/attr.h"

int scratch_new(void **state)
{
    struct scratch *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    (void)snprintf(s->directory, sizeof(s->directory), "%s/mgc-catalog-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(s->directory));
    *state = s;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
    (void)st, (void)type, (void)walk;
    return remove(path);
}

int scratch_free(void **state)
{
    struct scratch *s = *state;

    (void)nftw(s->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(s);
    return 0;
}

static int reserve(void *arg, int64_t up_to, struct mgc_err *err)
{
    struct scratch *s = arg;

    (void)err;
    assert_true(up_to > s->reserved);
    s->reserved = up_to;
    return 0;
}

static struct mgc_catalog_spec spec_of(struct scratch *s)
{
    return (struct mgc_catalog_spec){.directory = s->directory,
                                     .reserved_id = s->reserved,
                                     .reserve = reserve,
                                     .arg = s,
                                     .mode = 0640,
                                     .gid = -1};
}

struct mgc_catalog *writer(struct scratch *s)
{
    struct mgc_catalog_spec spec = spec_of(s);
    struct mgc_catalog *c = NULL;

    ok(s, mgc_catalog_open_sqlite(&spec, &c, &s->err));
    return c;
}

struct mgc_catalog *reader(struct scratch *s)
{
    struct mgc_catalog_spec spec = {.directory = s->directory, .read_only = true, .gid = -1};
    struct mgc_catalog *c = NULL;

    ok(s, mgc_catalog_open_sqlite(&spec, &c, &s->err));
    return c;
}

int writer_fails(struct scratch *s)
{
    struct mgc_catalog_spec spec = spec_of(s);
    struct mgc_catalog *c = NULL;
    int r;

    s->err = (struct mgc_err){0};
    r = mgc_catalog_open_sqlite(&spec, &c, &s->err);
    assert_null(c);
    assert_int_equal(s->err.code, r);
    assert_true(s->err.text[0] != '\0');
    return r;
}

struct mgc_file_stat a_file(uint64_t ino, int64_t bytes, int64_t ctime_us)
{
    return (struct mgc_file_stat){.id = {.ino = ino, .stamp = 7, .kind = MGC_ID_BIRTH},
                                  .mode = S_IFREG | 0644,
                                  .nlink = 1,
                                  .size_bytes = bytes,
                                  .mtime_us = ctime_us,
                                  .ctime_us = ctime_us};
}

void create(struct scratch *s, struct mgc_catalog *c, const char *path, uint64_t ino)
{
    struct mgc_change one = {
        .kind = MGC_CHANGE_CREATE, .path = path, .time_us = T0, .stat = a_file(ino, 100, T0)};

    ok(s, c->ops->apply(c, &one, 1, &s->err));
}

void opened_at(struct scratch *s, struct mgc_catalog *c, const char *path, int64_t time_us)
{
    struct mgc_change one = {.kind = MGC_CHANGE_OPEN, .path = path, .time_us = time_us};

    ok(s, c->ops->apply(c, &one, 1, &s->err));
}

static int take_id(void *arg, const struct mgc_entry *entry)
{
    *(int64_t *)arg = entry->id;
    return 0;
}

int64_t id_of(struct mgc_catalog *c, const char *path)
{
    int64_t id = 0;
    int r = c->ops->entry_by_path(c, path, take_id, &id);

    assert_true(r == 0 || r == -ENOENT);
    return id;
}

const char *in(const struct scratch *s, const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", s->directory, name);
    return path;
}

void sql(struct scratch *s, const char *statements)
{
    sqlite3 *db = NULL;
    char *message = NULL;

    assert_int_equal(sqlite3_open(in(s, "catalog.db"), &db), SQLITE_OK);
    if (sqlite3_exec(db, statements, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", statements, message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

char *read_whole(const char *path, size_t *ret_bytes)
{
    struct stat st;
    char *data;
    ssize_t n;

    mgc_autofd fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("could not open %s", path);
    assert_int_equal(fstat(fd, &st), 0);
    data = calloc(1, (size_t)st.st_size + 1);
    assert_non_null(data);
    n = read(fd, data, (size_t)st.st_size);
    assert_int_equal(n, st.st_size);
    if (ret_bytes != NULL)
        *ret_bytes = (size_t)n;
    return data;
}

void write_at(const char *path, int64_t offset, const void *data, size_t bytes)
{
    mgc_autofd fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, bytes, offset), bytes);
}
