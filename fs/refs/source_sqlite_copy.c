/*
 * source_sqlite_copy.c -- a copy between two transactions, without holding anybody up (H32).
 *
 * A reader's shared lock on a rollback-journal database makes commits fail, at once where the
 * application sets no busy timeout.  So no lock is taken at all; the copy is proven afterwards.
 *
 *   Y1  A writer of such a database holds an exclusive lock from before its first write to the
 *       file until after its last.  At the first look nobody holds one: the file is whole then.
 *   Y2  Every write changes the change time.  The first look is taken only when the last change
 *       is longer ago than any clock tick, so a later one always shows; at the second look it must
 *       be what it was, with size and header.  Then nothing was written in between.
 *   Y3  A journal that nobody holds a lock for is what a crash left: the file needs its rollback,
 *       which is the application's to do.
 *   Y4  The copy has no name, ever: it goes when the last descriptor does, however we end.
 */
#include "fs/refs/source_sqlite_priv.h"

#include <fcntl.h>
#include <libgen.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/os.h"

enum {
    HEADER_BYTES = 100,
    PENDING_AT = 0x40000000, /* the locking bytes of the file format */
    RESERVED_AT = PENDING_AT + 1,
    SHARED_AT = PENDING_AT + 2,
    SHARED_BYTES = 510,
    TICK_US = 20 * 1000,         /* two ticks of the slowest kernel clock */
    QUIET_US = 30 * 1000 * 1000, /* how long we look for a moment without a writer */
    PAUSE_US = 7 * 1000,
    CHUNK_BYTES = 1 << 20,
    COPY_FLAGS = O_TMPFILE | O_RDWR | O_CLOEXEC,
};

enum state { QUIET, WRITING, HOT };

struct look {
    struct stat stat;
    unsigned char header[HEADER_BYTES];
};

static bool locked(int fd, off_t at, off_t bytes)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = bytes};

    return fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

/* A journal with a header; a persistent one at rest is empty or has it zeroed. */
static bool journal_open(const char *path)
{
    char name[MGC_PATH_BYTES_MAX + 16], first = '\0';

    (void)snprintf(name, sizeof(name), "%s-journal", path);
    mgc_autofd fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno != ENOENT;
    return pread(fd, &first, 1, 0) == 1 && first != '\0';
}

/* Change time and now within a tick, in either direction. */
static bool just_changed(const struct stat *s)
{
    struct timespec now;
    int64_t age_us;

    if (clock_gettime(CLOCK_REALTIME, &now) < 0)
        return true;
    age_us = ((int64_t)now.tv_sec - s->st_ctim.tv_sec) * 1000000 +
             (now.tv_nsec - s->st_ctim.tv_nsec) / 1000;
    return age_us > -TICK_US && age_us < TICK_US;
}

/* Y1, Y3.  The journal before its lock: a writer takes them the other way round. */
static int look_at(int fd, const char *path, struct look *ret, enum state *ret_state)
{
    bool journal;
    ssize_t n;

    if (fstat(fd, &ret->stat) < 0)
        return -errno;
    n = pread(fd, ret->header, HEADER_BYTES, 0);
    if (n != HEADER_BYTES)
        return n < 0 ? -errno : MGC_E_SOURCE;
    journal = journal_open(path);
    *ret_state = QUIET;
    if (just_changed(&ret->stat) || locked(fd, SHARED_AT, SHARED_BYTES))
        *ret_state = WRITING;
    else if (journal && !locked(fd, RESERVED_AT, 1))
        *ret_state = HOT;
    return 0;
}

static bool unchanged(const struct look *a, const struct look *b)
{
    return a->stat.st_size == b->stat.st_size &&
           memcmp(&a->stat.st_ctim, &b->stat.st_ctim, sizeof(a->stat.st_ctim)) == 0 &&
           memcmp(&a->stat.st_mtim, &b->stat.st_mtim, sizeof(a->stat.st_mtim)) == 0 &&
           memcmp(a->header, b->header, HEADER_BYTES) == 0;
}

