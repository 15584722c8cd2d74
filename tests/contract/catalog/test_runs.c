/* test_runs.c -- values by name, runs, maturity, findings, events. */
#include "fixture.h"

#include "mediagcfs/attr.h"

/* ---- values ---- */

static void values_by_name(void **state)
{
    struct fixture *f = *state;
    int64_t value = -1;
    char text[8] = "before";

    assert_int_equal(f->c->ops->meta_get(f->c, "bypass", &value), -ENOENT);
    assert_int_equal(value, -1);
    assert_int_equal(mgc_catalog_meta(f->c, "bypass", 17), 17);
    ok(f, f->c->ops->meta_set(f->c, "bypass", INT64_MIN, &f->err));
    ok(f, f->c->ops->meta_set(f->c, "hold_until_us", INT64_MAX, &f->err));
    assert_int_equal(mgc_catalog_meta(f->c, "bypass", 17), INT64_MIN);
    assert_int_equal(mgc_catalog_meta(f->c, "hold_until_us", 17), INT64_MAX);
    assert_int_equal(f->c->ops->meta_text_get(f->c, "tree_id", text, sizeof(text)), -ENOENT);
    ok(f, f->c->ops->meta_text_set(f->c, "tree_id", "0123456", &f->err));
    ok(f, f->c->ops->meta_text_get(f->c, "tree_id", text, sizeof(text)));
    assert_string_equal(text, "0123456");
    ok(f, f->c->ops->meta_text_set(f->c, "tree_id", "01234567", &f->err));
    assert_int_equal(f->c->ops->meta_text_get(f->c, "tree_id", text, sizeof(text)), -ERANGE);
    assert_string_equal(text, "0123456");
    assert_int_equal(f->c->ops->meta_get(f->c, "tree_id", &value), -EINVAL);
    assert_int_equal(f->c->ops->meta_text_get(f->c, "bypass", text, sizeof(text)), -EINVAL);
    assert_int_equal(f->c->ops->meta_set(f->c, MGC_META_NEXT_ID, 1, &f->err), -EINVAL);
    assert_true(mgc_catalog_meta(f->c, MGC_META_WAL_BYTES, -1) >= 0);
}

/* ---- runs ---- */

static struct mgc_run a_run(int64_t t0_us, enum mgc_run_result result, bool complete)
{
    return (struct mgc_run){.t0_us = t0_us,
                            .ended_us = t0_us + HOUR,
                            .result = result,
                            .complete = complete,
                            .digest = "",
                            .refusal = "",
                            .sources = "[]",
                            .matcher = "1"};
}

static int64_t one_run(struct fixture *f, int64_t t0_us, enum mgc_run_result result, bool complete)
{
    struct mgc_run run = a_run(t0_us, MGC_RUN_RUNNING, false);
    int64_t id;

    ok(f, f->c->ops->run_begin(f->c, &run, &f->err));
    id = run.id;
    run = a_run(t0_us, result, complete);
    run.id = id;
    ok(f, f->c->ops->run_end(f->c, &run, &f->err));
    return id;
}

static int all_fields(void *arg, const struct mgc_run *run)
{
    const struct mgc_run *want = arg;

    assert_int_equal(run->id, want->id);
    assert_memory_equal(&run->t0_us, &want->t0_us,
                        offsetof(struct mgc_run, digest) - offsetof(struct mgc_run, t0_us));
    assert_string_equal(run->digest, want->digest);
    assert_string_equal(run->refusal, want->refusal);
    assert_string_equal(run->sources, want->sources);
    assert_string_equal(run->matcher, want->matcher);
    return 0;
}

