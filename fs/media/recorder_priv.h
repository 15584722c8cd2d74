/*
 * recorder_priv.h -- the recorder's own parts: queue, batch, merging, writer.
 *
 * Role     recorder.c is what others call, recorder_writer.c the thread, recorder_batch.c memory,
 *          recorder_merge.c decides what of a batch has to be written.
 * Layer    3, private.
 */
#ifndef MGC_FS_MEDIA_RECORDER_PRIV_H
#define MGC_FS_MEDIA_RECORDER_PRIV_H

#include <pthread.h>

#include "mediagcfs/recorder.h"

/*
 * Compacts changes[0..count) to those that have to be applied, in their order, and returns their
 * number.  `times` of merged ones may be moved up to that of the last.  cancel: a thing created
 * and removed again in this batch is left out (see recorder_merge.c).  Without memory, nothing is
 * merged.
 */
size_t mgc_recorder_merge(struct mgc_change *changes, size_t count, bool cancel);

/* True where the paths beneath a directory change with it. */
bool mgc_recorder_moves_directory(const struct mgc_change *change);

/* As mgc_recorder_flush(), but leaves the last-opened array in memory. */
MGC_MUST_CHECK int mgc_recorder_drain(struct mgc_recorder *r, struct mgc_err *err);

/*
 * A directory was renamed or exchanged and the catalog may not know it yet.  While it is false, and
 * the store stands still, a path leads to the same directory in both (but for a rename that was
 * done and not yet pushed).
 */
bool mgc_recorder_moving(struct mgc_recorder *r);

enum {
    MGC_RECORDER_ATTEMPTS_MAX = 3, /* failed in a row, then a batch is given up */
    MGC_RECORDER_CHUNK_BYTES = 64 << 10,
    MGC_RECORDER_EARLY = MGC_RECORDER_QUEUE_MAX / 2, /* then a batch does not wait for its time */
    MGC_RECORDER_ALIVE_US = 30 * 1000 * 1000,        /* well inside the promised minute */
};

struct mgc_recorder_chunk {
    struct mgc_recorder_chunk *next;
    size_t used;
    char text[MGC_RECORDER_CHUNK_BYTES - sizeof(struct mgc_recorder_chunk *) - sizeof(size_t)];
};
struct mgc_recorder_batch {
    struct mgc_change *changes; /* MGC_RECORDER_QUEUE_MAX; paths lie in the chunks */
    size_t count;
    struct mgc_recorder_chunk *first, *current;
};
struct mgc_recorder_completion {
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
    struct mgc_recorder_batch queue;
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
    struct mgc_recorder_completion *completion;
    bool hurry, verifying, stopping;
    struct mgc_recorder_counts counts;

    /* The writer's own. */
    struct mgc_recorder_batch batch;
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

void mgc_recorder_lock(struct mgc_recorder *r);
void mgc_recorder_unlock(struct mgc_recorder *r);
/* Mutex held.  R3. */
void mgc_recorder_miss(struct mgc_recorder *r, const struct mgc_err *why);
void mgc_recorder_miss_change(struct mgc_recorder *r, const struct mgc_change *change,
                              const char *reason);
/* The thread; arg is the recorder. */
void *mgc_recorder_writer(void *arg);

MGC_MUST_CHECK bool mgc_recorder_batch_init(struct mgc_recorder_batch *b);
void mgc_recorder_batch_done(struct mgc_recorder_batch *b);
void mgc_recorder_batch_clear(struct mgc_recorder_batch *b);
/* bytes, bytes2: of the paths with their NUL; 0: no path2.  False: no memory, nothing was added. */
MGC_MUST_CHECK bool mgc_recorder_batch_add(struct mgc_recorder_batch *b,
                                           const struct mgc_change *change, size_t bytes,
                                           size_t bytes2);

#endif
