/*
 * tree_files.c -- open files.
 *
 *   F1  An inode's opens are all in passthrough, with one id, or all served from here: the kernel
 *       answers EIO to a mixture.  The counts that decide are kept under the node's open lock,
 *       over the call that makes the id.
 *   F2  Nothing of ours keeps a file open for writing on behalf of passthrough: the id is made of
 *       a descriptor opened for reading, and what a request needs is opened for that request (H3).
 *   F3  An inode with a set-id bit is never in passthrough: such writes must reach us (H16).
 *   F4  A writer's close is recorded before it stops counting as a writer.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "fs/media/tree_priv.h"
#include "mediagcfs/assert.h"

/*
 * Flags of the caller that make sense on the backing file.  Not O_APPEND: the kernel has put the
 * offset right, and pages of a mapping are written through any descriptor.  Not O_DIRECT: our
 * buffers are not aligned.
 */
enum { FLAGS_KEPT = O_ACCMODE | O_SYNC | O_DSYNC | O_NOATIME };

static bool writes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
}

static bool reads(int flags)
{
    return (flags & O_ACCMODE) != O_WRONLY;
}

static int reopen(const struct mgc_node *node, int flags)
{
    char path[FD_PATH_BYTES];
    int fd = open(mgc_fd_path(path, node->fd), flags | O_CLOEXEC | O_NOCTTY);

    return fd < 0 ? -errno : fd;
}

static pthread_mutex_t *open_lock(struct mgc_tree *t, const struct mgc_node *node)
{
    return &t->open_locks[(node->ino ^ (node->ino >> 8)) % OPEN_STRIPES];
}

/* ---- open modes (F1) ---- */

static int new_backing(const struct mgc_node *node, const struct mgc_backing *backing)
{
    struct stat st;

    if (backing == NULL || fstatat(node->fd, "", &st, AT_EMPTY_PATH) < 0 ||
        (st.st_mode & (S_ISUID | S_ISGID)) != 0)
        return 0;
    mgc_autofd fd = reopen(node, O_RDONLY | O_NONBLOCK);
    return fd < 0 ? 0 : backing->open(backing->arg, fd);
}

/* Counts one open more.  Returns the id, or 0: served from here. */
static int begin_open(struct mgc_tree *t, struct mgc_node *node, const struct mgc_backing *backing)
{
    pthread_mutex_t *lock = open_lock(t, node);
    int id = 0;

    (void)pthread_mutex_lock(lock);
    if (node->passthrough_opens > 0)
        id = node->backing_id;
    else if (node->cached_opens == 0)
        id = new_backing(node, backing);
    if (id > 0) {
        node->backing_id = id;
        node->passthrough_opens++;
    } else {
        id = 0;
        node->cached_opens++;
    }
    (void)pthread_mutex_unlock(lock);
    return id;
}

static void end_open(struct mgc_tree *t, struct mgc_node *node, bool passthrough,
                     const struct mgc_backing *backing)
{
    pthread_mutex_t *lock = open_lock(t, node);

    (void)pthread_mutex_lock(lock);
    if (!passthrough) {
        MGC_ASSERT(node->cached_opens > 0);
        node->cached_opens--;
    } else {
        MGC_ASSERT(node->passthrough_opens > 0);
        node->passthrough_opens--;
        if (node->passthrough_opens == 0) {
            /* Without a connection (backing NULL) the kernel has dropped it already. */
            if (backing != NULL)
                backing->close(backing->arg, node->backing_id);
            node->backing_id = 0;
        }
    }
    (void)pthread_mutex_unlock(lock);
}

/* ---- handles ---- */

static void list_handle(struct mgc_tree *t, struct mgc_handle *h)
{
    (void)pthread_mutex_lock(&t->handles_lock);
    h->next = t->handles;
    h->prev = &t->handles;
    if (h->next != NULL)
        h->next->prev = &h->next;
    t->handles = h;
    t->handle_count++;
    (void)pthread_mutex_unlock(&t->handles_lock);
}

