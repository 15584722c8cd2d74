/*
 * canon_priv.h -- the ways a path can be written, undone one layer at a time.
 *
 * Role     Pure functions from bytes to bytes.  Decoders undo one encoding everywhere in a text;
 *          forms give one spelling to what may be spelled in several ways.
 * Layer    2, private to fs/refs and its tests.
 * Threads  No state.
 * Units    Bytes.  A decoder never makes a text longer; a form may.
 * Errors   A failed allocation sets `failed` of the output buffer.
 */
#ifndef MGC_CANON_PRIV_H
#define MGC_CANON_PRIV_H

#include "mediagcfs/bytes.h"
#include "mediagcfs/limits.h"

/* What a text contains; the lower bits say which decoders can change it. */
enum {
    MGC_ESC_PERCENT = 1 << 0,   /* %20, %C3%A9, %u00e9 */
    MGC_ESC_ENTITY = 1 << 1,    /* &amp; &#39; &#x2F; */
    MGC_ESC_BACKSLASH = 1 << 2, /* \n \/ \" \x2f \u00e9 \303 */
    MGC_ESC_QUOTES = 1 << 3,    /* "" and '' for one (CSV, SQL, YAML, composite values) */
    MGC_ESC_PLUS = 1 << 4,      /* + that may stand for a space */
    MGC_ESC_UP = 1 << 5,        /* "/.." */
    MGC_ESC_HIGH = 1 << 6,      /* bytes above 0x7F */
    MGC_ESC_BINARY = 1 << 7,    /* control characters or invalid UTF-8: lengths may precede texts */
    MGC_ESC_DECODERS = MGC_ESC_PERCENT | MGC_ESC_ENTITY | MGC_ESC_BACKSLASH,
};

/* Code point of a named character reference without '&' and ';'; 0 when there is none. */
uint32_t mgc_canon_entity(const char *name, size_t bytes);

/*
 * Reads one code point: its length 1..4, or 0 when the bytes there are not well-formed UTF-8.
 * left > 0.
 */
size_t mgc_canon_point(const char *at, size_t left, uint32_t *ret_point);
/* Writes a code point as UTF-8 (no check for surrogates); returns its length 1..4. */
size_t mgc_canon_put(char *out, uint32_t point);

/*
 * One pass over `in` that undoes one layer of the encodings in `kinds` (bits of
 * MGC_ESC_DECODERS, MGC_ESC_QUOTES).  Returns true when anything changed; then `out` has the
 * result.
 */
bool mgc_canon_decode(struct mgc_buf *out, const char *in, size_t bytes, unsigned kinds);
/* Every `from` becomes `to`: '+' as a space, '\' as a slash.  True when anything changed. */
bool mgc_canon_replace(struct mgc_buf *out, const char *in, size_t bytes, const char from_to[2]);
/* Resolves "/x/../" where x is a whole component.  True when anything changed. */
bool mgc_canon_up(struct mgc_buf *out, const char *in, size_t bytes);
/*
 * The canonical form: valid UTF-8 in NFC, bytes that are not UTF-8 read as Latin-1.  False when
 * `in` is canonical already (what is in `out` then means nothing).
 */
bool mgc_canon_form(struct mgc_buf *out, const char *in, size_t bytes);
/*
 * The folded form for near misses: canonical, mojibake undone, compatibility forms and case
 * folded, '+' as a space, '\' as a slash.  Always fills `out`.
 */
void mgc_canon_fold(struct mgc_buf *out, const char *in, size_t bytes);

/*
 * Base64.  A run is a stretch of its characters (both alphabets), lines of 60 or more joined
 * across one line end.
 */
struct mgc_base64_run {
    size_t at, end; /* end: exclusive, padding not included */
    bool padded;    /* '=' follows */
};
/* Finds the next run of at least `least` characters at or after `from`; false: no more. */
bool mgc_base64_next(const char *text, size_t bytes, size_t from, size_t least,
                     struct mgc_base64_run *ret);
/* Decodes characters [at, end), skipping line ends; what is left of a group is dropped. */
void mgc_base64_decode(struct mgc_buf *out, const char *text, size_t at, size_t end);

#endif
