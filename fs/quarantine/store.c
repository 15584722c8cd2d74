/*
 * store.c -- the real files of our own: listing the slots, the manifest.
 *
 * The manifest is append-only.  Each append begins with a newline, so that a record cut short by a
 * full disk or a crash spoils no later one.
 */
#include "quarantine_priv.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

static const char manifest_name[] = "manifest";

static int real_list(struct mgc_store *s, int dir_fd, int (*each)(void *arg, const char *name),
                     void *arg)
{
    struct dirent *entry;
    DIR *dir;
    int r = 0;

    (void)s;
    mgc_autofd fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    dir = fdopendir(fd);
    if (dir == NULL)
        return -errno;
    (void)mgc_fd_steal(&fd); /* closedir() closes it */
    while (r == 0) {
        errno = 0;
        entry = readdir(dir);
        if (entry == NULL) {
            r = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = each(arg, entry->d_name);
    }
    (void)closedir(dir);
    return r;
}

static int write_all(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        bytes -= (size_t)n;
    }
    return 0;
}

static int real_append(struct mgc_store *s, int home_fd, const void *data, size_t bytes)
{
    int r;

    (void)s;
    mgc_autofd fd = openat(home_fd, manifest_name,
                           O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    r = write_all(fd, "\n", 1);
    if (r == 0)
        r = write_all(fd, data, bytes);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    /* The name may be new. */
    if (r == 0 && fsync(home_fd) < 0)
        r = -errno;
    return r;
}

static int real_read(struct mgc_store *s, int home_fd, struct mgc_buf *out)
{
    struct stat st;
    ssize_t n = 1;

    (void)s;
    mgc_autofd fd = openat(home_fd, manifest_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size > MGC_MANIFEST_BYTES_MAX)
        return MGC_E_LIMIT;
    while (n > 0) {
        char chunk[16384];

        n = read(fd, chunk, sizeof(chunk));
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            mgc_buf_add(out, chunk, (size_t)n);
        if (n < 0)
            n = 1;
    }
    return out->failed ? -ENOMEM : 0;
}

static int real_reset(struct mgc_store *s, int home_fd)
{
    (void)s;
    mgc_autofd fd = openat(home_fd, manifest_name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    return ftruncate(fd, 0) < 0 ? -errno : 0;
}

struct mgc_store *mgc_store_real(void)
{
    static struct mgc_store real = {
        .list = real_list, .append = real_append, .read = real_read, .reset = real_reset};

    return &real;
}