static void unlist_handle(struct mgc_tree *t, struct mgc_handle *h)
{
    (void)pthread_mutex_lock(&t->handles_lock);
    *h->prev = h->next;
    if (h->next != NULL)
        h->next->prev = h->prev;
    t->handle_count--;
    (void)pthread_mutex_unlock(&t->handles_lock);
}

/* True when attributes that the kernel has cached must go (H17). */
static bool make_volatile(struct mgc_tree *t, struct mgc_node *node)
{
    bool changed;

    (void)pthread_mutex_lock(&t->nodes.table);
    changed = !node->volatile_attr;
    node->volatile_attr = true;
    (void)pthread_mutex_unlock(&t->nodes.table);
    return changed;
}

/*
 * Makes the handle.  fd: opened with `flags` when the file was created (taken in any case), or -1.
 * Call while the node is in use by this request.
 */
static int attach(struct mgc_tree *t, struct mgc_node *node, int flags, int fd,
                  const struct mgc_backing *backing, struct mgc_opened *ret)
{
    mgc_autofree struct mgc_handle *h = calloc(1, sizeof(*h));
    mgc_autofd own = fd;
    int id, r = 0;

    if (h == NULL)
        return -ENOMEM;
    id = begin_open(t, node, backing);
    if (id == 0 && own < 0) {
        own = r = reopen(node, flags & (FLAGS_KEPT | O_TRUNC));
    } else if (id > 0 && own < 0 && (flags & O_TRUNC) != 0) {
        own = r = reopen(node, O_WRONLY | O_TRUNC);
    }
    if (r < 0) {
        end_open(t, node, id > 0, backing);
        return r;
    }
    h->node = node;
    h->flags = flags & O_ACCMODE;
    h->passthrough = id > 0;
    h->writer = writes(flags);
    h->fd = h->passthrough ? -1 : mgc_fd_steal(&own);
    mgc_node_opened(&t->nodes, node, h->writer, h->flags == O_RDWR);
    *ret = (struct mgc_opened){.backing_id = id};
    if (h->passthrough && h->flags == O_RDWR)
        ret->attr_changed = make_volatile(t, node);
    list_handle(t, h);
    ret->handle = mgc_steal(h);
    return 0;
}

static void note_open(struct mgc_tree *t, struct mgc_node *node)
{
    struct mgc_change change = {.kind = MGC_CHANGE_OPEN};
    int64_t now = t->os->now_us(t->os), last = atomic_load(&node->opened_us);

    /* A clock set back must not silence what is opened from now on. */
    if (last != 0 && now >= last && now - last < t->open_resolution_us)
        return;
    atomic_store(&node->opened_us, now);
    mgc_names_lock(&t->nodes);
    mgc_tree_note_node(t, node, &change);
    mgc_names_unlock(&t->nodes);
}

int mgc_tree_open(struct mgc_tree *t, struct mgc_node *node, int flags,
                  const struct mgc_backing *backing, struct mgc_opened *ret)
{
    int r = mgc_node_use(&t->nodes, node);

    if (r < 0)
        return r;
    if (node->type != S_IFREG)
        r = node->type == S_IFDIR ? -EISDIR : -ENXIO;
    else
        r = attach(t, node, flags, -1, backing, ret);
    if (r == 0 && reads(flags))
        note_open(t, node);
    mgc_node_unuse(&t->nodes, node);
    return r;
}

static void note_write(struct mgc_tree *t, struct mgc_node *node)
{
    struct mgc_change change = {.kind = MGC_CHANGE_WRITE};

    if (t->os->stat(t->os, node->fd, "", &change.stat) < 0)
        return;
    mgc_names_lock(&t->nodes);
    mgc_tree_note_node(t, node, &change);
    mgc_names_unlock(&t->nodes);
}

void mgc_tree_close(struct mgc_tree *t, struct mgc_handle *h, const struct mgc_backing *backing)
{
    unlist_handle(t, h);
    if (h->fd >= 0)
        (void)close(h->fd);
    if (h->writer)
        note_write(t, h->node); /* F4 */
    end_open(t, h->node, h->passthrough, backing);
    mgc_node_closed(&t->nodes, h->node, h->writer);
    free(h);
}

