/* ops_files.c -- requests about open files: translate, call, reply. */
#include "fs/mount/mount_priv.h"

#include "mediagcfs/log.h"

struct mgc_handle *mgc_mount_handle(const struct fuse_file_info *fi)
{
    return (struct mgc_handle *)(uintptr_t)fi->fh;
}

#if MGC_FUSE_PASSTHROUGH
static int backing_open(void *arg, int fd)
{
    fuse_req_t req = arg;
    int id = fuse_passthrough_open(req, fd);

    if (id <= 0 && atomic_exchange(&mgc_mount_of(req)->passthrough, false))
        mgc_log(MGC_LOG_WARNING, "the kernel refuses passthrough (it needs CAP_SYS_ADMIN and a "
                                 "filesystem that is not stacked): serving without it");
    return id > 0 ? id : -EOPNOTSUPP;
}

static void backing_close(void *arg, int id)
{
    (void)fuse_passthrough_close(arg, id);
}

/* Closing must stay possible after a refusal: ids given before it are still in use. */
static struct mgc_backing backing_of(fuse_req_t req)
{
    return (struct mgc_backing){.open = backing_open, .close = backing_close, .arg = req};
}
static bool may_pass(fuse_req_t req)
{
    return atomic_load(&mgc_mount_of(req)->passthrough);
}
#else
static int backing_open(void *arg, int fd)
{
    (void)arg;
    (void)fd;
    return -EOPNOTSUPP;
}
static void backing_close(void *arg, int id)
{
    (void)arg;
    (void)id;
}
static struct mgc_backing backing_of(fuse_req_t req)
{
    return (struct mgc_backing){.open = backing_open, .close = backing_close, .arg = req};
}
static bool may_pass(fuse_req_t req)
{
    (void)req;
    return false;
}
#endif

static void describe(struct mgc_mount *m, struct fuse_file_info *fi, struct mgc_node *node,
                     const struct mgc_opened *opened)
{
    fi->fh = (uintptr_t)opened->handle;
    fi->noflush = 1;
#if MGC_FUSE_PASSTHROUGH
    fi->backing_id = opened->backing_id;
#endif
    /* Attributes only: this takes no lock that the request could hold. */
    if (opened->attr_changed)
        (void)fuse_lowlevel_notify_inval_inode(m->session, mgc_mount_ino(m, node), -1, 0);
}

static void create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
                   struct fuse_file_info *fi)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct mgc_backing backing = backing_of(req);
    struct mgc_create c = {.caller = mgc_mount_caller(req), .mode = mode, .flags = fi->flags};
    struct fuse_entry_param entry;
    struct mgc_opened opened;
    struct mgc_found found;
    int r = mgc_tree_create(m->tree, mgc_mount_node(m, dir), name, &c,
                            may_pass(req) ? &backing : NULL, &found, &opened);

    if (r < 0) {
        mgc_mount_reply(req, "create", r);
        return;
    }
    entry = mgc_mount_entry(m, &found);
    opened.attr_changed = false; /* the reply says how long its attributes are good for */
    describe(m, fi, found.node, &opened);
    if (fuse_reply_create(req, &entry, fi) < 0) {
        mgc_tree_close(m->tree, opened.handle, &backing);
        mgc_tree_forget(m->tree, found.node, 1);
    }
}

void mgc_op_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode,
                   struct fuse_file_info *fi)
{
    create(req, dir, name, mode, fi);
}

void mgc_op_tmpfile(fuse_req_t req, fuse_ino_t dir, mode_t mode, struct fuse_file_info *fi)
{
    create(req, dir, NULL, mode, fi);
}

void mgc_op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct mgc_node *node = mgc_mount_node(m, ino);
    struct mgc_backing backing = backing_of(req);
    struct mgc_opened opened;
    int r = mgc_tree_open(m->tree, node, fi->flags, may_pass(req) ? &backing : NULL, &opened);

    if (r < 0) {
        mgc_mount_reply(req, "open", r);
        return;
    }
    describe(m, fi, node, &opened);
    if (fuse_reply_open(req, fi) < 0)
        mgc_tree_close(m->tree, opened.handle, &backing);
}

void mgc_op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mgc_backing backing = backing_of(req);

    (void)ino;
    mgc_tree_close(mgc_mount_of(req)->tree, mgc_mount_handle(fi), &backing);
    mgc_mount_reply(req, "release", 0);
}

void mgc_op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    mgc_mount_reply(req, "flush", mgc_tree_flush(mgc_mount_of(req)->tree, mgc_mount_handle(fi)));
}

void mgc_op_read(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset,
                 struct fuse_file_info *fi)
{
    struct mgc_mount *m = mgc_mount_of(req);
    mgc_autofree char *buffer = malloc(bytes > 0 ? bytes : 1);
    ssize_t got = -ENOMEM;

    (void)ino;
    if (buffer != NULL)
        got = mgc_tree_read(m->tree, mgc_mount_handle(fi), buffer, bytes, offset);
    if (got < 0)
        mgc_mount_reply(req, "read", (int)got);
    else
        (void)fuse_reply_buf(req, buffer, (size_t)got);
}

void mgc_op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t bytes, off_t offset,
                  struct fuse_file_info *fi)
{
    struct mgc_mount *m = mgc_mount_of(req);
    ssize_t put = mgc_tree_write(m->tree, mgc_mount_handle(fi), data, bytes, offset);

    (void)ino;
    if (put < 0)
        mgc_mount_reply(req, "write", (int)put);
    else
        (void)fuse_reply_write(req, (size_t)put);
}

void mgc_op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
    struct mgc_mount *m = mgc_mount_of(req);

    (void)ino;
    mgc_mount_reply(req, "fsync", mgc_tree_fsync(m->tree, mgc_mount_handle(fi), data_only != 0));
}

void mgc_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t bytes,
                      struct fuse_file_info *fi)
{
    struct mgc_mount *m = mgc_mount_of(req);

    (void)ino;
    mgc_mount_reply(req, "fallocate",
                    mgc_tree_fallocate(m->tree, mgc_mount_handle(fi), mode, offset, bytes));
}

void mgc_op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset,
                            struct fuse_file_info *from_fi, fuse_ino_t to, off_t to_offset,
                            struct fuse_file_info *to_fi, size_t bytes, int flags)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct mgc_copy copy = {
        .from = mgc_mount_handle(from_fi),
        .to = mgc_mount_handle(to_fi),
        .from_offset = from_offset,
        .to_offset = to_offset,
        .bytes = bytes,
        .flags = (unsigned)flags,
    };
    ssize_t copied = mgc_tree_copy(m->tree, &copy);

    (void)from;
    (void)to;
    if (copied < 0)
        mgc_mount_reply(req, "copy_file_range", (int)copied);
    else
        (void)fuse_reply_write(req, (size_t)copied);
}

void mgc_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
                  struct fuse_file_info *fi)
{
    struct mgc_mount *m = mgc_mount_of(req);
    int64_t at;
    int r = mgc_tree_seek(m->tree, mgc_mount_handle(fi), offset, whence, &at);

    (void)ino;
    if (r < 0)
        mgc_mount_reply(req, "lseek", r);
    else
        (void)fuse_reply_lseek(req, at);
}
