/* scratch.c -- a directory of its own for each test, gone afterwards. */
#include "scratch.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

char scratch[64];
int scratch_fd = -1;

int scratch_begin(void **state)
{
    (void)state;
    (void)snprintf(scratch, sizeof(scratch), "/dev/shm/mgc-sys-XXXXXX");
    if (mkdtemp(scratch) == NULL)
        return -1;
    scratch_fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return scratch_fd < 0 ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *s, int type, struct FTW *where)
{
    (void)s;
    (void)type;
    (void)where;
    return remove(path);
}

int scratch_end(void **state)
{
    (void)state;
    (void)close(scratch_fd);
    return nftw(scratch, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_path(const char *name)
{
    static char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", scratch, name);
    return path;
}

void scratch_write(const char *name, const char *text)
{
    mgc_autofd fd = openat(scratch_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0644), 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}
