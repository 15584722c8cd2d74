/*
 * service.c -- builds the objects of one tree in the order in which each needs the one before, and
 * takes them down in reverse.
 */
#include "mediagcfs/service.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/log.h"
#include "service_priv.h"

/* Who the reconciler runs as: `user`, else the tree's owner.  The group may read the catalog. */
static int find_user(struct mgc_service *s, struct mgc_err *err)
{
    const char *name = s->conf->reconcile.user;
    const struct passwd *entry;
    struct stat st;

    if (fstat(s->spec.root_fd, &st) < 0)
        return mgc_err_set(err, -errno, "could not inspect source '%s'",
                           MGC_SHOW(s->conf->filesystem.source));
    entry = name != NULL ? getpwnam(name) : getpwuid(st.st_uid);
    if (entry == NULL && name != NULL) {
        (void)mgc_err_say(err, MGC_E_CONFIG, "unknown user '%s' in 'reconcile'", MGC_SHOW(name));
        (void)mgc_err_hint(err, "Create the user, or leave 'user' out: then the tree's owner runs "
                                "the reconciler.");
        return MGC_E_CONFIG;
    }
    s->user_uid = entry != NULL ? entry->pw_uid : st.st_uid;
    s->user_gid = entry != NULL ? entry->pw_gid : st.st_gid;
    return 0;
}

/* Creates the directory and what is missing above it, readable by the reconciler's group. */
static int make_directory(struct mgc_service *s, struct mgc_err *err)
{
    mgc_autofree char *path = strdup(s->conf->catalog.directory);
    int r = 0;

    if (path == NULL)
        return mgc_err_set(err, -ENOMEM, "could not make the catalog directory");
    for (char *slash = strchr(path + 1, '/'); slash != NULL && r == 0; slash = strchr(slash, '/')) {
        *slash = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            r = -errno;
        else if (errno != EEXIST)
            (void)chmod(path, 0755); /* our umask may be anything */
        *slash++ = '/';
        errno = 0;
    }
    if (r == 0 && mkdir(path, 0750) < 0 && errno != EEXIST)
        r = -errno;
    if (r == 0 &&
        (chmod(path, 0750) < 0 || (geteuid() == 0 && chown(path, (uid_t)-1, s->user_gid) < 0)))
        r = -errno;
    return r < 0 ? mgc_err_set(err, r, "could not make catalog directory '%s'", MGC_SHOW(path)) : 0;
}

static int reserve(void *arg, int64_t up_to, struct mgc_err *err)
{
    struct mgc_service *s = arg;

    return mgc_home_reserve(&s->home, up_to, err);
}

static int open_catalog(struct mgc_service *s, struct mgc_err *err)
{
    const struct mgc_catalog_spec spec = {
        .directory = s->conf->catalog.directory,
        .reserved_id = s->home.reserved_id,
        .reserve = reserve,
        .arg = s,
        .mode = 0640,
        .gid = geteuid() == 0 ? (int64_t)s->user_gid : -1,
    };
    char aside[MGC_PATH_BYTES_MAX + 1];
    int r = mgc_catalog_open_sqlite(&spec, &s->catalog, err);

    if (r != MGC_E_CORRUPT)
        return r;
    /* G6: it is only memory.  The tree is verified anew, slots tell their own origin. */
    r = mgc_catalog_set_aside(spec.directory, aside, sizeof(aside), err);
    if (r < 0)
        return r;
    mgc_log(MGC_LOG_WARNING, "the catalog is damaged: set aside as '%s', beginning a new one",
            MGC_SHOW(aside));
    r = mgc_catalog_open_sqlite(&spec, &s->catalog, err);
    if (r == 0)
        mgc_service_say(s, MGC_EVENT_CATALOG, 0, "damaged: set aside and begun anew", NULL);
    return r;
}

