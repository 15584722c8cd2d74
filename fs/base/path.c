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

/*
 * Two backtracking points suffice, one for the last '*' and one for the last "**": a later star
 * can do everything an earlier one could within its reach.  So the cost is pattern x path per "**".
 */
static bool glob(const char *p, const char *s)
{
    const char *star_p = NULL, *star_s = NULL, *deep_p = NULL, *deep_s = NULL, *next;

    for (;;) {
        if (p[0] == '*' && p[1] == '*') {
            p += 2;
            if (*p == '/' && glob(p + 1, s)) /* "**" may also stand for no directory at all */
                return true;
            deep_p = p;
            deep_s = s;
            star_p = NULL;
            continue;
        }
        if (*p == '*') {
            star_p = ++p;
            star_s = s;
            continue;
        }
        if (*p == '\0' && *s == '\0')
            return true;
        if (*p != '\0' && *s != '\0' && one_matches(p, (unsigned char)*s, &next)) {
            p = next;
            s++;
            continue;
        }
        if (star_p != NULL && *star_s != '\0' && *star_s != '/') {
            s = ++star_s;
            p = star_p;
        } else if (deep_p != NULL && *deep_s != '\0') {
            s = ++deep_s;
            p = deep_p;
            star_p = NULL;
        } else
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
    for (const char *p = pattern; *p != '\0'; p++) {
        if (*p == '\\' && *++p == '\0')
            return -EINVAL;
        if (*p != '[')
            continue;
        p++;
        if (*p == '!' || *p == '^')
            p++;
        if (*p == '\0' || strchr(p + 1, ']') == NULL)
            return -EINVAL;
        p = strchr(p + 1, ']');
    }
    return pattern[0] == '\0' ? -EINVAL : 0;
}
