/*
 * recorder_batch.c -- changes in memory, with their paths in chunks that are used again.
 *
 * A path costs no allocation of its own and is freed with its batch: a push is two copies.
 */
#include "fs/media/recorder_priv.h"

enum {
    CHUNKS_KEPT = 16, /* for the next batch: 1 MiB */
};
_Static_assert(MGC_RECORDER_CHUNK_BYTES / 2 > 2 * (MGC_PATH_BYTES_MAX + 1),
               "two paths fit into a chunk");

bool mgc_recorder_batch_init(struct mgc_recorder_batch *b)
{
    b->changes = calloc(MGC_RECORDER_QUEUE_MAX, sizeof(*b->changes)); /* touched as it fills */
    return b->changes != NULL;
}

static void free_chunks(struct mgc_recorder_chunk *c)
{
    while (c != NULL) {
        struct mgc_recorder_chunk *next = c->next;
        free(c);
        c = next;
    }
}

void mgc_recorder_batch_done(struct mgc_recorder_batch *b)
{
    free_chunks(b->first);
    free(b->changes);
}

void mgc_recorder_batch_clear(struct mgc_recorder_batch *b)
{
    struct mgc_recorder_chunk *c = b->first;

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
static char *batch_room(struct mgc_recorder_batch *b, size_t bytes)
{
    struct mgc_recorder_chunk *c = b->current;

    if (c == NULL || sizeof(c->text) - c->used < bytes) {
        struct mgc_recorder_chunk *next = c != NULL ? c->next : b->first;

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

bool mgc_recorder_batch_add(struct mgc_recorder_batch *b, const struct mgc_change *change,
                            size_t bytes, size_t bytes2)
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
