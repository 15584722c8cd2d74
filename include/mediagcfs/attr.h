/*
 * attr.h -- attributes, scope-bound cleanup and small macros used everywhere.
 *
 * Role     Makes an ignored result, a leaked descriptor or a banned call a compile error.
 * Layer    0.
 * Threads  No state.
 */
#ifndef MEDIAGCFS_ATTR_H
#define MEDIAGCFS_ATTR_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mediagcfs/banned.h"

#define MGC_MUST_CHECK __attribute__((warn_unused_result))
#define MGC_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define MGC_NORETURN __attribute__((noreturn))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Closes on leaving the scope; errno is kept.  Ownership leaves by mgc_fd_steal(). */
static inline void mgc_fd_cleanup_(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        (void)close(*fd);
        errno = saved;
    }
}
#define mgc_autofd __attribute__((cleanup(mgc_fd_cleanup_))) int

static inline int mgc_fd_steal(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* Frees on leaving the scope: `mgc_autofree char *p = NULL;` */
static inline void mgc_free_cleanup_(void *p)
{
    void *held;
    memcpy(&held, p, sizeof(held));
    free(held);
}
#define mgc_autofree __attribute__((cleanup(mgc_free_cleanup_)))

/* Hands the pointer in `p` to the caller and forgets it here. */
#define mgc_steal(p)                                                                               \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

#endif
