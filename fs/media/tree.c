/*
 * tree.c -- the media tree by descriptor: life, look-up, attributes, marks.
 *
 *   T1  `.mediagcfs` at the root exists for nobody: not found, not listed, not to be made.
 *   T2  A name is looked up, made, removed or renamed under its path lock; a mark (H1) is set under
 *       the exclusive one and taken back only by whoever finds the inode under a live name.
 *   T3  Every request that names a node either counts as its user while it runs or is -ESTALE.
 *   T4  What was done is recorded before it is answered, in the order in which it was done (N4).
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "fs/media/tree_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

char *mgc_fd_path(char *out, int fd)
{
    (void)snprintf(out, FD_PATH_BYTES, "/proc/self/fd/%d", fd);
    return out;
}

int mgc_tree_new(const struct mgc_tree_spec *spec, struct mgc_tree **ret, struct mgc_err *err)
{
    int r;

    MGC_ASSERT(spec->os != NULL);
    MGC_ASSERT(spec->locks != NULL);
    mgc_autofree struct mgc_tree *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return mgc_err_set(err, -ENOMEM, "could not set up the inode table");
    mgc_autofd fd = openat(spec->root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return mgc_err_set(err, -errno, "could not open the root of the media tree");
    r = mgc_nodes_init(&t->nodes, fd);
    if (r < 0)
        return mgc_err_set(err, r, "could not set up the inode table");
    (void)mgc_fd_steal(&fd);
    t->os = spec->os;
    t->locks = spec->locks;
    t->recorder = spec->recorder;
    t->record = spec->record;
    t->record_arg = spec->arg;
    t->open_resolution_us = spec->open_resolution_us;
    t->switch_ids = geteuid() == 0;
    for (int i = 0; i < OPEN_STRIPES; i++)
        (void)pthread_mutex_init(&t->open_locks[i], NULL);
    (void)pthread_mutex_init(&t->handles_lock, NULL);
    *ret = mgc_steal(t);
    return 0;
}

void mgc_tree_free(struct mgc_tree *t)
{
    if (t == NULL)
        return;
    while (t->handles != NULL)
        mgc_tree_close(t, t->handles, NULL);
    mgc_nodes_done(&t->nodes);
    for (int i = 0; i < OPEN_STRIPES; i++)
        (void)pthread_mutex_destroy(&t->open_locks[i]);
    (void)pthread_mutex_destroy(&t->handles_lock);
    free(t);
}

struct mgc_pathlocks *mgc_tree_pathlocks(struct mgc_tree *t)
{
    return t->locks;
}

struct mgc_node *mgc_tree_root(struct mgc_tree *t)
{
    return t->nodes.root;
}

struct mgc_node *mgc_tree_ref(struct mgc_tree *t, uint64_t dev, uint64_t ino)
{
    return mgc_node_ref(&t->nodes, dev, ino);
}

void mgc_tree_unref(struct mgc_tree *t, struct mgc_node *node)
{
    mgc_node_unref(&t->nodes, node);
}

void mgc_tree_counts(struct mgc_tree *t, struct mgc_tree_counts *ret)
{
    struct mgc_tree_counts counts;

    (void)pthread_mutex_lock(&t->nodes.table);
    counts.nodes = (int64_t)t->nodes.count;
    counts.marked = (int64_t)t->nodes.marked;
    (void)pthread_mutex_unlock(&t->nodes.table);
    (void)pthread_mutex_lock(&t->handles_lock);
    counts.handles = t->handle_count;
    (void)pthread_mutex_unlock(&t->handles_lock);
    *ret = counts;
}

size_t mgc_tree_writers(struct mgc_tree *t, uint64_t *inos, size_t max)
{
    return mgc_node_writers(&t->nodes, inos, max);
}

bool mgc_tree_hides(const struct mgc_tree *t, const struct mgc_node *dir, const char *name)
{
    return dir == t->nodes.root && strcmp(name, MGC_PRIVATE_DIR) == 0;
}

struct mgc_pathlock mgc_tree_lock(struct mgc_tree *t, const struct mgc_node *dir, const char *name,
                                  enum mgc_pathlock_mode mode)
{
    return mgc_pathlock_take(t->locks, dir->dev, dir->ino, name, mode);
}

/* ---- recording ---- */

void mgc_tree_push(struct mgc_tree *t, struct mgc_change *change)
{
    change->time_us = t->os->now_us(t->os);
    if (t->recorder != NULL)
        mgc_recorder_push(t->recorder, change);
    else if (t->record != NULL)
        t->record(t->record_arg, change);
}

void mgc_tree_note(struct mgc_tree *t, struct mgc_node *dir, const char *name,
                   struct mgc_change *change)
{
    char path[MGC_PATH_BYTES_MAX + 1];

