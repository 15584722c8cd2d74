/*
 * tree_dirs.c -- reading directories.
 *
 * Offsets are those of the backing filesystem, so a position stays good however long the reader
 * takes and whatever is made or removed meanwhile.
 */
#include <dirent.h>
#include <fcntl.h>

#include "fs/media/tree_priv.h"
#include "mediagcfs/assert.h"

struct mgc_dirhandle {
    struct mgc_node *node; /* the kernel keeps it while the handle is open */
    pthread_mutex_t lock;
    DIR *stream;   /* protected by lock */
    int64_t place; /* where the stream stands; protected by lock */
};

int mgc_tree_opendir(struct mgc_tree *t, struct mgc_node *dir, struct mgc_dirhandle **ret)
{
    mgc_autofree struct mgc_dirhandle *d = calloc(1, sizeof(*d));

    (void)t;
    if (d == NULL)
        return -ENOMEM;
    mgc_autofd fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    d->stream = fdopendir(fd);
    if (d->stream == NULL)
        return -errno;
    (void)mgc_fd_steal(&fd);
    d->node = dir;
    (void)pthread_mutex_init(&d->lock, NULL);
    *ret = mgc_steal(d);
    return 0;
}

void mgc_tree_closedir(struct mgc_tree *t, struct mgc_dirhandle *d)
{
    (void)t;
    (void)closedir(d->stream);
    (void)pthread_mutex_destroy(&d->lock);
    free(d);
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* 1: given, 0: no room, -ENOENT: it vanished meanwhile, or another error. */
static int give(struct mgc_tree *t, struct mgc_dirhandle *d, const struct dirent *e, bool plus,
                mgc_dirent_fn *each, void *arg)
{
    struct mgc_dirent entry = {
        .name = e->d_name, .ino = e->d_ino, .type = DTTOIF((uint32_t)e->d_type), .next = e->d_off};
    struct mgc_found found;
    int r;

    if (!plus || is_dots(e->d_name))
        return each(arg, &entry) ? 1 : 0;
    r = mgc_tree_lookup(t, d->node, e->d_name, &found);
    if (r < 0)
        return r;
    entry.ino = found.attr.st_ino;
    entry.type = found.attr.st_mode & S_IFMT;
    entry.found = &found;
    if (each(arg, &entry))
        return 1;
    mgc_tree_forget(t, found.node, 1);
    return 0;
}

static int read_on(struct mgc_tree *t, struct mgc_dirhandle *d, bool plus, mgc_dirent_fn *each,
                   void *arg)
{
    bool any = false;

    for (;;) {
        const struct dirent *e;
        int r;

        errno = 0;
        e = readdir(d->stream);
        if (e == NULL)
            return any ? 0 : -errno; /* an error is found again by the next call */
        if (mgc_tree_hides(t, d->node, e->d_name)) {
            d->place = e->d_off;
            continue;
        }
        r = give(t, d, e, plus, each, arg);
        if (r == 0 || (r < 0 && r != -ENOENT)) {
            d->place = -1; /* the stream stands behind what was not given */
            return r == 0 || any ? 0 : r;
        }
        d->place = e->d_off;
        any = true;
    }
}

int mgc_tree_readdir(struct mgc_tree *t, struct mgc_dirhandle *d, int64_t offset, bool plus,
                     mgc_dirent_fn *each, void *arg)
{
    int r;

    (void)pthread_mutex_lock(&d->lock);
    if (offset == 0 && d->place != 0)
        rewinddir(d->stream);
    else if (offset != d->place)
        seekdir(d->stream, offset);
    d->place = offset;
    r = read_on(t, d, plus, each, arg);
    (void)pthread_mutex_unlock(&d->lock);
    return r;
}

int mgc_tree_fsyncdir(struct mgc_tree *t, struct mgc_dirhandle *d, bool data_only)
{
    int fd = dirfd(d->stream);

    (void)t;
    return (data_only ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}
