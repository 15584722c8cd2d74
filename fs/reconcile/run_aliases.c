/*
 * run_aliases.c -- files that are reached under another path too (H6).
 *
 * An application may name a file by way of a symbolic link or of a second mount, and the mention
 * then does not look like the path we know.  So what has another path is kept, and the rest of a
 * run need not know about it.
 *
 *   A1  What a link of the tree leads to inside the tree is kept, a directory with everything
 *       beneath it, and so is the link.  Links are resolved as the application resolves them.
 *   A2  A link that leads nowhere, or out of the tree, keeps nothing.  Where it leads must be
 *       known for that: anything else ends the run.
 *   A3  Entries of one inode are all kept: a mount of a directory inside the tree shows its files
 *       twice with one link each.  Only candidates are compared.
 */
#include "fs/reconcile/run_priv.h"

#include <limits.h>
#include <sys/stat.h>

#include "mediagcfs/path.h"

/* The tree as it stands in the file system: the directory itself and where it is mounted. */
struct roots {
    struct place {
        char *path; /* resolved */
        dev_t dev;
        ino_t ino;
    } at[2];
    size_t count;
};
struct links {
    struct mgc_work *w;
    struct roots roots;
    int64_t directories;
};

static int add_root(struct roots *roots, const char *path, struct mgc_err *err)
{
    struct place place;
    struct stat st;

    place.path = realpath(path, NULL);
    if (place.path == NULL || stat(place.path, &st) < 0) {
        int code = errno;

        free(place.path);
        return mgc_err_say(err, MGC_E_INCOMPLETE, "could not resolve links of the tree '%s': %s",
                           MGC_SHOW(path), strerrordesc_np(code));
    }
    place.dev = st.st_dev;
    place.ino = st.st_ino;
    roots->at[roots->count++] = place;
    return 0;
}

/* Only where there are links at all. */
static int load_roots(struct links *l, struct mgc_err *err)
{
    const char *source = l->w->conf->filesystem.source;
    const char *mountpoint = l->w->conf->filesystem.mountpoint;
    int r;

    if (l->roots.count > 0)
        return 0;
    if (source == NULL)
        return mgc_err_say(err, MGC_E_CONFIG, "could not resolve links: no source is configured");
    r = add_root(&l->roots, source, err);
    if (r == 0 && mountpoint != NULL && strcmp(mountpoint, source) != 0)
        r = add_root(&l->roots, mountpoint, err);
    return r;
}

static const char *beneath(const char *path, const char *root)
{
    size_t bytes = strlen(root);

    if (bytes == 1) /* "/" */
        return path + 1;
    if (strncmp(path, root, bytes) != 0 || (path[bytes] != '\0' && path[bytes] != '/'))
        return NULL;
    return path[bytes] == '/' ? path + bytes + 1 : path + bytes;
}

/*
 * Finds the tree above a resolved path; the tree may have names besides those configured.
 * Returns 1 with the path inside the tree ("" for its root), 0: outside, or a negated errno.
 */
static int inside(const struct roots *roots, char *path, const char **ret_inside)
{
    struct stat st;

    for (size_t i = 0; i < roots->count; i++) {
        *ret_inside = beneath(path, roots->at[i].path);
        if (*ret_inside != NULL)
            return 1;
    }
    for (size_t end = strlen(path); end > 0; end--) {
        char cut = path[end];
        int r;

        if (cut != '/' && cut != '\0')
            continue;
        path[end] = '\0';
        r = stat(path, &st);
        path[end] = cut;
        if (r < 0)
            return -errno;
        for (size_t i = 0; i < roots->count; i++)
            if (st.st_dev == roots->at[i].dev && st.st_ino == roots->at[i].ino) {
                *ret_inside = cut == '/' ? path + end + 1 : path + end;
                return 1;
            }
    }
    return 0;
}

static int take_id(void *arg, const struct mgc_entry *entry)
{
    *(int64_t *)arg = entry->id;
    return 0;
}

static void mark(struct mgc_work *w, int64_t entry_id)
{
    struct mgc_record *record = mgc_work_record(w, entry_id);

    if (record != NULL)
        record->alias = true;
}

/* A target that is not recorded came or went a moment ago: then nothing old hangs on it. */
static int mark_target(struct links *l, const char *target, bool directory)
{
    struct mgc_catalog *c = l->w->catalog;
    struct mgc_dir dir;
    int64_t id = 0;
    uint32_t row;
    int r;

    if (!directory) {
        r = c->ops->entry_by_path(c, target, take_id, &id);
        if (r >= 0)
            mark(l->w, id);
        return r == -ENOENT || r >= 0 ? 0 : r;
    }
    l->directories++;
    r = c->ops->dir_find(c, target, &dir);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    row = mgc_dirs_find(&l->w->dirs, dir.id);
    if (row != MGC_NO_INDEX)
        l->w->dirs.rows[row].target = true;
    return 0;
}

static int not_told(const char *path, int code, struct mgc_err *err)
{
    (void)mgc_err_say(err, MGC_E_INCOMPLETE, "could not tell where link '%s' leads: %s",
                      MGC_SHOW(path), strerrordesc_np(code));
    (void)mgc_err_hint(err, "Repair or remove the link, or let the tree's owner reach its target: "
                            "files may be in use under its path.");
    return MGC_E_INCOMPLETE;
}

