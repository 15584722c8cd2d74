/*
 * forms.c -- one spelling for what may be spelled in several ways: canonical and folded.
 *
 * Role     See canon_priv.h.  Composition tables are those of utf8proc.
 *
 *   F1  form(form(x)) = form(x), fold(fold(x)) = fold(x) for what tests could find.
 *   F2  ASCII text is its own canonical form.
 */
#include "canon_priv.h"

#include <utf8proc.h>

/*
 * True when NFC certainly leaves this code point alone, whatever stands beside it.  False may be
 * wrong: it only costs a call of the library.
 */
static bool stable(uint32_t point)
{
    const utf8proc_property_t *p;

    if (point < 0x300)
        return true;
    if ((point >= 0x400 && point <= 0x45F) || (point >= 0x4E00 && point <= 0x9FFF) ||
        (point >= 0xAC00 && point <= 0xD7A3) || (point >= 0x1F300 && point <= 0x1FAFF) ||
        (point >= 0x1E00 && point <= 0x1E99) || (point >= 0x1EA0 && point <= 0x1EF9) ||
        (point >= 0x3041 && point <= 0x3098) || (point >= 0x30A1 && point <= 0x30FE))
        return true;
    if (point >= 0x1160 && point <= 0x11FF)
        return false; /* Hangul vowels and finals join what precedes */
    p = utf8proc_get_property((utf8proc_int32_t)point);
    if (p->combining_class != 0)
        return false;
    if (p->decomp_seqindex != UINT16_MAX && p->decomp_type == 0)
        return false;
    return p->comb_index == UINT16_MAX || (p->comb_index & 0x8000) == 0;
}

enum { FORM_LATIN1 = 1 << 0, FORM_COMPOSE = 1 << 1 };

static unsigned form_needs(const char *in, size_t bytes)
{
    unsigned needs = 0;

    for (size_t i = 0; i < bytes;) {
        uint32_t point;
        size_t length;

        if ((unsigned char)in[i] < 0x80) {
            i++;
            continue;
        }
        length = mgc_canon_point(in + i, bytes - i, &point);
        if (length == 0)
            needs |= FORM_LATIN1;
        else if (!stable(point))
            needs |= FORM_COMPOSE;
        i += length == 0 ? 1 : length;
    }
    return needs;
}

/* Bytes that are not UTF-8 become the Latin-1 characters they would be. */
static void read_latin1(struct mgc_buf *out, const char *in, size_t bytes)
{
    char put[4];

    mgc_buf_clear(out);
    if (!mgc_buf_reserve(out, bytes + bytes / 2))
        return;
    for (size_t i = 0; i < bytes;) {
        uint32_t point;
        size_t length = mgc_canon_point(in + i, bytes - i, &point);

        if (length > 0) {
            mgc_buf_add(out, in + i, length);
            i += length;
        } else {
            mgc_buf_add(out, put, mgc_canon_put(put, (unsigned char)in[i]));
            i++;
        }
    }
}

/* Normalizes valid UTF-8 by the library; the text as it is where it refuses. */
static void normalize(struct mgc_buf *out, const char *in, size_t bytes, int options)
{
    utf8proc_uint8_t *made = NULL;
    utf8proc_ssize_t length;

    length = utf8proc_map((const utf8proc_uint8_t *)in, (utf8proc_ssize_t)bytes, &made,
                          (utf8proc_option_t)options);
    mgc_buf_clear(out);
    if (length == UTF8PROC_ERROR_NOMEM)
        out->failed = true;
    else if (length < 0)
        mgc_buf_add(out, in, bytes);
    else
        mgc_buf_add(out, made, (size_t)length);
    free(made);
}

bool mgc_canon_form(struct mgc_buf *out, const char *in, size_t bytes)
{
    unsigned needs = form_needs(in, bytes);
    mgc_autobuf latin = {0};

    if (needs == 0)
        return false;
    if ((needs & FORM_LATIN1) == 0) {
        normalize(out, in, bytes, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        return out->bytes != bytes || memcmp(out->data, in, bytes) != 0;
    }
    read_latin1(&latin, in, bytes);
    if (latin.failed) {
        out->failed = true;
        return true;
    }
    if ((needs & FORM_COMPOSE) != 0) {
        normalize(out, latin.data, latin.bytes, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        return true;
    }
    mgc_buf_clear(out); /* Latin-1 characters are stable: no call for each scrap of noise */
    mgc_buf_add(out, latin.data, latin.bytes);
    return true;
}

/* Byte that a code point stood for when UTF-8 was read as Windows-1252; -1 when none. */
static int mojibake_byte(uint32_t point)
{
    static const uint16_t windows[32] = {
        0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
        0x2039, 0x0152, 0x8D,   0x017D, 0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
        0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178,
    };

    if (point < 0x100)
        return (int)point;
    for (int i = 0; i < 32; i++)
        if (windows[i] == point)
            return 0x80 + i;
    return -1;
}

/* Undoes UTF-8 that was read as Latin-1 or Windows-1252 and written as UTF-8 once more. */
static bool undo_mojibake(struct mgc_buf *out, const char *in, size_t bytes)
{
    bool high = false;

    mgc_buf_clear(out);
    if (!mgc_buf_reserve(out, bytes))
        return false;
    for (size_t i = 0; i < bytes;) {
        uint32_t point;
        size_t length = mgc_canon_point(in + i, bytes - i, &point);
        int byte = length == 0 ? -1 : mojibake_byte(point);

        if (byte < 0)
            return false;
        high = high || byte >= 0x80;
        out->data[out->bytes++] = (char)byte;
        i += length;
    }
    out->data[out->bytes] = '\0';
    return high && mgc_utf8_valid(out->data, out->bytes);
}

static bool fold_ascii(struct mgc_buf *out, const char *in, size_t bytes)
{
    mgc_buf_clear(out);
    if (!mgc_buf_reserve(out, bytes))
        return true;
    for (size_t i = 0; i < bytes; i++) {
        char c = in[i];

        if ((unsigned char)c >= 0x80)
            return false;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c + ('a' - 'A'));
        out->data[i] = (char)(c == '+' ? ' ' : c == '\\' ? '/' : c);
    }
    out->bytes = bytes;
    out->data[bytes] = '\0';
    return true;
}

void mgc_canon_fold(struct mgc_buf *out, const char *in, size_t bytes)
{
    mgc_autobuf form = {0};
    mgc_autobuf plain = {0};
    const char *text = in;
    size_t length = bytes;

    if (fold_ascii(out, in, bytes))
        return;
    if (mgc_canon_form(&form, in, bytes)) {
        text = form.data;
        length = form.bytes;
    }
    if (!form.failed && undo_mojibake(&plain, text, length)) {
        text = plain.data;
        length = plain.bytes;
    }
    if (form.failed || plain.failed) {
        out->failed = true;
        return;
    }
    normalize(out, text, length,
              UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD |
                  UTF8PROC_IGNORE);
    for (size_t i = 0; !out->failed && i < out->bytes; i++)
        if (out->data[i] == '+' || out->data[i] == '\\')
            out->data[i] = out->data[i] == '+' ? ' ' : '/';
}
