/*
 * textscan_priv.h -- finds the paths of a live set in a text that is already decoded.
 *
 * Role     A mention begins at the beginning, after a slash or after a character that is not part
 *          of a name, and ends at the end or before anything but a letter, digit, '_', '-', or a
 *          dot before a letter or digit (DESIGN 6).
 * Layer    2, private to fs/refs and its tests.
 * Threads  No state but the caller's.
 * Cost     Linear: per place at most MGC_PATH_BYTES_MAX bytes, and that only as far as the text
 *          follows directories that exist.
 */
#ifndef MGC_TEXTSCAN_PRIV_H
#define MGC_TEXTSCAN_PRIV_H

#include "liveset_priv.h"

/* What a byte is part of. */
enum {
    MGC_KIND_NAME = 1 << 0,      /* letter, digit, '_', '-' */
    MGC_KIND_DOT = 1 << 1,       /* '.' */
    MGC_KIND_SLASH = 1 << 2,     /* '/' */
    MGC_KIND_DELIMITER = 1 << 3, /* anything else */
    MGC_KIND_INSIDE = 1 << 4,    /* second or later byte of a character */
    MGC_KIND_ALNUM = 1 << 5,     /* letter or digit (with NAME) */
    /* Letter of a script that is written without spaces or without case: with DELIMITER, since a
     * path may stand directly beside it, but no end of a directory's mention. */
    MGC_KIND_WORD = 1 << 6,
};

/* Classifies each byte; returns which MGC_ESC_* occur (canon_priv.h). */
unsigned mgc_scan_kinds(uint8_t *kinds, const char *text, size_t bytes);

/* True for a name without delimiters. */
bool mgc_scan_is_plain(const char *name, size_t bytes);
/* How a name with delimiters is indexed: its leading plain part, else its first character. */
size_t mgc_scan_lead(const char *name, size_t bytes);

struct mgc_scan {
    const struct mgc_liveset *set;
    enum mgc_space space;
    const char *text;
    const uint8_t *kinds;
    size_t bytes;
    bool open_start, open_end; /* more text stands before / after: those are no boundaries */
    /*
     * Receives each mention: the value found and [at, end).  dir: it mentions a directory by
     * itself; else whatever of MGC_NODE_FILE stands under the value is mentioned.
     */
    void (*found)(void *arg, const uint32_t *value, bool dir, size_t at, size_t end);
    void *arg;
    uint64_t *steps; /* counts probes and hashed names: the cost, for tests */
};

/* All mentions, in the order of their beginnings. */
void mgc_scan_run(const struct mgc_scan *s);
/*
 * Mentions that are delimited by a length in the byte before them, as binary formats do, where
 * that byte or the next is taken for part of the name.
 */
void mgc_scan_prefixed(const struct mgc_scan *s);

/* True when a mention may begin / end here. */
bool mgc_scan_begins(const struct mgc_scan *s, size_t at);
bool mgc_scan_ends(const struct mgc_scan *s, size_t at);

/*
 * Follows [at, end) through directories that exist.  True when everything up to the last slash is
 * one (at least one component), or, with `any`, when at least its first component is.
 * ret_name: where the last component begins.
 */
bool mgc_scan_in_dir(const struct mgc_scan *s, size_t at, size_t end, bool any, size_t *ret_name);

#endif
