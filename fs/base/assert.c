/* assert.c -- says what failed on stderr and aborts; async-signal-safe. */
#include "mediagcfs/assert.h"

void mgc_assert_fail(const char *condition, const char *file, int line)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "mediagcfs: assertion failed: %s (%s:%d)\n", condition,
                     file, line);

    if (n > 0) {
        size_t bytes = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
        ssize_t written = write(STDERR_FILENO, text, bytes);
        (void)written;
    }
    abort();
}
