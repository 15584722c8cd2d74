/* ops.c -- the table of requests: who may ask, what is done. */
#include <inttypes.h>

#include "mediagcfs/log.h"
#include "mediagcfs/path.h"
#include "service_priv.h"

const char *mgc_peer_text(char *out, size_t out_bytes, const struct mgc_peer *peer)
{
    char path[64], name[20] = "";
    FILE *f;

    (void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)peer->pid);
    f = fopen(path, "re");
    if (f != NULL) {
        if (fgets(name, sizeof(name), f) != NULL)
            name[strcspn(name, "\n")] = '\0';
        (void)fclose(f);
    }
    (void)snprintf(out, out_bytes, "uid %u pid %d%s%s%s", (unsigned)peer->uid, (int)peer->pid,
                   name[0] != '\0' ? " (" : "", name, name[0] != '\0' ? ")" : "");
    return out;
}

bool mgc_service_on_hold(struct mgc_service *s, int64_t *ret_until_us)
{
    /* Unreadable: frozen, for as long as it cannot be told. */
    int64_t until = mgc_catalog_meta_or(s->catalog, MGC_META_HOLD_UNTIL, 0, INT64_MAX);

    if (ret_until_us != NULL)
        *ret_until_us = until;
    return until > s->os->now_us(s->os);
}

int mgc_service_say_held(struct mgc_err *err, const char *what)
{
    (void)mgc_err_say(err, MGC_E_REFUSED, "%s are on hold", what);
    return mgc_err_hint(err, "'mediagcfs status' says why and until when; 'mediagcfs resume' ends "
                             "it."),
           MGC_E_REFUSED;
}

static mgc_op_fn op_hello, op_status, op_flush, op_scan, op_purge, op_restore, op_hold, op_resume,
    op_stop;

/* ANYBODY: who can reach the socket.  RUNNER: the reconciler's user too.  OPERATOR: root or us. */
enum right { ANYBODY, RUNNER, OPERATOR };
// clang-format off
static const struct row {
    const char *name;
    mgc_op_fn *serve;
    enum right right;
} rows[] = {
    {"hello",        op_hello,            ANYBODY},
    {"status",       op_status,           ANYBODY},
    {"flush",        op_flush,            ANYBODY},
    {"scan",         op_scan,             RUNNER},
    {"run.begin",    mgc_op_run_begin,    RUNNER},
    {"run.writers",  mgc_op_run_writers,  RUNNER},
    {"run.orphans",  mgc_op_run_orphans,  RUNNER},
    {"run.findings", mgc_op_run_findings, RUNNER},
    {"run.move",     mgc_op_run_move,     RUNNER},
    {"run.heal",     mgc_op_run_heal,     RUNNER},
    {"run.prove",    mgc_op_run_prove,    RUNNER},
    {"run.end",      mgc_op_run_end,      RUNNER},
    {"approve",      mgc_op_approve,      OPERATOR},
    {"purge",        op_purge,            OPERATOR},
    {"restore",      op_restore,          OPERATOR},
    {"hold",         op_hold,             OPERATOR},
    {"resume",       op_resume,           OPERATOR},
    {"stop",         op_stop,             OPERATOR},
};
// clang-format on

static enum right right_of(const struct mgc_service *s, const struct mgc_peer *peer)
{
    if (peer->uid == 0 || peer->uid == geteuid())
        return OPERATOR;
    return peer->uid == s->user_uid ? RUNNER : ANYBODY;
}

int mgc_service_handle(void *arg, const struct mgc_peer *peer, json_t *request, mgc_row_fn *row,
                       void *row_arg, json_t **ret_ok, struct mgc_err *err)
{
    struct mgc_service *s = arg;
    const char *op = json_string_value(json_object_get(request, "op"));
    const struct row *found = NULL;
    struct mgc_err events_err = {0};
    int r;

    (void)row; /* lists are read from the catalog; no op sends rows yet */
    (void)row_arg;
    for (size_t i = 0; op != NULL && i < ARRAY_SIZE(rows); i++)
        if (strcmp(rows[i].name, op) == 0)
            found = &rows[i];
    if (found == NULL)
        return mgc_err_say(err, MGC_E_PROTOCOL, "unknown request '%s'", op != NULL ? op : "");
    if (right_of(s, peer) < found->right)
        return mgc_err_say(err, MGC_E_REFUSED, "uid %u may not ask for '%s'", (unsigned)peer->uid,
                           op);
    r = found->serve(s, peer, request, ret_ok, err);
    if (mgc_service_events_flush(s, &events_err) < 0)
        mgc_log_failure("events", &events_err);
    return r;
}