/* Twice the room needed: the application's next write must not find a full disk because of us. */
static int nameless_file(const char *folder, int64_t bytes)
{
    struct statvfs room;
    int fd = open(folder, COPY_FLAGS, 0600);

    if (fd < 0)
        return -errno;
    if (fstatvfs(fd, &room) < 0 || (uint64_t)room.f_bavail * room.f_frsize < (uint64_t)bytes * 2) {
        (void)close(fd);
        return -ENOSPC;
    }
    return fd;
}

static int copy_bytes(int from, int to, int64_t bytes, int64_t deadline_us)
{
    mgc_autofree char *chunk = malloc(CHUNK_BYTES);
    int64_t at = 0;

    if (chunk == NULL)
        return -ENOMEM;
    while (at < bytes) {
        ssize_t n = pread(from, chunk, CHUNK_BYTES, at), written = 0;

        if (n <= 0)
            return n < 0 ? -errno : -ESTALE; /* it became shorter: the second look says so */
        while (written < n) {
            ssize_t w = pwrite(to, chunk + written, (size_t)(n - written), at + written);

            if (w < 0)
                return -errno;
            written += w;
        }
        at += n;
        if (mgc_source_past(deadline_us))
            return MGC_E_TIMEOUT;
    }
    return 0;
}

/* A reflink beside the database, else bytes where temporary files belong.  Returns an fd. */
static int copy_once(int from, const char *path, int64_t bytes, int64_t deadline_us)
{
    const char *temporary = getenv("TMPDIR");
    char folder[MGC_PATH_BYTES_MAX + 1];
    const char *const places[] = {temporary != NULL && temporary[0] == '/' ? temporary : "/var/tmp",
                                  "/var/tmp", "/tmp", NULL};
    int to, r = -ENOSPC;

    (void)snprintf(folder, sizeof(folder), "%s", path);
    (void)dirname(folder);
    to = open(folder, COPY_FLAGS, 0600);
    if (to >= 0 && ioctl(to, FICLONE, from) == 0)
        return to;
    if (to >= 0)
        (void)close(to);
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        to = nameless_file(places[i] != NULL ? places[i] : folder, bytes);
        if (to < 0) {
            r = to;
            continue;
        }
        r = copy_bytes(from, to, bytes, deadline_us);
        if (r == 0)
            return to;
        (void)close(to);
        if (r != -ENOSPC && r != -EDQUOT)
            return r;
    }
    return r;
}

static int never_quiet(const struct mgc_conf_references *conf, enum state state,
                       struct mgc_err *err)
{
    int code;

    if (state == HOT) {
        code = mgc_err_say(err, MGC_E_SOURCE,
                           "could not read database '%s' of source '%s': a crash left a journal "
                           "beside it",
                           MGC_SHOW(conf->database), conf->name);
        (void)mgc_err_hint(err, "Let the application open the database once: that rolls it back");
        return code;
    }
    code = mgc_err_say(err, MGC_E_INCOMPLETE,
                       "could not read database '%s' of source '%s': it is locked or written "
                       "without a pause",
                       MGC_SHOW(conf->database), conf->name);
    (void)mgc_err_hint(err, "PRAGMA journal_mode = WAL lets it be read while it is written");
    return code;
}

/* One attempt: 1 a proven copy, 0 somebody wrote, or a negative code. */
static int attempt(int from, const char *path, int64_t deadline_us, enum state *state, int *ret_fd)
{
    struct look before, after;
    int r = look_at(from, path, &before, state);

    if (r < 0 || *state != QUIET)
        return r;
    mgc_autofd to = copy_once(from, path, before.stat.st_size, deadline_us);
    if (to < 0 && to != -ESTALE)
        return to;
    r = look_at(from, path, &after, state);
    if (r < 0)
        return r;
    if (to < 0 || *state == HOT || !unchanged(&before, &after)) {
        *state = WRITING;
        return 0;
    }
    *ret_fd = mgc_fd_steal(&to);
    return 1;
}

