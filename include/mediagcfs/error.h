/*
 * error.h -- result codes and the one message that travels up with them.
 *
 * Role     A function returns 0, a documented positive value, or a negative code: a negated errno
 *          or an MGC_E_* below -5000.  Its last parameter `struct mgc_err *err` (may be NULL)
 *          receives one message and, where there is a remedy, one hint.
 * Layer    0.
 * Threads  A struct mgc_err belongs to its caller.  The table is constant.
 * Errors   err is untouched on success.  Nothing here allocates.
 */
#ifndef MEDIAGCFS_ERROR_H
#define MEDIAGCFS_ERROR_H

#include "mediagcfs/attr.h"
#include "mediagcfs/limits.h"

/* Codes of our own.  The table in error.c must have a row for each (a test compares). */
enum mgc_code {
    MGC_E_FIRST = -5099,
    MGC_E_LIMIT = -5001,      /* a bound of limits.h was reached */
    MGC_E_CONFLICT = -5002,   /* names and journal disagree: touch nothing, an operator must look */
    MGC_E_INCOMPLETE = -5003, /* a source or verification was not read to its confirmed end (G1) */
    MGC_E_REFUSED = -5004,    /* a safety rule refuses */
    MGC_E_USAGE = -5005,      /* the command line is wrong */
    MGC_E_CONFIG = -5006,     /* the configuration is wrong */
    MGC_E_CORRUPT = -5007,    /* stored data is not what we wrote */
    MGC_E_VERSION = -5008,    /* written by a newer version */
    MGC_E_IDENTITY = -5009,   /* another tree or another database than the pinned one */
    MGC_E_BUSY = -5010,       /* open for writing, or another run, or a second daemon */
    MGC_E_PROTOCOL = -5011,   /* a peer said something that does not parse */
    MGC_E_TIMEOUT = -5012,    /* a deadline passed */
    MGC_E_SOURCE = -5013,     /* a database or command failed */
    MGC_E_NO_DAEMON = -5014,  /* nothing answers on the control socket */
    MGC_E_UNMOVABLE = -5015,  /* the filesystem cannot move this safely: the entry is kept */
};

struct mgc_err {
    int code;
    char text[MGC_ERR_TEXT_BYTES]; /* lower case, no full stop; names escaped */
    char hint[MGC_ERR_HINT_BYTES]; /* empty, or a sentence with an action */
};

/*
 * Stores a message and returns `code`, so that `return mgc_err_set(err, -errno, "...")` works.
 * Where code is a negated errno, ": <strerror>" is appended.  err may be NULL.
 */
int mgc_err_set(struct mgc_err *err, int code, const char *format, ...) MGC_PRINTF(3, 4);
/* The same without the errno text. */
int mgc_err_say(struct mgc_err *err, int code, const char *format, ...) MGC_PRINTF(3, 4);
/* Adds or replaces the hint; does nothing when err is NULL.  Returns err->code, or 0 for NULL. */
int mgc_err_hint(struct mgc_err *err, const char *format, ...) MGC_PRINTF(2, 3);
/* Copies one error over another; both may be NULL. */
void mgc_err_copy(struct mgc_err *to, const struct mgc_err *from);

/* Stable name of a code for JSON: "refused", "ENOENT"; "unknown" where there is none. */
const char *mgc_code_name(int code);
/* Sentence for a code, as strerror() for ours. */
const char *mgc_code_text(int code);
/* What an application gets to see: a positive errno, 0 for 0. */
int mgc_code_to_errno(int code);
/* Exit status of a command that ended with this code: 0, 1, 2 or 3 (DESIGN 9). */
int mgc_code_to_exit(int code);
/* False for answers such as -ENOENT or -EEXIST, true for what an operator should see logged. */
bool mgc_code_is_fault(int code);

#endif
