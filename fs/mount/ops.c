/*
 * ops.c -- replies, what the kernel is asked for, and the table of requests.
 *
 *   O1  Every request gets exactly one reply.
 *   O2  A reply that did not get through gives back what it would have given: look-ups, handles.
 */
#include "fs/mount/mount_priv.h"

#include "mediagcfs/assert.h"
#include "mediagcfs/log.h"

_Static_assert(sizeof(fuse_ino_t) >= sizeof(uintptr_t), "a node's address is its number");

struct mgc_mount *mgc_mount_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

struct mgc_node *mgc_mount_node(struct mgc_mount *m, fuse_ino_t ino)
{
    return ino == FUSE_ROOT_ID ? mgc_tree_root(m->tree) : (struct mgc_node *)(uintptr_t)ino;
}

fuse_ino_t mgc_mount_ino(struct mgc_mount *m, struct mgc_node *node)
{
    return node == mgc_tree_root(m->tree) ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
}

/* A full disk fails every request: one line a second is enough to be told. */
static void log_fault(const char *op, int r)
{
    enum { PAUSE_US = 1000000 };
    static _Atomic int64_t last_us;
    int64_t now = mgc_monotonic_us(), last = atomic_load(&last_us);

    if ((last != 0 && now - last < PAUSE_US) ||
        !atomic_compare_exchange_strong(&last_us, &last, now))
        return;
    mgc_log(MGC_LOG_WARNING, "could not serve a request '%s': %s", op, mgc_code_text(r));
}

void mgc_mount_reply(fuse_req_t req, const char *op, int r)
{
    MGC_ASSERT(r <= 0);
    if (mgc_code_is_fault(r))
        log_fault(op, r);
    (void)fuse_reply_err(req, mgc_code_to_errno(r));
}

struct fuse_entry_param mgc_mount_entry(struct mgc_mount *m, const struct mgc_found *found)
{
    return (struct fuse_entry_param){
        .ino = mgc_mount_ino(m, found->node),
        .generation = found->generation,
        .attr = found->attr,
        .attr_timeout = found->volatile_attr ? 0 : m->cache_seconds,
        .entry_timeout = m->cache_seconds,
    };
}

void mgc_mount_reply_entry(fuse_req_t req, const char *op, int r, const struct mgc_found *found)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct fuse_entry_param entry;

    if (r < 0) {
        mgc_mount_reply(req, op, r);
        return;
    }
    entry = mgc_mount_entry(m, found);
    if (fuse_reply_entry(req, &entry) < 0)
        mgc_tree_forget(m->tree, found->node, 1); /* O2 */
}

void mgc_mount_reply_attr(fuse_req_t req, const char *op, int r, const struct mgc_attr *attr)
{
    if (r < 0)
        mgc_mount_reply(req, op, r);
    else
        (void)fuse_reply_attr(req, &attr->attr,
                              attr->volatile_attr ? 0 : mgc_mount_of(req)->cache_seconds);
}

struct mgc_caller mgc_mount_caller(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);

    return (struct mgc_caller){.uid = ctx->uid, .gid = ctx->gid, .umask = ctx->umask};
}

/* ---- capabilities ---- */

static bool want(struct fuse_conn_info *conn, uint64_t flag, bool on)
{
#if MGC_FUSE_PASSTHROUGH /* the same version brought these */
    if (!on)
        fuse_unset_feature_flag(conn, flag);
    return on && fuse_set_feature_flag(conn, flag);
#else
    uint32_t bit = (uint32_t)flag;

    conn->want = on ? conn->want | (conn->capable & bit) : conn->want & ~bit;
    return (conn->want & bit) != 0;
#endif
}

static void ask_passthrough(struct mgc_mount *m, struct fuse_conn_info *conn)
{
#if MGC_FUSE_PASSTHROUGH
    if (m->conf->filesystem.passthrough != MGC_SWITCH_OFF &&
        want(conn, FUSE_CAP_PASSTHROUGH, true)) {
        /* Depth 1 lets the source lie on a stacked filesystem, at the price of stacking on us. */
        conn->max_backing_stack_depth = m->stacked_source ? 1 : 0;
        atomic_store(&m->passthrough, true);
    }
#else
    (void)m;
    (void)conn;
#endif
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    struct mgc_mount *m = userdata;
    /* Never: the write-back cache and KILLPRIV_V2 take from us what we must see (in passthrough the
     * set-id bits would stay), splicing gains nothing, locks are the kernel's own affair. */
    static const uint64_t off[] = {
        FUSE_CAP_WRITEBACK_CACHE,
        FUSE_CAP_HANDLE_KILLPRIV,
        FUSE_CAP_SPLICE_READ,
        FUSE_CAP_SPLICE_WRITE,
        FUSE_CAP_SPLICE_MOVE,
        FUSE_CAP_FLOCK_LOCKS,
        FUSE_CAP_POSIX_LOCKS,
        FUSE_CAP_POSIX_ACL,
        FUSE_CAP_EXPORT_SUPPORT,
#if MGC_FUSE_PASSTHROUGH
        FUSE_CAP_HANDLE_KILLPRIV_V2,
#endif
    };
    static const uint64_t on[] = {
        FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_READDIRPLUS,    FUSE_CAP_READDIRPLUS_AUTO,
        FUSE_CAP_DONT_MASK,       FUSE_CAP_CACHE_SYMLINKS, FUSE_CAP_ATOMIC_O_TRUNC,
        FUSE_CAP_ASYNC_READ,
    };

    for (size_t i = 0; i < ARRAY_SIZE(off); i++)
        (void)want(conn, off[i], false);
    for (size_t i = 0; i < ARRAY_SIZE(on); i++)
        (void)want(conn, on[i], true);
    ask_passthrough(m, conn);
    conn->max_write =
        atomic_load(&m->passthrough) ? MGC_MOUNT_WRITE_BYTES_PASSTHROUGH : MGC_MOUNT_WRITE_BYTES;
#if MGC_FUSE_PASSTHROUGH
    conn->no_interrupt = 1;
#endif
}

/*
 * Left out on purpose: access (default_permissions), flock and locks (local), the xattr calls
 * (answered ENOSYS once, which also spares a request before every write).
 */
const struct fuse_lowlevel_ops mgc_mount_ops = {
    .init = op_init,
    .lookup = mgc_op_lookup,
    .forget = mgc_op_forget,
    .forget_multi = mgc_op_forget_multi,
    .getattr = mgc_op_getattr,
    .setattr = mgc_op_setattr,
    .readlink = mgc_op_readlink,
    .mknod = mgc_op_mknod,
    .mkdir = mgc_op_mkdir,
    .unlink = mgc_op_unlink,
    .rmdir = mgc_op_rmdir,
    .symlink = mgc_op_symlink,
    .rename = mgc_op_rename,
    .link = mgc_op_link,
    .open = mgc_op_open,
    .create = mgc_op_create,
    .read = mgc_op_read,
    .write = mgc_op_write,
    .flush = mgc_op_flush,
    .release = mgc_op_release,
    .fsync = mgc_op_fsync,
    .opendir = mgc_op_opendir,
    .readdir = mgc_op_readdir,
    .readdirplus = mgc_op_readdirplus,
    .releasedir = mgc_op_releasedir,
    .fsyncdir = mgc_op_fsyncdir,
    .statfs = mgc_op_statfs,
    .fallocate = mgc_op_fallocate,
    .copy_file_range = mgc_op_copy_file_range,
    .lseek = mgc_op_lseek,
#if MGC_FUSE_TMPFILE
    .tmpfile = mgc_op_tmpfile,
#endif
};
