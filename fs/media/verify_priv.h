/*
 * verify_priv.h -- the rule by which a directory is skipped, for its tests.
 *
 * Role     Pure: rows and status in, verdict out.
 * Layer    3, private.
 */
#ifndef MGC_FS_MEDIA_VERIFY_PRIV_H
#define MGC_FS_MEDIA_VERIFY_PRIV_H

#include "mediagcfs/catalog.h"

/* H9: its names are what they were when row->verified_us was written. */
bool mgc_verify_unchanged(const struct mgc_dir *row, const struct mgc_file_stat *now);

#endif