/* The catalog belongs to one tree (H10): another tree's is refused, a new one is pinned. */
static int pin_tree(struct mgc_service *s, struct mgc_err *err)
{
    char pinned[64] = "";
    int r = s->catalog->ops->meta_text_get(s->catalog, MGC_META_TREE_ID, pinned, sizeof(pinned));

    if (r == -ENOENT)
        return s->catalog->ops->meta_text_set(s->catalog, MGC_META_TREE_ID, s->home.tree_id, err);
    if (r < 0)
        return mgc_err_set(err, r, "could not read from catalog '%s' which tree it belongs to",
                           MGC_SHOW(s->conf->catalog.directory));
    if (strcmp(pinned, s->home.tree_id) == 0)
        return 0;
    (void)mgc_err_say(err, MGC_E_IDENTITY, "catalog '%s' belongs to another tree than '%s'",
                      MGC_SHOW(s->conf->catalog.directory), MGC_SHOW(s->conf->filesystem.source));
    (void)mgc_err_hint(err, "Is the right disk mounted? If this is a new tree, give it another "
                            "catalog directory or move the old one away.");
    return MGC_E_IDENTITY;
}

static void recorder_incomplete(void *arg, const struct mgc_err *why)
{
    struct mgc_service *s = arg;

    mgc_log(MGC_LOG_WARNING, "the catalog is incomplete, verifying again: %s", why->text);
    mgc_service_scan_want(s);
}

static int start_recorder(struct mgc_service *s, struct mgc_err *err)
{
    const struct mgc_recorder_spec spec = {
        .catalog = s->catalog,
        .os = s->os,
        .commit_every_us = s->conf->catalog.commit_every_us,
        .incomplete = recorder_incomplete,
        .arg = s,
    };

    return s->spec.offline ? 0 : mgc_recorder_start(&spec, &s->recorder, err);
}

static void init_locks(struct mgc_service *s)
{
    pthread_condattr_t monotonic;

    (void)pthread_mutex_init(&s->mutex, NULL);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s->changed_cond, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
}

