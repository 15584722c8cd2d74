/*
 * os.c -- the real kernel behind struct mgc_os (os.h).
 *
 * O1  A name is one component: whatever holds a slash or is "." or ".." is -EINVAL, so that no
 *     string from outside can walk (G10).  Links are never followed.
 * O2  What the kernel cannot promise is an error, never a weaker form of the call.
 * O3  An identity with an unknown part is MGC_ID_NONE, which equals nothing (H10).
 */
#include "mediagcfs/os.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/bytes.h"
#include "mediagcfs/path.h"

enum {
    PROC_PATH_BYTES = 32 + MGC_NAME_BYTES_MAX, /* "/proc/self/fd/<int>/<name>" */
    OPEN_TRIES_MAX = 16,                       /* openat2 may ask for another try */
    BOOT_ID_BYTES = 36,
};

/* 0, or the negated errno of a call that says -1. */
static int result(int returned)
{
    return returned < 0 ? -errno : 0;
}

static int check_name(const char *name)
{
    size_t bytes = strlen(name);

    if (bytes == 0 || strchr(name, '/') != NULL || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0)
        return -EINVAL;
    return bytes > MGC_NAME_BYTES_MAX ? -ENAMETOOLONG : 0;
}

bool mgc_file_id_equal(const struct mgc_file_id *a, const struct mgc_file_id *b)
{
    return a->kind != MGC_ID_NONE && a->kind == b->kind && a->ino == b->ino && a->ino != 0 &&
           a->stamp == b->stamp;
}

static int64_t stamp_us(const struct statx_timestamp *t)
{
    return t->tv_sec * INT64_C(1000000) + t->tv_nsec / 1000;
}

/*
 * The generation is asked of an open file, so it counts only if that file is still the one whose
 * status was read; 0 is what a filesystem without generations answers.
 */
static void identify_by_generation(int dir_fd, const char *name, struct mgc_file_stat *s)
{
    unsigned long answer = 0; /* declared as long, written as 32 bits */
    uint32_t generation;
    struct stat now;

    if (!S_ISREG(s->mode) && !S_ISDIR(s->mode))
        return;
    mgc_autofd fd = name[0] == '\0'
                        ? fcntl(dir_fd, F_DUPFD_CLOEXEC, 0)
                        : openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &now) < 0 || now.st_ino != s->id.ino || now.st_dev != s->dev)
        return;
    if (ioctl(fd, FS_IOC_GETVERSION, &answer) < 0)
        return;
    memcpy(&generation, &answer, sizeof(generation));
    if (generation == 0)
        return;
    s->id.kind = MGC_ID_GENERATION;
    s->id.stamp = generation;
}

static int real_stat(struct mgc_os *os, int dir_fd, const char *name,
                     struct mgc_file_stat *ret_stat)
{
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
    struct statx x;
    struct mgc_file_stat s;
    int64_t birth_ns;
    int r = name[0] == '\0' ? 0 : check_name(name);

    (void)os;
    if (r < 0)
        return r;
    if (name[0] == '\0')
        flags |= AT_EMPTY_PATH;
    if (statx(dir_fd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &x) < 0)
        return -errno;
    s = (struct mgc_file_stat){
        .id = {.ino = x.stx_ino},
        .dev = makedev(x.stx_dev_major, x.stx_dev_minor),
        .mode = x.stx_mode,
        .uid = x.stx_uid,
        .gid = x.stx_gid,
        .nlink = x.stx_nlink,
        .size_bytes = (int64_t)x.stx_size,
        .mtime_us = stamp_us(&x.stx_mtime),
        .ctime_us = stamp_us(&x.stx_ctime),
    };
    if ((x.stx_mask & STATX_BTIME) != 0 && (x.stx_btime.tv_sec != 0 || x.stx_btime.tv_nsec != 0) &&
        !__builtin_mul_overflow(x.stx_btime.tv_sec, INT64_C(1000000000), &birth_ns) &&
        !__builtin_add_overflow(birth_ns, x.stx_btime.tv_nsec, &birth_ns)) {
        s.id.kind = MGC_ID_BIRTH;
        s.id.stamp = birth_ns;
    } else
        identify_by_generation(dir_fd, name, &s);
    *ret_stat = s;
    return 0;
}