void mgc_service_gone(void *arg, const struct mgc_peer *peer)
{
    struct mgc_service *s = arg;
    struct mgc_service_run run;
    struct mgc_run row = {.digest = "",
                          .refusal = "the reconciler ended before its run",
                          .sources = "",
                          .matcher = ""};
    struct mgc_err err = {0};

    (void)pthread_mutex_lock(&s->mutex);
    run = s->run;
    if (run.connection == peer->connection)
        s->run = (struct mgc_service_run){0};
    (void)pthread_mutex_unlock(&s->mutex);
    if (run.id <= 0 || run.connection != peer->connection)
        return;
    row.id = run.id;
    row.t0_us = run.t0_us;
    row.ended_us = s->os->now_us(s->os);
    row.result = MGC_RUN_FAILED;
    row.applied = run.apply;
    row.moved = run.moved;
    row.moved_bytes = run.moved_bytes;
    if (s->catalog->ops->run_end(s->catalog, &row, &err) < 0)
        mgc_log_failure("run", &err);
    mgc_service_say(s, MGC_EVENT_RUN, run.id, row.refusal, NULL);
    if (mgc_service_events_flush(s, &err) < 0)
        mgc_log_failure("events", &err);
}

static int op_hello(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                    json_t **ret_ok, struct mgc_err *err)
{
    (void)peer;
    (void)request;
    *ret_ok = json_pack("{s:i,s:s,s:i,s:s,s:o,s:o,s:o,s:b,s:I,s:I}", "v", 1, "version", MGC_VERSION,
                        "pid", (int)getpid(), "tree_id", s->home.tree_id, "directory",
                        mgc_json_text(s->conf->catalog.directory), "source",
                        mgc_json_text(s->conf->filesystem.source), "mountpoint",
                        mgc_json_text(s->conf->filesystem.mountpoint), "mounted", !s->spec.offline,
                        "user", (json_int_t)s->user_uid, "group", (json_int_t)s->user_gid);
    return *ret_ok != NULL ? 0 : mgc_err_set(err, -ENOMEM, "could not say who serves");
}

static int first_run(void *arg, const struct mgc_run *run)
{
    json_t **ret = arg;

    *ret = json_pack("{s:I,s:s,s:I,s:I,s:b,s:I,s:I,s:I,s:I,s:s,s:s}", "run", (json_int_t)run->id,
                     "result", mgc_run_result_name(run->result), "t0_us", (json_int_t)run->t0_us,
                     "ended_us", (json_int_t)run->ended_us, "applied", run->applied, "files",
                     (json_int_t)run->files, "referenced", (json_int_t)run->referenced,
                     "candidates", (json_int_t)run->candidates, "moved", (json_int_t)run->moved,
                     "refusal", run->refusal, "digest", run->digest);
    return 1;
}

static const char *scan_word(struct mgc_service *s)
{
    enum mgc_scan_state scan;

    (void)pthread_mutex_lock(&s->mutex);
    scan = s->scan;
    (void)pthread_mutex_unlock(&s->mutex);
    if (scan == MGC_SCAN_RUNNING)
        return "running";
    if (scan != MGC_SCAN_DONE && !s->spec.offline)
        return "incomplete";
    return mgc_catalog_meta(s->catalog, MGC_META_INCOMPLETE, 1) == 0 &&
                   mgc_catalog_meta(s->catalog, MGC_META_VERIFIED, 0) != 0
               ? "complete"
               : "incomplete";
}

static json_t *hold_json(struct mgc_service *s)
{
    int64_t until;
    char reason[256] = "";

    if (!mgc_service_on_hold(s, &until))
        return json_null();
    (void)s->catalog->ops->meta_text_get(s->catalog, MGC_META_HOLD_REASON, reason, sizeof(reason));
    return json_pack("{s:I,s:s}", "until_us", (json_int_t)until, "reason", reason);
}