/* ---- create ---- */

static int create_fd(struct mgc_tree *t, struct mgc_node *dir, const char *name,
                     const struct mgc_create *c)
{
    int flags = (c->flags & FLAGS_KEPT) | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
    struct mgc_became was = mgc_caller_become(t, &c->caller);
    mode_t mode = c->mode & 07777 & ~was.mode_mask;
    int fd;

    if (name != NULL)
        fd = openat(dir->fd, name, flags | O_CREAT | O_EXCL, mode);
    else
        fd = openat(dir->fd, ".", flags | O_TMPFILE | (c->flags & O_EXCL), mode);
    if (fd < 0)
        fd = -errno;
    mgc_caller_return(&was);
    return fd;
}

/* Node of the file just created as fd, its name and its record. */
static int enter_created(struct mgc_tree *t, struct mgc_node *dir, const char *name, int fd,
                         const struct mgc_create *c, struct mgc_found *ret)
{
    struct mgc_change change = {.kind = MGC_CHANGE_CREATE, .uid = c->caller.uid};
    char path[FD_PATH_BYTES];
    int r, path_fd = open(mgc_fd_path(path, fd), O_PATH | O_CLOEXEC);

    if (path_fd < 0)
        return -errno;
    r = mgc_tree_enter_fd(t, path_fd, ret);
    if (r < 0 || name == NULL)
        return r;
    r = t->os->stat(t->os, dir->fd, name, &change.stat);
    mgc_names_lock(&t->nodes);
    mgc_node_set_name(&t->nodes, ret->node, dir, name);
    if (r == 0)
        mgc_tree_note(t, dir, name, &change);
    mgc_names_unlock(&t->nodes);
    return 0;
}

/* It exists: it came beneath the mount, for the kernel looked the name up before. */
static int open_existing(struct mgc_tree *t, struct mgc_node *dir, const char *name,
                         const struct mgc_create *c, const struct mgc_backing *backing,
                         struct mgc_found *ret_found, struct mgc_opened *ret_opened)
{
    struct mgc_found found;
    int r = mgc_tree_lookup(t, dir, name, &found);

    if (r < 0)
        return r;
    r = found.node->type == S_IFLNK ? -ELOOP
                                    : mgc_tree_open(t, found.node, c->flags, backing, ret_opened);
    if (r < 0)
        mgc_tree_forget(t, found.node, 1);
    else
        *ret_found = found;
    return r;
}

int mgc_tree_create(struct mgc_tree *t, struct mgc_node *dir, const char *name,
                    const struct mgc_create *create, const struct mgc_backing *backing,
                    struct mgc_found *ret_found, struct mgc_opened *ret_opened)
{
    struct mgc_pathlock lock = {.set = NULL};
    struct mgc_found found;
    int fd, r;

    if (name != NULL && mgc_tree_hides(t, dir, name))
        return -EPERM;
    if (name != NULL)
        lock = mgc_tree_lock(t, dir, name, MGC_PATHLOCK_EXCLUSIVE);
    fd = create_fd(t, dir, name, create);
    r = fd < 0 ? fd : enter_created(t, dir, name, fd, create, &found);
    if (r == 0)
        r = mgc_node_use(&t->nodes, found.node);
    MGC_ASSERT(r != -ESTALE || fd < 0); /* T2: nobody can have marked what has just come */
    mgc_pathlock_drop(&lock);
    if (fd == -EEXIST && name != NULL && (create->flags & O_EXCL) == 0)
        return open_existing(t, dir, name, create, backing, ret_found, ret_opened);
    if (fd < 0)
        return r;
    if (r < 0) {
        (void)close(fd);
        return r;
    }
    r = attach(t, found.node, create->flags & ~O_TRUNC, fd, backing, ret_opened);
    mgc_node_unuse(&t->nodes, found.node);
    if (r < 0) {
        mgc_tree_forget(t, found.node, 1);
        return r;
    }
    mgc_tree_fill(t, found.node, &found.attr, ret_found);
    return 0;
}

