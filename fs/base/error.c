/* error.c -- the one table of codes, and messages that need no memory. */
#include "mediagcfs/error.h"

#include <stdarg.h>

#include "mediagcfs/assert.h"

/* Nothing else in the project translates a code into anything. */
// clang-format off
static const struct row {
    int code;
    const char *name, *text;
    int to_errno, exit_status;
    bool fault;
} rows[] = {
    {MGC_E_LIMIT,      "limit",      "a limit was reached",                    E2BIG,     1, true},
    {MGC_E_CONFLICT,   "conflict",   "names and journal disagree",             EIO,       1, true},
    {MGC_E_INCOMPLETE, "incomplete", "not read to its confirmed end",          EIO,       1, true},
    {MGC_E_REFUSED,    "refused",    "refused by a safety rule",               EPERM,     3, true},
    {MGC_E_USAGE,      "usage",      "wrong usage",                            EINVAL,    2, true},
    {MGC_E_CONFIG,     "config",     "wrong configuration",                    EINVAL,    1, true},
    {MGC_E_CORRUPT,    "corrupt",    "stored data is damaged",                 EIO,       1, true},
    {MGC_E_VERSION,    "version",    "written by a newer version",             EIO,       1, true},
    {MGC_E_IDENTITY,   "identity",   "not the tree or database it was",        ESTALE,    3, true},
    {MGC_E_BUSY,       "busy",       "in use",                                 EBUSY,     1, false},
    {MGC_E_PROTOCOL,   "protocol",   "not understood",                         EPROTO,    1, true},
    {MGC_E_TIMEOUT,    "timeout",    "took too long",                          ETIMEDOUT, 1, true},
    {MGC_E_SOURCE,     "source",     "a reference source failed",              EIO,       1, true},
    {MGC_E_NO_DAEMON,  "no-daemon",  "no daemon answers",                      ECONNREFUSED, 1, true},
    {MGC_E_UNMOVABLE,  "unmovable",  "cannot be moved safely here",            EXDEV,     1, false},
};
/* Answers to an application, not faults of ours. */
static const int answers[] = {
    EPERM,  ENOENT, EACCES, EEXIST,  EXDEV,  ENOTDIR, EISDIR,  EINVAL, ENOTEMPTY, ENAMETOOLONG,
    ELOOP,  ESTALE, EBUSY,  ENODATA, ERANGE, ENXIO,   EMLINK,  EFBIG,  EAGAIN,    EINTR,
    EROFS,  ENOSYS, EOPNOTSUPP, ETXTBSY, EBADF, ESPIPE, ENOTTY, EDQUOT, ECANCELED,
};
// clang-format on

static const struct row *find(int code)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].code == code)
            return &rows[i];
    return NULL;
}

static void MGC_PRINTF(3, 0) store(struct mgc_err *err, int code, const char *format, va_list args)
{
    err->code = code;
    err->hint[0] = '\0';
    (void)vsnprintf(err->text, sizeof(err->text), format, args);
}

int mgc_err_set(struct mgc_err *err, int code, const char *format, ...)
{
    va_list args;
    size_t used;

    MGC_ASSERT(code < 0);
    if (err == NULL)
        return code;
    va_start(args, format);
    store(err, code, format, args);
    va_end(args);
    used = strlen(err->text);
    (void)snprintf(err->text + used, sizeof(err->text) - used, ": %s", mgc_code_text(code));
    return code;
}

int mgc_err_say(struct mgc_err *err, int code, const char *format, ...)
{
    va_list args;

    MGC_ASSERT(code < 0);
    if (err == NULL)
        return code;
    va_start(args, format);
    store(err, code, format, args);
    va_end(args);
    return code;
}

int mgc_err_hint(struct mgc_err *err, const char *format, ...)
{
    va_list args;

    if (err == NULL)
        return 0;
    va_start(args, format);
    (void)vsnprintf(err->hint, sizeof(err->hint), format, args);
    va_end(args);
    return err->code;
}

void mgc_err_copy(struct mgc_err *to, const struct mgc_err *from)
{
    if (to != NULL && from != NULL && to != from)
        *to = *from;
}

const char *mgc_code_name(int code)
{
    const struct row *row = find(code);
    const char *name;

    if (row != NULL)
        return row->name;
    if (code == 0)
        return "ok";
    name = code < 0 ? strerrorname_np(-code) : NULL;
    return name != NULL ? name : "unknown";
}

const char *mgc_code_text(int code)
{
    const struct row *row = find(code);
    const char *text;

    if (row != NULL)
        return row->text;
    text = code < 0 ? strerrordesc_np(-code) : NULL;
    return text != NULL ? text : "unknown error";
}

int mgc_code_to_errno(int code)
{
    const struct row *row = find(code);

    if (row != NULL)
        return row->to_errno;
    if (code == 0)
        return 0;
    return code < 0 && code > -4096 ? -code : EIO;
}

int mgc_code_to_exit(int code)
{
    const struct row *row = find(code);

    if (row != NULL)
        return row->exit_status;
    return code >= 0 ? 0 : 1;
}

bool mgc_code_is_fault(int code)
{
    const struct row *row = find(code);

    if (row != NULL)
        return row->fault;
    if (code >= 0)
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
        if (answers[i] == -code)
            return false;
    return true;
}