static void a_run_is_kept_with_every_field(void **state)
{
    struct fixture *f = *state;
    struct mgc_run run = a_run(T0, MGC_RUN_RUNNING, false);
    int64_t *first = &run.horizon_us;

    ok(f, f->c->ops->run_begin(f->c, &run, &f->err));
    assert_true(run.id > 0);
    assert_int_equal(f->c->ops->runs(f->c, 0, 10, all_fields, &run), 1);
    for (size_t i = 0; first + i <= &run.references; i++)
        first[i] = (int64_t)(1000 + i);
    run.result = MGC_RUN_REFUSED;
    run.complete = true;
    run.applied = true;
    run.digest = "abc";
    run.refusal = "more than max_files";
    run.sources = "{\"app\":1}";
    run.matcher = "m1";
    ok(f, f->c->ops->run_end(f->c, &run, &f->err));
    assert_int_equal(f->c->ops->runs(f->c, 0, 10, all_fields, &run), 1);
    run.id += 5;
    assert_int_equal(f->c->ops->run_end(f->c, &run, &f->err), -ENOENT);
}

struct listed {
    int64_t ids[8];
    enum mgc_run_result results[8];
    size_t count;
};

static int list(void *arg, const struct mgc_run *run)
{
    struct listed *listed = arg;

    listed->ids[listed->count] = run->id;
    listed->results[listed->count++] = run->result;
    return 0;
}

static int stop_at_once(void *arg, const struct mgc_run *run)
{
    (void)arg, (void)run;
    return 7;
}

static void runs_are_listed_newest_first(void **state)
{
    struct fixture *f = *state;
    struct listed got = {0};
    int64_t a, b, c;

    assert_int_equal(f->c->ops->run_last_complete(f->c, 0, list, &got), -ENOENT);
    a = one_run(f, T0, MGC_RUN_DONE, true);
    b = one_run(f, T0 + HOUR, MGC_RUN_REFUSED, true);
    c = one_run(f, T0 + 2 * HOUR, MGC_RUN_INCOMPLETE, false);
    assert_int_equal(f->c->ops->runs(f->c, 0, 2, list, &got), 2);
    assert_int_equal(got.ids[0], c);
    assert_int_equal(got.ids[1], b);
    got.count = 0;
    assert_int_equal(f->c->ops->runs(f->c, b, 10, list, &got), 1);
    assert_int_equal(got.ids[0], a);
    got.count = 0;
    ok(f, f->c->ops->run_last_complete(f->c, 0, list, &got));
    assert_int_equal(got.ids[0], b);
    got.count = 0;
    ok(f, f->c->ops->run_last_complete(f->c, b, list, &got));
    assert_int_equal(got.ids[0], a);
    assert_int_equal(f->c->ops->runs(f->c, 0, 10, stop_at_once, NULL), 7);
    assert_int_equal(f->c->ops->run_last_complete(f->c, 0, stop_at_once, NULL), 7);
}

static void a_run_that_never_ended_has_failed(void **state)
{
    struct fixture *f = *state;
    struct mgc_run lost = a_run(T0, MGC_RUN_RUNNING, false);
    struct listed got = {0};

    ok(f, f->c->ops->run_begin(f->c, &lost, &f->err));
    (void)one_run(f, T0 + HOUR, MGC_RUN_DONE, true);
    assert_int_equal(f->c->ops->runs(f->c, 0, 10, list, &got), 2);
    assert_int_equal(got.results[0], MGC_RUN_DONE);
    assert_int_equal(got.results[1], MGC_RUN_FAILED);
}

/* ---- maturity ---- */

static void mark(struct fixture *f, int64_t run, int64_t t0_us, int64_t previous, int64_t id)
{
    int64_t ids[] = {id, 987654321};

    ok(f, f->c->ops->mark_orphans(f->c, run, t0_us, previous, ids, 2, &f->err));
}

