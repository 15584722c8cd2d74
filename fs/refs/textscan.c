/*
 * textscan.c -- see textscan_priv.h.
 *
 * The text is walked from every place where a mention may begin and whose first two bytes begin
 * a name at the root of the tree.  Each step reads one component: all of it up to the slash as a
 * directory to go on in, its plain beginning as a name, and where the directory has names with
 * delimiters that begin like this, every further end.  In a text that mentions nothing a walk
 * ends at its first component.
 */
#include "textscan_priv.h"

#include <utf8proc.h>

#include "canon_priv.h"

/* clang-format off */
enum { D = MGC_KIND_DELIMITER, N = MGC_KIND_NAME, A = MGC_KIND_NAME | MGC_KIND_ALNUM,
       T = MGC_KIND_DOT, S = MGC_KIND_SLASH };
static const uint8_t ascii_kinds[128] = {
    D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D,
    D, D, D, D, D, D, D, D, D, D, D, D, D, D, D, D,
    D, D, D, D, D, D, D, D, D, D, D, D, D, N, T, S,
    A, A, A, A, A, A, A, A, A, A, D, D, D, D, D, D,
    D, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A,
    A, A, A, A, A, A, A, A, A, A, A, D, D, D, D, N,
    D, A, A, A, A, A, A, A, A, A, A, A, A, A, A, A,
    A, A, A, A, A, A, A, A, A, A, A, D, D, D, D, D,
};

enum { C = MGC_ESC_BINARY, Q = MGC_ESC_QUOTES, P = MGC_ESC_PERCENT, E = MGC_ESC_ENTITY,
       W = MGC_ESC_PLUS, B = MGC_ESC_BACKSLASH };
static const uint8_t ascii_escapes[128] = {
    C, C, C, C, C, C, C, C, C, 0, 0, 0, 0, 0, C, C,
    C, C, C, C, C, C, C, C, C, C, C, C, C, C, C, C,
    0, 0, Q, 0, 0, P, E, Q, 0, 0, 0, W, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, B, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, C,
};
/* clang-format on */

