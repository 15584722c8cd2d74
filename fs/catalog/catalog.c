/* catalog.c -- contract checks, helpers over the table, and the names of states. */
#include "catalog_priv.h"

#include <sys/stat.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

// clang-format off
static const char *const run_results[] = {
    [MGC_RUN_RUNNING] = "running", [MGC_RUN_DONE] = "done", [MGC_RUN_INCOMPLETE] = "incomplete",
    [MGC_RUN_REFUSED] = "refused", [MGC_RUN_FAILED] = "failed",
};
static const char *const held_reasons[] = {
    [MGC_REASON_ORPHAN] = "orphan", [MGC_REASON_UNLINKED] = "unlinked",
    [MGC_REASON_REPLACED] = "replaced",
};
static const char *const held_states[] = {
    [MGC_HELD_MOVING] = "moving", [MGC_HELD_HELD] = "held", [MGC_HELD_RESTORING] = "restoring",
    [MGC_HELD_PURGING] = "purging",
};
// clang-format on

/* A number out of a row that a newer or damaged catalog wrote is input, not a programmer error. */
static const char *name_of(const char *const *names, size_t count, unsigned value)
{
    return value < count ? names[value] : "unknown";
}

const char *mgc_run_result_name(enum mgc_run_result r)
{
    return name_of(run_results, ARRAY_SIZE(run_results), (unsigned)r);
}

const char *mgc_held_reason_name(enum mgc_held_reason r)
{
    return name_of(held_reasons, ARRAY_SIZE(held_reasons), (unsigned)r);
}

const char *mgc_held_state_name(enum mgc_held_state s)
{
    return name_of(held_states, ARRAY_SIZE(held_states), (unsigned)s);
}

void mgc_catalog_close(struct mgc_catalog *c)
{
    if (c != NULL)
        c->ops->close(c);
}

int mgc_catalog_entry_path(struct mgc_catalog *c, int64_t dir_id, const char *name, char *out,
                           size_t out_bytes)
{
    char dir[MGC_PATH_BYTES_MAX + 1];
    int r = c->ops->dir_path(c, dir_id, dir, sizeof(dir));

    return r < 0 ? r : mgc_path_join(out, out_bytes, dir, name);
}

int64_t mgc_catalog_meta_or(struct mgc_catalog *c, const char *key, int64_t absent,
                            int64_t unreadable)
{
    int64_t value;
    int r = c->ops->meta_get(c, key, &value);

    if (r == 0)
        return value;
    return r == -ENOENT ? absent : unreadable;
}

int64_t mgc_catalog_meta(struct mgc_catalog *c, const char *key, int64_t otherwise)
{
    return mgc_catalog_meta_or(c, key, otherwise, otherwise);
}

int mgc_catalog_check_path(const char *path, bool root, struct mgc_err *err)
{
    int r = -EINVAL;

    if (path != NULL)
        r = root && path[0] == '\0' ? 0 : mgc_path_check(path);
    return r < 0 ? mgc_err_set(err, r, "could not record path '%s'",
                               path != NULL ? MGC_SHOW(path) : "(none)")
                 : 0;
}

int mgc_catalog_check_changes(const struct mgc_change *changes, size_t count, struct mgc_err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct mgc_change *change = &changes[i];
        bool two = change->kind == MGC_CHANGE_RENAME || change->kind == MGC_CHANGE_EXCHANGE;
        int r;

        MGC_ASSERT((unsigned)change->kind <= MGC_CHANGE_OPEN);
        r = mgc_catalog_check_path(change->path, change->kind == MGC_CHANGE_STAT, err);
        if (r == 0 && two)
            r = mgc_catalog_check_path(change->path2, false, err);
        /* The kernel refuses both; recording either would make a circle of directories. */
        if (r == 0 && two && strcmp(change->path, change->path2) != 0 &&
            (mgc_path_beneath(change->path2, change->path) ||
             mgc_path_beneath(change->path, change->path2)))
            r = mgc_err_set(err, -EINVAL, "could not record a rename of '%s' to '%s'",
                            MGC_SHOW(change->path), MGC_SHOW(change->path2));
        if (r < 0)
            return r;
    }
    return 0;
}

int mgc_catalog_check_seen(const struct mgc_seen_dir *seen, struct mgc_err *err)
{
    int r = mgc_catalog_check_path(seen->path, true, err);

    if (r < 0)
        return r;
    if (!S_ISDIR(seen->stat.mode))
        return mgc_err_set(err, -ENOTDIR, "could not record directory '%s'", MGC_SHOW(seen->path));
    for (size_t i = 0; i < seen->count; i++) {
        const char *name = seen->names[i].name;
        bool usable = name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
                      strcmp(name, "..") != 0 && strlen(name) <= MGC_NAME_BYTES_MAX;

        if (usable && i > 0)
            usable = strcmp(seen->names[i - 1].name, name) < 0;
        if (!usable)
            return mgc_err_set(err, -EINVAL, "could not record name '%s' of directory '%s'",
                               MGC_SHOW(name), MGC_SHOW(seen->path));
    }
    return 0;
}
