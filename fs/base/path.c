/* path.c -- what may be opened in the media tree (G10), and globs. */
#include "mediagcfs/path.h"

#include "mediagcfs/assert.h"

static bool dots(const char *s, size_t bytes)
{
    return (bytes == 1 && s[0] == '.') || (bytes == 2 && s[0] == '.' && s[1] == '.');
}

int mgc_path_check(const char *path)
{
    size_t bytes = strlen(path);
    const char *part = path;

    if (bytes == 0 || mgc_path_is_private(path))
        return -EINVAL;
    if (bytes > MGC_PATH_BYTES_MAX)
        return -ENAMETOOLONG;
    for (;;) {
        size_t length = strcspn(part, "/");

        if (length == 0 || dots(part, length))
            return -EINVAL;
        if (length > MGC_NAME_BYTES_MAX)
            return -ENAMETOOLONG;
        if (part[length] == '\0')
            return 0;
        part += length + 1;
    }
}

bool mgc_path_is_private(const char *path)
{
    return mgc_path_beneath(path, MGC_PRIVATE_DIR);
}

const char *mgc_path_leaf(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

size_t mgc_path_dir_bytes(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? (size_t)(slash - path) : 0;
}

int mgc_path_join(char *out, size_t out_bytes, const char *dir, const char *name)
{
    int need = dir[0] == '\0' ? snprintf(out, out_bytes, "%s", name)
                              : snprintf(out, out_bytes, "%s/%s", dir, name);

    return need < 0 || (size_t)need >= out_bytes ? -ENAMETOOLONG : 0;
}

bool mgc_path_beneath(const char *path, const char *dir)
{
    size_t bytes = strlen(dir);

    if (bytes == 0)
        return true;
    return strncmp(path, dir, bytes) == 0 && (path[bytes] == '\0' || path[bytes] == '/');
}

/* Reads one class or byte of the pattern; *ret_next is where the pattern goes on. */
static bool one_matches(const char *p, unsigned char c, const char **ret_next)
{
    bool negate, hit = false;

    if (*p == '\\' && p[1] != '\0') {
        *ret_next = p + 2;
        return (unsigned char)p[1] == c;
    }
    if (*p == '?') {
        *ret_next = p + 1;
        return c != '/';
    }
    if (*p != '[') {
        *ret_next = p + 1;
        return (unsigned char)*p == c;
    }
    p++;
    negate = *p == '!' || *p == '^';
    if (negate)
        p++;
    for (bool first = true; *p != '\0' && (first || *p != ']'); first = false) {
        unsigned char low = (unsigned char)*p++, high = low;

        if (p[0] == '-' && p[1] != ']' && p[1] != '\0') {
            high = (unsigned char)p[1];
            p += 2;
        }
        hit = hit || (c >= low && c <= high);
    }
    *ret_next = *p == ']' ? p + 1 : p;
    return c != '/' && hit != negate;
}

enum { WORD_BITS = 64, GLOB_WORDS = MGC_GLOB_BYTES_MAX / WORD_BITS + 1 };

static void set_bit(uint64_t *set, size_t i)
{
    set[i / WORD_BITS] |= UINT64_C(1) << (i % WORD_BITS);
}

/* First member of the set at or after i; `end` when there is none. */
static size_t next_bit(const uint64_t *set, size_t i, size_t end)
{
    for (; i < end; i = (i / WORD_BITS + 1) * WORD_BITS) {
        uint64_t rest = set[i / WORD_BITS] >> (i % WORD_BITS);

        if (rest != 0)
            return i + (size_t)__builtin_ctzll(rest);
    }
    return end;
}

/* "**" with its slash may stand for no directory at all, where a directory could begin. */
static bool may_be_nothing(const char *pattern, size_t i)
{
    return pattern[i + 2] == '/' && (i == 0 || pattern[i - 1] == '/');
}

/*
 * Where the pattern may stand after the byte at `s` (sets[1]), from where it may stand before it
 * (sets[0]).  Stars add offsets further on, so one pass in order sees them all.
 */
static void advance(const char *pattern, size_t bytes, const char *s, bool at_start,
                    uint64_t *sets[2])
{
    uint64_t *now = sets[0], *after = sets[1];
    unsigned char c = (unsigned char)*s;

    for (size_t i = next_bit(now, 0, bytes); i < bytes; i = next_bit(now, i + 1, bytes)) {
        const char *rest;

        if (pattern[i] == '*' && pattern[i + 1] == '*') {
            set_bit(now, i + 2);
            if (at_start && may_be_nothing(pattern, i))
                set_bit(now, i + 3);
            set_bit(after, i);
        } else if (pattern[i] == '*') {
            set_bit(now, i + 1);
            if (c != '/')
                set_bit(after, i);
        } else if (c != '\0' && one_matches(pattern + i, c, &rest))
            set_bit(after, (size_t)(rest - pattern));
    }
}

/* All ways to match are followed at once: pattern x path steps whatever the two contain. */
static bool glob(const char *pattern, const char *path)
{
    uint64_t memory[2][GLOB_WORDS], *sets[2] = {memory[0], memory[1]};
    size_t bytes = strlen(pattern), words = bytes / WORD_BITS + 1;

    if (bytes > MGC_GLOB_BYTES_MAX - 1) /* mgc_glob_check() refuses it */
        return false;
    memset(sets[0], 0, words * sizeof(sets[0][0]));
    set_bit(sets[0], 0);
    for (const char *s = path;; s++) {
        uint64_t *now = sets[0];

        memset(sets[1], 0, words * sizeof(sets[1][0]));
        advance(pattern, bytes, s, s == path || s[-1] == '/', sets);
        if (*s == '\0')
            return next_bit(now, bytes, bytes + 1) == bytes;
        sets[0] = sets[1];
        sets[1] = now;
        if (next_bit(sets[0], 0, bytes + 1) > bytes)
            return false;
    }
}

bool mgc_glob_match(const char *pattern, const char *path)
{
    if (strchr(pattern, '/') == NULL && strstr(pattern, "**") == NULL)
        return glob(pattern, mgc_path_leaf(path));
    return glob(pattern[0] == '/' ? pattern + 1 : pattern, path);
}

int mgc_glob_check(const char *pattern)
{
    if (pattern[0] == '\0' || strlen(pattern) >= MGC_GLOB_BYTES_MAX)
        return -EINVAL;
    for (const char *p = pattern; *p != '\0'; p++) {
        const char *end;

        if (*p == '\\') {
            if (*++p == '\0')
                return -EINVAL;
            continue;
        }
        if (*p != '[')
            continue;
        p++;
        if (*p == '!' || *p == '^')
            p++;
        end = *p != '\0' ? strchr(p + 1, ']') : NULL;
        if (end == NULL)
            return -EINVAL;
        for (; p < end; p++) /* [[:alpha:]] and its like are not what they seem here */
            if (p[0] == '[' && (p[1] == ':' || p[1] == '.' || p[1] == '='))
                return -EINVAL;
    }
    return 0;
}
