/*
 * recorder.c -- queue and writer thread between requests and the catalog.
 *
 *   requests --push--> queue --swap--> batch --merge, apply--> catalog
 *
 *   R1  push does nothing but copy under a mutex that nobody holds across a system call other than
 *       a rare allocation (G7).
 *   R2  Changes reach the catalog in the order in which they were pushed.  A batch whose commit
 *       failed stays the batch until it is committed or given up; the queue waits behind it.
 *   R3  Whatever is lost raises `misses` at the moment it is lost, and the catalog says INCOMPLETE
 *       before a flush that began later returns 0.
 *   R4  Only the writer thread touches INCOMPLETE, so clearing and setting it never cross: a
 *       verification clears it there, and only if `misses` is what it was when it began.
 *   R5  OPEN may fill three quarters of the queue: a crowd of readers does not cost births.  Where
 *       an OPEN is lost all the same, every entry counts as opened now.
 */
#include "fs/media/recorder_priv.h"

#include <signal.h>
#include <time.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/bytes.h"

enum {
    OPENS_MAX = MGC_RECORDER_QUEUE_MAX / 4 * 3, /* R5 */
};

/* ---- any thread ---- */

void mgc_recorder_lock(struct mgc_recorder *r)
{
    MGC_ASSERT(pthread_mutex_lock(&r->mutex) == 0);
}

void mgc_recorder_unlock(struct mgc_recorder *r)
{
    MGC_ASSERT(pthread_mutex_unlock(&r->mutex) == 0);
}

/* Mutex held.  R3. */
void mgc_recorder_miss(struct mgc_recorder *r, const struct mgc_err *why)
{
    r->misses++;
    r->why = *why;
}

/* Mutex held. */
void mgc_recorder_miss_change(struct mgc_recorder *r, const struct mgc_change *change,
                              const char *reason)
{
    struct mgc_err err = {0};

    r->counts.dropped++;
    r->opens_lost |= change->kind == MGC_CHANGE_OPEN;
    if (r->misses > r->marked) { /* the first of a row says why: a full queue is a hurry */
        r->misses++;
        return;
    }
    (void)mgc_err_say(&err, MGC_E_LIMIT, "could not record a change of '%s': %s",
                      MGC_SHOW(change->path), reason);
    (void)mgc_err_hint(&err, "Is the disk of the catalog directory full or failing?  The tree is "
                             "verified again.");
    mgc_recorder_miss(r, &err);
}

void mgc_recorder_push(struct mgc_recorder *r, const struct mgc_change *change)
{
    size_t bytes = strlen(change->path) + 1;
    size_t bytes2 = change->path2 != NULL ? strlen(change->path2) + 1 : 0;
    size_t bound = change->kind == MGC_CHANGE_OPEN ? OPENS_MAX : MGC_RECORDER_QUEUE_MAX;
    bool wake;

    mgc_recorder_lock(r);
    MGC_ASSERT(!r->stopping);
    wake = r->queue.count == 0 || r->queue.count == MGC_RECORDER_EARLY - 1;
    if (bytes > MGC_PATH_BYTES_MAX + 1 || bytes2 > MGC_PATH_BYTES_MAX + 1)
        mgc_recorder_miss_change(r, change, "its path is too long");
    else if (r->queue.count >= bound)
        mgc_recorder_miss_change(r, change, "too many changes wait for a commit");
    else if (!mgc_recorder_batch_add(&r->queue, change, bytes, bytes2))
        mgc_recorder_miss_change(r, change, "out of memory");
    else {
        r->pushed++;
        r->dir_moves += mgc_recorder_moves_directory(change);
        if (r->queue.count == 1)
            r->first_us = mgc_monotonic_us();
    }
    wake |= r->misses > r->marked;
    mgc_recorder_unlock(r);
    if (wake)
        (void)pthread_cond_signal(&r->work);
}

void mgc_recorder_missed(struct mgc_recorder *r, const struct mgc_err *why)
{
    struct mgc_err err = {0};

    (void)mgc_err_say(&err, MGC_E_INCOMPLETE, "a change of the media tree could not be recorded");
    mgc_recorder_lock(r);
    mgc_recorder_miss(r, why != NULL ? why : &err);
    mgc_recorder_unlock(r);
    (void)pthread_cond_signal(&r->work);
}

int64_t mgc_recorder_misses(struct mgc_recorder *r)
{
    int64_t misses;

    mgc_recorder_lock(r);
    misses = r->misses;
    mgc_recorder_unlock(r);
    return misses;
}

