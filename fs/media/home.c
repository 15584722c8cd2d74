/*
 * home.c -- our directory at the root of the media tree: identity, lock, high-water mark of ids.
 *
 *   H-A  Nothing is written before the directory is known to be ours: owned by us or root, and
 *        either with a valid `tree` or with nothing but the beginnings of one.
 *   H-B  `tree` is made last.  A start that was cut short is begun again; a directory that lost its
 *        `tree` later, and so has ids given or files held, is a conflict for an operator.
 *   H-C  `ids` never goes below what an earlier opening could have given (H11).  A missing or
 *        damaged one is an error, never a new beginning.
 */
#include "mediagcfs/home.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "fs/media/home_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

enum {
    LOCK_TRIES_MAX = 16, /* each needs somebody to replace the lock file meanwhile */
    HOME_MODE = 0700,
    FILE_MODE = 0600,
};
#define LOCK_NAME "lock"
#define SLOTS_NAME "slots"

/* ---- is it ours? ---- */

static int not_ours(struct mgc_err *err, const char *why)
{
    (void)mgc_err_say(err, MGC_E_CONFLICT, "could not use directory '" MGC_PRIVATE_DIR "': %s",
                      why);
    (void)mgc_err_hint(err, "If it belongs to another program, move it out of the media tree; if "
                            "it is ours and was damaged, restore it from a backup.");
    return MGC_E_CONFLICT;
}

/* Calls down on each name; 1 when all are among `known` (ends with NULL), 0 when not, or < 0. */
static int only_has(struct mgc_os *os, int dir_fd, const char *sub, const char *const known[])
{
    int fd = os->open_dir(os, dir_fd, sub);
    struct dirent *e;
    DIR *dir;
    int r = 1;

    if (fd < 0)
        return fd;
    dir = fdopendir(fd);
    if (dir == NULL) {
        r = -errno;
        (void)close(fd);
        return r;
    }
    while (r == 1 && (errno = 0, e = readdir(dir)) != NULL) {
        bool found = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;

        for (int i = 0; !found && known[i] != NULL; i++)
            found = strcmp(e->d_name, known[i]) == 0;
        if (!found)
            r = 0;
    }
    if (r == 1 && errno != 0)
        r = -errno;
    (void)closedir(dir);
    return r;
}

/* H-B: 1 when nothing but the beginnings of a home lie here, and no id was given yet. */
static int is_unfinished(struct mgc_os *os, int home_fd)
{
    static const char *const ours[] = {LOCK_NAME, SLOTS_NAME, "ids", "ids.new", "tree.new", NULL};
    static const char *const none[] = {NULL};
    int64_t next = 0;
    int r = only_has(os, home_fd, "", ours);

    if (r != 1)
        return r;
    r = only_has(os, home_fd, SLOTS_NAME, none);
    if (r != 1 && r != -ENOENT)
        return r == -ENOTDIR || r == -ELOOP ? 0 : r;
    r = mgc_home_ids_read(home_fd, &next);
    if (r == -ENOENT)
        return 1;
    return r == 0 ? next == 1 : (r <= MGC_E_LIMIT ? 0 : r);
}

/* H-A.  Returns 1: ours and whole.  0: ours, to be finished.  Else an error. */
static int recognise(struct mgc_os *os, int home_fd, struct mgc_err *err)
{
    struct mgc_file_stat st;
    char id[33];
    int r = os->stat(os, home_fd, "", &st);

    if (r < 0)
        return mgc_err_set(err, r, "could not inspect directory '" MGC_PRIVATE_DIR "'");
    if (st.uid != geteuid() && st.uid != 0) {
        (void)mgc_err_say(err, MGC_E_CONFLICT,
                          "could not use directory '" MGC_PRIVATE_DIR
                          "': it belongs to user %u, neither to us nor to root",
                          st.uid);
        return mgc_err_hint(err,
                            "If it is ours and its owner was changed, give it back with `chown -R "
                            "%u`; else move it out of the media tree.",
                            geteuid());
    }
    r = mgc_home_tree_read(home_fd, id);
    if (r == 0)
        return 1;
    if (r == MGC_E_VERSION)
        return mgc_err_say(err, r, "directory '" MGC_PRIVATE_DIR "' was made by a newer version");
    if (r == MGC_E_CORRUPT)
        return not_ours(err, "its file 'tree' is not one that we wrote");
    if (r == -ENOENT) {
        r = is_unfinished(os, home_fd);
        if (r == 0)
            return not_ours(err, "it has no file 'tree', but other content");
        if (r == 1)
            return 0;
    }
    return mgc_err_set(err, r, "could not read directory '" MGC_PRIVATE_DIR "'");
}