static int real_open_dir(struct mgc_os *os, int root_fd, const char *path)
{
    struct open_how how = {
        .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };

    (void)os;
    /* EAGAIN: a rename elsewhere made the kernel unsure whether it stayed beneath the root. */
    for (int tries = 0; tries < OPEN_TRIES_MAX; tries++) {
        long fd = syscall(SYS_openat2, root_fd, path[0] == '\0' ? "." : path, &how, sizeof(how));

        if (fd >= 0)
            return (int)fd;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
    }
    return -EAGAIN;
}

static int regular(const struct stat *s)
{
    if (S_ISREG(s->st_mode))
        return 0;
    if (S_ISDIR(s->st_mode))
        return -EISDIR;
    return S_ISLNK(s->st_mode) ? -ELOOP : -EINVAL;
}

static int real_open_file(struct mgc_os *os, int dir_fd, const char *name)
{
    const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    struct stat s;
    int r = check_name(name);

    (void)os;
    if (r < 0)
        return r;
    /* Opening a device or a pipe may already do something: look first, and again at what it was. */
    if (fstatat(dir_fd, name, &s, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    r = regular(&s);
    if (r < 0)
        return r;
    mgc_autofd fd = openat(dir_fd, name, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM)
        fd = openat(dir_fd, name, flags);
    if (fd < 0 || fstat(fd, &s) < 0)
        return -errno;
    r = regular(&s);
    return r < 0 ? r : mgc_fd_steal(&fd);
}

/*
 * A broken lease is announced by a signal, SIGIO by default, which ends a process that does not
 * expect it.  SIGURG is ignored unless somebody asks for it, so this needs no state of the process.
 */
static int real_lease_read(struct mgc_os *os, int fd)
{
    (void)os;
    if (fcntl(fd, F_SETSIG, SIGURG) < 0)
        return -errno;
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0)
        return 0;
    /* EINVAL and ENOLCK: this filesystem or this kind of file has none. */
    return errno == EINVAL || errno == ENOLCK || errno == ENOTTY ? -EOPNOTSUPP : -errno;
}

static void real_lease_drop(struct mgc_os *os, int fd)
{
    (void)os;
    (void)fcntl(fd, F_SETLEASE, F_UNLCK); /* EAGAIN when it was never granted */
}

static int real_rename_new(struct mgc_os *os, int from_fd, const char *from, int to_fd,
                           const char *to)
{
    int r = check_name(from);

    (void)os;
    if (r == 0)
        r = check_name(to);
    if (r < 0)
        return r;
    if (renameat2(from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
        return 0;
    return errno == EINVAL || errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

static int real_mkdir(struct mgc_os *os, int dir_fd, const char *name, uint32_t mode)
{
    int r = check_name(name);

    (void)os;
    if (r < 0)
        return r;
    /* Private until its mode is what was asked for: umask and default ACLs have a say in mkdir. */
    if (mkdirat(dir_fd, name, S_IRWXU) < 0)
        return -errno;
    mgc_autofd fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fchmod(fd, (mode_t)(mode & 07777)) == 0)
        return 0;
    r = -errno;
    (void)unlinkat(dir_fd, name, AT_REMOVEDIR);
    return r;
}

static int real_chown(struct mgc_os *os, int dir_fd, const char *name, uint32_t uid, uint32_t gid)
{
    int r = check_name(name);

    (void)os;
    return r < 0 ? r : result(fchownat(dir_fd, name, uid, gid, AT_SYMLINK_NOFOLLOW));
}

static int real_unlink(struct mgc_os *os, int dir_fd, const char *name)
{
    int r = check_name(name);

    (void)os;
    return r < 0 ? r : result(unlinkat(dir_fd, name, 0));
}

static int real_rmdir(struct mgc_os *os, int dir_fd, const char *name)
{
    int r = check_name(name);

    (void)os;
    return r < 0 ? r : result(unlinkat(dir_fd, name, AT_REMOVEDIR));
}

static int proc_path(char *out, int dir_fd, const char *name)
{
    int r = check_name(name);

    if (r == 0)
        (void)snprintf(out, PROC_PATH_BYTES, "/proc/self/fd/%d/%s", dir_fd, name);
    return r;
}

/* Without /proc every file would seem to be missing, which is an answer that others act upon. */
static int xattr_error(int dir_fd, const char *name)
{
    int code = -errno;
    struct stat s;

    if (code == -ENOENT && fstatat(dir_fd, name, &s, AT_SYMLINK_NOFOLLOW) == 0)
        return -EIO;
    return code == -ENOTDIR ? -EBADF : code;
}

static int real_set_xattr(struct mgc_os *os, int dir_fd, const char *name, const char *key,
                          const void *value, size_t bytes)
{
    char path[PROC_PATH_BYTES];
    int r = proc_path(path, dir_fd, name);

    (void)os;
    if (r < 0)
        return r;
    return lsetxattr(path, key, value, bytes, 0) < 0 ? xattr_error(dir_fd, name) : 0;
}

static int real_get_xattr(struct mgc_os *os, int dir_fd, const char *name, const char *key,
                          void *out, size_t out_bytes)
{
    char path[PROC_PATH_BYTES];
    ssize_t got;
    int r = proc_path(path, dir_fd, name);

    (void)os;
    if (r < 0)
        return r;
    got = lgetxattr(path, key, out, out_bytes);
    return got < 0 ? xattr_error(dir_fd, name) : (int)got; /* at most XATTR_SIZE_MAX, 64 KiB */
}

static int real_remove_xattr(struct mgc_os *os, int dir_fd, const char *name, const char *key)
{
    char path[PROC_PATH_BYTES];
    int r = proc_path(path, dir_fd, name);

    (void)os;
    if (r < 0)
        return r;
    return lremovexattr(path, key) < 0 ? xattr_error(dir_fd, name) : 0;
}

static int real_sync_dir(struct mgc_os *os, int dir_fd)
{
    (void)os;
    return result(fsync(dir_fd));
}

static int64_t clock_us(clockid_t clock)
{
    struct timespec t;

    MGC_ASSERT(clock_gettime(clock, &t) == 0);
    return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static int64_t real_now_us(struct mgc_os *os)
{
    (void)os;
    return clock_us(CLOCK_REALTIME);
}

static int64_t real_boottime_us(struct mgc_os *os)
{
    (void)os;
    return clock_us(CLOCK_BOOTTIME);
}

static int real_boot_id(struct mgc_os *os, char *out, size_t out_bytes)
{
    char text[BOOT_ID_BYTES + 1] = "";
    ssize_t got;

    (void)os;
    if (out_bytes < sizeof(text))
        return -ERANGE;
    mgc_autofd fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    got = read(fd, text, BOOT_ID_BYTES);
    if (got < 0)
        return -errno;
    if (got != BOOT_ID_BYTES)
        return -EIO;
    memcpy(out, text, sizeof(text));
    return 0;
}

static struct mgc_os real = {
    .stat = real_stat,
    .open_dir = real_open_dir,
    .open_file = real_open_file,
    .lease_read = real_lease_read,
    .lease_drop = real_lease_drop,
    .rename_new = real_rename_new,
    .mkdir = real_mkdir,
    .chown = real_chown,
    .unlink = real_unlink,
    .rmdir = real_rmdir,
    .set_xattr = real_set_xattr,
    .get_xattr = real_get_xattr,
    .remove_xattr = real_remove_xattr,
    .sync_dir = real_sync_dir,
    .now_us = real_now_us,
    .boottime_us = real_boottime_us,
    .boot_id = real_boot_id,
};

struct mgc_os *mgc_os_real(void)
{
    return &real;
}

int64_t mgc_now_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

int64_t mgc_monotonic_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int mgc_open_parent(struct mgc_os *os, int root_fd, const char *path, const char **ret_leaf,
                    struct mgc_err *err)
{
    char dir[MGC_PATH_BYTES_MAX + 1];
    size_t bytes;
    int r = mgc_path_check(path);

    if (r < 0)
        return mgc_err_set(err, r, "could not use path '%s'", MGC_SHOW(path));
    bytes = mgc_path_dir_bytes(path);
    memcpy(dir, path, bytes);
    dir[bytes] = '\0';
    r = os->open_dir(os, root_fd, dir);
    if (r < 0)
        return mgc_err_set(err, r, "could not open directory '%s'", MGC_SHOW(dir));
    *ret_leaf = path + (bytes == 0 ? 0 : bytes + 1);
    return r;
}

void mgc_random(void *out, size_t bytes)
{
    char *p = out;

    while (bytes > 0) {
        ssize_t got = getrandom(p, bytes, 0);

        if (got < 0 && errno == EINTR)
            continue;
        MGC_ASSERT(got > 0); /* secrets and ids from anywhere else would be guessable */
        p += got;
        bytes -= (size_t)got;
    }
}
