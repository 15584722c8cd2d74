/*
 * home_record.c -- the small checksummed files of our private directory.
 *
 *   H-D  A record is two lines and a checksum over them; it is replaced whole or not at all: a
 *        reader finds the former or the next one, also after a power cut.
 *
 * The checksum finds damage, not malice: whoever can write here can write anything.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "fs/media/home_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

enum {
    RECORD_BYTES_MAX = 256, /* a record is under 100 */
    FILE_MODE = 0600,
};

struct record_kind {
    const char *name, *temporary; /* file and its next content */
    const char *head, *key;       /* first line without the version; word of the second */
};
static const struct record_kind tree_record = {"tree", "tree.new", "mediagcfs tree ", "id "};
static const struct record_kind generation_record = {"generation", "generation.new",
                                                     "mediagcfs generation ", "count "};
static const struct record_kind ids_record = {"ids", "ids.new", "mediagcfs ids ", "next "};
#define RECORD_VERSION "1"

static uint64_t checksum(const char *data, size_t bytes)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a, 64 bits */

    for (size_t i = 0; i < bytes; i++)
        h = (h ^ (unsigned char)data[i]) * UINT64_C(0x100000001b3);
    return h;
}

static int write_whole(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        data += n;
        bytes -= (size_t)n;
    }
    return 0;
}

static int write_temporary(int home_fd, const char *name, const char *text, size_t bytes)
{
    mgc_autofd fd =
        openat(home_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
    int r;

    if (fd < 0)
        return -errno;
    if (fchmod(fd, FILE_MODE) < 0)
        return -errno;
    r = write_whole(fd, text, bytes);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    return r;
}

/* A temporary file left by a failure is overwritten by the next call. */
static int record_write(struct mgc_os *os, int home_fd, const struct record_kind *kind,
                        const char *value, struct mgc_err *err)
{
    char text[RECORD_BYTES_MAX];
    int n =
        snprintf(text, sizeof(text), "%s" RECORD_VERSION "\n%s%s\n", kind->head, kind->key, value);
    int r;

    MGC_ASSERT(n > 0 && n < RECORD_BYTES_MAX - 32);
    n += snprintf(text + n, sizeof(text) - (size_t)n, "check %016" PRIx64 "\n",
                  checksum(text, (size_t)n));
    r = write_temporary(home_fd, kind->temporary, text, (size_t)n);
    if (r == 0 && renameat(home_fd, kind->temporary, home_fd, kind->name) < 0)
        r = -errno;
    if (r == 0)
        r = os->sync_dir(os, home_fd);
    if (r < 0)
        return mgc_err_set(err, r, "could not write '" MGC_PRIVATE_DIR "/%s'", kind->name);
    return 0;
}

/* The whole file into text, terminated; -ENOENT, MGC_E_CORRUPT when it is too long. */
static int read_small(int home_fd, const char *name, char text[RECORD_BYTES_MAX])
{
    mgc_autofd fd = openat(home_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    size_t have = 0;

    if (fd < 0)
        return errno == ELOOP ? MGC_E_CORRUPT : -errno;
    for (;;) {
        ssize_t n = read(fd, text + have, RECORD_BYTES_MAX - 1 - have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EISDIR ? MGC_E_CORRUPT : -errno;
        if (n == 0)
            break;
        have += (size_t)n;
        if (have == RECORD_BYTES_MAX - 1)
            return MGC_E_CORRUPT;
    }
    text[have] = '\0';
    return strlen(text) == have ? 0 : MGC_E_CORRUPT;
}

/* 0 and the value; -ENOENT, MGC_E_CORRUPT, MGC_E_VERSION, -errno. */
static int record_read(int home_fd, const struct record_kind *kind, char value[RECORD_BYTES_MAX])
{
    char text[RECORD_BYTES_MAX], check[32];
    size_t head = strlen(kind->head), key = strlen(kind->key), bytes;
    const char *second, *third;
    int r = read_small(home_fd, kind->name, text);

    if (r < 0)
        return r;
    if (strncmp(text, kind->head, head) != 0)
        return MGC_E_CORRUPT;
    second = strchr(text, '\n');
    third = second != NULL ? strchr(second + 1, '\n') : NULL;
    if (third == NULL)
        return MGC_E_CORRUPT;
    (void)snprintf(check, sizeof(check), "check %016" PRIx64 "\n",
                   checksum(text, (size_t)(third + 1 - text)));
    if (strcmp(third + 1, check) != 0)
        return MGC_E_CORRUPT;
    if (strncmp(text + head, RECORD_VERSION "\n", sizeof(RECORD_VERSION)) != 0)
        return MGC_E_VERSION; /* intact, but not in a form we know */
    if (strncmp(second + 1, kind->key, key) != 0)
        return MGC_E_CORRUPT;
    bytes = (size_t)(third - (second + 1)) - key;
    memcpy(value, second + 1 + key, bytes);
    value[bytes] = '\0';
    return 0;
}

int mgc_home_tree_read(int home_fd, char id[33])
{
    char value[RECORD_BYTES_MAX];
    int r = record_read(home_fd, &tree_record, value);

    if (r < 0)
        return r;
    if (strlen(value) != 32 || strspn(value, "0123456789abcdef") != 32)
        return MGC_E_CORRUPT;
    memcpy(id, value, 33);
    return 0;
}

bool mgc_home_parse_id(const char *text, int64_t *ret_id)
{
    char *end;
    long long n;

    if (*text < '1' || *text > '9')
        return false;
    errno = 0;
    n = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0')
        return false;
    *ret_id = n;
    return true;
}

/* What an operator writes by hand where the file was lost: one line "at least N". */
static bool ids_by_hand(int home_fd, int64_t *ret_next)
{
    static const char words[] = "at least ";
    char text[RECORD_BYTES_MAX];
    size_t bytes;

    if (read_small(home_fd, ids_record.name, text) < 0)
        return false;
    bytes = strlen(text);
    if (bytes > 0 && text[bytes - 1] == '\n')
        text[bytes - 1] = '\0';
    return strncmp(text, words, sizeof(words) - 1) == 0 &&
           mgc_home_parse_id(text + sizeof(words) - 1, ret_next);
}

int mgc_home_ids_read(int home_fd, int64_t *ret_next)
{
    char value[RECORD_BYTES_MAX];
    int r = record_read(home_fd, &ids_record, value);

    if (r == MGC_E_CORRUPT && ids_by_hand(home_fd, ret_next))
        return 0;
    if (r == 0 && !mgc_home_parse_id(value, ret_next))
        return MGC_E_CORRUPT;
    return r;
}

int mgc_home_ids_write(struct mgc_os *os, int home_fd, int64_t next, struct mgc_err *err)
{
    char value[32];

    (void)snprintf(value, sizeof(value), "%" PRId64, next);
    return record_write(os, home_fd, &ids_record, value, err);
}

int mgc_home_generation_read(int home_fd, int64_t *ret_count)
{
    char value[RECORD_BYTES_MAX];
    int r = record_read(home_fd, &generation_record, value);

    if (r == 0 && !mgc_home_parse_id(value, ret_count))
        return MGC_E_CORRUPT;
    return r;
}

int mgc_home_generation_write(struct mgc_os *os, int home_fd, int64_t count, struct mgc_err *err)
{
    char value[32];

    (void)snprintf(value, sizeof(value), "%" PRId64, count);
    return record_write(os, home_fd, &generation_record, value, err);
}

int mgc_home_tree_write(struct mgc_os *os, int home_fd, const char *id, struct mgc_err *err)
{
    return record_write(os, home_fd, &tree_record, id, err);
}