static int refuse_open(int r, struct mgc_err *err)
{
    if (r == -ENOTDIR || r == -ELOOP)
        return not_ours(err, "it is not a directory");
    (void)mgc_err_set(err, r, "could not open directory '" MGC_PRIVATE_DIR "'");
    if (r == -EACCES)
        (void)mgc_err_hint(err, "Only its owner may: run as root, or as the user who made it.");
    if (r == -EROFS)
        (void)mgc_err_hint(err, "The media tree is read-only: mount its filesystem read-write.");
    return r;
}

static int open_home(struct mgc_os *os, int root_fd, struct mgc_err *err)
{
    int fd = os->open_dir(os, root_fd, MGC_PRIVATE_DIR);

    if (fd == -ENOENT) {
        int r = os->mkdir(os, root_fd, MGC_PRIVATE_DIR, HOME_MODE);
        if (r < 0 && r != -EEXIST) /* somebody may have been faster: the lock decides */
            return refuse_open(r, err);
        fd = os->open_dir(os, root_fd, MGC_PRIVATE_DIR);
    }
    return fd >= 0 ? fd : refuse_open(fd, err);
}

/* ---- lock ---- */

static int busy(int fd, struct mgc_err *err)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    int64_t pid = 0;

    if (n > 0 && text[n - 1] == '\n')
        text[n - 1] = '\0';
    if (mgc_home_parse_id(text, &pid))
        (void)mgc_err_say(err, MGC_E_BUSY,
                          "could not lock the media tree: process %" PRId64 " has it", pid);
    else
        (void)mgc_err_say(err, MGC_E_BUSY, "could not lock the media tree: another process has it");
    (void)mgc_err_hint(err, "A daemon serves this tree, or an --offline command works on it: stop "
                            "it with `mediagcfs unmount`, or wait for its end.");
    return MGC_E_BUSY;
}

static int write_pid(int fd)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

    if (fchmod(fd, FILE_MODE) < 0 || ftruncate(fd, 0) < 0)
        return -errno;
    return pwrite(fd, text, (size_t)n, 0) == n ? 0 : -EIO;
}

