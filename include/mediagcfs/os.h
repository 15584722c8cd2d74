/*
 * os.h -- the kernel behind a table, so that a test can be the kernel.
 *
 * Role     Every call that moves, creates or removes a name of the media tree on our own account
 *          (not on an application's), and every clock a decision rests on.
 * Layer    1.
 * Threads  The real table is stateless and safe to share.
 * Units    *_us: microseconds.  Names are single components; links are never followed.
 * Errors   Members return 0 or a negative errno.
 */
#ifndef MEDIAGCFS_OS_H
#define MEDIAGCFS_OS_H

#include <sys/types.h>

#include "mediagcfs/error.h"

/* What makes a file the same file later.  Device numbers change between boots: never stored. */
enum mgc_id_kind {
    MGC_ID_NONE,       /* neither birth time nor generation: nothing of this kind is moved */
    MGC_ID_BIRTH,      /* stamp: birth time, ns since 1970 */
    MGC_ID_GENERATION, /* stamp: inode generation */
};
struct mgc_file_id {
    uint64_t ino;
    int64_t stamp;
    enum mgc_id_kind kind;
};
/* False when a part is unknown on either side. */
bool mgc_file_id_equal(const struct mgc_file_id *a, const struct mgc_file_id *b);

struct mgc_file_stat {
    struct mgc_file_id id;
    uint64_t dev;  /* for comparisons within one process only */
    uint32_t mode; /* with the file type */
    uint32_t uid, gid;
    uint32_t nlink;
    int64_t size_bytes;
    int64_t mtime_us;
    int64_t ctime_us;
};

struct mgc_os {
    /* dir_fd/name, or dir_fd itself when name is "".  -ENOENT when there is none. */
    int (*stat)(struct mgc_os *os, int dir_fd, const char *name, struct mgc_file_stat *ret_stat);
    /*
     * Opens the directory `path` beneath root_fd ("" is the root itself) with O_RDONLY |
     * O_DIRECTORY | O_CLOEXEC and openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
     * RESOLVE_NO_MAGICLINKS).  Returns a descriptor or a negative errno.
     */
    int (*open_dir)(struct mgc_os *os, int root_fd, const char *path);
    /* Opens a regular file of dir_fd for reading, O_NOFOLLOW | O_NONBLOCK | O_NOATIME if granted.
     */
    int (*open_file)(struct mgc_os *os, int dir_fd, const char *name);
    /*
     * Takes a read lease on an open descriptor: granted only while nobody has the file open for
     * writing (H3).  0, -EAGAIN when somebody has, -EOPNOTSUPP where there are no leases.
     * The lease ends with lease_drop() or close().
     */
    int (*lease_read)(struct mgc_os *os, int fd);
    void (*lease_drop)(struct mgc_os *os, int fd);
    /* Never replaces: -EEXIST; -EOPNOTSUPP where the filesystem cannot promise that. */
    int (*rename_new)(struct mgc_os *os, int from_fd, const char *from, int to_fd, const char *to);
    /* mode is exact, whatever the umask. */
    int (*mkdir)(struct mgc_os *os, int dir_fd, const char *name, uint32_t mode);
    int (*chown)(struct mgc_os *os, int dir_fd, const char *name, uint32_t uid, uint32_t gid);
    int (*unlink)(struct mgc_os *os, int dir_fd, const char *name);
    int (*rmdir)(struct mgc_os *os, int dir_fd, const char *name);
    /* Extended attributes of dir_fd/name by way of /proc/self/fd, links not followed. */
    int (*set_xattr)(struct mgc_os *os, int dir_fd, const char *name, const char *key,
                     const void *value, size_t bytes);
    /* Returns the length, or a negative errno (-ENODATA: no such attribute). */
    int (*get_xattr)(struct mgc_os *os, int dir_fd, const char *name, const char *key, void *out,
                     size_t out_bytes);
    int (*remove_xattr)(struct mgc_os *os, int dir_fd, const char *name, const char *key);
    /* Returns once every earlier change of this directory survives a power cut. */
    int (*sync_dir)(struct mgc_os *os, int dir_fd);
    /* Wall clock, microseconds since 1970 UTC. */
    int64_t (*now_us)(struct mgc_os *os);
    /* Microseconds since boot, suspended time included: what the wall clock is checked against. */
    int64_t (*boottime_us)(struct mgc_os *os);
    /* Identity of this boot; out needs 37 bytes. */
    int (*boot_id)(struct mgc_os *os, char *out, size_t out_bytes);
};

/* The kernel itself.  A constant table; no initialisation. */
struct mgc_os *mgc_os_real(void);

/* Short forms of the clocks of the real kernel, for code that decides nothing. */
int64_t mgc_now_us(void);
int64_t mgc_monotonic_us(void);

/*
 * Opens the directory that holds `path` (checked with mgc_path_check) and points *ret_leaf into
 * `path`.  Returns a descriptor or a negative code with a message.
 */
MGC_MUST_CHECK int mgc_open_parent(struct mgc_os *os, int root_fd, const char *path,
                                   const char **ret_leaf, struct mgc_err *err);
/* Fills `bytes` with randomness from the kernel; aborts when there is none. */
void mgc_random(void *out, size_t bytes);

#endif
