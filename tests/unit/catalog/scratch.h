/* scratch.h -- a directory for one test, and catalogs opened in it. */
#ifndef TESTS_UNIT_CATALOG_SCRATCH_H
#define TESTS_UNIT_CATALOG_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mediagcfs/catalog.h"

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define T0 (INT64_C(1700000040) * SECOND) /* a whole minute */

struct scratch {
    char directory[64];
    int64_t reserved; /* the tree's mark: what reserve() was told last */
    struct mgc_err err;
};

#define ok(s, call)                                                                                \
    do {                                                                                           \
        (s)->err = (struct mgc_err){0};                                                            \
        int ok_r_ = (call);                                                                        \
        if (ok_r_ != 0)                                                                            \
            fail_msg("%s: %d: %s", #call, ok_r_, (s)->err.text);                                   \
    } while (0)

/* For cmocka_unit_test_setup_teardown(). */
int scratch_new(void **state);
int scratch_free(void **state);
#define scratch_test(f) cmocka_unit_test_setup_teardown(f, scratch_new, scratch_free)

/* Opens for writing; must succeed. */
struct mgc_catalog *writer(struct scratch *s);
struct mgc_catalog *reader(struct scratch *s);
/* What opening for writing says, when it should fail. */
int writer_fails(struct scratch *s);

struct mgc_file_stat a_file(uint64_t ino, int64_t bytes, int64_t ctime_us);
void create(struct scratch *s, struct mgc_catalog *c, const char *path, uint64_t ino);
void opened_at(struct scratch *s, struct mgc_catalog *c, const char *path, int64_t time_us);
/* Id of the entry, 0 when there is none. */
int64_t id_of(struct mgc_catalog *c, const char *path);
/* Path in the scratch directory; valid until the fourth call after. */
const char *in(const struct scratch *s, const char *name);
/* Runs SQL on a database file that no catalog has open. */
void sql(struct scratch *s, const char *statements);
/* Content of a file as a string; the caller frees it. */
char *read_whole(const char *path, size_t *ret_bytes);
void write_at(const char *path, int64_t offset, const void *data, size_t bytes);

#endif
