/*
 * source_command.c -- a program that prints what the application mentions.
 *
 *   C1  The end is the exit status: 0 after the last record.  Output that ends without it, a
 *       signal, another status, a deadline are failures, however much was printed before.
 *   C2  Every record is terminated (newline, or NUL where `format = nul`), the last one too: an
 *       unterminated tail is what a cut pipe leaves, and half a path is not the path.
 *   C3  A record of more than MGC_CHILD_OUTPUT_LINE_MAX bytes ends the scan; nothing is cut.
 *   C4  Empty records say nothing and are skipped.
 *   C5  The shell stops at the first failure, also within a pipeline: `dump | filter` would hide
 *       that dump failed.
 */
#include "fs/refs/source_priv.h"

#include <xxhash.h>

#include "mediagcfs/assert.h"
#include "mediagcfs/os.h"
#include "mediagcfs/proc.h"

enum { READ_BYTES = 256 << 10 };

struct command {
    struct mgc_source base;
    const struct mgc_conf_references *conf;
    bool begun, read; /* covered() says NULL before the first scan */
};

/* The records of one run of the program. */
struct records {
    struct command *s;
    mgc_text_fn *each;
    void *arg;
    char terminator;
    struct mgc_buf tail; /* a record whose end has not been seen yet */
};

static struct command *command_of(struct mgc_source *s)
{
    return (struct command *)s;
}

static int command_start(struct mgc_source *s, struct mgc_err *err)
{
    (void)s;
    (void)err;
    return 0;
}

static int command_begin(struct mgc_source *base, int64_t deadline_us,
                         struct mgc_source_view *ret_view, struct mgc_err *err)
{
    struct command *s = command_of(base);
    struct mgc_source_view view = {.progress = -1};
    char identity[64];

    if (mgc_source_past(deadline_us))
        return mgc_err_set(err, MGC_E_TIMEOUT, "could not begin source '%s'", base->name);
    (void)snprintf(identity, sizeof(identity), "command %016llx",
                   (unsigned long long)XXH3_64bits(s->conf->command, strlen(s->conf->command)));
    view.t0_us = mgc_now_us();
    view.oldest_us = view.t0_us;
    view.identity = strdup(identity);
    view.position = strdup("");
    if (view.identity == NULL || view.position == NULL) {
        mgc_source_view_done(&view);
        return mgc_err_set(err, -ENOMEM, "could not begin source '%s'", base->name);
    }
    s->begun = true;
    *ret_view = view;
    return 0;
}

static int command_fence_passed(struct mgc_source *s, const char *fence, int64_t deadline_us,
                                struct mgc_err *err)
{
    (void)deadline_us;
    if (fence == NULL || fence[0] == '\0')
        return 1;
    return mgc_err_say(err, MGC_E_SOURCE,
                       "could not check fence of source '%s': a command has none", s->name);
}

static int give(struct records *r, const char *text, size_t bytes)
{
    struct mgc_origin origin = {.source = r->s->base.name, .table = "", .column = ""};

    return bytes == 0 ? 0 : r->each(r->arg, &origin, text, bytes);
}

static int too_long(const struct records *r, struct mgc_err *err)
{
    int code = mgc_err_say(err, MGC_E_LIMIT,
                           "a record has more "
                           "than %d bytes",
                           MGC_CHILD_OUTPUT_LINE_MAX);

    (void)mgc_err_hint(err, "Let the command print one path or text per %s",
                       r->terminator == '\0' ? "NUL (format = nul)" : "line");
    return code;
}

static int take(struct records *r, const char *data, size_t bytes, struct mgc_err *err)
{
    while (bytes > 0) {
        const char *end = memchr(data, r->terminator, bytes);
        size_t part = end != NULL ? (size_t)(end - data) : bytes;
        int code;

        if (r->tail.bytes + part > MGC_CHILD_OUTPUT_LINE_MAX)
            return too_long(r, err);
        if (end == NULL || r->tail.bytes > 0)
            mgc_buf_add(&r->tail, data, part);
        if (r->tail.failed)
            return mgc_err_set(err, -ENOMEM, "could not read command of source '%s'",
                               r->s->base.name);
        if (end == NULL)
            return 0;
        code = r->tail.bytes > 0 ? give(r, r->tail.data, r->tail.bytes) : give(r, data, part);
        if (code < 0)
            return code;
        mgc_buf_clear(&r->tail);
        data += part + 1;
        bytes -= part + 1;
    }
    return 0;
}