static int resolve(struct links *l, int64_t entry_id, const char *path, struct mgc_err *err)
{
    mgc_autobuf full = {0};
    mgc_autofree char *target = NULL;
    const char *in_tree;
    struct stat st;
    int r;

    mgc_buf_addf(&full, "%s/%s", l->roots.at[0].path, path);
    if (full.failed)
        return mgc_err_set(err, -ENOMEM, "could not resolve link '%s'", MGC_SHOW(path));
    target = realpath(full.data, NULL);
    if (target == NULL || stat(target, &st) < 0) {
        if (errno == ENOENT || errno == ENOTDIR) /* A2: nowhere */
            return 0;
        return not_told(path, errno, err);
    }
    r = inside(&l->roots, target, &in_tree);
    if (r < 0)
        return not_told(path, -r, err);
    if (r == 0)
        return 0;
    mark(l->w, entry_id);
    r = mark_target(l, in_tree, S_ISDIR(st.st_mode));
    return r < 0 ? mgc_err_set(err, r, "could not find the target of link '%s'", MGC_SHOW(path))
                 : 0;
}

static int link_row(void *arg, const struct mgc_entry *entry, struct mgc_err *err)
{
    struct links *l = arg;
    char path[MGC_PATH_BYTES_MAX + 1];
    int r;

    if (entry->kind != MGC_KIND_SYMLINK)
        return 0;
    r = mgc_catalog_entry_path(l->w->catalog, entry->dir_id, entry->name, path, sizeof(path));
    if (r == -ENOENT) /* its directory went meanwhile */
        return 0;
    if (r < 0)
        return mgc_err_set(err, r, "could not find link '%s'", MGC_SHOW(entry->name));
    r = load_roots(l, err);
    return r == 0 ? resolve(l, entry->id, path, err) : r;
}

int mgc_work_links(struct mgc_work *w, struct mgc_err *err)
{
    struct links l = {.w = w};
    int r = mgc_work_rows(w, link_row, &l, err);

    for (size_t i = 0; i < l.roots.count; i++)
        free(l.roots.at[i].path);
    if (r == 0 && l.directories > 0)
        mgc_work_notice(w,
                        "%lld links lead to directories of the tree: what lies beneath those is "
                        "kept",
                        (long long)l.directories);
    return r;
}

/* ---- entries of one inode ---- */

struct twin {
    struct mgc_file_id id;
    int64_t entry_id;
    size_t row;
};
struct twins {
    struct twin *rows; /* by inode number */
    size_t count;
    bool *shared;
};

static int by_ino(const void *a, const void *b)
{
    const struct twin *x = a, *y = b;

    return x->id.ino < y->id.ino ? -1 : x->id.ino > y->id.ino;
}

static size_t first_of(const struct twins *t, uint64_t ino)
{
    size_t low = 0, high = t->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->rows[middle].id.ino < ino)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Stamps of two kinds cannot be compared: then the number decides, which can only keep more. */
static bool may_be_one(const struct mgc_file_id *a, const struct mgc_file_id *b)
{
    return a->ino == b->ino && (a->kind != b->kind || a->stamp == b->stamp);
}

static int twin_row(void *arg, const struct mgc_entry *entry, struct mgc_err *err)
{
    struct twins *t = arg;

    (void)err;
    for (size_t i = first_of(t, entry->file_id.ino);
         i < t->count && t->rows[i].id.ino == entry->file_id.ino; i++)
        if (t->rows[i].entry_id != entry->id && may_be_one(&t->rows[i].id, &entry->file_id))
            t->shared[t->rows[i].row] = true;
    return 0;
}

int mgc_work_twins(struct mgc_work *w, const struct mgc_candidate *rows, size_t count,
                   bool *ret_shared, struct mgc_err *err)
{
    mgc_autofree struct twin *twins = calloc(count + 1, sizeof(*twins));
    struct twins t = {twins, count, ret_shared};

    if (twins == NULL)
        return mgc_err_set(err, -ENOMEM, "could not compare the candidates");
    for (size_t i = 0; i < count; i++)
        twins[i] = (struct twin){rows[i].id, rows[i].entry_id, i};
    qsort(twins, count, sizeof(*twins), by_ino);
    return mgc_work_rows(w, twin_row, &t, err);
}

int mgc_work_keep_twins(struct mgc_work *w, struct mgc_err *err)
{
    mgc_autofree bool *shared = NULL;
    int r;

    if (w->candidates_count == 0)
        return 0;
    shared = calloc(w->candidates_count, sizeof(*shared));
    if (shared == NULL)
        return mgc_err_set(err, -ENOMEM, "could not compare the candidates");
    r = mgc_work_twins(w, w->candidates, w->candidates_count, shared, err);
    for (size_t i = 0; r == 0 && i < w->candidates_count; i++) {
        struct mgc_record *record = mgc_work_record(w, w->candidates[i].entry_id);

        if (!shared[i])
            continue;
        if (record != NULL) {
            record->verdict = MGC_VERDICT_KEPT;
            record->why = MGC_WHY_ALIAS;
            record->counts = false;
        }
        w->run.candidates--;
        w->run.kept++;
        mgc_work_unmake_candidate(w, i);
    }
    mgc_work_settle_candidates(w);
    return r;
}
