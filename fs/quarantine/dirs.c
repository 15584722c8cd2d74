/*
 * dirs.c -- directories a restore needs and a purge leaves empty.
 *
 * Making: built under our own directory, given its owner there, and renamed into place, so that a
 * crash never leaves a directory of the wrong owner in the tree.  Each is durable before something
 * is put into it.
 *
 * Removing: a directory goes when it is empty, when nothing held belongs in it or beneath it, and
 * when its last change was ours.  That last change is told by its modification time: not later than
 * the moment a file purged from it became held (so the application has neither made nor removed
 * a name in it since), or what we noted on it when we removed a directory in it.  A directory the
 * application made again, or emptied itself, is newer and stays.  Doubt leaves an empty directory.
 */
#include "quarantine_priv.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

enum { DIR_MODE = 0755 };
static const char making[] = "making";
static const char emptied_key[] = "trusted.mediagcfs.emptied";

static int make_one(struct mgc_quarantine *q, const char *path, struct mgc_err *err)
{
    struct mgc_os *os = q->spec.os;
    int home = q->spec.home->home_fd, r;
    struct mgc_file_stat root, made;
    const char *leaf;

    mgc_autofd parent = mgc_open_parent(os, q->spec.home->root_fd, path, &leaf, err);
    if (parent < 0)
        return parent;
    r = os->stat(os, q->spec.home->root_fd, "", &root);
    if (r == 0)
        r = os->mkdir(os, home, making, DIR_MODE);
    if (r == 0 || r == -EEXIST) /* left by a crash: an empty directory of ours */
        r = os->chown(os, home, making, root.uid, root.gid);
    if (r == 0)
        r = os->rename_new(os, home, making, parent, leaf);
    if (r == -EEXIST) { /* the application was faster: that is the directory we need */
        (void)os->rmdir(os, home, making);
        return 0;
    }
    if (r == 0)
        r = os->sync_dir(os, parent);
    if (r == 0)
        r = os->sync_dir(os, home);
    if (r < 0)
        return mgc_err_set(err, r, "could not make directory '%s'", MGC_SHOW(path));
    if (os->stat(os, parent, leaf, &made) == 0)
        mgc_record(q, MGC_CHANGE_MKDIR, path, &made);
    return 0;
}

int mgc_dirs_make(struct mgc_quarantine *q, const char *path, struct mgc_err *err)
{
    struct mgc_os *os = q->spec.os;
    char dir[MGC_PATH_BYTES_MAX + 1];
    size_t bytes = mgc_path_dir_bytes(path);

    memcpy(dir, path, bytes + 1);
    for (size_t i = 1; i <= bytes; i++) {
        if (path[i] != '/')
            continue;
        dir[i] = '\0';
        mgc_autofd fd = os->open_dir(os, q->spec.home->root_fd, dir);
        int r = fd == -ENOENT ? make_one(q, dir, err) : fd;

        if (r < 0 && fd != -ENOENT)
            return mgc_err_set(err, r, "could not open directory '%s'", MGC_SHOW(dir));
        if (r < 0)
            return r;
        dir[i] = '/';
    }
    return 0;
}

/* ---- removing ---- */

struct emptied {
    char dir[MGC_PATH_BYTES_MAX + 1]; /* of a purged file; cut shorter on the way up */
    size_t keep_bytes;                /* directories up to this length hold something still */
    int64_t held_us;                  /* latest moment when one of its files became held */
};
struct walk {
    struct mgc_quarantine *q;
    struct emptied *dir;
    size_t count;
};

/* Length of the deepest directory that a and the directory of path b have in common. */
static size_t common_bytes(const char *a, const char *b)
{
    size_t i = 0, common = 0;

    for (; a[i] != '\0' && a[i] == b[i]; i++)
        if (a[i] == '/')
            common = i;
    if (a[i] == '\0' && b[i] == '/')
        common = i;
    return common;
}

static void spare(struct walk *w, const char *path)
{
    for (size_t i = 0; i < w->count; i++) {
        size_t common = common_bytes(w->dir[i].dir, path);

        if (common > w->dir[i].keep_bytes)
            w->dir[i].keep_bytes = common;
    }
}

/* Every held file keeps the directories of every path it may go to. */
static int spare_held(struct walk *w)
{
    struct mgc_catalog *c = w->q->spec.catalog;
    char home[MGC_PATH_BYTES_MAX + 1];
    int64_t after = 0;
    int r = MGC_HELD_PAGE;

    while (r == MGC_HELD_PAGE) {
        mgc_autorows rows = {0};

        r = c->ops->held_scan(c, after, MGC_HELD_PAGE, NULL, mgc_held_rows_add, &rows, NULL);
        if (r < 0)
            return r;
        for (size_t i = 0; i < rows.count; i++) {
            const struct mgc_held *held = &rows.row[i].held;

            spare(w, held->path);
            if (held->restore_to[0] != '\0')
                spare(w, held->restore_to);
            int known = mgc_held_home(w->q, held, home, sizeof(home));

            if (known < 0)
                return known;
            spare(w, home);
            after = held->id;
        }
    }
    return 0;
}

