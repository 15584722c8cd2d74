/*
 * node.c -- inode table: who may be named, who is in use, what it was last called.
 *
 *   N1  A node lives while the kernel may name it (look-ups not yet forgotten) or something of ours
 *       refers to it: a child by its parent pointer, a queued notification.
 *   N2  Two nodes never stand for one inode: find and insert happen under `table`, and the node's
 *       descriptor keeps the inode number taken.
 *   N3  `marked` is set only while nobody uses the node and no writer has it open, and from then
 *       on nobody can begin to: so what the mover saw after marking stays true (H1).
 *   N4  The path of a change is built and the change is recorded under one hold of `names`, which
 *       a rename also holds while it gives the new name and records itself.  So each recorded path
 *       is right in the order of recording, whatever directory is renamed meanwhile.
 */
#include "fs/media/node_priv.h"

#include <fcntl.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/error.h"
#include "mediagcfs/os.h"

enum { BUCKETS_FIRST = 1024 };

static size_t bucket_of(const struct mgc_nodes *s, uint64_t dev, uint64_t ino)
{
    uint64_t h = (ino ^ s->seed) * UINT64_C(0x9e3779b97f4a7c15) + dev;

    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 32;
    return (size_t)h & (s->bucket_count - 1);
}

static void lock(struct mgc_nodes *s)
{
    int r = pthread_mutex_lock(&s->table);

    MGC_ASSERT(r == 0);
}

static void unlock(struct mgc_nodes *s)
{
    int r = pthread_mutex_unlock(&s->table);

    MGC_ASSERT(r == 0);
}

static struct mgc_node *find(const struct mgc_nodes *s, uint64_t dev, uint64_t ino)
{
    struct mgc_node *n = s->buckets[bucket_of(s, dev, ino)];

    while (n != NULL && (n->ino != ino || n->dev != dev))
        n = n->next;
    return n;
}

static void link_node(struct mgc_nodes *s, struct mgc_node *n)
{
    size_t b = bucket_of(s, n->dev, n->ino);

    n->next = s->buckets[b];
    s->buckets[b] = n;
}

/* Chains get longer than they should when memory is short: slow, not wrong. */
static void grow(struct mgc_nodes *s)
{
    struct mgc_node **old = s->buckets;
    struct mgc_node **buckets = calloc(s->bucket_count * 2, sizeof(struct mgc_node *));
    size_t old_count = s->bucket_count;

    if (buckets == NULL)
        return;
    s->buckets = buckets;
    s->bucket_count *= 2;
    for (size_t i = 0; i < old_count; i++)
        for (struct mgc_node *n = old[i], *next; n != NULL; n = next) {
            next = n->next;
            link_node(s, n);
        }
    free(old);
}

static struct mgc_node *add(struct mgc_nodes *s, int fd, const struct stat *st)
{
    struct mgc_node *n = calloc(1, sizeof(*n));

    if (n == NULL)
        return NULL;
    n->dev = st->st_dev;
    n->ino = st->st_ino;
    n->type = st->st_mode & S_IFMT;
    n->fd = fd;
    n->generation = ++s->next_generation;
    if (s->count >= s->bucket_count)
        grow(s);
    link_node(s, n);
    s->count++;
    return n;
}

static void set_mark(struct mgc_nodes *s, struct mgc_node *n, bool marked)
{
    if (n->marked != marked)
        s->marked = marked ? s->marked + 1 : s->marked - 1;
    n->marked = marked;
}

int mgc_nodes_init(struct mgc_nodes *s, int root_fd)
{
    struct stat st;

    *s = (struct mgc_nodes){.bucket_count = BUCKETS_FIRST};
    if (fstat(root_fd, &st) < 0)
        return -errno;
    s->buckets = calloc(s->bucket_count, sizeof(struct mgc_node *));
    if (s->buckets == NULL)
        return -ENOMEM;
    mgc_random(&s->seed, sizeof(s->seed));
    s->root = add(s, root_fd, &st);
    if (s->root == NULL) {
        free(s->buckets);
        return -ENOMEM;
    }
    s->root->refs = 1; /* N1: never freed before mgc_nodes_done() */
    (void)pthread_mutex_init(&s->names, NULL);
    (void)pthread_mutex_init(&s->table, NULL);
    return 0;
}

