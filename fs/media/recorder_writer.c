/*
 * recorder_writer.c -- the thread that takes changes to the catalog.  Invariants: recorder.c.
 *
 * One turn of its loop is a cycle: take the queue, say what was missed, commit the batch, say what
 * was missed by that, keep alive, answer whoever waits.
 */
#include "fs/media/recorder_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/path.h"

enum {
    RETRY_US = 100 * 1000, /* before the second attempt; then four times it */
};

/* Mutex held.  When the next cycle is due, were nobody to ask for one. */
static int64_t due_us(const struct mgc_recorder *r)
{
    int64_t due = r->alive_us;

    if (r->retry_us != 0)
        return r->retry_us < due ? r->retry_us : due;
    if (r->queue.count >= MGC_RECORDER_EARLY || r->misses > r->marked)
        return 0;
    if (r->queue.count > 0 && r->first_us + r->commit_every_us < due)
        due = r->first_us + r->commit_every_us;
    return due;
}

/* Mutex held. */
static void wait_for_work(struct mgc_recorder *r)
{
    while (!r->hurry && !r->stopping) {
        int64_t due = due_us(r);
        struct timespec until = {.tv_sec = due / 1000000, .tv_nsec = due % 1000000 * 1000};

        if (due <= mgc_monotonic_us())
            return;
        (void)pthread_cond_timedwait(&r->work, &r->mutex, &until);
    }
}

/* Flushes that wait are told. */
static void note_failure(struct mgc_recorder *r, const struct mgc_err *err)
{
    mgc_recorder_lock(r);
    r->failures++;
    r->failure = *err;
    mgc_recorder_unlock(r);
    r->retry_us = mgc_monotonic_us() + (r->attempts < 2 ? RETRY_US : 4 * RETRY_US);
}

/* R3: says in the catalog what was missed so far. */
static int mark_missed(struct mgc_recorder *r)
{
    struct mgc_err err = {0}, why;
    bool opens_lost;
    int64_t misses;
    int code;

    mgc_recorder_lock(r);
    misses = r->misses;
    opens_lost = r->opens_lost;
    why = r->why;
    mgc_recorder_unlock(r);
    if (misses == r->marked) /* written by this thread only */
        return 0;
    code = r->catalog->ops->meta_set(r->catalog, MGC_META_INCOMPLETE, 1, &err);
    if (code == 0 && opens_lost) /* R5 */
        code = r->catalog->ops->meta_set(r->catalog, MGC_META_OPENED_FLOOR, r->os->now_us(r->os),
                                         &err);
    if (misses != r->told && r->incomplete != NULL)
        r->incomplete(r->arg, &why);
    r->told = misses;
    if (code < 0) {
        err.code = code;
        note_failure(r, &err);
        return code;
    }
    mgc_recorder_lock(r);
    r->marked = misses;
    if (r->misses == misses)
        r->opens_lost = false;
    mgc_recorder_unlock(r);
    return 0;
}

static size_t count_opens(const struct mgc_recorder_batch *b)
{
    size_t opens = 0;

    for (size_t i = 0; i < b->count; i++)
        opens += b->changes[i].kind == MGC_CHANGE_OPEN;
    return opens;
}

static void settle_batch(struct mgc_recorder *r, bool given_up)
{
    int64_t count = (int64_t)r->batch.count;

    mgc_recorder_lock(r);
    r->committed = r->batch_end;
    r->dir_moves -= r->batch_dir_moves;
    if (given_up)
        r->counts.dropped += count;
    else
        r->counts.recorded += count;
    mgc_recorder_unlock(r);
    r->attempts = 0;
    r->batch_dir_moves = 0;
    mgc_recorder_batch_clear(&r->batch);
}

/* R2: the batch stays for another attempt, or is given up and missed. */
static void batch_failed(struct mgc_recorder *r, struct mgc_err *err, bool stopping)
{
    /* An attempt that a flush asked for before its time does not count. */
    bool counts = stopping || r->attempts == 0 || mgc_monotonic_us() >= r->retry_us;
    int64_t retry_us = r->retry_us;

    r->attempts += counts;
    mgc_recorder_lock(r);
    r->counts.failed_commits++;
    if (counts && (r->attempts == 1 || r->attempts == MGC_RECORDER_ATTEMPTS_MAX))
        mgc_recorder_miss(r, err);
    if (r->attempts == MGC_RECORDER_ATTEMPTS_MAX)
        r->opens_lost |= count_opens(&r->batch) > 0;
    mgc_recorder_unlock(r);
    note_failure(r, err);
    if (!counts)
        r->retry_us = retry_us;
    if (r->attempts < MGC_RECORDER_ATTEMPTS_MAX)
        return;
    r->final_code = err->code;
    r->final_err = *err;
    settle_batch(r, true);
}

/* One change that the store must refuse would cost the whole batch. */
static bool usable(const struct mgc_change *c)
{
    bool two = c->kind == MGC_CHANGE_RENAME || c->kind == MGC_CHANGE_EXCHANGE;
    bool root = c->kind == MGC_CHANGE_STAT && c->path[0] == '\0';

    if (!root && mgc_path_check(c->path) < 0)
        return false;
    if (!two)
        return true;
    if (c->path2 == NULL || mgc_path_check(c->path2) < 0)
        return false;
    /* No kernel moves a directory into itself. */
    return strcmp(c->path, c->path2) == 0 ||
           (!mgc_path_beneath(c->path, c->path2) && !mgc_path_beneath(c->path2, c->path));
}

