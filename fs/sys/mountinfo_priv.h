/*
 * mountinfo_priv.h -- one line of /proc/self/mountinfo.
 *
 * Role     For mountinfo.c and its test.
 * Layer    1.
 */
#ifndef MEDIAGCFS_SYS_MOUNTINFO_PRIV_H
#define MEDIAGCFS_SYS_MOUNTINFO_PRIV_H

#include "mediagcfs/attr.h"

struct mgc_mount_row {
    int64_t id, parent;
    const char *mountpoint; /* unescaped; points into the line */
    const char *fstype;     /* with its subtype; points into the line */
};
/* Cuts `line` into pieces; false when it is not such a line. */
bool mgc_mountinfo_parse(char *line, struct mgc_mount_row *ret_row);

#endif
