/* scratch.h -- a directory of its own for each test, gone afterwards. */
#ifndef MGC_TESTS_SCRATCH_H
#define MGC_TESTS_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mediagcfs/attr.h"

extern char scratch[64]; /* its path */
extern int scratch_fd;

int scratch_begin(void **state); /* as set-up ... */
int scratch_end(void **state);   /* ... and tear-down of cmocka */
void scratch_write(const char *name, const char *text);
/* Path of a name in it; good until the next call. */
const char *scratch_path(const char *name);

#endif
