/*
 * source_probe.h -- what tests of sources share: a receiver of texts, and children of ours.
 */
#ifndef TESTS_REFS_SOURCE_PROBE_H
#define TESTS_REFS_SOURCE_PROBE_H

#include <sys/types.h>

#include "mediagcfs/source.h"

enum { SEEN_MAX = 4096 };

/* Receives texts; may be told to do something at the n-th. */
struct seen {
    char *lines[SEEN_MAX]; /* "table|column|flags|text", flags: w weak, h whole */
    size_t count;          /* kept in lines */
    int64_t texts, bytes;  /* all of them */
    int64_t act_at;        /* 0: never */
    void (*act)(void *arg);
    void *act_arg;
    int refuse; /* a negative code to return at act_at */
    int64_t sleep_us;
};
void seen_init(struct seen *s);
void seen_done(struct seen *s);
int seen_text(void *arg, const struct mgc_origin *origin, const char *text, size_t bytes);
bool seen_has(const struct seen *s, const char *line); /* an exact line */
bool seen_mentions(const struct seen *s, const char *part);

int64_t soon(int64_t span_us); /* a deadline */
/* begin, scan, end; the result of the scan. */
int scan_once(struct mgc_source *s, enum mgc_source_depth depth, struct seen *seen,
              struct mgc_err *err);
/* A child of this process whose name is `name`; -1 when there is none. */
pid_t child_named(const char *name);

#endif
