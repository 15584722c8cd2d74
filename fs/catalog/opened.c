/* opened.c -- the array of last-opened times in memory and in its file. */
#include "opened_priv.h"

#include <endian.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/os.h"
#include "mediagcfs/path.h"

#define MINUTE_US INT64_C(60000000)
#define SECOND_US INT64_C(1000000)
static const char magic[16] = "mediagcfs opened";

enum {
    PIECE_IDS = 1 << 20, /* 4 MiB of values */
    PAGE_IDS = MGC_OPENED_PAGE_BYTES / 4,
    PIECE_PAGES = PIECE_IDS / PAGE_IDS,
    PIECE_BYTES = PIECE_IDS * 4,
    FORMAT = 1,
};
struct header {
    char magic[16];
    uint32_t format, entry_bytes; /* little endian, as everything in the file */
    char catalog_id[MGC_OPENED_ID_BYTES];
    uint64_t generation;
};
_Static_assert(sizeof(struct header) == 64, "the header is written as it lies in memory");

struct piece {
    uint32_t *values; /* PIECE_IDS of them, little endian; NULL until one is written */
    uint64_t dirty[PIECE_PAGES / 64];
};
struct mgc_opened {
    pthread_mutex_t lock; /* protects everything below */
    struct piece *pieces;
    size_t piece_count, dirty_count;
    int fd;
    char path[MGC_PATH_BYTES_MAX + 1];
    char directory[MGC_PATH_BYTES_MAX + 1];
    char catalog_id[MGC_OPENED_ID_BYTES + 1];
};

