/*
 * schedule.c -- starts the reconciler and the purge when they are due, one child at a time.
 *
 * The child learns the configuration from MEDIAGCFS_CONFIG, so that the daemon alone carries its
 * path in its arguments; it starts as we are and gives up its privileges itself, after it has
 * forked the readers of SQLite sources.
 */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "mediagcfs/brakes.h"
#include "mediagcfs/log.h"
#include "service_priv.h"

#define SECOND_US INT64_C(1000000)
#define REST_US (60 * SECOND_US) /* after a child that left no run: a source that cannot start */

static int last_run(void *arg, const struct mgc_run *run)
{
    *(int64_t *)arg = run->ended_us != 0 ? run->ended_us : run->t0_us;
    return 1;
}

static int newest_id(void *arg, const struct mgc_run *run)
{
    *(int64_t *)arg = run->id;
    return 1;
}

static int64_t newest_run(struct mgc_service *s)
{
    int64_t id = 0;

    (void)s->catalog->ops->runs(s->catalog, 0, 1, newest_id, &id);
    return id;
}

static int64_t run_due(struct mgc_service *s, int64_t now)
{
    int64_t last = 0, every = s->conf->reconcile.every_us;

    if (every == MGC_CONF_FEED) /* the feed is not built yet: the full run that comes with it */
        every = 24 * 3600 * SECOND_US;
    (void)s->catalog->ops->runs(s->catalog, 0, 1, last_run, &last);
    return mgc_schedule_next_us(every, last, now);
}

static int64_t purge_due(struct mgc_service *s, int64_t now)
{
    int64_t last = mgc_catalog_meta(s->catalog, MGC_META_PURGED, 0);
    int64_t since = last != 0 ? last : s->started_us;

    return mgc_schedule_next_us(s->conf->purge.every_us, since, now);
}

static bool stopping(struct mgc_service *s)
{
    bool answer;

    (void)pthread_mutex_lock(&s->mutex);
    answer = s->stopping;
    (void)pthread_mutex_unlock(&s->mutex);
    return answer;
}

/* Sleeps for a while or until the service ends. */
static void nap(struct mgc_service *s, int64_t milliseconds)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)(milliseconds % 1000) * 1000000;
    until.tv_sec += milliseconds / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&s->mutex);
    while (!s->stopping && pthread_cond_timedwait(&s->changed_cond, &s->mutex, &until) != ETIMEDOUT)
        continue;
    (void)pthread_mutex_unlock(&s->mutex);
}

/* `mediagcfs` lies beside us, in ../bin (as installed), or in PATH. */
static const char *find_program(char *out, size_t out_bytes)
{
    static const char *const places[] = {"", "../bin/"};
    char self[MGC_PATH_BYTES_MAX + 1];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0)
        return "mediagcfs";
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        int need = snprintf(out, out_bytes, "%s/%smediagcfs", self, places[i]);

        if (need > 0 && (size_t)need < out_bytes && access(out, X_OK) == 0)
            return out;
    }
    return "mediagcfs";
}

static void run_child(struct mgc_service *s, const char *const *argv)
{
    const struct mgc_proc_spec spec = {
        .argv = argv, .uid = (uid_t)-1, .gid = (gid_t)-1, .keep_stderr = true, .pass_fd = -1};
    struct mgc_proc child = {.pid = -1, .out_fd = -1};
    struct mgc_err err = {0};

    if (mgc_proc_start(&child, &spec, &err) < 0) {
        mgc_log_failure("schedule", &err);
        return;
    }
    while (!stopping(s)) {
        siginfo_t info = {0};

        if (waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
            info.si_pid != 0)
            break;
        nap(s, 200);
    }
    mgc_proc_kill(&child); /* a run may be stopped anywhere: nothing is half decided */
}

static bool verified(struct mgc_service *s)
{
    bool answer;

    (void)pthread_mutex_lock(&s->mutex);
    answer = s->scan == MGC_SCAN_DONE;
    (void)pthread_mutex_unlock(&s->mutex);
    return answer;
}

static void tick(struct mgc_service *s)
{
    char path[MGC_PATH_BYTES_MAX + 1];
    const char *program = find_program(path, sizeof(path));
    const char *run[] = {program, "reconcile", "--scheduled", NULL, NULL};
    const char *purge[] = {program, "purge", "--scheduled", NULL, NULL};
    int64_t now = s->os->now_us(s->os), due_run = run_due(s, now), due_purge = purge_due(s, now);
    struct mgc_err err = {0};

    if (mgc_service_clock(s, false, &err) < 0)
        mgc_log_failure("clock", &err);
    (void)pthread_mutex_lock(&s->mutex);
    s->next_run_us = due_run;
    s->next_purge_us = due_purge;
    (void)pthread_mutex_unlock(&s->mutex);
    if (!verified(s) || s->conf->references_count == 0)
        return;
    if (due_run <= now && mgc_monotonic_us() >= s->rest_until_us) {
        int64_t before = newest_run(s);

        if (s->conf->reconcile.mode == MGC_MODE_APPLY)
            run[3] = "--apply";
        run_child(s, run);
        if (newest_run(s) == before)
            s->rest_until_us = mgc_monotonic_us() + REST_US;
    }
    if (due_purge <= now && !stopping(s)) {
        if (s->catalog->ops->meta_set(s->catalog, MGC_META_PURGED, now, &err) < 0)
            mgc_log_failure("schedule", &err);
        if (s->conf->purge.mode == MGC_MODE_APPLY)
            purge[3] = "--apply";
        run_child(s, purge);
    }
}

static void *schedule_loop(void *arg)
{
    struct mgc_service *s = arg;

    while (!stopping(s)) {
        tick(s);
        nap(s, 1000);
    }
    return NULL;
}

int mgc_service_schedule_start(struct mgc_service *s, struct mgc_err *err)
{
    int r = -pthread_create(&s->schedule_thread, NULL, schedule_loop, s);

    return r < 0 ? mgc_err_set(err, r, "could not start a thread") : 0;
}

void mgc_service_schedule_stop(struct mgc_service *s)
{
    mgc_service_stop(s);
    (void)pthread_join(s->schedule_thread, NULL);
}
