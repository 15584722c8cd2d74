/*
 * verify.c -- the catalog's picture of the tree, compared with the tree.
 *
 * The catalog itself is the list of what is to be visited: its directories are taken in the order
 * of their ids, and what see_dir finds in one gets a higher id and is reached later.  So nothing is
 * kept per directory here, depth costs no descriptor and no stack, and a directory that is renamed
 * during the walk is still visited, since its path is asked for when its turn comes.
 *
 *   W1  A directory is skipped only if its change time is the recorded one and lay 2 s or more
 *       before it was read (H9).  Its sub-directories have rows of their own and are visited.
 *   W2  Order within a directory: clock, status, names, then the recorder is drained, then rows are
 *       compared.  A name made or removed after it was read is in the rows by then, or see_dir asks
 *       the tree again while the store stands still.
 *   W3  Rows are found by path, names by descriptor.  Before the first row is touched, and with the
 *       store standing still, the path must lead to the descriptor's directory in the tree, and no
 *       rename of a directory may be on its way to the rows; else it is done again.
 *   W4  A directory that could not be read whole changes no row and makes the result incomplete.
 *   W5  INCOMPLETE is cleared only if nothing was missed since the beginning.
 */
#include "mediagcfs/verify.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "fs/media/recorder_priv.h"
#include "fs/media/verify_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/bytes.h"
#include "mediagcfs/path.h"

enum {
    SETTLED_US = 2 * 1000 * 1000, /* W1: more than any clock tick of a filesystem */
    PAGE = 256,                   /* directories fetched at a time */
    TRIES_MAX = 8,                /* visits of a directory that moves away each time */
    PROGRESS_US = 200 * 1000,
    DENTS_BYTES = 64 << 10,
};

/* What a visit came to; negative: the verification ends with it. */
enum { VISITED = 0, GONE = 1, MOVED = 2 };

struct page {
    struct mgc_dir dirs[PAGE]; /* names are not kept */
    int count;
};
struct walk {
    const struct mgc_verify_spec *spec;
    struct mgc_verify_result result;
    struct mgc_file_stat root;
    struct mgc_err problem; /* the first */
    int64_t misses;         /* W5 */
    bool was_incomplete;
    int64_t progress_us, names_read;
    struct mgc_buf names; /* of one directory, each with its NUL */
    struct mgc_seen_name *seen;
    size_t seen_count, seen_room;
    char dents[DENTS_BYTES] __attribute__((aligned(8)));
    char path[MGC_PATH_BYTES_MAX + 1];
    struct page page;
};

bool mgc_verify_unchanged(const struct mgc_dir *row, const struct mgc_file_stat *now)
{
    return row->changed_us != 0 && row->verified_us != 0 && now->ctime_us == row->changed_us &&
           row->verified_us - row->changed_us >= SETTLED_US;
}

static bool stopped(const struct walk *w)
{
    return w->spec->stop != NULL && __atomic_load_n(w->spec->stop, __ATOMIC_RELAXED);
}

/* W4 */
static int problem(struct walk *w, const char *path, int code)
{
    if (w->result.problems++ > 0)
        return VISITED;
    (void)mgc_err_set(&w->problem, code, "could not verify directory '%s'",
                      path[0] == '\0' ? "." : MGC_SHOW(path));
    w->problem.code = MGC_E_INCOMPLETE;
    (void)mgc_err_hint(&w->problem, "Nothing is moved until the whole tree could be verified: make "
                                    "it readable, or remove it, then run `mediagcfs scan`.");
    return VISITED;
}

static int drain(struct walk *w, struct mgc_err *err)
{
    return w->spec->recorder == NULL ? 0 : mgc_recorder_drain(w->spec->recorder, err);
}

static void tell_progress(struct walk *w)
{
    int64_t now_us;

    if (w->spec->progress == NULL)
        return;
    now_us = mgc_monotonic_us();
    if (now_us < w->progress_us)
        return;
    w->progress_us = now_us + PROGRESS_US;
    w->spec->progress(w->spec->arg, w->result.dirs, w->names_read);
}

/* ---- names of one directory ---- */

struct kernel_dirent {
    uint64_t ino;
    int64_t next;
    uint16_t bytes;
    uint8_t type;
    char name[];
};