int mgc_sqlite_copy(const struct mgc_conf_references *conf, const char *path, int64_t deadline_us,
                    int *ret_fd, struct mgc_err *err)
{
    int64_t until_us = mgc_source_sooner(deadline_us, QUIET_US);
    enum state state = WRITING;
    int r = 0;

    mgc_autofd from = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (from < 0)
        return mgc_err_set(err, -errno, "could not open database '%s' of source '%s'",
                           MGC_SHOW(path), conf->name);
    for (;;) {
        r = attempt(from, path, deadline_us, &state, ret_fd);
        if (r != 0)
            break;
        if (mgc_source_past(until_us))
            return never_quiet(conf, state, err);
        (void)usleep(PAUSE_US);
    }
    if (r > 0)
        return 0;
    (void)mgc_err_set(err, r, "could not copy database '%s' of source '%s'", MGC_SHOW(path),
                      conf->name);
    if (r == -ENOSPC)
        (void)mgc_err_hint(err, "Make room in /var/tmp for twice the database, or set TMPDIR");
    return r;
}

/* --- a read-only file system of one file, for the copy --- */

struct copy_file {
    sqlite3_file base;
    int fd;
};
static int copy_fd = -1; /* the one that the next open means */

static int file_close(sqlite3_file *file)
{
    (void)file;
    return SQLITE_OK;
}

static int file_read(sqlite3_file *file, void *out, int bytes, sqlite3_int64 at)
{
    ssize_t n = pread(((struct copy_file *)file)->fd, out, (size_t)bytes, at);

    if (n < 0)
        return SQLITE_IOERR_READ;
    if (n == bytes)
        return SQLITE_OK;
    memset((char *)out + n, 0, (size_t)(bytes - n));
    return SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 at)
{
    (void)file;
    (void)data;
    (void)bytes;
    (void)at;
    return SQLITE_READONLY;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 bytes)
{
    (void)file;
    (void)bytes;
    return SQLITE_READONLY;
}

static int file_flag(sqlite3_file *file, int flags)
{
    (void)file;
    (void)flags;
    return SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret)
{
    struct stat s;

    if (fstat(((struct copy_file *)file)->fd, &s) < 0)
        return SQLITE_IOERR_FSTAT;
    *ret = s.st_size;
    return SQLITE_OK;
}

static int file_reserved(sqlite3_file *file, int *ret)
{
    (void)file;
    *ret = 0;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
    (void)file;
    (void)op;
    (void)arg;
    return SQLITE_NOTFOUND;
}

static int file_sector(sqlite3_file *file)
{
    (void)file;
    return 4096;
}

static int file_characteristics(sqlite3_file *file)
{
    (void)file;
    return SQLITE_IOCAP_IMMUTABLE;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 1,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_flag,
    .xFileSize = file_size,
    .xLock = file_flag,
    .xUnlock = file_flag,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector,
    .xDeviceCharacteristics = file_characteristics,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    struct copy_file *copy = (struct copy_file *)file;

    (void)vfs;
    (void)name;
    copy->base.pMethods = NULL;
    if ((flags & SQLITE_OPEN_MAIN_DB) == 0 || copy_fd < 0)
        return SQLITE_CANTOPEN;
    copy->base.pMethods = &file_methods;
    copy->fd = copy_fd;
    if (ret_flags != NULL)
        *ret_flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    (void)vfs;
    (void)name;
    (void)sync;
    return SQLITE_READONLY;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
    (void)vfs;
    (void)name;
    (void)flags;
    *ret = 0; /* no journal and no WAL belong to the copy */
    return SQLITE_OK;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int bytes, char *out)
{
    (void)vfs;
    (void)snprintf(out, (size_t)bytes, "%s", name);
    return SQLITE_OK;
}

int mgc_sqlite_open_copy(int fd, sqlite3 **ret)
{
    static sqlite3_vfs vfs;
    sqlite3_vfs *system_vfs = sqlite3_vfs_find(NULL);
    int rc;

    if (system_vfs == NULL)
        return SQLITE_ERROR;
    if (vfs.zName == NULL) {
        vfs = *system_vfs; /* clock, randomness and sleep are the system's */
        vfs.pNext = NULL;
        vfs.szOsFile = sizeof(struct copy_file);
        vfs.zName = "mediagcfs-copy";
        vfs.xOpen = vfs_open;
        vfs.xDelete = vfs_delete;
        vfs.xAccess = vfs_access;
        vfs.xFullPathname = vfs_full_name;
        rc = sqlite3_vfs_register(&vfs, 0);
        if (rc != SQLITE_OK) {
            vfs.zName = NULL;
            return rc;
        }
    }
    copy_fd = fd;
    rc = sqlite3_open_v2("copy", ret, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, vfs.zName);
    return rc;
}
