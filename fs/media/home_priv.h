/*
 * home_priv.h -- records of our private directory, for home.c and tests.
 *
 * Role     home_record.c reads and writes `tree` and `ids`; home.c says what they mean.
 * Layer    3, private.
 * Errors   Reading: -ENOENT; MGC_E_CORRUPT: not what we wrote; MGC_E_VERSION: intact, but in a
 *          newer form; else a negated errno.  Writing: durable on return; a failure leaves the
 *          former record in force, or the new one.
 */
#ifndef MGC_FS_MEDIA_HOME_PRIV_H
#define MGC_FS_MEDIA_HOME_PRIV_H

#include "mediagcfs/home.h"

MGC_MUST_CHECK int mgc_home_tree_read(int home_fd, char id[33]);
MGC_MUST_CHECK int mgc_home_tree_write(struct mgc_os *os, int home_fd, const char *id,
                                       struct mgc_err *err);
/* next: the first id that was certainly never given.  Also reads "at least N", written by hand. */
MGC_MUST_CHECK int mgc_home_ids_read(int home_fd, int64_t *ret_next);
MGC_MUST_CHECK int mgc_home_ids_write(struct mgc_os *os, int home_fd, int64_t next,
                                      struct mgc_err *err);
MGC_MUST_CHECK int mgc_home_generation_read(int home_fd, int64_t *ret_count);
MGC_MUST_CHECK int mgc_home_generation_write(struct mgc_os *os, int home_fd, int64_t count,
                                             struct mgc_err *err);
/* A positive decimal number without sign or leading zero, and nothing else. */
bool mgc_home_parse_id(const char *text, int64_t *ret_id);

#endif
