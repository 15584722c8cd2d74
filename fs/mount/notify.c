/*
 * notify.c -- tells the kernel about names that appeared or vanished on our own account.
 *
 *   A notification waits for the directory's lock in the kernel, which an application may hold
 *   while it waits for us.  So it is sent by a thread that never serves a request, and with no lock
 *   of ours held.  No safety rests on its arrival (H1): it saves the application a look at a ghost.
 */
#include "fs/mount/mount_priv.h"

#include "mediagcfs/assert.h"
#include "mediagcfs/log.h"

static void tell(struct mgc_mount *m, const struct mgc_notice *notice)
{
    fuse_ino_t dir = mgc_mount_ino(m, notice->dir);
    int r;

    /* -ENOENT: the kernel does not have it; anything else shows with the next request. */
    r = fuse_lowlevel_notify_inval_entry(m->session, dir, notice->name, strlen(notice->name));
    if (r < 0 && r != -ENOENT)
        mgc_log(MGC_LOG_DEBUG, "could not drop a cached name: %s", mgc_code_text(r));
    /* The listing is cached apart from the names, and so are the directory's times. */
    (void)fuse_lowlevel_notify_inval_inode(m->session, dir, 0, 0);
}

static void drop(struct mgc_mount *m, struct mgc_notice *notice)
{
    mgc_tree_unref(m->tree, notice->dir);
    free(notice);
}

static struct mgc_notice *next(struct mgc_notify *n)
{
    struct mgc_notice *first;

    (void)pthread_mutex_lock(&n->lock);
    while (n->first == NULL && !n->stop)
        (void)pthread_cond_wait(&n->changed, &n->lock);
    first = n->stop ? NULL : n->first;
    if (first != NULL) {
        n->first = first->next;
        if (n->first == NULL)
            n->last = &n->first;
        n->count--;
        (void)pthread_cond_broadcast(&n->changed);
    }
    (void)pthread_mutex_unlock(&n->lock);
    return first;
}

static void *work(void *arg)
{
    struct mgc_mount *m = arg;
    struct mgc_notice *notice;

    while ((notice = next(&m->notify)) != NULL) {
        tell(m, notice);
        drop(m, notice);
    }
    return NULL;
}

int mgc_notify_start(struct mgc_mount *m, struct mgc_err *err)
{
    struct mgc_notify *n = &m->notify;
    int r;

    MGC_ASSERT(!n->started);
    r = pthread_create(&n->thread, NULL, work, m);
    if (r != 0)
        return mgc_err_set(err, -r, "could not start the thread for notifications");
    (void)pthread_mutex_lock(&n->lock);
    n->started = n->running = true;
    (void)pthread_mutex_unlock(&n->lock);
    return 0;
}

void mgc_notify_stop(struct mgc_mount *m)
{
    struct mgc_notify *n = &m->notify;
    struct mgc_notice *left = NULL;
    bool join;

    (void)pthread_mutex_lock(&n->lock);
    n->stop = true;
    join = n->started;
    n->started = false;
    (void)pthread_cond_broadcast(&n->changed);
    (void)pthread_mutex_unlock(&n->lock);
    if (join)
        (void)pthread_join(n->thread, NULL);
    (void)pthread_mutex_lock(&n->lock);
    n->running = n->running && !join;
    if (!n->running) { /* else another stop waits for the thread, and takes the rest */
        left = n->first;
        n->first = NULL;
        n->last = &n->first;
        n->count = 0;
    }
    (void)pthread_mutex_unlock(&n->lock);
    while (left != NULL) {
        struct mgc_notice *notice = left;

        left = notice->next;
        drop(m, notice);
    }
}

void mgc_mount_changed(struct mgc_mount *m, const struct mgc_file_stat *dir, const char *name,
                       bool gone)
{
    struct mgc_notify *n = &m->notify;
    size_t bytes = strlen(name) + 1;
    struct mgc_notice *notice;

    (void)gone; /* one call drops a name that is gone and the knowledge that there was none */
    notice = malloc(sizeof(*notice) + bytes);
    if (notice == NULL)
        return;
    *notice = (struct mgc_notice){.dir = mgc_tree_ref(m->tree, dir->dev, dir->id.ino)};
    memcpy(notice->name, name, bytes);
    if (notice->dir == NULL) { /* never looked up: the kernel has nothing to drop */
        free(notice);
        return;
    }
    (void)pthread_mutex_lock(&n->lock);
    /* The caller moves files in the background: it may wait, no request does. */
    while (n->count >= MGC_NOTIFY_QUEUE_MAX && !n->stop)
        (void)pthread_cond_wait(&n->changed, &n->lock);
    if (!n->stop) {
        *n->last = notice;
        n->last = &notice->next;
        n->count++;
        notice = NULL;
        (void)pthread_cond_broadcast(&n->changed);
    }
    (void)pthread_mutex_unlock(&n->lock);
    if (notice != NULL)
        drop(m, notice);
}
