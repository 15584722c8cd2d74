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
 * an OPEN is lost all the same, every entry counts as opened now.
 */
#include "mediagcfs/recorder.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "fs/media/recorder_priv.h"
#include "mediagcfs/assert.h"
#include "mediagcfs/bytes.h"
#include "mediagcfs/path.h"

enum {
    CHUNK_BYTES = 64 << 10,
    CHUNKS_KEPT = 16, /* for the next batch: 1 MiB */
    EARLY = MGC_RECORDER_QUEUE_MAX / 2,
    OPENS_MAX = MGC_RECORDER_QUEUE_MAX / 4 * 3, /* R5 */
    RETRY_US = 100 * 1000,                      /* before the second attempt; then four times it */
    ALIVE_US = 30 * 1000 * 1000,                /* well inside the promised minute */
};
_Static_assert(CHUNK_BYTES / 2 > 2 * (MGC_PATH_BYTES_MAX + 1), "two paths fit into a chunk");

struct chunk {
    struct chunk *next;
    size_t used;
    char text[CHUNK_BYTES - sizeof(struct chunk *) - sizeof(size_t)];
};
struct batch {
    struct mgc_change *changes; /* MGC_RECORDER_QUEUE_MAX; paths lie in the chunks */
    size_t count;
    struct chunk *first, *current;
};
struct completion {
    int64_t misses, verified_us;
    bool done;
    int result;
    struct mgc_err err;
};

struct mgc_recorder {
    struct mgc_catalog *catalog;
    struct mgc_os *os;
    int64_t commit_every_us;
    void (*incomplete)(void *arg, const struct mgc_err *why);
    void *arg;
    pthread_t thread;

    pthread_mutex_t mutex;
    pthread_cond_t work; /* the writer waits */
    pthread_cond_t done; /* flushes wait */

    /* Protected by mutex. */
    struct batch queue;
    int64_t first_us;  /* monotonic time of the oldest in the queue */
    int64_t pushed;    /* changes that ever entered the queue */
    int64_t committed; /* of these, settled: committed, merged or given up */
    int64_t dir_moves; /* directories renamed or exchanged that are pushed and not settled */
    int64_t misses, marked;
    bool opens_lost;    /* R5: MGC_META_OPENED_FLOOR is to be raised */
    struct mgc_err why; /* of the last miss */
    int64_t files_wanted, files_done;
    int64_t failures;
    struct mgc_err failure; /* the last one */
    struct completion *completion;
    bool hurry, verifying, stopping;
    struct mgc_recorder_counts counts;

    /* The writer's own. */
    struct batch batch;
    int64_t batch_end; /* `committed` once the batch is settled */
    int64_t batch_dir_moves;
    int64_t retry_us; /* monotonic; 0: the last cycle went well */
    int64_t alive_us; /* monotonic; when MGC_META_ALIVE is due */
    int64_t told;     /* misses that incomplete() was called for */
    int attempts;
    bool opened;    /* the last-opened array changed since it was written */
    int final_code; /* see stop */
    struct mgc_err final_err;
};

/* ---- batches ---- */

static bool batch_init(struct batch *b)
{
    b->changes = calloc(MGC_RECORDER_QUEUE_MAX, sizeof(*b->changes)); /* touched as it fills */
    return b->changes != NULL;
}

static void free_chunks(struct chunk *c)
{
    while (c != NULL) {
        struct chunk *next = c->next;
        free(c);
        c = next;
    }
}

static void batch_done(struct batch *b)
{
    free_chunks(b->first);
    free(b->changes);
}

static void batch_clear(struct batch *b)
{
    struct chunk *c = b->first;

    for (int i = 1; c != NULL; c = c->next, i++) {
        c->used = 0;
        if (i == CHUNKS_KEPT) {
            free_chunks(c->next);
            c->next = NULL;
        }
    }
    b->current = b->first;
    b->count = 0;
}

/* Room for `bytes`, which fit into a chunk; NULL: no memory. */
static char *batch_room(struct batch *b, size_t bytes)
{
    struct chunk *c = b->current;

    if (c == NULL || sizeof(c->text) - c->used < bytes) {
        struct chunk *next = c != NULL ? c->next : b->first;

        if (next == NULL) {
            next = malloc(sizeof(*next));
            if (next == NULL)
                return NULL;
            next->next = NULL;
            next->used = 0;
            if (c != NULL)
                c->next = next;
            else
                b->first = next;
        }
        b->current = c = next;
    }
    c->used += bytes;
    return c->text + c->used - bytes;
}