static int write_all(int fd, const void *data, size_t bytes, off_t at)
{
    const char *from = data;

    while (bytes > 0) {
        ssize_t n = pwrite(fd, from, bytes, at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        from += n;
        at += n;
        bytes -= (size_t)n;
    }
    return 0;
}

/* Bytes read, fewer only at the end of the file, or a negative errno. */
static ssize_t read_all(int fd, void *out, size_t bytes, off_t at)
{
    size_t got = 0;

    while (got < bytes) {
        ssize_t n = pread(fd, (char *)out + got, bytes - got, at + (off_t)got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

static int write_header(int fd, const char *catalog_id, int64_t generation)
{
    char page[MGC_OPENED_HEADER_BYTES] = {0};
    struct header h = {.format = htole32(FORMAT),
                       .entry_bytes = htole32(4),
                       .generation = htole64((uint64_t)generation)};

    memcpy(h.magic, magic, sizeof(magic));
    memcpy(h.catalog_id, catalog_id, MGC_OPENED_ID_BYTES);
    memcpy(page, &h, sizeof(h));
    return write_all(fd, page, sizeof(page), 0);
}

/* Generation of a file of this catalog; -ENOENT when it is not one. */
static int64_t read_header(int fd, const char *catalog_id)
{
    struct header h;
    ssize_t n = read_all(fd, &h, sizeof(h), 0);

    if (n != (ssize_t)sizeof(h) || memcmp(h.magic, magic, sizeof(magic)) != 0 ||
        le32toh(h.format) != FORMAT || le32toh(h.entry_bytes) != 4 ||
        memcmp(h.catalog_id, catalog_id, MGC_OPENED_ID_BYTES) != 0 ||
        le64toh(h.generation) > INT64_MAX)
        return -ENOENT;
    return (int64_t)le64toh(h.generation);
}

static int piece_of(struct mgc_opened *o, int64_t id, struct piece **ret)
{
    size_t index = (size_t)(id / PIECE_IDS);

    if (index >= o->piece_count) {
        struct piece *more = realloc(o->pieces, (index + 1) * sizeof(*more));

        if (more == NULL)
            return -ENOMEM;
        memset(more + o->piece_count, 0, (index + 1 - o->piece_count) * sizeof(*more));
        o->pieces = more;
        o->piece_count = index + 1;
    }
    if (o->pieces[index].values == NULL) {
        void *memory = mmap(NULL, PIECE_BYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (memory == MAP_FAILED)
            return -errno;
        o->pieces[index].values = memory;
    }
    *ret = &o->pieces[index];
    return 0;
}

static off_t offset_of(int64_t id)
{
    return MGC_OPENED_HEADER_BYTES + (off_t)id * 4;
}

/* Reads the values from `at` to `end`, both on pages of the file. */
static int load_range(struct mgc_opened *o, off_t at, off_t end)
{
    while (at < end) {
        int64_t id = (at - MGC_OPENED_HEADER_BYTES) / 4;
        size_t inside = (size_t)(id % PIECE_IDS);
        size_t bytes = (PIECE_IDS - inside) * 4;
        struct piece *piece;
        ssize_t n;
        int r;

        if (id >= MGC_OPENED_ID_MAX)
            return MGC_E_LIMIT;
        if ((off_t)bytes > end - at)
            bytes = (size_t)(end - at);
        r = piece_of(o, id, &piece);
        if (r < 0)
            return r;
        n = read_all(o->fd, piece->values + inside, bytes, at);
        if (n < 0)
            return (int)n;
        at += (off_t)bytes;
    }
    return 0;
}

/* Reads what the file holds; holes cost nothing. */
static int load(struct mgc_opened *o)
{
    const off_t page = MGC_OPENED_PAGE_BYTES;
    off_t end = lseek(o->fd, 0, SEEK_END), at = MGC_OPENED_HEADER_BYTES;

    while (at < end) {
        off_t data = lseek(o->fd, at, SEEK_DATA), hole;
        int r;

        if (data < 0 && errno == ENXIO)
            return 0;
        if (data < 0)
            data = at; /* a filesystem without holes */
        data = data / page * page;
        hole = lseek(o->fd, data, SEEK_HOLE);
        if (hole <= data)
            hole = end;
        r = load_range(o, data, (hole + page - 1) / page * page);
        if (r < 0)
            return r;
        at = (hole + page - 1) / page * page;
    }
    return end < 0 ? -errno : 0;
}

static struct mgc_opened *make(const char *directory, const char *catalog_id)
{
    struct mgc_opened *o = calloc(1, sizeof(*o));
    bool fits;

    MGC_ASSERT(strlen(catalog_id) == MGC_OPENED_ID_BYTES);
    if (o == NULL)
        return NULL;
    (void)pthread_mutex_init(&o->lock, NULL);
    o->fd = -1;
    memcpy(o->catalog_id, catalog_id, sizeof(o->catalog_id));
    fits = mgc_path_join(o->directory, sizeof(o->directory), directory, "") == 0 &&
           mgc_path_join(o->path, sizeof(o->path), directory, MGC_OPENED_FILE) == 0;
    if (!fits)
        mgc_opened_close(mgc_steal(o));
    return o;
}

int mgc_opened_open(const char *directory, const char *catalog_id, struct mgc_opened **ret,
                    enum mgc_opened_found *ret_found, int64_t *ret_generation, struct mgc_err *err)
{
    struct mgc_opened *o = make(directory, catalog_id);
    int64_t generation;
    int r = 0;

    if (o == NULL)
        return mgc_err_set(err, -ENOMEM, "could not open file '%s/%s'", directory, MGC_OPENED_FILE);
    o->fd = open(o->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (o->fd < 0 && errno != ENOENT)
        r = -errno;
    generation = o->fd >= 0 ? read_header(o->fd, catalog_id) : -ENOENT;
    if (r == 0 && generation >= 0)
        r = load(o);
    if (r < 0) {
        mgc_opened_close(o);
        return mgc_err_set(err, r, "could not read file '%s/%s'", directory, MGC_OPENED_FILE);
    }
    if (generation < 0 && o->fd >= 0)
        (void)close(mgc_fd_steal(&o->fd));
    *ret = o;
    *ret_found = generation >= 0 ? MGC_OPENED_OURS : MGC_OPENED_MISSING;
    *ret_generation = generation >= 0 ? generation : 0;
    return 0;
}

static void all_dirty(struct mgc_opened *o)
{
    for (size_t i = 0; i < o->piece_count; i++)
        if (o->pieces[i].values != NULL) {
            memset(o->pieces[i].dirty, 0xff, sizeof(o->pieces[i].dirty));
            o->dirty_count = 1; /* recounted by the next write */
        }
}

static int sync_directory(const char *path)
{
    mgc_autofd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int mgc_opened_create(struct mgc_opened *o, uint32_t mode, int64_t gid, int64_t generation,
                      struct mgc_err *err)
{
    char fresh[MGC_PATH_BYTES_MAX + 8];
    int r = 0;

    (void)snprintf(fresh, sizeof(fresh), "%s.new", o->path);
    (void)unlink(fresh); /* left by a crash */
    mgc_autofd fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return mgc_err_set(err, -errno, "could not create file '%s'", fresh);
    if ((gid >= 0 && fchown(fd, (uid_t)-1, (gid_t)gid) < 0) || fchmod(fd, (mode_t)mode) < 0)
        r = -errno;
    if (r == 0)
        r = write_header(fd, o->catalog_id, generation);
    if (r == 0 && (fsync(fd) < 0 || rename(fresh, o->path) < 0))
        r = -errno;
    if (r == 0)
        r = sync_directory(o->directory);
    if (r < 0)
        return mgc_err_set(err, r, "could not create file '%s'", o->path);
    (void)pthread_mutex_lock(&o->lock);
    if (o->fd >= 0)
        (void)close(o->fd);
    o->fd = mgc_fd_steal(&fd);
    all_dirty(o);
    (void)pthread_mutex_unlock(&o->lock);
    return 0;
}

void mgc_opened_close(struct mgc_opened *o)
{
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->piece_count; i++)
        if (o->pieces[i].values != NULL)
            (void)munmap(o->pieces[i].values, PIECE_BYTES);
    free(o->pieces);
    if (o->fd >= 0)
        (void)close(o->fd);
    (void)pthread_mutex_destroy(&o->lock);
    free(o);
}

static bool test_and_set(uint64_t *bits, size_t page)
{
    uint64_t bit = UINT64_C(1) << (page % 64);
    bool was = (bits[page / 64] & bit) != 0;

    bits[page / 64] |= bit;
    return was;
}

int mgc_opened_mark(struct mgc_opened *o, int64_t id, int64_t time_us)
{
    int64_t minutes = time_us / MINUTE_US;
    struct piece *piece;
    int r;

    if (id <= 0 || id >= MGC_OPENED_ID_MAX)
        return MGC_E_LIMIT;
    if (minutes <= 0)
        return 0;
    if (minutes > UINT32_MAX)
        minutes = UINT32_MAX;
    (void)pthread_mutex_lock(&o->lock);
    r = piece_of(o, id, &piece);
    if (r == 0) {
        size_t inside = (size_t)(id % PIECE_IDS);

        if (le32toh(piece->values[inside]) < (uint32_t)minutes) { /* O2 */
            piece->values[inside] = htole32((uint32_t)minutes);
            if (!test_and_set(piece->dirty, inside / PAGE_IDS))
                o->dirty_count++;
        }
    }
    (void)pthread_mutex_unlock(&o->lock);
    return r;
}

int64_t mgc_opened_get(struct mgc_opened *o, int64_t id)
{
    size_t index = (size_t)(id / PIECE_IDS);
    uint32_t minutes = 0;

    if (id <= 0 || id >= MGC_OPENED_ID_MAX)
        return 0;
    (void)pthread_mutex_lock(&o->lock);
    if (index < o->piece_count && o->pieces[index].values != NULL)
        minutes = le32toh(o->pieces[index].values[id % PIECE_IDS]);
    (void)pthread_mutex_unlock(&o->lock);
    return (int64_t)minutes * MINUTE_US;
}

/* A whole page of zeros that the file does not reach yet is left a hole. */
static int write_page(struct mgc_opened *o, size_t index, size_t page)
{
    const uint32_t *values = o->pieces[index].values + page * PAGE_IDS;
    int64_t id = (int64_t)index * PIECE_IDS + (int64_t)page * PAGE_IDS;
    bool empty = true;

    for (size_t i = 0; empty && i < PAGE_IDS; i++)
        empty = values[i] == 0;
    return empty ? 0 : write_all(o->fd, values, MGC_OPENED_PAGE_BYTES, offset_of(id));
}

int64_t mgc_opened_write(struct mgc_opened *o, size_t pages_max)
{
    int64_t left = 0;
    size_t written = 0;
    int r = 0;

    (void)pthread_mutex_lock(&o->lock);
    MGC_ASSERT(o->fd >= 0);
    for (size_t i = 0; o->dirty_count > 0 && i < o->piece_count; i++)
        for (size_t page = 0; page < PIECE_PAGES; page++) {
            uint64_t bit = UINT64_C(1) << (page % 64);

            if ((o->pieces[i].dirty[page / 64] & bit) == 0)
                continue;
            if (r < 0 || written == pages_max) {
                left++;
                continue;
            }
            r = write_page(o, i, page);
            if (r < 0)
                left++; /* stays dirty */
            else {
                o->pieces[i].dirty[page / 64] &= ~bit;
                written++;
            }
        }
    o->dirty_count = (size_t)left;
    (void)pthread_mutex_unlock(&o->lock);
    return r < 0 ? r : left;
}

int mgc_opened_sync(struct mgc_opened *o, struct mgc_err *err)
{
    int64_t r = mgc_opened_write(o, SIZE_MAX);

    MGC_ASSERT(r <= 0);
    if (r == 0 && fdatasync(o->fd) < 0)
        r = -errno;
    return r < 0 ? mgc_err_set(err, (int)r, "could not write file '%s'", o->path) : 0;
}

int mgc_opened_seal(struct mgc_opened *o, int64_t generation, struct mgc_err *err)
{
    int r = mgc_opened_sync(o, err);

    if (r < 0)
        return r;
    r = write_header(o->fd, o->catalog_id, generation);
    if (r == 0 && fdatasync(o->fd) < 0)
        r = -errno;
    return r < 0 ? mgc_err_set(err, r, "could not write file '%s'", o->path) : 0;
}

void mgc_opened_view_init(struct mgc_opened_view *view)
{
    view->page = -1;
    view->last_id = 0;
    view->read_us = 0;
    view->reads = 0;
}

int64_t mgc_opened_view_get(struct mgc_opened_view *view, const char *directory,
                            const char *catalog_id, int64_t id)
{
    int64_t page = id / PAGE_IDS, now_us = mgc_monotonic_us();
    bool kept = page == view->page && id > view->last_id && now_us - view->read_us < SECOND_US;

    if (id <= 0 || id >= MGC_OPENED_ID_MAX)
        return 0;
    if (!kept) {
        char path[MGC_PATH_BYTES_MAX + 1];
        ssize_t n;

        view->page = -1;
        view->reads++;
        if (mgc_path_join(path, sizeof(path), directory, MGC_OPENED_FILE) < 0)
            return -ENAMETOOLONG;
        mgc_autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 || read_header(fd, catalog_id) < 0)
            return -ENOENT;
        memset(view->values, 0, sizeof(view->values));
        n = read_all(fd, view->values, sizeof(view->values), offset_of(page * PAGE_IDS));
        if (n < 0)
            return n;
        view->page = page;
        view->read_us = now_us;
    }
    view->last_id = id;
    return (int64_t)le32toh(view->values[id % PAGE_IDS]) * MINUTE_US;
}
