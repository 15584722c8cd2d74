/* source_probe.c -- receiver of texts for tests of sources. */
#include "source_probe.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <dirent.h>

#include "mediagcfs/bytes.h"
#include "mediagcfs/os.h"

void seen_init(struct seen *s)
{
    *s = (struct seen){0};
}

void seen_done(struct seen *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->lines[i]);
    *s = (struct seen){0};
}

int seen_text(void *arg, const struct mgc_origin *origin, const char *text, size_t bytes)
{
    struct seen *s = arg;
    struct mgc_buf line = {0};

    assert_non_null(origin->source);
    if (s->count < SEEN_MAX) {
        mgc_buf_addf(&line, "%s|%s|%s%s|", origin->table, origin->column, origin->weak ? "w" : "",
                     origin->whole ? "h" : "");
        mgc_buf_add(&line, text, bytes);
        assert_false(line.failed);
        s->lines[s->count++] = line.data;
    }
    s->texts++;
    s->bytes += (int64_t)bytes;
    if (s->sleep_us > 0)
        (void)usleep((useconds_t)s->sleep_us);
    if (s->act_at != 0 && s->texts == s->act_at) {
        if (s->act != NULL)
            s->act(s->act_arg);
        return s->refuse;
    }
    return 0;
}

bool seen_has(const struct seen *s, const char *line)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->lines[i], line) == 0)
            return true;
    return false;
}

bool seen_mentions(const struct seen *s, const char *part)
{
    for (size_t i = 0; i < s->count; i++)
        if (strstr(s->lines[i], part) != NULL)
            return true;
    return false;
}

int64_t soon(int64_t span_us)
{
    return mgc_monotonic_us() + span_us;
}

int scan_once(struct mgc_source *s, enum mgc_source_depth depth, struct seen *seen,
              struct mgc_err *err)
{
    struct mgc_source_view view = {0};
    int64_t deadline_us = soon(60 * 1000 * 1000);
    int r = s->ops->begin(s, deadline_us, &view, err);

    if (r == 0) {
        r = s->ops->scan(s, depth, deadline_us, seen_text, seen, err);
        assert_int_not_equal(r, 0); /* neither COMPLETE nor an error */
    }
    mgc_source_view_done(&view);
    s->ops->end(s);
    return r;
}

pid_t child_named(const char *name)
{
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    pid_t found = -1;

    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        char path[300], comm[64] = "";
        int parent = 0, pid = (int)strtol(entry->d_name, NULL, 10);
        FILE *file;

        if (pid <= 0)
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
        file = fopen(path, "re");
        if (file == NULL)
            continue;
        if (fscanf(file, "%*d (%63[^)]) %*c %d", comm, &parent) == 2 && parent == getpid() &&
            strcmp(comm, name) == 0)
            found = pid;
        (void)fclose(file);
    }
    (void)closedir(folder);
    return found;
}
