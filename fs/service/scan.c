/*
 * scan.c -- the verification thread: at start, when something was missed, and when asked.
 *
 * Runs wait for a complete verification (G1); the mount does not (G7).
 */
#include <time.h>

#include "mediagcfs/log.h"
#include "service_priv.h"

enum { RETRY_SECONDS = 60 }; /* after a verification that could not read everything */

static int verify(struct mgc_service *s, bool everything, struct mgc_verify_result *result,
                  struct mgc_err *err)
{
    const struct mgc_verify_spec spec = {
        .os = s->os,
        .catalog = s->catalog,
        .recorder = s->recorder,
        .root_fd = s->spec.root_fd,
        .everything = everything,
        .stop = &s->stop_scan,
    };

    return mgc_verify(&spec, result, err);
}

static void one_scan(struct mgc_service *s)
{
    struct mgc_verify_result result = {0};
    struct mgc_err err = {0}, events_err = {0};
    bool everything = s->scan_everything;
    int r;

    s->scan = MGC_SCAN_RUNNING;
    s->scan_wanted = s->scan_everything = false;
    s->scans_begun++;
    (void)pthread_mutex_unlock(&s->mutex);
    r = verify(s, everything, &result, &err);
    if (r < 0 && r != -ECANCELED)
        mgc_log_failure("verification", &err);
    else if (r == 0)
        mgc_service_say(s, MGC_EVENT_SCAN, 0, "complete", NULL);
    if (mgc_service_events_flush(s, &events_err) < 0)
        mgc_log_failure("events", &events_err);
    (void)pthread_mutex_lock(&s->mutex);
    s->scan = r == 0 ? MGC_SCAN_DONE : MGC_SCAN_BROKEN;
    s->scan_result = result;
    s->scan_err = err;
    s->scan_err.code = r;
    s->scans_done = s->scans_begun;
    (void)pthread_cond_broadcast(&s->changed_cond);
}

static void *scan_loop(void *arg)
{
    struct mgc_service *s = arg;

    (void)pthread_mutex_lock(&s->mutex);
    while (!s->stopping) {
        struct timespec until;

        if (s->scan_wanted) {
            one_scan(s);
            continue;
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += RETRY_SECONDS;
        if (s->scan != MGC_SCAN_BROKEN)
            (void)pthread_cond_wait(&s->changed_cond, &s->mutex);
        else if (pthread_cond_timedwait(&s->changed_cond, &s->mutex, &until) == ETIMEDOUT)
            s->scan_wanted = true;
    }
    (void)pthread_mutex_unlock(&s->mutex);
    return NULL;
}

int mgc_service_scan_start(struct mgc_service *s, struct mgc_err *err)
{
    int r;

    mgc_service_scan_want(s); /* the recorder may be asking at the same time */
    r = -pthread_create(&s->scan_thread, NULL, scan_loop, s);
    return r < 0 ? mgc_err_set(err, r, "could not start a thread") : 0;
}

void mgc_service_scan_stop(struct mgc_service *s)
{
    mgc_service_stop(s);
    (void)pthread_join(s->scan_thread, NULL);
}

void mgc_service_scan_want(struct mgc_service *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    s->scan_wanted = true;
    (void)pthread_cond_broadcast(&s->changed_cond);
    (void)pthread_mutex_unlock(&s->mutex);
}

int mgc_service_scan_wait(struct mgc_service *s, bool everything,
                          struct mgc_verify_result *ret_result, struct mgc_err *err)
{
    int64_t want;
    int r;

    (void)pthread_mutex_lock(&s->mutex);
    if (!s->threads_started && !s->spec.offline) {
        (void)pthread_mutex_unlock(&s->mutex);
        (void)mgc_err_say(err, MGC_E_INCOMPLETE, "the tree is not being served yet");
        return mgc_err_hint(err, "Ask again when 'mediagcfs mount' has returned."),
               MGC_E_INCOMPLETE;
    }
    if (s->spec.offline) { /* in this thread */
        if (s->scan_everything == false)
            s->scan_everything = everything;
        one_scan(s);
    } else {
        want = s->scans_begun + 1;
        s->scan_wanted = true;
        s->scan_everything = s->scan_everything || everything;
        (void)pthread_cond_broadcast(&s->changed_cond);
        while (s->scans_done < want && !s->stopping)
            (void)pthread_cond_wait(&s->changed_cond, &s->mutex);
    }
    r = s->stopping ? -ECANCELED : s->scan_err.code;
    if (s->stopping)
        (void)mgc_err_say(err, r, "the verification was ended: the tree is being unmounted");
    else if (r < 0)
        mgc_err_copy(err, &s->scan_err);
    else
        *ret_result = s->scan_result;
    (void)pthread_mutex_unlock(&s->mutex);
    return r;
}