static bool is_media(uint32_t mode)
{
    return S_ISREG(mode) || S_ISLNK(mode) || S_ISDIR(mode);
}

static bool is_wanted(const char *dir, const char *name, unsigned type)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    if (dir[0] == '\0' && strcmp(name, MGC_PRIVATE_DIR) == 0)
        return false;
    return type == DT_REG || type == DT_LNK || type == DT_DIR || type == DT_UNKNOWN;
}

static struct mgc_seen_name *seen_add(struct walk *w)
{
    if (w->seen_count == w->seen_room) {
        size_t room = w->seen_room == 0 ? 256 : 2 * w->seen_room;
        struct mgc_seen_name *grown = reallocarray(w->seen, room, sizeof(*grown));

        if (grown == NULL)
            return NULL;
        w->seen = grown;
        w->seen_room = room;
    }
    return &w->seen[w->seen_count++];
}

static int add_name(struct walk *w, int fd, const char *dir, const char *name)
{
    struct mgc_os *os = w->spec->os;
    struct mgc_file_stat stat;
    struct mgc_seen_name *seen;
    int r = os->stat(os, fd, name, &stat);

    if (r == -ENOENT)
        return 0; /* gone meanwhile */
    if (r < 0)
        return r;
    if (!is_media(stat.mode))
        return 0;
    if (strlen(dir) + 1 + strlen(name) > MGC_PATH_BYTES_MAX)
        return -ENAMETOOLONG; /* no path can name it: never a silent cut */
    seen = seen_add(w);
    if (seen == NULL)
        return -ENOMEM;
    seen->stat = stat;
    mgc_buf_add(&w->names, name, strlen(name) + 1);
    w->names_read += !S_ISDIR(stat.mode);
    return w->names.failed ? -ENOMEM : 0;
}

static int add_names(struct walk *w, int fd, const char *dir, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        const struct kernel_dirent *e = (const void *)(w->dents + at);
        int r = is_wanted(dir, e->name, e->type) ? add_name(w, fd, dir, e->name) : 0;

        if (r < 0)
            return r;
        MGC_ASSERT(e->bytes > 0);
        at += e->bytes;
    }
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct mgc_seen_name *left = a, *right = b;

    return strcmp(left->name, right->name);
}

/* Sorted, and each once: a directory that changes while it is read may show a name twice. */
static void sort_names(struct walk *w)
{
    const char *name = w->names.data;
    size_t kept = 0;

    for (size_t i = 0; i < w->seen_count; i++, name += strlen(name) + 1)
        w->seen[i].name = name;
    if (w->seen_count < 2)
        return;
    qsort(w->seen, w->seen_count, sizeof(*w->seen), by_name);
    for (size_t i = 1; i < w->seen_count; i++)
        if (strcmp(w->seen[kept].name, w->seen[i].name) != 0)
            w->seen[++kept] = w->seen[i];
    w->seen_count = kept + 1;
}

static int read_names(struct walk *w, int fd, const char *dir)
{
    long n;

    w->seen_count = 0;
    mgc_buf_clear(&w->names);
    while ((n = syscall(SYS_getdents64, fd, w->dents, sizeof(w->dents))) > 0) {
        int r = stopped(w) ? -ECANCELED : add_names(w, fd, dir, (size_t)n);

        if (r < 0)
            return r;
        tell_progress(w);
    }
    if (n < 0)
        return -errno;
    sort_names(w);
    return 0;
}

/* ---- one directory ---- */

struct place {
    struct walk *w;
    int fd;
    const char *path;
    struct mgc_file_stat stat;
    bool found;    /* W3: path was seen to lead to fd */
    int tree_code; /* what the tree answered that nobody can work with, or 0 */
};

/* W3: -ESTALE when the path leads elsewhere by now, or may do so in the catalog. */
static int find_place(struct place *p)
{
    struct mgc_os *os = p->w->spec->os;
    struct mgc_file_stat now;

    if (p->w->spec->recorder != NULL && mgc_recorder_moving(p->w->spec->recorder))
        return -ESTALE;

    mgc_autofd fd = os->open_dir(os, p->w->spec->root_fd, p->path);
    if (fd < 0)
        return -ESTALE;
    if (os->stat(os, fd, "", &now) < 0 || now.id.ino != p->stat.id.ino || now.dev != p->stat.dev)
        return -ESTALE;
    p->found = true;
    return 0;
}