static void prepare_batch(struct mgc_recorder *r, bool cancel)
{
    struct mgc_recorder_batch *b = &r->batch;
    size_t taken = b->count, kept = 0;

    for (size_t i = 0; i < taken; i++) {
        if (usable(&b->changes[i])) {
            b->changes[kept++] = b->changes[i];
            continue;
        }
        mgc_recorder_lock(r);
        mgc_recorder_miss_change(r, &b->changes[i], "it has no usable path");
        mgc_recorder_unlock(r);
    }
    b->count = mgc_recorder_merge(b->changes, kept, cancel);
    mgc_recorder_lock(r);
    r->counts.merged += (int64_t)(kept - b->count);
    mgc_recorder_unlock(r);
}

static int commit_batch(struct mgc_recorder *r, bool stopping)
{
    struct mgc_err err = {0};
    int code;

    if (r->batch.count == 0) { /* all of it was cancelled out */
        settle_batch(r, false);
        return 0;
    }
    code = r->catalog->ops->apply(r->catalog, r->batch.changes, r->batch.count, &err);
    if (code < 0) {
        err.code = code;
        batch_failed(r, &err, stopping);
        return code;
    }
    r->opened = true;
    if (count_opens(&r->batch) < r->batch.count)
        r->alive_us = 0; /* due now */
    settle_batch(r, false);
    return 0;
}

/* Housekeeping that may fail without costing a record. */
static int keep_alive(struct mgc_recorder *r, int64_t files_wanted)
{
    int64_t now_us = mgc_monotonic_us();
    bool due = r->alive_us <= now_us, idle_due = r->alive_us != 0 && due;
    struct mgc_err err = {0};
    int code = 0;

    if (due) {
        (void)r->catalog->ops->meta_set(r->catalog, MGC_META_ALIVE, r->os->now_us(r->os), NULL);
        r->alive_us = now_us + MGC_RECORDER_ALIVE_US;
    }
    if (r->opened && (idle_due || files_wanted > r->files_done)) {
        code = r->catalog->ops->flush(r->catalog, &err);
        if (code < 0) {
            err.code = code;
            note_failure(r, &err);
            return code;
        }
        r->opened = false;
    }
    mgc_recorder_lock(r);
    r->files_done = files_wanted;
    mgc_recorder_unlock(r);
    return 0;
}

static int complete(struct mgc_recorder *r, struct mgc_recorder_completion *c)
{
    int64_t misses = mgc_recorder_misses(r);
    int code;

    if (misses != c->misses || r->batch.count > 0) {
        (void)mgc_err_say(&c->err, MGC_E_INCOMPLETE,
                          "changes were missed while the tree was verified");
        return mgc_err_hint(&c->err, "It is verified again; look for earlier messages about the "
                                     "catalog.");
    }
    code = r->catalog->ops->meta_set(r->catalog, MGC_META_VERIFIED, c->verified_us, &c->err);
    if (code == 0)
        code = r->catalog->ops->meta_set(r->catalog, MGC_META_INCOMPLETE, 0, &c->err);
    return code;
}

/* Mutex held.  Takes what is queued, unless an older batch waits for its next attempt. */
static void take_queue(struct mgc_recorder *r)
{
    struct mgc_recorder_batch empty = r->batch;

    MGC_ASSERT(empty.count == 0);
    r->batch = r->queue;
    r->queue = empty;
    r->batch_end = r->pushed;
    r->batch_dir_moves = r->dir_moves;
}

/* Mutex held on entry and return.  Returns false when an attempt failed. */
static bool cycle(struct mgc_recorder *r)
{
    bool fresh = r->batch.count == 0, cancel = !r->verifying, stopping = r->stopping;
    int64_t files_wanted = r->files_wanted;
    struct mgc_recorder_completion *completion = r->completion;
    int code;

    r->hurry = false;
    if (fresh)
        take_queue(r);
    mgc_recorder_unlock(r);
    if (fresh)
        prepare_batch(r, cancel);
    (void)mark_missed(r);
    code = commit_batch(r, stopping);
    if (code == 0)
        code = keep_alive(r, files_wanted);
    if (mark_missed(r) == 0 && code == 0)
        r->retry_us = 0;
    if (completion != NULL)
        completion->result = complete(r, completion);
    mgc_recorder_lock(r);
    if (completion != NULL) {
        completion->done = true;
        r->completion = NULL;
    }
    (void)pthread_cond_broadcast(&r->done);
    return r->retry_us == 0;
}

void *mgc_recorder_writer(void *arg)
{
    struct mgc_recorder *r = arg;
    int tries = 0;

    (void)pthread_setname_np(pthread_self(), "mgc-recorder");
    mgc_recorder_lock(r);
    while (!r->stopping) {
        wait_for_work(r);
        if (!r->stopping)
            (void)cycle(r);
    }
    r->files_wanted++;
    r->final_code = 0; /* what was given up earlier was reported then */
    /* Twice the attempts: one batch may wait for another attempt, one more in the queue. */
    while (!cycle(r) || r->queue.count > 0 || r->batch.count > 0)
        if (++tries > 2 * MGC_RECORDER_ATTEMPTS_MAX)
            break;
    if (r->final_code == 0 && r->retry_us != 0) {
        r->final_code = r->failure.code;
        r->final_err = r->failure;
    }
    mgc_recorder_unlock(r);
    return NULL;
}