static int open_all(struct mgc_service *s, struct mgc_err *err)
{
    int r = find_user(s, err);

    if (r == 0)
        r = mgc_home_open(s->os, s->spec.root_fd, &s->home, err);
    if (r < 0)
        return r;
    s->home_open = true;
    r = make_directory(s, err);
    if (r == 0)
        r = open_catalog(s, err);
    if (r == 0)
        r = pin_tree(s, err);
    if (r < 0)
        return r;
    s->events_fd = open(s->conf->log.file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (s->events_fd < 0)
        return mgc_err_set(err, -errno, "could not open log file '%s'",
                           MGC_SHOW(s->conf->log.file));
    if (geteuid() == 0 && fchown(s->events_fd, (uid_t)-1, s->user_gid) < 0)
        return mgc_err_set(err, -errno, "could not give log file '%s' to its group",
                           MGC_SHOW(s->conf->log.file));
    r = mgc_service_clock(s, true, err);
    if (r == 0)
        r = mgc_service_generation(s, err);
    if (r == 0)
        r = s->catalog->ops->meta_set(s->catalog, MGC_META_MOUNTED, s->started_us, err);
    if (r == 0)
        r = s->catalog->ops->meta_set(s->catalog, MGC_META_CLEAN, 0, err);
    if (r == 0)
        r = start_recorder(s, err);
    return r == 0 && s->spec.offline ? mgc_service_attach(s, NULL, err) : r;
}

int mgc_service_open(const struct mgc_service_spec *spec, struct mgc_service **ret,
                     struct mgc_err *err)
{
    struct mgc_service *s = calloc(1, sizeof(*s));
    int r;

    if (s == NULL)
        return mgc_err_set(err, -ENOMEM, "could not start the service");
    s->spec = *spec;
    s->conf = spec->conf;
    s->os = spec->os;
    s->events_fd = -1;
    s->started_us = s->os->now_us(s->os);
    init_locks(s);
    s->locks = mgc_pathlocks_new();
    r = s->locks == NULL ? mgc_err_set(err, -ENOMEM, "could not start the service")
                         : open_all(s, err);
    if (r < 0) {
        (void)mgc_service_close(s, NULL);
        return r;
    }
    *ret = s;
    return 0;
}

static void hook_changed(void *arg, const struct mgc_file_stat *dir, const char *name, bool gone)
{
    struct mgc_service *s = arg;

    if (s->spec.changed != NULL)
        s->spec.changed(s->spec.arg, dir, name, gone);
}

int mgc_service_attach(struct mgc_service *s, struct mgc_tree *tree, struct mgc_err *err)
{
    const struct mgc_quarantine_spec spec = {
        .os = s->os,
        .catalog = s->catalog,
        .home = &s->home,
        .tree = tree,
        .locks = s->locks,
        .recorder = s->recorder,
        .changed = hook_changed,
        .event = mgc_service_note,
        .arg = s,
    };
    struct mgc_recover_result result = {0};
    int r;

    MGC_ASSERT(s->quarantine == NULL);
    s->tree = tree;
    r = mgc_quarantine_new(&spec, &s->quarantine, err);
    if (r == 0)
        r = mgc_quarantine_recover(s->quarantine, &result, err);
    if (r == 0)
        r = mgc_service_events_flush(s, err);
    if (r == 0)
        s->attached = true;
    return r;
}

struct mgc_recorder *mgc_service_recorder(struct mgc_service *s)
{
    return s->recorder;
}

struct mgc_catalog *mgc_service_catalog(struct mgc_service *s)
{
    return s->catalog;
}

struct mgc_pathlocks *mgc_service_pathlocks(struct mgc_service *s)
{
    return s->locks;
}

int mgc_service_start(struct mgc_service *s, struct mgc_err *err)
{
    int r;

    MGC_ASSERT(s->attached && !s->spec.offline);
    mgc_service_say(s, MGC_EVENT_MOUNT, 0, s->conf->filesystem.mountpoint, NULL);
    r = mgc_service_events_flush(s, err);
    if (r == 0)
        r = mgc_service_scan_start(s, err);
    if (r < 0)
        return r;
    r = mgc_service_schedule_start(s, err);
    if (r < 0) {
        mgc_service_scan_stop(s);
        return r;
    }
    (void)pthread_mutex_lock(&s->mutex);
    s->threads_started = true;
    (void)pthread_mutex_unlock(&s->mutex);
    return 0;
}

/* Everything recorded is committed, ids are settled, and the next start may believe all of it. */
static int finish(struct mgc_service *s, struct mgc_err *err)
{
    int64_t now = s->os->now_us(s->os);
    int r = mgc_service_events_flush(s, err);

    if (r == 0)
        r = s->catalog->ops->flush(s->catalog, err);
    if (r == 0)
        r = mgc_home_settle_ids(&s->home, mgc_catalog_meta(s->catalog, MGC_META_NEXT_ID, 0), err);
    if (r == 0)
        r = s->catalog->ops->meta_set(s->catalog, MGC_META_ALIVE, now, err);
    if (r == 0)
        r = s->catalog->ops->meta_set(s->catalog, MGC_META_CLEAN, 1, err);
    return r;
}

void mgc_service_stop(struct mgc_service *s)
{
    if (s == NULL)
        return;
    s->stop_scan = true;
    (void)pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    (void)pthread_cond_broadcast(&s->changed_cond);
    (void)pthread_mutex_unlock(&s->mutex);
}

int mgc_service_close(struct mgc_service *s, struct mgc_err *err)
{
    int r = 0, stopped;

    if (s == NULL)
        return 0;
    if (s->threads_started) {
        mgc_service_schedule_stop(s);
        mgc_service_scan_stop(s);
        mgc_service_say(s, MGC_EVENT_UNMOUNT, 0, s->conf->filesystem.mountpoint, NULL);
    }
    if (s->recorder != NULL)
        r = mgc_recorder_stop(s->recorder, err);
    mgc_quarantine_free(s->quarantine);
    if (s->attached) {
        stopped = finish(s, r == 0 ? err : NULL);
        r = r == 0 ? stopped : r;
    }
    mgc_catalog_close(s->catalog);
    if (s->home_open)
        mgc_home_close(&s->home);
    if (s->events_fd >= 0)
        (void)close(s->events_fd);
    mgc_service_events_done(s);
    mgc_pathlocks_free(s->locks);
    (void)pthread_cond_destroy(&s->changed_cond);
    (void)pthread_mutex_destroy(&s->mutex);
    free(s);
    return r;
}

gid_t mgc_service_gid(const struct mgc_service *s)
{
    return s->user_gid;
}
