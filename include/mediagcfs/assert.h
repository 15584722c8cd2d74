/*
 * assert.h -- assertions that stay on in release builds.
 *
 * Role     A stopped daemon is cheaper than a wrong delete, and recovery makes stopping safe.  For
 *          programmer errors only, never for input.  One condition each.
 * Layer    0.
 */
#ifndef MEDIAGCFS_ASSERT_H
#define MEDIAGCFS_ASSERT_H

#include "mediagcfs/attr.h"

MGC_NORETURN void mgc_assert_fail(const char *condition, const char *file, int line);

#define MGC_ASSERT(condition)                                                                      \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            mgc_assert_fail(#condition, __FILE__, __LINE__);                                       \
    } while (0)

#endif
