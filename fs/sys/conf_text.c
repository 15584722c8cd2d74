/*
 * conf_text.c -- reads a configuration file and hands libconfuse a text it cannot misread.
 *
 * libconfuse drops characters it does not know (`*` outside quotes among them), takes the end of
 * the file for the end of a block, lets a comment run to it, replaces ${NAME} by the environment
 * and loses backslashes.  Each of these turns a configuration into another one without a word, and
 * a shorter list of kept or referenced files is how media get lost.  So the text is cut into
 * tokens here, strictly; comments are blanked, every word goes on as a quoted string, lines stay
 * where they were.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "fs/sys/conf_priv.h"

struct scan {
    struct mgc_conf_raw *raw;
    const char *p, *end;
    int line;
    struct mgc_buf *out;
    struct mgc_err *err;
    /* What came before decides what a brace opens and whether a word is a value. */
    enum { AT_START, AFTER_WORD, AFTER_TITLE, AFTER_EQUALS, AFTER_VALUE, IN_LIST } state;
    char word[MGC_CONF_WORD_BYTES], title[MGC_CONF_WORD_BYTES];
    int word_line, open_line; /* of the word; of the block that is open, 0 when none is */
    int list_line;
};

int mgc_conf_fail(struct mgc_err *err, const char *file, int line, const char *format, ...)
{
    char text[MGC_ERR_TEXT_BYTES];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (line > 0)
        return mgc_err_say(err, MGC_E_CONFIG, "%s:%d: %s", MGC_SHOW(file), line, text);
    if (file[0] == '\0') /* from the command line */
        return mgc_err_say(err, MGC_E_CONFIG, "%s", text);
    return mgc_err_say(err, MGC_E_CONFIG, "%s: %s", MGC_SHOW(file), text);
}

int mgc_conf_read_file(const char *path, size_t most, struct mgc_buf *out, struct mgc_err *err)
{
    struct stat s;
    mgc_autofd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &s) < 0)
        return mgc_err_set(err, -errno, "could not open file '%s'", MGC_SHOW(path));
    if (!S_ISREG(s.st_mode))
        return mgc_err_set(err, S_ISDIR(s.st_mode) ? -EISDIR : -EINVAL, "could not read file '%s'",
                           MGC_SHOW(path));
    for (;;) {
        ssize_t got;

        if (out->bytes > most)
            return mgc_err_say(err, MGC_E_LIMIT, "could not read file '%s': longer than %zu bytes",
                               MGC_SHOW(path), most);
        if (!mgc_buf_reserve(out, 65536))
            return mgc_err_set(err, -ENOMEM, "could not read file '%s'", MGC_SHOW(path));
        got = read(fd, out->data + out->bytes, 65536);
        if (got < 0 && errno != EINTR)
            return mgc_err_set(err, -errno, "could not read file '%s'", MGC_SHOW(path));
        if (got == 0)
            break;
        out->bytes += got > 0 ? (size_t)got : 0;
    }
    out->data[out->bytes] = '\0';
    if (memchr(out->data, '\0', out->bytes) != NULL)
        return mgc_err_say(err, MGC_E_CONFIG, "could not read file '%s': it is not a text",
                           MGC_SHOW(path));
    return 0;
}

static int fail(struct scan *s, int line, const char *message)
{
    return mgc_conf_fail(s->err, s->raw->file, line, "%s", message);
}

static bool expects_value(const struct scan *s)
{
    return s->state == AFTER_EQUALS || s->state == IN_LIST;
}

static bool space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\0';
}

/* s->end is followed by a NUL, so one character ahead may be looked at. */
static bool at_comment(const struct scan *s)
{
    return s->p[0] == '#' || (s->p[0] == '/' && (s->p[1] == '/' || s->p[1] == '*'));
}