static void add_dir(struct walk *w, const char *path, int64_t held_us)
{
    size_t bytes = mgc_path_dir_bytes(path);
    struct emptied *e;

    if (bytes == 0)
        return;
    for (size_t i = 0; i < w->count; i++)
        if (strlen(w->dir[i].dir) == bytes && memcmp(w->dir[i].dir, path, bytes) == 0) {
            if (held_us > w->dir[i].held_us)
                w->dir[i].held_us = held_us;
            return;
        }
    e = &w->dir[w->count++];
    memcpy(e->dir, path, bytes);
    e->dir[bytes] = '\0';
    e->keep_bytes = 0;
    e->held_us = held_us;
}

static bool last_change_was_ours(struct mgc_os *os, int parent, const char *leaf,
                                 const struct mgc_file_stat *dir, int64_t held_us)
{
    char noted[32], want[32];
    int got;

    if (dir->mtime_us <= held_us)
        return true;
    (void)snprintf(want, sizeof(want), "%" PRId64, dir->mtime_us);
    got = os->get_xattr(os, parent, leaf, emptied_key, noted, sizeof(noted));
    return got > 0 && (size_t)got == strlen(want) && memcmp(noted, want, (size_t)got) == 0;
}

/* After we removed a name from `path`: notes its time, if the change before that was ours too. */
static void note_emptied(struct mgc_quarantine *q, const char *path)
{
    struct mgc_os *os = q->spec.os;
    struct mgc_file_stat dir;
    char text[32];
    const char *leaf;

    mgc_autofd parent = mgc_open_parent(os, q->spec.home->root_fd, path, &leaf, NULL);
    if (parent < 0 || os->stat(os, parent, leaf, &dir) < 0)
        return;
    (void)snprintf(text, sizeof(text), "%" PRId64, dir.mtime_us);
    (void)os->set_xattr(os, parent, leaf, emptied_key, text, strlen(text));
}

static int remove_one(struct mgc_quarantine *q, const struct emptied *e)
{
    struct mgc_os *os = q->spec.os;
    struct mgc_file_stat above, dir;
    struct mgc_pathlock lock;
    const char *leaf;
    int r;

    mgc_autofd parent = mgc_open_parent(os, q->spec.home->root_fd, e->dir, &leaf, NULL);
    if (parent < 0)
        return parent;
    r = os->stat(os, parent, "", &above);
    if (r < 0)
        return r;
    lock = mgc_pathlock_take(q->spec.locks, above.dev, above.id.ino, leaf, MGC_PATHLOCK_EXCLUSIVE);
    r = os->stat(os, parent, leaf, &dir);
    if (r == 0 && (!S_ISDIR(dir.mode) || !last_change_was_ours(os, parent, leaf, &dir, e->held_us)))
        r = -EBUSY;
    if (r == 0)
        r = os->rmdir(os, parent, leaf);
    mgc_pathlock_drop(&lock);
    if (r == 0)
        mgc_record(q, MGC_CHANGE_RMDIR, e->dir, &dir);
    return r;
}

static void walk_up(struct mgc_quarantine *q, struct emptied *e, struct mgc_notices *notices)
{
    while (strlen(e->dir) > e->keep_bytes && e->dir[0] != '\0') {
        size_t above = mgc_path_dir_bytes(e->dir);
        struct mgc_file_stat before = {0};
        char up[MGC_PATH_BYTES_MAX + 1];
        bool ours = false;

        memcpy(up, e->dir, above);
        up[above] = '\0';
        if (above > 0) {
            const char *leaf;
            mgc_autofd fd = mgc_open_parent(q->spec.os, q->spec.home->root_fd, up, &leaf, NULL);

            ours = fd >= 0 && q->spec.os->stat(q->spec.os, fd, leaf, &before) == 0 &&
                   last_change_was_ours(q->spec.os, fd, leaf, &before, e->held_us);
        }
        if (mgc_notices_reserve(notices, 1, NULL) < 0 || remove_one(q, e) < 0)
            return;
        mgc_notice_change(q, notices, e->dir, true);
        if (ours)
            note_emptied(q, up);
        e->dir[above] = '\0';
    }
}

void mgc_dirs_remove_emptied(struct mgc_quarantine *q, const struct mgc_held_row *rows,
                             size_t count, struct mgc_notices *notices)
{
    mgc_autofree struct emptied *dirs = calloc(count + 1, sizeof(*dirs));
    char home[MGC_PATH_BYTES_MAX + 1];
    struct walk w = {.q = q, .dir = dirs};

    if (dirs == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        if (rows[i].code == 0 && mgc_held_home(q, &rows[i].held, home, sizeof(home)) == 0)
            add_dir(&w, home, rows[i].held.held_us);
    if (w.count == 0 || spare_held(&w) < 0)
        return;
    for (size_t i = 0; i < w.count; i++)
        walk_up(q, &w.dir[i], notices);
}