/* Kind of a character beyond ASCII. */
static uint8_t point_kind(uint32_t point)
{
    switch (utf8proc_category((utf8proc_int32_t)point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return MGC_KIND_NAME | MGC_KIND_ALNUM;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return MGC_KIND_NAME;
    case UTF8PROC_CATEGORY_LO:
        return MGC_KIND_DELIMITER | MGC_KIND_WORD;
    default:
        return MGC_KIND_DELIMITER;
    }
}

unsigned mgc_scan_kinds(uint8_t *kinds, const char *text, size_t bytes)
{
    unsigned escapes = 0;

    for (size_t i = 0; i < bytes;) {
        unsigned char c = (unsigned char)text[i];
        uint32_t point;
        size_t length;

        if (c < 0x80) {
            kinds[i] = ascii_kinds[c];
            escapes |= ascii_escapes[c];
            if (c == '/' && bytes - i > 2 && text[i + 1] == '.' && text[i + 2] == '.')
                escapes |= MGC_ESC_UP;
            i++;
            continue;
        }
        length = mgc_canon_point(text + i, bytes - i, &point);
        escapes |= MGC_ESC_HIGH;
        if (length == 0) {
            escapes |= MGC_ESC_BINARY;
            kinds[i++] = MGC_KIND_DELIMITER; /* may be anything: a boundary keeps more */
            continue;
        }
        kinds[i] = point_kind(point);
        for (size_t k = 1; k < length; k++)
            kinds[i + k] = kinds[i] | MGC_KIND_INSIDE;
        i += length;
    }
    return escapes;
}

bool mgc_scan_is_plain(const char *name, size_t bytes)
{
    uint8_t kinds[MGC_NAME_BYTES_MAX];

    (void)mgc_scan_kinds(kinds, name, bytes);
    for (size_t i = 0; i < bytes; i++)
        if ((kinds[i] & (MGC_KIND_DELIMITER | MGC_KIND_SLASH)) != 0)
            return false;
    return true;
}

size_t mgc_scan_lead(const char *name, size_t bytes)
{
    uint8_t kinds[MGC_NAME_BYTES_MAX];
    size_t lead = 0;

    (void)mgc_scan_kinds(kinds, name, bytes);
    while (lead < bytes && (kinds[lead] & (MGC_KIND_DELIMITER | MGC_KIND_SLASH)) == 0)
        lead++;
    if (lead > 0)
        return lead;
    do
        lead++;
    while (lead < bytes && (kinds[lead] & MGC_KIND_INSIDE) != 0);
    return lead;
}

bool mgc_scan_begins(const struct mgc_scan *s, size_t at)
{
    if (at == 0)
        return !s->open_start;
    return (s->kinds[at] & MGC_KIND_INSIDE) == 0 &&
           (s->kinds[at - 1] & (MGC_KIND_SLASH | MGC_KIND_DELIMITER)) != 0;
}

bool mgc_scan_ends(const struct mgc_scan *s, size_t at)
{
    if (at == s->bytes)
        return !s->open_end;
    if ((s->kinds[at] & MGC_KIND_INSIDE) != 0)
        return false;
    if ((s->kinds[at] & MGC_KIND_DOT) != 0)
        return at + 1 == s->bytes ? !s->open_end : (s->kinds[at + 1] & MGC_KIND_ALNUM) == 0;
    return (s->kinds[at] & (MGC_KIND_SLASH | MGC_KIND_DELIMITER)) != 0;
}

/* A place in the tree while following a text. */
struct place {
    uint64_t print;
    bool spaced;
    size_t start; /* of the mention */
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t plain_end(const struct mgc_scan *s, size_t at)
{
    size_t stop = least(s->bytes, at + MGC_NAME_BYTES_MAX + 1);

    while (at < stop && (s->kinds[at] & (MGC_KIND_SLASH | MGC_KIND_DELIMITER)) == 0)
        at++;
    return at;
}

/* The slash that ends this component; bytes when there is none within a name's length. */
static size_t slash_after(const struct mgc_scan *s, size_t at)
{
    size_t span = least(s->bytes - at, MGC_NAME_BYTES_MAX + 1);
    const char *slash = memchr(s->text + at, '/', span);

    return slash == NULL ? s->bytes : (size_t)(slash - s->text);
}

/* Looks one component up. */
static const uint32_t *look(const struct mgc_scan *s, uint64_t dir, size_t at, size_t end,
                            uint64_t *ret_print)
{
    (*s->steps)++;
    *ret_print = mgc_liveset_step(s->set, dir, s->text + at, end - at);
    return end - at > MGC_NAME_BYTES_MAX ? NULL : mgc_liveset_find(s->set, *ret_print);
}

/* Reports what stands under `value` as mentioned by [start, end), where a mention may end. */
static void report(const struct mgc_scan *s, const uint32_t *value, size_t start, size_t at,
                   size_t end)
{
    bool slashed = at > start || (start > 0 && s->text[start - 1] == '/');

    if ((*value & MGC_NODE_FILE) != 0)
        s->found(s->arg, value, false, start, end);
    /* Followed by a slash it is decided there whether anything of a name follows. */
    if ((*value & MGC_NODE_DIR) != 0 && slashed && (end == s->bytes || s->text[end] != '/'))
        s->found(s->arg, value, true, start, end);
}

static void try_end(const struct mgc_scan *s, const struct place *here, size_t at, size_t end)
{
    uint64_t print;
    const uint32_t *value;

    if (!mgc_scan_ends(s, end))
        return;
    value = look(s, here->print, at, end, &print);
    if (value != NULL)
        report(s, value, here->start, at, end);
}

/* Names with delimiters: every end within the component, filtered by the lengths there are. */
static void try_spaced(const struct mgc_scan *s, const struct place *here, size_t at, size_t plain,
                       size_t slash)
{
    size_t lead = plain, stop = least(slash, at + MGC_NAME_BYTES_MAX);

    if (at == s->bytes)
        return;
    if (lead == at) {
        do
            lead++;
        while (lead < s->bytes && (s->kinds[lead] & MGC_KIND_INSIDE) != 0);
    }
    (*s->steps)++;
    if (!mgc_liveset_has_lead(s->set,
                              mgc_liveset_step(s->set, here->print, s->text + at, lead - at)))
        return;
    for (size_t end = lead; end <= stop; end++)
        if (end != plain && mgc_liveset_spaced_length(s->set, end - at))
            try_end(s, here, at, end);
}

/* After the slash at `slash`, further ones and "./": where the next component begins. */
static size_t next_component(const struct mgc_scan *s, size_t slash)
{
    size_t at = slash + 1;

    for (;;) {
        if (at < s->bytes && s->text[at] == '/')
            at++;
        else if (at + 1 < s->bytes && s->text[at] == '.' && s->text[at + 1] == '/')
            at += 2;
        else
            return at;
    }
}

/* True when nothing of a name stands at `at`. */
static bool nothing_follows(const struct mgc_scan *s, size_t at)
{
    if (at == s->bytes)
        return !s->open_end;
    if (s->bytes - at >= 3 && memcmp(s->text + at, "../", 3) == 0)
        return false;
    if ((s->kinds[at] & MGC_KIND_DOT) != 0)
        return mgc_scan_ends(s, at);
    return (s->kinds[at] & MGC_KIND_DELIMITER) != 0 && (s->kinds[at] & MGC_KIND_WORD) == 0;
}

static void walk(const struct mgc_scan *s, size_t start)
{
    struct place here = {
        .print = s->set->roots[s->space], .spaced = s->set->root_spaced[s->space], .start = start};
    size_t at = start;

    while (at < s->bytes && at - start <= MGC_PATH_BYTES_MAX) {
        size_t plain = plain_end(s, at), slash = slash_after(s, at);
        const uint32_t *value = NULL;
        uint64_t print = 0;

        if (plain > at) {
            value = look(s, here.print, at, plain, &print);
            if (value != NULL && mgc_scan_ends(s, plain))
                report(s, value, start, at, plain);
            for (size_t end = plain - 1; end > at; end--)
                if (s->kinds[end] == MGC_KIND_DOT)
                    try_end(s, &here, at, end);
        }
        if (here.spaced)
            try_spaced(s, &here, at, plain, slash);
        if (slash == s->bytes)
            return;
        if (slash != plain || plain == at)
            value = look(s, here.print, at, slash, &print);
        if (value == NULL || (*value & MGC_NODE_DIR) == 0)
            return;
        at = next_component(s, slash);
        if (nothing_follows(s, at))
            s->found(s->arg, value, true, start, slash + 1);
        here.print = print;
        here.spaced = (*value & MGC_NODE_SPACED) != 0;
    }
}

void mgc_scan_run(const struct mgc_scan *s)
{
    if (!s->set->in_use[s->space])
        return;
    for (size_t i = 0; i < s->bytes; i++) {
        unsigned char second = i + 1 < s->bytes ? (unsigned char)s->text[i + 1] : 0;

        if (mgc_liveset_begins(s->set, s->space, (unsigned char)s->text[i], second) &&
            mgc_scan_begins(s, i))
            walk(s, i);
    }
}

/* Receives the mentions of a part of a text and passes them on with their place in all of it. */
struct part {
    const struct mgc_scan *whole;
    size_t at;
};

static void found_in_part(void *arg, const uint32_t *value, bool dir, size_t at, size_t end)
{
    struct part *part = arg;

    part->whole->found(part->whole->arg, value, dir, part->at + at, part->at + end);
}

void mgc_scan_prefixed(const struct mgc_scan *s)
{
    enum { LEAST = 3 };
    size_t clean = 0; /* no control character in [i, clean) */

    for (size_t i = 1; i < s->bytes; i++) {
        size_t length = (unsigned char)s->text[i - 1];
        struct part part = {.whole = s, .at = i};
        struct mgc_scan inner = *s;

        if (clean < i)
            clean = i;
        while (clean < s->bytes && clean < i + 255 && (unsigned char)s->text[clean] >= ' ')
            clean++;
        if (length < LEAST || i + length > clean ||
            (mgc_scan_begins(s, i) && mgc_scan_ends(s, i + length)) ||
            !mgc_liveset_has_tail(s->set, s->text + i, length))
            continue;
        inner.text += i;
        inner.kinds += i;
        inner.bytes = length;
        inner.open_start = inner.open_end = false;
        inner.found = found_in_part;
        inner.arg = &part;
        mgc_scan_run(&inner);
    }
}

bool mgc_scan_in_dir(const struct mgc_scan *s, size_t at, size_t end, bool any, size_t *ret_name)
{
    uint64_t print = s->set->roots[s->space];
    bool follows = true;
    size_t depth = 0;

    for (;;) {
        const char *slash = memchr(s->text + at, '/', end - at);
        size_t stop = slash == NULL ? end : (size_t)(slash - s->text);
        const uint32_t *value;

        if (slash == NULL)
            break;
        if (stop == at + 2 && memcmp(s->text + at, "..", 2) == 0)
            return false;
        if (stop > at && !(stop == at + 1 && s->text[at] == '.') && follows) {
            value = look(s, print, at, stop, &print);
            follows = value != NULL && (*value & MGC_NODE_DIR) != 0;
            if (!follows && (!any || depth == 0))
                return false;
            depth++;
        }
        at = stop + 1;
    }
    *ret_name = at;
    return depth > 0 && at < end;
}
