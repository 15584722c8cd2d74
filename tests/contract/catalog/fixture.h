/*
 * fixture.h -- one suite for every store behind catalog.h.
 *
 * Each test is run against each kind of store: SQLite in a directory, and the same store closed
 * and opened again after each call that changes something (nothing may live in memory only).
 */
#ifndef TESTS_CONTRACT_CATALOG_FIXTURE_H
#define TESTS_CONTRACT_CATALOG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mediagcfs/catalog.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
/* A moment the tests count from; a whole minute. */
#define T0 (INT64_C(1700000040) * SECOND)

struct fixture {
    struct mgc_catalog *c;
    struct mgc_err err;
    char directory[64];
    int64_t reserved;   /* what reserve() was told last */
    int reserve_result; /* what it answers */
    int reserve_calls;
};

/* Runs the tests once for each store; exit status. */
int contract_run(const char *name, const struct CMUnitTest *tests, size_t count);

/* Asserts 0 and shows the message otherwise. */
#define ok(f, call)                                                                                \
    do {                                                                                           \
        (f)->err = (struct mgc_err){0};                                                            \
        int ok_r_ = (call);                                                                        \
        if (ok_r_ != 0)                                                                            \
            fail_msg("%s: %d: %s", #call, ok_r_, (f)->err.text);                                   \
    } while (0)

/* A regular file of that inode number, owned by uid 33, change time as given. */
struct mgc_file_stat a_file(uint64_t ino, int64_t bytes, int64_t ctime_us);
struct mgc_file_stat a_dir(uint64_t ino, int64_t ctime_us);

void change(struct fixture *f, struct mgc_change change);
void create(struct fixture *f, const char *path, uint64_t ino, int64_t time_us);
void mkdir_at(struct fixture *f, const char *path, int64_t time_us);
void unlink_at(struct fixture *f, const char *path, int64_t time_us);
void rename_at(struct fixture *f, const char *from, const char *to, bool directory,
               int64_t time_us);

/* The row, without a usable name; false when there is none. */
bool entry_of(struct fixture *f, const char *path, struct mgc_entry *ret_entry);
/* The row that must be there. */
struct mgc_entry entry_at(struct fixture *f, const char *path);
bool exists(struct fixture *f, const char *path);
bool dir_exists(struct fixture *f, const char *path);
void assert_totals(struct fixture *f, int64_t entries, int64_t bytes);

#endif
