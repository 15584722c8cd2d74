/*
 * bytes.h -- growing byte buffers, escaping of user bytes, JSON text.
 *
 * Role     Paths are bytes, not text: whatever is shown or logged goes through an escape here.
 * Layer    0.
 * Owns     A buffer owns its memory until mgc_buf_done().
 * Errors   A failed allocation sets `failed` and makes later additions no-ops; check once.
 */
#ifndef MEDIAGCFS_BYTES_H
#define MEDIAGCFS_BYTES_H

#include "mediagcfs/attr.h"

struct mgc_buf {
    char *data;      /* NUL-terminated after each addition; NULL while empty */
    size_t bytes;    /* without the NUL */
    size_t capacity; /* allocated */
    bool failed;     /* an allocation failed: the content is not to be used */
};

void mgc_buf_done(struct mgc_buf *b);
void mgc_buf_clear(struct mgc_buf *b);
void mgc_buf_add(struct mgc_buf *b, const void *data, size_t bytes);
void mgc_buf_adds(struct mgc_buf *b, const char *text);
void mgc_buf_addc(struct mgc_buf *b, char c);
void mgc_buf_addf(struct mgc_buf *b, const char *format, ...) MGC_PRINTF(2, 3);
/* Makes room for `bytes` more without changing the content; false when memory is short. */
bool mgc_buf_reserve(struct mgc_buf *b, size_t bytes);
#define mgc_autobuf __attribute__((cleanup(mgc_buf_done))) struct mgc_buf

/* True when the bytes are well-formed UTF-8 without overlong forms or surrogates. */
bool mgc_utf8_valid(const char *bytes, size_t count);

/*
 * Writes `bytes` for a person: printable ASCII and valid UTF-8 as they are, everything else,
 * control characters and the backslash as \xNN.  Always terminates; a cut ends in "...".  Returns
 * `out`.
 */
const char *mgc_escape(char *out, size_t out_bytes, const char *bytes, size_t count);
/* For one use inside a message: a buffer on the stack. */
enum { MGC_SHOW_BYTES = 400 };
#define MGC_SHOW(path) mgc_escape((char[MGC_SHOW_BYTES]){0}, MGC_SHOW_BYTES, (path), strlen(path))

/* Appends a JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
void mgc_buf_add_json(struct mgc_buf *b, const char *bytes, size_t count);
/* Appends lower-case hexadecimal. */
void mgc_buf_add_hex(struct mgc_buf *b, const void *data, size_t bytes);
/* Reads hexadecimal of either case; false when it is not (odd length, other characters). */
bool mgc_buf_add_unhex(struct mgc_buf *b, const char *hex, size_t count);

#endif
