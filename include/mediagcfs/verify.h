/*
 * verify.h -- brings the catalog in line with the tree: import, start, `scan`.
 *
 * Role     Walks the tree by descriptor, skips directories whose change time is what it was and
 *          lay at least 2 s before they were last read (H9), and has the others compared
 *          (mgc_catalog_ops.see_dir).  A first walk of an existing tree is the import.  Entries are
 *          regular files and symlinks; other kinds of files are nobody's media and are passed over.
 * Layer    3.
 * Threads  One verification at a time (the caller's affair).  Runs beside a serving mount.
 * Errors   Anything unreadable makes it incomplete: MGC_E_INCOMPLETE names the first directory, and
 *          the rest is still brought in line.  A failing catalog ends it.
 */
#ifndef MEDIAGCFS_VERIFY_H
#define MEDIAGCFS_VERIFY_H

#include "mediagcfs/catalog.h"
#include "mediagcfs/recorder.h"

struct mgc_verify_spec {
    struct mgc_os *os;
    struct mgc_catalog *catalog;
    struct mgc_recorder *recorder; /* NULL when nothing records (offline) */
    int root_fd;
    bool everything;           /* read every directory, also unchanged ones */
    const volatile bool *stop; /* NULL or: ends with -ECANCELED when it becomes true */
    void (*progress)(void *arg, int64_t dirs, int64_t entries); /* NULL or: now and then */
    void *arg;
};
struct mgc_verify_result {
    int64_t dirs;         /* all that were met, the skipped ones included */
    int64_t dirs_skipped; /* unchanged since they were last read */
    int64_t entries;      /* rows of the catalog at the end */
    int64_t added, removed, changed;
    int64_t problems;  /* directories that could not be verified */
    int64_t elsewhere; /* directories on another filesystem than the root (mounts in the tree) */
};
/*
 * 0: complete; MGC_META_VERIFIED is set and MGC_META_INCOMPLETE cleared, unless something became
 * incomplete meanwhile: then MGC_E_INCOMPLETE and it stays set.  Where directories could not be
 * read, it is set.  *ret_result is written with 0 and with MGC_E_INCOMPLETE.
 */
MGC_MUST_CHECK int mgc_verify(const struct mgc_verify_spec *spec,
                              struct mgc_verify_result *ret_result, struct mgc_err *err);

#endif