static bool batch_add(struct batch *b, const struct mgc_change *change, size_t bytes, size_t bytes2)
{
    struct mgc_change *to = &b->changes[b->count];
    char *text = batch_room(b, bytes + bytes2);

    if (text == NULL)
        return false;
    *to = *change;
    memcpy(text, change->path, bytes);
    to->path = text;
    if (bytes2 > 0) {
        memcpy(text + bytes, change->path2, bytes2);
        to->path2 = text + bytes;
    }
    b->count++;
    return true;
}

/* ---- any thread ---- */

static void lock(struct mgc_recorder *r)
{
    MGC_ASSERT(pthread_mutex_lock(&r->mutex) == 0);
}

static void unlock(struct mgc_recorder *r)
{
    MGC_ASSERT(pthread_mutex_unlock(&r->mutex) == 0);
}

/* Mutex held.  R3. */
static void miss(struct mgc_recorder *r, const struct mgc_err *why)
{
    r->misses++;
    r->why = *why;
}

/* Mutex held. */
static void miss_change(struct mgc_recorder *r, const struct mgc_change *change, const char *reason)
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
    miss(r, &err);
}

void mgc_recorder_push(struct mgc_recorder *r, const struct mgc_change *change)
{
    size_t bytes = strlen(change->path) + 1;
    size_t bytes2 = change->path2 != NULL ? strlen(change->path2) + 1 : 0;
    size_t bound = change->kind == MGC_CHANGE_OPEN ? OPENS_MAX : MGC_RECORDER_QUEUE_MAX;
    bool wake;

    lock(r);
    MGC_ASSERT(!r->stopping);
    wake = r->queue.count == 0 || r->queue.count == EARLY - 1;
    if (bytes > MGC_PATH_BYTES_MAX + 1 || bytes2 > MGC_PATH_BYTES_MAX + 1)
        miss_change(r, change, "its path is too long");
    else if (r->queue.count >= bound)
        miss_change(r, change, "too many changes wait for a commit");
    else if (!batch_add(&r->queue, change, bytes, bytes2))
        miss_change(r, change, "out of memory");
    else {
        r->pushed++;
        r->dir_moves += change->directory || change->directory2;
        if (r->queue.count == 1)
            r->first_us = mgc_monotonic_us();
    }
    wake |= r->misses > r->marked;
    unlock(r);
    if (wake)
        (void)pthread_cond_signal(&r->work);
}

void mgc_recorder_missed(struct mgc_recorder *r, const struct mgc_err *why)
{
    struct mgc_err err = {0};

    (void)mgc_err_say(&err, MGC_E_INCOMPLETE, "a change of the media tree could not be recorded");
    lock(r);
    miss(r, why != NULL ? why : &err);
    unlock(r);
    (void)pthread_cond_signal(&r->work);
}

int64_t mgc_recorder_misses(struct mgc_recorder *r)
{
    int64_t misses;

    lock(r);
    misses = r->misses;
    unlock(r);
    return misses;
}

static int wait_settled(struct mgc_recorder *r, bool files, struct mgc_err *err)
{
    int64_t pushed, misses, failures, wanted;
    int code = 0;

    lock(r);
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
    unlock(r);
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
    struct completion c = {.misses = misses, .verified_us = verified_us};

    lock(r);
    while (r->completion != NULL)
        (void)pthread_cond_wait(&r->done, &r->mutex);
    r->completion = &c;
    r->hurry = true;
    (void)pthread_cond_signal(&r->work);
    while (!c.done)
        (void)pthread_cond_wait(&r->done, &r->mutex);
    unlock(r);
    if (c.result < 0)
        mgc_err_copy(err, &c.err);
    return c.result;
}

bool mgc_recorder_moving(struct mgc_recorder *r)
{
    bool moving;

    lock(r);
    moving = r->dir_moves > 0;
    unlock(r);
    return moving;
}

void mgc_recorder_verifying(struct mgc_recorder *r, bool on)
{
    lock(r);
    r->verifying = on;
    unlock(r);
}

void mgc_recorder_counts(struct mgc_recorder *r, struct mgc_recorder_counts *ret)
{
    lock(r);
    *ret = r->counts;
    ret->queued = r->pushed - r->committed;
    unlock(r);
}

/* ---- the writer ---- */

