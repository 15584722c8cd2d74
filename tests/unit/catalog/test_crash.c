/*
 * test_crash.c -- a writer is killed in the middle of its batches.
 *
 * The child applies batches that keep an invariant: each makes one directory with FILES files,
 * announces moves of all files of the one before, finishes them, and says so on a pipe.  Killed
 * with SIGKILL at any moment, what the next start finds is a whole number of calls, and no less
 * than what was said on the pipe.
 */
#include "scratch.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "mediagcfs/attr.h"

enum { FILES = 7, ROUNDS = 12 };

static void name_of(char *out, size_t bytes, int64_t batch, int file)
{
    (void)snprintf(out, bytes, "d%lld/f%d", (long long)batch, file);
}

/* One call that makes a directory full of files. */
static int fill(struct mgc_catalog *c, int64_t batch)
{
    struct mgc_change changes[FILES];
    char paths[FILES][48];

    for (int i = 0; i < FILES; i++) {
        name_of(paths[i], sizeof(paths[i]), batch, i);
        changes[i] = (struct mgc_change){.kind = MGC_CHANGE_CREATE,
                                         .path = paths[i],
                                         .time_us = T0 + batch,
                                         .stat = a_file((uint64_t)(batch * FILES + i + 1), 3, T0)};
    }
    return c->ops->apply(c, changes, FILES, NULL);
}

static int move(struct mgc_catalog *c, int64_t batch)
{
    struct mgc_held rows[FILES] = {0};
    int64_t ids[FILES];
    char paths[FILES][48];
    int r;

    for (int i = 0; i < FILES; i++) {
        name_of(paths[i], sizeof(paths[i]), batch, i);
        rows[i] = (struct mgc_held){
            .path = paths[i], .stat = a_file(1, 3, T0), .entry_id = id_of(c, paths[i])};
    }
    r = c->ops->held_begin(c, rows, FILES, NULL);
    for (int i = 0; i < FILES; i++)
        ids[i] = rows[i].id;
    return r < 0 ? r : c->ops->held_finish(c, ids, FILES, T0, NULL);
}

static void child(struct scratch *s, int out)
{
    struct mgc_catalog *c = writer(s);

    for (int64_t batch = 0;; batch++) {
        int64_t first = batch + (int64_t)getpid() * 1000000;

        if (fill(c, first) < 0 || (batch > 0 && move(c, first - 1) < 0) ||
            write(out, &first, sizeof(first)) != sizeof(first))
            _exit(1);
    }
}

struct seen {
    struct mgc_catalog *c;
    int64_t entries[64], moving, held;
    int64_t last; /* highest batch with entries */
};

static int count_entry(void *arg, const struct mgc_entry *entry)
{
    struct seen *seen = arg;
    char path[64];
    long long batch;
    int file;

    assert_int_equal(
        mgc_catalog_entry_path(seen->c, entry->dir_id, entry->name, path, sizeof(path)), 0);
    assert_int_equal(sscanf(path, "d%lld/f%d", &batch, &file), 2);
    seen->entries[batch % 64]++;
    if (batch > seen->last)
        seen->last = batch;
    return 0;
}

static int count_held(void *arg, const struct mgc_held *held)
{
    struct seen *seen = arg;

    seen->moving += held->state == MGC_HELD_MOVING;
    seen->held += held->state == MGC_HELD_HELD;
    assert_true((id_of(seen->c, held->path) == 0) == (held->state == MGC_HELD_HELD));
    return 0;
}

/* Every call is there as a whole or not at all; what was said is there. */
static void check(struct scratch *s, int64_t said)
{
    struct mgc_catalog *c = writer(s);
    struct seen seen = {.c = c};
    int64_t entries, bytes, rows;

    rows = c->ops->scan_entries(c, 0, 1000000, count_entry, &seen, &s->err);
    for (size_t i = 0; i < ARRAY_SIZE(seen.entries); i++)
        assert_int_equal(seen.entries[i] % FILES, 0);
    assert_true(seen.last >= said);
    ok(s, c->ops->totals(c, &entries, &bytes));
    assert_int_equal(entries, rows);
    assert_int_equal(bytes, rows * 3);
    assert_true(c->ops->held_scan(c, 0, 1000000, NULL, count_held, &seen, &s->err) >= 0);
    assert_int_equal(seen.moving % FILES, 0);
    assert_int_equal(seen.held % FILES, 0);
    mgc_catalog_close(c);
}

static void run_and_kill(struct scratch *s, int64_t after_us)
{
    struct timespec pause = {.tv_nsec = after_us * 1000};
    int64_t batch, said = 0;
    int pipe_fds[2], status;
    pid_t pid;

    assert_int_equal(pipe(pipe_fds), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)close(pipe_fds[0]);
        child(s, pipe_fds[1]);
    }
    (void)close(pipe_fds[1]);
    assert_int_equal(read(pipe_fds[0], &said, sizeof(said)), sizeof(said)); /* it is under way */
    (void)nanosleep(&pause, NULL);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    while (read(pipe_fds[0], &batch, sizeof(batch)) == sizeof(batch))
        said = batch;
    (void)close(pipe_fds[0]);
    s->reserved += MGC_ID_RESERVE; /* as the tree's file says after it */
    check(s, said);
}

static void a_killed_writer_leaves_nothing_half(void **state)
{
    struct scratch *s = *state;

    for (int i = 0; i < ROUNDS; i++)
        run_and_kill(s, 1000 + 2777 * i);
}

/* Commits of a verification are not synced one by one, but a killed process loses none. */
static void ids_jump_over_what_a_killed_writer_gave(void **state)
{
    struct scratch *s = *state;
    struct mgc_catalog *c;
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        c = writer(s);
        for (int i = 0; i < 100; i++)
            (void)fill(c, i);
        _exit(0); /* no close */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    s->reserved = 2 + MGC_ID_RESERVE;
    c = writer(s);
    create(s, c, "new", 1);
    assert_int_equal(id_of(c, "new"), 2 + MGC_ID_RESERVE);
    mgc_catalog_close(c);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        scratch_test(a_killed_writer_leaves_nothing_half),
        scratch_test(ids_jump_over_what_a_killed_writer_gave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