/* The locked descriptor, or an error.  The pid is for the other one's message only. */
static int take_lock(int home_fd, struct mgc_err *err)
{
    for (int i = 0; i < LOCK_TRIES_MAX; i++) {
        mgc_autofd fd = openat(home_fd, LOCK_NAME,
                               O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, FILE_MODE);
        struct stat held, named;

        if (fd < 0) {
            int r = -errno;
            (void)mgc_err_set(err, r, "could not open '" MGC_PRIVATE_DIR "/" LOCK_NAME "'");
            if (r == -EROFS)
                (void)mgc_err_hint(err,
                                   "The media tree is read-only: mount its filesystem read-write.");
            return r;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            if (errno == EWOULDBLOCK)
                return busy(fd, err);
            return mgc_err_set(err, -errno, "could not lock the media tree");
        }
        if (fstat(fd, &held) < 0)
            return mgc_err_set(err, -errno, "could not lock the media tree");
        /* A lock on a file that was removed meanwhile excludes nobody. */
        if (fstatat(home_fd, LOCK_NAME, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            held.st_ino == named.st_ino && held.st_dev == named.st_dev) {
            (void)write_pid(fd); /* a full disk must not keep a daemon from starting */
            return mgc_fd_steal(&fd);
        }
    }
    return mgc_err_say(err, MGC_E_BUSY,
                       "could not lock the media tree: its lock file is replaced "
                       "again and again");
}

/* ---- opening ---- */

static int make_tree(struct mgc_home *home, struct mgc_err *err)
{
    unsigned char random[16];
    char id[33];
    int r = home->os->mkdir(home->os, home->home_fd, SLOTS_NAME, HOME_MODE);

    if (r < 0 && r != -EEXIST)
        return mgc_err_set(err, r, "could not make '" MGC_PRIVATE_DIR "/" SLOTS_NAME "'");
    r = mgc_home_ids_write(home->os, home->home_fd, 1, err);
    if (r < 0)
        return r;
    r = home->os->sync_dir(home->os, home->root_fd);
    if (r < 0)
        return mgc_err_set(err, r, "could not sync the root of the media tree");
    mgc_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        (void)snprintf(id + 2 * i, 3, "%02x", random[i]);
    r = mgc_home_tree_write(home->os, home->home_fd, id, err); /* H-B */
    if (r == 0)
        home->created = true;
    return r;
}

static int load_ids(struct mgc_home *home, struct mgc_err *err)
{
    int r = mgc_home_ids_read(home->home_fd, &home->reserved_id);

    if (r == 0) {
        home->opened_id = home->reserved_id;
        return 0;
    }
    if (r == MGC_E_VERSION)
        return mgc_err_say(err, r, "file '" MGC_PRIVATE_DIR "/ids' was written by a newer version");
    if (r != MGC_E_CORRUPT && r != -ENOENT)
        return mgc_err_set(err, r, "could not read file '" MGC_PRIVATE_DIR "/ids'");
    (void)mgc_err_say(err, MGC_E_CORRUPT, "could not read file '" MGC_PRIVATE_DIR "/ids': it is %s",
                      r == -ENOENT ? "gone" : "damaged");
    return mgc_err_hint(err,
                        "Restore it from a backup, or write the one line `at least N` into it, "
                        "N above every number in " MGC_PRIVATE_DIR "/" SLOTS_NAME
                        " and every id the catalog ever gave.");
}

static bool mount_of(int fd, uint64_t *ret_id)
{
    struct statx sx;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &sx) < 0 || !(sx.stx_mask & STATX_MNT_ID))
        return false;
    *ret_id = sx.stx_mnt_id;
    return true;
}

static int open_slots(struct mgc_home *home, struct mgc_err *err)
{
    struct mgc_file_stat root, slots;
    uint64_t root_mount, slots_mount;
    int fd = home->os->open_dir(home->os, home->home_fd, SLOTS_NAME);
    int r;

    if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP) {
        (void)mgc_err_say(err, MGC_E_CONFLICT,
                          "could not open directory '" MGC_PRIVATE_DIR "/" SLOTS_NAME "': it is %s",
                          fd == -ENOENT ? "gone" : "not a directory");
        return mgc_err_hint(err, "Held files lie there: restore it from a backup; if nothing was "
                                 "held, make it again with `mkdir -m 700`.");
    }
    if (fd < 0)
        return mgc_err_set(err, fd, "could not open directory '" MGC_PRIVATE_DIR "/slots'");
    home->slots_fd = fd;
    r = home->os->stat(home->os, home->root_fd, "", &root);
    if (r == 0)
        r = home->os->stat(home->os, fd, "", &slots);
    if (r < 0)
        return mgc_err_set(err, r, "could not inspect '" MGC_PRIVATE_DIR "/slots'");
    home->slots_elsewhere = root.dev != slots.dev;
    /* A bind mount has the same device, and no rename crosses it either. */
    if (mount_of(home->root_fd, &root_mount) && mount_of(fd, &slots_mount))
        home->slots_elsewhere |= root_mount != slots_mount;
    return 0;
}

/* A `chmod -R` of the tree may have opened it to others. */
static int protect(const struct mgc_home *home, struct mgc_err *err)
{
    struct stat st;

    if (fstat(home->home_fd, &st) == 0 && (st.st_mode & 07777) == HOME_MODE)
        return 0;
    if (fchmod(home->home_fd, HOME_MODE) < 0)
        return mgc_err_set(err, -errno, "could not protect directory '" MGC_PRIVATE_DIR "'");
    return 0;
}

