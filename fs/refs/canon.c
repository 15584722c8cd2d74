/*
 * canon.c -- decoders: percent, HTML entities, backslash escapes, doubled quotes, base64.
 *
 * Role     See canon_priv.h.  The forms (NFC, folded) are in forms.c.
 *
 *   C1  A decoder consumes at least as many bytes as it writes: outputs fit where inputs did.
 *   C2  What a decoder does not understand stays as it is, byte for byte.
 *   C3  One call undoes one layer: what it writes is not decoded again by the same call.
 */
#include "canon_priv.h"

enum { POINT_MAX = 0x10FFFF };

static const unsigned char hex_values[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

/* Value of a hexadecimal digit or -1. */
static int hex_digit(char c)
{
    return (int)hex_values[(unsigned char)c] - 1;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Exactly `digits` hexadecimal digits; false when there are fewer. */
static bool read_hex(const char *at, size_t left, size_t digits, uint32_t *ret)
{
    uint32_t value = 0;

    if (left < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0)
            return false;
        value = value << 4 | (uint32_t)digit;
    }
    *ret = value;
    return true;
}

static bool is_surrogate(uint32_t point)
{
    return point >= 0xD800 && point <= 0xDFFF;
}

size_t mgc_canon_put(char *out, uint32_t point)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xC0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xE0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3F));
        out[2] = (char)(0x80 | (point & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3F));
    out[2] = (char)(0x80 | (point >> 6 & 0x3F));
    out[3] = (char)(0x80 | (point & 0x3F));
    return 4;
}

size_t mgc_canon_point(const char *at, size_t left, uint32_t *ret_point)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)at;
    uint32_t point;
    size_t length;

    if (s[0] < 0x80) {
        *ret_point = s[0];
        return 1;
    }
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return 0;
    length = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (left < length)
        return 0;
    point = s[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        point = point << 6 | (s[i] & 0x3Fu);
    }
    if (point < least[length] || point > POINT_MAX || is_surrogate(point))
        return 0;
    *ret_point = point;
    return length;
}

/* The decoders below return the bytes consumed, 0 for "no escape here", and write to *out. */

static size_t decode_percent(const char *at, size_t left, char **out)
{
    uint32_t value;

    if (read_hex(at + 1, left - 1, 2, &value)) {
        *(*out)++ = (char)value;
        return 3;
    }
    if (left >= 6 && (at[1] == 'u' || at[1] == 'U') && read_hex(at + 2, left - 2, 4, &value) &&
        !is_surrogate(value)) {
        *out += mgc_canon_put(*out, value);
        return 6;
    }
    return 0;
}

/* &#39; &#x2F;  Without a semicolon only where nothing says that the number goes on (C2). */
static size_t decode_number(const char *at, size_t left, char **out)
{
    enum { DIGITS_MAX = 8 };
    bool hex = left > 2 && (at[2] == 'x' || at[2] == 'X');
    size_t first = hex ? 3 : 2, i = first;
    uint32_t value = 0;

    for (; i < left && i < first + DIGITS_MAX; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0 || (!hex && digit > 9))
            break;
        value = value * (hex ? 16 : 10) + (uint32_t)digit;
    }
    if (i == first || value == 0 || value > POINT_MAX || is_surrogate(value))
        return 0;
    if (i < left && at[i] == ';')
        i++;
    else if (i < left && (at[i] == '%' || at[i] == '&' || at[i] == '\\' || is_alnum(at[i])))
        return 0;
    *out += mgc_canon_put(*out, value);
    return i;
}

static size_t decode_entity(const char *at, size_t left, char **out)
{
    enum { NAME_MAX_BYTES = 24 };
    uint32_t point;
    size_t i = 1;

    if (left < 3)
        return 0;
    if (at[1] == '#')
        return decode_number(at, left, out);
    while (i < left && i <= NAME_MAX_BYTES && is_alnum(at[i]))
        i++;
    if (i >= left || at[i] != ';')
        return 0;
    point = mgc_canon_entity(at + 1, i - 1);
    if (point == 0)
        return 0;
    *out += mgc_canon_put(*out, point);
    return i + 1;
}

