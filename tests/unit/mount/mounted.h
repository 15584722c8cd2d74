/*
 * mounted.h -- a real mount for a test, served by a child process, gone whatever happens.
 *
 * A janitor process holds the read end of a pipe: when the test ends in any way, it kills the
 * server by pid and detaches the mount.
 */
#ifndef TESTS_MOUNTED_H
#define TESTS_MOUNTED_H

#include "mediagcfs/attr.h"

#include <sys/types.h>

enum { MOUNTED_LOG_BYTES = 1 << 20 };

struct mounted_options {
    bool in_place;
    bool no_passthrough;
    int64_t cache_for_us; /* 0: a day */
    int64_t open_resolution_us;
};

struct mounted {
    char base[64];                       /* directory on tmpfs, removed at the end */
    char source[96], mnt[96], plain[96]; /* plain: beside the mount, on the same filesystem */
    int source_fd;
    pid_t server, janitor;
    int commands, answers, janitor_pipe;
    struct mounted_log *log;
};

/* Asserts that it answers. */
void mounted_start(struct mounted *m, const struct mounted_options *options);
/* Unmounts in an orderly way if it still runs; asserts the server's exit status 0. */
void mounted_stop(struct mounted *m);

/* Commands for the server; each returns its code. */
/* Marks the node of source/path and moves the file to source/to (relative, or absolute). */
int mounted_hold(struct mounted *m, const char *path, const char *to);
/* Marks only; release takes it back. */
int mounted_mark(struct mounted *m, const char *path);
int mounted_release(struct mounted *m, const char *path);
/* mgc_mount_changed() for a name in a directory of the source ("" is the root). */
int mounted_changed(struct mounted *m, const char *dir, const char *name, bool gone);
/* mgc_mount_stop(); message receives the error's text and may be NULL. */
int mounted_unmount(struct mounted *m, bool lazy, char *message, size_t message_bytes);
/* Waits for the server to end, at most a few seconds; its exit status, or -1. */
int mounted_wait(struct mounted *m);

/* What was recorded so far, one line a change: "create a/b uid=33 size=5". */
const char *mounted_recorded(struct mounted *m);
/* How often a line of it begins with `text`. */
int mounted_count(struct mounted *m, const char *text);
/* Waits up to two seconds for a line that begins with `text` (a RELEASE comes after close()). */
bool mounted_saw(struct mounted *m, const char *text);

/* Runs fn in a child under these ids (groups: `group` too when not 0); its result, or -1. */
int as_user(uid_t uid, gid_t gid, gid_t group, int (*fn)(void *arg), void *arg);

/* "dir/name" in a static ring of buffers. */
const char *at(const char *dir, const char *name);
void put_file(const char *path, const char *text);
/* Content of a file, static; NULL when it cannot be read. */
const char *get_file(const char *path);

#endif