/* Mutex held.  When the next cycle is due, were nobody to ask for one. */
static int64_t due_us(const struct mgc_recorder *r)
{
    int64_t due = r->alive_us;

    if (r->retry_us != 0)
        return r->retry_us < due ? r->retry_us : due;
    if (r->queue.count >= EARLY || r->misses > r->marked)
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
    lock(r);
    r->failures++;
    r->failure = *err;
    unlock(r);
    r->retry_us = mgc_monotonic_us() + (r->attempts < 2 ? RETRY_US : 4 * RETRY_US);
}

/* R3: says in the catalog what was missed so far. */
static int mark_missed(struct mgc_recorder *r)
{
    struct mgc_err err = {0}, why;
    bool opens_lost;
    int64_t misses;
    int code;

    lock(r);
    misses = r->misses;
    opens_lost = r->opens_lost;
    why = r->why;
    unlock(r);
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
    lock(r);
    r->marked = misses;
    if (r->misses == misses)
        r->opens_lost = false;
    unlock(r);
    return 0;
}

static size_t count_opens(const struct batch *b)
{
    size_t opens = 0;

    for (size_t i = 0; i < b->count; i++)
        opens += b->changes[i].kind == MGC_CHANGE_OPEN;
    return opens;
}

static void settle_batch(struct mgc_recorder *r, bool given_up)
{
    int64_t count = (int64_t)r->batch.count;

    lock(r);
    r->committed = r->batch_end;
    r->dir_moves -= r->batch_dir_moves;
    if (given_up)
        r->counts.dropped += count;
    else
        r->counts.recorded += count;
    unlock(r);
    r->attempts = 0;
    r->batch_dir_moves = 0;
    batch_clear(&r->batch);
}

/* R2: the batch stays for another attempt, or is given up and missed. */
static void batch_failed(struct mgc_recorder *r, struct mgc_err *err, bool stopping)
{
    /* An attempt that a flush asked for before its time does not count. */
    bool counts = stopping || r->attempts == 0 || mgc_monotonic_us() >= r->retry_us;
    int64_t retry_us = r->retry_us;

    r->attempts += counts;
    lock(r);
    r->counts.failed_commits++;
    if (counts && (r->attempts == 1 || r->attempts == MGC_RECORDER_ATTEMPTS_MAX))
        miss(r, err);
    if (r->attempts == MGC_RECORDER_ATTEMPTS_MAX)
        r->opens_lost |= count_opens(&r->batch) > 0;
    unlock(r);
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
    struct batch *b = &r->batch;
    size_t taken = b->count, kept = 0;

    for (size_t i = 0; i < taken; i++) {
        if (usable(&b->changes[i])) {
            b->changes[kept++] = b->changes[i];
            continue;
        }
        lock(r);
        miss_change(r, &b->changes[i], "it has no usable path");
        unlock(r);
    }
    b->count = mgc_recorder_merge(b->changes, kept, cancel);
    lock(r);
    r->counts.merged += (int64_t)(kept - b->count);
    unlock(r);
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
        r->alive_us = now_us + ALIVE_US;
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
    lock(r);
    r->files_done = files_wanted;
    unlock(r);
    return 0;
}

static int complete(struct mgc_recorder *r, struct completion *c)
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
    struct batch empty = r->batch;

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
    struct completion *completion = r->completion;
    int code;

    r->hurry = false;
    if (fresh)
        take_queue(r);
    unlock(r);
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
    lock(r);
    if (completion != NULL) {
        completion->done = true;
        r->completion = NULL;
    }
    (void)pthread_cond_broadcast(&r->done);
    return r->retry_us == 0;
}

static void *writer(void *arg)
{
    struct mgc_recorder *r = arg;
    int tries = 0;

    (void)pthread_setname_np(pthread_self(), "mgc-recorder");
    lock(r);
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
    unlock(r);
    return NULL;
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
    batch_done(&r->queue);
    batch_done(&r->batch);
    free(r);
}

/* Signals are the main thread's affair. */
static int start_thread(struct mgc_recorder *r)
{
    sigset_t all, before;
    int code;

    (void)sigfillset(&all);
    MGC_ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    code = pthread_create(&r->thread, NULL, writer, r);
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
    r->alive_us = mgc_monotonic_us() + ALIVE_US;
    init_sync(r);
    if (batch_init(&r->queue) && batch_init(&r->batch))
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
    lock(r);
    r->stopping = true;
    (void)pthread_cond_signal(&r->work);
    unlock(r);
    MGC_ASSERT(pthread_join(r->thread, NULL) == 0);
    code = r->final_code;
    if (code < 0)
        mgc_err_copy(err, &r->final_err);
    recorder_free(r);
    return code;
}