/* In the place of a value it might be meant as one: then only what is plainly a comment is one. */
static int skip_comment(struct scan *s)
{
    bool block = s->p[0] == '/' && s->p[1] == '*';
    const char *inside = s->p;
    int line = s->line;

    if (block)
        inside++;
    while (*inside == s->p[block ? 1 : 0])
        inside++;
    if (expects_value(s) && !space(*inside)) {
        (void)fail(s, line, "a value that begins like a comment");
        (void)mgc_err_hint(s->err, "Put it in quotes, or a space behind the comment sign.");
        return MGC_E_CONFIG;
    }
    if (!block) {
        while (s->p < s->end && *s->p != '\n')
            s->p++;
        return 0;
    }
    for (s->p += 2; s->p < s->end; s->p++) {
        if (s->p[0] == '*' && s->p[1] == '/') {
            s->p += 2;
            mgc_buf_addc(s->out, ' ');
            return 0;
        }
        if (*s->p == '\n') {
            mgc_buf_addc(s->out, '\n');
            s->line++;
        }
    }
    (void)fail(s, line, "a comment that begins here does not end");
    (void)mgc_err_hint(s->err, "Close it with */; a value with /* needs quotes.");
    return MGC_E_CONFIG;
}

/* One byte of a decoded value, in the double quotes libconfuse reads. */
static void emit(struct mgc_buf *out, char c)
{
    if (c == '"' || c == '\\' || c == '$')
        mgc_buf_addc(out, '\\');
    mgc_buf_addc(out, c);
}

static int escape_in_quotes(struct scan *s)
{
    char next = s->p[1];

    switch (next) {
    case '\\':
    case '"':
        emit(s->out, next);
        break;
    case 'n':
    case 't':
    case 'r':
        mgc_buf_addc(s->out, '\\');
        mgc_buf_addc(s->out, next);
        break;
    case '\n':
        mgc_buf_adds(s->out, "\\\n");
        s->line++;
        break;
    default:
        (void)fail(s, s->line, "a backslash that means nothing here");
        (void)mgc_err_hint(s->err, "Write \\\\ for a backslash, or use single quotes.");
        return MGC_E_CONFIG;
    }
    s->p += 2;
    return 0;
}

/* Copies what stands in quotes; both kinds may run over lines. */
static int quoted(struct scan *s)
{
    char quote = *s->p;
    int begin = s->line, r;

    for (s->p++; s->p < s->end && *s->p != quote;) {
        if (quote == '"' && s->p[0] == '$' && s->p[1] == '{') {
            (void)fail(s, s->line, "'${' is not replaced here");
            (void)mgc_err_hint(s->err, "Use single quotes, in which it means itself.");
            return MGC_E_CONFIG;
        }
        if (quote == '"' && *s->p == '\\') {
            r = escape_in_quotes(s);
            if (r < 0)
                return r;
            continue;
        }
        if (quote == '\'' && *s->p == '\\' && (s->p[1] == '\\' || s->p[1] == '\''))
            s->p++;
        if (*s->p == '\n')
            s->line++;
        emit(s->out, *s->p++);
    }
    if (s->p >= s->end)
        return fail(s, begin, "a quote that begins here does not end");
    s->p++;
    return 0;
}

/* A bare word ends at white space, punctuation or a quote; a value may hold any other character. */
static int bare(struct scan *s)
{
    const char *begin = s->p;

    for (; s->p < s->end && strchr(" \t\r\n{}=,\"'", *s->p) == NULL; s->p++) {
        if (s->p[0] == '+' && s->p[1] == '=' && !expects_value(s))
            break;
        if ((unsigned char)*s->p < 0x20 || *s->p == 0x7F)
            return fail(s, s->line, "a control character outside quotes");
        if (*s->p == '(' || *s->p == ')' || *s->p == ';' || (s->p[0] == '$' && s->p[1] == '{')) {
            (void)fail(s, s->line, "a value with brackets, ';' or '${' outside quotes");
            (void)mgc_err_hint(s->err, "Put the whole value in single quotes.");
            return MGC_E_CONFIG;
        }
        emit(s->out, *s->p);
    }
    return s->p > begin ? 0 : fail(s, s->line, "a control character outside quotes");
}

