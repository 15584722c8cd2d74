/*
 * mountinfo.h -- what is mounted where.
 *
 * Role     Lets `mount`, `unmount`, `config check` and the watchdog tell a live mount of ours from
 *          a dead one and from somebody else's.
 * Layer    1.
 * Threads  Any.
 */
#ifndef MEDIAGCFS_MOUNTINFO_H
#define MEDIAGCFS_MOUNTINFO_H

#include "mediagcfs/error.h"

/* Type of our mounts in mountinfo: "fuse.mediagcfs". */
#define MGC_MOUNT_SUBTYPE "mediagcfs"

enum mgc_mount_seen {
    MGC_SEEN_NOTHING,    /* not a mount point */
    MGC_SEEN_OURS_ALIVE, /* ours, and it answers */
    MGC_SEEN_OURS_DEAD,  /* ours, ENOTCONN */
    MGC_SEEN_OTHER,
};
/* The topmost mount at this path, by mountinfo and one stat. */
enum mgc_mount_seen mgc_mount_look(const char *mountpoint);
/* Detaches (MNT_DETACH) every dead mount of ours at this path; 0 or a negative code. */
MGC_MUST_CHECK int mgc_mount_detach_dead(const char *mountpoint, struct mgc_err *err);
/* Type of the filesystem under a directory, e.g. "ext4"; -ENOENT.  out: 64 bytes are enough. */
MGC_MUST_CHECK int mgc_mount_fstype(const char *path, char *out, size_t out_bytes);

#endif