    if (mgc_node_path(&t->nodes, dir, name, path, sizeof(path)) < 0)
        return;
    change->path = path;
    mgc_tree_push(t, change);
    change->path = NULL;
}

void mgc_tree_note_node(struct mgc_tree *t, struct mgc_node *node, struct mgc_change *change)
{
    if (node->parent != NULL)
        mgc_tree_note(t, node->parent, node->name, change);
}

/* ---- look-up ---- */

void mgc_tree_fill(struct mgc_tree *t, struct mgc_node *node, const struct stat *st,
                   struct mgc_found *ret)
{
    bool volatile_attr;

    (void)pthread_mutex_lock(&t->nodes.table);
    volatile_attr = node->volatile_attr;
    (void)pthread_mutex_unlock(&t->nodes.table);
    *ret = (struct mgc_found){
        .node = node, .generation = node->generation, .attr = *st, .volatile_attr = volatile_attr};
}

int mgc_tree_enter_fd(struct mgc_tree *t, int fd, struct mgc_found *ret)
{
    struct mgc_node *node;
    struct stat st;

    if (fstatat(fd, "", &st, AT_EMPTY_PATH) < 0) {
        int r = -errno;

        (void)close(fd);
        return r;
    }
    node = mgc_node_insert(&t->nodes, fd, &st);
    if (node == NULL)
        return -ENOMEM;
    mgc_tree_fill(t, node, &st, ret);
    return 0;
}

int mgc_tree_enter(struct mgc_tree *t, struct mgc_node *dir, const char *name,
                   struct mgc_found *ret)
{
    struct mgc_node *node;
    struct mgc_found found;
    struct stat st;
    int fd, r;

