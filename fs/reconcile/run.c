/*
 * run.c -- the order of a reconciliation (DESIGN 7), and nothing else.
 *
 *   R1  A phase that fails ends the run before any later phase; moves come after everything that
 *       can refuse them.
 *   R2  A run that began is ended through the host, whatever happened.
 *   R3  Confirmations are recorded last: a run that fails on the way advances nothing.
 */
#include "mediagcfs/run.h"

#include "fs/reconcile/run_priv.h"

static int begin(struct mgc_work *w, struct mgc_err *err)
{
    struct mgc_run given = {0};
    int r = w->host->begin(w->host->arg, w->apply, w->approve, &given, &w->host_facts, err);

    if (r < 0)
        return r;
    w->run.id = given.id;
    w->run.t0_us = given.t0_us;
    return 0;
}

static int references(struct mgc_work *w, struct mgc_err *err)
{
    return mgc_work_scan(w, MGC_DEPTH_CONFIGURED, err);
}

/* When a phase is left out. */
enum {
    TO_ACT = 1 << 0,     /* not in a run that describes, or that is refused */
    TO_ADVANCE = 1 << 1, /* not in a run that does not count as a confirmation */
};
// clang-format off
static const struct phase {
    const char *name;
    int (*run)(struct mgc_work *w, struct mgc_err *err);
    enum mgc_run_result failure; /* what a failure makes of the run; a refusal always refuses */
    unsigned only;
} phases[] = {
    {"begin",       begin,                  MGC_RUN_FAILED,     0}, /* flushed, verified; T0 */
    {"history",     mgc_work_history,       MGC_RUN_FAILED,     0},
    {"approval",    mgc_work_load_approved, MGC_RUN_REFUSED,    0},
    {"connect",     mgc_work_begin_sources, MGC_RUN_INCOMPLETE, 0}, /* open transactions, snapshot */
    {"horizon",     mgc_work_horizon,       MGC_RUN_INCOMPLETE, 0},
    {"entries",     mgc_work_load,          MGC_RUN_FAILED,     0},
    {"references",  references,             MGC_RUN_INCOMPLETE, 0},
    {"verdicts",    mgc_work_verdicts,      MGC_RUN_FAILED,     0},
    {"brakes",      mgc_work_brakes,        MGC_RUN_FAILED,     0},
    {"second-look", mgc_work_second_look,   MGC_RUN_INCOMPLETE, TO_ACT},
    {"move",        mgc_work_move,          MGC_RUN_FAILED,     TO_ACT},
    {"heal",        mgc_work_heal,          MGC_RUN_FAILED,     0},
    {"prove",       mgc_work_prove,         MGC_RUN_FAILED,     TO_ADVANCE},
    {"report",      mgc_work_findings,      MGC_RUN_FAILED,     0},
    {"record",      mgc_work_orphans,       MGC_RUN_FAILED,     TO_ADVANCE},
};
// clang-format on

static bool left_out(const struct mgc_work *w, const struct phase *phase)
{
    if ((phase->only & TO_ACT) != 0 && (!w->apply || w->refused))
        return true;
    return (phase->only & TO_ADVANCE) != 0 && !w->advance;
}

static int run_phases(struct mgc_work *w, struct mgc_err *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(phases); i++) {
        int r;

        if (left_out(w, &phases[i]))
            continue;
        mgc_work_progress(w, phases[i].name, 0, 0);
        r = phases[i].run(w, err);
        if (r < 0) {
            w->run.result = r == MGC_E_REFUSED      ? MGC_RUN_REFUSED
                            : r == MGC_E_INCOMPLETE ? MGC_RUN_INCOMPLETE
                                                    : phases[i].failure;
            w->run.complete = false;
            return r;
        }
    }
    w->run.result = w->refused ? MGC_RUN_REFUSED : MGC_RUN_DONE;
    return 0;
}

static bool approvable(const struct mgc_work *w)
{
    for (size_t i = 0; i < w->hits_count; i++)
        if (!mgc_brake_approvable(w->hits[i].brake))
            return false;
    return w->hits_count > 0;
}

