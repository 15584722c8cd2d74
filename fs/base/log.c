/* log.c -- operator messages on stderr, event names and their JSON. */
#include "mediagcfs/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <time.h>

#include "mediagcfs/assert.h"

static const char *program_name = "mediagcfs";
static enum mgc_log_level threshold = MGC_LOG_INFO;

static const char *const event_names[] = {
    "move",  "heal",    "restore", "purge", "refused", "run",     "hold",    "resume",
    "mount", "unmount", "bypass",  "scan",  "recover", "catalog", "approve",
};
_Static_assert(ARRAY_SIZE(event_names) == MGC_EVENT_COUNT, "an event has no name");

void mgc_log_init(const char *program, enum mgc_log_level level)
{
    program_name = program;
    threshold = level;
}

void mgc_log(enum mgc_log_level level, const char *format, ...)
{
    static const char *const words[] = {"error: ", "warning: ", "", "debug: "};
    char line[2048];
    va_list args;
    int used;

    if (level > threshold)
        return;
    used = snprintf(line, sizeof(line), "%s: %s", program_name, words[level]);
    if (used < 0 || (size_t)used >= sizeof(line))
        return;
    va_start(args, format);
    (void)vsnprintf(line + used, sizeof(line) - (size_t)used - 1, format, args);
    va_end(args);
    {
        size_t bytes = strlen(line);
        ssize_t written;

        line[bytes++] = '\n';
        written = write(STDERR_FILENO, line, bytes);
        (void)written; /* there is nobody left to tell */
    }
}

void mgc_log_failure(const char *what, const struct mgc_err *err)
{
    mgc_log(MGC_LOG_ERROR, "%s: %s", what, err->text);
    if (err->hint[0] != '\0')
        mgc_log(MGC_LOG_ERROR, "%s", err->hint);
}

const char *mgc_event_name(enum mgc_event_kind kind)
{
    MGC_ASSERT((unsigned)kind < MGC_EVENT_COUNT);
    return event_names[kind];
}

const char *mgc_time_text(char *out, size_t out_bytes, int64_t time_us)
{
    int64_t seconds = time_us / 1000000, micros = time_us % 1000000;
    time_t t;
    struct tm tm;
    char date[32] = "";

    if (micros < 0) {
        micros += 1000000;
        seconds--;
    }
    t = (time_t)seconds;
    if (gmtime_r(&t, &tm) != NULL)
        (void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out, out_bytes, "%s.%06dZ", date, (int)micros);
    return out;
}

static void add_path(struct mgc_buf *out, const char *path)
{
    size_t bytes = strlen(path);

    mgc_buf_adds(out, ",\"path\":");
    mgc_buf_add_json(out, path, bytes);
    if (!mgc_utf8_valid(path, bytes)) {
        mgc_buf_adds(out, ",\"path_hex\":\"");
        mgc_buf_add_hex(out, path, bytes);
        mgc_buf_addc(out, '"');
    }
}

void mgc_event_json(struct mgc_buf *out, const struct mgc_event *event)
{
    char when[40];

    mgc_buf_addf(out, "{\"v\":1,\"time\":\"%s\",\"event\":\"%s\"",
                 mgc_time_text(when, sizeof(when), event->time_us), mgc_event_name(event->kind));
    if (event->path != NULL && event->path[0] != '\0')
        add_path(out, event->path);
    if (event->run != 0)
        mgc_buf_addf(out, ",\"run\":%" PRId64, event->run);
    if (event->held != 0)
        mgc_buf_addf(out, ",\"id\":%" PRId64, event->held);
    if (event->bytes != 0)
        mgc_buf_addf(out, ",\"bytes\":%" PRId64, event->bytes);
    if (event->reason != NULL && event->reason[0] != '\0') {
        mgc_buf_adds(out, ",\"reason\":");
        mgc_buf_add_json(out, event->reason, strlen(event->reason));
    }
    if (event->who != NULL && event->who[0] != '\0') {
        mgc_buf_adds(out, ",\"who\":");
        mgc_buf_add_json(out, event->who, strlen(event->who));
    }
    mgc_buf_addc(out, '}');
}
