/* checks.c -- what is wrong before anything is touched is said before anything is touched. */
#include <fcntl.h>
#include <sys/stat.h>

#include "daemon_priv.h"
#include "mediagcfs/bytes.h"
#include "mediagcfs/mountinfo.h"

int mgc_check_mountpoint(const struct mgc_conf *conf, struct mgc_err *err)
{
    const char *mountpoint = conf->filesystem.mountpoint;
    bool in_place = strcmp(conf->filesystem.source, mountpoint) == 0;
    struct stat st;
    int r;

    switch (mgc_mount_look(mountpoint)) {
    case MGC_SEEN_OURS_DEAD:
        r = mgc_mount_detach_dead(mountpoint, err);
        if (r < 0)
            return r;
        break;
    case MGC_SEEN_OURS_ALIVE:
        (void)mgc_err_say(err, MGC_E_BUSY, "mount point '%s' is served already",
                          MGC_SHOW(mountpoint));
        (void)mgc_err_hint(
            err, "'mediagcfs status' says by whom; 'mediagcfs unmount' ends it.  A changed "
                 "configuration takes effect when it is mounted again.");
        return MGC_E_BUSY;
    case MGC_SEEN_OTHER:
        if (in_place)
            break; /* a disk of its own, mounted over */
        (void)mgc_err_say(err, MGC_E_BUSY, "something else is mounted at '%s'",
                          MGC_SHOW(mountpoint));
        (void)mgc_err_hint(err, "Unmount it, or choose another mount point.");
        return MGC_E_BUSY;
    case MGC_SEEN_NOTHING:
        break;
    }
    if (stat(mountpoint, &st) < 0)
        return mgc_err_set(err, -errno, "could not use mount point '%s'", MGC_SHOW(mountpoint));
    if (!S_ISDIR(st.st_mode))
        return mgc_err_set(err, -ENOTDIR, "could not use mount point '%s'", MGC_SHOW(mountpoint));
    return 0;
}

int mgc_check_source(const struct mgc_conf *conf, int *ret_fd, struct mgc_err *err)
{
    const char *source = conf->filesystem.source;
    char type[64] = "";
    mgc_autofd fd = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        int code = -errno;

        (void)mgc_err_set(err, code, "could not open source '%s'", MGC_SHOW(source));
        (void)mgc_err_hint(err, "'source' names the media directory. Is its disk mounted?");
        return code;
    }
    if (mgc_mount_fstype(source, type, sizeof(type)) == 0 &&
        strcmp(type, "fuse." MGC_MOUNT_SUBTYPE) == 0) {
        (void)mgc_err_say(err, MGC_E_CONFIG, "source '%s' lies in a mediagcfs mount itself",
                          MGC_SHOW(source));
        (void)mgc_err_hint(err, "Name the directory underneath.");
        return MGC_E_CONFIG;
    }
    *ret_fd = mgc_fd_steal(&fd);
    return 0;
}