static int look_again(void *arg, const char *name, struct mgc_file_stat *ret_stat)
{
    struct place *p = arg;
    struct mgc_os *os = p->w->spec->os;
    struct mgc_file_stat stat;
    int r = p->found ? 0 : find_place(p);

    if (r == 0 && !is_wanted(p->path, name, DT_UNKNOWN))
        r = -ENOENT;
    if (r == 0)
        r = os->stat(os, p->fd, name, &stat);
    if (r == 0 && !is_media(stat.mode))
        r = -ENOENT;
    if (r == 0)
        *ret_stat = stat;
    else if (r != -ENOENT && r != -ESTALE)
        p->tree_code = r;
    return r;
}

static int compare(struct place *p, int64_t read_us, struct mgc_err *err)
{
    struct mgc_catalog *c = p->w->spec->catalog;
    struct mgc_verify_result *sum = &p->w->result;
    struct mgc_seen_result one = {0};
    const struct mgc_seen_dir seen = {
        .path = p->path,
        .stat = p->stat,
        .read_us = read_us,
        .names = p->w->seen,
        .count = p->w->seen_count,
        .again = look_again,
        .arg = p,
    };
    int r = c->ops->see_dir(c, &seen, &one, err);

    if (r == -ESTALE)
        return MOVED;
    if (r < 0 && p->tree_code != 0)
        return problem(p->w, p->path, p->tree_code);
    if (r < 0)
        return r;
    sum->added += one.added;
    sum->removed += one.removed;
    sum->changed += one.changed;
    return VISITED;
}

/* row NULL: read it whatever its change time. */
static int visit(struct walk *w, const char *path, const struct mgc_dir *row, struct mgc_err *err)
{
    struct mgc_os *os = w->spec->os;
    struct place place = {.w = w, .path = path};
    int64_t read_us;
    int r;

    mgc_autofd fd = os->open_dir(os, w->spec->root_fd, path);
    if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
        return GONE;
    if (fd < 0)
        return problem(w, path, fd);
    place.fd = fd;
    read_us = os->now_us(os); /* W2 */
    r = os->stat(os, fd, "", &place.stat);
    if (r < 0)
        return problem(w, path, r);
    w->result.elsewhere += place.stat.dev != w->root.dev;
    if (row != NULL && !w->spec->everything && mgc_verify_unchanged(row, &place.stat)) {
        w->result.dirs_skipped++;
        return VISITED;
    }
    r = read_names(w, fd, path);
    if (r == -ECANCELED || r == -ENOMEM)
        return r;
    if (r == -ENOENT) /* what the kernel says of a directory that was removed while open */
        return GONE;
    if (r < 0)
        return problem(w, path, r);
    r = drain(w, err);
    return r < 0 ? r : compare(&place, read_us, err);
}

/*
 * A row has no directory in the tree, and no recorded change says so: it vanished beneath the
 * mount, or its parent was skipped.  The nearest directory that is there is read, and loses it.
 */
static int read_parent(struct walk *w, char *path, struct mgc_err *err)
{
    int r;

    do {
        path[mgc_path_dir_bytes(path)] = '\0';
        r = visit(w, path, NULL, err);
    } while (r == GONE && path[0] != '\0');
    return r == GONE ? problem(w, "", -ENOENT) : r;
}

static int visit_row(struct walk *w, const struct mgc_dir *row, struct mgc_err *err)
{
    struct mgc_catalog *c = w->spec->catalog;
    bool was_gone = false;

    w->result.dirs++;
    for (int i = 0; i < TRIES_MAX; i++) {
        int r = c->ops->dir_path(c, row->id, w->path, sizeof(w->path));

        if (r == -ENOENT)
            return 0; /* removed meanwhile */
        if (r == -ENAMETOOLONG)
            return problem(w, "(a path that is too long)", r);
        if (r < 0)
            return mgc_err_set(err, r, "could not read a directory's path from the catalog");
        r = visit(w, w->path, row, err);
        if (r < 0 || r == VISITED)
            return r;
        if (r == GONE && was_gone) {
            r = read_parent(w, w->path, err);
            if (r < 0)
                return r;
        }
        was_gone = r == GONE;
        r = drain(w, err); /* a rename may be on its way to the rows */
        if (r < 0)
            return r;
    }
    return problem(w, w->path, -ESTALE);
}

