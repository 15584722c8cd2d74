/* control_priv.h -- lines over a stream socket, shared by server and client. */
#ifndef MEDIAGCFS_CONTROL_PRIV_H
#define MEDIAGCFS_CONTROL_PRIV_H

#include <jansson.h>
#include <sys/un.h>

#include "mediagcfs/bytes.h"
#include "mediagcfs/error.h"

struct mgc_line_reader {
    int fd; /* borrowed */
    struct mgc_buf pending;
    size_t scanned; /* bytes of pending known to hold no newline */
};

/*
 * Reads one JSON object.  1: *ret_object is the caller's.  0: the peer closed in an orderly way
 * between two lines.  MGC_E_PROTOCOL, MGC_E_LIMIT, or a negated errno.
 */
MGC_MUST_CHECK int mgc_line_read(struct mgc_line_reader *reader, json_t **ret_object,
                                 struct mgc_err *err);
void mgc_line_done(struct mgc_line_reader *reader);
/* Writes one object as a line.  Does not take the reference.  Never raises SIGPIPE. */
MGC_MUST_CHECK int mgc_line_write(int fd, const json_t *object, struct mgc_err *err);

/* Fills in the address of a socket path; -ENAMETOOLONG with a hint where it does not fit. */
MGC_MUST_CHECK int mgc_socket_address(struct sockaddr_un *address, const char *path,
                                      struct mgc_err *err);

#endif
