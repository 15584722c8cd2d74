/*
 * pathlock.c -- striped locks over (directory, name) and one over the whole tree.
 *
 * The whole lock order of the media layer is: tree, then stripe, then node.
 *
 *   L1  A thread holds at most one struct mgc_pathlock; debug builds check it.  Asking for a second
 *       one could wait for a writer that waits for the first.
 *   L2  Whoever holds a stripe holds the tree lock shared.  So the tree lock held exclusively keeps
 *       every name of the tree still, and needs no stripe besides.
 *   L3  Two stripes are taken in ascending order, one that serves both names only once.
 *   L4  Waiting writers go before new readers: a rename of a directory is not starved by look-ups.
 *
 * Which stripe a name gets depends on a secret seed: nobody can pick names that share one.
 */
#include "mediagcfs/pathlock.h"

#include <pthread.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/os.h"

enum {
    STRIPES =
        1024, /* with 64 threads two unrelated names meet in 6 of 100 cases, for microseconds */
    CACHE_LINE_BYTES = 64,
};
_Static_assert((STRIPES & (STRIPES - 1)) == 0, "the stripe is cut out of a hash by a mask");

struct stripe {
    _Alignas(CACHE_LINE_BYTES) pthread_rwlock_t lock;
};
struct mgc_pathlocks {
    struct stripe tree;
    struct stripe stripes[STRIPES];
    uint64_t seed;
};

#ifndef NDEBUG
static _Thread_local int held_count; /* L1 */
static void note_take(void)
{
    MGC_ASSERT(held_count == 0);
    held_count++;
}
static void note_drop(void)
{
    MGC_ASSERT(held_count == 1);
    held_count--;
}
#else
static void note_take(void)
{
}
static void note_drop(void)
{
}
#endif

static void lock_shared(struct stripe *s)
{
    int r = pthread_rwlock_rdlock(&s->lock);
    MGC_ASSERT(r == 0);
}

static void lock_exclusive(struct stripe *s)
{
    int r = pthread_rwlock_wrlock(&s->lock);
    MGC_ASSERT(r == 0);
}

static void unlock(struct stripe *s)
{
    int r = pthread_rwlock_unlock(&s->lock);
    MGC_ASSERT(r == 0);
}

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    return h ^ (h >> 32);
}

static int stripe_of(const struct mgc_pathlocks *set, uint64_t dev, uint64_t ino, const char *name)
{
    size_t left = strlen(name);
    uint64_t h = mix(mix(set->seed ^ dev) ^ ino);

    while (left > 0) {
        uint64_t word = 0;
        size_t n = left < sizeof(word) ? left : sizeof(word);

        memcpy(&word, name, n);
        h = mix(h ^ word) + n;
        name += n;
        left -= n;
    }
    return (int)(mix(h) & (STRIPES - 1));
}

struct mgc_pathlocks *mgc_pathlocks_new(void)
{
    pthread_rwlockattr_t attr;
    struct mgc_pathlocks *set = aligned_alloc(CACHE_LINE_BYTES, sizeof(*set));

    if (set == NULL)
        return NULL;
    memset(set, 0, sizeof(*set));
    mgc_random(&set->seed, sizeof(set->seed));
    MGC_ASSERT(pthread_rwlockattr_init(&attr) == 0);
    MGC_ASSERT(pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP) ==
               0);
    MGC_ASSERT(pthread_rwlock_init(&set->tree.lock, &attr) == 0);
    for (int i = 0; i < STRIPES; i++)
        MGC_ASSERT(pthread_rwlock_init(&set->stripes[i].lock, &attr) == 0);
    (void)pthread_rwlockattr_destroy(&attr);
    return set;
}

void mgc_pathlocks_free(struct mgc_pathlocks *set)
{
    if (set == NULL)
        return;
    for (int i = 0; i < STRIPES; i++)
        MGC_ASSERT(pthread_rwlock_destroy(&set->stripes[i].lock) == 0);
    MGC_ASSERT(pthread_rwlock_destroy(&set->tree.lock) == 0);
    free(set);
}

struct mgc_pathlock mgc_pathlock_take(struct mgc_pathlocks *set, uint64_t dev, uint64_t ino,
                                      const char *name, enum mgc_pathlock_mode mode)
{
    struct mgc_pathlock lock = {.set = set, .first = -1, .second = -1, .tree = true};

    note_take();
    lock.first = stripe_of(set, dev, ino, name);
    lock_shared(&set->tree);
    if (mode == MGC_PATHLOCK_EXCLUSIVE)
        lock_exclusive(&set->stripes[lock.first]);
    else
        lock_shared(&set->stripes[lock.first]);
    return lock;
}

struct mgc_pathlock mgc_pathlock_two(struct mgc_pathlocks *set, uint64_t dev1, uint64_t ino1,
                                     const char *name1, uint64_t dev2, uint64_t ino2,
                                     const char *name2, bool directory)
{
    struct mgc_pathlock lock = {.set = set, .first = -1, .second = -1, .tree = true};
    int one, two;

    note_take();
    if (directory) { /* L2 */
        lock_exclusive(&set->tree);
        return lock;
    }
    one = stripe_of(set, dev1, ino1, name1);
    two = stripe_of(set, dev2, ino2, name2);
    lock.first = one < two ? one : two; /* L3 */
    lock_shared(&set->tree);
    lock_exclusive(&set->stripes[lock.first]);
    if (one != two) {
        lock.second = one < two ? two : one;
        lock_exclusive(&set->stripes[lock.second]);
    }
    return lock;
}

struct mgc_pathlock mgc_pathlock_tree(struct mgc_pathlocks *set)
{
    struct mgc_pathlock lock = {.set = set, .first = -1, .second = -1, .tree = true};

    note_take();
    lock_shared(&set->tree);
    return lock;
}

void mgc_pathlock_drop(struct mgc_pathlock *lock)
{
    struct mgc_pathlocks *set = lock->set;

    if (set == NULL)
        return;
    if (lock->second >= 0)
        unlock(&set->stripes[lock->second]);
    if (lock->first >= 0)
        unlock(&set->stripes[lock->first]);
    if (lock->tree)
        unlock(&set->tree);
    *lock = (struct mgc_pathlock){.set = NULL, .first = -1, .second = -1, .tree = false};
    note_drop();
}
