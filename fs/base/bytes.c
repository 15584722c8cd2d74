/* bytes.c -- growing buffers, escapes, UTF-8. */
#include "mediagcfs/bytes.h"

#include <stdarg.h>

#include "mediagcfs/assert.h"

enum { CAPACITY_MIN = 128 };

void mgc_buf_done(struct mgc_buf *b)
{
    free(b->data);
    *b = (struct mgc_buf){0};
}

void mgc_buf_clear(struct mgc_buf *b)
{
    b->bytes = 0;
    b->failed = false;
    if (b->data != NULL)
        b->data[0] = '\0';
}

bool mgc_buf_reserve(struct mgc_buf *b, size_t bytes)
{
    size_t want, capacity;
    char *data;

    if (b->failed || bytes > SIZE_MAX / 4 || b->bytes > SIZE_MAX / 4) {
        b->failed = true;
        return false;
    }
    want = b->bytes + bytes + 1;
    if (want <= b->capacity)
        return true;
    capacity = b->capacity < CAPACITY_MIN ? CAPACITY_MIN : b->capacity;
    while (capacity < want)
        capacity *= 2;
    data = realloc(b->data, capacity);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->capacity = capacity;
    return true;
}

void mgc_buf_add(struct mgc_buf *b, const void *data, size_t bytes)
{
    if (!mgc_buf_reserve(b, bytes))
        return;
    if (bytes > 0)
        memcpy(b->data + b->bytes, data, bytes);
    b->bytes += bytes;
    b->data[b->bytes] = '\0';
}

void mgc_buf_adds(struct mgc_buf *b, const char *text)
{
    mgc_buf_add(b, text, strlen(text));
}

void mgc_buf_addc(struct mgc_buf *b, char c)
{
    mgc_buf_add(b, &c, 1);
}

void mgc_buf_addf(struct mgc_buf *b, const char *format, ...)
{
    va_list args, again;
    int need;

    va_start(args, format);
    va_copy(again, args);
    need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need < 0)
        b->failed = true;
    else if (mgc_buf_reserve(b, (size_t)need)) {
        (void)vsnprintf(b->data + b->bytes, (size_t)need + 1, format, again);
        b->bytes += (size_t)need;
    }
    va_end(again);
}

/* Length of the well-formed sequence at s, 0 when it is malformed (RFC 3629, table of section 4).
 */
static size_t sequence_bytes(const unsigned char *s, size_t left)
{
    size_t length;
    unsigned char low = 0x80, high = 0xBF;

    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xC2 && s[0] <= 0xDF)
        length = 2;
    else if (s[0] >= 0xE0 && s[0] <= 0xEF)
        length = 3;
    else if (s[0] >= 0xF0 && s[0] <= 0xF4)
        length = 4;
    else
        return 0;
    if (s[0] == 0xE0)
        low = 0xA0;
    else if (s[0] == 0xED)
        high = 0x9F;
    else if (s[0] == 0xF0)
        low = 0x90;
    else if (s[0] == 0xF4)
        high = 0x8F;
    if (left < length || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (s[i] < 0x80 || s[i] > 0xBF)
            return 0;
    return length;
}

bool mgc_utf8_valid(const char *bytes, size_t count)
{
    const unsigned char *s = (const unsigned char *)bytes;

    for (size_t i = 0; i < count;) {
        size_t length = sequence_bytes(s + i, count - i);

        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

const char *mgc_escape(char *out, size_t out_bytes, const char *bytes, size_t count)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *s = (const unsigned char *)bytes;
    size_t used = 0;

    MGC_ASSERT(out_bytes >= 8);
    for (size_t i = 0; i < count;) {
        size_t length = sequence_bytes(s + i, count - i);
        /* U+0080 to U+009F are control characters, some of which a terminal obeys. */
        bool control = length == 2 && s[i] == 0xC2 && s[i + 1] < 0xA0;
        bool plain = (length > 1 && !control) ||
                     (length == 1 && s[i] >= 0x20 && s[i] < 0x7F && s[i] != '\\');
        size_t need = plain ? length : 4;

        if (used + need + 4 > out_bytes) {
            memcpy(out + used, "...", 3);
            used += 3;
            break;
        }
        if (plain) {
            memcpy(out + used, s + i, length);
            i += length;
        } else {
            out[used] = '\\';
            out[used + 1] = 'x';
            out[used + 2] = hex[s[i] >> 4];
            out[used + 3] = hex[s[i] & 15];
            i++;
        }
        used += need;
    }
    out[used] = '\0';
    return out;
}

void mgc_buf_add_json(struct mgc_buf *b, const char *bytes, size_t count)
{
    const unsigned char *s = (const unsigned char *)bytes;

    mgc_buf_addc(b, '"');
    for (size_t i = 0; i < count;) {
        size_t length = sequence_bytes(s + i, count - i);

        if (length == 0) {
            mgc_buf_adds(b, "\xEF\xBF\xBD");
            i++;
            continue;
        }
        if (s[i] == '"' || s[i] == '\\') {
            mgc_buf_addc(b, '\\');
            mgc_buf_addc(b, (char)s[i]);
        } else if (s[i] < 0x20 || s[i] == 0x7F)
            mgc_buf_addf(b, "\\u%04x", s[i]);
        else
            mgc_buf_add(b, s + i, length);
        i += length;
    }
    mgc_buf_addc(b, '"');
}

void mgc_buf_add_hex(struct mgc_buf *b, const void *data, size_t bytes)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *s = data;

    if (!mgc_buf_reserve(b, bytes * 2))
        return;
    for (size_t i = 0; i < bytes; i++) {
        mgc_buf_addc(b, hex[s[i] >> 4]);
        mgc_buf_addc(b, hex[s[i] & 15]);
    }
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool mgc_buf_add_unhex(struct mgc_buf *b, const char *hex, size_t count)
{
    if (count % 2 != 0)
        return false;
    for (size_t i = 0; i < count; i += 2) {
        int high = nibble(hex[i]), low = nibble(hex[i + 1]);

        if (high < 0 || low < 0)
            return false;
        mgc_buf_addc(b, (char)(high * 16 + low));
    }
    return true;
}