static json_t *recorder_json(struct mgc_service *s)
{
    struct mgc_recorder_counts counts;

    if (s->recorder == NULL)
        return json_null();
    mgc_recorder_counts(s->recorder, &counts);
    return json_pack("{s:I,s:I,s:I,s:I,s:I}", "queued", (json_int_t)counts.queued, "recorded",
                     (json_int_t)counts.recorded, "merged", (json_int_t)counts.merged, "dropped",
                     (json_int_t)counts.dropped, "failed_commits",
                     (json_int_t)counts.failed_commits);
}

static int op_status(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                     json_t **ret_ok, struct mgc_err *err)
{
    int64_t entries = 0, bytes = 0, held = 0, held_bytes = 0, next_run, next_purge;
    json_t *last = NULL;
    int r = mgc_service_flush(s, err);

    (void)peer;
    (void)request;
    if (r == 0)
        r = s->catalog->ops->totals(s->catalog, &entries, &bytes);
    if (r == 0)
        r = s->catalog->ops->held_totals(s->catalog, &held, &held_bytes);
    if (r < 0)
        return mgc_err_set(err, r, "could not read the catalog");
    (void)s->catalog->ops->runs(s->catalog, 0, 1, first_run, &last);
    (void)pthread_mutex_lock(&s->mutex);
    next_run = s->next_run_us;
    next_purge = s->next_purge_us;
    (void)pthread_mutex_unlock(&s->mutex);
    *ret_ok = json_pack(
        "{s:i,s:b,s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:s,s:o,s:o,s:o,s:o,s:o,s:b,s:s,s:i,s:I}", "v", 1,
        "mounted", !s->spec.offline, "source", mgc_json_text(s->conf->filesystem.source),
        "mountpoint", mgc_json_text(s->conf->filesystem.mountpoint), "catalog",
        mgc_json_text(s->conf->catalog.directory), "entries", (json_int_t)entries, "bytes",
        (json_int_t)bytes, "held", (json_int_t)held, "held_bytes", (json_int_t)held_bytes, "scan",
        scan_word(s), "last_run", last != NULL ? last : json_null(), "hold", hold_json(s),
        "recorder", recorder_json(s), "next_run_us",
        next_run == INT64_MAX || next_run == 0 ? json_null() : json_integer(next_run),
        "next_purge_us",
        next_purge == INT64_MAX || next_purge == 0 ? json_null() : json_integer(next_purge),
        "bypass", mgc_catalog_meta_or(s->catalog, MGC_META_BYPASS, 0, 1) != 0, "version",
        MGC_VERSION, "pid", (int)getpid(), "wal_bytes",
        (json_int_t)mgc_catalog_meta(s->catalog, MGC_META_WAL_BYTES, 0));
    return *ret_ok != NULL ? 0 : mgc_err_set(err, -ENOMEM, "could not describe the state");
}

int mgc_service_flush(struct mgc_service *s, struct mgc_err *err)
{
    return s->recorder != NULL ? mgc_recorder_flush(s->recorder, err)
                               : s->catalog->ops->flush(s->catalog, err);
}

static int op_flush(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                    json_t **ret_ok, struct mgc_err *err)
{
    (void)peer;
    (void)request;
    (void)ret_ok;
    return mgc_service_flush(s, err);
}

static int op_scan(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                   json_t **ret_ok, struct mgc_err *err)
{
    struct mgc_verify_result result = {0};
    int r = mgc_service_scan_wait(s, json_is_true(json_object_get(request, "everything")), &result,
                                  err);

    (void)peer;
    if (r < 0)
        return r;
    *ret_ok = json_pack("{s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:b}", "v", 1, "entries",
                        (json_int_t)result.entries, "added", (json_int_t)result.added, "removed",
                        (json_int_t)result.removed, "changed", (json_int_t)result.changed,
                        "directories", (json_int_t)result.dirs, "skipped",
                        (json_int_t)result.dirs_skipped, "complete", 1);
    return 0;
}