static void complete_runs_in_a_row_are_counted(void **state)
{
    struct fixture *f = *state;
    struct mgc_entry e;
    int64_t id;

    create(f, "a", 1, T0);
    id = entry_at(f, "a").id;
    mark(f, 11, T0, 0, id);
    e = entry_at(f, "a");
    assert_int_equal(e.orphan_runs, 1);
    assert_int_equal(e.orphan_since_us, T0);
    assert_int_equal(e.orphan_first_run, 11);
    assert_int_equal(e.orphan_last_run, 11);
    mark(f, 13, T0 + HOUR, 11, id);
    e = entry_at(f, "a");
    assert_int_equal(e.orphan_runs, 2);
    assert_int_equal(e.orphan_since_us, T0);
    assert_int_equal(e.orphan_first_run, 11);
    assert_int_equal(e.orphan_last_run, 13);
    mark(f, 13, T0 + HOUR, 11, id); /* again: once is enough */
    assert_int_equal(entry_at(f, "a").orphan_runs, 2);
    /* It was referenced in run 14: the row of runs is broken. */
    mark(f, 15, T0 + 2 * HOUR, 14, id);
    e = entry_at(f, "a");
    assert_int_equal(e.orphan_runs, 1);
    assert_int_equal(e.orphan_since_us, T0 + 2 * HOUR);
    assert_int_equal(e.orphan_first_run, 15);
    /* No complete run before: nothing to go on from. */
    mark(f, 16, T0 + 3 * HOUR, 0, id);
    assert_int_equal(entry_at(f, "a").orphan_runs, 1);
    /* A rename or write keeps the count: its birth delays it anyway. */
    rename_at(f, "a", "b", false, T0 + 4 * HOUR);
    assert_int_equal(entry_at(f, "b").orphan_runs, 1);
}

static void all_waits_can_start_again(void **state)
{
    struct fixture *f = *state;
    struct mgc_entry e;

    create(f, "a", 1, T0);
    mark(f, 11, T0, 0, entry_at(f, "a").id);
    ok(f, f->c->ops->restart_waits(f->c, &f->err));
    e = entry_at(f, "a");
    assert_int_equal(e.orphan_runs, 0);
    assert_int_equal(e.orphan_since_us, 0);
    assert_int_equal(e.orphan_first_run, 0);
    assert_int_equal(e.orphan_last_run, 0);
    assert_int_equal(e.born_us, T0);
}

/* ---- findings ---- */

static struct mgc_finding a_finding(const char *path, enum mgc_finding_kind kind)
{
    return (struct mgc_finding){.kind = kind,
                                .entry_id = 5,
                                .path = path,
                                .verdict = "waiting",
                                .reason = "confirm",
                                .bytes = 10,
                                .born_us = T0,
                                .opened_us = T0 + 1,
                                .runs = 3,
                                .source = "app",
                                .table = "t",
                                .column = "c",
                                .text = "see \xff.pdf"};
}

static int one_finding(void *arg, const struct mgc_finding *got)
{
    const struct mgc_finding *want = arg;

    assert_int_equal(got->kind, want->kind);
    assert_int_equal(got->entry_id, want->entry_id);
    assert_string_equal(got->path, want->path);
    assert_string_equal(got->verdict, want->verdict);
    assert_string_equal(got->reason, want->reason);
    assert_int_equal(got->bytes, want->bytes);
    assert_int_equal(got->born_us, want->born_us);
    assert_int_equal(got->opened_us, want->opened_us);
    assert_int_equal(got->runs, want->runs);
    assert_string_equal(got->source, want->source);
    assert_string_equal(got->table, want->table);
    assert_string_equal(got->column, want->column);
    assert_string_equal(got->text, want->text);
    return 0;
}

static int findings(struct fixture *f, enum mgc_finding_kind kind, struct mgc_finding *want)
{
    return f->c->ops->findings(f->c, kind, one_finding, want, &f->err);
}

