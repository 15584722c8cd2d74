/*
 * tree_names.c -- making, removing and renaming names.
 *
 * Each takes the path lock of the names it changes, does one system call, and records the change
 * together with the new last known names (N4, T4).  The private directory can neither be made nor
 * replaced (T1).
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>

#include "fs/media/tree_priv.h"
#include "mediagcfs/assert.h"

struct making {
    const struct mgc_caller *caller;
    struct mgc_node *dir;
    const char *name;
    uint32_t mode; /* with the file type */
    uint64_t rdev;
    const char *target; /* of a symlink */
};

static int make_one(struct mgc_tree *t, const struct making *m)
{
    struct mgc_became was = mgc_caller_become(t, m->caller);
    mode_t mode = m->mode & ~was.mode_mask;
    int r;

    switch (m->mode & S_IFMT) {
    case S_IFDIR:
        r = mkdirat(m->dir->fd, m->name, mode & 07777);
        break;
    case S_IFLNK:
        r = symlinkat(m->target, m->dir->fd, m->name);
        break;
    default:
        r = mknodat(m->dir->fd, m->name, mode, m->rdev);
        break;
    }
    r = r < 0 ? -errno : 0;
    mgc_caller_return(&was);
    return r;
}

/* Only files and symlinks are entries; directories have rows of their own. */
static bool is_recorded(uint32_t type)
{
    return type == S_IFREG || type == S_IFLNK || type == S_IFDIR;
}

static void note_made(struct mgc_tree *t, const struct making *m)
{
    struct mgc_change change = {.kind = MGC_CHANGE_CREATE, .uid = m->caller->uid};

    if (!is_recorded(m->mode & S_IFMT) || t->os->stat(t->os, m->dir->fd, m->name, &change.stat) < 0)
        return;
    if ((m->mode & S_IFMT) == S_IFDIR)
        change.kind = MGC_CHANGE_MKDIR;
    mgc_names_lock(&t->nodes);
    mgc_tree_note(t, m->dir, m->name, &change);
    mgc_names_unlock(&t->nodes);
}

static int make(struct mgc_tree *t, const struct making *m, struct mgc_found *ret)
{
    struct mgc_pathlock lock;
    int r;

    if (mgc_tree_hides(t, m->dir, m->name))
        return -EPERM;
    lock = mgc_tree_lock(t, m->dir, m->name, MGC_PATHLOCK_EXCLUSIVE);
    r = make_one(t, m);
    if (r == 0) {
        note_made(t, m);
        r = mgc_tree_enter(t, m->dir, m->name, ret);
    }
    mgc_pathlock_drop(&lock);
    return r;
}

int mgc_tree_mknod(struct mgc_tree *t, const struct mgc_caller *caller, struct mgc_node *dir,
                   const char *name, uint32_t mode, uint64_t rdev, struct mgc_found *ret)
{
    struct making m = {.caller = caller, .dir = dir, .name = name, .mode = mode, .rdev = rdev};

    if ((mode & S_IFMT) == 0)
        m.mode |= S_IFREG;
    if (S_ISDIR(m.mode) || S_ISLNK(m.mode))
        return -EINVAL;
    return make(t, &m, ret);
}

int mgc_tree_mkdir(struct mgc_tree *t, const struct mgc_caller *caller, struct mgc_node *dir,
                   const char *name, uint32_t mode, struct mgc_found *ret)
{
    struct making m = {
        .caller = caller, .dir = dir, .name = name, .mode = (mode & 07777) | S_IFDIR};

    return make(t, &m, ret);
}

int mgc_tree_symlink(struct mgc_tree *t, const struct mgc_caller *caller, struct mgc_node *dir,
                     const char *name, const char *target, struct mgc_found *ret)
{
    struct making m = {
        .caller = caller, .dir = dir, .name = name, .mode = S_IFLNK | 0777, .target = target};

    return make(t, &m, ret);
}

/* ---- link ---- */