static int wait_settled(struct mgc_recorder *r, bool files, struct mgc_err *err)
{
    int64_t pushed, misses, failures, wanted;
    int code = 0;

    mgc_recorder_lock(r);
    pushed = r->pushed;
    misses = r->misses;
    failures = r->failures;
    r->files_wanted += files;
    wanted = files ? r->files_wanted : 0;
    while (r->committed < pushed || r->marked < misses || r->files_done < wanted) {
        if (r->failures != failures) {
            code = r->failure.code;
            mgc_err_copy(err, &r->failure);
            break;
        }
        r->hurry = true; /* again each time: a cycle may have begun just before */
        (void)pthread_cond_signal(&r->work);
        (void)pthread_cond_wait(&r->done, &r->mutex);
    }
    mgc_recorder_unlock(r);
    return code;
}

int mgc_recorder_flush(struct mgc_recorder *r, struct mgc_err *err)
{
    return wait_settled(r, true, err);
}

int mgc_recorder_drain(struct mgc_recorder *r, struct mgc_err *err)
{
    return wait_settled(r, false, err);
}

int mgc_recorder_complete(struct mgc_recorder *r, int64_t misses, int64_t verified_us,
                          struct mgc_err *err)
{
    struct mgc_recorder_completion c = {.misses = misses, .verified_us = verified_us};

    mgc_recorder_lock(r);
    while (r->completion != NULL)
        (void)pthread_cond_wait(&r->done, &r->mutex);
    r->completion = &c;
    r->hurry = true;
    (void)pthread_cond_signal(&r->work);
    while (!c.done)
        (void)pthread_cond_wait(&r->done, &r->mutex);
    mgc_recorder_unlock(r);
    if (c.result < 0)
        mgc_err_copy(err, &c.err);
    return c.result;
}

bool mgc_recorder_moving(struct mgc_recorder *r)
{
    bool moving;

    mgc_recorder_lock(r);
    moving = r->dir_moves > 0;
    mgc_recorder_unlock(r);
    return moving;
}

void mgc_recorder_verifying(struct mgc_recorder *r, bool on)
{
    mgc_recorder_lock(r);
    r->verifying = on;
    mgc_recorder_unlock(r);
}

void mgc_recorder_counts(struct mgc_recorder *r, struct mgc_recorder_counts *ret)
{
    mgc_recorder_lock(r);
    *ret = r->counts;
    ret->queued = r->pushed - r->committed;
    mgc_recorder_unlock(r);
}

/* ---- start and stop ---- */

static void init_sync(struct mgc_recorder *r)
{
    pthread_condattr_t attr;

    MGC_ASSERT(pthread_mutex_init(&r->mutex, NULL) == 0);
    MGC_ASSERT(pthread_cond_init(&r->done, NULL) == 0);
    MGC_ASSERT(pthread_condattr_init(&attr) == 0);
    MGC_ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    MGC_ASSERT(pthread_cond_init(&r->work, &attr) == 0);
    (void)pthread_condattr_destroy(&attr);
}

static void recorder_free(struct mgc_recorder *r)
{
    (void)pthread_cond_destroy(&r->work);
    (void)pthread_cond_destroy(&r->done);
    (void)pthread_mutex_destroy(&r->mutex);
    mgc_recorder_batch_done(&r->queue);
    mgc_recorder_batch_done(&r->batch);
    free(r);
}

/* Signals are the main thread's affair. */
static int start_thread(struct mgc_recorder *r)
{
    sigset_t all, before;
    int code;

    (void)sigfillset(&all);
    MGC_ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    code = pthread_create(&r->thread, NULL, mgc_recorder_writer, r);
    MGC_ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return -code;
}

int mgc_recorder_start(const struct mgc_recorder_spec *spec, struct mgc_recorder **ret,
                       struct mgc_err *err)
{
    struct mgc_recorder *r = calloc(1, sizeof(*r));
    int code = -ENOMEM;

    if (r == NULL)
        return mgc_err_set(err, -ENOMEM, "could not start the recorder");
    r->catalog = spec->catalog;
    r->os = spec->os;
    r->commit_every_us = spec->commit_every_us;
    r->incomplete = spec->incomplete;
    r->arg = spec->arg;
    r->alive_us = mgc_monotonic_us() + MGC_RECORDER_ALIVE_US;
    init_sync(r);
    if (mgc_recorder_batch_init(&r->queue) && mgc_recorder_batch_init(&r->batch))
        code = start_thread(r);
    if (code < 0) {
        recorder_free(r);
        return mgc_err_set(err, code, "could not start the recorder");
    }
    *ret = r;
    return 0;
}

int mgc_recorder_stop(struct mgc_recorder *r, struct mgc_err *err)
{
    int code;

    if (r == NULL)
        return 0;
    mgc_recorder_lock(r);
    r->stopping = true;
    (void)pthread_cond_signal(&r->work);
    mgc_recorder_unlock(r);
    MGC_ASSERT(pthread_join(r->thread, NULL) == 0);
    code = r->final_code;
    if (code < 0)
        mgc_err_copy(err, &r->final_err);
    recorder_free(r);
    return code;
}
