/* ops_names.c -- requests about names and attributes: translate, call, reply. */
#include <limits.h>

#include "fs/mount/mount_priv.h"

void mgc_op_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct mgc_found found = {.node = NULL};
    int r = mgc_tree_lookup(m->tree, mgc_mount_node(m, dir), name, &found);

    if (r == -ENOENT) {
        /* Number 0: the kernel may remember that there is nothing. */
        struct fuse_entry_param none = {.entry_timeout = m->cache_seconds};

        (void)fuse_reply_entry(req, &none);
        return;
    }
    mgc_mount_reply_entry(req, "lookup", r, &found);
}

void mgc_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
    struct mgc_mount *m = mgc_mount_of(req);

    mgc_tree_forget(m->tree, mgc_mount_node(m, ino), count);
    fuse_reply_none(req);
}

void mgc_op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct mgc_mount *m = mgc_mount_of(req);

    for (size_t i = 0; i < count; i++)
        mgc_tree_forget(m->tree, mgc_mount_node(m, forgets[i].ino), forgets[i].nlookup);
    fuse_reply_none(req);
}

void mgc_op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct mgc_attr attr;
    int r = mgc_tree_getattr(m->tree, mgc_mount_node(m, ino), &attr);

    (void)fi;
    mgc_mount_reply_attr(req, "getattr", r, &attr);
}

static struct mgc_setattr translate(const struct stat *attr, int valid)
{
    struct mgc_setattr set = {
        .mode = attr->st_mode,
        .uid = attr->st_uid,
        .gid = attr->st_gid,
        .size_bytes = attr->st_size,
        .atime = attr->st_atim,
        .mtime = attr->st_mtim,
    };

    if ((valid & FUSE_SET_ATTR_MODE) != 0)
        set.valid |= MGC_SET_MODE;
    if ((valid & FUSE_SET_ATTR_UID) != 0)
        set.valid |= MGC_SET_UID;
    if ((valid & FUSE_SET_ATTR_GID) != 0)
        set.valid |= MGC_SET_GID;
    if ((valid & FUSE_SET_ATTR_SIZE) != 0)
        set.valid |= MGC_SET_SIZE;
    if ((valid & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) != 0)
        set.valid |= MGC_SET_ATIME;
    if ((valid & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) != 0)
        set.valid |= MGC_SET_MTIME;
    if ((valid & FUSE_SET_ATTR_ATIME_NOW) != 0)
        set.atime.tv_nsec = UTIME_NOW;
    if ((valid & FUSE_SET_ATTR_MTIME_NOW) != 0)
        set.mtime.tv_nsec = UTIME_NOW;
    return set;
}

void mgc_op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid,
                    struct fuse_file_info *fi)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct mgc_setattr set = translate(attr, valid);
    struct mgc_attr now;
    int r = mgc_tree_setattr(m->tree, mgc_mount_node(m, ino),
                             fi != NULL ? mgc_mount_handle(fi) : NULL, &set, &now);

    mgc_mount_reply_attr(req, "setattr", r, &now);
}

void mgc_op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct mgc_mount *m = mgc_mount_of(req);
    char target[PATH_MAX + 1];
    int r = mgc_tree_readlink(m->tree, mgc_mount_node(m, ino), target, sizeof(target));

    if (r < 0)
        mgc_mount_reply(req, "readlink", r);
    else
        (void)fuse_reply_readlink(req, target);
}

void mgc_op_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct mgc_caller caller = mgc_mount_caller(req);
    struct mgc_found found;
    int r = mgc_tree_mknod(m->tree, &caller, mgc_mount_node(m, dir), name, mode, rdev, &found);

    mgc_mount_reply_entry(req, "mknod", r, &found);
}

void mgc_op_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct mgc_caller caller = mgc_mount_caller(req);
    struct mgc_found found;
    int r = mgc_tree_mkdir(m->tree, &caller, mgc_mount_node(m, dir), name, mode, &found);

    mgc_mount_reply_entry(req, "mkdir", r, &found);
}

void mgc_op_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct mgc_caller caller = mgc_mount_caller(req);
    struct mgc_found found;
    int r = mgc_tree_symlink(m->tree, &caller, mgc_mount_node(m, dir), name, target, &found);

    mgc_mount_reply_entry(req, "symlink", r, &found);
}

void mgc_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t dir, const char *name)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct mgc_found found;
    int r = mgc_tree_link(m->tree, mgc_mount_node(m, ino), mgc_mount_node(m, dir), name, &found);

    mgc_mount_reply_entry(req, "link", r, &found);
}

void mgc_op_unlink(fuse_req_t req, fuse_ino_t dir, const char *name)
{
    struct mgc_mount *m = mgc_mount_of(req);

    mgc_mount_reply(req, "unlink", mgc_tree_unlink(m->tree, mgc_mount_node(m, dir), name));
}

void mgc_op_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name)
{
    struct mgc_mount *m = mgc_mount_of(req);

    mgc_mount_reply(req, "rmdir", mgc_tree_rmdir(m->tree, mgc_mount_node(m, dir), name));
}

void mgc_op_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t dir2,
                   const char *name2, unsigned flags)
{
    struct mgc_mount *m = mgc_mount_of(req);
    int r = mgc_tree_rename(m->tree, mgc_mount_node(m, dir), name, mgc_mount_node(m, dir2), name2,
                            flags);

    mgc_mount_reply(req, "rename", r);
}

void mgc_op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct statvfs st;
    int r = mgc_tree_statfs(m->tree, mgc_mount_node(m, ino), &st);

    if (r < 0)
        mgc_mount_reply(req, "statfs", r);
    else
        (void)fuse_reply_statfs(req, &st);
}