static void the_lists_are_those_of_the_last_complete_run(void **state)
{
    struct fixture *f = *state;
    struct mgc_run run = a_run(T0, MGC_RUN_RUNNING, false);
    struct mgc_finding old[] = {a_finding("old", MGC_FINDING_ORPHAN),
                                a_finding("lost", MGC_FINDING_MISSING)};
    struct mgc_finding new[] = {a_finding("new", MGC_FINDING_ORPHAN)};

    ok(f, f->c->ops->run_begin(f->c, &run, &f->err));
    ok(f, f->c->ops->findings_add(f->c, run.id, old, 2, &f->err));
    assert_int_equal(findings(f, MGC_FINDING_ORPHAN, old), 0); /* the run has not ended */
    run.result = MGC_RUN_DONE;
    run.complete = true;
    ok(f, f->c->ops->run_end(f->c, &run, &f->err));
    assert_int_equal(findings(f, MGC_FINDING_ORPHAN, &old[0]), 1);
    assert_int_equal(findings(f, MGC_FINDING_MISSING, &old[1]), 1);
    assert_int_equal(findings(f, MGC_FINDING_SUSPECT, NULL), 0);
    /* A run that did not read everything has no list anybody should act on. */
    run = a_run(T0 + HOUR, MGC_RUN_RUNNING, false);
    ok(f, f->c->ops->run_begin(f->c, &run, &f->err));
    ok(f, f->c->ops->findings_add(f->c, run.id, new, 1, &f->err));
    run.result = MGC_RUN_INCOMPLETE;
    ok(f, f->c->ops->run_end(f->c, &run, &f->err));
    assert_int_equal(findings(f, MGC_FINDING_ORPHAN, &old[0]), 1);
    run = a_run(T0 + 2 * HOUR, MGC_RUN_RUNNING, false);
    ok(f, f->c->ops->run_begin(f->c, &run, &f->err));
    ok(f, f->c->ops->findings_add(f->c, run.id, new, 1, &f->err));
    run.result = MGC_RUN_REFUSED;
    run.complete = true;
    ok(f, f->c->ops->run_end(f->c, &run, &f->err));
    assert_int_equal(findings(f, MGC_FINDING_ORPHAN, &new[0]), 1);
    assert_int_equal(findings(f, MGC_FINDING_MISSING, NULL), 0);
}

/* An approval is about the list of a refused run, and a brake may have made that incomplete. */
static void only_runs_that_judged_everything_replace_the_lists(void **state)
{
    static const struct {
        enum mgc_run_result result;
        bool complete, replaces;
    } rows[] = {
        {MGC_RUN_DONE, true, true},         {MGC_RUN_REFUSED, true, true},
        {MGC_RUN_REFUSED, false, true},     {MGC_RUN_DONE, false, true},
        {MGC_RUN_INCOMPLETE, false, false}, {MGC_RUN_FAILED, false, false},
        {MGC_RUN_INCOMPLETE, true, false},  {MGC_RUN_FAILED, true, false},
    };
    struct fixture *f = *state;
    char names[2][16] = {"", ""};
    size_t listed = 0;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct mgc_run run = a_run(T0 + (int64_t)i * HOUR, MGC_RUN_RUNNING, false);
        struct mgc_finding found[2], want;

        (void)snprintf(names[1 - listed], sizeof(names[0]), "of run %zu", i);
        found[0] = a_finding(names[1 - listed], MGC_FINDING_ORPHAN);
        found[1] = a_finding(names[1 - listed], MGC_FINDING_SUSPECT);
        ok(f, f->c->ops->run_begin(f->c, &run, &f->err));
        ok(f, f->c->ops->findings_add(f->c, run.id, found, 2, &f->err));
        run.result = rows[i].result;
        run.complete = rows[i].complete;
        ok(f, f->c->ops->run_end(f->c, &run, &f->err));
        if (rows[i].replaces)
            listed = 1 - listed;
        want = a_finding(names[listed], MGC_FINDING_ORPHAN);
        assert_int_equal(findings(f, MGC_FINDING_ORPHAN, &want), 1);
        want.kind = MGC_FINDING_SUSPECT;
        assert_int_equal(findings(f, MGC_FINDING_SUSPECT, &want), 1);
    }
}

/* ---- events ---- */