/* \uXXXX with surrogate pairs; a lone \udc80..\udcff is a byte that was not UTF-8. */
static size_t decode_u16(const char *at, size_t left, char **out)
{
    uint32_t value, low;

    if (!read_hex(at + 2, left - 2, 4, &value))
        return 0;
    if (value >= 0xD800 && value <= 0xDBFF && left >= 12 && at[6] == '\\' && at[7] == 'u' &&
        read_hex(at + 8, left - 8, 4, &low) && low >= 0xDC00 && low <= 0xDFFF) {
        *out += mgc_canon_put(*out, 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00));
        return 12;
    }
    if (value >= 0xDC80 && value <= 0xDCFF) {
        *(*out)++ = (char)(value - 0xDC00);
        return 6;
    }
    if (is_surrogate(value))
        return 0;
    *out += mgc_canon_put(*out, value);
    return 6;
}

/* \u{1F389} */
static size_t decode_braced(const char *at, size_t left, char **out)
{
    enum { DIGITS_MAX = 6 };
    uint32_t value = 0;
    size_t i = 3;

    for (; i < left && i < 3 + DIGITS_MAX && hex_digit(at[i]) >= 0; i++)
        value = value << 4 | (uint32_t)hex_digit(at[i]);
    if (i == 3 || i >= left || at[i] != '}' || value > POINT_MAX || is_surrogate(value))
        return 0;
    *out += mgc_canon_put(*out, value);
    return i + 1;
}

static size_t decode_octal(const char *at, size_t left, char **out)
{
    unsigned value = 0;
    size_t i = 1;

    for (; i < left && i < 4 && at[i] >= '0' && at[i] <= '7'; i++)
        value = value * 8 + (unsigned)(at[i] - '0');
    if (value > 0xFF)
        return 0;
    *(*out)++ = (char)value;
    return i;
}

static size_t decode_coded(const char *at, size_t left, char **out)
{
    uint32_t value;

    if (at[1] >= '0' && at[1] <= '7')
        return decode_octal(at, left, out);
    if (at[1] == 'x' && read_hex(at + 2, left - 2, 2, &value)) {
        *(*out)++ = (char)value;
        return 4;
    }
    if (at[1] == 'u' && left > 3 && at[2] == '{')
        return decode_braced(at, left, out);
    if (at[1] == 'u')
        return decode_u16(at, left, out);
    if (at[1] == 'U' && read_hex(at + 2, left - 2, 8, &value) && value <= POINT_MAX &&
        !is_surrogate(value)) {
        *out += mgc_canon_put(*out, value);
        return 10;
    }
    return 0;
}

/* True when an escape of another kind stands here: it was put on later, so it goes first. */
static bool begins_inner(const char *at, size_t left)
{
    char scratch[4], *out = scratch;

    if (at[0] == '&')
        return decode_entity(at, left, &out) > 0;
    return at[0] == '%' && decode_percent(at, left, &out) > 0;
}

static size_t decode_backslash(const char *at, size_t left, char **out)
{
    static const char letters[] = "ntrbfva", meanings[] = "\n\t\r\b\f\v\a";
    const char *letter;

    if (left < 2 || at[1] == '\0')
        return 0;
    letter = strchr(letters, at[1]);
    if (letter != NULL) {
        *(*out)++ = meanings[letter - letters];
        return 2;
    }
    if (begins_inner(at + 1, left - 1))
        return 0; /* "\&#117;0041": what is escaped stands in the layer above */
    if (at[1] >= ' ' && at[1] < 0x7F && !is_alnum(at[1])) {
        *(*out)++ = at[1]; /* \/ \" \\ and what Markdown and the shell escape */
        return 2;
    }
    return decode_coded(at, left, out);
}

static size_t decode_quotes(const char *at, size_t left, char **out)
{
    if (left < 2 || at[1] != at[0])
        return 0;
    *(*out)++ = at[0];
    return 2;
}

static const unsigned char decoder_of[256] = {
    ['%'] = MGC_ESC_PERCENT, ['&'] = MGC_ESC_ENTITY,  ['\\'] = MGC_ESC_BACKSLASH,
    ['"'] = MGC_ESC_QUOTES,  ['\''] = MGC_ESC_QUOTES,
};

static size_t decode_at(const char *at, size_t left, unsigned kind, char **out)
{
    switch (kind) {
    case MGC_ESC_PERCENT:
        return decode_percent(at, left, out);
    case MGC_ESC_ENTITY:
        return decode_entity(at, left, out);
    case MGC_ESC_BACKSLASH:
        return decode_backslash(at, left, out);
    case MGC_ESC_QUOTES:
        return decode_quotes(at, left, out);
    default:
        return 0;
    }
}

