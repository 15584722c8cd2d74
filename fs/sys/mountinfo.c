/*
 * mountinfo.c -- what is mounted where (mountinfo.h).
 *
 * A path is opened with O_PATH, which asks no filesystem anything: so a dead mount can be opened,
 * and the kernel itself says which mount is on top (mnt_id) and what its path is without links.
 * Nothing is looked up by comparing names that somebody else wrote.
 */
#include "mediagcfs/mountinfo.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "fs/sys/mountinfo_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/bytes.h"
#include "mediagcfs/os.h"
#include "mediagcfs/path.h"
#include "mediagcfs/proc.h"

enum {
    FSTYPE_BYTES = 64,
    LAYERS_MAX = 64, /* dead mounts on top of each other */
    PROC_NAME_BYTES = 64,
    DETACH_SECONDS = 30,
};

struct seen {
    int64_t mount_id;
    bool is_root; /* the path is where this mount is attached */
    char path[MGC_PATH_BYTES_MAX + 1];
    char fstype[FSTYPE_BYTES];
};

/* \040 and its like stand for what separates fields. */
static void unescape(char *text)
{
    char *out = text;

    for (const char *in = text; *in != '\0'; out++) {
        if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
            in[3] >= '0' && in[3] <= '7') {
            *out = (char)((in[1] - '0') * 64 + (in[2] - '0') * 8 + (in[3] - '0'));
            in += 4;
        } else
            *out = *in++;
    }
    *out = '\0';
}

static bool number(const char *text, int64_t *ret_value)
{
    char *end;
    int64_t value;

    if (text == NULL || text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0')
        return false;
    *ret_value = value;
    return true;
}

bool mgc_mountinfo_parse(char *line, struct mgc_mount_row *ret_row)
{
    enum { ID, PARENT, DEVICE, ROOT, MOUNTPOINT, OPTIONS, FIELDS };
    struct mgc_mount_row row;
    char *rest = line, *field[FIELDS], *part;

    line[strcspn(line, "\n")] = '\0';
    for (size_t i = 0; i < FIELDS; i++) {
        field[i] = strsep(&rest, " ");
        if (field[i] == NULL)
            return false;
    }
    do /* optional fields, as many as there are, then a lone dash */
        part = strsep(&rest, " ");
    while (part != NULL && strcmp(part, "-") != 0);
    part = part != NULL ? strsep(&rest, " ") : NULL;
    if (part == NULL || part[0] == '\0' || !number(field[ID], &row.id) ||
        !number(field[PARENT], &row.parent))
        return false;
    unescape(field[MOUNTPOINT]);
    unescape(part);
    row.mountpoint = field[MOUNTPOINT];
    row.fstype = part;
    *ret_row = row;
    return true;
}

/* Which mount an open descriptor lies on; the kernel says so without asking the filesystem. */
static int mount_id_of(int fd, int64_t *ret_id)
{
    char name[PROC_NAME_BYTES], line[128];
    int r = -ENOENT;

    (void)snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
    FILE *f = fopen(name, "re");
    if (f == NULL)
        return -errno;
    while (r != 0 && fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, "mnt_id:", 7) == 0) {
            char *text = line + 7 + strspn(line + 7, " \t");

            text[strcspn(text, "\n")] = '\0';
            r = number(text, ret_id) ? 0 : -EIO;
        }
    (void)fclose(f);
    return r;
}

static int path_of(int fd, char *out, size_t out_bytes)
{
    char name[PROC_NAME_BYTES];
    ssize_t got;

    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    got = readlink(name, out, out_bytes);
    if (got < 0)
        return -errno;
    if ((size_t)got >= out_bytes)
        return -ENAMETOOLONG;
    out[got] = '\0';
    return 0;
}