/* Names of blocks, keys and titles: what libconfuse would give another meaning is refused. */
static bool name_ok(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && name[0] != '-' &&
           name[strspn(
               name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] == '\0';
}

static int store_name(struct scan *s, size_t from)
{
    char *name = s->state == AFTER_WORD ? s->title : s->word;
    size_t bytes = s->out->bytes - from;

    if (bytes >= MGC_CONF_WORD_BYTES)
        return fail(s, s->line, "a name that is too long");
    memcpy(name, s->out->data + from, bytes);
    name[bytes] = '\0';
    if (name_ok(name))
        return 0;
    (void)mgc_conf_fail(s->err, s->raw->file, s->line, "'%s' is not a name", MGC_SHOW(name));
    (void)mgc_err_hint(s->err, "Names have letters, digits and _ . -; values with spaces, '=' or "
                               "commas need quotes.");
    return MGC_E_CONFIG;
}

static int inside_a_block(struct scan *s)
{
    return mgc_conf_fail(s->err, s->raw->file, s->word_line,
                         "block '%s' begins inside the one of line %d, which has no '}' yet",
                         s->word, s->open_line);
}

static int word(struct scan *s)
{
    size_t from;
    int line = s->line, r;

    if (s->state == AFTER_TITLE)
        return fail(s, line, "'{' is missing before this word");
    if (s->state == AFTER_WORD && s->open_line != 0 && mgc_conf_is_block(s->word))
        return inside_a_block(s);
    if (s->state == AFTER_WORD && s->open_line != 0)
        return mgc_conf_fail(s->err, s->raw->file, line, "'=' is missing after '%s'", s->word);
    mgc_buf_addc(s->out, '"');
    from = s->out->bytes;
    r = *s->p == '"' || *s->p == '\'' ? quoted(s) : bare(s);
    if (r < 0)
        return r;
    if (s->out->failed)
        return mgc_err_set(s->err, -ENOMEM, "could not read the configuration");
    if (!space(*s->p) && strchr("{}=,+", *s->p) == NULL)
        return fail(s, s->line, "a value of which only a part is in quotes");
    if (!expects_value(s)) {
        r = store_name(s, from);
        if (r < 0)
            return r;
        if (s->state != AFTER_WORD)
            s->word_line = line;
        s->state = s->state == AFTER_WORD ? AFTER_TITLE : AFTER_WORD;
    } else if (s->state == AFTER_EQUALS)
        s->state = AFTER_VALUE;
    mgc_buf_adds(s->out, "\" ");
    return 0;
}

static int open_block(struct scan *s)
{
    struct mgc_conf_raw *raw = s->raw;
    struct mgc_conf_block *block;
    bool titled = s->state == AFTER_TITLE;

    if (!mgc_conf_is_block(s->word)) {
        (void)mgc_conf_fail(s->err, raw->file, s->word_line, "unknown block '%s'", s->word);
        mgc_conf_suggest(s->word, NULL, s->err);
        return MGC_E_CONFIG;
    }
    if (s->open_line != 0)
        return inside_a_block(s);
    if (titled != mgc_conf_is_titled(s->word)) {
        (void)mgc_conf_fail(s->err, raw->file, s->word_line,
                            titled ? "block '%s' has no name" : "block '%s' needs a name", s->word);
        (void)mgc_err_hint(s->err, titled ? "Write `%s { ... }`." : "Write `%s NAME { ... }`.",
                           s->word);
        return MGC_E_CONFIG;
    }
    for (size_t i = 0; i < raw->blocks_count; i++)
        if (strcmp(raw->blocks[i].name, s->word) == 0 &&
            (!titled || strcmp(raw->blocks[i].title, s->title) == 0))
            return mgc_conf_fail(s->err, raw->file, s->word_line,
                                 "block '%s%s%s' stands here and at line %d", s->word,
                                 titled ? " " : "", titled ? s->title : "", raw->blocks[i].line);
    if (raw->blocks_count == MGC_CONF_BLOCKS_MAX)
        return fail(s, s->word_line, "too many blocks");
    block = reallocarray(raw->blocks, raw->blocks_count + 1, sizeof(*block));
    if (block == NULL)
        return mgc_err_set(s->err, -ENOMEM, "could not read the configuration");
    raw->blocks = block;
    block += raw->blocks_count++;
    *block = (struct mgc_conf_block){.line = s->word_line};
    (void)snprintf(block->name, sizeof(block->name), "%s", s->word);
    if (titled)
        (void)snprintf(block->title, sizeof(block->title), "%s", s->title);
    s->open_line = s->word_line;
    s->state = AT_START;
    return 0;
}

static int no_value(struct scan *s)
{
    (void)mgc_conf_fail(s->err, s->raw->file, s->word_line, "key '%s' has no value", s->word);
    (void)mgc_err_hint(s->err, "Write `key = value`; a value with spaces needs quotes.");
    return MGC_E_CONFIG;
}

static int close_brace(struct scan *s)
{
    if (s->state == IN_LIST) {
        s->state = AFTER_VALUE;
        return 0;
    }
    if (s->open_line == 0)
        return fail(s, s->line, "a '}' without its '{'");
    if (s->state != AT_START && s->state != AFTER_VALUE)
        return no_value(s);
    s->open_line = 0;
    s->state = AFTER_VALUE;
    return 0;
}

static int punctuation(struct scan *s)
{
    char c = *s->p++;

    mgc_buf_addc(s->out, c);
    switch (c) {
    case '{':
        if (s->state == AFTER_EQUALS) {
            s->state = IN_LIST;
            s->list_line = s->line;
            return 0;
        }
        return s->state == AFTER_WORD || s->state == AFTER_TITLE
                   ? open_block(s)
                   : fail(s, s->line, "a '{' that belongs to nothing");
    case '}':
        return close_brace(s);
    case ',':
        return s->state == IN_LIST ? 0 : fail(s, s->line, "a comma outside a list");
    case '+':
        mgc_buf_addc(s->out, *s->p++);
        break;
    default:
        break;
    }
    if (s->state != AFTER_WORD) {
        (void)fail(s, s->line, "an '=' where none belongs");
        (void)mgc_err_hint(s->err, "A value that contains '=' needs quotes.");
        return MGC_E_CONFIG;
    }
    s->state = AFTER_EQUALS;
    return 0;
}

static int step(struct scan *s)
{
    if (*s->p == '\n' || *s->p == ' ' || *s->p == '\t' || (s->p[0] == '\r' && s->p[1] == '\n')) {
        s->line += *s->p == '\n';
        mgc_buf_addc(s->out, *s->p == '\n' ? '\n' : ' ');
        s->p++;
        return 0;
    }
    if (at_comment(s))
        return skip_comment(s);
    if (strchr("{}=,", *s->p) != NULL || (s->p[0] == '+' && s->p[1] == '=' && !expects_value(s)))
        return punctuation(s);
    return word(s);
}

int mgc_conf_scan_text(struct mgc_conf_raw *raw, const char *text, size_t bytes,
                       struct mgc_buf *out, struct mgc_err *err)
{
    struct scan s = {.raw = raw, .p = text, .end = text + bytes, .line = 1, .out = out, .err = err};

    if (bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) /* some editors put it in front */
        s.p += 3;
    while (s.p < s.end) {
        int r = step(&s);

        if (r < 0)
            return r;
    }
    if (s.state == IN_LIST)
        return fail(&s, s.list_line, "a list that begins here has no '}'");
    if (s.state != AT_START && s.state != AFTER_VALUE)
        return mgc_conf_fail(err, raw->file, s.word_line, "'%s' is not finished", s.word);
    if (s.open_line != 0)
        return fail(&s, s.open_line, "a block that begins here has no '}'");
    mgc_buf_addc(out, '\n');
    return out->failed ? mgc_err_set(err, -ENOMEM, "could not read the configuration") : 0;
}
