/*
 * origin.c -- where a held file came from, written on the file itself or in a manifest.
 *
 * The catalog may be lost (G6); a slot must still know its path.  A record is
 *
 *   <crc-32, 8 hex digits> 1 <slot> <kind> <ino> <stamp> <reason> <run> <born> <written> <uid>
 *   <time> <path>
 *
 * on one line: as the value of trusted.mediagcfs.<slot> with the path as bytes, or as a line of
 * `.mediagcfs/manifest` with the path in hexadecimal, where the attribute does not fit or is not
 * supported.  The identity in it must be the slot's (Q5).  Slot ids are never used twice (H11), so
 * a record that outlives its slot can name no other: the manifest needs no removals and is dropped
 * as a whole when no slot is left.
 */
#include "quarantine_priv.h"

#include <inttypes.h>

#include "mediagcfs/path.h"

enum { CRC_DIGITS = 8, KEY_BYTES = 48, FIELDS = 11, VERSION = 1 };

static uint32_t crc32_of(const char *data, size_t bytes)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < bytes; i++) {
        crc ^= (unsigned char)data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (UINT32_C(0xedb88320) & (0U - (crc & 1U)));
    }
    return ~crc;
}

void mgc_origin_encode(struct mgc_buf *out, const struct mgc_held *held, int64_t now_us, bool hex)
{
    mgc_autobuf body = {0};

    mgc_buf_addf(&body,
                 "%d %" PRId64 " %d %" PRId64 " %" PRId64 " %d %" PRId64 " %" PRId64 " %" PRId64
                 " %" PRIu32 " %" PRId64 " ",
                 VERSION, held->id, (int)held->stat.id.kind, (int64_t)held->stat.id.ino,
                 held->stat.id.stamp, (int)held->reason, held->run, held->born_us, held->written_us,
                 held->creator_uid, now_us);
    if (hex)
        mgc_buf_add_hex(&body, held->path, strlen(held->path));
    else
        mgc_buf_adds(&body, held->path);
    if (body.failed) {
        out->failed = true;
        return;
    }
    mgc_buf_addf(out, "%08" PRIx32 " ", crc32_of(body.data, body.bytes));
    mgc_buf_add(out, body.data, body.bytes);
}

static bool read_number(const char **at, const char *end, int64_t *ret)
{
    bool negative = *at < end && **at == '-';
    const char *p = *at + (negative ? 1 : 0), *first = p;
    int64_t value = 0;

    for (; p < end && *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            (negative ? __builtin_sub_overflow(value, *p - '0', &value)
                      : __builtin_add_overflow(value, *p - '0', &value)))
            return false;
    if (p == first || p == end || *p != ' ')
        return false;
    *at = p + 1;
    *ret = value;
    return true;
}

static bool read_path(const char *at, const char *end, bool hex, char *path)
{
    mgc_autobuf plain = {0};
    size_t bytes = (size_t)(end - at);

    if (hex) {
        if (!mgc_buf_add_unhex(&plain, at, bytes) || plain.failed)
            return false;
        at = plain.data;
        bytes = plain.bytes;
    }
    if (bytes == 0 || bytes > MGC_PATH_BYTES_MAX || memchr(at, '\0', bytes) != NULL)
        return false;
    memcpy(path, at, bytes);
    path[bytes] = '\0';
    return mgc_path_check(path) == 0;
}