static int one_event(void *arg, const struct mgc_event *got)
{
    const struct mgc_event **next = arg;
    const struct mgc_event *want = (*next)++;

    assert_true(got->id > 0);
    assert_int_equal(got->time_us, want->time_us);
    assert_int_equal(got->kind, want->kind);
    assert_string_equal(got->path, want->path != NULL ? want->path : "");
    assert_int_equal(got->run, want->run);
    assert_int_equal(got->held, want->held);
    assert_int_equal(got->bytes, want->bytes);
    assert_string_equal(got->reason, want->reason != NULL ? want->reason : "");
    assert_string_equal(got->who, want->who != NULL ? want->who : "");
    return 0;
}

static int last_id(void *arg, const struct mgc_event *event)
{
    *(int64_t *)arg = event->id;
    return 0;
}

static void events_are_appended_and_read_on(void **state)
{
    struct fixture *f = *state;
    struct mgc_event rows[MGC_EVENT_COUNT];
    const struct mgc_event *next = rows;
    int64_t id = 0;

    for (unsigned i = 0; i < MGC_EVENT_COUNT; i++)
        rows[i] = (struct mgc_event){.time_us = T0 + i * HOUR,
                                     .kind = (enum mgc_event_kind)i,
                                     .path = i % 2 == 0 ? "a\xff" : NULL,
                                     .run = i,
                                     .held = 10 + i,
                                     .bytes = 20 + i,
                                     .reason = i % 3 == 0 ? "because" : NULL,
                                     .who = i % 3 == 1 ? "uid 33" : NULL};
    ok(f, f->c->ops->event_add(f->c, rows, MGC_EVENT_COUNT, &f->err));
    assert_int_equal(f->c->ops->events(f->c, 0, 0, 100, one_event, &next, &f->err),
                     MGC_EVENT_COUNT);
    next = rows + 5;
    assert_int_equal(f->c->ops->events(f->c, 0, T0 + 5 * HOUR, 2, one_event, &next, &f->err), 2);
    assert_int_equal(f->c->ops->events(f->c, 0, 0, 3, last_id, &id, &f->err), 3);
    next = rows + 3;
    assert_int_equal(f->c->ops->events(f->c, id, 0, 100, one_event, &next, &f->err),
                     MGC_EVENT_COUNT - 3);
}

static void names_of_states_are_stable(void **state)
{
    (void)state;
    assert_string_equal(mgc_run_result_name(MGC_RUN_RUNNING), "running");
    assert_string_equal(mgc_run_result_name(MGC_RUN_DONE), "done");
    assert_string_equal(mgc_run_result_name(MGC_RUN_INCOMPLETE), "incomplete");
    assert_string_equal(mgc_run_result_name(MGC_RUN_REFUSED), "refused");
    assert_string_equal(mgc_run_result_name(MGC_RUN_FAILED), "failed");
    assert_string_equal(mgc_run_result_name((enum mgc_run_result)99), "unknown");
    assert_string_equal(mgc_held_reason_name(MGC_REASON_ORPHAN), "orphan");
    assert_string_equal(mgc_held_reason_name(MGC_REASON_UNLINKED), "unlinked");
    assert_string_equal(mgc_held_reason_name(MGC_REASON_REPLACED), "replaced");
    assert_string_equal(mgc_held_state_name(MGC_HELD_MOVING), "moving");
    assert_string_equal(mgc_held_state_name(MGC_HELD_HELD), "held");
    assert_string_equal(mgc_held_state_name(MGC_HELD_RESTORING), "restoring");
    assert_string_equal(mgc_held_state_name(MGC_HELD_PURGING), "purging");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_by_name),
        cmocka_unit_test(a_run_is_kept_with_every_field),
        cmocka_unit_test(runs_are_listed_newest_first),
        cmocka_unit_test(a_run_that_never_ended_has_failed),
        cmocka_unit_test(complete_runs_in_a_row_are_counted),
        cmocka_unit_test(all_waits_can_start_again),
        cmocka_unit_test(the_lists_are_those_of_the_last_complete_run),
        cmocka_unit_test(only_runs_that_judged_everything_replace_the_lists),
        cmocka_unit_test(events_are_appended_and_read_on),
        cmocka_unit_test(names_of_states_are_stable),
    };

    return contract_run("runs", tests, ARRAY_SIZE(tests));
}
