/* conf_places.c -- catalog and log lie outside the media tree, links resolved (H13). */
#include <limits.h>

#include "fs/sys/conf_priv.h"
#include "mediagcfs/bytes.h"
#include "mediagcfs/conf.h"
#include "mediagcfs/path.h"

int mgc_conf_follow(char **path)
{
    char target[PATH_MAX], next[PATH_MAX];

    /* Only the last component: links above it lead to the same mount point. */
    for (int links = 0; links < 40; links++) {
        ssize_t n = readlink(*path, target, sizeof(target) - 1);
        const char *slash = strrchr(*path, '/');
        char *copy;
        int need;

        if (n <= 0 || slash == NULL)
            return 0; /* no link, or not to be told: it is used as it stands */
        target[n] = '\0';
        need = target[0] == '/'
                   ? snprintf(next, sizeof(next), "%s", target)
                   : snprintf(next, sizeof(next), "%.*s/%s", (int)(slash - *path), *path, target);
        if (need < 0 || (size_t)need >= sizeof(next))
            return -ENAMETOOLONG;
        for (size_t end = strlen(next); end > 1 && next[end - 1] == '/'; end--)
            next[end - 1] = '\0';
        copy = strdup(next);
        if (copy == NULL)
            return -ENOMEM;
        free(*path);
        *path = copy;
    }
    return -ELOOP;
}

/* Resolves what exists of a path and keeps the rest as it stands. */
static int resolve(const char *path, char *out)
{
    char head[PATH_MAX];
    size_t length = strlen(path);

    if (length >= sizeof(head))
        return -ENAMETOOLONG;
    memcpy(head, path, length + 1);
    while (realpath(head, out) == NULL) {
        char *slash = strrchr(head, '/');

        if (slash == NULL || slash == head)
            return -errno;
        *slash = '\0';
    }
    length = strlen(head);
    if (strlen(out) + strlen(path + length) >= PATH_MAX)
        return -ENAMETOOLONG;
    (void)snprintf(out + strlen(out), PATH_MAX - strlen(out), "%s", path + length);
    return 0;
}

int mgc_conf_places(const struct mgc_conf *conf, struct mgc_err *err)
{
    const char *const places[] = {conf->catalog.directory, conf->log.file};
    const char *const roots[] = {conf->filesystem.mountpoint, conf->filesystem.source};
    char place[PATH_MAX], root[PATH_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(roots); k++) {
            int r = resolve(places[i], place);

            if (r == 0)
                r = resolve(roots[k], root);
            if (r < 0)
                return mgc_err_set(err, r, "could not resolve '%s'", MGC_SHOW(places[i]));
            if (!mgc_path_beneath(place, root))
                continue;
            (void)mgc_err_say(err, MGC_E_CONFIG, "'%s' lies beneath '%s'", MGC_SHOW(places[i]),
                              MGC_SHOW(roots[k]));
            (void)mgc_err_hint(err, "Catalog, log and socket must lie outside the media tree: "
                                    "set 'directory' in 'catalog' or 'file' in 'log'.");
            return MGC_E_CONFIG;
        }
    }
    return 0;
}