bool mgc_origin_decode(const char *data, size_t bytes, bool hex, struct mgc_held *ret, char *path)
{
    char crc[CRC_DIGITS + 1];
    const char *at = data + CRC_DIGITS + 1, *end = data + bytes;
    int64_t n[FIELDS];

    if (bytes <= CRC_DIGITS + 1 || data[CRC_DIGITS] != ' ')
        return false;
    (void)snprintf(crc, sizeof(crc), "%08" PRIx32, crc32_of(at, (size_t)(end - at)));
    if (memcmp(crc, data, CRC_DIGITS) != 0)
        return false;
    for (size_t i = 0; i < FIELDS; i++)
        if (!read_number(&at, end, &n[i]))
            return false;
    if (n[0] != VERSION || n[1] <= 0 || n[2] < MGC_ID_NONE || n[2] > MGC_ID_GENERATION ||
        n[5] < MGC_REASON_ORPHAN || n[5] > MGC_REASON_REPLACED || n[9] < 0 || n[9] > UINT32_MAX)
        return false;
    if (!read_path(at, end, hex, path))
        return false;
    *ret = (struct mgc_held){
        .id = n[1],
        .state = MGC_HELD_HELD,
        .reason = (enum mgc_held_reason)n[5],
        .path = path,
        .restore_to = "",
        .stat = {.id = {.kind = (enum mgc_id_kind)n[2], .ino = (uint64_t)n[3], .stamp = n[4]}},
        .run = n[6],
        .born_us = n[7],
        .written_us = n[8],
        .creator_uid = (uint32_t)n[9],
        .held_us = n[10],
    };
    return true;
}

static void key_of(char out[KEY_BYTES], int64_t slot)
{
    (void)snprintf(out, KEY_BYTES, "trusted.mediagcfs.%" PRId64, slot);
}

int mgc_origin_mark(struct mgc_quarantine *q, int dir_fd, const char *name,
                    const struct mgc_held *held)
{
    struct mgc_os *os = q->spec.os;
    mgc_autobuf record = {0};
    char key[KEY_BYTES];

    key_of(key, held->id);
    mgc_origin_encode(&record, held, os->now_us(os), false);
    if (record.failed)
        return -ENOMEM;
    return os->set_xattr(os, dir_fd, name, key, record.data, record.bytes);
}

void mgc_origin_unmark(struct mgc_quarantine *q, int dir_fd, const char *name, int64_t slot)
{
    char key[KEY_BYTES];

    key_of(key, slot);
    /* A record left on a live file names a slot that never comes back, and the mount filters it. */
    (void)q->spec.os->remove_xattr(q->spec.os, dir_fd, name, key);
}

void mgc_origin_unmark_path(struct mgc_quarantine *q, const char *path, int64_t slot)
{
    const char *leaf;

    mgc_autofd parent = mgc_open_parent(q->spec.os, q->spec.home->root_fd, path, &leaf, NULL);
    if (parent >= 0)
        mgc_origin_unmark(q, parent, leaf, slot);
}

int mgc_origin_note(struct mgc_quarantine *q, const struct mgc_buf *records, struct mgc_err *err)
{
    int r;

    if (records->failed)
        return mgc_err_set(err, -ENOMEM, "could not write file '%s'", MGC_PRIVATE_DIR "/manifest");
    if (records->bytes == 0)
        return 0;
    r = q->store->append(q->store, q->spec.home->home_fd, records->data, records->bytes);
    return r < 0 ? mgc_err_set(err, r, "could not write file '%s'", MGC_PRIVATE_DIR "/manifest")
                 : 0;
}

static bool find_line(const struct mgc_buf *manifest, int64_t slot, struct mgc_held *ret,
                      char *path)
{
    const char *at = manifest->data, *end = at + manifest->bytes;

    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));

        if (stop == NULL)
            stop = end;
        if (mgc_origin_decode(at, (size_t)(stop - at), true, ret, path) && ret->id == slot)
            return true;
        at = stop + 1;
    }
    return false;
}

int mgc_origin_read(struct mgc_quarantine *q, int64_t slot, const struct mgc_buf *manifest,
                    struct mgc_held *ret, char *path)
{
    char value[MGC_ORIGIN_BYTES_MAX], key[KEY_BYTES], name[MGC_SLOT_NAME_BYTES];
    struct mgc_os *os = q->spec.os;
    int r;

    key_of(key, slot);
    mgc_slot_name(name, slot);
    r = os->get_xattr(os, q->spec.home->slots_fd, name, key, value, sizeof(value));
    if (r > 0 && mgc_origin_decode(value, (size_t)r, false, ret, path) && ret->id == slot)
        return 0;
    if (manifest->bytes > 0 && find_line(manifest, slot, ret, path))
        return 0;
    return r < 0 && r != -ENODATA && r != -EOPNOTSUPP && r != -EPERM ? r : -ENODATA;
}