/* A refusal by brakes: the message is the first of them, the hint the way out. */
static int refusal(const struct mgc_work *w, struct mgc_err *err)
{
    if (w->hits_count > 1)
        (void)mgc_err_say(err, MGC_E_REFUSED, "run %lld is refused: %s (and %zu more)",
                          (long long)w->run.id, w->hits[0].text, w->hits_count - 1);
    else
        (void)mgc_err_say(err, MGC_E_REFUSED, "run %lld is refused: %s", (long long)w->run.id,
                          w->hits[0].text);
    if (approvable(w))
        (void)mgc_err_hint(err,
                           "If this is right, 'mediagcfs reconcile --apply --approve %s' acts on "
                           "these files once.",
                           w->digest);
    else
        (void)mgc_err_hint(err, "Nothing was moved; the next run judges again.");
    return MGC_E_REFUSED;
}

static void add_string(struct mgc_buf *strings, const char *text, size_t *ret_at)
{
    *ret_at = strings->bytes;
    mgc_buf_add(strings, text, strlen(text) + 1);
}

/* The texts of the row, in one buffer that the report keeps. */
static int fill_texts(struct mgc_work *w, struct mgc_run_report *report,
                      const struct mgc_err *failure, struct mgc_err *err)
{
    mgc_autobuf why = {0}, state = {0};
    size_t at[4];
    char matcher[64];
    int r = mgc_work_state(w, &state, err);

    if (r < 0)
        return r;
    for (size_t i = 0; i < w->hits_count; i++)
        mgc_buf_addf(&why, "%s%s", i > 0 ? "; " : "", w->hits[i].text);
    if (failure != NULL && failure->code != 0)
        mgc_buf_addf(&why, "%s%s", why.bytes > 0 ? "; " : "", failure->text);
    mgc_work_matcher_text(w, matcher, sizeof(matcher));
    add_string(&report->strings, w->digest, &at[0]);
    add_string(&report->strings, why.data != NULL ? why.data : "", &at[1]);
    add_string(&report->strings, state.data, &at[2]);
    add_string(&report->strings, matcher, &at[3]);
    if (why.failed || report->strings.failed)
        return mgc_err_set(err, -ENOMEM, "could not note how the run ended");
    w->run.digest = report->strings.data + at[0];
    w->run.refusal = report->strings.data + at[1];
    w->run.sources = report->strings.data + at[2];
    w->run.matcher = report->strings.data + at[3];
    return 0;
}

static void plain_texts(struct mgc_run *run)
{
    run->digest = run->refusal = run->sources = run->matcher = "";
}

/* R2.  A code of an earlier phase is worth more than what goes wrong here. */
static int finish(struct mgc_work *w, struct mgc_run_report *report, int code, struct mgc_err *err)
{
    struct mgc_err failure = {0}, late = {0};
    int r;

    mgc_work_end_sources(w);
    if (code < 0)
        mgc_err_copy(&failure, err);
    if (w->run.id == 0) { /* never began: nothing to end */
        plain_texts(&w->run);
        return code;
    }
    w->run.ended_us = mgc_now_us();
    w->run.applied = w->apply;
    r = fill_texts(w, report, &failure, &late);
    if (r < 0) {
        plain_texts(&w->run);
        w->run.result = MGC_RUN_FAILED;
        w->run.complete = false;
    } else {
        r = w->host->end(w->host->arg, &w->run, &late);
    }
    if (r < 0 && code == 0) {
        mgc_err_copy(err, &late);
        return r;
    }
    return code;
}

int mgc_run_reconcile(const struct mgc_run_spec *spec, struct mgc_run_report *ret_report,
                      struct mgc_err *err)
{
    struct mgc_work *w = calloc(1, sizeof(*w));
    struct mgc_err own = {0};
    int r;

    memset(ret_report, 0, sizeof(*ret_report));
    plain_texts(&ret_report->run);
    ret_report->run.result = MGC_RUN_FAILED;
    if (w == NULL)
        return mgc_err_set(err, -ENOMEM, "could not begin a run");
    r = mgc_work_init(w, spec->conf, spec->sources, spec->sources_count, &own);
    if (r == 0) {
        w->catalog = spec->catalog;
        w->host = spec->host;
        w->apply = w->run.applied = spec->apply;
        w->approve = spec->approve;
        w->want_missing = true;
        r = run_phases(w, &own);
        r = finish(w, ret_report, r, &own);
        if (r == 0 && w->refused)
            r = refusal(w, &own);
        ret_report->run = w->run;
        ret_report->skipped = w->skipped;
        ret_report->failed = w->failed;
    }
    if (r < 0)
        mgc_err_copy(err, &own);
    mgc_work_done(w);
    free(w);
    return r;
}

void mgc_run_report_done(struct mgc_run_report *report)
{
    mgc_buf_done(&report->strings);
}