/* With the lock held: nobody else changes anything here from now on. */
static int open_locked(struct mgc_home *home, struct mgc_err *err)
{
    int whole = recognise(home->os, home->home_fd, err), r;

    if (whole < 0)
        return whole;
    r = protect(home, err);
    if (r == 0 && whole == 0)
        r = make_tree(home, err);
    if (r < 0)
        return r;
    r = mgc_home_tree_read(home->home_fd, home->tree_id);
    if (r < 0)
        return mgc_err_set(err, r, "could not read '" MGC_PRIVATE_DIR "/tree'");
    r = load_ids(home, err);
    if (r < 0)
        return r;
    return open_slots(home, err);
}

int mgc_home_open(struct mgc_os *os, int root_fd, struct mgc_home *home, struct mgc_err *err)
{
    struct mgc_home h = {
        .os = os, .root_fd = root_fd, .home_fd = -1, .slots_fd = -1, .lock_fd = -1};
    int r;

    h.home_fd = open_home(os, root_fd, err);
    if (h.home_fd < 0)
        return h.home_fd;
    r = recognise(os, h.home_fd, err); /* H-A: before the lock file, which is already a change */
    if (r >= 0)
        r = h.lock_fd = take_lock(h.home_fd, err);
    if (r >= 0)
        r = open_locked(&h, err);
    if (r < 0) {
        mgc_home_close(&h);
        return r;
    }
    *home = h;
    return 0;
}

int mgc_home_reserve(struct mgc_home *home, int64_t up_to, struct mgc_err *err)
{
    int r;

    MGC_ASSERT(home->os != NULL);
    if (up_to < home->reserved_id)
        return 0;
    if (up_to == INT64_MAX)
        return mgc_err_say(err, MGC_E_LIMIT, "could not reserve ids: none are left");
    r = mgc_home_ids_write(home->os, home->home_fd, up_to + 1, err);
    if (r == 0)
        home->reserved_id = up_to + 1;
    return r;
}

int mgc_home_settle_ids(struct mgc_home *home, int64_t next_id, struct mgc_err *err)
{
    int r;

    MGC_ASSERT(home->os != NULL);
    if (next_id < home->opened_id) /* H-C */
        return mgc_err_say(err, MGC_E_CORRUPT,
                           "could not set the next id to %" PRId64 ": ids up to %" PRId64
                           " were given before",
                           next_id, home->opened_id - 1);
    if (next_id == home->reserved_id)
        return 0;
    r = mgc_home_ids_write(home->os, home->home_fd, next_id, err);
    if (r == 0)
        home->reserved_id = next_id;
    return r;
}

int mgc_home_check(struct mgc_home *home, struct mgc_err *err)
{
    char id[33] = "";
    int r;

    mgc_autofd fd = home->os->open_dir(home->os, home->root_fd, MGC_PRIVATE_DIR);
    r = fd < 0 ? fd : mgc_home_tree_read(fd, id);
    if (r == 0 && strcmp(id, home->tree_id) == 0)
        return 0;
    if (r == 0)
        (void)mgc_err_say(err, MGC_E_IDENTITY,
                          "the media tree is another one: its id is %s, it was %s", id,
                          home->tree_id);
    else
        (void)mgc_err_say(err, MGC_E_IDENTITY,
                          "could not tell which media tree this is: '" MGC_PRIVATE_DIR
                          "/tree' cannot be read: %s",
                          mgc_code_text(r));
    (void)mgc_err_hint(err, "Is its disk mounted?  Nothing is moved until the tree is the one it "
                            "was.");
    return MGC_E_IDENTITY;
}

int mgc_home_generation(struct mgc_home *home, int64_t *ret_count)
{
    int r = mgc_home_generation_read(home->home_fd, ret_count);

    if (r == -ENOENT)
        *ret_count = 0;
    return r == -ENOENT ? 0 : r;
}

int mgc_home_advance(struct mgc_home *home, int64_t count, struct mgc_err *err)
{
    return mgc_home_generation_write(home->os, home->home_fd, count, err);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void mgc_home_close(struct mgc_home *home)
{
    if (home->os == NULL)
        return;
    if (home->lock_fd >= 0) {
        (void)ftruncate(home->lock_fd, 0);
        (void)flock(home->lock_fd, LOCK_UN); /* also where a forked child still has it open */
    }
    close_fd(&home->lock_fd);
    close_fd(&home->slots_fd);
    close_fd(&home->home_fd);
    home->root_fd = -1;
    home->os = NULL;
}
