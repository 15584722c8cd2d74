/* ops_dirs.c -- requests about open directories: translate, call, reply. */
#include "fs/mount/mount_priv.h"

/* A READDIRPLUS record is longer than this, so a reply of n bytes has at most n / 128 of them. */
enum { PLUS_BYTES_MIN = 128 };

struct filling {
    fuse_req_t req;
    struct mgc_mount *m;
    char *data;
    size_t bytes, used;
    struct mgc_node **given; /* looked up for this reply; NULL without plus */
    size_t given_count;
};

static struct mgc_dirhandle *dir_of(const struct fuse_file_info *fi)
{
    return (struct mgc_dirhandle *)(uintptr_t)fi->fh;
}

static bool fill(void *arg, const struct mgc_dirent *e)
{
    struct filling *f = arg;
    struct stat st = {.st_ino = e->ino, .st_mode = e->type};
    char *at = f->data + f->used;
    size_t left = f->bytes - f->used, need;

    if (f->given == NULL) {
        need = fuse_add_direntry(f->req, at, left, e->name, &st, e->next);
    } else {
        /* Number 0 for the dots: the kernel takes them as names only. */
        struct fuse_entry_param entry = {.attr = st};

        if (e->found != NULL)
            entry = mgc_mount_entry(f->m, e->found);
        need = fuse_add_direntry_plus(f->req, at, left, e->name, &entry, e->next);
    }
    if (need > left)
        return false;
    f->used += need;
    if (e->found != NULL)
        f->given[f->given_count++] = e->found->node;
    return true;
}

static void read_directory(fuse_req_t req, size_t bytes, off_t offset, struct fuse_file_info *fi,
                           bool plus)
{
    struct mgc_mount *m = mgc_mount_of(req);
    mgc_autofree char *data = malloc(bytes > 0 ? bytes : 1);
    mgc_autofree struct mgc_node **given = NULL;
    struct filling f = {.req = req, .m = m, .data = data, .bytes = bytes};
    int r = -ENOMEM;

    if (plus)
        f.given = given = calloc(bytes / PLUS_BYTES_MIN + 1, sizeof(struct mgc_node *));
    if (data != NULL && (!plus || given != NULL))
        r = mgc_tree_readdir(m->tree, dir_of(fi), offset, plus, fill, &f);
    if (r < 0) {
        mgc_mount_reply(req, "readdir", r);
        return;
    }
    if (fuse_reply_buf(req, data, f.used) < 0)
        for (size_t i = 0; i < f.given_count; i++)
            mgc_tree_forget(m->tree, given[i], 1);
}

void mgc_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct mgc_mount *m = mgc_mount_of(req);
    struct mgc_dirhandle *d;
    int r = mgc_tree_opendir(m->tree, mgc_mount_node(m, ino), &d);

    if (r < 0) {
        mgc_mount_reply(req, "opendir", r);
        return;
    }
    fi->fh = (uintptr_t)d;
    fi->keep_cache = 1;
    fi->cache_readdir = 1;
    if (fuse_reply_open(req, fi) < 0)
        mgc_tree_closedir(m->tree, d);
}

void mgc_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    mgc_tree_closedir(mgc_mount_of(req)->tree, dir_of(fi));
    mgc_mount_reply(req, "releasedir", 0);
}

void mgc_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset,
                    struct fuse_file_info *fi)
{
    (void)ino;
    read_directory(req, bytes, offset, fi, false);
}

void mgc_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t bytes, off_t offset,
                        struct fuse_file_info *fi)
{
    (void)ino;
    read_directory(req, bytes, offset, fi, true);
}

void mgc_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
    struct mgc_mount *m = mgc_mount_of(req);

    (void)ino;
    mgc_mount_reply(req, "fsyncdir", mgc_tree_fsyncdir(m->tree, dir_of(fi), data_only != 0));
}
