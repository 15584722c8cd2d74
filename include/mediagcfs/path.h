/*
 * path.h -- paths inside the media tree: checks, joins, globs.
 *
 * Role     G10: only what passes mgc_path_check() is ever opened.
 * Layer    0.  No I/O.
 * Units    Paths are bytes, relative to the media root, NUL-terminated, no leading '/'.
 */
#ifndef MEDIAGCFS_PATH_H
#define MEDIAGCFS_PATH_H

#include "mediagcfs/attr.h"
#include "mediagcfs/limits.h"

/* Name of our own directory at the root of the tree. */
#define MGC_PRIVATE_DIR ".mediagcfs"

/*
 * 0 for a usable path: not empty, at most MGC_PATH_BYTES_MAX, no leading or trailing '/', no
 * empty, "." or ".." component, each component at most MGC_NAME_BYTES_MAX, and not our own
 * directory or beneath it.  Else -EINVAL or -ENAMETOOLONG.
 */
MGC_MUST_CHECK int mgc_path_check(const char *path);
/* True for ".mediagcfs" and anything beneath it (paths relative to the root). */
bool mgc_path_is_private(const char *path);
/* Pointer to the last component. */
const char *mgc_path_leaf(const char *path);
/* Length of the directory part without its slash; 0 when the path lies at the root. */
size_t mgc_path_dir_bytes(const char *path);
/* Writes "dir/name", or "name" when dir is "".  -ENAMETOOLONG when it does not fit. */
MGC_MUST_CHECK int mgc_path_join(char *out, size_t out_bytes, const char *dir, const char *name);
/* True when `path` is `dir` or lies beneath it; the empty dir holds everything. */
bool mgc_path_beneath(const char *path, const char *dir);

/*
 * Shell globs on whole paths: '*' and '?' stay inside a component, "**" crosses directories,
 * [a-z] [!a] classes, backslash takes the next byte literally.  A pattern without '/' matches the
 * last component in any directory, unless it has "**".  "**" with its slash also stands for no
 * directory.  '?' and classes take one byte.  Runs in O(pattern x path).
 */
bool mgc_glob_match(const char *pattern, const char *path);
/* 0, or -EINVAL: empty, too long, an unfinished class, [:names:] in one, a trailing backslash. */
MGC_MUST_CHECK int mgc_glob_check(const char *pattern);

#endif