static void destroy(struct mgc_node *n)
{
    (void)close(n->fd);
    free(n->name);
    free(n);
}

void mgc_nodes_done(struct mgc_nodes *s)
{
    for (size_t i = 0; i < s->bucket_count; i++)
        for (struct mgc_node *n = s->buckets[i], *next; n != NULL; n = next) {
            next = n->next;
            destroy(n);
        }
    free(s->buckets);
    (void)pthread_mutex_destroy(&s->names);
    (void)pthread_mutex_destroy(&s->table);
    *s = (struct mgc_nodes){0};
}

struct mgc_node *mgc_node_find(struct mgc_nodes *s, uint64_t dev, uint64_t ino)
{
    struct mgc_node *n;

    lock(s);
    n = find(s, dev, ino);
    if (n != NULL) {
        n->lookups++;
        set_mark(s, n, false);
    }
    unlock(s);
    return n;
}

struct mgc_node *mgc_node_insert(struct mgc_nodes *s, int fd, const struct stat *st)
{
    struct mgc_node *n;

    lock(s);
    n = find(s, st->st_dev, st->st_ino);
    if (n == NULL)
        n = add(s, fd, st);
    if (n != NULL) {
        n->lookups++;
        set_mark(s, n, false);
    }
    unlock(s);
    if (n == NULL || n->fd != fd)
        (void)close(fd);
    return n;
}

/* Takes a node that nothing refers to any more out of the table. */
static bool unlink_if_dead(struct mgc_nodes *s, struct mgc_node *node)
{
    struct mgc_node **at;

    if (node->lookups > 0 || node->refs > 0)
        return false;
    MGC_ASSERT(node->users == 0);
    MGC_ASSERT(node->handles == 0);
    at = &s->buckets[bucket_of(s, node->dev, node->ino)];
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    s->count--;
    set_mark(s, node, false);
    return true;
}

/* Closing may delete the file's data, so it happens outside of the lock. */
static void bury(struct mgc_nodes *s, struct mgc_node *node)
{
    while (node != NULL) {
        struct mgc_node *parent = node->parent;

        destroy(node);
        if (parent == NULL)
            return;
        lock(s);
        MGC_ASSERT(parent->refs > 0);
        parent->refs--;
        node = unlink_if_dead(s, parent) ? parent : NULL;
        unlock(s);
    }
}

void mgc_node_forget(struct mgc_nodes *s, struct mgc_node *node, uint64_t count)
{
    bool dead;

    lock(s);
    /* The kernel's count is input: the root's is not kept, and less than nothing is nothing. */
    node->lookups -= node->lookups < count ? node->lookups : count;
    dead = unlink_if_dead(s, node);
    unlock(s);
    if (dead)
        bury(s, node);
}

struct mgc_node *mgc_node_ref(struct mgc_nodes *s, uint64_t dev, uint64_t ino)
{
    struct mgc_node *n;

    lock(s);
    n = find(s, dev, ino);
    if (n != NULL)
        n->refs++;
    unlock(s);
    return n;
}

void mgc_node_unref(struct mgc_nodes *s, struct mgc_node *node)
{
    bool dead;

    lock(s);
    MGC_ASSERT(node->refs > 0);
    node->refs--;
    dead = unlink_if_dead(s, node);
    unlock(s);
    if (dead)
        bury(s, node);
}

int mgc_node_use(struct mgc_nodes *s, struct mgc_node *node)
{
    int r = -ESTALE;

    lock(s);
    if (!node->marked) {
        node->users++;
        r = 0;
    }
    unlock(s);
    return r;
}

void mgc_node_unuse(struct mgc_nodes *s, struct mgc_node *node)
{
    lock(s);
    MGC_ASSERT(node->users > 0);
    node->users--;
    unlock(s);
}

int mgc_node_visible(struct mgc_nodes *s, struct mgc_node *node)
{
    int r;

    lock(s);
    r = node->marked && node->handles == 0 ? -ESTALE : 0;
    unlock(s);
    return r;
}