static int link_by_fd(const struct mgc_node *node, const struct mgc_node *dir, const char *name)
{
    char path[FD_PATH_BYTES];

    if (linkat(node->fd, "", dir->fd, name, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno != ENOENT)
        return -errno;
    /* Without CAP_DAC_READ_SEARCH that is the answer; the long way asks for less. */
    return linkat(AT_FDCWD, mgc_fd_path(path, node->fd), dir->fd, name, AT_SYMLINK_FOLLOW) < 0
               ? -errno
               : 0;
}

static void note_link(struct mgc_tree *t, const struct mgc_node *node, struct mgc_node *dir,
                      const char *name)
{
    struct mgc_change change = {.kind = MGC_CHANGE_LINK, .uid = (uint32_t)-1};

    if (!is_recorded(node->type) || t->os->stat(t->os, dir->fd, name, &change.stat) < 0)
        return;
    /* The first name of a file made without one (O_TMPFILE): it comes into being here. */
    if (change.stat.nlink == 1) {
        change.kind = MGC_CHANGE_CREATE;
        change.uid = change.stat.uid;
    }
    mgc_names_lock(&t->nodes);
    mgc_tree_note(t, dir, name, &change);
    mgc_names_unlock(&t->nodes);
}

int mgc_tree_link(struct mgc_tree *t, struct mgc_node *node, struct mgc_node *dir, const char *name,
                  struct mgc_found *ret)
{
    struct mgc_pathlock lock;
    int r;

    if (mgc_tree_hides(t, dir, name))
        return -EPERM;
    lock = mgc_tree_lock(t, dir, name, MGC_PATHLOCK_EXCLUSIVE);
    r = mgc_node_use(&t->nodes, node);
    if (r == 0) {
        r = link_by_fd(node, dir, name);
        if (r == 0) {
            note_link(t, node, dir, name);
            r = mgc_tree_enter(t, dir, name, ret);
        }
        mgc_node_unuse(&t->nodes, node);
    }
    mgc_pathlock_drop(&lock);
    return r;
}

/* ---- unlink, rmdir ---- */

/* The node behind a name, if one is known: with a reference. */
static struct mgc_node *named(struct mgc_tree *t, const struct mgc_node *dir, const char *name,
                              struct stat *ret_st)
{
    if (fstatat(dir->fd, name, ret_st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0) {
        *ret_st = (struct stat){0};
        return NULL;
    }
    return mgc_node_ref(&t->nodes, ret_st->st_dev, ret_st->st_ino);
}

static int remove_name(struct mgc_tree *t, struct mgc_node *dir, const char *name, int flags)
{
    struct mgc_change change = {.kind =
                                    flags == AT_REMOVEDIR ? MGC_CHANGE_RMDIR : MGC_CHANGE_UNLINK};
    struct mgc_pathlock lock;
    struct mgc_node *node;
    struct stat st;
    int r;

    if (mgc_tree_hides(t, dir, name))
        return -ENOENT;
    lock = mgc_tree_lock(t, dir, name, MGC_PATHLOCK_EXCLUSIVE);
    node = named(t, dir, name, &st);
    r = unlinkat(dir->fd, name, flags) < 0 ? -errno : 0;
    if (r == 0) {
        mgc_names_lock(&t->nodes);
        mgc_tree_note(t, dir, name, &change);
        if (node != NULL)
            mgc_node_drop_name(&t->nodes, node, dir, name);
        mgc_names_unlock(&t->nodes);
    }
    mgc_pathlock_drop(&lock);
    if (node != NULL)
        mgc_node_unref(&t->nodes, node);
    return r;
}

int mgc_tree_unlink(struct mgc_tree *t, struct mgc_node *dir, const char *name)
{
    return remove_name(t, dir, name, 0);
}

int mgc_tree_rmdir(struct mgc_tree *t, struct mgc_node *dir, const char *name)
{
    return remove_name(t, dir, name, AT_REMOVEDIR);
}

/* ---- rename ---- */

struct place {
    struct mgc_node *dir;
    const char *name;
    struct mgc_node *node; /* known node at that place, with a reference, or NULL */
    struct stat st;        /* all zero: nothing there */
};

static void look(struct mgc_tree *t, struct place *p)
{
    p->node = named(t, p->dir, p->name, &p->st);
}

static void unlook(struct mgc_tree *t, struct place *p)
{
    if (p->node != NULL)
        mgc_node_unref(&t->nodes, mgc_steal(p->node));
}

static bool is_dir(const struct place *p)
{
    return S_ISDIR(p->st.st_mode);
}

/*
 * Both names exclusively, and the tree too when a directory is among them (H2).  What lies there
 * can change beneath the mount before the lock is held, so it is looked at again under it.
 */
static struct mgc_pathlock lock_places(struct mgc_tree *t, struct place *from, struct place *to)
{
    bool directory = false;

    for (;;) {
        struct mgc_pathlock lock =
            mgc_pathlock_two(t->locks, from->dir->dev, from->dir->ino, from->name, to->dir->dev,
                             to->dir->ino, to->name, directory);

        look(t, from);
        look(t, to);
        if (directory || (!is_dir(from) && !is_dir(to)))
            return lock;
        mgc_pathlock_drop(&lock);
        unlook(t, from);
        unlook(t, to);
        directory = true;
    }
}

static void note_rename(struct mgc_tree *t, const struct place *from, const struct place *to,
                        bool exchange)
{
    struct mgc_change change = {
        .kind = exchange ? MGC_CHANGE_EXCHANGE : MGC_CHANGE_RENAME,
        .directory = is_dir(from),
        .directory2 = exchange && is_dir(to),
    };
    char path2[MGC_PATH_BYTES_MAX + 1];

    if (t->os->stat(t->os, to->dir->fd, to->name, &change.stat) < 0)
        change.stat = (struct mgc_file_stat){.mode = from->st.st_mode};
    mgc_names_lock(&t->nodes);
    if (mgc_node_path(&t->nodes, to->dir, to->name, path2, sizeof(path2)) == 0) {
        change.path2 = path2;
        mgc_tree_note(t, from->dir, from->name, &change);
    } else {
        /* It went where no path reaches: what is left is that it is gone from here. */
        change.kind = change.directory ? MGC_CHANGE_RMDIR : MGC_CHANGE_UNLINK;
        mgc_tree_note(t, from->dir, from->name, &change);
    }
    if (exchange && to->node != NULL)
        mgc_node_set_name(&t->nodes, to->node, from->dir, from->name);
    else if (to->node != NULL)
        mgc_node_drop_name(&t->nodes, to->node, to->dir, to->name);
    if (from->node != NULL)
        mgc_node_set_name(&t->nodes, from->node, to->dir, to->name);
    mgc_names_unlock(&t->nodes);
}

int mgc_tree_rename(struct mgc_tree *t, struct mgc_node *dir, const char *name,
                    struct mgc_node *dir2, const char *name2, unsigned flags)
{
    struct place from = {.dir = dir, .name = name}, to = {.dir = dir2, .name = name2};
    struct mgc_pathlock lock;
    bool same;
    int r;

    if (mgc_tree_hides(t, dir, name))
        return -ENOENT;
    if (mgc_tree_hides(t, dir2, name2))
        return -EPERM;
    if ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0)
        return -EINVAL;
    lock = lock_places(t, &from, &to);
    /* Two names of one file: rename(2) does nothing and says so with 0. */
    same = from.st.st_ino != 0 && from.st.st_ino == to.st.st_ino && from.st.st_dev == to.st.st_dev;
    r = renameat2(dir->fd, name, dir2->fd, name2, flags) < 0 ? -errno : 0;
    if (r == 0 && !same)
        note_rename(t, &from, &to, (flags & RENAME_EXCHANGE) != 0);
    mgc_pathlock_drop(&lock);
    unlook(t, &from);
    unlook(t, &to);
    return r;
}