static int read_all(struct records *r, struct mgc_proc *p, int64_t deadline_us, struct mgc_err *err)
{
    mgc_autofree char *buffer = malloc(READ_BYTES);
    ssize_t got;
    int code;

    if (buffer == NULL)
        return mgc_err_set(err, -ENOMEM, "could not read command of source '%s'", r->s->base.name);
    for (;;) {
        got = mgc_proc_read(p, buffer, READ_BYTES, deadline_us, err);
        if (got < 0)
            return (int)got;
        if (got == 0)
            break;
        code = take(r, buffer, (size_t)got, err);
        if (code < 0)
            return code;
        /* A program that never pauses never lets the read time out. */
        if (mgc_source_past(deadline_us))
            return mgc_err_set(err, MGC_E_TIMEOUT, "could not read command of source '%s'",
                               r->s->base.name);
    }
    code = mgc_proc_wait(p, deadline_us, err);
    if (code < 0)
        return code;
    if (r->tail.bytes > 0) {
        code = mgc_err_say(err, MGC_E_INCOMPLETE, "the last record has no end");
        (void)mgc_err_hint(err, "Let the command end every record, the last one too");
        return code;
    }
    return 0;
}

/* What the layer below says names the program, not the source. */
static int name_source(const struct command *s, int code, const struct mgc_err *own,
                       struct mgc_err *err)
{
    if (own->text[0] == '\0')
        return code; /* the caller's own function refused */
    (void)mgc_err_say(err, code, "could not read source '%s': %s", s->base.name, own->text);
    if (own->hint[0] != '\0')
        (void)mgc_err_hint(err, "%s", own->hint);
    return code;
}

static int run(struct command *s, int64_t deadline_us, mgc_text_fn *each, void *arg,
               struct mgc_err *err)
{
    /* C5 */
    const char *const strict[] = {"/bin/bash",      "-e", "-o", "pipefail", "-c",
                                  s->conf->command, NULL};
    const char *const plain[] = {"/bin/sh", "-e", "-c", s->conf->command, NULL};
    const char *const *argv = access(strict[0], X_OK) == 0 ? strict : plain;
    const struct mgc_proc_spec spec = {.argv = argv,
                                       .uid = (uid_t)-1,
                                       .gid = (gid_t)-1,
                                       .capture = true,
                                       .keep_stderr = true,
                                       .pass_fd = -1};
    struct mgc_proc p = {.pid = -1, .out_fd = -1};
    struct records r = {
        .s = s, .each = each, .arg = arg, .terminator = s->conf->format_nul ? '\0' : '\n'};
    struct mgc_err own = {0};
    int code = mgc_proc_start(&p, &spec, &own);

    if (code < 0)
        return name_source(s, code, &own, err);
    code = read_all(&r, &p, deadline_us, &own);
    mgc_proc_kill(&p);
    mgc_buf_done(&r.tail);
    return code < 0 ? name_source(s, code, &own, err) : MGC_SOURCE_COMPLETE;
}

static int command_scan(struct mgc_source *base, enum mgc_source_depth depth, int64_t deadline_us,
                        mgc_text_fn *each, void *arg, struct mgc_err *err)
{
    struct command *s = command_of(base);
    int code;

    (void)depth; /* a command has one depth */
    if (!s->begun)
        return mgc_err_say(err, MGC_E_SOURCE, "could not read source '%s': not begun", base->name);
    code = run(s, deadline_us, each, arg, err);
    s->read = s->read || code == MGC_SOURCE_COMPLETE;
    return code;
}

static int command_ask(struct mgc_source *base, const char *const *paths, size_t count,
                       const char *const *columns, size_t columns_count, int64_t deadline_us,
                       mgc_text_fn *each, void *arg, struct mgc_err *err)
{
    (void)paths;
    (void)count;
    (void)columns;
    (void)columns_count;
    return run(command_of(base), deadline_us, each, arg, err);
}

static const char *command_covered(struct mgc_source *base)
{
    return command_of(base)->read ? "[\"command\"]" : NULL;
}

static void command_end(struct mgc_source *base)
{
    command_of(base)->begun = false;
}

static void command_free(struct mgc_source *base)
{
    free(command_of(base));
}

static const struct mgc_source_ops command_ops = {
    .kind = "command",
    .start = command_start,
    .begin = command_begin,
    .fence_passed = command_fence_passed,
    .scan = command_scan,
    .ask = command_ask,
    .covered = command_covered,
    .end = command_end,
    .free = command_free,
};

int mgc_source_command_new(const struct mgc_conf_references *conf, struct mgc_source **ret,
                           struct mgc_err *err)
{
    struct command *s;

    if (conf->command == NULL || conf->command[0] == '\0')
        return mgc_err_say(err, MGC_E_CONFIG, "could not make source '%s': no command given",
                           conf->name);
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return mgc_err_set(err, -ENOMEM, "could not make source '%s'", conf->name);
    s->base.ops = &command_ops;
    s->base.name = conf->name;
    s->conf = conf;
    *ret = &s->base;
    return 0;
}