void mgc_node_opened(struct mgc_nodes *s, struct mgc_node *node, bool writer, bool rw)
{
    lock(s);
    MGC_ASSERT(!node->marked);
    node->handles++;
    node->refs++; /* a handle outlives the kernel's count when a connection is aborted */
    if (writer)
        node->writers++;
    if (rw)
        node->opened_rw = true;
    unlock(s);
}

void mgc_node_closed(struct mgc_nodes *s, struct mgc_node *node, bool writer)
{
    lock(s);
    MGC_ASSERT(node->handles > 0);
    node->handles--;
    if (writer) {
        MGC_ASSERT(node->writers > 0);
        node->writers--;
    }
    unlock(s);
    mgc_node_unref(s, node);
}

size_t mgc_node_writers(struct mgc_nodes *s, uint64_t *inos, size_t max)
{
    size_t count = 0;

    lock(s);
    for (size_t i = 0; i < s->bucket_count && count < max; i++)
        for (const struct mgc_node *n = s->buckets[i]; n != NULL && count < max; n = n->next)
            if (n->writers > 0)
                inos[count++] = n->ino;
    unlock(s);
    return count;
}

int mgc_node_mark(struct mgc_nodes *s, uint64_t dev, uint64_t ino)
{
    struct mgc_node *n;
    int r;

    lock(s);
    n = find(s, dev, ino);
    if (n == NULL) {
        r = -ENOENT;
    } else if (n->users > 0 || n->writers > 0) {
        r = MGC_E_BUSY;
    } else {
        set_mark(s, n, true);
        r = n->opened_rw ? 1 : 0;
    }
    unlock(s);
    return r;
}

void mgc_node_unmark(struct mgc_nodes *s, uint64_t dev, uint64_t ino)
{
    struct mgc_node *n;

    lock(s);
    n = find(s, dev, ino);
    if (n != NULL)
        set_mark(s, n, false);
    unlock(s);
}

void mgc_names_lock(struct mgc_nodes *s)
{
    int r = pthread_mutex_lock(&s->names);

    MGC_ASSERT(r == 0);
}

void mgc_names_unlock(struct mgc_nodes *s)
{
    int r = pthread_mutex_unlock(&s->names);

    MGC_ASSERT(r == 0);
}

static void unname(struct mgc_nodes *s, struct mgc_node *node)
{
    struct mgc_node *parent = node->parent;

    free(mgc_steal(node->name));
    node->parent = NULL;
    if (parent != NULL)
        mgc_node_unref(s, parent);
}

void mgc_node_set_name(struct mgc_nodes *s, struct mgc_node *node, struct mgc_node *parent,
                       const char *name)
{
    if (node == s->root || node == parent)
        return;
    if (node->parent == parent && node->name != NULL && strcmp(node->name, name) == 0)
        return;
    unname(s, node);
    node->name = strdup(name);
    if (node->name == NULL)
        return;
    node->parent = parent;
    lock(s);
    parent->refs++;
    unlock(s);
}

void mgc_node_drop_name(struct mgc_nodes *s, struct mgc_node *node, const struct mgc_node *parent,
                        const char *name)
{
    if (node->parent == parent && node->name != NULL && strcmp(node->name, name) == 0)
        unname(s, node);
}

/* Fills `out` from its end; *at is where the path begins so far. */
static int prepend(char *out, size_t out_bytes, size_t *at, const char *name)
{
    size_t bytes = strlen(name), slash = *at < out_bytes - 1 ? 1 : 0;

    if (bytes + slash > *at)
        return -ENAMETOOLONG;
    if (slash > 0)
        out[--*at] = '/';
    *at -= bytes;
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): what follows is there already */
    memcpy(out + *at, name, bytes);
    return 0;
}

int mgc_node_path(const struct mgc_nodes *s, const struct mgc_node *dir, const char *name,
                  char *out, size_t out_bytes)
{
    size_t at = out_bytes - 1;
    int r = name != NULL ? prepend(out, out_bytes, &at, name) : 0;

    out[out_bytes - 1] = '\0';
    /* A rename beneath the mount can leave a ring of last known names: a full buffer ends it. */
    while (r == 0 && dir != s->root) {
        if (dir->parent == NULL)
            return -ENOENT;
        r = prepend(out, out_bytes, &at, dir->name);
        dir = dir->parent;
    }
    if (r == 0)
        memmove(out, out + at, out_bytes - at);
    return r;
}