/* ---- all of them ---- */

static int keep_row(void *arg, const struct mgc_dir *dir)
{
    struct page *page = arg;

    page->dirs[page->count] = *dir;
    page->dirs[page->count].name = "";
    page->count++;
    return 0;
}

static int walk_all(struct walk *w, struct mgc_err *err)
{
    struct mgc_catalog *c = w->spec->catalog;
    int64_t after = 0;

    for (;;) {
        int r;

        w->page.count = 0;
        r = c->ops->scan_dirs(c, after, PAGE, keep_row, &w->page, err);
        if (r < 0)
            return r;
        if (w->page.count == 0)
            return 0;
        for (int i = 0; i < w->page.count; i++) {
            after = w->page.dirs[i].id;
            r = stopped(w) ? -ECANCELED : visit_row(w, &w->page.dirs[i], err);
            if (r < 0)
                return r;
            tell_progress(w);
        }
    }
}

/* Offline nothing records: nobody else sets what is cleared here. */
static int finish_alone(struct walk *w, struct mgc_err *err)
{
    struct mgc_catalog *c = w->spec->catalog;
    int r = c->ops->meta_set(c, MGC_META_VERIFIED, w->spec->os->now_us(w->spec->os), err);

    return r < 0 ? r : c->ops->meta_set(c, MGC_META_INCOMPLETE, 0, err);
}

static int finish(struct walk *w, struct mgc_err *err)
{
    struct mgc_catalog *c = w->spec->catalog;
    int64_t bytes;
    int r = c->ops->totals(c, &w->result.entries, &bytes);

    if (r < 0)
        return mgc_err_set(err, r, "could not count the entries of the catalog");
    if (w->result.problems > 0) {
        r = c->ops->meta_set(c, MGC_META_INCOMPLETE, 1, err);
        if (r < 0)
            return r;
        mgc_err_copy(err, &w->problem);
        return MGC_E_INCOMPLETE;
    }
    /* W5: somebody else set it. */
    if (!w->was_incomplete && mgc_catalog_meta(c, MGC_META_INCOMPLETE, 1) != 0)
        return mgc_err_say(err, MGC_E_INCOMPLETE,
                           "changes were missed while the tree was verified");
    if (w->spec->recorder == NULL)
        return finish_alone(w, err);
    return mgc_recorder_complete(w->spec->recorder, w->misses, w->spec->os->now_us(w->spec->os),
                                 err);
}

static int run(struct walk *w, struct mgc_err *err)
{
    struct mgc_recorder *recorder = w->spec->recorder;
    struct mgc_os *os = w->spec->os;
    int r = os->stat(os, w->spec->root_fd, "", &w->root);

    if (r < 0)
        return mgc_err_set(err, r, "could not inspect the root of the media tree");
    w->was_incomplete = mgc_catalog_meta(w->spec->catalog, MGC_META_INCOMPLETE, 1) != 0;
    if (recorder != NULL) {
        w->misses = mgc_recorder_misses(recorder);
        mgc_recorder_verifying(recorder, true);
    }
    r = drain(w, err); /* no batch that was cancelled out is on its way any more */
    if (r == 0)
        r = walk_all(w, err);
    if (r == 0)
        r = finish(w, err);
    if (recorder != NULL)
        mgc_recorder_verifying(recorder, false);
    return r;
}

int mgc_verify(const struct mgc_verify_spec *spec, struct mgc_verify_result *ret_result,
               struct mgc_err *err)
{
    struct walk *w = calloc(1, sizeof(*w));
    int r;

    if (w == NULL)
        return mgc_err_set(err, -ENOMEM, "could not verify the media tree");
    w->spec = spec;
    r = run(w, err);
    if (r == -ECANCELED)
        (void)mgc_err_say(err, r, "the verification was stopped");
    if (r == -ENOMEM)
        (void)mgc_err_set(err, r, "could not verify the media tree");
    if (r == 0 || r == MGC_E_INCOMPLETE)
        *ret_result = w->result;
    mgc_buf_done(&w->names);
    free(w->seen);
    free(w);
    return r;
}