bool mgc_canon_decode(struct mgc_buf *out, const char *in, size_t bytes, unsigned kinds)
{
    bool changed = false;
    char *write;

    mgc_buf_clear(out);
    if (!mgc_buf_reserve(out, bytes))
        return false;
    write = out->data;
    for (size_t i = 0; i < bytes;) {
        unsigned kind = decoder_of[(unsigned char)in[i]] & kinds;
        size_t used = kind == 0 ? 0 : decode_at(in + i, bytes - i, kind, &write);

        if (used == 0) {
            *write++ = in[i++];
            continue;
        }
        changed = true;
        i += used;
    }
    out->bytes = (size_t)(write - out->data);
    out->data[out->bytes] = '\0';
    return changed;
}

bool mgc_canon_replace(struct mgc_buf *out, const char *in, size_t bytes, const char from_to[2])
{
    bool changed = false;

    mgc_buf_clear(out);
    if (!mgc_buf_reserve(out, bytes))
        return false;
    for (size_t i = 0; i < bytes; i++) {
        bool hit = in[i] == from_to[0];

        out->data[i] = hit ? from_to[1] : in[i];
        changed = changed || hit;
    }
    out->bytes = bytes;
    out->data[bytes] = '\0';
    return changed;
}

/* Removes the last component of out, "…/x/" -> "…/"; false when there is none to remove. */
static bool drop_component(struct mgc_buf *out)
{
    size_t end = out->bytes - 1, least;

    while (end > 0 && out->data[end - 1] == '/')
        end--;
    least = end > MGC_NAME_BYTES_MAX ? end - MGC_NAME_BYTES_MAX : 0;
    for (size_t i = end; i > least; i--) {
        if (out->data[i - 1] != '/')
            continue;
        if (end - i == 2 && memcmp(out->data + i, "..", 2) == 0)
            return false;
        out->bytes = i;
        return i < end;
    }
    return false;
}

bool mgc_canon_up(struct mgc_buf *out, const char *in, size_t bytes)
{
    bool changed = false;

    mgc_buf_clear(out);
    if (!mgc_buf_reserve(out, bytes))
        return false;
    for (size_t i = 0; i < bytes; i++) {
        bool after_slash = out->bytes > 0 && out->data[out->bytes - 1] == '/';

        if (after_slash && bytes - i >= 3 && memcmp(in + i, "../", 3) == 0 && drop_component(out)) {
            changed = true;
            i += 2;
            continue;
        }
        if (after_slash && bytes - i >= 2 && memcmp(in + i, "./", 2) == 0) {
            i += 1; /* so that "x/./../" is seen */
            continue;
        }
        out->data[out->bytes++] = in[i];
    }
    out->data[out->bytes] = '\0';
    return changed;
}

static const unsigned char base64_values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
    ['-'] = 63, ['_'] = 64,
};

static bool is_base64(char c)
{
    return base64_values[(unsigned char)c] != 0;
}

/* End of the run that begins at `at`; lines as mail and PEM break them are joined. */
static size_t run_end(const char *text, size_t bytes, size_t at)
{
    enum { LINE_LEAST = 60 };
    size_t line = at, i = at, next;

    for (;;) {
        while (i < bytes && is_base64(text[i]))
            i++;
        next = i;
        if (next < bytes && text[next] == '\r')
            next++;
        if (i - line < LINE_LEAST || next >= bytes || text[next] != '\n' || next + 1 >= bytes ||
            !is_base64(text[next + 1]))
            return i;
        i = line = next + 1;
    }
}

bool mgc_base64_next(const char *text, size_t bytes, size_t from, size_t least,
                     struct mgc_base64_run *ret)
{
    for (size_t i = from; i < bytes; i++) {
        size_t end;

        if (!is_base64(text[i]))
            continue;
        end = run_end(text, bytes, i);
        if (end - i >= least || (end < bytes && text[end] == '=' && end - i >= least / 2)) {
            *ret = (struct mgc_base64_run){
                .at = i, .end = end, .padded = end < bytes && text[end] == '='};
            return true;
        }
        i = end;
    }
    return false;
}

void mgc_base64_decode(struct mgc_buf *out, const char *text, size_t at, size_t end)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t used = 0;

    mgc_buf_clear(out);
    if (!mgc_buf_reserve(out, (end - at) / 4 * 3 + 3))
        return;
    for (size_t i = at; i < end; i++) {
        if (!is_base64(text[i]))
            continue;
        bits = bits << 6 | (uint32_t)(base64_values[(unsigned char)text[i]] - 1);
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        out->data[used++] = (char)(bits >> have & 0xFF);
    }
    out->bytes = used;
    out->data[used] = '\0';
}
