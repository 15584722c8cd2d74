/*
 * catalog_priv.h -- what every store checks before it believes a caller.
 *
 * Role     Paths come from applications and directories: what is not a usable path is an error of
 *          the call, before anything is changed.
 * Layer    2, private to fs/catalog and its tests.
 */
#ifndef MEDIAGCFS_CATALOG_PRIV_H
#define MEDIAGCFS_CATALOG_PRIV_H

#include "mediagcfs/catalog.h"

/* 0, or -EINVAL / -ENAMETOOLONG naming the first change that is none. */
MGC_MUST_CHECK int mgc_catalog_check_changes(const struct mgc_change *changes, size_t count,
                                             struct mgc_err *err);
/* Names are single components in ascending order of their bytes, each once. */
MGC_MUST_CHECK int mgc_catalog_check_seen(const struct mgc_seen_dir *seen, struct mgc_err *err);
/* A path in the tree, or "" where root is allowed. */
MGC_MUST_CHECK int mgc_catalog_check_path(const char *path, bool root, struct mgc_err *err);

#endif