/* Fills fstype and is_root from the row of seen->mount_id. */
static int find_row(struct seen *seen)
{
    char *line = NULL;
    size_t line_bytes = 0;
    int r = -ENOENT;
    FILE *f = fopen("/proc/self/mountinfo", "re");

    if (f == NULL)
        return -errno;
    while (r == -ENOENT && getline(&line, &line_bytes, f) > 0) {
        struct mgc_mount_row row;

        if (!mgc_mountinfo_parse(line, &row) || row.id != seen->mount_id)
            continue;
        r = strlen(row.fstype) < sizeof(seen->fstype) ? 0 : -ENAMETOOLONG;
        (void)snprintf(seen->fstype, sizeof(seen->fstype), "%s", row.fstype);
        seen->is_root = strcmp(row.mountpoint, seen->path) == 0;
    }
    free(line);
    (void)fclose(f);
    return r;
}

/* Returns an O_PATH descriptor of the path, or a negative errno. */
static int look(const char *path, struct seen *ret_seen)
{
    int r;
    mgc_autofd fd = open(path, O_PATH | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    r = mount_id_of(fd, &ret_seen->mount_id);
    if (r == 0)
        r = path_of(fd, ret_seen->path, sizeof(ret_seen->path));
    if (r == 0)
        r = find_row(ret_seen);
    return r < 0 ? r : mgc_fd_steal(&fd);
}

/* Only these two mean that nobody serves it any more; any other failure may be a live one. */
static bool dead(int fd)
{
    struct statx x;

    /* Forced: attributes kept by the kernel outlive the daemon. */
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_MODE, &x) == 0)
        return false;
    return errno == ENOTCONN || errno == ECONNABORTED;
}

enum mgc_mount_seen mgc_mount_look(const char *mountpoint)
{
    struct seen seen = {0};
    mgc_autofd fd = look(mountpoint, &seen);

    if (fd < 0 || !seen.is_root)
        return MGC_SEEN_NOTHING;
    if (strcmp(seen.fstype, "fuse." MGC_MOUNT_SUBTYPE) != 0)
        return MGC_SEEN_OTHER;
    return dead(fd) ? MGC_SEEN_OURS_DEAD : MGC_SEEN_OURS_ALIVE;
}

/* Who may not unmount can still unmount his own FUSE mount with the help of fusermount3. */
static int detach_as_user(const char *path, struct mgc_err *err)
{
    const char *const argv[] = {"fusermount3", "-u", "-z", "--", path, NULL};
    struct mgc_proc_spec spec = {.argv = argv, .uid = (uid_t)-1, .gid = (gid_t)-1, .pass_fd = -1};
    struct mgc_proc p;
    int r = mgc_proc_start(&p, &spec, err);

    if (r < 0)
        return r;
    return mgc_proc_wait(&p, mgc_monotonic_us() + DETACH_SECONDS * INT64_C(1000000), err);
}

int mgc_mount_detach_dead(const char *mountpoint, struct mgc_err *err)
{
    for (int layer = 0; layer < LAYERS_MAX; layer++) {
        struct seen seen = {0};
        char name[PROC_NAME_BYTES];
        mgc_autofd fd = look(mountpoint, &seen);
        int r = 0;

        if (fd < 0 || !seen.is_root || strcmp(seen.fstype, "fuse." MGC_MOUNT_SUBTYPE) != 0 ||
            !dead(fd))
            return 0;
        (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
        if (umount2(name, MNT_DETACH) < 0) /* this very mount, whatever came on top of it since */
            r = errno == EPERM ? detach_as_user(seen.path, err)
                               : mgc_err_set(err, -errno, "could not detach dead mount '%s'",
                                             MGC_SHOW(seen.path));
        if (r < 0) {
            (void)mgc_err_hint(err, "Run `umount -l %s` as root.", MGC_SHOW(seen.path));
            return r;
        }
    }
    return mgc_err_set(err, MGC_E_LIMIT, "could not detach dead mounts at '%s'",
                       MGC_SHOW(mountpoint));
}

int mgc_mount_fstype(const char *path, char *out, size_t out_bytes)
{
    struct seen seen = {0};
    mgc_autofd fd = look(path, &seen);

    if (fd < 0)
        return fd;
    if (strlen(seen.fstype) >= out_bytes)
        return -ERANGE;
    memcpy(out, seen.fstype, strlen(seen.fstype) + 1);
    return 0;
}
