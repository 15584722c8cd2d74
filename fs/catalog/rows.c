/*
 * rows.c -- rows on their way to a callback.
 *
 * Rows are collected under the lock, a chunk at a time, and given without it: a callback may ask
 * the catalog, may take as long as it likes, and never keeps a read transaction open (H12).
 */
#include "store_priv.h"

enum { ROWS_BLOCK_BYTES = 64 << 10 };

struct mgc_rows_block {
    struct mgc_rows_block *next;
    size_t used, bytes;
    char data[];
};

void mgc_rows_done(struct mgc_rows *rows)
{
    while (rows->strings != NULL) {
        struct mgc_rows_block *next = rows->strings->next;

        free(rows->strings);
        rows->strings = next;
    }
    free(rows->items);
    *rows = (struct mgc_rows){.item_bytes = rows->item_bytes};
}

void *mgc_rows_add(struct mgc_rows *rows)
{
    MGC_ASSERT(rows->item_bytes > 0);
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity == 0 ? 16 : rows->capacity * 2;
        char *items = realloc(rows->items, capacity * rows->item_bytes);

        if (items == NULL) {
            rows->failed = true;
            return NULL;
        }
        rows->items = items;
        rows->capacity = capacity;
    }
    return memset(rows->items + rows->count++ * rows->item_bytes, 0, rows->item_bytes);
}

const char *mgc_rows_copy(struct mgc_rows *rows, const char *text, size_t bytes)
{
    struct mgc_rows_block *block = rows->strings;
    char *copy;

    if (block == NULL || block->bytes - block->used < bytes + 1) {
        size_t room = bytes + 1 > ROWS_BLOCK_BYTES ? bytes + 1 : ROWS_BLOCK_BYTES;

        block = malloc(sizeof(*block) + room);
        if (block == NULL) {
            rows->failed = true;
            return "";
        }
        *block = (struct mgc_rows_block){.next = rows->strings, .bytes = room};
        rows->strings = block;
    }
    copy = block->data + block->used;
    if (bytes > 0)
        memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    block->used += bytes + 1;
    return copy;
}

const char *mgc_rows_string(struct mgc_rows *rows, struct mgc_query *q)
{
    const char *data = sqlite3_column_blob(q->stmt, q->column);
    int bytes = sqlite3_column_bytes(q->stmt, q->column);

    q->column++;
    return mgc_rows_copy(rows, data, data != NULL ? (size_t)bytes : 0);
}

int mgc_store_scan(struct mgc_store *s, struct mgc_scan *scan, int limit, struct mgc_err *err)
{
    int given = 0;

    while (given < limit) {
        mgc_autorows rows = {.item_bytes = scan->item_bytes};
        int want = limit - given < MGC_STORE_CHUNK ? limit - given : MGC_STORE_CHUNK;
        int r;

        mgc_store_lock(s);
        r = scan->load(s, scan, want, &rows);
        if (r == 0 && rows.failed)
            r = -ENOMEM;
        if (r < 0)
            (void)mgc_store_say(s, r, scan->what, err);
        mgc_store_unlock(s);
        for (size_t i = 0; r == 0 && i < rows.count; i++)
            r = scan->give(scan, rows.items + i * rows.item_bytes);
        if (r != 0)
            return r;
        given += (int)rows.count;
        if (rows.count < (size_t)want)
            break;
    }
    return given;
}