    if (fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
        return -errno;
    node = mgc_node_find(&t->nodes, st.st_dev, st.st_ino);
    if (node != NULL) {
        mgc_tree_fill(t, node, &st, &found);
    } else {
        fd = openat(dir->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        r = mgc_tree_enter_fd(t, fd, &found);
        if (r < 0)
            return r;
    }
    mgc_names_lock(&t->nodes);
    mgc_node_set_name(&t->nodes, found.node, dir, name);
    mgc_names_unlock(&t->nodes);
    *ret = found;
    return 0;
}

int mgc_tree_lookup(struct mgc_tree *t, struct mgc_node *dir, const char *name,
                    struct mgc_found *ret)
{
    struct mgc_pathlock lock;
    int r;

    if (mgc_tree_hides(t, dir, name))
        return -ENOENT;
    lock = mgc_tree_lock(t, dir, name, MGC_PATHLOCK_SHARED);
    r = mgc_tree_enter(t, dir, name, ret);
    mgc_pathlock_drop(&lock);
    return r;
}

void mgc_tree_forget(struct mgc_tree *t, struct mgc_node *node, uint64_t count)
{
    mgc_node_forget(&t->nodes, node, count);
}

/* ---- attributes ---- */

static int get_attr(struct mgc_tree *t, struct mgc_node *node, struct mgc_attr *ret)
{
    struct mgc_found found;
    struct stat st;

    if (fstatat(node->fd, "", &st, AT_EMPTY_PATH) < 0)
        return -errno;
    mgc_tree_fill(t, node, &st, &found);
    *ret = (struct mgc_attr){.attr = found.attr, .volatile_attr = found.volatile_attr};
    return 0;
}

int mgc_tree_getattr(struct mgc_tree *t, struct mgc_node *node, struct mgc_attr *ret)
{
    int r = mgc_node_visible(&t->nodes, node);

    return r < 0 ? r : get_attr(t, node, ret);
}

static int set_mode(const struct mgc_node *node, uint32_t mode)
{
    char path[FD_PATH_BYTES];

    if (node->type == S_IFLNK)
        return -EOPNOTSUPP;
    return chmod(mgc_fd_path(path, node->fd), mode & 07777) < 0 ? -errno : 0;
}

static int set_size(const struct mgc_node *node, const struct mgc_handle *h, int64_t size_bytes)
{
    char path[FD_PATH_BYTES];
    int r;

    if (node->type != S_IFREG)
        return node->type == S_IFDIR ? -EISDIR : -EINVAL;
    /* The caller's right to write comes from the open file, which our own ids may not have. */
    if (h != NULL && h->fd >= 0 && h->flags != O_RDONLY)
        r = ftruncate(h->fd, size_bytes);
    else
        r = truncate(mgc_fd_path(path, node->fd), size_bytes);
    return r < 0 ? -errno : 0;
}

static int set_times(const struct mgc_node *node, const struct mgc_setattr *set)
{
    struct timespec times[2] = {set->atime, set->mtime};
    char path[FD_PATH_BYTES];

    if ((set->valid & MGC_SET_ATIME) == 0)
        times[0].tv_nsec = UTIME_OMIT;
    if ((set->valid & MGC_SET_MTIME) == 0)
        times[1].tv_nsec = UTIME_OMIT;
    if (utimensat(node->fd, "", times, AT_EMPTY_PATH) == 0)
        return 0;
    /* Kernels before 5.8 do not take a descriptor here; a link could not be named otherwise. */
    if (errno != EINVAL || node->type == S_IFLNK)
        return -errno;
    return utimensat(AT_FDCWD, mgc_fd_path(path, node->fd), times, 0) < 0 ? -errno : 0;
}

/* Owner before mode: chown(2) takes set-id bits away. */
static int set_all(const struct mgc_node *node, const struct mgc_handle *h,
                   const struct mgc_setattr *set)
{
    int r = 0;

    if ((set->valid & (MGC_SET_UID | MGC_SET_GID)) != 0) {
        uid_t uid = (set->valid & MGC_SET_UID) != 0 ? set->uid : (uid_t)-1;
        gid_t gid = (set->valid & MGC_SET_GID) != 0 ? set->gid : (gid_t)-1;

        if (fchownat(node->fd, "", uid, gid, AT_EMPTY_PATH) < 0)
            return -errno;
    }
    if ((set->valid & MGC_SET_MODE) != 0)
        r = set_mode(node, set->mode);
    if (r == 0 && (set->valid & MGC_SET_SIZE) != 0)
        r = set_size(node, h, set->size_bytes);
    if (r == 0 && (set->valid & (MGC_SET_ATIME | MGC_SET_MTIME)) != 0)
        r = set_times(node, set);
    return r;
}

static void note_attributes(struct mgc_tree *t, struct mgc_node *node)
{
    struct mgc_change change = {.kind = MGC_CHANGE_STAT};

    if (node->type != S_IFREG && node->type != S_IFLNK)
        return;
    if (t->os->stat(t->os, node->fd, "", &change.stat) < 0)
        return;
    mgc_names_lock(&t->nodes);
    mgc_tree_note_node(t, node, &change);
    mgc_names_unlock(&t->nodes);
}

int mgc_tree_setattr(struct mgc_tree *t, struct mgc_node *node, struct mgc_handle *handle,
                     const struct mgc_setattr *set, struct mgc_attr *ret)
{
    int r = mgc_node_use(&t->nodes, node);

    if (r < 0)
        return r;
    r = set_all(node, handle, set);
    if (r == 0)
        r = get_attr(t, node, ret);
    /* Also after a failure: a part may have been changed. */
    note_attributes(t, node);
    mgc_node_unuse(&t->nodes, node);
    return r;
}

int mgc_tree_readlink(struct mgc_tree *t, struct mgc_node *node, char *out, size_t out_bytes)
{
    ssize_t bytes;
    int r = mgc_node_use(&t->nodes, node);

    if (r < 0)
        return r;
    bytes = readlinkat(node->fd, "", out, out_bytes);
    if (bytes < 0)
        r = -errno;
    else if ((size_t)bytes >= out_bytes)
        r = -ENAMETOOLONG;
    else
        out[bytes] = '\0';
    mgc_node_unuse(&t->nodes, node);
    return r;
}

int mgc_tree_statfs(struct mgc_tree *t, struct mgc_node *node, struct statvfs *ret)
{
    struct statvfs st;

    (void)t;
    if (fstatvfs(node->fd, &st) < 0)
        return -errno;
    *ret = st;
    return 0;
}

/* ---- H1 ---- */

/* H3: a lease would show a writer that no handle shows, such as a mapping. */
static bool leases_work(struct mgc_tree *t, const struct mgc_file_stat *stat)
{
    struct mgc_node *node = mgc_node_ref(&t->nodes, stat->dev, stat->id.ino);
    char path[FD_PATH_BYTES];
    bool work = false;

    if (node == NULL)
        return true;
    {
        mgc_autofd fd = open(mgc_fd_path(path, node->fd), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        int r = fd < 0 ? -errno : t->os->lease_read(t->os, fd);

        if (r == 0)
            t->os->lease_drop(t->os, fd);
        work = r == 0 || r == -EAGAIN; /* -EAGAIN: it works, and the mover will see the writer */
    }
    mgc_node_unref(&t->nodes, node);
    return work;
}

int mgc_tree_hold(struct mgc_tree *t, const struct mgc_file_stat *stat)
{
    int r = mgc_node_mark(&t->nodes, stat->dev, stat->id.ino);

    if (r == -ENOENT)
        return 0;
    if (r == 1) {
        r = leases_work(t, stat) ? 0 : MGC_E_BUSY;
        if (r < 0)
            mgc_node_unmark(&t->nodes, stat->dev, stat->id.ino);
    }
    return r;
}

void mgc_tree_release(struct mgc_tree *t, const struct mgc_file_stat *stat)
{
    mgc_node_unmark(&t->nodes, stat->dev, stat->id.ino);
}