/* ---- what comes by a handle ---- */

/* A descriptor for one request; own: to be closed after it (F2). */
struct lent {
    int fd;
    bool own;
};

static int lend(const struct mgc_handle *h, int access, struct lent *ret)
{
    *ret = (struct lent){.fd = h->fd, .own = false};
    if (h->fd >= 0)
        return 0;
    ret->fd = reopen(h->node, access | O_NONBLOCK);
    ret->own = ret->fd >= 0;
    return ret->fd < 0 ? ret->fd : 0;
}

static void take_back(const struct lent *l)
{
    if (l->own)
        (void)close(l->fd);
}

int mgc_tree_flush(struct mgc_tree *t, struct mgc_handle *h)
{
    int copy;

    (void)t;
    if (h->fd < 0 || h->flags == O_RDONLY)
        return 0;
    copy = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -errno;
    return close(copy) < 0 ? -errno : 0;
}

ssize_t mgc_tree_read(struct mgc_tree *t, struct mgc_handle *h, void *out, size_t bytes,
                      int64_t offset)
{
    struct lent l;
    ssize_t got;
    int r = lend(h, O_RDONLY, &l);

    (void)t;
    if (r < 0)
        return r;
    got = pread(l.fd, out, bytes, offset);
    if (got < 0)
        got = -errno;
    take_back(&l);
    return got;
}

ssize_t mgc_tree_write(struct mgc_tree *t, struct mgc_handle *h, const void *data, size_t bytes,
                       int64_t offset)
{
    struct lent l;
    ssize_t put;
    int r = lend(h, O_WRONLY, &l);

    (void)t;
    if (r < 0)
        return r;
    put = pwrite(l.fd, data, bytes, offset);
    if (put < 0)
        put = -errno;
    take_back(&l);
    return put;
}

int mgc_tree_fsync(struct mgc_tree *t, struct mgc_handle *h, bool data_only)
{
    struct lent l;
    int r = lend(h, O_RDONLY, &l);

    (void)t;
    if (r < 0)
        return r;
    r = (data_only ? fdatasync(l.fd) : fsync(l.fd)) < 0 ? -errno : 0;
    take_back(&l);
    return r;
}

int mgc_tree_fallocate(struct mgc_tree *t, struct mgc_handle *h, int mode, int64_t offset,
                       int64_t bytes)
{
    struct lent l;
    int r;

    (void)t;
    if (h->flags == O_RDONLY)
        return -EBADF;
    r = lend(h, O_WRONLY, &l);
    if (r < 0)
        return r;
    r = fallocate(l.fd, mode, offset, bytes) < 0 ? -errno : 0;
    take_back(&l);
    return r;
}

ssize_t mgc_tree_copy(struct mgc_tree *t, const struct mgc_copy *copy)
{
    off_t from_offset = copy->from_offset, to_offset = copy->to_offset;
    struct lent from, to;
    ssize_t copied;
    int r;

    (void)t;
    if (copy->to->flags == O_RDONLY)
        return -EBADF;
    r = lend(copy->from, O_RDONLY, &from);
    if (r < 0)
        return r;
    r = lend(copy->to, O_WRONLY, &to);
    if (r < 0) {
        take_back(&from);
        return r;
    }
    copied = copy_file_range(from.fd, &from_offset, to.fd, &to_offset, copy->bytes, copy->flags);
    if (copied < 0)
        copied = -errno;
    take_back(&to);
    take_back(&from);
    return copied;
}

int mgc_tree_seek(struct mgc_tree *t, struct mgc_handle *h, int64_t offset, int whence,
                  int64_t *ret_offset)
{
    struct lent l;
    off_t at;
    int r = lend(h, O_RDONLY, &l);

    (void)t;
    if (r < 0)
        return r;
    at = lseek(l.fd, offset, whence);
    r = at < 0 ? -errno : 0;
    take_back(&l);
    if (r == 0)
        *ret_offset = at;
    return r;
}