static int op_purge(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                    json_t **ret_ok, struct mgc_err *err)
{
    const json_t *array = json_object_get(request, "ids");
    size_t count = json_array_size(array);
    int64_t ids[MGC_MOVE_BATCH_MAX];
    int outcomes[MGC_MOVE_BATCH_MAX];
    struct mgc_purge_rules rules;
    json_t *codes;
    char who[80];
    int r;

    if (!json_is_array(array) || count > MGC_MOVE_BATCH_MAX)
        return mgc_err_say(err, MGC_E_PROTOCOL, "control message has no valid 'ids'");
    if (mgc_service_on_hold(s, NULL))
        return mgc_service_say_held(err, "purges");
    for (size_t i = 0; i < count; i++)
        ids[i] = json_integer_value(json_array_get(array, i));
    r = mgc_service_clock(s, false, err); /* a step is noticed before anything is counted from it */
    if (r == 0)
        r = mgc_home_check(&s->home, err);
    rules = mgc_purge_rules_of(s->conf, s->catalog, s->os->now_us(s->os));
    if (r == 0)
        r = mgc_quarantine_purge(s->quarantine, ids, count,
                                 json_integer_value(json_object_get(request, "first_us")),
                                 json_integer_value(json_object_get(request, "second_us")),
                                 json_is_true(json_object_get(request, "now")), &rules,
                                 mgc_peer_text(who, sizeof(who), peer), outcomes, err);
    if (r < 0)
        return r;
    codes = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(codes, json_integer(outcomes[i]));
    *ret_ok = json_pack("{s:o}", "outcomes", codes);
    return 0;
}

static int op_restore(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                      json_t **ret_ok, struct mgc_err *err)
{
    char to[MGC_PATH_BYTES_MAX + 1], who[80];
    json_t *target = json_object_get(request, "to"); /* {"path":...} */
    int r = 0;

    (void)ret_ok;
    if (target != NULL) {
        r = mgc_json_get_path(target, to, sizeof(to));
        if (r == 0)
            r = mgc_path_check(to);
        if (r < 0)
            return mgc_err_set(err, r, "could not restore to '%s'",
                               MGC_SHOW(json_string_value(json_object_get(target, "path")) != NULL
                                            ? json_string_value(json_object_get(target, "path"))
                                            : ""));
    }
    return mgc_quarantine_restore(s->quarantine, json_integer_value(json_object_get(request, "id")),
                                  target != NULL ? to : NULL, false,
                                  mgc_peer_text(who, sizeof(who), peer), err);
}

static int set_hold(struct mgc_service *s, const struct mgc_peer *peer, int64_t until_us,
                    const char *reason, struct mgc_err *err)
{
    char who[80];
    int r = s->catalog->ops->meta_text_set(s->catalog, MGC_META_HOLD_REASON, reason, err);

    if (r == 0)
        r = s->catalog->ops->meta_set(s->catalog, MGC_META_HOLD_UNTIL, until_us, err);
    if (r == 0)
        mgc_service_say(s, until_us != 0 ? MGC_EVENT_HOLD : MGC_EVENT_RESUME, 0, reason,
                        mgc_peer_text(who, sizeof(who), peer));
    return r;
}

static int op_hold(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                   json_t **ret_ok, struct mgc_err *err)
{
    int64_t for_us = json_integer_value(json_object_get(request, "for_us"));
    const char *reason = json_string_value(json_object_get(request, "reason"));
    int64_t now = s->os->now_us(s->os);
    int64_t until = for_us > 0 && for_us < INT64_MAX - now ? now + for_us : INT64_MAX;
    int r = set_hold(s, peer, until, reason != NULL ? reason : "", err);

    if (r == 0)
        *ret_ok = json_pack("{s:I}", "until_us", (json_int_t)until);
    return r;
}

static int op_resume(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                     json_t **ret_ok, struct mgc_err *err)
{
    (void)request;
    (void)ret_ok;
    return set_hold(s, peer, 0, "", err);
}

static int op_stop(struct mgc_service *s, const struct mgc_peer *peer, json_t *request,
                   json_t **ret_ok, struct mgc_err *err)
{
    (void)peer;
    (void)ret_ok;
    if (s->spec.stop == NULL)
        return mgc_err_say(err, MGC_E_NO_DAEMON, "nothing is mounted");
    return s->spec.stop(s->spec.arg, json_is_true(json_object_get(request, "lazy")), err);
}
